"""Content types that the default handlers read and write: JSON, CSV and NumPy's npy.

As sagemaker-inference's decoder and encoder where numpy is there; plain lists where it is not. Pickled objects in
npy are refused (AWS's decoder loads them, which runs code of the caller's choosing).
"""

import csv
import functools
import io
import json

from .errors import ScriptModeError, UnsupportedFormat

JSON = "application/json"
CSV = "text/csv"
NPY = "application/x-npy"
ANY = "*/*"
TEXT = (JSON, CSV)
WRITABLE = (JSON, CSV, NPY)


@functools.lru_cache(maxsize=None)
def optional(name):
    """The module `name` where it is installed, else None."""
    try:
        return __import__(name)
    except ImportError:
        return None


def media_type(content_type):
    """`text/csv; charset=utf-8` without its parameters."""
    return (content_type or "").split(";")[0].strip().lower()


def decode(body, content_type):
    """The data of a request body: a numpy array, or lists without numpy."""
    kind = media_type(content_type)
    numpy = optional("numpy")
    if kind == JSON:
        data = json.loads(body)
        return numpy.array(data) if numpy else data
    if kind == CSV:
        if numpy:
            return numpy.genfromtxt(io.StringIO(body), dtype=None, delimiter=",", encoding="utf-8")
        return _squeeze([[_cell(cell) for cell in row] for row in csv.reader(io.StringIO(body)) if row])
    if kind == NPY:
        if not numpy:
            raise ScriptModeError("%s needs numpy\nhint: add numpy to code/requirements.txt" % NPY)
        return numpy.load(io.BytesIO(body), allow_pickle=False)
    raise UnsupportedFormat(content_type, 415)


def encode(prediction, kind):
    """Bytes of `prediction` in one of WRITABLE."""
    numpy = optional("numpy")
    if kind == JSON:
        return json.dumps(prediction, default=to_lists).encode("utf-8")
    if kind == CSV:
        if numpy:
            out = io.StringIO()
            numpy.savetxt(out, _listed(prediction), delimiter=",", fmt="%s")
            return out.getvalue().encode("utf-8")
        rows = _listed(prediction)
        rows = rows if isinstance(rows, (list, tuple)) else [rows]
        rows = [row if isinstance(row, (list, tuple)) else [row] for row in rows]
        return "".join(",".join(str(cell) for cell in row) + "\n" for row in rows).encode("utf-8")
    if not numpy:
        raise ScriptModeError("%s needs numpy\nhint: add numpy to code/requirements.txt" % NPY)
    out = io.BytesIO()
    numpy.save(out, _listed(prediction), allow_pickle=False)
    return out.getvalue()


def choose(accept):
    """The first type of an Accept header that can be written; `*/*` is JSON."""
    for part in (accept or ANY).split(","):
        kind = media_type(part)
        if kind == ANY:
            return JSON
        if kind in WRITABLE:
            return kind
    raise UnsupportedFormat(accept, 406)


def to_lists(value):
    """For json.dumps: tensors and arrays as lists."""
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError("Object of type %s is not JSON serializable" % type(value).__name__)


def _listed(prediction):
    if hasattr(prediction, "detach"):
        return prediction.detach().cpu().numpy()
    return prediction.tolist() if not optional("numpy") and hasattr(prediction, "tolist") else prediction


def _squeeze(rows):
    """numpy.genfromtxt drops dimensions of length one; so do plain lists."""
    if rows and all(len(row) == 1 for row in rows):
        rows = [row[0] for row in rows]
    return rows[0] if len(rows) == 1 else rows


def _cell(text):
    try:
        return int(text)
    except ValueError:
        pass
    try:
        return float(text)
    except ValueError:
        return text

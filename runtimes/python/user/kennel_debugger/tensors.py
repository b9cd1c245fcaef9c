"""Values to little-endian F32, and files of them.

A file is safetensors (eight bytes of length, a JSON header, the values) in the layout `kennel-tensors/1` of
crates/debugger/src/lib.rs.
"""

import array
import json
import os
import sys

FORMAT = "kennel-tensors/1"
# What the rules' reader takes: bytes of a file, of which the header may have the rest, and of a tensor's name.
MAX_VALUES = (1 << 30) - (8 << 20)
MAX_NAME = 512


def to_f32(value):
    """The shape of a value and its numbers as little-endian F32: torch and numpy objects, numbers, nested lists."""
    if callable(getattr(value, "detach", None)):
        value = value.detach()
        if getattr(value, "is_sparse", False):
            value = value.to_dense()
        value = value.cpu().float()
    if callable(getattr(value, "numpy", None)):
        try:
            value = value.numpy()
        except RuntimeError:
            # A torch without numpy.
            value = value.tolist()
    if callable(getattr(value, "astype", None)):
        found = value.astype("<f4")
        return tuple(found.shape), found.tobytes()
    numbers = array.array("f")
    shape = _flatten(value, numbers)
    if sys.byteorder == "big":
        numbers.byteswap()
    return shape, numbers.tobytes()


def _flatten(value, numbers):
    """Appends the numbers of nested lists and returns their shape."""
    if not isinstance(value, (list, tuple, array.array, range)):
        if isinstance(value, (str, bytes)):
            raise TypeError("`%s` is not a number" % str(value)[:50])
        numbers.append(float(value))
        return ()
    inner = None
    for part in value:
        shape = _flatten(part, numbers)
        if inner not in (None, shape):
            raise ValueError("the parts of a list have different shapes, %s and %s" % (inner, shape))
        inner = shape
    return (len(value),) + (inner or ())


def encode(metadata, tensors):
    """The bytes of a file, in pieces; `tensors` is {name: (shape, bytes)}."""
    header, offset = {"__metadata__": metadata}, 0
    for name, (shape, data) in tensors.items():
        header[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": [offset, offset + len(data)]}
        offset += len(data)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return [len(text).to_bytes(8, "little"), text] + [data for _, data in tensors.values()]


def write(path, pieces):
    """Writes a file so that a reader sees all of it or none. Not flushed to the disk: docs/adr/0014."""
    folder, name = os.path.split(path)
    os.makedirs(folder, exist_ok=True)
    aside = os.path.join(folder, ".%s.%d" % (name, os.getpid()))
    try:
        with open(aside, "wb") as f:
            f.writelines(pieces)
        os.replace(aside, path)
    except BaseException:
        try:
            os.remove(aside)
        except OSError:
            pass
        raise

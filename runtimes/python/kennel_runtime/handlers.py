"""The user's inference functions, with the PyTorch container's defaults for the ones not given.

Follows sagemaker-inference 1.10.1 (transformer.py) and sagemaker-pytorch-inference 2.0.25
(default_pytorch_inference_handler.py): which functions there are, how many arguments each is given, which
combinations are refused, how results become a reply.
"""

import importlib.util
import inspect
import os
import sys
import traceback

from . import formats
from .errors import ScriptModeError, UnsupportedFormat
from .paths import check_entry_point

DEFAULT_PROGRAM = "inference.py"
FUNCTIONS = (
    "pre_model_fn", "model_fn", "model_warmup_fn", "transform_fn", "input_fn", "predict_fn", "output_fn",
)


class Context:
    """The optional last argument of a user's function: the part of the model server's context that scripts use.

    AWS's server hands over one object per worker; here each request has its own.
    """

    def __init__(self, model_dir, headers=None, request_id=""):
        self.model_name = "model"
        self.manifest = {}
        self.system_properties = {"model_dir": model_dir, "gpu_id": _gpu_id(), "batch_size": 1}
        self.request_ids = {0: request_id}
        self.request_processor = [self]
        self.metrics = None
        self.response_headers = {}
        self.response_type = None
        self.status = None
        self._headers = headers if headers is not None else {}

    def get_request_id(self, idx=0):
        return self.request_ids.get(idx)

    def get_request_header(self, idx, key):
        return self._headers.get(key)

    def get_all_request_header(self, idx):
        return dict(self._headers.items())

    def get_request_properties(self):
        return dict(self._headers.items())

    def set_response_content_type(self, idx, value):
        self.response_type = value

    def set_response_header(self, idx, key, value):
        self.response_headers[key] = value

    def set_response_status(self, code=200, phrase="", idx=0):
        self.status = int(code)


class Reply:
    """What goes back: status, content type, body, further headers."""

    def __init__(self, status, content_type, body, headers=None):
        self.status = status
        self.content_type = content_type
        self.body = body
        self.headers = headers or {}


class Handlers:
    """A loaded model with its functions. `load` is called once, `invoke` from as many threads as the server has."""

    def __init__(self, model_dir, code_dir, program=None):
        """Imports `program` from `code_dir`. Without a program, inference.py is taken where it exists, otherwise
        every function is the default."""
        self._model_dir = model_dir
        self._model = None
        self._default_accept = os.environ.get("SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT") or formats.JSON
        module = None
        if program or os.path.isfile(os.path.join(code_dir, DEFAULT_PROGRAM)):
            module = _import(code_dir, program or DEFAULT_PROGRAM)
        given = {
            name: getattr(module, name)
            for name in FUNCTIONS
            if callable(getattr(module, name, None))
        }
        if "transform_fn" in given and {"input_fn", "predict_fn", "output_fn"} & set(given):
            raise ScriptModeError(
                "Cannot use transform_fn implementation in conjunction with "
                "input_fn, predict_fn, and/or output_fn implementation"
            )
        self._pre_model = _adapt(given.get("pre_model_fn"), 1)
        self._warmup = _adapt(given.get("model_warmup_fn"), 2)
        self._model_fn = _adapt(given.get("model_fn", default_model_fn), 1)
        self._transform = _adapt(given.get("transform_fn"), 4)
        self._input = _adapt(given.get("input_fn", default_input_fn), 2)
        self._predict = _adapt(given.get("predict_fn", default_predict_fn), 2)
        self._output = _adapt(given.get("output_fn", default_output_fn), 2)

    def load(self):
        """Loads the model; raises what the user's code raises."""
        context = Context(self._model_dir)
        torch = sys.modules.get("torch")
        threads = os.environ.get("OMP_NUM_THREADS", "")
        if torch is not None and threads.isdigit() and int(threads) > 0:
            torch.set_num_threads(int(threads))
        if self._pre_model:
            self._pre_model(context, self._model_dir)
        self._model = self._model_fn(context, self._model_dir)
        if self._warmup:
            self._warmup(context, self._model_dir, self._model)

    def invoke(self, body, headers):
        """The reply to one request; `headers` has a case-insensitive `get` and `items`."""
        context = Context(self._model_dir, headers, headers.get("X-Amzn-RequestId") or "")
        try:
            return self._run(body, headers.get("Content-Type"), headers.get("Accept"), context)
        except (Exception, SystemExit) as error:
            trace = traceback.format_exc()
            sys.stderr.write(trace)
            sys.stderr.flush()
            status, message = 500, str(error) or "Invalid Request"
            if isinstance(error, UnsupportedFormat):
                status = error.status
            elif any(c.__name__ == "BaseInferenceToolkitError" for c in type(error).__mro__):
                status, message = _status(getattr(error, "status_code", 500)), str(getattr(error, "message", message))
            text = "%s\n%s" % (message, trace)
            return Reply(status, "text/plain; charset=utf-8", text.encode("utf-8", "replace"))

    def _run(self, body, content_type, accept, context):
        if not accept or accept == formats.ANY:
            accept = self._default_accept
        if formats.media_type(content_type) in formats.TEXT:
            body = body.decode("utf-8")
        if self._transform:
            result = self._transform(context, self._model, body, content_type, accept)
        else:
            data = self._input(context, body, content_type)
            prediction = self._predict(context, data, self._model)
            result = self._output(context, prediction, accept)
        reply_type = accept
        if isinstance(result, tuple):
            result, reply_type = result[0], result[1]
        if isinstance(result, str):
            result = result.encode("utf-8")
        elif isinstance(result, (bytearray, memoryview)):
            result = bytes(result)
        elif not isinstance(result, bytes):
            result = formats.encode(result, formats.JSON)
        return Reply(
            _status(context.status or 200), str(context.response_type or reply_type), result, context.response_headers
        )


def default_model_fn(model_dir):
    """Loads the one TorchScript file of the model folder."""
    torch = formats.optional("torch")
    if torch is None:
        raise ScriptModeError(
            "no model_fn is given and torch is not installed in this runtime\n"
            "hint: write a model_fn in code/%s, or install torch into the runtime" % DEFAULT_PROGRAM
        )
    path = os.path.join(model_dir, "model.pt")
    if not os.path.isfile(path):
        found = sorted(f for f in os.listdir(model_dir) if f.endswith((".pt", ".pth")))
        if len(found) != 1:
            raise ScriptModeError("Exactly one .pth or .pt file is required for PyTorch models: %s" % found)
        path = os.path.join(model_dir, found[0])
    device = _device(torch)
    try:
        return torch.jit.load(path, map_location=device).to(device)
    except RuntimeError as error:
        raise ScriptModeError(
            "Failed to load %s. Please ensure model is saved using torchscript.\n"
            "hint: for a state_dict write a model_fn" % path
        ) from error


def default_input_fn(body, content_type):
    """A tensor with torch, an array with numpy, lists with neither."""
    data = formats.decode(body, content_type)
    torch = formats.optional("torch")
    if torch is None or formats.optional("numpy") is None:
        return data
    text = formats.media_type(content_type) in formats.TEXT
    tensor = torch.FloatTensor(data) if text else torch.from_numpy(data)
    return tensor.to(_device(torch))


def default_predict_fn(data, model):
    """Calls the model, without gradients where it is torch's."""
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(model, torch.nn.Module):
        with torch.no_grad():
            device = _device(torch)
            model = model.to(device)
            model.eval()
            return model(data.to(device) if hasattr(data, "to") else data)
    if callable(model):
        return model(data)
    raise ScriptModeError(
        "Please provide a predict_fn implementation.\nhint: model_fn gave a %s, which cannot be called"
        % type(model).__name__
    )


def default_output_fn(prediction, accept):
    """JSON, CSV or npy, as Accept asks."""
    kind = formats.choose(accept)
    return formats.encode(prediction, kind), kind


def _import(code_dir, program):
    path = check_entry_point(program, code_dir)
    name = os.path.splitext(os.path.basename(program))[0]
    for folder in (code_dir, os.path.dirname(path)):
        if folder in sys.path:
            sys.path.remove(folder)
        sys.path.insert(0, folder)
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ScriptModeError("the inference script `%s` is not a .py file" % program)
    module = importlib.util.module_from_spec(spec)
    # Pickles of the user's own classes name this module; a library of the same name keeps its place.
    sys.modules.setdefault(name, module)
    spec.loader.exec_module(module)
    return module


def _adapt(function, count):
    """`function` as f(context, *args) for `count` arguments: one more parameter means that it wants the context."""
    if function is None:
        return None
    parameters = len(inspect.signature(function).parameters)
    if parameters == count:
        return lambda context, *args: function(*args)
    if parameters == count + 1:
        return lambda context, *args: function(*(args + (context,)))
    raise ScriptModeError(
        "%s takes %d arguments but %d were given." % (getattr(function, "__name__", "function"), parameters, count)
    )


def _device(torch):
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _gpu_id():
    torch = sys.modules.get("torch")
    return 0 if torch is not None and torch.cuda.is_available() else None


def _status(value):
    try:
        value = int(value)
    except (TypeError, ValueError):
        return 500
    return value if 200 <= value <= 599 else 500

"""Default input and output, with numpy and torch where this Python has them, and without either."""

import json
import unittest
from unittest import mock

from . import support  # noqa: F401  (puts the package on the path)
from kennel_runtime import formats, handlers
from kennel_runtime.errors import ScriptModeError, UnsupportedFormat


def hidden(*names):
    """As if the modules `names` were not installed."""
    real = formats.optional
    return mock.patch.object(formats, "optional", lambda name: None if name in names else real(name))


class Plain(unittest.TestCase):
    def setUp(self):
        patch = hidden("numpy", "torch")
        patch.start()
        self.addCleanup(patch.stop)

    def test_input(self):
        self.assertEqual(handlers.default_input_fn("[[1, 2.5]]", "application/json"), [[1, 2.5]])
        self.assertEqual(handlers.default_input_fn("[1]", "application/json; charset=utf-8"), [1])
        self.assertEqual(handlers.default_input_fn("1,2.5\n3,x\n", "text/csv"), [[1, 2.5], [3, "x"]])
        self.assertEqual(handlers.default_input_fn("1,2\n", "text/csv"), [1, 2])
        self.assertEqual(handlers.default_input_fn("1\n2\n", "text/csv"), [1, 2])

    def test_unknown_input(self):
        for kind in ("image/jpeg", None, ""):
            with self.assertRaises(UnsupportedFormat) as caught:
                handlers.default_input_fn(b"", kind)
            self.assertEqual(caught.exception.status, 415)

    def test_npy_needs_numpy(self):
        with self.assertRaisesRegex(ScriptModeError, "needs numpy"):
            handlers.default_input_fn(b"", "application/x-npy")

    def test_output(self):
        self.assertEqual(handlers.default_output_fn([[1, 2]], "application/json"), (b"[[1, 2]]", "application/json"))
        self.assertEqual(handlers.default_output_fn([[1, 2], [3, 4]], "text/csv"), (b"1,2\n3,4\n", "text/csv"))
        self.assertEqual(handlers.default_output_fn([1, 2], "text/csv")[0], b"1\n2\n")
        self.assertEqual(handlers.default_output_fn([1], "text/html, */*;q=0.1")[1], "application/json")
        self.assertEqual(handlers.default_output_fn([1], "image/png, text/csv;q=0.9")[1], "text/csv")

    def test_unknown_output(self):
        with self.assertRaises(UnsupportedFormat) as caught:
            handlers.default_output_fn([1], "image/png")
        self.assertEqual(caught.exception.status, 406)

    def test_model(self):
        with self.assertRaisesRegex(ScriptModeError, "torch is not installed"):
            handlers.default_model_fn("/nowhere")
        self.assertEqual(handlers.default_predict_fn([3], sum), 3)
        with self.assertRaisesRegex(ScriptModeError, "gave a dict"):
            handlers.default_predict_fn([3], {})


@unittest.skipUnless(formats.optional("numpy"), "numpy is not installed")
class Numpy(unittest.TestCase):
    def setUp(self):
        patch = hidden("torch")
        patch.start()
        self.addCleanup(patch.stop)

    def test_input(self):
        self.assertEqual(handlers.default_input_fn("[[1, 2]]", "application/json").shape, (1, 2))
        self.assertEqual(handlers.default_input_fn("1,2\n3,4\n", "text/csv").tolist(), [[1, 2], [3, 4]])

    def test_npy_there_and_back(self):
        numpy = formats.optional("numpy")
        body, kind = handlers.default_output_fn(numpy.eye(2), "application/x-npy")
        self.assertEqual((handlers.default_input_fn(body, kind).tolist()), [[1, 0], [0, 1]])

    def test_pickles_are_refused(self):
        numpy = formats.optional("numpy")
        import io
        out = io.BytesIO()
        numpy.save(out, numpy.array([{}], dtype=object), allow_pickle=True)
        with self.assertRaises(ValueError):
            handlers.default_input_fn(out.getvalue(), "application/x-npy")

    def test_output(self):
        numpy = formats.optional("numpy")
        self.assertEqual(json.loads(handlers.default_output_fn({"p": numpy.float32(0.5)}, "application/json")[0]), {"p": 0.5})
        self.assertEqual(handlers.default_output_fn(numpy.array([[1, 2]]), "text/csv")[0], b"1,2\n")


@unittest.skipUnless(formats.optional("torch"), "torch is not installed")
class Torch(unittest.TestCase):
    def test_there_and_back(self):
        torch = formats.optional("torch")
        data = handlers.default_input_fn("[[1, 2]]", "application/json")
        self.assertEqual(data.dtype, torch.float32)
        with torch.enable_grad():
            result = handlers.default_predict_fn(data, torch.nn.Linear(2, 3))
        self.assertFalse(result.requires_grad)
        for kind in formats.WRITABLE:
            self.assertTrue(handlers.default_output_fn(result, kind)[0])

    def test_torchscript_is_loaded(self):
        import os
        import tempfile
        torch = formats.optional("torch")
        with tempfile.TemporaryDirectory() as folder:
            with self.assertRaisesRegex(ScriptModeError, "Exactly one"):
                handlers.default_model_fn(folder)
            torch.save({"a": 1}, os.path.join(folder, "model.pth"))
            with self.assertRaisesRegex(ScriptModeError, "saved using torchscript"):
                handlers.default_model_fn(folder)
            torch.jit.script(torch.nn.Linear(2, 3)).save(os.path.join(folder, "model.pth"))
            self.assertEqual(handlers.default_model_fn(folder)(torch.zeros(1, 2)).shape, (1, 3))

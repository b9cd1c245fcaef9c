"""Reads saved tensors back, without the code that wrote them, and a few classes that behave as torch's do."""

import json
import os
import struct


def read(path):
    """A file's metadata (collections decoded) and {name: (shape, values)}."""
    with open(path, "rb") as f:
        data = f.read()
    size = struct.unpack("<Q", data[:8])[0]
    header, values = json.loads(data[8:8 + size]), data[8 + size:]
    metadata = header.pop("__metadata__")
    assert all(isinstance(value, str) for value in metadata.values()), metadata
    used = sum(entry["data_offsets"][1] - entry["data_offsets"][0] for entry in header.values())
    assert (8 + size) % 8 == 0 and used == len(values), (size, used)
    metadata["collections"] = json.loads(metadata["collections"])
    found = {}
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        assert entry["dtype"] == "F32"
        found[name] = (entry["shape"], list(struct.unpack("<%df" % ((end - begin) // 4), values[begin:end])))
    return metadata, found


def steps(folder, mode, worker="algo-1"):
    """{step: (metadata, tensors)} of one mode."""
    folder = os.path.join(folder, worker, mode)
    names = sorted(os.listdir(folder)) if os.path.isdir(folder) else []
    assert all(len(name) == len("000000000.safetensors") for name in names), names
    found = {int(name.split(".")[0]): read(os.path.join(folder, name)) for name in names}
    for step, (metadata, _) in found.items():
        assert (metadata["format"], metadata["step"], metadata["mode"]) == ("kennel-tensors/1", str(step), mode), metadata
        assert int(metadata["time_ms"]) > 1600000000000
    return found


class Tensor:
    """A torch.Tensor of a torch without numpy: nested lists."""

    def __init__(self, values, requires_grad=False):
        self.values, self.requires_grad, self.hooks = values, requires_grad, []
        self.shape = []
        while isinstance(values, list):
            self.shape.append(len(values))
            values = values[0]

    def detach(self):
        return self

    cpu = float = detach

    def numpy(self):
        raise RuntimeError("Numpy is not available")

    def tolist(self):
        return self.values

    def register_hook(self, hook):
        self.hooks.append(hook)

    def backward(self, gradient):
        for hook in self.hooks:
            assert hook(gradient) is None


class Module:
    """A torch.nn.Module: `parameters` and `children` are dicts, `compute` is forward."""

    def __init__(self, compute=None, parameters=None, children=None):
        self.compute, self.parameters, self.children = compute, parameters or {}, children or {}
        self.before, self.after = [], []

    def register_forward_pre_hook(self, hook):
        self.before.append(hook)

    def register_forward_hook(self, hook):
        self.after.append(hook)

    def named_modules(self):
        yield "", self
        yield from self.children.items()

    def named_parameters(self):
        yield from self.parameters.items()
        for name, child in self.children.items():
            for inner, parameter in child.parameters.items():
                yield "%s.%s" % (name, inner), parameter

    def __call__(self, *inputs):
        for hook in self.before:
            assert hook(self, inputs) is None
        output = self.compute(*inputs)
        for hook in self.after:
            assert hook(self, inputs, output) is None
        return output


class ReLU(Module):
    """In place, as torchvision's models have it."""

    def __init__(self):
        super().__init__(self.clip)

    @staticmethod
    def clip(x):
        x.values = [[max(v, 0.0) for v in row] for row in x.values]
        return x


class Net(Module):
    def __init__(self):
        self.layers = {
            "fc": Module(lambda x: Tensor([[-v for v in row] for row in x.values]),
                         {"weight": Tensor([[1.0, 2.0]], True), "bias": Tensor([0.5], True)}),
            "relu": ReLU(),
        }
        super().__init__(lambda x: self.layers["relu"](self.layers["fc"](x)), children=self.layers)


class CrossEntropyLoss(Module):
    def __init__(self):
        super().__init__(lambda x, y: Tensor(float(len(x.values))))


def train(hook, model, criterion, count):
    """`count` steps as a torch loop does them."""
    for number in range(count):
        criterion(model(Tensor([[1.0, -2.0]])), Tensor([1]))
        for _, parameter in model.named_parameters():
            parameter.backward(Tensor([number + 0.25]))

"""A Kennel package whose network is one layer, so that an invocation costs what serving costs, not the model."""

import gzip
import io
import json
import tarfile

import numpy
import onnx
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

SIDE = 8
CLASSES = 2


WIDTH = 1024


def network(repeat=0):
    """One layer; before it `repeat` times a square one, to make an answer take its time."""
    if repeat:
        return slow_network(repeat)
    weights = numpy.random.default_rng(7).normal(0, 0.1, (3 * SIDE * SIDE, CLASSES)).astype(numpy.float32)
    graph = helper.make_graph(
        [helper.make_node("Flatten", ["input"], ["flat"], axis=1),
         helper.make_node("MatMul", ["flat", "weights"], ["logits"])],
        "one-layer",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", 3, SIDE, SIDE])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", CLASSES])],
        [numpy_helper.from_array(weights, "weights")])
    return serialized(graph)


def slow_network(repeat):
    random = numpy.random.default_rng(7)
    make = lambda rows, columns: (  # noqa: E731
        random.normal(0, rows ** -0.5, (rows, columns)).astype(numpy.float32))
    nodes = [helper.make_node("Flatten", ["input"], ["flat"], axis=1),
             helper.make_node("MatMul", ["flat", "first"], ["layer0"])]
    nodes += [helper.make_node("MatMul", [f"layer{i}", "square"], [f"layer{i + 1}"]) for i in range(repeat)]
    nodes.append(helper.make_node("MatMul", [f"layer{repeat}", "last"], ["logits"]))
    graph = helper.make_graph(
        nodes, "slow",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", 3, SIDE, SIDE])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", CLASSES])],
        [numpy_helper.from_array(make(3 * SIDE * SIDE, WIDTH), "first"),
         numpy_helper.from_array(make(WIDTH, WIDTH), "square"), numpy_helper.from_array(make(WIDTH, CLASSES), "last")])
    return serialized(graph)


def serialized(graph):
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return model.SerializeToString()


def manifest():
    digest = "0" * 64
    return {
        "format": 1, "kennel_version": "0.1.0",
        "classes": [{"key": f"{i}", "name": f"class {i}"} for i in range(CLASSES)],
        "preprocess": {"resize": {"exact": [SIDE, SIDE]}, "crop": [SIDE, SIDE],
                       "mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]},
        "backbone": {"name": "one-layer", "sha256": digest, "features": "flat", "width": 3 * SIDE * SIDE,
                     "license": None, "fixed_batch": None},
        "training": {"head": "linear", "optimizer": "adamw", "learning_rate": 0.002, "schedule": "one-cycle",
                     "batch_size": 64, "epochs": 1, "weight_decay": 0.01, "label_smoothing": 0.0, "dropout": 0.0,
                     "early_stopping": 5, "class_weights": False, "augmentation": "none", "views": 1,
                     "warm_start": True, "seed": 42},
        "data": {"sha256": digest, "photos": {"train": 1}, "skipped": 0},
        "metrics": {}, "engine": "rten",
    }


def package(repeat=0):
    """model.tar.gz, as bytes."""
    packed = io.BytesIO()
    with gzip.GzipFile(fileobj=packed, mode="wb", mtime=0) as compressed, \
            tarfile.open(fileobj=compressed, mode="w") as archive:
        for name, data in (("kennel.json", json.dumps(manifest()).encode()), ("model.onnx", network(repeat))):
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(data), 0o644
            archive.addfile(entry, io.BytesIO(data))
    return packed.getvalue()


def photo(side=16):
    """A JPEG of noise; of 16×16 pixels it costs nothing to read."""
    pixels = numpy.random.default_rng(1).integers(0, 255, (side, side, 3)).astype(numpy.uint8)
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "JPEG")
    return out.getvalue()

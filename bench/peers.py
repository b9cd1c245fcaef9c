"""What the PyTorch peers share: the backbones, their preprocessing, and the course's head.

The hub's MobileNetV2 is the very network that Kennel runs: the same ONNX file, turned into a torch
module by onnx2torch, with everything from the classifier's 1x1 convolution on removed, so that
1,280 features come out. ResNet-50 has random weights: it is here for the time it takes.
"""

import pathlib
import warnings

import onnx
import torch
import torchvision
from torch import nn
from torchvision import transforms

HUB_FILE = "mobilenet_v2_1.0_224.onnx"
BACKBONES = {
    # name: (feature width, mean, std)
    "mobilenet_v2_1.0_224": (1280, [0.5] * 3, [0.5] * 3),
    "resnet50": (2048, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
}


def cut_classifier(model: onnx.ModelProto) -> onnx.ModelProto:
    """The graph up to what enters its last convolution, flattened: features N x C."""
    last = max(i for i, node in enumerate(model.graph.node) if node.op_type == "Conv")
    features = model.graph.node[last].input[0]
    flatten = onnx.helper.make_node("Flatten", [features], ["features"], axis=1)
    del model.graph.node[last:]
    model.graph.node.append(flatten)
    used = {name for node in model.graph.node for name in node.input}
    kept = [tensor for tensor in model.graph.initializer if tensor.name in used]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)
    del model.graph.output[:]
    output = onnx.helper.make_tensor_value_info("features", onnx.TensorProto.FLOAT, ["N", "C"])
    model.graph.output.append(output)
    return model


def load_backbone(name: str, hub: pathlib.Path | None) -> nn.Module:
    """The frozen backbone: N x 3 x 224 x 224 in, N x width out."""
    if name == "resnet50":
        torch.manual_seed(0)
        backbone = torchvision.models.resnet50(weights=None)
        backbone.fc = nn.Identity()
    else:
        from onnx2torch import convert

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            backbone = convert(cut_classifier(onnx.load(str(hub / HUB_FILE))))
    for parameter in backbone.parameters():
        parameter.requires_grad = False
    return backbone.eval()


def make_head(width: int, classes: int, hidden: int = 128) -> nn.Module:
    """The course's head."""
    return nn.Sequential(nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, classes))


def training_transform(name: str):
    _, mean, std = BACKBONES[name]
    return transforms.Compose(
        [
            transforms.RandomResizedCrop(224),
            transforms.RandomHorizontalFlip(),
            transforms.ToTensor(),
            transforms.Normalize(mean, std),
        ]
    )


def evaluation_transform(name: str):
    _, mean, std = BACKBONES[name]
    return transforms.Compose(
        [
            transforms.Resize(256),
            transforms.CenterCrop(224),
            transforms.ToTensor(),
            transforms.Normalize(mean, std),
        ]
    )

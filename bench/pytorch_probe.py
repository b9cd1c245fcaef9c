"""A plain PyTorch probe on features that are there already: what the features allow.

    python pytorch_probe.py FEATURES.npz [--head linear | mlp:128] [--epochs 30] [--json OUT]

FEATURES.npz holds `train_x`, `train_y`, `valid_x`, `valid_y`, `test_x`, `test_y` (features N x W as
float32, labels as integers). Nothing clever: Adam, constant learning rate, raw features, one seed.
`--from-photos DATA --hub HUB` makes the file first, with the torch backbone that pytorch_hpo.py
uses and centre crops, so that it needs nothing of Kennel's.
"""

import argparse
import json
import pathlib
import time

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder

import peers


def extract(data, hub, backbone_name, path) -> None:
    backbone = peers.load_backbone(backbone_name, hub)
    arrays = {}
    for split in ("train", "valid", "test"):
        dataset = ImageFolder(str(data / split), peers.evaluation_transform(backbone_name))
        features, labels = [], []
        with torch.no_grad():
            for inputs, batch_labels in DataLoader(dataset, batch_size=64):
                features.append(backbone(inputs).numpy())
                labels.append(batch_labels.numpy())
        arrays[f"{split}_x"] = np.concatenate(features)
        arrays[f"{split}_y"] = np.concatenate(labels)
    np.savez(path, **arrays)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("features", type=pathlib.Path)
    parser.add_argument("--from-photos", type=pathlib.Path, help="make the file from this folder")
    parser.add_argument("--hub", type=pathlib.Path)
    parser.add_argument("--backbone", choices=peers.BACKBONES, default="mobilenet_v2_1.0_224")
    parser.add_argument("--head", choices=["linear", "mlp:128"], default="linear")
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=pathlib.Path)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    if arguments.from_photos:
        extract(arguments.from_photos, arguments.hub, arguments.backbone, arguments.features)

    with np.load(arguments.features) as arrays:
        x = {s: torch.from_numpy(arrays[f"{s}_x"]) for s in ("train", "valid", "test")}
        y = {s: torch.from_numpy(arrays[f"{s}_y"].astype(np.int64)) for s in x}
    width, classes = x["train"].shape[1], int(y["train"].max()) + 1
    torch.manual_seed(arguments.seed)
    head = nn.Linear(width, classes) if arguments.head == "linear" else peers.make_head(width, classes)
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(head.parameters(), lr=arguments.lr)
    started = time.perf_counter()
    for _ in range(arguments.epochs):
        for batch in torch.randperm(len(x["train"])).split(arguments.batch_size):
            optimizer.zero_grad()
            criterion(head(x["train"][batch]), y["train"][batch]).backward()
            optimizer.step()
    seconds = time.perf_counter() - started
    with torch.no_grad():
        top1 = {s: (head(x[s]).argmax(1) == y[s]).float().mean().item() for s in x}
    result = {"head": arguments.head, "epochs": arguments.epochs, "seconds": seconds, "top1": top1}
    print(
        f"{arguments.head}, {arguments.epochs} epochs, {seconds:.1f} s: train {top1['train']:.4f}, "
        f"valid {top1['valid']:.4f}, test {top1['test']:.4f}"
    )
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()

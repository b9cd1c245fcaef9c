"""The course's hpo.py, as a peer to measure `kennel train` against.

    python pytorch_hpo.py DATA --hub HUB [--backbone mobilenet_v2_1.0_224 | resnet50]
                          [--epochs 5] [--limit N] [--json OUT]

It does what that script does: the frozen backbone runs on every photo of every epoch, training
photos pass RandomResizedCrop(224) and RandomHorizontalFlip, a head Linear-ReLU-Linear learns by
Adam, each epoch is validated, and the test split is scored at the end. What the original gets wrong
is put right in the peer's favour: accuracy is not floor-divided, pixels are normalised as the
backbone wants them, it runs more than one epoch, it trains on train, and the frozen part runs under
`no_grad`. Two threads and two loader processes; try `--workers 0`, `1` and `2` on an idle machine
and give the peer the fastest.

The time counted starts before the data set is listed and the network is loaded, and ends after the
test, as for `kennel train` with a cold cache. Importing torch is not counted.
"""

import argparse
import json
import pathlib
import time

import torch
from torch import nn
from torch.utils.data import DataLoader, Subset
from torchvision.datasets import ImageFolder

import peers


def loader(folder, transform, limit, batch_size, workers, shuffle):
    dataset = ImageFolder(str(folder), transform)
    classes = len(dataset.classes)
    if limit and limit < len(dataset):
        # Evenly over the classes, the files being listed class by class.
        step = len(dataset) / limit
        dataset = Subset(dataset, [int(i * step) for i in range(limit)])
    return classes, DataLoader(
        dataset,
        batch_size=batch_size,
        shuffle=shuffle,
        num_workers=workers,
        persistent_workers=workers > 0,
    )


@torch.no_grad()
def score(backbone, head, batches, criterion) -> tuple[float, float]:
    """Mean loss and top-1 accuracy."""
    head.eval()
    loss, correct, count = 0.0, 0, 0
    for inputs, labels in batches:
        outputs = head(backbone(inputs))
        loss += criterion(outputs, labels).item() * len(labels)
        correct += (outputs.argmax(1) == labels).sum().item()
        count += len(labels)
    return loss / count, correct / count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=pathlib.Path, help="folder with train, valid and test")
    parser.add_argument("--hub", type=pathlib.Path, help="folder with the hub's ONNX files")
    parser.add_argument("--backbone", choices=peers.BACKBONES, default="mobilenet_v2_1.0_224")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--workers", type=int, default=2, help="loader processes")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--limit", type=int, help="at most this many photos per split")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=pathlib.Path, help="write the result here too")
    arguments = parser.parse_args()
    if arguments.backbone != "resnet50" and arguments.hub is None:
        parser.error("--hub is needed for this backbone")
    torch.set_num_threads(arguments.threads)

    started = time.perf_counter()
    options = (arguments.limit, arguments.batch_size, arguments.workers)
    train_transform = peers.training_transform(arguments.backbone)
    plain_transform = peers.evaluation_transform(arguments.backbone)
    classes, train = loader(arguments.data / "train", train_transform, *options, True)
    _, valid = loader(arguments.data / "valid", plain_transform, *options, False)
    _, test = loader(arguments.data / "test", plain_transform, *options, False)

    backbone = peers.load_backbone(arguments.backbone, arguments.hub)
    torch.manual_seed(arguments.seed)
    head = peers.make_head(peers.BACKBONES[arguments.backbone][0], classes)
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(head.parameters(), lr=arguments.lr)

    epochs = []
    for epoch in range(arguments.epochs):
        epoch_started = time.perf_counter()
        head.train()
        running, count = 0.0, 0
        for inputs, labels in train:
            with torch.no_grad():
                features = backbone(inputs)
            optimizer.zero_grad()
            loss = criterion(head(features), labels)
            loss.backward()
            optimizer.step()
            running += loss.item() * len(labels)
            count += len(labels)
        train_seconds = time.perf_counter() - epoch_started
        valid_loss, valid_top1 = score(backbone, head, valid, criterion)
        seconds = time.perf_counter() - epoch_started
        epochs.append(
            {
                "train_loss": running / count,
                "valid_loss": valid_loss,
                "valid_top1": valid_top1,
                "train_seconds": train_seconds,
                "seconds": seconds,
            }
        )
        print(
            f"epoch {epoch + 1}: train loss {running / count:.4f}, valid loss {valid_loss:.4f}, "
            f"valid top-1 {valid_top1:.4f}, {seconds:.1f} s",
            flush=True,
        )

    test_loss, test_top1 = score(backbone, head, test, criterion)
    total = time.perf_counter() - started
    trained = len(train.dataset) * arguments.epochs
    result = {
        "backbone": arguments.backbone,
        "photos": {
            "train": len(train.dataset),
            "valid": len(valid.dataset),
            "test": len(test.dataset),
        },
        "classes": classes,
        "epochs": arguments.epochs,
        "workers": arguments.workers,
        "threads": arguments.threads,
        "torch": torch.__version__,
        "seconds": total,
        "seconds_per_epoch": sum(e["seconds"] for e in epochs) / len(epochs),
        # Of training alone, without validation.
        "ms_per_photo_and_epoch": 1000 * sum(e["train_seconds"] for e in epochs) / trained,
        "test_loss": test_loss,
        "test_top1": test_top1,
        "history": epochs,
    }
    print(
        f"total {total:.1f} s, {result['ms_per_photo_and_epoch']:.1f} ms per photo and epoch, "
        f"test top-1 {test_top1:.4f}"
    )
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()

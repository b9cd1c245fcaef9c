"""Every number of bench/RESULTS.md, Kennel and its peers in one run.

    python bench/run.py --data DATA --hub HUB [--only accuracy,training,…] [--quick]

Each section writes into bench/out/results.json as soon as it is done, so an interrupted run keeps what
it had. Peers run in the same minutes as Kennel, because machines are noisy; ratios are what counts.
"""

import argparse
import json
import os
import pathlib
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parent.parent
KENNEL = ROOT / "target/release/kennel"
LOAD = ROOT / "target/release/examples/load"
OUT = ROOT / "bench/out"
MOBILENET = "mobilenet_v2_1.0_224"


def call(command, **extra):
    environment = {**os.environ, **{k: str(v) for k, v in extra.items()}}
    started = time.perf_counter()
    done = subprocess.run([str(c) for c in command], env=environment, capture_output=True, text=True)
    took = time.perf_counter() - started
    if done.returncode:
        raise SystemExit(f"{command} failed:\n{done.stdout}\n{done.stderr}")
    return done.stdout, took


def train(data, backbone, cache, output, *options):
    """Runs `kennel train` and returns its metrics and the wall time of the process."""
    _, took = call(
        [KENNEL, "train", data, "--backbone", backbone, "--output", output, *options],
        KENNEL_CACHE=cache,
    )
    metrics = json.loads((pathlib.Path(output).parent / "metrics.json").read_text())
    return metrics, took


def section_accuracy(a, scratch):
    """Test top-1 on the hub's MobileNetV2; every setting shares one cache."""
    rows = {}
    settings = {
        "default (linear, warm start)": [],
        "linear, no warm start": ["--warm-start", "false", "--learning-rate", "0.001"],
        "mlp:128, 5 epochs": ["--head", "mlp:128", "--epochs", "5", "--learning-rate", "0.002",
                              "--label-smoothing", "0.1"],
        "mlp:128, 5 epochs, 2 crop views": ["--head", "mlp:128", "--epochs", "5", "--learning-rate",
                                            "0.002", "--label-smoothing", "0.1",
                                            "--augmentation", "crop", "--views", "2"],
    }
    for name, options in settings.items():
        tops = {"valid": [], "test": []}
        for seed in (1, 2, 3):
            metrics, _ = train(a.data, MOBILENET, scratch / "accuracy", scratch / "m.tar.gz",
                               "--seed", seed, *options)
            for split in tops:
                tops[split].append(metrics["metrics"][split]["top1"])
        rows[name] = {split: {"mean": statistics.mean(v), "runs": v} for split, v in tops.items()}
    return rows


def section_training(a, scratch):
    """The whole training job, cold, against the course's script on the same network and photos.

    ResNet-50 has random weights, so only its time means something: the peer runs one epoch on 1,200
    photos per split, and its time per photo and epoch is multiplied out.
    """
    rows = {}
    plan = {MOBILENET: 5, "resnet50": 1}
    for backbone, peer_epochs in plan.items():
        name = backbone
        if backbone == "resnet50":
            name = scratch / "resnet50.onnx"
            if not name.exists():
                export_resnet50(name)
        options = ["--head", "mlp:128", "--epochs", "5", "--learning-rate", "0.002",
                   "--label-smoothing", "0.1"]
        # Kennel before and after the peer, so that a change of the machine's mood shows.
        cold = []
        cache = scratch / f"cold-{backbone}-before"
        metrics, took = train(a.data, name, cache, scratch / "t.tar.gz", *options)
        cold.append(took)
        _, warm = train(a.data, name, cache, scratch / "t.tar.gz", *options)
        report = scratch / f"hpo-{backbone}.json"
        peer_options = ["--limit", "1200"] if backbone == "resnet50" else []
        call([sys.executable, ROOT / "bench/pytorch_hpo.py", a.data, "--hub", a.hub, "--backbone",
              backbone, "--epochs", peer_epochs, "--workers", a.workers, "--json", report,
              *peer_options])
        peer = json.loads(report.read_text())
        _, took = train(a.data, name, scratch / f"cold-{backbone}-after", scratch / "t.tar.gz",
                        *options)
        cold.append(took)
        rows[backbone] = {
            "kennel_cold_seconds": cold,
            "kennel_warm_seconds": warm,
            "kennel_test_top1": metrics["metrics"]["test"]["top1"],
            "peer": peer,
        }
    return rows


def export_resnet50(path):
    import torch
    import torchvision

    torch.manual_seed(0)
    model = torchvision.models.resnet50(weights=None).eval()
    torch.onnx.export(model, torch.zeros(1, 3, 224, 224), str(path), dynamo=False, opset_version=17,
                      input_names=["input"], output_names=["logits"],
                      dynamic_axes={"input": {0: "batch"}, "logits": {0: "batch"}})


def section_features(a, scratch):
    """Decode, preprocess and engine alone against all of them overlapped."""
    rows = []
    for engine, times in (("onnxruntime", 3), ("rten", 1)):
        for _ in range(times):
            out, _ = call([KENNEL, "engine", "bench", "--backbone", MOBILENET, "--photos",
                           a.data / "train", "--engine", engine, "--json"])
            rows.append(json.loads(out))
    return rows


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_for_ping(port, process, limit=120.0):
    """Seconds until /ping answers 200, asked every millisecond."""
    started = time.perf_counter()
    while time.perf_counter() - started < limit:
        if process.poll() is not None:
            raise SystemExit("the server ended")
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/ping", timeout=5) as answer:
                if answer.status == 200:
                    return time.perf_counter() - started
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            pass
        time.sleep(0.001)
    raise SystemExit("the server never became ready")


def load(port, photo, clients, seconds):
    out, _ = call([LOAD, f"127.0.0.1:{port}", photo, clients, seconds])
    return json.loads(out)


def photo_of_500(a, scratch):
    """A real photo brought to about 500 pixels, as phones and shops send them."""
    from PIL import Image

    source = sorted((a.data / "test").glob("*/*"))[0]
    target = scratch / "photo.jpg"
    with Image.open(source) as image:
        width, height = image.size
        scale = 500 / max(width, height)
        size = (round(width * scale), round(height * scale))
        image.convert("RGB").resize(size, Image.BICUBIC).save(target, quality=90)
    return target


def section_serving(a, scratch):
    photo = photo_of_500(a, scratch)
    model = scratch / "serve.tar.gz"
    train(a.data, MOBILENET, scratch / "accuracy", model)
    folder = scratch / "one"
    folder.mkdir(exist_ok=True)
    shutil.copy(photo, folder / "photo.jpg")
    rows = {"start_ms": [], "kennel": [], "peer": []}
    seconds = 4 if a.quick else 10
    # The parts alone, on the very photo: twenty copies, so that the timing is more than one call.
    copies = scratch / "copies"
    copies.mkdir(exist_ok=True)
    for i in range(64):
        shutil.copy(photo, copies / f"{i}.jpg")
    for _ in range(5):
        port = free_port()
        started = time.perf_counter()
        process = subprocess.Popen([KENNEL, "serve", model, "--port", str(port)],
                                   stderr=subprocess.DEVNULL)
        wait_for_ping(port, process)
        rows["start_ms"].append(1000 * (time.perf_counter() - started))
        process.send_signal(signal.SIGTERM)
        process.wait()
    for _ in range(3):
        # Parts, Kennel and the peer in turn, so that a slow minute of the machine meets all of them.
        single = json.loads(call([KENNEL, "engine", "bench", "--backbone", MOBILENET, "--photos",
                                  copies, "--json"])[0])
        alone = json.loads(call([KENNEL, "engine", "bench", "--backbone", MOBILENET, "--threads", "1",
                                 "--batches", "1", "--seconds", "2", "--json"])[0])
        single["engine_batch1_ms"] = next(r["ms_per_photo"] for r in alone
                                          if r["engine"] == single["engine"])
        port = free_port()
        process = subprocess.Popen([KENNEL, "serve", model, "--port", str(port)],
                                   stderr=subprocess.DEVNULL)
        wait_for_ping(port, process)
        rows["kennel"].append({"parts": single, "one": load(port, photo, 1, seconds),
                               "sixteen": load(port, photo, 16, seconds)})
        process.send_signal(signal.SIGTERM)
        process.wait()
        port = free_port()
        process = subprocess.Popen([sys.executable, ROOT / "bench/pytorch_server.py", "--hub", a.hub,
                                    "--port", str(port)], stderr=subprocess.DEVNULL,
                                   stdout=subprocess.DEVNULL)
        wait_for_ping(port, process)
        rows["peer"].append({"one": load(port, photo, 1, seconds),
                             "sixteen": load(port, photo, 16, seconds)})
        process.send_signal(signal.SIGTERM)
        process.wait()
    return rows


def section_small(a, scratch):
    """Time of `--help` and the size of the binary."""
    times = []
    for _ in range(20):
        times.append(1000 * call([KENNEL, "--help"])[1])
    return {"help_ms_median": statistics.median(times), "binary_bytes": KENNEL.stat().st_size}


SECTIONS = {
    "small": section_small,
    "accuracy": section_accuracy,
    "features": section_features,
    "serving": section_serving,
    "training": section_training,
}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=pathlib.Path, required=True)
    parser.add_argument("--hub", type=pathlib.Path, required=True)
    parser.add_argument("--only", default=",".join(SECTIONS))
    parser.add_argument("--workers", default="1", help="loader processes of the PyTorch script")
    parser.add_argument("--quick", action="store_true", help="less of everything; not for quoting")
    a = parser.parse_args()
    OUT.mkdir(parents=True, exist_ok=True)
    results_path = OUT / "results.json"
    results = json.loads(results_path.read_text()) if results_path.exists() else {}
    with tempfile.TemporaryDirectory() as scratch:
        for name in a.only.split(","):
            print(f"== {name}", flush=True)
            results[name] = SECTIONS[name](a, pathlib.Path(scratch))
            results_path.write_text(json.dumps(results, indent=1))
            print(json.dumps(results[name], indent=1), flush=True)


if __name__ == "__main__":
    main()

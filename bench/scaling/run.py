"""Numbers of automatic scaling: the simulator's rate, and a step of the load on a real endpoint beside the simulation of
the same, in both modes.

    bench/run.sh scaling [--only simulator,fast,aws] [--runs 3] [--hub FOLDER] [--data FOLDER]

`fast` takes about four minutes a run, `aws` twenty-five (its alarms look at minutes). Wants a quiet machine: model, load and
platform share its cores. Writes bench/out/scaling.json and the pages of the runs beside it.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "platform"))
import server  # noqa: E402

OUT = server.ROOT / "bench/out"
BACKBONE = "mobilenet_v2_1.0_224"


def simulator(_):
    """Simulated requests a second on one core."""
    ran = subprocess.run(["cargo", "run", "--release", "--locked", "-q", "-p", "kennel-scaling", "--example",
                          "simulate_rate"], cwd=server.ROOT, check=True, capture_output=True, text=True)
    print(ran.stdout)
    return {"printed": ran.stdout}


def model(a):
    """A package of MobileNetV2, trained once."""
    path = OUT / "scaling-model.tar.gz"
    if not path.exists():
        subprocess.run([server.KENNEL, "train", a.data, "--backbone", BACKBONE, "--output", path],
                       check=True, env={**os.environ, "KENNEL_HUB": str(a.hub)})
    return path


def step(a, name, settings, trace, seconds, settle, *more):
    """One endpoint of its own, one load, and what `kennel scale test` says of both."""
    photo = sorted(pathlib.Path(a.data, "test").glob("*/*.jpg"))[0]
    with tempfile.TemporaryDirectory() as scratch, server.Kennel(pathlib.Path(scratch) / name) as kennel:
        def run(*arguments):
            return subprocess.run([server.KENNEL, *arguments, "--data-dir", kennel.data], check=True,
                                  stdout=subprocess.PIPE, text=True).stdout
        run("deploy", str(model(a)), "--name", "dogs")
        run("scale", "set", "dogs", *settings)
        page = OUT / f"scaling-{name}.html"
        told = run("scale", "test", "dogs", str(photo), "--trace", trace, "--seconds", str(seconds), "--settle",
                   str(settle), "--start", str(a.start), "--json", "--output", str(page), *more)
    found = json.loads(told)
    for key in ("measured", "simulated"):
        print(f"  {name} {key}: {json.dumps(found[key])}", flush=True)
    return found


def fast(a):
    """A tenfold step and back, decided each second."""
    return [step(a, f"fast-{n}", ["--max", "3", "--target", "400", "--fast"], "step:3,30,20,80", 100, 200)
            for n in range(a.runs)]


def aws(a):
    """A tenfold step and back, decided by AWS's alarms; the course's choice of settings."""
    return [step(a, "aws", ["--max", "3", "--target", "10", "--scale-out-cooldown", "30", "--scale-in-cooldown", "120"],
                 "step:0.1,1,60,420", 480, 1400, "--service", "8,11")]


SECTIONS = {"simulator": simulator, "fast": fast, "aws": aws}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="simulator,fast", help="sections, separated by commas")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--start", type=float, default=250, help="milliseconds that an instance takes to start, simulated")
    parser.add_argument("--hub", type=pathlib.Path, default=server.ROOT.parent / "shared/hub")
    parser.add_argument("--data", type=pathlib.Path, default=server.ROOT.parent / "shared/data/dogs120")
    a = parser.parse_args()
    OUT.mkdir(parents=True, exist_ok=True)
    path = OUT / "scaling.json"
    results = json.loads(path.read_text()) if path.exists() else {}
    for name in a.only.split(","):
        print(f"== {name}: {SECTIONS[name].__doc__}", flush=True)
        results[name] = {"load_before": os.getloadavg()[0], "found": SECTIONS[name](a)}
        path.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()

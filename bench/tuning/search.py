"""Sections `trials` and `bayesian`: what a search costs, and whether it finds more than chance."""

import json
import math
import os
import pathlib
import shutil
import statistics

import kennel

RANGES = {
    "issue": ["learning_rate=1e-3..1e-1:log", "batch_size=32,64,128,256,512"],
    "wide": ["learning_rate=1e-5..1e-1:log", "batch_size=32,64,128,256,512"],
}
TRIALS, EPOCHS = 20, 5


def ranges(name):
    return [part for text in RANGES[name] for part in ("--param", text)]


def section_trials(a, scratch):
    """20 trials from a cold cache against one training from a cold cache and 100 epochs of PyTorch."""
    rows = {"single": [], "tune": []}
    peer = None
    for round_ in range(a.rounds):
        cache = scratch / "cold"
        shutil.rmtree(cache, ignore_errors=True)
        _, metrics, watch = kennel.train(a, cache, scratch / "single", "--epochs", EPOCHS)
        rows["single"].append({**watch.row(), "phases": metrics["seconds"],
                               "valid_top1": metrics["metrics"]["valid"]["top1"]})
        shutil.rmtree(cache)
        shutil.rmtree(scratch / "tune", ignore_errors=True)
        trials, metrics, watch = kennel.tune(
            a, cache, scratch / "tune", "--trials", TRIALS, "--strategy", "bayesian", "--epochs", EPOCHS,
            *ranges("issue"))
        rows["tune"].append({**watch.row(), "trials": len(trials), "features_seconds": metrics["seconds"]["features"],
                             "valid_top1": metrics["metrics"]["valid"]["top1"]})
        print(f"  round {round_ + 1}: single {rows['single'][-1]['seconds']:.1f} s, {TRIALS} trials "
              f"{rows['tune'][-1]['seconds']:.1f} s; {kennel.noise([rows['single'][-1], rows['tune'][-1]])}", flush=True)
        # In the middle, so that a change of the machine's mood shows.
        if round_ == 0:
            peer = pytorch_epoch(a, scratch)
        a.save({**rows, "peer": peer})
    return {**rows, "peer": peer}


def pytorch_epoch(a, scratch):
    """One epoch of the PyTorch equivalent, training and validation; None where its interpreter is not there."""
    python = os.environ.get("BENCH_PYTHON", kennel.ROOT / "bench/out/venv/bin/python")
    if not pathlib.Path(python).exists():
        print(f"  PyTorch skipped, there is no {python}")
        return None
    report = scratch / "hpo.json"
    limit = ["--limit", a.peer_limit] if a.peer_limit else []
    _, watch = kennel.call([python, kennel.ROOT / "bench/pytorch_hpo.py", a.data, "--hub", a.hub, "--backbone",
                            kennel.BACKBONE, "--epochs", 1, "--workers", a.workers, "--json", report, *limit],
                           dict(os.environ))
    found = json.loads(report.read_text())
    epoch, photos = found["history"][0], found["photos"]
    whole = {split: sum(1 for _ in (a.data / split).glob("*/*")) for split in ("train", "valid")}
    per_photo = {"train": epoch["train_seconds"] / photos["train"],
                 "valid": (epoch["seconds"] - epoch["train_seconds"]) / photos["valid"]}
    seconds = sum(per_photo[split] * whole[split] for split in whole)
    print(f"  PyTorch: an epoch takes {seconds:.0f} s, measured on {photos}; others took {watch.others:.2f} cores",
          flush=True)
    return {**watch.row(), "photos": photos, "epoch_seconds": seconds, "ms_per_photo": {
        split: 1000 * value for split, value in per_photo.items()}, "torch": found["torch"], "workers": a.workers}


def table_trials(found):
    single, tune, peer = found["single"], found["tune"], found["peer"]
    ratios = [t["seconds"] / s["seconds"] for s, t in zip(single, tune, strict=True)]
    yield "one training of 5 epochs, cold", kennel.of(kennel.column(single, "seconds")) + " s", kennel.noise(single)
    yield f"{TRIALS} trials of 5 epochs, cold", kennel.of(kennel.column(tune, "seconds")) + " s", kennel.noise(tune)
    yield "20 trials over one training", kennel.of(ratios, 2), "at most 2.5"
    if peer:
        whole = TRIALS * EPOCHS * peer["epoch_seconds"]
        yield "PyTorch, 20 x 5 epochs, one measured", f"{whole:.0f} s", f"others took {peer['others_cores']:.2f} cores"
        yield "PyTorch over 20 trials", kennel.of([whole / t["seconds"] for t in tune], 0), "at least 150"


def section_bayesian(a, scratch):
    """The best of N trials by the Gaussian process against the best of N drawn ones, many seeds, warm cache."""
    cache = a.cache or scratch / "warm"
    settings = []
    for text in a.settings.split(","):
        objective, width, start = text.split("/")
        settings.append({"name": text, "objective": objective, "ranges": width, "warm_start": start == "warm"})
    for setting in settings:
        setting["runs"] = {"random": [], "bayesian": []}
        for seed in range(1, a.seeds + 1):
            for strategy, runs in setting["runs"].items():
                runs.append(one_search(a, scratch, cache, setting, strategy, seed))
        found = {"trials": a.trials, "seeds": a.seeds, "settings": [s for s in settings if "runs" in s]}
        a.save(found)
        print(f"  {setting['name']}: " + compare(setting)["text"], flush=True)
    return found


def one_search(a, scratch, cache, setting, strategy, seed):
    output = scratch / "search"
    shutil.rmtree(output, ignore_errors=True)
    parallel = ["--parallel", a.parallel] if a.parallel else []
    trials, metrics, watch = kennel.tune(
        a, cache, output, "--trials", a.trials, "--strategy", strategy, "--epochs", EPOCHS, "--seed", seed,
        "--objective", setting["objective"], "--warm-start", str(setting["warm_start"]).lower(), *parallel,
        *ranges(setting["ranges"]))
    values = [trial["state"]["Succeeded"] for trial in trials]
    pick = min if setting["objective"] == "loss" else max
    return {"seed": seed, "best": pick(values), "valid_top1": metrics["metrics"]["valid"]["top1"],
            "valid_loss": metrics["metrics"]["valid"]["loss"], "seconds": watch.seconds,
            "others_cores": watch.others, "values": values,
            # After how many trials the best so far was what it was.
            "running_best": [pick(values[:n]) for n in range(1, len(values) + 1)]}


def compare(setting):
    """Medians, quartiles, and Mann and Whitney's test by its normal approximation."""
    sign = -1 if setting["objective"] == "loss" else 1
    best = {name: [run["best"] for run in runs] for name, runs in setting["runs"].items()}
    mine, other = best["bayesian"], best["random"]
    better = sum((sign * m > sign * o) + 0.5 * (m == o) for m in mine for o in other)
    pairs = len(mine) * len(other)
    together = sorted(mine + other)
    ties = sum(n ** 3 - n for n in map(together.count, set(together)))
    n = len(together)
    spread = math.sqrt(pairs / 12 * ((n + 1) - ties / (n * (n - 1)))) or 1.0
    p = math.erfc(abs(better - pairs / 2) / spread / math.sqrt(2))
    medians = {name: statistics.median(values) for name, values in best.items()}
    text = ", ".join(f"{name} {medians[name]:.4f} ({quartiles(values)})" for name, values in best.items())
    share = better / pairs
    return {"medians": medians, "share": share, "p": p,
            "wins": sign * medians["bayesian"] > sign * medians["random"],
            "text": f"{text}; Bayesian better in {100 * share:.0f} % of pairs, p = {p:.2g}"}


def quartiles(values):
    if len(values) < 2:
        return "one run"
    low, _, high = statistics.quantiles(values, n=4)
    return f"{low:.4f} to {high:.4f}"


def table_bayesian(found):
    for setting in found["settings"]:
        result = compare(setting)
        medians = result["medians"]
        yield (f"{setting['name']}, best of {found['trials']}, {found['seeds']} seeds",
               f"Bayesian {medians['bayesian']:.4f}, Random {medians['random']:.4f}",
               f"Bayesian better: {'met' if result['wins'] else 'NOT MET'} (pairs {100 * result['share']:.0f} %, "
               f"p {result['p']:.2g})")

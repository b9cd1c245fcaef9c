"""The numbers of tuning, rules, profiler and several instances of bench/RESULTS.md.

    bench/run.sh tuning [--only trials,job,bayesian,instances,rules] [--rounds N] [--seeds N] …

Each section writes into bench/out/tuning.json as soon as it is done. Beside every time stands how many of the
machine's cores other programs took meanwhile: on a busy machine only ratios within one round say something.
KENNEL_BIN names another binary, BENCH_PYTHON the interpreter with PyTorch, KENNEL_MPI the MPI library.
"""

import argparse
import json
import os
import pathlib
import signal
import sys
import tempfile
import time

import jobs
import kennel
import machines
import search

OUT = kennel.ROOT / "bench/out"
SECTIONS = {
    "trials": (search.section_trials, search.table_trials),
    "job": (jobs.section_job, jobs.table_job),
    "bayesian": (search.section_bayesian, search.table_bayesian),
    "instances": (machines.section_instances, machines.table_instances),
    "rules": (jobs.section_rules, jobs.table_rules),
}
SETTINGS = "loss/issue/cold,loss/wide/cold,accuracy/issue/cold,accuracy/wide/cold,loss/issue/warm,accuracy/issue/warm"


def show(rows):
    for what, found, note in rows:
        print(f"  {what:<62} {found!s:<44} {note}", flush=True)


def options():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(SECTIONS), help="sections, separated by commas")
    parser.add_argument("--data", type=pathlib.Path, default=kennel.ROOT.parent / "shared/data/dogs120")
    parser.add_argument("--hub", type=pathlib.Path, default=kennel.ROOT.parent / "shared/hub")
    parser.add_argument("--scratch", type=pathlib.Path, help="folder for caches, models and data folders")
    parser.add_argument("--cache", type=pathlib.Path, help="warm feature cache for `bayesian` (default: its own)")
    parser.add_argument("--rounds", type=int, default=3, help="repetitions of what starts from a cold cache")
    parser.add_argument("--workers", default="1", help="loader processes of the PyTorch script")
    parser.add_argument("--peer-limit", type=int, help="at most this many photos per split in PyTorch's epoch")
    parser.add_argument("--trials", type=int, default=12, help="of each search of `bayesian`")
    parser.add_argument("--parallel", type=int, help="trials at a time in `bayesian` (default: kennel's)")
    parser.add_argument("--seeds", type=int, default=20, help="of `bayesian`")
    parser.add_argument("--settings", default=SETTINGS,
                        help="of `bayesian`: objective/range/start, separated by commas; start `cold` is a drawn head")
    parser.add_argument("--photos", type=int, default=2400, help="of `instances`")
    parser.add_argument("--rule-photos", type=int, help="of `rules` (default: all)")
    parser.add_argument("--warm-rounds", type=int, default=6, help="repetitions of the warm jobs of `rules`")
    a = parser.parse_args()
    a.data, a.hub = a.data.resolve(), a.hub.resolve()
    for name in a.only.split(","):
        if name not in SECTIONS:
            parser.error(f"no section `{name}`; there are {', '.join(SECTIONS)}")
    if not kennel.KENNEL.exists():
        parser.error(f"there is no {kennel.KENNEL}; build it with `make build`")
    return a


def main():
    a = options()
    # An exception ends every `with`, and with them every process started here.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(1))
    OUT.mkdir(parents=True, exist_ok=True)
    path = OUT / "tuning.json"
    with tempfile.TemporaryDirectory(dir=a.scratch) as scratch:
        for name in a.only.split(","):
            section, table = SECTIONS[name]
            load = os.getloadavg()[0]
            print(f"== {name} (load before {load:.1f}): {section.__doc__}", flush=True)
            started = time.perf_counter()

            def save(found, name=name, load=load, started=started):
                # Read again: sections may be measured by several runs of this script.
                results = json.loads(path.read_text()) if path.exists() else {}
                results[name] = {"when": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "load_before": load,
                                 "took_seconds": time.perf_counter() - started, **found}
                path.write_text(json.dumps(results, indent=1))

            # Sections that take long save what they have on the way.
            a.save = save
            found = section(a, pathlib.Path(scratch))
            save(found)
            show(table(found))


if __name__ == "__main__":
    main()

"""The platform's numbers of bench/RESULTS.md: start, STS, InvokeEndpoint, connections, S3, updates and kills.

    bench/run.sh platform [--only start,sts,invoke,connections,s3,update,kill] [--photos DIR] [--quick]

Starts its own `kennel up` on temporary folders and ends it. Each section writes into bench/out/platform.json as
soon as it is done. Peers run in the same minutes as Kennel, because machines are noisy; ratios are what counts.

It is a folder and not bench/platform.py, because a file of that name would stand in for Python's own module
`platform` in every other script of bench/.
"""

import argparse
import json
import os
import pathlib
import signal
import sys
import tempfile
import time

import connections
import endpoints
import server
import services

OUT = server.ROOT / "bench/out"
SECTIONS = {
    "start": (services.section_start, services.table_start),
    "sts": (services.section_sts, services.table_sts),
    "invoke": (endpoints.section_invoke, endpoints.table_invoke),
    "connections": (connections.section_connections, connections.table_connections),
    "s3": (services.section_s3, services.table_s3),
    "update": (endpoints.section_update, endpoints.table_update),
    "kill": (endpoints.section_kill, endpoints.table_kill),
}


def show(rows):
    for what, found, goal in rows:
        print(f"  {what:<66} {found!s:<36} {goal}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(SECTIONS), help="sections, separated by commas")
    parser.add_argument("--photos", type=pathlib.Path, default=server.ROOT.parent / "shared/data/dogs120")
    parser.add_argument("--files", type=int, default=8400, help="most photos to copy")
    parser.add_argument("--scratch", type=pathlib.Path, help="folder for data folders and the large object")
    parser.add_argument("--connections", type=int, default=16, help="of the STS generator")
    parser.add_argument("--processes", type=int, default=1, help="of the STS generator")
    parser.add_argument("--rate", type=int, default=200, help="invocations per second")
    parser.add_argument("--seconds", type=float, help="of each way of each round of `invoke` (default 30)")
    parser.add_argument("--quick", action="store_true", help="less of everything; not for quoting")
    a = parser.parse_args()
    names = a.only.split(",")
    for name in names:
        if name not in SECTIONS:
            parser.error(f"no section `{name}`; there are {', '.join(SECTIONS)}")
    if not server.KENNEL.exists():
        parser.error(f"there is no {server.KENNEL}; build it with `make build`")
    # An exception ends every `with`, and with them every process started here.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(1))
    OUT.mkdir(parents=True, exist_ok=True)
    path = OUT / "platform.json"
    results = json.loads(path.read_text()) if path.exists() else {}
    with tempfile.TemporaryDirectory(dir=a.scratch) as scratch:
        for name in names:
            section, table = SECTIONS[name]
            load = os.getloadavg()[0]
            print(f"== {name} (load before {load:.1f}): {section.__doc__}", flush=True)
            started = time.perf_counter()
            if name == "s3" and not a.photos.is_dir():
                print(f"  skipped, there is no {a.photos}")
                continue
            found = section(a, pathlib.Path(scratch))
            results[name] = {"when": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "quick": a.quick,
                             "load_before": load, "took_seconds": time.perf_counter() - started, **found}
            path.write_text(json.dumps(results, indent=1))
            show(table(found))


if __name__ == "__main__":
    main()

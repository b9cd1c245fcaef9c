#!/usr/bin/env bash
# `make bench`: Kennel and its PyTorch peers side by side in one run. Wants a quiet machine, about an
# hour, ../shared with data/dogs120 and hub (or KENNEL_BENCH_DATA and KENNEL_HUB), and PyTorch, which is
# installed into bench/out/venv unless BENCH_PYTHON names an interpreter that has it.
# `bench/run.sh platform [OPTIONS]` runs the platform's numbers alone (bench/platform/run.py), ten minutes, with
# the clients of bench/platform/requirements.txt; without arguments they come last.
# `bench/run.sh tuning [OPTIONS]` runs those of tuning, rules, profiler and instances alone (bench/tuning/run.py), about
# an hour, with the same clients and PyTorch; `make bench` leaves them out.
# `bench/run.sh functions [OPTIONS]` runs those of functions alone (bench/functions/run.py), two minutes, with
# awslambdaric in the clients' environment.
# `bench/run.sh scaling [OPTIONS]` runs those of automatic scaling alone (bench/scaling/run.py), fifteen minutes.
# `bench/platform/deployments.py` counts what deployments lose.
# Results: bench/out/results.json and bench/out/results.md; the platform's in
# bench/out/platform.json, of tuning in bench/out/tuning.json; bench/RESULTS.md keeps what was measured.
set -euo pipefail
cd "$(dirname "$0")/.."
mkdir -p bench/out
# prepare PYTHON VENV REQUIREMENTS: makes the environment, unless the interpreter is there already.
prepare() {
    if [ ! -x "$1" ]; then
        "${PYTHON:-python3}" -m venv "$2"
        "$2/bin/pip" install -q --disable-pip-version-check -r "$3"
    fi
}
clients=${BENCH_PLATFORM_PYTHON:-bench/out/venv-platform/bin/python}
python=${BENCH_PYTHON:-bench/out/venv/bin/python}
platform() {
    prepare "$clients" bench/out/venv-platform bench/platform/requirements.txt
    "$clients" bench/platform/run.py "$@"
}
if [ "${1:-}" = platform ]; then
    shift
    platform "$@"
    exit
fi
if [ "${1:-}" = functions ]; then
    shift
    prepare "$clients" bench/out/venv-platform bench/platform/requirements.txt
    cargo build --release --locked -p kennel-hosting --example function_latency
    "$clients" bench/functions/run.py "$@"
    exit
fi
export KENNEL_HUB=${KENNEL_HUB:-$PWD/../shared/hub}
data=${KENNEL_BENCH_DATA:-$PWD/../shared/data/dogs120}
if [ ! -d "$data" ] || [ ! -d "$KENNEL_HUB" ]; then
    echo "bench: skipped, there is no $data or no $KENNEL_HUB"
    exit 0
fi
if [ "${1:-}" = scaling ]; then
    shift
    prepare "$clients" bench/out/venv-platform bench/platform/requirements.txt
    "$clients" bench/scaling/run.py --data "$data" --hub "$KENNEL_HUB" "$@"
    exit
fi
prepare "$python" bench/out/venv bench/requirements.txt
if [ "${1:-}" = tuning ]; then
    shift
    prepare "$clients" bench/out/venv-platform bench/platform/requirements.txt
    BENCH_PYTHON=$python "$clients" bench/tuning/run.py --data "$data" --hub "$KENNEL_HUB" "$@"
    exit
fi
cargo build --release --locked --example load
"$python" bench/run.py --data "$data" --hub "$KENNEL_HUB" "$@"
if [ $# -eq 0 ]; then
    platform
fi

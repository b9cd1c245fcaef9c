#!/usr/bin/env bash
# `make bench`: Kennel and its PyTorch peers side by side in one run. Wants a quiet machine, about an
# hour, ../shared with data/dogs120 and hub (or KENNEL_BENCH_DATA and KENNEL_HUB), and PyTorch, which is
# installed into bench/out/venv unless BENCH_PYTHON names an interpreter that has it.
# `bench/run.sh platform [OPTIONS]` runs the platform's numbers alone (bench/platform/run.py), ten minutes, with
# the clients of bench/platform/requirements.txt; without arguments they come last.
# Results: bench/out/results.json and bench/out/results.md; the platform's in
# bench/out/platform.json; bench/RESULTS.md keeps what was measured.
set -euo pipefail
cd "$(dirname "$0")/.."
mkdir -p bench/out
platform() {
    local python=${BENCH_PLATFORM_PYTHON:-bench/out/venv-platform/bin/python}
    if [ ! -x "$python" ]; then
        "${PYTHON:-python3}" -m venv bench/out/venv-platform
        bench/out/venv-platform/bin/pip install -q --disable-pip-version-check -r bench/platform/requirements.txt
    fi
    "$python" bench/platform/run.py "$@"
}
if [ "${1:-}" = platform ]; then
    shift
    platform "$@"
    exit
fi
export KENNEL_HUB=${KENNEL_HUB:-$PWD/../shared/hub}
data=${KENNEL_BENCH_DATA:-$PWD/../shared/data/dogs120}
if [ ! -d "$data" ] || [ ! -d "$KENNEL_HUB" ]; then
    echo "bench: skipped, there is no $data or no $KENNEL_HUB"
    exit 0
fi
python=${BENCH_PYTHON:-bench/out/venv/bin/python}
if [ ! -x "$python" ]; then
    "${PYTHON:-python3}" -m venv bench/out/venv
    bench/out/venv/bin/pip install -q --disable-pip-version-check -r bench/requirements.txt
fi
cargo build --release --locked --example load
"$python" bench/run.py --data "$data" --hub "$KENNEL_HUB" "$@"
if [ $# -eq 0 ]; then
    platform
fi

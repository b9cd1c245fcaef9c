#!/usr/bin/env bash
# `make bench`: Kennel and its PyTorch peers side by side in one run. Wants a quiet machine, about an
# hour, ../shared with data/dogs120 and hub (or KENNEL_BENCH_DATA and KENNEL_HUB), and PyTorch, which is
# installed into bench/out/venv unless BENCH_PYTHON names an interpreter that has it.
# Results: bench/out/results.json and bench/out/results.md; bench/RESULTS.md keeps what was measured.
set -euo pipefail
cd "$(dirname "$0")/.."
mkdir -p bench/out
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
exec "$python" bench/run.py --data "$data" --hub "$KENNEL_HUB" "$@"

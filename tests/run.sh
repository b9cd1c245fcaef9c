#!/usr/bin/env bash
# Runs every test of the workspace and closes with "N passed, N failed". `make test` and
# .ci/run call it.
set -uo pipefail
cd "$(dirname "$0")/.."
CARGO=${CARGO:-cargo}
PYTHON=${PYTHON:-python3}
VENV=.venv

# The Python side: a virtual environment of our own, made once.
if [ -z "${KENNEL_TEST_PYTHON:-}" ]; then
    stamp="$VENV/.kennel-$(cksum <tests/requirements.txt | cut -d' ' -f1)"
    if [ ! -f "$stamp" ]; then
        if "$PYTHON" -m venv "$VENV" && "$VENV/bin/pip" install -q --disable-pip-version-check \
            -r tests/requirements.txt; then
            touch "$stamp"
        else
            echo "tests: no Python environment could be made; the tests that need it skip" >&2
        fi
    fi
    [ -f "$stamp" ] && KENNEL_TEST_PYTHON="$PWD/$VENV/bin/python"
fi
export KENNEL_TEST_PYTHON=${KENNEL_TEST_PYTHON:-}
# ONNX Runtime for the engine tests: the library inside the wheel that was just installed.
if [ -z "${KENNEL_ONNXRUNTIME:-}" ] && [ -n "$KENNEL_TEST_PYTHON" ]; then
    library=$("$KENNEL_TEST_PYTHON" - <<'PY'
import glob, os, importlib.util
spec = importlib.util.find_spec("onnxruntime")
folder = os.path.join(os.path.dirname(spec.origin), "capi") if spec else ""
print(next(iter(sorted(glob.glob(os.path.join(folder, "libonnxruntime.so*"))
                       + glob.glob(os.path.join(folder, "libonnxruntime*.dylib")))), ""))
PY
)
    [ -n "$library" ] && export KENNEL_ONNXRUNTIME="$library"
fi

log=$(mktemp)
trap 'rm -f "$log"' EXIT
"$CARGO" test --release --locked --workspace --no-fail-fast "$@" 2>&1 | tee "$log"
status=${PIPESTATUS[0]}
awk '/^test result:/ { for (i = 1; i < NF; i++) { if ($(i+1) == "passed;") p += $i;
        if ($(i+1) == "failed;") f += $i; if ($(i+1) == "ignored;") s += $i } }
     END { if (s) printf "%d ignored: parts of other tests, or of machines that have more\n", s >"/dev/stderr"
           printf "%d passed, %d failed\n", p, f }' "$log" >"$log.sum"
summary=$(cat "$log.sum"); rm -f "$log.sum"
if [ "$status" -ne 0 ] && [[ "$summary" == *", 0 failed"* ]]; then
    # The build or a test program itself broke: that is a failure too.
    summary="${summary/, 0 failed/, 1 failed}"
fi
echo "$summary"
exit "$status"

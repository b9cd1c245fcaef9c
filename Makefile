# The commands of a developer's day. Everything builds with the one release profile, so that tests,
# benchmarks and the binary share one build.

CARGO ?= cargo
PYTHON ?= python3
VENV := .venv

.PHONY: build demo test check lint fmt bench audit clean-demo

build:
	$(CARGO) build --release --locked -p kennel

# The main job on drawn pictures, offline: draw, train, serve, classify over HTTP.
demo: build
	target/release/kennel demo

# Unit, property and integration tests. The Python environment is for the tests in which ONNX Runtime
# in Python checks our packages; without network those tests skip and say so.
test:
	CARGO="$(CARGO)" PYTHON="$(PYTHON)" bash tests/run.sh

fmt:
	$(CARGO) fmt --all

lint:
	$(CARGO) fmt --all --check
	$(CARGO) clippy --release --locked --workspace --all-targets -- -D warnings

# Known vulnerabilities; needs cargo-audit and its advisory database.
audit:
	@if $(CARGO) audit --version >/dev/null 2>&1; then $(CARGO) audit; \
	else echo "audit: skipped, cargo-audit is not installed (cargo install cargo-audit)"; fi

check: lint audit test

# Benchmarks side by side with PyTorch; minutes to an hour, on a quiet machine. Writes bench/out/.
bench: build
	PYTHON="$(PYTHON)" bash bench/run.sh

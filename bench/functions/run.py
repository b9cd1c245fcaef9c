"""The numbers of functions in bench/RESULTS.md: cold starts, the cost of a warm invocation, ten calls against a
reservation of four.

    bench/run.sh functions [--cold 30] [--warm 2000]

Starts its own `kennel up` on temporary folders. Everything is measured from outside, over HTTP with signatures: from
the request's first byte to the answer's first. The native function is crates/hosting/examples/function_latency.rs,
which answers every event with itself. Writes bench/out/functions.json.
"""

import argparse
import base64
import io
import json
import os
import pathlib
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "platform"))
import client  # noqa: E402
import server  # noqa: E402

OUT = server.ROOT / "bench/out"
IMPORTS_NOTHING = "def handler(event, context):\n    return event\n"
IMPORTS_BOTO3 = "import boto3\nclient = boto3.client('sagemaker-runtime')\n" + IMPORTS_NOTHING


class Lambda:
    """Signed calls over one connection."""

    def __init__(self, up):
        self.keys, self.address = up.root_keys(), up.address
        self.socket = socket.create_connection(self.address)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def send(self, request):
        """Seconds to the first byte of the answer, its status, head and body."""
        started = time.perf_counter()
        self.socket.sendall(request)
        data = self.socket.recv(1 << 20)
        first = time.perf_counter() - started
        while b"\r\n\r\n" not in data:
            data += self.socket.recv(1 << 20)
        head, body = data.split(b"\r\n\r\n", 1)
        lines = (line.split(b": ", 1) for line in head.split(b"\r\n")[1:])
        fields = {name.lower(): value for name, value in lines}
        while len(body) < int(fields.get(b"content-length", 0)):
            body += self.socket.recv(1 << 20)
        return first, int(head.split()[1]), fields, body

    def call(self, method, path, body=None, **headers):
        data = json.dumps(body).encode() if body is not None else b""
        request = client.signed(self.keys, self.address, "lambda", method, path, headers, data)
        _, status, _, answer = self.send(request)
        assert status < 300, (status, answer)
        return json.loads(answer or b"null")

    def create(self, name, code, runtime, handler, memory=256):
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as z:
            for entry, (data, mode) in code.items():
                info = zipfile.ZipInfo(entry)
                info.external_attr, info.compress_type = mode << 16, zipfile.ZIP_DEFLATED
                z.writestr(info, data)
        self.call("POST", "/2015-03-31/functions", {
            "FunctionName": name, "Runtime": runtime, "Handler": handler, "Role": self.role, "MemorySize": memory,
            "Timeout": 60, "Code": {"ZipFile": base64.b64encode(out.getvalue()).decode()}})

    def invocations(self, name, count, body=b'{"k": 1}', qualifier=""):
        path = f"/2015-03-31/functions/{name}/invocations"
        query = f"Qualifier={qualifier}" if qualifier else ""
        headers = {"x-amz-log-type": "Tail"}
        return list(client.many(count, self.keys, self.address, "lambda", "POST", path, headers, body, query))


def quantiles(values):
    values = sorted(values)
    at = lambda share: values[min(len(values) - 1, int(share * len(values)))] * 1000
    return {"p50": round(statistics.median(values) * 1000, 2), "p95": round(at(.95), 2), "p99": round(at(.99), 2)}


def cold(lam, name, rounds):
    """A change of configuration ends the warm environment, so each invocation makes one."""
    found = []
    for number in range(rounds):
        lam.call("PUT", f"/2015-03-31/functions/{name}/configuration", {"Description": str(number)})
        first, status, fields, body = lam.send(lam.invocations(name, 1)[0])
        log = base64.b64decode(fields[b"x-amz-log-result"])
        assert status == 200 and b"Init Duration" in log, (status, body, log)
        assert b"x-amz-function-error" not in fields, body
        found.append(first)
    return quantiles(found)


def warm(lam, name, count):
    """The whole round trip: signature, decision, environment, answer, for a function that does nothing."""
    lam.send(lam.invocations(name, 1)[0])
    found = []
    for request in lam.invocations(name, count):
        first, status, fields, body = lam.send(request)
        assert status == 200 and body == b'{"k": 1}', (status, body)
        found.append(first)
    return quantiles(found)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cold", type=int, default=30)
    parser.add_argument("--warm", type=int, default=2000)
    a = parser.parse_args()
    native = server.KENNEL.parent / "examples/function_latency"
    if not native.exists():
        parser.error(f"there is no {native}; `cargo build --release -p kennel-hosting --example function_latency`")
    python = os.environ.get("BENCH_LAMBDA_PYTHON", sys.executable)
    if subprocess.run([python, "-c", "import awslambdaric, boto3"], capture_output=True).returncode:
        parser.error(f"{python} has no awslambdaric and boto3")
    result = {}
    with tempfile.TemporaryDirectory() as folder:
        data = pathlib.Path(folder, "data")
        data.mkdir()
        (data / "kennel.toml").write_text(f'[runtimes.python]\npython = "{python}"\n')
        with server.Kennel(data) as up:
            lam = Lambda(up)
            lam.role = f"arn:aws:iam::{account(up)}:role/service-role/AmazonSageMaker-ExecutionRole"
            lam.create("native", {"bootstrap": (native.read_bytes(), 0o755)}, "provided.al2023", "x")
            lam.create("plain", {"f.py": (IMPORTS_NOTHING, 0o644)}, "python3.11", "f.handler")
            lam.create("boto3", {"f.py": (IMPORTS_BOTO3, 0o644)}, "python3.11", "f.handler")
            for name in ("native", "plain", "boto3"):
                cold(lam, name, 3)
                result[f"cold {name}"] = cold(lam, name, a.cold)
                print(f"cold {name:<8} {result[f'cold {name}']} ms", flush=True)
            for name in ("native", "plain"):
                result[f"warm {name}"] = warm(lam, name, a.warm)
                print(f"warm {name:<8} {result[f'warm {name}']} ms", flush=True)
    OUT.mkdir(exist_ok=True)
    (OUT / "functions.json").write_text(json.dumps(result, indent=1) + "\n")


def account(up):
    return json.loads((up.data / "root-credentials.json").read_text())["account"]


if __name__ == "__main__":
    main()

"""Model servers, started as the platform starts them and spoken to over TCP."""

import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest
from unittest import mock

from . import support
from kennel_runtime import http_server

ECHO = """
def model_fn(model_dir):
    return {"classes": 2}
def input_fn(body, content_type):
    return body
def predict_fn(data, model):
    return [len(data), type(data).__name__, model["classes"]]
"""


class Instance:
    """One running server."""

    def __init__(self, test, script, name="inference.py", model_files=None, arguments=(), wait=True, **env):
        self.folder = tempfile.mkdtemp()
        test.addCleanup(shutil.rmtree, self.folder, True)
        if script is not None:
            support.write(os.path.join(self.folder, "code"), name, script)
        for file, text in (model_files or {}).items():
            support.write(self.folder, file, text)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "kennel_runtime.serve", "--port", "0", "--model-dir", self.folder] + list(arguments),
            env=support.environment(**env), cwd=tempfile.gettempdir(),
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True)
        test.addCleanup(self._end)
        line = self.process.stderr.readline()
        found = re.match(r"listening on http://127\.0\.0\.1:(\d+)\n$", line)
        test.assertTrue(found, line)
        self.port = int(found.group(1))
        if wait:
            self.wait_ready()

    def _end(self):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()
        self.process.stderr.close()

    def connect(self):
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)

    def request(self, method, path, body=None, **headers):
        connection = self.connect()
        try:
            return ask(connection, method, path, body, **headers)
        finally:
            connection.close()

    def invoke(self, body, content_type="application/json", accept=None):
        headers = {"Content-Type": content_type} if content_type else {}
        if accept:
            headers["Accept"] = accept
        return self.request("POST", "/invocations", body, **headers)

    def wait_ready(self):
        end = time.monotonic() + 20
        while self.request("GET", "/ping")[0] != 200:
            if time.monotonic() > end:
                raise AssertionError("never ready")
            time.sleep(0.01)

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        return self.rest()

    def rest(self):
        """What the server still prints to stderr until it ends; `communicate` would miss what readline has buffered."""
        text = self.process.stderr.read()
        self.process.wait(timeout=35)
        return text


def ask(connection, method, path, body=None, **headers):
    connection.request(method, path, body, headers)
    reply = connection.getresponse()
    return reply.status, reply.read(), reply


class Contract(unittest.TestCase):
    def test_json_and_images(self):
        server = Instance(self, ECHO)
        status, body, reply = server.invoke(b'[1, 2]', accept="*/*")
        self.assertEqual((status, json.loads(body)), (200, [6, "str", 2]))
        self.assertEqual(reply.headers["Content-Type"], "application/json")
        self.assertEqual(json.loads(server.invoke(b"\xff\xd8\xff", "image/jpeg")[1]), [3, "bytes", 2])
        status, body, reply = server.invoke(b"a", "image/jpeg", "text/csv")
        self.assertEqual((status, body, reply.headers["Content-Type"]), (200, b"1\nbytes\n2\n", "text/csv"))
        self.assertEqual(server.invoke(b"a", "image/jpeg", "image/png")[0], 406)
        self.assertEqual(server.request("GET", "/nothing")[0], 404)
        self.assertEqual(server.request("GET", "/invocations")[0], 405)
        err = server.stop()
        self.assertEqual(server.process.returncode, 0, err)

    def test_unsupported_input_of_the_default_handler(self):
        server = Instance(self, "def model_fn(d): return sum\n")
        self.assertEqual(server.invoke(b"x", "image/jpeg")[0], 415)
        self.assertEqual(server.invoke(b"x", None)[0], 415)

    def test_the_users_exceptions(self):
        server = Instance(self, ECHO + (
            "class BaseInferenceToolkitError(Exception):\n    status_code, message = 400, 'not a dog'\n"
            "def output_fn(prediction, accept):\n"
            "    if accept == 'a/cat': raise BaseInferenceToolkitError()\n"
            "    if accept == 'a/exit': raise SystemExit(3)\n"
            "    raise KeyError('breed')\n"))
        status, body, _ = server.invoke(b"[]")
        self.assertEqual(status, 500)
        self.assertTrue(body.startswith(b"'breed'\nTraceback (most recent call last):"), body)
        self.assertIn(b"KeyError: 'breed'", body)
        status, body, _ = server.invoke(b"[]", accept="a/cat")
        self.assertEqual((status, body.split(b"\n")[0]), (400, b"not a dog"))
        self.assertEqual(server.invoke(b"[]", accept="a/exit")[0], 500)
        self.assertEqual(server.invoke(b"\xff")[0], 500)
        self.assertEqual(server.request("GET", "/ping")[0], 200)
        self.assertIn("KeyError: 'breed'", server.stop())

    def test_contexts(self):
        server = Instance(self, (
            "def pre_model_fn(model_dir): global seen; seen = 'pre'\n"
            "def model_fn(model_dir, context): return seen + context.system_properties['model_dir'][:1]\n"
            "def model_warmup_fn(model_dir, model): global seen; seen = 'warm'\n"
            "def input_fn(body, content_type, context): return context.get_request_header(0, 'x-amzn-sagemaker-custom-attributes')\n"
            "def predict_fn(data, model, context): context.set_response_header(0, 'X-Ours', 'a\\r\\nb: c'); return data + model + seen\n"
            "def output_fn(prediction, accept, context): return prediction, 'text/plain'\n"))
        status, body, reply = server.request("POST", "/invocations", b"", **{"X-Amzn-SageMaker-Custom-Attributes": "t=1"})
        self.assertEqual((status, body), (200, b"t=1pre/warm"))
        self.assertEqual(reply.headers["Content-Type"], "text/plain")
        self.assertEqual(reply.headers["X-Ours"], "a  b: c")
        self.assertIsNone(reply.headers["b"])

    def test_transform_fn_and_a_named_program(self):
        server = Instance(
            self, "def model_fn(d): return 'm'\ndef transform_fn(model, body, content_type, accept): return model + body + accept\n",
            name="serving.py", SAGEMAKER_PROGRAM="serving.py", SAGEMAKER_SUBMIT_DIRECTORY="/opt/ml/model/code",
            SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT="text/csv")
        status, body, reply = server.invoke(b"x", "text/csv")
        self.assertEqual((status, body, reply.headers["Content-Type"]), (200, b"mxtext/csv", "text/csv"))

    def test_code_in_an_archive_elsewhere(self):
        folder = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, folder)
        path = os.path.join(folder, "sourcedir.tar.gz")
        support.tar_gz(path, [("inference.py", b"import helper\nmodel_fn = helper.load\n"), ("helper.py", b"def load(d): return sum\n")])
        server = Instance(self, None, SAGEMAKER_SUBMIT_DIRECTORY=path)
        status, body, _ = server.invoke(b"[1, 2]")
        # With torch the default input is a tensor of floats.
        self.assertEqual((status, float(body)), (200, 3.0))

    @unittest.skipUnless(support.SRC_TINY, "the acceptance scripts are not beside this checkout")
    def test_the_acceptance_script(self):
        script = support.read(support.SRC_TINY, "infernce2.py")
        server = Instance(self, script, "infernce2.py", {"model.pth": '{"classes": 133}'}, SAGEMAKER_PROGRAM="infernce2.py")
        first = server.invoke(b"\xff\xd8", "image/jpeg", "application/json")
        self.assertEqual((first[0], len(json.loads(first[1])[0])), (200, 133))
        self.assertEqual(server.invoke(b'{"url": "http://x/y.jpg"}')[0], 200)
        self.assertEqual(server.invoke(b"x", "text/plain")[0], 500)


class Loading(unittest.TestCase):
    GATE = ("import os, time\n"
            "def model_fn(model_dir):\n"
            "    while not os.path.exists(os.path.join(model_dir, 'go')): time.sleep(0.01)\n"
            "    return sum\n")

    def test_not_healthy_before_the_model_is_there(self):
        server = Instance(self, self.GATE, wait=False)
        self.assertEqual(server.request("GET", "/ping")[0], 503)
        self.assertEqual(server.invoke(b"[1]")[0], 503)
        support.write(server.folder, "go", "")
        server.wait_ready()
        status, body, _ = server.invoke(b"[1, 2]")
        # With torch the default input is a tensor of floats.
        self.assertEqual((status, float(body)), (200, 3.0))

    def test_sigterm_while_loading(self):
        server = Instance(self, self.GATE, wait=False)
        err = server.stop()
        self.assertEqual((server.process.returncode, err), (0, ""))

    def fails(self, pattern, script, **more):
        server = Instance(self, script, wait=False, **more)
        err = server.rest()
        self.assertEqual(server.process.returncode, 1)
        self.assertRegex(err, pattern)

    def test_models_that_cannot_be_loaded(self):
        self.fails("ZeroDivisionError", "def model_fn(d): return 1 / 0\n")
        self.fails("SyntaxError", "def model_fn(\n")
        self.fails("SystemExit", "raise SystemExit(0)\n")
        self.fails("Cannot use transform_fn", ECHO + "def transform_fn(a, b, c, d): pass\n")
        self.fails("predict_fn takes 1 arguments", ECHO + "def predict_fn(a): pass\n")
        self.fails("`other.py` is not in the source folder\nhint: it holds inference.py", ECHO, SAGEMAKER_PROGRAM="other.py")

    def test_requirements_that_fail_are_named(self):
        server = Instance(self, None, wait=False, model_files={"model.x": ""}, SAGEMAKER_SUBMIT_DIRECTORY=self.source(), PIP_NO_INDEX="1")
        err = server.rest()
        self.assertEqual(server.process.returncode, 1)
        self.assertIn("InstallRequirementsError:\nExitCode 1", err)

    def source(self):
        folder = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, folder)
        support.write(folder, "inference.py", ECHO)
        support.write(folder, "requirements.txt", "kennel-no-such-package==1\n")
        return folder


class Connections(unittest.TestCase):
    def test_keep_alive_and_a_large_reply(self):
        server = Instance(self, "def model_fn(d): return lambda x: list(range(200000))\n")
        connection = server.connect()
        self.addCleanup(connection.close)
        ask(connection, "GET", "/ping")
        held = connection.sock
        for _ in range(3):
            status, body, _ = ask(connection, "POST", "/invocations", b"[1]", **{"Content-Type": "application/json"})
            self.assertEqual((status, len(json.loads(body))), (200, 200000))
        self.assertIs(connection.sock, held)

    def test_bodies_and_heads_that_are_refused(self):
        server = Instance(self, ECHO)
        post = b"POST /invocations HTTP/1.1\r\nHost: x\r\n"
        for head, status in (
            (post + b"Content-Length: 26214401\r\n\r\nabc", b"413"),
            (post + b"Expect: 100-continue\r\nContent-Length: 99999999999\r\n\r\n", b"413"),
            (post + b"\r\n", b"411"),
            (post + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", b"411"),
            (post + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nab", b"411"),
            (post + b"Content-Length: -1\r\n\r\n", b"411"),
            (post + b"A: b\r\n" * 200 + b"\r\n", b"431"),
            (b"GET /ping HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc", b"400"),
            (b"nonsense\r\n\r\n", b"400"),
            (b"GET /" + b"a" * 70000 + b" HTTP/1.1\r\n\r\n", b"414"),
        ):
            # The client ends its side first, or the server would linger for the rest of the body.
            with socket.create_connection(("127.0.0.1", server.port), timeout=20) as s:
                s.sendall(head)
                s.shutdown(socket.SHUT_WR)
                got = s.makefile("rb").read()
            self.assertEqual(got.split(b" ")[1:2], [status], (head[:80], got))
            self.assertIn(b"Connection: close", got)
        self.assertEqual(server.request("GET", "/ping")[0], 200)

    def test_the_largest_body_is_taken(self):
        server = Instance(self, ECHO)
        size = 25 << 20
        self.assertEqual(json.loads(server.invoke(b"a" * size, "image/jpeg")[1])[0], size)
        self.assertEqual(server.invoke(b"a" * (size + 1), "image/jpeg")[0], 413)

    GATE = ("import os, time\n"
            "def model_fn(model_dir): return model_dir\n"
            "def input_fn(body, content_type): return body\n"
            "def predict_fn(data, model):\n"
            "    open(os.path.join(model, 'in'), 'w').close()\n"
            "    while not os.path.exists(os.path.join(model, 'go')): time.sleep(0.01)\n"
            "    return 'done'\n")

    def blocked(self, arguments, count):
        """A server with `count` requests in it that wait for the file `go`; their results come into the list."""
        server = Instance(self, self.GATE, arguments=arguments)
        results = []
        threads = [threading.Thread(target=lambda: results.append(server.invoke(b"1")[:2])) for _ in range(count)]
        for thread in threads:
            thread.start()
        while not os.path.exists(os.path.join(server.folder, "in")):
            time.sleep(0.01)
        return server, threads, results

    def test_a_full_queue_answers_at_once(self):
        server, threads, results = self.blocked(["--queue", "0"], 1)
        self.assertEqual(server.invoke(b"1")[0], 429)
        self.assertEqual(server.request("GET", "/ping")[0], 200)
        support.write(server.folder, "go", "")
        threads[0].join(20)
        self.assertEqual(results, [(200, b'"done"')])
        self.assertEqual(server.invoke(b"1")[0], 200)

    def test_a_caller_that_hung_up_is_not_served(self):
        server = http_server.Server(("127.0.0.1", 0), workers=1)
        self.addCleanup(server.server_close)
        server.ready(lambda body, headers: "served")
        self.assertEqual(server.call(b"", {}, lambda: True), "served")
        # As when all workers are taken at first and one comes free.
        server._workers = mock.Mock(acquire=lambda blocking=True: blocking)
        self.assertEqual(server.call(b"", {}, lambda: False), "served")
        self.assertIsNone(server.call(b"", {}, lambda: True))

    def test_hanging_up_is_seen(self):
        ours, theirs = socket.socketpair()
        self.addCleanup(ours.close)
        handler = http_server._Connection.__new__(http_server._Connection)
        handler.connection = ours
        self.assertFalse(handler._gone())
        theirs.sendall(b"next request")
        self.assertFalse(handler._gone())
        self.assertEqual(ours.recv(100), b"next request")
        theirs.close()
        self.assertTrue(handler._gone())

    def test_sigterm_finishes_what_is_in_flight(self):
        server, threads, results = self.blocked([], 1)
        server.process.send_signal(signal.SIGTERM)
        end = time.monotonic() + 20
        while time.monotonic() < end:
            try:
                socket.create_connection(("127.0.0.1", server.port), timeout=1).close()
            except ConnectionError:
                break
            time.sleep(0.01)
        else:
            self.fail("still accepting")
        self.assertIsNone(server.process.poll())
        support.write(server.folder, "go", "")
        server.rest()
        threads[0].join(20)
        self.assertEqual((server.process.returncode, results), (0, [(200, b'"done"')]))

"""HTTP/1.1 for one model: bounded connections, bounded requests, bounded bodies, and a stop that loses nothing.

A request takes a place before its body is read, so memory is bounded by places times body size. `workers` of the
places run the user's code at a time; without a place the answer is 429 at once.
"""

import http.server
import socket
import socketserver
import threading
import time

MAX_BODY = 25 << 20
MAX_CONNECTIONS = 256
IDLE_SECONDS = 120
# Unread request bytes are thrown away for this long, so that the reply is not lost to a reset.
LINGER_SECONDS = 2
SETTLE_SECONDS = 0.1


class Server(socketserver.TCPServer):
    """Binds at once; answers /ping with 503 until `ready` is called."""

    allow_reuse_address = True
    request_queue_size = 128

    def __init__(self, address, workers=1, queue=32, max_body=MAX_BODY):
        self.max_body = max_body
        self.invoke = None
        self.stopping = False
        self._places = threading.BoundedSemaphore(workers + queue)
        self._workers = threading.BoundedSemaphore(workers)
        self._connections = threading.BoundedSemaphore(MAX_CONNECTIONS)
        self._idle = threading.Condition()
        self._busy = 0
        super().__init__(address, _Connection)

    def ready(self, invoke):
        """From now on requests go to `invoke(body, headers)`."""
        self.invoke = invoke

    def start(self):
        """Accepts connections on a thread of its own."""
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def stop(self, seconds):
        """Stops accepting, waits for the requests in flight; True when all of them were answered in time."""
        self.stopping = True
        self.shutdown()
        self.server_close()
        end = time.monotonic() + seconds
        with self._idle:
            while self._idle.wait_for(lambda: self._busy == 0, max(0, end - time.monotonic())):
                # Bytes of one more request may be on their way through a connection that is open already.
                if not self._idle.wait_for(lambda: self._busy > 0, SETTLE_SECONDS):
                    return True
        return False

    def process_request(self, request, client_address):
        if not self._connections.acquire(blocking=False):
            try:
                request.settimeout(1)
                request.sendall(b"HTTP/1.1 429 Too Many Requests\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            except OSError:
                pass
            self.shutdown_request(request)
            return
        threading.Thread(target=self._serve, args=(request, client_address), daemon=True).start()

    def _serve(self, request, client_address):
        try:
            self.finish_request(request, client_address)
        except OSError:
            # The client has gone.
            pass
        finally:
            self._connections.release()
            self.shutdown_request(request)

    def begin(self):
        with self._idle:
            self._busy += 1
            self._idle.notify_all()

    def end(self):
        with self._idle:
            self._busy -= 1
            self._idle.notify_all()

    def admit(self):
        return self._places.acquire(blocking=False)

    def leave(self):
        self._places.release()

    def call(self, body, headers, gone):
        """Runs the user's code when it is this request's turn; None when the caller has hung up by then."""
        waited = not self._workers.acquire(blocking=False)
        if waited:
            self._workers.acquire()
        try:
            return None if waited and gone() else self.invoke(body, headers)
        finally:
            self._workers.release()


class _Connection(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "kennel"
    sys_version = ""
    timeout = IDLE_SECONDS
    disable_nagle_algorithm = True

    def handle_one_request(self):
        """As the base class, with the request counted from its first byte on."""
        try:
            self.raw_requestline = self.rfile.readline(65537)
            if not self.raw_requestline:
                self.close_connection = True
                return
            self.server.begin()
            try:
                self._one()
            finally:
                self.server.end()
        except (socket.timeout, ConnectionError):
            self.close_connection = True

    def _one(self):
        if len(self.raw_requestline) > 65536:
            self.requestline = self.request_version = self.command = ""
            self.send_error(414)
            return
        if not self.parse_request():
            return
        route = self.path.split("?")[0]
        if route == "/ping":
            self._ping()
        elif route == "/invocations":
            self._invocations()
        else:
            self._refuse(404, "no such path: `%s`" % self.path)

    def handle_expect_100(self):
        # The reply to `Expect: 100-continue` waits until the length is known to be good.
        return True

    def _ping(self):
        if self.command not in ("GET", "HEAD"):
            self._refuse(405, "/ping takes GET")
        elif self._length() != 0:
            self._refuse(400, "/ping takes no body")
        elif self.server.invoke is None:
            self._send(503, "text/plain", b"the model is being loaded\n")
        else:
            self._send(200, "application/json", b'{"status": "Healthy"}\n')

    def _invocations(self):
        if self.command != "POST":
            self._refuse(405, "/invocations takes POST")
            return
        length = self._length()
        if length is None:
            self._refuse(411, "a request needs one Content-Length and no Transfer-Encoding")
        elif length > self.server.max_body:
            self._refuse(413, "the body has %d bytes, at most %d are allowed" % (length, self.server.max_body))
        elif self.server.invoke is None:
            self._refuse(503, "the model is being loaded")
        elif not self.server.admit():
            self._refuse(429, "too many requests are waiting for this model")
        else:
            try:
                reply = self._answer(length)
            finally:
                # Before the reply goes out: who has it may ask again at once and must find the place free.
                self.server.leave()
            if reply is None:
                self.close_connection = True
            else:
                self._send(reply.status, reply.content_type, reply.body, reply.headers)

    def _answer(self, length):
        """The reply to a request that has a place, None when the client has gone."""
        if self.headers.get("Expect", "").lower() == "100-continue":
            self.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        body = self.rfile.read(length)
        if len(body) < length:
            return None
        return self.server.call(body, self.headers, self._gone)

    def _gone(self):
        """Whether the client has closed its end."""
        try:
            self.connection.settimeout(0)
            return self.connection.recv(1, socket.MSG_PEEK) == b""
        except BlockingIOError:
            return False
        except OSError:
            return True
        finally:
            self.connection.settimeout(IDLE_SECONDS)

    def _length(self):
        """The length of the body, 0 without one, None when it cannot be told."""
        if self.headers.get("Transfer-Encoding") is not None:
            return None
        given = self.headers.get_all("Content-Length") or []
        if not given:
            return 0 if self.command != "POST" else None
        value = given[0].strip()
        # `isdigit` alone takes other scripts' digits too.
        if len(given) > 1 or not (value.isascii() and value.isdigit()) or len(value) > 18:
            return None
        return int(value)

    def _refuse(self, status, text):
        """An error to a request whose body may lie unread on the connection, which therefore ends."""
        self.close_connection = True
        self._send(status, "text/plain; charset=utf-8", (text + "\n").encode("utf-8", "replace"))
        try:
            self.connection.shutdown(socket.SHUT_WR)
            end = time.monotonic() + LINGER_SECONDS
            while time.monotonic() < end:
                self.connection.settimeout(max(0.01, end - time.monotonic()))
                if not self.rfile.read1(65536):
                    break
        except OSError:
            pass

    def _send(self, status, content_type, body, headers=None):
        self._headers_buffer = []
        self.request_version = "HTTP/1.1"
        self.send_response_only(status)
        self.send_header("Content-Type", _clean(content_type))
        self.send_header("Content-Length", str(len(body)))
        for name, value in (headers or {}).items():
            if name.lower() not in ("content-length", "content-type", "connection", "transfer-encoding"):
                self.send_header(_clean(name).replace(":", ""), _clean(value))
        if self.close_connection or self.server.stopping:
            self.close_connection = True
            self.send_header("Connection", "close")
        self._headers_buffer.append(b"\r\n")
        head = b"".join(self._headers_buffer)
        self._headers_buffer = []
        if self.command == "HEAD":
            body = b""
        if len(body) < 65536:
            self.wfile.write(head + body)
        else:
            self.wfile.write(head)
            self.wfile.write(body)

    def send_error(self, code, message=None, explain=None):
        """The base class's answer to what it cannot parse, in plain text."""
        self.close_connection = True
        self._refuse(int(code), message or "bad request")

    def log_message(self, format, *args):
        # The platform records every access; stderr is for the user's output.
        pass


def _clean(text):
    """A header value of the user's making, without the characters that would end the header."""
    return str(text).replace("\r", " ").replace("\n", " ").encode("latin-1", "replace").decode("latin-1")

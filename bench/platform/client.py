"""Requests signed before the clock starts, and two generators that send them over plain sockets: one as fast
as answers come, one at a fixed rate. Nothing is signed, parsed or allocated beyond need in a timed section."""

import gc
import hashlib
import hmac
import multiprocessing
import os
import select
import socket
import time
import uuid

FORK = multiprocessing.get_context("fork")
EMPTY = hashlib.sha256(b"").hexdigest()


class Keys:
    """An identity, its signing keys worked out once per service."""

    def __init__(self, access, secret, token=None, region="us-east-1"):
        self.access, self.secret, self.token, self.region = access, secret, token, region
        self.cache = {}

    def signing(self, day, service):
        if (day, service) not in self.cache:
            key = ("AWS4" + self.secret).encode()
            for part in (day, self.region, service, "aws4_request"):
                key = hmac.new(key, part.encode(), hashlib.sha256).digest()
            self.cache[day, service] = key
        return self.cache[day, service]


def signed(keys, address, service, method, path, headers=None, body=b"", query=""):
    """The bytes of one signed request on a connection that stays open."""
    return next(many(1, keys, address, service, method, path, headers, body, query))


def many(count, keys, address, service, method, path, headers=None, body=b"", query=""):
    """`count` requests that differ in their invocation id, as an SDK's do, each with its own signature."""
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    digest = hashlib.sha256(body).hexdigest() if body else EMPTY
    scope = f"{stamp[:8]}/{keys.region}/{service}/aws4_request"
    fields = {"host": f"{address[0]}:{address[1]}", "x-amz-date": stamp, **(headers or {})}
    if service == "s3":
        fields["x-amz-content-sha256"] = digest
    if keys.token:
        fields["x-amz-security-token"] = keys.token
    for _ in range(count):
        fields["amz-sdk-invocation-id"] = str(uuid.uuid4())
        names = sorted(fields)
        lines = "".join(f"{name}:{fields[name]}\n" for name in names)
        canonical = f"{method}\n{path}\n{query}\n{lines}\n{';'.join(names)}\n{digest}"
        text = f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
        signature = hmac.new(keys.signing(stamp[:8], service), text.encode(), hashlib.sha256).hexdigest()
        authorization = (f"AWS4-HMAC-SHA256 Credential={keys.access}/{scope}, "
                         f"SignedHeaders={';'.join(names)}, Signature={signature}")
        yield plain(address, method, path + ("?" + query if query else ""),
                    {**fields, "authorization": authorization}, body)


def plain(address, method, target, headers, body=b""):
    """The bytes of an unsigned request."""
    fields = {"host": f"{address[0]}:{address[1]}", **headers}
    if body or method != "GET":
        fields["content-length"] = str(len(body))
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"{method} {target} HTTP/1.1\r\n{head}\r\n".encode() + body


def whole(data):
    """Whether an answer is complete: None, or (status, whether the server closes the connection)."""
    end = data.find(b"\r\n\r\n")
    if end < 0:
        return None
    head = bytes(data[:end]).lower()
    at = head.find(b"\r\ncontent-length:")
    if at >= 0:
        length = int(head[at + 17:].split(b"\r\n", 1)[0])
        if len(data) < end + 4 + length:
            return None
    elif b"\r\ntransfer-encoding: chunked" in head:
        if not data.endswith(b"0\r\n\r\n"):
            return None
    else:
        return None  # until the server closes
    return int(head[9:12]), head.startswith(b"http/1.0") or b"\r\nconnection: close" in head


def connect(address):
    sock = socket.create_connection(address, timeout=10)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def exchange(address, request, sock=None):
    """One request and its answer: (status, bytes). Without `sock` on a connection of its own."""
    own = sock is None
    sock = sock or connect(address)
    try:
        sock.sendall(request)
        data = bytearray()
        while True:
            part = sock.recv(1 << 16)
            data += part
            done = whole(data)
            if done:
                return done[0], bytes(data)
            if not part:
                return (int(data[9:12]) if data else 0), bytes(data)
    finally:
        if own:
            sock.close()


def closed_loop(address, requests, connections, seconds=None, count=None, stop=None):
    """As fast as answers come, each connection one request at a time, until `seconds` are over, `count` are
    sent or the event `stop` is set. Answers counts, failures [(start, end, status, text)], all (start, end)."""
    poll = select.epoll()
    clock = time.monotonic
    sockets, began, buffers = {}, {}, {}
    spans, failures, reconnects, sent, turn = [], [], 0, 0, 0

    def send(number):
        nonlocal sent, turn
        began[number] = clock()
        buffers[number] = None
        sockets[number].sendall(requests[turn])
        turn = (turn + 1) % len(requests)
        sent += 1

    def open_one():
        sock = connect(address)
        sockets[sock.fileno()] = sock
        poll.register(sock.fileno(), select.EPOLLIN)
        return sock.fileno()

    def close_one(number):
        poll.unregister(number)
        sockets.pop(number).close()
        began.pop(number, None)

    def done():
        return ((end and clock() >= end) or (count and sent >= count) or (stop is not None and stop.is_set()))

    gc.disable()
    cpu = time.process_time()
    start = clock()
    end = start + seconds if seconds else None
    for _ in range(connections):
        send(open_one())
    while sockets:
        for number, _ in poll.poll(1.0):
            answer, broken, part = None, None, b""
            try:
                part = sockets[number].recv(1 << 16)
            except OSError as error:
                broken = str(error)
            before = buffers[number]
            data = part if before is None else before + part
            buffers[number] = data
            if broken is None:
                answer = whole(data)
                if answer is None and not part:
                    answer = (int(data[9:12]), True) if data else (0, True)
                    broken = None if data else "closed without an answer"
                if answer is None:
                    continue
            now = clock()
            status, closes = answer or (0, True)
            spans.append((began[number], now))
            if status != 200:
                failures.append((began[number], now, status, broken or data[-300:].decode("utf-8", "replace")))
            if done():
                close_one(number)
                continue
            if closes:
                close_one(number)
                reconnects += 1
                number = open_one()
            try:
                send(number)
            except OSError as error:
                failures.append((clock(), clock(), 0, f"sending: {error}"))
                close_one(number)
                send(open_one())
    took = clock() - start
    gc.enable()
    return {"answers": len(spans) - len(failures), "seconds": took, "failures": failures, "spans": spans,
            "reconnects": reconnects, "cpu": time.process_time() - cpu}


def _worker(pipe, arguments, options):
    pipe.send(closed_loop(*arguments, **options))
    pipe.close()


def background(address, requests, connections, **options):
    """The closed loop in a process of its own; call the answer for its result."""
    mine, theirs = FORK.Pipe(duplex=False)
    process = FORK.Process(target=_worker, args=(theirs, (address, requests, connections), options), daemon=True)
    process.start()
    theirs.close()

    def result():
        found = mine.recv()
        process.join()
        return found
    return result


def loaded(address, requests, connections, seconds, processes):
    """The closed loop from several processes at once, added up."""
    shares = [connections // processes + (i < connections % processes) for i in range(processes)]
    parts = [r() for r in [background(address, requests, share, seconds=seconds) for share in shares if share]]
    latencies = sorted(end - start for part in parts for start, end in part["spans"])
    return {
        "per_second": sum(part["answers"] / part["seconds"] for part in parts),
        "answers": sum(part["answers"] for part in parts),
        "failed": sum(len(part["failures"]) for part in parts),
        "first_failure": next((f[2:] for part in parts for f in part["failures"]), None),
        "reconnects": sum(part["reconnects"] for part in parts),
        "p50_ms": 1000 * quantile(latencies, 0.5),
        "p99_ms": 1000 * quantile(latencies, 0.99),
        "slowest_ms": 1000 * (latencies[-1] if latencies else float("nan")),
        "client_cpu_seconds": sum(part["cpu"] for part in parts),
        "seconds": max(part["seconds"] for part in parts),
    }


def open_loop(address, requests, rate, sockets):
    """One request every 1/rate seconds, whatever the answers do. Latencies count from the moment a request was
    due, so a stall is seen by all it delays. `sockets` (a list, kept between calls) grows when all are busy.
    Answers (latencies, lateness of the sending itself, statuses other than 200, idle connections that the server
    had closed)."""
    clock = time.perf_counter
    free, busy, bad = list(sockets), {}, []
    latencies, late, dropped = [], [], 0
    gc.disable()
    start = clock() + 0.01
    position = 0
    while position < len(requests) or busy:
        now = clock()
        while position < len(requests) and start + position / rate <= now:
            sock = free.pop() if free else None
            if sock is not None and select.select([sock], [], [], 0)[0]:
                # The server closed it while it was idle; SDKs look, too, before they use one again.
                sockets.remove(sock)
                sock.close()
                sock, dropped = None, dropped + 1
            if sock is None:
                sock = connect(address)
                sockets.append(sock)
            due = start + position / rate
            late.append(clock() - due)
            sock.sendall(requests[position])
            busy[sock] = (due, b"")
            position += 1
            now = clock()
        wait = max(0.0, start + position / rate - now) if position < len(requests) else 1.0
        for sock in select.select(list(busy), [], [], wait)[0]:
            due, data = busy[sock]
            part = sock.recv(1 << 16)
            data += part
            answer = whole(data)
            if answer is None and part:
                busy[sock] = (due, data)
                continue
            latencies.append(clock() - due)
            del busy[sock]
            if answer is None or answer[0] != 200:
                bad.append((answer[0] if answer else 0, data[-200:].decode("utf-8", "replace")))
            if answer is None or answer[1]:
                sockets.remove(sock)
                sock.close()
            else:
                free.append(sock)
    gc.enable()
    return latencies, late, bad, dropped


def quantile(values, q):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(q * len(ordered)))] if ordered else float("nan")


def canned():
    """A responder that parses nothing: what the generator reaches against it is at least the client's ceiling."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=256)
    answer = b"HTTP/1.1 200 OK\r\ncontent-type: text/xml\r\ncontent-length: 400\r\n\r\n" + b"x" * 400

    def serve():
        poll, open_sockets = select.epoll(), {}
        poll.register(listener.fileno(), select.EPOLLIN)
        while True:
            for number, _ in poll.poll():
                if number == listener.fileno():
                    sock, _ = listener.accept()
                    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    open_sockets[sock.fileno()] = sock
                    poll.register(sock.fileno(), select.EPOLLIN)
                    continue
                sock = open_sockets[number]
                try:
                    if sock.recv(1 << 16):
                        sock.send(answer)
                        continue
                except OSError:
                    pass
                poll.unregister(number)
                open_sockets.pop(number).close()

    process = FORK.Process(target=serve, daemon=True)
    process.start()
    address = listener.getsockname()
    listener.close()
    return address, process


def receive(sock, buffer, total):
    """Reads `total` bytes into one buffer over and over."""
    left = total
    while left:
        got = sock.recv_into(buffer, min(left, len(buffer)))
        if not got:
            raise ConnectionError(f"the connection ended {left} bytes early")
        left -= got


def stream(address, request, buffer, expect):
    """A large answer as fast as it comes, without keeping it: seconds from the request to the last byte."""
    with connect(address) as sock:
        started = time.perf_counter()
        sock.sendall(request)
        data = b""
        while b"\r\n\r\n" not in data:
            part = sock.recv(4096)
            if not part:
                raise ConnectionError(f"no answer: {data!r}")
            data += part
        head, rest = data.split(b"\r\n\r\n", 1)
        if b" 200 " not in head.split(b"\r\n", 1)[0]:
            raise ConnectionError(data.decode("utf-8", "replace"))
        receive(sock, buffer, expect - len(rest))
        return time.perf_counter() - started


def loopback(path, size, buffer, zero_copy):
    """What a socket of this machine carries from a file, with and without copying through the sender."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve():
        sock, _ = listener.accept()
        with open(path, "rb", buffering=0) as file:
            if zero_copy:
                offset = 0
                while offset < size:
                    offset += os.sendfile(sock.fileno(), file.fileno(), offset, size - offset)
            else:
                part = bytearray(1 << 20)
                while got := file.readinto(part):
                    sock.sendall(memoryview(part)[:got])
        sock.close()

    process = FORK.Process(target=serve, daemon=True)
    process.start()
    with connect(listener.getsockname()) as sock:
        started = time.perf_counter()
        receive(sock, buffer, size)
        took = time.perf_counter() - started
    process.join()
    listener.close()
    return took

"""Section `connections`: a thousand connections at once before an endpoint that answers a few dozen a second."""

import collections
import gc
import select
import socket
import statistics
import time

import client
import endpoints
import model
import server


class Slow(endpoints.Deployed):
    """An endpoint whose one instance needs tens of milliseconds for a photo of about 100 kB."""

    package = staticmethod(lambda: model.package(repeat=160))
    take = staticmethod(lambda: model.photo(side=360))


def many_connections(address, requests, connections, rate):
    """Opens `connections`, keeps them all open, and sends one request every 1/rate seconds over the one that has
    been idle for longest; a connection that is still waiting is not used twice. Answers one row a request:
    (seconds from the moment it was due, seconds from its sending, status); how late the sending itself was;
    connections the server closed. On a machine where client, server and instance share the cores the first time
    has the client's own waiting in it, the second has not."""
    clock = time.perf_counter
    poll = select.epoll()
    sockets, free = {}, collections.deque()

    def open_one():
        sock = client.connect(address)
        # A whole request fits, so that nobody waits for a part of it to be sent.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        sock.setblocking(False)
        sockets[sock.fileno()] = sock
        poll.register(sock.fileno(), select.EPOLLIN)
        free.append(sock.fileno())

    for _ in range(connections):
        open_one()
    busy, found, late, closed = {}, [], [], 0
    gc.disable()
    start = clock() + 0.05
    position = 0
    while position < len(requests) or busy:
        now = clock()
        while position < len(requests) and free and start + position / rate <= now:
            number = free.popleft()
            due = start + position / rate
            sent = clock()
            late.append(sent - due)
            if sockets[number].send(requests[position]) != len(requests[position]):
                raise SystemExit("a request does not fit into a socket's buffer: choose a smaller photo")
            busy[number] = (due, sent, b"")
            position += 1
            now = clock()
        wait = max(0.0, start + position / rate - now) if position < len(requests) else 1.0
        for number, _ in poll.poll(wait if free else 1.0):
            try:
                part = sockets[number].recv(1 << 16)
            except ConnectionError:
                part = b""
            due, sent, data = busy.get(number, (None, None, b""))
            data += part
            answer = client.whole(data) if due is not None else None
            if answer is not None:
                found.append((clock() - due, clock() - sent, answer[0]))
                del busy[number]
            elif part and due is not None:
                busy[number] = (due, sent, data)
                continue
            if answer is None or answer[1]:
                if due is not None and answer is None:
                    found.append((clock() - due, clock() - sent, 0))
                    del busy[number]
                closed += 1
                poll.unregister(number)
                sockets.pop(number).close()
                open_one()
            else:
                free.append(number)
    gc.enable()
    for sock in sockets.values():
        sock.close()
    return found, late, closed


def section_connections(a, scratch):
    """1,000 open connections, 500 requests/s to an endpoint whose one instance answers a few dozen."""
    connections, rate = 1000, 500
    seconds = 5 if a.quick else 20
    rows = {"connections": connections, "rate": rate, "rounds": []}
    with Slow(scratch, "connections", 1) as deployed:
        kennel = deployed.kennel
        alone = []
        for request in deployed.requests(20):
            began = time.perf_counter()
            client.exchange(kennel.address, request)
            alone.append(time.perf_counter() - began)
        rows["alone_p50_ms"] = 1000 * statistics.median(alone)
        rows["rss_before_mb"] = server.memory(kennel.pid)
        for _ in range(1 if a.quick else 3):
            server.reset_peak(kennel.pid)
            before = server.cpu(kennel.pid)
            requests = deployed.requests(rate * seconds)
            found, late, closed = many_connections(kennel.address, requests, connections, rate)
            by = {status: [s for s, _, got in found if got == status] for status in {got for *_, got in found}}
            refused = by.get(429, []) + by.get(503, [])
            from_sending = [s for _, s, got in found if got in (429, 503)]
            rows["rounds"].append({
                "answered": len(by.get(200, [])), "refused": len(refused),
                "other": {status: len(all) for status, all in by.items() if status not in (200, 429, 503)},
                "answered_p50_ms": 1000 * client.quantile(by.get(200, []), 0.5),
                "answered_p99_ms": 1000 * client.quantile(by.get(200, []), 0.99),
                # As many wait at an instance as it takes at a time; each needs its turn.
                "queue_bound_ms": 1000 * 64 * seconds / max(1, len(by.get(200, []))),
                "refused_p50_ms": 1000 * client.quantile(refused, 0.5),
                "refused_p99_ms": 1000 * client.quantile(refused, 0.99),
                "refused_from_sending_p99_ms": 1000 * client.quantile(from_sending, 0.99),
                "client_late_p99_ms": 1000 * client.quantile(late, 0.99), "closed": closed,
                "rss_peak_mb": server.memory(kennel.pid, "VmHWM"), "cpu_seconds": server.cpu(kennel.pid) - before})
        rows["rss_after_mb"] = server.memory(kennel.pid)
    return rows


def table_connections(r):
    each = lambda key, form="{:.1f}": ", ".join(form.format(row[key]) for row in r["rounds"])  # noqa: E731
    return [
        (f"{r['connections']} connections, {r['rate']} requests/s; one alone takes, ms", f"{r['alone_p50_ms']:.1f}", ""),
        ("  answered", each("answered", "{}"), ""),
        ("  refused with 429 or 503", each("refused", "{}"), ""),
        ("  anything else", "; ".join(str(row["other"] or 0) for row in r["rounds"]), "0"),
        ("  answered, p50, ms", each("answered_p50_ms", "{:.0f}"), ""),
        ("  answered, p99, ms", each("answered_p99_ms", "{:.0f}"), "within the queue"),
        ("  the queue: 64 places × time of one, ms", each("queue_bound_ms", "{:.0f}"), ""),
        ("  refused, p50, ms", each("refused_p50_ms", "{:.2f}"), ""),
        ("  refused, p99, ms", each("refused_p99_ms", "{:.2f}"), "below 5"),
        ("  refused, p99 from the sending, ms", each("refused_from_sending_p99_ms", "{:.2f}"), "below 5"),
        ("  client late by, p99, ms", each("client_late_p99_ms", "{:.2f}"), ""),
        ("  server's memory before, most, after, MB",
         f"{r['rss_before_mb']:.0f}, {max(row['rss_peak_mb'] for row in r['rounds']):.0f}, {r['rss_after_mb']:.0f}",
         "bounded"),
    ]

"""Sections `invoke`, `update` and `kill`: what the gateway adds to an instance, and what it hides of its end."""

import os
import signal
import statistics
import time

import client
import model
import server

INVOKE = "/endpoints/{}/invocations"
HEADERS = {"content-type": "image/jpeg", "accept": "application/json"}


class Deployed:
    """The one-layer model behind an endpoint of a platform of its own."""

    package = staticmethod(model.package)
    take = staticmethod(model.photo)

    def __init__(self, scratch, name, count):
        self.kennel = server.Kennel(scratch / name)
        self.count = count

    def __enter__(self):
        self.kennel.__enter__()
        try:
            return self.deploy()
        except BaseException:
            self.kennel.__exit__()
            raise

    def deploy(self):
        import boto3

        found = self.kennel.environment()
        self.keys = self.kennel.keys()
        session = boto3.Session(found["AWS_ACCESS_KEY_ID"], found["AWS_SECRET_ACCESS_KEY"],
                                found.get("AWS_SESSION_TOKEN"), "us-east-1")
        make = lambda service: session.client(service, endpoint_url=self.kennel.url)  # noqa: E731
        s3, self.sagemaker, self.runtime = make("s3"), make("sagemaker"), make("sagemaker-runtime")
        role = make("sts").get_caller_identity()["Arn"].split("/")[1]
        arn = make("iam").get_role(RoleName=role)["Role"]["Arn"]
        s3.create_bucket(Bucket="bench")
        s3.put_object(Bucket="bench", Key="model.tar.gz", Body=self.package())
        self.sagemaker.create_model(ModelName="one-layer", ExecutionRoleArn=arn, PrimaryContainer={
            "Image": "kennel/image-classification:1", "ModelDataUrl": "s3://bench/model.tar.gz"})
        for name in ("a", "b"):
            self.sagemaker.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[{
                "VariantName": "AllTraffic", "ModelName": "one-layer", "InstanceType": "ml.m5.large",
                "InitialInstanceCount": self.count}])
        started = time.perf_counter()
        self.sagemaker.create_endpoint(EndpointName="bench", EndpointConfigName="a")
        self.settled()
        self.in_service_ms = 1000 * (time.perf_counter() - started)
        self.photo = self.take()
        answer = self.runtime.invoke_endpoint(EndpointName="bench", ContentType="image/jpeg", Body=self.photo)
        answer["Body"].read()
        return self

    def settled(self, patience=60):
        """Waits until the endpoint is in service with all its instances."""
        end = time.monotonic() + patience
        while True:
            found = self.sagemaker.describe_endpoint(EndpointName="bench")
            if found["EndpointStatus"] == "Failed" or time.monotonic() > end:
                raise SystemExit(f"the endpoint is {found['EndpointStatus']}: {found.get('FailureReason')}")
            variants = found.get("ProductionVariants") or []
            if found["EndpointStatus"] == "InService" and variants and all(
                    v["CurrentInstanceCount"] == self.count for v in variants):
                return found
            time.sleep(0.005)

    def requests(self, count):
        return list(client.many(count, self.keys, self.kennel.address, "sagemaker", "POST",
                                INVOKE.format("bench"), HEADERS, self.photo))

    def __exit__(self, *what):
        self.kennel.__exit__(*what)


def section_invoke(a, scratch):
    """200 requests/s, open loop, in turn through the gateway (signed) and straight to its one instance."""
    rate, block, seconds, rounds = a.rate, 2.5, a.seconds or (5 if a.quick else 30), 2 if a.quick else 3
    rows = {"rate": rate, "rounds": []}
    with Deployed(scratch, "invoke", 1) as deployed:
        rows["in_service_ms"] = deployed.in_service_ms
        pid = server.instances(deployed.kennel.pid)[0]
        direct = ("127.0.0.1", server.port_of(pid))
        straight = [client.plain(direct, "POST", "/invocations", HEADERS, deployed.photo)] * int(rate * block)
        status, answer = client.exchange(direct, straight[0])
        if status != 200:
            raise SystemExit(f"the instance answers {answer!r}")
        through = client.exchange(deployed.kennel.address, deployed.requests(1)[0])[1]
        if through.split(b"\r\n\r\n", 1)[1] != answer.split(b"\r\n\r\n", 1)[1]:
            raise SystemExit(f"the gateway answers {through!r}, the instance {answer!r}")
        ways = {"gateway": (deployed.kennel.address, []), "direct": (direct, [])}
        for number in range(-1, rounds):  # the first round warms up and is not kept
            found = {way: {"latencies": [], "late": [], "bad": []} for way in ways}
            dropped = dict.fromkeys(ways, 0)
            before = server.cpu(deployed.kennel.pid), server.cpu(pid)
            for _ in range(max(1, round((seconds if number >= 0 else 5) / block))):
                for way, (address, sockets) in ways.items():
                    requests = deployed.requests(len(straight)) if way == "gateway" else straight
                    *parts, closed = client.open_loop(address, requests, rate, sockets)
                    dropped[way] += closed
                    for part, more in zip(found[way].values(), parts):
                        part.extend(more)
            if number < 0:
                continue
            row = {"gateway_cpu_seconds": server.cpu(deployed.kennel.pid) - before[0],
                   "instance_cpu_seconds": server.cpu(pid) - before[1]}
            for way, parts in found.items():
                row[way] = {"requests": len(parts["latencies"]), "failed": len(parts["bad"]),
                            "first_failure": (parts["bad"] or [None])[0],
                            **{f"p{q}_ms": 1000 * client.quantile(parts["latencies"], q / 100) for q in (50, 90, 99)},
                            "client_late_p99_ms": 1000 * client.quantile(parts["late"], 0.99),
                            "connections": len(ways[way][1]), "idle_connections_closed": dropped[way]}
            for q in ("p50", "p99"):
                row[f"{q}_added_ms"] = row["gateway"][f"{q}_ms"] - row["direct"][f"{q}_ms"]
            rows["rounds"].append(row)
        for _, sockets in ways.values():
            for sock in sockets:
                sock.close()
    for q in ("p50", "p99"):
        added = [row[f"{q}_added_ms"] for row in rows["rounds"]]
        rows[f"{q}_added_ms"] = {"median": statistics.median(added), "least": min(added), "most": max(added)}
    return rows


def table_invoke(r):
    show = lambda way, q: ", ".join(f"{row[way][q]:.2f}" for row in r["rounds"])  # noqa: E731
    spread = lambda q: "{median:.2f} ({least:.2f} to {most:.2f})".format(**r[q])  # noqa: E731
    failed = sum(row[way]["failed"] for row in r["rounds"] for way in ("gateway", "direct"))
    return [
        (f"InvokeEndpoint at {r['rate']}/s: p50 gateway, ms", show("gateway", "p50_ms"), ""),
        ("  p50 instance directly, ms", show("direct", "p50_ms"), ""),
        ("  p50 added, ms: median (range)", spread("p50_added_ms"), "at most 1"),
        ("  p99 gateway, ms", show("gateway", "p99_ms"), ""),
        ("  p99 instance directly, ms", show("direct", "p99_ms"), ""),
        ("  p99 added, ms: median (range)", spread("p99_added_ms"), "at most 3"),
        ("  client late by, p99 of all rounds, ms",
         f"{max(row[w]['client_late_p99_ms'] for row in r['rounds'] for w in ('gateway', 'direct')):.2f}", ""),
        ("  failed", failed, "0"),
        ("CreateEndpoint to InService (one layer), ms", f"{r['in_service_ms']:.0f}", ""),
    ]


def kinds(failures):
    counts = {}
    for _, _, status, text in failures:
        counts[f"{status} {text[-120:]}"] = counts.get(f"{status} {text[-120:]}", 0) + 1
    return counts


def section_update(a, scratch):
    """UpdateEndpoint between two configurations, over and over, until 1,000 invocations ran within updates."""
    wanted = 200 if a.quick else 1000
    with Deployed(scratch, "update", 2) as deployed:
        stop = client.FORK.Event()
        result = client.background(deployed.kennel.address, deployed.requests(500), 8, stop=stop)
        windows, names = [], ["b", "a"]
        within, end = 0, time.monotonic() + 120
        # How many fell into the windows is only known afterwards; one request a millisecond is a low guess.
        while within < 2 * wanted and time.monotonic() < end:
            begun = time.monotonic()
            deployed.sagemaker.update_endpoint(EndpointName="bench", EndpointConfigName=names[len(windows) % 2])
            shown = deployed.settled()
            assert shown["EndpointConfigName"] == names[len(windows) % 2], shown
            windows.append((begun, time.monotonic()))
            within += int(1000 * (windows[-1][1] - begun))
            time.sleep(0.3)
        stop.set()
        found = result()
    inside = sum(any(start < b and finish > w for w, b in windows) for start, finish in found["spans"])
    return {"updates": len(windows), "update_seconds": [b - w for w, b in windows], "invocations": len(found["spans"]),
            "during_updates": inside, "failed": len(found["failures"]), "kinds": kinds(found["failures"])}


def table_update(r):
    return [(f"UpdateEndpoint, {r['updates']} times: invocations during them", r["during_updates"], "1,000"),
            ("  failed", f"{r['failed']} {r['kinds'] or ''}", "0"),
            ("  one update took, s", f"{statistics.median(r['update_seconds']):.2f}", "")]


def section_kill(a, scratch):
    """kill -9 of one of two instances while 16 connections keep both busy, until there are two again."""
    wanted = 1000
    rows = {"rounds": []}
    with Deployed(scratch, "kill", 2) as deployed:
        for _ in range(2 if a.quick else 10):
            pids = server.instances(deployed.kennel.pid)
            assert len(pids) == 2, pids
            stop = client.FORK.Event()
            begun = time.monotonic()
            result = client.background(deployed.kennel.address, deployed.requests(500), 16, stop=stop)
            time.sleep(0.3)
            before = time.monotonic()
            os.kill(pids[0], signal.SIGKILL)
            after = time.monotonic()
            restored = None
            while restored is None and time.monotonic() < after + 60:
                time.sleep(0.005)
                now = server.instances(deployed.kennel.pid)
                if pids[0] not in now and len(now) == 2:
                    deployed.settled()
                    restored = time.monotonic() - after
            # At the rate so far a second holds more than wanted; a slow machine gets its time.
            time.sleep(max(0.2, begun + 1 - time.monotonic()))
            stop.set()
            found = result()
            flight = [(start, finish) for start, finish in found["spans"] if start <= after and finish >= before]
            rows["rounds"].append({
                "invocations": len(found["spans"]), "failed": len(found["failures"]),
                "kinds": kinds(found["failures"]), "in_flight_at_the_kill": len(flight),
                "slowest_in_flight_ms": 1000 * max((finish - start for start, finish in flight), default=0),
                "failed_outside": sum(start > after or finish < before for start, finish, *_ in found["failures"]),
                "after_the_kill": sum(start > after for start, _ in found["spans"]),
                "two_again_seconds": restored})
    rows["enough"] = all(row["invocations"] >= wanted for row in rows["rounds"])
    return rows


def table_kill(r):
    add = lambda key: sum(row[key] for row in r["rounds"])  # noqa: E731
    reasons = {k: v for row in r["rounds"] for k, v in row["kinds"].items()}
    again = ", ".join(f"{row['two_again_seconds'] or -1:.2f}" for row in r["rounds"])
    least = min(row["invocations"] for row in r["rounds"])
    return [(f"kill -9 of one of two, {len(r['rounds'])} times: invocations (fewest)",
             f"{add('invocations')} ({least})", "1,000 each"),
            ("  in flight at the kill, both instances", add("in_flight_at_the_kill"), ""),
            ("  failed (those in flight are sent again once)", f"{add('failed')} {reasons or ''}", "0"),
            ("  failed that were not in flight at the kill", add("failed_outside"), "0"),
            ("  slowest of those in flight, ms",
             f"{max(row['slowest_in_flight_ms'] for row in r['rounds']):.0f}", ""),
            ("  two instances again after, s", again, "")]

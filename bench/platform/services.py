"""Sections `start`, `sts` and `s3`."""

import filecmp
import os
import pathlib
import resource
import shutil
import statistics
import subprocess
import sys
import time
import zlib

import client
import server

FORM = {"content-type": "application/x-www-form-urlencoded; charset=utf-8"}
WHO = b"Action=GetCallerIdentity&Version=2011-06-15"


def identity(count, keys, address):
    return list(client.many(count, keys, address, "sts", "POST", "/", FORM, WHO))


def section_start(a, scratch):
    """`kennel up` on an empty folder and on the same one again; memory when idle and after 1,000 calls."""
    rows = {"first": [], "again": [], "memory": {}}
    rounds = 3 if a.quick else 10
    for number in range(rounds):
        folder = scratch / f"start-{number}"
        for kind in ("first", "again"):
            with server.Kennel(folder) as kennel:
                keys = kennel.root_keys()
                status, answer = client.exchange(kennel.address, identity(1, keys, kennel.address)[0])
                took = time.perf_counter() - kennel.started
                if status != 200:
                    raise SystemExit(f"STS answers {answer!r}")
                rows[kind].append({"line_ms": 1000 * kennel.first_line, "answer_ms": 1000 * took})
                if number == rounds - 1 and kind == "again":
                    time.sleep(5)
                    rows["memory"]["idle"] = sizes(kennel.pid)
                    mixed = identity(500, keys, kennel.address)
                    mixed += client.many(250, keys, kennel.address, "s3", "GET", "/")
                    mixed += client.many(250, keys, kennel.address, "sagemaker", "POST", "/", {
                        "content-type": "application/x-amz-json-1.1", "x-amz-target": "SageMaker.ListModels"}, b"{}")
                    found = client.closed_loop(kennel.address, mixed, 8, count=len(mixed))
                    if found["failures"]:
                        raise SystemExit(f"a call failed: {found['failures'][0]}")
                    rows["memory"]["after_calls"] = sizes(kennel.pid)
                    time.sleep(5)
                    rows["memory"]["after_calls_and_5_s"] = sizes(kennel.pid)
    return rows


def sizes(pid):
    return {"server_mb": server.memory(pid), "with_children_mb": server.memory_with_children(pid),
            "children": len(server.descendants(pid))}


def table_start(r):
    rows = []
    for kind, name in (("first", "first start"), ("again", "second start, same folder")):
        for key, what in (("line_ms", "first line"), ("answer_ms", "first STS answer")):
            values = [row[key] for row in r[kind]]
            rows.append((f"{name}, {what}, ms: median (range)",
                         f"{statistics.median(values):.0f} ({min(values):.0f} to {max(values):.0f})", "below 150"))
    for key, name in (("idle", "idle"), ("after_calls", "after 1,000 calls"),
                      ("after_calls_and_5_s", "5 s later")):
        found = r["memory"][key]
        rows.append((f"memory {name}, MB: server (with {found['children']} children)",
                     f"{found['server_mb']:.1f} ({found['with_children_mb']:.1f})", "below 60"))
    return rows


def section_sts(a, scratch):
    """GetCallerIdentity of Kennel and moto_server in turn, the same generator, requests signed beforehand."""
    seconds = 2 if a.quick else 10
    rows = {"connections": a.connections, "processes": a.processes, "rounds": []}
    with server.Kennel(scratch / "sts") as kennel, server.Moto() as moto:
        keys = {"kennel": kennel.keys(), "moto": moto.keys()}
        for name, target in (("kennel", kennel), ("moto", moto)):
            status, answer = client.exchange(target.address, identity(1, keys[name], target.address)[0])
            if status != 200 or b"<GetCallerIdentityResult>" not in answer.replace(b"\n", b""):
                raise SystemExit(f"{name} answers {answer!r}")
        # A rate of answers to calls that nobody checks would be worth nothing.
        forged = client.Keys(keys["kennel"].access, keys["kennel"].secret[::-1], keys["kennel"].token)
        rows["forged_status"] = client.exchange(kennel.address, identity(1, forged, kennel.address)[0])[0]
        if rows["forged_status"] != 403:
            raise SystemExit(f"a forged signature is answered with {rows['forged_status']}")
        for number in range(1 if a.quick else 3):
            row = {}
            for name, target in (("kennel", kennel), ("moto", moto)):
                # Signed anew each round: signatures last fifteen minutes.
                requests = identity(2000, keys[name], target.address)
                client.loaded(target.address, requests, a.connections, 1, a.processes)
                before = server.cpu(target.pid)
                row[name] = client.loaded(target.address, requests, a.connections, seconds, a.processes)
                row[name]["server_cpu_seconds"] = server.cpu(target.pid) - before
                row[name]["one_connection"] = client.loaded(target.address, requests, 1, seconds / 2, 1)
            address, process = client.canned()
            row["ceiling"] = client.loaded(address, requests, a.connections, min(seconds, 3), a.processes)
            process.kill()
            process.join()
            row["ratio"] = row["kennel"]["per_second"] / row["moto"]["per_second"]
            rows["rounds"].append(row)
    ratios = [row["ratio"] for row in rows["rounds"]]
    rows["ratio"] = {"median": statistics.median(ratios), "least": min(ratios), "most": max(ratios)}
    return rows


def table_sts(r):
    def each(form):
        return ", ".join(form(row) for row in r["rounds"])

    def shares(name):
        return each(lambda row: "{:.0f} % / {:.0f} %".format(
            100 * row[name]["server_cpu_seconds"] / row[name]["seconds"],
            100 * row[name]["client_cpu_seconds"] / row[name]["seconds"]))

    def cost(name):
        return each(lambda row: f"{1e6 * row[name]['server_cpu_seconds'] / max(1, row[name]['answers']):.0f}")

    failed = sum(row[n]["failed"] for row in r["rounds"] for n in ("kennel", "moto"))
    return [
        (f"GetCallerIdentity, {r['connections']} connections, Kennel, 1/s",
         each(lambda row: f"{row['kennel']['per_second']:.0f}"), ""),
        ("  moto_server, 1/s", each(lambda row: f"{row['moto']['per_second']:.0f}"), ""),
        ("  Kennel ÷ moto_server: median (range)",
         "{median:.1f} ({least:.1f} to {most:.1f})".format(**r["ratio"]), "at least 5"),
        ("  one connection: Kennel, moto_server, 1/s", each(lambda row: "{:.0f} / {:.0f}".format(
            *(row[n]["one_connection"]["per_second"] for n in ("kennel", "moto")))), ""),
        *((f"  {key} Kennel, moto_server, ms", each(lambda row, key=key: "{:.1f} / {:.1f}".format(
            *(row[n][f"{key}_ms"] for n in ("kennel", "moto")))), "")
          for key in ("p50", "p99", "slowest")),
        ("  connections opened again: Kennel, moto_server", each(lambda row: "{} / {}".format(
            *(row[n]["reconnects"] for n in ("kennel", "moto")))), ""),
        ("  CPU of Kennel / of the client, of one core", shares("kennel"), ""),
        ("  CPU of moto_server / of the client", shares("moto"), ""),
        ("  server's CPU per call, µs: Kennel", cost("kennel"), ""),
        ("  server's CPU per call, µs: moto_server", cost("moto"), ""),
        (f"  the client's ceiling ({r['processes']} process), 1/s, at least",
         each(lambda row: f"{row['ceiling']['per_second']:.0f}"), ""),
        ("  failed", failed, "0"),
    ]


def photos_of(a, scratch):
    """The photos to copy: the folder itself, or links to as many of them as are wanted."""
    limit = 300 if a.quick else a.files
    files = sorted(p for p in a.photos.rglob("*") if p.is_file())
    if not files:
        raise SystemExit(f"`{a.photos}` has no files")
    if len(files) <= limit:
        return a.photos, len(files), sum(p.stat().st_size for p in files)
    chosen = [files[i * len(files) // limit] for i in range(limit)]
    folder = scratch / "photos"
    for path in chosen:
        link = folder / path.relative_to(a.photos)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(path.resolve())
    return folder, limit, sum(p.stat().st_size for p in chosen)


def aws(environment, *arguments):
    """The AWS command line: wall and CPU seconds of it."""
    program = pathlib.Path(sys.executable).parent / "aws"
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.perf_counter()
    ran = subprocess.run([program, *map(str, arguments)], env=environment, capture_output=True, text=True)
    took = time.perf_counter() - started
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if ran.returncode:
        raise SystemExit(f"aws {arguments}: {ran.stderr[-2000:]}")
    return took, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def same(left, right):
    compared = filecmp.dircmp(left, right)
    if compared.left_only or compared.right_only or compared.funny_files:
        return False
    match, _, _ = filecmp.cmpfiles(left, right, compared.common_files, shallow=False)
    return len(match) == len(compared.common_files) and all(
        same(left / name, right / name) for name in compared.common_dirs)


def section_s3(a, scratch):
    """Photos up and down with the AWS command line, then one large object against loopback and disk."""
    rows = {"copies": [], "large": {}}
    folder, files, size = photos_of(a, scratch)
    rows["files"], rows["megabytes"] = files, size / 1e6
    with server.Kennel(scratch / "s3") as kennel:
        environment = server.clean_environment(**kennel.environment())
        aws(environment, "s3", "mb", "s3://photos")
        for number in range(1 if a.quick else 3):
            row, back = {}, scratch / f"back-{number}"
            for way, source, target in (("up", folder, f"s3://photos/{number}/"),
                                        ("down", f"s3://photos/{number}/", back)):
                server.reset_peak(kennel.pid)
                before = server.cpu(kennel.pid)
                wall, spent = aws(environment, "s3", "cp", "--recursive", "--only-show-errors", source, target)
                used = server.cpu(kennel.pid) - before
                row[way] = {"seconds": wall, "server_cpu_seconds": used, "client_cpu_seconds": spent,
                            "server_share": used / (used + spent), "peak_mb": server.memory(kennel.pid, "VmHWM")}
            row["same"] = same(folder, back)
            if not row["same"]:
                raise SystemExit("what came back is not what was sent")
            shutil.rmtree(back)
            rows["copies"].append(row)
        rows["large"] = large(a, scratch, kennel)
    return rows


def forget(path):
    """Takes a file out of the page cache, so that the next read is the disk's."""
    descriptor = os.open(path, os.O_RDONLY)
    os.fsync(descriptor)
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(descriptor)


def disk(path, buffer):
    started = time.perf_counter()
    with open(path, "rb", buffering=0) as file:
        while file.readinto(buffer):
            pass
    return time.perf_counter() - started


def large(a, scratch, kennel):
    import boto3

    size = (128 if a.quick else 1024) << 20
    path, buffer, checksum = scratch / "large.bin", bytearray(1 << 20), 0
    with open(path, "wb") as file:
        for _ in range(size >> 20):
            part = os.urandom(1 << 20)
            checksum = zlib.crc32(part, checksum)
            file.write(part)
    found, keys = kennel.environment(), kennel.keys()
    s3 = boto3.client("s3", endpoint_url=kennel.url, region_name="us-east-1",
                      aws_access_key_id=found["AWS_ACCESS_KEY_ID"], aws_session_token=found.get("AWS_SESSION_TOKEN"),
                      aws_secret_access_key=found["AWS_SECRET_ACCESS_KEY"])
    s3.create_bucket(Bucket="large")
    part = os.urandom(1 << 20)
    started = time.perf_counter()
    with open(scratch / "write.bin", "wb", buffering=0) as file:
        for _ in range(size >> 20):
            file.write(part)
        os.fsync(file.fileno())
    written = size / 1e6 / (time.perf_counter() - started)
    (scratch / "write.bin").unlink()
    row = {"bytes": size, "disk_write": written, "idle_mb": server.memory(kennel.pid), "rounds": []}
    for name, put in (("put", lambda: put_whole(s3, path)),
                      ("multipart", lambda: s3.upload_file(str(path), "large", "parts"))):
        server.reset_peak(kennel.pid)
        before, started = server.cpu(kennel.pid), time.perf_counter()
        put()
        took = time.perf_counter() - started
        row[name] = {"mb_per_second": size / 1e6 / took, "server_cpu_seconds": server.cpu(kennel.pid) - before,
                     "peak_mb": server.memory(kennel.pid, "VmHWM")}
    for key in ("object", "parts"):
        checked = 0
        body = s3.get_object(Bucket="large", Key=key)["Body"]
        while part := body.read(1 << 20):
            checked = zlib.crc32(part, checked)
        if checked != checksum:
            raise SystemExit(f"`{key}` came back with other bytes")
    stored = max((p for p in (kennel.data / "objects").rglob("*") if p.is_file() and p.stat().st_size == size),
                 key=lambda p: p.stat().st_mtime, default=None)
    rate = lambda seconds: size / 1e6 / seconds  # noqa: E731
    for _ in range(2 if a.quick else 6):
        get = client.signed(keys, kennel.address, "s3", "GET", "/large/object")
        round_ = {"loopback_sendfile": rate(client.loopback(path, size, buffer, True)),
                  "loopback_copy": rate(client.loopback(path, size, buffer, False))}
        server.reset_peak(kennel.pid)
        before = server.cpu(kennel.pid)
        round_["get"] = rate(client.stream(kennel.address, get, buffer, size))
        round_["get_server_cpu_seconds"] = server.cpu(kennel.pid) - before
        round_["get_peak_mb"] = server.memory(kennel.pid, "VmHWM")
        before, started = server.cpu(kennel.pid), time.perf_counter()
        body = s3.get_object(Bucket="large", Key="object")["Body"]
        while body.read(1 << 20):
            pass
        round_["boto3_get"] = rate(time.perf_counter() - started)
        round_["boto3_get_server_cpu_seconds"] = server.cpu(kennel.pid) - before
        if stored:
            # Cold: the very file read by us and by the server, in turn the one and the other first.
            ways = {"disk": lambda: disk(stored, buffer),
                    "cold_get": lambda: client.stream(kennel.address, get, buffer, size)}
            for name in sorted(ways, reverse=len(row["rounds"]) % 2 == 0):
                forget(stored)
                round_[name] = rate(ways[name]())
            # The machine may keep the disk's blocks in a cache of its own, and then loopback is the limit.
            round_["cold_bound"] = min(round_["disk"], max(round_["loopback_sendfile"], round_["loopback_copy"]))
            disk(path, buffer)
            disk(stored, buffer)
        row["rounds"].append(round_)
    path.unlink()
    return row


def put_whole(s3, path):
    with open(path, "rb") as body:
        s3.put_object(Bucket="large", Key="object", Body=body)


def table_s3(r):
    rows = []
    for way in ("up", "down"):
        each = lambda form, way=way: ", ".join(form(row[way]) for row in r["copies"])  # noqa: E731
        rows += [
            (f"aws s3 cp --recursive {way}, {r['files']} files, {r['megabytes']:.0f} MB: s",
             each(lambda x: f"{x['seconds']:.1f}"), ""),
            ("  CPU seconds server / client",
             each(lambda x: f"{x['server_cpu_seconds']:.1f} / {x['client_cpu_seconds']:.1f}"), ""),
            ("  server's share", each(lambda x: f"{100 * x['server_share']:.0f} %"), "the client bounds it"),
            ("  server's peak memory, MB", each(lambda x: f"{x['peak_mb']:.0f}"), ""),
        ]
    big = r["large"]
    mid = lambda key: statistics.median(x[key] for x in big["rounds"])  # noqa: E731
    ratio = lambda x, of: f"{100 * statistics.median(row[x] / row[of] for row in big['rounds']):.0f} %"  # noqa: E731
    rows += [
        (f"object of {big['bytes'] >> 20} MiB with boto3: put, multipart; disk written and flushed, MB/s",
         f"{big['put']['mb_per_second']:.0f}, {big['multipart']['mb_per_second']:.0f}; {big['disk_write']:.0f}", ""),
        ("  server's peak memory of these, MB (idle before)",
         f"{big['put']['peak_mb']:.0f}, {big['multipart']['peak_mb']:.0f} ({big['idle_mb']:.0f})", "constant"),
        ("  loopback of a file: sendfile, read and send, MB/s",
         f"{mid('loopback_sendfile'):.0f}, {mid('loopback_copy'):.0f}", ""),
        ("  get, raw socket, MB/s", f"{mid('get'):.0f}", ""),
        ("  get ÷ loopback: sendfile, read and send",
         f"{ratio('get', 'loopback_sendfile')}, {ratio('get', 'loopback_copy')}", "at least 80 %, or of the disk"),
        ("  get with boto3, MB/s", f"{mid('boto3_get'):.0f}", ""),
        ("  server's CPU of one get, s; its peak memory, MB",
         f"{mid('get_server_cpu_seconds'):.2f}; {max(x['get_peak_mb'] for x in big['rounds']):.0f}", "constant"),
    ]
    if "disk" in big["rounds"][0]:
        rows += [("  cold: disk, get, MB/s", f"{mid('disk'):.0f}, {mid('cold_get'):.0f}", ""),
                 ("  cold get ÷ the slower of disk and loopback", ratio("cold_get", "cold_bound"), "at least 80 %")]
    return rows

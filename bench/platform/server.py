"""The servers that are measured, and what /proc says of them."""

import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time

import client

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
KENNEL = pathlib.Path(os.environ.get("KENNEL_BIN", ROOT / "target/release/kennel"))
TICK = os.sysconf("SC_CLK_TCK")


class Kennel:
    """`kennel up` on a data folder; ends with the `with` block."""

    def __init__(self, data):
        self.data = pathlib.Path(data)
        self.log = open(self.data.parent / (self.data.name + ".log"), "ab")

    def __enter__(self):
        started = time.perf_counter()
        self.process = subprocess.Popen([KENNEL, "up", "--data-dir", self.data, "--port", "0"],
                                        stdout=subprocess.PIPE, stderr=self.log, env=clean_environment())
        try:
            line = self.process.stdout.readline().decode().strip()
        except BaseException:
            stop(self.process)
            raise
        self.first_line = time.perf_counter() - started
        if not line:
            raise SystemExit(f"`kennel up` ended at once; its log: {self.log.name}")
        host, port = line.removeprefix("http://").split(":")
        self.url, self.address, self.started = line, (host, int(port)), started
        self.pid = self.process.pid
        return self

    def root_keys(self):
        found = json.loads((self.data / "root-credentials.json").read_text())
        return client.Keys(found["access_key_id"], found["secret_access_key"])

    def environment(self):
        """What `kennel env` gives: a session of the default execution role."""
        out = subprocess.run([KENNEL, "env", "--json", "--data-dir", self.data], check=True, capture_output=True,
                             env=clean_environment())
        return {name: value for name, value in json.loads(out.stdout).items() if value}

    def keys(self):
        found = self.environment()
        return client.Keys(found["AWS_ACCESS_KEY_ID"], found["AWS_SECRET_ACCESS_KEY"],
                           found.get("AWS_SESSION_TOKEN"))

    def __exit__(self, *_):
        stop(self.process)
        self.log.close()


class Moto:
    """`moto_server` of the running interpreter's environment."""

    def __enter__(self):
        program = pathlib.Path(sys.executable).parent / "moto_server"
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.address = probe.getsockname()
        self.process = subprocess.Popen([program, "-H", "127.0.0.1", "-p", str(self.address[1])],
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.pid = self.process.pid
        try:
            self.wait()
        except BaseException:
            stop(self.process)
            raise
        return self

    def wait(self):
        end = time.monotonic() + 60
        while True:
            try:
                client.connect(self.address).close()
                return
            except OSError:
                if self.process.poll() is not None or time.monotonic() > end:
                    raise SystemExit("moto_server does not start") from None
                time.sleep(0.05)

    def keys(self):
        return client.Keys("testing", "testing")

    def __exit__(self, *_):
        stop(self.process)


def stop(process):
    """Ends a process that was started here: politely, then for certain."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    if process.stdout:
        process.stdout.close()


def clean_environment(**more):
    """Without AWS settings of whoever runs this, and without files of theirs."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "KENNEL_"))}
    kept.update(AWS_CONFIG_FILE="/dev/null", AWS_SHARED_CREDENTIALS_FILE="/dev/null",
                AWS_EC2_METADATA_DISABLED="true", AWS_PAGER="")
    return {**kept, **more}


def stat(pid):
    """The fields of /proc/PID/stat after the name, [] when it is gone."""
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except (FileNotFoundError, ProcessLookupError):
        return []


def children(pid):
    """Direct children, zombies left out."""
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            fields = stat(entry)
            if fields and fields[1] == str(pid) and fields[0] != "Z":
                found.append(int(entry))
    return found


def descendants(pid):
    found = children(pid)
    return found + [deeper for child in found for deeper in descendants(child)]


def instances(pid):
    """Model servers among the children."""
    found = []
    for child in children(pid):
        try:
            arguments = pathlib.Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if b"serve" in arguments:
            found.append(child)
    return found


def port_of(pid):
    """The port that a process listens on."""
    inodes = set()
    for descriptor in os.scandir(f"/proc/{pid}/fd"):
        try:
            target = os.readlink(descriptor.path)
        except FileNotFoundError:
            continue
        if target.startswith("socket:["):
            inodes.add(target[8:-1])
    for line in pathlib.Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if fields[3] == "0A" and fields[9] in inodes:
            return int(fields[1].split(":")[1], 16)
    raise SystemExit(f"process {pid} listens on no port")


def cpu(pid):
    """CPU seconds of a process, all its threads, user and system."""
    fields = stat(pid)
    return (int(fields[11]) + int(fields[12])) / TICK if fields else 0.0


def memory(pid, field="VmRSS"):
    """Resident megabytes (10^6 bytes); VmHWM is the most since `reset_peak`."""
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024 / 1e6
    return 0.0


def reset_peak(pid):
    pathlib.Path(f"/proc/{pid}/clear_refs").write_text("5")


def memory_with_children(pid):
    """Summed, so pages that processes share count more than once."""
    return memory(pid) + sum(memory(child) for child in descendants(pid))

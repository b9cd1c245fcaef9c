"""What is measured: commands of Kennel and its platform, with the time they took and who else took the cores."""

import json
import os
import pathlib
import resource
import signal
import subprocess
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
KENNEL = pathlib.Path(os.environ.get("KENNEL_BIN", ROOT / "target/release/kennel"))
BACKBONE = "mobilenet_v2_1.0_224"
TICK = os.sysconf("SC_CLK_TCK")


class Watch:
    """Wall time of a `with` block, CPU time of what was measured, and the cores that everybody else took.

    What is measured are children of this script that have ended, or the process `pid` with its ended children.
    """

    def __init__(self, pid=None):
        self.pid = pid

    def __enter__(self):
        self.load = os.getloadavg()[0]
        self.began, self.busy_before, self.own_before = time.perf_counter(), busy(), self.own()
        return self

    def __exit__(self, *_):
        self.seconds = time.perf_counter() - self.began
        self.cpu = self.own() - self.own_before
        self.others = max(0.0, (busy() - self.busy_before - self.cpu) / self.seconds)

    def own(self):
        if self.pid is None:
            used = resource.getrusage(resource.RUSAGE_CHILDREN)
            return used.ru_utime + used.ru_stime
        fields = pathlib.Path(f"/proc/{self.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return sum(map(int, fields[11:15])) / TICK

    def row(self):
        return {"seconds": self.seconds, "cpu_seconds": self.cpu, "others_cores": self.others, "load_before": self.load}


def busy():
    """CPU seconds of the whole machine so far; the host's theft counts as somebody else's."""
    user, nice, system, _, _, irq, softirq, steal = map(
        int, pathlib.Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9])
    return (user + nice + system + irq + softirq + steal) / TICK


def environment(hub, cache, **more):
    """Without AWS settings of whoever runs this, and with a cache of the measurement's own."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("AWS_")}
    return {**kept, "KENNEL_HUB": str(hub), "KENNEL_CACHE": str(cache), **more}


def call(command, env):
    """Runs a command; answers what it said on both outputs, and the Watch over it."""
    with Watch() as watch:
        done = subprocess.run([str(c) for c in command], env=env, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{command} failed:\n{done.stdout}\n{done.stderr}")
    return done.stdout + done.stderr, watch


def train(a, cache, output, *options, start=(KENNEL,), data=None, **more):
    """`kennel train`: what it said, its metrics.json, and the Watch."""
    output.mkdir(parents=True, exist_ok=True)
    said, watch = call([*start, "train", data or a.data, "--backbone", BACKBONE, "--output", output / "model.tar.gz",
                        *options], environment(a.hub, cache, **more))
    return said, json.loads((output / "metrics.json").read_text()), watch


def tune(a, cache, output, *options):
    """`kennel tune`: its trials, the best model's metrics.json, and the Watch."""
    _, watch = call([KENNEL, "tune", a.data, "--backbone", BACKBONE, "--output", output, *options],
                    environment(a.hub, cache))
    trials = json.loads((output / "trials.json").read_text())["trials"]
    return trials, json.loads((output / "metrics.json").read_text()), watch


class Platform:
    """`kennel up` on a data folder, with boto3 clients; ends with the `with` block."""

    def __init__(self, a, data, cache):
        self.data, self.env = data, environment(a.hub, cache)

    def __enter__(self):
        self.log = open(self.data.with_suffix(".log"), "ab")
        self.process = subprocess.Popen([KENNEL, "up", "--data-dir", self.data, "--port", "0"],
                                        stdout=subprocess.PIPE, stderr=self.log, env=self.env)
        try:
            self.url = self.process.stdout.readline().decode().strip()
            if not self.url:
                raise SystemExit(f"`kennel up` ended at once; its log: {self.log.name}")
            self.connect()
        except BaseException:
            self.__exit__()
            raise
        return self

    def connect(self):
        import boto3

        found = json.loads(self.kennel("env", "--json"))
        session = boto3.Session(found["AWS_ACCESS_KEY_ID"], found["AWS_SECRET_ACCESS_KEY"],
                                found.get("AWS_SESSION_TOKEN"), "us-east-1")
        make = lambda service: session.client(service, endpoint_url=self.url)  # noqa: E731
        self.sagemaker, self.s3 = make("sagemaker"), make("s3")
        name = make("sts").get_caller_identity()["Arn"].split("/")[1]
        self.role = make("iam").get_role(RoleName=name)["Role"]["Arn"]

    def kennel(self, *arguments):
        """A command of Kennel's own client on this platform."""
        done = subprocess.run([KENNEL, *map(str, arguments), "--data-dir", self.data], env=self.env,
                              capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"kennel {arguments} failed:\n{done.stdout}\n{done.stderr}")
        return done.stdout

    def upload(self, photos, bucket="bench"):
        """The photos as channels train, validation and test: name and place."""
        self.kennel("bucket", "mb", f"s3://{bucket}")
        self.kennel("bucket", "cp", "-r", photos, f"s3://{bucket}/photos")
        found = [(name, folder) for name, folder in
                 (("train", "train"), ("validation", "valid"), ("test", "test")) if (photos / folder).is_dir()]
        return [(name, f"s3://{bucket}/photos/{folder}") for name, folder in found]

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.process.stdout.close()
        self.log.close()


def of(values, digits=1):
    """Median and range of numbers, as text."""
    values = sorted(values)
    middle = median(values)
    if len(values) == 1:
        return f"{middle:.{digits}f}"
    return f"{middle:.{digits}f} ({values[0]:.{digits}f} to {values[-1]:.{digits}f})"


def median(values):
    import statistics

    return statistics.median(values)


def column(rows, name):
    return [row[name] for row in rows]


def noise(rows):
    """How many cores others took during some measurements, as text."""
    return f"others took {of(column(rows, 'others_cores'), 2)} cores"

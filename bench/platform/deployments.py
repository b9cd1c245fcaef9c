"""Requests that deployments lose: boto3 in many threads asks one endpoint without pause, without retries, while it
is deployed to again and again: canary, canary that an alarm takes back, linear, rolling, rolling that an alarm takes
back. Two models with other weights tell by every answer which fleet gave it.

    bench/platform/deployments.py [--requests 50000] [--threads 8] [--data-dir FOLDER]

Starts its own `kennel up`. Not a timed test: what counts is that no request fails, that a canary gets its share and
no more, and where an endpoint ends. Needs what requirements.txt lists.
"""

import argparse
import collections
import itertools
import json
import pathlib
import tempfile
import threading
import time
from unittest import mock

import boto3
import botocore.config
import endpoints
import model
import numpy

ALARM = "bench-alarm"
INSTANCES = 2
WAIT = 3
SHARE = 25
SIZE = {"Type": "CAPACITY_PERCENT", "Value": SHARE}


def blue_green(kind, **size):
    return {"BlueGreenUpdatePolicy": {
        "TrafficRoutingConfiguration": {"Type": kind, "WaitIntervalInSeconds": WAIT, **size},
        "TerminationWaitInSeconds": 0, "MaximumExecutionTimeoutInSeconds": 600}}


CANARY = blue_green("CANARY", CanarySize=SIZE)
LINEAR = blue_green("LINEAR", LinearStepSize={"Type": "CAPACITY_PERCENT", "Value": 34})
ROLLING = {"RollingUpdatePolicy": {
    "MaximumBatchSize": {"Type": "INSTANCE_COUNT", "Value": 1}, "WaitIntervalInSeconds": WAIT}}
# Name, policy, whether the alarm goes off while it bakes.
DEPLOYMENTS = [("canary", CANARY, False), ("canary taken back", CANARY, True), ("linear", LINEAR, False),
               ("rolling", ROLLING, False), ("rolling taken back", ROLLING, True)]


class Load:
    """Threads that invoke the endpoint without pause and count by answer and by failure."""

    def __init__(self, make, photo, old, threads):
        self.make, self.photo, self.old = make, photo, old
        self.answers, self.failures = collections.Counter(), collections.Counter()
        self.bodies, self.ended, self.lock = set(), threading.Event(), threading.Lock()
        self.threads = [threading.Thread(target=self.ask, daemon=True) for _ in range(threads)]
        for thread in self.threads:
            thread.start()

    def ask(self):
        runtime = self.make("sagemaker-runtime")
        while not self.ended.is_set():
            try:
                answer = runtime.invoke_endpoint(EndpointName="bench", ContentType="image/jpeg", Body=self.photo)
                body = answer["Body"].read()
                found, count = "old" if body == self.old else "new", self.answers
                self.bodies.add(body)
            except Exception as error:  # noqa: BLE001: every failure counts, whatever it is
                found, count = f"{type(error).__name__}: {error}"[:300], self.failures
            with self.lock:
                count[found] += 1

    def counts(self):
        with self.lock:
            return collections.Counter(self.answers)

    def stop(self):
        self.ended.set()
        for thread in self.threads:
            thread.join()


class Endpoint(endpoints.Deployed):
    """The endpoint with its two models."""

    def deploy(self):
        found = self.kennel.environment()
        session = boto3.Session(found["AWS_ACCESS_KEY_ID"], found["AWS_SECRET_ACCESS_KEY"],
                                found.get("AWS_SESSION_TOKEN"), "us-east-1")
        config = botocore.config.Config(retries={"total_max_attempts": 1}, max_pool_connections=4)
        self.make = lambda service: session.client(service, endpoint_url=self.kennel.url, config=config)
        s3, self.sagemaker = self.make("s3"), self.make("sagemaker")
        self.cloudwatch = self.make("cloudwatch")
        role = self.make("sts").get_caller_identity()["Arn"].split("/")[1]
        arn = self.make("iam").get_role(RoleName=role)["Role"]["Arn"]
        s3.create_bucket(Bucket="bench")
        generator = numpy.random.default_rng
        for name, seed in (("old", 1), ("new", 2)):
            with mock.patch.object(numpy.random, "default_rng", lambda _, seed=seed: generator(seed)):
                s3.put_object(Bucket="bench", Key=f"{name}.tar.gz", Body=model.package())
            self.sagemaker.create_model(ModelName=name, ExecutionRoleArn=arn, PrimaryContainer={
                "Image": "kennel/image-classification:1", "ModelDataUrl": f"s3://bench/{name}.tar.gz"})
            self.sagemaker.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[{
                "VariantName": "AllTraffic", "ModelName": name, "InstanceType": "ml.m5.large",
                "InitialInstanceCount": INSTANCES}])
        # Its metric does not exist: it is quiet, and rings only when SetAlarmState says so.
        self.cloudwatch.put_metric_alarm(
            AlarmName=ALARM, Namespace="Bench", MetricName="None", Statistic="Sum", Period=3600, EvaluationPeriods=1,
            Threshold=1, ComparisonOperator="GreaterThanThreshold", TreatMissingData="notBreaching")
        self.sagemaker.create_endpoint(EndpointName="bench", EndpointConfigName="old")
        self.settled()
        self.serving, self.photo = "old", model.photo()
        answer = self.make("sagemaker-runtime").invoke_endpoint(
            EndpointName="bench", ContentType="image/jpeg", Body=self.photo)
        self.old = answer["Body"].read()
        return self

    def show(self):
        return self.sagemaker.describe_endpoint(EndpointName="bench")

    def stage(self):
        """`VariantStatus` of what is being deployed, and the endpoint's status."""
        found = self.show()
        pending = found.get("PendingDeploymentSummary", {}).get("ProductionVariants", [{}])
        return pending[0].get("VariantStatus", [{}])[0].get("Status"), found["EndpointStatus"], found

    def update(self, load, policy, rings):
        """One deployment; answers what was seen of it."""
        other = "new" if self.serving == "old" else "old"
        self.alarm("OK")
        started, seen, during = time.monotonic(), [], None
        self.sagemaker.update_endpoint(
            EndpointName="bench", EndpointConfigName=other,
            DeploymentConfig={**policy, "AutoRollbackConfiguration": {"Alarms": [{"AlarmName": ALARM}]}})
        while True:
            stage, status, found = self.stage()
            if not seen or seen[-1] != (stage, status):
                seen.append((stage, status))
            if stage == "Baking" and during is None:
                before = load.counts()
                time.sleep(0.7 * WAIT)
                during = load.counts() - before
                if rings:
                    self.alarm("ALARM")
            if status in ("InService", "Failed", "UpdateRollbackFailed"):
                break
            if time.monotonic() - started > 600:
                raise SystemExit(f"the deployment does not end: {found}")
            time.sleep(0.02)
        wanted = self.serving if rings else other
        if status != "InService" or found["EndpointConfigName"] != wanted:
            raise SystemExit(f"it ended as {status} with {found['EndpointConfigName']}: {found.get('FailureReason')}")
        if rings and ALARM not in found.get("FailureReason", ""):
            raise SystemExit(f"the reason does not name the alarm: {found.get('FailureReason')}")
        self.serving = wanted
        share = (during or {}).get(other, 0) / max(1, sum((during or {}).values()))
        return {"seconds": round(time.monotonic() - started, 2), "first_share": round(share, 3),
                "stages": [stage for stage, _ in seen if stage], "reason": found.get("FailureReason")}

    def alarm(self, state):
        self.cloudwatch.set_alarm_state(AlarmName=ALARM, StateValue=state, StateReason="benchmark")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=50_000)
    parser.add_argument("--threads", type=int, default=8)
    parser.add_argument("--data-dir", type=pathlib.Path, help="empty folder for the platform; a temporary one if not given")
    a = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        endpoint = Endpoint(a.data_dir or pathlib.Path(scratch), "deployments", INSTANCES)
        with endpoint:
            load = Load(endpoint.make, endpoint.photo, endpoint.old, a.threads)
            rounds = []
            for number in itertools.count():
                # Everything once at least, and on until enough was asked.
                if number >= len(DEPLOYMENTS) and sum(load.counts().values()) >= a.requests:
                    break
                name, policy, rings = DEPLOYMENTS[number % len(DEPLOYMENTS)]
                rounds.append({"deployment": name, **endpoint.update(load, policy, rings)})
                print(json.dumps(rounds[-1]), flush=True)
            load.stop()
    answers, failures = dict(load.answers), dict(load.failures)
    result = {"requests": sum(answers.values()) + sum(failures.values()), "answers": answers, "failures": failures,
              "deployments": len(rounds)}
    print(json.dumps(result, indent=1))
    if failures or len(load.bodies) != 2:
        raise SystemExit(f"requests were lost, or answered by nobody's model: {len(load.bodies)} different answers")


if __name__ == "__main__":
    main()

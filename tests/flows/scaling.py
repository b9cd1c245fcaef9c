"""The course's step 5 and what goes with it: an endpoint that scales by its load, deployments that go back by
themselves, shadow traffic, captured data, prices and the writeup. The endpoint `dogs` serves already (FLOW_ENDPOINT);
what AWS does over minutes has its tests beside the code, with a clock of their own."""

import json
import os
import pathlib
import subprocess
import tempfile
import threading
import time

import boto3
from botocore.config import Config

from common import eventually, refused

ENDPOINT = os.environ["FLOW_ENDPOINT"]
PHOTO = sorted(pathlib.Path(os.environ["FLOW_PHOTOS"], "test").glob("*/*.jpg"))[0].read_bytes()
OUT = pathlib.Path(tempfile.mkdtemp())
once = Config(retries={"total_max_attempts": 1}, max_pool_connections=32)
aas, cw, sm, s3 = (boto3.client(x) for x in ("application-autoscaling", "cloudwatch", "sagemaker", "s3"))
runtime = boto3.client("sagemaker-runtime", config=once)
RID = f"endpoint/{ENDPOINT}/variant/AllTraffic"
TARGET = dict(ServiceNamespace="sagemaker", ResourceId=RID, ScalableDimension="sagemaker:variant:DesiredInstanceCount")


def kennel(*arguments, code=0):
    """Our own command line; answers what it prints."""
    ran = subprocess.run([os.environ["KENNEL_BIN"], *arguments], capture_output=True, text=True)
    assert ran.returncode == code, f"kennel {' '.join(arguments)}: {ran.returncode}\n{ran.stdout}\n{ran.stderr}"
    return ran.stdout


def call(**more):
    return runtime.invoke_endpoint(EndpointName=ENDPOINT, ContentType="image/jpeg", Body=PHOTO, **more)


class Traffic:
    """Calls from several threads until it is left; what failed is kept."""

    def __init__(self, threads):
        self.answered, self.failed, self.over = 0, [], threading.Event()
        self.threads = [threading.Thread(target=self.run) for _ in range(threads)]

    def run(self):
        while not self.over.is_set():
            try:
                call()["Body"].read()
                self.answered += 1
            except Exception as error:  # every way of failing counts
                self.failed.append(repr(error))

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        for thread in self.threads:
            thread.join()


def variant(member="CurrentInstanceCount"):
    return sm.describe_endpoint(EndpointName=ENDPOINT)["ProductionVariants"][0][member]


def settled(config=None):
    def look():
        found = sm.describe_endpoint(EndpointName=ENDPOINT)
        if found["EndpointStatus"] == "InService" and config in (None, found["EndpointConfigName"]):
            return found
    return eventually(f"{ENDPOINT} serves {config or 'again'}", look)


# 1. The choices of the course's writeups, one command each.
kennel("scale", "set", ENDPOINT, "--min", "1", "--max", "2")
target = aas.describe_scalable_targets(ServiceNamespace="sagemaker", ResourceIds=[RID])["ScalableTargets"][0]
assert (target["MinCapacity"], target["MaxCapacity"]) == (1, 2), target
kennel("scale", "set", ENDPOINT, "--max", "3", "--target", "10", "--scale-out-cooldown", "30",
       "--scale-in-cooldown", "120")
policy = aas.describe_scaling_policies(ServiceNamespace="sagemaker", ResourceId=RID)["ScalingPolicies"][0]
tracking = policy["TargetTrackingScalingPolicyConfiguration"]
assert (tracking["TargetValue"], tracking["ScaleOutCooldown"], tracking["ScaleInCooldown"]) == (10.0, 30, 120), tracking
names = [a["AlarmName"] for a in policy["Alarms"]]
alarms = cw.describe_alarms(AlarmNames=names)["MetricAlarms"]
assert {(a["Threshold"], a["EvaluationPeriods"], a["Period"]) for a in alarms} == {(10.0, 3, 60), (9.0, 15, 60)}, alarms

# An alarm that is set by hand acts like one that found it by itself.
high = next(a["AlarmName"] for a in alarms if "AlarmHigh" in a["AlarmName"])
history = cw.describe_alarm_history(AlarmName=high)["AlarmHistoryItems"]
assert history and history[-1]["HistoryItemType"] == "ConfigurationUpdate", history

# 2. Burstable types are refused with a reason; so is what the account does not have.
config = sm.describe_endpoint_config(EndpointConfigName=sm.describe_endpoint(EndpointName=ENDPOINT)["EndpointConfigName"])
production = config["ProductionVariants"][0]
burstable = {**production, "InstanceType": "ml.t2.medium"}
sm.create_endpoint_config(EndpointConfigName="burstable", ProductionVariants=[burstable])
sm.create_endpoint(EndpointName="burstable", EndpointConfigName="burstable")
sm.get_waiter("endpoint_in_service").wait(EndpointName="burstable", WaiterConfig={"Delay": 1, "MaxAttempts": 120})
said = refused("ValidationException", aas.register_scalable_target, **{
    **TARGET, "ResourceId": "endpoint/burstable/variant/AllTraffic"}, MinCapacity=1, MaxCapacity=2)
assert "ml.t2.medium" in said and "ml.m5" in said, said
sm.delete_endpoint(EndpointName="burstable")
refused("ValidationException", aas.register_scalable_target, **{
    **TARGET, "ResourceId": "endpoint/none/variant/AllTraffic"}, MinCapacity=1, MaxCapacity=2)

# 3. The fast mode under load: more instances, which serve; the activity says so.
kennel("scale", "set", ENDPOINT, "--min", "1", "--max", "2", "--target", "2", "--metric", "concurrency", "--fast")
with Traffic(8) as traffic:
    eventually("load brings a second instance", lambda: variant() == 2)
    activity = eventually("its activity has ended", lambda: next((
        a for a in aas.describe_scaling_activities(**TARGET)["ScalingActivities"] if a["StatusCode"] == "Successful"), None))
assert "Setting desired instance count to 2" in activity["Description"], activity
assert not traffic.failed and traffic.answered > 20, (traffic.answered, traffic.failed[:3])
kennel("scale", "rm", ENDPOINT)
assert not cw.describe_alarms(AlarmNamePrefix=f"TargetTracking-{RID}")["MetricAlarms"]
assert variant() == 2, "what is there stays"

# 4. A canary that an alarm takes back, under traffic; then one that goes through.
cw.put_metric_alarm(AlarmName="too-slow", Namespace="Flow", MetricName="Nothing", Statistic="Sum", Period=60,
                    EvaluationPeriods=1, Threshold=1, ComparisonOperator="GreaterThanThreshold",
                    TreatMissingData="notBreaching")
before = settled()["EndpointConfigName"]
for name in ("next", "next-2"):
    sm.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[{**production, "InitialInstanceCount": 2}])


def canary(config, wait):
    sm.update_endpoint(EndpointName=ENDPOINT, EndpointConfigName=config, DeploymentConfig={
        "BlueGreenUpdatePolicy": {
            "TrafficRoutingConfiguration": {"Type": "CANARY", "WaitIntervalInSeconds": wait, "CanarySize": {
                "Type": "CAPACITY_PERCENT", "Value": 50}},
            "TerminationWaitInSeconds": 0, "MaximumExecutionTimeoutInSeconds": 600},
        "AutoRollbackConfiguration": {"Alarms": [{"AlarmName": "too-slow"}]}})


with Traffic(4) as traffic:
    canary("next", 300)
    eventually("the canary gets traffic", lambda: "Baking" in json.dumps(
        sm.describe_endpoint(EndpointName=ENDPOINT).get("PendingDeploymentSummary", {}), default=str))
    cw.set_alarm_state(AlarmName="too-slow", StateValue="ALARM", StateReason="tried")
    after = settled(before)
    assert "too-slow" in after["FailureReason"], after
    cw.set_alarm_state(AlarmName="too-slow", StateValue="OK", StateReason="tried")
    canary("next-2", 1)
    after = settled("next-2")
assert "FailureReason" not in after, after
assert not traffic.failed and traffic.answered > 20, (traffic.answered, traffic.failed[:3])

# 5. A shadow variant gets copies, nobody waits for it; what goes through is kept in S3.
s3.create_bucket(Bucket="captured")
shadow = {**production, "VariantName": "Shadow"}
sm.create_endpoint_config(
    EndpointConfigName="watched", ProductionVariants=[production], ShadowProductionVariants=[shadow],
    DataCaptureConfig={"EnableCapture": True, "InitialSamplingPercentage": 100, "DestinationS3Uri": "s3://captured/dogs",
                       "CaptureOptions": [{"CaptureMode": "Input"}, {"CaptureMode": "Output"}]})
sm.update_endpoint(EndpointName=ENDPOINT, EndpointConfigName="watched")
found = settled("watched")
assert found["ShadowProductionVariants"][0]["VariantName"] == "Shadow", found
assert found["DataCaptureConfig"]["CaptureStatus"] == "Started", found
for _ in range(5):
    assert call()["InvokedProductionVariant"] == "AllTraffic"


def of_shadow():
    now = time.time()
    points = cw.get_metric_statistics(
        Namespace="AWS/SageMaker", MetricName="Invocations", StartTime=now - 600, EndTime=now + 60, Period=60,
        Statistics=["Sum"], Dimensions=[{"Name": "EndpointName", "Value": ENDPOINT},
                                        {"Name": "VariantName", "Value": "Shadow"}])["Datapoints"]
    return sum(p["Sum"] for p in points)


eventually("the shadow has answered too", lambda: of_shadow() >= 5)


def captured():
    lines = []
    for item in s3.list_objects_v2(Bucket="captured", Prefix=f"dogs/{ENDPOINT}/AllTraffic/").get("Contents", []):
        body = s3.get_object(Bucket="captured", Key=item["Key"])["Body"].read()
        lines += [json.loads(line) for line in body.splitlines()]
    return lines if len(lines) >= 5 else None


line = eventually("what was asked and answered is in S3", captured)[0]
assert line["captureData"]["endpointInput"]["mode"] == "INPUT" and line["eventVersion"] == "0", line
assert line["captureData"]["endpointOutput"]["data"], line

# 6. What it would cost, and what is known of it all.
running = json.loads(kennel("cost", "running", "--json"))
assert ENDPOINT in json.dumps(running), running
assert "$" in kennel("cost", "estimate", "training", "--instance-type", "ml.m5.xlarge", "--time", "20m")
told = json.loads(kennel("scale", "simulate", "--endpoint", ENDPOINT, "--trace", "step:5,50,60,300", "--seconds", "600",
                         "--max", "3", "--target", "600", "--json"))
assert told["outcome"]["requests"] > 5000, told
for kind, magic in (("pdf", b"%PDF-"), ("html", b"<!DOCTYPE html>"), ("md", b"# ")):
    kennel("report", "--output", str(OUT / f"writeup.{kind}"))
    assert (OUT / f"writeup.{kind}").read_bytes().startswith(magic)
text = (OUT / "writeup.md").read_text()
assert ENDPOINT in text and "ml.m5.large" in text, text

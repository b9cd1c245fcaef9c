"""Several instances of the native algorithm train one model: the same as one, whether each has all photos or a part
by key; one that is lost ends the job with its cause."""

import io
import os
import signal
import tarfile
import time

import boto3

from common import PHOTOS, aws, eventually, role

s3, sagemaker, logs = boto3.client("s3"), boto3.client("sagemaker"), boto3.client("logs")
bucket, arn = "flow-instances", role()
s3.create_bucket(Bucket=bucket)
aws("s3", "cp", PHOTOS, f"s3://{bucket}/photos/", "--recursive", "--no-progress")


def create(name, count, distribution, spot=False, **hyperparameters):
    sagemaker.create_training_job(
        TrainingJobName=name,
        AlgorithmSpecification={"TrainingImage": "kennel/image-classification:1", "TrainingInputMode": "File"},
        RoleArn=arn,
        HyperParameters={"epochs": "4", "num_classes": "8", **hyperparameters},
        InputDataConfig=[{"ChannelName": channel, "DataSource": {"S3DataSource": {
            "S3DataType": "S3Prefix", "S3Uri": f"s3://{bucket}/photos/{folder}", "S3DataDistributionType": distribution}}}
            for channel, folder in (("train", "train"), ("validation", "valid/"))],
        OutputDataConfig={"S3OutputPath": f"s3://{bucket}/out"},
        ResourceConfig={"InstanceType": "ml.m5.large", "InstanceCount": count, "VolumeSizeInGB": 10},
        StoppingCondition={"MaxRuntimeInSeconds": 600, **({"MaxWaitTimeInSeconds": 600} if spot else {})},
        EnableManagedSpotTraining=spot,
    )


def ended(name):
    describe = lambda: sagemaker.describe_training_job(TrainingJobName=name)  # noqa: E731
    return eventually(f"{name} ends", lambda: (d := describe())["TrainingJobStatus"] != "InProgress" and d)


def train(name, count, distribution):
    create(name, count, distribution)
    done = ended(name)
    assert done["TrainingJobStatus"] == "Completed", done.get("FailureReason")
    stored = s3.get_object(Bucket=bucket, Key=f"out/{name}/output/model.tar.gz")["Body"].read()
    with tarfile.open(fileobj=io.BytesIO(stored)) as archive:
        network = next(m for m in archive.getmembers() if m.name.endswith(".onnx"))
        return archive.extractfile(network).read(), done


# Parts first, while the cache is cold.
parts, done = train("flow-parts", 3, "ShardedByS3Key")
streams = logs.describe_log_streams(logGroupName="/aws/sagemaker/TrainingJobs", logStreamNamePrefix="flow-parts/")["logStreams"]
assert len(streams) == 3, streams
said = [e["message"] for stream in streams for e in logs.get_log_events(
    logGroupName="/aws/sagemaker/TrainingJobs", logStreamName=stream["logStreamName"], startFromHead=True)["events"]]
shares = [line for line in said if "photos to do" in line]
assert len(shares) == 3, said
assert sum("epoch=4/4" in line for line in said) == 1, "one head, not three"
final = {m["MetricName"]: m["Value"] for m in done["FinalMetricDataList"]}
assert final["validation:accuracy"] > 0.2, final
copies, _ = train("flow-copies", 2, "FullyReplicated")
alone, _ = train("flow-alone", 1, "FullyReplicated")
assert parts == alone and copies == alone, "the model is that of one instance, to the last bit"

# One instance is lost in the middle of the features: the job fails with the cause, and nothing stays.
create("flow-lost", 2, "FullyReplicated", epochs="100000", early_stopping="false", seed="7", augmentation="crop", views="50")


def process(job, host):
    """The process of an instance of a job."""
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/environ", "rb") as file:
                environment = file.read()
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                command = file.read()
        except OSError:
            continue
        if f"TRAINING_JOB_NAME={job}\0".encode() in environment and f"/{host}".encode() in environment and b"\0train" in command:
            return int(pid)


victim = eventually("the second instance runs", lambda: process("flow-lost", "algo-2"))
begun = time.monotonic()
os.kill(victim, signal.SIGKILL)
lost = ended("flow-lost")
took = time.monotonic() - begun
assert lost["TrainingJobStatus"] == "Failed", lost["TrainingJobStatus"]
assert "algo-2" in lost["FailureReason"] and "signal 9" in lost["FailureReason"], lost["FailureReason"]
assert took < 15, took
eventually("the other instance ends too", lambda: process("flow-lost", "algo-1") is None)

# The same of a spot job is an interruption: it goes on by itself, from the cache.
create("flow-spot", 2, "FullyReplicated", spot=True, epochs="5", seed="8", augmentation="crop", views="12")
victim = eventually("the second instance runs", lambda: process("flow-spot", "algo-2"))
os.kill(victim, signal.SIGKILL)
done = ended("flow-spot")
assert done["TrainingJobStatus"] == "Completed", done.get("FailureReason")
steps = [t["Status"] for t in done["SecondaryStatusTransitions"]]
assert "Interrupted" in steps, steps

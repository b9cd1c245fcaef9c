"""The native algorithm from photos in a bucket to an endpoint that answers, through boto3."""

import json
import os
import time

import boto3

from common import PHOTOS, aws, eventually, refused, role

s3, sagemaker, runtime = boto3.client("s3"), boto3.client("sagemaker"), boto3.client("sagemaker-runtime")
logs, cloudwatch = boto3.client("logs"), boto3.client("cloudwatch")
bucket, arn = "flow-native", role()
s3.create_bucket(Bucket=bucket)
aws("s3", "cp", PHOTOS, f"s3://{bucket}/photos/", "--recursive", "--no-progress")

job = dict(
    TrainingJobName="flow-native",
    AlgorithmSpecification={"TrainingImage": "kennel/image-classification:1", "TrainingInputMode": "File"},
    RoleArn=arn,
    HyperParameters={"epochs": "8", "mini_batch_size": "8", "num_classes": "8", "use_pretrained_model": "1"},
    InputDataConfig=[{"ChannelName": name, "DataSource": {"S3DataSource": {
        "S3DataType": "S3Prefix", "S3Uri": f"s3://{bucket}/photos/{folder}", "S3DataDistributionType": "FullyReplicated"}}}
        for name, folder in (("train", "train"), ("validation", "valid/"))],
    OutputDataConfig={"S3OutputPath": f"s3://{bucket}/out"},
    ResourceConfig={"InstanceType": "ml.p3.2xlarge", "InstanceCount": 1, "VolumeSizeInGB": 10},
    StoppingCondition={"MaxRuntimeInSeconds": 600},
    Tags=[{"Key": "team", "Value": "dogs"}],
)
created = sagemaker.create_training_job(**job)
refused("ResourceInUse", sagemaker.create_training_job, **job)
describe = lambda: sagemaker.describe_training_job(TrainingJobName="flow-native")  # noqa: E731
assert describe()["ModelArtifacts"]["S3ModelArtifacts"] == f"s3://{bucket}/out/flow-native/output/model.tar.gz"
done = eventually("the job ends", lambda: (d := describe())["TrainingJobStatus"] != "InProgress" and d)
assert done["TrainingJobStatus"] == "Completed", done.get("FailureReason")
steps = [t["Status"] for t in done["SecondaryStatusTransitions"]]
assert steps == ["Starting", "Downloading", "Training", "Uploading", "Completed"], steps
assert all(t["EndTime"] >= t["StartTime"] for t in done["SecondaryStatusTransitions"])
assert done["BillableTimeInSeconds"] >= 1 and done["TrainingEndTime"] > done["TrainingStartTime"]
final = {m["MetricName"]: m["Value"] for m in done["FinalMetricDataList"]}
assert final["validation:accuracy"] > 0.5, final
assert "no GPU" in done["SecondaryStatusTransitions"][2]["StatusMessage"], "the capped instance is not said"
assert sagemaker.list_tags(ResourceArn=created["TrainingJobArn"])["Tags"] == job["Tags"]
listed = sagemaker.list_training_jobs(NameContains="native", StatusEquals="Completed")["TrainingJobSummaries"]
assert [j["TrainingJobName"] for j in listed] == ["flow-native"], listed

# The log, as `fit(logs="All")` reads it, and the metrics.
streams = logs.describe_log_streams(logGroupName="/aws/sagemaker/TrainingJobs", logStreamNamePrefix="flow-native/")
stream = streams["logStreams"][0]["logStreamName"]
assert stream.startswith("flow-native/algo-1-"), stream
events = logs.get_log_events(logGroupName="/aws/sagemaker/TrainingJobs", logStreamName=stream, startFromHead=True)["events"]
assert any("epoch=8/8" in e["message"] for e in events), [e["message"] for e in events]
found = logs.filter_log_events(logGroupName="/aws/sagemaker/TrainingJobs", filterPattern='"epoch=1/8"')["events"]
assert len(found) == 1, found
statistics = cloudwatch.get_metric_statistics(
    Namespace="/aws/sagemaker/TrainingJobs", MetricName="validation:accuracy",
    Dimensions=[{"Name": "TrainingJobName", "Value": "flow-native"}],
    StartTime=time.time() - 3600, EndTime=time.time() + 60, Period=3600, Statistics=["Maximum", "SampleCount"])["Datapoints"]
assert sum(point["SampleCount"] for point in statistics) >= 8 and statistics[0]["Maximum"] <= 1, statistics

# What cannot work is refused at once, naming the member.
bad = lambda **change: {**job, "TrainingJobName": "flow-bad", **change}  # noqa: E731
words = refused("ValidationException", sagemaker.create_training_job, **bad(
    AlgorithmSpecification={"TrainingImage": "1.dkr.ecr.us-east-1.amazonaws.com/mine:1", "TrainingInputMode": "File"}))
assert "runtimes.pytorch" in words, words
words = refused("ValidationException", sagemaker.create_training_job, **bad(TrainingJobName="no_underscores"))
assert "trainingJobName" in words, words
channel = job["InputDataConfig"][0]
for channels in ([{**channel, "ChannelName": ".."}], [channel, channel]):
    refused("ValidationException", sagemaker.create_training_job, **bad(InputDataConfig=channels))
refused("ValidationException", sagemaker.describe_training_job, TrainingJobName="flow-bad")

# A failure has its reason; a job can be stopped.
sagemaker.create_training_job(**bad(HyperParameters={"epochs": "many"}))
failed = eventually("the bad job ends", lambda: (
    d := sagemaker.describe_training_job(TrainingJobName="flow-bad"))["TrainingJobStatus"] != "InProgress" and d)
assert failed["TrainingJobStatus"] == "Failed" and "many" in failed["FailureReason"], failed.get("FailureReason")
sagemaker.create_training_job(**{**job, "TrainingJobName": "flow-stopped", "HyperParameters": {"epochs": "100000", "early_stopping": "false"}})
sagemaker.stop_training_job(TrainingJobName="flow-stopped")
eventually("the job is stopped", lambda: sagemaker.describe_training_job(TrainingJobName="flow-stopped")["TrainingJobStatus"] == "Stopped")

# An endpoint of the model.
container = {"Image": "kennel/image-classification:1", "ModelDataUrl": done["ModelArtifacts"]["S3ModelArtifacts"]}
sagemaker.create_model(ModelName="flow-model", PrimaryContainer=container, ExecutionRoleArn=arn)
refused("ValidationException", sagemaker.create_model, ModelName="flow-model", PrimaryContainer=container, ExecutionRoleArn=arn)
variant = {"VariantName": "AllTraffic", "ModelName": "flow-model", "InitialInstanceCount": 1, "InstanceType": "ml.m5.large"}
for name in ("flow-one", "flow-two"):
    sagemaker.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[variant])
begun = time.monotonic()
sagemaker.create_endpoint(EndpointName="flow-endpoint", EndpointConfigName="flow-one")
show = lambda: sagemaker.describe_endpoint(EndpointName="flow-endpoint")  # noqa: E731
in_service = lambda: (d := show())["EndpointStatus"] in ("InService", "Failed") and d  # noqa: E731
serving = eventually("the endpoint is in service", in_service)
print(f"in service after {time.monotonic() - begun:.2f} s")
assert serving["EndpointStatus"] == "InService", serving
photo = next(os.path.join(d, f) for d, _, fs in os.walk(os.path.join(PHOTOS, "test")) for f in sorted(fs))
with open(photo, "rb") as file:
    body = file.read()
invoke = lambda **more: runtime.invoke_endpoint(  # noqa: E731
    EndpointName="flow-endpoint", ContentType="image/jpeg", Accept="application/json", Body=body, **more)
answer = invoke()
assert answer["InvokedProductionVariant"] == "AllTraffic" and answer["ContentType"].startswith("application/json")
json.loads(answer["Body"].read())
refused("ModelError", runtime.invoke_endpoint, EndpointName="flow-endpoint", ContentType="image/jpeg", Body=b"no photo")
refused("ValidationError", invoke, TargetVariant="other")
refused("ValidationError", runtime.invoke_endpoint, EndpointName="flow-none", Body=b"")

# Two instances, then another configuration, while requests go on.
sagemaker.update_endpoint_weights_and_capacities(
    EndpointName="flow-endpoint", DesiredWeightsAndCapacities=[{"VariantName": "AllTraffic", "DesiredInstanceCount": 2}])
eventually("two instances", lambda: invoke() and (d := show())["EndpointStatus"] == "InService"
           and d["ProductionVariants"][0]["CurrentInstanceCount"] == 2)
sagemaker.update_endpoint(EndpointName="flow-endpoint", EndpointConfigName="flow-two")
updated = eventually("the update is done", lambda: invoke() and in_service())
assert updated["EndpointConfigName"] == "flow-two" and updated["ProductionVariants"][0]["CurrentInstanceCount"] == 1
# Definitions may go while the endpoint serves.
for name in ("flow-one", "flow-two"):
    sagemaker.delete_endpoint_config(EndpointConfigName=name)
sagemaker.delete_model(ModelName="flow-model")
invoke()
invocations = cloudwatch.get_metric_statistics(
    Namespace="AWS/SageMaker", MetricName="Invocations", StartTime=time.time() - 3600, EndTime=time.time() + 60, Period=3600,
    Dimensions=[{"Name": "EndpointName", "Value": "flow-endpoint"}, {"Name": "VariantName", "Value": "AllTraffic"}],
    Statistics=["Sum"])["Datapoints"]
assert sum(point["Sum"] for point in invocations) >= 4, invocations
sagemaker.delete_endpoint(EndpointName="flow-endpoint")
eventually("the endpoint is gone", lambda: "flow-endpoint" not in [
    e["EndpointName"] for e in sagemaker.list_endpoints()["Endpoints"]])
assert "Could not find" in refused("ValidationException", sagemaker.describe_endpoint, EndpointName="flow-endpoint")

"""Tuning jobs of the native algorithm through boto3."""

import re

import boto3

from common import PHOTOS, aws, eventually, refused, role

s3, sagemaker = boto3.client("s3"), boto3.client("sagemaker")
bucket, arn = "flow-tuning", role()
s3.create_bucket(Bucket=bucket)
aws("s3", "cp", PHOTOS, f"s3://{bucket}/photos/", "--recursive", "--no-progress")
METRIC = "validation:accuracy"
FINAL = "FinalHyperParameterTuningJobObjectiveMetric"


def definition(**fixed):
    return dict(
        StaticHyperParameters={"epochs": "4", **fixed},
        AlgorithmSpecification={"TrainingImage": "kennel/image-classification:1", "TrainingInputMode": "File"},
        RoleArn=arn,
        InputDataConfig=[{"ChannelName": name, "DataSource": {"S3DataSource": {
            "S3DataType": "S3Prefix", "S3Uri": f"s3://{bucket}/photos/{folder}", "S3DataDistributionType": "FullyReplicated"}}}
            for name, folder in (("train", "train"), ("validation", "valid/"))],
        OutputDataConfig={"S3OutputPath": f"s3://{bucket}/out"},
        HyperParameterTuningResourceConfig={"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 10},
        StoppingCondition={"MaxRuntimeInSeconds": 600},
    )


def tuning(name, trials=4, parallel=2, **more):
    config = dict(
        Strategy="Bayesian",
        HyperParameterTuningJobObjective={"Type": "Maximize", "MetricName": METRIC},
        ResourceLimits={"MaxNumberOfTrainingJobs": trials, "MaxParallelTrainingJobs": parallel},
        ParameterRanges={
            "ContinuousParameterRanges": [
                {"Name": "learning_rate", "MinValue": "0.0001", "MaxValue": "0.1", "ScalingType": "Logarithmic"}],
            "CategoricalParameterRanges": [{"Name": "batch_size", "Values": ["8", "16"]}]},
        RandomSeed=7,
    )
    config.update(more.pop("config", {}))
    return dict(HyperParameterTuningJobName=name, HyperParameterTuningJobConfig=config,
                **{"TrainingJobDefinition": definition(), **more})


describe = lambda name: sagemaker.describe_hyper_parameter_tuning_job(HyperParameterTuningJobName=name)  # noqa: E731
children = lambda name, **more: sagemaker.list_training_jobs_for_hyper_parameter_tuning_job(  # noqa: E731
    HyperParameterTuningJobName=name, **more)["TrainingJobSummaries"]
ended = lambda name: eventually(f"{name} ends", lambda: (  # noqa: E731
    d := describe(name))["HyperParameterTuningJobStatus"] not in ("InProgress", "Stopping") and d)

# From the ranges to the best model.
created = sagemaker.create_hyper_parameter_tuning_job(
    **tuning("flow-tuning"), Tags=[{"Key": "team", "Value": "dogs"}])["HyperParameterTuningJobArn"]
assert created.endswith(":hyper-parameter-tuning-job/flow-tuning"), created
eventually("two at a time", lambda: describe("flow-tuning")["TrainingJobStatusCounters"]["InProgress"] == 2)
done = ended("flow-tuning")
assert done["HyperParameterTuningJobStatus"] == "Completed", done
assert done["TrainingJobStatusCounters"] == {
    "Completed": 4, "InProgress": 0, "RetryableError": 0, "NonRetryableError": 0, "Stopped": 0}, done
assert done["ObjectiveStatusCounters"] == {"Succeeded": 4, "Pending": 0, "Failed": 0}, done
own = done["TrainingJobDefinition"]
assert own["StaticHyperParameters"] == {"epochs": "4", "_tuning_objective_metric": METRIC}, own
assert own["ResourceConfig"] == own["HyperParameterTuningResourceConfig"] and own["OutputDataConfig"]["KmsKeyId"] == ""
assert done["HyperParameterTuningJobConfig"]["ParameterRanges"]["IntegerParameterRanges"] == []
trials = children("flow-tuning")
names = [t["TrainingJobName"] for t in trials]
assert names == sorted(names, reverse=True), names
assert all(re.fullmatch(r"flow-tuning-00[1-4]-[0-9a-f]{8}", n) for n in names), names
assert all(set(t["TunedHyperParameters"]) == {"learning_rate", "batch_size"} for t in trials), trials
assert all(0.0001 <= float(t["TunedHyperParameters"]["learning_rate"]) <= 0.1 for t in trials)
ordered = children("flow-tuning", SortBy="FinalObjectiveMetricValue", SortOrder="Descending")
values = [t[FINAL]["Value"] for t in ordered]
assert values == sorted(values, reverse=True) and len(values) == 4, values
best = done["BestTrainingJob"]
assert best[FINAL] == {"Type": "Maximize", "MetricName": METRIC, "Value": values[0]}, best
pages = [p["TrainingJobSummaries"] for p in sagemaker.get_paginator("list_training_jobs_for_hyper_parameter_tuning_job").paginate(
    HyperParameterTuningJobName="flow-tuning", PaginationConfig={"PageSize": 3})]
assert [len(p) for p in pages] == [3, 1] and [t["TrainingJobName"] for p in pages for t in p] == names
child = sagemaker.describe_training_job(TrainingJobName=best["TrainingJobName"])
assert child["TuningJobArn"] == created
assert {m["MetricName"]: m["Value"] for m in child["FinalMetricDataList"]}[METRIC] == values[0]
assert child["HyperParameters"] == {**own["StaticHyperParameters"], **best["TunedHyperParameters"]}
assert sagemaker.list_tags(ResourceArn=child["TrainingJobArn"])["Tags"] == [{"Key": "team", "Value": "dogs"}]
assert sagemaker.list_tags(ResourceArn=created)["Tags"] == [{"Key": "team", "Value": "dogs"}]
model = child["ModelArtifacts"]["S3ModelArtifacts"].removeprefix(f"s3://{bucket}/")
assert s3.head_object(Bucket=bucket, Key=model)["ContentLength"] > 0
page = s3.get_object(Bucket=bucket, Key="out/flow-tuning/tuning-report.html")["Body"].read().decode()
assert "<svg" in page and best["TrainingJobName"] in page, page[:500]
listed = sagemaker.list_hyper_parameter_tuning_jobs(NameContains="flow", StatusEquals="Completed")
assert [j["HyperParameterTuningJobName"] for j in listed["HyperParameterTuningJobSummaries"]] == ["flow-tuning"], listed
assert {j["TrainingJobName"] for j in sagemaker.list_training_jobs(NameContains="flow-tuning")["TrainingJobSummaries"]} == set(names)

# On from there: the parents' trials count.
def start(name, kind, **more):
    sagemaker.create_hyper_parameter_tuning_job(**tuning(name, trials=1, parallel=1, **more, WarmStartConfig={
        "WarmStartType": kind, "ParentHyperParameterTuningJobs": [{"HyperParameterTuningJobName": "flow-tuning"}]}))


start("flow-warm", "IdenticalDataAndAlgorithm")
warm = ended("flow-warm")
own_best = warm["BestTrainingJob"][FINAL]["Value"]
overall = warm["OverallBestTrainingJob"]
assert overall[FINAL]["Value"] == max(own_best, values[0]), overall
other = definition()
other["InputDataConfig"] = other["InputDataConfig"][:1]
assert "input data" in refused(
    "ValidationException", start, name="flow-bad", kind="IdenticalDataAndAlgorithm", TrainingJobDefinition=other)
start("flow-transfer", "TransferLearning")
assert "OverallBestTrainingJob" not in ended("flow-transfer")

# Kennel chooses the ranges of its own algorithm, and says which.
auto = tuning("flow-auto", trials=2, Autotune={"Mode": "Enabled"})
del auto["HyperParameterTuningJobConfig"]["ParameterRanges"]
sagemaker.create_hyper_parameter_tuning_job(**auto)
ranges = describe("flow-auto")["HyperParameterTuningJobConfig"]["ParameterRanges"]
assert "learning_rate" in {r["Name"] for r in ranges["ContinuousParameterRanges"]}, ranges
assert ended("flow-auto")["HyperParameterTuningJobStatus"] == "Completed"

# A goal that the first trial reaches.
sagemaker.create_hyper_parameter_tuning_job(**tuning("flow-target", trials=20, parallel=1, config={
    "TuningJobCompletionCriteria": {"TargetObjectiveMetricValue": 0.0}}))
assert ended("flow-target")["TrainingJobStatusCounters"]["Completed"] == 1

# No success, and a stop.
sagemaker.create_hyper_parameter_tuning_job(**tuning(
    "flow-hopeless", trials=20, parallel=2, TrainingJobDefinition=definition(epochs="many")))
hopeless = ended("flow-hopeless")
assert hopeless["HyperParameterTuningJobStatus"] == "Failed", hopeless
assert hopeless["FailureReason"].startswith("No training job succeeded after 5 attempts."), hopeless
assert "BestTrainingJob" not in hopeless and 5 <= hopeless["TrainingJobStatusCounters"]["NonRetryableError"] <= 6
assert all("many" in t["FailureReason"] and t["ObjectiveStatus"] == "Failed" for t in children("flow-hopeless"))
sagemaker.create_hyper_parameter_tuning_job(**tuning(
    "flow-stop", TrainingJobDefinition=definition(epochs="100000", early_stopping="false")))
eventually("it runs", lambda: describe("flow-stop")["TrainingJobStatusCounters"]["InProgress"] == 2)
sagemaker.stop_hyper_parameter_tuning_job(HyperParameterTuningJobName="flow-stop")
assert describe("flow-stop")["HyperParameterTuningJobStatus"] in ("Stopping", "Stopped")
assert ended("flow-stop")["HyperParameterTuningJobStatus"] == "Stopped"
assert {t["TrainingJobStatus"] for t in children("flow-stop")} == {"Stopped"}
refused("ValidationException", sagemaker.stop_hyper_parameter_tuning_job, HyperParameterTuningJobName="flow-stop")

# What cannot work is refused at once, in AWS's words where they are known.
unknown = refused("ResourceNotFound", describe, name="no-such-job")
assert unknown == "Amazon SageMaker can't find a tuning job called no-such-job. Type another name.", unknown
create = sagemaker.create_hyper_parameter_tuning_job
taken = refused("ResourceInUse", create, **tuning("flow-tuning"))
assert taken == "A hyperparameter tuning job with the name, flow-tuning, already exists. Choose a different name.", taken
assert "Provide a metric" in refused("ValidationException", create, **tuning("flow-bad", config={
    "HyperParameterTuningJobObjective": {"Type": "Maximize", "MetricName": "no:such"}}))
assert "categorical" in refused("ValidationException", create, **tuning("flow-bad", config={"Strategy": "Grid"}))
refused("ResourceLimitExceeded", create, **tuning("flow-bad", parallel=11))
stranger = definition()
stranger["RoleArn"] = arn.rsplit("/", 1)[0] + "/no-such-role"
refused("ValidationException", create, **tuning("flow-bad", TrainingJobDefinition=stranger))

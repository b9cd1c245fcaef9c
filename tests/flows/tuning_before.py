"""A tuning job that is under way when the server is killed; tuning_after.py looks at it then."""

import boto3

from common import PHOTOS, aws, eventually, role

s3, sagemaker = boto3.client("s3"), boto3.client("sagemaker")
s3.create_bucket(Bucket="flow-killed")
aws("s3", "cp", PHOTOS, "s3://flow-killed/photos/", "--recursive", "--no-progress")
sagemaker.create_hyper_parameter_tuning_job(
    HyperParameterTuningJobName="flow-killed",
    HyperParameterTuningJobConfig=dict(
        Strategy="Random",
        HyperParameterTuningJobObjective={"Type": "Maximize", "MetricName": "validation:accuracy"},
        ResourceLimits={"MaxNumberOfTrainingJobs": 6, "MaxParallelTrainingJobs": 2},
        ParameterRanges={"ContinuousParameterRanges": [
            {"Name": "learning_rate", "MinValue": "0.0001", "MaxValue": "0.1", "ScalingType": "Logarithmic"}]},
    ),
    TrainingJobDefinition=dict(
        StaticHyperParameters={"epochs": "3000", "early_stopping": "false"},
        AlgorithmSpecification={"TrainingImage": "kennel/image-classification:1", "TrainingInputMode": "File"},
        RoleArn=role(),
        InputDataConfig=[{"ChannelName": "train", "DataSource": {"S3DataSource": {
            "S3DataType": "S3Prefix", "S3Uri": "s3://flow-killed/photos/train"}}}],
        OutputDataConfig={"S3OutputPath": "s3://flow-killed/out"},
        ResourceConfig={"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 10},
        StoppingCondition={"MaxRuntimeInSeconds": 600},
    ),
)
eventually("a trial has ended and others run", lambda: (c := sagemaker.describe_hyper_parameter_tuning_job(
    HyperParameterTuningJobName="flow-killed")["TrainingJobStatusCounters"])["Completed"] >= 1 and c["InProgress"] >= 1)

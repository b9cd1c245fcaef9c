"""Debugger and profiler beside training jobs, through boto3: live statuses, a job that a rule stops, what is left in
the bucket; the native algorithm and a script that saves its own tensors."""

import io
import json
import tarfile
import time

import boto3

from common import PHOTOS, aws, eventually, refused, role

s3, sagemaker = boto3.client("s3"), boto3.client("sagemaker")
bucket, arn = "flow-observed", role()
s3.create_bucket(Bucket=bucket)
aws("s3", "cp", PHOTOS, f"s3://{bucket}/photos/", "--recursive", "--no-progress")

NATIVE = "kennel/image-classification:1"
SCRIPT = "763104351884.dkr.ecr.us-east-1.amazonaws.com/pytorch-training:1.8-cpu-py36"


def rule(name, **parameters):
    return {
        "RuleConfigurationName": name,
        "RuleEvaluatorImage": "503895931360.dkr.ecr.us-east-1.amazonaws.com/sagemaker-debugger-rules:latest",
        "RuleParameters": {"rule_to_invoke": name, **parameters},
    }


def create(name, image, hyperparameters, rules, interval="1", **more):
    sagemaker.create_training_job(
        TrainingJobName=name, RoleArn=arn,
        AlgorithmSpecification={"TrainingImage": image, "TrainingInputMode": "File"},
        HyperParameters=hyperparameters,
        InputDataConfig=[{"ChannelName": channel, "DataSource": {"S3DataSource": {
            "S3DataType": "S3Prefix", "S3Uri": f"s3://{bucket}/photos/{folder}/"}}}
            for channel, folder in (("train", "train"), ("validation", "valid"))],
        OutputDataConfig={"S3OutputPath": f"s3://{bucket}/out"},
        ResourceConfig={"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 10},
        StoppingCondition={"MaxRuntimeInSeconds": 600},
        DebugHookConfig={"S3OutputPath": f"s3://{bucket}/debug", "HookParameters": {"save_interval": interval}},
        DebugRuleConfigurations=rules, **more)


def ended(name):
    describe = lambda: sagemaker.describe_training_job(TrainingJobName=name)  # noqa: E731
    return eventually(f"{name} ends", lambda: (d := describe())["TrainingJobStatus"] in ("Completed", "Stopped", "Failed") and d)


def keys(prefix):
    return [o["Key"] for o in s3.list_objects_v2(Bucket=bucket, Prefix=prefix).get("Contents", [])]


def statuses(job):
    all_rules = job["DebugRuleEvaluationStatuses"] + job.get("ProfilerRuleEvaluationStatuses", [])
    assert all(":processing-job/" in r["RuleEvaluationJobArn"] and r["LastModifiedTime"] for r in all_rules), all_rules
    return {r["RuleConfigurationName"]: r["RuleEvaluationStatus"] for r in all_rules}


# A healthy head with an MLP, and the profiler.
create("flow-healthy", NATIVE, {"epochs": "6", "batch_size": "8", "head": "mlp:16", "learning_rate": "0.005"},
       [rule("VanishingGradient"), rule("DeadRelu"), rule("ExplodingTensor"), rule("NoSuchRule")],
       ProfilerConfig={"S3OutputPath": f"s3://{bucket}/profile", "ProfilingIntervalInMilliseconds": 100},
       ProfilerRuleConfigurations=[rule("ProfilerReport")])
done = ended("flow-healthy")
assert done["TrainingJobStatus"] == "Completed", done.get("FailureReason")
found = statuses(done)
assert [found[n] for n in ("VanishingGradient", "DeadRelu", "ExplodingTensor")] == ["NoIssuesFound"] * 3, done
assert found["NoSuchRule"] == "Error" and found["ProfilerReport"] in ("NoIssuesFound", "IssuesFound"), found
details = {r["RuleConfigurationName"]: r.get("StatusDetails", "") for r in done["DebugRuleEvaluationStatuses"]}
assert "Overfit" in details["NoSuchRule"], details["NoSuchRule"]
tensors = keys("debug/flow-healthy/debug-output/")
assert "debug/flow-healthy/debug-output/algo-1/END" in tensors, tensors
assert any(k.endswith("/train/000000000.safetensors") for k in tensors), tensors
first = next(k for k in tensors if k.endswith("/train/000000000.safetensors"))
body = s3.get_object(Bucket=bucket, Key=first)["Body"].read()
header = json.loads(body[8:8 + int.from_bytes(body[:8], "little")])
assert header["head.hidden.weight"]["dtype"] == "F32" and "gradient/head.output.weight" in header, list(header)
assert any("/system/incremental/" in k for k in keys("profile/flow-healthy/profiler-output/")), keys("profile/")
report = "out/flow-healthy/rule-output/ProfilerReport/profiler-output/profiler-report.html"
page = s3.get_object(Bucket=bucket, Key=report)["Body"].read().decode()
assert "flow-healthy" in page and "algo-1" in page and "default-src 'none'" in page

# A rate that is far too small: the rule stops a job that would take hours.
stop = json.dumps([{"name": "stoptraining"}])
create("flow-stopped", NATIVE, {"epochs": "100000", "batch_size": "8", "learning_rate": "0.000000001",
                                "early_stopping": "false", "schedule": "constant", "warm_start": "false"},
       [rule("LossNotDecreasing", num_steps="5", action_json=stop)])
begun = time.monotonic()
done = ended("flow-stopped")
assert done["TrainingJobStatus"] == "Stopped", done["TrainingJobStatus"]
assert statuses(done) == {"LossNotDecreasing": "IssuesFound"}, statuses(done)
messages = [t["StatusMessage"] for t in done["SecondaryStatusTransitions"]]
assert any("LossNotDecreasing" in m for m in messages), messages

# A script that saves through the module of ours.
source = b"""
import kennel_debugger
hook = kennel_debugger.Hook.from_env()
for step in range(40):
    hook.step("train")
    hook.save("fc.weight", [0.5, -0.5, 1.5], collection="weights")
    hook.save("gradient/fc.weight", [0.0, 0.0, 0.0], collection="gradients")
    hook.save_scalar("loss", 2.0 / (step + 1))
hook.close()
print("saved")
"""
archive = io.BytesIO()
with tarfile.open(fileobj=archive, mode="w:gz") as tar:
    info = tarfile.TarInfo("train.py")
    info.size = len(source)
    tar.addfile(info, io.BytesIO(source))
s3.put_object(Bucket=bucket, Key="code/sourcedir.tar.gz", Body=archive.getvalue())
create("flow-script", SCRIPT,
       {"sagemaker_program": '"train.py"', "sagemaker_submit_directory": f'"s3://{bucket}/code/sourcedir.tar.gz"'},
       [rule("VanishingGradient"), rule("UnchangedTensor", collection_names="weights"), rule("LossNotDecreasing")])
done = ended("flow-script")
assert done["TrainingJobStatus"] == "Completed", done.get("FailureReason")
found = statuses(done)
assert found["VanishingGradient"] == "IssuesFound" and found["UnchangedTensor"] == "IssuesFound", done["DebugRuleEvaluationStatuses"]
assert found["LossNotDecreasing"] == "NoIssuesFound", done["DebugRuleEvaluationStatuses"]

# What cannot be is refused before anything runs.
refused("ValidationException", create, name="flow-twice", image=NATIVE, hyperparameters={}, rules=[rule("Overfit"), rule("Overfit")])
print("ok")

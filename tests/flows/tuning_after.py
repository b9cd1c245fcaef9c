"""The tuning job of tuning_before.py, after `kill -9` of the server and a restart."""

import boto3

from common import eventually

sagemaker = boto3.client("sagemaker")
describe = lambda: sagemaker.describe_hyper_parameter_tuning_job(HyperParameterTuningJobName="flow-killed")  # noqa: E731
done = eventually("the tuning job ends", lambda: (d := describe())["HyperParameterTuningJobStatus"] != "InProgress" and d)
assert done["HyperParameterTuningJobStatus"] == "Completed", done
assert done["TrainingJobStatusCounters"]["Completed"] == 6, done["TrainingJobStatusCounters"]
trials = sagemaker.list_training_jobs_for_hyper_parameter_tuning_job(
    HyperParameterTuningJobName="flow-killed", SortBy="Name", SortOrder="Ascending")["TrainingJobSummaries"]
numbers = [t["TrainingJobName"].split("-")[2] for t in trials]
assert numbers == [f"{n:03}" for n in range(1, 7)], numbers
assert len({t["TunedHyperParameters"]["learning_rate"] for t in trials}) == 6, trials
steps = [step["StatusMessage"] for t in trials for step in sagemaker.describe_training_job(
    TrainingJobName=t["TrainingJobName"])["SecondaryStatusTransitions"]]
assert any("again" in step for step in steps), "no trial was interrupted"

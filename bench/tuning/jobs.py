"""Sections `job` and `rules`: a tuning job of the platform, and what rules and profiler cost a training job."""

import io
import json
import shutil
import tarfile
import time

import kennel
import machines
import search

RULES = ["VanishingGradient", "Overfit", "LossNotDecreasing", "PoorWeightInitialization", "WeightUpdateRatio"]


def section_job(a, scratch):
    """20 trials of the native algorithm as a tuning job, two at a time, from a cold cache."""
    cache = scratch / "platform-cache"
    rows = []
    with kennel.Platform(a, scratch / "platform", cache) as platform:
        channels = platform.upload(a.data)
        for round_ in range(min(a.rounds, 2)):
            shutil.rmtree(cache, ignore_errors=True)
            name = f"bench-{round_}"
            with kennel.Watch(platform.process.pid) as watch:
                platform.sagemaker.create_hyper_parameter_tuning_job(**request(platform, name, channels))
                done = ended(lambda: platform.sagemaker.describe_hyper_parameter_tuning_job(
                    HyperParameterTuningJobName=name), "HyperParameterTuningJobStatus")
            best = done["BestTrainingJob"]["FinalHyperParameterTuningJobObjectiveMetric"]["Value"]
            rows.append({**watch.row(), "best": best, "counters": done["TrainingJobStatusCounters"],
                         "trials": spans(platform, name)})
            print(f"  {watch.seconds:.1f} s, best {best:.4f}, {kennel.noise(rows[-1:])}", flush=True)
    return {"rows": rows}


def request(platform, name, channels):
    return {
        "HyperParameterTuningJobName": name,
        "HyperParameterTuningJobConfig": {
            "Strategy": "Bayesian",
            "HyperParameterTuningJobObjective": {"Type": "Maximize", "MetricName": "validation:accuracy"},
            "ResourceLimits": {"MaxNumberOfTrainingJobs": search.TRIALS, "MaxParallelTrainingJobs": 2},
            "RandomSeed": 42,
            "ParameterRanges": {
                "ContinuousParameterRanges": [{"Name": "learning_rate", "MinValue": "0.001", "MaxValue": "0.1",
                                               "ScalingType": "Logarithmic"}],
                "CategoricalParameterRanges": [{"Name": "batch_size", "Values": ["32", "64", "128", "256", "512"]}]},
        },
        "TrainingJobDefinition": {
            "StaticHyperParameters": {"backbone": kennel.BACKBONE, "epochs": str(search.EPOCHS)},
            "AlgorithmSpecification": {"TrainingImage": "kennel/image-classification:1", "TrainingInputMode": "File"},
            "RoleArn": platform.role,
            "InputDataConfig": [{"ChannelName": channel, "DataSource": {"S3DataSource": {
                "S3DataType": "S3Prefix", "S3Uri": uri, "S3DataDistributionType": "FullyReplicated"}}}
                for channel, uri in channels],
            "OutputDataConfig": {"S3OutputPath": "s3://bench/out"},
            "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 10},
            "StoppingCondition": {"MaxRuntimeInSeconds": 3600},
        },
    }


def ended(describe, field):
    while True:
        found = describe()
        if found[field] not in ("InProgress", "Stopping"):
            break
        time.sleep(0.05)
    if found[field] != "Completed":
        raise SystemExit(f"the job is {found[field]}: {found.get('FailureReason')}")
    return found


def spans(platform, name):
    """Seconds of each trial, in the order of their creation."""
    pages = platform.sagemaker.get_paginator("list_training_jobs_for_hyper_parameter_tuning_job").paginate(
        HyperParameterTuningJobName=name, SortBy="CreationTime", SortOrder="Ascending")
    return [(t["TrainingEndTime"] - t["CreationTime"]).total_seconds()
            for page in pages for t in page["TrainingJobSummaries"]]


def table_job(found):
    rows = found["rows"]
    yield "20 trials as a tuning job, cold, Create to Completed", kennel.of(
        kennel.column(rows, "seconds")) + " s", kennel.noise(rows)
    first, rest = [r["trials"][0] for r in rows], [t for r in rows for t in r["trials"][2:]]
    yield "  its first trial; those after the first two", f"{kennel.of(first)} s; {kennel.of(rest)} s", ""


def section_rules(a, scratch):
    """One training job of the native algorithm with five rules and the profiler, and with neither, in turn."""
    cache = scratch / "rules-cache"
    rows = {}
    photos = a.data
    if a.rule_photos:
        photos = scratch / "rule-photos"
        machines.subset(a, photos, a.rule_photos)
    with kennel.Platform(a, scratch / "rules", cache) as platform:
        channels = platform.upload(photos)
        for state, rounds in (("cold", a.rounds), ("warm", a.warm_rounds)):
            rows[state] = {"plain": [], "observed": []}
            if state == "warm":
                observed_job(platform, "to-warm-up", channels, False)
            for round_ in range(rounds):
                # The order changes from round to round, so that a drift of the machine meets both.
                for kind in sorted(rows[state], reverse=round_ % 2 == 0):
                    if state == "cold":
                        shutil.rmtree(cache, ignore_errors=True)
                    rows[state][kind].append(
                        observed_job(platform, f"{state}-{kind}-{round_}", channels, kind == "observed"))
                last = {kind: of[-1] for kind, of in rows[state].items()}
                print(f"  {state} {round_ + 1}: " + ", ".join(
                    f"{kind} {row['training_seconds']:.2f} s ({row['cpu_seconds']:.2f} s of CPU)"
                    for kind, row in last.items()) + "; " + kennel.noise(list(last.values())), flush=True)
    return {"rows": rows, "rules": RULES}


def observed_job(platform, name, channels, observed):
    options = [part for rule in RULES for part in ("--rule", rule)] if observed else ["--no-profile"]
    with kennel.Watch(platform.process.pid) as watch:
        platform.kennel("job", "start", name, "-H", f"backbone={kennel.BACKBONE}", *options,
                        *(part for channel, uri in channels for part in ("--data", f"{channel}={uri}")))
        done = ended(lambda: platform.sagemaker.describe_training_job(TrainingJobName=name), "TrainingJobStatus")
    rules = {s["RuleConfigurationName"]: s["RuleEvaluationStatus"]
             for s in done.get("DebugRuleEvaluationStatuses", [])}
    if observed != bool(rules):
        raise SystemExit(f"`{name}` has these rules: {rules}")
    phases = {t["Status"]: (t["EndTime"] - t["StartTime"]).total_seconds()
              for t in done["SecondaryStatusTransitions"] if "EndTime" in t}
    return {**watch.row(), "training_seconds": phases["Training"], "rules": rules,
            "inside": trainer_seconds(platform, done),
            "job_seconds": (done["TrainingEndTime"] - done["CreationTime"]).total_seconds()}


def trainer_seconds(platform, done):
    """What the trainer itself says of its phases, in the metrics.json that it leaves beside the model."""
    bucket, key = done["ModelArtifacts"]["S3ModelArtifacts"].removeprefix("s3://").split("/", 1)
    body = platform.s3.get_object(Bucket=bucket, Key=key.replace("model.tar.gz", "output.tar.gz"))["Body"].read()
    with tarfile.open(fileobj=io.BytesIO(body)) as archive:
        member = next(m for m in archive if m.name.endswith("metrics.json"))
        return json.load(archive.extractfile(member))["seconds"]


def table_rules(found):
    for state, rows in found["rows"].items():
        plain, observed = rows["plain"], rows["observed"]
        for what, read, goal in (
                ("Training phase", lambda row: row["training_seconds"], "at most +3 %"),
                ("  of it the trainer's own time", lambda row: row["inside"]["total"], ""),
                ("  of that the head", lambda row: row["inside"]["head"], ""),
                ("whole job", lambda row: row["job_seconds"], ""),
                ("CPU of job and platform", lambda row: row["cpu_seconds"], "")):
            pair = [[read(row) for row in of] for of in (plain, observed)]
            low, high = map(kennel.median, pair)
            yield (f"{state}: {what}, without; with rules and profiler",
                   f"{kennel.of(pair[0], 2)} s; {kennel.of(pair[1], 2)} s: {high - low:+.2f} s, "
                   f"{100 * (high / low - 1):+.1f} %", goal)
        yield f"{state}: noise", kennel.noise(plain + observed), ""

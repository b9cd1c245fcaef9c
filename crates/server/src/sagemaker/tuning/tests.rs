//! The reconciler's step on a real database, with trials whose ends the tests write; and what the API
//! makes of an input.

use std::collections::BTreeMap;
use std::path::Path;

use kennel_store::state::Database;

use super::reconcile::{Decision, apply, decide};
use super::trials::Children;
use super::*;
use crate::sagemaker::rows::{MIGRATIONS, Rows};
use crate::sagemaker::training::{TrainingJob, name_in_use};

const NOW: Timestamp = Timestamp(1_800_000_000_000);
const ARN: &str = "arn:aws:sagemaker:us-east-1:123456789012:hyper-parameter-tuning-job/dogs";

/// An input as the SageMaker SDK sends it.
fn input() -> Value {
    json!({
        "HyperParameterTuningJobName": "dogs",
        "HyperParameterTuningJobConfig": {
            "Strategy": "Random",
            "ResourceLimits": { "MaxNumberOfTrainingJobs": 4, "MaxParallelTrainingJobs": 2 },
            "TrainingJobEarlyStoppingType": "Off",
            "HyperParameterTuningJobObjective": { "Type": "Minimize", "MetricName": "Test Loss" },
            "ParameterRanges": {
                "ContinuousParameterRanges": [
                    { "Name": "learning_rate", "MinValue": "0.001", "MaxValue": "0.1", "ScalingType": "Auto" }
                ],
                "CategoricalParameterRanges": [
                    { "Name": "batch_size", "Values": ["\"32\"", "\"64\""] }
                ],
            },
            "RandomSeed": 7,
        },
        "TrainingJobDefinition": definition(),
    })
}

fn definition() -> Value {
    json!({
        "StaticHyperParameters": { "epochs": "\"2\"", "sagemaker_program": "\"hpo.py\"" },
        "AlgorithmSpecification": {
            "TrainingImage": "763104351884.dkr.ecr.us-east-1.amazonaws.com/pytorch-training:1.4.0-cpu-py3",
            "TrainingInputMode": "File",
            "MetricDefinitions": [{ "Name": "Test Loss", "Regex": "Testing Loss: ([0-9\\.]+)" }],
        },
        "RoleArn": "arn:aws:iam::123456789012:role/sagemaker",
        "InputDataConfig": [{ "ChannelName": "training", "DataSource": { "S3DataSource": {
            "S3DataType": "S3Prefix", "S3Uri": "s3://dogs/photos" } } }],
        "OutputDataConfig": { "S3OutputPath": "s3://dogs/out" },
        "HyperParameterTuningResourceConfig": {
            "InstanceType": "ml.m5.xlarge", "InstanceCount": 1, "VolumeSizeInGB": 30 },
        "StoppingCondition": { "MaxRuntimeInSeconds": 600 },
    })
}

fn set(value: &mut Value, pointer: &str, to: Value) {
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    value.pointer_mut(parent).unwrap()[name] = to;
}

fn job_of(input: Value) -> TuningJob {
    TuningJob {
        request: request::complete(input).unwrap(),
        arn: ARN.to_owned(),
        created: NOW,
        modified: NOW,
        ended: None,
        status: Status::InProgress,
        failure: None,
        seed: 1,
        prior: Vec::new(),
        ending: None,
        converged: None,
    }
}

/// A tuning job in a database that can be closed and opened again.
struct Tuner {
    folder: tempfile::TempDir,
    rows: Rows,
}

fn open(folder: &Path) -> Rows {
    Rows::new(Database::open(&folder.join("state.db"), &[MIGRATIONS]).unwrap())
}

impl Tuner {
    async fn new(input: Value) -> Tuner {
        let folder = tempfile::tempdir().unwrap();
        let rows = open(folder.path());
        let taken = name_in_use("");
        rows.insert("dogs", ARN, job_of(input), Vec::new(), taken).await.unwrap();
        Tuner { folder, rows }
    }

    /// As after `kill -9`: only what was committed is there.
    fn reopen(self) -> Tuner {
        let Tuner { folder, rows } = self;
        drop(rows);
        let rows = open(folder.path());
        Tuner { folder, rows }
    }

    fn job(&self) -> TuningJob {
        self.rows.get("dogs").unwrap().unwrap()
    }

    fn decide_at(&self, now: Timestamp) -> Decision {
        let job = self.job();
        let children = Children::read(&self.rows, "dogs", &job).unwrap();
        decide(&children, &job, now).unwrap()
    }

    fn decide(&self) -> Decision {
        self.decide_at(NOW)
    }

    async fn apply(&self, decision: Decision) {
        apply(&self.rows, "dogs", &self.job(), decision, NOW).await.unwrap();
    }

    /// Looks and acts, as the task does at every change.
    async fn step(&self) {
        self.apply(self.decide()).await;
    }

    fn trials(&self) -> Vec<(String, TrainingJob)> {
        let job = self.job();
        Children::read(&self.rows, "dogs", &job).unwrap().rows
    }

    fn running(&self) -> Vec<String> {
        let running = self.trials().into_iter().filter(|(_, row)| !row.status.is_final());
        running.map(|(name, _)| name).collect()
    }

    /// A trial ends, with an objective or without.
    async fn end(&self, name: &str, status: Status, value: Option<f64>) {
        self.rows
            .change::<TrainingJob, ()>(name, move |row| {
                if let Some(value) = value {
                    row.metrics.insert("Test Loss".to_owned(), (value, NOW));
                    row.reports.push((value, NOW));
                }
                row.finish(status, status.name(), "", NOW);
                Ok(())
            })
            .await
            .unwrap();
    }

    async fn report(&self, name: &str, values: &[f64]) {
        let values: Vec<(f64, Timestamp)> = values.iter().map(|v| (*v, NOW)).collect();
        self.rows
            .change::<TrainingJob, ()>(name, move |row| {
                row.metrics.insert("Test Loss".to_owned(), *values.last().unwrap());
                row.reports = values;
                Ok(())
            })
            .await
            .unwrap();
    }

    /// Runs to the end, every trial ending as `end` says for its number.
    async fn run(&self, end: impl Fn(u32) -> (Status, Option<f64>)) {
        for _ in 0..200 {
            self.step().await;
            if self.job().status.is_final() {
                return;
            }
            if let Some(name) = self.running().first() {
                let row = self.rows.get::<TrainingJob>(name).unwrap().unwrap();
                let (status, value) = end(row.tuning.unwrap().number);
                self.end(name, status, value).await;
            }
        }
        panic!("the tuning job does not end");
    }

    fn best(&self) -> Value {
        let job = self.job();
        Children::read(&self.rows, "dogs", &job).unwrap().best().unwrap()
    }
}

#[tokio::test]
async fn trials_run_side_by_side_and_the_best_is_found() {
    let tuner = Tuner::new(input()).await;
    tuner.step().await;
    assert_eq!(tuner.running().len(), 2);
    tuner.step().await;
    assert_eq!(tuner.running().len(), 2, "more than MaxParallelTrainingJobs");
    tuner.run(|number| (Status::Completed, Some(f64::from(10 - number)))).await;
    let job = tuner.job();
    assert_eq!((job.status, job.ended), (Status::Completed, Some(NOW)));
    let trials = tuner.trials();
    let numbers: Vec<u32> =
        trials.iter().map(|(_, row)| row.tuning.as_ref().unwrap().number).collect();
    assert_eq!(numbers, [1, 2, 3, 4]);
    let best = tuner.best();
    assert_eq!(best["TrainingJobName"], trials[3].0.as_str());
    let metric = &best["FinalHyperParameterTuningJobObjectiveMetric"];
    assert_eq!(*metric, json!({ "Type": "Minimize", "MetricName": "Test Loss", "Value": 6.0 }));
    let pattern = regex::Regex::new("^dogs-00[1-4]-[0-9a-f]{8}$").unwrap();
    for (name, row) in &trials {
        assert!(pattern.is_match(name), "{name}");
        let member = row.tuning.as_ref().unwrap();
        assert_eq!(member.arn, ARN);
        // Categories keep their quotes, and the training job gets static and tuned ones together.
        assert!(["\"32\"", "\"64\""].contains(&member.tuned["batch_size"].as_str()));
        let request = row.request().unwrap();
        assert_eq!(request.hyper_parameters["_tuning_objective_metric"], "Test Loss");
        assert_eq!(request.hyper_parameters["epochs"], "\"2\"");
        assert_eq!(request.hyper_parameters["learning_rate"], member.tuned["learning_rate"]);
        assert_eq!(request.resource_config.instance_type.as_deref(), Some("ml.m5.xlarge"));
        assert_eq!(
            row.arn,
            format!("arn:aws:sagemaker:us-east-1:123456789012:training-job/{name}")
        );
    }
}

#[tokio::test]
async fn a_kill_between_any_two_writes_loses_and_doubles_nothing() {
    // The same tuning job undisturbed, for comparison.
    let undisturbed = Tuner::new(input()).await;
    undisturbed.run(|number| (Status::Completed, Some(f64::from(number)))).await;
    let chosen = |tuner: &Tuner| -> Vec<BTreeMap<String, String>> {
        tuner.trials().into_iter().map(|(_, row)| row.tuning.unwrap().tuned).collect()
    };

    let tuner = Tuner::new(input()).await;
    let mut decision = tuner.decide();
    assert_eq!(decision.start.len(), 2);
    // Killed after the first of two rows was written.
    decision.start.truncate(1);
    tuner.apply(decision).await;
    let tuner = tuner.reopen();
    let decision = tuner.decide();
    assert_eq!(decision.start.iter().map(|s| s.number).collect::<Vec<_>>(), [2]);
    // Killed before the second was.
    let tuner = tuner.reopen();
    tuner.step().await;
    assert_eq!(tuner.running().len(), 2);
    let first = tuner.running()[0].clone();
    tuner.end(&first, Status::Completed, Some(1.0)).await;
    // Killed after the end of a trial, before anybody looked.
    let tuner = tuner.reopen();
    tuner.run(|number| (Status::Completed, Some(f64::from(number)))).await;
    let tuner = tuner.reopen();
    assert_eq!(tuner.job().status, Status::Completed);
    assert_eq!(chosen(&tuner), chosen(&undisturbed));
}

#[tokio::test]
async fn stopping_stops_the_trials_first() {
    let tuner = Tuner::new(input()).await;
    tuner.step().await;
    tuner
        .rows
        .change::<TuningJob, ()>("dogs", |job| {
            job.status = Status::Stopping;
            Ok(())
        })
        .await
        .unwrap();
    tuner.step().await;
    assert!(tuner.trials().iter().all(|(_, row)| row.status == Status::Stopping));
    assert_eq!(tuner.job().status, Status::Stopping);
    for name in tuner.running() {
        tuner.end(&name, Status::Stopped, None).await;
    }
    tuner.step().await;
    assert_eq!(tuner.job().status, Status::Stopped);
    assert_eq!(tuner.trials().len(), 2);
}

#[tokio::test]
async fn without_a_success_it_fails_in_awss_words() {
    let mut many = input();
    set(
        &mut many,
        "/HyperParameterTuningJobConfig/ResourceLimits",
        json!({ "MaxNumberOfTrainingJobs": 50, "MaxParallelTrainingJobs": 3 }),
    );
    let tuner = Tuner::new(many).await;
    tuner.run(|_| (Status::Failed, None)).await;
    let job = tuner.job();
    assert_eq!(job.status, Status::Failed);
    let reason = job.failure.unwrap();
    assert!(reason.starts_with("No training job succeeded after 5 attempts. "), "{reason}");
    // Those that ran when the fifth failed ended too, and no more were started.
    assert_eq!(tuner.trials().len(), 7);
    let counters = Children::read(&tuner.rows, "dogs", &tuner.job()).unwrap().status_counters();
    assert_eq!(counters["NonRetryableError"], 7);

    // A training job that ends well without the metric is no success either.
    let tuner = Tuner::new(input()).await;
    tuner.run(|_| (Status::Completed, None)).await;
    assert!(tuner.job().failure.unwrap().contains("after 4 attempts"));
    // One success is enough, and a failed one is not the best.
    let tuner = Tuner::new(input()).await;
    tuner
        .run(|n| if n == 2 { (Status::Completed, Some(3.0)) } else { (Status::Failed, Some(0.1)) })
        .await;
    assert_eq!(tuner.job().status, Status::Completed);
    assert_eq!(tuner.best()["FinalHyperParameterTuningJobObjectiveMetric"]["Value"], 3.0);
}

#[tokio::test]
async fn a_target_and_the_end_of_time_stop_what_runs() {
    let mut target = input();
    set(
        &mut target,
        "/HyperParameterTuningJobConfig/TuningJobCompletionCriteria",
        json!({ "TargetObjectiveMetricValue": 0.5 }),
    );
    let tuner = Tuner::new(target).await;
    tuner.step().await;
    let running = tuner.running();
    tuner.end(&running[0], Status::Completed, Some(0.4)).await;
    tuner.step().await;
    let other: TrainingJob = tuner.rows.get(&running[1]).unwrap().unwrap();
    assert_eq!(other.status, Status::Stopping);
    // It may end well or not: the decision stays, also over a restart.
    let tuner = tuner.reopen();
    tuner.end(&running[1], Status::Stopped, Some(0.1)).await;
    assert_eq!(tuner.best()["TrainingJobName"], running[0].as_str(), "a stopped one has no model");
    tuner.step().await;
    assert_eq!((tuner.job().status, tuner.trials().len()), (Status::Completed, 2));

    let mut short = input();
    set(
        &mut short,
        "/HyperParameterTuningJobConfig/ResourceLimits/MaxRuntimeInSeconds",
        json!(120),
    );
    let tuner = Tuner::new(short).await;
    let begun = tuner.decide();
    assert!(begun.wait <= std::time::Duration::from_secs(120));
    tuner.apply(begun).await;
    let running = tuner.running();
    tuner.end(&running[0], Status::Completed, Some(1.0)).await;
    let late = tuner.decide_at(Timestamp(NOW.0 + 120_000));
    assert!(late.start.is_empty());
    assert_eq!(late.stop[0].0, running[1]);
    tuner.apply(late).await;
    tuner.end(&running[1], Status::Stopped, None).await;
    tuner.step().await;
    assert_eq!(tuner.job().status, Status::Completed);
}

#[tokio::test]
async fn early_stopping_sees_what_trials_report() {
    let mut early = input();
    set(&mut early, "/HyperParameterTuningJobConfig/TrainingJobEarlyStoppingType", json!("Auto"));
    set(
        &mut early,
        "/HyperParameterTuningJobConfig/ResourceLimits",
        json!({ "MaxNumberOfTrainingJobs": 20, "MaxParallelTrainingJobs": 1 }),
    );
    let tuner = Tuner::new(early).await;
    for _ in 0..8 {
        tuner.step().await;
        let running = tuner.running()[0].clone();
        tuner.report(&running, &[1.0, 0.5, 0.4, 0.3]).await;
        tuner.end(&running, Status::Completed, Some(0.3)).await;
    }
    tuner.step().await;
    let bad = tuner.running()[0].clone();
    tuner.report(&bad, &[9.0, 9.0, 9.0, 9.0]).await;
    let decision = tuner.decide();
    assert_eq!(decision.stop.len(), 1, "{decision:?}");
    assert_eq!(decision.stop[0].0, bad);
    assert!(decision.start.is_empty());
    tuner.apply(decision).await;
    let row: TrainingJob = tuner.rows.get(&bad).unwrap().unwrap();
    assert_eq!(row.status, Status::Stopping);
    // Not again while it stops.
    assert!(tuner.decide().stop.is_empty());
    tuner.end(&bad, Status::Stopped, Some(9.0)).await;
    tuner.step().await;
    assert_eq!(tuner.trials().len(), 10);
}

#[tokio::test]
async fn definitions_take_turns() {
    let mut several = input();
    let members = several.as_object_mut().unwrap();
    members.remove("TrainingJobDefinition");
    let config = members["HyperParameterTuningJobConfig"].as_object_mut().unwrap();
    let ranges = config.remove("ParameterRanges").unwrap();
    let objective = config.remove("HyperParameterTuningJobObjective").unwrap();
    config["ResourceLimits"] =
        json!({ "MaxNumberOfTrainingJobs": 5, "MaxParallelTrainingJobs": 2 });
    let list: Vec<Value> = ["one", "two"]
        .into_iter()
        .map(|name| {
            let mut own = definition();
            own["DefinitionName"] = json!(name);
            own["TuningObjective"] = objective.clone();
            own["HyperParameterRanges"] = ranges.clone();
            own
        })
        .collect();
    members.insert("TrainingJobDefinitions".to_owned(), json!(list));
    let tuner = Tuner::new(several).await;
    tuner.run(|number| (Status::Completed, Some(f64::from(10 - number)))).await;
    let trials = tuner.trials();
    let names: Vec<String> =
        trials.iter().map(|(_, row)| row.tuning.clone().unwrap().definition.unwrap()).collect();
    assert_eq!(names, ["one", "two", "one", "two", "one"]);
    assert_eq!(tuner.best()["TrainingJobDefinitionName"], "one");
    assert_eq!(tuner.best()["FinalHyperParameterTuningJobObjectiveMetric"]["Value"], 5.0);
    assert!(trials[0].1.request.get("DefinitionName").is_none());
}

#[tokio::test]
async fn a_warm_start_takes_the_trials_of_its_parents() {
    let tuner = Tuner::new(input()).await;
    let warm = |kind: &str| -> request::WarmStart {
        serde_json::from_value(json!({
            "ParentHyperParameterTuningJobs": [{ "HyperParameterTuningJobName": "dogs" }],
            "WarmStartType": kind,
        }))
        .unwrap()
    };
    let algorithms = |input: Value| {
        let input = request::complete(input).unwrap();
        Request::parse(&input).unwrap().algorithms(&input, 1).unwrap()
    };
    let identical = warm("IdenticalDataAndAlgorithm");
    let early = trials::prior(&tuner.rows, &identical, &algorithms(input())).unwrap_err();
    assert!(early.message.contains("InProgress"), "{early}");
    tuner.run(|number| (Status::Completed, Some(f64::from(number)))).await;
    let prior = trials::prior(&tuner.rows, &identical, &algorithms(input())).unwrap();
    assert_eq!(prior.iter().map(|p| p.value).collect::<Vec<_>>(), [1.0, 2.0, 3.0, 4.0]);
    assert!(prior[0].values.contains_key("learning_rate"));
    assert_eq!(prior[0].values["epochs"], "\"2\"", "static ones may be tuned now");

    // A later job that is worse: the overall best is the parent's.
    let job = TuningJob { prior: prior.clone(), ..tuner.job() };
    let children = Children::read(&tuner.rows, "other", &job).unwrap();
    let overall = children.overall_best(&tuner.rows, None).unwrap().unwrap();
    assert_eq!(overall["TuningJobName"], "dogs");
    assert_eq!(overall["TrainingJobName"], tuner.trials()[0].0.as_str());
    assert_eq!(children.algorithms()[0].plan.prior.len(), 4);

    // Other data: only the looser kind.
    let mut other = input();
    set(&mut other, "/TrainingJobDefinition/InputDataConfig", json!([]));
    let refused = trials::prior(&tuner.rows, &identical, &algorithms(other.clone())).unwrap_err();
    assert!(refused.message.contains("the input data"), "{refused}");
    let loose = warm("TransferLearning");
    assert_eq!(trials::prior(&tuner.rows, &loose, &algorithms(other)).unwrap().len(), 4);

    // Static or tuned may change, the set of names may not.
    let mut tuned = input();
    set(
        &mut tuned,
        "/TrainingJobDefinition/StaticHyperParameters",
        json!({ "sagemaker_program": "x" }),
    );
    let ranges = "/HyperParameterTuningJobConfig/ParameterRanges/IntegerParameterRanges";
    set(&mut tuned, ranges, json!([{ "Name": "epochs", "MinValue": "1", "MaxValue": "5" }]));
    assert!(trials::prior(&tuner.rows, &loose, &algorithms(tuned)).is_ok());
    let mut fewer = input();
    set(&mut fewer, "/TrainingJobDefinition/StaticHyperParameters", json!({}));
    let refused = trials::prior(&tuner.rows, &loose, &algorithms(fewer)).unwrap_err();
    assert!(refused.message.starts_with("The set of tunable plus static"), "{refused}");
}

#[tokio::test]
async fn rows_of_a_former_version_still_load() {
    let tuner = Tuner::new(input()).await;
    tuner.step().await;
    let row = serde_json::to_value(&tuner.trials()[0].1).unwrap();
    let mut old = row.as_object().unwrap().clone();
    old.remove("tuning");
    old.remove("reports");
    let job: TrainingJob = serde_json::from_value(Value::Object(old)).unwrap();
    assert!(job.tuning.is_none() && job.reports.is_empty());
}

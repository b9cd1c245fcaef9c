//! What the commands ask for and print, against a server that answers from a table.

use std::collections::BTreeMap;

use super::start::start;
use super::*;
use crate::testing::{Server, ok};

fn request() -> TuningRequest {
    TuningRequest {
        data: "s3://dogs/photos".into(),
        name: Some("dogs".into()),
        trials: 20,
        parallel: 2,
        strategy: "Bayesian".into(),
        hyperband: None,
        maximize: true,
        metric: "validation:accuracy".into(),
        ranges: Vec::new(),
        fixed: BTreeMap::from([("epochs".into(), "3".into())]),
        early_stopping: true,
        target: Some(0.9),
        not_improving: None,
        seed: Some(7),
        output: Some("s3://dogs/out".into()),
        instance_type: "ml.m5.large".into(),
        role: None,
        report: "report.html".into(),
    }
}

fn created(request: &TuningRequest) -> Value {
    let server = Server::start(|seen, _| match seen.header("x-amz-target") {
        Some(_) => ok(r#"{"HyperParameterTuningJobArn":"arn:tuning"}"#),
        None => ok("<R><GetRoleResult><Role><Arn>arn:role</Arn></Role></GetRoleResult></R>"),
    });
    assert_eq!(start(&server.client(), request).unwrap(), "dogs");
    let seen = server.seen();
    let last = seen.last().unwrap();
    assert_eq!(last.header("x-amz-target"), Some("SageMaker.CreateHyperParameterTuningJob"));
    serde_json::from_slice(&last.body).unwrap()
}

#[test]
fn a_started_tuning_job_has_every_member() {
    let body = created(&request());
    let config = &body["HyperParameterTuningJobConfig"];
    assert_eq!(config["Strategy"], "Bayesian");
    assert_eq!(config["HyperParameterTuningJobObjective"]["Type"], "Maximize");
    assert_eq!(config["ResourceLimits"]["MaxNumberOfTrainingJobs"], 20);
    assert_eq!(config["TrainingJobEarlyStoppingType"], "Auto");
    assert_eq!(config["TuningJobCompletionCriteria"]["TargetObjectiveMetricValue"], 0.9);
    assert_eq!(config["RandomSeed"], 7);
    assert!(config.get("ParameterRanges").is_none());
    assert_eq!(body["Autotune"]["Mode"], "Enabled");
    let definition = &body["TrainingJobDefinition"];
    assert_eq!(definition["StaticHyperParameters"], json!({ "epochs": "3" }));
    assert_eq!(
        definition["AlgorithmSpecification"]["TrainingImage"],
        "kennel/image-classification:1"
    );
    assert_eq!(definition["RoleArn"], "arn:role");
}

#[test]
fn own_ranges_are_sent_as_texts_and_a_grid_without_a_number() {
    let scaling = || "Logarithmic".to_owned();
    let ranges = vec![
        TuningRange::Continuous { name: "lr".into(), min: 1e-3, max: 0.1, scaling: scaling() },
        TuningRange::Integer { name: "batch_size".into(), min: 32, max: 512, scaling: scaling() },
        TuningRange::Categorical { name: "head".into(), values: vec!["linear".into()] },
    ];
    let body = created(&TuningRequest { ranges, strategy: "Grid".into(), ..request() });
    let config = &body["HyperParameterTuningJobConfig"];
    let ranges = &config["ParameterRanges"];
    assert_eq!(ranges["ContinuousParameterRanges"][0]["MinValue"], "0.001");
    assert_eq!(ranges["IntegerParameterRanges"][0]["MaxValue"], "512");
    assert_eq!(ranges["CategoricalParameterRanges"][0]["Values"], json!(["linear"]));
    assert_eq!(config["ResourceLimits"], json!({ "MaxParallelTrainingJobs": 2 }));
    assert!(body.get("Autotune").is_none());
}

fn job(status: &str) -> Value {
    json!({
        "HyperParameterTuningJobName": "dogs",
        "HyperParameterTuningJobStatus": status,
        "FailureReason": "No training job succeeded after 5 attempts.",
        "HyperParameterTuningJobConfig": {
            "Strategy": "Random",
            "HyperParameterTuningJobObjective": { "Type": "Maximize", "MetricName": "validation:accuracy" },
            "ResourceLimits": { "MaxNumberOfTrainingJobs": 3, "MaxParallelTrainingJobs": 1 },
        },
        "TrainingJobDefinition": { "OutputDataConfig": { "S3OutputPath": "s3://dogs/out/" } },
        "TrainingJobStatusCounters": { "Completed": 2, "InProgress": 1 },
        "CreationTime": 1_795_261_521.5,
    })
}

fn trial(number: u32, value: Option<f64>) -> Value {
    let mut trial = json!({
        "TrainingJobName": format!("dogs-00{number}-00000000"),
        "TrainingJobStatus": "Completed",
        "TunedHyperParameters": { "batch_size": "\"64\"", "learning_rate": "0.01234567890123" },
    });
    if let Some(value) = value {
        trial[OBJECTIVE] = json!({ "MetricName": "validation:accuracy", "Value": value });
    }
    trial
}

#[test]
fn trials_are_shown_best_first_from_all_pages() {
    let server = Server::start(|seen, _| {
        let body: Value = serde_json::from_slice(&seen.body).unwrap();
        let page = match body["NextToken"].as_str() {
            None => json!({
                "TrainingJobSummaries": [trial(1, None), trial(2, Some(0.5))], "NextToken": "2" }),
            Some(_) => json!({ "TrainingJobSummaries": [trial(3, Some(0.9))] }),
        };
        ok(&page.to_string())
    });
    let job = job("InProgress");
    let found = trials(&server.client(), &job).unwrap();
    let names: Vec<String> = found.iter().map(|t| text(t, "TrainingJobName")).collect();
    assert_eq!(names, ["dogs-003-00000000", "dogs-002-00000000", "dogs-001-00000000"]);
    let all = shown(&job, &found);
    assert!(all.contains("maximize validation:accuracy"), "{all}");
    assert!(all.contains("2/3"), "{all}");
    assert!(all.contains("batch_size=\"64\" learning_rate=0.01235"), "{all}");
}

#[test]
fn a_failed_tuning_job_fails_the_wait_and_has_no_report() {
    let server = Server::replies(vec![ok(&job("Failed").to_string())]);
    let error = wait(&server.client(), "dogs").unwrap_err();
    assert!(error.to_string().contains("after 5 attempts"), "{error}");
    let missing = Server::start(|_, _| crate::testing::Reply(404, Vec::new(), Vec::new()));
    let path = std::env::temp_dir().join("kennel-no-report.html");
    let error = report(&missing.client(), &job("InProgress"), &path).unwrap_err();
    assert!(error.to_string().contains("kennel tuning wait"), "{error}");
    assert!(!path.exists());
}

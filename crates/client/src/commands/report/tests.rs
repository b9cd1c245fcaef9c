//! From recorded answers to a writeup: a project that is whole, one that has nothing, and what refuses.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicUsize;

use clap::Parser;
use serde_json::{Value, json};

use super::facts::Facts;
use super::gather::{Chosen, gather};
use super::*;
use crate::commands::iam::tests::world::{ACCOUNT, World, trust};
use crate::testing::{Reply, Seen, Server, ok};

const NOW: i64 = 1_795_261_521;
const FULL: &str = "arn:aws:iam::aws:policy/AmazonSageMakerFullAccess";

#[derive(Debug, Parser)]
struct Cli {
    #[command(flatten)]
    report: Arguments,
}

/// A job of the native image, as DescribeTrainingJob tells it.
fn job(name: &str, count: u64, seconds: f64, loss: f64) -> Value {
    let at = NOW as f64 - 5000.0;
    let phase = |status: &str, from: f64, to: f64| json!({ "Status": status, "StartTime": at + from, "EndTime": at + to });
    json!({
        "TrainingJobName": name,
        "TrainingJobStatus": "Completed",
        "AlgorithmSpecification": { "MetricDefinitions": [
            { "Name": "validation:loss", "Regex": "\\bvalid_loss=([0-9.eE+-]+)" },
            { "Name": "validation:accuracy", "Regex": "\\bvalid_accuracy=([0-9.eE+-]+)" },
            { "Name": "no expression", "Regex": "(?=x)" },
        ] },
        "HyperParameters": { "epochs": "20", "sagemaker_program": "\"x.py\"" },
        "InputDataConfig": [{ "ChannelName": "train" }],
        "ModelArtifacts": { "S3ModelArtifacts": format!("s3://b/{name}/output/model.tar.gz") },
        "ResourceConfig": { "InstanceCount": count, "InstanceType": "ml.m5.xlarge" },
        "EnableManagedSpotTraining": false,
        "SecondaryStatusTransitions": [
            phase("Starting", 0.0, 30.0), phase("Downloading", 30.0, 40.0),
            phase("Training", 40.0, 40.0 + seconds), phase("Uploading", 40.0 + seconds, 50.0 + seconds),
        ],
        "TrainingStartTime": at, "TrainingEndTime": at + 50.0 + seconds,
        "TrainingTimeInSeconds": seconds as u64 + 20, "BillableTimeInSeconds": seconds as u64 + 20,
        "FinalMetricDataList": [
            { "MetricName": "train:loss", "Value": 0.5752 },
            { "MetricName": "validation:accuracy", "Value": 0.8125 },
            { "MetricName": "validation:loss", "Value": loss },
        ],
    })
}

/// Everything that a project of the course has.
fn project() -> World {
    let mut world = World::default();
    let policy = |statement| json!({ "Version": "2012-10-17", "Statement": [statement] });
    let all = json!({ "Effect": "Allow", "Action": "sagemaker:*", "Resource": "*" });
    world.managed.insert(FULL.into(), policy(all));
    let needed = json!({ "Effect": "Allow", "Action": "sagemaker:InvokeEndpoint",
        "Resource": format!("arn:aws:sagemaker:us-east-1:{ACCOUNT}:endpoint/dogs") });
    world.generated.insert("f".into(), vec![policy(needed)]);
    world.role("f", trust(json!({ "Service": "lambda.amazonaws.com" })));
    world.role_mut("f").attached = vec![FULL.into()];
    world.buckets = vec![("shut".into(), None)];
    let function = json!({
        "FunctionName": "classify-dogs", "Runtime": "python3.12", "Handler": "f.lambda_handler",
        "FunctionArn": format!("arn:aws:lambda:us-east-1:{ACCOUNT}:function:classify-dogs"),
        "Role": format!("arn:aws:iam::{ACCOUNT}:role/f"), "MemorySize": 128, "Timeout": 60,
        "LastModified": "2026-11-20T00:00:00.000+0000", "Architectures": ["x86_64"],
        "Environment": { "Variables": { "ENDPOINT_NAME": "dogs", "SECRET": "hidden" } },
    });
    let newer = json!({ "FunctionName": "other", "LastModified": "2026-11-21T00:00:00.000+0000",
        "FunctionArn": "arn:aws:lambda:us-east-1:1:function:other", "Role": "", "MemorySize": 128 });
    let variant = json!({ "VariantName": "AllTraffic", "CurrentInstanceCount": 1,
        "DesiredInstanceCount": 1, "CurrentWeight": 1.0 });
    let activity = |out: bool, at: i64, seconds: f64| {
        json!({
            "Description": format!("Setting desired instance count to {}.", if out { 2 } else { 1 }),
            "Cause": "monitor alarm was in state ALARM", "StatusCode": "Successful",
            "StartTime": NOW - at, "EndTime": (NOW - at) as f64 + seconds,
        })
    };
    let best = json!({ "TrainingJobName": "tune-2", "TunedHyperParameters": { "learning_rate": "0.0123456789" },
        "FinalHyperParameterTuningJobObjectiveMetric": { "MetricName": "validation:accuracy", "Value": 0.9 } });
    let trial = |at: i64, value: f64| {
        json!({ "TrainingJobName": format!("tune-{at}"), "CreationTime": NOW + at,
            "FinalHyperParameterTuningJobObjectiveMetric": { "Value": value } })
    };
    let dogs = "endpoint/dogs/variant/AllTraffic";
    for (name, answer) in [
        (
            "ListNotebookInstances",
            json!({ "NotebookInstances": [
                { "NotebookInstanceName": "work", "InstanceType": "ml.t3.medium" }] }),
        ),
        (
            "ListTrainingJobs",
            json!({ "TrainingJobSummaries": [
                { "TrainingJobName": "tune-2" }, { "TrainingJobName": "dogs-2" },
                { "TrainingJobName": "dogs-1" }, { "TrainingJobName": "older" }] }),
        ),
        (
            "ListHyperParameterTuningJobs",
            json!({ "HyperParameterTuningJobSummaries": [{ "HyperParameterTuningJobName": "tune" }] }),
        ),
        (
            "DescribeHyperParameterTuningJob",
            json!({ "HyperParameterTuningJobName": "tune", "BestTrainingJob": best,
                "HyperParameterTuningJobConfig": { "Strategy": "Bayesian", "HyperParameterTuningJobObjective":
                    { "Type": "Maximize", "MetricName": "validation:accuracy" } } }),
        ),
        (
            "ListTrainingJobsForHyperParameterTuningJob",
            json!({ "TrainingJobSummaries": [trial(1, 0.7), trial(2, 0.9), trial(3, 0.8)] }),
        ),
        ("ListEndpoints", json!({ "Endpoints": [{ "EndpointName": "dogs" }] })),
        (
            "DescribeEndpoint",
            json!({ "EndpointName": "dogs", "EndpointConfigName": "dogs-c", "EndpointStatus": "InService",
                "EndpointArn": format!("arn:aws:sagemaker:us-east-1:{ACCOUNT}:endpoint/dogs"),
                "CreationTime": NOW, "ProductionVariants": [variant],
                "DataCaptureConfig": { "EnableCapture": true, "CurrentSamplingPercentage": 50,
                    "DestinationS3Uri": "s3://b/capture" },
                "LastDeploymentConfig": {
                    "BlueGreenUpdatePolicy": { "TrafficRoutingConfiguration": { "Type": "CANARY",
                        "CanarySize": { "Type": "CAPACITY_PERCENT", "Value": 25 },
                        "WaitIntervalInSeconds": 60 } },
                    "AutoRollbackConfiguration": { "Alarms": [{ "AlarmName": "slow" }] } } }),
        ),
        (
            "DescribeEndpointConfig",
            json!({ "ProductionVariants": [{ "VariantName": "AllTraffic", "ModelName": "dogs-m",
                "InstanceType": "ml.m5.large" }] }),
        ),
        ("/2015-03-31/functions", json!({ "Functions": [newer, function] })),
        (
            "/2019-09-30/functions/classify-dogs/concurrency",
            json!({ "ReservedConcurrentExecutions": 2 }),
        ),
        (
            "/2019-09-30/functions/classify-dogs/provisioned-concurrency?List=ALL",
            json!({ "ProvisionedConcurrencyConfigs": [{
                "FunctionArn": format!("arn:aws:lambda:us-east-1:{ACCOUNT}:function:classify-dogs:live"),
                "RequestedProvisionedConcurrentExecutions": 2,
                "AvailableProvisionedConcurrentExecutions": 2, "Status": "READY" }] }),
        ),
        (
            "DescribeScalableTargets",
            json!({ "ScalableTargets": [
                { "ServiceNamespace": "sagemaker", "ResourceId": "endpoint/other/variant/v" },
                { "ServiceNamespace": "sagemaker", "ResourceId": dogs, "MinCapacity": 1, "MaxCapacity": 3,
                    "ScalableDimension": "sagemaker:variant:DesiredInstanceCount" }] }),
        ),
        (
            "DescribeScalingPolicies",
            json!({ "ScalingPolicies": [{ "PolicyName": "p", "PolicyType": "TargetTrackingScaling",
                "TargetTrackingScalingPolicyConfiguration": { "TargetValue": 10.0,
                    "ScaleOutCooldown": 30, "ScaleInCooldown": 120, "PredefinedMetricSpecification":
                        { "PredefinedMetricType": "SageMakerVariantInvocationsPerInstance" } } }] }),
        ),
        (
            "DescribeScalingActivities",
            json!({ "ScalingActivities": [activity(false, 100, 0.2), activity(true, 900, 1.5)] }),
        ),
    ] {
        world.more.insert(name.into(), answer);
    }
    world
}

/// What the world does not tell apart: jobs by their names, logs, metrics by theirs.
fn particular(world: &World, seen: &Seen) -> Option<Value> {
    let operation = seen.header("x-amz-target")?.rsplit('.').next()?;
    let body: Value = serde_json::from_slice(&seen.body).ok()?;
    if world.more.is_empty() || world.refused.iter().any(|refused| refused == operation) {
        return None;
    }
    match operation {
        "DescribeTrainingJob" => Some(match body["TrainingJobName"].as_str()? {
            "dogs-1" => job("dogs-1", 1, 100.0, 0.7269),
            "dogs-2" => job("dogs-2", 2, 55.0, 0.7312),
            "tune-2" => {
                let mut trial = job("tune-2", 1, 40.0, 0.6);
                trial["TuningJobArn"] = "arn".into();
                trial
            }
            other => job(other, 1, 10.0, 1.0),
        }),
        "FilterLogEvents" => {
            let prefix = body["logStreamNamePrefix"].as_str()?;
            let event = |stream: &str, n: u32| {
                let loss = 2.0 / f64::from(n);
                json!({ "logStreamName": format!("{prefix}{stream}"), "message":
                    format!("epoch={n}/20 valid_loss={loss:.4} valid_accuracy=0.{:02}", 10 + 4 * n) })
            };
            let mut events: Vec<Value> = (1..=20).map(|n| event("-1795", n)).collect();
            events.push(event("0-1795", 7));
            Some(json!({ "events": events }))
        }
        "GetMetricStatistics" => {
            let point = |value: Value| {
                json!({ "Datapoints": [{ "Timestamp": NOW - 3600 }] }).merged(&value)
            };
            Some(match (body["Namespace"].as_str()?, body["MetricName"].as_str()?) {
                ("AWS/SageMaker", "Invocations") => point(json!({ "Sum": 1234.0 })),
                ("AWS/SageMaker", "ModelLatency") => {
                    point(json!({ "ExtendedStatistics": { "p50": 12_000.0, "p99": 31_000.0 } }))
                }
                ("AWS/Lambda", "Invocations") => point(json!({ "Sum": 40.0 })),
                ("AWS/Lambda", "Duration") => point(json!({ "Sum": 1400.0, "SampleCount": 40.0 })),
                _ => json!({ "Datapoints": [] }),
            })
        }
        _ => None,
    }
}

trait Merged {
    fn merged(self, more: &Value) -> Value;
}

impl Merged for Value {
    fn merged(mut self, more: &Value) -> Value {
        let point = self["Datapoints"][0].as_object_mut().unwrap();
        point.extend(more.as_object().unwrap().clone());
        self
    }
}

fn start(world: World) -> Server {
    let polls = AtomicUsize::new(0);
    Server::start(move |seen, _| {
        if seen.line.starts_with("POST /2015-03-31/functions/classify-dogs/invocations") {
            let log = "START\nEND\nREPORT RequestId: 8f5b\tDuration: 31.20 ms\tMax Memory Used: 41 MB\t\n";
            use base64::Engine as _;
            let log = base64::engine::general_purpose::STANDARD.encode(log);
            let answer = json!({ "statusCode": 200, "body": "[[0.5, -1.25, 3.5]]" });
            return Reply(
                200,
                vec![format!("x-amz-log-result: {log}")],
                answer.to_string().into_bytes(),
            );
        }
        match particular(&world, seen) {
            Some(answer) => ok(&answer.to_string()),
            None => world.answer(seen, &polls),
        }
    })
}

fn document(title: &str, facts: &Facts) -> Document {
    writeup::document(title, facts, &kennel_cost::Catalogue::built_in())
}

fn chosen<'a>(trail: &'a TrailArguments, call: Option<&str>) -> Chosen<'a> {
    let call = call.map(|event| event.as_bytes().to_vec());
    Chosen { jobs: &[], tuning: None, endpoint: None, function: None, call, trail }
}

fn facts(world: World, call: Option<&str>) -> Facts {
    let mut facts =
        gather(&start(world).client(), chosen(&TrailArguments::default(), call)).unwrap();
    facts.now = NOW;
    facts.cores = Some(2);
    facts
}

/// Prices change with the catalogue, and the simulation is tested elsewhere.
fn stable(markdown: &str) -> String {
    let (before, _) = markdown.split_once("**Simulation.**").unwrap_or((markdown, ""));
    before.to_owned()
}

fn snapshot(name: &str, text: &str) {
    let filters = vec![
        // Advice depends on the machine's cores and on what the catalogue declares.
        (r"From that time .* not a measurement\.", "[ADVICE]"),
        (r"~?\$[0-9.]+", "[MONEY]"),
        (r"AWS's of [0-9-]+", "AWS's of [DATE]"),
        (r"[0-9]+ % less", "[N] % less"),
        (r"\([0-9.]+ times\)", "([N] times)"),
    ];
    insta::with_settings!({filters => filters, omit_expression => true}, {
        insta::assert_snapshot!(name, text);
    });
}

#[test]
fn a_whole_project_is_told_from_what_the_apis_answer() {
    let facts = facts(project(), Some(r#"{"url": "https://x/dog.jpg"}"#));
    assert_eq!(facts.notes, [""; 0]);
    let names: Vec<&str> =
        facts.jobs.iter().map(|job| job.own["TrainingJobName"].as_str().unwrap()).collect();
    assert_eq!(names, ["dogs-1", "dogs-2"], "the trial is not the newest single-instance job");
    assert!(facts.jobs.iter().all(|job| job.curves.len() == 2 && job.curves[0].points.len() == 20));
    let document = document("Dogs", &facts);
    let markdown = markdown(&document);
    assert!(!markdown.contains("hidden"), "values of variables may be secret");
    snapshot("whole", &stable(&markdown));
    let (_, simulated) = markdown.split_once("**Simulation.**").unwrap();
    for words in [
        "Load steps from 0.133 to 0.4 requests a second after 5 minutes and back after 25",
        "ModelLatency p50 12.0 ms and p99 31.0 ms of `AllTraffic`, and 1.5 s until new instances serve",
        "all on the 2 cores of this machine",
        "| always 1 instance |",
        "| the policy |",
        "| always 3 instances |",
        "- Instances (over minutes)\n  - wanted: `",
        "- p99 in ms (over minutes)\n  - p99: `",
    ] {
        assert!(simulated.contains(words), "{words} in {simulated}");
    }
}

#[test]
fn a_whole_project_is_two_pages() {
    let facts = facts(project(), Some("{}"));
    let document = document("Dogs", &facts);
    let file = shown(&document, Kind::Pdf);
    let text = String::from_utf8_lossy(&file);
    let pages = text.matches("/Type /Page\n").count();
    assert!((1..=2).contains(&pages), "{pages} pages");
    for words in ["Security", "Endpoint", "Lambda function", "Training", "Simulation.", "page 1 of"]
    {
        assert!(text.contains(&format!("({words}")), "{words}");
    }
    let page = String::from_utf8(shown(&document, Kind::Html)).unwrap();
    assert_eq!(page.matches("<svg").count(), 6);
}

#[test]
fn what_is_not_there_is_said_with_the_command_that_brings_it() {
    let facts = facts(World::default(), None);
    let markdown = markdown(&document("Nothing", &facts));
    snapshot("nothing", &markdown);
    for (name, command) in [
        ("notebook", "aws sagemaker create-notebook-instance"),
        ("training", "kennel job start"),
        ("endpoint", "kennel deploy"),
        ("function", "kennel function deploy-classifier"),
    ] {
        assert!(markdown.contains(command), "{name}");
    }
}

#[test]
fn refusals_are_notes_but_what_was_named_must_be_there() {
    let mut world = project();
    world.refused = ["ListTrainingJobs", "DescribeScalableTargets"].map(String::from).to_vec();
    let told = facts(world, None);
    assert!(told.jobs.is_empty() && told.scaling.is_empty() && told.endpoint.is_some());
    let [first, second] = told.notes.as_slice() else { panic!("{:?}", told.notes) };
    assert!(first.starts_with("could not look at training jobs:"), "{first}");
    assert!(second.starts_with("could not look at what is scaled:"), "{second}");
    let text = markdown(&document("x", &told));
    assert!(text.contains("**Not looked at.** The writeup could not look at"), "{text}");
    assert!(text.contains("> Training jobs could not be looked at; see the end."), "{text}");
    for invented in ["There is no training job", "does not scale"] {
        assert!(!text.contains(invented), "{invented} in {text}");
    }

    let mut world = project();
    world.refused = vec!["DescribeTrainingJob".into()];
    let (server, trail) = (start(world), TrailArguments::default());
    let jobs = ["dogs-1".to_owned()];
    let named = Chosen { jobs: &jobs, ..chosen(&trail, None) };
    let missing = Chosen { function: Some("nobody"), ..chosen(&trail, None) };
    assert!(gather(&server.client(), named).is_err());
    let error = gather(&server.client(), missing).unwrap_err();
    assert!(error.is_not_found(), "{error}");

    let server = start(World::default());
    let error = gather(&server.client(), chosen(&trail, Some("{}"))).unwrap_err();
    assert!(error.to_string().starts_with("there is no function to call"), "{error}");
}

#[test]
fn odd_answers_break_nothing() {
    let odd = [json!(null), json!([]), json!("x"), json!(-1e308), json!({ "a": [[[]]] })];
    let names: Vec<String> = project().more.keys().cloned().collect();
    for name in names {
        for odd in &odd {
            let mut world = project();
            let members: BTreeMap<String, Value> = match &world.more[&name] {
                Value::Object(members) => {
                    members.keys().map(|member| (member.clone(), odd.clone())).collect()
                }
                _ => BTreeMap::new(),
            };
            world.more.insert(name.clone(), json!(members));
            let server = start(world);
            if let Ok(facts) = gather(&server.client(), chosen(&TrailArguments::default(), None)) {
                let document = document("Odd", &facts);
                assert!(!shown(&document, Kind::Markdown).is_empty());
                assert!(shown(&document, Kind::Pdf).starts_with(b"%PDF"));
            }
        }
    }
}

#[test]
fn the_ending_says_what_it_becomes() {
    let kind = |name: &str| {
        let parsed = Cli::try_parse_from(["x", "--output", name]);
        parsed.ok().map(|cli| cli.report.output.kind)
    };
    assert_eq!(kind("a.PDF"), Some(Kind::Pdf));
    assert_eq!(kind("b/a.md"), Some(Kind::Markdown));
    assert_eq!(kind("a.html"), Some(Kind::Html));
    assert_eq!((kind("a.docx"), kind("pdf"), kind("")), (None, None, None));
    assert_eq!(Cli::parse_from(["x"]).report.output.path, Path::new("writeup.html"));
    let folder = tempfile::tempdir().unwrap();
    assert!(writable(&folder.path().join("a.md")).is_ok());
    assert!(writable(folder.path()).is_err());
    assert!(writable(&folder.path().join("none/a.md")).is_err());
}

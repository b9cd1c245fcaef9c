use kennel_cost::{Measured, Span};
use serde_json::json;

use super::estimate::What;
use super::*;
use crate::testing::{Seen, Server, ok};

#[derive(Debug, clap::Parser)]
struct Line {
    #[command(subcommand)]
    verb: Verb,
}

fn parsed(words: &str) -> Verb {
    let words = std::iter::once("cost").chain(words.split(' '));
    <Line as clap::Parser>::try_parse_from(words).unwrap().verb
}

#[test]
fn times_are_read_with_their_unit() {
    for (given, expected) in
        [("90", 90.0), ("90s", 90.0), ("1.5m", 90.0), ("2h", 7200.0), ("1d", 86_400.0), ("0", 0.0)]
    {
        assert_eq!(seconds(given), Ok(expected), "{given}");
    }
    for wrong in ["", "h", "-1s", "3y", "1e99h", "nan", "infs", "1h30"] {
        assert!(seconds(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn arguments_that_contradict_each_other_are_refused() {
    for words in [
        "advise",
        "advise job --time 3s",
        "estimate endpoint --average-instances 2 --at 1=3",
        "estimate endpoint --at 1:3",
        "estimate endpoint --at -1=3",
        "advise --time 3s --model alexnet",
    ] {
        let words = std::iter::once("cost").chain(words.split(' '));
        assert!(<Line as clap::Parser>::try_parse_from(words).is_err());
    }
    let Verb::Estimate(What::Endpoint(_)) = parsed("estimate endpoint --at 1=600 --at 3=130")
    else {
        panic!("not an endpoint");
    };
}

#[test]
fn an_ended_job_has_a_bill() {
    let job = json!({
        "TrainingJobArn": "arn:aws:sagemaker:us-west-2:1:training-job/j", "BillableTimeInSeconds": 96,
        "ResourceConfig": {"InstanceType": "ml.m5.xlarge", "InstanceCount": 2},
    });
    let said = bill(&Catalogue::built_in(), &job).unwrap();
    assert!(
        said.starts_with("96 billable seconds at ml.m5.xlarge × 2: $0.0123 (us-west-2"),
        "{said}"
    );
    assert_eq!(of_job(&json!({"ResourceConfig": job["ResourceConfig"]})), None);
}

/// An endpoint of two instances that nobody asks, one that is asked, a job, a function and a notebook.
fn platform(seen: &Seen) -> crate::testing::Reply {
    let body: Value = serde_json::from_slice(&seen.body).unwrap_or_default();
    let target = seen.header("x-amz-target").unwrap_or_default();
    let answer = match target.rsplit('.').next().unwrap_or_default() {
        "ListEndpoints" => json!({"Endpoints": [
            {"EndpointName": "idle", "EndpointStatus": "InService", "CreationTime": 1000.0, "EndpointArn": "arn:idle"},
            {"EndpointName": "busy", "EndpointStatus": "InService", "CreationTime": 1000.0, "EndpointArn": "arn:busy"},
            {"EndpointName": "gone", "EndpointStatus": "Failed", "CreationTime": 1000.0, "EndpointArn": "arn:gone"},
        ]}),
        "DescribeEndpoint" => json!({
            "EndpointArn": format!("arn:aws:sagemaker:us-east-1:1:endpoint/{}", body["EndpointName"].as_str().unwrap()),
            "EndpointConfigName": "c",
            "ProductionVariants": [{"VariantName": "v", "CurrentInstanceCount": 2}],
        }),
        "DescribeEndpointConfig" => json!({
            "ProductionVariants": [{"VariantName": "v", "InstanceType": "ml.m5.large"}],
        }),
        "DescribeScalableTargets" => json!({"ScalableTargets": [
            {"ResourceId": "endpoint/busy/variant/v", "MinCapacity": 1, "MaxCapacity": 3},
        ]}),
        "ListTags" if body["ResourceArn"] == "arn:idle" => {
            json!({"Tags": [{"Key": "kennel:idle-timeout", "Value": "1800"}]})
        }
        "ListTags" => json!({"Tags": []}),
        "GetMetricStatistics" => {
            let of = body["Dimensions"].to_string();
            match of.contains("busy") || of.contains("\"asked\"") {
                true => json!({"Datapoints": [{"Sum": 3.0, "Average": 41.5}]}),
                false => json!({"Datapoints": []}),
            }
        }
        "ListTrainingJobs" => json!({"TrainingJobSummaries": [{"TrainingJobName": "j"}]}),
        "DescribeTrainingJob" => json!({
            "TrainingJobArn": "arn:aws:sagemaker:us-east-1:1:training-job/j", "SecondaryStatus": "Training",
            "ResourceConfig": {"InstanceType": "ml.x9.huge", "InstanceCount": 1},
        }),
        "ListNotebookInstances" => json!({"NotebookInstances": [
            {"NotebookInstanceName": "n", "NotebookInstanceStatus": "InService", "InstanceType": "ml.t3.medium"},
            {"NotebookInstanceName": "m", "NotebookInstanceStatus": "Stopped", "InstanceType": "ml.t3.medium"},
        ]}),
        _ if seen.line.contains("/provisioned-concurrency") => {
            json!({"ProvisionedConcurrencyConfigs": [
                {"FunctionArn": "arn:aws:lambda:us-east-1:1:function:asked:live", "RequestedProvisionedConcurrentExecutions": 2},
            ]})
        }
        _ if seen.line.contains("/configuration") => json!({
            "FunctionName": "asked", "MemorySize": 1024, "Architectures": ["arm64"],
            "FunctionArn": "arn:aws:lambda:us-east-1:1:function:asked",
        }),
        _ if seen.line.contains("/functions") => json!({"Functions": [
            {"FunctionName": "asked", "MemorySize": 1024, "FunctionArn": "arn:aws:lambda:us-east-1:1:function:asked"},
        ]}),
        _ => json!({}),
    };
    ok(&answer.to_string())
}

#[test]
fn what_is_up_is_looked_at_with_its_price_and_whether_anybody_uses_it() {
    let server = Server::start(|seen, _| platform(seen));
    let client = server.client();
    let (up, notes) = running::look(&client, &Catalogue::built_in()).unwrap();
    assert!(notes.is_empty(), "{notes:?}");
    let of = |name: &str| up.iter().find(|one| one.name == name).unwrap();
    assert_eq!(up.len(), 5, "{up:#?}");
    assert!(of("idle").idle && of("idle").idle_timeout == Some(1800));
    assert!(!of("busy").idle && of("busy").idle_timeout.is_none());
    assert_eq!(of("busy").hourly, Some(0.23));
    assert_eq!(of("n").hourly, Some(0.05));
    // Two of 1 GB for an hour.
    assert!((of("asked:live").hourly.unwrap() - 2.0 * 3600.0 * 0.000_004_166_7).abs() < 1e-9);
    let unknown = of("j").unknown.as_deref().unwrap();
    assert!(unknown.contains("`ml.x9.huge`") && of("j").hourly.is_none());
}

#[test]
fn an_endpoints_policy_and_a_functions_settings_are_taken_over() {
    let server = Server::start(|seen, _| platform(seen));
    let fleets = facts::fleets(&server.client(), "busy").unwrap();
    assert_eq!((fleets.len(), fleets[0].count, fleets[0].bounds), (1, 2, Some((1, 3))));
    assert_eq!(facts::provisioned(&server.client(), "asked").unwrap(), [("live".to_owned(), 2)]);
    assert_eq!(facts::average_duration_ms(&server.client(), "asked").unwrap(), Some(41.5));
    assert_eq!(facts::average_duration_ms(&server.client(), "never").unwrap(), None);
}

fn told() -> measured::Told {
    measured::Told { epochs: 1.0, batch: 32.0, cores: Some(2.0), ..measured::Told::default() }
}

#[test]
fn a_run_of_the_trainer_is_taken_apart() {
    let folder = tempfile::tempdir().unwrap();
    let write = |computed: u32| {
        let text = json!({
            "features": {"cached": 0, "computed": computed, "seconds_decode": 20.0,
                "seconds_preprocess": 10.0, "seconds_engine": 90.0},
            "seconds": {"features": 60.0, "head": 30.0, "total": 100.0},
        });
        std::fs::write(folder.path().join("metrics.json"), text.to_string()).unwrap();
    };
    write(1000);
    let told = measured::Told { model: kennel_cost::model_of("ResNet-50"), ..told() };
    let Measured { seconds, parallel, network, flop, .. } =
        measured::of_metrics(folder.path(), &told).unwrap();
    assert_eq!((seconds, flop), (100.0, Some(8.2e12)));
    assert!((network.mid - 0.45).abs() < 1e-9 && (parallel.mid - 0.75).abs() < 1e-9);
    write(0);
    let error = measured::of_metrics(folder.path(), &told).unwrap_err().to_string();
    assert!(error.contains("cache"), "{error}");
    std::fs::write(folder.path().join("metrics.json"), "[]").unwrap();
    assert!(measured::of_metrics(folder.path(), &told).is_err());
}

#[test]
fn a_job_ran_here_or_at_aws() {
    let catalogue = Catalogue::built_in();
    let job = |kind: &str| {
        json!({
            "TrainingJobName": "j", "BillableTimeInSeconds": 600,
            "ResourceConfig": {"InstanceType": kind, "InstanceCount": 2},
        })
    };
    let at_aws = measured::of_job(&job("ml.m5.xlarge"), &catalogue, true, &told()).unwrap();
    assert_eq!((at_aws.cores, at_aws.core.mid), (8.0, 1.0));
    let gpu = measured::of_job(&job("ml.p3.2xlarge"), &catalogue, true, &told()).unwrap_err();
    assert!(matches!(gpu, ClientError::NotImplemented(_)));
    let here = measured::of_job(&job("ml.p3.2xlarge"), &catalogue, false, &told()).unwrap();
    assert_eq!(here.cores, 2.0);
    let running = json!({"TrainingJobName": "j", "ResourceConfig": {}});
    assert!(measured::of_job(&running, &catalogue, false, &told()).is_err());
}

#[test]
fn the_page_names_the_types_and_lets_nothing_through() {
    let catalogue = Catalogue::built_in();
    let measured = Measured {
        seconds: 600.0,
        cores: 2.0,
        core: Span::exactly(1.0),
        parallel: Span::exactly(0.9),
        network: Span::exactly(0.6),
        flop: None,
        what: "<script>".to_owned(),
    };
    let need = measured::need(&told());
    let options = kennel_cost::AdviseOptions {
        usage: Usage::Training,
        region: "us-east-1",
        count: 1,
        times: 1.0,
        overhead: Span::exactly(60.0),
        deadline_s: None,
        budget: None,
    };
    let advice = kennel_cost::advise(&catalogue, &measured, &need, &options);
    let chosen = advice.best.clone().unwrap();
    let front = advice.ranked.iter().filter(|r| r.pareto).count();
    let html = page::html(&advise::Shown { advice, measured, need, notes: vec![] });
    assert!(html.contains(&format!("<strong>{chosen}</strong>")));
    assert!(!html.contains("<script>,") && html.contains("&lt;script&gt;"));
    let plot = html.split("<svg").nth(1).and_then(|rest| rest.split("</svg>").next()).unwrap();
    assert!(!plot.contains("NaN") && !plot.contains("inf"), "{plot}");
    assert_eq!(html.matches("<line class=\"span\"").count(), 2 * front);
}

#[test]
fn quantities_are_short() {
    for (value, said) in
        [(3.0, "3"), (0.0533, "0.0533"), (1234.5, "1234"), (0.5, "0.5"), (0.0, "0")]
    {
        assert_eq!(quantity(value), said);
    }
}

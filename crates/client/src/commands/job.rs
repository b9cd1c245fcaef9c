//! `kennel job`: training jobs.

mod observe;

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};

use super::logs::{Tail, TailArguments};
use super::{cost, default_bucket, image, role_arn};
use crate::client::{Client, Service};
use crate::error::ClientError;
use crate::output::{self, Spinner, byte_bar, fields, line, maybe, note, table, text, time};
use crate::s3::Location;
use crate::target::TargetArguments;
use crate::transfer;

/// How often a job is asked about.
const POLL: Duration = Duration::from_secs(1);
/// SageMaker's log group of training jobs.
const LOG_GROUP: &str = "/aws/sagemaker/TrainingJobs";
/// Disk of an instance in GB; the API wants a number.
const VOLUME_GB: u32 = 30;

/// Arguments of `kennel job`.
#[derive(Debug, Args)]
pub struct Arguments {
    #[command(flatten)]
    target: TargetArguments,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Start a training job
    Start(Box<StartArguments>),
    /// Jobs, newest first
    Ls {
        /// At most so many
        #[arg(long, value_name = "N", default_value_t = 20)]
        limit: usize,
        /// Print JSON
        #[arg(long)]
        json: bool,
        /// Draw again until no job runs any more
        #[arg(long, conflicts_with = "json")]
        watch: bool,
    },
    /// One job: state, metrics, artifact
    Show {
        /// Name
        name: String,
        /// Print JSON
        #[arg(long)]
        json: bool,
        /// Draw again until the job has ended
        #[arg(long, conflicts_with = "json")]
        watch: bool,
    },
    /// A job's log
    Logs {
        /// Name
        name: String,
        #[command(flatten)]
        tail: TailArguments,
    },
    /// Stop a job
    Stop {
        /// Name
        name: String,
        /// Wait until it has stopped
        #[arg(long)]
        wait: bool,
    },
    /// Wait until a job has ended; fails if the job did
    Wait {
        /// Name
        name: String,
    },
    /// A job's profiler report: what it did with the machine, and what to change
    Profile {
        /// Name
        name: String,
        /// File for the report [default: NAME-profile.html]
        #[arg(long, short, value_name = "FILE")]
        output: Option<PathBuf>,
    },
}

/// Arguments of `kennel job start`.
#[derive(Debug, Args)]
struct StartArguments {
    /// Name of the job
    name: String,
    /// Photos: a place in S3 or a folder, which is uploaded; CHANNEL= before it, `train` if left out
    #[arg(long, required = true, value_name = "[CHANNEL=]s3://…|DIR")]
    data: Vec<String>,
    /// Training image; image-classification is Kennel's own
    #[arg(long, default_value = "image-classification")]
    image: String,
    /// Instance type
    #[arg(long, default_value = "ml.m5.large", value_name = "TYPE")]
    instance_type: String,
    /// Instances
    #[arg(long, default_value_t = 1, value_name = "N")]
    instance_count: u32,
    /// Hyperparameter; repeatable
    #[arg(long = "hyperparameter", short = 'H', value_name = "NAME=VALUE", value_parser = assignment)]
    hyperparameters: Vec<(String, String)>,
    /// Where the model goes [default: jobs/ in the default bucket]
    #[arg(long, value_name = "s3://…")]
    output: Option<String>,
    /// Execution role, name or ARN [default: the platform's]
    #[arg(long, value_name = "ROLE")]
    role: Option<String>,
    /// Seconds after which the job is stopped
    #[arg(long, default_value_t = 86_400, value_name = "SECONDS")]
    max_runtime: u32,
    /// Wait until it has ended
    #[arg(long)]
    wait: bool,
    #[command(flatten, next_help_heading = "Debugger and profiler")]
    observe: observe::ObserveArguments,
}

fn assignment(given: &str) -> Result<(String, String), String> {
    match given.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("expected NAME=VALUE, as in epochs=3".to_owned()),
    }
}

pub(super) fn run(arguments: Arguments) -> Result<(), ClientError> {
    let client = Client::new(arguments.target.resolve()?);
    match arguments.verb {
        Verb::Start(start_arguments) => start(&client, *start_arguments),
        Verb::Ls { limit, json, watch } => ls(&client, limit, json, watch),
        Verb::Show { name, json: true, .. } => {
            output::json(&describe(&client, &name)?);
            Ok(())
        }
        Verb::Show { name, watch: true, .. } => output::watch(POLL, || {
            let job = describe(&client, &name)?;
            Ok((shown(&job), is_final(&job)))
        }),
        Verb::Show { name, .. } => {
            line(shown(&describe(&client, &name)?));
            Ok(())
        }
        Verb::Logs { name, tail } => {
            // An unknown job has no log, which would look like an empty one.
            describe(&client, &name)?;
            let follow = tail.follow();
            let mut events = Tail::new(LOG_GROUP.to_owned(), Some(format!("{name}/")), &tail);
            events.may_be_absent = true;
            events.run(&client, || Ok(!follow || is_final(&describe(&client, &name)?)))
        }
        Verb::Stop { name, wait } => {
            let body = json!({"TrainingJobName": name});
            client.json(Service::SageMaker, "StopTrainingJob", &body)?;
            if wait {
                let job = until_final(&client, &name)?;
                note(format!("{name}: {}", text(&job, "TrainingJobStatus")));
            } else {
                note(format!("{name} is stopping"));
            }
            Ok(())
        }
        Verb::Wait { name } => wait(&client, &name),
        Verb::Profile { name, output } => {
            observe::profile(&client, &describe(&client, &name)?, output)
        }
    }
}

fn describe(client: &Client, name: &str) -> Result<Value, ClientError> {
    client.json(Service::SageMaker, "DescribeTrainingJob", &json!({"TrainingJobName": name}))
}

fn is_final(job: &Value) -> bool {
    matches!(job["TrainingJobStatus"].as_str(), Some("Completed" | "Failed" | "Stopped"))
}

fn start(client: &Client, arguments: StartArguments) -> Result<(), ClientError> {
    let name = &arguments.name;
    let image = image(client, &arguments.image)?;
    let role = role_arn(client, arguments.role.as_deref())?;
    let output = match &arguments.output {
        Some(place) => Location::parse(place)?.to_string(),
        None => default_bucket(client)?.with_key("jobs/").to_string(),
    };
    let mut channels = Vec::new();
    for given in &arguments.data {
        let (channel, place) = channel(given);
        let uri = if Location::is_one(place) {
            Location::parse(place)?.to_string()
        } else {
            upload(client, Path::new(place), name, channel)?
        };
        channels.push(json!({
            "ChannelName": channel,
            "DataSource": {"S3DataSource": {
                "S3DataType": "S3Prefix", "S3Uri": uri, "S3DataDistributionType": "FullyReplicated",
            }},
        }));
    }
    let hyperparameters: Map<String, Value> =
        arguments.hyperparameters.into_iter().map(|(k, v)| (k, v.into())).collect();
    let observed = arguments.observe.members(&output);
    let mut body = json!({
        "TrainingJobName": name,
        "AlgorithmSpecification": {"TrainingImage": image, "TrainingInputMode": "File"},
        "RoleArn": role,
        "HyperParameters": hyperparameters,
        "InputDataConfig": channels,
        "OutputDataConfig": {"S3OutputPath": output},
        "ResourceConfig": {
            "InstanceCount": arguments.instance_count,
            "InstanceType": arguments.instance_type,
            "VolumeSizeInGB": VOLUME_GB,
        },
        "StoppingCondition": {"MaxRuntimeInSeconds": arguments.max_runtime},
    });
    if let Value::Object(body) = &mut body {
        body.extend(observed);
    }
    let answer = client.json(Service::SageMaker, "CreateTrainingJob", &body)?;
    line(text(&answer, "TrainingJobArn"));
    if arguments.wait {
        return wait(client, name);
    }
    note(format!("started {name}; follow it with `kennel job logs {name} --follow`"));
    Ok(())
}

/// `CHANNEL=PLACE`; a place may hold a `=` itself, a channel's name holds no slash.
fn channel(given: &str) -> (&str, &str) {
    match given.split_once('=') {
        Some((channel, place)) if !channel.is_empty() && !channel.contains(['/', ':', '.']) => {
            (channel, place)
        }
        _ => ("train", given),
    }
}

/// Puts a folder into the default bucket and says where.
fn upload(client: &Client, folder: &Path, job: &str, channel: &str) -> Result<String, ClientError> {
    if !folder.is_dir() {
        return Err(ClientError::Usage(format!(
            "`{}` is no folder and no place in S3\nhint: --data takes s3://bucket/prefix or a folder of photos",
            folder.display()
        )));
    }
    let to = default_bucket(client)?.with_key(format!("jobs/{job}/data/{channel}/"));
    let pairs = transfer::plan_upload(folder, &to)?;
    if pairs.is_empty() {
        return Err(ClientError::Usage(format!("`{}` is empty", folder.display())));
    }
    let total = pairs.iter().filter_map(|p| std::fs::metadata(&p.path).ok()).map(|m| m.len()).sum();
    let bar = byte_bar("upload", total);
    transfer::upload(client, &pairs, &|n| bar.inc(n))?;
    bar.finish_and_clear();
    note(format!("{} files to {to}", pairs.len()));
    Ok(to.to_string())
}

fn ls(client: &Client, limit: usize, json: bool, watch: bool) -> Result<(), ClientError> {
    let rows = || -> Result<Vec<Value>, ClientError> {
        let mut body = json!({
            "SortBy": "CreationTime", "SortOrder": "Descending", "MaxResults": limit.clamp(1, 100),
        });
        let mut all = Vec::new();
        loop {
            let page = client.json(Service::SageMaker, "ListTrainingJobs", &body)?;
            all.extend(page["TrainingJobSummaries"].as_array().cloned().unwrap_or_default());
            match page["NextToken"].as_str() {
                Some(next) if all.len() < limit && body["NextToken"] != next => {
                    body["NextToken"] = next.into();
                }
                _ => break,
            }
        }
        all.truncate(limit);
        Ok(all)
    };
    if json {
        output::json(&rows()?.into());
        return Ok(());
    }
    let draw = |all: &[Value]| {
        let row = |job: &Value| {
            [
                text(job, "TrainingJobName"),
                text(job, "TrainingJobStatus"),
                time(&job["CreationTime"]),
                time(&job["TrainingEndTime"]),
            ]
        };
        table(["name", "status", "created", "ended"], all.iter().map(row))
    };
    if !watch {
        line(draw(&rows()?));
        return Ok(());
    }
    output::watch(POLL * 2, || {
        let all = rows()?;
        Ok((draw(&all), all.iter().all(is_final)))
    })
}

fn shown(job: &Value) -> String {
    let seconds = |name: &str| job[name].as_f64().map(|s| format!("{s} s"));
    let status = match (text(job, "TrainingJobStatus"), text(job, "SecondaryStatus")) {
        (status, second) if second.is_empty() || second == status => status,
        (status, second) => format!("{status} ({second})"),
    };
    let resources = &job["ResourceConfig"];
    let algorithm = &job["AlgorithmSpecification"];
    let mut all = fields(&[
        ("name", maybe(job, "TrainingJobName")),
        ("status", Some(status)),
        ("reason", maybe(job, "FailureReason")),
        ("message", last_message(job)),
        ("image", maybe(algorithm, "TrainingImage")),
        (
            "instances",
            Some(format!(
                "{} × {}",
                text(resources, "InstanceCount"),
                text(resources, "InstanceType")
            )),
        ),
        ("created", Some(time(&job["CreationTime"]))),
        ("ended", Some(time(&job["TrainingEndTime"])).filter(|t| !t.is_empty())),
        ("training", seconds("TrainingTimeInSeconds")),
        ("billable", seconds("BillableTimeInSeconds")),
        ("on AWS", cost::of_job(job)),
        ("artifact", maybe(&job["ModelArtifacts"], "S3ModelArtifacts")),
    ]);
    let metrics = job["FinalMetricDataList"].as_array().into_iter().flatten();
    let rows: Vec<[String; 2]> =
        metrics.map(|m| [text(m, "MetricName"), text(m, "Value")]).collect();
    if !rows.is_empty() {
        all.push_str("\n\n");
        all.push_str(&table(["metric", "last value"], rows));
    }
    if let Some(rules) = observe::rules_table(job) {
        all.push_str("\n\n");
        all.push_str(&rules);
    }
    all
}

fn last_message(job: &Value) -> Option<String> {
    let last = job["SecondaryStatusTransitions"].as_array()?.last()?;
    maybe(last, "StatusMessage")
}

fn until_final(client: &Client, name: &str) -> Result<Value, ClientError> {
    let mut spinner = Spinner::start();
    loop {
        let job = describe(client, name)?;
        if is_final(&job) {
            return Ok(job);
        }
        let message = last_message(&job).unwrap_or_default();
        spinner.say(format!("{name}: {} {message}", text(&job, "SecondaryStatus")));
        std::thread::sleep(POLL);
    }
}

fn wait(client: &Client, name: &str) -> Result<(), ClientError> {
    let job = until_final(client, name)?;
    match job["TrainingJobStatus"].as_str() {
        Some("Failed") => Err(ClientError::Failed(format!(
            "job `{name}` failed: {}\nhint: see `kennel job logs {name}`",
            text(&job, "FailureReason")
        ))),
        _ => {
            line(shown(&job));
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Server, ok};

    #[test]
    fn channels_and_hyperparameters_are_split() {
        assert_eq!(channel("s3://b/x=1"), ("train", "s3://b/x=1"));
        assert_eq!(channel("validation=s3://b/v"), ("validation", "s3://b/v"));
        assert_eq!(channel("./a=b/c"), ("train", "./a=b/c"));
        assert_eq!(assignment("lr=0.1=x"), Ok(("lr".into(), "0.1=x".into())));
        assert!(assignment("=1").is_err());
    }

    #[test]
    fn a_started_job_has_every_member() {
        let server = Server::start(|seen, _| match seen.header("x-amz-target") {
            Some(_) => ok(r#"{"TrainingJobArn":"arn:job"}"#),
            None => ok("<R><GetRoleResult><Role><Arn>arn:role</Arn></Role></GetRoleResult></R>"),
        });
        let arguments = StartArguments {
            name: "j".into(),
            data: vec!["s3://dogs/train".into(), "validation=s3://dogs/valid".into()],
            image: "image-classification".into(),
            instance_type: "ml.m5.large".into(),
            instance_count: 2,
            hyperparameters: vec![("epochs".into(), "3".into())],
            output: Some("s3://dogs/out".into()),
            role: None,
            max_runtime: 60,
            wait: false,
            observe: observe::ObserveArguments {
                rules: Vec::new(),
                stop_on_issue: false,
                save_interval: 50,
                no_profile: true,
            },
        };
        start(&server.client(), arguments).unwrap();
        let seen = server.seen();
        let body: Value = serde_json::from_slice(&seen.last().unwrap().body).unwrap();
        assert_eq!(
            body["AlgorithmSpecification"]["TrainingImage"],
            "kennel/image-classification:1"
        );
        assert_eq!(body["RoleArn"], "arn:role");
        assert_eq!(body["HyperParameters"], json!({"epochs": "3"}));
        assert_eq!(body["InputDataConfig"][1]["ChannelName"], "validation");
        assert_eq!(body["OutputDataConfig"]["S3OutputPath"], "s3://dogs/out");
    }

    #[test]
    fn waiting_for_a_failed_job_fails() {
        let server = Server::replies(vec![ok(
            r#"{"TrainingJobStatus":"Failed","FailureReason":"AlgorithmError: no photos"}"#,
        )]);
        let error = wait(&server.client(), "j").unwrap_err();
        assert!(error.to_string().contains("no photos"), "{error}");
    }
}

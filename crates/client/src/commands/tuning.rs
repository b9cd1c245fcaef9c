//! `kennel tuning`: tuning jobs and their trials; [`tune`] is the platform's half of `kennel tune`.

mod start;

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::client::{Client, Service};
use crate::error::ClientError;
use crate::output::{self, Spinner, fields, line, maybe, note, table, text, time};
use crate::s3::Location;
use crate::target::TargetArguments;

pub use start::{TuningRange, TuningRequest, tune};

/// How often a tuning job is asked about.
const POLL: Duration = Duration::from_secs(1);
/// The member of a trial that holds its objective.
const OBJECTIVE: &str = "FinalHyperParameterTuningJobObjectiveMetric";

/// Arguments of `kennel tuning`.
#[derive(Debug, Args)]
pub struct Arguments {
    #[command(flatten)]
    target: TargetArguments,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Tuning jobs, newest first
    #[command(alias = "list")]
    Ls {
        /// At most so many
        #[arg(long, value_name = "N", default_value_t = 20)]
        limit: usize,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// One tuning job: state, and its trials, best first
    #[command(alias = "describe")]
    Show {
        /// Name
        name: String,
        /// Print JSON
        #[arg(long)]
        json: bool,
        /// Draw again until it has ended
        #[arg(long, conflicts_with = "json")]
        watch: bool,
    },
    /// Stop a tuning job and the trials that run
    Stop {
        /// Name
        name: String,
        /// Wait until it has stopped
        #[arg(long)]
        wait: bool,
    },
    /// Wait until a tuning job has ended; fails if it did
    Wait {
        /// Name
        name: String,
    },
    /// Fetch the report of a tuning job that has ended: trials, curves, importance of the hyperparameters
    Report {
        /// Name
        name: String,
        /// Where to [default: NAME-report.html]
        #[arg(long, short, value_name = "FILE")]
        output: Option<PathBuf>,
    },
}

pub(super) fn run(arguments: Arguments) -> Result<(), ClientError> {
    let client = Client::new(arguments.target.resolve()?);
    match arguments.verb {
        Verb::Ls { limit, json } => ls(&client, limit, json),
        Verb::Show { name, json: true, .. } => {
            let mut job = describe(&client, &name)?;
            job["TrainingJobSummaries"] = trials(&client, &job)?.into();
            output::json(&job);
            Ok(())
        }
        Verb::Show { name, watch: true, .. } => output::watch(POLL, || {
            let job = describe(&client, &name)?;
            Ok((shown(&job, &trials(&client, &job)?), is_final(&job)))
        }),
        Verb::Show { name, .. } => {
            let job = describe(&client, &name)?;
            line(shown(&job, &trials(&client, &job)?));
            Ok(())
        }
        Verb::Stop { name, wait } => {
            let body = json!({"HyperParameterTuningJobName": name});
            client.json(Service::SageMaker, "StopHyperParameterTuningJob", &body)?;
            if wait {
                let job = until_final(&client, &name)?;
                note(format!("{name}: {}", text(&job, "HyperParameterTuningJobStatus")));
            } else {
                note(format!("{name} is stopping"));
            }
            Ok(())
        }
        Verb::Wait { name } => wait(&client, &name),
        Verb::Report { name, output } => {
            let job = describe(&client, &name)?;
            let path = output.unwrap_or_else(|| PathBuf::from(format!("{name}-report.html")));
            report(&client, &job, &path)?;
            line(path.display());
            Ok(())
        }
    }
}

pub(super) fn describe(client: &Client, name: &str) -> Result<Value, ClientError> {
    let body = json!({"HyperParameterTuningJobName": name});
    client.json(Service::SageMaker, "DescribeHyperParameterTuningJob", &body)
}

fn is_final(job: &Value) -> bool {
    matches!(
        job["HyperParameterTuningJobStatus"].as_str(),
        Some("Completed" | "Failed" | "Stopped")
    )
}

/// All pages of a list, or as many items as are wanted.
fn all(
    client: &Client,
    operation: &str,
    member: &str,
    mut body: Value,
    limit: usize,
) -> Result<Vec<Value>, ClientError> {
    let mut found = Vec::new();
    loop {
        let page = client.json(Service::SageMaker, operation, &body)?;
        found.extend(page[member].as_array().cloned().unwrap_or_default());
        match page["NextToken"].as_str() {
            Some(next) if found.len() < limit && body["NextToken"] != next => {
                body["NextToken"] = next.into();
            }
            _ => break,
        }
    }
    found.truncate(limit);
    Ok(found)
}

fn ls(client: &Client, limit: usize, json: bool) -> Result<(), ClientError> {
    let body = json!({
        "SortBy": "CreationTime", "SortOrder": "Descending", "MaxResults": limit.clamp(1, 100),
    });
    let member = "HyperParameterTuningJobSummaries";
    let jobs = all(client, "ListHyperParameterTuningJobs", member, body, limit)?;
    if json {
        output::json(&jobs.into());
        return Ok(());
    }
    let row = |job: &Value| {
        [
            text(job, "HyperParameterTuningJobName"),
            text(job, "HyperParameterTuningJobStatus"),
            text(job, "Strategy"),
            progress(job),
            time(&job["CreationTime"]),
            time(&job["HyperParameterTuningEndTime"]),
        ]
    };
    line(table(["name", "status", "strategy", "trials", "created", "ended"], jobs.iter().map(row)));
    Ok(())
}

/// `7/20`: trials that have ended, of how many.
fn progress(job: &Value) -> String {
    let counters = &job["TrainingJobStatusCounters"];
    let count = |name: &str| counters[name].as_u64().unwrap_or(0);
    let ended = count("Completed") + count("NonRetryableError") + count("Stopped");
    let limits = match &job["ResourceLimits"] {
        Value::Null => &job["HyperParameterTuningJobConfig"]["ResourceLimits"],
        own => own,
    };
    match limits["MaxNumberOfTrainingJobs"].as_u64() {
        Some(most) => format!("{ended}/{most}"),
        None => ended.to_string(),
    }
}

/// The first definition; all write their models below the same kind of path.
fn definition(job: &Value) -> &Value {
    match &job["TrainingJobDefinition"] {
        Value::Null => &job["TrainingJobDefinitions"][0],
        one => one,
    }
}

/// The objective's name and whether more of it is better.
pub(super) fn objective(job: &Value) -> (String, bool) {
    let objective = match &job["HyperParameterTuningJobConfig"]["HyperParameterTuningJobObjective"]
    {
        Value::Null => &definition(job)["TuningObjective"],
        own => own,
    };
    (text(objective, "MetricName"), text(objective, "Type") == "Maximize")
}

pub(super) fn value(trial: &Value) -> Option<f64> {
    trial[OBJECTIVE]["Value"].as_f64()
}

/// The trials of a tuning job, best first; those without an objective come last, in their order.
pub(super) fn trials(client: &Client, job: &Value) -> Result<Vec<Value>, ClientError> {
    let body = json!({
        "HyperParameterTuningJobName": text(job, "HyperParameterTuningJobName"),
        "SortBy": "Name", "SortOrder": "Ascending", "MaxResults": 100,
    });
    let operation = "ListTrainingJobsForHyperParameterTuningJob";
    let mut trials = all(client, operation, "TrainingJobSummaries", body, usize::MAX)?;
    let sign = if objective(job).1 { -1.0 } else { 1.0 };
    let cost = |trial: &Value| value(trial).map_or(f64::INFINITY, |v| sign * v);
    trials.sort_by(|a, b| cost(a).total_cmp(&cost(b)));
    Ok(trials)
}

fn shown(job: &Value, trials: &[Value]) -> String {
    let config = &job["HyperParameterTuningJobConfig"];
    let (metric, more) = objective(job);
    let best = &job["BestTrainingJob"];
    let goal = if more { "maximize" } else { "minimize" };
    let seconds = job["ConsumedResources"]["RuntimeInSeconds"].as_f64().map(|s| format!("{s} s"));
    let mut all = fields(&[
        ("name", maybe(job, "HyperParameterTuningJobName")),
        ("status", maybe(job, "HyperParameterTuningJobStatus")),
        ("reason", maybe(job, "FailureReason")),
        ("strategy", maybe(config, "Strategy")),
        ("objective", Some(format!("{goal} {metric}"))),
        ("trials", Some(progress(job))),
        ("created", Some(time(&job["CreationTime"]))),
        ("ended", Some(time(&job["HyperParameterTuningEndTime"])).filter(|t| !t.is_empty())),
        ("runtime", seconds),
        ("best", maybe(best, "TrainingJobName")),
    ]);
    if !trials.is_empty() {
        all.push_str("\n\n");
        all.push_str(&trial_table(&metric, trials));
    }
    all
}

fn trial_table(metric: &str, trials: &[Value]) -> String {
    let row = |trial: &Value| {
        let tuned = trial["TunedHyperParameters"].as_object();
        let tuned: Vec<String> = tuned
            .into_iter()
            .flatten()
            .map(|(name, value)| format!("{name}={}", short(value.as_str().unwrap_or_default())))
            .collect();
        let span = |name: &str| trial[name].as_f64();
        let seconds = match (span("TrainingStartTime"), span("TrainingEndTime")) {
            (Some(start), Some(end)) => format!("{:.1} s", end - start),
            _ => String::new(),
        };
        [
            text(trial, "TrainingJobName"),
            text(trial, "TrainingJobStatus"),
            value(trial).map(|v| short(&v.to_string())).unwrap_or_default(),
            seconds,
            tuned.join(" "),
        ]
    };
    table(["trial", "status", metric, "took", "hyperparameters"], trials.iter().map(row))
}

/// A number with the digits that people read; anything else as it is.
fn short(text: &str) -> String {
    match text.parse::<f64>() {
        Ok(number) if text.len() > 7 && number != 0.0 && number.abs() < 1e-3 => {
            format!("{number:.3e}")
        }
        Ok(number) if text.len() > 7 => format!("{number:.5}"),
        _ => text.to_owned(),
    }
}

fn until_final(client: &Client, name: &str) -> Result<Value, ClientError> {
    let mut spinner = Spinner::start();
    loop {
        let job = describe(client, name)?;
        if is_final(&job) {
            return Ok(job);
        }
        let mut said = format!(
            "{name}: {}, {} trials",
            text(&job, "HyperParameterTuningJobStatus"),
            progress(&job)
        );
        if let Some(best) = value(&job["BestTrainingJob"]) {
            said = format!("{said}, best {} {}", objective(&job).0, short(&best.to_string()));
        }
        spinner.say(said);
        std::thread::sleep(POLL);
    }
}

fn wait(client: &Client, name: &str) -> Result<(), ClientError> {
    let job = until_final(client, name)?;
    match job["HyperParameterTuningJobStatus"].as_str() {
        Some("Failed") => Err(ClientError::Failed(format!(
            "tuning job `{name}` failed: {}\nhint: see `kennel tuning show {name}`, then `kennel job logs` of a trial",
            text(&job, "FailureReason")
        ))),
        _ => {
            line(shown(&job, &trials(client, &job)?));
            Ok(())
        }
    }
}

/// Brings a tuning job's report.
fn report(client: &Client, job: &Value, to: &Path) -> Result<(), ClientError> {
    let name = text(job, "HyperParameterTuningJobName");
    let output = text(&definition(job)["OutputDataConfig"], "S3OutputPath");
    let uri = format!("{}/{name}/tuning-report.html", output.trim_end_matches('/'));
    let at = Location::parse(&uri)?;
    if client.head_object(&at)?.is_none() {
        let why = match is_final(job) {
            true => {
                format!("nothing is at `{uri}`\nhint: only Kennel's own platform makes reports")
            }
            false => format!(
                "it is {}\nhint: the report is made when the tuning job ends; `kennel tuning wait {name}`",
                text(job, "HyperParameterTuningJobStatus")
            ),
        };
        return Err(ClientError::Failed(format!("tuning job `{name}` has no report: {why}")));
    }
    client.get_file(&at, to, &|_| {}).map(|_| ())
}

#[cfg(test)]
mod tests;

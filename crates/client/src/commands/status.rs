//! `kennel status`.

use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};

use crate::client::{Client, Service};
use crate::error::ClientError;
use crate::output::{self, fields, line};
use crate::target::{ServerRecord, TargetArguments};

/// Arguments of `kennel status`.
#[derive(Debug, Args)]
pub struct Arguments {
    #[command(flatten)]
    target: TargetArguments,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Draw again every two seconds
    #[arg(long, conflicts_with = "json")]
    watch: bool,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), ClientError> {
    if arguments.watch {
        return output::watch(Duration::from_secs(2), || Ok((shown(&state(arguments)?), false)));
    }
    let state = state(arguments).inspect_err(|error| {
        if let (true, ClientError::NotRunning { reason }) = (arguments.json, error) {
            output::json(&json!({"running": false, "reason": reason}));
        }
    })?;
    if arguments.json {
        output::json(&state);
    } else {
        line(shown(&state));
    }
    Ok(())
}

/// What is known of the server and what it says itself. The identity call proves that it answers.
fn state(arguments: &Arguments) -> Result<Value, ClientError> {
    let target = arguments.target.resolve()?;
    let record = match &target.data_dir {
        Some(folder) => ServerRecord::read(folder)?,
        None => None,
    };
    let client = Client::new(target);
    let identity = client.query(Service::Sts, "GetCallerIdentity", &[])?;
    let target = client.target();
    let count = |operation: &str, member: &str, field: &str, active: &[&str]| {
        match client.json_pages(Service::SageMaker, operation, &json!({"MaxResults": 100}), member)
        {
            Ok(all) => {
                let is_active = |v: &&Value| v[field].as_str().is_some_and(|s| active.contains(&s));
                json!({"total": all.len(), "active": all.iter().filter(is_active).count()})
            }
            // One service that cannot be asked does not hide the others.
            Err(error) => json!({"error": error.to_string()}),
        }
    };
    let buckets = match client.list_buckets() {
        Ok(all) => json!({"total": all.len()}),
        Err(error) => json!({"error": error.to_string()}),
    };
    Ok(json!({
        "running": true,
        "url": target.endpoint.clone().unwrap_or_else(|| "AWS".to_owned()),
        "pid": record.as_ref().map(|r| r.pid),
        "version": record.as_ref().and_then(|r| r.version.clone()),
        "region": target.region,
        "account": identity.text("Account"),
        "identity": identity.text("Arn"),
        "data_dir": target.data_dir.as_ref().map(|d| d.display().to_string()),
        "buckets": buckets,
        "jobs": count("ListTrainingJobs", "TrainingJobSummaries", "TrainingJobStatus", &["InProgress", "Stopping"]),
        "endpoints": count("ListEndpoints", "Endpoints", "EndpointStatus", &["InService"]),
    }))
}

fn shown(state: &Value) -> String {
    let counted = |name: &str, word: &str| {
        let part = &state[name];
        Some(match (part["total"].as_u64(), part["active"].as_u64()) {
            (Some(total), Some(active)) => format!("{total} ({active} {word})"),
            (Some(total), None) => total.to_string(),
            _ => format!("? ({})", output::text(part, "error").lines().next().unwrap_or_default()),
        })
    };
    fields(&[
        ("address", output::maybe(state, "url")),
        ("pid", output::maybe(state, "pid")),
        ("version", output::maybe(state, "version")),
        ("region", output::maybe(state, "region")),
        ("account", output::maybe(state, "account")),
        ("identity", output::maybe(state, "identity")),
        ("data", output::maybe(state, "data_dir")),
        ("buckets", counted("buckets", "")),
        ("jobs", counted("jobs", "running")),
        ("endpoints", counted("endpoints", "in service")),
    ])
}

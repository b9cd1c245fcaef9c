//! `kennel endpoint`.

use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::logs::{Tail, TailArguments};
use crate::client::{Client, Service};
use crate::error::ClientError;
use crate::output::{self, Spinner, fields, line, maybe, note, table, text, time};
use crate::target::TargetArguments;

/// How often an endpoint is asked about; the local one starts in less than a second.
const POLL: Duration = Duration::from_millis(300);

/// Arguments of `kennel endpoint`.
#[derive(Debug, Args)]
pub struct Arguments {
    #[command(flatten)]
    target: TargetArguments,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Endpoints, newest first
    Ls {
        /// Print JSON
        #[arg(long)]
        json: bool,
        /// Draw again until all are settled
        #[arg(long, conflicts_with = "json")]
        watch: bool,
    },
    /// One endpoint: state, variants, instances
    Show {
        /// Name
        name: String,
        /// Print JSON
        #[arg(long)]
        json: bool,
        /// Draw again until it is settled
        #[arg(long, conflicts_with = "json")]
        watch: bool,
    },
    /// Change a variant's number of instances or its weight
    Scale {
        /// Name
        name: String,
        /// Variant [default: the only one]
        #[arg(long)]
        variant: Option<String>,
        /// Instances
        #[arg(long, value_name = "N", required_unless_present = "weight")]
        count: Option<u32>,
        /// Share of the traffic, relative to the other variants
        #[arg(long, value_name = "W")]
        weight: Option<f32>,
        /// Do not wait until it is done
        #[arg(long)]
        no_wait: bool,
    },
    /// An endpoint's log
    Logs {
        /// Name
        name: String,
        #[command(flatten)]
        tail: TailArguments,
    },
    /// Remove an endpoint
    Rm {
        /// Name
        name: String,
        /// Remove its configuration and models too
        #[arg(long)]
        all: bool,
    },
}

pub(super) fn run(arguments: Arguments) -> Result<(), ClientError> {
    let client = Client::new(arguments.target.resolve()?);
    match arguments.verb {
        Verb::Ls { json, watch } => ls(&client, json, watch),
        Verb::Show { name, json: true, .. } => {
            output::json(&describe(&client, &name)?);
            Ok(())
        }
        Verb::Show { name, watch: true, .. } => output::watch(POLL, || {
            let endpoint = describe(&client, &name)?;
            Ok((shown(&endpoint), is_settled(&endpoint)))
        }),
        Verb::Show { name, .. } => {
            line(shown(&describe(&client, &name)?));
            Ok(())
        }
        Verb::Scale { name, variant, count, weight, no_wait } => {
            scale(&client, &name, variant, count, weight)?;
            if !no_wait {
                wait(&client, &name, None)?;
                line(shown(&describe(&client, &name)?));
            }
            Ok(())
        }
        Verb::Logs { name, tail } => {
            describe(&client, &name)?;
            let follow = tail.follow();
            let mut events = Tail::new(format!("/aws/sagemaker/Endpoints/{name}"), None, &tail);
            events.may_be_absent = true;
            events.run(&client, || Ok(!follow))
        }
        Verb::Rm { name, all } => remove(&client, &name, all),
    }
}

pub(super) fn describe(client: &Client, name: &str) -> Result<Value, ClientError> {
    client.json(Service::SageMaker, "DescribeEndpoint", &json!({"EndpointName": name}))
}

fn is_settled(endpoint: &Value) -> bool {
    !matches!(
        endpoint["EndpointStatus"].as_str(),
        Some("Creating" | "Updating" | "SystemUpdating" | "RollingBack" | "Deleting")
    )
}

fn ls(client: &Client, json: bool, watch: bool) -> Result<(), ClientError> {
    let body = json!({"SortBy": "CreationTime", "SortOrder": "Descending", "MaxResults": 100});
    let rows = || client.json_pages(Service::SageMaker, "ListEndpoints", &body, "Endpoints");
    if json {
        output::json(&rows()?.into());
        return Ok(());
    }
    let draw = |all: &[Value]| {
        let row = |e: &Value| {
            [
                text(e, "EndpointName"),
                text(e, "EndpointStatus"),
                time(&e["CreationTime"]),
                time(&e["LastModifiedTime"]),
            ]
        };
        table(["name", "status", "created", "changed"], all.iter().map(row))
    };
    if !watch {
        line(draw(&rows()?));
        return Ok(());
    }
    output::watch(Duration::from_secs(2), || {
        let all = rows()?;
        Ok((draw(&all), all.iter().all(is_settled)))
    })
}

fn shown(endpoint: &Value) -> String {
    let mut all = fields(&[
        ("name", maybe(endpoint, "EndpointName")),
        ("status", maybe(endpoint, "EndpointStatus")),
        ("reason", maybe(endpoint, "FailureReason")),
        ("config", maybe(endpoint, "EndpointConfigName")),
        ("created", Some(time(&endpoint["CreationTime"]))),
        ("arn", maybe(endpoint, "EndpointArn")),
    ]);
    let variants = endpoint["ProductionVariants"].as_array().into_iter().flatten();
    let rows: Vec<[String; 4]> = variants
        .map(|v| {
            [
                text(v, "VariantName"),
                text(v, "CurrentInstanceCount"),
                text(v, "DesiredInstanceCount"),
                text(v, "CurrentWeight"),
            ]
        })
        .collect();
    if !rows.is_empty() {
        all.push_str("\n\n");
        all.push_str(&table(["variant", "instances", "wanted", "weight"], rows));
    }
    all
}

fn scale(
    client: &Client,
    name: &str,
    variant: Option<String>,
    count: Option<u32>,
    weight: Option<f32>,
) -> Result<(), ClientError> {
    let variant = match variant {
        Some(variant) => variant,
        None => {
            let endpoint = describe(client, name)?;
            let variants = endpoint["ProductionVariants"].as_array().cloned().unwrap_or_default();
            match variants.as_slice() {
                [one] => text(one, "VariantName"),
                many => {
                    let names: Vec<String> = many.iter().map(|v| text(v, "VariantName")).collect();
                    return Err(ClientError::Usage(format!(
                        "endpoint `{name}` has {} variants\nhint: name one with --variant: {}",
                        many.len(),
                        names.join(", ")
                    )));
                }
            }
        }
    };
    let mut wanted = json!({"VariantName": variant});
    if let Some(count) = count {
        wanted["DesiredInstanceCount"] = count.into();
    }
    if let Some(weight) = weight {
        wanted["DesiredWeight"] = weight.into();
    }
    let body = json!({"EndpointName": name, "DesiredWeightsAndCapacities": [wanted]});
    client.json(Service::SageMaker, "UpdateEndpointWeightsAndCapacities", &body).map(|_| ())
}

/// Waits until an endpoint is in service.
///
/// # Errors
/// When it fails instead.
///
/// `config` is the configuration that must serve then: an update that failed leaves the old one serving.
pub(super) fn wait(client: &Client, name: &str, config: Option<&str>) -> Result<(), ClientError> {
    let mut spinner = Spinner::start();
    loop {
        let endpoint = describe(client, name)?;
        let status = text(&endpoint, "EndpointStatus");
        let serving = text(&endpoint, "EndpointConfigName");
        if status == "InService" && config.is_none_or(|wanted| serving == wanted) {
            return Ok(());
        }
        if status == "InService" {
            return Err(ClientError::Failed(format!(
                "endpoint `{name}` was not updated and serves what it did before: {}\nhint: see `kennel endpoint logs {name}`",
                text(&endpoint, "FailureReason")
            )));
        }
        if is_settled(&endpoint) {
            return Err(ClientError::Failed(format!(
                "endpoint `{name}` is {status}: {}\nhint: see `kennel endpoint logs {name}`",
                text(&endpoint, "FailureReason")
            )));
        }
        spinner.say(format!("{name}: {status}"));
        std::thread::sleep(POLL);
    }
}

fn remove(client: &Client, name: &str, all: bool) -> Result<(), ClientError> {
    let config = text(&describe(client, name)?, "EndpointConfigName");
    let mut models = Vec::new();
    if all {
        let body = json!({"EndpointConfigName": config});
        let found = client.json(Service::SageMaker, "DescribeEndpointConfig", &body)?;
        let variants = found["ProductionVariants"].as_array().cloned().unwrap_or_default();
        models = variants.iter().filter_map(|v| maybe(v, "ModelName")).collect();
        models.sort();
        models.dedup();
    }
    let delete = |operation: &str, member: &str, name: &str| {
        client.json(Service::SageMaker, operation, &json!({member: name})).map(|_| ())
    };
    delete("DeleteEndpoint", "EndpointName", name)?;
    note(format!("removed endpoint {name}"));
    if all {
        delete("DeleteEndpointConfig", "EndpointConfigName", &config)?;
        note(format!("removed configuration {config}"));
        for model in models {
            delete("DeleteModel", "ModelName", &model)?;
            note(format!("removed model {model}"));
        }
    }
    Ok(())
}

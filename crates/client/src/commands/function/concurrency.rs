//! `kennel function concurrency`: what a function may use at once, and what stands ready for it.

use clap::Args;
use http::Method;
use serde_json::{Value, json};

use super::{POLL, lambda};
use crate::client::{Client, encode};
use crate::error::ClientError;
use crate::output::{self, Spinner, fields, line, maybe, table, text};

#[derive(Debug, Args)]
pub(super) struct Concurrency {
    /// Name
    name: String,
    /// Set aside so many of the account's concurrent calls, which are its limit too; 0 stops all calls
    #[arg(long, value_name = "N", conflicts_with = "no_reserved")]
    reserved: Option<u32>,
    /// Give back what is set aside
    #[arg(long)]
    no_reserved: bool,
    /// Keep so many environments of a version or an alias ready
    #[arg(long, value_name = "N", requires = "qualifier", conflicts_with = "no_provisioned")]
    provisioned: Option<u32>,
    /// Keep none ready
    #[arg(long, requires = "qualifier")]
    no_provisioned: bool,
    /// The version or alias
    #[arg(long, value_name = "QUALIFIER")]
    qualifier: Option<String>,
    /// Do not wait until they are ready
    #[arg(long)]
    no_wait: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(client: &Client, arguments: &Concurrency) -> Result<(), ClientError> {
    let name = &arguments.name;
    let at = |date: &str, rest: &str| format!("/{date}/functions/{}/{rest}", encode(name));
    let limit = at("2017-10-31", "concurrency");
    if let Some(reserved) = arguments.reserved {
        let body = json!({"ReservedConcurrentExecutions": reserved});
        lambda(client, "PutFunctionConcurrency", Method::PUT, &limit, Some(&body))?;
    }
    if arguments.no_reserved {
        lambda(client, "DeleteFunctionConcurrency", Method::DELETE, &limit, None)?;
    }
    if let Some(qualifier) = &arguments.qualifier {
        let rest = format!("provisioned-concurrency?Qualifier={}", encode(qualifier));
        let ready = at("2019-09-30", &rest);
        if let Some(count) = arguments.provisioned {
            let body = json!({"ProvisionedConcurrentExecutions": count});
            lambda(client, "PutProvisionedConcurrencyConfig", Method::PUT, &ready, Some(&body))?;
            if !arguments.no_wait {
                wait(client, &ready, &format!("{name}:{qualifier}"))?;
            }
        }
        if arguments.no_provisioned {
            lambda(client, "DeleteProvisionedConcurrencyConfig", Method::DELETE, &ready, None)?;
        }
    }
    let reserved = at("2019-09-30", "concurrency");
    let reserved = lambda(client, "GetFunctionConcurrency", Method::GET, &reserved, None)?;
    let configurations = configurations(client, &at("2019-09-30", "provisioned-concurrency"))?;
    if arguments.json {
        output::json(&json!({
            "ReservedConcurrentExecutions": reserved["ReservedConcurrentExecutions"],
            "ProvisionedConcurrencyConfigs": configurations,
        }));
        return Ok(());
    }
    let set_aside = maybe(&reserved, "ReservedConcurrentExecutions");
    line(fields(&[("reserved", set_aside.or_else(|| Some("none".to_owned())))]));
    if !configurations.is_empty() {
        let rows = configurations.iter().map(|c| {
            let arn = text(c, "FunctionArn");
            [
                arn.rsplit(':').next().unwrap_or_default().to_owned(),
                text(c, "RequestedProvisionedConcurrentExecutions"),
                text(c, "AllocatedProvisionedConcurrentExecutions"),
                text(c, "AvailableProvisionedConcurrentExecutions"),
                text(c, "Status"),
                text(c, "StatusReason"),
            ]
        });
        let head = ["qualifier", "wanted", "allocated", "available", "status", "reason"];
        line(format!("\n{}", table(head, rows)));
    }
    Ok(())
}

/// All pages of a function's provisioned concurrency.
fn configurations(client: &Client, at: &str) -> Result<Vec<Value>, ClientError> {
    let mut all = Vec::new();
    let mut marker = String::new();
    loop {
        let more = match marker.is_empty() {
            true => String::new(),
            false => format!("&Marker={}", encode(&marker)),
        };
        let page = format!("{at}?List=ALL{more}");
        let mut page =
            lambda(client, "ListProvisionedConcurrencyConfigs", Method::GET, &page, None)?;
        if let Some(Value::Array(found)) =
            page.get_mut("ProvisionedConcurrencyConfigs").map(Value::take)
        {
            all.extend(found);
        }
        match page["NextMarker"].as_str() {
            Some(next) if !next.is_empty() && next != marker => marker = next.to_owned(),
            _ => return Ok(all),
        }
    }
}

/// Waits until the environments are ready.
fn wait(client: &Client, at: &str, label: &str) -> Result<(), ClientError> {
    let mut spinner = Spinner::start();
    loop {
        let found = lambda(client, "GetProvisionedConcurrencyConfig", Method::GET, at, None)?;
        let status = text(&found, "Status");
        match status.as_str() {
            "READY" => return Ok(()),
            "FAILED" => {
                return Err(ClientError::Failed(format!(
                    "`{label}` has no provisioned concurrency: {}",
                    text(&found, "StatusReason")
                )));
            }
            _ => {}
        }
        spinner.say(format!(
            "{label}: {status}, {} of {} ready",
            text(&found, "AvailableProvisionedConcurrentExecutions"),
            text(&found, "RequestedProvisionedConcurrentExecutions")
        ));
        std::thread::sleep(POLL);
    }
}

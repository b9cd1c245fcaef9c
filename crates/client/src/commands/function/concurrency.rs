//! `kennel function concurrency`: what a function may use at once, and what stands ready for it.

use clap::Args;
use http::Method;
use serde_json::{Value, json};

use super::{POLL, lambda};
use crate::client::{Client, encode};
use crate::error::ClientError;
use crate::output::{self, Spinner, fields, line, maybe, note, table, text};

/// The alias of what is published for provisioned concurrency.
const LIVE: &str = "live";

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
    /// Keep so many environments of a version or an alias ready; without --qualifier the function as it is now is
    /// published, and the alias `live` leads to it
    #[arg(long, value_name = "N", conflicts_with = "no_provisioned")]
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
    let qualifier = match (&arguments.qualifier, arguments.provisioned) {
        (None, Some(_)) => Some(publish(client, name)?),
        (given, _) => given.clone(),
    };
    if let Some(qualifier) = &qualifier {
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

/// Publishes the function's present code as a version that the alias [`LIVE`] leads to; answers the alias.
fn publish(client: &Client, name: &str) -> Result<String, ClientError> {
    let at = |rest: &str| format!("/2015-03-31/functions/{}/{rest}", encode(name));
    let empty = json!({});
    let version = lambda(client, "PublishVersion", Method::POST, &at("versions"), Some(&empty))?;
    let version = text(&version, "Version");
    let alias = json!({"Name": LIVE, "FunctionVersion": version});
    match lambda(client, "CreateAlias", Method::POST, &at("aliases"), Some(&alias)) {
        Ok(_) => {}
        Err(error) if error.service_code() == Some("ResourceConflictException") => {
            let path = at(&format!("aliases/{LIVE}"));
            let to = json!({"FunctionVersion": version});
            lambda(client, "UpdateAlias", Method::PUT, &path, Some(&to))?;
        }
        Err(error) => return Err(error),
    }
    note(format!("{name}:{LIVE} is version {version}; call it by that name"));
    Ok(LIVE.to_owned())
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

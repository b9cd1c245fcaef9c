//! `kennel function`: Lambda functions, by Lambda's own REST API.

mod classifier;
mod code;
mod concurrency;
pub(super) mod invoke;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use http::Method;
use serde_json::{Map, Value, json};

use self::code::Package;
use super::logs::{Tail, TailArguments};
use super::role_arn;
use crate::client::{Client, ClientOptions, Service, encode};
use crate::error::ClientError;
use crate::output::{self, Spinner, fields, iso_time, line, maybe, note, size, table, text};
use crate::target::TargetArguments;

/// How often a function is asked about.
const POLL: Duration = Duration::from_millis(300);

/// Arguments of `kennel function`.
#[derive(Debug, Args)]
pub struct Arguments {
    #[command(flatten)]
    target: TargetArguments,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Functions
    #[command(visible_alias = "ls")]
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Make a function of a zip or a folder, and wait until it is active
    Create(Box<Create>),
    /// Make a function that asks an endpoint: this program is its code
    DeployClassifier(Box<classifier::Deploy>),
    /// Call a function and print its answer
    Invoke(invoke::Invoke),
    /// One function: state, code, configuration
    #[command(visible_alias = "show")]
    Describe {
        /// Name or ARN
        name: String,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Remove a function with its versions and aliases
    #[command(visible_alias = "rm")]
    Delete {
        /// Name or ARN
        name: String,
    },
    /// A function's log
    Logs {
        /// Name
        name: String,
        #[command(flatten)]
        tail: TailArguments,
    },
    /// Freeze code and configuration as a numbered version
    Publish {
        /// Name
        name: String,
        /// Point this alias at the new version
        #[arg(long, value_name = "NAME")]
        alias: Option<String>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Show or change reserved and provisioned concurrency
    Concurrency(concurrency::Concurrency),
}

#[derive(Debug, Args)]
struct Create {
    /// Name
    name: String,
    /// Zip with the code
    #[arg(long, value_name = "FILE", required_unless_present = "dir", conflicts_with = "dir")]
    zip: Option<PathBuf>,
    /// Folder with the code
    #[arg(long, value_name = "FOLDER")]
    dir: Option<PathBuf>,
    /// What is called, as in module.function
    #[arg(long, value_name = "HANDLER")]
    handler: String,
    /// python3.12, provided.al2023 …
    #[arg(long, value_name = "RUNTIME")]
    runtime: String,
    /// Execution role, name or ARN
    #[arg(long, value_name = "ROLE")]
    role: String,
    #[command(flatten)]
    settings: Settings,
    /// Change the function where it exists
    #[arg(long)]
    update: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// What a new function takes Lambda's defaults for.
#[derive(Debug, Clone, Default, Args)]
struct Settings {
    /// Seconds that a call may take, at most 900 [default: 3]
    #[arg(long, value_name = "SECONDS")]
    timeout: Option<u32>,
    /// Memory in MB, 128 to 10240 [default: 128]
    #[arg(long, value_name = "MB")]
    memory: Option<u32>,
    /// A variable of its environment; may be repeated
    #[arg(long = "env", value_name = "K=V", value_parser = variable)]
    environment: Vec<(String, String)>,
}

impl Settings {
    fn put(&self, body: &mut Value) {
        if let Some(timeout) = self.timeout {
            body["Timeout"] = timeout.into();
        }
        if let Some(memory) = self.memory {
            body["MemorySize"] = memory.into();
        }
        if !self.environment.is_empty() {
            let all: Map<String, Value> =
                self.environment.iter().map(|(k, v)| (k.clone(), v.as_str().into())).collect();
            body["Environment"] = json!({"Variables": all});
        }
    }
}

fn variable(given: &str) -> Result<(String, String), String> {
    match given.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("expected NAME=VALUE".to_owned()),
    }
}

pub(super) fn run(arguments: Arguments) -> Result<(), ClientError> {
    let target = arguments.target.resolve()?;
    if let Verb::Invoke(arguments) = &arguments.verb {
        let options =
            ClientOptions { answer_timeout: invoke::LONGEST_CALL, ..ClientOptions::default() };
        return invoke::call(&Client::with_options(target, options), arguments);
    }
    let client = Client::new(target);
    match arguments.verb {
        Verb::List { json } => list(&client, json),
        Verb::Create(arguments) => create(&client, &arguments),
        Verb::DeployClassifier(arguments) => classifier::deploy(&client, &arguments),
        Verb::Invoke(arguments) => invoke::call(&client, &arguments),
        Verb::Describe { name, json } => show(&client, &name, json),
        Verb::Delete { name } => {
            lambda(&client, "DeleteFunction", Method::DELETE, &path(&name), None)?;
            note(format!("removed function {name}"));
            Ok(())
        }
        Verb::Logs { name, tail } => {
            get(&client, &name)?;
            let follow = tail.follow();
            let mut events = Tail::new(format!("/aws/lambda/{name}"), None, &tail);
            events.may_be_absent = true;
            events.run(&client, || Ok(!follow))
        }
        Verb::Publish { name, alias, json } => publish(&client, &name, alias.as_deref(), json),
        Verb::Concurrency(arguments) => concurrency::run(&client, &arguments),
    }
}

/// The path of a function; a name may be an ARN.
fn path(name: &str) -> String {
    format!("/2015-03-31/functions/{}", encode(name))
}

fn lambda(
    client: &Client,
    operation: &str,
    method: Method,
    path: &str,
    body: Option<&Value>,
) -> Result<Value, ClientError> {
    client.rest(Service::Lambda, operation, method, path, body)
}

/// `GetFunction`.
fn get(client: &Client, name: &str) -> Result<Value, ClientError> {
    lambda(client, "GetFunction", Method::GET, &path(name), None)
}

fn list(client: &Client, json: bool) -> Result<(), ClientError> {
    let mut all: Vec<Value> = Vec::new();
    let mut marker = String::new();
    loop {
        let query = match marker.is_empty() {
            true => String::new(),
            false => format!("&Marker={}", encode(&marker)),
        };
        let page = format!("/2015-03-31/functions?MaxItems=50{query}");
        let mut page = lambda(client, "ListFunctions", Method::GET, &page, None)?;
        if let Some(Value::Array(found)) = page.get_mut("Functions").map(Value::take) {
            all.extend(found);
        }
        match page["NextMarker"].as_str() {
            // The same marker again would be asked for ever.
            Some(next) if !next.is_empty() && next != marker => marker = next.to_owned(),
            _ => break,
        }
    }
    if json {
        output::json(&all.into());
        return Ok(());
    }
    let rows = all.iter().map(|f| {
        [
            text(f, "FunctionName"),
            text(f, "Runtime"),
            text(f, "Handler"),
            text(f, "MemorySize"),
            text(f, "Timeout"),
            f["CodeSize"].as_u64().map(size).unwrap_or_default(),
            iso_time(&text(f, "LastModified")),
        ]
    });
    line(table(["name", "runtime", "handler", "memory", "timeout", "code", "changed"], rows));
    Ok(())
}

fn create(client: &Client, arguments: &Create) -> Result<(), ClientError> {
    let name = &arguments.name;
    let package = match (&arguments.zip, &arguments.dir) {
        (Some(zip), _) => Package::of_zip(zip)?,
        (None, Some(folder)) => Package::of_folder(folder)?,
        (None, None) => {
            return Err(ClientError::Usage(
                "there is no code\nhint: name it with --zip or --dir".to_owned(),
            ));
        }
    };
    let mut configuration = json!({
        "FunctionName": name,
        "Runtime": arguments.runtime,
        "Role": role_arn(client, Some(&arguments.role))?,
        "Handler": arguments.handler,
    });
    arguments.settings.put(&mut configuration);
    let existing = match arguments.update {
        true => existing(client, name)?,
        false => None,
    };
    match existing {
        Some(found) => update(client, &found, &package, configuration, None)?,
        None => {
            configuration["Code"] = package.member(client, name)?;
            make(client, &configuration, Retry::No)?;
        }
    }
    let ready = wait(client, name)?;
    if arguments.json {
        output::json(&ready);
        return Ok(());
    }
    line(text(&ready, "FunctionArn"));
    note(format!("call it with `kennel function invoke {name} --payload '{{}}'{}`", flags(client)));
    Ok(())
}

/// The flags that lead a further command to the same place.
fn flags(client: &Client) -> String {
    match &client.target().endpoint {
        None => format!(" --aws --region {}", client.target().region),
        Some(_) => String::new(),
    }
}

/// A function's configuration, where the function exists.
fn existing(client: &Client, name: &str) -> Result<Option<Value>, ClientError> {
    match get(client, name) {
        Ok(mut found) => Ok(found.get_mut("Configuration").map(Value::take)),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether a role that was made just now may be unknown to Lambda for some seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Retry {
    No,
    NewRole,
}

/// Longest wait until Lambda may assume a new role.
const ROLE_TRIES: u32 = 30;

fn make(client: &Client, configuration: &Value, retry: Retry) -> Result<(), ClientError> {
    let mut spinner = Spinner::start();
    for _ in 1..ROLE_TRIES {
        match lambda(
            client,
            "CreateFunction",
            Method::POST,
            "/2015-03-31/functions",
            Some(configuration),
        ) {
            Err(ClientError::Service(failure))
                if retry == Retry::NewRole
                    && failure.message.contains("cannot be assumed by Lambda") =>
            {
                spinner.say("waiting until Lambda may assume the new role".to_owned());
                std::thread::sleep(Duration::from_secs(1));
            }
            outcome => return outcome.map(|_| ()),
        }
    }
    lambda(client, "CreateFunction", Method::POST, "/2015-03-31/functions", Some(configuration))
        .map(|_| ())
}

/// Gives a function that exists other code and another configuration; what is the same already is left.
fn update(
    client: &Client,
    found: &Value,
    package: &Package,
    mut configuration: Value,
    architectures: Option<&Value>,
) -> Result<(), ClientError> {
    let name = text(found, "FunctionName");
    let moved = architectures.is_some_and(|wanted| found["Architectures"] != *wanted);
    if moved || text(found, "CodeSha256") != package.sha256 {
        wait(client, &name)?;
        let mut code = package.member(client, &name)?;
        if let Some(architectures) = architectures {
            code["Architectures"] = architectures.clone();
        }
        lambda(
            client,
            "UpdateFunctionCode",
            Method::PUT,
            &format!("{}/code", path(&name)),
            Some(&code),
        )?;
    }
    if let Some(members) = configuration.as_object_mut() {
        members.retain(|member, value| member != "FunctionName" && found[member] != *value);
        if members.is_empty() {
            return Ok(());
        }
    }
    // One change at a time, says Lambda.
    wait(client, &name)?;
    lambda(
        client,
        "UpdateFunctionConfiguration",
        Method::PUT,
        &format!("{}/configuration", path(&name)),
        Some(&configuration),
    )
    .map(|_| ())
}

/// Waits until a function is active and its last change is done; its configuration then.
fn wait(client: &Client, name: &str) -> Result<Value, ClientError> {
    let mut spinner = Spinner::start();
    loop {
        let configuration = get(client, name)?["Configuration"].take();
        let (state, change) =
            (text(&configuration, "State"), text(&configuration, "LastUpdateStatus"));
        match (state.as_str(), change.as_str()) {
            ("Failed", _) => {
                return Err(ClientError::Failed(format!(
                    "function `{name}` could not be made: {}",
                    text(&configuration, "StateReason")
                )));
            }
            (_, "Failed") => {
                return Err(ClientError::Failed(format!(
                    "function `{name}` was not changed and runs as before: {}",
                    text(&configuration, "LastUpdateStatusReason")
                )));
            }
            // Functions that nobody called for weeks are inactive, and wake up with a call.
            ("Active" | "Inactive" | "", "Successful" | "") => return Ok(configuration),
            _ => {}
        }
        spinner.say(format!("{name}: {state}, last change {change}"));
        std::thread::sleep(POLL);
    }
}

fn show(client: &Client, name: &str, json: bool) -> Result<(), ClientError> {
    let found = get(client, name)?;
    if json {
        output::json(&found);
        return Ok(());
    }
    let function = &found["Configuration"];
    let names = |value: &Value| {
        let all: Vec<&str> = value.as_object()?.keys().map(String::as_str).collect();
        Some(all.join(", ")).filter(|all| !all.is_empty())
    };
    let number = |name: &str, unit: &str| maybe(function, name).map(|n| format!("{n} {unit}"));
    let architecture = function["Architectures"][0].as_str().map(str::to_owned);
    line(fields(&[
        ("name", maybe(function, "FunctionName")),
        ("state", maybe(function, "State")),
        ("reason", maybe(function, "StateReason")),
        ("last change", maybe(function, "LastUpdateStatus")),
        ("its reason", maybe(function, "LastUpdateStatusReason")),
        ("runtime", maybe(function, "Runtime")),
        ("architecture", architecture),
        ("handler", maybe(function, "Handler")),
        ("memory", number("MemorySize", "MB")),
        ("timeout", number("Timeout", "s")),
        ("code", function["CodeSize"].as_u64().map(size)),
        ("sha256", maybe(function, "CodeSha256")),
        // Values may be secrets; --json has them.
        ("environment", names(&function["Environment"]["Variables"])),
        ("reserved", maybe(&found["Concurrency"], "ReservedConcurrentExecutions")),
        ("role", maybe(function, "Role")),
        ("changed", maybe(function, "LastModified").map(|t| iso_time(&t))),
        ("arn", maybe(function, "FunctionArn")),
    ]));
    Ok(())
}

fn publish(
    client: &Client,
    name: &str,
    alias: Option<&str>,
    json: bool,
) -> Result<(), ClientError> {
    let at = path(name);
    let published = lambda(
        client,
        "PublishVersion",
        Method::POST,
        &format!("{at}/versions"),
        Some(&json!({})),
    )?;
    let version = text(&published, "Version");
    if let Some(alias) = alias {
        let mut body = json!({"FunctionVersion": version});
        let one = format!("{at}/aliases/{}", encode(alias));
        match lambda(client, "UpdateAlias", Method::PUT, &one, Some(&body)) {
            Err(error) if error.is_not_found() => {
                body["Name"] = alias.into();
                let all = format!("{at}/aliases");
                lambda(client, "CreateAlias", Method::POST, &all, Some(&body))?;
            }
            outcome => outcome.map(|_| ())?,
        }
        note(format!("alias {alias} is version {version}"));
    }
    if json {
        output::json(&published);
        return Ok(());
    }
    line(version);
    Ok(())
}

#[cfg(test)]
mod tests;

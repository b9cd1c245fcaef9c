//! `kennel function deploy-classifier`: this program as a function that asks an endpoint.

use std::path::PathBuf;

use clap::Args;
use serde_json::{Value, json};

use super::code::{Package, architecture, newest_glibc};
use super::{Retry, existing, flags, make, update, wait};
use crate::client::{Client, Service};
use crate::commands::{as_name, endpoint, role_arn};
use crate::error::ClientError;
use crate::output::{self, Spinner, line, note, text};

/// The handler by which such a function is known again.
const HANDLER: &str = "kennel.classifier";
const RUNTIME: &str = "provided.al2023";
/// Lambda's default of 3 s is less than a cold endpoint may need.
const TIMEOUT: u32 = 60;
const MEMORY: u32 = 128;
/// Lambda's limit on names.
const MAX_NAME: usize = 64;
/// Longest function name whose role's name fits into IAM's 64 characters.
const MAX_ROLED: usize = 64 - "kennel--role".len();
/// `glibc` of Amazon Linux 2023 is 2.34.
const AMAZON_GLIBC: u32 = 34;

const BASIC_EXECUTION: &str = "arn:aws:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole";
const INLINE_POLICY: &str = "invoke-endpoint";

#[derive(Debug, Args)]
#[command(
    after_help = "The function does what the course's lambdafunction.py does: it passes its event, as in \
    {\"url\": \"https://…/dog.jpg\"}, to the endpoint and answers its words. Without --role it gets a role \
    of its own that may write its log and call InvokeEndpoint on this one endpoint, nothing else.\n\n\
    Done again it changes what is to be changed and keeps what you set: variables, memory, timeout."
)]
pub(super) struct Deploy {
    /// Endpoint to ask
    #[arg(long, value_name = "NAME")]
    pub(super) endpoint: String,
    /// Name of the function [default: classify-ENDPOINT]
    #[arg(long, value_name = "NAME")]
    pub(super) name: Option<String>,
    /// Execution role, name or ARN [default: one of its own, kennel-NAME-role]
    #[arg(long, value_name = "ROLE")]
    pub(super) role: Option<String>,
    /// Seconds that a call may take [default: 60]
    #[arg(long, value_name = "SECONDS")]
    pub(super) timeout: Option<u32>,
    /// Memory in MB [default: 128]
    #[arg(long, value_name = "MB")]
    pub(super) memory: Option<u32>,
    /// Another build of Kennel for Linux to run there [default: this program]
    #[arg(long, value_name = "FILE")]
    pub(super) binary: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
}

pub(super) fn deploy(client: &Client, arguments: &Deploy) -> Result<(), ClientError> {
    let name = match &arguments.name {
        Some(name) => name.clone(),
        None => as_name(&format!("classify-{}", arguments.endpoint), MAX_ROLED.min(MAX_NAME)),
    };
    let program = match &arguments.binary {
        Some(program) => program.clone(),
        None => std::env::current_exe()
            .map_err(ClientError::file("find", std::path::Path::new("this program")))?,
    };
    let Some(architecture) = architecture(&program)? else {
        return Err(ClientError::Usage(format!(
            "`{}` is no program for Linux on x86_64 or arm64, where functions run\nhint: name a Linux build of Kennel with --binary",
            program.display()
        )));
    };
    let architectures = json!([architecture]);
    if client.target().endpoint.is_none()
        && let Some(newest) = newest_glibc(&program)?.filter(|n| *n > AMAZON_GLIBC)
    {
        note(format!(
            "warning: this build needs glibc 2.{newest} and Amazon Linux 2023 has 2.{AMAZON_GLIBC}: the function will not start\nhint: name a build for an older glibc, or one that is linked statically, with --binary"
        ));
    }
    let mut spinner = Spinner::start();
    let found = existing(client, &name)?;
    if let Some(other) = found.as_ref().filter(|f| text(f, "Handler") != HANDLER) {
        return Err(ClientError::Usage(format!(
            "function `{name}` exists and was not made by this command: its handler is `{}`\nhint: choose another --name",
            text(other, "Handler")
        )));
    }
    let resource = resource(client, &arguments.endpoint)?;
    let kept = found.as_ref().map(|f| text(f, "Role"));
    let (role, retry) = role(client, arguments, &name, kept, &resource)?;
    spinner.say(format!("packing `{}`", program.display()));
    let package = Package::of_program(&program)?;
    let mut variables = match &found {
        Some(found) => found["Environment"]["Variables"].clone(),
        None => Value::Null,
    };
    if !variables.is_object() {
        variables = json!({});
    }
    variables["ENDPOINT_NAME"] = arguments.endpoint.as_str().into();
    let mut configuration = json!({
        "FunctionName": name,
        "Runtime": RUNTIME,
        "Role": role,
        "Handler": HANDLER,
        "Environment": {"Variables": variables},
    });
    let new = found.is_none();
    if let Some(timeout) = arguments.timeout.or(new.then_some(TIMEOUT)) {
        configuration["Timeout"] = timeout.into();
    }
    if let Some(memory) = arguments.memory.or(new.then_some(MEMORY)) {
        configuration["MemorySize"] = memory.into();
    }
    match &found {
        Some(found) => {
            spinner.say(format!("updating function {name}"));
            update(client, found, &package, configuration, Some(&architectures))?;
        }
        None => {
            spinner.say(format!("making function {name}"));
            configuration["Description"] =
                format!("Asks the endpoint {} (Kennel)", arguments.endpoint).into();
            configuration["Architectures"] = architectures;
            configuration["Code"] = package.member(client, &name)?;
            make(client, &configuration, retry)?;
        }
    }
    drop(spinner);
    let ready = wait(client, &name)?;
    if arguments.json {
        output::json(&ready);
        return Ok(());
    }
    line(text(&ready, "FunctionArn"));
    note(format!(
        "call it with `kennel function invoke {name} --payload '{{\"url\": \"https://…/dog.jpg\"}}' --log{}`",
        flags(client)
    ));
    Ok(())
}

/// The endpoint's ARN as policies have to write it: SageMaker asks with the name in lower case.
fn resource(client: &Client, name: &str) -> Result<String, ClientError> {
    let found = match endpoint::describe(client, name) {
        Err(error) if error.is_not_found() => {
            return Err(ClientError::Usage(format!(
                "there is no endpoint `{name}`\nhint: `kennel endpoint ls` shows those that there are, `kennel deploy` makes one"
            )));
        }
        outcome => outcome?,
    };
    let arn = text(&found, "EndpointArn");
    match arn.split_once(":endpoint/") {
        Some((before, name)) => Ok(format!("{before}:endpoint/{}", name.to_lowercase())),
        None => Err(ClientError::Answer {
            operation: "sagemaker:DescribeEndpoint".to_owned(),
            reason: "no EndpointArn".to_owned(),
        }),
    }
}

/// The role that was asked for, else the one that the function has, else its own, made if need be.
fn role(
    client: &Client,
    arguments: &Deploy,
    function: &str,
    kept: Option<String>,
    resource: &str,
) -> Result<(String, Retry), ClientError> {
    if let Some(role) = &arguments.role {
        return Ok((role_arn(client, Some(role))?, Retry::No));
    }
    let own = format!("kennel-{function}-role");
    if let Some(kept) = kept.filter(|arn| arn.rsplit('/').next() != Some(own.as_str())) {
        note(format!("{function} keeps its role {kept}"));
        return Ok((kept, Retry::No));
    }
    if function.len() > MAX_ROLED {
        return Err(ClientError::Usage(format!(
            "`{function}` is too long to name a role after: {MAX_ROLED} characters at most\nhint: name a role with --role, or a shorter --name"
        )));
    }
    let trust = json!({
        "Version": "2012-10-17",
        "Statement": [{
            "Effect": "Allow",
            "Principal": {"Service": "lambda.amazonaws.com"},
            "Action": "sts:AssumeRole",
        }],
    });
    let found = client.query(Service::Iam, "GetRole", &[("RoleName", &own)]);
    let (answer, retry) = match found {
        Err(error) if error.is_not_found() => {
            let made = client.query(
                Service::Iam,
                "CreateRole",
                &[
                    ("RoleName", own.as_str()),
                    ("AssumeRolePolicyDocument", &trust.to_string()),
                    ("Description", &format!("Execution role of the function {function} (Kennel)")),
                ],
            )?;
            (made, Retry::NewRole)
        }
        outcome => (outcome?, Retry::No),
    };
    let arn = answer.find("Arn").map(|e| e.content.clone()).ok_or_else(|| ClientError::Answer {
        operation: "iam:GetRole".to_owned(),
        reason: "no Arn".to_owned(),
    })?;
    client.query(
        Service::Iam,
        "AttachRolePolicy",
        &[("RoleName", &own), ("PolicyArn", BASIC_EXECUTION)],
    )?;
    let document = json!({
        "Version": "2012-10-17",
        "Statement": [{
            "Effect": "Allow",
            "Action": "sagemaker:InvokeEndpoint",
            "Resource": resource,
        }],
    });
    client.query(
        Service::Iam,
        "PutRolePolicy",
        &[
            ("RoleName", &own),
            ("PolicyName", INLINE_POLICY),
            ("PolicyDocument", &document.to_string()),
        ],
    )?;
    let did = if retry == Retry::NewRole { "made" } else { "uses" };
    note(format!(
        "{did} role {own}: AWSLambdaBasicExecutionRole, and sagemaker:InvokeEndpoint on {resource} only"
    ));
    Ok((arn, retry))
}

//! The commands: arguments, calls, and what they print. The binary only forwards.

mod audit;
mod bucket;
mod cost;
mod deploy;
mod endpoint;
mod function;
mod iam;
mod invoke;
mod job;
mod logs;
mod model;
mod report;
mod scale;
mod status;
mod tuning;

use clap::Subcommand;

use crate::client::{Client, Service};
use crate::env;
use crate::error::ClientError;
use crate::paths::{DEFAULT_EXECUTION_ROLE, NATIVE_IMAGE};
use crate::s3::Location;

// Every command that is a client of the AWS APIs.
#[expect(missing_docs, reason = "clap would take it for the description of the whole program")]
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Whether the platform runs, where, and what is on it
    Status(status::Arguments),
    /// Shell exports for AWS tools: eval "$(kennel env)"
    Env(env::EnvArguments),
    /// Keys as AWS's `credential_process` wants them
    #[command(hide = true)]
    Credentials(env::CredentialsArguments),
    /// Buckets and what is in them: ls, mb, rb, cp, sync, rm
    Bucket(bucket::Arguments),
    /// Training jobs: start, ls, show, logs, wait, stop
    Job(Box<job::Arguments>),
    /// Tuning jobs and their trials: ls, show, report, wait, stop
    Tuning(tuning::Arguments),
    /// Models that endpoints can serve: ls, show, rm
    Model(model::Arguments),
    /// Endpoints: ls, show, scale, logs, rm
    Endpoint(endpoint::Arguments),
    /// Lambda functions: list, create, deploy-classifier, invoke, describe, concurrency, delete
    Function(Box<function::Arguments>),
    /// Why a call was allowed or denied, and the least policy that a role needs: explain, least-privilege
    Iam(Box<iam::Arguments>),
    /// What is open too wide, unused or running for nothing, with the fix for each
    Audit(Box<audit::Arguments>),
    /// What things would cost on AWS, which instance type to take, and what is up: estimate, advise, running
    Cost(Box<cost::Arguments>),
    /// The writeup of a project from facts: instances, training, endpoint, function, security, scaling
    Report(Box<report::Arguments>),
    /// Automatic scaling of endpoints: set, show, rm; simulate, recommend, test under load
    Scale(Box<scale::Arguments>),
    /// Log groups: groups, tail
    Logs(logs::Arguments),
    /// Put a model.tar.gz behind an endpoint and wait until it serves
    Deploy(deploy::Arguments),
    /// Ask an endpoint about a photo
    Invoke(invoke::Arguments),
}

pub use tuning::{TuningRange, TuningRequest, tune};

/// Runs a command.
///
/// # Errors
/// When it was called wrongly, the platform does not run, or a service refuses.
pub fn run(command: Command) -> Result<(), ClientError> {
    match command {
        Command::Status(arguments) => status::run(&arguments),
        Command::Env(arguments) => env::env(&arguments),
        Command::Credentials(arguments) => env::credentials(&arguments),
        Command::Bucket(arguments) => bucket::run(arguments),
        Command::Job(arguments) => job::run(*arguments),
        Command::Tuning(arguments) => tuning::run(arguments),
        Command::Model(arguments) => model::run(arguments),
        Command::Endpoint(arguments) => endpoint::run(arguments),
        Command::Function(arguments) => function::run(*arguments),
        Command::Iam(arguments) => iam::run(*arguments),
        Command::Audit(arguments) => audit::run(&arguments),
        Command::Cost(arguments) => cost::run(*arguments),
        Command::Report(arguments) => report::run(&arguments),
        Command::Scale(arguments) => scale::run(*arguments),
        Command::Logs(arguments) => logs::run(arguments),
        Command::Deploy(arguments) => deploy::run(&arguments),
        Command::Invoke(arguments) => invoke::run(&arguments),
    }
}

/// The account: from the platform's files, else the caller's own.
pub(crate) fn account(client: &Client) -> Result<String, ClientError> {
    if let Some(account) = &client.target().account {
        return Ok(account.clone());
    }
    let result = client.query(Service::Sts, "GetCallerIdentity", &[])?;
    result.text("Account").map(str::to_owned).ok_or_else(|| ClientError::Answer {
        operation: "sts:GetCallerIdentity".to_owned(),
        reason: "no Account".to_owned(),
    })
}

/// The execution role's ARN: one that was given, or that of a name, or of the default role.
fn role_arn(client: &Client, role: Option<&str>) -> Result<String, ClientError> {
    if let Some(arn) = role.filter(|r| r.starts_with("arn:")) {
        return Ok(arn.to_owned());
    }
    let name = role.unwrap_or(DEFAULT_EXECUTION_ROLE);
    match client.query(Service::Iam, "GetRole", &[("RoleName", name)]) {
        Ok(result) => result.find("Arn").map(|e| e.content.clone()).ok_or_else(|| {
            let operation = "iam:GetRole".to_owned();
            ClientError::Answer { operation, reason: "no Arn".to_owned() }
        }),
        Err(error) if error.is_not_found() => Err(ClientError::Usage(format!(
            "there is no role `{name}`\nhint: name an execution role with --role ARN"
        ))),
        Err(error) => Err(error),
    }
}

/// The bucket that the SageMaker SDK uses too, made if need be.
fn default_bucket(client: &Client) -> Result<Location, ClientError> {
    let name = format!("sagemaker-{}-{}", client.target().region, account(client)?);
    match client.create_bucket(&name) {
        Ok(()) => {}
        // us-east-1 answers 200 for a bucket one has, all others this.
        Err(error) if error.service_code() == Some("BucketAlreadyOwnedByYou") => {}
        Err(error) => return Err(error),
    }
    Location::parse(&format!("s3://{name}"))
}

/// The image that a short name means.
fn image(client: &Client, given: &str) -> Result<String, ClientError> {
    let native = given == "image-classification" || given == NATIVE_IMAGE;
    match native {
        true if client.target().endpoint.is_none() => Err(ClientError::NotImplemented(
            "AWS does not know Kennel's image by its name; pushing it is not implemented\nhint: push the container image to ECR yourself and name it with --image ACCOUNT.dkr.ecr.REGION.amazonaws.com/…"
                .to_owned(),
        )),
        true => Ok(NATIVE_IMAGE.to_owned()),
        false => Ok(given.to_owned()),
    }
}

/// A text as a SageMaker name: letters, digits and single hyphens, at most `length`.
fn as_name(text: &str, length: usize) -> String {
    let mapped: String =
        text.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    let joined = mapped.split('-').filter(|p| !p.is_empty()).collect::<Vec<_>>().join("-");
    let cut: String = joined.chars().take(length).collect();
    cut.trim_end_matches('-').to_owned()
}

#[cfg(test)]
mod tests;

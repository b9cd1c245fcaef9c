//! What a version runs with: from a request, checked, and as answers show it. Pure.
//!
//! Source of limits and texts: <https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html>,
//! <https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html>.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kennel_wire::ServiceError;
use serde::Deserialize;
use serde_json::{Value, json};

use super::error::{constraint, invalid, not_built};
use super::names::{Home, version_text};
use super::package::Program;
use super::rows::{Architecture, Configuration, Variables, VersionRow};
use crate::context::Timestamp;

/// The runtimes that are run.
const RUNTIMES: &[&str] = &[
    "python3.8",
    "python3.9",
    "python3.10",
    "python3.11",
    "python3.12",
    "python3.13",
    "python3.14",
    "provided.al2",
    "provided.al2023",
    "nodejs18.x",
    "nodejs20.x",
    "nodejs22.x",
    "nodejs24.x",
];

/// Variables that Lambda sets itself.
const RESERVED: &[&str] = &[
    "_HANDLER",
    "_X_AMZN_TRACE_ID",
    "AWS_ACCESS_KEY",
    "AWS_ACCESS_KEY_ID",
    "AWS_DEFAULT_REGION",
    "AWS_EXECUTION_ENV",
    "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
    "AWS_LAMBDA_FUNCTION_NAME",
    "AWS_LAMBDA_FUNCTION_VERSION",
    "AWS_LAMBDA_INITIALIZATION_TYPE",
    "AWS_LAMBDA_LOG_GROUP_NAME",
    "AWS_LAMBDA_LOG_STREAM_NAME",
    "AWS_LAMBDA_RUNTIME_API",
    "AWS_REGION",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "LAMBDA_RUNTIME_DIR",
    "LAMBDA_TASK_ROOT",
];

/// Bytes of all variables, as JSON.
const MAX_ENVIRONMENT: usize = 4096;

/// Layers of one function.
pub(super) const MAX_LAYERS: usize = 5;

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct EnvironmentInput {
    #[serde(default)]
    variables: BTreeMap<String, String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DeadLetterInput {
    target_arn: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct EphemeralInput {
    size: i64,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct LoggingInput {
    log_format: Option<String>,
    application_log_level: Option<String>,
    system_log_level: Option<String>,
    log_group: Option<String>,
}

/// The members that CreateFunction and UpdateFunctionConfiguration share.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Settings {
    runtime: Option<String>,
    role: Option<String>,
    handler: Option<String>,
    description: Option<String>,
    timeout: Option<i64>,
    memory_size: Option<i64>,
    environment: Option<EnvironmentInput>,
    dead_letter_config: Option<DeadLetterInput>,
    ephemeral_storage: Option<EphemeralInput>,
    logging_config: Option<LoggingInput>,
    architectures: Option<Vec<Architecture>>,
    /// ARNs of layers' versions; looked up where the rows are.
    pub layers: Option<Vec<String>>,
    tracing_config: Option<Value>,
    snap_start: Option<Value>,
    vpc_config: Option<Value>,
    file_system_configs: Option<Vec<Value>>,
    image_config: Option<Value>,
    #[serde(rename = "KMSKeyArn")]
    kms_key_arn: Option<String>,
    code_signing_config_arn: Option<String>,
    tenancy_config: Option<Value>,
    capacity_provider_config: Option<Value>,
    durable_config: Option<Value>,
    accelerator_config: Option<Value>,
    publish_to: Option<String>,
}

/// The configuration of a new function before its request is applied: AWS's defaults, but programs are
/// for this machine's architecture, on which they are going to run (AWS: x86_64).
pub(super) fn defaults(name: &str) -> Configuration {
    Configuration {
        runtime: String::new(),
        role: String::new(),
        handler: String::new(),
        description: String::new(),
        timeout: 3,
        memory: 128,
        environment: Variables::default(),
        dead_letter: None,
        layers: Vec::new(),
        architecture: machine().unwrap_or(Architecture::X86),
        ephemeral_mb: 512,
        log_group: format!("/aws/lambda/{name}"),
    }
}

/// What this machine is; `None` where Lambda has no name for it.
pub(super) fn machine() -> Option<Architecture> {
    match std::env::consts::ARCH {
        "x86_64" => Some(Architecture::X86),
        "aarch64" => Some(Architecture::Arm),
        _ => None,
    }
}

impl Settings {
    /// The configuration with what the request says; layers are left as they are.
    ///
    /// # Errors
    /// `InvalidParameterValueException` or `ValidationException` with AWS's texts; for what is real on AWS
    /// and not built here, a text that says so.
    pub(super) fn apply(
        &self,
        mut to: Configuration,
        name: &str,
        home: &Home,
    ) -> Result<Configuration, ServiceError> {
        self.refuse_unbuilt()?;
        if let Some(runtime) = &self.runtime {
            to.runtime = known_runtime(runtime)?.to_owned();
        }
        if let Some(role) = &self.role {
            to.role.clone_from(role);
        }
        if let Some(handler) = &self.handler {
            to.handler.clone_from(handler);
        }
        if to.runtime.is_empty() || to.handler.is_empty() {
            return Err(invalid(
                "Runtime and Handler are mandatory parameters for functions created with deployment packages.",
            ));
        }
        if let Some(description) = &self.description {
            to.description.clone_from(description);
        }
        if let Some(timeout) = self.timeout {
            to.timeout = within(timeout, "timeout", 1, 900)?;
        }
        if let Some(memory) = self.memory_size {
            to.memory = within(memory, "memorySize", 128, 10_240)?;
        }
        if let Some(storage) = &self.ephemeral_storage {
            to.ephemeral_mb = within(storage.size, "ephemeralStorage.size", 512, 10_240)?;
        }
        if let Some(environment) = &self.environment {
            to.environment = variables(&environment.variables)?;
        }
        if let Some(dead_letter) = &self.dead_letter_config {
            let target = dead_letter.target_arn.as_deref().filter(|arn| !arn.is_empty());
            to.dead_letter = target.map(|arn| queue(arn, home)).transpose()?;
        }
        if let Some(architectures) = &self.architectures {
            to.architecture = one(architectures)?;
        }
        if let Some(logging) = &self.logging_config {
            to.log_group = logging.group()?.unwrap_or_else(|| format!("/aws/lambda/{name}"));
        }
        Ok(to)
    }

    /// The role, where the request has one.
    pub(super) fn role(&self) -> Option<&str> {
        self.role.as_deref()
    }

    fn refuse_unbuilt(&self) -> Result<(), ServiceError> {
        let refuse = |given: bool, what: &str, hint: &str| {
            if given { Err(not_built(what, hint)) } else { Ok(()) }
        };
        let mode = |value: &Option<Value>, member: &str| -> Option<String> {
            Some(value.as_ref()?.get(member)?.as_str()?.to_owned())
        };
        let networks = self.vpc_config.as_ref().is_some_and(|vpc| {
            ["SubnetIds", "SecurityGroupIds"]
                .iter()
                .any(|list| vpc.get(*list).and_then(Value::as_array).is_some_and(|l| !l.is_empty()))
        });
        let leave = "leave the member out";
        refuse(
            networks,
            "VpcConfig",
            "functions share this machine's network; leave VpcConfig out",
        )?;
        refuse(
            mode(&self.tracing_config, "Mode").is_some_and(|m| m != "PassThrough"),
            "active tracing",
            "there is no X-Ray here; leave TracingConfig out, or set Mode to `PassThrough`",
        )?;
        refuse(
            mode(&self.snap_start, "ApplyOn").is_some_and(|m| m != "None"),
            "SnapStart",
            "set ApplyOn to `None`; provisioned concurrency keeps environments warm",
        )?;
        refuse(
            self.file_system_configs.as_ref().is_some_and(|list| !list.is_empty()),
            "FileSystemConfigs",
            leave,
        )?;
        refuse(self.image_config.is_some(), "ImageConfig", leave)?;
        let kms = self.kms_key_arn.as_deref().is_some_and(|arn| !arn.is_empty());
        refuse(kms, "encryption with KMSKeyArn", leave)?;
        refuse(self.code_signing_config_arn.is_some(), "code signing", leave)?;
        refuse(self.tenancy_config.is_some(), "TenancyConfig", leave)?;
        refuse(self.capacity_provider_config.is_some(), "CapacityProviderConfig", leave)?;
        refuse(self.durable_config.is_some(), "DurableConfig", leave)?;
        refuse(self.accelerator_config.is_some(), "AcceleratorConfig", leave)?;
        refuse(self.publish_to.is_some(), "PublishTo", "leave it out and set Publish")
    }
}

impl LoggingInput {
    fn group(&self) -> Result<Option<String>, ServiceError> {
        let json = self.log_format.as_deref().is_some_and(|format| format != "Text");
        if json || self.application_log_level.is_some() || self.system_log_level.is_some() {
            return Err(not_built(
                "LogFormat `JSON` with its log levels",
                "set LogFormat to `Text`; the function may write JSON lines of its own",
            ));
        }
        Ok(self.log_group.clone())
    }
}

/// The only architecture of a request's list.
pub(super) fn one(architectures: &[Architecture]) -> Result<Architecture, ServiceError> {
    match architectures {
        [one] => Ok(*one),
        _ => Err(constraint(
            &format!("{:?}", architectures.iter().map(|a| a.name()).collect::<Vec<_>>()),
            "architectures",
            "Member must have length less than or equal to 1",
        )),
    }
}

fn known_runtime(runtime: &str) -> Result<&str, ServiceError> {
    if RUNTIMES.contains(&runtime) {
        return Ok(runtime);
    }
    Err(invalid(format!(
        "runtime `{runtime}` is not run by Kennel\nhint: there are {}; a program of any language runs as `bootstrap` of provided.al2023",
        RUNTIMES.join(", ")
    )))
}

fn within(value: i64, member: &str, least: u32, most: u32) -> Result<u32, ServiceError> {
    let shown = value.to_string();
    match u32::try_from(value) {
        Ok(value) if (least..=most).contains(&value) => Ok(value),
        Ok(value) if value > most => Err(constraint(
            &shown,
            member,
            &format!("Member must have value less than or equal to {most}"),
        )),
        _ => Err(constraint(
            &shown,
            member,
            &format!("Member must have value greater than or equal to {least}"),
        )),
    }
}

fn variables(given: &BTreeMap<String, String>) -> Result<Variables, ServiceError> {
    let reserved: Vec<&str> =
        given.keys().map(String::as_str).filter(|name| RESERVED.contains(name)).collect();
    if !reserved.is_empty() {
        return Err(invalid(format!(
            "Lambda was unable to configure your environment variables because the environment variables you have provided contains reserved keys that are currently not supported for modification. Reserved keys used in this request: {}",
            reserved.join(", ")
        )));
    }
    for (name, value) in given {
        let good = name.len() >= 2
            && name.starts_with(|c: char| c.is_ascii_alphabetic())
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        if !good {
            return Err(constraint(
                name,
                "environment.variables",
                "Map keys must satisfy constraint: [Member must satisfy regular expression pattern: [a-zA-Z]([a-zA-Z0-9_])+]",
            ));
        }
        if value.contains('\0') {
            return Err(invalid(format!(
                "the value of the environment variable `{name}` has a zero byte"
            )));
        }
    }
    let size = json!(given).to_string().len();
    if size > MAX_ENVIRONMENT {
        // AWS repeats the variables here; they may be secrets.
        return Err(invalid(format!(
            "Lambda was unable to configure your environment variables because the environment variables you have provided exceeded the 4KB limit. They are {size} bytes as JSON."
        )));
    }
    Ok(Variables(given.clone()))
}

/// A queue of this account, which is a file here.
pub(super) fn queue(arn: &str, home: &Home) -> Result<String, ServiceError> {
    let parts: Vec<&str> = arn.split(':').collect();
    match parts.as_slice() {
        ["arn", "aws", "sqs", region, account, name] => {
            let word = (1..=80).contains(&name.len())
                && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
            if word && *region == home.region && *account == home.account {
                Ok(arn.to_owned())
            } else {
                Err(invalid(format!(
                    "The provided target ARN {arn} is invalid.\nhint: name a queue of this account and region, arn:aws:sqs:{}:{}:NAME",
                    home.region, home.account
                )))
            }
        }
        ["arn", "aws", service @ ("sns" | "events" | "s3"), ..] => Err(not_built(
            &format!("`{service}` as a target of failed or finished invocations"),
            "name a queue, arn:aws:sqs:REGION:ACCOUNT:NAME, which is a file in the data folder",
        )),
        _ => Err(invalid(format!("The provided target ARN {arn} is invalid."))),
    }
}

/// Refuses a `bootstrap` that this machine, or the architecture that the function states, cannot run. A
/// missing one is found at the first invocation, as on AWS.
pub(super) fn check_program(
    configuration: &Configuration,
    bootstrap: Program,
) -> Result<(), ServiceError> {
    if !configuration.runtime.starts_with("provided") {
        return Ok(());
    }
    let stated = configuration.architecture;
    let here = std::env::consts::ARCH;
    let found = match bootstrap {
        Program::Missing | Program::NotExecutable | Program::Any => return Ok(()),
        Program::For(found) if found == stated && machine() == Some(found) => return Ok(()),
        Program::For(found) => format!("for {}", found.name()),
        Program::Foreign(number) => format!("for ELF machine {number}"),
    };
    Err(invalid(format!(
        "`bootstrap` is compiled {found}, the function's architecture is {}, and this machine is {here}\nhint: compile it for this machine and give the same in Architectures",
        stated.name()
    )))
}

/// A moment in one of Lambda's spellings.
pub(super) fn moment(at: Timestamp, format: &str) -> String {
    chrono::DateTime::from_timestamp_millis(at.0).unwrap_or_default().format(format).to_string()
}

/// `2026-11-21T10:00:00.000+0000`.
pub(super) fn last_modified(at: Timestamp) -> String {
    moment(at, "%Y-%m-%dT%H:%M:%S%.3f+0000")
}

/// CodeSha256: base64 of the digest that rows have in hexadecimal digits.
pub(super) fn code_sha256(hex: &str) -> String {
    let bytes: Vec<u8> = (0..hex.len() / 2)
        .filter_map(|at| u8::from_str_radix(hex.get(at * 2..at * 2 + 2)?, 16).ok())
        .collect();
    STANDARD.encode(bytes)
}

/// FunctionConfiguration without the state, as lists have it; `qualifier` is what the ARN ends in.
pub(super) fn listed(row: &VersionRow, home: &Home, qualifier: Option<&str>) -> Value {
    let configuration = &row.configuration;
    let mut answer = json!({
        "FunctionName": row.function,
        "FunctionArn": home.function_arn(&row.function, qualifier),
        "Runtime": configuration.runtime,
        "Role": configuration.role,
        "Handler": configuration.handler,
        "CodeSize": row.code.size,
        "Description": configuration.description,
        "Timeout": configuration.timeout,
        "MemorySize": configuration.memory,
        "LastModified": last_modified(row.modified),
        "CodeSha256": code_sha256(&row.code.sha256),
        "Version": version_text(row.version),
        "TracingConfig": {"Mode": "PassThrough"},
        "RevisionId": row.revision,
        "PackageType": "Zip",
        "Architectures": [configuration.architecture.name()],
        "EphemeralStorage": {"Size": configuration.ephemeral_mb},
        "SnapStart": {"ApplyOn": "None", "OptimizationStatus": "Off"},
        "LoggingConfig": {"LogFormat": "Text", "LogGroup": configuration.log_group},
    });
    if !configuration.environment.0.is_empty() {
        answer["Environment"] = json!({"Variables": configuration.environment.0});
    }
    if let Some(arn) = &configuration.dead_letter {
        answer["DeadLetterConfig"] = json!({"TargetArn": arn});
    }
    if !configuration.layers.is_empty() {
        let shown = configuration.layers.iter();
        let shown: Vec<Value> =
            shown.map(|l| json!({"Arn": l.arn, "CodeSize": l.code.size})).collect();
        answer["Layers"] = json!(shown);
    }
    answer
}

/// FunctionConfiguration of one version.
pub(super) fn shown(row: &VersionRow, home: &Home, qualifier: Option<&str>) -> Value {
    let mut answer = listed(row, home, qualifier);
    answer["State"] = json!("Active");
    answer["LastUpdateStatus"] = json!("Successful");
    answer
}

#[cfg(test)]
mod tests;

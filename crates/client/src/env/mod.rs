//! `kennel env` and `kennel credentials`: an identity for the AWS tools that people already have.

mod block;
mod install;
mod shell;

use std::time::Duration;

use clap::Args;
use serde_json::json;

use crate::client::{Client, Service};
use crate::error::ClientError;
use crate::output::{line, note};
use crate::paths::DEFAULT_EXECUTION_ROLE;
use crate::target::{Credentials, ServerRecord, TargetArguments};
use shell::Change;
pub use shell::Shell;

/// Lifetime of the session, in seconds; the role's maximum.
const SESSION: Duration = Duration::from_secs(12 * 3600);

/// `kennel env`.
#[derive(Debug, Args)]
pub struct EnvArguments {
    #[command(flatten)]
    target: TargetArguments,
    /// The root keys instead of a session of the execution role
    #[arg(long)]
    root: bool,
    /// Shell to write for
    #[arg(long, value_enum, default_value = "posix", value_name = "SHELL")]
    shell: Shell,
    /// Print JSON instead of exports
    #[arg(long, conflicts_with = "shell")]
    json: bool,
    /// Add the AWS profile `kennel` and the SageMaker SDK's STS hook, then print the exports
    #[arg(long, conflicts_with_all = ["uninstall", "aws"])]
    install: bool,
    /// Remove exactly what --install added
    #[arg(long, conflicts_with_all = ["root", "json", "aws"])]
    uninstall: bool,
    /// With --install: put the hook into this interpreter instead of a folder for PYTHONPATH
    #[arg(long, value_name = "PYTHON", requires = "install")]
    python: Option<std::path::PathBuf>,
}

/// `kennel credentials`, for `credential_process`.
#[derive(Debug, Args)]
pub struct CredentialsArguments {
    #[command(flatten)]
    target: TargetArguments,
    /// The root keys instead of a session of the execution role
    #[arg(long)]
    root: bool,
}

/// Keys and when they end.
#[derive(Debug, Clone)]
pub(crate) struct Session {
    pub credentials: Credentials,
    /// ISO 8601; none for keys that do not end.
    pub expiration: Option<String>,
}

/// A session of the default execution role, 12 hours long.
///
/// The SageMaker SDK asks for the caller's ARN and needs an assumed role there.
pub(crate) fn role_session(client: &Client) -> Result<Session, ClientError> {
    let account = crate::commands::account(client)?;
    let role = format!("arn:aws:iam::{account}:role/service-role/{DEFAULT_EXECUTION_ROLE}");
    let seconds = SESSION.as_secs().to_string();
    let result = client.query(
        Service::Sts,
        "AssumeRole",
        &[("RoleArn", &role), ("RoleSessionName", "SageMaker"), ("DurationSeconds", &seconds)],
    )?;
    let text = |name: &str| {
        result.find("Credentials").and_then(|c| c.text(name)).map(str::to_owned).ok_or_else(|| {
            let (operation, reason) = ("sts:AssumeRole".to_owned(), format!("no {name}"));
            ClientError::Answer { operation, reason }
        })
    };
    let keys = Credentials::new(
        text("AccessKeyId")?,
        text("SecretAccessKey")?,
        Some(text("SessionToken")?),
    );
    Ok(Session { credentials: keys, expiration: Some(text("Expiration")?) })
}

/// Runs `kennel credentials`.
///
/// # Errors
/// When the platform does not run or refuses.
pub fn credentials(arguments: &CredentialsArguments) -> Result<(), ClientError> {
    // A tool that runs this has a profile's environment, which must not lead back to itself.
    let mut target = arguments.target.clone();
    if !target.aws {
        target.data_dir = Some(target.data_folder());
    }
    let client = Client::new(target.resolve()?);
    let session = session(&client, arguments.root)?;
    let mut answer = json!({
        "Version": 1,
        "AccessKeyId": session.credentials.access_key_id,
        "SecretAccessKey": session.credentials.secret_access_key,
    });
    if let Some(token) = session.credentials.session_token {
        answer["SessionToken"] = token.into();
    }
    if let Some(expiration) = session.expiration {
        answer["Expiration"] = expiration.into();
    }
    line(answer);
    Ok(())
}

fn session(client: &Client, root: bool) -> Result<Session, ClientError> {
    if root {
        return Ok(Session { credentials: client.target().credentials.clone(), expiration: None });
    }
    role_session(client)
}

/// Runs `kennel env`.
///
/// # Errors
/// When the platform does not run, or a file cannot be changed.
pub fn env(arguments: &EnvArguments) -> Result<(), ClientError> {
    if arguments.target.aws {
        return Err(ClientError::Usage(
            "`kennel env` is for the local platform\nhint: AWS's tools have their own keys for AWS"
                .to_owned(),
        ));
    }
    let folder = arguments.target.data_folder();
    if arguments.uninstall {
        let removed = install::uninstall(&folder)?;
        tell_removed(&removed);
        return Ok(());
    }
    // The exports of an earlier call must not be what this call is signed with.
    let own = TargetArguments { data_dir: Some(folder.clone()), ..arguments.target.clone() };
    let client = Client::new(own.resolve()?);
    let session = session(&client, arguments.root)?;
    let installed = if arguments.install {
        let server = ServerRecord::read(&folder)?.ok_or_else(|| ClientError::NotRunning {
            reason: "its address is unknown".to_owned(),
        })?;
        let program = std::env::current_exe()
            .map_err(ClientError::file("read", std::path::Path::new("kennel")))?;
        let installed = install::install(&install::InstallOptions {
            data_dir: &folder,
            server: &server,
            program,
            python: arguments.python.clone(),
            aws_config: install::config_file(),
        })?;
        tell_installed(&installed);
        installed
    } else {
        install::installed(&folder)?
    };
    let changes = changes(&client, &session, &installed);
    if arguments.json {
        let mut object = serde_json::Map::new();
        for change in &changes {
            match change {
                Change::Set(name, value) | Change::Prepend(name, value) => {
                    object.insert((*name).to_owned(), value.clone().into());
                }
                Change::Unset(name) => {
                    object.insert((*name).to_owned(), serde_json::Value::Null);
                }
            }
        }
        crate::output::json(&object.into());
        return Ok(());
    }
    for change in &changes {
        line(shell::line(arguments.shell, change));
    }
    Ok(())
}

fn changes(client: &Client, session: &Session, installed: &install::Installed) -> Vec<Change> {
    let target = client.target();
    let keys = &session.credentials;
    let mut all = vec![
        Change::Set("AWS_ENDPOINT_URL", target.endpoint.clone().unwrap_or_default()),
        Change::Set("AWS_ACCESS_KEY_ID", keys.access_key_id.clone()),
        Change::Set("AWS_SECRET_ACCESS_KEY", keys.secret_access_key.clone()),
        match &keys.session_token {
            Some(token) => Change::Set("AWS_SESSION_TOKEN", token.clone()),
            None => Change::Unset("AWS_SESSION_TOKEN"),
        },
        // botocore reads the first, most other SDKs the second.
        Change::Set("AWS_DEFAULT_REGION", target.region.clone()),
        Change::Set("AWS_REGION", target.region.clone()),
    ];
    if let Some(folder) = &installed.python_folder {
        all.push(Change::Prepend("PYTHONPATH", folder.display().to_string()));
    }
    all
}

fn tell_installed(installed: &install::Installed) {
    if let Some(config) = &installed.aws_config {
        note(format!("profile `kennel` is in {}", config.display()));
    }
    if let Some(folder) = &installed.python_folder {
        note(format!("the SageMaker SDK's STS hook is in {}", folder.display()));
    }
    for path in &installed.site_files {
        note(format!("wrote {}", path.display()));
    }
    note("`kennel env --uninstall` removes all of it");
}

fn tell_removed(removed: &install::Installed) {
    if *removed == install::Installed::default() {
        note("nothing was installed");
    }
    if let Some(config) = &removed.aws_config {
        note(format!("removed the profile `kennel` from {}", config.display()));
    }
    for path in removed.python_folder.iter().chain(&removed.site_files) {
        note(format!("removed {}", path.display()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Server, ok};

    #[test]
    fn a_session_of_the_execution_role_is_exported() {
        let answer = "<AssumeRoleResponse><AssumeRoleResult><Credentials><AccessKeyId>ASIA1</AccessKeyId>\
            <SecretAccessKey>s</SecretAccessKey><SessionToken>t/+=</SessionToken>\
            <Expiration>2026-11-21T23:00:00Z</Expiration></Credentials></AssumeRoleResult></AssumeRoleResponse>";
        let server = Server::replies(vec![ok(answer)]);
        let client = server.client();
        let session = role_session(&client).unwrap();
        assert_eq!(session.credentials.access_key_id, "ASIA1");
        let body = String::from_utf8(server.seen()[0].body.clone()).unwrap();
        assert!(
            body.contains("RoleArn=arn%3Aaws%3Aiam%3A%3A123456789012%3Arole%2Fservice-role%2FAmazonSageMaker-ExecutionRole"),
            "{body}"
        );
        let installed = install::Installed {
            python_folder: Some("/d/python".into()),
            ..install::Installed::default()
        };
        let lines: Vec<String> = changes(&client, &session, &installed)
            .iter()
            .skip(1)
            .map(|c| shell::line(Shell::Posix, c))
            .collect();
        assert_eq!(
            lines,
            [
                "export AWS_ACCESS_KEY_ID=ASIA1",
                "export AWS_SECRET_ACCESS_KEY=s",
                "export AWS_SESSION_TOKEN=t/+=",
                "export AWS_DEFAULT_REGION=us-east-1",
                "export AWS_REGION=us-east-1",
                "export PYTHONPATH=/d/python\"${PYTHONPATH:+:$PYTHONPATH}\"",
            ]
        );
        let root = Session { credentials: Credentials::new("A", "b", None), expiration: None };
        assert!(changes(&client, &root, &installed).contains(&Change::Unset("AWS_SESSION_TOKEN")));
    }
}

//! Whom a command talks to: flags, else the environment, else the files of the local platform.

use std::fmt;
use std::path::{Path, PathBuf};

use clap::Args;
use serde::{Deserialize, Serialize};

use crate::error::ClientError;
use crate::files::read_if_any;
use crate::paths::{ROOT_CREDENTIALS_FILE, SERVER_FILE, default_data_dir};
use crate::profile::Profile;

/// The region where nothing says otherwise, locally.
const LOCAL_REGION: &str = "us-east-1";

/// Keys that sign requests.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// `AKIA…`, or `ASIA…` of a session.
    pub access_key_id: String,
    /// The secret; never printed by `Debug`.
    pub secret_access_key: String,
    /// The token of a session.
    pub session_token: Option<String>,
}

impl Credentials {
    /// Keys, with the token of a session.
    pub fn new(
        access_key_id: impl Into<String>,
        secret_access_key: impl Into<String>,
        session_token: Option<String>,
    ) -> Self {
        let (access_key_id, secret_access_key) = (access_key_id.into(), secret_access_key.into());
        Credentials { access_key_id, secret_access_key, session_token }
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("access_key_id", &self.access_key_id)
            .field("secret_access_key", &"(redacted)")
            .field("session_token", &self.session_token.as_ref().map(|_| "(redacted)"))
            .finish()
    }
}

/// `server.json` of the data folder: where the platform listens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerRecord {
    /// Process id of `kennel up`.
    pub pid: u32,
    /// `127.0.0.1:4566`.
    pub address: String,
    /// `http://127.0.0.1:4566`.
    pub url: String,
    /// The platform's region.
    pub region: String,
    /// The platform's account, twelve digits.
    pub account: String,
    /// Kennel's version, where it is recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

impl ServerRecord {
    /// Reads `server.json`; none where the platform never ran or stopped.
    ///
    /// # Errors
    /// When the file cannot be read or is not such a record.
    pub fn read(data_dir: &Path) -> Result<Option<ServerRecord>, ClientError> {
        read_json(&data_dir.join(SERVER_FILE))
    }
}

/// `root-credentials.json` of the data folder.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootCredentials {
    /// The root user's key.
    pub access_key_id: String,
    /// Its secret.
    pub secret_access_key: String,
    /// The account it is the root of.
    pub account: String,
}

impl fmt::Debug for RootCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RootCredentials")
            .field("access_key_id", &self.access_key_id)
            .field("account", &self.account)
            .finish_non_exhaustive()
    }
}

impl RootCredentials {
    /// Reads `root-credentials.json`; none where the platform never ran.
    ///
    /// # Errors
    /// When the file cannot be read or is not such a record.
    pub fn read(data_dir: &Path) -> Result<Option<RootCredentials>, ClientError> {
        read_json(&data_dir.join(ROOT_CREDENTIALS_FILE))
    }
}

fn read_json<T: for<'a> Deserialize<'a>>(path: &Path) -> Result<Option<T>, ClientError> {
    let Some(bytes) = read_if_any(path)? else { return Ok(None) };
    serde_json::from_slice(&bytes).map(Some).map_err(|e| {
        ClientError::Credentials(format!(
            "`{}` cannot be read: {e}\nhint: `kennel up` writes it anew",
            path.display()
        ))
    })
}

/// Flags that every client command has.
#[derive(Debug, Clone, Default, Args)]
pub struct TargetArguments {
    /// Data folder of the platform [default: KENNEL_DATA_DIR, else the platform's data folder]
    #[arg(
        long,
        value_name = "DIR",
        help_heading = "Connection",
        global = true,
        conflicts_with = "aws"
    )]
    pub data_dir: Option<PathBuf>,
    /// Talk to real AWS, with the keys of the environment or of a profile
    #[arg(long, help_heading = "Connection", global = true)]
    pub aws: bool,
    /// Region [default: the platform's; with --aws AWS_REGION or the profile's]
    #[arg(long, value_name = "REGION", help_heading = "Connection", global = true)]
    pub region: Option<String>,
    /// Profile of ~/.aws, with --aws [default: AWS_PROFILE, else default]
    #[arg(long, value_name = "NAME", help_heading = "Connection", global = true, requires = "aws")]
    pub profile: Option<String>,
}

/// Whom to talk to and as whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// `http://host:port` for everything; none for real AWS, where each service has its own.
    pub endpoint: Option<String>,
    /// The region in signatures and addresses.
    pub region: String,
    /// The account, where a file says so.
    pub account: Option<String>,
    /// The keys.
    pub credentials: Credentials,
    /// The data folder, when the target was found there.
    pub data_dir: Option<PathBuf>,
}

impl TargetArguments {
    /// The data folder meant, whether or not the target comes from there.
    pub fn data_folder(&self) -> PathBuf {
        self.data_dir.clone().unwrap_or_else(default_data_dir)
    }

    /// Decides whom to talk to.
    ///
    /// # Errors
    /// [`ClientError::NotRunning`] when nothing was ever started there; [`ClientError::Credentials`]
    /// when keys or a region are missing.
    pub fn resolve(&self) -> Result<Target, ClientError> {
        self.resolve_with(&|name| std::env::var(name).ok().filter(|v| !v.is_empty()))
    }

    fn resolve_with(&self, env: &dyn Fn(&str) -> Option<String>) -> Result<Target, ClientError> {
        let keys = || {
            let (id, secret) = (env("AWS_ACCESS_KEY_ID")?, env("AWS_SECRET_ACCESS_KEY")?);
            Some(Credentials::new(id, secret, env("AWS_SESSION_TOKEN")))
        };
        let region = || {
            self.region.clone().or_else(|| env("AWS_REGION")).or_else(|| env("AWS_DEFAULT_REGION"))
        };
        if self.aws {
            return self.real(env, keys, region);
        }
        if self.data_dir.is_none()
            && let (Some(url), Some(credentials)) = (env("AWS_ENDPOINT_URL"), keys())
        {
            let endpoint = check_url(&url)?;
            let region = region().unwrap_or_else(|| LOCAL_REGION.to_owned());
            let (account, data_dir) = (None, None);
            return Ok(Target { endpoint: Some(endpoint), region, account, credentials, data_dir });
        }
        let folder = self.data_folder();
        let server = ServerRecord::read(&folder)?.ok_or_else(|| ClientError::NotRunning {
            reason: format!("`{}` has no {SERVER_FILE}", folder.display()),
        })?;
        let root = RootCredentials::read(&folder)?.ok_or_else(|| {
            ClientError::Credentials(format!(
                "`{}` has no {ROOT_CREDENTIALS_FILE}\nhint: `kennel up` makes the root keys; if you removed them on purpose, use keys of your own with AWS_ENDPOINT_URL={}",
                folder.display(),
                server.url
            ))
        })?;
        Ok(Target {
            endpoint: Some(check_url(&server.url)?),
            region: self.region.clone().unwrap_or(server.region),
            account: Some(root.account),
            credentials: Credentials::new(root.access_key_id, root.secret_access_key, None),
            data_dir: Some(folder),
        })
    }

    fn real(
        &self,
        env: &dyn Fn(&str) -> Option<String>,
        keys: impl Fn() -> Option<Credentials>,
        region: impl Fn() -> Option<String>,
    ) -> Result<Target, ClientError> {
        let name = self.profile.clone().or_else(|| env("AWS_PROFILE"));
        let profile = Profile::read(name.as_deref().unwrap_or("default"))?;
        // The exports of `kennel env` are keys of the platform, which AWS does not know.
        if self.profile.is_none() && keys().is_some() && env("AWS_ENDPOINT_URL").is_some() {
            return Err(ClientError::Credentials(
                "the keys in the environment belong to the endpoint in AWS_ENDPOINT_URL, not to AWS\nhint: name a profile, as in --profile default, or unset AWS_ENDPOINT_URL and the keys"
                    .to_owned(),
            ));
        }
        // A profile that was asked for by a flag beats keys that happen to be in the environment.
        let credentials = match keys().filter(|_| self.profile.is_none()) {
            Some(keys) => keys,
            None => profile.credentials()?,
        };
        let region = region().or(profile.region).ok_or_else(|| {
            ClientError::Credentials(
                "no region is set\nhint: name one, as in --region us-east-1".to_owned(),
            )
        })?;
        let fits = |c: char| c.is_ascii_alphanumeric() || c == '-';
        if region.is_empty() || !region.chars().all(fits) {
            return Err(ClientError::Usage(format!("`{region}` is no region")));
        }
        Ok(Target { endpoint: None, region, account: None, credentials, data_dir: None })
    }
}

/// An endpoint without its last slash; what comes after it are paths.
fn check_url(url: &str) -> Result<String, ClientError> {
    let bad = || {
        ClientError::Usage(format!(
            "`{url}` is no endpoint\nhint: one looks like http://127.0.0.1:4566"
        ))
    };
    let uri: http::Uri = url.parse().map_err(|_| bad())?;
    let known = matches!(uri.scheme_str(), Some("http" | "https"));
    if !known || uri.authority().is_none() || uri.query().is_some() {
        return Err(bad());
    }
    Ok(url.trim_end_matches('/').to_owned())
}

#[cfg(test)]
mod tests;

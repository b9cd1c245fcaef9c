//! `kennel.toml`: one file, flag > environment > file, unknown keys refused.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use kennel_base::{ErrorCode, ErrorCoded};
use serde::Deserialize;

/// The file's contents.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// `[server]`.
    pub server: Server,
    /// `[runtimes.NAME]`.
    pub runtimes: BTreeMap<String, Runtime>,
    /// `[remote_s3.BUCKET]`.
    pub remote_s3: BTreeMap<String, RemoteS3>,
    /// `[lambda]`.
    pub lambda: Lambda,
    /// `[autoscaling]`.
    pub autoscaling: Autoscaling,
}

/// `[autoscaling]`: scaling of endpoints' variants.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Autoscaling {
    /// How policies decide that no tag says otherwise of: `aws` or `fast`.
    pub mode: crate::autoscaling::Mode,
}

/// `[lambda]`: functions.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Lambda {
    /// What the waits between tries of an asynchronous invocation (one minute, then two) are multiplied with;
    /// below 1 for tests and for the impatient.
    pub retry_wait_scale: f64,
}

impl Default for Lambda {
    fn default() -> Self {
        Lambda { retry_wait_scale: 1.0 }
    }
}

/// `[server]`: what `kennel up`'s flags say otherwise.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Server {
    /// Address to listen on.
    pub bind: Option<std::net::IpAddr>,
    /// Port; 0 takes a free one.
    pub port: Option<u16>,
    /// Region in answers.
    pub region: Option<String>,
    /// Account, 12 digits; made up at first start otherwise.
    pub account: Option<String>,
}

/// `[runtimes.NAME]`: what runs the scripts of a framework's containers.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Runtime {
    /// The Python interpreter.
    pub python: PathBuf,
}

/// `[remote_s3.BUCKET]`: a bucket elsewhere that training jobs may read.
///
/// The keys to sign with are named, not written here: either two (or three) environment variables of
/// `kennel up`, or a profile of `~/.aws/credentials`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RemoteS3 {
    /// `https://host[:port]`; AWS where it is absent.
    pub endpoint: Option<String>,
    /// Region; `us-east-1` where it is absent.
    pub region: Option<String>,
    /// Environment variable with the access key id.
    pub access_key_id_env: Option<String>,
    /// Environment variable with the secret access key.
    pub secret_access_key_env: Option<String>,
    /// Environment variable with the session token, for temporary keys.
    pub session_token_env: Option<String>,
    /// Profile of `~/.aws/credentials` with static keys.
    pub profile: Option<String>,
    /// Whether the endpoint may be plain HTTP.
    pub allow_http: bool,
    /// The bucket in the path instead of the host name; by default where `endpoint` is given, and
    /// where the bucket has a dot, which certificates of virtual hosts do not cover.
    pub path_style: Option<bool>,
}

impl RemoteS3 {
    /// The region to sign for.
    pub fn region(&self) -> &str {
        self.region.as_deref().unwrap_or("us-east-1")
    }

    /// `https://host[:port]` without the bucket.
    pub fn url(&self) -> String {
        match &self.endpoint {
            Some(endpoint) => endpoint.trim_end_matches('/').to_owned(),
            None => format!("https://s3.{}.amazonaws.com", self.region()),
        }
    }

    /// Whether the bucket goes into the path.
    pub fn path_style(&self, bucket: &str) -> bool {
        self.path_style.unwrap_or(self.endpoint.is_some() || bucket.contains('.'))
    }

    fn check(&self, bucket: &str) -> Result<(), String> {
        // Both become part of an address.
        let plain = |text: &str| {
            !text.is_empty()
                && text
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_'))
        };
        if !plain(bucket) {
            return Err(format!("`{bucket}` is not a bucket name"));
        }
        if !plain(self.region()) {
            return Err(format!("region: `{}` is not a region", self.region()));
        }
        let url = self.url();
        let uri: http::Uri =
            url.parse().map_err(|e| format!("endpoint: `{url}` is not an address: {e}"))?;
        let whole = uri.path() == "/" && uri.query().is_none();
        let authority = uri.authority().is_some_and(|a| !a.as_str().contains('@'));
        match uri.scheme_str() {
            Some("https") if whole && authority => {}
            Some("http") if whole && authority && self.allow_http => {}
            Some("http") if whole && authority => {
                return Err(format!(
                    "endpoint: `{url}` is plain HTTP, which anybody between can read and change; say `allow_http = true` if that is meant"
                ));
            }
            _ => {
                return Err(format!("endpoint: `{url}` is not of the form https://host:port"));
            }
        }
        let pair = self.access_key_id_env.is_some() && self.secret_access_key_env.is_some();
        let none = self.access_key_id_env.is_none()
            && self.secret_access_key_env.is_none()
            && self.session_token_env.is_none();
        if self.profile.is_some() && none || self.profile.is_none() && pair {
            Ok(())
        } else {
            Err("either `access_key_id_env` and `secret_access_key_env` (names of environment variables) or `profile` says which keys to use".to_owned())
        }
    }
}

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// Not readable.
    #[error("cannot read `{}`: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The system's words.
        source: std::io::Error,
    },
    /// Not what it should be.
    #[error("`{}`: {message}\nhint: docs/platform.md lists every key", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// Where and what.
        message: String,
    },
}

impl ErrorCoded for ConfigError {
    fn code(&self) -> ErrorCode {
        ErrorCode::InvalidInput
    }
}

impl Config {
    /// Reads and checks a file; a missing one is an empty configuration unless it was asked for.
    ///
    /// # Errors
    /// See [`ConfigError`].
    pub fn load(path: &Path, required: bool) -> Result<Self, ConfigError> {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound && !required => {
                return Ok(Config::default());
            }
            Err(source) => return Err(ConfigError::Unreadable { path: path.to_owned(), source }),
        };
        let invalid = |message: String| ConfigError::Invalid { path: path.to_owned(), message };
        let config: Config = toml::from_str(&text).map_err(|e| invalid(e.to_string()))?;
        if let Some(account) = &config.server.account {
            check_account(account).map_err(|e| invalid(format!("server.account: {e}")))?;
        }
        for (name, runtime) in &config.runtimes {
            let version = name.strip_prefix("python3.").is_some_and(|minor| {
                !minor.is_empty() && minor.bytes().all(|b| b.is_ascii_digit())
            });
            if !matches!(name.as_str(), "pytorch" | "python") && !version {
                return Err(invalid(format!(
                    "runtimes.{name}: the runtimes are `pytorch`, `python` and `python3.N`"
                )));
            }
            if !runtime.python.is_file() {
                return Err(invalid(format!(
                    "runtimes.{name}.python: `{}` is no file",
                    runtime.python.display()
                )));
            }
        }
        let scale = config.lambda.retry_wait_scale;
        if !(0.0..=1000.0).contains(&scale) {
            return Err(invalid(format!(
                "lambda.retry_wait_scale: `{scale}` is not from 0 to 1000"
            )));
        }
        for (bucket, remote) in &config.remote_s3 {
            remote.check(bucket).map_err(|e| invalid(format!("remote_s3.{bucket}: {e}")))?;
        }
        Ok(config)
    }
}

/// An account id is twelve digits.
///
/// # Errors
/// What is wrong with it.
pub fn check_account(account: &str) -> Result<(), String> {
    if account.len() == 12 && account.bytes().all(|b| b.is_ascii_digit()) {
        Ok(())
    } else {
        Err(format!("`{account}` is not an account id (12 digits)"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str) -> Result<Config, ConfigError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("kennel.toml");
        std::fs::write(&path, text).unwrap();
        Config::load(&path, true)
    }

    #[test]
    fn known_keys_are_read_and_unknown_ones_refused() {
        let config = load("[server]\nport = 0\naccount = \"123456789012\"\n").unwrap();
        assert_eq!(config.server.port, Some(0));
        let error = load("[server]\nprot = 1\n").unwrap_err().to_string();
        assert!(error.contains("prot"), "{error}");
        assert!(load("[server]\naccount = \"12\"\n").is_err());
        let error = load("[runtimes.pytorch]\npython = \"/no/python\"\n").unwrap_err().to_string();
        assert!(error.contains("/no/python"), "{error}");
    }

    #[test]
    fn remote_buckets_name_their_keys_and_an_address() {
        let keys = "access_key_id_env = \"A\"\nsecret_access_key_env = \"B\"\n";
        let of = |bucket: &str, rest: &str| load(&format!("[remote_s3.{bucket}]\n{rest}"));
        let config = of("photos", &format!("endpoint = \"https://minio:9000/\"\n{keys}")).unwrap();
        let remote = &config.remote_s3["photos"];
        assert_eq!(remote.url(), "https://minio:9000");
        assert!(remote.path_style("photos"));
        let aws = of("photos", "profile = \"default\"\nregion = \"eu-west-1\"\n").unwrap();
        let remote = &aws.remote_s3["photos"];
        assert_eq!(remote.url(), "https://s3.eu-west-1.amazonaws.com");
        assert!(!remote.path_style("photos") && remote.path_style("my.photos"));
        for (bucket, rest, said) in [
            ("photos", String::new(), "which keys"),
            ("photos", "access_key_id_env = \"A\"".to_owned(), "which keys"),
            ("photos", format!("profile = \"p\"\n{keys}"), "which keys"),
            ("photos", format!("endpoint = \"http://minio:9000\"\n{keys}"), "allow_http"),
            ("photos", format!("endpoint = \"minio:9000\"\n{keys}"), "https://host:port"),
            ("photos", format!("endpoint = \"https://u:p@minio\"\n{keys}"), "https://host:port"),
            ("photos", format!("endpoint = \"https://minio/path\"\n{keys}"), "https://host:port"),
            ("photos", format!("region = \"a/b\"\n{keys}"), "not a region"),
            ("photos", format!("secret = \"x\"\n{keys}"), "secret"),
            ("\"a/b\"", keys.to_owned(), "not a bucket name"),
        ] {
            let error = of(bucket, &rest).unwrap_err().to_string();
            assert!(error.contains(said), "{rest}: {error}");
        }
    }

    #[test]
    fn a_missing_file_is_empty_unless_asked_for() {
        let nowhere = Path::new("/nowhere/kennel.toml");
        assert_eq!(Config::load(nowhere, false).unwrap(), Config::default());
        assert!(Config::load(nowhere, true).is_err());
    }
}

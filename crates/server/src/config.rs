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
            if name != "pytorch" {
                return Err(invalid(format!("runtimes.{name}: the one runtime is `pytorch`")));
            }
            if !runtime.python.is_file() {
                return Err(invalid(format!(
                    "runtimes.{name}.python: `{}` is no file",
                    runtime.python.display()
                )));
            }
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
    fn a_missing_file_is_empty_unless_asked_for() {
        let nowhere = Path::new("/nowhere/kennel.toml");
        assert_eq!(Config::load(nowhere, false).unwrap(), Config::default());
        assert!(Config::load(nowhere, true).is_err());
    }
}

//! The root's keys: made at the first start, kept in one file that only its owner reads.

use std::fmt;
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::ids;

/// The file's name in the data folder.
pub const ROOT_CREDENTIALS: &str = "root-credentials.json";

/// The account and the keys that may do everything in it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RootCredentials {
    /// 12 digits.
    #[serde(rename = "account")]
    pub account_id: String,
    /// `AKIA…`
    pub access_key_id: String,
    /// 40 characters.
    pub secret_access_key: String,
}

impl fmt::Debug for RootCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RootCredentials")
            .field("account_id", &self.account_id)
            .field("access_key_id", &self.access_key_id)
            .field("secret_access_key", &"<redacted>")
            .finish()
    }
}

/// Why the root's keys cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum RootError {
    /// The file or its folder.
    #[error("root credentials `{path}`: {source}", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's words.
        source: std::io::Error,
    },
    /// The file holds something else.
    #[error(
        "root credentials `{path}` cannot be read: {reason}\nhint: move the file away; the next start makes new keys for the same account",
        path = path.display()
    )]
    Broken {
        /// The file.
        path: PathBuf,
        /// What is wrong, without the content.
        reason: String,
    },
    /// The system gave no random bytes.
    #[error("no random bytes for the root's keys")]
    Random,
}

impl RootCredentials {
    /// Reads the file of a data folder; `None` when there is none yet.
    ///
    /// # Errors
    /// When it cannot be read or is not such a file.
    pub fn read(data_dir: &Path) -> Result<Option<Self>, RootError> {
        let path = data_dir.join(ROOT_CREDENTIALS);
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(RootError::Io { path, source }),
        };
        match serde_json::from_str(&text) {
            Ok(root) => Ok(Some(root)),
            // serde's words could quote the secret; the place is enough.
            Err(e) => {
                let reason = format!("line {} column {}", e.line(), e.column());
                Err(RootError::Broken { path, reason })
            }
        }
    }

    /// The keys of a data folder, made if there are none. The file is complete or absent.
    pub(crate) fn read_or_make(data_dir: &Path, account: &str) -> Result<Self, RootError> {
        let path = data_dir.join(ROOT_CREDENTIALS);
        let failed = |source| RootError::Io { path: path.clone(), source };
        if let Some(root) = Self::read(data_dir)? {
            if root.account_id != account {
                let reason =
                    format!("it is of account {}, the database of {account}", root.account_id);
                return Err(RootError::Broken { path, reason });
            }
            only_owner(&path).map_err(failed)?;
            return Ok(root);
        }
        let made = || Ok::<_, super::error::Refusal>((ids::access_key("AKIA")?, ids::secret()?));
        let (access_key_id, secret_access_key) = made().map_err(|_| RootError::Random)?;
        let root =
            RootCredentials { account_id: account.to_owned(), access_key_id, secret_access_key };
        let text =
            serde_json::to_string_pretty(&root).map_err(|e| failed(std::io::Error::other(e)))?;
        // Temporary files are made with mode 0600.
        let mut aside = tempfile::NamedTempFile::new_in(data_dir).map_err(failed)?;
        aside.write_all(text.as_bytes()).map_err(failed)?;
        aside.write_all(b"\n").map_err(failed)?;
        aside.as_file().sync_all().map_err(failed)?;
        aside.persist(&path).map_err(|e| failed(e.error))?;
        std::fs::File::open(data_dir).and_then(|folder| folder.sync_all()).map_err(failed)?;
        Ok(root)
    }
}

/// Takes a file's permissions from everybody but its owner. No file, nothing to do.
pub(crate) fn only_owner(path: &Path) -> std::io::Result<()> {
    match std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)) {
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

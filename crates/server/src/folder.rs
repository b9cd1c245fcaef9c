//! The data folder: who holds it, and how private files are written into it.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};

use kennel_base::{ErrorCode, ErrorCoded};
use rustix::fs::FlockOperation;
use serde::{Deserialize, Serialize};

/// Why the data folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// Another server runs on it.
    #[error(
        "`{}` is in use by another `kennel up` (pid {pid})\nhint: stop it with `kennel down`, or choose another `--data-dir`",
        path.display()
    )]
    InUse {
        /// The folder.
        path: PathBuf,
        /// The other server's process.
        pid: String,
    },
    /// The system refused.
    #[error("cannot use `{}`: {source}\nhint: the data folder must be on a local disk, writable, with space left", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The system's words.
        source: std::io::Error,
    },
}

impl FolderError {
    pub(crate) fn io(path: &Path, source: std::io::Error) -> Self {
        FolderError::Io { path: path.to_owned(), source }
    }
}

impl ErrorCoded for FolderError {
    fn code(&self) -> ErrorCode {
        match self {
            FolderError::InUse { .. } => ErrorCode::Conflict,
            FolderError::Io { .. } => ErrorCode::Unavailable,
        }
    }
}

/// What a running server says of itself in `server.json`, for the command line.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ServerInfo {
    /// Process id.
    pub pid: u32,
    /// `127.0.0.1:4566`.
    pub address: String,
    /// `http://127.0.0.1:4566`.
    pub url: String,
    /// The region in answers.
    pub region: String,
    /// The account, 12 digits.
    pub account: String,
    /// The certificate for TLS clients (`AWS_CA_BUNDLE`).
    pub ca_bundle: PathBuf,
    /// The server's version.
    pub version: String,
}

/// A data folder that this process holds. The lock ends with the process, however it ends.
#[derive(Debug)]
pub struct DataFolder {
    path: PathBuf,
    _lock: File,
}

impl DataFolder {
    /// Makes the folder where it is missing and takes its lock.
    ///
    /// # Errors
    /// When another process holds it, or the system refuses.
    pub fn open(path: &Path) -> Result<Self, FolderError> {
        let failed = |e| FolderError::io(path, e);
        std::fs::create_dir_all(path).map_err(failed)?;
        restrict(path).map_err(failed)?;
        let path = path.canonicalize().map_err(failed)?;
        let name = path.join("lock");
        let failed = |e| FolderError::io(&name, e);
        let mut lock = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&name)
            .map_err(failed)?;
        if rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
            let mut pid = String::new();
            let _ = lock.read_to_string(&mut pid);
            let pid = if pid.trim().is_empty() { "unknown" } else { pid.trim() }.to_owned();
            return Err(FolderError::InUse { path, pid });
        }
        lock.set_len(0).map_err(failed)?;
        lock.rewind().map_err(failed)?;
        writeln!(lock, "{}", std::process::id()).map_err(failed)?;
        let _ = std::fs::remove_file(path.join("server.json"));
        Ok(DataFolder { path, _lock: lock })
    }

    /// The folder, absolute.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Says where this server is.
    ///
    /// # Errors
    /// The system's.
    pub fn announce(&self, info: &ServerInfo) -> Result<(), FolderError> {
        let path = self.path.join("server.json");
        let text = serde_json::to_vec_pretty(info).map_err(|e| FolderError::io(&path, e.into()))?;
        write_private(&path, &text)
    }
}

impl Drop for DataFolder {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(self.path.join("server.json"));
    }
}

#[cfg(unix)]
fn restrict(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o700))
}

#[cfg(not(unix))]
fn restrict(_path: &Path) -> std::io::Result<()> {
    Ok(())
}

/// Writes a file that only its owner can read: aside, flushed, renamed.
pub(crate) fn write_private(path: &Path, bytes: &[u8]) -> Result<(), FolderError> {
    let failed = |e| FolderError::io(path, e);
    let parent = path.parent().unwrap_or(Path::new("."));
    // tempfile makes files with mode 0600.
    let mut aside = tempfile::NamedTempFile::new_in(parent).map_err(failed)?;
    aside.write_all(bytes).map_err(failed)?;
    aside.as_file().sync_all().map_err(failed)?;
    aside.persist(path).map_err(|e| failed(e.error))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_holder_is_refused_with_the_first_ones_pid() {
        let folder = tempfile::tempdir().unwrap();
        let held = DataFolder::open(folder.path()).unwrap();
        // Another open file description, as another process would have.
        let error = DataFolder::open(folder.path()).unwrap_err();
        assert!(error.to_string().contains(&std::process::id().to_string()), "{error}");
        drop(held);
        DataFolder::open(folder.path()).unwrap();
    }

    #[cfg(unix)]
    #[test]
    fn private_files_are_private() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        write_private(&path, b"x").unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }
}

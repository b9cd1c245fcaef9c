//! Writing files so that a reader never sees half of one.

use std::io::Write;
use std::path::{Path, PathBuf};

use crate::error::ClientError;

/// Writes a file aside, flushes it and renames it into place. A link is followed, the mode of an
/// existing file kept; a new one gets `new_mode`.
pub(crate) fn write_aside(path: &Path, bytes: &[u8], new_mode: u32) -> Result<(), ClientError> {
    let target = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    write(&target, bytes, new_mode).map_err(ClientError::file("write", &target))
}

fn write(path: &Path, bytes: &[u8], new_mode: u32) -> std::io::Result<()> {
    let mut aside = aside(path)?;
    aside.as_file_mut().write_all(bytes)?;
    keep(aside, path, new_mode)
}

/// A temporary file in the folder of `path`, to be filled and [`keep`]t.
pub(crate) fn aside(path: &Path) -> std::io::Result<tempfile::NamedTempFile> {
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    tempfile::Builder::new().prefix(".kennel-").tempfile_in(folder)
}

/// Flushes and renames.
pub(crate) fn keep(
    aside: tempfile::NamedTempFile,
    path: &Path,
    new_mode: u32,
) -> std::io::Result<()> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = std::fs::metadata(path).map_or(new_mode, |m| m.permissions().mode() & 0o7777);
        aside.as_file().set_permissions(std::fs::Permissions::from_mode(mode))?;
    }
    #[cfg(not(unix))]
    let _ = new_mode;
    aside.as_file().sync_all()?;
    aside.persist(path).map_err(|e| e.error)?;
    Ok(())
}

/// The file's bytes; none where there is no file.
pub(crate) fn read_if_any(path: &Path) -> Result<Option<Vec<u8>>, ClientError> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(ClientError::file("read", path)(e)),
    }
}

/// All files below a folder with their path in it, `/`-separated and sorted. Links to folders are not
/// followed, so that a link upwards cannot loop.
pub(crate) fn walk(folder: &Path) -> Result<Vec<(PathBuf, String)>, ClientError> {
    let mut found = Vec::new();
    let mut open = vec![(folder.to_owned(), String::new())];
    while let Some((folder, prefix)) = open.pop() {
        let entries = std::fs::read_dir(&folder).map_err(ClientError::file("read", &folder))?;
        for entry in entries {
            let entry = entry.map_err(ClientError::file("read", &folder))?;
            let path = entry.path();
            let name = entry.file_name();
            let Some(name) = name.to_str() else {
                return Err(ClientError::Usage(format!(
                    "the name of `{}` is not UTF-8, as S3 keys are\nhint: rename it",
                    path.display()
                )));
            };
            let kind = entry.file_type().map_err(ClientError::file("read", &path))?;
            if kind.is_dir() {
                open.push((path, format!("{prefix}{name}/")));
            } else if path.is_file() {
                found.push((path, format!("{prefix}{name}")));
            }
        }
    }
    found.sort_by(|a, b| a.1.cmp(&b.1));
    Ok(found)
}

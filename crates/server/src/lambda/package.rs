//! Code and layers as zips. What comes in is hostile: only plain files, folders and links that stay inside
//! are made, within limits that are counted while inflating, in a folder that nobody reads before it is
//! whole.

mod elf;
pub(crate) mod shelf;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, Write as _};
use std::path::{Path, PathBuf};

use kennel_wire::ServiceError;

pub(crate) use self::elf::Program;
use super::error::{invalid, user};
use crate::service::state_failed;

/// Bytes of all files of a function and its layers, as on AWS.
pub(crate) const UNPACKED: u64 = 262_144_000;
/// Bytes of a zip that comes in the request, as on AWS.
pub(crate) const INLINE: u64 = 52_428_800;
/// Files and folders of one zip. AWS states no number; this bounds the time that deleting takes.
const NODES: usize = 100_000;
/// Folders in each other.
const DEPTH: usize = 64;
/// Bytes of an entry's name.
const NAME: usize = 1024;
/// Bytes of a link's target.
const TARGET: u64 = 1024;

/// Why a zip cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PackageError {
    /// Nothing was given.
    #[error("Uploaded file must be a non-empty zip")]
    Empty,
    /// Not a zip, or a damaged one.
    #[error(
        "Could not unzip uploaded file. Please check your file, then try to upload again.\nhint: {0}"
    )]
    Unreadable(String),
    /// An entry that must not be unpacked.
    #[error(
        "Could not unzip uploaded file. Please check your file, then try to upload again.\nhint: its entry `{entry}` {what}"
    )]
    Entry {
        /// The entry's name.
        entry: String,
        /// What is wrong with it.
        what: &'static str,
    },
    /// Over AWS's limit.
    #[error("Unzipped size must be smaller than {0} bytes")]
    TooLarge(u64),
    /// Over the request's limit.
    #[error(
        "Request must be smaller than 70167211 bytes for the CreateFunction operation\nhint: the zip has {0} bytes, and at most 52428800 can come in a request; put it into a bucket and give S3Bucket and S3Key"
    )]
    TooLargeInline(u64),
    /// The disk.
    #[error("cannot keep code at `{}`: {source}", path.display())]
    Write {
        /// Where.
        path: PathBuf,
        /// The system's words.
        source: io::Error,
    },
}

impl From<PackageError> for ServiceError {
    fn from(error: PackageError) -> Self {
        match error {
            PackageError::Write { .. } => state_failed(&error),
            PackageError::TooLargeInline(_) => {
                user("RequestEntityTooLargeException", 413, error.to_string())
            }
            other => invalid(other.to_string()),
        }
    }
}

fn unreadable(error: impl std::fmt::Display) -> PackageError {
    PackageError::Unreadable(error.to_string())
}

fn written(path: &Path) -> impl FnOnce(io::Error) -> PackageError {
    let path = path.to_owned();
    move |source| PackageError::Write { path, source }
}

/// What a path of the unpacked folder is to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Node {
    Folder,
    File { entry: usize, executable: bool },
    Link { entry: usize },
}

/// Unpacks a zip into an empty folder; answers the bytes of its files. Files become 0444, or 0555 where the
/// zip says that someone may execute them. The caller flushes, and removes the folder after an error.
///
/// # Errors
/// See [`PackageError`].
pub(crate) fn unpack(zip: File, folder: &Path, limit: u64) -> Result<u64, PackageError> {
    let mut reader = BufReader::new(zip);
    let length = reader.seek(io::SeekFrom::End(0)).map_err(unreadable)?;
    if length == 0 {
        return Err(PackageError::Empty);
    }
    reader.rewind().map_err(unreadable)?;
    refuse_crowds(&mut reader)?;
    reader.rewind().map_err(unreadable)?;
    let mut archive = zip::ZipArchive::new(reader).map_err(unreadable)?;
    if archive.is_empty() {
        return Err(PackageError::Empty);
    }
    let plan = plan(&mut archive)?;
    let mut left = limit;
    for (path, node) in &plan {
        let path = folder.join(path);
        match *node {
            // The plan is sorted, so a folder comes before what is in it.
            Node::Folder => std::fs::create_dir(&path).map_err(written(&path))?,
            Node::File { entry, executable } => {
                let mut entry = archive.by_index(entry).map_err(unreadable)?;
                let bytes = write_file(&mut entry, &path, executable, left)?;
                left = left
                    .checked_sub(bytes)
                    .filter(|left| *left > 0)
                    .ok_or(PackageError::TooLarge(limit))?;
            }
            Node::Link { .. } => {}
        }
    }
    // Links are made when nothing is written any more, so nothing is written through one.
    for (relative, node) in &plan {
        let Node::Link { entry } = *node else { continue };
        let mut entry = archive.by_index(entry).map_err(unreadable)?;
        let target = link_target(&mut entry, relative)?;
        let path = folder.join(relative);
        link(&target, &path).map_err(written(&path))?;
    }
    Ok(limit - left)
}

/// The directory of a zip is read into memory as a whole; this bounds it before. A zip that is stored in
/// the zip counts too, hence the factor.
fn refuse_crowds(reader: &mut impl Read) -> Result<(), PackageError> {
    const MARK: [u8; 4] = *b"PK\x01\x02";
    let mut seen = 0usize;
    let mut buffer = vec![0u8; 1 << 16];
    let mut kept = 0;
    loop {
        let space = buffer.get_mut(kept..).unwrap_or_default();
        let n = reader.read(space).map_err(unreadable)?;
        if n == 0 {
            return Ok(());
        }
        let filled = buffer.get(..kept + n).unwrap_or_default();
        seen += filled.windows(MARK.len()).filter(|bytes| *bytes == MARK).count();
        if seen > 4 * NODES {
            return Err(unreadable(format!("it has more than {NODES} entries")));
        }
        // A mark may lie across two pieces; three bytes cannot be counted twice.
        let rest = filled.len().saturating_sub(MARK.len() - 1)..filled.len();
        kept = rest.len();
        buffer.copy_within(rest, 0);
    }
}

/// What each path will be, checked before anything is made.
fn plan<R: Read + Seek>(
    archive: &mut zip::ZipArchive<R>,
) -> Result<BTreeMap<PathBuf, Node>, PackageError> {
    let mut plan: BTreeMap<PathBuf, Node> = BTreeMap::new();
    for number in 0..archive.len() {
        let entry = archive.by_index_raw(number).map_err(unreadable)?;
        let shown: String = entry.name().chars().take(256).collect();
        let refuse = |what| PackageError::Entry { entry: shown.clone(), what };
        if entry.encrypted() {
            return Err(refuse("is encrypted"));
        }
        let name = std::str::from_utf8(entry.name_raw())
            .map_err(|_| refuse("has a name that is not UTF-8"))?;
        let path = relative(name).map_err(refuse)?;
        let mode = entry.unix_mode().unwrap_or(0);
        let node = match mode & 0o170_000 {
            _ if name.ends_with('/') => Node::Folder,
            0o040_000 => Node::Folder,
            0 | 0o100_000 => Node::File { entry: number, executable: mode & 0o111 != 0 },
            0o120_000 => Node::Link { entry: number },
            _ => return Err(refuse("is a device, a pipe or a socket")),
        };
        if path.as_os_str().is_empty() {
            // `./`, which some tools write for the folder itself.
            if node == Node::Folder {
                continue;
            }
            return Err(refuse("has no name"));
        }
        let mut above = path.as_path();
        while let Some(parent) = above.parent().filter(|p| !p.as_os_str().is_empty()) {
            if *plan.entry(parent.to_owned()).or_insert(Node::Folder) != Node::Folder {
                return Err(refuse("is below a file or a link"));
            }
            above = parent;
        }
        match plan.get(&path) {
            None => drop(plan.insert(path, node)),
            Some(Node::Folder) if node == Node::Folder => {}
            Some(_) => return Err(refuse("is there twice")),
        }
        if plan.len() > NODES {
            return Err(unreadable(format!("it has more than {NODES} files and folders")));
        }
    }
    Ok(plan)
}

/// A name as a path below the folder.
fn relative(name: &str) -> Result<PathBuf, &'static str> {
    if name.len() > NAME {
        return Err("has a name that is too long");
    }
    if name.starts_with('/') {
        return Err("has an absolute name");
    }
    if name.contains(['\0', '\\']) {
        return Err("has a zero byte or a backslash in its name");
    }
    let mut path = PathBuf::new();
    let mut depth = 0;
    for part in name.split('/') {
        match part {
            "" | "." => continue,
            ".." => return Err("leaves the folder"),
            part if part.len() > 255 => return Err("has a name that is too long"),
            part => path.push(part),
        }
        depth += 1;
        if depth > DEPTH {
            return Err("is in too many folders");
        }
    }
    Ok(path)
}

/// The target of a link at `path`: relative, with `..` only at its beginning and never above the folder.
/// With `..` after a name it could leave by way of another link.
fn link_target(entry: &mut impl Read, path: &Path) -> Result<PathBuf, PackageError> {
    let refuse = |what| PackageError::Entry { entry: path.display().to_string(), what };
    let mut bytes = Vec::new();
    entry.take(TARGET + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    let target = String::from_utf8(bytes).map_err(|_| refuse("is a link to no name"))?;
    if target.is_empty() || target.len() as u64 > TARGET || target.contains('\0') {
        return Err(refuse("is a link to no name"));
    }
    if target.starts_with('/') {
        return Err(refuse("is a link out of the folder"));
    }
    let mut up = 0;
    let mut down = false;
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." if down => return Err(refuse("is a link with `..` after a name")),
            ".." => up += 1,
            _ => down = true,
        }
    }
    // The last part of `path` is the link itself.
    if up >= path.components().count() {
        return Err(refuse("is a link out of the folder"));
    }
    Ok(PathBuf::from(target))
}

#[cfg(unix)]
fn link(target: &Path, path: &Path) -> io::Result<()> {
    std::os::unix::fs::symlink(target, path)
}

#[cfg(not(unix))]
fn link(_target: &Path, _path: &Path) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

fn write_file(
    entry: &mut impl Read,
    path: &Path,
    executable: bool,
    left: u64,
) -> Result<u64, PackageError> {
    let mut file = File::create_new(path).map_err(written(path))?;
    let mut buffer = vec![0u8; 64 << 10];
    let mut bytes = 0u64;
    loop {
        let n = entry.read(&mut buffer).map_err(unreadable)?;
        let Some(piece) = buffer.get(..n).filter(|piece| !piece.is_empty()) else { break };
        bytes += n as u64;
        if bytes > left {
            // The caller says which limit that is.
            return Ok(bytes);
        }
        file.write_all(piece).map_err(written(path))?;
    }
    set_mode(&file, if executable { 0o555 } else { 0o444 }).map_err(written(path))?;
    Ok(bytes)
}

#[cfg(unix)]
fn set_mode(file: &File, mode: u32) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    file.set_permissions(std::fs::Permissions::from_mode(mode))
}

#[cfg(not(unix))]
fn set_mode(_file: &File, _mode: u32) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
pub(crate) mod tests;

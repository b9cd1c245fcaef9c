//! tar.gz archives from and for S3: models, sources, outputs. What comes in is hostile: only plain
//! files and folders below the target are made, within limits; what goes out is written aside first.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write as _};
use std::path::{Component, Path, PathBuf};

/// What an archive may hold.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Bytes after unpacking.
    pub bytes: u64,
    /// Entries.
    pub entries: usize,
}

/// Large enough for any model that fits the machine, small enough that a bomb ends.
pub(super) const MODEL: Limits = Limits { bytes: 16 << 30, entries: 100_000 };

/// Why an archive cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum ArchiveError {
    /// Not a readable tar.gz.
    #[error(
        "the archive is not a readable tar.gz: {0}\nhint: make it with `tar -czf model.tar.gz -C FOLDER .`"
    )]
    Unreadable(io::Error),
    /// An entry that must not be unpacked.
    #[error(
        "the archive's entry `{entry}` {what}\nhint: pack plain files and folders with relative names only"
    )]
    Entry {
        /// The entry's name.
        entry: String,
        /// What is wrong with it.
        what: &'static str,
    },
    /// Over a limit.
    #[error("the archive unpacks to more than {0}")]
    TooLarge(String),
    /// The disk.
    #[error("cannot write `{}`: {source}", path.display())]
    Write {
        /// Where.
        path: PathBuf,
        /// The system's words.
        source: io::Error,
    },
}

/// Unpacks an archive into a folder that does not exist yet: complete, or not at all.
///
/// # Errors
/// See [`ArchiveError`].
pub(super) fn unpack(archive: &Path, target: &Path, limits: Limits) -> Result<(), ArchiveError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| ArchiveError::Write { path, source }
    };
    let parent = target.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(parent).map_err(failed(parent))?;
    let aside =
        tempfile::Builder::new().prefix(".unpack-").tempdir_in(parent).map_err(failed(parent))?;
    let file = File::open(archive).map_err(ArchiveError::Unreadable)?;
    unpack_into(BufReader::new(file), aside.path(), limits)?;
    let aside = aside.keep();
    std::fs::rename(&aside, target).map_err(|source| {
        let _ = std::fs::remove_dir_all(&aside);
        ArchiveError::Write { path: target.to_owned(), source }
    })
}

fn unpack_into(compressed: impl Read, folder: &Path, limits: Limits) -> Result<(), ArchiveError> {
    let mut archive = tar::Archive::new(flate2::read::MultiGzDecoder::new(compressed));
    let mut left = limits.bytes;
    // Raw: the crate itself would read a long name of any length into memory.
    let entries = archive.entries().map_err(ArchiveError::Unreadable)?.raw(true);
    let mut long_name = None;
    for (number, entry) in entries.enumerate() {
        let mut entry = entry.map_err(ArchiveError::Unreadable)?;
        if number >= limits.entries {
            return Err(ArchiveError::TooLarge(format!("{} entries", limits.entries)));
        }
        let kind = entry.header().entry_type();
        if kind.is_gnu_longname() || kind.is_pax_local_extensions() {
            let text = read_header(&mut entry)?;
            long_name =
                if kind.is_gnu_longname() { Some(text) } else { pax_path(&text)? }.or(long_name);
            continue;
        }
        if kind.is_pax_global_extensions() || kind.is_gnu_longlink() {
            // The one says nothing about names, the other names a link, which is refused when it comes.
            read_header(&mut entry)?;
            continue;
        }
        let name = match long_name.take() {
            Some(bytes) => path_of(&bytes),
            None => entry.path().map_err(ArchiveError::Unreadable)?.into_owned(),
        };
        let refuse = |what| ArchiveError::Entry {
            entry: name.display().to_string().chars().take(256).collect(),
            what,
        };
        let mut path = folder.to_owned();
        for part in name.components() {
            match part {
                Component::Normal(part) => path.push(part),
                // The SageMaker SDK packs with a leading `/`; like tar itself we take it for relative.
                Component::CurDir | Component::RootDir => {}
                _ => return Err(refuse("leaves the folder")),
            }
        }
        if kind.is_dir() {
            std::fs::create_dir_all(&path)
                .map_err(|source| ArchiveError::Write { path, source })?;
        } else if kind.is_file() {
            let size = entry.size();
            if size > left {
                return Err(ArchiveError::TooLarge(format!("{} bytes", limits.bytes)));
            }
            left -= size;
            if let Some(parent) = path.parent() {
                std::fs::create_dir_all(parent)
                    .map_err(|source| ArchiveError::Write { path: parent.to_owned(), source })?;
            }
            write_entry(&mut entry, &path)?;
        } else {
            return Err(refuse("is a link or a device"));
        }
    }
    Ok(())
}

/// Bytes that tell of the entry that follows: a long name, or pax records.
const MAX_HEADER: u64 = 64 << 10;

fn read_header(entry: &mut impl Read) -> Result<Vec<u8>, ArchiveError> {
    let mut bytes = Vec::new();
    entry.take(MAX_HEADER + 1).read_to_end(&mut bytes).map_err(ArchiveError::Unreadable)?;
    if bytes.len() as u64 > MAX_HEADER {
        return Err(ArchiveError::TooLarge(format!("{MAX_HEADER} bytes for one entry's name")));
    }
    if bytes.last() == Some(&0) {
        bytes.pop();
    }
    Ok(bytes)
}

/// The path that pax records give to the entry that follows.
fn pax_path(records: &[u8]) -> Result<Option<Vec<u8>>, ArchiveError> {
    let mut path = None;
    for record in tar::PaxExtensions::new(records) {
        let record = record.map_err(ArchiveError::Unreadable)?;
        match record.key_bytes() {
            b"path" => path = Some(record.value_bytes().to_vec()),
            // Only files over 8 GiB and sparse ones need these; their size would be misread.
            b"size" => {
                return Err(ArchiveError::TooLarge("8 GiB in one entry".to_owned()));
            }
            _ => {}
        }
    }
    Ok(path)
}

#[cfg(unix)]
fn path_of(bytes: &[u8]) -> PathBuf {
    use std::os::unix::ffi::OsStrExt as _;
    PathBuf::from(std::ffi::OsStr::from_bytes(bytes))
}

#[cfg(not(unix))]
fn path_of(bytes: &[u8]) -> PathBuf {
    PathBuf::from(String::from_utf8_lossy(bytes).into_owned())
}

fn write_entry(entry: &mut impl Read, path: &Path) -> Result<(), ArchiveError> {
    let failed = |source| ArchiveError::Write { path: path.to_owned(), source };
    // create_new: an entry cannot write through anything that an earlier one made.
    let _ = std::fs::remove_file(path);
    let mut file = File::create_new(path).map_err(failed)?;
    let mut buffer = vec![0u8; 64 << 10];
    loop {
        let n = entry.read(&mut buffer).map_err(ArchiveError::Unreadable)?;
        let Some(piece) = buffer.get(..n).filter(|piece| !piece.is_empty()) else { return Ok(()) };
        file.write_all(piece).map_err(failed)?;
    }
}

/// Packs the contents of folders (the first wins where a name is in several) into a tar.gz. Links and
/// devices are left out; their names are answered.
///
/// # Errors
/// The system's, when reading or writing fails.
pub(super) fn pack(folders: &[PathBuf], archive: &Path) -> io::Result<Vec<String>> {
    let mut skipped = Vec::new();
    let mut seen = std::collections::BTreeMap::new();
    for folder in folders {
        collect(folder, Path::new(""), &mut seen, &mut skipped)?;
    }
    let file = BufWriter::new(File::create(archive)?);
    // Weights hardly compress; the fastest level saves the trainer's time.
    let gzip = flate2::write::GzEncoder::new(file, flate2::Compression::fast());
    let mut builder = tar::Builder::new(gzip);
    for (name, path) in &seen {
        if path.is_dir() {
            builder.append_dir(name, path)?;
        } else {
            builder.append_path_with_name(path, name)?;
        }
    }
    let file = builder.into_inner()?.finish()?;
    file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
    Ok(skipped)
}

fn collect(
    folder: &Path,
    below: &Path,
    seen: &mut std::collections::BTreeMap<PathBuf, PathBuf>,
    skipped: &mut Vec<String>,
) -> io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let name = below.join(entry.file_name());
        let kind = entry.file_type()?;
        if kind.is_dir() {
            seen.entry(name.clone()).or_insert_with(|| entry.path());
            collect(&entry.path(), &name, seen, skipped)?;
        } else if kind.is_file() {
            seen.entry(name).or_insert_with(|| entry.path());
        } else {
            skipped.push(name.display().to_string());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;

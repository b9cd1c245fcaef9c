//! A trained model as one file, `model.tar.gz`: one ONNX network with its head, a manifest, the
//! metrics and the report. SageMaker unpacks the same archive into `/opt/ml/model`; anything that
//! reads ONNX can run the network.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::path::{Component, Path};

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use kennel_base::{ErrorCode, ErrorCoded, TrainOptions};
use serde::{Deserialize, Serialize};

use crate::preprocess::Preprocess;

/// Name of the network inside a package.
pub const NETWORK_FILE: &str = "model.onnx";
/// Name of the manifest inside a package.
pub const MANIFEST_FILE: &str = "kennel.json";
/// Version of the manifest's format.
pub const MANIFEST_FORMAT: u32 = 1;

/// A package may unpack to this many bytes, all files together.
const MAX_UNPACKED: u64 = 4 << 30;
/// A manifest or another text file may have this many bytes.
const MAX_TEXT: u64 = 64 << 20;

/// One class of a model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Class {
    /// The folder name, the key of the class.
    pub key: String,
    /// What people read.
    pub name: String,
}

impl Class {
    /// A class from its folder name.
    pub fn from_folder(folder: &str) -> Self {
        Class { key: folder.to_owned(), name: kennel_base::display_name(folder) }
    }
}

/// Where a model came from and how it is to be used.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// Format version of the manifest, [`MANIFEST_FORMAT`].
    pub format: u32,
    /// Version of Kennel that wrote it.
    pub kennel_version: String,
    /// The classes in the order of the logits.
    pub classes: Vec<Class>,
    /// From photo to network input.
    pub preprocess: Preprocess,
    /// The backbone.
    pub backbone: BackboneRecord,
    /// The options the head was trained with.
    pub training: TrainOptions,
    /// The photos it was trained on.
    pub data: DataRecord,
    /// Accuracy and loss per split, as in metrics.json.
    pub metrics: BTreeMap<String, f64>,
    /// Engine and its version that made the features.
    pub engine: String,
}

/// What is known of the backbone of a model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BackboneRecord {
    /// Name in the hub, or the file's name.
    pub name: String,
    /// SHA-256 of the part of the network that makes the features.
    pub sha256: String,
    /// The tensor at which the original network was cut.
    pub features: String,
    /// Features per photo.
    pub width: usize,
    /// Licence, where known.
    #[serde(default)]
    pub license: Option<String>,
    /// Batch size that the export fixed, if it did; the packaged network has it too.
    #[serde(default)]
    pub fixed_batch: Option<usize>,
}

/// What is known of the photos behind a model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DataRecord {
    /// SHA-256 over the sorted (split, class, content hash) of every photo used.
    pub sha256: String,
    /// Photos used per split.
    pub photos: BTreeMap<String, usize>,
    /// Files that were skipped as unreadable.
    pub skipped: usize,
}

/// Why a package cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum PackageError {
    /// A file cannot be read or written.
    #[error("`{path}`: {source}\nhint: check the path and its permissions")]
    Io {
        /// Path.
        path: String,
        /// The system's words.
        source: std::io::Error,
    },
    /// The archive or folder is no model of Kennel's.
    #[error(
        "`{path}` is not a Kennel model: {reason}\nhint: make one with `kennel train DIR --output model.tar.gz`"
    )]
    Invalid {
        /// Path.
        path: String,
        /// What is wrong.
        reason: String,
    },
}

impl ErrorCoded for PackageError {
    fn code(&self) -> ErrorCode {
        match self {
            PackageError::Io { source, .. } if source.kind() == std::io::ErrorKind::NotFound => {
                ErrorCode::NotFound
            }
            PackageError::Io { .. } => ErrorCode::Internal,
            PackageError::Invalid { .. } => ErrorCode::InvalidInput,
        }
    }
}

/// A model in memory.
#[derive(Debug, Clone)]
pub struct Package {
    /// The manifest.
    pub manifest: Manifest,
    /// The network with its head, one ONNX file.
    pub network: Vec<u8>,
    /// Other files to carry along: metrics.json, report.html.
    pub extras: BTreeMap<String, Vec<u8>>,
}

impl Package {
    /// Reads `model.tar.gz`, or a folder with the same files (SageMaker's `/opt/ml/model`).
    ///
    /// # Errors
    /// When it cannot be read, is no model, or is hostile (too large, links, paths that lead outside).
    pub fn read(path: &Path) -> Result<Self, PackageError> {
        let shown = path.display().to_string();
        let io = |source| PackageError::Io { path: shown.clone(), source };
        let metadata = std::fs::metadata(path).map_err(io)?;
        let files = if metadata.is_dir() {
            // A SageMaker folder may hold the archive itself instead of what is in it.
            let inner = path.join("model.tar.gz");
            if !path.join(MANIFEST_FILE).exists() && inner.is_file() {
                return Self::read(&inner);
            }
            read_folder(path)?
        } else {
            read_archive(std::fs::File::open(path).map_err(io)?, &shown)?
        };
        Self::from_files(files, &shown)
    }

    fn from_files(mut files: BTreeMap<String, Vec<u8>>, shown: &str) -> Result<Self, PackageError> {
        let invalid = |reason: String| PackageError::Invalid { path: shown.to_owned(), reason };
        let manifest = files
            .remove(MANIFEST_FILE)
            .ok_or_else(|| invalid(format!("it has no `{MANIFEST_FILE}`")))?;
        let network = files
            .remove(NETWORK_FILE)
            .ok_or_else(|| invalid(format!("it has no `{NETWORK_FILE}`")))?;
        let manifest: Manifest = serde_json::from_slice(&manifest)
            .map_err(|e| invalid(format!("`{MANIFEST_FILE}`: {e}")))?;
        if manifest.format != MANIFEST_FORMAT {
            return Err(invalid(format!(
                "its manifest has format {}, this version of Kennel reads {MANIFEST_FORMAT}",
                manifest.format
            )));
        }
        if manifest.classes.is_empty() {
            return Err(invalid("its manifest has no classes".into()));
        }
        manifest.preprocess.validate().map_err(|e| invalid(e.to_string()))?;
        Ok(Package { manifest, network, extras: files })
    }

    /// Writes `model.tar.gz`: aside first, flushed to disk, then renamed, so that a file of this name
    /// is always whole. The bytes depend on the content alone.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), PackageError> {
        let shown = path.display().to_string();
        let manifest = serde_json::to_vec_pretty(&self.manifest)
            .map_err(|e| PackageError::Invalid { path: shown.clone(), reason: e.to_string() })?;
        write_aside(path, |file| {
            // Weights hardly compress; a fast level keeps a large model from costing seconds.
            let mut archive = tar::Builder::new(GzEncoder::new(file, Compression::fast()));
            let files = [(MANIFEST_FILE, &manifest), (NETWORK_FILE, &self.network)]
                .into_iter()
                .chain(self.extras.iter().map(|(name, bytes)| (name.as_str(), bytes)));
            for (name, bytes) in files {
                let mut header = tar::Header::new_gnu();
                header.set_size(bytes.len() as u64);
                header.set_mode(0o644);
                header.set_mtime(0);
                archive.append_data(&mut header, name, bytes.as_slice())?;
            }
            archive.into_inner()?.finish()?;
            Ok(())
        })
        .map_err(|source| PackageError::Io { path: shown, source })
    }

    /// Writes the files of a package into a folder, as SageMaker's `/opt/ml/model` expects them.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn write_folder(&self, folder: &Path) -> Result<(), PackageError> {
        let shown = folder.display().to_string();
        let io = |source| PackageError::Io { path: shown.clone(), source };
        std::fs::create_dir_all(folder).map_err(io)?;
        let manifest = serde_json::to_vec_pretty(&self.manifest)
            .map_err(|e| PackageError::Invalid { path: shown.clone(), reason: e.to_string() })?;
        let files = [(NETWORK_FILE, &self.network)]
            .into_iter()
            .chain(self.extras.iter().map(|(name, bytes)| (name.as_str(), bytes)))
            .chain([(MANIFEST_FILE, &manifest)]);
        for (name, bytes) in files {
            write_aside(&folder.join(name), |file| file.write_all(bytes)).map_err(io)?;
        }
        Ok(())
    }
}

/// Writes a file aside in the same folder, flushes it to disk and renames it into place.
///
/// # Errors
/// Whatever the system or `fill` answers; the old file, if any, is untouched then.
pub fn write_aside(
    path: &Path,
    fill: impl FnOnce(&mut std::fs::File) -> std::io::Result<()>,
) -> std::io::Result<()> {
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let mut aside = tempfile::Builder::new().prefix(".kennel-").tempfile_in(folder)?;
    fill(aside.as_file_mut())?;
    aside.as_file_mut().flush()?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        aside.as_file().set_permissions(std::fs::Permissions::from_mode(0o644))?;
    }
    aside.as_file().sync_all()?;
    aside.persist(path).map_err(|e| e.error)?;
    Ok(())
}

fn read_folder(folder: &Path) -> Result<BTreeMap<String, Vec<u8>>, PackageError> {
    let mut files = BTreeMap::new();
    for name in [MANIFEST_FILE, NETWORK_FILE] {
        let path = folder.join(name);
        match std::fs::read(&path) {
            Ok(bytes) => {
                files.insert(name.to_owned(), bytes);
            }
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
            Err(source) => {
                return Err(PackageError::Io { path: path.display().to_string(), source });
            }
        }
    }
    Ok(files)
}

/// Reads the plain files at the top of an archive into memory; nothing is written anywhere. What other
/// tools add in subfolders (SageMaker's `code/`) is passed over; links and paths that lead outside are
/// in no honest archive, so they refuse all of it.
fn read_archive(file: impl Read, shown: &str) -> Result<BTreeMap<String, Vec<u8>>, PackageError> {
    let invalid = |reason: String| PackageError::Invalid { path: shown.to_owned(), reason };
    let mut files = BTreeMap::new();
    let mut archive = tar::Archive::new(GzDecoder::new(std::io::BufReader::new(file)));
    // Raw: the crate itself would read a long name of any length into memory. A package's files have
    // short names, so entries that only tell of names are passed over.
    let entries = archive.entries().map_err(|e| invalid(e.to_string()))?.raw(true);
    let mut total = 0u64;
    for entry in entries {
        let entry = entry.map_err(|e| invalid(format!("the archive is damaged: {e}")))?;
        let path = entry.path().map_err(|e| invalid(e.to_string()))?.into_owned();
        let shown_path = path.display().to_string();
        let plain = |c: Component<'_>| matches!(c, Component::Normal(_) | Component::CurDir);
        if !path.components().all(plain) {
            return Err(invalid(format!("`{shown_path}` leads outside the archive")));
        }
        let kind = entry.header().entry_type();
        if kind.is_symlink() || kind.is_hard_link() {
            return Err(invalid(format!("`{shown_path}` is a link")));
        }
        // Also what is passed over is unpacked on the way, so it counts.
        let size = entry.size();
        total = total.saturating_add(size);
        if total > MAX_UNPACKED {
            return Err(invalid(format!(
                "it is larger than a model can be, from `{shown_path}` on"
            )));
        }
        let path = path.strip_prefix(".").unwrap_or(&path).to_owned();
        let name = match path.to_str() {
            Some(name) if path.components().count() == 1 => name.to_owned(),
            _ => continue,
        };
        if !kind.is_file() {
            continue;
        }
        let limit = if name == NETWORK_FILE { MAX_UNPACKED } else { MAX_TEXT };
        if size > limit {
            return Err(invalid(format!("`{name}` is larger than a model can be")));
        }
        if files.contains_key(&name) {
            return Err(invalid(format!("it has `{name}` twice")));
        }
        let mut bytes = Vec::new();
        entry
            .take(limit)
            .read_to_end(&mut bytes)
            .map_err(|e| invalid(format!("the archive is damaged in `{name}`: {e}")))?;
        files.insert(name, bytes);
    }
    // The checksum comes after the last entry; reading to the end is what compares it.
    let mut rest = archive.into_inner().take(MAX_TEXT);
    std::io::copy(&mut rest, &mut std::io::sink())
        .map_err(|e| invalid(format!("the archive is damaged: {e}")))?;
    Ok(files)
}

#[cfg(test)]
mod tests;

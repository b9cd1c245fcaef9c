//! The state that an interrupted training run leaves behind: one file, a JSON line and the
//! optimiser's bytes, written aside and renamed.

use std::io::Write;
use std::path::Path;

use burn::optim::ModuleOptimizer;
use burn::tensor::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Why a checkpoint could not be written.
#[derive(Debug, thiserror::Error)]
#[error("checkpoint `{path}`: {reason}\nhint: check the folder's permissions and free space")]
pub struct CheckpointError {
    path: String,
    reason: String,
}

/// Reads a checkpoint; one that is missing or damaged is none, and training starts from the beginning.
pub(super) fn read<T: DeserializeOwned>(path: &Path) -> Option<(T, Option<Bytes>)> {
    let bytes = std::fs::read(path).ok()?;
    let split = bytes.iter().position(|b| *b == b'\n')?;
    let (line, rest) = bytes.split_at(split);
    let rest = rest.get(1..)?;
    let sum = rest.get(..4)?;
    let body = rest.get(4..)?;
    if crc32fast::hash(body).to_le_bytes() != sum {
        return None;
    }
    let state = serde_json::from_slice(line).ok()?;
    let optimizer = (!body.is_empty()).then(|| Bytes::from_bytes_vec(body.to_vec()));
    Some((state, optimizer))
}

/// Writes a checkpoint.
pub(super) fn write<T: Serialize>(
    path: &Path,
    state: &T,
    optimizer: &ModuleOptimizer,
) -> Result<(), CheckpointError> {
    let failed = |reason: String| CheckpointError { path: path.display().to_string(), reason };
    let line = serde_json::to_vec(state).map_err(|e| failed(e.to_string()))?;
    let body = optimizer.into_bytes().map_err(|e| failed(e.to_string()))?;
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent).map_err(|e| failed(e.to_string()))?;
    }
    kennel_infer::package::write_aside(path, |file| {
        file.write_all(&line)?;
        file.write_all(b"\n")?;
        file.write_all(&crc32fast::hash(&body).to_le_bytes())?;
        file.write_all(&body)
    })
    .map_err(|e| failed(e.to_string()))
}

/// Removes a checkpoint that is no longer needed.
pub(super) fn remove(path: &Path) {
    if let Err(e) = std::fs::remove_file(path)
        && e.kind() != std::io::ErrorKind::NotFound
    {
        // A stale checkpoint is found and overwritten by the next run; nothing is lost by it.
    }
}

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

/// Numbers of a state as their bits: `serde_json` may read a decimal number back as its neighbour, and
/// a resumed run is to end with the very numbers of one that was not interrupted.
pub(super) mod exact {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use crate::head::Epoch;

    pub(in crate::head) fn serialize<S: Serializer>(value: &f64, to: S) -> Result<S::Ok, S::Error> {
        value.to_bits().serialize(to)
    }

    pub(in crate::head) fn deserialize<'a, D: Deserializer<'a>>(from: D) -> Result<f64, D::Error> {
        u64::deserialize(from).map(f64::from_bits)
    }

    /// The same for a number that may be missing.
    pub(in crate::head) mod option {
        use super::{Deserialize, Deserializer, Serialize, Serializer};

        pub(in crate::head) fn serialize<S: Serializer>(
            value: &Option<f64>,
            to: S,
        ) -> Result<S::Ok, S::Error> {
            value.map(f64::to_bits).serialize(to)
        }

        pub(in crate::head) fn deserialize<'a, D: Deserializer<'a>>(
            from: D,
        ) -> Result<Option<f64>, D::Error> {
            Ok(Option::<u64>::deserialize(from)?.map(f64::from_bits))
        }
    }

    /// The same for epochs.
    pub(in crate::head) mod epochs {
        use super::{Deserialize, Deserializer, Epoch, Serialize, Serializer};

        type Row = (usize, u64, u64, Option<u64>, Option<u64>, u64);

        pub(in crate::head) fn serialize<S: Serializer>(
            epochs: &[Epoch],
            to: S,
        ) -> Result<S::Ok, S::Error> {
            let rows: Vec<Row> = epochs
                .iter()
                .map(|e| {
                    (
                        e.epoch,
                        e.train_loss.to_bits(),
                        e.train_accuracy.to_bits(),
                        e.valid_loss.map(f64::to_bits),
                        e.valid_accuracy.map(f64::to_bits),
                        e.learning_rate.to_bits(),
                    )
                })
                .collect();
            rows.serialize(to)
        }

        pub(in crate::head) fn deserialize<'a, D: Deserializer<'a>>(
            from: D,
        ) -> Result<Vec<Epoch>, D::Error> {
            let rows = Vec::<Row>::deserialize(from)?;
            Ok(rows
                .into_iter()
                .map(|(epoch, loss, accuracy, valid_loss, valid_accuracy, rate)| Epoch {
                    epoch,
                    train_loss: f64::from_bits(loss),
                    train_accuracy: f64::from_bits(accuracy),
                    valid_loss: valid_loss.map(f64::from_bits),
                    valid_accuracy: valid_accuracy.map(f64::from_bits),
                    learning_rate: f64::from_bits(rate),
                })
                .collect())
        }
    }
}

fn checksum(line: &[u8], body: &[u8]) -> [u8; 4] {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(line);
    hasher.update(body);
    hasher.finalize().to_le_bytes()
}

/// Reads what a checkpoint's file holds; one that is missing or damaged is none, and training starts from the
/// beginning.
pub(super) fn read<T: DeserializeOwned>(bytes: &[u8]) -> Option<(T, Option<Bytes>)> {
    let split = bytes.iter().position(|b| *b == b'\n')?;
    let (line, rest) = bytes.split_at(split);
    let rest = rest.get(1..)?;
    let sum = rest.get(..4)?;
    let body = rest.get(4..)?;
    if checksum(line, body) != sum {
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
        file.write_all(&checksum(&line, &body))?;
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

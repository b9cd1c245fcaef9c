//! The file that a killed tuning goes on from: what was asked, and the trials that have ended. Written aside
//! and renamed after every trial.

use std::io::Write;
use std::path::PathBuf;

use kennel_base::{ErrorCode, ErrorCoded};
use kennel_tune::TrialState;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{TrialRecord, TuneOptions};

/// Why the state file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// It cannot be read or written.
    #[error("tuning state `{path}`: {source}\nhint: check the folder's permissions and free space")]
    Io {
        /// The file.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// It is of another tuning.
    #[error(
        "`{path}` holds the trials of another tuning (other photos, options, space or strategy)\nhint: choose another `--output`, or remove the file to begin anew"
    )]
    Other {
        /// The file.
        path: String,
    },
    /// It is no state file.
    #[error("`{path}` is no tuning state: {reason}\nhint: remove it to begin anew")]
    Damaged {
        /// The file.
        path: String,
        /// What is wrong.
        reason: String,
    },
}

impl ErrorCoded for StateError {
    fn code(&self) -> ErrorCode {
        match self {
            StateError::Io { .. } => ErrorCode::Internal,
            StateError::Other { .. } | StateError::Damaged { .. } => ErrorCode::InvalidInput,
        }
    }
}

#[derive(Serialize, Deserialize)]
struct Content {
    format: String,
    asked: String,
    trials: Vec<TrialRecord>,
}

const FORMAT: &str = "kennel-tuning/1";

/// The file of one tuning.
#[derive(Debug)]
pub(super) struct Store {
    path: PathBuf,
    asked: String,
}

impl Store {
    /// The store of this tuning on the data with this digest.
    pub(super) fn open(options: &TuneOptions, digest: &str) -> Result<Store, StateError> {
        // More trials or more at a time are still the same tuning.
        let mut plan = options.plan.clone();
        (plan.max_trials, plan.parallel) = (1, 1);
        let asked = format!(
            "{digest}\n{}\n{:?}\n{plan:?}\n{}",
            options.job.backbone,
            options.job.train,
            options.objective.name()
        );
        let asked = kennel_infer::hex(&Sha256::digest(asked));
        Ok(Store { path: options.state.clone(), asked })
    }

    fn name(&self) -> String {
        self.path.display().to_string()
    }

    /// The trials that have ended.
    pub(super) fn load(&self) -> Result<Vec<TrialRecord>, StateError> {
        let text = match std::fs::read(&self.path) {
            Ok(text) => text,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(source) => return Err(StateError::Io { path: self.name(), source }),
        };
        let damaged = |reason: String| StateError::Damaged { path: self.name(), reason };
        let content: Content = serde_json::from_slice(&text).map_err(|e| damaged(e.to_string()))?;
        if content.format != FORMAT {
            return Err(damaged(format!("its format is `{}`", content.format)));
        }
        if content.asked != self.asked {
            return Err(StateError::Other { path: self.name() });
        }
        Ok(content.trials)
    }

    /// Writes the trials that have ended.
    pub(super) fn save(&self, trials: &[TrialRecord]) -> Result<(), StateError> {
        let ended = trials.iter().filter(|t| t.state != TrialState::Running).cloned().collect();
        let content =
            Content { format: FORMAT.to_owned(), asked: self.asked.clone(), trials: ended };
        let failed = |source: std::io::Error| StateError::Io { path: self.name(), source };
        let text = serde_json::to_vec_pretty(&content).map_err(|e| failed(e.into()))?;
        kennel_infer::package::write_aside(&self.path, |file| file.write_all(&text)).map_err(failed)
    }
}

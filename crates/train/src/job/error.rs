//! Why a job fails.

use std::path::PathBuf;

use kennel_base::{ErrorCode, ErrorCoded};
use kennel_infer::engine::EngineError;
use kennel_infer::hub::HubError;
use kennel_infer::onnx::OnnxError;
use kennel_infer::package::PackageError;
use kennel_infer::pipeline::PipelineError;

use crate::cache::CacheError;
use crate::collective::CollectiveError;
use crate::dataset::DatasetError;
use crate::head::CheckpointError;

/// Why a job failed.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    /// The photos.
    #[error(transparent)]
    Dataset(#[from] DatasetError),
    /// The backbone.
    #[error(transparent)]
    Hub(#[from] HubError),
    /// The graph.
    #[error(transparent)]
    Onnx(#[from] OnnxError),
    /// The engine.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// Extraction.
    #[error(transparent)]
    Pipeline(#[from] PipelineError),
    /// The cache.
    #[error(transparent)]
    Cache(#[from] CacheError),
    /// The checkpoint.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The package.
    #[error(transparent)]
    Package(#[from] PackageError),
    /// The instances that work together.
    #[error(transparent)]
    Collective(#[from] CollectiveError),
    /// The folder in which instances meet.
    #[error(
        "the instances cannot meet in `{path}`: {source}\nhint: check its permissions and free space"
    )]
    Join {
        /// The folder.
        path: PathBuf,
        /// The system's words.
        source: std::io::Error,
    },
    /// No training photo was left.
    #[error(
        "no photo is left to train on\nhint: `kennel data inspect DIR` says what is wrong with each"
    )]
    NothingToTrain,
    /// The loss became infinite.
    #[error(
        "training diverged in epoch {epoch} at learning rate {rate:e}: the loss is no number\nhint: lower `--learning-rate`"
    )]
    Diverged {
        /// Epoch, from 1.
        epoch: usize,
        /// Learning rate of the step.
        rate: f64,
    },
    /// A signal stopped the job.
    #[error("interrupted: {state}\nhint: run the same command again to go on from there")]
    Interrupted {
        /// What is kept.
        state: String,
    },
    /// Kennel's own fault.
    #[error("internal error: {reason}\nhint: report it")]
    Internal {
        /// What happened.
        reason: String,
    },
}

impl ErrorCoded for JobError {
    fn code(&self) -> ErrorCode {
        match self {
            JobError::Dataset(e) => e.code(),
            JobError::Hub(e) => e.code(),
            JobError::Onnx(e) => e.code(),
            JobError::Engine(e) => e.code(),
            JobError::Package(e) => e.code(),
            JobError::Collective(e) => e.code(),
            JobError::Pipeline(_) | JobError::Internal { .. } | JobError::Join { .. } => {
                ErrorCode::Internal
            }
            JobError::Cache(_) | JobError::Checkpoint(_) => ErrorCode::Internal,
            JobError::NothingToTrain | JobError::Diverged { .. } => ErrorCode::InvalidInput,
            JobError::Interrupted { .. } => ErrorCode::Interrupted,
        }
    }
}

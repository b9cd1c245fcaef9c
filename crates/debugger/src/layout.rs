//! The files of saved tensors: modes, the writer, and (in `reader`) the distrustful way back.

mod reader;
mod writer;

pub(crate) use reader::{Broken, StepFile, Tensor, ended, steps, workers};
pub use writer::{TensorRef, TensorWriter};

use std::path::PathBuf;

/// What the model was doing at a step, as in smdebug.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Mode {
    /// Steps of the optimiser.
    Train,
    /// Evaluation on validation data.
    Eval,
    /// Prediction.
    Predict,
    /// A script that does not say.
    Global,
}

impl Mode {
    /// All modes, in the order in which a step writes them.
    pub const ALL: [Mode; 4] = [Mode::Train, Mode::Eval, Mode::Predict, Mode::Global];

    /// The folder's name.
    pub fn name(self) -> &'static str {
        match self {
            Mode::Train => "train",
            Mode::Eval => "eval",
            Mode::Predict => "predict",
            Mode::Global => "global",
        }
    }
}

/// Why tensors could not be saved.
#[derive(Debug, thiserror::Error)]
pub enum TensorError {
    /// The worker's name would not be a folder's name.
    #[error(
        "`{0}` is not a worker's name\nhint: letters, digits, `-`, `_` and `.`, not `.` first, at most 64, \
         for example `algo-1`"
    )]
    Worker(String),
    /// A tensor's values do not fill its shape.
    #[error("tensor `{name}` has {values} values but the shape {shape:?}")]
    Shape {
        /// The tensor.
        name: String,
        /// The shape it came with.
        shape: Vec<usize>,
        /// How many values it came with.
        values: usize,
    },
    /// Two tensors of one step share a name, or it is empty or `__metadata__`.
    #[error("`{0}` cannot name a tensor here\nhint: names are unique within a step and not empty")]
    Name(String),
    /// The disk said no.
    #[error("cannot write `{path}`: {source}")]
    Io {
        /// Where.
        path: PathBuf,
        /// What it said.
        source: std::io::Error,
    },
    /// The format's writer said no.
    #[error("cannot write tensors: {0}")]
    Format(String),
}

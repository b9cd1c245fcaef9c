//! What every other crate of Kennel shares: error codes, class names, job options. Pure: no I/O, no
//! clock of its own, no async, so that everything here can be tested with values alone.

mod class;
mod error;
mod options;

pub use class::display_name;
pub use error::{ErrorCode, ErrorCoded};
pub use options::{
    Augmentation, HeadKind, HyperparameterError, Hyperparameters, OptimizerKind, ScheduleKind,
    TrainOptions,
};

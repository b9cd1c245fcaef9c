//! Profiler: what a training run does with the machine, rules over it, and the report.
//!
//! A run leaves two kinds of files below its profiler folder. [`Sampler`] reads what every instance (a process
//! group of this machine) and the machine itself do, and [`SystemWriter`] keeps it in SageMaker's own layout
//! (`system/incremental/…`). The trainer says where its time goes through [`FrameworkWriter`] (`framework/…`).
//! [`Analysis`] reads both back, judges SageMaker's profiler rules and draws `profiler-report.html`.
//!
//! Nothing here reads the clock, opens a socket or starts a thread: the caller samples when it wants to.

mod analysis;
mod config;
mod metrics;
mod recording;
mod report;
mod rules;
mod sampler;
mod stats;
#[cfg(test)]
mod testing;
mod view;
mod writer;

pub use analysis::{About, Analysis, AnalysisError, Status, Verdict};
pub use config::{Config, ConfigError, INTERVALS_MS, RuleSpec};
pub use metrics::{Kind, SystemMetric};
pub use sampler::{Instance, Sampler};
pub use writer::{FrameworkWriter, SystemWriter, WriteError};

//! One module per command: its arguments and what it prints. The work is done by the library crates.

pub(crate) mod bootstrap;
pub(crate) mod container;
pub(crate) mod data;
pub(crate) mod demo;
pub(crate) mod engine;
pub(crate) mod evaluate;
pub(crate) mod hub;
pub(crate) mod instances;
pub(crate) mod observe;
pub(crate) mod platform_client;
pub(crate) mod predict;
pub(crate) mod runtime;
pub(crate) mod serve;
pub(crate) mod train;
pub(crate) mod tune;
pub(crate) mod up;

use std::path::PathBuf;

use clap::Args;
use kennel_infer::engine::EngineKind;
use kennel_infer::pipeline::PipelineOptions;

/// Options of every command that runs a network.
#[derive(Debug, Clone, Args)]
pub(crate) struct EngineArguments {
    /// Engine: rten or onnxruntime [default: onnxruntime where it is found, else rten]
    #[arg(long, value_name = "NAME", env = "KENNEL_ENGINE", value_parser = parse_engine)]
    pub engine: Option<EngineKind>,
    /// Workers, one core each [default: all cores]
    #[arg(long, value_name = "N")]
    pub threads: Option<usize>,
    /// Photos per engine run
    #[arg(long, value_name = "N", default_value_t = PipelineOptions::default().batch)]
    pub engine_batch: usize,
}

fn parse_engine(text: &str) -> Result<EngineKind, String> {
    text.parse().map_err(|e: kennel_infer::engine::EngineError| e.to_string())
}

impl EngineArguments {
    pub(crate) fn pipeline(&self) -> PipelineOptions {
        let default = PipelineOptions::default();
        PipelineOptions {
            engine: self.engine,
            workers: self.threads.unwrap_or(default.workers).max(1),
            batch: self.engine_batch.clamp(1, 1024),
            limits: default.limits,
        }
    }
}

/// The cache folder's two parts.
pub(crate) fn cache_folders() -> (PathBuf, PathBuf) {
    let root = kennel_infer::paths::cache_folder();
    let checkpoints = root.join("checkpoints");
    (root, checkpoints)
}

/// Unix time in microseconds: the clock of the commands, which the crates below do not read.
#[expect(clippy::disallowed_methods, reason = "the command line is where time is read")]
pub(crate) fn now_us() -> u64 {
    let now = std::time::SystemTime::now();
    let since = now.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

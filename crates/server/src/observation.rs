//! What the server and the observer of a training job, a child process, tell each other. The observer
//! (`kennel __observe CONFIG`) samples what the instances use, evaluates the debugger's rules on tensors
//! that scripts wrote, and makes the profiler's report: all of that reads what strangers wrote, so it is
//! kept out of the server.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The hidden subcommand.
pub const SUBCOMMAND: &str = "__observe";

/// The observer's file of instructions.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Config {
    /// TrainingJobName.
    pub job: String,
    /// InstanceType.
    pub instance_type: String,
    /// When the instances were started, Unix milliseconds.
    pub started_ms: u64,
    /// Process group of each instance, by its name.
    pub instances: Vec<(String, i32)>,
    /// Cores that one instance may use.
    pub threads: usize,
    /// DebugRuleConfigurations as given.
    pub debug_rules: Vec<Value>,
    /// ProfilerConfig as given.
    pub profiler: Option<Value>,
    /// ProfilerRuleConfigurations as given.
    pub profiler_rules: Vec<Value>,
    /// Where the instances save tensors.
    pub tensors: PathBuf,
    /// Tensors of other runs, for rules that compare.
    pub others: Vec<PathBuf>,
    /// Where metrics are recorded.
    pub profile: PathBuf,
    /// Where rules leave their results, one folder each.
    pub rule_output: PathBuf,
    /// A file that appears when the instances have ended; it holds an [`Ended`].
    pub ended: PathBuf,
}

/// How the instances ended.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Ended {
    /// The job's status, such as `Completed`.
    pub status: String,
    /// When, Unix milliseconds.
    pub ended_ms: u64,
}

/// A line of the observer's output: how a rule stands now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleLine {
    /// RuleConfigurationName.
    pub rule: String,
    /// RuleEvaluationStatus.
    pub status: String,
    /// StatusDetails.
    pub details: String,
    /// Whether the training job is to be stopped.
    pub stop: bool,
}

//! Reads tensors as they come and asks the rules.

use std::path::{Path, PathBuf};

use crate::RuleSpec;

/// Where a rule stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// The run goes on and nothing was found yet.
    InProgress,
    /// The run has ended and nothing was found.
    NoIssuesFound,
    /// The rule's condition was met; it stays so.
    IssuesFound,
    /// The rule could not be evaluated.
    Error,
}

impl Status {
    /// SageMaker's word: the value of `RuleEvaluationStatus`.
    pub fn name(self) -> &'static str {
        match self {
            Status::InProgress => "InProgress",
            Status::NoIssuesFound => "NoIssuesFound",
            Status::IssuesFound => "IssuesFound",
            Status::Error => "Error",
        }
    }
}

/// What a rule says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// The rule's `RuleConfigurationName`.
    pub configuration: String,
    /// Where it stands.
    pub status: Status,
    /// A sentence: tensor, step, number, meaning, what to try. Empty while nothing is to be said.
    pub details: String,
    /// Whether the job should be stopped now: an issue was found and the rule asks for it.
    pub stop_training: bool,
}

/// Evaluates rules over the tensors of one run.
#[derive(Debug)]
pub struct Evaluator {
    verdicts: Vec<Verdict>,
}

impl Evaluator {
    /// Rules over the tensors below `folder`; `others` are the tensor folders of other runs, for
    /// SimilarAcrossRuns.
    pub fn new(specs: Vec<RuleSpec>, _folder: &Path, _others: &[PathBuf]) -> Evaluator {
        let verdicts = specs
            .into_iter()
            .map(|spec| Verdict {
                configuration: spec.configuration,
                status: Status::InProgress,
                details: String::new(),
                stop_training: false,
            })
            .collect();
        Evaluator { verdicts }
    }

    /// Reads what is new and answers the verdicts that changed. `now_ms` is Unix time in milliseconds.
    pub fn poll(&mut self, _now_ms: u64) -> Vec<Verdict> {
        Vec::new()
    }

    /// The run has ended: reads the rest, and answers the verdicts that changed; all are final.
    pub fn finish(&mut self, _now_ms: u64) -> Vec<Verdict> {
        Vec::new()
    }

    /// All verdicts, in the order of the rules.
    pub fn verdicts(&self) -> Vec<Verdict> {
        self.verdicts.clone()
    }
}

//! A recording, judged: verdicts on rules, the report, and the folder that a rule leaves.

use std::path::{Path, PathBuf};

use crate::config::RuleSpec;
use crate::recording::Recording;

/// Where a rule stands; SageMaker's `RuleEvaluationStatus`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Still looking. Rules over a finished recording never say so; it is for the caller's running jobs.
    InProgress,
    /// Nothing found, or nothing to be looked at.
    NoIssuesFound,
    /// Found.
    IssuesFound,
    /// The rule could not be judged: unknown, or with parameters that it does not take.
    Error,
}

impl Status {
    /// SageMaker's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InProgress => "InProgress",
            Self::NoIssuesFound => "NoIssuesFound",
            Self::IssuesFound => "IssuesFound",
            Self::Error => "Error",
        }
    }
}

/// What a rule says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// Its `RuleConfigurationName`.
    pub configuration: String,
    /// Where it stands.
    pub status: Status,
    /// A plain sentence or two: what it means and what to change.
    pub details: String,
}

/// The job that a report is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct About {
    /// Its name.
    pub job: String,
    /// What it ran on, such as `ml.m5.xlarge` or `local`.
    pub instance_type: String,
    /// On how many instances.
    pub instances: usize,
    /// Unix milliseconds.
    pub started_ms: u64,
    /// Unix milliseconds.
    pub ended_ms: u64,
    /// How it ended, such as `Completed`.
    pub status: String,
    /// Whatever else is worth a line: name and value.
    pub facts: Vec<(String, String)>,
}

/// Why a recording cannot be read or a result not be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot {what} `{}`", path.display())]
pub struct AnalysisError {
    what: &'static str,
    path: PathBuf,
    #[source]
    source: std::io::Error,
}

/// A recording that was read.
#[derive(Debug)]
pub struct Analysis {
    pub(crate) recording: Recording,
}

impl Analysis {
    /// Reads the profiler folder of a job, finished or not; one that is missing or empty gives an analysis
    /// without data. Bounded in time and memory; lines that are broken are skipped and counted.
    ///
    /// # Errors
    /// A file or folder is there and cannot be read.
    pub fn read(folder: &Path) -> Result<Self, AnalysisError> {
        let recording = Recording::read(folder).map_err(|source| AnalysisError {
            what: "read the profiler's recording in",
            path: folder.to_owned(),
            source,
        })?;
        Ok(Self { recording })
    }

    /// What each rule says, in their order. While a job runs, the caller shows `NoIssuesFound` as `InProgress`.
    pub fn verdicts(&self, rules: &[RuleSpec]) -> Vec<Verdict> {
        rules
            .iter()
            .map(|rule| Verdict {
                configuration: rule.configuration.clone(),
                status: Status::Error,
                details: format!("the rule `{}` is not implemented yet", rule.rule),
            })
            .collect()
    }

    /// `profiler-report.html`: one file that needs nothing else.
    pub fn report(&self, about: &About) -> String {
        kennel_report::page(&about.job, "", "")
    }

    /// Writes what SageMaker's ProfilerReport leaves into a rule's folder, `rule-output/<configuration>`:
    /// `profiler-output/profiler-report.html` and `profiler-output/profiler-reports/<Rule>.json`, whole or not
    /// at all.
    ///
    /// # Errors
    /// The folder cannot be written; nothing is left half done.
    pub fn write_rule_output(&self, folder: &Path, about: &About) -> Result<(), AnalysisError> {
        let _ = self.report(about);
        Err(AnalysisError {
            what: "write the report into",
            path: folder.to_owned(),
            source: std::io::Error::other("not implemented yet"),
        })
    }
}

#[cfg(test)]
mod tests;

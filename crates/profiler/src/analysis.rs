//! A recording, judged: verdicts on rules, the report, and the folder that a rule leaves.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::config::RuleSpec;
use crate::recording::Recording;
use crate::report;
use crate::rules::{self, Findings};

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
    recording: Recording,
    parameters: BTreeMap<String, String>,
}

impl Analysis {
    /// Reads the profiler folder of a job, finished or not; one that is missing or empty gives an analysis
    /// without data. Bounded in time and memory; lines that are broken are skipped and counted.
    ///
    /// # Errors
    /// A file or folder is there and cannot be read.
    pub fn read(folder: &Path) -> Result<Self, AnalysisError> {
        let recording = Recording::read(folder)
            .map_err(|source| failed("read the profiler's recording in", folder, source))?;
        Ok(Self { recording, parameters: BTreeMap::new() })
    }

    /// Judges the report with the parameters of a ProfilerReport rule, `<rule>_<parameter>`, in the place of the
    /// usual ones; those of other rules are called otherwise and change nothing.
    #[must_use]
    pub fn with_parameters(mut self, parameters: BTreeMap<String, String>) -> Self {
        self.parameters = parameters;
        self
    }

    /// What each rule says, in their order. While a job runs, the caller shows `NoIssuesFound` as `InProgress`.
    pub fn verdicts(&self, rules: &[RuleSpec]) -> Vec<Verdict> {
        rules
            .iter()
            .map(|spec| {
                let finding = rules::judge(&self.recording, &spec.rule, &spec.parameters);
                Verdict {
                    configuration: spec.configuration.clone(),
                    status: finding.status,
                    details: finding.sentence(),
                }
            })
            .collect()
    }

    /// `profiler-report.html`: one file that needs nothing else, and never more than some megabytes.
    pub fn report(&self, about: &About) -> String {
        report::page(&self.recording, &rules::all(&self.recording, &self.parameters), about)
    }

    /// Writes what SageMaker's ProfilerReport leaves into a rule's folder, `rule-output/<configuration>`:
    /// `profiler-output/profiler-report.html` and `profiler-output/profiler-reports/<Rule>.json`, whole or not
    /// at all. What an earlier run left there is replaced.
    ///
    /// # Errors
    /// The folder cannot be written; nothing is left half done.
    pub fn write_rule_output(&self, folder: &Path, about: &About) -> Result<(), AnalysisError> {
        let findings = rules::all(&self.recording, &self.parameters);
        let page = report::page(&self.recording, &findings, about);
        let aside = folder.join(".profiler-output.part");
        let cannot = |source| failed("write the report into", folder, source);
        std::fs::create_dir_all(folder).map_err(cannot)?;
        let written = write_aside(&aside, &page, &findings)
            .and_then(|()| put_in_place(&aside, &folder.join("profiler-output")));
        if written.is_err() {
            let _ = std::fs::remove_dir_all(&aside);
        }
        written.map_err(cannot)
    }
}

fn failed(what: &'static str, path: &Path, source: std::io::Error) -> AnalysisError {
    AnalysisError { what, path: path.to_owned(), source }
}

fn write_aside(aside: &Path, page: &str, findings: &Findings) -> std::io::Result<()> {
    clear(aside)?;
    let reports = aside.join("profiler-reports");
    std::fs::create_dir_all(&reports)?;
    write_synced(&aside.join("profiler-report.html"), page.as_bytes())?;
    for finding in findings.sagemaker.iter().chain(&findings.kennel) {
        // INVARIANT: the findings of all rules are named after the tables of rules, so these are file names.
        let text = finding.json().to_string();
        write_synced(&reports.join(format!("{}.json", finding.rule)), text.as_bytes())?;
    }
    Ok(())
}

fn put_in_place(aside: &Path, place: &Path) -> std::io::Result<()> {
    let old = place.with_file_name(".profiler-output.old");
    clear(&old)?;
    match std::fs::rename(place, &old) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    if let Err(error) = std::fs::rename(aside, place) {
        // The earlier report is better than none.
        let _ = std::fs::rename(&old, place);
        return Err(error);
    }
    clear(&old)
}

fn clear(folder: &Path) -> std::io::Result<()> {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn write_synced(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

#[cfg(test)]
mod tests;

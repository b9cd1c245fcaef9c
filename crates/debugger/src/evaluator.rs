//! Reads tensors as they come and asks the rules.
//!
//! Each tensor is read once, however many rules want it, and is gone before the next: memory is what rules
//! keep, and they keep little. The order in which rules see steps does not depend on when anybody polls, so
//! neither do the verdicts (StalledTrainingRule, which is about time, excepted).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::RuleSpec;
use crate::layout::{Broken, Mode, StepFile, Tensor, ended, steps, workers};
use crate::rules::{At, End, Rule, Steps, build};
use crate::text::{details, shown};

/// The most files that one poll reads; the rest is for the next.
const MAX_FILES_PER_POLL: usize = 2_000;
/// The most files that are read when the run has ended.
const MAX_FILES_AT_END: usize = 200_000;
/// The most pairs of worker and mode that are followed.
const MAX_FOLLOWED: usize = 2_000;

/// Where a rule stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// The rule's `RuleConfigurationName`.
    pub configuration: String,
    /// Where it stands.
    pub status: Status,
    /// A sentence: tensor, step, number, meaning, what to try; at most 1,024 characters, on one line. Empty
    /// while nothing is to be said.
    pub details: String,
    /// Whether the job should be stopped: an issue was found and the rule asks for it.
    pub stop_training: bool,
}

/// Evaluates rules over the tensors of one run.
///
/// Keeps nothing on the disk: made anew after a restart, it reads the folder from the beginning and comes to
/// the same verdicts (StalledTrainingRule counts from its first poll).
#[derive(Debug)]
pub struct Evaluator {
    folder: PathBuf,
    rules: Vec<Running>,
    /// The first step of a worker and mode that was not read yet.
    next: BTreeMap<(String, Mode), u64>,
    broken: Skipped,
    /// When something new was last seen, or the first poll.
    active_ms: Option<u64>,
}

/// A rule and where it stands. The rule is dropped when it has come to an end, with all that it kept.
#[derive(Debug)]
struct Running {
    spec: RuleSpec,
    rule: Option<(Box<dyn Rule>, Steps)>,
    verdict: Verdict,
}

/// Files and tensors that could not be read.
#[derive(Debug, Default)]
struct Skipped {
    count: u64,
    first: String,
}

impl Skipped {
    fn add(&mut self, path: impl FnOnce() -> String, why: &Broken) {
        if self.count == 0 {
            self.first = shown(&format!("{}: {why}", path()));
        }
        self.count += 1;
    }
}

impl Running {
    fn new(spec: RuleSpec, others: &[PathBuf]) -> Running {
        let mut verdict = Verdict {
            configuration: spec.configuration.clone(),
            status: Status::InProgress,
            details: String::new(),
            stop_training: false,
        };
        let rule = match build(&spec, others) {
            Ok(rule) => Some(rule),
            Err(sentence) => {
                verdict.status = Status::Error;
                verdict.details = details(format!("{}: {sentence}", shown(&spec.rule)));
                None
            }
        };
        Running { spec, rule, verdict }
    }

    fn issue(&mut self, sentence: &str) {
        self.end(Status::IssuesFound, sentence);
        self.verdict.stop_training = self.spec.stop_training;
    }

    fn end(&mut self, status: Status, sentence: &str) {
        self.rule = None;
        self.verdict.status = status;
        self.verdict.details = match sentence {
            "" => String::new(),
            sentence => details(format!("{}: {sentence}", shown(&self.spec.rule))),
        };
    }

    /// The rule, if it still runs and looks at this step.
    fn at(&mut self, step: u64) -> Option<&mut Box<dyn Rule>> {
        self.rule.as_mut().filter(|(_, steps)| steps.contains(step)).map(|(rule, _)| rule)
    }

    fn finish(&mut self, broken: &Skipped) {
        let Some((rule, _)) = self.rule.as_mut() else { return };
        let (status, mut sentence) = match rule.finish() {
            End::Issue(sentence) => return self.issue(&sentence),
            End::Clean(note) => (Status::NoIssuesFound, note),
            End::Missing(sentence) => (Status::Error, sentence),
        };
        if broken.count > 0 {
            let separator = if sentence.is_empty() { "" } else { "; " };
            let Skipped { count, first } = broken;
            sentence.push_str(&format!(
                "{separator}{count} files or tensors could not be read, the first: {first}"
            ));
        }
        self.end(status, &sentence);
    }
}

impl Evaluator {
    /// Rules over the tensors below `folder`, which need not be there yet; `others` are the tensor folders of
    /// other runs, for SimilarAcrossRuns. A rule that cannot be evaluated (no such rule, a wrong parameter)
    /// has the status `Error` from the start.
    pub fn new(specs: Vec<RuleSpec>, folder: &Path, others: &[PathBuf]) -> Evaluator {
        let rules = specs.into_iter().map(|spec| Running::new(spec, others)).collect();
        Evaluator {
            folder: folder.to_owned(),
            rules,
            next: BTreeMap::new(),
            broken: Skipped::default(),
            active_ms: None,
        }
    }

    /// Reads what is new and answers the verdicts that changed. `now_ms` is Unix time in milliseconds. Blocks
    /// while it reads: at most 2,000 files.
    pub fn poll(&mut self, now_ms: u64) -> Vec<Verdict> {
        let before = self.verdicts();
        let mut new = self.new_files(false);
        new.truncate(MAX_FILES_PER_POLL);
        self.read(&new);
        if !new.is_empty() {
            self.active_ms = Some(now_ms);
        }
        let idle = now_ms.saturating_sub(*self.active_ms.get_or_insert(now_ms));
        if idle > 0 && !self.all_ended() {
            for running in &mut self.rules {
                let found = running.rule.as_mut().and_then(|(rule, _)| rule.idle(idle));
                if let Some(sentence) = found {
                    running.issue(&sentence);
                }
            }
        }
        self.changed(&before)
    }

    /// The run has ended: reads the rest, and answers the verdicts that changed; all are final.
    pub fn finish(&mut self, _now_ms: u64) -> Vec<Verdict> {
        let before = self.verdicts();
        let mut new = self.new_files(true);
        new.truncate(MAX_FILES_AT_END);
        self.read(&new);
        for running in &mut self.rules {
            running.finish(&self.broken);
        }
        self.changed(&before)
    }

    /// All verdicts, in the order of the rules.
    pub fn verdicts(&self) -> Vec<Verdict> {
        self.rules.iter().map(|running| running.verdict.clone()).collect()
    }

    fn changed(&self, before: &[Verdict]) -> Vec<Verdict> {
        let now = self.rules.iter().map(|running| &running.verdict);
        now.zip(before).filter(|(now, before)| now != before).map(|(now, _)| now.clone()).collect()
    }

    fn all_ended(&self) -> bool {
        let workers = workers(&self.folder);
        !workers.is_empty() && workers.iter().all(|worker| ended(&self.folder, worker))
    }

    /// What was not read yet, in the order of steps, and within a step in the order of modes.
    ///
    /// A listing that runs beside renames may miss a file and yet show a later one. So everything is listed
    /// twice, and of the second listing only what is not newer than the newest step of the first is taken:
    /// all of that was there before the second listing began. After the run's end, everything is taken.
    fn new_files(&self, all: bool) -> Vec<(u64, Mode, String)> {
        let mut new = Vec::new();
        for worker in workers(&self.folder) {
            let list = |mode: Mode| {
                let first = self.next.get(&(worker.clone(), mode)).copied().unwrap_or(0);
                steps(&self.folder, &worker, mode, first)
            };
            let newest = match all {
                true => Some(u64::MAX),
                false => Mode::ALL.iter().filter_map(|&mode| list(mode).last().copied()).max(),
            };
            let Some(newest) = newest else { continue };
            for mode in Mode::ALL {
                let steps = list(mode).into_iter().filter(|&step| step <= newest);
                new.extend(steps.map(|step| (step, mode, worker.clone())));
            }
            if new.len() >= MAX_FILES_AT_END {
                break;
            }
        }
        new.sort();
        new
    }

    fn read(&mut self, files: &[(u64, Mode, String)]) {
        for (step, mode, worker) in files {
            let key = (worker.clone(), *mode);
            if self.next.len() >= MAX_FOLLOWED && !self.next.contains_key(&key) {
                continue;
            }
            self.next.insert(key, step.saturating_add(1));
            let path = || format!("{worker}/{}/{step}", mode.name());
            match StepFile::open(&self.folder, worker, *mode, *step) {
                Ok(file) => self.show(&At { worker, mode: *mode, step: *step }, &file),
                Err(error) => self.broken.add(path, &error),
            }
        }
    }

    fn show(&mut self, at: &At<'_>, file: &StepFile) {
        for (name, collections) in file.tensors() {
            let mut read: Option<Tensor> = None;
            for running in &mut self.rules {
                let Some(rule) = running.at(at.step) else { continue };
                if !rule.wants(at, name, collections) {
                    continue;
                }
                if read.is_none() {
                    match file.read(name) {
                        Ok(tensor) => read = Some(tensor),
                        Err(error) => {
                            let path = || format!("`{name}` of {}/{}", at.mode.name(), at.step);
                            self.broken.add(path, &error);
                            break;
                        }
                    }
                }
                let found = read.as_ref().and_then(|tensor| rule.tensor(at, tensor, collections));
                if let Some(sentence) = found {
                    running.issue(&from(at, sentence));
                }
            }
        }
        for running in &mut self.rules {
            let found = running.at(at.step).and_then(|rule| rule.step_end(at));
            if let Some(sentence) = found {
                running.issue(&from(at, sentence));
            }
        }
    }
}

/// A sentence about what another than the first worker saved says whose it is.
fn from(at: &At<'_>, sentence: String) -> String {
    match at.worker {
        "algo-1" => sentence,
        worker => format!("on `{worker}`, {sentence}"),
    }
}

#[cfg(test)]
mod tests;

//! The rules: SageMaker's by their names, parameters and defaults, and Kennel's own, which say so.
//!
//! Each is a pure function of a recording. What a rule measures, and when it fires, follows the rules of the
//! open `smdebug` library and the parameters of `smdebug_rulesconfig`, which is what the SDK sends.

mod gpu;
mod kennel;
mod steps;
mod usage;

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::analysis::Status;
use crate::config::short;
use crate::recording::Recording;

/// What one rule found.
#[derive(Debug, Clone)]
pub(crate) struct Finding {
    pub(crate) rule: String,
    pub(crate) status: Status,
    /// What it means, in a sentence.
    pub(crate) means: String,
    /// What to change; empty where nothing is to be changed.
    pub(crate) change: String,
    /// The parameters that it was judged with.
    pub(crate) parameters: Vec<(String, String)>,
    /// How often it fired, how many samples broke its limit, and how many it looked at.
    pub(crate) fired: u64,
    pub(crate) violations: u64,
    pub(crate) samples: u64,
    /// Its numbers, for machines.
    pub(crate) details: Value,
}

impl Finding {
    fn new(status: Status, means: impl Into<String>, change: impl Into<String>) -> Self {
        Self {
            rule: String::new(),
            status,
            means: means.into(),
            change: change.into(),
            parameters: Vec::new(),
            fired: u64::from(status == Status::IssuesFound),
            violations: 0,
            samples: 0,
            details: json!({}),
        }
    }

    fn fine(means: impl Into<String>) -> Self {
        Self::new(Status::NoIssuesFound, means, "")
    }

    fn issue(means: impl Into<String>, change: impl Into<String>) -> Self {
        Self::new(Status::IssuesFound, means, change)
    }

    fn no_gpu() -> Self {
        Self::fine("not applicable: no GPU")
    }

    /// A rule that wants more samples than there are.
    fn too_few(samples: usize, wanted: usize) -> Self {
        let mut finding = Self::fine(format!(
            "not judged: the rule waits for more than {wanted} samples (`patience`), there are {samples}"
        ));
        finding.samples = samples as u64;
        finding
    }

    fn counted(mut self, violations: usize, samples: usize) -> Self {
        self.violations = violations as u64;
        self.samples = samples as u64;
        self
    }

    fn with(mut self, details: Value) -> Self {
        self.details = details;
        self
    }

    /// Both sentences.
    pub(crate) fn sentence(&self) -> String {
        if self.change.is_empty() {
            self.means.clone()
        } else {
            format!("{} {}", self.means, self.change)
        }
    }

    /// What SageMaker writes into `profiler-reports/<Rule>.json`.
    pub(crate) fn json(&self) -> Value {
        let parameters: Vec<String> =
            self.parameters.iter().map(|(name, value)| format!("{name}:{value}")).collect();
        json!({
            "RuleTriggered": self.fired,
            "Violations": self.violations,
            "Details": self.details,
            "Datapoints": self.samples,
            "RuleParameters": parameters.join("\n"),
            "RuleEvaluationStatus": self.status.as_str(),
            "StatusDetails": self.sentence(),
        })
    }
}

/// A rule's parameters: what the caller sent over what is usual, and a list of what was used.
pub(crate) struct Parameters<'a> {
    sent: &'a BTreeMap<String, String>,
    used: Vec<(String, String)>,
}

impl Parameters<'_> {
    /// A number within `low..=high`.
    fn number(&mut self, name: &str, usual: f64, low: f64, high: f64) -> Result<f64, String> {
        let value = match self.sent.get(name) {
            None => usual,
            Some(text) => {
                text.trim().parse().ok().filter(|v| (low..=high).contains(v)).ok_or_else(|| {
                    format!(
                        "`{name}` is `{}`, it has to be a number from {low} to {high}",
                        short(text)
                    )
                })?
            }
        };
        self.used.push((name.to_owned(), value.to_string()));
        Ok(value)
    }

    fn percent(&mut self, name: &str, usual: f64) -> Result<f64, String> {
        self.number(name, usual, 0.0, 100.0)
    }

    fn count(&mut self, name: &str, usual: u32) -> Result<usize, String> {
        let value = self.number(name, f64::from(usual), 0.0, 1e9)?;
        Ok(value as usize)
    }

    fn text(&mut self, name: &str) -> Option<String> {
        let value = self.sent.get(name)?.clone();
        self.used.push((name.to_owned(), short(&value)));
        Some(value)
    }
}

type Judge = fn(&Recording, &mut Parameters<'_>) -> Result<Finding, String>;

/// SageMaker's rules but ProfilerReport, in the order of its report.
const SAGEMAKER: [(&str, Judge); 10] = [
    ("LowGPUUtilization", gpu::low_utilization),
    ("BatchSize", gpu::batch_size),
    ("CPUBottleneck", gpu::cpu_bottleneck),
    ("IOBottleneck", gpu::io_bottleneck),
    ("GPUMemoryIncrease", gpu::memory_increase),
    ("LoadBalancing", gpu::load_balancing),
    ("StepOutlier", steps::outlier),
    ("MaxInitializationTime", steps::initialization),
    ("OverallSystemUsage", usage::system),
    ("OverallFrameworkMetrics", usage::framework),
];

/// Kennel's own.
const KENNEL: [(&str, Judge); 3] = [
    ("KennelTimeSplit", kennel::time_split),
    ("KennelIdleCores", kennel::idle_cores),
    ("KennelSlowInstance", kennel::slow_instance),
];

/// Every finding of a recording.
pub(crate) struct Findings {
    pub(crate) sagemaker: Vec<Finding>,
    pub(crate) kennel: Vec<Finding>,
}

/// Judges one rule by name, whichever case it has.
pub(crate) fn judge(recording: &Recording, rule: &str, sent: &BTreeMap<String, String>) -> Finding {
    if rule.eq_ignore_ascii_case("ProfilerReport") {
        return report(recording, sent);
    }
    if rule.eq_ignore_ascii_case("Dataloader") {
        return error(
            rule,
            "the rule `Dataloader` is not implemented: kennel's trainer has no data loader processes, and what \
             scripts start is not recorded",
        );
    }
    let known = SAGEMAKER.iter().chain(&KENNEL).find(|(name, _)| rule.eq_ignore_ascii_case(name));
    let Some((name, judge)) = known else {
        return error(
            rule,
            format!(
                "there is no profiler rule `{}`\nhint: `ProfilerReport` runs them all",
                short(rule)
            ),
        );
    };
    let mut parameters = Parameters { sent, used: Vec::new() };
    // Kennel has no scan interval, but the SDK always sends one.
    let outcome = judge(recording, &mut parameters);
    let used = parameters.used;
    let stranger = sent
        .keys()
        .find(|key| *key != "scan_interval_us" && used.iter().all(|(name, _)| name != *key));
    match (outcome, stranger) {
        (Err(message), _) => error(name, message),
        (Ok(_), Some(key)) => {
            error(name, format!("the rule `{name}` has no parameter `{}`", short(key)))
        }
        (Ok(finding), None) => Finding { rule: (*name).to_owned(), parameters: used, ..finding },
    }
}

/// All rules with ProfilerReport's parameters, which are called `<rule>_<parameter>`.
pub(crate) fn all(recording: &Recording, sent: &BTreeMap<String, String>) -> Findings {
    let run = |rules: &[(&str, Judge)]| -> Vec<Finding> {
        rules.iter().map(|(name, _)| judge(recording, name, &parameters_of(name, sent))).collect()
    };
    Findings { sagemaker: run(&SAGEMAKER), kennel: run(&KENNEL) }
}

fn parameters_of(rule: &str, sent: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    sent.iter()
        .filter_map(|(key, value)| {
            let (name, parameter) = key.split_once('_')?;
            name.eq_ignore_ascii_case(rule).then(|| (parameter.to_lowercase(), value.clone()))
        })
        .collect()
}

fn report(recording: &Recording, sent: &BTreeMap<String, String>) -> Finding {
    let known = |key: &str| {
        let name = key.split_once('_').map_or(key, |(name, _)| name);
        SAGEMAKER.iter().chain(&KENNEL).any(|(rule, _)| rule.eq_ignore_ascii_case(name))
    };
    if let Some(key) = sent.keys().find(|key| *key != "scan_interval_us" && !known(key)) {
        let message = format!(
            "`ProfilerReport` has no parameter `{}`\nhint: they are called `<rule>_<parameter>`, for instance \
             `CPUBottleneck_threshold`",
            short(key)
        );
        return error("ProfilerReport", message);
    }
    let findings = all(recording, sent);
    let all = findings.sagemaker.iter().chain(&findings.kennel);
    if let Some(wrong) = all.clone().find(|finding| finding.status == Status::Error) {
        return error("ProfilerReport", wrong.means.clone());
    }
    let issues: Vec<&Finding> =
        findings.sagemaker.iter().filter(|f| f.status == Status::IssuesFound).collect();
    let parameters = sent.iter().map(|(key, value)| (key.clone(), short(value))).collect();
    let mut finding = if issues.is_empty() {
        Finding::fine(if recording.is_empty() {
            "nothing was recorded"
        } else {
            "no rule found an issue"
        })
    } else {
        let sentences: Vec<String> =
            issues.iter().map(|f| format!("{}: {}", f.rule, f.sentence())).collect();
        Finding::issue(sentences.join("\n"), "")
    };
    finding.violations = issues.len() as u64;
    Finding { rule: "ProfilerReport".to_owned(), parameters, ..finding }
}

fn error(rule: &str, message: impl Into<String>) -> Finding {
    Finding { rule: short(rule), ..Finding::new(Status::Error, message, "") }
}

#[cfg(test)]
mod tests;

//! The built-in rules, with the names, parameters and defaults of AWS's page "List of Debugger built-in
//! rules" (<https://docs.aws.amazon.com/sagemaker/latest/dg/debugger-built-in-rules.html>).
//!
//! Each rule is a small state machine: it says which tensors it wants, is given them one at a time in the
//! order of steps, and answers a sentence as soon as its condition is met. AWS publishes neither the rules'
//! source nor all of their fine points; where the page leaves something open, or where its text taken by the
//! letter would accuse every healthy run, the rule's own comment says what is done here.
//!
//! Parameters that a rule does not know are an error, so that a misspelt threshold is not the default in
//! silence. `start_step` and `end_step` work for every rule: steps outside are not shown to it.
//!
//! A rule that found nothing to look at by the end of the run ends with `Error` and says which collection is
//! missing. (On SageMaker it ends with `NoIssuesFound`, which reads as if something had been checked.)

mod activations;
mod change;
mod classes;
mod images;
mod initialization;
mod losses;
mod params;
mod similar;
mod stalled;
mod tensors;

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use regex::Regex;

use crate::layout::Tensor;
use crate::text::shown;
use crate::{Mode, RuleSpec};
use params::Params;
pub(crate) use params::regexes;

/// The most tensors that one rule keeps something about. More are passed over: a script that names its
/// tensors anew at every step would fill the memory.
const MAX_TRACKED: usize = 20_000;
/// The most values that one rule keeps in full: 256 MiB.
const MAX_KEPT: usize = 64 << 20;

/// Where a tensor was saved.
#[derive(Debug, Clone, Copy)]
pub(crate) struct At<'a> {
    pub(crate) worker: &'a str,
    pub(crate) mode: Mode,
    pub(crate) step: u64,
}

impl At<'_> {
    /// A key for what is kept about a tensor of this worker in this mode.
    fn key(&self, name: &str) -> String {
        format!("{}\n{}\n{name}", self.worker, self.mode.name())
    }
}

/// How a rule ends.
#[derive(Debug)]
pub(crate) enum End {
    /// The end of the run met the condition.
    Issue(String),
    /// Nothing was found. The note may be empty.
    Clean(String),
    /// There was nothing to look at: what is missing and how to save it.
    Missing(String),
}

/// One rule at work. `Some` sentence is an issue, after which the rule is not asked again.
pub(crate) trait Rule: fmt::Debug + Send {
    /// Whether it wants to see this tensor.
    fn wants(&self, at: &At<'_>, name: &str, collections: &[String]) -> bool;

    /// Shows it a tensor that it wants.
    fn tensor(&mut self, at: &At<'_>, tensor: &Tensor, collections: &[String]) -> Option<String>;

    /// All tensors of this step were shown.
    fn step_end(&mut self, _at: &At<'_>) -> Option<String> {
        None
    }

    /// Nothing was saved for so long, while some worker has not ended.
    fn idle(&mut self, _milliseconds: u64) -> Option<String> {
        None
    }

    /// The run has ended.
    fn finish(&mut self) -> End;
}

/// Rules of SageMaker that Kennel has not.
const NOT_IMPLEMENTED: [&str; 4] =
    ["TreeDepth", "FeatureImportanceOverweight", "CreateXgboostReport", "NLPSequenceRatio"];

/// The rules' names, as `rule_to_invoke` has them.
pub(crate) const NAMES: [&str; 17] = [
    "AllZero",
    "CheckInputImages",
    "ClassImbalance",
    "Confusion",
    "DeadRelu",
    "ExplodingTensor",
    "LossNotDecreasing",
    "Overfit",
    "Overtraining",
    "PoorWeightInitialization",
    "SaturatedActivation",
    "SimilarAcrossRuns",
    "StalledTrainingRule",
    "TensorVariance",
    "UnchangedTensor",
    "VanishingGradient",
    "WeightUpdateRatio",
];

/// Steps that a rule is shown.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Steps {
    start: u64,
    end: Option<u64>,
}

impl Steps {
    pub(crate) fn contains(&self, step: u64) -> bool {
        step >= self.start && self.end.is_none_or(|end| step < end)
    }
}

/// Makes the rule that a spec asks for. The error is a sentence for the rule's details.
pub(crate) fn build(spec: &RuleSpec, others: &[PathBuf]) -> Result<(Box<dyn Rule>, Steps), String> {
    let mut params = Params::new(&spec.parameters);
    let steps =
        Steps { start: params.integer("start_step", 0)?, end: params.maybe_integer("end_step")? };
    let p = &mut params;
    let rule: Box<dyn Rule> = match spec.rule.as_str() {
        "AllZero" => Box::new(tensors::AllZero::new(p)?),
        "CheckInputImages" => Box::new(images::CheckInputImages::new(p)?),
        "ClassImbalance" => Box::new(classes::ClassImbalance::new(p)?),
        "Confusion" => Box::new(classes::Confusion::new(p)?),
        "DeadRelu" => Box::new(activations::DeadRelu::new(p)?),
        "ExplodingTensor" => Box::new(tensors::ExplodingTensor::new(p)?),
        "LossNotDecreasing" => Box::new(losses::LossNotDecreasing::new(p)?),
        "Overfit" => Box::new(losses::Overfit::new(p)?),
        "Overtraining" => Box::new(losses::Overtraining::new(p)?),
        "PoorWeightInitialization" => Box::new(initialization::PoorWeightInitialization::new(p)?),
        "SaturatedActivation" => Box::new(activations::SaturatedActivation::new(p)?),
        "SimilarAcrossRuns" => Box::new(similar::SimilarAcrossRuns::new(p, others)?),
        "StalledTrainingRule" | "StalledTraining" => Box::new(stalled::StalledTraining::new(p)?),
        "TensorVariance" => Box::new(tensors::TensorVariance::new(p)?),
        "UnchangedTensor" => Box::new(change::UnchangedTensor::new(p)?),
        "VanishingGradient" => Box::new(tensors::VanishingGradient::new(p)?),
        "WeightUpdateRatio" => Box::new(change::WeightUpdateRatio::new(p)?),
        name if NOT_IMPLEMENTED.contains(&name) => {
            return Err(format!(
                "the rule `{name}` is not implemented by Kennel; hint: it has {}",
                NAMES.join(", ")
            ));
        }
        name => {
            return Err(format!(
                "there is no rule `{}`; hint: Kennel has {}, and no custom rules",
                shown(name),
                NAMES.join(", ")
            ));
        }
    };
    params.done()?;
    Ok((rule, steps))
}

/// The collections that a rule looks at, for [`crate::Hook`].
pub(crate) fn needed(spec: &RuleSpec) -> Vec<String> {
    let mut params = Params::new(&spec.parameters);
    let named = params.list("collection_names");
    let regex = params.regexes("tensor_regex").ok().flatten().is_some();
    let own: &[&str] = match spec.rule.as_str() {
        "AllZero" if named.is_empty() && !regex => {
            &["weights", "gradients", "relu_output", "tanh_output", "sigmoid_output"]
        }
        "ExplodingTensor" if named.is_empty() && !regex => &["weights", "gradients", "outputs"],
        "SimilarAcrossRuns" if named.is_empty() && !regex => &["weights"],
        "TensorVariance" | "UnchangedTensor" if named.is_empty() && !regex => &["weights"],
        "CheckInputImages" => &["input_images"],
        "ClassImbalance" | "Confusion" => &["labels", "predictions", "outputs"],
        "DeadRelu" => &["relu_output"],
        "PoorWeightInitialization" => &[
            "gradients",
            "losses",
            "relu_input",
            "relu_output",
            "tanh_input",
            "tanh_output",
            "sigmoid_input",
            "sigmoid_output",
        ],
        "SaturatedActivation" => &["tanh_input", "tanh_output", "sigmoid_input", "sigmoid_output"],
        "VanishingGradient" => &["gradients"],
        "WeightUpdateRatio" => &["weights"],
        _ => &[],
    };
    own.iter().map(|&name| name.to_owned()).chain(named).collect()
}

/// The patterns by which a rule looks for tensors, for [`crate::Hook`]. The loss rules look at losses only,
/// whatever the pattern: AWS's examples give them `.*`, which must not save every tensor there is.
pub(crate) fn patterns(spec: &RuleSpec) -> Vec<Regex> {
    let mut params = Params::new(&spec.parameters);
    let names: &[&str] = match spec.rule.as_str() {
        "AllZero"
        | "DeadRelu"
        | "ExplodingTensor"
        | "SaturatedActivation"
        | "SimilarAcrossRuns"
        | "TensorVariance"
        | "UnchangedTensor" => &["tensor_regex"],
        "CheckInputImages" => &["regex"],
        "ClassImbalance" => &["labels_regex", "predictions_regex"],
        "PoorWeightInitialization" => &["activation_inputs_regex"],
        _ => &[],
    };
    names.iter().filter_map(|name| params.regexes(name).ok().flatten()).flatten().collect()
}

/// Something about each of many tensors, within bounds.
#[derive(Debug)]
struct Tracked<T>(BTreeMap<String, T>);

impl<T> Default for Tracked<T> {
    fn default() -> Self {
        Tracked(BTreeMap::new())
    }
}

impl<T> Tracked<T> {
    /// What is kept under a key, made if it is new. None if there are too many already.
    fn entry(&mut self, key: String, make: impl FnOnce() -> T) -> Option<&mut T> {
        if self.0.len() >= MAX_TRACKED && !self.0.contains_key(&key) {
            return None;
        }
        Some(self.0.entry(key).or_insert_with(make))
    }
}

/// The sentence for a rule that found nothing to look at.
fn missing(what: &str, collection: &str) -> End {
    End::Missing(format!(
        "{what} saved, so there was nothing to check; hint: name the collection `{collection}` in \
         CollectionConfigurations of the DebugHookConfig, with a save_interval that the run reaches"
    ))
}

/// The value of a tensor that is a scalar.
fn scalar(tensor: &Tensor) -> Option<f64> {
    match tensor.values.as_slice() {
        [value] => Some(f64::from(*value)),
        _ => None,
    }
}

/// Mean and variance of the finite values, and how many those are.
fn moments(values: &[f32]) -> (f64, f64, usize) {
    let finite = || values.iter().filter(|value| value.is_finite()).map(|&value| f64::from(value));
    let count = finite().count();
    if count == 0 {
        return (0.0, 0.0, 0);
    }
    let mean = finite().sum::<f64>() / count as f64;
    let variance = finite().map(|value| (value - mean).powi(2)).sum::<f64>() / count as f64;
    (mean, variance, count)
}

#[cfg(test)]
mod test_support;
#[cfg(test)]
mod tests;

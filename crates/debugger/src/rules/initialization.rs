//! PoorWeightInitialization: what the first steps say about how the weights were initialised.
//!
//! Three checks on the training steps from the first saved one on, `steps` of them:
//!
//! 1. The variances of the activations' inputs of different layers differ by more than `threshold` times.
//!    Where no inputs are saved, outputs stand in for them. One layer alone has nothing to differ from.
//! 2. The 5th and the 95th percentile of a gradient's values are less than `distribution_range` apart.
//! 3. The loss is no longer decreasing: for `patience` saved steps it was never better than before, and
//!    these steps are on average no better than those before. The second half is Kennel's: the losses of
//!    single batches are noisy, and five without a record are nothing yet.

use std::collections::BTreeMap;

use super::params::{Params, Selector};
use super::tensors::gradients;
use super::{At, End, Rule, Tracked, missing, moments, scalar};
use crate::Mode;
use crate::layout::Tensor;
use crate::text::{number, shown};

/// The most values that a percentile is computed from; a larger tensor is sampled evenly.
const MAX_SORTED: usize = 1 << 20;
/// The part by which a loss must fall to have fallen.
const PROGRESS: f64 = 0.001;
/// The most first steps; losses of all of them are kept.
const MAX_STEPS: u64 = 1_000;
/// Layers per step of which variances are remembered.
const MAX_LAYERS: usize = 10_000;

#[derive(Debug)]
pub(super) struct PoorWeightInitialization {
    threshold: f64,
    range: f64,
    patience: usize,
    steps: u64,
    inputs: Selector,
    outputs: Selector,
    gradients: Selector,
    losses: Selector,
    first: BTreeMap<String, u64>,
    /// Of the step that is being shown: (variance, tensor), of inputs and of outputs.
    input_variances: Vec<(f64, String)>,
    output_variances: Vec<(f64, String)>,
    /// Losses of the first steps, by tensor.
    history: Tracked<Vec<f64>>,
    seen: bool,
}

impl PoorWeightInitialization {
    pub(super) fn new(params: &mut Params<'_>) -> Result<Self, String> {
        let given = params.regexes("activation_inputs_regex")?.map(Selector::by_regexes);
        let chosen = given.is_some();
        let own = || {
            Selector::new(
                &["relu_input", "tanh_input", "sigmoid_input"],
                r"(?i)(relu|tanh|sigmoid)\d*_input",
            )
        };
        let outputs = match chosen {
            true => Selector::default(),
            false => Selector::new(
                &["relu_output", "tanh_output", "sigmoid_output"],
                r"(?i)(relu|tanh|sigmoid)\d*_output",
            )?,
        };
        Ok(Self {
            threshold: params.number("threshold", 10.0)?,
            range: params.number("distribution_range", 0.001)?,
            patience: params.integer("patience", 5)?.clamp(1, 1_000_000) as usize,
            steps: params.integer("steps", 10)?.min(MAX_STEPS),
            inputs: given.map_or_else(own, Ok)?,
            outputs,
            gradients: gradients()?,
            losses: Selector::new(&["losses"], "")?,
            first: BTreeMap::new(),
            input_variances: Vec::new(),
            output_variances: Vec::new(),
            history: Tracked::default(),
            seen: false,
        })
    }

    fn gradient(&self, at: &At<'_>, tensor: &Tensor) -> Option<String> {
        let spread = spread(&tensor.values)?;
        (spread < self.range).then(|| {
            format!(
                "at step {} the middle 90% of the values of `{}` lie within {} (limit {}): the gradients are \
                 too small or too alike to learn from; hint: initialise the weights larger, or with another \
                 scheme (Xavier for tanh and sigmoid, He for ReLU), and check that inputs are normalised",
                at.step,
                shown(&tensor.name),
                number(spread),
                number(self.range)
            )
        })
    }

    fn loss(&mut self, at: &At<'_>, tensor: &Tensor) -> Option<String> {
        let loss = scalar(tensor)?;
        let patience = self.patience;
        // As many before as after, where the first steps are enough for both.
        let rest = usize::try_from(self.steps).unwrap_or(usize::MAX).saturating_sub(patience);
        let enough = rest.clamp(1, patience);
        let history = self.history.entry(at.key(&tensor.name), Vec::new)?;
        history.push(loss);
        let (before, last) = history.split_at_checked(history.len().checked_sub(patience)?)?;
        if before.len() < enough {
            return None;
        }
        let best = before.iter().copied().reduce(f64::min)?;
        let mean = |losses: &[f64]| losses.iter().sum::<f64>() / losses.len() as f64;
        // By less than this part of it, a change is rounding. What is not a number is no better than any.
        let below = |loss: f64, other: f64| loss < other - PROGRESS * other.abs();
        let better = last.iter().any(|&loss| below(loss, best)) || below(mean(last), mean(before));
        (!better).then(|| {
            format!(
                "the loss `{}` did not fall below {} in the {patience} saved steps up to step {}, at the very \
                 start of training; hint: initialise the weights with another scheme (Xavier for tanh and \
                 sigmoid, He for ReLU), or try another learning rate",
                shown(&tensor.name),
                number(best),
                at.step
            )
        })
    }
}

impl Rule for PoorWeightInitialization {
    fn wants(&self, at: &At<'_>, name: &str, collections: &[String]) -> bool {
        if !matches!(at.mode, Mode::Train | Mode::Global) {
            return false;
        }
        let first = self.first.get(&at.key("")).copied().unwrap_or(at.step);
        at.step - first.min(at.step) < self.steps
            && [&self.inputs, &self.outputs, &self.gradients, &self.losses]
                .iter()
                .any(|selector| selector.matches(name, collections))
    }

    fn tensor(&mut self, at: &At<'_>, tensor: &Tensor, collections: &[String]) -> Option<String> {
        self.seen = true;
        self.first.entry(at.key("")).or_insert(at.step);
        if self.gradients.matches(&tensor.name, collections) {
            return self.gradient(at, tensor);
        }
        if self.losses.matches(&tensor.name, collections) {
            return self.loss(at, tensor);
        }
        let (_, variance, count) = moments(&tensor.values);
        let list = match self.inputs.matches(&tensor.name, collections) {
            true => &mut self.input_variances,
            false => &mut self.output_variances,
        };
        if count >= 2 && list.len() < MAX_LAYERS {
            list.push((variance, tensor.name.clone()));
        }
        None
    }

    fn step_end(&mut self, at: &At<'_>) -> Option<String> {
        let inputs = std::mem::take(&mut self.input_variances);
        let outputs = std::mem::take(&mut self.output_variances);
        let layers = if inputs.is_empty() { outputs } else { inputs };
        let largest = layers.iter().max_by(|a, b| a.0.total_cmp(&b.0))?;
        let smallest = layers.iter().min_by(|a, b| a.0.total_cmp(&b.0))?;
        // A layer without any variance beside one with some is infinitely far off.
        (largest.0 > self.threshold * smallest.0).then(|| {
            format!(
                "at step {} the variance of `{}` is {} and that of `{}` {}, more than {} times apart: signals \
                 grow or fade from layer to layer; hint: initialise each layer by its size (Xavier for tanh \
                 and sigmoid, He for ReLU)",
                at.step,
                shown(&largest.1),
                number(largest.0),
                shown(&smallest.1),
                number(smallest.0),
                number(self.threshold)
            )
        })
    }

    fn finish(&mut self) -> End {
        match self.seen {
            true => End::Clean(String::new()),
            false => {
                missing("no gradients, losses or activations of training steps were", "gradients")
            }
        }
    }
}

/// The distance of the 5th and the 95th percentile, as numpy interpolates them. None of fewer than two
/// values, and none where a value is not finite.
fn spread(values: &[f32]) -> Option<f64> {
    let stride = values.len().div_ceil(MAX_SORTED).max(1);
    let mut sample: Vec<f32> = values.iter().copied().step_by(stride).collect();
    if sample.len() < 2 || sample.iter().any(|value| !value.is_finite()) {
        return None;
    }
    sample.sort_unstable_by(f32::total_cmp);
    let percentile = |percent: f64| {
        let place = percent / 100.0 * (sample.len() - 1) as f64;
        let low = place.floor() as usize;
        let (a, b) = (f64::from(sample[low]), f64::from(sample[(low + 1).min(sample.len() - 1)]));
        a + (b - a) * place.fract()
    };
    Some(percentile(95.0) - percentile(5.0))
}

#[cfg(test)]
mod tests;

//! Rules that look at one tensor at a time: VanishingGradient, ExplodingTensor, AllZero, TensorVariance.

use super::params::{Params, Selector};
use super::{At, End, Rule, missing, moments};
use crate::layout::Tensor;
use crate::text::{number, shown};

/// Gradients by collection, or by smdebug's name for them.
pub(super) fn gradients() -> Result<Selector, String> {
    Selector::new(&["gradients"], "^gradient/")
}

/// VanishingGradient: the mean of a gradient's absolute values fell below `threshold`.
#[derive(Debug)]
pub(super) struct VanishingGradient {
    threshold: f64,
    gradients: Selector,
    seen: bool,
}

impl VanishingGradient {
    pub(super) fn new(params: &mut Params<'_>) -> Result<Self, String> {
        let threshold = params.number("threshold", 1e-7)?;
        Ok(Self { threshold, gradients: gradients()?, seen: false })
    }
}

impl Rule for VanishingGradient {
    fn wants(&self, _: &At<'_>, name: &str, collections: &[String]) -> bool {
        self.gradients.matches(name, collections)
    }

    fn tensor(&mut self, at: &At<'_>, tensor: &Tensor, _: &[String]) -> Option<String> {
        if tensor.values.is_empty() {
            return None;
        }
        self.seen = true;
        let sum: f64 = tensor.values.iter().map(|&value| f64::from(value).abs()).sum();
        let mean = sum / tensor.values.len() as f64;
        // Not-a-number is ExplodingTensor's business, and is not below anything.
        (mean < self.threshold).then(|| {
            format!(
                "the mean absolute gradient of `{}` fell below {} at step {} ({}), so the weights before \
                 it hardly learn any more; hint: try ReLU instead of sigmoid or tanh, a larger learning \
                 rate, another initialisation, or batch normalisation",
                shown(tensor.name.strip_prefix("gradient/").unwrap_or(&tensor.name)),
                number(self.threshold),
                at.step,
                number(mean)
            )
        })
    }

    fn finish(&mut self) -> End {
        match self.seen {
            true => End::Clean(String::new()),
            false => missing("no gradients were", "gradients"),
        }
    }
}

/// ExplodingTensor: a value is not finite.
#[derive(Debug)]
pub(super) struct ExplodingTensor {
    only_nan: bool,
    /// Everything, if none.
    tensors: Option<Selector>,
    seen: bool,
}

impl ExplodingTensor {
    pub(super) fn new(params: &mut Params<'_>) -> Result<Self, String> {
        let only_nan = params.flag("only_nan", false)?;
        Ok(Self { only_nan, tensors: Selector::given(params)?, seen: false })
    }
}

impl Rule for ExplodingTensor {
    fn wants(&self, _: &At<'_>, name: &str, collections: &[String]) -> bool {
        self.tensors.as_ref().is_none_or(|tensors| tensors.matches(name, collections))
    }

    fn tensor(&mut self, at: &At<'_>, tensor: &Tensor, _: &[String]) -> Option<String> {
        self.seen = true;
        let nan = tensor.values.iter().filter(|value| value.is_nan()).count();
        let infinite = match self.only_nan {
            true => 0,
            false => tensor.values.iter().filter(|value| value.is_infinite()).count(),
        };
        (nan + infinite > 0).then(|| {
            format!(
                "`{}` has {nan} values that are not a number and {infinite} that are infinite, of {}, at \
                 step {}: nothing useful is learnt from here on; hint: try a smaller learning rate, gradient \
                 clipping, and look for a division by zero or a logarithm of zero in the loss",
                shown(&tensor.name),
                tensor.values.len(),
                at.step
            )
        })
    }

    fn finish(&mut self) -> End {
        match self.seen {
            true => End::Clean(String::new()),
            false => missing("no tensors that this rule was told to look at were", "gradients"),
        }
    }
}

/// AllZero: `threshold` percent of a tensor's values, or more, are zero.
///
/// AWS asks for `collection_names` or `tensor_regex`. Without them Kennel looks at weights, gradients and
/// activations, and not at weights of step 0: a last layer may well start at zero, and so do biases.
#[derive(Debug)]
pub(super) struct AllZero {
    threshold: f64,
    given: bool,
    tensors: Selector,
    weights: Selector,
    seen: bool,
}

impl AllZero {
    pub(super) fn new(params: &mut Params<'_>) -> Result<Self, String> {
        let threshold = params.number("threshold", 100.0)?;
        let given = Selector::given(params)?;
        let own =
            ["weights", "gradients", "relu_output", "tanh_output", "sigmoid_output", "inputs"];
        Ok(Self {
            threshold,
            given: given.is_some(),
            tensors: given.map_or_else(|| Selector::new(&own, "^gradient/"), Ok)?,
            weights: Selector::new(&["weights"], "")?,
            seen: false,
        })
    }
}

impl Rule for AllZero {
    fn wants(&self, at: &At<'_>, name: &str, collections: &[String]) -> bool {
        let start = !self.given && at.step == 0 && self.weights.matches(name, collections);
        self.tensors.matches(name, collections) && !start
    }

    fn tensor(&mut self, at: &At<'_>, tensor: &Tensor, _: &[String]) -> Option<String> {
        if tensor.values.is_empty() {
            return None;
        }
        self.seen = true;
        let zeros = tensor.values.iter().filter(|&&value| value == 0.0).count();
        let percent = 100.0 * zeros as f64 / tensor.values.len() as f64;
        (percent >= self.threshold).then(|| {
            format!(
                "{}% of the {} values of `{}` are zero at step {} (limit {}%); hint: look for dead ReLUs, \
                 a layer that gets no gradient, a mask that hides everything, or data that was not loaded",
                number(percent),
                tensor.values.len(),
                shown(&tensor.name),
                at.step,
                number(self.threshold)
            )
        })
    }

    fn finish(&mut self) -> End {
        match self.seen {
            true => End::Clean(String::new()),
            false => missing("no tensors that this rule looks at were", "gradients"),
        }
    }
}

/// TensorVariance: a tensor's variance is above `max_threshold` or below `min_threshold`.
///
/// Both are none by default, on AWS too; a rule that compares with nothing is an error here. Without
/// `collection_names` and `tensor_regex` it looks at the weights, as in AWS's example.
#[derive(Debug)]
pub(super) struct TensorVariance {
    max: Option<f64>,
    min: Option<f64>,
    tensors: Selector,
    seen: bool,
}

impl TensorVariance {
    pub(super) fn new(params: &mut Params<'_>) -> Result<Self, String> {
        let max = params.maybe_number("max_threshold")?;
        let min = params.maybe_number("min_threshold")?;
        if max.is_none() && min.is_none() {
            return Err(
                "the rule has neither `max_threshold` nor `min_threshold`, so there is nothing \
                        to compare with; hint: add one to the rule's parameters, for example \
                        max_threshold 10 and min_threshold 0.00001 for weights"
                    .to_owned(),
            );
        }
        let tensors = Selector::given(params)?;
        let tensors = tensors.map_or_else(|| Selector::new(&["weights"], ""), Ok)?;
        Ok(Self { max, min, tensors, seen: false })
    }
}

impl Rule for TensorVariance {
    fn wants(&self, _: &At<'_>, name: &str, collections: &[String]) -> bool {
        self.tensors.matches(name, collections)
    }

    fn tensor(&mut self, at: &At<'_>, tensor: &Tensor, _: &[String]) -> Option<String> {
        let (_, variance, count) = moments(&tensor.values);
        if count < 2 {
            return None;
        }
        self.seen = true;
        let (side, limit, hint) = match (self.max, self.min) {
            (Some(max), _) if variance > max => (
                "above",
                max,
                "large values saturate neurons and end in infinity: try a smaller learning rate, weight \
                 decay or normalised inputs",
            ),
            (_, Some(min)) if variance < min => (
                "below",
                min,
                "values that hardly differ learn alike: try another initialisation or less weight decay",
            ),
            _ => return None,
        };
        Some(format!(
            "the variance of `{}` is {side} {} at step {} ({}); hint: {hint}",
            shown(&tensor.name),
            number(limit),
            at.step,
            number(variance)
        ))
    }

    fn finish(&mut self) -> End {
        match self.seen {
            true => End::Clean(String::new()),
            false => missing("no tensors that this rule looks at were", "weights"),
        }
    }
}

#[cfg(test)]
mod tests;

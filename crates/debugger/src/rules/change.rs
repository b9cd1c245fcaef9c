//! Rules that compare a tensor with itself at an earlier step: UnchangedTensor, WeightUpdateRatio. They keep
//! one earlier copy of a tensor, and no copies beyond a bound.

use super::params::{Params, Selector};
use super::{At, End, MAX_KEPT, Rule, Tracked, missing};
use crate::Mode;
use crate::layout::Tensor;
use crate::text::{number, shown};

/// An earlier copy of a tensor.
#[derive(Debug, Default)]
struct Copy {
    step: u64,
    values: Vec<f32>,
    /// How many saved steps in a row it has been the same, itself included.
    times: u64,
}

/// Copies of many tensors, in bounds.
#[derive(Debug, Default)]
struct Copies {
    tensors: Tracked<Copy>,
    /// Values in all copies together.
    kept: usize,
    /// Tensors for which there was no room.
    left_out: usize,
}

impl Copies {
    fn get(&mut self, at: &At<'_>, name: &str) -> Option<&mut Copy> {
        self.tensors.0.get_mut(&at.key(name))
    }

    /// Keeps this tensor instead of what was kept of it.
    fn keep(&mut self, at: &At<'_>, tensor: &Tensor) {
        let Some(copy) = self.tensors.entry(at.key(&tensor.name), Copy::default) else {
            self.left_out += 1;
            return;
        };
        let rest = self.kept - copy.values.len();
        if rest + tensor.values.len() > MAX_KEPT {
            self.kept = rest;
            *copy = Copy::default();
            self.left_out += 1;
            return;
        }
        self.kept = rest + tensor.values.len();
        copy.step = at.step;
        copy.times = 1;
        copy.values.clone_from(&tensor.values);
    }

    fn note(&self) -> String {
        match self.left_out {
            0 => String::new(),
            count => {
                format!("{count} times a tensor was passed over, all together being too large")
            }
        }
    }
}

/// numpy's `allclose`: all |a - b| <= atol + rtol |b|.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tolerance {
    rtol: f64,
    atol: f64,
    equal_nan: bool,
}

impl Tolerance {
    pub(super) fn new(params: &mut Params<'_>) -> Result<Self, String> {
        Ok(Self {
            rtol: params.number("rtol", 1e-5)?,
            atol: params.number("atol", 1e-8)?,
            equal_nan: params.flag("equal_nan", false)?,
        })
    }

    pub(super) fn close(self, a: f32, b: f32) -> bool {
        if a == b || (self.equal_nan && a.is_nan() && b.is_nan()) {
            return true;
        }
        let (a, b) = (f64::from(a), f64::from(b));
        // Of two different infinities, or an infinity and a number, neither is close.
        b.is_finite() && (a - b).abs() <= self.atol + self.rtol * b.abs()
    }

    fn all_close(self, a: &[f32], b: &[f32]) -> bool {
        a.len() == b.len() && a.iter().zip(b).all(|(&a, &b)| self.close(a, b))
    }
}

/// UnchangedTensor: a tensor was the same at `num_steps` saved steps in a row.
///
/// AWS asks for `collection_names` or `tensor_regex`. Without them Kennel looks at weights and losses of
/// training steps. Each is compared with the first of the row, so slow drift counts as change.
#[derive(Debug)]
pub(super) struct UnchangedTensor {
    num_steps: u64,
    tolerance: Tolerance,
    given: bool,
    tensors: Selector,
    copies: Copies,
    compared: bool,
}

impl UnchangedTensor {
    pub(super) fn new(params: &mut Params<'_>) -> Result<Self, String> {
        let num_steps = params.integer("num_steps", 3)?.max(2);
        let tolerance = Tolerance::new(params)?;
        let given = Selector::given(params)?;
        Ok(Self {
            num_steps,
            tolerance,
            given: given.is_some(),
            tensors: given.map_or_else(|| Selector::new(&["weights", "losses"], ""), Ok)?,
            copies: Copies::default(),
            compared: false,
        })
    }
}

impl Rule for UnchangedTensor {
    fn wants(&self, at: &At<'_>, name: &str, collections: &[String]) -> bool {
        let mode = self.given || matches!(at.mode, Mode::Train | Mode::Global);
        mode && self.tensors.matches(name, collections)
    }

    fn tensor(&mut self, at: &At<'_>, tensor: &Tensor, _: &[String]) -> Option<String> {
        if tensor.values.is_empty() {
            return None;
        }
        let tolerance = self.tolerance;
        let same = match self.copies.get(at, &tensor.name) {
            Some(copy) if !copy.values.is_empty() => {
                self.compared = true;
                let same = tolerance.all_close(&tensor.values, &copy.values);
                same.then(|| {
                    copy.times += 1;
                    (copy.times, copy.step)
                })
            }
            _ => None,
        };
        let Some((times, since)) = same else {
            self.copies.keep(at, tensor);
            return None;
        };
        (times >= self.num_steps).then(|| {
            format!(
                "`{}` did not change over {times} saved steps, {since} to {}; hint: if it should learn, \
                 look for a frozen layer, a learning rate that became zero, or a gradient that does not \
                 reach it",
                shown(&tensor.name),
                at.step
            )
        })
    }

    fn finish(&mut self) -> End {
        match self.compared {
            true => End::Clean(self.copies.note()),
            false => missing("no tensor that this rule looks at was, at two steps,", "weights"),
        }
    }
}

/// WeightUpdateRatio: the update of a weight is too large or too small beside the weight.
///
/// The ratio is ‖w − w₀‖ / (‖w₀‖ + epsilon), w₀ from the last saved step, or with `num_steps` from a saved
/// step at most so many steps before. A weight that was all zero has no ratio and is passed over.
#[derive(Debug)]
pub(super) struct WeightUpdateRatio {
    num_steps: Option<u64>,
    large: f64,
    small: f64,
    epsilon: f64,
    weights: Selector,
    copies: Copies,
    compared: bool,
}

impl WeightUpdateRatio {
    pub(super) fn new(params: &mut Params<'_>) -> Result<Self, String> {
        Ok(Self {
            num_steps: params.maybe_integer("num_steps")?,
            large: params.number("large_threshold", 10.0)?,
            small: params.number("small_threshold", 1e-8)?,
            epsilon: params.number("epsilon", 1e-9)?,
            weights: Selector::new(&["weights"], "")?,
            copies: Copies::default(),
            compared: false,
        })
    }
}

impl Rule for WeightUpdateRatio {
    fn wants(&self, at: &At<'_>, name: &str, collections: &[String]) -> bool {
        matches!(at.mode, Mode::Train | Mode::Global) && self.weights.matches(name, collections)
    }

    fn tensor(&mut self, at: &At<'_>, tensor: &Tensor, _: &[String]) -> Option<String> {
        let mut keep = true;
        let mut found = None;
        if let Some(copy) = self.copies.get(at, &tensor.name)
            && copy.values.len() == tensor.values.len()
        {
            let behind = at.step.saturating_sub(copy.step);
            let within = self.num_steps.is_none_or(|steps| behind <= steps);
            keep = self.num_steps.is_none_or(|steps| behind >= steps);
            let norm = norm(copy.values.iter().map(|&value| f64::from(value)));
            if within && norm > 0.0 && norm.is_finite() {
                self.compared = true;
                let both = tensor.values.iter().zip(&copy.values);
                let update = self::norm(both.map(|(&now, &was)| f64::from(now) - f64::from(was)));
                let ratio = update / (norm + self.epsilon);
                found = (ratio > self.large || ratio < self.small).then_some((ratio, copy.step));
            }
        }
        if keep {
            self.copies.keep(at, tensor);
        }
        let (ratio, before) = found?;
        let (side, limit, hint) = match ratio > self.large {
            true => (
                "above",
                self.large,
                "the weight is thrown about rather than led: try a smaller learning rate or gradient \
                 clipping",
            ),
            false => (
                "below",
                self.small,
                "the weight hardly moves: try a larger learning rate, or look for a frozen layer",
            ),
        };
        Some(format!(
            "from step {before} to step {} `{}` changed by {} times its own size, {side} {}; hint: {hint}",
            at.step,
            shown(&tensor.name),
            number(ratio),
            number(limit)
        ))
    }

    fn finish(&mut self) -> End {
        match self.compared {
            true => End::Clean(self.copies.note()),
            false => missing("no weights were, at two steps that can be compared,", "weights"),
        }
    }
}

fn norm(values: impl Iterator<Item = f64>) -> f64 {
    values.map(|value| value * value).sum::<f64>().sqrt()
}

#[cfg(test)]
mod tests;

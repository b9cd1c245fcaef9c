//! Rules that watch the units of a layer: DeadRelu and SaturatedActivation.
//!
//! An activation has the shape `[rows, units, …]`; what follows the units (height and width) counts as more
//! rows, and a tensor of one dimension is one row. A small batch says little about a unit (of a single row
//! half of all healthy ReLUs are off), so rows are collected over saved steps until there are enough.

use super::params::{Params, Selector};
use super::{At, End, Rule, Tracked, missing};
use crate::layout::Tensor;
use crate::text::{number, shown};

/// Rows on which a layer is judged, at least.
const MIN_ROWS: u64 = 32;
/// The most units that are counted, of all layers together.
const MAX_UNITS: usize = 4 << 20;

/// How often each unit of a layer was active.
#[derive(Debug, Default)]
struct Layer {
    active: Vec<u64>,
    rows: u64,
}

impl Layer {
    /// Counts one tensor of at most `most` units. A layer that changes its width starts anew.
    fn add(&mut self, tensor: &Tensor, most: usize, active: impl Fn(f32) -> bool) {
        let (rows, units) = match tensor.shape.as_slice() {
            [] => return,
            [units] => (1, *units),
            [rows, units, ..] => (*rows, *units),
        };
        if rows == 0 || units == 0 || units > most || tensor.values.is_empty() {
            return;
        }
        if self.active.len() != units {
            *self = Layer { active: vec![0; units], rows: 0 };
        }
        // The values fill the shape: the reader has checked that.
        let places = tensor.values.len() / (rows * units);
        for (index, unit) in tensor.values.chunks_exact(places).enumerate() {
            let count = unit.iter().filter(|&&value| active(value)).count();
            self.active[index % units] += count as u64;
        }
        self.rows += (rows * places) as u64;
    }

    /// Units that were active in less than `percent` of the rows.
    fn inactive(&self, percent: f64) -> usize {
        let least = percent / 100.0 * self.rows as f64;
        self.active.iter().filter(|&&active| (active as f64) < least).count()
    }
}

/// The part that both rules share: layers, and the two thresholds in percent.
#[derive(Debug)]
struct Layers {
    layers: Tracked<(String, u64, Layer)>,
    /// Units that are counted now, of all layers.
    units: usize,
    inactivity: f64,
    layer: f64,
    seen: bool,
}

/// A layer with too many inactive units.
struct Found {
    name: String,
    step: u64,
    units: usize,
    of: usize,
}

impl Layers {
    fn new(params: &mut Params<'_>) -> Result<Self, String> {
        let inactivity = params.number("threshold_inactivity", 1.0)?;
        let layer = params.number("threshold_layer", 50.0)?;
        Ok(Self { layers: Tracked::default(), units: 0, inactivity, layer, seen: false })
    }

    fn add(&mut self, at: &At<'_>, tensor: &Tensor, active: impl Fn(f32) -> bool) -> Option<Found> {
        self.seen = true;
        let make = || (tensor.name.clone(), at.step, Layer::default());
        let (_, step, layer) = self.layers.entry(at.key(&tensor.name), make)?;
        *step = at.step;
        self.units -= layer.active.len();
        layer.add(tensor, MAX_UNITS - self.units, active);
        if layer.rows < MIN_ROWS {
            self.units += layer.active.len();
            return None;
        }
        let found = judge(&tensor.name, *step, layer, self.inactivity, self.layer);
        *layer = Layer::default();
        found
    }

    /// The layers of a short run that never had enough rows.
    fn rest(&self) -> Option<Found> {
        self.layers.0.values().find_map(|(name, step, layer)| {
            judge(name, *step, layer, self.inactivity, self.layer).filter(|_| layer.rows > 1)
        })
    }
}

fn judge(name: &str, step: u64, layer: &Layer, inactivity: f64, limit: f64) -> Option<Found> {
    let (units, of) = (layer.inactive(inactivity), layer.active.len());
    let percent = 100.0 * units as f64 / of.max(1) as f64;
    (percent > limit).then(|| Found { name: name.to_owned(), step, units, of })
}

/// DeadRelu: more than `threshold_layer` percent of a layer's ReLUs were active in less than
/// `threshold_inactivity` percent of the rows.
#[derive(Debug)]
pub(super) struct DeadRelu {
    outputs: Selector,
    layers: Layers,
}

impl DeadRelu {
    pub(super) fn new(params: &mut Params<'_>) -> Result<Self, String> {
        let outputs = params.regexes("tensor_regex")?.map(Selector::by_regexes);
        let own = || Selector::new(&["relu_output"], r"(?i)relu\d*_output");
        Ok(Self { outputs: outputs.map_or_else(own, Ok)?, layers: Layers::new(params)? })
    }

    fn sentence(&self, found: &Found) -> String {
        format!(
            "{} of the {} ReLUs of `{}` are dead at step {}: active for less than {}% of the rows (limit {}% \
             of a layer), and a dead one gets no gradient; hint: try a smaller learning rate, another \
             initialisation, smaller negative biases, or leaky ReLU",
            found.units,
            found.of,
            shown(&found.name),
            found.step,
            number(self.layers.inactivity),
            number(self.layers.layer)
        )
    }
}

impl Rule for DeadRelu {
    fn wants(&self, _: &At<'_>, name: &str, collections: &[String]) -> bool {
        self.outputs.matches(name, collections)
    }

    fn tensor(&mut self, at: &At<'_>, tensor: &Tensor, _: &[String]) -> Option<String> {
        let found = self.layers.add(at, tensor, |value| value > 0.0)?;
        Some(self.sentence(&found))
    }

    fn finish(&mut self) -> End {
        match (self.layers.rest(), self.layers.seen) {
            (Some(found), _) => End::Issue(self.sentence(&found)),
            (None, true) => End::Clean(String::new()),
            (None, false) => {
                missing("no outputs of ReLUs (a linear head has none) were", "relu_output")
            }
        }
    }
}

/// SaturatedActivation: more than `threshold_layer` percent of a layer's units were away from the ends of
/// tanh or sigmoid in less than `threshold_inactivity` percent of the rows.
///
/// The thresholds are about the function's input. Where only outputs are saved, they are compared with what
/// the function makes of the thresholds; in single precision that is ±1 for tanh.
#[derive(Debug)]
pub(super) struct SaturatedActivation {
    tensors: Selector,
    tanh: (f64, f64),
    sigmoid: (f64, f64),
    layers: Layers,
}

impl SaturatedActivation {
    pub(super) fn new(params: &mut Params<'_>) -> Result<Self, String> {
        let own = || {
            Selector::new(
                &["tanh_input", "tanh_output", "sigmoid_input", "sigmoid_output"],
                r"(?i)(tanh|sigmoid)\d*_(in|out)put",
            )
        };
        let tanh = pair(params, "threshold_tanh", (-9.4999, 9.4999))?;
        let sigmoid = pair(params, "threshold_sigmoid", (-23.0, 16.99999))?;
        Ok(Self {
            tensors: Selector::given(params)?.map_or_else(own, Ok)?,
            tanh: (
                params.number("threshold_tanh_min", tanh.0)?,
                params.number("threshold_tanh_max", tanh.1)?,
            ),
            sigmoid: (
                params.number("threshold_sigmoid_min", sigmoid.0)?,
                params.number("threshold_sigmoid_max", sigmoid.1)?,
            ),
            layers: Layers::new(params)?,
        })
    }

    /// The smallest and largest value that are not saturated yet.
    fn range(&self, tensor: &Tensor, collections: &[String]) -> (f32, f32) {
        let says = |word: &str| {
            tensor.name.to_ascii_lowercase().contains(word)
                || collections.iter().any(|collection| collection.contains(word))
        };
        let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
        let (min, max) = match (says("sigmoid"), says("output")) {
            (true, true) => (sigmoid(self.sigmoid.0), sigmoid(self.sigmoid.1)),
            (true, false) => self.sigmoid,
            (false, true) => (self.tanh.0.tanh(), self.tanh.1.tanh()),
            (false, false) => self.tanh,
        };
        (min as f32, max as f32)
    }

    fn sentence(&self, found: &Found) -> String {
        format!(
            "{} of the {} units of `{}` are saturated at step {}: near an end of the function for more than \
             {}% of the rows (limit {}% of a layer), where the gradient is almost zero; hint: try a smaller \
             initialisation, normalised inputs, batch normalisation, or ReLU",
            found.units,
            found.of,
            shown(&found.name),
            found.step,
            number(100.0 - self.layers.inactivity),
            number(self.layers.layer)
        )
    }
}

impl Rule for SaturatedActivation {
    fn wants(&self, _: &At<'_>, name: &str, collections: &[String]) -> bool {
        self.tensors.matches(name, collections)
    }

    fn tensor(&mut self, at: &At<'_>, tensor: &Tensor, collections: &[String]) -> Option<String> {
        let (min, max) = self.range(tensor, collections);
        let found = self.layers.add(at, tensor, |value| value > min && value < max)?;
        Some(self.sentence(&found))
    }

    fn finish(&mut self) -> End {
        match (self.layers.rest(), self.layers.seen) {
            (Some(found), _) => End::Issue(self.sentence(&found)),
            (None, true) => End::Clean(String::new()),
            (None, false) => missing("no activations of tanh or sigmoid were", "tanh_output"),
        }
    }
}

/// The older form of the thresholds: `(-9.4999, 9.4999)` in one parameter.
fn pair(
    params: &mut Params<'_>,
    name: &'static str,
    default: (f64, f64),
) -> Result<(f64, f64), String> {
    let Some(text) = params.text(name) else { return Ok(default) };
    let inner = text.trim_start_matches(['(', '[']).trim_end_matches([')', ']']);
    inner
        .split_once(',')
        .and_then(|(min, max)| Some((min.trim().parse().ok()?, max.trim().parse().ok()?)))
        .ok_or_else(|| format!("the parameter `{name}` is `{}`, not `(min, max)`", shown(text)))
}

#[cfg(test)]
mod tests;

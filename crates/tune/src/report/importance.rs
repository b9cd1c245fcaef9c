//! Which hyperparameter the objective hangs on: the trials in coordinates, handed to the forest.

use super::Row;
use super::axis::Axis;
use super::forest::{self, Estimate, Input};
use super::view::{points, value};
use crate::Parameter;

/// Fewer trials say nothing about any number of parameters.
const FEWEST_TRIALS: usize = 8;

/// How many ended trials with all values it takes for so many parameters.
pub(super) fn needed(parameters: usize) -> usize {
    FEWEST_TRIALS.max(2 * parameters)
}

/// The estimate over those of the axes that have more than one value, and which those are; `None` with too few trials
/// or when all do equally well.
pub(super) fn estimate(axes: &[Axis], rows: &[Row]) -> Option<(Vec<usize>, Estimate)> {
    let free: Vec<usize> = (0..axes.len()).filter(|&i| !axes[i].fixed()).collect();
    let (mut inputs_of, mut values) = (Vec::new(), Vec::new());
    for row in rows {
        let Some(value) = value(row) else { continue };
        let all = points(axes, row);
        let place = |i: &usize| {
            let coordinate = all[*i]?;
            // A choice keeps its number, a number becomes its place on its own scale.
            Some(if axes[*i].kinds() > 0 { coordinate } else { axes[*i].place(coordinate) })
        };
        // A trial of an earlier tuning job may lack a parameter; it cannot tell of the others then.
        if let Some(point) = free.iter().map(place).collect::<Option<Vec<f64>>>() {
            inputs_of.push(point);
            values.push(value);
        }
    }
    if free.is_empty() || values.len() < needed(free.len()) {
        return None;
    }
    let inputs: Vec<Input> = free
        .iter()
        .map(|&i| match axes[i].kinds() {
            0 => Input::Unit,
            kinds => Input::Kinds(kinds),
        })
        .collect();
    forest::estimate(&inputs, &inputs_of, &values).map(|estimate| (free, estimate))
}

/// How much of the objective's variation over the space hangs on each parameter: shares with the sum 1, the largest
/// first. Empty with too few ended trials (8, or twice the parameters), or when all do equally well. Parameters with
/// one possible value have no share and are left out.
///
/// The shares are total Sobol indices of a random forest fitted to the ranks of the trials' objectives, which is the
/// idea of functional ANOVA; they say nothing of places that no trial went to.
pub fn importance(parameters: &[Parameter], trials: &[Row]) -> Vec<(String, f64)> {
    let axes: Vec<Axis> = parameters.iter().map(|parameter| Axis::of(parameter, trials)).collect();
    let Some((free, estimate)) = estimate(&axes, trials) else { return Vec::new() };
    let mut shares: Vec<(String, f64)> =
        free.iter().zip(estimate.shares).map(|(&i, share)| (axes[i].name.clone(), share)).collect();
    shares.sort_by(|a, b| b.1.total_cmp(&a.1));
    shares
}

//! What all parts of the report share: the trials in coordinates, how good each is among all, and the objective's axis.

use super::axis::Axis;
use super::scale::{Scale, Spread, drawable, number};
use super::{Report, Row, forest};
use crate::{Goal, TrialState};

/// Steps of colour from the worst trial to the best.
pub(super) const LEVELS: usize = 8;

/// So many hyperparameters are told of a trial that the mouse is on; the table tells all.
const TOLD: usize = 12;

/// A report with what is computed from it once.
#[derive(Debug)]
pub(super) struct View<'a> {
    pub(super) report: &'a Report,
    /// One axis for each parameter, in their order.
    pub(super) axes: Vec<Axis>,
    pub(super) objective: Axis,
    /// In the order of the report's trials.
    pub(super) trials: Vec<Trial>,
    /// The best trial, where there is one with a value.
    pub(super) best: Option<usize>,
}

/// What of a trial is drawn.
#[derive(Debug)]
pub(super) struct Trial {
    /// Its coordinate on each parameter's axis.
    pub(super) points: Vec<Option<f64>>,
    /// Its objective, when it has ended with one that can be drawn.
    pub(super) value: Option<f64>,
    /// How good it is among all that have a value: 0 for the worst, 1 for the best.
    pub(super) rank: Option<f64>,
}

impl Trial {
    /// The CSS class of its colour.
    pub(super) fn colour(&self) -> String {
        match self.rank {
            Some(rank) => format!("c{}", ((rank * LEVELS as f64) as usize).min(LEVELS - 1)),
            None => "none".to_owned(),
        }
    }
}

/// The objective of an ended trial, when it can be drawn.
pub(super) fn value(row: &Row) -> Option<f64> {
    match row.state {
        TrialState::Succeeded(value) | TrialState::Stopped(Some(value)) => {
            Some(value).filter(|v| drawable(*v))
        }
        TrialState::Running | TrialState::Failed | TrialState::Stopped(None) => None,
    }
}

/// Coordinates of each row on each axis.
pub(super) fn points(axes: &[Axis], row: &Row) -> Vec<Option<f64>> {
    axes.iter()
        .map(|axis| row.values.get(&axis.name).and_then(|text| axis.coordinate(text)))
        .collect()
}

impl<'a> View<'a> {
    pub(super) fn new(report: &'a Report) -> Self {
        let axes: Vec<Axis> =
            report.parameters.iter().map(|p| Axis::of(p, &report.trials)).collect();
        let valued: Vec<(usize, f64)> = report
            .trials
            .iter()
            .enumerate()
            .filter_map(|(i, row)| Some((i, value(row)?)))
            .collect();
        let costs: Vec<f64> = valued.iter().map(|(_, value)| report.goal.cost(*value)).collect();
        let mut trials: Vec<Trial> = report
            .trials
            .iter()
            .map(|row| Trial { points: points(&axes, row), value: value(row), rank: None })
            .collect();
        // A trial alone is the best there is.
        let ranks = if costs.len() == 1 { vec![0.0] } else { forest::ranks(&costs) };
        for ((i, _), rank) in valued.iter().zip(ranks) {
            trials[*i].rank = Some(1.0 - rank);
        }
        let values: Vec<f64> = valued.iter().map(|(_, value)| *value).collect();
        let name = if report.metric.trim().is_empty() { "objective" } else { report.metric.trim() };
        Self {
            report,
            objective: Axis::numbers(name, scale(report.goal, &values), false),
            best: report
                .best
                .filter(|best| trials.get(*best).is_some_and(|trial| trial.value.is_some())),
            axes,
            trials,
        }
    }

    /// What a trial is in one line.
    pub(super) fn tooltip(&self, number: usize) -> String {
        let Some(row) = self.report.trials.get(number) else { return String::new() };
        let value = self::value(row).map_or_else(|| "no value".to_owned(), self::number_of);
        let mut text = format!("{}: {} {value}", cut(&row.name, 80), cut(&self.objective.name, 60));
        // Said again in every plot, so all of many would make the page large.
        for axis in self.axes.iter().take(TOLD) {
            if let Some(value) = row.values.get(&axis.name) {
                let value = cut(&axis.text(value), 60);
                text.push_str(&format!("\n{} {value}", cut(&axis.name, 60)));
            }
        }
        text
    }
}

/// The scale of objectives. A loss of trials that diverged would press all others flat, so it becomes logarithmic
/// when its values lie far apart; good values of what is maximised are the large ones, which stay apart anyway.
pub(super) fn scale(goal: Goal, values: &[f64]) -> Scale {
    let linear = Scale::over(values.iter().copied(), Spread::Linear);
    if goal == Goal::Minimize && linear.low > 0.0 && linear.high / linear.low > 50.0 {
        return Scale { spread: Spread::Log, ..linear };
    }
    // Values that hardly differ would have the same texts at all ticks.
    let size = linear.low.abs().max(linear.high.abs());
    if linear.high - linear.low < size * 1e-4 {
        let around = size * 0.05;
        return Scale { low: linear.low - around, high: linear.high + around, ..linear }.rounded(5);
    }
    linear.rounded(5)
}

/// An objective as text.
pub(super) fn number_of(value: f64) -> String {
    number(value, 5)
}

/// The text in at most `most` characters.
pub(super) fn cut(text: &str, most: usize) -> String {
    let most = most.max(2);
    if text.chars().count() <= most {
        return text.to_owned();
    }
    let mut cut: String = text.chars().take(most - 1).collect();
    cut.push('…');
    cut
}

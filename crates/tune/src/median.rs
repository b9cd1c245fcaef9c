//! Early stopping by the median rule.
//!
//! SageMaker's own words: after each epoch, the running averages of the objective of all previous trainings up
//! to that epoch are taken, and a training whose objective is worse than their median is stopped
//! (<https://docs.aws.amazon.com/sagemaker/latest/dg/automatic-model-tuning-early-stopping.html>).

use crate::plan::{Plan, Trial, TrialState};

/// Ended trials that must have reported up to the same epoch before any is stopped there. AWS does not publish
/// its number; Optuna's median pruner starts after as many.
const ENDED: usize = 5;

/// The running trials that are worse at their latest epoch.
pub(crate) fn to_stop(plan: &Plan, trials: &[Trial]) -> Vec<(usize, String)> {
    let running = trials.iter().enumerate().filter(|(_, trial)| trial.runs());
    running.filter_map(|(index, trial)| Some((index, worse(plan, trial, trials)?))).collect()
}

fn worse(plan: &Plan, trial: &Trial, trials: &[Trial]) -> Option<String> {
    let epoch = trial.reports.len();
    let latest = *trial.reports.last()?;
    let ended = trials
        .iter()
        .filter(|other| matches!(other.state, TrialState::Succeeded(_) | TrialState::Stopped(_)));
    let mut averages: Vec<f64> = ended
        .filter_map(|other| other.reports.get(..epoch))
        .map(|reports| reports.iter().sum::<f64>() / epoch as f64)
        .filter(|average| average.is_finite())
        .collect();
    if averages.len() < ENDED {
        return None;
    }
    averages.sort_by(f64::total_cmp);
    let median = median(&averages);
    // An objective that is not a number is worse than any.
    let stays = plan.goal.cost(latest) <= plan.goal.cost(median);
    (!stays).then(|| {
        format!(
            "objective {} after epoch {epoch} is worse than {}, the median of the running averages of {} earlier trials",
            short(latest),
            short(median),
            averages.len()
        )
    })
}

/// A number for people, in four digits.
pub(crate) fn short(value: f64) -> String {
    let size = value.abs();
    if value == 0.0 || (1e-3..1e6).contains(&size) || !value.is_finite() {
        format!("{value:.4}")
    } else {
        format!("{value:.3e}")
    }
}

/// Median of sorted numbers; 0 of none.
pub(crate) fn median(sorted: &[f64]) -> f64 {
    let upper = sorted.len() / 2;
    match sorted.get(upper) {
        None => 0.0,
        Some(middle) if sorted.len() % 2 == 1 => *middle,
        // Halves first: the sum of two large numbers may be infinite.
        Some(middle) => 0.5 * middle + 0.5 * sorted[upper - 1],
    }
}

#[cfg(test)]
mod tests;

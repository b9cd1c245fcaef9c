//! The decisions of a tuning job: what to start, what to stop, whether it is done, which trial is best.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::plan::{Plan, Trial, TrialState};
use crate::space::Assignment;

/// What a tuning job does now.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Step {
    /// Start a trial with each of these.
    Start(Vec<Assignment>),
    /// Nothing until a running trial has ended.
    Wait,
    /// It is done; trials that still run are stopped by the caller.
    Complete(Reason),
}

/// Why a tuning job is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reason {
    /// All trials have ended.
    AllTrials,
    /// A trial has reached the target.
    Target,
    /// Too many trials without improvement.
    NotImproving,
    /// No improvement is expected any more.
    Converged,
    /// Every combination has been tried.
    SpaceExhausted,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Reason::AllTrials => "All trials have ended.",
            Reason::Target => "A trial has reached the target of the objective.",
            Reason::NotImproving => "The objective has stopped improving.",
            Reason::Converged => "No further improvement is expected.",
            Reason::SpaceExhausted => "Every combination of values has been tried.",
        })
    }
}

/// What to start now, with the trials in order of creation, running ones included. Never more than
/// `parallel` at a time or `max_trials` in all.
pub fn next(plan: &Plan, trials: &[Trial]) -> Step {
    let running = trials.iter().filter(|trial| trial.runs()).count();
    let places =
        plan.parallel.saturating_sub(running).min(plan.max_trials.saturating_sub(trials.len()));
    if places == 0 {
        return if running > 0 { Step::Wait } else { Step::Complete(Reason::AllTrials) };
    }
    Step::Start(
        (0..places).map(|index| plan.space.combination((trials.len() + index) as u64)).collect(),
    )
}

/// The running trials to stop now, as indices into `trials`, each with the reason for people.
pub fn to_stop(_plan: &Plan, _trials: &[Trial]) -> Vec<(usize, String)> {
    Vec::new()
}

/// Index of the best trial: among those that succeeded, or, when none has, among those that were stopped with
/// an objective. The earliest of equals.
pub fn best(plan: &Plan, trials: &[Trial]) -> Option<usize> {
    let among = |succeeded: bool| {
        let values = trials.iter().enumerate().filter_map(|(index, trial)| {
            (matches!(trial.state, TrialState::Succeeded(_)) == succeeded)
                .then(|| trial.value())
                .flatten()
                .map(|value| (index, plan.goal.cost(value)))
        });
        values.min_by(|a, b| a.1.total_cmp(&b.1)).map(|(index, _)| index)
    };
    among(true).or_else(|| among(false))
}

#[cfg(test)]
mod tests;

//! The decisions of a tuning job: what to start, what to stop, whether it is done, which trial is best.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::draw::{Seen, generator};
use crate::plan::{Plan, Strategy, Trial};
use crate::space::Assignment;
use crate::{bayesian, hyperband, median};

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
/// `parallel` at a time or `max_trials` in all, and never a combination twice.
///
/// A plan that [`Plan::check`] refuses starts nothing: it waits or is complete.
pub fn next(plan: &Plan, trials: &[Trial]) -> Step {
    if reached(plan, trials) {
        return Step::Complete(Reason::Target);
    }
    if plan.completion.not_improving.is_some_and(|most| unimproved(plan, trials) >= most) {
        return Step::Complete(Reason::NotImproving);
    }
    let running = trials.iter().filter(|trial| trial.runs()).count();
    let left = plan.max_trials.saturating_sub(trials.len());
    let places = plan.parallel.saturating_sub(running).min(left);
    let wait_or = |reason: Reason| if running > 0 { Step::Wait } else { Step::Complete(reason) };
    if left == 0 {
        return wait_or(Reason::AllTrials);
    }
    if places == 0 {
        return Step::Wait;
    }
    if plan.completion.convergence && bayesian::converged(plan, trials) {
        return Step::Complete(Reason::Converged);
    }
    let mut seen = Seen::new(plan, trials);
    let found: Vec<Assignment> = match plan.strategy {
        Strategy::Bayesian => bayesian::propose(plan, trials, places),
        Strategy::Grid => (0..places).map_while(|_| seen.grid()).collect(),
        Strategy::Random | Strategy::Hyperband { .. } => (trials.len()..trials.len() + places)
            .map_while(|number| seen.random(&mut generator(plan, number)))
            .collect(),
    };
    if found.is_empty() { wait_or(Reason::SpaceExhausted) } else { Step::Start(found) }
}

/// Whether the best trial is at least as good as the target.
fn reached(plan: &Plan, trials: &[Trial]) -> bool {
    let value = best(plan, trials).and_then(|index| trials[index].value());
    match (plan.completion.target, value) {
        (Some(target), Some(value)) => plan.goal.cost(value) <= plan.goal.cost(target),
        _ => false,
    }
}

/// How many ended trials in a row, in order of creation, have not improved the best before them by 1 %, which
/// is AWS's measure. Small improvements add up: they are compared with the best that counted.
fn unimproved(plan: &Plan, trials: &[Trial]) -> usize {
    let (mut count, mut counted) = (0, None);
    for trial in trials.iter().filter(|trial| !trial.runs()) {
        match (trial.value().map(|value| plan.goal.cost(value)), counted) {
            (Some(cost), None) => counted = Some(cost),
            (Some(cost), Some(before)) if cost < before - 0.01 * f64::abs(before) => {
                (count, counted) = (0, Some(cost));
            }
            (_, Some(_)) => count += 1,
            // Nothing to improve on yet.
            (None, None) => {}
        }
    }
    count
}

/// The running trials to stop now, as indices into `trials`, each with the reason for people.
pub fn to_stop(plan: &Plan, trials: &[Trial]) -> Vec<(usize, String)> {
    match plan.strategy {
        Strategy::Hyperband { min, max } => hyperband::to_stop(plan, (min, max), trials),
        _ if plan.early_stopping => median::to_stop(plan, trials),
        Strategy::Random | Strategy::Grid | Strategy::Bayesian => Vec::new(),
    }
}

/// Index of the best ended trial that has an objective, stopped ones included (their model is what it was
/// then); the earliest of equals.
pub fn best(plan: &Plan, trials: &[Trial]) -> Option<usize> {
    let costs = trials
        .iter()
        .enumerate()
        .filter_map(|(index, trial)| trial.value().map(|value| (index, plan.goal.cost(value))));
    costs.min_by(|a, b| a.1.total_cmp(&b.1)).map(|(index, _)| index)
}

#[cfg(test)]
mod tests;

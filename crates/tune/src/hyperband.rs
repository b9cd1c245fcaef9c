//! Asynchronous successive halving with Hyperband's brackets.
//!
//! As on SageMaker, every training starts at its full size and is stopped on the way: at rungs of `min`,
//! `3 min`, `9 min` ... epochs, only the best third of the trials that have come so far goes on, and at `max`
//! epochs a training has had its share. Nobody waits for a rung to fill (Li et al., A System for Massively
//! Parallel Hyperparameter Tuning, <https://arxiv.org/abs/1810.05934>, in its variant that stops instead of
//! pausing). Brackets hedge against judging too early: those of bracket `b` have their first rung at
//! `3^b min` epochs.

use crate::median::short;
use crate::plan::{Plan, Trial};

/// One of how many goes on at a rung.
const THIRD: usize = 3;

/// The running trials that are not among the best third at the last rung that they have reached.
pub(crate) fn to_stop(
    plan: &Plan,
    (min, max): (u32, u32),
    trials: &[Trial],
) -> Vec<(usize, String)> {
    let rungs = rungs(min, max);
    let running = trials.iter().enumerate().filter(|(_, trial)| trial.runs());
    running
        .filter_map(|(index, trial)| {
            if trial.reports.len() >= max as usize {
                return Some((index, format!("it has had all of its {max} epochs")));
            }
            let bracket = bracket(index, rungs.len());
            let passed = rungs.iter().skip(bracket).rev();
            let rung = *passed.clone().find(|rung| trial.reports.len() >= **rung)?;
            Some((index, behind(plan, trial, rung, bracket, rungs.len(), trials)?))
        })
        .collect()
}

/// Epochs after which trials are judged, lowest first.
fn rungs(min: u32, max: u32) -> Vec<usize> {
    let powers = std::iter::successors(Some(min.max(1)), |rung| rung.checked_mul(THIRD as u32));
    powers.take_while(|rung| *rung < max).map(|rung| rung as usize).collect()
}

/// The bracket of trial number `index`, 0 to `rungs`; the last one has no rung at all. Hyperband gives bracket
/// `b` of `k` trials in proportion to `3^(k - b) / (k - b + 1)`; multiples of the golden ratio, modulo 1,
/// keep to that at any number of trials.
fn bracket(index: usize, rungs: usize) -> usize {
    let weight = |bracket: usize| {
        let above = rungs - bracket;
        (THIRD as f64).powi(above as i32) / (above + 1) as f64
    };
    let total: f64 = (0..=rungs).map(weight).sum();
    let mut place = ((index + 1) as f64 * 0.618_033_988_749_894_9).fract() * total;
    (0..rungs)
        .find(|bracket| {
            place -= weight(*bracket);
            place < 0.0
        })
        .unwrap_or(rungs)
}

/// Why a trial does not go on from a rung, if so. It is compared with the trials of its bracket that have
/// reached the rung until now, and compared again as others come; below three nobody is stopped.
fn behind(
    plan: &Plan,
    trial: &Trial,
    rung: usize,
    own: usize,
    rungs: usize,
    trials: &[Trial],
) -> Option<String> {
    let cost = |trial: &Trial| {
        let value = *trial.reports.get(rung.checked_sub(1)?)?;
        // An objective that is not a number is worse than any.
        Some(if value.is_finite() { plan.goal.cost(value) } else { f64::INFINITY })
    };
    let mine = cost(trial)?;
    let others: Vec<f64> = trials
        .iter()
        .enumerate()
        .filter(|(index, _)| bracket(*index, rungs) == own)
        .filter_map(|(_, trial)| cost(trial))
        .collect();
    let better = others.iter().filter(|other| **other < mine).count();
    let go_on = others.len().div_ceil(THIRD);
    (others.len() >= THIRD && better >= go_on).then(|| {
        format!(
            "objective {} after epoch {rung} is not among the best {go_on} of {} trials there",
            short(trial.reports[rung - 1]),
            others.len()
        )
    })
}

#[cfg(test)]
mod tests;

//! The model's proposals: where a Gaussian process fitted to the trials expects the largest improvement.
//!
//! Costs are objectives with the sign that makes lower better. Failed trials have the worst cost seen, which
//! steers away from their surroundings. Running trials are taken as if they had ended as predicted, so that
//! parallel trials spread. Trials of earlier tuning jobs differ from own ones in one more input: its fitted
//! length says how far they can be trusted.

use rand_chacha::ChaCha8Rng;

use crate::draw::{Seen, generator, spread, units};
use crate::gp::{Gp, Hyper, Kind, uniform};
use crate::median::median;
use crate::plan::{Plan, Trial};
use crate::space::{Assignment, Domain};

/// Most trials that the model is fitted to: the better half of it and the latest ones. Fitting takes time with
/// the cube of it.
const FITTED: usize = 60;
/// Most trials that the model knows.
const KNOWN: usize = 200;
/// Random places whose expected improvement is compared.
const CANDIDATES: usize = 600;
/// The best of them, which are improved further.
const CLIMBERS: usize = 6;
/// Attempts to improve each of those.
const ATTEMPTS: usize = 50;
/// Ended trials before convergence is thought of.
const CONVERGENCE_TRIALS: usize = 10;

/// The trials as the model sees them.
struct Evidence {
    kinds: Vec<Kind>,
    /// Inputs of each ended trial.
    rows: Vec<Vec<f64>>,
    /// Standardised cost of each.
    y: Vec<f64>,
    /// Which are trials of this job.
    own: Vec<bool>,
    /// Standard deviation of the costs, to turn improvements back.
    deviation: f64,
}

/// Trials that end before the model is asked; those until then are spread evenly. Counting ended ones keeps a
/// model of two trials from placing many parallel ones.
fn start_trials(plan: &Plan) -> usize {
    (plan.space.parameters().len() + 1).clamp(3, (plan.max_trials / 5).max(3))
}

/// New combinations, at most `places`; fewer when there are no more.
pub(crate) fn propose(plan: &Plan, trials: &[Trial], places: usize) -> Vec<Assignment> {
    let mut seen = Seen::new(plan, trials);
    let mut found: Vec<Assignment> = Vec::new();
    let evidence =
        Evidence::new(plan, trials).filter(|evidence| evidence.rows.len() >= start_trials(plan));
    let fitted = evidence.as_ref().map(|evidence| evidence.fit(&mut generator(plan, trials.len())));
    let mut lies: Vec<Vec<f64>> = trials
        .iter()
        .filter(|trial| trial.runs())
        .map(|trial| row(plan, &trial.values, true))
        .collect();
    for number in trials.len()..trials.len() + places {
        let mut rng = generator(plan, number);
        let spread = || Some(plan.space.assignment(&spread(plan, number)));
        let values = match (&evidence, &fitted) {
            (Some(evidence), Some(hyper)) => {
                evidence.choose(plan, hyper, &lies, &mut seen, &mut rng)
            }
            _ => spread().filter(|values| seen.insert(values)),
        };
        // A space that is nearly used up, or costs that no process fits: chance finds what is left.
        let Some(values) = values.or_else(|| seen.random(&mut rng)) else { break };
        lies.push(row(plan, &values, true));
        found.push(values);
    }
    found
}

/// Whether the model, fitted to enough trials, expects an improvement of less than 1 % of the best objective
/// everywhere, which is how AWS words it
/// (<https://docs.aws.amazon.com/sagemaker/latest/dg/automatic-model-tuning-progress.html>).
pub(crate) fn converged(plan: &Plan, trials: &[Trial]) -> bool {
    let values: Vec<f64> =
        trials.iter().filter_map(Trial::value).map(|value| plan.goal.cost(value)).collect();
    let Some(best) = values.iter().copied().reduce(f64::min) else { return false };
    if values.len() < CONVERGENCE_TRIALS {
        return false;
    }
    let Some(evidence) = Evidence::new(plan, trials) else { return false };
    let mut rng = generator(plan, trials.len());
    let hyper = evidence.fit(&mut rng);
    let Some(gp) = Gp::new(&hyper, &evidence.rows, &evidence.kinds, &evidence.y) else {
        return false;
    };
    let ranked = evidence.ranked(plan, &gp, &mut rng);
    let Some((log_improvement, _)) = ranked.first() else { return false };
    log_improvement.exp() * evidence.deviation < 0.01 * best.abs()
}

/// Inputs of the model for these values. Numbers that are missing or foreign are in the middle of their range,
/// categories are one that no other trial has.
fn row(plan: &Plan, values: &Assignment, own: bool) -> Vec<f64> {
    let mut row: Vec<f64> = plan
        .space
        .parameters()
        .iter()
        .map(|parameter| {
            let unit = values.get(&parameter.name).and_then(|text| parameter.domain.unit(text));
            let category = matches!(parameter.domain, Domain::Categorical { .. });
            unit.unwrap_or(if category { -1.0 } else { 0.5 })
        })
        .collect();
    if !plan.prior.is_empty() {
        row.push(if own { 0.0 } else { 1.0 });
    }
    row
}

impl Evidence {
    /// `None` until two trials have an objective.
    fn new(plan: &Plan, trials: &[Trial]) -> Option<Evidence> {
        let mut kinds: Vec<Kind> = plan
            .space
            .parameters()
            .iter()
            .map(|parameter| match parameter.domain {
                Domain::Categorical { .. } => Kind::Category,
                Domain::Continuous { .. } | Domain::Integer { .. } => Kind::Number,
            })
            .collect();
        if !plan.prior.is_empty() {
            kinds.push(Kind::Category);
        }
        // Earlier jobs' trials first, so that own ones count as the latest.
        let prior = plan.prior.iter().filter(|prior| prior.value.is_finite());
        let prior = prior.map(|prior| (row(plan, &prior.values, false), Some(prior.value), false));
        let own = trials.iter().filter(|trial| !trial.runs());
        let own = own.map(|trial| (row(plan, &trial.values, true), trial.value(), true));
        let all: Vec<_> = prior.chain(own).collect();
        // Squares of costs must stay finite.
        let cost = |value: f64| plan.goal.cost(value).clamp(-1e100, 1e100);
        let known: Vec<f64> = all.iter().filter_map(|(_, value, _)| value.map(cost)).collect();
        if known.len() < 2 {
            return None;
        }
        let worst = known.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let costs: Vec<f64> = all.iter().map(|(_, value, _)| value.map_or(worst, cost)).collect();
        let mut evidence =
            Evidence { kinds, rows: Vec::new(), y: Vec::new(), own: Vec::new(), deviation: 1.0 };
        for index in keep(&costs, KNOWN) {
            evidence.rows.push(all[index].0.clone());
            evidence.y.push(costs[index]);
            evidence.own.push(all[index].2);
        }
        evidence.deviation = standardise(&mut evidence.y);
        Some(evidence)
    }

    fn fit(&self, rng: &mut ChaCha8Rng) -> Hyper {
        let kept = keep(&self.y, FITTED);
        let rows: Vec<Vec<f64>> = kept.iter().map(|&index| self.rows[index].clone()).collect();
        let y: Vec<f64> = kept.iter().map(|&index| self.y[index]).collect();
        Hyper::fit(&rows, &self.kinds, &y, rng)
    }

    /// The new combination with the largest expected improvement.
    fn choose(
        &self,
        plan: &Plan,
        hyper: &Hyper,
        lies: &[Vec<f64>],
        seen: &mut Seen,
        rng: &mut ChaCha8Rng,
    ) -> Option<Assignment> {
        let gp = Gp::new(hyper, &self.rows, &self.kinds, &self.y)?;
        let mut rows = self.rows.clone();
        let mut y = self.y.clone();
        y.extend(lies.iter().map(|lie| gp.mean(lie)));
        rows.extend(lies.iter().cloned());
        // Lies that are as predicted would make the signal look smaller than it is.
        let gp = Gp::new(hyper, &rows, &self.kinds, &y)?.with_signal_of(&gp);
        let ranked = self.ranked(plan, &gp, rng);
        ranked
            .iter()
            .map(|(_, units)| plan.space.assignment(units))
            .find(|values| seen.insert(values))
    }

    /// Places, as units of [`Domain::text`], by expected improvement, best first.
    fn ranked(&self, plan: &Plan, gp: &Gp, rng: &mut ChaCha8Rng) -> Vec<(f64, Vec<f64>)> {
        // What is to be improved on: the lowest cost that is believed, not a lucky one. Other jobs' costs
        // count only until there are own ones.
        let any_own = self.own.contains(&true);
        let known = self.rows.iter().zip(&self.own).filter(|(_, own)| **own || !any_own);
        let best = known.map(|(row, _)| gp.mean(row)).fold(f64::INFINITY, f64::min);
        let parameters = plan.space.parameters();
        let improvement = |units: &[f64]| {
            let snapped = parameters.iter().zip(units).map(|(p, unit)| p.domain.snap(*unit));
            let own = (!plan.prior.is_empty()).then_some(0.0);
            gp.log_improvement(&snapped.chain(own).collect::<Vec<_>>(), best)
        };
        let mut ranked: Vec<(f64, Vec<f64>)> = (0..CANDIDATES)
            .map(|_| {
                let units = units(&plan.space, rng);
                (improvement(&units), units)
            })
            .collect();
        ranked.sort_by(|a, b| b.0.total_cmp(&a.0));
        for climber in ranked.iter_mut().take(CLIMBERS) {
            let mut reach = 0.2;
            for _ in 0..ATTEMPTS {
                let mut units = climber.1.clone();
                for (unit, parameter) in units.iter_mut().zip(parameters) {
                    if uniform(rng) < 0.5 {
                        continue;
                    }
                    *unit = if matches!(parameter.domain, Domain::Categorical { .. }) {
                        if uniform(rng) < 0.8 { *unit } else { uniform(rng) }
                    } else {
                        let bell = uniform(rng) + uniform(rng) + uniform(rng) - 1.5;
                        (*unit + 2.0 * reach * bell).clamp(0.0, 1.0)
                    };
                }
                let value = improvement(&units);
                if value > climber.0 {
                    *climber = (value, units);
                } else {
                    reach *= 0.93;
                }
            }
        }
        ranked.sort_by(|a, b| b.0.total_cmp(&a.0));
        ranked
    }
}

/// Indices of at most `most` trials, in order: the better ones for half of the places, the latest for the rest.
fn keep(costs: &[f64], most: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..costs.len()).collect();
    if costs.len() > most {
        order.sort_by(|&a, &b| costs[a].total_cmp(&costs[b]));
        order[most / 2..].sort_by(|a, b| b.cmp(a));
        order.truncate(most);
        order.sort_unstable();
    }
    order
}

/// Makes costs fit for the process and returns their standard deviation. The worse half is compressed like a
/// logarithm first: a diverged training must not flatten the differences among the good ones.
fn standardise(costs: &mut [f64]) -> f64 {
    let mut sorted = costs.to_vec();
    sorted.sort_by(f64::total_cmp);
    let (best, median) = (sorted.first().copied().unwrap_or(0.0), median(&sorted));
    let scale = median - best;
    if scale > 0.0 {
        for cost in costs.iter_mut().filter(|cost| **cost > median) {
            *cost = median + scale * ((*cost - median) / scale).ln_1p();
        }
    }
    let count = costs.len() as f64;
    let mean = costs.iter().sum::<f64>() / count;
    let variance = costs.iter().map(|cost| (cost - mean).powi(2)).sum::<f64>() / count;
    let deviation = if variance > 0.0 { variance.sqrt() } else { 1.0 };
    for cost in costs {
        *cost = (*cost - mean) / deviation;
    }
    deviation
}

#[cfg(test)]
mod tests;

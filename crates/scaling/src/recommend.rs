//! Which bounds, target and cooldowns meet a latency goal at the least cost: a search over simulations.
//!
//! 1. *Fixed counts.* The least count that meets the goal without any scaling, by doubling and halving. It
//!    is a candidate itself, and tells how large the maximum must be: what no count of instances that were
//!    there all the time can carry, no policy can.
//! 2. *A coarse grid* over modes, bounds, targets and cooldowns.
//! 3. *Refinement*: the neighbours of the best, in smaller and smaller steps, while there are simulations
//!    left.
//!
//! All candidates see the same requests: arrivals and service times depend on the seed alone. So a run can
//! be ended as soon as it is certain to miss the goal or to cost more than those found already. Candidates
//! are played in waves of a fixed size, and what is known at the beginning of a wave decides over all of it:
//! the result is the same with one thread and with many.

mod plan;

use std::collections::BTreeSet;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use serde::Serialize;

use crate::fast::Measure;
use crate::scaler::{Bounds, clamp};
use crate::simulate::{
    Limits, Outcome, Scaling, Scenario, ScenarioError, simulate, simulate_within,
};
use plan::{Plan, Point};

/// Candidates that are played before anything is concluded from them.
const WAVE: usize = 16;
/// Pieces of a candidate's timeline at most.
const MOMENTS: f64 = 300.0;
/// Quantiles read from a simulation are within 1 %: only what is later than this can be called too late
/// before the run is over.
const CERTAINLY: f64 = 1.02;

/// What is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Goal {
    /// At most so long for 99 of 100 answered requests.
    pub p99_ms: Option<f64>,
    /// At most so long for 95 of 100 answered requests.
    pub p95_ms: Option<f64>,
    /// At most this share of all requests may be refused or stay without an answer.
    pub throttled_share: f64,
}

/// Who may scale.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum Mode {
    /// Target tracking by alarms.
    Aws,
    /// The fast mode.
    Fast,
}

/// What is searched, and how long.
#[derive(Clone)]
pub struct Search<'a> {
    /// The modes to try; a fixed count is always tried.
    pub modes: Vec<Mode>,
    /// The least minimum; 0 is for the fast mode only, and only where the scenario holds requests.
    pub least: u32,
    /// The largest maximum.
    pub most: u32,
    /// The alarms' period: 60 for invocations per instance, 10 for concurrent requests.
    pub period_s: u32,
    /// What the fast mode measures.
    pub measure: Measure,
    /// Cooldowns to try, in seconds. In the fast mode scale-in is the delay before fewer instances.
    pub scale_out_cooldowns_s: Vec<f64>,
    /// Cooldowns to try, in seconds.
    pub scale_in_cooldowns_s: Vec<f64>,
    /// The most simulations; finding the fixed count takes a handful in any case.
    pub simulations: usize,
    /// How many candidates come back.
    pub keep: usize,
    /// Simulations at the same time. The result does not depend on it.
    pub threads: NonZeroUsize,
    /// Is told after each simulation, from whichever thread.
    pub progress: Option<&'a (dyn Fn(Progress) + Sync)>,
}

impl Default for Search<'_> {
    fn default() -> Self {
        Search {
            modes: vec![Mode::Aws],
            least: 1,
            most: 100,
            period_s: 60,
            measure: Measure::Concurrency,
            // AWS's default comes first, and stays where the others make no difference.
            scale_out_cooldowns_s: vec![300.0, 60.0, 0.0],
            scale_in_cooldowns_s: vec![300.0, 60.0, 900.0],
            simulations: 300,
            keep: 5,
            threads: NonZeroUsize::MIN,
            progress: None,
        }
    }
}

impl std::fmt::Debug for Search<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Search")
            .field("modes", &self.modes)
            .field("least", &self.least)
            .field("most", &self.most)
            .field("simulations", &self.simulations)
            .finish_non_exhaustive()
    }
}

/// How far a search is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Progress {
    /// Simulations so far.
    pub done: usize,
    /// Simulations at most.
    pub most: usize,
    /// The cost of the cheapest that meets the goal, of the waves that are over.
    pub best_cost: Option<f64>,
}

/// One way to scale and what came of it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Candidate {
    /// The bounds; equal for a fixed count.
    pub bounds: Bounds,
    /// Who scales; one policy named `recommended`, or [`Scaling::None`] for a fixed count.
    pub scaling: Scaling,
    /// With a timeline of 300 pieces at most.
    pub outcome: Outcome,
    /// Whether the goal is met.
    pub meets: bool,
}

impl Goal {
    /// Whether a run meets it.
    pub fn met(&self, outcome: &Outcome) -> bool {
        let within = |found: f64, goal: Option<f64>| goal.is_none_or(|goal| found <= goal);
        let lost = (outcome.throttled + outcome.unanswered) as f64;
        within(outcome.p99_ms, self.p99_ms)
            && within(outcome.p95_ms, self.p95_ms)
            && lost <= self.throttled_share * outcome.requests as f64
    }

    fn check(&self) -> Result<(), ScenarioError> {
        for (what, goal) in [("the goal for p99", self.p99_ms), ("the goal for p95", self.p95_ms)] {
            if let Some(ms) = goal.filter(|ms| !(ms.is_finite() && *ms > 0.0)) {
                return Err(ScenarioError::number(what, "milliseconds, more than 0", ms));
            }
        }
        let share = self.throttled_share;
        if !(0.0..=1.0).contains(&share) {
            return Err(ScenarioError::number(
                "the share of throttled requests",
                "from 0 to 1",
                share,
            ));
        }
        Ok(())
    }

    /// When a run of so many requests is certain to miss it.
    fn limits(&self, requests: u64) -> Limits {
        let part = |share: f64| (share * requests as f64).floor() as u64;
        let late = |goal: Option<f64>, share: f64| match goal {
            Some(ms) => (ms / 1e3 * CERTAINLY, part(share)),
            None => (f64::INFINITY, u64::MAX),
        };
        Limits {
            cost: f64::INFINITY,
            throttled: part(self.throttled_share),
            late: [late(self.p99_ms, 0.01), late(self.p95_ms, 0.05)],
        }
    }
}

/// Searches for the cheapest way to meet the goal. Trace, service times, instances, price, held requests and
/// seed are those of `base`; its scaling, bounds and timeline are not used, and its first count is brought
/// within each candidate's bounds.
///
/// The best comes first: those that meet the goal, the cheapest first, then the one with the lower p99. The
/// least fixed count that meets it is always among them, to compare with. Where nothing meets it, the only
/// one is the fixed count [`Search::most`], with `meets` false.
///
/// # Errors
/// As [`crate::simulate::simulate`], and for a goal or a search that is impossible.
pub fn recommend(
    base: &Scenario,
    goal: &Goal,
    search: &Search<'_>,
) -> Result<Vec<Candidate>, ScenarioError> {
    goal.check()?;
    plan::check(search)?;
    let mut run = Run {
        base: Scenario { bucket_s: base.bucket_s.max(base.duration_s / MOMENTS), ..base.clone() },
        goal,
        search,
        limits: Limits::default(),
        done: AtomicUsize::new(0),
        found: Vec::new(),
    };
    let fixed = run.least_fixed()?;
    if !fixed.meets {
        return Ok(vec![fixed]);
    }
    let plan = Plan::new(search, &run.base, fixed.bounds.max);
    run.found.push(fixed.clone());
    let mut tried = BTreeSet::new();
    run.play_new(plan.grid(), &plan, &mut tried)?;
    for level in 1..=plan::STEPS {
        loop {
            let best = run.best_cost();
            let points = run.best_points(&plan);
            let near = points.iter().flat_map(|point| plan.neighbours(point, level)).collect();
            run.play_new(near, &plan, &mut tried)?;
            if run.best_cost() == best {
                break;
            }
        }
    }
    run.found.truncate(search.keep.max(1));
    if !run.found.contains(&fixed) {
        // All others are as cheap or cheaper.
        run.found.push(fixed);
    }
    Ok(run.found)
}

struct Run<'a> {
    base: Scenario,
    goal: &'a Goal,
    search: &'a Search<'a>,
    /// What is certain to miss the goal.
    limits: Limits,
    done: AtomicUsize,
    /// The best first.
    found: Vec<Candidate>,
}

impl Run<'_> {
    fn left(&self) -> usize {
        self.search.simulations.saturating_sub(self.done.load(Ordering::Relaxed))
    }

    fn best_cost(&self) -> Option<f64> {
        self.found.first().filter(|best| best.meets).map(|best| best.outcome.cost)
    }

    /// The cost that is of no more interest.
    fn worst_cost(&self) -> f64 {
        let last = self.found.get(self.search.keep.max(1) - 1);
        last.map_or(f64::INFINITY, |candidate| candidate.outcome.cost)
    }

    fn scenario(&self, bounds: Bounds, scaling: Scaling) -> Scenario {
        let initial = clamp(self.base.initial, bounds);
        Scenario { bounds, initial, scaling, ..self.base.clone() }
    }

    /// Plays one candidate; `None` when it was given up.
    fn candidate(
        &self,
        scenario: Scenario,
        limits: &Limits,
    ) -> Result<Option<Candidate>, ScenarioError> {
        let outcome = simulate_within(&scenario, limits)?;
        self.one_more();
        Ok(outcome.map(|outcome| self.judged(scenario, outcome)))
    }

    fn judged(&self, scenario: Scenario, outcome: Outcome) -> Candidate {
        let meets = self.goal.met(&outcome);
        Candidate { bounds: scenario.bounds, scaling: scenario.scaling, outcome, meets }
    }

    /// Counts a simulation.
    fn one_more(&self) {
        let done = self.done.fetch_add(1, Ordering::Relaxed) + 1;
        if let Some(progress) = self.search.progress {
            let most = self.search.simulations.max(done);
            progress(Progress { done, most, best_cost: self.best_cost() });
        }
    }

    fn fixed(&self, count: u32) -> Scenario {
        self.scenario(Bounds { min: count, max: count }, Scaling::None)
    }

    /// The least fixed count that meets the goal, or the most that there may be when not even they do.
    fn least_fixed(&mut self) -> Result<Candidate, ScenarioError> {
        let most = self.fixed(self.search.most);
        let outcome = simulate(&most)?;
        self.one_more();
        let mut enough = self.judged(most, outcome);
        self.limits = self.goal.limits(enough.outcome.requests);
        let met = enough.meets;
        let mut too_few = self.search.least.max(1) - 1;
        // From below, because few instances are usual, and what is too few is soon known.
        let mut growth = Some(1);
        while met && too_few + 1 < enough.bounds.max {
            let high = enough.bounds.max;
            let count = match growth {
                Some(growth) => (too_few + growth).min(high - 1),
                None => too_few + (high - too_few) / 2,
            };
            match self.candidate(self.fixed(count), &self.limits)?.filter(|found| found.meets) {
                Some(candidate) => (enough, growth) = (candidate, None),
                None => (too_few, growth) = (count, growth.map(|growth| growth * 2)),
            }
        }
        Ok(enough)
    }

    /// Plays those points that were not tried yet, as many as there are simulations left for.
    fn play_new(
        &mut self,
        points: Vec<Point>,
        plan: &Plan<'_>,
        tried: &mut BTreeSet<Point>,
    ) -> Result<(), ScenarioError> {
        let new: Vec<Point> = points.into_iter().filter(|point| tried.insert(*point)).collect();
        for wave in new.chunks(WAVE) {
            let most = self.left().min(wave.len());
            self.play(wave.get(..most).unwrap_or_default(), plan)?;
        }
        Ok(())
    }

    /// Plays a wave and sorts those that meet the goal in.
    fn play(&mut self, wave: &[Point], plan: &Plan<'_>) -> Result<(), ScenarioError> {
        let limits = Limits { cost: self.worst_cost(), ..self.limits };
        // A minimum alone may cost too much: no need to play it.
        let hour = self.base.duration_s / 3600.0 * self.base.hourly_price;
        let worth: Vec<&Point> = wave
            .iter()
            .filter(|point| f64::from(point.bounds().min) * hour <= limits.cost)
            .collect();
        let next = AtomicUsize::new(0);
        let results = Mutex::new(Vec::with_capacity(worth.len()));
        let work = || {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                let Some(point) = worth.get(number) else { return };
                let scenario = self.scenario(point.bounds(), plan.scaling(point));
                let result = self.candidate(scenario, &limits);
                results.lock().unwrap_or_else(PoisonError::into_inner).push((number, result));
            }
        };
        let threads = self.search.threads.get().min(worth.len());
        if threads > 1 {
            std::thread::scope(|scope| {
                for _ in 0..threads {
                    scope.spawn(work);
                }
            });
        } else {
            work();
        }
        let mut results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
        results.sort_by_key(|(number, _)| *number);
        for (_, result) in results {
            let Some(new) = result?.filter(|new| new.meets) else { continue };
            // Settings that made no difference are not told twice.
            if !self.found.iter().any(|found| same(&found.outcome, &new.outcome)) {
                self.found.push(new);
            }
        }
        self.found.sort_by(|a, b| {
            let cost = a.outcome.cost.total_cmp(&b.outcome.cost);
            cost.then(a.outcome.p99_ms.total_cmp(&b.outcome.p99_ms))
        });
        // A few more than wanted, so that there is something to refine.
        self.found.truncate(self.search.keep.max(1).max(plan::REFINED));
        Ok(())
    }

    /// What is worth being refined.
    fn best_points(&self, plan: &Plan<'_>) -> Vec<Point> {
        let points = self.found.iter().filter_map(|c| plan.point(c.bounds, &c.scaling));
        points.take(plan::REFINED).collect()
    }
}

/// Whether two runs went the same way.
fn same(one: &Outcome, other: &Outcome) -> bool {
    one.cost == other.cost && one.mean_ms == other.mean_ms && one.changes == other.changes
}

#[cfg(test)]
mod tests;

//! What a scaling policy would do under a load: a discrete-event simulation of instances, driven by the
//! very policies that scale the real ones.
//!
//! Requests arrive as a [`Trace`] says and go to the instance with the fewest of them, in turn among
//! equals, as the server routes them. An instance works on so many at once and lets so many wait, in the
//! order of arrival; when all are full the request is throttled, at once. Each second, or each alarm period,
//! the policies see what CloudWatch or the fast mode would see, and decide. A new instance serves after
//! its start time; one that is no longer wanted gets no more requests, finishes its own and costs until then.
//!
//! # What is left out
//!
//! - Micro-batches: each request is its own work. On a processor two in one run take about twice as long.
//! - Networks and the gateway: take service times as the client saw them, of requests one at a time.
//! - Loading a model takes no processor time from the others.
//! - No request is given up: the server ends those that take longer than 60 seconds.
//! - Metrics are complete the moment their period ends; CloudWatch itself may be a minute or two late.
//!
//! # One machine for all
//!
//! With [`Instances::cores`] all instances share so many cores: while more requests are worked on than there
//! are cores, all go slower by the same factor. Work is then counted on a clock of its own that runs slower
//! by this factor, on which a request ends its service time after it began: each change of the
//! factor costs the same however many requests there are (generalised processor sharing).

mod check;
mod engine;
mod fleet;
mod histogram;
mod policies;
mod record;
mod service;

use serde::Serialize;

pub use check::ScenarioError;
pub(crate) use record::Limits;
pub use service::ServiceTimes;

use crate::alarm::Alarm;
use crate::fast::Fast;
use crate::scaler::{Bounds, Rule};
use crate::trace::Trace;

/// What one instance is.
#[derive(Clone, Debug, PartialEq)]
pub struct Instances {
    /// From the decision to the first request, in milliseconds.
    pub start_ms: f64,
    /// Requests that it works on at once, at least 1.
    pub concurrency: u32,
    /// Requests that wait besides; with that many the next is throttled. `kennel up` lets an instance have
    /// 64 requests at most, those it works on included.
    pub queue: u32,
    /// All instances share one machine with so many cores, divided by the threads that a request uses;
    /// `None`: each has its own.
    pub cores: Option<f64>,
}

/// Who scales.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub enum Scaling {
    /// Nobody: [`Scenario::initial`] instances all the time.
    None,
    /// Application Auto Scaling with target tracking.
    Aws {
        /// Policies by name; a step policy needs an alarm, see [`Scaling::Policies`].
        rules: Vec<(String, Rule)>,
        /// The alarms' period: 60 and more is `SageMakerVariantInvocationsPerInstance`, the sum of a
        /// period; less is `SageMakerVariantConcurrentRequestsPerModelHighResolution`, the average.
        period_s: u32,
    },
    /// Application Auto Scaling with any policies.
    Policies {
        /// All of them.
        policies: Vec<Policy>,
        /// As in [`Scaling::Aws`].
        period_s: u32,
    },
    /// The fast mode, which decides twice a second.
    Fast(Fast),
}

/// A policy together with what calls it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Policy {
    /// Its name.
    pub name: String,
    /// What it does.
    pub rule: Rule,
    /// What calls a step policy; target tracking makes its own alarms.
    pub alarm: Option<Alarm>,
}

/// All that a simulation needs.
#[derive(Clone, Debug, PartialEq)]
pub struct Scenario {
    /// When requests come.
    pub trace: Trace,
    /// For how long, in seconds. What is under way then is finished, and counts, but costs no more.
    pub duration_s: f64,
    /// How long an instance works on a request.
    pub service: ServiceTimes,
    /// What an instance is.
    pub instances: Instances,
    /// Who scales.
    pub scaling: Scaling,
    /// Between which counts.
    pub bounds: Bounds,
    /// Instances that are ready at the start.
    pub initial: u32,
    /// Requests that may wait for a first instance while none is ready.
    pub hold: u32,
    /// Decides over everything drawn by chance.
    pub seed: u64,
    /// What one instance costs per hour.
    pub hourly_price: f64,
    /// The resolution of the timeline.
    pub bucket_s: f64,
}

/// A piece of the timeline, [`Scenario::bucket_s`] long.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Moment {
    /// Its beginning, in seconds from the start.
    pub at_s: f64,
    /// Arrivals a second.
    pub rps: f64,
    /// Instances wanted at its end.
    pub desired: u32,
    /// Instances that get requests at its end.
    pub ready: u32,
    /// Requests without an answer yet, on average; those that wait included.
    pub in_flight: f64,
    /// The part of them that nobody works on yet.
    pub waiting: f64,
    /// Of the requests answered in it; 0 when there were none.
    pub p50_ms: f64,
    /// Of the requests answered in it; 0 when there were none.
    pub p99_ms: f64,
    /// Requests refused in it.
    pub throttled: u64,
}

/// A change of the wanted count.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Activity {
    /// When it was decided, in seconds from the start.
    pub at_s: f64,
    /// The count before.
    pub from: u32,
    /// The count after.
    pub to: u32,
    /// When the last of the new instances was ready; `None` for fewer, or when they were given up before.
    pub ready_at_s: Option<f64>,
    /// Why, with numbers.
    pub reason: String,
}

/// What came out. Quantiles are within 1 % of the exact ones, and 0 when nothing was answered.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Outcome {
    /// Requests that came: `answered + throttled + unanswered`.
    pub requests: u64,
    /// Requests that got their answer.
    pub answered: u64,
    /// Requests refused because all was full.
    pub throttled: u64,
    /// Requests that still had no answer a quarter of an hour after the end.
    pub unanswered: u64,
    /// From arrival to answer.
    pub p50_ms: f64,
    /// From arrival to answer.
    pub p95_ms: f64,
    /// From arrival to answer.
    pub p99_ms: f64,
    /// From arrival to answer, exactly.
    pub max_ms: f64,
    /// From arrival to answer, exactly.
    pub mean_ms: f64,
    /// Hours of all instances until the end, from the decision to start them to the end of their last
    /// request.
    pub instance_hours: f64,
    /// What these hours cost.
    pub cost: f64,
    /// Most instances at once, starting and ending ones included.
    pub most_instances: u32,
    /// The share of the time in which an instance's places were worked at, over the whole run.
    pub utilization: f64,
    /// By time, without gaps.
    pub timeline: Vec<Moment>,
    /// By time; the first [`MOST_ACTIVITIES`].
    pub activities: Vec<Activity>,
    /// How many activities there were in all.
    pub changes: u64,
}

/// How many activities an [`Outcome`] lists.
pub const MOST_ACTIVITIES: usize = 10_000;

/// Plays the scenario. The same scenario gives the same outcome.
///
/// Takes well under half a microsecond for each request (`examples/simulate_rate.rs` measures it), and memory for
/// the requests that are in the model at the same time.
///
/// # Errors
/// Where the scenario is impossible or too large, with what to change.
pub fn simulate(scenario: &Scenario) -> Result<Outcome, ScenarioError> {
    check::check(scenario)?;
    // Without limits nothing ends early.
    Ok(engine::run(scenario, &Limits::default()).unwrap_or_default())
}

/// As [`simulate`], but `None` as soon as a limit is exceeded.
pub(crate) fn simulate_within(
    scenario: &Scenario,
    limits: &Limits,
) -> Result<Option<Outcome>, ScenarioError> {
    check::check(scenario)?;
    Ok(engine::run(scenario, limits))
}

#[cfg(test)]
mod tests;

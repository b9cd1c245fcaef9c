//! The policies at work: what CloudWatch's alarms or the fast mode would see of the load, and what they
//! decide. The decisions are those of [`crate::scaler`] and [`crate::fast`], as in the server.

use std::collections::VecDeque;

use super::Scaling;
use crate::alarm::{Alarm, State};
use crate::fast::{Fast, FastState, Measure, TICK_MS};
use crate::scaler::{Bounds, Decision, Direction, Memory, Rule, Signal, Suspended, Vote, decide};

/// The load since the start.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Load {
    /// Requests.
    pub(super) arrived: u64,
    /// The sum of 1 / instances over all requests: CloudWatch's InvocationsPerInstance.
    pub(super) arrived_per_instance: f64,
    /// Request seconds.
    pub(super) in_flight_s: f64,
    /// Request seconds, each divided by the instances of its time.
    pub(super) in_flight_per_instance_s: f64,
}

/// A count that is wanted from now on.
#[derive(Debug, PartialEq)]
pub(super) struct Wanted {
    pub(super) capacity: u32,
    pub(super) reason: String,
}

/// Who decides, and when next.
#[derive(Debug)]
pub(super) struct Policies<'a> {
    kind: Kind<'a>,
    period_ms: i64,
    /// Periods that have ended.
    periods: i64,
    before: Load,
}

#[derive(Debug)]
enum Kind<'a> {
    None,
    Alarms(Alarms<'a>),
    Fast(&'a Fast, Box<FastState>),
}

#[derive(Debug)]
struct Alarms<'a> {
    watched: Vec<Watched<'a>>,
    metric: Metric,
    /// The newest periods, as many as any alarm looks at.
    points: VecDeque<Option<f64>>,
    range: usize,
    memory: Memory,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Metric {
    InvocationsPerInstance,
    ConcurrentRequestsPerInstance,
}

/// A policy and its alarms: two of target tracking, one of steps.
#[derive(Debug)]
struct Watched<'a> {
    name: &'a str,
    rule: &'a Rule,
    alarms: Vec<(Alarm, State)>,
}

impl<'a> Policies<'a> {
    pub(super) fn new(scaling: &'a Scaling) -> Self {
        let (kind, period_ms) = match scaling {
            Scaling::None => (Kind::None, 0),
            Scaling::Fast(fast) => (Kind::Fast(fast, Box::default()), TICK_MS),
            Scaling::Aws { rules, period_s } => {
                let rules = rules.iter().map(|(name, rule)| (name.as_str(), rule, None));
                (Kind::Alarms(Alarms::new(rules, *period_s)), i64::from(*period_s) * 1_000)
            }
            Scaling::Policies { policies, period_s } => {
                let rules = policies.iter().map(|p| (p.name.as_str(), &p.rule, p.alarm));
                (Kind::Alarms(Alarms::new(rules, *period_s)), i64::from(*period_s) * 1_000)
            }
        };
        Policies { kind, period_ms, periods: 0, before: Load::default() }
    }

    /// When the next decision is due, in seconds; infinite when there is none.
    pub(super) fn next(&self) -> f64 {
        match self.kind {
            Kind::None => f64::INFINITY,
            _ => self.now_ms() as f64 / 1e3,
        }
    }

    /// The end of the present period, which is when a decision is made.
    fn now_ms(&self) -> i64 {
        (self.periods + 1) * self.period_ms
    }

    /// All instances that were asked for are ready: cooldowns count from now on.
    pub(super) fn completed(&mut self, now_s: f64) {
        if let Kind::Alarms(alarms) = &mut self.kind {
            alarms.memory.completed((now_s * 1e3).ceil() as i64);
        }
    }

    /// Decides at the end of a period, with `capacity` instances wanted so far.
    pub(super) fn decide(
        &mut self,
        load: &Load,
        ready: u32,
        capacity: u32,
        bounds: Bounds,
    ) -> Option<Wanted> {
        let now_ms = self.now_ms();
        self.periods += 1;
        let before = std::mem::replace(&mut self.before, *load);
        let seconds = self.period_ms as f64 / 1e3;
        let in_flight = (load.in_flight_s - before.in_flight_s) / seconds;
        match &mut self.kind {
            Kind::None => None,
            Kind::Fast(fast, state) => {
                let seen = match fast.measure {
                    Measure::Concurrency => in_flight,
                    Measure::RequestsPerMinute => {
                        (load.arrived - before.arrived) as f64 * 60.0 / seconds
                    }
                };
                state.observe(now_ms, seen);
                let decision = state.decide(fast, now_ms, ready, capacity, bounds);
                (decision.capacity != capacity)
                    .then_some(Wanted { capacity: decision.capacity, reason: decision.reason })
            }
            Kind::Alarms(alarms) => {
                let point = match alarms.metric {
                    Metric::InvocationsPerInstance => {
                        load.arrived_per_instance - before.arrived_per_instance
                    }
                    Metric::ConcurrentRequestsPerInstance => {
                        let before = before.in_flight_per_instance_s;
                        (load.in_flight_per_instance_s - before) / seconds
                    }
                };
                alarms.decide(now_ms, point, capacity, bounds)
            }
        }
    }
}

impl<'a> Alarms<'a> {
    fn new(rules: impl Iterator<Item = (&'a str, &'a Rule, Option<Alarm>)>, period_s: u32) -> Self {
        let watched: Vec<Watched<'a>> = rules
            .map(|(name, rule, own)| {
                let alarms = match rule {
                    Rule::TargetTracking(tracking) => {
                        let (high, low) = tracking.alarms(period_s);
                        vec![high, low]
                    }
                    Rule::Step(_) => own.into_iter().collect(),
                };
                let alarms = alarms.into_iter().map(|a| (a, State::InsufficientData)).collect();
                Watched { name, rule, alarms }
            })
            .collect();
        let ranges = watched.iter().flat_map(|w| &w.alarms).map(|(alarm, _)| alarm.range());
        let range = ranges.max().unwrap_or(1) as usize;
        let metric = if period_s < 60 {
            Metric::ConcurrentRequestsPerInstance
        } else {
            Metric::InvocationsPerInstance
        };
        Alarms { watched, metric, points: VecDeque::new(), range, memory: Memory::default() }
    }

    fn decide(&mut self, now_ms: i64, point: f64, capacity: u32, bounds: Bounds) -> Option<Wanted> {
        self.points.push_back(Some(point));
        if self.points.len() > self.range {
            self.points.pop_front();
        }
        let points: &[Option<f64>] = self.points.make_contiguous();
        let votes: Vec<Vote<'_>> = self
            .watched
            .iter_mut()
            .map(|watched| {
                for (alarm, state) in &mut watched.alarms {
                    let first = points.len().saturating_sub(alarm.range() as usize);
                    *state = alarm.state(*state, points.get(first..).unwrap_or_default());
                }
                let signal = signal(&watched.alarms, point);
                Vote { policy: watched.name, rule: watched.rule, signal }
            })
            .collect();
        let decision = decide(now_ms, capacity, bounds, Suspended::default(), &votes, &self.memory);
        let Decision::Change { capacity: to, policy, direction } = decision else { return None };
        if let Some(vote) = votes.iter().find(|vote| vote.policy == policy) {
            self.memory.applied(now_ms, capacity, to, vote.rule);
        }
        let threshold = self
            .watched
            .iter()
            .filter(|watched| watched.name == policy)
            .flat_map(|watched| &watched.alarms)
            .find(|(_, state)| *state == State::Alarm)
            .map_or(f64::NAN, |(alarm, _)| alarm.threshold);
        let what = match self.metric {
            Metric::InvocationsPerInstance => "invocations per instance",
            Metric::ConcurrentRequestsPerInstance => "concurrent requests per instance",
        };
        let side = match direction {
            Direction::Out => "above",
            Direction::In => "below",
        };
        let reason =
            format!("policy `{policy}`: {} {what}, {side} {}", rounded(point), rounded(threshold));
        Some(Wanted { capacity: to, reason })
    }
}

/// What a policy's alarms say together.
fn signal(alarms: &[(Alarm, State)], metric: f64) -> Signal {
    match alarms {
        [(_, State::Alarm), _] => Signal::High { metric },
        [_, (_, State::Alarm)] => Signal::Low { metric },
        [(_, State::InsufficientData), (_, State::InsufficientData)] => Signal::NoData,
        [(alarm, State::Alarm)] => Signal::Breach { metric, threshold: alarm.threshold },
        [(_, State::InsufficientData)] => Signal::NoData,
        _ => Signal::Quiet,
    }
}

/// Two decimals are as many as a reader wants; trailing zeros are none.
fn rounded(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

//! The evaluation of alarms: which are due when, their datapoints, their new states.
//!
//! Alarms of a minute's period or more are evaluated at every minute, those of 10, 20 and 30 s at every
//! multiple of ten seconds, [`SETTLE`] later, over periods that end there: CloudWatch's window slides
//! (<https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarm-evaluation.html>).

use std::time::Duration;

use kennel_scaling::alarm::State;
use kennel_store::state::rusqlite::Connection;
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

use super::actions::Firing;
use super::reason::{self, Datapoint};
use super::rows::{self, Row};
use super::{AlarmSpec, Alarms, MetricsError};
use crate::cloudwatch::aggregate::{Aggregate, Statistic};
use crate::cloudwatch::span::floor;
use crate::cloudwatch::store::{self, Point, Series};
use crate::context::Timestamp;

/// Seconds between evaluations of high-resolution alarms, and of the others.
const TEN: i64 = 10;
const MINUTE: i64 = 60;
/// How long after its end a period's values are awaited: those that were taken just before it are
/// recorded by then.
const SETTLE: i64 = 1_000;
/// How often the clock is looked at.
const TICK: Duration = Duration::from_millis(200);
/// State changes of one transaction.
const BATCH: usize = 500;

/// An evaluation that is to be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Due {
    /// The newest multiple of ten seconds, in seconds.
    pub(super) at: i64,
    /// A new minute has begun since the last evaluation: all alarms are due, not only those of high
    /// resolution.
    pub(super) minute: bool,
    /// Seconds of evaluations that were left out.
    pub(super) missed: i64,
}

/// What was evaluated last.
#[derive(Debug, Default)]
pub(super) struct Clockwork {
    last: Option<i64>,
}

impl Clockwork {
    /// What is due now, if anything. A start counts as an evaluation: the metrics of the time before,
    /// when nothing ran, are not missing because something is wrong with them.
    pub(super) fn due(&mut self, now: Timestamp) -> Option<Due> {
        let at = floor(now.0.saturating_sub(SETTLE).div_euclid(1000), TEN);
        let last = self.last.replace(at)?;
        // A clock that was set back begins again from there.
        (at > last).then(|| Due {
            at,
            minute: floor(at, MINUTE) > floor(last, MINUTE),
            missed: at - last - TEN,
        })
    }
}

impl Alarms {
    /// Evaluates alarms as they become due, until `shutdown` is true.
    pub(in super::super) async fn run(self, mut shutdown: watch::Receiver<bool>) {
        let mut clockwork = Clockwork::default();
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                _ = shutdown.wait_for(|stop| *stop) => return,
            }
            let now = (self.metrics.now)();
            let Some(due) = clockwork.due(now) else { continue };
            if due.missed > 0 {
                tracing::warn!(
                    "alarms were not evaluated for {} s: the machine was asleep or too busy, or its clock was set",
                    due.missed
                );
            }
            // Dropped between two steps it loses nothing: states are rows, scaling actions are repeated.
            tokio::select! {
                evaluated = self.evaluate(now, due) => {
                    if let Err(error) = evaluated {
                        tracing::error!("alarms stay as they were: {error}");
                    }
                }
                _ = shutdown.wait_for(|stop| *stop) => return,
            }
        }
    }

    /// Evaluates the alarms that are due and acts.
    pub(super) async fn evaluate(&self, now: Timestamp, due: Due) -> Result<(), MetricsError> {
        let found = self.metrics.read(move |c| find(c, due)).await?;
        let mut firings = Vec::new();
        let mut changes = Vec::new();
        for found in found {
            if found.state == found.alarm.state {
                firings.extend(Firing::of(&found.alarm, found.metric(), false));
            } else {
                changes.push(found);
            }
        }
        while !changes.is_empty() {
            let batch = changes.split_off(changes.len().saturating_sub(BATCH));
            let changed = self.write(move |c| {
                let mut firings = Vec::new();
                for Found { alarm, state, points } in batch {
                    let words = reason::words(now, &alarm.spec, state, &points);
                    // An alarm that was changed meanwhile is evaluated the next time.
                    if rows::set_state(c, now, &alarm, state, &words)? {
                        let metric = last(&points);
                        let new = Row { state, reason: words.reason, transitioned: now, ..alarm };
                        firings.extend(Firing::of(&new, metric, true));
                    }
                }
                Ok(firings)
            });
            firings.extend(changed.await?);
        }
        self.fire(now, firings).await;
        Ok(())
    }

    /// Forgets history that is too old or too much.
    pub(in super::super) async fn sweep(&self, now: Timestamp) -> Result<(), MetricsError> {
        self.write(move |c| Ok(rows::sweep(c, now)?)).await?;
        Ok(())
    }
}

/// An alarm that changes its state, or stays in one that has scaling actions.
#[derive(Debug)]
struct Found {
    alarm: Row,
    state: State,
    points: Vec<Datapoint>,
}

impl Found {
    fn metric(&self) -> f64 {
        last(&self.points)
    }
}

/// The newest value; not a number when there is none.
fn last(points: &[Datapoint]) -> f64 {
    points.iter().rev().find_map(|point| point.value).unwrap_or(f64::NAN)
}

/// Evaluates what is due, with one query for each series.
fn find(c: &Connection, due: Due) -> Result<Vec<Found>, MetricsError> {
    let rows = rows::below(c, if due.minute { i64::MAX } else { MINUTE })?;
    let mut alarms: Vec<((Series, i64), Row)> =
        rows.into_iter().map(|row| (source(&row.spec), row)).collect();
    alarms.sort_by(|(a, _), (b, _)| a.cmp(b));
    let mut found = Vec::new();
    let mut rest = alarms.into_iter().peekable();
    while let Some((source, first)) = rest.next() {
        let mut group = vec![first];
        while let Some((_, alarm)) = rest.next_if(|(other, _)| *other == source) {
            group.push(alarm);
        }
        let windows = group.iter().map(|alarm| window(&alarm.spec, due.at));
        let (mut from, mut to) = (i64::MAX, i64::MIN);
        for (start, end) in windows {
            (from, to) = (from.min(start), to.max(end));
        }
        let (series, resolution) = source;
        let stored = store::points(c, &series, resolution, (from, to))?;
        for alarm in group {
            let points = datapoints(&alarm.spec, &stored, due.at)?;
            let state = state(&alarm, &points);
            // Scaling actions are repeated once a minute, whatever the alarm's resolution.
            if state != alarm.state || (due.minute && Firing::repeats(&alarm, state)) {
                found.push(Found { alarm, state, points });
            }
        }
    }
    Ok(found)
}

/// The newest datapoint of an alarm at a time.
pub(super) fn newest(c: &Connection, spec: &AlarmSpec, at: i64) -> Result<f64, MetricsError> {
    let (series, resolution) = source(spec);
    let stored = store::points(c, &series, resolution, window(spec, at))?;
    Ok(last(&datapoints(spec, &stored, at)?))
}

/// Where an alarm's points are: the series, and seconds or minutes.
fn source(spec: &AlarmSpec) -> (Series, i64) {
    let series = Series {
        namespace: spec.namespace.clone(),
        name: spec.metric.clone(),
        dimensions: spec.dimensions.clone(),
    };
    (series, if spec.high_resolution() { 1 } else { MINUTE })
}

/// Beginning and end of an alarm's evaluation range, in seconds.
fn window(spec: &AlarmSpec, at: i64) -> (i64, i64) {
    let end = floor(at, if spec.high_resolution() { TEN } else { MINUTE });
    (end - i64::from(spec.alarm.range()) * i64::from(spec.period_s), end)
}

/// An alarm's evaluation range out of the points of its series, oldest first.
fn datapoints(spec: &AlarmSpec, stored: &[Point], at: i64) -> Result<Vec<Datapoint>, MetricsError> {
    let (start, end) = window(spec, at);
    let period = i64::from(spec.period_s);
    let statistic = Statistic::parse(&spec.statistic)?;
    let from = stored.partition_point(|(time, ..)| *time < start);
    let mut rest = stored[from..].iter().take_while(|(time, ..)| *time < end).peekable();
    let mut found = Vec::new();
    for time in (start..end).step_by(spec.period_s as usize) {
        let mut all = Aggregate::empty();
        if !matches!(statistic, Statistic::Percentile(_)) {
            // The other statistics need no values.
            all.values = None;
        }
        while let Some((_, unit, aggregate)) = rest.next_if(|(at, ..)| *at < time + period) {
            if spec.unit.as_ref().is_none_or(|wanted| wanted == unit) {
                all.merge(aggregate);
            }
        }
        found.push(Datapoint { time, value: all.statistic(statistic), count: all.count });
    }
    Ok(found)
}

fn state(alarm: &Row, points: &[Datapoint]) -> State {
    if too_few_samples(&alarm.spec, points) {
        return alarm.state;
    }
    let values: Vec<Option<f64>> = points.iter().map(|point| point.value).collect();
    alarm.spec.alarm.state(alarm.state, &values)
}

/// Whether `EvaluateLowSampleCountPercentile: ignore` keeps an alarm as it is: a percentile of fewer
/// than 10/(1-p) values, or 10/p below the median, is said to be nothing sure
/// (<https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/percentiles-with-low-samples.html>).
fn too_few_samples(spec: &AlarmSpec, points: &[Datapoint]) -> bool {
    let Some("ignore") = spec.low_sample_count.as_deref() else { return false };
    let Ok(Statistic::Percentile(percent)) = Statistic::parse(&spec.statistic) else {
        return false;
    };
    let share = percent / 100.0;
    if share <= 0.0 || share >= 1.0 {
        // The least and the greatest value are what they are.
        return false;
    }
    let needed = 10.0 / if share >= 0.5 { 1.0 - share } else { share };
    let recent = points.iter().rev().take(spec.alarm.evaluation_periods as usize);
    recent.filter(|point| point.value.is_some()).any(|point| point.count < needed)
}

#[cfg(test)]
mod tests;

//! From facts to findings. Pure: no calls, no clock.

mod exposure;
mod policies;
mod usage;

pub(super) use policies::wants_needed;

use super::facts::Facts;
use super::finding::Finding;
use crate::clock;

const DAY: i64 = 86_400;
const HOUR: i64 = 3600;

/// From when on something counts as old or idle.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Days without use, and the age of keys.
    pub days: i64,
    /// Hours without an invocation.
    pub idle_hours: i64,
}

/// Everything that is found, worst first.
pub(super) fn judge(facts: &Facts, limits: Limits) -> Vec<Finding> {
    let mut all = Vec::new();
    policies::judge(facts, limits, &mut all);
    usage::judge(facts, limits, &mut all);
    exposure::judge(facts, &mut all);
    all.sort_by(|a: &Finding, b: &Finding| {
        b.severity
            .cmp(&a.severity)
            .then_with(|| (a.id, &a.resource, &a.part).cmp(&(b.id, &b.resource, &b.part)))
    });
    all
}

/// `2026-08-20 (93 days ago)`.
fn since(time: i64, now: i64) -> String {
    let date = clock::shown(time as f64);
    let date = date.split(' ').next().unwrap_or_default();
    match now.saturating_sub(time) {
        s if s < DAY => format!("{date} (less than a day ago)"),
        s if s < 2 * DAY => format!("{date} (1 day ago)"),
        s => format!("{date} ({} days ago)", s / DAY),
    }
}

/// Whether a time, if it is known, is at least so many days past.
fn older(time: Option<i64>, days: i64, now: i64) -> bool {
    time.is_some_and(|time| now.saturating_sub(time) >= days.saturating_mul(DAY))
}

//! `StateReason` and `StateReasonData` of an evaluation, in CloudWatch's words as its notifications and
//! histories show them. Pure.

use kennel_scaling::alarm::{Comparison, Missing, State};
use serde_json::{Value, json};

use super::AlarmSpec;
use crate::context::Timestamp;

/// From so many datapoints on CloudWatch names the newest five of them behind the sentence.
const MANY: usize = 5;
/// Datapoints that `StateReasonData` tells at most; the model allows it 4,000 characters.
const MOST_RECENT: usize = 60;
const MOST_EVALUATED: usize = 20;

/// What a state says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Words {
    pub(super) reason: String,
    /// JSON.
    pub(super) data: Option<String>,
}

/// One period of the evaluation range.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Datapoint {
    /// Its beginning, in seconds.
    pub(super) time: i64,
    /// The statistic; nothing where no value came.
    pub(super) value: Option<f64>,
    /// How many values.
    pub(super) count: f64,
}

/// The words of a new state. `points` are the evaluation range, oldest first.
pub(super) fn words(now: Timestamp, spec: &AlarmSpec, state: State, points: &[Datapoint]) -> Words {
    let periods = spec.alarm.evaluation_periods as usize;
    // CloudWatch evaluates the newest datapoints of its range that are there,
    // https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarms-and-missing-data.html.
    let newest: Vec<(Datapoint, f64)> = points
        .iter()
        .rev()
        .filter_map(|point| Some((*point, point.value?)))
        .take(periods)
        .collect();
    Words { reason: reason(spec, state, &newest), data: Some(data(now, spec, &newest)) }
}

fn reason(spec: &AlarmSpec, state: State, newest: &[(Datapoint, f64)]) -> String {
    let alarm = &spec.alarm;
    let periods = alarm.evaluation_periods as usize;
    let absent = periods - newest.len();
    if state == State::InsufficientData {
        let were = if absent == 1 { "was" } else { "were" };
        return format!("Insufficient Data: {} {were} unknown.", datapoints(absent));
    }
    let treated = match alarm.missing {
        Missing::Breaching => Some("Breaching"),
        Missing::NotBreaching => Some("NonBreaching"),
        Missing::Missing | Missing::Ignore => None,
    };
    let filled = treated.filter(|_| absent > 0).map(|treated| {
        let (missing, were) =
            if absent == 1 { ("datapoint", "was") } else { ("datapoints", "were") };
        format!(" and {absent} missing {missing} {were} treated as [{treated}]")
    });
    let filled = filled.unwrap_or_default();
    let breaching = state == State::Alarm;
    let crossing: Vec<String> = newest
        .iter()
        .filter(|(_, value)| alarm.comparison.breaches(*value, alarm.threshold) == breaching)
        .map(|(point, value)| format!("{value:?} ({})", day(point.time)))
        .collect();
    if crossing.is_empty() {
        let received = match newest.len() {
            0 => "no datapoints were".to_owned(),
            1 => "1 datapoint was".to_owned(),
            some => format!("{some} datapoints were"),
        };
        let over = if periods == 1 { "1 period".to_owned() } else { format!("{periods} periods") };
        return format!("Threshold Crossed: {received} received for {over}{filled}.");
    }
    let counted = match spec.datapoints_given {
        true => format!("{} out of the last {periods} datapoints", crossing.len()),
        false => datapoints(crossing.len()),
    };
    let were = if crossing.len() == 1 { "was" } else { "were" };
    let not = if breaching { "" } else { "not " };
    let than = comparison(alarm.comparison);
    let compared = format!("{were} {not}{than} the threshold ({:?}){filled}", alarm.threshold);
    let least = match spec.datapoints_given {
        false => String::new(),
        true if breaching => {
            let least = datapoints(alarm.datapoints_to_alarm as usize);
            format!(" (minimum {least} for OK -> ALARM transition)")
        }
        true => {
            let least = datapoints(periods + 1 - alarm.datapoints_to_alarm as usize);
            format!(" (minimum {least} for ALARM -> OK transition)")
        }
    };
    if crossing.len() < MANY {
        let shown = crossing.join(", ");
        return format!("Threshold Crossed: {counted} [{shown}] {compared}{least}.");
    }
    let shown = crossing[..MANY].join(", ");
    format!(
        "Threshold Crossed: {counted} {compared}. The most recent datapoints which crossed the threshold: [{shown}]{least}."
    )
}

fn data(now: Timestamp, spec: &AlarmSpec, newest: &[(Datapoint, f64)]) -> String {
    let mut out = json!({ "version": "1.0", "queryDate": moment(now) });
    if let Some((oldest, _)) = newest.last() {
        out["startDate"] = moment(Timestamp(oldest.time.saturating_mul(1000))).into();
    }
    if let Some(unit) = &spec.unit {
        out["unit"] = unit.as_str().into();
    }
    out["statistic"] = spec.statistic.as_str().into();
    out["period"] = spec.period_s.into();
    out["recentDatapoints"] =
        newest.iter().take(MOST_RECENT).rev().map(|(_, value)| Value::from(*value)).collect();
    out["threshold"] = spec.alarm.threshold.into();
    out["evaluatedDatapoints"] = newest
        .iter()
        .take(MOST_EVALUATED)
        .map(|(point, value)| {
            json!({
                "timestamp": moment(Timestamp(point.time.saturating_mul(1000))),
                "sampleCount": point.count,
                "value": value,
            })
        })
        .collect();
    out.to_string()
}

/// `2 datapoints`.
fn datapoints(count: usize) -> String {
    if count == 1 { "1 datapoint".to_owned() } else { format!("{count} datapoints") }
}

fn comparison(comparison: Comparison) -> &'static str {
    match comparison {
        Comparison::GreaterThanOrEqualToThreshold => "greater than or equal to",
        Comparison::GreaterThanThreshold => "greater than",
        Comparison::LessThanThreshold => "less than",
        Comparison::LessThanOrEqualToThreshold => "less than or equal to",
    }
}

/// `16/05/18 04:31:00`.
fn day(seconds: i64) -> String {
    formatted(seconds.saturating_mul(1000), "%d/%m/%y %H:%M:%S")
}

/// `2019-10-02T17:04:40.985+0000`.
pub(super) fn moment(time: Timestamp) -> String {
    formatted(time.0, "%Y-%m-%dT%H:%M:%S%.3f+0000")
}

fn formatted(milliseconds: i64, format: &str) -> String {
    let time = chrono::DateTime::from_timestamp_millis(milliseconds).unwrap_or_default();
    time.format(format).to_string()
}

#[cfg(test)]
mod tests;

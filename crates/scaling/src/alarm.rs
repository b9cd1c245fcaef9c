//! How CloudWatch evaluates a metric alarm: M of the last N points beyond a threshold, and what missing
//! points count for.
//!
//! # Missing points
//!
//! CloudWatch looks further back than N periods, over the *evaluation range*. If that holds N points, the
//! newest N decide and nothing needs to be filled in, however old they are. If it holds fewer, all of them
//! count, and the setting for missing data fills up to N.
//!
//! Points that are only missing or breaching make the *premature* alarm: as soon as the oldest breaching one
//! is M periods old the alarm goes off, even though there are fewer than M of them. While they are younger
//! the next point may still be a good one, and AWS's page says only that the alarm "does not go immediately
//! into ALARM state"; its edition of 2019 has a row for it, "insufficient data", which holds here.
//!
//! AWS does not say how long the range is; in its examples it is two periods more than N, and so it is here.
//!
//! Sources: <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarm-evaluation.html>,
//! <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarms-and-missing-data.html>.

use serde::{Deserialize, Serialize};

/// AWS's `ComparisonOperator`: when a point breaches the threshold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Comparison {
    /// The point is at or above the threshold.
    GreaterThanOrEqualToThreshold,
    /// The point is above the threshold.
    GreaterThanThreshold,
    /// The point is below the threshold.
    LessThanThreshold,
    /// The point is at or below the threshold.
    LessThanOrEqualToThreshold,
}

/// AWS's `TreatMissingData`: what a period without a point counts for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Missing {
    /// `missing`: nothing; without any point the alarm has insufficient data.
    #[default]
    Missing,
    /// `ignore`: the state stays as it is.
    Ignore,
    /// `breaching`: a point beyond the threshold.
    Breaching,
    /// `notBreaching`: a point within the threshold.
    NotBreaching,
}

/// AWS's `StateValue`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum State {
    /// Within the threshold.
    Ok,
    /// Beyond the threshold.
    Alarm,
    /// Too few points to say.
    InsufficientData,
}

/// What an alarm compares.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Alarm {
    /// When a point breaches.
    pub comparison: Comparison,
    /// In the metric's unit.
    pub threshold: f64,
    /// AWS's `EvaluationPeriods`, N, at least 1.
    pub evaluation_periods: u32,
    /// AWS's `DatapointsToAlarm`, M, 1 to N.
    pub datapoints_to_alarm: u32,
    /// What a period without a point counts for.
    pub missing: Missing,
}

/// How many periods more than N an evaluation looks at.
const EXTRA_PERIODS: u32 = 2;

impl State {
    /// AWS's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "OK",
            Self::Alarm => "ALARM",
            Self::InsufficientData => "INSUFFICIENT_DATA",
        }
    }
}

impl Comparison {
    /// Whether `point` breaches `threshold`.
    pub fn breaches(self, point: f64, threshold: f64) -> bool {
        match self {
            Self::GreaterThanOrEqualToThreshold => point >= threshold,
            Self::GreaterThanThreshold => point > threshold,
            Self::LessThanThreshold => point < threshold,
            Self::LessThanOrEqualToThreshold => point <= threshold,
        }
    }
}

impl Alarm {
    /// The state after `points`, one for each period, oldest first; `None` where a period has none. More
    /// than [`Alarm::evaluation_periods`] may be given: the evaluation range, [`Alarm::range`] long.
    pub fn state(&self, previous: State, points: &[Option<f64>]) -> State {
        self.judge(previous, self.look(points))
    }

    /// How many periods an evaluation looks at.
    pub fn range(&self) -> u32 {
        self.evaluation_periods.saturating_add(EXTRA_PERIODS)
    }

    fn look(&self, points: &[Option<f64>]) -> Seen {
        let mut seen = Seen { points: 0, breaching: 0, oldest: 0 };
        for (age, point) in points.iter().rev().enumerate() {
            let Some(point) = point else { continue };
            if seen.points == self.evaluation_periods {
                break;
            }
            seen.points += 1;
            seen.oldest = age as u32 + 1;
            if self.comparison.breaches(*point, self.threshold) {
                seen.breaching += 1;
            }
        }
        seen
    }

    fn judge(&self, previous: State, seen: Seen) -> State {
        let missing = self.evaluation_periods.saturating_sub(seen.points);
        let all_breach = seen.breaching == seen.points;
        if seen.breaching >= self.datapoints_to_alarm {
            return State::Alarm;
        }
        if missing == 0 {
            return State::Ok;
        }
        match self.missing {
            Missing::Breaching if seen.breaching + missing >= self.datapoints_to_alarm => {
                State::Alarm
            }
            Missing::Breaching | Missing::NotBreaching => State::Ok,
            // A good point anywhere in the range: the missing ones decide nothing.
            Missing::Missing | Missing::Ignore if !all_breach => State::Ok,
            Missing::Ignore => previous,
            Missing::Missing if seen.points > 0 && seen.oldest >= self.datapoints_to_alarm => {
                State::Alarm
            }
            Missing::Missing => State::InsufficientData,
        }
    }
}

/// The points that an evaluation takes into account: the newest N at most.
#[derive(Clone, Copy, Debug)]
struct Seen {
    points: u32,
    breaching: u32,
    /// The age in periods of the oldest of them; the newest period is 1.
    oldest: u32,
}

#[cfg(test)]
mod tests;

//! How CloudWatch evaluates a metric alarm: M of the last N points beyond a threshold, and what missing
//! points count for.
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

/// What an evaluation found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evaluation {
    /// The state from now on.
    pub state: State,
    /// CloudWatch's `StateReason`.
    pub reason: String,
}

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
    pub fn evaluate(&self, previous: State, points: &[Option<f64>]) -> Evaluation {
        let state = self.state(previous, points);
        Evaluation { state, reason: String::new() }
    }

    /// The state of [`Alarm::evaluate`] without its words, which cost an allocation.
    pub fn state(&self, previous: State, points: &[Option<f64>]) -> State {
        let real = points.iter().flatten().count();
        if real == 0 {
            return match self.missing {
                Missing::Missing => State::InsufficientData,
                Missing::Ignore => previous,
                Missing::Breaching => State::Alarm,
                Missing::NotBreaching => State::Ok,
            };
        }
        let latest = points.iter().rev().flatten().take(self.evaluation_periods as usize);
        let breaching =
            latest.filter(|point| self.comparison.breaches(**point, self.threshold)).count();
        if breaching >= self.datapoints_to_alarm as usize { State::Alarm } else { State::Ok }
    }

    /// How many periods an evaluation looks at.
    pub fn range(&self) -> u32 {
        self.evaluation_periods.saturating_add(2)
    }
}

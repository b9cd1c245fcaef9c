//! Scenarios that make no sense or would take for ever are refused, with what to change.

use std::fmt::Display;

use super::{Scaling, Scenario};
use crate::alarm::Alarm;
use crate::scaler::Rule;
use crate::trace::TraceError;

/// The longest duration: a bit more than a year.
const MOST_DAYS: f64 = 400.0;
/// The most requests: about an hour of work.
const MOST_REQUESTS: f64 = 1e10;
/// The most pieces of the timeline.
const MOST_MOMENTS: f64 = 100_000.0;
/// The most instances.
const MOST_INSTANCES: u32 = 1_000_000;
/// The most requests that may be in the model at the same time, with room in memory for each.
const MOST_PRESENT: f64 = 2e7;

/// Why a scenario cannot be played.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ScenarioError {
    /// The trace makes no sense.
    #[error(transparent)]
    Trace(#[from] TraceError),
    /// A number that is not possible.
    #[error("{what} must be {must}, not `{value}`")]
    Number {
        /// Which.
        what: String,
        /// What it has to be.
        must: String,
        /// What it is.
        value: String,
    },
    /// Nothing ever answers.
    #[error(
        "there are no instances, and nothing would ever start one\nhint: begin with one instance or more, or use the fast mode, hold some requests and let the minimum be 0"
    )]
    NoInstances,
    /// The fast mode may scale to zero, and no request is held there.
    #[error(
        "the count may go to 0, where no request would be held, so that none would ever bring it back\nhint: hold at least 1 request, or let the minimum be 1"
    )]
    NothingHeld,
    /// A minimum of 0 in the mode that has none.
    #[error(
        "target tracking by alarms does not scale to 0\nhint: let the minimum be 1, or use the fast mode"
    )]
    AwsToZero,
    /// No policy where some should be.
    #[error("there is no scaling policy\nhint: add one, or scale nothing")]
    NoPolicy,
    /// A step policy without what calls it.
    #[error("the step policy `{0}` has no alarm\nhint: give the alarm that calls it")]
    NoAlarm(String),
    /// Too much of something.
    #[error("{what} would be {value}, more than {most}\nhint: {hint}")]
    TooMuch {
        /// Of what.
        what: String,
        /// How much.
        value: String,
        /// How much is possible.
        most: String,
        /// What to change.
        hint: &'static str,
    },
}

impl ScenarioError {
    pub(crate) fn number(what: impl Into<String>, must: &str, value: impl Display) -> Self {
        ScenarioError::Number { what: what.into(), must: must.to_owned(), value: value.to_string() }
    }
}

fn at_least(what: &str, value: f64, least: f64, must: &str) -> Result<(), ScenarioError> {
    if value.is_finite() && value >= least {
        return Ok(());
    }
    Err(ScenarioError::number(what, must, value))
}

fn positive(what: &str, value: f64) -> Result<(), ScenarioError> {
    if value.is_finite() && value > 0.0 {
        return Ok(());
    }
    Err(ScenarioError::number(what, "more than 0", value))
}

fn at_most(what: &str, value: f64, most: f64, hint: &'static str) -> Result<(), ScenarioError> {
    if value <= most {
        return Ok(());
    }
    let (value, most) = (format!("{value:.0}"), most.to_string());
    Err(ScenarioError::TooMuch { what: what.to_owned(), value, most, hint })
}

pub(super) fn check(scenario: &Scenario) -> Result<(), ScenarioError> {
    scenario.trace.check()?;
    positive("the duration in seconds", scenario.duration_s)?;
    at_most(
        "the duration in days",
        (scenario.duration_s / 86_400.0).ceil(),
        MOST_DAYS,
        "simulate a typical week",
    )?;
    positive("the resolution of the timeline in seconds", scenario.bucket_s)?;
    at_most(
        "the pieces of the timeline",
        scenario.duration_s / scenario.bucket_s,
        MOST_MOMENTS,
        "give a coarser resolution",
    )?;
    at_least("the price per hour", scenario.hourly_price, 0.0, "a number from 0 up")?;
    at_most(
        "the requests",
        scenario.trace.expected(scenario.duration_s),
        MOST_REQUESTS,
        "simulate a shorter time, or a smaller load",
    )?;
    instances(scenario)?;
    counts(scenario)?;
    scaling(scenario)
}

fn instances(scenario: &Scenario) -> Result<(), ScenarioError> {
    let instances = &scenario.instances;
    at_least("the start time in milliseconds", instances.start_ms, 0.0, "a number from 0 up")?;
    if instances.concurrency == 0 {
        return Err(ScenarioError::number("the concurrency of an instance", "at least 1", 0));
    }
    match instances.cores {
        Some(cores) => positive("the number of cores", cores),
        None => Ok(()),
    }
}

fn counts(scenario: &Scenario) -> Result<(), ScenarioError> {
    let (bounds, initial, hold) = (scenario.bounds, scenario.initial, scenario.hold);
    let mut most = initial;
    match &scenario.scaling {
        Scaling::None if initial == 0 => return Err(ScenarioError::NoInstances),
        Scaling::None => {}
        other => {
            if bounds.min > bounds.max {
                return Err(ScenarioError::number(
                    "the minimum of instances",
                    &format!("at most the maximum, {}", bounds.max),
                    bounds.min,
                ));
            }
            if bounds.max == 0 {
                return Err(ScenarioError::NoInstances);
            }
            let to_zero = bounds.min == 0;
            match other {
                Scaling::Fast(_) if to_zero && hold == 0 => return Err(ScenarioError::NothingHeld),
                Scaling::Fast(_) => {}
                _ if to_zero => return Err(ScenarioError::AwsToZero),
                _ => {}
            }
            if initial < bounds.min || initial > bounds.max {
                return Err(ScenarioError::number(
                    "the instances at the start",
                    &format!("from {} to {}, the bounds", bounds.min, bounds.max),
                    initial,
                ));
            }
            most = bounds.max;
        }
    }
    at_most("the instances", most.into(), MOST_INSTANCES.into(), "give a lower maximum")?;
    let room = f64::from(scenario.instances.concurrency) + f64::from(scenario.instances.queue);
    at_most(
        "the room for requests, at instances and held",
        f64::from(most) * room + f64::from(hold),
        MOST_PRESENT,
        "let fewer requests wait at an instance, or have fewer instances",
    )
}

fn scaling(scenario: &Scenario) -> Result<(), ScenarioError> {
    match &scenario.scaling {
        Scaling::None => Ok(()),
        Scaling::Aws { rules, period_s } => {
            policies(rules.iter().map(|(name, rule)| (name.as_str(), rule, None)), *period_s)
        }
        Scaling::Policies { policies: all, period_s } => policies(
            all.iter().map(|policy| (policy.name.as_str(), &policy.rule, policy.alarm)),
            *period_s,
        ),
        Scaling::Fast(fast) => {
            positive("the target of the fast mode", fast.target)?;
            positive("the utilization of the fast mode", fast.utilization)?;
            positive("the stable window of the fast mode", fast.stable_ms as f64)?;
            positive("the panic window of the fast mode", fast.panic_ms as f64)?;
            positive("the panic threshold of the fast mode", fast.panic_threshold)?;
            let must = "more than 1";
            at_least("the growth of the fast mode", fast.max_scale_up, 1.0 + f64::EPSILON, must)?;
            at_least(
                "the shrinking of the fast mode",
                fast.max_scale_down,
                1.0 + f64::EPSILON,
                must,
            )?;
            let must = "a number from 0 up";
            at_least("the delay of the fast mode", fast.scale_down_delay_ms as f64, 0.0, must)?;
            at_least("the grace of the fast mode", fast.grace_ms as f64, 0.0, must)
        }
    }
}

fn policies<'a>(
    all: impl Iterator<Item = (&'a str, &'a Rule, Option<Alarm>)>,
    period_s: u32,
) -> Result<(), ScenarioError> {
    // CloudWatch's periods.
    if !matches!(period_s, 10 | 20 | 30) && (period_s == 0 || !period_s.is_multiple_of(60)) {
        return Err(ScenarioError::number(
            "the alarms' period in seconds",
            "10, 20, 30 or a multiple of 60",
            period_s,
        ));
    }
    let mut count = 0;
    for (name, rule, alarm) in all {
        count += 1;
        match (rule, alarm) {
            (Rule::TargetTracking(tracking), _) => {
                positive(&format!("the target of policy `{name}`"), tracking.target)?;
                for cooldown in [tracking.scale_out_cooldown_ms, tracking.scale_in_cooldown_ms] {
                    let what = format!("a cooldown of policy `{name}` in milliseconds");
                    at_least(&what, cooldown as f64, 0.0, "a number from 0 up")?;
                }
            }
            (Rule::Step(_), None) => return Err(ScenarioError::NoAlarm(name.to_owned())),
            (Rule::Step(steps), Some(alarm)) => {
                let what = format!("the cooldown of policy `{name}` in milliseconds");
                at_least(&what, steps.cooldown_ms as f64, 0.0, "a number from 0 up")?;
                let what = format!("the threshold of the alarm of policy `{name}`");
                at_least(&what, alarm.threshold, f64::MIN, "a number")?;
                let (m, n) = (alarm.datapoints_to_alarm, alarm.evaluation_periods);
                if m == 0 || m > n || n > 1440 {
                    return Err(ScenarioError::number(
                        format!("the datapoints to alarm of policy `{name}`"),
                        "from 1 to the evaluation periods, which are at most 1,440",
                        format!("{m} of {n}"),
                    ));
                }
            }
        }
    }
    if count == 0 { Err(ScenarioError::NoPolicy) } else { Ok(()) }
}

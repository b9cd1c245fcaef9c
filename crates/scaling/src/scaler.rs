//! One scalable target with all its policies: what to do now.
//!
//! Source: <https://docs.aws.amazon.com/autoscaling/application/userguide/target-tracking-scaling-policy-overview.html>.

use serde::{Deserialize, Serialize};

use crate::step::StepScaling;
use crate::target_tracking::TargetTracking;

/// AWS's `MinCapacity` and `MaxCapacity`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bounds {
    /// The least.
    pub min: u32,
    /// The most, at least `min`.
    pub max: u32,
}

/// AWS's `SuspendedState`: what is switched off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Suspended {
    /// `DynamicScalingInSuspended`.
    pub scale_in: bool,
    /// `DynamicScalingOutSuspended`.
    pub scale_out: bool,
    /// `ScheduledScalingSuspended`: the caller's to heed.
    pub scheduled: bool,
}

/// What a policy does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Rule {
    /// Keeps a metric at its target.
    TargetTracking(TargetTracking),
    /// Changes by steps.
    Step(StepScaling),
}

/// What a policy's alarms say now.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Signal {
    /// Target tracking: the high alarm is in ALARM.
    High {
        /// The newest point.
        metric: f64,
    },
    /// Target tracking: the low alarm is in ALARM.
    Low {
        /// The newest point.
        metric: f64,
    },
    /// No alarm is in ALARM.
    Quiet,
    /// The alarms have insufficient data.
    NoData,
    /// Step scaling: the policy's alarm is in ALARM.
    Breach {
        /// The newest point, or as many aggregated as the policy says.
        metric: f64,
        /// The alarm's.
        threshold: f64,
    },
}

/// One policy's say.
#[derive(Clone, Copy, Debug)]
pub struct Vote<'a> {
    /// The policy's name.
    pub policy: &'a str,
    /// What it does.
    pub rule: &'a Rule,
    /// What its alarms say.
    pub signal: Signal,
}

/// Which way capacity goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Direction {
    /// More.
    Out,
    /// Fewer.
    In,
}

/// What lasts between decisions: the cooldowns under way. Part of the target's row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory {
    out: Option<ScaledOut>,
    scaled_in: Option<ScaledIn>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct ScaledOut {
    /// The capacity before the scale-outs whose cooldown is under way.
    base: u32,
    until_ms: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct ScaledIn {
    until_ms: i64,
}

/// AWS's `NotScaledReason`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotScaled {
    /// Why.
    pub code: NotScaledCode,
    /// The most that is allowed, where that was in the way.
    pub max_capacity: Option<u32>,
    /// The least that is allowed, where that was in the way.
    pub min_capacity: Option<u32>,
    /// What is wanted now, where nothing else was wanted.
    pub current_capacity: Option<u32>,
}

/// AWS's codes of `NotScaledReason`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum NotScaledCode {
    /// Fewer would bring the metric above its target.
    AutoScalingAnticipatedFlapping,
    /// The target can not be scaled now: the caller's to say.
    TargetServicePutResourceAsUnscalable,
    /// The maximum is in the way.
    AlreadyAtMaxCapacity,
    /// The minimum is in the way.
    AlreadyAtMinCapacity,
    /// The calculation gave the present capacity.
    AlreadyAtDesiredCapacity,
}

impl NotScaledCode {
    /// AWS's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AutoScalingAnticipatedFlapping => "AutoScalingAnticipatedFlapping",
            Self::TargetServicePutResourceAsUnscalable => "TargetServicePutResourceAsUnscalable",
            Self::AlreadyAtMaxCapacity => "AlreadyAtMaxCapacity",
            Self::AlreadyAtMinCapacity => "AlreadyAtMinCapacity",
            Self::AlreadyAtDesiredCapacity => "AlreadyAtDesiredCapacity",
        }
    }
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Nothing.
    Keep {
        /// Why not, where an alarm asked for something; empty while a cooldown holds it back.
        not_scaled: Vec<NotScaled>,
    },
    /// Another capacity, always within the bounds.
    Change {
        /// The new one.
        capacity: u32,
        /// Whose it is.
        policy: String,
        /// Which way.
        direction: Direction,
    },
}

/// What to do at `now_ms` when `capacity` instances are wanted. Deterministic; allocates only for a change
/// or a reason.
pub fn decide(
    now_ms: i64,
    capacity: u32,
    bounds: Bounds,
    suspended: Suspended,
    votes: &[Vote<'_>],
    memory: &Memory,
) -> Decision {
    let _ = (now_ms, capacity, bounds, suspended, votes, memory);
    Decision::Keep { not_scaled: Vec::new() }
}

impl Memory {
    /// Notes that `rule` has changed the capacity from `from` to `to`: its cooldown begins.
    pub fn applied(&mut self, now_ms: i64, from: u32, to: u32, rule: &Rule) {
        let _ = (now_ms, from, to, rule);
    }
}

/// The capacity nearest to `capacity` within the bounds: what registering a target and scheduled actions
/// bring it to at once.
pub fn clamp(capacity: u32, bounds: Bounds) -> u32 {
    capacity.max(bounds.min).min(bounds.max)
}

//! One scalable target with all its policies: what to do now.
//!
//! - *Out*: any policy may, and the largest capacity that one asks for counts. While one asks for more, nothing
//!   scales in, even where more is not possible.
//! - *In*: all target tracking policies whose scale-in is not disabled must ask for it, and the largest capacity
//!   counts. One without data does not ask. A step policy does not wait for them: "the scale-in activity will
//!   not be blocked".
//! - *Cooldown after scaling out*: only a larger scale-out may follow. It is calculated from the capacity before
//!   the first one, so that what was added already is credited: 10 + 2 and then a step of 3 make 13.
//! - *Cooldown after scaling in*: nothing scales in; scaling out ends it.
//!
//! AWS does not say whether a cooldown is the policy's or the target's. Here it is the target's, in the length
//! that the policy asks for: two policies that see one overload must not both add for it.
//!
//! Sources: <https://docs.aws.amazon.com/autoscaling/application/userguide/target-tracking-scaling-policy-overview.html>,
//! <https://docs.aws.amazon.com/autoscaling/application/userguide/step-scaling-policy-overview.html>,
//! <https://docs.aws.amazon.com/autoscaling/application/userguide/application-auto-scaling-scaling-activities.html>.

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

/// What lasts between decisions: the cooldown under way. Part of the target's row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory {
    cooldown: Option<Cooldown>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Cooldown {
    direction: Direction,
    since_ms: i64,
    length_ms: i64,
    /// The capacity before the first of the scale-outs that follow each other within their cooldowns.
    base: u32,
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
    let cooldown = memory.running(now_ms);

    if let Some(out) = scale_out(capacity, votes, cooldown) {
        let to = clamp(out.capacity, bounds);
        if suspended.scale_out || out.capacity <= capacity {
            return KEEP;
        }
        if to <= capacity {
            return keep(NotScaled {
                max_capacity: Some(bounds.max),
                ..NotScaled::new(NotScaledCode::AlreadyAtMaxCapacity)
            });
        }
        return out.change(to, Direction::Out);
    }

    let cooling = cooldown.is_some_and(|cooldown| cooldown.direction == Direction::In);
    let Some(scale_in) = scale_in(capacity, votes) else { return unchanged(capacity, votes) };
    if suspended.scale_in || cooling {
        return KEEP;
    }
    if capacity <= bounds.min {
        return keep(NotScaled {
            min_capacity: Some(bounds.min),
            ..NotScaled::new(NotScaledCode::AlreadyAtMinCapacity)
        });
    }
    if scale_in.capacity >= capacity {
        // With one instance fewer the metric would be above its target again.
        return keep(NotScaled {
            current_capacity: Some(capacity),
            ..NotScaled::new(NotScaledCode::AutoScalingAnticipatedFlapping)
        });
    }
    let to = clamp(scale_in.capacity, bounds);
    scale_in.change(to, Direction::In)
}

const KEEP: Decision = Decision::Keep { not_scaled: Vec::new() };

fn keep(reason: NotScaled) -> Decision {
    Decision::Keep { not_scaled: vec![reason] }
}

/// What one policy asks for.
#[derive(Clone, Copy, Debug)]
struct Wish<'a> {
    capacity: u32,
    policy: &'a str,
}

impl Wish<'_> {
    fn change(&self, capacity: u32, direction: Direction) -> Decision {
        Decision::Change { capacity, policy: self.policy.to_owned(), direction }
    }
}

/// The larger wish; the first of equal ones.
fn larger<'a>(one: Option<Wish<'a>>, other: Wish<'a>) -> Option<Wish<'a>> {
    match one {
        Some(one) if one.capacity >= other.capacity => Some(one),
        _ => Some(other),
    }
}

/// The largest capacity of the policies that want more; it is no more than there is where the cooldown's
/// credit covers it. `None` when no policy wants more.
fn scale_out<'a>(
    capacity: u32,
    votes: &[Vote<'a>],
    cooldown: Option<Cooldown>,
) -> Option<Wish<'a>> {
    let base = match cooldown {
        Some(cooldown) if cooldown.direction == Direction::Out => cooldown.base.min(capacity),
        _ => capacity,
    };
    let mut largest = None;
    for vote in votes {
        let wanted = match (vote.rule, vote.signal) {
            // Above the target is more, even of nothing.
            (Rule::TargetTracking(rule), Signal::High { metric }) => {
                rule.wanted(base, metric).max(base.saturating_add(1))
            }
            (Rule::Step(rule), Signal::Breach { metric, threshold }) => {
                let difference = metric - threshold;
                if rule.wanted(capacity, difference).is_none_or(|wanted| wanted <= capacity) {
                    continue;
                }
                rule.wanted(base, difference).unwrap_or(capacity)
            }
            _ => continue,
        };
        largest = larger(largest, Wish { capacity: wanted, policy: vote.policy });
    }
    largest
}

/// The largest capacity of the policies that want less; that of target tracking may turn out to be what
/// there is. `None` when no policy wants less, or not all target tracking policies do.
fn scale_in<'a>(capacity: u32, votes: &[Vote<'a>]) -> Option<Wish<'a>> {
    let mut tracking = None;
    let mut all_low = true;
    let mut steps = None;
    for vote in votes {
        match (vote.rule, vote.signal) {
            (Rule::TargetTracking(rule), _) if rule.disable_scale_in => {}
            (Rule::TargetTracking(rule), Signal::Low { metric }) => {
                let wanted = rule.wanted(capacity, metric).min(capacity);
                tracking = larger(tracking, Wish { capacity: wanted, policy: vote.policy });
            }
            (Rule::TargetTracking(_), _) => all_low = false,
            (Rule::Step(rule), Signal::Breach { metric, threshold }) => {
                if let Some(wanted) = rule.wanted(capacity, metric - threshold)
                    && wanted < capacity
                {
                    steps = larger(steps, Wish { capacity: wanted, policy: vote.policy });
                }
            }
            (Rule::Step(_), _) => {}
        }
    }
    let tracking = tracking.filter(|_| all_low);
    match (tracking, steps) {
        // Target tracking that can do without none instructs nothing, and blocks no step policy.
        (Some(tracking), Some(step)) if tracking.capacity < capacity => {
            larger(Some(tracking), step)
        }
        (_, Some(step)) => Some(step),
        (tracking, None) => tracking,
    }
}

/// Nothing to do: a step policy in alarm whose step leaves the capacity as it is gets AWS's reason.
fn unchanged(capacity: u32, votes: &[Vote<'_>]) -> Decision {
    let same = votes.iter().any(|vote| match (vote.rule, vote.signal) {
        (Rule::Step(rule), Signal::Breach { metric, threshold }) => {
            rule.wanted(capacity, metric - threshold) == Some(capacity)
        }
        _ => false,
    });
    if !same {
        return KEEP;
    }
    keep(NotScaled {
        current_capacity: Some(capacity),
        ..NotScaled::new(NotScaledCode::AlreadyAtDesiredCapacity)
    })
}

impl NotScaled {
    /// The reason without capacities.
    pub fn new(code: NotScaledCode) -> Self {
        Self { code, max_capacity: None, min_capacity: None, current_capacity: None }
    }
}

impl Memory {
    /// Notes that `rule`, the one of the decision's policy, has changed the capacity from `from` to `to`: its
    /// cooldown begins.
    pub fn applied(&mut self, now_ms: i64, from: u32, to: u32, rule: &Rule) {
        let direction = if to > from { Direction::Out } else { Direction::In };
        let length_ms = match (rule, direction) {
            (Rule::TargetTracking(rule), Direction::Out) => rule.scale_out_cooldown_ms,
            (Rule::TargetTracking(rule), Direction::In) => rule.scale_in_cooldown_ms,
            (Rule::Step(rule), _) => rule.cooldown_ms,
        };
        let base = match self.running(now_ms) {
            Some(running) if running.direction == Direction::Out && direction == Direction::Out => {
                running.base.min(from)
            }
            _ => from,
        };
        self.cooldown = Some(Cooldown { direction, since_ms: now_ms, length_ms, base });
    }

    /// Notes that the change has taken effect: the cooldown counts from now on, as AWS counts it, not from
    /// when the change was asked for.
    pub fn completed(&mut self, now_ms: i64) {
        if let Some(cooldown) = &mut self.cooldown {
            cooldown.since_ms = cooldown.since_ms.max(now_ms);
        }
    }

    /// Until when only a larger scale-out, or no scale-in, may follow; `None` where no cooldown is under way.
    pub fn cooling_until(&self, now_ms: i64) -> Option<(Direction, i64)> {
        self.running(now_ms).map(|cooldown| (cooldown.direction, cooldown.until_ms()))
    }

    fn running(&self, now_ms: i64) -> Option<Cooldown> {
        self.cooldown.filter(|cooldown| now_ms < cooldown.until_ms())
    }
}

impl Cooldown {
    fn until_ms(&self) -> i64 {
        self.since_ms.saturating_add(self.length_ms)
    }
}

/// The capacity nearest to `capacity` within the bounds: what registering a target and scheduled actions
/// bring it to at once.
pub fn clamp(capacity: u32, bounds: Bounds) -> u32 {
    capacity.max(bounds.min).min(bounds.max)
}

#[cfg(test)]
mod tests;

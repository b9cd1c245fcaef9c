//! How a deployment goes on, as pure functions of its policy, its phase (which is in the endpoint's row),
//! the time, the alarms and the fleets. [`wanted`] says which instances there should be and who gets the
//! traffic, [`next`] says when the phase is over; `deploy` makes it happen.
//!
//! The semantics are those of
//! <https://docs.aws.amazon.com/sagemaker/latest/dg/deployment-guardrails.html>.

use serde::{Deserialize, Serialize};

/// `CapacitySize`: a part of a fleet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Size {
    /// `INSTANCE_COUNT`.
    Instances(u32),
    /// `CAPACITY_PERCENT`.
    Percent(u32),
}

impl Size {
    /// Instances of a fleet of `total`: at least one, at most all.
    fn of(self, total: u32) -> u32 {
        let count = match self {
            Size::Instances(count) => count,
            // At most 100 × u32::MAX: computed wider.
            Size::Percent(percent) => {
                let count = (u64::from(total) * u64::from(percent)).div_ceil(100);
                u32::try_from(count).unwrap_or(u32::MAX)
            }
        };
        count.clamp(1, total.max(1))
    }

    /// The share of the traffic that goes with it, 0 to 1.
    pub(super) fn share(self, total: u32) -> f64 {
        match self {
            Size::Instances(count) => part(count.min(total), total),
            Size::Percent(percent) => (f64::from(percent) / 100.0).min(1.0),
        }
    }
}

/// `count / total`; all of nothing is 1.
fn part(count: u32, total: u32) -> f64 {
    if total == 0 { 1.0 } else { f64::from(count) / f64::from(total) }
}

/// `TrafficRoutingConfiguration`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Shift {
    AllAtOnce,
    /// This much of the traffic first, then all.
    Canary(Size),
    /// This much more with each step.
    Linear(Size),
}

/// `DeploymentConfig` without its alarms.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Policy {
    /// The new fleet is brought up whole beside the old one.
    BlueGreen {
        shift: Shift,
        /// Baking period of each step.
        wait_ms: i64,
        /// How long the old fleet is kept once the new one has all the traffic and has baked.
        termination_wait_ms: i64,
        /// From the first instance to the end.
        timeout_ms: Option<i64>,
    },
    /// Batch by batch; each batch that has baked ends as many of the old instances.
    Rolling {
        batch: Size,
        /// `None`: the whole old fleet is brought back at once.
        rollback: Option<Size>,
        wait_ms: i64,
        timeout_ms: Option<i64>,
    },
}

impl Policy {
    /// What UpdateEndpoint does without a `DeploymentConfig`.
    pub(super) fn at_once() -> Policy {
        Policy::BlueGreen {
            shift: Shift::AllAtOnce,
            wait_ms: 0,
            termination_wait_ms: 0,
            timeout_ms: None,
        }
    }

    fn timeout_ms(&self) -> Option<i64> {
        match self {
            Policy::BlueGreen { timeout_ms, .. } | Policy::Rolling { timeout_ms, .. } => {
                *timeout_ms
            }
        }
    }
}

/// What is done now. Steps count from 0.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) enum Phase {
    /// The new instances of the step start; the traffic is that of the step before.
    Creating { step: u32 },
    /// The step's traffic is turned on.
    Activating { step: u32 },
    /// The step's traffic is watched for the wait interval.
    Baking { step: u32 },
    /// The new fleet has all the traffic and has baked; the old one stands by for the termination wait.
    Terminating,
    /// Back to the old fleet, from where `from` says, for the reason `cause`.
    RollingBack { step: u32, from: Wanted, cause: String },
}

impl Phase {
    /// What a phase becomes when the server starts again: nobody watched while it was down, so a step is
    /// done anew.
    pub(super) fn restarted(self) -> Phase {
        match self {
            Phase::Activating { step } | Phase::Baking { step } => Phase::Creating { step },
            other => other,
        }
    }
}

/// A deployment that is under way, as its row has it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Rollout {
    pub policy: Policy,
    /// Names of the alarms that end it.
    pub alarms: Vec<String>,
    /// When it began; milliseconds since 1970, as all moments here.
    pub started: i64,
    pub phase: Phase,
    /// When the phase began.
    pub since: i64,
}

impl Rollout {
    pub(super) fn new(policy: Policy, alarms: Vec<String>, now: i64) -> Rollout {
        Rollout { policy, alarms, started: now, phase: Phase::Creating { step: 0 }, since: now }
    }
}

/// Instances that the two configurations ask for, all variants together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sizes {
    pub old: u32,
    pub new: u32,
}

/// What should be.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(super) struct Wanted {
    /// Instances of the old fleet.
    pub old: u32,
    /// Instances of the new fleet.
    pub new: u32,
    /// Share of the traffic that the new fleet gets, 0 to 1.
    pub share: f64,
}

/// What an alarm says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Heard {
    /// OK, or too little data to say.
    Quiet,
    Alarm,
    /// It was deleted: nobody watches any more.
    Gone,
}

/// A fleet as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Fleet {
    /// As many instances are ready as are wanted.
    pub ready: bool,
    /// Why its instances do not become ready.
    pub failed: Option<String>,
}

/// What the decision rests on.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    pub now: i64,
    pub alarms: Vec<(String, Heard)>,
    pub old: Fleet,
    pub new: Fleet,
}

/// What to do.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Next {
    /// Nothing yet.
    Wait,
    /// The phase is over.
    Go(Phase),
    /// The new fleet serves; the old one may stop.
    Done,
    /// The old fleet serves again; the new one may stop.
    RolledBack,
    /// The old fleet cannot be brought back: both go on as they are.
    Stuck(String),
}

/// How often traffic is shifted.
fn steps(policy: &Policy, sizes: Sizes) -> u32 {
    match policy {
        Policy::BlueGreen { shift: Shift::AllAtOnce, .. } => 1,
        Policy::BlueGreen { shift: Shift::Canary(_), .. } => 2,
        Policy::BlueGreen { shift: Shift::Linear(size), .. } => {
            // At least 10 % a step, and never none: validated, and bounded here.
            let share = size.share(sizes.new).max(0.01);
            // The small subtraction makes 3 steps of one third 3, not 4.
            (1.0 / share - 1e-9).ceil() as u32
        }
        Policy::Rolling { batch, .. } => sizes.new.div_ceil(batch.of(sizes.new)).max(1),
    }
}

/// The new fleet's share of the traffic in a step.
fn share_at(policy: &Policy, sizes: Sizes, step: u32) -> f64 {
    if step + 1 >= steps(policy, sizes) {
        return 1.0;
    }
    match policy {
        Policy::BlueGreen { shift: Shift::AllAtOnce, .. } => 1.0,
        Policy::BlueGreen { shift: Shift::Canary(size), .. } => size.share(sizes.new),
        Policy::BlueGreen { shift: Shift::Linear(size), .. } => {
            (size.share(sizes.new) * f64::from(step + 1)).min(1.0)
        }
        Policy::Rolling { .. } => part(new_at(policy, sizes, step), sizes.new),
    }
}

/// Instances of the new fleet in a step.
fn new_at(policy: &Policy, sizes: Sizes, step: u32) -> u32 {
    match policy {
        Policy::BlueGreen { .. } => sizes.new,
        Policy::Rolling { batch, .. } => {
            batch.of(sizes.new).saturating_mul(step + 1).min(sizes.new)
        }
    }
}

/// Instances of the old fleet in a step: those of the steps that have baked are gone.
fn old_at(policy: &Policy, sizes: Sizes, step: u32) -> u32 {
    match (policy, step) {
        (Policy::BlueGreen { .. }, _) | (_, 0) => sizes.old,
        (Policy::Rolling { .. }, step) => {
            let replaced = new_at(policy, sizes, step - 1);
            rounded_up(sizes.old, 1.0 - part(replaced, sizes.new))
        }
    }
}

/// So many of `total` that they carry `share` of its load.
fn rounded_up(total: u32, share: f64) -> u32 {
    ((f64::from(total) * share - 1e-9).ceil().max(0.0) as u32).min(total)
}

/// What should be in the rollout's phase.
pub(super) fn wanted(rollout: &Rollout, sizes: Sizes) -> Wanted {
    let policy = &rollout.policy;
    let at = |step, share| Wanted {
        old: old_at(policy, sizes, step),
        new: new_at(policy, sizes, step),
        share,
    };
    match &rollout.phase {
        Phase::Creating { step: 0 } => at(0, 0.0),
        Phase::Creating { step } => at(*step, share_at(policy, sizes, step - 1)),
        Phase::Activating { step } | Phase::Baking { step } => {
            at(*step, share_at(policy, sizes, *step))
        }
        Phase::Terminating => at(steps(policy, sizes) - 1, 1.0),
        Phase::RollingBack { step, from, .. } => {
            let restored = restored_by(policy, sizes, from, *step);
            let share = 1.0 - part(restored, sizes.old);
            Wanted {
                old: restored_by(policy, sizes, from, *step + 1),
                // The last ones stop when all is over.
                new: match share > 0.0 {
                    true => from.new.min(rounded_up(sizes.new, share)),
                    false => from.new,
                },
                share,
            }
        }
    }
}

/// Instances of the old fleet that are there after so many steps back.
fn restored_by(policy: &Policy, sizes: Sizes, from: &Wanted, steps: u32) -> u32 {
    let batch = match policy {
        Policy::Rolling { rollback: Some(size), .. } => size.of(sizes.old),
        _ => sizes.old,
    };
    from.old.saturating_add(batch.saturating_mul(steps)).min(sizes.old)
}

/// Decides whether the phase is over and what comes then.
pub(super) fn next(rollout: &Rollout, sizes: Sizes, seen: &Seen) -> Next {
    let policy = &rollout.policy;
    if let Phase::RollingBack { step, from, cause } = &rollout.phase {
        if let Some(reason) = &seen.old.failed {
            return Next::Stuck(format!("{cause} The rollback failed as well: {reason}"));
        }
        if !seen.old.ready {
            return Next::Wait;
        }
        if restored_by(policy, sizes, from, step + 1) >= sizes.old {
            return Next::RolledBack;
        }
        return Next::Go(Phase::RollingBack { step: step + 1, from: *from, cause: cause.clone() });
    }
    if let Some(cause) = trouble(rollout, seen) {
        return Next::Go(Phase::RollingBack { step: 0, from: wanted(rollout, sizes), cause });
    }
    let waited = |wait: i64| seen.now.saturating_sub(rollout.since) >= wait;
    match (&rollout.phase, policy) {
        (Phase::Creating { step }, _) if seen.new.ready => {
            Next::Go(Phase::Activating { step: *step })
        }
        (Phase::Activating { step }, _) => Next::Go(Phase::Baking { step: *step }),
        (
            Phase::Baking { step },
            Policy::BlueGreen { wait_ms, .. } | Policy::Rolling { wait_ms, .. },
        ) if waited(*wait_ms) && seen.new.ready => {
            if step + 1 >= steps(policy, sizes) {
                return Next::Go(Phase::Terminating);
            }
            Next::Go(match policy {
                // Its instances are there already.
                Policy::BlueGreen { .. } => Phase::Activating { step: step + 1 },
                Policy::Rolling { .. } => Phase::Creating { step: step + 1 },
            })
        }
        (Phase::Terminating, Policy::BlueGreen { termination_wait_ms, .. })
            if !waited(*termination_wait_ms) =>
        {
            Next::Wait
        }
        (Phase::Terminating, _) if seen.new.ready => Next::Done,
        _ => Next::Wait,
    }
}

/// Why the deployment cannot go on.
fn trouble(rollout: &Rollout, seen: &Seen) -> Option<String> {
    let named = |heard: Heard| -> Vec<&str> {
        let found = seen.alarms.iter().filter(|(_, state)| *state == heard);
        found.map(|(name, _)| name.as_str()).collect()
    };
    let ringing = named(Heard::Alarm);
    if !ringing.is_empty() {
        return Some(format!(
            "The deployment was rolled back: CloudWatch alarm(s) [{}] of AutoRollbackConfiguration are in ALARM state.",
            ringing.join(", ")
        ));
    }
    let gone = named(Heard::Gone);
    if !gone.is_empty() {
        return Some(format!(
            "The deployment was rolled back: CloudWatch alarm(s) [{}] of AutoRollbackConfiguration do not exist any more.",
            gone.join(", ")
        ));
    }
    if let Some(reason) = &seen.new.failed {
        return Some(reason.clone());
    }
    let timeout = rollout.policy.timeout_ms()?;
    (seen.now.saturating_sub(rollout.started) >= timeout).then(|| {
        format!(
            "The deployment was rolled back: it was not done within MaximumExecutionTimeoutInSeconds ({} s).",
            timeout / 1000
        )
    })
}

/// The share of the traffic that the new fleet gets in fact: none while it has no instance that could
/// answer, and never more than is wanted.
pub(super) fn share_now(wanted: f64, new_answers: bool) -> f64 {
    if new_answers { wanted } else { 0.0 }
}

#[cfg(test)]
mod tests;

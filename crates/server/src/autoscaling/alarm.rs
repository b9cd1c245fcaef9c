//! Deciding as AWS does: when CloudWatch's alarms fire.

use std::future::Future;
use std::pin::Pin;
use std::sync::{PoisonError, Weak};

use kennel_scaling::alarm::State;
use kennel_scaling::scaler::{Decision, Signal, Vote, decide};
use kennel_wire::ServiceError;

use super::change::Change;
use super::mode::Mode;
use super::policy::{self, Meaning};
use super::rows::{self, PolicyKind, PolicyRow, TargetRow};
use super::{Autoscaling, Inner, words};
use crate::cloudwatch::alarms::{AlarmAction, Fired};
use crate::context::Timestamp;

/// What an alarm said when it fired last. Alarms fire again each minute, so that memory is enough.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen {
    metric: f64,
}

/// Takes what alarms ask for. The alarms outlive nobody: they hold the service weakly.
pub(super) struct Action {
    inner: Weak<Inner>,
}

impl Action {
    pub(super) fn of(service: &Autoscaling) -> Self {
        Action { inner: std::sync::Arc::downgrade(&service.inner) }
    }
}

impl AlarmAction for Action {
    fn run<'a>(
        &'a self,
        now: Timestamp,
        action_arn: &'a str,
        fired: &'a Fired,
    ) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>> {
        Box::pin(async move {
            let Some(inner) = self.inner.upgrade() else { return };
            let service = Autoscaling { inner };
            let (arn, fired) = (action_arn.to_owned(), fired.clone());
            // A task of its own: the caller's patience ends, a change that has begun does not.
            let task = tokio::spawn(async move {
                if let Err(e) = service.fire(now, &arn, &fired).await {
                    tracing::error!("alarm `{}`: {e}", fired.alarm);
                }
            });
            if let Err(e) = task.await {
                tracing::error!("an alarm's action ended early: {e}");
            }
        })
    }
}

/// A policy that was read.
pub(super) struct Read {
    pub row: PolicyRow,
    pub meaning: Meaning,
    /// Whether the fast mode decides for it.
    pub fast: bool,
}

impl Autoscaling {
    /// The policies of a target.
    pub(super) fn policies(&self, target: &TargetRow) -> Result<Vec<Read>, ServiceError> {
        let rows = self.read(|c| rows::policies(c, &target.resource))?;
        rows.into_iter()
            .map(|row| {
                let meaning = policy::read(&target.resource, row.kind, &row.configuration)?;
                let mode = Mode::of_policy(&target.tags, &row.name, self.inner.mode);
                let fast = mode == Mode::Fast && meaning.fast.is_some();
                Ok(Read { row, meaning, fast })
            })
            .collect()
    }

    /// An alarm asks a policy to act.
    pub(super) async fn fire(
        &self,
        now: Timestamp,
        arn: &str,
        fired: &Fired,
    ) -> Result<(), ServiceError> {
        let _deciding = self.inner.deciding.lock().await;
        // Other services' actions have such ARNs, too.
        let Some((target, policy)) = self.read(|c| rows::policy_by_arn(c, arn))? else {
            return Ok(());
        };
        let of = &target.resource;
        let own = policy.alarms.iter().any(|alarm| alarm.name == fired.alarm);
        if own && fired.metric.is_finite() {
            self.remember(&fired.alarm, fired.metric);
        }
        let policies = self.policies(&target)?;
        let fast = policies.iter().any(|read| read.fast && read.row.name == policy.name);
        let tracking = policy.kind == PolicyKind::TargetTracking;
        // A tracking policy acts on its own alarms alone.
        if fast || tracking && (!own || fired.state != State::Alarm || !fired.metric.is_finite()) {
            return Ok(());
        }
        let Some(facts) = self.inner.resources.facts(of)? else { return Ok(()) };
        let cause = words::alarm(&fired.alarm, fired.state.as_str(), &policy.name);
        if facts.busy.is_some() {
            return self.keep(of, cause, vec![words::unscalable()], now).await;
        }
        let mut votes = Vec::new();
        for read in &policies {
            let signal = if read.row.name == policy.name {
                self.signal_of(fired, read)
            } else {
                self.signal(read)?
            };
            votes.push(Vote { policy: &read.row.name, rule: &read.meaning.rule, signal });
        }
        let decision =
            decide(now.0, facts.desired, target.bounds, target.suspended, &votes, &target.memory);
        match decision {
            Decision::Keep { not_scaled } => self.keep(of, cause, not_scaled, now).await,
            Decision::Change { capacity, policy: decided, .. } => {
                let by = policies.iter().find(|read| read.row.name == decided);
                let rule = by.map(|read| read.meaning.rule.clone());
                let change = Change {
                    target: &target,
                    facts: &facts,
                    to: capacity,
                    cause: words::alarm(&fired.alarm, fired.state.as_str(), &decided),
                    rule,
                    patient: false,
                };
                self.change(change, now).await.map(drop)
            }
        }
    }

    /// What the alarm that has just fired says of its policy.
    fn signal_of(&self, fired: &Fired, read: &Read) -> Signal {
        let (metric, threshold) = (fired.metric, fired.threshold);
        match read.row.alarms.first() {
            // Without a datapoint, as after SetAlarmState, the first step beyond the threshold is meant.
            None if metric.is_finite() => Signal::Breach { metric, threshold },
            None => Signal::Breach { metric: threshold, threshold },
            Some(high) if high.name == fired.alarm => Signal::High { metric },
            Some(_) => Signal::Low { metric },
        }
    }

    /// What the alarms of another policy say now.
    fn signal(&self, read: &Read) -> Result<Signal, ServiceError> {
        // Beside a fast policy alarms alone take no instances away: the fast one does, once they agree, and
        // would bring them back a second later otherwise. A step policy's alarms call when they have something
        // to say.
        let [high, low] = read.row.alarms.as_slice() else { return Ok(Signal::Quiet) };
        if read.fast {
            return Ok(Signal::Quiet);
        }
        let state = |name: &str| self.inner.alarms.state(name);
        let (highs, lows) = (state(&high.name)?, state(&low.name)?);
        let alarm = Some(State::Alarm);
        Ok(if highs == alarm {
            // After a restart it is not known by how much; the alarm fires again within a minute.
            self.seen(&high.name).map_or(Signal::Quiet, |seen| Signal::High { metric: seen.metric })
        } else if lows == alarm {
            self.seen(&low.name).map_or(Signal::Quiet, |seen| Signal::Low { metric: seen.metric })
        } else if highs == Some(State::Ok) || lows == Some(State::Ok) {
            Signal::Quiet
        } else {
            Signal::NoData
        })
    }

    /// Is a policy's low alarm in ALARM?
    pub(super) fn is_low(&self, read: &Read) -> Result<bool, ServiceError> {
        match read.row.alarms.get(1) {
            Some(low) => Ok(self.inner.alarms.state(&low.name)? == Some(State::Alarm)),
            None => Ok(false),
        }
    }

    fn remember(&self, alarm: &str, metric: f64) {
        let mut fired = self.inner.fired.lock().unwrap_or_else(PoisonError::into_inner);
        fired.insert(alarm.to_owned(), Seen { metric });
    }

    fn seen(&self, alarm: &str) -> Option<Seen> {
        let fired = self.inner.fired.lock().unwrap_or_else(PoisonError::into_inner);
        fired.get(alarm).copied()
    }

    pub(super) fn forget_fired(&self, alarms: &[String]) {
        let mut fired = self.inner.fired.lock().unwrap_or_else(PoisonError::into_inner);
        fired.retain(|name, _| !alarms.contains(name));
    }
}

//! Deciding fast: twice a second, from the requests themselves. A variant without instances gets its first one
//! as soon as a request waits for it.

use std::sync::{MutexGuard, PoisonError};

use std::collections::HashMap;

use kennel_scaling::fast::{Fast, FastDecision, FastState, Measure};
use kennel_scaling::scaler::clamp;
use kennel_wire::ServiceError;

use super::alarm::Read;
use super::change::Change;
use super::resource::{Load, Resource};
use super::rows::{self, PolicyKind, TargetRow};
use super::{Autoscaling, words};
use crate::context::Timestamp;

/// The load of a variant since the last second.
#[derive(Debug, Default)]
pub(super) struct Watch {
    policies: Vec<Policy>,
    /// Requests in flight, summed over the samples.
    in_flight: f64,
    samples: u32,
    /// Requests ever, and when, at the last second.
    arrived: Option<(u64, Timestamp)>,
}

#[derive(Debug)]
struct Policy {
    name: String,
    fast: Fast,
    state: FastState,
}

impl Watch {
    fn sample(&mut self, load: &Load) {
        self.in_flight += load.in_flight as f64;
        self.samples += 1;
    }

    /// Ends a second: tells the policies what it brought.
    fn observe(&mut self, load: &Load, now: Timestamp) {
        let average = self.in_flight / f64::from(self.samples.max(1));
        let rate = match self.arrived {
            Some((before, then)) if now > then => {
                // A new deployment counts from zero again.
                let new = load.arrived.checked_sub(before).unwrap_or(load.arrived);
                Some(new as f64 * 60_000.0 / (now.0 - then.0) as f64)
            }
            _ => None,
        };
        for policy in &mut self.policies {
            match (policy.fast.measure, rate) {
                (Measure::Concurrency, _) => policy.state.observe(now.0, average),
                (Measure::RequestsPerMinute, Some(rate)) => policy.state.observe(now.0, rate),
                // The first second only begins to count.
                (Measure::RequestsPerMinute, None) => {}
            }
        }
        self.arrived = Some((load.arrived, now));
        (self.in_flight, self.samples) = (0.0, 0);
    }
}

impl Autoscaling {
    fn watches(&self) -> MutexGuard<'_, HashMap<Resource, Watch>> {
        self.inner.fast.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether anything is decided twice a second.
    pub(super) fn is_watching(&self) -> bool {
        !self.watches().is_empty()
    }

    /// Takes over which policies decide fast. What was seen of those that stay as they are is kept.
    pub(super) fn watch(&self) -> Result<(), ServiceError> {
        let mut wanted: HashMap<Resource, Vec<(String, Fast)>> = HashMap::new();
        for target in self.read(rows::targets)? {
            let fast: Vec<(String, Fast)> = self
                .policies(&target)?
                .into_iter()
                .filter(|read| read.fast)
                .filter_map(|read| Some((read.row.name, read.meaning.fast?)))
                .collect();
            if !fast.is_empty() {
                wanted.insert(target.resource, fast);
            }
        }
        let mut watches = self.watches();
        watches.retain(|of, _| wanted.contains_key(of));
        for (of, policies) in wanted {
            let watch = watches.entry(of).or_default();
            let mut before = std::mem::take(&mut watch.policies);
            for (name, fast) in policies {
                let same = before.iter().position(|p| p.name == name && p.fast == fast);
                watch.policies.push(match same {
                    Some(place) => before.swap_remove(place),
                    None => Policy { name, fast, state: FastState::default() },
                });
            }
        }
        Ok(())
    }

    /// Looks at the load; ten times a second.
    pub(super) fn sample(&self) {
        for (of, watch) in self.watches().iter_mut() {
            if let Some(load) = self.inner.resources.load(of) {
                watch.sample(&load);
            }
        }
    }

    /// Decides; twice a second.
    pub(super) async fn decide_fast(&self, now: Timestamp) -> Result<(), ServiceError> {
        let watched: Vec<Resource> = self.watches().keys().cloned().collect();
        for of in watched {
            let Some(load) = self.inner.resources.load(&of) else { continue };
            if let Some(watch) = self.watches().get_mut(&of) {
                watch.sample(&load);
                watch.observe(&load, now);
            }
            self.decide_one(&of, &load, now).await?;
        }
        Ok(())
    }

    async fn decide_one(
        &self,
        of: &Resource,
        load: &Load,
        now: Timestamp,
    ) -> Result<(), ServiceError> {
        let _deciding = self.inner.deciding.lock().await;
        let Some(target) = self.read(|c| rows::target(c, of))? else { return Ok(()) };
        let Some(facts) = self.inner.resources.facts(of)? else { return Ok(()) };
        if facts.busy.is_some() {
            return Ok(());
        }
        let decided = {
            let mut watches = self.watches();
            let Some(watch) = watches.get_mut(of) else { return Ok(()) };
            let decisions = watch.policies.iter_mut().map(|policy| {
                let decision = policy.state.decide(
                    &policy.fast,
                    now.0,
                    load.ready,
                    facts.desired,
                    target.bounds,
                );
                (policy.name.clone(), decision)
            });
            // Any may ask for more, all must agree to fewer; the first of equals is named.
            decisions
                .reduce(|most, next| if next.1.capacity > most.1.capacity { next } else { most })
        };
        let Some((name, decision)) = decided else { return Ok(()) };
        let policies = self.policies(&target)?;
        if !self.may(&target, facts.desired, &decision, &policies)? {
            return Ok(());
        }
        let change = Change {
            target: &target,
            facts: &facts,
            to: decision.capacity,
            cause: words::fast(&name, &decision.reason),
            // Cooldowns are of decisions on minutes.
            rule: None,
            patient: true,
        };
        self.change(change, now).await.map(drop)
    }

    /// Is this a change, and one that nobody holds back?
    fn may(
        &self,
        target: &TargetRow,
        desired: u32,
        decision: &FastDecision,
        policies: &[Read],
    ) -> Result<bool, ServiceError> {
        if decision.capacity > desired {
            return Ok(!target.suspended.scale_out);
        }
        if decision.capacity == desired || target.suspended.scale_in {
            return Ok(false);
        }
        for read in policies {
            let by_alarms = !read.fast && read.row.kind == PolicyKind::TargetTracking;
            if by_alarms && !self.is_low(read)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Gives a first instance to variants that requests wait for. Every registered variant has that, whatever
    /// its policies are: requests would wait in vain otherwise.
    pub(super) async fn wake(&self, now: Timestamp) -> Result<(), ServiceError> {
        for target in self.read(rows::targets)? {
            let Some(load) = self.inner.resources.load(&target.resource) else { continue };
            if load.held == 0 || load.ready > 0 || target.suspended.scale_out {
                continue;
            }
            let _deciding = self.inner.deciding.lock().await;
            let Some(facts) = self.inner.resources.facts(&target.resource)? else { continue };
            if facts.desired > 0 || facts.busy.is_some() {
                continue;
            }
            let change = Change {
                target: &target,
                facts: &facts,
                to: clamp(1, target.bounds),
                cause: words::wake(load.held),
                rule: None,
                patient: true,
            };
            self.change(change, now).await?;
        }
        Ok(())
    }
}

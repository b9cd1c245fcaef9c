//! Makes a deployment happen: brings the fleets to what [`plan::wanted`] says, looks at them and at the
//! alarms, and writes the phase that [`plan::next`] answers into the row before anything follows from it.
//! Killed at any moment, the server finds the phase in the row and goes on, or goes back.

use std::sync::Arc;
use std::time::Duration;

use kennel_scaling::alarm::State;
use kennel_wire::ServiceError;

use super::live::LiveEndpoint;
use super::plan::{self, Fleet, Heard, Phase, Policy, Rollout, Seen, Sizes, Wanted};
use super::reconcile::{Manager, Next, remove};
use super::{Deployment, Endpoint, Status, Stuck, fleet};

/// How often alarms and clocks are looked at while something is deployed.
pub(super) const TICK: Duration = Duration::from_millis(250);
/// `FailureReason` is at most so long.
const LONGEST_REASON: usize = 1024;

impl Manager {
    /// One step of a deployment.
    pub(super) async fn deploy(
        &mut self,
        row: &Endpoint,
        target: Deployment,
    ) -> Result<Next, ServiceError> {
        // Rows of versions that knew no policies have none.
        let rollout = row.rollout.clone().unwrap_or_else(|| {
            Rollout::new(Policy::at_once(), Vec::new(), self.inner.clock.now().0)
        });
        if std::mem::take(&mut self.fresh) {
            let phase = rollout.phase.clone().restarted();
            if phase != rollout.phase {
                return self.enter(&target, &rollout, phase).await;
            }
        }
        let current = row.current.as_ref();
        let sizes =
            Sizes { old: current.map_or(0, Deployment::instances), new: target.instances() };
        let mut wanted = plan::wanted(&rollout, sizes);
        if let Some(stuck) = &row.stuck {
            wanted.old = stuck.serving.old;
        }
        let old = match current {
            Some(current) => self.old_fleet(current, row.stuck.as_ref(), &wanted).await,
            // Nothing served before: there is nothing to wait for.
            None => Fleet { ready: true, failed: None },
        };
        let new = self.new_fleet(&target, &wanted).await;
        self.route(row, &target, &wanted);
        let seen =
            Seen { now: self.inner.clock.now().0, alarms: self.alarms(&rollout.alarms), old, new };
        match plan::next(&rollout, sizes, &seen) {
            plan::Next::Wait => {
                self.pause(TICK).await;
                Ok(Next::Again)
            }
            // There is nothing to go back to.
            plan::Next::Go(Phase::RollingBack { cause, .. }) if current.is_none() => {
                self.failed(&target, cause).await
            }
            plan::Next::Go(phase) => self.enter(&target, &rollout, phase).await,
            plan::Next::Done => self.done(&target).await,
            plan::Next::RolledBack => self.rolled_back(&target, &rollout).await,
            plan::Next::Stuck(reason) => self.stuck(&target, wanted, reason).await,
        }
    }

    /// Brings up or resizes what served before.
    async fn old_fleet(
        &mut self,
        current: &Deployment,
        stuck: Option<&Stuck>,
        wanted: &Wanted,
    ) -> Fleet {
        if let (Some(stuck), None) = (stuck, &self.second) {
            self.second = self.started(&stuck.deployment, stuck.serving.new).await;
        }
        if self.serving.is_none() {
            self.serving = self.started(current, wanted.old).await;
        }
        match &self.serving {
            Some(serving) => {
                fleet::resize(serving, current, wanted.old);
                fleet::state(serving, current, wanted.old)
            }
            None => Fleet { ready: false, failed: Some("its model cannot be read".to_owned()) },
        }
    }

    /// Brings up or resizes what is to serve.
    async fn new_fleet(&mut self, target: &Deployment, wanted: &Wanted) -> Fleet {
        if self.arriving.as_ref().is_none_or(|fleet| fleet.deployment != target.number) {
            let other = self.arriving.take();
            self.retire(other);
            let folder = self.deployment_folder(target.number);
            match fleet::start(&self.inner, &self.name, target, wanted.new, &folder).await {
                Ok(fleet) => self.arriving = Some(fleet),
                Err(reason) => return Fleet { ready: false, failed: Some(reason) },
            }
        }
        match &self.arriving {
            Some(arriving) => {
                fleet::resize(arriving, target, wanted.new);
                fleet::state(arriving, target, wanted.new)
            }
            None => Fleet::default(),
        }
    }

    /// Gives each fleet its share of the traffic, as far as there is somebody to answer.
    fn route(&self, row: &Endpoint, target: &Deployment, wanted: &Wanted) {
        let arriving = self.arriving.as_ref();
        let answers = arriving.is_some_and(|new| fleet::answers(new, target, wanted.new));
        let share = plan::share_now(wanted.share, answers);
        let (Some(current), Some(serving)) = (&row.current, &self.serving) else {
            // The first deployment, or the old fleet cannot be brought back after a restart.
            let Some(arriving) = arriving else { return };
            let share = if row.current.is_none() || share >= 1.0 { share } else { 0.0 };
            return self.inner.live.open(&self.name, vec![(arriving.clone(), share)]);
        };
        if let Some(stuck) = &row.stuck {
            return self.route_both(current, stuck, arriving.map(|new| (new, share)));
        }
        // After a restart nothing is opened before the old fleet answers, if it gets anything.
        let old = match fleet::answers(serving, current, wanted.old) || self.is_open() {
            true => 1.0 - share,
            false => 0.0,
        };
        let mut fleets = vec![(serving.clone(), old)];
        if let Some(arriving) = arriving {
            // Alone it gets no more than its share: the other requests are told to come again.
            let share = if old + share >= 1.0 - 1e-9 { share } else { 0.0 };
            fleets.push((arriving.clone(), share));
        }
        self.inner.live.open(&self.name, fleets);
    }

    /// Traffic is taken already.
    fn is_open(&self) -> bool {
        self.inner.live.get(&self.name).is_some()
    }

    /// The traffic between the two fleets of a rollback that failed, and a third one that is deployed.
    pub(super) fn route_both(
        &self,
        current: &Deployment,
        stuck: &Stuck,
        arriving: Option<(&Arc<LiveEndpoint>, f64)>,
    ) {
        let serving = stuck.serving;
        let first = self.serving.as_ref();
        let second = self.second.as_ref();
        let first_answers = first.is_some_and(|f| fleet::answers(f, current, serving.old));
        let second_answers =
            second.is_some_and(|f| fleet::answers(f, &stuck.deployment, serving.new));
        let share = match (first_answers, second_answers) {
            (true, true) => serving.share,
            (true, false) => 0.0,
            (false, true) => 1.0,
            (false, false) => serving.share,
        };
        let rest = 1.0 - arriving.map_or(0.0, |(_, share)| share);
        let mut fleets = Vec::new();
        fleets.extend(first.map(|fleet| (fleet.clone(), rest * (1.0 - share))));
        fleets.extend(second.map(|fleet| (fleet.clone(), rest * share)));
        fleets.extend(arriving.map(|(fleet, share)| (fleet.clone(), share)));
        self.inner.live.open(&self.name, fleets);
    }

    fn alarms(&self, names: &[String]) -> Vec<(String, Heard)> {
        let heard = |name: &String| match self.inner.alarms.state(name) {
            Ok(Some(State::Alarm)) => Heard::Alarm,
            Ok(Some(_)) => Heard::Quiet,
            Ok(None) => Heard::Gone,
            Err(e) => {
                tracing::warn!("alarm `{name}` cannot be read: {e}");
                Heard::Quiet
            }
        };
        names.iter().map(|name| (name.clone(), heard(name))).collect()
    }

    /// Writes the next phase.
    async fn enter(
        &self,
        target: &Deployment,
        rollout: &Rollout,
        phase: Phase,
    ) -> Result<Next, ServiceError> {
        let now = self.inner.clock.now();
        let rolls_back = matches!(phase, Phase::RollingBack { .. });
        if let Phase::RollingBack { step: 0, cause, .. } = &phase {
            tracing::warn!("endpoint `{}`: {cause}", self.name);
        }
        let next = Rollout { phase, since: now.0, ..rollout.clone() };
        self.change(target.number, move |endpoint| {
            endpoint.rollout = Some(next);
            if rolls_back && endpoint.status != Status::RollingBack {
                endpoint.status = Status::RollingBack;
                endpoint.modified = now;
            }
        })
        .await?;
        Ok(Next::Again)
    }

    /// The new fleet serves.
    async fn done(&mut self, target: &Deployment) -> Result<Next, ServiceError> {
        let now = self.inner.clock.now();
        self.change(target.number, move |endpoint| {
            endpoint.current = endpoint.target.take();
            endpoint.rollout = None;
            endpoint.stuck = None;
            endpoint.status = Status::InService;
            endpoint.failure = None;
            endpoint.modified = now;
        })
        .await?;
        let Some(arriving) = self.arriving.take() else { return Ok(Next::Again) };
        self.inner.live.open(&self.name, vec![(arriving.clone(), 1.0)]);
        let old = self.serving.replace(arriving);
        self.retire(old);
        let second = self.second.take();
        self.retire(second);
        Ok(Next::Again)
    }

    /// The old fleet serves again.
    async fn rolled_back(
        &mut self,
        target: &Deployment,
        rollout: &Rollout,
    ) -> Result<Next, ServiceError> {
        let now = self.inner.clock.now();
        let cause = match &rollout.phase {
            Phase::RollingBack { cause, .. } => cause.chars().take(LONGEST_REASON).collect(),
            _ => String::new(),
        };
        // INVARIANT: the new fleet gets no requests before the row says that it is gone for good.
        if let (Some(serving), None) = (&self.serving, &self.second) {
            self.inner.live.open(&self.name, vec![(serving.clone(), 1.0)]);
        }
        self.change(target.number, move |endpoint| {
            endpoint.target = None;
            endpoint.rollout = None;
            endpoint.status = match endpoint.stuck {
                Some(_) => Status::UpdateRollbackFailed,
                None => Status::InService,
            };
            endpoint.failure = Some(cause);
            endpoint.modified = now;
        })
        .await?;
        self.retire_arriving(target).await;
        Ok(Next::Again)
    }

    /// Neither forth nor back: both fleets go on with the traffic that they have.
    async fn stuck(
        &mut self,
        target: &Deployment,
        wanted: Wanted,
        reason: String,
    ) -> Result<Next, ServiceError> {
        tracing::error!("endpoint `{}`: {reason}", self.name);
        let now = self.inner.clock.now();
        let reason: String = reason.chars().take(LONGEST_REASON).collect();
        let kept = target.clone();
        self.change(target.number, move |endpoint| {
            endpoint.target = None;
            endpoint.rollout = None;
            // Of two that are stuck already, those stay; what came third goes.
            if endpoint.stuck.is_none() {
                endpoint.stuck = Some(Stuck { deployment: kept, serving: wanted });
            }
            endpoint.status = Status::UpdateRollbackFailed;
            endpoint.failure = Some(reason);
            endpoint.modified = now;
        })
        .await?;
        let arriving = self.arriving.take();
        match self.second {
            None => self.second = arriving,
            Some(_) => self.retire(arriving),
        }
        Ok(Next::Again)
    }

    /// The first deployment did not succeed.
    async fn failed(&mut self, target: &Deployment, reason: String) -> Result<Next, ServiceError> {
        tracing::warn!("endpoint `{}`: {reason}", self.name);
        let now = self.inner.clock.now();
        let reason: String = reason.chars().take(LONGEST_REASON).collect();
        self.change(target.number, move |endpoint| {
            endpoint.target = None;
            endpoint.rollout = None;
            endpoint.status = Status::Failed;
            endpoint.failure = Some(reason);
            endpoint.modified = now;
        })
        .await?;
        self.inner.live.close(&self.name);
        self.retire_arriving(target).await;
        Ok(Next::Wait)
    }

    /// What was to serve goes, with what was unpacked for it.
    async fn retire_arriving(&mut self, target: &Deployment) {
        match self.arriving.take() {
            Some(arriving) => self.retire(Some(arriving)),
            None => remove(&self.deployment_folder(target.number)).await,
        }
    }

    /// Changes the row while this deployment is the one under way.
    async fn change(
        &self,
        number: u64,
        change: impl FnOnce(&mut Endpoint) + Send + 'static,
    ) -> Result<(), ServiceError> {
        let changed = self.inner.rows.change::<Endpoint, ()>(&self.name, move |endpoint| {
            if endpoint.target.as_ref().is_some_and(|target| target.number == number) {
                change(endpoint);
            }
            Ok(())
        });
        changed.await.map(|_| ())
    }
}

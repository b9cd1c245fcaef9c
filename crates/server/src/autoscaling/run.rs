//! The task: samples load and wakes variants, ends activities, does what is scheduled, and forgets what is
//! gone. Each step follows from the rows, so that the order of events and restarts do not matter.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use kennel_scaling::fast::TICK_MS;
use kennel_wire::ServiceError;
use tokio::sync::watch;

use super::{Autoscaling, rows};
use crate::context::Timestamp;

/// How often load is looked at, and whether activities are finished.
const SAMPLE: Duration = Duration::from_millis(100);
/// How often is decided, and all else done.
const DECIDE: Duration = Duration::from_millis(TICK_MS.unsigned_abs());

impl Autoscaling {
    /// Acts until `shutdown` turns true.
    pub(crate) async fn run(&self, mut shutdown: watch::Receiver<bool>) {
        logged("the alarms of policies", self.restore((self.inner.now)()).await);
        let mut stale = true;
        let mut decided = Instant::now();
        loop {
            if stale {
                logged("what is decided fast", self.watch());
                stale = false;
            }
            let busy = self.is_watching() || self.inner.unsettled.load(Ordering::Acquire);
            let held = tokio::select! {
                _ = shutdown.wait_for(|stop| *stop) => return,
                () = self.inner.resources.held() => true,
                () = self.inner.changed.notified() => { stale = true; false }
                () = tokio::time::sleep(if busy { SAMPLE } else { DECIDE }) => false,
            };
            let now = (self.inner.now)();
            if held {
                logged("requests that wait", self.wake(now).await);
            }
            self.sample();
            if self.inner.unsettled.load(Ordering::Acquire) {
                logged("activities", self.settle(now).await);
            }
            if decided.elapsed() >= DECIDE {
                decided = Instant::now();
                self.second(now).await;
            }
        }
    }

    /// What is done twice a second.
    pub(super) async fn second(&self, now: Timestamp) {
        logged("fast decisions", self.decide_fast(now).await);
        logged("requests that wait", self.wake(now).await);
        logged("scheduled actions", self.do_scheduled(now).await);
        logged("targets", self.tidy(now).await);
    }

    /// Forgets the targets whose resource is gone, as AWS does, and brings others inside their bounds that
    /// could not be when those were set.
    async fn tidy(&self, now: Timestamp) -> Result<(), ServiceError> {
        for target in self.read(rows::targets)? {
            if self.inner.resources.facts(&target.resource)?.is_none() {
                tracing::info!("`{}` is gone, and no longer scaled", target.resource);
                self.forget(&target.resource).await?;
            } else if target.unbounded {
                let _deciding = self.inner.deciding.lock().await;
                // It may have been done while this waited.
                let target = self.read(|c| rows::target(c, &target.resource))?;
                if let Some(target) = target.filter(|target| target.unbounded) {
                    self.bring_inside(&target, now).await;
                }
            }
        }
        Ok(())
    }

    /// Makes the alarms that lack: a policy's row is written before them.
    pub(super) async fn restore(&self, now: Timestamp) -> Result<(), ServiceError> {
        for target in self.read(rows::targets)? {
            for read in self.policies(&target)? {
                let mut whole = true;
                for alarm in &read.row.alarms {
                    whole &= self.inner.alarms.state(&alarm.name)?.is_some();
                }
                if !whole {
                    self.make_alarms(&read.row, &read.meaning, now).await?;
                }
            }
        }
        Ok(())
    }
}

fn logged(what: &str, outcome: Result<(), ServiceError>) {
    if let Err(e) = outcome {
        tracing::error!("autoscaling: {what}: {e}");
    }
}

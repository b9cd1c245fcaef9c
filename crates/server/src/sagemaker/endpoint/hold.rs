//! The way of a request to a variant that may have no instances yet: scaled to zero by the fast
//! autoscaler, or asleep because the endpoint was idle. The request wakes the variant and waits for its
//! first instance, within bounds of number ([`MOST_HELD`]) and time (the invocation's own); a caller who
//! hangs up is forgotten, because the waiting is the caller's own future.

use std::time::Duration;

use kennel_hosting::pool::{InvokeError, Pool, Request, Response};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::live::{Live, LiveVariant};
use super::load::MOST_HELD;
use crate::sagemaker::Inner;

/// Times that an instance may fail before nobody waits for it any more.
const FAILURES: u32 = 3;
/// How often a waiting request looks whether its fleet still serves.
const LOOK: Duration = Duration::from_millis(100);

/// Whose request it is, and what waiting needs of the service.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scene<'a> {
    pub endpoint: &'a str,
    pub live: &'a Live,
    /// Rows are to be looked at.
    pub endpoints_changed: &'a Notify,
    /// Somebody waits.
    pub held_changed: &'a Notify,
}

impl<'a> Scene<'a> {
    /// An endpoint of the service.
    pub(super) fn of(inner: &'a Inner, endpoint: &'a str) -> Scene<'a> {
        Scene {
            endpoint,
            live: &inner.live,
            endpoints_changed: &inner.endpoints_changed,
            held_changed: &inner.held_changed,
        }
    }
}

/// What became of a request.
#[derive(Debug)]
pub(super) enum Sent {
    /// The model answered, with whatever status.
    Answered(Response),
    /// The fleet was replaced meanwhile: choose again.
    Moved,
}

/// Why a request has no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotSent {
    /// As many wait already as may.
    #[error("{MOST_HELD} requests wait already for the variant's first instance; try again later")]
    TooMany,
    /// No instance came within the invocation's time.
    #[error("no instance of the variant became ready within the invocation's time; try again")]
    Late,
    /// The first instance does not start.
    #[error("the variant's instances do not start: {0}")]
    Failing(String),
    /// The pool's words.
    #[error(transparent)]
    Invoke(#[from] InvokeError),
}

/// Sends a request to one of the variant's instances; where there is none, it wakes the variant and
/// waits. The request is counted in the variant's load for as long as this takes.
pub(super) async fn send(
    scene: Scene<'_>,
    variant: &LiveVariant,
    request: Request,
    deadline: Instant,
) -> Result<Sent, NotSent> {
    let _counted = variant.load.enter();
    let mut waited = false;
    loop {
        if variant.pool.routed() == 0 {
            if !first_instance(scene, variant, deadline).await? {
                return Ok(Sent::Moved);
            }
            waited = true;
        }
        let sent = tokio::time::timeout_at(deadline, variant.pool.invoke(request.clone()));
        match sent.await {
            Ok(Ok(response)) => return Ok(Sent::Answered(response)),
            Err(_) => {
                return Err(InvokeError::Timeout(variant.pool.deadline()).into());
            }
            Ok(Err(InvokeError::NotReady { .. })) if !serves(scene, variant) => {
                return Ok(Sent::Moved);
            }
            // Its instances went to sleep between the look and the call.
            Ok(Err(InvokeError::NotReady { .. })) if waits(&variant.pool) => {}
            // All who waited come at once; who has waited so long is not refused for that.
            Ok(Err(InvokeError::Throttled)) if waited => {
                let _held = variant.load.hold().ok_or(InvokeError::Throttled)?;
                // The last one may have ended before this one waited.
                let _ = tokio::time::timeout(LOOK, variant.load.freed()).await;
            }
            Ok(Err(error)) => return Err(error.into()),
        }
    }
}

/// Waits until the variant has an instance; false when it does not take this endpoint's traffic any
/// more.
async fn first_instance(
    scene: Scene<'_>,
    variant: &LiveVariant,
    deadline: Instant,
) -> Result<bool, NotSent> {
    if !serves(scene, variant) {
        return Ok(false);
    }
    // Instances that have failed are started again, and the caller is told to try again meanwhile.
    if !waits(&variant.pool) {
        return Err(InvokeError::NotReady { reason: variant.pool.status().failing }.into());
    }
    let _held = variant.load.hold().ok_or(NotSent::TooMany)?;
    let mut changes = variant.pool.watch();
    wake(scene, variant);
    loop {
        let failing = {
            let status = changes.borrow_and_update();
            (status.failures >= FAILURES).then(|| status.failing.clone().unwrap_or_default())
        };
        if let Some(reason) = failing {
            return Err(NotSent::Failing(reason));
        }
        if variant.pool.routed() > 0 {
            return Ok(true);
        }
        if !serves(scene, variant) {
            return Ok(false);
        }
        tokio::select! {
            _ = changes.changed() => {}
            () = tokio::time::sleep(LOOK) => {}
            () = tokio::time::sleep_until(deadline) => return Err(NotSent::Late),
        }
    }
}

/// Brings a sleeping variant's instances back and tells the autoscaler that somebody waits.
fn wake(scene: Scene<'_>, variant: &LiveVariant) {
    if let Some(count) = variant.load.wake() {
        variant.pool.scale(count);
        // The row knows better how many there should be.
        scene.endpoints_changed.notify_waiters();
    }
    scene.held_changed.notify_one();
}

/// Does a fleet of the endpoint still have this variant?
fn serves(scene: Scene<'_>, variant: &LiveVariant) -> bool {
    let fleets = scene.live.variants(scene.endpoint, &variant.name);
    fleets.iter().any(|live| live.pool.same(&variant.pool))
}

/// Is it worth waiting for an instance: is there to be none, or is a first one on its way?
fn waits(pool: &Pool) -> bool {
    let status = pool.status();
    status.desired == 0 || status.failures == 0
}

#[cfg(test)]
mod tests;

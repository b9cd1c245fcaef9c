//! Idle endpoints: an endpoint with the tag `kennel:idle-timeout` (whole seconds) stops its instances
//! after so long without a request. The rows stay as they are: the desired counts, the status. The next
//! request waits for the instances that it wakes. After a restart of the server an endpoint starts awake.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::live::{LiveEndpoint, LiveVariant};
use super::{Endpoint, Status};
use crate::sagemaker::Inner;

/// The tag.
pub(super) const TAG: &str = "kennel:idle-timeout";
/// How often endpoints are looked at.
const PERIOD: Duration = Duration::from_secs(1);
/// Looks between two readings of the tags.
const READ: u32 = 5;

/// An endpoint as this task last saw it.
#[derive(Debug)]
struct Seen {
    timeout: Option<Duration>,
    arrived: u64,
    since: Instant,
}

impl Seen {
    /// Has nothing arrived for the timeout?
    fn idle(&mut self, now: Instant, arrived: u64, in_flight: u64) -> bool {
        if arrived != self.arrived || in_flight > 0 {
            self.arrived = arrived;
            self.since = now;
        }
        self.timeout.is_some_and(|timeout| now.duration_since(self.since) >= timeout)
    }
}

/// Puts idle endpoints to sleep until `shutdown` turns true.
pub(in crate::sagemaker) async fn run(inner: Arc<Inner>, mut shutdown: watch::Receiver<bool>) {
    let mut seen: HashMap<String, Seen> = HashMap::new();
    let mut looks = 0u32;
    loop {
        tokio::select! {
            _ = shutdown.wait_for(|stop| *stop) => return,
            () = tokio::time::sleep(PERIOD) => {}
        }
        let mut endpoints: BTreeMap<String, Vec<Arc<LiveEndpoint>>> = BTreeMap::new();
        for fleet in inner.live.all() {
            endpoints.entry(fleet.name.clone()).or_default().push(fleet);
        }
        seen.retain(|name, _| endpoints.contains_key(name));
        for (name, fleets) in &endpoints {
            let now = Instant::now();
            let (arrived, in_flight) = load(fleets);
            let known =
                seen.entry(name.clone()).or_insert(Seen { timeout: None, arrived, since: now });
            if looks.is_multiple_of(READ) {
                known.timeout = timeout(&inner, name);
            }
            if known.idle(now, arrived, in_flight) {
                sleep(&inner, name, fleets);
            }
        }
        looks = looks.wrapping_add(1);
    }
}

/// What has arrived at an endpoint and is in flight, copies for shadow variants left out.
fn load(fleets: &[Arc<LiveEndpoint>]) -> (u64, u64) {
    let loads = || fleets.iter().flat_map(|fleet| &fleet.variants).map(|variant| &variant.load);
    (loads().map(|load| load.arrived()).sum(), loads().map(|load| load.in_flight()).sum())
}

/// What the endpoint's tag says; `None` for no tag, and for what is no number of seconds above 0.
fn timeout(inner: &Inner, name: &str) -> Option<Duration> {
    let row = inner.rows.get::<Endpoint>(name).ok().flatten()?;
    let tags = inner.rows.tags(&row.arn).ok()?;
    let (_, value) = tags.into_iter().find(|(key, _)| key == TAG)?;
    seconds(&value)
}

fn seconds(value: &str) -> Option<Duration> {
    let seconds: u32 = value.trim().parse().ok().filter(|seconds| *seconds > 0)?;
    Some(Duration::from_secs(seconds.into()))
}

/// Stops the instances of all variants; only in quiet times of the endpoint.
fn sleep(inner: &Inner, name: &str, fleets: &[Arc<LiveEndpoint>]) {
    let variants = || fleets.iter().flat_map(|fleet| fleet.variants.iter().chain(&fleet.shadows));
    let desired = |variant: &LiveVariant| match variant.load.asleep() {
        true => 0,
        false => variant.pool.counts().2,
    };
    if variants().all(|variant| desired(variant) == 0) {
        return;
    }
    let row = inner.rows.get::<Endpoint>(name).ok().flatten();
    if !row.is_some_and(|row| row.status == Status::InService && row.target.is_none()) {
        return;
    }
    for variant in variants() {
        let instances = desired(variant);
        if instances > 0 {
            // Marked first: a request that comes now and finds no instance sees the mark and wakes the
            // variant. One that still finds an instance is let finish by the pool.
            variant.load.sleep(instances);
            variant.pool.scale(0);
        }
    }
    tracing::info!("endpoint `{name}` is idle: its instances are stopped");
}

#[cfg(test)]
mod tests;

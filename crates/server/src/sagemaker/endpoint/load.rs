//! What a variant has to do: requests that have arrived, that are being answered, that wait for a first
//! instance. Counted by every invocation with atomics alone; read by the autoscaler ten times a second.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use tokio::sync::Notify;

use super::metrics::{Names, VariantMetrics};
use super::shadow::Copies;
use crate::cloudwatch::Recorder;

/// Requests of one variant that may wait for its first instance. As many as four instances work on at a
/// time; more are refused at once, because they would wait for longer than callers do.
pub(super) const MOST_HELD: u64 = 256;

/// A variant's load. The counts are of this fleet: a new deployment of the endpoint begins with zeros.
#[derive(Debug, Default)]
pub(in crate::sagemaker) struct Load {
    arrived: AtomicU64,
    in_flight: AtomicU64,
    held: AtomicU64,
    /// Instances that were stopped because nobody asked for anything; 0 while it is awake. The row's
    /// count stays.
    asleep: AtomicUsize,
    /// A place has become free while requests wait.
    freed: Notify,
    /// Of a shadow variant.
    copies: Copies,
    metrics: OnceLock<VariantMetrics>,
}

impl Load {
    /// Counts a request, until the guard is dropped.
    pub(super) fn enter(&self) -> InFlight<'_> {
        self.arrived.fetch_add(1, Ordering::Relaxed);
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        InFlight { load: self }
    }

    /// Counts a request that waits for an instance, until the guard is dropped; `None` when as many wait
    /// as may.
    pub(super) fn hold(&self) -> Option<Held<'_>> {
        let before = self.held.fetch_add(1, Ordering::Relaxed);
        let held = Held { load: self };
        (before < MOST_HELD).then_some(held)
    }

    /// Requests ever, also those that were refused or wait.
    pub(in crate::sagemaker) fn arrived(&self) -> u64 {
        self.arrived.load(Ordering::Relaxed)
    }

    /// Requests without an answer yet, those that wait included.
    pub(in crate::sagemaker) fn in_flight(&self) -> u64 {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Requests that wait for an instance.
    pub(in crate::sagemaker) fn held(&self) -> u64 {
        self.held.load(Ordering::Relaxed)
    }

    /// Are its instances stopped because it is idle?
    pub(in crate::sagemaker) fn asleep(&self) -> bool {
        self.asleep.load(Ordering::Acquire) > 0
    }

    /// Marks it as asleep; `instances` come back when it wakes.
    pub(super) fn sleep(&self, instances: usize) {
        self.asleep.store(instances, Ordering::Release);
    }

    /// Marks it as awake; answers how many instances are to come back, once.
    pub(super) fn wake(&self) -> Option<usize> {
        Some(self.asleep.swap(0, Ordering::AcqRel)).filter(|count| *count > 0)
    }

    /// Copies that are on their way, where this is a shadow variant's load.
    pub(super) fn copies(&self) -> &Copies {
        &self.copies
    }

    /// The variant's series; looked up the first time.
    pub(super) fn metrics(&self, recorder: &Recorder, names: Names<'_>) -> &VariantMetrics {
        self.metrics.get_or_init(|| VariantMetrics::new(recorder, names))
    }

    /// Waits until a request of this variant ends.
    pub(super) async fn freed(&self) {
        self.freed.notified().await;
    }
}

/// A request that is being answered.
#[derive(Debug)]
pub(super) struct InFlight<'a> {
    load: &'a Load,
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.load.in_flight.fetch_sub(1, Ordering::Relaxed);
        if self.load.held() > 0 {
            self.load.freed.notify_one();
        }
    }
}

/// A request that waits.
#[derive(Debug)]
pub(super) struct Held<'a> {
    load: &'a Load,
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.load.held.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;

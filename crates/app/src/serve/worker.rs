//! Workers: each owns a classifier and a thread, takes micro-batches from the queue, decodes, runs the
//! engine and answers. A worker that fails makes the server unhealthy; it never takes it down.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Instant;

use kennel_base::{ErrorCode, ErrorCoded};
use kennel_infer::classifier::Classifier;
use kennel_infer::photo::{DecodeLimits, decode};
use tokio::sync::oneshot;

use super::metrics::Metrics;
use super::queue::Queue;

/// An error on its way to a caller: what kind, and what to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    pub code: ErrorCode,
    pub message: String,
}

impl Failure {
    pub(crate) fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Failure { code, message: message.into() }
    }
}

/// One photo to classify and whom to tell.
#[derive(Debug)]
pub(crate) struct Work {
    pub photo: Vec<u8>,
    pub reply: oneshot::Sender<Result<Vec<f32>, Failure>>,
}

/// Whether the server can answer: set by workers, read by `/ping`.
#[derive(Debug, Default)]
pub(crate) struct Health {
    /// A worker has loaded the model.
    pub ready: AtomicBool,
    /// The engine failed; the process is to be replaced.
    pub failed: AtomicBool,
    /// The server is stopping.
    pub stopping: AtomicBool,
    /// Workers that are running.
    pub workers: AtomicUsize,
}

impl Health {
    pub(crate) fn is_healthy(&self) -> bool {
        self.ready.load(Ordering::Acquire)
            && !self.failed.load(Ordering::Acquire)
            && !self.stopping.load(Ordering::Acquire)
    }
}

/// Runs until the queue is closed and empty.
pub(crate) fn work(
    mut classifier: Classifier,
    queue: &Queue<Work>,
    limits: &DecodeLimits,
    health: &Arc<Health>,
    metrics: &Metrics,
) {
    health.workers.fetch_add(1, Ordering::AcqRel);
    while let Some(batch) = queue.next_batch(|work| !work.reply.is_closed()) {
        metrics.batch(batch.len());
        // INVARIANT: a panic in a decoder or engine costs this batch and the health of the instance,
        // never the other requests. Replies that are dropped tell their callers so.
        let outcome =
            catch_unwind(AssertUnwindSafe(|| answer(&mut classifier, batch, limits, metrics)));
        match outcome {
            Ok(true) => {}
            Ok(false) => health.failed.store(true, Ordering::Release),
            Err(_) => {
                tracing::error!("a worker panicked; the instance is unhealthy from now on");
                health.failed.store(true, Ordering::Release);
            }
        }
    }
    health.workers.fetch_sub(1, Ordering::AcqRel);
}

/// Answers a batch; false when the engine failed.
fn answer(
    classifier: &mut Classifier,
    batch: Vec<Work>,
    limits: &DecodeLimits,
    metrics: &Metrics,
) -> bool {
    let started = Instant::now();
    let mut photos = Vec::with_capacity(batch.len());
    let mut replies = Vec::with_capacity(batch.len());
    for work in batch {
        match decode(&work.photo, limits) {
            Ok(photo) => {
                photos.push(photo);
                replies.push(work.reply);
            }
            Err(e) => {
                let failure = Failure::new(e.code(), e.to_string());
                let _ = work.reply.send(Err(failure));
            }
        }
    }
    metrics.decoded(started.elapsed());
    if photos.is_empty() {
        return true;
    }
    let started = Instant::now();
    let outcome = classifier.logits(&photos);
    metrics.inferred(started.elapsed());
    match outcome {
        Ok(rows) => {
            for (reply, row) in replies.into_iter().zip(rows) {
                let _ = reply.send(Ok(row));
            }
            true
        }
        Err(e) => {
            tracing::error!(error = %e, "the engine failed");
            let healthy = e.code() == ErrorCode::InvalidInput;
            let message = e.to_string();
            for reply in replies {
                let _ = reply.send(Err(Failure::new(e.code(), message.clone())));
            }
            healthy
        }
    }
}

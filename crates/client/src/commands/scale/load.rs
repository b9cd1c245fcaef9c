//! Sends requests to an endpoint at the times of a trace, whatever the answers take (an open loop: a slow
//! endpoint gets no less load), and keeps what became of each.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::client::{Client, InvokeRequest};
use crate::clock;
use crate::commands::endpoint;
use crate::error::ClientError;
use crate::output::Spinner;

/// How often the endpoint is asked how many instances it has.
const LOOK: Duration = Duration::from_millis(50);
/// From here to the first moment of the trace: the senders are up by then.
const BEFORE: Duration = Duration::from_millis(200);
/// How long an answer may take; InvokeEndpoint itself ends after 60 s.
const PATIENCE: Duration = Duration::from_secs(70);

/// What became of one request.
#[derive(Debug, Clone)]
pub(super) struct Sent {
    /// When it was to be sent, in seconds from the start.
    pub at_s: f64,
    /// From then to the whole answer, in milliseconds: waiting for a free connection counts.
    pub latency_ms: f64,
    pub outcome: Outcome,
}

/// How a request ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    Answered,
    /// 429 or 503: the service says that it has no room.
    Throttled,
    /// Everything else, with the service's words.
    Failed(String),
}

/// How many instances there were at a time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Count {
    pub at_s: f64,
    pub ready: u32,
    pub desired: u32,
}

/// What a run found.
#[derive(Debug)]
pub(super) struct Run {
    /// By time of arrival.
    pub sent: Vec<Sent>,
    pub counts: Vec<Count>,
    /// When the first second began, in milliseconds since 1970.
    pub started_ms: i64,
    /// From then to the end, settling included, in seconds.
    pub lasted_s: f64,
}

/// What a run does.
#[derive(Debug)]
pub(super) struct Plan<'a> {
    pub request: &'a InvokeRequest,
    /// The variant whose instances are counted.
    pub variant: &'a str,
    /// Seconds from the start, ascending.
    pub arrivals: &'a [f64],
    /// Requests under way at most; more wait for their turn.
    pub connections: usize,
    /// Looking goes on for so long after the last arrival, or until the count is down to this.
    pub settle: Option<(Duration, u32)>,
}

/// Sends all and waits for all answers.
///
/// # Errors
/// When the endpoint cannot be described. Requests that fail are counted, not returned.
pub(super) fn run(client: &Client, plan: &Plan<'_>) -> Result<Run, ClientError> {
    // One look before the first request: a wrong name is told at once.
    look(client, plan)?;
    let next = AtomicUsize::new(0);
    let done = AtomicUsize::new(0);
    let over = AtomicBool::new(false);
    let sent = Mutex::new(Vec::with_capacity(plan.arrivals.len()));
    let mut spinner = Spinner::start();
    let start = Instant::now() + BEFORE;
    let started_ms = clock::epoch_millis() + BEFORE.as_millis() as i64;
    let counts = std::thread::scope(|scope| {
        let senders: Vec<_> = (0..plan.connections.clamp(1, plan.arrivals.len().max(1)))
            .map(|_| {
                let one = Client::new(client.target().clone()).limited(PATIENCE);
                let (next, done, sent) = (&next, &done, &sent);
                scope.spawn(move || {
                    let mut own = Vec::new();
                    loop {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        let Some(&at_s) = plan.arrivals.get(number) else { break };
                        let due = start + Duration::from_secs_f64(at_s.max(0.0));
                        std::thread::sleep(due.saturating_duration_since(Instant::now()));
                        let outcome = outcome(one.invoke(plan.request).map(drop));
                        let latency_ms = due.elapsed().as_secs_f64() * 1e3;
                        own.push(Sent { at_s, latency_ms, outcome });
                        done.fetch_add(1, Ordering::Relaxed);
                    }
                    sent.lock().unwrap_or_else(std::sync::PoisonError::into_inner).extend(own);
                })
            })
            .collect();
        let watcher = scope.spawn(|| watch(client, plan, start, &over));
        while senders.iter().any(|s| !s.is_finished()) {
            spinner.say(format!(
                "{} of {} requests answered",
                round(done.load(Ordering::Relaxed), plan.arrivals.len()),
                plan.arrivals.len()
            ));
            std::thread::sleep(LOOK);
        }
        over.store(true, Ordering::Relaxed);
        spinner.say("waiting for the instances to go".to_owned());
        watcher.join().unwrap_or_default()
    });
    let mut sent = sent.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    sent.sort_by(|a, b| a.at_s.total_cmp(&b.at_s));
    let lasted_s = start.elapsed().as_secs_f64();
    Ok(Run { sent, counts, started_ms, lasted_s })
}

/// In tenths, so that a log is not full of it.
fn round(done: usize, all: usize) -> usize {
    let tenth = (all / 10).max(1);
    if done == all { all } else { done / tenth * tenth }
}

fn outcome(answer: Result<(), ClientError>) -> Outcome {
    match answer {
        Ok(()) => Outcome::Answered,
        Err(error) => match error.service_code() {
            Some("ThrottlingException" | "ServiceUnavailable" | "ModelNotReadyException") => {
                Outcome::Throttled
            }
            _ => Outcome::Failed(error.to_string().lines().next().unwrap_or_default().to_owned()),
        },
    }
}

/// The instances of the variant, until all is over and they have settled.
fn watch(client: &Client, plan: &Plan<'_>, start: Instant, over: &AtomicBool) -> Vec<Count> {
    let mut counts: Vec<Count> = Vec::new();
    let mut ended: Option<Instant> = None;
    loop {
        let at_s = Instant::now().saturating_duration_since(start).as_secs_f64();
        if let Ok((ready, desired)) = look(client, plan) {
            counts.push(Count { at_s, ready, desired });
        }
        if over.load(Ordering::Relaxed) {
            let since = *ended.get_or_insert_with(Instant::now);
            let settled = plan.settle.is_none_or(|(longest, count)| {
                since.elapsed() >= longest || counts.last().is_some_and(|c| c.ready <= count)
            });
            if settled {
                return counts;
            }
        }
        std::thread::sleep(LOOK);
    }
}

/// Ready and wanted instances.
fn look(client: &Client, plan: &Plan<'_>) -> Result<(u32, u32), ClientError> {
    let found = endpoint::describe(client, &plan.request.endpoint)?;
    let variants = found["ProductionVariants"].as_array().cloned().unwrap_or_default();
    let variant = variants.iter().find(|v| v["VariantName"] == plan.variant);
    let number = |member: &str| {
        let number = variant.and_then(|v| v.get(member)).and_then(Value::as_u64).unwrap_or(0);
        u32::try_from(number).unwrap_or(u32::MAX)
    };
    Ok((number("CurrentInstanceCount"), number("DesiredInstanceCount")))
}

/// A quantile of values in any order; none of no values.
pub(super) fn quantile(values: &[f64], share: f64) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let last = sorted.len().checked_sub(1)?;
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.saturating_sub(1).min(last)).copied()
}

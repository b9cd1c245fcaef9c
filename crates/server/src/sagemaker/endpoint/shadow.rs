//! Shadow variants: a copy of a request goes to them once its caller has the production variant's answer,
//! and what they answer is compared and counted, never returned. Copies are bounded in number and bytes;
//! one that finds no place is dropped and counted, so that a slow shadow costs production nothing but its
//! share of the machine.
//!
//! The share of requests that are copied is the shadow's weight to the production variant's, at most all:
//! <https://docs.aws.amazon.com/sagemaker/latest/dg/model-shadow-deployment.html>.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use kennel_hosting::pool::Request;
use rand::RngExt as _;
use serde_json::Value;
use tokio::time::Instant;

use super::capture::{Capture, Event};
use super::hold::{self, Scene, Sent};
use super::live::{LiveEndpoint, LiveVariant};
use super::load::Load;
use super::metrics::{Ended, Names};
use crate::sagemaker::Inner;

/// Copies on their way to one shadow variant at most: as many as one instance takes at a time.
const MOST_COPIES: usize = 64;
/// Bytes of their bodies at most.
const MOST_BYTES: usize = 64 << 20;
/// How long a copy may take, as long as any invocation.
const DEADLINE: Duration = Duration::from_secs(60);
/// Kennel's own comparison: `AnswersAgree` (1 or 0), `LatencyDifference` (microseconds, shadow less
/// production), `Dropped` copies.
const NAMESPACE: &str = "Kennel/Shadow";

/// Copies that are on their way to a shadow variant.
#[derive(Debug, Default)]
pub(super) struct Copies {
    count: AtomicUsize,
    bytes: AtomicUsize,
}

/// A copy's place; free when it is dropped.
#[derive(Debug)]
struct Place {
    load: Arc<Load>,
    bytes: usize,
}

impl Place {
    fn take(load: &Arc<Load>, bytes: usize) -> Option<Place> {
        let copies = load.copies();
        let count = copies.count.fetch_add(1, Ordering::Relaxed);
        let waiting = copies.bytes.fetch_add(bytes, Ordering::Relaxed);
        let place = Place { load: load.clone(), bytes };
        (count < MOST_COPIES && waiting.saturating_add(bytes) <= MOST_BYTES).then_some(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let copies = self.load.copies();
        copies.count.fetch_sub(1, Ordering::Relaxed);
        copies.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// What production said to the request that is copied.
#[derive(Debug, Clone)]
pub(super) struct Production {
    pub body: Bytes,
    pub latency: Duration,
}

/// A request to copy.
#[derive(Debug)]
pub(super) struct Original<'a> {
    pub endpoint: &'a LiveEndpoint,
    pub variant: &'a LiveVariant,
    pub request: &'a Request,
    /// `None` where production gave no answer: there is nothing to compare with then.
    pub answer: Option<Production>,
    /// Where the request is captured, its shadows' answers are, too.
    pub event: Option<Event>,
}

/// Sends copies to the endpoint's shadow variants; returns at once.
pub(super) fn copy(inner: &Arc<Inner>, original: &Original<'_>) {
    for shadow in &original.endpoint.shadows {
        let share = share(shadow.weight, original.variant.weight);
        if share < 1.0 && rand::rng().random_range(0.0..1.0) >= share {
            continue;
        }
        let Some(place) = Place::take(&shadow.load, original.request.body.len()) else {
            record(inner, (&original.endpoint.name, shadow), ("Dropped", "Count"), 1.0);
            continue;
        };
        let copied = Copied {
            inner: inner.clone(),
            endpoint: original.endpoint.name.clone(),
            config: original.endpoint.config.clone(),
            capture: original.endpoint.capture.clone(),
            shadow: shadow.clone(),
            request: original.request.clone(),
            production: original.answer.clone(),
            event: original.event.clone(),
        };
        tokio::spawn(async move {
            copied.run().await;
            drop(place);
        });
    }
}

/// The share of a production variant's requests that a shadow gets.
fn share(shadow: f64, production: f64) -> f64 {
    if production > 0.0 { (shadow / production).clamp(0.0, 1.0) } else { 0.0 }
}

/// It keeps no fleet in use: a deployment does not wait for copies.
struct Copied {
    inner: Arc<Inner>,
    endpoint: String,
    config: String,
    capture: Option<Arc<Capture>>,
    shadow: Arc<LiveVariant>,
    request: Request,
    production: Option<Production>,
    event: Option<Event>,
}

impl Copied {
    async fn run(self) {
        let Copied { inner, endpoint, config, capture, shadow, request, production, event } = self;
        let names = Names { endpoint: &endpoint, config: &config, variant: &shadow.name };
        let metrics = shadow.load.metrics(&inner.metrics, names);
        let started = Instant::now();
        let input = request.clone();
        let scene = Scene::of(&inner, &endpoint);
        let sent = hold::send(scene, &shadow, request, started + DEADLINE).await;
        let now = inner.clock.now();
        let instances = shadow.pool.routed();
        let response = match sent {
            Ok(Sent::Answered(response)) => response,
            // The deployment that this copy was for is gone.
            Ok(Sent::Moved) => return,
            Err(error) => {
                tracing::debug!("shadow variant `{}`: {error}", shadow.name);
                metrics.count(Ended::ServerError, instances, now);
                if production.is_some() {
                    record(&inner, (&endpoint, &shadow), ("AnswersAgree", "None"), 0.0);
                }
                return;
            }
        };
        let model = response.timing.model;
        metrics.latency(model, started.elapsed().saturating_sub(model), now);
        let ended = Ended::of(response.status);
        metrics.count(ended, instances, now);
        if let Some(production) = production {
            let same = ended == Ended::Well && agree(&production.body, &response.body);
            let agrees = if same { 1.0 } else { 0.0 };
            record(&inner, (&endpoint, &shadow), ("AnswersAgree", "None"), agrees);
            let slower = model.as_secs_f64() - production.latency.as_secs_f64();
            record(
                &inner,
                (&endpoint, &shadow),
                ("LatencyDifference", "Microseconds"),
                slower * 1e6,
            );
        }
        if let (Some(event), Some(capture), Ended::Well) = (event, capture, ended) {
            capture.keep(event, &shadow.name, &input, &response);
        }
    }
}

/// One of Kennel's own metrics of an endpoint's shadow variant.
fn record(
    inner: &Inner,
    (endpoint, shadow): (&str, &LiveVariant),
    (name, unit): (&str, &str),
    value: f64,
) {
    let dimensions = [("EndpointName", endpoint), ("VariantName", shadow.name.as_str())];
    let now = inner.clock.now();
    inner.metrics.record(NAMESPACE, name, &dimensions, value, unit, now);
}

/// Do two answers say the same: the same top class of every photo where they are predictions, the same
/// bytes otherwise.
fn agree(one: &[u8], other: &[u8]) -> bool {
    if one == other {
        return true;
    }
    let parsed = |body: &[u8]| serde_json::from_slice::<Value>(body).ok();
    match (parsed(one), parsed(other)) {
        (Some(one), Some(other)) => match (tops(&one), tops(&other)) {
            (Some(one), Some(other)) => one == other,
            _ => one == other,
        },
        _ => false,
    }
}

/// The top class of each photo: of `{"predictions": …}` or of a list, whose items are labels with
/// probabilities or rows of numbers.
fn tops(answer: &Value) -> Option<Vec<String>> {
    let photos = answer.get("predictions").unwrap_or(answer).as_array()?;
    photos.iter().map(top).collect()
}

fn top(photo: &Value) -> Option<String> {
    let entries = photo.as_array()?;
    let score = |entry: &Value| match entry {
        Value::Object(label) => label.get("probability").and_then(Value::as_f64),
        other => other.as_f64(),
    };
    let scores: Option<Vec<f64>> = entries.iter().map(score).collect();
    let (place, _) =
        scores?.into_iter().enumerate().max_by(|(_, one), (_, other)| one.total_cmp(other))?;
    let best = entries.get(place)?;
    let name = best.get("class").or_else(|| best.get("label")).and_then(Value::as_str);
    Some(name.map_or_else(|| place.to_string(), str::to_owned))
}

#[cfg(test)]
mod tests;

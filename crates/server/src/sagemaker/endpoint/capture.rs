//! Data capture: samples of an endpoint's traffic, kept in S3 in SageMaker's layout:
//! `s3://DESTINATION/ENDPOINT/VARIANT/yyyy/mm/dd/hh/MM-SS-mmm-UUID.jsonl`, one JSON line an invocation.
//! The hot path hands over what was sent and answered, without a copy; a task of the endpoint encodes it
//! and writes objects aside, every few seconds or when one is large enough, and when the endpoint ends.
//!
//! What waits is bounded; what finds no place is dropped, counted (`Dropped` in the namespace
//! `Kennel/Capture`) and logged once a minute, as AWS too stops to capture rather than to answer. After `kill -9` up
//! to [`FLUSH`] of captured lines are missing.
//! <https://docs.aws.amazon.com/sagemaker/latest/dg/model-monitor-data-capture-endpoint.html>

mod record;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kennel_hosting::pool::{Request, Response};
use kennel_wire::ServiceError;
use rand::RngExt as _;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;

use self::record::{Kinds, Payload, Record, key};
use crate::cloudwatch::{RecorderSeries, Resolution};
use crate::context::{Caller, Clock, Timestamp};
use crate::sagemaker::Inner;
use crate::sagemaker::model::DataCapture;
use crate::sagemaker::objects::{Location, Objects};

/// Invocations that wait for the task.
const MOST_WAITING: usize = 1024;
/// Bytes of their inputs and outputs.
const MOST_BYTES: usize = 32 << 20;
/// Bytes of one input or output; larger ones are dropped. What SageMaker Runtime's model gives as the largest
/// body.
const MOST_PAYLOAD: usize = 6_291_456;
/// An object is written when it has so many bytes …
const OBJECT: usize = 1 << 20;
/// … or after this long.
const FLUSH: Duration = Duration::from_secs(5);
/// Bytes of lines of one variant that wait for a bucket that cannot be written.
const MOST_LINES: usize = 16 << 20;
/// How long the server waits for the last objects when it stops.
const STOPPING: Duration = Duration::from_secs(5);
/// How often what was dropped is logged.
const COMPLAIN: Duration = Duration::from_secs(60);

/// An invocation that is captured; its shadows' answers are captured under the same id.
#[derive(Debug, Clone)]
pub(super) struct Event {
    id: String,
    time: Timestamp,
}

/// Keeps samples of one endpoint's traffic; the last handle's end writes what is left.
#[derive(Debug)]
pub(in crate::sagemaker) struct Capture {
    percentage: u32,
    input: bool,
    output: bool,
    sender: mpsc::Sender<(String, Record)>,
    waiting: Arc<AtomicUsize>,
    dropped: Dropped,
}

/// Settles who writes what is captured: the first of the models' roles that may write there, or else who
/// makes the endpoint, as with model data. Nothing gets to a place that neither may write to.
///
/// # Errors
/// `ValidationException` where nobody may, or for a destination that is no S3 location.
pub(super) fn permitted(
    objects: &Objects,
    caller: &Caller,
    config: DataCapture,
    roles: Vec<String>,
) -> Result<DataCapture, ServiceError> {
    let uri = &config.destination_s3_uri;
    let mut below = Location::parse(uri)?;
    below.key = match below.key.trim_matches('/') {
        "" => String::new(),
        prefix => format!("{prefix}/"),
    };
    let named = roles.first().cloned().unwrap_or_default();
    let role = roles.into_iter().find(|role| objects.written_by(role, &below));
    if role.is_none() && !objects.written_for(caller, &below) {
        return Err(ServiceError::validation(format!(
            "Could not write captured data to {uri}: neither the role \"{named}\" nor the caller has \"s3:PutObject\" permissions there.\nhint: let the model's role write to the bucket, or name another `DestinationS3Uri`"
        )));
    }
    Ok(DataCapture { role, ..config })
}

/// The tasks that write; the server waits for them when it stops.
#[derive(Debug, Default)]
pub(in crate::sagemaker) struct Writers {
    tasks: Mutex<JoinSet<()>>,
}

impl Writers {
    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        while tasks.try_join_next().is_some() {}
        tasks.spawn(task);
    }

    /// Waits for the last objects, once every endpoint has ended.
    pub(in crate::sagemaker) async fn finish(&self) {
        let mut tasks =
            std::mem::take(&mut *self.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        let all = async { while tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(STOPPING, all).await.is_err() {
            tracing::warn!("captured data was not written within {} s", STOPPING.as_secs());
        }
    }
}

impl Capture {
    /// Begins to capture. To be called within a tokio runtime.
    pub(in crate::sagemaker) fn new(
        inner: &Arc<Inner>,
        endpoint: &str,
        config: &DataCapture,
    ) -> Arc<Capture> {
        let dropped = Dropped {
            series: inner.metrics.series(
                "Kennel/Capture",
                "Dropped",
                &[("EndpointName", endpoint)],
                "Count",
                Resolution::Minute,
            ),
            endpoint: endpoint.to_owned(),
            clock: inner.clock,
            complained: Arc::default(),
        };
        let objects = match &config.role {
            Some(role) => inner.objects.of_role(role),
            None => inner.objects.clone(),
        };
        let (sender, taken) = mpsc::channel(MOST_WAITING);
        let waiting = Arc::new(AtomicUsize::new(0));
        let writer = Writer {
            taken,
            waiting: waiting.clone(),
            kinds: Kinds::of(config.capture_content_type_header.as_ref()),
            destination: Location::parse(&config.destination_s3_uri),
            objects,
            endpoint: endpoint.to_owned(),
            clock: inner.clock,
            dropped: dropped.clone(),
            pending: BTreeMap::new(),
        };
        inner.captures.spawn(writer.run());
        let wants = |mode: &str| {
            config.capture_options.iter().any(|option| {
                let given = option.get("CaptureMode").and_then(serde_json::Value::as_str);
                given == Some(mode) || given == Some("InputAndOutput")
            })
        };
        Arc::new(Capture {
            percentage: config.initial_sampling_percentage,
            input: wants("Input"),
            output: wants("Output"),
            sender,
            waiting,
            dropped,
        })
    }

    /// Chooses whether an invocation is captured.
    pub(super) fn sample(&self, now: Timestamp) -> Option<Event> {
        let chosen = match self.percentage {
            0 => false,
            100.. => true,
            share => rand::rng().random_range(0..100) < share,
        };
        chosen.then(|| Event { id: uuid::Uuid::new_v4().to_string(), time: now })
    }

    /// Keeps what was sent to a variant and what it answered; returns at once.
    pub(super) fn keep(&self, event: Event, variant: &str, request: &Request, response: &Response) {
        let header = |name| request.headers.get(name).cloned();
        let record = Record {
            id: event.id,
            time: event.time,
            inference_id: header("x-amzn-sagemaker-inference-id"),
            custom_attributes: header("x-amzn-sagemaker-custom-attributes"),
            input: self.input.then(|| Payload {
                content_type: header("content-type"),
                data: request.body.clone(),
            }),
            output: self.output.then(|| Payload {
                content_type: response.headers.get("content-type").cloned(),
                data: response.body.clone(),
            }),
        };
        let size = record.size();
        let waiting = self.waiting.fetch_add(size, Ordering::Relaxed);
        let fits = record.largest() <= MOST_PAYLOAD && waiting.saturating_add(size) <= MOST_BYTES;
        if !fits || self.sender.try_send((variant.to_owned(), record)).is_err() {
            self.waiting.fetch_sub(size, Ordering::Relaxed);
            self.dropped.count(1, "more is captured than can be written");
        }
    }
}

/// Counts what was not captured.
#[derive(Debug, Clone)]
struct Dropped {
    series: RecorderSeries,
    endpoint: String,
    clock: Clock,
    complained: Arc<Mutex<Option<Instant>>>,
}

impl Dropped {
    fn count(&self, records: usize, why: &str) {
        self.series.record(records as f64, self.clock.now());
        let mut last = self.complained.lock().unwrap_or_else(PoisonError::into_inner);
        if last.is_none_or(|last| last.elapsed() > COMPLAIN) {
            *last = Some(Instant::now());
            tracing::warn!("endpoint `{}`: invocations are not captured: {why}", self.endpoint);
        }
    }
}

/// The lines of a variant that are not in S3 yet; all of one hour.
#[derive(Debug)]
struct Lines {
    /// Of the first.
    time: Timestamp,
    text: Vec<u8>,
    count: usize,
}

/// The task.
struct Writer {
    taken: mpsc::Receiver<(String, Record)>,
    waiting: Arc<AtomicUsize>,
    kinds: Kinds,
    destination: Result<Location, ServiceError>,
    objects: Objects,
    endpoint: String,
    clock: Clock,
    dropped: Dropped,
    pending: BTreeMap<String, Lines>,
}

const HOUR: i64 = 3_600_000;

impl Writer {
    async fn run(mut self) {
        let mut ticks = tokio::time::interval(FLUSH);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                taken = self.taken.recv() => match taken {
                    Some((variant, record)) => self.add(variant, record).await,
                    None => break,
                },
                _ = ticks.tick() => self.flush().await,
            }
        }
        self.flush().await;
        let left: usize = self.pending.values().map(|lines| lines.count).sum();
        if left > 0 {
            self.dropped.count(left, "the endpoint has ended");
        }
    }

    async fn add(&mut self, variant: String, record: Record) {
        let line = record.line(&self.kinds);
        self.waiting.fetch_sub(record.size(), Ordering::Relaxed);
        let other_hour = self
            .pending
            .get(&variant)
            .is_some_and(|lines| lines.time.0.div_euclid(HOUR) != record.time.0.div_euclid(HOUR));
        if other_hour {
            self.write(&variant).await;
        }
        let lines = self.pending.entry(variant.clone()).or_insert_with(|| Lines {
            time: record.time,
            text: Vec::new(),
            count: 0,
        });
        if lines.text.len().saturating_add(line.len()) > MOST_LINES {
            self.dropped.count(1, "the bucket cannot be written");
            return;
        }
        lines.text.extend_from_slice(&line);
        lines.text.push(b'\n');
        lines.count += 1;
        // Where writing failed, the next try comes with the clock.
        let before = lines.text.len() - line.len() - 1;
        if before / OBJECT < lines.text.len() / OBJECT {
            self.write(&variant).await;
        }
    }

    async fn flush(&mut self) {
        let variants: Vec<String> = self.pending.keys().cloned().collect();
        for variant in variants {
            self.write(&variant).await;
        }
    }

    /// Writes a variant's lines as one object; they stay where that fails.
    async fn write(&mut self, variant: &str) {
        let Some(lines) = self.pending.remove(variant) else { return };
        match self.put(variant, &lines).await {
            Ok(()) => {}
            Err(why) => {
                self.dropped.count(0, &why);
                self.pending.insert(variant.to_owned(), lines);
            }
        }
    }

    async fn put(&self, variant: &str, lines: &Lines) -> Result<(), String> {
        let destination = self.destination.as_ref().map_err(|e| e.message.clone())?;
        let id = uuid::Uuid::new_v4().to_string();
        let key = key(&destination.key, (&self.endpoint, variant), lines.time, &id);
        let location = Location { bucket: destination.bucket.clone(), key };
        let text = lines.text.clone();
        self.objects
            .put_bytes(&location, text, "application/jsonlines", self.clock.now())
            .await
            .map_err(|e| e.to_string())
    }
}

#[cfg(test)]
mod tests;

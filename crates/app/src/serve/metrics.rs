//! What the server counts, in the Prometheus text format at `/metrics`.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Status {
    status: u16,
}

/// Seconds; from a cached answer to the hosting contract's 60 s.
const SECONDS: [f64; 14] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0, 60.0];

/// The counters of one server.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    requests: Family<Status, Counter>,
    latency: Histogram,
    decode: Counter<f64, AtomicU64>,
    engine: Counter<f64, AtomicU64>,
    batches: Histogram,
    waiting: Gauge,
    healthy: Gauge,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let mut registry = Registry::with_prefix("kennel");
        let requests = Family::<Status, Counter>::default();
        registry.register("invocations", "Invocations by HTTP status", requests.clone());
        let latency = Histogram::new(SECONDS);
        let text = "Time from the request's headers to the answer, in seconds";
        registry.register("invocation_seconds", text, latency.clone());
        let decode = Counter::<f64, AtomicU64>::default();
        registry.register(
            "decode_seconds",
            "Worker time spent decoding, in seconds",
            decode.clone(),
        );
        let engine = Counter::<f64, AtomicU64>::default();
        let text = "Worker time spent on preprocessing and the engine, in seconds";
        registry.register("engine_seconds", text, engine.clone());
        let batches = Histogram::new([1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0]);
        registry.register("batch_photos", "Photos per engine run", batches.clone());
        let waiting = Gauge::default();
        registry.register("queue_photos", "Photos waiting in the queue", waiting.clone());
        let healthy = Gauge::default();
        registry.register("healthy", "1 when /ping answers 200", healthy.clone());
        Metrics { registry, requests, latency, decode, engine, batches, waiting, healthy }
    }

    pub(crate) fn invocation(&self, status: u16, took: Duration) {
        self.requests.get_or_create(&Status { status }).inc();
        self.latency.observe(took.as_secs_f64());
    }

    pub(crate) fn decoded(&self, took: Duration) {
        self.decode.inc_by(took.as_secs_f64());
    }

    pub(crate) fn inferred(&self, took: Duration) {
        self.engine.inc_by(took.as_secs_f64());
    }

    pub(crate) fn batch(&self, photos: usize) {
        self.batches.observe(photos as f64);
    }

    /// The page at `/metrics`.
    pub(crate) fn page(&self, waiting: usize, healthy: bool) -> String {
        self.waiting.set(i64::try_from(waiting).unwrap_or(i64::MAX));
        self.healthy.set(i64::from(healthy));
        let mut page = String::new();
        // Writing into a string cannot fail.
        let _ = encode(&mut page, &self.registry);
        page
    }
}

//! CloudWatch's series of one variant, looked up once: namespace `AWS/SageMaker`, dimensions EndpointName
//! and VariantName.

use std::time::Duration;

use crate::cloudwatch::{Recorder, RecorderSeries, Resolution};
use crate::context::Timestamp;

/// Where invocations are counted.
pub(super) const NAMESPACE: &str = "AWS/SageMaker";

/// How an invocation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    /// With the model's answer.
    Well,
    /// With a 4xx of the model, or refused for now (429).
    ClientError,
    /// With a 5xx of the model, or without any answer.
    ServerError,
}

impl Ended {
    /// By the status that the caller or the model gave.
    pub(super) fn of(status: http::StatusCode) -> Ended {
        match status {
            _ if status.is_success() => Ended::Well,
            _ if status.is_client_error() => Ended::ClientError,
            _ => Ended::ServerError,
        }
    }
}

/// A variant's series.
#[derive(Debug)]
pub(super) struct VariantMetrics {
    invocations: RecorderSeries,
    per_instance: RecorderSeries,
    client_errors: RecorderSeries,
    server_errors: RecorderSeries,
    model_latency: RecorderSeries,
    overhead_latency: RecorderSeries,
    concurrent: RecorderSeries,
}

impl VariantMetrics {
    pub(super) fn new(recorder: &Recorder, endpoint: &str, variant: &str) -> VariantMetrics {
        let dimensions = [("EndpointName", endpoint), ("VariantName", variant)];
        let series = |name, unit, resolution| {
            recorder.series(NAMESPACE, name, &dimensions, unit, resolution)
        };
        let by_minute = |name, unit| series(name, unit, Resolution::Minute);
        VariantMetrics {
            invocations: by_minute("Invocations", "None"),
            per_instance: by_minute("InvocationsPerInstance", "None"),
            client_errors: by_minute("Invocation4XXErrors", "None"),
            server_errors: by_minute("Invocation5XXErrors", "None"),
            model_latency: by_minute("ModelLatency", "Microseconds"),
            overhead_latency: by_minute("OverheadLatency", "Microseconds"),
            concurrent: series("ConcurrentRequestsPerModel", "None", Resolution::Second),
        }
    }

    /// The model's part of an invocation and Kennel's, waiting for a first instance included.
    pub(super) fn latency(&self, model: Duration, overhead: Duration, now: Timestamp) {
        self.model_latency.record(model.as_secs_f64() * 1e6, now);
        self.overhead_latency.record(overhead.as_secs_f64() * 1e6, now);
    }

    /// One invocation that has ended, with so many instances in service.
    pub(super) fn count(&self, ended: Ended, instances: usize, now: Timestamp) {
        self.invocations.record(1.0, now);
        // Each request adds 1/N: the sum over a minute is what one instance took.
        self.per_instance.record(1.0 / instances.max(1) as f64, now);
        let share = |of| if ended == of { 1.0 } else { 0.0 };
        self.client_errors.record(share(Ended::ClientError), now);
        self.server_errors.record(share(Ended::ServerError), now);
    }

    /// A minute without a request, so that alarms see 0 and not missing data; AWS does the same, and
    /// scales in by it.
    pub(super) fn nothing(&self, now: Timestamp) {
        self.invocations.record(0.0, now);
        self.per_instance.record(0.0, now);
    }

    /// Requests in flight per instance, waiting ones included, over ten seconds.
    pub(super) fn concurrency(&self, average: f64, now: Timestamp) {
        self.concurrent.record(average, now);
    }
}

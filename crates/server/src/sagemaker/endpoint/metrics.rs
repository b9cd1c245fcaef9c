//! CloudWatch's series of one variant, looked up once: namespace `AWS/SageMaker`, dimensions EndpointName
//! and VariantName, and EndpointConfigName.

use std::time::Duration;

use super::live::{LiveEndpoint, LiveVariant};
use crate::cloudwatch::{Recorder, RecorderSeries, Resolution};
use crate::context::Timestamp;

/// Where invocations are counted.
const NAMESPACE: &str = "AWS/SageMaker";

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

/// A variant's series in one set of dimensions.
#[derive(Debug)]
struct Series {
    invocations: RecorderSeries,
    per_instance: RecorderSeries,
    client_errors: RecorderSeries,
    server_errors: RecorderSeries,
    model_latency: RecorderSeries,
    overhead_latency: RecorderSeries,
}

impl Series {
    fn new(recorder: &Recorder, dimensions: &[(&str, &str)]) -> Series {
        let series =
            |name, unit| recorder.series(NAMESPACE, name, dimensions, unit, Resolution::Minute);
        Series {
            invocations: series("Invocations", "None"),
            per_instance: series("InvocationsPerInstance", "None"),
            client_errors: series("Invocation4XXErrors", "None"),
            server_errors: series("Invocation5XXErrors", "None"),
            model_latency: series("ModelLatency", "Microseconds"),
            overhead_latency: series("OverheadLatency", "Microseconds"),
        }
    }
}

/// Whose series.
#[derive(Debug, Clone, Copy)]
pub(super) struct Names<'a> {
    pub endpoint: &'a str,
    pub config: &'a str,
    pub variant: &'a str,
}

impl<'a> Names<'a> {
    /// Of a fleet's variant.
    pub(super) fn of(fleet: &'a LiveEndpoint, variant: &'a LiveVariant) -> Names<'a> {
        Names { endpoint: &fleet.name, config: &fleet.config, variant: &variant.name }
    }
}

/// A variant's series of one fleet: by endpoint and variant, and once more with the configuration's name, so
/// that an alarm can tell the new fleet of a deployment from the old one.
#[derive(Debug)]
pub(super) struct VariantMetrics {
    series: [Series; 2],
    concurrent: RecorderSeries,
}

impl VariantMetrics {
    pub(super) fn new(recorder: &Recorder, names: Names<'_>) -> VariantMetrics {
        let dimensions = [
            ("EndpointName", names.endpoint),
            ("VariantName", names.variant),
            ("EndpointConfigName", names.config),
        ];
        let (name, unit) = ("ConcurrentRequestsPerModel", "None");
        let high = Resolution::Second;
        VariantMetrics {
            series: [Series::new(recorder, &dimensions[..2]), Series::new(recorder, &dimensions)],
            concurrent: recorder.series(NAMESPACE, name, &dimensions[..2], unit, high),
        }
    }

    /// The model's part of an invocation and Kennel's, waiting for a first instance included.
    pub(super) fn latency(&self, model: Duration, overhead: Duration, now: Timestamp) {
        for series in &self.series {
            series.model_latency.record(model.as_secs_f64() * 1e6, now);
            series.overhead_latency.record(overhead.as_secs_f64() * 1e6, now);
        }
    }

    /// One invocation that has ended, with so many instances in service.
    pub(super) fn count(&self, ended: Ended, instances: usize, now: Timestamp) {
        let share = |of| if ended == of { 1.0 } else { 0.0 };
        for series in &self.series {
            series.invocations.record(1.0, now);
            // Each request adds 1/N: the sum over a minute is what one instance took.
            series.per_instance.record(1.0 / instances.max(1) as f64, now);
            series.client_errors.record(share(Ended::ClientError), now);
            series.server_errors.record(share(Ended::ServerError), now);
        }
    }

    /// A minute without a request, so that alarms see 0 and not missing data; AWS does the same, and
    /// scales in by it.
    pub(super) fn nothing(&self, now: Timestamp) {
        for series in &self.series {
            series.invocations.record(0.0, now);
            series.per_instance.record(0.0, now);
        }
    }

    /// Requests in flight per instance, waiting ones included, over ten seconds.
    pub(super) fn concurrency(&self, average: f64, now: Timestamp) {
        self.concurrent.record(average, now);
    }
}

//! What AWS/Lambda says of functions in CloudWatch.
//! <https://docs.aws.amazon.com/lambda/latest/dg/monitoring-metrics-types.html>

use crate::cloudwatch::Recorder;
use crate::context::Timestamp;

const NAMESPACE: &str = "AWS/Lambda";

/// Whom values are about: every value is kept for the function, for the version or alias that was called, and
/// for the account as a whole.
#[derive(Debug, Clone)]
pub(super) struct Metrics {
    recorder: Recorder,
    function: String,
    /// `NAME:ALIAS` or `NAME:VERSION`; the function's name for calls without a qualifier.
    resource: String,
    now: Timestamp,
}

impl Metrics {
    pub(super) fn new(
        recorder: Recorder,
        function: &str,
        qualifier: Option<&str>,
        now: Timestamp,
    ) -> Self {
        let resource = match qualifier {
            Some(qualifier) => format!("{function}:{qualifier}"),
            None => function.to_owned(),
        };
        Metrics { recorder, function: function.to_owned(), resource, now }
    }

    /// How often: `Invocations`, `Errors`, `Throttles` …
    pub(super) fn count(&self, name: &str) {
        self.value(name, 1.0, "Count");
    }

    /// A value of the function, and of what was called.
    pub(super) fn value(&self, name: &str, value: f64, unit: &str) {
        let function = ("FunctionName", self.function.as_str());
        let resource = ("Resource", self.resource.as_str());
        for dimensions in [&[][..], &[function], &[function, resource]] {
            self.recorder.record(NAMESPACE, name, dimensions, value, unit, self.now);
        }
    }

    /// A value of the whole account.
    pub(super) fn account(&self, name: &str, value: f64) {
        self.recorder.record(NAMESPACE, name, &[], value, "Count", self.now);
    }
}

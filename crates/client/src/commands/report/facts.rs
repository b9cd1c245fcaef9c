//! What a writeup is written from: plain data, gathered by `gather`, put into words by `writeup`.

use serde_json::Value;

use crate::commands::audit::brief::Brief;

/// Everything at one time. Times are epoch seconds.
#[derive(Debug, Default)]
pub(super) struct Facts {
    pub account: String,
    pub region: String,
    pub now: i64,
    /// Whether this is Kennel's own platform; else AWS.
    pub local: bool,
    /// Cores that the platform's instances share; none at AWS.
    pub cores: Option<u32>,
    /// As ListNotebookInstances tells them.
    pub notebooks: Vec<Value>,
    /// The single-instance job first.
    pub jobs: Vec<Job>,
    pub tuning: Option<Tuning>,
    pub endpoint: Option<Endpoint>,
    pub function: Option<Function>,
    pub audit: Brief,
    /// Of the endpoint's variants and the function.
    pub scaling: Vec<Scaled>,
    /// What could not be looked at, and why.
    pub notes: Vec<String>,
    /// Of what it is therefore not known whether it is there.
    pub unknown: Vec<Area>,
}

/// Something that may be there or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Area {
    Notebooks,
    Jobs,
    Tuning,
    Endpoint,
    Function,
    Reserved,
    Provisioned,
    Scaling,
}

impl Area {
    /// The plural of it, as the begin of a sentence.
    pub(super) fn words(self) -> &'static str {
        match self {
            Area::Notebooks => "Notebook instances",
            Area::Jobs => "Training jobs",
            Area::Tuning => "Tuning jobs",
            Area::Endpoint => "Endpoints",
            Area::Function => "Functions",
            Area::Reserved => "The function's reserved concurrency",
            Area::Provisioned => "The function's provisioned concurrency",
            Area::Scaling => "What scales the endpoint",
        }
    }
}

/// A training job.
#[derive(Debug)]
pub(super) struct Job {
    /// As DescribeTrainingJob tells it.
    pub own: Value,
    /// What it reported while it trained.
    pub curves: Vec<Curve>,
    pub source: Source,
}

/// From where curves are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    /// Each value of the log, counted from 1.
    Log,
    /// CloudWatch's averages over minutes.
    Minutes,
}

/// A metric of a job, in order.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Curve {
    pub name: String,
    /// Number of the report, or minutes since the start, and the value.
    pub points: Vec<(f64, f64)>,
}

/// A tuning job.
#[derive(Debug)]
pub(super) struct Tuning {
    /// As DescribeHyperParameterTuningJob tells it.
    pub own: Value,
    /// As ListTrainingJobsForHyperParameterTuningJob tells them, best first.
    pub trials: Vec<Value>,
    pub best: Option<Value>,
}

/// An endpoint.
#[derive(Debug)]
pub(super) struct Endpoint {
    /// As DescribeEndpoint tells it.
    pub own: Value,
    /// As DescribeEndpointConfig tells it; null where it was deleted.
    pub config: Value,
    /// Of each variant that was asked in the last days.
    pub load: Vec<Load>,
}

/// What CloudWatch has of a variant's requests.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Load {
    pub variant: String,
    /// In all days that were looked at.
    pub invocations: f64,
    /// Answers that were the service's fault.
    pub errors: f64,
    /// The model's latency on the newest day with requests, in ms.
    pub p50_ms: Option<f64>,
    pub p99_ms: Option<f64>,
}

/// A function.
#[derive(Debug)]
pub(super) struct Function {
    /// As GetFunctionConfiguration tells it.
    pub own: Value,
    /// What is set aside of the account's concurrency.
    pub reserved: Option<u64>,
    /// As ListProvisionedConcurrencyConfigs tells them.
    pub provisioned: Vec<Value>,
    pub use_: Use,
    /// The call that was asked for.
    pub call: Option<Call>,
}

/// What CloudWatch has of a function's calls.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Use {
    pub invocations: f64,
    pub errors: f64,
    pub throttles: f64,
    /// The mean duration in ms.
    pub mean_ms: Option<f64>,
}

/// A call and its answer.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Call {
    pub event: String,
    /// The version or alias that was called, where it was not $LATEST.
    pub qualifier: Option<String>,
    pub answer: String,
    /// `Handled` or `Unhandled`, or `refused` where it was not called at all.
    pub failure: Option<String>,
    /// The line `REPORT` of the log without its id.
    pub report: Option<String>,
}

/// Something that Application Auto Scaling scales.
#[derive(Debug)]
pub(super) struct Scaled {
    /// As DescribeScalableTargets tells it.
    pub own: Value,
    /// As DescribeScalingPolicies tells them.
    pub policies: Vec<Value>,
    /// As DescribeScalingActivities tells them, newest first.
    pub activities: Vec<Value>,
    /// Whether Kennel's fast mode decides, by the target's tag.
    pub fast: bool,
}

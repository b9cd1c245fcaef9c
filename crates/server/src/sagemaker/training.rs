//! Training jobs: the API's half. It only reads and writes rows; [`reconcile`] makes them happen.

mod bill;
pub(super) mod channels;
pub(super) mod metrics;
pub(super) mod observe;
pub(super) mod reconcile;
mod run;
mod shards;

use std::collections::BTreeMap;

use kennel_hosting::instance_type;
use kennel_wire::ServiceError;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::image::{self, Program};
use super::listing::{Filter, Item, page};
use super::objects::Location;
use super::rows::Row;
use super::{SageMaker, Tag, pairs};
use crate::context::{Context, Timestamp};
use crate::service::Answer;

/// `TrainingJobStatus`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Status {
    InProgress,
    Completed,
    Failed,
    Stopping,
    Stopped,
}

impl Status {
    pub(super) fn name(self) -> &'static str {
        match self {
            Status::InProgress => "InProgress",
            Status::Completed => "Completed",
            Status::Failed => "Failed",
            Status::Stopping => "Stopping",
            Status::Stopped => "Stopped",
        }
    }

    pub(super) fn is_final(self) -> bool {
        matches!(self, Status::Completed | Status::Failed | Status::Stopped)
    }
}

/// One entry of `SecondaryStatusTransitions`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Transition {
    pub status: String,
    pub start: Timestamp,
    pub end: Option<Timestamp>,
    pub message: String,
}

/// A training job as stored.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct TrainingJob {
    /// CreateTrainingJob's input, echoed by Describe.
    pub request: Value,
    pub arn: String,
    pub region: String,
    pub created: Timestamp,
    pub modified: Timestamp,
    pub status: Status,
    pub transitions: Vec<Transition>,
    pub started: Option<Timestamp>,
    pub ended: Option<Timestamp>,
    pub failure: Option<String>,
    /// The last value of each metric.
    pub metrics: BTreeMap<String, (f64, Timestamp)>,
    /// The number in the log streams' names; stays the same when the server restarts.
    pub log_epoch: i64,
    /// How often the instances were started.
    pub attempts: u32,
    /// Set when the run was stopped because it took longer than its StoppingCondition allows.
    pub over_time: bool,
    /// The instances have ended well and their output is packed; only the upload is missing.
    pub packed: bool,
    /// What the user should know: capped instances, independent copies, rules that are not built.
    pub notes: Vec<String>,
    /// How the debugger's and the profiler's rules stand, by RuleConfigurationName.
    #[serde(default)]
    pub rules: BTreeMap<String, observe::RuleState>,
    /// What the job is to the tuning job that started it.
    #[serde(default)]
    pub tuning: Option<TuningMember>,
    /// A trial's objective metric as it was emitted, oldest first, at most [`MAX_REPORTS`].
    #[serde(default)]
    pub reports: Vec<(f64, Timestamp)>,
}

/// How many values of the objective a row keeps: the first ones, since early stopping compares trials at
/// the same step.
pub(super) const MAX_REPORTS: usize = 10_000;

/// A trial's place in its tuning job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct TuningMember {
    /// The tuning job's ARN.
    pub arn: String,
    /// Which trial it is, from 1.
    pub number: u32,
    /// The `DefinitionName` it was made from, where there are several.
    pub definition: Option<String>,
    /// The objective metric's name.
    pub objective: String,
    /// The hyperparameters that the tuning job chose, as they were given to the job.
    pub tuned: BTreeMap<String, String>,
}

impl Row for TrainingJob {
    const KIND: &'static str = "training-job";
    fn created(&self) -> Timestamp {
        self.created
    }
}

impl TrainingJob {
    /// A job that was just created from CreateTrainingJob's input.
    pub(super) fn new(
        input: Value,
        arn: String,
        region: String,
        now: Timestamp,
        notes: Vec<String>,
    ) -> Self {
        let mut job = TrainingJob {
            request: input,
            arn,
            region,
            created: now,
            modified: now,
            status: Status::InProgress,
            transitions: Vec::new(),
            started: None,
            ended: None,
            failure: None,
            metrics: BTreeMap::new(),
            log_epoch: now.0 / 1000,
            attempts: 0,
            over_time: false,
            packed: false,
            notes,
            rules: BTreeMap::new(),
            tuning: None,
            reports: Vec::new(),
        };
        job.enter("Starting", "Starting the training job", now);
        job
    }

    /// The current secondary status.
    pub(super) fn secondary(&self) -> &str {
        self.transitions.last().map_or("Starting", |t| &t.status)
    }

    /// Enters a secondary status, or renews its message.
    pub(super) fn enter(&mut self, status: &str, message: &str, now: Timestamp) {
        self.modified = now;
        match self.transitions.last_mut() {
            Some(last) if last.status == status => {
                message.clone_into(&mut last.message);
                return;
            }
            Some(last) => last.end = Some(now),
            None => {}
        }
        self.transitions.push(Transition {
            status: status.to_owned(),
            start: now,
            end: None,
            message: message.to_owned(),
        });
    }

    /// Enters a final status; its transition begins and ends now.
    pub(super) fn finish(
        &mut self,
        status: Status,
        secondary: &str,
        message: &str,
        now: Timestamp,
    ) {
        self.status = status;
        self.ended = Some(now);
        observe::settle(self, now);
        // AWS's words, then what it would have cost there.
        let message = match bill::of(self, now) {
            Some(bill) => format!("{message}; {bill}"),
            None => message.to_owned(),
        };
        self.enter(secondary, &message, now);
        if let Some(last) = self.transitions.last_mut() {
            last.end = Some(now);
        }
    }

    /// The request, typed.
    pub(super) fn request(&self) -> Result<Request, ServiceError> {
        Request::parse(&self.request)
    }

    fn seconds(&self) -> Option<i64> {
        Some(seconds_between(self.started?, self.ended?))
    }
}

/// Whole seconds of a job: every started one is billed for one at least.
fn seconds_between(started: Timestamp, ended: Timestamp) -> i64 {
    ((ended.0 - started.0 + 999) / 1000).max(1)
}

/// What of CreateTrainingJob's input decides what runs.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Request {
    pub training_job_name: String,
    #[serde(default)]
    pub hyper_parameters: BTreeMap<String, String>,
    pub algorithm_specification: Algorithm,
    pub role_arn: String,
    #[serde(default)]
    pub input_data_config: Vec<channels::Channel>,
    pub output_data_config: Output,
    pub resource_config: Resources,
    pub stopping_condition: Option<Stopping>,
    #[serde(default)]
    pub environment: BTreeMap<String, String>,
    pub checkpoint_config: Option<Checkpoints>,
    #[serde(default)]
    pub enable_managed_spot_training: bool,
    #[serde(default)]
    tags: Vec<Tag>,
    #[serde(flatten)]
    pub observation: observe::Wishes,
}

/// `AlgorithmSpecification`.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Algorithm {
    pub training_image: Option<String>,
    pub algorithm_name: Option<String>,
    pub training_input_mode: String,
    #[serde(default)]
    pub metric_definitions: Vec<metrics::Definition>,
    container_entrypoint: Option<Value>,
}

/// `OutputDataConfig`.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Output {
    #[serde(rename = "S3OutputPath")]
    pub path: String,
}

/// `CheckpointConfig`.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Checkpoints {
    #[serde(rename = "S3Uri")]
    pub uri: String,
}

/// `ResourceConfig`.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Resources {
    pub instance_type: Option<String>,
    #[serde(default = "one")]
    pub instance_count: u32,
    instance_groups: Option<Value>,
}

fn one() -> u32 {
    1
}

/// `StoppingCondition`.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Stopping {
    #[serde(rename = "MaxRuntimeInSeconds")]
    pub max_runtime: Option<u64>,
    #[serde(rename = "MaxWaitTimeInSeconds")]
    max_wait: Option<u64>,
}

/// SageMaker's default of `MaxRuntimeInSeconds`: one day.
const MAX_RUNTIME_SECONDS: u64 = 86_400;
/// SageMaker's default quota for one job.
const MAX_INSTANCES: u32 = 20;

/// The program that an `AlgorithmSpecification` means.
pub(super) fn program_of(
    image: Option<&str>,
    algorithm: Option<&str>,
) -> Result<Program, ServiceError> {
    match (image, algorithm) {
        (Some(_), Some(_)) | (None, None) => Err(ServiceError::validation(
            "exactly one of `TrainingImage` and `AlgorithmName` must be given in `AlgorithmSpecification`",
        )),
        (Some(uri), None) => image::program(uri),
        (None, Some("image-classification")) => Ok(Program::Native),
        (None, Some(name)) => Err(ServiceError::validation(format!(
            "Cannot find algorithm `{name}`\nhint: the native algorithm is `image-classification`"
        ))),
    }
}

impl Request {
    pub(super) fn parse(input: &Value) -> Result<Self, ServiceError> {
        serde_json::from_value(input.clone())
            .map_err(|e| ServiceError::validation(format!("the training job's definition: {e}")))
    }

    pub(super) fn program(&self) -> Result<Program, ServiceError> {
        let algorithm = &self.algorithm_specification;
        program_of(algorithm.training_image.as_deref(), algorithm.algorithm_name.as_deref())
    }

    pub(super) fn max_runtime(&self) -> std::time::Duration {
        let seconds = self.stopping_condition.as_ref().and_then(|s| s.max_runtime);
        std::time::Duration::from_secs(seconds.unwrap_or(MAX_RUNTIME_SECONDS))
    }

    /// How long a spot job may take with its interruptions.
    pub(super) fn max_wait(&self) -> std::time::Duration {
        let seconds = self.stopping_condition.as_ref().and_then(|s| s.max_wait);
        seconds.map_or_else(|| self.max_runtime(), std::time::Duration::from_secs)
    }

    /// `s3://bucket/prefix/<job>/output`, where SageMaker puts archives.
    pub(super) fn output_uri(&self, file: &str) -> String {
        let path = self.output_data_config.path.trim_end_matches('/');
        format!("{path}/{}/output/{file}", self.training_job_name)
    }

    /// Refuses what this Kennel cannot do as asked, before anything is stored.
    fn check(&self) -> Result<Program, ServiceError> {
        let program = self.program()?;
        let refuse = |what: &str| {
            Err(ServiceError::validation(format!(
                "{what} is not implemented by Kennel\nhint: README's table lists what is built"
            )))
        };
        if self.resource_config.instance_groups.is_some() {
            return refuse("`ResourceConfig.InstanceGroups` (heterogeneous clusters)");
        }
        if self.algorithm_specification.container_entrypoint.is_some() {
            return refuse("`AlgorithmSpecification.ContainerEntrypoint`");
        }
        let Some(instance_type) = &self.resource_config.instance_type else {
            return Err(ServiceError::validation("`ResourceConfig.InstanceType` is missing"));
        };
        if instance_type::find(instance_type).is_none() {
            return Err(ServiceError::validation(format!(
                "instance type `{instance_type}` is not known to Kennel\nhint: choose one such as ml.m5.xlarge; its size only bounds threads and memory here"
            )));
        }
        let count = self.resource_config.instance_count;
        if !(1..=MAX_INSTANCES).contains(&count) {
            return Err(ServiceError::new(
                "ResourceLimitExceeded",
                400,
                format!("{count} instances were asked for; a job may have 1 to {MAX_INSTANCES}"),
            ));
        }
        let launcher = self.hyper_parameters.iter().find(|(name, value)| {
            name.starts_with("sagemaker_") && name.ends_with("_enabled") && value.as_str() == "true"
        });
        if let Some((name, _)) = launcher {
            return refuse(&format!("the estimator's `distribution` ({name})"));
        }
        let mut names = std::collections::BTreeSet::new();
        for channel in &self.input_data_config {
            if !names.insert(&channel.channel_name) {
                return Err(ServiceError::validation(format!(
                    "channel name `{}` is used twice",
                    channel.channel_name
                )));
            }
            channel.check(&self.algorithm_specification.training_input_mode)?;
        }
        Location::parse(&self.output_data_config.path)?;
        self.observation.check()?;
        if let Some(checkpoints) = &self.checkpoint_config {
            Location::parse(&checkpoints.uri)?;
        }
        for definition in &self.algorithm_specification.metric_definitions {
            definition.compile()?;
        }
        Ok(program)
    }
}

impl SageMaker {
    pub(super) async fn create_training_job(&self, context: &Context, input: Value) -> Answer {
        let request = Request::parse(&input)?;
        let program = self.check_training_job(context, &request).await?;
        let name = request.training_job_name.clone();
        let arn = context.arn("sagemaker", &format!("training-job/{name}"));
        let (region, notes) = (context.region.clone(), notes(&request, program));
        let mut job = TrainingJob::new(input, arn.clone(), region, context.now, notes);
        job.rules = request.observation.states(context, &name);
        let taken = name_in_use(&arn);
        self.inner.rows.insert(&name, &arn, job, pairs(request.tags), taken).await?;
        self.inner.jobs_changed.notify_waiters();
        Ok(json!({ "TrainingJobArn": arn }))
    }

    /// Refuses a job that could not run, and a caller who may not pass its role. A tuning job asks for
    /// its trials, too.
    pub(super) async fn check_training_job(
        &self,
        context: &Context,
        request: &Request,
    ) -> Result<Program, ServiceError> {
        let program = request.check()?;
        let objects = &self.inner.objects;
        let output = Location::parse(&request.output_data_config.path)?;
        let checkpoints = request.checkpoint_config.as_ref().map(|c| Location::parse(&c.uri));
        for location in [Some(output), checkpoints.transpose()?].into_iter().flatten() {
            objects
                .refuse_remote(&location, "outputs")
                .await
                .map_err(|e| ServiceError::validation(e.to_string()))?;
        }
        self.inner.iam.check_pass_role(
            &context.caller,
            &request.role_arn,
            "sagemaker.amazonaws.com",
        )?;
        Ok(program)
    }

    pub(super) fn describe_training_job(&self, input: &Value) -> Answer {
        let name = text(input, "TrainingJobName");
        let job = self.inner.rows.get::<TrainingJob>(name)?.ok_or_else(not_found)?;
        describe(&job)
    }

    pub(super) fn list_training_jobs(&self, input: &Value) -> Answer {
        let filter: Filter = serde_json::from_value(input.clone())
            .map_err(|e| ServiceError::validation(e.to_string()))?;
        let items = self
            .inner
            .rows
            .all::<TrainingJob>()?
            .into_iter()
            .map(|(name, row)| Item {
                name,
                created: row.created,
                modified: row.modified,
                status: row.status.name().to_owned(),
                row,
            })
            .collect();
        // AWS lists training jobs oldest first, unlike everything else.
        let (shown, next) = page(&filter, items, true)?;
        let summaries: Vec<Value> = shown
            .iter()
            .map(|item| {
                json!({
                    "TrainingJobName": item.name,
                    "TrainingJobArn": item.row.arn,
                    "CreationTime": item.created.seconds(),
                    "LastModifiedTime": item.modified.seconds(),
                    "TrainingEndTime": item.row.ended.map(Timestamp::seconds),
                    "TrainingJobStatus": item.status,
                    "SecondaryStatus": item.row.secondary(),
                })
            })
            .collect();
        Ok(json!({ "TrainingJobSummaries": summaries, "NextToken": next }))
    }

    pub(super) async fn stop_training_job(&self, context: &Context, input: &Value) -> Answer {
        let now = context.now;
        let changed = self
            .inner
            .rows
            .change::<TrainingJob, ()>(text(input, "TrainingJobName"), move |job| {
                if job.status.is_final() {
                    return Err(ServiceError::validation(format!(
                        "The request was rejected because the training job is in status {}.",
                        job.status.name()
                    )));
                }
                if job.status != Status::Stopping {
                    job.status = Status::Stopping;
                    job.enter("Stopping", "Stopping the training job", now);
                }
                Ok(())
            })
            .await?;
        changed.ok_or_else(not_found)?;
        self.inner.jobs_changed.notify_waiters();
        Ok(json!({}))
    }
}

/// What a job's creator hears whose name another one has.
pub(super) fn name_in_use(arn: &str) -> ServiceError {
    ServiceError::new(
        "ResourceInUse",
        400,
        format!(
            "Training job names must be unique within an AWS account and region, and a training job with this name already exists ({arn})"
        ),
    )
}

/// What the user should know before the job runs.
pub(super) fn notes(request: &Request, program: Program) -> Vec<String> {
    let mut notes = Vec::new();
    let count = request.resource_config.instance_count;
    if count > 1 && matches!(program, Program::Script { .. }) {
        notes.push(format!(
            "the estimator sets no distribution: {count} instances run {count} independent copies of the script, each is billed, and the model of algo-1 is kept"
        ));
    }
    if request.enable_managed_spot_training {
        notes.push(
            "managed spot training: instances here are interrupted only when somebody kills them, and the job then goes on by itself; savings are 0 %"
                .to_owned(),
        );
    }
    notes
}

/// DescribeTrainingJob's output: the request's members and what happened since.
fn describe(job: &TrainingJob) -> Answer {
    let request = job.request()?;
    let Value::Object(mut answer) = job.request.clone() else {
        return Err(ServiceError::internal());
    };
    answer.remove("Tags");
    // The SDK's `attach` reads this member without asking whether it is there.
    if let Some(Value::Object(output)) = answer.get_mut("OutputDataConfig") {
        output.entry("KmsKeyId").or_insert_with(|| json!(""));
    }
    if let Some(Value::Object(algorithm)) = answer.get_mut("AlgorithmSpecification") {
        algorithm.entry("EnableSageMakerMetricsTimeSeries").or_insert(json!(false));
        if request.program()? == Program::Native {
            let definitions = algorithm.entry("MetricDefinitions").or_insert_with(|| json!([]));
            if let Value::Array(list) = definitions {
                list.extend(metrics::native().iter().map(metrics::Definition::as_json));
            }
        }
    }
    let stopping = answer.entry("StoppingCondition").or_insert_with(|| json!({}));
    if let Value::Object(stopping) = stopping {
        stopping.entry("MaxRuntimeInSeconds").or_insert(json!(MAX_RUNTIME_SECONDS));
    }
    for name in [
        "EnableNetworkIsolation",
        "EnableInterContainerTrafficEncryption",
        "EnableManagedSpotTraining",
    ] {
        answer.entry(name).or_insert(json!(false));
    }
    let transitions: Vec<Value> = job
        .transitions
        .iter()
        .map(|t| {
            json!({
                "Status": t.status,
                "StartTime": t.start.seconds(),
                "EndTime": t.end.map(Timestamp::seconds),
                "StatusMessage": t.message,
            })
        })
        .collect();
    let metrics: Vec<Value> = job
        .metrics
        .iter()
        .map(|(name, (value, at))| {
            json!({ "MetricName": name, "Value": value, "Timestamp": at.seconds() })
        })
        .collect();
    let rules = |rules: &[Value]| -> Vec<Value> {
        rules
            .iter()
            .filter_map(|rule| {
                let name = observe::rule_name(rule);
                let state = job.rules.get(name)?;
                let mut answer = json!({
                    "RuleConfigurationName": name,
                    "RuleEvaluationJobArn": state.arn,
                    "RuleEvaluationStatus": state.status,
                    "LastModifiedTime": state.modified.seconds(),
                });
                if let Some(details) = &state.details {
                    answer["StatusDetails"] = json!(details);
                }
                Some(answer)
            })
            .collect()
    };
    let state = json!({
        "TrainingJobArn": job.arn,
        "TuningJobArn": job.tuning.as_ref().map(|tuning| &tuning.arn),
        "TrainingJobStatus": job.status.name(),
        "SecondaryStatus": job.secondary(),
        "SecondaryStatusTransitions": transitions,
        "FailureReason": job.failure,
        // From creation on: the API model says required, and notebooks read it before the job is done.
        "ModelArtifacts": { "S3ModelArtifacts": request.output_uri("model.tar.gz") },
        "CreationTime": job.created.seconds(),
        "LastModifiedTime": job.modified.seconds(),
        "TrainingStartTime": job.started.map(Timestamp::seconds),
        "TrainingEndTime": job.ended.filter(|_| job.started.is_some()).map(Timestamp::seconds),
        "TrainingTimeInSeconds": job.seconds(),
        "BillableTimeInSeconds": job.seconds(),
        "FinalMetricDataList": metrics,
        "DebugRuleEvaluationStatuses": rules(&request.observation.debug_rule_configurations),
        "ProfilerRuleEvaluationStatuses": rules(&request.observation.profiler_rule_configurations),
        "ProfilingStatus": if answer.contains_key("ProfilerConfig") { "Enabled" } else { "Disabled" },
        "WarmPoolStatus": Value::Null,
    });
    if let Value::Object(state) = state {
        answer.extend(state.into_iter().filter(|(_, value)| !value.is_null()));
    }
    Ok(Value::Object(answer))
}

/// A required string member; the model has made sure that it is there.
pub(super) fn text<'a>(input: &'a Value, name: &str) -> &'a str {
    input.get(name).and_then(Value::as_str).unwrap_or_default()
}

fn not_found() -> ServiceError {
    // Not ResourceNotFound: SageMaker's own answer for DescribeTrainingJob and StopTrainingJob.
    ServiceError::validation("Requested resource not found.")
}

//! SageMaker: training jobs, models, endpoints. The API's half of each kind reads and writes rows; the
//! reconcilers make rows happen and are level-triggered: started again after `kill -9` they read the
//! rows and go on.

mod archive;
mod endpoint;
mod image;
mod listing;
mod model;
mod notebook;
mod objects;
mod rows;
mod toolkit;
mod training;
mod tuning;

use std::collections::BTreeMap;
use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};

use kennel_hosting::instance_type::Machine;
use kennel_hosting::process::Launcher;
use kennel_store::state::Database;
use kennel_wire::ServiceError;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::{Notify, watch};

use crate::cloudwatch::Recorder;
use crate::cloudwatch::alarms::Alarms;
use crate::context::{Clock, Context};
use crate::iam::Iam;
use crate::logs::Logs;
use crate::service::{Answer, Service};

pub use endpoint::invoke::{Invocation, Invoked};
pub use image::NATIVE_IMAGE;
pub(crate) use objects::Rights;
pub use rows::MIGRATIONS;
pub use toolkit::{INSTALLED, ToolkitError};

/// What the service is made of.
#[derive(Debug)]
pub struct Options {
    /// Rows.
    pub database: Database,
    /// Roles and their credentials.
    pub iam: Iam,
    /// Data, models and outputs.
    pub objects: kennel_store::objects::FileStore,
    /// What decides over them when a job's or model's role is used.
    pub(crate) rights: Rights,
    /// Where jobs and endpoints log.
    pub logs: Logs,
    /// Where endpoints' and jobs' metrics go.
    pub metrics: Recorder,
    /// The alarms that end deployments.
    pub(crate) alarms: Alarms,
    /// Starts children.
    pub launcher: Launcher,
    /// The data folder.
    pub data: PathBuf,
    /// This binary.
    pub kennel: PathBuf,
    /// Variables of every child.
    pub environment: BTreeMap<String, String>,
    /// Interpreters by runtime, from the configuration.
    pub runtimes: BTreeMap<String, PathBuf>,
    /// Buckets elsewhere, by name, from the configuration.
    pub remote_s3: BTreeMap<String, crate::config::RemoteS3>,
    /// How children reach this server.
    pub url: String,
    /// Region of ARNs made outside of a call.
    pub region: String,
    /// The account.
    pub account: String,
    /// What this machine has.
    pub machine: Machine,
}

/// The service; cheap to clone.
#[derive(Debug, Clone)]
pub struct SageMaker {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    rows: rows::Rows,
    iam: Iam,
    objects: objects::Objects,
    logs: Logs,
    metrics: Recorder,
    alarms: Alarms,
    launcher: Launcher,
    data: PathBuf,
    kennel: PathBuf,
    environment: BTreeMap<String, String>,
    toolkit: toolkit::Toolkit,
    url: String,
    region: String,
    account: String,
    machine: Machine,
    clock: Clock,
    live: endpoint::live::Live,
    jobs_changed: Notify,
    /// A trial's row or a tuning job's has changed.
    trials_changed: Notify,
    endpoints_changed: Notify,
    /// A request waits for a variant's first instance.
    held_changed: Notify,
    captures: endpoint::capture::Writers,
    /// Who scales variants; set once at the start.
    scaling: OnceLock<Arc<dyn ScalingGuard>>,
}

/// Who knows which variants are scaled automatically.
pub(crate) trait ScalingGuard: Send + Sync + std::fmt::Debug {
    /// The variants of an endpoint that are registered for scaling.
    fn scaled_variants(&self, endpoint: &str) -> Vec<String>;
}

impl Inner {
    /// The variants of an endpoint that are scaled automatically: AWS lets no update change their instance
    /// type. <https://docs.aws.amazon.com/sagemaker/latest/dg/endpoint-scaling-update.html>
    fn scaled_variants(&self, endpoint: &str) -> Vec<String> {
        self.scaling.get().map(|guard| guard.scaled_variants(endpoint)).unwrap_or_default()
    }
}

/// A tag of a request.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Tag {
    key: String,
    value: String,
}

fn pairs(tags: Vec<Tag>) -> Vec<(String, String)> {
    tags.into_iter().map(|tag| (tag.key, tag.value)).collect()
}

impl SageMaker {
    /// The service over its state. [`SageMaker::run`] makes rows happen.
    ///
    /// # Errors
    /// When the script toolkit cannot be written into the data folder.
    pub fn new(options: Options) -> Result<Self, ToolkitError> {
        let toolkit = toolkit::Toolkit::install(&options.data, options.runtimes)?;
        let inner = Inner {
            rows: rows::Rows::new(options.database),
            iam: options.iam,
            objects: objects::Objects::new(options.objects, options.remote_s3)
                .guarded(options.rights),
            logs: options.logs,
            metrics: options.metrics,
            alarms: options.alarms,
            launcher: options.launcher,
            data: options.data,
            kennel: options.kennel,
            environment: options.environment,
            toolkit,
            url: options.url,
            region: options.region,
            account: options.account,
            machine: options.machine,
            clock: Clock,
            live: endpoint::live::Live::default(),
            jobs_changed: Notify::new(),
            trials_changed: Notify::new(),
            endpoints_changed: Notify::new(),
            held_changed: Notify::new(),
            captures: endpoint::capture::Writers::default(),
            scaling: OnceLock::new(),
        };
        Ok(SageMaker { inner: Arc::new(inner) })
    }

    /// Who scales variants. It asks this service what there is, so it is made after it.
    pub(crate) fn scaled_by(&self, guard: Arc<dyn ScalingGuard>) {
        // The first one stays.
        let _ = self.inner.scaling.set(guard);
    }

    /// Runs jobs and endpoints until `shutdown` turns true. Their rows stay as they are then: the next
    /// start goes on with them.
    pub async fn run(&self, shutdown: watch::Receiver<bool>) {
        tokio::join!(
            training::reconcile::run(self.inner.clone(), shutdown.clone()),
            tuning::reconcile::run(self.inner.clone(), shutdown.clone()),
            endpoint::reconcile::run(self.inner.clone(), shutdown.clone()),
            endpoint::usage::run(self.inner.clone(), shutdown.clone()),
            endpoint::pulse::run(self.inner.clone(), shutdown.clone()),
            endpoint::idle::run(self.inner.clone(), shutdown),
        );
        // Endpoints have ended now; what they captured is on its way.
        self.inner.captures.finish().await;
    }

    async fn add_tags(&self, input: &Value) -> Answer {
        let arn = self.tagged(input)?;
        let tags: Vec<Tag> =
            serde_json::from_value(input.get("Tags").cloned().unwrap_or(json!([])))
                .map_err(|e| ServiceError::validation(e.to_string()))?;
        self.inner.rows.add_tags(arn, pairs(tags)).await?;
        self.list_tags(input)
    }

    async fn delete_tags(&self, input: &Value) -> Answer {
        let arn = self.tagged(input)?;
        let keys: Vec<String> =
            serde_json::from_value(input.get("TagKeys").cloned().unwrap_or(json!([])))
                .map_err(|e| ServiceError::validation(e.to_string()))?;
        self.inner.rows.remove_tags(arn, keys).await?;
        Ok(json!({}))
    }

    fn list_tags(&self, input: &Value) -> Answer {
        let arn = self.tagged(input)?;
        let tags: Vec<Value> = self
            .inner
            .rows
            .tags(arn)?
            .into_iter()
            .map(|(key, value)| json!({ "Key": key, "Value": value }))
            .collect();
        Ok(json!({ "Tags": tags }))
    }

    /// The ARN of a resource that exists.
    fn tagged<'a>(&self, input: &'a Value) -> Result<&'a str, ServiceError> {
        let arn = training::text(input, "ResourceArn");
        let resource = arn.splitn(6, ':').nth(5).unwrap_or_default();
        let (kind, name) = resource.split_once('/').unwrap_or_default();
        let rows = &self.inner.rows;
        // Names in ARNs of these kinds are lower-cased, hence the search.
        fn named<R>(all: Vec<(String, R)>, name: &str) -> bool {
            all.iter().any(|(n, _)| n.eq_ignore_ascii_case(name))
        }
        let exists = match kind {
            "training-job" => rows.get::<training::TrainingJob>(name)?.is_some(),
            "hyper-parameter-tuning-job" => rows.get::<tuning::TuningJob>(name)?.is_some(),
            "model" => named(rows.all::<model::Model>()?, name),
            "endpoint-config" => named(rows.all::<model::EndpointConfig>()?, name),
            "endpoint" => named(rows.all::<endpoint::Endpoint>()?, name),
            "notebook-instance" => named(rows.all::<notebook::NotebookInstance>()?, name),
            _ => false,
        };
        if exists {
            Ok(arn)
        } else {
            Err(ServiceError::validation(format!("Could not find resource \"{arn}\".")))
        }
    }

    async fn dispatch(&self, context: &Context, operation: &str, input: Value) -> Answer {
        match operation {
            "CreateTrainingJob" => self.create_training_job(context, input).await,
            "DescribeTrainingJob" => self.describe_training_job(&input),
            "ListTrainingJobs" => self.list_training_jobs(&input),
            "StopTrainingJob" => self.stop_training_job(context, &input).await,
            "CreateHyperParameterTuningJob" => self.create_tuning_job(context, input).await,
            "DescribeHyperParameterTuningJob" => self.describe_tuning_job(context, &input),
            "ListHyperParameterTuningJobs" => self.list_tuning_jobs(&input),
            "StopHyperParameterTuningJob" => self.stop_tuning_job(context, &input).await,
            "ListTrainingJobsForHyperParameterTuningJob" => self.list_trials(&input),
            "CreateModel" => self.create_model(context, input).await,
            "DescribeModel" => self.describe_model(context, &input),
            "DeleteModel" => self.delete_model(context, &input).await,
            "ListModels" => self.list_models(&input),
            "CreateEndpointConfig" => self.create_endpoint_config(context, input).await,
            "DescribeEndpointConfig" => self.describe_endpoint_config(context, &input),
            "DeleteEndpointConfig" => self.delete_endpoint_config(context, &input).await,
            "ListEndpointConfigs" => self.list_endpoint_configs(&input),
            "CreateEndpoint" => self.create_endpoint(context, &input).await,
            "DescribeEndpoint" => self.describe_endpoint(context, &input),
            "ListEndpoints" => self.list_endpoints(&input),
            "UpdateEndpoint" => self.update_endpoint(context, &input).await,
            "UpdateEndpointWeightsAndCapacities" => {
                self.update_weights_and_capacities(context, &input).await
            }
            "DeleteEndpoint" => self.delete_endpoint(context, &input).await,
            "AddTags" => self.add_tags(&input).await,
            "DeleteTags" => self.delete_tags(&input).await,
            "ListTags" => self.list_tags(&input),
            "CreateNotebookInstance" => self.create_notebook_instance(context, input).await,
            "DescribeNotebookInstance" => self.describe_notebook_instance(&input),
            "ListNotebookInstances" => self.list_notebook_instances(&input),
            "DeleteNotebookInstance" => self.delete_notebook_instance(context, &input).await,
            other => Err(ServiceError::not_implemented("sagemaker", other)),
        }
    }
}

impl Service for SageMaker {
    fn name(&self) -> &'static str {
        "sagemaker"
    }

    fn call<'a>(
        &'a self,
        context: &'a Context,
        operation: &'a str,
        input: Value,
    ) -> Pin<Box<dyn Future<Output = Answer> + Send + 'a>> {
        Box::pin(self.dispatch(context, operation, input))
    }
}

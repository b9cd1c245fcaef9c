//! Endpoints: the API's half. It reads and writes rows; [`reconcile`] and [`deploy`] make them serve, by
//! the decisions of [`plan`], and [`invoke`] takes the traffic.

pub(super) mod capture;
mod deploy;
mod describe;
mod fleet;
mod hold;
pub(super) mod idle;
mod instance;
pub(super) mod invoke;
pub(super) mod live;
mod load;
mod metrics;
mod plan;
mod policy;
pub(super) mod pulse;
pub(super) mod reconcile;
pub(super) mod scale;
mod shadow;
mod update;
pub(super) mod usage;

use std::collections::BTreeMap;

use kennel_wire::ServiceError;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use self::plan::{Policy, Rollout};
use super::image::{self, Program};
use super::model::{
    DataCapture, EndpointConfig, Model, ProductionVariant, missing_config, missing_model,
};
use super::rows::Row;
use super::training::text;
use super::{SageMaker, Tag, pairs};
use crate::context::{Context, Timestamp};
use crate::service::Answer;

/// `EndpointStatus`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Status {
    Creating,
    Updating,
    /// Kennel itself was restarted and brings the instances up again.
    SystemUpdating,
    /// A deployment is taken back.
    RollingBack,
    InService,
    Deleting,
    Failed,
    /// A deployment could neither be finished nor taken back: both fleets serve.
    UpdateRollbackFailed,
}

impl Status {
    pub(super) fn name(self) -> &'static str {
        match self {
            Status::Creating => "Creating",
            Status::Updating => "Updating",
            Status::SystemUpdating => "SystemUpdating",
            Status::RollingBack => "RollingBack",
            Status::InService => "InService",
            Status::Deleting => "Deleting",
            Status::Failed => "Failed",
            Status::UpdateRollbackFailed => "UpdateRollbackFailed",
        }
    }
}

/// A variant with everything that its instances need, so that the model and the configuration may be
/// deleted while the endpoint serves (the SageMaker SDK does so).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Variant {
    pub name: String,
    pub image: String,
    pub model_data: String,
    pub environment: BTreeMap<String, String>,
    pub instance_type: String,
    pub weight: f64,
    /// Instances that are wanted; 0 after scaling to zero.
    pub desired: u32,
    /// `RoutingStrategy`: `LEAST_OUTSTANDING_REQUESTS` or `RANDOM`, where the configuration says.
    #[serde(default)]
    pub routing: Option<String>,
}

impl Variant {
    pub(super) fn program(&self) -> Result<Program, ServiceError> {
        image::program(&self.image)
    }
}

/// One configuration rolled out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Deployment {
    /// Counts up with each rollout of the endpoint.
    pub number: u64,
    pub config: String,
    pub variants: Vec<Variant>,
    /// Variants that get copies of the traffic; nobody sees their answers.
    #[serde(default)]
    pub shadows: Vec<Variant>,
    /// What of the traffic is kept in S3.
    #[serde(default)]
    pub capture: Option<DataCapture>,
}

impl Deployment {
    /// Instances that are wanted, all production variants together.
    fn instances(&self) -> u32 {
        self.variants.iter().fold(0, |sum, variant| sum.saturating_add(variant.desired))
    }
}

/// The rest of a deployment that could neither be finished nor taken back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Stuck {
    pub deployment: Deployment,
    /// Instances of both fleets and the share of the traffic that this one has.
    serving: plan::Wanted,
}

/// An endpoint as stored.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Endpoint {
    pub arn: String,
    pub region: String,
    pub created: Timestamp,
    pub modified: Timestamp,
    pub status: Status,
    pub failure: Option<String>,
    /// What serves.
    pub current: Option<Deployment>,
    /// What is to serve next.
    pub target: Option<Deployment>,
    /// How far the target is.
    #[serde(default)]
    rollout: Option<Rollout>,
    /// `LastDeploymentConfig`, as it was written.
    #[serde(default)]
    pub deployment_config: Option<Value>,
    /// A second fleet that serves beside the current one since a rollback failed.
    #[serde(default)]
    pub stuck: Option<Stuck>,
    /// Number of the last deployment.
    pub last: u64,
}

impl Row for Endpoint {
    const KIND: &'static str = "endpoint";
    fn created(&self) -> Timestamp {
        self.created
    }
}

/// Instances of one variant at most.
const MAX_INSTANCES: u32 = 100;

impl SageMaker {
    /// A configuration with its models, as they are now; the number is to be given.
    fn resolve(&self, context: &Context, config: &str) -> Result<Deployment, ServiceError> {
        let found = self
            .inner
            .rows
            .get::<EndpointConfig>(config)?
            .ok_or_else(|| missing_config(context, config))?
            .read()?;
        let capture = match found.data_capture_config {
            Some(capture) if capture.enable_capture => {
                let mut roles = Vec::new();
                for variant in &found.production_variants {
                    let name = variant.model_name.as_deref().unwrap_or_default();
                    roles.extend(self.inner.rows.get::<Model>(name)?.and_then(|m| m.role()));
                }
                let objects = &self.inner.objects;
                Some(capture::permitted(objects, &context.caller, capture, roles)?)
            }
            other => other,
        };
        let variants = |list: Vec<ProductionVariant>| -> Result<Vec<Variant>, ServiceError> {
            list.into_iter().map(|variant| self.resolve_variant(context, variant)).collect()
        };
        Ok(Deployment {
            number: 0,
            config: config.to_owned(),
            variants: variants(found.production_variants)?,
            shadows: variants(found.shadow_production_variants)?,
            capture,
        })
    }

    fn resolve_variant(
        &self,
        context: &Context,
        variant: ProductionVariant,
    ) -> Result<Variant, ServiceError> {
        let name = variant.model_name.unwrap_or_default();
        let model = self
            .inner
            .rows
            .get::<Model>(&name)?
            .ok_or_else(|| missing_model(context, &name))?
            .container()?;
        Ok(Variant {
            name: variant.variant_name,
            image: model.image.unwrap_or_default(),
            model_data: model.model_data_url.unwrap_or_default(),
            environment: model.environment,
            instance_type: variant.instance_type.unwrap_or_default(),
            weight: variant.initial_variant_weight.unwrap_or(1.0),
            desired: variant.initial_instance_count.unwrap_or(1),
            routing: variant.routing_config.map(|routing| routing.routing_strategy),
        })
    }

    pub(super) async fn create_endpoint(&self, context: &Context, input: &Value) -> Answer {
        let name = text(input, "EndpointName");
        let config = text(input, "EndpointConfigName");
        let tags: Vec<Tag> = match input.get("Tags") {
            Some(tags) => serde_json::from_value(tags.clone())
                .map_err(|e| ServiceError::validation(e.to_string()))?,
            None => Vec::new(),
        };
        // It is for later updates (`RetainDeploymentConfig`); the first deployment goes by none.
        let deployment_config = input.get("DeploymentConfig").filter(|c| !c.is_null()).cloned();
        deployment_config.as_ref().map(policy::parse).transpose()?;
        let deployment = Deployment { number: 1, ..self.resolve(context, config)? };
        let arn = endpoint_arn(context, name);
        let endpoint = Endpoint {
            arn: arn.clone(),
            region: context.region.clone(),
            created: context.now,
            modified: context.now,
            status: Status::Creating,
            failure: None,
            current: None,
            target: Some(deployment),
            rollout: Some(Rollout::new(Policy::at_once(), Vec::new(), context.now.0)),
            deployment_config,
            stuck: None,
            last: 1,
        };
        let taken =
            ServiceError::validation(format!("Cannot create already existing endpoint \"{arn}\"."));
        self.inner.rows.insert(name, &arn, endpoint, pairs(tags), taken).await?;
        self.inner.endpoints_changed.notify_waiters();
        Ok(json!({ "EndpointArn": arn }))
    }

    pub(super) async fn delete_endpoint(&self, context: &Context, input: &Value) -> Answer {
        let name = text(input, "EndpointName");
        let now = context.now;
        self.inner
            .rows
            .change::<Endpoint, ()>(name, move |endpoint| {
                if matches!(
                    endpoint.status,
                    Status::Creating | Status::Updating | Status::RollingBack | Status::Deleting
                ) {
                    return Err(busy(&endpoint.arn, endpoint.status));
                }
                endpoint.status = Status::Deleting;
                endpoint.modified = now;
                Ok(())
            })
            .await?
            .ok_or_else(|| missing(context, name))?;
        // From now on no request is taken, whatever the reconciler is doing.
        self.inner.live.close(name);
        self.inner.endpoints_changed.notify_waiters();
        Ok(json!({}))
    }
}

fn endpoint_arn(context: &Context, name: &str) -> String {
    context.arn("sagemaker", &format!("endpoint/{}", name.to_lowercase()))
}

fn busy(arn: &str, status: Status) -> ServiceError {
    ServiceError::validation(format!(
        "Cannot update in-progress endpoint \"{arn}\": its status is {}.",
        status.name()
    ))
}

fn missing(context: &Context, name: &str) -> ServiceError {
    ServiceError::validation(format!(
        "Could not find endpoint \"{}\".",
        endpoint_arn(context, name)
    ))
}

//! Endpoints: the API's half. It reads and writes rows; [`reconcile`] makes them serve and [`invoke`]
//! takes the traffic.

pub(super) mod capture;
mod hold;
pub(super) mod idle;
mod instance;
pub(super) mod invoke;
pub(super) mod live;
mod load;
mod metrics;
pub(super) mod pulse;
pub(super) mod reconcile;
pub(super) mod scale;
mod shadow;
pub(super) mod usage;

use std::collections::BTreeMap;

use kennel_wire::ServiceError;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::image::{self, Program};
use super::listing::{Filter, Item, page};
use super::model::{DataCapture, EndpointConfig, Model, missing_config, missing_model};
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
    InService,
    Deleting,
    Failed,
}

impl Status {
    pub(super) fn name(self) -> &'static str {
        match self {
            Status::Creating => "Creating",
            Status::Updating => "Updating",
            Status::SystemUpdating => "SystemUpdating",
            Status::InService => "InService",
            Status::Deleting => "Deleting",
            Status::Failed => "Failed",
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
    pub desired: u32,
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
    /// Number of the last deployment.
    pub last: u64,
}

impl Row for Endpoint {
    const KIND: &'static str = "endpoint";
    fn created(&self) -> Timestamp {
        self.created
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Capacity {
    variant_name: String,
    desired_weight: Option<f64>,
    desired_instance_count: Option<u32>,
}

/// Instances of one variant at most.
const MAX_INSTANCES: u32 = 100;

impl SageMaker {
    /// The variants of a configuration with their models, as they are now.
    fn resolve(&self, context: &Context, config: &str) -> Result<Vec<Variant>, ServiceError> {
        let found = self
            .inner
            .rows
            .get::<EndpointConfig>(config)?
            .ok_or_else(|| missing_config(context, config))?;
        found
            .variants()?
            .into_iter()
            .map(|variant| {
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
                })
            })
            .collect()
    }

    pub(super) async fn create_endpoint(&self, context: &Context, input: &Value) -> Answer {
        let name = text(input, "EndpointName");
        let config = text(input, "EndpointConfigName");
        let tags: Vec<Tag> = match input.get("Tags") {
            Some(tags) => serde_json::from_value(tags.clone())
                .map_err(|e| ServiceError::validation(e.to_string()))?,
            None => Vec::new(),
        };
        let variants = self.resolve(context, config)?;
        let arn = endpoint_arn(context, name);
        let endpoint = Endpoint {
            arn: arn.clone(),
            region: context.region.clone(),
            created: context.now,
            modified: context.now,
            status: Status::Creating,
            failure: None,
            current: None,
            target: Some(Deployment {
                number: 1,
                config: config.to_owned(),
                variants,
                shadows: Vec::new(),
                capture: None,
            }),
            last: 1,
        };
        let taken =
            ServiceError::validation(format!("Cannot create already existing endpoint \"{arn}\"."));
        self.inner.rows.insert(name, &arn, endpoint, pairs(tags), taken).await?;
        self.inner.endpoints_changed.notify_waiters();
        Ok(json!({ "EndpointArn": arn }))
    }

    pub(super) fn describe_endpoint(&self, context: &Context, input: &Value) -> Answer {
        let name = text(input, "EndpointName");
        let endpoint =
            self.inner.rows.get::<Endpoint>(name)?.ok_or_else(|| missing(context, name))?;
        let shown = endpoint.current.as_ref().or(endpoint.target.as_ref());
        let variants: Vec<Value> = shown
            .map(|deployment| {
                deployment
                    .variants
                    .iter()
                    .map(|variant| self.describe_variant(name, &endpoint, variant))
                    .collect()
            })
            .unwrap_or_default();
        let pending =
            endpoint.target.as_ref().filter(|_| endpoint.current.is_some()).map(|target| {
                json!({
                    "EndpointConfigName": target.config,
                    "ProductionVariants": target.variants.iter().map(|v| json!({
                        "VariantName": v.name,
                        "DesiredWeight": v.weight,
                        "DesiredInstanceCount": v.desired,
                        "InstanceType": v.instance_type,
                    })).collect::<Vec<_>>(),
                })
            });
        let mut answer = json!({
            "EndpointName": name,
            "EndpointArn": endpoint.arn,
            "EndpointConfigName": shown.map(|d| d.config.clone()),
            "EndpointStatus": endpoint.status.name(),
            "CreationTime": endpoint.created.seconds(),
            "LastModifiedTime": endpoint.modified.seconds(),
            "FailureReason": endpoint.failure,
            "PendingDeploymentSummary": pending,
        });
        // AWS shows no variants before there is an instance.
        if endpoint.current.is_some()
            && let Some(answer) = answer.as_object_mut()
        {
            answer.insert("ProductionVariants".to_owned(), Value::Array(variants));
        }
        Ok(answer)
    }

    fn describe_variant(&self, name: &str, endpoint: &Endpoint, variant: &Variant) -> Value {
        json!({
            "VariantName": variant.name,
            "DeployedImages": [{
                "SpecifiedImage": variant.image,
                "ResolvedImage": variant.image,
                "ResolutionTime": endpoint.created.seconds(),
            }],
            "CurrentWeight": variant.weight,
            "DesiredWeight": variant.weight,
            "CurrentInstanceCount": self.inner.live.ready(name, &variant.name),
            "DesiredInstanceCount": variant.desired,
        })
    }

    pub(super) fn list_endpoints(&self, input: &Value) -> Answer {
        let filter: Filter = serde_json::from_value(input.clone())
            .map_err(|e| ServiceError::validation(e.to_string()))?;
        let items = self
            .inner
            .rows
            .all::<Endpoint>()?
            .into_iter()
            .map(|(name, row)| Item {
                name,
                created: row.created,
                modified: row.modified,
                status: row.status.name().to_owned(),
                row,
            })
            .collect();
        let (shown, next) = page(&filter, items, false)?;
        let endpoints: Vec<Value> = shown
            .iter()
            .map(|i| {
                json!({
                    "EndpointName": i.name,
                    "EndpointArn": i.row.arn,
                    "CreationTime": i.created.seconds(),
                    "LastModifiedTime": i.modified.seconds(),
                    "EndpointStatus": i.status,
                })
            })
            .collect();
        Ok(json!({ "Endpoints": endpoints, "NextToken": next }))
    }

    pub(super) async fn update_endpoint(&self, context: &Context, input: &Value) -> Answer {
        let name = text(input, "EndpointName").to_owned();
        let config = text(input, "EndpointConfigName").to_owned();
        if input.get("DeploymentConfig").is_some_and(|c| {
            let blue_green = c.pointer("/BlueGreenUpdatePolicy/TrafficRoutingConfiguration/Type");
            blue_green.is_none_or(|t| t != "ALL_AT_ONCE")
                || c.get("AutoRollbackConfiguration").is_some()
        }) {
            return Err(ServiceError::validation(
                "deployments other than ALL_AT_ONCE without alarms are not implemented by Kennel\nhint: leave `DeploymentConfig` out, or see README's table",
            ));
        }
        let retain =
            input.get("RetainAllVariantProperties").and_then(Value::as_bool).unwrap_or(false);
        let variants = self.resolve(context, &config)?;
        let now = context.now;
        let (endpoint, ()) = self
            .inner
            .rows
            .change::<Endpoint, ()>(&name, move |endpoint| {
                match endpoint.status {
                    Status::InService | Status::Failed => {}
                    other => return Err(busy(&endpoint.arn, other)),
                }
                let mut variants = variants;
                if retain {
                    for variant in &mut variants {
                        let old = endpoint.current.iter().flat_map(|d| &d.variants);
                        if let Some(old) = old.into_iter().find(|old| old.name == variant.name) {
                            variant.desired = old.desired;
                            variant.weight = old.weight;
                        }
                    }
                }
                endpoint.last += 1;
                endpoint.target = Some(Deployment {
                    number: endpoint.last,
                    config,
                    variants,
                    shadows: Vec::new(),
                    capture: None,
                });
                endpoint.status = Status::Updating;
                endpoint.failure = None;
                endpoint.modified = now;
                Ok(())
            })
            .await?
            .ok_or_else(|| missing(context, &name))?;
        self.inner.endpoints_changed.notify_waiters();
        Ok(json!({ "EndpointArn": endpoint.arn }))
    }

    pub(super) async fn update_weights_and_capacities(
        &self,
        context: &Context,
        input: &Value,
    ) -> Answer {
        let name = text(input, "EndpointName").to_owned();
        let wanted: Vec<Capacity> = input
            .get("DesiredWeightsAndCapacities")
            .map(|list| serde_json::from_value(list.clone()))
            .transpose()
            .map_err(|e| ServiceError::validation(e.to_string()))?
            .unwrap_or_default();
        let now = context.now;
        let (endpoint, ()) = self
            .inner
            .rows
            .change::<Endpoint, ()>(&name, move |endpoint| {
                if endpoint.status != Status::InService {
                    return Err(busy(&endpoint.arn, endpoint.status));
                }
                apply(endpoint, &wanted)?;
                endpoint.status = Status::Updating;
                endpoint.modified = now;
                Ok(())
            })
            .await?
            .ok_or_else(|| missing(context, &name))?;
        self.inner.endpoints_changed.notify_waiters();
        Ok(json!({ "EndpointArn": endpoint.arn }))
    }

    pub(super) async fn delete_endpoint(&self, context: &Context, input: &Value) -> Answer {
        let name = text(input, "EndpointName");
        let now = context.now;
        self.inner
            .rows
            .change::<Endpoint, ()>(name, move |endpoint| {
                if matches!(endpoint.status, Status::Creating | Status::Updating | Status::Deleting)
                {
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

/// Sets weights and counts of the variants named; all or none.
fn apply(endpoint: &mut Endpoint, wanted: &[Capacity]) -> Result<(), ServiceError> {
    let Some(current) = endpoint.current.as_mut() else {
        return Err(busy(&endpoint.arn, endpoint.status));
    };
    for capacity in wanted {
        let name = &capacity.variant_name;
        let Some(variant) = current.variants.iter_mut().find(|v| v.name == *name) else {
            return Err(ServiceError::validation(format!(
                "The variant name(s) \"{name}\" is/are not present within endpoint configuration \"{}\".",
                current.config
            )));
        };
        if let Some(count) = capacity.desired_instance_count {
            if !(1..=MAX_INSTANCES).contains(&count) {
                return Err(ServiceError::validation(format!(
                    "variant `{name}`: {count} instances were asked for; 1 to {MAX_INSTANCES} are possible"
                )));
            }
            variant.desired = count;
        }
        if let Some(weight) = capacity.desired_weight {
            variant.weight = weight;
        }
    }
    if current.variants.iter().map(|v| v.weight).sum::<f64>() <= 0.0 {
        return Err(ServiceError::validation(
            "the variants' weights sum up to 0; at least one must get traffic",
        ));
    }
    Ok(())
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

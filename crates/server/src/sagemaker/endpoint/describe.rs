//! DescribeEndpoint and ListEndpoints: the rows in AWS's shape.

use kennel_wire::ServiceError;
use serde_json::{Value, json};

use super::plan::{Phase, Rollout};
use super::{Deployment, Endpoint, Status, Variant, missing};
use crate::context::{Context, Timestamp};
use crate::sagemaker::SageMaker;
use crate::sagemaker::listing::{Filter, Item, page};
use crate::sagemaker::training::text;
use crate::service::Answer;

impl SageMaker {
    pub(in crate::sagemaker) fn describe_endpoint(
        &self,
        context: &Context,
        input: &Value,
    ) -> Answer {
        let name = text(input, "EndpointName");
        let endpoint =
            self.inner.rows.get::<Endpoint>(name)?.ok_or_else(|| missing(context, name))?;
        let shown = endpoint.current.as_ref().or(endpoint.target.as_ref());
        let mut answer = json!({
            "EndpointName": name,
            "EndpointArn": endpoint.arn,
            "EndpointConfigName": shown.map(|d| d.config.clone()),
            "EndpointStatus": endpoint.status.name(),
            "CreationTime": endpoint.created.seconds(),
            "LastModifiedTime": endpoint.modified.seconds(),
            "FailureReason": endpoint.failure,
            "LastDeploymentConfig": endpoint.deployment_config,
            "PendingDeploymentSummary": self.pending(name, &endpoint),
            "DataCaptureConfig": shown.and_then(capture),
        });
        // AWS shows no variants before there is an instance.
        if let (Some(current), Some(answer)) = (&endpoint.current, answer.as_object_mut()) {
            let status = standing(&endpoint);
            let list = |variants: &[Variant]| -> Value {
                let shown = variants.iter().map(|variant| {
                    let mut shown = self.summary(name, &endpoint, current, variant);
                    if let Some((word, since)) = status {
                        shown["VariantStatus"] = variant_status(word, since);
                    }
                    shown
                });
                shown.collect()
            };
            answer.insert("ProductionVariants".to_owned(), list(&current.variants));
            if !current.shadows.is_empty() {
                answer.insert("ShadowProductionVariants".to_owned(), list(&current.shadows));
            }
        }
        Ok(answer)
    }

    /// What `ProductionVariantSummary` and `PendingProductionVariantSummary` have in common.
    fn summary(
        &self,
        name: &str,
        endpoint: &Endpoint,
        deployment: &Deployment,
        variant: &Variant,
    ) -> Value {
        let mut shown = json!({
            "VariantName": variant.name,
            "DeployedImages": [{
                "SpecifiedImage": variant.image,
                "ResolvedImage": variant.image,
                "ResolutionTime": endpoint.created.seconds(),
            }],
            "CurrentWeight": variant.weight,
            "DesiredWeight": variant.weight,
            "CurrentInstanceCount": self.inner.live.ready(name, deployment.number, &variant.name),
            "DesiredInstanceCount": variant.desired,
        });
        if let Some(routing) = &variant.routing {
            shown["RoutingConfig"] = json!({ "RoutingStrategy": routing });
        }
        shown
    }

    /// `PendingDeploymentSummary`, while something is being deployed.
    fn pending(&self, name: &str, endpoint: &Endpoint) -> Option<Value> {
        let target = endpoint.target.as_ref()?;
        let since = endpoint.rollout.as_ref().map_or(endpoint.modified, |r| Timestamp(r.since));
        let started = endpoint.rollout.as_ref().map_or(endpoint.modified, |r| Timestamp(r.started));
        let word = endpoint.rollout.as_ref().map_or("Creating", arriving);
        let list = |variants: &[Variant]| -> Value {
            let shown = variants.iter().map(|variant| {
                let mut shown = self.summary(name, endpoint, target, variant);
                shown["InstanceType"] = json!(variant.instance_type);
                shown["VariantStatus"] = variant_status(word, since);
                shown
            });
            shown.collect()
        };
        let mut summary = json!({
            "EndpointConfigName": target.config,
            "ProductionVariants": list(&target.variants),
            "StartTime": started.seconds(),
        });
        if !target.shadows.is_empty() {
            summary["ShadowProductionVariants"] = list(&target.shadows);
        }
        Some(summary)
    }

    pub(in crate::sagemaker) fn list_endpoints(&self, input: &Value) -> Answer {
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
}

/// `VariantStatus` of the fleet that arrives. The words are those of
/// <https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_ProductionVariantStatus.html>.
fn arriving(rollout: &Rollout) -> &'static str {
    match rollout.phase {
        Phase::Creating { .. } => "Creating",
        Phase::Activating { .. } => "ActivatingTraffic",
        Phase::Baking { .. } | Phase::Terminating => "Baking",
        Phase::RollingBack { .. } => "Deleting",
    }
}

/// `VariantStatus` of the fleet that serves, where something is done to it.
fn standing(endpoint: &Endpoint) -> Option<(&'static str, Timestamp)> {
    match (&endpoint.rollout, endpoint.status) {
        (Some(rollout), _) => {
            let word = match rollout.phase {
                Phase::Terminating => "Deleting",
                Phase::RollingBack { .. } => "ActivatingTraffic",
                _ => return None,
            };
            Some((word, Timestamp(rollout.since)))
        }
        (None, Status::Updating) => Some(("Updating", endpoint.modified)),
        _ => None,
    }
}

fn variant_status(word: &str, since: Timestamp) -> Value {
    json!([{ "Status": word, "StartTime": since.seconds() }])
}

/// `DataCaptureConfigSummary`.
fn capture(deployment: &Deployment) -> Option<Value> {
    let capture = deployment.capture.as_ref()?;
    Some(json!({
        "EnableCapture": capture.enable_capture,
        "CaptureStatus": if capture.enable_capture { "Started" } else { "Stopped" },
        "CurrentSamplingPercentage": capture.initial_sampling_percentage,
        "DestinationS3Uri": capture.destination_s3_uri,
        "KmsKeyId": "",
    }))
}

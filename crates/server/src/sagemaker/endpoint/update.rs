//! UpdateEndpoint and UpdateEndpointWeightsAndCapacities: what the caller wants, checked and written into
//! the row. `deploy` and `reconcile` make it happen.

use kennel_wire::ServiceError;
use serde::Deserialize;
use serde_json::{Value, json};

use super::plan::{Policy, Rollout, Shift};
use super::{Deployment, Endpoint, MAX_INSTANCES, Status, Variant, busy, missing, policy};
use crate::context::Context;
use crate::sagemaker::SageMaker;
use crate::sagemaker::training::text;
use crate::service::Answer;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Capacity {
    variant_name: String,
    desired_weight: Option<f64>,
    desired_instance_count: Option<u32>,
}

/// What UpdateEndpoint asks for beside the configuration.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Wishes {
    retain_all_variant_properties: bool,
    exclude_retained_variant_properties: Vec<Property>,
    deployment_config: Option<Value>,
    retain_deployment_config: bool,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Property {
    variant_property_type: String,
}

impl Wishes {
    fn read(input: &Value) -> Result<Wishes, ServiceError> {
        let wishes: Wishes = serde_json::from_value(input.clone())
            .map_err(|e| ServiceError::validation(e.to_string()))?;
        if wishes.retain_deployment_config && wishes.deployment_config.is_some() {
            return Err(ServiceError::validation(
                "only one of `DeploymentConfig` and `RetainDeploymentConfig` may be given",
            ));
        }
        if !wishes.exclude_retained_variant_properties.is_empty()
            && !wishes.retain_all_variant_properties
        {
            return Err(ServiceError::validation(
                "`ExcludeRetainedVariantProperties` has a meaning only when `RetainAllVariantProperties` is true",
            ));
        }
        Ok(wishes)
    }

    fn retains(&self, property: &str) -> bool {
        let excluded = &self.exclude_retained_variant_properties;
        self.retain_all_variant_properties
            && !excluded.iter().any(|p| p.variant_property_type == property)
    }

    /// Takes over from what serves whatever is to be retained.
    fn retain(&self, next: &mut Deployment, current: Option<&Deployment>) {
        let Some(current) = current else { return };
        let old = |name: &str| {
            let all = current.variants.iter().chain(&current.shadows);
            all.into_iter().find(|old| old.name == name)
        };
        for variant in next.variants.iter_mut().chain(&mut next.shadows) {
            let Some(old) = old(&variant.name) else { continue };
            if self.retains("DesiredInstanceCount") {
                variant.desired = old.desired;
            }
            if self.retains("DesiredWeight") {
                variant.weight = old.weight;
            }
        }
        if self.retains("DataCaptureConfig") {
            next.capture.clone_from(&current.capture);
        }
    }
}

/// Checks a policy against the fleets: AWS shifts traffic in steps only between fleets whose variants
/// have the same names, and rolls only fleets of one variant.
/// <https://docs.aws.amazon.com/sagemaker/latest/dg/deployment-guardrails-exclusions.html>
fn check_fleets(policy: &Policy, old: &Deployment, new: &Deployment) -> Result<(), ServiceError> {
    if !matches!(policy, Policy::BlueGreen { shift: Shift::AllAtOnce, .. }) {
        let names = |deployment: &Deployment| {
            let mut names: Vec<String> =
                deployment.variants.iter().map(|v| v.name.clone()).collect();
            names.sort();
            names
        };
        let (before, after) = (names(old), names(new));
        if before != after {
            return Err(ServiceError::validation(format!(
                "a deployment in steps needs the variants that serve now, [{}]; the new endpoint configuration has [{}]\nhint: keep the names, or deploy ALL_AT_ONCE",
                before.join(", "),
                after.join(", ")
            )));
        }
    }
    if matches!(policy, Policy::Rolling { .. }) && new.variants.len() != 1 {
        return Err(ServiceError::validation(
            "endpoints of several production variants cannot be deployed to with `RollingUpdatePolicy`\nhint: use `BlueGreenUpdatePolicy`",
        ));
    }
    policy::check_counts(policy, old.instances(), new.instances())
}

impl SageMaker {
    pub(in crate::sagemaker) async fn update_endpoint(
        &self,
        context: &Context,
        input: &Value,
    ) -> Answer {
        let name = text(input, "EndpointName").to_owned();
        let config = text(input, "EndpointConfigName").to_owned();
        let wishes = Wishes::read(input)?;
        // As it would be written; which of the two counts is known with the row.
        if let Some(wish) = &wishes.deployment_config {
            let (_, alarms) = policy::parse(wish)?;
            self.check_alarms(&alarms)?;
        }
        let deployment = self.resolve(context, &config)?;
        let scaled = self.inner.scaled_variants(&name);
        let now = context.now;
        let (endpoint, ()) = self
            .inner
            .rows
            .change::<Endpoint, ()>(&name, move |endpoint| {
                match endpoint.status {
                    Status::InService | Status::Failed | Status::UpdateRollbackFailed => {}
                    other => return Err(busy(&endpoint.arn, other)),
                }
                let mut next = deployment;
                wishes.retain(&mut next, endpoint.current.as_ref());
                same_types(&scaled, endpoint.current.as_ref(), &next)?;
                let wish = match wishes.retain_deployment_config {
                    true => endpoint.deployment_config.clone(),
                    false => wishes.deployment_config,
                };
                let (mut policy, mut alarms) = match &wish {
                    Some(wish) => policy::parse(wish)?,
                    None => (Policy::at_once(), Vec::new()),
                };
                match &endpoint.current {
                    Some(current) => check_fleets(&policy, current, &next)?,
                    // Nothing serves that one could go back to.
                    None => (policy, alarms) = (Policy::at_once(), Vec::new()),
                }
                // Two fleets serve already: a third is brought up whole.
                if endpoint.stuck.is_some() && matches!(policy, Policy::Rolling { .. }) {
                    policy = Policy::at_once();
                }
                endpoint.last += 1;
                next.number = endpoint.last;
                endpoint.target = Some(next);
                endpoint.rollout = Some(Rollout::new(policy, alarms, now.0));
                endpoint.deployment_config = wish;
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

    /// Refuses names of alarms that do not exist.
    fn check_alarms(&self, names: &[String]) -> Result<(), ServiceError> {
        for name in names {
            if self.inner.alarms.state(name)?.is_none() {
                return Err(ServiceError::validation(format!(
                    "CloudWatch alarm `{name}` of `AutoRollbackConfiguration` does not exist\nhint: create it with PutMetricAlarm first"
                )));
            }
        }
        Ok(())
    }

    pub(in crate::sagemaker) async fn update_weights_and_capacities(
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
}

/// Refuses another instance type for a variant that is scaled automatically.
/// <https://docs.aws.amazon.com/sagemaker/latest/dg/endpoint-scaling-update.html>
fn same_types(
    scaled: &[String],
    current: Option<&Deployment>,
    next: &Deployment,
) -> Result<(), ServiceError> {
    let Some(current) = current else { return Ok(()) };
    let find = |deployment: &Deployment, name: &str| -> Option<String> {
        let found = deployment.variants.iter().find(|v: &&Variant| v.name == name);
        found.map(|v| v.instance_type.clone())
    };
    for name in scaled {
        if let (Some(old), Some(new)) = (find(current, name), find(next, name))
            && old != new
        {
            return Err(ServiceError::validation(format!(
                "variant `{name}` is registered as a scalable target: its instance type `{old}` cannot be changed to `{new}`\nhint: DeregisterScalableTarget first, update, then register it again"
            )));
        }
    }
    Ok(())
}

/// Sets weights and counts of the variants named; all or none.
fn apply(endpoint: &mut Endpoint, wanted: &[Capacity]) -> Result<(), ServiceError> {
    let Some(current) = endpoint.current.as_mut() else {
        return Err(busy(&endpoint.arn, endpoint.status));
    };
    for capacity in wanted {
        let name = &capacity.variant_name;
        let mut all = current.variants.iter_mut().chain(&mut current.shadows);
        let Some(variant) = all.find(|v| v.name == *name) else {
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

#[cfg(test)]
mod tests;

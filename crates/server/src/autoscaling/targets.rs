//! RegisterScalableTarget, DescribeScalableTargets, DeregisterScalableTarget.

use std::collections::{BTreeMap, BTreeSet};

use kennel_scaling::scaler::{Bounds, Memory, Suspended};
use kennel_wire::ServiceError;
use serde::Deserialize as _;
use serde_json::{Value, json};

use super::mode::{self, Mode};
use super::resource::{Facts, Resource};
use super::rows::{self, TargetRow};
use super::{Autoscaling, Filter, capacity, list, no_target, paged, resource, tags, too_many};
use crate::context::Context;
use crate::service::{Answer, Refused};

/// AWS's quota of scalable targets of one kind in a region.
const TARGETS: usize = 500;

/// Changes of a `SuspendedState`: members that are not given stay.
fn suspended(input: &Value, mut now: Suspended) -> Suspended {
    let flag = |name: &str| {
        input.get("SuspendedState").and_then(|state| state.get(name)).and_then(Value::as_bool)
    };
    if let Some(given) = flag("DynamicScalingInSuspended") {
        now.scale_in = given;
    }
    if let Some(given) = flag("DynamicScalingOutSuspended") {
        now.scale_out = given;
    }
    if let Some(given) = flag("ScheduledScalingSuspended") {
        now.scheduled = given;
    }
    now
}

/// May a resource have these bounds?
///
/// # Errors
/// `ValidationException` that says why not.
pub(super) fn check_bounds(of: &Resource, bounds: Bounds, mode: Mode) -> Result<(), ServiceError> {
    if bounds.max < bounds.min {
        return Err(ServiceError::validation(
            "Maximum capacity cannot be less than minimum capacity",
        ));
    }
    // <https://docs.aws.amazon.com/sagemaker/latest/dg/endpoint-auto-scaling-zero-instances.html>
    if bounds.min == 0 && matches!(of, Resource::Variant { .. }) && mode == Mode::Aws {
        return Err(ServiceError::validation(format!(
            "Minimum capacity cannot be less than 1 for `{of}`: on AWS only inference components and asynchronous endpoints can be scaled to zero\nhint: the fast mode can, which AWS does not have; register the target with the tag `{}` = `fast`, or say `mode = \"fast\"` under [autoscaling] in kennel.toml",
            mode::TAG
        )));
    }
    Ok(())
}

/// # Errors
/// `ValidationException` for instances that run on processor credits.
/// <https://docs.aws.amazon.com/sagemaker/latest/dg/endpoint-auto-scaling-prerequisites.html>
fn check_instance(of: &Resource, facts: &Facts) -> Result<(), ServiceError> {
    match facts.instance.as_ref().filter(|instance| instance.burstable) {
        None => Ok(()),
        Some(instance) => Err(ServiceError::validation(format!(
            "`{of}` cannot be scaled: automatic scaling does not support burstable instance types such as {}. They earn processor credits while idle and are slowed down to their baseline when those are spent, so that a load which keeps the processor busy, as inference does, cannot be sustained, and what an instance can take is not a number to scale by (the console greys the choice out)\nhint: deploy the model on ml.m5.large (the next in price), ml.c5.large or ml.c5.xlarge (more processor for the money), or ml.g4dn.xlarge for a GPU, by a new endpoint configuration and UpdateEndpoint",
            instance.name
        ))),
    }
}

fn missing(of: &Resource) -> ServiceError {
    ServiceError::validation(match of {
        Resource::Variant { endpoint, variant } => format!(
            "SageMaker endpoint variant doesn't exist: {of}\nhint: DescribeEndpoint of `{endpoint}` lists its variants; `{variant}` is to be one of them"
        ),
        Resource::Concurrency { function, .. } => format!(
            "Lambda function alias or version doesn't exist: {of}\nhint: PublishVersion and CreateAlias of `{function}` make what can be scaled; $LATEST cannot"
        ),
    })
}

impl Autoscaling {
    /// What there is of a resource that is to be scaled.
    pub(super) fn existing(&self, of: &Resource) -> Result<Facts, ServiceError> {
        let facts = match self.inner.resources.facts(of) {
            // Lambda's words for what a target cannot be; this service has one code for that.
            Err(e) if e.status < 500 => return Err(ServiceError::validation(e.message)),
            other => other?,
        };
        facts.ok_or_else(|| missing(of))
    }

    pub(super) async fn register(&self, context: &Context, input: &Value) -> Answer {
        let of = resource(input)?;
        let (min, max) = (capacity(input, "MinCapacity")?, capacity(input, "MaxCapacity")?);
        let given: BTreeMap<String, String> = match input.get("Tags") {
            Some(tags) => {
                BTreeMap::deserialize(tags).map_err(|e| ServiceError::validation(e.to_string()))?
            }
            None => BTreeMap::new(),
        };
        mode::check(&given)?;
        // Asked for before the facts, so that a mistake in the request is named first.
        if let (Some(min), Some(max)) = (min, max) {
            check_bounds(&of, Bounds { min, max }, Mode::Fast)?;
        }
        let facts = self.existing(&of)?;
        check_instance(&of, &facts)?;
        let (input, default, region, now) =
            (input.clone(), self.inner.mode, context.region.clone(), context.now);
        let account = self.inner.account.clone();
        let resource = of.clone();
        let deciding = self.inner.deciding.lock().await;
        let row = self
            .write(move |c| {
                let old = rows::target(c, &resource)?;
                let mut row = match old {
                    Some(old) => old,
                    None => {
                        let (Some(min), Some(max)) = (min, max) else {
                            return Err(Refused::Service(ServiceError::validation(
                                "MinCapacity and MaxCapacity must be specified to register a new scalable target",
                            )));
                        };
                        if rows::targets(c)?.len() >= TARGETS {
                            return Err(Refused::Service(too_many(format!(
                                "there are {TARGETS} scalable targets already, which is the most"
                            ))));
                        }
                        let id = uuid::Uuid::new_v4().simple();
                        TargetRow {
                            arn: format!(
                                "arn:aws:application-autoscaling:{region}:{account}:scalable-target/{id}"
                            ),
                            resource,
                            region,
                            bounds: Bounds { min, max },
                            suspended: Suspended::default(),
                            created: now,
                            tags: BTreeMap::new(),
                            memory: Memory::default(),
                            unbounded: false,
                        }
                    }
                };
                row.bounds.min = min.unwrap_or(row.bounds.min);
                row.bounds.max = max.unwrap_or(row.bounds.max);
                row.suspended = suspended(&input, row.suspended);
                row.tags.extend(given);
                tags::check_count(&row.tags)?;
                check_bounds(&row.resource, row.bounds, Mode::of_target(&row.tags, default))?;
                // Brought inside at once, or as soon as the service can be asked.
                row.unbounded = true;
                rows::put_target(c, &row)?;
                Ok(row)
            })
            .await?;
        self.bring_inside(&row, now).await;
        drop(deciding);
        self.inner.changed.notify_one();
        Ok(json!({ "ScalableTargetARN": row.arn }))
    }

    pub(super) fn describe_targets(&self, input: &Value) -> Answer {
        let filter = Filter::of(input);
        let wanted: Option<BTreeSet<&str>> =
            list(input, "ResourceIds").map(|ids| ids.into_iter().collect());
        let rows = self.read(rows::targets)?;
        let items = rows
            .into_iter()
            .filter(|row| {
                let id = row.resource.to_string();
                filter.wants(&row.resource)
                    && wanted.as_ref().is_none_or(|wanted| wanted.contains(id.as_str()))
            })
            .map(|row| (row.resource.to_string(), self.described(&row)))
            .collect();
        paged(input, "ScalableTargets", items)
    }

    fn described(&self, row: &TargetRow) -> Value {
        json!({
            "ServiceNamespace": row.resource.namespace(),
            "ResourceId": row.resource.to_string(),
            "ScalableDimension": row.resource.dimension(),
            "MinCapacity": row.bounds.min,
            "MaxCapacity": row.bounds.max,
            "RoleARN": row.resource.role(&self.inner.account),
            "CreationTime": row.created.seconds(),
            "SuspendedState": {
                "DynamicScalingInSuspended": row.suspended.scale_in,
                "DynamicScalingOutSuspended": row.suspended.scale_out,
                "ScheduledScalingSuspended": row.suspended.scheduled,
            },
            "ScalableTargetARN": row.arn,
        })
    }

    pub(super) async fn deregister(&self, input: &Value) -> Answer {
        let of = resource(input)?;
        if self.forget(&of).await? { Ok(json!({})) } else { Err(no_target(&of)) }
    }

    /// Removes a target with all that hangs on it; false where there is none.
    pub(super) async fn forget(&self, of: &Resource) -> Result<bool, ServiceError> {
        let _deciding = self.inner.deciding.lock().await;
        let policies = self.read(|c| rows::policies(c, of))?;
        // Alarms first: whoever is interrupted here can repeat it.
        let alarms = policies.into_iter().flat_map(|p| p.alarms).map(|alarm| alarm.name);
        self.delete_alarms(alarms.collect()).await?;
        let resource = of.clone();
        let there = self.write(move |c| rows::remove_target(c, &resource)).await?;
        self.inner.changed.notify_one();
        Ok(there)
    }
}

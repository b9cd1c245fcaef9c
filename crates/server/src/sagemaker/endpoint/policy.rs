//! `DeploymentConfig` as callers write it: read, checked against AWS's limits, turned into a
//! [`plan::Policy`](super::plan::Policy). The ranges of single numbers are the service model's and are
//! checked before; here is what depends on other members and on the fleet.

use kennel_wire::ServiceError;
use serde::Deserialize;
use serde_json::Value;

use super::plan::{Policy, Shift, Size};

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DeploymentConfig {
    blue_green_update_policy: Option<BlueGreen>,
    rolling_update_policy: Option<Rolling>,
    auto_rollback_configuration: Option<AutoRollback>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct BlueGreen {
    traffic_routing_configuration: Routing,
    #[serde(default)]
    termination_wait_in_seconds: i64,
    maximum_execution_timeout_in_seconds: Option<i64>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Routing {
    #[serde(rename = "Type")]
    kind: String,
    wait_interval_in_seconds: i64,
    canary_size: Option<CapacitySize>,
    linear_step_size: Option<CapacitySize>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Rolling {
    maximum_batch_size: CapacitySize,
    wait_interval_in_seconds: i64,
    maximum_execution_timeout_in_seconds: Option<i64>,
    rollback_maximum_batch_size: Option<CapacitySize>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct CapacitySize {
    #[serde(rename = "Type")]
    kind: String,
    value: u32,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct AutoRollback {
    #[serde(default)]
    alarms: Vec<Alarm>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Alarm {
    alarm_name: Option<String>,
}

impl From<&CapacitySize> for Size {
    fn from(size: &CapacitySize) -> Size {
        match size.kind.as_str() {
            "INSTANCE_COUNT" => Size::Instances(size.value),
            _ => Size::Percent(size.value),
        }
    }
}

/// Reads a `DeploymentConfig`: the policy and the names of the alarms that end it.
///
/// # Errors
/// `ValidationException` where members contradict each other or a percentage is out of AWS's range.
pub(super) fn parse(config: &Value) -> Result<(Policy, Vec<String>), ServiceError> {
    let config: DeploymentConfig = serde_json::from_value(config.clone())
        .map_err(|e| ServiceError::validation(format!("`DeploymentConfig`: {e}")))?;
    let policy = match (&config.blue_green_update_policy, &config.rolling_update_policy) {
        (Some(_), Some(_)) => {
            return Err(ServiceError::validation(
                "only one of `BlueGreenUpdatePolicy` and `RollingUpdatePolicy` may be given",
            ));
        }
        (Some(policy), None) => blue_green(policy)?,
        (None, Some(policy)) => rolling(policy)?,
        (None, None) => Policy::at_once(),
    };
    let mut alarms: Vec<String> = config
        .auto_rollback_configuration
        .unwrap_or_default()
        .alarms
        .into_iter()
        .filter_map(|alarm| alarm.alarm_name)
        .collect();
    alarms.sort();
    alarms.dedup();
    Ok((policy, alarms))
}

fn blue_green(policy: &BlueGreen) -> Result<Policy, ServiceError> {
    let routing = &policy.traffic_routing_configuration;
    let refuse = |words: &str| Err(ServiceError::validation(words));
    let (canary, linear) = (routing.canary_size.as_ref(), routing.linear_step_size.as_ref());
    let shift = match (routing.kind.as_str(), canary, linear) {
        ("CANARY", Some(size), None) => Shift::Canary(size.into()),
        ("LINEAR", None, Some(size)) => Shift::Linear(size.into()),
        ("CANARY" | "LINEAR", Some(_), Some(_))
        | ("ALL_AT_ONCE", Some(_), _)
        | ("ALL_AT_ONCE", _, Some(_)) => {
            return refuse(
                "`CanarySize` goes with `Type` CANARY and `LinearStepSize` with LINEAR; no other may be given",
            );
        }
        ("CANARY", ..) => return refuse("`CanarySize` must be given when `Type` is CANARY"),
        ("LINEAR", ..) => return refuse("`LinearStepSize` must be given when `Type` is LINEAR"),
        _ => Shift::AllAtOnce,
    };
    let (wait, termination) =
        (routing.wait_interval_in_seconds, policy.termination_wait_in_seconds);
    longer_than(policy.maximum_execution_timeout_in_seconds, wait + termination)?;
    let policy = Policy::BlueGreen {
        shift,
        wait_ms: wait * 1000,
        termination_wait_ms: termination * 1000,
        timeout_ms: policy.maximum_execution_timeout_in_seconds.map(|s| s * 1000),
    };
    percentages(&policy)?;
    Ok(policy)
}

fn rolling(policy: &Rolling) -> Result<Policy, ServiceError> {
    let wait = policy.wait_interval_in_seconds;
    longer_than(policy.maximum_execution_timeout_in_seconds, wait)?;
    let policy = Policy::Rolling {
        batch: (&policy.maximum_batch_size).into(),
        rollback: policy.rollback_maximum_batch_size.as_ref().map(Size::from),
        wait_ms: wait * 1000,
        timeout_ms: policy.maximum_execution_timeout_in_seconds.map(|s| s * 1000),
    };
    percentages(&policy)?;
    Ok(policy)
}

/// "Note that the timeout value should be larger than the total waiting time":
/// <https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_BlueGreenUpdatePolicy.html>
fn longer_than(timeout: Option<i64>, waits: i64) -> Result<(), ServiceError> {
    match timeout {
        Some(timeout) if timeout <= waits => Err(ServiceError::validation(format!(
            "`MaximumExecutionTimeoutInSeconds` ({timeout}) must be larger than `WaitIntervalInSeconds` and `TerminationWaitInSeconds` together ({waits})"
        ))),
        _ => Ok(()),
    }
}

/// The sizes that AWS allows, in percent, with the words of its reference.
fn limits(
    policy: &Policy,
) -> Vec<(&'static str, Size, std::ops::RangeInclusive<u32>, &'static str)> {
    match policy {
        Policy::BlueGreen { shift: Shift::AllAtOnce, .. } => Vec::new(),
        Policy::BlueGreen { shift: Shift::Canary(size), .. } => vec![(
            "CanarySize",
            *size,
            1..=50,
            "less than or equal to 50% of the variant's total instance count",
        )],
        Policy::BlueGreen { shift: Shift::Linear(size), .. } => {
            vec![("LinearStepSize", *size, 10..=50, "10-50% of the variant's total instance count")]
        }
        Policy::Rolling { batch, .. } => vec![(
            "MaximumBatchSize",
            *batch,
            5..=50,
            "between 5% to 50% of the variant's total instance count",
        )],
    }
}

fn percentages(policy: &Policy) -> Result<(), ServiceError> {
    for (member, size, range, words) in limits(policy) {
        if let Size::Percent(percent) = size
            && !range.contains(&percent)
        {
            return Err(ServiceError::validation(format!(
                "`{member}`: {percent} % was asked for; the value must be {words}"
            )));
        }
    }
    if let Policy::Rolling { rollback: Some(Size::Percent(percent)), .. } = policy
        && *percent > 100
    {
        return Err(ServiceError::validation(format!(
            "`RollbackMaximumBatchSize`: {percent} % was asked for; the value must be at most 100% of the variant's total instance count"
        )));
    }
    Ok(())
}

/// Checks numbers of instances against the new fleet (`new` instances) and the old one.
///
/// # Errors
/// `ValidationException` where they are not within AWS's percentages of it.
pub(super) fn check_counts(policy: &Policy, old: u32, new: u32) -> Result<(), ServiceError> {
    for (member, size, range, words) in limits(policy) {
        let Size::Instances(count) = size else { continue };
        let percent = u64::from(count) * 100;
        let total = u64::from(new);
        if percent < u64::from(*range.start()) * total || percent > u64::from(*range.end()) * total
        {
            return Err(ServiceError::validation(format!(
                "`{member}`: {count} of {new} instance(s) were asked for; the value must be {words}\nhint: give a `CAPACITY_PERCENT` instead, or the variant more instances"
            )));
        }
    }
    if let Policy::Rolling { rollback: Some(Size::Instances(count)), .. } = policy
        && *count > old.max(1)
    {
        return Err(ServiceError::validation(format!(
            "`RollbackMaximumBatchSize`: {count} of {old} instance(s) were asked for; the value must be at most the variant's total instance count"
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests;

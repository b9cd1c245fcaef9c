//! What a policy's configuration means: its metric, its rule and its alarms. Pure.
//!
//! Sources: <https://docs.aws.amazon.com/autoscaling/application/APIReference/API_TargetTrackingScalingPolicyConfiguration.html>,
//! <https://docs.aws.amazon.com/autoscaling/application/APIReference/API_StepScalingPolicyConfiguration.html>,
//! <https://docs.aws.amazon.com/sagemaker/latest/dg/endpoint-auto-scaling-policy.html>.

use std::collections::BTreeMap;

use kennel_scaling::fast::{Fast, Measure};
use kennel_scaling::scaler::Rule;
use kennel_scaling::step::{Adjustment, Step, StepScaling};
use kennel_scaling::target_tracking::TargetTracking;
use kennel_wire::ServiceError;
use serde::Deserialize;
use serde_json::Value;

use super::resource::Resource;
use super::rows::{AlarmName, PolicyKind, PolicyRow};
use crate::cloudwatch::alarms::AlarmSpec;

/// AWS's quota of steps in a policy.
const STEPS: usize = 20;

/// `TargetTrackingScalingPolicyConfiguration`.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Tracking {
    target_value: f64,
    predefined_metric_specification: Option<Predefined>,
    customized_metric_specification: Option<Customized>,
    scale_out_cooldown: Option<i64>,
    scale_in_cooldown: Option<i64>,
    #[serde(default)]
    disable_scale_in: bool,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Predefined {
    predefined_metric_type: String,
    resource_label: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Customized {
    metric_name: Option<String>,
    namespace: Option<String>,
    #[serde(default)]
    dimensions: Vec<Dimension>,
    statistic: Option<String>,
    unit: Option<String>,
    metrics: Option<Value>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Dimension {
    name: String,
    value: String,
}

/// `StepScalingPolicyConfiguration`.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Steps {
    adjustment_type: Option<Adjustment>,
    #[serde(default)]
    step_adjustments: Vec<StepAdjustment>,
    min_adjustment_magnitude: Option<i64>,
    cooldown: Option<i64>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct StepAdjustment {
    metric_interval_lower_bound: Option<f64>,
    metric_interval_upper_bound: Option<f64>,
    scaling_adjustment: i64,
}

/// A metric that is tracked.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Metric {
    pub namespace: String,
    pub name: String,
    pub dimensions: BTreeMap<String, String>,
    pub statistic: String,
    pub unit: Option<String>,
    pub period_s: u32,
    /// How the fast mode measures the same without CloudWatch; `None` where it cannot.
    pub measure: Option<Measure>,
}

/// A policy, read.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Meaning {
    pub rule: Rule,
    /// What target tracking tracks; step scaling acts on alarms that its user makes.
    pub metric: Option<Metric>,
    /// How the fast mode decides, where it can.
    pub fast: Option<Fast>,
}

/// Reads a configuration.
///
/// # Errors
/// `ValidationException` in AWS's words where they are known.
pub(super) fn read(
    of: &Resource,
    kind: PolicyKind,
    configuration: &Value,
) -> Result<Meaning, ServiceError> {
    match kind {
        PolicyKind::TargetTracking => tracking(of, typed(configuration)?),
        PolicyKind::Step => steps(of, typed(configuration)?),
    }
}

fn typed<T: serde::de::DeserializeOwned>(value: &Value) -> Result<T, ServiceError> {
    T::deserialize(value).map_err(|e| ServiceError::validation(e.to_string()))
}

fn refused(message: impl Into<String>) -> ServiceError {
    ServiceError::validation(message)
}

fn cooldown(of: &Resource, given: Option<i64>, member: &str) -> Result<i64, ServiceError> {
    let seconds = given.unwrap_or_else(|| of.default_cooldown_s());
    if seconds < 0 {
        return Err(refused(format!("{member} cannot be less than 0, but is {seconds}")));
    }
    Ok(seconds.saturating_mul(1000))
}

fn tracking(of: &Resource, given: Tracking) -> Result<Meaning, ServiceError> {
    // AWS's bounds: 8.515920e-109 to 1.174271e+108.
    if !given.target_value.is_finite()
        || !(8.515_92e-109..=1.174_271e108).contains(&given.target_value)
    {
        return Err(refused(format!(
            "TargetValue must be greater than 0, but is {}",
            given.target_value
        )));
    }
    let metric = match (
        given.predefined_metric_specification,
        given.customized_metric_specification,
    ) {
        (Some(predefined), None) => known_metric(of, &predefined, given.target_value)?,
        (None, Some(customized)) => own_metric(customized)?,
        _ => {
            return Err(refused(
                "exactly one of PredefinedMetricSpecification and CustomizedMetricSpecification must be specified",
            ));
        }
    };
    let rule = TargetTracking {
        target: given.target_value,
        scale_out_cooldown_ms: cooldown(of, given.scale_out_cooldown, "ScaleOutCooldown")?,
        scale_in_cooldown_ms: cooldown(of, given.scale_in_cooldown, "ScaleInCooldown")?,
        disable_scale_in: given.disable_scale_in,
    };
    let fast = metric.measure.map(|measure| {
        let mut fast = Fast::new(given.target_value, measure);
        // Cooldowns are for decisions on minutes; one that was asked for still holds instances back.
        if given.scale_in_cooldown.is_some() {
            fast.scale_down_delay_ms = rule.scale_in_cooldown_ms;
        }
        fast.disable_scale_in = given.disable_scale_in;
        fast
    });
    Ok(Meaning { rule: Rule::TargetTracking(rule), metric: Some(metric), fast })
}

fn known_metric(of: &Resource, given: &Predefined, target: f64) -> Result<Metric, ServiceError> {
    let word = given.predefined_metric_type.as_str();
    if given.resource_label.is_some() {
        return Err(refused(format!("ResourceLabel must not be specified for {word}")));
    }
    let metric = |namespace: &str, name: &str, dimensions: [(&str, &str); 2]| Metric {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        dimensions: dimensions.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
        statistic: "Average".to_owned(),
        unit: None,
        period_s: 60,
        measure: None,
    };
    match (of, word) {
        (Resource::Variant { endpoint, variant }, "SageMakerVariantInvocationsPerInstance") => {
            let dimensions = [("EndpointName", endpoint.as_str()), ("VariantName", variant)];
            let mut metric = metric("AWS/SageMaker", "InvocationsPerInstance", dimensions);
            // Every request adds 1/N, so the minute's sum is the average of instances.
            metric.statistic = "Sum".to_owned();
            metric.measure = Some(Measure::RequestsPerMinute);
            Ok(metric)
        }
        (
            Resource::Variant { endpoint, variant },
            "SageMakerVariantConcurrentRequestsPerModelHighResolution",
        ) => {
            let dimensions = [("EndpointName", endpoint.as_str()), ("VariantName", variant)];
            let mut metric = metric("AWS/SageMaker", "ConcurrentRequestsPerModel", dimensions);
            metric.period_s = 10;
            metric.measure = Some(Measure::Concurrency);
            Ok(metric)
        }
        (
            Resource::Concurrency { function, qualifier },
            "LambdaProvisionedConcurrencyUtilization",
        ) => {
            // <https://docs.aws.amazon.com/lambda/latest/dg/provisioned-concurrency.html>
            if !(0.1..=0.9).contains(&target) {
                return Err(refused(format!(
                    "TargetValue must be between 0.1 and 0.9 for LambdaProvisionedConcurrencyUtilization, but is {target}"
                )));
            }
            let resource = format!("{function}:{qualifier}");
            let dimensions = [("FunctionName", function.as_str()), ("Resource", &resource)];
            Ok(metric("AWS/Lambda", "ProvisionedConcurrencyUtilization", dimensions))
        }
        _ => {
            let known = match of {
                Resource::Variant { .. } => {
                    "SageMakerVariantInvocationsPerInstance, SageMakerVariantConcurrentRequestsPerModelHighResolution"
                }
                Resource::Concurrency { .. } => "LambdaProvisionedConcurrencyUtilization",
            };
            // AWS's words.
            Err(refused(format!(
                "Scalable dimension {} only supports the following predefined metric types: {known}",
                of.dimension()
            )))
        }
    }
}

fn own_metric(given: Customized) -> Result<Metric, ServiceError> {
    if given.metrics.is_some() {
        return Err(refused(
            "metric math in a CustomizedMetricSpecification (`Metrics`) is not implemented by Kennel\nhint: track one metric by `Namespace`, `MetricName`, `Dimensions` and `Statistic`; PutMetricData can publish what the expression would give",
        ));
    }
    let (Some(namespace), Some(name), Some(statistic)) =
        (given.namespace, given.metric_name, given.statistic)
    else {
        return Err(refused(
            "CustomizedMetricSpecification must have MetricName, Namespace and Statistic",
        ));
    };
    let mut dimensions = BTreeMap::new();
    for Dimension { name, value } in given.dimensions {
        if dimensions.insert(name.clone(), value).is_some() {
            return Err(refused(format!("the dimension `{name}` is given twice")));
        }
    }
    Ok(Metric {
        namespace,
        name,
        dimensions,
        statistic,
        unit: given.unit,
        period_s: 60,
        measure: None,
    })
}

fn steps(of: &Resource, given: Steps) -> Result<Meaning, ServiceError> {
    let Some(adjustment) = given.adjustment_type else {
        return Err(refused("AdjustmentType must be specified for a step scaling policy"));
    };
    if given.step_adjustments.len() > STEPS {
        return Err(refused(format!(
            "a step scaling policy has {STEPS} step adjustments at most, not {}",
            given.step_adjustments.len()
        )));
    }
    let magnitude = match given.min_adjustment_magnitude {
        None => 0,
        Some(_) if adjustment != Adjustment::PercentChangeInCapacity => {
            return Err(refused(
                "MinAdjustmentMagnitude can only be specified with AdjustmentType PercentChangeInCapacity",
            ));
        }
        Some(given) => u32::try_from(given).map_err(|_| {
            refused(format!("MinAdjustmentMagnitude cannot be less than 0, but is {given}"))
        })?,
    };
    let steps = given.step_adjustments.into_iter().map(|step| Step {
        lower: step.metric_interval_lower_bound,
        upper: step.metric_interval_upper_bound,
        adjustment: step.scaling_adjustment,
    });
    let cooldown = cooldown(of, given.cooldown, "Cooldown")?;
    let rule = StepScaling::new(adjustment, steps.collect(), cooldown, magnitude)
        .map_err(|e| refused(e.to_string()))?;
    Ok(Meaning { rule: Rule::Step(rule), metric: None, fast: None })
}

/// The names that a policy's alarms are to have.
pub(super) fn alarm_names(of: &Resource, region: &str, account: &str) -> Vec<AlarmName> {
    ["High", "Low"]
        .map(|which| {
            let name = format!("TargetTracking-{of}-Alarm{which}-{}", uuid::Uuid::new_v4());
            let arn = format!("arn:aws:cloudwatch:{region}:{account}:alarm:{name}");
            AlarmName { name, arn }
        })
        .into()
}

/// The alarms of a policy, as AWS makes them.
pub(super) fn alarms(policy: &PolicyRow, meaning: &Meaning) -> Vec<AlarmSpec> {
    let (Rule::TargetTracking(rule), Some(metric)) = (&meaning.rule, &meaning.metric) else {
        return Vec::new();
    };
    let (high, low) = rule.alarms(metric.period_s);
    policy
        .alarms
        .iter()
        .zip([high, low])
        .map(|(named, alarm)| AlarmSpec {
            name: named.name.clone(),
            arn: named.arn.clone(),
            namespace: metric.namespace.clone(),
            metric: metric.name.clone(),
            dimensions: metric.dimensions.clone(),
            statistic: metric.statistic.clone(),
            unit: metric.unit.clone(),
            period_s: metric.period_s,
            alarm,
            datapoints_given: false,
            missing_given: false,
            low_sample_count: None,
            actions_enabled: true,
            ok_actions: Vec::new(),
            alarm_actions: vec![policy.arn.clone()],
            insufficient_actions: Vec::new(),
            description: Some(format!(
                "DO NOT EDIT OR DELETE. For TargetTrackingScaling policy {}.",
                policy.arn
            )),
            tags: BTreeMap::new(),
        })
        .collect()
}

#[cfg(test)]
mod tests;

//! PutMetricAlarm, and AWS's rules for it:
//! <https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_PutMetricAlarm.html>.

use kennel_scaling::alarm::{Alarm, Comparison, Missing};
use kennel_wire::ServiceError;
use serde::Deserialize;
use serde_json::{Value, json};

use super::tags::{self, Tag};
use super::{AlarmSpec, Alarms, MetricsError};
use crate::cloudwatch::aggregate::Statistic;
use crate::cloudwatch::error::validation;
use crate::cloudwatch::{Dimension, dimensions_of};
use crate::context::Context;

const HOUR: u64 = 3_600;
const DAY: u64 = 86_400;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Input {
    alarm_name: String,
    alarm_description: Option<String>,
    actions_enabled: Option<bool>,
    #[serde(rename = "OKActions", default)]
    ok_actions: Vec<String>,
    #[serde(default)]
    alarm_actions: Vec<String>,
    #[serde(default)]
    insufficient_data_actions: Vec<String>,
    metric_name: Option<String>,
    namespace: Option<String>,
    statistic: Option<String>,
    extended_statistic: Option<String>,
    #[serde(default)]
    dimensions: Vec<Dimension>,
    period: Option<u32>,
    unit: Option<String>,
    evaluation_periods: Option<u32>,
    datapoints_to_alarm: Option<u32>,
    threshold: Option<f64>,
    comparison_operator: Option<String>,
    treat_missing_data: Option<String>,
    evaluate_low_sample_count_percentile: Option<String>,
    #[serde(default)]
    tags: Vec<Tag>,
    metrics: Option<Value>,
    threshold_metric_id: Option<Value>,
    evaluation_window: Option<Value>,
    warm_up_configuration: Option<Value>,
    evaluation_criteria: Option<Value>,
    evaluation_interval: Option<Value>,
    action_configuration: Option<Value>,
}

impl Alarms {
    pub(super) async fn put_metric_alarm(
        &self,
        context: &Context,
        input: Input,
    ) -> Result<Value, MetricsError> {
        let spec = spec(context, input)?;
        self.put(context.now, vec![spec]).await?;
        Ok(json!({}))
    }
}

fn spec(context: &Context, input: Input) -> Result<AlarmSpec, ServiceError> {
    not_built(&input)?;
    let name = input.alarm_name;
    if name.chars().any(|c| c.is_ascii_control()) {
        return Err(validation("AlarmName must not contain ASCII control characters."));
    }
    let (Some(metric), Some(namespace)) = (input.metric_name, input.namespace) else {
        return Err(validation(
            "MetricName and Namespace must be specified for an alarm based on a metric.",
        ));
    };
    let statistic = match (input.statistic, input.extended_statistic) {
        (Some(statistic), None) => statistic,
        (None, Some(extended)) => {
            Statistic::extended(&extended).map_err(|e| {
                validation(e.message.replace("ExtendedStatistics.member.1", "ExtendedStatistic"))
            })?;
            extended
        }
        _ => {
            return Err(validation(
                "Exactly one of Statistic and ExtendedStatistic must be specified.",
            ));
        }
    };
    let period_s = required(input.period, "Period")?;
    if !matches!(period_s, 10 | 20 | 30) && (period_s < 60 || !period_s.is_multiple_of(60)) {
        return Err(validation("Period must be 10, 20, 30 or a multiple of 60"));
    }
    let evaluation_periods = required(input.evaluation_periods, "EvaluationPeriods")?;
    within_a_day(evaluation_periods, period_s)?;
    let datapoints_to_alarm = input.datapoints_to_alarm.unwrap_or(evaluation_periods);
    if datapoints_to_alarm > evaluation_periods {
        return Err(validation(
            "DatapointsToAlarm must be less than or equal to EvaluationPeriods",
        ));
    }
    let threshold = required(input.threshold, "Threshold")?;
    if !threshold.is_finite() {
        return Err(validation("Threshold must be a finite number"));
    }
    let low_sample_count = input.evaluate_low_sample_count_percentile;
    if let Some(given) = low_sample_count.as_deref()
        && !matches!(given, "evaluate" | "ignore")
    {
        return Err(validation(format!(
            "EvaluateLowSampleCountPercentile must be evaluate or ignore, not {given}"
        )));
    }
    for action in [&input.ok_actions, &input.alarm_actions, &input.insufficient_data_actions]
        .into_iter()
        .flatten()
    {
        // `arn:PARTITION:SERVICE:REGION:ACCOUNT:…`; CloudWatch tests nothing else of it.
        if !action.starts_with("arn:") || action.splitn(6, ':').count() < 6 {
            return Err(validation(format!("Invalid arn syntax: {action}")));
        }
    }
    Ok(AlarmSpec {
        arn: context.arn("cloudwatch", &format!("alarm:{name}")),
        name,
        namespace,
        metric,
        dimensions: dimensions_of(input.dimensions, "Dimensions")?,
        statistic,
        unit: input.unit,
        period_s,
        alarm: Alarm {
            comparison: comparison(&required(input.comparison_operator, "ComparisonOperator")?)?,
            threshold,
            evaluation_periods,
            datapoints_to_alarm,
            missing: missing(input.treat_missing_data.as_deref())?,
        },
        datapoints_given: input.datapoints_to_alarm.is_some(),
        missing_given: input.treat_missing_data.is_some(),
        low_sample_count,
        actions_enabled: input.actions_enabled.unwrap_or(true),
        ok_actions: input.ok_actions,
        alarm_actions: input.alarm_actions,
        insufficient_actions: input.insufficient_data_actions,
        description: input.alarm_description,
        tags: tags::checked(input.tags)?,
    })
}

/// Refuses what Kennel has not built, rather than watching something else than was asked for.
fn not_built(input: &Input) -> Result<(), ServiceError> {
    let wall_clock =
        input.evaluation_window.as_ref().and_then(|window| window.get("WallClockWindow"));
    let given = [
        ("Metrics", input.metrics.as_ref()),
        ("ThresholdMetricId", input.threshold_metric_id.as_ref()),
        ("EvaluationWindow.WallClockWindow", wall_clock),
        ("WarmUpConfiguration", input.warm_up_configuration.as_ref()),
        ("EvaluationCriteria", input.evaluation_criteria.as_ref()),
        ("EvaluationInterval", input.evaluation_interval.as_ref()),
        ("ActionConfiguration", input.action_configuration.as_ref()),
    ];
    // Clients send empty lists for what they do not use.
    let empty = |value: &Value| value.as_array().is_some_and(Vec::is_empty);
    match given.iter().find(|(_, value)| value.is_some_and(|value| !empty(value))) {
        None => Ok(()),
        Some((name, _)) => Err(validation(format!(
            "{name} of PutMetricAlarm is not implemented by Kennel\nhint: alarms on one metric (MetricName, Namespace, Statistic, Period, Threshold) are"
        ))),
    }
}

fn required<T>(value: Option<T>, name: &str) -> Result<T, ServiceError> {
    value.ok_or_else(|| validation(format!("{name} must be specified for an alarm on a metric.")))
}

/// Seven days where the period is an hour or more, a day otherwise.
fn within_a_day(evaluation_periods: u32, period_s: u32) -> Result<(), ServiceError> {
    let whole = u64::from(evaluation_periods) * u64::from(period_s);
    let (words, most) =
        if u64::from(period_s) >= HOUR { ("a week", 7 * DAY) } else { ("a day", DAY) };
    if whole > most {
        return Err(validation(format!(
            "Metrics cannot be checked across more than {words} (EvaluationPeriods * Period must be <= {most})."
        )));
    }
    Ok(())
}

fn comparison(name: &str) -> Result<Comparison, ServiceError> {
    serde_json::from_value(name.into()).map_err(|_| {
        validation(format!(
            "ComparisonOperator {name} compares with an anomaly detection band, which is not implemented by Kennel\nhint: GreaterThanThreshold, GreaterThanOrEqualToThreshold, LessThanThreshold and LessThanOrEqualToThreshold are"
        ))
    })
}

fn missing(name: Option<&str>) -> Result<Missing, ServiceError> {
    match name {
        None | Some("missing") => Ok(Missing::Missing),
        Some("ignore") => Ok(Missing::Ignore),
        Some("breaching") => Ok(Missing::Breaching),
        Some("notBreaching") => Ok(Missing::NotBreaching),
        Some(other) => Err(validation(format!(
            "TreatMissingData must be breaching, notBreaching, ignore or missing, not {other}"
        ))),
    }
}

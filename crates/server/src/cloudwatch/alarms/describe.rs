//! DescribeAlarms and DescribeAlarmsForMetric.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use kennel_scaling::alarm::Missing;
use serde::Deserialize;
use serde_json::{Value, json};

use super::rows::{self, Row};
use super::{Alarms, MetricsError};
use crate::cloudwatch::aggregate::Statistic;
use crate::cloudwatch::error::{bad_token, invalid_combination};
use crate::cloudwatch::{Dimension, dimensions_of};

/// Alarms of a page when the caller does not say.
const PAGE: usize = 50;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Input {
    alarm_names: Option<Vec<String>>,
    alarm_name_prefix: Option<String>,
    #[serde(default)]
    alarm_types: Vec<String>,
    children_of_alarm_name: Option<String>,
    parents_of_alarm_name: Option<String>,
    state_value: Option<String>,
    action_prefix: Option<String>,
    max_records: Option<usize>,
    next_token: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ForMetric {
    namespace: String,
    metric_name: String,
    statistic: Option<String>,
    extended_statistic: Option<String>,
    #[serde(default)]
    dimensions: Vec<Dimension>,
    period: Option<u32>,
    unit: Option<String>,
}

impl Alarms {
    pub(super) async fn describe(&self, input: Input) -> Result<Value, MetricsError> {
        let nothing = json!({ "MetricAlarms": [], "CompositeAlarms": [] });
        if input.alarm_names.is_some() && input.alarm_name_prefix.is_some() {
            return Err(invalid_combination(
                "AlarmNamePrefix and AlarmNames cannot both be specified.",
            )
            .into());
        }
        // Without types AWS answers metric alarms alone; only composite ones have children or parents.
        let others = !input.alarm_types.is_empty()
            && !input.alarm_types.iter().any(|kind| kind == "MetricAlarm");
        let family =
            input.children_of_alarm_name.is_some() || input.parents_of_alarm_name.is_some();
        if others || family {
            return Ok(nothing);
        }
        let after = match &input.next_token {
            None => String::new(),
            Some(token) => URL_SAFE_NO_PAD
                .decode(token)
                .ok()
                .and_then(|bytes| String::from_utf8(bytes).ok())
                .ok_or_else(bad_token)?,
        };
        let page = input.max_records.unwrap_or(PAGE);
        let names: Option<BTreeSet<String>> =
            input.alarm_names.map(|names| names.into_iter().collect());
        let wanted = move |alarm: &Row| {
            let spec = &alarm.spec;
            let actions = || {
                [&spec.ok_actions, &spec.alarm_actions, &spec.insufficient_actions]
                    .into_iter()
                    .flatten()
            };
            names.as_ref().is_none_or(|names| names.contains(&spec.name))
                && input.alarm_name_prefix.as_ref().is_none_or(|p| spec.name.starts_with(p))
                && input.state_value.as_ref().is_none_or(|state| state == alarm.state.as_str())
                && input
                    .action_prefix
                    .as_ref()
                    .is_none_or(|prefix| actions().any(|action| action.starts_with(prefix)))
        };
        let mut found =
            self.metrics.read(move |c| Ok(rows::list(c, &after, page + 1, wanted)?)).await?;
        let more = found.len() > page;
        found.truncate(page);
        let mut answer = nothing;
        answer["MetricAlarms"] = found.iter().map(described).collect();
        if more && let Some(last) = found.last() {
            answer["NextToken"] = URL_SAFE_NO_PAD.encode(&last.spec.name).into();
        }
        Ok(answer)
    }

    /// The alarms of exactly one metric.
    pub(super) async fn describe_for_metric(
        &self,
        input: ForMetric,
    ) -> Result<Value, MetricsError> {
        let dimensions = dimensions_of(input.dimensions, "Dimensions")?;
        let statistic = input.statistic.or(input.extended_statistic);
        let wanted = move |alarm: &Row| {
            let spec = &alarm.spec;
            spec.namespace == input.namespace
                && spec.metric == input.metric_name
                && spec.dimensions == dimensions
                && statistic.as_ref().is_none_or(|statistic| *statistic == spec.statistic)
                && input.period.is_none_or(|period| period == spec.period_s)
                && (input.unit.is_none() || input.unit == spec.unit)
        };
        let found = self.metrics.read(move |c| Ok(rows::list(c, "", usize::MAX, wanted)?)).await?;
        Ok(json!({ "MetricAlarms": found.iter().map(described).collect::<Vec<_>>() }))
    }
}

/// An alarm as DescribeAlarms answers it.
pub(super) fn described(alarm: &Row) -> Value {
    let spec = &alarm.spec;
    let dimensions: Vec<Value> = spec
        .dimensions
        .iter()
        .map(|(name, value)| json!({ "Name": name, "Value": value }))
        .collect();
    let mut out = json!({
        "AlarmName": spec.name,
        "AlarmArn": spec.arn,
        "AlarmConfigurationUpdatedTimestamp": alarm.configured.seconds(),
        "ActionsEnabled": spec.actions_enabled,
        "OKActions": spec.ok_actions,
        "AlarmActions": spec.alarm_actions,
        "InsufficientDataActions": spec.insufficient_actions,
        "StateValue": alarm.state.as_str(),
        "StateReason": alarm.reason,
        "StateUpdatedTimestamp": alarm.updated.seconds(),
        "StateTransitionedTimestamp": alarm.transitioned.seconds(),
        "MetricName": spec.metric,
        "Namespace": spec.namespace,
        "Dimensions": dimensions,
        "Period": spec.period_s,
        "EvaluationPeriods": spec.alarm.evaluation_periods,
        "Threshold": spec.alarm.threshold,
        "ComparisonOperator": spec.alarm.comparison,
    });
    let statistic = match Statistic::basic(&spec.statistic) {
        Some(_) => "Statistic",
        None => "ExtendedStatistic",
    };
    out[statistic] = spec.statistic.as_str().into();
    let optional = [
        ("AlarmDescription", spec.description.clone()),
        ("StateReasonData", alarm.reason_data.clone()),
        ("Unit", spec.unit.clone()),
        ("EvaluateLowSampleCountPercentile", spec.low_sample_count.clone()),
        (
            "TreatMissingData",
            spec.missing_given.then(|| missing_name(spec.alarm.missing).to_owned()),
        ),
    ];
    for (name, value) in optional {
        if let Some(value) = value {
            out[name] = value.into();
        }
    }
    if spec.datapoints_given {
        out["DatapointsToAlarm"] = spec.alarm.datapoints_to_alarm.into();
    }
    out
}

/// AWS's `TreatMissingData`.
pub(super) fn missing_name(missing: Missing) -> &'static str {
    match missing {
        Missing::Missing => "missing",
        Missing::Ignore => "ignore",
        Missing::Breaching => "breaching",
        Missing::NotBreaching => "notBreaching",
    }
}

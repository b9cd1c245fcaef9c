//! PutMetricData: what a datum says, and AWS's rules for it.

use std::collections::BTreeMap;

use kennel_wire::ServiceError;
use serde::Deserialize;
use serde_json::{Value, json};

use super::aggregate::Aggregate;
use super::error::{invalid_combination, invalid_value, missing, validation};
use super::store::{self, Points, Series};
use super::{Dimension, Metrics, MetricsError, dimensions_of};
use crate::context::Context;

const MAX_DATA: usize = 1_000;
const MAX_VALUES: usize = 150;
/// 2^360, the largest value that AWS takes.
const LARGEST: f64 = 2.348_542_582_773_833_4e108;
const TWO_WEEKS: f64 = 14.0 * 86_400.0;
const TWO_HOURS: f64 = 7_200.0;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Input {
    namespace: String,
    #[serde(default)]
    metric_data: Vec<Datum>,
    entity_metric_data: Option<Value>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Datum {
    metric_name: String,
    dimensions: Vec<Dimension>,
    timestamp: Option<f64>,
    value: Option<f64>,
    statistic_values: Option<StatisticSet>,
    values: Option<Vec<f64>>,
    counts: Option<Vec<f64>>,
    unit: Option<String>,
    storage_resolution: Option<i64>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct StatisticSet {
    sample_count: f64,
    sum: f64,
    minimum: f64,
    maximum: f64,
}

impl Metrics {
    pub(super) async fn put(&self, context: &Context, input: Input) -> Result<Value, MetricsError> {
        let points = points(input, context.now.seconds())?;
        self.database.write(move |c| store::store(c, &points)).await??;
        Ok(json!({}))
    }
}

/// The points of a call; `now` in seconds.
fn points(input: Input, now: f64) -> Result<Points, ServiceError> {
    if input.entity_metric_data.is_some() {
        return Err(validation("EntityMetricData is not implemented\nhint: use MetricData"));
    }
    if input.namespace.starts_with("AWS/") {
        return Err(invalid_value("The value AWS/ for parameter Namespace is invalid."));
    }
    if input.metric_data.is_empty() {
        return Err(missing("The parameter MetricData is required."));
    }
    if input.metric_data.len() > MAX_DATA {
        return Err(invalid_value(format!(
            "The collection MetricData must not have a size greater than {MAX_DATA}."
        )));
    }
    let mut points = Points::new();
    for (index, datum) in input.metric_data.into_iter().enumerate() {
        let member = format!("MetricData.member.{}", index + 1);
        let time = datum.timestamp.unwrap_or(now);
        if !(now - TWO_WEEKS..=now + TWO_HOURS).contains(&time) {
            return Err(invalid_value(format!(
                "The parameter {member}.Timestamp must specify a time within the past two weeks and no more than two hours in the future."
            )));
        }
        let high = match datum.storage_resolution {
            Some(1) => true,
            None | Some(60) => false,
            Some(other) => {
                return Err(invalid_value(format!(
                    "The value {other} for parameter {member}.StorageResolution is invalid: it must be 1 or 60."
                )));
            }
        };
        let aggregate = aggregate(&datum, &member)?;
        let series = Series {
            namespace: input.namespace.clone(),
            name: datum.metric_name,
            dimensions: dimensions_of(datum.dimensions, &member)?,
        };
        let unit = datum.unit.as_deref().unwrap_or("None");
        let places: &mut BTreeMap<_, _> = points.entry(series).or_default();
        store::insert(places, high, time.floor() as i64, unit, &aggregate);
    }
    Ok(points)
}

fn aggregate(datum: &Datum, member: &str) -> Result<Aggregate, ServiceError> {
    let given = [
        ("Value", datum.value.is_some()),
        ("StatisticValues", datum.statistic_values.is_some()),
        ("Values", datum.values.is_some()),
    ];
    let given: Vec<&str> =
        given.iter().filter(|(_, there)| *there).map(|(name, _)| *name).collect();
    if let [first, second, ..] = given[..] {
        return Err(invalid_combination(format!(
            "The parameters {member}.{first} and {member}.{second} are mutually exclusive and you have specified both."
        )));
    }
    let checked = |name: &str, value: f64| {
        if value.is_finite() && value.abs() <= LARGEST {
            Ok(value)
        } else {
            Err(invalid_value(format!(
                "The value {value} for parameter {member}.{name} is invalid."
            )))
        }
    };
    let mut aggregate = Aggregate::empty();
    if let Some(value) = datum.value {
        aggregate.add(checked("Value", value)?, 1.0);
        return Ok(aggregate);
    }
    if let Some(set) = &datum.statistic_values {
        for value in [set.sample_count, set.sum, set.minimum, set.maximum] {
            checked("StatisticValues", value)?;
        }
        if set.sample_count <= 0.0 {
            return Err(invalid_value(format!(
                "The value {} for parameter {member}.StatisticValues.SampleCount is invalid.",
                set.sample_count
            )));
        }
        if set.minimum > set.maximum {
            return Err(invalid_combination(format!(
                "The parameter {member}.StatisticValues.Maximum must be greater than or equal to {member}.StatisticValues.Minimum."
            )));
        }
        return Ok(Aggregate::of_set(set.sample_count, set.sum, set.minimum, set.maximum));
    }
    let Some(values) = datum.values.as_ref().filter(|values| !values.is_empty()) else {
        return Err(missing(format!(
            "At least one of the parameters {member}.Value, {member}.Values or {member}.StatisticValues must be specified."
        )));
    };
    if values.len() > MAX_VALUES {
        return Err(invalid_value(format!(
            "The collection {member}.Values must not have a size greater than {MAX_VALUES}."
        )));
    }
    if datum.counts.as_ref().is_some_and(|counts| counts.len() != values.len()) {
        return Err(invalid_value(format!(
            "The parameters {member}.Values and {member}.Counts must be of the same size."
        )));
    }
    for (index, value) in values.iter().enumerate() {
        let count =
            datum.counts.as_ref().and_then(|counts| counts.get(index)).copied().unwrap_or(1.0);
        if checked("Counts", count)? <= 0.0 {
            return Err(invalid_value(format!(
                "The value {count} for parameter {member}.Counts is invalid."
            )));
        }
        aggregate.add(checked("Values", *value)?, count);
    }
    Ok(aggregate)
}

//! GetMetricStatistics: datapoints of one metric.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::aggregate::Statistic;
use super::error::{invalid_combination, invalid_value};
use super::span::Span;
use super::store::{self, Series};
use super::{Dimension, Metrics, MetricsError, dimensions_of};
use crate::context::Context;

/// Datapoints of an answer at most.
const MOST: i64 = 1_440;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Input {
    namespace: String,
    metric_name: String,
    #[serde(default)]
    dimensions: Vec<Dimension>,
    start_time: f64,
    end_time: f64,
    period: i64,
    #[serde(default)]
    statistics: Vec<String>,
    #[serde(default)]
    extended_statistics: Vec<String>,
    unit: Option<String>,
}

impl Metrics {
    pub(super) async fn statistics(
        &self,
        context: &Context,
        input: Input,
    ) -> Result<Value, MetricsError> {
        if input.start_time >= input.end_time {
            return Err(invalid_combination(
                "The parameter StartTime must be less than the parameter EndTime.",
            )
            .into());
        }
        let now = context.now.0.div_euclid(1000);
        let span = Span::new(input.start_time, input.end_time, input.period, now)?;
        if span.datapoints() > MOST {
            return Err(invalid_combination(format!(
                "You have requested up to {} datapoints, which exceeds the limit of {}. You may reduce the datapoints requested by increasing Period, or decreasing the time range.",
                with_commas(span.datapoints()),
                with_commas(MOST)
            ))
            .into());
        }
        match (input.statistics.is_empty(), input.extended_statistics.is_empty()) {
            (true, true) => {
                return Err(invalid_combination(
                    "At least one of the parameters Statistics and ExtendedStatistics must be specified.",
                )
                .into());
            }
            (false, false) => {
                return Err(invalid_combination(
                    "The parameters Statistics and ExtendedStatistics are mutually exclusive and you have specified both.",
                )
                .into());
            }
            _ => {}
        }
        let mut wanted = Vec::new();
        for name in &input.statistics {
            let statistic = Statistic::basic(name).ok_or_else(|| {
                invalid_value(format!(
                    "The value {name} for parameter Statistics.member.1 is not supported."
                ))
            })?;
            wanted.push((name.clone(), statistic));
        }
        for name in &input.extended_statistics {
            wanted.push((name.clone(), Statistic::extended(name)?));
        }
        let extended = !input.extended_statistics.is_empty();
        let label = input.metric_name.clone();
        let series = Series {
            namespace: input.namespace,
            name: input.metric_name,
            dimensions: dimensions_of(input.dimensions, "Dimensions")?,
        };
        let found = self
            .read(move |c| Ok(store::datapoints(c, &series, input.unit.as_deref(), span)?))
            .await?;
        let mut datapoints = Vec::new();
        for ((time, unit), aggregate) in found {
            let values: Map<String, Value> = wanted
                .iter()
                .filter_map(|(name, statistic)| {
                    Some((name.clone(), aggregate.statistic(*statistic)?.into()))
                })
                .collect();
            // Percentiles of hidden values leave no datapoint.
            if values.is_empty() {
                continue;
            }
            let mut datapoint = if extended {
                Map::from_iter([("ExtendedStatistics".to_owned(), values.into())])
            } else {
                values
            };
            datapoint.insert("Timestamp".to_owned(), time.into());
            datapoint.insert("Unit".to_owned(), unit.into());
            datapoints.push(Value::Object(datapoint));
        }
        Ok(json!({ "Label": label, "Datapoints": datapoints }))
    }
}

/// `4320` as AWS writes it: `4,320`.
fn with_commas(number: i64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

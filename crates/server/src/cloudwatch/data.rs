//! GetMetricData: many metrics and expressions over them, in pages.

use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use kennel_store::state::rusqlite::Connection;
use kennel_wire::ServiceError;
use serde::Deserialize;
use serde_json::{Value, json};

use super::aggregate::{Aggregate, Statistic};
use super::error::{bad_token, validation};
use super::expression::{Expression, Operand, Over, TimeSeries, binary, fold};
use super::span::Span;
use super::store::{self, Series};
use super::{Dimension, Metrics, MetricsError, dimensions_of};
use crate::context::Context;

const MAX_QUERIES: usize = 500;
const MAX_DATAPOINTS: usize = 100_800;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Input {
    metric_data_queries: Vec<QueryInput>,
    start_time: f64,
    end_time: f64,
    next_token: Option<String>,
    scan_by: Option<String>,
    max_datapoints: Option<usize>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct QueryInput {
    id: String,
    metric_stat: Option<MetricStat>,
    expression: Option<String>,
    label: Option<String>,
    return_data: Option<bool>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct MetricStat {
    metric: Metric,
    period: i64,
    stat: String,
    unit: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Metric {
    // The model has neither as required; the service does.
    namespace: Option<String>,
    metric_name: Option<String>,
    #[serde(default)]
    dimensions: Vec<Dimension>,
}

/// A checked query.
#[derive(Debug)]
struct Query {
    id: String,
    label: String,
    return_data: bool,
    what: What,
}

#[derive(Debug)]
enum What {
    Metric { series: Series, unit: Option<String>, statistic: Statistic, span: Span },
    Expression(Expression),
}

impl Metrics {
    pub(super) async fn data(
        &self,
        context: &Context,
        input: Input,
    ) -> Result<Value, MetricsError> {
        if input.start_time >= input.end_time {
            return Err(validation(
                "The parameter StartTime must be less than the parameter EndTime.",
            )
            .into());
        }
        let most = input.max_datapoints.unwrap_or(MAX_DATAPOINTS);
        if !(1..=MAX_DATAPOINTS).contains(&most) {
            return Err(validation(format!(
                "The parameter MaxDatapoints must be between 1 and {MAX_DATAPOINTS}."
            ))
            .into());
        }
        let descending = input.scan_by.as_deref() != Some("TimestampAscending");
        let from = match input.next_token.as_deref() {
            Some(token) => parse_token(token)?,
            None => Place::default(),
        };
        let now = context.now.0.div_euclid(1000);
        let queries = queries(input.metric_data_queries, (input.start_time, input.end_time), now)?;
        self.read(move |c| {
            let evaluator = Evaluator::new(c, &queries);
            let shown: Vec<&Query> = queries.iter().filter(|query| query.return_data).collect();
            let mut results = Vec::new();
            let mut room = most;
            let mut next = None;
            for (index, query) in shown.iter().enumerate().skip(from.query) {
                if room == 0 {
                    next = Some(Place { query: index, offset: 0 });
                    break;
                }
                let mut points: Vec<(i64, f64)> = evaluator.series(query, 0)?.into_iter().collect();
                if descending {
                    points.reverse();
                }
                let skip = if index == from.query { from.offset } else { 0 };
                let rest = points.get(skip..).unwrap_or_default();
                let page = &rest[..rest.len().min(room)];
                room -= page.len();
                let complete = page.len() == rest.len();
                results.push(json!({
                    "Id": query.id,
                    "Label": query.label,
                    "Timestamps": page.iter().map(|(time, _)| *time).collect::<Vec<_>>(),
                    "Values": page.iter().map(|(_, value)| *value).collect::<Vec<_>>(),
                    "StatusCode": if complete { "Complete" } else { "PartialData" },
                }));
                if !complete {
                    next = Some(Place { query: index, offset: skip + page.len() });
                    break;
                }
            }
            let mut answer = json!({ "MetricDataResults": results, "Messages": [] });
            if let Some(next) = next {
                answer["NextToken"] = token(next).into();
            }
            Ok(answer)
        })
        .await
    }
}

/// Where a page begins: in which of the shown queries, and after how many of its datapoints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Place {
    query: usize,
    offset: usize,
}

fn token(place: Place) -> String {
    URL_SAFE_NO_PAD.encode(format!("{}:{}", place.query, place.offset))
}

fn parse_token(token: &str) -> Result<Place, ServiceError> {
    let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| bad_token())?;
    let text = String::from_utf8(bytes).map_err(|_| bad_token())?;
    let (query, offset) = text.split_once(':').ok_or_else(bad_token)?;
    let number = |text: &str| text.parse().map_err(|_| bad_token());
    Ok(Place { query: number(query)?, offset: number(offset)? })
}

/// Checks the queries; `range` is start and end in seconds.
fn queries(
    given: Vec<QueryInput>,
    range: (f64, f64),
    now: i64,
) -> Result<Vec<Query>, ServiceError> {
    if given.is_empty() || given.len() > MAX_QUERIES {
        return Err(validation(format!(
            "The collection MetricDataQueries must have a size between 1 and {MAX_QUERIES}."
        )));
    }
    let mut queries: Vec<Query> = Vec::with_capacity(given.len());
    for query in given {
        let id = query.id;
        let named = id.starts_with(|c: char| c.is_ascii_lowercase())
            && id.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        if !named {
            return Err(validation(format!(
                "The value {id} for parameter Id is not matching the expected pattern ^[a-z][a-zA-Z0-9_]*$."
            )));
        }
        if queries.iter().any(|other| other.id == id) {
            return Err(validation(format!("The value {id} for parameter Id is not unique.")));
        }
        let (label, what) = match (query.metric_stat, query.expression) {
            (Some(stat), None) => {
                let (Some(namespace), Some(name)) =
                    (stat.metric.namespace, stat.metric.metric_name)
                else {
                    return Err(validation(format!(
                        "The parameters Namespace and MetricName are required in MetricDataQuery `{id}`."
                    )));
                };
                let dimensions = dimensions_of(stat.metric.dimensions, "Dimensions")?;
                let label = name.clone();
                let what = What::Metric {
                    series: Series { namespace, name, dimensions },
                    unit: stat.unit,
                    statistic: Statistic::parse(&stat.stat).map_err(|e| validation(e.message))?,
                    span: Span::new(range.0, range.1, stat.period, now)
                        .map_err(|e| validation(e.message))?,
                };
                (label, what)
            }
            (None, Some(text)) => (id.clone(), What::Expression(Expression::parse(&text)?)),
            _ => {
                return Err(validation(format!(
                    "Exactly one of MetricStat and Expression must be specified in MetricDataQuery `{id}`."
                )));
            }
        };
        queries.push(Query {
            label: query.label.unwrap_or(label),
            return_data: query.return_data.unwrap_or(true),
            id,
            what,
        });
    }
    Ok(queries)
}

/// Computes queries one at a time, so that no more than one answer's series are in memory.
struct Evaluator<'a> {
    connection: &'a Connection,
    queries: &'a [Query],
    by_id: HashMap<&'a str, &'a Query>,
}

/// Expressions may refer to expressions this deep; more is a circle.
const DEPTH: usize = 16;

impl<'a> Evaluator<'a> {
    fn new(connection: &'a Connection, queries: &'a [Query]) -> Self {
        let by_id = queries.iter().map(|query| (query.id.as_str(), query)).collect();
        Evaluator { connection, queries, by_id }
    }

    fn series(&self, query: &Query, depth: usize) -> Result<TimeSeries, MetricsError> {
        match &query.what {
            What::Metric { series, unit, statistic, span } => {
                let found = store::datapoints(self.connection, series, unit.as_deref(), *span)?;
                // Without a unit in the query, all units count as one.
                let mut merged: std::collections::BTreeMap<i64, Aggregate> = Default::default();
                for ((time, _), aggregate) in found {
                    merged.entry(time).or_insert_with(Aggregate::empty).merge(&aggregate);
                }
                Ok(merged
                    .into_iter()
                    .filter_map(|(time, aggregate)| Some((time, aggregate.statistic(*statistic)?)))
                    .collect())
            }
            What::Expression(expression) => match self.evaluate(expression, depth)? {
                Operand::Series(series) => Ok(series),
                Operand::Number(_) => Err(validation(format!(
                    "Error in expression '{}': the result must be a time series.",
                    query.id
                ))
                .into()),
            },
        }
    }

    fn evaluate(&self, expression: &Expression, depth: usize) -> Result<Operand, MetricsError> {
        match expression {
            Expression::Number(number) => Ok(Operand::Number(*number)),
            Expression::Id(id) => Ok(Operand::Series(self.by_id(id, depth)?)),
            Expression::Binary(left, operator, right) => {
                Ok(binary(self.evaluate(left, depth)?, *operator, self.evaluate(right, depth)?))
            }
            Expression::Fold(how, over) => {
                let all = match over {
                    Over::Ids(ids) => {
                        ids.iter().map(|id| self.by_id(id, depth)).collect::<Result<Vec<_>, _>>()?
                    }
                    Over::Metrics => self
                        .queries
                        .iter()
                        .filter(|query| matches!(query.what, What::Metric { .. }))
                        .map(|query| self.series(query, depth))
                        .collect::<Result<Vec<_>, _>>()?,
                };
                Ok(Operand::Series(fold(*how, &all)))
            }
        }
    }

    fn by_id(&self, id: &str, depth: usize) -> Result<TimeSeries, MetricsError> {
        if depth >= DEPTH {
            return Err(validation(format!("Error in expression: `{id}` refers to itself.")).into());
        }
        let query = self.by_id.get(id).ok_or_else(|| {
            validation(format!("Error in expression: `{id}` is not the Id of a query."))
        })?;
        self.series(query, depth + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn tokens_come_back(query in any::<usize>(), offset in any::<usize>()) {
            let place = Place { query, offset };
            prop_assert_eq!(parse_token(&token(place)).unwrap(), place);
        }

        #[test]
        fn no_token_panics(text in ".*") {
            let _ = parse_token(&text);
        }
    }
}

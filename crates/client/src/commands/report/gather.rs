//! From AWS's APIs to facts. What may not be looked at becomes a note; what was named must be there.

mod serving;
mod training;

use serde_json::{Value, json};

use super::facts::{Area, Facts};
use crate::client::{Client, Service};
use crate::clock;
use crate::commands::account;
use crate::commands::audit::brief::brief;
use crate::commands::iam::least::TrailArguments;
use crate::error::ClientError;

const DAY: i64 = 86_400;
/// How far back requests count.
const DAYS: i64 = 14;

/// What the writeup is to be about; what is not said is the newest.
pub(super) struct Chosen<'a> {
    pub jobs: &'a [String],
    pub tuning: Option<&'a str>,
    pub endpoint: Option<&'a str>,
    pub function: Option<&'a str>,
    /// The event to call the function with.
    pub call: Option<Vec<u8>>,
    pub trail: &'a TrailArguments,
}

/// Makes the calls.
struct Gatherer<'a> {
    client: &'a Client,
    facts: Facts,
}

/// Looks at everything.
///
/// # Errors
/// When the platform cannot be reached, or something that was named is not there. A service that refuses
/// is a note.
pub(super) fn gather(client: &Client, chosen: Chosen<'_>) -> Result<Facts, ClientError> {
    let local = client.target().endpoint.is_some();
    let cores = std::thread::available_parallelism().ok().and_then(|n| u32::try_from(n.get()).ok());
    let facts = Facts {
        account: account(client)?,
        region: client.target().region.clone(),
        now: clock::epoch_millis() / 1000,
        local,
        cores: cores.filter(|_| local),
        ..Facts::default()
    };
    let mut gatherer = Gatherer { client, facts };
    gatherer.notebooks()?;
    gatherer.jobs(chosen.jobs)?;
    gatherer.tuning(chosen.tuning)?;
    gatherer.endpoint(chosen.endpoint)?;
    gatherer.function(chosen.function)?;
    // The audit comes before the call, so that the call is not in what it looks at.
    gatherer.facts.audit = brief(client, chosen.trail)?;
    let notes = std::mem::take(&mut gatherer.facts.audit.notes);
    gatherer.facts.notes.extend(notes);
    if let Some(event) = chosen.call {
        gatherer.call(event)?;
    }
    gatherer.scaling()?;
    Ok(gatherer.facts)
}

impl Gatherer<'_> {
    /// What was found, or a note that it could not be.
    fn or_note<T>(
        &mut self,
        what: &str,
        found: Result<T, ClientError>,
    ) -> Result<Option<T>, ClientError> {
        match found {
            Ok(found) => Ok(Some(found)),
            // What went away meanwhile is no fault.
            Err(error) if error.is_not_found() => Ok(None),
            Err(
                error @ (ClientError::Service(_) | ClientError::Failed(_) | ClientError::Usage(_)),
            ) => {
                let note = format!("could not look at {what}: {error}");
                // Service by service the same answer comes more than once.
                let said = note.lines().next().map(str::to_owned);
                if !self.facts.notes.iter().any(|before| before.lines().next() == said.as_deref()) {
                    self.facts.notes.push(note);
                }
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// As [`Gatherer::or_note`]; what was not found out is remembered.
    fn or_unknown<T: Default>(
        &mut self,
        area: Area,
        what: &str,
        found: Result<T, ClientError>,
    ) -> Result<T, ClientError> {
        // What is not found is known not to be there.
        let absent = found.as_ref().is_err_and(ClientError::is_not_found);
        let found = self.or_note(what, found)?;
        if found.is_none() && !absent {
            self.facts.unknown.push(area);
        }
        Ok(found.unwrap_or_default())
    }

    fn sagemaker(&self, operation: &str, body: &Value) -> Result<Value, ClientError> {
        self.client.json(Service::SageMaker, operation, body)
    }

    /// The first page of a list, newest first, of those in a status.
    fn newest(
        &self,
        operation: &str,
        member: &str,
        status: &str,
    ) -> Result<Vec<Value>, ClientError> {
        let body = json!({
            "SortBy": "CreationTime", "SortOrder": "Descending", "MaxResults": 100,
            "StatusEquals": status,
        });
        let mut page = self.sagemaker(operation, &body)?;
        Ok(list(&mut page, member))
    }

    fn notebooks(&mut self) -> Result<(), ClientError> {
        let found = self.client.json_pages(
            Service::SageMaker,
            "ListNotebookInstances",
            &json!({}),
            "NotebookInstances",
        );
        self.facts.notebooks = self.or_unknown(Area::Notebooks, "notebook instances", found)?;
        Ok(())
    }

    /// Datapoints of a metric, oldest first.
    fn statistics(
        &self,
        metric: &Metric<'_>,
        statistics: &[&str],
    ) -> Result<Vec<Datapoint>, ClientError> {
        let dimensions: Vec<Value> = metric
            .dimensions
            .iter()
            .map(|(name, value)| json!({ "Name": name, "Value": value }))
            .collect();
        let extended = statistics.iter().any(|name| name.starts_with('p'));
        let kind = if extended { "ExtendedStatistics" } else { "Statistics" };
        let body = json!({
            "Namespace": metric.namespace,
            "MetricName": metric.name,
            "Dimensions": dimensions,
            "StartTime": metric.from,
            "EndTime": metric.to,
            "Period": metric.period,
            kind: statistics,
        });
        let found = self.client.json(Service::CloudWatch, "GetMetricStatistics", &body)?;
        let mut points: Vec<Datapoint> = found["Datapoints"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|point| {
                let at = match &point["Timestamp"] {
                    Value::String(iso) => clock::from_iso(iso)?,
                    seconds => seconds.as_f64()? as i64,
                };
                let values = if extended { &point["ExtendedStatistics"] } else { point };
                Some((at, statistics.iter().map(|name| values[*name].as_f64()).collect()))
            })
            .collect();
        points.sort_by_key(|point| point.0);
        Ok(points)
    }

    /// A metric of the last days, by the day.
    fn by_day<'a>(
        &self,
        namespace: &'a str,
        name: &'a str,
        dimensions: &'a [(&'a str, &'a str)],
    ) -> Metric<'a> {
        let from = (self.facts.now - DAYS * DAY).div_euclid(DAY) * DAY;
        Metric { namespace, name, dimensions, from, to: self.facts.now + 1, period: DAY }
    }

    /// The sum of such a metric.
    fn sum(&self, metric: &Metric<'_>) -> Result<f64, ClientError> {
        let points = self.statistics(metric, &["Sum"])?;
        Ok(points.iter().filter_map(|(_, values)| values.first().copied().flatten()).sum())
    }
}

/// Seconds, and the values of the statistics that were asked for.
type Datapoint = (i64, Vec<Option<f64>>);

/// What CloudWatch is asked for; times in seconds.
struct Metric<'a> {
    namespace: &'a str,
    name: &'a str,
    dimensions: &'a [(&'a str, &'a str)],
    from: i64,
    to: i64,
    period: i64,
}

/// A member that is a list, taken out.
fn list(value: &mut Value, member: &str) -> Vec<Value> {
    match value.get_mut(member).map(Value::take) {
        Some(Value::Array(found)) => found,
        _ => Vec::new(),
    }
}

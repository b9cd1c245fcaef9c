//! Training jobs with what they reported, and the tuning job.

use regex::RegexBuilder;
use serde_json::{Value, json};

use super::{Gatherer, Metric, list};
use crate::client::{Client, Service};
use crate::commands::report::facts::{Area, Curve, Job, Source, Tuning};
use crate::commands::tuning;
use crate::error::ClientError;
use crate::output::text;

/// Jobs that are described to find one with a single and one with several instances.
const LOOKED_AT: usize = 60;
/// Log group and namespace of training jobs.
const TRAINING: &str = "/aws/sagemaker/TrainingJobs";
/// Pages of a log that are read at most.
const PAGES: usize = 20;
/// A job's regular expressions may take this much memory.
const REGEX_BYTES: usize = 1 << 20;
/// Values of a curve from which on only some are kept.
const VALUES: usize = 20_000;

impl Gatherer<'_> {
    pub(super) fn jobs(&mut self, named: &[String]) -> Result<(), ClientError> {
        let mut all = Vec::new();
        for name in named {
            all.push(self.described(name)?);
        }
        if named.is_empty() {
            let listed = self.newest("ListTrainingJobs", "TrainingJobSummaries", "Completed");
            let listed = self.or_unknown(Area::Jobs, "training jobs", listed)?;
            let (mut single, mut several, mut trial) = (None, None, None);
            for summary in listed.into_iter().take(LOOKED_AT) {
                if single.is_some() && several.is_some() {
                    break;
                }
                let name = text(&summary, "TrainingJobName");
                let found = self.described(&name);
                let Some(job) = self.or_note(&format!("job `{name}`"), found)? else { continue };
                // A tuning job's trials are told with it; one of them stands in where nothing else does.
                let place = match (job["TuningJobArn"].is_string(), instances(&job)) {
                    (true, 0 | 1) => &mut trial,
                    (_, 0 | 1) => &mut single,
                    _ => &mut several,
                };
                place.get_or_insert(job);
            }
            all.extend(single.or(trial));
            all.extend(several);
        }
        all.sort_by_key(instances);
        for own in all {
            let name = text(&own, "TrainingJobName");
            let found = from_log(self.client, &own);
            let mut curves =
                self.or_note(&format!("the log of job `{name}`"), found)?.unwrap_or_default();
            let mut source = Source::Log;
            if curves.iter().all(|curve| curve.points.len() < 2) {
                let found = self.by_minute(&own);
                let minutes = self
                    .or_note(&format!("the metrics of job `{name}`"), found)?
                    .unwrap_or_default();
                if minutes.iter().any(|curve| curve.points.len() > 1) {
                    (curves, source) = (minutes, Source::Minutes);
                }
            }
            self.facts.jobs.push(Job { own, curves, source });
        }
        Ok(())
    }

    fn described(&self, name: &str) -> Result<Value, ClientError> {
        self.sagemaker("DescribeTrainingJob", &json!({ "TrainingJobName": name }))
    }

    /// What CloudWatch has of a job's metrics.
    fn by_minute(&self, job: &Value) -> Result<Vec<Curve>, ClientError> {
        let (Some(start), Some(end)) =
            (job["TrainingStartTime"].as_f64(), job["TrainingEndTime"].as_f64())
        else {
            return Ok(Vec::new());
        };
        let from = (start as i64).div_euclid(60) * 60;
        let to = (end as i64 + 60).max(from + 60);
        // At most 1,440 datapoints are answered.
        let period = ((to - from).div_euclid(1_440 * 60) + 1) * 60;
        let name = text(job, "TrainingJobName");
        let mut curves = Vec::new();
        for metric in metrics(job) {
            let dimensions = [("TrainingJobName", name.as_str())];
            let asked = Metric {
                namespace: TRAINING,
                name: &metric,
                dimensions: &dimensions,
                from,
                to,
                period,
            };
            let points = self.statistics(&asked, &["Average"])?;
            let points = points
                .into_iter()
                .filter_map(|(at, values)| Some(((at - from) as f64 / 60.0, (*values.first()?)?)))
                .collect();
            curves.push(Curve { name: metric, points });
        }
        Ok(curves)
    }

    pub(super) fn tuning(&mut self, named: Option<&str>) -> Result<(), ClientError> {
        let name = match named {
            Some(name) => Some(name.to_owned()),
            None => {
                let operation = "ListHyperParameterTuningJobs";
                let listed =
                    self.newest(operation, "HyperParameterTuningJobSummaries", "Completed");
                let listed = self.or_unknown(Area::Tuning, "tuning jobs", listed)?;
                listed.first().map(|job| text(job, "HyperParameterTuningJobName"))
            }
        };
        let Some(name) = name else { return Ok(()) };
        let own = match named {
            Some(_) => Some(tuning::describe(self.client, &name)?),
            None => {
                let found = tuning::describe(self.client, &name);
                self.or_note(&format!("tuning job `{name}`"), found)?
            }
        };
        let Some(own) = own else { return Ok(()) };
        let trials = tuning::trials(self.client, &own);
        let trials = self
            .or_note(&format!("the trials of tuning job `{name}`"), trials)?
            .unwrap_or_default();
        let best = match own["BestTrainingJob"]["TrainingJobName"].as_str() {
            Some(best) => {
                let found = self.described(best);
                self.or_note(&format!("job `{best}`"), found)?
            }
            None => None,
        };
        self.facts.tuning = Some(Tuning { own, trials, best });
        Ok(())
    }
}

/// Instances of a job; 0 where it does not say.
fn instances(job: &Value) -> u64 {
    job["ResourceConfig"]["InstanceCount"].as_u64().unwrap_or(0)
}

/// The names of a job's metrics.
fn metrics(job: &Value) -> Vec<String> {
    let of = |value: &Value, member: &str| -> Vec<String> {
        value.as_array().into_iter().flatten().map(|m| text(m, member)).collect()
    };
    let mut names = of(&job["AlgorithmSpecification"]["MetricDefinitions"], "Name");
    for name in of(&job["FinalMetricDataList"], "MetricName") {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// The values that the first instance wrote into its log, by the job's own definitions of its metrics.
fn from_log(client: &Client, job: &Value) -> Result<Vec<Curve>, ClientError> {
    let definitions = job["AlgorithmSpecification"]["MetricDefinitions"].as_array();
    let mut curves: Vec<(regex::Regex, Curve)> = definitions
        .into_iter()
        .flatten()
        .filter_map(|definition| {
            let expression = definition["Regex"].as_str()?;
            // Python's expressions that are none here leave CloudWatch.
            let regex = RegexBuilder::new(expression).size_limit(REGEX_BYTES).build().ok()?;
            Some((regex, Curve { name: text(definition, "Name"), points: Vec::new() }))
        })
        .collect();
    if curves.is_empty() {
        return Ok(Vec::new());
    }
    let name = text(job, "TrainingJobName");
    let mut body = json!({
        "logGroupName": TRAINING,
        "logStreamNamePrefix": format!("{name}/algo-1"),
    });
    for _ in 0..PAGES {
        let mut page = client.json(Service::Logs, "FilterLogEvents", &body)?;
        for event in list(&mut page, "events") {
            let stream = event["logStreamName"].as_str().unwrap_or_default();
            // `algo-10` begins with `algo-1`, too.
            let first = stream.strip_prefix(&format!("{name}/algo-1"));
            if first.is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit())) {
                continue;
            }
            for (regex, curve) in &mut curves {
                if let Some(value) = value(regex, &text(&event, "message"))
                    && curve.points.len() < VALUES
                {
                    curve.points.push((curve.points.len() as f64 + 1.0, value));
                }
            }
        }
        match page["nextToken"].as_str() {
            Some(next) if !next.is_empty() && body["nextToken"] != next => {
                body["nextToken"] = next.into();
            }
            _ => break,
        }
    }
    Ok(curves.into_iter().map(|(_, curve)| curve).collect())
}

/// The first group is the value, as SageMaker reads it.
fn value(regex: &regex::Regex, line: &str) -> Option<f64> {
    let captures = regex.captures(line)?;
    let found = captures.get(1).or_else(|| captures.get(0))?;
    found.as_str().trim().parse().ok().filter(|value: &f64| value.is_finite())
}

//! `tuning-report.html` of a tuning job that ends, beside its models.

use std::sync::Arc;

use kennel_tune::report::{Report, Row, render};
use kennel_wire::ServiceError;

use super::TuningJob;
use super::trials::Children;
use crate::context::Timestamp;
use crate::sagemaker::Inner;
use crate::sagemaker::objects::Location;

/// The report's name below `<S3OutputPath>/<tuning job>/`.
const FILE: &str = "tuning-report.html";

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReportError {
    #[error(transparent)]
    Service(#[from] ServiceError),
    #[error(transparent)]
    Transfer(#[from] crate::sagemaker::objects::TransferError),
    #[error(transparent)]
    Local(#[from] std::io::Error),
    #[error(transparent)]
    Task(#[from] tokio::task::JoinError),
}

/// Where a tuning job's report lies.
pub(super) fn uri(name: &str, output_path: &str) -> String {
    format!("{}/{name}/{FILE}", output_path.trim_end_matches('/'))
}

/// Renders the report and puts it where the trials' models go.
pub(super) async fn write(
    inner: &Arc<Inner>,
    name: &str,
    job: &TuningJob,
    now: Timestamp,
) -> Result<(), ReportError> {
    let (rows, tuner, job) = (inner.rows.clone(), name.to_owned(), job.clone());
    // The name is letters, digits and hyphens by the API's model.
    let path = inner.data.join("training").join(format!("{name}-report.html"));
    let file = path.clone();
    let place = tokio::task::spawn_blocking(move || -> Result<Option<String>, ReportError> {
        let children = Children::read(&rows, &tuner, &job)?;
        let algorithms = children.algorithms();
        let Some(first) = algorithms.first() else { return Ok(None) };
        let output = first.definition["OutputDataConfig"]["S3OutputPath"].as_str();
        let Some(output) = output else { return Ok(None) };
        let place = uri(&tuner, output);
        if let Some(folder) = file.parent() {
            std::fs::create_dir_all(folder)?;
        }
        std::fs::write(&file, render(&report(&children, &job)))?;
        Ok(Some(place))
    })
    .await??;
    if let Some(place) = place {
        inner.objects.put_file(&Location::parse(&place)?, &path, now).await?;
        tokio::fs::remove_file(&path).await?;
    }
    Ok(())
}

/// What the report shows. With several definitions it shows the trials of all, and the ranges of all.
fn report(children: &Children<'_>, job: &TuningJob) -> Report {
    let algorithms = children.algorithms();
    let mut parameters: Vec<kennel_tune::Parameter> = Vec::new();
    for parameter in algorithms.iter().flat_map(|a| a.plan.space.parameters()) {
        if !parameters.iter().any(|known| known.name == parameter.name) {
            parameters.push(parameter.clone());
        }
    }
    let since = |t: Timestamp| (t.0 - job.created.0) as f64 / 1000.0;
    let config = &job.request["HyperParameterTuningJobConfig"];
    let strategy = config["Strategy"].as_str().unwrap_or_default().to_owned();
    let mut facts = vec![("strategy".to_owned(), strategy)];
    if let Some(super::Ending::Done(why)) = &job.ending {
        facts.push(("ended because".to_owned(), why.trim_end_matches('.').to_owned()));
    }
    let mut notes = Vec::new();
    if algorithms.len() > 1 {
        notes.push(format!(
            "The trials are of {} definitions, which have ranges of their own.",
            algorithms.len()
        ));
    }
    let first = algorithms.first();
    Report {
        title: format!("Tuning job {}", super::text(&job.request, "HyperParameterTuningJobName")),
        facts,
        notes,
        goal: first.map_or(kennel_tune::Goal::Minimize, |a| a.objective.goal),
        metric: first.map(|a| a.objective.metric_name.clone()).unwrap_or_default(),
        parameters,
        trials: children
            .rows
            .iter()
            .map(|(name, row)| {
                let trial = super::trials::trial(row);
                Row {
                    name: name.clone(),
                    values: trial.values,
                    state: trial.state,
                    reports: trial.reports,
                    started: row.started.map(since),
                    ended: row.ended.map(since),
                }
            })
            .collect(),
        best: children.best_place(),
    }
}

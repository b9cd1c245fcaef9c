//! Tuning jobs: the API's half. It only reads and writes rows; [`reconcile`] makes them happen. A tuning
//! job's trials are training jobs whose rows say so: nothing about them is kept anywhere else.

pub(super) mod reconcile;
mod report;
mod request;
mod trials;

use kennel_wire::ServiceError;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::listing::{Filter, Item, page, paged};
use super::rows::Row;
use super::training::text;
use super::{SageMaker, pairs};
use crate::context::{Context, Timestamp};
use crate::service::Answer;
use request::Request;
use trials::{Children, Prior};

pub(super) use super::training::Status;

/// AWS's page of the lists of this kind.
const PAGE: usize = 10;

/// A tuning job as stored.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct TuningJob {
    /// CreateHyperParameterTuningJob's input, completed; echoed by Describe.
    request: Value,
    arn: String,
    created: Timestamp,
    modified: Timestamp,
    ended: Option<Timestamp>,
    status: Status,
    failure: Option<String>,
    /// Seed of all choices where the input has none; drawn once, so that a restart chooses the same.
    seed: u64,
    /// The trials of the parents of a warm start, as they were when the job was created.
    prior: Vec<Prior>,
    /// Why no more trials are started although there may be some that still run; once set it stays.
    ending: Option<Ending>,
    /// When the model saw no improvement coming any more.
    converged: Option<Timestamp>,
}

/// Why a tuning job starts no more trials.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
enum Ending {
    /// A completion criterion; in words.
    Done(String),
    /// `MaxRuntimeInSeconds`.
    OverTime,
}

impl Row for TuningJob {
    const KIND: &'static str = "hyper-parameter-tuning-job";
    fn created(&self) -> Timestamp {
        self.created
    }
}

impl TuningJob {
    fn request(&self) -> Result<Request, ServiceError> {
        Request::parse(&self.request)
    }

    /// The name is in the input.
    fn name(&self) -> &str {
        text(&self.request, "HyperParameterTuningJobName")
    }
}

impl SageMaker {
    pub(super) async fn create_tuning_job(&self, context: &Context, input: Value) -> Answer {
        let name = text(&input, "HyperParameterTuningJobName").to_owned();
        let taken = || {
            ServiceError::new(
                "ResourceInUse",
                400,
                format!(
                    "A hyperparameter tuning job with the name, {name}, already exists. Choose a different name."
                ),
            )
        };
        if self.inner.rows.get::<TuningJob>(&name)?.is_some() {
            return Err(taken());
        }
        let input = request::complete(input)?;
        let request = Request::parse(&input)?;
        request.check_limits()?;
        // As much as JSON's readers keep of a number.
        let seed = u64::from(rand::random::<u32>());
        let algorithms = request.algorithms(&input, seed)?;
        for algorithm in &algorithms {
            let sample = algorithm.sample(&name)?;
            self.check_training_job(context, &sample).await?;
        }
        let prior = match &request.warm_start_config {
            Some(warm_start) => trials::prior(&self.inner.rows, warm_start, &algorithms)?,
            None => Vec::new(),
        };
        let arn = context.arn("sagemaker", &format!("{}/{name}", TuningJob::KIND));
        let job = TuningJob {
            request: input,
            arn: arn.clone(),
            created: context.now,
            modified: context.now,
            ended: None,
            status: Status::InProgress,
            failure: None,
            seed,
            prior,
            ending: None,
            converged: None,
        };
        self.inner.rows.insert(&name, &arn, job, pairs(request.tags), taken()).await?;
        self.inner.trials_changed.notify_waiters();
        Ok(json!({ "HyperParameterTuningJobArn": arn }))
    }

    pub(super) fn describe_tuning_job(&self, context: &Context, input: &Value) -> Answer {
        let job = self.tuning_job(input)?;
        let children = Children::read(&self.inner.rows, job.name(), &job)?;
        let best = children.best();
        let overall = match job.request()?.warm_start_config {
            Some(warm_start) if warm_start.identical() => {
                children.overall_best(&self.inner.rows, best.as_ref())?
            }
            _ => None,
        };
        let mut answer = job.request.clone();
        let Value::Object(members) = &mut answer else { return Err(ServiceError::internal()) };
        members.remove("Tags");
        let not_improving = children.not_improving();
        let state = json!({
            "HyperParameterTuningJobArn": job.arn,
            "HyperParameterTuningJobStatus": job.status.name(),
            "CreationTime": job.created.seconds(),
            "LastModifiedTime": children.modified().seconds(),
            "HyperParameterTuningEndTime": job.ended.map(Timestamp::seconds),
            "TrainingJobStatusCounters": children.status_counters(),
            "ObjectiveStatusCounters": children.objective_counters(),
            "BestTrainingJob": best,
            "OverallBestTrainingJob": overall,
            "FailureReason": job.failure,
            "TuningJobCompletionDetails": {
                "NumberOfTrainingJobsObjectiveNotImproving": not_improving,
                "ConvergenceDetectedTime": job.converged.map(Timestamp::seconds),
            },
            "ConsumedResources": {
                "RuntimeInSeconds": (job.ended.unwrap_or(context.now).0 - job.created.0).max(0) / 1000,
            },
        });
        if let Value::Object(state) = state {
            members.extend(state.into_iter().filter(|(_, value)| !value.is_null()));
        }
        Ok(answer)
    }

    pub(super) fn list_tuning_jobs(&self, input: &Value) -> Answer {
        let filter = filter(input, "Name")?;
        let items = self
            .inner
            .rows
            .all::<TuningJob>()?
            .into_iter()
            .map(|(name, row)| Item {
                name,
                created: row.created,
                modified: row.modified,
                status: row.status.name().to_owned(),
                row,
            })
            .collect();
        // AWS lists these ascending unless told otherwise.
        let (shown, next) = page(&filter, items, true)?;
        let mut summaries = Vec::new();
        for Item { name, row, .. } in &shown {
            let children = Children::read(&self.inner.rows, name, row)?;
            let mut summary = json!({
                "HyperParameterTuningJobName": name,
                "HyperParameterTuningJobArn": row.arn,
                "HyperParameterTuningJobStatus": row.status.name(),
                "Strategy": row.request["HyperParameterTuningJobConfig"]["Strategy"],
                "CreationTime": row.created.seconds(),
                "LastModifiedTime": children.modified().seconds(),
                "TrainingJobStatusCounters": children.status_counters(),
                "ObjectiveStatusCounters": children.objective_counters(),
                "ResourceLimits": row.request["HyperParameterTuningJobConfig"]["ResourceLimits"],
            });
            if let Some(ended) = row.ended {
                summary["HyperParameterTuningEndTime"] = json!(ended.seconds());
            }
            summaries.push(summary);
        }
        Ok(json!({ "HyperParameterTuningJobSummaries": summaries, "NextToken": next }))
    }

    pub(super) async fn stop_tuning_job(&self, context: &Context, input: &Value) -> Answer {
        let now = context.now;
        let name = text(input, "HyperParameterTuningJobName");
        let changed = self
            .inner
            .rows
            .change::<TuningJob, ()>(name, move |job| {
                if job.status.is_final() {
                    return Err(ServiceError::validation(format!(
                        "The request was rejected because the hyperparameter tuning job is in status {}.",
                        job.status.name()
                    )));
                }
                job.status = Status::Stopping;
                job.modified = now;
                Ok(())
            })
            .await?;
        changed.ok_or_else(|| not_found(name))?;
        self.inner.trials_changed.notify_waiters();
        Ok(json!({}))
    }

    pub(super) fn list_trials(&self, input: &Value) -> Answer {
        let job = self.tuning_job(input)?;
        // Newest first: AWS's numbers are in the names.
        let filter = filter(input, "Name")?;
        let children = Children::read(&self.inner.rows, job.name(), &job)?;
        let mut items = children.items();
        let by_objective = text(input, "SortBy") == "FinalObjectiveMetricValue";
        if by_objective {
            // AWS leaves out those that have none.
            items.retain(|item| item.row.value.is_some());
            items.sort_by(|a, b| {
                let value = |item: &Item<trials::Summary>| item.row.value.unwrap_or_default();
                value(a).total_cmp(&value(b)).then_with(|| a.name.cmp(&b.name))
            });
        }
        let (shown, next) = match by_objective {
            true => paged(&filter, items, true)?,
            false => page(&filter, items, false)?,
        };
        let summaries: Vec<Value> = shown.into_iter().map(|item| item.row.json).collect();
        Ok(json!({ "TrainingJobSummaries": summaries, "NextToken": next }))
    }

    fn tuning_job(&self, input: &Value) -> Result<TuningJob, ServiceError> {
        let name = text(input, "HyperParameterTuningJobName");
        self.inner.rows.get::<TuningJob>(name)?.ok_or_else(|| not_found(name))
    }
}

/// A list's filter with the defaults that AWS has for these two lists.
fn filter(input: &Value, sort_by: &str) -> Result<Filter, ServiceError> {
    let mut input = input.clone();
    if let Value::Object(members) = &mut input {
        members.entry("SortBy").or_insert(json!(sort_by));
        members.entry("MaxResults").or_insert(json!(PAGE));
    }
    serde_json::from_value(input).map_err(|e| ServiceError::validation(e.to_string()))
}

fn not_found(name: &str) -> ServiceError {
    ServiceError::new(
        "ResourceNotFound",
        400,
        format!("Amazon SageMaker can't find a tuning job called {name}. Type another name."),
    )
}

#[cfg(test)]
mod tests;

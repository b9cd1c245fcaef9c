//! A tuning job's trials, read from the rows of its training jobs: what `kennel_tune` decides by, what the
//! API answers about them, and the trials of the parents of a warm start.

use std::collections::{BTreeMap, BTreeSet};

use kennel_tune::{PriorTrial, Trial, TrialState, best};
use kennel_wire::ServiceError;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::request::{Algorithm, Objective, WarmStart};
use super::{TuningJob, not_found};
use crate::context::Timestamp;
use crate::sagemaker::listing::Item;
use crate::sagemaker::rows::Rows;
use crate::sagemaker::training::{Status, TrainingJob};

/// An improvement of less than this share is none (AWS's completion criteria).
const IMPROVEMENT: f64 = 0.01;

/// A trial of a parent of a warm start.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Prior {
    /// The parent.
    pub tuner: String,
    /// Its training job.
    pub job: String,
    /// The definition it was made from.
    pub definition: Option<String>,
    /// All its hyperparameters: what is tuned now may have been static then.
    pub values: BTreeMap<String, String>,
    /// Its objective.
    pub value: f64,
}

/// A trial as a list answers it.
#[derive(Debug, Clone)]
pub(super) struct Summary {
    pub json: Value,
    /// The final objective, if there is one.
    pub value: Option<f64>,
}

/// A tuning job with its trials, in the order in which they were started.
#[derive(Debug)]
pub(super) struct Children<'a> {
    name: &'a str,
    job: &'a TuningJob,
    algorithms: Vec<Algorithm>,
    /// Name and row.
    pub rows: Vec<(String, TrainingJob)>,
}

impl<'a> Children<'a> {
    pub(super) fn read(
        rows: &Rows,
        name: &'a str,
        job: &'a TuningJob,
    ) -> Result<Children<'a>, ServiceError> {
        let algorithms = job.request()?.algorithms(&job.request, job.seed)?;
        let mut found = rows.with_prefix::<TrainingJob>(&format!("{name}-"))?;
        found.retain(|(_, row)| row.tuning.as_ref().is_some_and(|t| t.arn == job.arn));
        found.sort_by_key(|(_, row)| row.tuning.as_ref().map(|t| t.number));
        Ok(Children { name, job, algorithms, rows: found })
    }

    /// The definitions with their plans, parents' trials included.
    pub(super) fn algorithms(&self) -> Vec<Algorithm> {
        let mut algorithms = self.algorithms.clone();
        for algorithm in &mut algorithms {
            algorithm.plan.prior = self
                .job
                .prior
                .iter()
                .filter(|p| p.definition.is_none() || p.definition == algorithm.name)
                .map(|p| PriorTrial { values: p.values.clone(), value: p.value })
                .collect();
        }
        algorithms
    }

    /// The trials of one definition, with their places in `rows`.
    pub(super) fn of(&self, algorithm: &Algorithm) -> (Vec<usize>, Vec<Trial>) {
        self.rows
            .iter()
            .enumerate()
            .filter(|(_, (_, row))| {
                self.algorithms.len() == 1
                    || row.tuning.as_ref().is_some_and(|t| t.definition == algorithm.name)
            })
            .map(|(place, (_, row))| (place, trial(row)))
            .unzip()
    }

    /// The place of the best trial in `rows`: of those that completed, since a trial that was stopped may
    /// have left no model; of the stopped ones where none did.
    pub(super) fn best_place(&self) -> Option<usize> {
        let completed = |row: &TrainingJob| row.status == Status::Completed;
        self.best_of(completed).or_else(|| self.best_of(|_| true))
    }

    fn best_of(&self, counts: impl Fn(&TrainingJob) -> bool) -> Option<usize> {
        let mut places: Vec<usize> = Vec::new();
        for algorithm in &self.algorithms {
            let (own, trials) = self.of(algorithm);
            let pairs = own.into_iter().zip(trials);
            let (own, trials): (Vec<usize>, Vec<Trial>) = pairs
                .filter(|(place, _)| self.rows.get(*place).is_some_and(|(_, row)| counts(row)))
                .unzip();
            let place = best(&algorithm.plan, &trials).and_then(|index| own.get(index));
            places.extend(place);
        }
        // All objectives go the same way, and the earliest of equals wins.
        places.sort_unstable();
        let cost = |place: &usize| {
            let row = self.rows.get(*place);
            row.and_then(|(_, row)| value(row)).map_or(f64::INFINITY, |v| self.sign() * v)
        };
        places.into_iter().min_by(|a, b| cost(a).total_cmp(&cost(b)))
    }

    /// The best trial's summary.
    pub(super) fn best(&self) -> Option<Value> {
        let (name, row) = self.rows.get(self.best_place()?)?;
        Some(self.summary(name, row).json)
    }

    /// What makes lower objectives better ones.
    fn sign(&self) -> f64 {
        match self.algorithms.first().map(|a| a.objective.goal) {
            Some(kennel_tune::Goal::Maximize) => -1.0,
            _ => 1.0,
        }
    }

    /// Whether a trial has ended with an objective.
    pub(super) fn succeeded(&self, row: &TrainingJob) -> bool {
        value(row).is_some()
    }

    /// The best of the trials and of the parents'.
    pub(super) fn overall_best(
        &self,
        rows: &Rows,
        own: Option<&Value>,
    ) -> Result<Option<Value>, ServiceError> {
        let cost = |value: f64| self.sign() * value;
        let of_parents =
            self.job.prior.iter().min_by(|a, b| cost(a.value).total_cmp(&cost(b.value)));
        let value = own
            .and_then(|own| own["FinalHyperParameterTuningJobObjectiveMetric"]["Value"].as_f64());
        let prior = match (of_parents, value) {
            (None, _) => return Ok(own.cloned()),
            (Some(prior), Some(value)) if cost(value) <= cost(prior.value) => {
                return Ok(own.cloned());
            }
            (Some(prior), _) => prior,
        };
        let Some(row) = rows.get::<TrainingJob>(&prior.job)? else { return Ok(own.cloned()) };
        let mut summary = self.summary(&prior.job, &row).json;
        summary["TuningJobName"] = json!(prior.tuner);
        Ok(Some(summary))
    }

    /// The objective of the trials of a row's definition.
    fn objective(&self, row: &TrainingJob) -> Option<&Objective> {
        let definition = row.tuning.as_ref().and_then(|t| t.definition.as_ref());
        let own = self.algorithms.iter().find(|a| a.name.as_ref() == definition);
        own.or(self.algorithms.first()).map(|algorithm| &algorithm.objective)
    }

    /// `HyperParameterTrainingJobSummary`.
    fn summary(&self, name: &str, row: &TrainingJob) -> Summary {
        let value = value(row);
        let tuning = row.tuning.as_ref();
        let mut json = json!({
            "TrainingJobName": name,
            "TrainingJobArn": row.arn,
            "TuningJobName": self.name,
            "CreationTime": row.created.seconds(),
            "TrainingJobStatus": row.status.name(),
            "TunedHyperParameters": tuning.map(|t| &t.tuned),
            "ObjectiveStatus": objective_status(row),
        });
        let mut put = |name: &str, value: Option<Value>| {
            if let Some(value) = value {
                json[name] = value;
            }
        };
        put(
            "TrainingJobDefinitionName",
            tuning.and_then(|t| t.definition.clone()).map(Value::from),
        );
        put("TrainingStartTime", row.started.map(|t| json!(t.seconds())));
        let ended = row.ended.filter(|_| row.started.is_some());
        put("TrainingEndTime", ended.map(|t| json!(t.seconds())));
        put("FailureReason", row.failure.clone().map(Value::from));
        if let (Some(value), Some(objective)) = (value, self.objective(row)) {
            put(
                "FinalHyperParameterTuningJobObjectiveMetric",
                Some(json!({
                    "Type": objective.goal.to_string(),
                    "MetricName": objective.metric_name,
                    "Value": value,
                })),
            );
        }
        Summary { json, value }
    }

    /// All trials for a list.
    pub(super) fn items(&self) -> Vec<Item<Summary>> {
        self.rows
            .iter()
            .map(|(name, row)| Item {
                name: name.clone(),
                created: row.created,
                modified: row.modified,
                status: row.status.name().to_owned(),
                row: self.summary(name, row),
            })
            .collect()
    }

    /// `TrainingJobStatusCounters`.
    pub(super) fn status_counters(&self) -> Value {
        let count = |wanted: &[Status]| {
            self.rows.iter().filter(|(_, row)| wanted.contains(&row.status)).count()
        };
        json!({
            "Completed": count(&[Status::Completed]),
            "InProgress": count(&[Status::InProgress, Status::Stopping]),
            // Nothing of ours is tried again by itself.
            "RetryableError": 0,
            "NonRetryableError": count(&[Status::Failed]),
            "Stopped": count(&[Status::Stopped]),
        })
    }

    /// `ObjectiveStatusCounters`.
    pub(super) fn objective_counters(&self) -> Value {
        let count =
            |wanted| self.rows.iter().filter(|(_, row)| objective_status(row) == wanted).count();
        json!({
            "Succeeded": count("Succeeded"),
            "Pending": count("Pending"),
            "Failed": count("Failed"),
        })
    }

    /// When something about the job or its trials changed last.
    pub(super) fn modified(&self) -> Timestamp {
        let trials = self.rows.iter().map(|(_, row)| row.modified);
        trials.chain([self.job.modified]).max().unwrap_or(self.job.modified)
    }

    /// How many ended trials in a row have not improved the objective by 1 %, in order of creation. Small
    /// improvements add up: trials are compared with the last one that counted.
    pub(super) fn not_improving(&self) -> usize {
        let (mut count, mut counted) = (0, None);
        for (_, row) in self.rows.iter().filter(|(_, row)| row.status.is_final()) {
            match (value(row).map(|value| self.sign() * value), counted) {
                (Some(cost), None) => counted = Some(cost),
                (Some(cost), Some(before)) if cost < before - IMPROVEMENT * f64::abs(before) => {
                    (count, counted) = (0, Some(cost));
                }
                (_, Some(_)) => count += 1,
                (None, None) => {}
            }
        }
        count
    }
}

/// A trial's objective when it has ended: the value that was emitted last, also where it was stopped
/// (<https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_FinalHyperParameterTuningJobObjectiveMetric.html>).
/// A failed training job has none.
fn value(row: &TrainingJob) -> Option<f64> {
    let objective = &row.tuning.as_ref()?.objective;
    matches!(row.status, Status::Completed | Status::Stopped)
        .then(|| row.metrics.get(objective))
        .flatten()
        .map(|(value, _)| *value)
}

fn objective_status(row: &TrainingJob) -> &'static str {
    match value(row) {
        Some(_) => "Succeeded",
        None if row.status.is_final() => "Failed",
        None => "Pending",
    }
}

/// A row as `kennel_tune` sees it.
pub(super) fn trial(row: &TrainingJob) -> Trial {
    let value = value(row);
    Trial {
        values: row.tuning.as_ref().map(|t| t.tuned.clone()).unwrap_or_default(),
        state: match (row.status, value) {
            (Status::InProgress | Status::Stopping, _) => TrialState::Running,
            (Status::Completed, Some(value)) => TrialState::Succeeded(value),
            (Status::Completed | Status::Failed, _) => TrialState::Failed,
            (Status::Stopped, value) => TrialState::Stopped(value),
        },
        reports: row.reports.iter().map(|(value, _)| *value).collect(),
    }
}

/// The trials of a warm start's parents; refuses parents that do not fit.
pub(super) fn prior(
    rows: &Rows,
    warm_start: &WarmStart,
    algorithms: &[Algorithm],
) -> Result<Vec<Prior>, ServiceError> {
    let mut found = Vec::new();
    let mut names = BTreeSet::new();
    for parent in warm_start.parents() {
        if !names.insert(parent) {
            return Err(ServiceError::validation(format!("parent `{parent}` is named twice")));
        }
        let Some(job) = rows.get::<TuningJob>(parent)? else {
            return Err(ServiceError::validation(not_found(parent).message));
        };
        if !job.status.is_final() {
            return Err(ServiceError::validation(format!(
                "parent tuning job `{parent}` is in status {}\nhint: a warm start needs parents that have ended; wait for it or stop it",
                job.status.name()
            )));
        }
        let children = Children::read(rows, parent, &job)?;
        check_parent(parent, warm_start.identical(), &children.algorithms, algorithms)?;
        for (name, row) in &children.rows {
            let Some(value) = value(row) else { continue };
            found.push(Prior {
                tuner: parent.to_owned(),
                job: name.clone(),
                definition: row.tuning.as_ref().and_then(|t| t.definition.clone()),
                values: row.request()?.hyper_parameters,
                value,
            });
        }
    }
    Ok(found)
}

/// What a warm start asks of a parent: the same objective and set of hyperparameters, and for
/// `IdenticalDataAndAlgorithm` the same program and data. Ranges may change, and what is static or tuned
/// (<https://docs.aws.amazon.com/sagemaker/latest/dg/automatic-model-tuning-warm-start.html>).
fn check_parent(
    parent: &str,
    identical: bool,
    theirs: &[Algorithm],
    ours: &[Algorithm],
) -> Result<(), ServiceError> {
    let refuse = |message: String| Err(ServiceError::validation(message));
    let differs = |what: &str| {
        refuse(format!(
            "WarmStartType IdenticalDataAndAlgorithm: {what} is not that of the parent tuning job `{parent}`\nhint: use TransferLearning"
        ))
    };
    for own in ours {
        let Some(their) = theirs.iter().find(|a| a.name == own.name || theirs.len() == 1) else {
            return refuse(format!(
                "the parent tuning job `{parent}` has no training job definition `{}`",
                own.name.as_deref().unwrap_or_default()
            ));
        };
        if own.objective != their.objective {
            return refuse(format!(
                "the objective of a warm start is that of its parents; of `{parent}` it is {} `{}`",
                their.objective.goal, their.objective.metric_name
            ));
        }
        if own.names() != their.names() {
            return refuse(
                "The set of tunable plus static HyperParameter names is not the same across current and parent tuning jobs. Please ensure this set is constant when warm starting. Note that previously static HyperParameters can be tuned in warm start jobs and vice versa."
                    .to_owned(),
            );
        }
        let program = |a: &Algorithm| {
            let specification = &a.definition["AlgorithmSpecification"];
            (specification["TrainingImage"].clone(), specification["AlgorithmName"].clone())
        };
        if identical && program(own) != program(their) {
            return differs("the training image");
        }
        if identical && own.definition["InputDataConfig"] != their.definition["InputDataConfig"] {
            return differs("the input data");
        }
    }
    Ok(())
}

//! CreateHyperParameterTuningJob's input: typed, checked, completed with what AWS adds to it, and turned
//! into the plans that `kennel_tune` decides by. Pure.

mod complete;
mod ranges;

use std::collections::{BTreeMap, BTreeSet};

use kennel_tune::{Completion, Domain, Goal, Plan, Space, Strategy};
use kennel_wire::ServiceError;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::sagemaker::Tag;
use crate::sagemaker::image::Program;
use crate::sagemaker::training::{Request as TrainingRequest, metrics};

pub(super) use complete::complete;
use ranges::Ranges;

/// The hyperparameter by which a training program hears of the objective; AWS adds it to the static ones.
pub(super) const OBJECTIVE_PARAMETER: &str = "_tuning_objective_metric";
/// AWS's quota of trials at the same time.
const MAX_PARALLEL: usize = 10;
/// AWS's quota of trials of one tuning job, and what is meant where no number is given.
const MAX_TRIALS: usize = 750;
/// Hyperband's `MaxResource` where neither it nor the number of epochs is known: 1, 3, 9, 27.
const MAX_RESOURCE: u32 = 27;
/// Static hyperparameters that say how many epochs a training has.
const EPOCHS: [&str; 3] = ["epochs", "num_epochs", "num_epoch"];

/// What of the input decides what happens.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Request {
    #[serde(rename = "HyperParameterTuningJobConfig")]
    pub config: Config,
    training_job_definition: Option<Definition>,
    #[serde(default)]
    training_job_definitions: Vec<Definition>,
    pub warm_start_config: Option<WarmStart>,
    autotune: Option<Value>,
    #[serde(default)]
    pub tags: Vec<Tag>,
}

/// `HyperParameterTuningJobConfig`.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Config {
    pub strategy: String,
    strategy_config: Option<StrategyConfig>,
    #[serde(rename = "HyperParameterTuningJobObjective")]
    objective: Option<Objective>,
    pub resource_limits: Limits,
    parameter_ranges: Option<Ranges>,
    training_job_early_stopping_type: Option<String>,
    tuning_job_completion_criteria: Option<Criteria>,
    pub random_seed: Option<u64>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct StrategyConfig {
    hyperband_strategy_config: Option<Hyperband>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Hyperband {
    min_resource: Option<u32>,
    max_resource: Option<u32>,
}

/// `HyperParameterTuningJobObjective`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Objective {
    #[serde(rename = "Type")]
    pub goal: Goal,
    pub metric_name: String,
}

/// `ResourceLimits`.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Limits {
    max_number_of_training_jobs: Option<usize>,
    max_parallel_training_jobs: usize,
    pub max_runtime_in_seconds: Option<i64>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Criteria {
    target_objective_metric_value: Option<f64>,
    best_objective_not_improving: Option<NotImproving>,
    convergence_detected: Option<Convergence>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct NotImproving {
    max_number_of_training_jobs_not_improving: Option<usize>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Convergence {
    complete_on_convergence: Option<String>,
}

/// `HyperParameterTrainingJobDefinition`, as far as it is not a training job's own.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Definition {
    #[serde(rename = "DefinitionName")]
    pub name: Option<String>,
    tuning_objective: Option<Objective>,
    hyper_parameter_ranges: Option<Ranges>,
    #[serde(default)]
    pub static_hyper_parameters: BTreeMap<String, String>,
}

/// `WarmStartConfig`.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct WarmStart {
    parent_hyper_parameter_tuning_jobs: Vec<Parent>,
    warm_start_type: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Parent {
    #[serde(rename = "HyperParameterTuningJobName")]
    name: Option<String>,
}

impl WarmStart {
    pub(super) fn parents(&self) -> impl Iterator<Item = &str> {
        self.parent_hyper_parameter_tuning_jobs.iter().filter_map(|parent| parent.name.as_deref())
    }

    /// `IdenticalDataAndAlgorithm`: the parents' trials count as this job's own.
    pub(super) fn identical(&self) -> bool {
        self.warm_start_type == "IdenticalDataAndAlgorithm"
    }
}

/// One definition, ready to make trials of.
#[derive(Debug, Clone)]
pub(super) struct Algorithm {
    /// `DefinitionName`.
    pub name: Option<String>,
    /// What its trials are judged by.
    pub objective: Objective,
    /// How its trials are chosen, without what is known of earlier tuning jobs.
    pub plan: Plan,
    /// Hyperparameters that are the same in all trials.
    pub fixed: BTreeMap<String, String>,
    /// The definition as stored.
    pub definition: Value,
}

fn refuse<T>(message: impl Into<String>) -> Result<T, ServiceError> {
    Err(ServiceError::validation(message))
}

/// The definitions of an input, whichever way they were given.
fn definitions(input: &Value) -> Vec<&Value> {
    match input.get("TrainingJobDefinition") {
        Some(one) => vec![one],
        None => input
            .get("TrainingJobDefinitions")
            .and_then(Value::as_array)
            .map(|list| list.iter().collect())
            .unwrap_or_default(),
    }
}

impl Request {
    pub(super) fn parse(input: &Value) -> Result<Self, ServiceError> {
        serde_json::from_value(input.clone())
            .map_err(|e| ServiceError::validation(format!("the tuning job's definition: {e}")))
    }

    fn typed_definitions(&self) -> Result<Vec<&Definition>, ServiceError> {
        match (&self.training_job_definition, self.training_job_definitions.as_slice()) {
            (Some(_), [_, ..]) | (None, []) => refuse(
                "exactly one of `TrainingJobDefinition` and `TrainingJobDefinitions` must be given",
            ),
            (Some(one), []) => Ok(vec![one]),
            (None, several) => Ok(several.iter().collect()),
        }
    }

    fn several(&self) -> bool {
        self.training_job_definition.is_none()
    }

    /// Each definition with its objective and its plan; refuses what cannot be done. `seed` is used where the
    /// input has none.
    pub(super) fn algorithms(
        &self,
        input: &Value,
        seed: u64,
    ) -> Result<Vec<Algorithm>, ServiceError> {
        let typed = self.typed_definitions()?;
        let several = self.several();
        let config = &self.config;
        if several && (config.objective.is_some() || config.parameter_ranges.is_some()) {
            return refuse(
                "`HyperParameterTuningJobObjective` and `ParameterRanges` of `HyperParameterTuningJobConfig` cannot be used with `TrainingJobDefinitions`\nhint: give each definition its `TuningObjective` and `HyperParameterRanges`",
            );
        }
        let parallel = config.resource_limits.max_parallel_training_jobs;
        if parallel > MAX_PARALLEL {
            return Err(ServiceError::new(
                "ResourceLimitExceeded",
                400,
                format!(
                    "`MaxParallelTrainingJobs` is {parallel}; a tuning job may have {MAX_PARALLEL} training jobs at the same time"
                ),
            ));
        }
        let mut names = BTreeSet::new();
        let mut algorithms = Vec::new();
        for (place, (definition, raw)) in typed.iter().zip(definitions(input)).enumerate() {
            if several {
                let Some(name) = &definition.name else {
                    return refuse("each of `TrainingJobDefinitions` needs a `DefinitionName`");
                };
                if !names.insert(name) {
                    return refuse(format!("`DefinitionName` `{name}` is used twice"));
                }
            }
            let objective = match definition.tuning_objective.as_ref().or(config.objective.as_ref())
            {
                Some(objective) => objective.clone(),
                None if several => {
                    return refuse("each of `TrainingJobDefinitions` needs a `TuningObjective`");
                }
                None => return refuse("`HyperParameterTuningJobObjective` is missing"),
            };
            let ranges =
                definition.hyper_parameter_ranges.as_ref().or(config.parameter_ranges.as_ref());
            let space = match ranges {
                Some(ranges) => ranges.space()?,
                None => Ranges::default().space()?,
            };
            let fixed = &definition.static_hyper_parameters;
            if let Some(both) = space.parameters().iter().find(|p| fixed.contains_key(&p.name)) {
                return refuse(format!(
                    "hyperparameter `{}` has a range and a static value\nhint: leave it out of `StaticHyperParameters`",
                    both.name
                ));
            }
            let plan = self.plan(space, &objective, fixed, (place, typed.len()), seed)?;
            algorithms.push(Algorithm {
                name: definition.name.clone(),
                objective,
                plan,
                fixed: fixed.clone(),
                definition: raw.clone(),
            });
        }
        let goals: BTreeSet<String> =
            algorithms.iter().map(|a| a.objective.goal.to_string()).collect();
        if goals.len() > 1 {
            return refuse(
                "the objectives of `TrainingJobDefinitions` must all be minimized or all be maximized: their trials are compared",
            );
        }
        Ok(algorithms)
    }

    /// The plan of one definition, which is number `place.0` of `place.1`.
    fn plan(
        &self,
        space: Space,
        objective: &Objective,
        fixed: &BTreeMap<String, String>,
        place: (usize, usize),
        seed: u64,
    ) -> Result<Plan, ServiceError> {
        let config = &self.config;
        let limits = &config.resource_limits;
        let hyperband = config
            .strategy_config
            .as_ref()
            .and_then(|strategy| strategy.hyperband_strategy_config.clone());
        if hyperband.is_some() && config.strategy != "Hyperband" {
            return refuse("`HyperbandStrategyConfig` is for the strategy Hyperband only");
        }
        let strategy = match config.strategy.as_str() {
            "Random" => Strategy::Random,
            "Grid" => Strategy::Grid,
            "Hyperband" => {
                let given = hyperband.unwrap_or_default();
                let min = given.min_resource.unwrap_or(1);
                let epochs = EPOCHS.iter().find_map(|name| {
                    fixed.get(*name).and_then(|value| value.trim_matches('"').parse().ok())
                });
                let max = given.max_resource.or(epochs).unwrap_or(MAX_RESOURCE.max(min));
                Strategy::Hyperband { min, max }
            }
            _ => Strategy::Bayesian,
        };
        let mut max_trials = self.max_trials().unwrap_or(MAX_TRIALS);
        if strategy == Strategy::Grid {
            let categorical =
                space.parameters().iter().all(|p| matches!(p.domain, Domain::Categorical { .. }));
            if !categorical {
                return refuse(
                    "the strategy Grid takes categorical parameters only\nhint: list the values in `CategoricalParameterRanges`, or choose another strategy",
                );
            }
            let size = space.grid_size().and_then(|size| usize::try_from(size).ok());
            let size = size.filter(|size| *size <= MAX_TRIALS);
            let Some(size) = size else {
                return refuse(format!("the grid has more than {MAX_TRIALS} combinations"));
            };
            if place.1 == 1 && limits.max_number_of_training_jobs.is_some_and(|n| n != size) {
                return refuse(format!(
                    "`MaxNumberOfTrainingJobs` is {max_trials}, but the grid has {size} combinations\nhint: leave it out, the strategy Grid tries every combination once"
                ));
            }
            max_trials = size;
        } else if place.1 > 1 {
            // Trials are dealt in turn.
            max_trials = max_trials / place.1 + usize::from(place.0 < max_trials % place.1);
        }
        let criteria = config.tuning_job_completion_criteria.clone().unwrap_or_default();
        let convergence = criteria.convergence_detected.and_then(|c| c.complete_on_convergence);
        let plan = Plan {
            space,
            strategy,
            goal: objective.goal,
            seed: config.random_seed.unwrap_or(seed).wrapping_add(place.0 as u64),
            max_trials: max_trials.max(1),
            parallel: limits.max_parallel_training_jobs,
            early_stopping: config.training_job_early_stopping_type.as_deref() == Some("Auto"),
            completion: Completion {
                target: criteria.target_objective_metric_value,
                not_improving: criteria
                    .best_objective_not_improving
                    .and_then(|b| b.max_number_of_training_jobs_not_improving),
                convergence: convergence.as_deref() == Some("Enabled"),
            },
            prior: Vec::new(),
        };
        plan.check().map_err(|e| ServiceError::validation(e.to_string()))?;
        Ok(plan)
    }

    /// `MaxNumberOfTrainingJobs`, where it was given.
    pub(super) fn max_trials(&self) -> Option<usize> {
        self.config.resource_limits.max_number_of_training_jobs
    }

    /// Refuses numbers of trials that are too many, or no end at all.
    pub(super) fn check_limits(&self) -> Result<(), ServiceError> {
        let limits = &self.config.resource_limits;
        let criteria = self.config.tuning_job_completion_criteria.is_some();
        match limits.max_number_of_training_jobs {
            Some(n) if n > MAX_TRIALS => Err(ServiceError::new(
                "ResourceLimitExceeded",
                400,
                format!("`MaxNumberOfTrainingJobs` is {n}; a tuning job may have {MAX_TRIALS}"),
            )),
            None if !criteria
                && limits.max_runtime_in_seconds.is_none()
                && self.config.strategy != "Grid"
                && self.autotune.is_none() =>
            {
                refuse(
                    "nothing says when the tuning job is done\nhint: give `ResourceLimits.MaxNumberOfTrainingJobs`, `MaxRuntimeInSeconds` or `TuningJobCompletionCriteria`",
                )
            }
            _ => Ok(()),
        }
    }
}

impl Algorithm {
    /// CreateTrainingJob's input of a trial.
    pub(super) fn training_job(&self, name: &str, tuned: &BTreeMap<String, String>) -> Value {
        let mut request: Map<String, Value> = match &self.definition {
            Value::Object(members) => members.clone(),
            _ => Map::new(),
        };
        for own in [
            "DefinitionName",
            "TuningObjective",
            "HyperParameterRanges",
            "StaticHyperParameters",
            "HyperParameterTuningResourceConfig",
        ] {
            request.remove(own);
        }
        let mut all = self.fixed.clone();
        all.extend(tuned.clone());
        request.insert("TrainingJobName".to_owned(), json!(name));
        request.insert("HyperParameters".to_owned(), json!(all));
        // Trials must not find each other's checkpoints.
        if let Some(Value::Object(checkpoints)) = request.get_mut("CheckpointConfig")
            && let Some(Value::String(uri)) = checkpoints.get_mut("S3Uri")
        {
            *uri = format!("{}/{name}", uri.trim_end_matches('/'));
        }
        Value::Object(request)
    }

    /// A training job as its trials will be, to be checked before there are any.
    pub(super) fn sample(&self, tuner: &str) -> Result<TrainingRequest, ServiceError> {
        let tuned = self.plan.space.parameters().iter();
        let tuned = tuned.map(|p| (p.name.clone(), String::new())).collect();
        let request =
            TrainingRequest::parse(&self.training_job(&format!("{tuner}-001-00000000"), &tuned))?;
        let count = request.hyper_parameters.len();
        if count > 100 {
            return refuse(format!(
                "each training job would have {count} hyperparameters; at most 100 are allowed"
            ));
        }
        let mut defined = request.algorithm_specification.metric_definitions.clone();
        if request.program()? == Program::Native {
            defined.extend(metrics::native());
        }
        let metric = &self.objective.metric_name;
        if !defined.iter().any(|definition| definition.name == *metric) {
            let known: Vec<String> = defined.iter().map(|d| format!("`{}`", d.name)).collect();
            let known = if known.is_empty() { "no metric".to_owned() } else { known.join(", ") };
            return refuse(format!(
                "A metric is required for this hyperparameter tuning job objective. Provide a metric in the metric definitions. The objective is `{metric}`, defined: {known}"
            ));
        }
        Ok(request)
    }

    /// The names of all hyperparameters of a trial.
    pub(super) fn names(&self) -> BTreeSet<&str> {
        let tuned = self.plan.space.parameters().iter().map(|p| p.name.as_str());
        tuned.chain(self.fixed.keys().map(String::as_str)).collect()
    }
}

#[cfg(test)]
mod tests;

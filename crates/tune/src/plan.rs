//! A tuning job and its trials, as the caller describes them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::space::{Assignment, Space};

/// Which objective values are better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Goal {
    /// Lower ones.
    Minimize,
    /// Higher ones.
    Maximize,
}

impl Goal {
    /// The value with its sign such that lower is better, which is what all decisions here work on.
    pub(crate) fn cost(self, value: f64) -> f64 {
        match self {
            Goal::Minimize => value,
            Goal::Maximize => -value,
        }
    }
}

impl fmt::Display for Goal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Goal::Minimize => "Minimize",
            Goal::Maximize => "Maximize",
        })
    }
}

impl FromStr for Goal {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "Minimize" => Ok(Goal::Minimize),
            "Maximize" => Ok(Goal::Maximize),
            _ => Err(format!("`{text}` is no goal\nhint: use Minimize or Maximize")),
        }
    }
}

/// How the values of the next trial are chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Strategy {
    /// Drawn evenly on the scale of each parameter, never one combination twice.
    Random,
    /// All combinations in order; no continuous parameters.
    Grid,
    /// Where a Gaussian process fitted to the trials so far expects the largest improvement.
    Bayesian,
    /// Drawn at random, and stopped at rungs unless among the best third there.
    Hyperband {
        /// Reports (epochs) of the first rung, at least 1.
        min: u32,
        /// Reports (epochs) of a whole training.
        max: u32,
    },
}

impl fmt::Display for Strategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Strategy::Random => "Random",
            Strategy::Grid => "Grid",
            Strategy::Bayesian => "Bayesian",
            Strategy::Hyperband { .. } => "Hyperband",
        })
    }
}

/// How a trial stands. An objective that is infinite or not a number counts as `Failed`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub enum TrialState {
    /// Started and not ended.
    Running,
    /// Ended by itself with this objective.
    Succeeded(f64),
    /// Ended without an objective.
    Failed,
    /// Stopped before its end, with its objective then, if it had one.
    Stopped(Option<f64>),
}

/// One training of the tuning job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Trial {
    /// The values it was started with.
    pub values: Assignment,
    /// How it stands.
    pub state: TrialState,
    /// Its objective after each epoch, oldest first.
    pub reports: Vec<f64>,
}

impl Trial {
    /// The objective of an ended trial, when it is a number.
    pub(crate) fn value(&self) -> Option<f64> {
        match self.state {
            TrialState::Succeeded(value) | TrialState::Stopped(Some(value)) => {
                value.is_finite().then_some(value)
            }
            TrialState::Running | TrialState::Failed | TrialState::Stopped(None) => None,
        }
    }

    /// Whether it still holds one of the parallel places.
    pub(crate) fn runs(&self) -> bool {
        self.state == TrialState::Running
    }
}

/// A trial of an earlier tuning job that this one starts from (warm start).
///
/// Both of SageMaker's kinds are the same to the model, which has one more input that tells own trials from
/// earlier ones and learns by itself how far to trust them. The difference is the caller's: with
/// `IdenticalDataAndAlgorithm` it checks that data and algorithm are those of the parents and takes their best
/// trials into the overall best; with `TransferLearning` it checks neither, and the overall best is this job's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PriorTrial {
    /// Its values; parameters that are missing here are taken as unknown, others are ignored.
    pub values: Assignment,
    /// Its objective, ignored unless a finite number.
    pub value: f64,
}

/// When a tuning job is done before all its trials are.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Completion {
    /// A trial is at least this good (`TargetObjectiveMetricValue`).
    pub target: Option<f64>,
    /// This many ended trials in a row are not at least 1 % better than the best before them
    /// (`MaxNumberOfTrainingJobsNotImproving`).
    pub not_improving: Option<usize>,
    /// The model expects no improvement of 1 % anywhere (`CompleteOnConvergence`).
    pub convergence: bool,
}

/// A tuning job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// What is searched.
    pub space: Space,
    /// How.
    pub strategy: Strategy,
    /// Which objectives are better.
    pub goal: Goal,
    /// Seed of every random choice.
    pub seed: u64,
    /// Most trials, at least 1 (`MaxNumberOfTrainingJobs`).
    pub max_trials: usize,
    /// Most trials at a time, at least 1 (`MaxParallelTrainingJobs`).
    pub parallel: usize,
    /// Whether running trials are stopped by the median rule (`TrainingJobEarlyStoppingType: Auto`).
    pub early_stopping: bool,
    /// When to end before `max_trials`.
    pub completion: Completion,
    /// Trials of earlier tuning jobs.
    pub prior: Vec<PriorTrial>,
}

impl Plan {
    /// Checks what the types do not.
    ///
    /// # Errors
    /// When the numbers or the combination of strategy, space and early stopping are not possible.
    pub fn check(&self) -> Result<(), PlanError> {
        if self.max_trials == 0 {
            return Err(PlanError::NoTrials);
        }
        if self.parallel == 0 {
            return Err(PlanError::NoPlaces);
        }
        match self.strategy {
            Strategy::Grid if self.space.grid_size().is_none() => {
                return Err(PlanError::GridContinuous);
            }
            Strategy::Hyperband { min, max } if min == 0 || min > max => {
                return Err(PlanError::Resources { min, max });
            }
            Strategy::Hyperband { .. } if self.early_stopping => {
                return Err(PlanError::HyperbandEarlyStopping);
            }
            Strategy::Random | Strategy::Grid | Strategy::Bayesian | Strategy::Hyperband { .. } => {
            }
        }
        if self.completion.target.is_some_and(|target| !target.is_finite()) {
            return Err(PlanError::Target);
        }
        if self.completion.not_improving == Some(0) {
            return Err(PlanError::NotImproving);
        }
        Ok(())
    }
}

/// Why a plan cannot be followed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// `max_trials` is 0.
    #[error("a tuning job needs at least one trial")]
    NoTrials,
    /// `parallel` is 0.
    #[error("a tuning job needs at least one trial at a time")]
    NoPlaces,
    /// A grid over a continuous range.
    #[error(
        "a grid cannot go through a continuous range\nhint: list the values as a categorical parameter, or use Random"
    )]
    GridContinuous,
    /// Resources out of order.
    #[error(
        "Hyperband cannot go from `{min}` to `{max}` epochs\nhint: at least 1, and no more than the highest"
    )]
    Resources {
        /// First rung.
        min: u32,
        /// Whole training.
        max: u32,
    },
    /// Two rules that stop trials.
    #[error(
        "Hyperband stops trials itself\nhint: turn early stopping off, or use another strategy"
    )]
    HyperbandEarlyStopping,
    /// The target is infinite or not a number.
    #[error("the target of the objective is not a finite number")]
    Target,
    /// Zero trials without improvement.
    #[error("the number of trials without improvement is at least 1")]
    NotImproving,
}

#[cfg(test)]
mod tests;

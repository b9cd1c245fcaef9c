//! Tuning in one process: the features are computed once, and every trial is a head trained on them. What
//! to try and when to stop is decided by `kennel_tune`, which is pure; here are the threads, the state file
//! that a killed tuning goes on from, and the results.

mod state;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Instant;

use kennel_base::{ErrorCode, ErrorCoded, HyperparameterError};
use kennel_tune::{Assignment, Goal, Plan, PlanError, Step, Trial, TrialState};
use serde::{Deserialize, Serialize};

use crate::head::{Epoch, Flow, TrainedHead, Watch};
use crate::job::{HeadJob, JobError, JobEvent, JobOptions, JobResult, Prepared};

pub use state::StateError;

/// What is made as good as possible, on the validation split.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Objective {
    /// Top-1 accuracy.
    Accuracy,
    /// Cross entropy.
    Loss,
}

impl Objective {
    /// The metric's name in logs and reports.
    pub fn name(self) -> &'static str {
        match self {
            Objective::Accuracy => "valid_accuracy",
            Objective::Loss => "valid_loss",
        }
    }

    /// Which way is better.
    pub fn goal(self) -> Goal {
        match self {
            Objective::Accuracy => Goal::Maximize,
            Objective::Loss => Goal::Minimize,
        }
    }

    fn of(self, epoch: &Epoch) -> Option<f64> {
        match self {
            Objective::Accuracy => epoch.valid_accuracy,
            Objective::Loss => epoch.valid_loss,
        }
    }
}

/// Everything a tuning is told.
#[derive(Debug, Clone)]
pub struct TuneOptions {
    /// Photos, backbone and the options that are not tuned.
    pub job: JobOptions,
    /// The space, the strategy and how many trials.
    pub plan: Plan,
    /// What is made as good as possible; the plan's goal must be its goal.
    pub objective: Objective,
    /// File of the trials so far. A tuning that finds its own goes on with them.
    pub state: PathBuf,
}

/// A trial and what came of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrialRecord {
    /// Hyperparameters, as texts.
    pub values: Assignment,
    /// How it stands.
    pub state: TrialState,
    /// The objective after each epoch.
    pub reports: Vec<f64>,
    /// Seconds from the beginning of the tuning to the trial's.
    pub started: f64,
    /// Seconds from the beginning of the tuning to the trial's end.
    pub ended: Option<f64>,
    /// Why it was stopped or failed.
    pub note: Option<String>,
}

impl TrialRecord {
    fn trial(&self) -> Trial {
        Trial { values: self.values.clone(), state: self.state, reports: self.reports.clone() }
    }
}

/// What a tuning tells while it runs.
#[derive(Debug, Clone, PartialEq)]
pub enum TuneEvent {
    /// From the job that the features come from.
    Job(JobEvent),
    /// Trials of an earlier run were taken over.
    Resumed(usize),
    /// A trial began: its number from 1, and its hyperparameters.
    Started(usize, Assignment),
    /// A trial ended: its number from 1.
    Ended(usize, TrialRecord),
}

/// Why a tuning failed.
#[derive(Debug, thiserror::Error)]
pub enum TuneError {
    /// The features, or a trial in a way that every trial would fail.
    #[error(transparent)]
    Job(#[from] JobError),
    /// The plan.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// A hyperparameter or one of its values.
    #[error(transparent)]
    Hyperparameter(#[from] HyperparameterError),
    /// The state file.
    #[error(transparent)]
    State(#[from] StateError),
    /// There is nothing to measure trials on.
    #[error(
        "no validation photo is there to compare trials on\nhint: add a `valid` folder, or leave the splits to Kennel"
    )]
    NoValidation,
    /// No trial has a result.
    #[error("none of {trials} trials succeeded; the first said: {reason}")]
    NothingSucceeded {
        /// How many there were.
        trials: usize,
        /// What became of the first.
        reason: String,
    },
}

impl ErrorCoded for TuneError {
    fn code(&self) -> ErrorCode {
        match self {
            TuneError::Job(e) => e.code(),
            TuneError::State(e) => e.code(),
            TuneError::Plan(_) | TuneError::Hyperparameter(_) => ErrorCode::InvalidInput,
            TuneError::NoValidation | TuneError::NothingSucceeded { .. } => ErrorCode::InvalidInput,
        }
    }
}

/// What a tuning made.
#[derive(Debug)]
pub struct TuneResult {
    /// All trials, in the order in which they began.
    pub trials: Vec<TrialRecord>,
    /// The best one's position.
    pub best: usize,
    /// Its model.
    pub job: JobResult,
    /// Why no more trials were started.
    pub reason: String,
    /// Seconds in all, those of earlier runs not counted.
    pub seconds: f64,
}

/// The options of a trial: those of the job, and what its hyperparameters say.
///
/// # Errors
/// When a name is no hyperparameter, or a value is out of its range.
pub fn trial_options(
    job: &JobOptions,
    values: &Assignment,
) -> Result<JobOptions, HyperparameterError> {
    let mut options = job.clone();
    for (name, value) in values {
        // SageMaker's SDK writes categorical values as JSON strings.
        let text = serde_json::from_str::<String>(value).unwrap_or_else(|_| value.clone());
        match name.as_str() {
            "backbone" => options.backbone = text,
            _ => options.train.set(name, &text)?,
        }
    }
    Ok(options)
}

/// Runs a tuning to its end.
///
/// # Errors
/// [`TuneError`]; after an interruption the same call goes on with the trials that ended before.
pub fn run(
    options: &TuneOptions,
    stop: &AtomicBool,
    tell: &mut dyn FnMut(TuneEvent),
) -> Result<TuneResult, TuneError> {
    let begun = Instant::now();
    options.plan.check()?;
    let mut shelf = Shelf::default();
    // Before the first trial, so that everybody sees what computing features costs.
    let first = shelf.get(&options.job, stop, tell)?;
    if !first.has_validation() {
        return Err(TuneError::NoValidation);
    }
    let store = state::Store::open(options, first.digest())?;
    let mut trials = store.load()?;
    if !trials.is_empty() {
        tell(TuneEvent::Resumed(trials.len()));
    }
    let mut best: Option<(usize, TrainedHead)> = None;
    let reason = std::thread::scope(|scope| {
        let (sender, events) = channel::<Told>();
        let mut running: BTreeMap<usize, Running> = BTreeMap::new();
        let outcome = (|| loop {
            let known: Vec<Trial> = trials.iter().map(TrialRecord::trial).collect();
            match kennel_tune::next(&options.plan, &known) {
                Step::Start(proposals) => {
                    for values in proposals {
                        let job = trial_options(&options.job, &values)?;
                        let prepared = shelf.get(&job, stop, tell)?;
                        let number = trials.len();
                        tell(TuneEvent::Started(number + 1, values.clone()));
                        trials.push(TrialRecord {
                            values,
                            state: TrialState::Running,
                            reports: Vec::new(),
                            started: begun.elapsed().as_secs_f64(),
                            ended: None,
                            note: None,
                        });
                        let (answers, answer) = channel();
                        running.insert(number, Running { answers, note: None });
                        let worker = Worker {
                            number,
                            objective: options.objective,
                            told: sender.clone(),
                            answer,
                        };
                        scope.spawn(move || worker.run(&prepared, &job, stop));
                    }
                    continue;
                }
                Step::Wait => {}
                Step::Complete(reason) => {
                    if running.is_empty() {
                        return Ok(reason.to_string());
                    }
                    for place in running.values_mut() {
                        place.note.get_or_insert_with(|| reason.to_string());
                    }
                }
            }
            if running.is_empty() {
                // Not to be: a strategy waits for trials only.
                return Ok("no more trials were proposed".to_owned());
            }
            let Ok(told) = events.recv() else { return Ok("no trial is left".to_owned()) };
            match told {
                Told::Report(number, value) => {
                    trials[number].reports.push(value);
                    let known: Vec<Trial> = trials.iter().map(TrialRecord::trial).collect();
                    for (index, why) in kennel_tune::to_stop(&options.plan, &known) {
                        if let Some(place) = running.get_mut(&index) {
                            place.note.get_or_insert(why);
                        }
                    }
                    if let Some(place) = running.get(&number) {
                        let flow = if place.note.is_some() { Flow::Stop } else { Flow::GoOn };
                        // The worker waits for it, unless it has ended.
                        let _ = place.answers.send(flow);
                    }
                }
                Told::Ended(number, ended) => {
                    let note = running.remove(&number).and_then(|place| place.note);
                    let record = &mut trials[number];
                    record.ended = Some(begun.elapsed().as_secs_f64());
                    match *ended {
                        Ok(head) => {
                            let value = kept_value(options.objective, &head);
                            record.state = match (value, &note) {
                                (None, _) => TrialState::Failed,
                                (value, Some(_)) => TrialState::Stopped(value),
                                (Some(value), None) => TrialState::Succeeded(value),
                            };
                            record.note = note;
                            let known: Vec<Trial> = trials.iter().map(TrialRecord::trial).collect();
                            if kennel_tune::best(&options.plan, &known) == Some(number) {
                                best = Some((number, head));
                            }
                        }
                        Err(error @ JobError::Diverged { .. }) => {
                            record.state = TrialState::Failed;
                            record.note = error.to_string().lines().next().map(str::to_owned);
                        }
                        Err(error) => return Err(TuneError::from(error)),
                    }
                    store.save(&trials)?;
                    tell(TuneEvent::Ended(number + 1, trials[number].clone()));
                }
            }
        })();
        // Workers that still run are told to end: an answer channel that is gone means Stop.
        drop(running);
        drop(events);
        outcome
    })?;
    let known: Vec<Trial> = trials.iter().map(TrialRecord::trial).collect();
    let Some(number) = kennel_tune::best(&options.plan, &known) else {
        let reason = trials.iter().find_map(|t| t.note.clone()).unwrap_or_else(|| reason.clone());
        return Err(TuneError::NothingSucceeded { trials: trials.len(), reason });
    };
    let job = trial_options(&options.job, &trials[number].values)?;
    let prepared = shelf.get(&job, stop, tell)?;
    let head = match best {
        Some((kept, head)) if kept == number => head,
        // It ended in an earlier run; training it again gives the same weights.
        _ => {
            let epochs = trials[number].reports.len();
            let request = HeadJob { train: &job.train, checkpoints: None };
            let mut until = |epoch: &Epoch| {
                if epoch.epoch >= epochs { Flow::Stop } else { Flow::GoOn }
            };
            prepared.train(&request, stop, &mut Until(&mut until))?
        }
    };
    let job = prepared.finish(&job, head)?;
    Ok(TuneResult { trials, best: number, job, reason, seconds: begun.elapsed().as_secs_f64() })
}

/// The objective of the weights that a head keeps: those of its best epoch.
fn kept_value(objective: Objective, head: &TrainedHead) -> Option<f64> {
    let epoch = head.history.iter().find(|epoch| epoch.epoch == head.best_epoch)?;
    objective.of(epoch).filter(|value| value.is_finite())
}

/// Prepared features by what they depend on; most tunings need one.
#[derive(Debug, Default)]
struct Shelf {
    prepared: Vec<(JobOptions, Arc<Prepared>)>,
}

impl Shelf {
    fn get(
        &mut self,
        job: &JobOptions,
        stop: &AtomicBool,
        tell: &mut dyn FnMut(TuneEvent),
    ) -> Result<Arc<Prepared>, JobError> {
        let found = self.prepared.iter().find(|(options, prepared)| {
            options.backbone == job.backbone && prepared.serves(options, &job.train)
        });
        if let Some((_, prepared)) = found {
            return Ok(Arc::clone(prepared));
        }
        let prepared = Arc::new(Prepared::new(job, stop, &mut |e| tell(TuneEvent::Job(e)))?);
        self.prepared.push((job.clone(), Arc::clone(&prepared)));
        Ok(prepared)
    }
}

/// A trial that runs, as the loop sees it.
#[derive(Debug)]
struct Running {
    answers: Sender<Flow>,
    /// Why it is to stop, once it is.
    note: Option<String>,
}

/// What a worker tells the loop, with the trial's position.
enum Told {
    Report(usize, f64),
    Ended(usize, Box<Result<TrainedHead, JobError>>),
}

/// One trial's thread.
struct Worker {
    number: usize,
    objective: Objective,
    told: Sender<Told>,
    answer: Receiver<Flow>,
}

impl Worker {
    fn run(mut self, prepared: &Prepared, job: &JobOptions, stop: &AtomicBool) {
        let request = HeadJob { train: &job.train, checkpoints: None };
        let ended = prepared.train(&request, stop, &mut self);
        // Nobody listens after a failure of another trial.
        let _ = self.told.send(Told::Ended(self.number, Box::new(ended)));
    }
}

impl Watch for Worker {
    fn epoch(&mut self, epoch: &Epoch) -> Flow {
        let Some(value) = self.objective.of(epoch) else { return Flow::GoOn };
        if self.told.send(Told::Report(self.number, value)).is_err() {
            return Flow::Stop;
        }
        // The loop's answer makes what is stopped a matter of the trials, not of the threads' timing.
        self.answer.recv().unwrap_or(Flow::Stop)
    }
}

struct Until<'a>(&'a mut dyn FnMut(&Epoch) -> Flow);

impl Watch for Until<'_> {
    fn epoch(&mut self, epoch: &Epoch) -> Flow {
        (self.0)(epoch)
    }
}

#[cfg(test)]
mod tests;

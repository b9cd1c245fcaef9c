//! Makes tuning jobs happen: every row that is not final has one task, which looks at the rows of its
//! training jobs whenever one of them changes, and starts and stops training jobs. What it does follows
//! from the rows alone: killed between any two of its writes, it goes on from those that were made.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use kennel_tune::{Reason, Step, Trial, TrialState, next, to_stop};
use kennel_wire::ServiceError;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::report;
use super::request::Request;
use super::trials::Children;
use super::{Ending, Status, TuningJob};
use crate::context::Timestamp;
use crate::sagemaker::rows::Rows;
use crate::sagemaker::training::{self, TrainingJob, TuningMember};
use crate::sagemaker::{Inner, pairs};

/// How often rows are looked at when nobody says that they changed.
const PERIOD: Duration = Duration::from_secs(30);
/// Pause between two looks: trials that run side by side report many times a second.
const PAUSE: Duration = Duration::from_millis(20);
/// Pause after the state could not be read or written, and after a task ended badly.
const RETRY: Duration = Duration::from_secs(5);
/// So many trials without a success are enough to give up, as on AWS.
const ATTEMPTS: usize = 5;

/// Runs until `shutdown` turns true. Tuning jobs' rows stay as they are then, and the next start goes on.
pub(in crate::sagemaker) async fn run(inner: Arc<Inner>, mut shutdown: watch::Receiver<bool>) {
    let mut running = HashSet::new();
    let mut tasks = JoinSet::new();
    loop {
        let changed = inner.trials_changed.notified();
        tokio::pin!(changed);
        changed.as_mut().enable();
        match inner.rows.all::<TuningJob>() {
            Ok(jobs) => {
                for (name, job) in jobs {
                    if !job.status.is_final() && running.insert(name.clone()) {
                        let inner = inner.clone();
                        tasks.spawn(async move {
                            tune(&inner, &name).await;
                            name
                        });
                    }
                }
            }
            Err(e) => tracing::error!("tuning jobs cannot be read: {e}"),
        }
        tokio::select! {
            _ = shutdown.wait_for(|stop| *stop) => break,
            () = changed => tokio::time::sleep(PAUSE).await,
            () = tokio::time::sleep(PERIOD) => {}
            Some(ended) = tasks.join_next() => match ended {
                Ok(name) => {
                    running.remove(&name);
                }
                Err(e) => {
                    // A bug. Which job it was is not known: all are taken up again, from their rows.
                    tracing::error!("a tuning job's task ended badly: {e}");
                    tasks.shutdown().await;
                    running.clear();
                    tokio::time::sleep(RETRY).await;
                }
            },
        }
    }
    tasks.shutdown().await;
}

/// Brings a tuning job to its final status.
async fn tune(inner: &Arc<Inner>, name: &str) {
    loop {
        let changed = inner.trials_changed.notified();
        tokio::pin!(changed);
        changed.as_mut().enable();
        match step(inner, name).await {
            Ok(Some(until)) => {
                let _ = tokio::time::timeout(until.min(PERIOD), changed).await;
                tokio::time::sleep(PAUSE).await;
            }
            Ok(None) => return,
            Err(error) => {
                tracing::error!("tuning job `{name}` will be tried again: {error}");
                tokio::time::sleep(RETRY).await;
            }
        }
    }
}

/// One look and what follows from it. Answers how long to wait for a change; `None` when the job is final.
async fn step(inner: &Arc<Inner>, name: &str) -> Result<Option<Duration>, ServiceError> {
    let now = inner.clock.now();
    let Some(job) = inner.rows.get::<TuningJob>(name)? else { return Ok(None) };
    if job.status.is_final() {
        return Ok(None);
    }
    let (rows, tuner, looked_at) = (inner.rows.clone(), name.to_owned(), job.clone());
    // Fitting a model to the trials takes a while.
    let decided = tokio::task::spawn_blocking(move || {
        let children = Children::read(&rows, &tuner, &looked_at)?;
        decide(&children, &looked_at, now)
    })
    .await
    .map_err(|e| {
        tracing::error!("tuning job `{name}`: {e}");
        ServiceError::internal()
    })?;
    let decision = match decided {
        Ok(decision) => decision,
        Err(error) if error.status >= 500 => return Err(error),
        Err(error) => Decision::failed(error.message),
    };
    if decision.finish.is_some()
        && let Err(e) = report::write(inner, name, &job, now).await
    {
        tracing::warn!("the report of tuning job `{name}` cannot be written: {e}");
    }
    let started = !decision.start.is_empty();
    let stopped = !decision.stop.is_empty();
    let wait = decision.wait;
    let final_now = decision.finish.is_some();
    let applied = apply(&inner.rows, name, &job, decision, now).await;
    if started || stopped {
        inner.jobs_changed.notify_waiters();
    }
    match applied {
        Ok(()) => {}
        // What a trial's row is refused for will not change.
        Err(error) if error.status < 500 && error.code != "ResourceInUse" => {
            let failed = Decision::failed(error.message);
            apply(&inner.rows, name, &job, failed, now).await?;
            return Ok(None);
        }
        Err(error) => return Err(error),
    }
    Ok((!final_now).then_some(wait))
}

/// What follows from the rows.
#[derive(Debug, Default)]
pub(super) struct Decision {
    /// Trials to stop, with the reason.
    pub stop: Vec<(String, String)>,
    /// Trials to start.
    pub start: Vec<Start>,
    /// No more trials from now on.
    pub ending: Option<Ending>,
    /// The model expects no improvement.
    pub converged: bool,
    /// The job ends, and why if badly.
    pub finish: Option<(Status, Option<String>)>,
    /// How long nothing follows from time alone.
    pub wait: Duration,
}

/// A trial to start.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Start {
    /// Its number, from 1.
    pub number: u32,
    /// Place of its definition.
    pub definition: usize,
    /// What was chosen for it.
    pub tuned: BTreeMap<String, String>,
}

impl Decision {
    fn failed(reason: String) -> Self {
        Decision { finish: Some((Status::Failed, Some(reason))), ..Decision::default() }
    }
}

/// Decides. Pure but for what `Children` has read.
pub(super) fn decide(
    children: &Children<'_>,
    job: &TuningJob,
    now: Timestamp,
) -> Result<Decision, ServiceError> {
    let request = job.request()?;
    let mut decision = Decision { wait: PERIOD, ..Decision::default() };
    let running = || children.rows.iter().filter(|(_, row)| !row.status.is_final());
    let stop_all = |why: &str| -> Vec<(String, String)> {
        running()
            .filter(|(_, row)| row.status != Status::Stopping)
            .map(|(name, _)| (name.clone(), why.to_owned()))
            .collect()
    };
    let none_runs = running().next().is_none();
    if job.status == Status::Stopping {
        decision.stop = stop_all("The tuning job is being stopped");
        decision.finish = none_runs.then_some((Status::Stopped, None));
        return Ok(decision);
    }
    let mut ending = job.ending.clone();
    if let Some(limit) = request.config.resource_limits.max_runtime_in_seconds {
        let left = limit.saturating_mul(1000) - (now.0 - job.created.0);
        if left <= 0 {
            ending.get_or_insert(Ending::OverTime);
        }
        decision.wait = Duration::from_millis(u64::try_from(left).unwrap_or(0).max(1));
    }
    let succeeded = children.rows.iter().any(|(_, row)| children.succeeded(row));
    let ended = children.rows.len() - running().count();
    // Running ones may still succeed.
    let hopeless = !succeeded && ended >= ATTEMPTS;
    if ending.is_none() && !hopeless {
        ending = choose(children, &request, &mut decision);
    }
    if ending.is_some() && ending != job.ending {
        decision.ending.clone_from(&ending);
    }
    if let Some(ending) = &ending {
        decision.stop = stop_all(match ending {
            Ending::Done(why) => why,
            Ending::OverTime => "MaxRuntimeInSeconds of the tuning job is over",
        });
    }
    if none_runs && decision.start.is_empty() && (ending.is_some() || hopeless) {
        decision.finish = Some(match succeeded {
            true => (Status::Completed, None),
            false => {
                let attempts = ended.min(ATTEMPTS);
                let reason = format!(
                    "No training job succeeded after {attempts} attempts. For additional details, please take a look at the training job failures by listing training jobs for the hyperparameter tuning job."
                );
                (Status::Failed, Some(reason))
            }
        });
    }
    Ok(decision)
}

/// Which trials are started and stopped, and whether there are to be no more.
fn choose(children: &Children<'_>, request: &Request, decision: &mut Decision) -> Option<Ending> {
    let algorithms = children.algorithms();
    let mut known: Vec<Vec<Trial>> = Vec::new();
    for algorithm in &algorithms {
        let (places, trials) = children.of(algorithm);
        for (index, why) in to_stop(&algorithm.plan, &trials) {
            let row = places.get(index).and_then(|place| children.rows.get(*place));
            if let Some((name, row)) = row
                && row.status == Status::InProgress
            {
                decision.stop.push((name.clone(), why));
            }
        }
        known.push(trials);
    }
    let total = |known: &[Vec<Trial>]| known.iter().map(Vec::len).sum::<usize>();
    let most = request.max_trials().unwrap_or(usize::MAX);
    let parallel = algorithms.first().map_or(1, |a| a.plan.parallel);
    let running = |known: &[Vec<Trial>]| {
        known.iter().flatten().filter(|trial| trial.state == TrialState::Running).count()
    };
    let last = children.rows.iter().filter_map(|(_, row)| row.tuning.as_ref().map(|t| t.number));
    let mut number = last.max().unwrap_or(0);
    let mut done: Vec<Option<Reason>> = vec![None; algorithms.len()];
    // Definitions take turns: the one with the fewest trials is asked first. Each is asked at least once,
    // also where there is no place: it may be done.
    let mut waiting = vec![false; algorithms.len()];
    loop {
        let open = (0..algorithms.len()).filter(|i| done[*i].is_none() && !waiting[*i]);
        let Some(place) = open.min_by_key(|i| (known[*i].len(), *i)) else { break };
        let free = parallel.saturating_sub(running(&known));
        let free = free.min(most.saturating_sub(total(&known)));
        // With several definitions one at a time, so that the turns are kept.
        let free = if algorithms.len() > 1 { free.min(1) } else { free };
        let mut plan = algorithms[place].plan.clone();
        plan.parallel = free + running(&known[place..=place]);
        match next(&plan, &known[place]) {
            Step::Start(chosen) => {
                waiting[place] = chosen.is_empty() || free == 0;
                for tuned in chosen.into_iter().take(free) {
                    number += 1;
                    known[place].push(Trial {
                        values: tuned.clone(),
                        state: TrialState::Running,
                        reports: Vec::new(),
                    });
                    decision.start.push(Start { number, definition: place, tuned });
                }
            }
            Step::Wait => waiting[place] = true,
            Step::Complete(reason) => {
                decision.converged |= reason == Reason::Converged;
                done[place] = Some(reason);
                if reason == Reason::Target {
                    // Good enough, whichever algorithm it was.
                    decision.start.clear();
                    return Some(Ending::Done(reason.to_string()));
                }
            }
        }
    }
    let all: Option<Vec<Reason>> = done.into_iter().collect();
    match all {
        Some(reasons) => reasons.last().map(|reason| Ending::Done(reason.to_string())),
        None if running(&known) == 0 && total(&known) >= most => {
            Some(Ending::Done(Reason::AllTrials.to_string()))
        }
        None => None,
    }
}

/// Writes what was decided. A kill between two of these writes leaves rows from which the rest follows.
pub(super) async fn apply(
    rows: &Rows,
    name: &str,
    job: &TuningJob,
    decision: Decision,
    now: Timestamp,
) -> Result<(), ServiceError> {
    for (trial, why) in decision.stop {
        rows.change::<TrainingJob, ()>(&trial, move |row| {
            if !row.status.is_final() && row.status != Status::Stopping {
                row.status = Status::Stopping;
                row.enter("Stopping", &why, now);
            }
            Ok(())
        })
        .await?;
    }
    if !decision.start.is_empty() {
        let request = job.request()?;
        let algorithms = request.algorithms(&job.request, job.seed)?;
        let tags = pairs(request.tags);
        for start in decision.start {
            let Some(algorithm) = algorithms.get(start.definition) else { continue };
            let trial = format!("{name}-{:03}-{:08x}", start.number, rand::random::<u32>());
            let input = algorithm.training_job(&trial, &start.tuned);
            let typed = training::Request::parse(&input)?;
            let notes = training::notes(&typed, typed.program()?);
            let (arn, region) = arn_of(&job.arn, &trial);
            let mut row = TrainingJob::new(input, arn.clone(), region, now, notes);
            row.tuning = Some(TuningMember {
                arn: job.arn.clone(),
                number: start.number,
                definition: algorithm.name.clone(),
                objective: algorithm.objective.metric_name.clone(),
                tuned: start.tuned,
            });
            let taken = training::name_in_use(&arn);
            rows.insert(&trial, &arn, row, tags.clone(), taken).await?;
        }
    }
    if decision.ending.is_some() || decision.converged || decision.finish.is_some() {
        let (ending, converged, finish) = (decision.ending, decision.converged, decision.finish);
        rows.change::<TuningJob, ()>(name, move |job| {
            job.modified = now;
            if let Some(ending) = ending {
                job.ending.get_or_insert(ending);
            }
            if converged {
                job.converged.get_or_insert(now);
            }
            if let Some((status, failure)) = finish {
                job.status = status;
                job.failure = failure;
                job.ended = Some(now);
            }
            Ok(())
        })
        .await?;
    }
    Ok(())
}

/// A trial's ARN and region, from the tuning job's ARN.
fn arn_of(tuner: &str, trial: &str) -> (String, String) {
    let parts: Vec<&str> = tuner.splitn(6, ':').collect();
    let region = parts.get(3).copied().unwrap_or_default().to_owned();
    let account = parts.get(4).copied().unwrap_or_default();
    (format!("arn:aws:sagemaker:{region}:{account}:training-job/{trial}"), region)
}

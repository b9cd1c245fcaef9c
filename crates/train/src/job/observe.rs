//! What a job leaves for those who look on: tensors of the head's training for the debugger, times of its
//! parts for the profiler. Observations only: where they cannot be written the job says so once and goes on.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use kennel_debugger::{Hook, Mode, TensorRef, TensorWriter};
use kennel_profiler::FrameworkWriter;
use serde_json::Value;

use super::{JobError, JobEvent};
use crate::head::{Epoch, Flow, Moment, Watch, Watched};

/// Who looks on, and where.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Observe {
    /// This instance's name, such as `algo-1`.
    pub host: String,
    /// SageMaker's `DebugHookConfig`, where tensors are wanted, and the folder for them.
    pub tensors: Option<(Value, PathBuf)>,
    /// The folder for the times of the job's parts.
    pub profiler: Option<PathBuf>,
    /// Now, Unix microseconds: this crate has no clock of its own.
    pub now_us: u64,
}

/// A part of a job that took time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Phase {
    pub(super) name: &'static str,
    pub(super) started: Instant,
    pub(super) took: Duration,
    /// What was done how often; photos, views, steps.
    pub(super) count: usize,
}

/// Writes for those who look on, and passes epochs on to the job's caller.
pub(super) struct Recorder<'a> {
    tell: &'a mut dyn FnMut(JobEvent),
    epochs: usize,
    hook: Option<(Hook, TensorWriter)>,
    framework: Option<FrameworkWriter>,
    origin: Instant,
    now_us: u64,
    failed: bool,
    /// Photos that go into the file of the first step.
    images: Vec<Watched>,
}

impl<'a> Recorder<'a> {
    /// A recorder as asked for, of a run of so many epochs and steps; `origin` is when
    /// [`Observe::now_us`] was now.
    pub(super) fn new(
        observe: Option<&Observe>,
        origin: Instant,
        (epochs, steps): (usize, usize),
        tell: &'a mut dyn FnMut(JobEvent),
    ) -> Self {
        let mut recorder = Recorder {
            tell,
            epochs,
            hook: None,
            framework: None,
            origin,
            now_us: observe.map_or(0, |o| o.now_us),
            failed: false,
            images: Vec::new(),
        };
        let Some(observe) = observe else { return recorder };
        if let Some((config, folder)) = &observe.tensors {
            match Hook::from_config(config) {
                Ok(hook) => match TensorWriter::create(folder, &observe.host) {
                    // The SDK's interval of 500 steps is for longer runs than those of a head.
                    Ok(writer) => recorder.hook = Some((hook.fitted_to(steps as u64), writer)),
                    Err(e) => recorder.fails(&e),
                },
                Err(e) => recorder.fails(&e),
            }
        }
        if let Some(folder) = &observe.profiler {
            match FrameworkWriter::create(folder, &observe.host) {
                Ok(writer) => recorder.framework = Some(writer),
                Err(e) => recorder.fails(&e),
            }
        }
        recorder
    }

    /// Says once that something is missing, and records nothing more of its kind.
    fn fails(&mut self, error: &dyn std::error::Error) {
        if !self.failed {
            let text = error.to_string();
            let first = text.lines().next().unwrap_or_default();
            (self.tell)(JobEvent::Warning(format!(
                "debugger and profiler miss something: {first}"
            )));
        }
        self.failed = true;
    }

    fn unix_us(&self, at: Instant) -> u64 {
        let since = at.saturating_duration_since(self.origin);
        self.now_us.saturating_add(u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
    }

    /// A part of the job.
    pub(super) fn phase(&mut self, phase: &Phase) {
        self.record(phase.name, phase.started, phase.took, None, phase.count);
    }

    fn record(
        &mut self,
        name: &str,
        started: Instant,
        took: Duration,
        step: Option<u64>,
        count: usize,
    ) {
        let start = self.unix_us(started);
        let took = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        if let Some(framework) = &mut self.framework
            && let Err(e) = framework.record(name, start, took, step, count as u64)
        {
            self.framework = None;
            self.fails(&e);
        }
    }

    /// Photos as the backbone gets them; they are saved with the first step.
    pub(super) fn images(&mut self, images: Vec<Watched>) {
        self.images = images;
    }

    /// Tensors of a moment that the hook wants.
    fn save(&mut self, mode: Mode, step: u64, ends_epoch: bool, tensors: &[Watched]) {
        let images = match mode {
            Mode::Train => std::mem::take(&mut self.images),
            _ => Vec::new(),
        };
        let time = self.unix_us(Instant::now()) / 1000;
        let Some((hook, writer)) = &mut self.hook else { return };
        // Losses and accuracies of every epoch's last step are kept whatever the interval, so that training
        // and validation can be compared.
        let number = |t: &Watched| ends_epoch && ["losses", "metrics"].contains(&t.collection);
        let wanted: Vec<&Watched> = tensors
            .iter()
            .chain(&images)
            .filter(|t| number(t) || hook.wants_tensor(t.name, &[t.collection], mode, step))
            .collect();
        if wanted.is_empty() {
            return;
        }
        let collections: Vec<[&str; 1]> = wanted.iter().map(|t| [t.collection]).collect();
        let refs: Vec<TensorRef<'_>> = wanted
            .iter()
            .zip(&collections)
            .map(|(t, collections)| TensorRef {
                name: t.name,
                collections,
                shape: &t.shape,
                values: &t.values,
            })
            .collect();
        if let Err(e) = writer.write(mode, step, time, &refs) {
            self.hook = None;
            self.fails(&e);
        }
    }

    /// Whether photos as the backbone gets them are wanted.
    pub(super) fn wants_images(&self) -> bool {
        self.hook.as_ref().is_some_and(|(hook, _)| hook.wants("input_images", Mode::Train, 0))
    }

    /// Nothing more comes.
    pub(super) fn finish(mut self) {
        if let Some((_, writer)) = self.hook.take()
            && let Err(e) = writer.finish()
        {
            self.fails(&e);
        }
        if let Some(framework) = self.framework.take()
            && let Err(e) = framework.finish()
        {
            self.fails(&e);
        }
    }
}

impl Watch for Recorder<'_> {
    fn epoch(&mut self, epoch: &Epoch) -> Flow {
        (self.tell)(JobEvent::Epoch { epoch: *epoch, epochs: self.epochs });
        Flow::GoOn
    }

    fn wants(&self, moment: Moment) -> bool {
        let mode = if moment.evaluation { Mode::Eval } else { Mode::Train };
        self.hook
            .as_ref()
            .is_some_and(|(hook, _)| moment.ends_epoch || hook.wants_step(mode, moment.step))
    }

    fn tensors(&mut self, moment: Moment, tensors: &[Watched]) -> Result<(), JobError> {
        let mode = if moment.evaluation { Mode::Eval } else { Mode::Train };
        self.save(mode, moment.step, moment.ends_epoch, tensors);
        Ok(())
    }

    fn step(&mut self, moment: Moment, took: Duration) {
        if self.framework.is_some() {
            let started = Instant::now().checked_sub(took).unwrap_or(self.origin);
            self.record("step", started, took, Some(moment.step), 1);
        }
    }
}

#[cfg(test)]
mod tests;

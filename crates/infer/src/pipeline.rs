//! Many photos through a frozen network, fast: each worker decodes, preprocesses and runs the engine
//! on its own core with its own session, so that nothing waits for anything and the rate is what the
//! cores allow. Results come back to the caller's thread one by one, in no particular order.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use crate::engine::{self, EngineError, EngineKind, EngineOptions, Session};
use crate::photo::{DecodeLimits, decode};
use crate::preprocess::{Preprocess, PreprocessError, Preprocessor, View};

/// One photo and the views of it that are wanted.
#[derive(Debug, Clone)]
pub struct Job {
    /// The caller's number for this photo.
    pub index: usize,
    /// File to read.
    pub path: PathBuf,
    /// Views, each with the caller's number for it.
    pub views: Vec<(u32, View)>,
}

/// The network to run.
#[derive(Debug, Clone)]
pub struct Network {
    /// One ONNX file with one image input and one output.
    pub onnx: Arc<Vec<u8>>,
    /// From photo to input.
    pub preprocess: Preprocess,
    /// Batch size that the export fixed, if it did.
    pub fixed_batch: Option<usize>,
}

/// How the work is spread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PipelineOptions {
    /// Engine; `None` takes the preferred one.
    pub engine: Option<EngineKind>,
    /// Workers, each with one engine thread.
    pub workers: usize,
    /// Views per engine run.
    pub batch: usize,
    /// What a photo may cost.
    pub limits: DecodeLimits,
}

impl Default for PipelineOptions {
    fn default() -> Self {
        PipelineOptions {
            engine: None,
            workers: cores(),
            // Larger batches leave the core's cache: on CPUs two are as fast as it gets (bench/RESULTS.md).
            batch: 2,
            limits: DecodeLimits::default(),
        }
    }
}

/// Cores that this process may use.
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get)
}

/// What came of a view or a photo.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// The network's output for one view.
    Output {
        /// Number of the photo.
        index: usize,
        /// Number of the view.
        view: u32,
        /// Values.
        values: Vec<f32>,
    },
    /// A photo that could not be used; none of its views will come.
    Unreadable {
        /// Number of the photo.
        index: usize,
        /// Why.
        reason: String,
    },
}

/// Time that all workers spent in each stage, added up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StageTimes {
    /// Reading and decoding.
    pub decode: Duration,
    /// Resizing, cropping, normalising.
    pub preprocess: Duration,
    /// The engine.
    pub engine: Duration,
}

/// Why a whole run failed; single photos never fail one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PipelineError {
    /// The engine.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The preprocessing settings.
    #[error(transparent)]
    Preprocess(#[from] PreprocessError),
    /// A worker thread panicked.
    #[error("a worker stopped unexpectedly\nhint: report this with the photo that was being read")]
    Worker,
}

#[derive(Default)]
struct Clock {
    decode: AtomicU64,
    preprocess: AtomicU64,
    engine: AtomicU64,
}

fn add(counter: &AtomicU64, since: Instant) {
    let nanos = u64::try_from(since.elapsed().as_nanos()).unwrap_or(u64::MAX);
    counter.fetch_add(nanos, Ordering::Relaxed);
}

/// Runs every view of every job and hands each result to `sink` on the caller's thread. When `stop`
/// answers true, batches that are under way are finished and delivered and no new one starts.
///
/// # Errors
/// When the network cannot be loaded or the engine fails.
pub fn run(
    network: &Network,
    jobs: &[Job],
    options: &PipelineOptions,
    stop: &(dyn Fn() -> bool + Sync),
    mut sink: impl FnMut(Event),
) -> Result<StageTimes, PipelineError> {
    if jobs.is_empty() {
        return Ok(StageTimes::default());
    }
    let workers = options.workers.clamp(1, jobs.len());
    let first = engine::load(&network.onnx, &EngineOptions { kind: options.engine, threads: 1 })?;
    let mut sessions = vec![first];
    while sessions.len() < workers {
        let next = sessions[0].fork()?;
        sessions.push(next);
    }
    let batch = network.fixed_batch.unwrap_or(options.batch).max(1);
    let next = AtomicUsize::new(0);
    let clock = Clock::default();
    // Bounded: a slow sink slows the workers instead of filling the memory.
    let (sender, receiver) = mpsc::sync_channel::<Event>(256);
    std::thread::scope(|scope| {
        let mut handles = Vec::new();
        for session in sessions {
            let worker = Worker {
                session,
                preprocessor: Preprocessor::new(&network.preprocess)?,
                sender: sender.clone(),
                input: Vec::new(),
                pending: Vec::new(),
                batch,
                padded: network.fixed_batch.is_some(),
                clock: &clock,
            };
            let (next, limits) = (&next, &options.limits);
            handles.push(scope.spawn(move || worker.work(jobs, next, stop, limits)));
        }
        drop(sender);
        for event in receiver {
            sink(event);
        }
        let mut result = Ok(());
        for handle in handles {
            let outcome = handle.join().unwrap_or(Err(PipelineError::Worker));
            if result.is_ok() {
                result = outcome;
            }
        }
        result
    })?;
    let total = |counter: &AtomicU64| Duration::from_nanos(counter.load(Ordering::Relaxed));
    Ok(StageTimes {
        decode: total(&clock.decode),
        preprocess: total(&clock.preprocess),
        engine: total(&clock.engine),
    })
}

struct Worker<'a> {
    session: Box<dyn Session>,
    preprocessor: Preprocessor,
    sender: mpsc::SyncSender<Event>,
    input: Vec<f32>,
    pending: Vec<(usize, u32)>,
    batch: usize,
    padded: bool,
    clock: &'a Clock,
}

impl Worker<'_> {
    fn work(
        mut self,
        jobs: &[Job],
        next: &AtomicUsize,
        stop: &(dyn Fn() -> bool + Sync),
        limits: &DecodeLimits,
    ) -> Result<(), PipelineError> {
        // The JPEG decoder spreads a photo over the pool it finds itself in. Here that is this thread alone:
        // the other cores have photos of their own.
        let _alone = rayon::ThreadPoolBuilder::new().num_threads(1).use_current_thread().build();
        while !stop() {
            let Some(job) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) else { break };
            let started = Instant::now();
            let photo = read(&job.path, limits);
            add(&self.clock.decode, started);
            let photo = match photo {
                Ok(photo) => photo,
                Err(reason) => {
                    let _ = self.sender.send(Event::Unreadable { index: job.index, reason });
                    continue;
                }
            };
            for &(view, part) in &job.views {
                let started = Instant::now();
                let length = self.preprocessor.settings().input_len();
                let filled = self.pending.len() * length;
                // One buffer for the whole run: it is overwritten view by view, never cleared.
                self.input.resize(self.batch * length, 0.0);
                let place = &mut self.input[filled..filled + length];
                let outcome = self.preprocessor.run(&photo, part, place);
                add(&self.clock.preprocess, started);
                if let Err(e) = outcome {
                    let reason = e.to_string();
                    let _ = self.sender.send(Event::Unreadable { index: job.index, reason });
                    break;
                }
                self.pending.push((job.index, view));
                if self.pending.len() == self.batch {
                    self.flush()?;
                }
            }
        }
        self.flush()
    }

    fn flush(&mut self) -> Result<(), PipelineError> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let started = Instant::now();
        let [height, width] = self.preprocessor.settings().crop;
        let count = if self.padded { self.batch } else { self.pending.len() };
        let filled = count * self.preprocessor.settings().input_len();
        let shape = [count, 3, height as usize, width as usize];
        let output = self.session.run(&self.input[..filled], shape)?;
        add(&self.clock.engine, started);
        if output.shape.first() != Some(&count) {
            return Err(EngineError::Run {
                engine: self.session.kind(),
                reason: format!("{count} photos gave an output of shape {:?}", output.shape),
            }
            .into());
        }
        for ((index, view), values) in self.pending.drain(..).zip(output.rows()) {
            let _ = self.sender.send(Event::Output { index, view, values: values.to_vec() });
        }
        Ok(())
    }
}

/// Reads and decodes a photo file; the reason of a failure is one line.
///
/// # Errors
/// Why the photo cannot be used.
pub fn read(path: &std::path::Path, limits: &DecodeLimits) -> Result<crate::photo::Photo, String> {
    let one_line = |text: String| text.lines().next().unwrap_or_default().to_owned();
    let size = std::fs::metadata(path).map_err(|e| e.to_string())?.len();
    if size > limits.max_bytes {
        return Err(format!(
            "the file has {size} bytes, more than the limit of {}",
            limits.max_bytes
        ));
    }
    let bytes = std::fs::read(path).map_err(|e| e.to_string())?;
    decode(&bytes, limits).map_err(|e| one_line(e.to_string()))
}

#[cfg(test)]
mod tests;

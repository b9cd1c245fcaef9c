//! One model server: started, waited for, watched, and started again when it ends, until it is told to
//! stop. What it serves is reached through a `Backend`, one for each of its lives.
//!
//! The contract is SageMaker's for hosting containers
//! (<https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-inference-code.html>), except that
//! the server picks its own port and prints it.

mod backend;
mod output;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::{Notify, mpsc, watch};
use tokio::time::Instant;

use crate::process::{Launcher, Process, ProcessSpec, Usage};
pub(crate) use backend::{Backend, Lost, Refusal, Slot};
pub use output::InstanceLine;
use output::Output;

/// Characters of a reason.
const REASON_CHARACTERS: usize = 1024;

/// What a model server is.
#[derive(Debug, Clone)]
pub struct InstanceSpec {
    /// Its process. It must print its address, `http://127.0.0.1:PORT`, on a line of its output before
    /// anything else that looks so.
    pub process: ProcessSpec,
}

/// How long things may take. The defaults are SageMaker's where it has a number.
#[derive(Debug, Clone)]
pub struct Timings {
    /// From the start to the first healthy answer: 4 minutes.
    pub ready: Duration,
    /// For an answer to `GET /ping`: 2 s.
    pub ping: Duration,
    /// Between health checks: 5 s.
    pub health_interval: Duration,
    /// Before the first restart; doubled for each that follows: 0.5 s.
    pub backoff_first: Duration,
    /// The longest pause before a restart: 30 s.
    pub backoff_most: Duration,
    /// After this long in health the next restart waits `backoff_first` again: 60 s.
    pub backoff_reset: Duration,
    /// For requests in flight when an instance is taken out of service: 60 s.
    pub drain: Duration,
    /// From SIGTERM to SIGKILL: 30 s.
    pub stop_grace: Duration,
}

impl Default for Timings {
    fn default() -> Timings {
        Timings {
            ready: Duration::from_secs(240),
            ping: Duration::from_secs(2),
            health_interval: Duration::from_secs(5),
            backoff_first: Duration::from_millis(500),
            backoff_most: Duration::from_secs(30),
            backoff_reset: Duration::from_secs(60),
            drain: Duration::from_secs(60),
            stop_grace: Duration::from_secs(30),
        }
    }
}

/// Failed checks in a row after which an instance is replaced.
const UNHEALTHY: u32 = 3;

/// Between the checks of an instance that starts.
const PING_PAUSE: (Duration, Duration) = (Duration::from_millis(5), Duration::from_millis(250));

/// Where an instance stands.
#[derive(Debug, Clone, Default)]
pub(crate) struct State {
    /// Where requests go; none while it is not ready.
    pub(crate) backend: Option<Arc<Backend>>,
    /// The process of its present life. Weak, so that nobody who looks keeps it alive.
    pub(crate) process: Weak<Process>,
    /// Why its last life ended, until it has been ready again.
    pub(crate) failure: Option<String>,
    /// Lives that ended since it was last ready.
    pub(crate) failures: u32,
}

impl State {
    pub(crate) fn usage(&self) -> Usage {
        self.process.upgrade().map(|process| process.usage()).unwrap_or_default()
    }
}

/// What an instance needs.
#[derive(Debug, Clone)]
pub(crate) struct Context {
    pub(crate) launcher: Launcher,
    pub(crate) spec: Arc<InstanceSpec>,
    pub(crate) timings: Timings,
    pub(crate) logs: Option<mpsc::Sender<InstanceLine>>,
    pub(crate) number: u64,
    pub(crate) generation: u64,
    /// Told of every change.
    pub(crate) changed: Arc<Notify>,
}

/// A supervised model server. Dropping it kills the process at once.
#[derive(Debug)]
pub(crate) struct Instance {
    pub(crate) number: u64,
    pub(crate) generation: u64,
    pub(crate) state: watch::Receiver<State>,
    stop: watch::Sender<bool>,
    task: tokio::task::JoinHandle<()>,
}

impl Instance {
    pub(crate) fn start(context: Context) -> Instance {
        let (number, generation) = (context.number, context.generation);
        let (sender, state) = watch::channel(State::default());
        let (stop, stopping) = watch::channel(false);
        let supervisor = Supervisor { context, state: sender, stopping };
        let task = tokio::spawn(supervisor.run());
        Instance { number, generation, state, stop, task }
    }

    /// Takes no new requests, lets those in flight finish, and ends.
    pub(crate) async fn drain(mut self) {
        self.stop.send_replace(true);
        let _ = (&mut self.task).await;
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Supervisor {
    context: Context,
    state: watch::Sender<State>,
    stopping: watch::Receiver<bool>,
}

/// How a life ended.
enum End {
    Stopped,
    Failed { reason: String, healthy: Duration },
}

impl Supervisor {
    async fn run(mut self) {
        let timings = self.context.timings.clone();
        let mut pause = timings.backoff_first;
        loop {
            let (reason, healthy) = match self.life().await {
                End::Stopped => break,
                End::Failed { reason, healthy } => (reason, healthy),
            };
            tracing::warn!("instance {}: {reason}", self.context.number);
            self.publish(|state| {
                state.backend = None;
                state.process = Weak::new();
                state.failure = Some(reason);
                state.failures += 1;
            });
            if healthy >= timings.backoff_reset {
                pause = timings.backoff_first;
            }
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = raised(&mut self.stopping) => break,
            }
            pause = (pause * 2).min(timings.backoff_most);
        }
        self.publish(|state| *state = State::default());
    }

    fn publish(&self, change: impl FnOnce(&mut State)) {
        self.state.send_modify(change);
        self.context.changed.notify_one();
    }

    /// From the start of a process to its end.
    async fn life(&mut self) -> End {
        let timings = self.context.timings.clone();
        let never = |reason: String| End::Failed { reason, healthy: Duration::ZERO };
        let spawned = self.context.launcher.spawn(self.context.spec.process.clone()).await;
        let (process, lines) = match spawned {
            Ok((process, lines)) => (Arc::new(process), lines),
            Err(e) => return never(e.to_string()),
        };
        self.publish(|state| state.process = Arc::downgrade(&process));
        let mut output = Output::follow(lines, &self.context);
        let backend = tokio::select! {
            biased;
            () = raised(&mut self.stopping) => {
                process.terminate(timings.stop_grace).await;
                return End::Stopped;
            }
            exit = process.wait() => {
                let last = output.finish().await;
                return never(reason(&format!("ended before it was ready with {exit}"), &last));
            }
            ready = tokio::time::timeout(timings.ready, until_ready(&mut output, &timings)) => {
                match ready {
                    Ok(backend) => Arc::new(backend),
                    Err(_) => {
                        process.kill();
                        process.wait().await;
                        let last = output.finish().await;
                        let seconds = timings.ready.as_secs_f64();
                        return never(reason(&format!("was not ready after {seconds} s"), &last));
                    }
                }
            }
        };
        let since = Instant::now();
        self.publish(|state| {
            state.backend = Some(Arc::clone(&backend));
            state.failure = None;
            state.failures = 0;
        });
        tokio::select! {
            biased;
            () = raised(&mut self.stopping) => {
                backend.close();
                self.publish(|state| state.backend = None);
                tokio::select! {
                    () = backend.idle() => {}
                    () = tokio::time::sleep(timings.drain) => {}
                    _ = process.wait() => {}
                }
                process.terminate(timings.stop_grace).await;
                End::Stopped
            }
            exit = process.wait() => {
                backend.close();
                let last = output.finish().await;
                let reason = reason(&format!("ended with {exit}"), &last);
                End::Failed { reason, healthy: since.elapsed() }
            }
            why = until_unhealthy(&backend, &timings) => {
                backend.close();
                // Requests in flight may still succeed; the successor does not wait for them.
                let grace = timings.stop_grace;
                tokio::spawn(async move { process.terminate(grace).await });
                let reason = format!("failed {UNHEALTHY} health checks in a row: {why}");
                End::Failed { reason, healthy: since.elapsed() }
            }
        }
    }
}

async fn until_ready(output: &mut Output, timings: &Timings) -> Backend {
    let backend = Backend::new(output.port().await);
    let (mut pause, most) = PING_PAUSE;
    while backend.ping(timings.ping).await.is_err() {
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(most);
    }
    backend
}

async fn until_unhealthy(backend: &Backend, timings: &Timings) -> String {
    let mut failed = 0;
    loop {
        tokio::time::sleep(timings.health_interval).await;
        match backend.ping(timings.ping).await {
            Ok(()) => failed = 0,
            Err(why) => {
                failed += 1;
                if failed == UNHEALTHY {
                    return why;
                }
            }
        }
    }
}

fn reason(what: &str, last: &[String]) -> String {
    let lines = last.join("\n");
    let text = if lines.is_empty() {
        what.to_owned()
    } else {
        format!("{what}; its last lines:\n{lines}")
    };
    text.chars().take(REASON_CHARACTERS).collect()
}

/// Waits until a flag is set, for ever where nobody can set it any more.
pub(crate) async fn raised(flag: &mut watch::Receiver<bool>) {
    if flag.wait_for(|raised| *raised).await.is_err() {
        std::future::pending::<()>().await;
    }
}

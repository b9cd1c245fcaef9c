//! One execution environment of a function: a child process that speaks the Lambda Runtime API, which
//! is served here for it alone, and one invocation at a time.
//!
//! As in Lambda it runs only while it has something to do: it is frozen (SIGSTOP) from the moment it
//! asks for its next event until there is one. docs/adr/0019 says how and why.

mod exchange;
mod members;
mod output;
mod peer;
mod runtime_api;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use kennel_base::{ErrorCode, ErrorCoded};
use rustix::process::Signal;
use tokio::net::TcpListener;
use tokio::sync::{Mutex, Semaphore};

use crate::Command;
use crate::launch::{Isolation, Mount};
use crate::process::{Exit, Identity, Launcher, MemoryExceeded, ProcessError, ProcessSpec};
use exchange::{Event, Exchange, Init, Reply};
use members::Mark;
pub use output::{MAX_OUTPUT, OutputLine};
pub use runtime_api::MAX_ANSWER;

/// The variable that tells a runtime where its API is.
const ADDRESS: &str = "AWS_LAMBDA_RUNTIME_API";

/// How long an environment may run on after its answer when it does not ask for the next event.
const LATE_FREEZE: Duration = Duration::from_millis(50);

/// How long a stopping environment has after SIGTERM.
const SHUTDOWN: Duration = Duration::from_secs(2);

/// How long the last bytes of an ended environment may be on their way through our own tasks.
const LAST_WORDS: Duration = Duration::from_millis(200);

/// How often a working environment's memory is looked at.
const MEMORY_TICK: Duration = Duration::from_millis(100);

/// What an environment is made of.
#[derive(Debug, Clone)]
pub struct EnvironmentOptions {
    /// The runtime. `AWS_LAMBDA_RUNTIME_API` is added to its variables.
    pub command: Command,
    /// Folders that it sees elsewhere, such as its code at `/var/task`.
    pub mounts: Vec<Mount>,
    /// Start without the mounts where the kernel refuses them.
    pub mounts_optional: bool,
    /// Variables that are set only when the mounts were made.
    pub mounted_environment: BTreeMap<String, String>,
    /// Walls around it; none without.
    pub isolation: Option<Isolation>,
    /// Bytes of memory that the environment may use.
    pub memory_limit: Option<u64>,
    /// How long it may take until it asks for its first event: 10 s in Lambda.
    pub init_timeout: Duration,
}

impl Default for EnvironmentOptions {
    fn default() -> EnvironmentOptions {
        EnvironmentOptions {
            command: Command::default(),
            mounts: Vec::new(),
            mounts_optional: false,
            mounted_environment: BTreeMap::new(),
            isolation: None,
            memory_limit: None,
            init_timeout: Duration::from_secs(10),
        }
    }
}

/// Why there is no environment.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// No port, or no pipe, for the environment.
    #[error("cannot serve the Runtime API to a function: {0}")]
    Serve(#[from] std::io::Error),
    /// No child.
    #[error(transparent)]
    Process(#[from] ProcessError),
}

impl ErrorCoded for StartError {
    fn code(&self) -> ErrorCode {
        match self {
            StartError::Serve(_) => ErrorCode::Internal,
            StartError::Process(error) => error.code(),
        }
    }
}

/// Why an environment never asked for an event. It has been killed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum InitError {
    /// The runtime said so (POST init/error).
    #[error("the runtime cannot begin: {error_type}")]
    Reported {
        /// Such as `Runtime.ImportModuleError`.
        error_type: String,
        /// What it sent, JSON by custom.
        body: Bytes,
        /// From the start.
        duration: Duration,
    },
    /// It ended. [`Exit::Code`] with [`launch::FAILED`](crate::launch::FAILED) means that it could not
    /// even begin; its last line of output says why.
    #[error("the runtime ended while it began: {exit}")]
    Exited {
        /// How.
        exit: Exit,
        /// From the start.
        duration: Duration,
    },
    /// It took too long.
    #[error("the runtime did not begin in {} s", duration.as_secs())]
    TimedOut {
        /// From the start.
        duration: Duration,
    },
}

/// One event for a function.
#[derive(Debug, Clone, Default)]
pub struct Invocation {
    /// The id of the request.
    pub request_id: String,
    /// The event.
    pub payload: Bytes,
    /// The function's ARN as it was invoked, with version or alias.
    pub function_arn: String,
    /// How long the function may work on it.
    pub timeout: Duration,
    /// When the time is over, in milliseconds since 1970, for the function's information. Above zero:
    /// AWS's own runtimes end themselves otherwise.
    pub deadline_ms: i64,
    /// `X-Amz-Client-Context`, decoded: JSON.
    pub client_context: Option<String>,
    /// Who invoked through Cognito: JSON.
    pub cognito_identity: Option<String>,
    /// `X-Amzn-Trace-Id`.
    pub trace_id: Option<String>,
}

/// What a function answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The body: the function's value, or its error as JSON.
    pub payload: Bytes,
    /// The type of the error where the function says that it failed.
    pub error_type: Option<String>,
    /// How long it worked.
    pub duration: Duration,
}

/// Why there is no answer. The environment has been killed and is to be dropped.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failed {
    /// It took too long.
    #[error("the function did not answer within {:.2} s", after.as_secs_f64())]
    TimedOut {
        /// The time it had.
        after: Duration,
    },
    /// It ended instead.
    #[error("the function ended without an answer: {exit}")]
    Exited {
        /// How.
        exit: Exit,
        /// From the event on.
        duration: Duration,
    },
    /// It used more memory than it may.
    #[error("the function used {} bytes of memory, its limit is {}", exceeded.used, exceeded.limit)]
    MemoryExceeded {
        /// Limit and use.
        exceeded: MemoryExceeded,
        /// From the event on.
        duration: Duration,
    },
    /// The answer has more than [`MAX_ANSWER`] bytes.
    #[error("the function's answer has {bytes} bytes, {MAX_ANSWER} are allowed")]
    TooLarge {
        /// Its size as announced, or what was read of it.
        bytes: u64,
        /// From the event on.
        duration: Duration,
    },
    /// What was to be said cannot be said in the Runtime API.
    #[error("the invocation cannot be passed to the function: {0}")]
    Protocol(String),
}

/// A running environment. Dropping it kills it and all it started.
#[derive(Debug)]
pub struct Environment {
    exchange: Arc<Exchange>,
    output: Arc<output::Output>,
    connections: Arc<Semaphore>,
    init_timeout: Duration,
    memory_limit: Option<u64>,
    /// The most memory that was seen, for when it has ended.
    peak: AtomicU64,
    /// Held through an invocation: there is one at a time.
    turn: Mutex<()>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

impl Environment {
    /// Starts one; [`Environment::ready`] says when it can be invoked. To be called within a tokio
    /// runtime, which has to drive the environment as well.
    pub async fn start(
        launcher: &Launcher,
        options: EnvironmentOptions,
    ) -> Result<Environment, StartError> {
        let started = Instant::now();
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let mut command = options.command;
        let address = listener.local_addr()?.to_string();
        let mark = Arc::new(Mark::new(ADDRESS, listener)?);
        command.environment.insert(ADDRESS.to_owned(), address);
        let spec = ProcessSpec {
            command,
            mounts: options.mounts,
            mounts_optional: options.mounts_optional,
            mounted_environment: options.mounted_environment,
            memory_limit: options.memory_limit,
            isolation: options.isolation,
            adopts: true,
        };
        let (process, pipes) = launcher.spawn_piped(spec).await?;
        let output = Arc::new(output::Output::new(pipes)?);
        let exchange = Arc::new(Exchange::new(process, started));
        let connections = Arc::new(Semaphore::new(runtime_api::MAX_CONNECTIONS as usize));
        let server =
            runtime_api::serve(Arc::clone(&exchange), Arc::clone(&mark), Arc::clone(&connections));
        let mut exit = exchange.process().exits();
        // Outlives the environment: what has left its group is killed when its leader is gone.
        tokio::spawn(async move {
            let _ = exit.wait_for(Option::is_some).await;
            let _ = tokio::task::spawn_blocking(move || mark.kill_all()).await;
        });
        let mut tasks = vec![tokio::spawn(server)];
        tasks.extend(output.pump());
        Ok(Environment {
            exchange,
            output,
            connections,
            init_timeout: options.init_timeout,
            memory_limit: options.memory_limit,
            peak: AtomicU64::new(0),
            turn: Mutex::new(()),
            tasks,
        })
    }

    /// Who it is.
    pub fn identity(&self) -> Identity {
        self.exchange.process().identity()
    }

    /// How it ended, or none while it lives.
    pub fn exit(&self) -> Option<Exit> {
        self.exchange.process().exit()
    }

    /// Waits for its end, whoever caused it.
    pub async fn ended(&self) -> Exit {
        self.exchange.process().wait().await
    }

    /// Waits until it asks for its first event, and says how long that took from the start. It is
    /// frozen then. May be asked again and says the same.
    pub async fn ready(&self) -> Result<Duration, InitError> {
        let mut init = self.exchange.init();
        let left = self.init_timeout.saturating_sub(self.exchange.started().elapsed());
        let exit = tokio::select! {
            biased;
            // What it answers is a lock, which must not live on in the other branches.
            () = async { drop(init.wait_for(|init| !matches!(init, Init::Running)).await) } => None,
            exit = self.ended() => {
                self.last_words().await;
                Some(exit)
            }
            () = tokio::time::sleep(left) => None,
        };
        let duration = self.exchange.started().elapsed();
        let now = init.borrow().clone();
        let error = match (now, exit) {
            (Init::Ready(duration), None) => {
                self.output.drain();
                return Ok(duration);
            }
            (Init::Reported { error_type, body, after: duration }, _) => {
                InitError::Reported { error_type, body, duration }
            }
            (_, Some(exit)) => InitError::Exited { exit, duration },
            (Init::Running, None) => InitError::TimedOut { duration },
        };
        self.destroy().await;
        Err(error)
    }

    /// Gives it an event and waits for the answer. Calls wait for each other. An environment whose
    /// invocation fails, or is dropped before it has ended, is killed.
    pub async fn invoke(&self, invocation: Invocation) -> Result<Answer, Failed> {
        let _turn = self.turn.lock().await;
        let unfinished = KillOnDrop(&self.exchange);
        let outcome = self.exchange(invocation).await;
        std::mem::forget(unfinished);
        match outcome {
            Ok(answer) => {
                self.output.drain();
                let (exchange, turn) = (Arc::downgrade(&self.exchange), self.exchange.turn());
                tokio::spawn(async move {
                    tokio::time::sleep(LATE_FREEZE).await;
                    if let Some(exchange) = exchange.upgrade() {
                        exchange.freeze_after(turn);
                    }
                });
                Ok(answer)
            }
            Err(failed) => {
                self.destroy().await;
                Err(failed)
            }
        }
    }

    async fn exchange(&self, invocation: Invocation) -> Result<Answer, Failed> {
        let timeout = invocation.timeout;
        let event = event(invocation)?;
        let begun = Instant::now();
        let mut answer = self.exchange.give(event);
        let reply = tokio::select! {
            biased;
            reply = &mut answer => reply.ok(),
            exit = self.ended() => {
                self.last_words().await;
                match answer.try_recv() {
                    Ok(reply) => Some(reply),
                    Err(_) => return Err(ended(exit, begun.elapsed())),
                }
            }
            exceeded = self.exceeded() => {
                return Err(Failed::MemoryExceeded { exceeded, duration: begun.elapsed() });
            }
            () = tokio::time::sleep(timeout) => return Err(Failed::TimedOut { after: timeout }),
        };
        let duration = begun.elapsed();
        match reply {
            Some(Reply::Response(payload)) => Ok(Answer { payload, error_type: None, duration }),
            Some(Reply::Error { error_type, body }) => {
                Ok(Answer { payload: body, error_type: Some(error_type), duration })
            }
            Some(Reply::TooLarge { bytes }) => Err(Failed::TooLarge { bytes, duration }),
            None => Err(Failed::Protocol("the Runtime API has ended".to_owned())),
        }
    }

    /// Waits for too much use of memory. The launcher's sampler sees it twice a second for the whole
    /// group; this looks at the runtime itself, and oftener.
    async fn exceeded(&self) -> MemoryExceeded {
        let Some(limit) = self.memory_limit else { return std::future::pending().await };
        loop {
            tokio::time::sleep(MEMORY_TICK).await;
            let used = memory(self.identity().pid).resident;
            if used > limit {
                return MemoryExceeded { limit, used };
            }
        }
    }

    /// After its end: lets its connections' tasks read what is still in the sockets.
    async fn last_words(&self) {
        let all = self.connections.acquire_many(runtime_api::MAX_CONNECTIONS);
        let _ = tokio::time::timeout(LAST_WORDS, all).await;
    }

    /// Kills it and all it started, waits for its end and reads what it has printed.
    async fn destroy(&self) {
        self.usage();
        self.exchange.process().kill();
        self.ended().await;
        self.output.drain();
    }

    /// What it has printed since this was last asked. After [`Environment::ready`] and
    /// [`Environment::invoke`] all is there that it wrote before it answered. Between two calls
    /// [`MAX_OUTPUT`] bytes are kept; a last line tells how much was dropped.
    pub fn take_output(&self) -> Vec<OutputLine> {
        self.output.take()
    }

    /// The most memory that it has used until now, in bytes: the runtime's own peak as the kernel
    /// counts it, or the whole group's as sampled twice a second, whichever is more.
    pub fn usage(&self) -> u64 {
        let peak = if self.exit().is_none() { memory(self.identity().pid).peak } else { 0 };
        let peak = peak.max(self.exchange.process().peak_memory());
        self.peak.fetch_max(peak, Ordering::Relaxed).max(peak)
    }

    /// Asks it to end, kills it after two seconds (Lambda's shutdown phase), and waits for its end.
    pub async fn stop(&self) {
        // The signal waits for a frozen group to wake.
        self.exchange.process().signal(Signal::TERM);
        self.exchange.wake();
        let ended = tokio::time::timeout(SHUTDOWN, self.ended()).await;
        if ended.is_err() {
            self.exchange.process().kill();
            self.ended().await;
        }
        self.output.drain();
    }
}

impl Drop for Environment {
    fn drop(&mut self) {
        self.exchange.process().kill();
        for task in &self.tasks {
            task.abort();
        }
    }
}

/// Kills an environment whose invocation nobody waits for any more: it would answer the next one.
struct KillOnDrop<'a>(&'a Exchange);

impl Drop for KillOnDrop<'_> {
    fn drop(&mut self) {
        self.0.process().kill();
    }
}

fn ended(exit: Exit, duration: Duration) -> Failed {
    match exit {
        Exit::MemoryExceeded(exceeded) => Failed::MemoryExceeded { exceeded, duration },
        exit => Failed::Exited { exit, duration },
    }
}

fn event(invocation: Invocation) -> Result<Event, Failed> {
    let mut headers = HeaderMap::new();
    // Without it awslambdaric dies of a signal.
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let deadline = invocation.deadline_ms.to_string();
    let fields = [
        ("lambda-runtime-aws-request-id", Some(&invocation.request_id)),
        ("lambda-runtime-deadline-ms", Some(&deadline)),
        ("lambda-runtime-invoked-function-arn", Some(&invocation.function_arn)),
        ("lambda-runtime-trace-id", invocation.trace_id.as_ref()),
        ("lambda-runtime-client-context", invocation.client_context.as_ref()),
        ("lambda-runtime-cognito-identity", invocation.cognito_identity.as_ref()),
    ];
    for (name, value) in fields {
        let Some(value) = value else { continue };
        let value = HeaderValue::from_bytes(value.as_bytes()).map_err(|_| {
            Failed::Protocol(format!("`{name}` cannot be `{}`", value.escape_debug()))
        })?;
        headers.insert(HeaderName::from_static(name), value);
    }
    Ok(Event { request_id: invocation.request_id, headers, payload: invocation.payload })
}

#[derive(Debug, Default)]
struct Memory {
    resident: u64,
    peak: u64,
}

/// What one process uses and has used, as the kernel counts it; zero where it has ended.
fn memory(pid: i32) -> Memory {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib << 10)
    };
    let resident = field("VmRSS:").unwrap_or(0);
    Memory { resident, peak: field("VmHWM:").unwrap_or(0) }
}

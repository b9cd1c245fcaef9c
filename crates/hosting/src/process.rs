//! One child process with everything it starts: its output as lines, its end, its use of the machine.
//!
//! A child leads a process group of its own. Signals go to the group, and when the child ends the rest
//! of its group is killed, as a container's processes are when its first one ends.

mod lines;
mod sampler;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use kennel_base::{ErrorCode, ErrorCoded};
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::AsyncWriteExt;
use tokio::process::{ChildStderr, ChildStdout};
use tokio::sync::{OnceCell, mpsc, oneshot, watch};

use crate::Command;
use crate::launch::{Isolation, LaunchSpec, Mount, SUBCOMMAND, Stage};
use crate::supervisor;
pub(crate) use lines::Splitter;
pub use lines::{Line, Lines, MAX_LINE, Stream};
use sampler::{Group, Sampler};
pub use sampler::{MemoryExceeded, Usage};

/// Variables of the server that children see too. Of Kennel's own only those that say how networks are
/// run: where the server's data folder is (and in it the root's keys) is nothing for a user's script.
const INHERITED: &[&str] = &[
    "PATH",
    "LANG",
    "LC_ALL",
    "TZ",
    "LD_LIBRARY_PATH",
    "KENNEL_CACHE",
    "KENNEL_DATA",
    "KENNEL_ENGINE",
    "KENNEL_HUB",
    "KENNEL_ONNXRUNTIME",
];

/// Where programs are looked for when the server has no PATH itself.
const DEFAULT_PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// How long output is still read after a child ended, when something that escaped its group holds on
/// to the pipe.
const LATE_OUTPUT: Duration = Duration::from_secs(1);

/// What children see of the server's own environment. Credentials and everything else stay here.
pub fn inherited_environment() -> BTreeMap<String, String> {
    let mut environment: BTreeMap<String, String> = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .filter(|(name, _)| INHERITED.contains(&name.as_str()))
        .collect();
    environment.entry("PATH".to_owned()).or_insert_with(|| DEFAULT_PATH.to_owned());
    environment
}

/// Why no child could be started.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// The binary with the launch stage cannot be started.
    #[error("cannot start `{program}`: {source}")]
    Spawn {
        /// The binary.
        program: String,
        /// What the kernel said.
        source: std::io::Error,
    },
    /// The specification names no program, or holds what no program can be given.
    #[error("cannot start a process: {0}")]
    Specification(String),
    /// The launcher was made outside a runtime, or its thread has ended.
    #[error("processes cannot be started now: {0}")]
    Stopped(String),
}

impl ErrorCoded for ProcessError {
    fn code(&self) -> ErrorCode {
        match self {
            ProcessError::Specification(_) => ErrorCode::InvalidInput,
            ProcessError::Spawn { .. } => ErrorCode::Internal,
            ProcessError::Stopped(_) => ErrorCode::Unavailable,
        }
    }
}

/// Options of the [`Launcher`].
#[derive(Debug, Clone)]
pub struct LauncherOptions {
    /// The binary whose subcommand [`SUBCOMMAND`] calls [`launch::run`](crate::launch::run): the
    /// server's own, `std::env::current_exe()`.
    pub kennel: PathBuf,
}

/// What to start.
#[derive(Debug, Clone, Default)]
pub struct ProcessSpec {
    /// The program.
    pub command: Command,
    /// Folders that the child sees elsewhere.
    pub mounts: Vec<Mount>,
    /// Start without the mounts where the kernel refuses them.
    pub mounts_optional: bool,
    /// Variables that are set only when the mounts were made.
    pub mounted_environment: BTreeMap<String, String>,
    /// Bytes of memory that the child and all it starts may use together.
    pub memory_limit: Option<u64>,
    /// Walls around the child.
    pub isolation: Option<Isolation>,
    /// The child becomes the parent of what its children leave behind.
    pub adopts: bool,
}

/// How a child ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// By itself, with this code.
    Code(i32),
    /// Through a signal.
    Signal(i32),
    /// Killed by us for its use of memory.
    MemoryExceeded(MemoryExceeded),
}

impl Exit {
    /// Exit code 0.
    pub fn success(self) -> bool {
        self == Exit::Code(0)
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Exit::Code(code) => write!(f, "exit code {code}"),
            Exit::Signal(signal) => {
                let name = match signal {
                    4 => " (SIGILL)",
                    6 => " (SIGABRT)",
                    7 => " (SIGBUS)",
                    8 => " (SIGFPE)",
                    9 => " (SIGKILL)",
                    11 => " (SIGSEGV)",
                    15 => " (SIGTERM)",
                    _ => "",
                };
                write!(f, "signal {signal}{name}")
            }
            Exit::MemoryExceeded(MemoryExceeded { limit, used }) => {
                let gib = |bytes: &u64| *bytes as f64 / (1u64 << 30) as f64;
                write!(
                    f,
                    "out of memory: {:.2} GiB used, the limit is {:.2} GiB",
                    gib(used),
                    gib(limit)
                )
            }
        }
    }
}

/// Starts children. Clones are cheap and share one thread; children live no longer than it, and it
/// lives until the last clone and the last [`Process`] are gone.
#[derive(Debug, Clone)]
pub struct Launcher {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    kennel: PathBuf,
    spawns: mpsc::Sender<Spawn>,
    sampler: Arc<Sampler>,
    /// Lines for the sentinel, which is started with the first child. Unbounded is bounded by the number
    /// of children.
    sentinel: OnceCell<mpsc::UnboundedSender<String>>,
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.sampler.stop();
    }
}

/// The unread output of a child.
#[derive(Debug)]
pub(crate) struct Pipes {
    pub(crate) stdout: Option<ChildStdout>,
    pub(crate) stderr: Option<ChildStderr>,
}

#[derive(Debug)]
struct Spawn {
    command: tokio::process::Command,
    reply: oneshot::Sender<std::io::Result<tokio::process::Child>>,
}

impl Launcher {
    /// Starts the spawning thread. To be called within a tokio runtime.
    pub fn start(options: LauncherOptions) -> Result<Launcher, ProcessError> {
        let runtime = tokio::runtime::Handle::try_current()
            .map_err(|e| ProcessError::Stopped(e.to_string()))?;
        let (spawns, mut requests) = mpsc::channel::<Spawn>(64);
        // INVARIANT: the kernel sends a child's death signal when the *thread* that made it ends, so
        // children are made by one thread that lives as long as they may.
        std::thread::Builder::new()
            .name("spawner".to_owned())
            .spawn(move || {
                let _runtime = runtime.enter();
                while let Some(Spawn { mut command, reply }) = requests.blocking_recv() {
                    let _ = reply.send(command.spawn());
                }
            })
            .map_err(|e| ProcessError::Stopped(e.to_string()))?;
        let sampler = Sampler::start().map_err(|e| ProcessError::Stopped(e.to_string()))?;
        let sentinel = OnceCell::new();
        let shared = Arc::new(Shared { kennel: options.kennel, spawns, sampler, sentinel });
        Ok(Launcher { shared })
    }

    async fn start_sentinel(&self) -> Result<mpsc::UnboundedSender<String>, ProcessError> {
        let (sender, mut lines) = mpsc::unbounded_channel::<String>();
        let mut command = self.stage();
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = self.spawn_stage(command).await?;
        let mut input = child.stdin.take();
        let first = message(&Stage::Sentinel)?;
        tokio::spawn(async move {
            let mut next = Some(first);
            while let Some(line) = next {
                if let Some(pipe) = &mut input
                    && pipe.write_all(line.as_bytes()).await.is_err()
                {
                    tracing::warn!(
                        "the sentinel is gone; children of children may outlive a crash"
                    );
                    input = None;
                }
                next = lines.recv().await;
            }
            drop(input);
            let _ = child.wait().await;
        });
        Ok(sender)
    }

    /// The launch stage, without arguments and with nothing of ours but the allowed variables.
    fn stage(&self) -> tokio::process::Command {
        let mut command = tokio::process::Command::new(&self.shared.kennel);
        command
            .arg(SUBCOMMAND)
            .env_clear()
            .envs(inherited_environment())
            .stdin(Stdio::piped())
            .process_group(0);
        command
    }

    async fn spawn_stage(
        &self,
        command: tokio::process::Command,
    ) -> Result<tokio::process::Child, ProcessError> {
        let gone = || ProcessError::Stopped("the spawning thread has ended".to_owned());
        let (reply, answer) = oneshot::channel();
        self.shared.spawns.send(Spawn { command, reply }).await.map_err(|_| gone())?;
        let program = || self.shared.kennel.display().to_string();
        answer
            .await
            .map_err(|_| gone())?
            .map_err(|source| ProcessError::Spawn { program: program(), source })
    }

    /// Starts a child. What fails after the launch stage began (a refused mount, a program that does
    /// not exist) is seen as exit code [`launch::FAILED`](crate::launch::FAILED) with the reason as the
    /// last line.
    pub async fn spawn(&self, spec: ProcessSpec) -> Result<(Process, Lines), ProcessError> {
        let (process, pipes) = self.spawn_piped(spec).await?;
        let lines = lines::read(pipes.stdout, pipes.stderr, process.exit.clone());
        Ok((process, lines))
    }

    /// As [`Launcher::spawn`], for who reads the pipes himself. They must be read, or the child stands
    /// still once they are full.
    pub(crate) async fn spawn_piped(
        &self,
        spec: ProcessSpec,
    ) -> Result<(Process, Pipes), ProcessError> {
        let mut launch = specification(&spec)?;
        let sentinel = self.shared.sentinel.get_or_try_init(|| self.start_sentinel()).await?;
        let mut command = self.stage();
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let supervised = if launch.isolation.is_some() {
            let stopped = |e: std::io::Error| ProcessError::Stopped(e.to_string());
            let (ours, theirs) = UnixStream::pair().map_err(stopped)?;
            command.stdin(Stdio::from(OwnedFd::from(theirs)));
            Some(ours)
        } else {
            None
        };
        let mut child = self.spawn_stage(command).await?;
        let id = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        let Some(pid) = id else {
            return Err(ProcessError::Stopped("the process ended before it began".to_owned()));
        };
        launch.supervised = supervised.is_some() && supervisor::is_possible(pid);
        let line = message(&Stage::Launch(launch))?;
        let line = match supervised {
            Some(stage) => {
                std::thread::Builder::new()
                    .name("supervisor".to_owned())
                    .stack_size(supervisor::STACK)
                    .spawn(move || supervisor::run(stage, line.as_bytes()))
                    .map_err(|e| ProcessError::Stopped(e.to_string()))?;
                String::new()
            }
            None => line,
        };
        let group = Arc::new(Group::new(pid, spec.memory_limit));
        let guard = GroupGuard {
            group: Arc::clone(&group),
            sampler: Arc::clone(&self.shared.sampler),
            sentinel: sentinel.downgrade(),
        };
        let _ = sentinel.send(format!("+{}\n", pid.as_raw_nonzero()));
        self.shared.sampler.add(Arc::clone(&group));
        let (exited, exit) = watch::channel(None);
        let pipes = Pipes { stdout: child.stdout.take(), stderr: child.stderr.take() };
        let input = child.stdin.take();
        let own = Arc::clone(&group);
        tokio::spawn(async move {
            if let Some(mut input) = input {
                // A broken pipe means that the stage has ended, which `wait` will tell.
                let _ = input.write_all(line.as_bytes()).await;
            }
            let status = child.wait().await;
            drop(guard);
            exited.send_replace(Some(exit_of(status, &own)));
        });
        let identity =
            Identity { pid: pid.as_raw_nonzero().get(), start: sampler::start_time(pid) };
        Ok((Process { identity, group, exit, _launcher: self.clone() }, pipes))
    }
}

fn specification(spec: &ProcessSpec) -> Result<LaunchSpec, ProcessError> {
    if spec.command.argv.first().is_none_or(String::is_empty) {
        return Err(ProcessError::Specification("there is no program".to_owned()));
    }
    let mut environment = inherited_environment();
    environment.extend(spec.command.environment.clone());
    let named = environment.iter().chain(&spec.mounted_environment);
    for (name, value) in named {
        if name.is_empty() || name.contains(['=', '\0']) || value.contains('\0') {
            return Err(ProcessError::Specification(format!("no variable can be called `{name}`")));
        }
    }
    Ok(LaunchSpec {
        argv: spec.command.argv.clone(),
        environment,
        folder: spec.command.folder.clone(),
        mounts: spec.mounts.clone(),
        mounts_optional: spec.mounts_optional,
        mounted_environment: spec.mounted_environment.clone(),
        isolation: spec.isolation.clone(),
        supervised: false,
        adopts: spec.adopts,
        parent: std::process::id(),
    })
}

/// A line of the stage's input.
fn message(stage: &Stage) -> Result<String, ProcessError> {
    let line = serde_json::to_string(stage);
    Ok(line.map_err(|e| ProcessError::Specification(e.to_string()))? + "\n")
}

fn exit_of(status: std::io::Result<std::process::ExitStatus>, group: &Group) -> Exit {
    use std::os::unix::process::ExitStatusExt;
    if let Some(exceeded) = group.exceeded() {
        return Exit::MemoryExceeded(exceeded);
    }
    match status {
        Ok(status) => match (status.code(), status.signal()) {
            (Some(code), _) => Exit::Code(code),
            (None, signal) => Exit::Signal(signal.unwrap_or(9)),
        },
        Err(e) => {
            tracing::error!("cannot wait for process {}: {e}", group.pid().as_raw_nonzero());
            Exit::Signal(9)
        }
    }
}

/// Ends what is left of a group once its leader has ended or nobody watches it any more.
struct GroupGuard {
    group: Arc<Group>,
    sampler: Arc<Sampler>,
    sentinel: mpsc::WeakUnboundedSender<String>,
}

impl Drop for GroupGuard {
    fn drop(&mut self) {
        let _ = kill_process_group(self.group.pid(), Signal::KILL);
        self.sampler.remove(&self.group);
        if let Some(sentinel) = self.sentinel.upgrade() {
            let _ = sentinel.send(format!("-{}\n", self.group.pid().as_raw_nonzero()));
        }
    }
}

/// What tells a process from a later one with the same number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    /// Process id, and the id of its group.
    pub pid: i32,
    /// When it began, in clock ticks since the machine's start; none where it has ended already.
    pub start: Option<u64>,
}

/// A running or ended child. Dropping it kills the child and all it started.
#[derive(Debug)]
pub struct Process {
    identity: Identity,
    group: Arc<Group>,
    exit: watch::Receiver<Option<Exit>>,
    /// The spawning thread must outlive the child.
    _launcher: Launcher,
}

impl Process {
    /// Who it is.
    pub fn identity(&self) -> Identity {
        self.identity
    }

    /// How it ended, or none while it runs.
    pub fn exit(&self) -> Option<Exit> {
        *self.exit.borrow()
    }

    /// Waits for its end. Output may still be on its way then; [`Lines::next`] answers none after it.
    pub async fn wait(&self) -> Exit {
        let mut exit = self.exit.clone();
        let ended = exit.wait_for(Option::is_some).await;
        // Without a sender the runtime is going down, and the group was killed with it.
        ended.ok().and_then(|exit| *exit).unwrap_or(Exit::Signal(9))
    }

    /// Its end, for who must not keep it alive by waiting.
    pub(crate) fn exits(&self) -> watch::Receiver<Option<Exit>> {
        self.exit.clone()
    }

    /// Asks the group to end (SIGTERM) and kills it after `grace`.
    pub async fn terminate(&self, grace: Duration) -> Exit {
        self.signal(Signal::TERM);
        match tokio::time::timeout(grace, self.wait()).await {
            Ok(exit) => exit,
            Err(_) => {
                self.signal(Signal::KILL);
                self.wait().await
            }
        }
    }

    /// Kills the group at once.
    pub fn kill(&self) {
        self.signal(Signal::KILL);
    }

    /// What the child and all it started use, sampled twice a second.
    pub fn usage(&self) -> Usage {
        self.group.usage()
    }

    /// The most memory that the child and all it started have used together, as sampled.
    pub(crate) fn peak_memory(&self) -> u64 {
        self.group.peak_memory()
    }

    /// Sends a signal to the group, unless it has ended.
    pub(crate) fn signal(&self, signal: Signal) {
        // INVARIANT: a group that has ended is not signalled, its number may be somebody else's.
        if self.exit().is_none()
            && let Err(e) = kill_process_group(self.group.pid(), signal)
        {
            tracing::debug!("cannot signal group {}: {e}", self.identity.pid);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
    }
}

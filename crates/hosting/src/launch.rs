//! The stage between the server and a child: `kennel __launch` reads a specification from its
//! standard input, ties its own life to the server's, prepares limits and mounts, and becomes the
//! target program with `exec`.
//!
//! A stage of its own, because what must happen between fork and exec needs `unsafe` when it is done
//! inside the server, and because it is a fresh process with one thread, as user namespaces want.
//!
//! The same subcommand has a second role, the sentinel: one process per server that kills the process
//! groups of all children when the server is gone. The death signal alone reaches only the direct
//! child, not what that child started.

mod isolation;
mod mounts;
pub(crate) mod notify;
mod sentinel;
mod syscalls;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{ExitCode, Stdio};

use rustix::process::{Resource, Rlimit, Signal};
use serde::{Deserialize, Serialize};

pub use isolation::Isolation;

/// The hidden subcommand of `kennel` that is to call [`run`].
pub const SUBCOMMAND: &str = "__launch";

/// Exit code of a child that could not be started; the reason is its last line on standard error.
pub const FAILED: u8 = 125;

/// Specifications larger than this are refused.
const MAX_SPECIFICATION: u64 = 16 << 20;

/// Open files that a child may have, where the machine's hard limit allows it.
const OPEN_FILES: u64 = 65_536;

/// A folder that the child sees in another place, through a private mount namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// The existing folder.
    pub source: PathBuf,
    /// Where the child sees it: an absolute path, which need not exist on this machine.
    pub target: PathBuf,
    /// The child sees it, but cannot change it there.
    #[serde(default)]
    pub read_only: bool,
}

/// What the stage is to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LaunchSpec {
    /// The program and its arguments.
    pub argv: Vec<String>,
    /// The whole environment of the program.
    pub environment: BTreeMap<String, String>,
    /// Folder to start in, as seen after the mounts.
    pub folder: Option<PathBuf>,
    /// Mounts, made in this order.
    pub mounts: Vec<Mount>,
    /// Go on without the mounts where the kernel refuses them, with a line on standard error.
    pub mounts_optional: bool,
    /// Variables that are set only when the mounts were made.
    pub mounted_environment: BTreeMap<String, String>,
    /// Walls around the program.
    #[serde(default)]
    pub isolation: Option<Isolation>,
    /// Standard input is a socket whose other end supervises where an isolated program connects to.
    #[serde(default)]
    pub supervised: bool,
    /// The program becomes the parent of what its children leave behind.
    #[serde(default)]
    pub adopts: bool,
    /// Process id of the server; the child ends at once when that is not its parent any more.
    pub parent: u32,
}

/// The first line on the stage's standard input.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Stage {
    Launch(LaunchSpec),
    Sentinel,
}

/// Why a child could not be started.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// The specification on standard input is missing or broken.
    #[error("cannot read what to launch: {0}\nhint: `kennel __launch` is started by `kennel up`")]
    Specification(String),
    /// The kernel refused a step.
    #[error("the kernel refused to {step}: {source}")]
    Refused {
        /// The step, as a verb phrase.
        step: String,
        /// What the kernel said.
        source: std::io::Error,
    },
    /// The kernel refused a step of the private view of the file system.
    #[error(
        "the kernel refused to {step}: {source}\nhint: a private {target} needs mount namespaces: run as root, or allow unprivileged user namespaces"
    )]
    Mount {
        /// The step, as a verb phrase.
        step: String,
        /// What was to be mounted.
        target: String,
        /// What the kernel said.
        source: std::io::Error,
    },
    /// The target program cannot be executed.
    #[error("cannot execute `{program}`: {source}")]
    Execute {
        /// First word of the arguments.
        program: String,
        /// What the kernel said.
        source: std::io::Error,
    },
    /// The server ended before its child began.
    #[error("the server that started this process is gone")]
    Orphaned,
}

/// What `kennel __launch` does. With a sound specification it does not return: the process becomes the
/// target. Otherwise the reason is printed on standard error and the code is [`FAILED`].
pub fn run() -> ExitCode {
    match stage() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("kennel: {}", one_line(&error.to_string()));
            ExitCode::from(FAILED)
        }
    }
}

fn one_line(text: &str) -> String {
    text.replace('\n', "; ")
}

fn stage() -> Result<ExitCode, LaunchError> {
    let specification = |e: &dyn std::fmt::Display| LaunchError::Specification(e.to_string());
    // An unbuffered handle would cost a call per byte; what is read ahead belongs to us as well.
    let mut input = BufReader::new(std::io::stdin());
    let mut line = String::new();
    let read = input.by_ref().take(MAX_SPECIFICATION).read_line(&mut line);
    read.map_err(|e| specification(&e))?;
    match serde_json::from_str(&line).map_err(|e| specification(&e))? {
        Stage::Launch(spec) => Err(launch(spec)),
        Stage::Sentinel => {
            sentinel::watch(input);
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// Prepares this process and becomes the target; returns only with an error.
fn launch(spec: LaunchSpec) -> LaunchError {
    match prepare(&spec) {
        Err(error) => error,
        Ok(mounted) => {
            let Some((program, arguments)) = spec.argv.split_first() else {
                return LaunchError::Specification("there is no program".to_owned());
            };
            let mut command = std::process::Command::new(program);
            command.args(arguments).env_clear().envs(&spec.environment).stdin(Stdio::null());
            if mounted {
                command.envs(&spec.mounted_environment);
            }
            if let Some(folder) = &spec.folder {
                command.current_dir(folder);
            }
            LaunchError::Execute { program: program.clone(), source: command.exec() }
        }
    }
}

/// Answers whether the mounts were made.
fn prepare(spec: &LaunchSpec) -> Result<bool, LaunchError> {
    limits()?;
    let mounted = match mounts::apply(&spec.mounts) {
        Ok(()) => !spec.mounts.is_empty(),
        Err(error) if spec.mounts_optional => {
            eprintln!("kennel: going on without private mounts: {}", one_line(&error.to_string()));
            false
        }
        Err(error) => return Err(error),
    };
    // After the mounts: entering a user namespace changes credentials, which resets the death signal.
    die_with(spec.parent)?;
    rustix::thread::set_no_new_privs(true)
        .map_err(|e| refused("forbid new privileges", e.into()))?;
    if spec.adopts {
        // Any number but zero switches it on.
        rustix::process::set_child_subreaper(Some(rustix::process::getpid()))
            .map_err(|e| refused("adopt orphans", e.into()))?;
    }
    if let Some(isolation) = &spec.isolation {
        isolation.apply(spec, mounted)?;
    }
    Ok(mounted)
}

fn limits() -> Result<(), LaunchError> {
    let core = Rlimit { current: Some(0), maximum: Some(0) };
    rustix::process::setrlimit(Resource::Core, core)
        .map_err(|e| refused("forbid core files", e.into()))?;
    let hard = rustix::process::getrlimit(Resource::Nofile).maximum;
    let files =
        Rlimit { current: Some(hard.map_or(OPEN_FILES, |h| h.min(OPEN_FILES))), maximum: hard };
    rustix::process::setrlimit(Resource::Nofile, files)
        .map_err(|e| refused("raise the limit of open files", e.into()))?;
    // When memory runs out the kernel is to take a model, not the server. Best effort: some
    // containers mount /proc read-only, and nothing depends on it.
    let _ = std::fs::write("/proc/self/oom_score_adj", "500");
    Ok(())
}

fn die_with(parent: u32) -> Result<(), LaunchError> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
        .map_err(|e| refused("tie this process to the server", e.into()))?;
    // The server may have ended before the signal was asked for.
    let now = rustix::process::getppid().map_or(0, |pid| pid.as_raw_nonzero().get());
    if u32::try_from(now) == Ok(parent) { Ok(()) } else { Err(LaunchError::Orphaned) }
}

fn refused(step: &str, source: std::io::Error) -> LaunchError {
    LaunchError::Refused { step: step.to_owned(), source }
}

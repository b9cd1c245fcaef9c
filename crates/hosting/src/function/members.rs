//! Which processes of this machine are an environment's.
//!
//! While its leader lives: the leader and what descends from it, for it adopts its orphans. After its
//! end: what is in its mount namespace, which an isolated process cannot leave, or carries the address
//! of its Runtime API, which no other environment has at that time.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::OnceLock;

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use tokio::net::TcpListener;

/// How often is looked for processes that were made while others were killed.
const ROUNDS: usize = 50;

/// What tells an environment's processes from others once its leader has ended.
#[derive(Debug)]
pub(super) struct Mark {
    /// The variable with the Runtime API's address, as it stands in /proc/PID/environ.
    variable: Vec<u8>,
    /// The leader's mount namespace, where it is not ours.
    namespace: OnceLock<Namespace>,
    // INVARIANT: port and namespace stay taken while somebody looks for them; the next environment may
    // get the same numbers once they are free.
    listener: TcpListener,
}

#[derive(Debug)]
struct Namespace {
    number: u64,
    _held: File,
}

impl Mark {
    /// For an environment whose Runtime API is here.
    pub(super) fn new(variable: &str, listener: TcpListener) -> std::io::Result<Mark> {
        let variable = format!("{variable}={}", listener.local_addr()?).into_bytes();
        Ok(Mark { variable, namespace: OnceLock::new(), listener })
    }

    /// Where the environment's processes call.
    pub(super) fn listener(&self) -> &TcpListener {
        &self.listener
    }

    /// Looks at the leader, which must be through with the launch stage.
    pub(super) fn see(&self, leader: i32) {
        if self.namespace.get().is_none()
            && let Ok(held) = File::open(format!("/proc/{leader}/ns/mnt"))
            && let Ok(number) = held.metadata().map(|metadata| metadata.ino())
            && Some(number) != namespace("self")
        {
            let _ = self.namespace.set(Namespace { number, _held: held });
        }
    }

    fn is_on(&self, pid: i32) -> bool {
        let inside = || {
            let own = self.namespace.get();
            own.is_some_and(|own| namespace(&pid.to_string()) == Some(own.number))
        };
        let named = || {
            let environ = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            environ.split(|byte| *byte == 0).any(|variable| variable == self.variable)
        };
        inside() || named()
    }

    /// Kills every process that bears the mark. For a thread of its own: it reads all of /proc.
    pub(super) fn kill_all(&self) {
        for _ in 0..ROUNDS {
            let mut killed = false;
            for pid in processes() {
                // The handle first, then the look: the number may pass to somebody else in between.
                let Some(pid) = Pid::from_raw(pid) else { continue };
                let Ok(handle) = pidfd_open(pid, PidfdFlags::empty()) else { continue };
                if self.is_on(pid.as_raw_nonzero().get()) {
                    killed |= pidfd_send_signal(&handle, Signal::KILL).is_ok();
                }
            }
            if !killed {
                return;
            }
        }
        tracing::warn!("processes of a function multiply faster than they can be killed");
    }
}

fn namespace(pid: &str) -> Option<u64> {
    std::fs::metadata(format!("/proc/{pid}/ns/mnt")).ok().map(|metadata| metadata.ino())
}

fn processes() -> impl Iterator<Item = i32> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// Whether the leader or one of its descendants holds this socket.
pub(super) fn hold_socket(leader: i32, inode: u64) -> bool {
    let name = format!("socket:[{inode}]");
    // Nearly always the leader itself.
    holds(leader, &name) || descendants(leader).into_iter().any(|pid| holds(pid, &name))
}

fn holds(pid: i32, socket: &str) -> bool {
    let entries = std::fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| std::fs::read_link(entry.path()).ok())
        .any(|target| target == Path::new(socket))
}

fn descendants(leader: i32) -> Vec<i32> {
    let mut children: HashMap<i32, Vec<i32>> = HashMap::new();
    for pid in processes() {
        if let Some(parent) = parent(pid) {
            children.entry(parent).or_default().push(pid);
        }
    }
    // Numbers can be given away while this is read, so a loop is possible.
    let mut seen = HashSet::from([leader]);
    let (mut found, mut next) = (Vec::new(), vec![leader]);
    while let Some(pid) = next.pop() {
        for child in children.remove(&pid).unwrap_or_default() {
            if seen.insert(child) {
                found.push(child);
                next.push(child);
            }
        }
    }
    found
}

fn parent(pid: i32) -> Option<i32> {
    let stat = std::fs::read(format!("/proc/{pid}/stat")).ok()?;
    // The name may hold anything, so counting starts behind its last parenthesis.
    let stat = String::from_utf8_lossy(&stat);
    stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(1)?.parse().ok()
}

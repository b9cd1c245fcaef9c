//! What process groups use, read from /proc twice a second by one thread for all of them, and the end
//! of those that use more memory than they may.

use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};

const INTERVAL: Duration = Duration::from_millis(500);

/// What a child and all it started use.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Usage {
    /// Seconds of processor time since the start; never falls.
    pub cpu_seconds: f64,
    /// Bytes of memory in use now. Memory that several processes share counts in each.
    pub rss_bytes: u64,
}

/// A memory limit that was passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryExceeded {
    /// The limit in bytes.
    pub limit: u64,
    /// What was in use when it was seen, in bytes.
    pub used: u64,
}

/// One watched process group.
#[derive(Debug)]
pub(super) struct Group {
    pid: Pid,
    limit: Option<u64>,
    state: Mutex<GroupState>,
}

#[derive(Debug, Default)]
struct GroupState {
    usage: Usage,
    peak: u64,
    exceeded: Option<MemoryExceeded>,
}

impl Group {
    pub(super) fn new(pid: Pid, limit: Option<u64>) -> Group {
        Group { pid, limit, state: Mutex::default() }
    }

    pub(super) fn pid(&self) -> Pid {
        self.pid
    }

    pub(super) fn usage(&self) -> Usage {
        lock(&self.state).usage
    }

    pub(super) fn peak_memory(&self) -> u64 {
        lock(&self.state).peak
    }

    pub(super) fn exceeded(&self) -> Option<MemoryExceeded> {
        lock(&self.state).exceeded
    }

    fn take(&self, sample: &Sample) {
        let usage = Usage { cpu_seconds: sample.cpu_seconds(), rss_bytes: sample.rss_bytes() };
        let mut state = lock(&self.state);
        state.usage.cpu_seconds = state.usage.cpu_seconds.max(usage.cpu_seconds);
        state.usage.rss_bytes = usage.rss_bytes;
        state.peak = state.peak.max(usage.rss_bytes);
        let Some(limit) = self.limit else { return };
        if usage.rss_bytes <= limit || state.exceeded.is_some() {
            return;
        }
        // Forked workers share most of their memory, and the cheap sum counts it in each. Ask again,
        // exactly, before anything is killed.
        let used = sample.proportional_bytes();
        if used > limit {
            state.exceeded = Some(MemoryExceeded { limit, used });
            // INVARIANT: a group is removed before its number can be given away again.
            let _ = kill_process_group(self.pid, Signal::KILL);
        }
    }
}

/// No code panics while it holds one of these locks, and the data is plain numbers.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[derive(Debug, Default)]
pub(super) struct Sampler {
    state: Mutex<SamplerState>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct SamplerState {
    groups: HashMap<i32, Arc<Group>>,
    stopped: bool,
}

impl Sampler {
    pub(super) fn start() -> std::io::Result<Arc<Sampler>> {
        let sampler = Arc::new(Sampler::default());
        let own = Arc::clone(&sampler);
        std::thread::Builder::new().name("sampler".to_owned()).spawn(move || own.run())?;
        Ok(sampler)
    }

    pub(super) fn stop(&self) {
        lock(&self.state).stopped = true;
        self.changed.notify_all();
    }

    pub(super) fn add(&self, group: Arc<Group>) {
        lock(&self.state).groups.insert(group.pid.as_raw_nonzero().get(), group);
        self.changed.notify_all();
    }

    pub(super) fn remove(&self, group: &Arc<Group>) {
        let mut state = lock(&self.state);
        let key = group.pid.as_raw_nonzero().get();
        if state.groups.get(&key).is_some_and(|known| Arc::ptr_eq(known, group)) {
            state.groups.remove(&key);
        }
    }

    fn run(&self) {
        let mut state = lock(&self.state);
        while !state.stopped {
            state = if state.groups.is_empty() {
                self.changed.wait(state).unwrap_or_else(PoisonError::into_inner)
            } else {
                let groups = state.groups.clone();
                drop(state);
                for (group, sample) in sample(&groups) {
                    group.take(&sample);
                }
                // New groups are sampled with the next round, so only a stop ends the pause early.
                let (state, _) = self
                    .changed
                    .wait_timeout_while(lock(&self.state), INTERVAL, |state| !state.stopped)
                    .unwrap_or_else(PoisonError::into_inner);
                state
            };
        }
    }
}

#[derive(Debug, Default)]
struct Sample {
    ticks: u64,
    pages: u64,
    members: Vec<i32>,
}

impl Sample {
    fn cpu_seconds(&self) -> f64 {
        self.ticks as f64 / rustix::param::clock_ticks_per_second().max(1) as f64
    }

    fn rss_bytes(&self) -> u64 {
        self.pages.saturating_mul(rustix::param::page_size() as u64)
    }

    /// Memory with shared pages divided among those that share them.
    fn proportional_bytes(&self) -> u64 {
        let of = |pid: &i32| {
            let text = match std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")) {
                Ok(text) => text,
                Err(e) if e.kind() == std::io::ErrorKind::PermissionDenied => return None,
                // It has ended meanwhile.
                Err(_) => return Some(0),
            };
            let line = text.lines().find_map(|line| line.strip_prefix("Pss:"))?;
            line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib << 10)
        };
        let sum = self.members.iter().map(of).sum::<Option<u64>>();
        // Not readable (another user's process, an old kernel): the cheap sum decides.
        sum.unwrap_or_else(|| self.rss_bytes())
    }
}

fn sample(groups: &HashMap<i32, Arc<Group>>) -> Vec<(Arc<Group>, Sample)> {
    let mut samples: HashMap<i32, Sample> = HashMap::new();
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else {
            continue;
        };
        let Some(stat) = std::fs::read(entry.path().join("stat")).ok().and_then(|s| parse(&s))
        else {
            continue;
        };
        if groups.contains_key(&stat.group) {
            let sample = samples.entry(stat.group).or_default();
            sample.ticks += stat.ticks;
            sample.pages += stat.pages;
            sample.members.push(pid);
        }
    }
    samples
        .into_iter()
        .filter_map(|(pid, sample)| Some((Arc::clone(groups.get(&pid)?), sample)))
        .collect()
}

/// When a process began, in clock ticks since the machine's start.
pub(super) fn start_time(pid: Pid) -> Option<u64> {
    let stat = std::fs::read(format!("/proc/{}/stat", pid.as_raw_nonzero())).ok()?;
    parse(&stat).map(|stat| stat.start)
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Stat {
    pub(super) group: i32,
    /// Processor time of the process and of the children it waited for.
    pub(super) ticks: u64,
    pub(super) start: u64,
    pub(super) pages: u64,
}

/// Reads /proc/PID/stat (proc_pid_stat(5)). The second field, the name, may hold anything, so counting
/// starts behind its last parenthesis.
pub(super) fn parse(stat: &[u8]) -> Option<Stat> {
    let stat = String::from_utf8_lossy(stat);
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_ascii_whitespace().collect();
    // `number` is the manual's, from 1; the third field is the first one here.
    let field = |number: usize| fields.get(number - 3)?.parse::<i64>().ok();
    let unsigned = |number: usize| field(number).map(|value| u64::try_from(value).unwrap_or(0));
    Some(Stat {
        group: i32::try_from(field(5)?).ok()?,
        ticks: (14..=17).map(unsigned).sum::<Option<u64>>()?,
        start: unsigned(22)?,
        pages: unsigned(24)?,
    })
}

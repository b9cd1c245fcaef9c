//! The sampler on Linux: `/proc`, read so that a few hundred processes cost next to nothing.

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Seek};

use super::gpu::Gpus;
use super::{Instance, parse};
use crate::metrics::{
    CPU_USE, DISK_OPERATIONS, DISK_READ, DISK_WRITE, GPU_MEMORY, GPU_USE, INSTANCE_CPU, IO_WAIT,
    Kind, MEMORY_BYTES, MEMORY_PERCENT, NET_RECEIVE, NET_TRANSMIT, PLATFORM, SystemMetric,
};

/// Strangers' processes are looked at only a few times, for a process may join a group just after it was
/// born, and then again after this many samples.
const LOOKS: u8 = 3;
const FORGET_AFTER: u32 = 60;
/// A process that had no processor time has hardly read or written; what it had is asked again at least after
/// this many samples.
const IO_AGE: u8 = 8;
/// No text of `/proc` that is read here is longer; `/proc/stat` has a line of interrupts.
const LONGEST: u64 = 1 << 20;

pub(super) struct Linux {
    instances: Vec<Instance>,
    threads: usize,
    page: u64,
    ticks_per_second: f64,
    gpus: Option<Gpus>,
    files: Files,
    strangers: HashMap<i32, u8>,
    members: HashMap<i32, Member>,
    samples: u32,
    last: Option<Totals>,
}

/// The machine's files stay open: rewinding one is cheaper than finding it again.
#[derive(Default)]
struct Files {
    open: HashMap<&'static str, File>,
    buffer: Vec<u8>,
}

/// Everything that counts up, at one time.
#[derive(Default)]
struct Totals {
    time_ms: u64,
    cores: Vec<parse::Core>,
    disks: Option<(u64, u64, u64)>,
    network: Option<(u64, u64)>,
    groups: Vec<Group>,
}

/// What is known of a process of an instance.
#[derive(Clone, Copy)]
struct Member {
    ticks: u64,
    io: Option<(u64, u64)>,
    age: u8,
}

/// One instance's processes together.
#[derive(Default, Clone)]
struct Group {
    processes: usize,
    ticks: u64,
    pages: u64,
    io: Option<(u64, u64)>,
}

impl Files {
    fn read(&mut self, path: &'static str) -> Option<&str> {
        let file = match self.open.entry(path) {
            std::collections::hash_map::Entry::Occupied(there) => there.into_mut(),
            std::collections::hash_map::Entry::Vacant(free) => free.insert(File::open(path).ok()?),
        };
        file.rewind().ok()?;
        self.buffer.clear();
        file.take(LONGEST).read_to_end(&mut self.buffer).ok()?;
        std::str::from_utf8(&self.buffer).ok()
    }

    fn read_of(&mut self, pid: i32, name: &str) -> Option<&[u8]> {
        let mut file = File::open(format!("/proc/{pid}/{name}")).ok()?;
        // A process that ends while it is read gives an error: it is left out.
        self.buffer.resize(4096, 0);
        let length = file.read(&mut self.buffer).ok()?;
        self.buffer.get(..length)
    }

    fn io_of(&mut self, pid: i32) -> Option<(u64, u64)> {
        let text = self.read_of(pid, "io")?;
        parse::process_io(std::str::from_utf8(text).ok()?)
    }
}

impl Linux {
    pub(super) fn new(instances: Vec<Instance>, threads: usize) -> Self {
        Self {
            instances,
            threads,
            page: rustix::param::page_size() as u64,
            ticks_per_second: rustix::param::clock_ticks_per_second().max(1) as f64,
            gpus: Gpus::find(),
            files: Files::default(),
            strangers: HashMap::new(),
            members: HashMap::new(),
            samples: 0,
            last: None,
        }
    }

    pub(super) fn sample(&mut self, now_ms: u64) -> Vec<SystemMetric> {
        let now = self.totals(now_ms);
        let memory = self.files.read("/proc/meminfo").and_then(parse::memory);
        let mut out = Sample { metrics: Vec::new(), time_ms: now_ms };
        for (instance, group) in self.instances.iter().zip(&now.groups) {
            if group.processes > 0 {
                let used = group.pages.saturating_mul(self.page);
                out.memory(&instance.host, "", used, memory);
            }
        }
        // The machine's own values stand below the first instance.
        let host = self.instances.first().map_or_else(|| "algo-1".to_owned(), |i| i.host.clone());
        if let Some((_, used)) = memory {
            out.memory(&host, PLATFORM, used, memory);
        }
        for (number, used, memory) in self.gpus.iter().flat_map(Gpus::read) {
            let name = format!("gpu{number}");
            out.put(Kind::Gpu, &name, GPU_USE, used, &host);
            out.put(Kind::Gpu, &name, GPU_MEMORY, memory, &host);
        }
        if let Some(last) = self.last.take().filter(|last| last.time_ms < now_ms) {
            self.rates(&last, &now, &host, &mut out);
        }
        self.last = Some(now);
        out.metrics
    }

    fn rates(&self, last: &Totals, now: &Totals, host: &str, out: &mut Sample) {
        let seconds = (now.time_ms - last.time_ms) as f64 / 1000.0;
        let rate = |new: u64, old: u64| new.saturating_sub(old) as f64 / seconds;
        for core in &now.cores {
            let Some(before) = last.cores.iter().find(|c| c.number == core.number) else {
                continue;
            };
            let busy = core.busy.saturating_sub(before.busy) as f64;
            let waiting = core.waiting.saturating_sub(before.waiting) as f64;
            let all = busy + waiting + core.idle.saturating_sub(before.idle) as f64;
            if all > 0.0 {
                let name = format!("cpu{}", core.number);
                out.put(Kind::Cpu, &name, CPU_USE, busy / all * 100.0, host);
                out.put(Kind::Cpu, &name, IO_WAIT, waiting / all * 100.0, host);
            }
        }
        if let (Some(new), Some(old)) = (now.disks, last.disks) {
            out.put(Kind::Disk, DISK_READ, PLATFORM, rate(new.0, old.0), host);
            out.put(Kind::Disk, DISK_WRITE, PLATFORM, rate(new.1, old.1), host);
            out.put(Kind::Disk, DISK_OPERATIONS, PLATFORM, rate(new.2, old.2), host);
        }
        if let (Some(new), Some(old)) = (now.network, last.network) {
            out.put(Kind::Network, NET_RECEIVE, PLATFORM, rate(new.0, old.0), host);
            out.put(Kind::Network, NET_TRANSMIT, PLATFORM, rate(new.1, old.1), host);
        }
        let full = self.ticks_per_second * self.threads as f64;
        // No group can do more than the machine; a waited-for stranger's whole past may come in at once.
        let most = now.cores.len().max(self.threads) as f64 / self.threads as f64 * 100.0;
        for ((instance, new), old) in self.instances.iter().zip(&now.groups).zip(&last.groups) {
            if new.processes == 0 {
                continue;
            }
            let used = (rate(new.ticks, old.ticks) / full * 100.0).min(most);
            out.put(Kind::Cpu, "cpu", INSTANCE_CPU, used, &instance.host);
            if let (Some(new), Some(old)) = (new.io, old.io) {
                out.put(Kind::Disk, DISK_READ, "", rate(new.0, old.0), &instance.host);
                out.put(Kind::Disk, DISK_WRITE, "", rate(new.1, old.1), &instance.host);
            }
        }
    }

    fn totals(&mut self, time_ms: u64) -> Totals {
        let cores = self.files.read("/proc/stat").map(parse::cores).unwrap_or_default();
        let disks = self.files.read("/proc/diskstats").map(parse::disks);
        let network = self.files.read("/proc/net/dev").map(parse::network);
        Totals { time_ms, cores, disks, network, groups: self.groups() }
    }

    fn groups(&mut self) -> Vec<Group> {
        let mut groups = vec![Group::default(); self.instances.len()];
        self.samples = self.samples.wrapping_add(1);
        if self.samples.is_multiple_of(FORGET_AFTER) {
            self.strangers.clear();
        }
        let Ok(entries) = std::fs::read_dir("/proc") else { return groups };
        let mut members = HashMap::with_capacity(self.members.len());
        for entry in entries.flatten() {
            let name = entry.file_name();
            let Some(pid) = name.to_str().and_then(|name| name.parse::<i32>().ok()) else {
                continue;
            };
            if self.strangers.get(&pid).is_some_and(|looks| *looks >= LOOKS) {
                continue;
            }
            let Some(process) = self.files.read_of(pid, "stat").and_then(parse::process) else {
                continue;
            };
            let ours = self.instances.iter().position(|i| i.process_group == process.group);
            let Some(at) = ours else {
                *self.strangers.entry(pid).or_default() += 1;
                continue;
            };
            let member = match self.members.get(&pid) {
                Some(known) if known.ticks == process.ticks && known.age < IO_AGE => {
                    Member { age: known.age + 1, ..*known }
                }
                _ => Member { ticks: process.ticks, io: self.files.io_of(pid), age: 0 },
            };
            members.insert(pid, member);
            let group = &mut groups[at];
            group.processes += 1;
            group.ticks = group.ticks.saturating_add(process.ticks);
            group.pages = group.pages.saturating_add(process.pages);
            if let Some((read, written)) = member.io {
                let so_far = group.io.get_or_insert_default();
                so_far.0 = so_far.0.saturating_add(read);
                so_far.1 = so_far.1.saturating_add(written);
            }
        }
        self.members = members;
        groups
    }
}

struct Sample {
    metrics: Vec<SystemMetric>,
    time_ms: u64,
}

impl Sample {
    fn put(&mut self, kind: Kind, name: &str, dimension: &str, value: f64, host: &str) {
        self.metrics.push(SystemMetric {
            kind,
            name: name.to_owned(),
            dimension: dimension.to_owned(),
            value,
            host: host.to_owned(),
            time_ms: self.time_ms,
        });
    }

    fn memory(&mut self, host: &str, dimension: &str, used: u64, machine: Option<(u64, u64)>) {
        self.put(Kind::Memory, MEMORY_BYTES, dimension, used as f64, host);
        if let Some((total, _)) = machine.filter(|(total, _)| *total > 0) {
            let percent = used as f64 / total as f64 * 100.0;
            self.put(Kind::Memory, MEMORY_PERCENT, dimension, percent, host);
        }
    }
}

//! Samples of the machine and of the instances on it.
//!
//! An instance is a process group: `algo-1` and `algo-2` share this machine, so what `/proc` says of a group's
//! processes is the instance's, and what it says of cores, disks and the network is everybody's.

#[cfg(target_os = "linux")]
mod gpu;
#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "linux")]
mod parse;

use crate::metrics::SystemMetric;

/// One instance of a training job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instance {
    /// Its name, such as `algo-1`.
    pub host: String,
    /// The group that its processes belong to.
    pub process_group: i32,
}

/// Takes samples, each against the one before: rates and shares need two, so the first call gives only what
/// is true at once (memory, graphics processors). What cannot be read is left out of the sample; without
/// Linux's `/proc` every sample is empty.
pub struct Sampler {
    #[cfg(target_os = "linux")]
    inner: linux::Linux,
}

impl std::fmt::Debug for Sampler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sampler").finish_non_exhaustive()
    }
}

#[cfg(target_os = "linux")]
impl Sampler {
    /// A sampler of these instances, each of which may use its part of the machine's threads.
    pub fn new(instances: Vec<Instance>) -> Self {
        let all = std::thread::available_parallelism().map_or(1, usize::from);
        let threads = (all / instances.len().max(1)).max(1);
        Self::with_threads(instances, threads)
    }

    /// A sampler of instances that may use `threads` threads each: that many busy ones are 100 %.
    pub fn with_threads(instances: Vec<Instance>, threads: usize) -> Self {
        Self { inner: linux::Linux::new(instances, threads.max(1)) }
    }

    /// Measures now, which is `now_ms` in Unix milliseconds. A clock that went back gives one sample without
    /// rates.
    pub fn sample(&mut self, now_ms: u64) -> Vec<SystemMetric> {
        self.inner.sample(now_ms)
    }
}

#[cfg(not(target_os = "linux"))]
impl Sampler {
    /// A sampler that sees nothing: system metrics are not implemented on this system.
    pub fn new(_instances: Vec<Instance>) -> Self {
        Self {}
    }

    /// See [`Sampler::new`].
    pub fn with_threads(_instances: Vec<Instance>, _threads: usize) -> Self {
        Self {}
    }

    /// Nothing: not implemented on this system.
    pub fn sample(&mut self, _now_ms: u64) -> Vec<SystemMetric> {
        Vec::new()
    }
}

#[cfg(target_os = "linux")]
#[cfg(test)]
mod tests;

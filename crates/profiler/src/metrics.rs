//! One measured value of the machine, as it stands on one line of SageMaker's system metrics.

use std::fmt::Write;

/// What a metric is about; the `Type` of SageMaker's lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Processors, `cpu`.
    Cpu,
    /// Graphics processors, `gpu`.
    Gpu,
    /// Main memory, `memory`.
    Memory,
    /// Disks; SageMaker writes `i/o`.
    Disk,
    /// Network interfaces, `network`.
    Network,
}

impl Kind {
    /// The word in SageMaker's files.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Gpu => "gpu",
            Self::Memory => "memory",
            Self::Disk => "i/o",
            Self::Network => "network",
        }
    }

    /// The kind of a word in SageMaker's files.
    pub(crate) fn parse(word: &str) -> Option<Self> {
        [Self::Cpu, Self::Gpu, Self::Memory, Self::Disk, Self::Network]
            .into_iter()
            .find(|kind| kind.as_str() == word)
    }
}

/// One value of one thing at one time.
///
/// SageMaker's names are kept: `cpu0` with `CPUUtilization` and `I/OWaitPercentage` (percent of that core),
/// `MemoryUsedPercent`, `ReadThroughputInBytesPerSecond`, `WriteThroughputInBytesPerSecond`, `IOPS`,
/// `ReceiveBytesPerSecond`, `TransmitBytesPerSecond`, `gpu0` with `GPUUtilization` and `GPUMemoryUtilization`.
/// Instances share one machine here, so an empty dimension means the instance alone and `Platform` the whole
/// machine; cores, graphics processors and the network are always the machine's and stand below the first
/// instance only. Kennel's own: `cpu` with [`INSTANCE_CPU`], and `MemoryUsedBytes`.
#[derive(Debug, Clone, PartialEq)]
pub struct SystemMetric {
    /// What it is about.
    pub kind: Kind,
    /// Which one, such as `cpu0` or `MemoryUsedPercent`.
    pub name: String,
    /// Which side of it, such as `CPUUtilization`; may be empty.
    pub dimension: String,
    /// The value, in percent or bytes (per second), as its name says.
    pub value: f64,
    /// The instance, such as `algo-1`.
    pub host: String,
    /// Unix time in milliseconds.
    pub time_ms: u64,
}

/// Dimension of an instance's processor time: 100 is all threads that the instance may use.
pub(crate) const INSTANCE_CPU: &str = "InstanceCPUUtilization";
/// Dimension of a core's or a graphics processor's use.
pub(crate) const CPU_USE: &str = "CPUUtilization";
/// Dimension of a core's time spent waiting for disks.
pub(crate) const IO_WAIT: &str = "I/OWaitPercentage";
/// Dimension of a graphics processor's use.
pub(crate) const GPU_USE: &str = "GPUUtilization";
/// Dimension of a graphics processor's used memory.
pub(crate) const GPU_MEMORY: &str = "GPUMemoryUtilization";
/// Name of used memory, in percent of the machine's.
pub(crate) const MEMORY_PERCENT: &str = "MemoryUsedPercent";
/// Name of used memory in bytes.
pub(crate) const MEMORY_BYTES: &str = "MemoryUsedBytes";
/// Names of the disks' rates.
pub(crate) const DISK_READ: &str = "ReadThroughputInBytesPerSecond";
/// See [`DISK_READ`].
pub(crate) const DISK_WRITE: &str = "WriteThroughputInBytesPerSecond";
/// Name of the disks' operations per second.
pub(crate) const DISK_OPERATIONS: &str = "IOPS";
/// Names of the network's rates.
pub(crate) const NET_RECEIVE: &str = "ReceiveBytesPerSecond";
/// See [`NET_RECEIVE`].
pub(crate) const NET_TRANSMIT: &str = "TransmitBytesPerSecond";
/// Dimension of what belongs to the whole machine.
pub(crate) const PLATFORM: &str = "Platform";

impl SystemMetric {
    /// Appends the metric as one line; a value that is no number is left out.
    pub(crate) fn append_line(&self, out: &mut String) {
        if !self.value.is_finite() {
            return;
        }
        let text = |value: &str| serde_json::Value::from(value).to_string();
        // Writing to a `String` cannot fail.
        let _ = writeln!(
            out,
            "{{\"Type\":\"{}\",\"Name\":{},\"Dimension\":{},\"Value\":{},\"NodeId\":{},\"Timestamp\":{}.{:03}}}",
            self.kind.as_str(),
            text(&self.name),
            text(&self.dimension),
            (self.value * 100.0).round() / 100.0,
            text(&self.host),
            self.time_ms / 1000,
            self.time_ms % 1000,
        );
    }
}

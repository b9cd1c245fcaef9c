//! Graphics processors through NVIDIA's management library, which is looked for when the program runs.

use nvml_wrapper::Nvml;

/// The library, where there is one and it finds a device.
pub(super) struct Gpus {
    nvml: Nvml,
    count: u32,
}

impl Gpus {
    /// `None` on a machine without NVIDIA's driver or without a device.
    pub(super) fn find() -> Option<Self> {
        let nvml = Nvml::init().ok()?;
        let count = nvml.device_count().ok().filter(|count| *count > 0)?;
        Some(Self { nvml, count })
    }

    /// Number, use in percent and used memory in percent of every device that answers.
    pub(super) fn read(&self) -> impl Iterator<Item = (u32, f64, f64)> + '_ {
        (0..self.count).filter_map(|index| {
            let device = self.nvml.device_by_index(index).ok()?;
            let used = device.utilization_rates().ok()?.gpu;
            let memory = device.memory_info().ok()?;
            let share = memory.used as f64 / memory.total.max(1) as f64;
            Some((index, f64::from(used), share * 100.0))
        })
    }
}

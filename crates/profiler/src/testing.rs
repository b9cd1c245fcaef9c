//! Recordings made for tests, through the same files as real ones.

use std::collections::BTreeMap;

use crate::analysis::About;
use crate::metrics::{CPU_USE, GPU_MEMORY, GPU_USE, IO_WAIT, Kind, SystemMetric};
use crate::recording::Recording;
use crate::rules::{self, Finding};
use crate::writer::{FrameworkWriter, SystemWriter};

/// A run that began at 1,800,000,000 s, sampled every half second.
pub(crate) const BEGIN_MS: u64 = 1_800_000_000_000;
const INTERVAL_MS: u64 = 500;

pub(crate) struct Run {
    pub(crate) folder: tempfile::TempDir,
    metrics: Vec<SystemMetric>,
}

impl Run {
    pub(crate) fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), metrics: Vec::new() }
    }

    pub(crate) fn series(
        mut self,
        host: &str,
        (kind, name, dimension): (Kind, &str, &str),
        values: impl IntoIterator<Item = f64>,
    ) -> Self {
        for (time_ms, value) in (BEGIN_MS..).step_by(INTERVAL_MS as usize).zip(values) {
            let (name, dimension, host) = (name.into(), dimension.into(), host.into());
            self.metrics.push(SystemMetric { kind, name, dimension, value, host, time_ms });
        }
        self
    }

    pub(crate) fn gpu(self, name: &str, used: &[f64], memory: &[f64]) -> Self {
        self.series("algo-1", (Kind::Gpu, name, GPU_USE), used.iter().copied()).series(
            "algo-1",
            (Kind::Gpu, name, GPU_MEMORY),
            memory.iter().copied(),
        )
    }

    pub(crate) fn core(self, name: &str, used: &[f64]) -> Self {
        self.series("algo-1", (Kind::Cpu, name, CPU_USE), used.iter().copied())
    }

    pub(crate) fn waiting(self, name: &str, share: &[f64]) -> Self {
        self.series("algo-1", (Kind::Cpu, name, IO_WAIT), share.iter().copied())
    }

    /// A piece of time from `start_ms` after the beginning.
    pub(crate) fn phase(self, host: &str, name: &str, start_ms: u64, ms: f64, count: u64) -> Self {
        let mut writer = FrameworkWriter::create(self.folder.path(), host).unwrap();
        let start = (BEGIN_MS + start_ms) * 1000;
        writer.record(name, start, (ms * 1000.0) as u64, None, count).unwrap();
        writer.finish().unwrap();
        self
    }

    pub(crate) fn steps(self, milliseconds: impl IntoIterator<Item = f64>) -> Self {
        let mut writer = FrameworkWriter::create(self.folder.path(), "algo-1").unwrap();
        let mut at = BEGIN_MS * 1000;
        for (step, ms) in milliseconds.into_iter().enumerate() {
            let took = (ms * 1000.0) as u64;
            writer.record("step", at, took, Some(step as u64), 64).unwrap();
            at += took;
        }
        writer.finish().unwrap();
        self
    }

    pub(crate) fn write(&self) {
        // Once only, however often the run is judged: writers go on where they find something.
        let _ = std::fs::remove_dir_all(self.folder.path().join("system"));
        let mut writer = SystemWriter::create(self.folder.path()).unwrap();
        writer.write(&self.metrics).unwrap();
        writer.flush().unwrap();
    }

    pub(crate) fn recording(&self) -> Recording {
        self.write();
        Recording::read(self.folder.path()).unwrap()
    }

    pub(crate) fn judge(&self, rule: &str, parameters: &[(&str, &str)]) -> Finding {
        rules::judge(&self.recording(), rule, &map(parameters))
    }
}

pub(crate) fn map(parameters: &[(&str, &str)]) -> BTreeMap<String, String> {
    parameters.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

pub(crate) fn about() -> About {
    About {
        job: "dogs-2026".into(),
        instance_type: "ml.m5.xlarge".into(),
        instances: 1,
        started_ms: BEGIN_MS,
        ended_ms: BEGIN_MS + 600_000,
        status: "Completed".into(),
        facts: vec![("engine".into(), "rten".into())],
    }
}

//! The two kinds of files that a run leaves: system metrics in SageMaker's layout, framework metrics in ours.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use crate::config::{is_file_name, short};
use crate::metrics::SystemMetric;

/// What keeps a recording from being written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The file system says no.
    #[error("cannot write `{}`", path.display())]
    Io {
        /// Where.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A host that cannot be a file name.
    #[error(
        "`{0}` cannot be the name of an instance\nhint: instances are called `algo-1`, `algo-2`, …"
    )]
    Host(String),
}

fn io(path: &Path) -> impl FnOnce(std::io::Error) -> WriteError {
    let path = path.to_owned();
    move |source| WriteError::Io { path, source }
}

fn append(path: &Path) -> Result<File, WriteError> {
    OpenOptions::new().create(true).append(true).open(path).map_err(io(path))
}

/// Writes system metrics the way SageMaker lays them out, so that its readers (the `smdebug` library) find
/// them: one file per instance and minute, `system/incremental/<YYYYMMDDHH>/<second of the minute's
/// start>.<host>.json`, one JSON object per line.
#[derive(Debug)]
pub struct SystemWriter {
    folder: PathBuf,
    open: BTreeMap<String, Minute>,
}

#[derive(Debug)]
struct Minute {
    start: u64,
    path: PathBuf,
    file: File,
}

impl SystemWriter {
    /// Makes `system/incremental` below the profiler folder of a job. A recording that is there goes on.
    ///
    /// # Errors
    /// The folder cannot be made.
    pub fn create(folder: &Path) -> Result<Self, WriteError> {
        let folder = folder.join("system").join("incremental");
        std::fs::create_dir_all(&folder).map_err(io(&folder))?;
        Ok(Self { folder, open: BTreeMap::new() })
    }

    /// Appends samples; whole lines reach the operating system before it returns, in one write per instance.
    ///
    /// # Errors
    /// A file cannot be written, or an instance has a name that is no file name.
    pub fn write(&mut self, metrics: &[SystemMetric]) -> Result<(), WriteError> {
        // By instance and minute, each with its lines.
        let mut lines: BTreeMap<(&str, u64), String> = BTreeMap::new();
        for metric in metrics {
            let minute = metric.time_ms / 60_000 * 60;
            metric.append_line(lines.entry((&metric.host, minute)).or_default());
        }
        for ((host, start), text) in lines {
            let minute = self.minute(host, start)?;
            minute.file.write_all(text.as_bytes()).map_err(io(&minute.path))?;
        }
        Ok(())
    }

    fn minute(&mut self, host: &str, start: u64) -> Result<&mut Minute, WriteError> {
        if self.open.get(host).is_none_or(|minute| minute.start != start) {
            if !is_file_name(host) {
                return Err(WriteError::Host(short(host)));
            }
            let hour = self.folder.join(hour_name(start));
            std::fs::create_dir_all(&hour).map_err(io(&hour))?;
            let path = hour.join(format!("{start}.{host}.json"));
            let file = append(&path)?;
            self.open.insert(host.to_owned(), Minute { start, path, file });
        }
        self.open.get_mut(host).ok_or_else(|| WriteError::Host(short(host)))
    }

    /// Brings everything that was written to the disk.
    ///
    /// # Errors
    /// The disk says no.
    pub fn flush(&mut self) -> Result<(), WriteError> {
        for minute in self.open.values() {
            minute.file.sync_data().map_err(io(&minute.path))?;
        }
        Ok(())
    }
}

/// `YYYYMMDDHH` in UTC of a Unix time in seconds.
fn hour_name(seconds: u64) -> String {
    let (year, month, day) = date(seconds);
    format!("{year:04}{month:02}{day:02}{:02}", seconds % 86_400 / 3600)
}

/// Year, month and day in UTC of a Unix time in seconds (Howard Hinnant's days-to-civil).
pub(crate) fn date(seconds: u64) -> (u64, u64, u64) {
    // Years beyond 9999 would not sort; no clock says so.
    let days = seconds.min(253_402_300_799) / 86_400 + 719_468;
    let era_day = days % 146_097;
    let year_of_era = (era_day - era_day / 1460 + era_day / 36_524 - era_day / 146_096) / 365;
    let day_of_year = era_day - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (days / 146_097 * 400 + year_of_era + u64::from(month <= 2), month, day)
}

/// Writes where a trainer's time goes: `framework/<host>.jsonl`, one object per line with `phase`, `start_us`,
/// `duration_us`, `step` and `count`.
///
/// Phases that follow each other are `scan`, `backbone`, `features`, `head`, `evaluate` and `package`, or a
/// script's own. `decode`, `preprocess` and `engine` are times summed over the workers inside `features`, one
/// line per interval. `step` is one step of the head.
#[derive(Debug)]
pub struct FrameworkWriter {
    path: PathBuf,
    file: BufWriter<File>,
    flushed_us: u64,
}

/// Lines reach the operating system at least this often in recorded time, so that rules can be judged live.
const FLUSH_US: u64 = 1_000_000;

impl FrameworkWriter {
    /// Opens the file of one instance; a recording that is there goes on.
    ///
    /// # Errors
    /// The file cannot be made, or the instance has a name that is no file name.
    pub fn create(folder: &Path, host: &str) -> Result<Self, WriteError> {
        if !is_file_name(host) {
            return Err(WriteError::Host(short(host)));
        }
        let folder = folder.join("framework");
        std::fs::create_dir_all(&folder).map_err(io(&folder))?;
        let path = folder.join(format!("{host}.jsonl"));
        let file = BufWriter::new(append(&path)?);
        Ok(Self { path, file, flushed_us: 0 })
    }

    /// Appends one piece of time: `start_us` is Unix time, `count` how many photos or rows it was for.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn record(
        &mut self,
        phase: &str,
        start_us: u64,
        duration_us: u64,
        step: Option<u64>,
        count: u64,
    ) -> Result<(), WriteError> {
        let phase = serde_json::Value::from(phase);
        let step = step.map_or(serde_json::Value::Null, serde_json::Value::from);
        writeln!(
            self.file,
            "{{\"phase\":{phase},\"start_us\":{start_us},\"duration_us\":{duration_us},\"step\":{step},\"count\":{count}}}"
        )
        .map_err(io(&self.path))?;
        let end = start_us.saturating_add(duration_us);
        if end >= self.flushed_us.saturating_add(FLUSH_US) {
            self.flushed_us = end;
            self.file.flush().map_err(io(&self.path))?;
        }
        Ok(())
    }

    /// Brings everything to the disk.
    ///
    /// # Errors
    /// The disk says no.
    pub fn finish(mut self) -> Result<(), WriteError> {
        self.file.flush().map_err(io(&self.path))?;
        self.file.get_ref().sync_data().map_err(io(&self.path))
    }
}

#[cfg(test)]
mod tests;

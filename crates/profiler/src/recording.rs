//! Reads what a run left. The files may be anybody's: sizes, counts and names are bounded, links are not
//! followed, and a line that is no line of ours is skipped and counted.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::metrics::Kind;

/// Most files of system metrics that are looked at: ten weeks of minutes.
const MOST_FILES: usize = 100_000;
/// Bytes that are read of all files together; of longer recordings every second, third … minute is read.
const MOST_BYTES: u64 = 512 << 20;
const MOST_FRAMEWORK_BYTES: u64 = 128 << 20;
const LONGEST_LINE: u64 = 16 << 10;
const LONGEST_NAME: usize = 128;
/// Most different things that are followed, and values kept of each; then neighbours become one.
const MOST_SERIES: usize = 4096;
const MOST_POINTS: usize = 32_768;
const MOST_ALL_POINTS: usize = 8 << 20;
/// Most pieces of time kept of one phase of one instance; sums go on counting.
const MOST_EVENTS: usize = 65_536;
/// Most names of phases, and most instances: rules look at each of one for each of the other.
const MOST_PHASES: usize = 128;
const MOST_HOSTS: usize = 256;

/// What a series is of.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(crate) host: String,
    pub(crate) kind: Kind,
    pub(crate) name: String,
    pub(crate) dimension: String,
}

/// The values of one thing over time, in order.
#[derive(Debug, Default, Clone)]
pub(crate) struct Series {
    /// Unix milliseconds and value.
    pub(crate) points: Vec<(u64, f64)>,
    /// Samples that there were, more than there are points where neighbours became one.
    pub(crate) samples: usize,
    /// Samples that one point stands for.
    stride: usize,
    pending: Vec<(u64, f64)>,
}

impl Series {
    fn push(&mut self, time: u64, value: f64) {
        self.samples += 1;
        self.pending.push((time, value));
        if self.pending.len() < self.stride.max(1) {
            return;
        }
        self.settle();
        if self.points.len() >= MOST_POINTS {
            self.points = self.points.chunks(2).filter_map(merge).collect();
            self.stride = self.stride.max(1) * 2;
        }
    }

    fn settle(&mut self) {
        self.points.extend(merge(&self.pending));
        self.pending.clear();
    }

    pub(crate) fn values(&self) -> impl Iterator<Item = f64> + '_ {
        self.points.iter().map(|point| point.1)
    }
}

/// One point in the place of some: the first's time, the mean value.
fn merge(points: &[(u64, f64)]) -> Option<(u64, f64)> {
    let first = points.first()?;
    Some((first.0, points.iter().map(|p| p.1).sum::<f64>() / points.len() as f64))
}

/// One piece of a trainer's time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) start_us: u64,
    pub(crate) duration_us: u64,
    pub(crate) step: Option<u64>,
}

impl Event {
    pub(crate) fn end_us(&self) -> u64 {
        self.start_us.saturating_add(self.duration_us)
    }
}

/// All of one phase on one instance.
#[derive(Debug, Default, Clone)]
pub(crate) struct Phase {
    pub(crate) total_us: u64,
    pub(crate) count: u64,
    pub(crate) times: u64,
    pub(crate) first_us: u64,
    pub(crate) last_us: u64,
    /// The first of its pieces, in order of their start.
    pub(crate) events: Vec<Event>,
}

/// Everything that a run left.
#[derive(Debug, Default)]
pub(crate) struct Recording {
    pub(crate) series: BTreeMap<Key, Series>,
    /// By instance and name.
    pub(crate) phases: BTreeMap<(String, String), Phase>,
    /// Lines that are not ours.
    pub(crate) skipped: u64,
    /// What was left out because there was too much of it.
    pub(crate) cut: bool,
    /// Every how many-th minute was read.
    pub(crate) every: usize,
    points: usize,
    hosts: BTreeSet<String>,
    names: BTreeSet<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct MetricLine<'a> {
    #[serde(borrow)]
    r#type: Cow<'a, str>,
    #[serde(borrow, default)]
    name: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    dimension: Option<Cow<'a, str>>,
    value: f64,
    #[serde(borrow)]
    node_id: Cow<'a, str>,
    timestamp: f64,
}

#[derive(Deserialize)]
struct EventLine<'a> {
    #[serde(borrow)]
    phase: Cow<'a, str>,
    start_us: u64,
    duration_us: u64,
    #[serde(default)]
    step: Option<u64>,
    #[serde(default)]
    count: u64,
}

/// Times beyond the year 9999 are nobody's.
const LATEST_S: f64 = 253_402_300_799.0;

impl Recording {
    /// Reads `system/incremental` and `framework` below `folder`; either may be missing.
    pub(crate) fn read(folder: &Path) -> std::io::Result<Self> {
        let mut recording = Self { every: 1, ..Self::default() };
        let mut files = Vec::new();
        let at = folder.join("system").join("incremental");
        for hour in entries(&at, &mut recording.cut)? {
            if hour.is_folder {
                let inside = entries(&hour.path, &mut recording.cut)?;
                files.extend(inside.into_iter().filter(|file| is_json(&file.path, "json")));
            } else if is_json(&hour.path, "json") {
                // Recordings of old have no folders of hours.
                files.push(hour);
            }
            if files.len() > MOST_FILES {
                files.truncate(MOST_FILES);
                recording.cut = true;
                break;
            }
        }
        files.retain(|file| !file.is_folder);
        files.sort_by(|a, b| a.path.file_name().cmp(&b.path.file_name()));
        let bytes: u64 = files.iter().map(|file| file.bytes).fold(0, u64::saturating_add);
        recording.every = usize::try_from(bytes.div_ceil(MOST_BYTES)).unwrap_or(1).max(1);
        let mut left = MOST_BYTES;
        for file in files.iter().step_by(recording.every) {
            recording.lines(&file.path, &mut left, |recording, line| recording.metric(line))?;
        }
        let mut left = MOST_FRAMEWORK_BYTES;
        for file in entries(&folder.join("framework"), &mut recording.cut)? {
            if file.is_folder || !is_json(&file.path, "jsonl") {
                continue;
            }
            let Some(host) = file.path.file_stem().and_then(|stem| stem.to_str()) else { continue };
            let host = host.to_owned();
            recording
                .lines(&file.path, &mut left, |recording, line| recording.event(&host, line))?;
        }
        for series in recording.series.values_mut() {
            series.settle();
            if !series.points.is_sorted_by_key(|point| point.0) {
                series.points.sort_by_key(|point| point.0);
            }
        }
        for phase in recording.phases.values_mut() {
            phase.events.sort_by_key(|event| event.start_us);
        }
        Ok(recording)
    }

    fn lines(
        &mut self,
        path: &Path,
        left: &mut u64,
        take: impl Fn(&mut Self, &[u8]) -> Option<()>,
    ) -> std::io::Result<()> {
        let file = match File::open(path) {
            Ok(file) => file,
            // A file that is taken away while the folder is read is not there.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        let mut reader = BufReader::with_capacity(1 << 16, file);
        let mut line = Vec::new();
        loop {
            line.clear();
            let length = (&mut reader).take(LONGEST_LINE).read_until(b'\n', &mut line)? as u64;
            if length == 0 {
                return Ok(());
            }
            if length > *left {
                self.cut = true;
                return Ok(());
            }
            *left -= length;
            if line.last() != Some(&b'\n') && length == LONGEST_LINE {
                // The rest of a line that is too long is no line either.
                self.skipped += 1;
                if !skip_line(&mut reader, left)? {
                    self.cut = true;
                    return Ok(());
                }
                continue;
            }
            if line.trim_ascii().is_empty() {
                continue;
            }
            if take(self, &line).is_none() {
                self.skipped += 1;
            }
        }
    }

    fn metric(&mut self, line: &[u8]) -> Option<()> {
        let line: MetricLine<'_> = serde_json::from_slice(line).ok()?;
        let kind = Kind::parse(&line.r#type)?;
        if !line.value.is_finite() || !(0.0..=LATEST_S).contains(&line.timestamp) {
            return None;
        }
        let name = line.name.unwrap_or_default().into_owned();
        let dimension = line.dimension.unwrap_or_default().into_owned();
        let host = line.node_id.into_owned();
        let long = |text: &String| text.len() > LONGEST_NAME;
        if long(&name) || long(&dimension) || long(&host) || host.is_empty() {
            return None;
        }
        let known = self.points < MOST_ALL_POINTS && enter(&mut self.hosts, &host, MOST_HOSTS);
        let key = Key { host, kind, name, dimension };
        if !known || self.series.len() >= MOST_SERIES && !self.series.contains_key(&key) {
            self.cut = true;
            return Some(());
        }
        let series = self.series.entry(key).or_default();
        let before = series.points.len();
        series.push((line.timestamp * 1000.0).round() as u64, line.value);
        self.points = self.points.saturating_sub(before) + series.points.len();
        Some(())
    }

    fn event(&mut self, host: &str, line: &[u8]) -> Option<()> {
        let line: EventLine<'_> = serde_json::from_slice(line).ok()?;
        let latest = LATEST_S as u64 * 1_000_000;
        if line.phase.is_empty()
            || line.phase.len() > LONGEST_NAME
            || host.len() > LONGEST_NAME
            || line.start_us > latest
            || line.duration_us > latest
        {
            return None;
        }
        let key = (host.to_owned(), line.phase.into_owned());
        if !enter(&mut self.hosts, &key.0, MOST_HOSTS)
            || !enter(&mut self.names, &key.1, MOST_PHASES)
        {
            self.cut = true;
            return Some(());
        }
        let event =
            Event { start_us: line.start_us, duration_us: line.duration_us, step: line.step };
        let phase = self.phases.entry(key).or_default();
        phase.first_us =
            if phase.times == 0 { event.start_us } else { phase.first_us.min(event.start_us) };
        phase.last_us = phase.last_us.max(event.end_us());
        phase.times += 1;
        phase.total_us = phase.total_us.saturating_add(event.duration_us);
        phase.count = phase.count.saturating_add(line.count);
        if phase.events.len() < MOST_EVENTS {
            phase.events.push(event);
        } else {
            self.cut = true;
        }
        Some(())
    }
}

/// Whether a name is among the first so many.
fn enter(names: &mut BTreeSet<String>, name: &str, most: usize) -> bool {
    names.contains(name) || names.len() < most && names.insert(name.to_owned())
}

/// Reads to the end of the line; whether it was found within the bytes that are left.
fn skip_line(reader: &mut BufReader<File>, left: &mut u64) -> std::io::Result<bool> {
    loop {
        let buffer = reader.fill_buf()?;
        if buffer.is_empty() {
            return Ok(true);
        }
        let end = buffer.iter().position(|b| *b == b'\n');
        let length = end.map_or(buffer.len(), |at| at + 1);
        reader.consume(length);
        if length as u64 > *left {
            return Ok(false);
        }
        *left -= length as u64;
        if end.is_some() {
            return Ok(true);
        }
    }
}

struct Entry {
    path: PathBuf,
    is_folder: bool,
    bytes: u64,
}

/// The plain files and folders of a folder in the order of their names; none where there is no folder.
fn entries(folder: &Path, cut: &mut bool) -> std::io::Result<Vec<Entry>> {
    // A link in the place of a folder leads anywhere.
    match std::fs::symlink_metadata(folder) {
        Ok(about) if about.is_dir() => {}
        Ok(_) => return Ok(Vec::new()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    }
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        // Neither links nor pipes nor devices: of those, reading may never end.
        let Ok(about) = entry.metadata() else { continue };
        if !about.is_dir() && !about.is_file() {
            continue;
        }
        if found.len() >= MOST_FILES {
            *cut = true;
            break;
        }
        found.push(Entry { path: entry.path(), is_folder: about.is_dir(), bytes: about.len() });
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(found)
}

fn is_json(path: &Path, extension: &str) -> bool {
    path.extension().is_some_and(|e| e == extension)
}

#[cfg(test)]
mod tests;

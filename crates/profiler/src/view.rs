//! Questions that rules and the report ask of a recording.

use std::collections::{BTreeMap, BTreeSet};

use crate::metrics::{CPU_USE, GPU_MEMORY, GPU_USE, INSTANCE_CPU, IO_WAIT, Kind};
use crate::recording::{Event, Key, Phase, Recording, Series};
use crate::stats;

/// Parts of computing features, whose times are summed over the workers.
pub(crate) const WORK: [&str; 3] = ["decode", "preprocess", "engine"];
/// Steps of the head.
const STEP: &str = "step";

/// Graphics processors that rules look at; they compare each with each.
const MOST_GPUS: usize = 256;

/// One graphics processor of one instance.
pub(crate) struct Gpu<'a> {
    pub(crate) host: &'a str,
    pub(crate) name: &'a str,
    pub(crate) used: &'a Series,
    pub(crate) memory: Option<&'a Series>,
}

/// Cores of one moment: how many were measured, and their use and waiting in percent, on average.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct CoreUse {
    pub(crate) cores: usize,
    pub(crate) samples: usize,
    pub(crate) busy: f64,
    pub(crate) waiting: f64,
}

impl Recording {
    /// Nothing was recorded at all.
    pub(crate) fn is_empty(&self) -> bool {
        self.series.is_empty() && self.phases.is_empty()
    }

    /// First and last time of anything, in Unix milliseconds.
    pub(crate) fn span_ms(&self) -> Option<(u64, u64)> {
        let points = self
            .series
            .values()
            .filter_map(|series| Some((series.points.first()?.0, series.points.last()?.0)));
        // Times that are summed over workers reach beyond the moment at which they ended.
        let phases = self
            .phases
            .iter()
            .filter(|((_, name), _)| !WORK.contains(&name.as_str()))
            .map(|(_, phase)| (phase.first_us / 1000, phase.last_us.div_ceil(1000)));
        points.chain(phases).reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)))
    }

    /// The instances, in order of their numbers.
    pub(crate) fn hosts(&self) -> Vec<&str> {
        let hosts: BTreeSet<&str> = self
            .series
            .keys()
            .map(|key| key.host.as_str())
            .chain(self.phases.keys().map(|key| key.0.as_str()))
            .collect();
        let mut hosts: Vec<&str> = hosts.into_iter().collect();
        hosts.sort_by_key(|host| (number(host), *host));
        hosts
    }

    /// Series of one kind and dimension, in order of the numbers in their names.
    pub(crate) fn of(&self, kind: Kind, dimension: &str) -> Vec<(&Key, &Series)> {
        let mut found: Vec<(&Key, &Series)> = self
            .series
            .iter()
            .filter(|(key, _)| key.kind == kind && key.dimension == dimension)
            .collect();
        found.sort_by_key(|(key, _)| {
            (number(&key.host), key.host.as_str(), number(&key.name), key.name.as_str())
        });
        found
    }

    /// One series.
    pub(crate) fn one(
        &self,
        host: &str,
        kind: Kind,
        name: &str,
        dimension: &str,
    ) -> Option<&Series> {
        self.series.get(&Key {
            host: host.to_owned(),
            kind,
            name: name.to_owned(),
            dimension: dimension.to_owned(),
        })
    }

    /// The graphics processors.
    pub(crate) fn gpus(&self) -> Vec<Gpu<'_>> {
        self.of(Kind::Gpu, GPU_USE)
            .into_iter()
            .take(MOST_GPUS)
            .map(|(key, used)| Gpu {
                host: &key.host,
                name: &key.name,
                used,
                memory: self.one(&key.host, Kind::Gpu, &key.name, GPU_MEMORY),
            })
            .collect()
    }

    /// Mean use over an instance's cores, sample by sample.
    pub(crate) fn mean_cpu(&self, host: &str) -> Vec<f64> {
        let mut sums: BTreeMap<u64, (f64, u32)> = BTreeMap::new();
        for (_, series) in self.of(Kind::Cpu, CPU_USE).iter().filter(|(key, _)| key.host == host) {
            for (time, value) in &series.points {
                let sum = sums.entry(*time).or_default();
                *sum = (sum.0 + value, sum.1 + 1);
            }
        }
        sums.values().map(|(sum, count)| sum / f64::from(*count)).collect()
    }

    /// One phase on every instance that had it.
    pub(crate) fn phase(&self, name: &str) -> Vec<(&str, &Phase)> {
        let mut found: Vec<(&str, &Phase)> = self
            .phases
            .iter()
            .filter(|(key, _)| key.1 == name)
            .map(|(key, phase)| (key.0.as_str(), phase))
            .collect();
        found.sort_by_key(|(host, _)| (number(host), *host));
        found
    }

    /// Microseconds of a phase over all instances.
    pub(crate) fn total_us(&self, name: &str) -> u64 {
        self.phase(name).iter().map(|(_, phase)| phase.total_us).fold(0, u64::saturating_add)
    }

    /// Names of the phases that follow each other, in order of their first start.
    pub(crate) fn outer_phases(&self) -> Vec<&str> {
        let mut first: BTreeMap<&str, u64> = BTreeMap::new();
        for ((_, name), phase) in &self.phases {
            if name != STEP && !WORK.contains(&name.as_str()) {
                let start = first.entry(name).or_insert(u64::MAX);
                *start = (*start).min(phase.first_us);
            }
        }
        let mut names: Vec<(&str, u64)> = first.into_iter().collect();
        names.sort_by_key(|(name, start)| (*start, *name));
        names.into_iter().map(|(name, _)| name).collect()
    }

    /// Use of the machine's cores while any of the pieces of time lasted.
    pub(crate) fn cores_during(&self, events: &[Event]) -> Option<CoreUse> {
        let busy = self.during(events, CPU_USE);
        let samples = busy.iter().map(Vec::len).max()?;
        Some(CoreUse {
            cores: busy.len(),
            samples,
            busy: stats::mean(&busy.concat()),
            waiting: stats::mean(&self.during(events, IO_WAIT).concat()),
        })
    }

    /// Use of the instances' threads while any of the pieces of time lasted, in percent on average.
    pub(crate) fn instances_during(&self, events: &[Event]) -> Option<f64> {
        let used = self.during(events, INSTANCE_CPU).concat();
        (!used.is_empty()).then(|| stats::mean(&used))
    }

    /// Values within the pieces of time, of each processor that has some.
    fn during(&self, events: &[Event], dimension: &str) -> Vec<Vec<f64>> {
        let mut spans: Vec<(u64, u64)> =
            events.iter().map(|e| (e.start_us / 1000, e.end_us() / 1000)).collect();
        spans.sort_unstable();
        let mut joined: Vec<(u64, u64)> = Vec::new();
        for span in spans {
            match joined.last_mut() {
                Some(last) if span.0 <= last.1 => last.1 = last.1.max(span.1),
                _ => joined.push(span),
            }
        }
        let inside = |time: u64| {
            let at = joined.partition_point(|span| span.0 <= time);
            at > 0 && time <= joined[at - 1].1
        };
        self.of(Kind::Cpu, dimension)
            .iter()
            .map(|(_, series)| series.points.iter().filter(|p| inside(p.0)).map(|p| p.1).collect())
            .filter(|values: &Vec<f64>| !values.is_empty())
            .collect()
    }
}

/// The number at the end of a name such as `algo-2` or `cpu10`, for sorting.
fn number(name: &str) -> u64 {
    let digits = name.len() - name.bytes().rev().take_while(u8::is_ascii_digit).count();
    name.get(digits..).and_then(|digits| digits.parse().ok()).unwrap_or(0)
}

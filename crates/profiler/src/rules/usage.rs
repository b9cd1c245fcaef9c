//! Summaries that never fire: what the machine did, and where the trainer's time went.

use serde_json::{Map, Value, json};

use super::{Finding, Parameters};
use crate::metrics::{GPU_MEMORY, GPU_USE, INSTANCE_CPU, IO_WAIT, Kind, MEMORY_PERCENT, PLATFORM};
use crate::recording::Recording;
use crate::stats::{self, Summary};

fn percentiles(summary: &Summary) -> Value {
    json!({
        "max": summary.max, "p99": summary.p99, "p95": summary.p95, "p50": summary.p50, "min": summary.min
    })
}

/// OverallSystemUsage: percentiles of everything by instance, under SageMaker's headings.
pub(super) fn system(
    recording: &Recording,
    _parameters: &mut Parameters<'_>,
) -> Result<Finding, String> {
    let mut details = Map::new();
    let samples = recording.series.values().map(|series| series.samples).max().unwrap_or(0);
    let mut line = Vec::new();
    for host in recording.hosts() {
        let mut put = |heading: &str, values: Vec<f64>| -> Option<Summary> {
            let summary = stats::summary(values.iter().copied())?;
            let hosts = details.entry(heading).or_insert_with(|| json!({}));
            if let Some(hosts) = hosts.as_object_mut() {
                hosts.insert(host.to_owned(), percentiles(&summary));
            }
            Some(summary)
        };
        let of = |kind: Kind, dimension: &str| -> Vec<f64> {
            recording
                .of(kind, dimension)
                .iter()
                .filter(|(key, _)| key.host == host)
                .flat_map(|(_, series)| series.values())
                .collect()
        };
        let named = |kind: Kind, name: &str, dimension: &str| -> Vec<f64> {
            recording.one(host, kind, name, dimension).map_or(Vec::new(), |s| s.values().collect())
        };
        put("CPU", recording.mean_cpu(host));
        put("I/O", of(Kind::Cpu, IO_WAIT));
        put("Network", of(Kind::Network, PLATFORM));
        put("GPU", of(Kind::Gpu, GPU_USE));
        put("GPU memory", of(Kind::Gpu, GPU_MEMORY));
        let memory = put("CPU memory", named(Kind::Memory, MEMORY_PERCENT, ""));
        if let Some(own) = put("CPU of the instance", named(Kind::Cpu, "cpu", INSTANCE_CPU)) {
            let memory = memory.map_or(String::new(), |m| format!(", memory up to {:.1} %", m.max));
            line.push(format!("{host} {:.0} %{memory}", own.mean));
        }
    }
    let means = if line.is_empty() {
        "no system metrics were recorded".to_owned()
    } else {
        // A long list is in the table of the report.
        line.truncate(8);
        format!("use of the instances' threads: {}", line.join("; "))
    };
    Ok(Finding::fine(means).counted(0, samples).with(details.into()))
}

/// OverallFrameworkMetrics: shares of the phases.
pub(super) fn framework(
    recording: &Recording,
    _parameters: &mut Parameters<'_>,
) -> Result<Finding, String> {
    let outer = recording.outer_phases();
    let total: u64 = outer.iter().map(|name| recording.total_us(name)).sum();
    if total == 0 {
        return Ok(Finding::fine("no framework metrics were recorded"));
    }
    let mut shares: Vec<(&str, f64)> = outer
        .into_iter()
        .map(|name| (name, recording.total_us(name) as f64 / total as f64 * 100.0))
        .collect();
    shares.sort_by(|a, b| b.1.total_cmp(&a.1));
    let phases: Map<String, Value> =
        shares.iter().map(|(name, share)| ((*name).to_owned(), json!(share))).collect();
    let words: Vec<String> =
        shares.iter().take(4).map(|(name, share)| format!("{name} {share:.0} %")).collect();
    let samples: u64 = recording.phases.values().map(|phase| phase.times).sum();
    Ok(Finding::fine(format!("time by phase: {}", words.join(", ")))
        .counted(0, usize::try_from(samples).unwrap_or(usize::MAX))
        .with(json!({"phase": phases})))
}

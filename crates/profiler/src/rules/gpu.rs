//! Rules about graphics processors. On a machine without one, none of them applies.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::{Finding, Parameters};
use crate::metrics::{CPU_USE, GPU_USE, IO_WAIT, Kind};
use crate::recording::{Recording, Series};
use crate::stats::{quantile, sorted};

/// Samples kept in mind and waited for; SageMaker's defaults.
const PATIENCE: u32 = 1000;
const WINDOW: u32 = 500;

/// The last values of a series, sorted.
fn window(series: &Series, length: usize) -> Vec<f64> {
    let from = series.points.len().saturating_sub(length);
    sorted(series.points.iter().skip(from).map(|point| point.1))
}

/// LowGPUUtilization: the 95th percentile is low, or it is high and the 5th is very low.
pub(super) fn low_utilization(
    recording: &Recording,
    parameters: &mut Parameters<'_>,
) -> Result<Finding, String> {
    let high = parameters.percent("threshold_p95", 70.0)?;
    let low = parameters.percent("threshold_p5", 10.0)?;
    let length = parameters.count("window", WINDOW)?;
    let patience = parameters.count("patience", PATIENCE)?;
    let gpus = recording.gpus();
    let Some(samples) = gpus.iter().map(|gpu| gpu.used.samples).max() else {
        return Ok(Finding::no_gpu());
    };
    if samples <= patience {
        return Ok(Finding::too_few(samples, patience));
    }
    let (mut idle, mut restless, mut details) = (Vec::new(), Vec::new(), Map::new());
    for gpu in gpus.iter().filter(|gpu| gpu.used.samples > patience) {
        let values = window(gpu.used, length);
        let (p5, p95) = (quantile(&values, 0.05), quantile(&values, 0.95));
        let name = format!("{} {}", gpu.host, gpu.name);
        details.insert(name.clone(), json!({"p05": p5, "p95": p95}));
        if p95 < high {
            idle.push(format!("{name} ({p95:.0} %)"));
        } else if p5 < low {
            restless.push(format!("{name} ({p5:.0} to {p95:.0} %)"));
        }
    }
    let violations = idle.len() + restless.len();
    let finding = if !idle.is_empty() {
        Finding::issue(
            format!("95 of 100 samples of GPU use stay below {high:.0} %: {}.", idle.join(", ")),
            "Use larger batches, or a smaller instance.",
        )
    } else if !restless.is_empty() {
        Finding::issue(
            format!("the GPU's use goes up and down: {}.", restless.join(", ")),
            "It waits for something between the steps, mostly for data: decode on more threads or store smaller \
             photos.",
        )
    } else {
        Finding::fine("the GPUs are busy")
    };
    Ok(finding.counted(violations, samples).with(details.into()))
}

/// BatchSize: cores, GPU and GPU memory all have room.
pub(super) fn batch_size(
    recording: &Recording,
    parameters: &mut Parameters<'_>,
) -> Result<Finding, String> {
    let cpu_limit = parameters.percent("cpu_threshold_p95", 70.0)?;
    let gpu_limit = parameters.percent("gpu_threshold_p95", 70.0)?;
    let memory_limit = parameters.percent("gpu_memory_threshold_p95", 70.0)?;
    let patience = parameters.count("patience", PATIENCE)?;
    let length = parameters.count("window", WINDOW)?;
    let gpus = recording.gpus();
    let Some(samples) = gpus.iter().map(|gpu| gpu.used.samples).max() else {
        return Ok(Finding::no_gpu());
    };
    // SageMaker waits for a whole window, too.
    let wanted = patience.max(length);
    if samples <= wanted {
        return Ok(Finding::too_few(samples, wanted));
    }
    let mut cpus: BTreeMap<&str, f64> = BTreeMap::new();
    let (mut roomy, mut details) = (Vec::new(), Map::new());
    for gpu in gpus.iter().filter(|gpu| gpu.used.samples > wanted) {
        let cpu = *cpus.entry(gpu.host).or_insert_with(|| {
            let values = recording.mean_cpu(gpu.host);
            let from = values.len().saturating_sub(length);
            quantile(&sorted(values.into_iter().skip(from)), 0.95)
        });
        let used = quantile(&window(gpu.used, length), 0.95);
        let memory = gpu.memory.map_or(0.0, |series| quantile(&window(series, length), 0.95));
        let name = format!("{} {}", gpu.host, gpu.name);
        details.insert(
            name.clone(),
            json!({"cpu_p95": cpu, "gpu_p95": used, "gpu_memory_p95": memory}),
        );
        if cpu < cpu_limit && used < gpu_limit && memory < memory_limit {
            roomy.push(format!(
                "{name} (GPU {used:.0} %, its memory {memory:.0} %, cores {cpu:.0} %)"
            ));
        }
    }
    let finding = if roomy.is_empty() {
        Finding::fine("the batches fill the GPU, its memory or the cores")
    } else {
        Finding::issue(
            format!("GPU, its memory and the cores all have room: {}.", roomy.join(", ")),
            "Use larger batches (`--batch-size`), or a smaller instance.",
        )
    };
    Ok(finding.counted(roomy.len(), samples).with(details.into()))
}

/// CPUBottleneck: moments in which a GPU has little to do while a core has too much.
pub(super) fn cpu_bottleneck(
    recording: &Recording,
    parameters: &mut Parameters<'_>,
) -> Result<Finding, String> {
    let threshold = parameters.percent("threshold", 50.0)?;
    let gpu = parameters.percent("gpu_threshold", 10.0)?;
    let cpu = parameters.percent("cpu_threshold", 90.0)?;
    let patience = parameters.count("patience", PATIENCE)?;
    let limits = Limits { threshold, gpu, patience, other: cpu, dimension: CPU_USE };
    Ok(bottleneck(recording, &limits, |share| {
        Finding::issue(
            format!(
                "in {share:.0} % of the samples a GPU is below {gpu:.0} % while a core is above {cpu:.0} %: the \
                 GPU waits for the cores."
            ),
            "Give decoding and preprocessing more threads (`--threads`), store smaller photos, or take an instance \
             with more cores.",
        )
    }))
}

/// IOBottleneck: moments in which a GPU has little to do while a core waits for disks.
pub(super) fn io_bottleneck(
    recording: &Recording,
    parameters: &mut Parameters<'_>,
) -> Result<Finding, String> {
    let threshold = parameters.percent("threshold", 50.0)?;
    let gpu = parameters.percent("gpu_threshold", 10.0)?;
    let waiting = parameters.percent("io_threshold", 50.0)?;
    let patience = parameters.count("patience", PATIENCE)?;
    let limits = Limits { threshold, gpu, patience, other: waiting, dimension: IO_WAIT };
    Ok(bottleneck(recording, &limits, |share| {
        Finding::issue(
            format!(
                "in {share:.0} % of the samples a GPU is below {gpu:.0} % while a core waits for disks more than \
                 {waiting:.0} % of its time."
            ),
            "Store smaller photos, keep them on a faster disk, or let the feature cache be filled once.",
        )
    }))
}

struct Limits {
    threshold: f64,
    gpu: f64,
    patience: usize,
    other: f64,
    dimension: &'static str,
}

fn bottleneck(
    recording: &Recording,
    limits: &Limits,
    issue: impl FnOnce(f64) -> Finding,
) -> Finding {
    let hosts = recording.hosts();
    let moments = |kind: Kind, dimension: &str, wanted: &dyn Fn(f64) -> bool| {
        let mut moments: BTreeSet<(usize, u64)> = BTreeSet::new();
        for (key, series) in recording.of(kind, dimension) {
            let host = hosts.iter().position(|host| *host == key.host).unwrap_or(0);
            let wanted = series.points.iter().filter(|point| wanted(point.1));
            // Threads that sample different things wake some milliseconds apart; one moment is 100 ms.
            moments.extend(wanted.map(|point| (host, (point.0 + 50) / 100)));
        }
        moments
    };
    let all = moments(Kind::Gpu, GPU_USE, &|_| true);
    if all.is_empty() {
        return Finding::no_gpu();
    }
    let samples = recording.gpus().iter().map(|gpu| gpu.used.samples).max().unwrap_or(0);
    if samples <= limits.patience {
        return Finding::too_few(samples, limits.patience);
    }
    let idle = moments(Kind::Gpu, GPU_USE, &|value| value < limits.gpu);
    let busy = moments(Kind::Cpu, limits.dimension, &|value| value > limits.other);
    let both = idle.intersection(&busy).count();
    let share = both as f64 / all.len() as f64 * 100.0;
    let finding = if share > limits.threshold {
        issue(share)
    } else {
        Finding::fine(format!(
            "{share:.0} % of the samples show it, {:.0} % would be too many",
            limits.threshold
        ))
    };
    finding
        .counted(both, all.len())
        .with(json!({"bottlenecks": both, "low_gpu_utilization": idle.len(), "share": share}))
}

/// GPUMemoryIncrease: the mean of one window lies far above that of the window before.
pub(super) fn memory_increase(
    recording: &Recording,
    parameters: &mut Parameters<'_>,
) -> Result<Finding, String> {
    let increase = parameters.percent("increase", 5.0)?;
    let patience = parameters.count("patience", PATIENCE)?;
    let length = parameters.count("window", 10)?.max(1);
    let gpus = recording.gpus();
    let memories: Vec<_> =
        gpus.iter().filter_map(|gpu| Some((gpu.host, gpu.name, gpu.memory?))).collect();
    let Some(samples) = memories.iter().map(|(_, _, series)| series.samples).max() else {
        return Ok(Finding::no_gpu());
    };
    if samples <= patience {
        return Ok(Finding::too_few(samples, patience));
    }
    let (mut rising, mut violations, mut details) = (Vec::new(), 0, Map::new());
    for (host, name, series) in memories {
        let values: Vec<f64> = series.values().collect();
        // What was taken while the run began is not looked at: it always rises from nothing.
        let begin = (patience * values.len() / series.samples.max(1)).saturating_sub(2 * length);
        // Sums up to each value: a window's mean then costs the same whatever its length.
        let mut sums = vec![0.0];
        for value in values.get(begin..).unwrap_or_default() {
            sums.push(sums.last().copied().unwrap_or(0.0) + value);
        }
        let mut steepest: f64 = 0.0;
        for edges in sums.windows(2 * length + 1) {
            let (first, middle, last) = (edges[0], edges[length], edges[2 * length]);
            let rise = (last - middle - (middle - first)) / length as f64;
            steepest = steepest.max(rise);
            violations += usize::from(rise > increase);
        }
        details.insert(format!("{host} {name}"), json!({"increase": steepest}));
        if steepest > increase {
            rising.push(format!("{host} {name} (by {steepest:.1} points)"));
        }
    }
    let finding = if rising.is_empty() {
        Finding::fine("GPU memory stays level")
    } else {
        Finding::issue(
            format!("GPU memory grows while the run goes on: {}.", rising.join(", ")),
            "Look for tensors that are kept from step to step, or for batches of different sizes; it may end without \
             memory.",
        )
    };
    Ok(finding.counted(violations, samples).with(details.into()))
}

/// LoadBalancing: the histograms of two GPUs' use are far apart (Jensen-Shannon distance, natural logarithm,
/// bins of two percent).
pub(super) fn load_balancing(
    recording: &Recording,
    parameters: &mut Parameters<'_>,
) -> Result<Finding, String> {
    let threshold = parameters.number("threshold", 0.5, 0.0, 100.0)?;
    let patience = parameters.count("patience", PATIENCE)?;
    let gpus = recording.gpus();
    let Some(samples) = gpus.iter().map(|gpu| gpu.used.samples).max() else {
        return Ok(Finding::no_gpu());
    };
    if gpus.len() < 2 {
        return Ok(Finding::fine("not applicable: one GPU"));
    }
    if samples <= patience {
        return Ok(Finding::too_few(samples, patience));
    }
    let shares: Vec<(String, Vec<f64>)> = gpus
        .iter()
        .filter(|gpu| gpu.used.samples > patience)
        .map(|gpu| (format!("{} {}", gpu.host, gpu.name), histogram(gpu.used)))
        .collect();
    let (mut worst, mut violations, mut distances) = (None, 0, Map::new());
    for (index, (name, share)) in shares.iter().enumerate() {
        for (other, theirs) in &shares[index + 1..] {
            let apart = distance(share, theirs);
            if apart > threshold {
                violations += 1;
                distances.insert(format!("{name}, {other}"), Value::from(apart));
                if worst.as_ref().is_none_or(|(far, _)| apart > *far) {
                    worst = Some((apart, format!("{name} and {other}")));
                }
            }
        }
    }
    let finding = match worst {
        None => Finding::fine("the GPUs have about the same to do"),
        Some((apart, pair)) => Finding::issue(
            format!(
                "the GPUs have different amounts to do: {pair} differ most (distance {apart:.2})."
            ),
            "Give each the same share of the data, or use fewer GPUs.",
        ),
    };
    Ok(finding.counted(violations, samples).with(json!({"distances": distances})))
}

fn histogram(series: &Series) -> Vec<f64> {
    let mut bins = vec![0.0; 50];
    for value in series.values() {
        bins[((value / 2.0).max(0.0) as usize).min(49)] += 1.0;
    }
    let all = series.points.len().max(1) as f64;
    bins.iter().map(|bin| bin / all).collect()
}

fn distance(a: &[f64], b: &[f64]) -> f64 {
    let entropy = |p: &[f64], q: &dyn Fn(usize) -> f64| -> f64 {
        p.iter().enumerate().filter(|(_, p)| **p > 0.0).map(|(i, p)| p * (p / q(i)).ln()).sum()
    };
    let middle = |i: usize| (a[i] + b[i]) / 2.0;
    ((entropy(a, &middle) + entropy(b, &middle)) / 2.0).max(0.0).sqrt()
}

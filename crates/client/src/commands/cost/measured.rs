//! What a job took here, as advice needs it: from the `metrics.json` of a local run, from a job of the
//! platform or of AWS, or from a time that is told.

use std::path::{Path, PathBuf};

use kennel_cost::{Catalogue, KnownModel, Measured, Need, Span, duration, model_of};
use serde_json::Value;

use crate::error::ClientError;

/// Largest `metrics.json` that is read.
const MAX_FILE: u64 = 64 << 20;

/// What the arguments say about the job.
#[derive(Debug, Default)]
pub(super) struct Told {
    pub model: Option<KnownModel>,
    pub photos: Option<f64>,
    pub epochs: f64,
    pub batch: f64,
    /// Python and its framework, as the course's script is.
    pub script: bool,
    pub cores: Option<f64>,
    pub core_speed: Option<f64>,
    pub memory_gib: Option<f64>,
    pub gpu_memory_gib: Option<f64>,
}

/// Speed of one core of this machine, in vCPUs of m5: a core is two of those, its neighbours may be busy, and
/// generations differ. Declared.
fn core_here(told: &Told) -> Span {
    if let Some(speed) = told.core_speed {
        return Span::new(speed * 0.9, speed, speed * 1.1);
    }
    #[cfg(target_arch = "x86_64")]
    {
        if std::arch::is_x86_feature_detected!("avx512f") {
            return Span::new(1.0, 1.6, 2.2);
        }
        if std::arch::is_x86_feature_detected!("avx2") {
            return Span::new(0.7, 1.1, 1.6);
        }
    }
    Span::new(0.5, 1.0, 1.6)
}

fn cores_here() -> f64 {
    std::thread::available_parallelism().map_or(1.0, |n| n.get() as f64)
}

/// Around a share, as far as it may be off.
fn share(low: f64, mid: f64, high: f64) -> Span {
    Span::new(low.clamp(0.0, 1.0), mid.clamp(0.0, 1.0), high.clamp(0.0, 1.0))
}

/// From a time that is told, or that a script took here.
pub(super) fn of_seconds(seconds: f64, told: &Told, what: &str) -> Measured {
    let cores = told.cores.unwrap_or_else(cores_here);
    Measured {
        seconds,
        cores,
        core: core_here(told),
        parallel: share(0.6, 0.85, 0.97),
        network: share(0.3, 0.65, 0.9),
        flop: arithmetic(told),
        what: format!("{what}, {} of this machine", plural(cores)),
    }
}

/// All photos through the network, once for each epoch.
fn arithmetic(told: &Told) -> Option<f64> {
    Some(told.model?.flop * told.photos? * told.epochs.max(1.0))
}

fn plural(cores: f64) -> String {
    if cores == 1.0 { "1 core".to_owned() } else { format!("{cores} cores") }
}

/// From the `metrics.json` of a run of `kennel train`, or the folder with it.
pub(super) fn of_metrics(path: &Path, told: &Told) -> Result<Measured, ClientError> {
    let path = match path.is_dir() {
        true => path.join("metrics.json"),
        false => path.to_owned(),
    };
    let wrong = |why: &str| {
        ClientError::Usage(format!(
            "`{}` cannot be used: {why}\nhint: give the metrics.json that `kennel train` writes beside its model",
            path.display()
        ))
    };
    let meta = std::fs::metadata(&path).map_err(ClientError::file("read", &path))?;
    if meta.len() > MAX_FILE {
        return Err(wrong("it is too large"));
    }
    let text = std::fs::read_to_string(&path).map_err(ClientError::file("read", &path))?;
    let value: Value = serde_json::from_str(&text).map_err(|error| wrong(&error.to_string()))?;
    metrics(&value, told, &path).map_err(|why| wrong(&why))
}

fn metrics(value: &Value, told: &Told, path: &Path) -> Result<Measured, String> {
    let number = |value: &Value| value.as_f64().filter(|n| n.is_finite() && *n >= 0.0);
    let seconds = &value["seconds"];
    let total = number(&seconds["total"]).filter(|t| *t > 0.0).ok_or("no `seconds.total`")?;
    let features = &value["features"];
    let computed = number(&features["computed"]).unwrap_or(0.0);
    if computed == 0.0 {
        return Err(
            "its features came from the cache, so that the network's work is not in its time; a run with an empty cache (`KENNEL_CACHE=/some/empty/folder kennel train …`) measures it"
                .to_owned(),
        );
    }
    let part = |name: &str| number(&features[name]).unwrap_or(0.0);
    let (engine, around) =
        (part("seconds_engine"), part("seconds_decode") + part("seconds_preprocess"));
    let of_total = |name: &str| number(&seconds[name]).unwrap_or(0.0) / total;
    let (extraction, head) = (of_total("features"), of_total("head"));
    let of_network = match engine + around > 0.0 {
        true => extraction * engine / (engine + around),
        false => extraction * 0.7,
    };
    let cores = told.cores.unwrap_or_else(cores_here);
    Ok(Measured {
        seconds: total,
        cores,
        core: core_here(told),
        // All cores work on features; the head's training is small steps, which spread less.
        parallel: share(extraction * 0.9, extraction + head * 0.5, extraction + head),
        network: share(of_network * 0.9, of_network, of_network * 1.05),
        flop: told.model.map(|model| model.flop * computed),
        what: format!(
            "{} photos with Kennel's own trainer, {} of this machine, {}",
            computed,
            plural(cores),
            path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default(),
        ),
    })
}

/// From DescribeTrainingJob's answer. A job of AWS ran on its type, one of the platform on this machine.
pub(super) fn of_job(
    job: &Value,
    catalogue: &Catalogue,
    on_aws: bool,
    told: &Told,
) -> Result<Measured, ClientError> {
    let name = job["TrainingJobName"].as_str().unwrap_or_default();
    let billable = job["BillableTimeInSeconds"].as_f64().filter(|s| *s > 0.0).ok_or_else(|| {
        ClientError::Usage(format!(
            "job `{name}` has not ended, so that its time is not known\nhint: `kennel job wait {name}`"
        ))
    })?;
    let resources = &job["ResourceConfig"];
    let kind = resources["InstanceType"].as_str().unwrap_or_default();
    let count = resources["InstanceCount"].as_f64().unwrap_or(1.0).max(1.0);
    let found = catalogue.instance(kind);
    if on_aws {
        let Some((found, family)) = found.and_then(|f| Some((f, catalogue.family(f)?))) else {
            return Err(ClientError::Usage(format!(
                "job `{name}` ran on `{kind}`, which the catalogue does not know\nhint: say its time with --seconds and its processors with --cores"
            )));
        };
        if found.gpus > 0 {
            return Err(ClientError::NotImplemented(format!(
                "job `{name}` ran on `{kind}`: advice from the time of a GPU is not implemented\nhint: give the time of a run without one, with --seconds and --cores"
            )));
        }
        let cores = f64::from(found.vcpus) * count;
        let spread = family.core * family.spread;
        return Ok(Measured {
            seconds: billable,
            cores,
            core: Span::new(family.core - spread, family.core, family.core + spread),
            parallel: share(0.6, 0.85, 0.97),
            network: share(0.3, 0.65, 0.9),
            flop: arithmetic(told),
            what: format!("job {name} on {count} × {kind} at AWS"),
        });
    }
    // Here an instance gets the type's processors where the machine has them; several share the machine.
    let of_type = found.map_or(f64::INFINITY, |f| f64::from(f.vcpus)) * count;
    let cores = told.cores.unwrap_or_else(|| of_type.min(cores_here()));
    Ok(Measured {
        cores,
        what: format!("job {name} as {count} × {kind}, {} of this machine", plural(cores)),
        ..of_seconds(billable, told, "")
    })
}

/// Whether a job is a script of the user's, and not Kennel's own trainer.
pub(super) fn is_script(job: &Value) -> bool {
    job["HyperParameters"]["sagemaker_program"].is_string()
}

/// What a job needs of memory: told, or from the network and the batch.
pub(super) fn need(told: &Told) -> Need {
    let framework = if told.script { 2.5 } else { 1.0 };
    let (memory, gpu, why) = match told.model {
        Some(model) => {
            // Frozen, but a script may also keep gradients and the optimiser's two moments.
            let copies = if told.script { 4.0 } else { 2.0 };
            let network = (model.weights_mb * copies + model.activations_mb * told.batch) / 1024.0;
            let why = format!(
                "{} with batches of {} and {framework} GiB for program and data",
                model.name, told.batch
            );
            (framework + network, 1.0 + network, why)
        }
        None => {
            let why = "assumed: the network is not named".to_owned();
            (framework + 1.0, 2.0, why)
        }
    };
    match (told.memory_gib, told.gpu_memory_gib) {
        (None, None) => Need { memory_gib: memory, gpu_memory_gib: gpu, why },
        (of, on_gpu) => Need {
            memory_gib: of.unwrap_or(memory),
            gpu_memory_gib: on_gpu.unwrap_or(gpu),
            why: "as told".to_owned(),
        },
    }
}

/// A network by its name.
pub(super) fn named(name: &str) -> Result<KnownModel, String> {
    model_of(name).ok_or_else(|| {
        let known: Vec<&str> = kennel_cost::known_models().iter().map(|m| m.name).collect();
        format!("the arithmetic of `{name}` is not known; known are {}", known.join(", "))
    })
}

/// Where a job's time comes from.
#[derive(Debug)]
pub(super) enum Source {
    Job(Box<Value>),
    Metrics(PathBuf),
    Seconds(f64),
}

/// Words for a repeated or scaled job.
pub(super) fn times_said(times: f64) -> Option<String> {
    (times != 1.0).then(|| format!("the measured work is done {times} times"))
}

/// Words for what is around the work.
pub(super) fn overhead_said(overhead: &Span) -> String {
    format!(
        "{} to {} of billed time around the work are assumed: image, data and model go to and fro",
        duration(overhead.low),
        duration(overhead.high)
    )
}

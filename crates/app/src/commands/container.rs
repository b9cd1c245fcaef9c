//! SageMaker's container contract: `train` and `serve` with no arguments where `/opt/ml` is (or
//! wherever KENNEL_ML_ROOT says). The layout is that of AWS's documentation, "How Amazon SageMaker
//! Provides Training Information" and "Use Your Own Inference Code with Hosting Services":
//! <https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-training-algo-running-container.html>.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use kennel_base::{Hyperparameters, TrainOptions};
use kennel_infer::hub;
use kennel_infer::pipeline::PipelineOptions;
use kennel_train::collective::World;
use kennel_train::dataset::{Dataset, Split, SplitOptions};
use kennel_train::job::{self, JobOptions, JobResult, Join, Observe, Photos};

use crate::{output, signals};

/// SageMaker shows the first 1,024 characters of the failure file.
const FAILURE_CHARACTERS: usize = 1024;

/// Hyperparameters of SageMaker's built-in image classifier that mean nothing for a frozen backbone;
/// accepted, so that a definition moves over unchanged, and said to be without effect.
const WITHOUT_EFFECT: &[&str] = &[
    "num_layers",
    "num_training_samples",
    "image_shape",
    "use_pretrained_model",
    "use_weighted_loss",
    "checkpoint_frequency",
    "momentum",
    "eps",
    "gamma",
    "beta_1",
    "beta_2",
    "kv_store",
    "lr_scheduler_factor",
    "lr_scheduler_step",
    "multi_label",
    "precision_dtype",
    "resize",
    "top_k",
    "augmentation_type",
    "early_stopping_min_epochs",
    "early_stopping_tolerance",
];

/// The root of the contract, where there is one.
pub(crate) fn root() -> Option<PathBuf> {
    match std::env::var_os("KENNEL_ML_ROOT").filter(|v| !v.is_empty()) {
        Some(root) => Some(PathBuf::from(root)),
        None => Some(PathBuf::from("/opt/ml")).filter(|p| p.is_dir()),
    }
}

/// The model that a hosting container finds.
pub(crate) fn model_folder() -> Option<PathBuf> {
    root().map(|root| root.join("model"))
}

/// Trains by the contract. A failure is also written to `output/failure`.
pub(crate) fn train(pipeline: PipelineOptions) -> anyhow::Result<()> {
    let root = root().ok_or_else(|| {
        output::usage(
            "no folder of photos was given, and there is no /opt/ml\nhint: `kennel train DIR --output model.tar.gz`",
        )
    })?;
    let outcome = train_below(&root, pipeline);
    if let Err(error) = &outcome {
        write_failure(&root, error);
    }
    outcome
}

fn write_failure(root: &Path, error: &anyhow::Error) {
    if super::train::is_interruption(error) {
        return;
    }
    let text: String = format!("{error:#}").chars().take(FAILURE_CHARACTERS).collect();
    let folder = root.join("output");
    let written = std::fs::create_dir_all(&folder)
        .and_then(|()| std::fs::write(folder.join("failure"), text));
    if let Err(e) = written {
        tracing::warn!("cannot write `{}`: {e}", folder.join("failure").display());
    }
}

/// This instance among those of the job: its number from 0, and how many there are.
fn place(root: &Path) -> anyhow::Result<(usize, usize)> {
    #[derive(serde::Deserialize)]
    struct Resources {
        current_host: String,
        hosts: Vec<String>,
    }
    let path = root.join("input/config/resourceconfig.json");
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok((0, 1)),
        Err(e) => return Err(e).with_context(|| format!("cannot read `{}`", path.display())),
    };
    let resources: Resources = serde_json::from_str(&text)
        .with_context(|| format!("`{}` is no resource configuration", path.display()))?;
    let mut hosts = resources.hosts;
    hosts.sort();
    let rank = hosts.iter().position(|host| *host == resources.current_host);
    let Some(rank) = rank else {
        return Err(output::usage(format!(
            "`{}` is not among the hosts of `{}`",
            resources.current_host,
            path.display()
        )));
    };
    Ok((rank, hosts.len()))
}

/// Where the platform lets the instances of a job meet.
const JOIN: &str = "KENNEL_JOIN";

/// Trains with the other instances of the job, if there are any; the first keeps what comes out.
fn train_with_others(
    root: &Path,
    options: JobOptions,
    keep: impl FnOnce(&JobResult) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let stop = signals::stop_flag()?;
    let (rank, size) = place(root)?;
    if size == 1 || World::is_launched() {
        let failed = |error: &anyhow::Error| write_failure(root, error);
        return super::train::run_together(options, None, &stop, &failed, keep);
    }
    let Some(folder) = std::env::var_os(JOIN).filter(|v| !v.is_empty()) else {
        // As many separate models would be trained as there are instances.
        return Err(output::usage(format!(
            "this is instance {} of {size}, and nothing joins them\nhint: start them with MPI (`mpirun`, as SageMaker's `distribution={{\"mpi\": …}}` does), or ask for one instance",
            rank + 1
        )));
    };
    let join = Join { folder: folder.into(), rank, size };
    let mut progress = super::train::JobProgress::default();
    let result = job::run_joined(&join, &options, &stop, &mut |event| progress.tell(event))?;
    drop(progress);
    result.as_ref().map_or(Ok(()), keep)
}

fn train_below(root: &Path, pipeline: PipelineOptions) -> anyhow::Result<()> {
    let hyperparameters = read_hyperparameters(&root.join("input/config/hyperparameters.json"))?;
    let request = Request::parse(hyperparameters)?;
    let channels = channels(&root.join("input/data"))?;
    let checkpoints = root.join("checkpoints");
    let (cache, fallback) = super::cache_folders();
    let options = JobOptions {
        photos: photos(&channels)?,
        backbone: request.backbone.clone(),
        open: Default::default(),
        split: SplitOptions { seed: request.train.seed, ..SplitOptions::default() },
        train: request.train.clone(),
        pipeline,
        max_bad: request.max_bad,
        cache,
        // Managed spot training brings this folder back after an interruption.
        checkpoints: if checkpoints.is_dir() { checkpoints } else { fallback },
        observe: observe(root)?,
    };
    if let Some(wanted) = request.num_classes
        && place(root)?.1 == 1
    {
        // Before an hour of training, not after it. (One of several instances may have some classes only.)
        let found = match &options.photos {
            Photos::Folder(folder) => Dataset::scan(folder, &options.split)?,
            Photos::Splits(splits) => Dataset::from_splits(root, splits, &options.split)?,
        };
        if found.classes.len() != wanted {
            return Err(output::usage(format!(
                "num_classes is {wanted}, the channels hold {} classes\nhint: correct the hyperparameter or the data",
                found.classes.len()
            )));
        }
    }
    train_with_others(root, options, |result| {
        result.package.write_folder(&root.join("model"))?;
        let data = root.join("output/data");
        std::fs::create_dir_all(&data)
            .with_context(|| format!("cannot make `{}`", data.display()))?;
        super::train::write_outputs(result, &data.join("metrics.json"), &data.join("report.html"))?;
        super::train::summary(result);
        Ok(())
    })
}

/// Debugger and profiler, by the files that SageMaker puts beside the hyperparameters.
fn observe(root: &Path) -> anyhow::Result<Option<Observe>> {
    let read = |name: &str| -> anyhow::Result<Option<serde_json::Value>> {
        let path = root.join("input/config").join(name);
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(e).with_context(|| format!("cannot read `{}`", path.display())),
        };
        let parsed = serde_json::from_str(&text)
            .with_context(|| format!("`{}` is not JSON", path.display()))?;
        Ok(Some(parsed))
    };
    let hook = read("debughookconfig.json")?;
    let profiler = read("profilerconfig.json")?;
    if hook.is_none() && profiler.is_none() {
        return Ok(None);
    }
    let host = read("resourceconfig.json")?
        .and_then(|resources| Some(resources.get("current_host")?.as_str()?.to_owned()))
        .unwrap_or_else(|| "algo-1".to_owned());
    // SageMaker's defaults of LocalPath, below this instance's root.
    Ok(Some(Observe {
        host,
        tensors: hook.map(|hook| (hook, root.join("output/tensors"))),
        profiler: profiler.map(|_| root.join("output/profiler")),
        now_us: super::now_us(),
    }))
}

/// All values are strings; the SDK's framework estimators put JSON into them (`"\"adam\""`).
fn read_hyperparameters(path: &Path) -> anyhow::Result<Hyperparameters> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(e) => return Err(e).with_context(|| format!("cannot read `{}`", path.display())),
    };
    let parsed: BTreeMap<String, serde_json::Value> = serde_json::from_str(&text).map_err(|e| {
        output::usage(format!(
            "`{}` is not a JSON object of strings: {e}\nhint: SageMaker writes {{\"epochs\": \"5\"}}",
            path.display()
        ))
    })?;
    let text_of = |value: serde_json::Value| match value {
        serde_json::Value::String(text) => serde_json::from_str::<String>(&text).unwrap_or(text),
        other => other.to_string(),
    };
    Ok(parsed.into_iter().map(|(name, value)| (name, text_of(value))).collect())
}

#[derive(Debug, Clone, PartialEq)]
struct Request {
    train: TrainOptions,
    backbone: String,
    max_bad: f64,
    num_classes: Option<usize>,
}

impl Request {
    fn parse(hyperparameters: Hyperparameters) -> anyhow::Result<Request> {
        let mut request = Request {
            train: TrainOptions::default(),
            backbone: hub::BUILTIN.to_owned(),
            max_bad: 0.05,
            num_classes: None,
        };
        for (name, value) in &hyperparameters {
            let bad = |what: &str| {
                output::usage(format!(
                    "hyperparameter `{name}` cannot be `{value}`\nhint: it is {what}"
                ))
            };
            match name.replace('-', "_").as_str() {
                "backbone" => request.backbone.clone_from(value),
                "max_bad" => {
                    request.max_bad = value.parse().map_err(|_| bad("a share such as 0.05"))?;
                }
                "num_classes" => {
                    request.num_classes =
                        Some(value.parse().map_err(|_| bad("a number of classes"))?);
                }
                // What the SDK and a tuning job add for themselves.
                internal
                    if internal.starts_with("sagemaker_")
                        || internal == "_tuning_objective_metric" => {}
                known if WITHOUT_EFFECT.contains(&known) => {
                    tracing::warn!("hyperparameter `{name}` has no effect on a frozen backbone");
                }
                _ => request.train.set(name, value)?,
            }
        }
        Ok(request)
    }
}

/// The channels' folders by name.
fn channels(folder: &Path) -> anyhow::Result<BTreeMap<String, PathBuf>> {
    let mut found = BTreeMap::new();
    let entries = std::fs::read_dir(folder)
        .with_context(|| format!("cannot read the channels in `{}`", folder.display()))?;
    for entry in entries {
        let entry = entry?;
        if entry.path().is_dir() {
            found.insert(entry.file_name().to_string_lossy().into_owned(), entry.path());
        }
    }
    Ok(found)
}

/// One channel with everything, or a channel per split.
fn photos(channels: &BTreeMap<String, PathBuf>) -> anyhow::Result<Photos> {
    let pick = |names: &[&str]| names.iter().find_map(|name| channels.get(*name)).cloned();
    let valid = pick(&["validation", "valid", "val"]);
    let test = pick(&["test"]);
    let train = pick(&["train", "training"]);
    match (train, &valid, &test, channels.len()) {
        (Some(train), None, None, _) => Ok(Photos::Folder(train)),
        (Some(train), _, _, _) => {
            let splits = [(Split::Train, Some(train)), (Split::Valid, valid), (Split::Test, test)];
            Ok(Photos::Splits(splits.into_iter().filter_map(|(s, p)| Some((s, p?))).collect()))
        }
        (None, _, _, 1) => {
            Ok(Photos::Folder(channels.values().next().cloned().unwrap_or_default()))
        }
        _ => Err(output::usage(format!(
            "no channel is called `train` or `training` (there are: {})\nhint: name the channels train, validation and test",
            channels.keys().cloned().collect::<Vec<_>>().join(", ")
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(pairs: &[(&str, &str)]) -> anyhow::Result<Request> {
        Request::parse(pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect())
    }

    #[test]
    fn sagemakers_own_names_are_accepted() {
        let request = parse(&[
            ("epochs", "3"),
            ("learning_rate", "0.01"),
            ("mini_batch_size", "16"),
            ("num_classes", "8"),
            ("use_pretrained_model", "1"),
            ("optimizer", "sgd"),
            ("early_stopping", "true"),
            ("sagemaker_region", "us-east-1"),
        ])
        .unwrap();
        assert_eq!(request.train.epochs, 3);
        assert_eq!(request.train.batch_size, 16);
        assert_eq!(request.num_classes, Some(8));
        assert!(parse(&[("epochz", "3")]).is_err());
        assert!(parse(&[("epochs", "three")]).is_err());
    }

    #[test]
    fn channels_become_splits_or_one_folder() {
        let folder = |name: &str| (name.to_owned(), PathBuf::from(format!("/d/{name}")));
        let of = |names: &[&str]| photos(&names.iter().map(|n| folder(n)).collect());
        assert_eq!(of(&["training"]).unwrap(), Photos::Folder("/d/training".into()));
        assert_eq!(of(&["images"]).unwrap(), Photos::Folder("/d/images".into()));
        assert_eq!(
            of(&["train", "validation"]).unwrap(),
            Photos::Splits(vec![
                (Split::Train, "/d/train".into()),
                (Split::Valid, "/d/validation".into())
            ])
        );
        assert!(of(&["a", "b"]).is_err());
    }
}

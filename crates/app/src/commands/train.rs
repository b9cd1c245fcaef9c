//! `kennel train`: a folder of photos in, model.tar.gz, metrics.json and report.html out. Without a
//! folder, inside a SageMaker training container, the container's contract is followed.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use clap::Args;
use kennel_base::{ErrorCode, TrainOptions};
use kennel_infer::hub;
use kennel_infer::package::write_aside;
use kennel_train::collective::World;
use kennel_train::dataset::Split;
use kennel_train::job::{self, JobEvent, JobOptions, JobResult, Photos};

use super::data::SplitArguments;
use super::hub::OpenArguments;
use super::instances::{self, InstanceArguments, Role};
use super::{EngineArguments, cache_folders, container};
use crate::output::{self, Progress, line};
use crate::signals;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// DIR/{train,valid,test}/<class>/* or DIR/<class>/*; without it the SageMaker training contract
    /// below /opt/ml (or KENNEL_ML_ROOT) is followed
    dir: Option<PathBuf>,
    /// Backbone by name (see `kennel hub list`) or path of an ONNX file
    #[arg(long, value_name = "NAME|FILE", default_value = hub::BUILTIN)]
    backbone: String,
    /// Where the model goes; metrics.json and report.html go beside it
    #[arg(long, short, value_name = "FILE", default_value = "model.tar.gz")]
    output: PathBuf,
    #[command(flatten, next_help_heading = "Training")]
    head: HeadArguments,
    /// Share of photos that may be unreadable; they are skipped and counted
    #[arg(long, value_name = "SHARE", default_value_t = 0.05, help_heading = "Data")]
    max_bad: f64,
    #[command(flatten, next_help_heading = "Data")]
    split: SplitArguments,
    #[command(flatten, next_help_heading = "Backbone")]
    open: OpenArguments,
    #[command(flatten, next_help_heading = "Engine")]
    engine: EngineArguments,
    #[command(flatten, next_help_heading = "Instances")]
    team: InstanceArguments,
}

/// The options of the head; `kennel tune` has them too.
#[derive(Debug, Args)]
pub(crate) struct HeadArguments {
    /// Head: linear or mlp:UNITS [default: linear]
    #[arg(long, value_name = "KIND")]
    head: Option<String>,
    /// Optimiser: adam, adamw or sgd [default: adamw]
    #[arg(long, value_name = "NAME")]
    optimizer: Option<String>,
    /// Peak learning rate [default: 0.0005 from a warm start, else 0.002]
    #[arg(long, value_name = "RATE")]
    learning_rate: Option<String>,
    /// Schedule: constant, cosine or one-cycle [default: one-cycle]
    #[arg(long, value_name = "NAME")]
    schedule: Option<String>,
    /// Photos per optimiser step [default: 64]
    #[arg(long, value_name = "N")]
    batch_size: Option<String>,
    /// Passes over the training photos [default: for about 1,500 steps, 15 to 100]
    #[arg(long, value_name = "N")]
    epochs: Option<String>,
    /// Weight decay [default: 0.01]
    #[arg(long, value_name = "RATE")]
    weight_decay: Option<String>,
    /// Share of the target spread over all classes [default: 0]
    #[arg(long, value_name = "SHARE")]
    label_smoothing: Option<String>,
    /// Dropout before the last layer
    #[arg(long, value_name = "SHARE")]
    dropout: Option<String>,
    /// Stop after this many epochs without a lower validation loss; 0 never [default: 5]
    #[arg(long, value_name = "EPOCHS")]
    early_stopping: Option<String>,
    /// Weigh rare classes more in the loss
    #[arg(long)]
    class_weights: bool,
    /// Views beyond the centre crop: none, flip or crop [default: none]
    #[arg(long, value_name = "KIND")]
    augmentation: Option<String>,
    /// Cached views per training photo, the centre crop included
    #[arg(long, value_name = "V")]
    views: Option<String>,
    /// Start a linear head from the backbone's own classifier where it knows the classes [default: true]
    #[arg(long, value_name = "BOOL")]
    warm_start: Option<String>,
    /// Seed of every random choice [default: 42]
    #[arg(long, value_name = "N")]
    seed: Option<String>,
}

impl HeadArguments {
    /// The options that were given, by their hyperparameters' names.
    pub(crate) fn given(&self) -> Vec<(String, String)> {
        let all = [
            ("head", &self.head),
            ("optimizer", &self.optimizer),
            ("learning_rate", &self.learning_rate),
            ("schedule", &self.schedule),
            ("batch_size", &self.batch_size),
            ("epochs", &self.epochs),
            ("weight_decay", &self.weight_decay),
            ("label_smoothing", &self.label_smoothing),
            ("dropout", &self.dropout),
            ("early_stopping", &self.early_stopping),
            ("augmentation", &self.augmentation),
            ("views", &self.views),
            ("warm_start", &self.warm_start),
            ("seed", &self.seed),
        ];
        let mut given: Vec<(String, String)> = all
            .into_iter()
            .filter_map(|(name, value)| Some((name.to_owned(), value.clone()?)))
            .collect();
        if self.class_weights {
            given.push(("class_weights".to_owned(), "true".to_owned()));
        }
        given
    }

    pub(crate) fn options(&self) -> anyhow::Result<TrainOptions> {
        let mut options = TrainOptions::default();
        for (name, value) in self.given() {
            options.set(&name, &value)?;
        }
        Ok(options)
    }
}

pub(crate) fn run(arguments: Arguments) -> anyhow::Result<()> {
    let Some(dir) = arguments.dir.clone() else {
        return container::train(arguments.engine.pipeline());
    };
    check_output(&arguments.output)?;
    let (cache, checkpoints) = cache_folders();
    let mut options = JobOptions {
        photos: Photos::Folder(dir),
        backbone: arguments.backbone.clone(),
        open: arguments.open.options(),
        split: arguments.split.options()?,
        train: arguments.head.options()?,
        pipeline: arguments.engine.pipeline(),
        max_bad: arguments.max_bad,
        cache,
        checkpoints,
        observe: None,
    };
    let stop = signals::stop_flag()?;
    let mut asked = arguments.team.instances;
    match arguments.team.role()? {
        Role::Share { rank, size } => {
            options.pipeline.workers = instances::workers(options.pipeline.workers, rank, size);
            return instances::share(&options, rank, size, &stop);
        }
        Role::Parent(size) => {
            if instances::start(&arguments.team, size, &stop)?.is_some() {
                return Ok(());
            }
            // The features are there; this process trains the head.
            asked = None;
        }
        Role::Trainer => {}
    }
    let output = &arguments.output;
    run_together(options, asked, &stop, &|_| {}, |result| {
        save(result, output)?;
        summary(result);
        for path in [output, &metrics_path(output), &report_path(output)] {
            line(format!("wrote {}", path.display()));
        }
        Ok(())
    })
}

/// Runs a job alone or as one of the instances that a launcher started; the first keeps what comes out. `failed`
/// hears of an error of one of several before all of them end with it.
pub(crate) fn run_together(
    mut options: JobOptions,
    asked: Option<usize>,
    stop: &Arc<AtomicBool>,
    failed: &dyn Fn(&anyhow::Error),
    keep: impl FnOnce(&JobResult) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let world = World::from_environment(asked)?;
    instances::stop_with_parent(stop);
    if world.collective().size() > 1 {
        let (rank, size) = World::local();
        options.pipeline.workers = instances::workers(options.pipeline.workers, rank, size);
    }
    let report = |error: &anyhow::Error| {
        output::error(error);
        failed(error);
        i32::from(crate::code_of(error).exit_code())
    };
    world.run(report, |collective| {
        let (rank, size) = (collective.rank(), collective.size());
        let mut progress = JobProgress::default();
        if rank == 0 && size > 1 {
            tracing::info!("{size} instances train one model over MPI");
        }
        let result = job::run_on(collective, &options, stop, &mut |event| {
            // What the first says holds for all.
            if rank == 0 {
                progress.tell(event);
            }
        })?;
        result.as_ref().map_or(Ok(()), keep)
    })
}

/// A typing mistake in `--output` should not cost a training run.
fn check_output(output: &Path) -> anyhow::Result<()> {
    let folder = match output.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    if output.is_dir() {
        return Err(output::usage(format!(
            "`{}` is a folder\nhint: name the file, as in `--output {}`",
            output.display(),
            output.join("model.tar.gz").display()
        )));
    }
    if !folder.is_dir() {
        return Err(output::usage(format!(
            "the folder `{}` does not exist\nhint: make it first, or correct `--output`",
            folder.display()
        )));
    }
    Ok(())
}

/// What a job tells, on stderr: a bar for the features, a line for everything else. The epoch lines are what
/// metric definitions read.
#[derive(Default)]
pub(crate) struct JobProgress {
    bar: Option<Progress>,
}

impl JobProgress {
    pub(crate) fn tell(&mut self, event: JobEvent) {
        match event {
            JobEvent::Note(text) => tracing::info!("{text}"),
            JobEvent::Warning(text) => tracing::warn!("{text}"),
            JobEvent::Extracting { total: 0, .. } => {}
            JobEvent::Extracting { done, total } => {
                let bar = self.bar.get_or_insert_with(|| Progress::start("features", total));
                bar.grow(total);
                bar.set(done);
                if done == total
                    && let Some(bar) = self.bar.take()
                {
                    bar.finish();
                }
            }
            JobEvent::Epoch { epoch, epochs } => {
                let valid = match (epoch.valid_loss, epoch.valid_accuracy) {
                    (Some(loss), Some(accuracy)) => {
                        format!(" valid_loss={loss:.4} valid_accuracy={accuracy:.4}")
                    }
                    _ => String::new(),
                };
                tracing::info!(
                    "epoch={}/{epochs} train_loss={:.4} train_accuracy={:.4}{valid} learning_rate={:.6}",
                    epoch.epoch,
                    epoch.train_loss,
                    epoch.train_accuracy,
                    epoch.learning_rate
                );
            }
        }
    }
}

impl Drop for JobProgress {
    fn drop(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish();
        }
    }
}

/// Runs a job with progress on stderr.
pub(crate) fn run_job(options: &JobOptions) -> anyhow::Result<JobResult> {
    let stop = signals::stop_flag()?;
    let mut progress = JobProgress::default();
    Ok(job::run(options, &stop, &mut |event| progress.tell(event))?)
}

fn beside(output: &Path, name: &str) -> PathBuf {
    output.with_file_name(name)
}

fn metrics_path(output: &Path) -> PathBuf {
    beside(output, "metrics.json")
}

fn report_path(output: &Path) -> PathBuf {
    beside(output, "report.html")
}

/// Writes the model and what belongs beside it.
pub(crate) fn save(result: &JobResult, output: &Path) -> anyhow::Result<()> {
    result.package.write(output)?;
    write_outputs(result, &metrics_path(output), &report_path(output))
}

/// Writes metrics.json and report.html.
pub(crate) fn write_outputs(
    result: &JobResult,
    metrics: &Path,
    report: &Path,
) -> anyhow::Result<()> {
    use anyhow::Context as _;
    use std::io::Write as _;
    let text = serde_json::to_string_pretty(&result.metrics)?;
    for (path, text) in [(metrics, &text), (report, &result.report)] {
        write_aside(path, |file| file.write_all(text.as_bytes()))
            .with_context(|| format!("cannot write `{}`", path.display()))?;
    }
    Ok(())
}

/// The accuracies, and where the time went.
pub(crate) fn summary(result: &JobResult) {
    for (split, found) in &result.evaluations {
        if *split != Split::Train {
            line(format!(
                "{:5}  top-1 {:.1} %  top-5 {:.1} %  loss {:.3}  ({} photos)",
                split.name(),
                100.0 * found.top1,
                100.0 * found.top5,
                found.loss,
                found.count
            ));
        }
    }
    let took = |name: &str| result.seconds.get(name).copied().unwrap_or(0.0);
    line(format!(
        "took {:.1} s: features {:.1} s, head {:.1} s",
        took("total"),
        took("features"),
        took("head")
    ));
}

/// Exit codes tell an interruption from a failure.
pub(crate) fn is_interruption(error: &anyhow::Error) -> bool {
    crate::code_of(error) == ErrorCode::Interrupted
}

//! A whole training job: photos in, model.tar.gz, metrics.json and report.html out. The command line,
//! the SageMaker container and later the platform all call [`run`].

mod checks;
mod error;
mod instances;
mod joined;
mod observe;
mod outputs;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use kennel_base::{Augmentation, TrainOptions};
use kennel_infer::engine;
use kennel_infer::hub::{self, Backbone, OpenOptions};
use kennel_infer::onnx;
use kennel_infer::package::Package;
use kennel_infer::pipeline::{self, PipelineOptions};
use kennel_infer::preprocess::{Preprocessor, View};
use sha2::{Digest, Sha256};

use crate::cache::{CacheKey, FeatureCache};
use crate::collective::{Collective, Single};
use crate::dataset::{self, Dataset, Problem, Split, SplitOptions};
use crate::evaluate::{Evaluation, evaluate};
use crate::features::{self, ExtractRequest, Extraction};
use crate::head::{self, Epoch, HeadRequest, Share, TrainedHead, Watch, Watched};
use crate::report;

use checks::{check_classes, check_problems, extraction_note, unreadable};
use instances::{Scanned, SplitPhotos};
use observe::{Phase, Recorder};
use outputs::Assembly;

pub use error::JobError;
pub use joined::{Join, run_joined};
pub use observe::Observe;

/// Where the photos are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Photos {
    /// One folder, in either layout.
    Folder(PathBuf),
    /// One folder per split, as SageMaker's channels.
    Splits(Vec<(Split, PathBuf)>),
}

/// Everything a training job is told.
#[derive(Debug, Clone, PartialEq)]
pub struct JobOptions {
    /// The photos.
    pub photos: Photos,
    /// Backbone by name or path.
    pub backbone: String,
    /// How the backbone is opened.
    pub open: OpenOptions,
    /// How photos without splits are divided.
    pub split: SplitOptions,
    /// Options of the head.
    pub train: TrainOptions,
    /// Engine, workers, batch.
    pub pipeline: PipelineOptions,
    /// Share of photos that may be unusable.
    pub max_bad: f64,
    /// Folder of feature caches.
    pub cache: PathBuf,
    /// Folder for the state of interrupted runs.
    pub checkpoints: PathBuf,
    /// Who looks on: debugger and profiler.
    pub observe: Option<Observe>,
}

/// What a job tells while it runs.
#[derive(Debug, Clone, PartialEq)]
pub enum JobEvent {
    /// A plain sentence worth a line in the log.
    Note(String),
    /// Something is wrong with the data or the set-up.
    Warning(String),
    /// Feature extraction: vectors done and vectors to do.
    Extracting {
        /// Done.
        done: usize,
        /// In all.
        total: usize,
    },
    /// An epoch ended.
    Epoch {
        /// Its numbers.
        epoch: Epoch,
        /// Epochs in all.
        epochs: usize,
    },
}

/// What a job made.
#[derive(Debug)]
pub struct JobResult {
    /// The model, metrics.json and report.html inside.
    pub package: Package,
    /// metrics.json.
    pub metrics: serde_json::Value,
    /// report.html.
    pub report: String,
    /// Evaluation per split that has photos.
    pub evaluations: Vec<(Split, Evaluation)>,
    /// Epochs that ran.
    pub history: Vec<Epoch>,
    /// Whether the head went on from the checkpoint of an interrupted run.
    pub resumed: bool,
    /// Classes that started from the backbone's own classifier.
    pub matched: usize,
    /// Time per part of the job.
    pub seconds: BTreeMap<String, f64>,
}

/// Photos that the debugger gets to see.
const SAVED_IMAGES: usize = 16;

/// Runs a job to its end.
///
/// # Errors
/// [`JobError`]; after [`JobError::Interrupted`] the same call goes on where this one stopped.
pub fn run(
    options: &JobOptions,
    stop: &AtomicBool,
    tell: &mut dyn FnMut(JobEvent),
) -> Result<JobResult, JobError> {
    let single: Arc<dyn Collective> = Arc::new(Single);
    run_on(&single, options, stop, tell)?
        .ok_or_else(|| JobError::Internal { reason: "a job without a result".into() })
}

/// Runs a job on several instances, each of which calls this. The first gets the result.
///
/// # Errors
/// As [`run`]; whoever calls this has to end all instances then.
pub fn run_on(
    collective: &Arc<dyn Collective>,
    options: &JobOptions,
    stop: &AtomicBool,
    tell: &mut dyn FnMut(JobEvent),
) -> Result<Option<JobResult>, JobError> {
    let prepared = Prepared::new_on(collective, options, stop, tell)?;
    train_and_package(prepared, options, stop, tell)
}

/// The second half of a job.
fn train_and_package(
    mut prepared: Prepared,
    options: &JobOptions,
    stop: &AtomicBool,
    tell: &mut dyn FnMut(JobEvent),
) -> Result<Option<JobResult>, JobError> {
    let origin = prepared.begun;
    let epochs = prepared.epochs(&options.train);
    let steps = epochs * prepared.splits[0].photos.len().div_ceil(options.train.batch_size);
    let mut recorder = Recorder::new(options.observe.as_ref(), origin, (epochs, steps), tell);
    for phase in &prepared.phases {
        recorder.phase(phase);
    }
    if recorder.wants_images() {
        recorder.images(prepared.input_images(options));
    }
    let started = Instant::now();
    let request = HeadJob { train: &options.train, checkpoints: Some(&options.checkpoints) };
    let trained = prepared.train(&request, stop, &mut recorder)?;
    let took = started.elapsed();
    let steps = trained.history.len();
    recorder.phase(&Phase { name: "head", started, took, count: steps });
    prepared.seconds.insert("head".to_owned(), took.as_secs_f64());
    let started = Instant::now();
    if prepared.collective.rank() > 0 {
        // The first evaluates with the help of all, and packages.
        prepared.evaluate(&trained)?;
        recorder.finish();
        return Ok(None);
    }
    let result = prepared.finish(options, trained)?;
    let took = started.elapsed();
    recorder.phase(&Phase { name: "package", started, took, count: 1 });
    recorder.finish();
    if result.resumed {
        tell(JobEvent::Note("went on from the checkpoint of an interrupted run".into()));
    }
    if result.matched > 0 {
        tell(JobEvent::Note(format!(
            "{} of {} classes are known to the backbone and started from its own classifier",
            result.matched,
            prepared.dataset.classes.len()
        )));
    }
    Ok(Some(result))
}

/// Puts the features of one of several shares into the cache, where all instances have the same folder and the
/// same cache and cannot reach each other: `share` is this one's number from 0, and how many there are.
///
/// # Errors
/// As [`run`].
pub fn share_features(
    options: &JobOptions,
    share: (usize, usize),
    stop: &AtomicBool,
    tell: &mut dyn FnMut(JobEvent),
) -> Result<(), JobError> {
    let mut dataset = dataset::part(scan(options)?, share.0, share.1);
    dataset.hash(stop, &mut |_, _| {})?;
    let used: Vec<bool> = dataset.photos.iter().map(|p| p.content.is_some()).collect();
    let backbone = hub::open(&options.backbone, &options.open)?;
    let (key, width) = cache_key(options, &backbone)?;
    let mut cache = FeatureCache::open(&options.cache, &key, width)?;
    let request = ExtractRequest {
        dataset: &dataset,
        used: &used,
        backbone: &backbone,
        train: &options.train,
        options: &PipelineOptions { engine: Some(key.engine), ..options.pipeline },
    };
    features::extract(&request, &mut cache, stop, &mut |done, total| {
        tell(JobEvent::Extracting { done, total });
    })?;
    Ok(())
}

/// Which features are asked for, and how many a view has.
fn cache_key(options: &JobOptions, backbone: &Backbone) -> Result<(CacheKey, usize), JobError> {
    let width = backbone.cut.width.ok_or_else(|| JobError::Internal {
        reason: format!("the width of `{}` is unknown", backbone.cut.tensor),
    })?;
    let key = CacheKey {
        backbone: backbone.sha256.clone(),
        preprocess: backbone.preprocess.clone(),
        engine: options.pipeline.engine.unwrap_or_else(engine::preferred),
    };
    Ok((key, width))
}

/// A head to train on prepared features.
#[derive(Debug, Clone, Copy)]
pub struct HeadJob<'a> {
    /// Options of the head.
    pub train: &'a TrainOptions,
    /// Where an interrupted run leaves its state, and finds it.
    pub checkpoints: Option<&'a Path>,
}

/// A job whose features are there: heads can be trained on them, as many as one likes.
#[derive(Debug)]
pub struct Prepared {
    collective: Arc<dyn Collective>,
    dataset: Dataset,
    /// The instance that has each photo's features.
    owners: Vec<usize>,
    /// What is used of each split, on all instances; the matrices of `extraction` are this one's.
    splits: [SplitPhotos; 3],
    backbone: Backbone,
    key: CacheKey,
    width: usize,
    extraction: Extraction,
    problems: Vec<(usize, Problem)>,
    warnings: Vec<String>,
    digest: String,
    begun: Instant,
    seconds: BTreeMap<String, f64>,
    phases: Vec<Phase>,
}

impl Prepared {
    /// Scans the photos, opens the backbone and gets the features.
    ///
    /// # Errors
    /// [`JobError`]; what was computed before an interruption is cached.
    pub fn new(
        options: &JobOptions,
        stop: &AtomicBool,
        tell: &mut dyn FnMut(JobEvent),
    ) -> Result<Prepared, JobError> {
        let single: Arc<dyn Collective> = Arc::new(Single);
        Self::new_on(&single, options, stop, tell)
    }

    /// As [`Prepared::new`] on several instances, which then have to call the same functions of what they get.
    ///
    /// # Errors
    /// As [`Prepared::new`].
    pub fn new_on(
        collective: &Arc<dyn Collective>,
        options: &JobOptions,
        stop: &AtomicBool,
        tell: &mut dyn FnMut(JobEvent),
    ) -> Result<Prepared, JobError> {
        let started = Instant::now();
        let scanned = instances::scan(&**collective, options, stop)?;
        let mut prepared = Self::of_photos(collective, options, (scanned, Vec::new()), stop, tell)?;
        let took = prepared.begun.saturating_duration_since(started);
        prepared.begun = started;
        prepared.seconds.insert("scan".to_owned(), took.as_secs_f64());
        let count = prepared.dataset.photos.len();
        prepared.phases.insert(0, Phase { name: "scan", started, took, count });
        Ok(prepared)
    }

    /// Opens the backbone and gets the features of photos that are known, with those that turned out unreadable.
    fn of_photos(
        collective: &Arc<dyn Collective>,
        options: &JobOptions,
        (scanned, unread): (Scanned, Vec<(usize, Problem)>),
        stop: &AtomicBool,
        tell: &mut dyn FnMut(JobEvent),
    ) -> Result<Prepared, JobError> {
        let begun = Instant::now();
        let mut seconds = BTreeMap::new();
        let mut phases = Vec::new();
        let mut lap = |name: &'static str, started: Instant, count: usize| {
            let took = started.elapsed();
            seconds.insert(name.to_owned(), took.as_secs_f64());
            phases.push(Phase { name, started, took, count });
        };
        let mut warnings: Vec<String> = Vec::new();

        let dataset = &scanned.dataset;
        let per_split =
            Split::ALL.map(|s| format!("{} {}", dataset.of_split(s).count(), s)).join(", ");
        tell(JobEvent::Note(format!("{} classes: {per_split} photos", dataset.classes.len())));

        let started = Instant::now();
        let backbone = instances::backbone(&**collective, options, stop)?;
        lap("backbone", started, 1);
        let (key, width) = cache_key(options, &backbone)?;
        let kind = key.engine;
        instances::agree(&**collective, options, &key)?;
        tell(JobEvent::Note(format!(
            "backbone {}: {width} features from `{}`, engine {kind}",
            backbone.name, backbone.cut.tensor
        )));

        let (mut problems, mut used) = usable(dataset);
        for (index, problem) in unread {
            used[index] = false;
            problems.push((index, problem));
        }

        let started = Instant::now();
        let own: Vec<bool> = used
            .iter()
            .zip(&scanned.owners)
            .map(|(used, owner)| *used && *owner == collective.rank())
            .collect();
        let mut cache = FeatureCache::open(&options.cache, &key, width)?;
        let pipeline = PipelineOptions { engine: Some(kind), ..options.pipeline };
        let request = ExtractRequest {
            dataset,
            used: &own,
            backbone: &backbone,
            train: &options.train,
            options: &pipeline,
        };
        let extraction = instances::extract(&**collective, &request, &mut cache, stop, tell)?;
        drop(cache);
        lap("features", started, extraction.cached + extraction.computed);
        let times = extraction.times;
        for (name, took) in
            [("decode", times.decode), ("preprocess", times.preprocess), ("engine", times.engine)]
        {
            phases.push(Phase { name, started, took, count: extraction.computed });
        }
        tell(JobEvent::Note(extraction_note(&extraction)));
        for (index, problem) in &extraction.problems {
            used[*index] = false;
            problems.push((*index, problem.clone()));
        }
        problems.sort_by_key(|(index, _)| *index);
        check_problems(dataset, &problems, options.max_bad, &mut warnings)?;
        let splits = instances::split_photos(&scanned, &used, collective.rank());
        check_classes(dataset, &splits[0].labels, &mut warnings);
        for warning in &warnings {
            tell(JobEvent::Warning(warning.clone()));
        }
        let digest = data_digest(dataset, &used);
        let Scanned { dataset, owners } = scanned;
        Ok(Prepared {
            collective: Arc::clone(collective),
            dataset,
            owners,
            splits,
            backbone,
            key,
            width,
            extraction,
            problems,
            warnings,
            digest,
            begun,
            seconds,
            phases,
        })
    }

    /// Epochs that a head with these options is trained for at most.
    pub fn epochs(&self, options: &TrainOptions) -> usize {
        options.resolve(self.splits[0].photos.len(), false).epochs
    }

    /// Whether the features are those that these options ask for.
    pub fn serves(&self, options: &JobOptions, other: &TrainOptions) -> bool {
        let views = |options: &TrainOptions| match options.augmentation {
            Augmentation::Crop => (options.augmentation, options.views, options.seed),
            _ => (options.augmentation, features::view_count(options), 0),
        };
        views(&options.train) == views(other)
    }

    /// Whether there are photos to validate on.
    pub fn has_validation(&self) -> bool {
        !self.splits[1].photos.is_empty()
    }

    /// SHA-256 over the photos that are used, their splits and classes.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// Trains a head on the features.
    ///
    /// # Errors
    /// As [`head::train`].
    pub fn train(
        &self,
        job: &HeadJob<'_>,
        stop: &AtomicBool,
        watch: &mut dyn Watch,
    ) -> Result<TrainedHead, JobError> {
        let [train, valid, _] = &self.extraction.splits;
        let checkpoint = job.checkpoints.map(|folder| {
            let name = checkpoint_name(&self.digest, &self.key, job.train);
            folder.join(format!("{name}.checkpoint"))
        });
        head::train(
            &HeadRequest {
                train,
                valid,
                classes: self.dataset.classes.len(),
                options: job.train,
                original: self.backbone.classifier.as_ref(),
                checkpoint: checkpoint.as_deref(),
                share: (self.collective.size() > 1).then(|| Share {
                    collective: &*self.collective,
                    positions: &self.splits[0].own,
                    labels: &self.splits[0].labels,
                }),
            },
            stop,
            watch,
        )
    }

    /// The first training photos as the backbone gets them, for the debugger; none that cannot be read.
    fn input_images(&self, options: &JobOptions) -> Vec<Watched> {
        let settings = &self.backbone.preprocess;
        let Ok(mut preprocessor) = Preprocessor::new(settings) else { return Vec::new() };
        let mut values = Vec::new();
        let mut count = 0;
        for &photo in self.extraction.splits[0].photos.iter().take(SAVED_IMAGES) {
            let path = &self.dataset.photos[photo].path;
            let mut image = vec![0.0; settings.input_len()];
            if let Ok(decoded) = pipeline::read(path, &options.pipeline.limits)
                && preprocessor.run(&decoded, View::Centre, &mut image).is_ok()
            {
                values.append(&mut image);
                count += 1;
            }
        }
        let [width, height] = settings.crop.map(|side| side as usize);
        let shape = vec![count, 3, height, width];
        vec![Watched { name: "images", collection: "input_images", shape, values }]
    }

    /// Evaluates a head on every split that has photos.
    ///
    /// # Errors
    /// [`JobError::Internal`] when it does not fit the features.
    pub fn evaluate(&self, trained: &TrainedHead) -> Result<Vec<(Split, Evaluation)>, JobError> {
        let mut evaluations = Vec::new();
        for (split, matrix) in Split::ALL.into_iter().zip(&self.extraction.splits) {
            let photos = &self.splits[split as usize];
            if !photos.photos.is_empty() {
                let (layers, owners) = (&trained.layers, &self.owners);
                let logits = instances::logits(&*self.collective, layers, matrix, photos, owners)?;
                let classes = self.dataset.classes.len();
                evaluations.push((split, evaluate(&logits, &photos.labels, classes)));
            }
        }
        Ok(evaluations)
    }

    /// Evaluates and packages a head.
    ///
    /// # Errors
    /// When the head does not fit the backbone.
    pub fn finish(
        &self,
        options: &JobOptions,
        trained: TrainedHead,
    ) -> Result<JobResult, JobError> {
        let started = Instant::now();
        let evaluations = self.evaluate(&trained)?;
        let assembly = Assembly {
            options,
            dataset: &self.dataset,
            backbone: &self.backbone,
            extraction: &self.extraction,
            splits: &self.splits,
            width: self.width,
            trained: &trained,
            evaluations: &evaluations,
            problems: &self.problems,
            warnings: &self.warnings,
            digest: self.digest.clone(),
            engine: self.key.engine.to_string(),
        };
        let network = onnx::append_head(&self.backbone.model, &trained.layers)?;
        let thumbnails = assembly.mistakes();
        let mut seconds = self.seconds.clone();
        seconds.insert("package".to_owned(), started.elapsed().as_secs_f64());
        seconds.insert("total".to_owned(), self.begun.elapsed().as_secs_f64());
        let metrics = assembly.metrics(&seconds);
        let report = report::render(&assembly.report(&seconds, thumbnails));
        let pretty = serde_json::to_vec_pretty(&metrics).unwrap_or_default();
        let package = Package {
            manifest: assembly.manifest(),
            network: network.to_bytes(),
            extras: BTreeMap::from([
                ("metrics.json".to_owned(), pretty),
                ("report.html".to_owned(), report.clone().into_bytes()),
            ]),
        };
        Ok(JobResult {
            package,
            metrics,
            report,
            evaluations,
            history: trained.history,
            resumed: trained.resumed,
            matched: trained.matched,
            seconds,
        })
    }
}

fn scan(options: &JobOptions) -> Result<Dataset, JobError> {
    Ok(match &options.photos {
        Photos::Folder(root) => Dataset::scan(root, &options.split)?,
        Photos::Splits(splits) => {
            let root = splits.first().map(|(_, p)| p.clone()).unwrap_or_default();
            Dataset::from_splits(&root, splits, &options.split)?
        }
    })
}

/// What is wrong with photos before they are decoded, and which are used: everything that can be read and is
/// not a copy.
fn usable(dataset: &Dataset) -> (Vec<(usize, Problem)>, Vec<bool>) {
    let mut problems = dataset.duplicates();
    let mut used: Vec<bool> = dataset.photos.iter().map(|p| p.content.is_some()).collect();
    for (index, problem) in &problems {
        used[*index] = used[*index] && !problem.kind.is_skipped();
    }
    for (index, photo) in dataset.photos.iter().enumerate() {
        if photo.content.is_none() {
            problems.push((index, unreadable(photo.path.clone(), "the file cannot be read")));
        }
    }
    (problems, used)
}

/// SHA-256 over the sorted (split, class, content) of every photo used.
fn data_digest(dataset: &Dataset, used: &[bool]) -> String {
    let mut lines: Vec<String> = dataset
        .photos
        .iter()
        .zip(used)
        .filter(|(_, used)| **used)
        .filter_map(|(p, _)| {
            let content = kennel_infer::hex(&p.content?);
            Some(format!("{}\t{}\t{content}\n", p.split, dataset.classes[p.class].key))
        })
        .collect();
    lines.sort();
    kennel_infer::hex(&Sha256::digest(lines.concat()))
}

/// A checkpoint belongs to exactly this data, these features and these options.
fn checkpoint_name(digest: &str, key: &CacheKey, options: &TrainOptions) -> String {
    let text = format!("{digest}\n{key:?}\n{options:?}\n{}", env!("CARGO_PKG_VERSION"));
    kennel_infer::hex(&Sha256::digest(text))[..24].to_owned()
}

#[cfg(test)]
mod tests;

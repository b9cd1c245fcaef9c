//! From photos to feature matrices: what the cache has is taken from it, the rest goes through the
//! backbone once. Also decides which views of a training photo exist.

use std::collections::HashMap;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use kennel_base::{Augmentation, TrainOptions};
use kennel_infer::hub::Backbone;
use kennel_infer::pipeline::{self, Event, Job, Network, PipelineOptions, StageTimes};
use kennel_infer::preprocess::View;
use rand::RngExt;
use sha2::{Digest, Sha256};

use crate::cache::{FeatureCache, ViewKey};
use crate::dataset::{Dataset, Problem, ProblemKind, Split, generator};
use crate::job::JobError;

/// Features of one split, photo by photo.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct FeatureMatrix {
    /// `[photos × views][width]`, row-major; the views of a photo stand together, the centre first.
    pub values: Vec<f32>,
    /// Class of each photo.
    pub labels: Vec<usize>,
    /// Position of each photo in the dataset.
    pub photos: Vec<usize>,
    /// Features per view.
    pub width: usize,
    /// Views per photo.
    pub views: usize,
}

impl FeatureMatrix {
    /// Number of photos.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there are no photos.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// Features of a view of a photo.
    pub fn row(&self, photo: usize, view: usize) -> &[f32] {
        let start = (photo * self.views + view) * self.width;
        &self.values[start..start + self.width]
    }
}

/// What extraction found out.
#[derive(Debug, Clone, Default)]
pub struct Extraction {
    /// One matrix per split, in the order of [`Split::ALL`].
    pub splits: [FeatureMatrix; 3],
    /// Photos that turned out unreadable.
    pub problems: Vec<(usize, Problem)>,
    /// Views that were in the cache.
    pub cached: usize,
    /// Views that went through the backbone.
    pub computed: usize,
    /// Time that workers spent per stage, added up.
    pub times: StageTimes,
    /// Wall time of the backbone's work.
    pub elapsed: Duration,
}

/// The view with this number of a photo; 0 is the centre crop. Its geometry depends on the seed, the
/// number and the photo's content, so that caches of different runs meet.
pub fn view(options: &TrainOptions, content: &[u8; 32], number: usize) -> View {
    if number == 0 {
        return View::Centre;
    }
    match options.augmentation {
        Augmentation::None => View::Centre,
        Augmentation::Flip => {
            if number % 2 == 1 {
                View::Mirrored
            } else {
                View::Centre
            }
        }
        Augmentation::Crop => {
            let mut salt = [0; 8];
            salt.copy_from_slice(&content[..8]);
            let seed = options.seed ^ u64::from_le_bytes(salt);
            let mut rng = generator(seed, "view", number as u64);
            // Area and aspect as torchvision's RandomResizedCrop, but at least 0.35 of the photo:
            // smaller boxes often miss the dog, and a cached view is seen again every epoch.
            let area: f64 = rng.random_range(0.35..=1.0);
            let aspect: f64 = rng.random_range(0.75f64.ln()..=(4.0f64 / 3.0).ln()).exp();
            let width = (area * aspect).sqrt().min(1.0);
            let height = (area / aspect).sqrt().min(1.0);
            View::Box {
                left: rng.random_range(0.0..=1.0) * (1.0 - width),
                top: rng.random_range(0.0..=1.0) * (1.0 - height),
                width,
                height,
                mirror: number % 2 == 1,
            }
        }
    }
}

/// Identity of a view in the cache.
fn view_id(view: &View) -> u64 {
    if *view == View::Centre {
        return 0;
    }
    let digest = Sha256::digest(format!("{view:?}"));
    let mut id = [0; 8];
    id.copy_from_slice(&digest[..8]);
    u64::from_le_bytes(id).max(1)
}

/// Views of each training photo; flipping has only two.
pub fn view_count(options: &TrainOptions) -> usize {
    match options.augmentation {
        Augmentation::None => 1,
        Augmentation::Flip => options.views.clamp(1, 2),
        Augmentation::Crop => options.views.max(1),
    }
}

/// What is to be extracted.
#[derive(Debug, Clone, Copy)]
pub struct ExtractRequest<'a> {
    /// The photos, hashed.
    pub dataset: &'a Dataset,
    /// Which of them are to be used, by position.
    pub used: &'a [bool],
    /// The frozen network.
    pub backbone: &'a Backbone,
    /// Options that decide the views.
    pub train: &'a TrainOptions,
    /// Engine, workers, batch.
    pub options: &'a PipelineOptions,
}

/// Gets the features of every photo that is to be used.
///
/// # Errors
/// When the engine or the cache fails, or `stop` became true: what was computed is cached then.
pub fn extract(
    request: &ExtractRequest<'_>,
    cache: &mut FeatureCache,
    stop: &AtomicBool,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<Extraction, JobError> {
    let ExtractRequest { dataset, used, backbone, train, options } = *request;
    let width = backbone.cut.width.unwrap_or(0);
    let views = view_count(train);
    // The views each photo needs; several photos may share content, so work is keyed by content.
    let mut wanted: Vec<Vec<(ViewKey, View)>> = Vec::with_capacity(dataset.photos.len());
    for (photo, used) in dataset.photos.iter().zip(used) {
        let count = if photo.split == Split::Train { views } else { 1 };
        wanted.push(match photo.content {
            Some(content) if *used => (0..count)
                .map(|number| {
                    let view = view(train, &content, number);
                    (ViewKey { content, view: view_id(&view) }, view)
                })
                .collect(),
            _ => Vec::new(),
        });
    }
    let mut result = Extraction::default();
    let mut jobs: Vec<Job> = Vec::new();
    for (index, keys) in wanted.iter().enumerate() {
        let missing: Vec<(u32, View)> = keys
            .iter()
            .enumerate()
            .filter(|(_, (key, _))| cache.get(key).is_none())
            .map(|(number, (_, view))| (number as u32, *view))
            .collect();
        result.cached += keys.len() - missing.len();
        if !missing.is_empty() {
            jobs.push(Job { index, path: dataset.photos[index].path.clone(), views: missing });
        }
    }
    let total: usize = jobs.iter().map(|j| j.views.len()).sum();
    let network = Network {
        onnx: std::sync::Arc::clone(&backbone.bytes),
        preprocess: backbone.preprocess.clone(),
        fixed_batch: backbone.fixed_batch,
    };
    let mut unreadable: HashMap<usize, String> = HashMap::new();
    let mut failure = None;
    let started = Instant::now();
    // The cache failing must also stop the workers, without touching the caller's own flag.
    let halt = AtomicBool::new(false);
    progress(0, total);
    result.times = pipeline::run(
        &network,
        &jobs,
        options,
        &|| stop.load(Relaxed) || halt.load(Relaxed),
        |event| match event {
            Event::Output { index, view, values } => {
                let (key, _) = &wanted[index][view as usize];
                if failure.is_none()
                    && let Err(e) = cache.insert(*key, &values)
                {
                    failure = Some(e);
                    halt.store(true, Relaxed);
                }
                result.computed += 1;
                progress(result.computed, total);
            }
            Event::Unreadable { index, reason } => {
                unreadable.insert(index, reason);
            }
        },
    )?;
    result.elapsed = started.elapsed();
    cache.sync()?;
    if let Some(failure) = failure {
        return Err(failure.into());
    }
    if stop.load(Relaxed) {
        return Err(JobError::Interrupted {
            state: format!("{} of {total} feature vectors are cached", result.computed),
        });
    }
    for (index, photo) in dataset.photos.iter().enumerate() {
        if let Some(reason) = unreadable.get(&index) {
            result.problems.push((
                index,
                Problem {
                    path: photo.path.clone(),
                    kind: ProblemKind::Unreadable,
                    reason: reason.clone(),
                    action: "not used",
                },
            ));
        } else if !wanted[index].is_empty() {
            let matrix = &mut result.splits[photo.split as usize];
            matrix.width = width;
            matrix.views = wanted[index].len();
            for (key, _) in &wanted[index] {
                let values = cache.get(key).ok_or_else(|| JobError::Internal {
                    reason: format!("no features came for `{}`", photo.path.display()),
                })?;
                matrix.values.extend_from_slice(values);
            }
            matrix.labels.push(photo.class);
            matrix.photos.push(index);
        }
    }
    Ok(result)
}

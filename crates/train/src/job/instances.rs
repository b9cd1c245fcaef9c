//! What several instances add to a job: one list of photos from the lists of all, the features of one's own share
//! while staying in touch with the others, and numbers put together at the end. With one instance every
//! function here is the plain work.

use std::cell::RefCell;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use kennel_infer::hub::{self, Backbone};
use kennel_infer::onnx::LinearLayer;
use serde::{Deserialize, Serialize};

use super::{JobError, JobEvent, JobOptions, Photos, unreadable};
use crate::cache::{CacheKey, FeatureCache};
use crate::collective::{Collective, CollectiveError, Progress, alongside, gather_bytes};
use crate::dataset::{Dataset, ShardsError, Split};
use crate::features::{self, ExtractRequest, Extraction, FeatureMatrix};
use crate::head;

/// The photos of all instances.
#[derive(Debug)]
pub(super) struct Scanned {
    pub(super) dataset: Dataset,
    /// The instance that does each photo.
    pub(super) owners: Vec<usize>,
}

/// The photos of a split that are used, on all instances.
#[derive(Debug, Clone, Default)]
pub(super) struct SplitPhotos {
    /// Position of each in the dataset.
    pub(super) photos: Vec<usize>,
    /// Class of each.
    pub(super) labels: Vec<usize>,
    /// Which of them this instance has features of.
    pub(super) own: Vec<usize>,
}

impl From<ShardsError> for JobError {
    fn from(e: ShardsError) -> Self {
        match e {
            ShardsError::Collective(e) => e.into(),
            ShardsError::Dataset(e) => e.into(),
            ShardsError::Lists(reason) => {
                JobError::Internal { reason: format!("the list of an instance's photos: {reason}") }
            }
        }
    }
}

/// Work of this instance that may take longer than the others'.
fn each<T>(
    collective: &dyn Collective,
    stop: &AtomicBool,
    work: impl FnOnce(&AtomicBool) -> Result<T, JobError>,
) -> Result<T, JobError> {
    alongside(collective, stop, Box::new(|_, halt| work(halt)), &mut |_| {})?
}

/// Scans and hashes the photos.
pub(super) fn scan(
    collective: &dyn Collective,
    options: &JobOptions,
    stop: &AtomicBool,
) -> Result<Scanned, JobError> {
    if collective.size() == 1 {
        let mut dataset = super::scan(options)?;
        dataset.hash(stop, &mut |_, _| {})?;
        let owners = vec![0; dataset.photos.len()];
        return Ok(Scanned { dataset, owners });
    }
    let own = each(collective, stop, |halt| {
        let mut dataset = scan_share(options)?;
        dataset.hash(halt, &mut |_, _| {})?;
        Ok(dataset)
    })?;
    let shards = own.share(collective, &options.split)?;
    Ok(Scanned { dataset: shards.dataset, owners: shards.owners })
}

pub(super) fn scan_share(options: &JobOptions) -> Result<Dataset, JobError> {
    Ok(match &options.photos {
        Photos::Folder(root) => Dataset::scan_share(root, &options.split)?,
        Photos::Splits(splits) => {
            let root = splits.first().map(|(_, p)| p.clone()).unwrap_or_default();
            Dataset::share_of_splits(&root, splits, &options.split)?
        }
    })
}

/// Opens the backbone, which one instance may have to fetch while another has it.
pub(super) fn backbone(
    collective: &dyn Collective,
    options: &JobOptions,
    stop: &AtomicBool,
) -> Result<Backbone, JobError> {
    each(collective, stop, |_| Ok(hub::open(&options.backbone, &options.open)?))
}

/// Refuses instances that would not do the same: features of other engines differ in the last digits, and other
/// options mean other batches.
pub(super) fn agree(
    collective: &dyn Collective,
    options: &JobOptions,
    key: &CacheKey,
) -> Result<(), JobError> {
    if collective.size() == 1 {
        return Ok(());
    }
    let facts = [
        ("the version of kennel", env!("CARGO_PKG_VERSION").to_owned()),
        ("the engine", key.engine.to_string()),
        ("the backbone", format!("{} {:?}", key.backbone, key.preprocess)),
        ("the options", format!("{:?} {:?} {}", options.train, options.split, options.max_bad)),
    ];
    for (what, here) in facts {
        for (rank, there) in gather_bytes(collective, here.as_bytes())?.into_iter().enumerate() {
            if there != here.as_bytes() {
                let there = String::from_utf8_lossy(&there).into_owned();
                return Err(CollectiveError::Differ { what, here, rank, there }.into());
            }
        }
    }
    Ok(())
}

/// What an instance tells the others about its features.
#[derive(Debug, Serialize, Deserialize)]
struct Told {
    unreadable: Vec<(usize, String)>,
    cached: usize,
    computed: usize,
    /// Decoding, preprocessing, engine; wall time.
    seconds: [f64; 4],
}

/// Counts, times and problems of an extraction, for the others.
pub(super) fn told(extraction: &Extraction) -> Result<Vec<u8>, JobError> {
    let times = extraction.times;
    let told = Told {
        unreadable: extraction.problems.iter().map(|(i, p)| (*i, p.reason.clone())).collect(),
        cached: extraction.cached,
        computed: extraction.computed,
        seconds: [times.decode, times.preprocess, times.engine, extraction.elapsed]
            .map(|time| time.as_secs_f64()),
    };
    serde_json::to_vec(&told).map_err(|e| nonsense(&e))
}

fn nonsense(e: &serde_json::Error) -> JobError {
    JobError::Internal { reason: format!("what an instance tells of its features: {e}") }
}

/// Replaces counts, times and problems by those of all instances.
pub(super) fn put_together(
    all: &[Vec<u8>],
    dataset: &Dataset,
    extraction: &mut Extraction,
) -> Result<(), JobError> {
    (extraction.cached, extraction.computed) = (0, 0);
    extraction.problems.clear();
    let mut seconds = [0f64; 4];
    for bytes in all {
        let told: Told = serde_json::from_slice(bytes).map_err(|e| nonsense(&e))?;
        extraction.cached += told.cached;
        extraction.computed += told.computed;
        for (sum, value) in seconds[..3].iter_mut().zip(told.seconds) {
            *sum += value;
        }
        // The slowest decides the wall time.
        seconds[3] = seconds[3].max(told.seconds[3]);
        for (index, reason) in told.unreadable {
            let path = dataset.photos.get(index).map(|p| p.path.clone()).unwrap_or_default();
            extraction.problems.push((index, unreadable(path, &reason)));
        }
    }
    let [decode, preprocess, engine, elapsed] =
        seconds.map(|s| Duration::try_from_secs_f64(s).unwrap_or_default());
    extraction.times.decode = decode;
    extraction.times.preprocess = preprocess;
    extraction.times.engine = engine;
    extraction.elapsed = elapsed;
    Ok(())
}

/// Gets the features of this instance's share; counts, times and problems are those of all.
pub(super) fn extract(
    collective: &dyn Collective,
    request: &ExtractRequest<'_>,
    cache: &mut FeatureCache,
    stop: &AtomicBool,
    tell: &mut dyn FnMut(JobEvent),
) -> Result<Extraction, JobError> {
    if collective.size() == 1 {
        return features::extract(request, cache, stop, &mut |done, total| {
            tell(JobEvent::Extracting { done, total });
        });
    }
    let tell = RefCell::new(tell);
    let show = |progress: &Progress| {
        let (done, total) = progress.all();
        (tell.borrow_mut())(JobEvent::Extracting { done, total });
    };
    let work = |progress: &Progress, halt: &AtomicBool| {
        features::extract(request, cache, halt, &mut |done, total| {
            progress.report(done, total);
            show(progress);
        })
    };
    let mut extraction =
        alongside(collective, stop, Box::new(work), &mut |progress| show(progress))??;
    let all = gather_bytes(collective, &told(&extraction)?)?;
    put_together(&all, request.dataset, &mut extraction)?;
    // A share without photos has the shape of the others.
    for (split, matrix) in Split::ALL.into_iter().zip(&mut extraction.splits) {
        matrix.width = request.backbone.cut.width.unwrap_or(0);
        matrix.views = if split == Split::Train { features::view_count(request.train) } else { 1 };
    }
    Ok(extraction)
}

/// The photos of each split that are used.
pub(super) fn split_photos(scanned: &Scanned, used: &[bool], rank: usize) -> [SplitPhotos; 3] {
    let mut splits: [SplitPhotos; 3] = Default::default();
    for (index, photo) in scanned.dataset.photos.iter().enumerate().filter(|(i, _)| used[*i]) {
        let split = &mut splits[photo.split as usize];
        if scanned.owners[index] == rank {
            split.own.push(split.photos.len());
        }
        split.photos.push(index);
        split.labels.push(photo.class);
    }
    splits
}

/// Logits of all photos of a split in their common order, each computed where its features are.
pub(super) fn logits(
    collective: &dyn Collective,
    layers: &[LinearLayer],
    matrix: &FeatureMatrix,
    split: &SplitPhotos,
    owners: &[usize],
) -> Result<Vec<Vec<f32>>, JobError> {
    let own = head::logits(layers, matrix)?;
    if collective.size() == 1 {
        return Ok(own);
    }
    let classes = layers.last().map_or(0, |l| l.outputs).max(1);
    let bytes: Vec<u8> = own.iter().flatten().flat_map(|v| v.to_le_bytes()).collect();
    let mut all = vec![Vec::new(); split.photos.len()];
    for (rank, bytes) in gather_bytes(collective, &bytes)?.into_iter().enumerate() {
        let places = (0..split.photos.len()).filter(|&p| owners[split.photos[p]] == rank);
        let rows = bytes.chunks_exact(4 * classes);
        if rows.len() != places.clone().count() {
            return Err(JobError::Internal { reason: format!("logits of instance {rank}") });
        }
        for (place, row) in places.zip(rows) {
            all[place] =
                row.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests;

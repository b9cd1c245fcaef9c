//! Instances that share nothing but folders: the platform starts N of them on one machine, each with its own
//! channels, and there is no launcher. They tell each other what they have through files, each puts the
//! features of its share into the common cache, and the first trains the head from it: the same model as
//! one instance's, without a collective.

use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use kennel_infer::hub;
use kennel_infer::package::write_aside;
use kennel_infer::pipeline::PipelineOptions;

use super::instances::{self, Scanned, scan_share};
use super::{JobError, JobEvent, JobOptions, JobResult, Prepared, cache_key, usable};
use crate::cache::FeatureCache;
use crate::collective::{Collective, Single};
use crate::features::{self, ExtractRequest, Extraction};

/// Where the instances meet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Join {
    /// A folder that all of them write to, empty at first; all of them have one cache too.
    pub folder: PathBuf,
    /// This one's number, from 0.
    pub rank: usize,
    /// How many there are.
    pub size: usize,
}

impl Join {
    fn failed(&self, e: std::io::Error) -> JobError {
        JobError::Join { path: self.folder.clone(), source: e }
    }

    /// Says something to all.
    fn tell(&self, what: &str, own: &[u8]) -> Result<(), JobError> {
        let path = self.folder.join(format!("{what}.{}", self.rank));
        std::fs::create_dir_all(&self.folder)
            .and_then(|()| write_aside(&path, |file| file.write_all(own)))
            .map_err(|e| self.failed(e))
    }

    /// What every instance says of something, by rank. Waits for the slowest: whoever has started them ends all
    /// when one fails.
    fn gather(&self, what: &str, own: &[u8], stop: &AtomicBool) -> Result<Vec<Vec<u8>>, JobError> {
        self.tell(what, own)?;
        let path = |rank: usize| self.folder.join(format!("{what}.{rank}"));
        let mut all = Vec::with_capacity(self.size);
        while all.len() < self.size {
            match std::fs::read(path(all.len())) {
                Ok(bytes) => all.push(bytes),
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                    if stop.load(Relaxed) {
                        let state = format!("waited for instance {}", all.len() + 1);
                        return Err(JobError::Interrupted { state });
                    }
                    std::thread::sleep(Duration::from_millis(20));
                }
                Err(e) => return Err(self.failed(e)),
            }
        }
        Ok(all)
    }
}

/// Runs a job on instances that meet in a folder, each of which calls this. The first gets the result; the others
/// return as soon as their share is done.
///
/// # Errors
/// As [`super::run`]; whoever has started the instances has to end all of them then.
pub fn run_joined(
    join: &Join,
    options: &JobOptions,
    stop: &AtomicBool,
    tell: &mut dyn FnMut(JobEvent),
) -> Result<Option<JobResult>, JobError> {
    let begun = Instant::now();
    let mut own = scan_share(options)?;
    own.hash(stop, &mut |_, _| {})?;
    let lists = join.gather("photos", &own.list()?, stop)?;
    let shards = own.merge(&lists, &options.split)?;
    let dataset = shards.dataset;
    let (_, used) = usable(&dataset);
    let mine: Vec<bool> =
        used.iter().zip(&shards.owners).map(|(used, owner)| *used && *owner == join.rank).collect();
    let count = mine.iter().filter(|m| **m).count();
    tell(JobEvent::Note(format!(
        "instance {} of {} has {count} of {} photos to do",
        join.rank + 1,
        join.size,
        dataset.photos.len()
    )));

    let backbone = hub::open(&options.backbone, &options.open)?;
    let (key, width) = cache_key(options, &backbone)?;
    let mut cache = FeatureCache::open(&options.cache, &key, width)?;
    let request = ExtractRequest {
        dataset: &dataset,
        used: &mine,
        backbone: &backbone,
        train: &options.train,
        options: &PipelineOptions { engine: Some(key.engine), ..options.pipeline },
    };
    let started = Instant::now();
    let extraction = features::extract(&request, &mut cache, stop, &mut |done, total| {
        tell(JobEvent::Extracting { done, total });
    })?;
    drop(cache);
    let told = instances::told(&extraction)?;
    if join.rank > 0 {
        // Whoever starts the instances waits for all of them; the first goes on when this file is there.
        join.tell("features", &told)?;
        return Ok(None);
    }
    let told = join.gather("features", &told, stop)?;
    let took = started.elapsed();
    let mut all = Extraction::default();
    instances::put_together(&told, &dataset, &mut all)?;
    // From here on as one instance: every feature is in the cache.
    let owners = vec![0; dataset.photos.len()];
    let single: Arc<dyn Collective> = Arc::new(Single);
    let scanned = Scanned { dataset, owners };
    let unread = std::mem::take(&mut all.problems);
    let mut prepared = Prepared::of_photos(&single, options, (scanned, unread), stop, tell)?;
    prepared.begun = begun;
    prepared.extraction.cached = all.cached;
    prepared.extraction.computed = all.computed;
    prepared.extraction.times = all.times;
    *prepared.seconds.entry("features".to_owned()).or_default() += took.as_secs_f64();
    super::train_and_package(prepared, options, stop, tell)
}

#[cfg(test)]
mod tests;

//! Whole jobs on several instances, which are threads here: the model is that of one instance with all photos,
//! whether all have the same folder or each has a part.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use kennel_base::TrainOptions;
use kennel_infer::engine::EngineKind;
use kennel_infer::hub::{BUILTIN, OpenOptions};
use kennel_infer::pipeline::PipelineOptions;

use super::*;
use crate::collective::Single;
use crate::collective::testing::ranks;
use crate::dataset::SplitOptions;
use crate::head::{Epoch, TrainedHead};
use crate::job::{HeadJob, Prepared, run, run_on, share_features};
use crate::samples::{SampleOptions, write_dataset};

fn samples(root: &Path) {
    let options = SampleOptions {
        train_per_class: 5,
        valid_per_class: 2,
        test_per_class: 1,
        size: 48,
        ..SampleOptions::default()
    };
    write_dataset(root, &options, &mut |_, _| {}).unwrap();
}

fn job(photos: &Path, work: &Path) -> JobOptions {
    JobOptions {
        photos: Photos::Folder(photos.to_owned()),
        backbone: BUILTIN.to_owned(),
        open: OpenOptions::default(),
        split: SplitOptions::default(),
        train: TrainOptions { epochs: 3, batch_size: 16, ..TrainOptions::default() },
        pipeline: PipelineOptions {
            engine: Some(EngineKind::Rten),
            workers: 1,
            ..PipelineOptions::default()
        },
        max_bad: 0.1,
        cache: work.join("cache"),
        checkpoints: work.join("checkpoints"),
        observe: None,
    }
}

fn files(root: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(root).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

/// The head that these instances train, and the summary of their data.
fn head(collective: &Arc<dyn Collective>, options: &JobOptions) -> (TrainedHead, String) {
    let quiet = AtomicBool::new(false);
    let prepared = Prepared::new_on(collective, options, &quiet, &mut |_| {}).unwrap();
    let request = HeadJob { train: &options.train, checkpoints: None };
    let trained = prepared.train(&request, &quiet, &mut |_: &Epoch| {}).unwrap();
    let evaluations = prepared.evaluate(&trained).unwrap();
    let told = evaluations.iter().map(|(s, e)| (*s, e.count, e.top1, e.confusion.clone()));
    let told = format!("{} {:?}", prepared.digest(), told.collect::<Vec<_>>());
    (trained, told)
}

fn difference(a: &TrainedHead, b: &TrainedHead) -> f32 {
    let (a, b) = (&a.layers[0], &b.layers[0]);
    assert_eq!(a.weight.len(), b.weight.len());
    a.weight
        .iter()
        .zip(&b.weight)
        .chain(a.bias.iter().zip(&b.bias))
        .map(|(a, b)| (a - b).abs())
        .fold(0.0, f32::max)
}

#[test]
fn the_model_is_that_of_one_instance() {
    let (photos, work) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    samples(photos.path());
    let (alone, told) = head(&(Arc::new(Single) as _), &job(photos.path(), &work.path().join("1")));

    // All have the same folder, each its own cache.
    for size in [2, 3] {
        let found = ranks(size, |collective| {
            let own = work.path().join(format!("{size}-{}", collective.rank()));
            head(collective, &job(photos.path(), &own))
        });
        for (trained, theirs) in &found {
            assert_eq!(theirs, &told);
            let apart = difference(trained, &alone);
            assert!(apart <= 1e-5, "{size}: {apart}");
            assert_eq!(trained.layers, found[0].0.layers);
        }
    }
    // Each has a part: by SageMaker's key sharding, and the last has nothing at all.
    let parts: Vec<_> = (0..3).map(|_| tempfile::tempdir().unwrap()).collect();
    for (number, path) in files(photos.path()).into_iter().enumerate() {
        let to = parts[number % 2].path().join(path.strip_prefix(photos.path()).unwrap());
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(&path, to).unwrap();
    }
    let found = ranks(3, |collective| {
        let own = work.path().join(format!("part-{}", collective.rank()));
        head(collective, &job(parts[collective.rank()].path(), &own))
    });
    for (trained, theirs) in &found {
        assert_eq!(theirs, &told);
        assert!(difference(trained, &alone) <= 1e-5);
    }
}

#[test]
fn the_first_gets_the_result_and_counts_are_those_of_all() {
    let (photos, work) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    samples(photos.path());
    fs::write(photos.path().join("train").join("broken.jpg"), b"ignored: not in a class").unwrap();
    let class = fs::read_dir(photos.path().join("train"))
        .unwrap()
        .map(|e| e.unwrap().path())
        .find(|p| p.is_dir())
        .unwrap();
    fs::write(class.join("broken.jpg"), b"no picture").unwrap();
    let quiet = AtomicBool::new(false);
    // One cache for all, as on one machine.
    let options = job(photos.path(), work.path());
    let mut results = ranks(2, |collective| {
        let mut most = 0;
        let result = run_on(collective, &options, &quiet, &mut |event| {
            if let JobEvent::Extracting { total, .. } = event {
                most = most.max(total);
            }
        });
        (result.unwrap(), most)
    });
    let (other, _) = results.pop().unwrap();
    assert!(other.is_none());
    let (first, most) = results.pop().unwrap();
    let first = first.unwrap();
    let views = 8 * (5 + 2 + 1) + 1;
    assert_eq!(most, views, "progress counts the views of both");
    assert_eq!(first.metrics["features"]["computed"], views - 1);
    assert_eq!(first.metrics["skipped"], 1);
    let count = |split: &str| first.metrics["metrics"][split]["count"].as_u64().unwrap();
    assert_eq!([count("train"), count("valid"), count("test")], [40, 16, 8]);
    // One instance goes on with what both have computed.
    let again = run(&options, &quiet, &mut |_| {}).unwrap();
    assert_eq!(again.metrics["features"]["computed"], 0);
    assert_eq!(again.metrics["metrics"]["test"]["top1"], first.metrics["metrics"]["test"]["top1"]);
}

#[test]
fn shares_of_the_features_are_all_features() {
    let (photos, work) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    samples(photos.path());
    let options = job(photos.path(), work.path());
    let quiet = AtomicBool::new(false);
    let mut computed = 0;
    for rank in 0..3 {
        let mut last = 0;
        share_features(&options, (rank, 3), &quiet, &mut |event| {
            if let JobEvent::Extracting { done, .. } = event {
                last = done;
            }
        })
        .unwrap();
        assert!((20..=22).contains(&last), "{last} of 64");
        computed += last;
    }
    assert_eq!(computed, 64);
    let after = run(&options, &quiet, &mut |_| {}).unwrap();
    assert_eq!(after.metrics["features"]["computed"], 0);
}

#[test]
fn instances_that_are_set_up_differently_are_refused() {
    let (photos, work) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    samples(photos.path());
    let quiet = AtomicBool::new(false);
    let errors = ranks(2, |collective| {
        let mut options = job(photos.path(), work.path());
        options.train.batch_size += collective.rank();
        run_on(collective, &options, &quiet, &mut |_| {}).unwrap_err().to_string()
    });
    assert!(errors.iter().all(|e| e.contains("differ in the options")), "{errors:?}");
}

#[test]
fn a_stop_during_the_features_stops_all() {
    let (photos, work) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    samples(photos.path());
    let options = job(photos.path(), work.path());
    let errors = ranks(2, |collective| {
        let stop = AtomicBool::new(false);
        let last = collective.rank() == 1;
        run_on(collective, &options, &stop, &mut |event| {
            if let JobEvent::Extracting { .. } = event {
                stop.store(last, Relaxed);
            }
        })
        .unwrap_err()
    });
    for error in errors {
        assert!(matches!(error, JobError::Interrupted { .. }), "{error}");
    }
}

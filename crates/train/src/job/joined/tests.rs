//! Instances that meet in a folder make the model of one, to the last bit: the head is trained by one of them.

use std::fs;
use std::path::Path;

use kennel_base::TrainOptions;
use kennel_infer::engine::EngineKind;
use kennel_infer::hub::{BUILTIN, OpenOptions};

use super::*;
use crate::dataset::SplitOptions;
use crate::job::{Photos, run};
use crate::samples::{SampleOptions, write_dataset};

fn job(photos: &Path, work: &Path) -> JobOptions {
    JobOptions {
        photos: Photos::Folder(photos.to_owned()),
        backbone: BUILTIN.to_owned(),
        open: OpenOptions::default(),
        split: SplitOptions::default(),
        train: TrainOptions { epochs: 2, batch_size: 16, ..TrainOptions::default() },
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

/// Each file of `whole` to one of the folders in turn, with one that is no picture.
fn deal(whole: &Path, parts: &[tempfile::TempDir]) {
    let mut number = 0;
    let mut folders = vec![whole.to_owned()];
    while let Some(folder) = folders.pop() {
        let mut paths: Vec<_> = fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
        paths.sort();
        for path in paths {
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let part = parts[number % parts.len()].path();
            let to = part.join(path.strip_prefix(whole).unwrap());
            fs::create_dir_all(to.parent().unwrap()).unwrap();
            fs::copy(&path, to).unwrap();
            number += 1;
        }
    }
}

#[test]
fn three_that_meet_make_the_model_of_one() {
    let (photos, work) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let options = SampleOptions {
        train_per_class: 4,
        valid_per_class: 2,
        test_per_class: 1,
        size: 48,
        ..SampleOptions::default()
    };
    write_dataset(photos.path(), &options, &mut |_, _| {}).unwrap();
    let class = fs::read_dir(photos.path().join("train")).unwrap().next().unwrap().unwrap().path();
    fs::write(class.join("broken.jpg"), b"no picture").unwrap();
    let quiet = AtomicBool::new(false);
    let alone = run(&job(photos.path(), &work.path().join("1")), &quiet, &mut |_| {}).unwrap();

    let parts: Vec<_> = (0..3).map(|_| tempfile::tempdir().unwrap()).collect();
    deal(photos.path(), &parts);
    for (named, sharded) in [("parts", true), ("copies", false)] {
        let work = work.path().join(named);
        let results: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..3)
                .map(|rank| {
                    let folder = if sharded { parts[rank].path() } else { photos.path() };
                    let join = Join { folder: work.join("join"), rank, size: 3 };
                    let (options, quiet) = (job(folder, &work), &quiet);
                    scope.spawn(move || run_joined(&join, &options, quiet, &mut |_| {}).unwrap())
                })
                .collect();
            threads.into_iter().map(|t| t.join().unwrap()).collect()
        });
        assert!(results[1].is_none() && results[2].is_none());
        let first = results.into_iter().next().unwrap().unwrap();
        assert_eq!(first.package.network, alone.package.network, "{named}");
        assert_eq!(first.metrics["skipped"], 1);
        assert_eq!(first.metrics["metrics"], alone.metrics["metrics"]);
        // Counts are those of all: 8 classes with 7 photos, each computed once.
        assert_eq!(first.metrics["features"]["computed"], 56);
        assert_eq!(first.package.manifest.data, alone.package.manifest.data);
    }
}

#[test]
fn waiting_for_one_that_never_comes_can_be_stopped() {
    let (photos, work) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let options = SampleOptions {
        train_per_class: 1,
        valid_per_class: 1,
        test_per_class: 0,
        size: 48,
        ..SampleOptions::default()
    };
    write_dataset(photos.path(), &options, &mut |_, _| {}).unwrap();
    let join = Join { folder: work.path().join("join"), rank: 0, size: 2 };
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| {
            let outcome = run_joined(&join, &job(photos.path(), work.path()), &stop, &mut |_| {});
            outcome.unwrap_err().to_string()
        });
        // It has said what it has, and waits.
        while !work.path().join("join/photos.0").exists() {
            std::thread::yield_now();
        }
        stop.store(true, Relaxed);
        let error = waiting.join().unwrap();
        assert!(error.contains("waited for instance 2"), "{error}");
    });
}

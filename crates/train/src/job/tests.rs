//! Whole jobs on a handful of drawn pictures: what comes out, what is counted, what is refused.

use std::path::Path;

use kennel_base::{ErrorCode, ErrorCoded};
use kennel_infer::photo::encode_jpeg;
use kennel_infer::pipeline;

use super::*;
use crate::samples::{SampleOptions, draw, write_dataset};
use kennel_infer::engine::EngineKind;
use kennel_infer::hub::BUILTIN;
use std::fs;
use std::sync::atomic::Ordering::Relaxed;

fn samples(root: &Path, train: usize, valid: usize, test: usize) {
    let options = SampleOptions {
        train_per_class: train,
        valid_per_class: valid,
        test_per_class: test,
        size: 64,
        ..SampleOptions::default()
    };
    write_dataset(root, &options, &mut |_, _| {}).unwrap();
}

/// One drawn picture as a JPEG file.
fn picture(path: &Path, breed: usize, index: u64) {
    let options = SampleOptions { size: 64, ..SampleOptions::default() };
    let drawn = draw(breed, index, &options).unwrap();
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, encode_jpeg(&drawn, 64, 64, 88).unwrap()).unwrap();
}

fn job(photos: &Path, work: &Path) -> JobOptions {
    JobOptions {
        photos: Photos::Folder(photos.to_owned()),
        backbone: BUILTIN.to_owned(),
        open: OpenOptions::default(),
        split: SplitOptions::default(),
        train: TrainOptions { epochs: 4, batch_size: 8, ..TrainOptions::default() },
        pipeline: PipelineOptions { engine: Some(EngineKind::Rten), ..PipelineOptions::default() },
        max_bad: 0.05,
        cache: work.join("cache"),
        checkpoints: work.join("checkpoints"),
        observe: None,
    }
}

fn run_quietly(options: &JobOptions) -> Result<JobResult, JobError> {
    run(options, &AtomicBool::new(false), &mut |_| {})
}

/// metrics.json without what depends on the machine and on the cache.
fn without_times(metrics: &serde_json::Value) -> serde_json::Value {
    let mut metrics = metrics.clone();
    let object = metrics.as_object_mut().unwrap();
    object.remove("seconds").unwrap();
    object.remove("features").unwrap();
    metrics
}

#[test]
fn a_small_job_gives_a_model_metrics_and_a_report() {
    let (photos, work) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    samples(photos.path(), 4, 2, 1);
    let options = job(photos.path(), work.path());
    let mut events = Vec::new();
    let first = run(&options, &AtomicBool::new(false), &mut |e| events.push(e)).unwrap();

    let metrics = &first.metrics;
    let count = |split: &str| metrics["metrics"][split]["count"].as_u64();
    assert_eq!([count("train"), count("valid"), count("test")], [Some(32), Some(16), Some(8)]);
    assert_eq!(metrics["classes"], 8);
    assert_eq!(metrics["skipped"], 0);
    assert_eq!(metrics["features"]["computed"], 56);
    assert_eq!(metrics["features"]["cached"], 0);
    assert_eq!(metrics["epochs"].as_array().unwrap().len(), first.history.len());
    for split in ["train", "valid", "test"] {
        for (key, high) in [("top1", 1.0), ("top5", 1.0), ("loss", 20.0)] {
            let value = metrics["metrics"][split][key].as_f64().unwrap();
            assert!((0.0..=high).contains(&value), "{split} {key} {value}");
        }
    }
    // Chance is one in eight; even this little training is far above it on what it saw.
    assert!(metrics["metrics"]["train"]["top1"].as_f64().unwrap() > 0.4, "{metrics}");

    let manifest = &first.package.manifest;
    assert_eq!(manifest.classes.len(), 8);
    assert_eq!(manifest.backbone.name, BUILTIN);
    // The rate that was used is written down, also where the job chose it.
    let learning_rate = manifest.training.learning_rate;
    assert!(learning_rate > 0.0);
    assert_eq!(manifest.training, TrainOptions { learning_rate, ..options.train.clone() });
    assert_eq!(manifest.engine, "rten");
    assert_eq!(manifest.data.photos["train"], 32);
    assert_eq!(manifest.data.skipped, 0);
    assert_eq!(
        manifest.metrics["valid_top1"],
        metrics["metrics"]["valid"]["top1"].as_f64().unwrap()
    );
    assert!(first.package.extras.contains_key("metrics.json"));
    assert!(first.report.contains("<svg"), "curves");

    // What is told while it runs: notes, feature vectors to the last one, every epoch.
    assert!(events.contains(&JobEvent::Extracting { done: 56, total: 56 }));
    let epochs = events.iter().filter(|e| matches!(e, JobEvent::Epoch { .. })).count();
    assert_eq!(epochs, first.history.len());

    // The packaged network classifies as training said it would.
    let mut classifier = kennel_infer::classifier::Classifier::load(
        &first.package,
        &engine::EngineOptions { kind: Some(EngineKind::Rten), threads: 1 },
    )
    .unwrap();
    let mut dataset = Dataset::scan(photos.path(), &SplitOptions::default()).unwrap();
    dataset.hash(&AtomicBool::new(false), &mut |_, _| {}).unwrap();
    let of_test: Vec<_> = dataset.of_split(Split::Test).collect();
    let pictures: Vec<_> = of_test
        .iter()
        .map(|p| pipeline::read(&p.path, &options.pipeline.limits).unwrap())
        .collect();
    let rows = classifier.logits(&pictures).unwrap();
    let labels: Vec<usize> = of_test.iter().map(|p| p.class).collect();
    let found = evaluate(&rows, &labels, 8);
    let (_, said) = first.evaluations.iter().find(|(s, _)| *s == Split::Test).unwrap();
    assert_eq!(found.confusion, said.confusion);
    assert!((found.loss - said.loss).abs() < 1e-3, "{} {}", found.loss, said.loss);

    // Again: nothing is computed, and everything is the same to the last bit.
    let again = run_quietly(&options).unwrap();
    assert_eq!(again.metrics["features"]["computed"], 0);
    assert_eq!(again.metrics["features"]["cached"], 56);
    assert_eq!(again.package.network, first.package.network);
    assert_eq!(without_times(&again.metrics), without_times(&first.metrics));

    // A new photo costs one vector, not all.
    picture(&photos.path().join("train").join(&manifest.classes[0].key).join("new.jpg"), 0, 999);
    let more = run_quietly(&options).unwrap();
    assert_eq!(more.metrics["features"]["computed"], 1);
    assert_ne!(more.package.manifest.data.sha256, manifest.data.sha256);
}

#[test]
fn views_are_cached_and_used() {
    let (photos, work) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    samples(photos.path(), 2, 1, 0);
    let mut options = job(photos.path(), work.path());
    options.train.augmentation = kennel_base::Augmentation::Crop;
    options.train.views = 3;
    let found = run_quietly(&options).unwrap();
    // Three views of each training photo, one of each validation photo.
    assert_eq!(found.metrics["features"]["computed"], 8 * (2 * 3 + 1));
    options.train.views = 2;
    let fewer = run_quietly(&options).unwrap();
    assert_eq!(fewer.metrics["features"]["computed"], 0);
}

/// A folder with bad files among 24 pictures of two classes.
fn with_bad_files(root: &Path) {
    for (breed, class) in ["a", "b"].iter().enumerate() {
        for number in 0..12 {
            picture(&root.join(format!("{class}/{number:02}.jpg")), breed, number);
        }
    }
    fs::write(root.join("a/empty.jpg"), b"").unwrap();
    fs::write(root.join("b/text.jpg"), b"this is no picture").unwrap();
    // A copy within a class, and one content under both.
    fs::copy(root.join("a/00.jpg"), root.join("a/copy.jpg")).unwrap();
    fs::copy(root.join("a/01.jpg"), root.join("b/stray.jpg")).unwrap();
}

#[test]
fn bad_files_are_skipped_counted_and_named() {
    let (photos, work) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    with_bad_files(photos.path());
    let mut options = job(photos.path(), work.path());
    options.max_bad = 0.1;
    let mut warnings = Vec::new();
    let found = run(&options, &AtomicBool::new(false), &mut |event| {
        if let JobEvent::Warning(text) = event {
            warnings.push(text);
        }
    })
    .unwrap();
    assert_eq!(found.metrics["skipped"], 2);
    assert_eq!(found.package.manifest.data.skipped, 2);
    // 28 files: 2 unreadable, 2 under two classes, and the copy is used once (or, where the split put
    // the two in different splits, in one of them).
    let used: usize = found.package.manifest.data.photos.values().sum();
    assert_eq!(used, 28 - 2 - 2 - 1);
    let all = warnings.join("\n");
    for wanted in ["2 photos cannot be read", "2 photos stand under two classes"] {
        assert!(all.contains(wanted), "{all}");
    }
    assert!(all.contains("empty.jpg") || all.contains("text.jpg"), "{all}");
    assert!(found.report.contains("cannot be read"));
}

#[test]
fn more_bad_files_than_allowed_are_an_error() {
    let (photos, work) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    with_bad_files(photos.path());
    let options = job(photos.path(), work.path());
    let error = run_quietly(&options).unwrap_err();
    assert_eq!(error.code(), ErrorCode::InvalidInput);
    let text = error.to_string();
    assert!(text.contains("2 of 28 photos") && text.contains("0.05"), "{text}");
    assert!(text.contains("hint:") && text.contains(".jpg`"), "{text}");
}

#[test]
fn hostile_class_names_are_kept_and_escaped() {
    let (photos, work) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let names = ["<script>alert(1)<", "犬 \"quoted\" & 'more'", "007.Ünïcode_hound"];
    for (breed, name) in names.iter().enumerate() {
        for number in 0..6 {
            picture(&photos.path().join(name).join(format!("{number}.jpg")), breed, number);
        }
    }
    let found = run_quietly(&job(photos.path(), work.path())).unwrap();
    let mut keys: Vec<_> = found.package.manifest.classes.iter().map(|c| c.key.as_str()).collect();
    let mut wanted = names.to_vec();
    keys.sort_unstable();
    wanted.sort_unstable();
    assert_eq!(keys, wanted);
    assert!(!found.report.contains("<script>alert"), "a class name became an element");
    assert!(found.report.contains("&lt;script&gt;alert(1)&lt;"));
    assert!(found.report.contains("Ünïcode hound"));
    // The model can be written, read and has the names.
    let file = work.path().join("m.tar.gz");
    found.package.write(&file).unwrap();
    let read = Package::read(&file).unwrap();
    assert_eq!(read.manifest.classes, found.package.manifest.classes);
}

#[test]
fn a_stop_during_extraction_keeps_the_cache_and_one_during_the_head_its_state() {
    let (photos, work) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    samples(photos.path(), 4, 1, 0);
    let mut options = job(photos.path(), work.path());
    options.pipeline.workers = 1;
    options.pipeline.batch = 4;
    let stop = AtomicBool::new(false);
    let error = run(&options, &stop, &mut |event| {
        if let JobEvent::Extracting { done: 8, .. } = event {
            stop.store(true, Relaxed);
        }
    })
    .unwrap_err();
    assert_eq!(error.code(), ErrorCode::Interrupted);
    assert!(error.to_string().contains("are cached\nhint: run the same command again"), "{error}");

    let stop = AtomicBool::new(false);
    let mut computed = 0;
    let error = run(&options, &stop, &mut |event| match event {
        JobEvent::Extracting { total, .. } => computed = total,
        JobEvent::Epoch { epoch, .. } if epoch.epoch == 2 => stop.store(true, Relaxed),
        _ => {}
    })
    .unwrap_err();
    assert!((1..=32).contains(&computed), "{computed} of 40 are left to do");
    assert!(error.to_string().contains("epoch 3 of 4"), "{error}");

    let mut notes = Vec::new();
    let resumed = run(&options, &AtomicBool::new(false), &mut |event| {
        if let JobEvent::Note(text) = event {
            notes.push(text);
        }
    })
    .unwrap();
    assert!(notes.iter().any(|n| n.contains("went on from the checkpoint")), "{notes:?}");
    let elsewhere = tempfile::tempdir().unwrap();
    let mut undisturbed = options.clone();
    undisturbed.cache = elsewhere.path().join("cache");
    undisturbed.checkpoints = elsewhere.path().join("checkpoints");
    let undisturbed = run_quietly(&undisturbed).unwrap();
    assert_eq!(resumed.package.network, undisturbed.package.network);
    assert_eq!(without_times(&resumed.metrics), without_times(&undisturbed.metrics));
}

#[test]
fn a_backbone_that_is_not_there_is_named() {
    let (photos, work) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    samples(photos.path(), 1, 1, 0);
    let mut options = job(photos.path(), work.path());
    options.backbone = "resnet-9000".into();
    let error = run_quietly(&options).unwrap_err();
    assert_eq!(error.code(), ErrorCode::NotFound);
    assert!(error.to_string().contains("`resnet-9000`"), "{error}");
}

//! The native trainer under the debugger: heads trained to have a fault are told apart from healthy ones by
//! the tensors that training really saves.

use std::sync::atomic::AtomicBool;

use kennel_base::{HeadKind, OptimizerKind, ScheduleKind, TrainOptions};
use kennel_debugger::{Evaluator, RuleSpec, Status, Verdict};
use rand::RngExt;
use serde_json::json;

use super::*;
use crate::dataset::generator;
use crate::features::FeatureMatrix;
use crate::head::{self, HeadRequest};

const CLASSES: usize = 4;
const WIDTH: usize = 16;

/// Features in clusters, `counts` of each class; `noise` above 3 mixes the classes.
fn features(counts: [usize; CLASSES], noise: f32, seed: u64) -> FeatureMatrix {
    let mut rng = generator(seed, "observed", 0);
    let mut matrix = FeatureMatrix { width: WIDTH, views: 1, ..FeatureMatrix::default() };
    for (class, &count) in counts.iter().enumerate() {
        for _ in 0..count {
            for axis in 0..WIDTH {
                let centre = if axis % CLASSES == class { 2.0 } else { 0.0 };
                matrix.values.push(centre + noise * rng.random_range(-1.0f32..=1.0));
            }
            matrix.photos.push(matrix.labels.len());
            matrix.labels.push(class);
        }
    }
    matrix
}

fn healthy() -> TrainOptions {
    TrainOptions {
        head: HeadKind::Mlp(12),
        learning_rate: 0.01,
        schedule: ScheduleKind::Constant,
        batch_size: 16,
        epochs: 8,
        early_stopping: 0,
        ..TrainOptions::default()
    }
}

struct Run {
    options: TrainOptions,
    counts: [usize; CLASSES],
    noise: f32,
}

impl Default for Run {
    fn default() -> Self {
        Run { options: healthy(), counts: [32; CLASSES], noise: 1.0 }
    }
}

/// Trains under the hook and answers how a rule judges it.
fn judged(rule: &str, parameters: serde_json::Value, run: &Run) -> Verdict {
    let folder = tempfile::tempdir().unwrap();
    let train = features(run.counts, run.noise, 1);
    let valid = features([8; CLASSES], run.noise, 2);
    let names = [
        "weights",
        "biases",
        "gradients",
        "losses",
        "metrics",
        "inputs",
        "outputs",
        "labels",
        "relu_output",
    ];
    let collections: Vec<_> = names.iter().map(|n| json!({ "CollectionName": n })).collect();
    let hook = json!({
        "HookParameters": { "save_interval": "1" },
        "CollectionConfigurations": collections,
    });
    let observe = Observe {
        host: "algo-1".to_owned(),
        tensors: Some((hook, folder.path().to_owned())),
        profiler: None,
        now_us: 1_700_000_000_000_000,
    };
    let mut warnings = Vec::new();
    let mut tell = |event| {
        if let JobEvent::Warning(text) = event {
            warnings.push(text);
        }
    };
    let mut recorder = Recorder::new(Some(&observe), Instant::now(), (1, 1_000), &mut tell);
    let request = HeadRequest {
        train: &train,
        valid: &valid,
        classes: CLASSES,
        options: &run.options,
        original: None,
        checkpoint: None,
        share: None,
    };
    // A run that diverges is an error, and its tensors are there all the same.
    let _ = head::train(&request, &AtomicBool::new(false), &mut recorder);
    recorder.finish();
    assert_eq!(warnings, Vec::<String>::new());
    let mut all = json!({ "rule_to_invoke": rule });
    all.as_object_mut().unwrap().extend(parameters.as_object().cloned().unwrap_or_default());
    let configuration = json!({
        "RuleConfigurationName": rule,
        "RuleEvaluatorImage": "rules",
        "RuleParameters": all,
    });
    let spec = RuleSpec::from_config(&configuration).unwrap();
    let mut evaluator = Evaluator::new(vec![spec], folder.path(), &[]);
    evaluator.poll(1_700_000_001_000);
    evaluator.finish(1_700_000_002_000);
    evaluator.verdicts().remove(0)
}

/// The rule finds the fault, and nothing in the healthy run.
fn told_apart(rule: &str, parameters: serde_json::Value, faulty: &Run) {
    let sound = judged(rule, parameters.clone(), &Run::default());
    assert_eq!(sound.status, Status::NoIssuesFound, "{rule}: {}", sound.details);
    let found = judged(rule, parameters, faulty);
    assert_eq!(found.status, Status::IssuesFound, "{rule}: {}", found.details);
    assert!(found.details.len() > 20, "{}", found.details);
}

fn with(change: impl FnOnce(&mut TrainOptions)) -> Run {
    let mut run = Run::default();
    change(&mut run.options);
    run
}

#[test]
fn a_rate_that_is_far_too_small_changes_nothing_and_the_loss_stays() {
    let tiny = with(|o| o.learning_rate = 1e-9);
    told_apart("LossNotDecreasing", json!({ "num_steps": "8" }), &tiny);
    told_apart("UnchangedTensor", json!({ "collection_names": "weights" }), &tiny);
    told_apart("WeightUpdateRatio", json!({ "small_threshold": "0.00000001" }), &tiny);
}

#[test]
fn a_rate_that_is_far_too_large_kills_the_hidden_layer() {
    let mut huge = with(|o| {
        o.learning_rate = 50.0;
        o.optimizer = OptimizerKind::Sgd;
    });
    huge.noise = 0.5;
    told_apart("DeadRelu", json!({}), &huge);
}

#[test]
fn a_head_that_learns_its_few_photos_by_heart_overfits() {
    let mut run = with(|o| {
        o.epochs = 60;
        o.learning_rate = 0.03;
        o.batch_size = 8;
        o.weight_decay = 0.0;
        o.head = HeadKind::Mlp(64);
    });
    run.counts = [4; CLASSES];
    run.noise = 6.0;
    told_apart("Overfit", json!({ "ratio_threshold": "2" }), &run);
    told_apart("Overtraining", json!({}), &run);
}

#[test]
fn classes_of_very_different_size_are_seen_in_the_labels() {
    let run = Run { counts: [120, 4, 4, 2], ..Run::default() };
    told_apart("ClassImbalance", json!({}), &run);
}

#[test]
fn what_cannot_be_saved_is_said_once_and_stops_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "no folder").unwrap();
    let observe = Observe {
        host: "algo-1".to_owned(),
        tensors: Some((json!({}), file.join("tensors"))),
        profiler: Some(file.join("profiler")),
        now_us: 1,
    };
    let mut warnings = Vec::new();
    let mut tell = |event| {
        if let JobEvent::Warning(text) = event {
            warnings.push(text);
        }
    };
    let mut recorder = Recorder::new(Some(&observe), Instant::now(), (1, 1_000), &mut tell);
    let (train, valid) = (features([8; CLASSES], 1.0, 1), features([2; CLASSES], 1.0, 2));
    let options = TrainOptions { epochs: 2, ..healthy() };
    let request = HeadRequest {
        train: &train,
        valid: &valid,
        classes: CLASSES,
        options: &options,
        original: None,
        checkpoint: None,
        share: None,
    };
    let trained = head::train(&request, &AtomicBool::new(false), &mut recorder).unwrap();
    assert_eq!(trained.history.len(), 2);
    recorder.finish();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
}

#[test]
fn looking_on_changes_nothing_that_is_learned() {
    let folder = tempfile::tempdir().unwrap();
    let (train, valid) = (features([16; CLASSES], 1.0, 1), features([4; CLASSES], 1.0, 2));
    let options = healthy();
    let request = HeadRequest {
        train: &train,
        valid: &valid,
        classes: CLASSES,
        options: &options,
        original: None,
        checkpoint: None,
        share: None,
    };
    let stop = AtomicBool::new(false);
    let plain = head::train(&request, &stop, &mut |_: &Epoch| {}).unwrap();
    let observe = Observe {
        host: "algo-1".to_owned(),
        tensors: Some((
            json!({ "HookParameters": { "save_interval": "1", "save_all": "true" } }),
            folder.path().join("tensors"),
        )),
        profiler: Some(folder.path().join("profiler")),
        now_us: 1,
    };
    let mut tell = |_| {};
    let mut recorder = Recorder::new(Some(&observe), Instant::now(), (1, 1_000), &mut tell);
    let watched = head::train(&request, &stop, &mut recorder).unwrap();
    recorder.finish();
    assert_eq!(plain, watched);
    assert!(folder.path().join("tensors/algo-1/END").is_file());
}

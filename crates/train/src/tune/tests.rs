//! Tunings on a handful of drawn pictures: that trials share the features, that a killed tuning goes on, and
//! that it ends with the best trial's model.

use std::path::Path;
use std::sync::atomic::Ordering::Relaxed;

use kennel_base::TrainOptions;
use kennel_infer::engine::EngineKind;
use kennel_infer::hub::{BUILTIN, OpenOptions};
use kennel_infer::pipeline::PipelineOptions;
use kennel_tune::{Completion, Domain, Parameter, Scaling, Space, Strategy};

use super::*;
use crate::dataset::SplitOptions;
use crate::job::Photos;
use crate::samples::{SampleOptions, write_dataset};

fn options(root: &Path, trials: usize) -> TuneOptions {
    let photos = root.join("photos");
    if !photos.exists() {
        let samples = SampleOptions {
            train_per_class: 4,
            valid_per_class: 2,
            test_per_class: 1,
            size: 64,
            ..SampleOptions::default()
        };
        write_dataset(&photos, &samples, &mut |_, _| {}).unwrap();
    }
    let parameters = vec![
        Parameter {
            name: "learning_rate".to_owned(),
            domain: Domain::Continuous { min: 1e-5, max: 1e-1, scaling: Scaling::Logarithmic },
        },
        Parameter {
            name: "batch_size".to_owned(),
            domain: Domain::Categorical { values: vec!["\"8\"".to_owned(), "\"16\"".to_owned()] },
        },
    ];
    TuneOptions {
        plan: Plan {
            space: Space::new(parameters).unwrap(),
            strategy: Strategy::Random,
            goal: Goal::Minimize,
            seed: 1,
            max_trials: trials,
            parallel: 1,
            early_stopping: false,
            completion: Completion::default(),
            prior: Vec::new(),
        },
        job: JobOptions {
            photos: Photos::Folder(photos),
            backbone: BUILTIN.to_owned(),
            open: OpenOptions::default(),
            split: SplitOptions::default(),
            train: TrainOptions { epochs: 3, warm_start: false, ..TrainOptions::default() },
            pipeline: PipelineOptions {
                engine: Some(EngineKind::Rten),
                ..PipelineOptions::default()
            },
            max_bad: 0.05,
            cache: root.join("cache"),
            checkpoints: root.join("checkpoints"),
            observe: None,
        },
        objective: Objective::Loss,
        state: root.join("trials.json"),
    }
}

fn go(options: &TuneOptions) -> (TuneResult, Vec<TuneEvent>) {
    let mut events = Vec::new();
    let result = run(options, &AtomicBool::new(false), &mut |e| events.push(e)).unwrap();
    (result, events)
}

fn outcomes(trials: &[TrialRecord]) -> Vec<(Assignment, TrialState, Vec<f64>)> {
    trials.iter().map(|t| (t.values.clone(), t.state, t.reports.clone())).collect()
}

#[test]
fn trials_share_the_features_and_the_best_one_is_packaged() {
    let root = tempfile::tempdir().unwrap();
    let options = options(root.path(), 4);
    let (result, events) = go(&options);
    assert_eq!(result.trials.len(), 4);
    let computed = events.iter().filter(
        |e| matches!(e, TuneEvent::Job(JobEvent::Extracting { done, total }) if done == total),
    );
    assert_eq!(computed.count(), 1, "the features are computed once");
    let values: Vec<f64> = result
        .trials
        .iter()
        .map(|t| match t.state {
            TrialState::Succeeded(value) => value,
            other => panic!("{other:?}"),
        })
        .collect();
    let best = values.iter().copied().fold(f64::INFINITY, f64::min);
    assert_eq!(values[result.best], best);
    let loss = result.job.metrics["metrics"]["valid"]["loss"].as_f64().unwrap();
    assert!((loss - best).abs() < 1e-5, "{loss} {best}");
    let rate = result.trials[result.best].values["learning_rate"].parse::<f64>().unwrap();
    assert_eq!(result.job.package.manifest.training.learning_rate, rate);
}

#[test]
fn a_killed_tuning_goes_on_with_the_trials_it_had() {
    let (whole, parts) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (expected, _) = go(&options(whole.path(), 5));
    // Interrupted after its second trial.
    let options = options(parts.path(), 5);
    let stop = AtomicBool::new(false);
    let error = run(&options, &stop, &mut |event| {
        if matches!(event, TuneEvent::Ended(2, _)) {
            stop.store(true, Relaxed);
        }
    })
    .unwrap_err();
    assert!(matches!(error, TuneError::Job(JobError::Interrupted { .. })), "{error}");
    let (resumed, events) = go(&options);
    assert!(events.contains(&TuneEvent::Resumed(2)));
    assert_eq!(outcomes(&resumed.trials), outcomes(&expected.trials));
    assert_eq!(resumed.job.package.network, expected.job.package.network);
    // Everything is there: the best is trained again, and is the same.
    let (again, events) = go(&options);
    assert!(!events.iter().any(|e| matches!(e, TuneEvent::Started(..))));
    assert_eq!(again.job.package.network, expected.job.package.network);
}

#[test]
fn the_state_of_another_tuning_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let mut options = options(root.path(), 1);
    go(&options);
    options.job.train.epochs = 2;
    let error = run(&options, &AtomicBool::new(false), &mut |_| {}).unwrap_err();
    assert!(matches!(error, TuneError::State(StateError::Other { .. })), "{error}");
    std::fs::write(&options.state, "no state").unwrap();
    let error = run(&options, &AtomicBool::new(false), &mut |_| {}).unwrap_err();
    assert!(matches!(error, TuneError::State(StateError::Damaged { .. })), "{error}");
}

#[test]
fn a_diverging_trial_fails_alone_and_a_bad_name_fails_all() {
    let root = tempfile::tempdir().unwrap();
    let mut options = options(root.path(), 2);
    let rates = ["1e30", "0.01"].map(str::to_owned).to_vec();
    let name = "learning_rate".to_owned();
    options.plan.strategy = Strategy::Grid;
    let domain = Domain::Categorical { values: rates.clone() };
    options.plan.space = Space::new(vec![Parameter { name, domain }]).unwrap();
    let error = run(&options, &AtomicBool::new(false), &mut |_| {}).unwrap_err();
    assert!(matches!(error, TuneError::Hyperparameter(_)), "1e30 is out of range: {error}");
    let domain = Domain::Categorical { values: vec!["1000".to_owned(), "0.01".to_owned()] };
    let name = "learning_rate".to_owned();
    options.plan.space = Space::new(vec![Parameter { name, domain }]).unwrap();
    options.job.train.optimizer = kennel_base::OptimizerKind::Sgd;
    options.job.train.epochs = 40;
    options.job.train.early_stopping = 0;
    options.job.train.weight_decay = 10.0;
    let (result, _) = go(&options);
    assert_eq!(result.trials[0].state, TrialState::Failed, "{:?}", result.trials);
    assert_eq!(result.best, 1);
}

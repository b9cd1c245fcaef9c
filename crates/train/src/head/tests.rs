//! Heads on toy features: what is learned, that the same request gives the same bits however often it
//! is interrupted, and the numbers of schedules, smoothing and weights at points known by hand.

use super::team::Own;
use super::*;
use proptest::prelude::*;
use rand::Rng;
use std::cell::Cell;

const CLASSES: usize = 3;
const WIDTH: usize = 6;

fn noise(rng: &mut impl Rng) -> f32 {
    rng.random_range(-1.0f32..=1.0)
}

/// Clusters around one axis per class, `spread` wide; below 0.5 they cannot touch.
fn clusters(per_class: &[usize], spread: f32, views: usize, seed: u64) -> FeatureMatrix {
    let mut rng = generator(seed, "toy", 0);
    let mut matrix = FeatureMatrix { width: WIDTH, views, ..FeatureMatrix::default() };
    for (class, &count) in per_class.iter().enumerate() {
        for _ in 0..count {
            for _ in 0..views {
                for axis in 0..WIDTH {
                    let centre = if axis == class { 3.0 } else { 0.0 };
                    matrix.values.push(centre + spread * noise(&mut rng));
                }
            }
            matrix.photos.push(matrix.labels.len());
            matrix.labels.push(class);
        }
    }
    matrix
}

fn options() -> TrainOptions {
    TrainOptions {
        learning_rate: 0.05,
        batch_size: 8,
        epochs: 12,
        early_stopping: 0,
        ..TrainOptions::default()
    }
}

fn request<'a>(
    train: &'a FeatureMatrix,
    valid: &'a FeatureMatrix,
    options: &'a TrainOptions,
) -> HeadRequest<'a> {
    HeadRequest {
        train,
        valid,
        classes: CLASSES,
        options,
        checkpoint: None,
        original: None,
        share: None,
    }
}

fn run(request: &HeadRequest<'_>) -> TrainedHead {
    train(request, &AtomicBool::new(false), &mut |_: &Epoch| {}).unwrap()
}

fn accuracy(head: &TrainedHead, matrix: &FeatureMatrix) -> f64 {
    let rows = logits(&head.layers, matrix).unwrap();
    crate::evaluate::evaluate(&rows, &matrix.labels, CLASSES).top1
}

#[test]
fn separable_clusters_are_learned_by_every_head_and_optimiser() {
    let (train, valid) = (clusters(&[24; 3], 1.0, 1, 1), clusters(&[10; 3], 1.0, 1, 2));
    for head in [HeadKind::Linear, HeadKind::Mlp(16)] {
        for optimizer in [OptimizerKind::Adam, OptimizerKind::AdamW, OptimizerKind::Sgd] {
            let options = TrainOptions { head, optimizer, ..options() };
            let trained = run(&request(&train, &valid, &options));
            let named = format!("{head} {optimizer}");
            assert_eq!(accuracy(&trained, &train), 1.0, "{named}");
            assert_eq!(accuracy(&trained, &valid), 1.0, "{named}");
            assert_eq!(trained.history.len(), 12, "{named}");
            let (first, last) = (trained.history[0], trained.history[11]);
            assert!(last.train_loss < 0.5 * first.train_loss, "{named}: {first:?} {last:?}");
            assert_eq!(last.valid_accuracy, Some(1.0), "{named}");
            assert!(!trained.stopped_early && !trained.resumed);
        }
    }
}

#[test]
fn the_seed_alone_decides() {
    let (train, valid) = (clusters(&[20; 3], 2.5, 1, 1), clusters(&[8; 3], 2.5, 1, 2));
    let options = TrainOptions { dropout: 0.3, head: HeadKind::Mlp(8), ..options() };
    let once = run(&request(&train, &valid, &options));
    assert_eq!(once, run(&request(&train, &valid, &options)));
    let other = TrainOptions { seed: 43, ..options };
    assert_ne!(once.layers, run(&request(&train, &valid, &other)).layers);
}

/// What the package's layers give on plain features is what training measured on scaled ones.
#[test]
fn folded_layers_give_the_numbers_that_training_saw() {
    let mut train = clusters(&[20; 3], 3.0, 1, 1);
    let mut valid = clusters(&[12; 3], 3.0, 1, 2);
    // Far from the common scale, so that forgetting to fold would be seen.
    for matrix in [&mut train, &mut valid] {
        matrix.values.iter_mut().for_each(|v| *v *= 250.0);
    }
    for head in [HeadKind::Linear, HeadKind::Mlp(8)] {
        let options = TrainOptions { head, ..options() };
        let trained = run(&request(&train, &valid, &options));
        let best = trained.history[trained.best_epoch - 1];
        let rows = logits(&trained.layers, &valid).unwrap();
        let found = crate::evaluate::evaluate(&rows, &valid.labels, CLASSES);
        let seen = best.valid_loss.unwrap();
        assert!((found.loss - seen).abs() < 1e-4 * seen.max(1.0), "{head}: {} {seen}", found.loss);
        assert_eq!(Some(found.top1), best.valid_accuracy, "{head}");
    }
}

#[test]
fn the_best_epoch_is_kept_and_early_stopping_stops() {
    // Labels of the validation photos are shuffled: learning only makes it worse there.
    let train = clusters(&[20; 3], 0.5, 1, 1);
    let mut valid = clusters(&[12; 3], 0.5, 1, 2);
    valid.labels.rotate_left(12);
    let options = TrainOptions {
        epochs: 40,
        early_stopping: 3,
        schedule: ScheduleKind::Constant,
        ..options()
    };
    let trained = run(&request(&train, &valid, &options));
    assert!(trained.stopped_early);
    assert_eq!(trained.history.len(), trained.best_epoch + 3);
    let losses: Vec<f64> = trained.history.iter().filter_map(|e| e.valid_loss).collect();
    let lowest = losses.iter().copied().fold(f64::INFINITY, f64::min);
    assert_eq!(losses[trained.best_epoch - 1], lowest);
    let never = TrainOptions { early_stopping: 0, ..options };
    assert_eq!(run(&request(&train, &valid, &never)).history.len(), 40);
}

#[test]
fn without_validation_the_last_epoch_is_kept() {
    let (train, none) = (clusters(&[12; 3], 0.5, 1, 1), FeatureMatrix::default());
    let options = TrainOptions { early_stopping: 1, ..options() };
    let trained = run(&request(&train, &none, &options));
    assert_eq!((trained.best_epoch, trained.history.len()), (12, 12));
    assert_eq!(trained.history[0].valid_loss, None);
}

#[test]
fn a_rate_that_explodes_is_an_error_with_a_hint() {
    let (train, valid) = (clusters(&[20; 3], 0.5, 1, 1), clusters(&[4; 3], 0.5, 1, 2));
    let options = TrainOptions {
        optimizer: OptimizerKind::Sgd,
        head: HeadKind::Mlp(16),
        learning_rate: 1e3,
        weight_decay: 10.0,
        epochs: 200,
        schedule: ScheduleKind::Constant,
        ..options()
    };
    let outcome = train_only(&request(&train, &valid, &options));
    let error = outcome.unwrap_err();
    assert!(matches!(error, JobError::Diverged { .. }), "{error}");
    assert!(error.to_string().contains("hint: lower `--learning-rate`"), "{error}");
}

fn train_only(request: &HeadRequest<'_>) -> Result<TrainedHead, JobError> {
    train(request, &AtomicBool::new(false), &mut |_: &Epoch| {})
}

#[test]
fn nothing_to_train_on_is_said() {
    let none = FeatureMatrix::default();
    let options = options();
    let error = train_only(&request(&none, &none, &options)).unwrap_err();
    assert!(matches!(error, JobError::NothingToTrain), "{error}");
}

/// Twelve photos of a class against 240 of another that lie over it: unweighted, the rare class loses.
#[test]
fn class_weights_help_the_rare_class() {
    let train = clusters(&[240, 12, 240], 4.0, 1, 1);
    let even = clusters(&[100; 3], 4.0, 1, 2);
    let rare_recall = |class_weights| {
        let options = TrainOptions { class_weights, epochs: 30, ..options() };
        let trained = run(&request(&train, &FeatureMatrix::default(), &options));
        let rows = logits(&trained.layers, &even).unwrap();
        let found = crate::evaluate::evaluate(&rows, &even.labels, CLASSES);
        let (count, right) = found.per_class()[1];
        right as f64 / count as f64
    };
    let (plain, weighted) = (rare_recall(false), rare_recall(true));
    assert!(weighted > plain + 0.1, "plain {plain}, weighted {weighted}");
}

#[test]
fn class_weights_have_mean_one_per_photo() {
    let options = TrainOptions { class_weights: true, ..options() };
    let labels = [0, 0, 0, 1, 3, 3];
    let weights = class_weights(&options, &labels, 4);
    assert_eq!(weights[2], 0.0, "a class without photos");
    let sum: f32 = labels.iter().map(|&l| weights[l]).sum();
    assert!((sum - 6.0).abs() < 1e-5);
    assert!((weights[1] / weights[0] - 3.0).abs() < 1e-5);
    let off = TrainOptions { class_weights: false, ..options };
    assert_eq!(class_weights(&off, &labels, 4), [1.0; 4]);
}

#[test]
fn schedules_have_their_known_values() {
    let of = |schedule| TrainOptions { schedule, learning_rate: 2.0, ..options() };
    let near = |a: f64, b: f64| assert!((a - b).abs() < 1e-9, "{a} {b}");
    for step in [0, 50, 99] {
        near(learning_rate(&of(ScheduleKind::Constant), step, 100), 2.0);
    }
    let cosine = of(ScheduleKind::Cosine);
    near(learning_rate(&cosine, 0, 100), 2.0);
    near(learning_rate(&cosine, 50, 100), 1.0);
    near(learning_rate(&cosine, 100, 100), 0.0);
    let cycle = of(ScheduleKind::OneCycle);
    near(learning_rate(&cycle, 0, 100), 2.0 / 25.0);
    near(learning_rate(&cycle, 15, 100), 2.0 * (1.0 / 25.0 + 24.0 / 25.0 / 2.0));
    near(learning_rate(&cycle, 30, 100), 2.0);
    near(learning_rate(&cycle, 65, 100), 1.0);
    near(learning_rate(&cycle, 100, 100), 0.0);
}

#[test]
fn targets_are_smoothed_and_weighted_and_views_take_turns() {
    let matrix = clusters(&[2, 2, 2], 0.5, 3, 1);
    let options = TrainOptions { label_smoothing: 0.3, ..options() };
    let weights = [1.0, 2.0, 1.0];
    let own = |photos: &[usize]| Team::new(None, &matrix).unwrap().own(photos);
    let (input, target) = assemble(&matrix, &own(&[0, 2]), &weights, &options, 4);
    assert_eq!(batch_weight(&[0, 2], &matrix.labels, &weights), 3.0);
    let expected = [0.8, 0.1, 0.1, 0.2, 1.6, 0.2];
    for (found, wanted) in target.iter().zip(expected) {
        assert!((found - wanted).abs() < 1e-6, "{target:?}");
    }
    // Photo 0 shows view (4 + 0) % 3, photo 2 view (4 + 2) % 3.
    assert_eq!(&input[..WIDTH], matrix.row(0, 1));
    assert_eq!(&input[WIDTH..], matrix.row(2, 0));
    let plain = TrainOptions { label_smoothing: 0.0, ..options };
    let (_, target) = assemble(&matrix, &own(&[5]), &[1.0; 3], &plain, 0);
    assert_eq!(target, [0.0, 0.0, 1.0]);
}

#[test]
fn dropout_masks_keep_their_share_and_their_sum() {
    let device = Device::flex().autodiff();
    let head = module(&[fresh_layer(1, 0, 50, CLASSES)], &device).unwrap();
    let options = TrainOptions { dropout: 0.25, ..options() };
    let own: Vec<Own> = (0..200).map(|i| Own { row: i, photo: i, local: i }).collect();
    let rows = |own: &[Own], step| {
        values(dropout_mask(&options, own, 200, &head, step, &device).unwrap().inner()).unwrap()
    };
    let mask = |step| rows(&own, step);
    let first = mask(0);
    assert_eq!(first.len(), 200 * 50);
    assert!(first.iter().all(|v| *v == 0.0 || (*v - 1.0 / 0.75).abs() < 1e-6));
    let dropped = first.iter().filter(|v| **v == 0.0).count() as f64 / first.len() as f64;
    assert!((dropped - 0.25).abs() < 0.03, "{dropped}");
    assert_eq!(first, mask(0));
    assert_ne!(first, mask(1));
    // An instance that has some of the rows drops what one with all of them drops there.
    assert_eq!(rows(&own[7..9], 0), first[7 * 50..9 * 50]);
    let off = TrainOptions { dropout: 0.0, ..options };
    assert!(dropout_mask(&off, &own, 200, &head, 0, &device).is_none());
}

/// Runs a request that is stopped again and again, after every batch, until it ends.
fn stopped_after_every_batch(request: &HeadRequest<'_>) -> (TrainedHead, usize) {
    let stop = AtomicBool::new(true);
    for interruptions in 0..10_000 {
        match train(request, &stop, &mut |_: &Epoch| {}) {
            Ok(trained) => return (trained, interruptions),
            Err(JobError::Interrupted { .. }) => {
                assert!(request.checkpoint.unwrap().is_file());
            }
            Err(e) => panic!("{e}"),
        }
    }
    panic!("training does not get anywhere");
}

#[test]
fn stopping_after_every_batch_changes_no_bit() {
    let folder = tempfile::tempdir().unwrap();
    let (train, valid) = (clusters(&[9; 3], 2.5, 2, 1), clusters(&[8; 3], 2.5, 1, 2));
    let path = folder.path().join("below/state.checkpoint");
    for optimizer in [OptimizerKind::Adam, OptimizerKind::AdamW, OptimizerKind::Sgd] {
        for (head, dropout) in [(HeadKind::Linear, 0.0), (HeadKind::Mlp(8), 0.3)] {
            let options = TrainOptions {
                optimizer,
                head,
                dropout,
                epochs: 4,
                label_smoothing: 0.1,
                class_weights: true,
                ..options()
            };
            let whole = request(&train, &valid, &options);
            let straight = run(&whole);
            let (trained, interruptions) =
                stopped_after_every_batch(&HeadRequest { checkpoint: Some(&path), ..whole });
            assert_eq!(interruptions, 16, "4 batches in each of 4 epochs");
            assert!(trained.resumed);
            assert_eq!(trained.layers, straight.layers, "{optimizer} {head}");
            assert_eq!(trained.history, straight.history, "{optimizer} {head}");
            assert_eq!(trained.best_epoch, straight.best_epoch);
            assert!(!path.exists(), "a finished run leaves no checkpoint");
        }
    }
}

#[test]
fn a_stop_between_epochs_goes_on_too() {
    let folder = tempfile::tempdir().unwrap();
    let (train_on, valid) = (clusters(&[9; 3], 2.5, 1, 1), clusters(&[8; 3], 2.5, 1, 2));
    let path = folder.path().join("state.checkpoint");
    let options = options();
    let whole = request(&train_on, &valid, &options);
    let with = HeadRequest { checkpoint: Some(&path), ..whole };
    let stop = AtomicBool::new(false);
    let seen = Cell::new(0);
    let error = train(&with, &stop, &mut |epoch: &Epoch| {
        seen.set(epoch.epoch);
        stop.store(epoch.epoch == 5, Relaxed);
    })
    .unwrap_err();
    assert_eq!(kennel_base::ErrorCoded::code(&error), kennel_base::ErrorCode::Interrupted);
    assert!(error.to_string().contains("epoch 6 of 12"), "{error}");
    assert_eq!(seen.get(), 5);
    let mut epochs = Vec::new();
    let trained =
        train(&with, &AtomicBool::new(false), &mut |epoch: &Epoch| epochs.push(epoch.epoch))
            .unwrap();
    assert_eq!(epochs, (6..=12).collect::<Vec<_>>(), "finished epochs are not run again");
    assert_eq!(TrainedHead { resumed: false, ..trained }, run(&whole));
}

#[test]
fn a_damaged_checkpoint_is_no_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    let (train_on, valid) = (clusters(&[9; 3], 2.5, 1, 1), clusters(&[8; 3], 2.5, 1, 2));
    let path = folder.path().join("state.checkpoint");
    let options = TrainOptions { epochs: 3, ..options() };
    let whole = request(&train_on, &valid, &options);
    let with = HeadRequest { checkpoint: Some(&path), ..whole };
    let straight = run(&whole);
    train(&with, &AtomicBool::new(true), &mut |_: &Epoch| {}).unwrap_err();
    let bytes = std::fs::read(&path).unwrap();
    let line = bytes.iter().position(|b| *b == b'\n').unwrap();
    let mut flipped = bytes.clone();
    flipped[line + 20] ^= 4;
    // A digit of a weight that became another one.
    let mut digit = bytes.clone();
    let at = bytes.windows(9).position(|w| w == b"\"weight\":").unwrap_or(0);
    let at = at + bytes[at..line].iter().position(|b| *b == b'.').unwrap() + 1;
    digit[at] ^= 1;
    let cut = |length: usize| bytes[..length].to_vec();
    let cases = [
        Vec::new(),
        b"{}\n".to_vec(),
        cut(line),
        cut(line + 3),
        cut(bytes.len() - 1),
        flipped,
        digit,
    ];
    for damaged in cases {
        std::fs::write(&path, &damaged).unwrap();
        let trained = run(&with);
        assert!(!trained.resumed, "{} bytes", damaged.len());
        assert_eq!(trained, straight);
    }
    std::fs::write(&path, &bytes).unwrap();
    assert!(run(&with).resumed, "the whole one is used");
}

#[test]
fn known_classes_start_from_their_rows() {
    let (train, valid) = (clusters(&[20; 3], 1.0, 1, 1), clusters(&[10; 3], 1.0, 1, 2));
    // An old classifier of five classes; its classes 4 and 1 are our 0 and 1, ours 2 it does not know.
    let mut original =
        LinearLayer { weight: vec![0.0; WIDTH * 5], bias: vec![0.0; 5], inputs: WIDTH, outputs: 5 };
    original.weight[4] = 1.0;
    original.weight[5 + 1] = 1.0;
    original.bias[0] = 1.0;
    let found = warm::start(&original, &train, CLASSES, &Team::new(None, &train).unwrap())
        .unwrap()
        .unwrap();
    assert_eq!((found.layer.inputs, found.layer.outputs), (WIDTH, CLASSES));
    let column = |layer: &LinearLayer, c: usize| -> Vec<f32> {
        layer.weight.iter().skip(c).step_by(layer.outputs).copied().collect()
    };
    assert_eq!(column(&found.layer, 0), column(&original, 4));
    assert_eq!(column(&found.layer, 1), column(&original, 1));

    let options = TrainOptions { epochs: 1, learning_rate: 1e-9, ..options() };
    let warm = HeadRequest { original: Some(&original), ..request(&train, &valid, &options) };
    let trained = run(&warm);
    assert_eq!(trained.matched, found.matched);
    assert!(trained.matched >= 2);
    // With next to no learning the layer is still the start, scale folded back and forth.
    for (a, b) in trained.layers[0].weight.iter().zip(&found.layer.weight) {
        assert!((a - b).abs() < 1e-4, "{a} {b}");
    }
    let off = TrainOptions { warm_start: false, ..options.clone() };
    assert_eq!(run(&HeadRequest { options: &off, ..warm }).matched, 0);
    let mlp = TrainOptions { head: HeadKind::Mlp(8), ..options };
    assert_eq!(run(&HeadRequest { options: &mlp, ..warm }).matched, 0);
}

#[test]
fn classifiers_that_do_not_match_are_not_used() {
    let train = clusters(&[20; 3], 1.0, 1, 1);
    let layer = |inputs: usize, outputs: usize| LinearLayer {
        weight: vec![0.0; inputs * outputs],
        bias: vec![0.0; outputs],
        inputs,
        outputs,
    };
    let team = Team::new(None, &train).unwrap();
    let start = |layer: &LinearLayer| warm::start(layer, &train, CLASSES, &team).unwrap();
    assert!(start(&layer(WIDTH + 1, 5)).is_none(), "width");
    assert!(start(&layer(WIDTH, 1)).is_none(), "one class");
    // Four rows that each answer to noise: none comes first on half of any class.
    let mut noisy = layer(WIDTH, 6);
    for k in 0..3 {
        noisy.weight[(k + 3) * 6 + 2 * k] = 9.0;
        noisy.weight[(k + 3) * 6 + 2 * k + 1] = -9.0;
    }
    assert!(start(&noisy).is_none(), "noise");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// Rates stay within zero and the peak for any length.
    #[test]
    fn rates_stay_below_the_peak(steps in 1usize..5000, part in 0.0f64..1.0) {
        for schedule in [ScheduleKind::Constant, ScheduleKind::Cosine, ScheduleKind::OneCycle] {
            let options = TrainOptions { schedule, learning_rate: 0.1, ..TrainOptions::default() };
            let rate = learning_rate(&options, (part * steps as f64) as usize, steps);
            prop_assert!((0.0..=0.1 + 1e-12).contains(&rate), "{} {}", schedule, rate);
        }
    }
}

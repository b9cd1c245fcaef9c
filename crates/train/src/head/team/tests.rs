//! Several instances end with the weights of one: on threads here, whatever the shares, and on MPI where it
//! is there (`collective::tests`).

use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;

use kennel_base::{HeadKind, OptimizerKind, TrainOptions};
use kennel_infer::onnx::LinearLayer;
use rand::RngExt;

use crate::collective::Collective;
use crate::collective::testing::ranks;
use crate::dataset::generator;
use crate::features::FeatureMatrix;
use crate::head::{Epoch, HeadRequest, Share, TrainedHead, train};
use crate::job::JobError;

const CLASSES: usize = 5;
const WIDTH: usize = 16;

/// Noisy clusters that no head separates, so that gradients stay alive to the end.
fn clusters(photos: usize, views: usize, seed: u64) -> FeatureMatrix {
    let mut rng = generator(seed, "toy", 0);
    let mut matrix = FeatureMatrix { width: WIDTH, views, ..FeatureMatrix::default() };
    for photo in 0..photos {
        let class = (photo * photo + photo / 3) % CLASSES;
        for _ in 0..views {
            for axis in 0..WIDTH {
                let centre = if axis % CLASSES == class { 1.0 } else { 0.0 };
                matrix.values.push(centre + rng.random_range(-1.5f32..=1.5));
            }
        }
        matrix.photos.push(photo);
        matrix.labels.push(class);
    }
    matrix
}

/// The photos of a matrix that `owner` gives to a rank, and their positions.
fn part(
    matrix: &FeatureMatrix,
    rank: usize,
    owner: impl Fn(usize) -> usize,
) -> (FeatureMatrix, Vec<usize>) {
    let positions: Vec<usize> = (0..matrix.len()).filter(|&p| owner(p) == rank).collect();
    let mut own =
        FeatureMatrix { width: matrix.width, views: matrix.views, ..FeatureMatrix::default() };
    for &position in &positions {
        for view in 0..matrix.views {
            own.values.extend_from_slice(matrix.row(position, view));
        }
        own.labels.push(matrix.labels[position]);
        own.photos.push(matrix.photos[position]);
    }
    (own, positions)
}

/// What all ranks are given.
#[derive(Clone, Copy)]
struct Task<'a> {
    train: &'a FeatureMatrix,
    valid: &'a FeatureMatrix,
    options: &'a TrainOptions,
    original: Option<&'a LinearLayer>,
}

impl Task<'_> {
    fn alone(&self) -> TrainedHead {
        let request = HeadRequest {
            train: self.train,
            valid: self.valid,
            classes: CLASSES,
            options: self.options,
            original: self.original,
            checkpoint: None,
            share: None,
        };
        train(&request, &AtomicBool::new(false), &mut |_: &Epoch| {}).unwrap()
    }

    fn share(
        &self,
        collective: &dyn Collective,
        owner: impl Fn(usize) -> usize + Copy,
        checkpoint: Option<&std::path::Path>,
        stop: &AtomicBool,
        on_epoch: &mut dyn FnMut(&Epoch),
    ) -> Result<TrainedHead, JobError> {
        let (own, positions) = part(self.train, collective.rank(), owner);
        let (valid, _) = part(self.valid, collective.rank(), owner);
        let share = Share { collective, positions: &positions, labels: &self.train.labels };
        let request = HeadRequest {
            train: &own,
            valid: &valid,
            classes: CLASSES,
            options: self.options,
            original: self.original,
            checkpoint,
            share: Some(share),
        };
        train(&request, stop, &mut |epoch: &Epoch| on_epoch(epoch))
    }

    fn together(
        &self,
        size: usize,
        owner: impl Fn(usize) -> usize + Copy + Sync,
    ) -> Vec<TrainedHead> {
        ranks(size, |collective| {
            let quiet = AtomicBool::new(false);
            self.share(&**collective, owner, None, &quiet, &mut |_| {}).unwrap()
        })
    }
}

fn difference(a: &TrainedHead, b: &TrainedHead) -> f32 {
    assert_eq!(a.layers.len(), b.layers.len());
    a.layers
        .iter()
        .zip(&b.layers)
        .flat_map(|(a, b)| a.weight.iter().zip(&b.weight).chain(a.bias.iter().zip(&b.bias)))
        .map(|(a, b)| (a - b).abs())
        .fold(0.0, f32::max)
}

fn options() -> TrainOptions {
    TrainOptions { batch_size: 16, epochs: 4, learning_rate: 0.02, ..TrainOptions::default() }
}

/// A name, the number of ranks, and which of them has a photo.
type Owners = (&'static str, usize, fn(usize) -> usize);

/// How photos lie on the ranks: evenly, unevenly, in blocks, and with a rank that has none.
fn owners() -> Vec<Owners> {
    vec![
        ("even", 2, |p| p % 2),
        ("three", 3, |p| p % 3),
        ("uneven", 3, |p| if p.is_multiple_of(10) { 0 } else { 1 + p % 2 }),
        ("blocks", 2, |p| usize::from(p > 80)),
        ("empty", 3, |p| 2 * (p % 2)),
    ]
}

#[test]
fn several_instances_give_the_weights_of_one() {
    // 109 photos: the last batch of an epoch is smaller, and some batches miss a rank.
    let (train_on, valid) = (clusters(109, 2, 1), clusters(31, 1, 2));
    let heads = [(HeadKind::Linear, 0.0), (HeadKind::Mlp(12), 0.3)];
    for optimizer in [OptimizerKind::Adam, OptimizerKind::AdamW, OptimizerKind::Sgd] {
        for (head, dropout) in heads {
            let options = TrainOptions {
                head,
                dropout,
                optimizer,
                label_smoothing: 0.1,
                class_weights: true,
                ..options()
            };
            let task = Task { train: &train_on, valid: &valid, options: &options, original: None };
            let alone = task.alone();
            for (named, size, owner) in owners() {
                let all = task.together(size, owner);
                for other in &all[1..] {
                    assert_eq!(other, &all[0], "{named}: ranks end with the same bits");
                }
                let apart = difference(&alone, &all[0]);
                assert!(apart <= 1e-5, "{optimizer} {head} {named}: {apart}");
                assert_eq!(all[0].best_epoch, alone.best_epoch);
                assert_eq!(all[0].options, alone.options);
                for (a, b) in alone.history.iter().zip(&all[0].history) {
                    assert!((a.train_loss - b.train_loss).abs() < 1e-4, "{a:?} {b:?}");
                    assert_eq!(a.train_accuracy, b.train_accuracy, "{named}");
                    assert_eq!(a.valid_accuracy, b.valid_accuracy, "{named}");
                }
            }
        }
    }
}

#[test]
fn a_warm_start_is_that_of_all_photos() {
    let (train_on, valid) = (clusters(90, 1, 1), clusters(20, 1, 2));
    let mut original =
        LinearLayer { weight: vec![0.0; WIDTH * 7], bias: vec![0.0; 7], inputs: WIDTH, outputs: 7 };
    for axis in 0..WIDTH {
        original.weight[axis * 7 + axis % CLASSES] = 2.0;
    }
    let options = options();
    let task =
        Task { train: &train_on, valid: &valid, options: &options, original: Some(&original) };
    let alone = task.alone();
    assert!(alone.matched >= 3);
    // Photos by class: no rank alone could match them all.
    let labels = &train_on.labels;
    for size in [2, 3] {
        let all = task.together(size, |p| labels.get(p).copied().unwrap_or(p) % size);
        assert_eq!(all[0].matched, alone.matched);
        assert!(difference(&alone, &all[0]) <= 1e-5);
    }
}

#[test]
fn early_stopping_is_decided_together() {
    let (train_on, valid) = (clusters(60, 1, 1), clusters(25, 1, 2));
    let options = TrainOptions { early_stopping: 1, learning_rate: 0.3, epochs: 30, ..options() };
    let task = Task { train: &train_on, valid: &valid, options: &options, original: None };
    let alone = task.alone();
    assert!(alone.stopped_early);
    for head in task.together(3, |p| p % 3) {
        assert!(head.stopped_early);
        assert_eq!(head.history.len(), alone.history.len());
    }
}

#[test]
fn a_stop_of_one_instance_is_one_checkpoint_and_all_go_on_from_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.checkpoint");
    let (train_on, valid) = (clusters(70, 1, 1), clusters(25, 1, 2));
    let options = options();
    let task = Task { train: &train_on, valid: &valid, options: &options, original: None };
    let straight = task.together(3, |p| p % 3);
    // The last rank is told to stop after the second epoch; the others know nothing of it.
    let outcomes = ranks(3, |collective| {
        let stop = AtomicBool::new(false);
        let last = collective.rank() == 2;
        task.share(&**collective, |p| p % 3, Some(&path), &stop, &mut |epoch| {
            stop.store(last && epoch.epoch == 2, Relaxed);
        })
    });
    for outcome in outcomes {
        let error = outcome.unwrap_err().to_string();
        assert!(error.contains("epoch 3 of 4"), "{error}");
    }
    assert!(path.exists());
    // Two instances go on from what three have left.
    let quiet = AtomicBool::new(false);
    let resumed = ranks(2, |collective| {
        task.share(&**collective, |p| p % 2, Some(&path), &quiet, &mut |_| {}).unwrap()
    });
    assert!(resumed.iter().all(|head| head.resumed));
    assert_eq!(resumed[0], resumed[1]);
    assert!(difference(&straight[0], &resumed[0]) <= 1e-5);
    assert!(!path.exists(), "a finished run leaves no checkpoint");
}

#[test]
fn shares_that_do_not_fit_are_refused() {
    let matrix = clusters(4, 1, 1);
    let labels = [0; 6];
    for positions in [&[0, 1, 2][..], &[0, 1, 2, 6], &[0, 2, 1, 3]] {
        let share = Share { collective: &crate::collective::Single, positions, labels: &labels };
        assert!(super::Team::new(Some(share), &matrix).is_err(), "{positions:?}");
    }
}

/// The same on ranks that the caller has, for engines that need processes; answers the largest difference.
pub(crate) fn equality(collective: &dyn Collective) -> f32 {
    let (train_on, valid) = (clusters(109, 2, 1), clusters(31, 1, 2));
    let size = collective.size();
    let mut largest = 0f32;
    for head in [HeadKind::Linear, HeadKind::Mlp(12)] {
        let options = TrainOptions { head, class_weights: true, ..options() };
        let task = Task { train: &train_on, valid: &valid, options: &options, original: None };
        let alone = task.alone();
        let quiet = AtomicBool::new(false);
        let uneven = |p: usize| if p.is_multiple_of(10) { 0 } else { (p + 1) % size };
        let one_is_empty = |p: usize| p % (size - 1);
        for together in [
            task.share(collective, |p| p % size, None, &quiet, &mut |_| {}),
            task.share(collective, uneven, None, &quiet, &mut |_| {}),
            task.share(collective, one_is_empty, None, &quiet, &mut |_| {}),
        ] {
            largest = largest.max(difference(&alone, &together.unwrap()));
        }
    }
    largest
}

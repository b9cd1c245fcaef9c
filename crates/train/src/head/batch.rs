//! One batch as numbers: input and target rows of the photos that this instance has, the weight of the whole
//! batch, dropout, and what was right.

use burn::tensor::{Device, Tensor, TensorData};
use kennel_base::TrainOptions;
use rand::RngExt;

use super::network::Head;
use super::team::Own;
use crate::dataset::generator;
use crate::features::FeatureMatrix;

/// The weight of a batch in the loss, of all its photos wherever they are.
pub(super) fn batch_weight(batch: &[usize], labels: &[usize], weights: &[f32]) -> f32 {
    batch.iter().map(|&photo| weights[labels[photo]]).sum::<f32>().max(f32::MIN_POSITIVE)
}

/// Input rows and target rows (smoothed and weighted) of the photos of a batch that this instance has.
pub(super) fn assemble(
    features: &FeatureMatrix,
    own: &[Own],
    weights: &[f32],
    options: &TrainOptions,
    epoch: usize,
) -> (Vec<f32>, Vec<f32>) {
    let classes = weights.len();
    let mut input = Vec::with_capacity(own.len() * features.width);
    let mut target = vec![0.0; own.len() * classes];
    let smoothing = options.label_smoothing as f32;
    for (own, row) in own.iter().zip(target.chunks_exact_mut(classes)) {
        // Every photo shows one of its views per epoch, all of them in turn, not all the same one.
        let view = (epoch + own.photo) % features.views.max(1);
        input.extend_from_slice(features.row(own.local, view));
        let label = features.labels[own.local];
        let weight = weights[label];
        row.fill(weight * smoothing / classes as f32);
        row[label] += weight * (1.0 - smoothing);
    }
    (input, target)
}

/// Inverted dropout from a generator of our own: burn's has one seed for the whole process. It is drawn for
/// the whole batch, and each instance takes its rows.
pub(super) fn dropout_mask(
    options: &TrainOptions,
    own: &[Own],
    rows: usize,
    head: &Head,
    step: usize,
    device: &Device,
) -> Option<Tensor<2>> {
    if options.dropout <= 0.0 {
        return None;
    }
    let [width, _] = head.output.weight.val().dims();
    let keep = 1.0 - options.dropout;
    let mut rng = generator(options.seed, "dropout", step as u64);
    let mask: Vec<f32> = (0..rows * width)
        .map(|_| if rng.random_bool(keep) { (1.0 / keep) as f32 } else { 0.0 })
        .collect();
    let mask: Vec<f32> =
        own.iter().flat_map(|o| mask[o.row * width..][..width].iter().copied()).collect();
    Some(Tensor::from_data(TensorData::new(mask, [own.len(), width]), device))
}

pub(super) fn correct(
    logits: Vec<f32>,
    own: &[Own],
    train: &FeatureMatrix,
    classes: usize,
) -> usize {
    logits
        .chunks_exact(classes)
        .zip(own)
        .filter(|(row, own)| {
            kennel_infer::classifier::top_k(row, 1).first() == Some(&train.labels[own.local])
        })
        .count()
}

//! The trainable part: a linear layer or a small MLP on cached features, trained with burn.
//!
//! Features are brought to one common scale while training, so that a learning rate means the same for
//! every backbone; the scale is folded into the first layer's weights at the end, and the packaged
//! network takes the backbone's features as they are. (Standardising every dimension on its own was
//! measured too and costs up to 1.5 points: it lifts noise.) Everything random comes from seeded generators of our own, so the
//! result depends on the seed, the features and the options alone, and not on how many instances train:
//! `team` has what they do together.

mod batch;
mod checkpoint;
mod network;
mod state;
mod team;
mod warm;
mod watch;

use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use burn::optim::decay::WeightDecayConfig;
use burn::optim::momentum::MomentumConfig;
use burn::optim::{AdamConfig, AdamWConfig, GradientsParams, ModuleOptimizer, SgdConfig};
use burn::tensor::activation::log_softmax;
use burn::tensor::{Device, Tensor, TensorData};
use kennel_base::{HeadKind, OptimizerKind, ScheduleKind, TrainOptions};
use kennel_infer::onnx::LinearLayer;
use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};

use crate::collective;
use crate::dataset::generator;
use crate::features::FeatureMatrix;
use crate::job::JobError;

use batch::{assemble, batch_weight, correct, dropout_mask};
use network::{
    Head, extract_layers, fresh_layer, module, values, watched_gradients, watched_parameters,
};

use state::{Running, State, saved};
use team::{StepSums, Team};

pub use checkpoint::CheckpointError;
pub use team::Share;
#[cfg(test)]
pub(crate) use team::tests as team_tests;
pub use watch::{Flow, Moment, Watch, Watched};

/// What one pass over the training photos gave.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Epoch {
    /// Number, from 1.
    pub epoch: usize,
    /// Mean training loss over the epoch, as optimised (smoothed and weighted if asked for).
    pub train_loss: f64,
    /// Share of training photos that were right when they were seen.
    pub train_accuracy: f64,
    /// Cross entropy on the validation split, neither smoothed nor weighted.
    pub valid_loss: Option<f64>,
    /// Top-1 on the validation split.
    pub valid_accuracy: Option<f64>,
    /// Learning rate at the last step.
    pub learning_rate: f64,
}

/// A trained head.
#[derive(Debug, Clone, PartialEq)]
pub struct TrainedHead {
    /// Its layers, ReLU between them, taking features as the backbone gives them.
    pub layers: Vec<LinearLayer>,
    /// Every epoch that ran.
    pub history: Vec<Epoch>,
    /// The epoch whose weights these are.
    pub best_epoch: usize,
    /// Whether early stopping ended it.
    pub stopped_early: bool,
    /// Whether it went on from a checkpoint.
    pub resumed: bool,
    /// Classes that the backbone's own classifier recognised and that started from its rows.
    pub matched: usize,
    /// The options with nothing left open, as they were used.
    pub options: TrainOptions,
}

/// What a head is trained on and how.
#[derive(Debug, Clone, Copy)]
pub struct HeadRequest<'a> {
    /// Training features; of several instances those of this one.
    pub train: &'a FeatureMatrix,
    /// Validation features; may be empty. Of several instances those of this one.
    pub valid: &'a FeatureMatrix,
    /// Number of classes.
    pub classes: usize,
    /// Options.
    pub options: &'a TrainOptions,
    /// The backbone's own classifier, for a warm start.
    pub original: Option<&'a LinearLayer>,
    /// Where an interrupted run leaves its state, and finds it. Of several instances the first uses it.
    pub checkpoint: Option<&'a Path>,
    /// What this instance has, where several train the head.
    pub share: Option<Share<'a>>,
}

/// The root mean square that features are brought to: that of the network on which the default
/// learning rates were chosen, so that they carry over.
const SCALE: f64 = 0.77;

/// The factor that brings the training features to [`SCALE`].
fn common_scale(matrix: &FeatureMatrix, team: &Team<'_>) -> Result<f32, JobError> {
    let square: f64 = matrix.values.iter().map(|&v| f64::from(v) * f64::from(v)).sum();
    let mut sums = [square, matrix.values.len() as f64];
    team.sum(&mut sums)?;
    let mean = (sums[0] / sums[1].max(1.0)).sqrt();
    Ok(if mean > 1e-12 && mean.is_finite() { (SCALE / mean) as f32 } else { 1.0 })
}

/// Folds a factor on the features into the first layer.
fn fold(layers: &mut [LinearLayer], factor: f32) {
    if let Some(first) = layers.first_mut() {
        first.weight.iter_mut().for_each(|w| *w *= factor);
    }
}

/// Scaled copy of a matrix.
fn scaled(matrix: &FeatureMatrix, factor: f32) -> FeatureMatrix {
    let mut copy = matrix.clone();
    copy.values.iter_mut().for_each(|v| *v *= factor);
    copy
}

/// The learning rate of a step out of all steps.
pub fn learning_rate(options: &TrainOptions, step: usize, steps: usize) -> f64 {
    let peak = options.learning_rate;
    let progress = step as f64 / steps.max(1) as f64;
    let cosine = |share: f64| 0.5 * (1.0 + (std::f64::consts::PI * share).cos());
    match options.schedule {
        ScheduleKind::Constant => peak,
        ScheduleKind::Cosine => peak * cosine(progress),
        ScheduleKind::OneCycle => {
            let warm_up = 0.3;
            if progress < warm_up {
                peak * (1.0 / 25.0 + (1.0 - 1.0 / 25.0) * progress / warm_up)
            } else {
                peak * cosine((progress - warm_up) / (1.0 - warm_up))
            }
        }
    }
}

/// Adam's ε. Below it a second moment no longer amplifies what is rounding: with 1e-8 the weights of several
/// instances differ from those of one by 1e-4 after some steps, with this by 1e-7 (docs/adr/0016).
const EPSILON: f32 = 1e-5;

fn optimizer(options: &TrainOptions) -> ModuleOptimizer {
    let decay = options.weight_decay as f32;
    match options.optimizer {
        OptimizerKind::Adam => {
            let weight_decay = (decay > 0.0).then(|| WeightDecayConfig::new(decay));
            AdamConfig::new().with_epsilon(EPSILON).with_weight_decay(weight_decay).init()
        }
        OptimizerKind::AdamW => {
            AdamWConfig::new().with_epsilon(EPSILON).with_weight_decay(decay).init()
        }
        OptimizerKind::Sgd => {
            let weight_decay = (decay > 0.0).then(|| WeightDecayConfig::new(decay));
            let momentum = MomentumConfig::new().with_momentum(0.9).with_dampening(0.0);
            SgdConfig::new().with_momentum(Some(momentum)).with_weight_decay(weight_decay).init()
        }
    }
}

/// Weight of each class in the loss: 1, or inversely to its number of photos with mean 1 per photo.
fn class_weights(options: &TrainOptions, labels: &[usize], classes: usize) -> Vec<f32> {
    if !options.class_weights {
        return vec![1.0; classes];
    }
    let mut counts = vec![0usize; classes];
    for &label in labels {
        counts[label] += 1;
    }
    let present = counts.iter().filter(|c| **c > 0).count().max(1);
    counts
        .into_iter()
        .map(|c| if c == 0 { 0.0 } else { labels.len() as f32 / (present * c) as f32 })
        .collect()
}

/// Trains a head while `watch` looks on.
///
/// # Errors
/// [`JobError::Interrupted`] when `stop` became true, with the state in the checkpoint; others when
/// there is nothing to train on or the checkpoint cannot be written.
pub fn train(
    request: &HeadRequest<'_>,
    stop: &AtomicBool,
    watch: &mut dyn Watch,
) -> Result<TrainedHead, JobError> {
    let HeadRequest { train, valid, classes, options, original, share, checkpoint } = *request;
    let mut team = Team::new(share, train)?;
    if team.photos() == 0 || train.width == 0 {
        return Err(JobError::NothingToTrain);
    }
    // One of several instances looks after the file.
    let checkpoint = checkpoint.filter(|_| team.is_first());
    let given = options;
    let device = Device::flex().autodiff();
    let factor = common_scale(train, &team)?;
    let features = scaled(train, factor);
    let valid = scaled(valid, factor);
    let (mut matched, mut start) = (0, None);
    if let (HeadKind::Linear, true, Some(original)) = (given.head, given.warm_start, original)
        && let Some(warm) = warm::start(original, train, classes, &team)?
    {
        matched = warm.matched;
        let mut layers = vec![warm.layer];
        // The fold's inverse: the head sees scaled features.
        fold(&mut layers, 1.0 / factor);
        start = Some(layers);
    }
    let options = &given.resolve(team.photos(), matched > 0);
    let weights = class_weights(options, team.labels, classes);
    let steps_per_epoch = team.photos().div_ceil(options.batch_size);
    let total_steps = steps_per_epoch * options.epochs;
    let fresh = match (start, options.head) {
        (Some(layers), _) => layers,
        (None, HeadKind::Linear) => vec![fresh_layer(options.seed, 0, train.width, classes)],
        (None, HeadKind::Mlp(hidden)) => vec![
            fresh_layer(options.seed, 0, train.width, hidden),
            fresh_layer(options.seed, 1, hidden, classes),
        ],
    };
    let mut state = State {
        epoch: 0,
        step_in_epoch: 0,
        running: Running::default(),
        history: Vec::new(),
        best_loss: None,
        best_epoch: 0,
        since_best: 0,
        layers: saved(&fresh),
        best_layers: saved(&fresh),
    };
    let mut optimizer = optimizer(options);
    // All instances start from the first one's state, not from a seed: a seed gives the same numbers only
    // as long as all instances are the same program on the same kind of machine.
    let found = checkpoint.and_then(|path| std::fs::read(path).ok()).unwrap_or_default();
    let found = collective::broadcast_bytes(team.collective, found)?;
    let found = checkpoint::read::<State>(&found);
    let resumed = found.is_some();
    match found {
        Some((found, bytes)) => {
            state = found;
            if let Some(bytes) = bytes {
                optimizer = optimizer
                    .from_bytes(bytes)
                    .map_err(|e| JobError::Internal { reason: format!("checkpoint: {e}") })?;
            }
        }
        None => {
            for layer in &mut state.layers {
                team.collective.broadcast(&mut layer.weight, 0)?;
                team.collective.broadcast(&mut layer.bias, 0)?;
            }
            state.best_layers.clone_from(&state.layers);
        }
    }
    let layers: Vec<LinearLayer> = state.layers.iter().map(LinearLayer::from).collect();
    let mut head = module(&layers, &device)?;
    // A run may have been killed between its last epoch's checkpoint and its end.
    let patience_is_over =
        |since_best: usize| options.early_stopping > 0 && since_best >= options.early_stopping;
    let mut stopped_early = patience_is_over(state.since_best);
    let mut last_saved = Instant::now();

    while state.epoch < options.epochs && !stopped_early {
        let mut order: Vec<usize> = (0..team.photos()).collect();
        order.shuffle(&mut generator(options.seed, "order", state.epoch as u64));
        let batches: Vec<&[usize]> = order.chunks(options.batch_size).collect();
        for (number, batch) in batches.iter().enumerate().skip(state.step_in_epoch) {
            let step = state.epoch * steps_per_epoch + number;
            let moment = Moment {
                step: step as u64,
                epoch: state.epoch + 1,
                ends_epoch: number + 1 == batches.len(),
                evaluation: false,
            };
            let wanted = watch.wants(moment);
            let begun = Instant::now();
            let mut gathering = Duration::ZERO;
            let rate = learning_rate(options, step, total_steps);
            let own = team.own(batch);
            let weight = batch_weight(batch, team.labels, &weights);
            let mut sums = StepSums { loss: 0.0, right: 0, stop: stop.load(Relaxed) };
            let mut watched = Vec::new();
            let mut gradients = None;
            if wanted {
                let since = Instant::now();
                watched = watched_parameters(&head)?;
                gathering += since.elapsed();
            }
            if !own.is_empty() {
                let count = own.len();
                let (input, target) = assemble(&features, &own, &weights, options, state.epoch);
                let input = Tensor::<2>::from_data(
                    TensorData::new(input, [count, features.width]),
                    &device,
                );
                let target =
                    Tensor::<2>::from_data(TensorData::new(target, [count, classes]), &device);
                let mask = dropout_mask(options, &own, batch.len(), &head, step, &device);
                let (logits, hidden) = head.forward_watched(input.clone(), mask);
                sums.right = correct(values(logits.clone().inner())?, &own, train, classes);
                if wanted {
                    let since = Instant::now();
                    let labels = own.iter().map(|o| train.labels[o.local] as f32).collect();
                    watched.extend([
                        whole("head.input", "inputs", input.inner())?,
                        whole("logits", "outputs", logits.clone().inner())?,
                        Watched {
                            name: "labels",
                            collection: "labels",
                            shape: vec![count],
                            values: labels,
                        },
                    ]);
                    if let Some(hidden) = hidden {
                        watched.push(whole(
                            "head.hidden.relu_output_0",
                            "relu_output",
                            hidden.inner(),
                        )?);
                    }
                    gathering += since.elapsed();
                }
                let log_probabilities = log_softmax(logits, 1);
                // This instance's sum over the weight of the whole batch: the sums of all instances add up
                // to the loss of the batch, whatever share each one had.
                let loss = (log_probabilities * target).sum().neg().div_scalar(weight);
                sums.loss = values(loss.clone().inner())?.first().copied().unwrap_or(f32::NAN);
                gradients = Some(GradientsParams::from_grads(loss.backward(), &head));
            }
            let (gradients, sums) = team.reduce(&head, gradients, sums, &device)?;
            if !sums.loss.is_finite() {
                return Err(JobError::Diverged { epoch: state.epoch + 1, rate });
            }
            if wanted {
                let since = Instant::now();
                let accuracy = sums.right as f64 / batch.len() as f64;
                watched.push(Watched::number("accuracy", "metrics", accuracy));
                watched.extend(watched_gradients(&head, &gradients)?);
                watched.push(Watched::number("loss", "losses", f64::from(sums.loss)));
                watch.tensors(moment, &watched)?;
                gathering += since.elapsed();
            }
            head = optimizer.step(rate, head, gradients);
            watch.step(moment, begun.elapsed().saturating_sub(gathering));
            state.running.correct += sums.right;
            state.running.loss += f64::from(sums.loss) * f64::from(weight);
            state.running.weight += f64::from(weight);
            state.running.seen += batch.len();
            state.step_in_epoch = number + 1;
            // Of one instance the flag as it is now, of several as all of them know it.
            let alone = team.collective.size() == 1;
            if (alone && stop.load(Relaxed)) || (!alone && sums.stop) {
                state.layers = saved(&extract_layers(&head)?);
                if let Some(path) = checkpoint {
                    checkpoint::write(path, &state, &optimizer)?;
                }
                // Nobody ends the others before the state is on the disk.
                team.collective.barrier()?;
                return Err(JobError::Interrupted {
                    state: format!(
                        "the head is at epoch {} of {}",
                        state.epoch + 1,
                        options.epochs
                    ),
                });
            }
        }
        let (valid_loss, valid_accuracy) = match evaluate(&head, &valid, classes, &device, &team)? {
            Some((loss, accuracy)) => (Some(loss), Some(accuracy)),
            None => (None, None),
        };
        state.epoch += 1;
        state.step_in_epoch = 0;
        let epoch = Epoch {
            epoch: state.epoch,
            train_loss: state.running.loss / state.running.weight.max(f64::MIN_POSITIVE),
            train_accuracy: state.running.correct as f64 / state.running.seen.max(1) as f64,
            valid_loss,
            valid_accuracy,
            learning_rate: learning_rate(options, state.epoch * steps_per_epoch - 1, total_steps),
        };
        state.running = Running::default();
        state.history.push(epoch);
        let moment = Moment {
            step: (state.epoch * steps_per_epoch - 1) as u64,
            epoch: state.epoch,
            ends_epoch: true,
            evaluation: true,
        };
        if let (Some(loss), Some(accuracy)) = (valid_loss, valid_accuracy)
            && watch.wants(moment)
        {
            let numbers = [
                Watched::number("loss", "losses", loss),
                Watched::number("accuracy", "metrics", accuracy),
            ];
            watch.tensors(moment, &numbers)?;
        }
        let flow = watch.epoch(&epoch);
        // Without validation photos the last epoch is the best that is known.
        let better = match (valid_loss, state.best_loss) {
            (Some(now), Some(best)) => now < best,
            _ => true,
        };
        if better {
            state.best_loss = valid_loss;
            state.best_epoch = state.epoch;
            state.since_best = 0;
            state.best_layers = saved(&extract_layers(&head)?);
        } else {
            state.since_best += 1;
            stopped_early = patience_is_over(state.since_best);
        }
        stopped_early |= team.any(flow == Flow::Stop)?;
        if let Some(path) = checkpoint
            && last_saved.elapsed() > Duration::from_secs(5)
        {
            state.layers = saved(&extract_layers(&head)?);
            checkpoint::write(path, &state, &optimizer)?;
            last_saved = Instant::now();
        }
    }
    if let Some(path) = checkpoint {
        checkpoint::remove(path);
    }
    let mut layers: Vec<LinearLayer> = state.best_layers.iter().map(LinearLayer::from).collect();
    fold(&mut layers, factor);
    Ok(TrainedHead {
        layers,
        history: state.history,
        best_epoch: state.best_epoch,
        stopped_early,
        resumed,
        matched,
        options: options.clone(),
    })
}

/// A tensor for the watch.
fn whole<const D: usize>(
    name: &'static str,
    collection: &'static str,
    tensor: Tensor<D>,
) -> Result<Watched, JobError> {
    let shape = tensor.dims().to_vec();
    Ok(Watched { name, collection, shape, values: values(tensor)? })
}

/// Cross entropy and top-1 of the first view of each photo, over all instances; `None` for no photos.
fn evaluate(
    head: &Head,
    matrix: &FeatureMatrix,
    classes: usize,
    device: &Device,
    team: &Team<'_>,
) -> Result<Option<(f64, f64)>, JobError> {
    let plain = device.clone().inner();
    let layers = extract_layers(head)?;
    let head = module(&layers, &plain)?;
    let (mut loss, mut right) = (0.0, 0usize);
    let photos: Vec<usize> = (0..matrix.len()).collect();
    for part in photos.chunks(1024) {
        let rows: Vec<f32> = part.iter().flat_map(|&p| matrix.row(p, 0).iter().copied()).collect();
        let input =
            Tensor::<2>::from_data(TensorData::new(rows, [part.len(), matrix.width]), &plain);
        let output = values(log_softmax(head.forward(input, None), 1))?;
        for (row, &photo) in output.chunks_exact(classes).zip(part) {
            let label = matrix.labels[photo];
            loss -= f64::from(row[label]);
            right += usize::from(kennel_infer::classifier::top_k(row, 1).first() == Some(&label));
        }
    }
    let mut sums = [loss, right as f64, matrix.len() as f64];
    team.sum(&mut sums)?;
    let [loss, right, count] = sums;
    Ok((count > 0.0).then(|| (loss / count, right / count)))
}

/// Logits of the centre view of every photo, `[photos][classes]`, by the folded layers as packaged.
///
/// # Errors
/// [`JobError::Internal`] when the layers do not fit the features.
pub fn logits(layers: &[LinearLayer], matrix: &FeatureMatrix) -> Result<Vec<Vec<f32>>, JobError> {
    let Some(last) = layers.last() else { return Ok(Vec::new()) };
    let device = Device::flex();
    let head = module(layers, &device)?;
    let mut all = Vec::with_capacity(matrix.len());
    let photos: Vec<usize> = (0..matrix.len()).collect();
    for part in photos.chunks(1024) {
        let rows: Vec<f32> = part.iter().flat_map(|&p| matrix.row(p, 0).iter().copied()).collect();
        let input =
            Tensor::<2>::from_data(TensorData::new(rows, [part.len(), matrix.width]), &device);
        let output = values(head.forward(input, None))?;
        all.extend(output.chunks_exact(last.outputs).map(<[f32]>::to_vec));
    }
    Ok(all)
}

#[cfg(test)]
mod tests;

//! What a training run is made of between two steps, as a checkpoint holds it.

use kennel_infer::onnx::LinearLayer;
use serde::{Deserialize, Serialize};

use super::{Epoch, checkpoint};

/// Sums of an epoch so far; part of the checkpoint.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Running {
    #[serde(with = "checkpoint::exact")]
    pub(super) loss: f64,
    #[serde(with = "checkpoint::exact")]
    pub(super) weight: f64,
    pub(super) correct: usize,
    pub(super) seen: usize,
}

/// Where training is; everything that a resumed run needs besides the optimiser's state.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct State {
    pub(super) epoch: usize,
    pub(super) step_in_epoch: usize,
    pub(super) running: Running,
    #[serde(with = "checkpoint::exact::epochs")]
    pub(super) history: Vec<Epoch>,
    #[serde(with = "checkpoint::exact::option")]
    pub(super) best_loss: Option<f64>,
    pub(super) best_epoch: usize,
    pub(super) since_best: usize,
    pub(super) layers: Vec<SavedLayer>,
    pub(super) best_layers: Vec<SavedLayer>,
}

/// A [`LinearLayer`] as a checkpoint holds it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct SavedLayer {
    pub(super) weight: Vec<f32>,
    pub(super) bias: Vec<f32>,
    pub(super) inputs: usize,
    pub(super) outputs: usize,
}

impl From<&LinearLayer> for SavedLayer {
    fn from(l: &LinearLayer) -> Self {
        SavedLayer {
            weight: l.weight.clone(),
            bias: l.bias.clone(),
            inputs: l.inputs,
            outputs: l.outputs,
        }
    }
}

impl From<&SavedLayer> for LinearLayer {
    fn from(l: &SavedLayer) -> Self {
        LinearLayer {
            weight: l.weight.clone(),
            bias: l.bias.clone(),
            inputs: l.inputs,
            outputs: l.outputs,
        }
    }
}

pub(super) fn saved(layers: &[LinearLayer]) -> Vec<SavedLayer> {
    layers.iter().map(SavedLayer::from).collect()
}

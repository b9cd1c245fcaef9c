//! The head as a burn module, and its layers as plain numbers.

use burn::module::{Module, Param, ParamId};
use burn::nn::Linear;
use burn::optim::GradientsParams;
use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor, TensorData};
use kennel_infer::onnx::LinearLayer;
use rand::RngExt;

use super::Watched;
use crate::dataset::generator;
use crate::job::JobError;

#[derive(Module, Debug)]
pub(super) struct Head {
    hidden: Option<Linear>,
    pub(super) output: Linear,
}

impl Head {
    pub(super) fn forward(&self, features: Tensor<2>, dropout: Option<Tensor<2>>) -> Tensor<2> {
        self.forward_watched(features, dropout).0
    }

    /// Logits, and what the hidden layer gave after its ReLU.
    pub(super) fn forward_watched(
        &self,
        features: Tensor<2>,
        dropout: Option<Tensor<2>>,
    ) -> (Tensor<2>, Option<Tensor<2>>) {
        let masked = |tensor: Tensor<2>| match dropout {
            Some(mask) => tensor * mask,
            None => tensor,
        };
        match &self.hidden {
            Some(hidden) => {
                let active = relu(hidden.forward(features));
                (self.output.forward(masked(active.clone())), Some(active))
            }
            None => (self.output.forward(masked(features)), None),
        }
    }

    /// Layers in order.
    pub(super) fn layers(&self) -> Vec<&Linear> {
        self.hidden.iter().chain([&self.output]).collect()
    }
}

fn parameter<const D: usize>(
    id: u64,
    values: Vec<f32>,
    shape: [usize; D],
    device: &Device,
) -> Param<Tensor<D>> {
    // Fixed identities: the optimiser's state in a checkpoint refers to parameters by them.
    let tensor = Tensor::<D>::from_data(TensorData::new(values, shape), device);
    let tensor = if device.is_autodiff() { tensor.require_grad() } else { tensor };
    Param::initialized(ParamId::from(id), tensor)
}

/// A layer as PyTorch's `nn.Linear` starts: both weight and bias uniform within 1/√inputs.
pub(super) fn fresh_layer(seed: u64, number: u64, inputs: usize, outputs: usize) -> LinearLayer {
    let mut rng = generator(seed, "weights", number);
    let bound = 1.0 / (inputs.max(1) as f32).sqrt();
    let mut draw = |count: usize| -> Vec<f32> {
        (0..count).map(|_| rng.random_range(-bound..=bound)).collect()
    };
    LinearLayer { weight: draw(inputs * outputs), bias: draw(outputs), inputs, outputs }
}

pub(super) fn module(layers: &[LinearLayer], device: &Device) -> Result<Head, JobError> {
    let linear = |index: usize, layer: &LinearLayer| Linear {
        weight: parameter(
            2 * index as u64 + 1,
            layer.weight.clone(),
            [layer.inputs, layer.outputs],
            device,
        ),
        bias: Some(parameter(2 * index as u64 + 2, layer.bias.clone(), [layer.outputs], device)),
    };
    match layers {
        [output] => Ok(Head { hidden: None, output: linear(0, output) }),
        [hidden, output] => Ok(Head { hidden: Some(linear(0, hidden)), output: linear(1, output) }),
        _ => Err(JobError::Internal { reason: format!("a head of {} layers", layers.len()) }),
    }
}

pub(super) fn values<const D: usize>(tensor: Tensor<D>) -> Result<Vec<f32>, JobError> {
    tensor
        .into_data()
        .try_to_vec::<f32>()
        .map_err(|e| JobError::Internal { reason: format!("tensor cannot be read: {e:?}") })
}

/// The tensor without its gradient tracking, on a tracking device or not.
fn plain<const D: usize>(tensor: Tensor<D>) -> Tensor<D> {
    if tensor.is_autodiff() { tensor.inner() } else { tensor }
}

pub(super) fn extract_layers(head: &Head) -> Result<Vec<LinearLayer>, JobError> {
    head.layers()
        .into_iter()
        .map(|linear| {
            let [inputs, outputs] = linear.weight.val().dims();
            let bias = match &linear.bias {
                Some(bias) => values(plain(bias.val()))?,
                None => vec![0.0; outputs],
            };
            Ok(LinearLayer { weight: values(plain(linear.weight.val()))?, bias, inputs, outputs })
        })
        .collect()
}

/// Names of a layer's weight, bias and their gradients, as PyTorch would give them.
const HIDDEN: [&str; 4] = [
    "head.hidden.weight",
    "head.hidden.bias",
    "gradient/head.hidden.weight",
    "gradient/head.hidden.bias",
];
const OUTPUT: [&str; 4] = [
    "head.output.weight",
    "head.output.bias",
    "gradient/head.output.weight",
    "gradient/head.output.bias",
];

fn named(head: &Head) -> impl Iterator<Item = (&'static [&'static str; 4], &Linear)> {
    head.hidden.iter().map(|layer| (&HIDDEN, layer)).chain([(&OUTPUT, &head.output)])
}

/// The parameters, for the watch.
pub(super) fn watched_parameters(head: &Head) -> Result<Vec<Watched>, JobError> {
    let mut found = Vec::new();
    for ([weight, bias, ..], layer) in named(head) {
        let [inputs, outputs] = layer.weight.val().dims();
        found.push(Watched {
            name: weight,
            collection: "weights",
            shape: vec![inputs, outputs],
            values: values(plain(layer.weight.val()))?,
        });
        if let Some(parameter) = &layer.bias {
            found.push(Watched {
                name: bias,
                collection: "biases",
                shape: vec![outputs],
                values: values(plain(parameter.val()))?,
            });
        }
    }
    Ok(found)
}

/// The gradients, for the watch.
pub(super) fn watched_gradients(
    head: &Head,
    gradients: &GradientsParams,
) -> Result<Vec<Watched>, JobError> {
    let mut found = Vec::new();
    for ([.., weight, bias], layer) in named(head) {
        if let Some(gradient) = gradients.get::<2>(layer.weight.id) {
            let shape = gradient.dims().to_vec();
            let values = values(gradient)?;
            found.push(Watched { name: weight, collection: "gradients", shape, values });
        }
        if let Some(parameter) = &layer.bias
            && let Some(gradient) = gradients.get::<1>(parameter.id)
        {
            let shape = gradient.dims().to_vec();
            let values = values(gradient)?;
            found.push(Watched { name: bias, collection: "gradients", shape, values });
        }
    }
    Ok(found)
}

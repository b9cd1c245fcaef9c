//! A multilayer perceptron with forward and backward pass by hand: plain loops over row-major matrices.

/// A small deterministic generator (SplitMix64).
#[derive(Debug, Clone)]
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn uniform(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1u64 << 24) as f32
    }

    /// Standard normal, by Box and Muller.
    pub(crate) fn normal(&mut self) -> f32 {
        let radius = (-2.0 * (1.0 - self.uniform()).ln()).sqrt();
        radius * (std::f32::consts::TAU * self.uniform()).cos()
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Activation {
    Relu,
    Tanh,
    Sigmoid,
}

impl Activation {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Activation::Relu => "relu",
            Activation::Tanh => "tanh",
            Activation::Sigmoid => "sigmoid",
        }
    }

    fn of(self, x: f32) -> f32 {
        match self {
            Activation::Relu => x.max(0.0),
            Activation::Tanh => x.tanh(),
            Activation::Sigmoid => 1.0 / (1.0 + (-x).exp()),
        }
    }

    /// The derivative, from the output.
    fn slope(self, y: f32) -> f32 {
        match self {
            Activation::Relu => f32::from(u8::from(y > 0.0)),
            Activation::Tanh => 1.0 - y * y,
            Activation::Sigmoid => y * (1.0 - y),
        }
    }
}

/// A fully connected layer: `weight` is `[outputs, inputs]`.
#[derive(Debug)]
pub(crate) struct Layer {
    pub(crate) inputs: usize,
    pub(crate) outputs: usize,
    pub(crate) weight: Vec<f32>,
    pub(crate) bias: Vec<f32>,
}

#[derive(Debug)]
pub(crate) struct Network {
    pub(crate) layers: Vec<Layer>,
    pub(crate) activation: Activation,
}

/// What a forward pass computed: inputs of each layer, and sums before the activations (the last are logits).
pub(crate) struct Pass {
    pub(crate) rows: usize,
    pub(crate) inputs: Vec<Vec<f32>>,
    pub(crate) sums: Vec<Vec<f32>>,
}

pub(crate) struct Gradient {
    pub(crate) weight: Vec<f32>,
    pub(crate) bias: Vec<f32>,
}

impl Network {
    /// He's scheme for ReLU and Xavier's for the others, times `scale` in hidden layers and the last alike.
    pub(crate) fn new(
        sizes: &[usize],
        activation: Activation,
        scale: f32,
        hidden_bias: f32,
        random: &mut Random,
    ) -> Network {
        let count = sizes.len() - 1;
        let layer = |(index, pair): (usize, &[usize])| {
            let (inputs, outputs) = (pair[0], pair[1]);
            let gain = if activation == Activation::Relu { 2.0 } else { 1.0 };
            let spread = scale * (gain / inputs as f32).sqrt();
            let weight = (0..inputs * outputs).map(|_| spread * random.normal()).collect();
            let bias = if index + 1 == count { 0.0 } else { hidden_bias };
            Layer { inputs, outputs, weight, bias: vec![bias; outputs] }
        };
        Network { layers: sizes.windows(2).enumerate().map(layer).collect(), activation }
    }

    pub(crate) fn forward(&self, input: Vec<f32>) -> Pass {
        let rows = input.len() / self.layers[0].inputs;
        let mut pass = Pass { rows, inputs: vec![input], sums: Vec::new() };
        for (index, layer) in self.layers.iter().enumerate() {
            let input = &pass.inputs[index];
            let mut sums = Vec::with_capacity(rows * layer.outputs);
            for row in input.chunks_exact(layer.inputs) {
                for (weights, bias) in layer.weight.chunks_exact(layer.inputs).zip(&layer.bias) {
                    let sum: f32 = row.iter().zip(weights).map(|(x, w)| x * w).sum();
                    sums.push(sum + bias);
                }
            }
            if index + 1 < self.layers.len() {
                pass.inputs.push(sums.iter().map(|&x| self.activation.of(x)).collect());
            }
            pass.sums.push(sums);
        }
        pass
    }

    /// Gradients of the mean cross-entropy, layer by layer.
    pub(crate) fn backward(&self, pass: &Pass, labels: &[usize]) -> Vec<Gradient> {
        let classes = self.layers.last().unwrap().outputs;
        let mut delta = softmax(pass.sums.last().unwrap(), classes);
        for (row, &label) in delta.chunks_exact_mut(classes).zip(labels) {
            row[label] -= 1.0;
            row.iter_mut().for_each(|value| *value /= pass.rows as f32);
        }
        let mut gradients = Vec::new();
        for (index, layer) in self.layers.iter().enumerate().rev() {
            let mut gradient =
                Gradient { weight: vec![0.0; layer.weight.len()], bias: vec![0.0; layer.outputs] };
            let mut before = vec![0.0; pass.rows * layer.inputs];
            for row in 0..pass.rows {
                let input = &pass.inputs[index][row * layer.inputs..][..layer.inputs];
                let below = &mut before[row * layer.inputs..][..layer.inputs];
                for output in 0..layer.outputs {
                    let d = delta[row * layer.outputs + output];
                    gradient.bias[output] += d;
                    let at = output * layer.inputs;
                    for i in 0..layer.inputs {
                        gradient.weight[at + i] += d * input[i];
                        below[i] += d * layer.weight[at + i];
                    }
                }
            }
            if index > 0 {
                for (value, &y) in before.iter_mut().zip(&pass.inputs[index]) {
                    *value *= self.activation.slope(y);
                }
            }
            delta = before;
            gradients.push(gradient);
        }
        gradients.reverse();
        gradients
    }
}

pub(crate) fn softmax(logits: &[f32], classes: usize) -> Vec<f32> {
    let mut out = logits.to_vec();
    for row in out.chunks_exact_mut(classes) {
        let most = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        row.iter_mut().for_each(|value| *value = (*value - most).exp());
        let sum: f32 = row.iter().sum();
        row.iter_mut().for_each(|value| *value /= sum);
    }
    out
}

pub(crate) fn cross_entropy(logits: &[f32], classes: usize, labels: &[usize]) -> f32 {
    let rows = softmax(logits, classes);
    let each =
        rows.chunks_exact(classes).zip(labels).map(|(row, &label)| -row[label].max(1e-30).ln());
    // `max` would hide what is not a number.
    let bad = logits.iter().any(|value| !value.is_finite());
    if bad { f32::NAN } else { each.sum::<f32>() / labels.len() as f32 }
}

//! One training run: data with or without a fault, a loop of steps, and what is saved on the way.

use std::path::PathBuf;

use kennel_debugger::{Evaluator, Hook, Mode, RuleSpec, TensorRef, TensorWriter, Verdict};
use tempfile::TempDir;

use super::network::{Activation, Network, Pass, Random, cross_entropy};

/// Pictures are 3 × 4 × 4: the first inputs, as many as there are.
const CHANNELS: usize = 3;

#[derive(Debug, Clone)]
pub(crate) struct Run {
    pub(crate) activation: Activation,
    pub(crate) hidden: Vec<usize>,
    /// Times the usual scale of the initial weights.
    pub(crate) init: f32,
    pub(crate) hidden_bias: f32,
    pub(crate) rate: f32,
    pub(crate) batch: usize,
    pub(crate) epochs: usize,
    pub(crate) classes: usize,
    pub(crate) features: usize,
    /// Rows of training data.
    pub(crate) rows: usize,
    /// Spread of a class around its centre; centres are about 2 from zero in each direction.
    pub(crate) noise: f32,
    /// The share of labels that are wrong, in training and validation alike.
    pub(crate) flips: f32,
    /// How much more frequent class 0 is than any other.
    pub(crate) first_class_times: usize,
    pub(crate) zero_inputs: bool,
    /// Added to the saved pictures, as if nobody had subtracted the mean.
    pub(crate) image_shift: f32,
    /// This layer does not learn.
    pub(crate) frozen: Option<usize>,
    /// After this step nothing is saved for 1,801 seconds.
    pub(crate) hangs_after: Option<u64>,
    pub(crate) seed: u64,
}

impl Default for Run {
    /// A healthy run.
    fn default() -> Self {
        Run {
            activation: Activation::Relu,
            hidden: vec![32, 32],
            init: 1.0,
            hidden_bias: 0.0,
            rate: 0.05,
            batch: 32,
            epochs: 6,
            classes: 4,
            features: 48,
            rows: 512,
            noise: 1.5,
            flips: 0.0,
            first_class_times: 1,
            zero_inputs: false,
            image_shift: 0.0,
            frozen: None,
            hangs_after: None,
            seed: 1,
        }
    }
}

/// A run that was watched to its end.
pub(crate) struct Watched {
    pub(crate) folder: TempDir,
    pub(crate) verdicts: Vec<Verdict>,
    pub(crate) last_step: u64,
}

pub(crate) fn spec(rule: &str, parameters: &[(&str, &str)]) -> RuleSpec {
    RuleSpec {
        configuration: rule.to_owned(),
        rule: rule.to_owned(),
        parameters: parameters.iter().map(|&(k, v)| (k.to_owned(), v.to_owned())).collect(),
        stop_training: false,
    }
}

/// Trains, saves what the rules need, and lets them look after every step.
pub(crate) fn watch(run: &Run, specs: Vec<RuleSpec>, others: &[PathBuf]) -> Watched {
    let hook = Hook::default_for_rules(&specs);
    watch_under(run, hook, specs, others)
}

/// Trains under this hook.
pub(crate) fn watch_under(
    run: &Run,
    hook: Hook,
    specs: Vec<RuleSpec>,
    others: &[PathBuf],
) -> Watched {
    let folder = tempfile::tempdir().unwrap();
    let writer = TensorWriter::create(folder.path(), "algo-1").unwrap();
    let rules = Evaluator::new(specs, folder.path(), others);
    let mut trainer = Trainer::new(run, hook, writer, rules);
    trainer.train();
    trainer.writer.finish().unwrap();
    trainer.rules.finish(trainer.now_ms);
    let verdicts = trainer.rules.verdicts();
    Watched { folder, verdicts, last_step: trainer.step }
}

struct Data {
    inputs: Vec<f32>,
    labels: Vec<usize>,
}

struct Trainer<'a> {
    run: &'a Run,
    hook: Hook,
    writer: TensorWriter,
    rules: Evaluator,
    network: Network,
    random: Random,
    train: Data,
    validation: Data,
    step: u64,
    now_ms: u64,
}

/// A tensor to save: name, collections, shape, values.
struct Saved(String, &'static [&'static str], Vec<usize>, Vec<f32>);

impl<'a> Trainer<'a> {
    fn new(run: &'a Run, hook: Hook, writer: TensorWriter, rules: Evaluator) -> Self {
        let mut random = Random(run.seed);
        // The same task for all seeds: only drawings and order differ.
        let mut task = Random(99);
        let centres: Vec<f32> = (0..run.classes * run.features).map(|_| task.normal()).collect();
        let train = data(run, run.rows, &centres, &mut random);
        let validation = data(run, 256, &centres, &mut random);
        let mut sizes = vec![run.features];
        sizes.extend(&run.hidden);
        sizes.push(run.classes);
        let network = Network::new(&sizes, run.activation, run.init, run.hidden_bias, &mut random);
        let (step, now_ms) = (0, 1_000_000);
        Trainer { run, hook, writer, rules, network, random, train, validation, step, now_ms }
    }

    fn train(&mut self) {
        let mut order: Vec<usize> = (0..self.run.rows).collect();
        for _ in 0..self.run.epochs {
            for last in (1..order.len()).rev() {
                order.swap(last, (self.random.next() % (last as u64 + 1)) as usize);
            }
            for batch in order.chunks(self.run.batch) {
                self.now_ms += 1_000;
                self.learn(batch);
                if self.stopped() {
                    return;
                }
                self.step += 1;
            }
            self.evaluate();
            if self.stopped() {
                return;
            }
        }
    }

    /// Lets the rules look; whether one of them stops the run.
    fn stopped(&mut self) -> bool {
        self.rules.poll(self.now_ms);
        if self.run.hangs_after == Some(self.step) {
            self.now_ms += 1_801_000;
            self.rules.poll(self.now_ms);
        }
        self.rules.verdicts().iter().any(|verdict| verdict.stop_training)
    }

    fn learn(&mut self, batch: &[usize]) {
        let features = self.run.features;
        let rows = batch.iter().flat_map(|&row| &self.train.inputs[row * features..][..features]);
        let input: Vec<f32> = rows.copied().collect();
        let labels: Vec<usize> = batch.iter().map(|&row| self.train.labels[row]).collect();
        let pass = self.network.forward(input);
        let gradients = self.network.backward(&pass, &labels);
        let mut saved = self.activations(&pass, &labels);
        for (index, (layer, gradient)) in self.network.layers.iter().zip(&gradients).enumerate() {
            let name = match index + 1 == self.network.layers.len() {
                true => "output".to_owned(),
                false => format!("hidden.{index}"),
            };
            let (shape, short) = (vec![layer.outputs, layer.inputs], vec![layer.outputs]);
            let (weight, bias) = (format!("{name}.weight"), format!("{name}.bias"));
            let of = |name: &str| format!("gradient/{name}");
            let kind: &[&str] = &["gradients"];
            saved.push(Saved(of(&weight), kind, shape.clone(), gradient.weight.clone()));
            saved.push(Saved(of(&bias), kind, short.clone(), gradient.bias.clone()));
            saved.push(Saved(weight, &["weights"], shape, layer.weight.clone()));
            saved.push(Saved(bias, &["biases"], short, layer.bias.clone()));
        }
        self.save(Mode::Train, self.step, saved);
        for (index, (layer, gradient)) in self.network.layers.iter_mut().zip(&gradients).enumerate()
        {
            if self.run.frozen == Some(index) {
                continue;
            }
            let descend = |values: &mut [f32], by: &[f32]| {
                values.iter_mut().zip(by).for_each(|(value, by)| *value -= self.run.rate * by);
            };
            descend(&mut layer.weight, &gradient.weight);
            descend(&mut layer.bias, &gradient.bias);
        }
    }

    fn evaluate(&mut self) {
        let pass = self.network.forward(self.validation.inputs.clone());
        let saved = self.activations(&pass, &self.validation.labels);
        self.save(Mode::Eval, self.step - 1, saved);
    }

    fn activations(&self, pass: &Pass, labels: &[usize]) -> Vec<Saved> {
        let (run, rows) = (self.run, pass.rows);
        let logits = pass.sums.last().unwrap();
        let loss = cross_entropy(logits, run.classes, labels);
        let numbers = labels.iter().map(|&label| label as f32).collect();
        let mut saved = vec![
            Saved("loss".into(), &["losses"], vec![], vec![loss]),
            Saved("accuracy".into(), &["metrics"], vec![], vec![0.5]),
            Saved("labels".into(), &["labels"], vec![rows], numbers),
            Saved("logits".into(), &["outputs"], vec![rows, run.classes], logits.clone()),
            Saved("input".into(), &["inputs"], vec![rows, run.features], pass.inputs[0].clone()),
        ];
        if run.features == CHANNELS * 16 {
            let images = pass.inputs[0].iter().map(|value| 0.3 * value + run.image_shift).collect();
            saved.push(Saved(
                "images".into(),
                &["input_images"],
                vec![rows, CHANNELS, 4, 4],
                images,
            ));
        }
        let kinds: (&'static [&'static str], &'static [&'static str]) = match run.activation {
            Activation::Relu => (&["relu_input"], &["relu_output"]),
            Activation::Tanh => (&["tanh_input"], &["tanh_output"]),
            Activation::Sigmoid => (&["sigmoid_input"], &["sigmoid_output"]),
        };
        for (index, &units) in run.hidden.iter().enumerate() {
            let name = |side: &str| format!("hidden.{index}.{}_{side}_0", run.activation.name());
            let shape = vec![rows, units];
            saved.push(Saved(name("input"), kinds.0, shape.clone(), pass.sums[index].clone()));
            saved.push(Saved(name("output"), kinds.1, shape, pass.inputs[index + 1].clone()));
        }
        saved
    }

    fn save(&mut self, mode: Mode, step: u64, saved: Vec<Saved>) {
        if !self.hook.wants_step(mode, step) {
            return;
        }
        let tensors: Vec<TensorRef<'_>> = saved
            .iter()
            .filter(|Saved(name, collections, ..)| {
                self.hook.wants_tensor(name, collections, mode, step)
            })
            .map(|Saved(name, collections, shape, values)| TensorRef {
                name,
                collections,
                shape,
                values,
            })
            .collect();
        self.writer.write(mode, step, self.now_ms, &tensors).unwrap();
    }
}

fn data(run: &Run, rows: usize, centres: &[f32], random: &mut Random) -> Data {
    let mut data = Data { inputs: Vec::new(), labels: Vec::new() };
    let weights = run.first_class_times + run.classes - 1;
    for _ in 0..rows {
        let drawn = (random.next() % weights as u64) as usize;
        let class = (drawn + 1).saturating_sub(run.first_class_times);
        for feature in 0..run.features {
            let value = centres[class * run.features + feature] + run.noise * random.normal();
            data.inputs.push(if run.zero_inputs { 0.0 } else { value });
        }
        let label = match random.uniform() < run.flips {
            true => (random.next() % run.classes as u64) as usize,
            false => class,
        };
        data.labels.push(label);
    }
    data
}

//! How much each input of a function matters, from few samples of it: a random forest is fitted to them, and the
//! forest's total Sobol indices over the whole space are estimated. This is the idea of functional ANOVA for
//! hyperparameters (Hutter, Hoos and Leyton-Brown, 2014) with total instead of main effects, so that a parameter that
//! matters only together with another one is seen too.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Trees of the forest.
const TREES: usize = 96;

/// Leaves of fewer samples would repeat noise.
const SMALLEST_LEAF: usize = 2;

/// Points of the space at which the forest is asked.
const PROBES: usize = 1024;

/// A tree learns from at most so many samples, which bounds the time for very long tuning jobs.
const LARGEST_SAMPLE: usize = 400;

/// What one input can be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Input {
    /// A number from 0 to 1.
    Unit,
    /// One of so many kinds, as the number of the kind.
    Kinds(usize),
}

/// What the forest says.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Estimate {
    /// The share of each input, in their order; the sum is 1.
    pub(super) shares: Vec<f64>,
    /// How much of the variation between the samples the forest predicts for samples that it did not see: 1 for all,
    /// 0 or less for nothing.
    pub(super) predicted: f64,
}

/// The forest's view of `values` at `points`, each of which holds one finite number per input; `None` when the
/// values do not differ or the forest sees no input that matters.
pub(super) fn estimate(inputs: &[Input], points: &[Vec<f64>], values: &[f64]) -> Option<Estimate> {
    // A diverged trial's loss may be a million times the others'. Ranks keep it from being all that counts.
    let targets = ranks(values);
    let mean = targets.iter().sum::<f64>() / targets.len().max(1) as f64;
    let spread: f64 = targets.iter().map(|target| (target - mean).powi(2)).sum();
    if inputs.is_empty() || spread <= 0.0 {
        return None;
    }
    // The same trials always give the same picture.
    let mut random = ChaCha8Rng::seed_from_u64(17);
    let mut trees = Vec::with_capacity(TREES);
    let mut unseen = vec![(0.0, 0_u32); points.len()];
    for _ in 0..TREES {
        let size = points.len().min(LARGEST_SAMPLE);
        let mut chosen: Vec<usize> =
            (0..size).map(|_| random.random_range(0..points.len())).collect();
        chosen.sort_unstable();
        let tree = grow(&Samples { inputs, points, targets: &targets }, &mut chosen);
        for (i, (sum, count)) in unseen.iter_mut().enumerate() {
            if chosen.binary_search(&i).is_err() {
                *sum += tree.predict(&points[i]);
                *count += 1;
            }
        }
        trees.push(tree);
    }
    let missed: f64 = unseen
        .iter()
        .zip(&targets)
        .map(|(&(sum, count), target)| {
            let guess = if count > 0 { sum / f64::from(count) } else { mean };
            (guess - target).powi(2)
        })
        .sum();

    let forest = |point: &[f64]| trees.iter().map(|tree| tree.predict(point)).sum::<f64>();
    let mut totals = vec![0.0; inputs.len()];
    for _ in 0..PROBES {
        let mut point: Vec<f64> = inputs.iter().map(|input| input.draw(&mut random)).collect();
        let here = forest(&point);
        for (i, input) in inputs.iter().enumerate() {
            let kept = std::mem::replace(&mut point[i], input.draw(&mut random));
            totals[i] += (forest(&point) - here).powi(2);
            point[i] = kept;
        }
    }
    let sum: f64 = totals.iter().sum();
    (sum > 0.0).then(|| Estimate {
        shares: totals.iter().map(|total| total / sum).collect(),
        predicted: 1.0 - missed / spread,
    })
}

impl Input {
    fn draw(self, random: &mut ChaCha8Rng) -> f64 {
        match self {
            Self::Unit => random.random_range(0.0..1.0),
            Self::Kinds(count) => random.random_range(0..count.max(1)) as f64,
        }
    }
}

/// The place of each value among all, from 0 to 1; equal values share the middle of their places.
pub(super) fn ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&a, &b| values[a].total_cmp(&values[b]));
    let last = values.len().saturating_sub(1).max(1) as f64;
    let mut ranks = vec![0.0; values.len()];
    let mut from = 0;
    for run in order.chunk_by(|&a, &b| values[a] == values[b]) {
        let middle = from as f64 + (run.len() - 1) as f64 / 2.0;
        for &i in run {
            ranks[i] = middle / last;
        }
        from += run.len();
    }
    ranks
}

struct Samples<'a> {
    inputs: &'a [Input],
    points: &'a [Vec<f64>],
    targets: &'a [f64],
}

/// A question about one input.
#[derive(Debug, Clone, Copy)]
struct Question {
    input: usize,
    at: f64,
    /// Whether the input is a kind: then the question is whether it is this one, otherwise whether it is at most this.
    kind: bool,
}

impl Question {
    fn yes(self, point: &[f64]) -> bool {
        let value = point[self.input];
        if self.kind { value == self.at } else { value <= self.at }
    }
}

/// Nodes refer to later nodes of the same list; the first is the root.
struct Tree(Vec<Node>);

enum Node {
    Leaf(f64),
    Fork { question: Question, yes: usize, no: usize },
}

impl Tree {
    fn predict(&self, point: &[f64]) -> f64 {
        let mut at = 0;
        loop {
            match self.0[at] {
                Node::Leaf(value) => return value,
                Node::Fork { question, yes, no } => at = if question.yes(point) { yes } else { no },
            }
        }
    }
}

/// A regression tree over the samples in `chosen`.
fn grow(samples: &Samples<'_>, chosen: &mut [usize]) -> Tree {
    let mut nodes = vec![Node::Leaf(0.0)];
    let mut left = chosen.to_vec();
    let mut open: Vec<(usize, &mut [usize])> = vec![(0, &mut left)];
    while let Some((at, mine)) = open.pop() {
        let Some(question) = best_question(samples, mine) else {
            let sum: f64 = mine.iter().map(|&i| samples.targets[i]).sum();
            nodes[at] = Node::Leaf(sum / mine.len().max(1) as f64);
            continue;
        };
        mine.sort_by_key(|&i| !question.yes(&samples.points[i]));
        let border = mine.partition_point(|&i| question.yes(&samples.points[i]));
        let (yes, no) = (nodes.len(), nodes.len() + 1);
        nodes[at] = Node::Fork { question, yes, no };
        nodes.extend([Node::Leaf(0.0), Node::Leaf(0.0)]);
        let (first, second) = mine.split_at_mut(border);
        open.extend([(yes, first), (no, second)]);
    }
    Tree(nodes)
}

/// The question that parts the samples into the two groups of the smallest variance; `None` when none does.
fn best_question(samples: &Samples<'_>, mine: &[usize]) -> Option<Question> {
    if mine.len() < 2 * SMALLEST_LEAF {
        return None;
    }
    let target = |i: usize| samples.targets[i];
    let (count, sum) = (mine.len() as f64, mine.iter().map(|&i| target(i)).sum::<f64>());
    let mut best: Option<(f64, Question)> = None;
    // The variance that is left is smallest where this sum of both groups is largest.
    let mut offer = |question: Question, yes: f64, yes_sum: f64| {
        let gain =
            yes_sum.powi(2) / yes + (sum - yes_sum).powi(2) / (count - yes) - sum.powi(2) / count;
        if gain > best.as_ref().map_or(1e-12, |(gain, _)| *gain) {
            best = Some((gain, question));
        }
    };
    let smallest = SMALLEST_LEAF as f64;
    let mut order = mine.to_vec();
    for (input, of) in samples.inputs.iter().enumerate() {
        let value = |i: usize| samples.points[i][input];
        order.sort_by(|&a, &b| value(a).total_cmp(&value(b)));
        let kind = matches!(of, Input::Kinds(_));
        let (mut seen, mut seen_sum) = (0.0, 0.0);
        for run in order.chunk_by(|&a, &b| value(a) == value(b)) {
            let run_sum: f64 = run.iter().map(|&i| target(i)).sum();
            let length = run.len() as f64;
            (seen, seen_sum) = (seen + length, seen_sum + run_sum);
            let (yes, yes_sum) = if kind { (length, run_sum) } else { (seen, seen_sum) };
            if yes < smallest || count - yes < smallest {
                continue;
            }
            let Some(&last) = run.last() else { continue };
            let at = if kind {
                value(last)
            } else {
                // Half-way to the next value, of which there is one as some samples are left.
                let next = order.get(seen as usize).map_or(value(last), |&i| value(i));
                let half = value(last) + (next - value(last)) / 2.0;
                // Between neighbouring floating-point numbers there is none.
                if half < next { half } else { value(last) }
            };
            offer(Question { input, at, kind }, yes, yes_sum);
        }
    }
    best.map(|(_, question)| question)
}

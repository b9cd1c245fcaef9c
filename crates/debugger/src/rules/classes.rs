//! Rules over labels and predictions: ClassImbalance and Confusion.
//!
//! Both take labels as one class number per row, and predictions as class numbers (`[rows]`) or as scores
//! (`[rows, classes]`, of which the largest counts, whatever `argmax` says). Where nothing is saved as
//! predictions, the model's outputs are taken.

use std::collections::BTreeMap;

use super::params::{Params, Selector};
use super::{At, End, Rule, missing};
use crate::Mode;
use crate::layout::Tensor;
use crate::text::number;

/// Class numbers are below this.
const MAX_CLASS: u32 = 100_000;
/// The most rows of one step.
const MAX_ROWS: usize = 1 << 20;
/// The most different pairs of label and prediction.
const MAX_PAIRS: usize = 1 << 20;
/// Rows of a class below which its share of wrong predictions says nothing.
const MIN_ROWS: u64 = 5;

/// Collects labels and predictions of a step.
#[derive(Debug)]
struct Pairs {
    labels: Selector,
    predictions: Selector,
    outputs: Selector,
    step_labels: Option<Vec<Option<u32>>>,
    /// Predictions with how good a match they are: lower is better.
    step_predictions: Vec<(u8, Vec<Option<u32>>)>,
    labels_seen: bool,
    pairs_seen: bool,
}

/// Rows of a step: label, and prediction where there is one.
type Rows = Vec<(u32, Option<u32>)>;

impl Pairs {
    fn new(labels: Selector, predictions: Selector) -> Result<Self, String> {
        Ok(Self {
            labels,
            predictions,
            outputs: Selector::new(&["outputs"], "(?i)logits$")?,
            step_labels: None,
            step_predictions: Vec::new(),
            labels_seen: false,
            pairs_seen: false,
        })
    }

    fn wants(&self, name: &str, collections: &[String]) -> bool {
        !name.starts_with("gradient/")
            && [&self.labels, &self.predictions, &self.outputs]
                .iter()
                .any(|selector| selector.matches(name, collections))
    }

    fn add(&mut self, tensor: &Tensor, collections: &[String]) {
        let matches = |selector: &Selector| selector.matches(&tensor.name, collections);
        if tensor.shape.first().copied().unwrap_or(0) > MAX_ROWS {
            return;
        }
        if matches(&self.labels) {
            if let Some(labels) = classes(tensor) {
                self.step_labels.get_or_insert(labels);
            }
            return;
        }
        // Logits before other outputs: a framework may file every layer's output there.
        let logits = tensor.name.to_ascii_lowercase().ends_with("logits");
        let rank = match matches(&self.predictions) {
            true => 0,
            false if logits => 1,
            false => 2,
        };
        if let Some(classes) = classes(tensor).filter(|_| self.step_predictions.len() < 8) {
            self.step_predictions.push((rank, classes));
        }
    }

    /// The rows of the step that ends here.
    fn take(&mut self) -> Rows {
        let mut predictions = std::mem::take(&mut self.step_predictions);
        let Some(labels) = self.step_labels.take() else { return Vec::new() };
        self.labels_seen = true;
        predictions.sort_by_key(|(rank, _)| *rank);
        let predictions = predictions.into_iter().find(|(_, rows)| rows.len() == labels.len());
        self.pairs_seen |= predictions.is_some();
        let predictions = predictions.map(|(_, rows)| rows).unwrap_or_default();
        let rows = labels.into_iter().enumerate();
        // A row without a class (a label of -1 is "ignore me") is left out.
        rows.filter_map(|(row, label)| Some((label?, predictions.get(row).copied().flatten())))
            .collect()
    }

    fn missing(&self) -> End {
        match self.labels_seen {
            false => missing("no labels were", "labels"),
            true => missing("no predictions (or outputs) for the labels were", "outputs"),
        }
    }
}

/// One class per row.
fn classes(tensor: &Tensor) -> Option<Vec<Option<u32>>> {
    let class = |value: f32| {
        let class = value.round();
        // The comparison is false for what is not a number.
        (class >= 0.0 && class < MAX_CLASS as f32).then_some(class as u32)
    };
    match tensor.shape.as_slice() {
        [_] | [_, 1] => Some(tensor.values.iter().map(|&value| class(value)).collect()),
        [_, columns] if *columns > 1 => Some(
            tensor
                .values
                .chunks_exact(*columns)
                .map(|row| argmax(row).and_then(|best| u32::try_from(best).ok()))
                .map(|class| class.filter(|&class| class < MAX_CLASS))
                .collect(),
        ),
        _ => None,
    }
}

/// The first of the largest scores, as numpy has it. None where one is not a number.
fn argmax(row: &[f32]) -> Option<usize> {
    let mut best = 0;
    for (index, score) in row.iter().enumerate() {
        if score.is_nan() {
            return None;
        }
        if *score > row[best] {
            best = index;
        }
    }
    Some(best)
}

/// ClassImbalance: the classes of the training data are of very different size, or small classes are
/// predicted badly.
///
/// Judged whenever another `samples` labels were seen: the sizes over all of them, the predictions over the
/// last `samples`. By default that is 500 as on AWS ("assuming 10 classes"), or 20 for each class if that is
/// more. A small class, less than half the average, is predicted badly if more than `threshold_misprediction` of its rows are wrong while
/// more than half of all rows are right: before the model has learnt anything all classes are.
#[derive(Debug)]
pub(super) struct ClassImbalance {
    imbalance: f64,
    misprediction: f64,
    samples: Option<u64>,
    pairs: Pairs,
    sizes: BTreeMap<u32, u64>,
    seen: u64,
    /// Since the last judgement: rows and wrong rows, by class.
    window: BTreeMap<u32, (u64, u64)>,
    window_rows: u64,
}

impl ClassImbalance {
    pub(super) fn new(params: &mut Params<'_>) -> Result<Self, String> {
        // Kept for scripts that set it: the shape says it.
        params.flag("argmax", false)?;
        let labels = params.regexes("labels_regex")?.map(Selector::by_regexes);
        let predictions = params.regexes("predictions_regex")?.map(Selector::by_regexes);
        let pairs = Pairs::new(
            labels.map_or_else(|| Selector::new(&["labels"], "labels"), Ok)?,
            predictions.map_or_else(|| Selector::new(&["predictions"], "predictions"), Ok)?,
        )?;
        Ok(Self {
            imbalance: params.number("threshold_imbalance", 10.0)?,
            misprediction: params.number("threshold_misprediction", 0.7)?,
            samples: params.maybe_integer("samples")?,
            pairs,
            sizes: BTreeMap::new(),
            seen: 0,
            window: BTreeMap::new(),
            window_rows: 0,
        })
    }

    fn enough(&self) -> u64 {
        self.samples.unwrap_or_else(|| 500.max(20 * self.sizes.len() as u64)).max(1)
    }

    fn judge(&self, step: u64) -> Option<String> {
        let (large, most) = self.sizes.iter().max_by_key(|(_, count)| **count)?;
        let (small, least) = self.sizes.iter().min_by_key(|(_, count)| **count)?;
        let ratio = *most as f64 / *least as f64;
        if ratio > self.imbalance {
            return Some(format!(
                "of {} labels up to step {step}, {most} are of class {large} and {least} of class {small}, \
                 {} times fewer (limit {}); hint: collect more of the small classes, weight the loss by class, \
                 or sample the classes evenly",
                self.seen,
                number(ratio),
                number(self.imbalance)
            ));
        }
        let wrong: u64 = self.window.values().map(|(_, wrong)| wrong).sum();
        let rows: u64 = self.window.values().map(|(rows, _)| rows).sum();
        if wrong * 2 >= rows {
            return None;
        }
        let average = self.seen as f64 / self.sizes.len() as f64;
        self.window.iter().find_map(|(class, &(rows, wrong))| {
            let small = self.sizes.get(class).is_some_and(|&size| (size as f64) < average / 2.0);
            let share = wrong as f64 / rows.max(1) as f64;
            (small && rows >= MIN_ROWS && share > self.misprediction).then(|| {
                format!(
                    "class {class}, one of the smaller ones, is predicted wrongly for {wrong} of its {rows} rows \
                     up to step {step} (limit {}) while most rows of other classes are right; hint: collect \
                     more of that class, weight the loss by class, or sample the classes evenly",
                    number(self.misprediction)
                )
            })
        })
    }
}

impl Rule for ClassImbalance {
    fn wants(&self, at: &At<'_>, name: &str, collections: &[String]) -> bool {
        matches!(at.mode, Mode::Train | Mode::Global) && self.pairs.wants(name, collections)
    }

    fn tensor(&mut self, _: &At<'_>, tensor: &Tensor, collections: &[String]) -> Option<String> {
        self.pairs.add(tensor, collections);
        None
    }

    fn step_end(&mut self, at: &At<'_>) -> Option<String> {
        for (label, predicted) in self.pairs.take() {
            *self.sizes.entry(label).or_default() += 1;
            self.seen += 1;
            self.window_rows += 1;
            if let Some(predicted) = predicted {
                let (rows, wrong) = self.window.entry(label).or_default();
                *rows += 1;
                *wrong += u64::from(predicted != label);
            }
        }
        if self.window_rows < self.enough() {
            return None;
        }
        let found = self.judge(at.step);
        self.window.clear();
        self.window_rows = 0;
        found
    }

    fn finish(&mut self) -> End {
        match self.seen {
            0 => self.pairs.missing(),
            seen if seen < self.enough() => End::Clean(format!(
                "only {seen} labels were saved, too few to judge (needs {}); hint: save labels more often, or \
                 set the parameter `samples`",
                self.enough()
            )),
            _ => End::Clean(String::new()),
        }
    }
}

/// Confusion: of the rows predicted as a class, too few are of it, or too many are of one other.
///
/// For each predicted class i: `confusion[i][i] / Σj confusion[j][i] >= min_diag`, and for each other label j
/// `confusion[j][i] / Σj confusion[j][i] <= max_off_diag`. (AWS's page divides the diagonal by the sum of the
/// diagonal, which no matrix of two even classes could pass with its default of 0.9.) AWS made the rule for
/// XGBoost, whose models are whole after each round. A network is wrong at first, so the matrix is judged
/// once, at the end: that of the last evaluation with labels, or where there is none, of the last training
/// steps, 500 rows or more.
#[derive(Debug)]
pub(super) struct Confusion {
    categories: Option<u64>,
    min_diag: f64,
    max_off_diag: f64,
    pairs: Pairs,
    /// By mode: the last saved rows, with their step.
    last: BTreeMap<Mode, (u64, Rows)>,
}

/// Rows of training steps that make a matrix.
const TRAIN_ROWS: usize = 500;

impl Confusion {
    pub(super) fn new(params: &mut Params<'_>) -> Result<Self, String> {
        let mut selector = |name: &'static str, collection: &'static str, own: &str| {
            let collection = params.text(collection).unwrap_or(own);
            // A name, not a pattern.
            let name = regex::escape(params.text(name).unwrap_or(own));
            Selector::new(&[collection], &format!("^{name}$"))
        };
        let labels = selector("labels", "labels_collection", "labels")?;
        let predictions = selector("predictions", "predictions_collection", "predictions")?;
        let categories = params.maybe_integer("category_no")?;
        if categories.is_some_and(|categories| categories < 2) {
            return Err("the parameter `category_no` is less than 2".to_owned());
        }
        Ok(Self {
            categories,
            min_diag: params.number("min_diag", 0.9)?,
            max_off_diag: params.number("max_off_diag", 0.1)?,
            pairs: Pairs::new(labels, predictions)?,
            last: BTreeMap::new(),
        })
    }

    fn judge(&self, step: u64, rows: &Rows) -> Option<String> {
        let bound = self.categories.unwrap_or(u64::from(MAX_CLASS));
        let mut matrix: BTreeMap<(u32, u32), u64> = BTreeMap::new();
        let mut predicted_as: BTreeMap<u32, u64> = BTreeMap::new();
        for &(label, predicted) in rows {
            let Some(predicted) = predicted else { continue };
            if u64::from(label.max(predicted)) >= bound || matrix.len() >= MAX_PAIRS {
                continue;
            }
            *matrix.entry((predicted, label)).or_default() += 1;
            *predicted_as.entry(predicted).or_default() += 1;
            predicted_as.entry(label).or_default();
        }
        let advice = "hint: look at pictures of both classes for wrong labels, collect more of them, or train \
                      longer; `category_no`, `min_diag` and `max_off_diag` set what is good enough";
        for (&class, &total) in &predicted_as {
            let right = matrix.get(&(class, class)).copied().unwrap_or(0);
            let share = right as f64 / total.max(1) as f64;
            if share < self.min_diag {
                return Some(format!(
                    "of {total} rows predicted as class {class} at the end (step {step}), {right} are of it \
                     ({}, limit {}); {advice}",
                    number(share),
                    number(self.min_diag)
                ));
            }
            let others = matrix.range((class, 0)..=(class, u32::MAX));
            for (&(_, label), &count) in others.filter(|((_, label), _)| *label != class) {
                let share = count as f64 / total.max(1) as f64;
                if share > self.max_off_diag {
                    return Some(format!(
                        "of {total} rows predicted as class {class} at the end (step {step}), {count} are of \
                         class {label} ({}, limit {}); {advice}",
                        number(share),
                        number(self.max_off_diag)
                    ));
                }
            }
        }
        None
    }
}

impl Rule for Confusion {
    fn wants(&self, _: &At<'_>, name: &str, collections: &[String]) -> bool {
        self.pairs.wants(name, collections)
    }

    fn tensor(&mut self, _: &At<'_>, tensor: &Tensor, collections: &[String]) -> Option<String> {
        self.pairs.add(tensor, collections);
        None
    }

    fn step_end(&mut self, at: &At<'_>) -> Option<String> {
        let rows: Rows =
            self.pairs.take().into_iter().filter(|(_, predicted)| predicted.is_some()).collect();
        if rows.is_empty() {
            return None;
        }
        let (step, last) = self.last.entry(at.mode).or_default();
        match at.mode {
            // Several workers may evaluate a share of the data each, at the same step.
            Mode::Eval if *step == at.step && last.len() < MAX_ROWS => last.extend(rows),
            Mode::Eval => *last = rows,
            _ => {
                last.extend(rows);
                // Twice the bound before cutting: cutting at every step would copy at every step.
                if last.len() > 2 * TRAIN_ROWS {
                    last.drain(..last.len() - TRAIN_ROWS);
                }
            }
        }
        *step = at.step;
        None
    }

    fn finish(&mut self) -> End {
        let modes = [Mode::Eval, Mode::Train, Mode::Global, Mode::Predict];
        let Some((step, rows)) = modes.iter().find_map(|mode| self.last.get(mode)) else {
            return self.pairs.missing();
        };
        match self.judge(*step, rows) {
            Some(sentence) => End::Issue(sentence),
            None => End::Clean(String::new()),
        }
    }
}

#[cfg(test)]
mod tests;

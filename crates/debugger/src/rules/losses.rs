//! Rules over losses: LossNotDecreasing, Overfit, Overtraining. A loss is a scalar of the collection `losses`;
//! scalars of `metrics` (an accuracy, which should rise) are never taken for one by a pattern alone.

use std::collections::BTreeMap;

use super::params::{Params, Selector};
use super::{At, End, Rule, Tracked, missing, scalar};
use crate::Mode;
use crate::layout::Tensor;
use crate::text::{number, shown};

/// Which tensors are losses.
#[derive(Debug)]
struct Losses {
    given: Option<Selector>,
    own: Option<Selector>,
}

impl Losses {
    fn new(given: Option<Selector>, use_losses_collection: bool) -> Result<Self, String> {
        let own = match use_losses_collection || given.is_none() {
            true => Some(Selector::new(&["losses"], "")?),
            false => None,
        };
        Ok(Self { given, own })
    }

    fn matches(&self, name: &str, collections: &[String]) -> bool {
        let is = |selector: &Option<Selector>| {
            selector.as_ref().is_some_and(|selector| selector.matches(name, collections))
        };
        let metric = collections.iter().any(|collection| collection == "metrics");
        is(&self.own) || (is(&self.given) && !metric)
    }
}

/// LossNotDecreasing: over `num_steps` steps the loss fell by less than `diff_percent`, or rose by more than
/// `increase_threshold_percent`.
///
/// As AWS's example has it: with steps 0, 3, 6 … saved and `num_steps` 10, step 21 is compared with step 9 and
/// step 33 with step 21. A rise within the threshold is let pass, but the lower value stays what later ones
/// are compared with, so a loss cannot creep upwards unseen. Without `mode` the losses of `eval` count as
/// soon as there are some, before that those of `train`, and those of `global` where there is no other.
#[derive(Debug)]
pub(super) struct LossNotDecreasing {
    losses: Losses,
    num_steps: u64,
    diff: f64,
    increase: f64,
    mode: Option<Mode>,
    best_mode: Option<Mode>,
    reference: Tracked<(u64, f64)>,
}

impl LossNotDecreasing {
    pub(super) fn new(params: &mut Params<'_>) -> Result<Self, String> {
        let mode = match params.text("mode").map(str::to_ascii_uppercase).as_deref() {
            // To smdebug, GLOBAL is all modes together.
            None | Some("GLOBAL") => None,
            Some("EVAL") => Some(Mode::Eval),
            Some("TRAIN") => Some(Mode::Train),
            Some("PREDICT") => Some(Mode::Predict),
            Some(other) => {
                let other = shown(other);
                return Err(format!(
                    "the parameter `mode` is `{other}`, not EVAL, TRAIN or GLOBAL"
                ));
            }
        };
        let use_losses_collection = params.flag("use_losses_collection", true)?;
        Ok(Self {
            losses: Losses::new(Selector::given(params)?, use_losses_collection)?,
            num_steps: params.integer("num_steps", 10)?.max(1),
            diff: params.number("diff_percent", 0.1)?,
            increase: params.number("increase_threshold_percent", 5.0)?,
            mode,
            best_mode: None,
            reference: Tracked::default(),
        })
    }
}

/// Which mode's losses count most where none is asked for.
fn rank(mode: Mode) -> u8 {
    match mode {
        Mode::Eval => 0,
        Mode::Train => 1,
        Mode::Global => 2,
        Mode::Predict => 3,
    }
}

impl Rule for LossNotDecreasing {
    fn wants(&self, at: &At<'_>, name: &str, collections: &[String]) -> bool {
        let mode = match (self.mode, self.best_mode) {
            (Some(mode), _) => mode == at.mode,
            (None, Some(best)) => rank(at.mode) <= rank(best),
            (None, None) => true,
        };
        mode && self.losses.matches(name, collections)
    }

    fn tensor(&mut self, at: &At<'_>, tensor: &Tensor, _: &[String]) -> Option<String> {
        let loss = scalar(tensor)?;
        self.best_mode = Some(at.mode);
        let reference = self.reference.entry(at.key(&tensor.name), || (at.step, loss))?;
        let (step, before) = *reference;
        if at.step < step.saturating_add(self.num_steps) {
            return None;
        }
        let name = shown(&tensor.name);
        let what = format!("the loss `{name}` of mode `{}`", at.mode.name());
        if !loss.is_finite() {
            return Some(format!(
                "{what} is not a finite number at step {}; hint: try a smaller learning rate or gradient \
                 clipping",
                at.step
            ));
        }
        let fall = 100.0 * (before - loss) / before.abs().max(f64::MIN_POSITIVE);
        let fell = fall >= self.diff || (loss == 0.0 && before == 0.0);
        let rose_a_little = fall < 0.0 && -fall <= self.increase;
        if fell {
            *reference = (at.step, loss);
        }
        if fell || rose_a_little {
            return None;
        }
        let (verb, by, limit) = match fall < 0.0 {
            true => ("rose", -fall, format!("more than {}%", number(self.increase))),
            false => ("fell only", fall, format!("less than {}%", number(self.diff))),
        };
        Some(format!(
            "{what} {verb} from {} at step {step} to {} at step {} ({}%, {limit}); hint: if the model is not \
             good yet, try another learning rate or check data and labels; if it is, training is done",
            number(before),
            number(loss),
            at.step,
            number(by)
        ))
    }

    fn finish(&mut self) -> End {
        match self.reference.0.is_empty() {
            false => End::Clean(String::new()),
            true => missing("no losses were", "losses"),
        }
    }
}

/// Mean of what was added.
#[derive(Debug, Default, Clone, Copy)]
struct Mean {
    sum: f64,
    count: u64,
}

impl Mean {
    fn add(&mut self, value: f64) {
        self.sum += value;
        self.count += 1;
    }

    fn take(&mut self) -> Option<f64> {
        let mean = (self.count > 0).then(|| self.sum / self.count as f64);
        *self = Mean::default();
        mean
    }
}

/// Losses of one worker: of training since the last evaluation, and of the evaluation that is being shown.
#[derive(Debug, Default)]
struct Pair {
    train: Mean,
    eval: Mean,
}

impl Pair {
    fn add(&mut self, mode: Mode, loss: f64) {
        match mode {
            Mode::Train => self.train.add(loss),
            Mode::Eval => self.eval.add(loss),
            Mode::Predict | Mode::Global => {}
        }
    }

    /// The mean losses of an evaluation and of the training steps saved since the one before, at its end.
    fn evaluated(&mut self) -> Option<(Option<f64>, f64)> {
        let eval = self.eval.take()?;
        Some((self.train.take(), eval))
    }
}

/// Overfit: validation loss minus training loss, over training loss, exceeded `ratio_threshold` at `patience`
/// evaluations in a row.
///
/// The training loss is the mean of the steps saved since the evaluation before (or the last such mean, where
/// none was): the mean of all steps would be led by the high losses of the beginning.
#[derive(Debug)]
pub(super) struct Overfit {
    losses: Losses,
    patience: u64,
    ratio: f64,
    workers: BTreeMap<String, Compared>,
    train_seen: bool,
    compared: bool,
}

/// One worker's losses, the last training loss, and evaluations in a row beyond the threshold.
#[derive(Debug, Default)]
struct Compared {
    pair: Pair,
    train: Option<f64>,
    exceeded: u64,
}

impl Overfit {
    pub(super) fn new(params: &mut Params<'_>) -> Result<Self, String> {
        let given = params.regexes("tensor_regex")?.map(Selector::by_regexes);
        Ok(Self {
            losses: Losses::new(given, true)?,
            patience: params.integer("patience", 1)?.max(1),
            ratio: params.number("ratio_threshold", 0.1)?,
            workers: BTreeMap::new(),
            train_seen: false,
            compared: false,
        })
    }
}

impl Rule for Overfit {
    fn wants(&self, at: &At<'_>, name: &str, collections: &[String]) -> bool {
        matches!(at.mode, Mode::Train | Mode::Eval) && self.losses.matches(name, collections)
    }

    fn tensor(&mut self, at: &At<'_>, tensor: &Tensor, _: &[String]) -> Option<String> {
        let loss = scalar(tensor).filter(|loss| loss.is_finite())?;
        self.train_seen |= at.mode == Mode::Train;
        self.workers.entry(at.worker.to_owned()).or_default().pair.add(at.mode, loss);
        None
    }

    fn step_end(&mut self, at: &At<'_>) -> Option<String> {
        let Compared { pair, train, exceeded } = self.workers.get_mut(at.worker)?;
        let (new, eval) = pair.evaluated()?;
        *train = new.or(*train);
        let train = (*train)?;
        self.compared = true;
        let ratio = (eval - train) / train.abs().max(f64::MIN_POSITIVE);
        *exceeded = if ratio > self.ratio { *exceeded + 1 } else { 0 };
        (*exceeded >= self.patience).then(|| {
            format!(
                "at step {} the validation loss is {} and the training loss {}, {} of it higher (limit {}, {} \
                 evaluations in a row): the model learns the training data by heart; hint: try more data or \
                 augmentation, dropout or weight decay, a smaller model, or stop earlier",
                at.step,
                number(eval),
                number(train),
                number(ratio),
                number(self.ratio),
                exceeded
            )
        })
    }

    fn finish(&mut self) -> End {
        match (self.compared, self.train_seen) {
            (true, _) => End::Clean(String::new()),
            (false, false) => missing("no losses of mode `train` were", "losses"),
            (false, true) => End::Missing(
                "no losses of mode `eval` were saved after those of `train`, so there was nothing to compare; \
                 hint: give the job validation data, or save the validation loss in mode `eval`"
                    .to_owned(),
            ),
        }
    }
}

/// A loss that should improve by `delta` within some number of values.
#[derive(Debug, Default)]
struct Progress {
    best: Option<(f64, u64)>,
    without: u64,
}

impl Progress {
    /// Adds a value; answers how many in a row brought no improvement.
    fn add(&mut self, step: u64, value: f64, delta: f64) -> u64 {
        match self.best {
            Some((best, _)) if best - value <= delta => self.without += 1,
            _ => *self = Progress { best: Some((value, step)), without: 0 },
        }
        self.without
    }
}

#[derive(Debug, Default)]
struct Trained {
    pair: Pair,
    train: Progress,
    eval: Progress,
    /// Training losses one by one, for runs without evaluations.
    single: Progress,
}

/// Overtraining: the training loss did not improve by `delta` for `patience_train` steps, or the validation
/// loss for `patience_validation`.
///
/// With evaluations, a step is an evaluation, and the training loss is the mean since the one before (an
/// evaluation without new training losses counts for the validation loss alone). Without
/// any, the saved training steps count one by one; since that can be known only at the end, and single
/// batches are noisy, it is judged at the end: whether the run's last `patience_train` steps brought nothing.
#[derive(Debug)]
pub(super) struct Overtraining {
    losses: Losses,
    patience_train: u64,
    patience_validation: u64,
    delta: f64,
    workers: BTreeMap<String, Trained>,
    evaluated: bool,
}

impl Overtraining {
    pub(super) fn new(params: &mut Params<'_>) -> Result<Self, String> {
        Ok(Self {
            losses: Losses::new(None, true)?,
            patience_train: params.integer("patience_train", 5)?.max(1),
            patience_validation: params.integer("patience_validation", 10)?.max(1),
            delta: params.number("delta", 0.01)?,
            workers: BTreeMap::new(),
            evaluated: false,
        })
    }

    fn sentence(&self, which: &str, unit: &str, progress: &Progress) -> String {
        let (best, step) = progress.best.unwrap_or_default();
        format!(
            "the {which} loss has not improved by {} for {} {unit}: its best was {} at step {step}; hint: \
             training can stop there (early stopping, fewer epochs); if the model is not good yet, try a \
             smaller learning rate, or regularise",
            number(self.delta),
            progress.without,
            number(best)
        )
    }
}

impl Rule for Overtraining {
    fn wants(&self, at: &At<'_>, name: &str, collections: &[String]) -> bool {
        matches!(at.mode, Mode::Train | Mode::Eval) && self.losses.matches(name, collections)
    }

    fn tensor(&mut self, at: &At<'_>, tensor: &Tensor, _: &[String]) -> Option<String> {
        let loss = scalar(tensor).filter(|loss| loss.is_finite())?;
        let worker = self.workers.entry(at.worker.to_owned()).or_default();
        worker.pair.add(at.mode, loss);
        if at.mode == Mode::Train {
            worker.single.add(at.step, loss, self.delta);
        }
        None
    }

    fn step_end(&mut self, at: &At<'_>) -> Option<String> {
        let worker = self.workers.get_mut(at.worker)?;
        let (train, eval) = worker.pair.evaluated()?;
        self.evaluated = true;
        let eval = worker.eval.add(at.step, eval, self.delta) >= self.patience_validation;
        let train = train.is_some_and(|train| {
            worker.train.add(at.step, train, self.delta) >= self.patience_train
        });
        let worker = self.workers.get(at.worker)?;
        match (eval, train) {
            (true, _) => Some(self.sentence("validation", "evaluations", &worker.eval)),
            (false, true) => Some(self.sentence("training", "evaluations", &worker.train)),
            (false, false) => None,
        }
    }

    fn finish(&mut self) -> End {
        if self.workers.is_empty() {
            return missing("no losses were", "losses");
        }
        let stuck =
            self.workers.values().find(|worker| worker.single.without >= self.patience_train);
        match stuck.filter(|_| !self.evaluated) {
            Some(worker) => End::Issue(self.sentence("training", "saved steps", &worker.single)),
            None => End::Clean(String::new()),
        }
    }
}

#[cfg(test)]
mod tests;

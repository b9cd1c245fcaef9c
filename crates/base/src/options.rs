//! The options of a training job, as the command line, SageMaker's `hyperparameters.json` and a
//! model's manifest carry them. One parser for all three, so that a number means the same everywhere.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A hyperparameter that cannot be used, with what would be accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HyperparameterError {
    /// The value does not parse or is out of range.
    #[error("hyperparameter `{name}` cannot be `{value}`: {reason}\nhint: {hint}")]
    Invalid {
        /// Name as the caller wrote it.
        name: String,
        /// Value as the caller wrote it.
        value: String,
        /// What is wrong with it.
        reason: String,
        /// What would be accepted.
        hint: String,
    },
    /// No hyperparameter has this name.
    #[error("unknown hyperparameter `{name}`\nhint: known ones are {known}")]
    Unknown {
        /// Name as the caller wrote it.
        name: String,
        /// The names that exist.
        known: String,
    },
}

impl crate::ErrorCoded for HyperparameterError {
    fn code(&self) -> crate::ErrorCode {
        crate::ErrorCode::InvalidInput
    }
}

/// The trainable part on top of the frozen backbone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum HeadKind {
    /// One linear layer from features to classes.
    Linear,
    /// A hidden layer of this many units with ReLU, then a linear layer.
    Mlp(usize),
}

impl fmt::Display for HeadKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HeadKind::Linear => f.write_str("linear"),
            HeadKind::Mlp(hidden) => write!(f, "mlp:{hidden}"),
        }
    }
}

impl FromStr for HeadKind {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        if text == "linear" {
            return Ok(HeadKind::Linear);
        }
        let hidden = text.strip_prefix("mlp:").and_then(|n| n.parse::<usize>().ok());
        match hidden {
            Some(hidden) if (1..=16_384).contains(&hidden) => Ok(HeadKind::Mlp(hidden)),
            _ => {
                Err("expected `linear` or `mlp:UNITS` with 1 to 16384 units, as in `mlp:128`"
                    .into())
            }
        }
    }
}

impl From<HeadKind> for String {
    fn from(value: HeadKind) -> Self {
        value.to_string()
    }
}

impl TryFrom<String> for HeadKind {
    type Error = String;
    fn try_from(value: String) -> Result<Self, String> {
        value.parse()
    }
}

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $word:literal $(| $alias:literal)*),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(into = "String", try_from = "String")]
        pub enum $name { $($(#[$vdoc])* $variant),+ }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self { $($name::$variant => $word),+ })
            }
        }

        impl FromStr for $name {
            type Err = String;
            fn from_str(text: &str) -> Result<Self, String> {
                match text {
                    $($word $(| $alias)* => Ok($name::$variant),)+
                    _ => Err(concat!("expected one of", $(" `", $word, "`"),+).into()),
                }
            }
        }

        impl From<$name> for String {
            fn from(value: $name) -> Self { value.to_string() }
        }

        impl TryFrom<String> for $name {
            type Error = String;
            fn try_from(value: String) -> Result<Self, String> { value.parse() }
        }
    };
}

words! {
    /// The optimiser of the head.
    OptimizerKind {
        /// Adam with L2 weight decay added to the gradient.
        Adam = "adam",
        /// Adam with decoupled weight decay.
        AdamW = "adamw",
        /// Stochastic gradient descent with momentum 0.9.
        Sgd = "sgd",
    }
}

words! {
    /// How the learning rate moves over the steps of a training run.
    ScheduleKind {
        /// The same rate at every step.
        Constant = "constant",
        /// Half a cosine from the rate down to zero.
        Cosine = "cosine",
        /// Linear warm-up over the first 30 % of steps from 1/25 of the rate, cosine down after.
        OneCycle = "one-cycle" | "onecycle",
    }
}

words! {
    /// How the cached views of a training photo beyond the first are made.
    Augmentation {
        /// No view beyond the plain centre crop.
        None = "none",
        /// Odd views are the mirrored centre crop.
        Flip = "flip",
        /// Random resized crops (area 0.35 to 1, aspect 3/4 to 4/3), every second one mirrored.
        Crop = "crop",
    }
}

/// Everything that decides the head which a training run ends with, given the data and the backbone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrainOptions {
    /// Shape of the head.
    pub head: HeadKind,
    /// Optimiser.
    pub optimizer: OptimizerKind,
    /// Peak learning rate; 0 chooses by how the head starts, see [`TrainOptions::resolve`].
    pub learning_rate: f64,
    /// Learning rate schedule.
    pub schedule: ScheduleKind,
    /// Photos per optimiser step.
    pub batch_size: usize,
    /// Passes over the training photos; 0 chooses by their number, see [`TrainOptions::resolve`].
    pub epochs: usize,
    /// Weight decay: decoupled for AdamW, L2 for the others.
    pub weight_decay: f64,
    /// Share of the target probability spread over all classes, 0 to 1.
    pub label_smoothing: f64,
    /// Dropout on the features (and on the hidden layer), 0 to below 1.
    pub dropout: f64,
    /// Stop after this many epochs without a lower validation loss; 0 never stops early.
    pub early_stopping: usize,
    /// Weigh classes by the inverse of their frequency in the loss.
    pub class_weights: bool,
    /// How views beyond the first are made.
    pub augmentation: Augmentation,
    /// Cached views per training photo, the plain one included.
    pub views: usize,
    /// Start a linear head from the backbone's own classifier where its classes are recognised.
    pub warm_start: bool,
    /// Seed of every random choice.
    pub seed: u64,
}

impl Default for TrainOptions {
    /// Chosen by measurement on dogs120's validation split; bench/RESULTS.md has the table.
    fn default() -> Self {
        TrainOptions {
            head: HeadKind::Linear,
            optimizer: OptimizerKind::AdamW,
            learning_rate: 0.0,
            schedule: ScheduleKind::OneCycle,
            batch_size: 64,
            epochs: 0,
            weight_decay: 0.01,
            label_smoothing: 0.0,
            dropout: 0.0,
            early_stopping: 5,
            class_weights: false,
            augmentation: Augmentation::None,
            views: 1,
            warm_start: true,
            seed: 42,
        }
    }
}

/// Names accepted by [`TrainOptions::set`], in the order that help texts list them.
const NAMES: &[&str] = &[
    "head",
    "optimizer",
    "learning_rate",
    "schedule",
    "batch_size",
    "epochs",
    "weight_decay",
    "label_smoothing",
    "dropout",
    "early_stopping",
    "class_weights",
    "augmentation",
    "views",
    "warm_start",
    "seed",
];

/// Optimiser steps that a head needs to settle, whatever the number of photos.
const STEPS: usize = 1_500;

impl TrainOptions {
    /// The options with nothing left to choose, for this many training photos and a head that starts
    /// warm or not. Epochs: as many as make about 1,500 steps, 15 to 100. Learning rate: 0.0005 from a
    /// warm start, which a large rate would forget, and 0.002 otherwise.
    pub fn resolve(&self, photos: usize, warm: bool) -> TrainOptions {
        let mut options = self.clone();
        if options.epochs == 0 {
            let per_epoch = photos.div_ceil(self.batch_size.max(1)).max(1);
            options.epochs = STEPS.div_ceil(per_epoch).clamp(15, 100);
        }
        if options.learning_rate == 0.0 {
            options.learning_rate = if warm { 0.0005 } else { 0.002 };
        }
        options
    }

    /// Sets one option from text. Dashes and underscores are the same; SageMaker's own names
    /// `mini_batch_size`, `lr`, `learning-rate`, `hidden`, and `early_stopping_patience` are understood.
    ///
    /// # Errors
    /// When the name is unknown or the value does not parse or is out of range.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), HyperparameterError> {
        let key = name.replace('-', "_").to_ascii_lowercase();
        let text = value.trim();
        let invalid = |reason: String, hint: &str| HyperparameterError::Invalid {
            name: name.to_owned(),
            value: value.to_owned(),
            reason,
            hint: hint.to_owned(),
        };
        let number = |low: f64, high: f64, hint: &str| -> Result<f64, HyperparameterError> {
            let parsed: f64 =
                text.parse().map_err(|_| invalid("it is not a number".into(), hint))?;
            if parsed.is_finite() && (low..=high).contains(&parsed) {
                Ok(parsed)
            } else {
                Err(invalid(format!("it is not within {low} and {high}"), hint))
            }
        };
        let count = |low: u64, high: u64, hint: &str| -> Result<u64, HyperparameterError> {
            let parsed: u64 =
                text.parse().map_err(|_| invalid("it is not a whole number".into(), hint))?;
            if (low..=high).contains(&parsed) {
                Ok(parsed)
            } else {
                Err(invalid(format!("it is not within {low} and {high}"), hint))
            }
        };
        let boolean = || match text {
            "true" | "True" | "1" => Ok(true),
            "false" | "False" | "0" => Ok(false),
            _ => Err(invalid("it is not a boolean".into(), "`true` or `false`")),
        };
        let word = |result: Result<(), String>| {
            result.map_err(|hint| invalid("it is not one of the choices".into(), &hint))
        };
        match key.as_str() {
            "head" => word(text.parse().map(|v| self.head = v))?,
            "optimizer" => word(text.parse().map(|v| self.optimizer = v))?,
            "schedule" | "lr_schedule" => word(text.parse().map(|v| self.schedule = v))?,
            "augmentation" => word(text.parse().map(|v| self.augmentation = v))?,
            "learning_rate" | "lr" if text == "auto" => self.learning_rate = 0.0,
            "epochs" if text == "auto" => self.epochs = 0,
            "learning_rate" | "lr" => {
                self.learning_rate = number(1e-9, 1e3, "a positive number such as 0.001")?;
            }
            "batch_size" | "mini_batch_size" => {
                self.batch_size = count(1, 65_536, "a whole number such as 64")? as usize;
            }
            "epochs" => self.epochs = count(1, 100_000, "a whole number such as 20")? as usize,
            "weight_decay" => self.weight_decay = number(0.0, 10.0, "a number such as 0.01")?,
            "label_smoothing" => {
                self.label_smoothing = number(0.0, 0.99, "a share such as 0.1")?;
            }
            "dropout" => self.dropout = number(0.0, 0.95, "a share such as 0.2")?,
            // SageMaker's built-in algorithm has a boolean here and the patience apart.
            "early_stopping" => match text {
                "true" | "True" => self.early_stopping = 5,
                "false" | "False" => self.early_stopping = 0,
                _ => {
                    self.early_stopping =
                        count(0, 100_000, "a number of epochs, `true` or `false`")? as usize;
                }
            },
            "early_stopping_patience" => {
                self.early_stopping = count(0, 100_000, "a number of epochs")? as usize;
            }
            "class_weights" => self.class_weights = boolean()?,
            "warm_start" => self.warm_start = boolean()?,
            "views" => self.views = count(1, 64, "a whole number from 1 to 64")? as usize,
            "seed" => self.seed = count(0, u64::MAX, "a whole number such as 42")?,
            _ => {
                return Err(HyperparameterError::Unknown {
                    name: name.to_owned(),
                    known: NAMES.join(", "),
                });
            }
        }
        Ok(())
    }
}

/// Hyperparameters of a job as SageMaker hands them over: names and values, all strings.
pub type Hyperparameters = BTreeMap<String, String>;

#[cfg(test)]
mod tests;

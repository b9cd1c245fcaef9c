//! What is searched: parameters with their ranges, and the way from a range to the unit interval and back.
//!
//! Strategies work on units, numbers from 0 to 1 per parameter; the job gets texts. [`Domain::text`] and
//! [`Domain::unit`] are the two directions. Ranges and scalings are SageMaker's:
//! <https://docs.aws.amazon.com/sagemaker/latest/dg/automatic-model-tuning-define-ranges.html>.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Values of one trial by parameter name, texts exactly as the job's hyperparameters get them.
pub type Assignment = BTreeMap<String, String>;

/// Most parameters that one space may have, as on SageMaker.
const MOST_PARAMETERS: usize = 30;

/// `max / min` from which [`Scaling::Auto`] searches logarithmically: two orders of magnitude.
///
/// AWS advises a linear scale within one order of magnitude and a logarithmic one for several, and does not
/// publish what `Auto` does in between. Two orders is the range of the usual learning rates, 1e-3 to 1e-1.
const AUTO_RATIO: f64 = 100.0;

/// The scale on which the values of a range are equally likely.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Scaling {
    /// `Logarithmic` for a positive range of two orders of magnitude or more; else `ReverseLogarithmic` for a
    /// continuous range in `[0, 1)` whose distance to 1 spans as much (momentum 0.9 to 0.999); else `Linear`.
    #[default]
    Auto,
    /// Equal differences.
    Linear,
    /// Equal ratios; positive values only.
    Logarithmic,
    /// Equal ratios of the distance to 1; continuous values from 0 to below 1 only.
    ReverseLogarithmic,
}

impl fmt::Display for Scaling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Scaling::Auto => "Auto",
            Scaling::Linear => "Linear",
            Scaling::Logarithmic => "Logarithmic",
            Scaling::ReverseLogarithmic => "ReverseLogarithmic",
        })
    }
}

impl FromStr for Scaling {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "Auto" => Ok(Scaling::Auto),
            "Linear" => Ok(Scaling::Linear),
            "Logarithmic" => Ok(Scaling::Logarithmic),
            "ReverseLogarithmic" => Ok(Scaling::ReverseLogarithmic),
            _ => Err(format!(
                "`{text}` is no scaling\nhint: use Auto, Linear, Logarithmic or ReverseLogarithmic"
            )),
        }
    }
}

/// The values that one parameter may take; both ends are included.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Domain {
    /// Any number from `min` to `max`.
    Continuous {
        /// Lowest value.
        min: f64,
        /// Highest value.
        max: f64,
        /// Scale of the search.
        scaling: Scaling,
    },
    /// Any whole number from `min` to `max`.
    Integer {
        /// Lowest value.
        min: i64,
        /// Highest value.
        max: i64,
        /// Scale of the search.
        scaling: Scaling,
    },
    /// One of these texts, which are never looked into (they may carry JSON's quotes).
    Categorical {
        /// The choices, all different.
        values: Vec<String>,
    },
}

impl Domain {
    /// The scale that is really used, never `Auto`; `Linear` for categories, which have none.
    pub(crate) fn scale(&self) -> Scaling {
        let (low, high, scaling) = match self {
            Domain::Continuous { min, max, scaling } => (*min, *max, *scaling),
            Domain::Integer { min, max, scaling } => (*min as f64, *max as f64, *scaling),
            Domain::Categorical { .. } => return Scaling::Linear,
        };
        let wide = |low: f64, high: f64| low > 0.0 && high / low >= AUTO_RATIO * (1.0 - 1e-9);
        match scaling {
            Scaling::Auto if wide(low, high) => Scaling::Logarithmic,
            Scaling::Auto
                if matches!(self, Domain::Continuous { .. })
                    && low >= 0.0
                    && wide(1.0 - high, 1.0 - low) =>
            {
                Scaling::ReverseLogarithmic
            }
            Scaling::Auto => Scaling::Linear,
            named => named,
        }
    }

    /// How many different values there are; `None` for a continuous range, unless it is a single point.
    pub(crate) fn values(&self) -> Option<u64> {
        match self {
            Domain::Continuous { min, max, .. } => (min == max).then_some(1),
            Domain::Integer { min, max, .. } => {
                Some(u64::try_from(i128::from(*max) - i128::from(*min) + 1).unwrap_or(u64::MAX))
            }
            Domain::Categorical { values } => Some(values.len() as u64),
        }
    }

    /// The value at place `index` below [`Domain::values`] as text.
    pub(crate) fn text_at(&self, index: u64) -> String {
        match self {
            Domain::Continuous { min, .. } => number(*min),
            Domain::Integer { min, max, .. } => {
                let value = (i128::from(*min) + i128::from(index)).min(i128::from(*max));
                value.to_string()
            }
            Domain::Categorical { values } => {
                values.get(index as usize).or(values.last()).cloned().unwrap_or_default()
            }
        }
    }

    /// The value at `unit`, 0 to 1, as text that parses back to exactly that value within the bounds. Equal
    /// parts of the interval belong to equally likely values: those of a whole number are as wide as the range
    /// from half below to half above it, on the scale.
    pub(crate) fn text(&self, unit: f64) -> String {
        let unit = unit.clamp(0.0, 1.0);
        let scale = self.scale();
        match self {
            Domain::Continuous { min, max, .. } => {
                number(decode(scale, *min, *max, unit).clamp(*min, *max))
            }
            Domain::Integer { min, max, .. } => {
                let value = decode(scale, *min as f64 - 0.5, *max as f64 + 0.5, unit).round();
                // INVARIANT: `as` saturates, so that a rounded value beyond i64 stays within the bounds.
                (value as i64).clamp(*min, *max).to_string()
            }
            Domain::Categorical { values } => {
                let index = (unit * values.len() as f64) as u64;
                self.text_at(index.min(values.len().saturating_sub(1) as u64))
            }
        }
    }

    /// The place of a value on its scale, 0 to 1, for the model: 0 and 1 are the bounds themselves. A category
    /// has its index divided by the number of categories, which says only whether two are the same. `None`
    /// when the text is none of the values, as may happen to trials of another tuning job.
    pub(crate) fn unit(&self, text: &str) -> Option<f64> {
        let scale = self.scale();
        match self {
            Domain::Continuous { min, max, .. } => {
                let value = text.trim().parse::<f64>().ok()?;
                (*min..=*max).contains(&value).then(|| encode(scale, *min, *max, value))
            }
            Domain::Integer { min, max, .. } => {
                let value = text.trim().parse::<i64>().ok()?;
                (*min..=*max)
                    .contains(&value)
                    .then(|| encode(scale, *min as f64, *max as f64, value as f64))
            }
            Domain::Categorical { values } => {
                let index = values.iter().position(|value| value == text)?;
                Some(index as f64 / values.len() as f64)
            }
        }
    }

    /// What [`Domain::unit`] says of the value that [`Domain::text`] has at `unit`.
    pub(crate) fn snap(&self, unit: f64) -> f64 {
        match self {
            Domain::Continuous { .. } => unit,
            Domain::Integer { .. } | Domain::Categorical { .. } => {
                self.unit(&self.text(unit)).unwrap_or(unit)
            }
        }
    }

    fn check(&self, name: &str) -> Result<(), SpaceError> {
        let name = || name.to_owned();
        match self {
            Domain::Continuous { min, max, scaling } => {
                if !min.is_finite() || !max.is_finite() || !(max - min).is_finite() {
                    return Err(SpaceError::NotFinite { name: name() });
                }
                if min > max {
                    let (min, max) = (min.to_string(), max.to_string());
                    return Err(SpaceError::Order { name: name(), min, max });
                }
                if *scaling == Scaling::Logarithmic && *min <= 0.0 {
                    return Err(SpaceError::Logarithmic { name: name(), min: min.to_string() });
                }
                if *scaling == Scaling::ReverseLogarithmic && (*min < 0.0 || *max >= 1.0) {
                    return Err(SpaceError::ReverseLogarithmic { name: name() });
                }
            }
            Domain::Integer { min, max, scaling } => {
                if min > max {
                    let (min, max) = (min.to_string(), max.to_string());
                    return Err(SpaceError::Order { name: name(), min, max });
                }
                if *scaling == Scaling::Logarithmic && *min <= 0 {
                    return Err(SpaceError::Logarithmic { name: name(), min: min.to_string() });
                }
                if *scaling == Scaling::ReverseLogarithmic {
                    return Err(SpaceError::ReverseLogarithmic { name: name() });
                }
            }
            Domain::Categorical { values } => {
                if values.is_empty() {
                    return Err(SpaceError::NoValues { name: name() });
                }
                let mut seen = BTreeSet::new();
                if let Some(twice) = values.iter().find(|value| !seen.insert(*value)) {
                    return Err(SpaceError::DuplicateValue { name: name(), value: twice.clone() });
                }
            }
        }
        Ok(())
    }
}

/// Shortest text that parses back to the same number; `1e-7`, not `0.0000001`.
fn number(value: f64) -> String {
    // Minus zero would be a second spelling of the same value.
    format!("{:?}", if value == 0.0 { 0.0 } else { value })
}

/// From a place on the scale to the value.
fn decode(scale: Scaling, low: f64, high: f64, unit: f64) -> f64 {
    match scale {
        Scaling::Logarithmic => (low.ln() + unit * (high.ln() - low.ln())).exp(),
        Scaling::ReverseLogarithmic => {
            let (from, to) = ((1.0 - low).ln(), (1.0 - high).ln());
            1.0 - (from + unit * (to - from)).exp()
        }
        Scaling::Auto | Scaling::Linear => low + unit * (high - low),
    }
}

/// From a value to its place on the scale; the middle of a range that is a single point.
fn encode(scale: Scaling, low: f64, high: f64, value: f64) -> f64 {
    if low >= high {
        return 0.5;
    }
    let unit = match scale {
        Scaling::Logarithmic => (value.ln() - low.ln()) / (high.ln() - low.ln()),
        Scaling::ReverseLogarithmic => {
            let from = (1.0 - low).ln();
            ((1.0 - value).ln() - from) / ((1.0 - high).ln() - from)
        }
        Scaling::Auto | Scaling::Linear => (value - low) / (high - low),
    };
    unit.clamp(0.0, 1.0)
}

/// A hyperparameter and the values to search for it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Parameter {
    /// Name of the hyperparameter.
    pub name: String,
    /// Its values.
    pub domain: Domain,
}

/// Checked parameters: one to thirty, all names different, every range in order and fit for its scaling.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Vec<Parameter>", into = "Vec<Parameter>")]
pub struct Space {
    parameters: Vec<Parameter>,
}

impl TryFrom<Vec<Parameter>> for Space {
    type Error = SpaceError;

    fn try_from(parameters: Vec<Parameter>) -> Result<Self, Self::Error> {
        Space::new(parameters)
    }
}

impl From<Space> for Vec<Parameter> {
    fn from(space: Space) -> Self {
        space.parameters
    }
}

impl Space {
    /// Checks the parameters.
    ///
    /// # Errors
    /// When there is none or more than thirty, a name is empty or comes twice, or a range is not possible.
    pub fn new(parameters: Vec<Parameter>) -> Result<Space, SpaceError> {
        if parameters.is_empty() {
            return Err(SpaceError::Empty);
        }
        if parameters.len() > MOST_PARAMETERS {
            return Err(SpaceError::TooMany { count: parameters.len() });
        }
        let mut seen = BTreeSet::new();
        for Parameter { name, domain } in &parameters {
            if name.is_empty() {
                return Err(SpaceError::NoName);
            }
            if !seen.insert(name.as_str()) {
                return Err(SpaceError::Duplicate { name: name.clone() });
            }
            domain.check(name)?;
        }
        Ok(Space { parameters })
    }

    /// For ranges that this crate writes down itself and its tests check.
    pub(crate) fn trusted(parameters: Vec<Parameter>) -> Space {
        Space { parameters }
    }

    /// The parameters in the order they were given.
    pub fn parameters(&self) -> &[Parameter] {
        &self.parameters
    }

    /// How many combinations there are (at most `u64::MAX`); `None` when a parameter is continuous.
    pub fn grid_size(&self) -> Option<u64> {
        let continuous =
            |parameter: &Parameter| matches!(parameter.domain, Domain::Continuous { .. });
        if self.parameters.iter().any(continuous) { None } else { self.size() }
    }

    /// Like [`Space::grid_size`], but a continuous range of a single point counts as one value.
    pub(crate) fn size(&self) -> Option<u64> {
        self.parameters.iter().try_fold(1u64, |size, parameter| {
            parameter.domain.values().map(|values| size.saturating_mul(values))
        })
    }

    /// Combination `index` below [`Space::size`]; the last parameter changes fastest.
    pub(crate) fn combination(&self, mut index: u64) -> Assignment {
        let mut values = Assignment::new();
        for Parameter { name, domain } in self.parameters.iter().rev() {
            let count = domain.values().unwrap_or(1).max(1);
            values.insert(name.clone(), domain.text_at(index % count));
            index /= count;
        }
        values
    }

    /// The assignment at these units, one per parameter.
    pub(crate) fn assignment(&self, units: &[f64]) -> Assignment {
        let texts = self.parameters.iter().zip(units);
        texts
            .map(|(parameter, unit)| (parameter.name.clone(), parameter.domain.text(*unit)))
            .collect()
    }
}

/// Why parameters are no search space.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SpaceError {
    /// No parameter.
    #[error("there is no parameter to search\nhint: give at least one range")]
    Empty,
    /// More than thirty.
    #[error(
        "{count} parameters are too many to search\nhint: choose at most 30; the others can be fixed"
    )]
    TooMany {
        /// How many there are.
        count: usize,
    },
    /// A name is empty.
    #[error("a parameter has no name")]
    NoName,
    /// A name comes twice.
    #[error("parameter `{name}` is given twice")]
    Duplicate {
        /// The name.
        name: String,
    },
    /// Infinite, not a number, or too far apart for a floating point number.
    #[error("the bounds of parameter `{name}` are not finite numbers")]
    NotFinite {
        /// The parameter.
        name: String,
    },
    /// The lowest value is above the highest.
    #[error("parameter `{name}` has its lowest value `{min}` above its highest `{max}`")]
    Order {
        /// The parameter.
        name: String,
        /// Lowest value.
        min: String,
        /// Highest value.
        max: String,
    },
    /// Zero or less on a logarithmic scale.
    #[error(
        "parameter `{name}` cannot be scaled logarithmically from `{min}`\nhint: start above 0, or use Linear"
    )]
    Logarithmic {
        /// The parameter.
        name: String,
        /// Lowest value.
        min: String,
    },
    /// Out of 0 to below 1, or whole numbers, on a reverse logarithmic scale.
    #[error(
        "parameter `{name}` cannot be scaled reverse logarithmically\nhint: that is for continuous ranges from 0 to below 1"
    )]
    ReverseLogarithmic {
        /// The parameter.
        name: String,
    },
    /// No choices.
    #[error("parameter `{name}` has no values to choose from")]
    NoValues {
        /// The parameter.
        name: String,
    },
    /// A choice comes twice.
    #[error("parameter `{name}` has the value `{value}` twice")]
    DuplicateValue {
        /// The parameter.
        name: String,
        /// The value.
        value: String,
    },
}

#[cfg(test)]
mod tests;

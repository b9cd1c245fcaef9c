//! Metrics of a training job: the first capture group of each definition's regular expression over the
//! log (SEMANTICS: "Training container").

use kennel_wire::ServiceError;
use regex::{Regex, RegexBuilder};
use serde::Deserialize;
use serde_json::{Value, json};

/// One entry of `MetricDefinitions`.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(in crate::sagemaker) struct Definition {
    pub name: String,
    pub regex: String,
}

/// A definition ready to use.
#[derive(Debug)]
pub(in crate::sagemaker) struct Metric {
    pub name: String,
    regex: Regex,
}

/// A compiled expression may take this much memory; hostile ones are refused.
const REGEX_BYTES: usize = 1 << 20;

impl Definition {
    pub(in crate::sagemaker) fn compile(&self) -> Result<Metric, ServiceError> {
        let regex =
            RegexBuilder::new(&self.regex).size_limit(REGEX_BYTES).build().map_err(|e| {
                ServiceError::validation(format!(
                    "metric definition `{}`: `{}` cannot be used as a regular expression: {e}",
                    self.name, self.regex
                ))
            })?;
        Ok(Metric { name: self.name.clone(), regex })
    }

    pub(in crate::sagemaker) fn as_json(&self) -> Value {
        json!({ "Name": self.name, "Regex": self.regex })
    }
}

impl Metric {
    /// The metric's value in a log line.
    pub(in crate::sagemaker) fn find(&self, line: &str) -> Option<f64> {
        let captures = self.regex.captures(line)?;
        let found = captures.get(1).or_else(|| captures.get(0))?;
        found.as_str().trim().parse().ok().filter(|value: &f64| value.is_finite())
    }
}

/// The native algorithm's metrics, by the names of SageMaker's built-in image classifier.
pub(in crate::sagemaker) fn native() -> Vec<Definition> {
    [
        ("train:loss", "train_loss"),
        ("train:accuracy", "train_accuracy"),
        ("validation:loss", "valid_loss"),
        ("validation:accuracy", "valid_accuracy"),
        ("test:accuracy", "test_accuracy"),
    ]
    .into_iter()
    .map(|(name, key)| Definition {
        name: name.to_owned(),
        regex: format!(r"\b{key}=([0-9.eE+-]+)"),
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_group_is_the_value() {
        let line = "epoch=1/15 train_loss=1.25 train_accuracy=0.5 valid_loss=2 valid_accuracy=0.40";
        let values: Vec<Option<f64>> =
            native().iter().map(|d| d.compile().unwrap().find(line)).collect();
        assert_eq!(values, [Some(1.25), Some(0.5), Some(2.0), Some(0.4), None]);
        let definition = Definition {
            name: "average test loss".to_owned(),
            regex: "Testing Loss: ([0-9\\.]+)".to_owned(),
        };
        assert_eq!(definition.compile().unwrap().find("Testing Loss: 16.9"), Some(16.9));
    }

    #[test]
    fn bad_and_hostile_expressions_are_refused() {
        for regex in ["(", "(a{1000}){1000}", "(?=x)"] {
            let definition = Definition { name: "m".to_owned(), regex: regex.to_owned() };
            assert!(definition.compile().is_err(), "{regex}");
        }
    }
}

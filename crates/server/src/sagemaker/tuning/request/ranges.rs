//! `ParameterRanges`: from the API's texts to a space and back, and the ranges that Autotune chooses.

use kennel_tune::{Domain, Parameter, Scaling, Space, native};
use kennel_wire::ServiceError;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Definition, refuse};
use crate::sagemaker::image::Program;
use crate::sagemaker::training;

/// `ParameterRanges`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Ranges {
    integer_parameter_ranges: Vec<Range>,
    continuous_parameter_ranges: Vec<Range>,
    categorical_parameter_ranges: Vec<Choices>,
    auto_parameters: Vec<Auto>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Range {
    name: String,
    min_value: String,
    max_value: String,
    #[serde(default)]
    scaling_type: Scaling,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Choices {
    name: String,
    values: Vec<String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Auto {
    name: String,
    value_hint: String,
}

impl Ranges {
    fn is_empty(&self) -> bool {
        self.integer_parameter_ranges.is_empty()
            && self.continuous_parameter_ranges.is_empty()
            && self.categorical_parameter_ranges.is_empty()
    }

    pub(super) fn space(&self) -> Result<Space, ServiceError> {
        if !self.auto_parameters.is_empty() {
            return refuse(
                "`AutoParameters` are for `Autotune` only\nhint: give each of them a range, or ask for `Autotune`",
            );
        }
        let mut parameters = Vec::new();
        for range in &self.continuous_parameter_ranges {
            let (min, max) = range.bounds::<f64>("a number")?;
            let domain = Domain::Continuous { min, max, scaling: range.scaling_type };
            parameters.push(Parameter { name: range.name.clone(), domain });
        }
        for range in &self.integer_parameter_ranges {
            let (min, max) = range.bounds::<i64>("a whole number")?;
            let domain = Domain::Integer { min, max, scaling: range.scaling_type };
            parameters.push(Parameter { name: range.name.clone(), domain });
        }
        for choices in &self.categorical_parameter_ranges {
            let domain = Domain::Categorical { values: choices.values.clone() };
            parameters.push(Parameter { name: choices.name.clone(), domain });
        }
        Space::new(parameters).map_err(|e| ServiceError::validation(e.to_string()))
    }
}

impl Range {
    fn bounds<T: std::str::FromStr>(&self, what: &str) -> Result<(T, T), ServiceError> {
        let read = |member: &str, text: &str| {
            text.trim().parse::<T>().map_err(|_| {
                ServiceError::validation(format!(
                    "the range of hyperparameter `{}`: `{member}` `{text}` is not {what}",
                    self.name
                ))
            })
        };
        Ok((read("MinValue", &self.min_value)?, read("MaxValue", &self.max_value)?))
    }
}

/// What Autotune makes of a definition.
#[derive(Debug)]
pub(super) struct Tuned {
    /// `ParameterRanges`.
    pub ranges: Value,
    /// Hyperparameters that it was to find a range for and knows none: they keep the hint as their value.
    pub fixed: Vec<(String, String)>,
}

/// The ranges that Autotune gives to a definition; those that were given stay. It knows the hyperparameters
/// of the native algorithm; the SDK asks it for all that have no range.
pub(super) fn autotuned(
    raw: &Value,
    definition: &Definition,
    given: &Ranges,
) -> Result<Tuned, ServiceError> {
    let algorithm = &raw["AlgorithmSpecification"];
    let image = training::text(algorithm, "TrainingImage");
    let name = training::text(algorithm, "AlgorithmName");
    let program = training::program_of(
        Some(image).filter(|i| !i.is_empty()),
        Some(name).filter(|n| !n.is_empty()),
    )?;
    let native = native::space();
    let known = if program == Program::Native { native.parameters() } else { &[] };
    if known.is_empty() && given.is_empty() {
        return refuse(
            "Autotune knows no ranges for the hyperparameters of a script\nhint: give `ParameterRanges`, or use the native algorithm `image-classification`",
        );
    }
    let mut parameters: Vec<Parameter> = Vec::new();
    if !given.is_empty() {
        let own = Ranges { auto_parameters: Vec::new(), ..given.clone() };
        parameters.extend(own.space()?.parameters().iter().cloned());
    }
    let mut fixed = Vec::new();
    for auto in &given.auto_parameters {
        if !known.iter().any(|p| p.name == auto.name) {
            fixed.push((auto.name.clone(), auto.value_hint.clone()));
        }
    }
    let named = |name: &str| given.auto_parameters.iter().any(|auto| auto.name == name);
    let nothing_named = fixed.len() == given.auto_parameters.len() && given.is_empty();
    for parameter in known {
        // Without any word on what to tune everything is; a static value stays static.
        let wanted = nothing_named || named(&parameter.name);
        let taken = parameters.iter().any(|p| p.name == parameter.name)
            || aliases(&parameter.name).any(|name| {
                definition.static_hyper_parameters.contains_key(name)
                    || fixed.iter().any(|(own, _)| own == name)
            });
        if wanted && !taken {
            parameters.push(parameter.clone());
        }
    }
    Ok(Tuned { ranges: ranges_json(&parameters), fixed })
}

/// All names that the native algorithm takes for one of its hyperparameters.
fn aliases(name: &str) -> impl Iterator<Item = &str> {
    let other = match name {
        "learning_rate" => Some("lr"),
        "batch_size" => Some("mini_batch_size"),
        _ => None,
    };
    std::iter::once(name).chain(other)
}

fn ranges_json(parameters: &[Parameter]) -> Value {
    let mut continuous = Vec::new();
    let mut integer = Vec::new();
    let mut categorical = Vec::new();
    let range = |name: &str, min: String, max: String, scaling: &Scaling| json!({ "Name": name, "MinValue": min, "MaxValue": max, "ScalingType": scaling.to_string() });
    for Parameter { name, domain } in parameters {
        match domain {
            Domain::Continuous { min, max, scaling } => {
                continuous.push(range(name, min.to_string(), max.to_string(), scaling));
            }
            Domain::Integer { min, max, scaling } => {
                integer.push(range(name, min.to_string(), max.to_string(), scaling));
            }
            Domain::Categorical { values } => {
                categorical.push(json!({ "Name": name, "Values": values }));
            }
        }
    }
    json!({
        "IntegerParameterRanges": integer,
        "ContinuousParameterRanges": continuous,
        "CategoricalParameterRanges": categorical,
    })
}

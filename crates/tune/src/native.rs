//! Ranges for the native algorithm, used when the caller asks for none (SageMaker's `Autotune`).

use crate::space::{Domain, Parameter, Scaling, Space};

/// The ranges worth searching for the native head trainer, by its own hyperparameter names.
///
/// What a frozen backbone's head is sensitive to, and nothing else: every further parameter costs trials.
/// Epochs, views and early stopping are left out because more of them is only slower, seed because a lucky one
/// is not a better model, and the shape of the head because a warm start needs the linear one.
pub fn space() -> Space {
    let continuous = |name: &str, min: f64, max: f64, scaling: Scaling| Parameter {
        name: name.to_owned(),
        domain: Domain::Continuous { min, max, scaling },
    };
    let categorical = |name: &str, values: &[&str]| Parameter {
        name: name.to_owned(),
        domain: Domain::Categorical { values: values.iter().map(|&v| v.to_owned()).collect() },
    };
    Space::trusted(vec![
        continuous("learning_rate", 1e-4, 1e-1, Scaling::Logarithmic),
        Parameter {
            name: "batch_size".to_owned(),
            domain: Domain::Integer { min: 32, max: 512, scaling: Scaling::Logarithmic },
        },
        continuous("weight_decay", 1e-5, 1e-1, Scaling::Logarithmic),
        continuous("label_smoothing", 0.0, 0.2, Scaling::Linear),
        continuous("dropout", 0.0, 0.5, Scaling::Linear),
        categorical("warm_start", &["true", "false"]),
    ])
}

#[cfg(test)]
mod tests;

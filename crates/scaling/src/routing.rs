//! Which version of a function a call through an alias reaches.
//!
//! An alias points to a version and may send a part of its calls to one other:
//! <https://docs.aws.amazon.com/lambda/latest/dg/configuring-alias-routing.html>.

use crate::concurrency::LATEST;

/// A routing configuration that AWS refuses. The messages are AWS's own, letter for letter.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum WeightError {
    /// More than one additional version.
    #[error("Number of items in AdditionalVersionWeights cannot be greater than 1")]
    TooMany,
    /// A weight outside 0 to 1.
    #[error(
        "1 validation error detected: Value '{{{version}={weight:?}}}' at 'routingConfig.additionalVersionWeights' \
         failed to satisfy constraint: Map value must satisfy constraint: [Member must have value less than or \
         equal to 1.0, Member must have value greater than or equal to 0.0, Member must not be null]"
    )]
    OutOfRange {
        /// The version with the weight.
        version: String,
        /// The weight.
        weight: f64,
    },
    /// The additional version is the one that the alias points to.
    #[error(
        "Invalid function version {version}. Function version {version} is already included in routing configuration."
    )]
    Twice {
        /// The version.
        version: String,
    },
    /// The alias points to `$LATEST`.
    #[error("$LATEST is not supported for an alias pointing to more than 1 version")]
    Latest,
    /// The additional version is no version number.
    #[error(
        "1 validation error detected: Value '{{{version}={weight:?}}}' at 'routingConfig.additionalVersionWeights' \
         failed to satisfy constraint: Map keys must satisfy constraint: [Member must have length less than or \
         equal to 1024, Member must have length greater than or equal to 1, Member must satisfy regular expression \
         pattern: [0-9]+, Member must not be null]"
    )]
    NotANumber {
        /// What was given for a version.
        version: String,
        /// Its weight.
        weight: f64,
    },
}

impl WeightError {
    /// The name of AWS's error; the status is 400.
    pub fn aws_code(&self) -> &'static str {
        match self {
            Self::OutOfRange { .. } | Self::NotANumber { .. } => "ValidationException",
            Self::TooMany | Self::Twice { .. } | Self::Latest => "InvalidParameterValueException",
        }
    }
}

/// The version that one call through an alias reaches: an additional version with the probability of its
/// weight, else `primary`. `draw` is uniform in 0 (inclusive) to 1 (exclusive).
pub fn pick<'a, V: AsRef<str>>(primary: &'a str, weights: &'a [(V, f64)], draw: f64) -> &'a str {
    let mut reached = 0.0;
    for (version, weight) in weights {
        reached += weight;
        if draw < reached {
            return version.as_ref();
        }
    }
    primary
}

/// Checks the `AdditionalVersionWeights` of an alias that points to `primary`. Whether the version exists is
/// for the caller to find out, who answers `ResourceNotFoundException`.
///
/// # Errors
///
/// AWS's refusals, in AWS's order; see [`WeightError`].
pub fn validate_weights<V: AsRef<str>>(
    primary: &str,
    weights: &[(V, f64)],
) -> Result<(), WeightError> {
    if weights.len() > 1 {
        return Err(WeightError::TooMany);
    }
    for (version, weight) in weights {
        let (version, weight) = (version.as_ref(), *weight);
        if !(0.0..=1.0).contains(&weight) {
            return Err(WeightError::OutOfRange { version: version.to_owned(), weight });
        }
        if version == primary {
            return Err(WeightError::Twice { version: version.to_owned() });
        }
        if primary == LATEST {
            return Err(WeightError::Latest);
        }
        let number = (1..=1_024).contains(&version.len())
            && version.bytes().all(|byte| byte.is_ascii_digit());
        if !number {
            return Err(WeightError::NotANumber { version: version.to_owned(), weight });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;

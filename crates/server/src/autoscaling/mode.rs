//! How a policy decides: as AWS does, or fast. Pure.

use std::collections::BTreeMap;

use kennel_wire::ServiceError;
use serde::Deserialize;

/// The tag of a scalable target that says how its policies decide; `kennel:mode/POLICY` says it of one.
pub(super) const TAG: &str = "kennel:mode";

/// When policies decide.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// When CloudWatch's alarms fire, after minutes, as on AWS.
    #[default]
    Aws,
    /// Each second, from the requests themselves, and down to zero instances.
    Fast,
}

impl Mode {
    fn read(word: &str) -> Option<Self> {
        match word {
            "aws" => Some(Mode::Aws),
            "fast" => Some(Mode::Fast),
            _ => None,
        }
    }

    /// Of a target as a whole.
    pub(super) fn of_target(tags: &BTreeMap<String, String>, otherwise: Mode) -> Mode {
        tags.get(TAG).and_then(|word| Mode::read(word)).unwrap_or(otherwise)
    }

    /// Of one of its policies.
    pub(super) fn of_policy(
        tags: &BTreeMap<String, String>,
        policy: &str,
        otherwise: Mode,
    ) -> Mode {
        let own = tags.get(&format!("{TAG}/{policy}")).and_then(|word| Mode::read(word));
        own.unwrap_or_else(|| Mode::of_target(tags, otherwise))
    }
}

/// # Errors
/// `ValidationException` where a tag names no mode.
pub(super) fn check(tags: &BTreeMap<String, String>) -> Result<(), ServiceError> {
    for (key, value) in tags {
        let ours = key == TAG || key.starts_with(&format!("{TAG}/"));
        if ours && Mode::read(value).is_none() {
            return Err(ServiceError::validation(format!(
                "the tag `{key}` is `aws` or `fast`, not `{value}`"
            )));
        }
    }
    Ok(())
}

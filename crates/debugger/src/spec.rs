//! One rule as a job asks for it: SageMaker's `DebugRuleConfiguration`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Why a rule's configuration is refused.
#[derive(Debug, thiserror::Error)]
pub enum RuleError {
    /// A member is missing or has the wrong form.
    #[error("`{member}` of the debug rule {problem}\nhint: {hint}")]
    Member {
        /// The member's name.
        member: String,
        /// What is wrong with it.
        problem: String,
        /// What it should be.
        hint: &'static str,
    },
}

/// One rule to evaluate.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct RuleSpec {
    /// `RuleConfigurationName`: unique within the job, chosen by the user.
    pub configuration: String,
    /// `rule_to_invoke`: the rule's name.
    pub rule: String,
    /// The other `RuleParameters`, as sent.
    pub parameters: BTreeMap<String, String>,
    /// Whether an issue stops the training job (the action `StopTraining`, or StalledTrainingRule's
    /// `stop_training_on_fire`).
    pub stop_training: bool,
}

impl RuleSpec {
    /// Reads one `DebugRuleConfiguration` of CreateTrainingJob: `RuleConfigurationName` and `RuleParameters`
    /// with `rule_to_invoke`. The image is not looked at, every rule is Kennel's own. A rule that does not
    /// exist is not refused here: like on SageMaker the job runs, and the rule's status is `Error`.
    pub fn from_config(config: &Value) -> Result<RuleSpec, RuleError> {
        let configuration = match config.get("RuleConfigurationName") {
            Some(Value::String(name)) if !name.is_empty() => name.clone(),
            other => {
                return Err(RuleError::Member {
                    member: "RuleConfigurationName".to_owned(),
                    problem: problem(other),
                    hint: "a name of 1 to 256 characters, for example `VanishingGradient`",
                });
            }
        };
        let mut parameters = BTreeMap::new();
        match config.get("RuleParameters") {
            None | Some(Value::Null) => {}
            Some(Value::Object(map)) => {
                for (name, value) in map {
                    let Value::String(value) = value else {
                        return Err(RuleError::Member {
                            member: format!("RuleParameters.{}", crate::text::shown(name)),
                            problem: problem(Some(value)),
                            hint: "all values of RuleParameters are strings, numbers too: `\"0.1\"`",
                        });
                    };
                    parameters.insert(name.clone(), value.clone());
                }
            }
            other => {
                return Err(RuleError::Member {
                    member: "RuleParameters".to_owned(),
                    problem: problem(other),
                    hint: "an object of strings with `rule_to_invoke`",
                });
            }
        }
        let Some(rule) = parameters.remove("rule_to_invoke") else {
            return Err(RuleError::Member {
                member: "RuleParameters.rule_to_invoke".to_owned(),
                problem: "is missing".to_owned(),
                hint: "the name of a built-in rule, for example `VanishingGradient`",
            });
        };
        let action = parameters.remove("action_json").is_some_and(|text| stops_training(&text));
        let on_fire = parameters
            .get("stop_training_on_fire")
            .is_some_and(|value| value.trim().eq_ignore_ascii_case("true"));
        Ok(RuleSpec { configuration, rule, parameters, stop_training: action || on_fire })
    }
}

/// Whether `action_json` holds the action `StopTraining`. The SDK sends one object or a list of them, and in
/// both cases with every quote escaped once more (`{\"name\": \"stoptraining\"}`), because AWS's rule
/// container pastes it into a Python string; text without those backslashes is read too. E-mail and SMS
/// are other services' work and no action here.
fn stops_training(text: &str) -> bool {
    let parsed: Result<Value, _> = serde_json::from_str(text);
    let parsed = parsed.or_else(|_| serde_json::from_str(&text.replace("\\\"", "\"")));
    let stops = |action: &Value| {
        action
            .get("name")
            .and_then(Value::as_str)
            .is_some_and(|name| name.eq_ignore_ascii_case("stoptraining"))
    };
    match parsed {
        Ok(Value::Array(actions)) => actions.iter().any(stops),
        Ok(action) => stops(&action),
        Err(_) => false,
    }
}

fn problem(value: Option<&Value>) -> String {
    match value {
        None => "is missing".to_owned(),
        Some(value) => format!("is `{}`", crate::text::shown(&value.to_string())),
    }
}

#[cfg(test)]
mod tests;

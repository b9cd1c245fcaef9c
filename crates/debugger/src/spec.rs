//! One rule as a job asks for it: SageMaker's `DebugRuleConfiguration`.

use std::collections::BTreeMap;

/// Why a rule's configuration is refused.
#[derive(Debug, thiserror::Error)]
pub enum RuleError {
    /// A member has the wrong form.
    #[error("`{member}` of the debug rule is `{value}`\nhint: {hint}")]
    Member {
        /// The member's path.
        member: String,
        /// What came, shortened.
        value: String,
        /// What it should be.
        hint: String,
    },
}

/// One rule to evaluate.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RuleSpec {
    /// `RuleConfigurationName`: unique within the job, chosen by the user.
    pub configuration: String,
    /// `rule_to_invoke`: the rule's name.
    pub rule: String,
    /// The other `RuleParameters`, as sent.
    pub parameters: BTreeMap<String, String>,
    /// Whether an issue stops the training job (the action `StopTraining`).
    pub stop_training: bool,
}

impl RuleSpec {
    /// Reads one `DebugRuleConfiguration` of CreateTrainingJob.
    pub fn from_config(_config: &serde_json::Value) -> Result<RuleSpec, RuleError> {
        Ok(RuleSpec::default())
    }
}

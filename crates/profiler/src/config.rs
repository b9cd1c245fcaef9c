//! What a training job asks of the profiler: `ProfilerConfig` and `ProfilerRuleConfigurations` of
//! CreateTrainingJob.

use std::collections::BTreeMap;

use serde_json::Value;

/// The sampling intervals that SageMaker allows, in milliseconds
/// (<https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_ProfilerConfig.html>).
pub const INTERVALS_MS: [u64; 6] = [100, 200, 500, 1000, 5000, 60_000];

const DEFAULT_INTERVAL_MS: u64 = 500;
/// SageMaker's limits on rules and on their parameters.
const MOST_RULES: usize = 20;
const MOST_PARAMETERS: usize = 100;
const LONGEST_NAME: usize = 256;

/// What to measure and to judge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Milliseconds between two samples, one of [`INTERVALS_MS`].
    pub interval_ms: u64,
    /// Rules to judge, in the order of the request.
    pub rules: Vec<RuleSpec>,
    /// `S3OutputPath`.
    pub output: Option<String>,
    /// Whether nothing is to be measured.
    pub disabled: bool,
}

/// One of `ProfilerRuleConfigurations`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleSpec {
    /// `RuleConfigurationName`: the caller's name for it, and the name of its folder.
    pub configuration: String,
    /// `rule_to_invoke`: which rule.
    pub rule: String,
    /// The other parameters, as sent.
    pub parameters: BTreeMap<String, String>,
}

/// What is wrong with the request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// A member has another type.
    #[error("`{member}` has to be {expected}")]
    Type {
        /// Its path in the request.
        member: String,
        /// What it has to be.
        expected: &'static str,
    },
    /// An interval that SageMaker does not know.
    #[error(
        "`ProfilingIntervalInMilliseconds` is `{0}`\nhint: choose 100, 200, 500, 1000, 5000 or 60000"
    )]
    Interval(String),
    /// A name that cannot be a folder.
    #[error(
        "`{name}` cannot be a `RuleConfigurationName`\nhint: use 1 to 256 letters, digits, `-`, `_` and `.`, not starting with a dot"
    )]
    Name {
        /// The name, cut to a sensible length.
        name: String,
    },
    /// Two rules of one name.
    #[error("`RuleConfigurationName` `{0}` is there twice\nhint: give each rule its own name")]
    Twice(String),
    /// A rule that names no rule.
    #[error(
        "the rule configuration `{0}` does not say which rule it means\nhint: set `rule_to_invoke` in its `RuleParameters`, for instance `ProfilerReport`"
    )]
    NoRule(String),
    /// More than SageMaker allows.
    #[error("there are {count} {what}, at most {limit} are allowed")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many there are.
        count: usize,
        /// How many there may be.
        limit: usize,
    },
}

impl Config {
    /// Reads `ProfilerConfig` and `ProfilerRuleConfigurations`. `ProfilingParameters` stay unread: the SDK sends
    /// text in them that is not valid JSON. Without both, a job is not profiled.
    ///
    /// # Errors
    /// Values that SageMaker refuses too, and rule names that cannot be folders.
    pub fn from_request(
        profiler_config: Option<&Value>,
        rules: &[Value],
    ) -> Result<Self, ConfigError> {
        let config = profiler_config.filter(|value| !value.is_null());
        if config.is_some_and(|value| !value.is_object()) {
            return Err(wrong("ProfilerConfig", "an object"));
        }
        let member = |name: &str| config.and_then(|c| c.get(name)).filter(|v| !v.is_null());
        let interval_ms = match member("ProfilingIntervalInMilliseconds") {
            None => DEFAULT_INTERVAL_MS,
            Some(value) => value
                .as_u64()
                .filter(|ms| INTERVALS_MS.contains(ms))
                .ok_or_else(|| ConfigError::Interval(short(&value.to_string())))?,
        };
        let output = match member("S3OutputPath") {
            None => None,
            Some(Value::String(path)) => Some(path.clone()),
            Some(_) => return Err(wrong("ProfilerConfig.S3OutputPath", "a string")),
        };
        let switched_off = match member("DisableProfiler") {
            None => false,
            Some(Value::Bool(off)) => *off,
            Some(_) => return Err(wrong("ProfilerConfig.DisableProfiler", "true or false")),
        };
        if rules.len() > MOST_RULES {
            let (what, count) = ("profiler rules", rules.len());
            return Err(ConfigError::TooMany { what, count, limit: MOST_RULES });
        }
        let mut specs: Vec<RuleSpec> = Vec::new();
        for (index, rule) in rules.iter().enumerate() {
            let spec = rule_spec(index, rule)?;
            if specs.iter().any(|other| other.configuration == spec.configuration) {
                return Err(ConfigError::Twice(spec.configuration));
            }
            specs.push(spec);
        }
        let disabled = switched_off || (config.is_none() && specs.is_empty());
        Ok(Self { interval_ms, rules: specs, output, disabled })
    }
}

fn rule_spec(index: usize, rule: &Value) -> Result<RuleSpec, ConfigError> {
    let path = |member: &str| format!("ProfilerRuleConfigurations.{}.{member}", index + 1);
    let configuration = rule
        .get("RuleConfigurationName")
        .and_then(Value::as_str)
        .ok_or_else(|| wrong(&path("RuleConfigurationName"), "a string"))?
        .to_owned();
    if !is_file_name(&configuration) {
        return Err(ConfigError::Name { name: short(&configuration) });
    }
    let mut parameters = BTreeMap::new();
    match rule.get("RuleParameters").filter(|value| !value.is_null()) {
        None => {}
        Some(Value::Object(map)) if map.len() > MOST_PARAMETERS => {
            let (what, count) = ("rule parameters", map.len());
            return Err(ConfigError::TooMany { what, count, limit: MOST_PARAMETERS });
        }
        Some(Value::Object(map)) => {
            for (key, value) in map {
                let Value::String(text) = value else {
                    return Err(wrong(&path("RuleParameters"), "a map of strings"));
                };
                parameters.insert(key.clone(), text.clone());
            }
        }
        Some(_) => return Err(wrong(&path("RuleParameters"), "a map of strings")),
    }
    let rule = parameters
        .remove("rule_to_invoke")
        .filter(|rule| !rule.is_empty())
        .ok_or_else(|| ConfigError::NoRule(configuration.clone()))?;
    Ok(RuleSpec { configuration, rule, parameters })
}

/// Whether a name is one plain folder or file, on any system, and nothing else.
pub(crate) fn is_file_name(name: &str) -> bool {
    (1..=LONGEST_NAME).contains(&name.len())
        && !name.starts_with('.')
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
}

fn wrong(member: &str, expected: &'static str) -> ConfigError {
    ConfigError::Type { member: member.to_owned(), expected }
}

/// The beginning of a stranger's words, for an error message.
pub(crate) fn short(text: &str) -> String {
    if text.chars().count() <= 80 {
        return text.to_owned();
    }
    text.chars().take(80).chain(['…']).collect()
}

#[cfg(test)]
mod tests;

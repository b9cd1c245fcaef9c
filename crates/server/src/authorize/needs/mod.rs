//! What IAM is asked before an operation runs: a pure table from operation and input to questions. An
//! operation that the table does not know is denied.
//!
//! Source: the Service Authorization Reference,
//! <https://docs.aws.amazon.com/service-authorization/latest/reference/reference_policies_actions-resources-contextkeys.html>.

mod functions;
mod identities;
mod learning;
mod objects;
mod observing;

use std::borrow::Cow;

use serde_json::Value;

pub(crate) use self::objects::{Asked as S3Asked, needs as s3, object};
use crate::context::Caller;

/// One question: may the caller do this to that?
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Need {
    /// `sagemaker:CreateModel`.
    pub action: Cow<'static, str>,
    /// An ARN, or `*` where the action knows no resources.
    pub resource: String,
    /// What the request says beyond that, as condition keys and their values.
    pub context: Vec<(Cow<'static, str>, Vec<String>)>,
}

impl Need {
    /// A question without conditions.
    pub fn new(action: impl Into<Cow<'static, str>>, resource: impl Into<String>) -> Self {
        Need { action: action.into(), resource: resource.into(), context: Vec::new() }
    }

    /// Adds a condition key, unless it has no value.
    pub(crate) fn with(mut self, key: impl Into<Cow<'static, str>>, values: Vec<String>) -> Self {
        if !values.is_empty() {
            self.context.push((key.into(), values));
        }
        self
    }

    /// Adds condition keys.
    fn and(mut self, keys: &Keys) -> Self {
        self.context.extend(keys.iter().filter(|(_, values)| !values.is_empty()).cloned());
        self
    }
}

/// Condition keys and their values.
type Keys = Vec<(Cow<'static, str>, Vec<String>)>;

/// What an operation asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Needs {
    /// Nothing: whoever has signed may do it.
    Nothing,
    /// All of these.
    All(Vec<Need>),
    /// The operation itself asks as it runs, for each thing that it touches.
    Inside,
}

impl From<Need> for Needs {
    fn from(need: Need) -> Self {
        Needs::All(vec![need])
    }
}

/// A user or role as the table needs to know it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Known {
    /// With its path.
    pub arn: String,
    /// The permissions boundary's ARN.
    pub boundary: Option<String>,
    /// Keys and values.
    pub tags: Vec<(String, String)>,
}

/// Finds users and roles by what requests call them.
pub(crate) trait Lookup {
    fn role(&self, name: &str) -> Option<Known>;
    fn user(&self, name: &str) -> Option<Known>;
    /// The user that has an access key.
    fn key_owner(&self, key: &str) -> Option<Known>;
}

/// A call to be asked for.
pub(crate) struct Asked<'a> {
    /// The model's name: `sagemaker`, `sagemaker-runtime`, `lambda`.
    pub service: &'a str,
    pub operation: &'a str,
    /// By the operation's input shape.
    pub input: &'a Value,
    pub caller: &'a Caller,
    pub account: &'a str,
    pub region: &'a str,
    pub lookup: &'a dyn Lookup,
}

/// What an operation asks; `None` for an operation that is not in the table.
pub(crate) fn needs(asked: &Asked<'_>) -> Option<Needs> {
    match asked.service {
        "sts" => identities::sts(asked),
        "iam" => identities::iam(asked),
        "sagemaker" => learning::sagemaker(asked),
        "sagemaker-runtime" => learning::runtime(asked),
        "application-autoscaling" => learning::scaling(asked),
        "lambda" => functions::lambda(asked),
        "logs" => observing::logs(asked),
        "cloudwatch" => observing::cloudwatch(asked),
        "cloudtrail" => observing::cloudtrail(asked),
        "accessanalyzer" => observing::access_analyzer(asked),
        _ => None,
    }
}

impl Asked<'_> {
    /// `vendor:Operation`.
    fn action(&self, vendor: &str) -> String {
        format!("{vendor}:{}", self.operation)
    }

    fn arn(&self, service: &str, resource: &str) -> String {
        format!("arn:aws:{service}:{}:{}:{resource}", self.region, self.account)
    }

    fn text(&self, member: &str) -> &str {
        text(self.input, member)
    }
}

/// A member as text; empty when it is missing, which the model has refused already where it matters.
fn text<'a>(input: &'a Value, member: &str) -> &'a str {
    input.get(member).and_then(Value::as_str).unwrap_or_default()
}

/// The values at a path such as `ResourceConfig.InstanceGroups[].InstanceType`, as texts.
fn values(input: &Value, path: &str) -> Vec<String> {
    let mut found = vec![input];
    for step in path.split('.') {
        let (name, each) = match step.strip_suffix("[]") {
            Some(name) => (name, true),
            None => (step, false),
        };
        found = found
            .into_iter()
            .filter_map(|value| value.get(name))
            .flat_map(|value| match value.as_array().filter(|_| each) {
                Some(items) => items.iter().collect(),
                None => vec![value],
            })
            .collect();
    }
    found.into_iter().filter_map(word).collect()
}

fn word(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Bool(_) | Value::Number(_) => Some(value.to_string()),
        _ => None,
    }
}

/// `aws:RequestTag/…` and `aws:TagKeys` of a member that is a list of keys and values, a map of them, or
/// a list of keys.
fn tags(input: &Value, member: &str) -> Keys {
    let mut keys: Keys = Vec::new();
    let mut names = Vec::new();
    let mut tag = |key: &str, value: Option<&str>| {
        names.push(key.to_owned());
        if let Some(value) = value {
            keys.push((format!("aws:RequestTag/{key}").into(), vec![value.to_owned()]));
        }
    };
    match input.get(member) {
        Some(Value::Array(items)) => {
            for item in items {
                match item.as_str() {
                    Some(key) => tag(key, None),
                    None => tag(text(item, "Key"), Some(text(item, "Value"))),
                }
            }
        }
        Some(Value::Object(map)) => {
            for (key, value) in map {
                tag(key, value.as_str());
            }
        }
        _ => {}
    }
    keys.push(("aws:TagKeys".into(), names));
    keys
}

/// Does the request bring tags?
fn has_tags(input: &Value, member: &str) -> bool {
    match input.get(member) {
        Some(Value::Array(items)) => !items.is_empty(),
        Some(Value::Object(map)) => !map.is_empty(),
        _ => false,
    }
}

/// Handing a role to a service.
fn pass(role: &str, service: &str) -> Need {
    Need::new("iam:PassRole", role).with("iam:PassedToService", vec![service.to_owned()])
}

#[cfg(test)]
mod tests;

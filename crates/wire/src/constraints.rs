//! The constraints of a model (required, length, range, pattern, enumeration) on an input whose types
//! are right, and AWS's words for what breaks them:
//! `1 validation error detected: Value 'x' at 'trainingJobName' failed to satisfy constraint: …`.

use std::fmt::Write as _;

use serde_json::{Map, Number, Value};

use crate::error::ServiceError;
use crate::model::{Kind, Reference, ServiceModel, Shape, Structure};

/// Violations that one answer lists at most.
const MOST: usize = 50;
/// Characters of a value that a message repeats at most.
const VALUE: usize = 512;

/// Checks a whole input.
///
/// # Errors
/// `ValidationException` that lists every violation.
pub(crate) fn check(model: &ServiceModel, shape: usize, input: &Value) -> Result<(), ServiceError> {
    let mut checker = Checker { model, path: String::new(), found: Vec::new() };
    checker.value(shape, input);
    let found = checker.found;
    if found.is_empty() {
        return Ok(());
    }
    let plural = if found.len() == 1 { "" } else { "s" };
    Err(ServiceError::validation(format!(
        "{} validation error{plural} detected: {}",
        found.len(),
        found.join("; ")
    )))
}

struct Checker<'m> {
    model: &'m ServiceModel,
    path: String,
    found: Vec<String>,
}

impl Checker<'_> {
    fn value(&mut self, at: usize, value: &Value) {
        let Some(shape) = self.model.shape(at) else { return };
        for broken in broken(shape, value) {
            self.report(Some((shape, value)), &broken);
        }
        match (&shape.kind, value) {
            (Kind::Structure(structure), Value::Object(map)) => self.structure(structure, map),
            (Kind::List(member), Value::Array(items)) => self.list(shape, member, value, items),
            (Kind::Map { key, value: member }, Value::Object(map)) => {
                self.map(shape, (key, member), value, map);
            }
            _ => {}
        }
    }

    fn structure(&mut self, structure: &Structure, map: &Map<String, Value>) {
        for member in &structure.members {
            match map.get(&member.name) {
                Some(value) => {
                    self.below(&member.path_name, |checker| {
                        checker.value(member.target.shape, value);
                    });
                }
                None if member.required => self.below(&member.path_name, |checker| {
                    checker.report(None, "Member must not be null");
                }),
                None => {}
            }
        }
    }

    fn list(&mut self, shape: &Shape, member: &Reference, whole: &Value, items: &[Value]) {
        let Some(inner) = self.model.shape(member.shape) else { return };
        if inner.is_scalar() {
            // AWS reports elements without members at the list, with all that holds for them.
            if items.iter().any(|item| !broken(inner, item).is_empty()) {
                let all = format!("Member must satisfy constraint: [{}]", all(inner).join(", "));
                self.report(Some((shape, whole)), &all);
            }
            return;
        }
        for (index, item) in items.iter().enumerate() {
            self.below(&format!("{}.member", index + 1), |checker| {
                checker.value(member.shape, item);
            });
        }
    }

    fn map(
        &mut self,
        shape: &Shape,
        (key, member): (&Reference, &Reference),
        whole: &Value,
        map: &Map<String, Value>,
    ) {
        if let Some(inner) = self.model.shape(key.shape)
            && map.keys().any(|key| !broken(inner, &Value::String(key.clone())).is_empty())
        {
            let all = format!("Map keys must satisfy constraint: [{}]", all(inner).join(", "));
            self.report(Some((shape, whole)), &all);
        }
        let Some(inner) = self.model.shape(member.shape) else { return };
        if inner.is_scalar() {
            if map.values().any(|value| !broken(inner, value).is_empty()) {
                let all = format!("Map value must satisfy constraint: [{}]", all(inner).join(", "));
                self.report(Some((shape, whole)), &all);
            }
            return;
        }
        for (key, value) in map {
            self.below(&format!("{key}.member"), |checker| checker.value(member.shape, value));
        }
    }

    /// Runs `then` with `name` appended to the path.
    fn below(&mut self, name: &str, then: impl FnOnce(&mut Self)) {
        let length = self.path.len();
        if length > 0 {
            self.path.push('.');
        }
        self.path.push_str(name);
        then(self);
        self.path.truncate(length);
    }

    fn report(&mut self, value: Option<(&Shape, &Value)>, constraint: &str) {
        if self.found.len() >= MOST {
            return;
        }
        let value = match value {
            None => " null".to_owned(),
            Some((shape, _)) if shape.sensitive => String::new(),
            Some((_, value)) => {
                let mut out = String::new();
                show(&mut out, value);
                format!(" '{}'", out.chars().take(VALUE).collect::<String>())
            }
        };
        self.found.push(format!(
            "Value{value} at '{}' failed to satisfy constraint: {constraint}",
            self.path
        ));
    }
}

impl Shape {
    fn is_scalar(&self) -> bool {
        !matches!(self.kind, Kind::Structure(_) | Kind::List(_) | Kind::Map { .. })
    }
}

/// The constraints that `value` breaks, children aside.
fn broken(shape: &Shape, value: &Value) -> Vec<String> {
    let mut found = Vec::new();
    if let Value::String(text) = value {
        if !shape.values.is_empty() && !shape.values.contains(text) {
            found.push(enumeration(shape));
        }
        if let Some(pattern) = &shape.pattern
            && !pattern.accepts(text)
        {
            found.push(matching(pattern.source()));
        }
    }
    let (size, numeric) = match (value, &shape.kind) {
        (Value::String(_), Kind::Timestamp) => return found,
        (Value::String(text), Kind::Blob) => (blob_length(text) as f64, false),
        (Value::String(text), _) => (text.chars().count() as f64, false),
        (Value::Array(items), _) => (items.len() as f64, false),
        (Value::Object(map), Kind::Map { .. }) => (map.len() as f64, false),
        (Value::Number(number), _) => (number.as_f64().unwrap_or_default(), true),
        _ => return found,
    };
    if let Some(max) = &shape.max
        && max.as_f64().is_some_and(|max| size > max)
    {
        found.push(bound(numeric, "less", max));
    }
    if let Some(min) = &shape.min
        && min.as_f64().is_some_and(|min| size < min)
    {
        found.push(bound(numeric, "greater", min));
    }
    found
}

/// All constraints of a shape, in AWS's order.
fn all(shape: &Shape) -> Vec<String> {
    let numeric = matches!(shape.kind, Kind::Integer | Kind::Long | Kind::Float);
    let mut out = Vec::new();
    out.extend(shape.max.as_ref().map(|max| bound(numeric, "less", max)));
    out.extend(shape.min.as_ref().map(|min| bound(numeric, "greater", min)));
    out.extend(shape.pattern.as_ref().map(|pattern| matching(pattern.source())));
    if !shape.values.is_empty() {
        out.push(enumeration(shape));
    }
    out
}

fn bound(numeric: bool, than: &str, limit: &Number) -> String {
    let what = if numeric { "value" } else { "length" };
    format!("Member must have {what} {than} than or equal to {limit}")
}

fn matching(pattern: &str) -> String {
    format!("Member must satisfy regular expression pattern: {pattern}")
}

fn enumeration(shape: &Shape) -> String {
    format!("Member must satisfy enum value set: [{}]", shape.values.join(", "))
}

/// Bytes behind a base64 string that is known to be one.
fn blob_length(text: &str) -> usize {
    let padding = text.bytes().rev().take_while(|&byte| byte == b'=').count();
    (text.len() - padding) * 3 / 4
}

/// A value as AWS's messages write it: `[a, b]`, `{k=v}`.
fn show(out: &mut String, value: &Value) {
    if out.len() > 4 * VALUE {
        return;
    }
    match value {
        Value::String(text) => out.push_str(text),
        Value::Array(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate().take(VALUE) {
                if index > 0 {
                    out.push_str(", ");
                }
                show(out, item);
            }
            out.push(']');
        }
        Value::Object(map) => {
            out.push('{');
            for (index, (key, item)) in map.iter().enumerate().take(VALUE) {
                if index > 0 {
                    out.push_str(", ");
                }
                out.push_str(key);
                out.push('=');
                show(out, item);
            }
            out.push('}');
        }
        other => {
            let _ = write!(out, "{other}");
        }
    }
}

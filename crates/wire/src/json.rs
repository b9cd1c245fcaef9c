//! The JSON protocols 1.0 and 1.1: requests and answers are JSON objects, errors have `__type`.
//! <https://smithy.io/2.0/aws/protocols/aws-json-1_1-protocol.html>

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use crate::constraints;
use crate::encoded::{Encoded, REQUEST_ID};
use crate::error::ServiceError;
use crate::model::{Kind, Operation, Reference, ServiceModel, Structure, clip};
use crate::time;

/// Reads a request's body into the operation's input: types converted (timestamps to seconds since
/// 1970), absent and `null` members left out, everything checked against the model.
///
/// # Errors
/// `SerializationException` for what is not JSON or has the wrong type, `ValidationException` for
/// unknown members and broken constraints; both 400.
pub fn decode(
    model: &ServiceModel,
    operation: &Operation,
    body: &[u8],
) -> Result<Value, ServiceError> {
    let given = if body.is_empty() {
        Value::Object(Map::new())
    } else {
        serde_json::from_slice(body)
            .map_err(|error| malformed(format!("the body is not JSON: {error}")))?
    };
    let Some(shape) = operation.input else { return Ok(Value::Object(Map::new())) };
    let input = convert(model, shape, given, "")?;
    constraints::check(model, shape, &input)?;
    Ok(input)
}

pub(crate) fn malformed(message: impl Into<String>) -> ServiceError {
    ServiceError::new("SerializationException", 400, message)
}

/// The error for a member that the model does not have, in the words of botocore's validator.
pub(crate) fn unknown_member(structure: &Structure, path: &str, name: &str) -> ServiceError {
    let names: Vec<&str> = structure.members.iter().map(|member| member.name.as_str()).collect();
    ServiceError::validation(format!(
        "Unknown parameter in {}: \"{}\", must be one of: {}",
        if path.is_empty() { "input" } else { path },
        clip(name),
        names.join(", ")
    ))
}

/// `path.name`.
pub(crate) fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

pub(crate) fn convert(
    model: &ServiceModel,
    at: usize,
    value: Value,
    path: &str,
) -> Result<Value, ServiceError> {
    let Some(shape) = model.shape(at) else { return Err(ServiceError::internal()) };
    match (&shape.kind, value) {
        (Kind::Structure(structure), Value::Object(given)) => {
            let mut out = Map::with_capacity(given.len());
            for (name, value) in given {
                let Some(member) = structure.member(&name) else {
                    return Err(unknown_member(structure, path, &name));
                };
                if !value.is_null() {
                    let path = join(path, &member.path_name);
                    out.insert(name, convert(model, member.target.shape, value, &path)?);
                }
            }
            Ok(Value::Object(out))
        }
        (Kind::List(member), Value::Array(items)) => items
            .into_iter()
            .enumerate()
            .map(|(index, item)| {
                let path = join(path, &format!("{}.member", index + 1));
                convert(model, member.shape, item, &path)
            })
            .collect::<Result<_, _>>()
            .map(Value::Array),
        (Kind::Map { value: member, .. }, Value::Object(given)) => {
            let mut out = Map::with_capacity(given.len());
            for (key, value) in given {
                let path = join(path, &clip(&key));
                let value = convert(model, member.shape, value, &path)?;
                out.insert(key, value);
            }
            Ok(Value::Object(out))
        }
        (Kind::String, value @ Value::String(_)) | (Kind::Boolean, value @ Value::Bool(_)) => {
            Ok(value)
        }
        (kind @ (Kind::Integer | Kind::Long), Value::Number(number)) => {
            // Some languages have no integers and write 3.0.
            let whole = number.as_i64().or_else(|| {
                let float = number.as_f64()?;
                (float.fract() == 0.0 && float.abs() < 9e15).then_some(float as i64)
            });
            integer(kind, whole).ok_or_else(|| mistyped(kind, &Value::Number(number), path))
        }
        (Kind::Float, value @ Value::Number(_)) => Ok(value),
        (kind @ Kind::Timestamp, value) => {
            let at = match &value {
                Value::Number(number) => number.as_f64().and_then(time::seconds),
                Value::String(text) => time::parse(text),
                _ => None,
            };
            at.ok_or_else(|| mistyped(kind, &value, path))
        }
        (kind @ Kind::Blob, Value::String(text)) => {
            if is_base64(&text) {
                Ok(Value::String(text))
            } else {
                Err(mistyped(kind, &Value::String(text), path))
            }
        }
        (kind, value) => Err(mistyped(kind, &value, path)),
    }
}

/// The number as a value, if it fits the shape.
pub(crate) fn integer(kind: &Kind, value: Option<i64>) -> Option<Value> {
    let value = value?;
    let fits = !matches!(kind, Kind::Integer) || i32::try_from(value).is_ok();
    fits.then(|| Value::from(value))
}

pub(crate) fn is_base64(text: &str) -> bool {
    STANDARD.decode(text).is_ok()
}

fn mistyped(kind: &Kind, value: &Value, path: &str) -> ServiceError {
    let given = match value {
        Value::Null => "NULL_VALUE",
        Value::Bool(true) => "TRUE_VALUE",
        Value::Bool(false) => "FALSE_VALUE",
        Value::Number(_) => "NUMBER_VALUE",
        Value::String(_) => "STRING_VALUE",
        Value::Array(_) => "START_LIST",
        Value::Object(_) => "START_MAP",
    };
    let place = if path.is_empty() { "the body".to_owned() } else { format!("'{path}'") };
    malformed(format!("{given} at {place} can not be converted to {}", kind.word()))
}

impl Kind {
    /// The type in messages.
    pub(crate) fn word(&self) -> &'static str {
        match self {
            Kind::Structure(_) => "a Structure",
            Kind::List(_) => "a List",
            Kind::Map { .. } => "a Map",
            Kind::String => "a String",
            Kind::Integer => "an Integer",
            Kind::Long => "a Long",
            Kind::Float => "a Double",
            Kind::Boolean => "a Boolean",
            Kind::Timestamp => "a Timestamp",
            Kind::Blob => "a Blob",
        }
    }
}

/// Writes an operation's output: only members that the output shape has, no `null`s, timestamps as
/// seconds since 1970. An operation without an output answers `{}`.
pub fn encode(model: &ServiceModel, operation: &Operation, output: &Value) -> Vec<u8> {
    let mut out = Vec::with_capacity(256);
    match operation.output {
        Some(shape) if output.is_object() => write(model, shape, output, &mut out),
        _ => out.extend(b"{}"),
    }
    out
}

/// The answer of a call that went well.
pub fn answer(
    model: &ServiceModel,
    operation: &Operation,
    output: &Value,
    request_id: &str,
) -> Encoded {
    Encoded {
        status: 200,
        content_type: content_type(Some(model)),
        headers: vec![(REQUEST_ID, request_id.to_owned())],
        body: encode(model, operation, output),
    }
}

pub(crate) fn write(model: &ServiceModel, at: usize, value: &Value, out: &mut Vec<u8>) {
    let kind = model.shape(at).map(|shape| &shape.kind);
    match (kind, value) {
        (Some(Kind::Structure(structure)), Value::Object(map)) => {
            let fields =
                map.iter().filter(|(_, value)| !value.is_null()).filter_map(|(name, value)| {
                    let member = structure.member(name);
                    if member.is_none() {
                        tracing::debug!(service = model.name, name, "not in the output's shape");
                    }
                    Some((name, member?.target.shape, value))
                });
            object(model, fields, out);
        }
        (Some(Kind::Map { value: member, .. }), Value::Object(map)) => {
            let fields = map.iter().filter(|(_, value)| !value.is_null());
            object(model, fields.map(|(name, value)| (name, member.shape, value)), out);
        }
        (Some(Kind::List(Reference { shape, .. })), Value::Array(items)) => {
            out.push(b'[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                write(model, *shape, item, out);
            }
            out.push(b']');
        }
        (Some(Kind::Timestamp), Value::Number(number)) if is_iso8601(model, at) => {
            scalar(&time::iso(number.as_f64().unwrap_or_default()), out);
        }
        (Some(Kind::Timestamp), Value::Number(number)) => {
            let millis = (number.as_f64().unwrap_or_default() * 1000.0).round() / 1000.0;
            if millis.fract() == 0.0 && millis.abs() < 9e15 {
                scalar(&(millis as i64), out);
            } else {
                scalar(&millis, out);
            }
        }
        (_, value) => scalar(value, out),
    }
}

fn is_iso8601(model: &ServiceModel, at: usize) -> bool {
    model.shape(at).is_some_and(|shape| shape.timestamp_format.as_deref() == Some("iso8601"))
}

fn object<'a>(
    model: &ServiceModel,
    fields: impl Iterator<Item = (&'a String, usize, &'a Value)>,
    out: &mut Vec<u8>,
) {
    out.push(b'{');
    for (index, (name, shape, value)) in fields.enumerate() {
        if index > 0 {
            out.push(b',');
        }
        scalar(name, out);
        out.push(b':');
        write(model, shape, value, out);
    }
    out.push(b'}');
}

fn scalar(value: &impl serde::Serialize, out: &mut Vec<u8>) {
    // Writing a scalar into memory cannot fail.
    let _ = serde_json::to_writer(out, value);
}

fn content_type(model: Option<&ServiceModel>) -> &'static str {
    match model.and_then(|model| model.json_version.as_deref()) {
        Some("1.0") => "application/x-amz-json-1.0",
        _ => "application/x-amz-json-1.1",
    }
}

/// The answer of a call that failed. The code may be the JSON name or the query protocol's; services
/// that are compatible with the query protocol (CloudWatch) say both.
pub fn error(model: Option<&ServiceModel>, error: &ServiceError, request_id: &str) -> Encoded {
    let (code, query) = model
        .and_then(|model| model.error_names(&error.code))
        .unwrap_or((&error.code, crate::codes::query_name(&error.code)));
    let mut headers = vec![(REQUEST_ID, request_id.to_owned())];
    if model.is_some_and(|model| model.query_compatible) {
        headers.push(("x-amzn-query-error", format!("{query};{}", error.fault().word())));
    }
    let mut body = json!({ "__type": code, "message": error.message });
    if let Value::Object(map) = &mut body {
        map.extend((*error.members).clone());
    }
    Encoded {
        status: error.status,
        content_type: content_type(model),
        headers,
        body: body.to_string().into_bytes(),
    }
}

#[cfg(test)]
mod tests;

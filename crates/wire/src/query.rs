//! The query protocol: requests are form fields (`Tags.member.1.Key`), answers are XML.
//! <https://smithy.io/2.0/aws/protocols/aws-query-protocol.html>

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::codes;
use crate::constraints;
use crate::encoded::{Encoded, REQUEST_ID};
use crate::error::ServiceError;
use crate::json::{integer, is_base64, join, unknown_member};
use crate::model::{Kind, Operation, Reference, ServiceModel, Shape, Structure, clip};
use crate::time;
use crate::xml;

/// Fields of one request at most.
const MOST_FIELDS: usize = 10_000;
/// Dots in a field's name at most; what nests is dropped recursively.
const MOST_PARTS: usize = 32;

/// The fields of a form or query string, percent-decoded.
pub fn fields(form: &[u8]) -> Vec<(String, String)> {
    form_urlencoded::parse(form).into_owned().collect()
}

/// The fields of a request: those of the query string, then those of a form body.
pub fn request_fields(query: Option<&str>, body: &[u8]) -> Vec<(String, String)> {
    let mut out = query.map(|query| fields(query.as_bytes())).unwrap_or_default();
    out.extend(fields(body));
    out
}

/// The operation that the fields name.
///
/// # Errors
/// `MissingAction`, `InvalidAction` (400) or `NotImplemented` (501).
pub fn operation<'m>(
    model: &'m ServiceModel,
    fields: &[(String, String)],
) -> Result<&'m Operation, ServiceError> {
    let field =
        |name: &str| fields.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
    let Some(action) = field("Action").filter(|action| !action.is_empty()) else {
        return Err(ServiceError::new(
            "MissingAction",
            400,
            "The request must contain the parameter Action",
        ));
    };
    // AWS takes an absent version for its oldest; the SDKs always send one.
    if let Some(version) = field("Version").filter(|version| *version != model.version) {
        return Err(ServiceError::new(
            "InvalidAction",
            400,
            format!("Could not find operation {} for version {}", clip(action), clip(version)),
        ));
    }
    model.lookup(action).map_err(with_query_code)
}

pub(crate) fn with_query_code(mut error: ServiceError) -> ServiceError {
    error.code = codes::query_name(&error.code).to_owned();
    error
}

/// Reads the fields into the operation's input, typed by the model and checked against it.
/// `Action`, `Version` and the signature's fields (`X-Amz-…`) are not the operation's.
///
/// # Errors
/// `MalformedInput` for what does not fit its type, `ValidationError` for unknown members and broken
/// constraints; both 400.
pub fn decode(
    model: &ServiceModel,
    operation: &Operation,
    fields: &[(String, String)],
) -> Result<Value, ServiceError> {
    if fields.len() > MOST_FIELDS {
        return Err(malformed(format!("more than {MOST_FIELDS} parameters")));
    }
    let mut root = Node::default();
    for (name, value) in fields {
        if name == "Action" || name == "Version" || name.starts_with("X-Amz-") {
            continue;
        }
        if name.split('.').count() > MOST_PARTS {
            return Err(malformed(format!("parameter `{}` nests too deep", clip(name))));
        }
        let mut node = &mut root;
        for part in name.split('.') {
            node = node.children.entry(part).or_default();
        }
        if node.value.replace(value).is_some() {
            return Err(malformed(format!("parameter `{}` is given twice", clip(name))));
        }
    }
    let Some(shape) = operation.input else { return Ok(Value::Object(Map::new())) };
    let input = read(model, shape, &root, "").map_err(with_query_code)?;
    constraints::check(model, shape, &input).map_err(with_query_code)?;
    Ok(input)
}

fn malformed(message: impl Into<String>) -> ServiceError {
    ServiceError::new("MalformedInput", 400, message)
}

/// What the dotted names spell.
#[derive(Default)]
struct Node<'a> {
    value: Option<&'a str>,
    children: BTreeMap<&'a str, Node<'a>>,
}

impl<'a> Node<'a> {
    /// The children of a list or map in the order of their numbers.
    fn numbered(&self, path: &str) -> Result<Vec<&Node<'a>>, ServiceError> {
        let mut out = Vec::with_capacity(self.children.len());
        for (key, node) in &self.children {
            let number = key.parse::<u32>().ok().filter(|n| *n > 0 && !key.starts_with(['0', '+']));
            let Some(number) = number else {
                return Err(malformed(format!("`{}` is no index at '{path}'", clip(key))));
            };
            out.push((number, node));
        }
        out.sort_unstable_by_key(|(number, _)| *number);
        Ok(out.into_iter().map(|(_, node)| node).collect())
    }

    /// The node of elements: the node itself where flattened, otherwise its only child.
    fn elements(
        &self,
        flattened: bool,
        wire_name: &str,
        path: &str,
    ) -> Result<Vec<&Node<'a>>, ServiceError> {
        // `Tags=` is how an empty list is written.
        if self.value.is_some_and(|value| !value.is_empty()) {
            return Err(malformed(format!("a value where '{path}' has elements")));
        }
        if flattened {
            return self.numbered(path);
        }
        match self.children.iter().find(|(name, _)| **name != wire_name) {
            Some((other, _)) => {
                Err(malformed(format!("`{}` at '{path}', not `{wire_name}`", clip(other))))
            }
            None => self.children.get(wire_name).map_or(Ok(Vec::new()), |node| node.numbered(path)),
        }
    }
}

fn read(
    model: &ServiceModel,
    at: usize,
    node: &Node<'_>,
    path: &str,
) -> Result<Value, ServiceError> {
    let Some(shape) = model.shape(at) else { return Err(ServiceError::internal()) };
    match &shape.kind {
        Kind::Structure(structure) => {
            if node.value.is_some_and(|value| !value.is_empty()) {
                return Err(malformed(format!("a value where '{path}' has members")));
            }
            let mut out = Map::with_capacity(node.children.len());
            for (name, child) in &node.children {
                let Some(member) = structure.wire_member(name) else {
                    return Err(unknown_member(structure, path, name));
                };
                let path = join(path, &member.path_name);
                out.insert(member.name.clone(), read(model, member.target.shape, child, &path)?);
            }
            Ok(Value::Object(out))
        }
        Kind::List(member) => {
            let wire_name = member.wire_name.as_deref().unwrap_or("member");
            let items = node.elements(shape.flattened, wire_name, path)?;
            let read = |(index, item)| {
                read(model, member.shape, item, &join(path, &format!("{}.member", index + 1_usize)))
            };
            items.into_iter().enumerate().map(read).collect::<Result<_, _>>().map(Value::Array)
        }
        Kind::Map { key, value } => {
            let mut out = Map::new();
            for entry in node.elements(shape.flattened, "entry", path)? {
                let part = |reference: &Reference, name: &str| {
                    let name = reference.wire_name.as_deref().unwrap_or(name).to_owned();
                    entry
                        .children
                        .get(name.as_str())
                        .ok_or_else(|| malformed(format!("an entry at '{path}' has no `{name}`")))
                };
                let name = part(key, "key")?.value.unwrap_or_default().to_owned();
                let given = part(value, "value")?;
                let value = read(model, value.shape, given, &join(path, &clip(&name)))?;
                out.insert(name, value);
            }
            Ok(Value::Object(out))
        }
        kind => {
            let text = node.value.filter(|_| node.children.is_empty());
            text.and_then(|text| scalar(kind, text)).ok_or_else(|| {
                let given = node.value.map_or("members".to_owned(), |v| format!("`{}`", clip(v)));
                malformed(format!("{given} at '{path}' can not be converted to {}", kind.word()))
            })
        }
    }
}

/// A scalar from its text, in forms and headers.
pub(crate) fn scalar(kind: &Kind, text: &str) -> Option<Value> {
    match kind {
        Kind::String => Some(Value::from(text)),
        Kind::Integer | Kind::Long => integer(kind, text.parse().ok()),
        Kind::Float => {
            let number: f64 = text.parse().ok()?;
            serde_json::Number::from_f64(number).map(Value::Number)
        }
        Kind::Boolean if text.eq_ignore_ascii_case("true") => Some(Value::Bool(true)),
        Kind::Boolean if text.eq_ignore_ascii_case("false") => Some(Value::Bool(false)),
        Kind::Timestamp => time::parse(text),
        Kind::Blob if is_base64(text) => Some(Value::from(text)),
        _ => None,
    }
}

/// Writes an operation's output as the protocol's XML document.
pub fn encode(
    model: &ServiceModel,
    operation: &Operation,
    output: &Value,
    request_id: &str,
) -> String {
    let mut out = String::with_capacity(512);
    let root = format!("{}Response", operation.name);
    open_root(&mut out, &root, model.xml_namespace.as_deref());
    if let Some(shape) = operation.output {
        let result =
            operation.wrapper.clone().unwrap_or_else(|| format!("{}Result", operation.name));
        xml::open(&mut out, &result);
        write(model, shape, None, output, &mut out);
        xml::close(&mut out, &result);
    }
    out.push_str("<ResponseMetadata>");
    xml::element(&mut out, "RequestId", request_id);
    out.push_str("</ResponseMetadata>");
    xml::close(&mut out, &root);
    out
}

fn open_root(out: &mut String, name: &str, namespace: Option<&str>) {
    out.push('<');
    out.push_str(name);
    if let Some(namespace) = namespace {
        out.push_str(" xmlns=\"");
        xml::text(out, namespace);
        out.push('"');
    }
    out.push('>');
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
        content_type: "text/xml",
        headers: vec![(REQUEST_ID, request_id.to_owned())],
        body: encode(model, operation, output, request_id).into_bytes(),
    }
}

/// Writes what stands inside of an element.
fn write(
    model: &ServiceModel,
    at: usize,
    timestamp_format: Option<&str>,
    value: &Value,
    out: &mut String,
) {
    let Some(shape) = model.shape(at) else { return };
    match (&shape.kind, value) {
        (Kind::Structure(structure), Value::Object(map)) => members(model, structure, map, out),
        (Kind::List(member), Value::Array(items)) => {
            let name = member.wire_name.as_deref().unwrap_or("member");
            for item in items {
                child(model, member, name, item, out);
            }
        }
        (Kind::Map { .. }, Value::Object(map)) => entries(model, shape, "entry", map, out),
        (Kind::Timestamp, Value::Number(number)) => {
            let format = timestamp_format.or(shape.timestamp_format.as_deref());
            let seconds = number.as_f64().unwrap_or_default();
            match time::iso(seconds).filter(|_| format != Some("unixTimestamp")) {
                Some(text) => out.push_str(&text),
                None => out.push_str(&number.to_string()),
            }
        }
        (_, Value::String(text)) => xml::text(out, text),
        (_, Value::Bool(_) | Value::Number(_)) => out.push_str(&value.to_string()),
        _ => tracing::debug!(service = model.name, shape = shape.name, "output of another type"),
    }
}

fn members(
    model: &ServiceModel,
    structure: &Structure,
    map: &Map<String, Value>,
    out: &mut String,
) {
    for (name, value) in map.iter().filter(|(_, value)| !value.is_null()) {
        let Some(member) = structure.member(name) else {
            tracing::debug!(service = model.name, name, "not in the output's shape");
            continue;
        };
        let name = member.target.wire_name.as_deref().unwrap_or(name);
        let shape = model.shape(member.target.shape).filter(|shape| shape.flattened);
        match (shape.map(|shape| (shape, &shape.kind)), value) {
            (Some((_, Kind::List(item))), Value::Array(items)) => {
                let name = item.wire_name.as_deref().unwrap_or(name);
                items.iter().for_each(|value| child(model, item, name, value, out));
            }
            (Some((shape, Kind::Map { .. })), Value::Object(map)) => {
                entries(model, shape, name, map, out);
            }
            _ => child(model, &member.target, name, value, out),
        }
    }
}

fn entries(
    model: &ServiceModel,
    shape: &Shape,
    name: &str,
    map: &Map<String, Value>,
    out: &mut String,
) {
    let Kind::Map { key, value: member } = &shape.kind else { return };
    for (given, value) in map.iter().filter(|(_, value)| !value.is_null()) {
        xml::open(out, name);
        xml::element(out, key.wire_name.as_deref().unwrap_or("key"), given);
        child(model, member, member.wire_name.as_deref().unwrap_or("value"), value, out);
        xml::close(out, name);
    }
}

fn child(model: &ServiceModel, target: &Reference, name: &str, value: &Value, out: &mut String) {
    xml::open(out, name);
    write(model, target.shape, target.timestamp_format.as_deref(), value, out);
    xml::close(out, name);
}

/// The answer of a call that failed. The code may be the JSON name or the query protocol's.
pub fn error(model: Option<&ServiceModel>, error: &ServiceError, request_id: &str) -> Encoded {
    let code = model
        .and_then(|model| model.error_names(&error.code))
        .map_or_else(|| codes::query_name(&error.code), |(_, query)| query);
    let mut out = String::with_capacity(512);
    let namespace = model.and_then(|model| model.xml_namespace.as_deref());
    open_root(&mut out, "ErrorResponse", namespace);
    out.push_str("<Error>");
    xml::element(&mut out, "Type", error.fault().word());
    xml::element(&mut out, "Code", code);
    xml::element(&mut out, "Message", &error.message);
    out.push_str("</Error>");
    xml::element(&mut out, "RequestId", request_id);
    out.push_str("</ErrorResponse>");
    Encoded {
        status: error.status,
        content_type: "text/xml",
        headers: vec![(REQUEST_ID, request_id.to_owned())],
        body: out.into_bytes(),
    }
}

#[cfg(test)]
mod tests;

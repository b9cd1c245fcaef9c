//! From a model's JSON to its types, names resolved to indices.

use std::collections::HashMap;

use serde::Deserialize;
use serde_json::Number;

use super::{Kind, Member, Operation, Reference, ServiceModel, Shape, Structure};
use crate::pattern::Pattern;

/// A model that does not hold together; a test parses every embedded one.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ParseError {
    #[error("not a model: {0}")]
    Json(#[from] serde_json::Error),
    #[error("shape `{0}` is not there")]
    NoShape(String),
    #[error("shape `{0}` has an unknown type or lacks a part")]
    Incomplete(String),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawModel {
    service: String,
    version: String,
    protocols: Vec<String>,
    signing_name: String,
    target_prefix: Option<String>,
    json_version: Option<String>,
    xml_namespace: Option<String>,
    query_compatible: bool,
    names: Vec<String>,
    operations: HashMap<String, RawOperation>,
    shapes: HashMap<String, RawShape>,
}

#[derive(Deserialize)]
struct RawOperation {
    method: String,
    uri: String,
    #[serde(default = "ok")]
    status: u16,
    input: Option<String>,
    output: Option<String>,
    wrapper: Option<String>,
}

fn ok() -> u16 {
    200
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawShape {
    #[serde(rename = "type")]
    kind: String,
    min: Option<Number>,
    max: Option<Number>,
    pattern: Option<String>,
    #[serde(rename = "enum", default)]
    values: Vec<String>,
    #[serde(default)]
    sensitive: bool,
    timestamp_format: Option<String>,
    #[serde(default)]
    flattened: bool,
    /// In the model's order, in which errors are reported.
    members: Option<serde_json::Map<String, serde_json::Value>>,
    #[serde(default)]
    required: Vec<String>,
    error: Option<RawError>,
    payload: Option<String>,
    member: Option<RawReference>,
    key: Option<RawReference>,
    value: Option<RawReference>,
}

#[derive(Deserialize)]
struct RawError {
    code: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum RawReference {
    Name(String),
    #[serde(rename_all = "camelCase")]
    More {
        shape: String,
        location_name: Option<String>,
        location: Option<String>,
        timestamp_format: Option<String>,
    },
}

/// Shape indices by name.
type Names = HashMap<String, usize>;

pub(crate) fn parse(text: &str) -> Result<ServiceModel, ParseError> {
    let raw: RawModel = serde_json::from_str(text)?;
    let names: Names = raw.shapes.keys().cloned().zip(0..).collect();
    let mut errors = HashMap::new();
    let mut shapes = Vec::with_capacity(raw.shapes.len());
    for (at, (name, given)) in raw.shapes.into_iter().enumerate() {
        if let Some(error) = &given.error {
            errors.insert(name.clone(), at);
            errors.extend(error.code.clone().map(|code| (code, at)));
        }
        shapes.push(shape(name, given, &names)?);
    }
    let operations = raw
        .operations
        .into_iter()
        .map(|(name, given)| {
            let index = |name: Option<String>| name.map(|name| find(&names, &name)).transpose();
            let operation = Operation {
                name: name.clone(),
                method: given.method,
                uri: given.uri,
                status: given.status,
                input: index(given.input)?,
                output: index(given.output)?,
                wrapper: given.wrapper,
            };
            Ok((name, operation))
        })
        .collect::<Result<_, ParseError>>()?;
    Ok(ServiceModel {
        name: raw.service,
        version: raw.version,
        protocols: raw.protocols,
        signing_name: raw.signing_name,
        target_prefix: raw.target_prefix,
        json_version: raw.json_version,
        xml_namespace: raw.xml_namespace,
        query_compatible: raw.query_compatible,
        names: raw.names.into_iter().collect(),
        operations,
        shapes,
        errors,
    })
}

fn find(names: &Names, name: &str) -> Result<usize, ParseError> {
    names.get(name).copied().ok_or_else(|| ParseError::NoShape(name.to_owned()))
}

fn reference(given: RawReference, names: &Names) -> Result<Reference, ParseError> {
    match given {
        RawReference::Name(shape) => Ok(Reference {
            shape: find(names, &shape)?,
            wire_name: None,
            location: None,
            timestamp_format: None,
        }),
        RawReference::More { shape, location_name, location, timestamp_format } => Ok(Reference {
            shape: find(names, &shape)?,
            wire_name: location_name,
            location,
            timestamp_format,
        }),
    }
}

fn shape(name: String, given: RawShape, names: &Names) -> Result<Shape, ParseError> {
    let part = |part: Option<RawReference>| match part {
        Some(part) => reference(part, names),
        None => Err(ParseError::Incomplete(name.clone())),
    };
    let kind = match given.kind.as_str() {
        "structure" => {
            let mut members = Vec::new();
            for (name, target) in given.members.unwrap_or_default() {
                members.push(Member {
                    path_name: path_name(&name),
                    required: given.required.contains(&name),
                    target: reference(serde_json::from_value(target)?, names)?,
                    name,
                });
            }
            let index = members.iter().map(|member| member.name.clone()).zip(0..).collect();
            let error_code = given.error.and_then(|error| error.code);
            let payload = given.payload;
            Kind::Structure(Structure { members, index, payload, error_code })
        }
        "list" => Kind::List(part(given.member)?),
        "map" => Kind::Map { key: part(given.key)?, value: part(given.value)? },
        "string" => Kind::String,
        "integer" => Kind::Integer,
        "long" => Kind::Long,
        "float" | "double" => Kind::Float,
        "boolean" => Kind::Boolean,
        "timestamp" => Kind::Timestamp,
        "blob" => Kind::Blob,
        _ => return Err(ParseError::Incomplete(name)),
    };
    Ok(Shape {
        name,
        kind,
        min: given.min,
        max: given.max,
        pattern: given.pattern.map(Pattern::new),
        values: given.values,
        sensitive: given.sensitive,
        timestamp_format: given.timestamp_format,
        flattened: given.flattened,
    })
}

/// AWS's messages begin a member's name with a small letter.
fn path_name(name: &str) -> String {
    let mut chars = name.chars();
    chars
        .next()
        .map_or_else(String::new, |first| first.to_lowercase().collect::<String>() + chars.as_str())
}

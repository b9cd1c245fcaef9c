//! The REST protocols: heads of SageMaker Runtime's calls, errors in JSON (Runtime, Lambda) and in XML
//! (S3, for what the gateway refuses before the S3 service sees it).

use http::HeaderMap;
use serde_json::{Map, Value, json};

use crate::codes;
use crate::constraints;
use crate::encoded::{Encoded, REQUEST_ID};
use crate::error::ServiceError;
use crate::model::{Operation, ServiceModel};
use crate::query::{scalar, with_query_code};
use crate::xml;

/// Reads the members of an input that are in the path (`labels`, decoded) and in headers, and checks
/// them against the model. The body is not touched: it is the caller's payload as it came.
///
/// # Errors
/// `ValidationError`, 400, as SageMaker Runtime names it.
pub fn decode_head(
    model: &ServiceModel,
    operation: &Operation,
    labels: &[(&str, &str)],
    headers: &HeaderMap,
) -> Result<Value, ServiceError> {
    let mut out = Map::new();
    let Some((at, structure)) = operation.input.and_then(|at| Some((at, model.structure(at)?)))
    else {
        return Ok(Value::Object(out));
    };
    for member in &structure.members {
        let name = member.target.wire_name.as_deref().unwrap_or(&member.name);
        let given = match member.target.location.as_deref() {
            Some("uri") => labels.iter().find(|(label, _)| *label == name).map(|(_, value)| *value),
            Some("header") => headers.get(name).map(|value| value.to_str().unwrap_or("\u{fffd}")),
            _ => None,
        };
        let Some(given) = given else { continue };
        let kind = model.shape(member.target.shape).map(|shape| &shape.kind);
        let value = kind.and_then(|kind| scalar(kind, given)).ok_or_else(|| {
            let message = format!("the value of `{name}` is of another type");
            with_query_code(ServiceError::validation(message))
        })?;
        out.insert(member.name.clone(), value);
    }
    // The payload is there, if only empty; it must not count as a missing member.
    if let Some(payload) = &structure.payload {
        out.insert(payload.clone(), Value::from(""));
    }
    let mut input = Value::Object(out);
    constraints::check(model, at, &input).map_err(with_query_code)?;
    if let (Value::Object(map), Some(payload)) = (&mut input, &structure.payload) {
        map.remove(payload);
    }
    Ok(input)
}

/// The headers of an answer: the output's members that the model puts there.
pub fn encode_headers(
    model: &ServiceModel,
    operation: &Operation,
    output: &Value,
) -> Vec<(String, String)> {
    let Some(structure) = operation.output.and_then(|at| model.structure(at)) else {
        return Vec::new();
    };
    let headers = structure
        .members
        .iter()
        .filter(|member| member.target.location.as_deref() == Some("header"));
    headers
        .filter_map(|member| {
            let name = member.target.wire_name.as_ref().unwrap_or(&member.name).clone();
            match output.get(&member.name)? {
                Value::String(text) => Some((name, text.clone())),
                Value::Null => None,
                other => Some((name, other.to_string())),
            }
        })
        .collect()
}

/// A REST-JSON error: the code in a header, `Message` and the shape's members in the body.
pub fn json_error(error: &ServiceError, request_id: &str) -> Encoded {
    let mut body = json!({ "Message": error.message });
    if let Value::Object(map) = &mut body {
        map.extend((*error.members).clone());
    }
    Encoded {
        status: error.status,
        content_type: "application/json",
        headers: vec![
            (REQUEST_ID, request_id.to_owned()),
            // A header has no room for line ends and the like.
            ("x-amzn-ErrorType", error.code.chars().filter(char::is_ascii_graphic).collect()),
        ],
        body: body.to_string().into_bytes(),
    }
}

/// S3's error document. `resource` is the request's path.
/// <https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html>
pub fn xml_error(error: &ServiceError, resource: &str, request_id: &str) -> Encoded {
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error>");
    xml::element(&mut out, "Code", codes::query_name(&error.code));
    xml::element(&mut out, "Message", &error.message);
    xml::element(&mut out, "Resource", resource);
    xml::element(&mut out, "RequestId", request_id);
    out.push_str("</Error>");
    Encoded {
        status: error.status,
        content_type: "application/xml",
        headers: vec![("x-amz-request-id", request_id.to_owned())],
        body: out.into_bytes(),
    }
}

#[cfg(test)]
mod tests;

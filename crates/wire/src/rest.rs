//! The REST protocols: REST-JSON as a whole (Lambda, Access Analyzer), heads of SageMaker Runtime's calls,
//! errors in JSON and in XML (S3, for what the gateway refuses before the S3 service sees it).
//! <https://smithy.io/2.0/aws/protocols/aws-restjson1-protocol.html>

use http::HeaderMap;
use serde_json::{Map, Value, json};

use crate::codes;
use crate::constraints;
use crate::encoded::{Encoded, REQUEST_ID};
use crate::error::ServiceError;
use crate::json as json_codec;
use crate::model::{Kind, Member, Operation, ServiceModel, Structure, clip};
use crate::query::{self, scalar, with_query_code};
use crate::xml;

/// A call of a REST-JSON service, known from method and address alone.
#[derive(Debug)]
pub struct Call {
    /// What is asked for.
    pub operation: &'static Operation,
    /// The members in the path, percent-decoded.
    labels: Vec<(String, String)>,
    /// The fields of the query string, decoded.
    fields: Vec<(String, String)>,
}

impl Call {
    /// A member of the path.
    pub fn label(&self, name: &str) -> Option<&str> {
        self.labels.iter().find(|(label, _)| label == name).map(|(_, value)| value.as_str())
    }
}

/// Which operation a method and an address mean. Where several do, the one with more constants in its
/// address wins: `…?List=ALL` before the plain one.
///
/// # Errors
/// `UnknownOperationException`, 404.
pub fn route(
    model: &'static ServiceModel,
    method: &str,
    path: &str,
    query: &str,
) -> Result<Call, ServiceError> {
    let fields = query::fields(query.as_bytes());
    let mut best: Option<(usize, Call)> = None;
    for operation in model.all_operations().filter(|operation| operation.method == method) {
        let (template, constants) = operation.uri.split_once('?').unwrap_or((&operation.uri, ""));
        let Some((labels, literal)) = labels(template, path) else { continue };
        let constants = query::fields(constants.as_bytes());
        if !constants.iter().all(|constant| fields.contains(constant)) {
            continue;
        }
        let weight = literal + constants.len();
        if best.as_ref().is_none_or(|(most, _)| weight > *most) {
            best = Some((weight, Call { operation, labels, fields: Vec::new() }));
        }
    }
    match best {
        Some((_, call)) => Ok(Call { fields, ..call }),
        None => Err(ServiceError::new(
            "UnknownOperationException",
            404,
            format!("`{}` has no operation `{} {}`", model.name, clip(method), clip(path)),
        )),
    }
}

/// The labels of a path by a template, and how many segments were constants; `None`: no match.
fn labels(template: &str, path: &str) -> Option<(Vec<(String, String)>, usize)> {
    let template = template.trim_matches('/').split('/');
    // A segment's slash comes percent-encoded, so splitting goes first.
    let mut segments = path.trim_matches('/').split('/');
    let (mut labels, mut literal) = (Vec::new(), 0);
    for part in template {
        let given = segments.next()?;
        let given = percent_encoding::percent_decode_str(given).decode_utf8().ok()?;
        match part.strip_prefix('{').and_then(|part| part.strip_suffix('}')) {
            Some(_) if given.is_empty() => return None,
            Some(label) => labels.push((label.to_owned(), given.into_owned())),
            None if part == given => literal += 1,
            None => return None,
        }
    }
    segments.next().is_none().then_some((labels, literal))
}

/// Reads a REST-JSON call into the operation's input, typed and checked by the model: path, query string,
/// headers, and the JSON body. Blobs inside of JSON stay base64. A payload that is a blob is left out: the
/// body is the caller's as it came.
///
/// # Errors
/// `SerializationException` for a body that is not JSON or a value of another type, `ValidationException`
/// for broken constraints; both 400.
pub fn decode(
    model: &ServiceModel,
    call: &Call,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<Value, ServiceError> {
    let Some(at) = call.operation.input else { return Ok(Value::Object(Map::new())) };
    let Some(structure) = model.structure(at) else { return Err(ServiceError::internal()) };
    let mut out = Map::new();
    let blob = structure.payload.as_deref().and_then(|name| structure.member(name)).is_some_and(
        |member| matches!(model.shape(member.target.shape).map(|s| &s.kind), Some(Kind::Blob)),
    );
    if !blob && !body.iter().all(u8::is_ascii_whitespace) {
        let given: Value = serde_json::from_slice(body)
            .map_err(|e| json_codec::malformed(format!("the body is not JSON: {e}")))?;
        let given = match &structure.payload {
            Some(name) => Value::Object(Map::from_iter([(name.clone(), given)])),
            None => given,
        };
        if let Value::Object(members) = json_codec::convert(model, at, given, "")? {
            out = members;
        }
        // What belongs to the address is not taken from the body.
        out.retain(|name, _| structure.member(name).is_none_or(|m| m.target.location.is_none()));
    }
    for member in &structure.members {
        if let Some(value) = from_head(model, member, call, headers)? {
            out.insert(member.name.clone(), value);
        }
    }
    if blob && let Some(payload) = &structure.payload {
        out.insert(payload.clone(), Value::from(""));
    }
    let mut input = Value::Object(out);
    constraints::check(model, at, &input)?;
    if blob && let (Value::Object(map), Some(payload)) = (&mut input, &structure.payload) {
        map.remove(payload);
    }
    Ok(input)
}

/// A member that stands in path, query string or header.
fn from_head(
    model: &ServiceModel,
    member: &Member,
    call: &Call,
    headers: &HeaderMap,
) -> Result<Option<Value>, ServiceError> {
    let name = member.target.wire_name.as_deref().unwrap_or(&member.name);
    let kind = model.shape(member.target.shape).map(|shape| &shape.kind);
    let given: Vec<&str> = match member.target.location.as_deref() {
        Some("uri") => call.label(name).into_iter().collect(),
        Some("querystring") => {
            let found = call.fields.iter().filter(|(field, _)| field == name);
            found.map(|(_, value)| value.as_str()).collect()
        }
        Some("header") => {
            headers.get(name).map(|v| v.to_str().unwrap_or("\u{fffd}")).into_iter().collect()
        }
        _ => return Ok(None),
    };
    let read = |kind: Option<&Kind>, text: &str| {
        kind.and_then(|kind| scalar(kind, text)).ok_or_else(|| {
            json_codec::malformed(format!("the value of `{name}` is of another type"))
        })
    };
    match (kind, given.as_slice()) {
        (_, []) => Ok(None),
        (Some(Kind::List(item)), many) => {
            let kind = model.shape(item.shape).map(|shape| &shape.kind);
            let values: Result<Vec<Value>, _> = many.iter().map(|text| read(kind, text)).collect();
            values.map(|values| Some(Value::Array(values)))
        }
        (kind, [first, ..]) => read(kind, first).map(Some),
    }
}

/// The answer of a REST-JSON call that went well: status by the model or by the output's member, members that
/// the model puts into headers, the rest as JSON.
pub fn answer(
    model: &ServiceModel,
    operation: &Operation,
    output: &Value,
    request_id: &str,
) -> Encoded {
    let mut status = operation.status;
    let mut body = Vec::new();
    if let Some((at, structure)) = operation.output.and_then(|at| Some((at, model.structure(at)?)))
    {
        let located = |member: &&Member| member.target.location.as_deref() == Some("statusCode");
        if let Some(member) = structure.members.iter().find(located)
            && let Some(given) = output.get(&member.name).and_then(Value::as_u64)
        {
            status = u16::try_from(given).unwrap_or(status);
        }
        json_codec::write(model, at, &in_body(structure, output), &mut body);
    }
    if status == 204 {
        body.clear();
    }
    Encoded {
        status,
        content_type: "application/json",
        headers: vec![(REQUEST_ID, request_id.to_owned())],
        body,
    }
}

/// The members of an output that are neither header nor status.
fn in_body(structure: &Structure, output: &Value) -> Value {
    let mut output = output.clone();
    if let Value::Object(map) = &mut output {
        map.retain(|name, _| structure.member(name).is_none_or(|m| m.target.location.is_none()));
    }
    output
}

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

/// A REST-JSON error: the code in a header, the message and the shape's members in the body. The message is
/// called as the error's shape calls it, else `Message`.
pub fn json_error(model: Option<&ServiceModel>, error: &ServiceError, request_id: &str) -> Encoded {
    let structure = model.and_then(|model| model.error_structure(&error.code));
    let lower = structure.is_some_and(|structure| structure.member("message").is_some());
    let mut body = Map::new();
    body.insert(if lower { "message" } else { "Message" }.to_owned(), json!(error.message));
    let mut headers = vec![
        (REQUEST_ID, request_id.to_owned()),
        // A header has no room for line ends and the like.
        ("x-amzn-ErrorType", error.code.chars().filter(char::is_ascii_graphic).collect()),
    ];
    for (name, value) in error.members.iter() {
        let target = structure.and_then(|s| s.member(name)).map(|member| &member.target);
        match target.and_then(|t| t.wire_name.as_deref().filter(|_| t.location.is_some())) {
            Some("Retry-After") => {
                let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                headers.push(("Retry-After", text));
            }
            _ => {
                body.insert(name.clone(), value.clone());
            }
        }
    }
    Encoded {
        status: error.status,
        content_type: "application/json",
        headers,
        body: Value::Object(body).to_string().into_bytes(),
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

//! One captured invocation as a line of SageMaker's: what was sent and answered, each with its content
//! type and encoding.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::HeaderValue;
use serde::Serialize;
use serde_json::Value;

use crate::context::Timestamp;

/// An input or an output.
#[derive(Debug)]
pub(super) struct Payload {
    pub content_type: Option<HeaderValue>,
    pub data: Bytes,
}

/// An invocation.
#[derive(Debug)]
pub(super) struct Record {
    pub id: String,
    pub time: Timestamp,
    pub inference_id: Option<HeaderValue>,
    pub custom_attributes: Option<HeaderValue>,
    pub input: Option<Payload>,
    pub output: Option<Payload>,
}

/// Content types that are written as they are; all others become base64, which is SageMaker's default
/// (`CaptureContentTypeHeader`).
#[derive(Debug, Default)]
pub(super) struct Kinds {
    csv: Vec<String>,
    json: Vec<String>,
}

impl Kinds {
    /// Those of a `CaptureContentTypeHeader`.
    pub(super) fn of(header: Option<&Value>) -> Kinds {
        let list = |name: &str| {
            let given = header.and_then(|header| header.get(name)).and_then(Value::as_array);
            let types = given.into_iter().flatten().filter_map(Value::as_str);
            types.map(str::to_ascii_lowercase).collect()
        };
        Kinds { csv: list("CsvContentTypes"), json: list("JsonContentTypes") }
    }

    /// How data of a content type is written: `CSV`, `JSON` or `BASE64`. Parameters of the type
    /// (`; charset=utf-8`) do not count.
    fn encoding(&self, content_type: &str) -> &'static str {
        let kind = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        if self.csv.contains(&kind) {
            "CSV"
        } else if self.json.contains(&kind) {
            "JSON"
        } else {
            "BASE64"
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Line<'a> {
    capture_data: CaptureData<'a>,
    event_metadata: EventMetadata<'a>,
    event_version: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct CaptureData<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    endpoint_input: Option<Captured<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    endpoint_output: Option<Captured<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Captured<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    observed_content_type: Option<&'a str>,
    mode: &'a str,
    data: std::borrow::Cow<'a, str>,
    encoding: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct EventMetadata<'a> {
    event_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    custom_attributes: Option<[&'a str; 1]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    inference_id: Option<&'a str>,
    inference_time: String,
}

impl Payload {
    fn captured<'a>(&'a self, mode: &'a str, kinds: &Kinds) -> Captured<'a> {
        let content_type = text(self.content_type.as_ref());
        let wanted = kinds.encoding(content_type.unwrap_or_default());
        let (data, encoding) = match std::str::from_utf8(&self.data) {
            Ok(plain) if wanted != "BASE64" => (plain.into(), wanted),
            _ => (STANDARD.encode(&self.data).into(), "BASE64"),
        };
        Captured { observed_content_type: content_type, mode, data, encoding }
    }
}

fn text(header: Option<&HeaderValue>) -> Option<&str> {
    header.and_then(|value| value.to_str().ok())
}

impl Record {
    /// Bytes of data.
    pub(super) fn size(&self) -> usize {
        self.payloads().sum()
    }

    /// Bytes of the larger one of input and output.
    pub(super) fn largest(&self) -> usize {
        self.payloads().max().unwrap_or(0)
    }

    fn payloads(&self) -> impl Iterator<Item = usize> {
        self.input.iter().chain(&self.output).map(|payload| payload.data.len())
    }

    /// The line, without its end.
    pub(super) fn line(&self, kinds: &Kinds) -> Vec<u8> {
        let line = Line {
            capture_data: CaptureData {
                endpoint_input: self.input.as_ref().map(|p| p.captured("INPUT", kinds)),
                endpoint_output: self.output.as_ref().map(|p| p.captured("OUTPUT", kinds)),
            },
            event_metadata: EventMetadata {
                event_id: &self.id,
                custom_attributes: text(self.custom_attributes.as_ref()).map(|value| [value]),
                inference_id: text(self.inference_id.as_ref()),
                inference_time: self.time.iso8601(),
            },
            event_version: "0",
        };
        // Nothing in it can fail to be JSON.
        serde_json::to_vec(&line).unwrap_or_default()
    }
}

/// The key of an object of lines: `PREFIX/ENDPOINT/VARIANT/yyyy/mm/dd/hh/MM-SS-mmm-ID.jsonl`.
pub(super) fn key(
    prefix: &str,
    (endpoint, variant): (&str, &str),
    time: Timestamp,
    id: &str,
) -> String {
    let prefix = prefix.trim_matches('/');
    let time = chrono::DateTime::from_timestamp_millis(time.0).unwrap_or_default();
    let place = format!("{endpoint}/{variant}/{}-{id}.jsonl", time.format("%Y/%m/%d/%H/%M-%S-%3f"));
    if prefix.is_empty() { place } else { format!("{prefix}/{place}") }
}

#[cfg(test)]
mod tests;

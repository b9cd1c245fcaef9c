//! `kennel function invoke`.

use std::io::{Read, Write};
use std::path::Path;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use http::Method;
use serde_json::Value;

use super::path;
use crate::client::{Client, Payload, Service, encode, header_of, rest_request};
use crate::error::ClientError;
use crate::output::{note, text};

/// Longest run of a function, with some time for the way.
pub(in crate::commands) const LONGEST_CALL: Duration = Duration::from_secs(900 + 20);
/// Largest event of a synchronous invocation.
pub(super) const MAX_EVENT: u64 = 6 << 20;

#[derive(Debug, Args)]
pub(super) struct Invoke {
    /// Name or ARN
    pub(super) name: String,
    /// The event: JSON, @FILE, or @- for standard input
    #[arg(long, value_name = "JSON", default_value = "{}")]
    pub(super) payload: String,
    /// A version or an alias [default: $LATEST]
    #[arg(long, value_name = "QUALIFIER")]
    pub(super) qualifier: Option<String>,
    /// Print the end of the call's log to stderr
    #[arg(long)]
    pub(super) log: bool,
}

pub(super) fn call(client: &Client, arguments: &Invoke) -> Result<(), ClientError> {
    let payload = event(&arguments.payload)?;
    let asked = Asked { qualifier: arguments.qualifier.as_deref(), payload, log: arguments.log };
    let told = ask(client, &arguments.name, asked)?;
    if let Some(log) = told.log {
        note(log.trim_end());
    }
    let mut out = std::io::stdout();
    // A reader that has gone (`| head`) ends the program quietly.
    if out.write_all(&told.answer).and_then(|()| out.write_all(b"\n")).is_err() {
        std::process::exit(0);
    }
    match told.failure {
        None => Ok(()),
        Some(kind) => Err(failed(&arguments.name, &kind, &told.answer)),
    }
}

/// A synchronous call.
pub(in crate::commands) struct Asked<'a> {
    pub qualifier: Option<&'a str>,
    pub payload: Vec<u8>,
    /// Whether the end of the log is wanted.
    pub log: bool,
}

/// What a call told.
pub(in crate::commands) struct Told {
    pub answer: Vec<u8>,
    /// `Handled` or `Unhandled`, when the function failed.
    pub failure: Option<String>,
    /// The log's end, where it was wanted.
    pub log: Option<String>,
}

/// Invokes a function and waits for its answer.
pub(in crate::commands) fn ask(
    client: &Client,
    name: &str,
    asked: Asked<'_>,
) -> Result<Told, ClientError> {
    let query = match asked.qualifier {
        Some(qualifier) => format!("?Qualifier={}", encode(qualifier)),
        None => String::new(),
    };
    let at = format!("{}/invocations{query}", path(name));
    let mut request = rest_request(Service::Lambda, "Invoke", Method::POST, &at, None);
    let kind = if asked.log { "Tail" } else { "None" };
    for (name, value) in [
        ("content-type", "application/json"),
        ("x-amz-invocation-type", "RequestResponse"),
        ("x-amz-log-type", kind),
    ] {
        request.headers.push((name.to_owned(), value.to_owned()));
    }
    request.payload = Payload::Bytes(asked.payload);
    let response = client.send(&request)?;
    let header = |name: &str| header_of(response.headers(), name);
    let (failure, log) = (header("x-amz-function-error"), header("x-amz-log-result"));
    let answer = client.read(&request, response)?;
    let decoded = log.filter(|_| asked.log).map(|log| STANDARD.decode(log)).transpose();
    let log = decoded.map_err(|e| ClientError::Answer {
        operation: request.operation.clone(),
        reason: format!("the log's end is no base64: {e}"),
    })?;
    let log = log.map(|tail| String::from_utf8_lossy(&tail).into_owned());
    Ok(Told { answer, failure, log })
}

/// A function's error as the command's.
fn failed(name: &str, kind: &str, answer: &[u8]) -> ClientError {
    let answer: Value = serde_json::from_slice(answer).unwrap_or_default();
    let parts = ["errorType", "errorMessage"].map(|member| text(&answer, member));
    let words = parts.into_iter().filter(|p| !p.is_empty()).collect::<Vec<_>>().join(": ");
    ClientError::Failed(format!(
        "function `{name}` failed ({kind}): {words}\nhint: see `kennel function logs {name}`"
    ))
}

/// `JSON`, `@FILE` or `@-`, as bytes that are JSON.
pub(in crate::commands) fn event(given: &str) -> Result<Vec<u8>, ClientError> {
    let bytes = match given.strip_prefix('@') {
        None => given.as_bytes().to_vec(),
        Some(name) => {
            let path = Path::new(name);
            let reader: Box<dyn Read> = match name {
                "-" => Box::new(std::io::stdin()),
                _ => Box::new(std::fs::File::open(path).map_err(ClientError::file("read", path))?),
            };
            let mut bytes = Vec::new();
            reader
                .take(MAX_EVENT + 1)
                .read_to_end(&mut bytes)
                .map_err(ClientError::file("read", path))?;
            bytes
        }
    };
    if bytes.len() as u64 > MAX_EVENT {
        return Err(ClientError::Usage(format!(
            "the event has more than {MAX_EVENT} bytes, Lambda's limit\nhint: put what is large into S3 and its address into the event"
        )));
    }
    serde_json::from_slice::<serde::de::IgnoredAny>(&bytes).map_err(|e| {
        ClientError::Usage(format!(
            "the event is not JSON: {e}\nhint: as in --payload '{{\"url\": \"https://…\"}}', or --payload @FILE"
        ))
    })?;
    Ok(bytes)
}

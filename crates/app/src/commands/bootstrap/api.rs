//! Lambda's Runtime API, version 2018-06-01, from the runtime's side.
//!
//! <https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html>

use std::fmt;

use anyhow::{Context as _, bail};
use serde_json::json;
use ureq::http::{HeaderMap, StatusCode};

use super::python;

/// Largest event: 6 MB of a synchronous invocation, and some room.
const MAX_EVENT: u64 = 7 << 20;
/// Longest request id; AWS's have 36 characters.
const MAX_ID: usize = 128;
const SILENT: &str = "the Runtime API does not answer";

/// An error of the function, as its caller sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failure {
    /// The class that Python would name.
    pub kind: String,
    pub message: String,
}

impl Failure {
    pub(super) fn new(kind: &str, message: impl Into<String>) -> Failure {
        Failure { kind: kind.to_owned(), message: message.into() }
    }
}

impl fmt::Display for Failure {
    /// As AWS's Python runtime writes errors to the log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[ERROR] {}: {}", self.kind, self.message)
    }
}

/// One event and what is known of it.
#[derive(Debug, Clone, Default)]
pub(super) struct Invocation {
    pub id: String,
    /// Unix time in milliseconds; none where the API says nothing.
    pub deadline_ms: Option<u64>,
    pub function_arn: Option<String>,
    pub client_context: Option<String>,
    pub cognito_identity: Option<String>,
    pub tenant_id: Option<String>,
    pub event: Vec<u8>,
}

/// A client of the API. It has no timeouts: between two events the process is frozen for any length of time,
/// also in the middle of a call, and the API is on the same machine.
#[derive(Debug)]
pub(super) struct RuntimeApi {
    agent: ureq::Agent,
    base: String,
}

impl RuntimeApi {
    /// `address` is host and port.
    pub(super) fn new(address: &str) -> RuntimeApi {
        let agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .proxy(None)
            .user_agent(concat!("kennel-bootstrap/", env!("CARGO_PKG_VERSION")))
            .build()
            .into();
        RuntimeApi { agent, base: format!("http://{address}/2018-06-01/runtime") }
    }

    /// Waits for the next event.
    pub(super) fn next(&self) -> anyhow::Result<Invocation> {
        let mut response =
            self.agent.get(format!("{}/invocation/next", self.base)).call().context(SILENT)?;
        if response.status() != StatusCode::OK {
            bail!("the Runtime API answers invocation/next with {}", response.status());
        }
        let header = |name: &str| text(response.headers(), name);
        let id = header("lambda-runtime-aws-request-id")
            .filter(|id| fits_into_a_path(id))
            .context("the Runtime API answers invocation/next without a request id")?;
        let mut invocation = Invocation {
            id,
            deadline_ms: header("lambda-runtime-deadline-ms").and_then(|ms| ms.parse().ok()),
            function_arn: header("lambda-runtime-invoked-function-arn"),
            client_context: header("lambda-runtime-client-context"),
            cognito_identity: header("lambda-runtime-cognito-identity"),
            tenant_id: header("lambda-runtime-aws-tenant-id"),
            event: Vec::new(),
        };
        invocation.event = response
            .body_mut()
            .with_config()
            .limit(MAX_EVENT)
            .read_to_vec()
            .context("an event cannot be read")?;
        Ok(invocation)
    }

    /// The function's answer.
    pub(super) fn respond(&self, id: &str, answer: &str) -> anyhow::Result<()> {
        self.post("response", &format!("invocation/{id}/response"), None, answer)
    }

    /// The function's error.
    pub(super) fn fail(&self, id: &str, failure: &Failure) -> anyhow::Result<()> {
        let words = words(failure, id);
        self.post("error", &format!("invocation/{id}/error"), Some(&failure.kind), &words)
    }

    /// Why there will be no answers at all.
    pub(super) fn fail_initialisation(&self, failure: &Failure) -> anyhow::Result<()> {
        self.post("init/error", "init/error", Some(&failure.kind), &words(failure, ""))
    }

    fn post(
        &self,
        operation: &str,
        path: &str,
        kind: Option<&str>,
        body: &str,
    ) -> anyhow::Result<()> {
        let mut request = self
            .agent
            .post(format!("{}/{path}", self.base))
            .header("content-type", "application/json");
        if let Some(kind) = kind {
            request = request.header("lambda-runtime-function-error-type", kind);
        }
        let mut response = request.send(body).context(SILENT)?;
        let status = response.status();
        // Read to its end, so that the connection serves again.
        let said = response.body_mut().with_config().limit(64 << 10).read_to_string();
        if status.is_success() {
            return Ok(());
        }
        // The event's time was over, or the answer is too large: the caller has been told, and the
        // next event may come.
        if status.is_client_error() {
            eprintln!(
                "the Runtime API refused the {operation}: {status} {}",
                said.unwrap_or_default()
            );
            return Ok(());
        }
        bail!("the Runtime API answers the {operation} with {status}")
    }
}

/// An error's body, as AWS's Python runtime writes it.
fn words(failure: &Failure, id: &str) -> String {
    python::dumps(&json!({
        "errorMessage": failure.message,
        "errorType": failure.kind,
        "requestId": id,
        "stackTrace": [],
    }))
}

fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name).and_then(|v| v.to_str().ok()).map(str::to_owned)
}

fn fits_into_a_path(id: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    !id.is_empty() && id.len() <= MAX_ID && id.chars().all(fits)
}

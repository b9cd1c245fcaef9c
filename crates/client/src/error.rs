//! What can go wrong between a command and a service, and the error bodies of AWS's protocols.

use kennel_base::{ErrorCode, ErrorCoded};
use serde_json::Value;

/// An error that a service answered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{operation}: {message}{} ({code}, HTTP {status}{})", words(.original), id(.request_id))]
pub struct ServiceFailure {
    /// AWS's code, e.g. `ValidationException`.
    pub code: String,
    /// What the service says.
    pub message: String,
    /// What the model behind an endpoint said, where its words came along.
    pub original: Option<String>,
    /// HTTP status.
    pub status: u16,
    /// The service's id of the request, where it sent one.
    pub request_id: Option<String>,
    /// What was asked for, e.g. `sagemaker:DescribeEndpoint`.
    pub operation: String,
}

fn words(original: &Option<String>) -> String {
    original.as_ref().map_or_else(String::new, |words| format!(": {words}"))
}

fn id(request_id: &Option<String>) -> String {
    request_id.as_ref().map_or_else(String::new, |id| format!(", request {id}"))
}

/// Why a command did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// A service said no.
    #[error(transparent)]
    Service(Box<ServiceFailure>),
    /// Nothing listens where the platform should.
    #[error(
        "the platform is not running ({reason})\nhint: start it with `kennel up`, or use `--aws` for real AWS"
    )]
    NotRunning {
        /// How that shows.
        reason: String,
    },
    /// No answer, or half of one.
    #[error(
        "{operation}: no answer from `{host}`: {reason}\nhint: check the address and the network"
    )]
    Transport {
        /// What was asked for.
        operation: String,
        /// Whom.
        host: String,
        /// What happened.
        reason: String,
    },
    /// The answer is not what the protocol says.
    #[error("{operation}: the answer cannot be read: {reason}\nhint: is that an AWS endpoint?")]
    Answer {
        /// What was asked for.
        operation: String,
        /// What is wrong with it.
        reason: String,
    },
    /// No usable keys.
    #[error("{0}")]
    Credentials(String),
    /// A mistake in how a command was called.
    #[error("{0}")]
    Usage(String),
    /// Planned, not built.
    #[error("{0}")]
    NotImplemented(String),
    /// What was asked for ended badly: a failed job, an endpoint that did not start.
    #[error("{0}")]
    Failed(String),
    /// A file of this machine.
    #[error("cannot {action} `{path}`: {source}")]
    File {
        /// `read`, `write` …
        action: &'static str,
        /// Which file.
        path: String,
        /// The system's reason.
        source: std::io::Error,
    },
}

impl ClientError {
    pub(crate) fn file(
        action: &'static str,
        path: &std::path::Path,
    ) -> impl FnOnce(std::io::Error) -> ClientError {
        let path = path.display().to_string();
        move |source| ClientError::File { action, path, source }
    }

    /// The service's code, where a service answered.
    pub fn service_code(&self) -> Option<&str> {
        match self {
            ClientError::Service(failure) => Some(&failure.code),
            _ => None,
        }
    }

    /// Whether the service says that the named thing does not exist. SageMaker says so with a
    /// `ValidationException` and words.
    pub fn is_not_found(&self) -> bool {
        match self {
            ClientError::Service(f) => {
                f.status == 404
                    || matches!(
                        f.code.as_str(),
                        "NoSuchEntity" | "NoSuchKey" | "NoSuchBucket" | "ResourceNotFoundException"
                    )
                    || (f.code == "ValidationException" && f.message.contains("Could not find"))
            }
            _ => false,
        }
    }
}

impl ErrorCoded for ClientError {
    fn code(&self) -> ErrorCode {
        match self {
            ClientError::Service(failure) => match failure.status {
                _ if self.is_not_found() => ErrorCode::NotFound,
                409 => ErrorCode::Conflict,
                413 => ErrorCode::PayloadTooLarge,
                429 => ErrorCode::Throttled,
                400..=499 => ErrorCode::InvalidInput,
                _ => ErrorCode::Upstream,
            },
            ClientError::NotRunning { .. } => ErrorCode::Unavailable,
            ClientError::Transport { .. } | ClientError::Answer { .. } | ClientError::Failed(_) => {
                ErrorCode::Upstream
            }
            ClientError::Credentials(_) | ClientError::Usage(_) => ErrorCode::InvalidInput,
            ClientError::NotImplemented(_) => ErrorCode::NotImplemented,
            ClientError::File { source, .. } => match source.kind() {
                std::io::ErrorKind::NotFound => ErrorCode::NotFound,
                _ => ErrorCode::Internal,
            },
        }
    }
}

/// The failure in an error answer of any protocol.
///
/// JSON services put the code into `__type` (perhaps behind a `#`), rest-json into the header
/// `x-amzn-errortype`; query and S3 answer XML with `Code` and `Message`; an answer to HEAD has no
/// body, so that the status is all there is.
pub(crate) fn failure(
    operation: &str,
    status: u16,
    header: impl Fn(&str) -> Option<String>,
    body: &[u8],
) -> ServiceFailure {
    let request_id = header("x-amzn-requestid").or_else(|| header("x-amz-request-id"));
    let mut found = ServiceFailure {
        code: String::new(),
        message: String::new(),
        original: None,
        status,
        request_id,
        operation: operation.to_owned(),
    };
    if let Ok(Value::Object(json)) = serde_json::from_slice(body) {
        let text = |names: &[&str]| {
            names.iter().find_map(|n| json.get(*n)).and_then(Value::as_str).unwrap_or_default()
        };
        found.code = text(&["__type", "code", "Code"]).to_owned();
        found.message = text(&["message", "Message", "errorMessage"]).to_owned();
        found.original = json.get("OriginalMessage").and_then(Value::as_str).map(str::to_owned);
    } else if let Ok(root) = crate::xml::parse(body) {
        let error = root.child("Error").unwrap_or(&root);
        found.code = error.text("Code").unwrap_or_default().to_owned();
        found.message = error.text("Message").unwrap_or_default().to_owned();
        found.request_id = found.request_id.or_else(|| {
            root.text("RequestId").or_else(|| root.text("RequestID")).map(str::to_owned)
        });
    }
    if found.code.is_empty() {
        found.code = header("x-amzn-errortype").unwrap_or_default();
    }
    // `com.amazonaws.sagemaker#ValidationException` and `ValidationException:http://…`.
    let short = found.code.rsplit('#').next().unwrap_or_default();
    found.code = short.split(':').next().unwrap_or_default().trim().to_owned();
    if found.code.is_empty() {
        found.code = status.to_string();
    }
    if found.message.is_empty() {
        found.message = match status {
            301 | 307 => "the bucket is in another region\nhint: name it with --region".to_owned(),
            403 => "access denied".to_owned(),
            404 => "not found".to_owned(),
            _ => String::from_utf8_lossy(body).trim().chars().take(200).collect(),
        };
    }
    if found.message.is_empty() {
        found.message = "the service gives no reason".to_owned();
    }
    found
}

#[cfg(test)]
mod tests;

//! The error that every service answers, before a protocol gives it its shape.

use serde_json::{Map, Value};

/// Whose fault an error is; AWS's query protocol says so in `Type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The caller's (4xx).
    Sender,
    /// The service's (5xx).
    Receiver,
}

impl Fault {
    /// The word for it in answers.
    pub fn word(self) -> &'static str {
        match self {
            Fault::Sender => "Sender",
            Fault::Receiver => "Receiver",
        }
    }
}

/// An error as AWS names it: code, HTTP status, message, and members of the modelled error shape.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{code}: {message}")]
pub struct ServiceError {
    /// AWS's error code, e.g. `ValidationException`.
    pub code: String,
    /// The HTTP status.
    pub status: u16,
    /// What the caller reads.
    pub message: String,
    /// Further members of the error's shape (`OriginalStatusCode` of a `ModelError`).
    /// Boxed, so that a `Result` of it stays small.
    pub members: Box<Map<String, Value>>,
}

impl ServiceError {
    /// An error with a code, a status and a message.
    pub fn new(code: impl Into<String>, status: u16, message: impl Into<String>) -> Self {
        ServiceError { code: code.into(), status, message: message.into(), members: Box::default() }
    }

    /// `ValidationException`, 400.
    pub fn validation(message: impl Into<String>) -> Self {
        Self::new("ValidationException", 400, message)
    }

    /// The caller may not do this: 403 with the service's name for it.
    pub fn access_denied(message: impl Into<String>) -> Self {
        Self::new("AccessDeniedException", 403, message)
    }

    /// A real operation of the service that Kennel has not built.
    pub fn not_implemented(service: &str, operation: &str) -> Self {
        Self::new(
            "NotImplementedException",
            501,
            format!(
                "`{service}:{operation}` is not implemented by Kennel\nhint: README's table lists what is built"
            ),
        )
    }

    /// Kennel's own fault; the cause belongs into the log, not into the answer.
    pub fn internal() -> Self {
        Self::new(
            "InternalFailure",
            500,
            "internal error; the server's log has the cause under this request id",
        )
    }

    /// Adds a member of the error's shape.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.members.insert(name.to_owned(), value.into());
        self
    }

    /// Whose fault it is, by the status.
    pub fn fault(&self) -> Fault {
        if self.status < 500 { Fault::Sender } else { Fault::Receiver }
    }
}

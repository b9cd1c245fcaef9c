//! Why a log call failed: the caller's mistake, or the database's.

use kennel_store::state::StateError;
use kennel_store::state::rusqlite;
use kennel_wire::ServiceError;

use crate::service::state_failed;

/// Why a log operation or a [`super::LogWriter`] failed.
#[derive(Debug, thiserror::Error)]
pub enum LogsError {
    /// What AWS would answer.
    #[error(transparent)]
    Service(#[from] ServiceError),
    /// The database is closed or full.
    #[error(transparent)]
    State(#[from] StateError),
    /// SQLite refused a statement.
    #[error("log events: {0}")]
    Sqlite(#[from] rusqlite::Error),
    /// The last attempt to commit failed; the lines are kept and tried again.
    #[error("log lines could not be committed: {0}")]
    NotCommitted(String),
    /// The task that commits lines has ended.
    #[error("log writer is closed\nhint: the server is stopping")]
    Closed,
}

impl From<LogsError> for ServiceError {
    fn from(error: LogsError) -> Self {
        match error {
            LogsError::Service(error) => error,
            other => state_failed(&other),
        }
    }
}

/// `InvalidParameterException`, 400: what Logs answers where others say `ValidationException`.
pub(super) fn invalid(message: impl Into<String>) -> ServiceError {
    ServiceError::new("InvalidParameterException", 400, message)
}

pub(super) fn no_group() -> ServiceError {
    ServiceError::new("ResourceNotFoundException", 400, "The specified log group does not exist.")
}

pub(super) fn no_stream() -> ServiceError {
    ServiceError::new("ResourceNotFoundException", 400, "The specified log stream does not exist.")
}

pub(super) fn exists(what: &str) -> ServiceError {
    ServiceError::new(
        "ResourceAlreadyExistsException",
        400,
        format!("The specified {what} already exists"),
    )
}

//! CloudWatch's errors, with the codes of its query protocol (the JSON protocol answers the same ones
//! in `x-amzn-query-error`).

use kennel_store::state::StateError;
use kennel_store::state::rusqlite;
use kennel_wire::ServiceError;

use crate::service::state_failed;

/// Why a metrics operation failed.
#[derive(Debug, thiserror::Error)]
pub enum MetricsError {
    /// What AWS would answer.
    #[error(transparent)]
    Service(#[from] ServiceError),
    /// The database is closed or full.
    #[error(transparent)]
    State(#[from] StateError),
    /// SQLite refused a statement.
    #[error("metrics: {0}")]
    Sqlite(#[from] rusqlite::Error),
    /// The server stops.
    #[error("metrics are closed\nhint: the server is stopping")]
    Closed,
}

impl From<MetricsError> for ServiceError {
    fn from(error: MetricsError) -> Self {
        match error {
            MetricsError::Service(error) => error,
            other => state_failed(&other),
        }
    }
}

pub(super) fn invalid_value(message: impl Into<String>) -> ServiceError {
    ServiceError::new("InvalidParameterValue", 400, message)
}

pub(super) fn invalid_combination(message: impl Into<String>) -> ServiceError {
    ServiceError::new("InvalidParameterCombination", 400, message)
}

pub(super) fn missing(message: impl Into<String>) -> ServiceError {
    ServiceError::new("MissingParameter", 400, message)
}

/// What GetMetricData answers for its own rules.
pub(super) fn validation(message: impl Into<String>) -> ServiceError {
    ServiceError::new("ValidationError", 400, message)
}

pub(super) fn bad_token() -> ServiceError {
    ServiceError::new("InvalidNextToken", 400, "Request parameter NextToken is invalid")
}

//! IAM's errors: code, status and text as AWS has them.
//!
//! Source: <https://docs.aws.amazon.com/IAM/latest/APIReference/CommonErrors.html> and the operations' pages;
//! texts as IAM answers them.

use kennel_iam::policy::Malformed;
use kennel_store::state::rusqlite;
use kennel_wire::ServiceError;

use super::entities::Kind;

/// Why a closure on the database gave nothing.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// The caller's mistake.
    Service(ServiceError),
    /// SQLite's.
    Sqlite(rusqlite::Error),
    /// The system gave no random bytes.
    Random(getrandom::Error),
}

pub(crate) type Outcome<T> = Result<T, Refusal>;

impl From<rusqlite::Error> for Refusal {
    fn from(error: rusqlite::Error) -> Self {
        Refusal::Sqlite(error)
    }
}

impl From<getrandom::Error> for Refusal {
    fn from(error: getrandom::Error) -> Self {
        Refusal::Random(error)
    }
}

impl From<ServiceError> for Refusal {
    fn from(error: ServiceError) -> Self {
        Refusal::Service(error)
    }
}

impl From<Malformed> for Refusal {
    fn from(error: Malformed) -> Self {
        Refusal::Service(malformed(&error))
    }
}

impl From<Refusal> for ServiceError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Service(error) => error,
            Refusal::Sqlite(error) => crate::service::state_failed(&error),
            Refusal::Random(error) => crate::service::state_failed(&error),
        }
    }
}

pub(crate) fn malformed(error: &Malformed) -> ServiceError {
    ServiceError::new("MalformedPolicyDocument", 400, error.to_string())
}

pub(crate) fn validation(message: impl Into<String>) -> ServiceError {
    ServiceError::new("ValidationError", 400, message)
}

pub(crate) fn invalid_input(message: impl Into<String>) -> ServiceError {
    ServiceError::new("InvalidInput", 400, message)
}

pub(crate) fn access_denied(message: impl Into<String>) -> ServiceError {
    ServiceError::new("AccessDenied", 403, message)
}

pub(crate) fn no_such_entity(message: impl Into<String>) -> ServiceError {
    ServiceError::new("NoSuchEntity", 404, message)
}

pub(crate) fn delete_conflict(message: impl Into<String>) -> ServiceError {
    ServiceError::new("DeleteConflict", 409, message)
}

pub(crate) fn already_exists(message: impl Into<String>) -> ServiceError {
    ServiceError::new("EntityAlreadyExists", 409, message)
}

pub(crate) fn limit(message: impl Into<String>) -> ServiceError {
    ServiceError::new("LimitExceeded", 409, message)
}

/// `Cannot exceed quota for RolesPerAccount: 1000`
pub(crate) fn quota(name: &str, value: i64) -> ServiceError {
    limit(format!("Cannot exceed quota for {name}: {value}"))
}

pub(crate) fn no_entity(kind: Kind, name: &str) -> ServiceError {
    no_such_entity(format!("The {} with name {name} cannot be found.", kind.lower()))
}

pub(crate) fn no_policy(arn: &str) -> ServiceError {
    no_such_entity(format!("Policy {arn} was not found."))
}

//! Lambda's errors: each carries `Type`, `User` where the caller is at fault.
//!
//! Source of texts: <https://docs.aws.amazon.com/lambda/latest/api/> and what the service is known to answer.

use kennel_wire::ServiceError;

pub(crate) use crate::service::Refused;

/// What work on the database comes to.
pub(crate) type Outcome<T> = Result<T, Refused>;

/// An error that is the caller's.
pub(crate) fn user(code: &str, status: u16, message: impl Into<String>) -> ServiceError {
    ServiceError::new(code, status, message).with("Type", "User")
}

/// A refusal of the crate of decisions, whose messages are AWS's.
pub(crate) fn refusal(code: &str, status: u16, error: &dyn std::error::Error) -> ServiceError {
    let error = ServiceError::new(code, status, error.to_string());
    if code == "ValidationException" { error } else { error.with("Type", "User") }
}

/// `InvalidParameterValueException`.
pub(crate) fn invalid(message: impl Into<String>) -> ServiceError {
    user("InvalidParameterValueException", 400, message)
}

/// `ResourceConflictException`.
pub(crate) fn conflict(message: impl Into<String>) -> ServiceError {
    user("ResourceConflictException", 409, message)
}

/// `ResourceNotFoundException`.
pub(crate) fn not_found(message: impl Into<String>) -> ServiceError {
    user("ResourceNotFoundException", 404, message)
}

/// A function, or a version or alias of it, that does not exist; `arn` as the caller means it.
pub(crate) fn no_function(arn: &str) -> ServiceError {
    not_found(format!("Function not found: {arn}"))
}

/// A `RevisionId` that is not the last; `get` is the operation that answers the last one.
pub(crate) fn stale_revision(get: &str) -> ServiceError {
    user(
        "PreconditionFailedException",
        412,
        format!(
            "The Revision Id provided does not match the latest Revision Id. Call the {get} API to retrieve the latest Revision Id"
        ),
    )
}

/// `ValidationException` in the words of AWS's own checks of a member.
pub(crate) fn constraint(value: &str, member: &str, rule: &str) -> ServiceError {
    ServiceError::validation(format!(
        "1 validation error detected: Value '{value}' at '{member}' failed to satisfy constraint: {rule}"
    ))
}

/// Something real of Lambda's that is not built.
pub(crate) fn not_built(what: &str, hint: &str) -> ServiceError {
    invalid(format!("{what} is not implemented by Kennel\nhint: {hint}"))
}

//! Names of the errors that every service can answer. The JSON protocols and the query protocol
//! (and S3) call the same error by different names; Kennel uses the JSON name inside.
//! Source: <https://docs.aws.amazon.com/IAM/latest/APIReference/CommonErrors.html> and its JSON
//! counterpart in the SageMaker API reference.

const NAMES: [(&str, &str); 14] = [
    ("ValidationException", "ValidationError"),
    ("SerializationException", "MalformedInput"),
    ("AccessDeniedException", "AccessDenied"),
    ("ThrottlingException", "Throttling"),
    ("InvalidSignatureException", "SignatureDoesNotMatch"),
    ("UnrecognizedClientException", "InvalidClientTokenId"),
    ("ExpiredTokenException", "ExpiredToken"),
    ("MissingAuthenticationTokenException", "MissingAuthenticationToken"),
    ("IncompleteSignatureException", "IncompleteSignature"),
    ("MalformedQueryStringException", "MalformedQueryString"),
    ("UnknownOperationException", "InvalidAction"),
    ("NotImplementedException", "NotImplemented"),
    ("ServiceUnavailableException", "ServiceUnavailable"),
    ("RequestEntityTooLargeException", "EntityTooLarge"),
];

/// The query protocol's name of a common error; other codes stay as they are.
pub(crate) fn query_name(code: &str) -> &str {
    NAMES.iter().find(|(json, _)| *json == code).map_or(code, |(_, query)| query)
}

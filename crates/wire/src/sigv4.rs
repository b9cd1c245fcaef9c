//! Signature Version 4 for every service but S3 (where s3s does it): headers or presigned URL.
//!
//! Canonical request, key derivation and the comparison in constant time are those of
//! `scratchstack-aws-signature`. Reading the signature's parameters is done here, because that crate
//! does not percent-decode the credential of a presigned URL and knows no `X-Amz-Expires`.
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html>

mod scope;

use bytes::Bytes;
use chrono::{DateTime, Duration, NaiveDateTime, Utc};
use http::Uri;
use http::request::Parts;
use scratchstack_aws_signature::auth::SigV4Authenticator;
use scratchstack_aws_signature::canonical::CanonicalRequest;
use scratchstack_aws_signature::{
    GetSigningKeyRequest, GetSigningKeyResponse, KSecretKey, SignatureError, SignatureOptions,
    service_for_signing_key_fn,
};
use subtle::ConstantTimeEq;

pub use scope::Scope;

use crate::error::ServiceError;

const ALGORITHM: &str = "AWS4-HMAC-SHA256";
/// How far the clocks may be apart.
const SKEW: Duration = Duration::minutes(15);
/// The longest life of a presigned URL, seven days, in seconds.
const LONGEST_PRESIGNED: i64 = 604_800;
/// ISO 8601 without separators, in UTC.
const DATE_FORMAT: &str = "%Y%m%dT%H%M%SZ";

const MISSING: &str = "MissingAuthenticationTokenException";
const INCOMPLETE: &str = "IncompleteSignatureException";
const MISMATCH: &str = "InvalidSignatureException";
const UNKNOWN_KEY: &str = "UnrecognizedClientException";
const EXPIRED: &str = "ExpiredTokenException";

/// What belongs to an access key.
#[derive(Clone)]
pub struct Secret {
    /// The secret access key: 40 ASCII characters, as AWS makes them.
    pub key: String,
    /// The session token that must come with a temporary key; none with a lasting key.
    pub session_token: Option<String>,
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(redacted)")
    }
}

/// Why there is no secret for an access key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignatureRefusal {
    /// The key, or its session token, does not exist or is inactive.
    Unknown,
    /// The session is over.
    Expired,
    /// The keys could not be read.
    Internal,
}

/// Who signed a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// The access key.
    pub access_key: String,
    /// The region of the scope, well-formed but otherwise the caller's choice.
    pub region: String,
    /// The service of the scope, the one that was asked for.
    pub service: String,
}

/// A request whose signature is to be checked.
#[derive(Debug, Clone, Copy)]
pub struct Signed<'a> {
    /// The head.
    pub parts: &'a Parts,
    /// The whole body.
    pub body: &'a Bytes,
    /// The signing name of the service that the request was routed to.
    pub service: &'a str,
    /// Now, in milliseconds since 1970.
    pub now_ms: i64,
}

/// Verifies the signature. Codes are the JSON protocols' names; the encoders of the other protocols
/// translate them.
///
/// # Errors
/// 403: `MissingAuthenticationTokenException`, `UnrecognizedClientException`,
/// `InvalidSignatureException` (also for a clock that is off and a scope of another service),
/// `ExpiredTokenException`; 400: `IncompleteSignatureException`.
pub async fn verify<F>(request: Signed<'_>, lookup: F) -> Result<Verified, ServiceError>
where
    F: Fn(&str, Option<&str>) -> Result<Secret, SignatureRefusal>,
{
    let given = Given::read(request.parts)?;
    given.check_signed_headers(request.parts)?;
    let now = DateTime::from_timestamp_millis(request.now_ms).ok_or_else(ServiceError::internal)?;
    let mismatch = given.allowed_mismatch(now)?;

    let (canonical, _, _) = CanonicalRequest::from_request_parts(
        canonical_parts(request.parts)?,
        request.body.clone(),
        SignatureOptions::default(),
    )
    .map_err(refusal)?;
    let mut builder = SigV4Authenticator::builder();
    builder
        .canonical_request_sha256(canonical.canonical_request_sha256(&given.signed_headers))
        .credential(given.credential)
        .signature(given.signature)
        .request_timestamp(given.at);
    let authenticator = builder.build().map_err(|_| ServiceError::internal())?;

    let Scope { access_key, region, service, .. } = given.scope;
    authenticator.prevalidate(&region, request.service, now, mismatch).map_err(refusal)?;
    let secret = lookup(&access_key, given.token.as_deref()).map_err(refused)?;
    if !same_token(secret.session_token.as_deref(), given.token.as_deref()) {
        return Err(refused(SignatureRefusal::Unknown));
    }
    let secret: KSecretKey = secret.key.parse().map_err(|error| {
        tracing::error!("the secret of {access_key} is no secret access key: {error}");
        ServiceError::internal()
    })?;
    let key = secret.to_ksigning(given.at.date_naive(), &region, request.service);
    let response = GetSigningKeyResponse::builder()
        .signing_key(key)
        .build()
        .map_err(|_| ServiceError::internal())?;
    // Named first: as an argument it would be taken for a closure that can be called only once.
    let keys = move |_: GetSigningKeyRequest| std::future::ready(Ok(response.clone()));
    let mut keys = service_for_signing_key_fn(keys);
    authenticator
        .validate_signature(&region, request.service, now, mismatch, &mut keys)
        .await
        .map_err(refusal)?;
    Ok(Verified { access_key, region, service })
}

/// A signature as the request carries it.
struct Given {
    scope: Scope,
    credential: String,
    signed_headers: Vec<String>,
    signature: String,
    at: DateTime<Utc>,
    token: Option<String>,
    /// Seconds, for a presigned URL.
    expires: Option<i64>,
}

impl Given {
    fn read(parts: &Parts) -> Result<Given, ServiceError> {
        let query = parts.uri.query().unwrap_or_default();
        match parts.headers.get("authorization") {
            Some(value) => {
                let value = value.to_str().map_err(|_| incomplete("Authorization is not ASCII"))?;
                if scope::field(query, "X-Amz-Algorithm").is_some() {
                    return Err(mismatch("a header and the URL both carry a signature"));
                }
                Self::from_header(parts, value)
            }
            None => Self::from_query(query),
        }
    }

    fn from_header(parts: &Parts, value: &str) -> Result<Given, ServiceError> {
        let (algorithm, fields) = value.trim().split_once(' ').unwrap_or((value.trim(), ""));
        if algorithm != ALGORITHM {
            return Err(incomplete(format!("Unsupported AWS 'algorithm': '{algorithm}'.")));
        }
        let field = |name: &str| {
            scope::authorization_field(fields, name).ok_or_else(|| {
                incomplete(format!("Authorization header requires '{name}' parameter."))
            })
        };
        let header = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok());
        let credential = field("Credential")?.to_owned();
        let date = header("x-amz-date").ok_or_else(|| {
            incomplete("Authorization header requires existence of a 'X-Amz-Date' header.")
        })?;
        Ok(Given {
            scope: scope_of(&credential)?,
            signed_headers: header_list(field("SignedHeaders")?),
            signature: field("Signature")?.to_owned(),
            at: date_of(date)?,
            token: header("x-amz-security-token").map(|token| token.trim().to_owned()),
            expires: None,
            credential,
        })
    }

    fn from_query(query: &str) -> Result<Given, ServiceError> {
        if scope::field(query, "X-Amz-Algorithm").as_deref() != Some(ALGORITHM) {
            return Err(ServiceError::new(MISSING, 403, "Missing Authentication Token"));
        }
        let field = |name: &str| {
            scope::field(query, name).ok_or_else(|| {
                incomplete(format!("AWS query-string parameters must include '{name}'."))
            })
        };
        let credential = field("X-Amz-Credential")?;
        let expires = match scope::field(query, "X-Amz-Expires") {
            None => SKEW.num_seconds(),
            Some(text) => text
                .parse()
                .ok()
                .filter(|seconds| (1..=LONGEST_PRESIGNED).contains(seconds))
                .ok_or_else(|| incomplete("X-Amz-Expires must be between 1 and 604800 seconds"))?,
        };
        Ok(Given {
            scope: scope_of(&credential)?,
            signed_headers: header_list(&field("X-Amz-SignedHeaders")?),
            signature: field("X-Amz-Signature")?,
            at: date_of(&field("X-Amz-Date")?)?,
            token: scope::field(query, "X-Amz-Security-Token"),
            expires: Some(expires),
            credential,
        })
    }

    /// The host and every `X-Amz-` header must be under the signature: they say what is done.
    fn check_signed_headers(&self, parts: &Parts) -> Result<(), ServiceError> {
        let names = parts.headers.keys().map(http::HeaderName::as_str);
        let needed = names.filter(|name| name.starts_with("x-amz-")).chain(["host"]);
        for name in needed {
            if !self.signed_headers.iter().any(|signed| signed == name) {
                return Err(mismatch(format!(
                    "'{name}' must be a 'SignedHeader' in the AWS Authorization."
                )));
            }
        }
        Ok(())
    }

    /// How far the request's time may be from now: a presigned URL lives until it expires.
    fn allowed_mismatch(&self, now: DateTime<Utc>) -> Result<Duration, ServiceError> {
        let Some(expires) = self.expires else { return Ok(SKEW) };
        let age = now - self.at;
        if age > Duration::seconds(expires) {
            let end = self.at + Duration::seconds(expires);
            return Err(mismatch(format!(
                "Signature expired: {} is now earlier than {}",
                end.format(DATE_FORMAT),
                now.format(DATE_FORMAT)
            )));
        }
        Ok(age.max(SKEW))
    }
}

fn scope_of(credential: &str) -> Result<Scope, ServiceError> {
    Scope::parse(credential).ok_or_else(|| {
        incomplete(format!(
            "Credential must have exactly 5 slash-delimited elements, e.g. \
             keyid/date/region/service/term, got '{}'",
            crate::model::clip(credential)
        ))
    })
}

fn header_list(text: &str) -> Vec<String> {
    let mut names: Vec<String> = text.split(';').map(str::to_owned).collect();
    names.sort();
    names
}

fn date_of(text: &str) -> Result<DateTime<Utc>, ServiceError> {
    NaiveDateTime::parse_from_str(text.trim(), DATE_FORMAT).map(|at| at.and_utc()).map_err(|_| {
        incomplete(format!(
            "Date must be in ISO-8601 'basic format'. Got '{}'. See \
             http://en.wikipedia.org/wiki/ISO_8601",
            crate::model::clip(text)
        ))
    })
}

/// The head as the crate must see it to arrive at AWS's canonical path: outside of S3 the path is
/// percent-encoded once more than it was sent, while the crate decodes and encodes it again.
fn canonical_parts(parts: &Parts) -> Result<Parts, ServiceError> {
    let mut out = parts.clone();
    let path = parts.uri.path();
    if path.contains(['%', '+']) {
        let mut target = path.replace('%', "%25").replace('+', "%2B");
        if let Some(query) = parts.uri.query() {
            target.push('?');
            target.push_str(query);
        }
        out.uri = Uri::builder()
            .path_and_query(target)
            .build()
            .map_err(|_| ServiceError::validation("the path is too long"))?;
    }
    Ok(out)
}

fn same_token(expected: Option<&str>, given: Option<&str>) -> bool {
    match (expected, given) {
        (None, None) => true,
        (Some(expected), Some(given)) => expected.as_bytes().ct_eq(given.as_bytes()).into(),
        _ => false,
    }
}

fn incomplete(message: impl Into<String>) -> ServiceError {
    ServiceError::new(INCOMPLETE, 400, message)
}

fn mismatch(message: impl Into<String>) -> ServiceError {
    ServiceError::new(MISMATCH, 403, message)
}

fn refused(refusal: SignatureRefusal) -> ServiceError {
    match refusal {
        SignatureRefusal::Unknown => ServiceError::new(
            UNKNOWN_KEY,
            403,
            "The security token included in the request is invalid.",
        ),
        SignatureRefusal::Expired => {
            ServiceError::new(EXPIRED, 403, "The security token included in the request is expired")
        }
        SignatureRefusal::Internal => ServiceError::internal(),
    }
}

/// The crate's error with its text, under the name and status that AWS's JSON services give it.
fn refusal(error: SignatureError) -> ServiceError {
    let message = error.to_string();
    match error {
        SignatureError::SignatureDoesNotMatch(_) => mismatch(message),
        SignatureError::IncompleteSignature(_) => incomplete(message),
        SignatureError::MissingAuthenticationToken(_) => ServiceError::new(MISSING, 403, message),
        SignatureError::IO(_) | SignatureError::InternalServiceError(_) => {
            tracing::error!("signature: {message}");
            ServiceError::internal()
        }
        _ => ServiceError::new("MalformedQueryStringException", 400, message),
    }
}

#[cfg(test)]
mod tests;

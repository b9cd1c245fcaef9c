//! What is asked of a signature before `s3s` verifies it: one mechanism, a key that is known, the
//! session token of that key, and every header signed that could change what the request means.

use http::request::Parts;
use s3s::{S3ErrorCode, S3Result, s3_error};
use subtle::ConstantTimeEq as _;

use crate::context::Timestamp;
use crate::identity::{Credentials, Secret, Unknown};

/// How a request is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum How {
    /// `Authorization: AWS4-HMAC-SHA256 …`.
    Header,
    /// `?X-Amz-Signature=…`.
    QueryV4,
    /// `?AWSAccessKeyId=…&Signature=…&Expires=…`, what boto3 makes for `generate_presigned_url`.
    QueryV2,
}

/// What a request says of its signature.
#[derive(Debug)]
pub(super) struct Signed {
    pub(super) how: How,
    pub(super) access_key: String,
    token: Option<String>,
}

/// Longest presigned validity, in seconds.
const WEEK: u64 = 7 * 24 * 3600;

fn query(parts: &Parts) -> Vec<(String, String)> {
    let query = parts.uri.query().unwrap_or_default();
    form_urlencoded::parse(query.as_bytes()).into_owned().collect()
}

fn header<'a>(parts: &'a Parts, name: &str) -> Option<&'a str> {
    parts.headers.get(name).and_then(|v| v.to_str().ok())
}

/// Reads which key signed and checks what needs no secret; `None` for a request without a signature.
pub(super) fn signed(parts: &Parts) -> S3Result<Option<Signed>> {
    let query = query(parts);
    let of = |name: &str| query.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str());
    let authorization = parts.headers.contains_key(http::header::AUTHORIZATION);
    let found = [authorization, of("X-Amz-Signature").is_some(), of("Signature").is_some()];
    let found = found.iter().filter(|f| **f).count();
    match found {
        0 | 1 => {}
        _ => {
            return Err(s3_error!(
                InvalidArgument,
                "Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter, Signature query string parameter or the Authorization header should be specified"
            ));
        }
    }
    if is_form(parts) {
        return Err(s3_error!(NotImplemented, "Uploads by HTML forms are not implemented"));
    }
    if found == 0 {
        return Ok(None);
    }
    if let Some(access_key) = of("AWSAccessKeyId") {
        let token = of("x-amz-security-token").or(header(parts, "x-amz-security-token"));
        return Ok(Some(Signed {
            how: How::QueryV2,
            access_key: access_key.to_owned(),
            token: token.map(str::to_owned),
        }));
    }
    if of("X-Amz-Signature").is_some() {
        let malformed = || {
            s3_error!(
                AuthorizationQueryParametersError,
                "Query-string authentication version 4 requires the X-Amz-Algorithm, X-Amz-Credential, X-Amz-Signature, X-Amz-Date, X-Amz-SignedHeaders, and X-Amz-Expires parameters."
            )
        };
        let credential = of("X-Amz-Credential").ok_or_else(malformed)?;
        let headers = of("X-Amz-SignedHeaders").ok_or_else(malformed)?;
        let expires: u64 =
            of("X-Amz-Expires").and_then(|e| e.parse().ok()).ok_or_else(malformed)?;
        if expires > WEEK {
            return Err(s3_error!(
                AuthorizationQueryParametersError,
                "X-Amz-Expires must be less than a week (in seconds); that is, the given X-Amz-Expires must be less than 604800 seconds"
            ));
        }
        all_signed(parts, headers)?;
        return Ok(Some(Signed {
            how: How::QueryV4,
            access_key: access_key(credential)?,
            token: of("X-Amz-Security-Token").map(str::to_owned),
        }));
    }
    let value = header(parts, "authorization").unwrap_or_default();
    let Some(fields) = value.strip_prefix("AWS4-HMAC-SHA256") else {
        return Err(s3_error!(
            InvalidRequest,
            "The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256."
        ));
    };
    let field = |name: &str| {
        fields
            .split(',')
            .find_map(|f| f.trim().strip_prefix(name)?.strip_prefix('='))
            .ok_or_else(|| {
                s3_error!(
                    AuthorizationHeaderMalformed,
                    "The authorization header is malformed; the authorization header requires three components: Credential, SignedHeaders, and Signature."
                )
            })
    };
    all_signed(parts, field("SignedHeaders")?)?;
    Ok(Some(Signed {
        how: How::Header,
        access_key: access_key(field("Credential")?)?,
        token: header(parts, "x-amz-security-token").map(str::to_owned),
    }))
}

/// `s3s` reads a form's file into memory before anything is decided, so forms are not let through.
fn is_form(parts: &Parts) -> bool {
    parts.method == http::Method::POST
        && header(parts, "content-type")
            .is_some_and(|t| t.trim_start().to_ascii_lowercase().starts_with("multipart/form-data"))
}

/// `KEY/20261121/us-east-1/s3/aws4_request`.
fn access_key(credential: &str) -> S3Result<String> {
    let fields: Vec<&str> = credential.split('/').collect();
    match fields.as_slice() {
        [key, _, _, "s3", "aws4_request"] => Ok((*key).to_owned()),
        [_, _, _, service, "aws4_request"] => Err(s3_error!(
            AuthorizationHeaderMalformed,
            "The authorization header is malformed; incorrect service \"{service}\". This endpoint belongs to \"s3\"."
        )),
        _ => Err(s3_error!(
            AuthorizationHeaderMalformed,
            "The authorization header is malformed; the Credential is mal-formed; expecting \"<YOUR-AKID>/YYYYMMDD/REGION/SERVICE/aws4_request\"."
        )),
    }
}

/// `host` and every `x-amz-…` header have to be signed, or somebody on the way could add them:
/// <https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html>
fn all_signed(parts: &Parts, signed: &str) -> S3Result<()> {
    let is_signed = |name: &str| signed.split(';').any(|s| s.eq_ignore_ascii_case(name));
    let unsigned = parts
        .headers
        .keys()
        .map(http::HeaderName::as_str)
        .filter(|name| name.starts_with("x-amz-") && *name != "x-amz-content-sha256")
        .find(|name| !is_signed(name));
    let unsigned = unsigned.or_else(|| (!is_signed("host")).then_some("host"));
    let missing = signed.split(';').find(|s| !parts.headers.contains_key(*s) && *s != "host");
    match (unsigned, missing) {
        (Some(_), _) => Err(s3_error!(
            AccessDenied,
            "There were headers present in the request which were not signed"
        )),
        (_, Some(_)) => Err(s3_error!(SignatureDoesNotMatch)),
        _ => Ok(()),
    }
}

/// S3's condition keys about the signature.
///
/// Source: <https://docs.aws.amazon.com/AmazonS3/latest/API/bucket-policy-s3-sigv4-conditions.html>
pub(super) fn facts(signed: &Signed, parts: &Parts) -> Vec<(&'static str, String)> {
    let (version, kind) = match signed.how {
        How::Header => ("AWS4-HMAC-SHA256", "REST-HEADER"),
        How::QueryV4 => ("AWS4-HMAC-SHA256", "REST-QUERY-STRING"),
        How::QueryV2 => ("AWS", "REST-QUERY-STRING"),
    };
    let mut facts =
        vec![("s3:signatureversion", version.to_owned()), ("s3:authType", kind.to_owned())];
    if let Some(hash) = header(parts, "x-amz-content-sha256") {
        facts.push(("s3:x-amz-content-sha256", hash.to_owned()));
    }
    facts
}

/// Looks the key up and compares the session token.
pub(super) fn secret(
    credentials: &dyn Credentials,
    signed: &Signed,
    now: Timestamp,
) -> S3Result<Secret> {
    let secret = credentials.lookup(&signed.access_key, now).map_err(|why| match why {
        Unknown::NoSuchKey | Unknown::Inactive => s3_error!(
            InvalidAccessKeyId,
            "The AWS Access Key Id you provided does not exist in our records."
        ),
        Unknown::Expired => {
            s3s::S3Error::with_message(S3ErrorCode::ExpiredToken, "The provided token has expired.")
        }
    })?;
    let right = match (&secret.session_token, &signed.token) {
        (None, None) => true,
        (Some(wanted), Some(given)) => wanted.as_bytes().ct_eq(given.as_bytes()).into(),
        _ => false,
    };
    if right {
        Ok(secret)
    } else {
        Err(s3_error!(InvalidToken, "The provided token is malformed or otherwise invalid."))
    }
}

//! Query signatures of version 2, which boto3 still makes for `generate_presigned_url`. `s3s` knows
//! them, but not the session token and the other headers that boto3 puts into the query, nor does it
//! compare in constant time. So they are checked here and taken off the request.
//!
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/RESTAuthentication.html>

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use http::request::Parts;
use http::{HeaderName, HeaderValue};
use s3s::{S3Result, s3_error};
use sha1::Sha1;

use crate::context::Timestamp;

/// Query parameters that are part of the resource (sorted).
const RESOURCE: &[&str] = &[
    "accelerate",
    "acl",
    "analytics",
    "cors",
    "defaultObjectAcl",
    "delete",
    "inventory",
    "lifecycle",
    "location",
    "logging",
    "metrics",
    "notification",
    "object-lock",
    "partNumber",
    "policy",
    "replication",
    "requestPayment",
    "response-cache-control",
    "response-content-disposition",
    "response-content-encoding",
    "response-content-language",
    "response-content-type",
    "response-expires",
    "restore",
    "select",
    "select-type",
    "storageClass",
    "tagging",
    "torrent",
    "uploadId",
    "uploads",
    "versionId",
    "versioning",
    "versions",
    "website",
];

/// Checks signature and expiry, then removes the signature from the query and moves the headers that
/// came in the query to where they belong.
pub(super) fn verify(
    parts: &mut Parts,
    secret: &str,
    bucket: Option<&str>,
    now: Timestamp,
) -> S3Result<()> {
    let raw = parts.uri.query().unwrap_or_default().to_owned();
    let decoded = |pair: &str| {
        form_urlencoded::parse(pair.as_bytes()).into_owned().next().unwrap_or_default()
    };
    let pairs: Vec<(&str, (String, String))> =
        raw.split('&').filter(|p| !p.is_empty()).map(|p| (p, decoded(p))).collect();
    let unique = |name: &str| {
        let mut found = pairs.iter().filter(|(_, (n, _))| n == name).map(|(_, (_, v))| v.as_str());
        found.next().filter(|_| found.next().is_none())
    };
    let denied = || {
        s3_error!(
            AccessDenied,
            "Query-string authentication requires the Signature, Expires and AWSAccessKeyId parameters"
        )
    };
    let expires = unique("Expires").ok_or_else(denied)?.to_owned();
    let signature = unique("Signature").ok_or_else(denied)?.to_owned();
    unique("AWSAccessKeyId").ok_or_else(denied)?;
    let until: i64 = expires.parse().map_err(|_| {
        s3_error!(AccessDenied, "Invalid date (should be seconds since epoch): {expires}")
    })?;
    if now.0 >= until.saturating_mul(1000) {
        return Err(s3_error!(AccessDenied, "Request has expired"));
    }

    let is_header =
        |name: &str| name.starts_with("x-amz-") || name == "content-md5" || name == "content-type";
    let mut moved = Vec::new();
    let mut kept = Vec::new();
    for (text, (name, value)) in &pairs {
        match name.as_str() {
            "AWSAccessKeyId" | "Signature" | "Expires" => {}
            name if is_header(name) => moved.push((name.to_owned(), value.clone())),
            _ => kept.push(*text),
        }
    }
    for (name, value) in moved {
        let name = HeaderName::try_from(name).map_err(|_| s3_error!(InvalidArgument))?;
        let value = HeaderValue::from_str(&value).map_err(|_| s3_error!(InvalidArgument))?;
        if parts.headers.get(&name).is_some_and(|there| *there != value) {
            return Err(s3_error!(SignatureDoesNotMatch));
        }
        parts.headers.insert(name, value);
    }

    let text = string_to_sign(parts, &expires, bucket, &pairs);
    let mut mac = Hmac::<Sha1>::new_from_slice(secret.as_bytes())
        .map_err(|_| s3_error!(InternalError, "the secret key cannot sign"))?;
    mac.update(text.as_bytes());
    let given = STANDARD.decode(&signature).unwrap_or_default();
    // Compares in constant time.
    mac.verify_slice(&given).map_err(|_| s3_error!(SignatureDoesNotMatch))?;

    let path = parts.uri.path();
    let rest = if kept.is_empty() { path.to_owned() } else { format!("{path}?{}", kept.join("&")) };
    let mut uri = std::mem::take(&mut parts.uri).into_parts();
    uri.path_and_query = Some(rest.parse().map_err(|_| s3_error!(InvalidURI))?);
    parts.uri = http::Uri::from_parts(uri).map_err(|_| s3_error!(InvalidURI))?;
    Ok(())
}

fn string_to_sign(
    parts: &Parts,
    expires: &str,
    bucket: Option<&str>,
    pairs: &[(&str, (String, String))],
) -> String {
    let header = |name: &str| {
        parts.headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default().trim()
    };
    let mut text = format!(
        "{}\n{}\n{}\n{expires}\n",
        parts.method,
        header("content-md5"),
        header("content-type")
    );
    let mut amz: Vec<&str> =
        parts.headers.keys().map(HeaderName::as_str).filter(|n| n.starts_with("x-amz-")).collect();
    amz.sort_unstable();
    for name in amz {
        let values: Vec<&str> = parts
            .headers
            .get_all(name)
            .iter()
            .map(|v| v.to_str().unwrap_or_default().trim())
            .collect();
        text.push_str(&format!("{name}:{}\n", values.join(",")));
    }
    if let Some(bucket) = bucket {
        text.push('/');
        text.push_str(bucket);
    }
    text.push_str(parts.uri.path());
    let mut separator = '?';
    for name in RESOURCE {
        for (raw, (_, value)) in pairs.iter().filter(|(_, (n, _))| n == name) {
            text.push(separator);
            separator = '&';
            text.push_str(name);
            if raw.contains('=') && !value.is_empty() {
                text.push('=');
                text.push_str(value);
            }
        }
    }
    text
}

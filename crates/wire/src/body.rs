//! Request bodies as their sender wrote them, before compression.

use std::io::Read as _;

use bytes::Bytes;
use flate2::read::MultiGzDecoder;
use http::HeaderMap;

use crate::error::ServiceError;

/// Undoes `Content-Encoding: gzip`: the SDKs compress `PutMetricData` from 10 KiB on, and sign what
/// they compressed, so this comes after the signature. At most `limit` bytes may come out.
///
/// # Errors
/// `SerializationException` (400) for what is no gzip, `RequestEntityTooLargeException` (413) for
/// too much.
pub fn inflate(headers: &HeaderMap, body: Bytes, limit: usize) -> Result<Bytes, ServiceError> {
    if headers.get("content-encoding").is_none_or(|given| given.as_bytes() != b"gzip") {
        return Ok(body);
    }
    let mut out = Vec::new();
    MultiGzDecoder::new(body.as_ref()).take(limit as u64 + 1).read_to_end(&mut out).map_err(
        |error| {
            let message = format!("the body is not gzip: {error}");
            ServiceError::new("SerializationException", 400, message)
        },
    )?;
    if out.len() > limit {
        let message = format!("the body is longer than {limit} bytes");
        return Err(ServiceError::new("RequestEntityTooLargeException", 413, message));
    }
    Ok(out.into())
}

#[cfg(test)]
mod tests;

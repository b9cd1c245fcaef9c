//! Between the words of `s3s` and those of the object store.

use std::pin::Pin;
use std::sync::Mutex;
use std::task::{Context, Poll};
use std::time::{Duration, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures::Stream;
use http::HeaderMap;
use kennel_store::objects::{
    Body, Checksum, ChecksumAlgorithm, ChecksumType, Expected, Metadata, PartOptions, Tags,
};
use s3s::dto::{self, ETag, ETagCondition, StreamingBlob, Tag, Timestamp, TimestampFormat};
use s3s::stream::{ByteStream, RemainingLength};
use s3s::{S3Result, StdError, TrailingHeaders, s3_error};

use super::error::{custom, plain};

/// Bytes of user metadata, names and values together.
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingMetadata.html>
const LARGEST_METADATA: usize = 2048;

/// Milliseconds since 1970 as a timestamp of whole seconds, which is what S3 answers everywhere.
pub(super) fn timestamp(milliseconds: i64) -> Timestamp {
    let seconds = u64::try_from(milliseconds / 1000).unwrap_or_default();
    Timestamp::from(UNIX_EPOCH + Duration::from_secs(seconds))
}

/// Seconds since 1970.
pub(super) fn seconds(time: &Timestamp) -> i64 {
    let mut text = Vec::new();
    // Writing to memory cannot fail.
    let _ = time.format(TimestampFormat::EpochSeconds, &mut text);
    let text = String::from_utf8_lossy(&text);
    text.split('.').next().and_then(|s| s.parse().ok()).unwrap_or_default()
}

pub(super) fn length(size: u64) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX)
}

pub(super) fn etag(value: &str) -> ETag {
    ETag::Strong(value.to_owned())
}

/// `*` or an ETag without quotes.
pub(super) fn condition(given: ETagCondition) -> String {
    match given {
        ETagCondition::Any => "*".to_owned(),
        ETagCondition::ETag(tag) => tag.value().to_owned(),
    }
}

/// The system headers of an upload as `s3s` parses them: the same fields in several inputs.
macro_rules! metadata {
    ($input:expr) => {
        $crate::s3::convert::checked(kennel_store::objects::Metadata {
            content_type: $input.content_type.take(),
            cache_control: $input.cache_control.take(),
            content_disposition: $input.content_disposition.take(),
            content_encoding: $crate::s3::convert::encoding($input.content_encoding.take()),
            content_language: $input.content_language.take(),
            expires: $input.expires.as_ref().map(|t| $crate::s3::convert::seconds(t) * 1000),
            website_redirect: $input.website_redirect_location.take(),
            storage_class: $input
                .storage_class
                .as_ref()
                .map(|c| c.as_str().to_owned())
                .filter(|c| c != "STANDARD"),
            encryption: $input.server_side_encryption.as_ref().map(|e| e.as_str().to_owned()),
            kms_key: $input.ssekms_key_id.take(),
            user: $input
                .metadata
                .take()
                .unwrap_or_default()
                .into_iter()
                .map(|(name, value)| (name.to_ascii_lowercase(), value))
                .collect(),
        })
    };
}
pub(super) use metadata;

/// The size limit of user metadata, and what is not built.
pub(super) fn checked(metadata: Metadata) -> S3Result<Metadata> {
    let size: usize = metadata.user.iter().map(|(n, v)| n.len() + v.len()).sum();
    if size > LARGEST_METADATA {
        return Err(s3_error!(
            MetadataTooLarge,
            "Your metadata headers exceed the maximum allowed metadata size"
        ));
    }
    match metadata.encryption.as_deref() {
        None | Some("AES256" | "aws:kms" | "aws:kms:dsse") => Ok(metadata),
        Some(_) => Err(custom(
            "InvalidEncryptionAlgorithmError",
            http::StatusCode::BAD_REQUEST,
            "The encryption request that you specified is not valid. The valid value is AES256.",
        )),
    }
}

/// `aws-chunked` is about the transfer, not about the object.
pub(super) fn encoding(given: Option<String>) -> Option<String> {
    let kept: Vec<&str> =
        given.as_deref()?.split(',').map(str::trim).filter(|e| *e != "aws-chunked").collect();
    (!kept.is_empty()).then(|| kept.join(","))
}

/// `x-amz-tagging: a=b&c=d`.
pub(super) fn tags_of_header(header: Option<&str>) -> S3Result<Tags> {
    let text = header.unwrap_or_default();
    check_tags(form_urlencoded::parse(text.as_bytes()).into_owned().collect(), 10)
}

/// Tags of a body.
pub(super) fn tags_of(set: Vec<Tag>, most: usize) -> S3Result<Tags> {
    let tags =
        set.into_iter().map(|t| (t.key.unwrap_or_default(), t.value.unwrap_or_default())).collect();
    check_tags(tags, most)
}

/// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_Tag.html>
fn check_tags(tags: Tags, most: usize) -> S3Result<Tags> {
    if tags.len() > most {
        let message = if most == 10 {
            "Object tags cannot be greater than 10"
        } else {
            "Bucket tag count cannot be greater than 50"
        };
        return Err(custom("BadRequest", http::StatusCode::BAD_REQUEST, message));
    }
    for (i, (key, value)) in tags.iter().enumerate() {
        if key.is_empty() || key.chars().count() > 128 {
            return Err(s3_error!(InvalidTag, "The TagKey you have provided is invalid"));
        }
        if value.chars().count() > 256 {
            return Err(s3_error!(InvalidTag, "The TagValue you have provided is invalid"));
        }
        if tags.iter().take(i).any(|(other, _)| other == key) {
            return Err(s3_error!(InvalidTag, "Cannot provide multiple Tags with the same key"));
        }
    }
    Ok(tags)
}

pub(super) fn tag_set(tags: Tags) -> Vec<Tag> {
    tags.into_iter().map(|(key, value)| Tag { key: Some(key), value: Some(value) }).collect()
}

/// A body from a request for the store.
pub(super) fn body(blob: Option<StreamingBlob>) -> Body {
    match blob {
        Some(blob) => Box::pin(blob),
        None => kennel_store::objects::body_of(Bytes::new()),
    }
}

/// A body of the store for an answer, whose length is known.
pub(super) fn blob(body: Body, length: u64) -> StreamingBlob {
    let remaining = usize::try_from(length).unwrap_or(usize::MAX);
    StreamingBlob::new(Outgoing { body: Mutex::new(body), remaining })
}

struct Outgoing {
    /// Only for `Sync`; never locked.
    body: Mutex<Body>,
    remaining: usize,
}

impl Stream for Outgoing {
    type Item = Result<Bytes, StdError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Ok(body) = self.body.get_mut() else { return Poll::Ready(None) };
        let item = body.as_mut().poll_next(cx);
        if let Poll::Ready(Some(Ok(bytes))) = &item {
            self.remaining = self.remaining.saturating_sub(bytes.len());
        }
        item
    }
}

impl ByteStream for Outgoing {
    fn remaining_length(&self) -> RemainingLength {
        RemainingLength::new_exact(self.remaining)
    }
}

const CHECKSUM_HEADERS: [(&str, ChecksumAlgorithm); 5] = [
    ("x-amz-checksum-crc32", ChecksumAlgorithm::Crc32),
    ("x-amz-checksum-crc32c", ChecksumAlgorithm::Crc32c),
    ("x-amz-checksum-crc64nvme", ChecksumAlgorithm::Crc64Nvme),
    ("x-amz-checksum-sha1", ChecksumAlgorithm::Sha1),
    ("x-amz-checksum-sha256", ChecksumAlgorithm::Sha256),
];

/// The one checksum header that may come.
pub(super) fn checksum_header(
    headers: &HeaderMap,
) -> S3Result<Option<(ChecksumAlgorithm, String)>> {
    let mut found = None;
    for (name, algorithm) in CHECKSUM_HEADERS {
        if let Some(value) = headers.get(name) {
            let value = value.to_str().unwrap_or_default().to_owned();
            if found.replace((algorithm, value)).is_some() {
                return Err(s3_error!(
                    InvalidRequest,
                    "Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed."
                ));
            }
        }
    }
    Ok(found)
}

/// The algorithm that a request asks for by name.
pub(super) fn algorithm(name: Option<&str>) -> S3Result<Option<ChecksumAlgorithm>> {
    name.map(|name| {
        ChecksumAlgorithm::named(name).ok_or_else(|| {
            s3_error!(InvalidRequest, "Checksum algorithm provided is unsupported. Please try again with any of the valid types: [CRC32, CRC32C, CRC64NVME, SHA1, SHA256]")
        })
    })
    .transpose()
}

/// Digests that a body must have, from the headers before it or the trailer after it.
pub(super) fn digests(
    headers: &HeaderMap,
    trailers: Option<TrailingHeaders>,
    now: i64,
) -> S3Result<PartOptions> {
    let header = |name: &str| headers.get(name).and_then(|v| v.to_str().ok());
    let md5 = header("content-md5")
        .map(|text| {
            let bytes = STANDARD.decode(text).ok().and_then(|b| <[u8; 16]>::try_from(b).ok());
            bytes.ok_or_else(|| plain(s3s::S3ErrorCode::InvalidDigest))
        })
        .transpose()?;
    let named =
        header("x-amz-sdk-checksum-algorithm").or_else(|| header("x-amz-checksum-algorithm"));
    let mut options =
        PartOptions { now, md5, algorithm: algorithm(named)?, ..PartOptions::default() };
    if let Some((algorithm, value)) = checksum_header(headers)? {
        options.algorithm = Some(algorithm);
        options.expected = Some(Expected::Now(value));
        return Ok(options);
    }
    let announced = header("x-amz-trailer").map(|t| t.trim().to_ascii_lowercase());
    let trailer = CHECKSUM_HEADERS
        .into_iter()
        .find(|(name, _)| announced.as_deref().is_some_and(|a| a == *name));
    if let (Some((name, algorithm)), Some(trailers)) = (trailer, trailers) {
        options.algorithm = Some(algorithm);
        let ask = move || {
            trailers.read(|t| Some(t.get(name)?.to_str().ok()?.trim().to_owned())).flatten()
        };
        options.expected = Some(Expected::AfterBody(Box::new(ask)));
    }
    Ok(options)
}

/// A stored checksum in the fields of an output.
macro_rules! set_checksum {
    ($output:expr, $checksum:expr) => {
        if let Some(checksum) = $checksum {
            use kennel_store::objects::ChecksumAlgorithm as Algorithm;
            let value = Some(checksum.value.clone());
            match checksum.algorithm {
                Algorithm::Crc32 => $output.checksum_crc32 = value,
                Algorithm::Crc32c => $output.checksum_crc32c = value,
                Algorithm::Crc64Nvme => $output.checksum_crc64nvme = value,
                Algorithm::Sha1 => $output.checksum_sha1 = value,
                Algorithm::Sha256 => $output.checksum_sha256 = value,
            }
        }
    };
}
pub(super) use set_checksum;

pub(super) fn checksum_type(over: ChecksumType) -> dto::ChecksumType {
    dto::ChecksumType::from_static(match over {
        ChecksumType::FullObject => dto::ChecksumType::FULL_OBJECT,
        ChecksumType::Composite => dto::ChecksumType::COMPOSITE,
    })
}

pub(super) fn algorithm_name(algorithm: ChecksumAlgorithm) -> dto::ChecksumAlgorithm {
    dto::ChecksumAlgorithm::from_static(algorithm.name())
}

/// A part's checksum with its algorithm.
pub(super) fn part_checksum(
    algorithm: Option<ChecksumAlgorithm>,
    value: Option<String>,
) -> Option<Checksum> {
    Some(Checksum { algorithm: algorithm?, value: value?, over: ChecksumType::FullObject })
}

/// Percent-encodes for `encoding-type=url`: everything but unreserved characters and `/`.
pub(super) fn url(text: &str) -> String {
    use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
    const KEPT: &AsciiSet =
        &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~').remove(b'/');
    utf8_percent_encode(text, KEPT).to_string()
}

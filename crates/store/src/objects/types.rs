//! The words of the object store: what is stored with an object and what is asked for.

use std::collections::BTreeMap;
use std::fmt;
use std::pin::Pin;

use bytes::Bytes;
use futures::Stream;
use serde::{Deserialize, Serialize};

use super::error::BodyError;

/// Bytes that come in pieces.
pub type Body = Pin<Box<dyn Stream<Item = Result<Bytes, BodyError>> + Send>>;

/// A body of bytes in memory.
pub fn body_of(bytes: impl Into<Bytes>) -> Body {
    let bytes = bytes.into();
    Box::pin(futures::stream::iter((!bytes.is_empty()).then_some(Ok(bytes))))
}

/// Tags, in the order given.
pub type Tags = Vec<(String, String)>;

/// A bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BucketInfo {
    /// Its name.
    pub name: String,
    /// The region it was made in.
    pub region: String,
    /// When it was made, milliseconds since 1970.
    pub created: i64,
    /// Its tags.
    pub tags: Tags,
}

/// What the uploader says of an object; stored and answered unchanged.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Metadata {
    /// `Content-Type`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
    /// `Cache-Control`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache_control: Option<String>,
    /// `Content-Disposition`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_disposition: Option<String>,
    /// `Content-Encoding`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_encoding: Option<String>,
    /// `Content-Language`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_language: Option<String>,
    /// `Expires`, milliseconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires: Option<i64>,
    /// `x-amz-website-redirect-location`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub website_redirect: Option<String>,
    /// `x-amz-storage-class`, when it is not `STANDARD`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub storage_class: Option<String>,
    /// `x-amz-server-side-encryption`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub encryption: Option<String>,
    /// `x-amz-server-side-encryption-aws-kms-key-id`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kms_key: Option<String>,
    /// `x-amz-meta-…`, names in lower case.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub user: BTreeMap<String, String>,
}

/// A checksum that S3 knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ChecksumAlgorithm {
    /// CRC-32 (ISO HDLC).
    Crc32,
    /// CRC-32C (Castagnoli).
    Crc32c,
    /// CRC-64/NVME.
    Crc64Nvme,
    /// SHA-1.
    Sha1,
    /// SHA-256.
    Sha256,
}

impl ChecksumAlgorithm {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Crc32, Self::Crc32c, Self::Crc64Nvme, Self::Sha1, Self::Sha256];

    /// AWS's name: `CRC32`, `CRC32C`, `CRC64NVME`, `SHA1`, `SHA256`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Crc32 => "CRC32",
            Self::Crc32c => "CRC32C",
            Self::Crc64Nvme => "CRC64NVME",
            Self::Sha1 => "SHA1",
            Self::Sha256 => "SHA256",
        }
    }

    /// The algorithm of AWS's name, in any case.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|a| a.name().eq_ignore_ascii_case(name))
    }

    /// Whether a whole object's checksum can be computed from its parts'.
    pub fn is_linear(self) -> bool {
        matches!(self, Self::Crc32 | Self::Crc32c | Self::Crc64Nvme)
    }
}

/// What a multipart object's checksum is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ChecksumType {
    /// Over all bytes.
    FullObject,
    /// Over the parts' checksums, written `value-N`.
    Composite,
}

/// A stored checksum.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checksum {
    /// Which.
    pub algorithm: ChecksumAlgorithm,
    /// Base64, with `-N` when it is composite.
    pub value: String,
    /// Over what.
    pub over: ChecksumType,
}

/// An object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectInfo {
    /// Its key.
    pub key: String,
    /// Bytes.
    pub size: u64,
    /// Without quotes: the MD5, or `<md5 of md5s>-N` of a multipart object.
    pub etag: String,
    /// When it was stored, milliseconds since 1970.
    pub modified: i64,
    /// What the uploader said of it.
    pub metadata: Metadata,
    /// Its tags.
    pub tags: Tags,
    /// Its checksum.
    pub checksum: Option<Checksum>,
    /// The parts of a multipart object; empty for others.
    pub parts: Vec<PartInfo>,
}

/// A part of an upload or of the object made of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartInfo {
    /// 1 to 10,000.
    pub number: u32,
    /// Bytes.
    pub size: u64,
    /// The MD5 in hex.
    pub etag: String,
    /// Base64.
    pub checksum: Option<String>,
    /// When it was stored, milliseconds since 1970.
    pub modified: i64,
}

/// A checksum that the client sends along.
pub enum Expected {
    /// Sent before the body (base64).
    Now(String),
    /// Sent after the body: asked once all of it was read.
    AfterBody(Box<dyn FnOnce() -> Option<String> + Send>),
}

impl fmt::Debug for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Expected::Now(value) => f.debug_tuple("Now").field(value).finish(),
            Expected::AfterBody(_) => f.write_str("AfterBody"),
        }
    }
}

/// What must hold for a write; checked in the transaction that makes it visible.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Condition {
    /// The object must be there, with this ETag unless it is `*`.
    pub if_match: Option<String>,
    /// There must be no object of this key.
    pub if_none_match: bool,
}

/// How a part is stored.
#[derive(Debug, Default)]
pub struct PartOptions {
    /// Now, milliseconds since 1970.
    pub now: i64,
    /// The MD5 that the body must have.
    pub md5: Option<[u8; 16]>,
    /// The checksum to compute; an upload's own algorithm otherwise.
    pub algorithm: Option<ChecksumAlgorithm>,
    /// What the checksum must be.
    pub expected: Option<Expected>,
    /// The most bytes to take; 0 for S3's 5 GiB.
    pub limit: u64,
}

/// How an object is stored.
#[derive(Debug, Default)]
pub struct PutOptions {
    /// Digests, limits and the time.
    pub part: PartOptions,
    /// What to store with it.
    pub metadata: Metadata,
    /// Its tags.
    pub tags: Tags,
    /// What must hold.
    pub condition: Condition,
}

/// How an object is copied.
#[derive(Debug, Clone, Default)]
pub struct CopyOptions {
    /// Now, milliseconds since 1970.
    pub now: i64,
    /// Replaces the source's metadata.
    pub metadata: Option<Metadata>,
    /// Replaces the source's tags.
    pub tags: Option<Tags>,
    /// The checksum to compute; the source's otherwise.
    pub algorithm: Option<ChecksumAlgorithm>,
    /// The ETag that the source must have, as the caller saw it.
    pub source_etag: Option<String>,
    /// What must hold of the target.
    pub condition: Condition,
}

/// What a multipart upload's object will have.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewUpload {
    /// Now, milliseconds since 1970.
    pub now: i64,
    /// What to store with the object.
    pub metadata: Metadata,
    /// Its tags.
    pub tags: Tags,
    /// Each part's checksum.
    pub algorithm: Option<ChecksumAlgorithm>,
    /// What the object's checksum is over.
    pub over: Option<ChecksumType>,
}

/// An upload in progress.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadInfo {
    /// Its id.
    pub id: String,
    /// The object's key.
    pub key: String,
    /// How it was begun.
    pub upload: NewUpload,
}

/// What to list.
#[derive(Debug, Clone, Default)]
pub struct ListOptions {
    /// Only keys that begin with it.
    pub prefix: String,
    /// Keys that have it after the prefix are summed up.
    pub delimiter: Option<String>,
    /// Only keys after it. When it is a common prefix, only what is after all of that.
    pub after: Option<String>,
    /// At most so many objects and prefixes together.
    pub max: usize,
}

/// A page of a listing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listing {
    /// Objects, by key.
    pub objects: Vec<ObjectInfo>,
    /// Common prefixes, ordered.
    pub prefixes: Vec<String>,
    /// Where the next page begins (its `after`), when there is one.
    pub next: Option<String>,
}

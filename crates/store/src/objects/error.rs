//! Why an object could not be stored, found or read.

use std::path::PathBuf;

use kennel_base::{ErrorCode, ErrorCoded};

use crate::state::StateError;

/// An error of the stream that brings a body: the client went away, a signature did not match.
pub type BodyError = Box<dyn std::error::Error + Send + Sync>;

/// Why an operation of the object store failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ObjectError {
    /// No such bucket.
    #[error("bucket `{0}` does not exist\nhint: list the buckets, or create it")]
    NoSuchBucket(String),
    /// The bucket still has objects.
    #[error("bucket `{0}` is not empty\nhint: delete its objects first")]
    BucketNotEmpty(String),
    /// No such object.
    #[error("object `{0}` does not exist")]
    NoSuchKey(String),
    /// No such multipart upload.
    #[error("multipart upload `{0}` does not exist; it may have been aborted or completed")]
    NoSuchUpload(String),
    /// A part that was named to complete an upload is not there or has another ETag or checksum.
    #[error("part {0} was not uploaded, or its ETag or checksum is another")]
    InvalidPart(u32),
    /// The parts named to complete an upload are not in ascending order.
    #[error("the parts are not in ascending order")]
    InvalidPartOrder,
    /// A part other than the last is below the minimum.
    #[error("part {number} has {size} bytes, below the minimum of {minimum}")]
    PartTooSmall {
        /// Which part.
        number: u32,
        /// Its size in bytes.
        size: u64,
        /// The least that a part may have, in bytes.
        minimum: u64,
        /// Its ETag.
        etag: String,
    },
    /// `If-Match` or `If-None-Match` does not hold.
    #[error("the condition `{0}` does not hold")]
    PreconditionFailed(&'static str),
    /// The body's MD5 is not the one that the client gave.
    #[error("the body's MD5 is not the given one")]
    Md5Mismatch,
    /// The body's checksum is not the one that the client gave.
    #[error("the body's {algorithm} is `{computed}`, not `{given}`")]
    ChecksumMismatch {
        /// Which checksum.
        algorithm: &'static str,
        /// What the client gave.
        given: String,
        /// What came.
        computed: String,
    },
    /// The client announced a checksum that never came.
    #[error("the announced {0} checksum did not come")]
    ChecksumMissing(&'static str),
    /// The body is longer than allowed.
    #[error("the body has more than {0} bytes")]
    TooLarge(u64),
    /// The body's stream failed: nothing was stored.
    #[error("the body could not be read: {0}")]
    Body(BodyError),
    /// The disk is full.
    #[error(
        "no space left on the disk for `{path}`; nothing was stored, nothing acknowledged is lost\nhint: free some space and repeat the request",
        path = path.display()
    )]
    Full {
        /// The file that was being written.
        path: PathBuf,
    },
    /// A file could not be read or written.
    #[error("object file `{path}`: {source}", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's words.
        source: std::io::Error,
    },
    /// The state database failed.
    #[error(transparent)]
    State(#[from] StateError),
    /// A statement failed.
    #[error("state database: {0}")]
    Row(rusqlite::Error),
    /// A row that this version cannot read.
    #[error("state database: the row of `{0}` cannot be read: {1}")]
    Malformed(String, String),
    /// A background task was cancelled (the server stops).
    #[error("the object store is stopping\nhint: repeat the request")]
    Stopping,
}

impl From<rusqlite::Error> for ObjectError {
    fn from(error: rusqlite::Error) -> Self {
        ObjectError::Row(error)
    }
}

impl From<tokio::task::JoinError> for ObjectError {
    fn from(_: tokio::task::JoinError) -> Self {
        ObjectError::Stopping
    }
}

impl ObjectError {
    pub(crate) fn io(path: &std::path::Path, source: std::io::Error) -> Self {
        match source.kind() {
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => {
                ObjectError::Full { path: path.to_owned() }
            }
            _ => ObjectError::Io { path: path.to_owned(), source },
        }
    }

    /// Whether the disk was full.
    pub fn is_full(&self) -> bool {
        match self {
            ObjectError::Full { .. } | ObjectError::State(StateError::Full { .. }) => true,
            ObjectError::Row(e) => e.sqlite_error_code() == Some(rusqlite::ErrorCode::DiskFull),
            _ => false,
        }
    }
}

impl ErrorCoded for ObjectError {
    fn code(&self) -> ErrorCode {
        match self {
            _ if self.is_full() => ErrorCode::Unavailable,
            ObjectError::NoSuchBucket(_)
            | ObjectError::NoSuchKey(_)
            | ObjectError::NoSuchUpload(_) => ErrorCode::NotFound,
            ObjectError::BucketNotEmpty(_) | ObjectError::PreconditionFailed(_) => {
                ErrorCode::Conflict
            }
            ObjectError::TooLarge(_) => ErrorCode::PayloadTooLarge,
            ObjectError::State(e) => e.code(),
            ObjectError::Stopping => ErrorCode::Unavailable,
            ObjectError::Io { .. } | ObjectError::Row(_) | ObjectError::Malformed(..) => {
                ErrorCode::Internal
            }
            _ => ErrorCode::InvalidInput,
        }
    }
}

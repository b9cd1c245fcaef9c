//! Objects: named, immutable sequences of bytes in buckets, with metadata, as S3 has them. The trait
//! [`ObjectStore`] is what the S3 front and the jobs need; [`FileStore`] keeps bytes as files and
//! everything else in the state database; [`testing::MemoryStore`] is the model that tests compare with.
//!
//! What was acknowledged survives `kill -9` and a power cut; nothing half-written is ever seen.

mod conform;
mod digest;
mod error;
mod files;
mod list;
mod materialize;
mod memory;
mod multipart;
mod reader;
mod rows;
mod store;
mod types;

use async_trait::async_trait;

pub use error::{BodyError, ObjectError};
pub use materialize::{Materialized, Placement, Refused, path_below};
pub use multipart::{MIN_PART, WantedPart};
pub use reader::OpenObject;
pub use rows::MIGRATIONS;
pub use store::FileStore;
pub use types::{
    Body, BucketInfo, Checksum, ChecksumAlgorithm, ChecksumType, Condition, CopyOptions, Expected,
    ListOptions, Listing, Metadata, NewUpload, ObjectInfo, PartInfo, PartOptions, PutOptions, Tags,
    UploadInfo, body_of,
};

/// What tests of this and other crates use: the in-memory store and the conformance suite.
pub mod testing {
    pub use super::conform::run as conformance;
    pub use super::memory::MemoryStore;
}

/// A store of objects. Every method that changes something returns when the change is on disk.
///
/// Times (`now`) are milliseconds since 1970 (UTC) and come from the caller.
#[async_trait]
pub trait ObjectStore: Send + Sync + std::fmt::Debug + 'static {
    /// Makes a bucket; `false` when it was there before (nothing is changed then).
    ///
    /// # Errors
    /// When the state database cannot be written.
    async fn create_bucket(
        &self,
        bucket: &str,
        region: &str,
        now: i64,
    ) -> Result<bool, ObjectError>;

    /// What is known of a bucket.
    ///
    /// # Errors
    /// [`ObjectError::NoSuchBucket`].
    async fn bucket(&self, bucket: &str) -> Result<BucketInfo, ObjectError>;

    /// All buckets, by name.
    ///
    /// # Errors
    /// When the state database cannot be read.
    async fn buckets(&self) -> Result<Vec<BucketInfo>, ObjectError>;

    /// Removes an empty bucket, with the uploads that were not completed.
    ///
    /// # Errors
    /// [`ObjectError::NoSuchBucket`], [`ObjectError::BucketNotEmpty`].
    async fn delete_bucket(&self, bucket: &str) -> Result<(), ObjectError>;

    /// Replaces a bucket's tags.
    ///
    /// # Errors
    /// [`ObjectError::NoSuchBucket`].
    async fn set_bucket_tags(&self, bucket: &str, tags: Tags) -> Result<(), ObjectError>;

    /// Stores an object, replacing the one of that key.
    ///
    /// # Errors
    /// When the body ends early or does not match the digests given, when a condition does not hold,
    /// when the disk is full: then nothing has changed.
    async fn put(
        &self,
        bucket: &str,
        key: &str,
        body: Body,
        options: PutOptions,
    ) -> Result<ObjectInfo, ObjectError>;

    /// What is known of an object.
    ///
    /// # Errors
    /// [`ObjectError::NoSuchBucket`], [`ObjectError::NoSuchKey`].
    async fn info(&self, bucket: &str, key: &str) -> Result<ObjectInfo, ObjectError>;

    /// Opens an object for reading. What was opened stays readable when the object is replaced or
    /// deleted meanwhile.
    ///
    /// # Errors
    /// [`ObjectError::NoSuchBucket`], [`ObjectError::NoSuchKey`].
    async fn open(&self, bucket: &str, key: &str) -> Result<OpenObject, ObjectError>;

    /// Copies an object within the store; `from` and `to` are (bucket, key).
    ///
    /// # Errors
    /// As [`ObjectStore::open`] and [`ObjectStore::put`].
    async fn copy(
        &self,
        from: (&str, &str),
        to: (&str, &str),
        options: CopyOptions,
    ) -> Result<ObjectInfo, ObjectError>;

    /// Deletes an object; `false` when there was none. `if_match` is the ETag it must have.
    ///
    /// # Errors
    /// [`ObjectError::NoSuchBucket`], [`ObjectError::PreconditionFailed`].
    async fn delete(
        &self,
        bucket: &str,
        key: &str,
        if_match: Option<String>,
    ) -> Result<bool, ObjectError>;

    /// Deletes many objects in one step.
    ///
    /// # Errors
    /// [`ObjectError::NoSuchBucket`].
    async fn delete_all(&self, bucket: &str, keys: Vec<String>) -> Result<(), ObjectError>;

    /// Replaces an object's tags.
    ///
    /// # Errors
    /// [`ObjectError::NoSuchBucket`], [`ObjectError::NoSuchKey`].
    async fn set_tags(&self, bucket: &str, key: &str, tags: Tags) -> Result<(), ObjectError>;

    /// Objects and common prefixes in the order of the keys' bytes.
    ///
    /// # Errors
    /// [`ObjectError::NoSuchBucket`].
    async fn list(&self, bucket: &str, options: ListOptions) -> Result<Listing, ObjectError>;

    /// Begins a multipart upload and answers its id.
    ///
    /// # Errors
    /// [`ObjectError::NoSuchBucket`].
    async fn create_upload(
        &self,
        bucket: &str,
        key: &str,
        upload: NewUpload,
    ) -> Result<String, ObjectError>;

    /// An upload in progress.
    ///
    /// # Errors
    /// [`ObjectError::NoSuchUpload`].
    async fn upload(&self, bucket: &str, key: &str, id: &str) -> Result<UploadInfo, ObjectError>;

    /// Stores a part (1 to 10,000), replacing the one of that number.
    ///
    /// # Errors
    /// As [`ObjectStore::put`], and [`ObjectError::NoSuchUpload`].
    async fn put_part(
        &self,
        upload: (&str, &str, &str),
        number: u32,
        body: Body,
        options: PartOptions,
    ) -> Result<PartInfo, ObjectError>;

    /// The parts of an upload with numbers above `after`, at most `max`, and whether there are more.
    ///
    /// # Errors
    /// [`ObjectError::NoSuchUpload`].
    async fn parts(
        &self,
        upload: (&str, &str, &str),
        after: u32,
        max: usize,
    ) -> Result<(Vec<PartInfo>, bool), ObjectError>;

    /// Uploads in progress, ordered by key and age, after (key, id), at most `max`, and whether there
    /// are more.
    ///
    /// # Errors
    /// [`ObjectError::NoSuchBucket`].
    async fn uploads(
        &self,
        bucket: &str,
        prefix: &str,
        after: (&str, &str),
        max: usize,
    ) -> Result<(Vec<UploadInfo>, bool), ObjectError>;

    /// Makes the object of an upload's parts.
    ///
    /// # Errors
    /// [`ObjectError::InvalidPart`], [`ObjectError::InvalidPartOrder`],
    /// [`ObjectError::PartTooSmall`], [`ObjectError::ChecksumMismatch`],
    /// [`ObjectError::PreconditionFailed`]; the upload stays as it was.
    async fn complete_upload(
        &self,
        upload: (&str, &str, &str),
        parts: Vec<WantedPart>,
        expected: Option<String>,
        condition: Condition,
        now: i64,
    ) -> Result<ObjectInfo, ObjectError>;

    /// Gives an upload up and removes its parts.
    ///
    /// # Errors
    /// [`ObjectError::NoSuchUpload`].
    async fn abort_upload(&self, bucket: &str, key: &str, id: &str) -> Result<(), ObjectError>;
}

#[cfg(test)]
mod tests;

//! The file-backed store: bytes in files, everything else in the state database. A write is: file
//! flushed and named, then the row committed, then the old version's files removed. A crash between
//! those leaves at most files without rows, which the sweep at the next start removes.

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use rusqlite::Connection;

use super::digest::{Digested, hex};
use super::error::ObjectError;
use super::files::{FileId, Files, NewFile};
use super::multipart::{WantedPart, algorithm_of, assemble};
use super::reader::OpenObject;
use super::rows::{self, Segment};
use super::types::{
    Body, BucketInfo, Checksum, ChecksumAlgorithm, ChecksumType, Condition, CopyOptions,
    ListOptions, Listing, NewUpload, ObjectInfo, PartInfo, PartOptions, PutOptions, Tags,
    UploadInfo,
};
use super::{ObjectStore, list};
use crate::state::Database;

/// Objects in a folder and the state database; cheap to clone.
#[derive(Debug, Clone)]
pub struct FileStore {
    pub(super) files: Arc<Files>,
    pub(super) database: Database,
}

impl FileStore {
    /// Opens the store in `root` (`<data-dir>/objects`); the database must have [`super::MIGRATIONS`].
    /// Leftovers of a crash are removed: temporary files now, files without a row by a thread in the
    /// background.
    ///
    /// # Errors
    /// When the folder cannot be made or read.
    pub fn open(root: &Path, database: Database) -> Result<Self, ObjectError> {
        let store = FileStore { files: Arc::new(Files::open(root)?), database };
        let sweeping = store.clone();
        let started = std::thread::Builder::new().name("object-sweep".to_owned()).spawn(
            move || match sweeping.sweep() {
                Ok(0) => {}
                Ok(removed) => tracing::info!("removed {removed} object files without a row"),
                Err(e) => tracing::warn!("object files were not swept: {e}"),
            },
        );
        started.map_err(|e| ObjectError::io(root, e))?;
        Ok(store)
    }

    /// Removes files that no row names; answers how many.
    pub(super) fn sweep(&self) -> Result<usize, ObjectError> {
        // INVARIANT: files are listed before rows are read. A file of a write in progress is either
        // still marked as pending when it is listed, or its row is committed and will be read.
        let unused = self.files.unused()?;
        let named = self.database.read(rows::named_files)??;
        let garbage: Vec<FileId> = unused.into_iter().filter(|id| !named.contains(id)).collect();
        self.files.remove(&garbage);
        Ok(garbage.len())
    }

    async fn read<T, F>(&self, work: F) -> Result<T, ObjectError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, ObjectError> + Send + 'static,
    {
        let database = self.database.clone();
        tokio::task::spawn_blocking(move || database.read(work)?).await?
    }

    /// Runs `work` in the writer's transaction, then removes the files that it answers beside its
    /// value. Goes on when the caller has gone.
    async fn write<T, F>(&self, new: Option<NewFile>, work: F) -> Result<T, ObjectError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<(T, Vec<FileId>), ObjectError> + Send + 'static,
    {
        let (files, database) = (Arc::clone(&self.files), self.database.clone());
        let written = tokio::spawn(async move {
            let mut new = new;
            let outcome = database.write(work).await;
            if !matches!(outcome, Ok(Err(_)))
                && let Some(new) = &mut new
            {
                // Committed, or nobody knows: then the next start's sweep decides.
                new.keep();
            }
            match outcome {
                Ok(Ok((value, old))) if !old.is_empty() => {
                    tokio::task::spawn_blocking(move || files.remove(&old)).await?;
                    Ok(value)
                }
                Ok(Ok((value, _))) => Ok(value),
                Ok(Err(e)) => {
                    tokio::task::spawn_blocking(move || drop(new)).await?;
                    Err(e)
                }
                Err(e) => Err(e.into()),
            }
        });
        written.await?
    }

    async fn commit(
        &self,
        bucket: &str,
        info: ObjectInfo,
        new: NewFile,
        condition: Condition,
    ) -> Result<ObjectInfo, ObjectError> {
        let bucket = bucket.to_owned();
        let segments = vec![Segment(new.id.clone(), new.size)];
        self.write(Some(new), move |db| {
            let old = rows::replace(db, &bucket, &info, &segments, &condition)?;
            Ok((info, old))
        })
        .await
    }

    /// Opens on the calling thread.
    pub(super) fn open_blocking(&self, bucket: &str, key: &str) -> Result<OpenObject, ObjectError> {
        // An object that is replaced between reading its row and opening its file is looked up again.
        let mut attempt = 0;
        loop {
            attempt += 1;
            let (info, segments) = self.database.read(|db| rows::object(db, bucket, key))??;
            if let [Segment(id, _)] = segments.as_slice() {
                let path = self.files.path(id);
                match std::fs::File::open(&path) {
                    Ok(file) => return Ok(OpenObject::file(info, file)),
                    Err(e) if attempt >= 100 => return Err(ObjectError::io(&path, e)),
                    Err(e) if e.kind() == std::io::ErrorKind::NotFound => continue,
                    Err(e) => return Err(ObjectError::io(&path, e)),
                }
            }
            let pin = self.files.pin(segments.iter().map(|s| s.0.clone()).collect());
            let (_, again) = self.database.read(|db| rows::object(db, bucket, key))??;
            if again == segments || attempt >= 100 {
                return Ok(OpenObject::parts(info, Arc::clone(&self.files), segments, pin));
            }
        }
    }
}

fn whole(digested: &Digested) -> Option<Checksum> {
    Some(Checksum {
        algorithm: digested.algorithm,
        value: digested.checksum.clone(),
        over: ChecksumType::FullObject,
    })
}

#[async_trait]
impl ObjectStore for FileStore {
    async fn create_bucket(
        &self,
        bucket: &str,
        region: &str,
        now: i64,
    ) -> Result<bool, ObjectError> {
        let (bucket, region) = (bucket.to_owned(), region.to_owned());
        let made = move |db: &Connection| {
            Ok((rows::create_bucket(db, &bucket, &region, now)?, Vec::new()))
        };
        self.write(None, made).await
    }

    async fn bucket(&self, bucket: &str) -> Result<BucketInfo, ObjectError> {
        let bucket = bucket.to_owned();
        self.read(move |db| rows::bucket(db, &bucket)).await
    }

    async fn buckets(&self) -> Result<Vec<BucketInfo>, ObjectError> {
        self.read(rows::buckets).await
    }

    async fn delete_bucket(&self, bucket: &str) -> Result<(), ObjectError> {
        let bucket = bucket.to_owned();
        self.write(None, move |db| Ok(((), rows::delete_bucket(db, &bucket)?))).await
    }

    async fn set_bucket_tags(&self, bucket: &str, tags: Tags) -> Result<(), ObjectError> {
        let bucket = bucket.to_owned();
        let set = move |db: &Connection| {
            rows::set_bucket_tags(db, &bucket, &tags)?;
            Ok(((), Vec::new()))
        };
        self.write(None, set).await
    }

    async fn put(
        &self,
        bucket: &str,
        key: &str,
        body: Body,
        options: PutOptions,
    ) -> Result<ObjectInfo, ObjectError> {
        // Asked again in the transaction; asking now spares the upload of what will be refused.
        let (name, at, condition) = (bucket.to_owned(), key.to_owned(), options.condition.clone());
        self.read(move |db| {
            rows::need_bucket(db, &name)?;
            if condition == Condition::default() {
                return Ok(());
            }
            let etag = rows::find(db, &name, &at)?.map(|(info, _)| info.etag);
            rows::check(&condition, &at, etag.as_deref())
        })
        .await?;
        let now = options.part.now;
        let algorithm = options.part.algorithm.unwrap_or(ChecksumAlgorithm::Crc64Nvme);
        let (new, digested) = self.files.ingest(body, options.part, algorithm).await?;
        let info = ObjectInfo {
            key: key.to_owned(),
            size: digested.size,
            etag: hex(&digested.md5),
            modified: now,
            metadata: options.metadata,
            tags: options.tags,
            checksum: whole(&digested),
            parts: Vec::new(),
        };
        self.commit(bucket, info, new, options.condition).await
    }

    async fn info(&self, bucket: &str, key: &str) -> Result<ObjectInfo, ObjectError> {
        let (bucket, key) = (bucket.to_owned(), key.to_owned());
        self.read(move |db| Ok(rows::object(db, &bucket, &key)?.0)).await
    }

    async fn open(&self, bucket: &str, key: &str) -> Result<OpenObject, ObjectError> {
        let (store, bucket, key) = (self.clone(), bucket.to_owned(), key.to_owned());
        tokio::task::spawn_blocking(move || store.open_blocking(&bucket, &key)).await?
    }

    async fn copy(
        &self,
        from: (&str, &str),
        to: (&str, &str),
        options: CopyOptions,
    ) -> Result<ObjectInfo, ObjectError> {
        let (source_bucket, source_key) = (from.0.to_owned(), from.1.to_owned());
        let (source, segments) =
            self.read(move |db| rows::object(db, &source_bucket, &source_key)).await?;
        if options.source_etag.as_ref().is_some_and(|etag| *etag != source.etag) {
            return Err(ObjectError::PreconditionFailed("x-amz-copy-source-If-Match"));
        }
        let stored = source.checksum.as_ref().map(|c| c.algorithm);
        let algorithm = options.algorithm.or(stored).unwrap_or(ChecksumAlgorithm::Crc64Nvme);
        if let [Segment(id, size)] = segments.as_slice()
            && source.parts.is_empty()
            && stored == Some(algorithm)
        {
            let (files, id, size) = (Arc::clone(&self.files), id.clone(), *size);
            let linked = tokio::task::spawn_blocking(move || files.link(&id, size)).await?;
            // Where links are not possible, or the source went meanwhile, the bytes are copied.
            if let Ok(new) = linked {
                let info = ObjectInfo {
                    key: to.1.to_owned(),
                    modified: options.now,
                    metadata: options.metadata.unwrap_or(source.metadata),
                    tags: options.tags.unwrap_or(source.tags),
                    ..source
                };
                return self.commit(to.0, info, new, options.condition).await;
            }
        }
        let open = self.open(from.0, from.1).await?;
        if options.source_etag.as_ref().is_some_and(|etag| *etag != open.info.etag) {
            return Err(ObjectError::PreconditionFailed("x-amz-copy-source-If-Match"));
        }
        let put = PutOptions {
            part: PartOptions {
                now: options.now,
                algorithm: Some(algorithm),
                ..PartOptions::default()
            },
            metadata: options.metadata.unwrap_or_else(|| open.info.metadata.clone()),
            tags: options.tags.unwrap_or_else(|| open.info.tags.clone()),
            condition: options.condition,
        };
        self.put(to.0, to.1, open.all(), put).await
    }

    async fn delete(
        &self,
        bucket: &str,
        key: &str,
        if_match: Option<String>,
    ) -> Result<bool, ObjectError> {
        let (bucket, key) = (bucket.to_owned(), key.to_owned());
        let delete = move |db: &Connection| {
            rows::need_bucket(db, &bucket)?;
            let files = rows::delete(db, &bucket, &key, if_match.as_deref())?;
            Ok((files.is_some(), files.unwrap_or_default()))
        };
        self.write(None, delete).await
    }

    async fn delete_all(&self, bucket: &str, keys: Vec<String>) -> Result<(), ObjectError> {
        let bucket = bucket.to_owned();
        let delete = move |db: &Connection| {
            rows::need_bucket(db, &bucket)?;
            let mut files = Vec::new();
            for key in &keys {
                files.extend(rows::delete(db, &bucket, key, None)?.unwrap_or_default());
            }
            Ok(((), files))
        };
        self.write(None, delete).await
    }

    async fn set_tags(&self, bucket: &str, key: &str, tags: Tags) -> Result<(), ObjectError> {
        let (bucket, key) = (bucket.to_owned(), key.to_owned());
        let set = move |db: &Connection| {
            rows::set_tags(db, &bucket, &key, &tags)?;
            Ok(((), Vec::new()))
        };
        self.write(None, set).await
    }

    async fn list(&self, bucket: &str, options: ListOptions) -> Result<Listing, ObjectError> {
        let bucket = bucket.to_owned();
        self.read(move |db| list::list(db, &bucket, &options)).await
    }

    async fn create_upload(
        &self,
        bucket: &str,
        key: &str,
        upload: NewUpload,
    ) -> Result<String, ObjectError> {
        let (bucket, key) = (bucket.to_owned(), key.to_owned());
        // The time in front makes ids sort by age.
        let id = format!("{:012x}{}", upload.now.max(0), uuid::Uuid::new_v4().simple());
        let create = move |db: &Connection| {
            rows::create_upload(db, &bucket, &key, &id, &upload)?;
            Ok((id, Vec::new()))
        };
        self.write(None, create).await
    }

    async fn upload(&self, bucket: &str, key: &str, id: &str) -> Result<UploadInfo, ObjectError> {
        let (bucket, key, id) = (bucket.to_owned(), key.to_owned(), id.to_owned());
        self.read(move |db| rows::upload(db, &bucket, &key, &id)).await
    }

    async fn put_part(
        &self,
        upload: (&str, &str, &str),
        number: u32,
        body: Body,
        options: PartOptions,
    ) -> Result<PartInfo, ObjectError> {
        let (bucket, key, id) = upload;
        let begun = self.upload(bucket, key, id).await?.upload;
        let now = options.now;
        let algorithm = match begun.algorithm {
            Some(algorithm) => algorithm,
            None if options.expected.is_none() => algorithm_of(&begun),
            None => options.algorithm.unwrap_or_else(|| algorithm_of(&begun)),
        };
        let (new, digested) = self.files.ingest(body, options, algorithm).await?;
        let part = PartInfo {
            number,
            size: digested.size,
            etag: hex(&digested.md5),
            checksum: (algorithm == algorithm_of(&begun)).then_some(digested.checksum),
            modified: now,
        };
        let (bucket, key, id) = (bucket.to_owned(), key.to_owned(), id.to_owned());
        let file = new.id.clone();
        let put = move |db: &Connection| {
            rows::upload(db, &bucket, &key, &id)?;
            let old = rows::put_part(db, &id, &part, &file)?;
            Ok((part, old.into_iter().collect()))
        };
        self.write(Some(new), put).await
    }

    async fn parts(
        &self,
        upload: (&str, &str, &str),
        after: u32,
        max: usize,
    ) -> Result<(Vec<PartInfo>, bool), ObjectError> {
        let (bucket, key, id) = (upload.0.to_owned(), upload.1.to_owned(), upload.2.to_owned());
        self.read(move |db| {
            rows::upload(db, &bucket, &key, &id)?;
            let mut parts: Vec<PartInfo> = rows::parts(db, &id)?
                .into_values()
                .map(|(part, _)| part)
                .filter(|part| part.number > after)
                .collect();
            let more = parts.len() > max;
            parts.truncate(max);
            Ok((parts, more))
        })
        .await
    }

    async fn uploads(
        &self,
        bucket: &str,
        prefix: &str,
        after: (&str, &str),
        max: usize,
    ) -> Result<(Vec<UploadInfo>, bool), ObjectError> {
        let (bucket, prefix) = (bucket.to_owned(), prefix.to_owned());
        let after = (after.0.to_owned(), after.1.to_owned());
        self.read(move |db| rows::uploads(db, &bucket, &prefix, (&after.0, &after.1), max)).await
    }

    async fn complete_upload(
        &self,
        upload: (&str, &str, &str),
        parts: Vec<WantedPart>,
        expected: Option<String>,
        condition: Condition,
        now: i64,
    ) -> Result<ObjectInfo, ObjectError> {
        let (bucket, key, id) = (upload.0.to_owned(), upload.1.to_owned(), upload.2.to_owned());
        let complete = move |db: &Connection| {
            let begun = rows::upload(db, &bucket, &key, &id)?.upload;
            let (uploaded, files): (std::collections::BTreeMap<_, _>, Vec<_>) =
                rows::parts(db, &id)?
                    .into_iter()
                    .map(|(number, (part, file))| ((number, part), (number, file)))
                    .unzip();
            let files: std::collections::BTreeMap<u32, FileId> = files.into_iter().collect();
            let made = assemble(&begun, &uploaded, &parts, expected.as_deref())?;
            let segments: Vec<Segment> = made
                .parts
                .iter()
                .filter(|part| part.size > 0)
                .filter_map(|p| files.get(&p.number).map(|f| Segment(f.clone(), p.size)))
                .collect();
            let info = ObjectInfo {
                key,
                size: made.size,
                etag: made.etag,
                modified: now,
                metadata: begun.metadata,
                tags: begun.tags,
                checksum: made.checksum,
                parts: made.parts,
            };
            let mut old = rows::replace(db, &bucket, &info, &segments, &condition)?;
            let kept: std::collections::HashSet<&FileId> = segments.iter().map(|s| &s.0).collect();
            old.extend(rows::drop_upload(db, &id)?.into_iter().filter(|f| !kept.contains(f)));
            Ok((info, old))
        };
        self.write(None, complete).await
    }

    async fn abort_upload(&self, bucket: &str, key: &str, id: &str) -> Result<(), ObjectError> {
        let (bucket, key, id) = (bucket.to_owned(), key.to_owned(), id.to_owned());
        let abort = move |db: &Connection| {
            rows::upload(db, &bucket, &key, &id)?;
            Ok(((), rows::drop_upload(db, &id)?))
        };
        self.write(None, abort).await
    }
}

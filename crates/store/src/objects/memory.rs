//! The object store in memory: for tests, and the plain model that the file-backed one is compared with.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt as _;

use super::ObjectStore;
use super::digest::{Digested, Digests, hex};
use super::error::ObjectError;
use super::files::check;
use super::list::common;
use super::multipart::{WantedPart, algorithm_of, assemble};
use super::reader::OpenObject;
use super::types::{
    Body, BucketInfo, Checksum, ChecksumAlgorithm, ChecksumType, Condition, CopyOptions,
    ListOptions, Listing, NewUpload, ObjectInfo, PartInfo, PartOptions, PutOptions, Tags,
    UploadInfo,
};

#[derive(Debug)]
struct Bucket {
    info: BucketInfo,
    objects: BTreeMap<String, (ObjectInfo, Bytes)>,
    uploads: BTreeMap<String, Upload>,
}

#[derive(Debug)]
struct Upload {
    info: UploadInfo,
    parts: BTreeMap<u32, (PartInfo, Bytes)>,
}

/// An [`ObjectStore`] that forgets.
#[derive(Debug, Default)]
pub struct MemoryStore {
    buckets: Mutex<BTreeMap<String, Bucket>>,
}

type Buckets<'a> = MutexGuard<'a, BTreeMap<String, Bucket>>;

impl MemoryStore {
    fn all(&self) -> Buckets<'_> {
        self.buckets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn of<'a>(all: &'a mut Buckets<'_>, bucket: &str) -> Result<&'a mut Bucket, ObjectError> {
    all.get_mut(bucket).ok_or_else(|| ObjectError::NoSuchBucket(bucket.to_owned()))
}

fn object<'a>(
    all: &'a mut Buckets<'_>,
    bucket: &str,
    key: &str,
) -> Result<&'a mut (ObjectInfo, Bytes), ObjectError> {
    of(all, bucket)?.objects.get_mut(key).ok_or_else(|| ObjectError::NoSuchKey(key.to_owned()))
}

fn upload_of<'a>(
    all: &'a mut Buckets<'_>,
    (bucket, key, id): (&str, &str, &str),
) -> Result<&'a mut Upload, ObjectError> {
    of(all, bucket)?
        .uploads
        .get_mut(id)
        .filter(|u| u.info.key == key)
        .ok_or_else(|| ObjectError::NoSuchUpload(id.to_owned()))
}

async fn take_in(
    mut body: Body,
    options: PartOptions,
    algorithm: ChecksumAlgorithm,
) -> Result<(Bytes, Digested), ObjectError> {
    let mut bytes = Vec::new();
    while let Some(piece) = body.next().await {
        bytes.extend_from_slice(&piece.map_err(ObjectError::Body)?);
        if options.limit > 0 && bytes.len() as u64 > options.limit {
            return Err(ObjectError::TooLarge(options.limit));
        }
    }
    let mut digests = Digests::new(algorithm);
    digests.update(&bytes);
    Ok((bytes.into(), check(digests.finish(), options.md5, options.expected)?))
}

fn holds(condition: &Condition, key: &str, etag: Option<&str>) -> Result<(), ObjectError> {
    match (condition.if_none_match, etag, condition.if_match.as_deref()) {
        (true, Some(_), _) => Err(ObjectError::PreconditionFailed("If-None-Match")),
        (_, None, Some(_)) => Err(ObjectError::NoSuchKey(key.to_owned())),
        (_, Some(etag), Some(wanted)) if wanted != "*" && wanted != etag => {
            Err(ObjectError::PreconditionFailed("If-Match"))
        }
        _ => Ok(()),
    }
}

fn store(
    bucket: &mut Bucket,
    info: ObjectInfo,
    bytes: Bytes,
    condition: &Condition,
) -> Result<ObjectInfo, ObjectError> {
    let etag = bucket.objects.get(&info.key).map(|(info, _)| info.etag.as_str());
    holds(condition, &info.key, etag)?;
    bucket.objects.insert(info.key.clone(), (info.clone(), bytes));
    Ok(info)
}

#[async_trait]
impl ObjectStore for MemoryStore {
    async fn create_bucket(
        &self,
        bucket: &str,
        region: &str,
        now: i64,
    ) -> Result<bool, ObjectError> {
        let mut all = self.all();
        if all.contains_key(bucket) {
            return Ok(false);
        }
        let info = BucketInfo {
            name: bucket.to_owned(),
            region: region.to_owned(),
            created: now,
            tags: Vec::new(),
        };
        let made = Bucket { info, objects: BTreeMap::new(), uploads: BTreeMap::new() };
        all.insert(bucket.to_owned(), made);
        Ok(true)
    }

    async fn bucket(&self, bucket: &str) -> Result<BucketInfo, ObjectError> {
        Ok(of(&mut self.all(), bucket)?.info.clone())
    }

    async fn buckets(&self) -> Result<Vec<BucketInfo>, ObjectError> {
        Ok(self.all().values().map(|b| b.info.clone()).collect())
    }

    async fn delete_bucket(&self, bucket: &str) -> Result<(), ObjectError> {
        let mut all = self.all();
        if !of(&mut all, bucket)?.objects.is_empty() {
            return Err(ObjectError::BucketNotEmpty(bucket.to_owned()));
        }
        all.remove(bucket);
        Ok(())
    }

    async fn set_bucket_tags(&self, bucket: &str, tags: Tags) -> Result<(), ObjectError> {
        of(&mut self.all(), bucket)?.info.tags = tags;
        Ok(())
    }

    async fn put(
        &self,
        bucket: &str,
        key: &str,
        body: Body,
        options: PutOptions,
    ) -> Result<ObjectInfo, ObjectError> {
        of(&mut self.all(), bucket)?;
        let now = options.part.now;
        let algorithm = options.part.algorithm.unwrap_or(ChecksumAlgorithm::Crc64Nvme);
        let (bytes, digested) = take_in(body, options.part, algorithm).await?;
        let info = ObjectInfo {
            key: key.to_owned(),
            size: digested.size,
            etag: hex(&digested.md5),
            modified: now,
            metadata: options.metadata,
            tags: options.tags,
            checksum: Some(Checksum {
                algorithm,
                value: digested.checksum,
                over: ChecksumType::FullObject,
            }),
            parts: Vec::new(),
        };
        store(of(&mut self.all(), bucket)?, info, bytes, &options.condition)
    }

    async fn info(&self, bucket: &str, key: &str) -> Result<ObjectInfo, ObjectError> {
        Ok(object(&mut self.all(), bucket, key)?.0.clone())
    }

    async fn open(&self, bucket: &str, key: &str) -> Result<OpenObject, ObjectError> {
        let (info, bytes) = object(&mut self.all(), bucket, key)?.clone();
        Ok(OpenObject::memory(info, bytes))
    }

    async fn copy(
        &self,
        from: (&str, &str),
        to: (&str, &str),
        options: CopyOptions,
    ) -> Result<ObjectInfo, ObjectError> {
        let open = self.open(from.0, from.1).await?;
        if options.source_etag.as_ref().is_some_and(|etag| *etag != open.info.etag) {
            return Err(ObjectError::PreconditionFailed("x-amz-copy-source-If-Match"));
        }
        let stored = open.info.checksum.as_ref().map(|c| c.algorithm);
        let put = PutOptions {
            part: PartOptions {
                now: options.now,
                algorithm: options.algorithm.or(stored),
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
        let mut all = self.all();
        let bucket = of(&mut all, bucket)?;
        let etag = bucket.objects.get(key).map(|(info, _)| info.etag.as_str());
        holds(&Condition { if_match, if_none_match: false }, key, etag)?;
        Ok(bucket.objects.remove(key).is_some())
    }

    async fn delete_all(&self, bucket: &str, keys: Vec<String>) -> Result<(), ObjectError> {
        let mut all = self.all();
        let bucket = of(&mut all, bucket)?;
        bucket.objects.retain(|key, _| !keys.contains(key));
        Ok(())
    }

    async fn set_tags(&self, bucket: &str, key: &str, tags: Tags) -> Result<(), ObjectError> {
        object(&mut self.all(), bucket, key)?.0.tags = tags;
        Ok(())
    }

    async fn list(&self, bucket: &str, options: ListOptions) -> Result<Listing, ObjectError> {
        let mut all = self.all();
        let bucket = of(&mut all, bucket)?;
        let mut listing = Listing::default();
        let mut last: Option<String> = None;
        let after = options.after.as_deref();
        for (key, (info, _)) in &bucket.objects {
            let prefix = common(key, &options);
            let skipped = !key.starts_with(&options.prefix)
                || after.is_some_and(|after| key.as_str() <= after)
                || (prefix.is_some() && prefix == after)
                || (prefix.is_some() && prefix == listing.prefixes.last().map(String::as_str));
            if skipped || options.max == 0 {
                continue;
            }
            if listing.objects.len() + listing.prefixes.len() == options.max {
                listing.next = last;
                break;
            }
            last = Some(prefix.unwrap_or(key).to_owned());
            match prefix {
                Some(prefix) => listing.prefixes.push(prefix.to_owned()),
                None => {
                    listing.objects.push(ObjectInfo { parts: Vec::new(), ..info.clone() });
                }
            }
        }
        Ok(listing)
    }

    async fn create_upload(
        &self,
        bucket: &str,
        key: &str,
        upload: NewUpload,
    ) -> Result<String, ObjectError> {
        let id = format!("{:012x}{}", upload.now, uuid::Uuid::new_v4().simple());
        let info = UploadInfo { id: id.clone(), key: key.to_owned(), upload };
        let begun = Upload { info, parts: BTreeMap::new() };
        of(&mut self.all(), bucket)?.uploads.insert(id.clone(), begun);
        Ok(id)
    }

    async fn upload(&self, bucket: &str, key: &str, id: &str) -> Result<UploadInfo, ObjectError> {
        Ok(upload_of(&mut self.all(), (bucket, key, id))?.info.clone())
    }

    async fn put_part(
        &self,
        upload: (&str, &str, &str),
        number: u32,
        body: Body,
        options: PartOptions,
    ) -> Result<PartInfo, ObjectError> {
        let begun = self.upload(upload.0, upload.1, upload.2).await?.upload;
        let now = options.now;
        let asked = options.expected.as_ref().and(options.algorithm);
        let usual = algorithm_of(&begun);
        let algorithm = begun.algorithm.or(asked).unwrap_or(usual);
        let (bytes, digested) = take_in(body, options, algorithm).await?;
        let part = PartInfo {
            number,
            size: digested.size,
            etag: hex(&digested.md5),
            checksum: (algorithm == usual).then_some(digested.checksum),
            modified: now,
        };
        upload_of(&mut self.all(), upload)?.parts.insert(number, (part.clone(), bytes));
        Ok(part)
    }

    async fn parts(
        &self,
        upload: (&str, &str, &str),
        after: u32,
        max: usize,
    ) -> Result<(Vec<PartInfo>, bool), ObjectError> {
        let mut all = self.all();
        let parts = upload_of(&mut all, upload)?.parts.range(after.saturating_add(1)..);
        let mut parts: Vec<PartInfo> = parts.map(|(_, (part, _))| part.clone()).collect();
        let more = parts.len() > max;
        parts.truncate(max);
        Ok((parts, more))
    }

    async fn uploads(
        &self,
        bucket: &str,
        prefix: &str,
        after: (&str, &str),
        max: usize,
    ) -> Result<(Vec<UploadInfo>, bool), ObjectError> {
        let mut all = self.all();
        let mut found: Vec<UploadInfo> = of(&mut all, bucket)?
            .uploads
            .values()
            .map(|u| u.info.clone())
            .filter(|u| u.key.starts_with(prefix) && (u.key.as_str(), u.id.as_str()) > after)
            .collect();
        found.sort_by(|a, b| (&a.key, &a.id).cmp(&(&b.key, &b.id)));
        let more = found.len() > max;
        found.truncate(max);
        Ok((found, more))
    }

    async fn complete_upload(
        &self,
        upload: (&str, &str, &str),
        parts: Vec<WantedPart>,
        expected: Option<String>,
        condition: Condition,
        now: i64,
    ) -> Result<ObjectInfo, ObjectError> {
        let mut all = self.all();
        let begun = upload_of(&mut all, upload)?;
        let uploaded = begun.parts.iter().map(|(n, (part, _))| (*n, part.clone())).collect();
        let made = assemble(&begun.info.upload, &uploaded, &parts, expected.as_deref())?;
        let mut bytes = Vec::new();
        for part in &made.parts {
            if let Some((_, piece)) = begun.parts.get(&part.number) {
                bytes.extend_from_slice(piece);
            }
        }
        let new = begun.info.upload.clone();
        let info = ObjectInfo {
            key: upload.1.to_owned(),
            size: made.size,
            etag: made.etag,
            modified: now,
            metadata: new.metadata,
            tags: new.tags,
            checksum: made.checksum,
            parts: made.parts,
        };
        let bucket = of(&mut all, upload.0)?;
        let info = store(bucket, info, bytes.into(), &condition)?;
        bucket.uploads.remove(upload.2);
        Ok(info)
    }

    async fn abort_upload(&self, bucket: &str, key: &str, id: &str) -> Result<(), ObjectError> {
        let mut all = self.all();
        upload_of(&mut all, (bucket, key, id))?;
        of(&mut all, bucket)?.uploads.remove(id);
        Ok(())
    }
}

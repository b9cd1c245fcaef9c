//! Objects: put, get, head, copy, delete, tags, attributes.

use std::ops::Range as Bytes;

use kennel_store::objects::{Condition, CopyOptions, ObjectInfo, PutOptions};
use s3s::dto::*;
use s3s::{S3ErrorCode, S3Request, S3Response, S3Result, s3_error};

use super::access::in_flight;
use super::buckets::no_version;
use super::convert::{
    algorithm, blob, body, checksum_type, condition, digests, etag, length, metadata,
    part_checksum, seconds, set_checksum, tag_set, tags_of, tags_of_header, timestamp,
};
use super::error::{from_store, plain};
use super::ops::Ops;
use crate::authorize::needs;

/// What an uploader may ask that is not built.
pub(super) fn no_customer_key(algorithm: Option<&SSECustomerAlgorithm>) -> S3Result<()> {
    match algorithm {
        None => Ok(()),
        Some(_) => Err(s3_error!(
            NotImplemented,
            "Server-side encryption with customer-provided keys is not implemented"
        )),
    }
}

pub(super) fn write_condition(
    if_match: Option<ETagCondition>,
    if_none_match: Option<ETagCondition>,
) -> S3Result<Condition> {
    match if_none_match {
        Some(ETagCondition::ETag(_)) => Err(s3_error!(
            NotImplemented,
            "A header you provided implies functionality that is not implemented: If-None-Match with an ETag"
        )),
        other => {
            Ok(Condition { if_match: if_match.map(condition), if_none_match: other.is_some() })
        }
    }
}

/// The conditions of a read, in the order of RFC 9110, 13.2.2.
struct ReadConditions {
    if_match: Option<ETagCondition>,
    if_none_match: Option<ETagCondition>,
    if_modified_since: Option<Timestamp>,
    if_unmodified_since: Option<Timestamp>,
}

impl ReadConditions {
    fn check(self, info: &ObjectInfo, unmodified: S3ErrorCode) -> S3Result<()> {
        let same = |given: ETagCondition| {
            let given = condition(given);
            given == "*" || given == info.etag
        };
        let modified = info.modified / 1000;
        let holds = match (self.if_match, self.if_unmodified_since) {
            (Some(given), _) => same(given),
            (None, Some(since)) => modified <= seconds(&since),
            (None, None) => true,
        };
        if !holds {
            return Err(plain(S3ErrorCode::PreconditionFailed));
        }
        let fresh = match (self.if_none_match, self.if_modified_since) {
            (Some(given), _) => !same(given),
            (None, Some(since)) => modified > seconds(&since),
            (None, None) => true,
        };
        if fresh {
            return Ok(());
        }
        let mut error = plain(unmodified);
        if error.code() == &S3ErrorCode::NotModified {
            let mut headers = http::HeaderMap::new();
            if let Ok(tag) = http::HeaderValue::from_str(&format!("\"{}\"", info.etag)) {
                headers.insert(http::header::ETAG, tag);
            }
            error.set_headers(headers);
        }
        Err(error)
    }
}

/// What of the object is asked for; `None` is all of it.
fn part_of(
    info: &ObjectInfo,
    range: Option<Range>,
    part: Option<i32>,
) -> S3Result<Option<Bytes<u64>>> {
    let refused = || {
        let mut error = plain(S3ErrorCode::InvalidRange);
        let mut headers = http::HeaderMap::new();
        if let Ok(size) = http::HeaderValue::from_str(&format!("bytes */{}", info.size)) {
            headers.insert(http::header::CONTENT_RANGE, size);
        }
        error.set_headers(headers);
        error
    };
    match (range, part) {
        (None, None) => Ok(None),
        (Some(_), Some(_)) => Err(s3_error!(
            InvalidRequest,
            "Cannot specify both Range header and partNumber query parameter"
        )),
        (Some(range), None) if info.size > 0 => {
            range.check(info.size).map(Some).map_err(|_| refused())
        }
        (Some(_), None) => Err(refused()),
        (None, Some(1)) if info.parts.is_empty() => Ok(None),
        (None, Some(number)) => {
            let mut start = 0;
            for part in &info.parts {
                if i64::from(part.number) == i64::from(number) {
                    return Ok(Some(start..start + part.size));
                }
                start += part.size;
            }
            let code = S3ErrorCode::Custom("InvalidPartNumber".into());
            let mut error =
                s3s::S3Error::with_message(code, "The requested partnumber is not satisfiable");
            error.set_status_code(http::StatusCode::RANGE_NOT_SATISFIABLE);
            Err(error)
        }
    }
}

/// The fields that GetObject and HeadObject share.
macro_rules! describe {
    ($output:ident, $info:expr, $range:expr, $checksums:expr) => {{
        let info = $info;
        let size = $range.as_ref().map_or(info.size, |r| r.end - r.start);
        let last = |r: &Bytes<u64>| r.end.saturating_sub(1);
        let m = info.metadata;
        let mut output = $output {
            accept_ranges: Some("bytes".to_owned()),
            cache_control: m.cache_control,
            content_disposition: m.content_disposition,
            content_encoding: m.content_encoding,
            content_language: m.content_language,
            content_length: Some(length(size)),
            content_range: $range
                .as_ref()
                .map(|r| format!("bytes {}-{}/{}", r.start, last(r), info.size)),
            content_type: Some(m.content_type.unwrap_or_else(|| "binary/octet-stream".to_owned())),
            e_tag: Some(etag(&info.etag)),
            expires: m.expires.map(timestamp),
            last_modified: Some(timestamp(info.modified)),
            metadata: (!m.user.is_empty()).then(|| m.user.into_iter().collect()),
            parts_count: i32::try_from(info.parts.len()).ok().filter(|n| *n > 0),
            server_side_encryption: Some(ServerSideEncryption::from(
                m.encryption.unwrap_or_else(|| "AES256".to_owned()),
            )),
            ssekms_key_id: m.kms_key,
            storage_class: m.storage_class.map(StorageClass::from),
            website_redirect_location: m.website_redirect,
            ..$output::default()
        };
        // A whole object's checksum on a range would make SDKs fail.
        if $checksums && $range.is_none() {
            set_checksum!(output, &info.checksum);
            output.checksum_type = info.checksum.as_ref().map(|c| checksum_type(c.over));
        }
        output
    }};
}

/// Where a copy comes from.
pub(super) fn copy_source(source: CopySource) -> S3Result<(String, String)> {
    match source {
        CopySource::Bucket { bucket, key, version_id } => {
            no_version(version_id.as_deref())?;
            Ok((bucket.into(), key.into()))
        }
        _ => Err(s3_error!(NotImplemented, "Copies from access points are not implemented")),
    }
}

impl Ops {
    pub(super) async fn put(
        &self,
        req: S3Request<PutObjectInput>,
    ) -> S3Result<S3Response<PutObjectOutput>> {
        let request = in_flight()?;
        let mut input = req.input;
        no_customer_key(input.sse_customer_algorithm.as_ref())?;
        if input.write_offset_bytes.is_some() {
            return Err(s3_error!(NotImplemented, "Appending to objects is not implemented"));
        }
        let options = PutOptions {
            part: digests(&req.headers, req.trailing_headers, request.now.0)?,
            metadata: metadata!(input)?,
            tags: tags_of_header(input.tagging.as_deref())?,
            condition: write_condition(input.if_match, input.if_none_match)?,
        };
        let stored = self.core.store.put(&input.bucket, &input.key, body(input.body), options);
        let info = stored.await.map_err(from_store)?;
        let mut output = PutObjectOutput {
            e_tag: Some(etag(&info.etag)),
            server_side_encryption: Some(ServerSideEncryption::from(
                info.metadata.encryption.unwrap_or_else(|| "AES256".to_owned()),
            )),
            ssekms_key_id: info.metadata.kms_key,
            checksum_type: info.checksum.as_ref().map(|c| checksum_type(c.over)),
            ..PutObjectOutput::default()
        };
        set_checksum!(output, &info.checksum);
        Ok(S3Response::new(output))
    }

    pub(super) async fn get(
        &self,
        req: S3Request<GetObjectInput>,
    ) -> S3Result<S3Response<GetObjectOutput>> {
        let input = req.input;
        no_version(input.version_id.as_deref())?;
        let open = self.core.store.open(&input.bucket, &input.key).await.map_err(from_store)?;
        let conditions = ReadConditions {
            if_match: input.if_match,
            if_none_match: input.if_none_match,
            if_modified_since: input.if_modified_since,
            if_unmodified_since: input.if_unmodified_since,
        };
        conditions.check(&open.info, S3ErrorCode::NotModified)?;
        let range = part_of(&open.info, input.range, input.part_number)?;
        let info = open.info.clone();
        let tags = i32::try_from(info.tags.len()).ok().filter(|n| *n > 0);
        let asked = range.clone().unwrap_or(0..info.size);
        let checksums = input.checksum_mode.is_some_and(|m| m.as_str() == ChecksumMode::ENABLED);
        let mut output = describe!(GetObjectOutput, info, range, checksums);
        output.tag_count = tags;
        output.body = Some(blob(open.stream(asked.clone()), asked.end - asked.start));
        Ok(S3Response::new(output))
    }

    pub(super) async fn head(
        &self,
        req: S3Request<HeadObjectInput>,
    ) -> S3Result<S3Response<HeadObjectOutput>> {
        let input = req.input;
        no_version(input.version_id.as_deref())?;
        let info = self.core.store.info(&input.bucket, &input.key).await.map_err(from_store)?;
        let conditions = ReadConditions {
            if_match: input.if_match,
            if_none_match: input.if_none_match,
            if_modified_since: input.if_modified_since,
            if_unmodified_since: input.if_unmodified_since,
        };
        conditions.check(&info, S3ErrorCode::NotModified)?;
        let range = part_of(&info, input.range, input.part_number)?;
        let checksums = input.checksum_mode.is_some_and(|m| m.as_str() == ChecksumMode::ENABLED);
        Ok(S3Response::new(describe!(HeadObjectOutput, info, range, checksums)))
    }

    /// The source of a copy, allowed and with its conditions checked; answers its ETag.
    pub(super) async fn source(
        &self,
        bucket: &str,
        key: &str,
        (if_match, if_none_match): (Option<ETagCondition>, Option<ETagCondition>),
        (since, unmodified_since): (Option<Timestamp>, Option<Timestamp>),
    ) -> S3Result<ObjectInfo> {
        let request = in_flight()?;
        self.core.allow(&request, needs::object("s3:GetObject", bucket, key))?;
        let info = self.core.store.info(bucket, key).await.map_err(from_store)?;
        let conditions = ReadConditions {
            if_match,
            if_none_match,
            if_modified_since: since,
            if_unmodified_since: unmodified_since,
        };
        conditions.check(&info, S3ErrorCode::PreconditionFailed)?;
        Ok(info)
    }

    pub(super) async fn copy(
        &self,
        req: S3Request<CopyObjectInput>,
    ) -> S3Result<S3Response<CopyObjectOutput>> {
        let request = in_flight()?;
        let mut input = req.input;
        no_customer_key(input.sse_customer_algorithm.as_ref())?;
        let (bucket, key) = copy_source(input.copy_source)?;
        let source = self.source(
            &bucket,
            &key,
            (input.copy_source_if_match, input.copy_source_if_none_match),
            (input.copy_source_if_modified_since, input.copy_source_if_unmodified_since),
        );
        let source = source.await?;
        let given = metadata!(input)?;
        let replaces = |directive: Option<&str>| directive == Some("REPLACE");
        let replace = replaces(input.metadata_directive.as_ref().map(|d| d.as_str()));
        let changes = replace || given.storage_class.is_some() || given.encryption.is_some();
        if (bucket.as_str(), key.as_str()) == (input.bucket.as_str(), input.key.as_str())
            && !changes
        {
            return Err(s3_error!(
                InvalidRequest,
                "This copy request is illegal because it is trying to copy an object to itself without changing the object's metadata, storage class, website redirect location or encryption attributes."
            ));
        }
        let metadata = if replace {
            given
        } else {
            // These are never taken over from the source.
            let mut kept = source.metadata.clone();
            kept.storage_class = given.storage_class;
            kept.encryption = given.encryption;
            kept.kms_key = given.kms_key;
            kept
        };
        let retag = replaces(input.tagging_directive.as_ref().map(|d| d.as_str()));
        let tags = retag.then(|| tags_of_header(input.tagging.as_deref())).transpose()?;
        let options = CopyOptions {
            now: request.now.0,
            metadata: Some(metadata),
            tags,
            algorithm: algorithm(input.checksum_algorithm.as_ref().map(|a| a.as_str()))?,
            source_etag: Some(source.etag),
            condition: Condition::default(),
        };
        let to = (input.bucket.as_str(), input.key.as_str());
        let info = self.core.store.copy((&bucket, &key), to, options).await.map_err(from_store)?;
        let mut result = CopyObjectResult {
            e_tag: Some(etag(&info.etag)),
            last_modified: Some(timestamp(info.modified)),
            checksum_type: info.checksum.as_ref().map(|c| checksum_type(c.over)),
            ..CopyObjectResult::default()
        };
        set_checksum!(result, &info.checksum);
        Ok(S3Response::new(CopyObjectOutput {
            copy_object_result: Some(result),
            server_side_encryption: Some(ServerSideEncryption::from(
                info.metadata.encryption.unwrap_or_else(|| "AES256".to_owned()),
            )),
            ssekms_key_id: info.metadata.kms_key,
            ..CopyObjectOutput::default()
        }))
    }

    pub(super) async fn delete(
        &self,
        input: DeleteObjectInput,
    ) -> S3Result<S3Response<DeleteObjectOutput>> {
        no_version(input.version_id.as_deref())?;
        let if_match = input.if_match.map(condition);
        let deleted = self.core.store.delete(&input.bucket, &input.key, if_match).await;
        deleted.map_err(from_store)?;
        Ok(S3Response::new(DeleteObjectOutput::default()))
    }

    pub(super) async fn delete_many(
        &self,
        input: DeleteObjectsInput,
    ) -> S3Result<S3Response<DeleteObjectsOutput>> {
        let request = in_flight()?;
        if input.delete.objects.is_empty() || input.delete.objects.len() > 1000 {
            return Err(plain(S3ErrorCode::MalformedXML));
        }
        let (mut keys, mut errors) = (Vec::new(), Vec::new());
        let mut refuse = |key: &str, error: s3s::S3Error| {
            errors.push(Error {
                code: Some(error.code().as_str().to_owned()),
                key: Some(key.to_owned()),
                message: error.message().map(str::to_owned),
                version_id: None,
            });
        };
        for object in input.delete.objects {
            let need = needs::object("s3:DeleteObject", &input.bucket, &object.key);
            let allowed = self
                .core
                .allow(&request, need)
                .and_then(|()| no_version(object.version_id.as_deref()));
            match (allowed, object.e_tag) {
                (Err(error), _) => refuse(&object.key, error),
                (Ok(()), None) => keys.push(object.key),
                (Ok(()), Some(tag)) => {
                    let tag = Some(tag.value().to_owned());
                    match self.core.store.delete(&input.bucket, &object.key, tag).await {
                        Ok(_) => keys.push(object.key),
                        Err(e) => refuse(&object.key, from_store(e)),
                    }
                }
            }
        }
        let deleted = self.core.store.delete_all(&input.bucket, keys.clone()).await;
        deleted.map_err(from_store)?;
        let quiet = input.delete.quiet.unwrap_or_default();
        let of = |key| DeletedObject { key: Some(key), ..DeletedObject::default() };
        Ok(S3Response::new(DeleteObjectsOutput {
            deleted: (!quiet).then(|| keys.into_iter().map(of).collect()),
            errors: (!errors.is_empty()).then_some(errors),
            request_charged: None,
        }))
    }

    pub(super) async fn tags(
        &self,
        input: GetObjectTaggingInput,
    ) -> S3Result<S3Response<GetObjectTaggingOutput>> {
        no_version(input.version_id.as_deref())?;
        let info = self.core.store.info(&input.bucket, &input.key).await.map_err(from_store)?;
        Ok(S3Response::new(GetObjectTaggingOutput {
            tag_set: tag_set(info.tags),
            version_id: None,
        }))
    }

    pub(super) async fn set_tags(
        &self,
        bucket: &str,
        key: &str,
        version: Option<&str>,
        tags: Vec<Tag>,
    ) -> S3Result<()> {
        no_version(version)?;
        let tags = tags_of(tags, 10)?;
        self.core.store.set_tags(bucket, key, tags).await.map_err(from_store)
    }

    pub(super) async fn attributes(
        &self,
        input: GetObjectAttributesInput,
    ) -> S3Result<S3Response<GetObjectAttributesOutput>> {
        no_version(input.version_id.as_deref())?;
        let info = self.core.store.info(&input.bucket, &input.key).await.map_err(from_store)?;
        // SDKs send one header with commas, which `s3s` leaves whole.
        let asked = |name: &str| {
            let mut all = input.object_attributes.iter().flat_map(|a| a.as_str().split(','));
            all.any(|a| a.trim() == name)
        };
        let mut output = GetObjectAttributesOutput {
            last_modified: Some(timestamp(info.modified)),
            ..GetObjectAttributesOutput::default()
        };
        if asked("ETag") {
            output.e_tag = Some(etag(&info.etag));
        }
        if asked("ObjectSize") {
            output.object_size = Some(length(info.size));
        }
        if asked("StorageClass") {
            let class = info.metadata.storage_class.clone();
            output.storage_class =
                Some(StorageClass::from(class.unwrap_or_else(|| "STANDARD".to_owned())));
        }
        if asked("Checksum") && info.checksum.is_some() {
            let mut checksum = Checksum {
                checksum_type: info.checksum.as_ref().map(|c| checksum_type(c.over)),
                ..Checksum::default()
            };
            set_checksum!(checksum, &info.checksum);
            output.checksum = Some(checksum);
        }
        if asked("ObjectParts") && !info.parts.is_empty() {
            let algorithm = info.checksum.as_ref().map(|c| c.algorithm);
            let after = input.part_number_marker.unwrap_or_default();
            let max = input.max_parts.unwrap_or(1000).clamp(0, 1000);
            let parts: Vec<ObjectPart> = info
                .parts
                .iter()
                .filter(|p| i64::from(p.number) > i64::from(after))
                .take(usize::try_from(max).unwrap_or_default())
                .map(|part| {
                    let mut out = ObjectPart {
                        part_number: i32::try_from(part.number).ok(),
                        size: Some(length(part.size)),
                        ..ObjectPart::default()
                    };
                    let checksum = part_checksum(algorithm, part.checksum.clone());
                    set_checksum!(out, &checksum);
                    out
                })
                .collect();
            let last = parts.last().and_then(|p| p.part_number);
            let whole = info.parts.last().and_then(|p| i32::try_from(p.number).ok());
            output.object_parts = Some(GetObjectAttributesParts {
                is_truncated: Some(last != whole && last.is_some()),
                max_parts: Some(max),
                next_part_number_marker: last,
                part_number_marker: Some(after),
                parts: Some(parts),
                total_parts_count: i32::try_from(info.parts.len()).ok(),
            });
        }
        Ok(S3Response::new(output))
    }
}

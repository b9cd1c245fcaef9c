//! Multipart uploads.

use kennel_store::objects::{ChecksumAlgorithm, ChecksumType as Over, NewUpload, WantedPart};
use s3s::dto::*;
use s3s::{S3ErrorCode, S3Request, S3Response, S3Result, s3_error};

use super::access::in_flight;
use super::convert::{
    algorithm, algorithm_name, body, checksum_header, checksum_type, digests, etag, length,
    metadata, part_checksum, set_checksum, tags_of_header, timestamp,
};
use super::error::{from_store, plain};
use super::objects::{copy_source, no_customer_key, write_condition};
use super::ops::Ops;

/// The number of a part.
fn number(given: i32) -> S3Result<u32> {
    u32::try_from(given).ok().filter(|n| (1..=10_000).contains(n)).ok_or_else(|| {
        s3_error!(InvalidArgument, "Part number must be an integer between 1 and 10000, inclusive")
    })
}

impl Ops {
    pub(super) async fn begin_upload(
        &self,
        req: S3Request<CreateMultipartUploadInput>,
    ) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
        let request = in_flight()?;
        let mut input = req.input;
        no_customer_key(input.sse_customer_algorithm.as_ref())?;
        let algorithm = algorithm(input.checksum_algorithm.as_ref().map(|a| a.as_str()))?;
        let over = match input.checksum_type.as_ref().map(|t| t.as_str()) {
            None => None,
            Some("FULL_OBJECT") => Some(Over::FullObject),
            Some("COMPOSITE") => Some(Over::Composite),
            Some(_) => {
                return Err(s3_error!(
                    InvalidRequest,
                    "Value for x-amz-checksum-type header is invalid."
                ));
            }
        };
        let possible = match (algorithm, over) {
            (Some(a), Some(Over::FullObject)) => a.is_linear(),
            (Some(a), Some(Over::Composite)) => a != ChecksumAlgorithm::Crc64Nvme,
            (None, Some(Over::Composite)) => false,
            _ => true,
        };
        if !possible {
            let (over, algorithm) = (input.checksum_type, input.checksum_algorithm);
            return Err(s3_error!(
                InvalidRequest,
                "The {} checksum type cannot be used with the {} checksum algorithm.",
                over.as_ref().map_or("", |t| t.as_str()),
                algorithm.as_ref().map_or("default", |a| a.as_str())
            ));
        }
        let upload = NewUpload {
            now: request.now.0,
            metadata: metadata!(input)?,
            tags: tags_of_header(input.tagging.as_deref())?,
            algorithm,
            over,
        };
        let encryption = upload.metadata.encryption.clone();
        let begun = self.core.store.create_upload(&input.bucket, &input.key, upload).await;
        let over = algorithm.map(|a| {
            over.unwrap_or(match a {
                ChecksumAlgorithm::Crc64Nvme => Over::FullObject,
                _ => Over::Composite,
            })
        });
        Ok(S3Response::new(CreateMultipartUploadOutput {
            checksum_algorithm: algorithm.map(algorithm_name),
            checksum_type: over.map(checksum_type),
            upload_id: Some(begun.map_err(from_store)?),
            bucket: Some(input.bucket),
            key: Some(input.key),
            server_side_encryption: Some(ServerSideEncryption::from(
                encryption.unwrap_or_else(|| "AES256".to_owned()),
            )),
            ..CreateMultipartUploadOutput::default()
        }))
    }

    pub(super) async fn part(
        &self,
        req: S3Request<UploadPartInput>,
    ) -> S3Result<S3Response<UploadPartOutput>> {
        let request = in_flight()?;
        let input = req.input;
        no_customer_key(input.sse_customer_algorithm.as_ref())?;
        let number = number(input.part_number)?;
        let options = digests(&req.headers, req.trailing_headers, request.now.0)?;
        let upload = (input.bucket.as_str(), input.key.as_str(), input.upload_id.as_str());
        let begun = self.core.store.upload(upload.0, upload.1, upload.2).await;
        let begun = begun.map_err(from_store)?.upload;
        let given = options.expected.as_ref().and(options.algorithm);
        if let (Some(wanted), Some(given)) = (begun.algorithm, given)
            && wanted != given
        {
            return Err(s3_error!(
                InvalidRequest,
                "Checksum Type mismatch occurred, expected checksum Type: {}, actual checksum Type: {}",
                wanted.name().to_lowercase(),
                given.name().to_lowercase()
            ));
        }
        let stored = self.core.store.put_part(upload, number, body(input.body), options).await;
        let part = stored.map_err(from_store)?;
        let mut output = UploadPartOutput {
            e_tag: Some(etag(&part.etag)),
            server_side_encryption: Some(ServerSideEncryption::from(
                begun.metadata.encryption.unwrap_or_else(|| "AES256".to_owned()),
            )),
            ..UploadPartOutput::default()
        };
        let usual = begun.algorithm.or(Some(ChecksumAlgorithm::Crc64Nvme));
        let checksum = part_checksum(usual, part.checksum);
        set_checksum!(output, &checksum);
        Ok(S3Response::new(output))
    }

    pub(super) async fn part_copy(
        &self,
        req: S3Request<UploadPartCopyInput>,
    ) -> S3Result<S3Response<UploadPartCopyOutput>> {
        let request = in_flight()?;
        let input = req.input;
        let number = number(input.part_number)?;
        let (bucket, key) = copy_source(input.copy_source)?;
        let source = self.source(
            &bucket,
            &key,
            (input.copy_source_if_match, input.copy_source_if_none_match),
            (input.copy_source_if_modified_since, input.copy_source_if_unmodified_since),
        );
        source.await?;
        let open = self.core.store.open(&bucket, &key).await.map_err(from_store)?;
        let range = match input.copy_source_range.as_deref() {
            None => 0..open.info.size,
            Some(text) => match Range::parse(text) {
                Ok(Range::Int { first, last: Some(last) }) if last < open.info.size => {
                    first..last + 1
                }
                Ok(Range::Int { last: Some(_), .. }) => {
                    return Err(s3_error!(
                        InvalidArgument,
                        "Range specified is not valid for source object of size: {}",
                        open.info.size
                    ));
                }
                _ => {
                    return Err(s3_error!(
                        InvalidArgument,
                        "The x-amz-copy-source-range value must be of the form bytes=first-last where first and last are the zero-based offsets of the first and last bytes to copy"
                    ));
                }
            },
        };
        let upload = (input.bucket.as_str(), input.key.as_str(), input.upload_id.as_str());
        let begun = self.core.store.upload(upload.0, upload.1, upload.2).await;
        let usual = begun.map_err(from_store)?.upload.algorithm;
        let options = kennel_store::objects::PartOptions {
            now: request.now.0,
            ..kennel_store::objects::PartOptions::default()
        };
        let stored = self.core.store.put_part(upload, number, open.stream(range), options).await;
        let part = stored.map_err(from_store)?;
        let mut result = CopyPartResult {
            e_tag: Some(etag(&part.etag)),
            last_modified: Some(timestamp(part.modified)),
            ..CopyPartResult::default()
        };
        let checksum = part_checksum(usual, part.checksum);
        set_checksum!(result, &checksum);
        Ok(S3Response::new(UploadPartCopyOutput {
            copy_part_result: Some(result),
            ..UploadPartCopyOutput::default()
        }))
    }

    pub(super) async fn complete(
        &self,
        req: S3Request<CompleteMultipartUploadInput>,
    ) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
        let request = in_flight()?;
        let input = req.input;
        let named = input.multipart_upload.and_then(|m| m.parts).unwrap_or_default();
        if named.is_empty() || named.len() > 10_000 {
            return Err(plain(S3ErrorCode::MalformedXML));
        }
        let mut parts = Vec::with_capacity(named.len());
        for part in named {
            let checksum = part
                .checksum_crc32
                .or(part.checksum_crc32c)
                .or(part.checksum_crc64nvme)
                .or(part.checksum_sha1)
                .or(part.checksum_sha256);
            parts.push(WantedPart {
                number: number(part.part_number.unwrap_or_default())?,
                etag: part.e_tag.map(|t| t.value().to_owned()).unwrap_or_default(),
                checksum,
            });
        }
        let upload = (input.bucket.as_str(), input.key.as_str(), input.upload_id.as_str());
        if let Some(size) = input.mpu_object_size {
            let (there, _) = self.core.store.parts(upload, 0, 10_000).await.map_err(from_store)?;
            let total: u64 = there
                .iter()
                .filter(|p| parts.iter().any(|w| w.number == p.number))
                .map(|p| p.size)
                .sum();
            if length(total) != size {
                return Err(s3_error!(
                    InvalidRequest,
                    "The provided 'x-amz-mp-object-size' header does not match what was computed."
                ));
            }
        }
        let expected = checksum_header(&req.headers)?.map(|(_, value)| value);
        let condition = write_condition(input.if_match, input.if_none_match)?;
        let made = self
            .core
            .store
            .complete_upload(upload, parts, expected, condition, request.now.0)
            .await
            .map_err(from_store)?;
        let mut output = CompleteMultipartUploadOutput {
            location: Some(format!("/{}/{}", input.bucket, super::convert::url(&input.key))),
            bucket: Some(input.bucket),
            key: Some(input.key),
            e_tag: Some(etag(&made.etag)),
            checksum_type: made.checksum.as_ref().map(|c| checksum_type(c.over)),
            server_side_encryption: Some(ServerSideEncryption::from(
                made.metadata.encryption.unwrap_or_else(|| "AES256".to_owned()),
            )),
            ssekms_key_id: made.metadata.kms_key,
            ..CompleteMultipartUploadOutput::default()
        };
        set_checksum!(output, &made.checksum);
        Ok(S3Response::new(output))
    }

    pub(super) async fn abort(
        &self,
        input: AbortMultipartUploadInput,
    ) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
        let aborted =
            self.core.store.abort_upload(&input.bucket, &input.key, &input.upload_id).await;
        aborted.map_err(from_store)?;
        Ok(S3Response::new(AbortMultipartUploadOutput::default()))
    }

    pub(super) async fn parts(
        &self,
        input: ListPartsInput,
    ) -> S3Result<S3Response<ListPartsOutput>> {
        let after = input.part_number_marker.unwrap_or_default().max(0);
        let max = input.max_parts.unwrap_or(1000).clamp(0, 1000);
        let upload = (input.bucket.as_str(), input.key.as_str(), input.upload_id.as_str());
        let begun = self.core.store.upload(upload.0, upload.1, upload.2).await;
        let begun = begun.map_err(from_store)?.upload;
        let most = usize::try_from(max).unwrap_or_default();
        let found = self.core.store.parts(upload, u32::try_from(after).unwrap_or_default(), most);
        let (found, more) = found.await.map_err(from_store)?;
        let last = found.last().and_then(|p| i32::try_from(p.number).ok());
        let parts: Vec<Part> = found
            .into_iter()
            .map(|part| {
                let mut out = Part {
                    e_tag: Some(etag(&part.etag)),
                    last_modified: Some(timestamp(part.modified)),
                    part_number: i32::try_from(part.number).ok(),
                    size: Some(length(part.size)),
                    ..Part::default()
                };
                let checksum = part_checksum(begun.algorithm, part.checksum);
                set_checksum!(out, &checksum);
                out
            })
            .collect();
        Ok(S3Response::new(ListPartsOutput {
            bucket: Some(input.bucket),
            key: Some(input.key),
            upload_id: Some(input.upload_id),
            checksum_algorithm: begun.algorithm.map(algorithm_name),
            checksum_type: begun.over.map(checksum_type),
            is_truncated: Some(more),
            max_parts: Some(max),
            part_number_marker: Some(after),
            next_part_number_marker: last,
            parts: (!parts.is_empty()).then_some(parts),
            owner: Some(self.owner()),
            storage_class: Some(StorageClass::from_static(StorageClass::STANDARD)),
            ..ListPartsOutput::default()
        }))
    }
}

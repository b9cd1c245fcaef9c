//! Listings, version 1 and 2.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use kennel_store::objects::{ListOptions, Listing};
use s3s::dto::*;
use s3s::{S3Response, S3Result, s3_error};

use super::convert::{algorithm_name, checksum_type, etag, length, timestamp, url};
use super::error::from_store;
use super::ops::Ops;

/// Keys of one page at most.
const PAGE: i32 = 1000;

/// Encodes when the request asked for it.
struct Encoder(bool);

impl Encoder {
    fn new(asked: Option<&EncodingType>) -> S3Result<Self> {
        match asked.map(EncodingType::as_str) {
            None | Some("") => Ok(Encoder(false)),
            Some("url") => Ok(Encoder(true)),
            Some(_) => {
                Err(s3_error!(InvalidArgument, "Invalid Encoding Method specified in Request"))
            }
        }
    }

    fn of(&self, text: String) -> String {
        if self.0 { url(&text) } else { text }
    }

    fn named(&self) -> Option<EncodingType> {
        self.0.then(|| EncodingType::from_static(EncodingType::URL))
    }
}

fn max(asked: Option<i32>) -> S3Result<i32> {
    match asked.unwrap_or(PAGE) {
        n if n < 0 => Err(s3_error!(
            InvalidArgument,
            "Argument maxKeys must be an integer between 0 and 2147483647"
        )),
        n => Ok(n.min(PAGE)),
    }
}

impl Ops {
    async fn page(&self, bucket: &str, options: ListOptions) -> S3Result<Listing> {
        self.core.store.list(bucket, options).await.map_err(from_store)
    }

    fn contents(&self, listing: &mut Listing, encoder: &Encoder, owner: bool) -> Vec<Object> {
        let objects = std::mem::take(&mut listing.objects);
        let of = |o: kennel_store::objects::ObjectInfo| Object {
            checksum_algorithm: o.checksum.as_ref().map(|c| vec![algorithm_name(c.algorithm)]),
            checksum_type: o.checksum.as_ref().map(|c| checksum_type(c.over)),
            e_tag: Some(etag(&o.etag)),
            key: Some(encoder.of(o.key)),
            last_modified: Some(timestamp(o.modified)),
            owner: owner.then(|| self.owner()),
            restore_status: None,
            size: Some(length(o.size)),
            storage_class: Some(ObjectStorageClass::from(
                o.metadata.storage_class.unwrap_or_else(|| "STANDARD".to_owned()),
            )),
        };
        objects.into_iter().map(of).collect()
    }

    pub(super) async fn list_v2(
        &self,
        input: ListObjectsV2Input,
    ) -> S3Result<S3Response<ListObjectsV2Output>> {
        let encoder = Encoder::new(input.encoding_type.as_ref())?;
        let max = max(input.max_keys)?;
        let after = match &input.continuation_token {
            Some(token) => {
                let bytes = URL_SAFE_NO_PAD.decode(token).ok();
                let text = bytes.and_then(|b| String::from_utf8(b).ok()).ok_or_else(|| {
                    s3_error!(InvalidArgument, "The continuation token provided is incorrect")
                })?;
                Some(text)
            }
            None => input.start_after.clone().filter(|s| !s.is_empty()),
        };
        let options = ListOptions {
            prefix: input.prefix.clone().unwrap_or_default(),
            delimiter: input.delimiter.clone().filter(|d| !d.is_empty()),
            after,
            max: usize::try_from(max).unwrap_or_default(),
        };
        let mut listing = self.page(&input.bucket, options).await?;
        let count = listing.objects.len() + listing.prefixes.len();
        let owner = input.fetch_owner.unwrap_or_default();
        let contents = self.contents(&mut listing, &encoder, owner);
        let prefixes = listing.prefixes.into_iter();
        let prefixes: Vec<CommonPrefix> =
            prefixes.map(|p| CommonPrefix { prefix: Some(encoder.of(p)) }).collect();
        Ok(S3Response::new(ListObjectsV2Output {
            name: Some(input.bucket),
            prefix: Some(encoder.of(input.prefix.unwrap_or_default())),
            max_keys: Some(max),
            key_count: i32::try_from(count).ok(),
            continuation_token: input.continuation_token,
            is_truncated: Some(listing.next.is_some()),
            next_continuation_token: listing.next.map(|n| URL_SAFE_NO_PAD.encode(n)),
            contents: (!contents.is_empty()).then_some(contents),
            common_prefixes: (!prefixes.is_empty()).then_some(prefixes),
            delimiter: input.delimiter.map(|d| encoder.of(d)),
            encoding_type: encoder.named(),
            start_after: input.start_after.map(|s| encoder.of(s)),
            request_charged: None,
        }))
    }

    pub(super) async fn list_v1(
        &self,
        input: ListObjectsInput,
    ) -> S3Result<S3Response<ListObjectsOutput>> {
        let encoder = Encoder::new(input.encoding_type.as_ref())?;
        let max = max(input.max_keys)?;
        let options = ListOptions {
            prefix: input.prefix.clone().unwrap_or_default(),
            delimiter: input.delimiter.clone().filter(|d| !d.is_empty()),
            after: input.marker.clone().filter(|m| !m.is_empty()),
            max: usize::try_from(max).unwrap_or_default(),
        };
        let delimited = options.delimiter.is_some();
        let mut listing = self.page(&input.bucket, options).await?;
        let contents = self.contents(&mut listing, &encoder, true);
        let prefixes = listing.prefixes.into_iter();
        let prefixes: Vec<CommonPrefix> =
            prefixes.map(|p| CommonPrefix { prefix: Some(encoder.of(p)) }).collect();
        Ok(S3Response::new(ListObjectsOutput {
            name: Some(input.bucket),
            prefix: Some(encoder.of(input.prefix.unwrap_or_default())),
            marker: Some(encoder.of(input.marker.unwrap_or_default())),
            max_keys: Some(max),
            is_truncated: Some(listing.next.is_some()),
            contents: (!contents.is_empty()).then_some(contents),
            common_prefixes: (!prefixes.is_empty()).then_some(prefixes),
            delimiter: input.delimiter.map(|d| encoder.of(d)),
            // Only answered with a delimiter; without, the last key is the marker.
            next_marker: listing.next.filter(|_| delimited).map(|n| encoder.of(n)),
            encoding_type: encoder.named(),
            request_charged: None,
        }))
    }

    pub(super) async fn list_uploads(
        &self,
        input: ListMultipartUploadsInput,
    ) -> S3Result<S3Response<ListMultipartUploadsOutput>> {
        let encoder = Encoder::new(input.encoding_type.as_ref())?;
        if input.delimiter.as_ref().is_some_and(|d| !d.is_empty()) {
            return Err(s3_error!(
                NotImplemented,
                "ListMultipartUploads with a delimiter is not implemented"
            ));
        }
        let max = max(input.max_uploads)?;
        let prefix = input.prefix.clone().unwrap_or_default();
        let key = input.key_marker.clone().unwrap_or_default();
        // Without an id all uploads of the marker's key are passed over; ids are hex digits.
        let id = match &input.upload_id_marker {
            Some(id) if !id.is_empty() => id.clone(),
            _ if key.is_empty() => String::new(),
            _ => "~".to_owned(),
        };
        let most = usize::try_from(max).unwrap_or_default();
        let found = self.core.store.uploads(&input.bucket, &prefix, (&key, &id), most).await;
        let (found, more) = found.map_err(from_store)?;
        let last = found.last().filter(|_| more).cloned();
        let uploads: Vec<MultipartUpload> = found
            .into_iter()
            .map(|u| MultipartUpload {
                checksum_algorithm: u.upload.algorithm.map(algorithm_name),
                checksum_type: u.upload.over.map(checksum_type),
                initiated: Some(timestamp(u.upload.now)),
                initiator: None,
                key: Some(encoder.of(u.key)),
                owner: Some(self.owner()),
                storage_class: Some(StorageClass::from_static(StorageClass::STANDARD)),
                upload_id: Some(u.id),
            })
            .collect();
        Ok(S3Response::new(ListMultipartUploadsOutput {
            bucket: Some(input.bucket),
            delimiter: input.delimiter,
            encoding_type: encoder.named(),
            is_truncated: Some(more),
            key_marker: Some(encoder.of(key)),
            max_uploads: Some(max),
            next_key_marker: last.as_ref().map(|u| encoder.of(u.key.clone())),
            next_upload_id_marker: last.map(|u| u.id),
            prefix: Some(encoder.of(prefix)),
            upload_id_marker: input.upload_id_marker,
            uploads: (!uploads.is_empty()).then_some(uploads),
            ..ListMultipartUploadsOutput::default()
        }))
    }
}

//! Buckets and their configuration.

use s3s::dto::*;
use s3s::{S3Error, S3ErrorCode, S3Request, S3Response, S3Result, s3_error};

use super::access::in_flight;
use super::convert::{tag_set, tags_of, timestamp};
use super::error::{custom, from_store, plain};
use super::ops::Ops;

/// Buckets of one account; AWS's default quota, and the bound of ListBuckets.
const MOST_BUCKETS: usize = 10_000;

impl Ops {
    pub(super) fn owner(&self) -> Owner {
        // S3's owner ids are 64 hex digits.
        Owner { display_name: None, id: Some(format!("{:0>64}", self.core.account)) }
    }

    pub(super) async fn need_bucket(&self, bucket: &str) -> S3Result<()> {
        self.core.store.bucket(bucket).await.map(|_| ()).map_err(from_store)
    }

    /// Who may not list a bucket is not told that a key is missing:
    /// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html>.
    pub(super) fn unless_listed(&self, bucket: &str, error: S3Error) -> S3Error {
        if *error.code() != S3ErrorCode::NoSuchKey {
            return error;
        }
        match in_flight().and_then(|request| self.core.may_list(&request, bucket)) {
            Ok(()) => error,
            Err(denied) => denied,
        }
    }

    pub(super) async fn list_all_buckets(
        &self,
        input: ListBucketsInput,
    ) -> S3Result<S3Response<ListBucketsOutput>> {
        let after = input.continuation_token.unwrap_or_default();
        let prefix = input.prefix.clone().unwrap_or_default();
        let max = input.max_buckets.and_then(|m| usize::try_from(m).ok()).unwrap_or(MOST_BUCKETS);
        let mut found = self.core.store.buckets().await.map_err(from_store)?;
        found.retain(|b| b.name.starts_with(&prefix) && b.name > after);
        if let Some(region) = &input.bucket_region {
            found.retain(|b| b.region == *region);
        }
        let more = found.len() > max;
        found.truncate(max);
        let next = found.last().filter(|_| more).map(|b| b.name.clone());
        let buckets = found.into_iter().map(|b| Bucket {
            bucket_region: Some(b.region),
            creation_date: Some(timestamp(b.created)),
            name: Some(b.name),
        });
        Ok(S3Response::new(ListBucketsOutput {
            buckets: Some(buckets.collect()),
            continuation_token: next,
            owner: Some(self.owner()),
            prefix: input.prefix,
        }))
    }

    pub(super) async fn make_bucket(
        &self,
        req: S3Request<CreateBucketInput>,
    ) -> S3Result<S3Response<CreateBucketOutput>> {
        let request = in_flight()?;
        let named = req
            .input
            .create_bucket_configuration
            .as_ref()
            .and_then(|c| c.location_constraint.as_ref())
            .map(|l| l.as_str().to_owned());
        let signed = req.region.as_ref().map(|r| r.as_str().to_owned());
        let region = match named.as_deref() {
            Some("EU") => "eu-west-1".to_owned(),
            Some("") | None => signed.unwrap_or_else(|| self.core.region.clone()),
            Some(region) => region.to_owned(),
        };
        let bucket = &req.input.bucket;
        if bucket.starts_with("sthree-")
            || bucket.ends_with("-s3alias")
            || bucket.ends_with("--ol-s3")
        {
            return Err(plain(S3ErrorCode::InvalidBucketName));
        }
        let made = self.core.store.create_bucket(bucket, &region, request.now.0).await;
        self.core.policies.forget();
        if !made.map_err(from_store)? {
            // https://docs.aws.amazon.com/AmazonS3/latest/API/API_CreateBucket.html: us-east-1
            // answers 200 for an own bucket, every other region this error.
            let there = self.core.store.bucket(bucket).await.map_err(from_store)?;
            if there.region != "us-east-1" || region != "us-east-1" {
                return Err(plain(S3ErrorCode::BucketAlreadyOwnedByYou));
            }
        }
        let location = Some(format!("/{bucket}"));
        Ok(S3Response::new(CreateBucketOutput { location }))
    }

    pub(super) async fn show_bucket(&self, bucket: &str) -> S3Result<S3Response<HeadBucketOutput>> {
        let found = self.core.store.bucket(bucket).await.map_err(from_store)?;
        Ok(S3Response::new(HeadBucketOutput {
            bucket_region: Some(found.region),
            ..HeadBucketOutput::default()
        }))
    }

    pub(super) async fn bucket_location(
        &self,
        bucket: &str,
    ) -> S3Result<S3Response<GetBucketLocationOutput>> {
        let found = self.core.store.bucket(bucket).await.map_err(from_store)?;
        // us-east-1 is the empty constraint.
        let named = (found.region != "us-east-1").then_some(found.region);
        let location_constraint = named.map(BucketLocationConstraint::from);
        Ok(S3Response::new(GetBucketLocationOutput { location_constraint }))
    }

    pub(super) async fn bucket_tags(
        &self,
        bucket: &str,
    ) -> S3Result<S3Response<GetBucketTaggingOutput>> {
        let found = self.core.store.bucket(bucket).await.map_err(from_store)?;
        if found.tags.is_empty() {
            return Err(plain(S3ErrorCode::NoSuchTagSet));
        }
        Ok(S3Response::new(GetBucketTaggingOutput { tag_set: tag_set(found.tags) }))
    }

    pub(super) async fn tag_bucket(
        &self,
        input: PutBucketTaggingInput,
    ) -> S3Result<S3Response<PutBucketTaggingOutput>> {
        let tags = tags_of(input.tagging.tag_set, 50)?;
        self.core.store.set_bucket_tags(&input.bucket, tags).await.map_err(from_store)?;
        Ok(S3Response::new(PutBucketTaggingOutput::default()))
    }

    /// The answer of a plain bucket to a question about a configuration that it does not have.
    pub(super) async fn not_configured<T>(
        &self,
        bucket: &str,
        code: &'static str,
        message: &'static str,
    ) -> S3Result<S3Response<T>> {
        self.need_bucket(bucket).await?;
        Err(custom(code, http::StatusCode::NOT_FOUND, message))
    }

    pub(super) async fn bucket_acl(
        &self,
        bucket: &str,
    ) -> S3Result<S3Response<GetBucketAclOutput>> {
        self.need_bucket(bucket).await?;
        Ok(S3Response::new(GetBucketAclOutput {
            grants: Some(vec![self.full_control()]),
            owner: Some(self.owner()),
        }))
    }

    pub(super) fn full_control(&self) -> Grant {
        Grant {
            grantee: Some(Grantee {
                display_name: None,
                email_address: None,
                id: self.owner().id,
                type_: Type::from_static(Type::CANONICAL_USER),
                uri: None,
            }),
            permission: Some(Permission::from_static(Permission::FULL_CONTROL)),
        }
    }

    /// New buckets encrypt with keys of S3: what AWS answers for a plain bucket.
    pub(super) async fn bucket_encryption(
        &self,
        bucket: &str,
    ) -> S3Result<S3Response<GetBucketEncryptionOutput>> {
        self.not_configured(
            bucket,
            "ServerSideEncryptionConfigurationNotFoundError",
            "The server side encryption configuration was not found",
        )
        .await
    }

    pub(super) async fn versioning(
        &self,
        bucket: &str,
    ) -> S3Result<S3Response<GetBucketVersioningOutput>> {
        self.need_bucket(bucket).await?;
        Ok(S3Response::new(GetBucketVersioningOutput::default()))
    }
}

/// A version id that this store, which keeps no versions, can have: none or `null`.
pub(super) fn no_version(version: Option<&str>) -> S3Result<()> {
    match version {
        None | Some("null" | "") => Ok(()),
        Some(_) => Err(s3_error!(InvalidArgument, "Invalid version id specified")),
    }
}

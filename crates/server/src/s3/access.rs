//! The gate: the secret for a signature, then the account, then the authoriser. No authoriser's yes,
//! no operation.

use std::sync::Arc;

use s3s::access::{S3Access, S3AccessContext};
use s3s::auth::{S3Auth, SecretKey};
use s3s::path::S3Path;
use s3s::{S3Result, s3_error};

use super::{Core, IN_FLIGHT, InFlight};

/// Answers the secret that the front looked up for this request, and no other.
pub(super) struct Keys;

#[async_trait::async_trait]
impl S3Auth for Keys {
    async fn get_secret_key(&self, access_key: &str) -> S3Result<SecretKey> {
        let secret = in_flight()?;
        if secret.access_key != access_key || secret.verified {
            // Somebody found a request that two parsers read differently.
            return Err(s3_error!(AccessDenied, "Access Denied"));
        }
        Ok(SecretKey::from(secret.secret.secret.clone()))
    }
}

/// The request that this task answers.
pub(super) fn in_flight() -> S3Result<Arc<InFlight>> {
    IN_FLIGHT.try_with(Arc::clone).map_err(|_| s3_error!(AccessDenied, "Access Denied"))
}

/// Decides before an operation runs and before its body is read.
pub(super) struct Gate {
    pub(super) core: Arc<Core>,
}

#[async_trait::async_trait]
impl S3Access for Gate {
    async fn check(&self, cx: &mut S3AccessContext<'_>) -> S3Result<()> {
        let request = in_flight()?;
        let signed = cx.credentials().map(|c| c.access_key.as_str());
        if signed != (!request.verified).then_some(request.access_key.as_str()) {
            return Err(s3_error!(AccessDenied, "Access Denied"));
        }
        let action = format!("s3:{}", action(cx.s3_op().name()));
        let resource = resource(cx.s3_path());
        request.note(|note| {
            note.caller = Some(request.secret.caller.clone());
            note.action = Some(action.clone());
            note.resource = Some(resource.clone());
        });
        for name in ["x-amz-expected-bucket-owner", "x-amz-source-expected-bucket-owner"] {
            if cx.headers().get(name).is_some_and(|owner| *owner != self.core.account.as_str()) {
                return Err(s3_error!(AccessDenied, "Access Denied"));
            }
        }
        self.core.allow(&request, &action, &resource)
    }
}

impl Core {
    /// Asks the authoriser.
    pub(super) fn allow(&self, request: &InFlight, action: &str, resource: &str) -> S3Result<()> {
        let caller = &request.secret.caller;
        self.authorizer.authorize(caller, action, resource).map_err(|reason| {
            tracing::debug!(action, resource, reason, "denied");
            s3_error!(
                AccessDenied,
                "User: {} is not authorized to perform: {action} on resource: \"{resource}\" because {reason}",
                caller.arn()
            )
        })
    }
}

fn resource(path: &S3Path) -> String {
    match path {
        S3Path::Root => "*".to_owned(),
        S3Path::Bucket { bucket } => format!("arn:aws:s3:::{bucket}"),
        S3Path::Object { bucket, key } => format!("arn:aws:s3:::{bucket}/{key}"),
    }
}

/// The IAM action of an operation:
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/using-with-s3-policy-actions.html>
fn action(operation: &str) -> &str {
    match operation {
        "ListBuckets" => "ListAllMyBuckets",
        "ListObjects" | "ListObjectsV2" | "HeadBucket" => "ListBucket",
        "ListObjectVersions" => "ListBucketVersions",
        "ListMultipartUploads" => "ListBucketMultipartUploads",
        "ListParts" => "ListMultipartUploadParts",
        "HeadObject" | "SelectObjectContent" => "GetObject",
        "CopyObject"
        | "CreateMultipartUpload"
        | "UploadPart"
        | "UploadPartCopy"
        | "CompleteMultipartUpload"
        | "PostObject" => "PutObject",
        // Asked again for each key.
        "DeleteObjects" => "DeleteObject",
        "DeleteBucketTagging" => "PutBucketTagging",
        "GetBucketEncryption" => "GetEncryptionConfiguration",
        "PutBucketEncryption" | "DeleteBucketEncryption" => "PutEncryptionConfiguration",
        "GetBucketLifecycleConfiguration" => "GetLifecycleConfiguration",
        "PutBucketLifecycleConfiguration" | "DeleteBucketLifecycle" => "PutLifecycleConfiguration",
        "GetBucketCors" => "GetBucketCORS",
        "PutBucketCors" | "DeleteBucketCors" => "PutBucketCORS",
        "GetBucketNotificationConfiguration" => "GetBucketNotification",
        "PutBucketNotificationConfiguration" => "PutBucketNotification",
        "GetBucketReplication" => "GetReplicationConfiguration",
        "GetBucketAccelerateConfiguration" => "GetAccelerateConfiguration",
        "GetObjectLockConfiguration" => "GetBucketObjectLockConfiguration",
        "GetPublicAccessBlock" => "GetBucketPublicAccessBlock",
        "PutPublicAccessBlock" | "DeletePublicAccessBlock" => "PutBucketPublicAccessBlock",
        other => other,
    }
}

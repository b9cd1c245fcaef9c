//! S3.

use std::borrow::Cow;

use super::{Need, Needs};

/// A request to S3, taken apart.
pub(crate) struct Asked<'a> {
    /// `GetObject`.
    pub operation: &'a str,
    /// Empty for ListBuckets.
    pub bucket: &'a str,
    /// Empty for operations on buckets.
    pub key: &'a str,
    /// The query string, decoded.
    pub query: &'a [(Cow<'a, str>, Cow<'a, str>)],
    /// A header's value.
    pub header: &'a dyn Fn(&str) -> Option<String>,
}

/// An action on an object.
pub(crate) fn object(action: &'static str, bucket: &str, key: &str) -> Need {
    Need::new(action, format!("arn:aws:s3:::{bucket}/{key}"))
}

/// What an operation asks; `None` for one that is not served. The source of a copy and each key of a batch
/// are asked for by the operation itself, which knows what it will read.
///
/// Source: <https://docs.aws.amazon.com/AmazonS3/latest/userguide/using-with-s3-policy-actions.html>
pub(crate) fn needs(asked: &Asked<'_>) -> Option<Needs> {
    let &Asked { operation, bucket, key, .. } = asked;
    let on_bucket = |action: &'static str| Need::new(action, format!("arn:aws:s3:::{bucket}"));
    let version = asked.query("versionId").filter(|version| !version.is_empty());
    let versioned = |plain, of_version| match &version {
        None => object(plain, bucket, key),
        Some(id) => object(of_version, bucket, key).with("s3:VersionId", vec![id.clone()]),
    };
    let need = match operation {
        "ListBuckets" => Need::new("s3:ListAllMyBuckets", "*"),
        "CreateBucket" => {
            return Some(Needs::All(asked.acl(on_bucket("s3:CreateBucket"), "s3:PutBucketAcl")));
        }
        "DeleteBucket" => on_bucket("s3:DeleteBucket"),
        "HeadBucket" => on_bucket("s3:ListBucket"),
        "ListObjects" | "ListObjectsV2" => asked.list(on_bucket("s3:ListBucket")),
        "ListObjectVersions" => asked.list(on_bucket("s3:ListBucketVersions")),
        "ListMultipartUploads" => asked.list(on_bucket("s3:ListBucketMultipartUploads")),
        "GetBucketLocation" => on_bucket("s3:GetBucketLocation"),
        "GetBucketVersioning" => on_bucket("s3:GetBucketVersioning"),
        "GetBucketTagging" => on_bucket("s3:GetBucketTagging"),
        "PutBucketTagging" | "DeleteBucketTagging" => on_bucket("s3:PutBucketTagging"),
        "GetBucketAcl" => on_bucket("s3:GetBucketAcl"),
        "GetBucketEncryption" => on_bucket("s3:GetEncryptionConfiguration"),
        "GetBucketPolicy" => on_bucket("s3:GetBucketPolicy"),
        "GetBucketPolicyStatus" => on_bucket("s3:GetBucketPolicyStatus"),
        "PutBucketPolicy" => on_bucket("s3:PutBucketPolicy"),
        "DeleteBucketPolicy" => on_bucket("s3:DeleteBucketPolicy"),
        "GetPublicAccessBlock" => on_bucket("s3:GetBucketPublicAccessBlock"),
        "PutPublicAccessBlock" | "DeletePublicAccessBlock" => {
            on_bucket("s3:PutBucketPublicAccessBlock")
        }
        "GetBucketLifecycleConfiguration" => on_bucket("s3:GetLifecycleConfiguration"),
        "GetBucketCors" => on_bucket("s3:GetBucketCORS"),
        "GetBucketWebsite" => on_bucket("s3:GetBucketWebsite"),
        "GetBucketOwnershipControls" => on_bucket("s3:GetBucketOwnershipControls"),
        "GetBucketReplication" => on_bucket("s3:GetReplicationConfiguration"),
        "GetObjectLockConfiguration" => on_bucket("s3:GetBucketObjectLockConfiguration"),
        "GetBucketLogging" => on_bucket("s3:GetBucketLogging"),
        "GetBucketNotificationConfiguration" => on_bucket("s3:GetBucketNotification"),
        "GetBucketAccelerateConfiguration" => on_bucket("s3:GetAccelerateConfiguration"),
        "GetBucketRequestPayment" => on_bucket("s3:GetBucketRequestPayment"),

        "GetObject" | "HeadObject" => versioned("s3:GetObject", "s3:GetObjectVersion"),
        "GetObjectAttributes" => {
            return Some(Needs::All(vec![
                versioned("s3:GetObject", "s3:GetObjectVersion"),
                versioned("s3:GetObjectAttributes", "s3:GetObjectVersionAttributes"),
            ]));
        }
        "GetObjectAcl" => versioned("s3:GetObjectAcl", "s3:GetObjectVersionAcl"),
        "GetObjectTagging" => versioned("s3:GetObjectTagging", "s3:GetObjectVersionTagging"),
        "PutObjectTagging" => versioned("s3:PutObjectTagging", "s3:PutObjectVersionTagging"),
        "DeleteObjectTagging" => {
            versioned("s3:DeleteObjectTagging", "s3:DeleteObjectVersionTagging")
        }
        "PutObject" | "CopyObject" | "CreateMultipartUpload" => return Some(asked.put()),
        "UploadPart" | "UploadPartCopy" | "CompleteMultipartUpload" => {
            object("s3:PutObject", bucket, key)
        }
        "AbortMultipartUpload" => object("s3:AbortMultipartUpload", bucket, key),
        "ListParts" => object("s3:ListMultipartUploadParts", bucket, key),
        "DeleteObject" => versioned("s3:DeleteObject", "s3:DeleteObjectVersion"),
        "DeleteObjects" => return Some(Needs::Inside),
        _ => return None,
    };
    Some(need.into())
}

impl Asked<'_> {
    fn query(&self, name: &str) -> Option<String> {
        self.query.iter().find(|(n, _)| n == name).map(|(_, value)| value.clone().into_owned())
    }

    fn header_key(&self, need: Need, name: &'static str, key: &'static str) -> Need {
        need.with(key, (self.header)(name).into_iter().collect())
    }

    fn list(&self, need: Need) -> Need {
        // Without a prefix the key is the empty text, so that a condition can ask for it.
        need.with("s3:prefix", vec![self.query("prefix").unwrap_or_default()])
            .with("s3:delimiter", self.query("delimiter").into_iter().collect())
            .with("s3:max-keys", self.query("max-keys").into_iter().collect())
    }

    /// A canned ACL needs a right of its own.
    fn acl(&self, need: Need, action: &'static str) -> Vec<Need> {
        let acl = (self.header)("x-amz-acl").filter(|acl| acl != "private");
        let need = self.header_key(need, "x-amz-acl", "s3:x-amz-acl");
        match acl {
            None => vec![need],
            Some(acl) => {
                let more = Need::new(action, need.resource.clone());
                vec![need, more.with("s3:x-amz-acl", vec![acl])]
            }
        }
    }

    fn put(&self) -> Needs {
        let mut need = object("s3:PutObject", self.bucket, self.key);
        for (header, key) in [
            ("x-amz-server-side-encryption", "s3:x-amz-server-side-encryption"),
            (
                "x-amz-server-side-encryption-aws-kms-key-id",
                "s3:x-amz-server-side-encryption-aws-kms-key-id",
            ),
            ("x-amz-storage-class", "s3:x-amz-storage-class"),
            ("x-amz-copy-source", "s3:x-amz-copy-source"),
            ("x-amz-metadata-directive", "s3:x-amz-metadata-directive"),
        ] {
            need = self.header_key(need, header, key);
        }
        let tagging = (self.header)("x-amz-tagging").filter(|tags| !tags.is_empty());
        let mut tag = None;
        if let Some(tags) = &tagging {
            let mut names = Vec::new();
            for (key, value) in form_urlencoded::parse(tags.as_bytes()) {
                need = need.with(format!("s3:RequestObjectTag/{key}"), vec![value.into_owned()]);
                names.push(key.into_owned());
            }
            need = need.with("s3:RequestObjectTagKeys", names);
            let mut tagging = object("s3:PutObjectTagging", self.bucket, self.key);
            tagging.context.clone_from(&need.context);
            tag = Some(tagging);
        }
        let mut needs = self.acl(need, "s3:PutObjectAcl");
        needs.extend(tag);
        Needs::All(needs)
    }
}

//! Bucket policies and the block of public access: kept with the bucket, asked for at every call.
//!
//! Source: <https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucket-policies.html> and
//! `access-control-block-public-access.html`.

mod public;

use std::sync::Arc;

use kennel_iam::policy::{Document, Kind, Malformed, PrincipalPattern, ResourcePattern, Scope};
use kennel_iam::{Arn, Policy, PolicyType};
use kennel_store::state::rusqlite::{self, Connection, OptionalExtension as _, params};
use kennel_store::state::{Database, Migrations, StateError};
use kennel_wire::ServiceError;
use s3s::dto::*;
use s3s::{S3Error, S3ErrorCode, S3Response, S3Result, s3_error};
use serde_json::{Map, Value};

use self::public::is_public;
use super::error::{custom, from_store};
use super::ops::Ops;
use crate::authorize::{Cache, ResourcePolicies};
use crate::iam::Iam;

/// The table. Rows go with their bucket.
pub const MIGRATIONS: Migrations = Migrations {
    component: "s3",
    scripts: &["
        -- ids: what IAM calls the users and roles that the policy names, by ARN.
        -- block: four letters, 1 or 0 (BlockPublicAcls, IgnorePublicAcls, BlockPublicPolicy,
        -- RestrictPublicBuckets); empty when the configuration was deleted, null when it is the default.
        CREATE TABLE s3_buckets (
            bucket TEXT PRIMARY KEY REFERENCES object_buckets (name) ON DELETE CASCADE,
            policy TEXT,
            ids TEXT NOT NULL DEFAULT '{}',
            block TEXT
        ) WITHOUT ROWID, STRICT;
    "],
};

/// Bytes of a bucket's policy.
const LARGEST: usize = 20 * 1024;

/// What is blocked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Block {
    acls: bool,
    ignore_acls: bool,
    policy: bool,
    restrict: bool,
}

/// New buckets block everything since April 2023.
const ALL: Block = Block { acls: true, ignore_acls: true, policy: true, restrict: true };

/// What a bucket says of access to it.
#[derive(Debug)]
pub(super) struct Guard {
    text: Option<String>,
    policy: Option<Policy>,
    public: bool,
    /// None when the configuration was deleted: nothing is blocked.
    block: Option<Block>,
}

/// All buckets' policies; cheap to clone.
#[derive(Debug, Clone)]
pub struct BucketPolicies {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    database: Database,
    iam: Iam,
    guards: Cache<Guard>,
}

impl BucketPolicies {
    /// Over a database that was opened with [`MIGRATIONS`] and the object store's.
    pub fn new(database: Database, iam: Iam) -> Self {
        BucketPolicies { shared: Arc::new(Shared { database, iam, guards: Cache::default() }) }
    }

    /// A bucket's guard, whether or not the bucket exists.
    pub(super) fn of(&self, bucket: &str) -> Result<Arc<Guard>, ServiceError> {
        self.shared.guards.get_or(bucket, || match self.shared.database.read(|c| read(c, bucket)) {
            Ok(Ok(guard)) => guard,
            Ok(Err(e)) => Err(crate::service::state_failed(&e)),
            Err(e) => Err(crate::service::state_failed(&e)),
        })
    }

    /// Are those without a signature kept out, whatever the policy says?
    pub(super) fn restricted(&self, bucket: &str) -> bool {
        self.of(bucket)
            .map_or(true, |guard| guard.public && guard.block.is_some_and(|block| block.restrict))
    }

    /// To be called when a bucket was made or deleted.
    pub(super) fn forget(&self) {
        self.shared.guards.clear();
    }

    async fn write(
        &self,
        work: impl FnOnce(&Connection) -> rusqlite::Result<usize> + Send + 'static,
    ) -> S3Result<()> {
        // In a task of its own: the commit happens even when the caller hangs up, so must the forgetting.
        let policies = self.clone();
        let task = tokio::spawn(async move {
            let outcome = policies.shared.database.write(work).await;
            policies.forget();
            outcome
        });
        let failed = |e: &dyn std::error::Error| {
            crate::service::state_failed(e);
            super::error::plain(S3ErrorCode::InternalError)
        };
        match task.await {
            Ok(Ok(Ok(_))) => Ok(()),
            // The bucket went away meanwhile.
            Ok(Ok(Err(e))) if is_constraint(&e) => {
                Err(super::error::plain(S3ErrorCode::NoSuchBucket))
            }
            Ok(Ok(Err(e))) => Err(failed(&e)),
            Ok(Err(StateError::Full { .. })) => Err(custom(
                "InsufficientStorage",
                http::StatusCode::INSUFFICIENT_STORAGE,
                "No space is left on the server's disk.",
            )),
            Ok(Err(e)) => Err(failed(&e)),
            Err(e) => Err(failed(&e)),
        }
    }
}

fn is_constraint(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(rusqlite::ErrorCode::ConstraintViolation)
}

impl ResourcePolicies for BucketPolicies {
    fn service(&self) -> &'static str {
        "s3"
    }

    fn policy(&self, arn: &str) -> Result<Option<Policy>, ServiceError> {
        let Some(resource) = arn.strip_prefix("arn:aws:s3:::") else { return Ok(None) };
        let bucket = resource.split('/').next().unwrap_or_default();
        Ok(self.of(bucket)?.policy.clone())
    }
}

fn read(c: &Connection, bucket: &str) -> rusqlite::Result<Result<Guard, ServiceError>> {
    let row: Option<(Option<String>, String, Option<String>)> = c
        .prepare_cached("SELECT policy, ids, block FROM s3_buckets WHERE bucket = ?1")?
        .query_row([bucket], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .optional()?;
    let Some((text, ids, block)) = row else {
        return Ok(Ok(Guard { text: None, policy: None, public: false, block: Some(ALL) }));
    };
    let document = match text.as_deref().map(|text| Document::parse(text, Kind::Resource)) {
        None => None,
        Some(Ok(document)) => Some(document),
        Some(Err(e)) => {
            // It may deny, so it must not be left out.
            tracing::error!("the policy of bucket `{bucket}` cannot be read: {e}");
            return Ok(Err(ServiceError::internal()));
        }
    };
    let public = document.as_ref().is_some_and(is_public);
    let ids: Map<String, Value> = serde_json::from_str(&ids).unwrap_or_default();
    let policy = document.map(|document| {
        Policy::new(
            format!("policy of bucket {bucket}"),
            PolicyType::Resource,
            fixed(document, &ids),
        )
    });
    let block = match block.as_deref() {
        None => Some(ALL),
        Some("") => None,
        Some(letters) => {
            let on = |place| letters.as_bytes().get(place) != Some(&b'0');
            Some(Block { acls: on(0), ignore_acls: on(1), policy: on(2), restrict: on(3) })
        }
    };
    Ok(Ok(Guard { text, policy, public, block }))
}

/// Puts the ids in the place of ARNs: a later user of the same name is another.
fn fixed(mut document: Document, ids: &Map<String, Value>) -> Document {
    for scope in document.statements.iter_mut().filter_map(|s| s.principal.as_mut()) {
        for pattern in scope.items_mut() {
            let PrincipalPattern::Arn(arn) = &*pattern else { continue };
            if let Some(id) = ids.get(&arn.to_string()).and_then(Value::as_str) {
                *pattern = PrincipalPattern::UniqueId(id.to_owned());
            }
        }
    }
    document
}

fn malformed(message: impl Into<String>) -> S3Error {
    let code = S3ErrorCode::Custom("MalformedPolicy".into());
    let mut error = S3Error::with_message(code, message.into());
    error.set_status_code(http::StatusCode::BAD_REQUEST);
    error
}

/// S3's words for what the grammar refuses.
fn refused(error: &Malformed) -> S3Error {
    let place = error.place.path.as_str();
    let missing = ["Effect", "Action", "Resource", "Principal"].into_iter().find(|element| {
        error.detail.contains(element) && error.detail.to_lowercase().contains("missing")
    });
    let words = match missing {
        _ if error.place.line_column.is_some() => {
            "Policies must be valid JSON and the first byte must be '{'".to_owned()
        }
        Some(element) => format!("Missing required field {element}"),
        None if place.contains("Resource") => "Policy has invalid resource".to_owned(),
        None if place.contains("Action") => "Policy has invalid action".to_owned(),
        None if place.contains("Principal") => "Invalid principal in policy".to_owned(),
        None => error.message.clone(),
    };
    malformed(format!("{words}\nhint: {} ({})", error.detail, error.place))
}

/// What S3 asks of a policy beyond the grammar: it is about this bucket and S3's actions, and whoever of this
/// account it names exists. Answers the ids of those.
fn checked(iam: &Iam, bucket: &str, document: &Document) -> S3Result<Map<String, Value>> {
    let mut ids = Map::new();
    let own = format!("arn:aws:s3:::{bucket}");
    for statement in &document.statements {
        let actions = statement.action.items();
        if actions
            .iter()
            .any(|action| !action.vendor.eq_ignore_ascii_case("s3") && action.vendor != "*")
        {
            return Err(malformed("Policy has invalid action"));
        }
        for resource in statement.resource.iter().flat_map(Scope::items) {
            let about = match resource {
                // S3 takes no `*` in the place of a resource.
                ResourcePattern::Any => false,
                ResourcePattern::Arn(pattern) => {
                    let text = pattern.to_string();
                    text == own || text.starts_with(&format!("{own}/")) || text == format!("{own}*")
                }
            };
            if !about {
                return Err(malformed("Policy has invalid resource"));
            }
        }
        for principal in statement.principal.iter().flat_map(Scope::items) {
            let invalid = || malformed("Invalid principal in policy");
            match principal {
                PrincipalPattern::Arn(arn) if arn.account == iam.account() => {
                    match known_id(iam, arn)? {
                        Some(id) => drop(ids.insert(arn.to_string(), Value::from(id))),
                        None if arn.resource.starts_with("assumed-role/") => {}
                        None => return Err(invalid()),
                    }
                }
                // Unlike elsewhere, no deleted principal can be named anew; and there are no other
                // accounts or identity providers here, whom a policy may name all the same.
                PrincipalPattern::UniqueId(_) => return Err(invalid()),
                _ => {}
            }
        }
    }
    Ok(ids)
}

fn known_id(iam: &Iam, arn: &Arn) -> S3Result<Option<String>> {
    let account = iam.account();
    iam.read(|c| crate::iam::standing::unique_id(c, account, arn))
        .map_err(|_| super::error::plain(S3ErrorCode::InternalError))
}

impl Ops {
    fn guard(&self, bucket: &str) -> S3Result<Arc<Guard>> {
        let policies = &self.core.policies;
        policies.of(bucket).map_err(|_| super::error::plain(S3ErrorCode::InternalError))
    }

    pub(super) async fn put_policy(
        &self,
        input: PutBucketPolicyInput,
    ) -> S3Result<S3Response<PutBucketPolicyOutput>> {
        self.need_bucket(&input.bucket).await?;
        let (bucket, text) = (input.bucket, input.policy);
        if text.len() > LARGEST {
            return Err(s3_error!(
                InvalidArgument,
                "Policy exceeds the maximum allowed document size."
            ));
        }
        let document = Document::parse(&text, Kind::Resource).map_err(|e| refused(&e))?;
        let ids = checked(&self.core.policies.shared.iam, &bucket, &document)?;
        let block = self.guard(&bucket)?.block;
        if is_public(&document) && block.is_some_and(|block| block.policy) {
            let request = super::access::in_flight()?;
            let caller = request.caller().map(crate::context::Caller::arn).unwrap_or_default();
            return Err(s3_error!(
                AccessDenied,
                "User: {caller} is not authorized to perform: s3:PutBucketPolicy on resource: \"arn:aws:s3:::{bucket}\" because public policies are prevented by the BlockPublicPolicy setting in S3 Block Public Access."
            ));
        }
        let ids = Value::Object(ids).to_string();
        self.core
            .policies
            .write(move |c| {
                c.prepare_cached(
                    "INSERT INTO s3_buckets (bucket, policy, ids) VALUES (?1, ?2, ?3)
                     ON CONFLICT (bucket) DO UPDATE SET policy = excluded.policy, ids = excluded.ids",
                )?
                .execute(params![bucket, text, ids])
            })
            .await?;
        Ok(S3Response::with_status(PutBucketPolicyOutput::default(), http::StatusCode::NO_CONTENT))
    }

    pub(super) async fn get_policy(
        &self,
        bucket: &str,
    ) -> S3Result<S3Response<GetBucketPolicyOutput>> {
        self.need_bucket(bucket).await?;
        match self.guard(bucket)?.text.clone() {
            Some(text) => Ok(S3Response::new(GetBucketPolicyOutput { policy: Some(text) })),
            None => Err(no_policy()),
        }
    }

    pub(super) async fn delete_policy(
        &self,
        bucket: String,
    ) -> S3Result<S3Response<DeleteBucketPolicyOutput>> {
        self.need_bucket(&bucket).await?;
        self.core
            .policies
            .write(move |c| {
                let sql = "UPDATE s3_buckets SET policy = NULL, ids = '{}' WHERE bucket = ?1";
                c.prepare_cached(sql)?.execute([bucket])
            })
            .await?;
        Ok(S3Response::new(DeleteBucketPolicyOutput::default()))
    }

    pub(super) async fn policy_status(
        &self,
        bucket: &str,
    ) -> S3Result<S3Response<GetBucketPolicyStatusOutput>> {
        self.need_bucket(bucket).await?;
        let guard = self.guard(bucket)?;
        if guard.policy.is_none() {
            return Err(no_policy());
        }
        let policy_status = Some(PolicyStatus { is_public: Some(guard.public) });
        Ok(S3Response::new(GetBucketPolicyStatusOutput { policy_status }))
    }

    pub(super) async fn put_block(
        &self,
        input: PutPublicAccessBlockInput,
    ) -> S3Result<S3Response<PutPublicAccessBlockOutput>> {
        self.need_bucket(&input.bucket).await?;
        let (bucket, wanted) = (input.bucket, input.public_access_block_configuration);
        let letters: String = [
            wanted.block_public_acls,
            wanted.ignore_public_acls,
            wanted.block_public_policy,
            wanted.restrict_public_buckets,
        ]
        .map(|on| if on.unwrap_or(false) { '1' } else { '0' })
        .into_iter()
        .collect();
        self.set_block(bucket, letters).await?;
        Ok(S3Response::new(PutPublicAccessBlockOutput::default()))
    }

    pub(super) async fn get_block(
        &self,
        bucket: &str,
    ) -> S3Result<S3Response<GetPublicAccessBlockOutput>> {
        self.need_bucket(bucket).await?;
        let Some(block) = self.guard(bucket)?.block else {
            return Err(custom(
                "NoSuchPublicAccessBlockConfiguration",
                http::StatusCode::NOT_FOUND,
                "The public access block configuration was not found",
            ));
        };
        Ok(S3Response::new(GetPublicAccessBlockOutput {
            public_access_block_configuration: Some(PublicAccessBlockConfiguration {
                block_public_acls: Some(block.acls),
                ignore_public_acls: Some(block.ignore_acls),
                block_public_policy: Some(block.policy),
                restrict_public_buckets: Some(block.restrict),
            }),
        }))
    }

    pub(super) async fn delete_block(
        &self,
        bucket: String,
    ) -> S3Result<S3Response<DeletePublicAccessBlockOutput>> {
        self.need_bucket(&bucket).await?;
        self.set_block(bucket, String::new()).await?;
        Ok(S3Response::new(DeletePublicAccessBlockOutput::default()))
    }

    async fn set_block(&self, bucket: String, letters: String) -> S3Result<()> {
        self.core
            .policies
            .write(move |c| {
                c.prepare_cached(
                    "INSERT INTO s3_buckets (bucket, block) VALUES (?1, ?2)
                     ON CONFLICT (bucket) DO UPDATE SET block = excluded.block",
                )?
                .execute(params![bucket, letters])
            })
            .await
    }

    /// Deletes a bucket, and with it its policy.
    pub(super) async fn drop_bucket(
        &self,
        bucket: &str,
    ) -> S3Result<S3Response<DeleteBucketOutput>> {
        let deleted = self.core.store.delete_bucket(bucket).await;
        self.core.policies.forget();
        deleted.map_err(from_store)?;
        Ok(S3Response::new(DeleteBucketOutput::default()))
    }
}

fn no_policy() -> S3Error {
    custom("NoSuchBucketPolicy", http::StatusCode::NOT_FOUND, "The bucket policy does not exist")
}

#[cfg(test)]
mod tests;

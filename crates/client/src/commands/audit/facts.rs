//! What an audit looks at: plain data, gathered by `gather`, judged by `rules`.

use std::collections::BTreeMap;

use kennel_iam::policy::Document;
use serde_json::Value;

use crate::commands::iam::event::RootUse;
use crate::commands::iam::principals::Entity;

/// Everything at one time. Times are epoch seconds.
#[derive(Debug, Clone, Default)]
pub(super) struct Facts {
    pub account: String,
    pub now: i64,
    /// Whether this is Kennel's own platform, where `kennel` itself signs with the root's key.
    pub local: bool,
    pub roles: Vec<Role>,
    pub users: Vec<User>,
    pub root: RootUse,
    pub buckets: Vec<Bucket>,
    pub functions: Vec<Function>,
    pub endpoints: Vec<Endpoint>,
    /// What could not be looked at, and why.
    pub notes: Vec<String>,
}

/// A role.
#[derive(Debug, Clone)]
pub(super) struct Role {
    pub entity: Entity,
    /// What refers to it now: `function f`, `model m`, …
    pub used_by: Vec<String>,
    /// The policy that it has needed; `None` where that was not asked or nothing is recorded.
    pub needed: Needed,
}

/// What a role or user has needed.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) enum Needed {
    /// Not asked: nothing about it calls for that, or it could not be found out.
    #[default]
    Unknown,
    /// Nothing is recorded.
    Nothing,
    /// This policy, also parsed.
    Policy(Value, Document),
}

/// A user.
#[derive(Debug, Clone)]
pub(super) struct User {
    pub entity: Entity,
    pub keys: Vec<Key>,
    /// As of roles.
    pub needed: Needed,
}

/// An access key.
#[derive(Debug, Clone)]
pub(super) struct Key {
    pub id: String,
    pub active: bool,
    pub created: Option<i64>,
    pub last_used: Option<i64>,
    /// The service that it was used for last.
    pub service: Option<String>,
}

/// A bucket.
#[derive(Debug, Clone)]
pub(super) struct Bucket {
    pub name: String,
    /// What S3 says of its policy.
    pub public: bool,
    pub policy: Option<Document>,
    /// RestrictPublicBuckets: a public policy is without effect.
    pub restricted: bool,
    /// BlockPublicPolicy: another public policy is refused.
    pub blocked: bool,
}

/// A function.
#[derive(Debug, Clone)]
pub(super) struct Function {
    pub name: String,
    pub arn: String,
    pub role: String,
    /// MB.
    pub memory: u64,
    pub policy: Option<Document>,
    /// AuthType of each URL, by qualifier.
    pub urls: BTreeMap<String, String>,
    /// Of the REPORT lines that were found: how many, and the most memory of all in MB.
    pub reports: usize,
    pub used: u64,
}

/// An endpoint.
#[derive(Debug, Clone)]
pub(super) struct Endpoint {
    pub name: String,
    pub arn: String,
    pub status: String,
    pub created: Option<i64>,
    pub changed: Option<i64>,
    /// Instances that are billed.
    pub instances: Vec<Instances>,
    /// The last hour with an invocation, of those that CloudWatch has.
    pub last_invoked: Option<i64>,
    /// How far back the metrics were asked for.
    pub since: i64,
}

/// Instances of one variant.
#[derive(Debug, Clone)]
pub(super) struct Instances {
    pub variant: String,
    pub kind: String,
    pub count: u64,
}

impl Facts {
    /// A role by its ARN.
    pub(super) fn role(&self, arn: &str) -> Option<&Role> {
        self.roles.iter().find(|role| role.entity.arn == arn)
    }
}

//! What a caller brings to a decision: the policies of its user or role, its boundary, its session's
//! policies and tags. Compiled once and kept until somebody writes to IAM.

use std::sync::Arc;

use kennel_iam::policy::{Document, Kind as PolicyKind};
use kennel_iam::{Policies, Policy, PolicyType};
use kennel_store::state::rusqlite::{Connection, OptionalExtension as _};
use kennel_wire::ServiceError;
use serde_json::Value;

use super::entities::{self, COLUMNS, Entity, Kind};
use super::error::Outcome;
use super::{Iam, managed};
use crate::authorize::{Known, Lookup};
use crate::context::{Caller, Principal, Timestamp};

/// What a user or role brings.
#[derive(Debug)]
pub(crate) struct OfEntity {
    identity: Vec<Policy>,
    boundary: Option<Policy>,
    tags: Vec<(String, String)>,
}

/// What a caller brings.
#[derive(Debug, Default)]
pub(crate) struct Standing {
    /// All but the policies of resources and of organizations.
    pub(crate) policies: Policies,
    /// Of the user or role, and over them those of the session.
    pub(crate) tags: Vec<(String, String)>,
    /// When its temporary credentials were made.
    pub(crate) issued: Option<Timestamp>,
    pub(crate) source_identity: Option<String>,
}

/// A session's row.
struct Session {
    policy: Option<String>,
    details: Value,
    created: Timestamp,
}

impl Iam {
    /// What a caller brings.
    ///
    /// # Errors
    /// When the database cannot be read or a policy in it cannot: nobody is allowed anything then.
    pub(crate) fn standing(&self, caller: &Caller) -> Result<Arc<Standing>, ServiceError> {
        let key = caller.access_key.as_str();
        self.shared.standings.get_or(key, || {
            let session = self.read(|c| session(c, key))?;
            let own = match &caller.principal {
                Principal::Root => None,
                Principal::User { id, .. } | Principal::Role { id, .. } => Some(self.entity(id)?),
            };
            let narrowed = match &session {
                Some(session) => self.read(|c| session_policies(c, session))?,
                None => None,
            };
            Ok(standing(own.as_deref(), session, narrowed))
        })
    }

    /// The platform as a session of a role, for what it does itself in the role's name; `None` when there is
    /// no such role. No key signs for it, so it is one session for each role.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub(crate) fn role_caller(&self, role_arn: &str) -> Result<Option<Caller>, ServiceError> {
        let account = self.account();
        let role = self.read(|c| super::sessions::role(c, account, role_arn))?;
        Ok(role.map(|role| {
            let key = format!("role:{}", role.id);
            let principal = Principal::Role {
                role: role.name,
                id: role.id,
                session: "SageMaker".to_owned(),
                role_arn: role_arn.to_owned(),
            };
            super::credentials::caller(account, principal, &key)
        }))
    }

    /// The trust policy of a role of this account.
    ///
    /// # Errors
    /// As [`Iam::standing`].
    pub(crate) fn trust_policy(&self, role_arn: &str) -> Result<Option<Policy>, ServiceError> {
        let account = self.account();
        let role = self.read(|c| super::role_and_trust(c, account, role_arn))?;
        Ok(role.map(|(_, document)| Policy::new("trust policy", PolicyType::Resource, document)))
    }

    fn entity(&self, id: &str) -> Result<Arc<OfEntity>, ServiceError> {
        self.shared.entities.get_or(id, || self.read(|c| entity(c, id)))
    }
}

fn standing(
    own: Option<&OfEntity>,
    session: Option<Session>,
    narrowed: Option<Vec<Policy>>,
) -> Standing {
    let mut standing = Standing::default();
    if let Some(own) = own {
        standing.policies.identity.clone_from(&own.identity);
        standing.policies.boundary.clone_from(&own.boundary);
        standing.tags.clone_from(&own.tags);
    }
    standing.policies.session = narrowed;
    if let Some(session) = session {
        standing.issued = Some(session.created);
        let identity = session.details.get("SourceIdentity").and_then(Value::as_str);
        standing.source_identity = identity.map(str::to_owned);
        // A session's tag stands for the role's of the same key, whatever its case.
        for (key, value) in pairs(session.details.get("Tags")) {
            standing.tags.retain(|(known, _)| !known.eq_ignore_ascii_case(&key));
            standing.tags.push((key, value));
        }
    }
    standing
}

fn pairs(tags: Option<&Value>) -> Vec<(String, String)> {
    let text = |tag: &Value, member: &str| {
        tag.get(member).and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    let list = tags.and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    list.iter().map(|tag| (text(tag, "Key"), text(tag, "Value"))).collect()
}

fn session(c: &Connection, key: &str) -> Outcome<Option<Session>> {
    if !key.starts_with("ASIA") {
        return Ok(None);
    }
    let found = c
        .prepare_cached("SELECT policy, details, created FROM iam_sessions WHERE id = ?1")?
        .query_row([key], |row| {
            let details: Option<String> = row.get(1)?;
            let details = details.and_then(|text| serde_json::from_str(&text).ok());
            let created = Timestamp(row.get(2)?);
            Ok(Session { policy: row.get(0)?, details: details.unwrap_or_default(), created })
        })
        .optional()?;
    // A session that vanished while its request was under way must not lose its limits.
    found.map(Some).ok_or_else(|| ServiceError::internal().into())
}

/// The session's own policy and the managed ones that it named; `None` when it was not narrowed.
fn session_policies(c: &Connection, session: &Session) -> Outcome<Option<Vec<Policy>>> {
    let mut all = Vec::new();
    if let Some(text) = &session.policy {
        all.push(compile("session policy", PolicyType::Session, text)?);
    }
    let named = session.details.get("PolicyArns").and_then(Value::as_array);
    for named in named.into_iter().flatten() {
        let arn = named.get("arn").and_then(Value::as_str).unwrap_or_default();
        all.push(managed_policy(c, arn, PolicyType::Session)?);
    }
    Ok(Some(all).filter(|all| !all.is_empty()))
}

fn entity(c: &Connection, id: &str) -> Outcome<OfEntity> {
    let sql = format!("SELECT {COLUMNS} FROM iam_entities WHERE id = ?1");
    let found = c.prepare_cached(&sql)?.query_row([id], Entity::read).optional()?;
    // Who was deleted meanwhile has nothing any more.
    let Some(own) = found else {
        return Ok(OfEntity { identity: Vec::new(), boundary: None, tags: Vec::new() });
    };
    let mut identity = Vec::new();
    let mut attached =
        c.prepare_cached("SELECT policy FROM iam_attachments WHERE owner = ?1 ORDER BY policy")?;
    for arn in attached.query_map([id], |row| row.get::<_, String>(0))? {
        identity.push(managed_policy(c, &arn?, PolicyType::Identity)?);
    }
    let mut inline =
        c.prepare_cached("SELECT name, document FROM iam_inline WHERE owner = ?1 ORDER BY name")?;
    let rows =
        inline.query_map([id], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?)))?;
    for row in rows {
        let (name, text) = row?;
        identity.push(compile(&format!("inline: {name}"), PolicyType::Identity, &text)?);
    }
    let boundary = match &own.boundary {
        Some(arn) => Some(managed_policy(c, arn, PolicyType::Boundary)?),
        None => None,
    };
    Ok(OfEntity { identity, boundary, tags: pairs(Some(&Value::from(own.tags))) })
}

/// A managed policy's default version.
fn managed_policy(c: &Connection, arn: &str, policy_type: PolicyType) -> Outcome<Policy> {
    if let Some(aws) = managed::all().iter().find(|m| m.arn == arn) {
        return aws.compiled(policy_type);
    }
    let text: Option<String> = c
        .prepare_cached(
            "SELECT v.document FROM iam_policies p
             JOIN iam_policy_versions v ON v.policy = p.arn AND v.version = p.default_version
             WHERE p.arn = ?1",
        )?
        .query_row([arn], |row| row.get(0))
        .optional()?;
    match text {
        Some(text) => compile(arn, policy_type, &text),
        None => {
            tracing::error!("policy `{arn}` is attached and does not exist");
            Err(ServiceError::internal().into())
        }
    }
}

/// What is stored was checked when it came; what cannot be read now must not be left out, as it may deny.
pub(crate) fn compile(name: &str, policy_type: PolicyType, text: &str) -> Outcome<Policy> {
    match Document::parse(text, PolicyKind::Identity) {
        Ok(document) => Ok(Policy::new(name, policy_type, document)),
        Err(e) => {
            tracing::error!("policy `{name}` cannot be read: {e}");
            Err(ServiceError::internal().into())
        }
    }
}

fn known(entity: Entity, account: &str) -> Known {
    let arn = entity.arn(account);
    Known { arn, boundary: entity.boundary, tags: pairs(Some(&Value::from(entity.tags))) }
}

impl Lookup for Iam {
    fn role(&self, name: &str) -> Option<Known> {
        let found = self.read(|c| entities::find(c, Kind::Role, name)).ok()?;
        Some(known(found, self.account()))
    }

    fn user(&self, name: &str) -> Option<Known> {
        let found = self.read(|c| entities::find(c, Kind::User, name)).ok()?;
        Some(known(found, self.account()))
    }

    fn key_owner(&self, key: &str) -> Option<Known> {
        let sql = format!(
            "SELECT {COLUMNS} FROM iam_entities
             WHERE id = (SELECT owner FROM iam_keys WHERE id = ?1)"
        );
        let found =
            self.read(|c| Ok(c.prepare_cached(&sql)?.query_row([key], Entity::read).optional()?));
        Some(known(found.ok().flatten()?, self.account()))
    }
}

/// The id behind the ARN of a user or role of this account; `None` when there is none.
pub(crate) fn unique_id(
    c: &Connection,
    account: &str,
    arn: &kennel_iam::Arn,
) -> Outcome<Option<String>> {
    for (kind, word) in [(Kind::User, "user"), (Kind::Role, "role")] {
        if let Some(name) = arn.name_of(word) {
            let found = match entities::find(c, kind, name) {
                Ok(found) => Some(found),
                Err(super::error::Refusal::Service(_)) => None,
                Err(other) => return Err(other),
            };
            return Ok(found.filter(|e| e.arn(account) == arn.to_string()).map(|e| e.id));
        }
    }
    Ok(None)
}

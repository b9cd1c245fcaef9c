//! The policies of a user or role as their authors wrote them: for the simulator, which tells where in a
//! policy a statement stands, and for the reports about what policies allow. Decisions about calls read
//! them through [`super::standing`], compiled and kept.

use kennel_iam::Arn;
use kennel_iam::policy::{Document, Kind as PolicyKind};
use kennel_store::state::rusqlite::{Connection, OptionalExtension as _};
use kennel_wire::ServiceError;

use super::entities::{self, Entity, Kind};
use super::error::{Outcome, Refusal, invalid_input, no_policy, no_such_entity};
use super::{Iam, managed};
use crate::context::Timestamp;
use crate::records::Identity;

/// One policy.
#[derive(Debug, Clone)]
pub(crate) struct Held {
    /// What the simulator calls it: a managed policy's name, `role_NAME_POLICY` of an inline one.
    pub(crate) source_id: String,
    /// A managed policy's.
    pub(crate) arn: Option<String>,
    pub(crate) text: String,
    pub(crate) document: Document,
}

impl Held {
    fn new(source_id: String, arn: Option<&str>, text: String) -> Outcome<Self> {
        // What is stored was checked when it came.
        match Document::parse(&text, PolicyKind::Identity) {
            Ok(document) => Ok(Held { source_id, arn: arn.map(str::to_owned), text, document }),
            Err(e) => {
                tracing::error!("policy `{source_id}` cannot be read: {e}");
                Err(ServiceError::internal().into())
            }
        }
    }
}

impl Iam {
    /// Reads on a thread of its own, for what may take long.
    pub(crate) async fn read_apart<T, F>(&self, work: F) -> Result<T, ServiceError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Outcome<T> + Send + 'static,
    {
        let iam = self.clone();
        match tokio::task::spawn_blocking(move || iam.read(work)).await {
            Ok(outcome) => outcome,
            Err(e) => Err(crate::service::state_failed(&e)),
        }
    }
}

/// What an ARN names.
#[derive(Debug, Clone)]
pub(crate) enum Named {
    Entity(Box<Entity>),
    Policy { arn: String, held: Held },
}

/// The user, role or managed policy that an ARN names.
pub(crate) fn named(c: &Connection, account: &str, text: &str) -> Outcome<Named> {
    let arn: Arn = text.parse().map_err(|_| invalid_input(format!("Invalid ARN: {text}")))?;
    let nobody = || no_such_entity(format!("ARN {text} does not exist."));
    if arn.service != "iam" {
        return Err(invalid_input(format!("Invalid Entity Arn: {text}")).into());
    }
    for (kind, word) in [(Kind::User, "user"), (Kind::Role, "role")] {
        let Some(name) = arn.name_of(word) else { continue };
        let found = match entities::find(c, kind, name) {
            Ok(found) => found,
            Err(Refusal::Service(_)) => return Err(nobody().into()),
            Err(other) => return Err(other),
        };
        if found.arn(account) != text {
            return Err(nobody().into());
        }
        return Ok(Named::Entity(Box::new(found)));
    }
    if arn.resource.starts_with("policy/") {
        let held = managed_policy(c, text)?.ok_or_else(|| no_policy(text))?;
        return Ok(Named::Policy { arn: text.to_owned(), held });
    }
    if arn.resource.starts_with("group/") {
        // Groups cannot be made here.
        return Err(nobody().into());
    }
    Err(invalid_input(format!("Invalid Entity Arn: {text}")).into())
}

/// The user or role that an ARN names.
pub(crate) fn entity(c: &Connection, account: &str, arn: &str) -> Outcome<Entity> {
    match named(c, account, arn)? {
        Named::Entity(entity) => Ok(*entity),
        Named::Policy { .. } => Err(invalid_input(format!("Invalid Entity Arn: {arn}")).into()),
    }
}

/// A managed policy's default version.
pub(crate) fn managed_policy(c: &Connection, arn: &str) -> Outcome<Option<Held>> {
    if let Some(aws) = managed::all().iter().find(|m| m.arn == arn) {
        return Held::new(aws.name.clone(), Some(arn), aws.document.clone()).map(Some);
    }
    let found: Option<(String, String)> = c
        .prepare_cached(
            "SELECT p.name, v.document FROM iam_policies p
             JOIN iam_policy_versions v ON v.policy = p.arn AND v.version = p.default_version
             WHERE p.arn = ?1",
        )?
        .query_row([arn], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    found.map(|(name, text)| Held::new(name, Some(arn), text)).transpose()
}

/// All identity policies of a user or role: managed ones, then its own.
pub(crate) fn of_entity(c: &Connection, entity: &Entity) -> Outcome<Vec<Held>> {
    let mut all = Vec::new();
    let mut attached =
        c.prepare_cached("SELECT policy FROM iam_attachments WHERE owner = ?1 ORDER BY policy")?;
    for arn in attached.query_map([&entity.id], |row| row.get::<_, String>(0))? {
        let arn = arn?;
        all.push(managed_policy(c, &arn)?.ok_or_else(|| no_policy(&arn))?);
    }
    let mut inline =
        c.prepare_cached("SELECT name, document FROM iam_inline WHERE owner = ?1 ORDER BY name")?;
    let rows = inline
        .query_map([&entity.id], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?)))?;
    for row in rows {
        let (name, text) = row?;
        let source_id = format!("{}_{}_{name}", entity.kind.lower(), entity.name);
        all.push(Held::new(source_id, None, text)?);
    }
    Ok(all)
}

/// The users and roles that a managed policy is attached to.
pub(crate) fn holders(c: &Connection, policy: &str) -> Outcome<Vec<Entity>> {
    let sql = format!(
        "SELECT {} FROM iam_entities
         WHERE id IN (SELECT owner FROM iam_attachments WHERE policy = ?1) ORDER BY kind, folded",
        entities::COLUMNS
    );
    let mut statement = c.prepare_cached(&sql)?;
    let rows = statement.query_map([policy], Entity::read)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// The user or role that an ARN names, as access records know it.
pub(crate) fn identity(c: &Connection, account: &str, arn: &str) -> Outcome<Identity> {
    let entity = entity(c, account, arn)?;
    Ok(Identity { arn: entity.arn(account), created: Timestamp(entity.created) })
}

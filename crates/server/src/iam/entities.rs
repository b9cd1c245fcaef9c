//! What users and roles have in common: a name, a path, an id, tags, a boundary.

use kennel_store::state::rusqlite::{Connection, OptionalExtension as _, Row, params};
use serde_json::{Map, Value, json};

use super::error::{Outcome, already_exists, invalid_input, limit, no_entity, quota};
use super::input::{Call, encoded, seconds};
use super::policies;

/// A user or a role.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    User,
    Role,
}

impl Kind {
    pub(crate) fn lower(self) -> &'static str {
        match self {
            Kind::User => "user",
            Kind::Role => "role",
        }
    }

    pub(crate) fn title(self) -> &'static str {
        match self {
            Kind::User => "User",
            Kind::Role => "Role",
        }
    }

    /// The member that names one: `UserName`, `RoleName`.
    pub(crate) fn member(self) -> &'static str {
        match self {
            Kind::User => "UserName",
            Kind::Role => "RoleName",
        }
    }

    pub(crate) fn id_prefix(self) -> &'static str {
        match self {
            Kind::User => "AIDA",
            Kind::Role => "AROA",
        }
    }
}

/// A row of `iam_entities`.
#[derive(Debug, Clone)]
pub(crate) struct Entity {
    pub(crate) id: String,
    pub(crate) kind: Kind,
    pub(crate) name: String,
    pub(crate) path: String,
    pub(crate) created: i64,
    pub(crate) boundary: Option<String>,
    pub(crate) tags: Vec<Value>,
    pub(crate) trust: String,
    pub(crate) description: Option<String>,
    pub(crate) max_session: i64,
    pub(crate) used: Option<i64>,
    pub(crate) used_region: Option<String>,
}

pub(crate) const COLUMNS: &str = "id, kind, name, path, created, boundary, tags, trust, description, max_session, used, used_region";

impl Entity {
    pub(crate) fn read(row: &Row<'_>) -> kennel_store::state::rusqlite::Result<Self> {
        let kind: String = row.get(1)?;
        let tags: String = row.get(6)?;
        Ok(Entity {
            id: row.get(0)?,
            kind: if kind == "role" { Kind::Role } else { Kind::User },
            name: row.get(2)?,
            path: row.get(3)?,
            created: row.get(4)?,
            boundary: row.get(5)?,
            tags: serde_json::from_str(&tags).unwrap_or_default(),
            trust: row.get::<_, Option<String>>(7)?.unwrap_or_default(),
            description: row.get(8)?,
            max_session: row.get(9)?,
            used: row.get(10)?,
            used_region: row.get(11)?,
        })
    }

    pub(crate) fn arn(&self, account: &str) -> String {
        arn(account, self.kind, &self.path, &self.name)
    }

    /// How lists are ordered, and their marker.
    pub(crate) fn order(&self) -> String {
        self.name.to_ascii_lowercase()
    }

    /// The members of botocore's `User` or `Role`. Lists leave out what only the single answer has.
    pub(crate) fn show(&self, account: &str, whole: bool) -> Value {
        let kind = self.kind.title();
        let mut members = Map::new();
        members.insert("Path".to_owned(), json!(self.path));
        members.insert(format!("{kind}Name"), json!(self.name));
        members.insert(format!("{kind}Id"), json!(self.id));
        members.insert("Arn".to_owned(), json!(self.arn(account)));
        members.insert("CreateDate".to_owned(), seconds(self.created));
        if self.kind == Kind::Role {
            members.insert("AssumeRolePolicyDocument".to_owned(), json!(encoded(&self.trust)));
            members.insert("MaxSessionDuration".to_owned(), json!(self.max_session));
            if let Some(description) = &self.description {
                members.insert("Description".to_owned(), json!(description));
            }
            if whole {
                let mut used = Map::new();
                if let Some(at) = self.used {
                    used.insert("LastUsedDate".to_owned(), seconds(at));
                    used.insert("Region".to_owned(), json!(self.used_region));
                }
                members.insert("RoleLastUsed".to_owned(), Value::Object(used));
            }
        }
        if whole {
            if let Some(boundary) = &self.boundary {
                members.insert(
                    "PermissionsBoundary".to_owned(),
                    json!({"PermissionsBoundaryType": "Policy", "PermissionsBoundaryArn": boundary}),
                );
            }
            if !self.tags.is_empty() {
                members.insert("Tags".to_owned(), json!(self.tags));
            }
        }
        Value::Object(members)
    }
}

pub(crate) fn arn(account: &str, kind: Kind, path: &str, name: &str) -> String {
    format!("arn:aws:iam::{account}:{}{path}{name}", kind.lower())
}

/// The user or role that a call names.
pub(crate) fn named(call: &Call, c: &Connection, kind: Kind) -> Outcome<Entity> {
    find(c, kind, call.required(kind.member())?)
}

pub(crate) fn find(c: &Connection, kind: Kind, name: &str) -> Outcome<Entity> {
    let sql = format!("SELECT {COLUMNS} FROM iam_entities WHERE kind = ?1 AND folded = ?2");
    let found = c
        .prepare_cached(&sql)?
        .query_row(params![kind.lower(), name.to_ascii_lowercase()], Entity::read)
        .optional()?;
    Ok(found.ok_or_else(|| no_entity(kind, name))?)
}

/// All of a kind under a path, in the order of their names.
pub(crate) fn all(c: &Connection, kind: Kind, path: &str) -> Outcome<Vec<Entity>> {
    let sql = format!(
        "SELECT {COLUMNS} FROM iam_entities
         WHERE kind = ?1 AND substr(path, 1, length(?2)) = ?2 ORDER BY folded"
    );
    let mut statement = c.prepare_cached(&sql)?;
    let rows = statement.query_map(params![kind.lower(), path], Entity::read)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Inserts a row whose name must be new.
pub(crate) fn insert(c: &Connection, entity: &Entity) -> Outcome<()> {
    let most = match entity.kind {
        Kind::User => ("UsersPerAccount", 5_000),
        Kind::Role => ("RolesPerAccount", 1_000),
    };
    let there: i64 = c
        .prepare_cached("SELECT count(*) FROM iam_entities WHERE kind = ?1")?
        .query_row([entity.kind.lower()], |row| row.get(0))?;
    let folded = entity.name.to_ascii_lowercase();
    let taken: bool = c
        .prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM iam_entities WHERE kind = ?1 AND folded = ?2)",
        )?
        .query_row(params![entity.kind.lower(), folded], |row| row.get(0))?;
    if taken {
        let text = format!("{} with name {} already exists.", entity.kind.title(), entity.name);
        return Err(already_exists(text).into());
    }
    if there >= most.1 {
        return Err(quota(most.0, most.1).into());
    }
    c.prepare_cached(
        "INSERT INTO iam_entities
         (id, kind, name, folded, path, created, boundary, tags, trust, description, max_session)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
    )?
    .execute(params![
        entity.id,
        entity.kind.lower(),
        entity.name,
        folded,
        entity.path,
        entity.created,
        entity.boundary,
        Value::from(entity.tags.clone()).to_string(),
        (entity.kind == Kind::Role).then_some(&entity.trust),
        entity.description,
        entity.max_session,
    ])?;
    Ok(())
}

/// Merges a call's `Tags` into those there; keys are compared without regard to case.
pub(crate) fn merge_tags(mut tags: Vec<Value>, new: &[Value]) -> Outcome<Vec<Value>> {
    let mut seen: Vec<String> = Vec::new();
    for tag in new {
        let key = tag.get("Key").and_then(Value::as_str).unwrap_or_default();
        let folded = key.to_lowercase();
        if folded.starts_with("aws:") {
            let text =
                "System tags cannot be added/updated by requester (keys that begin with `aws:`)";
            return Err(invalid_input(text).into());
        }
        if seen.contains(&folded) {
            let text = "Duplicate tag keys found. Please note that Tag keys are case insensitive.";
            return Err(invalid_input(text).into());
        }
        let same = |t: &Value| {
            t.get("Key").and_then(Value::as_str).is_some_and(|k| k.to_lowercase() == folded)
        };
        let value = tag.get("Value").cloned().unwrap_or_else(|| json!(""));
        let entry = json!({"Key": key, "Value": value});
        match tags.iter_mut().find(|t| same(t)) {
            Some(there) => *there = entry,
            None => tags.push(entry),
        }
        seen.push(folded);
    }
    if tags.len() > 50 {
        return Err(limit("The number of tags has reached the maximum limit.").into());
    }
    Ok(tags)
}

pub(crate) fn tag(call: &Call, c: &Connection, kind: Kind) -> Outcome<Value> {
    let entity = named(call, c, kind)?;
    let tags = merge_tags(entity.tags, call.list("Tags"))?;
    set_tags(c, &entity.id, tags)
}

pub(crate) fn untag(call: &Call, c: &Connection, kind: Kind) -> Outcome<Value> {
    let entity = named(call, c, kind)?;
    let gone: Vec<String> =
        call.list("TagKeys").iter().filter_map(Value::as_str).map(str::to_lowercase).collect();
    let mut tags = entity.tags;
    tags.retain(|t| {
        let key = t.get("Key").and_then(Value::as_str).unwrap_or_default().to_lowercase();
        !gone.contains(&key)
    });
    set_tags(c, &entity.id, tags)
}

fn set_tags(c: &Connection, id: &str, tags: Vec<Value>) -> Outcome<Value> {
    c.prepare_cached("UPDATE iam_entities SET tags = ?2 WHERE id = ?1")?
        .execute(params![id, Value::from(tags).to_string()])?;
    Ok(json!({}))
}

pub(crate) fn list_tags(call: &Call, c: &Connection, kind: Kind) -> Outcome<Value> {
    let key = |t: &Value| t.get("Key").and_then(Value::as_str).unwrap_or_default().to_lowercase();
    let mut tags = named(call, c, kind)?.tags;
    tags.sort_by_key(key);
    Ok(call.page(tags, key)?.listed("Tags", |tag| tag))
}

pub(crate) fn put_boundary(call: &Call, c: &Connection, kind: Kind) -> Outcome<Value> {
    let entity = named(call, c, kind)?;
    let boundary = boundary(call, c)?;
    c.prepare_cached("UPDATE iam_entities SET boundary = ?2 WHERE id = ?1")?
        .execute(params![entity.id, boundary])?;
    Ok(json!({}))
}

pub(crate) fn delete_boundary(call: &Call, c: &Connection, kind: Kind) -> Outcome<Value> {
    let entity = named(call, c, kind)?;
    if entity.boundary.is_none() {
        let text = format!("No permissions boundary exists for {} {}.", kind.lower(), entity.name);
        return Err(super::error::no_such_entity(text).into());
    }
    c.prepare_cached("UPDATE iam_entities SET boundary = NULL WHERE id = ?1")?
        .execute([entity.id])?;
    Ok(json!({}))
}

/// The policy that a call's `PermissionsBoundary` names, which must exist.
pub(crate) fn boundary(call: &Call, c: &Connection) -> Outcome<Option<String>> {
    let Some(arn) = call.text("PermissionsBoundary") else { return Ok(None) };
    let found = policies::find(c, arn)?;
    if found.is_none() {
        let text = format!("Scope ARN: {arn} does not exist or is not attachable.");
        return Err(super::error::no_such_entity(text).into());
    }
    Ok(Some(arn.to_owned()))
}

//! Users and their access keys.

use kennel_iam::policy::PrincipalPattern;
use kennel_store::state::rusqlite::{Connection, OptionalExtension as _, params};
use serde_json::{Value, json};

use super::entities::{self, Entity, Kind};
use super::error::{Outcome, already_exists, no_such_entity, quota, validation};
use super::ids;
use super::input::{Call, seconds};
use super::roles;
use crate::context::Principal;

pub(crate) fn create(call: &Call, c: &Connection) -> Outcome<Value> {
    let user = Entity {
        id: ids::unique(Kind::User.id_prefix())?,
        kind: Kind::User,
        name: call.name("UserName", 64)?,
        path: call.path("Path")?,
        created: call.now.0,
        boundary: entities::boundary(call, c)?,
        tags: entities::merge_tags(Vec::new(), call.list("Tags"))?,
        trust: String::new(),
        description: None,
        max_session: 3600,
        used: None,
        used_region: None,
    };
    entities::insert(c, &user)?;
    Ok(json!({"User": user.show(&call.account, true)}))
}

/// The user that a call names, else the one who calls.
fn named_or_self(call: &Call, c: &Connection) -> Outcome<Entity> {
    match (call.text("UserName"), &call.caller.principal) {
        (Some(name), _) => entities::find(c, Kind::User, name),
        (None, Principal::User { name, .. }) => entities::find(c, Kind::User, name),
        (None, Principal::Root | Principal::Role { .. }) => {
            Err(validation("Must specify userName when calling with non-User credentials").into())
        }
    }
}

pub(crate) fn get(call: &Call, c: &Connection) -> Outcome<Value> {
    if call.text("UserName").is_none() && call.caller.principal == Principal::Root {
        let made: i64 = c
            .prepare_cached("SELECT coalesce(min(created), 0) FROM iam_entities")?
            .query_row([], |row| row.get(0))?;
        return Ok(json!({"User": {
            "Path": "/",
            "UserName": "root",
            "UserId": call.account,
            "Arn": call.caller.arn(),
            "CreateDate": seconds(made),
        }}));
    }
    let user = named_or_self(call, c)?;
    Ok(json!({"User": user.show(&call.account, true)}))
}

pub(crate) fn list(call: &Call, c: &Connection) -> Outcome<Value> {
    let users = entities::all(c, Kind::User, call.text("PathPrefix").unwrap_or("/"))?;
    let page = call.page(users, Entity::order)?;
    Ok(page.listed("Users", |user| user.show(&call.account, false)))
}

pub(crate) fn update(call: &Call, c: &Connection) -> Outcome<Value> {
    let user = entities::named(call, c, Kind::User)?;
    let old_arn = user.arn(&call.account);
    let path = match call.text("NewPath") {
        Some(_) => call.path("NewPath")?,
        None => user.path,
    };
    let name = match call.text("NewUserName") {
        Some(_) => call.name("NewUserName", 64)?,
        None => user.name,
    };
    let folded = name.to_ascii_lowercase();
    let taken: bool = c
        .prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM iam_entities
             WHERE kind = 'user' AND folded = ?1 AND id <> ?2)",
        )?
        .query_row(params![folded, user.id], |row| row.get(0))?;
    if taken {
        return Err(already_exists(format!("User with name {name} already exists.")).into());
    }
    c.prepare_cached("UPDATE iam_entities SET path = ?2, name = ?3, folded = ?4 WHERE id = ?1")?
        .execute(params![user.id, path, name, folded])?;
    let new_arn = entities::arn(&call.account, Kind::User, &path, &name);
    if let Ok(arn) = new_arn.parse() {
        roles::rename_principal(c, &old_arn, &PrincipalPattern::Arn(arn))?;
    }
    Ok(json!({}))
}

pub(crate) fn delete(call: &Call, c: &Connection) -> Outcome<Value> {
    let user = entities::named(call, c, Kind::User)?;
    roles::delete_entity(call, c, &user)
}

pub(crate) fn create_key(call: &Call, c: &Connection) -> Outcome<Value> {
    let user = named_or_self(call, c)?;
    let there: i64 = c
        .prepare_cached("SELECT count(*) FROM iam_keys WHERE owner = ?1")?
        .query_row([&user.id], |row| row.get(0))?;
    if there >= 2 {
        return Err(quota("AccessKeysPerUser", 2).into());
    }
    let (id, secret) = (ids::access_key("AKIA")?, ids::secret()?);
    c.prepare_cached(
        "INSERT INTO iam_keys (id, owner, secret, active, created) VALUES (?1, ?2, ?3, 1, ?4)",
    )?
    .execute(params![id, user.id, secret, call.now.0])?;
    Ok(json!({"AccessKey": {
        "UserName": user.name,
        "AccessKeyId": id,
        "Status": "Active",
        "SecretAccessKey": secret,
        "CreateDate": seconds(call.now.0),
    }}))
}

fn status(active: bool) -> &'static str {
    if active { "Active" } else { "Inactive" }
}

pub(crate) fn list_keys(call: &Call, c: &Connection) -> Outcome<Value> {
    let user = named_or_self(call, c)?;
    let mut statement =
        c.prepare_cached("SELECT id, active, created FROM iam_keys WHERE owner = ?1 ORDER BY id")?;
    let keys = statement
        .query_map([&user.id], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
        .collect::<Result<Vec<(String, bool, i64)>, _>>()?;
    let page = call.page(keys, |key| key.0.clone())?;
    Ok(page.listed("AccessKeyMetadata", |(id, active, created)| {
        json!({
            "UserName": user.name,
            "AccessKeyId": id,
            "Status": status(active),
            "CreateDate": seconds(created),
        })
    }))
}

fn no_key(id: &str) -> super::error::Refusal {
    no_such_entity(format!("The Access Key with id {id} cannot be found.")).into()
}

pub(crate) fn delete_key(call: &Call, c: &Connection) -> Outcome<Value> {
    let user = named_or_self(call, c)?;
    let id = call.required("AccessKeyId")?;
    let gone = c
        .prepare_cached("DELETE FROM iam_keys WHERE id = ?1 AND owner = ?2")?
        .execute(params![id, user.id])?;
    if gone == 0 { Err(no_key(id)) } else { Ok(json!({})) }
}

pub(crate) fn update_key(call: &Call, c: &Connection) -> Outcome<Value> {
    let user = named_or_self(call, c)?;
    let id = call.required("AccessKeyId")?;
    let active = match call.required("Status")? {
        "Active" => true,
        "Inactive" => false,
        other => {
            return Err(validation(format!(
                "1 validation error detected: Value '{other}' at 'status' failed to satisfy constraint: Member must satisfy enum value set: [Active, Inactive]"
            ))
            .into());
        }
    };
    let changed = c
        .prepare_cached("UPDATE iam_keys SET active = ?3 WHERE id = ?1 AND owner = ?2")?
        .execute(params![id, user.id, active])?;
    if changed == 0 { Err(no_key(id)) } else { Ok(json!({})) }
}

pub(crate) fn key_last_used(call: &Call, c: &Connection) -> Outcome<Value> {
    let id = call.required("AccessKeyId")?;
    let found: Option<(String, Value)> = c
        .prepare_cached(
            "SELECT e.name, k.used, k.used_service, k.used_region
             FROM iam_keys k JOIN iam_entities e ON e.id = k.owner WHERE k.id = ?1",
        )?
        .query_row([id], |row| {
            let last = match row.get::<_, Option<i64>>(1)? {
                Some(at) => json!({
                    "LastUsedDate": seconds(at),
                    "ServiceName": row.get::<_, Option<String>>(2)?,
                    "Region": row.get::<_, Option<String>>(3)?,
                }),
                None => json!({"ServiceName": "N/A", "Region": "N/A"}),
            };
            Ok((row.get(0)?, last))
        })
        .optional()?;
    let Some((user, last)) = found else { return Err(no_key(id)) };
    Ok(json!({"UserName": user, "AccessKeyLastUsed": last}))
}

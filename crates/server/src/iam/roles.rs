//! Roles and their trust policies.

use kennel_iam::Arn;
use kennel_iam::policy::{
    Document, Kind as PolicyKind, Malformed, Place, PrincipalPattern, limits, size,
};
use kennel_store::state::rusqlite::{Connection, params};
use serde_json::{Value, json};

use super::entities::{self, Entity, Kind};
use super::error::{Outcome, delete_conflict, quota, validation};
use super::ids;
use super::input::{Call, Page};

pub(crate) fn create(call: &Call, c: &Connection) -> Outcome<Value> {
    let trust = call.required("AssumeRolePolicyDocument")?.to_owned();
    let role = Entity {
        id: ids::unique(Kind::Role.id_prefix())?,
        kind: Kind::Role,
        name: call.name("RoleName", 64)?,
        path: call.path("Path")?,
        created: call.now.0,
        boundary: entities::boundary(call, c)?,
        tags: entities::merge_tags(Vec::new(), call.list("Tags"))?,
        trust,
        description: call.text("Description").map(str::to_owned),
        max_session: max_session(call)?.unwrap_or(3600),
        used: None,
        used_region: None,
    };
    check_trust(c, &call.account, &role.trust)?;
    entities::insert(c, &role)?;
    Ok(json!({"Role": role.show(&call.account, true)}))
}

fn max_session(call: &Call) -> Outcome<Option<i64>> {
    match call.integer("MaxSessionDuration") {
        Some(seconds) if !(3_600..=43_200).contains(&seconds) => Err(validation(format!(
            "1 validation error detected: Value '{seconds}' at 'maxSessionDuration' failed to satisfy constraint: Member must have value between 3600 and 43200"
        ))
        .into()),
        seconds => Ok(seconds),
    }
}

/// A trust policy as CreateRole and UpdateAssumeRolePolicy accept it: well formed, not too long, and the
/// users and roles of this account that it names exist.
fn check_trust(c: &Connection, account: &str, text: &str) -> Outcome<()> {
    let document = Document::parse(text, PolicyKind::Trust)?;
    if size(text) > limits::TRUST {
        return Err(quota("ACLSizePerRole", 2_048).into());
    }
    for statement in &document.statements {
        for principal in statement.principal.iter().flat_map(|scope| scope.items()) {
            let PrincipalPattern::Arn(arn) = principal else { continue };
            if arn.account == account && !exists(c, arn)? {
                return Err(Malformed {
                    message: format!("Invalid principal in policy: \"AWS\":\"{arn}\""),
                    detail: "this account has no such user or role".to_owned(),
                    place: Place::default(),
                }
                .into());
            }
        }
    }
    Ok(())
}

fn exists(c: &Connection, arn: &Arn) -> Outcome<bool> {
    let (kind, path, name) = match arn.resource.split_once('/') {
        Some(("assumed-role", rest)) => {
            (Kind::Role, None, rest.split('/').next().unwrap_or_default())
        }
        Some((kind @ ("user" | "role"), rest)) => {
            let (path, name) = match rest.rsplit_once('/') {
                Some((path, name)) => (format!("/{path}/"), name),
                None => ("/".to_owned(), rest),
            };
            (if kind == "user" { Kind::User } else { Kind::Role }, Some(path), name)
        }
        // Federated users are not kept.
        _ => return Ok(true),
    };
    Ok(c.prepare_cached(
        "SELECT EXISTS (SELECT 1 FROM iam_entities
         WHERE kind = ?1 AND name = ?2 AND (?3 IS NULL OR path = ?3))",
    )?
    .query_row(params![kind.lower(), name, path], |row| row.get(0))?)
}

pub(crate) fn get(call: &Call, c: &Connection) -> Outcome<Value> {
    let role = entities::named(call, c, Kind::Role)?;
    Ok(json!({"Role": role.show(&call.account, true)}))
}

pub(crate) fn list(call: &Call, c: &Connection) -> Outcome<Value> {
    let roles = entities::all(c, Kind::Role, call.text("PathPrefix").unwrap_or("/"))?;
    let page: Page<Entity> = call.page(roles, Entity::order)?;
    Ok(page.listed("Roles", |role| role.show(&call.account, false)))
}

pub(crate) fn update(call: &Call, c: &Connection) -> Outcome<Value> {
    let role = entities::named(call, c, Kind::Role)?;
    let description = call.text("Description").map(str::to_owned).or(role.description);
    let seconds = max_session(call)?.unwrap_or(role.max_session);
    c.prepare_cached("UPDATE iam_entities SET description = ?2, max_session = ?3 WHERE id = ?1")?
        .execute(params![role.id, description, seconds])?;
    Ok(json!({}))
}

pub(crate) fn update_description(call: &Call, c: &Connection) -> Outcome<Value> {
    update(call, c)?;
    get(call, c)
}

pub(crate) fn update_trust(call: &Call, c: &Connection) -> Outcome<Value> {
    let role = entities::named(call, c, Kind::Role)?;
    let trust = call.required("PolicyDocument")?;
    check_trust(c, &call.account, trust)?;
    c.prepare_cached("UPDATE iam_entities SET trust = ?2 WHERE id = ?1")?
        .execute(params![role.id, trust])?;
    Ok(json!({}))
}

/// Renames a principal in all trust policies. IAM keeps the unique id behind a principal's ARN: a renamed
/// user stays trusted, and of a deleted one the id remains, which nobody who gets the name later has.
/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_principal.html>
pub(crate) fn rename_principal(c: &Connection, arn: &str, new: &PrincipalPattern) -> Outcome<()> {
    let mut statement = c.prepare_cached(
        "SELECT id, trust FROM iam_entities WHERE kind = 'role' AND instr(trust, ?1) > 0",
    )?;
    let roles = statement
        .query_map([arn], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<Result<Vec<(String, String)>, _>>()?;
    for (id, trust) in roles {
        let mut document = Document::parse(&trust, PolicyKind::Trust)?;
        let mut changed = false;
        for scope in document.statements.iter_mut().filter_map(|s| s.principal.as_mut()) {
            for item in scope.items_mut() {
                if matches!(item, PrincipalPattern::Arn(there) if there.to_string() == arn) {
                    *item = new.clone();
                    changed = true;
                }
            }
        }
        if changed {
            c.prepare_cached("UPDATE iam_entities SET trust = ?2 WHERE id = ?1")?
                .execute(params![id, document.to_json()])?;
        }
    }
    Ok(())
}

pub(crate) fn delete(call: &Call, c: &Connection) -> Outcome<Value> {
    let role = entities::named(call, c, Kind::Role)?;
    delete_entity(call, c, &role)
}

/// Deletes a user or role that holds no policies; its keys and sessions go with it.
pub(crate) fn delete_entity(call: &Call, c: &Connection, entity: &Entity) -> Outcome<Value> {
    let count = |table: &str| -> Outcome<i64> {
        let sql = format!("SELECT count(*) FROM {table} WHERE owner = ?1");
        Ok(c.prepare_cached(&sql)?.query_row([&entity.id], |row| row.get(0))?)
    };
    if count("iam_attachments")? > 0 {
        let text = "Cannot delete entity, must detach all policies first.";
        return Err(delete_conflict(text).into());
    }
    if count("iam_inline")? > 0 {
        let text = "Cannot delete entity, must delete policies first.";
        return Err(delete_conflict(text).into());
    }
    if count("iam_keys")? > 0 {
        let text = "Cannot delete entity, must delete access keys first.";
        return Err(delete_conflict(text).into());
    }
    c.prepare_cached("DELETE FROM iam_entities WHERE id = ?1")?.execute([&entity.id])?;
    let gone = PrincipalPattern::UniqueId(entity.id.clone());
    rename_principal(c, &entity.arn(&call.account), &gone)?;
    Ok(json!({}))
}

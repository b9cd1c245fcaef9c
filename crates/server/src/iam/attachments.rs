//! Which policies users and roles have: attached managed ones, and inline ones of their own.

use kennel_iam::policy::{Document, Kind as PolicyKind, limits, size};
use kennel_store::state::rusqlite::{Connection, OptionalExtension as _, params};
use serde_json::{Value, json};

use super::entities::{self, Kind};
use super::error::{Outcome, limit, no_policy, no_such_entity, quota};
use super::input::{Call, encoded};
use super::policies;

/// Managed policies of one user or role.
const ATTACHED: i64 = 10;

pub(crate) fn attach(call: &Call, c: &Connection, kind: Kind) -> Outcome<Value> {
    let entity = entities::named(call, c, kind)?;
    let arn = call.required("PolicyArn")?;
    if policies::find(c, arn)?.is_none() {
        let text = format!("Policy {arn} does not exist or is not attachable.");
        return Err(no_such_entity(text).into());
    }
    insert(c, &entity.id, arn)?;
    let there: i64 = c
        .prepare_cached("SELECT count(*) FROM iam_attachments WHERE owner = ?1")?
        .query_row([&entity.id], |row| row.get(0))?;
    if there > ATTACHED {
        return Err(quota(&format!("PoliciesPer{}", kind.title()), ATTACHED).into());
    }
    Ok(json!({}))
}

/// Attaching twice is attaching once.
pub(crate) fn insert(c: &Connection, owner: &str, arn: &str) -> Outcome<()> {
    c.prepare_cached("INSERT OR IGNORE INTO iam_attachments (owner, policy) VALUES (?1, ?2)")?
        .execute(params![owner, arn])?;
    Ok(())
}

pub(crate) fn detach(call: &Call, c: &Connection, kind: Kind) -> Outcome<Value> {
    let entity = entities::named(call, c, kind)?;
    let arn = call.required("PolicyArn")?;
    let gone = c
        .prepare_cached("DELETE FROM iam_attachments WHERE owner = ?1 AND policy = ?2")?
        .execute(params![entity.id, arn])?;
    if gone == 0 { Err(no_policy(arn).into()) } else { Ok(json!({})) }
}

pub(crate) fn list_attached(call: &Call, c: &Connection, kind: Kind) -> Outcome<Value> {
    let entity = entities::named(call, c, kind)?;
    let prefix = call.text("PathPrefix").unwrap_or("/");
    let mut statement =
        c.prepare_cached("SELECT policy FROM iam_attachments WHERE owner = ?1 ORDER BY policy")?;
    let arns =
        statement.query_map([&entity.id], |row| row.get(0))?.collect::<Result<Vec<String>, _>>()?;
    let mut attached = Vec::new();
    for arn in arns {
        if let Some(policy) = policies::find(c, &arn)?
            && policy.path.starts_with(prefix)
        {
            attached.push(policy);
        }
    }
    let page = call.page(attached, |policy| policy.arn.clone())?;
    Ok(page.listed(
        "AttachedPolicies",
        |policy| json!({"PolicyName": policy.name, "PolicyArn": policy.arn}),
    ))
}

pub(crate) fn put_inline(call: &Call, c: &Connection, kind: Kind) -> Outcome<Value> {
    let entity = entities::named(call, c, kind)?;
    let name = call.name("PolicyName", 128)?;
    let document = call.required("PolicyDocument")?;
    Document::parse(document, PolicyKind::Identity)?;
    c.prepare_cached(
        "INSERT INTO iam_inline (owner, name, document) VALUES (?1, ?2, ?3)
         ON CONFLICT (owner, name) DO UPDATE SET document = excluded.document",
    )?
    .execute(params![entity.id, name, document])?;
    let mut statement = c.prepare_cached("SELECT document FROM iam_inline WHERE owner = ?1")?;
    let mut total = 0;
    for text in statement.query_map([&entity.id], |row| row.get::<_, String>(0))? {
        total += size(&text?);
    }
    let most = match kind {
        Kind::User => limits::USER_INLINE,
        Kind::Role => limits::ROLE_INLINE,
    };
    if total > most {
        return Err(limit(format!(
            "Maximum policy size of {most} bytes exceeded for {} {}",
            kind.lower(),
            entity.name
        ))
        .into());
    }
    Ok(json!({}))
}

fn no_inline(kind: Kind, name: &str) -> super::error::Refusal {
    no_such_entity(format!("The {} policy with name {name} cannot be found.", kind.lower())).into()
}

pub(crate) fn get_inline(call: &Call, c: &Connection, kind: Kind) -> Outcome<Value> {
    let entity = entities::named(call, c, kind)?;
    let name = call.required("PolicyName")?;
    let document: Option<String> = c
        .prepare_cached("SELECT document FROM iam_inline WHERE owner = ?1 AND name = ?2")?
        .query_row(params![entity.id, name], |row| row.get(0))
        .optional()?;
    let document = document.ok_or_else(|| no_inline(kind, name))?;
    Ok(json!({
        kind.member(): entity.name,
        "PolicyName": name,
        "PolicyDocument": encoded(&document),
    }))
}

pub(crate) fn delete_inline(call: &Call, c: &Connection, kind: Kind) -> Outcome<Value> {
    let entity = entities::named(call, c, kind)?;
    let name = call.required("PolicyName")?;
    let gone = c
        .prepare_cached("DELETE FROM iam_inline WHERE owner = ?1 AND name = ?2")?
        .execute(params![entity.id, name])?;
    if gone == 0 { Err(no_inline(kind, name)) } else { Ok(json!({})) }
}

pub(crate) fn list_inline(call: &Call, c: &Connection, kind: Kind) -> Outcome<Value> {
    let entity = entities::named(call, c, kind)?;
    let mut statement =
        c.prepare_cached("SELECT name FROM iam_inline WHERE owner = ?1 ORDER BY name")?;
    let names =
        statement.query_map([&entity.id], |row| row.get(0))?.collect::<Result<Vec<String>, _>>()?;
    Ok(call.page(names, String::clone)?.listed("PolicyNames", Value::String))
}

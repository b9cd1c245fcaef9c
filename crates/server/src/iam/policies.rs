//! Managed policies, AWS's and the account's own, and their versions.

use kennel_iam::policy::{Document, Kind as PolicyKind, limits, size};
use kennel_store::state::rusqlite::{Connection, OptionalExtension as _, Row, params};
use serde_json::{Map, Value, json};

use super::entities;
use super::error::{
    Outcome, access_denied, already_exists, delete_conflict, limit, no_policy, no_such_entity,
    quota,
};
use super::ids;
use super::input::{Call, Page, encoded, seconds};
use super::managed::{self, Managed};

const VERSIONS: usize = 5;

/// A managed policy, whoever owns it.
#[derive(Debug, Clone)]
pub(crate) struct Policy {
    pub(crate) arn: String,
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) path: String,
    description: Option<String>,
    created: i64,
    updated: i64,
    default_version: i64,
    next_version: i64,
    tags: Vec<Value>,
    /// One of AWS's.
    aws: bool,
}

impl From<&Managed> for Policy {
    fn from(managed: &Managed) -> Self {
        Policy {
            arn: managed.arn.clone(),
            id: managed.id.clone(),
            name: managed.name.clone(),
            path: managed.path.clone(),
            description: None,
            created: managed.created,
            updated: managed.updated,
            default_version: managed.version,
            next_version: managed.version + 1,
            tags: Vec::new(),
            aws: true,
        }
    }
}

const COLUMNS: &str =
    "arn, id, name, path, description, created, updated, default_version, next_version, tags";

impl Policy {
    fn read(row: &Row<'_>) -> kennel_store::state::rusqlite::Result<Self> {
        let tags: String = row.get(9)?;
        Ok(Policy {
            arn: row.get(0)?,
            id: row.get(1)?,
            name: row.get(2)?,
            path: row.get(3)?,
            description: row.get(4)?,
            created: row.get(5)?,
            updated: row.get(6)?,
            default_version: row.get(7)?,
            next_version: row.get(8)?,
            tags: serde_json::from_str(&tags).unwrap_or_default(),
            aws: false,
        })
    }

    fn order(&self) -> String {
        format!("{} {}", self.name.to_ascii_lowercase(), self.arn)
    }

    fn show(&self, c: &Connection, whole: bool) -> Outcome<Value> {
        let (attached, bounding) = used(c, &self.arn)?;
        let mut members = Map::new();
        for (name, value) in [
            ("PolicyName", json!(self.name)),
            ("PolicyId", json!(self.id)),
            ("Arn", json!(self.arn)),
            ("Path", json!(self.path)),
            ("DefaultVersionId", json!(format!("v{}", self.default_version))),
            ("AttachmentCount", json!(attached)),
            ("PermissionsBoundaryUsageCount", json!(bounding)),
            ("IsAttachable", json!(true)),
            ("CreateDate", seconds(self.created)),
            ("UpdateDate", seconds(self.updated)),
        ] {
            members.insert(name.to_owned(), value);
        }
        if whole {
            if let Some(description) = &self.description {
                members.insert("Description".to_owned(), json!(description));
            }
            if !self.tags.is_empty() {
                members.insert("Tags".to_owned(), json!(self.tags));
            }
        }
        Ok(Value::Object(members))
    }

    /// AWS's policies are AWS's.
    fn own(self, call: &Call, action: &str) -> Outcome<Self> {
        if self.aws {
            return Err(access_denied(format!(
                "User: {} is not authorized to perform: iam:{action} on resource: policy {}",
                call.caller.arn(),
                self.arn
            ))
            .into());
        }
        Ok(self)
    }

    fn versions(&self, c: &Connection) -> Outcome<Vec<(i64, String, i64)>> {
        if self.aws {
            let one = managed::all().iter().find(|m| m.arn == self.arn);
            return Ok(one
                .map(|m| (m.version, m.document.clone(), m.updated))
                .into_iter()
                .collect());
        }
        let mut statement = c.prepare_cached(
            "SELECT version, document, created FROM iam_policy_versions
             WHERE policy = ?1 ORDER BY version DESC",
        )?;
        let rows =
            statement.query_map([&self.arn], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}

/// How often a policy is attached, and how often it is a boundary.
fn used(c: &Connection, arn: &str) -> Outcome<(i64, i64)> {
    Ok(c.prepare_cached(
        "SELECT (SELECT count(*) FROM iam_attachments WHERE policy = ?1),
                (SELECT count(*) FROM iam_entities WHERE boundary = ?1)",
    )?
    .query_row([arn], |row| Ok((row.get(0)?, row.get(1)?)))?)
}

/// A policy by its ARN.
pub(crate) fn find(c: &Connection, arn: &str) -> Outcome<Option<Policy>> {
    if let Some(managed) = managed::all().iter().find(|m| m.arn == arn) {
        return Ok(Some(managed.into()));
    }
    let sql = format!("SELECT {COLUMNS} FROM iam_policies WHERE arn = ?1");
    Ok(c.prepare_cached(&sql)?.query_row([arn], Policy::read).optional()?)
}

fn named(call: &Call, c: &Connection) -> Outcome<Policy> {
    let arn = call.required("PolicyArn")?;
    Ok(find(c, arn)?.ok_or_else(|| no_policy(arn))?)
}

fn checked(text: &str) -> Outcome<&str> {
    Document::parse(text, PolicyKind::Identity)?;
    if size(text) > limits::MANAGED {
        return Err(quota("PolicySize", 6_144).into());
    }
    Ok(text)
}

pub(crate) fn create(call: &Call, c: &Connection) -> Outcome<Value> {
    let name = call.name("PolicyName", 128)?;
    let path = call.path("Path")?;
    let document = checked(call.required("PolicyDocument")?)?;
    let folded = name.to_ascii_lowercase();
    let (there, taken): (i64, bool) = c
        .prepare_cached(
            "SELECT (SELECT count(*) FROM iam_policies),
                    EXISTS (SELECT 1 FROM iam_policies WHERE folded = ?1)",
        )?
        .query_row([&folded], |row| Ok((row.get(0)?, row.get(1)?)))?;
    if taken {
        let text =
            format!("A policy called {name} already exists. Duplicate names are not allowed.");
        return Err(already_exists(text).into());
    }
    if there >= 1_500 {
        return Err(quota("PoliciesPerAccount", 1_500).into());
    }
    let policy = Policy {
        arn: format!("arn:aws:iam::{}:policy{path}{name}", call.account),
        id: ids::unique("ANPA")?,
        name,
        path,
        description: call.text("Description").map(str::to_owned),
        created: call.now.0,
        updated: call.now.0,
        default_version: 1,
        next_version: 2,
        tags: entities::merge_tags(Vec::new(), call.list("Tags"))?,
        aws: false,
    };
    c.prepare_cached(
        "INSERT INTO iam_policies (arn, id, name, path, description, created, updated,
         default_version, next_version, tags, folded)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
    )?
    .execute(params![
        policy.arn,
        policy.id,
        policy.name,
        policy.path,
        policy.description,
        policy.created,
        policy.updated,
        policy.default_version,
        policy.next_version,
        Value::from(policy.tags.clone()).to_string(),
        folded,
    ])?;
    insert_version(c, &policy.arn, 1, document, call.now.0)?;
    Ok(json!({"Policy": policy.show(c, true)?}))
}

fn insert_version(c: &Connection, arn: &str, version: i64, text: &str, now: i64) -> Outcome<()> {
    c.prepare_cached("INSERT INTO iam_policy_versions VALUES (?1, ?2, ?3, ?4)")?
        .execute(params![arn, version, text, now])?;
    Ok(())
}

pub(crate) fn get(call: &Call, c: &Connection) -> Outcome<Value> {
    Ok(json!({"Policy": named(call, c)?.show(c, true)?}))
}

pub(crate) fn list(call: &Call, c: &Connection) -> Outcome<Value> {
    let scope = call.text("Scope").unwrap_or("All");
    let prefix = call.text("PathPrefix").unwrap_or("/");
    let usage = call.text("PolicyUsageFilter");
    let mut policies: Vec<Policy> = Vec::new();
    if scope != "Local" {
        policies.extend(managed::all().iter().map(Policy::from));
    }
    if scope != "AWS" {
        let sql = format!("SELECT {COLUMNS} FROM iam_policies");
        let mut statement = c.prepare_cached(&sql)?;
        for row in statement.query_map([], Policy::read)? {
            policies.push(row?);
        }
    }
    policies.retain(|policy| policy.path.starts_with(prefix));
    if call.flag("OnlyAttached") || usage.is_some() {
        let mut kept = Vec::new();
        for policy in policies {
            let (attached, bounding) = used(c, &policy.arn)?;
            let keep = match usage {
                Some("PermissionsBoundary") => bounding > 0,
                Some(_) => attached > 0,
                None => attached + bounding > 0,
            };
            if keep {
                kept.push(policy);
            }
        }
        policies = kept;
    }
    policies.sort_by_key(Policy::order);
    let page = call.page(policies, Policy::order)?;
    let shown = page.items.iter().map(|p| p.show(c, false)).collect::<Outcome<Vec<Value>>>()?;
    Ok(Page::<Policy>::answer(page.marker, vec![("Policies", Value::Array(shown))]))
}

pub(crate) fn delete(call: &Call, c: &Connection) -> Outcome<Value> {
    let policy = named(call, c)?.own(call, "DeletePolicy")?;
    let (attached, bounding) = used(c, &policy.arn)?;
    if attached + bounding > 0 {
        return Err(delete_conflict("Cannot delete a policy attached to entities.").into());
    }
    if policy.versions(c)?.len() > 1 {
        return Err(delete_conflict("This policy has more than one version. Before you delete a policy, you must delete the policy's versions. The default version is deleted with the policy.").into());
    }
    c.prepare_cached("DELETE FROM iam_policies WHERE arn = ?1")?.execute([policy.arn])?;
    Ok(json!({}))
}

pub(crate) fn create_version(call: &Call, c: &Connection) -> Outcome<Value> {
    let policy = named(call, c)?.own(call, "CreatePolicyVersion")?;
    let document = checked(call.required("PolicyDocument")?)?;
    if policy.versions(c)?.len() >= VERSIONS {
        return Err(limit("A managed policy can have up to 5 versions. Before you create a new version, you must delete an existing version.").into());
    }
    let (version, default) = (policy.next_version, call.flag("SetAsDefault"));
    insert_version(c, &policy.arn, version, document, call.now.0)?;
    c.prepare_cached(
        "UPDATE iam_policies SET next_version = ?2, updated = ?3,
         default_version = CASE WHEN ?4 THEN ?5 ELSE default_version END WHERE arn = ?1",
    )?
    .execute(params![policy.arn, version + 1, call.now.0, default, version])?;
    Ok(json!({"PolicyVersion": {
        "VersionId": format!("v{version}"),
        "IsDefaultVersion": default,
        "CreateDate": seconds(call.now.0),
    }}))
}

/// The version that a call names.
fn version(call: &Call, c: &Connection, policy: &Policy) -> Outcome<(i64, String, i64)> {
    let id = call.required("VersionId")?;
    let number = id.strip_prefix('v').and_then(|digits| digits.parse::<i64>().ok());
    let found = policy.versions(c)?.into_iter().find(|v| Some(v.0) == number);
    Ok(found.ok_or_else(|| {
        no_such_entity(format!(
            "Policy {} version {id} does not exist or is not attachable.",
            policy.arn
        ))
    })?)
}

pub(crate) fn get_version(call: &Call, c: &Connection) -> Outcome<Value> {
    let policy = named(call, c)?;
    let (number, document, created) = version(call, c, &policy)?;
    Ok(json!({"PolicyVersion": {
        "Document": encoded(&document),
        "VersionId": format!("v{number}"),
        "IsDefaultVersion": number == policy.default_version,
        "CreateDate": seconds(created),
    }}))
}

pub(crate) fn list_versions(call: &Call, c: &Connection) -> Outcome<Value> {
    let policy = named(call, c)?;
    // The newest comes first, so markers count down.
    let order = |v: &(i64, String, i64)| format!("{:020}", i64::MAX - v.0);
    let page = call.page(policy.versions(c)?, order)?;
    Ok(page.listed("Versions", |(number, _, created)| {
        json!({
            "VersionId": format!("v{number}"),
            "IsDefaultVersion": number == policy.default_version,
            "CreateDate": seconds(created),
        })
    }))
}

pub(crate) fn delete_version(call: &Call, c: &Connection) -> Outcome<Value> {
    let policy = named(call, c)?.own(call, "DeletePolicyVersion")?;
    let (number, ..) = version(call, c, &policy)?;
    if number == policy.default_version {
        return Err(delete_conflict("Cannot delete the default version of a policy.").into());
    }
    c.prepare_cached("DELETE FROM iam_policy_versions WHERE policy = ?1 AND version = ?2")?
        .execute(params![policy.arn, number])?;
    Ok(json!({}))
}

pub(crate) fn set_default(call: &Call, c: &Connection) -> Outcome<Value> {
    let policy = named(call, c)?.own(call, "SetDefaultPolicyVersion")?;
    let (number, ..) = version(call, c, &policy)?;
    c.prepare_cached("UPDATE iam_policies SET default_version = ?2, updated = ?3 WHERE arn = ?1")?
        .execute(params![policy.arn, number, call.now.0])?;
    Ok(json!({}))
}

pub(crate) fn list_entities(call: &Call, c: &Connection) -> Outcome<Value> {
    let policy = named(call, c)?;
    let filter = call.text("EntityFilter");
    let boundaries = call.text("PolicyUsageFilter") == Some("PermissionsBoundary");
    let attachments = call.text("PolicyUsageFilter") != Some("PermissionsBoundary");
    let either = call.text("PolicyUsageFilter").is_none();
    let mut statement = c.prepare_cached(
        "SELECT e.kind, e.name, e.id, e.folded FROM iam_entities e
         WHERE substr(e.path, 1, length(?2)) = ?2
           AND ((?3 AND EXISTS (SELECT 1 FROM iam_attachments a
                                WHERE a.owner = e.id AND a.policy = ?1))
             OR (?4 AND e.boundary = ?1))
         ORDER BY e.kind, e.folded",
    )?;
    let prefix = call.text("PathPrefix").unwrap_or("/");
    let rows = statement
        .query_map(params![policy.arn, prefix, attachments, boundaries || either], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
        })?
        .collect::<Result<Vec<(String, String, String, String)>, _>>()?;
    let wanted = |kind: &str| match filter {
        Some("User") => kind == "user",
        Some("Role") => kind == "role",
        Some("Group") => false,
        _ => true,
    };
    let rows = rows.into_iter().filter(|row| wanted(&row.0)).collect();
    let page = call.page(rows, |(kind, _, _, folded)| format!("{kind} {folded}"))?;
    let (mut users, mut roles) = (Vec::new(), Vec::new());
    for (kind, name, id, _) in page.items {
        if kind == "role" {
            roles.push(json!({"RoleName": name, "RoleId": id}));
        } else {
            users.push(json!({"UserName": name, "UserId": id}));
        }
    }
    Ok(Page::<()>::answer(
        page.marker,
        vec![
            ("PolicyGroups", json!([])),
            ("PolicyUsers", Value::Array(users)),
            ("PolicyRoles", Value::Array(roles)),
        ],
    ))
}

//! Reading the access records that [`crate::gateway::access`] writes: for CloudTrail's LookupEvents, for
//! IAM's last-accessed reports and for Access Analyzer's generated policies. Records come half a second
//! behind the answers.
//!
//! Every call writes a record, so indexes are few: by request, by resource, by identity. The other questions walk
//! back from the newest record until they have a page, at worst through all of them.

use std::collections::BTreeMap;

use kennel_store::state::Migrations;
use rusqlite::types::Value as Sql;
use rusqlite::{Connection, Row, params, params_from_iter};
use serde::Deserialize;
use serde_json::json;

use crate::context::Timestamp;

/// Indexes over the access records, and the jobs of IAM's last-accessed reports. To be applied after
/// [`crate::gateway::access::MIGRATIONS`].
pub const MIGRATIONS: Migrations = Migrations {
    component: "records",
    scripts: &["
        ALTER TABLE access_records ADD COLUMN event_name TEXT
            GENERATED ALWAYS AS (substr(action, instr(action, ':') + 1)) VIRTUAL;
        -- A user's name, a session's name, or `root`.
        ALTER TABLE access_records ADD COLUMN user_name TEXT GENERATED ALWAYS AS (
            CASE
                WHEN substr(principal, -5) = ':root' THEN 'root'
                ELSE replace(principal, rtrim(principal, replace(principal, '/', '')), '')
            END) VIRTUAL;
        CREATE INDEX access_by_request ON access_records (request_id);
        CREATE INDEX access_by_resource ON access_records (resource);
        -- In the order of ids, as lookups page; `access_by_identity` is in the order of services.
        CREATE INDEX access_of_identity ON access_records (identity);
        -- The few that were about more than the row's own resource.
        CREATE INDEX access_with_needs ON access_records (id)
            WHERE json_array_length(needs) > 1 OR needs ->> '$[0].resource' <> resource;

        CREATE TABLE last_accessed_jobs (
            id TEXT PRIMARY KEY,
            created INTEGER NOT NULL,
            action_level INTEGER NOT NULL,
            report TEXT NOT NULL
        ) WITHOUT ROWID, STRICT;
    "],
};

/// One thing that IAM was asked for a call.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct RecordedNeed {
    pub(crate) action: String,
    pub(crate) resource: String,
    #[serde(deserialize_with = "truth")]
    pub(crate) allowed: bool,
}

/// JSON's booleans, and SQLite's numbers.
fn truth<'de, D: serde::Deserializer<'de>>(from: D) -> Result<bool, D::Error> {
    let value = serde_json::Value::deserialize(from)?;
    Ok(value.as_bool().unwrap_or(value.as_i64() == Some(1)))
}

/// One call.
#[derive(Debug, Clone)]
pub(crate) struct Record {
    /// Counts up; younger records have larger ones.
    pub(crate) id: i64,
    pub(crate) time: Timestamp,
    pub(crate) request_id: String,
    /// The caller's ARN; none without an accepted signature.
    pub(crate) principal: Option<String>,
    pub(crate) access_key: Option<String>,
    pub(crate) source: String,
    pub(crate) service: String,
    /// `sagemaker:CreateModel`.
    pub(crate) action: String,
    pub(crate) resource: Option<String>,
    pub(crate) allowed: bool,
    pub(crate) status: u16,
    pub(crate) error: Option<String>,
    pub(crate) microseconds: i64,
    /// The ARN of the user or role whose policies were asked.
    pub(crate) identity: Option<String>,
    /// Its unique id.
    pub(crate) identity_id: Option<String>,
    pub(crate) needs: Vec<RecordedNeed>,
    /// Condition keys of the needs.
    pub(crate) context: BTreeMap<String, Vec<String>>,
    /// Which policy denied, or was missing.
    pub(crate) reason: Option<String>,
}

const COLUMNS: &str = "id, time, request_id, principal, access_key, source, service, action,
    resource, allowed, status, error, microseconds, identity, identity_id, needs, context, reason";

impl Record {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        let parsed = |text: Option<String>| text.filter(|text| !text.is_empty());
        let (action, resource): (String, Option<String>) = (row.get(7)?, row.get(8)?);
        let (allowed, needs): (bool, Option<String>) = (row.get(9)?, parsed(row.get(15)?));
        let needs = match (needs, &resource) {
            (Some(text), _) => serde_json::from_str(&text).unwrap_or_default(),
            (None, Some(resource)) => {
                vec![RecordedNeed { action: action.clone(), resource: resource.clone(), allowed }]
            }
            (None, None) => Vec::new(),
        };
        let context = parsed(row.get(16)?).and_then(|text| serde_json::from_str(&text).ok());
        Ok(Record {
            id: row.get(0)?,
            time: Timestamp(row.get(1)?),
            request_id: row.get(2)?,
            principal: row.get(3)?,
            access_key: row.get(4)?,
            source: row.get(5)?,
            service: row.get(6)?,
            action,
            resource,
            allowed,
            status: row.get(10)?,
            error: row.get(11)?,
            microseconds: row.get(12)?,
            identity: row.get(13)?,
            identity_id: row.get(14)?,
            needs,
            context: context.unwrap_or_default(),
            reason: row.get(17)?,
        })
    }

    /// `CreateModel`.
    pub(crate) fn event_name(&self) -> &str {
        self.action.split_once(':').map_or(self.action.as_str(), |(_, name)| name)
    }
}

/// The condition of the index `access_with_needs`.
const MORE_NEEDS: &str = "json_array_length(needs) > 1 OR needs ->> '$[0].resource' <> resource";

/// What a lookup asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Attribute {
    RequestId(String),
    EventName(String),
    /// Whether the operation only reads.
    ReadOnly(bool),
    UserName(String),
    AccessKey(String),
    /// The service in IAM's actions.
    Service(String),
    /// Resources with one of these ARNs, in any need of the call, and calls of identities with one of them.
    Resource(Vec<String>),
    /// Resources whose ARN matches one of these `GLOB`s and, after it, has or has not a further `/`.
    ResourceType(Vec<String>, Option<bool>),
}

/// A lookup: newest first.
#[derive(Debug, Clone)]
pub(crate) struct Lookup {
    pub(crate) attribute: Option<Attribute>,
    pub(crate) since: Timestamp,
    pub(crate) until: Timestamp,
    /// Only older records than this one, by id.
    pub(crate) before: Option<i64>,
    /// Records at most.
    pub(crate) most: usize,
}

/// Operations that only read: the access levels `List` and `Read` of the Service Authorization Reference,
/// by their names.
pub(crate) const READS: [&str; 9] = [
    "Get*",
    "List*",
    "Describe*",
    "Head*",
    "Lookup*",
    "Filter*",
    "Simulate*",
    "Generate*",
    "Invoke*Endpoint*",
];

/// Does an operation of this name only read?
pub(crate) fn only_reads(event_name: &str) -> bool {
    event_name == "AssumeRole" || READS.iter().any(|glob| kennel_iam::matches(glob, event_name))
}

fn reads_sql() -> String {
    let globs: Vec<String> = READS.iter().map(|glob| format!("event_name GLOB '{glob}'")).collect();
    format!("(event_name = 'AssumeRole' OR {})", globs.join(" OR "))
}

/// The records that a lookup asks for.
///
/// # Errors
/// When SQLite cannot answer.
pub(crate) fn find(c: &Connection, lookup: &Lookup) -> rusqlite::Result<Vec<Record>> {
    let mut ids: Vec<i64> = Vec::new();
    match &lookup.attribute {
        None => ids.extend(select(c, lookup, "TRUE", &[])?),
        Some(Attribute::RequestId(id)) => equal(c, lookup, "request_id", id, &mut ids)?,
        Some(Attribute::EventName(name)) => equal(c, lookup, "event_name", name, &mut ids)?,
        Some(Attribute::UserName(name)) => equal(c, lookup, "user_name", name, &mut ids)?,
        Some(Attribute::AccessKey(key)) => equal(c, lookup, "access_key", key, &mut ids)?,
        Some(Attribute::Service(service)) => equal(c, lookup, "service", service, &mut ids)?,
        Some(Attribute::ReadOnly(wanted)) => {
            let not = if *wanted { "" } else { "NOT " };
            ids.extend(select(c, lookup, &format!("{not}{}", reads_sql()), &[])?);
        }
        Some(Attribute::Resource(arns)) => {
            // One after the other, each along its index, and then the newest of all.
            for arn in arns {
                equal(c, lookup, "resource", arn, &mut ids)?;
                equal(c, lookup, "identity", arn, &mut ids)?;
            }
            let terms = vec!["instr(needs, ?)"; arns.len()].join(" OR ");
            let among = format!("({MORE_NEEDS}) AND ({terms})");
            let written: Vec<Sql> =
                arns.iter().map(|arn| Sql::Text(format!("\"resource\":{}", json!(arn)))).collect();
            ids.extend(select(c, lookup, &among, &written)?);
        }
        Some(Attribute::ResourceType(globs, deeper)) => {
            let mut terms = Vec::new();
            let mut values = Vec::new();
            for glob in globs {
                terms.push(match deeper {
                    None => "resource GLOB ?".to_owned(),
                    Some(true) => "(resource GLOB ? AND instr(resource, '/'))".to_owned(),
                    Some(false) => "(resource GLOB ? AND NOT instr(resource, '/'))".to_owned(),
                });
                values.push(Sql::Text(glob.clone()));
            }
            ids.extend(select(c, lookup, &format!("({})", terms.join(" OR ")), &values)?);
        }
    }
    ids.sort_unstable_by(|a, b| b.cmp(a));
    ids.dedup();
    ids.truncate(lookup.most);
    let sql = format!("SELECT {COLUMNS} FROM access_records WHERE id = ?1");
    let mut statement = c.prepare_cached(&sql)?;
    ids.into_iter().map(|id| statement.query_row([id], Record::read)).collect()
}

fn equal(
    c: &Connection,
    lookup: &Lookup,
    column: &str,
    value: &str,
    ids: &mut Vec<i64>,
) -> rusqlite::Result<()> {
    let value = Sql::Text(value.to_owned());
    ids.extend(select(c, lookup, &format!("{column} = ?"), &[value])?);
    Ok(())
}

fn lookup_sql(condition: &str) -> String {
    // The index is named because SQLite would rather read the table; a `+` keeps the index over time out,
    // which has another order.
    let index = if condition.contains(MORE_NEEDS) { "INDEXED BY access_with_needs" } else { "" };
    format!(
        "SELECT id FROM access_records {index}
         WHERE {condition} AND id < ? AND +time >= ? AND +time <= ? ORDER BY id DESC LIMIT ?"
    )
}

/// The newest ids for which `condition` holds. The table's order is that of ids, and so is that of every
/// index over one column, so that along one no more is read than is answered.
fn select(
    c: &Connection,
    lookup: &Lookup,
    condition: &str,
    values: &[Sql],
) -> rusqlite::Result<Vec<i64>> {
    let sql = lookup_sql(condition);
    let most = i64::try_from(lookup.most).unwrap_or(i64::MAX);
    let rest = [lookup.before.unwrap_or(i64::MAX), lookup.since.0, lookup.until.0, most];
    let all = values.iter().cloned().chain(rest.into_iter().map(Sql::Integer));
    let mut statement = c.prepare_cached(&sql)?;
    statement.query_map(params_from_iter(all), |row| row.get(0))?.collect()
}

/// A user or role, as records name it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) arn: String,
    /// When it was made: who has an old name has not done what the one before did.
    pub(crate) created: Timestamp,
}

/// The last time that somebody called something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LastUse {
    /// The service in IAM's actions.
    pub(crate) service: String,
    /// The operation; none where only services were asked for.
    pub(crate) operation: Option<String>,
    pub(crate) at: Timestamp,
}

/// When an identity last called each service, or each operation: attempts count, allowed or not.
///
/// # Errors
/// When SQLite cannot answer.
pub(crate) fn last_uses(
    c: &Connection,
    identity: &Identity,
    since: Timestamp,
    operations: bool,
) -> rusqlite::Result<Vec<LastUse>> {
    let (column, group) = match operations {
        true => ("event_name", "service, event_name"),
        false => ("NULL", "service"),
    };
    let sql = format!(
        "SELECT service, {column}, max(time) FROM access_records
         WHERE identity = ?1 AND time >= ?2 GROUP BY {group}"
    );
    let mut statement = c.prepare_cached(&sql)?;
    let since = since.max(identity.created);
    let rows = statement.query_map(params![identity.arn, since.0], |row| {
        Ok(LastUse { service: row.get(0)?, operation: row.get(1)?, at: Timestamp(row.get(2)?) })
    })?;
    rows.collect()
}

/// Something that an identity was allowed to do.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Used {
    /// `sagemaker:InvokeEndpoint`.
    pub(crate) action: String,
    /// An ARN, or `*`.
    pub(crate) resource: String,
    /// To which service a role was passed; of `iam:PassRole` only.
    pub(crate) passed_to: Option<String>,
}

/// What an identity was allowed to do between two moments, each thing once.
///
/// # Errors
/// When SQLite cannot answer.
pub(crate) fn used(
    c: &Connection,
    identity: &Identity,
    since: Timestamp,
    until: Timestamp,
) -> rusqlite::Result<Vec<Used>> {
    let mut statement = c.prepare_cached(
        "SELECT DISTINCT
            coalesce(n.value ->> 'action', r.action) AS did,
            coalesce(n.value ->> 'resource', r.resource) AS to_what,
            CASE WHEN coalesce(n.value ->> 'action', r.action) = 'iam:PassRole'
                THEN json_extract(r.context, '$.\"iam:PassedToService\"[0]') END
         FROM access_records r LEFT JOIN json_each(r.needs) n
         WHERE r.identity = ?1 AND r.time >= ?2 AND r.time <= ?3
            AND (r.needs IS NULL OR n.value IS NOT NULL)
            AND coalesce(n.value ->> 'allowed', r.allowed)
            AND did IS NOT NULL AND to_what IS NOT NULL",
    )?;
    let since = since.max(identity.created);
    let rows = statement.query_map(params![identity.arn, since.0, until.0], |row| {
        Ok(Used { action: row.get(0)?, resource: row.get(1)?, passed_to: row.get(2)? })
    })?;
    let mut all = rows.collect::<rusqlite::Result<Vec<Used>>>()?;
    all.sort();
    Ok(all)
}

#[cfg(test)]
pub(crate) mod tests;

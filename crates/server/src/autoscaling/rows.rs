//! Application Auto Scaling's state in the database: targets, their policies and scheduled actions, and
//! what was done about them. Functions here work on a connection.

use std::collections::BTreeMap;

use kennel_scaling::scaler::{Bounds, Memory, NotScaled, Suspended};
use kennel_store::state::Migrations;
use rusqlite::{Connection, OptionalExtension as _, params};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::resource::Resource;
use crate::context::Timestamp;
use crate::service::{Refused, state_failed};

/// The tables.
pub const MIGRATIONS: Migrations = Migrations {
    component: "autoscaling",
    scripts: &["
        CREATE TABLE autoscaling_targets (
            namespace TEXT NOT NULL,
            resource TEXT NOT NULL,
            arn TEXT NOT NULL UNIQUE,
            document TEXT NOT NULL,
            PRIMARY KEY (namespace, resource)
        ) WITHOUT ROWID, STRICT;
        CREATE TABLE autoscaling_policies (
            namespace TEXT NOT NULL,
            resource TEXT NOT NULL,
            name TEXT NOT NULL,
            arn TEXT NOT NULL UNIQUE,
            document TEXT NOT NULL,
            PRIMARY KEY (namespace, resource, name),
            FOREIGN KEY (namespace, resource)
                REFERENCES autoscaling_targets (namespace, resource) ON DELETE CASCADE
        ) WITHOUT ROWID, STRICT;
        CREATE TABLE autoscaling_scheduled (
            namespace TEXT NOT NULL,
            resource TEXT NOT NULL,
            name TEXT NOT NULL,
            -- When it is due next, in milliseconds; NULL when never again.
            due INTEGER,
            document TEXT NOT NULL,
            PRIMARY KEY (namespace, resource, name),
            FOREIGN KEY (namespace, resource)
                REFERENCES autoscaling_targets (namespace, resource) ON DELETE CASCADE
        ) WITHOUT ROWID, STRICT;
        CREATE INDEX autoscaling_scheduled_by_due ON autoscaling_scheduled (due);
        -- Activities outlive their targets.
        CREATE TABLE autoscaling_activities (
            number INTEGER PRIMARY KEY AUTOINCREMENT,
            namespace TEXT NOT NULL,
            resource TEXT NOT NULL,
            started INTEGER NOT NULL,
            -- 1 while it is InProgress.
            open INTEGER NOT NULL,
            -- 1 where nothing was scaled.
            kept INTEGER NOT NULL,
            document TEXT NOT NULL
        ) STRICT;
        CREATE INDEX autoscaling_activities_by_resource
            ON autoscaling_activities (namespace, resource, number);
        CREATE INDEX autoscaling_activities_open ON autoscaling_activities (number) WHERE open = 1;
        CREATE INDEX autoscaling_activities_by_time ON autoscaling_activities (started);
    "],
};

/// What work on the database comes to.
pub(super) type Outcome<T> = Result<T, Refused>;

/// A scalable target.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct TargetRow {
    pub resource: Resource,
    pub arn: String,
    pub region: String,
    pub bounds: Bounds,
    pub suspended: Suspended,
    pub created: Timestamp,
    pub tags: BTreeMap<String, String>,
    /// The cooldowns under way.
    pub memory: Memory,
    /// The bounds have changed, and the capacity has not been brought inside since.
    pub unbounded: bool,
}

/// `PolicyType`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum PolicyKind {
    TargetTracking,
    Step,
}

impl PolicyKind {
    pub(super) fn name(self) -> &'static str {
        match self {
            PolicyKind::TargetTracking => "TargetTrackingScaling",
            PolicyKind::Step => "StepScaling",
        }
    }
}

/// An alarm that a policy has made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct AlarmName {
    pub name: String,
    pub arn: String,
}

/// A scaling policy.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct PolicyRow {
    pub name: String,
    pub arn: String,
    pub kind: PolicyKind,
    pub created: Timestamp,
    /// Its configuration as it was given, checked; the decisions are made from it.
    pub configuration: Value,
    /// The high alarm, then the low one; none for step scaling, whose alarms are the user's.
    pub alarms: Vec<AlarmName>,
}

/// A scheduled action.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct ScheduledRow {
    pub name: String,
    pub arn: String,
    pub created: Timestamp,
    pub schedule: String,
    pub timezone: Option<String>,
    pub start: Option<Timestamp>,
    pub end: Option<Timestamp>,
    pub min: Option<u32>,
    pub max: Option<u32>,
}

/// `StatusCode` of an activity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum ActivityStatus {
    InProgress,
    Successful,
    Overridden,
    Unfulfilled,
    Failed,
}

impl ActivityStatus {
    pub(super) fn name(self) -> &'static str {
        match self {
            ActivityStatus::InProgress => "InProgress",
            ActivityStatus::Successful => "Successful",
            ActivityStatus::Overridden => "Overridden",
            ActivityStatus::Unfulfilled => "Unfulfilled",
            ActivityStatus::Failed => "Failed",
        }
    }

    fn open(self) -> bool {
        self == ActivityStatus::InProgress
    }
}

/// A scaling activity.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct ActivityRow {
    pub id: String,
    pub resource: Resource,
    pub description: String,
    pub cause: String,
    pub started: Timestamp,
    pub ended: Option<Timestamp>,
    pub status: ActivityStatus,
    pub message: Option<String>,
    pub details: Option<String>,
    /// Why nothing was scaled, where nothing was.
    pub not_scaled: Vec<NotScaled>,
    /// The capacity that it sets; `None` where it sets only bounds, or nothing.
    pub to: Option<u32>,
    /// A policy's cooldown counts from its end.
    pub cooling: bool,
}

fn parse<R: DeserializeOwned>(text: &str) -> Outcome<R> {
    serde_json::from_str(text).map_err(|e| Refused::Service(state_failed(&e)))
}

fn text<R: Serialize>(row: &R) -> Outcome<String> {
    serde_json::to_string(row).map_err(|e| Refused::Service(state_failed(&e)))
}

fn documents<R: DeserializeOwned>(
    c: &Connection,
    query: &str,
    parameters: impl rusqlite::Params,
) -> Outcome<Vec<R>> {
    let mut statement = c.prepare_cached(query)?;
    let texts = statement
        .query_map(parameters, |row| row.get(0))?
        .collect::<rusqlite::Result<Vec<String>>>()?;
    texts.iter().map(|text| parse(text)).collect()
}

fn document<R: DeserializeOwned>(
    c: &Connection,
    query: &str,
    parameters: impl rusqlite::Params,
) -> Outcome<Option<R>> {
    let found: Option<String> =
        c.prepare_cached(query)?.query_row(parameters, |row| row.get(0)).optional()?;
    found.map(|text| parse(&text)).transpose()
}

/// The target of a resource.
pub(super) fn target(c: &Connection, of: &Resource) -> Outcome<Option<TargetRow>> {
    document(
        c,
        "SELECT document FROM autoscaling_targets WHERE namespace = ?1 AND resource = ?2",
        params![of.namespace(), of.to_string()],
    )
}

/// The target of an ARN.
pub(super) fn target_by_arn(c: &Connection, arn: &str) -> Outcome<Option<TargetRow>> {
    document(c, "SELECT document FROM autoscaling_targets WHERE arn = ?1", [arn])
}

/// All targets, by namespace and ResourceId.
pub(super) fn targets(c: &Connection) -> Outcome<Vec<TargetRow>> {
    documents(c, "SELECT document FROM autoscaling_targets ORDER BY namespace, resource", [])
}

/// Adds or replaces a target.
pub(super) fn put_target(c: &Connection, row: &TargetRow) -> Outcome<()> {
    c.prepare_cached(
        "INSERT INTO autoscaling_targets VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (namespace, resource) DO UPDATE SET document = excluded.document",
    )?
    .execute(params![
        row.resource.namespace(),
        row.resource.to_string(),
        row.arn,
        text(row)?
    ])?;
    Ok(())
}

/// Removes a target with its policies and scheduled actions.
pub(super) fn remove_target(c: &Connection, of: &Resource) -> Outcome<bool> {
    let removed = c.execute(
        "DELETE FROM autoscaling_targets WHERE namespace = ?1 AND resource = ?2",
        params![of.namespace(), of.to_string()],
    )?;
    Ok(removed == 1)
}

/// A target's policy.
pub(super) fn policy(c: &Connection, of: &Resource, name: &str) -> Outcome<Option<PolicyRow>> {
    document(
        c,
        "SELECT document FROM autoscaling_policies
         WHERE namespace = ?1 AND resource = ?2 AND name = ?3",
        params![of.namespace(), of.to_string(), name],
    )
}

/// A target's policies, by name.
pub(super) fn policies(c: &Connection, of: &Resource) -> Outcome<Vec<PolicyRow>> {
    documents(
        c,
        "SELECT document FROM autoscaling_policies
         WHERE namespace = ?1 AND resource = ?2 ORDER BY name",
        params![of.namespace(), of.to_string()],
    )
}

/// The target that the policy of an ARN belongs to, and the policy.
pub(super) fn policy_by_arn(c: &Connection, arn: &str) -> Outcome<Option<(TargetRow, PolicyRow)>> {
    let found: Option<(String, String)> = c
        .prepare_cached(
            "SELECT t.document, p.document FROM autoscaling_policies p
             JOIN autoscaling_targets t USING (namespace, resource) WHERE p.arn = ?1",
        )?
        .query_row([arn], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    found.map(|(target, policy)| Ok((parse(&target)?, parse(&policy)?))).transpose()
}

/// Adds or replaces a policy.
pub(super) fn put_policy(c: &Connection, of: &Resource, row: &PolicyRow) -> Outcome<()> {
    c.prepare_cached(
        "INSERT INTO autoscaling_policies VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT (namespace, resource, name) DO UPDATE SET document = excluded.document",
    )?
    .execute(params![of.namespace(), of.to_string(), row.name, row.arn, text(row)?])?;
    Ok(())
}

/// Removes a policy.
pub(super) fn remove_policy(c: &Connection, of: &Resource, name: &str) -> Outcome<()> {
    c.execute(
        "DELETE FROM autoscaling_policies WHERE namespace = ?1 AND resource = ?2 AND name = ?3",
        params![of.namespace(), of.to_string(), name],
    )?;
    Ok(())
}

/// A target's scheduled action.
pub(super) fn scheduled(
    c: &Connection,
    of: &Resource,
    name: &str,
) -> Outcome<Option<ScheduledRow>> {
    document(
        c,
        "SELECT document FROM autoscaling_scheduled
         WHERE namespace = ?1 AND resource = ?2 AND name = ?3",
        params![of.namespace(), of.to_string(), name],
    )
}

/// A target's scheduled actions, by name.
pub(super) fn all_scheduled(c: &Connection, of: &Resource) -> Outcome<Vec<ScheduledRow>> {
    documents(
        c,
        "SELECT document FROM autoscaling_scheduled
         WHERE namespace = ?1 AND resource = ?2 ORDER BY name",
        params![of.namespace(), of.to_string()],
    )
}

/// Adds or replaces a scheduled action that is due next at `due`.
pub(super) fn put_scheduled(
    c: &Connection,
    of: &Resource,
    row: &ScheduledRow,
    due: Option<i64>,
) -> Outcome<()> {
    c.prepare_cached(
        "INSERT INTO autoscaling_scheduled VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT (namespace, resource, name)
         DO UPDATE SET due = excluded.due, document = excluded.document",
    )?
    .execute(params![of.namespace(), of.to_string(), row.name, due, text(row)?])?;
    Ok(())
}

/// Removes a scheduled action; false where there was none.
pub(super) fn remove_scheduled(c: &Connection, of: &Resource, name: &str) -> Outcome<bool> {
    let removed = c.execute(
        "DELETE FROM autoscaling_scheduled WHERE namespace = ?1 AND resource = ?2 AND name = ?3",
        params![of.namespace(), of.to_string(), name],
    )?;
    Ok(removed == 1)
}

/// The scheduled actions that are due, the longest overdue first, with their targets.
pub(super) fn due_scheduled(
    c: &Connection,
    now: Timestamp,
) -> Outcome<Vec<(TargetRow, ScheduledRow)>> {
    let mut statement = c.prepare_cached(
        "SELECT t.document, s.document FROM autoscaling_scheduled s
         JOIN autoscaling_targets t USING (namespace, resource)
         WHERE s.due <= ?1 ORDER BY s.due, s.name",
    )?;
    let texts = statement
        .query_map([now.0], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<rusqlite::Result<Vec<(String, String)>>>()?;
    texts.iter().map(|(target, row)| Ok((parse(target)?, parse(row)?))).collect()
}

/// Activities of one resource at most; older ones make place.
const ACTIVITIES: i64 = 1000;
/// AWS shows the last six weeks.
const KEPT_MS: i64 = 42 * 24 * 3_600_000;

/// Adds an activity; answers its number.
pub(super) fn add_activity(c: &Connection, row: &ActivityRow) -> Outcome<i64> {
    let (namespace, resource) = (row.resource.namespace(), row.resource.to_string());
    c.prepare_cached(
        "INSERT INTO autoscaling_activities (namespace, resource, started, open, kept, document)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?
    .execute(params![
        namespace,
        resource,
        row.started.0,
        row.status.open(),
        !row.not_scaled.is_empty(),
        text(row)?
    ])?;
    let number = c.last_insert_rowid();
    c.prepare_cached(
        "DELETE FROM autoscaling_activities WHERE namespace = ?1 AND resource = ?2 AND number <= (
             SELECT number FROM autoscaling_activities WHERE namespace = ?1 AND resource = ?2
             ORDER BY number DESC LIMIT 1 OFFSET ?3)",
    )?
    .execute(params![namespace, resource, ACTIVITIES])?;
    c.prepare_cached("DELETE FROM autoscaling_activities WHERE started < ?1")?
        .execute([row.started.0.saturating_sub(KEPT_MS)])?;
    Ok(number)
}

/// Writes an activity that is there.
pub(super) fn update_activity(c: &Connection, number: i64, row: &ActivityRow) -> Outcome<()> {
    c.prepare_cached(
        "UPDATE autoscaling_activities SET open = ?2, document = ?3 WHERE number = ?1",
    )?
    .execute(params![number, row.status.open(), text(row)?])?;
    Ok(())
}

fn numbered(
    c: &Connection,
    query: &str,
    parameters: impl rusqlite::Params,
) -> Outcome<Vec<(i64, ActivityRow)>> {
    let mut statement = c.prepare_cached(query)?;
    let texts = statement
        .query_map(parameters, |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<rusqlite::Result<Vec<(i64, String)>>>()?;
    texts.iter().map(|(number, text)| Ok((*number, parse(text)?))).collect()
}

/// The activities that are not finished, oldest first.
pub(super) fn open_activities(c: &Connection) -> Outcome<Vec<(i64, ActivityRow)>> {
    numbered(
        c,
        "SELECT number, document FROM autoscaling_activities WHERE open = 1 ORDER BY number",
        [],
    )
}

/// A resource's newest activity, where nothing was scaled included.
pub(super) fn newest_activity(c: &Connection, of: &Resource) -> Outcome<Option<ActivityRow>> {
    document(
        c,
        "SELECT document FROM autoscaling_activities WHERE namespace = ?1 AND resource = ?2
         ORDER BY number DESC LIMIT 1",
        params![of.namespace(), of.to_string()],
    )
}

/// Which activities a request asks for.
#[derive(Debug)]
pub(super) struct Wanted<'a> {
    pub namespace: &'a str,
    pub resource: Option<&'a str>,
    /// Also those where nothing was scaled.
    pub kept: bool,
    /// Only those before this number.
    pub before: i64,
    pub most: usize,
}

/// Activities, newest first, with their numbers.
pub(super) fn activities(c: &Connection, wanted: &Wanted<'_>) -> Outcome<Vec<(i64, ActivityRow)>> {
    numbered(
        c,
        "SELECT number, document FROM autoscaling_activities
         WHERE namespace = ?1 AND (?2 IS NULL OR resource = ?2) AND (kept = 0 OR ?3) AND number < ?4
         ORDER BY number DESC LIMIT ?5",
        params![
            wanted.namespace,
            wanted.resource,
            wanted.kept,
            wanted.before,
            i64::try_from(wanted.most).unwrap_or(i64::MAX)
        ],
    )
}

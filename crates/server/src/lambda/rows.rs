//! Lambda's resources in the state database: functions, their versions, what hangs on a qualifier
//! (aliases, provisioned concurrency, URLs, policies, event settings), layers, and the queue of accepted
//! asynchronous invocations. Functions here work on a connection; `Lambda::read` and `Lambda::write` give
//! one.

use std::collections::BTreeMap;
use std::fmt;

use kennel_store::state::Migrations;
use rusqlite::{Connection, OptionalExtension as _, params};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::error::{Outcome, Refused};
use crate::context::Timestamp;
use crate::service::state_failed;

/// The tables.
pub const MIGRATIONS: Migrations = Migrations {
    component: "lambda",
    scripts: &["
        CREATE TABLE lambda_functions (
            name TEXT PRIMARY KEY,
            document TEXT NOT NULL
        ) WITHOUT ROWID, STRICT;
        -- version 0 is $LATEST; code is the sha256 of its zip.
        CREATE TABLE lambda_versions (
            function TEXT NOT NULL REFERENCES lambda_functions (name) ON DELETE CASCADE,
            version INTEGER NOT NULL,
            code TEXT NOT NULL,
            document TEXT NOT NULL,
            PRIMARY KEY (function, version)
        ) WITHOUT ROWID, STRICT;
        CREATE INDEX lambda_versions_by_code ON lambda_versions (code);
        -- What hangs on a qualifier; the empty qualifier is the function itself.
        CREATE TABLE lambda_settings (
            function TEXT NOT NULL REFERENCES lambda_functions (name) ON DELETE CASCADE,
            kind TEXT NOT NULL,
            qualifier TEXT NOT NULL,
            document TEXT NOT NULL,
            PRIMARY KEY (function, kind, qualifier)
        ) WITHOUT ROWID, STRICT;
        CREATE UNIQUE INDEX lambda_url_ids ON lambda_settings (document ->> '$.id')
            WHERE kind = 'url';
        CREATE TABLE lambda_layers (
            name TEXT NOT NULL,
            version INTEGER NOT NULL,
            code TEXT NOT NULL,
            document TEXT NOT NULL,
            PRIMARY KEY (name, version)
        ) WITHOUT ROWID, STRICT;
        CREATE INDEX lambda_layers_by_code ON lambda_layers (code);
        -- A deleted layer's numbers are not used again.
        CREATE TABLE lambda_layer_numbers (
            name TEXT PRIMARY KEY,
            last INTEGER NOT NULL
        ) WITHOUT ROWID, STRICT;
        CREATE TABLE lambda_events (
            id TEXT PRIMARY KEY,
            function TEXT NOT NULL REFERENCES lambda_functions (name) ON DELETE CASCADE,
            qualifier TEXT,
            attempts INTEGER NOT NULL,
            created INTEGER NOT NULL,
            due INTEGER NOT NULL,
            document TEXT NOT NULL,
            payload BLOB NOT NULL
        ) STRICT;
        CREATE INDEX lambda_events_by_due ON lambda_events (due);
        CREATE INDEX lambda_events_by_function ON lambda_events (function);
    "],
};

/// A function: what all its versions share.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct FunctionRow {
    /// Its name.
    pub name: String,
    /// Random; another one when a function of the same name is made again.
    pub id: String,
    /// When it was made.
    pub created: Timestamp,
    /// The number of the last version that was published; numbers are not used again.
    pub last_version: u64,
    /// Digest of the code and configuration that the last version was published from.
    pub published: Option<String>,
    /// ReservedConcurrentExecutions.
    pub reserved: Option<u32>,
    /// Tags by key.
    pub tags: BTreeMap<String, String>,
}

/// Environment variables of a function. They may be secrets: `Debug` shows names only.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Variables(pub BTreeMap<String, String>);

impl fmt::Debug for Variables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// What a program is compiled for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Architecture {
    /// 64-bit x86.
    #[serde(rename = "x86_64")]
    X86,
    /// 64-bit ARM.
    #[serde(rename = "arm64")]
    Arm,
}

impl Architecture {
    /// AWS's word.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Architecture::X86 => "x86_64",
            Architecture::Arm => "arm64",
        }
    }
}

/// Code or a layer, as it lies in the data folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Code {
    /// SHA-256 of the zip, 64 hexadecimal digits: its name in the data folder.
    pub sha256: String,
    /// Bytes of the zip.
    pub size: u64,
    /// Bytes of the files in it.
    pub unpacked: u64,
}

/// A layer that a version uses. It stays usable when the layer's version is deleted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LayerUse {
    /// `arn:…:layer:NAME:VERSION`.
    pub arn: String,
    /// What is in it.
    pub code: Code,
}

/// What a version runs with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Configuration {
    /// `python3.12`, `provided.al2023`, `nodejs22.x`.
    pub runtime: String,
    /// The role's ARN.
    pub role: String,
    /// `module.function`.
    pub handler: String,
    /// Description; empty where there is none.
    pub description: String,
    /// Seconds, 1 to 900.
    pub timeout: u32,
    /// MemorySize: MB, 128 to 10,240.
    pub memory: u32,
    /// The function's own variables.
    pub environment: Variables,
    /// The dead-letter queue's ARN.
    pub dead_letter: Option<String>,
    /// Layers, in their order: later ones are laid over earlier ones.
    pub layers: Vec<LayerUse>,
    /// What its programs are compiled for.
    pub architecture: Architecture,
    /// Size of /tmp in MB, 512 to 10,240.
    pub ephemeral_mb: u32,
    /// Where it logs; `/aws/lambda/NAME` unless given.
    pub log_group: String,
}

/// A version of a function. A published one never changes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct VersionRow {
    /// The function's name.
    pub function: String,
    /// Its number; 0 is `$LATEST`.
    pub version: u64,
    /// What it runs with.
    pub configuration: Configuration,
    /// What it runs.
    pub code: Code,
    /// LastModified.
    pub modified: Timestamp,
    /// RevisionId: another one with each change.
    pub revision: String,
}

/// What hangs on a qualifier of a function; the key's qualifier is empty for the function itself.
pub(crate) trait Setting: Serialize + DeserializeOwned + Send + 'static {
    /// The word in its key.
    const KIND: &'static str;
}

/// An alias; its name is the key's qualifier.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct AliasRow {
    /// Its name.
    pub name: String,
    /// The version it points to; 0 is `$LATEST`.
    pub version: u64,
    /// The other version and the share of invocations (0 to 1) that goes to it.
    pub also: Option<(u64, f64)>,
    /// Description; empty where there is none.
    pub description: String,
    /// RevisionId.
    pub revision: String,
}

impl Setting for AliasRow {
    const KIND: &'static str = "alias";
}

/// How far provisioned concurrency is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(crate) enum ProvisionedStatus {
    /// Environments are being made.
    InProgress,
    /// All are there.
    Ready,
    /// They cannot be made; the reason says why.
    Failed,
}

impl ProvisionedStatus {
    /// AWS's word.
    pub(crate) fn name(self) -> &'static str {
        match self {
            ProvisionedStatus::InProgress => "IN_PROGRESS",
            ProvisionedStatus::Ready => "READY",
            ProvisionedStatus::Failed => "FAILED",
        }
    }
}

/// Provisioned concurrency of a version or an alias (the key's qualifier).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ProvisionedRow {
    /// How many environments are asked for.
    pub requested: u32,
    /// How far that is, as the dispatcher said last.
    pub status: ProvisionedStatus,
    /// StatusReason.
    pub reason: Option<String>,
    /// LastModified.
    pub modified: Timestamp,
}

impl Setting for ProvisionedRow {
    const KIND: &'static str = "provisioned";
}

/// Who may call a function URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum UrlAuth {
    /// Everybody whom the resource policy allows; nothing is signed.
    #[serde(rename = "NONE")]
    Nobody,
    /// Signed by a principal that may `lambda:InvokeFunctionUrl`.
    #[serde(rename = "AWS_IAM")]
    Iam,
}

/// A function URL; the key's qualifier is an alias, or empty for `$LATEST`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct UrlRow {
    /// 32 lower-case letters and digits: the place in `/_lambda-url/ID/`.
    pub id: String,
    /// AuthType.
    pub auth: UrlAuth,
    /// Cors, as given.
    pub cors: Option<Value>,
    /// CreationTime.
    pub created: Timestamp,
    /// LastModifiedTime.
    pub modified: Timestamp,
}

impl Setting for UrlRow {
    const KIND: &'static str = "url";
}

/// A resource policy: of the function (empty qualifier), a version or an alias.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct PolicyRow {
    /// Its statements.
    pub statements: Vec<Value>,
    /// RevisionId.
    pub revision: String,
}

impl Setting for PolicyRow {
    const KIND: &'static str = "policy";
}

/// How asynchronous invocations of a qualifier (`$LATEST` for the function itself) are handled.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct EventRow {
    /// MaximumRetryAttempts, 0 to 2; 2 where not given.
    pub retries: Option<u32>,
    /// MaximumEventAgeInSeconds, 60 to 21,600; 21,600 where not given.
    pub max_age: Option<u32>,
    /// OnSuccess's ARN.
    pub on_success: Option<String>,
    /// OnFailure's ARN.
    pub on_failure: Option<String>,
    /// LastModified.
    pub modified: Timestamp,
}

impl Setting for EventRow {
    const KIND: &'static str = "event";
}

/// A version of a layer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct LayerRow {
    /// The layer's name.
    pub name: String,
    /// 1, 2, …
    pub version: u64,
    /// What is in it.
    pub code: Code,
    /// Description; empty where there is none.
    pub description: String,
    /// CreatedDate.
    pub created: Timestamp,
    /// CompatibleRuntimes.
    pub runtimes: Vec<String>,
    /// CompatibleArchitectures.
    pub architectures: Vec<String>,
    /// LicenseInfo.
    pub license: Option<String>,
}

/// An asynchronous invocation that was accepted and is not done with.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct EventInvocation {
    /// The request id that the caller got.
    pub id: String,
    /// The function's name.
    pub function: String,
    /// As it was invoked.
    pub qualifier: Option<String>,
    /// How often it was tried.
    pub attempts: u32,
    /// When it was accepted.
    pub created: Timestamp,
    /// When it is to be tried (again).
    pub due: Timestamp,
    /// What the dispatcher wants to know again: client context, the last error.
    pub notes: Value,
    /// The event.
    pub payload: Vec<u8>,
}

fn parse<R: DeserializeOwned>(text: &str) -> Outcome<R> {
    serde_json::from_str(text).map_err(|e| Refused::Service(state_failed(&e)))
}

fn text<R: Serialize>(row: &R) -> Outcome<String> {
    serde_json::to_string(row).map_err(|e| Refused::Service(state_failed(&e)))
}

/// Numbers of versions and counts fit; SQLite has no unsigned ones.
fn int(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
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

/// The function of a name.
pub(crate) fn function(c: &Connection, name: &str) -> Outcome<Option<FunctionRow>> {
    document(c, "SELECT document FROM lambda_functions WHERE name = ?1", [name])
}

/// All functions, by name.
pub(crate) fn functions(c: &Connection) -> Outcome<Vec<FunctionRow>> {
    documents(c, "SELECT document FROM lambda_functions ORDER BY name", [])
}

/// Adds a function; false where the name is in use.
pub(crate) fn insert_function(c: &Connection, row: &FunctionRow) -> Outcome<bool> {
    let added = c
        .prepare_cached("INSERT INTO lambda_functions VALUES (?1, ?2) ON CONFLICT DO NOTHING")?
        .execute(params![row.name, text(row)?])?;
    Ok(added == 1)
}

/// Writes a function that is there.
pub(crate) fn update_function(c: &Connection, row: &FunctionRow) -> Outcome<()> {
    c.prepare_cached("UPDATE lambda_functions SET document = ?2 WHERE name = ?1")?
        .execute(params![row.name, text(row)?])?;
    Ok(())
}

/// Removes a function with its versions, settings and queued events.
pub(crate) fn remove_function(c: &Connection, name: &str) -> Outcome<()> {
    c.execute("DELETE FROM lambda_functions WHERE name = ?1", [name])?;
    Ok(())
}

/// A version; 0 is `$LATEST`.
pub(crate) fn version(c: &Connection, function: &str, version: u64) -> Outcome<Option<VersionRow>> {
    document(
        c,
        "SELECT document FROM lambda_versions WHERE function = ?1 AND version = ?2",
        params![function, int(version)],
    )
}

/// All versions of a function, `$LATEST` first.
pub(crate) fn versions(c: &Connection, function: &str) -> Outcome<Vec<VersionRow>> {
    documents(
        c,
        "SELECT document FROM lambda_versions WHERE function = ?1 ORDER BY version",
        [function],
    )
}

/// Adds or replaces a version.
pub(crate) fn put_version(c: &Connection, row: &VersionRow) -> Outcome<()> {
    c.prepare_cached(
        "INSERT INTO lambda_versions VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (function, version) DO UPDATE SET code = excluded.code, document = excluded.document",
    )?
    .execute(params![row.function, int(row.version), row.code.sha256, text(row)?])?;
    Ok(())
}

/// Removes a version; false where there was none.
pub(crate) fn remove_version(c: &Connection, function: &str, version: u64) -> Outcome<bool> {
    let removed = c.execute(
        "DELETE FROM lambda_versions WHERE function = ?1 AND version = ?2",
        params![function, int(version)],
    )?;
    Ok(removed == 1)
}

/// A setting of a qualifier (empty: of the function).
pub(crate) fn setting<R: Setting>(
    c: &Connection,
    function: &str,
    qualifier: &str,
) -> Outcome<Option<R>> {
    document(
        c,
        "SELECT document FROM lambda_settings WHERE function = ?1 AND kind = ?2 AND qualifier = ?3",
        params![function, R::KIND, qualifier],
    )
}

fn keyed<R: DeserializeOwned>(
    c: &Connection,
    query: &str,
    parameters: impl rusqlite::Params,
) -> Outcome<Vec<(String, String, R)>> {
    let mut statement = c.prepare_cached(query)?;
    let rows = statement
        .query_map(parameters, |row| Ok((row.get(0)?, row.get(1)?, row.get::<_, String>(2)?)))?
        .collect::<rusqlite::Result<Vec<(String, String, String)>>>()?;
    rows.into_iter()
        .map(|(function, qualifier, text)| Ok((function, qualifier, parse(&text)?)))
        .collect()
}

/// A function's settings of a kind, with their qualifiers, by qualifier.
pub(crate) fn settings<R: Setting>(c: &Connection, function: &str) -> Outcome<Vec<(String, R)>> {
    let rows = keyed(
        c,
        "SELECT function, qualifier, document FROM lambda_settings
         WHERE function = ?1 AND kind = ?2 ORDER BY qualifier",
        params![function, R::KIND],
    )?;
    Ok(rows.into_iter().map(|(_, qualifier, row)| (qualifier, row)).collect())
}

/// All functions' settings of a kind: function, qualifier, row.
pub(crate) fn all_settings<R: Setting>(c: &Connection) -> Outcome<Vec<(String, String, R)>> {
    keyed(
        c,
        "SELECT function, qualifier, document FROM lambda_settings
         WHERE kind = ?1 ORDER BY function, qualifier",
        [R::KIND],
    )
}

/// Adds or replaces a setting.
pub(crate) fn put_setting<R: Setting>(
    c: &Connection,
    function: &str,
    qualifier: &str,
    row: &R,
) -> Outcome<()> {
    c.prepare_cached(
        "INSERT INTO lambda_settings VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (function, kind, qualifier) DO UPDATE SET document = excluded.document",
    )?
    .execute(params![function, R::KIND, qualifier, text(row)?])?;
    Ok(())
}

/// Removes a setting; false where there was none.
pub(crate) fn remove_setting<R: Setting>(
    c: &Connection,
    function: &str,
    qualifier: &str,
) -> Outcome<bool> {
    let removed = c.execute(
        "DELETE FROM lambda_settings WHERE function = ?1 AND kind = ?2 AND qualifier = ?3",
        params![function, R::KIND, qualifier],
    )?;
    Ok(removed == 1)
}

/// Removes all that hangs on a qualifier.
pub(crate) fn remove_settings(c: &Connection, function: &str, qualifier: &str) -> Outcome<()> {
    c.execute(
        "DELETE FROM lambda_settings WHERE function = ?1 AND qualifier = ?2",
        params![function, qualifier],
    )?;
    Ok(())
}

/// The function URL of an id: function, qualifier, row.
pub(crate) fn url(c: &Connection, id: &str) -> Outcome<Option<(String, String, UrlRow)>> {
    let rows = keyed(
        c,
        "SELECT function, qualifier, document FROM lambda_settings
         WHERE kind = 'url' AND document ->> '$.id' = ?1",
        [id],
    )?;
    Ok(rows.into_iter().next())
}

/// Adds a version of a layer, under the next number.
pub(crate) fn add_layer(c: &Connection, mut row: LayerRow) -> Outcome<LayerRow> {
    let number: i64 = c.query_row(
        "INSERT INTO lambda_layer_numbers VALUES (?1, 1)
         ON CONFLICT (name) DO UPDATE SET last = last + 1 RETURNING last",
        [&row.name],
        |r| r.get(0),
    )?;
    row.version = u64::try_from(number).unwrap_or(1);
    c.execute(
        "INSERT INTO lambda_layers VALUES (?1, ?2, ?3, ?4)",
        params![row.name, number, row.code.sha256, text(&row)?],
    )?;
    Ok(row)
}

/// A version of a layer.
pub(crate) fn layer(c: &Connection, name: &str, version: u64) -> Outcome<Option<LayerRow>> {
    document(
        c,
        "SELECT document FROM lambda_layers WHERE name = ?1 AND version = ?2",
        params![name, int(version)],
    )
}

/// All versions of all layers, by name, newest first.
pub(crate) fn layers(c: &Connection) -> Outcome<Vec<LayerRow>> {
    documents(c, "SELECT document FROM lambda_layers ORDER BY name, version DESC", [])
}

/// Removes a version of a layer; answers the row that was there.
pub(crate) fn remove_layer(c: &Connection, name: &str, version: u64) -> Outcome<Option<LayerRow>> {
    let row = layer(c, name, version)?;
    c.execute(
        "DELETE FROM lambda_layers WHERE name = ?1 AND version = ?2",
        params![name, int(version)],
    )?;
    Ok(row)
}

/// Does any version or layer still refer to this code?
pub(crate) fn code_is_used(c: &Connection, sha256: &str) -> Outcome<bool> {
    // A layer that a version uses is named in its document; 64 hexadecimal digits are nothing else's.
    let used = c
        .prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM lambda_versions WHERE code = ?1)
                 OR EXISTS (SELECT 1 FROM lambda_layers WHERE code = ?1)
                 OR EXISTS (SELECT 1 FROM lambda_versions WHERE instr(document, ?1) > 0)",
        )?
        .query_row([sha256], |row| row.get(0))?;
    Ok(used)
}

/// Bytes of all zips that are in use, each version and layer counted on its own, as AWS does.
pub(crate) fn code_bytes(c: &Connection) -> Outcome<u64> {
    let bytes: i64 = c.query_row(
        "SELECT (SELECT coalesce(sum(document ->> '$.code.size'), 0) FROM lambda_versions)
              + (SELECT coalesce(sum(document ->> '$.code.size'), 0) FROM lambda_layers)",
        [],
        |row| row.get(0),
    )?;
    Ok(u64::try_from(bytes).unwrap_or(0))
}

/// Queues an asynchronous invocation; false where the function is gone or `most` wait for it already.
pub(crate) fn add_event(c: &Connection, event: &EventInvocation, most: u32) -> Outcome<bool> {
    let added = c
        .prepare_cached(
            "INSERT INTO lambda_events
             SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8
             WHERE EXISTS (SELECT 1 FROM lambda_functions WHERE name = ?2)
               AND (SELECT count(*) FROM lambda_events WHERE function = ?2) < ?9",
        )?
        .execute(params![
            event.id,
            event.function,
            event.qualifier,
            event.attempts,
            event.created.0,
            event.due.0,
            event.notes.to_string(),
            event.payload,
            most,
        ])?;
    Ok(added == 1)
}

/// Invocations that are due at `now`, longest due first, at most `most`.
pub(crate) fn due_events(
    c: &Connection,
    now: Timestamp,
    most: u32,
) -> Outcome<Vec<EventInvocation>> {
    let mut statement = c.prepare_cached(
        "SELECT id, function, qualifier, attempts, created, due, document, payload
         FROM lambda_events WHERE due <= ?1 ORDER BY due, id LIMIT ?2",
    )?;
    let rows = statement
        .query_map(params![now.0, most], |row| {
            let notes: String = row.get(6)?;
            let event = EventInvocation {
                id: row.get(0)?,
                function: row.get(1)?,
                qualifier: row.get(2)?,
                attempts: row.get(3)?,
                created: Timestamp(row.get(4)?),
                due: Timestamp(row.get(5)?),
                notes: Value::Null,
                payload: row.get(7)?,
            };
            Ok((event, notes))
        })?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    rows.into_iter()
        .map(|(event, notes)| Ok(EventInvocation { notes: parse(&notes)?, ..event }))
        .collect()
}

/// When the next invocation is due after a moment; `None` where none waits longer.
pub(crate) fn next_due_after(c: &Connection, after: Timestamp) -> Outcome<Option<Timestamp>> {
    let due: Option<i64> = c
        .prepare_cached("SELECT min(due) FROM lambda_events WHERE due > ?1")?
        .query_row([after.0], |row| row.get(0))?;
    Ok(due.map(Timestamp))
}

/// Puts an invocation off: what was tried, when it is due again, what to remember.
pub(crate) fn update_event(
    c: &Connection,
    id: &str,
    attempts: u32,
    due: Timestamp,
    notes: &Value,
) -> Outcome<()> {
    c.prepare_cached(
        "UPDATE lambda_events SET attempts = ?2, due = ?3, document = ?4 WHERE id = ?1",
    )?
    .execute(params![id, attempts, due.0, notes.to_string()])?;
    Ok(())
}

/// An invocation is done with.
pub(crate) fn remove_event(c: &Connection, id: &str) -> Outcome<()> {
    c.prepare_cached("DELETE FROM lambda_events WHERE id = ?1")?.execute([id])?;
    Ok(())
}

//! Lambda's resources in the state database: functions, their versions, what hangs on a qualifier
//! (aliases, provisioned concurrency, URLs, policies, event settings), layers, and the queue of accepted
//! asynchronous invocations. Functions here work on a connection; `Lambda::read` and `Lambda::write` give
//! one.

mod queue;
mod types;

use kennel_store::state::Migrations;
use rusqlite::{Connection, OptionalExtension as _, params};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::error::{Outcome, Refused};
use crate::service::state_failed;

pub(crate) use self::queue::{
    EventInvocation, add_event, due_events, next_due_after, remove_event, update_event,
};
pub(crate) use self::types::*;

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

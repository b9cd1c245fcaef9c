//! Alarms and their history in the state database.

use kennel_scaling::alarm::State;
use kennel_store::state::rusqlite::types::Type;
use kennel_store::state::rusqlite::{self, Connection, OptionalExtension, params};

use super::AlarmSpec;
use super::history::{self, Item, Kind};
use super::reason::Words;
use crate::context::Timestamp;

/// Alarms by name, and what became of them. `revision` counts changes of a row, so that an evaluation
/// never overwrites what came between.
pub(in super::super) const SCHEMA: &str = "
    CREATE TABLE alarms (
        name TEXT PRIMARY KEY,
        period INTEGER NOT NULL,
        spec TEXT NOT NULL,
        tags TEXT NOT NULL,
        configured INTEGER NOT NULL,
        state TEXT NOT NULL,
        reason TEXT NOT NULL,
        reason_data TEXT,
        updated INTEGER NOT NULL,
        transitioned INTEGER NOT NULL,
        revision INTEGER NOT NULL
    ) WITHOUT ROWID, STRICT;
    CREATE TABLE alarm_history (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        name TEXT NOT NULL,
        time INTEGER NOT NULL,
        kind TEXT NOT NULL,
        summary TEXT NOT NULL,
        data TEXT NOT NULL
    ) STRICT;
    CREATE INDEX alarm_history_name ON alarm_history (name, id);
";

/// AWS keeps history for 30 days,
/// <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/AlarmThatSendsEmail.html>.
const HISTORY_MS: i64 = 30 * 86_400_000;
/// And Kennel no more than so many of the newest items, whatever flaps.
const MOST_HISTORY: i64 = 50_000;

type Outcome<T> = rusqlite::Result<T>;

/// An alarm as it stands.
#[derive(Debug, Clone)]
pub(super) struct Row {
    pub(super) spec: AlarmSpec,
    pub(super) configured: Timestamp,
    pub(super) state: State,
    pub(super) reason: String,
    pub(super) reason_data: Option<String>,
    /// Of the state or its reason.
    pub(super) updated: Timestamp,
    pub(super) transitioned: Timestamp,
    pub(super) revision: i64,
}

const COLUMNS: &str =
    "spec, configured, state, reason, reason_data, updated, transitioned, revision";

fn row(row: &rusqlite::Row<'_>) -> Outcome<Row> {
    let spec: String = row.get(0)?;
    Ok(Row {
        spec: serde_json::from_str(&spec)
            .map_err(|e| rusqlite::Error::FromSqlConversionFailure(0, Type::Text, Box::new(e)))?,
        configured: Timestamp(row.get(1)?),
        state: state_named(&row.get::<_, String>(2)?),
        reason: row.get(3)?,
        reason_data: row.get(4)?,
        updated: Timestamp(row.get(5)?),
        transitioned: Timestamp(row.get(6)?),
        revision: row.get(7)?,
    })
}

/// [`row`], or nothing where another Kennel wrote what this one does not understand: one such alarm must
/// not stop the others.
fn readable(from: &rusqlite::Row<'_>) -> Outcome<Option<Row>> {
    match row(from) {
        Err(rusqlite::Error::FromSqlConversionFailure(_, _, error)) => {
            tracing::error!("an alarm's row is left out: {error}");
            Ok(None)
        }
        other => other.map(Some),
    }
}

/// AWS's `StateValue`; what is unknown is insufficient data.
pub(super) fn state_named(name: &str) -> State {
    match name {
        "OK" => State::Ok,
        "ALARM" => State::Alarm,
        _ => State::InsufficientData,
    }
}

/// Makes or replaces an alarm, and writes so into its history.
pub(super) fn put(c: &Connection, now: Timestamp, spec: &AlarmSpec) -> Outcome<()> {
    let old = find(c, &spec.name)?;
    let text = serde_json::to_string(spec)
        .map_err(|e| rusqlite::Error::ToSqlConversionFailure(Box::new(e)))?;
    match &old {
        Some(_) => {
            c.prepare_cached(
                "UPDATE alarms SET period = ?2, spec = ?3, configured = ?4, revision = revision + 1
                 WHERE name = ?1",
            )?
            .execute(params![spec.name, spec.period_s, text, now.0])?;
        }
        None => {
            c.prepare_cached(
                "INSERT INTO alarms VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, NULL, ?5, ?5, 0)",
            )?
            .execute(params![
                spec.name,
                spec.period_s,
                text,
                serde_json::json!(spec.tags).to_string(),
                now.0,
                State::InsufficientData.as_str(),
                "Unchecked: Initial alarm creation",
            ])?;
        }
    }
    if let Some(new) = find(c, &spec.name)? {
        let change = match old {
            Some(_) => "Update",
            None => "Create",
        };
        remember(c, &history::configured(now, change, &new))?;
    }
    Ok(())
}

/// Deletes an alarm, if it is there.
pub(super) fn delete(c: &Connection, now: Timestamp, name: &str) -> Outcome<()> {
    if let Some(old) = find(c, name)? {
        c.prepare_cached("DELETE FROM alarms WHERE name = ?1")?.execute([name])?;
        remember(c, &history::configured(now, "Delete", &old))?;
    }
    Ok(())
}

/// Gives an alarm a state with its words, unless its row has changed since `old` was read; answers
/// whether it did.
pub(super) fn set_state(
    c: &Connection,
    now: Timestamp,
    old: &Row,
    state: State,
    words: &Words,
) -> Outcome<bool> {
    let moved = if state == old.state { old.transitioned } else { now };
    let changed = c
        .prepare_cached(
            "UPDATE alarms SET state = ?3, reason = ?4, reason_data = ?5, updated = ?6,
                transitioned = ?7, revision = revision + 1
             WHERE name = ?1 AND revision = ?2",
        )?
        .execute(params![
            old.spec.name,
            old.revision,
            state.as_str(),
            words.reason,
            words.data,
            now.0,
            moved.0
        ])?;
    if changed == 1 && state != old.state {
        remember(c, &history::transition(now, old, state, words))?;
    }
    Ok(changed == 1)
}

/// An alarm by its name.
pub(super) fn find(c: &Connection, name: &str) -> Outcome<Option<Row>> {
    c.prepare_cached(&format!("SELECT {COLUMNS} FROM alarms WHERE name = ?1"))?
        .query_row([name], row)
        .optional()
}

/// An alarm's state by its name.
pub(super) fn state(c: &Connection, name: &str) -> Outcome<Option<State>> {
    c.prepare_cached("SELECT state FROM alarms WHERE name = ?1")?
        .query_row([name], |row| Ok(state_named(&row.get::<_, String>(0)?)))
        .optional()
}

/// How many there are.
pub(super) fn count(c: &Connection) -> Outcome<i64> {
    c.prepare_cached("SELECT count(*) FROM alarms")?.query_row([], |row| row.get(0))
}

/// Alarms in the order of their names that come after a name and that `wanted` takes, at most `limit`.
pub(super) fn list(
    c: &Connection,
    after: &str,
    limit: usize,
    wanted: impl Fn(&Row) -> bool,
) -> Outcome<Vec<Row>> {
    let mut statement =
        c.prepare_cached(&format!("SELECT {COLUMNS} FROM alarms WHERE name > ?1 ORDER BY name"))?;
    let mut found = Vec::new();
    for alarm in statement.query_map([after], readable)? {
        if let Some(alarm) = alarm?.filter(&wanted) {
            found.push(alarm);
        }
        if found.len() >= limit {
            break;
        }
    }
    Ok(found)
}

/// Alarms whose period is below so many seconds.
pub(super) fn below(c: &Connection, period: i64) -> Outcome<Vec<Row>> {
    c.prepare_cached(&format!("SELECT {COLUMNS} FROM alarms WHERE period < ?1"))?
        .query_map([period], readable)?
        .filter_map(Outcome::transpose)
        .collect()
}

/// An alarm's tags, as JSON; nothing when there is no such alarm.
pub(super) fn tags(c: &Connection, name: &str) -> Outcome<Option<String>> {
    c.prepare_cached("SELECT tags FROM alarms WHERE name = ?1")?
        .query_row([name], |row| row.get(0))
        .optional()
}

pub(super) fn set_tags(c: &Connection, name: &str, tags: &str) -> Outcome<()> {
    c.prepare_cached("UPDATE alarms SET tags = ?2 WHERE name = ?1")?.execute([name, tags])?;
    Ok(())
}

/// Writes an item of history.
pub(super) fn remember(c: &Connection, item: &Item) -> Outcome<()> {
    c.prepare_cached(
        "INSERT INTO alarm_history (name, time, kind, summary, data) VALUES (?1, ?2, ?3, ?4, ?5)",
    )?
    .execute(params![item.name, item.time.0, item.kind.as_str(), item.summary, item.data])?;
    Ok(())
}

/// What DescribeAlarmHistory asks for; times in milliseconds, the last one excluded.
#[derive(Debug, Clone, Default)]
pub(super) struct Past {
    pub(super) name: Option<String>,
    pub(super) kind: Option<String>,
    pub(super) from: Option<i64>,
    pub(super) to: Option<i64>,
    pub(super) oldest_first: bool,
    /// Where the page before ended.
    pub(super) after: Option<i64>,
    pub(super) limit: i64,
}

/// Items of history with their ids.
pub(super) fn history(c: &Connection, past: &Past) -> Outcome<Vec<(i64, Item)>> {
    let (beyond, order) = if past.oldest_first { (">", "ASC") } else { ("<", "DESC") };
    c.prepare_cached(&format!(
        "SELECT id, name, time, kind, summary, data FROM alarm_history
         WHERE (?1 IS NULL OR name = ?1) AND (?2 IS NULL OR kind = ?2)
           AND (?3 IS NULL OR time >= ?3) AND (?4 IS NULL OR time < ?4)
           AND (?5 IS NULL OR id {beyond} ?5)
         ORDER BY id {order} LIMIT ?6"
    ))?
    .query_map(params![past.name, past.kind, past.from, past.to, past.after, past.limit], |row| {
        Ok((
            row.get(0)?,
            Item {
                name: row.get(1)?,
                time: Timestamp(row.get(2)?),
                kind: Kind::named(&row.get::<_, String>(3)?),
                summary: row.get(4)?,
                data: row.get(5)?,
            },
        ))
    })?
    .collect()
}

/// Forgets history that is too old or too much.
pub(super) fn sweep(c: &Connection, now: Timestamp) -> Outcome<()> {
    c.execute("DELETE FROM alarm_history WHERE time < ?1", [now.0.saturating_sub(HISTORY_MS)])?;
    c.execute(
        "DELETE FROM alarm_history WHERE id <= (SELECT max(id) FROM alarm_history) - ?1",
        [MOST_HISTORY],
    )?;
    Ok(())
}

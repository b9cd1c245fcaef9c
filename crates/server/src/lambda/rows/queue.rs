//! The queue of accepted asynchronous invocations.

use rusqlite::{Connection, params};
use serde_json::Value;

use super::parse;
use crate::context::Timestamp;
use crate::lambda::error::Outcome;

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

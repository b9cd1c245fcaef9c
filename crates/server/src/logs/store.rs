//! Log groups, streams and events in the state database. Events are clustered by (stream, time,
//! sequence), so a page of a stream is one range read; a group's page merges its streams' ranges.
//! Deleting a group or stream takes its rows out of sight at once; its events go in small steps later
//! ([`collect`]), so that millions of lines never hold up the one writer.

use kennel_store::state::Migrations;
use kennel_store::state::rusqlite::{self, Connection, OptionalExtension, Row, params};

use super::batch::EVENT_OVERHEAD;
use super::position::{Direction, Position};

/// The schema of CloudWatch Logs.
pub const MIGRATIONS: Migrations = Migrations {
    component: "logs",
    scripts: &["
        CREATE TABLE log_groups (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            name TEXT NOT NULL UNIQUE,
            created INTEGER NOT NULL,
            retention INTEGER,
            tags TEXT NOT NULL
        ) STRICT;
        CREATE TABLE log_streams (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            log_group INTEGER NOT NULL,
            name TEXT NOT NULL,
            created INTEGER NOT NULL,
            first_time INTEGER,
            last_time INTEGER,
            last_ingested INTEGER,
            next_sequence INTEGER NOT NULL DEFAULT 1,
            stored_bytes INTEGER NOT NULL DEFAULT 0,
            UNIQUE (log_group, name)
        ) STRICT;
        CREATE INDEX log_streams_by_last_event
            ON log_streams (log_group, coalesce(last_time, 0), name);
        CREATE TABLE log_events (
            stream INTEGER NOT NULL,
            time INTEGER NOT NULL,
            sequence INTEGER NOT NULL,
            ingested INTEGER NOT NULL,
            message TEXT NOT NULL,
            PRIMARY KEY (stream, time, sequence)
        ) WITHOUT ROWID, STRICT;
        CREATE TABLE log_garbage (stream INTEGER PRIMARY KEY) STRICT;
    "],
};

/// A log group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Group {
    pub(super) id: i64,
    pub(super) name: String,
    pub(super) created: i64,
    pub(super) retention: Option<i64>,
    pub(super) tags: String,
}

/// A log stream; times in milliseconds, absent while it has no event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stream {
    pub(super) id: i64,
    pub(super) name: String,
    pub(super) created: i64,
    pub(super) first_time: Option<i64>,
    pub(super) last_time: Option<i64>,
    pub(super) last_ingested: Option<i64>,
    pub(super) next_sequence: i64,
}

/// A stored event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Event {
    pub(super) position: Position,
    pub(super) ingested: i64,
    pub(super) message: String,
}

type Outcome<T> = rusqlite::Result<T>;

fn group_row(row: &Row<'_>) -> Outcome<Group> {
    Ok(Group {
        id: row.get(0)?,
        name: row.get(1)?,
        created: row.get(2)?,
        retention: row.get(3)?,
        tags: row.get(4)?,
    })
}

const STREAM: &str = "id, name, created, first_time, last_time, last_ingested, next_sequence";

fn stream_row(row: &Row<'_>) -> Outcome<Stream> {
    Ok(Stream {
        id: row.get(0)?,
        name: row.get(1)?,
        created: row.get(2)?,
        first_time: row.get(3)?,
        last_time: row.get(4)?,
        last_ingested: row.get(5)?,
        next_sequence: row.get(6)?,
    })
}

pub(super) fn group(c: &Connection, name: &str) -> Outcome<Option<Group>> {
    c.prepare_cached("SELECT id, name, created, retention, tags FROM log_groups WHERE name = ?1")?
        .query_row([name], group_row)
        .optional()
}

/// The new group's id, or nothing when the name is taken.
pub(super) fn create_group(
    c: &Connection,
    name: &str,
    created: i64,
    tags: &str,
) -> Outcome<Option<i64>> {
    let made = c
        .prepare_cached(
            "INSERT INTO log_groups (name, created, tags) VALUES (?1, ?2, ?3)
             ON CONFLICT (name) DO NOTHING",
        )?
        .execute(params![name, created, tags])?;
    Ok((made == 1).then(|| c.last_insert_rowid()))
}

pub(super) fn delete_group(c: &Connection, id: i64) -> Outcome<()> {
    c.execute("INSERT INTO log_garbage SELECT id FROM log_streams WHERE log_group = ?1", [id])?;
    c.execute("DELETE FROM log_streams WHERE log_group = ?1", [id])?;
    c.execute("DELETE FROM log_groups WHERE id = ?1", [id])?;
    Ok(())
}

pub(super) fn set_retention(c: &Connection, id: i64, days: Option<i64>) -> Outcome<()> {
    c.execute("UPDATE log_groups SET retention = ?2 WHERE id = ?1", params![id, days]).map(drop)
}

pub(super) fn set_tags(c: &Connection, id: i64, tags: &str) -> Outcome<()> {
    c.execute("UPDATE log_groups SET tags = ?2 WHERE id = ?1", params![id, tags]).map(drop)
}

/// Groups after a name in name order, whose name has a prefix and contains a text, with the bytes
/// that they store.
pub(super) fn groups(
    c: &Connection,
    after: &str,
    prefix: &str,
    contains: &str,
    limit: i64,
) -> Outcome<Vec<(Group, i64)>> {
    c.prepare_cached(
        "SELECT id, name, created, retention, tags,
                (SELECT coalesce(sum(stored_bytes), 0) FROM log_streams WHERE log_group = g.id)
         FROM log_groups g
         WHERE name > ?1 AND name >= ?2 AND name < ?3 AND instr(lower(name), lower(?4)) > 0
         ORDER BY name LIMIT ?5",
    )?
    .query_map(params![after, prefix, after_prefix(prefix), contains, limit], |row| {
        Ok((group_row(row)?, row.get(5)?))
    })?
    .collect()
}

/// The first text after all that begin with `prefix`.
fn after_prefix(prefix: &str) -> String {
    format!("{prefix}{}", char::MAX)
}

pub(super) fn stream(c: &Connection, group: i64, name: &str) -> Outcome<Option<Stream>> {
    c.prepare_cached(&format!(
        "SELECT {STREAM} FROM log_streams WHERE log_group = ?1 AND name = ?2"
    ))?
    .query_row(params![group, name], stream_row)
    .optional()
}

/// The new stream's id, or nothing when the name is taken.
pub(super) fn create_stream(
    c: &Connection,
    group: i64,
    name: &str,
    created: i64,
) -> Outcome<Option<i64>> {
    let made = c
        .prepare_cached(
            "INSERT INTO log_streams (log_group, name, created) VALUES (?1, ?2, ?3)
             ON CONFLICT (log_group, name) DO NOTHING",
        )?
        .execute(params![group, name, created])?;
    Ok((made == 1).then(|| c.last_insert_rowid()))
}

/// The stream of these names; what is missing is created.
pub(super) fn ensure_stream(
    c: &Connection,
    group_name: &str,
    name: &str,
    now: i64,
) -> Outcome<Stream> {
    if let Some(group) = group(c, group_name)?
        && let Some(stream) = stream(c, group.id, name)?
    {
        return Ok(stream);
    }
    create_group(c, group_name, now, "{}")?;
    let group = group(c, group_name)?.ok_or(rusqlite::Error::QueryReturnedNoRows)?;
    create_stream(c, group.id, name, now)?;
    stream(c, group.id, name)?.ok_or(rusqlite::Error::QueryReturnedNoRows)
}

pub(super) fn delete_stream(c: &Connection, id: i64) -> Outcome<()> {
    c.execute("INSERT INTO log_garbage VALUES (?1)", [id])?;
    c.execute("DELETE FROM log_streams WHERE id = ?1", [id]).map(drop)
}

/// How DescribeLogStreams lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct StreamOrder {
    /// By the last event's time, then by name; otherwise by name alone.
    pub(super) by_last_event: bool,
    /// Last first.
    pub(super) descending: bool,
}

/// Streams of a group after a key, in order.
pub(super) fn streams(
    c: &Connection,
    group: i64,
    prefix: &str,
    order: StreamOrder,
    after: Option<&(i64, String)>,
    limit: i64,
) -> Outcome<Vec<Stream>> {
    let key = if order.by_last_event { "coalesce(last_time, 0)" } else { "0" };
    let (compare, way) = if order.descending { ("<", "DESC") } else { (">", "ASC") };
    let by = if order.by_last_event {
        format!("coalesce(last_time, 0) {way}, name {way}")
    } else {
        format!("name {way}")
    };
    c.prepare_cached(&format!(
        "SELECT {STREAM} FROM log_streams
         WHERE log_group = ?1 AND name >= ?2 AND name < ?3
           AND (?4 IS NULL OR ({key}, name) {compare} (?4, ?5))
         ORDER BY {by} LIMIT ?6"
    ))?
    .query_map(
        params![
            group,
            prefix,
            after_prefix(prefix),
            after.map(|key| key.0),
            after.map(|key| key.1.as_str()),
            limit
        ],
        stream_row,
    )?
    .collect()
}

/// Streams of a group with events in `from..=to`, by id.
pub(super) fn streams_with_events(
    c: &Connection,
    group: i64,
    prefix: &str,
    from: i64,
    to: i64,
) -> Outcome<Vec<Stream>> {
    c.prepare_cached(&format!(
        "SELECT {STREAM} FROM log_streams
         WHERE log_group = ?1 AND name >= ?2 AND name < ?3 AND last_time >= ?4 AND first_time <= ?5"
    ))?
    .query_map(params![group, prefix, after_prefix(prefix), from, to], stream_row)?
    .collect()
}

/// Adds events to a stream, `(time, message)` each. With `in_order` an event that is older than the
/// stream's last one takes that one's time, so that readers who page forward miss nothing.
pub(super) fn append<'a>(
    c: &Connection,
    stream: &Stream,
    events: impl Iterator<Item = (i64, &'a str)>,
    ingested: i64,
    in_order: bool,
) -> Outcome<()> {
    let mut insert = c.prepare_cached("INSERT INTO log_events VALUES (?1, ?2, ?3, ?4, ?5)")?;
    let mut sequence = stream.next_sequence;
    let mut bytes = 0;
    let mut first = stream.first_time;
    let mut last = stream.last_time;
    for (time, message) in events {
        let time = if in_order { last.map_or(time, |last| last.max(time)) } else { time };
        insert.execute(params![stream.id, time, sequence, ingested, message])?;
        sequence += 1;
        bytes += i64::try_from(message.len() + EVENT_OVERHEAD).unwrap_or(0);
        first = Some(first.map_or(time, |first| first.min(time)));
        last = Some(last.map_or(time, |last| last.max(time)));
    }
    c.prepare_cached(
        "UPDATE log_streams SET first_time = ?2, last_time = ?3, last_ingested = ?4,
                next_sequence = ?5, stored_bytes = stored_bytes + ?6
         WHERE id = ?1",
    )?
    .execute(params![stream.id, first, last, ingested, sequence, bytes])
    .map(drop)
}

/// Which events of a stream are read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Range {
    /// The place to start from.
    pub(super) position: Position,
    /// Up from the place, or down from it (without it).
    pub(super) direction: Direction,
    /// Not before this time.
    pub(super) from: i64,
    /// Not after this time.
    pub(super) to: i64,
    /// Events at most.
    pub(super) limit: usize,
    /// Bytes at most, as AWS counts them; the first event always fits.
    pub(super) bytes: usize,
}

/// Events in the order of the direction.
pub(super) fn events(c: &Connection, stream: i64, range: Range) -> Outcome<Vec<Event>> {
    // One bound on either side, so that SQLite reads exactly the range.
    let first = Position::from_time(range.from);
    let end = Position::from_time(range.to).after_time();
    let (low, high, way) = match range.direction {
        Direction::Forward => (range.position.max(first), end, "ASC"),
        Direction::Backward => (first, range.position.min(end), "DESC"),
    };
    let mut statement = c.prepare_cached(&format!(
        "SELECT time, sequence, ingested, message FROM log_events
         WHERE stream = ?1 AND (time, sequence) >= (?2, ?3) AND (time, sequence) < (?4, ?5)
         ORDER BY time {way}, sequence {way} LIMIT ?6"
    ))?;
    let mut rows = statement.query(params![
        stream,
        low.time,
        low.sequence,
        high.time,
        high.sequence,
        i64::try_from(range.limit).unwrap_or(i64::MAX)
    ])?;
    let mut found = Vec::new();
    let mut bytes = 0;
    while let Some(row) = rows.next()? {
        let event = Event {
            position: Position { time: row.get(0)?, sequence: row.get(1)? },
            ingested: row.get(2)?,
            message: row.get(3)?,
        };
        bytes += event.message.len() + EVENT_OVERHEAD;
        if bytes > range.bytes && !found.is_empty() {
            break;
        }
        found.push(event);
    }
    Ok(found)
}

/// Streams whose oldest event is past their group's retention at `now`, with the time before which
/// events go.
pub(super) fn expired_streams(c: &Connection, now: i64) -> Outcome<Vec<(i64, i64)>> {
    c.prepare_cached(
        "SELECT s.id, ?1 - g.retention * 86400000 FROM log_groups g JOIN log_streams s ON s.log_group = g.id
         WHERE g.retention IS NOT NULL AND s.first_time < ?1 - g.retention * 86400000",
    )?
    .query_map([now], |row| Ok((row.get(0)?, row.get(1)?)))?
    .collect()
}

/// Deletes up to `limit` of a stream's events before `time`; answers how many.
pub(super) fn expire(c: &Connection, stream: i64, time: i64, limit: i64) -> Outcome<usize> {
    let end: Option<(i64, i64)> = c
        .prepare_cached(
            "SELECT time, sequence FROM log_events WHERE stream = ?1 AND time < ?2
             ORDER BY time, sequence LIMIT 1 OFFSET ?3",
        )?
        .query_row(params![stream, time, limit], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let (end, sequence) = end.unwrap_or((time, 0));
    let bytes: i64 = c
        .prepare_cached(
            "SELECT coalesce(sum(octet_length(message) + ?4), 0) FROM log_events
             WHERE stream = ?1 AND (time, sequence) < (?2, ?3)",
        )?
        .query_row(
            params![stream, end, sequence, i64::try_from(EVENT_OVERHEAD).unwrap_or(0)],
            |row| row.get(0),
        )?;
    let gone = c
        .prepare_cached("DELETE FROM log_events WHERE stream = ?1 AND (time, sequence) < (?2, ?3)")?
        .execute(params![stream, end, sequence])?;
    c.prepare_cached(
        "UPDATE log_streams SET stored_bytes = stored_bytes - ?2,
                first_time = (SELECT min(time) FROM log_events WHERE stream = ?1)
         WHERE id = ?1",
    )?
    .execute(params![stream, bytes])?;
    Ok(gone)
}

/// Deletes up to `limit` events of one deleted stream; answers whether there may be more.
pub(super) fn collect(c: &Connection, limit: i64) -> Outcome<bool> {
    let stream: Option<i64> =
        c.query_row("SELECT min(stream) FROM log_garbage", [], |row| row.get(0))?;
    let Some(stream) = stream else { return Ok(false) };
    if expire(c, stream, i64::MAX, limit)? == 0 {
        // `i64::MAX` itself is a time that a caller may give.
        c.execute("DELETE FROM log_events WHERE stream = ?1", [stream])?;
        c.execute("DELETE FROM log_garbage WHERE stream = ?1", [stream])?;
    }
    Ok(true)
}

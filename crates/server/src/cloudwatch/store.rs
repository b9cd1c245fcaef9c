//! Series and their points in the state database. A point is what [`Aggregate`] holds of one series,
//! one second or minute and one unit; late values are merged into it.

use std::collections::BTreeMap;

use kennel_store::state::Migrations;
use kennel_store::state::rusqlite::{self, Connection, OptionalExtension, Row, params};

use super::aggregate::{Aggregate, decode, encode};
use super::span::{MINUTES_KEPT, SECONDS_KEPT, Span, floor};

/// The schema of CloudWatch metrics.
pub const MIGRATIONS: Migrations = Migrations {
    component: "cloudwatch",
    scripts: &[
        "
        CREATE TABLE metric_series (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            namespace TEXT NOT NULL,
            name TEXT NOT NULL,
            dimensions TEXT NOT NULL,
            last_time INTEGER NOT NULL,
            UNIQUE (namespace, name, dimensions)
        ) STRICT;
        CREATE TABLE metric_points (
            series INTEGER NOT NULL,
            resolution INTEGER NOT NULL,
            time INTEGER NOT NULL,
            unit TEXT NOT NULL,
            count REAL NOT NULL,
            sum REAL NOT NULL,
            min REAL NOT NULL,
            max REAL NOT NULL,
            buckets BLOB,
            PRIMARY KEY (series, resolution, time, unit)
        ) WITHOUT ROWID, STRICT;
    ",
        super::alarms::SCHEMA,
    ],
};

/// A metric: a namespace, a name and its dimensions.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Series {
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) dimensions: BTreeMap<String, String>,
}

/// Where a point is kept; resolution and time in seconds.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) resolution: i64,
    pub(super) time: i64,
    pub(super) unit: String,
}

/// Points by series: what one transaction stores.
pub(super) type Points = BTreeMap<Series, BTreeMap<Place, Aggregate>>;

type Outcome<T> = rusqlite::Result<T>;

/// Adds an aggregate of the second (where `high` resolution is kept) and of its minute.
pub(super) fn insert(
    points: &mut BTreeMap<Place, Aggregate>,
    high: bool,
    time: i64,
    unit: &str,
    aggregate: &Aggregate,
) {
    for resolution in if high { &[1, 60][..] } else { &[60][..] } {
        let place = Place {
            resolution: *resolution,
            time: floor(time, *resolution),
            unit: unit.to_owned(),
        };
        points.entry(place).or_insert_with(Aggregate::empty).merge(aggregate);
    }
}

/// Stores points, merging them with what is there.
pub(super) fn store(c: &Connection, points: &Points) -> Outcome<()> {
    let mut series_of = c.prepare_cached(
        "INSERT INTO metric_series (namespace, name, dimensions, last_time) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (namespace, name, dimensions)
            DO UPDATE SET last_time = max(last_time, excluded.last_time)
         RETURNING id",
    )?;
    let mut old = c.prepare_cached(
        "SELECT count, sum, min, max, buckets FROM metric_points
         WHERE series = ?1 AND resolution = ?2 AND time = ?3 AND unit = ?4",
    )?;
    let mut put = c.prepare_cached(
        "INSERT OR REPLACE INTO metric_points VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
    )?;
    for (series, points) in points {
        let last = points.keys().map(|place| place.time).max().unwrap_or_default();
        let dimensions = dimensions_text(&series.dimensions);
        let id: i64 = series_of
            .query_row(params![series.namespace, series.name, dimensions, last], |row| {
                row.get(0)
            })?;
        for (Place { resolution, time, unit }, point) in points {
            let mut merged = old
                .query_row(params![id, resolution, time, unit], |row| aggregate(row, 0))
                .optional()?
                .unwrap_or_else(Aggregate::empty);
            merged.merge(point);
            put.execute(params![
                id,
                resolution,
                time,
                unit,
                merged.count,
                merged.sum,
                merged.min,
                merged.max,
                merged.values.as_ref().map(encode)
            ])?;
        }
    }
    Ok(())
}

fn aggregate(row: &Row<'_>, first: usize) -> Outcome<Aggregate> {
    let buckets: Option<Vec<u8>> = row.get(first + 4)?;
    Ok(Aggregate {
        count: row.get(first)?,
        sum: row.get(first + 1)?,
        min: row.get(first + 2)?,
        max: row.get(first + 3)?,
        values: buckets.as_deref().and_then(decode),
    })
}

fn dimensions_text(dimensions: &BTreeMap<String, String>) -> String {
    serde_json::json!(dimensions).to_string()
}

/// Datapoints of a series: aggregates by (time, unit).
pub(super) fn datapoints(
    c: &Connection,
    series: &Series,
    unit: Option<&str>,
    span: Span,
) -> Outcome<BTreeMap<(i64, String), Aggregate>> {
    let mut statement = c.prepare_cached(
        "SELECT p.time, p.unit, p.count, p.sum, p.min, p.max, p.buckets
         FROM metric_series s JOIN metric_points p ON p.series = s.id
         WHERE s.namespace = ?1 AND s.name = ?2 AND s.dimensions = ?3
           AND p.resolution = ?4 AND p.time >= ?5 AND p.time < ?6 AND (?7 IS NULL OR p.unit = ?7)",
    )?;
    let mut rows = statement.query(params![
        series.namespace,
        series.name,
        dimensions_text(&series.dimensions),
        span.resolution(),
        span.start,
        span.end,
        unit
    ])?;
    let mut found = BTreeMap::new();
    while let Some(row) = rows.next()? {
        let (time, unit): (i64, String) = (row.get(0)?, row.get(1)?);
        found
            .entry((span.bucket(time), unit))
            .or_insert_with(Aggregate::empty)
            .merge(&aggregate(row, 2)?);
    }
    Ok(found)
}

/// A point as it is stored: its time, its unit, its values.
pub(super) type Point = (i64, String, Aggregate);

/// Points of a series from a time on and before another, oldest first.
pub(super) fn points(
    c: &Connection,
    series: &Series,
    resolution: i64,
    (from, to): (i64, i64),
) -> Outcome<Vec<Point>> {
    let mut statement = c.prepare_cached(
        "SELECT p.time, p.unit, p.count, p.sum, p.min, p.max, p.buckets
         FROM metric_series s JOIN metric_points p ON p.series = s.id
         WHERE s.namespace = ?1 AND s.name = ?2 AND s.dimensions = ?3
           AND p.resolution = ?4 AND p.time >= ?5 AND p.time < ?6
         ORDER BY p.time",
    )?;
    let dimensions = dimensions_text(&series.dimensions);
    statement
        .query_map(
            params![series.namespace, series.name, dimensions, resolution, from, to],
            |row| Ok((row.get(0)?, row.get(1)?, aggregate(row, 2)?)),
        )?
        .collect()
}

/// What ListMetrics asks for.
#[derive(Debug, Clone, Default)]
pub(super) struct Filter {
    pub(super) namespace: Option<String>,
    pub(super) name: Option<String>,
    /// Names that must be there, with a value or with any.
    pub(super) dimensions: Vec<(String, Option<String>)>,
    /// The last point is not older than this.
    pub(super) since: i64,
}

/// Series after an id that pass a filter, with their ids.
pub(super) fn list(
    c: &Connection,
    after: i64,
    filter: &Filter,
    limit: usize,
) -> Outcome<Vec<(i64, Series)>> {
    let mut statement = c.prepare_cached(
        "SELECT id, namespace, name, dimensions FROM metric_series
         WHERE id > ?1 AND last_time >= ?2 AND (?3 IS NULL OR namespace = ?3)
           AND (?4 IS NULL OR name = ?4)
         ORDER BY id",
    )?;
    let mut rows = statement.query(params![after, filter.since, filter.namespace, filter.name])?;
    let mut found = Vec::new();
    while found.len() < limit
        && let Some(row) = rows.next()?
    {
        let dimensions: String = row.get(3)?;
        let dimensions: BTreeMap<String, String> =
            serde_json::from_str(&dimensions).unwrap_or_default();
        let passes = filter.dimensions.iter().all(|(name, value)| {
            dimensions.get(name).is_some_and(|own| value.as_ref().is_none_or(|value| value == own))
        });
        if passes {
            let series = Series { namespace: row.get(1)?, name: row.get(2)?, dimensions };
            found.push((row.get(0)?, series));
        }
    }
    Ok(found)
}

/// Deletes what is past its retention of up to `limit` series after `after`; answers the last one's
/// id, or nothing at the end.
pub(super) fn sweep(c: &Connection, after: i64, now: i64, limit: i64) -> Outcome<Option<i64>> {
    let ids: Vec<i64> = c
        .prepare_cached("SELECT id FROM metric_series WHERE id > ?1 ORDER BY id LIMIT ?2")?
        .query_map([after, limit], |row| row.get(0))?
        .collect::<Outcome<_>>()?;
    let mut expire = c.prepare_cached(
        "DELETE FROM metric_points WHERE series = ?1 AND resolution = ?2 AND time < ?3",
    )?;
    for id in &ids {
        expire.execute([*id, 1, now - SECONDS_KEPT])?;
        expire.execute([*id, 60, now - MINUTES_KEPT])?;
        c.prepare_cached(
            "DELETE FROM metric_series WHERE id = ?1
             AND NOT EXISTS (SELECT 1 FROM metric_points WHERE series = ?1)",
        )?
        .execute([*id])?;
    }
    Ok(ids.last().copied())
}

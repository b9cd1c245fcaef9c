//! The server's own metrics, from the hot path of InvokeEndpoint: a record adds to an aggregate in
//! memory and touches neither disk nor queue. The aggregates go to the database
//! every second and before every query, so that queries see everything; a crash may lose the last
//! second of these metrics. What callers give to PutMetricData does not come this way.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kennel_store::state::{Database, rusqlite};

use super::aggregate::Aggregate;
use super::error::MetricsError;
use super::store::{self, Points, Series};
use crate::context::Timestamp;

/// Series of one transaction at most.
const BATCH: usize = 1_000;
/// Points of one series that wait while the database refuses; then the oldest go.
const MOST_WAITING: usize = 1_440;

/// How finely values are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Resolution {
    /// By the second for three hours (for periods below 60 s), and by the minute.
    Second,
    /// By the minute, for 15 days.
    Minute,
}

/// Records values of any series; cheap to clone.
#[derive(Clone, Default)]
pub struct Recorder {
    cells: Arc<Mutex<HashMap<String, Arc<Cell>>>>,
    /// Held while points are on their way, so that a query waits for them.
    flushing: Arc<tokio::sync::Mutex<()>>,
}

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recorder").finish_non_exhaustive()
    }
}

/// Records values of one series; cheap to clone. Keep it where the values come from.
#[derive(Clone)]
pub struct RecorderSeries {
    cell: Arc<Cell>,
}

impl fmt::Debug for RecorderSeries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecorderSeries").field("series", &self.cell.series).finish_non_exhaustive()
    }
}

struct Cell {
    series: Series,
    unit: String,
    resolution: Resolution,
    /// By second or minute, in seconds.
    points: Mutex<BTreeMap<i64, Aggregate>>,
}

impl Cell {
    fn points(&self) -> MutexGuard<'_, BTreeMap<i64, Aggregate>> {
        self.points.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn record(&self, value: f64, now: Timestamp) {
        if !value.is_finite() {
            return;
        }
        let grain = match self.resolution {
            Resolution::Second => 1,
            Resolution::Minute => 60,
        };
        let time = super::span::floor(now.0.div_euclid(1000), grain);
        let mut points = self.points();
        points.entry(time).or_insert_with(Aggregate::empty).add(value, 1.0);
        if points.len() > MOST_WAITING {
            points.pop_first();
        }
    }
}

impl RecorderSeries {
    /// Adds a value. Values that are not finite are left out.
    pub fn record(&self, value: f64, now: Timestamp) {
        self.cell.record(value, now);
    }
}

impl Recorder {
    /// Adds a value, by the minute. `unit` is AWS's name of it: `Count`, `Microseconds`, `Percent` …
    /// For a series that is recorded often, [`Recorder::series`] is faster.
    pub fn record(
        &self,
        namespace: &str,
        name: &str,
        dimensions: &[(&str, &str)],
        value: f64,
        unit: &str,
        now: Timestamp,
    ) {
        self.cell(namespace, name, dimensions, unit, Resolution::Minute).record(value, now);
    }

    /// A handle on one series.
    pub fn series(
        &self,
        namespace: &str,
        name: &str,
        dimensions: &[(&str, &str)],
        unit: &str,
        resolution: Resolution,
    ) -> RecorderSeries {
        RecorderSeries { cell: self.cell(namespace, name, dimensions, unit, resolution) }
    }

    fn cell(
        &self,
        namespace: &str,
        name: &str,
        dimensions: &[(&str, &str)],
        unit: &str,
        resolution: Resolution,
    ) -> Arc<Cell> {
        let grain = if resolution == Resolution::Second { "1" } else { "60" };
        let mut key = [namespace, name, unit, grain].join("\0");
        for (name, value) in dimensions {
            key.extend(["\0", name, "\0", value]);
        }
        let mut cells = self.cells();
        if let Some(cell) = cells.get(&key) {
            return Arc::clone(cell);
        }
        let cell = Arc::new(Cell {
            series: Series {
                namespace: namespace.to_owned(),
                name: name.to_owned(),
                dimensions: dimensions
                    .iter()
                    .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                    .collect(),
            },
            unit: unit.to_owned(),
            resolution,
            points: Mutex::default(),
        });
        cells.insert(key, Arc::clone(&cell));
        cell
    }

    fn cells(&self) -> MutexGuard<'_, HashMap<String, Arc<Cell>>> {
        self.cells.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes what was recorded so far. What the database refuses is kept for the next time.
    pub(super) async fn flush(&self, database: &Database) -> Result<(), MetricsError> {
        let _only_one = self.flushing.lock().await;
        let taken = Arc::new(self.take());
        let mut outcome = Ok(());
        let mut written = 0;
        while written < taken.len() && outcome.is_ok() {
            let (from, to) = (written, taken.len().min(written + BATCH));
            let shared = Arc::clone(&taken);
            outcome = database
                .write(move |c| store::store(c, &points_of(&shared[from..to])))
                .await
                .map_err(MetricsError::from)
                .and_then(|inner: Result<(), rusqlite::Error>| Ok(inner?));
            if outcome.is_ok() {
                written = to;
            }
        }
        for (cell, points) in &taken[written..] {
            let mut waiting = cell.points();
            for (time, aggregate) in points {
                waiting.entry(*time).or_insert_with(Aggregate::empty).merge(aggregate);
            }
        }
        outcome
    }

    /// Takes every waiting point. Cells without points and handles go.
    fn take(&self) -> Vec<(Arc<Cell>, BTreeMap<i64, Aggregate>)> {
        let mut taken = Vec::new();
        // The lock is the one under which handles are made: a cell that only this map holds cannot get
        // a value meanwhile.
        self.cells().retain(|_, cell| {
            let points = std::mem::take(&mut *cell.points());
            if points.is_empty() {
                return Arc::strong_count(cell) > 1;
            }
            taken.push((Arc::clone(cell), points));
            true
        });
        taken
    }
}

fn points_of(taken: &[(Arc<Cell>, BTreeMap<i64, Aggregate>)]) -> Points {
    let mut all = Points::new();
    for (cell, points) in taken {
        let series = all.entry(cell.series.clone()).or_default();
        for (time, aggregate) in points {
            let high = cell.resolution == Resolution::Second;
            store::insert(series, high, *time, &cell.unit, aggregate);
        }
    }
    all
}

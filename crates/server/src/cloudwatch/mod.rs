//! CloudWatch: metrics and alarms on them. Metrics are what PutMetricData and the server itself record, aggregated per series and
//! minute (and second, where asked for), and the statistics over it. `aggregate`, `span` and
//! `expression` are pure; `store` is the SQL; `put`, `statistics`, `data` are one operation each;
//! `recorder` is how the server counts; `alarms` has a folder. Times of metrics are seconds since 1970 at
//! the edge and in the database.
//!
//! Points of a minute are kept for 15 days, points of a second for three hours, as AWS keeps them; the
//! coarser points that AWS keeps longer are not built.

#![allow(
    clippy::result_large_err,
    reason = "`ServiceError` is made once per failed call; boxing it would only cost words"
)]

mod aggregate;
pub(crate) mod alarms;
mod data;
mod error;
mod expression;
mod put;
mod recorder;
mod span;
mod statistics;
mod store;

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use kennel_store::state::Database;
use kennel_store::state::rusqlite::{self, Connection};
use kennel_wire::ServiceError;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::sync::watch;

pub use self::error::MetricsError;
use self::error::{bad_token, invalid_value};
pub use self::recorder::{Recorder, RecorderSeries, Resolution};
pub use self::store::MIGRATIONS;
use crate::context::{Clock, Context, Timestamp};
use crate::service::{Answer, Service};

/// Metrics of a ListMetrics page.
const LIST_PAGE: usize = 500;
/// Metrics without data for this long are not listed.
const LISTED: i64 = 14 * 86_400;
/// What `RecentlyActive: PT3H` means.
const RECENT: i64 = 3 * 3600;
const MAX_DIMENSIONS: usize = 30;
/// Series that one transaction of a sweep looks at.
const SWEEP_STEP: i64 = 200;

/// CloudWatch metrics; cheap to clone.
#[derive(Debug, Clone)]
pub struct Metrics {
    database: Database,
    recorder: Recorder,
    now: fn() -> Timestamp,
    handlers: alarms::Handlers,
}

/// What [`Background`] is run with.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// The time that decides which points are past their retention and which alarms are due.
    pub now: fn() -> Timestamp,
    /// How often recorded values go to the database: what a crash may lose of them.
    pub flush_every: Duration,
    /// How often old points are deleted.
    pub sweep_every: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            now: || Clock.now(),
            flush_every: Duration::from_secs(1),
            sweep_every: Duration::from_secs(600),
        }
    }
}

/// The task that writes recorded values, evaluates alarms and deletes what is old.
#[derive(Debug)]
pub struct Background {
    metrics: Metrics,
    options: Options,
}

impl Background {
    /// Works until `shutdown` is true (or its sender is gone), then writes what is left.
    pub async fn run(self, mut shutdown: watch::Receiver<bool>) {
        let Background { metrics, options } = self;
        let stopped = shutdown.clone();
        let alarms = metrics.alarms();
        tokio::join!(metrics.sweep_until(options, stopped.clone()), alarms.run(stopped), async {
            let mut ticks = tokio::time::interval(options.flush_every);
            ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            let mut failing = false;
            loop {
                let stop = tokio::select! {
                    _ = ticks.tick() => false,
                    _ = shutdown.wait_for(|stop| *stop) => true,
                };
                let flushed = metrics.flush().await;
                if let Err(error) = &flushed
                    && !failing
                {
                    tracing::error!("metrics wait for the database: {error}");
                }
                failing = flushed.is_err();
                if stop {
                    return;
                }
            }
        });
    }
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Dimension {
    name: String,
    value: String,
}

/// Dimensions by name: their order does not matter.
fn dimensions_of(
    given: Vec<Dimension>,
    member: &str,
) -> Result<BTreeMap<String, String>, ServiceError> {
    if given.len() > MAX_DIMENSIONS {
        return Err(invalid_value(format!(
            "The collection {member} must not have more than {MAX_DIMENSIONS} dimensions."
        )));
    }
    let mut dimensions = BTreeMap::new();
    for Dimension { name, value } in given {
        if dimensions.contains_key(&name) {
            return Err(invalid_value(format!("The dimension {name} is given twice in {member}.")));
        }
        dimensions.insert(name, value);
    }
    Ok(dimensions)
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ListInput {
    namespace: Option<String>,
    metric_name: Option<String>,
    #[serde(default)]
    dimensions: Vec<DimensionFilter>,
    next_token: Option<String>,
    recently_active: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DimensionFilter {
    name: String,
    value: Option<String>,
}

impl Metrics {
    /// The service on a database that has [`MIGRATIONS`], and its task.
    pub fn new(database: Database, options: Options) -> (Self, Background) {
        let metrics = Metrics {
            database,
            recorder: Recorder::default(),
            now: options.now,
            handlers: alarms::Handlers::default(),
        };
        (metrics.clone(), Background { metrics, options })
    }

    /// What the server records its own metrics with.
    pub fn recorder(&self) -> Recorder {
        self.recorder.clone()
    }

    /// Writes what was recorded so far.
    ///
    /// # Errors
    /// When the database cannot be written; the values are kept for the next time.
    pub async fn flush(&self) -> Result<(), MetricsError> {
        self.recorder.flush(&self.database).await
    }

    /// Deletes points past their retention, a few hundred series per transaction.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn sweep(&self, now: Timestamp) -> Result<(), MetricsError> {
        let now = now.0.div_euclid(1000);
        let mut after = Some(0);
        while let Some(id) = after {
            let swept: Result<_, rusqlite::Error> =
                self.database.write(move |c| store::sweep(c, id, now, SWEEP_STEP)).await?;
            after = swept?;
        }
        self.alarms().sweep(Timestamp(now * 1000)).await
    }

    async fn sweep_until(&self, options: Options, mut shutdown: watch::Receiver<bool>) {
        let mut ticks = tokio::time::interval(options.sweep_every);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                _ = shutdown.wait_for(|stop| *stop) => return,
            }
            // Dropping a sweep between two transactions loses nothing.
            tokio::select! {
                swept = self.sweep((options.now)()) => {
                    if let Err(error) = swept {
                        tracing::error!("old metrics stay for now: {error}");
                    }
                }
                _ = shutdown.wait_for(|stop| *stop) => return,
            }
        }
    }

    /// Reads, after what was recorded is written, on a thread where blocking is allowed.
    async fn read<T, F>(&self, work: F) -> Result<T, MetricsError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, MetricsError> + Send + 'static,
    {
        if let Err(error) = self.flush().await {
            // A full disk must not hide what is there.
            tracing::error!("metrics wait for the database: {error}");
        }
        let database = self.database.clone();
        tokio::task::spawn_blocking(move || database.read(work))
            .await
            .map_err(|_| MetricsError::Closed)??
    }

    async fn list(&self, context: &Context, input: ListInput) -> Result<Value, MetricsError> {
        let after = match input.next_token.as_deref() {
            Some(token) => token.parse::<i64>().map_err(|_| bad_token())?,
            None => 0,
        };
        let age = match input.recently_active.as_deref() {
            None => LISTED,
            Some("PT3H") => RECENT,
            Some(other) => {
                return Err(invalid_value(format!(
                    "The value {other} for parameter RecentlyActive is not supported."
                ))
                .into());
            }
        };
        let filter = store::Filter {
            namespace: input.namespace,
            name: input.metric_name,
            dimensions: input
                .dimensions
                .into_iter()
                .map(|filter| (filter.name, filter.value))
                .collect(),
            since: context.now.0.div_euclid(1000) - age,
        };
        let mut found =
            self.read(move |c| Ok(store::list(c, after, &filter, LIST_PAGE + 1)?)).await?;
        let more = found.len() > LIST_PAGE;
        found.truncate(LIST_PAGE);
        let metrics: Vec<Value> = found
            .iter()
            .map(|(_, series)| {
                let dimensions: Vec<Value> = series
                    .dimensions
                    .iter()
                    .map(|(name, value)| json!({ "Name": name, "Value": value }))
                    .collect();
                json!({
                    "Namespace": series.namespace,
                    "MetricName": series.name,
                    "Dimensions": dimensions,
                })
            })
            .collect();
        let mut answer = json!({ "Metrics": metrics });
        if more && let Some((last, _)) = found.last() {
            answer["NextToken"] = last.to_string().into();
        }
        Ok(answer)
    }

    async fn run(&self, context: &Context, operation: &str, input: Value) -> Answer {
        let answer = match operation {
            "PutMetricData" => self.put(context, parse(input)?).await,
            "GetMetricStatistics" => self.statistics(context, parse(input)?).await,
            "GetMetricData" => self.data(context, parse(input)?).await,
            "ListMetrics" => self.list(context, parse(input)?).await,
            _ => self.alarms().call(context, operation, input).await,
        };
        answer.map_err(ServiceError::from)
    }
}

impl Service for Metrics {
    fn name(&self) -> &'static str {
        "monitoring"
    }

    fn call<'a>(
        &'a self,
        context: &'a Context,
        operation: &'a str,
        input: Value,
    ) -> Pin<Box<dyn Future<Output = Answer> + Send + 'a>> {
        Box::pin(self.run(context, operation, input))
    }
}

fn parse<T: DeserializeOwned>(input: Value) -> Result<T, ServiceError> {
    serde_json::from_value(input).map_err(|e| invalid_value(e.to_string()))
}

#[cfg(test)]
mod tests;

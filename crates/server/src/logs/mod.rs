//! CloudWatch Logs: what training jobs and endpoints print, and what `fit(logs="All")` and
//! `aws logs tail` read. `position`, `pattern` and `batch` are the pure rules; `store` is the SQL;
//! `groups` and `events` are the operations; `writer` is how the server itself logs.
//!
//! Times in Logs are milliseconds since 1970. Events of a stream are ordered by (time, number in the
//! stream), those of a group by (time, stream, number): both never change, so clients may page, skip by
//! (time, count) and recognise events by id.

#![allow(
    clippy::result_large_err,
    reason = "`ServiceError` is made once per failed call; boxing it would only cost words"
)]

mod batch;
mod error;
mod events;
mod groups;
mod pattern;
mod position;
mod store;
mod writer;

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use kennel_store::state::Database;
use kennel_store::state::rusqlite::Connection;
use kennel_wire::ServiceError;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::sync::watch;

pub use self::error::LogsError;
pub use self::store::MIGRATIONS;
pub use self::writer::LogWriter;
use self::writer::Queues;
use crate::context::{Clock, Context, Timestamp};
use crate::service::{Answer, Service};

/// Events that one transaction of a sweep deletes.
const SWEEP_STEP: i64 = 5_000;
/// How often retention is applied.
const SWEEP_EVERY: Duration = Duration::from_secs(600);

/// CloudWatch Logs; cheap to clone.
#[derive(Clone)]
pub struct Logs {
    database: Database,
    queues: Queues,
}

impl std::fmt::Debug for Logs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Logs").field("database", &self.database).finish_non_exhaustive()
    }
}

/// What [`Background`] is run with.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// The time that decides which events are past their group's retention.
    pub now: fn() -> Timestamp,
    /// How often retention is applied and deleted streams are cleared away.
    pub sweep_every: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Options { now: || Clock.now(), sweep_every: SWEEP_EVERY }
    }
}

/// The task that commits written lines and deletes expired ones. Lines wait until it runs.
#[derive(Debug)]
pub struct Background {
    logs: Logs,
    options: Options,
}

impl Background {
    /// Works until `shutdown` is true (or its sender is gone), then commits the lines that are left.
    /// Stop the producers first: writing after this ends with [`LogsError::Closed`].
    pub async fn run(self, shutdown: watch::Receiver<bool>) {
        let Background { logs, options } = self;
        tokio::join!(
            logs.queues.run(&logs.database, shutdown.clone()),
            logs.sweep_until(options, shutdown)
        );
    }
}

impl Logs {
    /// The service on a database that has [`MIGRATIONS`], and its task.
    pub fn new(database: Database, options: Options) -> (Self, Background) {
        let logs = Logs { database, queues: Queues::default() };
        (logs.clone(), Background { logs, options })
    }

    /// A writer of lines to a stream; group and stream are created when they are missing. Writers of
    /// the same stream share one queue.
    ///
    /// # Errors
    /// When the database cannot be written or the server stops.
    pub async fn writer(
        &self,
        group: &str,
        stream: &str,
        now: Timestamp,
    ) -> Result<LogWriter, LogsError> {
        let (group_name, name) = (group.to_owned(), stream.to_owned());
        self.write(move |c| Ok(store::ensure_stream(c, &group_name, &name, now.0).map(drop)?))
            .await?;
        self.queues.writer(group, stream)
    }

    /// Deletes events past their group's retention, and those of deleted groups and streams, a few
    /// thousand per transaction.
    ///
    /// # Errors
    /// When the database cannot be read or written.
    pub async fn sweep(&self, now: Timestamp) -> Result<(), LogsError> {
        let expired = self.read(move |c| Ok(store::expired_streams(c, now.0)?)).await?;
        for (stream, time) in expired {
            while self.write(move |c| Ok(store::expire(c, stream, time, SWEEP_STEP)?)).await? > 0 {}
        }
        while self.write(|c| Ok(store::collect(c, SWEEP_STEP)?)).await? {}
        Ok(())
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
                        tracing::error!("expired log events stay for now: {error}");
                    }
                }
                _ = shutdown.wait_for(|stop| *stop) => return,
            }
        }
    }

    async fn write<T, F>(&self, work: F) -> Result<T, LogsError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, LogsError> + Send + 'static,
    {
        self.database.write(work).await?
    }

    /// Reads on a thread where blocking is allowed: a page may be a megabyte of events.
    async fn read<T, F>(&self, work: F) -> Result<T, LogsError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, LogsError> + Send + 'static,
    {
        let database = self.database.clone();
        tokio::task::spawn_blocking(move || {
            // One transaction, so that a page is of one moment.
            database.read(|c| -> Result<T, LogsError> {
                let snapshot = c.unchecked_transaction()?;
                let outcome = work(&snapshot);
                snapshot.finish()?;
                outcome
            })
        })
        .await
        .map_err(|_| LogsError::Closed)??
    }

    async fn run(&self, context: &Context, operation: &str, input: Value) -> Answer {
        let answer = match operation {
            "CreateLogGroup" => self.create_group(context, parse(input)?).await,
            "DeleteLogGroup" => self.delete_group(parse(input)?).await,
            "DescribeLogGroups" => self.describe_groups(context, parse(input)?).await,
            "CreateLogStream" => self.create_stream(context, parse(input)?).await,
            "DeleteLogStream" => self.delete_stream(parse(input)?).await,
            "DescribeLogStreams" => self.describe_streams(context, parse(input)?).await,
            "PutRetentionPolicy" => self.put_retention(parse(input)?).await,
            "DeleteRetentionPolicy" => self.delete_retention(parse(input)?).await,
            "TagResource" => self.tag_resource(parse(input)?).await,
            "UntagResource" => self.untag_resource(parse(input)?).await,
            "ListTagsForResource" => self.list_resource_tags(parse(input)?).await,
            "TagLogGroup" => self.tag_group(parse(input)?).await,
            "UntagLogGroup" => self.untag_group(parse(input)?).await,
            "ListTagsLogGroup" => self.list_group_tags(parse(input)?).await,
            "PutLogEvents" => self.put_events(context, parse(input)?).await,
            "GetLogEvents" => self.get_events(parse(input)?).await,
            "FilterLogEvents" => self.filter_events(parse(input)?).await,
            _ => Err(ServiceError::not_implemented("logs", operation).into()),
        };
        answer.map_err(ServiceError::from)
    }
}

impl Service for Logs {
    fn name(&self) -> &'static str {
        "logs"
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
    serde_json::from_value(input).map_err(|e| error::invalid(e.to_string()))
}

#[cfg(test)]
mod tests;

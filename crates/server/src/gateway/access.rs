//! The access record: one row for every call, allowed or not. `audit` and the service-last-accessed
//! reports read it. Rows are written in batches behind the answers, so that a call does not wait for
//! the disk; a crash loses at most the last half second of them.

use std::sync::Arc;
use std::time::Duration;

use kennel_store::state::{Database, Migrations};
use rusqlite::params;
use tokio::sync::{Notify, mpsc, watch};

use crate::context::Timestamp;

/// The table.
pub const MIGRATIONS: Migrations = Migrations {
    component: "access",
    scripts: &["
        CREATE TABLE access_records (
            id INTEGER PRIMARY KEY,
            time INTEGER NOT NULL,
            request_id TEXT NOT NULL,
            principal TEXT,
            access_key TEXT,
            source TEXT NOT NULL,
            service TEXT NOT NULL,
            action TEXT NOT NULL,
            resource TEXT,
            allowed INTEGER NOT NULL,
            status INTEGER NOT NULL,
            error TEXT,
            microseconds INTEGER NOT NULL
        ) STRICT;
        CREATE INDEX access_by_principal ON access_records (principal, service, time);
        CREATE INDEX access_by_time ON access_records (time);
    "],
};

/// One call.
#[derive(Debug, Clone)]
pub(crate) struct Record {
    pub time: Timestamp,
    pub request_id: String,
    /// The caller's ARN; none where the signature was not accepted.
    pub principal: Option<String>,
    pub access_key: Option<String>,
    pub source: String,
    pub service: &'static str,
    /// `sagemaker:CreateModel`.
    pub action: String,
    pub resource: Option<String>,
    /// False where authentication or authorisation refused.
    pub allowed: bool,
    pub status: u16,
    pub error: Option<String>,
    pub microseconds: i64,
}

/// Takes records; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct AccessLog {
    records: mpsc::Sender<Record>,
    /// Wakes the writer before the queue is full.
    urgent: Arc<Notify>,
}

/// Records that may wait; a call that finds the queue full waits for a place.
const WAITING: usize = 32_768;
/// Rows of one transaction.
const BATCH: usize = 2048;
/// How long a record waits at most before it is written.
const PERIOD: Duration = Duration::from_millis(500);
/// How long records are kept: the longest window of IAM's last-accessed reports is 400 days.
const KEPT: Duration = Duration::from_secs(400 * 86_400);

/// Writes what an [`AccessLog`] takes.
#[derive(Debug)]
pub(crate) struct AccessWriter {
    records: mpsc::Receiver<Record>,
    urgent: Arc<Notify>,
    database: Database,
}

/// A log and its writer.
pub(crate) fn access_log(database: Database) -> (AccessLog, AccessWriter) {
    let (sender, records) = mpsc::channel(WAITING);
    let urgent = Arc::new(Notify::new());
    let log = AccessLog { records: sender, urgent: urgent.clone() };
    (log, AccessWriter { records, urgent, database })
}

impl AccessLog {
    /// Takes a record.
    pub(crate) async fn record(&self, record: Record) {
        if self.records.capacity() < WAITING / 2 {
            self.urgent.notify_one();
        }
        if self.records.send(record).await.is_err() {
            tracing::debug!("an access record came after the writer had stopped");
        }
    }
}

impl AccessWriter {
    /// Writes until `shutdown` turns true, then what is left.
    pub(crate) async fn run(mut self, mut shutdown: watch::Receiver<bool>) {
        let mut swept = false;
        loop {
            let stopping = tokio::select! {
                _ = shutdown.wait_for(|stop| *stop) => true,
                () = tokio::time::sleep(PERIOD) => false,
                () = self.urgent.notified() => false,
            };
            loop {
                let mut batch = Vec::new();
                while batch.len() < BATCH
                    && let Ok(record) = self.records.try_recv()
                {
                    batch.push(record);
                }
                if batch.is_empty() {
                    break;
                }
                self.write(batch, !swept).await;
                swept = true;
            }
            if stopping {
                return;
            }
        }
    }

    async fn write(&self, batch: Vec<Record>, sweep: bool) {
        let outcome = self
            .database
            .write(move |c| {
                let mut insert = c.prepare_cached(
                    "INSERT INTO access_records (time, request_id, principal, access_key, source,
                        service, action, resource, allowed, status, error, microseconds)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
                )?;
                let newest = batch.last().map_or(0, |r| r.time.0);
                for r in batch {
                    insert.execute(params![
                        r.time.0,
                        r.request_id,
                        r.principal,
                        r.access_key,
                        r.source,
                        r.service,
                        r.action,
                        r.resource,
                        r.allowed,
                        r.status,
                        r.error,
                        r.microseconds
                    ])?;
                }
                if sweep {
                    let oldest = newest - i64::try_from(KEPT.as_millis()).unwrap_or(i64::MAX);
                    c.execute("DELETE FROM access_records WHERE time < ?1", [oldest])?;
                }
                Ok::<(), rusqlite::Error>(())
            })
            .await;
        match outcome {
            Ok(Ok(())) => {}
            Ok(Err(e)) => tracing::error!("access records could not be written: {e}"),
            Err(e) => tracing::error!("access records could not be written: {e}"),
        }
    }
}

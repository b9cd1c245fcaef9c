//! The access record: one row for every call, allowed or not. `audit` and the service-last-accessed
//! reports read it. Rows are written in batches behind the answers, so that a call does not wait for
//! the disk; a crash loses at most the last half second of them.

use std::sync::Arc;
use std::time::Duration;

use kennel_store::state::{Database, Migrations};
use rusqlite::params;
use serde_json::{Map, Value, json};
use tokio::sync::{Notify, mpsc, watch};

use crate::authorize::Need;
use crate::context::{Caller, Principal, Timestamp};

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
    ", "
        -- identity: the ARN of the user or role whose policies were asked, so that all sessions of a role are
        -- found; identity_id: its unique id.
        ALTER TABLE access_records ADD COLUMN identity TEXT;
        ALTER TABLE access_records ADD COLUMN identity_id TEXT;
        -- [{action, resource, allowed}]; null where that is one need and the same as action, resource and
        -- allowed of the row, which is most rows.
        ALTER TABLE access_records ADD COLUMN needs TEXT;
        -- Condition keys of the needs: {key: [value]}.
        ALTER TABLE access_records ADD COLUMN context TEXT;
        ALTER TABLE access_records ADD COLUMN reason TEXT;
        DROP INDEX access_by_principal;
        CREATE INDEX access_by_identity ON access_records (identity, service, time);

        -- One row for everything that IAM was asked.
        CREATE VIEW access_needs AS
            SELECT r.id AS record, r.time, r.identity, r.identity_id, r.service,
                coalesce(n.value ->> 'action', r.action) AS action,
                coalesce(n.value ->> 'resource', r.resource) AS resource,
                coalesce(n.value ->> 'allowed', r.allowed) AS allowed
            FROM access_records r LEFT JOIN json_each(r.needs) n
            WHERE r.identity IS NOT NULL AND (r.needs IS NULL OR n.value IS NOT NULL);
    "],
};

/// One call.
#[derive(Debug, Clone)]
pub(crate) struct Record {
    pub time: Timestamp,
    pub request_id: String,
    /// The caller; none where the signature was not accepted.
    pub caller: Option<Caller>,
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
    /// What IAM was asked, and what it said.
    pub needs: Vec<(Need, bool)>,
    /// The call needs no permission.
    pub free: bool,
    /// Which policy denied, or was missing.
    pub reason: Option<String>,
}

/// Bytes of the condition keys that are kept; AWS's own requests have a few hundred.
const CONTEXT: usize = 4096;

impl Record {
    /// The column `needs`.
    fn needs(&self) -> Option<String> {
        let same = |need: &Need, allowed: bool| {
            need.action == self.action
                && Some(&need.resource) == self.resource.as_ref()
                && allowed == self.allowed
        };
        match self.needs.as_slice() {
            [] if self.free => Some("[]".to_owned()),
            [] => None,
            [(need, allowed)] if same(need, *allowed) => None,
            all => {
                let show = |(need, allowed): &(Need, bool)| json!({"action": need.action, "resource": need.resource, "allowed": allowed});
                Some(all.iter().map(show).collect::<Value>().to_string())
            }
        }
    }

    /// The column `context`.
    fn context(&self) -> Option<String> {
        let mut keys = Map::new();
        for (key, values) in self.needs.iter().flat_map(|(need, _)| &need.context) {
            keys.insert(key.clone().into_owned(), json!(values));
        }
        let text = (!keys.is_empty()).then(|| Value::Object(keys).to_string());
        text.filter(|text| text.len() <= CONTEXT)
    }
}

/// The user or role whose policies a caller has: ARN and unique id.
fn identity(caller: &Caller) -> (String, Option<&str>) {
    match &caller.principal {
        Principal::Root => (caller.arn(), None),
        Principal::User { arn, id, .. } => (arn.clone(), Some(id)),
        Principal::Role { role_arn, id, .. } => (role_arn.clone(), Some(id)),
    }
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

/// Records that are kept at most, about 3 GB with their indexes; the oldest go first.
const KEPT_ROWS: i64 = 5_000_000;

/// Deletes the oldest records above a number. Ids count up, so this is one look at the end of the table, and as
/// many rows as have just been added.
fn keep_newest(c: &rusqlite::Connection, rows: i64) -> rusqlite::Result<usize> {
    c.prepare_cached(
        "DELETE FROM access_records WHERE id <= (SELECT max(id) FROM access_records) - ?1",
    )?
    .execute([rows])
}

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
                        service, action, resource, allowed, status, error, microseconds, identity,
                        identity_id, needs, context, reason)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16,
                        ?17)",
                )?;
                let newest = batch.last().map_or(0, |r| r.time.0);
                for r in batch {
                    let identity = r.caller.as_ref().map(identity);
                    insert.execute(params![
                        r.time.0,
                        r.request_id,
                        r.caller.as_ref().map(Caller::arn),
                        r.caller.as_ref().map(|caller| &caller.access_key),
                        r.source,
                        r.service,
                        r.action,
                        r.resource,
                        r.allowed,
                        r.status,
                        r.error,
                        r.microseconds,
                        identity.as_ref().map(|(arn, _)| arn),
                        identity.as_ref().and_then(|(_, id)| *id),
                        r.needs(),
                        r.context(),
                        r.reason,
                    ])?;
                }
                if sweep {
                    let oldest = newest - i64::try_from(KEPT.as_millis()).unwrap_or(i64::MAX);
                    c.execute("DELETE FROM access_records WHERE time < ?1", [oldest])?;
                }
                keep_newest(c, KEPT_ROWS)?;
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

#[cfg(test)]
mod tests;

//! Where records of asynchronous invocations go: to another function, or into a queue. There is no queue
//! service here: `arn:aws:sqs:REGION:ACCOUNT:NAME` is the folder `queues/NAME` in the data folder, one JSON
//! file a message, to be taken away by whoever reads it.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::metrics::Metrics;
use crate::lambda::rows::EventInvocation;
use crate::lambda::{Lambda, names};

/// A message for a destination.
#[derive(Debug, Clone)]
pub(super) struct Record {
    pub(super) id: String,
    pub(super) body: Value,
    /// Message attributes, for queues.
    pub(super) attributes: Value,
}

impl Lambda {
    /// Delivers a record; what cannot be delivered counts in the metrics and is logged, as in AWS.
    /// The function's role has to allow it.
    pub(super) async fn deliver(
        &self,
        (arn, role): (&str, &str),
        record: Record,
        metrics: &Metrics,
    ) {
        let action = match arn.split(':').nth(2) {
            Some("lambda") => "lambda:InvokeFunction",
            _ => "sqs:SendMessage",
        };
        let delivered = match self.role_may(role, action, arn.to_owned()) {
            Ok(()) => self.try_to_deliver(arn, record).await,
            Err(why) => Err(why),
        };
        if let Err(why) = delivered {
            metrics.count("DestinationDeliveryFailures");
            tracing::warn!("nothing was delivered to `{arn}`: {why}");
        }
    }

    async fn try_to_deliver(&self, arn: &str, record: Record) -> Result<(), String> {
        let service = arn.split(':').nth(2).unwrap_or_default();
        let now = self.inner.clock.now();
        match service {
            "lambda" => {
                let named = names::parse(arn, &self.inner.home).map_err(|error| error.message)?;
                let event = EventInvocation {
                    id: uuid::Uuid::new_v4().to_string(),
                    function: named.name,
                    qualifier: named.qualifier,
                    attempts: 0,
                    created: now,
                    due: now,
                    notes: json!({}),
                    payload: record.body.to_string().into_bytes(),
                };
                self.push(event).await.map_err(|error| error.message)
            }
            "sqs" => {
                let folder = self.queue_folder(arn).ok_or("it is no queue's name")?;
                let name = format!("{:013}-{}.json", now.0, record.id);
                let message = json!({
                    "MessageId": record.id,
                    "Body": record.body,
                    "MessageAttributes": record.attributes,
                });
                tokio::task::spawn_blocking(move || put(&folder, &name, &message))
                    .await
                    .map_err(|e| e.to_string())?
                    .map_err(|e| e.to_string())
            }
            _ => Err("only functions and queues are built as destinations".to_owned()),
        }
    }

    /// The folder of a queue. Names of queues have letters, digits, `-`, `_`; `.fifo` may end them.
    fn queue_folder(&self, arn: &str) -> Option<PathBuf> {
        let name = arn.split(':').nth(5)?;
        let plain = name.strip_suffix(".fifo").unwrap_or(name);
        let good = !plain.is_empty()
            && plain.len() <= 80
            && plain.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
        good.then(|| self.inner.data.join("queues").join(name))
    }
}

/// Writes a message aside, flushes it, and names it.
fn put(folder: &Path, name: &str, message: &Value) -> std::io::Result<()> {
    std::fs::create_dir_all(folder)?;
    let mut aside = tempfile::Builder::new().prefix(".").tempfile_in(folder)?;
    serde_json::to_writer(aside.as_file_mut(), message)?;
    aside.write_all(b"\n")?;
    aside.as_file().sync_all()?;
    aside.persist(folder.join(name)).map_err(|e| e.error)?;
    std::fs::File::open(folder)?.sync_all()
}

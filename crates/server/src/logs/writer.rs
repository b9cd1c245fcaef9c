//! Lines of training jobs and endpoints on their way into the database. Producers push into a queue
//! that is bounded by bytes; one task commits what is waiting, of all queues in one transaction, every
//! 100 ms or 1,000 lines. Order in a stream is the order of the pushes, and a line's time never goes
//! back behind the one before it. A failed commit keeps the lines and tries again: producers then wait.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kennel_store::state::{Database, rusqlite};
use tokio::sync::{Notify, Semaphore, watch};

use super::batch::EVENT_OVERHEAD;
use super::error::LogsError;
use super::store;
use crate::context::Timestamp;

/// An event's message at most, in bytes; longer lines become several events.
const MAX_LINE: usize = 262_144 - EVENT_OVERHEAD;
/// Bytes that may wait in one queue.
const ROOM: usize = 4 << 20;
/// Lines that make a commit urgent.
const URGENT: usize = 1_000;
/// Lines of one transaction at most.
const BATCH: usize = 5_000;
/// How long lines wait for company.
const LINGER: Duration = Duration::from_millis(100);
/// How long a failed commit waits for the next attempt.
const RETRY: Duration = Duration::from_secs(1);

/// Writes lines to one stream; cheap to clone.
#[derive(Clone)]
pub struct LogWriter {
    queue: Arc<Queue>,
    signals: Arc<Signals>,
}

impl fmt::Debug for LogWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogWriter")
            .field("group", &self.queue.key.0)
            .field("stream", &self.queue.key.1)
            .finish_non_exhaustive()
    }
}

impl LogWriter {
    /// Adds a line (without its line end) that was read at `time`. Waits only while 4 MiB of earlier
    /// lines are not committed. Empty lines are left out, as AWS takes no empty message.
    ///
    /// # Errors
    /// [`LogsError::Closed`] once the server stops.
    pub async fn write(&self, time: Timestamp, line: &str) -> Result<(), LogsError> {
        for piece in pieces(line) {
            let size = u32::try_from(piece.len() + EVENT_OVERHEAD).unwrap_or(u32::MAX);
            let room = self.queue.room.acquire_many(size).await.map_err(|_| LogsError::Closed)?;
            room.forget();
            let waiting = self.queue.push(Line { time: time.0, message: piece.to_owned() });
            self.signals.work.notify_one();
            if waiting >= URGENT {
                self.signals.urgent.notify_one();
            }
        }
        Ok(())
    }

    /// Waits until every line written so far is on disk.
    ///
    /// # Errors
    /// When the next commit fails (the lines are kept and tried again) or the server stops.
    pub async fn flush(&self) -> Result<(), LogsError> {
        let target = self.queue.lines().pushed;
        let mut progress = self.queue.progress.subscribe();
        let failures = progress.borrow_and_update().failures;
        self.signals.work.notify_one();
        self.signals.urgent.notify_one();
        loop {
            {
                let now = progress.borrow_and_update();
                if now.committed >= target {
                    return Ok(());
                }
                if now.closed {
                    return Err(LogsError::Closed);
                }
                if now.failures > failures {
                    return Err(LogsError::NotCommitted(now.error.clone()));
                }
            }
            progress.changed().await.map_err(|_| LogsError::Closed)?;
        }
    }
}

/// A line in pieces that each fit an event, cut between characters.
fn pieces(line: &str) -> impl Iterator<Item = &str> {
    let mut rest = line;
    std::iter::from_fn(move || {
        let (piece, tail) = rest.split_at(rest.floor_char_boundary(MAX_LINE));
        rest = tail;
        (!piece.is_empty()).then_some(piece)
    })
}

#[derive(Debug)]
struct Line {
    time: i64,
    message: String,
}

#[derive(Default)]
struct Lines {
    waiting: VecDeque<Line>,
    /// How many were ever pushed.
    pushed: u64,
}

#[derive(Debug, Default)]
struct Progress {
    committed: u64,
    failures: u64,
    error: String,
    closed: bool,
}

/// The lines of one stream, (group, stream).
struct Queue {
    key: (String, String),
    lines: Mutex<Lines>,
    room: Semaphore,
    progress: watch::Sender<Progress>,
}

impl Queue {
    fn lines(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers how many are waiting.
    fn push(&self, line: Line) -> usize {
        let mut lines = self.lines();
        lines.waiting.push_back(line);
        lines.pushed += 1;
        lines.waiting.len()
    }

    fn take(&self, most: usize) -> Vec<Line> {
        let mut lines = self.lines();
        let count = lines.waiting.len().min(most);
        lines.waiting.drain(..count).collect()
    }

    fn put_back(&self, taken: Vec<Line>) {
        let mut lines = self.lines();
        for line in taken.into_iter().rev() {
            lines.waiting.push_front(line);
        }
    }
}

#[derive(Default)]
struct Signals {
    work: Notify,
    urgent: Notify,
}

/// Every open queue, and how producers wake the task.
#[derive(Clone, Default)]
pub(super) struct Queues {
    open: Arc<Mutex<Open>>,
    signals: Arc<Signals>,
}

#[derive(Default)]
struct Open {
    queues: HashMap<(String, String), Arc<Queue>>,
    closed: bool,
}

impl Queues {
    /// The writer of a stream; writers of the same stream share its queue.
    pub(super) fn writer(&self, group: &str, stream: &str) -> Result<LogWriter, LogsError> {
        let mut open = self.open();
        if open.closed {
            return Err(LogsError::Closed);
        }
        let key = (group.to_owned(), stream.to_owned());
        let queue = open.queues.entry(key.clone()).or_insert_with(|| {
            Arc::new(Queue {
                key,
                lines: Mutex::default(),
                room: Semaphore::new(ROOM),
                progress: watch::Sender::new(Progress::default()),
            })
        });
        Ok(LogWriter { queue: Arc::clone(queue), signals: Arc::clone(&self.signals) })
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Commits lines until told to stop, then the rest, and closes every writer.
    pub(super) async fn run(&self, database: &Database, mut shutdown: watch::Receiver<bool>) {
        loop {
            tokio::select! {
                () = self.signals.work.notified() => {}
                _ = shutdown.wait_for(|stop| *stop) => break,
            }
            tokio::select! {
                () = self.signals.urgent.notified() => {}
                () = tokio::time::sleep(LINGER) => {}
                _ = shutdown.wait_for(|stop| *stop) => break,
            }
            if !self.commit_all(database).await {
                self.signals.work.notify_one();
                tokio::select! {
                    () = tokio::time::sleep(RETRY) => {}
                    _ = shutdown.wait_for(|stop| *stop) => break,
                }
            }
        }
        {
            let mut open = self.open();
            open.closed = true;
            for queue in open.queues.values() {
                queue.room.close();
            }
        }
        self.commit_all(database).await;
        for (_, queue) in self.open().queues.drain() {
            queue.progress.send_modify(|progress| progress.closed = true);
        }
    }

    /// Commits what is waiting; false when the database refused.
    async fn commit_all(&self, database: &Database) -> bool {
        loop {
            let batch = self.take_batch();
            if batch.is_empty() {
                return true;
            }
            let full = batch.iter().map(|(_, lines)| lines.len()).sum::<usize>() >= BATCH;
            if !commit(database, batch).await {
                return false;
            }
            if !full {
                return true;
            }
        }
    }

    /// The lines of the next transaction. Queues without lines and without a writer go.
    fn take_batch(&self) -> Batch {
        let mut room = BATCH;
        let mut batch = Vec::new();
        // `retain` holds the lock under which writers are made: a queue that only this map holds
        // cannot get a line meanwhile.
        self.open().queues.retain(|_, queue| {
            let taken = queue.take(room);
            if taken.is_empty() {
                return Arc::strong_count(queue) > 1 || !queue.lines().waiting.is_empty();
            }
            room -= taken.len();
            batch.push((Arc::clone(queue), taken));
            true
        });
        batch
    }
}

/// The lines of one transaction, by queue.
type Batch = Vec<(Arc<Queue>, Vec<Line>)>;

async fn commit(database: &Database, batch: Batch) -> bool {
    let batch = Arc::new(Mutex::new(batch));
    let shared = Arc::clone(&batch);
    let outcome = database
        .write(move |c| -> Result<(), rusqlite::Error> {
            for (queue, lines) in shared.lock().unwrap_or_else(PoisonError::into_inner).iter() {
                let (group, name) = &queue.key;
                let ingested = lines.iter().map(|line| line.time).max().unwrap_or_default();
                let stream = store::ensure_stream(c, group, name, ingested)?;
                let events = lines.iter().map(|line| (line.time, line.message.as_str()));
                store::append(c, &stream, events, ingested, true)?;
            }
            Ok(())
        })
        .await;
    let error = match outcome {
        Ok(Ok(())) => None,
        Ok(Err(error)) => Some(error.to_string()),
        Err(error) => Some(error.to_string()),
    };
    if let Some(error) = &error {
        tracing::error!("log lines wait for the database: {error}");
    }
    let batch = std::mem::take(&mut *batch.lock().unwrap_or_else(PoisonError::into_inner));
    for (queue, lines) in batch {
        match &error {
            None => {
                let bytes = lines.iter().map(|line| line.message.len() + EVENT_OVERHEAD).sum();
                queue.room.add_permits(bytes);
                let count = u64::try_from(lines.len()).unwrap_or(0);
                queue.progress.send_modify(|progress| progress.committed += count);
            }
            Some(error) => {
                queue.put_back(lines);
                queue.progress.send_modify(|progress| {
                    progress.failures += 1;
                    progress.error.clone_from(error);
                });
            }
        }
    }
    error.is_none()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn pieces_lose_nothing(line in "[a-zäö€]{0,20}", times in 0..40_000_usize) {
            let line = line.repeat(times);
            prop_assert!(pieces(&line).all(|piece| !piece.is_empty() && piece.len() <= MAX_LINE));
            prop_assert_eq!(pieces(&line).collect::<String>(), line);
        }
    }
}

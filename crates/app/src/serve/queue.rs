//! The one queue between connections and workers: bounded, refusing at once when full, handing out
//! micro-batches, and dropping work whose caller has gone.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How work is handed out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct QueueOptions {
    /// Entries that may wait.
    pub capacity: usize,
    /// Entries per batch at most.
    pub batch: usize,
    /// How long a batch may wait to fill, counted from its first entry.
    pub delay: Duration,
    /// Workers that share the queue.
    pub workers: usize,
}

struct Inner<T> {
    waiting: VecDeque<(Instant, T)>,
    closed: bool,
}

/// The queue.
pub(crate) struct Queue<T> {
    options: QueueOptions,
    inner: Mutex<Inner<T>>,
    ready: Condvar,
}

impl<T> std::fmt::Debug for Queue<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Queue").field("options", &self.options).finish_non_exhaustive()
    }
}

/// Why an entry was not taken.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// As many wait as may.
    Full,
    /// The server is stopping.
    Closed,
}

impl<T> Queue<T> {
    pub(crate) fn new(options: QueueOptions) -> Self {
        let inner = Mutex::new(Inner { waiting: VecDeque::new(), closed: false });
        Queue { options, inner, ready: Condvar::new() }
    }

    /// A worker that panics while holding the lock leaves a queue that is still whole.
    fn lock(&self) -> MutexGuard<'_, Inner<T>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds all entries or none.
    pub(crate) fn push_all(&self, entries: Vec<T>, now: Instant) -> Result<(), Refused> {
        let mut inner = self.lock();
        if inner.closed {
            return Err(Refused::Closed);
        }
        if inner.waiting.len() + entries.len() > self.options.capacity {
            return Err(Refused::Full);
        }
        inner.waiting.extend(entries.into_iter().map(|e| (now, e)));
        drop(inner);
        self.ready.notify_all();
        Ok(())
    }

    /// Entries that wait.
    pub(crate) fn len(&self) -> usize {
        self.lock().waiting.len()
    }

    /// The next batch; `None` when the queue is closed and empty. `alive` says whether an entry's
    /// caller still waits. A worker takes its fair share of what waits, so that two workers with eight
    /// entries run four each instead of one running eight.
    pub(crate) fn next_batch(&self, alive: impl Fn(&T) -> bool) -> Option<Vec<T>> {
        let mut inner = self.lock();
        loop {
            inner.waiting.retain(|(_, entry)| alive(entry));
            match inner.waiting.front() {
                None if inner.closed => return None,
                None => {
                    inner = self.ready.wait(inner).unwrap_or_else(PoisonError::into_inner);
                }
                Some((since, _)) => {
                    let left = self.options.delay.saturating_sub(since.elapsed());
                    if left.is_zero() || inner.closed || inner.waiting.len() >= self.options.batch {
                        let share = inner.waiting.len().div_ceil(self.options.workers.max(1));
                        let count = share.clamp(1, self.options.batch.max(1));
                        let batch = inner.waiting.drain(..count).map(|(_, entry)| entry).collect();
                        return Some(batch);
                    }
                    inner = self
                        .ready
                        .wait_timeout(inner, left)
                        .map_or_else(|e| e.into_inner().0, |(guard, _)| guard);
                }
            }
        }
    }

    /// Refuses new entries; those that wait are still handed out.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.ready.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(capacity: usize, batch: usize, workers: usize) -> Queue<u32> {
        Queue::new(QueueOptions { capacity, batch, delay: Duration::ZERO, workers })
    }

    #[test]
    fn a_full_queue_refuses_at_once_and_takes_all_or_none() {
        let queue = queue(3, 8, 1);
        let now = Instant::now();
        assert_eq!(queue.push_all(vec![1, 2], now), Ok(()));
        assert_eq!(queue.push_all(vec![3, 4], now), Err(Refused::Full));
        assert_eq!(queue.len(), 2);
        assert_eq!(queue.push_all(vec![3], now), Ok(()));
    }

    #[test]
    fn workers_share_what_waits() {
        let queue = queue(100, 8, 2);
        queue.push_all((0..6).collect(), Instant::now()).unwrap();
        assert_eq!(queue.next_batch(|_| true).unwrap().len(), 3);
        assert_eq!(queue.next_batch(|_| true).unwrap().len(), 2);
    }

    #[test]
    fn work_without_a_caller_is_dropped() {
        let queue = queue(100, 8, 1);
        queue.push_all((0..6).collect(), Instant::now()).unwrap();
        assert_eq!(queue.next_batch(|n| n % 2 == 0).unwrap(), vec![0, 2, 4]);
    }

    #[test]
    fn closing_hands_out_the_rest_and_ends() {
        let queue = queue(100, 4, 1);
        queue.push_all((0..6).collect(), Instant::now()).unwrap();
        queue.close();
        assert_eq!(queue.push_all(vec![9], Instant::now()), Err(Refused::Closed));
        assert_eq!(queue.next_batch(|_| true).unwrap(), vec![0, 1, 2, 3]);
        assert_eq!(queue.next_batch(|_| true).unwrap(), vec![4, 5]);
        assert_eq!(queue.next_batch(|_| true), None);
    }
}

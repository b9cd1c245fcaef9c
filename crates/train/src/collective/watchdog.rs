//! A limit on the time of each operation. Where a network is cut, an operation waits for ever, and neither MPI
//! nor its launcher says so (measured: unnoticed after 70 s); a rank that took another way does the same.

use std::io::Write;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use super::{Collective, CollectiveError};

/// Exit code of instances that a watchdog ended.
const EXIT: i32 = 1;

/// Which operation is under way, and since when.
#[derive(Debug)]
struct Clock {
    origin: Instant,
    /// Milliseconds since `origin` when the operation began, plus one; 0 while there is none.
    began: AtomicU64,
}

impl Clock {
    fn now(&self) -> u64 {
        u64::try_from(self.origin.elapsed().as_millis()).unwrap_or(u64::MAX - 1) + 1
    }

    /// How long the operation under way takes by now.
    fn taken(&self) -> Option<Duration> {
        let began = self.began.load(Relaxed);
        (began > 0).then(|| Duration::from_millis(self.now().saturating_sub(began)))
    }
}

/// A [`Collective`] whose operations are bounded in time: when one takes longer, all ranks are aborted.
#[derive(Debug)]
pub struct Watchdog {
    inner: Arc<dyn Collective>,
    clock: Arc<Clock>,
}

impl Watchdog {
    /// Watches over a collective, from a thread that ends with the watchdog.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn new(inner: Arc<dyn Collective>, limit: Duration) -> Result<Self, CollectiveError> {
        let clock = Arc::new(Clock { origin: Instant::now(), began: AtomicU64::new(0) });
        let (watched, weak) = (Arc::clone(&inner), Arc::downgrade(&clock));
        let size = inner.size();
        std::thread::Builder::new()
            .name("watchdog".into())
            .spawn(move || watch(&*watched, &weak, limit))
            .map_err(|e| CollectiveError::Failed {
                operation: "the start",
                size,
                reason: format!("no thread for the watchdog: {e}"),
            })?;
        Ok(Watchdog { inner, clock })
    }

    fn bounded<T>(&self, operation: impl FnOnce() -> T) -> T {
        self.clock.began.store(self.clock.now(), Relaxed);
        let outcome = operation();
        self.clock.began.store(0, Relaxed);
        outcome
    }
}

fn watch(collective: &dyn Collective, clock: &Weak<Clock>, limit: Duration) {
    let pause = (limit / 20).clamp(Duration::from_millis(5), Duration::from_millis(250));
    while let Some(clock) = clock.upgrade() {
        if clock.taken().is_some_and(|taken| taken > limit) {
            // In one piece: a launcher mixes what several instances say at the same time.
            let text = format!(
                "error: instance {} of {} has waited {:.0} s for the others: one of them is stuck, or the network between them is cut\nhint: KENNEL_COLLECTIVE_TIMEOUT is the limit in seconds; run the same command again to go on from the checkpoint\n",
                collective.rank() + 1,
                collective.size(),
                limit.as_secs_f64()
            );
            // Nobody to tell where standard error is closed.
            let _ = std::io::stderr().write_all(text.as_bytes());
            collective.abort(EXIT);
        }
        drop(clock);
        std::thread::sleep(pause);
    }
}

impl Collective for Watchdog {
    fn rank(&self) -> usize {
        self.inner.rank()
    }

    fn size(&self) -> usize {
        self.inner.size()
    }

    fn all_reduce_sum(&self, values: &mut [f32]) -> Result<(), CollectiveError> {
        self.bounded(|| self.inner.all_reduce_sum(values))
    }

    fn broadcast(&self, values: &mut [f32], root: usize) -> Result<(), CollectiveError> {
        self.bounded(|| self.inner.broadcast(values, root))
    }

    fn barrier(&self) -> Result<(), CollectiveError> {
        self.bounded(|| self.inner.barrier())
    }

    fn abort(&self, code: i32) -> ! {
        self.inner.abort(code)
    }
}

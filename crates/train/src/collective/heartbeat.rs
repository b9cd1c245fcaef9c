//! Long work that every rank does on its own, with the ranks in touch meanwhile: a rank that is done first
//! does not wait in one operation for minutes (the watchdog could not tell that from a cut network), a stop
//! asked of one is a stop of all, and progress is that of all.

use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::time::Duration;

use super::{Collective, CollectiveError};

/// Pause between two beats; a rank waits half of it on average for the others when all work is done.
const PAUSE: Duration = Duration::from_millis(50);

/// How far the work is. Each rank reports its own part and reads the sum over all.
#[derive(Debug, Default)]
pub struct Progress {
    done: AtomicUsize,
    total: AtomicUsize,
    /// Of all ranks, as of the last beat; nothing where there is one rank.
    all: Option<(AtomicUsize, AtomicUsize)>,
}

impl Progress {
    /// Sets this rank's part.
    pub fn report(&self, done: usize, total: usize) {
        self.done.store(done, Relaxed);
        self.total.store(total, Relaxed);
    }

    /// Done and total of all ranks.
    pub fn all(&self) -> (usize, usize) {
        let (done, total) = match &self.all {
            Some((done, total)) => (done, total),
            None => (&self.done, &self.total),
        };
        (done.load(Relaxed), total.load(Relaxed))
    }
}

/// Work that each rank does by itself: the progress to report to, and the flag to stop at.
type Work<'a, T, E> = Box<dyn FnOnce(&Progress, &AtomicBool) -> Result<T, E> + 'a>;

/// Runs `work` on every rank and returns when all ranks have done theirs. `wait` is called now and then while
/// this rank waits for the others. Where the work fails on this rank, it returns at once, and the caller
/// has to end all ranks ([`super::World::run`] does).
///
/// The flag that `work` gets becomes true on all ranks when `stop` does on one; work that was stopped counts
/// as done, whatever it returned.
///
/// # Errors
/// When the ranks cannot be reached.
pub fn alongside<T, E>(
    collective: &dyn Collective,
    stop: &AtomicBool,
    work: Work<'_, T, E>,
    wait: &mut dyn FnMut(&Progress),
) -> Result<Result<T, E>, CollectiveError> {
    if collective.size() == 1 {
        return Ok(work(&Progress::default(), stop));
    }
    let progress = Progress { all: Some(Default::default()), ..Progress::default() };
    let (halt, finished, failed) =
        (AtomicBool::new(false), AtomicBool::new(false), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let heart = scope.spawn(|| {
            while !failed.load(Acquire) {
                let done = beat(collective, &progress, stop, &halt, finished.load(Acquire))?;
                if done {
                    break;
                }
                std::thread::park_timeout(PAUSE);
            }
            Ok(())
        });
        // Work that fails or panics ends the heart after its current beat (the others are still beating);
        // without that the scope would wait for it for ever.
        let guard = SetOnDrop(&failed);
        let outcome = work(&progress, &halt);
        if outcome.is_err() && !halt.load(Relaxed) {
            return Ok(outcome);
        }
        std::mem::forget(guard);
        finished.store(true, Release);
        heart.thread().unpark();
        while !heart.is_finished() {
            wait(&progress);
            std::thread::sleep(PAUSE / 5);
        }
        match heart.join() {
            Ok(Ok(())) => Ok(outcome),
            Ok(Err(e)) => Err(e),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

/// Counts travel as two numbers, so that their sums stay exact.
const BASE: usize = 1 << 12;

/// One exchange; answers whether all ranks have finished.
fn beat(
    collective: &dyn Collective,
    progress: &Progress,
    stop: &AtomicBool,
    halt: &AtomicBool,
    finished: bool,
) -> Result<bool, CollectiveError> {
    let halves = |n: usize| [(n % BASE) as f32, (n / BASE) as f32];
    let [done, more_done] = halves(progress.done.load(Relaxed));
    let [total, more_total] = halves(progress.total.load(Relaxed));
    let flag = |b: bool| f32::from(u8::from(b));
    let mut values = [flag(finished), flag(stop.load(Relaxed)), done, more_done, total, more_total];
    collective.all_reduce_sum(&mut values)?;
    let [finished, stopped, done, more_done, total, more_total] = values;
    if let Some((all_done, all_total)) = &progress.all {
        all_done.store(done as usize + BASE * more_done as usize, Relaxed);
        all_total.store(total as usize + BASE * more_total as usize, Relaxed);
    }
    if stopped > 0.0 {
        halt.store(true, Relaxed);
    }
    Ok(finished as usize == collective.size())
}

/// Sets a flag when it goes, on whatever way.
struct SetOnDrop<'a>(&'a AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Release);
    }
}

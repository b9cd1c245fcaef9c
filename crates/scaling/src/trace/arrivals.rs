//! Arrivals one after the other, as a Poisson process whose rate is level for a while at a time.
//!
//! With `E` drawn from the exponential distribution of mean 1, the next arrival is where the expected
//! number of requests since the last one reaches `E`. That is exact for levels, and needs no memory.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use super::Trace;

/// The arrivals of a trace, ascending; see [`Trace::arrivals`].
#[derive(Debug, Clone)]
pub struct Arrivals<'a> {
    trace: &'a Trace,
    random: ChaCha8Rng,
    duration_s: f64,
    /// Of [`Trace::Timestamps`]: which comes next.
    number: usize,
    now: f64,
    rate: f64,
    /// Seconds for one expected request; infinite where none comes.
    seconds: f64,
    /// How long `rate` holds.
    until: f64,
}

impl<'a> Arrivals<'a> {
    pub(crate) fn new(trace: &'a Trace, duration_s: f64, seed: u64) -> Self {
        let random = ChaCha8Rng::seed_from_u64(seed);
        let (rate, until) = trace.level(0.0);
        let seconds = 1.0 / rate;
        Arrivals { trace, random, duration_s, number: 0, now: 0.0, rate, seconds, until }
    }

    /// The next arrival, infinite when there is none.
    #[inline]
    pub(crate) fn draw(&mut self) -> f64 {
        if let Trace::Timestamps(times) = self.trace {
            let next = times.get(self.number).copied().unwrap_or(f64::INFINITY);
            self.number += 1;
            return self.within(next);
        }
        let wait = exponential(self.random.next_u64());
        let next = self.now + wait * self.seconds;
        if next < self.until {
            self.now = next;
            return self.within(next);
        }
        self.over_levels(wait)
    }

    #[inline]
    fn within(&self, next: f64) -> f64 {
        if next < self.duration_s { next } else { f64::INFINITY }
    }

    #[cold]
    fn over_levels(&mut self, mut wait: f64) -> f64 {
        loop {
            if self.until >= self.duration_s {
                let next = self.now + wait * self.seconds;
                // What comes after the end needs no place: the next draw ends here as well.
                self.now = next;
                return self.within(next);
            }
            wait -= self.rate * (self.until - self.now);
            self.now = self.until;
            (self.rate, self.until) = self.trace.level(self.now);
            self.seconds = 1.0 / self.rate;
            // Rounding may leave a hair less than nothing.
            wait = wait.max(0.0);
            let next = self.now + wait * self.seconds;
            // Where no requests are expected, nothing of the wait passes: 0 × ∞ is no number and no arrival.
            if self.rate > 0.0 && next < self.until {
                self.now = next;
                return self.within(next);
            }
        }
    }
}

impl Iterator for Arrivals<'_> {
    type Item = f64;

    fn next(&mut self) -> Option<f64> {
        let next = self.draw();
        next.is_finite().then_some(next)
    }
}

/// From 64 random bits, a number from the exponential distribution with mean 1.
#[inline]
fn exponential(bits: u64) -> f64 {
    // In (0, 1], so that the logarithm exists.
    let uniform = ((bits >> 11) + 1) as f64 * (1.0 / (1_u64 << 53) as f64);
    -libm::log(uniform)
}

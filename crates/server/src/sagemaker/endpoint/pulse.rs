//! The metrics of variants that go by the clock and not by requests: ConcurrentRequestsPerModel every ten
//! seconds, and zeros of the minutes without traffic.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::load::Load;
use super::metrics::Names;
use crate::context::Timestamp;
use crate::sagemaker::Inner;

/// How often requests in flight are sampled.
const SAMPLE: Duration = Duration::from_millis(100);
/// The high resolution of SageMaker's metrics.
const WINDOW_MS: i64 = 10_000;
const MINUTE_MS: i64 = 60_000;
/// A minute that had no request by then gets its zeros, while it still lasts: alarms are evaluated just after its end.
const ZERO_AFTER_MS: i64 = 55_000;

/// What was seen of one variant.
#[derive(Debug)]
struct Beat {
    /// Whose it is.
    load: Arc<Load>,
    samples: u32,
    /// Of requests in flight per instance.
    sum: f64,
    /// Requests ever, at the beginning of the minute.
    arrived: u64,
    zeroed: bool,
}

impl Beat {
    fn new(load: &Arc<Load>) -> Beat {
        let arrived = load.arrived();
        Beat { load: load.clone(), samples: 0, sum: 0.0, arrived, zeroed: false }
    }

    fn sample(&mut self, in_flight: u64, instances: usize) {
        self.samples += 1;
        self.sum += in_flight as f64 / instances.max(1) as f64;
    }

    /// The average since the last call.
    fn average(&mut self) -> Option<f64> {
        let (sum, samples) = (self.sum, self.samples);
        (self.sum, self.samples) = (0.0, 0);
        (samples > 0).then(|| sum / f64::from(samples))
    }

    /// Is it time to say that nothing has arrived in this minute? Once a minute.
    fn silent(&mut self, in_minute_ms: i64, arrived: u64) -> bool {
        let due = in_minute_ms >= ZERO_AFTER_MS && !self.zeroed && arrived == self.arrived;
        self.zeroed |= due;
        due
    }

    fn next_minute(&mut self, arrived: u64) {
        self.arrived = arrived;
        self.zeroed = false;
    }
}

/// Counts until `shutdown` turns true.
pub(in crate::sagemaker) async fn run(inner: Arc<Inner>, mut shutdown: watch::Receiver<bool>) {
    // By the address of the load: an endpoint has two fleets while it is deployed to.
    let mut beats: HashMap<usize, Beat> = HashMap::new();
    let mut ticks = tokio::time::interval(SAMPLE);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    let mut last = inner.clock.now().0;
    loop {
        tokio::select! {
            _ = shutdown.wait_for(|stop| *stop) => return,
            _ = ticks.tick() => {}
        }
        let now = inner.clock.now();
        let window_over = now.0.div_euclid(WINDOW_MS) != last.div_euclid(WINDOW_MS);
        let minute_over = now.0.div_euclid(MINUTE_MS) != last.div_euclid(MINUTE_MS);
        let begun = Timestamp(last - last.rem_euclid(WINDOW_MS));
        last = now.0;
        // A load that is kept here cannot give its address to another one.
        beats.retain(|_, beat| Arc::strong_count(&beat.load) > 1);
        for endpoint in inner.live.all() {
            for variant in endpoint.variants.iter().chain(&endpoint.shadows) {
                let load = &variant.load;
                let address = Arc::as_ptr(load).addr();
                let beat = beats.entry(address).or_insert_with(|| Beat::new(load));
                let metrics = || load.metrics(&inner.metrics, Names::of(&endpoint, variant));
                if window_over && let Some(average) = beat.average() {
                    metrics().concurrency(average, begun);
                }
                let arrived = load.arrived();
                if minute_over {
                    beat.next_minute(arrived);
                }
                beat.sample(load.in_flight(), variant.pool.routed());
                if beat.silent(now.0.rem_euclid(MINUTE_MS), arrived) {
                    metrics().nothing(now);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;

//! The fast mode: Knative's autoscaler, which decides every second from the load itself rather than from
//! alarms on minutes.

use serde::{Deserialize, Serialize};

use crate::scaler::Bounds;

/// How often to observe and decide.
pub const TICK_MS: i64 = 1_000;

/// What the load is measured in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Measure {
    /// Requests in flight on the whole variant, on average.
    Concurrency,
    /// Requests a minute to the whole variant.
    RequestsPerMinute,
}

/// Settings of the fast mode.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Fast {
    /// The load of one instance, in the measure's unit.
    pub target: f64,
    /// What the load is measured in.
    pub measure: Measure,
    /// The share of the target that is aimed at.
    pub utilization: f64,
    /// The window of ordinary decisions.
    pub stable_ms: i64,
    /// The window that finds bursts.
    pub panic_ms: i64,
    /// A burst needs so many times the ready instances.
    pub panic_threshold: f64,
    /// At most so many times the ready instances in one decision.
    pub max_scale_up: f64,
    /// At least the ready instances divided by this in one decision.
    pub max_scale_down: f64,
    /// How long fewer instances must have been enough before they are taken away.
    pub scale_down_delay_ms: i64,
    /// How long the last instance stays after the stable window is empty.
    pub grace_ms: i64,
    /// Whether to never take instances away.
    pub disable_scale_in: bool,
}

/// The load seen so far, and whether there is a burst.
#[derive(Clone, Debug, Default)]
pub struct FastState {
    load: f64,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FastDecision {
    /// How many instances are wanted.
    pub capacity: u32,
    /// Whether there is a burst.
    pub panic: bool,
    /// Why, with numbers; empty where the capacity stays.
    pub reason: String,
}

impl Fast {
    /// Knative's defaults.
    pub fn new(target: f64, measure: Measure) -> Self {
        Self {
            target,
            measure,
            utilization: match measure {
                Measure::Concurrency => 0.7,
                Measure::RequestsPerMinute => 1.0,
            },
            stable_ms: 60_000,
            panic_ms: 6_000,
            panic_threshold: 2.0,
            max_scale_up: 1_000.0,
            max_scale_down: 2.0,
            scale_down_delay_ms: 0,
            grace_ms: 30_000,
            disable_scale_in: false,
        }
    }
}

impl FastState {
    /// Takes the load since the last observation: requests in flight on average, or requests × 60 ÷ seconds.
    pub fn observe(&mut self, now_ms: i64, load: f64) {
        let _ = now_ms;
        self.load = load;
    }

    /// What to do at `now_ms` with `ready` instances serving and `capacity` wanted so far.
    pub fn decide(
        &mut self,
        fast: &Fast,
        now_ms: i64,
        ready: u32,
        capacity: u32,
        bounds: Bounds,
    ) -> FastDecision {
        let _ = (now_ms, ready, capacity);
        let wanted = (self.load / (fast.target * fast.utilization)).ceil() as u32;
        let capacity = crate::scaler::clamp(wanted, bounds);
        FastDecision { capacity, panic: false, reason: String::new() }
    }
}

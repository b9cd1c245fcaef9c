//! The fast mode: Knative's autoscaler, which decides twice a second from the load itself, where AWS waits for
//! alarms on minutes.
//!
//! The load is averaged over two windows. The *stable* one, a minute, decides normally. When the *panic* one,
//! six seconds, asks for twice the instances that are ready, there is a burst: from then on the larger of the
//! two counts, and nothing is taken away until a whole stable window has passed without such a moment.
//!
//! # Where it is not Knative's
//!
//! - The target is filled to 70 % for concurrency only. A target of requests a minute is AWS's, and who chose
//!   it has left room already: AWS's rule is half of what an instance can do
//!   (<https://docs.aws.amazon.com/sagemaker/latest/dg/endpoint-scaling-loadtest.html>).
//! - It decides twice a second, not every two seconds.
//! - Instances that the requests in flight of the last second need, at a full target, are not taken away;
//!   Knative may do so when the minute before was quiet.
//! - The last instance stays for the grace period after the stable window is empty. Knative's stays until its
//!   activator is in the path, for up to that long.
//!
//! Sources: <https://knative.dev/docs/serving/autoscaling/kpa-specific/>,
//! <https://knative.dev/docs/serving/autoscaling/scale-to-zero/>, and the behaviour of Knative Serving's
//! `pkg/autoscaler/scaling/autoscaler.go`.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::scaler::{Bounds, clamp};

/// How often to decide. Knative decides every 2 s; twice a second finds a burst half a second earlier on average.
/// Observations may be more frequent.
pub const TICK_MS: i64 = 500;

/// Observations closer together than this share one entry.
const GRAIN_MS: i64 = 1_000;
/// Bounds the memory: a stable window is at most an hour, as Knative's.
const MOST_ENTRIES: usize = 3_600;

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
    /// The load of one instance, in the measure's unit; above 0.
    pub target: f64,
    /// What the load is measured in.
    pub measure: Measure,
    /// The share of the target that is aimed at, above 0 to 1.
    pub utilization: f64,
    /// The window of ordinary decisions, an hour at most.
    pub stable_ms: i64,
    /// The window that finds bursts.
    pub panic_ms: i64,
    /// A burst is when so many times the ready instances are wanted.
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

/// The load seen so far, and whether there is a burst. Memory is bounded whatever comes in.
#[derive(Clone, Debug, Default)]
pub struct FastState {
    /// In order, without gaps between one's start and its end.
    loads: VecDeque<Load>,
    /// When the load was last more than nothing, or observing began.
    busy_ms: Option<i64>,
    /// The burst under way.
    burst: Option<Burst>,
    /// What was wanted lately, falling: the first one is the most of the delay.
    wanted: VecDeque<(i64, u32)>,
    decided: bool,
}

/// The average load from one time to another.
#[derive(Clone, Copy, Debug)]
struct Load {
    from_ms: i64,
    to_ms: i64,
    load: f64,
}

#[derive(Clone, Copy, Debug)]
struct Burst {
    /// When there was last reason for it.
    since_ms: i64,
    /// The most that it has asked for.
    most: u32,
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

    /// Instances for a load at the share of the target that is aimed at.
    fn instances(&self, load: f64) -> f64 {
        whole(load / (self.target * self.utilization))
    }

    /// Instances for a load at a full target.
    fn least(&self, load: f64) -> f64 {
        whole(load / self.target)
    }
}

/// Rounded up, but not for a rounding error; no number is none.
fn whole(instances: f64) -> f64 {
    (instances * (1.0 - 1e-9)).ceil().max(0.0)
}

impl FastState {
    /// Takes the load since the last observation: requests in flight on average, or requests × 60 ÷ seconds.
    /// Time that does not move forward, and a load that is no number, are ignored. After a first observation
    /// the load before it is unknown, not zero.
    pub fn observe(&mut self, now_ms: i64, load: f64) {
        if !load.is_finite() {
            return;
        }
        let load = load.max(0.0);
        let from_ms = self.loads.back().map_or(now_ms.saturating_sub(GRAIN_MS), |last| last.to_ms);
        if now_ms <= from_ms {
            return;
        }
        if load > 0.0 || self.busy_ms.is_none() {
            self.busy_ms = Some(now_ms);
        }
        match self.loads.back_mut() {
            Some(last) if now_ms.saturating_sub(last.from_ms) <= GRAIN_MS => {
                let old = last.to_ms.saturating_sub(last.from_ms) as f64;
                let new = now_ms.saturating_sub(from_ms) as f64;
                last.load = (last.load * old + load * new) / (old + new);
                last.to_ms = now_ms;
            }
            _ => {
                if self.loads.len() == MOST_ENTRIES {
                    self.loads.pop_front();
                }
                self.loads.push_back(Load { from_ms, to_ms: now_ms, load });
            }
        }
    }

    /// What to do at `now_ms` with `ready` instances serving and `capacity` wanted so far. Nothing is decided
    /// before the first observation.
    pub fn decide(
        &mut self,
        fast: &Fast,
        now_ms: i64,
        ready: u32,
        capacity: u32,
        bounds: Bounds,
    ) -> FastDecision {
        let Some(latest) = self.loads.back().map(|load| load.load) else {
            return FastDecision {
                capacity: clamp(capacity, bounds),
                panic: false,
                reason: String::new(),
            };
        };
        self.forget(now_ms.saturating_sub(fast.stable_ms.max(fast.panic_ms)));
        let stable = self.average(now_ms, fast.stable_ms);
        let panic = self.average(now_ms, fast.panic_ms);

        // One where there is none, so that "times the ready ones" means something.
        let base = f64::from(ready.max(1));
        let most = (fast.max_scale_up * base).ceil();
        let fewest = (f64::from(ready) / fast.max_scale_down).floor().min(most);
        let for_stable = cast(fast.instances(stable).max(fewest).min(most));
        let for_panic = cast(fast.instances(panic).max(fewest).min(most));

        let bursting = fast.instances(panic) / base >= fast.panic_threshold;
        self.burst(fast, now_ms, ready, bursting);
        let mut wanted = for_stable;
        if let Some(burst) = &mut self.burst {
            burst.most = burst.most.max(for_stable).max(for_panic);
            wanted = burst.most;
        }
        wanted = self.delayed(fast, now_ms, wanted);
        // One second is too short to add instances for, but not to keep them.
        let kept = match fast.measure {
            Measure::Concurrency => cast(fast.least(latest)).min(capacity),
            Measure::RequestsPerMinute => 0,
        };
        wanted = wanted.max(kept);
        if !self.idle(fast, now_ms) {
            wanted = wanted.max(capacity.min(1));
        }
        if fast.disable_scale_in {
            wanted = wanted.max(capacity);
        }
        let wanted = clamp(wanted, bounds);
        let reason = if wanted == capacity {
            String::new()
        } else {
            self.reason(fast, now_ms, wanted, [stable, panic])
        };
        FastDecision { capacity: wanted, panic: self.burst.is_some(), reason }
    }

    /// Drops what ended before `start_ms`, but not the newest.
    fn forget(&mut self, start_ms: i64) {
        while self.loads.len() > 1 && self.loads.front().is_some_and(|load| load.to_ms <= start_ms)
        {
            self.loads.pop_front();
        }
    }

    /// The average load over the last `window_ms`, or over as much of it as was observed.
    fn average(&self, now_ms: i64, window_ms: i64) -> f64 {
        let start_ms = now_ms.saturating_sub(window_ms.max(1));
        let (mut sum, mut observed_ms) = (0.0, 0.0);
        for load in self.loads.iter().rev() {
            if load.to_ms <= start_ms {
                break;
            }
            let ms = load.to_ms.saturating_sub(load.from_ms.max(start_ms)) as f64;
            sum += load.load * ms;
            observed_ms += ms;
        }
        if observed_ms > 0.0 { sum / observed_ms } else { 0.0 }
    }

    /// Begins, prolongs or ends the burst.
    fn burst(&mut self, fast: &Fast, now_ms: i64, ready: u32, bursting: bool) {
        // A new state has no history: what is there stays until a stable window has been seen.
        let fresh = !self.decided && ready > 1;
        self.decided = true;
        if bursting || fresh {
            let most = match &self.burst {
                Some(burst) => burst.most,
                None if fresh => ready,
                None => 0,
            };
            self.burst = Some(Burst { since_ms: now_ms, most });
        } else if self
            .burst
            .is_some_and(|burst| now_ms.saturating_sub(burst.since_ms) > fast.stable_ms)
        {
            self.burst = None;
        }
    }

    /// The most that was wanted within the delay.
    fn delayed(&mut self, fast: &Fast, now_ms: i64, wanted: u32) -> u32 {
        if fast.scale_down_delay_ms <= 0 {
            self.wanted.clear();
            return wanted;
        }
        let start_ms = now_ms.saturating_sub(fast.scale_down_delay_ms);
        while self.wanted.front().is_some_and(|(at_ms, _)| *at_ms <= start_ms) {
            self.wanted.pop_front();
        }
        while self.wanted.back().is_some_and(|(_, less)| *less <= wanted) {
            self.wanted.pop_back();
        }
        if self.wanted.len() == MOST_ENTRIES {
            self.wanted.pop_front();
        }
        self.wanted.push_back((now_ms, wanted));
        self.wanted.front().map_or(wanted, |(_, most)| *most)
    }

    /// Whether nothing has come for the stable window and the grace after it.
    fn idle(&self, fast: &Fast, now_ms: i64) -> bool {
        let wait_ms = fast.stable_ms.saturating_add(fast.grace_ms);
        self.busy_ms.is_some_and(|busy_ms| now_ms.saturating_sub(busy_ms) >= wait_ms)
    }

    fn reason(&self, fast: &Fast, now_ms: i64, wanted: u32, averages: [f64; 2]) -> String {
        let [stable, panic] = averages;
        let unit = match fast.measure {
            Measure::Concurrency => "requests in flight",
            Measure::RequestsPerMinute => "requests a minute",
        };
        let seconds = |ms: i64| ms as f64 / 1_000.0;
        if wanted == 0 {
            let idle_ms = now_ms.saturating_sub(self.busy_ms.unwrap_or(now_ms));
            return format!("no requests for {:.0} s", seconds(idle_ms));
        }
        let percent = fast.utilization * 100.0;
        let mode = if self.burst.is_some() { "burst" } else { "stable" };
        format!(
            "{mode}: on average {panic:.1} {unit} over {} s and {stable:.1} over {} s; one instance takes {}, \
             filled to {percent:.0} %",
            seconds(fast.panic_ms),
            seconds(fast.stable_ms),
            fast.target,
        )
    }
}

/// Casts saturate, and no number becomes 0.
fn cast(instances: f64) -> u32 {
    instances as u32
}

#[cfg(test)]
mod tests;

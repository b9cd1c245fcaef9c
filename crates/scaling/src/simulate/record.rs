//! What is kept of a run: counts, times, the timeline, activities and the bill.

use super::histogram::Histogram;
use super::{Activity, MOST_ACTIVITIES, Moment, Outcome, Scenario};

/// When a run is of no more interest to whoever searches. Without values nothing is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// It may cost so much.
    pub(crate) cost: f64,
    /// So many requests may be refused.
    pub(crate) throttled: u64,
    /// So many answers may take longer than so many seconds.
    pub(crate) late: [(f64, u64); 2],
}

impl Default for Limits {
    fn default() -> Self {
        Limits { cost: f64::INFINITY, throttled: u64::MAX, late: [(f64::INFINITY, u64::MAX); 2] }
    }
}

/// The counts of the present piece of the timeline.
#[derive(Debug, Default)]
struct Window {
    since: f64,
    arrived: u64,
    throttled: u64,
    in_flight_s: f64,
    working_s: f64,
}

/// What the run looks like at the end of a piece of the timeline.
#[derive(Debug, Clone, Copy)]
pub(super) struct Look {
    pub(super) now: f64,
    pub(super) desired: u32,
    pub(super) ready: u32,
    /// Request seconds since the start, and the part of them in work.
    pub(super) in_flight_s: f64,
    pub(super) working_s: f64,
}

#[derive(Debug)]
pub(super) struct Record {
    pub(super) arrived: u64,
    pub(super) throttled: u64,
    answered: u64,
    sum_s: f64,
    max_s: f64,
    late: [(f64, u64); 2],
    recent: Histogram,
    all: Histogram,
    window: Window,
    timeline: Vec<Moment>,
    pub(super) activities: Vec<Activity>,
    changes: u64,
    /// The bill: instances, since when, and seconds of instances until then.
    alive: u32,
    billed_until: f64,
    billed_s: f64,
    most_alive: u32,
    /// The places of all instances, for the utilization.
    concurrency: f64,
    duration_s: f64,
    hourly_price: f64,
}

impl Record {
    pub(super) fn new(scenario: &Scenario, limits: &Limits) -> Self {
        Record {
            arrived: 0,
            throttled: 0,
            answered: 0,
            sum_s: 0.0,
            max_s: 0.0,
            late: limits.late.map(|(longer_than, _)| (longer_than, 0)),
            recent: Histogram::new(),
            all: Histogram::new(),
            window: Window::default(),
            timeline: Vec::new(),
            activities: Vec::new(),
            changes: 0,
            alive: 0,
            billed_until: 0.0,
            billed_s: 0.0,
            most_alive: 0,
            concurrency: f64::from(scenario.instances.concurrency),
            duration_s: scenario.duration_s,
            hourly_price: scenario.hourly_price,
        }
    }

    #[inline]
    pub(super) fn answered(&mut self, seconds: f64) {
        self.answered += 1;
        self.sum_s += seconds;
        self.max_s = self.max_s.max(seconds);
        for (longer_than, count) in &mut self.late {
            *count += u64::from(seconds > *longer_than);
        }
        self.recent.record(seconds);
    }

    /// From now on `alive` instances cost.
    pub(super) fn alive(&mut self, now: f64, alive: u32) {
        let until = now.min(self.duration_s);
        self.billed_s += f64::from(self.alive) * (until - self.billed_until);
        self.billed_until = until;
        self.alive = alive;
        self.most_alive = self.most_alive.max(alive);
    }

    /// Notes a change; its number.
    pub(super) fn change(&mut self, activity: Activity) -> usize {
        self.changes += 1;
        if self.activities.len() < MOST_ACTIVITIES {
            self.activities.push(activity);
            return self.activities.len() - 1;
        }
        MOST_ACTIVITIES
    }

    /// Closes a piece of the timeline.
    pub(super) fn moment(&mut self, look: Look) {
        let window = &self.window;
        let length = look.now - window.since;
        if length > 0.0 {
            let [p50, p99] = self.recent.quantiles([0.5, 0.99]);
            let working = (look.working_s - window.working_s) / length;
            let in_flight = (look.in_flight_s - window.in_flight_s) / length;
            self.timeline.push(Moment {
                at_s: window.since,
                rps: (self.arrived - window.arrived) as f64 / length,
                desired: look.desired,
                ready: look.ready,
                in_flight,
                // The difference of two sums may be a hair below nothing.
                waiting: (in_flight - working).max(0.0),
                p50_ms: p50 * 1e3,
                p99_ms: p99 * 1e3,
                throttled: self.throttled - window.throttled,
            });
        }
        self.recent.pour_into(&mut self.all);
        self.window = Window {
            since: look.now,
            arrived: self.arrived,
            throttled: self.throttled,
            in_flight_s: look.in_flight_s,
            working_s: look.working_s,
        };
    }

    /// Whether a limit is exceeded already.
    pub(super) fn exceeds(&self, now: f64, limits: &Limits) -> bool {
        let late = self.late.iter().zip(&limits.late).any(|((_, count), (_, most))| count > most);
        late || self.throttled > limits.throttled || self.cost(now) > limits.cost
    }

    fn cost(&self, now: f64) -> f64 {
        let running = f64::from(self.alive) * (now.min(self.duration_s) - self.billed_until);
        (self.billed_s + running) / 3600.0 * self.hourly_price
    }

    /// `working_s`: request seconds in work until the end of the duration.
    pub(super) fn outcome(mut self, working_s: f64) -> Outcome {
        self.alive(self.duration_s, 0);
        self.recent.pour_into(&mut self.all);
        let [p50, p95, p99] = self.all.quantiles([0.5, 0.95, 0.99]);
        // The middle of a step may lie beyond the longest time there was.
        let ms = |seconds: f64| seconds.min(self.max_s) * 1e3;
        let per = |part: f64, whole: f64| if whole > 0.0 { part / whole } else { 0.0 };
        Outcome {
            requests: self.arrived,
            answered: self.answered,
            throttled: self.throttled,
            unanswered: self.arrived - self.answered - self.throttled,
            p50_ms: ms(p50),
            p95_ms: ms(p95),
            p99_ms: ms(p99),
            max_ms: self.max_s * 1e3,
            mean_ms: per(self.sum_s * 1e3, self.answered as f64),
            instance_hours: self.billed_s / 3600.0,
            cost: self.billed_s / 3600.0 * self.hourly_price,
            most_instances: self.most_alive,
            utilization: per(working_s, self.billed_s * self.concurrency),
            timeline: self.timeline,
            activities: self.activities,
            changes: self.changes,
        }
    }
}

//! The run: three kinds of events, always the earliest next.
//!
//! Arrivals come from the trace, answers from a heap of what is being worked on, and everything else
//! (instances that are ready, decisions, pieces of the timeline, the end) is rare. Per request that is one
//! arrival, one entry of the heap and a few additions; nothing else grows with the load.

use std::cmp::Ordering;
use std::collections::{BinaryHeap, VecDeque};

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use super::fleet::{Fleet, Request};
use super::policies::{Load, Policies, Wanted};
use super::record::{Limits, Look, Record};
use super::{Activity, Outcome, Scenario};
use crate::trace::Arrivals;

/// How long after the end answers are waited for.
const DRAIN_S: f64 = 900.0;

/// The generator's stream of service times; arrivals are stream 0, so that neither depends on how many of
/// the other were drawn.
const SERVICE_STREAM: u64 = 1;

/// A request in work. The heap's greatest is the one that ends first.
#[derive(Debug)]
struct Work {
    /// When it ends on the clock of work, as the bits of a number that is not negative: they sort alike.
    ends: u64,
    arrival: f64,
    place: u32,
}

impl Work {
    fn new(ends: f64, arrival: f64, place: u32) -> Self {
        Work { ends: ends.max(0.0).to_bits(), arrival, place }
    }

    fn ends(&self) -> f64 {
        f64::from_bits(self.ends)
    }
}

impl PartialEq for Work {
    fn eq(&self, other: &Self) -> bool {
        self.ends == other.ends
    }
}
impl Eq for Work {}
impl PartialOrd for Work {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Work {
    fn cmp(&self, other: &Self) -> Ordering {
        other.ends.cmp(&self.ends)
    }
}

/// The clock of work: as fast as the real one while there are cores enough, slower by a factor while not.
#[derive(Debug)]
struct Clock {
    cores: f64,
    /// A moment on both clocks, since when the factor is the present one.
    real: f64,
    work: f64,
    /// Real seconds for one second of work, at least 1.
    slow: f64,
}

impl Clock {
    #[inline]
    fn work_at(&self, real: f64) -> f64 {
        self.work + (real - self.real) / self.slow
    }

    #[inline]
    fn real_at(&self, work: f64) -> f64 {
        self.real + (work - self.work) * self.slow
    }

    /// From `real` on, `work` on this clock, so many requests are in work.
    #[inline]
    fn share(&mut self, real: f64, work: f64, working: u32) {
        let slow = (f64::from(working) / self.cores).max(1.0);
        if slow != self.slow {
            (self.real, self.work, self.slow) = (real, work, slow);
        }
    }
}

struct Engine<'a> {
    scenario: &'a Scenario,
    now: f64,
    clock: Clock,
    working: u32,
    agenda: BinaryHeap<Work>,
    fleet: Fleet,
    held: VecDeque<Request>,
    /// Requests without an answer yet.
    present: u32,
    desired: u32,
    /// 1 / the instances that get requests.
    per_instance: f64,
    load: Load,
    /// How much of `load.in_flight_s` is in `load.in_flight_per_instance_s` already.
    shared_out_s: f64,
    working_s: f64,
    /// `working_s` when the duration was over.
    working_until_end_s: f64,
    policies: Policies<'a>,
    record: Record,
    /// When the present piece of the timeline ends; infinite after the end.
    piece_ends: f64,
    pieces: f64,
    /// No request comes any more.
    over: bool,
}

/// Plays a scenario that was checked; `None` when a limit is exceeded.
pub(super) fn run(scenario: &Scenario, limits: &Limits) -> Option<Outcome> {
    Engine::new(scenario, limits).run(limits)
}

impl<'a> Engine<'a> {
    fn new(scenario: &'a Scenario, limits: &Limits) -> Self {
        let instances = &scenario.instances;
        let room = instances.concurrency as usize + instances.queue as usize;
        let cores = instances.cores.unwrap_or(f64::INFINITY);
        let mut engine = Engine {
            scenario,
            now: 0.0,
            clock: Clock { cores, real: 0.0, work: 0.0, slow: 1.0 },
            working: 0,
            agenda: BinaryHeap::new(),
            fleet: Fleet::new(room),
            held: VecDeque::new(),
            present: 0,
            desired: scenario.initial,
            per_instance: 1.0,
            load: Load::default(),
            shared_out_s: 0.0,
            working_s: 0.0,
            working_until_end_s: 0.0,
            policies: Policies::new(&scenario.scaling),
            record: Record::new(scenario, limits),
            piece_ends: scenario.bucket_s.min(scenario.duration_s),
            pieces: 1.0,
            over: false,
        };
        for _ in 0..scenario.initial {
            engine.fleet.start(0.0, usize::MAX);
            engine.fleet.one_is_ready();
        }
        engine.counts_changed();
        engine
    }

    fn run(mut self, limits: &Limits) -> Option<Outcome> {
        let scenario = self.scenario;
        let mut arrivals = Arrivals::new(&scenario.trace, scenario.duration_s, scenario.seed);
        let mut random = ChaCha8Rng::seed_from_u64(scenario.seed);
        random.set_stream(SERVICE_STREAM);
        let mut arrival = arrivals.draw();
        let mut other = self.next_other();
        loop {
            let answer = match self.agenda.peek() {
                Some(work) => self.clock.real_at(work.ends()),
                None => f64::INFINITY,
            };
            if self.over && (self.present == 0 || other.min(answer) > scenario.duration_s + DRAIN_S)
            {
                break;
            }
            if other <= answer && other <= arrival {
                self.advance(other);
                self.other();
                other = self.next_other();
                if self.record.exceeds(self.now, limits) {
                    return None;
                }
            } else if answer <= arrival {
                // Rounding may put an answer a hair before the event that changed the speed.
                self.advance(answer.max(self.now));
                self.answer();
            } else {
                self.advance(arrival);
                self.arrive(Request { arrival, service: scenario.service.draw(random.next_u64()) });
                arrival = arrivals.draw();
            }
        }
        if self.record.exceeds(self.now, limits) {
            return None;
        }
        Some(self.record.outcome(self.working_until_end_s))
    }

    #[inline]
    fn advance(&mut self, to: f64) {
        let passed = to - self.now;
        self.load.in_flight_s += f64::from(self.present) * passed;
        self.working_s += f64::from(self.working) * passed;
        self.now = to;
    }

    #[inline]
    fn arrive(&mut self, request: Request) {
        self.record.arrived += 1;
        self.load.arrived += 1;
        self.load.arrived_per_instance += self.per_instance;
        if let Some((place, load)) = self.fleet.admit() {
            self.present += 1;
            self.begin(place, load, request);
        } else if self.fleet.ready() == 0 && self.held.len() < self.scenario.hold as usize {
            self.present += 1;
            self.held.push_back(request);
        } else {
            self.record.throttled += 1;
        }
    }

    /// A request is at an instance that has `load` with it.
    #[inline]
    fn begin(&mut self, place: u32, load: u32, request: Request) {
        if load > self.scenario.instances.concurrency {
            self.fleet.wait(place, request);
            return;
        }
        let work = self.clock.work_at(self.now);
        self.agenda.push(Work::new(work + request.service, request.arrival, place));
        self.working += 1;
        self.clock.share(self.now, work, self.working);
    }

    #[inline]
    fn answer(&mut self) {
        let Some(mut first) = self.agenda.peek_mut() else { return };
        let (ends, place) = (first.ends(), first.place);
        self.record.answered(self.now - first.arrival);
        self.present -= 1;
        let (next, ended) = self.fleet.answered(place);
        if let Some(next) = next {
            // As many work as before: one way through the heap does for both.
            *first = Work::new(ends + next.service, next.arrival, place);
            drop(first);
        } else {
            std::collections::binary_heap::PeekMut::pop(first);
            self.working -= 1;
            self.clock.share(self.now, ends, self.working);
        }
        if ended {
            self.counts_changed();
        }
        if !self.held.is_empty() {
            self.release();
        }
    }

    /// Gives those that wait for an instance to instances, as long as there is room.
    fn release(&mut self) {
        while !self.held.is_empty()
            && let Some((place, load)) = self.fleet.admit()
        {
            if let Some(request) = self.held.pop_front() {
                self.begin(place, load, request);
            }
        }
    }

    /// When something else than an arrival or an answer happens next.
    fn next_other(&self) -> f64 {
        self.piece_ends.min(self.fleet.next_ready()).min(self.policies.next())
    }

    /// Does what is due now; at the same time the timeline comes first, then instances, then decisions.
    fn other(&mut self) {
        let scenario = self.scenario;
        if self.piece_ends <= self.now {
            self.record.moment(Look {
                now: self.now,
                desired: self.desired,
                ready: self.fleet.ready(),
                in_flight_s: self.load.in_flight_s,
                working_s: self.working_s,
            });
            self.over = self.now >= scenario.duration_s;
            self.pieces += 1.0;
            // A product does not drift as a sum would.
            self.piece_ends = (self.pieces * scenario.bucket_s).min(scenario.duration_s);
            if self.over {
                self.working_until_end_s = self.working_s;
                self.piece_ends = f64::INFINITY;
            }
        } else if self.fleet.next_ready() <= self.now {
            let activity = self.fleet.one_is_ready();
            if let Some(activity) =
                activity.and_then(|number| self.record.activities.get_mut(number))
            {
                activity.ready_at_s = Some(self.now);
            }
            self.counts_changed();
            if self.fleet.next_ready() == f64::INFINITY {
                self.policies.completed(self.now);
            }
            self.release();
        } else if self.policies.next() <= self.now {
            self.share_out();
            let ready = self.fleet.ready();
            let wanted = self.policies.decide(&self.load, ready, self.desired, scenario.bounds);
            if let Some(wanted) = wanted {
                self.resize(wanted);
            }
        }
    }

    fn resize(&mut self, wanted: Wanted) {
        let Wanted { capacity, reason } = wanted;
        let activity = self.record.change(Activity {
            at_s: self.now,
            from: self.desired,
            to: capacity,
            ready_at_s: None,
            reason,
        });
        self.desired = capacity;
        let there = self.fleet.wanted();
        let ready_at = self.now + self.scenario.instances.start_ms / 1e3;
        for _ in there..capacity {
            self.fleet.start(ready_at, activity);
        }
        self.fleet.stop(there.saturating_sub(capacity));
        self.counts_changed();
    }

    /// Instances were started, became ready or ended.
    fn counts_changed(&mut self) {
        self.share_out();
        self.per_instance = 1.0 / f64::from(self.fleet.ready().max(1));
        self.record.alive(self.now, self.fleet.alive());
    }

    /// Divides the request seconds since the last call by the instances of that time.
    fn share_out(&mut self) {
        let new = self.load.in_flight_s - self.shared_out_s;
        self.load.in_flight_per_instance_s += new * self.per_instance;
        self.shared_out_s = self.load.in_flight_s;
    }
}

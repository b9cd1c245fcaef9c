//! The instances: who has how many requests, who gets the next one, who starts and who ends.
//!
//! Those that get requests hang in one ring for each number of requests. The next request goes to the
//! front of the lowest ring that has any, and moves it to the end of the ring above: least outstanding, in
//! turn among equals, at the same price for two instances and for thousands.

use std::collections::VecDeque;

/// No instance.
const NONE: u32 = u32::MAX;

/// A request on its way.
#[derive(Debug, Clone, Copy)]
pub(super) struct Request {
    /// When it came.
    pub(super) arrival: f64,
    /// How long it takes alone, in seconds.
    pub(super) service: f64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Starting,
    Ready,
    /// Gets no more requests, finishes its own.
    Draining,
    Gone,
}

#[derive(Debug)]
struct Instance {
    state: State,
    /// Requests it has, those that wait included.
    load: u32,
    /// Neighbours in the ring.
    next: u32,
    before: u32,
    /// Which activity started it.
    activity: usize,
    /// Ascending with age.
    number: u64,
    waiting: VecDeque<Request>,
}

#[derive(Debug, Clone, Copy)]
struct Ring {
    first: u32,
    last: u32,
}

/// All instances.
#[derive(Debug)]
pub(super) struct Fleet {
    instances: Vec<Instance>,
    /// Places of instances that are gone.
    gone: Vec<u32>,
    /// By load, 0 to `room`.
    rings: Vec<Ring>,
    /// INVARIANT: no ring below this one has an instance.
    least: usize,
    /// Requests that an instance may have.
    room: usize,
    /// When the starting ones are ready; all take equally long.
    starting: VecDeque<(f64, u32)>,
    ready: u32,
    draining: u32,
    started: u64,
}

impl Fleet {
    /// Without instances; each may have `room` requests.
    pub(super) fn new(room: usize) -> Self {
        Fleet {
            instances: Vec::new(),
            gone: Vec::new(),
            rings: vec![Ring { first: NONE, last: NONE }; room + 1],
            least: room,
            room,
            starting: VecDeque::new(),
            ready: 0,
            draining: 0,
            started: 0,
        }
    }

    /// Instances that get requests.
    pub(super) fn ready(&self) -> u32 {
        self.ready
    }

    /// Instances that get requests or will.
    pub(super) fn wanted(&self) -> u32 {
        self.ready + self.starting.len() as u32
    }

    /// Instances that cost.
    pub(super) fn alive(&self) -> u32 {
        self.wanted() + self.draining
    }

    /// When the next starting instance is ready; infinite when none starts.
    pub(super) fn next_ready(&self) -> f64 {
        self.starting.front().map_or(f64::INFINITY, |(at, _)| *at)
    }

    /// A new instance that is ready at `ready_at`, which is not before those that start already.
    pub(super) fn start(&mut self, ready_at: f64, activity: usize) {
        self.started += 1;
        let new = Instance {
            state: State::Starting,
            load: 0,
            next: NONE,
            before: NONE,
            activity,
            number: self.started,
            waiting: VecDeque::new(),
        };
        let place = match self.gone.pop() {
            Some(place) => {
                if let Some(old) = self.instances.get_mut(place as usize) {
                    *old = new;
                }
                place
            }
            None => {
                self.instances.push(new);
                (self.instances.len() - 1) as u32
            }
        };
        self.starting.push_back((ready_at, place));
    }

    /// The first of the starting ones is ready; answers the activity that started it.
    pub(super) fn one_is_ready(&mut self) -> Option<usize> {
        let (_, place) = self.starting.pop_front()?;
        let instance = self.instances.get_mut(place as usize)?;
        instance.state = State::Ready;
        let activity = instance.activity;
        self.ready += 1;
        self.join(place, 0);
        Some(activity)
    }

    /// Ends `count` instances: those that start, the youngest first, then those with the fewest requests,
    /// again the youngest first.
    pub(super) fn stop(&mut self, count: u32) {
        let mut left = count as usize;
        while left > 0
            && let Some((_, place)) = self.starting.pop_back()
        {
            self.end(place);
            left -= 1;
        }
        if left == 0 {
            return;
        }
        let mut ready: Vec<(u32, std::cmp::Reverse<u64>, u32)> = (0..)
            .zip(&self.instances)
            .filter(|(_, instance)| instance.state == State::Ready)
            .map(|(place, instance)| (instance.load, std::cmp::Reverse(instance.number), place))
            .collect();
        ready.sort_unstable();
        for (load, _, place) in ready.into_iter().take(left) {
            self.leave(place, load as usize);
            self.ready -= 1;
            if load == 0 {
                self.end(place);
            } else if let Some(instance) = self.instances.get_mut(place as usize) {
                instance.state = State::Draining;
                self.draining += 1;
            }
        }
        while self.least < self.room && self.rings.get(self.least).is_some_and(|r| r.first == NONE)
        {
            self.least += 1;
        }
    }

    /// Gives a request to the instance with the fewest: its place and its requests with this one. `None`
    /// when there is none or all are full.
    #[inline]
    pub(super) fn admit(&mut self) -> Option<(u32, u32)> {
        let level = self.least;
        if level == self.room {
            return None;
        }
        let place = self.rings.get(level)?.first;
        self.leave(place, level);
        if self.rings.get(level)?.first == NONE {
            self.least = level + 1;
        }
        self.join_end(place, level + 1);
        let instance = self.instances.get_mut(place as usize)?;
        instance.load += 1;
        Some((place, instance.load))
    }

    /// Lets a request wait at an instance.
    #[inline]
    pub(super) fn wait(&mut self, place: u32, request: Request) {
        if let Some(instance) = self.instances.get_mut(place as usize) {
            instance.waiting.push_back(request);
        }
    }

    /// An instance has answered a request: the one that it takes up next, and whether the instance has
    /// thereby ended.
    #[inline]
    pub(super) fn answered(&mut self, place: u32) -> (Option<Request>, bool) {
        let Some(instance) = self.instances.get_mut(place as usize) else { return (None, false) };
        let next = instance.waiting.pop_front();
        let level = instance.load as usize;
        instance.load -= 1;
        if instance.state == State::Ready {
            self.leave(place, level);
            self.join(place, level - 1);
            // The ring that was left may have been the lowest; the new one is lower.
            return (next, false);
        }
        let over = instance.load == 0;
        if over {
            self.draining -= 1;
            self.end(place);
        }
        (next, over)
    }

    fn end(&mut self, place: u32) {
        if let Some(instance) = self.instances.get_mut(place as usize) {
            instance.state = State::Gone;
            instance.waiting = VecDeque::new();
            self.gone.push(place);
        }
    }

    #[inline]
    fn join(&mut self, place: u32, level: usize) {
        self.join_end(place, level);
        self.least = self.least.min(level);
    }

    #[inline]
    fn join_end(&mut self, place: u32, level: usize) {
        let Some(ring) = self.rings.get_mut(level) else { return };
        let last = ring.last;
        ring.last = place;
        match self.instances.get_mut(last as usize) {
            Some(before) => before.next = place,
            None => ring.first = place,
        }
        if let Some(instance) = self.instances.get_mut(place as usize) {
            instance.before = last;
            instance.next = NONE;
        }
    }

    #[inline]
    fn leave(&mut self, place: u32, level: usize) {
        let Some(ring) = self.rings.get_mut(level) else { return };
        let Some(instance) = self.instances.get(place as usize) else { return };
        let (before, next) = (instance.before, instance.next);
        match self.instances.get_mut(before as usize) {
            Some(other) => other.next = next,
            None => ring.first = next,
        }
        match self.instances.get_mut(next as usize) {
            Some(other) => other.before = before,
            None => ring.last = before,
        }
    }
}

#[cfg(test)]
impl Fleet {
    /// Which instances finish their requests and get no more.
    pub(super) fn draining_places(&self) -> Vec<u32> {
        (0..)
            .zip(&self.instances)
            .filter(|(_, instance)| instance.state == State::Draining)
            .map(|(place, _)| place)
            .collect()
    }
}

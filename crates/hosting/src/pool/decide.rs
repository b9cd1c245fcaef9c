//! What a pool does next, as a pure function of what is and what should be.

/// One instance as the pool sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) generation: u64,
    pub(super) number: u64,
    pub(super) ready: bool,
    pub(super) load: usize,
}

/// What to do; instances by number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Decision {
    /// Instances of the wanted generation to start.
    pub(super) start: usize,
    /// Instances to drain and end.
    pub(super) stop: Vec<u64>,
    /// Instances that requests go to.
    pub(super) route: Vec<u64>,
    /// The generation that is in service from now on.
    pub(super) serving: Option<u64>,
}

/// Compares `seen` with `count` instances of `generation`, while `serving` is in service.
pub(super) fn decide(
    seen: &[Seen],
    generation: u64,
    count: usize,
    serving: Option<u64>,
) -> Decision {
    let mut wanted: Vec<&Seen> = seen.iter().filter(|s| s.generation == generation).collect();
    // Those that can best be spared come last: not ready, then idle, then young.
    wanted.sort_by_key(|s| (!s.ready, std::cmp::Reverse(s.load), s.number));
    let spared = wanted.split_off(count.min(wanted.len()));
    let start = count - wanted.len();
    let mut stop: Vec<u64> = spared.iter().map(|s| s.number).collect();
    let ready =
        |of: &[&Seen]| -> Vec<u64> { of.iter().filter(|s| s.ready).map(|s| s.number).collect() };
    let mut route = ready(&wanted);
    let complete = route.len() == count;
    let others = seen.iter().filter(|s| s.generation != generation);
    if complete || serving == Some(generation) {
        stop.extend(others.map(|s| s.number));
        return Decision { start, stop, route, serving: Some(generation) };
    }
    // A change is under way: what served before goes on until all new instances are ready.
    let (old, stale): (Vec<&Seen>, Vec<&Seen>) =
        others.partition(|s| Some(s.generation) == serving);
    stop.extend(stale.iter().map(|s| s.number));
    let old_ready = ready(&old);
    if !old_ready.is_empty() {
        route = old_ready;
    }
    Decision { start, stop, route, serving }
}

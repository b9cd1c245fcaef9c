//! Tests of `fast`.

use proptest::prelude::*;

use super::*;

const SECOND_MS: i64 = 1_000;
const BOUNDS: Bounds = Bounds { min: 0, max: 1_000 };

/// A variant under a load, observed and decided on every second; its instances are ready after a second.
struct Run {
    fast: Fast,
    bounds: Bounds,
    state: FastState,
    now_ms: i64,
    ready: u32,
    capacity: u32,
}

impl Run {
    fn new(fast: Fast, capacity: u32) -> Self {
        let state = FastState::default();
        Self { fast, bounds: BOUNDS, state, now_ms: 1_000_000, ready: capacity, capacity }
    }

    fn second(&mut self, load: f64) -> FastDecision {
        self.ready = self.capacity;
        self.now_ms += SECOND_MS;
        self.state.observe(self.now_ms, load);
        let decision =
            self.state.decide(&self.fast, self.now_ms, self.ready, self.capacity, self.bounds);
        assert_eq!(decision.reason.is_empty(), decision.capacity == self.capacity);
        self.capacity = decision.capacity;
        decision
    }

    /// The decision after so many seconds of the same load.
    fn seconds(&mut self, count: usize, load: f64) -> FastDecision {
        (0..count).map(|_| self.second(load)).last().unwrap()
    }
}

fn concurrency(target: f64) -> Fast {
    Fast::new(target, Measure::Concurrency)
}

/// Knative's rule, instances = load ÷ (target × 70 %), with the numbers of its integrators:
/// <https://www.alibabacloud.com/help/en/ack/ack-managed-and-ack-dedicated/user-guide/enable-automatic-scaling-for-pods-based-on-the-number-of-requests/>,
/// "100 / (10 × 0.7) = 15".
#[test]
fn instances_for_a_steady_load() {
    let per_minute = Fast::new(70.0, Measure::RequestsPerMinute);
    for (fast, load, expected) in [
        (concurrency(10.0), 100.0, 15),
        (concurrency(1.0), 0.7, 1),
        (concurrency(1.0), 0.71, 2),
        (concurrency(1.0), 0.001, 1),
        (per_minute, 70.0, 1),
        (per_minute, 71.0, 2),
        (per_minute, 700.0, 10),
    ] {
        let mut run = Run::new(fast, 1);
        assert_eq!(run.seconds(120, load).capacity, expected, "{load} on {fast:?}");
    }
}

#[test]
fn a_burst_is_answered_within_a_second_and_kept_for_a_minute() {
    let mut run = Run::new(concurrency(2.0), 1);
    assert!(!run.seconds(60, 1.0).panic);
    // Ten times the load: after one second a sixth of the short window is full of it.
    let decision = run.second(10.0);
    assert!(decision.panic);
    assert_eq!(decision.capacity, 2);
    assert_eq!(
        decision.reason,
        "burst: on average 2.5 requests in flight over 6 s and 1.1 over 60 s; one instance takes 2, filled to \
         70 %"
    );
    assert_eq!(run.seconds(5, 10.0).capacity, 8);
    // Back again: nothing is taken away for a minute after the last second that looked like a burst, then at
    // most half at a time.
    for _ in 0..55 {
        assert_eq!(run.second(1.0).capacity, 8);
    }
    let rest: Vec<u32> = (0..20).map(|_| run.second(1.0).capacity).collect();
    assert!(rest.windows(2).all(|pair| pair[1] <= pair[0] && pair[1] >= pair[0] / 2), "{rest:?}");
    assert_eq!(rest.last(), Some(&1));
}

#[test]
fn zero_only_after_the_stable_window_and_the_grace() {
    let mut run = Run::new(concurrency(1.0), 1);
    run.seconds(10, 0.5);
    for second in 1..90 {
        assert_eq!(run.second(0.0).capacity, 1, "after {second} s");
    }
    let last = run.second(0.0);
    assert_eq!((last.capacity, last.reason.as_str()), (0, "no requests for 90 s"));
    // A short request wakes it: one tenth of a second of one request.
    assert_eq!(run.second(0.1).capacity, 1);

    // With a minimum of one it stays.
    let mut run = Run { bounds: Bounds { min: 1, max: 5 }, ..Run::new(concurrency(1.0), 1) };
    run.second(0.5);
    assert_eq!(run.seconds(1_000, 0.0).capacity, 1);
    // What is at zero is not woken by nothing, as after a restart of the platform.
    let mut run = Run::new(concurrency(1.0), 0);
    assert_eq!(run.seconds(100, 0.0).capacity, 0);
}

#[test]
fn without_an_observation_nothing_is_decided() {
    let mut state = FastState::default();
    let decision = state.decide(&concurrency(1.0), 0, 3, 3, BOUNDS);
    assert_eq!(decision, FastDecision { capacity: 3, panic: false, reason: String::new() });
    state.observe(0, f64::NAN);
    assert_eq!(state.decide(&concurrency(1.0), 0, 3, 3, BOUNDS).capacity, 3);
}

#[test]
fn after_a_restart_what_is_there_stays_for_a_stable_window() {
    let mut run = Run::new(concurrency(1.0), 6);
    for second in 1..=60 {
        assert_eq!(run.second(0.5).capacity, 6, "after {second} s");
    }
    assert_eq!(run.seconds(10, 0.5).capacity, 1);
}

#[test]
fn fewer_instances_are_held_for_the_delay_or_for_good() {
    let delay = Fast { scale_down_delay_ms: 120_000, ..concurrency(1.0) };
    let never = Fast { disable_scale_in: true, ..concurrency(1.0) };
    for (fast, after_100_s, at_last) in [(concurrency(1.0), 1, 1), (delay, 4, 1), (never, 4, 4)] {
        let mut run = Run::new(fast, 1);
        assert_eq!(run.seconds(120, 2.8).capacity, 4);
        assert_eq!(run.seconds(100, 0.5).capacity, after_100_s, "{fast:?}");
        assert_eq!(run.seconds(200, 0.5).capacity, at_last, "{fast:?}");
    }
}

#[test]
fn a_limit_on_growth_still_lets_one_more() {
    // Knative: "if the scale up rate is too conservative … this permits us to grow at least by a single pod".
    let mut run = Run::new(Fast { max_scale_up: 1.1, ..concurrency(1.0) }, 2);
    let capacities: Vec<u32> = (0..4).map(|_| run.second(70.0).capacity).collect();
    assert_eq!(capacities, [3, 4, 5, 6]);
}

#[test]
fn frequent_observations_are_averaged_by_time() {
    let mut often = FastState::default();
    let mut seldom = FastState::default();
    let fast = concurrency(1.0);
    for tick in 1..=600 {
        let now_ms = tick * 100;
        // Seven tenths of each second busy with 10.
        often.observe(now_ms, if tick % 10 < 7 { 10.0 } else { 0.0 });
        if tick % 10 == 0 {
            seldom.observe(now_ms, 7.0);
        }
    }
    for state in [&mut often, &mut seldom] {
        assert_eq!(state.decide(&fast, 60_000, 10, 10, BOUNDS).capacity, 10);
    }
    assert!(often.loads.len() <= 61, "{}", often.loads.len());
}

#[test]
fn memory_is_bounded() {
    let mut state = FastState::default();
    let fast = Fast { stable_ms: i64::MAX, scale_down_delay_ms: i64::MAX, ..concurrency(1.0) };
    for second in 0..20_000_i64 {
        state.observe(second * 1_000, 20_000.0 - second as f64);
        if second % 7 == 0 {
            state.decide(&fast, second * 1_000, 1, 1, BOUNDS);
        }
    }
    assert!(state.loads.len() <= MOST_ENTRIES && state.wanted.len() <= MOST_ENTRIES);
}

fn any_fast() -> impl Strategy<Value = Fast> {
    (
        0.1_f64..20.0,
        any::<bool>(),
        prop::sample::select(vec![0_i64, 0, 5_000, 40_000]),
        prop::sample::select(vec![1_000.0, 10.0, 1.5]),
    )
        .prop_map(|(target, rate, scale_down_delay_ms, max_scale_up)| Fast {
            scale_down_delay_ms,
            max_scale_up,
            ..Fast::new(
                target,
                if rate { Measure::RequestsPerMinute } else { Measure::Concurrency },
            )
        })
}

/// Loads, each for some seconds, with quiet times and bursts.
fn any_loads() -> impl Strategy<Value = Vec<(f64, usize)>> {
    let load = prop_oneof![Just(0.0), 0.0_f64..3.0, 0.0_f64..300.0];
    prop::collection::vec((load, 1_usize..120), 1..6)
}

proptest! {
    #[test]
    fn always_within_bounds_and_enough_for_what_is_in_flight(
        fast in any_fast(),
        loads in any_loads(),
        (min, max) in (0_u32..4).prop_flat_map(|min| (Just(min), min.max(1)..50)),
        start in 0_u32..10,
    ) {
        let mut run = Run { bounds: Bounds { min, max }, ..Run::new(fast, start) };
        let mut quiet_s = 0;
        for (load, seconds) in loads {
            for _ in 0..seconds {
                let before = run.capacity;
                quiet_s = if load > 0.0 { 0 } else { quiet_s + 1 };
                let capacity = run.second(load).capacity;
                prop_assert!(min <= capacity && capacity <= max);
                if fast.measure == Measure::Concurrency {
                    let needed = (load / fast.target * (1.0 - 1e-9)).ceil() as u32;
                    prop_assert!(capacity >= needed.min(before).min(max));
                }
                if capacity == 0 && before > 0 {
                    prop_assert!(min == 0 && quiet_s >= 90, "zero after {quiet_s} s");
                }
            }
        }
    }

    #[test]
    fn equal_input_gives_equal_decisions(fast in any_fast(), loads in any_loads()) {
        let mut run = Run::new(fast, 1);
        for (load, seconds) in loads {
            let decision = run.seconds(seconds, load);
            // Asking again within the same moment changes nothing.
            let mut again = run.state.clone();
            let next = again.decide(&fast, run.now_ms, run.ready, run.capacity, run.bounds);
            prop_assert_eq!(next.capacity, decision.capacity);
            prop_assert_eq!(next.panic, decision.panic);
        }
    }

    /// Two variants with the same instances: the one with more load never gets fewer.
    #[test]
    fn monotone_in_load(
        fast in any_fast(),
        loads in any_loads(),
        more in prop::collection::vec(0.0_f64..50.0, 6),
        ready in 0_u32..20,
    ) {
        let (mut less_state, mut more_state) = (FastState::default(), FastState::default());
        let mut now_ms = 0;
        for ((load, seconds), more) in loads.into_iter().zip(more) {
            for _ in 0..seconds {
                now_ms += SECOND_MS;
                less_state.observe(now_ms, load);
                more_state.observe(now_ms, load + more);
                let less = less_state.decide(&fast, now_ms, ready, ready, BOUNDS);
                let more = more_state.decide(&fast, now_ms, ready, ready, BOUNDS);
                prop_assert!(more.capacity >= less.capacity, "{more:?} {less:?}");
                prop_assert!(more.panic || !less.panic);
            }
        }
    }

    #[test]
    fn whatever_comes_in_nothing_panics(
        target in any::<f64>(),
        utilization in any::<f64>(),
        observations in prop::collection::vec((any::<i64>(), any::<f64>()), 0..20),
        rates in any::<(f64, f64, f64)>(),
        windows in any::<(i64, i64, i64, i64)>(),
        (ready, capacity) in any::<(u32, u32)>(),
    ) {
        let fast = Fast {
            target,
            utilization,
            panic_threshold: rates.0,
            max_scale_up: rates.1,
            max_scale_down: rates.2,
            stable_ms: windows.0,
            panic_ms: windows.1,
            scale_down_delay_ms: windows.2,
            grace_ms: windows.3,
            ..concurrency(1.0)
        };
        let mut state = FastState::default();
        for (now_ms, load) in observations {
            state.observe(now_ms, load);
            let capacity = state.decide(&fast, now_ms, ready, capacity, BOUNDS).capacity;
            prop_assert!(capacity <= BOUNDS.max);
        }
    }
}

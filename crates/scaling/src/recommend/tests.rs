use super::*;
use crate::simulate::{Instances, ServiceTimes, simulate};
use crate::trace::Trace;

/// A busy half hour in two: 60 requests a second need three instances, 6 need one.
fn day() -> Scenario {
    Scenario {
        trace: Trace::Step { low_rps: 6.0, high_rps: 60.0, at_s: 1_800.0, until_s: Some(3_600.0) },
        duration_s: 7_200.0,
        service: ServiceTimes::lognormal(40.0, 90.0).unwrap(),
        instances: Instances { start_ms: 3_000.0, concurrency: 1, queue: 63, cores: None },
        scaling: Scaling::None,
        bounds: Bounds { min: 1, max: 1 },
        initial: 1,
        hold: 0,
        seed: 3,
        hourly_price: 8.0,
        bucket_s: 1.0,
    }
}

fn goal() -> Goal {
    Goal { p99_ms: Some(600.0), p95_ms: None, throttled_share: 0.005 }
}

fn fast() -> Search<'static> {
    Search { modes: vec![Mode::Fast], most: 12, simulations: 60, ..Search::default() }
}

#[test]
fn scaling_is_found_cheaper_than_a_fixed_count_and_meets_the_goal() {
    let candidates = recommend(&day(), &goal(), &fast()).unwrap();
    let best = &candidates[0];
    assert!(best.meets);
    assert!(matches!(best.scaling, Scaling::Fast(_)), "{:?}", best.scaling);
    let fixed = (1..)
        .find(|&count| {
            let scenario = Scenario { initial: count, ..day() };
            goal().met(&simulate(&scenario).unwrap())
        })
        .unwrap();
    assert!(best.outcome.cost < 0.7 * 16.0 * f64::from(fixed), "{} of {fixed}", best.outcome.cost);
    assert!(best.outcome.timeline.len() <= 300);

    // What is claimed is what a simulation gives.
    let scenario = Scenario {
        bounds: best.bounds,
        scaling: best.scaling.clone(),
        initial: best.bounds.min.max(1),
        ..day()
    };
    let outcome = simulate(&scenario).unwrap();
    assert!(goal().met(&outcome));
    assert_eq!(outcome.cost, best.outcome.cost);
    // The best first, and none twice.
    for pair in candidates.windows(2) {
        assert!(pair[0].outcome.cost <= pair[1].outcome.cost);
        assert_ne!(pair[0].outcome, pair[1].outcome);
    }
}

#[test]
fn the_result_depends_neither_on_threads_nor_on_the_time() {
    let search = Search { simulations: 40, ..fast() };
    let one = recommend(&day(), &goal(), &search).unwrap();
    let threads = NonZeroUsize::new(4).unwrap();
    let four = recommend(&day(), &goal(), &Search { threads, ..search }).unwrap();
    assert_eq!(one, four);
}

#[test]
fn steady_load_wants_a_fixed_count() {
    let scenario = Scenario { trace: Trace::Constant { rps: 45.0 }, duration_s: 3_600.0, ..day() };
    let modes = vec![Mode::Aws, Mode::Fast];
    let search = Search { modes, simulations: 60, most: 64, ..Search::default() };
    let candidates = recommend(&scenario, &goal(), &search).unwrap();
    let fixed = candidates.iter().find(|c| c.scaling == Scaling::None).unwrap();
    assert!(fixed.meets);
    let below = Scenario { initial: fixed.bounds.max - 1, ..scenario };
    assert!(!goal().met(&simulate(&below).unwrap()));
    // Nothing can be much cheaper.
    assert!(candidates[0].outcome.cost > 0.8 * fixed.outcome.cost);
}

#[test]
fn a_goal_out_of_reach_is_told_by_the_largest_count() {
    let goal = Goal { p99_ms: Some(20.0), ..goal() };
    let candidates = recommend(&day(), &goal, &fast()).unwrap();
    let [only] = candidates.as_slice() else { panic!("{}", candidates.len()) };
    assert!(!only.meets);
    assert_eq!((only.bounds, &only.scaling), (Bounds { min: 12, max: 12 }, &Scaling::None));
    assert!(only.outcome.p99_ms > 80.0);
}

#[test]
fn zero_instances_are_tried_where_requests_are_held() {
    let trace = Trace::Step { low_rps: 0.0, high_rps: 2.0, at_s: 3_000.0, until_s: Some(3_600.0) };
    let scenario = Scenario { trace, hold: 50, initial: 0, ..day() };
    let goal = Goal { p99_ms: Some(4_500.0), p95_ms: Some(1_000.0), throttled_share: 0.0 };
    let candidates = recommend(&scenario, &goal, &Search { least: 0, ..fast() }).unwrap();
    assert_eq!(candidates[0].bounds.min, 0);
    assert!(candidates[0].outcome.instance_hours < 0.5);
    // Alarms do not scale to zero, whatever is asked for.
    let modes = vec![Mode::Aws];
    let search = Search { least: 0, modes, ..fast() };
    let candidates = recommend(&scenario, &goal, &search).unwrap();
    assert!(candidates.iter().all(|c| c.bounds.min >= 1));
}

#[test]
fn simulations_are_bounded_and_reported() {
    let seen = Mutex::new(Vec::new());
    let progress = |progress: Progress| seen.lock().unwrap().push(progress);
    let search = Search { simulations: 25, progress: Some(&progress), ..fast() };
    recommend(&day(), &goal(), &search).unwrap();
    let seen = seen.into_inner().unwrap();
    assert_eq!(
        seen.iter().map(|p| p.done).collect::<Vec<_>>(),
        (1..=seen.len()).collect::<Vec<_>>()
    );
    assert!(seen.len() <= 25 && seen.iter().all(|p| p.most == 25), "{seen:?}");
    assert!(seen.last().unwrap().best_cost.is_some());
}

#[test]
fn impossible_goals_and_searches_are_refused() {
    let refused =
        |goal: Goal, search: Search<'_>| recommend(&day(), &goal, &search).unwrap_err().to_string();
    for (says, error) in [
        ("the goal for p99", refused(Goal { p99_ms: Some(f64::NAN), ..goal() }, fast())),
        ("the goal for p95", refused(Goal { p95_ms: Some(0.0), ..goal() }, fast())),
        ("the share of throttled", refused(Goal { throttled_share: 1.5, ..goal() }, fast())),
        ("the largest maximum", refused(goal(), Search { most: 0, least: 0, ..fast() })),
        ("the largest maximum", refused(goal(), Search { most: 1, least: 2, ..fast() })),
        ("the number of simulations", refused(goal(), Search { simulations: 0, ..fast() })),
        (
            "the scale-out cooldowns",
            refused(goal(), Search { scale_out_cooldowns_s: Vec::new(), ..fast() }),
        ),
        ("a cooldown", refused(goal(), Search { scale_in_cooldowns_s: vec![-1.0], ..fast() })),
    ] {
        assert!(error.contains(says), "{error}");
    }
}

//! Runs small enough to be followed on paper.

use super::*;

fn at(times: &[f64]) -> Scenario {
    Scenario { trace: Trace::Timestamps(times.to_vec()), ..base() }
}

#[test]
fn who_comes_while_another_is_served_waits() {
    let outcome = simulate(&at(&[0.0, 0.5, 5.0])).unwrap();
    assert_eq!((outcome.requests, outcome.answered, outcome.throttled), (3, 3, 0));
    near(outcome.mean_ms, (1_000.0 + 1_500.0 + 1_000.0) / 3.0, 1e-9);
    near(outcome.max_ms, 1_500.0, 1e-9);
    near(outcome.p50_ms, 1_000.0, 0.01);
    assert_eq!(outcome.instance_hours, 1.0 / 60.0);
    assert_eq!(outcome.cost, 1.0 / 60.0);
    let first = &outcome.timeline[0];
    near(first.in_flight, 0.35, 1e-9);
    near(first.waiting, 0.05, 1e-9);
    near(first.rps, 0.3, 1e-9);
    assert_eq!(outcome.timeline.len(), 6);
    near(outcome.utilization, 3.0 / 60.0, 1e-9);
}

#[test]
fn what_does_not_fit_is_refused_at_once() {
    let mut scenario = at(&[0.0, 0.1, 0.2, 0.3, 1.05]);
    scenario.instances.queue = 1;
    let outcome = simulate(&scenario).unwrap();
    assert_eq!((outcome.answered, outcome.throttled), (3, 2));
    near(outcome.max_ms, 1_950.0, 1e-9);
    assert_eq!(outcome.timeline[0].throttled, 2);
}

#[test]
fn on_one_core_two_requests_take_twice_as_long_for_as_long_as_they_are_two() {
    let mut scenario = at(&[0.0, 0.5, 10.0]);
    scenario.initial = 2;
    scenario.instances.cores = Some(1.0);
    let outcome = simulate(&scenario).unwrap();
    // The first has half its work left when the second comes, and ends at 1.5; the second at 2.
    near(outcome.mean_ms, (1_500.0 + 1_500.0 + 1_000.0) / 3.0, 1e-9);
    // With two cores nobody disturbs anybody.
    scenario.instances.cores = Some(2.0);
    near(simulate(&scenario).unwrap().max_ms, 1_000.0, 1e-9);
    // Half a core for one request makes it take twice as long.
    scenario.instances.cores = Some(0.5);
    near(simulate(&at(&[10.0])).unwrap().max_ms, 1_000.0, 1e-9);
    scenario.trace = Trace::Timestamps(vec![10.0]);
    near(simulate(&scenario).unwrap().max_ms, 2_000.0, 1e-9);
}

#[test]
fn what_is_under_way_at_the_end_is_finished_and_costs_no_more() {
    let outcome = simulate(&at(&[59.5, 59.9])).unwrap();
    assert_eq!((outcome.answered, outcome.unanswered), (2, 0));
    near(outcome.max_ms, 1_600.0, 1e-9);
    assert_eq!(outcome.instance_hours, 1.0 / 60.0);
    // Nobody waits for an answer for ever.
    let mut scenario = at(&[1.0, 2.0]);
    scenario.service = ServiceTimes::constant(3_600_000.0).unwrap();
    let outcome = simulate(&scenario).unwrap();
    assert_eq!((outcome.answered, outcome.unanswered), (0, 2));
    near(outcome.utilization, 59.0 / 60.0, 1e-9);
}

#[test]
fn nothing_at_all_is_an_outcome_too() {
    let outcome = simulate(&base()).unwrap();
    assert_eq!(outcome.requests, 0);
    assert_eq!((outcome.p99_ms, outcome.mean_ms, outcome.utilization), (0.0, 0.0, 0.0));
    assert_eq!(outcome.timeline.len(), 6);
}

#[test]
fn the_last_piece_of_the_timeline_may_be_shorter() {
    let scenario = Scenario { duration_s: 25.0, ..at(&[1.0, 24.0]) };
    let outcome = simulate(&scenario).unwrap();
    let pieces: Vec<(f64, f64)> = outcome.timeline.iter().map(|m| (m.at_s, m.rps)).collect();
    assert_eq!(pieces, vec![(0.0, 0.1), (10.0, 0.0), (20.0, 0.2)]);
}

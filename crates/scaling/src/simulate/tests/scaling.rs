//! What the policies do in a run, and when.

use super::*;
use crate::alarm::{Comparison, Missing};
use crate::fast::Measure;
use crate::step::{Adjustment, Step, StepScaling};

/// Ten times the load from 600 s to 2,400 s; an instance can do ten times the low load.
fn ten_times() -> Scenario {
    Scenario {
        trace: Trace::Step { low_rps: 5.0, high_rps: 50.0, at_s: 600.0, until_s: Some(2_400.0) },
        duration_s: 7_200.0,
        service: ServiceTimes::constant(20.0).unwrap(),
        instances: Instances { start_ms: 2_500.0, concurrency: 1, queue: 63, cores: None },
        bounds: Bounds { min: 1, max: 8 },
        bucket_s: 60.0,
        ..base()
    }
}

fn changes(outcome: &Outcome) -> Vec<(f64, u32, u32)> {
    outcome.activities.iter().map(|a| (a.at_s, a.from, a.to)).collect()
}

#[test]
fn aws_scales_out_after_three_minutes_and_in_after_fifteen() {
    // 50 a second are 3,000 a minute: four instances at 750.
    let outcome = simulate(&Scenario { scaling: aws(800.0, 60), ..ten_times() }).unwrap();
    let [out, back, ..] = outcome.activities.as_slice() else { panic!("{:?}", outcome.activities) };
    assert_eq!((out.at_s, out.from, out.to), (780.0, 1, 4));
    assert_eq!(out.ready_at_s, Some(782.5));
    assert!(out.reason.starts_with("policy `p`: "), "{}", out.reason);
    assert!(out.reason.ends_with(" invocations per instance, above 800"), "{}", out.reason);
    assert_eq!((back.at_s, back.from), (2_400.0 + 900.0, 4));
    assert_eq!(back.ready_at_s, None);
    assert!(back.reason.ends_with(", below 720"), "{}", back.reason);
    assert_eq!(outcome.activities.last().map(|a| a.to), Some(1));
    assert_eq!(outcome.most_instances, 4);
    assert_eq!(outcome.throttled + outcome.answered, outcome.requests);
    // The timeline tells the same: wanted at the end of the piece, ready 2.5 s later.
    let at = |second: usize| &outcome.timeline[second / 60];
    assert_eq!((at(720).desired, at(780).desired, at(780).ready), (1, 4, 4));
}

#[test]
fn a_step_within_a_minute_waits_for_the_next_full_ones() {
    // From 620 s on: the minute that ends at 660 has 40 s of it, 2,100 requests, and breaches already.
    let trace = Trace::Step { low_rps: 5.0, high_rps: 50.0, at_s: 620.0, until_s: None };
    let scenario = Scenario { trace, scaling: aws(800.0, 60), ..ten_times() };
    assert_eq!(changes(&simulate(&scenario).unwrap())[0], (780.0, 1, 4));
    // From 655 s on it does not: 525 requests.
    let trace = Trace::Step { low_rps: 5.0, high_rps: 50.0, at_s: 655.0, until_s: None };
    let scenario = Scenario { trace, ..scenario };
    assert_eq!(changes(&simulate(&scenario).unwrap())[0], (840.0, 1, 4));
}

#[test]
fn cooldowns_hold_the_next_change_back() {
    let rule = |out_s: i64, in_s: i64| {
        Rule::TargetTracking(TargetTracking {
            target: 800.0,
            scale_out_cooldown_ms: out_s * 1_000,
            scale_in_cooldown_ms: in_s * 1_000,
            disable_scale_in: false,
        })
    };
    let run = |rule| {
        // Down in two steps, half an hour apart: in at 15 minutes after each, unless held back.
        let minutes = |count: usize, each: f64| std::iter::repeat_n(each, count);
        let loads: Vec<f64> =
            minutes(60, 3_000.0).chain(minutes(20, 1_500.0)).chain(minutes(60, 300.0)).collect();
        let scaling = Scaling::Aws { rules: vec![("p".to_owned(), rule)], period_s: 60 };
        let trace = Trace::PerMinute(loads);
        let scenario = Scenario { trace, duration_s: 8_400.0, scaling, ..ten_times() };
        changes(&simulate(&scenario).unwrap())
    };
    let (free, held) = (run(rule(0, 0)), run(rule(0, 3_600)));
    let first_in =
        |changes: &[(f64, u32, u32)]| changes.iter().position(|(_, f, t)| t < f).unwrap();
    let (a, b) = (first_in(&free), first_in(&held));
    assert_eq!(free[a], held[b]);
    assert!(free[a + 1].0 < held[b + 1].0, "{free:?} {held:?}");
    assert!(held[b + 1].0 >= held[b].0 + 3_600.0, "{held:?}");
}

#[test]
fn ten_second_alarms_watch_concurrency_and_are_quicker() {
    // 50 a second for 20 ms each are a concurrency of 1 and more, as they queue up.
    let scenario = Scenario { scaling: aws(0.5, 10), ..ten_times() };
    let outcome = simulate(&scenario).unwrap();
    let first = &outcome.activities[0];
    let (high, _) = match tracking(0.5) {
        Rule::TargetTracking(tracking) => tracking.alarms(10),
        Rule::Step(_) => unreachable!(),
    };
    assert_eq!(first.at_s, 600.0 + 10.0 * f64::from(high.evaluation_periods));
    assert!(first.reason.contains("concurrent requests per instance"), "{}", first.reason);
    assert!(first.to > 1);
}

#[test]
fn a_step_policy_is_called_by_its_alarm() {
    let steps = vec![
        Step { lower: Some(0.0), upper: Some(1_000.0), adjustment: 1 },
        Step { lower: Some(1_000.0), upper: None, adjustment: 3 },
    ];
    let rule = StepScaling::new(Adjustment::ChangeInCapacity, steps, 600_000, 0).unwrap();
    let alarm = Alarm {
        comparison: Comparison::GreaterThanThreshold,
        threshold: 1_000.0,
        evaluation_periods: 2,
        datapoints_to_alarm: 2,
        missing: Missing::Missing,
    };
    let policies =
        vec![Policy { name: "steps".to_owned(), rule: Rule::Step(rule), alarm: Some(alarm) }];
    let scaling = Scaling::Policies { policies, period_s: 60 };
    let outcome = simulate(&Scenario { scaling, ..ten_times() }).unwrap();
    // 3,000 a minute is 2,000 above: three more, after two periods. 750 for each are below: no more.
    assert_eq!(changes(&outcome), vec![(720.0, 1, 4)]);
    assert!(outcome.activities[0].reason.contains("above 1000"), "{:?}", outcome.activities);
}

#[test]
fn the_fast_mode_follows_a_step_within_two_seconds() {
    for measure in [Measure::Concurrency, Measure::RequestsPerMinute] {
        let target = match measure {
            Measure::Concurrency => 1.0,
            Measure::RequestsPerMinute => 1_000.0,
        };
        let scaling = Scaling::Fast(Fast::new(target, measure));
        let mut scenario = Scenario { scaling, ..ten_times() };
        // Twice what one instance can do, and room for those who wait meanwhile.
        scenario.instances.queue = 1_000;
        scenario.trace =
            Trace::Step { low_rps: 5.0, high_rps: 100.0, at_s: 600.0, until_s: Some(1_200.0) };
        let outcome = simulate(&scenario).unwrap();
        let out = outcome.activities.iter().find(|a| a.at_s >= 600.0 && a.to > a.from).unwrap();
        assert!(out.at_s <= 602.0, "{measure:?}: {out:?}");
        assert_eq!(out.ready_at_s, Some(out.at_s + 2.5));
        assert!(!out.reason.is_empty());
        let last = outcome.timeline.last().unwrap();
        assert_eq!((last.desired, last.ready), (1, 1), "{measure:?}");
        assert_eq!(outcome.throttled, 0, "{measure:?}");
    }
}

#[test]
fn requests_at_zero_wait_for_the_first_instance() {
    let mut scenario = Scenario {
        scaling: Scaling::Fast(Fast::new(1.0, Measure::Concurrency)),
        trace: Trace::Timestamps(vec![100.5, 100.6, 100.7, 100.8]),
        bounds: Bounds { min: 0, max: 4 },
        initial: 0,
        hold: 3,
        duration_s: 600.0,
        bucket_s: 1.0,
        ..ten_times()
    };
    let outcome = simulate(&scenario).unwrap();
    assert_eq!((outcome.answered, outcome.throttled, outcome.unanswered), (3, 1, 0));
    let first = &outcome.activities[0];
    assert_eq!((first.at_s, first.from), (101.0, 0));
    assert_eq!(first.ready_at_s, Some(103.5));
    // Ready at 103.5, then 20 ms for whoever came first.
    assert!(outcome.max_ms > 3_019.9 && outcome.max_ms < 3_100.0, "{}", outcome.max_ms);
    let held = &outcome.timeline[102];
    assert_eq!((held.ready, held.in_flight, held.waiting), (0, 3.0, 3.0));
    // Back to nothing: the hours are of some two minutes, not ten.
    assert_eq!(outcome.timeline.last().map(|m| m.desired), Some(0));
    assert!(outcome.instance_hours < 4.0 * 150.0 / 3_600.0, "{}", outcome.instance_hours);
    // Those who do not fit into the first instance still wait for a place.
    scenario.instances.queue = 0;
    scenario.bounds.max = 1;
    let outcome = simulate(&scenario).unwrap();
    assert_eq!((outcome.answered, outcome.throttled), (3, 1));
    near(outcome.max_ms, 3_020.0, 1e-9);
}

#[test]
fn an_instance_that_is_no_longer_wanted_finishes_and_costs_until_then() {
    // Two requests of 300 s on two instances; the fast mode counts requests a minute and soon wants one.
    let scenario = Scenario {
        trace: Trace::Timestamps(vec![0.0, 0.0]),
        service: ServiceTimes::constant(300_000.0).unwrap(),
        scaling: Scaling::Fast(Fast::new(600.0, Measure::RequestsPerMinute)),
        bounds: Bounds { min: 1, max: 2 },
        initial: 2,
        duration_s: 1_000.0,
        ..ten_times()
    };
    let outcome = simulate(&scenario).unwrap();
    let [change] = outcome.activities.as_slice() else { panic!("{:?}", outcome.activities) };
    assert_eq!((change.from, change.to), (2, 1));
    assert!(change.at_s < 200.0, "{change:?}");
    assert_eq!(outcome.answered, 2);
    near(outcome.max_ms, 300_000.0, 1e-9);
    near(outcome.instance_hours, (1_000.0 + 300.0) / 3_600.0, 1e-9);
}

#[test]
fn more_instances_on_a_machine_that_is_full_do_not_help() {
    let crowded = Scenario {
        trace: Trace::Constant { rps: 150.0 },
        duration_s: 600.0,
        service: ServiceTimes::lognormal(18.0, 40.0).unwrap(),
        ..ten_times()
    };
    let run = |initial, cores| {
        let instances = Instances { cores, ..crowded.instances.clone() };
        simulate(&Scenario { initial, instances, ..crowded.clone() }).unwrap()
    };
    // Two cores do some 107 a second, however many instances share them.
    let (two, eight) = (run(2, Some(2.0)), run(8, Some(2.0)));
    near(two.answered as f64, eight.answered as f64, 0.02);
    assert!(eight.throttled > 15_000);
    assert!(run(8, None).throttled == 0);
}

/// Numbers that change only when the model does: then on purpose, and with a line in the changelog, because
/// people compare today's runs with last month's.
#[test]
fn a_seed_gives_the_same_numbers_in_every_release() {
    let service = ServiceTimes::lognormal(18.0, 60.0).unwrap();
    let scenario = Scenario { scaling: aws(800.0, 60), service, seed: 42, ..ten_times() };
    let outcome = simulate(&scenario).unwrap();
    let Outcome { requests, answered, throttled, .. } = outcome;
    assert_eq!((requests, answered, throttled), (117_356, 117_166, 190));
    near(outcome.max_ms, 1_536.058_431, 1e-9);
    near(outcome.instance_hours, 4.1, 1e-9);
}

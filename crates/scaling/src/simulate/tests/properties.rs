//! What holds of every run.

use proptest::prelude::*;

use super::*;
use crate::fast::Measure;

fn traces() -> impl Strategy<Value = Trace> {
    let rate = 0.0..40.0_f64;
    prop_oneof![
        rate.clone().prop_map(|rps| Trace::Constant { rps }),
        (rate.clone(), rate.clone(), 0.0..300.0_f64, 0.0..300.0_f64).prop_map(
            |(low_rps, high_rps, at_s, lasts)| Trace::Step {
                low_rps,
                high_rps,
                at_s,
                until_s: Some(at_s + lasts),
            }
        ),
        (rate.clone(), rate.clone(), 10.0..500.0_f64).prop_map(|(low_rps, high_rps, period_s)| {
            Trace::Diurnal { low_rps, high_rps, period_s, peak_s: 0.0 }
        }),
        prop::collection::vec(0.0..600.0_f64, 0..300).prop_map(|mut times| {
            times.sort_by(f64::total_cmp);
            Trace::Timestamps(times)
        }),
        prop::collection::vec(0.0..2_000.0_f64, 0..12).prop_map(Trace::PerMinute),
    ]
}

fn scalings() -> impl Strategy<Value = Scaling> {
    prop_oneof![
        Just(Scaling::None),
        (10.0..1_000.0_f64, prop_oneof![Just(60_u32), Just(120)])
            .prop_map(|(target, period_s)| aws(target, period_s)),
        (0.1..3.0_f64).prop_map(|target| aws(target, 10)),
        (0.1..3.0_f64).prop_map(|t| Scaling::Fast(Fast::new(t, Measure::Concurrency))),
        (10.0..1_000.0_f64).prop_map(|t| Scaling::Fast(Fast::new(t, Measure::RequestsPerMinute))),
    ]
}

prop_compose! {
    fn scenarios()(
        trace in traces(),
        scaling in scalings(),
        duration_s in 1.0..1_500.0_f64,
        samples in prop::collection::vec(0.1..3_000.0_f64, 1..20),
        start_ms in 0.0..30_000.0_f64,
        (concurrency, queue) in (1..5_u32, 0..20_u32),
        cores in prop::option::of(0.5..6.0_f64),
        (min, more, initial) in (0..4_u32, 0..6_u32, 0..10_u32),
        hold in 1..50_u32,
        seed: u64,
        bucket_s in 0.5..700.0_f64,
    ) -> Scenario {
        let to_zero = matches!(scaling, Scaling::Fast(_));
        let min = if to_zero { min } else { min.max(1) };
        let bounds = Bounds { min, max: (min + more).max(1) };
        let service = ServiceTimes::from_samples(&samples).unwrap();
        let instances = Instances { start_ms, concurrency, queue, cores };
        let initial = crate::scaler::clamp(initial, bounds);
        let initial = if scaling == Scaling::None { initial.max(1) } else { initial };
        Scenario {
            trace, duration_s, service, instances, scaling, bounds, initial, hold, seed,
            hourly_price: 0.5, bucket_s,
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn nothing_is_lost_and_the_parts_add_up(scenario in scenarios()) {
        let outcome = simulate(&scenario).unwrap();
        let Outcome { requests, answered, throttled, unanswered, .. } = outcome;
        prop_assert_eq!(requests, answered + throttled + unanswered);
        let came = scenario.trace.arrivals(scenario.duration_s, scenario.seed).unwrap().count();
        prop_assert_eq!(requests, came as u64);

        // The timeline has no gaps and counts the same requests.
        let mut at = 0.0;
        let (mut arrived, mut refused) = (0.0, 0);
        let moments = &outcome.timeline;
        for (index, moment) in moments.iter().enumerate() {
            prop_assert_eq!(moment.at_s, at);
            let end = moments.get(index + 1).map_or(scenario.duration_s, |next| next.at_s);
            arrived += moment.rps * (end - at);
            refused += moment.throttled;
            at = end;
            prop_assert!(moment.waiting <= moment.in_flight + 1e-9, "{:?}", moment);
            prop_assert!(moment.p50_ms <= moment.p99_ms);
        }
        prop_assert!((arrived - requests as f64).abs() < 1e-6 * arrived.max(1.0));
        prop_assert_eq!(refused, throttled);

        // Quantiles ascend, and no answer comes sooner than its work takes.
        let Outcome { p50_ms, p95_ms, p99_ms, max_ms, mean_ms, .. } = outcome;
        prop_assert!(p50_ms <= p95_ms && p95_ms <= p99_ms && p99_ms <= max_ms);
        // A sum of equal numbers, divided by their number, may be a hair more than each.
        prop_assert!(mean_ms <= max_ms * (1.0 + 1e-9), "{mean_ms} {max_ms}");
        if answered > 0 {
            prop_assert!(mean_ms >= scenario.service.quantile_ms(0.0) * 0.999);
        }

        // Activities follow one another within the bounds; the bill is between its bounds.
        let mut count = scenario.initial;
        for activity in &outcome.activities {
            prop_assert_eq!(activity.from, count);
            prop_assert!(activity.to != count);
            prop_assert!((scenario.bounds.min..=scenario.bounds.max).contains(&activity.to));
            prop_assert!(!activity.reason.is_empty());
            count = activity.to;
        }
        prop_assert_eq!(outcome.changes, outcome.activities.len() as u64);
        let hours = scenario.duration_s / 3_600.0;
        let least = f64::from(scenario.bounds.min.min(scenario.initial)) * hours;
        let most = f64::from(outcome.most_instances) * hours;
        prop_assert!((least - 1e-9..=most + 1e-9).contains(&outcome.instance_hours));
        prop_assert_eq!(outcome.cost, outcome.instance_hours * 0.5);
        prop_assert!((0.0..=1.0 + 1e-9).contains(&outcome.utilization), "{}", outcome.utilization);
    }

    #[test]
    fn the_same_scenario_has_the_same_outcome(scenario in scenarios()) {
        prop_assert_eq!(simulate(&scenario).unwrap(), simulate(&scenario).unwrap());
    }

    #[test]
    fn more_room_or_instances_never_refuse_more(scenario in scenarios()) {
        let scenario = Scenario { scaling: Scaling::None, ..scenario };
        let scenario = Scenario { initial: scenario.initial.max(1), ..scenario };
        let mut more = scenario.clone();
        more.instances.cores = None;
        more.instances.queue += 1_000_000;
        let (some, none) = (simulate(&scenario).unwrap(), simulate(&more).unwrap());
        prop_assert_eq!(some.requests, none.requests);
        prop_assert!(none.throttled <= some.throttled);
    }
}

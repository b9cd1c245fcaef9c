//! Tests of `target_tracking`.

use proptest::prelude::*;

use super::*;
use crate::alarm::State;

fn tracking(target: f64) -> TargetTracking {
    TargetTracking {
        target,
        scale_out_cooldown_ms: 300_000,
        scale_in_cooldown_ms: 300_000,
        disable_scale_in: false,
    }
}

#[test]
fn the_alarms_are_those_of_aws() {
    // The project's reference table: AlarmHigh above the target for 3 × 60 s, AlarmLow below nine tenths of it
    // for 15 × 60 s.
    let (high, low) = tracking(70.0).alarms(60);
    assert_eq!((high.comparison, high.threshold), (Comparison::GreaterThanThreshold, 70.0));
    assert_eq!((high.evaluation_periods, high.datapoints_to_alarm), (3, 3));
    assert_eq!((low.comparison, low.threshold), (Comparison::LessThanThreshold, 63.0));
    assert_eq!((low.evaluation_periods, low.datapoints_to_alarm), (15, 15));

    // Out after 30 seconds, in after a quarter of an hour.
    let (high, low) = tracking(5.0).alarms(10);
    assert_eq!((high.evaluation_periods, low.evaluation_periods), (3, 90));
    // A period of five minutes has no shorter alarm.
    assert_eq!(tracking(5.0).alarms(300).1.evaluation_periods, 15);
    // No division by zero.
    assert_eq!(tracking(5.0).alarms(0).0.evaluation_periods, 3);
}

#[test]
fn between_nine_tenths_and_the_target_both_alarms_are_quiet() {
    let (high, low) = tracking(70.0).alarms(60);
    for metric in [63.0, 66.0, 70.0] {
        let points = [Some(metric); 17];
        assert_eq!(high.state(State::Ok, &points), State::Ok, "{metric}");
        assert_eq!(low.state(State::Ok, &points), State::Ok, "{metric}");
    }
}

#[test]
fn the_wanted_capacity_is_proportional_and_rounded_up() {
    let table = [
        // Capacity, metric, target, wanted.
        (1, 141.0, 70.0, 3),
        (2, 140.0, 70.0, 4),
        (10, 60.0, 50.0, 12),
        (4, 35.0, 70.0, 2),
        (3, 20.0, 70.0, 1),
        (5, 0.0, 70.0, 0),
        (0, 100.0, 70.0, 0),
        // A tenth, stored in binary, is not a tenth: still no instance for it.
        (3, 0.7, 0.7, 3),
        (10, 0.3, 0.1, 30),
        (4_000_000_000, 1e300, 1.0, u32::MAX),
        (3, f64::NAN, 1.0, 0),
        (3, -5.0, 1.0, 0),
    ];
    for (capacity, metric, target, wanted) in table {
        assert_eq!(
            tracking(target).wanted(capacity, metric),
            wanted,
            "{capacity} × {metric} ÷ {target}"
        );
    }
}

proptest! {
    #[test]
    fn the_wanted_capacity_brings_the_metric_to_its_target_and_no_smaller_one_does(
        capacity in 1_u32..10_000,
        metric in 0.01_f64..1e6,
        target in 0.01_f64..1e6,
    ) {
        let load = f64::from(capacity) * metric;
        prop_assume!(load / target < 1e9);
        let wanted = tracking(target).wanted(capacity, metric);
        prop_assert!(wanted >= 1);
        prop_assert!(load / f64::from(wanted) <= target * (1.0 + 1e-6));
        if wanted > 1 {
            prop_assert!(load / f64::from(wanted - 1) > target);
        }
    }

    #[test]
    fn more_load_never_wants_less(capacity in 0_u32..1_000, metric in 0.0_f64..1e4, more in 0.0_f64..1e4) {
        let tracking = tracking(70.0);
        prop_assert!(tracking.wanted(capacity, metric + more) >= tracking.wanted(capacity, metric));
    }
}

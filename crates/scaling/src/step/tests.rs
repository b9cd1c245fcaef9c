//! Tests of `step`.

use proptest::prelude::*;

use super::*;

fn step(lower: Option<f64>, upper: Option<f64>, adjustment: i64) -> Step {
    Step { lower, upper, adjustment }
}

fn policy(adjustment: Adjustment, steps: Vec<Step>) -> StepScaling {
    StepScaling::new(adjustment, steps, 0, 0).unwrap()
}

fn refusal(adjustment: Adjustment, steps: Vec<Step>) -> String {
    StepScaling::new(adjustment, steps, 0, 0).unwrap_err().to_string()
}

/// The example of "How step scaling for Application Auto Scaling works",
/// <https://docs.aws.amazon.com/autoscaling/application/userguide/step-scaling-policy-overview.html>: alarms at 50
/// per cent, steps at 60 and 70 and at 40 and 30, in per cent of the capacity.
#[test]
fn the_example_of_aws_with_sixty_and_seventy_per_cent() {
    let percent = Adjustment::PercentChangeInCapacity;
    let out = policy(
        percent,
        vec![
            step(Some(0.0), Some(10.0), 0),
            step(Some(10.0), Some(20.0), 10),
            step(Some(20.0), None, 30),
        ],
    );
    let scale_in = policy(
        percent,
        vec![
            step(Some(-10.0), Some(0.0), 0),
            step(Some(-20.0), Some(-10.0), -10),
            step(None, Some(-20.0), -30),
        ],
    );
    let table = [
        // "maintained while the aggregated metric value is greater than 40 and less than 60"
        (&out, 10, 50.0, Some(10)),
        (&out, 10, 59.9, Some(10)),
        (&scale_in, 10, 50.0, Some(10)),
        (&scale_in, 10, 40.1, Some(10)),
        // "If the metric value gets to 60 … increases the desired capacity by 1, to 11"
        (&out, 10, 60.0, Some(11)),
        // "If the metric value rises to 70 … by 3, to 14": 30 per cent of 11, 3.3, rounded down
        (&out, 11, 70.0, Some(14)),
        (&out, 11, 1e9, Some(14)),
        // "If the metric value gets to 40 … decreases by 1, to 13": 1.4 rounded down
        (&scale_in, 14, 40.0, Some(13)),
        // "falls to 30 … by 3, to 10": 30 per cent of 13, 3.9, rounded down
        (&scale_in, 13, 30.0, Some(10)),
        (&scale_in, 13, -1e9, Some(10)),
        // The other policy's side.
        (&out, 10, 49.9, None),
        (&scale_in, 10, 50.1, None),
        (&out, 10, f64::NAN, None),
    ];
    for (policy, capacity, metric, wanted) in table {
        assert_eq!(policy.wanted(capacity, metric - 50.0), wanted, "{capacity} at {metric}");
    }
}

/// The rows of "Scaling adjustment types" on the same page.
#[test]
fn the_examples_of_adjustment_types() {
    let one = |adjustment, by| policy(adjustment, vec![step(Some(0.0), None, by)]);
    let table = [
        // "If the current capacity is 3 and the adjustment is 5 … for a total of 8"
        (one(Adjustment::ChangeInCapacity, 5), 3, 8),
        // "… changes the capacity to 5"
        (one(Adjustment::ExactCapacity, 5), 3, 5),
        // "If the current capacity is 10 and the adjustment is 10 percent … 11"
        (one(Adjustment::PercentChangeInCapacity, 10), 10, 11),
        // "12.7 is rounded to 12"
        (one(Adjustment::PercentChangeInCapacity, 10), 127, 139),
        // ".67 is rounded to 1"
        (one(Adjustment::PercentChangeInCapacity, 67), 1, 2),
        // "-.58 is rounded to -1"
        (one(Adjustment::PercentChangeInCapacity, -29), 2, 1),
        // "-6.67 is rounded to -6"
        (one(Adjustment::PercentChangeInCapacity, -29), 23, 17),
        (one(Adjustment::ChangeInCapacity, -5), 3, 0),
        (one(Adjustment::ChangeInCapacity, i64::MAX), 3, u32::MAX),
        (one(Adjustment::ChangeInCapacity, i64::MIN), 3, 0),
        (one(Adjustment::PercentChangeInCapacity, i64::MAX), u32::MAX, u32::MAX),
        (one(Adjustment::PercentChangeInCapacity, i64::MIN), u32::MAX, 0),
        (one(Adjustment::PercentChangeInCapacity, 50), 0, 0),
    ];
    for (policy, capacity, wanted) in table {
        assert_eq!(policy.wanted(capacity, 0.0), Some(wanted), "{capacity}: {policy:?}");
    }

    // "25 percent … a minimum amount of 2 … capacity of 4 … 25 percent of 4 is 1 … adds 2"
    for (by, capacity, wanted) in [(25, 4, 6), (25, 12, 15), (-25, 4, 2), (50, 0, 2), (-50, 0, 0)] {
        let steps = vec![step(Some(0.0), None, by)];
        let policy = StepScaling::new(Adjustment::PercentChangeInCapacity, steps, 0, 2).unwrap();
        assert_eq!(policy.wanted(capacity, 0.0), Some(wanted), "{by} per cent of {capacity}");
    }
}

/// <https://docs.aws.amazon.com/autoscaling/application/APIReference/API_StepAdjustment.html>: an alarm at 50; from 50
/// to below 60 is 0 to 10, from above 40 to 50 is -10 to 0.
#[test]
fn bounds_are_inclusive_towards_the_threshold() {
    let both = policy(
        Adjustment::ExactCapacity,
        vec![
            step(None, Some(-10.0), 1),
            step(Some(-10.0), Some(0.0), 2),
            step(Some(0.0), Some(10.0), 3),
            step(Some(10.0), None, 4),
        ],
    );
    for (difference, wanted) in
        [(-10.1, 1), (-10.0, 1), (-9.9, 2), (-0.1, 2), (0.0, 3), (9.9, 3), (10.0, 4), (11.0, 4)]
    {
        assert_eq!(both.wanted(7, difference), Some(wanted), "{difference}");
    }
}

#[test]
fn steps_may_come_in_any_order() {
    let steps = vec![step(Some(20.0), None, 3), step(Some(0.0), Some(20.0), 1)];
    let policy = policy(Adjustment::ChangeInCapacity, steps);
    assert_eq!(policy.wanted(1, 25.0), Some(4));
    assert_eq!(policy.steps[0].lower, Some(0.0));
}

#[test]
fn refusals() {
    let change = Adjustment::ChangeInCapacity;
    let table = [
        (vec![], "At least one StepAdjustment"),
        (vec![step(None, None, 1)], "The upper and lower bound can't be null"),
        (vec![step(Some(1.0), Some(2.0), 1)], "unspecified upper bound"),
        (vec![step(Some(-2.0), Some(-1.0), 1)], "unspecified lower bound"),
        (vec![step(Some(2.0), Some(1.0), 1)], "must be greater than its lower bound: `2` to `1`"),
        (vec![step(Some(f64::NAN), None, 1)], "finite"),
        (vec![step(Some(0.0), Some(f64::INFINITY), 1)], "finite"),
        (vec![step(Some(0.0), Some(10.0), 1), step(Some(5.0), None, 1)], "can't overlap: at `5`"),
        (vec![step(Some(0.0), None, 1), step(Some(5.0), None, 1)], "can't overlap: at `5`"),
        (vec![step(None, Some(0.0), 1), step(None, Some(5.0), 1)], "can't overlap: at `0`"),
        (
            vec![step(Some(0.0), Some(10.0), 1), step(Some(15.0), None, 1)],
            "can't have a gap: from `10` to `15`",
        ),
        (vec![step(Some(0.0), None, 1); 21], "at most 20 step adjustments"),
    ];
    for (steps, words) in table {
        let message = refusal(change, steps.clone());
        assert!(message.contains(words), "{steps:?}: {message}");
    }
    let exact = refusal(Adjustment::ExactCapacity, vec![step(Some(0.0), None, -1)]);
    assert!(exact.contains("non-negative") && exact.contains("`-1`"), "{exact}");
    let magnitude = StepScaling::new(change, vec![step(Some(0.0), None, 1)], 0, 2);
    assert_eq!(magnitude.unwrap_err(), StepError::Magnitude);
}

/// Steps from rising bounds: closed at the threshold or open, as AWS takes them.
fn accepted() -> impl Strategy<Value = StepScaling> {
    let bounds = prop::collection::btree_set(-50_i32..50, 1..6);
    let kinds = prop::sample::select(vec![
        Adjustment::ChangeInCapacity,
        Adjustment::PercentChangeInCapacity,
    ]);
    (bounds, kinds, prop::collection::vec(-200_i64..200, 7)).prop_map(|(bounds, kind, by)| {
        let edges: Vec<Option<f64>> = std::iter::once(None)
            .chain(bounds.into_iter().map(|bound| Some(f64::from(bound))))
            .chain([None])
            .collect();
        let steps = edges.windows(2).zip(by).map(|(edge, by)| step(edge[0], edge[1], by)).collect();
        StepScaling::new(kind, steps, 0, 0).unwrap()
    })
}

proptest! {
    #[test]
    fn open_steps_leave_no_difference_out(policy in accepted(), difference in -100.0_f64..100.0) {
        let matching = policy.steps.iter().filter(|step| {
            if difference >= 0.0 {
                step.from() <= difference && difference < step.to()
            } else {
                step.from() < difference && difference <= step.to()
            }
        });
        prop_assert_eq!(matching.count(), 1);
        prop_assert!(policy.wanted(10, difference).is_some());
    }

    #[test]
    fn a_change_goes_the_way_its_sign_says(
        policy in accepted(),
        capacity in 0_u32..1_000,
        difference in -100.0_f64..100.0,
    ) {
        let by = policy.step(difference).unwrap().adjustment;
        let wanted = policy.wanted(capacity, difference).unwrap();
        match by.signum() {
            1 => prop_assert!(wanted > capacity || capacity == 0),
            -1 => prop_assert!(wanted < capacity || capacity == 0),
            _ => prop_assert_eq!(wanted, capacity),
        }
    }

    #[test]
    fn whatever_bounds_come_in_nothing_panics(
        raw in prop::collection::vec(
            (prop::option::of(any::<f64>()), prop::option::of(any::<f64>()), any::<i64>()),
            0..6,
        ),
        capacity in any::<u32>(),
        difference in any::<f64>(),
    ) {
        let steps = raw.into_iter().map(|(lower, upper, by)| step(lower, upper, by)).collect();
        if let Ok(policy) = StepScaling::new(Adjustment::PercentChangeInCapacity, steps, 0, 1) {
            policy.wanted(capacity, difference);
        }
    }
}

//! Tests of `scaler`.

use proptest::prelude::*;

use super::*;
use crate::step::{Adjustment, Step};

const BOUNDS: Bounds = Bounds { min: 1, max: 20 };
const ON: Suspended = Suspended { scale_in: false, scale_out: false, scheduled: false };

fn tracking(target: f64) -> TargetTracking {
    TargetTracking {
        target,
        scale_out_cooldown_ms: 300_000,
        scale_in_cooldown_ms: 300_000,
        disable_scale_in: false,
    }
}

fn track(target: f64) -> Rule {
    Rule::TargetTracking(tracking(target))
}

/// Steps relative to an alarm at 50: from 50, from 60 and from 70 per cent, and below 50.
fn steps(above: [i64; 3], below: i64) -> Rule {
    let step = |lower, upper, adjustment| Step { lower, upper, adjustment };
    Rule::Step(
        StepScaling::new(
            Adjustment::ChangeInCapacity,
            vec![
                step(None, Some(0.0), below),
                step(Some(0.0), Some(10.0), above[0]),
                step(Some(10.0), Some(20.0), above[1]),
                step(Some(20.0), None, above[2]),
            ],
            300_000,
            0,
        )
        .unwrap(),
    )
}

fn vote<'a>(policy: &'a str, rule: &'a Rule, signal: Signal) -> Vote<'a> {
    Vote { policy, rule, signal }
}

fn breach(metric: f64) -> Signal {
    Signal::Breach { metric, threshold: 50.0 }
}

/// What `decide` says at `now_ms`, and the memory after it: the new capacity and whose it is.
fn act(
    now_ms: i64,
    capacity: u32,
    votes: &[Vote<'_>],
    memory: &mut Memory,
) -> (u32, Option<String>) {
    match decide(now_ms, capacity, BOUNDS, ON, votes, memory) {
        Decision::Keep { .. } => (capacity, None),
        Decision::Change { capacity: to, policy, direction } => {
            assert_eq!(direction, if to > capacity { Direction::Out } else { Direction::In });
            let rule = votes.iter().find(|vote| vote.policy == policy).unwrap().rule;
            memory.applied(now_ms, capacity, to, rule);
            (to, Some(policy))
        }
    }
}

/// "When an alarm triggers a step scaling policy to increase the capacity by 2 … If the alarm triggers again
/// during the cooldown period but at a more aggressive step adjustment of 3, the previous increase of 2 is
/// considered part of the current capacity. Therefore, only 1 is added to the capacity."
/// <https://docs.aws.amazon.com/autoscaling/application/userguide/step-scaling-policy-overview.html>
#[test]
fn the_cooldown_example_of_aws() {
    let rule = steps([2, 3, 8], -1);
    let mut memory = Memory::default();
    let mut capacity = 10;
    for (now_s, metric, expected) in [
        (0, 55.0, 12),
        // The same breach again: nothing.
        (60, 55.0, 12),
        (120, 65.0, 13),
        // The same larger breach, and the smaller one.
        (180, 65.0, 13),
        (240, 55.0, 13),
        // Larger still, and within the cooldown that the larger one began.
        (300, 75.0, 18),
        // All cooldowns are over: on top of what there is.
        (600, 55.0, 20),
    ] {
        let votes = [vote("steps", &rule, breach(metric))];
        capacity = act(now_s * 1_000, capacity, &votes, &mut memory).0;
        assert_eq!(capacity, expected, "after {now_s} s");
    }
}

/// "The scaling policy won't increase the desired capacity again unless either a larger scale out is triggered
/// or the cooldown period ends."
/// <https://docs.aws.amazon.com/autoscaling/application/userguide/target-tracking-scaling-policy-overview.html>
#[test]
fn target_tracking_credits_what_it_has_added() {
    let rule = track(70.0);
    let mut memory = Memory::default();
    let mut capacity = 2;
    for (now_s, metric, expected) in [
        // 280 invocations on two instances.
        (0, 140.0, 4),
        // The new ones do not serve yet: the same metric is no reason to add more.
        (60, 140.0, 4),
        // Twice the load on the same two: eight in all.
        (120, 280.0, 8),
        (180, 280.0, 8),
        // They serve, the metric has come down but is still a little high: held until the cooldown ends.
        (240, 80.0, 8),
        (419, 80.0, 8),
        (420, 80.0, 10),
    ] {
        let votes = [vote("track", &rule, Signal::High { metric })];
        capacity = act(now_s * 1_000, capacity, &votes, &mut memory).0;
        assert_eq!(capacity, expected, "after {now_s} s");
    }
}

/// "Scale-in activities are blocked until the scale-in cooldown period has expired. However, if another alarm
/// triggers a scale-out activity during the scale-in cooldown period, Application Auto Scaling scales out the
/// target immediately. In this case, the scale-in cooldown period stops and doesn't complete." (same page)
#[test]
fn scaling_out_ends_the_cooldown_of_scaling_in() {
    let low = track(70.0);
    let no_cooldown = Rule::TargetTracking(TargetTracking {
        scale_out_cooldown_ms: 0,
        scale_in_cooldown_ms: 600_000,
        ..tracking(70.0)
    });
    let mut memory = Memory::default();
    let down = [vote("track", &low, Signal::Low { metric: 35.0 })];
    assert_eq!(act(0, 8, &down, &mut memory), (4, Some("track".into())));
    assert_eq!(memory.cooling_until(0), Some((Direction::In, 300_000)));
    assert_eq!(act(299_999, 4, &down, &mut memory), (4, None));
    let up = [vote("track", &no_cooldown, Signal::High { metric: 140.0 })];
    assert_eq!(act(60_000, 4, &up, &mut memory), (8, Some("track".into())));
    assert_eq!(memory.cooling_until(60_000), None);
    assert_eq!(act(60_001, 8, &down, &mut memory), (4, Some("track".into())));
}

#[test]
fn a_cooldown_counts_from_when_the_change_took_effect() {
    let rule = track(70.0);
    let mut memory = Memory::default();
    let high = [vote("track", &rule, Signal::High { metric: 140.0 })];
    assert_eq!(act(0, 2, &high, &mut memory).0, 4);
    memory.completed(100_000);
    assert_eq!(memory.cooling_until(300_000), Some((Direction::Out, 400_000)));
    assert_eq!(act(399_999, 4, &high, &mut memory).0, 4);
    assert_eq!(act(400_000, 4, &high, &mut memory).0, 8);
}

/// "It will scale out the scalable target if any of the target tracking policies are ready for scale out, but
/// will scale in only if all of the target tracking policies (with the scale-in portion enabled) are ready to
/// scale in. If multiple policies instruct … at the same time, Application Auto Scaling scales based on the
/// policy that provides the largest capacity for both scale in and scale out." (same page)
#[test]
fn several_policies() {
    let (one, other) = (track(70.0), track(10.0));
    let out_only =
        Rule::TargetTracking(TargetTracking { disable_scale_in: true, ..tracking(70.0) });
    let step = steps([1, 2, 3], -2);
    let low = |metric| Signal::Low { metric };
    let high = |metric| Signal::High { metric };
    let table: [(&str, Vec<Vote<'_>>, u32, Option<&str>); 16] = [
        (
            "one out",
            vec![vote("a", &one, high(140.0)), vote("b", &other, Signal::Quiet)],
            8,
            Some("a"),
        ),
        (
            "out beats in",
            vec![vote("a", &one, low(7.0)), vote("b", &other, high(20.0))],
            8,
            Some("b"),
        ),
        (
            "out without data",
            vec![vote("a", &one, high(140.0)), vote("b", &other, Signal::NoData)],
            8,
            Some("a"),
        ),
        (
            "largest out",
            vec![vote("a", &one, high(80.0)), vote("b", &other, high(30.0))],
            12,
            Some("b"),
        ),
        (
            "first of equals",
            vec![vote("a", &one, high(140.0)), vote("b", &other, high(20.0))],
            8,
            Some("a"),
        ),
        (
            "step and tracking",
            vec![vote("a", &one, high(80.0)), vote("s", &step, breach(75.0))],
            7,
            Some("s"),
        ),
        (
            "all in: the largest",
            vec![vote("a", &one, low(17.5)), vote("b", &other, low(5.0))],
            2,
            Some("b"),
        ),
        ("not all in", vec![vote("a", &one, low(7.0)), vote("b", &other, Signal::Quiet)], 4, None),
        (
            "no data is no agreement",
            vec![vote("a", &one, low(7.0)), vote("b", &other, Signal::NoData)],
            4,
            None,
        ),
        (
            "disabled has no say",
            vec![vote("a", &one, low(17.5)), vote("o", &out_only, Signal::Quiet)],
            1,
            Some("a"),
        ),
        ("disabled does not scale in", vec![vote("o", &out_only, low(7.0))], 4, None),
        // "If the step scaling policy initiates a scale-in activity before the target tracking policy is ready
        // to scale in, the scale-in activity will not be blocked."
        (
            "step does not wait",
            vec![vote("a", &one, Signal::Quiet), vote("s", &step, breach(40.0))],
            2,
            Some("s"),
        ),
        (
            "step and tracking in",
            vec![vote("a", &one, low(50.0)), vote("s", &step, breach(40.0))],
            3,
            Some("a"),
        ),
        (
            "step for scale in",
            vec![vote("o", &out_only, Signal::Quiet), vote("s", &step, breach(40.0))],
            2,
            Some("s"),
        ),
        (
            "a quiet step has no say",
            vec![vote("a", &one, low(17.5)), vote("s", &step, Signal::Quiet)],
            1,
            Some("a"),
        ),
        (
            "nothing",
            vec![vote("a", &one, Signal::Quiet), vote("s", &step, Signal::NoData)],
            4,
            None,
        ),
    ];
    for (name, votes, expected, policy) in table {
        let decided = act(0, 4, &votes, &mut Memory::default());
        assert_eq!(decided, (expected, policy.map(str::to_owned)), "{name}");
    }
}

#[test]
fn reasons_for_not_scaling() {
    let rule = track(70.0);
    let even = steps([0, 2, 3], -2);
    let reason = |capacity, rule, signal| {
        let votes = [vote("p", rule, signal)];
        match decide(0, capacity, BOUNDS, ON, &votes, &Memory::default()) {
            Decision::Keep { not_scaled } => not_scaled,
            change => panic!("{change:?}"),
        }
    };
    let new = NotScaled::new;
    assert_eq!(
        reason(20, &rule, Signal::High { metric: 100.0 }),
        [NotScaled { max_capacity: Some(20), ..new(NotScaledCode::AlreadyAtMaxCapacity) }]
    );
    assert_eq!(
        reason(1, &rule, Signal::Low { metric: 0.0 }),
        [NotScaled { min_capacity: Some(1), ..new(NotScaledCode::AlreadyAtMinCapacity) }]
    );
    // 4 × 60 ÷ 70 is 3.4: with three the metric would be at 80.
    assert_eq!(
        reason(4, &rule, Signal::Low { metric: 60.0 }),
        [NotScaled {
            current_capacity: Some(4),
            ..new(NotScaledCode::AutoScalingAnticipatedFlapping)
        }]
    );
    assert_eq!(
        reason(4, &even, breach(55.0)),
        [NotScaled { current_capacity: Some(4), ..new(NotScaledCode::AlreadyAtDesiredCapacity) }]
    );
    for signal in [Signal::Quiet, Signal::NoData] {
        assert_eq!(reason(4, &rule, signal), []);
    }
    let codes = [
        NotScaledCode::AutoScalingAnticipatedFlapping,
        NotScaledCode::TargetServicePutResourceAsUnscalable,
        NotScaledCode::AlreadyAtMaxCapacity,
        NotScaledCode::AlreadyAtMinCapacity,
        NotScaledCode::AlreadyAtDesiredCapacity,
    ];
    for code in codes {
        assert_eq!(code.as_str(), format!("{code:?}"));
    }
}

#[test]
fn from_zero_a_metric_above_its_target_brings_one() {
    let rule = track(70.0);
    let votes = [vote("p", &rule, Signal::High { metric: 100.0 })];
    let bounds = Bounds { min: 0, max: 5 };
    let decision = decide(0, 0, bounds, ON, &votes, &Memory::default());
    assert!(matches!(decision, Decision::Change { capacity: 1, .. }), "{decision:?}");
    let votes = [vote("p", &rule, Signal::Low { metric: 0.0 })];
    let decision = decide(0, 3, bounds, ON, &votes, &Memory::default());
    assert!(matches!(decision, Decision::Change { capacity: 0, .. }), "{decision:?}");
}

#[test]
fn suspended_directions() {
    let rule = track(70.0);
    let up = [vote("p", &rule, Signal::High { metric: 140.0 })];
    let down = [vote("p", &rule, Signal::Low { metric: 35.0 })];
    let memory = Memory::default();
    let out = Suspended { scale_out: true, ..ON };
    let scale_in = Suspended { scale_in: true, ..ON };
    assert_eq!(decide(0, 4, BOUNDS, out, &up, &memory), KEEP);
    assert_ne!(decide(0, 4, BOUNDS, out, &down, &memory), KEEP);
    assert_eq!(decide(0, 4, BOUNDS, scale_in, &down, &memory), KEEP);
    assert_ne!(decide(0, 4, BOUNDS, scale_in, &up, &memory), KEEP);
}

#[test]
fn out_of_bounds() {
    assert_eq!([0, 1, 7, 20, 21].map(|capacity| clamp(capacity, BOUNDS)), [1, 1, 7, 20, 20]);
    // Bounds that are no bounds: no panic.
    assert_eq!(clamp(5, Bounds { min: 9, max: 3 }), 3);
}

fn any_signal() -> impl Strategy<Value = Signal> {
    let metric = prop_oneof![0.0_f64..300.0, Just(0.0), Just(f64::NAN)];
    (metric, 0_u8..5).prop_map(|(metric, kind)| match kind {
        0 => Signal::High { metric },
        1 => Signal::Low { metric },
        2 => Signal::Quiet,
        3 => Signal::NoData,
        _ => Signal::Breach { metric, threshold: 50.0 },
    })
}

fn any_rule() -> impl Strategy<Value = Rule> {
    prop_oneof![
        (1.0_f64..200.0, 0_i64..600_000, 0_i64..600_000, any::<bool>()).prop_map(
            |(target, scale_out_cooldown_ms, scale_in_cooldown_ms, disable_scale_in)| {
                Rule::TargetTracking(TargetTracking {
                    target,
                    scale_out_cooldown_ms,
                    scale_in_cooldown_ms,
                    disable_scale_in,
                })
            }
        ),
        ([-5_i64..10, -5_i64..10, -5_i64..10], -10_i64..2)
            .prop_map(|(above, below)| steps(above, below)),
    ]
}

fn any_votes() -> impl Strategy<Value = Vec<(Rule, Signal)>> {
    prop::collection::vec((any_rule(), any_signal()), 0..4)
}

const NAMES: [&str; 4] = ["a", "b", "c", "d"];

fn votes(pairs: &[(Rule, Signal)]) -> Vec<Vote<'_>> {
    pairs.iter().zip(NAMES).map(|((rule, signal), name)| vote(name, rule, *signal)).collect()
}

proptest! {
    /// A long run: time passes, alarms come and go, decisions are applied. The invariants hold at each one.
    #[test]
    fn invariants_of_a_run(
        rounds in prop::collection::vec((any_votes(), 0_i64..400_000), 1..12),
        (min, max) in (0_u32..10).prop_flat_map(|min| (Just(min), min..40)),
        start in 0_u32..50,
    ) {
        let bounds = Bounds { min, max };
        let mut memory = Memory::default();
        let (mut now, mut capacity) = (0, start);
        for (pairs, wait) in &rounds {
            now += wait;
            let votes = votes(pairs);
            let before = memory;
            let decision = decide(now, capacity, bounds, ON, &votes, &memory);
            prop_assert_eq!(&decision, &decide(now, capacity, bounds, ON, &votes, &memory));
            prop_assert_eq!(before, memory);
            let Decision::Change { capacity: to, policy, direction } = decision else { continue };

            prop_assert!(min <= to && to <= max && to != capacity);
            prop_assert_eq!(direction == Direction::Out, to > capacity);
            let voice = votes.iter().find(|vote| vote.policy == policy).unwrap();
            prop_assert!(!matches!(voice.signal, Signal::Quiet | Signal::NoData));
            if direction == Direction::In {
                prop_assert!(memory.cooling_until(now).is_none_or(|(way, _)| way == Direction::Out));
                if let Rule::TargetTracking(rule) = voice.rule {
                    prop_assert!(!rule.disable_scale_in);
                    for vote in &votes {
                        if let Rule::TargetTracking(rule) = vote.rule {
                            let low = matches!(vote.signal, Signal::Low { .. });
                            prop_assert!(low || rule.disable_scale_in);
                        }
                    }
                }
                let out = votes.iter().any(|vote| matches!(
                    (vote.rule, vote.signal), (Rule::TargetTracking(_), Signal::High { .. })
                ));
                prop_assert!(!out);
            }
            memory.applied(now, capacity, to, voice.rule);
            capacity = to;
        }
    }

    /// Equal input a second time, with a cooldown under way: nothing more happens.
    #[test]
    fn idempotent_within_a_cooldown(pairs in any_votes(), capacity in 0_u32..50, later in 0_i64..1_000) {
        let votes = votes(&pairs);
        let mut memory = Memory::default();
        if let Decision::Change { capacity: to, policy, direction } =
            decide(0, capacity, BOUNDS, ON, &votes, &memory)
        {
            let rule = votes.iter().find(|vote| vote.policy == policy).unwrap().rule;
            memory.applied(0, capacity, to, rule);
            if memory.cooling_until(later).is_some() {
                let again = decide(later, to, BOUNDS, ON, &votes, &memory);
                // After scaling in, another policy may not like what is left.
                let kept = matches!(again, Decision::Keep { .. });
                prop_assert!(kept || direction == Direction::In, "{again:?}");
                if direction == Direction::In {
                    let further =
                        matches!(again, Decision::Change { direction: Direction::In, .. });
                    prop_assert!(!further, "{again:?}");
                }
            }
        }
    }

    /// Without data nothing is done, whatever happened before.
    #[test]
    fn no_data_no_action(rules in prop::collection::vec(any_rule(), 0..4), capacity in 0_u32..50) {
        let pairs: Vec<(Rule, Signal)> =
            rules.into_iter().map(|rule| (rule, Signal::NoData)).collect();
        prop_assert_eq!(
            decide(0, capacity, BOUNDS, ON, &votes(&pairs), &Memory::default()),
            KEEP
        );
    }

    /// A policy that asks for more is never overruled by the others.
    #[test]
    fn any_policy_may_scale_out(pairs in any_votes(), capacity in 1_u32..19, metric in 71.0_f64..300.0) {
        let rule = track(70.0);
        let mut votes = votes(&pairs);
        votes.push(vote("hot", &rule, Signal::High { metric }));
        let least = clamp(tracking(70.0).wanted(capacity, metric), BOUNDS);
        match decide(0, capacity, BOUNDS, ON, &votes, &Memory::default()) {
            Decision::Change { capacity, direction: Direction::Out, .. } => prop_assert!(capacity >= least),
            other => prop_assert!(false, "{other:?}"),
        }
    }

    /// A larger scale-out within the cooldown ends where it would have ended had it come at once.
    #[test]
    fn a_larger_scale_out_is_credited(capacity in 1_u32..10, first in 71.0_f64..300.0, more in 0.0_f64..300.0) {
        let rule = track(70.0);
        let bounds = Bounds { min: 1, max: 1_000 };
        let votes = |metric| [vote("p", &rule, Signal::High { metric })];
        let mut memory = Memory::default();
        let mut now = capacity;
        for metric in [first, first + more] {
            if let Decision::Change { capacity: to, .. } =
                decide(0, now, bounds, ON, &votes(metric), &memory)
            {
                memory.applied(0, now, to, &rule);
                now = to;
            }
        }
        prop_assert_eq!(now, tracking(70.0).wanted(capacity, first + more).max(capacity + 1));
    }
}

use proptest::prelude::*;

use super::*;

const WAIT: i64 = 60_000;

fn rollout(policy: Policy) -> Rollout {
    Rollout::new(policy, vec!["errors".to_owned()], 0)
}

fn blue_green(shift: Shift) -> Policy {
    Policy::BlueGreen { shift, wait_ms: WAIT, termination_wait_ms: WAIT, timeout_ms: None }
}

fn rolling(batch: Size, rollback: Option<Size>) -> Policy {
    Policy::Rolling { batch, rollback, wait_ms: WAIT, timeout_ms: None }
}

fn well(now: i64) -> Seen {
    let fleet = Fleet { ready: true, failed: None };
    let alarms = vec![("errors".to_owned(), Heard::Quiet)];
    Seen { now, alarms, old: fleet.clone(), new: fleet }
}

fn ringing(now: i64) -> Seen {
    Seen { alarms: vec![("errors".to_owned(), Heard::Alarm)], ..well(now) }
}

/// The phases that a deployment goes through when nothing happens, with what is wanted in each.
fn course(policy: Policy, sizes: Sizes) -> Vec<(Phase, Wanted)> {
    let mut rollout = rollout(policy);
    let mut course = Vec::new();
    let mut now = 0;
    loop {
        course.push((rollout.phase.clone(), wanted(&rollout, sizes)));
        match next(&rollout, sizes, &well(now)) {
            Next::Go(phase) => {
                rollout.phase = phase;
                rollout.since = now;
            }
            Next::Wait => {
                course.pop();
                now += WAIT;
            }
            Next::Done => return course,
            other => panic!("{other:?}"),
        }
        assert!(course.len() < 10_000);
    }
}

/// Shares of the baking periods, in percent.
fn shares(policy: Policy, sizes: Sizes) -> Vec<i64> {
    let baking = course(policy, sizes);
    let baking = baking.into_iter().filter(|(phase, _)| matches!(phase, Phase::Baking { .. }));
    baking.map(|(_, wanted)| (wanted.share * 100.0).round() as i64).collect()
}

#[test]
fn traffic_is_shifted_as_aws_documents() {
    let sizes = Sizes { old: 4, new: 4 };
    assert_eq!(shares(blue_green(Shift::AllAtOnce), sizes), [100]);
    assert_eq!(shares(blue_green(Shift::Canary(Size::Percent(30))), sizes), [30, 100]);
    assert_eq!(shares(blue_green(Shift::Canary(Size::Instances(1))), sizes), [25, 100]);
    let linear = blue_green(Shift::Linear(Size::Percent(20)));
    assert_eq!(shares(linear, sizes), [20, 40, 60, 80, 100]);
    let third = blue_green(Shift::Linear(Size::Instances(1)));
    assert_eq!(shares(third, Sizes { old: 1, new: 3 }), [33, 67, 100]);
    assert_eq!(shares(rolling(Size::Instances(2), None), sizes), [50, 100]);
    assert_eq!(
        shares(rolling(Size::Percent(30), None), Sizes { old: 2, new: 10 }),
        [30, 60, 90, 100]
    );
    assert_eq!(shares(rolling(Size::Percent(50), None), Sizes { old: 1, new: 1 }), [100]);
}

#[test]
fn rolling_replaces_batch_by_batch() {
    let course = course(rolling(Size::Instances(1), None), Sizes { old: 3, new: 3 });
    let counts: Vec<(u32, u32)> = course.iter().map(|(_, w)| (w.old, w.new)).collect();
    let each = |old, new| [(old, new); 3];
    let mut expected: Vec<(u32, u32)> = [each(3, 1), each(2, 2), each(1, 3)].concat();
    // Termination.
    expected.push((1, 3));
    assert_eq!(counts, expected);
}

#[test]
fn waits_and_limits_are_kept() {
    let sizes = Sizes { old: 1, new: 1 };
    let mut canary = rollout(blue_green(Shift::Canary(Size::Percent(10))));
    let slow = Seen { new: Fleet::default(), ..well(5) };
    assert_eq!(next(&canary, sizes, &slow), Next::Wait);
    canary.phase = Phase::Baking { step: 0 };
    canary.since = 1_000;
    assert_eq!(next(&canary, sizes, &well(1_000 + WAIT - 1)), Next::Wait);
    assert_eq!(next(&canary, sizes, &well(1_000 + WAIT)), Next::Go(Phase::Activating { step: 1 }));
    canary.phase = Phase::Terminating;
    assert_eq!(next(&canary, sizes, &well(1_000 + WAIT - 1)), Next::Wait);
    assert_eq!(next(&canary, sizes, &well(1_000 + WAIT)), Next::Done);
    // A late one goes back, whatever it waits for.
    canary.policy = Policy::BlueGreen {
        shift: Shift::Canary(Size::Percent(10)),
        wait_ms: WAIT,
        termination_wait_ms: WAIT,
        timeout_ms: Some(600_000),
    };
    for phase in [Phase::Creating { step: 0 }, Phase::Baking { step: 1 }, Phase::Terminating] {
        canary.phase = phase;
        assert_eq!(back(next(&canary, sizes, &well(599_999))), None);
        let cause = back(next(&canary, sizes, &well(600_000))).unwrap_or_default();
        assert!(cause.contains("MaximumExecutionTimeoutInSeconds (600 s)"), "{cause}");
    }
}

fn back(next: Next) -> Option<String> {
    match next {
        Next::Go(Phase::RollingBack { cause, .. }) => Some(cause),
        _ => None,
    }
}

#[test]
fn alarms_and_broken_instances_end_a_deployment() {
    let sizes = Sizes { old: 2, new: 2 };
    let canary = rollout(blue_green(Shift::Canary(Size::Percent(50))));
    let cause = back(next(&canary, sizes, &ringing(0))).unwrap_or_default();
    assert!(cause.contains("[errors]") && cause.contains("ALARM"), "{cause}");
    let gone = Seen { alarms: vec![("errors".to_owned(), Heard::Gone)], ..well(0) };
    assert!(back(next(&canary, sizes, &gone)).unwrap_or_default().contains("do not exist"));
    let broken = Fleet { ready: false, failed: Some("it ended".to_owned()) };
    let broken = Seen { new: broken, ..well(0) };
    assert_eq!(back(next(&canary, sizes, &broken)).as_deref(), Some("it ended"));
}

#[test]
fn a_blue_green_rollback_turns_all_traffic_at_once() {
    let sizes = Sizes { old: 2, new: 2 };
    let mut canary = rollout(blue_green(Shift::Canary(Size::Percent(50))));
    canary.phase = Phase::Baking { step: 0 };
    let Next::Go(phase) = next(&canary, sizes, &ringing(1)) else { panic!("no rollback") };
    canary.phase = phase;
    assert_eq!(wanted(&canary, sizes), Wanted { old: 2, new: 2, share: 0.0 });
    assert_eq!(next(&canary, sizes, &ringing(1)), Next::RolledBack);
}

#[test]
fn a_rolling_rollback_brings_the_old_fleet_back_in_batches() {
    let sizes = Sizes { old: 4, new: 4 };
    let mut course = Vec::new();
    for rollback in [Some(Size::Instances(1)), None] {
        let mut rolled = rollout(rolling(Size::Instances(1), rollback));
        rolled.phase = Phase::Baking { step: 2 };
        loop {
            let now = wanted(&rolled, sizes);
            course.push((now.old, now.new, now.share));
            match next(&rolled, sizes, &ringing(0)) {
                Next::Go(phase) => rolled.phase = phase,
                Next::RolledBack => break,
                other => panic!("{other:?}"),
            }
        }
    }
    let expected = [
        // Baking step 2: two old instances are gone, three new ones have three quarters of the traffic.
        (2, 3, 0.75),
        // One more old instance each time; traffic goes to those that are there.
        (3, 2, 0.5),
        (4, 1, 0.25),
        // The same, all at once.
        (2, 3, 0.75),
        (4, 2, 0.5),
    ];
    assert_eq!(course, expected);
}

#[test]
fn a_rollback_without_the_old_fleet_is_stuck() {
    let sizes = Sizes { old: 2, new: 2 };
    let mut rolled = rollout(rolling(Size::Instances(1), None));
    rolled.phase = Phase::Baking { step: 1 };
    let Next::Go(phase) = next(&rolled, sizes, &ringing(0)) else { panic!("no rollback") };
    rolled.phase = phase;
    let waiting = Seen { old: Fleet::default(), ..well(0) };
    assert_eq!(next(&rolled, sizes, &waiting), Next::Wait);
    let broken = Fleet { ready: false, failed: Some("its disk is full".to_owned()) };
    let Next::Stuck(reason) = next(&rolled, sizes, &Seen { old: broken, ..well(0) }) else {
        panic!("not stuck")
    };
    assert!(reason.contains("ALARM") && reason.contains("its disk is full"), "{reason}");
}

#[test]
fn a_step_is_done_anew_after_a_restart() {
    assert_eq!(Phase::Baking { step: 3 }.restarted(), Phase::Creating { step: 3 });
    assert_eq!(Phase::Activating { step: 0 }.restarted(), Phase::Creating { step: 0 });
    assert_eq!(Phase::Terminating.restarted(), Phase::Terminating);
}

fn policies() -> impl Strategy<Value = Policy> {
    let timeout = prop_oneof![Just(None), (600_000..900_000i64).prop_map(Some)];
    let waits = (0..=2 * WAIT, 0..=WAIT, timeout);
    let canary =
        prop_oneof![(1..=50u32).prop_map(Size::Percent), (1..=5u32).prop_map(Size::Instances),];
    let linear =
        prop_oneof![(10..=50u32).prop_map(Size::Percent), (1..=5u32).prop_map(Size::Instances),];
    let shift = prop_oneof![
        Just(Shift::AllAtOnce),
        canary.prop_map(Shift::Canary),
        linear.prop_map(Shift::Linear),
    ];
    let batch =
        prop_oneof![(5..=50u32).prop_map(Size::Percent), (1..=5u32).prop_map(Size::Instances),];
    let rollback = prop_oneof![
        Just(None),
        (1..=100u32).prop_map(|p| Some(Size::Percent(p))),
        (1..=5u32).prop_map(|n| Some(Size::Instances(n))),
    ];
    prop_oneof![
        (shift, waits.clone()).prop_map(|(shift, (wait_ms, termination_wait_ms, timeout_ms))| {
            Policy::BlueGreen { shift, wait_ms, termination_wait_ms, timeout_ms }
        }),
        (batch, rollback, waits).prop_map(|(batch, rollback, (wait_ms, _, timeout_ms))| {
            Policy::Rolling { batch, rollback, wait_ms, timeout_ms }
        }),
    ]
}

/// What happens between two looks.
#[derive(Debug, Clone, Copy)]
struct Event {
    passed: i64,
    alarm: bool,
    old_ready: bool,
    new_ready: bool,
    new_fails: bool,
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = (0..90_000i64, 0..60u8, any::<bool>(), 0..4u8, 0..80u8).prop_map(
        |(passed, alarm, old_ready, new_ready, fails)| Event {
            passed,
            alarm: alarm == 0,
            old_ready,
            new_ready: new_ready > 0,
            new_fails: fails == 0,
        },
    );
    proptest::collection::vec(event, 1..200)
}

proptest! {
    #[test]
    fn whatever_happens_the_rules_hold(
        policy in policies(),
        old in 0..=20u32,
        new in 0..=20u32,
        events in events(),
    ) {
        let sizes = Sizes { old, new };
        let mut rollout = rollout(policy.clone());
        let mut now = 0;
        let (mut share, mut rolls_back, mut baked) = (0.0f64, false, 0);
        for event in events {
            now += event.passed;
            let before = wanted(&rollout, sizes);
            // The old fleet is never stopped before the new one has all the traffic.
            if matches!(policy, Policy::BlueGreen { .. }) {
                prop_assert_eq!(before.old, sizes.old);
            }
            // While it rolls, as many serve as the smaller fleet has: those that the traffic goes to
            // carry it.
            let carried = match before.share {
                share if share <= 0.0 => before.old,
                share if share >= 1.0 => before.new + before.old,
                _ => before.old + before.new,
            };
            prop_assert!(carried >= sizes.old.min(sizes.new), "{:?} {:?}", rollout, before);
            if sizes.new >= sizes.old {
                prop_assert!(before.old + before.new >= sizes.old);
            }
            prop_assert!((0.0..=1.0).contains(&before.share));
            prop_assert!(before.old <= sizes.old && before.new <= sizes.new);
            match rolls_back {
                // Traffic comes back and stays.
                true => prop_assert!(before.share <= share + 1e-9),
                // It only grows, and never over what is configured before that has baked.
                false => {
                    prop_assert!(before.share >= share - 1e-9);
                    let steps = steps(&policy, sizes);
                    if baked < steps {
                        prop_assert!(before.share <= share_at(&policy, sizes, baked) + 1e-9);
                    }
                }
            }
            // Instances that may not be ready get no more than those before them.
            if let Phase::Creating { step } = rollout.phase {
                let ready = step.checked_sub(1).map_or(0.0, |step| share_at(&policy, sizes, step));
                prop_assert!(before.share <= ready + 1e-9);
            }
            share = before.share;
            let heard = if event.alarm { Heard::Alarm } else { Heard::Quiet };
            let seen = Seen {
                now,
                alarms: vec![("errors".to_owned(), heard)],
                old: Fleet { ready: event.old_ready, failed: None },
                new: Fleet {
                    ready: event.new_ready,
                    failed: event.new_fails.then(|| "broken".to_owned()),
                },
            };
            let decided = next(&rollout, sizes, &seen);
            // An alarm always ends in a rollback, and a rollback is never left for anything else.
            if event.alarm && !rolls_back {
                prop_assert!(back(decided.clone()).is_some());
            }
            if rolls_back {
                prop_assert!(!matches!(decided, Next::Done));
            }
            match decided {
                Next::Wait => {}
                Next::Go(phase) => {
                    match (&rollout.phase, &phase) {
                        (_, Phase::RollingBack { .. }) => rolls_back = true,
                        // Traffic is turned on only for instances that are ready.
                        (Phase::Creating { .. }, Phase::Activating { .. }) => {
                            prop_assert!(seen.new.ready);
                        }
                        (Phase::Baking { step }, _) => {
                            let (Policy::BlueGreen { wait_ms, .. }
                            | Policy::Rolling { wait_ms, .. }) = &policy;
                            prop_assert!(now - rollout.since >= *wait_ms);
                            prop_assert!(seen.new.ready);
                            baked = step + 1;
                        }
                        _ => {}
                    }
                    rollout.phase = phase;
                    rollout.since = now;
                }
                Next::Done => {
                    prop_assert!(before.share >= 1.0 && before.new == sizes.new);
                    prop_assert!(seen.new.ready && !rolls_back);
                    prop_assert_eq!(baked, steps(&policy, sizes));
                    return Ok(());
                }
                Next::RolledBack => {
                    prop_assert!(rolls_back && seen.old.ready && before.old == sizes.old);
                    return Ok(());
                }
                Next::Stuck(_) => prop_assert!(false, "the old fleet is well"),
            }
        }
    }

    #[test]
    fn an_undisturbed_deployment_ends(policy in policies(), old in 0..=20u32, new in 0..=20u32) {
        let untimed = match policy {
            Policy::BlueGreen { shift, wait_ms, termination_wait_ms, .. } => {
                Policy::BlueGreen { shift, wait_ms, termination_wait_ms, timeout_ms: None }
            }
            Policy::Rolling { batch, rollback, wait_ms, .. } => {
                Policy::Rolling { batch, rollback, wait_ms, timeout_ms: None }
            }
        };
        let course = course(untimed, Sizes { old, new });
        let ended = matches!(course.last(), Some((Phase::Terminating, last)) if last.share == 1.0);
        prop_assert!(ended);
    }
}

//! When alarms are due, and which datapoints they see.

use proptest::prelude::*;

use super::*;

const NOW: i64 = 1_800_000_000;

fn at(seconds: i64) -> Timestamp {
    Timestamp(seconds * 1000)
}

#[test]
fn alarms_are_due_once_and_after_their_values_came() {
    let mut clock = Clockwork::default();
    // A start evaluates nothing.
    assert_eq!(clock.due(at(NOW + 5)), None);
    assert_eq!(clock.due(at(NOW + 10)), None);
    assert_eq!(clock.due(Timestamp(NOW * 1000 + 10_999)), None);
    let ten = Due { at: NOW + 10, minute: false, missed: 0 };
    assert_eq!(clock.due(at(NOW + 11)), Some(ten));
    assert_eq!(clock.due(at(NOW + 12)), None);
    for ten in [20, 30, 40, 50] {
        assert!(!clock.due(at(NOW + ten + 1)).unwrap().minute);
    }
    assert_eq!(clock.due(at(NOW + 61)), Some(Due { at: NOW + 60, minute: true, missed: 0 }));
}

#[test]
fn what_was_left_out_is_said_and_a_clock_may_be_set_back() {
    let mut clock = Clockwork::default();
    assert_eq!(clock.due(at(NOW)), None);
    // The second before NOW belongs to the ten seconds before.
    assert_eq!(clock.due(at(NOW + 131)), Some(Due { at: NOW + 130, minute: true, missed: 130 }));
    assert_eq!(clock.due(at(NOW - 3600)), None);
    assert_eq!(clock.due(at(NOW - 3599)).unwrap().missed, 0);
}

proptest! {
    /// However the clock is looked at, no ten seconds are evaluated twice, each minute is once, and what
    /// was left out adds up.
    #[test]
    fn each_minute_is_evaluated_once(steps in prop::collection::vec(1..30_000_i64, 1..200)) {
        let mut clock = Clockwork::default();
        let mut now = NOW * 1000;
        clock.due(Timestamp(now));
        let first = clock.last.unwrap();
        let mut last = first;
        for step in steps {
            now += step;
            if let Some(due) = clock.due(Timestamp(now)) {
                prop_assert!(due.at % TEN == 0 && due.at > last);
                prop_assert!(due.at * 1000 + SETTLE <= now && now < due.at * 1000 + SETTLE + 10_000);
                prop_assert_eq!(due.missed, due.at - last - TEN);
                prop_assert_eq!(due.minute, due.at / MINUTE != last / MINUTE);
                last = due.at;
            }
        }
    }
}

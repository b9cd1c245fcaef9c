//! Tests of `meter`.

use proptest::prelude::*;

use super::*;

const TEN: Rate = Rate { tokens: 10, period_ms: 1_000 };

/// How many of `tries` at `now_ms` are allowed.
fn spend(meter: &mut Meter, now_ms: i64, rate: Rate, tries: u32) -> u32 {
    (0..tries).filter(|_| meter.spend(now_ms, rate).map(|next| *meter = next).is_some()).count()
        as u32
}

#[test]
fn a_period_s_worth_at_once_then_at_the_rate() {
    let mut meter = Meter::default();
    assert_eq!(spend(&mut meter, 5_000, TEN, 20), 10);
    assert_eq!(spend(&mut meter, 5_099, TEN, 20), 0, "a token takes 100 ms");
    assert_eq!(spend(&mut meter, 5_100, TEN, 20), 1);
    assert_eq!(spend(&mut meter, 5_450, TEN, 20), 3, "half a token is kept");
    assert_eq!(spend(&mut meter, 5_500, TEN, 20), 1);
}

#[test]
fn what_is_not_spent_does_not_add_up() {
    let mut meter = Meter::default();
    assert_eq!(spend(&mut meter, 0, TEN, 1), 1);
    assert_eq!(spend(&mut meter, 1_000_000, TEN, 20), 10);
}

#[test]
fn a_changed_rate_counts_from_the_next_token_on() {
    let mut meter = Meter::default();
    assert_eq!(spend(&mut meter, 0, TEN, 20), 10);
    assert_eq!(spend(&mut meter, 0, Rate { tokens: 30, ..TEN }, 30), 20);
    assert_eq!(spend(&mut meter, 0, TEN, 20), 0);
    // 20 of the 30 have to drain before the lower rate has room again.
    assert_eq!(spend(&mut meter, 2_000, TEN, 1), 0);
    assert_eq!(spend(&mut meter, 2_100, TEN, 9), 1);
}

#[test]
fn a_rate_of_nothing_allows_nothing() {
    assert_eq!(Meter::default().spend(0, Rate { tokens: 0, period_ms: 1_000 }), None);
}

#[test]
fn a_clock_that_goes_back_refills_nothing_and_recovers() {
    let mut meter = Meter::default();
    assert_eq!(spend(&mut meter, 100_000, TEN, 9), 9);
    assert_eq!(spend(&mut meter, 0, TEN, 2), 1);
    assert_eq!(spend(&mut meter, 100, TEN, 2), 1, "it does not wait for 100,000 again");
    for now_ms in [i64::MIN, i64::MAX] {
        let _ = meter.spend(now_ms, Rate { tokens: u64::MAX, period_ms: u64::MAX });
    }
}

proptest! {
    /// The definition of a token bucket: over any stretch of time, no more than what it holds and what flows in.
    #[test]
    fn no_stretch_of_time_sees_more_than_it_holds(
        gaps in prop::collection::vec(0i64..400, 1..200),
        tokens in 0u64..20,
    ) {
        let rate = Rate { tokens, period_ms: 1_000 };
        let mut meter = Meter::default();
        let mut now_ms = 0;
        let mut allowed = Vec::new();
        for gap in gaps {
            now_ms += gap;
            if spend(&mut meter, now_ms, rate, 1) == 1 {
                allowed.push(now_ms);
            }
        }
        for (first, from) in allowed.iter().enumerate() {
            for (last, to) in allowed.iter().enumerate().skip(first) {
                let inflow = (to - from) as f64 * tokens as f64 / 1_000.0;
                prop_assert!((last - first + 1) as f64 <= tokens as f64 + inflow);
            }
        }
    }
}

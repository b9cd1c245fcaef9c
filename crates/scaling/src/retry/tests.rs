//! Tests of `retry`.

use proptest::prelude::*;

use super::*;

/// The waits of an event whose attempts, of no duration, all end in `outcome`, and why it is given up.
fn waits(policy: Policy, outcome: Outcome) -> (Vec<i64>, Condition) {
    let (mut attempts, mut age_ms, mut waits) = (Attempts::default(), 0, Vec::new());
    loop {
        attempts = attempts.and(outcome);
        match policy.next(attempts, age_ms, outcome) {
            Decision::RetryAfter(wait_ms) => {
                waits.push(wait_ms);
                age_ms += wait_ms;
            }
            Decision::Discard { condition } => return (waits, condition),
        }
    }
}

#[test]
fn a_function_error_is_retried_after_one_minute_and_after_two() {
    let exhausted = Condition::RetriesExhausted;
    assert_eq!(
        waits(Policy::default(), Outcome::FunctionError),
        (vec![60_000, 120_000], exhausted)
    );
    for (maximum_retry_attempts, expected) in [(0, vec![]), (1, vec![60_000])] {
        let policy = Policy { maximum_retry_attempts, ..Policy::default() };
        assert_eq!(waits(policy, Outcome::FunctionError), (expected, exhausted));
    }
    let fast = Policy { wait_scale: 0.001, ..Policy::default() };
    assert_eq!(waits(fast, Outcome::FunctionError), (vec![60, 120], exhausted));
    assert_eq!(
        [exhausted, Condition::EventAgeExceeded].map(Condition::as_str),
        ["RetriesExhausted", "EventAgeExceeded"]
    );
}

#[test]
fn a_throttled_event_is_retried_for_six_hours() {
    for outcome in [Outcome::Throttled, Outcome::SystemError] {
        let (waits, condition) = waits(Policy::default(), outcome);
        assert_eq!(condition, Condition::EventAgeExceeded);
        let doubling = [
            1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 64_000, 128_000, 256_000, 300_000, 300_000,
        ];
        assert_eq!(waits[..11], doubling);
        let age: i64 = waits.iter().sum();
        assert!((21_300_000..=21_600_000).contains(&age), "{age}");
    }
}

#[test]
fn throttles_do_not_use_up_the_retries() {
    let attempts = Attempts { function_errors: 2, not_run: 40 };
    let policy = Policy::default();
    assert_eq!(policy.next(attempts, 0, Outcome::FunctionError), Decision::RetryAfter(120_000));
    assert_eq!(policy.next(attempts, 0, Outcome::Throttled), Decision::RetryAfter(300_000));
    let last = attempts.and(Outcome::FunctionError);
    let discard = Decision::Discard { condition: Condition::RetriesExhausted };
    assert_eq!(policy.next(last, 0, Outcome::FunctionError), discard);
}

#[test]
fn an_event_that_would_be_too_old_is_given_up() {
    let policy = Policy { maximum_event_age_s: 60, ..Policy::default() };
    let first = Attempts::default().and(Outcome::FunctionError);
    assert_eq!(policy.next(first, 0, Outcome::FunctionError), Decision::RetryAfter(60_000));
    let discard = Decision::Discard { condition: Condition::EventAgeExceeded };
    assert_eq!(policy.next(first, 1, Outcome::FunctionError), discard);
    assert_eq!([60_000, 60_001].map(|age_ms| policy.expired(age_ms)), [false, true]);
}

proptest! {
    #[test]
    fn every_event_ends_and_no_wait_is_negative(
        function_errors in any::<u32>(),
        not_run in any::<u32>(),
        age_ms in any::<i64>(),
        maximum_retry_attempts in any::<u32>(),
        maximum_event_age_s in any::<u32>(),
        wait_scale in any::<f64>(),
        outcome in prop::sample::select(vec![Outcome::FunctionError, Outcome::Throttled, Outcome::SystemError]),
    ) {
        let policy = Policy { maximum_retry_attempts, maximum_event_age_s, wait_scale };
        let attempts = Attempts { function_errors, not_run }.and(outcome);
        match policy.next(attempts, age_ms, outcome) {
            Decision::RetryAfter(wait_ms) => {
                prop_assert!(wait_ms >= 0);
                prop_assert!(!policy.expired(age_ms.saturating_add(wait_ms)));
            }
            Decision::Discard { condition: Condition::RetriesExhausted } => {
                prop_assert!(outcome == Outcome::FunctionError && attempts.function_errors > maximum_retry_attempts);
            }
            Decision::Discard { condition: Condition::EventAgeExceeded } => {}
        }
    }
}

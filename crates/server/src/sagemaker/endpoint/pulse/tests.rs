use super::*;

#[test]
fn concurrency_is_the_average_per_instance() {
    let mut beat = Beat::new(&Arc::default());
    assert_eq!(beat.average(), None);
    beat.sample(4, 2);
    beat.sample(0, 2);
    beat.sample(2, 0);
    assert_eq!(beat.average(), Some((2.0 + 0.0 + 2.0) / 3.0), "who waits at zero waits for one");
    assert_eq!(beat.average(), None, "each window begins anew");
}

#[test]
fn a_minute_without_requests_is_said_once_before_it_ends() {
    let mut beat = Beat::new(&Arc::default());
    assert!(!beat.silent(30_000, 0));
    assert!(beat.silent(55_000, 0));
    assert!(!beat.silent(56_000, 0));
    beat.next_minute(0);
    assert!(!beat.silent(58_000, 1), "one request has arrived");
    beat.next_minute(1);
    assert!(beat.silent(59_900, 1));
}

use super::*;

#[test]
fn requests_count_until_their_guard_goes() {
    let load = Load::default();
    let first = load.enter();
    let second = load.enter();
    assert_eq!((load.arrived(), load.in_flight(), load.held()), (2, 2, 0));
    drop(first);
    assert_eq!((load.arrived(), load.in_flight()), (2, 1));
    drop(second);
    assert_eq!((load.arrived(), load.in_flight()), (2, 0));
}

#[test]
fn no_more_are_held_than_may() {
    let load = Load::default();
    let mut held: Vec<_> = (0..MOST_HELD).filter_map(|_| load.hold()).collect();
    assert_eq!(held.len() as u64, MOST_HELD);
    assert!(load.hold().is_none());
    assert_eq!(load.held(), MOST_HELD, "a refusal leaves nothing behind");
    held.pop();
    assert!(load.hold().is_some());
}

#[test]
fn a_sleeper_is_woken_once_with_what_it_had() {
    let load = Load::default();
    assert!(!load.asleep());
    assert_eq!(load.wake(), None);
    load.sleep(3);
    assert!(load.asleep());
    assert_eq!(load.wake(), Some(3));
    assert!(!load.asleep());
    assert_eq!(load.wake(), None, "two requests do not wake it twice");
}

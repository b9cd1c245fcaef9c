use super::*;

#[test]
fn what_has_had_no_request_for_the_timeout_is_idle() {
    let start = Instant::now();
    let after = |seconds| start + Duration::from_secs(seconds);
    let timeout = Some(Duration::from_secs(10));
    let mut seen = Seen { timeout, arrived: 5, since: start };
    assert!(!seen.idle(after(9), 5, 0));
    assert!(seen.idle(after(10), 5, 0));
    assert!(!seen.idle(after(11), 6, 0), "a request begins the time anew");
    assert!(!seen.idle(after(15), 6, 1), "a long one goes on");
    assert!(!seen.idle(after(24), 6, 0));
    assert!(seen.idle(after(25), 6, 0));
    seen.timeout = None;
    assert!(!seen.idle(after(1000), 6, 0));
}

#[test]
fn the_tag_is_a_number_of_seconds() {
    assert_eq!(seconds("300"), Some(Duration::from_secs(300)));
    assert_eq!(seconds(" 5 "), Some(Duration::from_secs(5)));
    for other in ["", "0", "-1", "1.5", "5m", "99999999999"] {
        assert_eq!(seconds(other), None, "{other}");
    }
}

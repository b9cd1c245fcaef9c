//! Ports and counts; whole instances are in tests/pool.rs.

use super::output::find_port;
use super::*;

#[test]
fn the_port_is_found_in_logs_of_every_kind() {
    for (line, port) in [
        ("INFO serving m (a, 2 classes) on http://127.0.0.1:40123", Some(40123)),
        ("listening on http://127.0.0.1:8080/ (quit with ^C)", Some(8080)),
        ("listening on http://0.0.0.0:8080", None),
        ("http://127.0.0.1:", None),
        ("http://127.0.0.1:0", None),
        ("http://127.0.0.1:99999", None),
        ("", None),
    ] {
        assert_eq!(find_port(line), port, "{line}");
    }
}

#[tokio::test]
async fn a_closed_backend_is_idle_when_its_last_request_is() {
    let backend = Arc::new(Backend::new(1));
    let first = backend.acquire(2).unwrap();
    let second = backend.acquire(2).unwrap();
    assert_eq!(backend.acquire(2).unwrap_err(), Refusal::Full);
    drop(second);
    assert_eq!(backend.load(), 1);
    backend.close();
    assert_eq!(backend.acquire(2).unwrap_err(), Refusal::Closed);
    let waiting = tokio::spawn({
        let backend = Arc::clone(&backend);
        async move { backend.idle().await }
    });
    tokio::task::yield_now().await;
    assert!(!waiting.is_finished());
    drop(first);
    waiting.await.unwrap();
    backend.idle().await;
}

#[test]
fn reasons_are_bounded() {
    let lines = vec!["x".repeat(5000)];
    assert_eq!(reason("ended", &lines).chars().count(), REASON_CHARACTERS);
    assert_eq!(reason("ended", &[]), "ended");
}

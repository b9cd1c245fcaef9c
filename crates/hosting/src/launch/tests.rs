//! What can be said without starting processes; the rest is in tests/process.rs.

use super::*;

#[test]
fn the_sentinel_keeps_what_was_not_removed() {
    let left = sentinel::remaining("+10\n+11\n-10\nnoise\n+1\n+0\n+-5\n+12".as_bytes());
    assert_eq!(left.into_iter().collect::<Vec<_>>(), [11, 12]);
}

#[test]
fn mounts_on_odd_targets_are_refused_before_anything_happens() {
    for target in ["opt/ml", "/", "/opt/../etc", "/opt/./ml/.."] {
        let mount = Mount { source: "/tmp".into(), target: target.into(), read_only: false };
        let error = mounts::apply(&[mount]).unwrap_err().to_string();
        assert!(error.contains("plain absolute path"), "{target}: {error}");
    }
    let mount =
        Mount { source: "/does/not/exist".into(), target: "/opt/ml".into(), read_only: false };
    let error = mounts::apply(&[mount]).unwrap_err().to_string();
    assert!(error.contains("`/does/not/exist`"), "{error}");
}

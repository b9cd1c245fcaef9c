//! The pure parts; processes are tested in tests/process.rs.

use proptest::prelude::*;

use super::lines::{MAX_LINE, Splitter};
use super::sampler::{Stat, parse};
use super::*;

proptest! {
    #[test]
    fn lines_do_not_depend_on_how_bytes_arrive(
        text in "[ab\r\n]{0,60}",
        cuts in proptest::collection::vec(0usize..60, 0..6),
    ) {
        let mut cuts: Vec<usize> = cuts.into_iter().map(|c| c.min(text.len())).collect();
        cuts.extend([0, text.len()]);
        cuts.sort_unstable();
        let mut splitter = Splitter::default();
        let mut found = Vec::new();
        for pair in cuts.windows(2) {
            found.extend(splitter.push(&text.as_bytes()[pair[0]..pair[1]]));
        }
        found.extend(splitter.finish());
        let mut expected: Vec<&str> = text.split('\n').collect();
        if expected.last() == Some(&"") {
            expected.pop();
        }
        let expected: Vec<&str> =
            expected.into_iter().map(|l| l.strip_suffix('\r').unwrap_or(l)).collect();
        prop_assert_eq!(found, expected);
    }
}

#[test]
fn long_lines_are_cut_and_the_next_one_is_whole() {
    let mut splitter = Splitter::default();
    let mut found = Vec::new();
    for _ in 0..100 {
        found.extend(splitter.push(&[b'x'; 10_000]));
    }
    found.extend(splitter.push(b"\nnext\n\xff\n"));
    assert_eq!(found.len(), 3);
    assert_eq!(found[0].len(), MAX_LINE);
    assert_eq!(found[1], "next");
    assert_eq!(found[2], "\u{fffd}");
}

#[test]
fn a_stat_line_is_read_whatever_the_name() {
    let line = b"7 (a ) 1 2 (b) S 1 42 42 0 -1 4194560 1 2 3 4 10 20 30 40 20 0 1 0 999 4096 25 18446744073709551615 1";
    assert_eq!(parse(line), Some(Stat { group: 42, ticks: 100, start: 999, pages: 25 }));
    assert_eq!(parse(b""), None);
    assert_eq!(parse(b"7 (x) S 1"), None);
}

#[test]
fn only_allowed_variables_are_inherited() {
    let environment = inherited_environment();
    assert!(environment.contains_key("PATH"));
    assert!(environment.keys().all(|name| INHERITED.contains(&name.as_str())), "{environment:?}");
    // Cargo sets this one for every test.
    assert!(std::env::var_os("CARGO_MANIFEST_DIR").is_some());
}

#[test]
fn ends_are_told_in_words() {
    assert_eq!(Exit::Signal(11).to_string(), "signal 11 (SIGSEGV)");
    let exceeded = MemoryExceeded { limit: 1 << 30, used: 3 << 29 };
    assert_eq!(
        Exit::MemoryExceeded(exceeded).to_string(),
        "out of memory: 1.50 GiB used, the limit is 1.00 GiB"
    );
}

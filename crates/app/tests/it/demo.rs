//! `kennel demo`: the first thing a new user runs.

use crate::support::Home;

#[test]
fn the_demo_draws_trains_serves_and_is_mostly_right() {
    let home = Home::new();
    let ran = home.run(&["demo", "--output", "show"]).ok();
    for wanted in [
        "1. drawing 8 invented breeds",
        "2. training on",
        "3. serving on http://",
        "kennel train YOUR_PHOTOS",
    ] {
        assert!(ran.out.contains(wanted), "{wanted}: {}", ran.out);
    }
    let line = ran
        .out
        .lines()
        .find(|l| l.contains(" of 8 right"))
        .unwrap_or_else(|| panic!("{}", ran.out));
    let right: usize = line.trim().split(' ').next().unwrap().parse().unwrap();
    assert!(right >= 6, "{}", ran.out);
    // What the last lines tell the user to do works.
    for left in ["show/model.tar.gz", "show/report.html", "show/pictures/train"] {
        assert!(home.path(left).exists(), "{left}");
    }
    let again = home.run(&["predict", "show/model.tar.gz", "show/pictures/test"]).ok();
    assert!(again.out.contains('%'), "{}", again.out);
}

//! The sentinel: kills what the children of a dead server left behind.
//!
//! The server writes `+PID` for each process group that it starts and `-PID` for each that ended. Its
//! death, however sudden, closes the pipe.

use std::collections::BTreeSet;
use std::io::BufRead;

use rustix::process::{Pid, Signal, kill_process_group};

/// Reads until the server is gone, then kills every group that is still registered.
pub(super) fn watch(input: impl BufRead) {
    for group in remaining(input) {
        if let Some(group) = Pid::from_raw(group) {
            // A group that is gone by now is what we want.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

/// The groups that were added and not removed when the input ends.
pub(super) fn remaining(input: impl BufRead) -> BTreeSet<i32> {
    let mut groups = BTreeSet::new();
    for line in input.lines().map_while(Result::ok) {
        // Process 1 and "all processes" (0, -1) are never ours.
        let pid = |text: &str| text.parse::<i32>().ok().filter(|pid| *pid > 1);
        if let Some(added) = line.strip_prefix('+').and_then(pid) {
            groups.insert(added);
        } else if let Some(removed) = line.strip_prefix('-').and_then(pid) {
            groups.remove(&removed);
        }
    }
    groups
}

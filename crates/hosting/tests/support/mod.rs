//! What the tests of this crate share.

#![allow(dead_code, reason = "each test file uses its own part")]

pub(crate) mod function;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use kennel_hosting::Command;
use kennel_hosting::process::{Launcher, LauncherOptions, Lines, ProcessSpec};

/// Long enough for a loaded machine; a test that waits this long has failed.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// The helper binary: the launch stage and programs that misbehave on request.
pub(crate) fn fake_kennel() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_kennel-hosting-test-helper"))
}

pub(crate) async fn launcher() -> Launcher {
    Launcher::start(LauncherOptions { kennel: fake_kennel() }).unwrap()
}

pub(crate) fn shell(script: &str) -> ProcessSpec {
    ProcessSpec { command: Command::new(["/bin/sh", "-c", script]), ..ProcessSpec::default() }
}

pub(crate) fn fake(arguments: &[&str]) -> Command {
    let program = fake_kennel().display().to_string();
    Command::new(std::iter::once(program.as_str()).chain(arguments.iter().copied()))
}

/// The lines that come until the child closes its output.
pub(crate) async fn all(mut lines: Lines) -> Vec<String> {
    let mut found = Vec::new();
    while let Some(line) = lines.next().await {
        found.push(line.text);
    }
    found
}

pub(crate) async fn next(lines: &mut Lines) -> String {
    tokio::time::timeout(DEADLINE, lines.next()).await.unwrap().unwrap().text
}

/// Whether a process exists and is not merely waiting to be reaped.
pub(crate) fn alive(pid: i32) -> bool {
    let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else { return false };
    !stat.rsplit_once(')').unwrap().1.trim_start().starts_with(['Z', 'X'])
}

/// Polls until it holds.
pub(crate) async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < DEADLINE, "never happened: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

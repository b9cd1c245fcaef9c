//! Real children: how they begin, what they print and how they end.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod support;

use std::io::BufRead;
use std::time::{Duration, Instant};

use kennel_hosting::launch::{self, Mount};
use kennel_hosting::process::{Exit, MAX_LINE, ProcessSpec};
use support::{DEADLINE, alive, all, fake, launcher, next, shell, until};

#[tokio::test]
async fn output_exit_code_environment_and_folder() {
    let folder = tempfile::tempdir().unwrap();
    let mut spec =
        shell("pwd; echo $GIVEN; echo ${CARGO_MANIFEST_DIR-hidden}; printf 'a\\377' >&2; exit 3");
    spec.command.environment.insert("GIVEN".to_owned(), "two words\nand lines".to_owned());
    spec.command.folder = Some(folder.path().to_owned());
    let (process, lines) = launcher().await.spawn(spec).await.unwrap();
    let mut lines = all(lines).await;
    lines.sort();
    let pwd = folder.path().display().to_string();
    let mut expected = vec![pwd.as_str(), "two words and lines", "hidden", "a\u{fffd}"];
    expected.sort_unstable();
    assert_eq!(lines, expected);
    assert_eq!(process.wait().await, Exit::Code(3));
    assert_eq!(process.exit(), Some(Exit::Code(3)));
}

#[tokio::test]
async fn a_program_that_does_not_exist_is_told_on_its_last_line() {
    let mut spec = shell("");
    spec.command.argv = vec!["/no/such/program".to_owned()];
    let (process, lines) = launcher().await.spawn(spec).await.unwrap();
    let lines = all(lines).await;
    assert!(lines.last().unwrap().contains("cannot execute `/no/such/program`"), "{lines:?}");
    assert_eq!(process.wait().await, Exit::Code(i32::from(launch::FAILED)));
}

#[tokio::test]
async fn specifications_that_no_program_can_be_given_are_refused() {
    let launcher = launcher().await;
    assert!(launcher.spawn(ProcessSpec::default()).await.is_err());
    let mut spec = shell("true");
    spec.command.environment.insert("A=B".to_owned(), String::new());
    assert!(launcher.spawn(spec).await.is_err());
}

#[tokio::test]
async fn large_environments_arrive() {
    let mut spec = shell("echo ${#BIG1} ${#BIG9}");
    for n in 0..10 {
        spec.command.environment.insert(format!("BIG{n}"), "x".repeat(100_000));
    }
    let (_process, lines) = launcher().await.spawn(spec).await.unwrap();
    assert_eq!(all(lines).await, ["100000 100000"]);
}

#[tokio::test]
async fn terminate_is_gentle_first() {
    let script = "trap 'echo bye; exit 7' TERM; echo ready; while :; do sleep 0.05; done";
    let (process, mut lines) = launcher().await.spawn(shell(script)).await.unwrap();
    assert_eq!(next(&mut lines).await, "ready");
    assert_eq!(process.terminate(DEADLINE).await, Exit::Code(7));
    // The whole group was asked, so the shell may also tell of its `sleep`.
    assert!(all(lines).await.contains(&"bye".to_owned()));
}

#[tokio::test]
async fn a_stubborn_child_and_its_children_are_killed() {
    let script = "trap '' TERM; sh -c 'echo $$; while :; do sleep 1; done' & wait; wait; sleep 600";
    let (process, mut lines) = launcher().await.spawn(shell(script)).await.unwrap();
    let grandchild: i32 = next(&mut lines).await.parse().unwrap();
    assert!(alive(grandchild));
    let begun = Instant::now();
    assert_eq!(process.terminate(Duration::from_millis(200)).await, Exit::Signal(9));
    assert!(begun.elapsed() >= Duration::from_millis(200));
    until("the grandchild dies", || !alive(grandchild)).await;
}

#[tokio::test]
async fn what_a_child_leaves_behind_ends_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut spec = shell("sh -c 'echo $$; exec sleep 600' & until [ -e go ]; do sleep 0.02; done");
    spec.command.folder = Some(folder.path().to_owned());
    let (process, mut lines) = launcher().await.spawn(spec).await.unwrap();
    let grandchild: i32 = next(&mut lines).await.parse().unwrap();
    assert!(alive(grandchild));
    std::fs::write(folder.path().join("go"), "").unwrap();
    assert_eq!(process.wait().await, Exit::Code(0));
    until("the grandchild dies", || !alive(grandchild)).await;
}

#[tokio::test]
async fn output_ends_although_an_escaped_process_holds_the_pipe() {
    let folder = tempfile::tempdir().unwrap();
    let script = "setsid sh -c 'echo $$; exec sleep 600' & until [ -e go ]; do sleep 0.02; done";
    let mut spec = shell(script);
    spec.command.folder = Some(folder.path().to_owned());
    let (process, mut lines) = launcher().await.spawn(spec).await.unwrap();
    let escaped: i32 = next(&mut lines).await.parse().unwrap();
    std::fs::write(folder.path().join("go"), "").unwrap();
    process.wait().await;
    assert!(tokio::time::timeout(DEADLINE, all(lines)).await.unwrap().is_empty());
    assert!(alive(escaped), "it did not hold the pipe");
    let pid = rustix::process::Pid::from_raw(escaped).unwrap();
    let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
}

#[tokio::test]
async fn dropping_kills() {
    let (process, mut lines) = launcher().await.spawn(shell("echo $$; sleep 600")).await.unwrap();
    let pid: i32 = next(&mut lines).await.parse().unwrap();
    assert_eq!(process.identity().pid, pid);
    assert!(process.identity().start.is_some());
    drop(process);
    until("the child dies", || !alive(pid)).await;
}

#[tokio::test]
async fn huge_lines_are_cut() {
    let spec = ProcessSpec { command: fake(&["spew", "100000000"]), ..ProcessSpec::default() };
    let (_process, lines) = launcher().await.spawn(spec).await.unwrap();
    let lines = all(lines).await;
    assert_eq!(lines.len(), 2);
    assert_eq!(lines[0].len(), MAX_LINE);
    assert_eq!(lines[1], "end");
}

#[tokio::test]
async fn who_does_not_read_slows_the_child_and_who_leaves_does_not() {
    let script = "i=0; while [ $i -lt 200000 ]; do echo line $i; i=$((i+1)); done; exit 5";
    let launcher = launcher().await;
    let (process, lines) = launcher.spawn(shell(script)).await.unwrap();
    // 200,000 lines do not fit into the pipe and the channel.
    let early = tokio::time::timeout(Duration::from_millis(500), process.wait()).await;
    assert!(early.is_err(), "ended although nobody read: {early:?}");
    drop(lines);
    let exit = tokio::time::timeout(DEADLINE, process.wait()).await.unwrap();
    assert_eq!(exit, Exit::Code(5));
}

#[tokio::test]
async fn too_much_memory_ends_the_group_with_the_reason() {
    let program = fake(&["eat", "300"]).argv.join(" ");
    // The eater is a grandchild: the limit is for the whole group.
    let mut spec = shell(&format!("{program}; echo not reached"));
    spec.memory_limit = Some(200 << 20);
    let (process, _lines) = launcher().await.spawn(spec).await.unwrap();
    match tokio::time::timeout(DEADLINE, process.wait()).await.unwrap() {
        Exit::MemoryExceeded(exceeded) => {
            assert_eq!(exceeded.limit, 200 << 20);
            assert!(exceeded.used > exceeded.limit);
        }
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn usage_counts_time_and_memory() {
    let command = fake(&["eat", "50"]);
    let spec = ProcessSpec { command, memory_limit: Some(1 << 30), ..ProcessSpec::default() };
    let (process, mut lines) = launcher().await.spawn(spec).await.unwrap();
    assert_eq!(next(&mut lines).await, "ate 50");
    until("memory is seen", || process.usage().rss_bytes > 50 << 20).await;
    let (busy, _lines) = launcher().await.spawn(shell("while :; do :; done")).await.unwrap();
    until("time is seen", || busy.usage().cpu_seconds > 0.1).await;
    assert_eq!(process.exit(), None);
}

/// The server is killed without a chance to clean up; neither its child nor the child's child, which
/// ignores what can be ignored, may outlive it.
#[tokio::test]
async fn nothing_outlives_a_killed_server() {
    let script = "trap '' TERM HUP; sh -c 'trap \"\" TERM HUP; echo grandchild $$; while :; do sleep 1; done'; :";
    let mut server = std::process::Command::new(support::fake_kennel())
        .args(["platform", "/bin/sh", "-c", script])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = std::io::BufReader::new(server.stdout.take().unwrap()).lines();
    let mut pid = |prefix: &str| -> i32 {
        let line = lines.next().unwrap().unwrap();
        line.strip_prefix(prefix).unwrap_or_else(|| panic!("{line}")).trim().parse().unwrap()
    };
    let (child, grandchild) = (pid("child"), pid("grandchild"));
    assert!(alive(child) && alive(grandchild));
    server.kill().unwrap();
    server.wait().unwrap();
    until("the child dies", || !alive(child)).await;
    until("the grandchild dies", || !alive(grandchild)).await;
}

#[tokio::test]
async fn a_folder_appears_privately_where_scripts_expect_it() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("in"), "given").unwrap();
    let before = std::fs::read_dir("/opt").map(|d| d.count()).unwrap_or(0);
    let existed = std::path::Path::new("/opt/ml").exists();
    let mut spec =
        shell("cat /opt/ml/in; echo; echo made > /opt/ml/out; ls /opt | wc -l; echo $WHERE; pwd");
    spec.mounts = vec![Mount {
        source: folder.path().to_owned(),
        target: "/opt/ml".into(),
        read_only: false,
    }];
    spec.mounts_optional = true;
    spec.mounted_environment.insert("WHERE".to_owned(), "private".to_owned());
    spec.command.environment.insert("WHERE".to_owned(), "shared".to_owned());
    let (process, lines) = launcher().await.spawn(spec).await.unwrap();
    let lines = all(lines).await;
    let exit = process.wait().await;
    if lines.iter().any(|line| line.contains("going on without private mounts")) {
        eprintln!("skipped: this kernel gives no mount namespace: {lines:?}");
        assert!(lines.contains(&"shared".to_owned()));
        return;
    }
    assert_eq!(exit, Exit::Code(0), "{lines:?}");
    assert_eq!(lines[0], "given");
    // What was in /opt is still seen there.
    assert_eq!(lines[1].trim(), (before + usize::from(!existed)).to_string());
    assert_eq!(lines[2], "private");
    assert_eq!(std::fs::read_to_string(folder.path().join("out")).unwrap(), "made\n");
    assert_eq!(std::path::Path::new("/opt/ml").exists(), existed, "the machine was changed");
    assert_eq!(std::fs::read_dir("/opt").map(|d| d.count()).unwrap_or(0), before);
}

#[tokio::test]
async fn refused_mounts_end_the_child_unless_they_are_optional() {
    let launcher = launcher().await;
    let mut spec = shell("echo running");
    spec.mounts = vec![Mount {
        source: "/no/such/folder".into(),
        target: "/opt/ml".into(),
        read_only: false,
    }];
    let (process, lines) = launcher.spawn(spec.clone()).await.unwrap();
    let lines = all(lines).await;
    assert!(lines[0].contains("mount `/no/such/folder`") && lines[0].contains("hint"), "{lines:?}");
    assert_eq!(process.wait().await, Exit::Code(i32::from(launch::FAILED)));
    spec.mounts_optional = true;
    let (process, lines) = launcher.spawn(spec).await.unwrap();
    let mut lines = all(lines).await;
    lines.sort();
    assert!(lines[0].contains("going on without"), "{lines:?}");
    assert_eq!(lines[1], "running");
    assert!(process.wait().await.success());
}

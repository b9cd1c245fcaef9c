//! Whole training jobs with real children.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod support;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use kennel_hosting::Command;
use kennel_hosting::instance_type::Shape;
use kennel_hosting::process::Exit;
use kennel_hosting::training::{
    Event, Outcome, PrivateRoot, Training, TrainingProgram, TrainingSpec,
};
use support::{DEADLINE, launcher};
use tokio::sync::mpsc::Receiver;

fn spec(folder: &Path, hosts: usize, script: &str) -> TrainingSpec {
    TrainingSpec {
        name: "job".to_owned(),
        arn: "arn".to_owned(),
        folder: folder.to_owned(),
        hosts,
        instance_type: "ml.m5.large".to_owned(),
        shape: Shape { threads: 2, memory_bytes: 1 << 30, gpus: 0, note: None },
        program: TrainingProgram::Script(Command::new(["/bin/sh", "-c", script])),
        hyperparameters: BTreeMap::new(),
        channels: Vec::new(),
        configuration: BTreeMap::new(),
        environment: BTreeMap::new(),
        network_interface: "lo".to_owned(),
        stop_grace: Duration::from_millis(300),
        private_root: PrivateRoot::No,
    }
}

async fn start(spec: TrainingSpec) -> (Training, Receiver<Event>) {
    let (training, mut events) = Training::start(&launcher().await, spec).await.unwrap();
    assert_eq!(events.recv().await, Some(Event::Started));
    (training, events)
}

async fn finish(mut training: Training, mut events: Receiver<Event>) -> (Outcome, Vec<String>) {
    let mut lines = Vec::new();
    while let Some(event) = tokio::time::timeout(DEADLINE, events.recv()).await.unwrap() {
        if let Event::Line { host, text } = event {
            lines.push(format!("{host} {text}"));
        }
    }
    let outcome = tokio::time::timeout(DEADLINE, training.wait()).await.unwrap();
    lines.sort();
    (outcome, lines)
}

#[tokio::test]
async fn every_instance_does_its_part() {
    let folder = tempfile::tempdir().unwrap();
    let script = r#"
        echo $TRAINING_JOB_NAME
        grep -o '"current_host":"[a-z0-9-]*"' $KENNEL_ML_ROOT/input/config/resourceconfig.json
        pwd > model/where
        echo x > checkpoints/from-$(basename $PWD)"#;
    let (training, events) = start(spec(folder.path(), 2, script)).await;
    let folders = training.folders().to_vec();
    let (outcome, lines) = finish(training, events).await;
    assert!(outcome.completed(), "{outcome:?} {lines:?}");
    assert_eq!(outcome.exits, [Exit::Code(0), Exit::Code(0)]);
    assert!(outcome.ended > outcome.started);
    assert_eq!(
        lines,
        ["0 \"current_host\":\"algo-1\"", "0 job", "1 \"current_host\":\"algo-2\"", "1 job"]
    );
    for folders in folders {
        let written = std::fs::read_to_string(folders.model.join("where")).unwrap();
        assert_eq!(Path::new(written.trim()), folders.root);
        assert!(folders.checkpoints.join("from-algo-2").is_file());
    }
}

#[tokio::test]
async fn the_failure_file_is_the_reason_and_the_others_end() {
    let folder = tempfile::tempdir().unwrap();
    let script = r#"
        case $PWD in *algo-2) echo the reason > output/failure; exit 4;; esac
        sleep 600"#;
    let (training, events) = start(spec(folder.path(), 3, script)).await;
    let (outcome, _) = finish(training, events).await;
    assert_eq!(outcome.failure.as_deref(), Some("the reason"));
    assert!(!outcome.stopped && !outcome.completed());
    assert_eq!(outcome.exits, [Exit::Signal(15), Exit::Code(4), Exit::Signal(15)]);
}

#[tokio::test]
async fn without_a_failure_file_the_end_and_the_last_lines_are_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let (training, events) = start(spec(folder.path(), 1, "echo oh no >&2; kill -SEGV $$")).await;
    let (outcome, _) = finish(training, events).await;
    let reason = outcome.failure.unwrap();
    assert_eq!(reason, "algo-1 ended with signal 11 (SIGSEGV); its last lines:\noh no");
}

#[tokio::test]
async fn a_stop_is_not_a_failure() {
    let folder = tempfile::tempdir().unwrap();
    let script = "trap 'echo saving; exit 0' TERM; echo ready; while :; do sleep 0.05; done";
    let (training, mut events) = start(spec(folder.path(), 1, script)).await;
    assert_eq!(
        tokio::time::timeout(DEADLINE, events.recv()).await.unwrap(),
        Some(Event::Line { host: 0, text: "ready".to_owned() })
    );
    training.stop();
    let (outcome, lines) = finish(training, events).await;
    assert!(outcome.stopped);
    assert_eq!((&outcome.failure, outcome.exits.as_slice()), (&None, [Exit::Code(0)].as_slice()));
    // The whole group was asked, so the shell may also tell of its `sleep`.
    assert!(lines.contains(&"0 saving".to_owned()), "{lines:?}");
}

#[tokio::test]
async fn a_stop_kills_after_the_grace() {
    let folder = tempfile::tempdir().unwrap();
    let script = "trap '' TERM; echo ready; while :; do sleep 1; done";
    let (training, mut events) = start(spec(folder.path(), 1, script)).await;
    tokio::time::timeout(DEADLINE, events.recv()).await.unwrap();
    training.stop();
    let (outcome, _) = finish(training, events).await;
    assert_eq!(outcome.exits, [Exit::Signal(9)]);
    assert!(outcome.stopped);
}

#[tokio::test]
async fn nobody_listens_and_the_job_still_ends() {
    let folder = tempfile::tempdir().unwrap();
    let script = "i=0; while [ $i -lt 20000 ]; do echo line $i; i=$((i+1)); done";
    let (mut training, events) = start(spec(folder.path(), 1, script)).await;
    drop(events);
    let outcome = tokio::time::timeout(DEADLINE, training.wait()).await.unwrap();
    assert!(outcome.completed());
}

#[tokio::test]
async fn scripts_see_opt_ml_where_the_kernel_allows_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut spec = spec(folder.path(), 1, "echo $KENNEL_ML_ROOT; echo m > $KENNEL_ML_ROOT/model/m");
    spec.private_root = PrivateRoot::Optional;
    let (training, events) = start(spec).await;
    let root = training.folders()[0].root.clone();
    let (outcome, lines) = finish(training, events).await;
    assert!(outcome.completed(), "{outcome:?}");
    assert!(root.join("model/m").is_file());
    let notice = lines.iter().any(|line| line.contains("going on without private mounts"));
    let seen = if notice { root.display().to_string() } else { "/opt/ml".to_owned() };
    assert!(lines.contains(&format!("0 {seen}")), "{lines:?}");
}

#[tokio::test]
async fn too_much_memory_is_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let mut spec = spec(folder.path(), 1, "");
    spec.program = TrainingProgram::Script(support::fake(&["eat", "300"]));
    spec.shape.memory_bytes = 100 << 20;
    spec.shape.note = Some("capped".to_owned());
    let (training, mut events) = start(spec).await;
    assert_eq!(events.recv().await, Some(Event::Note("capped".to_owned())));
    let (outcome, _) = finish(training, events).await;
    let reason = outcome.failure.unwrap();
    assert!(reason.starts_with("algo-1 ended with out of memory: "), "{reason}");
    assert!(reason.contains("the limit is 0.10 GiB"), "{reason}");
}

#[tokio::test]
async fn an_outcome_can_be_asked_for_twice_and_dropping_kills() {
    let folder = tempfile::tempdir().unwrap();
    let (mut training, _events) = start(spec(folder.path(), 1, "exit 0")).await;
    assert!(training.wait().await.completed() && training.wait().await.completed());
    let script = "echo $$; while :; do sleep 1; done";
    let (training, mut events) = start(spec(folder.path(), 1, script)).await;
    let Some(Event::Line { text, .. }) = events.recv().await else { panic!("no line") };
    let pid: i32 = text.parse().unwrap();
    assert!(support::alive(pid));
    drop(training);
    support::until("the instance dies", || !support::alive(pid)).await;
}

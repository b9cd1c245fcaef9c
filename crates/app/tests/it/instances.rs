//! `kennel train --instances N`: the model is that of one instance, and a lost instance ends the command with its
//! name. Without MPI always; with it where the library and `mpirun` are there.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use kennel_infer::package::Package;

use crate::support::{Home, Ran, Running, children, draw, files, read_json, until};

/// `kennel train` on several instances that share the features only, whatever this machine has.
fn without_mpi(home: &Home, options: &[&str]) -> Command {
    let mut command = home.kennel();
    command.args(["train", "photos"]).args(options).env("KENNEL_MPI", "off");
    command
}

fn network(home: &Home) -> Vec<u8> {
    Package::read(&home.path("model.tar.gz")).unwrap().network
}

#[test]
fn instances_without_mpi_make_the_model_of_one() {
    let options = ["--epochs", "3", "--threads", "2", "--augmentation", "flip", "--views", "2"];
    let [one, three] = [&[][..], &["--instances", "3"]].map(|more| {
        let home = Home::new();
        draw(&home.path("photos"), 5, 2, 1);
        let ran = Ran::of(without_mpi(&home, &options).args(more)).ok();
        (home, ran)
    });
    assert_eq!(network(&one.0), network(&three.0));
    let views = 8 * (5 * 2 + 2 + 1);
    let said = format!("3 instances computed {views} feature vectors");
    assert!(three.1.err.contains(&said), "{}", three.1.err);
    // The head's process found all of them.
    assert_eq!(read_json(&three.0.path("metrics.json"))["features"]["computed"], 0);
}

#[test]
fn a_killed_instance_is_named_and_the_next_run_goes_on() {
    let home = Home::new();
    draw(&home.path("photos"), 16, 2, 0);
    let options = ["--instances", "2", "--epochs", "2", "--augmentation", "crop", "--views", "16"];
    let mut run = Running::start(&mut without_mpi(&home, &options));
    let segments = || files(&home.path("cache/features"), ".seg");
    until("features of both instances", || {
        assert!(run.is_running(), "it ended early: {}", run.log());
        // More than the header: a flush of 32 records.
        segments().iter().filter(|s| s.metadata().unwrap().len() > 1000).count() == 2
    });
    let victim = children(run.id()).pop().unwrap().to_string();
    let begun = Instant::now();
    assert!(Command::new("kill").args(["-9", &victim]).status().unwrap().success());
    assert_eq!(run.wait().code(), Some(1), "{}", run.log());
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(5), "{took:?}");
    let log = run.log();
    assert!(log.contains("of 2 ended with signal 9"), "{log}");
    assert!(!home.path("model.tar.gz").exists());

    let again = Ran::of(&mut without_mpi(&home, &options)).ok();
    let all = 8 * (16 * 16 + 2);
    let said = again.err.split("2 instances computed ").nth(1).unwrap_or_default();
    let computed: usize = said.split(' ').next().unwrap().parse().unwrap();
    assert!((1..all).contains(&computed), "{}", again.err);
    assert!(again.err.contains(&format!("all {all} feature vectors came from the cache")));
}

#[test]
fn instances_end_with_their_parent() {
    let home = Home::new();
    draw(&home.path("photos"), 16, 2, 0);
    let options = ["--instances", "2", "--augmentation", "crop", "--views", "64"];
    let mut run = Running::start(&mut without_mpi(&home, &options));
    until("both instances", || {
        assert!(run.is_running(), "it ended early: {}", run.log());
        children(run.id()).len() == 2
    });
    run.kill();
    // The log ends when the last of them has gone.
    run.wait();
    assert!(!home.path("model.tar.gz").exists());
}

#[test]
fn hosts_without_mpi_are_refused() {
    let home = Home::new();
    draw(&home.path("photos"), 2, 1, 0);
    let ran = Ran::of(&mut without_mpi(&home, &["--hosts", "a:1,b:1"]));
    assert_eq!(ran.code, Some(2), "{}", ran.err);
    assert!(ran.err.contains("needs MPI") && ran.err.contains("hint:"), "{}", ran.err);
    let ran = Ran::of(&mut without_mpi(&home, &["--hosts", "a:1,b:1", "--instances", "3"]));
    assert!(ran.err.contains("places for 2"), "{}", ran.err);
}

/// The library that was built with MPI, where `mpirun` is there too.
fn mpi() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_BIN_EXE_kennel")).with_file_name("libkennel_mpi.so");
    let library = std::env::var_os("KENNEL_MPI").map_or(beside, PathBuf::from);
    let bytes = std::fs::read(&library).unwrap_or_default();
    let built = bytes.windows(14).any(|w| w == b"kennel_mpi_abi");
    let found = built && Command::new("mpirun").arg("--version").output().is_ok();
    if !found {
        eprintln!("SKIPPED: needs mpirun and a libkennel_mpi.so built with the feature `mpi`");
    }
    found.then_some(library)
}

#[test]
fn instances_over_mpi_measure_what_one_measures() {
    let Some(library) = mpi() else { return };
    let options = ["train", "photos", "--epochs", "4", "--batch-size", "16", "--threads", "2"];
    let [one, two] = [&[][..], &["--instances", "2"]].map(|more| {
        let home = Home::new();
        draw(&home.path("photos"), 5, 2, 1);
        let mut command = home.kennel();
        command.args(options).args(more).env("KENNEL_MPI", &library);
        let ran = Ran::of(&mut command).ok();
        (home, ran)
    });
    assert!(two.1.err.contains("2 instances train one model over MPI"), "{}", two.1.err);
    let metrics = [&one.0, &two.0].map(|home| read_json(&home.path("metrics.json")));
    assert_eq!(metrics[0]["features"]["computed"], metrics[1]["features"]["computed"]);
    for split in ["train", "valid", "test"] {
        let [a, b] = [&metrics[0], &metrics[1]].map(|m| &m["metrics"][split]);
        assert_eq!((&a["count"], &a["top1"]), (&b["count"], &b["top1"]), "{split}");
        let loss = |m: &serde_json::Value| m["loss"].as_f64().unwrap();
        assert!((loss(a) - loss(b)).abs() < 1e-5, "{split} {a} {b}");
    }
}

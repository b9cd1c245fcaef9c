//! Order, errors and what a hostile folder may hold.

use std::fs;

use super::*;
use crate::{TensorRef, TensorWriter};

fn spec(rule: &str, parameters: &[(&str, &str)]) -> RuleSpec {
    RuleSpec {
        configuration: format!("my-{rule}"),
        rule: rule.to_owned(),
        parameters: parameters.iter().map(|&(k, v)| (k.to_owned(), v.to_owned())).collect(),
        stop_training: true,
    }
}

fn save(writer: &mut TensorWriter, mode: Mode, step: u64, name: &str, values: &[f32]) {
    let shape = [values.len()];
    let tensor = TensorRef { name, collections: &["weights"], shape: &shape, values };
    writer.write(mode, step, 0, &[tensor]).unwrap();
}

#[test]
fn one_verdict_per_rule_from_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let specs = vec![
        spec("ExplodingTensor", &[]),
        spec("NoSuchRule", &[]),
        spec("TreeDepth", &[]),
        spec("AllZero", &[("threshold", "all")]),
    ];
    let mut evaluator = Evaluator::new(specs, &folder.path().join("not/there/yet"), &[]);
    let verdicts = evaluator.verdicts();
    let statuses: Vec<&str> = verdicts.iter().map(|verdict| verdict.status.name()).collect();
    assert_eq!(statuses, ["InProgress", "Error", "Error", "Error"]);
    assert_eq!(verdicts[0].configuration, "my-ExplodingTensor");
    assert!(
        verdicts[1]
            .details
            .starts_with("NoSuchRule: there is no rule `NoSuchRule`; hint: Kennel has AllZero")
    );
    assert!(verdicts[2].details.contains("not implemented by Kennel"));
    assert!(verdicts[3].details.contains("the parameter `threshold` is `all`, not a number"));
    assert!(evaluator.poll(0).is_empty());
    // An error is none of the model's faults: it stops nothing.
    let changed = evaluator.finish(0);
    assert_eq!(changed.len(), 1);
    assert_eq!(changed[0].status, Status::Error);
    assert!(!changed[0].stop_training);
}

#[test]
fn issues_are_answered_once_and_stay() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = TensorWriter::create(folder.path(), "algo-1").unwrap();
    let mut evaluator = Evaluator::new(vec![spec("ExplodingTensor", &[])], folder.path(), &[]);
    save(&mut writer, Mode::Train, 0, "w", &[1.0]);
    assert!(evaluator.poll(1).is_empty());
    save(&mut writer, Mode::Train, 1, "w", &[f32::NAN]);
    let changed = evaluator.poll(2);
    assert_eq!(changed, evaluator.verdicts());
    assert_eq!(changed[0].status, Status::IssuesFound);
    assert!(changed[0].stop_training && changed[0].details.contains("at step 1"));
    save(&mut writer, Mode::Train, 2, "w", &[1.0]);
    assert!(evaluator.poll(3).is_empty() && evaluator.finish(4).is_empty());
    assert_eq!(evaluator.verdicts(), changed);
}

#[test]
fn steps_outside_a_rules_range_are_not_shown() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = TensorWriter::create(folder.path(), "algo-1").unwrap();
    for step in [4, 5, 9, 10] {
        save(
            &mut writer,
            Mode::Train,
            step,
            "w",
            &[if (5..10).contains(&step) { 1.0 } else { f32::NAN }],
        );
    }
    let ranged = spec("ExplodingTensor", &[("start_step", "5"), ("end_step", "10")]);
    let mut evaluator = Evaluator::new(vec![ranged], folder.path(), &[]);
    evaluator.finish(0);
    assert_eq!(evaluator.verdicts()[0].status, Status::NoIssuesFound);
}

#[test]
fn broken_files_are_counted_and_named() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = TensorWriter::create(folder.path(), "algo-1").unwrap();
    save(&mut writer, Mode::Train, 0, "w", &[1.0]);
    let train = folder.path().join("algo-1/train");
    fs::write(train.join("000000001.safetensors"), b"nonsense").unwrap();
    fs::write(train.join("000000002.safetensors"), b"").unwrap();
    // Things that are not ours are passed over without a word.
    fs::write(folder.path().join("README"), b"").unwrap();
    fs::write(folder.path().join("algo-1/notes"), b"").unwrap();
    fs::create_dir_all(folder.path().join(".hidden/train")).unwrap();
    let mut evaluator = Evaluator::new(vec![spec("ExplodingTensor", &[])], folder.path(), &[]);
    evaluator.poll(0);
    evaluator.finish(0);
    let verdict = &evaluator.verdicts()[0];
    assert_eq!(verdict.status, Status::NoIssuesFound);
    assert!(
        verdict.details.contains(
            "2 files or tensors could not be read, the first: algo-1/train/1: the header"
        ),
        "{}",
        verdict.details
    );
}

#[test]
fn names_of_strangers_stay_on_one_short_line() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = TensorWriter::create(folder.path(), "algo-1").unwrap();
    let name = format!("a`b\n\u{1b}[31m{}", "x".repeat(400));
    save(&mut writer, Mode::Train, 0, &name, &[f32::NAN]);
    let mut evaluator = Evaluator::new(vec![spec("ExplodingTensor", &[])], folder.path(), &[]);
    let details = evaluator.poll(0).remove(0).details;
    assert!(details.contains("`a?b??[31mxxx") && details.contains("x…`"), "{details}");
    assert!(!details.chars().any(char::is_control) && details.chars().count() < 600);
}

#[test]
fn modes_of_a_step_and_workers_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let mut evaluator = Evaluator::new(vec![spec("AllZero", &[])], folder.path(), &[]);
    for worker in ["algo-2", "algo-1"] {
        let mut writer = TensorWriter::create(folder.path(), worker).unwrap();
        for mode in [Mode::Eval, Mode::Train] {
            for step in [10, 9] {
                save(&mut writer, mode, step, "w", &[1.0]);
            }
        }
    }
    let files: Vec<_> = evaluator.new_files(false);
    let wanted: Vec<_> = [9, 10]
        .into_iter()
        .flat_map(|step| [(step, Mode::Train), (step, Mode::Eval)])
        .flat_map(|(step, mode)| ["algo-1", "algo-2"].map(|worker| (step, mode, worker.to_owned())))
        .collect();
    assert_eq!(files, wanted);
    evaluator.poll(0);
    assert!(evaluator.new_files(true).is_empty());
}

/// A listing may run beside a rename and miss what came just before. Whatever is missed must come later, and
/// in order.
#[test]
fn nothing_is_missed_beside_a_writer() {
    const STEPS: u64 = 400;
    let folder = tempfile::tempdir().unwrap();
    let mut evaluator = Evaluator::new(Vec::new(), folder.path(), &[]);
    let mut writer = TensorWriter::create(folder.path(), "algo-1").unwrap();
    let writing = std::thread::spawn(move || {
        for step in 0..STEPS {
            save(&mut writer, Mode::Train, step, "w", &[1.0]);
            save(&mut writer, Mode::Eval, step, "w", &[1.0]);
        }
    });
    let mut seen = Vec::new();
    while seen.len() < 2 * STEPS as usize {
        let ended = writing.is_finished();
        let new = evaluator.new_files(false);
        evaluator.read(&new);
        seen.extend(new.into_iter().map(|(step, mode, _)| (step, mode)));
        if ended {
            let rest = evaluator.new_files(true);
            seen.extend(rest.into_iter().map(|(step, mode, _)| (step, mode)));
            break;
        }
    }
    writing.join().unwrap();
    let modes = |step| [(step, Mode::Train), (step, Mode::Eval)];
    assert_eq!(seen, (0..STEPS).flat_map(modes).collect::<Vec<_>>());
}

#[test]
fn words_are_those_of_sagemaker() {
    fn sends<T: Send>(value: T) -> T {
        value
    }
    let folder = tempfile::tempdir().unwrap();
    let evaluator = sends(Evaluator::new(vec![spec("AllZero", &[])], folder.path(), &[]));
    let json = serde_json::to_value(evaluator.verdicts()).unwrap();
    assert_eq!(json[0]["status"], Status::InProgress.name());
    for status in [Status::NoIssuesFound, Status::IssuesFound, Status::Error] {
        assert_eq!(serde_json::to_value(status).unwrap(), status.name());
    }
}

#[test]
fn issues_of_other_workers_say_whose_they_are() {
    let folder = tempfile::tempdir().unwrap();
    for (worker, value) in [("algo-1", 1.0), ("algo-2", f32::NAN)] {
        let mut writer = TensorWriter::create(folder.path(), worker).unwrap();
        save(&mut writer, Mode::Train, 0, "w", &[value]);
    }
    let mut evaluator = Evaluator::new(vec![spec("ExplodingTensor", &[])], folder.path(), &[]);
    let details = evaluator.poll(0).remove(0).details;
    assert!(details.starts_with("ExplodingTensor: on `algo-2`, `w` has 1 values"), "{details}");
}

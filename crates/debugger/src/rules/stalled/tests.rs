//! The clock, and who has ended.

use crate::{Evaluator, Mode, RuleSpec, Status, TensorWriter};

fn evaluator(folder: &std::path::Path, threshold: &str) -> Evaluator {
    let spec = RuleSpec {
        configuration: "s".into(),
        rule: "StalledTrainingRule".into(),
        parameters: [("threshold".to_owned(), threshold.to_owned())].into(),
        stop_training: true,
    };
    Evaluator::new(vec![spec], folder, &[])
}

#[test]
fn silence_before_and_between() {
    let folder = tempfile::tempdir().unwrap();
    let mut early = evaluator(folder.path(), "60");
    let mut late = evaluator(folder.path(), "60");
    assert!(early.poll(1_000).is_empty() && early.poll(61_000).is_empty());
    let said = early.poll(62_000);
    assert!(
        said[0].details.contains("for 61 seconds since the start (limit 60)"),
        "{}",
        said[0].details
    );
    assert!(said[0].stop_training);
    // It stays so, and is said once.
    assert!(early.poll(900_000).is_empty());
    assert_eq!(early.verdicts()[0].status, Status::IssuesFound);

    let mut writer = TensorWriter::create(folder.path(), "algo-1").unwrap();
    for (step, now) in [(0, 0), (1, 50_000), (2, 100_000)] {
        // What a file says about its time is not looked at.
        writer.write(Mode::Train, step, 0, &[]).unwrap();
        assert!(late.poll(now).is_empty());
    }
    assert!(late.poll(160_000).is_empty());
    // A worker that has ended is not waited for.
    writer.finish().unwrap();
    assert!(late.poll(900_000).is_empty());
    late.finish(900_000);
    assert_eq!(late.verdicts()[0].status, Status::NoIssuesFound);
}

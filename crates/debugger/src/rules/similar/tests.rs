//! Two runs side by side, in files.

use std::path::Path;

use crate::{Evaluator, Mode, RuleSpec, Status, TensorRef, TensorWriter, Verdict};

fn save(folder: &Path, worker: &str, step: u64, shape: &[usize], values: &[f32]) {
    let mut writer = TensorWriter::create(folder, worker).unwrap();
    let tensor = TensorRef { name: "w", collections: &["weights"], shape, values };
    writer.write(Mode::Train, step, 0, &[tensor]).unwrap();
}

fn compare(ours: &Path, theirs: &Path) -> Verdict {
    let spec = RuleSpec {
        configuration: "s".into(),
        rule: "SimilarAcrossRuns".into(),
        ..RuleSpec::default()
    };
    let mut evaluator = Evaluator::new(vec![spec], ours, &[theirs.to_owned()]);
    evaluator.finish(0);
    evaluator.verdicts().remove(0)
}

#[test]
fn values_shapes_and_gaps() {
    let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (ours, theirs) = (a.path(), b.path());
    save(ours, "algo-1", 0, &[2], &[1.0, 2.0]);
    let nothing = compare(ours, theirs);
    assert_eq!(nothing.status, Status::Error);
    assert!(nothing.details.contains("same DebugHookConfig"), "{}", nothing.details);
    // Another worker's name in the other run is no difference, and neither is rounding.
    save(theirs, "host-a", 0, &[2], &[1.0, 2.000_000_2]);
    assert_eq!(compare(ours, theirs).status, Status::NoIssuesFound);
    // Steps that one run alone has are passed over.
    save(ours, "algo-1", 1, &[2], &[1.0, 2.0]);
    assert_eq!(compare(ours, theirs).status, Status::NoIssuesFound);
    save(theirs, "host-a", 1, &[2], &[1.0, 2.5]);
    let differs = compare(ours, theirs);
    assert_eq!(differs.status, Status::IssuesFound);
    assert!(
        differs
            .details
            .contains("at step 1 differs from the other run in 1 of 2 values, by up to 0.5"),
        "{}",
        differs.details
    );
    save(theirs, "host-a", 0, &[1, 2], &[1.0, 2.0]);
    assert!(
        compare(ours, theirs).details.contains("has the shape [2] and in the other run [1, 2]")
    );
}

use super::*;
use crate::testing::{Run, about, map};

fn slow_steps() -> Run {
    let run = Run::new()
        .steps((0..1000).map(|i| if i % 60 == 0 { 50.0 } else { 1.0 }))
        .core("cpu0", &[5.0; 20]);
    run.write();
    run
}

fn spec(rule: &str) -> RuleSpec {
    RuleSpec { configuration: format!("my-{rule}"), rule: rule.into(), parameters: map(&[]) }
}

#[test]
fn verdicts_keep_order_and_names() {
    let run = slow_steps();
    let analysis = Analysis::read(run.folder.path()).unwrap();
    let verdicts = analysis.verdicts(&[spec("BatchSize"), spec("StepOutlier"), spec("Nonsense")]);
    let seen: Vec<(&str, &str)> =
        verdicts.iter().map(|v| (v.configuration.as_str(), v.status.as_str())).collect();
    assert_eq!(
        seen,
        [
            ("my-BatchSize", "NoIssuesFound"),
            ("my-StepOutlier", "IssuesFound"),
            ("my-Nonsense", "Error")
        ]
    );
}

#[test]
fn a_rule_leaves_what_sagemaker_leaves() {
    let run = slow_steps();
    let analysis = Analysis::read(run.folder.path()).unwrap();
    let folder = run.folder.path().join("rule-output/ProfilerReport");
    // Twice: the second replaces the first.
    analysis.write_rule_output(&folder, &about()).unwrap();
    std::fs::write(folder.join("profiler-output/stray"), "x").unwrap();
    analysis.write_rule_output(&folder, &about()).unwrap();
    let names = |at: &Path| -> Vec<String> {
        let entries = std::fs::read_dir(at).unwrap();
        let mut names: Vec<String> =
            entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    };
    assert_eq!(names(&folder), ["profiler-output"]);
    assert_eq!(
        names(&folder.join("profiler-output")),
        ["profiler-report.html", "profiler-reports"]
    );
    let reports = folder.join("profiler-output/profiler-reports");
    assert_eq!(names(&reports).len(), 13);
    let text = std::fs::read_to_string(reports.join("StepOutlier.json")).unwrap();
    let report: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(report["RuleTriggered"], 1);
    assert_eq!(report["Violations"], 17);
    assert_eq!(report["Datapoints"], 1000);
    assert_eq!(report["RuleParameters"], "stddev:3\nn_outliers:10");
    assert_eq!(report["Details"]["step_details"]["algo-1"]["number_of_outliers"], 17);
}

#[test]
fn a_report_that_cannot_be_written_leaves_nothing() {
    let run = slow_steps();
    let analysis = Analysis::read(run.folder.path()).unwrap();
    let folder = run.folder.path().join("taken");
    std::fs::write(&folder, "a file in its place").unwrap();
    let error = analysis.write_rule_output(&folder, &about()).unwrap_err();
    assert!(error.to_string().starts_with("cannot write the report into `"), "{error}");
    assert_eq!(std::fs::read_to_string(&folder).unwrap(), "a file in its place");
}

#[test]
fn parameters_reach_the_report() {
    let run = slow_steps();
    let analysis = Analysis::read(run.folder.path()).unwrap();
    assert!(analysis.report(&about()).contains("Rule: StepOutlier"));
    let analysis = analysis.with_parameters(map(&[("StepOutlier_n_outliers", "99")]));
    assert!(!analysis.report(&about()).contains("Rule: StepOutlier"));
}

use super::*;
use crate::metrics::Kind;

fn metric(host: &str, time_ms: u64) -> SystemMetric {
    SystemMetric {
        kind: Kind::Cpu,
        name: "cpu5".into(),
        dimension: "CPUUtilization".into(),
        value: 1.36,
        host: host.into(),
        time_ms,
    }
}

#[test]
fn the_layout_is_sagemakers() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = SystemWriter::create(folder.path()).unwrap();
    // The first line of smdebug's own test recording, which lies in 1591748100.algo-1.json.
    writer
        .write(&[metric("algo-1", 1_591_748_109_232), metric("algo-2", 1_591_748_160_000)])
        .unwrap();
    writer.flush().unwrap();
    let at = folder.path().join("system/incremental/2020061000");
    let text = std::fs::read_to_string(at.join("1591748100.algo-1.json")).unwrap();
    assert_eq!(
        text,
        "{\"Type\":\"cpu\",\"Name\":\"cpu5\",\"Dimension\":\"CPUUtilization\",\"Value\":1.36,\
         \"NodeId\":\"algo-1\",\"Timestamp\":1591748109.232}\n"
    );
    assert!(at.join("1591748160.algo-2.json").exists());
}

#[test]
fn hours_are_utc() {
    for (seconds, name) in [
        (0, "1970010100"),
        (951_782_399, "2000022823"),
        (951_782_400, "2000022900"),
        (1_591_160_699, "2020060305"),
        (4_102_444_799, "2099123123"),
    ] {
        assert_eq!(hour_name(seconds), name);
    }
    assert_eq!(hour_name(u64::MAX).len(), 10);
}

#[test]
fn a_host_cannot_leave_its_folder() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = SystemWriter::create(folder.path()).unwrap();
    for host in ["../x", "a/b", "", ".", "a\0b"] {
        assert!(matches!(writer.write(&[metric(host, 1)]), Err(WriteError::Host(_))), "{host}");
        assert!(matches!(FrameworkWriter::create(folder.path(), host), Err(WriteError::Host(_))));
    }
}

#[test]
fn framework_lines_go_on_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    for step in [None, Some(7)] {
        let mut writer = FrameworkWriter::create(folder.path(), "algo-1").unwrap();
        writer.record("de\"code", 10, 20, step, 3).unwrap();
        writer.finish().unwrap();
    }
    let text = std::fs::read_to_string(folder.path().join("framework/algo-1.jsonl")).unwrap();
    let lines: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 2);
    assert_eq!(
        lines[1],
        serde_json::json!({"phase":"de\"code","start_us":10,"duration_us":20,"step":7,"count":3})
    );
}

#[test]
fn lines_are_there_while_the_run_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = FrameworkWriter::create(folder.path(), "algo-1").unwrap();
    writer.record("scan", 1_000_000_000, 5, None, 1).unwrap();
    let text = std::fs::read_to_string(folder.path().join("framework/algo-1.jsonl")).unwrap();
    assert_eq!(text.lines().count(), 1);
}

use std::fmt::Write;

use super::*;
use crate::metrics::CPU_USE;
use crate::testing::{BEGIN_MS, Run};

const CORE: (Kind, &str, &str) = (Kind::Cpu, "cpu0", CPU_USE);

fn minute(folder: &Path, name: &str, text: &[u8]) -> PathBuf {
    let at = folder.join("system/incremental/2027011508");
    std::fs::create_dir_all(&at).unwrap();
    std::fs::write(at.join(name), text).unwrap();
    at.join(name)
}

fn line(name: &str, time: u64, value: &str) -> String {
    format!(
        "{{\"Type\":\"cpu\",\"Name\":\"{name}\",\"Dimension\":\"CPUUtilization\",\"Value\":{value},\
         \"NodeId\":\"algo-1\",\"Timestamp\":{time}}}\n"
    )
}

#[test]
fn what_was_written_is_read() {
    let values: Vec<f64> = (0..300).map(f64::from).collect();
    let run = Run::new()
        .series("algo-1", CORE, values.clone())
        .phase("algo-2", "features", 100, 2000.0, 7)
        .phase("algo-2", "features", 50, 1000.0, 3)
        .steps([1.0, 2.0]);
    let recording = run.recording();
    assert_eq!((recording.skipped, recording.cut, recording.every), (0, false, 1));
    let core = recording.one("algo-1", Kind::Cpu, "cpu0", CPU_USE).unwrap();
    assert_eq!(core.values().collect::<Vec<f64>>(), values);
    assert_eq!(core.points[1].0, BEGIN_MS + 500);
    let features = &recording.phase("features")[0];
    assert_eq!((features.0, features.1.total_us, features.1.count), ("algo-2", 3_000_000, 10));
    assert!(
        features.1.events[0].start_us < features.1.events[1].start_us,
        "in order of their start"
    );
    assert_eq!(recording.phases[&("algo-1".to_owned(), "step".to_owned())].events[1].step, Some(1));
    assert_eq!(recording.span_ms(), Some((BEGIN_MS, BEGIN_MS + 299 * 500)));
}

#[test]
fn smdebugs_own_lines_are_read() {
    let folder = tempfile::tempdir().unwrap();
    // As in the recordings of smdebug's tests: no folder of the hour, microseconds, a metric without a name.
    let at = folder.path().join("system/incremental");
    std::fs::create_dir_all(&at).unwrap();
    let text = "{\"Type\":\"cpu\",\"Name\":\"cpu5\",\"Dimension\":\"CPUUtilization\",\"Value\":1.36,\"NodeId\":\"algo-1\",\"Timestamp\":1591748109.2321954}\n\
                {\"Type\":\"memory\",\"Name\":null,\"Dimension\":\"\",\"Value\":6,\"NodeId\":\"algo-1\",\"Timestamp\":1591748109}\n";
    std::fs::write(at.join("1591748100.algo-1.json"), text).unwrap();
    let recording = Recording::read(folder.path()).unwrap();
    assert_eq!((recording.skipped, recording.series.len()), (0, 2));
    let core = recording.one("algo-1", Kind::Cpu, "cpu5", CPU_USE).unwrap();
    assert_eq!(core.points, [(1_591_748_109_232, 1.36)]);
}

#[test]
fn times_of_many_workers_do_not_stretch_the_run() {
    let run = Run::new()
        .phase("algo-1", "features", 0, 1000.0, 10)
        .phase("algo-1", "decode", 0, 9000.0, 10)
        .phase("algo-1", "step", 1000, 500.0, 10);
    assert_eq!(run.recording().span_ms(), Some((BEGIN_MS, BEGIN_MS + 1500)));
    assert_eq!(run.recording().outer_phases(), ["features"]);
}

#[test]
fn nothing_is_no_error() {
    let folder = tempfile::tempdir().unwrap();
    assert!(Recording::read(&folder.path().join("none")).unwrap().is_empty());
    assert!(Recording::read(folder.path()).unwrap().is_empty());
}

#[test]
fn broken_lines_are_skipped_and_counted() {
    let folder = tempfile::tempdir().unwrap();
    let mut text = Vec::new();
    let long = line(&"x".repeat(200), 1, "1");
    let broken = [
        "{",
        "[]",
        "null",
        "{\"Type\":\"cpu\"}",
        &line("cpu0", 1, "\"1\""),
        &line("cpu0", 1, "1e999"),
        &line("cpu0", 999_999_999_999_999, "1"),
        "{\"Type\":\"tpu\",\"Name\":\"a\",\"Dimension\":\"b\",\"Value\":1,\"NodeId\":\"h\",\"Timestamp\":1}",
        "{\"Type\":\"cpu\",\"Name\":\"a\",\"Dimension\":\"b\",\"Value\":1,\"NodeId\":\"\",\"Timestamp\":1}",
        "{\"Type\":\"cpu\",\"Name\":\"a\",\"Dimension\":\"b\",\"Value\":1,\"NodeId\":\"h\",\"Timestamp\":-1}",
        &long,
        &"[".repeat(10_000),
    ];
    for piece in broken {
        text.extend_from_slice(piece.trim_end().as_bytes());
        text.push(b'\n');
    }
    text.extend_from_slice(b"\xff\xfe\x00\n\n  \n");
    // Longer than any line; what follows it is read.
    text.extend_from_slice(&vec![b'a'; 1 << 20]);
    text.push(b'\n');
    text.extend_from_slice(line("cpu0", 1_800_000_000, "5").as_bytes());
    text.extend_from_slice(b"{\"Type\":\"cpu\",\"Na");
    minute(folder.path(), "1.algo-1.json", &text);
    let recording = Recording::read(folder.path()).unwrap();
    assert_eq!(recording.skipped, broken.len() as u64 + 3);
    assert_eq!(recording.series.len(), 1);
    assert_eq!(recording.one("algo-1", Kind::Cpu, "cpu0", CPU_USE).unwrap().points.len(), 1);
}

#[test]
fn hostile_phases_do_not_overflow() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(folder.path().join("framework")).unwrap();
    let most = u64::MAX;
    let text = format!(
        "{{\"phase\":\"head\",\"start_us\":{most},\"duration_us\":{most}}}\n\
         {{\"phase\":\"head\",\"start_us\":5,\"duration_us\":250000000000000000,\"count\":{most}}}\n\
         {{\"phase\":\"head\",\"start_us\":5,\"duration_us\":250000000000000000,\"count\":{most}}}\n\
         {{\"phase\":\"head\",\"start_us\":-5,\"duration_us\":1}}\n\
         {{\"phase\":\"\",\"start_us\":5,\"duration_us\":1}}\n"
    );
    std::fs::write(folder.path().join("framework/algo-1.jsonl"), text).unwrap();
    let recording = Recording::read(folder.path()).unwrap();
    assert_eq!(recording.skipped, 3);
    assert_eq!(recording.phase("head")[0].1.count, most);
}

#[test]
fn long_recordings_are_thinned_and_keep_their_means() {
    let folder = tempfile::tempdir().unwrap();
    let mut text = String::new();
    let count = MOST_POINTS * 5;
    for i in 0..count {
        write!(
            text,
            "{}",
            line("cpu0", 1_800_000_000 + i as u64, if i % 2 == 0 { "0" } else { "10" })
        )
        .unwrap();
    }
    minute(folder.path(), "1.algo-1.json", text.as_bytes());
    let recording = Recording::read(folder.path()).unwrap();
    let core = recording.one("algo-1", Kind::Cpu, "cpu0", CPU_USE).unwrap();
    assert_eq!(core.samples, count);
    assert!(core.points.len() <= MOST_POINTS, "{}", core.points.len());
    assert!(core.points.is_sorted_by_key(|point| point.0));
    assert!((crate::stats::mean(&core.values().collect::<Vec<f64>>()) - 5.0).abs() < 0.01);
}

#[test]
fn too_many_different_things_are_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let text: String = (0..MOST_SERIES + 10).map(|i| line(&format!("cpu{i}"), 1, "1")).collect();
    minute(folder.path(), "1.algo-1.json", text.as_bytes());
    let recording = Recording::read(folder.path()).unwrap();
    assert_eq!(recording.series.len(), MOST_SERIES);
    assert!(recording.cut);
}

#[test]
fn too_many_instances_and_phases_are_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let text: String = (0..MOST_HOSTS + 10)
        .map(|i| line("cpu0", 1, "1").replace("algo-1", &format!("algo-{i}")))
        .collect();
    minute(folder.path(), "1.algo-1.json", text.as_bytes());
    std::fs::create_dir_all(folder.path().join("framework")).unwrap();
    let text: String = (0..MOST_PHASES + 10)
        .map(|i| format!("{{\"phase\":\"p{i}\",\"start_us\":1,\"duration_us\":1}}\n"))
        .collect();
    for host in ["algo-1", "stranger"] {
        std::fs::write(folder.path().join(format!("framework/{host}.jsonl")), &text).unwrap();
    }
    let recording = Recording::read(folder.path()).unwrap();
    assert_eq!(recording.hosts().len(), MOST_HOSTS);
    assert_eq!(recording.phases.len(), MOST_PHASES, "of the instance that is known");
    assert!(recording.cut);
}

#[cfg(unix)]
#[test]
fn links_and_pipes_are_not_followed() {
    let folder = tempfile::tempdir().unwrap();
    let real = minute(folder.path(), "1.algo-1.json", line("cpu0", 1, "1").as_bytes());
    let elsewhere = folder.path().join("elsewhere");
    std::fs::write(&elsewhere, line("cpu9", 1, "1")).unwrap();
    std::os::unix::fs::symlink(&elsewhere, real.with_file_name("2.algo-1.json")).unwrap();
    std::os::unix::fs::symlink("/", folder.path().join("framework")).unwrap();
    let made =
        std::process::Command::new("mkfifo").arg(real.with_file_name("3.algo-1.json")).status();
    assert!(made.unwrap().success());
    let recording = Recording::read(folder.path()).unwrap();
    assert_eq!(recording.series.len(), 1);
    assert!(recording.phases.is_empty());
}

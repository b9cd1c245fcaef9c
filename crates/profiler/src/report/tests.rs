use super::*;
use crate::metrics::{CPU_USE, SystemMetric};
use crate::rules;
use crate::testing::{BEGIN_MS, Run, about, map};
use crate::writer::{FrameworkWriter, SystemWriter};

fn render(recording: &Recording, about: &About) -> String {
    page(recording, &rules::all(recording, &map(&[])), about)
}

/// Every opening tag of these has its end.
fn assert_balanced(html: &str) {
    for tag in [
        "svg", "section", "table", "tbody", "tr", "td", "th", "g", "ul", "li", "p", "h3", "rect",
        "text",
    ] {
        let opened =
            html.matches(&format!("<{tag} ")).count() + html.matches(&format!("<{tag}>")).count();
        let closed = html.matches(&format!("</{tag}>")).count();
        // Rectangles without a title close themselves.
        if tag == "rect" {
            assert!(closed <= opened);
        } else {
            assert_eq!(opened, closed, "{tag}");
        }
    }
}

#[test]
fn a_run_is_shown_with_its_findings_first() {
    let run = Run::new()
        .core("cpu0", &[95.0; 100])
        .core("cpu1", &[5.0; 100])
        .series("algo-1", (Kind::Cpu, "cpu", INSTANCE_CPU), [50.0; 100])
        .series("algo-1", (Kind::Memory, MEMORY_BYTES, ""), [3e8; 100])
        .phase("algo-1", "features", 0, 40_000.0, 800)
        .phase("algo-1", "decode", 0, 30_000.0, 800)
        .phase("algo-1", "engine", 0, 10_000.0, 800)
        .phase("algo-1", "head", 40_000, 9000.0, 64_000)
        .steps((0..1000).map(|i| if i % 60 == 0 { 50.0 } else { 1.0 }));
    let html = render(&run.recording(), &about());
    assert_balanced(&html);
    for words in [
        "Rule: StepOutlier",
        "Kennel's own hint: KennelTimeSplit",
        "Kennel's own hint: KennelIdleCores",
        "Cores of the machine",
        "CPU of the instances",
        "300\u{a0}MB",
        "Inside features",
        "17 steps beyond 3 standard deviations",
        "2027-01-15 08:00:00 UTC",
        "10:00\u{a0}min",
        "Not applicable: no GPU",
    ] {
        assert!(html.contains(words), "{words}");
    }
    let at = |words: &str| html.find(words).unwrap();
    assert!(
        at("<h2>Findings") < at("<h2>What ran when") && at("<h2>What ran when") < at("<h2>Rules")
    );
    assert!(!html.contains("http://") && !html.contains("https://"), "it needs nothing else");
}

#[test]
fn nothing_recorded_is_said() {
    let html = render(&Run::new().recording(), &about());
    assert_balanced(&html);
    assert!(html.contains("Nothing was recorded") && html.contains("There is nothing to judge"));
}

#[test]
fn strangers_words_stay_words() {
    let evil = "<script>alert(1)</script>\"'&";
    let run = Run::new()
        .series("algo-1", (Kind::Cpu, evil, CPU_USE), [1.0; 3])
        .series("algo-1", (Kind::Gpu, evil, GPU), [1.0; 3])
        .phase("algo-1", evil, 0, 50.0, 1)
        .phase("algo-1", "step", 0, 50.0, 1);
    let mut about = about();
    (about.job, about.instance_type, about.status) = (evil.into(), evil.into(), evil.into());
    about.facts = (0..1000).map(|_| (evil.repeat(1000), evil.repeat(1000))).collect();
    let html = render(&run.recording(), &about);
    assert!(!html.contains("<script>alert"));
    assert!(html.len() < 400_000, "{}", html.len());
}

const GPU: &str = crate::metrics::GPU_USE;

#[test]
fn the_report_of_any_recording_is_bounded() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = SystemWriter::create(folder.path()).unwrap();
    // Many instances and cores, at times that are far apart and next to each other.
    let mut metrics = Vec::new();
    for step in 0..700_u64 {
        let time_ms = BEGIN_MS + if step % 2 == 0 { step * 1_000 } else { step * 100_000 };
        for host in 0..12 {
            for (kind, name, dimension) in [
                (Kind::Cpu, "cpu", INSTANCE_CPU),
                (Kind::Memory, MEMORY_BYTES, ""),
                (Kind::Gpu, "gpu0", GPU),
                (Kind::Disk, crate::metrics::DISK_READ, ""),
            ] {
                metrics.push(SystemMetric {
                    kind,
                    name: name.into(),
                    dimension: dimension.into(),
                    value: (step * 7919 % 101) as f64,
                    host: format!("algo-{host}"),
                    time_ms,
                });
            }
        }
        for core in 0..200 {
            metrics.push(SystemMetric {
                kind: Kind::Cpu,
                name: format!("cpu{core}"),
                dimension: CPU_USE.into(),
                value: ((step + core) * 7919 % 101) as f64,
                host: "algo-0".into(),
                time_ms,
            });
        }
    }
    writer.write(&metrics).unwrap();
    for host in 0..12 {
        let mut writer = FrameworkWriter::create(folder.path(), &format!("algo-{host}")).unwrap();
        for i in 0..5000 {
            let phase = format!("phase {}", i % 40);
            writer.record(&phase, BEGIN_MS * 1000 + i * 1_000_000, 900_000, None, 1).unwrap();
            writer.record("step", BEGIN_MS * 1000 + i * 1_000_000, i % 97, Some(i), 1).unwrap();
        }
        writer.finish().unwrap();
    }
    let html = render(&Recording::read(folder.path()).unwrap(), &about());
    assert_balanced(&html);
    assert!(html.len() < 5 << 20, "{}", html.len());
    assert!(html.contains("The first 8 of 12 instances are drawn"));
    assert!(html.contains("200 cores, 5 in each row"));
}

#[test]
fn numbers_have_sensible_units() {
    for (unit, value, text) in [
        (Unit::Bytes, 0.0, "0\u{a0}B"),
        (Unit::Bytes, 999.0, "999\u{a0}B"),
        (Unit::BytesPerSecond, 1_500_000.0, "1.5\u{a0}MB/s"),
        (Unit::Bytes, 12_345_678_901.0, "12.3\u{a0}GB"),
        (Unit::Percent, 99.96, "100.0\u{a0}%"),
        (Unit::Milliseconds, 0.25, "0.25\u{a0}ms"),
    ] {
        assert_eq!(unit.show(value), text);
    }
    for (ms, text) in [
        (0.0, "0\u{a0}s"),
        (40.8, "40.8\u{a0}ms"),
        (500.0, "0.5\u{a0}s"),
        (1540.0, "1.5\u{a0}s"),
        (150_000.0, "2:30\u{a0}min"),
        (11_100_000.0, "3:05\u{a0}h"),
    ] {
        assert_eq!(duration(ms), text);
    }
}

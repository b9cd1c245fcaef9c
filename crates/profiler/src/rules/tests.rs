use super::*;
use crate::metrics::Kind;
use crate::testing::{Run, map};

/// More than SageMaker's patience of 1000 samples.
const MANY: usize = 1100;

fn flat(value: f64) -> Vec<f64> {
    vec![value; MANY]
}

#[track_caller]
fn issue(finding: &Finding, words: &str) {
    assert_eq!(finding.status, Status::IssuesFound, "{finding:?}");
    assert!(finding.sentence().contains(words), "{}", finding.sentence());
    assert!(!finding.change.is_empty() && finding.fired == 1, "{finding:?}");
}

#[track_caller]
fn fine(finding: &Finding, words: &str) {
    assert_eq!(finding.status, Status::NoIssuesFound, "{finding:?}");
    assert!(finding.sentence().contains(words), "{}", finding.sentence());
    assert_eq!(finding.fired, 0);
}

#[test]
fn gpu_rules_need_a_gpu_and_their_patience() {
    let rules = [
        "LowGPUUtilization",
        "BatchSize",
        "CPUBottleneck",
        "IOBottleneck",
        "GPUMemoryIncrease",
        "LoadBalancing",
    ];
    let without = Run::new().core("cpu0", &flat(99.0));
    let short =
        Run::new().gpu("gpu0", &[1.0; 900], &[1.0; 900]).gpu("gpu1", &[99.0; 900], &[1.0; 900]);
    for rule in rules {
        fine(&without.judge(rule, &[]), "not applicable: no GPU");
        fine(&short.judge(rule, &[]), "(`patience`), there are 900");
    }
}

#[test]
fn low_gpu_utilization() {
    let idle = Run::new().gpu("gpu0", &flat(40.0), &flat(10.0));
    issue(&idle.judge("LowGPUUtilization", &[]), "algo-1 gpu0 (40 %)");
    fine(&idle.judge("LowGPUUtilization", &[("threshold_p95", "30")]), "busy");
    let up_and_down: Vec<f64> = (0..MANY).map(|i| if i % 4 == 0 { 2.0 } else { 95.0 }).collect();
    let restless = Run::new().gpu("gpu0", &up_and_down, &flat(10.0));
    issue(&restless.judge("LowGPUUtilization", &[]), "up and down");
    let busy = Run::new().gpu("gpu0", &flat(95.0), &flat(10.0));
    fine(&busy.judge("LowGPUUtilization", &[]), "busy");
}

#[test]
fn batch_size() {
    let roomy = Run::new().gpu("gpu0", &flat(40.0), &flat(20.0)).core("cpu0", &flat(30.0));
    issue(&roomy.judge("BatchSize", &[]), "larger batches");
    for full in [
        Run::new().gpu("gpu0", &flat(80.0), &flat(20.0)).core("cpu0", &flat(30.0)),
        Run::new().gpu("gpu0", &flat(40.0), &flat(80.0)).core("cpu0", &flat(30.0)),
        Run::new().gpu("gpu0", &flat(40.0), &flat(20.0)).core("cpu0", &flat(80.0)),
    ] {
        fine(&full.judge("BatchSize", &[]), "fill");
    }
}

#[test]
fn cpu_bottleneck() {
    let mostly: Vec<f64> = (0..MANY).map(|i| if i % 5 < 3 { 99.0 } else { 20.0 }).collect();
    let seldom: Vec<f64> = (0..MANY).map(|i| if i % 5 < 2 { 99.0 } else { 20.0 }).collect();
    let run = |cpu: &[f64], gpu: f64| {
        Run::new().gpu("gpu0", &flat(gpu), &flat(1.0)).core("cpu0", &flat(1.0)).core("cpu1", cpu)
    };
    issue(&run(&mostly, 5.0).judge("CPUBottleneck", &[]), "in 60 % of the samples");
    fine(&run(&seldom, 5.0).judge("CPUBottleneck", &[]), "40 % of the samples");
    fine(&run(&mostly, 50.0).judge("CPUBottleneck", &[]), "0 % of the samples");
    issue(&run(&seldom, 5.0).judge("CPUBottleneck", &[("threshold", "30")]), "40 %");
}

#[test]
fn io_bottleneck() {
    let run =
        |share: f64| Run::new().gpu("gpu0", &flat(5.0), &flat(1.0)).waiting("cpu0", &flat(share));
    issue(&run(60.0).judge("IOBottleneck", &[]), "waits for disks");
    fine(&run(40.0).judge("IOBottleneck", &[]), "0 %");
    // A core that works is not one that waits.
    let busy = Run::new().gpu("gpu0", &flat(5.0), &flat(1.0)).core("cpu0", &flat(99.0));
    fine(&busy.judge("IOBottleneck", &[]), "0 %");
}

#[test]
fn gpu_memory_increase() {
    let rising: Vec<f64> = (0..1200).map(|i| if i < 1100 { 20.0 } else { 40.0 }).collect();
    let at_the_start: Vec<f64> = (0..1200).map(|i| if i < 100 { 0.0 } else { 40.0 }).collect();
    let run = |memory: &[f64]| Run::new().gpu("gpu0", &[50.0; 1200], memory);
    issue(&run(&rising).judge("GPUMemoryIncrease", &[]), "20.0 points");
    fine(&run(&rising).judge("GPUMemoryIncrease", &[("increase", "25")]), "level");
    fine(&run(&at_the_start).judge("GPUMemoryIncrease", &[]), "level");
}

#[test]
fn load_balancing() {
    let waves: Vec<f64> = (0..MANY).map(|i| (i % 50) as f64 * 2.0).collect();
    let even = Run::new().gpu("gpu0", &waves, &flat(1.0)).gpu("gpu1", &waves, &flat(1.0));
    fine(&even.judge("LoadBalancing", &[]), "about the same");
    let uneven =
        Run::new().gpu("gpu0", &flat(90.0), &flat(1.0)).gpu("gpu1", &flat(10.0), &flat(1.0));
    let finding = uneven.judge("LoadBalancing", &[]);
    // Two that never meet are as far apart as there is: the square root of ln 2.
    issue(&finding, "distance 0.83");
    let one = Run::new().gpu("gpu0", &flat(90.0), &flat(1.0));
    fine(&one.judge("LoadBalancing", &[]), "one GPU");
}

#[test]
fn step_outlier() {
    let some =
        |slow: usize| (0..1000).map(move |i| if i % 60 == 0 && i / 60 < slow { 50.0 } else { 1.0 });
    let eleven = Run::new().steps(some(11));
    let finding = eleven.judge("StepOutlier", &[]);
    issue(&finding, "11 of 1000 steps");
    assert!(finding.means.contains("together cost 0.53 s"), "{}", finding.means);
    assert_eq!(finding.details["step_details"]["algo-1"]["step_numbers"][1], 60);
    fine(&Run::new().steps(some(10)).judge("StepOutlier", &[]), "about the same");
    issue(&Run::new().steps(some(10)).judge("StepOutlier", &[("n_outliers", "3")]), "10 of 1000");
    fine(&eleven.judge("StepOutlier", &[("stddev", "20")]), "about the same");
    fine(&eleven.judge("StepOutlier", &[("mode", "evaluate")]), "not judged");
    fine(
        &Run::new().steps((0..100).map(f64::from)).judge("StepOutlier", &[]),
        "more than 100 steps",
    );
}

#[test]
fn max_initialization_time() {
    let late = |minutes: u64| {
        Run::new().phase("algo-1", "scan", 0, 10.0, 0).phase(
            "algo-1",
            "step",
            minutes * 60_000,
            1.0,
            1,
        )
    };
    issue(&late(21).judge("MaxInitializationTime", &[]), "after 21.0 minutes");
    fine(&late(19).judge("MaxInitializationTime", &[]), "after 19.0 minutes");
    issue(&late(19).judge("MaxInitializationTime", &[("threshold", "5")]), "19.0");
    let never = Run::new().phase("algo-1", "scan", 0, 25.0 * 60_000.0, 0);
    issue(&never.judge("MaxInitializationTime", &[]), "no step yet");
    fine(&Run::new().core("cpu0", &[1.0; 5000]).judge("MaxInitializationTime", &[]), "no steps");
}

#[test]
fn summaries_never_fire() {
    let run = Run::new()
        .core("cpu0", &[10.0, 30.0])
        .core("cpu1", &[20.0, 40.0])
        .series("algo-1", (Kind::Cpu, "cpu", crate::metrics::INSTANCE_CPU), [50.0, 70.0])
        .phase("algo-1", "features", 0, 900.0, 1)
        .phase("algo-1", "head", 900, 100.0, 1);
    let system = run.judge("OverallSystemUsage", &[("scan_interval_us", "60000000")]);
    fine(&system, "threads: algo-1 60 %");
    assert_eq!(system.details["CPU"]["algo-1"]["max"], 35.0);
    let framework = run.judge("OverallFrameworkMetrics", &[]);
    fine(&framework, "features 90 %, head 10 %");
    fine(&Run::new().judge("OverallFrameworkMetrics", &[]), "no framework metrics");
}

#[test]
fn where_the_time_goes() {
    let run = |decode: f64, preprocess: f64, engine: f64| {
        Run::new()
            .phase("algo-1", "features", 0, 1000.0, 100)
            .phase("algo-1", "decode", 0, decode, 100)
            .phase("algo-1", "preprocess", 0, preprocess, 100)
            .phase("algo-1", "engine", 0, engine, 100)
            .phase("algo-1", "head", 1000, 100.0, 100)
    };
    issue(&run(700.0, 100.0, 200.0).judge("KennelTimeSplit", &[]), "shorter side");
    issue(&run(100.0, 400.0, 500.0).judge("KennelTimeSplit", &[]), "input size");
    fine(&run(500.0, 100.0, 400.0).judge("KennelTimeSplit", &[]), "--engine onnxruntime");
    let head = |step: f64| {
        Run::new().phase("algo-1", "head", 0, 1000.0, 1).steps((0..100).map(move |_| step))
    };
    issue(&head(0.5).judge("KennelTimeSplit", &[]), "--batch-size");
    fine(&head(10.0).judge("KennelTimeSplit", &[]), "the head takes 100 %");
    fine(&Run::new().judge("KennelTimeSplit", &[]), "no phases");
}

#[test]
fn idle_cores() {
    let run = |first: f64, second: f64| {
        Run::new()
            .core("cpu0", &[first; 20])
            .core("cpu1", &[second; 20])
            .phase("algo-1", "features", 0, 10_000.0, 1)
    };
    issue(&run(100.0, 20.0).judge("KennelIdleCores", &[]), "0.8 of 2 cores have nothing to do");
    fine(&run(100.0, 80.0).judge("KennelIdleCores", &[]), "90 % busy");
    issue(&run(10.0, 10.0).waiting("cpu0", &[80.0; 20]).judge("KennelIdleCores", &[]), "disk");
    let own = |used: f64| {
        let key = (Kind::Cpu, "cpu", crate::metrics::INSTANCE_CPU);
        run(100.0, 95.0).series("algo-1", key, [used; 20])
    };
    issue(&own(30.0).judge("KennelIdleCores", &[]), "only 30 % of their threads");
    fine(&own(90.0).judge("KennelIdleCores", &[]), "98 % busy");
    // Cores that are idle at another time do not count.
    let after = Run::new()
        .core("cpu0", &[[99.0; 10], [0.0; 10]].concat())
        .phase("algo-1", "features", 0, 4_600.0, 1);
    fine(&after.judge("KennelIdleCores", &[]), "99 % busy");
    let brief = run(0.0, 0.0).phase("algo-1", "head", 0, 5.0, 1);
    issue(&brief.judge("KennelIdleCores", &[]), "2.0 of 2");
    let never = Run::new().core("cpu0", &[0.0; 20]);
    fine(&never.judge("KennelIdleCores", &[]), "not judged");
}

#[test]
fn slow_instance() {
    let run = |last: f64, photos: u64| {
        Run::new()
            .phase("algo-1", "features", 0, 1000.0, 100)
            .phase("algo-2", "features", 0, 1100.0, 100)
            .phase("algo-3", "features", 0, last, photos)
    };
    issue(&run(2000.0, 100).judge("KennelSlowInstance", &[]), "fewer instances");
    issue(&run(2000.0, 200).judge("KennelSlowInstance", &[]), "evenly");
    fine(&run(1200.0, 100).judge("KennelSlowInstance", &[]), "about the same time");
    let one = Run::new().phase("algo-1", "features", 0, 1000.0, 100);
    fine(&one.judge("KennelSlowInstance", &[]), "one instance");
}

#[test]
fn the_report_rule_runs_the_others() {
    let slow = Run::new().steps((0..1000).map(|i| if i % 60 == 0 { 50.0 } else { 1.0 }));
    issue_of_report(&slow.judge("ProfilerReport", &[]), "StepOutlier: some steps");
    fine(&slow.judge("ProfilerReport", &[("StepOutlier_n_outliers", "50")]), "no rule found");
    fine(&slow.judge("profilerreport", &[("stepoutlier_stddev", "30")]), "no rule found");
    fine(&Run::new().judge("ProfilerReport", &[]), "nothing was recorded");
    // Kennel's own hints leave SageMaker's status alone.
    let hint = Run::new().core("cpu0", &[0.0; 20]).phase("algo-1", "features", 0, 9000.0, 1);
    assert_eq!(hint.judge("KennelIdleCores", &[]).status, Status::IssuesFound);
    fine(&hint.judge("ProfilerReport", &[]), "no rule found");
}

#[track_caller]
fn issue_of_report(finding: &Finding, words: &str) {
    assert_eq!(finding.status, Status::IssuesFound);
    assert!(finding.means.starts_with(words), "{}", finding.means);
}

#[test]
fn what_cannot_be_judged_says_why() {
    let run = Run::new().core("cpu0", &[1.0]);
    for (rule, parameters, words) in [
        ("NoSuchRule", &[][..], "there is no profiler rule `NoSuchRule`"),
        ("Dataloader", &[], "not implemented"),
        ("CPUBottleneck", &[("threshold", "many")], "`threshold` is `many`"),
        ("CPUBottleneck", &[("threshold", "NaN")], "`threshold` is `NaN`"),
        ("CPUBottleneck", &[("threshold", "101")], "from 0 to 100"),
        ("CPUBottleneck", &[("treshold", "10")], "no parameter `treshold`"),
        ("ProfilerReport", &[("CPUBottleneck_threshold", "-1")], "`threshold` is `-1`"),
        ("ProfilerReport", &[("CPUBottleneck_treshold", "1")], "no parameter `treshold`"),
        ("ProfilerReport", &[("Nothing_threshold", "1")], "no parameter `Nothing_threshold`"),
    ] {
        let finding = run.judge(rule, parameters);
        assert_eq!(finding.status, Status::Error, "{rule} {parameters:?}");
        assert!(finding.means.contains(words), "{}", finding.means);
    }
    let long = run.judge(&"x".repeat(10_000), &[]);
    assert!(long.means.len() < 300 && long.rule.len() < 300);
}

#[test]
fn every_rule_takes_what_the_sdk_sends() {
    // The defaults of smdebug_rulesconfig 1.0.1, as text.
    let run = Run::new().core("cpu0", &[1.0]);
    for (rule, parameters) in [
        (
            "BatchSize",
            "cpu_threshold_p95=70 gpu_threshold_p95=70 gpu_memory_threshold_p95=70 patience=1000 window=500",
        ),
        ("CPUBottleneck", "threshold=50 gpu_threshold=10 cpu_threshold=90 patience=1000"),
        ("GPUMemoryIncrease", "increase=5 patience=1000 window=10"),
        ("IOBottleneck", "threshold=50 gpu_threshold=10 io_threshold=50 patience=1000"),
        ("LoadBalancing", "threshold=0.5 patience=1000"),
        ("LowGPUUtilization", "threshold_p95=70 threshold_p5=10 window=500 patience=1000"),
        ("MaxInitializationTime", "threshold=20"),
        ("OverallSystemUsage", ""),
        ("StepOutlier", "stddev=3 mode=None n_outliers=10"),
        ("ProfilerReport", "CPUBottleneck_cpu_threshold=90"),
    ] {
        let mut pairs: Vec<(&str, &str)> =
            parameters.split_whitespace().map(|pair| pair.split_once('=').unwrap()).collect();
        pairs.push(("scan_interval_us", "60000000"));
        let finding = run.judge(rule, &pairs);
        assert_eq!(finding.status, Status::NoIssuesFound, "{rule}: {}", finding.means);
    }
    assert!(map(&[]).is_empty());
}

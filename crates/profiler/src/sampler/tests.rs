use std::collections::BTreeSet;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::*;
use crate::metrics::{CPU_USE, DISK_WRITE, INSTANCE_CPU, Kind, MEMORY_BYTES, PLATFORM};

/// A process group that goes away with the test.
struct Group(Child);

impl Group {
    fn run(script: &str) -> Self {
        let mut command = Command::new("sh");
        command.args(["-c", script]).process_group(0).stdin(Stdio::null()).stdout(Stdio::null());
        Self(command.spawn().unwrap())
    }

    fn instance(&self, host: &str) -> Instance {
        Instance { host: host.to_owned(), process_group: self.0.id() as i32 }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let group = rustix::process::Pid::from_child(&self.0);
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        let _ = self.0.wait();
    }
}

/// Samples by the real clock until `seen` says so; the test fails when it never does.
fn sample_until(sampler: &mut Sampler, what: &str, seen: impl Fn(&[SystemMetric]) -> bool) {
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(60) {
        let now = 1_000_000 + began.elapsed().as_millis() as u64;
        if seen(&sampler.sample(now)) {
            return;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    panic!("never seen: {what}");
}

fn value(metrics: &[SystemMetric], host: &str, name: &str, dimension: &str) -> Option<f64> {
    let found =
        metrics.iter().find(|m| m.host == host && m.name == name && m.dimension == dimension);
    found.map(|metric| metric.value)
}

#[test]
fn a_busy_group_is_told_from_an_idle_one() {
    let busy = Group::run("while :; do :; done");
    let idle = Group::run("sleep 300");
    let mut sampler =
        Sampler::with_threads(vec![busy.instance("algo-1"), idle.instance("algo-2")], 1);
    sample_until(&mut sampler, "one group busy, the other idle", |metrics| {
        let used = |host| value(metrics, host, "cpu", INSTANCE_CPU);
        used("algo-1").is_some_and(|cpu| cpu > 20.0) && used("algo-2").is_some_and(|cpu| cpu < 5.0)
    });
}

#[test]
fn work_of_children_that_are_gone_counts() {
    // Each child ends soon; only its parent, who waited for it, still knows of its time.
    let group =
        Group::run("while :; do sh -c 'i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done'; done");
    let mut sampler = Sampler::with_threads(vec![group.instance("algo-1")], 1);
    sample_until(&mut sampler, "time of children", |metrics| {
        value(metrics, "algo-1", "cpu", INSTANCE_CPU).is_some_and(|cpu| cpu > 20.0)
    });
}

#[test]
fn what_a_group_writes_is_its_own() {
    let folder = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
    let file = folder.path().join("written");
    let writer = Group::run(&format!(
        "while :; do head -c 8000000 /dev/zero > '{}'; sync '{}'; done",
        file.display(),
        file.display()
    ));
    let idle = Group::run("sleep 300");
    let mut sampler = Sampler::new(vec![idle.instance("algo-1"), writer.instance("algo-2")]);
    sample_until(&mut sampler, "a megabyte per second written", |metrics| {
        let written = |host| value(metrics, host, DISK_WRITE, "");
        written("algo-2").is_some_and(|rate| rate > 1e6) && written("algo-1") == Some(0.0)
    });
}

#[test]
fn the_machine_is_sampled_once_and_rates_need_two() {
    let group = Group::run("sleep 300");
    let mut sampler = Sampler::new(vec![group.instance("algo-1"), group.instance("algo-2")]);
    let first = sampler.sample(1000);
    assert!(first.iter().all(|m| matches!(m.kind, Kind::Memory | Kind::Gpu)), "{first:?}");
    let memory = |dimension| value(&first, "algo-1", MEMORY_BYTES, dimension);
    assert!(memory(PLATFORM) > memory(""), "{first:?}");
    sample_until(&mut sampler, "every core of the machine", |metrics| {
        let of = |host: &str| -> BTreeSet<String> {
            let cores = metrics.iter().filter(|m| m.host == host && m.dimension == CPU_USE);
            cores.map(|metric| metric.name.clone()).collect()
        };
        assert!(metrics.iter().all(|m| m.value.is_finite() && m.value >= 0.0), "{metrics:?}");
        // A process that has only just been born may hold nothing yet.
        let memory = value(metrics, "algo-1", MEMORY_BYTES, "");
        of("algo-1").contains("cpu0") && of("algo-2").is_empty() && memory > Some(0.0)
    });
    // A clock that stands still or goes back has no rates to give.
    let back = sampler.sample(5);
    assert!(back.iter().all(|m| matches!(m.kind, Kind::Memory | Kind::Gpu)), "{back:?}");
}

#[test]
fn a_group_that_is_gone_says_nothing() {
    let mut sampler =
        Sampler::new(vec![Instance { host: "algo-1".into(), process_group: i32::MAX }]);
    sampler.sample(1000);
    let metrics = sampler.sample(2000);
    assert!(value(&metrics, "algo-1", "cpu", INSTANCE_CPU).is_none());
    assert!(value(&metrics, "algo-1", MEMORY_BYTES, "").is_none());
    assert!(
        value(&metrics, "algo-1", MEMORY_BYTES, PLATFORM).is_some(),
        "the machine is still there"
    );
}

#[test]
fn texts_of_the_kernel() {
    use super::parse::*;
    let stat = b"25823 (a) b) (c) R 25815 25810 21318 0 -1 4194304 101 0 0 0 7 5 2 1 20 0 1 0 1200277 3133440 410 18446744073709551615 94457666072576";
    assert_eq!(process(stat), Some(Process { group: 25810, ticks: 15, pages: 410 }));
    for broken in ["", "1 (x", "1 (x) R", "1 (x) R 1 a 3", "1 (x) R 1 2 3 4 5 6 7 8 9 10 11 12"] {
        assert_eq!(process(broken.as_bytes()), None, "{broken}");
    }
    let io = "rchar: 9\nwchar: 9\nread_bytes: 12\nwrite_bytes: 34\ncancelled_write_bytes: 0\n";
    assert_eq!(process_io(io), Some((12, 34)));
    assert_eq!(process_io("rchar: 9"), None);
    let cores = cores(
        "cpu  1 2 3 4 5 6 7 8 0 0\ncpu3 10 1 20 400 7 1 2 3 0 0\nintr 5 cpu9\ncpu4 1 1 1 1\n",
    );
    assert_eq!(cores, [Core { number: 3, busy: 37, waiting: 7, idle: 400 }]);
    let disks = disks(
        "7 0 loop0 9 0 9 0 9 0 9 0\n254 0 vda 10 1 100 5 20 2 200 7 0 0 0\n\
         254 1 vda1 9 9 99 9 9 9 9 9\n259 0 nvme0n1 1 0 2 0 1 0 4 0\n259 1 nvme0n1p1 1 0 2 0 1 0 4 0\nx\n",
    );
    assert_eq!(disks, (102 * 512, 204 * 512, 32));
    let net = "Inter-| Receive\n face |bytes\n lo: 5 0 0 0 0 0 0 0 5 0\n eth0:100 1 0 0 0 0 0 0 200 3 0\n  e1: 1 2\n";
    assert_eq!(network(net), (100, 200));
    assert_eq!(
        memory("MemTotal: 100 kB\nMemFree: 1 kB\nMemAvailable: 60 kB\n"),
        Some((102_400, 40_960))
    );
    assert_eq!(memory("MemTotal: x kB"), None);
}

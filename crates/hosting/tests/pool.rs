//! Pools of real model servers, under load, updates and losses.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod support;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::StatusCode;
use kennel_hosting::pool::{InvokeError, Pool, PoolOptions, PoolStatus, Request, Routing};
use kennel_hosting::process::ProcessSpec;
use kennel_hosting::server_instance::{InstanceSpec, Timings};
use support::{DEADLINE, alive, fake, launcher, until};
use tokio::task::JoinSet;

fn server(options: &[&str]) -> InstanceSpec {
    let command = fake(&[&["server"], options].concat());
    InstanceSpec { process: ProcessSpec { command, ..ProcessSpec::default() } }
}

/// The product's timings, except for those that a test would wait for.
async fn options() -> PoolOptions {
    PoolOptions {
        timings: Timings {
            health_interval: Duration::from_millis(50),
            backoff_first: Duration::from_millis(20),
            ..Timings::default()
        },
        ..PoolOptions::new(launcher().await)
    }
}

async fn reached(pool: &Pool, what: impl FnMut(&PoolStatus) -> bool) -> PoolStatus {
    let mut watch = pool.watch();
    let status = tokio::time::timeout(DEADLINE, watch.wait_for(what)).await;
    match status {
        Ok(status) => status.unwrap().clone(),
        Err(_) => panic!("never reached: {:?}", pool.status()),
    }
}

async fn pool(count: usize, options: PoolOptions) -> Pool {
    let pool = Pool::new(options);
    pool.set(1, server(&["tag=one"]), count);
    reached(&pool, |s| s.settled() && s.ready == count).await;
    pool
}

fn request(body: &str) -> Request {
    Request { body: Bytes::from(body.to_owned()), ..Request::default() }
}

fn idempotent(body: &str) -> Request {
    Request { idempotent: true, ..request(body) }
}

async fn ask(pool: &Pool, body: &str) -> Result<String, InvokeError> {
    let response = pool.invoke(request(body)).await?;
    Ok(String::from_utf8(response.body.to_vec()).unwrap())
}

#[tokio::test]
async fn a_call_and_its_answer() {
    let pool = pool(1, options().await).await;
    let mut call = request("hello");
    let headers = &mut call.headers;
    headers.insert("x-amzn-sagemaker-custom-attributes", "abc".parse().unwrap());
    headers.insert("host", "elsewhere".parse().unwrap());
    headers.insert("content-length", "7".parse().unwrap());
    let response = pool.invoke(call).await.unwrap();
    let status = pool.status();
    assert_eq!(response.status, StatusCode::OK);
    let pid = status.instances[0].pid.unwrap();
    assert_eq!(response.body, format!("one {pid} abc"));
    let names: Vec<&str> = response.headers.keys().map(|name| name.as_str()).collect();
    assert_eq!(names, ["content-type"]);
    assert_eq!(response.timing.instance, status.instances[0].number);
    assert!(response.timing.model <= response.timing.total && !response.timing.retried);
    let failed = pool.invoke(request("fail")).await.unwrap();
    assert_eq!(failed.status, StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(failed.body, "model trouble");
    assert_eq!((status.desired, status.ready, status.serving), (1, 1, Some(1)));
    pool.shutdown().await;
    assert!(!alive(pid));
    assert!(matches!(ask(&pool, "x").await, Err(InvokeError::NotReady { .. })));
}

#[tokio::test]
async fn requests_go_to_the_least_busy_and_equals_take_turns() {
    let pool = pool(2, options().await).await;
    let mut seen = BTreeSet::new();
    for _ in 0..2 {
        seen.insert(ask(&pool, "x").await.unwrap());
    }
    assert_eq!(seen.len(), 2);
    let slow = tokio::spawn({
        let pool = pool.clone();
        async move { ask(&pool, "sleep 60000").await }
    });
    until("the slow request runs", || pool.status().instances.iter().any(|i| i.in_flight == 1))
        .await;
    let free = pool.status().instances.iter().find(|i| i.in_flight == 0).unwrap().number;
    for _ in 0..10 {
        assert_eq!(pool.invoke(request("x")).await.unwrap().timing.instance, free);
    }
    slow.abort();
    until("a caller that left frees its place", || {
        pool.status().instances.iter().all(|i| i.in_flight == 0)
    })
    .await;
}

#[tokio::test]
async fn random_routing_reaches_all() {
    let pool = pool(2, PoolOptions { routing: Routing::Random, ..options().await }).await;
    let mut seen = BTreeSet::new();
    for _ in 0..64 {
        seen.insert(ask(&pool, "x").await.unwrap());
    }
    assert_eq!(seen.len(), 2);
}

#[tokio::test]
async fn a_full_pool_refuses_at_once_and_slow_or_large_answers_are_given_up() {
    let limits = PoolOptions {
        max_in_flight: 1,
        deadline: Duration::from_secs(2),
        max_response: 1000,
        ..options().await
    };
    let pool = pool(1, limits).await;
    assert!(matches!(ask(&pool, "big 1001").await, Err(InvokeError::TooLarge(1000))));
    assert_eq!(ask(&pool, "big 1000").await.unwrap().len(), 1000);
    let slow = tokio::spawn({
        let pool = pool.clone();
        async move { ask(&pool, "sleep 60000").await }
    });
    until("the slow request runs", || pool.status().instances[0].in_flight == 1).await;
    let asked = Instant::now();
    assert!(matches!(ask(&pool, "x").await, Err(InvokeError::Throttled)));
    assert!(asked.elapsed() < Duration::from_secs(1));
    assert!(matches!(slow.await.unwrap(), Err(InvokeError::Timeout(_))));
    assert!(ask(&pool, "x").await.is_ok());
}

#[tokio::test]
async fn a_crash_loop_says_why() {
    let pool = Pool::new(options().await);
    pool.set(1, server(&["crash_at_start=true"]), 1);
    let status = reached(&pool, |s| s.failures >= 3).await;
    let reason = status.failing.unwrap();
    assert!(reason.contains("ended before it was ready with exit code 3"), "{reason}");
    assert!(reason.contains("cannot load the model"), "{reason}");
    assert_eq!((status.ready, status.serving), (0, None));
    match ask(&pool, "x").await {
        Err(InvokeError::NotReady { reason: Some(told) }) => assert!(told.contains("exit code 3")),
        other => panic!("{other:?}"),
    }
    // A better specification takes its place.
    pool.set(2, server(&["tag=two"]), 1);
    reached(&pool, PoolStatus::settled).await;
    assert!(ask(&pool, "x").await.unwrap().starts_with("two "));
}

#[tokio::test]
async fn lines_reach_the_log_and_memory_is_a_reason() {
    let (logs, mut lines) = tokio::sync::mpsc::channel(100);
    let mut options = PoolOptions { logs: Some(logs), ..options().await };
    // The reason stands until the next life is ready.
    options.timings.backoff_first = DEADLINE;
    let pool = Pool::new(options);
    let mut spec = server(&["tag=one"]);
    spec.process.memory_limit = Some(200 << 20);
    pool.set(7, spec, 1);
    let line = tokio::time::timeout(DEADLINE, lines.recv()).await.unwrap().unwrap();
    assert_eq!((line.generation, line.instance), (7, 1));
    assert!(line.text.starts_with("serving on http://127.0.0.1:"), "{line:?}");
    reached(&pool, PoolStatus::settled).await;
    assert!(matches!(ask(&pool, "eat 300").await, Err(InvokeError::Broken(_))));
    let status = reached(&pool, |s| s.failing.is_some()).await;
    let reason = status.failing.unwrap();
    assert!(reason.starts_with("ended with out of memory"), "{reason}");
}

#[tokio::test]
async fn never_ready_is_a_failure_too() {
    let mut options = options().await;
    options.timings.ready = Duration::from_millis(200);
    let pool = Pool::new(options);
    pool.set(1, server(&["slow_start=60000"]), 1);
    let status = reached(&pool, |s| s.failing.is_some()).await;
    assert!(status.failing.unwrap().contains("was not ready after 0.2 s"));
}

#[tokio::test]
async fn a_sick_instance_is_replaced() {
    let pool = Pool::new(options().await);
    pool.set(1, server(&["sick_after=5"]), 1);
    let first = reached(&pool, PoolStatus::settled).await.instances[0].pid.unwrap();
    let failed = reached(&pool, |s| s.failing.is_some()).await.failing.unwrap();
    assert!(failed.contains("3 health checks") && failed.contains("500"), "{failed}");
    let next = reached(&pool, |s| s.ready == 1 && s.instances[0].pid != Some(first)).await;
    assert_ne!(next.instances[0].pid, Some(first));
    until("the sick one ends", || !alive(first)).await;
}

#[tokio::test]
async fn scaling_in_lets_requests_finish() {
    let pool = pool(2, options().await).await;
    let mut calls = JoinSet::new();
    for _ in 0..2 {
        let pool = pool.clone();
        calls.spawn(async move { ask(&pool, "sleep 1000").await });
    }
    until("both are busy", || pool.status().instances.iter().all(|i| i.in_flight == 1)).await;
    pool.scale(1);
    reached(&pool, |s| s.draining == 1 && s.instances.len() == 1).await;
    for answer in calls.join_all().await {
        answer.unwrap();
    }
    let status = reached(&pool, PoolStatus::settled).await;
    assert_eq!(status.instances.len(), 1);
    pool.scale(2);
    reached(&pool, |s| s.settled() && s.ready == 2).await;
}

#[tokio::test]
async fn dropping_the_pool_kills() {
    let pool = pool(2, options().await).await;
    let pids: Vec<i32> = pool.status().instances.iter().map(|i| i.pid.unwrap()).collect();
    drop(pool);
    until("the instances die", || !pids.iter().any(|pid| alive(*pid))).await;
}

/// Callers that ask one request after another until they are told to stop.
struct Load {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
    callers: JoinSet<Vec<InvokeError>>,
}

impl Load {
    fn start(pool: &Pool, callers: usize, call: Request) -> Load {
        let stop = Arc::new(AtomicBool::new(false));
        let answered = Arc::new(AtomicUsize::new(0));
        let mut set = JoinSet::new();
        for _ in 0..callers {
            let (pool, call) = (pool.clone(), call.clone());
            let (stop, answered) = (Arc::clone(&stop), Arc::clone(&answered));
            set.spawn(async move {
                let mut failed = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    match pool.invoke(call.clone()).await {
                        Ok(response) => {
                            assert_eq!(response.status, StatusCode::OK);
                            answered.fetch_add(1, Ordering::Relaxed);
                        }
                        Err(e) => failed.push(e),
                    }
                }
                failed
            });
        }
        Load { stop, answered, callers: set }
    }

    async fn until_answered(&self, more: usize) {
        let goal = self.answered.load(Ordering::Relaxed) + more;
        until("requests are answered", || self.answered.load(Ordering::Relaxed) >= goal).await;
    }

    async fn finish(self) -> Vec<InvokeError> {
        self.stop.store(true, Ordering::Relaxed);
        self.callers.join_all().await.into_iter().flatten().collect()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_update_under_load_fails_no_request() {
    let pool = pool(2, options().await).await;
    let load = Load::start(&pool, 8, request("sleep 2"));
    load.until_answered(200).await;
    for (generation, tag) in [(2, "tag=two"), (3, "tag=three")] {
        pool.set(generation, server(&[tag, "slow_start=100"]), 2);
        reached(&pool, |s| s.settled() && s.serving == Some(generation)).await;
        load.until_answered(200).await;
    }
    // Back and forth without waiting.
    for generation in 4..8 {
        pool.set(generation, server(&["tag=last"]), 1 + generation as usize % 2);
        load.until_answered(50).await;
    }
    reached(&pool, |s| s.settled() && s.serving == Some(7)).await;
    let failed = load.finish().await;
    assert!(failed.is_empty(), "{failed:?}");
    assert!(ask(&pool, "x").await.unwrap().starts_with("last "));
}

async fn kill_one(pool: &Pool) {
    let victim = pool.status().instances[0].pid.unwrap();
    let pid = rustix::process::Pid::from_raw(victim).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    reached(pool, |s| s.settled() && s.instances[0].pid.is_some_and(|pid| pid != victim)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_instance_costs_only_what_was_inside_it() {
    let pool = pool(2, options().await).await;
    let load = Load::start(&pool, 8, request("sleep 2"));
    load.until_answered(200).await;
    kill_one(&pool).await;
    load.until_answered(200).await;
    let failed = load.finish().await;
    // Eight callers, and at the moment of the kill at most all of them were inside.
    assert!(failed.len() <= 8, "{}: {failed:?}", failed.len());
    assert!(failed.iter().all(|e| matches!(e, InvokeError::Broken(_))), "{failed:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_instance_costs_nothing_when_requests_may_be_repeated() {
    let pool = pool(2, options().await).await;
    let load = Load::start(&pool, 8, idempotent("sleep 2"));
    load.until_answered(200).await;
    for _ in 0..3 {
        kill_one(&pool).await;
        load.until_answered(50).await;
    }
    let failed = load.finish().await;
    assert!(failed.is_empty(), "{failed:?}");
}

#[tokio::test]
async fn a_request_that_kills_is_tried_twice_at_most() {
    let pool = pool(3, options().await).await;
    let pids = |s: &PoolStatus| s.instances.iter().filter_map(|i| i.pid).collect::<Vec<_>>();
    let mut now = pids(&pool.status());
    for (call, deaths) in [(request("die"), 1), (idempotent("die"), 2)] {
        assert!(matches!(pool.invoke(call).await, Err(InvokeError::Broken(_))));
        let before = now;
        let dead = || before.iter().filter(|pid| !alive(**pid)).count();
        until("instances die", || dead() == deaths).await;
        let healed =
            |s: &PoolStatus| s.settled() && pids(s).len() == 3 && pids(s).iter().all(|p| alive(*p));
        now = pids(&reached(&pool, healed).await);
        assert_eq!(dead(), deaths);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_hop_is_short() {
    let pool = pool(1, options().await).await;
    let mut times = Vec::new();
    for _ in 0..500 {
        times.push(pool.invoke(request("x")).await.unwrap().timing.total);
    }
    times.sort_unstable();
    let (median, p99) = (times[250], times[495]);
    eprintln!("whole round trip of a trivial model: p50 {median:?}, p99 {p99:?}");
    // The product's figure is 0.5 ms; a delayed acknowledgement or a connection per request would cost
    // far more than what an unoptimised build on a busy machine does.
    assert!(median < Duration::from_millis(5), "{median:?}");
}

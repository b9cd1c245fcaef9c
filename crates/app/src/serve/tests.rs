//! The server in this process on a free port, with a model trained on a few drawn pictures. Where an
//! order of events matters, `Expect: 100-continue` makes it certain: the server asks for a body only
//! after it has admitted the request.

use super::*;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kennel_infer::engine::EngineKind;
use kennel_infer::photo::{decode, encode_jpeg};
use kennel_infer::pipeline::PipelineOptions;
use kennel_train::dataset::SplitOptions;
use kennel_train::job::{self, JobOptions, Photos};
use kennel_train::samples::{SampleOptions, draw, write_dataset};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::OnceLock;
use std::sync::atomic::AtomicBool;

/// Nothing here takes this long; it only ends a test that would hang.
const PATIENCE: Duration = Duration::from_secs(60);

fn engine_options() -> EngineOptions {
    EngineOptions { kind: Some(EngineKind::Rten), threads: 1 }
}

fn package() -> &'static Package {
    static PACKAGE: OnceLock<Package> = OnceLock::new();
    PACKAGE.get_or_init(|| {
        let work = tempfile::tempdir().unwrap();
        let samples = SampleOptions {
            train_per_class: 3,
            valid_per_class: 1,
            test_per_class: 0,
            size: 64,
            ..SampleOptions::default()
        };
        write_dataset(&work.path().join("photos"), &samples, &mut |_, _| {}).unwrap();
        let options = JobOptions {
            photos: Photos::Folder(work.path().join("photos")),
            backbone: kennel_infer::hub::BUILTIN.to_owned(),
            open: Default::default(),
            split: SplitOptions::default(),
            train: kennel_base::TrainOptions { epochs: 3, ..Default::default() },
            pipeline: PipelineOptions { engine: Some(EngineKind::Rten), ..Default::default() },
            max_bad: 0.0,
            cache: work.path().join("cache"),
            checkpoints: work.path().join("checkpoints"),
            observe: None,
        };
        job::run(&options, &AtomicBool::new(false), &mut |_| {}).unwrap().package
    })
}

/// A drawn picture as JPEG.
fn jpeg(breed: usize) -> Vec<u8> {
    let options = SampleOptions { size: 96, ..SampleOptions::default() };
    encode_jpeg(&draw(breed, 77, &options).unwrap(), 96, 96, 90).unwrap()
}

fn png(breed: usize) -> Vec<u8> {
    let options = SampleOptions { size: 96, ..SampleOptions::default() };
    let mut bytes = std::io::Cursor::new(Vec::new());
    draw(breed, 77, &options).unwrap().write_to(&mut bytes, image::ImageFormat::Png).unwrap();
    bytes.into_inner()
}

/// What the classifier says without any server.
fn expected(photos: &[Vec<u8>]) -> Vec<Vec<f32>> {
    let mut classifier = Classifier::load(package(), &engine_options()).unwrap();
    let limits = DecodeLimits::default();
    let photos: Vec<_> = photos.iter().map(|p| decode(p, &limits).unwrap()).collect();
    classifier.logits(&photos).unwrap()
}

fn options() -> Options {
    Options {
        address: ([127, 0, 0, 1], 0).into(),
        engine: engine_options(),
        workers: 1,
        ..Options::default()
    }
}

struct Server {
    runtime: tokio::runtime::Runtime,
    task: tokio::task::JoinHandle<anyhow::Result<()>>,
    stop: Option<oneshot::Sender<()>>,
    shared: Arc<Shared>,
    address: SocketAddr,
    agent: ureq::Agent,
}

fn agent() -> ureq::Agent {
    ureq::Agent::config_builder()
        .timeout_global(Some(PATIENCE))
        .http_status_as_error(false)
        .proxy(None)
        .build()
        .into()
}

/// Asks until it is true; the time it takes is no part of the proof.
fn until(what: &str, mut is_true: impl FnMut() -> bool) {
    let started = Instant::now();
    while !is_true() {
        assert!(started.elapsed() < PATIENCE, "{what} never came");
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn launch(options: Options, package: Package) -> Server {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let service = runtime.block_on(Service::bind(options, package)).unwrap();
    let (address, shared) = (service.address(), Arc::clone(&service.shared));
    let (stop, stopped) = oneshot::channel::<()>();
    let task = runtime.spawn(service.run(async {
        let _ = stopped.await;
    }));
    Server { runtime, task, stop: Some(stop), shared, address, agent: agent() }
}

fn start(options: Options) -> Server {
    let server = launch(options, package().clone());
    until("a healthy server", || server.get("/ping").0 == 200);
    server
}

impl Server {
    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    fn get(&self, path: &str) -> (u16, String) {
        let mut response = self.agent.get(self.url(path)).call().unwrap();
        (response.status().as_u16(), response.body_mut().read_to_string().unwrap())
    }

    fn invoke(&self, headers: &[(&str, &str)], body: &[u8]) -> (u16, Value) {
        let mut request = self.agent.post(self.url("/invocations"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut response = request.send(body).unwrap();
        let text = response.body_mut().read_to_string().unwrap();
        assert_eq!(response.headers()["content-type"], "application/json", "{text}");
        (response.status().as_u16(), serde_json::from_str(&text).unwrap())
    }

    fn jpeg(&self, body: &[u8]) -> (u16, Value) {
        self.invoke(&[("content-type", "image/jpeg")], body)
    }

    fn json(&self, body: &Value) -> (u16, Value) {
        self.invoke(&[("content-type", "application/json")], body.to_string().as_bytes())
    }

    /// Stops and waits for the end.
    fn finish(mut self) -> anyhow::Result<()> {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        drop(self.agent);
        let end = async { tokio::time::timeout(PATIENCE, self.task).await };
        self.runtime.block_on(end).expect("the server did not end").unwrap()
    }
}

fn assert_error(answer: &(u16, Value), status: u16, code: &str) {
    let (found, body) = answer;
    assert_eq!(*found, status, "{body}");
    assert_eq!(body["error"]["code"], code, "{body}");
    assert!(body["error"]["message"].as_str().is_some_and(|m| !m.is_empty()), "{body}");
    assert!(body["error"]["hint"].as_str().is_some_and(|h| !h.is_empty()), "{body}");
}

fn assert_logits(found: &Value, wanted: &[Vec<f32>]) {
    let rows: Vec<Vec<f32>> = serde_json::from_value(found.clone()).unwrap();
    assert_eq!(rows.len(), wanted.len());
    for (row, wanted) in rows.iter().zip(wanted) {
        assert_eq!(row.len(), wanted.len());
        for (a, b) in row.iter().zip(wanted) {
            assert!((a - b).abs() < 1e-4, "{a} {b}");
        }
    }
}

/// A request over a plain socket, sent in parts.
struct Raw(BufReader<TcpStream>);

impl Raw {
    fn open(server: &Server, head: &str) -> Raw {
        let mut stream = TcpStream::connect(server.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let text = format!("POST /invocations HTTP/1.1\r\nhost: kennel\r\n{head}\r\n\r\n");
        stream.write_all(text.as_bytes()).unwrap();
        Raw(BufReader::new(stream))
    }

    /// A request that the server has admitted and whose body it waits for.
    fn admitted(server: &Server, length: usize) -> Raw {
        let head =
            format!("content-type: image/jpeg\r\ncontent-length: {length}\r\nexpect: 100-continue");
        let mut raw = Raw::open(server, &head);
        assert_eq!(raw.status(), 100);
        raw
    }

    fn send(&mut self, bytes: &[u8]) {
        self.0.get_mut().write_all(bytes).unwrap();
    }

    /// The status of the next response, whose headers are passed over; the length of its body with it.
    fn head(&mut self) -> (u16, usize, bool) {
        let (mut status, mut length, mut retry) = (0, 0, false);
        loop {
            let mut line = String::new();
            assert!(self.0.read_line(&mut line).unwrap() > 0, "the connection ended");
            let line = line.trim_end().to_ascii_lowercase();
            if status == 0 {
                status = line.split(' ').nth(1).unwrap().parse().unwrap();
            } else if let Some(value) = line.strip_prefix("content-length: ") {
                length = value.parse().unwrap();
            } else if line.starts_with("retry-after:") {
                retry = true;
            } else if line.is_empty() {
                return (status, length, retry);
            }
        }
    }

    fn status(&mut self) -> u16 {
        self.head().0
    }

    fn answer(&mut self) -> (u16, Value) {
        let (status, length, _) = self.head();
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).unwrap();
        (status, serde_json::from_slice(&body).unwrap())
    }
}

#[test]
fn ping_follows_the_health_of_the_workers() {
    let server = launch(options(), package().clone());
    until("the first 200", || match server.get("/ping").0 {
        200 => true,
        503 => false,
        other => panic!("{other}"),
    });
    server.shared.health.failed.store(true, Ordering::Release);
    assert_eq!(server.get("/ping").0, 503);
    assert_error(&server.jpeg(&jpeg(0)), 503, "Unavailable");
    server.shared.health.failed.store(false, Ordering::Release);
    assert_eq!(server.get("/ping").0, 200);
    server.finish().unwrap();
}

#[test]
fn ping_is_503_until_the_model_is_loaded() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let service = runtime.block_on(Service::bind(options(), package().clone())).unwrap();
    // Listening, and nobody has loaded anything.
    let status = runtime.block_on(ping(State(Arc::clone(&service.shared))));
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
}

#[test]
fn a_model_that_cannot_be_loaded_ends_the_server_with_the_reason() {
    let mut broken = package().clone();
    broken.network.truncate(1000);
    let server = launch(options(), broken);
    let end = async { tokio::time::timeout(PATIENCE, server.task).await };
    let outcome = server.runtime.block_on(end).expect("the server did not end").unwrap();
    assert!(outcome.is_err());
}

#[test]
fn a_model_that_cannot_be_loaded_keeps_no_caller_waiting() {
    let mut broken = package().clone();
    broken.network.truncate(1000);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let service = runtime.block_on(Service::bind(options(), broken)).unwrap();
    // A request that came while the model was being loaded.
    let (reply, answer) = oneshot::channel();
    service.shared.queue.push_all(vec![Work { photo: jpeg(0), reply }], Instant::now()).unwrap();
    let run = service.run(std::future::pending());
    let outcome = runtime.block_on(async { tokio::time::timeout(PATIENCE, run).await });
    assert!(outcome.expect("the server did not end").is_err());
    assert!(runtime.block_on(answer).is_err(), "the caller was told");
}

#[test]
fn every_photo_format_gives_the_courses_list_of_lists() {
    let server = start(options());
    let wanted = expected(&[jpeg(3)]);
    assert_eq!(wanted[0].len(), 8);
    for kind in ["image/jpeg", "application/x-image", "image/jpeg; charset=binary", "image/png"] {
        let (status, body) = server.invoke(&[("content-type", kind)], &jpeg(3));
        assert_eq!(status, 200, "{kind}: {body}");
        assert_logits(&body, &wanted);
    }
    let (status, body) = server.invoke(&[("content-type", "image/png")], &png(3));
    assert_eq!(status, 200, "{body}");
    assert_logits(&body, &expected(&[png(3)]));
    server.finish().unwrap();
}

#[test]
fn instances_are_answered_in_their_order() {
    let server = start(Options { workers: 2, ..options() });
    let photos = [jpeg(0), jpeg(1), png(2)];
    let instances: Vec<Value> = photos.iter().map(|p| json!({"b64": STANDARD.encode(p)})).collect();
    let (status, body) = server.json(&json!({ "instances": instances }));
    assert_eq!(status, 200, "{body}");
    assert_logits(&body, &expected(&photos));
    server.finish().unwrap();
}

#[test]
fn labels_come_with_probabilities_when_asked_for() {
    let server = start(options());
    let manifest = &package().manifest;
    for (header, value, count) in [
        ("accept", "application/json;labels=true", 5),
        ("x-amzn-sagemaker-custom-attributes", "labels=true,top=8", 8),
    ] {
        let headers = [("content-type", "image/jpeg"), (header, value)];
        let (status, body) = server.invoke(&headers, &jpeg(5));
        assert_eq!(status, 200, "{body}");
        let found = body["predictions"][0].as_array().unwrap();
        assert_eq!(found.len(), count, "{header}");
        let wanted = expected(&[jpeg(5)]);
        let labels = kennel_infer::classifier::labels(manifest, &wanted[0], count);
        let mut sum = 0.0;
        for (found, wanted) in found.iter().zip(&labels) {
            assert_eq!(found["label"], wanted.class.name);
            assert_eq!(found["class"], wanted.class.key);
            let probability = found["probability"].as_f64().unwrap();
            assert!((probability - f64::from(wanted.probability)).abs() < 1e-4);
            sum += probability;
        }
        if count == 8 {
            assert!((sum - 1.0).abs() < 1e-4, "{sum}");
        }
    }
    server.finish().unwrap();
}

#[test]
fn what_cannot_be_answered_is_refused_in_json() {
    let server = start(Options { max_body: 20_000, ..options() });
    let text = [("content-type", "text/plain")];
    assert_error(&server.invoke(&text, b"hello"), 415, "UnsupportedMediaType");
    assert_error(&server.jpeg(b""), 400, "InvalidInput");
    assert_error(&server.json(&json!({"photo": 1})), 400, "InvalidInput");
    let (status, body) = server.jpeg(b"this is a text file, not a photo, whatever it is called");
    assert!([400, 415].contains(&status), "{status} {body}");
    assert!(body["error"]["hint"].is_string(), "{body}");
    let mut torn = jpeg(0);
    torn.truncate(40);
    let (status, body) = server.jpeg(&torn);
    assert!([400, 415].contains(&status), "{status} {body}");
    let good = STANDARD.encode(jpeg(0));
    let bad = STANDARD.encode(b"no photo");
    let (status, _) = server.json(&json!({"instances": [{"b64": good}, {"b64": bad}]}));
    assert!([400, 415].contains(&status), "one bad photo fails its request: {status}");
    let (status, body) = server.get("/elsewhere");
    assert_error(&(status, serde_json::from_str(&body).unwrap()), 404, "NotFound");
    assert_eq!(server.get("/invocations").0, 405);
    assert_eq!(server.jpeg(&jpeg(0)).0, 200, "the server is none the worse for it");
    server.finish().unwrap();
}

#[test]
fn bodies_over_the_limit_are_413_announced_or_not() {
    let server = start(Options { max_body: 1000, ..options() });
    let mut announced = Raw::open(
        &server,
        "content-type: image/jpeg\r\ncontent-length: 1001\r\nexpect: 100-continue",
    );
    // Refused from the header alone: the body was never asked for.
    assert_error(&announced.answer(), 413, "PayloadTooLarge");
    let mut chunked = Raw::open(&server, "content-type: image/jpeg\r\ntransfer-encoding: chunked");
    chunked.send(format!("5dc\r\n{}\r\n0\r\n\r\n", "x".repeat(1500)).as_bytes());
    assert_error(&chunked.answer(), 413, "PayloadTooLarge");
    server.finish().unwrap();
}

#[test]
fn a_full_server_answers_429_before_it_reads_the_body() {
    // One photo may wait and one may run: two requests are admitted, whatever the speed.
    let server = start(Options { queue: 1, batch: 1, workers: 1, ..options() });
    let photo = jpeg(1);
    let mut first = Raw::admitted(&server, photo.len());
    let mut second = Raw::admitted(&server, photo.len());
    let head = format!(
        "content-type: image/jpeg\r\ncontent-length: {}\r\nexpect: 100-continue",
        photo.len()
    );
    let mut third = Raw::open(&server, &head);
    let (status, _, retry_after) = third.head();
    assert_eq!((status, retry_after), (429, true));
    first.send(&photo);
    assert_eq!(first.answer().0, 200);
    second.send(&photo);
    assert_eq!(second.answer().0, 200);
    assert_eq!(server.jpeg(&photo).0, 200, "there is room again");
    server.finish().unwrap();
}

#[test]
fn more_photos_than_may_wait_are_429_and_a_flood_is_answered_to_the_last() {
    let server = start(Options { queue: 2, batch: 1, workers: 1, ..options() });
    let b64 = STANDARD.encode(jpeg(1));
    let three = json!({"instances": [{"b64": b64}, {"b64": b64}, {"b64": b64}]});
    assert_error(&server.json(&three), 429, "Throttled");
    let photo = jpeg(2);
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let callers: Vec<_> = (0..24).map(|_| scope.spawn(|| server.jpeg(&photo).0)).collect();
        callers.into_iter().map(|c| c.join().unwrap()).collect()
    });
    assert!(statuses.iter().all(|s| [200, 429].contains(s)), "{statuses:?}");
    assert!(statuses.contains(&200), "{statuses:?}");
    server.finish().unwrap();
}

#[test]
fn a_caller_that_never_sends_its_body_is_given_up() {
    let server = start(Options { timeout: Duration::from_millis(50), ..options() });
    let mut slow = Raw::admitted(&server, 5000);
    assert_error(&slow.answer(), 503, "Unavailable");
    server.finish().unwrap();
}

/// One photo over plain HTTP from this machine.
fn photo_host() -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { break };
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
            while lines.next().is_some_and(|l| l.is_ok_and(|l| !l.is_empty())) {}
            let body = jpeg(4);
            let head = format!(
                "HTTP/1.1 200 OK\r\ncontent-type: image/jpeg\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
                body.len()
            );
            let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body));
        }
    });
    address
}

#[test]
fn addresses_of_this_machine_are_refused_unless_opened() {
    let host = photo_host();
    let body = json!({"url": format!("http://{host}/dog.jpg")});
    let closed = start(options());
    assert_error(&closed.json(&body), 400, "InvalidInput");
    for url in ["http://169.254.169.254/latest/meta-data/", "file:///etc/passwd", "no address"] {
        assert_error(&closed.json(&json!({ "url": url })), 400, "InvalidInput");
    }
    closed.finish().unwrap();
    let fetch = FetchOptions { allow_hosts: vec![host.to_string()], ..FetchOptions::default() };
    let open = start(Options { fetch, ..options() });
    let (status, answer) = open.json(&body);
    assert_eq!(status, 200, "{answer}");
    assert_logits(&answer, &expected(&[jpeg(4)]));
    open.finish().unwrap();
}

#[test]
fn metrics_count_what_was_answered() {
    let server = start(options());
    for _ in 0..3 {
        assert_eq!(server.jpeg(&jpeg(0)).0, 200);
    }
    assert_eq!(server.jpeg(b"").0, 400);
    let (status, page) = server.get("/metrics");
    assert_eq!(status, 200);
    assert!(page.ends_with("# EOF\n"), "{page}");
    // Every line is a comment or `name{labels} number`.
    let mut samples = std::collections::BTreeMap::new();
    for line in page.lines().filter(|l| !l.starts_with('#')) {
        let (name, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("{line}"));
        let value: f64 = value.parse().unwrap_or_else(|_| panic!("{line}"));
        assert!(name.starts_with("kennel_"), "{line}");
        samples.insert(name.to_owned(), value);
    }
    assert_eq!(samples["kennel_invocations_total{status=\"200\"}"], 3.0, "{page}");
    assert_eq!(samples["kennel_invocations_total{status=\"400\"}"], 1.0, "{page}");
    assert_eq!(samples["kennel_invocation_seconds_count"], 4.0);
    assert_eq!(samples["kennel_batch_photos_sum"], 3.0);
    assert_eq!(samples["kennel_queue_photos"], 0.0);
    assert_eq!(samples["kennel_healthy"], 1.0);
    assert!(samples["kennel_engine_seconds_total"] > 0.0);
    server.finish().unwrap();
}

#[test]
fn a_graceful_stop_answers_what_was_accepted() {
    let mut server = start(options());
    let photo = jpeg(6);
    let mut accepted: Vec<Raw> = (0..4).map(|_| Raw::admitted(&server, photo.len())).collect();
    server.stop.take().unwrap().send(()).unwrap();
    until("the stop", || server.shared.health.stopping.load(Ordering::Acquire));
    let wanted = expected(std::slice::from_ref(&photo));
    for raw in &mut accepted {
        raw.send(&photo);
    }
    for raw in &mut accepted {
        let (status, body) = raw.answer();
        assert_eq!(status, 200, "{body}");
        assert_logits(&body, &wanted);
    }
    drop(accepted);
    let address = server.address;
    server.finish().unwrap();
    assert!(TcpStream::connect(address).is_err(), "the port is free again");
}

#[test]
fn a_port_that_is_taken_is_said_with_a_hint() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let options = Options { address: taken.local_addr().unwrap(), ..options() };
    let error = runtime.block_on(Service::bind(options, package().clone())).unwrap_err();
    assert!(error.to_string().contains("hint:"), "{error}");
}

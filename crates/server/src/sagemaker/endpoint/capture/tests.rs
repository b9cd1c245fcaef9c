use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use kennel_store::objects::{FileStore, ListOptions, ObjectStore as _};

use super::*;
use crate::cloudwatch::Recorder;

fn store(folder: &std::path::Path) -> FileStore {
    let database = kennel_store::state::Database::open(
        &folder.join("state.db"),
        &[kennel_store::objects::MIGRATIONS],
    );
    FileStore::open(&folder.join("objects"), database.unwrap()).unwrap()
}

/// A capture of everything into `s3://BUCKET/captured`, and its task.
fn capture(objects: &Objects, bucket: &str) -> (Capture, Writer) {
    let series = Recorder::default().series("n", "d", &[], "Count", Resolution::Minute);
    let dropped =
        Dropped { series, endpoint: "dogs".to_owned(), clock: Clock, complained: Arc::default() };
    let (sender, taken) = mpsc::channel(MOST_WAITING);
    let waiting = Arc::new(AtomicUsize::new(0));
    let writer = Writer {
        taken,
        waiting: waiting.clone(),
        kinds: Kinds::default(),
        destination: Location::parse(&format!("s3://{bucket}/captured")),
        objects: objects.clone(),
        endpoint: "dogs".to_owned(),
        clock: Clock,
        dropped: dropped.clone(),
        pending: BTreeMap::new(),
    };
    (Capture { percentage: 100, input: true, output: true, sender, waiting, dropped }, writer)
}

fn exchange(size: usize) -> (Request, Response) {
    let mut headers = HeaderMap::new();
    headers.insert("content-type", HeaderValue::from_static("image/jpeg"));
    let request = Request { headers, body: Bytes::from(vec![7; size]), idempotent: true };
    let timing = kennel_hosting::pool::InvokeTiming {
        total: Duration::ZERO,
        model: Duration::ZERO,
        instance: 1,
        retried: false,
    };
    let body = Bytes::from_static(b"{}");
    let status = http::StatusCode::OK;
    (request, Response { status, headers: HeaderMap::new(), body, timing })
}

fn event(time: i64) -> Event {
    Event { id: "id".to_owned(), time: Timestamp(time) }
}

async fn keys(store: &FileStore) -> Vec<String> {
    let options = ListOptions { prefix: String::new(), delimiter: None, after: None, max: 100 };
    let listed = store.list("kept", options).await.unwrap();
    listed.objects.into_iter().map(|object| object.key).collect()
}

#[tokio::test]
async fn what_is_captured_is_in_s3_when_the_endpoint_has_ended() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    store.create_bucket("kept", "us-east-1", 1).await.unwrap();
    let objects = Objects::new(store.clone(), BTreeMap::new());
    let (capture, writer) = capture(&objects, "kept");
    let (request, response) = exchange(10);
    let hour = 1_596_116_190_123;
    for time in [hour, hour + 1, hour + HOUR] {
        capture.keep(event(time), "AllTraffic", &request, &response);
    }
    capture.keep(event(hour), "Shadow", &request, &response);
    assert_eq!(capture.waiting.load(Ordering::Relaxed), 4 * 12);
    let waiting = capture.waiting.clone();
    drop(capture);
    writer.run().await;
    assert_eq!(waiting.load(Ordering::Relaxed), 0);
    let keys = keys(&store).await;
    let prefixes: Vec<&str> = keys.iter().map(|key| &key[..key.rfind('/').unwrap()]).collect();
    assert_eq!(
        prefixes,
        [
            "captured/dogs/AllTraffic/2020/07/30/13",
            "captured/dogs/AllTraffic/2020/07/30/14",
            "captured/dogs/Shadow/2020/07/30/13",
        ]
    );
    let path = folder.path().join("lines");
    store.get_to_file("kept", &keys[0], &path).await.unwrap();
    let text = std::fs::read_to_string(path).unwrap();
    assert_eq!(text.lines().count(), 2);
    let line: serde_json::Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    assert_eq!(line["captureData"]["endpointInput"]["data"], "BwcHBwcHBwcHBw==");
    assert_eq!(line["captureData"]["endpointOutput"]["data"], "e30=");
}

#[tokio::test]
async fn what_finds_no_place_is_dropped_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let objects = Objects::new(store(folder.path()), BTreeMap::new());
    let (capture, writer) = capture(&objects, "kept");
    let (large, response) = exchange(MOST_PAYLOAD + 1);
    capture.keep(event(1), "AllTraffic", &large, &response);
    assert_eq!(capture.waiting.load(Ordering::Relaxed), 0, "too large for SageMaker");
    let (request, response) = exchange(MOST_PAYLOAD);
    for _ in 0..100 {
        capture.keep(event(1), "AllTraffic", &request, &response);
    }
    let waiting = capture.waiting.load(Ordering::Relaxed);
    assert!((MOST_BYTES - MOST_PAYLOAD..=MOST_BYTES).contains(&waiting), "{waiting}");
    drop(writer);
}

#[tokio::test]
async fn lines_wait_in_bounds_for_a_bucket_that_is_not_there() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    let objects = Objects::new(store.clone(), BTreeMap::new());
    let (capture, mut writer) = capture(&objects, "kept");
    let (request, response) = exchange(3 << 20);
    for _ in 0..8 {
        capture.keep(event(1), "AllTraffic", &request, &response);
        let (variant, record) = writer.taken.recv().await.unwrap();
        writer.add(variant, record).await;
    }
    assert!(writer.pending["AllTraffic"].text.len() <= MOST_LINES);
    assert_eq!(writer.pending["AllTraffic"].count, 3, "4 MiB each in base64");
    store.create_bucket("kept", "us-east-1", 1).await.unwrap();
    writer.flush().await;
    assert_eq!(keys(&store).await.len(), 1, "they are written once it is there");
    assert!(writer.pending.is_empty());
}

#[test]
fn the_percentage_is_of_all_invocations() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let objects = Objects::new(store(folder.path()), BTreeMap::new());
    let _entered = runtime.enter();
    let (mut capture, _writer) = capture(&objects, "kept");
    let sampled =
        |capture: &Capture| (0..10_000).filter(|_| capture.sample(Timestamp(1)).is_some()).count();
    assert_eq!(sampled(&capture), 10_000);
    capture.percentage = 0;
    assert_eq!(sampled(&capture), 0);
    capture.percentage = 25;
    let share = sampled(&capture);
    assert!((2_000..3_000).contains(&share), "{share}");
}

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use futures::StreamExt as _;
use proptest::prelude::*;

use super::testing::{MemoryStore, conformance};
use super::*;
use crate::state::Database;

fn open(folder: &Path) -> FileStore {
    let database = Database::open(&folder.join("state.db"), &[MIGRATIONS]).unwrap();
    FileStore::open(&folder.join("objects"), database).unwrap()
}

fn files(folder: &Path) -> usize {
    let mut count = 0;
    for shard in std::fs::read_dir(folder.join("objects")).unwrap() {
        count += std::fs::read_dir(shard.unwrap().path()).unwrap().count();
    }
    count
}

/// Files go when their last reader has gone, which is a moment after the reader's caller.
fn eventually_files(folder: &Path, wanted: impl Fn(usize) -> bool) {
    let end = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while !wanted(files(folder)) {
        assert!(std::time::Instant::now() < end, "{} files stay", files(folder));
        std::thread::yield_now();
    }
}

async fn read(store: &dyn ObjectStore, key: &str) -> Vec<u8> {
    let mut body = store.open("b", key).await.unwrap().all();
    let mut all = Vec::new();
    while let Some(piece) = body.next().await {
        all.extend_from_slice(&piece.unwrap());
    }
    all
}

async fn put(store: &FileStore, key: &str, bytes: impl Into<bytes::Bytes>) -> ObjectInfo {
    store.put("b", key, body_of(bytes), PutOptions::default()).await.unwrap()
}

#[tokio::test]
async fn the_memory_store_conforms() {
    conformance(&MemoryStore::default()).await;
}

#[tokio::test]
async fn the_file_store_conforms_and_leaves_no_files() {
    let folder = tempfile::tempdir().unwrap();
    conformance(&open(folder.path())).await;
    eventually_files(folder.path(), |count| count == 0);
}

#[tokio::test]
async fn what_a_crash_leaves_is_swept_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    store.create_bucket("b", "r", 1).await.unwrap();
    put(&store, "kept", "kept").await;
    let id = store.create_upload("b", "up", NewUpload::default()).await.unwrap();
    let at = ("b", "up", id.as_str());
    let part = store.put_part(at, 1, body_of("part"), PartOptions::default()).await.unwrap();
    // A crash between naming a file and committing its row, and one in the middle of writing.
    let objects = folder.path().join("objects");
    std::fs::write(objects.join("ab").join("ab00000000000000000000000000dead"), "orphan").unwrap();
    std::fs::write(objects.join("tmp").join("half"), "half-written").unwrap();
    drop(store);
    let store = open(folder.path());
    assert!(!objects.join("tmp").join("half").exists());
    // The background thread may have been first.
    store.sweep().unwrap();
    assert_eq!(files(folder.path()), 2);
    assert_eq!(read(&store, "kept").await, b"kept");
    let wanted = WantedPart { number: 1, etag: part.etag, checksum: None };
    store.complete_upload(at, vec![wanted], None, Condition::default(), 1).await.unwrap();
    assert_eq!(read(&store, "up").await, b"part");
}

#[tokio::test]
async fn writes_in_progress_are_not_swept() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    store.create_bucket("b", "r", 1).await.unwrap();
    let sweeping = store.clone();
    let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let sweeper = std::thread::spawn(move || {
        while !stopped.load(std::sync::atomic::Ordering::Relaxed) {
            sweeping.sweep().unwrap();
        }
    });
    for n in 0..60 {
        put(&store, &format!("{}", n % 7), vec![n; 1000]).await;
    }
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    sweeper.join().unwrap();
    for n in 53..60u8 {
        assert_eq!(read(&store, &format!("{}", n % 7)).await, vec![n; 1000]);
    }
    eventually_files(folder.path(), |count| count == 7);
}

#[tokio::test]
async fn an_object_replaced_by_many_is_always_one_of_theirs() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    store.create_bucket("b", "r", 1).await.unwrap();
    put(&store, "k", vec![0; 2000]).await;
    let writers: Vec<_> = (1..=4u8)
        .map(|n| {
            let store = store.clone();
            tokio::spawn(async move {
                for _ in 0..10 {
                    put(&store, "k", vec![n; 2000]).await;
                }
            })
        })
        .collect();
    for _ in 0..40 {
        let bytes = read(&store, "k").await;
        assert!(bytes.len() == 2000 && bytes.iter().all(|b| *b == bytes[0]));
    }
    for writer in writers {
        writer.await.unwrap();
    }
    assert_eq!(files(folder.path()), 1);
}

#[tokio::test]
async fn objects_become_files_and_none_escapes() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    store.create_bucket("b", "r", 1).await.unwrap();
    for key in ["d/a.jpg", "d/sub/b.jpg", "d/folder/", "d/../escape", "d/x", "d/x/y", "other/c"] {
        let bytes = if key.ends_with('/') { "" } else { key };
        put(&store, key, bytes.to_owned()).await;
    }
    for placement in [Placement::Link, Placement::Copy] {
        let target = folder.path().join(format!("{placement:?}")).join("in");
        let done = store.materialize("b", "d/", &target, placement).await.unwrap();
        assert_eq!(done.files, 3);
        assert_eq!(done.linked, if placement == Placement::Link { 3 } else { 0 });
        let refused: Vec<&str> = done.refused.iter().map(|r| r.key.as_str()).collect();
        assert_eq!(refused, ["d/../escape", "d/x/y"]);
        assert_eq!(std::fs::read(target.join("sub/b.jpg")).unwrap(), b"d/sub/b.jpg");
        assert!(target.join("folder").is_dir());
        assert!(!target.parent().unwrap().join("escape").exists());
        // The copies outlive the objects.
        std::fs::remove_dir_all(&target).unwrap();
    }
    assert_eq!(read(&store, "d/a.jpg").await, b"d/a.jpg");
    let file = folder.path().join("file");
    store.get_to_file("b", "d/x", &file).await.unwrap();
    let info = store.put_file("b", "again", &file, PutOptions::default()).await.unwrap();
    assert_eq!((info.size, read(&store, "again").await), (3, b"d/x".to_vec()));
}

#[tokio::test]
async fn listing_skips_what_lies_below_a_common_prefix() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    store.create_bucket("b", "r", 1).await.unwrap();
    let fill = |db: &rusqlite::Connection| {
        for n in 0..30_000 {
            let info = ObjectInfo {
                key: format!("{}/{n:06}", n % 3),
                size: 1,
                etag: "e".to_owned(),
                modified: 1,
                metadata: Metadata::default(),
                tags: Vec::new(),
                checksum: None,
                parts: Vec::new(),
            };
            rows::replace(db, "b", &info, &[], &Condition::default())?;
        }
        Ok::<_, ObjectError>(())
    };
    store.database.write(fill).await.unwrap().unwrap();
    let options = ListOptions { delimiter: Some("/".to_owned()), max: 1000, ..Default::default() };
    // Counts the virtual machine's steps instead of time.
    let (listing, steps) = store
        .database
        .read(|db| {
            let listing = list::list(db, "b", &options)?;
            let statement = db.prepare_cached(&list::sql())?;
            Ok::<_, ObjectError>((listing, statement.get_status(rusqlite::StatementStatus::VmStep)))
        })
        .unwrap()
        .unwrap();
    assert_eq!(listing.prefixes, ["0/", "1/", "2/"]);
    assert!(steps > 0 && steps < 1000, "{steps} steps for three prefixes");
}

/// One step of a random history.
#[derive(Debug, Clone)]
enum Op {
    Put(String, Vec<u8>, bool),
    Delete(String),
    DeleteAll(Vec<String>),
    Copy(String, String),
    Upload(String, Vec<u8>),
    List(String, bool, Option<String>, usize),
    Reopen,
}

fn key() -> impl Strategy<Value = String> {
    "[ab/é]{1,4}"
}

fn op() -> impl Strategy<Value = Op> {
    let bytes = || prop::collection::vec(any::<u8>(), 0..64);
    prop_oneof![
        6 => (key(), bytes(), any::<bool>()).prop_map(|(k, b, new)| Op::Put(k, b, new)),
        2 => key().prop_map(Op::Delete),
        1 => prop::collection::vec(key(), 0..4).prop_map(Op::DeleteAll),
        2 => (key(), key()).prop_map(|(a, b)| Op::Copy(a, b)),
        2 => (key(), bytes()).prop_map(|(k, b)| Op::Upload(k, b)),
        6 => ("[ab/é]{0,2}", any::<bool>(), prop::option::of(key()), 1..5usize)
            .prop_map(|(p, d, a, m)| Op::List(p, d, a, m)),
        1 => Just(Op::Reopen),
    ]
}

/// What a listing must answer, by the rule and not by seeking.
fn expected_page(
    model: &BTreeMap<String, Vec<u8>>,
    options: &ListOptions,
) -> (Vec<String>, Vec<String>, bool) {
    let (mut keys, mut prefixes) = (Vec::new(), Vec::new());
    for key in model.keys().filter(|k| k.starts_with(&options.prefix)) {
        let rest = &key[options.prefix.len()..];
        let common = options
            .delimiter
            .as_ref()
            .and_then(|d| rest.find(d.as_str()))
            .map(|at| key[..=options.prefix.len() + at].to_owned());
        let after = options.after.as_ref();
        if after.is_some_and(|a| key <= a) || (common.is_some() && common.as_ref() == after) {
            continue;
        }
        if common.is_some() && common.as_ref() == prefixes.last() {
            continue;
        }
        if keys.len() + prefixes.len() == options.max {
            return (keys, prefixes, true);
        }
        match common {
            Some(common) => prefixes.push(common),
            None => keys.push(key.clone()),
        }
    }
    (keys, prefixes, false)
}

async fn step(store: &FileStore, model: &mut BTreeMap<String, Vec<u8>>, op: Op) {
    match op {
        Op::Put(key, bytes, new) => {
            let condition = Condition { if_none_match: new, ..Condition::default() };
            let options = PutOptions { condition, ..PutOptions::default() };
            let stored = store.put("b", &key, body_of(bytes.clone()), options).await;
            assert_eq!(stored.is_ok(), !(new && model.contains_key(&key)));
            if stored.is_ok() {
                model.insert(key, bytes);
            }
        }
        Op::Delete(key) => {
            let deleted = store.delete("b", &key, None).await.unwrap();
            assert_eq!(deleted, model.remove(&key).is_some());
        }
        Op::DeleteAll(keys) => {
            store.delete_all("b", keys.clone()).await.unwrap();
            model.retain(|k, _| !keys.contains(k));
        }
        Op::Copy(from, to) => {
            let copied = store.copy(("b", &from), ("b", &to), CopyOptions::default()).await;
            assert_eq!(copied.is_ok(), model.contains_key(&from));
            if let Some(bytes) = model.get(&from).cloned() {
                model.insert(to, bytes);
            }
        }
        Op::Upload(key, bytes) => {
            let id = store.create_upload("b", &key, NewUpload::default()).await.unwrap();
            let at = ("b", key.as_str(), id.as_str());
            let body = body_of(bytes.clone());
            let part = store.put_part(at, 1, body, PartOptions::default()).await.unwrap();
            let wanted = vec![WantedPart { number: 1, etag: part.etag, checksum: None }];
            store.complete_upload(at, wanted, None, Condition::default(), 1).await.unwrap();
            model.insert(key, bytes);
        }
        Op::List(prefix, delimited, after, max) => {
            let delimiter = delimited.then(|| "/".to_owned());
            let options = ListOptions { prefix, delimiter, after, max };
            let page = store.list("b", options.clone()).await.unwrap();
            let keys: Vec<String> = page.objects.into_iter().map(|o| o.key).collect();
            let got = (keys, page.prefixes, page.next.is_some());
            assert_eq!(got, expected_page(model, &options), "{options:?}");
        }
        Op::Reopen => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn the_file_store_behaves_as_a_map(history in prop::collection::vec(op(), 1..40)) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
        let folder = tempfile::tempdir().unwrap();
        runtime.block_on(async {
            let mut store = open(folder.path());
            store.create_bucket("b", "r", 1).await.unwrap();
            let mut model = BTreeMap::new();
            for op in history {
                if matches!(op, Op::Reopen) {
                    drop(store);
                    store = open(folder.path());
                }
                step(&store, &mut model, op).await;
            }
            for (key, bytes) in &model {
                assert_eq!(&read(&store, key).await, bytes);
            }
            // One file each, whatever happened; an upload of no bytes has none.
            store.sweep().unwrap();
            eventually_files(folder.path(), |count| count <= model.len());
        });
    }
}

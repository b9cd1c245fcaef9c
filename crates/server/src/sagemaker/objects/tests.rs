use super::*;

fn open(folder: &Path) -> FileStore {
    std::fs::create_dir_all(folder).unwrap();
    let database = kennel_store::state::Database::open(
        &folder.join("state.db"),
        &[kennel_store::objects::MIGRATIONS],
    );
    FileStore::open(&folder.join("objects"), database.unwrap()).unwrap()
}

#[test]
fn locations_are_bucket_and_key() {
    let of = |uri| Location::parse(uri).map(|l| (l.bucket, l.key)).ok();
    assert_eq!(of("s3://b/p/q"), Some(("b".to_owned(), "p/q".to_owned())));
    assert_eq!(of("s3://b"), Some(("b".to_owned(), String::new())));
    assert_eq!(of("s3:///p"), None);
    assert_eq!(of("file:///etc/passwd"), None);
    assert_eq!(of(""), None);
}

#[tokio::test]
async fn a_bucket_that_is_not_configured_is_never_asked_for_elsewhere() {
    let folder = tempfile::tempdir().unwrap();
    let objects = Objects::new(open(folder.path()), BTreeMap::new());
    let location = Location::parse("s3://photos/train").unwrap();
    let error = objects.fetch_prefix(&location, &folder.path().join("in"), false).await;
    let text = error.unwrap_err().to_string();
    assert!(text.contains("`[remote_s3.\"photos\"]`"), "{text}");
}

#[tokio::test]
async fn a_bucket_of_this_platform_hides_a_remote_one_which_is_for_channels_only() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let config = RemoteS3 { profile: Some("none".to_owned()), ..RemoteS3::default() };
    let remote = BTreeMap::from([("photos".to_owned(), config)]);
    let objects = Objects::new(store.clone(), remote);
    let file = folder.path().join("file");
    std::fs::write(&file, "bytes").unwrap();
    let location = Location::parse("s3://photos/train/file").unwrap();
    let refused = [
        objects.put_file(&location, &file, Timestamp(1)).await,
        objects.put_folder(&location, folder.path(), Timestamp(1)).await,
        objects.fetch_file(&location, &file).await.map(|_| ()),
        objects.fetch_prefix_if_any(&location, folder.path()).await.map(|_| ()),
    ];
    for outcome in refused {
        let text = outcome.unwrap_err().to_string();
        assert!(text.starts_with("not implemented: "), "{text}");
    }
    store.create_bucket("photos", "us-east-1", 1).await.unwrap();
    objects.put_file(&location, &file, Timestamp(1)).await.unwrap();
    let below = folder.path().join("in");
    let location = Location::parse("s3://photos/train/").unwrap();
    assert_eq!(objects.fetch_prefix(&location, &below, false).await.unwrap().files, 1);
    assert_eq!(std::fs::read(below.join("file")).unwrap(), b"bytes");
}

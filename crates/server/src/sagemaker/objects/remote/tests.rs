//! The remote is our own S3 front on a port of this machine.

use std::collections::BTreeSet;
use std::sync::Arc;

use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use kennel_store::objects::testing::MemoryStore;
use kennel_store::objects::{ObjectStore, PutOptions, body_of};

use super::*;
use crate::context::{Caller, Principal, Timestamp};
use crate::identity::{Authorizer, Credentials, Denied, Question, Secret, Unknown};
use crate::s3::{S3Front, S3Options};

struct People;

impl Credentials for People {
    fn lookup(&self, access_key: &str, _now: Timestamp) -> Result<Secret, Unknown> {
        if access_key != "AKIA" {
            return Err(Unknown::NoSuchKey);
        }
        let caller = Caller {
            account: "123456789012".to_owned(),
            principal: Principal::Root,
            access_key: access_key.to_owned(),
        };
        Ok(Secret { secret: "secret".to_owned(), session_token: None, caller })
    }
}

impl Authorizer for People {
    fn authorize(&self, question: Question<'_>) -> Result<(), Denied> {
        if question.caller.is_some() && !question.need.resource.contains("forbidden") {
            return Ok(());
        }
        let reason = "a test says so".to_owned();
        Err(Denied { message: reason.clone(), reason })
    }
}

/// A remote with objects whose bytes are their keys, and the configuration to reach it.
struct Elsewhere {
    folder: tempfile::TempDir,
    _policies: tempfile::TempDir,
    endpoint: String,
}

impl Elsewhere {
    async fn with(keys: &[&str]) -> Self {
        let store = Arc::new(MemoryStore::default());
        for bucket in ["photos", "forbidden"] {
            store.create_bucket(bucket, "us-east-1", 1).await.unwrap();
        }
        for key in keys {
            let bytes = if key.ends_with('/') { "" } else { key };
            let body = body_of(bytes.to_owned());
            store.put("photos", key, body, PutOptions::default()).await.unwrap();
        }
        let (policies, policies_folder) = crate::s3::tests::no_policies().await;
        let front = S3Front::new(S3Options {
            store,
            credentials: Arc::new(People),
            authorizer: Arc::new(People),
            policies,
            account: "123456789012".to_owned(),
            region: "us-east-1".to_owned(),
            base_domains: Vec::new(),
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                let front = front.clone();
                tokio::spawn(async move {
                    let service = service_fn(move |request| {
                        let front = front.clone();
                        async move { Ok::<_, std::convert::Infallible>(front.call(request).await) }
                    });
                    let _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(connection), service)
                        .await;
                });
            }
        });
        Elsewhere { folder: tempfile::tempdir().unwrap(), _policies: policies_folder, endpoint }
    }

    async fn fetch(&self, bucket: &str, prefix: &str) -> Result<Materialized, RemoteError> {
        let keys = Keys { id: "AKIA".to_owned(), secret: "secret".to_owned(), token: None };
        self.fetch_as(keys, bucket, prefix).await
    }

    async fn fetch_as(
        &self,
        keys: Keys,
        bucket: &str,
        prefix: &str,
    ) -> Result<Materialized, RemoteError> {
        let config = RemoteS3 {
            endpoint: Some(self.endpoint.clone()),
            allow_http: true,
            ..RemoteS3::default()
        };
        let target = self.target();
        let remote = Remote::open(bucket, &config, keys, (prefix, &target))?;
        remote.fetch().await
    }

    fn target(&self) -> PathBuf {
        self.folder.path().join("outer").join("in")
    }

    /// Everything below the folder that holds the target, so that an escape would be seen.
    fn files(&self) -> BTreeSet<String> {
        let root = self.folder.path();
        let found = crate::sagemaker::objects::files_below(root).unwrap();
        found.into_iter().map(|(name, _)| name.replacen("outer/in/", "", 1)).collect()
    }
}

fn names(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[tokio::test]
async fn what_is_below_a_prefix_becomes_files() {
    let keys = ["d/", "d/a b.jpg", "d/sub/ü+%41.jpg", "d/empty/", "d2/c.jpg", "e/one.jpg"];
    let remote = Elsewhere::with(&keys).await;
    let done = remote.fetch("photos", "d/").await.unwrap();
    assert_eq!((done.files, done.bytes), (2, "d/a b.jpgd/sub/ü+%41.jpg".len() as u64));
    assert_eq!(remote.files(), names(&["a b.jpg", "sub/ü+%41.jpg"]));
    assert_eq!(std::fs::read(remote.target().join("a b.jpg")).unwrap(), b"d/a b.jpg");
    assert!(remote.target().join("empty").is_dir());
}

#[tokio::test]
async fn a_prefix_may_be_a_key_or_a_part_of_one_or_nothing() {
    for (prefix, expected) in [
        ("d/one.jpg", &["one.jpg"][..]),
        ("d", &["2/two.jpg", "one.jpg"][..]),
        ("", &["d/one.jpg", "d2/two.jpg"][..]),
        ("nothing", &[][..]),
    ] {
        let remote = Elsewhere::with(&["d/one.jpg", "d2/two.jpg"]).await;
        let done = remote.fetch("photos", prefix).await.unwrap();
        assert_eq!(done.files, expected.len() as u64, "{prefix}");
        assert_eq!(remote.files(), names(expected), "{prefix}");
    }
}

#[tokio::test]
async fn more_objects_than_a_page_come_all() {
    let keys: Vec<String> = (0..PAGE + 30).map(|n| format!("d/{n:04}")).collect();
    let remote = Elsewhere::with(&keys.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let done = remote.fetch("photos", "d/").await.unwrap();
    assert_eq!(done.files, keys.len() as u64);
    assert_eq!(remote.files().len(), keys.len());
    let last = remote.target().join(format!("{:04}", PAGE + 29));
    assert_eq!(std::fs::read_to_string(last).unwrap(), keys[PAGE + 29]);
}

#[tokio::test]
async fn hostile_keys_are_refused_and_none_escapes() {
    for (prefix, hostile) in [
        ("d/", "d/../../escape"),
        ("d/", "d/.."),
        ("d/", "d//etc/passwd"),
        ("d/", "d/a/../../x"),
        ("d/", "d/./x"),
        ("d/", "d/fine.jpg/below-a-file"),
        ("d", "d/../../escape"),
        ("", "/etc/passwd"),
        ("", "../escape"),
    ] {
        let remote = Elsewhere::with(&["d/fine.jpg", hostile]).await;
        let error = remote.fetch("photos", prefix).await.unwrap_err();
        assert!(matches!(error, RemoteError::Refused { .. }), "{hostile}: {error}");
        // Nothing outside of the target, nothing half-written, nothing under another name.
        let allowed = names(&["fine.jpg", "d/fine.jpg", "fine.jpg/below-a-file"]);
        let found = remote.files();
        assert!(found.is_subset(&allowed), "{hostile}: {found:?}");
    }
}

#[tokio::test]
async fn a_file_that_is_there_is_not_written_over() {
    let remote = Elsewhere::with(&["d/a.jpg"]).await;
    std::fs::create_dir_all(remote.target()).unwrap();
    std::fs::write(remote.target().join("a.jpg"), "mine").unwrap();
    let error = remote.fetch("photos", "d/").await.unwrap_err();
    assert!(matches!(error, RemoteError::Refused { .. }), "{error}");
    assert_eq!(std::fs::read(remote.target().join("a.jpg")).unwrap(), b"mine");
    assert_eq!(remote.files(), names(&["a.jpg"]));
}

#[tokio::test]
async fn what_went_wrong_is_said() {
    let remote = Elsewhere::with(&["d/a.jpg"]).await;
    let error = remote.fetch("missing", "d/").await.unwrap_err();
    assert!(matches!(error, RemoteError::NoSuchBucket { .. }), "{error}");
    let error = remote.fetch("forbidden", "d/").await.unwrap_err();
    assert!(matches!(error, RemoteError::Denied { .. }), "{error}");
    assert!(error.to_string().contains("AccessDenied"), "{error}");
    for (id, secret, code) in
        [("AKIA", "wrong", "SignatureDoesNotMatch"), ("NOBODY", "secret", "InvalidAccessKeyId")]
    {
        let keys = Keys { id: id.to_owned(), secret: secret.to_owned(), token: None };
        let error = remote.fetch_as(keys, "photos", "d/").await.unwrap_err();
        assert!(matches!(error, RemoteError::Denied { .. }), "{error}");
        let text = error.to_string();
        assert!(text.contains(code) && !text.contains("secret"), "{text}");
    }
    // A port that was free a moment ago.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let nobody = Elsewhere { endpoint: format!("http://{free}"), ..remote };
    let error = nobody.fetch("photos", "d/").await.unwrap_err();
    assert!(matches!(error, RemoteError::Unreachable { .. }), "{error}");
    assert!(error.to_string().contains("refused"), "{error}");
}

#[tokio::test]
async fn plain_http_needs_permission() {
    let remote = Elsewhere::with(&["d/a.jpg"]).await;
    let config = RemoteS3 { endpoint: Some(remote.endpoint.clone()), ..RemoteS3::default() };
    let keys = Keys { id: "AKIA".to_owned(), secret: "secret".to_owned(), token: None };
    let target = remote.target();
    let outcome = match Remote::open("photos", &config, keys, ("d/", &target)) {
        Ok(remote) => remote.fetch().await.map(|_| ()),
        Err(e) => Err(e),
    };
    // The remote would have answered.
    let error = outcome.unwrap_err().to_string();
    assert!(error.contains("scheme"), "{error}");
    assert!(remote.files().is_empty());
}

#[test]
fn profiles_are_read_as_the_aws_tools_write_them() {
    let text = "# mine\n[default]\naws_access_key_id = A\naws_secret_access_key=S=/+\n\n[other]\naws_access_key_id = B\n";
    let keys = profile_keys(text, "default").unwrap();
    assert_eq!((keys.id.as_str(), keys.secret.as_str(), keys.token), ("A", "S=/+", None));
    assert!(profile_keys(text, "other").is_none());
    assert!(profile_keys(text, "nobody").is_none());
}

#[tokio::test]
async fn missing_keys_are_named() {
    let config = RemoteS3 {
        access_key_id_env: Some("KENNEL_TEST_NOT_SET".to_owned()),
        secret_access_key_env: Some("KENNEL_TEST_NOT_SET_EITHER".to_owned()),
        ..RemoteS3::default()
    };
    let target = Path::new("/nowhere");
    let error = fetch("photos", &config, "", target).await.unwrap_err();
    assert!(matches!(error, RemoteError::Credentials { .. }), "{error}");
    assert!(error.to_string().contains("`KENNEL_TEST_NOT_SET`"), "{error}");
}

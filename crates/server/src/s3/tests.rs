use std::sync::Arc;

use base64::Engine as _;
use bytes::Bytes;
use hmac::{Hmac, KeyInit as _, Mac as _};
use http::{Request, StatusCode};
use http_body_util::BodyExt as _;
use kennel_store::objects::ObjectStore;
use kennel_store::objects::testing::MemoryStore;
use sha2::{Digest as _, Sha256};

use super::*;
use crate::context::{Caller, Principal};
use crate::identity::{Denied, Question, Secret, Unknown};

const SECRET: &str = "secret";

struct People;

impl Credentials for People {
    fn lookup(&self, access_key: &str, _now: Timestamp) -> Result<Secret, Unknown> {
        let session_token = match access_key {
            "AKIA" => None,
            "ASIA" => Some("to+ken=".to_owned()),
            "OVER" => return Err(Unknown::Expired),
            _ => return Err(Unknown::NoSuchKey),
        };
        let caller = Caller {
            account: "123456789012".to_owned(),
            principal: Principal::Root,
            access_key: access_key.to_owned(),
        };
        Ok(Secret { secret: SECRET.to_owned(), session_token, caller })
    }
}

impl Authorizer for People {
    fn authorize(&self, question: Question<'_>) -> Result<(), Denied> {
        let (action, resource) = (&question.need.action, &question.need.resource);
        if question.caller.is_some() && !resource.contains("forbidden") {
            return Ok(());
        }
        let reason = "a test says so".to_owned();
        Err(Denied {
            message: format!("{action} on resource: {resource} because {reason}"),
            reason,
        })
    }
}

/// Buckets without policies; the folder is to be kept.
pub(crate) async fn no_policies() -> (BucketPolicies, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let migrations = [crate::iam::MIGRATIONS, kennel_store::objects::MIGRATIONS, MIGRATIONS];
    let path = folder.path().join("state.db");
    let database = kennel_store::state::Database::open(&path, &migrations).unwrap();
    let account = Some("123456789012");
    let iam = crate::iam::Iam::open(database.clone(), folder.path(), account, Clock.now()).await;
    (BucketPolicies::new(database, iam.unwrap()), folder)
}

/// A front and what is kept for it.
struct Stand {
    front: S3Front,
    _folder: tempfile::TempDir,
}

impl std::ops::Deref for Stand {
    type Target = S3Front;

    fn deref(&self) -> &S3Front {
        &self.front
    }
}

async fn front() -> (Stand, Arc<MemoryStore>) {
    let (policies, folder) = no_policies().await;
    let store = Arc::new(MemoryStore::default());
    store.create_bucket("bucket", "us-east-1", 1).await.unwrap();
    let options = S3Options {
        store: Arc::clone(&store) as Arc<dyn ObjectStore>,
        credentials: Arc::new(People),
        authorizer: Arc::new(People),
        policies,
        account: "123456789012".to_owned(),
        region: "us-east-1".to_owned(),
        base_domains: Vec::new(),
    };
    (Stand { front: S3Front::new(options), _folder: folder }, store)
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect()
}

fn mac(key: &[u8], text: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

fn amz_date(offset_minutes: i64) -> String {
    let now = chrono::DateTime::from_timestamp_millis(Clock.now().0).unwrap();
    (now + chrono::Duration::minutes(offset_minutes)).format("%Y%m%dT%H%M%SZ").to_string()
}

/// A request to sign.
pub(crate) struct Call<'a> {
    method: &'a str,
    path: &'a str,
    query: &'a str,
    headers: Vec<(&'a str, &'a str)>,
    body: &'a [u8],
    key: &'a str,
    secret: &'a str,
    offset_minutes: i64,
}

impl<'a> Call<'a> {
    pub(crate) fn new(method: &'a str, path: &'a str, body: &'a [u8]) -> Self {
        let headers = vec![("host", "127.0.0.1:1")];
        let (key, secret) = ("AKIA", SECRET);
        Call { method, path, query: "", headers, body, key, secret, offset_minutes: 0 }
    }

    /// With the keys of somebody.
    pub(crate) fn by(self, (key, secret): (&'a str, &'a str)) -> Self {
        Call { key, secret, ..self }
    }

    pub(crate) fn asking(self, query: &'a str) -> Self {
        Call { query, ..self }
    }

    pub(crate) fn with(mut self, name: &'a str, value: &'a str) -> Self {
        self.headers.push((name, value));
        self
    }

    /// Signed with version 4, independently of the code under test.
    pub(crate) fn signed(self) -> Request<Bytes> {
        let (date, hash) = (amz_date(self.offset_minutes), sha256(self.body));
        let mut headers = self.headers.clone();
        headers.extend([("x-amz-date", date.as_str()), ("x-amz-content-sha256", hash.as_str())]);
        headers.sort_unstable();
        let names: Vec<&str> = headers.iter().map(|(n, _)| *n).collect();
        let names = names.join(";");
        let lines: String = headers.iter().map(|(n, v)| format!("{n}:{v}\n")).collect();
        let (method, path, query) = (self.method, self.path, self.query);
        let canonical = format!("{method}\n{path}\n{query}\n{lines}\n{names}\n{hash}");
        let day = &date[..8];
        let scope = format!("{day}/us-east-1/s3/aws4_request");
        let text = format!("AWS4-HMAC-SHA256\n{date}\n{scope}\n{}", sha256(canonical.as_bytes()));
        let mut key = mac(format!("AWS4{}", self.secret).as_bytes(), day);
        for part in ["us-east-1", "s3", "aws4_request"] {
            key = mac(&key, part);
        }
        let signature: String = mac(&key, &text).iter().map(|b| format!("{b:02x}")).collect();
        let authorization = format!(
            "AWS4-HMAC-SHA256 Credential={}/{scope}, SignedHeaders={names}, Signature={signature}",
            self.key
        );
        let uri = if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") };
        let mut request = Request::builder().method(method).uri(uri);
        for (name, value) in headers {
            request = request.header(name, value);
        }
        request
            .header("authorization", authorization)
            .header("content-length", self.body.len())
            .body(Bytes::copy_from_slice(self.body))
            .unwrap()
    }
}

pub(crate) async fn answer(
    front: &S3Front,
    request: Request<Bytes>,
) -> (StatusCode, String, AccessNote) {
    let answer = front.call(request).await;
    let (parts, body) = answer.into_parts();
    let bytes = body.collect().await.unwrap().to_bytes();
    let note = parts.extensions.get::<AccessNote>().unwrap().clone();
    assert_eq!(parts.headers["x-amz-request-id"], note.request_id.as_str());
    (parts.status, String::from_utf8_lossy(&bytes).into_owned(), note)
}

#[track_caller]
pub(crate) fn refused(got: &(StatusCode, String, AccessNote), status: u16, code: &str) {
    assert_eq!(got.0, status, "{}", got.1);
    assert!(got.1.contains(&format!("<Code>{code}</Code>")), "{}", got.1);
    assert_eq!(got.2.error_code.as_deref(), Some(code));
}

#[tokio::test]
async fn a_signed_request_is_answered_and_noted() {
    let (front, _) = front().await;
    let put = answer(&front, Call::new("PUT", "/bucket/a%20key", b"abc").signed()).await;
    assert_eq!(put.0, 200, "{}", put.1);
    assert_eq!(put.2.action.as_deref(), Some("s3:PutObject"));
    assert_eq!(put.2.resource.as_deref(), Some("arn:aws:s3:::bucket/a key"));
    assert_eq!(put.2.caller.unwrap().access_key, "AKIA");
    assert_eq!(put.2.error_code, None);
    let get = answer(&front, Call::new("GET", "/bucket/a%20key", b"").signed()).await;
    assert_eq!((get.0.as_u16(), get.1.as_str()), (200, "abc"));
    refused(
        &answer(&front, Call::new("GET", "/bucket/none", b"").signed()).await,
        404,
        "NoSuchKey",
    );
    let head = answer(&front, Call::new("HEAD", "/bucket/none", b"").signed()).await;
    assert_eq!((head.0.as_u16(), head.1.as_str()), (404, ""));
}

#[tokio::test]
async fn nothing_is_answered_without_a_right_signature() {
    let (front, store) = front().await;
    for (method, uri) in [
        ("GET", "/"),
        ("GET", "/bucket"),
        ("PUT", "/bucket/k"),
        ("POST", "/bucket?delete"),
        ("DELETE", "/bucket"),
        ("OPTIONS", "/bucket/k"),
    ] {
        let request = Request::builder().method(method).uri(uri).body(Bytes::new()).unwrap();
        refused(&answer(&front, request).await, 403, "AccessDenied");
    }
    let mut wrong = Call::new("GET", "/bucket", b"").signed();
    let value = wrong.headers()["authorization"].to_str().unwrap().to_owned();
    let value = format!("{}0000", &value[..value.len() - 4]);
    wrong.headers_mut().insert("authorization", value.parse().unwrap());
    refused(&answer(&front, wrong).await, 403, "SignatureDoesNotMatch");
    let by = |key| Call { key, ..Call::new("GET", "/bucket", b"") };
    refused(&answer(&front, by("NONE").signed()).await, 403, "InvalidAccessKeyId");
    refused(&answer(&front, by("OVER").signed()).await, 400, "ExpiredToken");
    refused(&answer(&front, by("ASIA").signed()).await, 400, "InvalidToken");
    let token = |value| by("ASIA").with("x-amz-security-token", value).signed();
    refused(&answer(&front, token("other")).await, 400, "InvalidToken");
    assert_eq!(answer(&front, token("to+ken=")).await.0, 200);
    for offset_minutes in [-16, 16] {
        let late = Call { offset_minutes, ..Call::new("GET", "/bucket", b"") }.signed();
        refused(&answer(&front, late).await, 403, "RequestTimeTooSkewed");
    }
    let mut added = Call::new("PUT", "/bucket/k", b"x").signed();
    added.headers_mut().insert("x-amz-tagging", "a=b".parse().unwrap());
    refused(&answer(&front, added).await, 403, "AccessDenied");
    // Version 2 in the header has no protection against replays.
    let old = Request::builder().uri("/bucket").header("authorization", "AWS AKIA:c2ln");
    refused(&answer(&front, old.body(Bytes::new()).unwrap()).await, 400, "InvalidRequest");
    let mut form = Call::new("POST", "/bucket", b"--x").signed();
    form.headers_mut().insert("content-type", "multipart/form-data; boundary=x".parse().unwrap());
    refused(&answer(&front, form).await, 501, "NotImplemented");
    assert!(store.info("bucket", "k").await.is_err());
}

#[tokio::test]
async fn a_body_that_was_changed_is_not_stored() {
    let (front, store) = front().await;
    let (parts, _) = Call::new("PUT", "/bucket/k", b"abc").signed().into_parts();
    let changed = Request::from_parts(parts, Bytes::from_static(b"abd"));
    refused(&answer(&front, changed).await, 400, "XAmzContentSHA256Mismatch");
    assert!(store.info("bucket", "k").await.is_err());
}

#[tokio::test]
async fn the_authoriser_and_the_account_are_asked() {
    let (front, store) = front().await;
    let denied = answer(&front, Call::new("PUT", "/bucket/forbidden", b"x").signed()).await;
    refused(&denied, 403, "AccessDenied");
    assert!(denied.1.contains("s3:PutObject") && denied.1.contains("a test says so"));
    assert!(store.info("bucket", "forbidden").await.is_err());
    // Each key of a batch and the source of a copy are asked for, too.
    store
        .put("bucket", "forbidden", kennel_store::objects::body_of("x"), Default::default())
        .await
        .unwrap();
    let copy = Call::new("PUT", "/bucket/k", b"").with("x-amz-copy-source", "bucket/forbidden");
    refused(&answer(&front, copy.signed()).await, 403, "AccessDenied");
    let batch = b"<Delete><Object><Key>forbidden</Key></Object></Delete>";
    let batch = Call { query: "delete=", ..Call::new("POST", "/bucket", batch) }.signed();
    let batch = answer(&front, batch).await;
    assert!(batch.0 == 200 && batch.1.contains("<Code>AccessDenied</Code>"), "{}", batch.1);
    assert!(store.info("bucket", "forbidden").await.is_ok());
    let owner = |id| {
        let call = Call::new("HEAD", "/bucket", b"").with("x-amz-expected-bucket-owner", id);
        answer(&front, call.signed())
    };
    assert_eq!(owner("123456789012").await.0, 200);
    assert_eq!(owner("210987654321").await.0, 403);
}

fn presigned_v2(key: &str, expires: i64, token: Option<&str>, host: &str) -> Request<Bytes> {
    let amz = token.map(|t| format!("x-amz-security-token:{t}\n")).unwrap_or_default();
    let text = format!("GET\n\n\n{expires}\n{amz}/bucket/k?response-content-type=a/b");
    let mut mac = Hmac::<sha1::Sha1>::new_from_slice(SECRET.as_bytes()).unwrap();
    mac.update(text.as_bytes());
    let signature = base64::engine::general_purpose::STANDARD.encode(mac.finalize().into_bytes());
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.append_pair("response-content-type", "a/b");
    query.append_pair("AWSAccessKeyId", key).append_pair("Signature", &signature);
    if let Some(token) = token {
        query.append_pair("x-amz-security-token", token);
    }
    let query = query.append_pair("Expires", &expires.to_string()).finish();
    let path = if host.starts_with("bucket.") { "/k" } else { "/bucket/k" };
    let request = Request::builder().uri(format!("{path}?{query}")).header("host", host);
    request.body(Bytes::new()).unwrap()
}

#[tokio::test]
async fn presigned_queries_of_version_2_are_checked() {
    let (front, store) = front().await;
    store
        .put("bucket", "k", kennel_store::objects::body_of("abc"), Default::default())
        .await
        .unwrap();
    let soon = Clock.now().0 / 1000 + 60;
    for host in ["127.0.0.1:1", "bucket.localhost:1", "bucket.s3.us-east-1.amazonaws.com"] {
        for (key, token) in [("AKIA", None), ("ASIA", Some("to+ken="))] {
            let got = answer(&front, presigned_v2(key, soon, token, host)).await;
            assert_eq!((got.0.as_u16(), got.1.as_str()), (200, "abc"), "{host} {key}");
        }
    }
    let host = "127.0.0.1:1";
    let late = answer(&front, presigned_v2("AKIA", soon - 61, None, host)).await;
    refused(&late, 403, "AccessDenied");
    assert!(late.1.contains("expired"));
    refused(&answer(&front, presigned_v2("ASIA", soon, None, host)).await, 400, "InvalidToken");
    refused(
        &answer(&front, presigned_v2("NONE", soon, None, host)).await,
        403,
        "InvalidAccessKeyId",
    );
    let good = presigned_v2("AKIA", soon, None, host).uri().to_string();
    for (from, to) in [("a%2Fb", "a%2Fc"), ("/bucket/k", "/bucket/l")] {
        let changed = Request::builder().uri(good.replace(from, to)).body(Bytes::new()).unwrap();
        refused(&answer(&front, changed).await, 403, "SignatureDoesNotMatch");
    }
    let longer = good.replace(&format!("Expires={soon}"), &format!("Expires={}", soon + 1));
    let changed = Request::builder().uri(longer).body(Bytes::new()).unwrap();
    refused(&answer(&front, changed).await, 403, "SignatureDoesNotMatch");
    let twice = format!("{good}&X-Amz-Signature=0");
    let changed = Request::builder().uri(twice).body(Bytes::new()).unwrap();
    refused(&answer(&front, changed).await, 400, "InvalidArgument");
}

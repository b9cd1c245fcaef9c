use bytes::Bytes;
use http::Request;
use proptest::prelude::*;
use serde_json::Value;

use super::*;

/// 2026-11-21T12:00:00Z, when the fixtures were signed.
const NOW_MS: i64 = 1_795_262_400_000;
const SECRET: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";

/// Requests that botocore signed (`recipes/shapes/sign.py`).
fn fixtures() -> Vec<Value> {
    serde_json::from_str(include_str!("signed.json")).unwrap()
}

fn fixture(name: &str) -> Value {
    fixtures().into_iter().find(|given| given["name"] == name).unwrap()
}

fn keys(access_key: &str, _: Option<&str>) -> Result<Secret, SignatureRefusal> {
    match access_key {
        "AKIAIOSFODNN7EXAMPLE" => Ok(Secret { key: SECRET.to_owned(), session_token: None }),
        "ASIAIOSFODNN7EXAMPLE" => {
            let session_token = Some("to/ken+with=signs".to_owned());
            Ok(Secret { key: SECRET.to_owned(), session_token })
        }
        _ => Err(SignatureRefusal::Unknown),
    }
}

async fn check_with<F>(given: &Value, now_ms: i64, lookup: F) -> Result<Verified, ServiceError>
where
    F: Fn(&str, Option<&str>) -> Result<Secret, SignatureRefusal>,
{
    let text = |name: &str| given[name].as_str().unwrap();
    let mut request = Request::builder().method(text("method")).uri(text("target"));
    for (name, value) in given["headers"].as_object().unwrap() {
        request = request.header(name, value.as_str().unwrap());
    }
    let (parts, ()) = request.body(()).unwrap().into_parts();
    let body = Bytes::from(text("body").to_owned());
    verify(Signed { parts: &parts, body: &body, service: text("service"), now_ms }, lookup).await
}

async fn check(given: &Value) -> Result<Verified, ServiceError> {
    check_with(given, NOW_MS, keys).await
}

async fn refused(given: &Value) -> (String, String) {
    let error = check(given).await.unwrap_err();
    assert_eq!(error.status, if error.code == INCOMPLETE { 400 } else { 403 }, "{error}");
    (error.code, error.message)
}

/// Replaces `from` by `to` in the fixture; it must be there.
fn changed(given: &Value, from: &str, to: &str) -> Value {
    let text = given.to_string();
    assert!(text.contains(from), "no `{from}` in {text}");
    serde_json::from_str(&text.replace(from, to)).unwrap()
}

#[tokio::test]
async fn what_botocore_signs_is_accepted() {
    for given in fixtures() {
        let verified = check(&given).await.map_err(|error| format!("{}: {error}", given["name"]));
        let verified = verified.unwrap();
        assert_eq!(verified.service, given["service"].as_str().unwrap());
        assert_eq!(verified.region, given["region"].as_str().unwrap());
    }
}

#[tokio::test]
async fn what_was_changed_afterwards_is_refused() {
    for (name, from, to) in [
        ("sagemaker json", "NameContains", "NameContainz"),
        ("sagemaker json", "SageMaker.ListEndpoints", "SageMaker.DeleteEndpoint"),
        ("sagemaker json", "\"127.0.0.1:4566\"", "\"127.0.0.2:4566\""),
        ("sagemaker json", "\"POST\"", "\"PUT\""),
        ("sagemaker json", "\"20261121T120000Z\"", "\"20261121T120001Z\""),
        ("sts form", "GetCallerIdentity&", "GetSessionToken&"),
        ("runtime", "/endpoints/dogs/", "/endpoints/cats/"),
        ("lambda, encoded path and query", "A=1", "A=2"),
        ("presigned sts", "GetCallerIdentity", "GetSessionToken"),
        ("presigned sts", "Expires=60", "Expires=600"),
        ("logs json, another region", "/eu-central-1/", "/eu-central-2/"),
    ] {
        let (code, message) = refused(&changed(&fixture(name), from, to)).await;
        assert_eq!(code, MISMATCH, "{name}: {from}");
        assert!(
            message.starts_with("The request signature we calculated does not match"),
            "{message}"
        );
    }
    let mut unsigned = fixture("sts form");
    unsigned["headers"]["X-Amz-Target"] = "SageMaker.DeleteEndpoint".into();
    let (code, message) = refused(&unsigned).await;
    assert_eq!(code, MISMATCH);
    assert_eq!(message, "'x-amz-target' must be a 'SignedHeader' in the AWS Authorization.");
}

#[tokio::test]
async fn the_scope_must_be_the_services_and_the_days() {
    let mut other = fixture("sts form");
    other["service"] = "iam".into();
    let (code, message) = refused(&other).await;
    assert_eq!(code, MISMATCH);
    assert_eq!(message, "Credential should be scoped to correct service: 'iam'.");
    let (code, message) = refused(&changed(&fixture("sts form"), "/20261121/", "/20261120/")).await;
    assert_eq!(code, MISMATCH);
    assert!(message.starts_with("Date in Credential scope does not match"), "{message}");
}

#[tokio::test]
async fn clocks_may_be_fifteen_minutes_apart() {
    for name in ["sts form", "presigned sts"] {
        let given = fixture(name);
        let at = async |seconds: i64| check_with(&given, NOW_MS + seconds * 1000, keys).await;
        at(-900).await.unwrap();
        at(60).await.unwrap();
        let early = at(-901).await.unwrap_err();
        assert_eq!((early.code.as_str(), early.status), (MISMATCH, 403));
        assert!(early.message.starts_with("Signature not yet current: "), "{early}");
        let late = at(if name == "sts form" { 901 } else { 61 }).await.unwrap_err();
        assert_eq!((late.code.as_str(), late.status), (MISMATCH, 403));
        assert!(late.message.starts_with("Signature expired: 20261121T12"), "{late}");
    }
    let sts = check_with(&fixture("sts form"), NOW_MS + 900_000, keys).await;
    assert!(sts.is_ok());
}

#[tokio::test]
async fn sessions_need_their_token_and_no_other() {
    for name in ["sts form with a session", "presigned sts with a session"] {
        let given = fixture(name);
        for expected in [None, Some("another".to_owned())] {
            let other = |_: &str, _: Option<&str>| {
                Ok(Secret { key: SECRET.to_owned(), session_token: expected.clone() })
            };
            let error = check_with(&given, NOW_MS, other).await.unwrap_err();
            assert_eq!((error.code.as_str(), error.status), (UNKNOWN_KEY, 403));
        }
    }
    // A request without the token that its key needs.
    let needs = |_: &str, given: Option<&str>| {
        assert_eq!(given, None);
        Ok(Secret { key: SECRET.to_owned(), session_token: Some("t".to_owned()) })
    };
    let error = check_with(&fixture("sts form"), NOW_MS, needs).await.unwrap_err();
    assert_eq!(error.code, UNKNOWN_KEY);
}

#[tokio::test]
async fn refusals_have_awss_names() {
    let given = fixture("sts form");
    for (refusal, code, status) in [
        (SignatureRefusal::Unknown, UNKNOWN_KEY, 403),
        (SignatureRefusal::Expired, EXPIRED, 403),
        (SignatureRefusal::Internal, "InternalFailure", 500),
    ] {
        let error = check_with(&given, NOW_MS, |_, _| Err(refusal)).await.unwrap_err();
        assert_eq!((error.code.as_str(), error.status), (code, status));
    }
    let short =
        |_: &str, _: Option<&str>| Ok(Secret { key: "short".to_owned(), session_token: None });
    assert_eq!(check_with(&given, NOW_MS, short).await.unwrap_err().status, 500);
}

#[tokio::test]
async fn half_signatures_are_incomplete() {
    for (from, to) in [
        ("Credential=", "Credentials="),
        ("SignedHeaders=", "Signed="),
        ("Signature=", "Sig="),
        ("AWS4-HMAC-SHA256 ", "AWS4-HMAC-SHA512 "),
        ("/aws4_request", "/aws4_request/x"),
        ("/us-east-1/", "/us east/"),
        ("\"X-Amz-Date\"", "\"X-Date\""),
        ("\"20261121T120000Z\"", "\"20261131T120061Z\""),
    ] {
        assert_eq!(refused(&changed(&fixture("sts form"), from, to)).await.0, INCOMPLETE, "{to}");
    }
    for (from, to) in [("Expires=60", "Expires=604801"), ("Expires=60", "Expires=x")] {
        assert_eq!(refused(&changed(&fixture("presigned sts"), from, to)).await.0, INCOMPLETE);
    }
    let mut unsigned = fixture("sts form");
    unsigned["headers"].as_object_mut().unwrap().remove("Authorization");
    assert_eq!(refused(&unsigned).await.0, MISSING);
}

#[test]
fn secrets_are_not_printed() {
    let secret = Secret { key: SECRET.to_owned(), session_token: Some("token".to_owned()) };
    assert_eq!(format!("{secret:?}"), "Secret(redacted)");
}

proptest! {
    #[test]
    fn no_head_panics(
        path in "/([a-z/.%+]|%[0-9a-f]{2}|é){0,12}",
        query in "(X-Amz-[A-Z][a-z]{3,10}(=[^ ]{0,8})?&?|[a-z%+=&]{0,6}){0,4}",
        header in "(AWS4-HMAC-SHA256 )?((Credential|SignedHeaders|Signature)=[a-zA-Z0-9/;]{0,30},? ?){0,4}",
        date in "[0-9]{8}T[0-9]{6}Z|.{0,20}",
    ) {
        let mut request = Request::builder().uri(format!("{path}?{query}"));
        for (name, value) in [("authorization", header.as_bytes()), ("x-amz-date", date.as_bytes())] {
            if let Ok(value) = http::HeaderValue::from_bytes(value) {
                request = request.header(name, value);
            }
        }
        if let Ok(request) = request.body(()) {
            let (parts, ()) = request.into_parts();
            let signed = Signed { parts: &parts, body: &Bytes::new(), service: "sts", now_ms: NOW_MS };
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            prop_assert!(runtime.block_on(verify(signed, keys)).is_err());
            let _ = crate::resolve(&parts);
        }
    }

    /// A good signature's parameters on any path and query: refused, without a panic.
    #[test]
    fn no_target_panics(path in "/[!-~]{0,20}", query in "[!-~]{0,20}", body in ".{0,20}") {
        let mut given = fixture("sagemaker json");
        let target = format!("{}?{}", path.replace(['?', '#'], ""), query.replace('#', ""));
        prop_assume!(target.parse::<http::Uri>().is_ok());
        given["target"] = target.into();
        given["body"] = body.into();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        prop_assert!(runtime.block_on(check(&given)).is_err());
    }
}

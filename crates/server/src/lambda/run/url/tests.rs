use std::net::Ipv4Addr;

use super::*;
use crate::context::Timestamp;

fn request(method: Method, headers: &[(&'static str, &'static str)], body: &[u8]) -> UrlRequest {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.append(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    UrlRequest {
        id: "abc".to_owned(),
        method,
        path: "/a%20b".to_owned(),
        query: "x=1&x=2&y=%C3%A4".to_owned(),
        headers: map,
        body: Bytes::copy_from_slice(body),
        source: Ipv4Addr::LOCALHOST.into(),
        caller: None,
    }
}

fn event_of(request: &UrlRequest) -> Value {
    event("id-1", Timestamp(1_583_348_638_390), request, "123456789012")
}

#[test]
fn requests_become_events_of_format_2() {
    let headers = [
        ("content-type", "application/json; charset=utf-8"),
        ("cookie", "a=b; c=d"),
        ("x-many", "1"),
        ("x-many", "2"),
    ];
    let event = event_of(&request(Method::POST, &headers, b"{\"k\": 1}"));
    assert_eq!(event["version"], "2.0");
    assert_eq!(event["rawPath"], "/a%20b");
    assert_eq!(event["queryStringParameters"], json!({"x": "1,2", "y": "ä"}));
    assert_eq!(event["headers"]["x-many"], "1,2");
    assert_eq!(event["cookies"], json!(["a=b", "c=d"]));
    assert_eq!(event["body"], "{\"k\": 1}");
    assert_eq!(event["isBase64Encoded"], false);
    assert_eq!(event["requestContext"]["time"], "04/Mar/2020:19:03:58 +0000");
    assert_eq!(event["requestContext"]["accountId"], "anonymous");
    assert_eq!(event["requestContext"]["http"]["sourceIp"], "127.0.0.1");
}

#[test]
fn what_is_no_text_is_base64() {
    for (kind, body) in [("image/jpeg", &b"\xff\xd8"[..]), ("text/plain", b"\xff"), ("", b"a")] {
        let event = event_of(&request(Method::POST, &[("content-type", kind)], body));
        assert_eq!(event["isBase64Encoded"], true, "{kind}");
        assert_eq!(event["body"], STANDARD.encode(body), "{kind}");
    }
    let empty = event_of(&request(Method::GET, &[], b""));
    assert!(empty.get("body").is_none() && empty["isBase64Encoded"] == false, "{empty}");
}

#[test]
fn values_become_responses() {
    let plain = response(b"{\"a\":1}");
    assert_eq!((plain.status, &plain.body[..]), (200, &b"{\"a\":1}"[..]));
    let full = response(
        br#"{"statusCode": 201, "headers": {"X-A": "1", "Content-Length": "9", "bad name": "x"},
             "cookies": ["a=b", "c=d"], "body": "aGk=", "isBase64Encoded": true}"#,
    );
    assert_eq!((full.status, &full.body[..]), (201, &b"hi"[..]));
    assert_eq!(full.headers["x-a"], "1");
    assert!(!full.headers.contains_key("content-length"));
    assert_eq!(full.headers.get_all("set-cookie").iter().count(), 2);
    assert_eq!(response(br#"{"statusCode": "204"}"#).status, 204);
    for broken in [
        &br#"{"statusCode": 99}"#[..],
        br#"{"statusCode": "many"}"#,
        br#"{"statusCode": 200, "body": "?", "isBase64Encoded": true}"#,
    ] {
        assert_eq!(response(broken).status, 502);
    }
}

#[test]
fn origins_are_let_in_as_configured() {
    let config = json!({
        "AllowOrigins": ["https://*.example.org"], "AllowMethods": ["GET"], "MaxAge": 60,
        "AllowCredentials": true,
    });
    let of = |origin: &'static str, method: Method| {
        let origin = HeaderValue::from_static(origin);
        cors(Some(&config), Some(&origin), &request(method, &[], b""))
    };
    let simple = of("https://a.example.org", Method::GET);
    assert_eq!(simple["access-control-allow-origin"], "https://a.example.org");
    assert_eq!(simple["access-control-allow-credentials"], "true");
    assert!(!simple.contains_key("access-control-allow-methods"));
    let preflight = of("https://a.example.org", Method::OPTIONS);
    assert_eq!(preflight["access-control-allow-methods"], "GET");
    assert_eq!(preflight["access-control-max-age"], "60");
    assert!(of("https://evil.org", Method::GET).is_empty());
    assert!(of("https://example.org.evil.com", Method::GET).is_empty());
}

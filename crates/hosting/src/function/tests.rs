//! What can be said without a child; the rest is in tests/function.rs.

use super::*;

#[test]
fn what_cannot_be_a_header_is_refused_and_told() {
    let invocation = Invocation { request_id: "a\r\nb".to_owned(), ..Invocation::default() };
    let failed = event(invocation).unwrap_err();
    assert!(failed.to_string().contains(r"`a\r\nb`"), "{failed}");
}

#[test]
fn an_event_names_what_runtimes_need() {
    let invocation = Invocation {
        request_id: "id".to_owned(),
        function_arn: "arn".to_owned(),
        deadline_ms: 12,
        client_context: Some(r#"{"name":"Bär"}"#.to_owned()),
        ..Invocation::default()
    };
    let event = event(invocation).unwrap();
    assert_eq!(event.headers["content-type"], "application/json");
    assert_eq!(event.headers["lambda-runtime-aws-request-id"], "id");
    assert_eq!(event.headers["lambda-runtime-deadline-ms"], "12");
    let context = event.headers["lambda-runtime-client-context"].as_bytes();
    assert_eq!(context, r#"{"name":"Bär"}"#.as_bytes());
    assert!(!event.headers.contains_key("lambda-runtime-trace-id"));
}

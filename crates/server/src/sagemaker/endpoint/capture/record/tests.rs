use serde_json::json;

use super::*;

fn payload(content_type: &str, data: &'static [u8]) -> Payload {
    Payload {
        content_type: HeaderValue::from_str(content_type).ok(),
        data: Bytes::from_static(data),
    }
}

fn record() -> Record {
    Record {
        id: "an-id".to_owned(),
        time: Timestamp(1_596_116_190_123),
        inference_id: None,
        custom_attributes: None,
        input: Some(payload("text/csv", b"0.1,0.2")),
        output: Some(payload("text/csv; charset=utf-8", b"30.4")),
    }
}

fn kinds() -> Kinds {
    Kinds::of(Some(&json!({
        "CsvContentTypes": ["text/csv"], "JsonContentTypes": ["application/json"],
    })))
}

/// The line that AWS's documentation shows.
#[test]
fn a_line_is_written_as_sagemaker_writes_it() {
    let line = String::from_utf8(record().line(&kinds())).unwrap();
    assert_eq!(
        line,
        r#"{"captureData":{"endpointInput":{"observedContentType":"text/csv","mode":"INPUT","data":"0.1,0.2","encoding":"CSV"},"endpointOutput":{"observedContentType":"text/csv; charset=utf-8","mode":"OUTPUT","data":"30.4","encoding":"CSV"}},"eventMetadata":{"eventId":"an-id","inferenceTime":"2020-07-30T13:36:30Z"},"eventVersion":"0"}"#
    );
}

#[test]
fn a_photo_and_what_is_no_text_become_base64() {
    let photo = Record {
        inference_id: Some(HeaderValue::from_static("mine")),
        custom_attributes: Some(HeaderValue::from_static("a=b")),
        input: Some(payload("image/jpeg", b"\xff\xd8\xff")),
        output: Some(payload("application/json", b"\xff{}")),
        ..record()
    };
    let line: Value = serde_json::from_slice(&photo.line(&kinds())).unwrap();
    assert_eq!(line["captureData"]["endpointInput"]["data"], "/9j/");
    assert_eq!(line["captureData"]["endpointInput"]["encoding"], "BASE64");
    assert_eq!(line["captureData"]["endpointOutput"]["encoding"], "BASE64");
    assert_eq!(line["eventMetadata"]["inferenceId"], "mine");
    assert_eq!(line["eventMetadata"]["customAttributes"], json!(["a=b"]));
}

#[test]
fn without_a_header_everything_is_base64() {
    let line: Value = serde_json::from_slice(&record().line(&Kinds::of(None))).unwrap();
    assert_eq!(line["captureData"]["endpointInput"]["encoding"], "BASE64");
    assert_eq!(line["captureData"]["endpointInput"]["data"], "MC4xLDAuMg==");
}

#[test]
fn only_what_was_asked_for_is_kept() {
    let record = Record { output: None, ..record() };
    let line: Value = serde_json::from_slice(&record.line(&kinds())).unwrap();
    assert!(line["captureData"].get("endpointOutput").is_none());
    assert_eq!((record.size(), record.largest()), (7, 7));
}

#[test]
fn keys_are_by_endpoint_variant_and_hour() {
    let time = Timestamp(1_596_116_190_123);
    let named = ("dogs", "AllTraffic");
    assert_eq!(
        key("captured/", named, time, "id"),
        "captured/dogs/AllTraffic/2020/07/30/13/36-30-123-id.jsonl"
    );
    assert_eq!(key("", named, time, "id"), "dogs/AllTraffic/2020/07/30/13/36-30-123-id.jsonl");
}

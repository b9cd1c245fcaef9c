use super::*;

fn request(invocation_type: InvocationType, payload: &[u8]) -> InvokeRequest {
    InvokeRequest {
        function: "f".to_owned(),
        qualifier: None,
        invocation_type,
        tail: false,
        client_context: None,
        payload: Bytes::copy_from_slice(payload),
    }
}

#[test]
fn payloads_are_json_of_a_bounded_size() {
    use InvocationType::{Event, RequestResponse};
    let check = |kind, payload: &[u8]| {
        let most = if kind == Event { MAX_EVENT } else { MAX_PAYLOAD };
        check_payload(&request(kind, payload), most).map_err(|error| error.code)
    };
    assert_eq!(check(RequestResponse, b""), Ok(()));
    assert_eq!(check(RequestResponse, b"{\"a\": [1, null]}"), Ok(()));
    for bad in [&b"{"[..], b"x", b"{} {}", b"\xff"] {
        assert_eq!(check(RequestResponse, bad), Err("InvalidRequestContentException".to_owned()));
    }
    let text = |size: usize| format!("\"{}\"", "x".repeat(size - 2)).into_bytes();
    let too_large = Err("RequestTooLargeException".to_owned());
    assert_eq!(check(RequestResponse, &text(MAX_PAYLOAD)), Ok(()));
    assert_eq!(check(RequestResponse, &text(MAX_PAYLOAD + 1)), too_large);
    assert_eq!(check(Event, &text(MAX_EVENT)), Ok(()));
    assert_eq!(check(Event, &text(MAX_EVENT + 1)), too_large);
}

#[test]
fn client_contexts_are_base64_of_json() {
    assert_eq!(client_context(None), Ok(None));
    // {"custom":{}}
    let good = client_context(Some("eyJjdXN0b20iOnt9fQ==")).unwrap();
    assert_eq!(good.as_deref(), Some("{\"custom\":{}}"));
    for bad in ["?", "eHh4", &"A".repeat(3_584)] {
        assert_eq!(
            client_context(Some(bad)).map_err(|error| error.code),
            Err("InvalidRequestContentException".to_owned())
        );
    }
}

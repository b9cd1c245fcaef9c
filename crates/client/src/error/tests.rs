use super::*;

fn of(status: u16, headers: &[(&str, &str)], body: &str) -> ServiceFailure {
    let header = |name: &str| headers.iter().find(|h| h.0 == name).map(|h| h.1.to_owned());
    failure("s:Op", status, header, body.as_bytes())
}

#[test]
fn json_errors_are_read_from_the_body() {
    let id = [("x-amzn-requestid", "r-1")];
    let body = r#"{"__type":"com.amazonaws.sagemaker#ResourceInUse","Message":"there is one"}"#;
    let found = of(400, &id, body);
    assert_eq!(found.code, "ResourceInUse");
    assert_eq!(found.message, "there is one");
    assert_eq!(found.request_id.as_deref(), Some("r-1"));
    assert_eq!(found.to_string(), "s:Op: there is one (ResourceInUse, HTTP 400, request r-1)");
}

#[test]
fn rest_json_errors_have_their_code_in_a_header() {
    let headers = [("x-amzn-errortype", "ModelError:http://internal.amazon.com/")];
    let body = r#"{"Message":"Received client error","OriginalMessage":"no photo"}"#;
    let found = of(424, &headers, body);
    assert_eq!(found.code, "ModelError");
    assert_eq!(found.message, "Received client error");
    assert_eq!(found.to_string(), "s:Op: Received client error: no photo (ModelError, HTTP 424)");
}

#[test]
fn query_and_s3_errors_are_xml() {
    let query = "<ErrorResponse xmlns=\"u\"><Error><Type>Sender</Type><Code>NoSuchEntity</Code>\
                 <Message>no role &lt;a&gt;</Message></Error><RequestId>q</RequestId></ErrorResponse>";
    let found = of(404, &[], query);
    assert_eq!((found.code.as_str(), found.message.as_str()), ("NoSuchEntity", "no role <a>"));
    assert_eq!(found.request_id.as_deref(), Some("q"));
    let s3 = "<?xml version=\"1.0\"?><Error><Code>NoSuchKey</Code><Message>gone</Message></Error>";
    assert_eq!(of(404, &[], s3).code, "NoSuchKey");
}

#[test]
fn bodies_that_say_nothing_still_name_the_status() {
    let found = of(404, &[], "");
    assert_eq!((found.code.as_str(), found.message.as_str()), ("404", "not found"));
    assert_eq!(of(502, &[], "<html>bad gateway").code, "502");
    assert!(of(502, &[], "<html>bad gateway").message.contains("bad gateway"));
    assert!(ClientError::Service(Box::new(of(404, &[], ""))).is_not_found());
}

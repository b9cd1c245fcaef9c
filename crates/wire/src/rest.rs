//! Errors of the REST protocols: JSON (SageMaker Runtime, Lambda) and XML (S3, for what the gateway
//! refuses before the S3 service sees it).

use serde_json::{Value, json};

use crate::codes;
use crate::encoded::{Encoded, REQUEST_ID};
use crate::error::ServiceError;
use crate::xml;

/// A REST-JSON error: the code in a header, `Message` and the shape's members in the body.
pub fn json_error(error: &ServiceError, request_id: &str) -> Encoded {
    let mut body = json!({ "Message": error.message });
    if let Value::Object(map) = &mut body {
        map.extend((*error.members).clone());
    }
    Encoded {
        status: error.status,
        content_type: "application/json",
        headers: vec![
            (REQUEST_ID, request_id.to_owned()),
            // A header has no room for line ends and the like.
            ("x-amzn-ErrorType", error.code.chars().filter(char::is_ascii_graphic).collect()),
        ],
        body: body.to_string().into_bytes(),
    }
}

/// S3's error document. `resource` is the request's path.
/// <https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html>
pub fn xml_error(error: &ServiceError, resource: &str, request_id: &str) -> Encoded {
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error>");
    xml::element(&mut out, "Code", codes::query_name(&error.code));
    xml::element(&mut out, "Message", &error.message);
    xml::element(&mut out, "Resource", resource);
    xml::element(&mut out, "RequestId", request_id);
    out.push_str("</Error>");
    Encoded {
        status: error.status,
        content_type: "application/xml",
        headers: vec![("x-amz-request-id", request_id.to_owned())],
        body: out.into_bytes(),
    }
}

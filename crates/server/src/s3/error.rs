//! Errors in AWS's words and shape, and the last touches on every answer.

use http::header::{CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, TRANSFER_ENCODING};
use http::{HeaderName, HeaderValue, Method, Response, StatusCode};
use kennel_store::objects::ObjectError;
use s3s::{S3Error, S3ErrorCode, s3_error};

use super::{AccessNote, S3Body};

/// What AWS says when a code comes without a message of its own.
/// <https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html>
fn words(code: &str) -> &'static str {
    match code {
        "AccessDenied" => "Access Denied",
        "BucketAlreadyOwnedByYou" => {
            "Your previous request to create the named bucket succeeded and you already own it."
        }
        "BucketNotEmpty" => "The bucket you tried to delete is not empty",
        "EntityTooLarge" => "Your proposed upload exceeds the maximum allowed size",
        "IncompleteBody" => {
            "You did not provide the number of bytes specified by the Content-Length HTTP header."
        }
        "InternalError" => "We encountered an internal error. Please try again.",
        "InvalidArgument" => "Invalid Argument",
        "InvalidBucketName" => "The specified bucket is not valid.",
        "InvalidDigest" => "The Content-MD5 you specified was invalid.",
        "InvalidRange" => "The requested range is not satisfiable",
        "InvalidURI" => "Couldn't parse the specified URI.",
        "KeyTooLongError" => "Your key is too long",
        "MalformedXML" => {
            "The XML you provided was not well-formed or did not validate against our published schema"
        }
        "MaxMessageLengthExceeded" => "Your request was too big.",
        "MethodNotAllowed" => "The specified method is not allowed against this resource.",
        "MissingContentLength" => "You must provide the Content-Length HTTP header.",
        "NoSuchBucket" => "The specified bucket does not exist",
        "NoSuchKey" => "The specified key does not exist.",
        "NoSuchTagSet" => "The TagSet does not exist",
        "NoSuchUpload" => {
            "The specified upload does not exist. The upload ID may be invalid, or the upload may have been aborted or completed."
        }
        "NotImplemented" => {
            "A header or operation you provided implies functionality that is not implemented"
        }
        "PreconditionFailed" => "At least one of the pre-conditions you specified did not hold",
        "RequestTimeTooSkewed" => {
            "The difference between the request time and the current time is too large."
        }
        "SignatureDoesNotMatch" => {
            "The request signature we calculated does not match the signature you provided. Check your key and signing method."
        }
        _ => "The request could not be carried out",
    }
}

/// An error with AWS's own words.
pub(super) fn plain(code: S3ErrorCode) -> S3Error {
    let message = words(code.as_str());
    S3Error::with_message(code, message)
}

/// An error whose code `s3s` has no name for.
pub(super) fn custom(code: &'static str, status: StatusCode, message: &'static str) -> S3Error {
    let mut error = S3Error::with_message(S3ErrorCode::Custom(code.into()), message);
    error.set_status_code(status);
    error
}

/// A store's error as S3 says it.
pub(super) fn from_store(error: ObjectError) -> S3Error {
    if error.is_full() {
        tracing::error!("{error}");
        return custom(
            "InsufficientStorage",
            StatusCode::INSUFFICIENT_STORAGE,
            "No space is left on the server's disk. Nothing was stored, and nothing acknowledged is lost.",
        );
    }
    match error {
        ObjectError::NoSuchBucket(_) => plain(S3ErrorCode::NoSuchBucket),
        ObjectError::BucketNotEmpty(_) => plain(S3ErrorCode::BucketNotEmpty),
        ObjectError::NoSuchKey(_) => plain(S3ErrorCode::NoSuchKey),
        ObjectError::NoSuchUpload(_) => plain(S3ErrorCode::NoSuchUpload),
        ObjectError::InvalidPart(_) => s3_error!(
            InvalidPart,
            "One or more of the specified parts could not be found.  The part may not have been uploaded, or the specified entity tag may not match the part's entity tag."
        ),
        ObjectError::InvalidPartOrder => s3_error!(
            InvalidPartOrder,
            "The list of parts was not in ascending order. Parts must be ordered by part number."
        ),
        ObjectError::PartTooSmall { .. } => s3_error!(
            EntityTooSmall,
            "Your proposed upload is smaller than the minimum allowed size"
        ),
        ObjectError::PreconditionFailed(_) => plain(S3ErrorCode::PreconditionFailed),
        ObjectError::Md5Mismatch => {
            s3_error!(BadDigest, "The Content-MD5 you specified did not match what we received.")
        }
        ObjectError::ChecksumMismatch { algorithm, .. } => s3_error!(
            BadDigest,
            "The {algorithm} you specified did not match the calculated checksum."
        ),
        ObjectError::ChecksumMissing(_) => custom(
            "MalformedTrailerError",
            StatusCode::BAD_REQUEST,
            "The request announced a checksum in its trailer, which did not come.",
        ),
        ObjectError::TooLarge(_) => plain(S3ErrorCode::EntityTooLarge),
        ObjectError::Body(source) => from_body(&*source),
        ObjectError::Stopping => {
            s3_error!(ServiceUnavailable, "The server is stopping. Please try again.")
        }
        other => {
            tracing::error!("{other}");
            plain(S3ErrorCode::InternalError)
        }
    }
}

/// What went wrong while a body was read. `s3s` keeps its types to itself, so its words decide.
fn from_body(source: &(dyn std::error::Error + Send + Sync + 'static)) -> S3Error {
    let words = format!("{source} {source:?}");
    tracing::debug!("body: {words}");
    if words.contains("Sha256Mismatch") {
        sha256_mismatch()
    } else if words.contains("SignatureMismatch") {
        plain(S3ErrorCode::SignatureDoesNotMatch)
    } else {
        plain(S3ErrorCode::IncompleteBody)
    }
}

fn sha256_mismatch() -> S3Error {
    custom(
        "XAmzContentSHA256Mismatch",
        StatusCode::BAD_REQUEST,
        "The provided 'x-amz-content-sha256' header does not match what was computed.",
    )
}

/// An error as an answer.
pub(super) fn answer(error: S3Error) -> Response<S3Body> {
    error.to_http_response().unwrap_or_else(|_| {
        let mut answer = Response::new(S3Body::empty());
        *answer.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        answer
    })
}

fn element<'a>(xml: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = xml.split_once(&format!("<{name}>"))?;
    rest.split_once(&format!("</{name}>")).map(|(value, _)| value)
}

/// Gives every answer its request id and note, and errors AWS's shape.
pub(super) fn finish(
    mut answer: Response<S3Body>,
    mut note: AccessNote,
    path: &str,
    method: &Method,
) -> Response<S3Body> {
    let status = answer.status();
    let head = method == Method::HEAD;
    if status.is_client_error() || status.is_server_error() || status == StatusCode::NOT_MODIFIED {
        let bytes = answer.body().bytes().unwrap_or_default();
        let body = String::from_utf8_lossy(&bytes).into_owned();
        let mut code = element(&body, "Code").unwrap_or("InternalError").to_owned();
        let own = element(&body, "Message").filter(|_| {
            // Here AWS's words are better than those of `s3s`.
            !matches!(code.as_str(), "RequestTimeTooSkewed" | "SignatureDoesNotMatch")
        });
        let mut message = own.map_or_else(|| words(&code).to_owned(), str::to_owned);
        if code == "InternalError" && own.is_none() && matches!(*method, Method::POST | Method::PUT)
        {
            // Our own have a message: this one is an XML body that could not be read as signed.
            let mismatch = sha256_mismatch();
            code = mismatch.code().as_str().to_owned();
            message = mismatch.message().unwrap_or_default().to_owned();
            *answer.status_mut() = StatusCode::BAD_REQUEST;
        }
        if head || status == StatusCode::NOT_MODIFIED {
            *answer.body_mut() = S3Body::empty();
            answer.headers_mut().remove(CONTENT_LENGTH);
            answer.headers_mut().remove(CONTENT_TYPE);
        } else {
            let escaped = quick_xml::escape::escape(path);
            let id = &note.request_id;
            *answer.body_mut() = S3Body::from(format!(
                "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code><Message>{message}</Message><Resource>{escaped}</Resource><RequestId>{id}</RequestId><HostId>kennel</HostId></Error>"
            ));
            answer.headers_mut().remove(CONTENT_LENGTH);
            answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/xml"));
        }
        if status != StatusCode::NOT_MODIFIED {
            note.error_code = Some(code);
        }
    }
    if note.action.as_deref() == Some("s3:GetObjectAttributes")
        && status == StatusCode::OK
        && let Some(bytes) = answer.body().bytes()
    {
        // Here, and only here, S3 writes the ETag without quotes.
        let body = String::from_utf8_lossy(&bytes).replace("&quot;", "").replace(">\"", ">");
        let body = body.replace("\"<", "<");
        answer.headers_mut().remove(CONTENT_LENGTH);
        *answer.body_mut() = S3Body::from(body);
    }
    if head && status == StatusCode::OK && answer.headers().contains_key(CONTENT_RANGE) {
        *answer.status_mut() = StatusCode::PARTIAL_CONTENT;
    }
    answer.headers_mut().remove(TRANSFER_ENCODING);
    if let Ok(id) = HeaderValue::from_str(&note.request_id) {
        answer.headers_mut().insert(HeaderName::from_static("x-amz-request-id"), id);
    }
    let host = HeaderName::from_static("x-amz-id-2");
    answer.headers_mut().insert(host, HeaderValue::from_static("kennel"));
    answer.headers_mut().insert(http::header::SERVER, HeaderValue::from_static("AmazonS3"));
    answer.extensions_mut().insert(note);
    answer
}

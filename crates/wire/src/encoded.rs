//! An answer as it goes on the wire, without a type of an HTTP library.

/// Status, headers and body of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encoded {
    /// The HTTP status.
    pub status: u16,
    /// `Content-Type`.
    pub content_type: &'static str,
    /// Further headers.
    pub headers: Vec<(&'static str, String)>,
    /// The body.
    pub body: Vec<u8>,
}

/// The header in which every service but S3 names the request.
pub(crate) const REQUEST_ID: &str = "x-amzn-RequestId";

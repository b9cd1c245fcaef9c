//! S3's REST-XML: the operations that moving files in and out of buckets needs.

use std::io::{Read, Write};
use std::path::Path;

use base64::Engine as _;
use sha2::{Digest, Sha256};

use crate::client::{Client, Payload, Request, Service, encode, header_of, hex};
use crate::error::ClientError;
use crate::files;
use crate::transfer::parallel;
use crate::xml::{self, Element};

/// From here on a file is sent in parts.
pub(crate) const MULTIPART_FROM: u64 = 64 << 20;
/// Size of a part, unless that makes more than [`MAX_PARTS`].
const PART: u64 = 16 << 20;
/// Most parts that S3 takes.
const MAX_PARTS: u64 = 10_000;
/// Parts of one file under way; each is held in memory.
const PARTS_AT_ONCE: usize = 4;
/// Most keys that one DeleteObjects takes.
const MAX_DELETE: usize = 1000;

/// `s3://bucket/key`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Location {
    /// Bucket name.
    pub bucket: String,
    /// Key or prefix; empty for the bucket as a whole.
    pub key: String,
}

impl Location {
    /// Whether a text means a place in S3.
    pub fn is_one(text: &str) -> bool {
        text.starts_with("s3://")
    }

    /// Parses `s3://bucket[/key]`.
    ///
    /// # Errors
    /// When it is something else, or the bucket's name is none.
    pub fn parse(text: &str) -> Result<Location, ClientError> {
        let bad = |why: &str| {
            ClientError::Usage(format!(
                "`{text}` {why}\nhint: a place in S3 looks like s3://bucket/key"
            ))
        };
        let rest = text.strip_prefix("s3://").ok_or_else(|| bad("is no place in S3"))?;
        let (bucket, key) = rest.split_once('/').unwrap_or((rest, ""));
        // The name may become part of a host, so nothing else passes.
        let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '.';
        let edges = bucket.starts_with(['-', '.']) || bucket.ends_with(['-', '.']);
        if !(3..=63).contains(&bucket.len()) || !bucket.chars().all(fits) || edges {
            return Err(bad("names no bucket: 3 to 63 of a-z, 0-9, `-` and `.`"));
        }
        Ok(Location { bucket: bucket.to_owned(), key: key.to_owned() })
    }

    /// The same bucket, another key.
    #[must_use]
    pub fn with_key(&self, key: impl Into<String>) -> Location {
        Location { bucket: self.bucket.clone(), key: key.into() }
    }
}

impl std::fmt::Display for Location {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "s3://{}/{}", self.bucket, self.key)
    }
}

/// An object of a listing.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Object {
    /// Its key.
    pub key: String,
    /// Bytes.
    pub size: u64,
    /// ISO 8601, as the service says it.
    pub last_modified: String,
}

/// A page of a listing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listing {
    /// Objects, in the order of their keys.
    pub objects: Vec<Object>,
    /// "Folders": what keys have in common up to the delimiter.
    pub prefixes: Vec<String>,
    /// How to ask for the next page.
    pub next: Option<String>,
}

impl Client {
    fn s3(&self, operation: &str, method: http::Method, at: &Location, query: &str) -> Request {
        let key = encode_key(&at.key);
        // Names with dots do not fit AWS's certificate, so they stay in the path.
        let virtual_host = self.target().endpoint.is_none() && !at.bucket.contains('.');
        let (host_prefix, path) = if at.bucket.is_empty() {
            (None, "/".to_owned())
        } else if virtual_host {
            (Some(format!("{}.", at.bucket)), format!("/{key}"))
        } else if key.is_empty() {
            (None, format!("/{}", at.bucket))
        } else {
            (None, format!("/{}/{key}", at.bucket))
        };
        let idempotent = method != http::Method::POST;
        let path = if query.is_empty() { path } else { format!("{path}?{query}") };
        Request {
            operation: format!("s3:{operation}"),
            service: Service::S3,
            method,
            host_prefix,
            path,
            headers: Vec::new(),
            payload: Payload::Empty,
            idempotent,
        }
    }

    /// Names and times of creation of all buckets.
    ///
    /// # Errors
    /// What S3 answers.
    pub fn list_buckets(&self) -> Result<Vec<(String, String)>, ClientError> {
        let nowhere = Location { bucket: String::new(), key: String::new() };
        let root = self.xml(&self.s3("ListBuckets", http::Method::GET, &nowhere, ""))?;
        let buckets = root.child("Buckets").cloned().unwrap_or_default();
        let text = |e: &Element, name| e.text(name).unwrap_or_default().to_owned();
        Ok(buckets.all("Bucket").map(|b| (text(b, "Name"), text(b, "CreationDate"))).collect())
    }

    /// What a bucket has besides objects: `policy`, `policyStatus`, `publicAccessBlock`; `None` where it has
    /// none. `operation` is AWS's name for it.
    pub(crate) fn bucket_part(
        &self,
        operation: &str,
        bucket: &str,
        part: &str,
    ) -> Result<Option<Vec<u8>>, ClientError> {
        let at = Location { bucket: bucket.to_owned(), key: String::new() };
        match self.bytes(&self.s3(operation, http::Method::GET, &at, part)) {
            Ok(body) => Ok(Some(body)),
            Err(error) if error.service_code() == Some("NoSuchBucket") => Err(error),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// One page of keys below a prefix, at most 1,000.
    ///
    /// # Errors
    /// What S3 answers.
    pub fn list_page(
        &self,
        at: &Location,
        delimiter: Option<&str>,
        token: Option<&str>,
    ) -> Result<Listing, ClientError> {
        let mut query = format!("list-type=2&encoding-type=url&prefix={}", encode(&at.key));
        if let Some(delimiter) = delimiter {
            query.push_str(&format!("&delimiter={}", encode(delimiter)));
        }
        if let Some(token) = token {
            query.push_str(&format!("&continuation-token={}", encode(token)));
        }
        let request = self.s3("ListObjectsV2", http::Method::GET, &at.with_key(""), &query);
        let root = self.xml(&request)?;
        listing(&root)
            .map_err(|reason| ClientError::Answer { operation: request.operation, reason })
    }

    /// All keys below a prefix.
    ///
    /// # Errors
    /// What S3 answers.
    pub fn list(&self, at: &Location, delimiter: Option<&str>) -> Result<Listing, ClientError> {
        let mut all = Listing::default();
        let mut token: Option<String> = None;
        loop {
            let page = self.list_page(at, delimiter, token.as_deref())?;
            all.objects.extend(page.objects);
            all.prefixes.extend(page.prefixes);
            if page.next.is_none() || page.next == token {
                return Ok(all);
            }
            token = page.next;
        }
    }

    /// An object's size; none where there is no such object.
    ///
    /// # Errors
    /// What S3 answers.
    pub fn head_object(&self, at: &Location) -> Result<Option<u64>, ClientError> {
        match self.send(&self.s3("HeadObject", http::Method::HEAD, at, "")) {
            Ok(response) => {
                let length = header_of(response.headers(), "content-length");
                Ok(Some(length.and_then(|v| v.parse().ok()).unwrap_or(0)))
            }
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Makes a bucket in the target's region.
    ///
    /// # Errors
    /// What S3 answers.
    pub fn create_bucket(&self, bucket: &str) -> Result<(), ClientError> {
        let at = Location { bucket: bucket.to_owned(), key: String::new() };
        let mut request = self.s3("CreateBucket", http::Method::PUT, &at, "");
        let region = &self.target().region;
        // us-east-1 must not be named: https://docs.aws.amazon.com/AmazonS3/latest/API/API_CreateBucket.html
        if region != "us-east-1" {
            let body = format!(
                "<CreateBucketConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><LocationConstraint>{}</LocationConstraint></CreateBucketConfiguration>",
                xml::escape(region)
            );
            request.payload = Payload::Bytes(body.into_bytes());
        }
        self.bytes(&request).map(|_| ())
    }

    /// Removes an empty bucket.
    ///
    /// # Errors
    /// `BucketNotEmpty`, or what else S3 answers.
    pub fn delete_bucket(&self, bucket: &str) -> Result<(), ClientError> {
        let at = Location { bucket: bucket.to_owned(), key: String::new() };
        self.bytes(&self.s3("DeleteBucket", http::Method::DELETE, &at, "")).map(|_| ())
    }

    /// Removes one object; one that is not there is no error.
    ///
    /// # Errors
    /// What S3 answers.
    pub fn delete_object(&self, at: &Location) -> Result<(), ClientError> {
        self.bytes(&self.s3("DeleteObject", http::Method::DELETE, at, "")).map(|_| ())
    }

    /// Removes many objects of one bucket.
    ///
    /// # Errors
    /// What S3 answers, also for a single key.
    pub fn delete_objects(&self, bucket: &str, keys: &[String]) -> Result<(), ClientError> {
        let at = Location { bucket: bucket.to_owned(), key: String::new() };
        for part in keys.chunks(MAX_DELETE) {
            let objects: String = part
                .iter()
                .map(|key| format!("<Object><Key>{}</Key></Object>", xml::escape(key)))
                .collect();
            let body = format!(
                "<Delete xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Quiet>true</Quiet>{objects}</Delete>"
            );
            let sum = base64::engine::general_purpose::STANDARD.encode(Sha256::digest(&body));
            let mut request = self.s3("DeleteObjects", http::Method::POST, &at, "delete=");
            request.idempotent = true;
            request.headers = vec![
                ("content-type".into(), "application/xml".into()),
                ("x-amz-sdk-checksum-algorithm".into(), "SHA256".into()),
                ("x-amz-checksum-sha256".into(), sum),
            ];
            request.payload = Payload::Bytes(body.into_bytes());
            let root = self.xml(&request)?;
            if let Some(error) = root.child("Error") {
                let text = |name| error.text(name).unwrap_or_default();
                return Err(ClientError::Failed(format!(
                    "`{}` cannot be removed: {} ({})",
                    text("Key"),
                    text("Message"),
                    text("Code")
                )));
            }
        }
        Ok(())
    }

    /// Stores bytes.
    ///
    /// # Errors
    /// What S3 answers.
    pub fn put_bytes(&self, at: &Location, bytes: Vec<u8>) -> Result<(), ClientError> {
        let mut request = self.s3("PutObject", http::Method::PUT, at, "");
        request.payload = Payload::Bytes(bytes);
        self.bytes(&request).map(|_| ())
    }

    /// Stores a file, in parts when it is large; `sent` is told of bytes as they arrive.
    ///
    /// # Errors
    /// What S3 answers, or that the file cannot be read. Parts of a failed upload are removed.
    pub fn put_file(
        &self,
        at: &Location,
        path: &Path,
        sent: &(dyn Fn(u64) + Sync),
    ) -> Result<u64, ClientError> {
        let meta = std::fs::metadata(path).map_err(ClientError::file("read", path))?;
        if !meta.is_file() {
            return Err(ClientError::Usage(format!("`{}` is no file", path.display())));
        }
        let length = meta.len();
        if length > MULTIPART_FROM {
            self.put_parts(at, path, length, sent)?;
            return Ok(length);
        }
        let (length, sha256) = hash_file(path).map_err(ClientError::file("read", path))?;
        let mut request = self.s3("PutObject", http::Method::PUT, at, "");
        request.payload = Payload::File { path: path.to_owned(), length, sha256 };
        self.bytes(&request)?;
        sent(length);
        Ok(length)
    }

    fn put_parts(
        &self,
        at: &Location,
        path: &Path,
        length: u64,
        sent: &(dyn Fn(u64) + Sync),
    ) -> Result<(), ClientError> {
        let create = self.s3("CreateMultipartUpload", http::Method::POST, at, "uploads=");
        let root = self.xml(&create)?;
        let id = root.text("UploadId").filter(|id| !id.is_empty()).ok_or_else(|| {
            ClientError::Answer {
                operation: create.operation.clone(),
                reason: "no UploadId".into(),
            }
        })?;
        let upload = format!("uploadId={}", encode(id));
        let part = PART.max(length.div_ceil(MAX_PARTS));
        let parts: Vec<u64> = (0..length.div_ceil(part)).collect();
        let outcome = parallel(&parts, PARTS_AT_ONCE, |&number| {
            let offset = number * part;
            let bytes = read_part(path, offset, part.min(length - offset))
                .map_err(ClientError::file("read", path))?;
            let size = bytes.len() as u64;
            let query = format!("partNumber={}&{upload}", number + 1);
            let mut request = self.s3("UploadPart", http::Method::PUT, at, &query);
            request.payload = Payload::Bytes(bytes);
            let response = self.send(&request)?;
            let etag =
                header_of(response.headers(), "etag").ok_or_else(|| ClientError::Answer {
                    operation: request.operation.clone(),
                    reason: "no ETag".into(),
                })?;
            sent(size);
            Ok(etag)
        });
        let outcome = outcome.and_then(|etags| {
            let list: String = etags
                .iter()
                .enumerate()
                .map(|(i, etag)| {
                    let (number, etag) = (i + 1, xml::escape(etag));
                    format!("<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>")
                })
                .collect();
            let body = format!(
                "<CompleteMultipartUpload xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">{list}</CompleteMultipartUpload>"
            );
            let mut complete =
                self.s3("CompleteMultipartUpload", http::Method::POST, at, &upload);
            complete.headers = vec![("content-type".into(), "application/xml".into())];
            complete.payload = Payload::Bytes(body.into_bytes());
            let root = self.xml(&complete)?;
            // S3 may find an error after it has said 200.
            match root.name.as_str() {
                "Error" => Err(ClientError::Failed(format!(
                    "`{at}` is not stored: {}",
                    root.text("Message").unwrap_or("no reason given")
                ))),
                _ => Ok(()),
            }
        });
        if outcome.is_err() {
            // The first error is the one to tell; leftover parts are S3's to expire.
            let abort = self.s3("AbortMultipartUpload", http::Method::DELETE, at, &upload);
            let _ = self.bytes(&abort);
        }
        outcome
    }

    /// Fetches an object into a file, written aside and renamed when it is whole.
    ///
    /// # Errors
    /// What S3 answers, or that the file cannot be written.
    pub fn get_file(
        &self,
        at: &Location,
        path: &Path,
        got: &(dyn Fn(u64) + Sync),
    ) -> Result<u64, ClientError> {
        let request = self.s3("GetObject", http::Method::GET, at, "");
        let response = self.send(&request)?;
        let length = header_of(response.headers(), "content-length").and_then(|v| v.parse().ok());
        // An object may be of any size; nothing of it stays in memory.
        let mut body = response.into_body().into_with_config().limit(u64::MAX).reader();
        let mut aside = files::aside(path).map_err(ClientError::file("write", path))?;
        let mut buffer = vec![0; 256 << 10];
        let mut total = 0u64;
        loop {
            let n = body.read(&mut buffer).map_err(|e| ClientError::Transport {
                operation: request.operation.clone(),
                host: at.to_string(),
                reason: e.to_string(),
            })?;
            if n == 0 {
                break;
            }
            aside
                .as_file_mut()
                .write_all(&buffer[..n])
                .map_err(ClientError::file("write", path))?;
            total += n as u64;
            got(n as u64);
        }
        if length.is_some_and(|l: u64| l != total) {
            return Err(ClientError::Transport {
                operation: request.operation,
                host: at.to_string(),
                reason: format!("it ended after {total} bytes"),
            });
        }
        files::keep(aside, path, 0o644).map_err(ClientError::file("write", path))?;
        Ok(total)
    }

    /// Copies within S3.
    ///
    /// # Errors
    /// What S3 answers.
    pub fn copy_object(&self, from: &Location, to: &Location) -> Result<(), ClientError> {
        let mut request = self.s3("CopyObject", http::Method::PUT, to, "");
        let source = format!("/{}/{}", from.bucket, encode_key(&from.key));
        request.headers = vec![("x-amz-copy-source".into(), source)];
        let root = self.xml(&request)?;
        match root.name.as_str() {
            "Error" => Err(ClientError::Failed(format!(
                "`{from}` is not copied: {}",
                root.text("Message").unwrap_or("no reason given")
            ))),
            _ => Ok(()),
        }
    }
}

/// A key in a path: everything but the slashes is encoded.
fn encode_key(key: &str) -> String {
    key.split('/').map(encode).collect::<Vec<_>>().join("/")
}

fn listing(root: &Element) -> Result<Listing, String> {
    let encoded = root.text("EncodingType") == Some("url");
    let decode = |text: &str| -> Result<String, String> {
        if !encoded {
            return Ok(text.to_owned());
        }
        // AWS writes a space as `+` here.
        let text = text.replace('+', " ");
        let decoded = percent_encoding::percent_decode_str(&text).decode_utf8();
        decoded.map(|t| t.into_owned()).map_err(|_| "a key is not UTF-8".to_owned())
    };
    let mut found = Listing::default();
    for element in root.all("Contents") {
        found.objects.push(Object {
            key: decode(element.text("Key").ok_or("an object has no key")?)?,
            size: element.text("Size").and_then(|t| t.parse().ok()).unwrap_or(0),
            last_modified: element.text("LastModified").unwrap_or_default().to_owned(),
        });
    }
    for element in root.all("CommonPrefixes") {
        found.prefixes.push(decode(element.text("Prefix").unwrap_or_default())?);
    }
    if root.text("IsTruncated") == Some("true") {
        let token = root.text("NextContinuationToken").filter(|t| !t.is_empty());
        found.next = Some(token.ok_or("it goes on but does not say how")?.to_owned());
    }
    Ok(found)
}

fn hash_file(path: &Path) -> std::io::Result<(u64, String)> {
    let mut file = std::fs::File::open(path)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 256 << 10];
    let mut length = 0;
    loop {
        let n = file.read(&mut buffer)?;
        if n == 0 {
            return Ok((length, hex(&hasher.finalize())));
        }
        hasher.update(&buffer[..n]);
        length += n as u64;
    }
}

fn read_part(path: &Path, offset: u64, length: u64) -> std::io::Result<Vec<u8>> {
    use std::io::Seek;
    let mut file = std::fs::File::open(path)?;
    file.seek(std::io::SeekFrom::Start(offset))?;
    let mut bytes = Vec::new();
    file.take(length).read_to_end(&mut bytes)?;
    if bytes.len() as u64 != length {
        return Err(std::io::Error::other("it became shorter while it was sent"));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests;

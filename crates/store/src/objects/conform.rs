//! The conformance suite of [`super::ObjectStore`]: what every implementation must do. It panics at the
//! first difference, as tests do.

use bytes::Bytes;
use futures::StreamExt as _;

use super::error::ObjectError;
use super::types::{
    ChecksumAlgorithm, ChecksumType, Condition, CopyOptions, Expected, ListOptions, Metadata,
    NewUpload, PartOptions, PutOptions, body_of,
};
use super::{MIN_PART, ObjectStore, WantedPart};

/// Runs all checks on an empty store.
///
/// # Panics
/// At the first check that fails.
pub async fn run(store: &dyn ObjectStore) {
    buckets(store).await;
    put_and_read(store).await;
    digests(store).await;
    conditions(store).await;
    copies(store).await;
    deletes(store).await;
    listing(store).await;
    uploads(store).await;
    broken_bodies(store).await;
}

async fn read(store: &dyn ObjectStore, bucket: &str, key: &str) -> Result<Vec<u8>, ObjectError> {
    Ok(bytes(store.open(bucket, key).await?.all()).await)
}

async fn bytes(mut body: super::Body) -> Vec<u8> {
    let mut all = Vec::new();
    while let Some(piece) = body.next().await {
        match piece {
            Ok(piece) => all.extend_from_slice(&piece),
            Err(e) => check(false, &format!("reading: {e}")),
        }
    }
    all
}

#[track_caller]
#[expect(clippy::panic, reason = "a test suite: a check that fails ends the test")]
fn check(holds: bool, what: &str) {
    if !holds {
        panic!("{what}");
    }
}

#[track_caller]
#[expect(clippy::panic, reason = "a test suite: a check that fails ends the test")]
fn good<T>(outcome: Result<T, ObjectError>) -> T {
    match outcome {
        Ok(value) => value,
        Err(e) => panic!("{e}"),
    }
}

macro_rules! fails {
    ($outcome:expr, $pattern:pat) => {{
        let outcome = $outcome;
        check(
            matches!(outcome, Err($pattern)),
            &format!("wanted {}, got {outcome:?}", stringify!($pattern)),
        );
    }};
}

async fn put(store: &dyn ObjectStore, bucket: &str, key: &str, body: &[u8]) {
    let body = body_of(Bytes::copy_from_slice(body));
    good(store.put(bucket, key, body, PutOptions::default()).await);
}

async fn buckets(store: &dyn ObjectStore) {
    check(good(store.create_bucket("one", "us-east-1", 7).await), "a new bucket is made");
    check(!good(store.create_bucket("one", "eu-west-1", 8).await), "a second time it is not");
    let info = good(store.bucket("one").await);
    check((info.region.as_str(), info.created) == ("us-east-1", 7), "and stays as it was");
    let tags = vec![("k".to_owned(), "v".to_owned())];
    good(store.set_bucket_tags("one", tags.clone()).await);
    check(good(store.bucket("one").await).tags == tags, "tags are kept");
    fails!(store.bucket("none").await, ObjectError::NoSuchBucket(_));
    fails!(store.delete_bucket("none").await, ObjectError::NoSuchBucket(_));
    fails!(store.set_bucket_tags("none", Vec::new()).await, ObjectError::NoSuchBucket(_));
    put(store, "one", "k", b"x").await;
    fails!(store.delete_bucket("one").await, ObjectError::BucketNotEmpty(_));
    good(store.delete("one", "k", None).await);
    good(store.create_upload("one", "k", NewUpload::default()).await);
    good(store.delete_bucket("one").await);
    fails!(store.bucket("one").await, ObjectError::NoSuchBucket(_));
    let none = store.put("one", "k", body_of("x"), PutOptions::default()).await;
    fails!(none, ObjectError::NoSuchBucket(_));
    fails!(store.list("one", ListOptions::default()).await, ObjectError::NoSuchBucket(_));
    check(good(store.buckets().await).is_empty(), "nothing is left");
    // A bucket of the same name does not inherit the old one's uploads.
    good(store.create_bucket("b", "us-east-1", 1).await);
    let left = good(store.uploads("b", "", ("", ""), 10).await);
    check(left.0.is_empty(), "no uploads");
}

async fn put_and_read(store: &dyn ObjectStore) {
    let metadata = Metadata {
        content_type: Some("text/plain".to_owned()),
        expires: Some(5000),
        user: [("name".to_owned(), "wért".to_owned())].into(),
        ..Metadata::default()
    };
    let tags = vec![("z".to_owned(), "1".to_owned()), ("a".to_owned(), String::new())];
    let options = PutOptions {
        part: PartOptions { now: 12_345, ..PartOptions::default() },
        metadata: metadata.clone(),
        tags: tags.clone(),
        ..PutOptions::default()
    };
    let key = "héllo wörld/../+x\n\u{1F436}";
    let info = good(store.put("b", key, body_of("abc"), options).await);
    check(info.etag == "900150983cd24fb0d6963f7d28e17f72", "the ETag is the MD5");
    check(good(store.info("b", key).await) == info, "what put answers is what is stored");
    check(info.metadata == metadata && info.tags == tags, "metadata and tags are kept");
    check((info.size, info.modified) == (3, 12_345), "size and time");
    check(good(read(store, "b", key).await) == b"abc", "the bytes come back");
    fails!(store.info("b", "none").await, ObjectError::NoSuchKey(_));
    fails!(store.open("b", "none").await, ObjectError::NoSuchKey(_));
    fails!(store.open("none", "none").await, ObjectError::NoSuchBucket(_));
    good(store.set_tags("b", key, Vec::new()).await);
    check(good(store.info("b", key).await).tags.is_empty(), "tags can be cleared");
    fails!(store.set_tags("b", "none", Vec::new()).await, ObjectError::NoSuchKey(_));

    let large: Vec<u8> = (0..3_000_017u32).map(|n| (n % 251) as u8).collect();
    let pieces: Vec<_> = large.chunks(70_001).map(|c| Ok(Bytes::copy_from_slice(c))).collect();
    let body = Box::pin(futures::stream::iter(pieces));
    good(store.put("b", "large", body, PutOptions::default()).await);
    check(good(read(store, "b", "large").await) == large, "a large body comes back");
    for range in [0..1, 524_287..524_289, 1_000_000..3_000_017, 3_000_016..9_000_000, 5..5] {
        let open = good(store.open("b", "large").await);
        let end = usize::try_from(range.end).unwrap_or_default().min(large.len());
        let start = usize::try_from(range.start).unwrap_or_default();
        let wanted = large.get(start..end).unwrap_or_default();
        check(bytes(open.stream(range)).await == wanted, "a range");
    }
    put(store, "b", "empty", b"").await;
    check(good(read(store, "b", "empty").await).is_empty(), "an empty object");

    // What was opened stays readable.
    let open = good(store.open("b", "large").await);
    put(store, "b", "large", b"other").await;
    check(bytes(open.all()).await == large, "a replaced object is read to its end");
    let open = good(store.open("b", "large").await);
    good(store.delete("b", "large", None).await);
    check(bytes(open.all()).await == b"other", "a deleted object is read to its end");
    for key in [key, "empty"] {
        good(store.delete("b", key, None).await);
    }
}

async fn digests(store: &dyn ObjectStore) {
    // Check values of the catalogue of CRCs, and the test vectors of SHA, for `123456789`.
    for (algorithm, value) in [
        (ChecksumAlgorithm::Crc32, "y/Q5Jg=="),
        (ChecksumAlgorithm::Crc32c, "4waSgw=="),
        (ChecksumAlgorithm::Crc64Nvme, "rosUhgp5mIg="),
        (ChecksumAlgorithm::Sha1, "98O8HYCOBHMq32eZZczDTKeuNEE="),
        (ChecksumAlgorithm::Sha256, "FeKw08M4keuw8e9gnsQZQgwg4yDOlMZfvIwzEkSOsiU="),
    ] {
        let options = |given: &str| PutOptions {
            part: PartOptions {
                algorithm: Some(algorithm),
                expected: Some(Expected::Now(given.to_owned())),
                ..PartOptions::default()
            },
            ..PutOptions::default()
        };
        let info = good(store.put("b", "sum", body_of("123456789"), options(value)).await);
        let sum = info.checksum.as_ref();
        check(sum.is_some_and(|c| c.value == value), "the checksum is stored");
        let wrong = store.put("b", "sum", body_of("12345678X"), options(value)).await;
        fails!(wrong, ObjectError::ChecksumMismatch { .. });
    }
    let md5 = |first| {
        let mut md5 = [
            0x90, 0x01, 0x50, 0x98, 0x3c, 0xd2, 0x4f, 0xb0, 0xd6, 0x96, 0x3f, 0x7d, 0x28, 0xe1,
            0x7f, 0x72,
        ];
        md5[0] = first;
        let part = PartOptions { md5: Some(md5), ..PartOptions::default() };
        PutOptions { part, ..PutOptions::default() }
    };
    good(store.put("b", "sum", body_of("abc"), md5(0x90)).await);
    fails!(store.put("b", "sum", body_of("abc"), md5(0x91)).await, ObjectError::Md5Mismatch);
    let after = |value: Option<&str>| {
        let value = value.map(str::to_owned);
        let part = PartOptions {
            algorithm: Some(ChecksumAlgorithm::Crc32),
            expected: Some(Expected::AfterBody(Box::new(move || value))),
            ..PartOptions::default()
        };
        PutOptions { part, ..PutOptions::default() }
    };
    good(store.put("b", "sum", body_of("123456789"), after(Some("y/Q5Jg=="))).await);
    let missing = store.put("b", "sum", body_of("x"), after(None)).await;
    fails!(missing, ObjectError::ChecksumMissing(_));
    let part = PartOptions { limit: 3, ..PartOptions::default() };
    let limited = PutOptions { part, ..PutOptions::default() };
    fails!(store.put("b", "sum", body_of("abcd"), limited).await, ObjectError::TooLarge(3));
    check(good(read(store, "b", "sum").await) == b"123456789", "refused bodies change nothing");
    good(store.delete("b", "sum", None).await);
}

async fn conditions(store: &dyn ObjectStore) {
    let with = |if_match: Option<&str>, if_none_match| PutOptions {
        condition: Condition { if_match: if_match.map(str::to_owned), if_none_match },
        ..PutOptions::default()
    };
    fails!(
        store.put("b", "c", body_of("1"), with(Some("*"), false)).await,
        ObjectError::NoSuchKey(_)
    );
    let first = good(store.put("b", "c", body_of("1"), with(None, true)).await);
    let again = store.put("b", "c", body_of("2"), with(None, true)).await;
    fails!(again, ObjectError::PreconditionFailed(_));
    let other = store.put("b", "c", body_of("2"), with(Some("other"), false)).await;
    fails!(other, ObjectError::PreconditionFailed(_));
    check(good(read(store, "b", "c").await) == b"1", "nothing has changed");
    good(store.put("b", "c", body_of("2"), with(Some(&first.etag), false)).await);
    let stale = store.delete("b", "c", Some(first.etag)).await;
    fails!(stale, ObjectError::PreconditionFailed(_));
    check(good(store.delete("b", "c", Some("*".to_owned())).await), "deleted");
    fails!(store.delete("b", "c", Some("*".to_owned())).await, ObjectError::NoSuchKey(_));
}

async fn copies(store: &dyn ObjectStore) {
    put(store, "b", "from", b"bytes").await;
    let options = || CopyOptions { now: 99, ..CopyOptions::default() };
    let copy = good(store.copy(("b", "from"), ("b", "to"), options()).await);
    check(copy.modified == 99 && copy.key == "to", "a copy has its own key and time");
    let metadata = Metadata { content_type: Some("x/y".to_owned()), ..Metadata::default() };
    let replaced = CopyOptions { metadata: Some(metadata), ..options() };
    let same = good(store.copy(("b", "to"), ("b", "to"), replaced).await);
    check(same.metadata.content_type.as_deref() == Some("x/y"), "metadata is replaced");
    let sha = CopyOptions { algorithm: Some(ChecksumAlgorithm::Sha256), ..options() };
    let summed = good(store.copy(("b", "from"), ("b", "sha"), sha).await);
    let algorithm = summed.checksum.map(|c| c.algorithm);
    check(algorithm == Some(ChecksumAlgorithm::Sha256), "another checksum is computed");
    let stale = CopyOptions { source_etag: Some("x".to_owned()), ..options() };
    let stale = store.copy(("b", "from"), ("b", "to"), stale).await;
    fails!(stale, ObjectError::PreconditionFailed(_));
    good(store.delete("b", "from", None).await);
    for key in ["to", "sha"] {
        check(good(read(store, "b", key).await) == b"bytes", "a copy outlives its source");
    }
    fails!(store.copy(("b", "from"), ("b", "x"), options()).await, ObjectError::NoSuchKey(_));
    fails!(store.copy(("b", "to"), ("no", "x"), options()).await, ObjectError::NoSuchBucket(_));
    good(store.delete_all("b", vec!["to".to_owned(), "sha".to_owned()]).await);
}

async fn deletes(store: &dyn ObjectStore) {
    for key in ["1", "2", "3"] {
        put(store, "b", key, key.as_bytes()).await;
    }
    check(good(store.delete("b", "1", None).await), "deleted");
    check(!good(store.delete("b", "1", None).await), "deleting again does nothing");
    fails!(store.delete("none", "1", None).await, ObjectError::NoSuchBucket(_));
    good(store.delete_all("b", vec!["2".to_owned(), "none".to_owned()]).await);
    check(keys(store, ListOptions { max: 9, ..ListOptions::default() }).await == ["3"], "one left");
    good(store.delete("b", "3", None).await);
}

/// All pages: keys and prefixes, the latter with a `*`.
async fn keys(store: &dyn ObjectStore, mut options: ListOptions) -> Vec<String> {
    let mut all = Vec::new();
    loop {
        let page = good(store.list("b", options.clone()).await);
        check(page.objects.len() + page.prefixes.len() <= options.max, "pages keep to the limit");
        all.extend(page.objects.into_iter().map(|o| o.key));
        all.extend(page.prefixes.into_iter().map(|p| format!("{p}*")));
        match page.next {
            Some(next) => options.after = Some(next),
            None => return all,
        }
    }
}

async fn listing(store: &dyn ObjectStore) {
    // In the order of UTF-8, which is not that of UTF-16.
    let sorted =
        ["a", "a/", "a/b", "a/b/c", "a0", "b//c", "c::d", "\u{e9}", "\u{fffd}", "\u{1F436}"];
    for key in sorted {
        put(store, "b", key, b"x").await;
    }
    let of = |prefix: &str, delimiter: &str, after: &str, max| ListOptions {
        prefix: prefix.to_owned(),
        delimiter: Some(delimiter.to_owned()).filter(|d| !d.is_empty()),
        after: Some(after.to_owned()).filter(|a| !a.is_empty()),
        max,
    };
    for max in [1, 2, 3, 1000] {
        check(keys(store, of("", "", "", max)).await == sorted, "all, in order");
        let mut top = keys(store, of("", "/", "", max)).await;
        top.sort();
        let mut wanted =
            ["a", "a/*", "a0", "b/*", "c::d", "\u{e9}", "\u{fffd}", "\u{1F436}"].map(str::to_owned);
        wanted.sort();
        check(top == wanted, "the top level");
        check(keys(store, of("a/", "/", "", max)).await == ["a/", "a/b", "a/b/*"], "a folder");
        check(keys(store, of("b/", "/", "", max)).await == ["b//*"], "an empty component");
        check(keys(store, of("c", "::", "", max)).await == ["c::*"], "a long delimiter");
        check(keys(store, of("a", "", "a/b", max)).await == ["a/b/c", "a0"], "after a key");
        check(keys(store, of("", "/", "b/", max)).await.len() == 4, "after a common prefix");
        check(keys(store, of("zz", "", "", max)).await.is_empty(), "no such prefix");
        check(keys(store, of("a", "", "z", max)).await.is_empty(), "after all of a prefix");
    }
    let inside = keys(store, of("a/", "/", "a/b/b", 9)).await;
    check(inside == ["a/b/*"], "a start inside a common prefix still lists what follows there");
    check(good(store.list("b", of("", "", "", 0)).await).next.is_none(), "none asked, none given");
    let all = sorted.map(str::to_owned).to_vec();
    good(store.delete_all("b", all).await);
}

async fn uploads(store: &dyn ObjectStore) {
    let piece = |fill: u8, size: u64| vec![fill; usize::try_from(size).unwrap_or_default()];
    let metadata = Metadata { content_type: Some("m/p".to_owned()), ..Metadata::default() };
    let new = NewUpload { now: 5, metadata, ..NewUpload::default() };
    let id = good(store.create_upload("b", "mp", new.clone()).await);
    let other = good(store.create_upload("b", "mp", NewUpload { now: 6, ..new.clone() }).await);
    let (found, more) = good(store.uploads("b", "m", ("", ""), 1).await);
    check(found.first().is_some_and(|u| u.id == id) && more, "the older upload comes first");
    let (found, more) = good(store.uploads("b", "m", ("mp", &id), 1).await);
    check(found.first().is_some_and(|u| u.id == other) && !more, "then the other");
    good(store.abort_upload("b", "mp", &other).await);
    fails!(store.abort_upload("b", "mp", &other).await, ObjectError::NoSuchUpload(_));
    fails!(store.upload("b", "other", &id).await, ObjectError::NoSuchUpload(_));

    let at = ("b", "mp", id.as_str());
    let mut wanted = Vec::new();
    for (number, fill, size) in [(7, b'c', 10), (2, b'a', MIN_PART), (3, b'b', MIN_PART)] {
        let body = body_of(piece(fill, size));
        let part = good(store.put_part(at, number, body, PartOptions::default()).await);
        wanted.push(WantedPart { number, etag: part.etag, checksum: part.checksum });
    }
    // A part that is sent again replaces the first, a part that is not named is dropped.
    good(store.put_part(at, 7, body_of("replaced"), PartOptions::default()).await);
    let last = good(store.put_part(at, 7, body_of("last"), PartOptions::default()).await);
    good(store.put_part(at, 9, body_of("unnamed"), PartOptions::default()).await);
    let (parts, more) = good(store.parts(at, 2, 2).await);
    let numbers: Vec<u32> = parts.iter().map(|p| p.number).collect();
    check(numbers == [3, 7] && more, "parts are listed by number");

    let complete = |parts: &[WantedPart], condition: Condition| {
        store.complete_upload(at, parts.to_vec(), None, condition, 77)
    };
    let none = Condition::default;
    fails!(complete(&wanted, none()).await, ObjectError::InvalidPartOrder);
    wanted.sort_by_key(|w| w.number);
    fails!(complete(&wanted, none()).await, ObjectError::InvalidPart(7));
    if let Some(part) = wanted.last_mut() {
        part.etag.clone_from(&last.etag);
        part.checksum = None;
    }
    fails!(complete(&[], none()).await, ObjectError::InvalidPart(_));
    let mut twice = wanted.clone();
    twice.insert(0, wanted[0].clone());
    fails!(complete(&twice, none()).await, ObjectError::InvalidPartOrder);
    let small = |number, etag: &str| WantedPart { number, etag: etag.to_owned(), checksum: None };
    let nine = good(store.parts(at, 8, 1).await).0.remove(0);
    let too_small = [small(7, &last.etag), small(9, &nine.etag)];
    fails!(complete(&too_small, none()).await, ObjectError::PartTooSmall { number: 7, .. });
    put(store, "b", "mp", b"there").await;
    let absent = Condition { if_none_match: true, ..Condition::default() };
    fails!(complete(&wanted, absent).await, ObjectError::PreconditionFailed(_));
    let made = good(complete(&wanted, none()).await);
    check(made.etag.ends_with("-3") && made.size == 2 * MIN_PART + 4, "ETag and size");
    check(made.metadata == new.metadata && made.modified == 77, "metadata and time");
    check(made.parts.len() == 3, "the parts are remembered");
    check(good(store.info("b", "mp").await) == made, "what is answered is what is stored");
    fails!(store.upload("b", "mp", &id).await, ObjectError::NoSuchUpload(_));
    let all = good(read(store, "b", "mp").await);
    let whole = [piece(b'a', MIN_PART), piece(b'b', MIN_PART), b"last".to_vec()].concat();
    check(all == whole, "the parts are joined");
    let open = good(store.open("b", "mp").await);
    let across = bytes(open.stream(MIN_PART - 2..MIN_PART + 2)).await;
    check(across == b"aabb", "a range across parts");

    // A linear checksum of the parts is that of the whole, and a copy of it is one piece.
    let sum = made.checksum.as_ref();
    check(sum.is_some_and(|c| c.over == ChecksumType::FullObject), "over all bytes");
    let open = good(store.open("b", "mp").await);
    let copy = good(store.copy(("b", "mp"), ("b", "copy"), CopyOptions::default()).await);
    check(copy.checksum == made.checksum, "the same checksum when computed in one go");
    check(copy.parts.is_empty() && !copy.etag.contains('-'), "a copy has no parts");
    good(store.delete("b", "mp", None).await);
    check(bytes(open.all()).await == whole, "a deleted multipart object is read to its end");
    good(store.delete("b", "copy", None).await);

    for (algorithm, over, suffix) in [
        (ChecksumAlgorithm::Crc32, None, "-1"),
        (ChecksumAlgorithm::Crc32, Some(ChecksumType::FullObject), ""),
        (ChecksumAlgorithm::Sha256, None, "-1"),
        (ChecksumAlgorithm::Crc64Nvme, None, ""),
    ] {
        let new = NewUpload { algorithm: Some(algorithm), over, ..NewUpload::default() };
        let id = good(store.create_upload("b", "s", new).await);
        let at = ("b", "s", id.as_str());
        let part = good(store.put_part(at, 1, body_of("123456789"), PartOptions::default()).await);
        let wanted = vec![WantedPart { number: 1, etag: part.etag, checksum: part.checksum }];
        let wrong = Some("AAAA".to_owned());
        let refused = store.complete_upload(at, wanted.clone(), wrong, none(), 1).await;
        fails!(refused, ObjectError::ChecksumMismatch { .. });
        let made = good(store.complete_upload(at, wanted, None, none(), 1).await);
        let value = made.checksum.map(|c| c.value).unwrap_or_default();
        check(value.ends_with(suffix) && (value.contains('-') != suffix.is_empty()), "its kind");
    }
    good(store.delete("b", "s", None).await);
}

async fn broken_bodies(store: &dyn ObjectStore) {
    put(store, "b", "k", b"there").await;
    let broken = || {
        let pieces: Vec<Result<Bytes, super::BodyError>> =
            vec![Ok(Bytes::from(vec![1; 700_000])), Err("the client has gone".into())];
        Box::pin(futures::stream::iter(pieces))
    };
    let failed = store.put("b", "k", broken(), PutOptions::default()).await;
    fails!(failed, ObjectError::Body(_));
    check(good(read(store, "b", "k").await) == b"there", "a broken body changes nothing");
    let id = good(store.create_upload("b", "k", NewUpload::default()).await);
    let at = ("b", "k", id.as_str());
    let failed = store.put_part(at, 1, broken(), PartOptions::default()).await;
    fails!(failed, ObjectError::Body(_));
    check(good(store.parts(at, 0, 9).await).0.is_empty(), "nor does a broken part");
    good(store.abort_upload("b", "k", &id).await);
    good(store.delete("b", "k", None).await);
}

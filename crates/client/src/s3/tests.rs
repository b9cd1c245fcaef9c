use super::*;
use crate::testing::{Reply, Server, ok};

fn at(text: &str) -> Location {
    Location::parse(text).unwrap()
}

#[test]
fn locations_are_checked() {
    assert_eq!(at("s3://dogs/a/b c").key, "a/b c");
    assert_eq!(at("s3://dogs").to_string(), "s3://dogs/");
    for bad in ["dogs", "s3://", "s3://ab", "s3://Dogs/x", "s3://a@evil.example/x", "s3://-ab/x"] {
        assert!(Location::parse(bad).is_err(), "{bad}");
    }
}

#[test]
fn keys_are_encoded_but_for_slashes() {
    assert_eq!(encode_key("a b/ü+&?#/..//x~"), "a%20b/%C3%BC%2B%26%3F%23/..//x~");
    let server = Server::replies(vec![ok("")]);
    server.client().put_bytes(&at("s3://dogs/a b+ü/../x?y"), b"1".to_vec()).unwrap();
    assert_eq!(server.seen()[0].line, "PUT /dogs/a%20b%2B%C3%BC/../x%3Fy HTTP/1.1");
}

#[test]
fn lists_are_decoded_and_paged() {
    let first = "<ListBucketResult><EncodingType>url</EncodingType><IsTruncated>true</IsTruncated>\
        <NextContinuationToken>t=1</NextContinuationToken><Contents><Key>a+b%2Bc%C3%BC</Key><Size>5</Size>\
        <LastModified>2026-11-21T00:00:00.000Z</LastModified></Contents></ListBucketResult>";
    let second = "<ListBucketResult><IsTruncated>false</IsTruncated><Contents><Key>x+%41</Key>\
        <Size>6</Size></Contents><CommonPrefixes><Prefix>p/</Prefix></CommonPrefixes></ListBucketResult>";
    let server = Server::replies(vec![ok(first), ok(second)]);
    let all = server.client().list(&at("s3://dogs/a b"), Some("/")).unwrap();
    let keys: Vec<&str> = all.objects.iter().map(|o| o.key.as_str()).collect();
    assert_eq!(keys, ["a b+cü", "x+%41"]);
    assert_eq!(all.prefixes, ["p/"]);
    assert_eq!(
        server.seen()[1].line,
        "GET /dogs?list-type=2&encoding-type=url&prefix=a%20b&delimiter=%2F&continuation-token=t%3D1 HTTP/1.1"
    );
}

#[test]
fn a_file_goes_up_with_its_hash_and_comes_back_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("f");
    std::fs::write(&path, b"hello").unwrap();
    let server = Server::replies(vec![ok(""), ok("hello")]);
    let client = server.client();
    let total = std::sync::atomic::AtomicU64::new(0);
    let count = |n| {
        total.fetch_add(n, std::sync::atomic::Ordering::Relaxed);
    };
    client.put_file(&at("s3://dogs/f"), &path, &count).unwrap();
    let seen = server.seen();
    assert_eq!(seen[0].body, b"hello");
    let sum = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
    assert_eq!(seen[0].header("x-amz-content-sha256"), Some(sum));
    assert_eq!(seen[0].header("transfer-encoding"), None);

    let back = folder.path().join("g");
    client.get_file(&at("s3://dogs/f"), &back, &count).unwrap();
    assert_eq!(std::fs::read(&back).unwrap(), b"hello");
    assert_eq!(total.into_inner(), 10);
}

#[test]
fn half_an_object_is_not_kept() {
    let folder = tempfile::tempdir().unwrap();
    let half = Reply(200, vec!["content-length: 9".into()], b"hell".to_vec());
    let server = Server::replies(vec![half]);
    let path = folder.path().join("g");
    server.client().get_file(&at("s3://dogs/f"), &path, &|_| {}).unwrap_err();
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn large_files_go_in_parts_and_failures_abort() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("f");
    let length = MULTIPART_FROM + 5;
    std::fs::File::create(&path).unwrap().set_len(length).unwrap();
    for broken in [false, true] {
        let server = Server::start(move |seen, _| {
            if seen.line.contains("?uploads=") {
                ok("<R><UploadId>u/1</UploadId></R>")
            } else if broken && seen.line.contains("partNumber=5") {
                Reply(403, vec![], b"<Error><Code>AccessDenied</Code></Error>".to_vec())
            } else {
                Reply(200, vec![format!("etag: \"{}\"", seen.body.len())], Vec::new())
            }
        });
        let outcome = server.client().put_file(&at("s3://dogs/f"), &path, &|_| {});
        let seen = server.seen();
        let last = seen.last().unwrap();
        if broken {
            assert_eq!(outcome.unwrap_err().service_code(), Some("AccessDenied"));
            assert_eq!(last.line, "DELETE /dogs/f?uploadId=u%2F1 HTTP/1.1");
        } else {
            assert_eq!(outcome.unwrap(), length);
            assert_eq!(seen.len(), 1 + 5 + 1);
            let body = String::from_utf8(last.body.clone()).unwrap();
            assert!(
                body.contains("<PartNumber>5</PartNumber><ETag>&quot;5&quot;</ETag>"),
                "{body}"
            );
        }
    }
}

#[test]
fn many_objects_are_removed_in_one_call() {
    let server = Server::replies(vec![ok("<DeleteResult/>")]);
    let keys = ["a&b".to_owned(), "c".to_owned()];
    server.client().delete_objects("dogs", &keys).unwrap();
    let seen = server.seen();
    assert!(String::from_utf8_lossy(&seen[0].body).contains("<Key>a&amp;b</Key>"));
    assert!(seen[0].header("x-amz-checksum-sha256").is_some());
    let refused =
        "<DeleteResult><Error><Key>c</Key><Code>AccessDenied</Code></Error></DeleteResult>";
    let server = Server::replies(vec![ok(refused)]);
    assert!(server.client().delete_objects("dogs", &keys).is_err());
}

#[test]
fn heads_without_a_body_tell_what_is_there() {
    let server = Server::replies(vec![Reply(404, vec![], vec![])]);
    assert_eq!(server.client().head_object(&at("s3://dogs/x")).unwrap(), None);
}

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::*;

#[test]
fn gzip_is_undone_within_the_limit() {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(&[b'x'; 5000]).unwrap();
    let packed = Bytes::from(encoder.finish().unwrap());
    let plain = HeaderMap::new();
    let gzip: HeaderMap =
        [(http::header::CONTENT_ENCODING, "gzip".parse().unwrap())].into_iter().collect();

    assert_eq!(inflate(&plain, packed.clone(), 1).unwrap(), packed);
    assert_eq!(inflate(&gzip, packed.clone(), 5000).unwrap(), vec![b'x'; 5000]);
    assert_eq!(inflate(&gzip, packed.clone(), 4999).unwrap_err().status, 413);
    let cut = packed.slice(..packed.len() / 2);
    assert_eq!(inflate(&gzip, cut, 5000).unwrap_err().code, "SerializationException");
    assert!(inflate(&gzip, Bytes::from_static(b"{}"), 5000).is_err());
}

//! Every fixture, hostile files, and damage of every kind. Pixels are compared after preprocessing, in
//! preprocess/tests.rs.

use super::*;
use proptest::prelude::*;
use serde_json::Value;

use crate::testing::{fixture, fixture_json};

fn files() -> Vec<Value> {
    fixture_json("images/manifest.json")["files"].as_array().unwrap().clone()
}

fn bytes_of(name: &str) -> Vec<u8> {
    std::fs::read(fixture("images").join(name)).unwrap()
}

fn decoded(name: &str) -> Result<Photo, DecodeError> {
    decode(&bytes_of(name), &DecodeLimits::default())
}

#[test]
fn every_fixture_is_decoded_upright_or_refused_in_the_right_words() {
    let mut seen = [0; 3];
    for file in files() {
        let name = file["file"].as_str().unwrap();
        let found = decoded(name);
        match file["outcome"].as_str().unwrap() {
            outcome @ ("decoded" | "truncated") => {
                let photo = found.unwrap_or_else(|e| panic!("{name}: {e}"));
                let size = serde_json::json!([photo.width, photo.height]);
                assert_eq!(size, file["size"], "{name}");
                assert_eq!(photo.rgb.len(), 3 * photo.width as usize * photo.height as usize);
                assert_eq!(photo.truncated, outcome == "truncated", "{name}");
                seen[usize::from(photo.truncated)] += 1;
            }
            _ => {
                let error = found.expect_err(name);
                let right = match file["error"].as_str().unwrap() {
                    "too_large" => matches!(
                        error,
                        DecodeError::TooManyPixels { width: 60_000, height: 60_000, .. }
                    ),
                    "empty" => error == DecodeError::Empty,
                    "not_an_image" => error == DecodeError::UnknownFormat,
                    other => panic!("{name}: the manifest says {other}"),
                };
                assert!(right, "{name}: {error}");
                seen[2] += 1;
            }
        }
    }
    assert_eq!(seen, [32, 1, 3]);
}

#[test]
fn limits_are_checked_before_decoding() {
    let bytes = bytes_of("small.jpg");
    let limits = |max_pixels, max_bytes| DecodeLimits { max_pixels, max_bytes };
    let size = bytes.len() as u64;
    assert!(decode(&bytes, &limits(1500, size)).is_ok());
    let error = decode(&bytes, &limits(1499, size)).unwrap_err();
    assert_eq!(error, DecodeError::TooManyPixels { width: 50, height: 30, limit: 1499 });
    assert_eq!(error.code(), ErrorCode::PayloadTooLarge);
    let error = decode(&bytes, &limits(1500, size - 1)).unwrap_err();
    assert_eq!(error, DecodeError::TooManyBytes { bytes: size, limit: size - 1 });
    for name in
        ["png_rgb.png", "gif_frames.gif", "webp_lossy.webp", "webp_lossless.webp", "bmp_rgb.bmp"]
    {
        let error = decode(&bytes_of(name), &limits(100, u64::MAX)).unwrap_err();
        assert!(matches!(error, DecodeError::TooManyPixels { .. }), "{name}: {error}");
    }
}

#[test]
fn a_file_cut_anywhere_is_flagged_or_refused() {
    let bytes = bytes_of("jpeg_420.jpg");
    for share in 1..20 {
        let part = &bytes[..bytes.len() * share / 20];
        if let Ok(photo) = decode(part, &DecodeLimits::default()) {
            assert!(photo.truncated, "{share}/20 of a photo was taken for a whole one");
            assert_eq!((photo.width, photo.height), (500, 375));
        }
    }
    // Cameras pad files; that is no truncation.
    let padded = [bytes, vec![0; 1000]].concat();
    assert!(!decode(&padded, &DecodeLimits::default()).unwrap().truncated);
}

#[test]
fn a_decoder_that_panics_is_a_broken_photo() {
    let error = guarded("PNG", || panic!("a decoder's bug")).unwrap_err();
    assert!(matches!(error, DecodeError::Broken { format: "PNG", .. }), "{error}");
}

#[test]
fn types_and_thumbnails() {
    for (name, wanted) in [
        ("small.jpg", Some("image/jpeg")),
        ("png_rgb.png", Some("image/png")),
        ("gif_frames.gif", Some("image/gif")),
        ("webp_alpha.webp", Some("image/webp")),
        ("bmp_rgb.bmp", Some("image/bmp")),
        ("text.jpg", None),
        ("zero-byte.jpg", None),
    ] {
        assert_eq!(mime_type(&bytes_of(name)), wanted, "{name}");
    }
    let photo = decoded("png_rgb.png").unwrap();
    let jpeg = encode_jpeg(&photo.rgb, photo.width, photo.height, 90).unwrap();
    let back = decode(&jpeg, &DecodeLimits::default()).unwrap();
    assert_eq!((back.width, back.height), (photo.width, photo.height));
    let far = photo.rgb.iter().zip(&back.rgb).map(|(a, b)| f64::from(a.abs_diff(*b))).sum::<f64>();
    assert!(far / (photo.rgb.len() as f64) < 8.0, "the thumbnail shows something else");
    assert!(encode_jpeg(&photo.rgb[1..], photo.width, photo.height, 90).is_err());
}

/// Whatever comes out is a photo of its own size within the limits; nothing panics, not even inside the
/// guard, which a decoder crate's bug would reach: that would be worth knowing.
fn survives(bytes: &[u8]) {
    let limits = DecodeLimits { max_pixels: 1 << 20, max_bytes: 1 << 20 };
    match decode(bytes, &limits) {
        Ok(photo) => {
            assert!(photo.width > 0 && photo.height > 0);
            assert!(u64::from(photo.width) * u64::from(photo.height) <= limits.max_pixels);
            assert_eq!(photo.rgb.len(), 3 * photo.width as usize * photo.height as usize);
        }
        Err(DecodeError::Broken { format, reason }) if reason.contains("unexpectedly") => {
            eprintln!("the {format} decoder panicked; the guard held");
        }
        Err(_) => {}
    }
}

/// The small fixtures of every format, at which damage is cheap to try.
const SMALL: [&str; 14] = [
    "small.jpg",
    "exif_6.jpg",
    "jpeg_gray.jpg",
    "jpeg_cmyk.jpg",
    "jpeg_progressive.jpg",
    "png_palette_transparent.png",
    "png_1bit.png",
    "png_gray16.png",
    "png_interlaced.png",
    "gif_frames.gif",
    "webp_lossy.webp",
    "webp_lossless.webp",
    "webp_alpha.webp",
    "bmp_rgb.bmp",
];

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(400) })]

    #[test]
    fn random_bytes_never_panic(
        start in prop::sample::select(vec![
            &b""[..], b"\xFF\xD8\xFF\xE0", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"RIFF\0\0\0\0WEBPVP8 ", b"BM",
        ]),
        rest in prop::collection::vec(any::<u8>(), 0..600),
    ) {
        survives(&[start, &rest].concat());
    }

    #[test]
    fn damaged_photos_never_panic(
        name in prop::sample::select(SMALL.to_vec()),
        flips in prop::collection::vec((any::<prop::sample::Index>(), 0u8..8), 0..8),
        early in prop::collection::vec((0usize..200, any::<u8>()), 0..3),
        keep in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let mut bytes = bytes_of(name);
        for (place, bit) in flips {
            let place = place.index(bytes.len());
            bytes[place] ^= 1 << bit;
        }
        for (place, value) in early {
            bytes[place] = value;
        }
        bytes.truncate(keep.map_or(bytes.len(), |k| k.index(bytes.len())));
        survives(&bytes);
    }

    #[test]
    fn orientations_lose_no_pixel(width in 1u32..9, height in 1u32..9, exif in 1u8..9) {
        let rgb: Vec<u8> = (0..3 * width * height).map(|v| v as u8).collect();
        let photo = Photo { rgb: rgb.clone(), width, height, truncated: false };
        let turned = upright(photo, Orientation::from_exif(exif).unwrap());
        let wanted = if exif >= 5 { (height, width) } else { (width, height) };
        prop_assert_eq!((turned.width, turned.height), wanted);
        let mut sorted = [rgb, turned.rgb];
        sorted.iter_mut().for_each(|v| v.sort_unstable());
        prop_assert_eq!(&sorted[0], &sorted[1]);
    }
}

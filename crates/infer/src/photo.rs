//! Decoding of photos that strangers made: any of the formats that Kennel reads, into upright 8-bit
//! RGB, within limits that are checked before memory is taken.
//!
//! The conventions are those of Pillow as torchvision uses it (`Image.open(path).convert("RGB")`), plus
//! EXIF orientation: alpha is dropped, palettes are expanded, 16-bit samples keep their high byte,
//! CMYK is converted without a profile, and a GIF or an animated WebP gives its first frame.

use std::io::Cursor;
use std::panic::{AssertUnwindSafe, catch_unwind};

use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader};
use kennel_base::{ErrorCode, ErrorCoded};
use zune_core::bytestream::ZCursor;
use zune_core::colorspace::ColorSpace;
use zune_core::options::DecoderOptions;
use zune_jpeg::JpegDecoder;

/// What a photo may cost at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DecodeLimits {
    /// Largest width × height, in pixels. The default, 89,478,485, is Pillow's own bomb threshold.
    pub max_pixels: u64,
    /// Largest encoded size, in bytes.
    pub max_bytes: u64,
}

impl Default for DecodeLimits {
    fn default() -> Self {
        DecodeLimits { max_pixels: 89_478_485, max_bytes: 64 << 20 }
    }
}

/// An upright photo: 8-bit RGB, interleaved, row by row, `3 × width × height` bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct Photo {
    /// Pixels, `[height][width][3]`.
    pub rgb: Vec<u8>,
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// The file ended before the picture did; what is missing is filled by the decoder.
    pub truncated: bool,
}

impl std::fmt::Debug for Photo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Photo")
            .field("width", &self.width)
            .field("height", &self.height)
            .field("truncated", &self.truncated)
            .finish_non_exhaustive()
    }
}

/// Why bytes did not become a photo.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Nothing to decode.
    #[error("the file is empty\nhint: it may be an interrupted download; fetch it again")]
    Empty,
    /// Larger than [`DecodeLimits::max_bytes`].
    #[error(
        "the file has {bytes} bytes, more than the limit of {limit}\nhint: resize the photo first"
    )]
    TooManyBytes {
        /// Size found.
        bytes: u64,
        /// Size allowed.
        limit: u64,
    },
    /// More pixels than [`DecodeLimits::max_pixels`]; a decompression bomb looks like this.
    #[error(
        "the header announces {width}×{height} pixels, more than the limit of {limit}\nhint: resize the photo first; files like this can be decompression bombs"
    )]
    TooManyPixels {
        /// Width in the header.
        width: u64,
        /// Height in the header.
        height: u64,
        /// Pixels allowed.
        limit: u64,
    },
    /// The bytes are of no format that Kennel reads.
    #[error(
        "not a JPEG, PNG, GIF, WebP or BMP image\nhint: convert it to JPEG or PNG, or remove it"
    )]
    UnknownFormat,
    /// The format was recognised, the content is broken.
    #[error(
        "broken {format} image: {reason}\nhint: open and save it again with an image editor, or remove it"
    )]
    Broken {
        /// Format found.
        format: &'static str,
        /// The decoder's words.
        reason: String,
    },
}

impl ErrorCoded for DecodeError {
    fn code(&self) -> ErrorCode {
        match self {
            DecodeError::TooManyBytes { .. } | DecodeError::TooManyPixels { .. } => {
                ErrorCode::PayloadTooLarge
            }
            DecodeError::UnknownFormat => ErrorCode::UnsupportedMediaType,
            DecodeError::Empty | DecodeError::Broken { .. } => ErrorCode::InvalidInput,
        }
    }
}

/// Decodes a photo of any supported format into upright RGB.
///
/// # Errors
/// [`DecodeError`] when the bytes are no readable photo or would cost more than `limits` allow.
pub fn decode(bytes: &[u8], limits: &DecodeLimits) -> Result<Photo, DecodeError> {
    if bytes.is_empty() {
        return Err(DecodeError::Empty);
    }
    if bytes.len() as u64 > limits.max_bytes {
        return Err(DecodeError::TooManyBytes {
            bytes: bytes.len() as u64,
            limit: limits.max_bytes,
        });
    }
    let format = image::guess_format(bytes).map_err(|_| DecodeError::UnknownFormat)?;
    let name = match format {
        ImageFormat::Jpeg => "JPEG",
        ImageFormat::Png => "PNG",
        ImageFormat::Gif => "GIF",
        ImageFormat::WebP => "WebP",
        ImageFormat::Bmp => "BMP",
        _ => return Err(DecodeError::UnknownFormat),
    };
    guarded(name, || match format {
        ImageFormat::Jpeg => decode_jpeg(bytes, limits),
        _ => decode_general(bytes, format, name, limits),
    })
}

/// Runs a decoder. A stranger's file must not take a worker down with a decoder's bug, so a panic
/// becomes an error. Nothing outlives the closure, so no half-changed state is seen afterwards.
fn guarded(
    format: &'static str,
    decoder: impl FnOnce() -> Result<Photo, DecodeError>,
) -> Result<Photo, DecodeError> {
    catch_unwind(AssertUnwindSafe(decoder)).unwrap_or_else(|_| {
        Err(DecodeError::Broken { format, reason: "the decoder stopped unexpectedly".into() })
    })
}

fn check_pixels(width: u64, height: u64, limits: &DecodeLimits) -> Result<(), DecodeError> {
    if width.saturating_mul(height) > limits.max_pixels {
        return Err(DecodeError::TooManyPixels { width, height, limit: limits.max_pixels });
    }
    Ok(())
}

/// JPEG goes to zune-jpeg directly: the `image` crate's adapter parses the headers up to three times.
fn decode_jpeg(bytes: &[u8], limits: &DecodeLimits) -> Result<Photo, DecodeError> {
    let broken =
        |reason: String| DecodeError::Broken { format: "JPEG", reason: reason.to_lowercase() };
    let options = DecoderOptions::default()
        .set_strict_mode(false)
        .set_max_width(usize::from(u16::MAX))
        .set_max_height(usize::from(u16::MAX))
        .jpeg_set_out_colorspace(ColorSpace::RGB);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), options);
    decoder.decode_headers().map_err(|e| broken(e.to_string()))?;
    let (width, height) =
        decoder.dimensions().ok_or_else(|| broken("no frame header found".into()))?;
    check_pixels(width as u64, height as u64, limits)?;
    if width == 0 || height == 0 {
        return Err(broken("the picture has no pixels".into()));
    }
    let orientation = decoder
        .exif()
        .and_then(|chunk| Orientation::from_exif_chunk(chunk))
        .unwrap_or(Orientation::NoTransforms);
    let truncated = !has_end_marker(bytes);
    let exact = if truncated || width * height > SMALL_PIXELS { None } else { decode_small(bytes) };
    let rgb = match exact {
        Some(rgb) => rgb,
        None => decoder.decode().map_err(|e| broken(e.to_string()))?,
    };
    if rgb.len() != width * height * 3 {
        return Err(broken("the decoder returned an unexpected number of bytes".into()));
    }
    let photo = Photo { rgb, width: width as u32, height: height as u32, truncated };
    Ok(upright(photo, orientation))
}

/// Up to here (256 × 256) a JPEG is small.
const SMALL_PIXELS: usize = 1 << 16;

/// zune-jpeg rounds up twice when it enlarges chroma, and repeats it wrongly in the last rows: 0.4 of 255
/// on average against libjpeg-turbo. Shrinking a photo to network size evens that out, but a photo this
/// small is hardly shrunk, so it goes to the decoder that is four times nearer and, at this size, as good
/// as free. `None` leaves it to zune-jpeg: other colours than RGB, or a file only that one reads.
fn decode_small(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut decoder = jpeg_decoder::Decoder::new(bytes);
    decoder.read_info().ok()?;
    let is_rgb = decoder.info()?.pixel_format == jpeg_decoder::PixelFormat::RGB24;
    if !is_rgb {
        return None;
    }
    decoder.decode().ok()
}

/// Whether a JPEG has its end-of-image marker. Cameras pad files after it, so the last 64 KiB are
/// searched; a truncated file of this size that happens to hold the two bytes in entropy-coded data
/// cannot exist, because JPEG stuffs a zero after every 0xFF there.
fn has_end_marker(bytes: &[u8]) -> bool {
    let tail = &bytes[bytes.len().saturating_sub(64 << 10)..];
    tail.windows(2).rev().any(|pair| pair == [0xFF, 0xD9])
}

fn decode_general(
    bytes: &[u8],
    format: ImageFormat,
    name: &'static str,
    limits: &DecodeLimits,
) -> Result<Photo, DecodeError> {
    let broken = |reason: String| DecodeError::Broken { format: name, reason };
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    let mut allocation = image::Limits::default();
    // Twice eight bytes a pixel: the widest sample format and one working copy.
    allocation.max_alloc = Some(limits.max_pixels.saturating_mul(16));
    reader.limits(allocation);
    let mut decoder = reader.into_decoder().map_err(|e| broken(e.to_string()))?;
    let (width, height) = decoder.dimensions();
    check_pixels(u64::from(width), u64::from(height), limits)?;
    if width == 0 || height == 0 {
        return Err(broken("the picture has no pixels".into()));
    }
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let picture = DynamicImage::from_decoder(decoder).map_err(|e| broken(e.to_string()))?;
    let rgb = match picture {
        // Pillow and libpng keep the high byte of 16-bit samples; `to_rgb8` would round.
        DynamicImage::ImageLuma16(p) => {
            p.into_raw().into_iter().flat_map(|v| [(v >> 8) as u8; 3]).collect()
        }
        DynamicImage::ImageLumaA16(p) => {
            p.into_raw().chunks_exact(2).flat_map(|v| [(v[0] >> 8) as u8; 3]).collect()
        }
        DynamicImage::ImageRgb16(p) => p.into_raw().into_iter().map(|v| (v >> 8) as u8).collect(),
        DynamicImage::ImageRgba16(p) => p
            .into_raw()
            .chunks_exact(4)
            .flat_map(|v| [(v[0] >> 8) as u8, (v[1] >> 8) as u8, (v[2] >> 8) as u8])
            .collect(),
        other => other.into_rgb8().into_raw(),
    };
    Ok(upright(Photo { rgb, width, height, truncated: false }, orientation))
}

/// Applies an EXIF orientation.
fn upright(photo: Photo, orientation: Orientation) -> Photo {
    if orientation == Orientation::NoTransforms {
        return photo;
    }
    let Photo { rgb, width, height, truncated } = photo;
    match image::RgbImage::from_raw(width, height, rgb) {
        Some(buffer) => {
            let mut picture = DynamicImage::ImageRgb8(buffer);
            picture.apply_orientation(orientation);
            let (width, height) = (picture.width(), picture.height());
            Photo { rgb: picture.into_rgb8().into_raw(), width, height, truncated }
        }
        // The buffer's length was checked by both callers; an empty photo is the harmless answer.
        None => Photo { rgb: Vec::new(), width: 0, height: 0, truncated },
    }
}

/// The MIME type of a photo's bytes, when the format is one that Kennel reads.
pub fn mime_type(bytes: &[u8]) -> Option<&'static str> {
    match image::guess_format(bytes).ok()? {
        ImageFormat::Jpeg => Some("image/jpeg"),
        ImageFormat::Png => Some("image/png"),
        ImageFormat::Gif => Some("image/gif"),
        ImageFormat::WebP => Some("image/webp"),
        ImageFormat::Bmp => Some("image/bmp"),
        _ => None,
    }
}

/// Encodes RGB as a JPEG of this quality (1 to 100), for thumbnails.
///
/// # Errors
/// [`DecodeError::Broken`] when the sizes do not fit the pixels.
pub fn encode_jpeg(
    rgb: &[u8],
    width: u32,
    height: u32,
    quality: u8,
) -> Result<Vec<u8>, DecodeError> {
    // The encoder panics on a buffer of another length.
    if rgb.len() as u64 != 3 * u64::from(width) * u64::from(height) {
        let reason = format!("{} bytes are no {width}×{height} pixels", rgb.len());
        return Err(DecodeError::Broken { format: "JPEG", reason });
    }
    let mut out = Vec::new();
    image::codecs::jpeg::JpegEncoder::new_with_quality(&mut out, quality)
        .encode(rgb, width, height, image::ExtendedColorType::Rgb8)
        .map_err(|e| DecodeError::Broken { format: "JPEG", reason: e.to_string() })?;
    Ok(out)
}

#[cfg(test)]
mod tests;

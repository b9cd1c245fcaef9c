//! The sample pictures of `kennel demo`: cartoon dogs of eight invented breeds, drawn here so
//! that the first run needs neither a download nor anybody's photos.
//!
//! The pictures come in the layout that real data has (`DIR/{train,valid,test}/<class>/NNN.jpg`),
//! so the demo takes the same path as the user's own folder. Every picture depends only on the
//! seed, the breed and its index: the same options give the same files, and the test pictures
//! stay the same when the number of training pictures changes.
//!
//! Pose, coat, place, light and framing vary independently of the breed. What tells the breeds
//! apart is said in `samples/breed.rs`.

use std::fs;
use std::path::{Path, PathBuf};

use image::RgbImage;
use image::codecs::jpeg::JpegEncoder;
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tiny_skia::{PixmapPaint, Transform};

mod breed;
mod brush;
mod dog;
mod scene;
#[cfg(test)]
mod tests;

use breed::BREEDS;
use brush::Canvas;
use dog::Pose;
use scene::PLACES;

/// Sizes of pictures that can be drawn, in pixels.
const SIZES: std::ops::RangeInclusive<u32> = 16..=4096;

/// Quality of the JPEG files: artefacts as in ordinary photos, yet none that one sees.
const JPEG_QUALITY: u8 = 88;

/// Where the indices of the splits begin, far enough apart never to meet.
const SPLIT_STRIDE: u64 = 1 << 32;

/// What to draw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SampleOptions {
    /// Every picture follows from this number.
    pub seed: u64,
    /// Pictures of each breed in `train`.
    pub train_per_class: usize,
    /// Pictures of each breed in `valid`.
    pub valid_per_class: usize,
    /// Pictures of each breed in `test`.
    pub test_per_class: usize,
    /// Width and height in pixels.
    pub size: u32,
}

impl Default for SampleOptions {
    fn default() -> Self {
        Self { seed: 7, train_per_class: 40, valid_per_class: 10, test_per_class: 10, size: 256 }
    }
}

/// Why the sample pictures could not be drawn or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SampleError {
    /// A breed beyond the last one.
    #[error("there is no sample breed `{breed}`\nhint: the breeds are numbered from 0 to {last}")]
    NoSuchBreed {
        /// The number given.
        breed: usize,
        /// The largest number there is.
        last: usize,
    },
    /// A size outside of what can be drawn.
    #[error(
        "cannot draw sample pictures of `{size}` pixels\n\
         hint: choose a size from {} to {}", SIZES.start(), SIZES.end()
    )]
    BadSize {
        /// The size given.
        size: u32,
    },
    /// A file or folder could not be written.
    #[error("cannot write `{}`\nhint: check that the disk has room and the folder may be written", .path.display())]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A picture could not be encoded.
    #[error("cannot encode `{}`\nhint: this is a fault of kennel; please report it", .path.display())]
    Encode {
        /// The file it was for.
        path: PathBuf,
        /// What the encoder said.
        source: image::ImageError,
    },
}

/// The breeds' folder names, in the order of the numbers that [`draw`] takes.
pub fn breeds() -> Vec<&'static str> {
    BREEDS.iter().map(|breed| breed.name).collect()
}

/// Draws one picture of a breed; the same arguments give the same picture.
///
/// # Errors
///
/// [`SampleError::NoSuchBreed`] and [`SampleError::BadSize`].
pub fn draw(breed: usize, index: u64, options: &SampleOptions) -> Result<RgbImage, SampleError> {
    let kind =
        BREEDS.get(breed).ok_or(SampleError::NoSuchBreed { breed, last: BREEDS.len() - 1 })?;
    let size = options.size;
    let bad_size = || SampleError::BadSize { size };
    if !SIZES.contains(&size) {
        return Err(bad_size());
    }
    let mut rng = ChaCha8Rng::seed_from_u64(options.seed.wrapping_add(index.rotate_left(17)));
    rng.set_stream(breed as u64 + 1);

    let place = PLACES[rng.random_range(0..PLACES.len())];
    let dog = kind.member(&mut rng);
    let pose = match rng.random_range(0..10) {
        0..5 => Pose::Stand,
        5..8 => Pose::Sit,
        _ => Pose::Lie,
    };

    // Framing: most dogs fill the picture loosely, some are seen close up.
    let extent = dog.extent(pose);
    let (width, height) = (extent.right - extent.left, -extent.top);
    let close = rng.random_bool(0.12);
    let turned = if rng.random_bool(0.5) { -1.0 } else { 1.0 };
    let ground = rng.random_range(200.0..238.0_f32);
    let (zoom, left, ground) = if close {
        // A long snout stays inside the picture.
        let face = extent.right - extent.head.0;
        let zoom = (rng.random_range(52.0..72.0) / extent.head_radius).min(150.0 / face);
        let aside = (face - extent.head_radius) * zoom * 0.5 * turned;
        let head = (128.0 - aside + rng.random_range(-22.0..22.0), rng.random_range(100.0..140.0));
        (zoom, head.0 - extent.head.0 * zoom * turned, head.1 - extent.head.1 * zoom)
    } else {
        let fits = (240.0 / width).min((ground - 10.0) / height);
        let zoom = fits * rng.random_range(0.8..1.0_f32);
        let middle = (extent.left + extent.right) / 2.0;
        let spare = (256.0 - width * zoom).max(0.0) / 2.0;
        let centre = 128.0 + rng.random_range(-1.0..1.0) * spare;
        (zoom, centre - middle * zoom * turned, ground)
    };

    let pixels = size as f32 / 256.0;
    let mut scene = Canvas::new(size).ok_or_else(bad_size)?;
    scene.transform = Transform::from_scale(pixels, pixels);
    place.draw_behind(&mut scene, ground.min(236.0), &mut rng);
    place.draw_shadow(&mut scene, (left, ground), width * 0.42 * zoom);

    let mut figure = Canvas::new(size).ok_or_else(bad_size)?;
    figure.transform = Transform::from_row(turned, 0.0, 0.0, 1.0, 0.0, 0.0)
        .post_scale(zoom, zoom)
        .post_concat(Transform::from_rotate(rng.random_range(-4.0..4.0)))
        .post_translate(left, ground)
        .post_scale(pixels, pixels);
    dog.draw(&mut figure, pose, &mut rng);
    scene.pixmap.draw_pixmap(
        0,
        0,
        figure.pixmap.as_ref(),
        &PixmapPaint::default(),
        Transform::identity(),
        None,
    );
    if !close {
        place.draw_before(&mut scene, ground, &mut rng);
    }
    if rng.random_bool(0.35) {
        let at = (rng.random_range(0.0..256.0), rng.random_range(0.0..120.0));
        scene.glow(at, rng.random_range(120.0..220.0), [255, 244, 214], 0.35);
    }
    Ok(develop(&scene, place.tint(), &mut rng))
}

/// The picture as a camera would give it: exposure, contrast, colour cast, vignette and noise.
fn develop(scene: &Canvas, tint: [f32; 3], rng: &mut ChaCha8Rng) -> RgbImage {
    let size = scene.pixmap.width();
    let exposure = rng.random_range(0.86..1.1_f32);
    let contrast = rng.random_range(0.85..1.1_f32);
    let cast = tint.map(|t| t * rng.random_range(0.96..1.04) * exposure * contrast);
    let lift = 128.0 * (1.0 - contrast);
    let vignette = rng.random_range(0.0..0.28_f32);
    let grain = rng.random_range(1.0..6.0_f32);
    let middle = size as f32 / 2.0;
    let mut image = RgbImage::new(size, size);
    let mut noise = Noise::new(rng.next_u64());
    let pixels = image.pixels_mut().zip(scene.pixmap.pixels());
    for (i, (out, pixel)) in pixels.enumerate() {
        let (x, y) = (i as u32 % size, i as u32 / size);
        let (dx, dy) = ((x as f32 - middle) / middle, (y as f32 - middle) / middle);
        let dim = 1.0 - vignette * (dx * dx + dy * dy) * 0.5;
        let speck = noise.next() * grain;
        // Every pixel of a scene is opaque, so premultiplied colours are the colours.
        for (channel, value) in [pixel.red(), pixel.green(), pixel.blue()].into_iter().enumerate() {
            let lit = (f32::from(value) * cast[channel] + lift) * dim + speck;
            out.0[channel] = lit.clamp(0.0, 255.0) as u8;
        }
    }
    image
}

/// Noise for pixels: there are many of them, and they need no good generator, only a fast one.
#[derive(Debug)]
struct Noise(u64);

impl Noise {
    fn new(seed: u64) -> Self {
        Self(seed | 1)
    }

    /// A value between -1 and 1, near 0 more often than at the ends.
    fn next(&mut self) -> f32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        let (a, b) = ((self.0 >> 40) as u16 as f32, (self.0 >> 20) as u16 as f32);
        (a - b) / 65_536.0
    }
}

/// Draws the whole data set under `dir` and returns the number of pictures. `progress` is told
/// the number written and the number in all after each one.
///
/// Every file is written aside and renamed, so that an interrupted run leaves no half picture; a
/// second run writes the same files again.
///
/// # Errors
///
/// [`SampleError`]: a bad size, or a file that cannot be written.
pub fn write_dataset(
    dir: &Path,
    options: &SampleOptions,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<usize, SampleError> {
    let splits = [
        ("train", options.train_per_class),
        ("valid", options.valid_per_class),
        ("test", options.test_per_class),
    ];
    let total = BREEDS.len() * splits.iter().map(|&(_, count)| count).sum::<usize>();
    let mut done = 0;
    for (number, &(split, count)) in splits.iter().enumerate() {
        for (breed, kind) in BREEDS.iter().enumerate() {
            let folder = dir.join(split).join(kind.name);
            fs::create_dir_all(&folder)
                .map_err(|source| SampleError::Write { path: folder.clone(), source })?;
            for i in 0..count {
                let index = number as u64 * SPLIT_STRIDE + i as u64;
                let picture = draw(breed, index, options)?;
                write_jpeg(&folder.join(format!("{:03}.jpg", i + 1)), &picture)?;
                done += 1;
                progress(done, total);
            }
        }
    }
    Ok(done)
}

fn write_jpeg(path: &Path, picture: &RgbImage) -> Result<(), SampleError> {
    let mut bytes = Vec::with_capacity(32 * 1024);
    JpegEncoder::new_with_quality(&mut bytes, JPEG_QUALITY)
        .encode_image(picture)
        .map_err(|source| SampleError::Encode { path: path.to_owned(), source })?;
    // A name that does not end in .jpg, so that nobody takes the unfinished file for a picture.
    let aside = path.with_extension("part");
    fs::write(&aside, &bytes).and_then(|()| fs::rename(&aside, path)).map_err(|source| {
        // The error that is reported is the first one; a leftover file does no harm.
        let _ = fs::remove_file(&aside);
        SampleError::Write { path: path.to_owned(), source }
    })
}

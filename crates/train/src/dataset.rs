//! Folders of labelled photos: finding them, splitting them, and saying what is wrong with them
//! before an hour of training does.
//!
//! Two layouts: `DIR/{train,valid|val|validation,test}/<class>/*` (the course's dogImages), and
//! `DIR/<class>/*`, which is split by seed, class by class. Everything is decided from sorted relative
//! paths and content hashes, so that a folder means the same on every machine.

mod shards;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use kennel_base::{ErrorCode, ErrorCoded};
use kennel_infer::package::Class;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::Serialize;
use sha2::{Digest, Sha256};

pub use shards::{Shards, ShardsError, part};

/// Which part of the photos a photo belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Split {
    /// Photos the head learns from.
    Train,
    /// Photos that decide when to stop.
    Valid,
    /// Photos that only measure.
    Test,
}

impl Split {
    /// All splits.
    pub const ALL: [Split; 3] = [Split::Train, Split::Valid, Split::Test];

    /// The name in tables and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Split::Train => "train",
            Split::Valid => "valid",
            Split::Test => "test",
        }
    }

    fn from_folder(name: &str) -> Option<Split> {
        match name.to_ascii_lowercase().as_str() {
            "train" | "training" => Some(Split::Train),
            "valid" | "val" | "validation" => Some(Split::Valid),
            "test" | "testing" => Some(Split::Test),
            _ => None,
        }
    }
}

impl fmt::Display for Split {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One photo file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PhotoFile {
    /// Where it is.
    pub path: PathBuf,
    /// Position of its class in [`Dataset::classes`].
    pub class: usize,
    /// Its split.
    pub split: Split,
    /// SHA-256 of its content; `None` until hashed or when it cannot be read.
    pub content: Option<[u8; 32]>,
}

/// Something wrong with a file, and what Kennel does about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The file.
    pub path: PathBuf,
    /// What kind of problem.
    pub kind: ProblemKind,
    /// What was found.
    pub reason: String,
    /// What training does about it.
    pub action: &'static str,
}

/// Kinds of problems.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ProblemKind {
    /// The file is no usable photo.
    Unreadable,
    /// The file ends early; what is there is used.
    Truncated,
    /// The same content stands in two splits.
    AcrossSplits,
    /// The same content stands twice in one class and split.
    Duplicate,
    /// The same content stands under two classes.
    TwoClasses,
}

impl ProblemKind {
    /// Whether the file is not used for training.
    pub fn is_skipped(self) -> bool {
        self != ProblemKind::Truncated
    }
}

/// Why a folder cannot be trained on.
#[derive(Debug, thiserror::Error)]
pub enum DatasetError {
    /// The folder cannot be read.
    #[error(
        "cannot read `{path}`: {source}\nhint: give a folder with one folder of photos per class"
    )]
    Unreadable {
        /// Path.
        path: String,
        /// The system's words.
        source: std::io::Error,
    },
    /// The folder has no classes, or only one.
    #[error(
        "`{path}` holds {found} classes with photos, at least {needed} are needed\nhint: expected {path}/train/<class>/*.jpg or {path}/<class>/*.jpg"
    )]
    TooFewClasses {
        /// Path.
        path: String,
        /// Classes found.
        found: usize,
        /// Classes needed.
        needed: usize,
    },
    /// Too many files cannot be used.
    #[error(
        "{bad} of {total} photos cannot be used, more than the allowed share of {allowed}; the first: `{first}`: {reason}\nhint: `kennel data inspect` lists them all; raise `--max-bad` to train without them"
    )]
    TooManyBad {
        /// Unusable files.
        bad: usize,
        /// All files.
        total: usize,
        /// Share allowed.
        allowed: f64,
        /// Path of the first.
        first: String,
        /// Its reason.
        reason: String,
    },
    /// The work was stopped.
    #[error("stopped before the photos were read\nhint: run the same command again")]
    Stopped,
}

impl ErrorCoded for DatasetError {
    fn code(&self) -> ErrorCode {
        match self {
            DatasetError::Unreadable { source, .. }
                if source.kind() == std::io::ErrorKind::NotFound =>
            {
                ErrorCode::NotFound
            }
            DatasetError::Stopped => ErrorCode::Interrupted,
            _ => ErrorCode::InvalidInput,
        }
    }
}

/// How photos without splits are divided.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SplitOptions {
    /// Share of each class for validation.
    pub valid: f64,
    /// Share of each class for testing.
    pub test: f64,
    /// Seed of the shuffle.
    pub seed: u64,
}

impl Default for SplitOptions {
    fn default() -> Self {
        SplitOptions { valid: 0.1, test: 0.1, seed: 42 }
    }
}

/// The layout that was recognised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Layout {
    /// Folders for the splits, as in the course.
    Splits,
    /// Folders for the splits without one for validation, which was taken from train.
    SplitsWithoutValid,
    /// One folder per class, split by seed.
    Classes,
}

/// The photos of a folder.
#[derive(Debug, Clone)]
pub struct Dataset {
    /// The folder.
    pub root: PathBuf,
    /// Classes, sorted by folder name.
    pub classes: Vec<Class>,
    /// Photos, sorted by split and path.
    pub photos: Vec<PhotoFile>,
    /// Files with names that no photo has, which are left alone.
    pub ignored: Vec<PathBuf>,
    /// The layout.
    pub layout: Layout,
}

/// Extensions that are taken for photos. TIFF and HEIC are, so that they are reported as unreadable
/// instead of being passed over in silence.
const EXTENSIONS: &[&str] = &[
    "jpg", "jpeg", "jpe", "jfif", "png", "gif", "webp", "bmp", "tif", "tiff", "heic", "heif",
    "avif",
];

fn entries(folder: &Path) -> Result<Vec<PathBuf>, DatasetError> {
    let unreadable =
        |source| DatasetError::Unreadable { path: folder.display().to_string(), source };
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        let hidden = path.file_name().is_some_and(|n| n.to_string_lossy().starts_with('.'));
        if !hidden {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

fn name_of(path: &Path) -> String {
    path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default()
}

/// Photos of one class folder, and the files left alone.
fn class_files(folder: &Path, ignored: &mut Vec<PathBuf>) -> Result<Vec<PathBuf>, DatasetError> {
    let mut photos = Vec::new();
    for path in entries(folder)? {
        let extension = path.extension().map(|e| e.to_string_lossy().to_ascii_lowercase());
        if path.is_file() && extension.is_some_and(|e| EXTENSIONS.contains(&e.as_str())) {
            photos.push(path);
        } else {
            ignored.push(path);
        }
    }
    Ok(photos)
}

impl Dataset {
    /// Finds the photos of a folder.
    ///
    /// # Errors
    /// When the folder cannot be read or holds fewer than two classes.
    pub fn scan(root: &Path, options: &SplitOptions) -> Result<Dataset, DatasetError> {
        Self::scan_share(root, options)?.checked()
    }

    /// As [`Dataset::scan`], of a folder that holds one instance's share: it may have one class or none.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn scan_share(root: &Path, options: &SplitOptions) -> Result<Dataset, DatasetError> {
        let top: Vec<PathBuf> = entries(root)?.into_iter().filter(|p| p.is_dir()).collect();
        let splits: Vec<(Split, PathBuf)> = top
            .iter()
            .filter_map(|p| Some((Split::from_folder(&name_of(p))?, p.clone())))
            .collect();
        // A share may hold the other splits only.
        let nothing_else = !splits.is_empty() && splits.len() == top.len();
        if nothing_else || splits.iter().any(|(s, _)| *s == Split::Train) {
            return Self::share_of_splits(root, &splits, options);
        }
        let mut found: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
        let mut ignored = Vec::new();
        for folder in &top {
            found.insert(name_of(folder), class_files(folder, &mut ignored)?);
        }
        found.retain(|_, photos| !photos.is_empty());
        let classes: Vec<Class> = found.keys().map(|name| Class::from_folder(name)).collect();
        let mut photos = Vec::new();
        for (class, (name, files)) in found.into_iter().enumerate() {
            let parts = divide(files.len(), &name, options);
            photos.extend(files.into_iter().zip(parts).map(|(path, split)| PhotoFile {
                path,
                class,
                split,
                content: None,
            }));
        }
        Ok(Self::finish(root, classes, photos, ignored, Layout::Classes))
    }

    /// Photos given as one folder per split, as SageMaker's channels do.
    ///
    /// # Errors
    /// As [`Dataset::scan`].
    pub fn from_splits(
        root: &Path,
        splits: &[(Split, PathBuf)],
        options: &SplitOptions,
    ) -> Result<Dataset, DatasetError> {
        Self::share_of_splits(root, splits, options)?.checked()
    }

    /// As [`Dataset::from_splits`], of folders that hold one instance's share.
    ///
    /// # Errors
    /// When a folder cannot be read.
    pub fn share_of_splits(
        root: &Path,
        splits: &[(Split, PathBuf)],
        options: &SplitOptions,
    ) -> Result<Dataset, DatasetError> {
        let mut ignored = Vec::new();
        let mut found: Vec<(Split, String, PathBuf)> = Vec::new();
        for (split, folder) in splits {
            for class in entries(folder)?.into_iter().filter(|p| p.is_dir()) {
                let name = name_of(&class);
                let files = class_files(&class, &mut ignored)?;
                found.extend(files.into_iter().map(|path| (*split, name.clone(), path)));
            }
        }
        let names: BTreeSet<String> = found.iter().map(|(_, name, _)| name.clone()).collect();
        let classes: Vec<Class> = names.iter().map(|name| Class::from_folder(name)).collect();
        let position: HashMap<String, usize> =
            names.into_iter().enumerate().map(|(i, name)| (name, i)).collect();
        let mut photos: Vec<PhotoFile> = found
            .into_iter()
            .filter_map(|(split, name, path)| {
                Some(PhotoFile { path, class: *position.get(&name)?, split, content: None })
            })
            .collect();
        let has_valid = photos.iter().any(|p| p.split == Split::Valid);
        if !has_valid {
            // A part of train becomes validation: without one nothing tells when to stop.
            let only_valid = SplitOptions { test: 0.0, ..*options };
            for (class, entry) in classes.iter().enumerate() {
                let mut of_class: Vec<usize> = (0..photos.len())
                    .filter(|&i| photos[i].class == class && photos[i].split == Split::Train)
                    .collect();
                of_class.sort_by(|&a, &b| photos[a].path.cmp(&photos[b].path));
                let parts = divide(of_class.len(), &entry.key, &only_valid);
                for (index, split) in of_class.into_iter().zip(parts) {
                    photos[index].split = split;
                }
            }
        }
        let layout = if has_valid { Layout::Splits } else { Layout::SplitsWithoutValid };
        Ok(Self::finish(root, classes, photos, ignored, layout))
    }

    fn finish(
        root: &Path,
        classes: Vec<Class>,
        mut photos: Vec<PhotoFile>,
        ignored: Vec<PathBuf>,
        layout: Layout,
    ) -> Dataset {
        photos.sort_by(|a, b| (a.split, &a.path).cmp(&(b.split, &b.path)));
        Dataset { root: root.to_owned(), classes, photos, ignored, layout }
    }

    /// Refuses what no head can be trained on.
    fn checked(self) -> Result<Dataset, DatasetError> {
        if self.classes.len() < 2 {
            return Err(DatasetError::TooFewClasses {
                path: self.root.display().to_string(),
                found: self.classes.len(),
                needed: 2,
            });
        }
        Ok(self)
    }

    /// Reads every file once and remembers its content hash, on all cores. Files that cannot be read
    /// keep `None`. `progress` gets (files done, files in all) now and then.
    ///
    /// # Errors
    /// [`DatasetError::Stopped`] when `stop` became true.
    pub fn hash(
        &mut self,
        stop: &AtomicBool,
        progress: &mut dyn FnMut(usize, usize),
    ) -> Result<(), DatasetError> {
        let total = self.photos.len();
        let done = AtomicUsize::new(0);
        let workers = kennel_infer::pipeline::cores().clamp(1, total.max(1));
        let size = total.div_ceil(workers).max(1);
        std::thread::scope(|scope| {
            for part in self.photos.chunks_mut(size) {
                let done = &done;
                scope.spawn(move || {
                    for photo in part {
                        if stop.load(Ordering::Relaxed) {
                            break;
                        }
                        photo.content =
                            std::fs::read(&photo.path).ok().map(|b| Sha256::digest(b).into());
                        done.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
        });
        if stop.load(Ordering::Relaxed) {
            return Err(DatasetError::Stopped);
        }
        progress(done.load(Ordering::Relaxed), total);
        Ok(())
    }

    /// Photos of a split.
    pub fn of_split(&self, split: Split) -> impl Iterator<Item = &PhotoFile> {
        self.photos.iter().filter(move |p| p.split == split)
    }

    /// Photos per class in a split, in the order of the classes.
    pub fn counts(&self, split: Split) -> Vec<usize> {
        let mut counts = vec![0; self.classes.len()];
        for photo in self.of_split(split) {
            counts[photo.class] += 1;
        }
        counts
    }

    /// Content that stands more than once, after [`Dataset::hash`]. What is used of it: nothing under
    /// two classes; of several splits only the one that measures (test before valid before train), so
    /// that no photo is both learned and asked; of copies within a split only the first.
    pub fn duplicates(&self) -> Vec<(usize, Problem)> {
        let mut groups: BTreeMap<[u8; 32], Vec<usize>> = BTreeMap::new();
        for (index, photo) in self.photos.iter().enumerate() {
            if let Some(content) = photo.content {
                groups.entry(content).or_default().push(index);
            }
        }
        let mut problems = Vec::new();
        for group in groups.into_values().filter(|g| g.len() > 1) {
            let classes: BTreeSet<usize> = group.iter().map(|&i| self.photos[i].class).collect();
            let kept_split = group.iter().map(|&i| self.photos[i].split).max();
            let mut kept: Option<usize> = None;
            for &index in &group {
                let photo = &self.photos[index];
                let other = group.iter().copied().find(|&i| i != index).unwrap_or(index);
                let shown = self.photos[other].path.display().to_string();
                let problem = |kind, reason, action| {
                    (index, Problem { path: photo.path.clone(), kind, reason, action })
                };
                if classes.len() > 1 {
                    problems.push(problem(
                        ProblemKind::TwoClasses,
                        format!("same content as `{shown}` under another class"),
                        "not used: its label cannot be known",
                    ));
                } else if Some(photo.split) != kept_split {
                    problems.push(problem(
                        ProblemKind::AcrossSplits,
                        format!("same content as `{shown}` in another split"),
                        "used only in the split that measures",
                    ));
                } else if kept.is_some() {
                    problems.push(problem(
                        ProblemKind::Duplicate,
                        format!("same content as `{shown}`"),
                        "used once",
                    ));
                } else {
                    kept = Some(index);
                }
            }
        }
        problems.sort_by_key(|(index, _)| *index);
        problems
    }
}

/// The split of each of `count` files of a class: shuffled by seed and class name, then cut. Every
/// class with at least three files gives one to each split that has a share.
fn divide(count: usize, class: &str, options: &SplitOptions) -> Vec<Split> {
    let digest = Sha256::digest(class.as_bytes());
    let mut salt = [0; 8];
    salt.copy_from_slice(&digest[..8]);
    let mut rng = ChaCha8Rng::seed_from_u64(options.seed ^ u64::from_le_bytes(salt));
    let mut order: Vec<usize> = (0..count).collect();
    order.shuffle(&mut rng);
    let share = |part: f64| {
        let exact = (count as f64 * part).round() as usize;
        if part > 0.0 && count >= 3 { exact.max(1) } else { exact.min(count.saturating_sub(1)) }
    };
    let (valid, test) = (share(options.valid), share(options.test));
    let mut parts = vec![Split::Train; count];
    for (position, index) in order.into_iter().enumerate() {
        if position < valid {
            parts[index] = Split::Valid;
        } else if position < valid + test {
            parts[index] = Split::Test;
        }
    }
    parts
}

/// A seeded generator for one purpose and number, independent of every other.
pub(crate) fn generator(seed: u64, purpose: &str, number: u64) -> impl Rng + use<> {
    let mut hasher = Sha256::new();
    hasher.update(seed.to_le_bytes());
    hasher.update(purpose.as_bytes());
    hasher.update(number.to_le_bytes());
    ChaCha8Rng::from_seed(hasher.finalize().into())
}

#[cfg(test)]
mod tests;

//! The distrustful way back: listings and files that a user's script wrote.
//!
//! Folders and files are opened one below the other without following links and without waiting (a named
//! pipe would), so a script cannot make the reader look elsewhere or hang. Headers are checked before
//! anything is allocated by what they say, and tensors are read one at a time.

use std::collections::BTreeMap;
use std::ffi::CStr;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode as Permissions, OFlags};
use safetensors::tensor::{Dtype, Metadata};

use super::Mode;
use super::writer::{END, FORMAT, file_name, worker_name};

/// The largest file that is read.
pub(crate) const MAX_FILE: u64 = 1 << 30;
/// The largest header: names and shapes of some ten thousand tensors.
pub(crate) const MAX_HEADER: u64 = 8 << 20;
/// The most values of one tensor: 512 MiB as `f32`.
const MAX_VALUES: usize = 128 << 20;
/// The longest name of a tensor or a collection, in bytes.
const MAX_NAME: usize = 512;
/// The most workers of a run; more are not looked at.
const MAX_WORKERS: usize = 256;
/// The most steps of one worker and mode that are listed at a time.
const MAX_STEPS: usize = 200_000;
/// The most entries of a folder that are looked at, whatever they are.
const MAX_ENTRIES: usize = 1_000_000;

/// Why a file or a tensor is skipped.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Broken {
    #[error("{0}")]
    Io(#[from] std::io::Error),
    #[error("not a plain file")]
    NotAFile,
    #[error("{0} bytes are more than {MAX_FILE}")]
    TooLarge(u64),
    #[error("the header is not one of safetensors: {0}")]
    Header(String),
    #[error("`{0}` of the metadata is missing or does not fit the file's place")]
    Metadata(&'static str),
    #[error("a tensor is of type {0}")]
    Type(Dtype),
    #[error("a tensor has {0} values, more than {MAX_VALUES}")]
    TooManyValues(usize),
    #[error("no tensor has this name")]
    NoTensor,
}

impl From<rustix::io::Errno> for Broken {
    fn from(errno: rustix::io::Errno) -> Self {
        Broken::Io(errno.into())
    }
}

/// The workers below a tensor folder, in the order of their names. None where there is no folder (yet).
pub(crate) fn workers(folder: &Path) -> Vec<String> {
    let Ok(folder) = open_folder(CWD, folder) else { return Vec::new() };
    let mut names = Vec::new();
    each_entry(&folder, |name| {
        if worker_name(name) {
            names.push(name.to_owned());
        }
        names.len() < MAX_WORKERS
    });
    names.sort();
    names
}

/// The steps of a worker in a mode from `first` on, in order.
pub(crate) fn steps(folder: &Path, worker: &str, mode: Mode, first: u64) -> Vec<u64> {
    let open = || open_folder(open_folder(open_folder(CWD, folder)?, worker)?, mode.name());
    let Ok(folder) = open() else { return Vec::new() };
    let mut steps = Vec::new();
    each_entry(&folder, |name| {
        let step = name.strip_suffix(".safetensors").and_then(|digits| digits.parse().ok());
        // A name in another spelling (`+1`, fewer zeros) would be a second file of the same step.
        if let Some(step) = step.filter(|&step| step >= first && file_name(step) == name) {
            steps.push(step);
        }
        steps.len() < MAX_STEPS
    });
    steps.sort_unstable();
    steps
}

/// Whether a worker says that it saves nothing more.
pub(crate) fn ended(folder: &Path, worker: &str) -> bool {
    open_folder(CWD, folder)
        .and_then(|folder| open_folder(folder, worker))
        .and_then(|worker| rustix::fs::statat(worker, END, AtFlags::SYMLINK_NOFOLLOW))
        .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile)
}

/// One saved step, its header read and checked.
#[derive(Debug)]
pub(crate) struct StepFile {
    file: File,
    data: u64,
    header: Metadata,
    /// Names of tensors in their order in the file, with their collections.
    tensors: BTreeMap<String, Vec<String>>,
}

/// One tensor, read.
#[derive(Debug)]
pub(crate) struct Tensor {
    pub(crate) name: String,
    pub(crate) shape: Vec<usize>,
    pub(crate) values: Vec<f32>,
}

impl StepFile {
    /// Opens `<folder>/<worker>/<mode>/<step>.safetensors` and reads its header.
    pub(crate) fn open(
        folder: &Path,
        worker: &str,
        mode: Mode,
        step: u64,
    ) -> Result<StepFile, Broken> {
        let folder = open_folder(open_folder(open_folder(CWD, folder)?, worker)?, mode.name())?;
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = rustix::fs::openat(folder, file_name(step), flags, Permissions::empty())?;
        let file = File::from(file);
        let stat = file.metadata()?;
        if !stat.is_file() {
            return Err(Broken::NotAFile);
        }
        if stat.len() > MAX_FILE {
            return Err(Broken::TooLarge(stat.len()));
        }
        Self::read_header(file, stat.len(), mode, step)
    }

    fn read_header(file: File, len: u64, mode: Mode, step: u64) -> Result<StepFile, Broken> {
        let broken = |what: &str| Broken::Header(what.to_owned());
        let mut size = [0u8; 8];
        file.read_exact_at(&mut size, 0)?;
        let size = u64::from_le_bytes(size);
        if size > MAX_HEADER || size > len.saturating_sub(8) {
            return Err(broken("its length is out of bounds"));
        }
        let mut bytes = vec![0u8; usize::try_from(size).map_err(|_| broken("its length"))?];
        file.read_exact_at(&mut bytes, 8)?;
        // Checks that the tensors lie one behind the other and that each fills its shape.
        let header: Metadata =
            serde_json::from_slice(&bytes).map_err(|error| Broken::Header(error.to_string()))?;
        if Some(len - 8 - size) != u64::try_from(header.data_len()).ok() {
            return Err(broken("the tensors do not fill the file"));
        }
        let metadata = header.metadata().as_ref().ok_or(Broken::Metadata("format"))?;
        if metadata.get("format").map(String::as_str) != Some(FORMAT) {
            return Err(Broken::Metadata("format"));
        }
        if metadata.get("mode").map(String::as_str) != Some(mode.name()) {
            return Err(Broken::Metadata("mode"));
        }
        if metadata.get("step").and_then(|text| text.parse().ok()) != Some(step) {
            return Err(Broken::Metadata("step"));
        }
        let collections: BTreeMap<String, Vec<String>> = metadata
            .get("collections")
            .and_then(|text| serde_json::from_str(text).ok())
            .ok_or(Broken::Metadata("collections"))?;
        let mut tensors: BTreeMap<String, Vec<String>> = header
            .tensors()
            .into_keys()
            .filter(|name| name.len() <= MAX_NAME)
            .map(|name| (name, Vec::new()))
            .collect();
        for (collection, names) in collections {
            for name in names.iter().filter(|_| collection.len() <= MAX_NAME) {
                if let Some(of) = tensors.get_mut(name).filter(|of| of.len() < 64) {
                    of.push(collection.clone());
                }
            }
        }
        Ok(StepFile { file, data: 8 + size, header, tensors })
    }

    /// The tensors' names with their collections.
    pub(crate) fn tensors(&self) -> impl Iterator<Item = (&str, &[String])> {
        self.tensors.iter().map(|(name, collections)| (name.as_str(), collections.as_slice()))
    }

    /// Reads one tensor and converts its values.
    pub(crate) fn read(&self, name: &str) -> Result<Tensor, Broken> {
        let info = self.header.info(name).ok_or(Broken::NoTensor)?;
        let (start, end) = info.data_offsets;
        let width = width(info.dtype).ok_or(Broken::Type(info.dtype))?;
        let count = end.saturating_sub(start) / width;
        if count > MAX_VALUES {
            return Err(Broken::TooManyValues(count));
        }
        let mut bytes = vec![0u8; count * width];
        let start = u64::try_from(start).map_err(|_| Broken::NoTensor)?;
        self.file.read_exact_at(&mut bytes, self.data.saturating_add(start))?;
        let values = convert(info.dtype, &bytes);
        Ok(Tensor { name: name.to_owned(), shape: info.shape.clone(), values })
    }
}

/// Opens a folder below another, links refused.
fn open_folder(
    below: impl std::os::fd::AsFd,
    name: impl rustix::path::Arg,
) -> Result<OwnedFd, rustix::io::Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(below, name, flags, Permissions::empty())
}

/// Calls `visit` with the names in a folder until it says no.
fn each_entry(folder: &OwnedFd, mut visit: impl FnMut(&str) -> bool) {
    let Ok(entries) = Dir::read_from(folder) else { return };
    for entry in entries.take(MAX_ENTRIES) {
        let Ok(entry) = entry else { return };
        let name: &CStr = entry.file_name();
        if name.to_str().is_ok_and(|name| !visit(name)) {
            return;
        }
    }
}

/// Bytes of one value, of the types that are read.
fn width(dtype: Dtype) -> Option<usize> {
    match dtype {
        Dtype::U8 | Dtype::BOOL => Some(1),
        Dtype::F16 | Dtype::BF16 => Some(2),
        Dtype::F32 | Dtype::I32 => Some(4),
        Dtype::F64 | Dtype::I64 => Some(8),
        _ => None,
    }
}

fn convert(dtype: Dtype, bytes: &[u8]) -> Vec<f32> {
    fn each<const N: usize>(bytes: &[u8], value: impl Fn([u8; N]) -> f32) -> Vec<f32> {
        bytes.as_chunks::<N>().0.iter().map(|&chunk| value(chunk)).collect()
    }
    match dtype {
        Dtype::F32 => each(bytes, f32::from_le_bytes),
        Dtype::F64 => each(bytes, |b| f64::from_le_bytes(b) as f32),
        Dtype::F16 => each(bytes, |b| half(u16::from_le_bytes(b))),
        Dtype::BF16 => each(bytes, |b| f32::from_bits(u32::from(u16::from_le_bytes(b)) << 16)),
        Dtype::I32 => each(bytes, |b| i32::from_le_bytes(b) as f32),
        Dtype::I64 => each(bytes, |b| i64::from_le_bytes(b) as f32),
        _ => bytes.iter().map(|&byte| f32::from(byte)).collect(),
    }
}

/// An IEEE 754 half as `f32`.
fn half(bits: u16) -> f32 {
    let sign = if bits & 0x8000 == 0 { 1.0 } else { -1.0 };
    let (exponent, fraction) = (i32::from(bits >> 10 & 0x1f), f32::from(bits & 0x3ff));
    sign * match exponent {
        0 => fraction * 2f32.powi(-24),
        31 if fraction == 0.0 => f32::INFINITY,
        31 => f32::NAN,
        _ => (1.0 + fraction / 1024.0) * 2f32.powi(exponent - 15),
    }
}

#[cfg(test)]
mod tests;

//! The feature cache: what a frozen backbone made of a photo is written down once and never computed
//! again, whichever run asks. One folder per backbone, preprocessing and engine; inside it append-only
//! segment files of records, each with its own checksum, so that a process killed at any moment loses
//! at most the record it was writing.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use kennel_infer::engine::EngineKind;
use kennel_infer::preprocess::{PIXELS_VERSION, Preprocess};
use sha2::{Digest, Sha256};

/// First bytes of a segment: the format and its version.
const MAGIC: &[u8; 8] = b"KNLFEAT1";
/// Bytes before the values of a record: content hash, view, and after them a CRC-32.
const KEY_BYTES: usize = 40;

/// Which features a cache holds.
#[derive(Debug, Clone, PartialEq)]
pub struct CacheKey {
    /// SHA-256 of the backbone as it is cut.
    pub backbone: String,
    /// From photo to input.
    pub preprocess: Preprocess,
    /// Engine: two engines agree to 0.9999, and a rerun is to agree to the last bit.
    pub engine: EngineKind,
}

impl CacheKey {
    fn folder_name(&self) -> String {
        let settings = serde_json::to_string(&self.preprocess).unwrap_or_default();
        let text =
            format!("{}\n{settings}\n{}\npixels {PIXELS_VERSION}\n", self.backbone, self.engine);
        kennel_infer::hex(&Sha256::digest(text))[..24].to_owned()
    }
}

/// One view of one photo's content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ViewKey {
    /// SHA-256 of the file.
    pub content: [u8; 32],
    /// Identity of the view; 0 is the centre crop.
    pub view: u64,
}

/// Why the cache cannot be used.
#[derive(Debug, thiserror::Error)]
#[error(
    "feature cache `{path}`: {source}\nhint: check its permissions and free space, or move it with KENNEL_CACHE; it may be deleted at any time"
)]
pub struct CacheError {
    path: String,
    source: std::io::Error,
}

impl kennel_base::ErrorCoded for CacheError {
    fn code(&self) -> kennel_base::ErrorCode {
        kennel_base::ErrorCode::Internal
    }
}

/// An open cache: everything that was there is in memory, what comes is appended.
#[derive(Debug)]
pub struct FeatureCache {
    folder: PathBuf,
    width: usize,
    index: HashMap<ViewKey, usize>,
    values: Vec<f32>,
    writer: Option<BufWriter<File>>,
    unflushed: usize,
}

impl FeatureCache {
    /// Opens the cache for a key below `root`, reading what is there. Damaged tails are left out.
    ///
    /// # Errors
    /// When the folder cannot be made or read.
    pub fn open(root: &Path, key: &CacheKey, width: usize) -> Result<Self, CacheError> {
        let folder = root.join("features").join(key.folder_name());
        let mut cache = FeatureCache {
            folder: folder.clone(),
            width,
            index: HashMap::new(),
            values: Vec::new(),
            writer: None,
            unflushed: 0,
        };
        let failed = |source| CacheError { path: folder.display().to_string(), source };
        std::fs::create_dir_all(&folder).map_err(failed)?;
        for segment in segments(&folder).map_err(failed)? {
            cache.load(&segment).map_err(failed)?;
        }
        Ok(cache)
    }

    fn record_bytes(&self) -> usize {
        KEY_BYTES + 4 * self.width + 4
    }

    /// Reads the whole records of a segment and returns the length of the part that is whole.
    fn load(&mut self, path: &Path) -> std::io::Result<u64> {
        let mut bytes = Vec::new();
        File::open(path)?.read_to_end(&mut bytes)?;
        let header = MAGIC.len() + 4;
        let width = bytes.get(MAGIC.len()..header).and_then(|b| b.try_into().ok());
        if !bytes.starts_with(MAGIC)
            || width.map(u32::from_le_bytes) != u32::try_from(self.width).ok()
        {
            return Ok(0);
        }
        let mut whole = header;
        for record in bytes[header..].chunks_exact(self.record_bytes()) {
            let (body, sum) = record.split_at(record.len() - 4);
            if crc32fast::hash(body).to_le_bytes() != sum {
                break;
            }
            let (key, values) = body.split_at(KEY_BYTES);
            let mut content = [0; 32];
            content.copy_from_slice(&key[..32]);
            let mut view = [0; 8];
            view.copy_from_slice(&key[32..]);
            let key = ViewKey { content, view: u64::from_le_bytes(view) };
            let values: Vec<f32> = values
                .chunks_exact(4)
                .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
                .collect();
            self.remember(key, &values);
            whole += record.len();
        }
        Ok(whole as u64)
    }

    fn remember(&mut self, key: ViewKey, values: &[f32]) {
        let start = self.values.len();
        if let std::collections::hash_map::Entry::Vacant(slot) = self.index.entry(key) {
            slot.insert(start);
            self.values.extend_from_slice(values);
        }
    }

    /// The features of a view, if they are there.
    pub fn get(&self, key: &ViewKey) -> Option<&[f32]> {
        let start = *self.index.get(key)?;
        self.values.get(start..start + self.width)
    }

    /// Views there are.
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    /// Adds a view's features. They are handed to the system every 32 records, so a kill loses few.
    ///
    /// # Errors
    /// When the segment cannot be written, or the number of values is not the cache's width.
    pub fn insert(&mut self, key: ViewKey, values: &[f32]) -> Result<(), CacheError> {
        let path = self.folder.display().to_string();
        let failed = |source| CacheError { path: path.clone(), source };
        if values.len() != self.width {
            return Err(failed(std::io::Error::other(format!(
                "{} values instead of {}",
                values.len(),
                self.width
            ))));
        }
        let mut body = Vec::with_capacity(self.record_bytes());
        body.extend_from_slice(&key.content);
        body.extend_from_slice(&key.view.to_le_bytes());
        body.extend(values.iter().flat_map(|v| v.to_le_bytes()));
        let sum = crc32fast::hash(&body);
        body.extend_from_slice(&sum.to_le_bytes());
        let mut writer = match self.writer.take() {
            Some(writer) => writer,
            None => self.start_segment().map_err(failed)?,
        };
        writer.write_all(&body).map_err(failed)?;
        self.unflushed += 1;
        if self.unflushed >= 32 {
            writer.flush().map_err(failed)?;
            self.unflushed = 0;
        }
        self.writer = Some(writer);
        self.remember(key, values);
        Ok(())
    }

    /// Hands everything to the disk.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn sync(&mut self) -> Result<(), CacheError> {
        if let Some(writer) = &mut self.writer {
            let flushed = writer.flush().and_then(|()| writer.get_ref().sync_data());
            flushed
                .map_err(|source| CacheError { path: self.folder.display().to_string(), source })?;
            self.unflushed = 0;
        }
        Ok(())
    }

    /// A segment that no other process writes: the last one if its lock is free, with a damaged tail
    /// cut off, or a new one.
    fn start_segment(&mut self) -> std::io::Result<BufWriter<File>> {
        let existing = segments(&self.folder)?;
        if let Some(last) = existing.last() {
            let file = OpenOptions::new().read(true).write(true).open(last)?;
            if lock_soon(&file) {
                let whole = self.load(last)?;
                if whole > 0 {
                    file.set_len(whole)?;
                    let mut file = file;
                    file.seek(SeekFrom::End(0))?;
                    return Ok(BufWriter::with_capacity(1 << 20, file));
                }
            }
        }
        let mut number = existing.len();
        loop {
            let path = self.folder.join(format!("{number:05}.seg"));
            match OpenOptions::new().write(true).create_new(true).open(&path) {
                Ok(mut file) => {
                    file.lock()?;
                    file.write_all(MAGIC)?;
                    file.write_all(&(self.width as u32).to_le_bytes())?;
                    return Ok(BufWriter::with_capacity(1 << 20, file));
                }
                Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => number += 1,
                Err(e) => return Err(e),
            }
        }
    }
}

/// Takes a file's lock if it is free or will be in a moment: a child that this process is just starting holds
/// a copy of every open file until it runs its own program.
fn lock_soon(file: &File) -> bool {
    for _ in 0..10 {
        if file.try_lock().is_ok() {
            return true;
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    false
}

fn segments(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|e| e == "seg") {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

#[cfg(test)]
mod tests;

//! The files under the objects folder: `xx/<id>` with random ids (a key never becomes a path), `tmp/`
//! for what is still being written. A file never changes once it has its name.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use futures::StreamExt as _;
use tempfile::NamedTempFile;

use super::digest::{Digested, Digests};
use super::error::ObjectError;
use super::types::{Body, ChecksumAlgorithm, Expected, PartOptions};

/// Bytes that are hashed and written in one step off the async threads.
const STEP: usize = 512 * 1024;
/// The most that one put takes, in bytes (5 GiB).
const LARGEST: u64 = 5 * 1024 * 1024 * 1024;

/// A file's name.
pub(super) type FileId = String;

/// The folder and what of it is in use.
#[derive(Debug)]
pub(super) struct Files {
    root: PathBuf,
    tmp: PathBuf,
    /// When the folder was opened, by the file system's clock: seconds, nanoseconds.
    opened: (i64, i64),
    live: Mutex<Live>,
}

#[derive(Debug, Default)]
struct Live {
    /// Named, but perhaps not in the database yet.
    pending: HashSet<FileId>,
    /// Being read, by how many.
    pins: HashMap<FileId, usize>,
    /// To be removed when nobody reads them.
    doomed: HashSet<FileId>,
}

impl Files {
    /// Opens the folder, making it where needed, and removes what was half-written.
    pub(super) fn open(root: &Path) -> Result<Self, ObjectError> {
        let tmp = root.join("tmp");
        let made = |path: &Path| fs::create_dir_all(path).map_err(|e| ObjectError::io(path, e));
        made(&tmp)?;
        for shard in 0..=255u8 {
            made(&root.join(format!("{shard:02x}")))?;
        }
        for entry in fs::read_dir(&tmp).map_err(|e| ObjectError::io(&tmp, e))?.flatten() {
            let path = entry.path();
            if let Err(e) = fs::remove_file(&path) {
                tracing::warn!("could not remove the temporary file `{}`: {e}", path.display());
            }
        }
        sync_folder(root)?;
        let probe = NamedTempFile::new_in(&tmp)
            .and_then(|probe| probe.as_file().metadata())
            .map_err(|e| ObjectError::io(&tmp, e))?;
        let opened = (probe.ctime(), probe.ctime_nsec());
        Ok(Files { root: root.to_owned(), tmp, opened, live: Mutex::default() })
    }

    fn live(&self) -> MutexGuard<'_, Live> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where a file is.
    pub(super) fn path(&self, id: &str) -> PathBuf {
        self.root.join(id.get(..2).unwrap_or("00")).join(id)
    }

    /// Where a file is written before it has its name.
    pub(super) fn temporary(&self) -> Result<NamedTempFile, ObjectError> {
        tempfile::Builder::new()
            .permissions(fs::Permissions::from_mode(0o444))
            .tempfile_in(&self.tmp)
            .map_err(|e| ObjectError::io(&self.tmp, e))
    }

    /// A new name, known to the sweeper as being in use.
    fn reserve(self: &Arc<Self>) -> NewFile {
        let id = uuid::Uuid::new_v4().simple().to_string();
        self.live().pending.insert(id.clone());
        NewFile { files: Arc::clone(self), id, size: 0, keep: false }
    }

    /// Gives a finished temporary file its name, durably.
    fn place(self: &Arc<Self>, written: NamedTempFile, size: u64) -> Result<NewFile, ObjectError> {
        let mut new = self.reserve();
        new.size = size;
        let path = self.path(&new.id);
        let failed = |e| ObjectError::io(&path, e);
        // Named before it is flushed: no row names it yet, and the file system writes both in one go,
        // which saves a third of the time.
        let file = written.persist(&path).map_err(|e| failed(e.error))?;
        file.sync_data().map_err(failed)?;
        if let Some(folder) = path.parent() {
            sync_folder(folder)?;
        }
        Ok(new)
    }

    /// A second name for an existing file's bytes.
    pub(super) fn link(self: &Arc<Self>, id: &str, size: u64) -> Result<NewFile, ObjectError> {
        let mut new = self.reserve();
        new.size = size;
        let path = self.path(&new.id);
        fs::hard_link(self.path(id), &path).map_err(|e| ObjectError::io(&path, e))?;
        if let Some(folder) = path.parent() {
            sync_folder(folder)?;
        }
        Ok(new)
    }

    /// Removes files that no row names any more; those being read go when their readers have gone.
    pub(super) fn remove(&self, ids: &[FileId]) {
        for id in ids {
            {
                let mut live = self.live();
                if live.pins.contains_key(id) {
                    live.doomed.insert(id.clone());
                    continue;
                }
            }
            self.unlink(id);
        }
    }

    fn unlink(&self, id: &str) {
        let path = self.path(id);
        match fs::remove_file(&path) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                tracing::warn!("could not remove the object file `{}`: {e}", path.display());
            }
            _ => {}
        }
    }

    /// Keeps files from being removed while they are read. The caller has to look again whether the
    /// row still names them.
    pub(super) fn pin(self: &Arc<Self>, ids: Vec<FileId>) -> Pin {
        let mut live = self.live();
        for id in &ids {
            *live.pins.entry(id.clone()).or_default() += 1;
        }
        drop(live);
        Pin { files: Arc::clone(self), ids }
    }

    /// Names of all files that nothing in this process uses.
    pub(super) fn unused(&self) -> Result<Vec<FileId>, ObjectError> {
        let mut found = Vec::new();
        for shard in 0..=255u8 {
            let folder = self.root.join(format!("{shard:02x}"));
            for entry in fs::read_dir(&folder).map_err(|e| ObjectError::io(&folder, e))?.flatten() {
                // What came after the opening is no crash's leftover, whoever wrote it.
                let older = entry
                    .metadata()
                    .is_ok_and(|file| (file.ctime(), file.ctime_nsec()) <= self.opened);
                if older && let Ok(name) = entry.file_name().into_string() {
                    found.push(name);
                }
            }
        }
        let live = self.live();
        found.retain(|id| !live.pending.contains(id) && !live.pins.contains_key(id));
        Ok(found)
    }

    /// Takes a body in: to a temporary file, hashed on the way, checked, flushed, named. Memory stays
    /// at a few steps whatever the size.
    pub(super) async fn ingest(
        self: &Arc<Self>,
        mut body: Body,
        options: PartOptions,
        algorithm: ChecksumAlgorithm,
    ) -> Result<(NewFile, Digested), ObjectError> {
        let limit = if options.limit == 0 { LARGEST } else { options.limit };
        let mut step: Vec<Bytes> = Vec::new();
        let mut bytes = 0;
        let mut total = 0u64;
        let mut running: Option<tokio::task::JoinHandle<Result<Writer, ObjectError>>> = None;
        while let Some(piece) = body.next().await {
            let piece = piece.map_err(ObjectError::Body)?;
            bytes += piece.len();
            total += piece.len() as u64;
            if total > limit {
                return Err(ObjectError::TooLarge(limit));
            }
            step.push(piece);
            if bytes >= STEP {
                bytes = 0;
                let pieces = std::mem::take(&mut step);
                let writer = match running.take() {
                    Some(task) => Some(task.await??),
                    None => None,
                };
                let files = Arc::clone(self);
                running = Some(tokio::task::spawn_blocking(move || {
                    let mut writer = match writer {
                        Some(writer) => writer,
                        None => Writer::new(&files, algorithm)?,
                    };
                    writer.write(&pieces)?;
                    Ok(writer)
                }));
            }
        }
        let writer = match running.take() {
            Some(task) => Some(task.await??),
            None => None,
        };
        let files = Arc::clone(self);
        tokio::task::spawn_blocking(move || {
            let mut writer = match writer {
                Some(writer) => writer,
                None => Writer::new(&files, algorithm)?,
            };
            writer.write(&step)?;
            writer.finish(&files, options)
        })
        .await?
    }
}

/// Flushes a folder's entries.
fn sync_folder(folder: &Path) -> Result<(), ObjectError> {
    File::open(folder).and_then(|f| f.sync_all()).map_err(|e| ObjectError::io(folder, e))
}

/// A temporary file and the digests of what is in it.
struct Writer {
    file: NamedTempFile,
    digests: Digests,
}

impl Writer {
    fn new(files: &Files, algorithm: ChecksumAlgorithm) -> Result<Self, ObjectError> {
        Ok(Writer { file: files.temporary()?, digests: Digests::new(algorithm) })
    }

    fn write(&mut self, pieces: &[Bytes]) -> Result<(), ObjectError> {
        for piece in pieces {
            self.digests.update(piece);
            self.file
                .as_file_mut()
                .write_all(piece)
                .map_err(|e| ObjectError::io(self.file.path(), e))?;
        }
        Ok(())
    }

    fn finish(
        self,
        files: &Arc<Files>,
        options: PartOptions,
    ) -> Result<(NewFile, Digested), ObjectError> {
        let size = self.digests.size();
        let digested = check(self.digests.finish(), options.md5, options.expected)?;
        let new = files.place(self.file, size)?;
        Ok((new, digested))
    }
}

/// Compares digests with what the client gave.
pub(super) fn check(
    digested: Digested,
    md5: Option<[u8; 16]>,
    expected: Option<Expected>,
) -> Result<Digested, ObjectError> {
    if md5.is_some_and(|md5| md5 != digested.md5) {
        return Err(ObjectError::Md5Mismatch);
    }
    let algorithm = digested.algorithm.name();
    let given = match expected {
        None => return Ok(digested),
        Some(Expected::Now(given)) => given,
        Some(Expected::AfterBody(ask)) => ask().ok_or(ObjectError::ChecksumMissing(algorithm))?,
    };
    if given != digested.checksum {
        let computed = digested.checksum;
        return Err(ObjectError::ChecksumMismatch { algorithm, given, computed });
    }
    Ok(digested)
}

/// A file that has its name but no row yet: removed on drop unless it is kept.
#[derive(Debug)]
pub(super) struct NewFile {
    files: Arc<Files>,
    pub(super) id: FileId,
    pub(super) size: u64,
    keep: bool,
}

impl NewFile {
    /// The row is on disk, or may be: the sweep at the next start decides.
    pub(super) fn keep(&mut self) {
        self.keep = true;
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if !self.keep {
            self.files.unlink(&self.id);
        }
        self.files.live().pending.remove(&self.id);
    }
}

/// Files that stay while this lives.
#[derive(Debug)]
pub(super) struct Pin {
    files: Arc<Files>,
    ids: Vec<FileId>,
}

impl Drop for Pin {
    fn drop(&mut self) {
        let mut gone = Vec::new();
        let mut live = self.files.live();
        for id in &self.ids {
            if let Some(count) = live.pins.get_mut(id) {
                *count -= 1;
                if *count == 0 {
                    live.pins.remove(id);
                    if live.doomed.remove(id) {
                        gone.push(id.clone());
                    }
                }
            }
        }
        drop(live);
        for id in gone {
            self.files.unlink(&id);
        }
    }
}

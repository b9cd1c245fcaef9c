//! Where code lies: `lambda/code/SHA256/code.zip` and `…/unpacked/`, named by the zip's SHA-256, made aside
//! and renamed when whole and flushed. Code that no row refers to is deleted as soon as nobody holds it.

use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::io::{Read, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kennel_store::state::Database;
use sha2::{Digest as _, Sha256};

use super::super::rows::{self, Code};
use super::{PackageError, elf, unpack, written};

const ZIP: &str = "code.zip";
const UNPACKED: &str = "unpacked";
/// Folders in the making, and on their way out; none outlives a start.
const ASIDE: &str = ".aside-";

/// The folder of all code; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Shelf {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    folder: PathBuf,
    database: Database,
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    /// How many hold a piece of code.
    holders: HashMap<String, usize>,
    /// To be looked at when nobody holds it any more.
    doubtful: BTreeSet<String>,
}

/// Keeps code from being deleted: while its row is written, or while environments run it.
#[derive(Debug)]
pub(crate) struct Hold {
    inner: Arc<Inner>,
    sha256: String,
}

impl Drop for Hold {
    fn drop(&mut self) {
        let mut held = self.inner.lock();
        let last = match held.holders.get_mut(&self.sha256) {
            Some(count) if *count > 1 => {
                *count -= 1;
                false
            }
            _ => {
                held.holders.remove(&self.sha256);
                true
            }
        };
        if last && held.doubtful.remove(&self.sha256) {
            let aside = self.inner.take_away(&self.sha256);
            drop(held);
            discard(aside);
        }
    }
}

/// A zip that came in.
#[derive(Debug)]
pub(crate) enum Source {
    /// In the request.
    Bytes(Vec<u8>),
    /// A file that may be moved.
    File(PathBuf),
}

impl Shelf {
    /// Opens the folder below the data folder and clears away what a killed server left half-done.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn open(data: &Path, database: Database) -> std::io::Result<Self> {
        let folder = data.join("lambda").join("code");
        std::fs::create_dir_all(&folder)?;
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&folder)? {
            let entry = entry?;
            match entry.file_name().into_string() {
                Ok(name) if name.starts_with(ASIDE) => discard(Some(entry.path())),
                Ok(name) => names.push(name),
                Err(_) => {}
            }
        }
        let shelf = Shelf { inner: Arc::new(Inner { folder, database, held: Mutex::default() }) };
        // What was placed when the server was killed before its row was written.
        for name in names {
            shelf.release(&name);
        }
        Ok(shelf)
    }

    /// A new folder on the shelf's disk, for a file that is to be placed.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn aside(&self) -> Result<tempfile::TempDir, PackageError> {
        let folder = &self.inner.folder;
        tempfile::Builder::new().prefix(ASIDE).tempdir_in(folder).map_err(written(folder))
    }

    /// Places a zip, unpacked. Blocks. The hold is to be kept until a row refers to the code.
    ///
    /// # Errors
    /// See [`PackageError`]; nothing is left then.
    pub(crate) fn place(&self, source: Source, limit: u64) -> Result<(Code, Hold), PackageError> {
        let aside = self.aside()?;
        let zip = aside.path().join(ZIP);
        match source {
            Source::Bytes(bytes) => {
                let mut file = File::create_new(&zip).map_err(written(&zip))?;
                file.write_all(&bytes).map_err(written(&zip))?;
            }
            Source::File(path) => std::fs::rename(&path, &zip).map_err(written(&path))?,
        }
        let (sha256, size) = digest(&zip).map_err(written(&zip))?;
        let hold = self.hold_doubtful(&sha256);
        let place = self.inner.folder.join(&sha256);
        if !place.is_dir() {
            let unpacked = aside.path().join(UNPACKED);
            std::fs::create_dir(&unpacked).map_err(written(&unpacked))?;
            let file = File::open(&zip).map_err(written(&zip))?;
            unpack(file, &unpacked, limit)?;
            freeze(&unpacked).map_err(written(&unpacked))?;
            flush(aside.path()).map_err(written(&unpacked))?;
            let kept = aside.keep();
            if let Err(source) = std::fs::rename(&kept, &place) {
                discard(Some(kept));
                // Someone else placed the same code meanwhile.
                if !place.is_dir() {
                    return Err(PackageError::Write { path: place, source });
                }
            }
            sync_folder(&self.inner.folder).map_err(written(&self.inner.folder))?;
        }
        let unpacked = bytes_below(&place.join(UNPACKED)).map_err(written(&place))?;
        if unpacked >= limit {
            return Err(PackageError::TooLarge(limit));
        }
        Ok((Code { sha256, size, unpacked }, hold))
    }

    /// Keeps code from being deleted while it is held.
    pub(crate) fn hold(&self, sha256: &str) -> Hold {
        *self.inner.lock().holders.entry(sha256.to_owned()).or_default() += 1;
        Hold { inner: self.inner.clone(), sha256: sha256.to_owned() }
    }

    fn hold_doubtful(&self, sha256: &str) -> Hold {
        let hold = self.hold(sha256);
        self.inner.lock().doubtful.insert(sha256.to_owned());
        hold
    }

    /// A row has let go of this code: deletes it where no other refers to it, later where it is held.
    pub(crate) fn release(&self, sha256: &str) {
        let mut held = self.inner.lock();
        if held.holders.contains_key(sha256) {
            held.doubtful.insert(sha256.to_owned());
            return;
        }
        let aside = self.inner.take_away(sha256);
        drop(held);
        discard(aside);
    }

    /// The zip of code.
    pub(crate) fn zip(&self, sha256: &str) -> PathBuf {
        self.inner.folder.join(sha256).join(ZIP)
    }

    /// The folder of unpacked code; read-only.
    pub(crate) fn unpacked(&self, sha256: &str) -> PathBuf {
        self.inner.folder.join(sha256).join(UNPACKED)
    }

    /// What lies at `bootstrap` of code.
    pub(crate) fn bootstrap(&self, sha256: &str) -> elf::Program {
        elf::look(&self.unpacked(sha256).join("bootstrap"))
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Renames unused code away. Called with the lock: nobody holds it, and whoever writes a row that
    /// refers to new code holds that, so the rows tell all.
    fn take_away(&self, sha256: &str) -> Option<PathBuf> {
        match self.database.read(|c| rows::code_is_used(c, sha256)) {
            Ok(Ok(false)) => {}
            Ok(Ok(true)) => return None,
            // Kept: the next start looks again.
            Ok(Err(_)) | Err(_) => return None,
        }
        let place = self.folder.join(sha256);
        let aside = self.folder.join(format!("{ASIDE}{sha256}-{}", uuid::Uuid::new_v4().simple()));
        std::fs::rename(place, &aside).ok().map(|()| aside)
    }
}

/// Deletes a folder of read-only folders.
fn discard(folder: Option<PathBuf>) {
    let Some(folder) = folder else { return };
    let _ = modes(&folder, 0o755);
    if let Err(e) = std::fs::remove_dir_all(&folder) {
        tracing::warn!("unused code at `{}` cannot be deleted: {e}", folder.display());
    }
}

fn digest(path: &Path) -> std::io::Result<(String, u64)> {
    let mut file = File::open(path)?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0u8; 256 << 10];
    let mut size = 0u64;
    loop {
        let n = file.read(&mut buffer)?;
        let Some(piece) = buffer.get(..n).filter(|piece| !piece.is_empty()) else { break };
        hash.update(piece);
        size += n as u64;
    }
    let hex = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    Ok((hex, size))
}

/// Takes the right to write from all folders below and including `folder`.
fn freeze(folder: &Path) -> std::io::Result<()> {
    modes(folder, 0o555)
}

#[cfg(unix)]
fn modes(folder: &Path, mode: u32) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(mode))?;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        // Links are not followed.
        if entry.file_type()?.is_dir() {
            modes(&entry.path(), mode)?;
        }
    }
    Ok(())
}

#[cfg(not(unix))]
fn modes(_folder: &Path, _mode: u32) -> std::io::Result<()> {
    Ok(())
}

fn bytes_below(folder: &Path) -> std::io::Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            bytes += bytes_below(&entry.path())?;
        } else if kind.is_file() {
            bytes += entry.metadata()?.len();
        }
    }
    Ok(bytes)
}

/// Files that are flushed one by one; for more, one flush of the whole disk is quicker.
const ONE_BY_ONE: usize = 64;

/// Flushes all files and folders below a folder.
fn flush(folder: &Path) -> std::io::Result<()> {
    let mut paths = vec![folder.to_owned()];
    let mut next = 0;
    while let Some(path) = paths.get(next).cloned() {
        next += 1;
        if !path.symlink_metadata()?.is_dir() {
            continue;
        }
        for entry in std::fs::read_dir(&path)? {
            let entry = entry?;
            if !entry.file_type()?.is_symlink() {
                paths.push(entry.path());
            }
        }
    }
    if paths.len() > ONE_BY_ONE {
        return flush_disk(folder);
    }
    paths.iter().try_for_each(|path| File::open(path)?.sync_all())
}

#[cfg(target_os = "linux")]
fn flush_disk(folder: &Path) -> std::io::Result<()> {
    Ok(rustix::fs::syncfs(File::open(folder)?)?)
}

#[cfg(not(target_os = "linux"))]
fn flush_disk(folder: &Path) -> std::io::Result<()> {
    File::open(folder)?.sync_all()
}

fn sync_folder(folder: &Path) -> std::io::Result<()> {
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests;

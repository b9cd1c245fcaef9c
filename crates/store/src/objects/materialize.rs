//! Objects as plain files and back, for the parts of the server that hand data to child processes.

use std::fs;
use std::path::{Component, Path, PathBuf};

use super::error::ObjectError;
use super::reader::OpenObject;
use super::rows::{self, Segment};
use super::store::FileStore;
use super::types::{ListOptions, ObjectInfo, PutOptions};
use super::{ObjectStore as _, list};

/// How objects become files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placement {
    /// Hard links where the file system allows (one file per object, same disk), copies elsewhere.
    /// Linked files are read-only and share their bytes with the store: whoever can write to them in
    /// spite of that (root can) changes the object. Only for readers that do not.
    Link,
    /// Copies.
    Copy,
}

/// A key that was not laid out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// The key.
    pub key: String,
    /// Why.
    pub reason: String,
}

/// What [`FileStore::materialize`] did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Materialized {
    /// Files made.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// How many of them are links.
    pub linked: u64,
    /// Keys that cannot be paths below the target; at most 100 of them are named.
    pub refused: Vec<Refused>,
    /// How many keys were refused.
    pub refused_count: u64,
}

/// Objects of one page.
const PAGE: usize = 1000;
/// Refused keys that are named.
const NAMED: usize = 100;

impl FileStore {
    /// Lays out the objects under a prefix as files in `target` (made where needed). What follows the
    /// prefix in the key is the path; an object whose key is the prefix itself keeps its last
    /// component. Keys that end with `/` and have no bytes are folders. Keys that would leave
    /// `target` (`..`, an absolute path, NUL) or collide with a folder are refused and reported.
    ///
    /// # Errors
    /// When there is no such bucket, or a file cannot be written.
    pub async fn materialize(
        &self,
        bucket: &str,
        prefix: &str,
        target: &Path,
        placement: Placement,
    ) -> Result<Materialized, ObjectError> {
        let (store, target) = (self.clone(), target.to_owned());
        let (bucket, prefix) = (bucket.to_owned(), prefix.to_owned());
        tokio::task::spawn_blocking(move || store.lay_out(&bucket, &prefix, &target, placement))
            .await?
    }

    fn lay_out(
        &self,
        bucket: &str,
        prefix: &str,
        target: &Path,
        placement: Placement,
    ) -> Result<Materialized, ObjectError> {
        fs::create_dir_all(target).map_err(|e| ObjectError::io(target, e))?;
        let mut done = Materialized::default();
        let mut options =
            ListOptions { prefix: prefix.to_owned(), max: PAGE, ..ListOptions::default() };
        loop {
            let page = self.database.read(|db| list::list(db, bucket, &options))??;
            for info in &page.objects {
                let outcome = match path_below(&info.key, prefix) {
                    Ok(path) => self.lay_out_one(bucket, info, &target.join(path), placement),
                    Err(reason) => Ok(Placed::Refused(reason)),
                };
                match outcome? {
                    Placed::File { linked } => {
                        done.files += 1;
                        done.bytes += info.size;
                        done.linked += u64::from(linked);
                    }
                    Placed::Nothing => {}
                    Placed::Refused(reason) => {
                        done.refused_count += 1;
                        if done.refused.len() < NAMED {
                            done.refused.push(Refused { key: info.key.clone(), reason });
                        }
                    }
                }
            }
            match page.next {
                Some(next) => options.after = Some(next),
                None => return Ok(done),
            }
        }
    }

    fn lay_out_one(
        &self,
        bucket: &str,
        info: &ObjectInfo,
        path: &Path,
        placement: Placement,
    ) -> Result<Placed, ObjectError> {
        let failed = |e| ObjectError::io(path, e);
        if info.key.ends_with('/') {
            if info.size > 0 {
                return Ok(Placed::Refused("ends with `/` but has bytes".to_owned()));
            }
            return match fs::create_dir_all(path) {
                Ok(()) => Ok(Placed::Nothing),
                Err(_) if path.exists() => Ok(collision()),
                Err(e) => Err(failed(e)),
            };
        }
        if let Some(folder) = path.parent()
            && let Err(e) = fs::create_dir_all(folder)
        {
            let blocked = folder.ancestors().any(Path::is_file);
            return if blocked { Ok(collision()) } else { Err(failed(e)) };
        }
        if path.is_dir() {
            return Ok(collision());
        }
        if placement == Placement::Link {
            let found = self.database.read(|db| rows::find(db, bucket, &info.key))??;
            if let Some((_, segments)) = found
                && let [Segment(id, _)] = segments.as_slice()
                && fs::hard_link(self.files.path(id), path).is_ok()
            {
                return Ok(Placed::File { linked: true });
            }
        }
        match self.open_blocking(bucket, &info.key) {
            // Deleted since it was listed.
            Err(ObjectError::NoSuchKey(_)) => Ok(Placed::Nothing),
            Err(e) => Err(e),
            Ok(open) => {
                write_out(open, path)?;
                Ok(Placed::File { linked: false })
            }
        }
    }

    /// Stores a file as an object. Memory stays constant.
    ///
    /// # Errors
    /// When the file cannot be read, and as [`super::ObjectStore::put`].
    pub async fn put_file(
        &self,
        bucket: &str,
        key: &str,
        path: &Path,
        options: PutOptions,
    ) -> Result<ObjectInfo, ObjectError> {
        let path = path.to_owned();
        let opened = tokio::task::spawn_blocking(move || {
            let file = fs::File::open(&path).map_err(|e| ObjectError::io(&path, e))?;
            let size = file.metadata().map_err(|e| ObjectError::io(&path, e))?.len();
            Ok::<_, ObjectError>((file, size))
        });
        let (file, size) = opened.await??;
        self.put(bucket, key, OpenObject::bytes_of(file, size), options).await
    }

    /// Writes an object to a file: aside, flushed, renamed.
    ///
    /// # Errors
    /// When there is no such object or the file cannot be written.
    pub async fn get_to_file(
        &self,
        bucket: &str,
        key: &str,
        path: &Path,
    ) -> Result<ObjectInfo, ObjectError> {
        let (store, path) = (self.clone(), path.to_owned());
        let (bucket, key) = (bucket.to_owned(), key.to_owned());
        tokio::task::spawn_blocking(move || {
            let open = store.open_blocking(&bucket, &key)?;
            let info = open.info.clone();
            write_out(open, &path)?;
            Ok(info)
        })
        .await?
    }
}

enum Placed {
    File { linked: bool },
    Nothing,
    Refused(String),
}

fn collision() -> Placed {
    Placed::Refused("another key makes this path a folder, or a file of its folder".to_owned())
}

/// The path of a key below a prefix: the rule that keeps every key of a stranger below the folder it is
/// laid out in.
///
/// # Errors
/// What is wrong with the key, to follow `it …`.
pub fn path_below(key: &str, prefix: &str) -> Result<PathBuf, String> {
    let mut rest = key.strip_prefix(prefix).unwrap_or(key);
    if rest.is_empty() {
        rest = key.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
        if key.ends_with('/') {
            // The marker of the folder that the prefix names: the target itself.
            return Ok(PathBuf::new());
        }
    } else if !prefix.is_empty() && !prefix.ends_with('/') {
        rest = rest.strip_prefix('/').unwrap_or(rest);
    }
    if rest.contains('\0') {
        return Err("has a NUL byte".to_owned());
    }
    if rest.starts_with('/') {
        return Err("is an absolute path".to_owned());
    }
    if rest.split('/').any(|name| name.len() > 255) {
        return Err("has a component of more than 255 bytes".to_owned());
    }
    let path = Path::new(rest);
    if path.components().all(|c| matches!(c, Component::Normal(_))) && !rest.contains("//") {
        Ok(path.to_owned())
    } else {
        Err("has an empty, `.` or `..` component".to_owned())
    }
}

/// Copies an opened object to a file, aside and renamed.
fn write_out(open: OpenObject, path: &Path) -> Result<(), ObjectError> {
    let failed = |e| ObjectError::io(path, e);
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = tempfile::Builder::new()
        .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))
        .tempfile_in(folder)
        .map_err(failed)?;
    open.copy_to(file.as_file_mut()).map_err(failed)?;
    file.as_file().sync_data().map_err(failed)?;
    file.persist(path).map_err(|e| failed(e.error))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_become_paths_below_the_target_or_are_refused() {
        let path = |key, prefix| path_below(key, prefix).ok();
        let some = |p: &str| Some(PathBuf::from(p));
        assert_eq!(path("train/a/b.jpg", "train/"), some("a/b.jpg"));
        assert_eq!(path("train/a/b.jpg", "train"), some("a/b.jpg"));
        assert_eq!(path("train2/b.jpg", "train"), some("2/b.jpg"));
        assert_eq!(path("model/m.tar.gz", "model/m.tar.gz"), some("m.tar.gz"));
        assert_eq!(path("a.jpg", ""), some("a.jpg"));
        assert_eq!(path("train/", "train/"), some(""));
        for key in ["p/../x", "p//etc/passwd", "p/a/../../x", "p/a\0b", "p/./x", "p/a//b", "p/.."] {
            assert_eq!(path(key, "p/"), None, "{key:?}");
        }
        assert_eq!(path("/etc/passwd", ""), None);
        assert_eq!(path("..", ""), None);
    }
}

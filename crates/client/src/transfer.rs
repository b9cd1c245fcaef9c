//! Many files at once, by a bounded number of threads.

use std::path::{Component, Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::client::Client;
use crate::clock;
use crate::error::ClientError;
use crate::files;
use crate::s3::Location;

/// Files under way at once.
pub(crate) const FILES_AT_ONCE: usize = 8;

/// Runs `work` on every item by at most `threads` threads; results in order. After the first error no
/// further item is begun, and that error is returned.
pub(crate) fn parallel<I: Sync, O: Send>(
    items: &[I],
    threads: usize,
    work: impl Fn(&I) -> Result<O, ClientError> + Sync,
) -> Result<Vec<O>, ClientError> {
    let next = AtomicUsize::new(0);
    let stop = AtomicBool::new(false);
    let done: Mutex<Vec<(usize, O)>> = Mutex::new(Vec::with_capacity(items.len()));
    let failed: Mutex<Option<ClientError>> = Mutex::new(None);
    std::thread::scope(|scope| {
        for _ in 0..threads.clamp(1, items.len().max(1)) {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(item) = items.get(index) else { break };
                    match work(item) {
                        Ok(output) => locked(&done).push((index, output)),
                        Err(error) => {
                            stop.store(true, Ordering::Relaxed);
                            locked(&failed).get_or_insert(error);
                        }
                    }
                }
            });
        }
    });
    if let Some(error) = locked(&failed).take() {
        return Err(error);
    }
    let mut done = std::mem::take(&mut *locked(&done));
    done.sort_by_key(|(index, _)| *index);
    Ok(done.into_iter().map(|(_, output)| output).collect())
}

/// A poisoned lock holds nothing that a panic could have left half-done here.
fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// One file and its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pair {
    pub path: PathBuf,
    pub at: Location,
}

/// The files below a folder and where they go below a prefix.
pub(crate) fn plan_upload(folder: &Path, to: &Location) -> Result<Vec<Pair>, ClientError> {
    let prefix = folder_prefix(&to.key);
    let files = files::walk(folder)?;
    Ok(files
        .into_iter()
        .map(|(path, name)| Pair { path, at: to.with_key(format!("{prefix}{name}")) })
        .collect())
}

/// `a/b` and `a/b/` both mean what is below `a/b/`.
pub(crate) fn folder_prefix(key: &str) -> String {
    if key.is_empty() || key.ends_with('/') { key.to_owned() } else { format!("{key}/") }
}

/// The objects below a prefix and where they go below a folder. Markers of empty folders are skipped;
/// keys that would leave the folder are refused.
pub(crate) fn plan_download(
    client: &Client,
    from: &Location,
    folder: &Path,
) -> Result<Vec<Pair>, ClientError> {
    let prefix = folder_prefix(&from.key);
    let listing = client.list(&from.with_key(prefix.clone()), None)?;
    let mut pairs = Vec::new();
    for object in listing.objects {
        let name = object.key.strip_prefix(&prefix).unwrap_or(&object.key);
        if name.is_empty() || name.ends_with('/') {
            continue;
        }
        pairs.push(Pair { path: inside(folder, name)?, at: from.with_key(object.key.clone()) });
    }
    Ok(pairs)
}

/// A key's path in a folder, unless it would leave it.
fn inside(folder: &Path, name: &str) -> Result<PathBuf, ClientError> {
    let plain = Path::new(name).components().all(|c| matches!(c, Component::Normal(_)));
    if !plain || name.contains(['\\', '\0']) || name.contains("//") {
        return Err(ClientError::Usage(format!(
            "the key `{}` is no path of a file below `{}`\nhint: copy it alone, to a name of your choice",
            name.escape_debug(),
            folder.display()
        )));
    }
    Ok(folder.join(name))
}

/// A file's size and time of change in epoch seconds; none where there is no file.
fn local(path: &Path) -> Option<(u64, i64)> {
    let meta = std::fs::metadata(path).ok().filter(std::fs::Metadata::is_file)?;
    let since = meta.modified().ok()?.duration_since(std::time::UNIX_EPOCH).ok()?;
    Some((meta.len(), i64::try_from(since.as_secs()).ok()?))
}

/// Leaves out what is the same on both sides by AWS's own rule for `sync`: the same size, and the
/// destination not older than the source.
pub(crate) fn changed(
    client: &Client,
    pairs: Vec<Pair>,
    at: &Location,
    up: bool,
) -> Result<Vec<Pair>, ClientError> {
    let listing = client.list(&at.with_key(folder_prefix(&at.key)), None)?;
    let objects: std::collections::HashMap<String, (u64, Option<i64>)> = listing
        .objects
        .into_iter()
        .map(|o| (o.key, (o.size, clock::from_iso(&o.last_modified))))
        .collect();
    let same = |pair: &Pair| {
        let (Some((size, there)), Some((length, here))) =
            (objects.get(&pair.at.key), local(&pair.path))
        else {
            return false;
        };
        let in_order = there.is_some_and(|there| if up { here <= there } else { here >= there });
        *size == length && in_order
    };
    Ok(pairs.into_iter().filter(|pair| !same(pair)).collect())
}

/// Stores files; returns their bytes in all.
pub(crate) fn upload(
    client: &Client,
    pairs: &[Pair],
    sent: &(dyn Fn(u64) + Sync),
) -> Result<u64, ClientError> {
    let sizes = parallel(pairs, FILES_AT_ONCE, |pair| client.put_file(&pair.at, &pair.path, sent))?;
    Ok(sizes.iter().sum())
}

/// Fetches objects; returns their bytes in all.
pub(crate) fn download(
    client: &Client,
    pairs: &[Pair],
    got: &(dyn Fn(u64) + Sync),
) -> Result<u64, ClientError> {
    let sizes = parallel(pairs, FILES_AT_ONCE, |pair| {
        if let Some(parent) = pair.path.parent().filter(|p| !p.as_os_str().is_empty()) {
            std::fs::create_dir_all(parent).map_err(ClientError::file("create", parent))?;
        }
        client.get_file(&pair.at, &pair.path, got)
    })?;
    Ok(sizes.iter().sum())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Server, ok};

    #[test]
    fn results_keep_their_order_and_errors_stop() {
        let items: Vec<u32> = (0..100).collect();
        let doubled = parallel(&items, 7, |i| Ok(i * 2)).unwrap();
        assert_eq!(doubled, (0..100).map(|i| i * 2).collect::<Vec<_>>());
        let begun = AtomicUsize::new(0);
        let failed = parallel(&items, 2, |_| -> Result<(), _> {
            begun.fetch_add(1, Ordering::Relaxed);
            Err(ClientError::Usage("no".into()))
        });
        assert!(failed.is_err());
        assert!(begun.into_inner() <= 2);
        assert!(parallel(&[] as &[u32], 4, |_| Ok(())).unwrap().is_empty());
    }

    #[test]
    fn keys_never_leave_the_folder() {
        let folder = Path::new("/d");
        assert_eq!(inside(folder, "a/b.jpg").unwrap(), Path::new("/d/a/b.jpg"));
        for bad in ["../x", "a/../../x", "/etc/x", "a//b", "./x", "a\\b", "a\0"] {
            assert!(inside(folder, bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_folder_and_its_objects_map_both_ways() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("b")).unwrap();
        std::fs::write(folder.path().join("b/x y.txt"), b"1").unwrap();
        std::fs::write(folder.path().join("a"), b"22").unwrap();
        let to = Location::parse("s3://dogs/data").unwrap();
        let pairs = plan_upload(folder.path(), &to).unwrap();
        let keys: Vec<&str> = pairs.iter().map(|p| p.at.key.as_str()).collect();
        assert_eq!(keys, ["data/a", "data/b/x y.txt"]);

        let list = "<L><Contents><Key>data/a</Key></Contents><Contents><Key>data/b/</Key></Contents>\
                    <Contents><Key>data/b/x y.txt</Key></Contents></L>";
        let server = Server::replies(vec![ok(list)]);
        let down = plan_download(&server.client(), &to, folder.path()).unwrap();
        assert_eq!(down, pairs);
    }

    #[test]
    fn only_what_changed_is_copied_again() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["same", "size", "newer", "missing"] {
            std::fs::write(folder.path().join(name), b"1").unwrap();
        }
        let object = |name: &str, size: u32, year: u32| {
            format!(
                "<Contents><Key>d/{name}</Key><Size>{size}</Size>\
                 <LastModified>{year}-01-01T00:00:00.000Z</LastModified></Contents>"
            )
        };
        let list =
            [object("same", 1, 2999), object("size", 2, 2999), object("newer", 1, 1999)].concat();
        let server = Server::replies(vec![ok(&format!("<L>{list}</L>"))]);
        let to = Location::parse("s3://dogs/d").unwrap();
        let pairs = plan_upload(folder.path(), &to).unwrap();
        let keys = |up: bool| -> Vec<String> {
            let pairs = changed(&server.client(), pairs.clone(), &to, up).unwrap();
            pairs.into_iter().map(|p| p.at.key).collect()
        };
        assert_eq!(keys(true), ["d/missing", "d/newer", "d/size"]);
        assert_eq!(keys(false), ["d/missing", "d/same", "d/size"]);
    }
}

//! `ShardedByS3Key`: the objects of a channel dealt out to the instances of a job.
//!
//! AWS says of it that "each instance gets approximately 1/n of the number of S3 objects" and nothing of the order
//! (API_S3DataSource). Here the objects in the order of their keys go to the instances in turn.

use std::io;
use std::path::{Path, PathBuf};

/// Deals the files below `folder` out to `hosts` folders of the same name beside it, one per instance; one that
/// gets nothing is there and empty.
///
/// # Errors
/// When a file cannot be moved.
pub(super) fn deal(folder: &Path, hosts: usize) -> io::Result<Vec<PathBuf>> {
    let (Some(parent), Some(name)) = (folder.parent(), folder.file_name()) else {
        return Err(io::Error::other("a channel without a folder"));
    };
    // Channel names do not begin with a dot.
    let shards: Vec<PathBuf> =
        (1..=hosts).map(|host| parent.join(format!(".algo-{host}")).join(name)).collect();
    for shard in &shards {
        std::fs::create_dir_all(shard)?;
    }
    for (number, file) in files(folder)?.into_iter().enumerate() {
        let to = shards[number % hosts].join(&file);
        if let Some(parent) = to.parent() {
            std::fs::create_dir_all(parent)?;
        }
        std::fs::rename(folder.join(&file), to)?;
    }
    Ok(shards)
}

/// Files below a folder in the order of the keys that they come from: byte by byte, slashes too.
fn files(root: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(root.join(&folder))? {
            let entry = entry?;
            let path = folder.join(entry.file_name());
            // Links are objects that lie elsewhere, whatever they point to.
            if entry.file_type()?.is_dir() { folders.push(path) } else { found.push(path) }
        }
    }
    found.sort_by(|a, b| a.as_os_str().cmp(b.as_os_str()));
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_go_in_turn_by_key() {
        let folder = tempfile::tempdir().unwrap();
        let channel = folder.path().join("train");
        for key in ["a/2.jpg", "a/1.jpg", "a-b/1.jpg", "b/1.jpg", "z.jpg"] {
            let path = channel.join(key);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, key).unwrap();
        }
        let shards = deal(&channel, 3).unwrap();
        let told: Vec<Vec<String>> = shards
            .iter()
            .map(|shard| {
                assert_eq!(shard.file_name().unwrap(), "train");
                let files = files(shard).unwrap();
                files.into_iter().map(|f| f.display().to_string()).collect()
            })
            .collect();
        // `-` comes before `/`, as in a listing of the bucket.
        assert_eq!(told, [vec!["a-b/1.jpg", "b/1.jpg"], vec!["a/1.jpg", "z.jpg"], vec!["a/2.jpg"]]);
        assert_eq!(std::fs::read_to_string(shards[1].join("a/1.jpg")).unwrap(), "a/1.jpg");
    }

    #[test]
    fn more_instances_than_objects_leave_some_without() {
        let folder = tempfile::tempdir().unwrap();
        let channel = folder.path().join("data");
        std::fs::create_dir(&channel).unwrap();
        std::fs::write(channel.join("only"), "").unwrap();
        let shards = deal(&channel, 4).unwrap();
        let counts: Vec<usize> = shards.iter().map(|s| files(s).unwrap().len()).collect();
        assert_eq!(counts, [1, 0, 0, 0]);
    }
}

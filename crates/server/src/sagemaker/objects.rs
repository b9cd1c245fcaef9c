//! Where training data, models and outputs come from and go to: `s3://` locations.

use std::path::Path;

use kennel_store::objects::{
    FileStore, Materialized, Metadata, ObjectError, PartOptions, Placement, PutOptions,
};
use kennel_wire::ServiceError;

use crate::context::Timestamp;

/// `s3://bucket/key-or-prefix`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Location {
    pub bucket: String,
    /// Key or prefix; may be empty.
    pub key: String,
}

impl Location {
    /// Reads an S3 URI.
    ///
    /// # Errors
    /// `ValidationException` for anything else.
    pub(super) fn parse(uri: &str) -> Result<Self, ServiceError> {
        let rest = uri.strip_prefix("s3://");
        let (bucket, key) = rest
            .map(|rest| rest.split_once('/').unwrap_or((rest, "")))
            .filter(|(bucket, _)| !bucket.is_empty())
            .ok_or_else(|| {
                ServiceError::validation(format!(
                    "`{uri}` is not an S3 location\nhint: write `s3://bucket/prefix`"
                ))
            })?;
        Ok(Location { bucket: bucket.to_owned(), key: key.to_owned() })
    }
}

/// Why data could not be brought or taken away; the words go into a FailureReason.
#[derive(Debug, thiserror::Error)]
pub(super) enum TransferError {
    /// The store's.
    #[error(transparent)]
    Object(#[from] ObjectError),
    /// Nothing is there.
    #[error(
        "NoSuchKey (404): no objects at `s3://{0}/{1}`\nhint: upload the data first, or correct the S3 URI"
    )]
    Nothing(String, String),
    /// Keys that cannot become files.
    #[error("{count} keys cannot become files, the first is `{key}`: it {reason}")]
    Refused {
        /// How many.
        count: u64,
        /// One of them.
        key: String,
        /// Why.
        reason: String,
    },
    /// This machine's disk.
    #[error("`{path}`: {source}")]
    Local {
        /// Where.
        path: String,
        /// The system's words.
        source: std::io::Error,
    },
}

/// Data, models and outputs at `s3://` locations of this platform.
#[derive(Debug, Clone)]
pub(super) struct Objects {
    store: FileStore,
}

impl Objects {
    pub(super) fn new(store: FileStore) -> Self {
        Objects { store }
    }

    /// Lays out what is below a prefix as files, linked where `link` says that only trusted programs
    /// read them.
    ///
    /// # Errors
    /// When there is nothing, or something that cannot be a file.
    pub(super) async fn fetch_prefix(
        &self,
        location: &Location,
        folder: &Path,
        link: bool,
    ) -> Result<Materialized, TransferError> {
        let done = self.lay_out(location, folder, link).await?;
        if done.files == 0 {
            return Err(TransferError::Nothing(location.bucket.clone(), location.key.clone()));
        }
        Ok(done)
    }

    /// As [`Objects::fetch_prefix`], where nothing may be there.
    pub(super) async fn fetch_prefix_if_any(
        &self,
        location: &Location,
        folder: &Path,
    ) -> Result<Materialized, TransferError> {
        self.lay_out(location, folder, false).await
    }

    async fn lay_out(
        &self,
        location: &Location,
        folder: &Path,
        link: bool,
    ) -> Result<Materialized, TransferError> {
        let placement = if link { Placement::Link } else { Placement::Copy };
        let done =
            self.store.materialize(&location.bucket, &location.key, folder, placement).await?;
        match done.refused.first() {
            Some(first) => Err(TransferError::Refused {
                count: done.refused_count,
                key: first.key.clone(),
                reason: first.reason.clone(),
            }),
            None => Ok(done),
        }
    }

    /// Brings one object; answers its ETag.
    pub(super) async fn fetch_file(
        &self,
        location: &Location,
        path: &Path,
    ) -> Result<String, TransferError> {
        Ok(self.store.get_to_file(&location.bucket, &location.key, path).await?.etag)
    }

    /// Stores a file as an object.
    pub(super) async fn put_file(
        &self,
        location: &Location,
        path: &Path,
        now: Timestamp,
    ) -> Result<(), TransferError> {
        let options = PutOptions {
            part: PartOptions { now: now.0, ..PartOptions::default() },
            metadata: Metadata {
                content_type: Some("binary/octet-stream".to_owned()),
                ..Metadata::default()
            },
            ..PutOptions::default()
        };
        self.store.put_file(&location.bucket, &location.key, path, options).await?;
        Ok(())
    }

    /// Stores all files below a folder under a prefix.
    pub(super) async fn put_folder(
        &self,
        location: &Location,
        folder: &Path,
        now: Timestamp,
    ) -> Result<(), TransferError> {
        let root = folder.to_owned();
        let listed = tokio::task::spawn_blocking(move || files_below(&root)).await;
        let local = |source| TransferError::Local { path: folder.display().to_string(), source };
        let files = listed.map_err(|e| local(e.into()))?.map_err(local)?;
        let prefix = location.key.trim_end_matches('/');
        for (name, path) in files {
            let key = if prefix.is_empty() { name } else { format!("{prefix}/{name}") };
            self.put_file(&Location { bucket: location.bucket.clone(), key }, &path, now).await?;
        }
        Ok(())
    }
}

/// Plain files below a folder, with names relative to it; links are not followed.
fn files_below(root: &Path) -> std::io::Result<Vec<(String, std::path::PathBuf)>> {
    let mut found = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder)? {
            let entry = entry?;
            let kind = entry.file_type()?;
            if kind.is_dir() {
                folders.push(entry.path());
            } else if kind.is_file()
                && let Ok(name) = entry.path().strip_prefix(root)
                && let Some(name) = name.to_str()
            {
                found.push((name.to_owned(), entry.path()));
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locations_are_bucket_and_key() {
        let of = |uri| Location::parse(uri).map(|l| (l.bucket, l.key)).ok();
        assert_eq!(of("s3://b/p/q"), Some(("b".to_owned(), "p/q".to_owned())));
        assert_eq!(of("s3://b"), Some(("b".to_owned(), String::new())));
        assert_eq!(of("s3:///p"), None);
        assert_eq!(of("file:///etc/passwd"), None);
        assert_eq!(of(""), None);
    }
}

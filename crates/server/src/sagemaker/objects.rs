//! Where training data, models and outputs come from and go to: `s3://` locations. A bucket of this
//! platform comes first; training data may also lie in a bucket elsewhere that kennel.toml names.

mod remote;
mod rights;

use std::collections::BTreeMap;
use std::path::Path;

use kennel_store::objects::{
    FileStore, Materialized, Metadata, ObjectError, ObjectStore as _, PartOptions, Placement,
    PutOptions, body_of,
};
use kennel_wire::ServiceError;

pub(crate) use self::rights::Rights;
use crate::config::RemoteS3;
use crate::context::{Caller, Timestamp};

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
    /// Neither here nor configured.
    #[error(
        "NoSuchBucket (404): bucket `{0}` does not exist on this platform\nhint: create it and upload the data, or, for a bucket elsewhere, add a section `[remote_s3.\"{0}\"]` to kennel.toml and restart `kennel up`"
    )]
    UnknownBucket(String),
    /// A bucket elsewhere.
    #[error(transparent)]
    Remote(#[from] remote::RemoteError),
    /// What is not built for buckets elsewhere.
    #[error(
        "not implemented: {what} in the remote bucket `{bucket}`\nhint: only input channels may be remote; name a bucket of this platform"
    )]
    NotImplemented {
        /// What was to be done.
        what: &'static str,
        /// The bucket.
        bucket: String,
    },
    /// The role may not.
    #[error("AccessDenied (403): {0}")]
    Denied(String),
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

/// Data, models and outputs at `s3://` locations.
#[derive(Debug, Clone)]
pub(super) struct Objects {
    store: FileStore,
    /// Buckets elsewhere, by name; a bucket of this platform hides one of the same name.
    remote: BTreeMap<String, RemoteS3>,
    rights: Option<Rights>,
    /// The role whose rights count; without one the platform acts for itself.
    role: Option<String>,
}

impl Objects {
    pub(super) fn new(store: FileStore, remote: BTreeMap<String, RemoteS3>) -> Self {
        Objects { store, remote, rights: None, role: None }
    }

    /// The same, which asks for rights where it acts for a role.
    pub(super) fn guarded(self, rights: Rights) -> Self {
        Objects { rights: Some(rights), ..self }
    }

    /// The same with the rights of a role.
    pub(super) fn of_role(&self, role_arn: &str) -> Self {
        Objects { role: Some(role_arn.to_owned()), ..self.clone() }
    }

    /// May the role do this to the object?
    async fn permit(&self, action: &'static str, location: &Location) -> Result<(), TransferError> {
        match (&self.rights, &self.role) {
            (Some(rights), Some(role)) => rights.one(role, action, location).await,
            _ => Ok(()),
        }
    }

    /// May an object be given to an endpoint by a model's role, or by who makes the model?
    pub(super) fn given(&self, role: Option<&str>, caller: &Caller, location: &Location) -> bool {
        self.rights.as_ref().is_none_or(|rights| rights.given(role, caller, location).is_ok())
    }

    /// May objects be written there for an endpoint by a role?
    pub(super) fn written_by(&self, role: &str, location: &Location) -> bool {
        let rights = self.rights.as_ref();
        rights.is_none_or(|rights| rights.may_write(role, location).is_ok())
    }

    /// May who makes an endpoint write there?
    pub(super) fn written_for(&self, caller: &Caller, location: &Location) -> bool {
        let rights = self.rights.as_ref();
        rights.is_none_or(|rights| rights.may_write_himself(caller, location).is_ok())
    }

    /// The configuration of a bucket that does not exist here.
    async fn elsewhere(&self, bucket: &str) -> Result<Option<&RemoteS3>, TransferError> {
        let Some(config) = self.remote.get(bucket) else { return Ok(None) };
        match self.store.bucket(bucket).await {
            Ok(_) => Ok(None),
            Err(ObjectError::NoSuchBucket(_)) => Ok(Some(config)),
            Err(e) => Err(e.into()),
        }
    }

    /// Refuses a location in a bucket elsewhere: everything but input channels is to be here.
    ///
    /// # Errors
    /// [`TransferError::NotImplemented`].
    pub(super) async fn refuse_remote(
        &self,
        location: &Location,
        what: &'static str,
    ) -> Result<(), TransferError> {
        match self.elsewhere(&location.bucket).await? {
            Some(_) => Err(TransferError::NotImplemented { what, bucket: location.bucket.clone() }),
            None => Ok(()),
        }
    }

    /// Lays out what is below a prefix as files, linked where `link` says that only trusted programs
    /// read them, downloaded where the bucket is elsewhere.
    ///
    /// # Errors
    /// When there is nothing, or something that cannot be a file.
    pub(super) async fn fetch_prefix(
        &self,
        location: &Location,
        folder: &Path,
        link: bool,
    ) -> Result<Materialized, TransferError> {
        let done = match self.elsewhere(&location.bucket).await? {
            Some(config) => remote::fetch(&location.bucket, config, &location.key, folder).await?,
            None => self.lay_out(location, folder, link).await.map_err(|e| match e {
                TransferError::Object(ObjectError::NoSuchBucket(bucket)) => {
                    TransferError::UnknownBucket(bucket)
                }
                other => other,
            })?,
        };
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
        self.refuse_remote(location, "checkpoints").await?;
        self.lay_out(location, folder, false).await
    }

    async fn lay_out(
        &self,
        location: &Location,
        folder: &Path,
        link: bool,
    ) -> Result<Materialized, TransferError> {
        if let (Some(rights), Some(role)) = (&self.rights, &self.role) {
            rights.read_prefix(role, &self.store, location).await?;
        }
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
        self.refuse_remote(location, "models and sources").await?;
        self.permit("s3:GetObject", location).await?;
        Ok(self.store.get_to_file(&location.bucket, &location.key, path).await?.etag)
    }

    /// Stores a file as an object.
    pub(super) async fn put_file(
        &self,
        location: &Location,
        path: &Path,
        now: Timestamp,
    ) -> Result<(), TransferError> {
        self.refuse_remote(location, "outputs").await?;
        self.permit("s3:PutObject", location).await?;
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

    /// Stores bytes as an object.
    pub(super) async fn put_bytes(
        &self,
        location: &Location,
        bytes: Vec<u8>,
        content_type: &str,
        now: Timestamp,
    ) -> Result<(), TransferError> {
        self.refuse_remote(location, "captured data").await?;
        self.permit("s3:PutObject", location).await?;
        let options = PutOptions {
            part: PartOptions { now: now.0, ..PartOptions::default() },
            metadata: Metadata {
                content_type: Some(content_type.to_owned()),
                ..Metadata::default()
            },
            ..PutOptions::default()
        };
        self.store.put(&location.bucket, &location.key, body_of(bytes), options).await?;
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
mod tests;

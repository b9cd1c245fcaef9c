//! Buckets elsewhere, as `[remote_s3.BUCKET]` of kennel.toml has them: what is below a prefix becomes
//! files. Reading only; nothing is kept for the next job.
//!
//! Each file is written aside and renamed, and never over another. Keys come from a stranger's server:
//! `object_store` refuses a listing that holds `.`, `..`, empty components or control characters, and
//! [`path_below`] is asked in any case.

mod transport;

use std::error::Error as StdError;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures::{StreamExt as _, TryStreamExt as _, stream};
use kennel_store::objects::{Materialized, path_below};
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::client::HttpError;
use object_store::list::{PaginatedListOptions, PaginatedListStore as _};
use object_store::{
    BackoffConfig, Error, GetOptions, ObjectMeta, ObjectStore as _, RetryConfig, path,
};
use tokio::io::AsyncWriteExt as _;

use crate::config::RemoteS3;

/// Downloads at a time.
const AT_ONCE: usize = 8;
/// Objects of one page of a listing.
const PAGE: usize = 1000;
/// For a page of a listing, its retries included.
const LISTING: Duration = Duration::from_secs(180);
/// For the next bytes of an object, their retries included.
const SILENCE: Duration = Duration::from_secs(180);
/// Characters of a stranger's message that are repeated.
const REPEATED: usize = 300;

/// Why data could not be brought from a remote bucket; the words go into a FailureReason.
#[derive(Debug, thiserror::Error)]
pub(in crate::sagemaker) enum RemoteError {
    /// The keys to sign with.
    #[error(
        "no credentials for the remote bucket `{bucket}`: {message}\nhint: see `[remote_s3]` in kennel.toml"
    )]
    Credentials {
        /// The bucket.
        bucket: String,
        /// What is missing.
        message: String,
    },
    /// It is not there either.
    #[error(
        "NoSuchBucket (404): `{endpoint}` has no bucket `{bucket}`\nhint: check `endpoint` and `region` in kennel.toml's `[remote_s3]`"
    )]
    NoSuchBucket {
        /// The bucket.
        bucket: String,
        /// Whom we asked.
        endpoint: String,
    },
    /// The remote refuses.
    #[error(
        "access to the remote bucket `{bucket}` at `{endpoint}` is denied: {message}\nhint: the keys of `[remote_s3]` in kennel.toml need s3:ListBucket and s3:GetObject there"
    )]
    Denied {
        /// The bucket.
        bucket: String,
        /// Whom we asked.
        endpoint: String,
        /// The remote's code and words.
        message: String,
    },
    /// Nobody answers, or the connection broke.
    #[error(
        "cannot reach `{endpoint}` for the remote bucket `{bucket}`: {message}\nhint: check `endpoint` in kennel.toml's `[remote_s3]` and the network of the machine that runs `kennel up`"
    )]
    Unreachable {
        /// The bucket.
        bucket: String,
        /// Whom we asked.
        endpoint: String,
        /// The system's words.
        message: String,
    },
    /// A key that cannot become a file; nothing is used of a folder with one.
    #[error("the key `{key}` of the remote bucket `{bucket}` cannot become a file: it {reason}")]
    Refused {
        /// The bucket.
        bucket: String,
        /// The key.
        key: String,
        /// Why.
        reason: String,
    },
    /// Another answer.
    #[error(
        "the remote bucket `{bucket}` at `{endpoint}`: {message}\nhint: check `endpoint`, `region` and `path_style` in kennel.toml's `[remote_s3]`"
    )]
    Answer {
        /// The bucket.
        bucket: String,
        /// Whom we asked.
        endpoint: String,
        /// The remote's words.
        message: String,
    },
    /// This machine's disk.
    #[error("`{path}`: {source}", path = path.display())]
    Local {
        /// Where.
        path: PathBuf,
        /// The system's words.
        source: std::io::Error,
    },
}

/// Brings what is below a prefix into `target`, which is made here or empty.
///
/// # Errors
/// See [`RemoteError`]. What came before the failure stays in `target`, each file whole.
pub(super) async fn fetch(
    bucket: &str,
    config: &RemoteS3,
    prefix: &str,
    target: &Path,
) -> Result<Materialized, RemoteError> {
    let keys = keys(config)
        .await
        .map_err(|message| RemoteError::Credentials { bucket: bucket.to_owned(), message })?;
    Remote::open(bucket, config, keys, (prefix, target))?.fetch().await
}

/// One download.
struct Remote<'a> {
    store: AmazonS3,
    bucket: &'a str,
    endpoint: String,
    prefix: &'a str,
    target: &'a Path,
}

impl<'a> Remote<'a> {
    /// `paths` are the prefix there and the folder here.
    fn open(
        bucket: &'a str,
        config: &RemoteS3,
        keys: Keys,
        paths: (&'a str, &'a Path),
    ) -> Result<Self, RemoteError> {
        let (prefix, target) = paths;
        let endpoint = config.url();
        let plain = config.allow_http && endpoint.starts_with("http://");
        let mut builder = AmazonS3Builder::new()
            .with_http_connector(transport::Connector { plain })
            .with_bucket_name(bucket)
            .with_region(config.region())
            .with_access_key_id(keys.id)
            .with_secret_access_key(keys.secret)
            .with_retry(RetryConfig {
                backoff: BackoffConfig::default(),
                max_retries: 3,
                retry_timeout: Duration::from_secs(60),
            });
        if let Some(token) = keys.token {
            builder = builder.with_token(token);
        }
        // INVARIANT: with a virtual host `object_store` wants the bucket in the endpoint already.
        builder = if config.path_style(bucket) {
            builder.with_endpoint(&endpoint)
        } else {
            let (scheme, host) = endpoint.split_once("://").unwrap_or(("https", &endpoint));
            builder
                .with_virtual_hosted_style_request(true)
                .with_endpoint(format!("{scheme}://{bucket}.{host}"))
        };
        let answer = |e: Error| RemoteError::Answer {
            bucket: bucket.to_owned(),
            endpoint: endpoint.clone(),
            message: deepest(&e),
        };
        let store = builder.build().map_err(answer)?;
        Ok(Remote { store, bucket, endpoint, prefix, target })
    }

    async fn fetch(&self) -> Result<Materialized, RemoteError> {
        tokio::fs::create_dir_all(self.target)
            .await
            .map_err(|source| RemoteError::Local { path: self.target.to_owned(), source })?;
        let below = Some(self.prefix).filter(|prefix| !prefix.is_empty());
        let mut done = Materialized::default();
        let mut token = None;
        loop {
            let options = PaginatedListOptions {
                max_keys: Some(PAGE),
                page_token: token.take(),
                ..PaginatedListOptions::default()
            };
            let page = tokio::time::timeout(LISTING, self.store.list_paginated(below, options));
            let page = page.await.map_err(|_| self.silent(LISTING))?;
            let page = page.map_err(|e| self.explain(&e))?;
            let files: Vec<_> = page.result.objects.into_iter().map(|o| self.bring(o)).collect();
            let mut files = stream::iter(files).buffer_unordered(AT_ONCE);
            while let Some(file) = files.try_next().await? {
                if let Some(bytes) = file {
                    done.files += 1;
                    done.bytes += bytes;
                }
            }
            match page.page_token {
                Some(next) => token = Some(next),
                None => return Ok(done),
            }
        }
    }

    /// Brings one object and answers its size, or nothing where it stands for a folder.
    async fn bring(&self, object: ObjectMeta) -> Result<Option<u64>, RemoteError> {
        // `object_store` drops one `/` at either end of a key, hence the questions below.
        let key = object.location.as_ref();
        if self.prefix.strip_suffix('/') == Some(key) && object.size == 0 {
            return Ok(None);
        }
        if key.is_empty() || !key.starts_with(self.prefix) {
            return Err(self.refused(key, "is not below the prefix, or begins with `/`"));
        }
        let relative = path_below(key, self.prefix).map_err(|reason| self.refused(key, reason))?;
        let path = self.target.join(relative);
        let got = self.store.get_opts(&object.location, GetOptions::default());
        let got = match tokio::time::timeout(SILENCE, got).await {
            Err(_) => return Err(self.silent(SILENCE)),
            Ok(Ok(got)) => got,
            // Without its last `/` the marker of a folder is no object.
            Ok(Err(Error::NotFound { .. })) if object.size == 0 => {
                return match tokio::fs::create_dir_all(&path).await {
                    Ok(()) => Ok(None),
                    Err(source) => Err(self.local(key, path, source)),
                };
            }
            Ok(Err(Error::NotFound { .. })) => {
                return Err(self.refused(
                    key,
                    "has been deleted since it was listed, or begins or ends with `/`",
                ));
            }
            Ok(Err(e)) => return Err(self.explain(&e)),
        };
        let size = got.meta.size;
        let folder = path.parent().unwrap_or(self.target);
        tokio::fs::create_dir_all(folder)
            .await
            .map_err(|source| self.local(key, folder.to_owned(), source))?;
        let failed = |source| RemoteError::Local { path: path.clone(), source };
        let aside = tempfile::Builder::new()
            .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))
            .tempfile_in(folder)
            .map_err(failed)?;
        let mut file = tokio::fs::File::from_std(aside.reopen().map_err(failed)?);
        let mut bytes = got.into_stream();
        let mut written = 0;
        loop {
            let next = tokio::time::timeout(SILENCE, bytes.try_next()).await;
            let next = next.map_err(|_| self.silent(SILENCE))?.map_err(|e| self.explain(&e))?;
            let Some(chunk) = next else { break };
            file.write_all(&chunk).await.map_err(failed)?;
            written += chunk.len() as u64;
        }
        file.flush().await.map_err(failed)?;
        file.sync_data().await.map_err(failed)?;
        drop(file);
        if written != size {
            return Err(self.answer(format!("`{key}` has {size} bytes, but {written} came")));
        }
        match aside.persist_noclobber(&path) {
            Ok(_) => Ok(Some(written)),
            Err(e) => Err(self.local(key, path, e.error)),
        }
    }

    /// A file that cannot be made: because of another key, or because of the disk.
    fn local(&self, key: &str, path: PathBuf, source: std::io::Error) -> RemoteError {
        use std::io::ErrorKind;
        match source.kind() {
            ErrorKind::AlreadyExists | ErrorKind::NotADirectory | ErrorKind::IsADirectory => {
                self.refused(key, "has the path of another key, or needs a folder where a file is")
            }
            _ => RemoteError::Local { path, source },
        }
    }

    fn refused(&self, key: &str, reason: impl Into<String>) -> RemoteError {
        let (bucket, key) = (self.bucket.to_owned(), tame(key));
        RemoteError::Refused { bucket, key, reason: reason.into() }
    }

    fn answer(&self, message: String) -> RemoteError {
        let (bucket, endpoint) = (self.bucket.to_owned(), self.endpoint.clone());
        RemoteError::Answer { bucket, endpoint, message }
    }

    fn silent(&self, limit: Duration) -> RemoteError {
        RemoteError::Unreachable {
            bucket: self.bucket.to_owned(),
            endpoint: self.endpoint.clone(),
            message: format!("nothing came for {} s", limit.as_secs()),
        }
    }

    /// What an error of `object_store` means to the user. The types that carry S3's answer are private
    /// there, so its code is read from the text.
    fn explain(&self, error: &Error) -> RemoteError {
        let (bucket, endpoint) = (self.bucket.to_owned(), self.endpoint.clone());
        if let Error::InvalidPath { source } = error {
            let (key, reason) = match source {
                path::Error::BadSegment { path, .. } => {
                    (path.as_str(), "has a `.` or `..` component or a control character")
                }
                path::Error::EmptySegment { path } => (path.as_str(), "has an empty component"),
                _ => ("", "is no path"),
            };
            return self.refused(key, reason);
        }
        if causes(error).any(|cause| cause.is::<HttpError>()) {
            return RemoteError::Unreachable { bucket, endpoint, message: deepest(error) };
        }
        let text = error.to_string();
        let message = match (element(&text, "Code"), element(&text, "Message")) {
            (Some(code), Some(words)) => tame(&format!("{code}: {words}")),
            (Some(code), None) => tame(code),
            _ => deepest(error),
        };
        match (element(&text, "Code"), error) {
            (Some("NoSuchBucket"), _) => RemoteError::NoSuchBucket { bucket, endpoint },
            (
                Some(
                    "AccessDenied"
                    | "AllAccessDisabled"
                    | "AccountProblem"
                    | "ExpiredToken"
                    | "InvalidAccessKeyId"
                    | "InvalidToken"
                    | "RequestTimeTooSkewed"
                    | "SignatureDoesNotMatch",
                ),
                _,
            )
            | (_, Error::PermissionDenied { .. } | Error::Unauthenticated { .. }) => {
                RemoteError::Denied { bucket, endpoint, message }
            }
            _ => RemoteError::Answer { bucket, endpoint, message },
        }
    }
}

/// An error and its sources.
fn causes<'e>(error: &'e Error) -> impl Iterator<Item = &'e (dyn StdError + 'static)> {
    let first: &'e (dyn StdError + 'static) = error;
    std::iter::successors(Some(first), |cause: &&'e (dyn StdError + 'static)| (*cause).source())
}

/// The words of the last cause, which say what happened; those before it repeat addresses and times.
fn deepest(error: &Error) -> String {
    tame(&causes(error).last().map(ToString::to_string).unwrap_or_default())
}

/// A stranger's words on one line and not too many.
fn tame(words: &str) -> String {
    words.chars().map(|c| if c.is_control() { ' ' } else { c }).take(REPEATED).collect()
}

/// The text of an XML element.
fn element<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    let (_, rest) = text.split_once(&format!("<{name}>"))?;
    rest.split_once(&format!("</{name}>")).map(|(found, _)| found)
}

/// What requests are signed with.
struct Keys {
    id: String,
    secret: String,
    token: Option<String>,
}

/// Reads the keys anew for each download, so that renewed ones count.
async fn keys(config: &RemoteS3) -> Result<Keys, String> {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    if let Some(profile) = &config.profile {
        let path = match (variable("AWS_SHARED_CREDENTIALS_FILE"), variable("HOME")) {
            (Some(path), _) => PathBuf::from(path),
            (None, Some(home)) => Path::new(&home).join(".aws").join("credentials"),
            (None, None) => {
                return Err("there is no HOME to look for .aws/credentials in".to_owned());
            }
        };
        let text = tokio::fs::read_to_string(&path)
            .await
            .map_err(|e| format!("cannot read `{}`: {e}", path.display()))?;
        return profile_keys(&text, profile).ok_or_else(|| {
            format!("profile `{profile}` of `{}` has no access key and secret", path.display())
        });
    }
    let named = |name: &Option<String>| -> Result<Option<String>, String> {
        let Some(name) = name else { return Ok(None) };
        let value = variable(name)
            .ok_or_else(|| format!("`kennel up` runs without the environment variable `{name}`"))?;
        Ok(Some(value))
    };
    match (named(&config.access_key_id_env)?, named(&config.secret_access_key_env)?) {
        (Some(id), Some(secret)) => {
            Ok(Keys { id, secret, token: named(&config.session_token_env)? })
        }
        _ => Err("neither `access_key_id_env` and `secret_access_key_env` nor `profile` is set"
            .to_owned()),
    }
}

/// The static keys of a profile in the text of `~/.aws/credentials`.
fn profile_keys(text: &str, profile: &str) -> Option<Keys> {
    let mut inside = false;
    let (mut id, mut secret, mut token) = (None, None, None);
    for line in text.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.split(']').next()) {
            inside = name.trim() == profile;
        } else if inside && let Some((key, value)) = line.split_once('=') {
            let value = Some(value.trim().to_owned()).filter(|value| !value.is_empty());
            match key.trim() {
                "aws_access_key_id" => id = value,
                "aws_secret_access_key" => secret = value,
                "aws_session_token" => token = value,
                _ => {}
            }
        }
    }
    Some(Keys { id: id?, secret: secret?, token })
}

#[cfg(test)]
mod tests;

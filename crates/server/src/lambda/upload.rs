//! Code that comes with a request: a zip in it, or an object of the object store.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kennel_store::objects::{ObjectError, ObjectStore as _};
use kennel_wire::ServiceError;
use serde::Deserialize;

use super::Lambda;
use super::error::{invalid, not_built};
use super::package::shelf::{Hold, Source};
use super::package::{INLINE, PackageError, UNPACKED};
use super::rows::Code;
use crate::service::state_failed;

/// FunctionCode, LayerVersionContentInput, or the members of UpdateFunctionCode.
#[derive(Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct CodeInput {
    zip_file: Option<String>,
    s3_bucket: Option<String>,
    s3_key: Option<String>,
    s3_object_version: Option<String>,
    s3_object_storage_mode: Option<String>,
    image_uri: Option<String>,
    #[serde(rename = "SourceKMSKeyArn")]
    source_kms_key_arn: Option<String>,
}

impl std::fmt::Debug for CodeInput {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let CodeInput { s3_bucket, s3_key, .. } = self;
        f.debug_struct("CodeInput")
            .field("s3_bucket", s3_bucket)
            .field("s3_key", s3_key)
            .finish_non_exhaustive()
    }
}

/// What functions of container images are answered.
pub(super) fn refuse_image() -> ServiceError {
    invalid(
        "container images are not run by Kennel\nhint: give the code as a zip (PackageType `Zip`); a program of any language runs as `bootstrap` of the runtime provided.al2023",
    )
}

impl Lambda {
    /// Places the code of a request on the shelf. The hold is to be kept until its row is written.
    ///
    /// # Errors
    /// `InvalidParameterValueException` with AWS's texts, `RequestEntityTooLargeException` for a zip over
    /// 50 MiB in the request.
    pub(super) async fn receive(&self, input: CodeInput) -> Result<(Code, Hold), ServiceError> {
        if input.image_uri.is_some() {
            return Err(refuse_image());
        }
        if input.source_kms_key_arn.as_deref().is_some_and(|arn| !arn.is_empty()) {
            return Err(not_built("SourceKMSKeyArn", "leave it out"));
        }
        if input.s3_object_storage_mode.as_deref().is_some_and(|mode| mode != "COPY") {
            return Err(not_built("S3ObjectStorageMode `REFERENCE`", "leave it out"));
        }
        let source = match (input.zip_file, input.s3_bucket, input.s3_key) {
            (Some(zip), None, None) => Incoming::Inline(zip),
            (Some(_), ..) => {
                return Err(invalid(
                    "Please do not provide other FunctionCode parameters when providing a ZipFile.",
                ));
            }
            (None, Some(bucket), Some(key)) => {
                if input.s3_object_version.is_some_and(|version| version != "null") {
                    return Err(object_failed(
                        "NoSuchVersion",
                        "The specified version does not exist.\nhint: buckets keep no versions here; leave S3ObjectVersion out",
                    ));
                }
                let aside = self.inner.shelf.aside()?;
                let path = aside.path().join("object");
                self.fetch(&bucket, &key, &path).await?;
                Incoming::Fetched(aside, path)
            }
            (None, ..) => return Err(invalid("Please provide a source for function code.")),
        };
        let shelf = self.inner.shelf.clone();
        let placed = tokio::task::spawn_blocking(move || match source {
            Incoming::Inline(text) => {
                let zip = decode(&text)?;
                drop(text);
                shelf.place(Source::Bytes(zip), UNPACKED)
            }
            Incoming::Fetched(_aside, path) => shelf.place(Source::File(path), UNPACKED),
        });
        Ok(placed.await.map_err(|e| state_failed(&e))??)
    }

    async fn fetch(
        &self,
        bucket: &str,
        key: &str,
        path: &std::path::Path,
    ) -> Result<(), ServiceError> {
        let objects = &self.inner.objects;
        let failed = |e: ObjectError| match e {
            ObjectError::NoSuchBucket(_) => {
                object_failed("NoSuchBucket", "The specified bucket does not exist")
            }
            ObjectError::NoSuchKey(..) => {
                object_failed("NoSuchKey", "The specified key does not exist.")
            }
            other => state_failed(&other),
        };
        // A zip that is larger than what may come out of it is not even copied.
        if objects.info(bucket, key).await.map_err(failed)?.size > UNPACKED {
            return Err(PackageError::TooLarge(UNPACKED).into());
        }
        objects.get_to_file(bucket, key, path).await.map_err(failed)?;
        Ok(())
    }
}

enum Incoming {
    Inline(String),
    Fetched(tempfile::TempDir, std::path::PathBuf),
}

fn object_failed(code: &str, message: &str) -> ServiceError {
    invalid(format!(
        "Error occurred while GetObject. S3 Error Code: {code}. S3 Error Message: {message}"
    ))
}

fn decode(text: &str) -> Result<Vec<u8>, PackageError> {
    if text.is_empty() {
        return Err(PackageError::Empty);
    }
    let most = text.len() as u64 / 4 * 3;
    // Base64 of exactly the limit may decode to two bytes less than this counts.
    if most > INLINE + 3 {
        return Err(PackageError::TooLargeInline(most));
    }
    let bytes = STANDARD
        .decode(text)
        .map_err(|e| PackageError::Unreadable(format!("ZipFile is not base64: {e}")))?;
    if bytes.len() as u64 > INLINE {
        return Err(PackageError::TooLargeInline(bytes.len() as u64));
    }
    Ok(bytes)
}

//! Input channels: what of `InputDataConfig` Kennel can bring to an instance.

use kennel_wire::ServiceError;
use serde::Deserialize;
use serde_json::Value;

use crate::sagemaker::objects::Location;

/// One channel of `InputDataConfig`.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(in crate::sagemaker) struct Channel {
    pub channel_name: String,
    pub data_source: DataSource,
    pub content_type: Option<String>,
    compression_type: Option<String>,
    record_wrapper_type: Option<String>,
    input_mode: Option<String>,
}

/// `DataSource`.
#[derive(Debug, Clone, Deserialize)]
pub(in crate::sagemaker) struct DataSource {
    #[serde(rename = "S3DataSource")]
    pub s3: Option<S3DataSource>,
    #[serde(rename = "FileSystemDataSource")]
    file_system: Option<Value>,
}

/// `S3DataSource`.
#[derive(Debug, Clone, Deserialize)]
pub(in crate::sagemaker) struct S3DataSource {
    #[serde(rename = "S3DataType")]
    data_type: String,
    #[serde(rename = "S3Uri")]
    pub uri: String,
    #[serde(rename = "S3DataDistributionType")]
    distribution: Option<String>,
}

impl Channel {
    /// Whether each instance gets a part of the objects only.
    pub(super) fn is_sharded(&self) -> bool {
        let source = self.data_source.s3.as_ref();
        source.is_some_and(|s| s.distribution.as_deref() == Some("ShardedByS3Key"))
    }

    /// Refuses what cannot be brought as asked.
    pub(super) fn check(&self, job_mode: &str) -> Result<(), ServiceError> {
        let name = &self.channel_name;
        let refuse = |what: String| {
            Err(ServiceError::validation(format!(
                "channel `{name}`: {what} is not implemented by Kennel\nhint: README's table lists what is built"
            )))
        };
        // The name becomes a folder, and the API's model allows dots.
        if name.starts_with('.') {
            return Err(ServiceError::validation(format!(
                "channel `{name}`: a channel's name must not begin with a dot"
            )));
        }
        let mode = self.input_mode.as_deref().unwrap_or(job_mode);
        if mode == "Pipe" {
            return refuse("input mode `Pipe`".to_owned());
        }
        if self.data_source.file_system.is_some() {
            return refuse("`FileSystemDataSource`".to_owned());
        }
        let Some(source) = &self.data_source.s3 else {
            return Err(ServiceError::validation(format!(
                "channel `{name}`: `S3DataSource` is missing"
            )));
        };
        if source.data_type != "S3Prefix" {
            return refuse(format!("`S3DataType` {}", source.data_type));
        }
        if self.compression_type.as_deref().is_some_and(|c| c != "None") {
            return refuse("`CompressionType` Gzip".to_owned());
        }
        if self.record_wrapper_type.as_deref().is_some_and(|r| r != "None") {
            return refuse("`RecordWrapperType` RecordIO".to_owned());
        }
        Location::parse(&source.uri).map(|_| ())
    }
}

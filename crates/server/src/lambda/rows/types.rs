//! What the rows hold.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::context::Timestamp;

/// A function: what all its versions share.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct FunctionRow {
    /// Its name.
    pub name: String,
    /// Random; another one when a function of the same name is made again.
    pub id: String,
    /// When it was made.
    pub created: Timestamp,
    /// The number of the last version that was published; numbers are not used again.
    pub last_version: u64,
    /// Digest of the code and configuration that the last version was published from.
    pub published: Option<String>,
    /// ReservedConcurrentExecutions.
    pub reserved: Option<u32>,
    /// Tags by key.
    pub tags: BTreeMap<String, String>,
}

/// Environment variables of a function. They may be secrets: `Debug` shows names only.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Variables(pub BTreeMap<String, String>);

impl fmt::Debug for Variables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// What a program is compiled for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Architecture {
    /// 64-bit x86.
    #[serde(rename = "x86_64")]
    X86,
    /// 64-bit ARM.
    #[serde(rename = "arm64")]
    Arm,
}

impl Architecture {
    /// AWS's word.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Architecture::X86 => "x86_64",
            Architecture::Arm => "arm64",
        }
    }
}

/// Code or a layer, as it lies in the data folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Code {
    /// SHA-256 of the zip, 64 hexadecimal digits: its name in the data folder.
    pub sha256: String,
    /// Bytes of the zip.
    pub size: u64,
    /// Bytes of the files in it.
    pub unpacked: u64,
}

/// A layer that a version uses. It stays usable when the layer's version is deleted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LayerUse {
    /// `arn:…:layer:NAME:VERSION`.
    pub arn: String,
    /// What is in it.
    pub code: Code,
}

/// What a version runs with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Configuration {
    /// `python3.12`, `provided.al2023`, `nodejs22.x`.
    pub runtime: String,
    /// The role's ARN.
    pub role: String,
    /// `module.function`.
    pub handler: String,
    /// Description; empty where there is none.
    pub description: String,
    /// Seconds, 1 to 900.
    pub timeout: u32,
    /// MemorySize: MB, 128 to 10,240.
    pub memory: u32,
    /// The function's own variables.
    pub environment: Variables,
    /// The dead-letter queue's ARN.
    pub dead_letter: Option<String>,
    /// Layers, in their order: later ones are laid over earlier ones.
    pub layers: Vec<LayerUse>,
    /// What its programs are compiled for.
    pub architecture: Architecture,
    /// Size of /tmp in MB, 512 to 10,240.
    pub ephemeral_mb: u32,
    /// Where it logs; `/aws/lambda/NAME` unless given.
    pub log_group: String,
}

/// A version of a function. A published one never changes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct VersionRow {
    /// The function's name.
    pub function: String,
    /// Its number; 0 is `$LATEST`.
    pub version: u64,
    /// What it runs with.
    pub configuration: Configuration,
    /// What it runs.
    pub code: Code,
    /// LastModified.
    pub modified: Timestamp,
    /// RevisionId: another one with each change.
    pub revision: String,
}

/// What hangs on a qualifier of a function; the key's qualifier is empty for the function itself.
pub(crate) trait Setting: Serialize + DeserializeOwned + Send + 'static {
    /// The word in its key.
    const KIND: &'static str;
}

/// An alias; its name is the key's qualifier.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct AliasRow {
    /// Its name.
    pub name: String,
    /// The version it points to; 0 is `$LATEST`.
    pub version: u64,
    /// The other version and the share of invocations (0 to 1) that goes to it.
    pub also: Option<(u64, f64)>,
    /// Description; empty where there is none.
    pub description: String,
    /// RevisionId.
    pub revision: String,
}

impl Setting for AliasRow {
    const KIND: &'static str = "alias";
}

/// How far provisioned concurrency is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(crate) enum ProvisionedStatus {
    /// Environments are being made.
    InProgress,
    /// All are there.
    Ready,
    /// They cannot be made; the reason says why.
    Failed,
}

impl ProvisionedStatus {
    /// AWS's word.
    pub(crate) fn name(self) -> &'static str {
        match self {
            ProvisionedStatus::InProgress => "IN_PROGRESS",
            ProvisionedStatus::Ready => "READY",
            ProvisionedStatus::Failed => "FAILED",
        }
    }
}

/// Provisioned concurrency of a version or an alias (the key's qualifier).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ProvisionedRow {
    /// How many environments are asked for.
    pub requested: u32,
    /// How far that is, as the dispatcher said last.
    pub status: ProvisionedStatus,
    /// StatusReason.
    pub reason: Option<String>,
    /// LastModified.
    pub modified: Timestamp,
}

impl Setting for ProvisionedRow {
    const KIND: &'static str = "provisioned";
}

/// Who may call a function URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum UrlAuth {
    /// Everybody whom the resource policy allows; nothing is signed.
    #[serde(rename = "NONE")]
    Nobody,
    /// Signed by a principal that may `lambda:InvokeFunctionUrl`.
    #[serde(rename = "AWS_IAM")]
    Iam,
}

/// A function URL; the key's qualifier is an alias, or empty for `$LATEST`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct UrlRow {
    /// 32 lower-case letters and digits: the place in `/_lambda-url/ID/`.
    pub id: String,
    /// AuthType.
    pub auth: UrlAuth,
    /// Cors, as given.
    pub cors: Option<Value>,
    /// CreationTime.
    pub created: Timestamp,
    /// LastModifiedTime.
    pub modified: Timestamp,
}

impl Setting for UrlRow {
    const KIND: &'static str = "url";
}

/// A resource policy: of the function (empty qualifier), a version or an alias.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct PolicyRow {
    /// Its statements.
    pub statements: Vec<Value>,
    /// RevisionId.
    pub revision: String,
}

impl Setting for PolicyRow {
    const KIND: &'static str = "policy";
}

/// How asynchronous invocations of a qualifier (`$LATEST` for the function itself) are handled.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct EventRow {
    /// MaximumRetryAttempts, 0 to 2; 2 where not given.
    pub retries: Option<u32>,
    /// MaximumEventAgeInSeconds, 60 to 21,600; 21,600 where not given.
    pub max_age: Option<u32>,
    /// OnSuccess's ARN.
    pub on_success: Option<String>,
    /// OnFailure's ARN.
    pub on_failure: Option<String>,
    /// LastModified.
    pub modified: Timestamp,
}

impl Setting for EventRow {
    const KIND: &'static str = "event";
}

/// A version of a layer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct LayerRow {
    /// The layer's name.
    pub name: String,
    /// 1, 2, …
    pub version: u64,
    /// What is in it.
    pub code: Code,
    /// Description; empty where there is none.
    pub description: String,
    /// CreatedDate.
    pub created: Timestamp,
    /// CompatibleRuntimes.
    pub runtimes: Vec<String>,
    /// CompatibleArchitectures.
    pub architectures: Vec<String>,
    /// LicenseInfo.
    pub license: Option<String>,
}

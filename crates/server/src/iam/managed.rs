//! AWS's own policies, those that the course and its tools name. The documents are AWS's, word for word, by
//! way of moto (Apache-2.0, see NOTICE); only the newest version of each is here.

use std::sync::OnceLock;

use kennel_iam::{Policy, PolicyType};
use serde::Deserialize;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::error::Outcome;
use super::ids;

const FILES: [&str; 19] = [
    include_str!("managed/AWSCloudTrail_ReadOnlyAccess.json"),
    include_str!("managed/AWSLambdaBasicExecutionRole.json"),
    include_str!("managed/AWSLambda_FullAccess.json"),
    include_str!("managed/AWSLambda_ReadOnlyAccess.json"),
    include_str!("managed/AdministratorAccess.json"),
    include_str!("managed/AmazonEC2ContainerRegistryFullAccess.json"),
    include_str!("managed/AmazonS3FullAccess.json"),
    include_str!("managed/AmazonS3ReadOnlyAccess.json"),
    include_str!("managed/AmazonSageMakerFullAccess.json"),
    include_str!("managed/AmazonSageMakerReadOnly.json"),
    include_str!("managed/CloudWatchFullAccess.json"),
    include_str!("managed/CloudWatchLogsFullAccess.json"),
    include_str!("managed/CloudWatchLogsReadOnlyAccess.json"),
    include_str!("managed/CloudWatchReadOnlyAccess.json"),
    include_str!("managed/IAMAccessAnalyzerFullAccess.json"),
    include_str!("managed/IAMFullAccess.json"),
    include_str!("managed/IAMReadOnlyAccess.json"),
    include_str!("managed/PowerUserAccess.json"),
    include_str!("managed/ReadOnlyAccess.json"),
];

/// How many files there are.
#[cfg(test)]
pub(crate) const COUNT: usize = FILES.len();

/// One of AWS's policies.
#[derive(Debug, Clone)]
pub(crate) struct Managed {
    pub(crate) arn: String,
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) path: String,
    /// The number of `v29`.
    pub(crate) version: i64,
    pub(crate) created: i64,
    pub(crate) updated: i64,
    pub(crate) document: String,
    /// AWS's policies do not change while the server runs.
    compiled: [OnceLock<Policy>; 3],
}

impl Managed {
    /// Ready for decisions, in one of the three places where managed policies are used.
    pub(crate) fn compiled(&self, policy_type: PolicyType) -> Outcome<Policy> {
        let place = match policy_type {
            PolicyType::Boundary => 1,
            PolicyType::Session => 2,
            _ => 0,
        };
        let place = self.compiled.get(place);
        if let Some(known) = place.and_then(OnceLock::get) {
            return Ok(known.clone());
        }
        let policy = super::standing::compile(&self.arn, policy_type, &self.document)?;
        Ok(match place {
            Some(place) => place.get_or_init(|| policy).clone(),
            None => policy,
        })
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct File {
    policy_name: String,
    path: String,
    default_version_id: String,
    create_date: String,
    update_date: String,
    document: Value,
}

/// All of them, in the order of their names.
pub(crate) fn all() -> &'static [Managed] {
    static ALL: OnceLock<Vec<Managed>> = OnceLock::new();
    ALL.get_or_init(|| {
        let mut all: Vec<Managed> = FILES.iter().filter_map(|text| read(text)).collect();
        all.sort_by_key(|policy| policy.name.to_ascii_lowercase());
        all
    })
}

/// `None` cannot happen to the files above; a test reads them all.
fn read(text: &str) -> Option<Managed> {
    let file: File = serde_json::from_str(text).ok()?;
    let millis =
        |text: &str| chrono::DateTime::parse_from_rfc3339(text).ok().map(|t| t.timestamp_millis());
    Some(Managed {
        arn: format!("arn:aws:iam::aws:policy{}{}", file.path, file.policy_name),
        // AWS's ids are not in the source; these are as stable.
        id: format!("ANPA{}", ids::spell(Sha256::digest(&file.policy_name).get(..17)?)),
        version: file.default_version_id.strip_prefix('v')?.parse().ok()?,
        created: millis(&file.create_date)?,
        updated: millis(&file.update_date)?,
        document: serde_json::to_string_pretty(&file.document).ok()?,
        name: file.policy_name,
        path: file.path,
        compiled: Default::default(),
    })
}

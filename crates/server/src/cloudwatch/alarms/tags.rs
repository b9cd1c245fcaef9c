//! Tags of alarms: TagResource, UntagResource, ListTagsForResource.

use std::collections::BTreeMap;

use kennel_store::state::rusqlite::Connection;
use kennel_wire::ServiceError;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Alarms, MetricsError, rows};
use crate::cloudwatch::error::invalid_value;
use crate::service::Refused;

const MOST: usize = 50;

pub(super) type Tags = BTreeMap<String, String>;

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Tag {
    key: String,
    value: String,
}

#[derive(Deserialize)]
pub(super) struct Input {
    #[serde(rename = "ResourceARN")]
    arn: String,
    #[serde(rename = "Tags", default)]
    tags: Vec<Tag>,
    #[serde(rename = "TagKeys", default)]
    keys: Vec<String>,
}

impl Alarms {
    pub(super) async fn tag(&self, input: Input) -> Result<Value, MetricsError> {
        let new = checked(input.tags)?;
        self.change_tags(&input.arn, move |tags| tags.extend(new)).await
    }

    pub(super) async fn untag(&self, input: Input) -> Result<Value, MetricsError> {
        self.change_tags(&input.arn, move |tags| tags.retain(|key, _| !input.keys.contains(key)))
            .await
    }

    pub(super) async fn tags(&self, input: Input) -> Result<Value, MetricsError> {
        let name = alarm_of(&input.arn)?;
        let tags = self.metrics.read(move |c| Ok(stored(c, &name)?)).await?;
        let tags: Vec<Value> =
            tags.iter().map(|(key, value)| json!({ "Key": key, "Value": value })).collect();
        Ok(json!({ "Tags": tags }))
    }

    async fn change_tags(
        &self,
        arn: &str,
        change: impl FnOnce(&mut Tags) + Send + 'static,
    ) -> Result<Value, MetricsError> {
        let name = alarm_of(arn)?;
        self.write(move |c| {
            let mut tags = stored(c, &name)?;
            change(&mut tags);
            if tags.len() > MOST {
                return Err(too_many().into());
            }
            Ok(rows::set_tags(c, &name, &json!(tags).to_string())?)
        })
        .await?;
        Ok(json!({}))
    }
}

fn stored(c: &Connection, name: &str) -> Result<Tags, ServiceError> {
    let tags = rows::tags(c, name).map_err(Refused::from)?.ok_or_else(|| {
        ServiceError::new(
            "ResourceNotFoundException",
            404,
            format!("Unknown resource: no alarm is named `{name}`"),
        )
        .with("ResourceType", "alarm")
        .with("ResourceId", name)
    })?;
    Ok(serde_json::from_str(&tags).unwrap_or_default())
}

/// The name in an alarm's ARN: everything after `:alarm:`.
fn alarm_of(arn: &str) -> Result<String, ServiceError> {
    arn.strip_prefix("arn:aws:cloudwatch:")
        .and_then(|rest| rest.split_once(":alarm:"))
        .map(|(_, name)| name.to_owned())
        .ok_or_else(|| {
            invalid_value(format!(
                "`{arn}` is not the ARN of an alarm\nhint: of CloudWatch's resources only alarms can be tagged here"
            ))
        })
}

/// AWS's rules for the tags of a call.
pub(super) fn checked(given: Vec<Tag>) -> Result<Tags, ServiceError> {
    let count = given.len();
    let tags: Tags = given.into_iter().map(|tag| (tag.key, tag.value)).collect();
    if tags.len() < count {
        return Err(invalid_value("A tag key is given twice."));
    }
    if let Some(key) = tags.keys().find(|key| key.to_ascii_lowercase().starts_with("aws:")) {
        return Err(invalid_value(format!("Tag keys starting with `aws:` are reserved: `{key}`")));
    }
    if count > MOST {
        return Err(too_many());
    }
    Ok(tags)
}

fn too_many() -> ServiceError {
    invalid_value(format!("A resource can have no more than {MOST} tags."))
}

//! Operations on log groups, log streams, retention and tags.

use std::collections::BTreeMap;

use kennel_store::state::rusqlite::Connection;
use kennel_wire::ServiceError;
use serde::Deserialize;
use serde_json::{Value, json};

use super::error::{exists, invalid, no_group, no_stream};
use super::position::{list_token, parse_list_token};
use super::store::{self, Group, Stream, StreamOrder};
use super::{Logs, LogsError};
use crate::context::Context;

/// Entries of a Describe page, at most and by default.
const PAGE: usize = 50;
const MAX_TAGS: usize = 50;
const RETENTION: [i64; 22] = [
    1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922,
    3288, 3653,
];

type Tags = BTreeMap<String, String>;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct CreateGroup {
    log_group_name: String,
    kms_key_id: Option<String>,
    #[serde(default)]
    tags: Tags,
    log_group_class: Option<String>,
    #[serde(default)]
    deletion_protection_enabled: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct GroupName {
    log_group_name: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct StreamName {
    log_group_name: String,
    log_stream_name: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DescribeGroups {
    log_group_name_prefix: Option<String>,
    log_group_name_pattern: Option<String>,
    log_group_identifiers: Option<Vec<String>>,
    log_group_class: Option<String>,
    next_token: Option<String>,
    limit: Option<usize>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DescribeStreams {
    log_group_name: Option<String>,
    log_group_identifier: Option<String>,
    log_stream_name_prefix: Option<String>,
    order_by: Option<String>,
    #[serde(default)]
    descending: bool,
    next_token: Option<String>,
    limit: Option<usize>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PutRetention {
    log_group_name: String,
    retention_in_days: i64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct TagResource {
    resource_arn: String,
    tags: Tags,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct UntagResource {
    resource_arn: String,
    tag_keys: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ResourceArn {
    resource_arn: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct TagGroup {
    log_group_name: String,
    tags: Tags,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct UntagGroup {
    log_group_name: String,
    tags: Vec<String>,
}

/// The group that a call names, by name or by identifier (a name or an ARN), one of both.
pub(super) fn one_group(
    name: Option<String>,
    identifier: Option<String>,
) -> Result<String, ServiceError> {
    match (name, identifier) {
        (Some(name), None) => Ok(name),
        (None, Some(identifier)) if identifier.starts_with("arn:") => group_of_arn(&identifier),
        (None, Some(identifier)) => Ok(identifier),
        (Some(_), Some(_)) => {
            Err(invalid("Only one of logGroupName and logGroupIdentifier can be specified."))
        }
        (None, None) => {
            Err(invalid("One of logGroupName and logGroupIdentifier must be specified."))
        }
    }
}

/// `arn:aws:logs:REGION:ACCOUNT:log-group:NAME`, also with `:*` at its end.
fn group_of_arn(arn: &str) -> Result<String, ServiceError> {
    let parts: Vec<&str> = arn.split(':').collect();
    match parts.as_slice() {
        ["arn", _, "logs", _, _, "log-group", name]
        | ["arn", _, "logs", _, _, "log-group", name, "*"]
            if !name.is_empty() =>
        {
            Ok((*name).to_owned())
        }
        _ => Err(invalid(format!("`{arn}` is not the ARN of a log group"))),
    }
}

/// The group, or AWS's error for a name that is not there.
pub(super) fn find_group(c: &Connection, name: &str) -> Result<Group, LogsError> {
    Ok(store::group(c, name)?.ok_or_else(no_group)?)
}

/// The stream, or AWS's error for a name that is not there.
pub(super) fn find_stream(
    c: &Connection,
    group: &str,
    name: &str,
) -> Result<(Group, Stream), LogsError> {
    let group = find_group(c, group)?;
    let stream = store::stream(c, group.id, name)?.ok_or_else(no_stream)?;
    Ok((group, stream))
}

fn tags_of(group: &Group) -> Tags {
    serde_json::from_str(&group.tags).unwrap_or_default()
}

fn page_size(limit: Option<usize>) -> usize {
    limit.unwrap_or(PAGE).clamp(1, PAGE)
}

impl Logs {
    pub(super) async fn create_group(
        &self,
        context: &Context,
        input: CreateGroup,
    ) -> Result<Value, LogsError> {
        if input.kms_key_id.is_some() {
            return Err(invalid("kmsKeyId is not implemented: log events are not encrypted").into());
        }
        if input.deletion_protection_enabled {
            return Err(invalid("deletionProtectionEnabled is not implemented").into());
        }
        if input.log_group_class.as_deref().is_some_and(|class| class != "STANDARD") {
            return Err(invalid("only the log group class STANDARD is implemented").into());
        }
        let tags = checked_tags(input.tags)?;
        let now = context.now.0;
        self.write(move |c| {
            store::create_group(c, &input.log_group_name, now, &tags)?
                .ok_or_else(|| exists("log group"))?;
            Ok(json!({}))
        })
        .await
    }

    pub(super) async fn delete_group(&self, input: GroupName) -> Result<Value, LogsError> {
        self.write(move |c| {
            let group = find_group(c, &input.log_group_name)?;
            store::delete_group(c, group.id)?;
            Ok(json!({}))
        })
        .await
    }

    pub(super) async fn describe_groups(
        &self,
        context: &Context,
        input: DescribeGroups,
    ) -> Result<Value, LogsError> {
        if input.log_group_name_prefix.is_some() && input.log_group_name_pattern.is_some() {
            return Err(invalid(
                "LogGroup name prefix and LogGroup name pattern are mutually exclusive parameters.",
            )
            .into());
        }
        let limit = page_size(input.limit);
        let names = input
            .log_group_identifiers
            .map(|all| {
                all.into_iter().map(|one| one_group(None, Some(one))).collect::<Result<Vec<_>, _>>()
            })
            .transpose()?;
        if input.log_group_class.is_some_and(|class| class != "STANDARD") {
            return Ok(json!({ "logGroups": [] }));
        }
        let after = input.next_token.as_deref().map(parse_list_token).transpose()?;
        let after = after.map(|(_, name)| name).unwrap_or_default();
        let prefix = input.log_group_name_prefix.unwrap_or_default();
        let pattern = input.log_group_name_pattern.unwrap_or_default();
        let mut found = self
            .read(move |c| match names {
                // At most 50 names: one page.
                Some(names) => {
                    let mut found = Vec::new();
                    for name in names {
                        let all = store::groups(c, "", &name, "", 1)?;
                        found.extend(all.into_iter().filter(|(group, _)| group.name == name));
                    }
                    Ok(found)
                }
                None => {
                    let most = i64::try_from(limit + 1).unwrap_or(i64::MAX);
                    Ok(store::groups(c, &after, &prefix, &pattern, most)?)
                }
            })
            .await?;
        let more = found.len() > limit;
        found.truncate(limit);
        let mut answer = json!({
            "logGroups": found.iter().map(|(group, bytes)| describe_group(context, group, *bytes)).collect::<Vec<_>>()
        });
        if more && let Some((last, _)) = found.last() {
            answer["nextToken"] = list_token(0, &last.name).into();
        }
        Ok(answer)
    }

    pub(super) async fn create_stream(
        &self,
        context: &Context,
        input: StreamName,
    ) -> Result<Value, LogsError> {
        let now = context.now.0;
        self.write(move |c| {
            let group = find_group(c, &input.log_group_name)?;
            store::create_stream(c, group.id, &input.log_stream_name, now)?
                .ok_or_else(|| exists("log stream"))?;
            Ok(json!({}))
        })
        .await
    }

    pub(super) async fn delete_stream(&self, input: StreamName) -> Result<Value, LogsError> {
        self.write(move |c| {
            let (_, stream) = find_stream(c, &input.log_group_name, &input.log_stream_name)?;
            store::delete_stream(c, stream.id)?;
            Ok(json!({}))
        })
        .await
    }

    pub(super) async fn describe_streams(
        &self,
        context: &Context,
        input: DescribeStreams,
    ) -> Result<Value, LogsError> {
        let name = one_group(input.log_group_name, input.log_group_identifier)?;
        let by_last_event = input.order_by.as_deref() == Some("LastEventTime");
        if by_last_event && input.log_stream_name_prefix.is_some() {
            return Err(invalid("Cannot order by LastEventTime with a logStreamNamePrefix.").into());
        }
        let limit = page_size(input.limit);
        let order = StreamOrder { by_last_event, descending: input.descending };
        let after = input.next_token.as_deref().map(parse_list_token).transpose()?;
        let prefix = input.log_stream_name_prefix.unwrap_or_default();
        let (group, mut found) = self
            .read(move |c| {
                let group = find_group(c, &name)?;
                let most = i64::try_from(limit + 1).unwrap_or(i64::MAX);
                let found = store::streams(c, group.id, &prefix, order, after.as_ref(), most)?;
                Ok((group, found))
            })
            .await?;
        // A token only where there is more: the SageMaker SDK asks again as long as it sees one.
        let more = found.len() > limit;
        found.truncate(limit);
        let mut answer = json!({
            "logStreams": found.iter().map(|stream| describe_stream(context, &group, stream)).collect::<Vec<_>>()
        });
        if more && let Some(last) = found.last() {
            let time = if by_last_event { last.last_time.unwrap_or(0) } else { 0 };
            answer["nextToken"] = list_token(time, &last.name).into();
        }
        Ok(answer)
    }

    pub(super) async fn put_retention(&self, input: PutRetention) -> Result<Value, LogsError> {
        if !RETENTION.contains(&input.retention_in_days) {
            return Err(invalid(format!(
                "1 validation error detected: Value '{}' at 'retentionInDays' failed to satisfy constraint: Member must satisfy enum value set: {RETENTION:?}",
                input.retention_in_days
            ))
            .into());
        }
        self.set_retention(input.log_group_name, Some(input.retention_in_days)).await
    }

    pub(super) async fn delete_retention(&self, input: GroupName) -> Result<Value, LogsError> {
        self.set_retention(input.log_group_name, None).await
    }

    async fn set_retention(&self, name: String, days: Option<i64>) -> Result<Value, LogsError> {
        self.write(move |c| {
            let group = find_group(c, &name)?;
            store::set_retention(c, group.id, days)?;
            Ok(json!({}))
        })
        .await
    }

    pub(super) async fn tag_resource(&self, input: TagResource) -> Result<Value, LogsError> {
        let name = group_of_arn(&input.resource_arn)?;
        self.change_tags(name, move |tags| tags.extend(input.tags)).await
    }

    pub(super) async fn untag_resource(&self, input: UntagResource) -> Result<Value, LogsError> {
        let name = group_of_arn(&input.resource_arn)?;
        self.change_tags(name, move |tags| tags.retain(|key, _| !input.tag_keys.contains(key)))
            .await
    }

    pub(super) async fn list_resource_tags(&self, input: ResourceArn) -> Result<Value, LogsError> {
        self.list_tags(group_of_arn(&input.resource_arn)?).await
    }

    pub(super) async fn tag_group(&self, input: TagGroup) -> Result<Value, LogsError> {
        self.change_tags(input.log_group_name, move |tags| tags.extend(input.tags)).await
    }

    pub(super) async fn untag_group(&self, input: UntagGroup) -> Result<Value, LogsError> {
        self.change_tags(input.log_group_name, move |tags| {
            tags.retain(|key, _| !input.tags.contains(key));
        })
        .await
    }

    pub(super) async fn list_group_tags(&self, input: GroupName) -> Result<Value, LogsError> {
        self.list_tags(input.log_group_name).await
    }

    async fn change_tags(
        &self,
        name: String,
        change: impl FnOnce(&mut Tags) + Send + 'static,
    ) -> Result<Value, LogsError> {
        self.write(move |c| {
            let group = find_group(c, &name)?;
            let mut tags = tags_of(&group);
            change(&mut tags);
            store::set_tags(c, group.id, &checked_tags(tags)?)?;
            Ok(json!({}))
        })
        .await
    }

    async fn list_tags(&self, name: String) -> Result<Value, LogsError> {
        self.read(move |c| Ok(json!({ "tags": tags_of(&find_group(c, &name)?) }))).await
    }
}

/// The tags as they are stored.
fn checked_tags(tags: Tags) -> Result<String, ServiceError> {
    if tags.len() > MAX_TAGS {
        return Err(ServiceError::new(
            "TooManyTagsException",
            400,
            format!("A resource can have no more than {MAX_TAGS} tags."),
        ));
    }
    if let Some(key) = tags.keys().find(|key| key.to_ascii_lowercase().starts_with("aws:")) {
        return Err(invalid(format!("Tag keys starting with `aws:` are reserved: `{key}`")));
    }
    Ok(json!(tags).to_string())
}

fn describe_group(context: &Context, group: &Group, bytes: i64) -> Value {
    let arn = context.arn("logs", &format!("log-group:{}", group.name));
    let mut answer = json!({
        "logGroupName": group.name,
        "creationTime": group.created,
        "metricFilterCount": 0,
        "arn": format!("{arn}:*"),
        "storedBytes": bytes,
        "logGroupClass": "STANDARD",
        "logGroupArn": arn,
        "deletionProtectionEnabled": false,
    });
    if let Some(days) = group.retention {
        answer["retentionInDays"] = days.into();
    }
    answer
}

fn describe_stream(context: &Context, group: &Group, stream: &Stream) -> Value {
    let resource = format!("log-group:{}:log-stream:{}", group.name, stream.name);
    let mut answer = json!({
        "logStreamName": stream.name,
        "creationTime": stream.created,
        "arn": context.arn("logs", &resource),
        // AWS answers zero for streams since 2019; the group has the sum.
        "storedBytes": 0,
    });
    let times = [
        ("firstEventTimestamp", stream.first_time),
        ("lastEventTimestamp", stream.last_time),
        ("lastIngestionTime", stream.last_ingested),
    ];
    for (member, time) in times {
        if let Some(time) = time {
            answer[member] = time.into();
        }
    }
    answer
}

//! One access record as CloudTrail tells it.
//!
//! Source: <https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-event-reference-record-contents.html>
//! and `cloudtrail-event-reference-user-identity.html`.

use serde_json::{Map, Value, json};

use super::resource;
use crate::records::{Record, only_reads};

/// Where and whose the records are.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) account: &'a str,
    pub(super) region: &'a str,
}

/// Services whose events come from another host than their actions are named after.
const SOURCES: [(&str, &str); 2] =
    [("cloudwatch", "monitoring"), ("application-autoscaling", "autoscaling")];

/// `sagemaker.amazonaws.com`.
pub(super) fn source(service: &str) -> String {
    let name = SOURCES.iter().find(|(ours, _)| *ours == service).map_or(service, |(_, name)| name);
    format!("{name}.amazonaws.com")
}

/// The service behind `sagemaker.amazonaws.com`.
pub(super) fn service(source: &str) -> String {
    let name = source.strip_suffix(".amazonaws.com").unwrap_or(source);
    SOURCES.iter().find(|(_, theirs)| *theirs == name).map_or(name, |(ours, _)| ours).to_owned()
}

/// Calls about what is in a resource, of which AWS's LookupEvents knows nothing.
fn is_data(record: &Record) -> bool {
    let object = |arn: &str| resource::type_of(arn) == Some("AWS::S3::Object");
    match record.service.as_str() {
        "s3" => record.resource.as_deref().is_some_and(object),
        "sagemaker" => record.event_name().starts_with("InvokeEndpoint"),
        "lambda" => record.event_name().starts_with("Invoke"),
        _ => false,
    }
}

/// The ARNs that a call was about, each once.
fn resources(record: &Record) -> Vec<&str> {
    let mut arns: Vec<&str> = Vec::new();
    let own = record.resource.iter().map(String::as_str);
    for arn in own.chain(record.needs.iter().map(|need| need.resource.as_str())) {
        if arn != "*" && !arns.contains(&arn) {
            arns.push(arn);
        }
    }
    arns
}

/// The name in `Username`: a user's, a session's, or `root`.
fn user_name(principal: &str) -> &str {
    if principal.ends_with(":root") {
        return "root";
    }
    principal.rsplit('/').next().unwrap_or(principal)
}

/// A member of `Events`.
pub(super) fn event(record: &Record, place: Place<'_>) -> Value {
    let mut event = Map::new();
    let mut set = |name: &str, value: Value| event.insert(name.to_owned(), value);
    set("EventId", json!(record.request_id));
    set("EventName", json!(record.event_name()));
    set("ReadOnly", json!(only_reads(record.event_name()).to_string()));
    if let Some(key) = &record.access_key {
        set("AccessKeyId", json!(key));
    }
    set("EventTime", json!(record.time.seconds()));
    set("EventSource", json!(source(&record.service)));
    if let Some(principal) = &record.principal {
        set("Username", json!(user_name(principal)));
    }
    let named: Vec<Value> = resources(record)
        .into_iter()
        .map(|arn| match resource::type_of(arn) {
            Some(kind) => json!({"ResourceType": kind, "ResourceName": arn}),
            None => json!({"ResourceName": arn}),
        })
        .collect();
    set("Resources", Value::Array(named));
    set("CloudTrailEvent", json!(detail(record, place).to_string()));
    Value::Object(event)
}

/// CloudTrail's own record.
fn detail(record: &Record, place: Place<'_>) -> Value {
    let data = is_data(record);
    let named: Vec<Value> = resources(record)
        .into_iter()
        .map(|arn| {
            let account = arn.split(':').nth(4).filter(|a| !a.is_empty());
            json!({
                "accountId": account.unwrap_or(place.account),
                "type": resource::type_of(arn),
                "ARN": arn,
            })
        })
        .collect();
    let needs: Vec<Value> = record
        .needs
        .iter()
        .map(|need| {
            json!({"action": need.action, "resource": need.resource, "allowed": need.allowed})
        })
        .collect();
    let mut detail = json!({
        "eventVersion": "1.11",
        "userIdentity": identity(record, place),
        "eventTime": record.time.iso8601(),
        "eventSource": source(&record.service),
        "eventName": record.event_name(),
        "awsRegion": place.region,
        "sourceIPAddress": record.source,
        // Inputs and outputs are not recorded.
        "requestParameters": null,
        "responseElements": null,
        "additionalEventData": {
            "action": record.action,
            "allowed": record.allowed,
            "needs": needs,
            "context": record.context,
            "httpStatusCode": record.status,
            "microseconds": record.microseconds,
        },
        "requestID": record.request_id,
        "eventID": record.request_id,
        "readOnly": only_reads(record.event_name()),
        "resources": named,
        "eventType": "AwsApiCall",
        "managementEvent": !data,
        "recipientAccountId": place.account,
        "eventCategory": if data { "Data" } else { "Management" },
    });
    if let Some(code) = &record.error {
        detail["errorCode"] = json!(code);
    }
    if let Some(reason) = &record.reason {
        detail["errorMessage"] = json!(reason);
    }
    detail
}

/// Who called.
fn identity(record: &Record, place: Place<'_>) -> Value {
    let Some(principal) = &record.principal else {
        // As CloudTrail has it for requests without a signature.
        return json!({"type": "AWSAccount", "principalId": "", "accountId": "ANONYMOUS_PRINCIPAL"});
    };
    let account = principal.split(':').nth(4).unwrap_or(place.account);
    let id = record.identity_id.as_deref();
    let mut identity = json!({
        "arn": principal,
        "accountId": account,
        "accessKeyId": record.access_key,
    });
    if principal.ends_with(":root") {
        identity["type"] = json!("Root");
        identity["principalId"] = json!(account);
    } else if principal.contains(":assumed-role/") {
        let issuer = record.identity.as_deref();
        identity["type"] = json!("AssumedRole");
        identity["principalId"] = json!(id.map(|id| format!("{id}:{}", user_name(principal))));
        identity["sessionContext"] = json!({
            "sessionIssuer": {
                "type": "Role",
                "principalId": id,
                "arn": issuer,
                "accountId": account,
                "userName": issuer.map(user_name),
            },
            "attributes": {"mfaAuthenticated": "false"},
        });
    } else {
        identity["type"] = json!("IAMUser");
        identity["principalId"] = json!(id);
        identity["userName"] = json!(user_name(principal));
    }
    identity
}

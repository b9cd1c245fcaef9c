//! A call that was made, as CloudTrail tells it.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Value, json};

use crate::client::{Client, Service};
use crate::error::ClientError;

/// Events of a page, the most that CloudTrail gives.
const PAGE: u64 = 50;
/// Pages that are looked through at most; CloudTrail answers two requests a second.
const PAGES: usize = 200;

/// Pages of the root's calls that are counted.
const ROOT_PAGES: usize = 20;

/// Who made it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(super) struct Who {
    /// `AssumedRole`, `IAMUser`, `Root`, `AWSService` …
    #[serde(rename = "type")]
    pub kind: String,
    pub arn: String,
    /// Twelve digits.
    pub account: String,
    /// The role behind a session.
    pub issuer: Option<String>,
    /// The service, where one asked.
    pub service: Option<String>,
}

/// One permission that the call needed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Needed {
    pub action: String,
    pub resource: String,
    /// What was decided then, where that is known.
    pub allowed: Option<bool>,
}

/// A call.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Event {
    pub id: String,
    pub request_id: String,
    /// ISO 8601.
    pub time: String,
    pub service: String,
    pub name: String,
    pub region: String,
    pub source: Option<String>,
    pub agent: Option<String>,
    pub error: Option<String>,
    pub message: Option<String>,
    pub who: Who,
    pub needs: Vec<Needed>,
    /// Condition keys of the needs.
    pub context: BTreeMap<String, Vec<String>>,
    /// Whether it only reads.
    pub reads: bool,
    /// Whether the needs were told, or only guessed from the operation's name.
    pub guessed: bool,
}

impl Event {
    /// Whether the call was refused for want of permission.
    pub(super) fn denied(&self) -> bool {
        self.error.as_deref().is_some_and(is_denial)
    }

    fn read(event: &Value) -> Option<Event> {
        let detail: Value = serde_json::from_str(event["CloudTrailEvent"].as_str()?).ok()?;
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let own = |name: &str| text(&detail[name]);
        let identity = &detail["userIdentity"];
        let who = Who {
            kind: text(&identity["type"]).unwrap_or_default(),
            arn: text(&identity["arn"]).unwrap_or_default(),
            account: text(&identity["accountId"]).unwrap_or_default(),
            issuer: text(&identity["sessionContext"]["sessionIssuer"]["arn"]),
            service: text(&identity["invokedBy"]),
        };
        let mut found = Event {
            id: own("eventID").or_else(|| text(&event["EventId"])).unwrap_or_default(),
            request_id: own("requestID").unwrap_or_default(),
            time: own("eventTime").unwrap_or_default(),
            service: own("eventSource").unwrap_or_default(),
            name: own("eventName").unwrap_or_default(),
            region: own("awsRegion").unwrap_or_default(),
            source: own("sourceIPAddress"),
            agent: own("userAgent"),
            error: own("errorCode"),
            message: own("errorMessage"),
            who,
            reads: detail["readOnly"].as_bool().unwrap_or(false),
            needs: Vec::new(),
            context: BTreeMap::new(),
            guessed: false,
        };
        let more = &detail["additionalEventData"];
        for need in more["needs"].as_array().into_iter().flatten() {
            found.needs.push(Needed {
                action: text(&need["action"])?,
                resource: text(&need["resource"]).unwrap_or_else(|| "*".to_owned()),
                allowed: need["allowed"].as_bool(),
            });
        }
        for (key, values) in more["context"].as_object().into_iter().flatten() {
            let values = match values {
                Value::Array(values) => values.iter().filter_map(&text).collect(),
                one => text(one).into_iter().collect(),
            };
            found.context.insert(key.clone(), values);
        }
        if found.needs.is_empty() && more["needs"].is_null() {
            found.guess(&detail);
        }
        Some(found)
    }

    /// AWS does not tell which permissions a call needed: its refusal names action and resource, and else the
    /// operation mostly is the action.
    fn guess(&mut self, detail: &Value) {
        self.guessed = true;
        let allowed = Some(!self.denied());
        if let Some((action, resource)) = self.message.as_deref().and_then(from_message) {
            self.needs.push(Needed { action, resource, allowed });
            return;
        }
        let service = self.service.split('.').next().unwrap_or_default();
        let service = if service == "monitoring" { "cloudwatch" } else { service };
        // Lambda's operations carry the date of its API: `DeleteFunction20150331`.
        let name = self.name.trim_end_matches("v2").trim_end_matches(|c: char| c.is_ascii_digit());
        let arns = detail["resources"].as_array().into_iter().flatten();
        let resource = arns.filter_map(|r| r["ARN"].as_str()).next().unwrap_or("*").to_owned();
        self.needs.push(Needed { action: format!("{service}:{name}"), resource, allowed });
    }
}

/// AccessDenied, AccessDeniedException, UnauthorizedOperation (EC2) …
pub(super) fn is_denial(code: &str) -> bool {
    code.contains("AccessDenied") || code.contains("UnauthorizedOperation")
}

/// Action and resource of `User: X is not authorized to perform: A on resource: R because …`.
fn from_message(message: &str) -> Option<(String, String)> {
    let (_, rest) = message.split_once("is not authorized to perform: ")?;
    let mut words = rest.split_whitespace();
    let action = words.next()?.to_owned();
    let resource = match (words.next(), words.next()) {
        (Some("on"), Some("resource:")) => words.next()?.trim_matches('"').to_owned(),
        _ => "*".to_owned(),
    };
    Some((action, resource))
}

/// Goes through the events, newest first, until `wanted` says so.
///
/// # Errors
/// What CloudTrail answers.
fn look(
    client: &Client,
    filter: Option<(&str, &str)>,
    mut wanted: impl FnMut(&Event) -> bool,
) -> Result<Option<Event>, ClientError> {
    let mut body = json!({"MaxResults": PAGE});
    if let Some((key, value)) = filter {
        body["LookupAttributes"] = json!([{"AttributeKey": key, "AttributeValue": value}]);
    }
    for _ in 0..PAGES {
        let page = client.json(Service::CloudTrail, "LookupEvents", &body)?;
        let events = page["Events"].as_array().into_iter().flatten();
        if let Some(found) = events.filter_map(Event::read).find(&mut wanted) {
            return Ok(Some(found));
        }
        match page["NextToken"].as_str() {
            Some(next) if !next.is_empty() && body["NextToken"] != next => {
                body["NextToken"] = next.into();
            }
            _ => break,
        }
    }
    Ok(None)
}

/// The call with this id, CloudTrail's own or the request's.
///
/// # Errors
/// When there is none, or CloudTrail refuses.
pub(super) fn by_id(client: &Client, id: &str) -> Result<Event, ClientError> {
    if let Some(found) = look(client, Some(("EventId", id)), |_| true)? {
        return Ok(found);
    }
    look(client, None, |event| event.request_id == id)?.ok_or_else(|| {
        ClientError::Usage(format!(
            "no recorded call has the id `{id}`\nhint: an answer has its id in `x-amzn-requestid`; a call is recorded some moments after it; `kennel iam explain --last-denied` takes the newest refusal"
        ))
    })
}

/// The newest call that was refused, of one user or role or of all.
///
/// # Errors
/// When there is none, or CloudTrail refuses.
pub(super) fn last_denied(client: &Client, by: Option<&str>) -> Result<Event, ClientError> {
    let own = |event: &Event| {
        by.is_none_or(|by| event.who.issuer.as_deref().unwrap_or(&event.who.arn) == by)
    };
    // The platform finds a role's calls by its ARN; AWS does so for calls about the role only, so all are looked
    // through then.
    let mut found = None;
    if let Some(by) = by {
        found = look(client, Some(("ResourceName", by)), |event| event.denied() && own(event))?;
    }
    if found.is_none() {
        found = look(client, None, |event| event.denied() && own(event))?;
    }
    found.ok_or_else(|| {
        let whose = by.map_or_else(String::new, |by| format!(" of `{by}`"));
        let newest = PAGES as u64 * PAGE;
        ClientError::Failed(format!(
            "no call{whose} among the newest {newest} on record was denied\nhint: name the call, `kennel iam explain REQUEST_ID`, or what would be asked, `--principal … --action …`"
        ))
    })
}

/// Calls of the account's root from one time to another (epoch seconds), those that only read among them or
/// not.
///
/// # Errors
/// What CloudTrail answers.
pub(in crate::commands) fn of_root(
    client: &Client,
    (since, until): (i64, i64),
    reads_count: bool,
) -> Result<RootUse, ClientError> {
    let mut found = RootUse::default();
    let mut body = json!({
        "MaxResults": PAGE, "StartTime": since, "EndTime": until,
        "LookupAttributes": [{"AttributeKey": "Username", "AttributeValue": "root"}],
    });
    // Enough to say that it is used, and what for.
    for _ in 0..ROOT_PAGES {
        let page = client.json(Service::CloudTrail, "LookupEvents", &body)?;
        let events = page["Events"].as_array().into_iter().flatten().filter_map(Event::read);
        for event in events.filter(|event| event.who.kind == "Root") {
            // Asking what a role has needed changes nothing either.
            let reads = event.reads || event.name == "StartPolicyGeneration";
            if reads && !reads_count {
                continue;
            }
            found.calls += 1;
            found.last = found.last.max(crate::clock::from_iso(&event.time));
            let name =
                format!("{}:{}", event.service.trim_end_matches(".amazonaws.com"), event.name);
            if !found.actions.contains(&name) {
                found.actions.push(name);
            }
        }
        match page["NextToken"].as_str() {
            Some(next) if !next.is_empty() => body["NextToken"] = next.into(),
            _ => return Ok(found),
        }
    }
    found.more = true;
    Ok(found)
}

/// What the account's root did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::commands) struct RootUse {
    pub calls: usize,
    /// There are more than were counted.
    pub more: bool,
    /// Epoch seconds.
    pub last: Option<i64>,
    /// `s3:CreateBucket`, newest first.
    pub actions: Vec<String>,
}

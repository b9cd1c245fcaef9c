//! `kennel iam explain`: the policies that are about a call, fetched as they are now, and the decision statement
//! by statement.

use clap::Args;
use kennel_iam::policy::{Document, Kind as PolicyKind};
use kennel_iam::{Context, Policies, Policy, PolicyType, Principal, Request, Trace};
use serde_json::{Value, json};

use super::advice::{self, Advice};
use super::event::{self, Event, Needed};
use super::principals::{Entity, Reader, document};
use crate::client::{Client, Service, encode};
use crate::clock;
use crate::commands::account;
use crate::error::ClientError;
use crate::output::{self, fields, iso_time, line};

/// Arguments of `kennel iam explain`.
#[derive(Debug, Clone, Default, Args)]
pub(in crate::commands) struct Explain {
    /// Id of a call that was made, from `x-amzn-requestid` or CloudTrail [default: the newest refusal]
    #[arg(conflicts_with_all = ["last_denied", "action"])]
    request_id: Option<String>,
    /// The newest call that was denied
    #[arg(long, conflicts_with = "action")]
    last_denied: bool,
    /// User or role, name or ARN: who would ask, or whose refusals are looked for
    #[arg(long, value_name = "ARN|NAME")]
    principal: Option<String>,
    /// What would be done, as in sagemaker:InvokeEndpoint
    #[arg(long, value_name = "SERVICE:ACTION", requires = "principal")]
    action: Option<String>,
    /// To what, an ARN [default: *]
    #[arg(long, value_name = "ARN", requires = "action")]
    resource: Option<String>,
    /// A condition key's value; a key that is repeated has several
    #[arg(long, value_name = "KEY=VALUE", value_parser = pair, requires = "action")]
    context: Vec<(String, String)>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

fn pair(given: &str) -> Result<(String, String), String> {
    match given.split_once('=') {
        Some((key, value)) if key.contains(':') => Ok((key.to_owned(), value.to_owned())),
        _ => Err("expected KEY=VALUE with a key such as aws:SourceIp".to_owned()),
    }
}

/// Who asks.
#[derive(Debug)]
pub(super) enum Who {
    Root {
        account: String,
    },
    /// A user.
    User(Box<Entity>),
    /// A session of a role: its ARN and its name.
    Session(Box<Entity>, String, String),
    Service(String),
    Anonymous,
}

impl Who {
    fn principal(&self) -> Principal<'_> {
        match self {
            Who::Root { account } => Principal::Root { account },
            Who::User(user) => Principal::User {
                account: user.account(),
                arn: &user.arn,
                id: &user.id,
                name: &user.name,
            },
            Who::Session(role, arn, name) => Principal::Session {
                account: role.account(),
                role_arn: &role.arn,
                role_id: &role.id,
                session_arn: arn,
                session_name: name,
            },
            Who::Service(name) => Principal::Service(name),
            Who::Anonymous => Principal::Anonymous,
        }
    }

    /// The user or role whose policies count.
    pub(super) fn entity(&self) -> Option<&Entity> {
        match self {
            Who::User(entity) | Who::Session(entity, ..) => Some(entity),
            Who::Root { .. } | Who::Service(_) | Who::Anonymous => None,
        }
    }
}

/// One permission, judged.
#[derive(Debug)]
pub(super) struct Answer {
    pub trace: Trace,
    pub advice: Advice,
    /// What was decided when the call was made.
    pub then: Option<bool>,
}

/// What is said about a call.
#[derive(Debug)]
pub(super) struct Explained {
    pub event: Option<Event>,
    pub answers: Vec<Answer>,
    pub notes: Vec<String>,
}

pub(super) fn run(client: &Client, arguments: &Explain) -> Result<(), ClientError> {
    let found = explain(client, arguments)?;
    match arguments.json {
        true => output::json(&as_json(&found)),
        false => line(shown(&found)),
    }
    Ok(())
}

pub(super) fn explain(client: &Client, arguments: &Explain) -> Result<Explained, ClientError> {
    match &arguments.action {
        Some(action) => would_be(client, arguments, action),
        None => was(client, arguments),
    }
}

/// A call that nobody made yet.
fn would_be(client: &Client, arguments: &Explain, action: &str) -> Result<Explained, ClientError> {
    if !action
        .split_once(':')
        .is_some_and(|(service, name)| !service.is_empty() && !name.is_empty())
    {
        return Err(ClientError::Usage(format!(
            "`{action}` is no action\nhint: one looks like sagemaker:InvokeEndpoint"
        )));
    }
    let given = arguments.principal.as_deref().unwrap_or_default();
    let mut notes = Vec::new();
    let who = match given.strip_suffix(":root") {
        Some(_) => Who::Root { account: account(client)? },
        None => who(&mut Reader::new(client), given, &mut notes)?,
    };
    let mut context = Context::new();
    let now = clock::epoch_millis() / 1000;
    set_time(&mut context, now);
    context.set("aws:RequestedRegion", &client.target().region);
    let resource = arguments.resource.clone().unwrap_or_else(|| "*".to_owned());
    let need = Needed { action: action.to_owned(), resource, allowed: None };
    let mut own: Vec<(String, Vec<String>)> = Vec::new();
    for (key, value) in &arguments.context {
        match own.iter_mut().find(|(known, _)| known.eq_ignore_ascii_case(key)) {
            Some((_, values)) => values.push(value.clone()),
            None => own.push((key.clone(), vec![value.clone()])),
        }
    }
    let answer = judge(client, &who, need, &context, &own, &mut notes)?;
    limits(&who, &mut notes);
    Ok(Explained { event: None, answers: vec![answer], notes })
}

/// A call that was made.
fn was(client: &Client, arguments: &Explain) -> Result<Explained, ClientError> {
    let mut reader = Reader::new(client);
    let event = match &arguments.request_id {
        Some(id) => event::by_id(client, id)?,
        None => {
            let by = match arguments.principal.as_deref() {
                Some(given) => Some(reader.find(given)?.arn),
                None => None,
            };
            event::last_denied(client, by.as_deref())?
        }
    };
    let mut notes = Vec::new();
    if event.guessed {
        notes.push("the record does not tell which permissions the call needed: action and resource are taken from its message or its name".to_owned());
    }
    let who = who_was(client, &mut reader, &event, &mut notes)?;
    let mut context = Context::new();
    if let Some(time) = clock::from_iso(&event.time) {
        set_time(&mut context, time);
    }
    if !event.region.is_empty() {
        context.set("aws:RequestedRegion", &event.region);
    }
    if let Some(source) = event.source.as_ref().filter(|s| s.parse::<std::net::IpAddr>().is_ok()) {
        context.set("aws:SourceIp", source);
    }
    if let Some(agent) = &event.agent {
        context.set("aws:UserAgent", agent);
    }
    let own: Vec<_> = event.context.iter().map(|(k, v)| (k.clone(), v.clone())).collect();
    if event.needs.is_empty() {
        notes.push(format!("`{}` needs no permission", event.name));
    }
    let mut answers = Vec::new();
    for need in event.needs.clone() {
        answers.push(judge(client, &who, need, &context, &own, &mut notes)?);
    }
    limits(&who, &mut notes);
    if event.error.is_some() && !event.denied() {
        notes.push(
            "it was not refused for want of permission: the error came after that".to_owned(),
        );
    }
    for answer in &answers {
        let now = answer.advice.allowed;
        let changed = answer.then.is_some_and(|then| then != now);
        if changed {
            let message = event.message.as_deref().unwrap_or_default();
            let hidden = ["session policy", "service control policy", "resource control policy"];
            let cause = hidden.into_iter().find(|words| message.contains(words));
            notes.push(match (cause, now) {
                (Some(words), true) => format!(
                    "the call was refused for a {words}, which IAM's API does not tell; the policies above allow {}", answer.trace.request.action
                ),
                (_, now) => format!(
                    "the policies have changed since the call: {} was {} then and would be {} now",
                    answer.trace.request.action,
                    verdict(!now),
                    verdict(now)
                ),
            });
        }
    }
    Ok(Explained { event: Some(event), answers, notes })
}

fn verdict(allowed: bool) -> &'static str {
    if allowed { "allowed" } else { "denied" }
}

fn set_time(context: &mut Context, seconds: i64) {
    context.set("aws:CurrentTime", clock::iso(seconds));
    context.set("aws:EpochTime", seconds.to_string());
}

/// What no API tells.
fn limits(who: &Who, notes: &mut Vec<String>) {
    if let Who::Session(..) = who {
        notes.push("session policies, where the session was made with some, cannot be fetched and are not considered".to_owned());
    }
    if let Some(entity) = who.entity().filter(|e| !e.groups.is_empty()) {
        notes.push(format!(
            "the policies of the groups `{}` are not considered",
            entity.groups.join("`, `")
        ));
    }
}

fn who(reader: &mut Reader<'_>, given: &str, notes: &mut Vec<String>) -> Result<Who, ClientError> {
    let entity = Box::new(reader.find(given)?);
    Ok(match entity.kind {
        super::principals::Kind::User => Who::User(entity),
        super::principals::Kind::Role => {
            let session = given.strip_prefix("arn:").filter(|a| a.contains(":assumed-role/"));
            let name = session.and_then(|s| s.rsplit('/').next()).unwrap_or("session").to_owned();
            if session.is_none() {
                notes.push("the role is looked at as a session named `session`".to_owned());
            }
            let arn = session_arn(&entity, &name);
            Who::Session(entity, arn, name)
        }
    })
}

fn session_arn(role: &Entity, name: &str) -> String {
    format!("arn:aws:sts::{}:assumed-role/{}/{name}", role.account(), role.name)
}

fn who_was(
    client: &Client,
    reader: &mut Reader<'_>,
    event: &Event,
    notes: &mut Vec<String>,
) -> Result<Who, ClientError> {
    let who = &event.who;
    let gone = |error: ClientError| match error.is_not_found() {
        true => ClientError::Failed(format!(
            "`{}`, who made the call, does not exist any more, nor do its policies",
            who.issuer.as_deref().unwrap_or(&who.arn)
        )),
        false => error,
    };
    Ok(match who.kind.as_str() {
        "Root" => Who::Root {
            account: match who.account.is_empty() {
                true => account(client)?,
                false => who.account.clone(),
            },
        },
        "IAMUser" => Who::User(Box::new(reader.find(&who.arn).map_err(gone)?)),
        "AssumedRole" => {
            let role = who.issuer.as_deref().unwrap_or(&who.arn);
            let role = Box::new(reader.find(role).map_err(gone)?);
            let name = who.arn.rsplit('/').next().unwrap_or("session").to_owned();
            let arn = match who.arn.contains(":assumed-role/") {
                true => who.arn.clone(),
                false => session_arn(&role, &name),
            };
            Who::Session(role, arn, name)
        }
        "AWSService" => Who::Service(who.service.clone().unwrap_or_else(|| who.arn.clone())),
        other => {
            if !matches!(other, "" | "AWSAccount" | "Unknown" | "Anonymous") {
                notes.push(format!("a caller of type `{other}` is looked at as anonymous"));
            }
            Who::Anonymous
        }
    })
}

/// Fetches what is about one permission and decides.
fn judge(
    client: &Client,
    who: &Who,
    need: Needed,
    context: &Context,
    own: &[(String, Vec<String>)],
    notes: &mut Vec<String>,
) -> Result<Answer, ClientError> {
    let principal = who.principal();
    let mut context = context.clone();
    context.set_principal(principal);
    let named = need.resource.split(':').nth(4).filter(|account| account.len() == 12);
    let home = match (named, principal.account()) {
        (Some(named), _) => named.to_owned(),
        (None, Some(own)) => own.to_owned(),
        (None, None) => account(client)?,
    };
    context.set("aws:ResourceAccount", &home);
    if need.action.starts_with("s3:") {
        context.set("s3:ResourceAccount", &home);
    }
    let mut policies = Policies::default();
    if let Some(entity) = who.entity() {
        for (key, value) in &entity.tags {
            context.set(&format!("aws:PrincipalTag/{key}"), value);
        }
        policies.identity = entity.identity();
        policies.boundary = entity
            .boundary
            .as_ref()
            .map(|b| Policy::new(b.origin.to_string(), PolicyType::Boundary, b.document.clone()));
    }
    for (key, values) in own {
        context.set_many(key, values.clone());
    }
    match of_resource(client, &need) {
        Ok(found) => policies.resource = found,
        Err(error) if matches!(error, ClientError::Service(_)) => {
            notes
                .push(format!("the policy of `{}` could not be looked at: {error}", need.resource));
        }
        Err(error) => return Err(error),
    }
    let request = Request {
        principal,
        action: &need.action,
        resource: &need.resource,
        resource_account: &home,
        context: &context,
    };
    let trace = kennel_iam::explain(&request, &policies);
    let advice = advice::advise(&request, &policies, &trace, who);
    Ok(Answer { trace, advice, then: need.allowed })
}

/// The resource's own policy: of a bucket, a function, or a role's trust.
fn of_resource(client: &Client, need: &Needed) -> Result<Option<Policy>, ClientError> {
    let parts: Vec<&str> = need.resource.splitn(6, ':').collect();
    let ["arn", _, service, _, _, resource] = parts.as_slice() else { return Ok(None) };
    let (name, found) = match *service {
        "s3" => {
            let bucket = resource.split('/').next().unwrap_or_default();
            if bucket.contains(['*', '?']) {
                return Ok(None);
            }
            // The name becomes part of a host.
            let at = crate::s3::Location::parse(&format!("s3://{bucket}"))?;
            let found = client.bucket_part("GetBucketPolicy", &at.bucket, "policy")?;
            let found = found.map(|body| String::from_utf8_lossy(&body).into_owned());
            (format!("policy of bucket {bucket}"), found)
        }
        "lambda" => {
            let Some(function) = resource.strip_prefix("function:") else { return Ok(None) };
            (format!("policy of function {function}"), function_policy(client, function)?)
        }
        "iam" if need.action.starts_with("sts:") && resource.starts_with("role/") => {
            let role = resource.rsplit('/').next().unwrap_or_default();
            let found = client.query(Service::Iam, "GetRole", &[("RoleName", role)])?;
            let found = found.find("AssumeRolePolicyDocument").map(|e| e.content.clone());
            ("trust policy".to_owned(), found)
        }
        _ => return Ok(None),
    };
    let Some(text) = found else { return Ok(None) };
    let kind = if *service == "iam" { PolicyKind::Trust } else { PolicyKind::Resource };
    let parsed: Document = document(&format!("the {name}"), &text, kind)?;
    Ok(Some(Policy::new(name, PolicyType::Resource, parsed)))
}

/// A function's policy, `function` being its name, perhaps with a qualifier.
pub(in crate::commands) fn function_policy(
    client: &Client,
    function: &str,
) -> Result<Option<String>, ClientError> {
    let (name, qualifier) = function.split_once(':').unwrap_or((function, ""));
    let mut path = format!("/2015-03-31/functions/{}/policy", encode(name));
    if !qualifier.is_empty() {
        path.push_str(&format!("?Qualifier={}", encode(qualifier)));
    }
    match client.rest(Service::Lambda, "GetPolicy", http::Method::GET, &path, None) {
        Ok(found) => Ok(found["Policy"].as_str().map(str::to_owned)),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error),
    }
}

pub(super) fn as_json(found: &Explained) -> Value {
    let answers: Vec<Value> = found
        .answers
        .iter()
        .map(|answer| {
            json!({
                "allowed": answer.advice.allowed,
                "trace": answer.trace,
                "fix": answer.advice.steps,
            })
        })
        .collect();
    json!({ "event": found.event, "decisions": answers, "notes": found.notes })
}

pub(super) fn shown(found: &Explained) -> String {
    let mut parts = Vec::new();
    if let Some(event) = &found.event {
        let outcome = match (&event.error, event.denied()) {
            (None, _) => "succeeded".to_owned(),
            (Some(code), true) => format!("denied ({code})"),
            (Some(code), false) => format!("failed ({code})"),
        };
        let service = event.service.split('.').next().unwrap_or_default();
        parts.push(fields(&[
            ("call", Some(format!("{service}:{}", event.name))),
            ("id", Some(event.id.clone())),
            ("time", Some(iso_time(&event.time))),
            ("by", Some(event.who.arn.clone()).filter(|a| !a.is_empty())),
            ("outcome", Some(outcome)),
            ("message", event.message.clone()),
        ]));
    }
    for answer in &found.answers {
        parts.push(answer.trace.to_string().trim_end().to_owned());
        if let Some(message) = &answer.trace.message {
            parts.push(format!("AWS says: {message}"));
        }
        parts.extend(answer.advice.steps.iter().map(advice::Step::shown));
    }
    parts.extend(found.notes.iter().map(|note| format!("note: {note}")));
    output::plain(&parts.join("\n\n"))
}

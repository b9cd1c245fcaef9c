//! SimulatePrincipalPolicy and SimulateCustomPolicy. What is decided is [`kennel_iam::simulate`]'s; here is
//! what it is asked with, and how its answers look at AWS: one result for each action on each resource.
//!
//! The caller's own facts (`aws:PrincipalArn`, `aws:username`, `aws:PrincipalTag/…`) are known for a
//! principal's policies; every other condition key is missing until `ContextEntries` names it. A role may be
//! simulated together with a resource's policy, which AWS allows for users only.
//!
//! Sources: <https://docs.aws.amazon.com/IAM/latest/APIReference/API_SimulatePrincipalPolicy.html>; ids and
//! types of the sources as IAM answers them (`PolicyInputList.1`, `role_NAME_POLICY`, `IAM Policy`).

use std::collections::BTreeMap;
use std::net::IpAddr;

use kennel_iam::policy::{Document, Kind as PolicyKind};
use kennel_iam::simulate::{Matched, Simulation, simulate};
use kennel_iam::{
    Arn, Context, Outcome as Verdict, Policies, Policy, PolicyType, Principal, Request,
};
use kennel_store::state::rusqlite::Connection;
use kennel_wire::ServiceError;
use serde_json::{Map, Value, json};

use super::entities::{Entity, Kind};
use super::error::{Outcome, invalid_input};
use super::held::{self, Held};
use super::input::{Call, Page};

/// Results of a page, unless another number is asked for.
const PAGE: i64 = 100;
/// The session that a role is simulated as.
const SESSION: &str = "simulation";

/// Who is simulated; the texts that a [`Principal`] borrows.
#[derive(Debug, Clone)]
struct Who {
    kind: Kind,
    account: String,
    arn: String,
    id: String,
    name: String,
    session_arn: String,
}

impl Who {
    fn of(entity: &Entity, account: &str) -> Self {
        Who {
            kind: entity.kind,
            account: account.to_owned(),
            arn: entity.arn(account),
            id: entity.id.clone(),
            name: entity.name.clone(),
            session_arn: format!("arn:aws:sts::{account}:assumed-role/{}/{SESSION}", entity.name),
        }
    }

    fn principal(&self) -> Principal<'_> {
        let Who { account, arn, id, name, session_arn, .. } = self;
        match self.kind {
            Kind::User => Principal::User { account, arn, id, name },
            Kind::Role => Principal::Session {
                account,
                role_arn: arn,
                role_id: id,
                session_arn,
                session_name: SESSION,
            },
        }
    }
}

/// What the simulator works on.
struct Stand {
    who: Who,
    policies: Policies,
    context: Context,
    /// Whose the resources are.
    owner: String,
}

/// SimulatePrincipalPolicy.
pub(crate) fn principal(call: &Call, c: &Connection) -> Outcome<Value> {
    let account = &call.account;
    let entity = held::entity(c, account, call.required("PolicySourceArn")?)?;
    let excluded = call.list("PolicyExclusionList");
    let counts = |held: &Held| !excluded.iter().any(|one| excludes(one, held, false));
    let held = held::of_entity(c, &entity)?;
    let mut policies = Policies {
        identity: held
            .into_iter()
            .filter(counts)
            .map(|h| compiled(h, PolicyType::Identity))
            .collect(),
        ..Policies::default()
    };
    if let Some(arn) = &entity.boundary {
        let boundary = held::managed_policy(c, arn)?;
        policies.boundary = boundary
            .filter(|h| !excluded.iter().any(|one| excludes(one, h, true)))
            .map(|h| compiled(h, PolicyType::Boundary));
    }
    let mut who = Who::of(&entity, account);
    if let Some(arn) = call.text("CallerArn") {
        who = caller(call, c, arn)?;
    }
    let mut context = Context::new();
    context.set_principal(who.principal());
    for tag in &entity.tags {
        let part = |name: &str| tag.get(name).and_then(Value::as_str).unwrap_or_default();
        context.set(&format!("aws:PrincipalTag/{}", part("Key")), part("Value"));
    }
    run(call, Stand { who, policies, context, owner: String::new() })
}

/// Does a member of `PolicyExclusionList` mean this policy? Without a name it means all of its type.
fn excludes(one: &Value, held: &Held, boundary: bool) -> bool {
    let text = |at: &str| one.pointer(at).and_then(Value::as_str);
    let aws = |arn: &str| arn.starts_with("arn:aws:iam::aws:");
    let of_type = match text("/PolicyType") {
        Some("permission-boundary") => boundary,
        Some("aws-managed") => !boundary && held.arn.as_deref().is_some_and(aws),
        Some("user-managed") => !boundary && held.arn.as_deref().is_some_and(|arn| !aws(arn)),
        Some("inline") => held.arn.is_none(),
        Some(_) => false,
        None => !boundary,
    };
    let inline = one.get("InlinePolicyIdentifier").map(|_| {
        let part =
            |name: &str| text(&format!("/InlinePolicyIdentifier/{name}")).unwrap_or_default();
        let (kind, owner) = (part("AttachmentType").to_ascii_lowercase(), part("AttachmentName"));
        format!("{kind}_{owner}_{}", part("PolicyName"))
    });
    of_type
        && text("/PolicyArn").is_none_or(|arn| held.arn.as_deref() == Some(arn))
        && inline.is_none_or(|id| held.arn.is_none() && held.source_id == id)
}

/// SimulateCustomPolicy.
pub(crate) fn custom(call: &Call, c: &Connection) -> Outcome<Value> {
    let mut context = Context::new();
    let who = match call.text("CallerArn") {
        Some(arn) => {
            let who = caller(call, c, arn)?;
            context.set_principal(who.principal());
            who
        }
        None if call.text("ResourcePolicy").is_some() => {
            let text = "You must specify the CallerArn if you specify a ResourcePolicy.";
            return Err(invalid_input(text).into());
        }
        // Nobody in particular: what policies ask about the caller is missing.
        None => Who {
            kind: Kind::User,
            account: call.account.clone(),
            arn: format!("arn:aws:iam::{}:user/simulated", call.account),
            id: String::new(),
            name: String::new(),
            session_arn: String::new(),
        },
    };
    run(call, Stand { who, policies: Policies::default(), context, owner: String::new() })
}

/// The user that `CallerArn` names, who need not exist.
fn caller(call: &Call, c: &Connection, text: &str) -> Outcome<Who> {
    let bad = || invalid_input(format!("Invalid CallerArn: {text}. It must be the ARN of a user."));
    let arn: Arn = text.parse().map_err(|_| bad())?;
    let name = arn.name_of("user").filter(|_| arn.service == "iam").ok_or_else(bad)?;
    if arn.account == call.account
        && let Ok(known) = held::entity(c, &call.account, text)
    {
        return Ok(Who::of(&known, &call.account));
    }
    Ok(Who {
        kind: Kind::User,
        account: arn.account.clone(),
        arn: text.to_owned(),
        id: String::new(),
        name: name.to_owned(),
        session_arn: String::new(),
    })
}

fn compiled(held: Held, policy_type: PolicyType) -> Policy {
    Policy::new(held.source_id, policy_type, held.document).with_text(&held.text)
}

/// A policy of the call.
fn given(
    (id, text): (String, &str),
    policy_type: PolicyType,
    kind: PolicyKind,
) -> Result<Policy, ServiceError> {
    let document = Document::parse(text, kind)
        .map_err(|e| invalid_input(format!("{id} is not a policy: {e}")))?;
    Ok(Policy::new(id, policy_type, document).with_text(text))
}

/// The policies of a list in the call.
fn given_list(
    texts: &[Value],
    name: &str,
    policy_type: PolicyType,
) -> Result<Vec<Policy>, ServiceError> {
    let texts = texts.iter().filter_map(Value::as_str).enumerate();
    texts
        .map(|(n, text)| {
            given((format!("{name}.{}", n + 1), text), policy_type, PolicyKind::Identity)
        })
        .collect()
}

/// Adds what the call says, and answers one page.
fn run(call: &Call, mut stand: Stand) -> Outcome<Value> {
    let policies = &mut stand.policies;
    let more = call.list("PolicyInputList");
    policies.identity.extend(given_list(more, "PolicyInputList", PolicyType::Identity)?);
    let name = "PermissionsBoundaryPolicyInputList";
    match call.list(name) {
        [] => {}
        // The call's boundary stands for the principal's own.
        one @ [_] => policies.boundary = given_list(one, name, PolicyType::Boundary)?.pop(),
        _ => return Err(invalid_input(format!("{name} must not exceed 1 items.")).into()),
    }
    for (n, level) in call.list("OrderedOrganizationPolicyInputList").iter().enumerate() {
        let texts = level.get("ServiceControlPolicyInputList").and_then(Value::as_array);
        let name = format!("OrderedOrganizationPolicyInputList.{}", n + 1);
        let texts = texts.map_or(&[][..], Vec::as_slice);
        policies.service_control.push(given_list(texts, &name, PolicyType::ServiceControl)?);
    }
    if let Some(text) = call.text("ResourcePolicy") {
        let id = "ResourcePolicy".to_owned();
        policies.resource = Some(given((id, text), PolicyType::Resource, PolicyKind::Resource)?);
    }
    for entry in call.list("ContextEntries") {
        enter(&mut stand.context, entry)?;
    }
    stand.owner = match call.text("ResourceOwner") {
        Some(text) => owner(text)?,
        None => stand.who.account.clone(),
    };
    let actions = actions(call)?;
    let resources = resources(call)?;
    let total = actions.len() * resources.len();
    let from = start(call)?;
    let most = usize::try_from(call.integer("MaxItems").unwrap_or(PAGE).clamp(1, 1000));
    let to = from.saturating_add(most.unwrap_or(100)).min(total);
    let mut results = Vec::new();
    for (action, resource) in (from..to).filter_map(|n| {
        Some((*actions.get(n / resources.len())?, *resources.get(n % resources.len())?))
    }) {
        let request = Request {
            principal: stand.who.principal(),
            action,
            resource,
            resource_account: &stand.owner,
            context: &stand.context,
        };
        let simulation = simulate(&request, &stand.policies);
        let cross = stand.who.account != stand.owner;
        results.push(show((action, resource), &simulation, cross));
    }
    let marker = (to < total).then(|| to.to_string());
    Ok(Page::<()>::answer(marker, vec![("EvaluationResults", Value::Array(results))]))
}

/// Where a page starts.
fn start(call: &Call) -> Result<usize, ServiceError> {
    match call.text("Marker") {
        Some(marker) => marker.parse().map_err(|_| invalid_input("Invalid Marker.")),
        None => Ok(0),
    }
}

fn actions(call: &Call) -> Result<Vec<&str>, ServiceError> {
    let good = |action: &str| {
        action.split_once(':').is_some_and(|(vendor, name)| {
            let vendor = vendor.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
            vendor && !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric())
        })
    };
    let given = call.list("ActionNames").iter().filter_map(Value::as_str);
    given
        .map(|action| match good(action) {
            true => Ok(action),
            false => Err(invalid_input(format!(
                "Invalid Action Name: {action}. It must be like `s3:GetObject`, without wildcards."
            ))),
        })
        .collect()
}

fn resources(call: &Call) -> Result<Vec<&str>, ServiceError> {
    let given: Vec<&str> = call.list("ResourceArns").iter().filter_map(Value::as_str).collect();
    if given.is_empty() {
        return Ok(vec!["*"]);
    }
    match given.iter().find(|text| **text != "*" && text.parse::<Arn>().is_err()) {
        Some(bad) => Err(invalid_input(format!("Invalid Resource ARN: {bad}"))),
        None => Ok(given),
    }
}

/// The account in `ResourceOwner`: its id, or the ARN of its root.
fn owner(text: &str) -> Result<String, ServiceError> {
    let account = text.parse::<Arn>().map_or(text.to_owned(), |arn| arn.account);
    match account.len() == 12 && account.bytes().all(|b| b.is_ascii_digit()) {
        true => Ok(account),
        false => Err(invalid_input(format!("Invalid ResourceOwner: {text}"))),
    }
}

/// One of `ContextEntries`, whose values must be of its type.
fn enter(context: &mut Context, entry: &Value) -> Result<(), ServiceError> {
    let text = |name: &str| entry.get(name).and_then(Value::as_str).unwrap_or_default();
    let (key, kind) = (text("ContextKeyName"), text("ContextKeyType"));
    if key.is_empty() {
        return Err(invalid_input("A context entry has no ContextKeyName."));
    }
    let values = entry.get("ContextKeyValues").and_then(Value::as_array);
    let values: Vec<&str> = values.into_iter().flatten().filter_map(Value::as_str).collect();
    let single = kind.strip_suffix("List").unwrap_or(kind);
    let good = |value: &str| match single {
        "numeric" => value.parse::<f64>().is_ok_and(f64::is_finite),
        "boolean" => value.eq_ignore_ascii_case("true") || value.eq_ignore_ascii_case("false"),
        "ip" => value.split('/').next().is_some_and(|ip| ip.parse::<IpAddr>().is_ok()),
        "date" => {
            value.parse::<i64>().is_ok() || chrono::DateTime::parse_from_rfc3339(value).is_ok()
        }
        _ => true,
    };
    if let Some(bad) = values.iter().find(|value| !good(value)) {
        return Err(invalid_input(format!(
            "Invalid value `{bad}` of context key {key}: it is not of type {kind}."
        )));
    }
    context.set_many(key, values.into_iter().map(str::to_owned).collect());
    Ok(())
}

/// A member of `EvaluationResults`.
fn show((action, resource): (&str, &str), simulation: &Simulation, cross: bool) -> Value {
    let mut result = shared(simulation, cross);
    if resource != "*" {
        let mut specific = result.clone();
        specific.insert("EvalResourceName".to_owned(), json!(resource));
        specific
            .insert("EvalResourceDecision".to_owned(), json!(simulation.decision.outcome.name()));
        result.insert("ResourceSpecificResults".to_owned(), json!([specific]));
    }
    if let Some(allowed) = simulation.organizations_allowed {
        let detail = json!({"AllowedByOrganizations": allowed});
        result.insert("OrganizationsDecisionDetail".to_owned(), detail);
    }
    result.insert("EvalActionName".to_owned(), json!(action));
    result.insert("EvalResourceName".to_owned(), json!(resource));
    result.insert("EvalDecision".to_owned(), json!(simulation.decision.outcome.name()));
    Value::Object(result)
}

/// What a result and its part for one resource have both.
fn shared(simulation: &Simulation, cross: bool) -> Map<String, Value> {
    let mut members = Map::new();
    let matched: Vec<Value> = simulation.matched.iter().map(statement).collect();
    members.insert("MatchedStatements".to_owned(), Value::Array(matched));
    members.insert("MissingContextValues".to_owned(), json!(simulation.missing_context));
    if let Some(allowed) = simulation.boundary_allowed {
        let detail = json!({"AllowedByPermissionsBoundary": allowed});
        members.insert("PermissionsBoundaryDecisionDetail".to_owned(), detail);
    }
    // Between accounts, AWS also says what each type of policy comes to.
    if cross {
        members.insert("EvalDecisionDetails".to_owned(), json!(details(simulation)));
    }
    members
}

fn details(simulation: &Simulation) -> BTreeMap<&'static str, &'static str> {
    let mut by_type: BTreeMap<&'static str, Verdict> = BTreeMap::new();
    for detail in &simulation.details {
        let name = match detail.policy_type {
            PolicyType::Resource => "Resource Policy",
            PolicyType::Boundary => "Permissions Boundary Policy",
            PolicyType::ServiceControl | PolicyType::ResourceControl => "Organizations Policy",
            PolicyType::Identity | PolicyType::Session => "IAM Policy",
        };
        let known = by_type.entry(name).or_insert(Verdict::ImplicitDeny);
        *known = match (*known, detail.outcome) {
            (Verdict::ExplicitDeny, _) | (_, Verdict::ExplicitDeny) => Verdict::ExplicitDeny,
            (Verdict::Allowed, _) | (_, Verdict::Allowed) => Verdict::Allowed,
            (Verdict::ImplicitDeny, Verdict::ImplicitDeny) => Verdict::ImplicitDeny,
        };
    }
    by_type.into_iter().map(|(name, verdict)| (name, verdict.name())).collect()
}

fn statement(matched: &Matched) -> Value {
    let place = |(line, column): (usize, usize)| json!({"Line": line, "Column": column});
    // IAM answers these words, whatever its model lists.
    let kind =
        if matched.source_policy_type == "resource" { "Resource Policy" } else { "IAM Policy" };
    json!({
        "SourcePolicyId": matched.source_policy_id,
        "SourcePolicyType": kind,
        "StartPosition": place(matched.start),
        "EndPosition": place(matched.end),
    })
}

#[cfg(test)]
mod tests;

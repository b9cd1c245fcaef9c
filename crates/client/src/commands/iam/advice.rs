//! What would let a denied call pass: the one statement for exactly this call, and where it belongs.

use kennel_iam::policy::{Document, Kind as PolicyKind};
use kennel_iam::{Decision, Outcome, Policies, Policy, PolicyType, Request, Trace, decide};
use serde::Serialize;
use serde_json::{Value, json};

use super::explain::Who;
use super::principals::Entity;

/// Policies that can be missing one after the other.
const ROUNDS: usize = 4;

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Step {
    /// In words.
    pub what: String,
    /// The statement that is missing.
    pub statement: Option<Value>,
    /// How to add it.
    pub command: Option<String>,
}

impl Step {
    fn words(what: impl Into<String>) -> Step {
        Step { what: what.into(), statement: None, command: None }
    }

    pub(super) fn shown(&self) -> String {
        let mut text = format!("fix: {}", self.what);
        if let Some(statement) = &self.statement {
            let pretty = serde_json::to_string_pretty(statement).unwrap_or_default();
            text.push_str(&format!("\n\n{pretty}"));
        }
        if let Some(command) = &self.command {
            text.push_str(&format!("\n\n{command}"));
        }
        text
    }
}

/// The decision that counts in the end, and the way to another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Advice {
    /// As the trace decides, and for taking a role the trust policy besides.
    pub allowed: bool,
    /// Empty when it is allowed.
    pub steps: Vec<Step>,
}

/// Finds what is missing, one policy after the other, each judged with the statements before it in place.
pub(super) fn advise(
    request: &Request<'_>,
    policies: &Policies,
    trace: &Trace,
    who: &Who,
) -> Advice {
    let mut policies = policies.clone();
    let mut steps = Vec::new();
    let mut decision = trace.decision.clone();
    for _ in 0..ROUNDS {
        if decision.allowed() {
            break;
        }
        let (step, added) = step(request, &policies, &decision, who);
        steps.push(step);
        let Some((policy_type, added)) = added else { break };
        let added = |kind: PolicyType| Policy::new("proposed", kind, added.clone());
        match policy_type {
            PolicyType::Identity => policies.identity.push(added(PolicyType::Identity)),
            // What a boundary lacks is judged as if it allowed just this.
            PolicyType::Boundary => policies.boundary = Some(added(PolicyType::Boundary)),
            PolicyType::Resource => policies.resource = Some(added(PolicyType::Resource)),
            _ => break,
        }
        decision = decide(request, &policies);
    }
    let trusted = !is_about_trust(request) || trusts(trace);
    if trace.decision.allowed() && !trusted {
        steps.push(trust(request));
    }
    Advice { allowed: trace.decision.allowed() && trusted, steps }
}

/// To take a role its trust policy has to allow it, whatever else does.
fn is_about_trust(request: &Request<'_>) -> bool {
    let action = request.action.to_ascii_lowercase();
    action.starts_with("sts:") && request.resource.contains(":role/")
}

fn trusts(trace: &Trace) -> bool {
    trace.policies.iter().any(|policy| {
        policy.policy_type == PolicyType::Resource && policy.outcome == Outcome::Allowed
    })
}

/// One step, and the statement as if it were in place.
fn step(
    request: &Request<'_>,
    policies: &Policies,
    decision: &Decision,
    who: &Who,
) -> (Step, Option<(PolicyType, Document)>) {
    if let Some(by) = &decision.by {
        let what = format!(
            "no further allow helps, as {by} denies it: take that statement away, or make it not apply"
        );
        return (Step::words(what), None);
    }
    let (action, resource) = (request.action, request.resource);
    let statement = json!({ "Effect": "Allow", "Action": action, "Resource": resource });
    let policy = policy_of(std::slice::from_ref(&statement));
    let parsed = |kind| Document::parse(&policy.to_string(), kind).ok();
    match (decision.missing, who.entity()) {
        (Some(PolicyType::Identity), Some(entity)) => {
            let what = format!(
                "allow exactly this call, as a further inline policy of {} `{}`",
                entity.kind.word(),
                entity.name
            );
            let command = Some(put(entity, &policy_name(action), &policy));
            let step = Step { what, statement: Some(statement), command };
            let added = parsed(PolicyKind::Identity).map(|d| (PolicyType::Identity, d));
            (step, added)
        }
        (Some(PolicyType::Boundary), Some(entity)) => {
            let name = policies.boundary.as_ref().map_or("", Policy::name);
            let what = format!(
                "the permissions boundary {name} of {} `{}` has to allow it too: add this statement to it",
                entity.kind.word(),
                entity.name
            );
            let added = parsed(PolicyKind::Identity).map(|d| (PolicyType::Boundary, d));
            (Step { what, statement: Some(statement), command: None }, added)
        }
        (Some(PolicyType::Resource), _) if is_about_trust(request) => (trust(request), None),
        (Some(PolicyType::Resource), _) => {
            let statement = json!({
                "Effect": "Allow",
                "Principal": { "AWS": grantee(request) },
                "Action": action,
                "Resource": resource,
            });
            let what = "the resource's own policy has to allow it: add this statement".to_owned();
            let policy = policy_of(std::slice::from_ref(&statement));
            let document = Document::parse(&policy.to_string(), PolicyKind::Resource).ok();
            let added = document.map(|d| (PolicyType::Resource, d));
            (Step { what, statement: Some(statement), command: None }, added)
        }
        (Some(PolicyType::Session), _) => {
            let what = "make the session anew with a session policy that allows it, or without any";
            (Step::words(what), None)
        }
        (Some(missing), _) => {
            let what = format!("the organization's {} has to allow it", missing.words());
            (Step::words(what), None)
        }
        (None, _) => (Step::words("nothing that IAM's API tells of allows it"), None),
    }
}

fn trust(request: &Request<'_>) -> Step {
    let statement = json!({
        "Effect": "Allow",
        "Principal": { "AWS": grantee(request) },
        "Action": request.action,
    });
    let role = request.resource.rsplit('/').next().unwrap_or_default();
    Step {
        what: format!(
            "the trust policy of role `{role}` has to allow it: add this statement (`aws iam update-assume-role-policy`)"
        ),
        statement: Some(statement),
        command: None,
    }
}

/// Whom a resource's policy would name.
fn grantee(request: &Request<'_>) -> String {
    match request.principal {
        kennel_iam::Principal::Session { role_arn, .. } => role_arn.to_owned(),
        kennel_iam::Principal::Anonymous => "*".to_owned(),
        other => other.to_string(),
    }
}

/// A policy of these statements.
pub(in crate::commands) fn policy_of(statements: &[Value]) -> Value {
    json!({ "Version": "2012-10-17", "Statement": statements })
}

/// `allow-sagemaker-InvokeEndpoint`.
fn policy_name(action: &str) -> String {
    let fits = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
    let name: String = action.chars().map(fits).take(100).collect();
    format!("allow-{name}")
}

/// The command that puts an inline policy.
fn put(entity: &Entity, name: &str, policy: &Value) -> String {
    let word = entity.kind.word();
    format!(
        "aws iam put-{word}-policy --{word}-name {} --policy-name {name} --policy-document {}",
        entity.name,
        quoted(&policy.to_string())
    )
}

/// A text for a shell.
pub(in crate::commands) fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

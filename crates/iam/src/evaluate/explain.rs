//! The same decision, told statement by statement.

use std::fmt;

use serde::Serialize;

use super::compile::Grant;
use super::verdict::{Decision, Found, Hit, Outcome, verdict};
use super::{Ask, Policies, PolicyType, Principal, Request, effect_name, visit};
use crate::policy::{Effect, Scope, Statement};

/// A decision with everything that was looked at, in order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Trace {
    /// What was asked.
    pub request: RequestTrace,
    /// Every policy, in order of evaluation.
    pub policies: Vec<PolicyTrace>,
    /// What comes of it; what [`super::decide`] says.
    pub decision: Decision,
    /// AWS's words when it is denied.
    pub message: Option<String>,
}

/// What was asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RequestTrace {
    /// As AWS's messages name it.
    pub principal: String,
    /// The action.
    pub action: String,
    /// The ARN, or `*`.
    pub resource: String,
    /// Whether principal and resource are of one account.
    pub same_account: bool,
}

/// One policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PolicyTrace {
    /// Its type.
    pub policy_type: PolicyType,
    /// Its name.
    pub name: String,
    /// Where in the organization, from 0 at the root; only of control policies.
    pub level: Option<usize>,
    /// Whether its type is about this principal at all; the root has no identity policies, for example.
    pub considered: bool,
    /// What it says alone.
    pub outcome: Outcome,
    /// Every statement.
    pub statements: Vec<StatementTrace>,
}

/// One statement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StatementTrace {
    /// From 0.
    pub index: usize,
    /// The author's name for it.
    pub sid: Option<String>,
    /// `Allow` or `Deny`.
    pub effect: &'static str,
    /// Whether it is about the action.
    pub action: Match,
    /// Whether it is about the resource.
    pub resource: Match,
    /// Whether it is about the one who asks; `None` where statements name nobody.
    pub principal: Option<Match>,
    /// Every condition.
    pub conditions: Vec<ConditionTrace>,
    /// Whether it applies: all of the above.
    pub applies: bool,
}

/// Whether an element matches.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Match {
    /// Does it?
    pub matches: bool,
    /// The element: `Action`, `NotAction`, …
    pub element: &'static str,
    /// Its items.
    pub items: Vec<String>,
    /// For principals, as what: `itself`, `its role`, `its account`.
    pub as_what: Option<&'static str>,
}

/// One condition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ConditionTrace {
    /// `ForAllValues:StringLikeIfExists`
    pub operator: String,
    /// As written.
    pub key: String,
    /// The policy's values.
    pub wanted: Vec<String>,
    /// The request's values; `None` when it has no such key.
    pub values: Option<Vec<String>>,
    /// Does it hold?
    pub holds: bool,
}

/// Decides as [`super::decide`] does, and tells how.
pub fn explain(request: &Request<'_>, policies: &Policies) -> Trace {
    let lowered = request.action.to_ascii_lowercase();
    let ask = Ask::new(request, policies, &lowered);
    let mut found = Found::new(policies);
    let mut traces = Vec::new();
    visit(policies, |policy, side, level| {
        let policy_type = side.policy_type();
        let mut statements = Vec::new();
        let mut outcome = Outcome::ImplicitDeny;
        for (index, rule) in policy.rules().iter().enumerate() {
            let Some(statement) = policy.document().statements.get(index) else { continue };
            let grant = rule.principal(&ask, policy_type);
            let conditions: Vec<ConditionTrace> = statement
                .conditions
                .iter()
                .zip(&rule.checks)
                .map(|(condition, check)| ConditionTrace {
                    operator: condition.operator_name(),
                    key: condition.key.clone(),
                    wanted: condition.values.iter().map(|v| v.text.clone()).collect(),
                    values: request.context.get(&check.key).map(<[String]>::to_vec),
                    holds: check.holds(request.context),
                })
                .collect();
            let (action, resource) = (rule.action(&ask), rule.resource(&ask));
            let applies =
                action && resource && grant.is_some() && conditions.iter().all(|c| c.holds);
            if let Some(grant) = grant.filter(|_| applies) {
                found.add(Hit { policy, index, side }, rule.effect, level, grant);
                match rule.effect {
                    Effect::Deny => outcome = Outcome::ExplicitDeny,
                    Effect::Allow if outcome == Outcome::ImplicitDeny => outcome = Outcome::Allowed,
                    Effect::Allow => {}
                }
            }
            statements.push(StatementTrace {
                index,
                sid: statement.sid.clone(),
                effect: effect_name(statement.effect),
                action: element(["Action", "NotAction"], &statement.action, action),
                resource: resources(statement, resource),
                principal: statement.principal.as_ref().map(|scope| {
                    let mut found = element(["Principal", "NotPrincipal"], scope, grant.is_some());
                    found.as_what = grant.map(as_what);
                    found
                }),
                conditions,
                applies,
            });
        }
        traces.push(PolicyTrace {
            policy_type,
            name: policy.name().to_owned(),
            level: control(policy_type).then_some(level),
            considered: considered(policy_type, request.principal),
            outcome,
            statements,
        });
    });
    let decision = verdict(request, policies, &found);
    Trace {
        request: RequestTrace {
            principal: request.principal.to_string(),
            action: request.action.to_owned(),
            resource: request.resource.to_owned(),
            same_account: request.principal.account() == Some(request.resource_account),
        },
        policies: traces,
        message: (!decision.allowed()).then(|| decision.denied_message(request)),
        decision,
    }
}

fn control(policy_type: PolicyType) -> bool {
    matches!(policy_type, PolicyType::ServiceControl | PolicyType::ResourceControl)
}

fn considered(policy_type: PolicyType, principal: Principal<'_>) -> bool {
    match policy_type {
        PolicyType::Resource | PolicyType::ResourceControl => true,
        PolicyType::ServiceControl => principal.account().is_some(),
        PolicyType::Identity | PolicyType::Boundary | PolicyType::Session => {
            matches!(principal, Principal::User { .. } | Principal::Session { .. })
        }
    }
}

fn element<T: fmt::Display>(names: [&'static str; 2], scope: &Scope<T>, matches: bool) -> Match {
    let element = match scope {
        Scope::In(_) => names[0],
        Scope::NotIn(_) => names[1],
    };
    let items = scope.items().iter().map(T::to_string).collect();
    Match { matches, element, items, as_what: None }
}

fn resources(statement: &Statement, matches: bool) -> Match {
    match &statement.resource {
        Some(scope) => element(["Resource", "NotResource"], scope, matches),
        None => Match { matches, element: "Resource", items: Vec::new(), as_what: None },
    }
}

fn as_what(grant: Grant) -> &'static str {
    match grant {
        Grant::Direct => "itself",
        Grant::Role => "its role",
        Grant::Account => "its account",
    }
}

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let RequestTrace { principal, action, resource, same_account } = &self.request;
        writeln!(f, "{principal}\n  {action}\n  on {resource}")?;
        if !same_account {
            writeln!(f, "  of another account: both sides must allow")?;
        }
        for policy in &self.policies {
            policy.fmt(f)?;
        }
        match (&self.decision.outcome, &self.decision.by, self.decision.missing) {
            (Outcome::Allowed, Some(by), _) => write!(f, "\nallowed by {by}"),
            (Outcome::Allowed, None, _) => write!(f, "\nallowed: the account's root"),
            (_, Some(by), _) => write!(f, "\ndenied by {by}"),
            (_, None, Some(missing)) => write!(f, "\ndenied: no {} allows it", missing.words()),
            (_, None, None) => write!(f, "\ndenied"),
        }
    }
}

impl fmt::Display for PolicyTrace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\n{} {}", self.policy_type.words(), self.name)?;
        if let Some(level) = self.level {
            write!(f, " (level {level})")?;
        }
        let says = match self.outcome {
            _ if !self.considered => "not about this principal",
            Outcome::Allowed => "allows",
            Outcome::ImplicitDeny => "says nothing",
            Outcome::ExplicitDeny => "denies",
        };
        writeln!(f, ": {says}")?;
        self.statements.iter().try_for_each(|statement| statement.fmt(f))
    }
}

impl fmt::Display for StatementTrace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = match (self.applies, self.effect) {
            (false, _) => "·",
            (true, "Deny") => "✗",
            (true, _) => "✓",
        };
        write!(f, "  {mark} [{}] {}", self.index, self.effect)?;
        if let Some(sid) = &self.sid {
            write!(f, " {sid}")?;
        }
        if self.applies {
            return writeln!(f, ": applies");
        }
        writeln!(f, ": does not apply")?;
        for part in [Some(&self.action), Some(&self.resource), self.principal.as_ref()] {
            let Some(Match { matches: false, element, items, .. }) = part else { continue };
            let shown = items.iter().take(3).map(String::as_str).collect::<Vec<_>>().join(", ");
            let more = items.len().saturating_sub(3);
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            // The first mismatch says enough: most statements are about something else altogether.
            return writeln!(f, "      {element} does not match: {shown}{more}");
        }
        for condition in self.conditions.iter().filter(|c| !c.holds) {
            let ConditionTrace { operator, key, wanted, values, .. } = condition;
            let values = match values {
                Some(values) => format!("`{}`", values.join("`, `")),
                None => "absent".to_owned(),
            };
            let wanted = wanted.join("`, `");
            writeln!(
                f,
                "      condition fails: {operator} {key} `{wanted}`; the request's: {values}"
            )?;
        }
        Ok(())
    }
}

//! What the policy simulator answers: `SimulatePrincipalPolicy` and `SimulateCustomPolicy`.
//!
//! Source: <https://docs.aws.amazon.com/IAM/latest/APIReference/API_EvaluationResult.html>.

use std::collections::BTreeSet;

use crate::evaluate::{
    Decision, Outcome, Policies, Policy, PolicyTrace, PolicyType, Principal, Request, explain,
};
use crate::policy::{Position, Version, positions};

/// One action on one resource, simulated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Simulation {
    /// `EvalDecision` is its outcome's name.
    pub decision: Decision,
    /// The statements that apply and made the decision: the denies if there are any, otherwise the allows.
    pub matched: Vec<Matched>,
    /// Keys that statements about the action ask for and the request has not; as written, sorted.
    pub missing_context: Vec<String>,
    /// Whether the permissions boundary allows; `None` without one.
    pub boundary_allowed: Option<bool>,
    /// Whether the service control policies allow; `None` without any.
    pub organizations_allowed: Option<bool>,
    /// What each policy says alone, in order of evaluation.
    pub details: Vec<Detail>,
}

/// A statement that applies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Matched {
    /// The policy's name.
    pub source_policy_id: String,
    /// As the API's model lists them: `user`, `role`, `aws-managed`, `user-managed`, `resource` or `none`.
    pub source_policy_type: &'static str,
    /// Which statement, from 0.
    pub statement: usize,
    /// Where it starts in the policy's text; line 1, column 1 when the text is not known.
    pub start: Position,
    /// Where it ends.
    pub end: Position,
}

/// What a policy says alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Detail {
    /// The policy's name.
    pub policy: String,
    /// The policy's type.
    pub policy_type: PolicyType,
    /// Its verdict.
    pub outcome: Outcome,
}

/// Simulates a request.
pub fn simulate(request: &Request<'_>, policies: &Policies) -> Simulation {
    let trace = explain(request, policies);
    let considered: Vec<(&Policy, &PolicyTrace)> =
        in_order(policies).zip(&trace.policies).filter(|(_, policy)| policy.considered).collect();
    let wanted = if trace.decision.outcome == Outcome::ExplicitDeny { "Deny" } else { "Allow" };
    let mut matched = Vec::new();
    let mut missing = BTreeSet::new();
    for (policy, said) in &considered {
        let places = policy.text().map(positions).unwrap_or_default();
        let variables = policy.document().version == Version::V2012;
        for (statement, found) in policy.document().statements.iter().zip(&said.statements) {
            if found.action.matches {
                let keys = statement.context_keys(variables).into_iter();
                missing.extend(keys.filter(|key| request.context.get(key).is_none()));
            }
            if found.applies && found.effect == wanted {
                let (start, end) = places.get(found.index).copied().unwrap_or(((1, 1), (1, 1)));
                matched.push(Matched {
                    source_policy_id: policy.name().to_owned(),
                    source_policy_type: source_type(policy, said.policy_type, request.principal),
                    statement: found.index,
                    start,
                    end,
                });
            }
        }
    }
    let detail = |(policy, said): &(&Policy, &PolicyTrace)| Detail {
        policy: policy.name().to_owned(),
        policy_type: said.policy_type,
        outcome: said.outcome,
    };
    let boundary_allowed = trace
        .policies
        .iter()
        .find(|said| said.policy_type == PolicyType::Boundary)
        .map(|said| said.outcome == Outcome::Allowed);
    Simulation {
        matched,
        missing_context: missing.into_iter().collect(),
        boundary_allowed,
        organizations_allowed: organizations(policies, &trace.policies),
        details: considered.iter().map(detail).collect(),
        decision: trace.decision,
    }
}

/// The policies as [`explain`] tells them.
fn in_order(policies: &Policies) -> impl Iterator<Item = &Policy> {
    let control = policies.resource_control.iter().chain(&policies.service_control).flatten();
    control
        .chain(&policies.resource)
        .chain(&policies.identity)
        .chain(&policies.boundary)
        .chain(policies.session.iter().flatten())
}

fn organizations(policies: &Policies, said: &[PolicyTrace]) -> Option<bool> {
    if policies.service_control.is_empty() {
        return None;
    }
    let scps = || said.iter().filter(|p| p.policy_type == PolicyType::ServiceControl);
    let denied = scps().any(|p| p.outcome == Outcome::ExplicitDeny);
    let allows =
        |level: usize| scps().any(|p| p.level == Some(level) && p.outcome == Outcome::Allowed);
    Some(!denied && (0..policies.service_control.len()).all(allows))
}

fn source_type(policy: &Policy, policy_type: PolicyType, principal: Principal<'_>) -> &'static str {
    match (policy_type, principal) {
        (PolicyType::Resource, _) => "resource",
        _ if policy.name().starts_with("arn:aws:iam::aws:policy/") => "aws-managed",
        _ if policy.name().starts_with("arn:") => "user-managed",
        (PolicyType::Identity, Principal::User { .. }) => "user",
        (PolicyType::Identity, Principal::Session { .. }) => "role",
        _ => "none",
    }
}

#[cfg(test)]
mod tests;

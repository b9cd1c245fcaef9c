//! From what the statements say to the decision.

use std::fmt;
use std::sync::Arc;

use serde::{Serialize, Serializer};

use super::compile::Grant;
use super::{Policies, Policy, PolicyType, Principal, Request};
use crate::policy::Effect;

/// What a decision comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It may be done.
    Allowed,
    /// Something that had to allow it did not.
    ImplicitDeny,
    /// A statement denies it.
    ExplicitDeny,
}

impl Outcome {
    /// As the policy simulator names it: `allowed`, `implicitDeny`, `explicitDeny`.
    pub fn name(self) -> &'static str {
        match self {
            Outcome::Allowed => "allowed",
            Outcome::ImplicitDeny => "implicitDeny",
            Outcome::ExplicitDeny => "explicitDeny",
        }
    }
}

/// A statement of a policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StatementRef {
    /// The policy's name.
    #[serde(serialize_with = "text")]
    pub policy: Arc<str>,
    /// The policy's type.
    pub policy_type: PolicyType,
    /// Which statement, from 0.
    pub statement: usize,
    /// The author's name for it.
    #[serde(serialize_with = "optional_text")]
    pub sid: Option<Arc<str>>,
}

fn text<S: Serializer>(text: &Arc<str>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(text)
}

fn optional_text<S: Serializer>(text: &Option<Arc<str>>, serializer: S) -> Result<S::Ok, S::Error> {
    text.as_deref().serialize(serializer)
}

impl fmt::Display for StatementRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "statement {} ", self.statement)?;
        if let Some(sid) = &self.sid {
            write!(f, "`{sid}` ")?;
        }
        write!(f, "of {} ({})", self.policy, self.policy_type.words())
    }
}

/// A decision and what made it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Decision {
    /// What it comes to.
    pub outcome: Outcome,
    /// The statement that denies, or the first that allows; `None` for an implicit deny, and for the root of
    /// the resource's own account, whom no statement need allow.
    pub by: Option<StatementRef>,
    /// The type of policy that had to allow and did not; only of an implicit deny.
    pub missing: Option<PolicyType>,
}

impl Decision {
    /// Is it allowed?
    pub fn allowed(&self) -> bool {
        self.outcome == Outcome::Allowed
    }

    /// The type of the policy that decided.
    pub fn decided_by(&self) -> Option<PolicyType> {
        self.missing.or_else(|| self.by.as_ref().map(|by| by.policy_type))
    }

    /// AWS's words for a denial, without the error code; also readable, though pointless, when allowed.
    ///
    /// Source: <https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_access-denied.html>.
    pub fn denied_message(&self, request: &Request<'_>) -> String {
        let Request { principal, action, resource, .. } = request;
        let denied = format!(
            "User: {principal} is not authorized to perform: {action} on resource: {resource}"
        );
        match (self.outcome, self.decided_by()) {
            (Outcome::ExplicitDeny, Some(by)) => {
                let article = if by == PolicyType::Identity { "an" } else { "a" };
                format!("{denied} with an explicit deny in {article} {}", by.words())
            }
            (Outcome::ImplicitDeny, Some(by)) => {
                format!("{denied} because no {} allows the {action} action", by.words())
            }
            _ => denied,
        }
    }
}

/// The groups of policies in order of evaluation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    ResourceControl,
    ServiceControl,
    Resource,
    Identity,
    Boundary,
    Session,
}

impl Side {
    /// What a policy in this place is, whatever it was compiled as: a resource's policy must name who asks.
    pub(crate) fn policy_type(self) -> PolicyType {
        match self {
            Side::ResourceControl => PolicyType::ResourceControl,
            Side::ServiceControl => PolicyType::ServiceControl,
            Side::Resource => PolicyType::Resource,
            Side::Identity => PolicyType::Identity,
            Side::Boundary => PolicyType::Boundary,
            Side::Session => PolicyType::Session,
        }
    }
}

const SIDES: usize = 6;

/// A statement that applies.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Hit<'p> {
    pub(crate) policy: &'p Policy,
    pub(crate) index: usize,
    pub(crate) side: Side,
}

/// The statements that apply, as far as they matter.
#[derive(Debug)]
pub(crate) struct Found<'p> {
    /// The first deny of each side.
    denies: [Option<Hit<'p>>; SIDES],
    /// The first allow of each side; of the resource's, the first of the strongest grant.
    allows: [Option<Hit<'p>>; SIDES],
    /// How the resource's allow names the one who asks.
    grant: Option<Grant>,
    /// The levels that allow, one bit each; a level past the 64th is never known to.
    resource_control: u64,
    service_control: u64,
    has_boundary: bool,
    has_session: bool,
}

impl<'p> Found<'p> {
    pub(crate) fn new(policies: &Policies) -> Self {
        Found {
            denies: [None; SIDES],
            allows: [None; SIDES],
            grant: None,
            resource_control: 0,
            service_control: 0,
            has_boundary: policies.boundary.is_some(),
            has_session: policies.session.is_some(),
        }
    }

    /// Could a statement of this effect still change anything?
    pub(crate) fn wants(&self, effect: Effect, side: Side, level: usize) -> bool {
        match (effect, side) {
            (Effect::Deny, _) => self.denies[side as usize].is_none(),
            (Effect::Allow, Side::ResourceControl) => self.resource_control & bit(level) == 0,
            (Effect::Allow, Side::ServiceControl) => self.service_control & bit(level) == 0,
            (Effect::Allow, Side::Resource) => self.grant < Some(Grant::Direct),
            (Effect::Allow, _) => self.allows[side as usize].is_none(),
        }
    }

    pub(crate) fn add(&mut self, hit: Hit<'p>, effect: Effect, level: usize, grant: Grant) {
        let side = hit.side;
        if !self.wants(effect, side, level) {
            return;
        }
        if effect == Effect::Deny {
            self.denies[side as usize] = Some(hit);
            return;
        }
        match side {
            Side::ResourceControl => self.resource_control |= bit(level),
            Side::ServiceControl => self.service_control |= bit(level),
            Side::Resource if self.grant >= Some(grant) => return,
            Side::Resource => self.grant = Some(grant),
            Side::Identity | Side::Boundary | Side::Session => {}
        }
        self.allows[side as usize] = Some(hit);
    }

    fn allow(&self, side: Side) -> Option<Hit<'p>> {
        self.allows[side as usize]
    }
}

fn bit(level: usize) -> u64 {
    u32::try_from(level).ok().and_then(|level| 1_u64.checked_shl(level)).unwrap_or(0)
}

/// Have all `count` levels a bit?
fn all_levels(bits: u64, count: usize) -> bool {
    bits.count_ones() as usize == count
}

pub(crate) fn verdict(request: &Request<'_>, policies: &Policies, found: &Found<'_>) -> Decision {
    let account = request.principal.account();
    // Who has no account has nothing attached; and the root has no policies of its own.
    let organization = account.is_some();
    let attached = matches!(request.principal, Principal::User { .. } | Principal::Session { .. });
    let counts = |side: Side| match side {
        Side::ResourceControl | Side::Resource => true,
        Side::ServiceControl => organization,
        Side::Identity | Side::Boundary | Side::Session => attached,
    };
    let sides = [
        Side::ResourceControl,
        Side::ServiceControl,
        Side::Resource,
        Side::Identity,
        Side::Boundary,
        Side::Session,
    ];
    let deny = sides.into_iter().filter(|side| counts(*side));
    if let Some(hit) = deny.filter_map(|side| found.denies[side as usize]).next() {
        return decision(Outcome::ExplicitDeny, Some(hit));
    }
    if !all_levels(found.resource_control, policies.resource_control.len()) {
        return missing(PolicyType::ResourceControl);
    }
    if organization && !all_levels(found.service_control, policies.service_control.len()) {
        return missing(PolicyType::ServiceControl);
    }
    let granted = found.allow(Side::Resource);
    let same_account = account == Some(request.resource_account);
    if !same_account && granted.is_none() {
        return missing(PolicyType::Resource);
    }
    if !attached {
        // The root of its own account needs no statement; everybody else here has the resource's.
        let by = granted.filter(|_| !same_account);
        return decision(Outcome::Allowed, by);
    }
    let grant = found.grant.filter(|_| same_account);
    if grant == Some(Grant::Direct) {
        return decision(Outcome::Allowed, granted);
    }
    // A grant to the role stands for the identity policies, not for what limits them; one to the account
    // only lets the account's own policies grant.
    let by = match grant {
        Some(Grant::Role) => granted,
        _ => found.allow(Side::Identity),
    };
    if by.is_none() {
        return missing(PolicyType::Identity);
    }
    if found.has_boundary && found.allow(Side::Boundary).is_none() {
        return missing(PolicyType::Boundary);
    }
    if found.has_session && found.allow(Side::Session).is_none() {
        return missing(PolicyType::Session);
    }
    decision(Outcome::Allowed, by)
}

fn missing(policy_type: PolicyType) -> Decision {
    Decision { outcome: Outcome::ImplicitDeny, by: None, missing: Some(policy_type) }
}

fn decision(outcome: Outcome, by: Option<Hit<'_>>) -> Decision {
    let by = by.map(|Hit { policy, index, side }| StatementRef {
        policy: policy.0.name.clone(),
        policy_type: side.policy_type(),
        statement: index,
        sid: policy.rules().get(index).and_then(|rule| rule.sid.clone()),
    });
    Decision { outcome, by, missing: None }
}

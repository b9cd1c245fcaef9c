//! May this be done? One request against all policies that are about it, as AWS decides it.
//!
//! [`decide`] is the fast path, [`explain`] tells the same decision with every policy and statement on the way to
//! it, and [`crate::simulate`] what the policy simulator answers. All find what the statements say and leave
//! the verdict to the one function in `verdict`.
//!
//! Sources: <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic_policy-eval-denyallow.html>
//! and `reference_policies_evaluation-logic-cross-account.html`.

mod compile;
mod condition;
mod context;
mod explain;
mod template;
mod verdict;

use std::sync::Arc;

use serde::Serialize;

pub(crate) use condition::Check;
pub use context::Context;
pub use explain::{
    ConditionTrace, Match, PolicyTrace, RequestTrace, StatementTrace, Trace, explain,
};
pub(crate) use template::{Reading, Template};
pub use verdict::{Decision, Outcome, StatementRef};

use crate::policy::{Document, Effect};
use compile::{Compiled, Rule};
use verdict::{Found, Hit, Side, verdict};

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Principal<'a> {
    /// The root of an account.
    Root {
        /// 12 digits.
        account: &'a str,
    },
    /// A user.
    User {
        /// 12 digits.
        account: &'a str,
        /// With path.
        arn: &'a str,
        /// `AIDA…`
        id: &'a str,
        /// Without path.
        name: &'a str,
    },
    /// A session of a role.
    Session {
        /// 12 digits.
        account: &'a str,
        /// The role's own ARN, with path.
        role_arn: &'a str,
        /// The role's id, `AROA…`.
        role_id: &'a str,
        /// `arn:aws:sts::A:assumed-role/R/S`
        session_arn: &'a str,
        /// `S`
        session_name: &'a str,
    },
    /// An AWS service that acts for itself: `lambda.amazonaws.com`.
    Service(&'a str),
    /// Nobody in particular.
    Anonymous,
}

impl<'a> Principal<'a> {
    /// The account, of those that have one.
    pub fn account(&self) -> Option<&'a str> {
        match self {
            Principal::Root { account }
            | Principal::User { account, .. }
            | Principal::Session { account, .. } => Some(account),
            Principal::Service(_) | Principal::Anonymous => None,
        }
    }
}

/// As AWS's messages name the one who asks.
impl std::fmt::Display for Principal<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Principal::Root { account } => write!(f, "arn:aws:iam::{account}:root"),
            Principal::User { arn, .. } => f.write_str(arn),
            Principal::Session { session_arn, .. } => f.write_str(session_arn),
            Principal::Service(name) => f.write_str(name),
            Principal::Anonymous => f.write_str("anonymous"),
        }
    }
}

/// One thing that somebody wants to do.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// Who.
    pub principal: Principal<'a>,
    /// What: `sagemaker:InvokeEndpoint`, in any case.
    pub action: &'a str,
    /// To what: an ARN, or `*` for actions that are about no resource.
    pub resource: &'a str,
    /// Whose that is, 12 digits; the caller's own account where the action is about no resource.
    pub resource_account: &'a str,
    /// What else is known of the request.
    pub context: &'a Context,
}

/// What a policy limits or grants, by where it is attached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PolicyType {
    /// To a user, a group or a role.
    Identity,
    /// As permissions boundary.
    Boundary,
    /// Passed when the session was made.
    Session,
    /// To the resource.
    Resource,
    /// By the organization, to the account that asks.
    ServiceControl,
    /// By the organization, to the account that owns the resource.
    ResourceControl,
}

impl PolicyType {
    /// `identity-based policy`, as AWS's messages have it.
    pub fn words(self) -> &'static str {
        match self {
            PolicyType::Identity => "identity-based policy",
            PolicyType::Boundary => "permissions boundary",
            PolicyType::Session => "session policy",
            PolicyType::Resource => "resource-based policy",
            PolicyType::ServiceControl => "service control policy",
            PolicyType::ResourceControl => "resource control policy",
        }
    }
}

/// A policy, compiled. Clones share what was compiled.
#[derive(Debug, Clone)]
pub struct Policy(Arc<Inner>);

#[derive(Debug, Clone)]
struct Inner {
    name: Arc<str>,
    policy_type: PolicyType,
    document: Arc<Document>,
    compiled: Arc<Compiled>,
    text: Option<Arc<str>>,
}

impl Policy {
    /// Compiles a document. `name` is what decisions call it: a managed policy's ARN, or `inline: invoke`.
    pub fn new(name: impl Into<String>, policy_type: PolicyType, document: Document) -> Self {
        let name: String = name.into();
        let compiled = Arc::new(Compiled::new(&document));
        let (name, document) = (name.into(), Arc::new(document));
        Policy(Arc::new(Inner { name, policy_type, document, compiled, text: None }))
    }

    /// With the text that the document was read from, where [`crate::simulate`] finds the statements' places.
    #[must_use]
    pub fn with_text(self, text: &str) -> Self {
        Policy(Arc::new(Inner { text: Some(text.into()), ..(*self.0).clone() }))
    }

    /// As given to [`Policy::new`].
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// As given to [`Policy::new`].
    pub fn policy_type(&self) -> PolicyType {
        self.0.policy_type
    }

    /// What was compiled.
    pub fn document(&self) -> &Document {
        &self.0.document
    }

    /// As given to [`Policy::with_text`].
    pub fn text(&self) -> Option<&str> {
        self.0.text.as_deref()
    }

    fn rules(&self) -> &[Rule] {
        &self.0.compiled.rules
    }
}

/// All policies that are about a request.
#[derive(Debug, Clone, Default)]
pub struct Policies {
    /// Of the user and its groups, or of the role.
    pub identity: Vec<Policy>,
    /// Of the user or the role.
    pub boundary: Option<Policy>,
    /// Passed when the session was made; `None` when none were.
    pub session: Option<Vec<Policy>>,
    /// Of the resource.
    pub resource: Option<Policy>,
    /// From the organization's root down to the account that asks, each of which must allow; empty without
    /// an organization.
    pub service_control: Vec<Vec<Policy>>,
    /// Likewise, for the account that owns the resource.
    pub resource_control: Vec<Vec<Policy>>,
}

/// Decides. Takes no lock, reads no clock, and allocates only for policy variables and odd requests.
pub fn decide(request: &Request<'_>, policies: &Policies) -> Decision {
    let lowered = Lowered::new(request.action);
    let ask = Ask::new(request, policies, lowered.as_str());
    let mut found = Found::new(policies);
    visit(policies, |policy, side, level| {
        for (index, rule) in policy.0.compiled.rules_for(ask.vendor) {
            if found.wants(rule.effect, side, level)
                && let Some(grant) = rule.applies(&ask, side.policy_type())
            {
                found.add(Hit { policy, index, side }, rule.effect, level, grant);
            }
        }
    });
    verdict(request, policies, &found)
}

/// Calls `f` with every policy in order of evaluation.
fn visit<'p>(policies: &'p Policies, mut f: impl FnMut(&'p Policy, Side, usize)) {
    for (side, levels) in [
        (Side::ResourceControl, &policies.resource_control),
        (Side::ServiceControl, &policies.service_control),
    ] {
        for (level, members) in levels.iter().enumerate() {
            members.iter().for_each(|policy| f(policy, side, level));
        }
    }
    policies.resource.iter().for_each(|policy| f(policy, Side::Resource, 0));
    policies.identity.iter().for_each(|policy| f(policy, Side::Identity, 0));
    policies.boundary.iter().for_each(|policy| f(policy, Side::Boundary, 0));
    policies.session.iter().flatten().for_each(|policy| f(policy, Side::Session, 0));
}

/// A request, made ready.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ask<'a> {
    pub(crate) request: &'a Request<'a>,
    /// Lower-cased.
    pub(crate) vendor: &'a str,
    /// Lower-cased.
    pub(crate) name: &'a str,
    /// The resource's parts; `None` when it is no ARN.
    pub(crate) arn: Option<[&'a str; 5]>,
    /// Has the one who asks a permissions boundary?
    pub(crate) bounded: bool,
}

impl<'a> Ask<'a> {
    fn new(request: &'a Request<'a>, policies: &Policies, lowered: &'a str) -> Self {
        let (vendor, name) = lowered.split_once(':').unwrap_or((lowered, ""));
        let attached =
            matches!(request.principal, Principal::User { .. } | Principal::Session { .. });
        let bounded = attached && policies.boundary.is_some();
        Ask { request, vendor, name, arn: arn_parts(request.resource), bounded }
    }
}

/// The five parts after `arn:`.
pub(crate) fn arn_parts(text: &str) -> Option<[&str; 5]> {
    let mut parts = text.strip_prefix("arn:")?.splitn(5, ':');
    let parts = [parts.next()?, parts.next()?, parts.next()?, parts.next()?, parts.next()?];
    Some(parts)
}

/// An action in lower case, on the stack where it fits.
enum Lowered {
    Stack([u8; 128], usize),
    Heap(String),
}

impl Lowered {
    fn new(action: &str) -> Self {
        let mut buffer = [0; 128];
        match buffer.get_mut(..action.len()) {
            Some(place) => {
                place.copy_from_slice(action.as_bytes());
                place.make_ascii_lowercase();
                Lowered::Stack(buffer, action.len())
            }
            None => Lowered::Heap(action.to_ascii_lowercase()),
        }
    }

    fn as_str(&self) -> &str {
        match self {
            Lowered::Stack(buffer, length) => {
                buffer.get(..*length).and_then(|b| std::str::from_utf8(b).ok()).unwrap_or("")
            }
            Lowered::Heap(text) => text,
        }
    }
}

/// `Allow` or `Deny`.
fn effect_name(effect: Effect) -> &'static str {
    match effect {
        Effect::Allow => "Allow",
        Effect::Deny => "Deny",
    }
}

#[cfg(test)]
mod tests;

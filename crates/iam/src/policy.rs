//! Policy documents: the types, and [`Document::parse`].
//!
//! Source of the grammar: <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_grammar.html>.
//! Source of the error texts: what IAM answers, as recorded by the tests of moto
//! (`iam/policy_validation.py`).

mod condition;
mod json;
mod keys;
mod parse;
mod positions;
mod write;

pub(crate) use condition::date as parse_date;
pub use condition::{Condition, ConditionValue, IpNet, Operator, Quantifier, Typed};

pub use keys::context_keys;
pub use positions::{Position, positions};

use crate::ArnPattern;

/// Characters that are not white space, which is how IAM counts a policy's size.
pub fn size(text: &str) -> usize {
    text.chars().filter(|c| !c.is_whitespace()).count()
}

/// IAM's size limits, in characters that are not white space.
pub mod limits {
    /// A managed policy's version.
    pub const MANAGED: usize = 6_144;
    /// All inline policies of a role together.
    pub const ROLE_INLINE: usize = 10_240;
    /// All inline policies of a user together.
    pub const USER_INLINE: usize = 2_048;
    /// A role's trust policy (AWS raises it to 4,096 on request).
    pub const TRUST: usize = 2_048;
    /// A session policy, plain characters.
    pub const SESSION: usize = 2_048;
    /// What [`super::Document::parse`] looks at, in bytes; AWS's models allow 131,072 characters.
    pub const PARSE: usize = 4 * 131_072;
}

/// Where a policy is used; decides which elements it must and must not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Attached to a user or role, managed, inline, session or boundary: no principal.
    Identity,
    /// A role's trust policy: a principal, no resource.
    Trust,
    /// Attached to a resource (a bucket, a function): a principal and a resource.
    Resource,
}

/// Why a document is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}\nhint: {detail} ({place})")]
pub struct Malformed {
    /// AWS's text for it.
    pub message: String,
    /// What exactly is wrong.
    pub detail: String,
    /// Where.
    pub place: Place,
}

/// A place in a document.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Place {
    /// `Statement[0].Effect`; empty for the document itself.
    pub path: String,
    /// Line and column, both from 1, when the text is not JSON.
    pub line_column: Option<(usize, usize)>,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.line_column {
            Some((line, column)) => write!(f, "line {line} column {column}"),
            None if self.path.is_empty() => f.write_str("document"),
            None => f.write_str(&self.path),
        }
    }
}

/// The grammar's version: policy variables exist from 2012 on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Version {
    /// `2008-10-17`, also when the element is missing.
    #[default]
    V2008,
    /// `2012-10-17`
    V2012,
}

/// Allow or deny.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// `Allow`
    Allow,
    /// `Deny`
    Deny,
}

/// An element and its negation: `Action` and `NotAction`, `Resource` and `NotResource`, …
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope<T> {
    /// One of these.
    In(Vec<T>),
    /// Anything but these.
    NotIn(Vec<T>),
}

impl<T> Scope<T> {
    /// Is something in scope, when `hit` says which items match it?
    pub fn covers(&self, hit: impl Fn(&T) -> bool) -> bool {
        match self {
            Scope::In(items) => items.iter().any(hit),
            Scope::NotIn(items) => !items.iter().any(hit),
        }
    }

    /// The items, negated or not.
    pub fn items(&self) -> &[T] {
        match self {
            Scope::In(items) | Scope::NotIn(items) => items,
        }
    }

    /// The items, to be changed in place.
    pub fn items_mut(&mut self) -> &mut [T] {
        match self {
            Scope::In(items) | Scope::NotIn(items) => items,
        }
    }
}

/// `sagemaker:Invoke*`. Compared without regard to case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActionPattern {
    /// The service, or `*`.
    pub vendor: String,
    /// The action, with wildcards.
    pub name: String,
}

impl ActionPattern {
    /// Does the pattern match an action such as `sts:AssumeRole`?
    pub fn matches(&self, action: &str) -> bool {
        let action = action.to_ascii_lowercase();
        let Some((vendor, name)) = action.split_once(':') else { return false };
        (self.vendor == "*" || self.vendor.eq_ignore_ascii_case(vendor))
            && crate::matches(&self.name.to_ascii_lowercase(), name)
    }
}

impl std::fmt::Display for ActionPattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.vendor == "*" && self.name == "*" {
            f.write_str("*")
        } else {
            write!(f, "{}:{}", self.vendor, self.name)
        }
    }
}

/// What a statement is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ResourcePattern {
    /// `*`
    Any,
    /// A pattern over ARNs.
    Arn(ArnPattern),
}

impl std::fmt::Display for ResourcePattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            ResourcePattern::Any => f.write_str("*"),
            ResourcePattern::Arn(pattern) => pattern.fmt(f),
        }
    }
}

/// Whom a statement is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PrincipalPattern {
    /// `"Principal": "*"`: anybody, services and the anonymous included.
    Everyone,
    /// `{"AWS": "*"}`: any principal of any account.
    AnyAws,
    /// `{"AWS": "123456789012"}` or the account's root ARN: whoever the account lets.
    Account(String),
    /// `{"AWS": "arn:…"}`: a user, a role or a session.
    Arn(crate::Arn),
    /// `{"AWS": "AROA…"}`: what IAM keeps of a principal that was deleted.
    UniqueId(String),
    /// `{"Service": "sagemaker.amazonaws.com"}`
    Service(String),
    /// `{"Federated": "…"}`
    Federated(String),
    /// `{"CanonicalUser": "…"}`, S3 only.
    CanonicalUser(String),
}

impl std::fmt::Display for PrincipalPattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            PrincipalPattern::Everyone => f.write_str("*"),
            PrincipalPattern::AnyAws => f.write_str("AWS:*"),
            PrincipalPattern::Account(id) | PrincipalPattern::UniqueId(id) => write!(f, "AWS:{id}"),
            PrincipalPattern::Arn(arn) => write!(f, "AWS:{arn}"),
            PrincipalPattern::Service(name) => write!(f, "Service:{name}"),
            PrincipalPattern::Federated(name) => write!(f, "Federated:{name}"),
            PrincipalPattern::CanonicalUser(id) => write!(f, "CanonicalUser:{id}"),
        }
    }
}

/// One statement.
#[derive(Debug, Clone, PartialEq)]
pub struct Statement {
    /// The author's name for it.
    pub sid: Option<String>,
    /// Allow or deny.
    pub effect: Effect,
    /// Trust and resource policies only.
    pub principal: Option<Scope<PrincipalPattern>>,
    /// What is done.
    pub action: Scope<ActionPattern>,
    /// To what; not in trust policies.
    pub resource: Option<Scope<ResourcePattern>>,
    /// All must hold.
    pub conditions: Vec<Condition>,
}

impl Statement {
    /// Is it about anybody, of any account? Everybody but a few is everybody.
    pub fn is_for_everybody(&self) -> bool {
        match &self.principal {
            Some(Scope::In(items)) => items
                .iter()
                .any(|p| matches!(p, PrincipalPattern::Everyone | PrincipalPattern::AnyAws)),
            Some(Scope::NotIn(_)) => true,
            None => false,
        }
    }
}

/// A policy that has passed every check of its [`Kind`].
#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    /// The grammar's version.
    pub version: Version,
    /// The author's name for it.
    pub id: Option<String>,
    /// At least one.
    pub statements: Vec<Statement>,
}

#[cfg(test)]
mod tests;

//! From a document to what [`super::decide`] reads: names lower-cased, patterns compiled, statements found by
//! the action's service.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::condition::Check;
use super::template::{Pattern, Reading};
use super::{Ask, PolicyType, Principal};
use crate::glob::Glob;
use crate::policy::{
    ActionPattern, Document, Effect, PrincipalPattern, ResourcePattern, Scope, Statement, Version,
};

/// A policy, made ready.
#[derive(Debug)]
pub(crate) struct Compiled {
    pub(crate) rules: Vec<Rule>,
    /// By service, sorted: the rules that its actions can match.
    by_vendor: Vec<(Box<str>, Box<[usize]>)>,
    /// The rules that the actions of any other service can match.
    others: Box<[usize]>,
}

/// A statement, made ready.
#[derive(Debug)]
pub(crate) struct Rule {
    pub(crate) sid: Option<Arc<str>>,
    pub(crate) effect: Effect,
    action: Actions,
    principal: Option<Scope<Who>>,
    resource: Option<Scope<What>>,
    pub(crate) checks: Box<[Check]>,
}

/// How a resource policy's statement names the one who asks; the later, the stronger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Grant {
    /// By its account.
    Account,
    /// By its role.
    Role,
    /// Itself, or everybody.
    Direct,
}

#[derive(Debug)]
struct Actions {
    negated: bool,
    by_vendor: BTreeMap<Box<str>, Names>,
    /// Of patterns whose service is `*`.
    any_vendor: Option<Names>,
}

#[derive(Debug, Default)]
struct Names {
    /// Sorted.
    exact: Vec<Box<str>>,
    wild: Vec<Glob>,
}

#[derive(Debug)]
enum Who {
    Everyone,
    Account(Box<str>),
    Arn(Box<str>),
    Id(Box<str>),
    Service(Box<str>),
    /// Federated and canonical users, of which Kennel has none.
    Other,
}

#[derive(Debug)]
enum What {
    Any,
    Arn(Box<[Pattern; 5]>),
}

impl Compiled {
    pub(crate) fn new(document: &Document) -> Self {
        let variables = document.version == Version::V2012;
        let rules: Vec<Rule> =
            document.statements.iter().map(|s| Rule::new(s, variables)).collect();
        let vendors: std::collections::BTreeSet<&str> =
            rules.iter().flat_map(|r| r.action.by_vendor.keys().map(|v| &**v)).collect();
        let matching = |vendor: Option<&str>| -> Box<[usize]> {
            let can = |rule: &Rule| {
                rule.action.negated
                    || rule.action.any_vendor.is_some()
                    || vendor.is_some_and(|v| rule.action.by_vendor.contains_key(v))
            };
            (0..rules.len()).filter(|index| can(&rules[*index])).collect()
        };
        let by_vendor = vendors.into_iter().map(|v| (v.into(), matching(Some(v)))).collect();
        let others = matching(None);
        Compiled { by_vendor, others, rules }
    }

    /// The rules that can match an action of this service, lower-cased, in the author's order.
    pub(crate) fn rules_for(&self, vendor: &str) -> impl Iterator<Item = (usize, &Rule)> {
        let indices = match self.by_vendor.binary_search_by(|(v, _)| (**v).cmp(vendor)) {
            Ok(at) => self.by_vendor.get(at).map_or(&self.others, |(_, indices)| indices),
            Err(_) => &self.others,
        };
        indices.iter().filter_map(|index| Some((*index, self.rules.get(*index)?)))
    }
}

impl Rule {
    fn new(statement: &Statement, variables: bool) -> Self {
        let reading = Reading { variables, wildcards: true };
        Rule {
            sid: statement.sid.as_deref().map(Arc::from),
            effect: statement.effect,
            action: Actions::new(&statement.action),
            principal: statement.principal.as_ref().map(|scope| map(scope, Who::new)),
            resource: statement.resource.as_ref().map(|scope| {
                map(scope, |pattern| match pattern {
                    ResourcePattern::Any => What::Any,
                    ResourcePattern::Arn(pattern) => {
                        let parts = pattern.parts.each_ref();
                        What::Arn(Box::new(parts.map(|part| Pattern::new(part, reading))))
                    }
                })
            }),
            checks: statement.conditions.iter().map(|c| Check::new(c, variables)).collect(),
        }
    }

    /// Does the statement apply to the request, and how does it name the one who asks?
    pub(crate) fn applies(&self, ask: &Ask<'_>, policy_type: PolicyType) -> Option<Grant> {
        if !self.action(ask) || !self.resource(ask) {
            return None;
        }
        let grant = self.principal(ask, policy_type)?;
        self.checks.iter().all(|check| check.holds(ask.request.context)).then_some(grant)
    }

    pub(crate) fn action(&self, ask: &Ask<'_>) -> bool {
        self.action.matches(ask.vendor, ask.name)
    }

    pub(crate) fn resource(&self, ask: &Ask<'_>) -> bool {
        // A trust policy names no resource: it is about its role.
        self.resource.as_ref().is_none_or(|scope| scope.covers(|what| what.matches(ask)))
    }

    /// Policies without principals are about whom they are attached to.
    pub(crate) fn principal(&self, ask: &Ask<'_>, policy_type: PolicyType) -> Option<Grant> {
        let who = ask.request.principal;
        match (&self.principal, policy_type) {
            (Some(Scope::In(list)), PolicyType::Resource | PolicyType::ResourceControl) => {
                list.iter().filter_map(|pattern| pattern.matches(who)).max()
            }
            (Some(Scope::NotIn(list)), PolicyType::Resource | PolicyType::ResourceControl) => {
                let excepted = match self.effect {
                    Effect::Allow => list.iter().any(|pattern| pattern.matches(who).is_some()),
                    Effect::Deny => !ask.bounded && excepted_from_deny(list, who),
                };
                (!excepted).then_some(Grant::Direct)
            }
            (None, PolicyType::Resource) => None,
            _ => Some(Grant::Direct),
        }
    }
}

/// AWS looks at the account, then the role, then the session; a deny spares only whom the list names at each
/// step, and never who has a permissions boundary: <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_notprincipal.html>.
fn excepted_from_deny(list: &[Who], who: Principal<'_>) -> bool {
    let named = |grant: Grant| list.iter().any(|pattern| pattern.matches(who) == Some(grant));
    let everyone = list.iter().any(|pattern| matches!(pattern, Who::Everyone));
    everyone
        || match who {
            Principal::Root { .. } => named(Grant::Direct) || named(Grant::Account),
            Principal::User { .. } => named(Grant::Direct) && named(Grant::Account),
            Principal::Session { .. } => {
                named(Grant::Direct) && named(Grant::Role) && named(Grant::Account)
            }
            Principal::Service(_) | Principal::Anonymous => named(Grant::Direct),
        }
}

fn map<A, B>(scope: &Scope<A>, f: impl Fn(&A) -> B) -> Scope<B> {
    match scope {
        Scope::In(items) => Scope::In(items.iter().map(f).collect()),
        Scope::NotIn(items) => Scope::NotIn(items.iter().map(f).collect()),
    }
}

impl Actions {
    fn new(scope: &Scope<ActionPattern>) -> Self {
        let mut by_vendor: BTreeMap<Box<str>, Names> = BTreeMap::new();
        let mut any_vendor = None;
        for pattern in scope.items() {
            let names = match pattern.vendor.as_str() {
                "*" => any_vendor.get_or_insert_with(Names::default),
                vendor => by_vendor.entry(vendor.to_ascii_lowercase().into()).or_default(),
            };
            let glob = Glob::compile(&pattern.name.to_ascii_lowercase());
            match glob.literal() {
                Some(name) => names.exact.push(name.into()),
                None => names.wild.push(glob),
            }
        }
        for names in by_vendor.values_mut().chain(&mut any_vendor) {
            names.exact.sort_unstable();
        }
        Actions { negated: matches!(scope, Scope::NotIn(_)), by_vendor, any_vendor }
    }

    /// Both lower-cased.
    fn matches(&self, vendor: &str, name: &str) -> bool {
        let hit = self.any_vendor.as_ref().is_some_and(|names| names.hold(name))
            || self.by_vendor.get(vendor).is_some_and(|names| names.hold(name));
        hit != self.negated
    }
}

impl Names {
    fn hold(&self, name: &str) -> bool {
        self.exact.binary_search_by(|exact| (**exact).cmp(name)).is_ok()
            || self.wild.iter().any(|glob| glob.matches(name))
    }
}

impl Who {
    fn new(pattern: &PrincipalPattern) -> Self {
        match pattern {
            // In a resource policy the two mean the same, the anonymous included:
            // https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_principal.html
            PrincipalPattern::Everyone | PrincipalPattern::AnyAws => Who::Everyone,
            PrincipalPattern::Account(id) => Who::Account(id.as_str().into()),
            PrincipalPattern::Arn(arn) => Who::Arn(arn.to_string().into()),
            PrincipalPattern::UniqueId(id) => Who::Id(id.as_str().into()),
            PrincipalPattern::Service(name) => Who::Service(name.as_str().into()),
            PrincipalPattern::Federated(_) | PrincipalPattern::CanonicalUser(_) => Who::Other,
        }
    }

    fn matches(&self, who: Principal<'_>) -> Option<Grant> {
        let when = |hit: bool, grant: Grant| hit.then_some(grant);
        match (self, who) {
            (Who::Everyone, _) => Some(Grant::Direct),
            (Who::Service(name), Principal::Service(service)) => {
                when(name.eq_ignore_ascii_case(service), Grant::Direct)
            }
            (Who::Account(id), _) => when(who.account() == Some(&**id), Grant::Account),
            (Who::Arn(wanted), Principal::User { arn, .. }) => {
                when(**wanted == *arn, Grant::Direct)
            }
            (Who::Id(wanted), Principal::User { id, .. }) => when(**wanted == *id, Grant::Direct),
            (Who::Arn(wanted), Principal::Session { role_arn, session_arn, .. }) => {
                when(**wanted == *session_arn, Grant::Direct)
                    .or_else(|| when(**wanted == *role_arn, Grant::Role))
            }
            (Who::Id(wanted), Principal::Session { role_id, .. }) => {
                when(**wanted == *role_id, Grant::Role)
            }
            _ => None,
        }
    }
}

impl What {
    fn matches(&self, ask: &Ask<'_>) -> bool {
        match self {
            What::Any => true,
            What::Arn(parts) => ask.arn.is_some_and(|arn| {
                let context = ask.request.context;
                parts.iter().zip(arn).all(|(pattern, part)| pattern.matches(part, context))
            }),
        }
    }
}

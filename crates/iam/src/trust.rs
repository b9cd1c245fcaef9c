//! May somebody take a role? What AssumeRole and PassRole ask: a role's trust policy against one party. Conditions that cannot be decided here count against the party: an `Allow`
//! with one does not apply, a `Deny` with one does.

use crate::evaluate::{self, Context};
use crate::policy::{Condition, Document, Effect, PrincipalPattern, Statement, Version};

/// Who wants the role.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Party<'a> {
    /// The account's root.
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
    },
    /// An AWS service.
    Service(&'a str),
}

/// A request's value for a condition key: `None` when the request is known not to have it.
pub type Fact<'a> = (&'a str, Option<&'a str>);

/// Does the trust policy let `party` do `action` (`sts:AssumeRole`)? Default deny; an explicit deny wins.
/// Keys that are not among `facts` are undecided.
pub fn allows(document: &Document, action: &str, party: Party<'_>, facts: &[Fact<'_>]) -> bool {
    let variables = document.version == Version::V2012;
    let mut allowed = false;
    for statement in &document.statements {
        if !applies(statement, action, party) {
            continue;
        }
        match (statement.effect, hold(statement, variables, facts)) {
            (Effect::Deny, Some(true) | None) => return false,
            (Effect::Allow, Some(true)) => allowed = true,
            (Effect::Deny | Effect::Allow, _) => {}
        }
    }
    allowed
}

fn applies(statement: &Statement, action: &str, party: Party<'_>) -> bool {
    let principal = statement
        .principal
        .as_ref()
        .is_some_and(|scope| scope.covers(|pattern| is(pattern, party)));
    principal && statement.action.covers(|pattern| pattern.matches(action))
}

fn is(pattern: &PrincipalPattern, party: Party<'_>) -> bool {
    match (pattern, party) {
        (PrincipalPattern::Everyone, _) => true,
        (PrincipalPattern::Service(name), Party::Service(service)) => {
            name.eq_ignore_ascii_case(service)
        }
        (_, Party::Service(_)) => false,
        (PrincipalPattern::AnyAws, _) => true,
        (
            PrincipalPattern::Account(id),
            Party::Root { account } | Party::User { account, .. } | Party::Session { account, .. },
        ) => id == account,
        (PrincipalPattern::Arn(arn), Party::User { arn: own, .. }) => arn.to_string() == own,
        (PrincipalPattern::Arn(arn), Party::Session { role_arn, session_arn, .. }) => {
            let arn = arn.to_string();
            arn == role_arn || arn == session_arn
        }
        (PrincipalPattern::UniqueId(id), Party::User { id: own, .. }) => id == own,
        (PrincipalPattern::UniqueId(id), Party::Session { role_id, .. }) => id == role_id,
        _ => false,
    }
}

/// Do all conditions hold? `None`: one cannot be decided and none is known to fail.
fn hold(statement: &Statement, variables: bool, facts: &[Fact<'_>]) -> Option<bool> {
    let mut verdict = Some(true);
    for condition in &statement.conditions {
        match holds(condition, variables, facts) {
            Some(true) => {}
            Some(false) => return Some(false),
            None => verdict = None,
        }
    }
    verdict
}

fn holds(condition: &Condition, variables: bool, facts: &[Fact<'_>]) -> Option<bool> {
    let mut context = Context::new();
    for wanted in condition.context_keys(variables) {
        let (key, fact) = facts.iter().find(|(key, _)| key.eq_ignore_ascii_case(&wanted))?;
        if let Some(fact) = fact {
            context.set(key, *fact);
        }
    }
    Some(evaluate::Check::new(condition, variables).holds(&context))
}

#[cfg(test)]
mod tests;

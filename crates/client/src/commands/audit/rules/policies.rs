//! What policies of users and roles, and the trust of roles, allow too much of.

use std::collections::BTreeSet;

use kennel_iam::findings::{self, Problem};
use kennel_iam::policy::{ActionPattern, Document, Effect, PrincipalPattern, Scope, Statement};
use serde_json::Value;

use super::{Limits, older, since};
use crate::commands::audit::facts::{Facts, Function, Needed};
use crate::commands::audit::finding::{Finding, Fix, Severity};
use crate::commands::iam::advice::quoted;
use crate::commands::iam::narrow::{Plan, shown_with, some};
use crate::commands::iam::principals::{Attached, Entity, Kind, Origin};

/// Services whose use no record shows: what a function writes there is not looked at.
const UNRECORDED: [&str; 2] = ["logs", "xray"];

pub(super) fn judge(facts: &Facts, limits: Limits, all: &mut Vec<Finding>) {
    let roles = facts.roles.iter().map(|role| (&role.entity, &role.needed));
    let users = facts.users.iter().map(|user| (&user.entity, &user.needed));
    for (entity, needed) in roles.chain(users) {
        let (fix, plan) = narrow(entity, needed, limits);
        for (policy, found) in wide(entity, facts.now) {
            // What also denies stays where it is: its own fix is by hand.
            all.push(match &plan {
                Some(plan) if !plan.removes(&policy.origin) => found,
                plan => Finding { fix: fix.clone(), plan: plan.clone(), ..found },
            });
        }
    }
    all.extend(facts.roles.iter().filter_map(|role| trust(&role.entity, &facts.account)));
    for function in &facts.functions {
        all.extend(permissions(function, facts, limits));
    }
}

/// The ARNs of those of whom it is worth finding out what they have needed.
pub(in crate::commands::audit) fn wants_needed(facts: &Facts) -> Vec<String> {
    let of_function =
        |entity: &Entity| facts.functions.iter().any(|function| function.role == entity.arn);
    let users = facts.users.iter().map(|user| &user.entity);
    let all = facts.roles.iter().map(|role| &role.entity).chain(users);
    all.filter(|entity| of_function(entity) || !wide(entity, facts.now).is_empty())
        .map(|entity| entity.arn.clone())
        .collect()
}

/// The policy that somebody has needed, as the fix for whatever they have too much of.
fn narrow(entity: &Entity, needed: &Needed, limits: Limits) -> (Fix, Option<Plan>) {
    let (word, name) = (entity.kind.word(), &entity.name);
    match needed {
        Needed::Policy(policy, parsed) => {
            let plan = Plan::new(entity, policy, parsed);
            let fix = Fix {
                what: format!(
                    "put the policy that {word} `{name}` has needed in place of what it has ({} {})",
                    parsed.statements.len(),
                    if parsed.statements.len() == 1 { "statement" } else { "statements" },
                ),
                commands: plan.commands(),
                policy: Some(policy.clone()),
                automatic: !plan.is_empty(),
            };
            (fix, Some(plan))
        }
        Needed::Nothing => {
            let what = format!(
                "nothing is recorded that {word} `{name}` did in {} days, so no narrower policy can be derived: let it work once and audit again, or delete it",
                limits.days.max(1)
            );
            (Fix::words(what), None)
        }
        Needed::Unknown => {
            let fix = Fix::words(format!(
                "put the policy that the {word} has needed in place of what it has"
            ));
            (fix.by([format!("kennel iam least-privilege {name}")]), None)
        }
    }
}

fn finding(
    (id, severity): (&'static str, Severity),
    entity: &Entity,
    policy: &Attached,
    message: String,
    mut evidence: Vec<String>,
    now: i64,
) -> Finding {
    if let Some(created) = entity.created {
        let kind = entity.kind.word();
        evidence.push(format!("the {kind} exists since {}", since(created, now)));
    }
    let word = entity.kind.word();
    let name = &entity.name;
    let fix = match &policy.origin {
        Origin::Managed(arn) => Fix::words("attach a policy that names what is needed, and detach this one").by([
            format!("aws iam detach-{word}-policy --{word}-name {name} --policy-arn {arn}"),
        ]),
        Origin::Inline(inline) => Fix::words("name in the policy what is needed").by([format!(
            "aws iam put-{word}-policy --{word}-name {name} --policy-name {inline} --policy-document file://narrower.json"
        )]),
    };
    Finding {
        id,
        severity,
        resource: entity.arn.clone(),
        part: Some(policy.origin.to_string()),
        message,
        evidence,
        fix,
        plan: None,
    }
}

/// A statement's place in its policy and what it says.
pub(super) fn told(index: usize, statement: &Statement) -> String {
    let sid = statement.sid.as_ref().map_or_else(String::new, |sid| format!(" `{sid}`"));
    // What makes a statement wide is to be seen among a hundred actions.
    let wide = |action: &ActionPattern| action.name == "*" || action.matches("iam:PassRole");
    format!("statement {index}{sid}: {}", shown_with(statement, wide))
}

/// The statements of a policy that something is wrong with, as evidence.
fn evidence(document: &Document, found: &[usize]) -> Vec<String> {
    let statements =
        found.iter().filter_map(|index| Some((*index, document.statements.get(*index)?)));
    statements.map(|(index, statement)| told(index, statement)).collect()
}

/// What the policies of a user or role allow too much of; the fix is for removing the policy.
fn wide(entity: &Entity, now: i64) -> Vec<(&Attached, Finding)> {
    let mut all = Vec::new();
    let (word, name) = (entity.kind.word(), &entity.name);
    for policy in &entity.policies {
        let found = findings::identity(&policy.document);
        let of = |problem: Problem| -> Vec<&findings::Finding> {
            found.iter().filter(|f| f.problem == problem).collect()
        };
        let by = policy.origin.name();
        let mut add = |id, severity, message: String, statements: &[usize]| {
            let evidence = evidence(&policy.document, statements);
            all.push((policy, finding((id, severity), entity, policy, message, evidence, now)));
        };
        let admin = of(Problem::FullAdmin);
        let services = of(Problem::FullService);
        let full: BTreeSet<usize> =
            admin.iter().chain(&services).flat_map(|f| f.statements.iter().copied()).collect();
        if !full.is_empty() {
            let names: Vec<String> = services.iter().filter_map(|f| f.service.clone()).collect();
            let what = match admin.is_empty() {
                true => format!("everything of {}", some(&names)),
                false => "everything".to_owned(),
            };
            let full: Vec<usize> = full.into_iter().collect();
            let always = |index: &usize| {
                policy.document.statements.get(*index).is_some_and(|s| s.conditions.is_empty())
            };
            let severity = if full.iter().any(always) { Severity::High } else { Severity::Medium };
            add("full-access", severity, format!("{word} `{name}` may do {what}, by {by}"), &full);
        }
        for found in of(Problem::NotAction) {
            let message = format!("{word} `{name}` may do whatever {by} does not name");
            add("not-action-allow", Severity::High, message, &found.statements);
        }
        // Who may do everything may do this too; that is said already.
        for found in of(Problem::PassRoleAny).into_iter().filter(|_| admin.is_empty()) {
            let message = format!("{word} `{name}` may pass any role to any service, by {by}");
            add("pass-role-any", Severity::High, message, &found.statements);
        }
    }
    all
}

/// A trust policy that lets anybody take the role.
fn trust(role: &Entity, account: &str) -> Option<Finding> {
    let document = role.trust.as_ref()?;
    let found = findings::trust(document);
    let open: Vec<usize> = found.iter().flat_map(|f| f.statements.iter().copied()).collect();
    if open.is_empty() {
        return None;
    }
    let always =
        |index: &usize| document.statements.get(*index).is_some_and(|s| s.conditions.is_empty());
    let unconditional = open.iter().any(always);
    let mut narrower = document.clone();
    for index in &open {
        if let Some(statement) = narrower.statements.get_mut(*index) {
            let own = PrincipalPattern::Account(account.to_owned());
            statement.principal = Some(Scope::In(vec![own]));
        }
    }
    let text = narrower.to_json();
    let who = if unconditional { "anyone" } else { "anyone who meets its conditions" };
    Some(Finding {
        id: "trust-open",
        severity: if unconditional { Severity::High } else { Severity::Medium },
        resource: role.arn.clone(),
        part: None,
        message: format!("role `{}` can be taken by {who}", role.name),
        evidence: evidence(document, &open),
        fix: Fix {
            what: "name who may take the role; with this policy only the own account".to_owned(),
            commands: vec![format!(
                "aws iam update-assume-role-policy --role-name {} --policy-document {}",
                role.name,
                quoted(&text)
            )],
            policy: serde_json::from_str::<Value>(&text).ok(),
            automatic: false,
        },
        plan: None,
    })
}

/// The services that allows of these documents name; `*` for all.
fn services<'a>(documents: impl IntoIterator<Item = &'a Document>) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    let statements = documents.into_iter().flat_map(|document| &document.statements);
    for statement in statements.filter(|statement| statement.effect == Effect::Allow) {
        match &statement.action {
            Scope::In(actions) => {
                all.extend(actions.iter().map(|action| action.vendor.to_ascii_lowercase()));
            }
            Scope::NotIn(_) => drop(all.insert("*".to_owned())),
        }
    }
    all
}

/// A function whose role allows services that were not used.
fn permissions(function: &Function, facts: &Facts, limits: Limits) -> Option<Finding> {
    let role = facts.role(&function.role)?;
    if role.entity.kind != Kind::Role {
        return None;
    }
    let used = match &role.needed {
        Needed::Policy(_, document) => services([document]),
        Needed::Nothing if older(role.entity.created, limits.days, facts.now) => BTreeSet::new(),
        // Who is new has not used anything yet.
        Needed::Nothing | Needed::Unknown => return None,
    };
    let allowed = services(role.entity.policies.iter().map(|policy| &policy.document));
    let unused: Vec<String> = allowed
        .iter()
        .filter(|s| !used.contains(*s) && !UNRECORDED.contains(&s.as_str()))
        .map(|s| if s == "*" { "any other".to_owned() } else { s.clone() })
        .collect();
    if unused.is_empty() {
        return None;
    }
    let used: Vec<String> = used.into_iter().collect();
    let used = if used.is_empty() { "none".to_owned() } else { some(&used) };
    let (fix, plan) = narrow(&role.entity, &role.needed, limits);
    Some(Finding {
        id: "function-permissions",
        severity: Severity::Medium,
        resource: function.arn.clone(),
        part: None,
        message: format!(
            "function `{}` may use {} more services than it has used, by role `{}`",
            function.name,
            unused.len(),
            role.entity.name
        ),
        evidence: vec![
            format!("used in {} days: {used}", limits.days.max(1)),
            format!("allowed and not used: {}", some(&unused)),
        ],
        fix,
        plan,
    })
}

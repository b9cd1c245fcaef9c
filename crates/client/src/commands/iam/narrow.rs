//! The policies of a role or user in exchange for the one that it has needed: the plan, its difference, and doing it.

use std::fmt::Write as _;
use std::io::{BufRead, IsTerminal};

use kennel_iam::policy::{ActionPattern, Document, Effect, Scope, Statement};
use serde_json::{Value, json};

use super::advice::quoted;
use super::principals::{Attached, Entity, Kind, Origin};
use crate::client::{Client, Service};
use crate::error::ClientError;

/// The inline policy that is put.
pub(in crate::commands) const NAME: &str = "kennel-least-privilege";
/// AWS's policy that lets a function write its log.
const BASIC_EXECUTION: &str = "arn:aws:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole";
/// Items of a statement that are shown.
const ITEMS: usize = 4;

/// What is to be changed about a role or user.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::commands) struct Plan {
    kind: Kind,
    name: String,
    arn: String,
    /// What it has needed.
    policy: Value,
    needed: Document,
    /// Whether the inline policy is not there yet, or is another.
    put: bool,
    /// Managed policies that are detached.
    detach: Vec<String>,
    /// Inline policies that are deleted.
    delete: Vec<String>,
    /// Managed policies that are attached.
    attach: Vec<String>,
    /// Policies that stay, and why.
    keep: Vec<(String, &'static str)>,
}

impl Plan {
    /// What is to be done about who has needed `policy`; `needed` is the same, parsed.
    ///
    /// What writes logs stays: such calls are in nobody's record (AWS's neither), so that what was needed of
    /// them is unknown. So does what denies.
    pub(in crate::commands) fn new(entity: &Entity, policy: &Value, needed: &Document) -> Plan {
        let mut plan = Plan {
            kind: entity.kind,
            name: entity.name.clone(),
            arn: entity.arn.clone(),
            policy: policy.clone(),
            needed: needed.clone(),
            put: true,
            detach: Vec::new(),
            delete: Vec::new(),
            attach: Vec::new(),
            keep: Vec::new(),
        };
        let mut writes_logs = false;
        for Attached { origin, document } in &entity.policies {
            let stays = if origin == &Origin::Inline(NAME.to_owned()) {
                plan.put = document.statements != needed.statements;
                continue;
            } else if document.statements.iter().any(|s| s.effect == Effect::Deny) {
                Some("it denies")
            } else if document.statements.iter().all(only_logs) {
                Some("it only writes logs, which no record shows")
            } else {
                None
            };
            match (stays, origin) {
                (Some(why), origin) => plan.keep.push((origin.to_string(), why)),
                (None, Origin::Managed(arn)) => plan.detach.push(arn.clone()),
                (None, Origin::Inline(name)) => plan.delete.push(name.clone()),
            }
            writes_logs |= stays.is_none() && allows_logs(document);
        }
        let keeps_logs = entity.policies.iter().any(|p| {
            plan.keep.iter().any(|(name, _)| name == &p.origin.to_string())
                && allows_logs(&p.document)
        }) || allows_logs(needed);
        let function = entity.trust.as_ref().is_some_and(|t| trusts(t, "lambda.amazonaws.com"));
        if function && writes_logs && !keeps_logs {
            plan.attach.push(BASIC_EXECUTION.to_owned());
        }
        plan
    }

    /// Whether nothing is to be done.
    pub(in crate::commands) fn is_empty(&self) -> bool {
        !self.put && self.detach.is_empty() && self.delete.is_empty() && self.attach.is_empty()
    }

    /// Whether a policy of the role goes.
    pub(in crate::commands) fn removes(&self, policy: &Origin) -> bool {
        match policy {
            Origin::Managed(arn) => self.detach.contains(arn),
            Origin::Inline(name) => self.delete.contains(name),
        }
    }

    /// Whom it is about.
    pub(in crate::commands) fn arn(&self) -> &str {
        &self.arn
    }

    /// `role f`.
    pub(in crate::commands) fn whom(&self) -> String {
        format!("{} {}", self.kind.word(), self.name)
    }

    pub(in crate::commands) fn as_json(&self) -> Value {
        let keep: Vec<Value> =
            self.keep.iter().map(|(policy, why)| json!({"policy": policy, "why": why})).collect();
        json!({
            "put": self.put.then_some(NAME),
            "attach": self.attach,
            "detach": self.detach,
            "delete": self.delete,
            "keep": keep,
        })
    }

    /// The commands of AWS's own tool; the new policy first, so that what is needed is never missing.
    pub(in crate::commands) fn commands(&self) -> Vec<String> {
        let (word, name) = (self.kind.word(), &self.name);
        let of = |verb: &str| format!("aws iam {verb}-{word}-policy --{word}-name {name}");
        let mut all = Vec::new();
        if self.put {
            all.push(format!(
                "{} --policy-name {NAME} --policy-document {}",
                of("put"),
                quoted(&self.policy.to_string())
            ));
        }
        for arn in &self.attach {
            all.push(format!("{} --policy-arn {arn}", of("attach")));
        }
        for arn in &self.detach {
            all.push(format!("{} --policy-arn {arn}", of("detach")));
        }
        for inline in &self.delete {
            all.push(format!("{} --policy-name {inline}", of("delete")));
        }
        all
    }

    /// The difference, statement by statement: `-` goes, `+` comes, the rest stays.
    pub(in crate::commands) fn shown(&self, entity: &Entity) -> String {
        let mut text = format!("{}\n", self.whom());
        for Attached { origin, document } in &entity.policies {
            let replaced = origin == &Origin::Inline(NAME.to_owned()) && self.put;
            let goes = replaced || self.removes(origin);
            if !goes {
                let why = self.keep.iter().find(|(name, _)| name == &origin.to_string());
                let why = why.map_or_else(String::new, |(_, why)| format!(": {why}"));
                let _ = writeln!(text, "  {origin} stays{why}");
                continue;
            }
            let _ = writeln!(text, "- {origin}");
            for statement in &document.statements {
                let _ = writeln!(text, "-   {}", shown_statement(statement));
            }
        }
        for arn in &self.attach {
            let _ = writeln!(
                text,
                "+ {arn}: what the role wrote logs by goes, and no record shows that"
            );
        }
        if self.put {
            let _ = writeln!(text, "+ inline: {NAME}");
            for statement in &self.needed.statements {
                let _ = writeln!(text, "+   {}", shown_statement(statement));
            }
        }
        text
    }

    /// Does it.
    ///
    /// # Errors
    /// What IAM answers; what was done before that stays done.
    pub(in crate::commands) fn apply(&self, client: &Client) -> Result<(), ClientError> {
        let member = self.kind.member();
        let own = (member.as_str(), self.name.as_str());
        let ask = |verb: &str, more: &[(&str, &str)]| {
            let all: Vec<_> = std::iter::once(own).chain(more.iter().copied()).collect();
            let operation = format!("{verb}{}Policy", self.kind.name());
            client.query(Service::Iam, &operation, &all).map(|_| ())
        };
        if self.put {
            let document = self.policy.to_string();
            ask("Put", &[("PolicyName", NAME), ("PolicyDocument", &document)])?;
        }
        for arn in &self.attach {
            ask("Attach", &[("PolicyArn", arn)])?;
        }
        for arn in &self.detach {
            ask("Detach", &[("PolicyArn", arn)])?;
        }
        for name in &self.delete {
            ask("Delete", &[("PolicyName", name)])?;
        }
        Ok(())
    }
}

/// Asks whether to go on.
///
/// # Errors
/// When nobody is there to answer.
pub(in crate::commands) fn confirmed(yes: bool) -> Result<bool, ClientError> {
    if yes {
        return Ok(true);
    }
    if !std::io::stdin().is_terminal() {
        return Err(ClientError::Usage(
            "nobody is there to confirm the change\nhint: --yes does without".to_owned(),
        ));
    }
    eprint!("Change it so? [y/N] ");
    let mut answer = String::new();
    let read = std::io::stdin().lock().read_line(&mut answer);
    read.map_err(ClientError::file("read", std::path::Path::new("standard input")))?;
    Ok(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}

/// Whether a statement is about writing logs and nothing else.
fn only_logs(statement: &Statement) -> bool {
    let writes = |name: &str| ["createloggroup", "createlogstream", "putlogevents"].contains(&name);
    matches!(&statement.action, Scope::In(actions) if actions.iter().all(|a| {
        a.vendor.eq_ignore_ascii_case("logs") && writes(&a.name.to_ascii_lowercase())
    }))
}

fn allows_logs(document: &Document) -> bool {
    document
        .statements
        .iter()
        .any(|s| s.effect == Effect::Allow && s.action.covers(|a| a.matches("logs:PutLogEvents")))
}

/// Whether a trust policy lets a service take the role.
pub(in crate::commands) fn trusts(trust: &Document, service: &str) -> bool {
    let is = |p: &kennel_iam::policy::PrincipalPattern| matches!(p, kennel_iam::policy::PrincipalPattern::Service(name) if name.eq_ignore_ascii_case(service));
    trust.statements.iter().any(|s| {
        s.effect == Effect::Allow
            && matches!(&s.principal, Some(Scope::In(who)) if who.iter().any(is))
    })
}

/// A statement in one line.
pub(in crate::commands) fn shown_statement(statement: &Statement) -> String {
    shown_with(statement, |_| false)
}

/// A statement in one line, those actions first that matter.
pub(in crate::commands) fn shown_with(
    statement: &Statement,
    matters: impl Fn(&ActionPattern) -> bool,
) -> String {
    let effect = match statement.effect {
        Effect::Allow => "Allow",
        Effect::Deny => "Deny",
    };
    let mut action = statement.action.clone();
    if let Scope::In(items) = &mut action {
        items.sort_by_key(|item| !matters(item));
    }
    let mut text = format!("{effect} {}", shown_scope(&action));
    if let Some(principal) = &statement.principal {
        let _ = write!(text, " to {}", shown_scope(principal));
    }
    if let Some(resource) = &statement.resource {
        let _ = write!(text, " on {}", shown_scope(resource));
    }
    if !statement.conditions.is_empty() {
        let keys: Vec<String> = statement
            .conditions
            .iter()
            .map(|c| format!("{} {}", c.operator_name(), c.key))
            .collect();
        let _ = write!(text, " if {}", some(&keys));
    }
    text
}

pub(in crate::commands) fn shown_scope<T: ToString>(scope: &Scope<T>) -> String {
    let items: Vec<String> = scope.items().iter().map(T::to_string).collect();
    match scope {
        Scope::In(_) => some(&items),
        Scope::NotIn(_) => format!("anything but {}", some(&items)),
    }
}

/// The first few of some items.
pub(in crate::commands) fn some(items: &[String]) -> String {
    let shown = items.iter().take(ITEMS).map(String::as_str).collect::<Vec<_>>().join(", ");
    match items.len().saturating_sub(ITEMS) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

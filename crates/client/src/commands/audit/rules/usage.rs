//! What is not used, or used for less than it is there for.

use super::{HOUR, Limits, older, since};
use crate::commands::audit::facts::{Endpoint, Facts, Function, Needed, Role, User};
use crate::commands::audit::finding::{Finding, Fix, Severity};
use crate::commands::iam::narrow::{some, trusts};
use crate::commands::iam::principals::{Entity, Origin};

/// Invocations from which on a function's memory can be judged.
const REPORTS: usize = 5;
/// The least memory of a function, in MB.
const LEAST_MEMORY: u64 = 128;

pub(super) fn judge(facts: &Facts, limits: Limits, all: &mut Vec<Finding>) {
    all.extend(facts.roles.iter().filter_map(|role| unused_role(role, facts, limits)));
    for user in &facts.users {
        keys(user, facts, limits, all);
    }
    all.extend(root(facts, limits));
    all.extend(facts.functions.iter().filter_map(memory));
    all.extend(facts.endpoints.iter().filter_map(|e| idle(e, facts, limits)));
}

/// The commands that delete a role.
fn deletion(role: &Entity) -> Vec<String> {
    let name = &role.name;
    let mut all: Vec<String> = role
        .policies
        .iter()
        .map(|policy| match &policy.origin {
            Origin::Managed(arn) => {
                format!("aws iam detach-role-policy --role-name {name} --policy-arn {arn}")
            }
            Origin::Inline(inline) => {
                format!("aws iam delete-role-policy --role-name {name} --policy-name {inline}")
            }
        })
        .collect();
    all.push(format!("aws iam delete-role --role-name {name}"));
    all
}

fn unused_role(role: &Role, facts: &Facts, limits: Limits) -> Option<Finding> {
    let Role { entity, used_by, needed } = role;
    let now = facts.now;
    // RoleLastUsed lags behind; what was recorded within the time is use, too.
    let recorded = matches!(needed, Needed::Policy(..)).then_some(now);
    let last_used = entity.last_used.or(recorded);
    let served = entity.trust.as_ref().map(|trust| {
        (trusts(trust, "lambda.amazonaws.com"), trusts(trust, "sagemaker.amazonaws.com"))
    });
    let (lambda, sagemaker) = served.unwrap_or_default();
    let delete = |what: &str| Fix::words(what).by(deletion(entity));
    let finding = |id, severity, message, evidence, fix| Finding {
        id,
        severity,
        resource: entity.arn.clone(),
        part: None,
        message,
        evidence,
        fix,
        plan: None,
    };
    if let (true, Some(last)) = ((lambda || sagemaker) && used_by.is_empty(), last_used) {
        let whose = match (lambda, sagemaker) {
            (true, false) => "function",
            (false, _) => "job, model or endpoint",
            (true, true) => "function, job, model or endpoint",
        };
        return Some(finding(
            "role-orphaned",
            Severity::Medium,
            format!("role `{}` was used, and no {whose} has it any more", entity.name),
            vec![format!("last used {}", since(last, now)), format!("no {whose} refers to it")],
            delete("delete the role"),
        ));
    }
    let evidence = match last_used {
        Some(last) if older(Some(last), limits.days, now) => {
            format!("last used {}", since(last, now))
        }
        None if older(entity.created, limits.days, now) => {
            format!("never used since it was made {}", since(entity.created?, now))
        }
        _ => return None,
    };
    let mut evidence = vec![evidence];
    let (severity, fix) = match used_by.is_empty() {
        true => (Severity::Medium, delete("delete the role")),
        false => {
            evidence.push(format!("still of: {}", some(used_by)));
            (
                Severity::Low,
                delete("delete what it is of if that is not needed either, then the role"),
            )
        }
    };
    let message = match entity.last_used {
        Some(_) => format!("role `{}` was not used for {} days", entity.name, limits.days),
        None => format!("role `{}` was never used", entity.name),
    };
    Some(finding("role-unused", severity, message, evidence, fix))
}

fn keys(user: &User, facts: &Facts, limits: Limits, all: &mut Vec<Finding>) {
    let (name, now) = (&user.entity.name, facts.now);
    for key in user.keys.iter().filter(|key| key.active) {
        let id = &key.id;
        let switch = |status| {
            format!(
                "aws iam update-access-key --user-name {name} --access-key-id {id} --status {status}"
            )
        };
        let delete = format!("aws iam delete-access-key --user-name {name} --access-key-id {id}");
        let made = key.created.map(|created| format!("made {}", since(created, now)));
        let used = match (key.last_used, &key.service) {
            (Some(last), Some(service)) => format!("last used {} for {service}", since(last, now)),
            (Some(last), None) => format!("last used {}", since(last, now)),
            (None, _) => "never used".to_owned(),
        };
        let finding = |id: &'static str, message: String, fix| Finding {
            id,
            severity: Severity::Medium,
            resource: user.entity.arn.clone(),
            part: Some(key.id.clone()),
            message,
            evidence: made.iter().cloned().chain([used.clone()]).collect(),
            fix,
            plan: None,
        };
        if older(key.last_used.or(key.created), limits.days, now) {
            let message = match key.last_used {
                Some(_) => {
                    format!("access key {id} of `{name}` was not used for {} days", limits.days)
                }
                None => format!("access key {id} of `{name}` was never used"),
            };
            let fix = Fix::words("switch the key off, and delete it when nothing misses it");
            all.push(finding("key-unused", message, fix.by([switch("Inactive"), delete])));
        } else if older(key.created, limits.days, now) {
            let message = format!("access key {id} of `{name}` is older than {} days", limits.days);
            let fix =
                Fix::words("make another key, use it, then switch this one off and delete it");
            let make = format!("aws iam create-access-key --user-name {name}");
            all.push(finding("key-old", message, fix.by([make, switch("Inactive"), delete])));
        }
    }
}

fn root(facts: &Facts, limits: Limits) -> Option<Finding> {
    let used = &facts.root;
    if used.calls == 0 {
        return None;
    }
    let more = if used.more { " at least" } else { "" };
    let mut evidence = vec![format!(
        "{} calls{more} in {} days: {}",
        used.calls,
        limits.days.max(1),
        some(&used.actions)
    )];
    if let Some(last) = used.last {
        evidence.push(format!("last {}", since(last, facts.now)));
    }
    let (severity, fix) = match facts.local {
        // The folder's owner is root there anyway.
        true => (
            Severity::Low,
            Fix::words("let programs sign as a role or a user: `kennel env --install` makes one"),
        ),
        false => (
            Severity::High,
            Fix::words(
                "use a role or a user, and delete the root's access keys (only its own console can)",
            ),
        ),
    };
    Some(Finding {
        id: "root-key-used",
        severity,
        resource: format!("arn:aws:iam::{}:root", facts.account),
        part: None,
        message: format!("the account's root made{more} {} calls", used.calls),
        evidence,
        fix,
        plan: None,
    })
}

/// A function that used less than half of its memory.
fn memory(function: &Function) -> Option<Finding> {
    let Function { name, memory, used, reports, .. } = function;
    if *reports < REPORTS || used * 2 >= *memory {
        return None;
    }
    // Half as much again as was used, in steps of 64 MB.
    let enough = (used + used / 2).div_ceil(64).saturating_mul(64).max(LEAST_MEMORY);
    if enough >= *memory {
        return None;
    }
    Some(Finding {
        id: "function-memory",
        severity: Severity::Low,
        resource: function.arn.clone(),
        part: None,
        message: format!("function `{name}` has {memory} MB and used at most {used} MB"),
        evidence: vec![format!("Max Memory Used {used} MB of {memory} MB over {reports} invocations")],
        fix: Fix::words(format!(
            "give it {enough} MB, and measure: less memory is less CPU too"
        ))
        .by([format!(
            "aws lambda update-function-configuration --function-name {name} --memory-size {enough}"
        )]),
        plan: None,
    })
}

/// An endpoint that nobody asks.
fn idle(endpoint: &Endpoint, facts: &Facts, limits: Limits) -> Option<Finding> {
    let billed = endpoint.instances.iter().any(|i| i.count > 0);
    if endpoint.status != "InService" || !billed {
        return None;
    }
    let start = [endpoint.last_invoked.map(|hour| hour + HOUR), endpoint.created, endpoint.changed];
    let idle_since = start.into_iter().flatten().max().unwrap_or(endpoint.since);
    let hours = facts.now.saturating_sub(idle_since) / HOUR;
    if hours < limits.idle_hours {
        return None;
    }
    let mut evidence = vec![match endpoint.last_invoked {
        Some(hour) => format!("last invoked {}", since(hour, facts.now)),
        None => {
            let from = endpoint.created.map_or(endpoint.since, |made| made.max(endpoint.since));
            format!("no invocation since {}", since(from, facts.now))
        }
    }];
    for instances in endpoint.instances.iter().filter(|i| i.count > 0) {
        let spent = u64::try_from(hours).unwrap_or(0).saturating_mul(instances.count);
        evidence.push(format!(
            "variant {}: {} × {} × {hours} hours = {spent} instance hours",
            instances.variant, instances.count, instances.kind
        ));
    }
    let name = &endpoint.name;
    Some(Finding {
        id: "endpoint-idle",
        severity: Severity::Medium,
        resource: endpoint.arn.clone(),
        part: None,
        message: format!("endpoint `{name}` runs and was not asked for {hours} hours"),
        evidence,
        fix: Fix::words("delete the endpoint; model and configuration stay")
            .by([format!("aws sagemaker delete-endpoint --endpoint-name {name}")]),
        plan: None,
    })
}

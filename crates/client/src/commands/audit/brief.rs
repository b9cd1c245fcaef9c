//! What another command tells of an audit: what was found, and which policies the roles have.

use super::gather::gather;
use super::rules::{Limits, judge};
use crate::client::Client;
use crate::commands::iam::least::TrailArguments;
use crate::commands::iam::principals::Origin;
use crate::error::ClientError;

/// The limits that `kennel audit` has by itself.
const LIMITS: Limits = Limits { days: 90, idle_hours: 24 };

/// An audit, worst findings first.
#[derive(Debug, Clone, Default)]
pub(in crate::commands) struct Brief {
    pub findings: Vec<Found>,
    pub roles: Vec<Role>,
    /// What could not be looked at.
    pub notes: Vec<String>,
}

/// A finding.
#[derive(Debug, Clone)]
pub(in crate::commands) struct Found {
    /// `high`, `medium`, `low` or `info`.
    pub severity: &'static str,
    pub message: String,
    pub fix: String,
    /// Whether `kennel audit --fix` does it.
    pub automatic: bool,
}

/// A role that something uses.
#[derive(Debug, Clone)]
pub(in crate::commands) struct Role {
    pub name: String,
    pub used_by: Vec<String>,
    /// Names, inline ones said to be so.
    pub policies: Vec<String>,
}

/// Looks at everything and judges it.
///
/// # Errors
/// When the platform cannot be reached.
pub(in crate::commands) fn brief(
    client: &Client,
    trail: &TrailArguments,
) -> Result<Brief, ClientError> {
    let facts = gather(client, LIMITS, trail)?;
    let findings = judge(&facts, LIMITS)
        .into_iter()
        .map(|finding| Found {
            severity: finding.severity.word(),
            message: finding.message,
            fix: finding.fix.what,
            automatic: finding.fix.automatic,
        })
        .collect();
    let roles = facts.roles.into_iter().map(|role| Role {
        policies: role
            .entity
            .policies
            .iter()
            .map(|policy| match &policy.origin {
                Origin::Inline(name) => format!("{name} (inline)"),
                managed => managed.name().to_owned(),
            })
            .collect(),
        name: role.entity.name,
        used_by: role.used_by,
    });
    Ok(Brief { findings, roles: roles.collect(), notes: facts.notes })
}

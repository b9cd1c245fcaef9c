//! `kennel audit`: what is open too wide, unused or running for nothing, by what AWS's APIs tell.
//!
//! [`gather`] makes the calls, [`rules`] judges what they told, and the rest shows it.

pub(super) mod brief;
mod facts;
mod finding;
mod gather;
mod rules;
mod sarif;
mod shown;

use std::collections::BTreeMap;

use clap::builder::PossibleValuesParser;
use clap::{Args, ValueEnum};
use serde_json::json;

use self::facts::Facts;
use self::finding::{Finding, RULES, Severity};
use self::rules::Limits;
use super::iam::least::TrailArguments;
use super::iam::narrow::{self, Plan};
use crate::client::Client;
use crate::error::ClientError;
use crate::output::{self, line, note};
use crate::target::TargetArguments;

/// Arguments of `kennel audit`.
#[derive(Debug, Args)]
pub struct Arguments {
    #[command(flatten)]
    target: TargetArguments,
    /// Days without use after which a role or a key is a finding, and the age of keys
    #[arg(long, value_name = "N", default_value_t = 90, value_parser = clap::value_parser!(i64).range(0..=365))]
    days: i64,
    /// Hours without an invocation after which an endpoint is a finding
    #[arg(long, value_name = "N", default_value_t = 24, value_parser = clap::value_parser!(i64).range(0..=8760))]
    idle_hours: i64,
    /// Only these findings, by id
    #[arg(long, value_name = "ID", value_delimiter = ',', value_parser = ids())]
    only: Vec<String>,
    /// Print JSON
    #[arg(long, conflicts_with = "sarif")]
    json: bool,
    /// Print SARIF 2.1.0, as code scanning takes it
    #[arg(long)]
    sarif: bool,
    /// Exit with 1 when there is a finding at least as bad
    #[arg(long, value_name = "SEVERITY", default_value = "high")]
    fail_on: FailOn,
    /// Show the narrower policies and put them in place
    #[arg(long, conflicts_with_all = ["json", "sarif"])]
    fix: bool,
    /// Do not ask
    #[arg(long, requires = "fix")]
    yes: bool,
    #[command(flatten)]
    trail: TrailArguments,
}

fn ids() -> PossibleValuesParser {
    PossibleValuesParser::new(RULES.map(|rule| rule.id))
}

/// The least severity that fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum FailOn {
    High,
    Medium,
    Low,
    None,
}

impl FailOn {
    fn least(self) -> Option<Severity> {
        match self {
            FailOn::High => Some(Severity::High),
            FailOn::Medium => Some(Severity::Medium),
            FailOn::Low => Some(Severity::Low),
            FailOn::None => None,
        }
    }
}

pub(super) fn run(arguments: &Arguments) -> Result<(), ClientError> {
    let client = Client::new(arguments.target.resolve()?);
    let limits = Limits { days: arguments.days, idle_hours: arguments.idle_hours };
    let facts = gather::gather(&client, limits, &arguments.trail)?;
    let mut findings = rules::judge(&facts, limits);
    if !arguments.only.is_empty() {
        findings.retain(|finding| arguments.only.iter().any(|id| id == finding.id));
    }
    if arguments.json {
        output::json(&json!({
            "account": facts.account,
            "findings": findings,
            "notes": facts.notes,
        }));
    } else if arguments.sarif {
        output::json(&sarif::log(&findings, &facts.notes)?);
    } else {
        line(shown::all(&findings));
        for text in &facts.notes {
            note(format!("note: {text}"));
        }
    }
    if arguments.fix {
        findings = fix(&client, &facts, findings, arguments.yes)?;
    }
    failure(&findings, arguments.fail_on)
}

/// What makes the command fail.
fn failure(findings: &[Finding], fail_on: FailOn) -> Result<(), ClientError> {
    let Some(least) = fail_on.least() else { return Ok(()) };
    let bad = findings.iter().filter(|finding| finding.severity >= least).count();
    match bad {
        0 => Ok(()),
        1 => Err(ClientError::Failed(format!("1 finding of severity {} or worse", least.word()))),
        n => {
            Err(ClientError::Failed(format!("{n} findings of severity {} or worse", least.word())))
        }
    }
}

/// Puts the narrower policies in place, one role or user after the other; what is left of the findings.
fn fix(
    client: &Client,
    facts: &Facts,
    findings: Vec<Finding>,
    yes: bool,
) -> Result<Vec<Finding>, ClientError> {
    let mut plans: BTreeMap<String, Plan> = BTreeMap::new();
    for finding in findings.iter().filter(|finding| finding.fix.automatic) {
        if let Some(plan) = &finding.plan {
            plans.insert(plan.arn().to_owned(), plan.clone());
        }
    }
    if plans.is_empty() {
        note("nothing here can be fixed automatically");
        return Ok(findings);
    }
    let mut fixed = Vec::new();
    let entities = || {
        let users = facts.users.iter().map(|user| &user.entity);
        facts.roles.iter().map(|role| &role.entity).chain(users)
    };
    for (arn, plan) in plans {
        let Some(entity) = entities().find(|entity| entity.arn == arn) else { continue };
        note(format!("\n{}", plan.shown(entity)));
        if !narrow::confirmed(yes)? {
            note(format!("{} stays as it is", plan.whom()));
            continue;
        }
        plan.apply(client)?;
        note(format!("{} has what it needs and no more", plan.whom()));
        fixed.push(arn);
    }
    let left = |finding: &Finding| {
        finding.plan.as_ref().is_none_or(|plan| !fixed.iter().any(|arn| arn == plan.arn()))
    };
    Ok(findings.into_iter().filter(left).collect())
}

#[cfg(test)]
mod tests;

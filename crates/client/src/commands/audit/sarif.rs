//! Findings as SARIF 2.1.0 (<https://docs.oasis-open.org/sarif/sarif/v2.1.0/>), the little of it that findings
//! without files need: rules, results at logical locations (ARNs), and what could not be looked at.

use serde::Serialize;
use serde_json::{Value, json};

use super::finding::{Finding, RULES, Severity};
use crate::client::sha256;
use crate::error::ClientError;

const SCHEMA: &str =
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json";

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Log<'a> {
    #[serde(rename = "$schema")]
    schema: &'static str,
    version: &'static str,
    runs: [Run<'a>; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Run<'a> {
    tool: Tool,
    invocations: [Invocation<'a>; 1],
    results: Vec<SarifResult<'a>>,
}

#[derive(Serialize)]
struct Tool {
    driver: Driver,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Driver {
    name: &'static str,
    version: &'static str,
    rules: Vec<ReportingDescriptor>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ReportingDescriptor {
    id: &'static str,
    short_description: Message<'static>,
    help: Message<'static>,
    default_configuration: Value,
    properties: Value,
}

#[derive(Serialize)]
struct Message<'a> {
    text: std::borrow::Cow<'a, str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Invocation<'a> {
    execution_successful: bool,
    tool_execution_notifications: Vec<Notification<'a>>,
}

#[derive(Serialize)]
struct Notification<'a> {
    level: &'static str,
    message: Message<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SarifResult<'a> {
    rule_id: &'static str,
    rule_index: usize,
    level: &'static str,
    message: Message<'a>,
    locations: [Value; 1],
    partial_fingerprints: Value,
    properties: Value,
}

fn level(severity: Severity) -> &'static str {
    match severity {
        Severity::High => "error",
        Severity::Medium => "warning",
        Severity::Low | Severity::Info => "note",
    }
}

/// GitHub's scale, from 0 to 10: above 7 is high, above 4 medium.
fn score(severity: Severity) -> &'static str {
    match severity {
        Severity::High => "8.0",
        Severity::Medium => "5.5",
        Severity::Low => "3.0",
        Severity::Info => "0.0",
    }
}

fn message<'a>(text: impl Into<std::borrow::Cow<'a, str>>) -> Message<'a> {
    Message { text: text.into() }
}

/// A log of one run.
///
/// # Errors
/// Never in practice: what is here has a text.
pub(super) fn log(findings: &[Finding], notes: &[String]) -> Result<Value, ClientError> {
    let rules = RULES.iter().map(|rule| ReportingDescriptor {
        id: rule.id,
        short_description: message(rule.title),
        help: message(rule.help),
        default_configuration: json!({ "level": level(rule.severity) }),
        properties: json!({
            "security-severity": score(rule.severity),
            "tags": ["security"],
        }),
    });
    let notifications = notes
        .iter()
        .map(|note| Notification { level: "warning", message: message(note.as_str()) })
        .collect();
    let log = Log {
        schema: SCHEMA,
        version: "2.1.0",
        runs: [Run {
            tool: Tool {
                driver: Driver {
                    name: "kennel audit",
                    version: env!("CARGO_PKG_VERSION"),
                    rules: rules.collect(),
                },
            },
            invocations: [Invocation {
                execution_successful: true,
                tool_execution_notifications: notifications,
            }],
            results: findings.iter().map(result).collect(),
        }],
    };
    serde_json::to_value(log).map_err(|e| ClientError::Failed(e.to_string()))
}

fn result(finding: &Finding) -> SarifResult<'_> {
    let mut text = finding.message.clone();
    for evidence in &finding.evidence {
        text.push_str(&format!("\n- {evidence}"));
    }
    text.push_str(&format!("\nFix: {}", finding.fix.what));
    for command in &finding.fix.commands {
        text.push_str(&format!("\n    {command}"));
    }
    let name = finding.resource.rsplit([':', '/']).next().unwrap_or(&finding.resource);
    let part = finding.part.as_deref().unwrap_or_default();
    let same = sha256(format!("{}\n{}\n{part}", finding.id, finding.resource).as_bytes());
    SarifResult {
        rule_id: finding.id,
        rule_index: RULES.iter().position(|rule| rule.id == finding.id).unwrap_or(0),
        level: level(finding.severity),
        message: message(text),
        locations: [json!({
            "logicalLocations": [{
                "name": name,
                "fullyQualifiedName": finding.resource,
                "kind": "resource",
            }],
        })],
        partial_fingerprints: json!({ "finding/v1": same }),
        properties: json!({
            "severity": finding.severity,
            "evidence": finding.evidence,
            "fix": finding.fix,
        }),
    }
}

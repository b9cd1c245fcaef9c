//! Findings for people: a table, then each with its evidence and fix.

use super::finding::{Finding, Severity};
use crate::output::{plain, table};

pub(super) fn all(findings: &[Finding]) -> String {
    if findings.is_empty() {
        return "nothing found".to_owned();
    }
    let rows = findings.iter().enumerate().map(|(index, finding)| {
        [
            (index + 1).to_string(),
            finding.severity.word().to_owned(),
            finding.id.to_owned(),
            short(&finding.resource),
            finding.part.as_deref().map(short).unwrap_or_default(),
        ]
    });
    let mut text = table(["#", "severity", "finding", "resource", "part"], rows);
    for (index, finding) in findings.iter().enumerate() {
        // One narrower policy may answer several findings.
        let same = findings.iter().take(index).position(|before| before.fix == finding.fix);
        text.push_str(&format!("\n\n{}. {}", index + 1, plain(&one(finding, same))));
    }
    text.push_str(&format!("\n\n{}", total(findings)));
    text
}

/// An ARN without what all ARNs here have in common.
fn short(arn: &str) -> String {
    match arn.strip_prefix("arn:").map(|rest| rest.splitn(5, ':').collect::<Vec<_>>()).as_deref() {
        Some([_, service, _, _, resource]) if *service == "iam" => (*resource).to_owned(),
        Some([_, "s3", _, _, resource]) => format!("bucket/{resource}"),
        Some([_, _, _, _, resource]) => (*resource).to_owned(),
        _ => arn.to_owned(),
    }
}

/// A finding; `same` is an earlier one with the same fix.
fn one(finding: &Finding, same: Option<usize>) -> String {
    let mut text =
        format!("{} ({})\n   {}", finding.message, finding.severity.word(), finding.resource);
    for evidence in &finding.evidence {
        text.push_str(&format!("\n   - {evidence}"));
    }
    if let Some(before) = same {
        text.push_str(&format!("\n   fix: that of {}", before + 1));
        return text;
    }
    text.push_str(&format!("\n   fix: {}", finding.fix.what));
    if let Some(policy) = &finding.fix.policy {
        let pretty = serde_json::to_string_pretty(policy).unwrap_or_default();
        for line in pretty.lines() {
            text.push_str(&format!("\n     {line}"));
        }
    }
    for command in &finding.fix.commands {
        text.push_str(&format!("\n     $ {command}"));
    }
    if finding.fix.automatic {
        text.push_str("\n     `kennel audit --fix` does this");
    }
    text
}

fn total(findings: &[Finding]) -> String {
    let count = |severity| findings.iter().filter(|f| f.severity == severity).count();
    let all = [Severity::High, Severity::Medium, Severity::Low, Severity::Info];
    let counts: Vec<String> = all
        .into_iter()
        .filter(|severity| count(*severity) > 0)
        .map(|severity| format!("{} {}", count(severity), severity.word()))
        .collect();
    format!("{} found: {}", findings.len(), counts.join(", "))
}

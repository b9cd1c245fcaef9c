//! What an audit finds, and what the roles may do.

use kennel_report::{Block, Column, Table, plural};

use super::{Writer, some};
use crate::commands::audit::brief::Found;

/// Findings and roles that are shown.
const FINDINGS: usize = 6;
const ROLES: usize = 4;

impl Writer<'_> {
    pub(super) fn security(&mut self) {
        self.heading("Security");
        let audit = &self.facts.audit;
        let used: Vec<_> = audit.roles.iter().filter(|role| !role.used_by.is_empty()).collect();
        if !used.is_empty() {
            let rows = used
                .iter()
                .take(ROLES)
                .map(|role| {
                    vec![
                        format!("`{}`", role.name),
                        some(&role.used_by, 2),
                        match role.policies.is_empty() {
                            true => "none".to_owned(),
                            false => some(&role.policies, 3),
                        },
                    ]
                })
                .collect();
            let columns = ["role", "used by", "policies"].map(Column::words).into_iter().collect();
            self.blocks.push(Block::Table(Table { columns, rows }));
        }
        if audit.findings.is_empty() {
            self.led("Audit.", match self.facts.notes.is_empty() {
                true => "`kennel audit` looked at roles, users, keys, buckets, functions and endpoints, and found nothing.",
                false => "`kennel audit` found nothing in what it could look at.",
            });
            return;
        }
        let count =
            |severity: &str| audit.findings.iter().filter(|f| f.severity == severity).count();
        let counts: Vec<String> = ["high", "medium", "low", "info"]
            .into_iter()
            .map(|severity| (count(severity), severity))
            .filter(|(count, _)| *count > 0)
            .map(|(count, severity)| format!("{count} {severity}"))
            .collect();
        let automatic = audit.findings.iter().filter(|finding| finding.automatic).count();
        let mut words = format!(
            "`kennel audit` leaves open {}: {}.",
            plural(audit.findings.len() as u64, "finding", "findings"),
            counts.join(", ")
        );
        if automatic > 0 {
            words.push_str(&format!(
                " `kennel audit --fix` closes {automatic} of them by putting the policy that was needed in place of the one that is there."
            ));
        }
        // Findings about one role often have one fix.
        let mut groups: Vec<(&Found, u64)> = Vec::new();
        for finding in &audit.findings {
            match groups.iter_mut().find(|(first, _)| first.fix == finding.fix) {
                Some((_, more)) => *more += 1,
                None => groups.push((finding, 0)),
            }
        }
        if groups.len() > FINDINGS {
            let left = groups.len() - FINDINGS;
            words.push_str(&format!(" The worst, by what is to be done ({left} more left out):"));
        }
        self.led("Audit.", words);
        let same = |more| {
            plural(more, "finding more with the same fix", "findings more with the same fix")
        };
        let rows = groups
            .into_iter()
            .take(FINDINGS)
            .map(|(finding, more)| {
                let message = match more {
                    0 => finding.message.clone(),
                    more => format!("{}; and {}", finding.message, same(more)),
                };
                vec![finding.severity.to_owned(), message, finding.fix.clone()]
            })
            .collect();
        let columns =
            ["severity", "finding", "what to do"].map(Column::words).into_iter().collect();
        self.blocks.push(Block::Table(Table { columns, rows }));
    }
}

//! One thing that an audit found, and what each kind of finding means.

use clap::ValueEnum;
use serde::Serialize;
use serde_json::Value;

use crate::commands::iam::narrow::Plan;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(super) enum Severity {
    Info,
    Low,
    Medium,
    High,
}

impl Severity {
    pub(super) fn word(self) -> &'static str {
        match self {
            Severity::Info => "info",
            Severity::Low => "low",
            Severity::Medium => "medium",
            Severity::High => "high",
        }
    }
}

/// What is to be done.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(super) struct Fix {
    /// In words.
    pub what: String,
    /// As commands.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub commands: Vec<String>,
    /// The narrower policy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy: Option<Value>,
    /// Whether `--fix` does it.
    pub automatic: bool,
}

impl Fix {
    pub(super) fn words(what: impl Into<String>) -> Fix {
        Fix { what: what.into(), ..Fix::default() }
    }

    #[must_use]
    pub(super) fn by(mut self, commands: impl IntoIterator<Item = String>) -> Fix {
        self.commands = commands.into_iter().collect();
        self
    }
}

/// One thing that was found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Finding {
    pub id: &'static str,
    pub severity: Severity,
    /// An ARN.
    pub resource: String,
    /// What else tells two findings of one kind about one resource apart: a policy, a key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub part: Option<String>,
    pub message: String,
    pub evidence: Vec<String>,
    pub fix: Fix,
    /// What `--fix` does.
    #[serde(skip)]
    pub plan: Option<Plan>,
}

/// A kind of finding.
#[derive(Debug)]
pub(super) struct Rule {
    pub id: &'static str,
    /// The worst that it is.
    pub severity: Severity,
    pub title: &'static str,
    pub help: &'static str,
}

/// All kinds, in the order of their ids.
pub(super) const RULES: [Rule; 15] = [
    Rule {
        id: "bucket-public",
        severity: Severity::High,
        title: "A bucket is open to anyone",
        help: "Put a public access block on the bucket and name in its policy who may read it.",
    },
    Rule {
        id: "endpoint-idle",
        severity: Severity::Medium,
        title: "An endpoint runs, is billed and is not asked",
        help: "Delete the endpoint; a model and its configuration can serve again in minutes.",
    },
    Rule {
        id: "full-access",
        severity: Severity::High,
        title: "A policy allows everything, or everything of a service",
        help: "Put the policy that was needed in its place: kennel iam least-privilege ROLE.",
    },
    Rule {
        id: "function-memory",
        severity: Severity::Low,
        title: "A function has far more memory than it used",
        help: "Memory is billed by the MB: lower it, and measure, as less memory is less CPU too.",
    },
    Rule {
        id: "function-permissions",
        severity: Severity::Medium,
        title: "A function's role allows services that the function has not used",
        help: "Put the policy that was needed in its place: kennel iam least-privilege ROLE.",
    },
    Rule {
        id: "function-public",
        severity: Severity::High,
        title: "A function can be invoked by anyone",
        help: "Name in the function's policy the account or the service that may invoke it.",
    },
    Rule {
        id: "function-url-public",
        severity: Severity::High,
        title: "A function has an address that asks nobody who they are",
        help: "Let the address ask for signed requests: AuthType AWS_IAM.",
    },
    Rule {
        id: "key-old",
        severity: Severity::Medium,
        title: "An access key is old",
        help: "Make a new key, use it, then delete the old one; or use roles, which need none.",
    },
    Rule {
        id: "key-unused",
        severity: Severity::Medium,
        title: "An access key is not used",
        help: "Switch it off, and delete it when nothing misses it.",
    },
    Rule {
        id: "not-action-allow",
        severity: Severity::High,
        title: "A policy allows whatever it does not name",
        help: "Name what is allowed; NotAction with Allow grants every service that is to come, too.",
    },
    Rule {
        id: "pass-role-any",
        severity: Severity::High,
        title: "A policy lets any role be passed",
        help: "Who may pass any role to a service has what any role may: name the role, and iam:PassedToService.",
    },
    Rule {
        id: "role-orphaned",
        severity: Severity::Medium,
        title: "A role's function or endpoint does not exist any more",
        help: "Delete the role.",
    },
    Rule {
        id: "role-unused",
        severity: Severity::Medium,
        title: "A role is not used",
        help: "Delete the role.",
    },
    Rule {
        id: "root-key-used",
        severity: Severity::High,
        title: "The account's root made calls",
        help: "Nothing limits the root: use a role or a user with what is needed.",
    },
    Rule {
        id: "trust-open",
        severity: Severity::High,
        title: "A role can be taken by anyone",
        help: "Name in the trust policy who may take the role.",
    },
];

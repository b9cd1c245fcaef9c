//! What is too wide in a document: the pure half of `kennel audit`.
//!
//! Only statements that allow are looked at. A condition counts as narrowing when it holds a key that says who or
//! whence to fixed values, with an operator that an absent key fails; this is how S3 decides what is public:
//! <https://docs.aws.amazon.com/AmazonS3/latest/userguide/access-control-block-public-access.html#access-control-block-public-access-policy-status>.

use std::collections::BTreeMap;

use crate::policy::{ActionPattern, Document, Effect, ResourcePattern, Scope, Statement};

/// What is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Problem {
    /// Every action on every resource.
    FullAdmin,
    /// Every action of a service on every resource.
    FullService,
    /// `iam:PassRole` on every role, to any service.
    PassRoleAny,
    /// An allow of everything but some actions.
    NotAction,
    /// An allow on everything but some resources.
    NotResource,
    /// A role that anybody may take.
    OpenTrust,
    /// A resource that is open to everybody.
    Public,
}

/// Something that is too wide.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What is wrong.
    pub problem: Problem,
    /// The statements, from 0.
    pub statements: Vec<usize>,
    /// The service, for [`Problem::FullService`].
    pub service: Option<String>,
    /// In words, lower case, without a period.
    pub words: String,
}

/// What an identity policy grants too widely; ordered by problem and service.
pub fn identity(document: &Document) -> Vec<Finding> {
    let mut found = Vec::new();
    let admin = allows(document, |s| everywhere(s) && is_admin(s));
    found.extend(finding(
        Problem::FullAdmin,
        &admin,
        None,
        "allows every action on every resource",
    ));
    let mut services: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (index, statement) in allowing(document) {
        if everywhere(statement) && !admin.contains(&index) {
            for service in full_services(statement) {
                services.entry(service).or_default().push(index);
            }
        }
    }
    for (service, statements) in services {
        let words = format!("allows every action of `{service}` on every resource");
        found.extend(finding(Problem::FullService, &statements, Some(service), &words));
    }
    let pass = allows(document, |s| {
        let pass_role = s.action.covers(|a| a.matches("iam:PassRole"));
        let any_role = s.resource.as_ref().is_some_and(|scope| match scope {
            Scope::In(items) => items.iter().any(any_role),
            Scope::NotIn(_) => true,
        });
        pass_role && any_role && !narrowed(s, &["iam:passedtoservice", "iam:associatedresourcearn"])
    });
    let words = "allows `iam:PassRole` of any role to any service";
    found.extend(finding(Problem::PassRoleAny, &pass, None, words));
    let not_action = allows(document, |s| matches!(s.action, Scope::NotIn(_)));
    let words = "allows every action but those it names";
    found.extend(finding(Problem::NotAction, &not_action, None, words));
    let not_resource = allows(document, |s| matches!(s.resource, Some(Scope::NotIn(_))));
    let words = "allows every resource but those it names";
    found.extend(finding(Problem::NotResource, &not_resource, None, words));
    found
}

/// Who may take a role too easily.
pub fn trust(document: &Document) -> Vec<Finding> {
    let mut keys = NARROWING.to_vec();
    keys.push("sts:externalid");
    let open = allows(document, |s| s.is_for_everybody() && !narrowed(s, &keys));
    finding(Problem::OpenTrust, &open, None, "lets anybody of any account take the role")
        .into_iter()
        .collect()
}

/// What a resource policy opens to everybody.
pub fn resource(document: &Document) -> Vec<Finding> {
    let open = allows(document, |s| s.is_for_everybody() && !narrowed(s, &NARROWING));
    let mut found = Vec::new();
    if !open.is_empty() {
        let mut actions: Vec<String> = Vec::new();
        for (_, statement) in allowing(document).filter(|(index, _)| open.contains(index)) {
            let not = if matches!(statement.action, Scope::NotIn(_)) { "all but " } else { "" };
            let items = statement.action.items().iter();
            actions.extend(items.map(|action| format!("`{not}{action}`")));
        }
        actions.sort();
        actions.dedup();
        let words = format!("allows everybody {}", actions.join(", "));
        found.extend(finding(Problem::Public, &open, None, &words));
    }
    found
}

/// The service that an AWS managed policy grants in full, by the policy's name or ARN: `sagemaker` of
/// `AmazonSageMakerFullAccess`, `*` of `AdministratorAccess` and `PowerUserAccess`.
pub fn full_access(policy: &str) -> Option<&'static str> {
    let name = policy.rsplit('/').next().unwrap_or(policy);
    FULL_ACCESS.iter().find(|(known, _)| *known == name).map(|(_, service)| *service)
}

const FULL_ACCESS: [(&str, &str); 18] = [
    ("AdministratorAccess", "*"),
    ("PowerUserAccess", "*"),
    ("AmazonSageMakerFullAccess", "sagemaker"),
    ("AmazonS3FullAccess", "s3"),
    ("IAMFullAccess", "iam"),
    ("AWSLambda_FullAccess", "lambda"),
    ("CloudWatchFullAccess", "cloudwatch"),
    ("CloudWatchFullAccessV2", "cloudwatch"),
    ("CloudWatchLogsFullAccess", "logs"),
    ("AmazonEC2FullAccess", "ec2"),
    ("AmazonEC2ContainerRegistryFullAccess", "ecr"),
    ("AmazonDynamoDBFullAccess", "dynamodb"),
    ("AmazonSQSFullAccess", "sqs"),
    ("AmazonSNSFullAccess", "sns"),
    ("AmazonRDSFullAccess", "rds"),
    ("AWSStepFunctionsFullAccess", "states"),
    ("AmazonAPIGatewayAdministrator", "apigateway"),
    ("AutoScalingFullAccess", "autoscaling"),
];

/// Keys that say who asks or whence, lower-cased.
const NARROWING: [&str; 14] = [
    "aws:principalaccount",
    "aws:principalarn",
    "aws:principalorgid",
    "aws:principalorgpaths",
    "aws:sourceaccount",
    "aws:sourcearn",
    "aws:sourceip",
    "aws:sourceorgid",
    "aws:sourceorgpaths",
    "aws:sourcevpc",
    "aws:sourcevpce",
    "aws:userid",
    "aws:username",
    "s3:dataaccesspointaccount",
];

fn finding(
    problem: Problem,
    statements: &[usize],
    service: Option<String>,
    words: &str,
) -> Option<Finding> {
    let statements = statements.to_vec();
    (!statements.is_empty()).then(|| Finding {
        problem,
        statements,
        service,
        words: words.to_owned(),
    })
}

fn allowing(document: &Document) -> impl Iterator<Item = (usize, &Statement)> {
    document.statements.iter().enumerate().filter(|(_, s)| s.effect == Effect::Allow)
}

fn allows(document: &Document, wanted: impl Fn(&Statement) -> bool) -> Vec<usize> {
    allowing(document).filter(|(_, s)| wanted(s)).map(|(index, _)| index).collect()
}

/// Every action, or all but some.
fn is_admin(statement: &Statement) -> bool {
    match &statement.action {
        Scope::In(items) => items.iter().any(|a| a.vendor == "*" && stars(&a.name)),
        Scope::NotIn(_) => false,
    }
}

fn full_services(statement: &Statement) -> Vec<String> {
    let whole = |a: &&ActionPattern| a.vendor != "*" && stars(&a.name);
    match &statement.action {
        Scope::In(items) => {
            items.iter().filter(whole).map(|a| a.vendor.to_ascii_lowercase()).collect()
        }
        Scope::NotIn(_) => Vec::new(),
    }
}

fn stars(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c == '*')
}

/// Every resource, or every resource of a service: `*`, `arn:aws:s3:::*`, all but some.
fn everywhere(statement: &Statement) -> bool {
    statement.resource.as_ref().is_some_and(|scope| match scope {
        Scope::In(items) => items.iter().any(|item| match item {
            ResourcePattern::Any => true,
            ResourcePattern::Arn(pattern) => {
                let [_, _, _, _, resource] = &pattern.parts;
                stars(resource)
            }
        }),
        Scope::NotIn(_) => true,
    })
}

/// `*`, or every role of an account.
fn any_role(pattern: &ResourcePattern) -> bool {
    match pattern {
        ResourcePattern::Any => true,
        ResourcePattern::Arn(pattern) => {
            let [_, service, _, _, resource] = &pattern.parts;
            crate::matches(service, "iam")
                && (stars(resource) || resource.strip_prefix("role/").is_some_and(stars))
        }
    }
}

/// Does a condition hold one of `keys`, lower-cased, to values that name something? Less strict than S3's rule for
/// public buckets, which counts no wildcard: `arn:aws:sns:*:123456789012:*` is one account's.
fn narrowed(statement: &Statement, keys: &[&str]) -> bool {
    statement.conditions.iter().any(|condition| {
        keys.contains(&condition.key.to_ascii_lowercase().as_str())
            && condition.demands_its_key()
            && condition.values.iter().all(|value| names_something(&value.text))
    })
}

/// A value that is more than wildcards: not `*`, `arn:aws:*:*:*:*` or `0.0.0.0/0`.
fn names_something(text: &str) -> bool {
    let range = text.ends_with("/0");
    let bare = text.strip_prefix("arn:aws:").unwrap_or(text);
    !range && bare.chars().any(|c| !matches!(c, '*' | '?' | ':'))
}

#[cfg(test)]
mod tests;

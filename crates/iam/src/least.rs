//! The least policy: what somebody has needed, as a document.

use std::collections::{BTreeMap, BTreeSet};

use crate::ArnPattern;
use crate::evaluate::{Context, Policies, Policy, PolicyType, Principal, Request, decide};
use crate::policy::{ActionPattern, Document, Effect, ResourcePattern, Scope, Statement, Version};

/// Something that was done.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Use {
    /// `sagemaker:InvokeEndpoint`
    pub action: String,
    /// An ARN, or `*` where the action is about no resource.
    pub resource: String,
}

/// How exact [`policy`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// When more than this many resources of an action stand under one prefix (up to a slash or colon of the
    /// resource's part), they become the prefix and a star. Never less than 1; `usize::MAX` for never.
    pub collapse: usize,
}

impl Default for Options {
    /// Ten names of a kind are listed; an eleventh makes a star.
    fn default() -> Self {
        Options { collapse: 10 }
    }
}

/// The narrowest policy that allows `uses`; `None` when there are none, as a policy needs a statement.
///
/// Actions on equal resources share a statement. The order depends on what is in `uses`, not on its order. Of an
/// action's spellings the first in sorting order stands.
pub fn policy(uses: &[Use], options: Options) -> Option<Document> {
    let mut by_action: BTreeMap<String, (&str, BTreeSet<String>)> = BTreeMap::new();
    let mut sorted: Vec<&Use> = uses.iter().collect();
    sorted.sort();
    for used in sorted.into_iter().filter(|used| used.action.contains(':')) {
        let key = used.action.to_ascii_lowercase();
        let everywhere = !takes_resource(&key);
        let resource = if everywhere { "*".to_owned() } else { pattern(&used.resource) };
        by_action.entry(key).or_insert((&used.action, BTreeSet::new())).1.insert(resource);
    }
    let mut by_resources: BTreeMap<BTreeSet<String>, Vec<&str>> = BTreeMap::new();
    for (action, resources) in by_action.into_values() {
        by_resources.entry(collapsed(resources, options.collapse.max(1))).or_default().push(action);
    }
    let mut statements: Vec<Statement> = by_resources
        .iter()
        .filter_map(|(resources, actions)| statement(actions, resources))
        .collect();
    statements.sort_by_key(|s| s.action.items().first().map(ToString::to_string));
    (!statements.is_empty()).then_some(Document { version: Version::V2012, id: None, statements })
}

/// Does an identity policy allow all `uses`? Conditions see a request without any keys.
pub fn covers(wider: &Document, uses: &[Use]) -> bool {
    let account = "000000000000";
    let context = Context::new();
    let principal = Principal::Session {
        account,
        role_arn: "arn:aws:iam::000000000000:role/role",
        role_id: "AROA",
        session_arn: "arn:aws:sts::000000000000:assumed-role/role/session",
        session_name: "session",
    };
    let identity = vec![Policy::new("wider", PolicyType::Identity, wider.clone())];
    let policies = Policies { identity, ..Policies::default() };
    uses.iter().all(|used| {
        let request = Request {
            principal,
            action: &used.action,
            resource: &used.resource,
            resource_account: account,
            context: &context,
        };
        decide(&request, &policies).allowed()
    })
}

/// Is an action, lower-cased, about a resource? Those that AWS's service authorization reference lists without
/// resource types need a star, whatever resource a record names.
fn takes_resource(action: &str) -> bool {
    let Some((service, name)) = action.split_once(':') else { return true };
    match service {
        "sts" => !matches!(name, "getcalleridentity" | "getsessiontoken"),
        "s3" => name != "listallmybuckets",
        "ecr" => name != "getauthorizationtoken",
        "cloudwatch" => !matches!(
            name,
            "putmetricdata" | "getmetricdata" | "getmetricstatistics" | "listmetrics"
        ),
        "iam" => !matches!(name, "listroles" | "listusers" | "listpolicies" | "getaccountsummary"),
        "lambda" => !matches!(name, "listfunctions" | "getaccountsettings" | "listlayers"),
        "sagemaker" => !(name.starts_with("list") && name != "listtags"),
        "application-autoscaling" => !name.starts_with("describe"),
        _ => true,
    }
}

/// The resource as a pattern that matches nothing else: what would be a wildcard or a variable is escaped.
fn pattern(resource: &str) -> String {
    if resource == "*" || ArnPattern::parse(resource).is_none() {
        return "*".to_owned();
    }
    let mut pattern = String::with_capacity(resource.len());
    for c in resource.chars() {
        match c {
            '*' => pattern.push_str("${*}"),
            '?' => pattern.push_str("${?}"),
            '$' => pattern.push_str("${$}"),
            c => pattern.push(c),
        }
    }
    pattern
}

/// Until no prefix holds more than `most` resources. A star stands for everything under it.
fn collapsed(mut resources: BTreeSet<String>, most: usize) -> BTreeSet<String> {
    if resources.contains("*") {
        return BTreeSet::from(["*".to_owned()]);
    }
    loop {
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        for prefix in resources.iter().filter_map(|resource| prefix(resource)) {
            *counts.entry(prefix.to_owned()).or_default() += 1;
        }
        // The longest first, so that folders become stars before what holds them.
        let full = counts.into_iter().filter(|(_, count)| *count > most);
        let Some((prefix, _)) = full.max_by_key(|(prefix, _)| prefix.len()) else {
            return resources;
        };
        resources.retain(|resource| !resource.starts_with(&prefix));
        resources.insert(format!("{prefix}*"));
    }
}

/// Up to the last slash or colon of an ARN's resource; for a star, of what the star is under.
fn prefix(resource: &str) -> Option<&str> {
    let within = resource.splitn(6, ':').nth(5)?;
    let start = resource.len() - within.len();
    let end = match within.strip_suffix('*').filter(|rest| !rest.ends_with("${")) {
        Some(folder) => folder.len().checked_sub(1)?,
        None => within.len(),
    };
    let at = within.get(..end)?.rfind(['/', ':'])?;
    resource.get(..=start + at)
}

fn statement(actions: &[&str], resources: &BTreeSet<String>) -> Option<Statement> {
    let action = actions.iter().filter_map(|action| {
        let (vendor, name) = action.split_once(':')?;
        Some(ActionPattern { vendor: vendor.to_owned(), name: name.to_owned() })
    });
    let resource = resources.iter().map(|text| match ArnPattern::parse(text) {
        Some(pattern) => ResourcePattern::Arn(pattern),
        None => ResourcePattern::Any,
    });
    let action: Vec<ActionPattern> = action.collect();
    (!action.is_empty()).then(|| Statement {
        sid: None,
        effect: Effect::Allow,
        principal: None,
        action: Scope::In(action),
        resource: Some(Scope::In(resource.collect())),
        conditions: Vec::new(),
    })
}

#[cfg(test)]
mod tests;

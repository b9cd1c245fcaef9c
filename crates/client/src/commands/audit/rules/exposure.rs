//! Buckets and functions that are open to anyone.

use kennel_iam::findings;
use kennel_iam::policy::{Document, Statement};

use super::policies;
use crate::commands::audit::facts::{Bucket, Facts, Function};
use crate::commands::audit::finding::{Finding, Fix, Severity};

pub(super) fn judge(facts: &Facts, all: &mut Vec<Finding>) {
    all.extend(facts.buckets.iter().filter_map(bucket));
    for function in &facts.functions {
        all.extend(invocable(function));
        urls(function, all);
    }
}

/// Statements that allow anybody something.
fn open(document: Option<&Document>) -> Vec<(usize, &Statement)> {
    let Some(document) = document else { return Vec::new() };
    let found = findings::resource(document);
    let statements = found.iter().flat_map(|f| f.statements.iter().copied());
    statements.filter_map(|index| Some((index, document.statements.get(index)?))).collect()
}

fn told((index, statement): (usize, &Statement)) -> String {
    format!("anyone, by {}", policies::told(index, statement))
}

/// Whether a statement is only for the function's address.
fn for_url(statement: &Statement) -> bool {
    let keys = ["lambda:functionurlauthtype", "lambda:invokedviafunctionurl"];
    statement.conditions.iter().any(|c| keys.contains(&c.key.to_ascii_lowercase().as_str()))
}

/// A public policy that nothing holds back.
fn bucket(bucket: &Bucket) -> Option<Finding> {
    if !bucket.public || bucket.restricted {
        return None;
    }
    let name = &bucket.name;
    let mut evidence = vec!["S3 calls its policy public (GetBucketPolicyStatus)".to_owned()];
    evidence.extend(open(bucket.policy.as_ref()).into_iter().map(told));
    evidence.push(match bucket.blocked {
        true => "its public access block refuses new public policies, not this one".to_owned(),
        false => "it has no public access block".to_owned(),
    });
    Some(Finding {
        id: "bucket-public",
        severity: Severity::High,
        resource: format!("arn:aws:s3:::{name}"),
        part: None,
        message: format!("bucket `{name}` is open to anyone"),
        evidence,
        fix: Fix::words("block public access, and name in the policy who needs the bucket").by([format!(
            "aws s3api put-public-access-block --bucket {name} --public-access-block-configuration BlockPublicAcls=true,IgnorePublicAcls=true,BlockPublicPolicy=true,RestrictPublicBuckets=true"
        )]),
        plan: None,
    })
}

/// A function that anybody may invoke.
fn invocable(function: &Function) -> Option<Finding> {
    let found: Vec<(usize, &Statement)> = open(function.policy.as_ref())
        .into_iter()
        .filter(|(_, s)| !for_url(s) && s.action.covers(|a| a.matches("lambda:InvokeFunction")))
        .collect();
    if found.is_empty() {
        return None;
    }
    let name = &function.name;
    let commands = found.iter().filter_map(|(_, s)| s.sid.as_ref()).map(|sid| {
        format!("aws lambda remove-permission --function-name {name} --statement-id {sid}")
    });
    Some(Finding {
        id: "function-public",
        severity: Severity::High,
        resource: function.arn.clone(),
        part: None,
        message: format!("function `{name}` can be invoked by anyone"),
        fix: Fix::words("take the permission away, and give it to those who need it (--principal, --source-account)")
            .by(commands),
        evidence: found.into_iter().map(told).collect(),
        plan: None,
    })
}

/// Addresses that ask nobody who they are.
fn urls(function: &Function, all: &mut Vec<Finding>) {
    let name = &function.name;
    let granted: Vec<String> = open(function.policy.as_ref())
        .into_iter()
        .filter(|(_, s)| s.action.covers(|a| a.matches("lambda:InvokeFunctionUrl")))
        .map(told)
        .collect();
    for (qualifier, _) in function.urls.iter().filter(|(_, auth)| *auth == "NONE") {
        let (of, flag) = match qualifier.as_str() {
            "" => (String::new(), String::new()),
            q => (format!(" (`{q}`)"), format!(" --qualifier {q}")),
        };
        let mut evidence = vec![format!("AuthType NONE{of}")];
        let (severity, message) = match granted.is_empty() {
            false => {
                evidence.extend(granted.iter().cloned());
                (
                    Severity::High,
                    format!("function `{name}` has an address{of} that anyone may call"),
                )
            }
            true => {
                evidence.push(
                    "its policy lets nobody call it, so that every call is refused".to_owned(),
                );
                (Severity::Info, format!("function `{name}` has an address{of} of AuthType NONE"))
            }
        };
        all.push(Finding {
            id: "function-url-public",
            severity,
            resource: function.arn.clone(),
            part: Some(qualifier.clone()).filter(|q| !q.is_empty()),
            message,
            evidence,
            fix: Fix::words("ask for signed requests, or leave it if the address is meant to be public").by([
                format!("aws lambda update-function-url-config --function-name {name}{flag} --auth-type AWS_IAM"),
            ]),
            plan: None,
        });
    }
}

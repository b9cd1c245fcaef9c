//! The evaluation table of `tests/cases`: each case runs through `decide` and `explain`, which must agree.
#![expect(clippy::unwrap_used, clippy::panic, reason = "this file is a test")]

use std::path::Path;

use kennel_iam::policy::{Document, Kind};
use kennel_iam::{
    Context, Outcome, Policies, Policy, PolicyType, Principal, Request, decide, explain,
};
use serde_json::{Value, json};

const ACCOUNT: &str = "123456789012";
const OTHER: &str = "210987654321";

#[test]
fn every_case() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let mut files: Vec<_> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let (mut count, mut wrong) = (0, Vec::new());
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        let table: Value = serde_json::from_str(&text).unwrap();
        for kind in ["conditions", "actions", "resources", "requests"] {
            for case in table[kind].as_array().into_iter().flatten() {
                count += 1;
                let name = case["name"].as_str().unwrap();
                assert!(case["source"].is_string() || table["source"].is_string(), "{name}");
                if let Err(why) = run(kind, case) {
                    wrong.push(format!("{} / {name}: {why}", file.display()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {count} cases:\n{}", wrong.len(), wrong.join("\n"));
    assert!(count >= 300, "only {count} cases were found");
}

fn run(kind: &str, case: &Value) -> Result<(), String> {
    match kind {
        "conditions" => condition(case),
        "actions" | "resources" => pattern(kind, case),
        _ => request(case, &principal(case["principal"].as_str().unwrap())),
    }
}

/// The condition stands in an allow, and in a deny beside an allow.
fn condition(case: &Value) -> Result<(), String> {
    let version = case["version"].as_str().unwrap_or("2012-10-17");
    let holds = case["holds"].as_bool().unwrap();
    let statement = |effect: &str, condition: &Value| {
        let mut statement = json!({"Effect": effect, "Action": "s3:GetObject", "Resource": "*"});
        // Identity policies must be of 2012, so older ones are the bucket's.
        statement["Principal"] = json!("*");
        if !condition.is_null() {
            statement["Condition"] = condition.clone();
        }
        statement
    };
    let allow = statement("Allow", &case["condition"]);
    let deny = statement("Deny", &case["condition"]);
    let everything = statement("Allow", &Value::Null);
    for (statements, held, failed) in [
        (json!([allow]), Outcome::Allowed, Outcome::ImplicitDeny),
        (json!([everything, deny]), Outcome::ExplicitDeny, Outcome::Allowed),
    ] {
        let document = json!({"Version": version, "Statement": statements});
        let policies = Policies {
            resource: Some(policy("bucket", PolicyType::Resource, &document)),
            ..Policies::default()
        };
        let context = context(case);
        let asked = Request {
            principal: Principal::Anonymous,
            action: "s3:GetObject",
            resource: "arn:aws:s3:::dogs/a.jpg",
            resource_account: ACCOUNT,
            context: &context,
        };
        let outcome = decided(&asked, &policies)?.0;
        let expected = if holds { held } else { failed };
        if outcome != expected {
            return Err(format!("{outcome:?} instead of {expected:?}"));
        }
    }
    Ok(())
}

fn pattern(kind: &str, case: &Value) -> Result<(), String> {
    let not = if case["not"].as_bool().unwrap_or(false) { "Not" } else { "" };
    let mut statement = json!({"Effect": "Allow"});
    let (mut asked, element) = match kind {
        "actions" => {
            statement["Resource"] = json!("*");
            (json!({"action": case["action"], "resource": "*"}), "Action")
        }
        _ => {
            statement["Action"] = json!("*");
            (json!({"action": "x:Do", "resource": case["resource"]}), "Resource")
        }
    };
    statement[format!("{not}{element}")] = case["patterns"].clone();
    let matches = case["matches"].as_bool().unwrap();
    asked["identity"] = json!([[statement]]);
    asked["context"] = case["context"].clone();
    asked["outcome"] = json!(if matches { "allowed" } else { "implicit_deny" });
    asked["by"] = json!("identity");
    request(&asked, &principal("ann"))
}

fn request(case: &Value, principal: &Principal<'_>) -> Result<(), String> {
    let mut context = Context::new();
    context.set_principal(*principal);
    fill(&mut context, case);
    let asked = Request {
        principal: *principal,
        action: case["action"].as_str().unwrap(),
        resource: case["resource"].as_str().unwrap(),
        resource_account: ACCOUNT,
        context: &context,
    };
    let many = |value: &Value, policy_type: PolicyType| -> Vec<Policy> {
        let documents = value.as_array().into_iter().flatten();
        documents.enumerate().map(|(n, d)| policy(&format!("p{n}"), policy_type, d)).collect()
    };
    let levels = |value: &Value, policy_type: PolicyType| -> Vec<Vec<Policy>> {
        value.as_array().into_iter().flatten().map(|level| many(level, policy_type)).collect()
    };
    let one = |value: &Value, policy_type: PolicyType| {
        (!value.is_null()).then(|| policy("p", policy_type, value))
    };
    let policies = Policies {
        identity: many(&case["identity"], PolicyType::Identity),
        boundary: one(&case["boundary"], PolicyType::Boundary),
        session: case["session"].is_array().then(|| many(&case["session"], PolicyType::Session)),
        resource: one(&case["resource_policy"], PolicyType::Resource),
        service_control: levels(&case["scp"], PolicyType::ServiceControl),
        resource_control: levels(&case["rcp"], PolicyType::ResourceControl),
    };
    let (outcome, by) = decided(&asked, &policies)?;
    let (outcome, by) = (json!(outcome), json!(by));
    if (&outcome, &by) != (&case["outcome"], &case["by"]) {
        return Err(format!("{outcome} by {by} instead of {} by {}", case["outcome"], case["by"]));
    }
    Ok(())
}

/// What both paths say, or that they disagree.
fn decided(
    request: &Request<'_>,
    policies: &Policies,
) -> Result<(Outcome, Option<PolicyType>), String> {
    let decision = decide(request, policies);
    let trace = explain(request, policies);
    if decision != trace.decision {
        return Err(format!("decide says {decision:?}, explain {:?}", trace.decision));
    }
    assert!(serde_json::to_string(&trace).is_ok() && !trace.to_string().is_empty());
    Ok((decision.outcome, decision.decided_by()))
}

/// A document, or the list of its statements.
fn policy(name: &str, policy_type: PolicyType, document: &Value) -> Policy {
    let kind = match policy_type {
        PolicyType::Resource | PolicyType::ResourceControl => Kind::Resource,
        _ => Kind::Identity,
    };
    let text = match document {
        Value::Array(statements) => json!({"Version": "2012-10-17", "Statement": statements}),
        document => document.clone(),
    };
    let document = Document::parse(&text.to_string(), kind).unwrap_or_else(|e| panic!("{e}"));
    Policy::new(name, policy_type, document)
}

fn context(case: &Value) -> Context {
    let mut context = Context::new();
    fill(&mut context, case);
    context
}

fn fill(context: &mut Context, case: &Value) {
    for (key, value) in case["context"].as_object().into_iter().flatten() {
        let values = match value {
            Value::Array(values) => values.iter().map(|v| v.as_str().unwrap().to_owned()).collect(),
            value => vec![value.as_str().unwrap().to_owned()],
        };
        context.set_many(key, values);
    }
}

fn principal(name: &str) -> Principal<'_> {
    match name {
        "root" => Principal::Root { account: ACCOUNT },
        "otherroot" => Principal::Root { account: OTHER },
        "ann" => Principal::User {
            account: ACCOUNT,
            arn: "arn:aws:iam::123456789012:user/team/ann",
            id: "AIDAEXAMPLEANN000",
            name: "ann",
        },
        "eve" => Principal::User {
            account: OTHER,
            arn: "arn:aws:iam::210987654321:user/eve",
            id: "AIDAEXAMPLEEVE000",
            name: "eve",
        },
        "dog" => Principal::Session {
            account: ACCOUNT,
            role_arn: "arn:aws:iam::123456789012:role/Dog",
            role_id: "AROAEXAMPLEDOG000",
            session_arn: "arn:aws:sts::123456789012:assumed-role/Dog/nb",
            session_name: "nb",
        },
        "fox" => Principal::Session {
            account: OTHER,
            role_arn: "arn:aws:iam::210987654321:role/Fox",
            role_id: "AROAEXAMPLEFOX000",
            session_arn: "arn:aws:sts::210987654321:assumed-role/Fox/nb",
            session_name: "nb",
        },
        "anonymous" => Principal::Anonymous,
        name => Principal::Service(name.strip_prefix("service:").unwrap()),
    }
}

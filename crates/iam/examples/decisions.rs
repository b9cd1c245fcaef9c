//! Decisions per second on one core, for a role with ten policies.
//!
//! `cargo run --release -p kennel-iam --example decisions [MANAGED_FOLDER]`; the folder holds AWS managed
//! policies as `get-policy-version` records them, by default the server's.

use std::error::Error;
use std::hint::black_box;
use std::path::Path;
use std::time::{Duration, Instant};

use kennel_iam::policy::{Document, Kind};
use kennel_iam::{Context, Policies, Policy, PolicyType, Principal, Request, decide, explain};

const NAMES: [&str; 7] = [
    "AmazonSageMakerFullAccess",
    "ReadOnlyAccess",
    "AWSLambdaBasicExecutionRole",
    "CloudWatchLogsFullAccess",
    "AmazonS3ReadOnlyAccess",
    "AmazonEC2ContainerRegistryFullAccess",
    "CloudWatchReadOnlyAccess",
];

const OWN: [&str; 3] = [
    r#"{"Effect":"Allow","Action":["sagemaker:InvokeEndpoint"],"Resource":"arn:aws:sagemaker:*:123456789012:endpoint/dogs-*"}"#,
    r#"{"Effect":"Allow","Action":"s3:*","Resource":["arn:aws:s3:::dogs","arn:aws:s3:::dogs/*"],"Condition":{"StringEquals":{"aws:PrincipalAccount":"123456789012"}}}"#,
    r#"{"Effect":"Deny","Action":"s3:Delete*","Resource":"*","Condition":{"StringNotLike":{"aws:userid":"*:admin"}}}"#,
];

fn main() -> Result<(), Box<dyn Error>> {
    let default = concat!(env!("CARGO_MANIFEST_DIR"), "/../server/src/iam/managed");
    let folder = std::env::args().nth(1).unwrap_or_else(|| default.to_owned());
    let mut identity = Vec::new();
    for name in NAMES {
        let text = std::fs::read_to_string(Path::new(&folder).join(format!("{name}.json")))?;
        let file: serde_json::Value = serde_json::from_str(&text)?;
        let document = Document::parse(&file["Document"].to_string(), Kind::Identity)?;
        identity.push(Policy::new(name, PolicyType::Identity, document));
    }
    for (number, statement) in OWN.iter().enumerate() {
        let text = format!(r#"{{"Version":"2012-10-17","Statement":{statement}}}"#);
        let document = Document::parse(&text, Kind::Identity)?;
        identity.push(Policy::new(format!("inline: {number}"), PolicyType::Identity, document));
    }
    let policies = Policies { identity, ..Policies::default() };
    println!("{} policies", policies.identity.len());
    let principal = Principal::Session {
        account: "123456789012",
        role_arn: "arn:aws:iam::123456789012:role/Dog",
        role_id: "AROAEXAMPLEDOG000",
        session_arn: "arn:aws:sts::123456789012:assumed-role/Dog/nb",
        session_name: "nb",
    };
    let mut context = Context::new();
    context.set_principal(principal);
    context.set("aws:SourceIp", "203.0.113.7").set("aws:SecureTransport", "true");
    context.set("aws:RequestedRegion", "us-east-1");
    let stars = hostile("*a?a", 110, "b*", 12)?;
    let runs = hostile("a", 980, "?b*", 6)?;
    let long = format!("arn:aws:s3:::{}", "a".repeat(1_987));
    for (name, action, resource, policies) in [
        (
            "allowed",
            "sagemaker:InvokeEndpoint",
            "arn:aws:sagemaker:us-east-1:123456789012:endpoint/dogs-1",
            &policies,
        ),
        ("implicit deny", "dynamodb:PutItem", "arn:aws:dynamodb:us-east-1:1:table/x", &policies),
        ("explicit deny", "s3:DeleteObject", "arn:aws:s3:::dogs/a.jpg", &policies),
        ("many stars", "s3:GetObject", long.as_str(), &stars),
        ("long runs", "s3:GetObject", long.as_str(), &runs),
    ] {
        let request = Request {
            principal,
            action,
            resource,
            resource_account: "123456789012",
            context: &context,
        };
        let outcome = decide(&request, policies).outcome.name();
        let fast = per_second(|| {
            black_box(decide(black_box(&request), black_box(policies)));
        });
        let slow = per_second(|| {
            black_box(explain(black_box(&request), black_box(policies)));
        });
        println!("{name:>14} ({outcome}): {fast:>10.0} decide/s, {slow:>8.0} explain/s");
    }
    Ok(())
}

/// The longest policy there may be, all wildcards, none of which match the resource.
fn hostile(unit: &str, repeat: usize, end: &str, count: usize) -> Result<Policies, Box<dyn Error>> {
    let pattern =
        |n: usize| format!(r#""arn:aws:s3:::*{}{}{end}""#, "a".repeat(n), unit.repeat(repeat));
    let patterns: Vec<String> = (0..count).map(pattern).collect();
    let text = format!(
        r#"{{"Version":"2012-10-17","Statement":{{"Effect":"Allow","Action":"*","Resource":[{}]}}}}"#,
        patterns.join(",")
    );
    assert!(text.len() <= kennel_iam::policy::limits::MANAGED);
    let document = Document::parse(&text, Kind::Identity)?;
    let identity = vec![Policy::new("hostile", PolicyType::Identity, document)];
    Ok(Policies { identity, ..Policies::default() })
}

/// The best of many short windows, so that other work on the machine counts little.
fn per_second(mut f: impl FnMut()) -> f64 {
    let mut best = 0.0_f64;
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(1) {
        let (window, mut count) = (Instant::now(), 0_u32);
        while window.elapsed() < Duration::from_millis(1) {
            (0..16).for_each(|_| f());
            count += 16;
        }
        best = best.max(f64::from(count) / window.elapsed().as_secs_f64());
    }
    best
}

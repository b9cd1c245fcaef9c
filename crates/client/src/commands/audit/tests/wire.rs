//! What is asked of AWS's APIs, and what becomes of answers and refusals.

use serde_json::json;

use super::{DAY, LIMITS, allow};
use crate::clock;
use crate::commands::audit::gather::{gather, memory_used};
use crate::commands::audit::{facts::Needed, rules};
use crate::commands::iam::least::TrailArguments;
use crate::commands::iam::tests::world::{ACCOUNT, World, event, trust};

const ENDPOINT: &str = "arn:aws:sagemaker:us-east-1:123456789012:endpoint/dogs";
const FULL: &str = "arn:aws:iam::aws:policy/AmazonSageMakerFullAccess";

/// The course's function with more than it needs, an idle endpoint, and an open bucket.
fn course() -> World {
    let mut world = World::default();
    let policy = |statement| json!({ "Version": "2012-10-17", "Statement": [statement] });
    world.managed.insert(FULL.into(), policy(allow("sagemaker:*", "*")));
    world.role("f", trust(json!({ "Service": "lambda.amazonaws.com" })));
    world.role_mut("f").attached = vec![FULL.into()];
    let now = clock::epoch_millis() / 1000;
    world.role_mut("f").last_used = Some(clock::iso(now - 60));
    world.generated.insert("f".into(), vec![policy(allow("sagemaker:InvokeEndpoint", ENDPOINT))]);
    let open = json!({ "Effect": "Allow", "Principal": "*", "Action": "s3:GetObject",
        "Resource": "arn:aws:s3:::open/*" });
    world.buckets = vec![("open".into(), Some(policy(open))), ("shut".into(), None)];
    let mut root = event("req-1", "CreateBucket", "f");
    root["userIdentity"] = json!({ "type": "Root", "arn": format!("arn:aws:iam::{ACCOUNT}:root") });
    root["eventSource"] = "s3.amazonaws.com".into();
    let mut read = root.clone();
    read["readOnly"] = true.into();
    world.events = vec![root, read];
    let report = |used: u64| json!({ "message": format!("REPORT RequestId: 8f5b\tDuration: 1.23 ms\tBilled Duration: 2 ms\tMemory Size: 1024 MB\tMax Memory Used: {used} MB\t") });
    let events: Vec<_> = (60..70).map(report).collect();
    for (name, answer) in [
        ("FilterLogEvents", json!({ "events": events })),
        ("ListEndpoints", json!({ "Endpoints": [{ "EndpointName": "dogs" }] })),
        (
            "DescribeEndpoint",
            json!({ "EndpointName": "dogs", "EndpointArn": ENDPOINT, "EndpointConfigName": "c",
                "EndpointStatus": "InService", "CreationTime": now - 3 * DAY,
                "ProductionVariants": [{ "VariantName": "v", "CurrentInstanceCount": 1 }] }),
        ),
        (
            "DescribeEndpointConfig",
            json!({ "ProductionVariants": [{ "VariantName": "v", "InstanceType": "ml.m5.large" }] }),
        ),
        (
            "GetMetricStatistics",
            json!({ "Datapoints": [
                { "Timestamp": now - 60 * 3600, "Sum": 4.0 },
                { "Timestamp": now - 3600, "Sum": 0.0 },
            ] }),
        ),
        (
            "/2015-03-31/functions",
            json!({ "Functions": [{ "FunctionName": "f", "MemorySize": 1024,
                "FunctionArn": format!("arn:aws:lambda:us-east-1:{ACCOUNT}:function:f"),
                "Role": format!("arn:aws:iam::{ACCOUNT}:role/f") }] }),
        ),
        (
            "/2021-10-31/functions/f/urls",
            json!({ "FunctionUrlConfigs": [{ "AuthType": "NONE",
                "FunctionArn": format!("arn:aws:lambda:us-east-1:{ACCOUNT}:function:f:live") }] }),
        ),
    ] {
        world.more.insert(name.into(), answer);
    }
    world
}

#[test]
fn everything_is_asked_for_and_judged() {
    let server = course().start();
    let facts = gather(&server.client(), LIMITS, &TrailArguments::default()).unwrap();
    assert_eq!(facts.notes, [""; 0]);
    let role = &facts.roles[0];
    assert_eq!(role.used_by, ["function f"]);
    assert!(
        matches!(&role.needed, Needed::Policy(policy, _) if policy["Statement"][0]["Resource"] == ENDPOINT)
    );
    let found: Vec<_> =
        rules::judge(&facts, LIMITS).iter().map(|f| (f.id, f.severity.word())).collect();
    assert_eq!(
        found,
        [
            ("bucket-public", "high"),
            ("full-access", "high"),
            ("endpoint-idle", "medium"),
            ("function-memory", "low"),
            ("root-key-used", "low"),
            ("function-url-public", "info"),
        ]
    );
    assert_eq!((facts.functions[0].reports, facts.functions[0].used), (10, 69));
    assert_eq!(facts.root.calls, 1, "what only reads does not count here");
    let at = facts.endpoints[0].last_invoked.unwrap();
    assert!((facts.now - 60 * 3600 - at).abs() < 60);
    let seen = server.seen();
    let metric = seen.iter().find(|s| {
        s.header("x-amz-target") == Some("GraniteServiceVersion20100801.GetMetricStatistics")
    });
    assert_eq!(metric.unwrap().header("content-type"), Some("application/x-amz-json-1.0"));
}

#[test]
fn what_may_not_be_looked_at_is_a_note() {
    let mut world = course();
    world.refused = ["ListRoles", "FilterLogEvents", "LookupEvents"].map(String::from).to_vec();
    let facts = gather(&world.start().client(), LIMITS, &TrailArguments::default()).unwrap();
    let [first, second, third] = facts.notes.as_slice() else { panic!("{:?}", facts.notes) };
    assert!(first.starts_with("could not look at roles: iam:ListRoles"), "{first}");
    assert!(second.starts_with("could not look at what the root did"), "{second}");
    assert!(third.starts_with("could not look at the log of function `f`"), "{third}");
    let found: Vec<_> = rules::judge(&facts, LIMITS).iter().map(|f| f.id).collect();
    assert_eq!(found, ["bucket-public", "endpoint-idle", "function-url-public"]);
}

#[test]
fn nobody_at_home_is_an_error() {
    let server = course().start();
    let mut target = server.client().target().clone();
    target.endpoint = Some("http://127.0.0.1:1".into());
    let client = crate::client::Client::new(target);
    assert!(gather(&client, LIMITS, &TrailArguments::default()).is_err());
}

#[test]
fn memory_is_read_from_reports_alone() {
    let line = "REPORT RequestId: 8f5b\tMemory Size: 128 MB\tMax Memory Used: 41 MB\t";
    assert_eq!(memory_used(line), Some(41));
    for other in
        ["REPORT of mine", "I REPORT Max Memory Used: 41 MB", "REPORT Max Memory Used: x MB"]
    {
        assert_eq!(memory_used(other), None, "{other}");
    }
}

//! Every kind of finding: it is there when something is wrong, and not when the same thing is as it should be.

mod wire;

use clap::Parser;
use kennel_iam::policy::{Document, Kind as PolicyKind};
use serde_json::{Value, json};

use super::facts::{Bucket, Endpoint, Function, Instances, Key, Needed, Role, User};
use super::*;
use crate::commands::iam::event::RootUse;
use crate::commands::iam::principals::{Attached, Entity, Kind, Origin};

const ACCOUNT: &str = "123456789012";
/// What is found: ids and severities.
type Expected<'a> = &'a [(&'a str, Severity)];

const NOW: i64 = 1_795_261_521;
const DAY: i64 = 86_400;
const LIMITS: Limits = Limits { days: 90, idle_hours: 24 };
const ENDPOINT: &str = "arn:aws:sagemaker:us-east-1:123456789012:endpoint/dogs";
const FULL: &str = "arn:aws:iam::aws:policy/AmazonSageMakerFullAccess";

#[derive(Debug, Parser)]
struct Cli {
    #[command(flatten)]
    audit: Arguments,
}

fn parsed(statements: &[Value], kind: PolicyKind) -> Document {
    let policy = json!({ "Version": "2012-10-17", "Statement": statements });
    Document::parse(&policy.to_string(), kind).unwrap()
}

fn allow(action: &str, resource: &str) -> Value {
    json!({ "Effect": "Allow", "Action": action, "Resource": resource })
}

fn entity(kind: Kind, name: &str) -> Entity {
    Entity {
        kind,
        name: name.into(),
        id: "AROAX".into(),
        arn: format!("arn:aws:iam::{ACCOUNT}:{}/{name}", kind.word()),
        created: Some(NOW - 10 * DAY),
        last_used: Some(NOW - DAY),
        trust: None,
        policies: Vec::new(),
        boundary: None,
        tags: Vec::new(),
        groups: Vec::new(),
    }
}

fn trust(principal: Value, condition: Option<Value>) -> Document {
    let mut statement =
        json!({ "Effect": "Allow", "Principal": principal, "Action": "sts:AssumeRole" });
    if let Some(condition) = condition {
        statement["Condition"] = condition;
    }
    parsed(&[statement], PolicyKind::Trust)
}

/// A role of a function that is there, used yesterday, and may do just what it has needed.
fn role() -> Role {
    let needed = json!({ "Version": "2012-10-17",
        "Statement": [allow("sagemaker:InvokeEndpoint", ENDPOINT)] });
    let document = Document::parse(&needed.to_string(), PolicyKind::Identity).unwrap();
    let mut entity = entity(Kind::Role, "f");
    entity.trust = Some(trust(json!({ "Service": "lambda.amazonaws.com" }), None));
    entity.policies =
        vec![Attached { origin: Origin::Inline("invoke".into()), document: document.clone() }];
    Role { entity, used_by: vec!["function f".into()], needed: Needed::Policy(needed, document) }
}

fn with(statements: &[Value]) -> Role {
    let mut role = role();
    let document = parsed(statements, PolicyKind::Identity);
    role.entity.policies = vec![Attached { origin: Origin::Managed(FULL.into()), document }];
    role
}

fn function() -> Function {
    Function {
        name: "f".into(),
        arn: format!("arn:aws:lambda:us-east-1:{ACCOUNT}:function:f"),
        role: format!("arn:aws:iam::{ACCOUNT}:role/f"),
        memory: 256,
        policy: None,
        urls: BTreeMap::from([(String::new(), "AWS_IAM".into())]),
        reports: 20,
        used: 200,
    }
}

fn endpoint() -> Endpoint {
    Endpoint {
        name: "dogs".into(),
        arn: ENDPOINT.into(),
        status: "InService".into(),
        created: Some(NOW - 10 * DAY),
        changed: Some(NOW - 10 * DAY),
        instances: vec![Instances { variant: "v".into(), kind: "ml.m5.large".into(), count: 2 }],
        last_invoked: Some(NOW - 3600),
        since: NOW - 14 * DAY,
    }
}

fn user() -> User {
    let key = Key {
        id: "AKIA1".into(),
        active: true,
        created: Some(NOW - 30 * DAY),
        last_used: Some(NOW - DAY),
        service: Some("s3".into()),
    };
    User { entity: entity(Kind::User, "u"), keys: vec![key], needed: Needed::Unknown }
}

fn bucket() -> Bucket {
    let (public, restricted, blocked) = (false, true, true);
    Bucket { name: "b".into(), public, policy: None, restricted, blocked }
}

/// An account in which all is well.
fn healthy() -> Facts {
    Facts {
        account: ACCOUNT.into(),
        now: NOW,
        local: false,
        roles: vec![role()],
        users: vec![user()],
        root: RootUse::default(),
        buckets: vec![bucket()],
        functions: vec![function()],
        endpoints: vec![endpoint()],
        notes: Vec::new(),
    }
}

fn found(change: impl FnOnce(&mut Facts)) -> Vec<(&'static str, Severity)> {
    let mut facts = healthy();
    change(&mut facts);
    rules::judge(&facts, LIMITS).iter().map(|f| (f.id, f.severity)).collect()
}

#[test]
fn a_healthy_account_has_no_findings() {
    assert_eq!(found(|_| ()), []);
}

#[test]
fn policies_that_are_too_wide_are_found_and_their_narrower_twins_not() {
    use Severity::{High, Medium};
    let invoke = || allow("sagemaker:InvokeEndpoint", ENDPOINT);
    let cases: [(&str, Vec<Value>, Expected<'_>); 9] = [
        (
            "admin",
            vec![allow("*", "*")],
            &[("full-access", High), ("function-permissions", Medium)],
        ),
        ("a service", vec![allow("sagemaker:*", "*")], &[("full-access", High)]),
        (
            "a service on all but some",
            vec![
                json!({ "Effect": "Allow", "Action": "sagemaker:*", "NotResource": "arn:aws:sagemaker:*:*:domain/*" }),
            ],
            &[("full-access", High)],
        ),
        (
            "a service under a condition",
            vec![json!({ "Effect": "Allow", "Action": "sagemaker:*", "Resource": "*",
                "Condition": { "StringEquals": { "aws:PrincipalTag/team": "x" } } })],
            &[("full-access", Medium)],
        ),
        ("all actions on one", vec![allow("sagemaker:*", ENDPOINT)], &[]),
        ("reading", vec![invoke(), allow("sagemaker:Describe*", "*")], &[]),
        (
            "not action",
            vec![json!({ "Effect": "Allow", "NotAction": "iam:*", "Resource": "*" })],
            &[("not-action-allow", High), ("function-permissions", Medium)],
        ),
        (
            "any role",
            vec![invoke(), allow("iam:PassRole", "*")],
            &[("pass-role-any", High), ("function-permissions", Medium)],
        ),
        (
            "any role to one service",
            vec![
                invoke(),
                json!({ "Effect": "Allow", "Action": "iam:PassRole", "Resource": "*",
                "Condition": { "StringEquals": { "iam:PassedToService": "lambda.amazonaws.com" } } }),
            ],
            &[("function-permissions", Medium)],
        ),
    ];
    for (name, statements, expected) in cases {
        assert_eq!(found(|f| f.roles = vec![with(&statements)]), expected, "{name}");
    }
    let users = |action: &str| {
        let document = parsed(&[allow(action, "*")], PolicyKind::Identity);
        move |f: &mut Facts| {
            let origin = Origin::Inline("p".into());
            f.users[0].entity.policies = vec![Attached { origin, document }];
        }
    };
    assert_eq!(found(users("*")), [("full-access", High)]);
    assert_eq!(found(users("s3:GetObject")), []);
}

#[test]
fn the_fix_is_the_policy_that_was_needed() {
    let mut facts = healthy();
    facts.roles = vec![with(&[allow("sagemaker:*", "*"), allow("s3:*", "*")])];
    let all = rules::judge(&facts, LIMITS);
    let full = all.iter().find(|f| f.id == "full-access").unwrap();
    let policy = full.fix.policy.as_ref().unwrap();
    assert_eq!(policy["Statement"], json!([allow("sagemaker:InvokeEndpoint", ENDPOINT)]));
    assert!(full.fix.automatic && full.fix.commands[0].starts_with("aws iam put-role-policy"));
    assert!(
        full.fix.commands[1]
            .contains(&format!("detach-role-policy --role-name f --policy-arn {FULL}"))
    );
    // Without a record there is nothing to derive from, and nothing is done.
    facts.roles[0].needed = Needed::Nothing;
    let all = rules::judge(&facts, LIMITS);
    assert!(!all.is_empty() && all.iter().all(|f| f.plan.is_none() && !f.fix.automatic));
    assert!(all[0].fix.what.contains("nothing is recorded that role `f` did in 90 days"));
    // What denies too stays, and so its fix is by hand.
    let deny = json!({ "Effect": "Deny", "Action": "iam:*", "Resource": "*" });
    facts.roles = vec![with(&[allow("sagemaker:*", "*"), deny])];
    let all = rules::judge(&facts, LIMITS);
    assert!(all.iter().all(|f| f.id == "full-access" && !f.fix.automatic), "{all:?}");
}

#[test]
fn users_are_narrowed_too() {
    let mut facts = healthy();
    let Needed::Policy(policy, parsed) = role().needed else { panic!() };
    let wide = super::tests::parsed(&[allow("*", "*")], PolicyKind::Identity);
    let user = &mut facts.users[0];
    user.entity.policies = vec![Attached { origin: Origin::Inline("all".into()), document: wide }];
    user.needed = Needed::Policy(policy, parsed);
    let found = &rules::judge(&facts, LIMITS)[0];
    assert!(found.fix.automatic, "{found:?}");
    let [put, delete] = found.fix.commands.as_slice() else { panic!("{found:?}") };
    assert!(put.starts_with("aws iam put-user-policy --user-name u --policy-name kennel-least"));
    assert_eq!(delete, "aws iam delete-user-policy --user-name u --policy-name all");
}

#[test]
fn trust_that_is_open_is_found() {
    let open = |principal: Value, condition: Option<Value>| {
        found(|f| f.roles[0].entity.trust = Some(trust(principal, condition)))
    };
    let external = json!({ "StringEquals": { "sts:ExternalId": "x" } });
    let weak = json!({ "StringLike": { "aws:UserAgent": "*" } });
    assert_eq!(open(json!("*"), None), [("trust-open", Severity::High)]);
    assert_eq!(open(json!({ "AWS": "*" }), Some(weak)), [("trust-open", Severity::Medium)]);
    assert_eq!(open(json!({ "AWS": "*" }), Some(external)), []);
    assert_eq!(open(json!({ "AWS": ACCOUNT }), None), []);
    let mut facts = healthy();
    facts.roles[0].entity.trust = Some(trust(json!("*"), None));
    let narrower = rules::judge(&facts, LIMITS)[0].fix.policy.clone().unwrap();
    assert_eq!(narrower["Statement"][0]["Principal"]["AWS"], json!([ACCOUNT]));
}

#[test]
fn roles_that_nobody_uses_are_found() {
    use Severity::{Low, Medium};
    let cases: [(&str, Option<i64>, i64, bool, Expected<'_>); 7] = [
        ("in use", Some(1), 200, true, &[]),
        ("orphaned", Some(1), 200, false, &[("role-orphaned", Medium)]),
        ("stale", Some(91), 200, true, &[("role-unused", Low)]),
        ("never used", None, 91, false, &[("role-unused", Medium)]),
        ("never used, of a function", None, 91, true, &[("role-unused", Low)]),
        ("new", None, 89, false, &[]),
        ("used just within the time", Some(89), 200, true, &[]),
    ];
    for (name, used, age, referred, expected) in cases {
        let found = found(|f| {
            let role = &mut f.roles[0];
            role.needed = Needed::Unknown;
            role.entity.last_used = used.map(|days| NOW - days * DAY);
            role.entity.created = Some(NOW - age * DAY);
            if !referred {
                role.used_by.clear();
            }
        });
        assert_eq!(found, expected, "{name}");
    }
    // What is on record is use, though RoleLastUsed does not tell it yet.
    let found = found(|f| {
        f.roles[0].entity.last_used = None;
        f.roles[0].entity.created = Some(NOW - 200 * DAY);
    });
    assert_eq!(found, []);
}

#[test]
fn roles_that_people_take_have_no_function_to_lose() {
    let found = found(|f| {
        f.roles[0].entity.trust = Some(trust(json!({ "AWS": ACCOUNT }), None));
        f.roles[0].used_by.clear();
    });
    assert_eq!(found, []);
}

#[test]
fn keys_that_are_old_or_unused_are_found() {
    let cases: [(bool, i64, Option<i64>, &[&str]); 6] = [
        (true, 30, Some(1), &[]),
        (true, 91, Some(1), &["key-old"]),
        (true, 200, Some(91), &["key-unused"]),
        (true, 91, None, &["key-unused"]),
        (true, 30, None, &[]),
        (false, 200, None, &[]),
    ];
    for (active, age, used, expected) in cases {
        let found = found(|f| {
            let key = &mut f.users[0].keys[0];
            key.active = active;
            key.created = Some(NOW - age * DAY);
            key.last_used = used.map(|days| NOW - days * DAY);
        });
        let ids: Vec<&str> = found.iter().map(|f| f.0).collect();
        assert_eq!(ids, expected, "{active} {age} {used:?}");
    }
}

#[test]
fn the_roots_calls_are_found() {
    let used = |local: bool| {
        found(|f| {
            f.local = local;
            f.root = RootUse {
                calls: 3,
                more: false,
                last: Some(NOW - 60),
                actions: vec!["s3:CreateBucket".into()],
            };
        })
    };
    assert_eq!(used(false), [("root-key-used", Severity::High)]);
    assert_eq!(used(true), [("root-key-used", Severity::Low)]);
}

#[test]
fn buckets_and_functions_that_are_open_are_found() {
    use Severity::{High, Info};
    let anyone = |action: &str, condition: Option<Value>| {
        let mut statement = json!({ "Sid": "open", "Effect": "Allow", "Principal": "*",
            "Action": action, "Resource": "*" });
        if let Some(condition) = condition {
            statement["Condition"] = condition;
        }
        Some(parsed(&[statement], PolicyKind::Resource))
    };
    let of_bucket = |public, restricted| {
        let policy = anyone("s3:GetObject", None);
        found(|f| f.buckets[0] = Bucket { public, restricted, policy, blocked: false, ..bucket() })
    };
    assert_eq!(of_bucket(true, false), [("bucket-public", High)]);
    assert_eq!(of_bucket(true, true), []);
    assert_eq!(of_bucket(false, false), []);

    let invoke = "lambda:InvokeFunction";
    let ours = json!({ "StringEquals": { "aws:SourceAccount": ACCOUNT } });
    let by_url = json!({ "Bool": { "lambda:InvokedViaFunctionUrl": "true" } });
    assert_eq!(
        found(|f| f.functions[0].policy = anyone(invoke, None)),
        [("function-public", High)]
    );
    assert_eq!(found(|f| f.functions[0].policy = anyone(invoke, Some(ours))), []);
    assert_eq!(found(|f| f.functions[0].policy = anyone(invoke, Some(by_url))), []);

    let none = json!({ "StringEquals": { "lambda:FunctionUrlAuthType": "NONE" } });
    let url = |auth: &str, policy: Option<Document>| {
        found(|f| {
            f.functions[0].urls = BTreeMap::from([("live".into(), auth.into())]);
            f.functions[0].policy = policy;
        })
    };
    let granted = || anyone("lambda:InvokeFunctionUrl", Some(none.clone()));
    assert_eq!(url("NONE", granted()), [("function-url-public", High)]);
    assert_eq!(url("NONE", None), [("function-url-public", Info)]);
    assert_eq!(url("AWS_IAM", granted()), []);
}

#[test]
fn functions_with_more_than_they_used_are_found() {
    let memory = |memory, used, reports| {
        found(|f| f.functions[0] = Function { memory, used, reports, ..function() })
    };
    assert_eq!(memory(512, 100, 5), [("function-memory", Severity::Low)]);
    assert_eq!(memory(512, 100, 4), [], "too few calls to judge");
    assert_eq!(memory(512, 256, 50), [], "half is used");
    assert_eq!(memory(128, 20, 50), [], "there is no less");
    let unused = with(&[allow("sagemaker:InvokeEndpoint", ENDPOINT), allow("s3:GetObject", "*")]);
    let found_one = found(|f| f.roles = vec![unused.clone()]);
    assert_eq!(found_one, [("function-permissions", Severity::Medium)]);
    let logs =
        with(&[allow("sagemaker:InvokeEndpoint", ENDPOINT), allow("logs:PutLogEvents", "*")]);
    assert_eq!(found(|f| f.roles = vec![logs]), [], "no record shows who writes logs");
    let mut unknown = unused.clone();
    unknown.needed = Needed::Nothing;
    assert_eq!(found(|f| f.roles = vec![unknown.clone()]), [], "it is new");
    unknown.entity.created = Some(NOW - 100 * DAY);
    let ids = found(|f| f.roles = vec![unknown]);
    assert_eq!(ids, [("function-permissions", Severity::Medium)]);
}

#[test]
fn endpoints_that_idle_are_found() {
    let idle = |change: fn(&mut Endpoint)| found(|f| change(&mut f.endpoints[0]));
    let medium = [("endpoint-idle", Severity::Medium)];
    assert_eq!(idle(|e| e.last_invoked = Some(NOW - 26 * 3600)), medium);
    assert_eq!(idle(|e| e.last_invoked = None), medium);
    assert_eq!(idle(|e| e.last_invoked = Some(NOW - 20 * 3600)), []);
    assert_eq!(
        idle(|e| {
            e.last_invoked = None;
            e.changed = Some(NOW - 3600);
        }),
        [],
        "it was changed an hour ago"
    );
    assert_eq!(
        idle(|e| {
            e.last_invoked = None;
            e.instances.clear();
        }),
        [],
        "serverless"
    );
    let mut facts = healthy();
    facts.endpoints[0].last_invoked = Some(NOW - 101 * 3600);
    let evidence = rules::judge(&facts, LIMITS)[0].evidence.join("\n");
    assert!(evidence.contains("variant v: 2 × ml.m5.large × 100 hours = 200 instance hours"));
}

/// One of several severities.
fn several() -> Vec<Finding> {
    let mut facts = healthy();
    facts.roles = vec![with(&[allow("sagemaker:*", "*")])];
    facts.functions[0].memory = 1024;
    facts.endpoints[0].last_invoked = None;
    rules::judge(&facts, LIMITS)
}

#[test]
fn people_get_a_table_and_each_finding_with_its_fix() {
    insta::assert_snapshot!(shown::all(&several()));
    assert_eq!(shown::all(&[]), "nothing found");
}

#[test]
fn code_scanning_gets_sarif() {
    let log = sarif::log(&several(), &["could not look at users: no".to_owned()]).unwrap();
    let run = &log["runs"][0];
    let rules = run["tool"]["driver"]["rules"].as_array().unwrap();
    assert_eq!(rules.len(), RULES.len());
    for result in run["results"].as_array().unwrap() {
        let index = usize::try_from(result["ruleIndex"].as_u64().unwrap()).unwrap();
        assert_eq!(rules[index]["id"], result["ruleId"]);
        assert!(result["message"]["text"].as_str().is_some_and(|t| !t.is_empty()));
        assert!(["error", "warning", "note"].contains(&result["level"].as_str().unwrap()));
    }
    let mut brief = log.clone();
    brief["runs"][0]["tool"]["driver"]["version"] = "x.y.z".into();
    brief["runs"][0]["tool"]["driver"]["rules"].as_array_mut().unwrap().truncate(1);
    insta::assert_snapshot!(serde_json::to_string_pretty(&brief).unwrap());
}

#[test]
fn rules_are_sorted_and_every_finding_has_one() {
    assert!(RULES.windows(2).all(|pair| pair[0].id < pair[1].id));
    for finding in several() {
        assert!(RULES.iter().any(|rule| rule.id == finding.id), "{}", finding.id);
    }
}

#[test]
fn the_exit_code_says_how_bad_it_is() {
    let all = several();
    assert!(failure(&all, FailOn::High).is_err());
    assert!(failure(&all, FailOn::None).is_ok());
    let low: Vec<Finding> = all.into_iter().filter(|f| f.severity == Severity::Low).collect();
    assert!(failure(&low, FailOn::High).is_ok() && failure(&low, FailOn::Medium).is_ok());
    let error = failure(&low, FailOn::Low).unwrap_err();
    assert_eq!(error.to_string(), "1 finding of severity low or worse");
    assert_eq!(kennel_base::ErrorCoded::code(&error).exit_code(), 1);
}

#[test]
fn command_lines_that_make_no_sense_are_refused() {
    let parse =
        |words: &str| Cli::try_parse_from(std::iter::once("audit").chain(words.split_whitespace()));
    assert_eq!(parse("--only full-access,key-old").unwrap().audit.only.len(), 2);
    for bad in [
        "--only nonsense",
        "--days 400",
        "--json --sarif",
        "--yes",
        "--fix --json",
        "--fail-on info",
    ] {
        assert!(parse(bad).is_err(), "{bad}");
    }
}

//! What the commands ask AWS's APIs and say about the answers, against a small world.

pub(in crate::commands) mod world;

use clap::Parser;
use kennel_iam::policy::{Document, Kind as PolicyKind};
use serde_json::{Value, json};

use self::world::{ACCOUNT, World, event};
use super::explain::{self, Explain, Explained};
use super::least::{Generator, TrailArguments};
use super::narrow::{NAME, Plan};
use super::principals::{Kind, Reader};
use crate::client::Client;
use crate::error::ClientError;

const ENDPOINT: &str = "arn:aws:sagemaker:us-east-1:123456789012:endpoint/dogs";

#[derive(Debug, Parser)]
struct Cli {
    #[command(flatten)]
    explain: Explain,
}

fn ask(client: &Client, arguments: &str) -> Result<Explained, ClientError> {
    let words = std::iter::once("explain").chain(arguments.split_whitespace());
    explain::explain(client, &Cli::try_parse_from(words).unwrap().explain)
}

fn lambda() -> Value {
    world::trust(json!({ "Service": "lambda.amazonaws.com" }))
}

fn allow(action: &str, resource: &str) -> Value {
    json!({ "Effect": "Allow", "Action": action, "Resource": resource })
}

fn policy(statements: &[Value]) -> Value {
    json!({ "Version": "2012-10-17", "Statement": statements })
}

fn denied(role: &str) -> Value {
    let mut event = event("req-1", "InvokeEndpoint", role);
    event["errorCode"] = "AccessDeniedException".into();
    event["errorMessage"] = "no identity-based policy allows it".into();
    event["additionalEventData"]["needs"] =
        json!([{ "action": "sagemaker:InvokeEndpoint", "resource": ENDPOINT, "allowed": false }]);
    event
}

#[test]
fn a_refusal_gets_the_statement_that_would_allow_it() {
    let mut world = World::default();
    world.role("f", lambda()).inline("f", "logs", policy(&[allow("logs:*", "*")]));
    world.events = vec![event("req-2", "ListModels", "f"), denied("f")];
    let server = world.start();
    for arguments in ["req-1", "", "--last-denied", "--last-denied --principal f"] {
        let found = ask(&server.client(), arguments).unwrap();
        let [answer] = found.answers.as_slice() else { panic!("{found:?}") };
        assert!(!answer.advice.allowed);
        let [step] = answer.advice.steps.as_slice() else { panic!("{answer:?}") };
        assert_eq!(step.statement, Some(allow("sagemaker:InvokeEndpoint", ENDPOINT)));
        let command = step.command.as_deref().unwrap();
        assert!(command.starts_with("aws iam put-role-policy --role-name f --policy-name allow-sagemaker-InvokeEndpoint --policy-document '{"), "{command}");
    }
    let found = ask(&server.client(), "req-1").unwrap();
    insta::assert_snapshot!(explain::shown(&found));
    let json = explain::as_json(&found);
    assert_eq!(json["decisions"][0]["trace"]["decision"]["outcome"], "implicit_deny");
    assert_eq!(json["event"]["who"]["type"], "AssumedRole");
}

#[test]
fn who_has_no_refusals_is_told_so() {
    let mut world = World::default();
    world.role("f", lambda()).role("g", lambda());
    world.events = vec![denied("f")];
    let server = world.start();
    let error = ask(&server.client(), "--last-denied --principal g").unwrap_err();
    assert!(
        error
            .to_string()
            .contains("no call of `arn:aws:iam::123456789012:role/g` among the newest"),
        "{error}"
    );
    let error = ask(&server.client(), "req-9").unwrap_err();
    assert!(error.to_string().contains("no recorded call has the id `req-9`"), "{error}");
    let error = ask(&server.client(), "--principal nobody --action s3:GetObject").unwrap_err();
    assert!(error.to_string().contains("no role and no user `nobody`"), "{error}");
}

#[test]
fn policies_that_changed_since_are_noticed() {
    let mut world = World::default();
    let now = policy(&[allow("sagemaker:InvokeEndpoint", ENDPOINT)]);
    world.role("f", lambda()).inline("f", "invoke", now);
    world.events = vec![denied("f")];
    let found = ask(&world.start().client(), "req-1").unwrap();
    assert!(found.answers[0].advice.allowed && found.answers[0].advice.steps.is_empty());
    let words = "sagemaker:InvokeEndpoint was denied then and would be allowed now";
    assert!(found.notes.iter().any(|n| n.contains(words)), "{:?}", found.notes);
    // A session policy is another cause, which nobody can fetch.
    let mut narrowed = denied("f");
    narrowed["errorMessage"] = "no session policy allows it".into();
    let mut world = World::default();
    let now = policy(&[allow("sagemaker:InvokeEndpoint", ENDPOINT)]);
    world.role("f", lambda()).inline("f", "invoke", now);
    world.events = vec![narrowed];
    let found = ask(&world.start().client(), "req-1").unwrap();
    let words = "refused for a session policy";
    assert!(found.notes.iter().any(|n| n.contains(words)), "{:?}", found.notes);
}

#[test]
fn every_policy_that_is_missing_is_a_step() {
    let mut world = World::default();
    let boundary = format!("arn:aws:iam::{ACCOUNT}:policy/limit");
    world.managed.insert(boundary.clone(), policy(&[allow("s3:*", "*")]));
    world.role("f", lambda()).role_mut("f").boundary = Some(boundary.clone());
    let question = format!("--principal f --action sagemaker:InvokeEndpoint --resource {ENDPOINT}");
    let found = ask(&world.start().client(), &question).unwrap();
    let [first, second] = found.answers[0].advice.steps.as_slice() else { panic!("{found:?}") };
    assert!(first.command.is_some());
    assert!(second.what.contains(&boundary) && second.command.is_none(), "{second:?}");
}

#[test]
fn an_explicit_deny_is_named_and_no_allow_is_proposed() {
    let mut world = World::default();
    let deny = json!({
        "Sid": "OnlyHome", "Effect": "Deny", "Action": "*", "Resource": "*",
        "Condition": { "NotIpAddress": { "aws:SourceIp": "10.0.0.0/8" } },
    });
    world.role("f", lambda()).inline("f", "p", policy(&[allow("s3:*", "*"), deny]));
    let server = world.start();
    let question = "--principal f --action s3:ListBucket --resource arn:aws:s3:::dogs";
    let away =
        ask(&server.client(), &format!("{question} --context aws:SourceIp=192.0.2.1")).unwrap();
    let [step] = away.answers[0].advice.steps.as_slice() else { panic!("{away:?}") };
    assert!(step.what.contains("`OnlyHome` of inline: p") && step.statement.is_none(), "{step:?}");
    let home =
        ask(&server.client(), &format!("{question} --context aws:SourceIp=10.1.2.3")).unwrap();
    assert!(home.answers[0].advice.allowed);
}

#[test]
fn the_policies_of_resources_count() {
    let mut world = World::default();
    let own = format!("arn:aws:iam::{ACCOUNT}:role/f");
    let bucket = policy(&[json!({
        "Effect": "Allow", "Principal": { "AWS": own }, "Action": "s3:GetObject",
        "Resource": "arn:aws:s3:::dogs/*",
    })]);
    world.role("f", lambda()).buckets.push(("dogs".into(), Some(bucket)));
    let server = world.start();
    let question = "--principal f --action s3:GetObject --resource arn:aws:s3:::dogs/a.jpg";
    let found = ask(&server.client(), question).unwrap();
    assert!(found.answers[0].advice.allowed, "{found:?}");
    // Another account's resource needs a policy of its own.
    let theirs = ENDPOINT.replace(ACCOUNT, "999999999999");
    let question = format!("--principal f --action sagemaker:InvokeEndpoint --resource {theirs}");
    let found = ask(&server.client(), &question).unwrap();
    let steps = &found.answers[0].advice.steps;
    assert_eq!(steps[0].statement.as_ref().unwrap()["Principal"]["AWS"], own, "{steps:?}");
    assert!(steps.len() == 2 && steps[1].command.is_some(), "{steps:?}");
}

#[test]
fn to_take_a_role_its_trust_has_to_agree() {
    let mut world = World::default();
    let admin = policy(&[allow("*", "*")]);
    world.role("f", lambda()).role("admin", lambda()).inline("admin", "all", admin);
    let role = format!("arn:aws:iam::{ACCOUNT}:role/f");
    let question = format!("--principal admin --action sts:AssumeRole --resource {role}");
    let found = ask(&world.start().client(), &question).unwrap();
    let advice = &found.answers[0].advice;
    assert!(
        !advice.allowed && advice.steps[0].what.contains("trust policy of role `f`"),
        "{advice:?}"
    );
}

#[test]
fn aws_tells_no_needs_so_they_are_read_from_its_words() {
    let mut world = World::default();
    world.role("f", lambda());
    let mut bare = denied("f");
    bare["additionalEventData"] = Value::Null;
    bare["errorMessage"] = format!("User: arn:x is not authorized to perform: sagemaker:InvokeEndpoint on resource: {ENDPOINT} because no identity-based policy allows the sagemaker:InvokeEndpoint action").into();
    let mut odd = event("req-3", "DeleteFunction20150331", "f");
    odd["additionalEventData"] = Value::Null;
    odd["eventSource"] = "lambda.amazonaws.com".into();
    world.events = vec![bare, odd];
    let server = world.start();
    let found = ask(&server.client(), "req-1").unwrap();
    assert_eq!(found.answers[0].trace.request.resource, ENDPOINT);
    assert!(found.notes[0].contains("does not tell"));
    let found = ask(&server.client(), "req-3").unwrap();
    assert_eq!(found.answers[0].trace.request.action, "lambda:DeleteFunction");
}

#[test]
fn command_lines_that_make_no_sense_are_refused() {
    for bad in [
        "x --last-denied",
        "x --action s3:GetObject",
        "--action s3:GetObject",
        "--principal f --action a:b --context nocolon=1",
        "--resource arn:aws:s3:::b",
    ] {
        let words = std::iter::once("explain").chain(bad.split_whitespace());
        assert!(Cli::try_parse_from(words).is_err(), "{bad}");
    }
    let mut world = World::default();
    world.role("f", lambda());
    assert!(ask(&world.start().client(), "--principal f --action nothing").is_err());
}

fn generator(client: &Client) -> Generator<'_> {
    Generator::new(client, &TrailArguments::default(), (1_795_000_000, 1_795_261_521)).unwrap()
}

#[test]
fn the_least_policy_is_asked_for_and_awaited() {
    let mut world = World::default();
    let needed = policy(&[allow("sagemaker:InvokeEndpoint", ENDPOINT)]);
    world.role("f", lambda()).generated.insert("f".into(), vec![needed.clone()]);
    world.role("idle", lambda()).generated.insert("idle".into(), vec![]);
    let server = world.start();
    let client = server.client();
    let arn = format!("arn:aws:iam::{ACCOUNT}:role/f");
    assert_eq!(generator(&client).policy(&arn).unwrap(), Some(needed));
    let seen = server.seen();
    assert_eq!(seen[0].line, "PUT /policy/generation HTTP/1.1");
    let body: Value = serde_json::from_slice(&seen[0].body).unwrap();
    assert_eq!(body["policyGenerationDetails"]["principalArn"], arn);
    assert_eq!(body["cloudTrailDetails"]["startTime"], "2026-11-18T11:06:40Z");
    // The first answer was that it goes on.
    assert!(seen.iter().filter(|s| s.line.starts_with("GET /policy/generation/")).count() == 2);
    assert_eq!(generator(&client).policy(&arn.replace("/f", "/idle")).unwrap(), None);
    assert!(generator(&client).policy(&arn.replace("/f", "/failed")).is_err());
    let mut at_aws = client.target().clone();
    at_aws.endpoint = None;
    let at_aws = Client::new(at_aws);
    let error = Generator::new(&at_aws, &TrailArguments::default(), (0, 1)).unwrap_err();
    assert!(error.to_string().contains("--trail"), "{error}");
}

fn plan(world: World, needed: &Value) -> (Plan, super::principals::Entity, crate::testing::Server) {
    let server = world.start();
    let client = server.client();
    let role = Reader::new(&client).entity(Kind::Role, "f").unwrap();
    let parsed = Document::parse(&needed.to_string(), PolicyKind::Identity).unwrap();
    (Plan::new(&role, needed, &parsed), role, server)
}

#[test]
fn the_new_policy_comes_before_the_old_ones_go() {
    let needed = policy(&[allow("sagemaker:InvokeEndpoint", ENDPOINT)]);
    let full = "arn:aws:iam::aws:policy/AmazonSageMakerFullAccess";
    let basic = "arn:aws:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole";
    let mut world = World::default();
    let logs = json!({ "Effect": "Allow", "Resource": "*",
        "Action": ["logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents"] });
    world.managed.insert(full.into(), policy(&[allow("sagemaker:*", "*"), logs.clone()]));
    world.managed.insert(basic.into(), policy(&[logs]));
    let deny = json!({ "Effect": "Deny", "Action": "iam:*", "Resource": "*" });
    world.role("f", lambda()).inline("f", "guard", policy(&[deny])).inline(
        "f",
        "old",
        policy(&[allow("s3:*", "*")]),
    );
    world.role_mut("f").attached = vec![full.into(), basic.into()];
    let (plan, role, server) = plan(world, &needed);
    insta::assert_snapshot!(plan.shown(&role));
    insta::assert_snapshot!(plan.commands().join("\n"));
    let before = server.seen().len();
    plan.apply(&server.client()).unwrap();
    let actions: Vec<String> =
        server.seen()[before..].iter().map(|seen| world::parameter(seen, "Action")).collect();
    assert_eq!(actions, ["PutRolePolicy", "DetachRolePolicy", "DeleteRolePolicy"]);
}

#[test]
fn a_function_keeps_its_log_and_a_role_that_fits_is_left_alone() {
    let needed = policy(&[allow("sagemaker:InvokeEndpoint", ENDPOINT)]);
    let full = "arn:aws:iam::aws:policy/AmazonSageMakerFullAccess";
    for (trust, attached) in [(lambda(), true), (world::trust(json!({ "AWS": ACCOUNT })), false)] {
        let mut world = World::default();
        let statements = [allow("sagemaker:*", "*"), allow("logs:PutLogEvents", "*")];
        world.managed.insert(full.into(), policy(&statements));
        world.role("f", trust).role_mut("f").attached = vec![full.into()];
        let (plan, ..) = plan(world, &needed);
        let commands = plan.commands().join("\n");
        assert_eq!(commands.contains("attach-role-policy --role-name f --policy-arn arn:aws:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole"), attached, "{commands}");
    }
    let mut world = World::default();
    world.role("f", lambda()).inline("f", NAME, needed.clone());
    let (plan, ..) = plan(world, &needed);
    assert!(plan.is_empty(), "{plan:?}");
    let mut world = World::default();
    world.role("f", lambda()).inline("f", NAME, policy(&[allow("s3:GetObject", "*")]));
    let (plan, ..) = self::plan(world, &needed);
    assert_eq!(plan.commands().len(), 1);
}

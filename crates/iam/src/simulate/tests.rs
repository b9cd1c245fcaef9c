use super::*;
use crate::evaluate::Context;
use crate::policy::{Document, Kind};

const USER: Principal<'_> = Principal::User {
    account: "123456789012",
    arn: "arn:aws:iam::123456789012:user/ann",
    id: "AIDAAAAAAAAAAAAAAAAAA",
    name: "ann",
};

fn policy(name: &str, policy_type: PolicyType, text: &str) -> Policy {
    let document = Document::parse(text, Kind::Identity).unwrap();
    Policy::new(name, policy_type, document).with_text(text)
}

fn ask(action: &str, policies: &Policies) -> Simulation {
    let context = Context::new();
    let request = Request {
        principal: USER,
        action,
        resource: "*",
        resource_account: "123456789012",
        context: &context,
    };
    simulate(&request, policies)
}

const TWO: &str = r#"{"Version":"2012-10-17","Statement":[
  {"Effect":"Allow","Action":"s3:*","Resource":"*"},
  {"Effect":"Deny","Action":"s3:Delete*","Resource":"*"},
  {"Effect":"Allow","Action":"logs:*","Resource":"*","Condition":{
    "StringEquals":{"aws:PrincipalTag/team":"${aws:username}"}}}
]}"#;

#[test]
fn the_statements_that_decide_and_where_they_stand() {
    let managed = "arn:aws:iam::aws:policy/Two";
    let policies = Policies {
        identity: vec![
            policy(managed, PolicyType::Identity, TWO),
            policy("inline", PolicyType::Identity, TWO),
        ],
        ..Policies::default()
    };
    let allowed = ask("s3:GetObject", &policies);
    assert_eq!(allowed.decision.outcome.name(), "allowed");
    let found: Vec<_> = allowed
        .matched
        .iter()
        .map(|m| (m.source_policy_id.as_str(), m.source_policy_type, m.start, m.end))
        .collect();
    assert_eq!(
        found,
        [(managed, "aws-managed", (2, 4), (2, 52)), ("inline", "user", (2, 4), (2, 52))]
    );
    assert_eq!(allowed.missing_context, Vec::<String>::new());
    assert_eq!((allowed.boundary_allowed, allowed.organizations_allowed), (None, None));
    let denied = ask("s3:DeleteObject", &policies);
    assert_eq!(denied.decision.outcome.name(), "explicitDeny");
    assert_eq!(denied.matched.iter().map(|m| m.statement).collect::<Vec<_>>(), [1, 1]);
    let missing = ask("logs:PutLogEvents", &policies);
    assert_eq!(missing.decision.outcome.name(), "implicitDeny");
    assert_eq!(missing.missing_context, ["aws:PrincipalTag/team", "aws:username"]);
    assert!(missing.matched.is_empty());
}

#[test]
fn boundary_and_organization() {
    let all =
        r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"*","Resource":"*"}}"#;
    let logs = r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"logs:*","Resource":"*"}}"#;
    let policies = Policies {
        identity: vec![policy("a", PolicyType::Identity, all)],
        boundary: Some(policy("b", PolicyType::Boundary, logs)),
        service_control: vec![
            vec![policy("c", PolicyType::ServiceControl, all)],
            vec![policy("d", PolicyType::ServiceControl, logs)],
        ],
        ..Policies::default()
    };
    let s3 = ask("s3:GetObject", &policies);
    assert_eq!((s3.boundary_allowed, s3.organizations_allowed), (Some(false), Some(false)));
    assert_eq!(s3.decision.missing, Some(PolicyType::ServiceControl));
    let logs = ask("logs:PutLogEvents", &policies);
    assert_eq!((logs.boundary_allowed, logs.organizations_allowed), (Some(true), Some(true)));
    assert!(logs.decision.allowed());
    let details: Vec<_> = s3.details.iter().map(|d| (d.policy.as_str(), d.outcome)).collect();
    let (yes, no) = (Outcome::Allowed, Outcome::ImplicitDeny);
    assert_eq!(details, [("c", yes), ("d", no), ("a", yes), ("b", no)]);
}

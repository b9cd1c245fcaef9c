use super::*;
use crate::policy::Kind;

const ACCOUNT: &str = "123456789012";
const SESSION: Principal<'_> = Principal::Session {
    account: ACCOUNT,
    role_arn: "arn:aws:iam::123456789012:role/Dog",
    role_id: "AROAAAAAAAAAAAAAAAAAA",
    session_arn: "arn:aws:sts::123456789012:assumed-role/Dog/nb",
    session_name: "nb",
};

fn policy(policy_type: PolicyType, statement: &str) -> Policy {
    let kind = match policy_type {
        PolicyType::Resource | PolicyType::ResourceControl => Kind::Resource,
        _ => Kind::Identity,
    };
    let text = format!(r#"{{"Version":"2012-10-17","Statement":[{statement}]}}"#);
    Policy::new("p", policy_type, Document::parse(&text, kind).unwrap())
}

const ALLOW: &str = r#"{"Effect":"Allow","Principal":"*","Action":"*","Resource":"*"}"#;
const NOTHING: &str = r#"{"Effect":"Allow","Principal":"*","Action":"x:y","Resource":"*"}"#;
const DENY: &str = r#"{"Effect":"Deny","Principal":"*","Action":"*","Resource":"*"}"#;

/// Everything allows, but the policy of one type is `text`.
fn with(policy_type: PolicyType, text: &str) -> Policies {
    use PolicyType::{Boundary, Identity, ResourceControl, ServiceControl, Session};
    let one = |of: PolicyType, usual: &str| {
        let text = if of == policy_type { text } else { usual };
        let plain = text.replace(r#""Principal":"*","#, "");
        policy(of, if matches!(of, PolicyType::Resource | ResourceControl) { text } else { &plain })
    };
    Policies {
        identity: vec![one(Identity, ALLOW)],
        boundary: Some(one(Boundary, ALLOW)),
        session: Some(vec![one(Session, ALLOW)]),
        resource: Some(one(PolicyType::Resource, NOTHING)),
        service_control: vec![vec![one(ServiceControl, ALLOW)]],
        resource_control: vec![vec![one(ResourceControl, ALLOW)]],
    }
}

#[test]
fn denials_have_awss_words() {
    let context = Context::new();
    let mut request = Request {
        principal: SESSION,
        action: "sagemaker:InvokeEndpoint",
        resource: "arn:aws:sagemaker:us-east-1:123456789012:endpoint/dogs",
        resource_account: ACCOUNT,
        context: &context,
    };
    let start = "User: arn:aws:sts::123456789012:assumed-role/Dog/nb is not authorized to perform: \
                 sagemaker:InvokeEndpoint on resource: \
                 arn:aws:sagemaker:us-east-1:123456789012:endpoint/dogs";
    assert!(decide(&request, &with(PolicyType::Identity, ALLOW)).allowed());
    for (policy_type, none, explicit) in [
        (PolicyType::Identity, "identity-based policy", "an identity-based policy"),
        (PolicyType::Boundary, "permissions boundary", "a permissions boundary"),
        (PolicyType::Session, "session policy", "a session policy"),
        (PolicyType::ServiceControl, "service control policy", "a service control policy"),
        (PolicyType::ResourceControl, "resource control policy", "a resource control policy"),
        (PolicyType::Resource, "resource-based policy", "a resource-based policy"),
    ] {
        if policy_type == PolicyType::Resource {
            // Within the account the identity policy would do.
            request.resource_account = "210987654321";
        }
        let implicit = decide(&request, &with(policy_type, NOTHING)).denied_message(&request);
        let because = format!("because no {none} allows the sagemaker:InvokeEndpoint action");
        assert_eq!(implicit, format!("{start} {because}"));
        let denied = decide(&request, &with(policy_type, DENY)).denied_message(&request);
        assert_eq!(denied, format!("{start} with an explicit deny in {explicit}"));
    }
}

#[test]
fn a_trace_reads_well() {
    let mut context = Context::new();
    context.set("aws:username", "ann");
    let request = Request {
        principal: SESSION,
        action: "s3:GetObject",
        resource: "arn:aws:s3:::dogs/a",
        resource_account: ACCOUNT,
        context: &context,
    };
    let statements = r#"{"Sid":"Read","Effect":"Allow","Action":"s3:Get*","Resource":"arn:aws:s3:::cats/*"},
        {"Effect":"Allow","Action":"s3:*","Resource":"*"},
        {"Effect":"Deny","Action":"s3:*","Resource":"*","Condition":{"StringEquals":{"aws:username":["bob","eve"]}}}"#;
    let identity = vec![policy(PolicyType::Identity, statements)];
    let trace = explain(&request, &Policies { identity, ..Policies::default() });
    assert_eq!(
        trace.to_string(),
        "\
arn:aws:sts::123456789012:assumed-role/Dog/nb
  s3:GetObject
  on arn:aws:s3:::dogs/a

identity-based policy p: allows
  · [0] Allow Read: does not apply
      Resource does not match: arn:aws:s3:::cats/*
  ✓ [1] Allow: applies
  · [2] Deny: does not apply
      condition fails: StringEquals aws:username `bob`, `eve`; the request's: `ann`

allowed by statement 1 of p (identity-based policy)"
    );
    let json = serde_json::to_value(&trace).unwrap();
    assert_eq!(json["decision"]["outcome"], "allowed");
    assert_eq!(json["decision"]["by"]["policy_type"], "identity");
    assert_eq!(json["policies"][0]["statements"][2]["conditions"][0]["holds"], false);
}

#[test]
fn clones_share_and_threads_may_have_them() {
    fn shared<T: Clone + Send + Sync>(_: &T) {}
    let one = policy(PolicyType::Identity, r#"{"Effect":"Deny","Action":"*","Resource":"*"}"#);
    shared(&one);
    assert!(std::ptr::eq(one.document(), one.clone().with_text("x").document()));
}

#[test]
fn odd_actions_decide() {
    let context = Context::new();
    let all = r#"{"Effect":"Allow","Action":"s3:*","Resource":"*"}"#;
    let identity = vec![policy(PolicyType::Identity, all)];
    let policies = Policies { identity, ..Policies::default() };
    let long = format!("S3:{}", "Get".repeat(100));
    for (action, allowed) in [("", false), (":", false), ("*", false), (long.as_str(), true)] {
        let request = Request {
            principal: SESSION,
            action,
            resource: "no arn",
            resource_account: ACCOUNT,
            context: &context,
        };
        assert_eq!(decide(&request, &policies).allowed(), allowed, "{action}");
    }
}

#[test]
fn the_place_of_a_policy_counts_not_what_it_was_compiled_as() {
    let context = Context::new();
    let request = Request {
        principal: SESSION,
        action: "s3:GetObject",
        resource: "arn:aws:s3:::dogs/a",
        resource_account: ACCOUNT,
        context: &context,
    };
    let text = r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"AWS":"999999999999"},"Action":"*","Resource":"*"}}"#;
    let document = Document::parse(text, Kind::Resource).unwrap();
    let mistaken = Policy::new("bucket", PolicyType::Identity, document);
    let policies = Policies { resource: Some(mistaken), ..Policies::default() };
    assert!(!decide(&request, &policies).allowed());
    assert_eq!(explain(&request, &policies).decision, decide(&request, &policies));
}

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

#[test]
fn denials_have_awss_words() {
    let context = Context::new();
    let request = Request {
        principal: SESSION,
        action: "sagemaker:InvokeEndpoint",
        resource: "arn:aws:sagemaker:us-east-1:123456789012:endpoint/dogs",
        resource_account: ACCOUNT,
        context: &context,
    };
    let start = "User: arn:aws:sts::123456789012:assumed-role/Dog/nb is not authorized to perform: \
                 sagemaker:InvokeEndpoint on resource: \
                 arn:aws:sagemaker:us-east-1:123456789012:endpoint/dogs";
    let say = |policies: &Policies| decide(&request, policies).denied_message(&request);
    assert_eq!(
        say(&Policies::default()),
        format!(
            "{start} because no identity-based policy allows the sagemaker:InvokeEndpoint action"
        )
    );
    let deny = r#"{"Effect":"Deny","Action":"*","Resource":"*"}"#;
    let identity = vec![policy(PolicyType::Identity, deny)];
    assert_eq!(
        say(&Policies { identity, ..Policies::default() }),
        format!("{start} with an explicit deny in an identity-based policy")
    );
    let levels = vec![vec![policy(PolicyType::ServiceControl, deny)]];
    assert_eq!(
        say(&Policies { service_control: levels, ..Policies::default() }),
        format!("{start} with an explicit deny in a service control policy")
    );
}

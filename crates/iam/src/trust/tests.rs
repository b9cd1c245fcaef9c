use super::*;
use crate::policy::Kind;

const ACCOUNT: &str = "123456789012";
const ROOT: Party<'_> = Party::Root { account: ACCOUNT };
const USER: Party<'_> = Party::User {
    account: ACCOUNT,
    arn: "arn:aws:iam::123456789012:user/team/ann",
    id: "AIDAAAAAAAAAAAAAAAAAA",
};
const SESSION: Party<'_> = Party::Session {
    account: ACCOUNT,
    role_arn: "arn:aws:iam::123456789012:role/service-role/Dog",
    role_id: "AROAAAAAAAAAAAAAAAAAA",
    session_arn: "arn:aws:sts::123456789012:assumed-role/Dog/nb",
};
const SAGEMAKER: Party<'_> = Party::Service("sagemaker.amazonaws.com");

fn trust(statements: &str) -> Document {
    Document::parse(
        &format!(r#"{{"Version":"2012-10-17","Statement":[{statements}]}}"#),
        Kind::Trust,
    )
    .unwrap()
}

fn allow(principal: &str, condition: &str) -> String {
    format!(r#"{{"Effect":"Allow","Principal":{principal},"Action":"sts:AssumeRole"{condition}}}"#)
}

fn may(statements: &str, party: Party<'_>) -> bool {
    allows(&trust(statements), "sts:AssumeRole", party, &[])
}

#[test]
fn principals_match_whom_they_name() {
    let service = allow(r#"{"Service":["lambda.amazonaws.com","sagemaker.amazonaws.com"]}"#, "");
    assert!(may(&service, SAGEMAKER));
    assert!(!may(&service, USER));
    assert!(!may(&service, ROOT));
    for account in [r#"{"AWS":"123456789012"}"#, r#"{"AWS":"arn:aws:iam::123456789012:root"}"#] {
        let account = allow(account, "");
        assert!([ROOT, USER, SESSION].into_iter().all(|party| may(&account, party)));
        assert!(!may(&account, SAGEMAKER));
    }
    assert!(!may(&allow(r#"{"AWS":"999999999999"}"#, ""), ROOT));
    let user = allow(r#"{"AWS":"arn:aws:iam::123456789012:user/team/ann"}"#, "");
    assert!(may(&user, USER));
    assert!(!may(&user, ROOT) && !may(&user, SESSION));
    assert!(!may(&allow(r#"{"AWS":"arn:aws:iam::123456789012:user/ann"}"#, ""), USER));
    for session in [
        "arn:aws:iam::123456789012:role/service-role/Dog",
        "arn:aws:sts::123456789012:assumed-role/Dog/nb",
        "AROAAAAAAAAAAAAAAAAAA",
    ] {
        let session = allow(&format!(r#"{{"AWS":"{session}"}}"#), "");
        assert!(may(&session, SESSION), "{session}");
        assert!(!may(&session, USER), "{session}");
    }
    let any = allow(r#"{"AWS":"*"}"#, "");
    assert!(may(&any, USER) && !may(&any, SAGEMAKER));
    assert!(may(&allow(r#""*""#, ""), SAGEMAKER));
}

#[test]
fn explicit_denies_win_wherever_they_stand() {
    let deny = r#"{"Effect":"Deny","Principal":{"AWS":"arn:aws:iam::123456789012:user/team/ann"},"Action":"sts:*"}"#;
    let everyone = allow(r#""*""#, "");
    for order in [format!("{deny},{everyone}"), format!("{everyone},{deny}")] {
        assert!(!may(&order, USER));
        assert!(may(&order, ROOT));
    }
    let others = r#"{"Effect":"Deny","NotPrincipal":{"AWS":"arn:aws:iam::123456789012:user/team/ann"},"Action":"sts:AssumeRole"}"#;
    assert!(may(&format!("{everyone},{others}"), USER));
    assert!(!may(&format!("{everyone},{others}"), ROOT));
}

#[test]
fn other_actions_are_not_this_one() {
    let saml = r#"{"Effect":"Allow","Principal":"*","Action":"sts:AssumeRoleWithSAML"}"#;
    assert!(!may(saml, USER));
    let folded = r#"{"Effect":"Allow","Principal":"*","Action":"STS:assumerole"}"#;
    assert!(may(folded, USER));
}

#[test]
fn undecided_conditions_count_against_the_party() {
    let condition = r#","Condition":{"Bool":{"aws:MultiFactorAuthPresent":"true"}}"#;
    assert!(!may(&allow(r#""*""#, condition), USER));
    let deny = r#"{"Effect":"Deny","Principal":"*","Action":"sts:AssumeRole","Condition":{"StringNotEquals":{"aws:PrincipalOrgID":"o-1"}}}"#;
    assert!(!may(&format!("{},{deny}", allow(r#""*""#, "")), USER));
}

#[test]
fn known_keys_decide() {
    let external =
        trust(&allow(r#""*""#, r#","Condition":{"StringEquals":{"sts:ExternalId":["a","b"]}}"#));
    let ask = |facts: &[Fact<'_>]| allows(&external, "sts:AssumeRole", USER, facts);
    assert!(ask(&[("sts:ExternalId", Some("b"))]));
    assert!(ask(&[("STS:externalid", Some("a"))]));
    assert!(!ask(&[("sts:ExternalId", Some("c"))]));
    assert!(!ask(&[("sts:ExternalId", None)]));
    assert!(!ask(&[]));
    let optional =
        trust(&allow(r#""*""#, r#","Condition":{"StringLikeIfExists":{"sts:ExternalId":"a*"}}"#));
    assert!(allows(&optional, "sts:AssumeRole", USER, &[("sts:ExternalId", None)]));
    assert!(!allows(&optional, "sts:AssumeRole", USER, &[("sts:ExternalId", Some("b"))]));
}

#[test]
fn known_keys_decide_every_operator() {
    let ask = |condition: &str, facts: &[Fact<'_>]| {
        let document = trust(&allow(r#""*""#, &format!(r#","Condition":{condition}"#)));
        allows(&document, "sts:AssumeRole", USER, facts)
    };
    let mfa = r#"{"Bool":{"aws:MultiFactorAuthPresent":"true"}}"#;
    assert!(ask(mfa, &[("aws:MultiFactorAuthPresent", Some("true"))]));
    assert!(!ask(mfa, &[("aws:MultiFactorAuthPresent", Some("false"))]));
    let named = r#"{"StringEquals":{"sts:RoleSessionName":"${aws:username}"}}"#;
    let facts = [("sts:RoleSessionName", Some("ann")), ("aws:username", Some("ann"))];
    assert!(ask(named, &facts));
    assert!(!ask(named, &facts[..1]), "a variable that is no fact is undecided");
    let any = r#"{"ForAnyValue:StringLike":{"aws:TagKeys":"team*"}}"#;
    assert!(ask(any, &[("aws:TagKeys", Some("teams"))]) && !ask(any, &[("aws:TagKeys", None)]));
}

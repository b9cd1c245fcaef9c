use super::*;
use crate::policy::Kind;

fn parse(statements: &str, kind: Kind) -> Document {
    let text = format!(r#"{{"Version":"2012-10-17","Statement":[{statements}]}}"#);
    Document::parse(&text, kind).unwrap()
}

fn problems(statements: &str) -> Vec<(Problem, Vec<usize>)> {
    let found = identity(&parse(statements, Kind::Identity));
    found.into_iter().map(|f| (f.problem, f.statements)).collect()
}

#[test]
fn stars_in_identity_policies() {
    let admin = r#"{"Effect":"Allow","Action":"*","Resource":"*"}"#;
    assert_eq!(problems(admin), [(Problem::FullAdmin, vec![0]), (Problem::PassRoleAny, vec![0])]);
    let s3 = r#"{"Effect":"Allow","Action":["s3:GetObject","S3:*"],"Resource":"arn:aws:s3:::*"}"#;
    assert_eq!(problems(s3), [(Problem::FullService, vec![0])]);
    let found = identity(&parse(s3, Kind::Identity));
    assert_eq!(found[0].service.as_deref(), Some("s3"));
    assert_eq!(found[0].words, "allows every action of `s3` on every resource");
    for narrow in [
        r#"{"Effect":"Deny","Action":"*","Resource":"*"}"#,
        r#"{"Effect":"Allow","Action":"s3:*","Resource":"arn:aws:s3:::dogs/*"}"#,
        r#"{"Effect":"Allow","Action":"s3:Get*","Resource":"*"}"#,
    ] {
        assert_eq!(problems(narrow), [], "{narrow}");
    }
    let not = r#"{"Effect":"Allow","NotAction":"iam:*","NotResource":"arn:aws:s3:::x"}"#;
    assert_eq!(
        problems(&format!("{not},{not}")),
        [(Problem::NotAction, vec![0, 1]), (Problem::NotResource, vec![0, 1])]
    );
}

#[test]
fn passing_roles() {
    let pass = |resource: &str, condition: &str| {
        problems(&format!(
            r#"{{"Effect":"Allow","Action":"iam:PassRole","Resource":"{resource}"{condition}}}"#
        ))
    };
    let one = [(Problem::PassRoleAny, vec![0])];
    assert_eq!(pass("*", ""), one);
    assert_eq!(pass("arn:aws:iam::123456789012:role/*", ""), one);
    assert_eq!(pass("arn:aws:iam::123456789012:role/Dog", ""), []);
    assert_eq!(pass("arn:aws:iam::123456789012:role/dogs/*", ""), []);
    let to = r#","Condition":{"StringEquals":{"iam:PassedToService":"sagemaker.amazonaws.com"}}"#;
    assert_eq!(pass("*", to), []);
    let any = r#","Condition":{"StringLike":{"iam:PassedToService":"*"}}"#;
    assert_eq!(pass("*", any), one);
}

#[test]
fn open_trust() {
    let open = |principal: &str, condition: &str| {
        let statement = format!(
            r#"{{"Effect":"Allow","Principal":{principal},"Action":"sts:AssumeRole"{condition}}}"#
        );
        !trust(&parse(&statement, Kind::Trust)).is_empty()
    };
    assert!(open(r#""*""#, "") && open(r#"{"AWS":"*"}"#, ""));
    assert!(!open(r#"{"AWS":"123456789012"}"#, ""));
    assert!(!open(r#"{"Service":"lambda.amazonaws.com"}"#, ""));
    assert!(!open(r#""*""#, r#","Condition":{"StringEquals":{"aws:PrincipalOrgID":"o-1"}}"#));
    assert!(!open(r#""*""#, r#","Condition":{"StringEquals":{"sts:ExternalId":"k9"}}"#));
    assert!(open(r#""*""#, r#","Condition":{"StringNotEquals":{"aws:PrincipalOrgID":"o-1"}}"#));
    assert!(open(r#""*""#, r#","Condition":{"Bool":{"aws:SecureTransport":"true"}}"#));
}

#[test]
fn public_resources() {
    let public = |condition: &str| {
        let statement = format!(
            r#"{{"Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"*"{condition}}}"#
        );
        resource(&parse(&statement, Kind::Resource)).pop().map(|f| f.words)
    };
    assert_eq!(public("").unwrap(), "allows everybody `s3:GetObject`");
    for condition in [
        r#"{"StringEquals":{"aws:SourceAccount":"123456789012"}}"#,
        r#"{"IpAddress":{"aws:SourceIp":"203.0.113.0/24"}}"#,
        r#"{"ArnLike":{"aws:SourceArn":"arn:aws:sns:*:123456789012:*"}}"#,
    ] {
        assert_eq!(public(&format!(r#","Condition":{condition}"#)), None, "{condition}");
    }
    for condition in [
        r#"{"IpAddress":{"aws:SourceIp":["203.0.113.0/24","0.0.0.0/0"]}}"#,
        r#"{"StringEqualsIfExists":{"aws:SourceAccount":"123456789012"}}"#,
        r#"{"ForAllValues:StringEquals":{"aws:PrincipalOrgPaths":"o-1/*"}}"#,
        r#"{"ArnLike":{"aws:SourceArn":"arn:aws:*:*:*:*"}}"#,
        r#"{"StringEquals":{"lambda:FunctionUrlAuthType":"NONE"}}"#,
    ] {
        assert!(public(&format!(r#","Condition":{condition}"#)).is_some(), "{condition}");
    }
}

#[test]
fn managed_policies_by_name_or_arn() {
    let arn = "arn:aws:iam::aws:policy/AmazonSageMakerFullAccess";
    assert_eq!(full_access(arn), Some("sagemaker"));
    assert_eq!(full_access("AdministratorAccess"), Some("*"));
    assert_eq!(full_access("AmazonS3ReadOnlyAccess"), None);
}

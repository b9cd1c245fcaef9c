use kennel_iam::policy::Kind;
use serde_json::json;

use super::*;

#[track_caller]
fn public(principal: serde_json::Value, condition: serde_json::Value) -> bool {
    let mut statement = json!({
        "Effect": "Allow", "Principal": principal, "Action": "s3:GetObject",
        "Resource": "arn:aws:s3:::b/*",
    });
    if !condition.is_null() {
        statement["Condition"] = condition;
    }
    let text = json!({"Version": "2012-10-17", "Statement": [statement]}).to_string();
    is_public(&Document::parse(&text, Kind::Resource).unwrap())
}

#[test]
fn a_policy_for_everybody_is_public_unless_a_condition_fixes_who() {
    let null = serde_json::Value::Null;
    for everybody in [json!("*"), json!({"AWS": "*"}), json!({"AWS": ["123456789012", "*"]})] {
        assert!(public(everybody, null.clone()));
    }
    assert!(!public(json!({"AWS": "123456789012"}), null.clone()));
    assert!(!public(json!({"Service": "sagemaker.amazonaws.com"}), null));
    let with = |condition| public(json!("*"), condition);
    for (operator, key, value) in [
        ("IpAddress", "aws:SourceIp", "203.0.113.0/24"),
        ("StringEquals", "aws:SourceVpc", "vpc-1"),
        ("StringEquals", "aws:PrincipalOrgID", "o-1"),
        ("StringLike", "aws:userid", "AROAX:*"),
        ("ArnLike", "aws:PrincipalArn", "arn:aws:iam::123456789012:role/Dog"),
    ] {
        assert!(!with(json!({operator: {key: value}})), "{operator} {key}");
    }
    for (operator, key, value) in [
        // Wide, wild, negated, optional, or set by the caller.
        ("IpAddress", "aws:SourceIp", "0.0.0.0/0"),
        ("IpAddress", "aws:SourceIp", "::/0"),
        ("StringLike", "aws:SourceVpc", "vpc-*"),
        ("StringNotEquals", "aws:SourceVpc", "vpc-1"),
        ("StringEqualsIfExists", "aws:SourceVpc", "vpc-1"),
        ("ForAllValues:StringEquals", "aws:SourceVpc", "vpc-1"),
        ("StringEquals", "aws:SourceVpc", "${aws:SourceVpc}"),
        ("StringLike", "aws:userid", "*"),
        ("StringEquals", "aws:UserAgent", "secret"),
        ("Bool", "aws:SecureTransport", "true"),
    ] {
        assert!(with(json!({operator: {key: value}})), "{operator} {key} {value}");
    }
}

#[test]
fn denying_everybody_is_not_public_and_allowing_all_but_one_is() {
    let text = r#"{"Statement": [{"Effect": "Deny", "Principal": "*", "Action": "s3:*",
        "Resource": "arn:aws:s3:::b"}]}"#;
    assert!(!is_public(&Document::parse(text, Kind::Resource).unwrap()));
    let text = r#"{"Statement": [{"Effect": "Allow", "NotPrincipal": {"AWS": "123456789012"},
        "Action": "s3:*", "Resource": "arn:aws:s3:::b"}]}"#;
    // AWS takes NotPrincipal only with Deny nowadays; where one is read, it is for everybody.
    if let Ok(document) = Document::parse(text, Kind::Resource) {
        assert!(is_public(&document));
    }
}

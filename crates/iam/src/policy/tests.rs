use proptest::prelude::*;

use super::condition::date;
use super::*;

fn identity(statement: &str) -> Result<Document, Malformed> {
    Document::parse(
        &format!(r#"{{"Version":"2012-10-17","Statement":{statement}}}"#),
        Kind::Identity,
    )
}

fn message(result: Result<Document, Malformed>) -> String {
    result.unwrap_err().message
}

const ALLOW: &str = r#"{"Effect":"Allow","Action":"s3:GetObject","Resource":"*"}"#;

#[test]
fn a_typical_policy() {
    let document = identity(
        r#"[{"Sid":"One","Effect":"Allow","Action":["sagemaker:Invoke*","s3:GetObject"],
             "Resource":"arn:aws:sagemaker:*:123456789012:endpoint/dogs-*",
             "Condition":{"ForAllValues:StringLikeIfExists":{"aws:TagKeys":["a","b"]},
                          "IpAddress":{"aws:SourceIp":"10.0.0.0/8"},
                          "NumericLessThan":{"aws:MultiFactorAuthAge":3600},
                          "DateGreaterThan":{"aws:CurrentTime":"2026-11-21T08:00:00Z"},
                          "Bool":{"aws:SecureTransport":true},
                          "StringEquals":{"aws:ResourceTag/o":"${aws:username}"}}}]"#,
    )
    .unwrap();
    let statement = &document.statements[0];
    assert_eq!(statement.conditions.len(), 6);
    let first = &statement.conditions[0];
    assert_eq!(first.quantifier, Some(Quantifier::ForAllValues));
    assert_eq!((first.operator, first.if_exists), (Operator::StringLike, true));
    assert_eq!(statement.conditions[2].values[0].typed, Typed::Number(3600.0));
    assert_eq!(statement.conditions[3].values[0].typed, Typed::Date(1_795_248_000_000));
    assert_eq!(statement.conditions[5].values[0].typed, Typed::Variable);
    assert!(statement.action.covers(|a| a.matches("SageMaker:invokeendpoint")));
    assert!(!statement.action.covers(|a| a.matches("sagemaker:CreateModel")));
    assert_eq!(Document::parse(&document.to_json(), Kind::Identity).unwrap(), document);
}

#[test]
fn what_is_no_policy_is_a_syntax_error() {
    for bad in [
        "",
        "{",
        "null",
        "[]",
        "\"x\"",
        "{}",
        r#"{"Version":"2012-10-17"}"#,
        r#"{"Version":"2012-10-17","Statement":[]}"#,
        r#"{"Version":"2012-10-17","Statement":"x"}"#,
        r#"{"Version":"2012-10-17","Statement":["x"]}"#,
        r#"{"Version":"2011-01-01","Statement":{}}"#,
        r#"{"Version":5,"Statement":{}}"#,
    ] {
        assert_eq!(
            message(Document::parse(bad, Kind::Identity)),
            "Syntax errors in policy.",
            "{bad}"
        );
    }
    for bad in [
        r#"{"Action":"s3:x","Resource":"*"}"#,
        r#"{"Effect":"Perhaps","Action":"s3:x","Resource":"*"}"#,
        r#"{"Effect":"Allow","Action":5,"Resource":"*"}"#,
        r#"{"Effect":"Allow","Action":[null],"Resource":"*"}"#,
        r#"{"Effect":"Allow","Action":"s3:x","NotAction":"s3:y","Resource":"*"}"#,
        r#"{"Effect":"Allow","Action":"s3:x","Resource":"*","Resouce":"*"}"#,
        r#"{"Effect":"Allow","Action":"s3:x","Action":"s3:x","Resource":"*"}"#,
        r#"{"Effect":"Allow","Action":"s3:x","Resource":"*","Condition":[]}"#,
        r#"{"Effect":"Allow","Action":"s3:x","Resource":"*","Condition":{"StringIs":{"a:b":"c"}}}"#,
        r#"{"Effect":"Allow","Action":"s3:x","Resource":"*","Condition":{"NullIfExists":{"a:b":"true"}}}"#,
        r#"{"Effect":"Allow","Action":"s3:x","Resource":"*","Condition":{"Bool":{"a:b":"maybe"}}}"#,
        r#"{"Effect":"Allow","Action":"s3:x","Resource":"*","Condition":{"NumericEquals":{"a:b":"NaN"}}}"#,
        r#"{"Effect":"Allow","Action":"s3:x","Resource":"*","Condition":{"IpAddress":{"a:b":"10.0.0.0/33"}}}"#,
        r#"{"Effect":"Allow","Action":"s3:x","Resource":"*","Condition":{"StringLike":{"a:b":"1","A:B":"2"}}}"#,
        r#"{"Effect":"Allow","Action":"s3:x","Resource":"*","Condition":{"StringLike":{"a:b":{}}}}"#,
    ] {
        assert_eq!(message(identity(bad)), "Syntax errors in policy.", "{bad}");
    }
}

#[test]
fn errors_say_where() {
    let error = Document::parse("{\n  \"Version\": oops\n}", Kind::Identity).unwrap_err();
    assert_eq!(error.place.line_column.map(|(line, _)| line), Some(2));
    assert!(error.to_string().starts_with("Syntax errors in policy.\nhint: "), "{error}");
    let error =
        identity(&format!("[{ALLOW},{}]", ALLOW.replace("Resource", "Resouce"))).unwrap_err();
    assert_eq!(error.place.path, "Statement[1].Resouce");
    let error = Document::parse("{not json", Kind::Trust).unwrap_err();
    assert_eq!(error.message, "This policy contains invalid Json");
}

#[test]
fn rules_of_identity_policies() {
    let with = |from: &str, to: &str| message(identity(&ALLOW.replace(from, to)));
    assert_eq!(with("Allow", "allow"), "The policy failed legacy parsing");
    assert_eq!(
        with("\"Resource\":\"*\"", "\"Resource\":[]"),
        "Policy statement must contain resources."
    );
    assert_eq!(with(",\"Resource\":\"*\"", ""), "Policy statement must contain resources.");
    assert_eq!(with("\"Action\":\"s3:GetObject\",", ""), "Policy statement must contain actions.");
    assert_eq!(
        with("s3:GetObject", "GetObject"),
        "Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc."
    );
    assert_eq!(
        with("s3:GetObject", "s3:Get:Object"),
        "Actions/Condition can contain only one colon."
    );
    assert_eq!(with("s3:GetObject", "s3*:Get"), "Vendor s3* is not valid");
    assert_eq!(with("\"*\"", "\"bucket\""), "Resource bucket must be in ARN format or \"*\".");
    assert_eq!(
        with("\"*\"", "\"arn:moon:s3:::b\""),
        "Partition \"moon\" is not valid for resource \"arn:moon:s3:::b\"."
    );
    assert_eq!(
        with("\"*\"", "\"arn:aws:iam:us-east-1:1:role/x\""),
        "IAM resource arn:aws:iam:us-east-1:1:role/x cannot contain region information."
    );
    assert_eq!(
        with("\"Effect\"", "\"Principal\":\"*\",\"Effect\""),
        "Policy document should not specify a principal."
    );
    let old = format!(r#"{{"Statement":{ALLOW}}}"#);
    assert_eq!(
        message(Document::parse(&old, Kind::Identity)),
        "Policy document must be version 2012-10-17 or greater."
    );
    let sid = |a: &str, b: &str| {
        let one = ALLOW.replace("\"Effect\"", &format!("\"Sid\":\"{a}\",\"Effect\""));
        let two = ALLOW.replace("\"Effect\"", &format!("\"Sid\":\"{b}\",\"Effect\""));
        identity(&format!("[{one},{two}]"))
    };
    assert!(sid("a", "b").is_ok() && sid("", "").is_ok());
    assert_eq!(message(sid("a", "a")), "Statement IDs (SID) in a single policy must be unique.");
    assert!(message(sid("a b", "a")).starts_with("Statement IDs (SID) must be alpha-numeric."));
    let date = ALLOW.replace(
        "\"Effect\"",
        r#""Condition":{"DateEquals":{"aws:CurrentTime":"yesterday"}},"Effect""#,
    );
    assert_eq!(message(identity(&date)), "The policy failed legacy parsing");
    let key = ALLOW.replace("\"Effect\"", r#""Condition":{"StringEquals":{"x":"y"}},"Effect""#);
    assert!(message(identity(&key)).starts_with("Actions/Conditions must be prefaced"));
}

#[test]
fn rules_of_trust_policies() {
    let good = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"sagemaker.amazonaws.com"},"Action":"sts:AssumeRole"}]}"#;
    assert!(Document::parse(good, Kind::Trust).is_ok());
    assert!(Document::parse(&good.replace("2012", "2008"), Kind::Trust).is_ok());
    let with =
        |from: &str, to: &str| message(Document::parse(&good.replace(from, to), Kind::Trust));
    assert_eq!(
        with("\"Action\"", "\"Resource\":\"*\",\"Action\""),
        "Has prohibited field Resource"
    );
    assert_eq!(
        with("\"Principal\":{\"Service\":\"sagemaker.amazonaws.com\"},", ""),
        "Missing required field Principal"
    );
    assert!(with("sts:AssumeRole", "s3:GetObject").starts_with("Trust Policy statement actions"));
    assert_eq!(
        with("sagemaker.amazonaws.com", "dogs"),
        "Invalid principal in policy: \"SERVICE\":\"dogs\""
    );
    for bad in ["dogs", "arn:aws:iam::123456789012:role/*", "arn:aws:s3:::b", "arn:aws:iam::1:root"]
    {
        assert_eq!(
            with("\"Service\":\"sagemaker.amazonaws.com\"", &format!("\"AWS\":\"{bad}\"")),
            format!("Invalid principal in policy: \"AWS\":\"{bad}\"")
        );
    }
    assert_eq!(with("{\"Service\":\"sagemaker.amazonaws.com\"}", "{}"), "Syntax errors in policy.");
    assert_eq!(
        with("{\"Service\":\"sagemaker.amazonaws.com\"}", "\"me\""),
        "Syntax errors in policy."
    );
    assert_eq!(with("Service", "Servant"), "Syntax errors in policy.");
}

#[test]
fn resource_policies_have_both() {
    let bucket = r#"{"Statement":{"Sid":"my statement","Effect":"Allow","Principal":"*","Action":"s3:*","Resource":"arn:aws:s3:::b/*"}}"#;
    let document = Document::parse(bucket, Kind::Resource).unwrap();
    assert_eq!(document.version, Version::V2008);
    assert_eq!(
        message(Document::parse(&bucket.replace("\"Principal\":\"*\",", ""), Kind::Resource)),
        "Missing required field Principal"
    );
}

#[test]
fn hostile_depth_and_size_end_quickly() {
    for bad in ["[".repeat(200_000), "{\"a\":".repeat(100_000), "x".repeat(limits::PARSE + 1)] {
        assert!(Document::parse(&bad, Kind::Identity).is_err());
    }
    let keys: Vec<String> = (0..20_000).map(|n| format!("\"k{n}\":1")).collect();
    assert!(Document::parse(&format!("{{{}}}", keys.join(",")), Kind::Identity).is_err());
}

#[test]
fn dates() {
    for (text, millis) in [
        ("1970-01-01T00:00:00Z", 0),
        ("2026-11-21T08:00:00Z", 1_795_248_000_000),
        ("2026-11-21T09:00:00.25+01:00", 1_795_248_000_250),
        ("2026-11-21", 1_795_219_200_000),
        ("2000-02-29", 951_782_400_000),
        ("1795248000", 1_795_248_000_000),
        ("1969-12-31T23:59:59Z", -1000),
    ] {
        assert_eq!(date(text), Some(millis), "{text}");
    }
    for bad in [
        "",
        "now",
        "2026-13-01",
        "2026-1-1",
        "2026-11-21T25:00Z",
        "2026-11-21T08",
        "99999999999999999999",
    ] {
        assert_eq!(date(bad), None, "{bad}");
    }
}

#[test]
fn address_ranges() {
    let net = IpNet::parse("10.1.0.0/16").unwrap();
    assert!(net.contains("10.1.200.3".parse().unwrap()));
    assert!(!net.contains("10.2.0.1".parse().unwrap()));
    assert!(!net.contains("::1".parse().unwrap()));
    assert!(IpNet::parse("0.0.0.0/0").unwrap().contains("8.8.8.8".parse().unwrap()));
    assert!(IpNet::parse("2001:db8::/32").unwrap().contains("2001:db8:1::1".parse().unwrap()));
    assert!(IpNet::parse("::/0").unwrap().contains("::1".parse().unwrap()));
    for bad in ["", "10.0.0.0/+8", "10.0.0/8", "::/129", "10.0.0.0/"] {
        assert_eq!(IpNet::parse(bad), None, "{bad}");
    }
}

/// Pieces of policies, right and wrong, joined at random: nearer to the parser's branches than noise.
fn almost_policy() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "\"Version\"",
        "\"2012-10-17\"",
        "\"Statement\"",
        "\"Effect\"",
        "\"Allow\"",
        "\"Action\"",
        "\"s3:*\"",
        "\"Resource\"",
        "\"*\"",
        "\"arn:aws:s3:::${\"",
        "null",
        "\"Condition\"",
        "\"StringLike\"",
        "\"Date\"",
        "1e999",
        "-1",
        "\"\\ud800\"",
        "\"é\"",
    ]);
    prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

fn names() -> impl Strategy<Value = Vec<String>> {
    prop::collection::vec("[a-z]{1,6}", 1..4)
}

prop_compose! {
    fn valid_statement()(
        deny in any::<bool>(), not_action in any::<bool>(), not_resource in any::<bool>(),
        actions in names(), resources in names(), keys in names(),
        operator in prop::sample::select(vec!["StringEquals", "ForAnyValue:StringLike", "ArnLikeIfExists", "BinaryEquals"]),
        values in prop::collection::vec(".{0,8}", 0..3),
    ) -> String {
        let actions: Vec<String> = actions.iter().map(|a| format!("s3:{a}*")).collect();
        let resources: Vec<String> = resources.iter().map(|r| format!("arn:aws:s3:::{r}/${{aws:username}}")).collect();
        let mut conditions = serde_json::Map::new();
        for key in keys {
            conditions.insert(format!("aws:{key}"), serde_json::json!(values));
        }
        serde_json::json!({
            "Effect": if deny { "Deny" } else { "Allow" },
            if not_action { "NotAction" } else { "Action" }: actions,
            if not_resource { "NotResource" } else { "Resource" }: resources,
            "Condition": { operator: conditions },
        }).to_string()
    }
}

proptest! {
    #[test]
    fn no_string_panics(text in ".{0,200}", pieces in almost_policy()) {
        for kind in [Kind::Identity, Kind::Trust, Kind::Resource] {
            let _ = Document::parse(&text, kind);
            let _ = Document::parse(&pieces, kind);
        }
        let _ = date(&text);
        let _ = IpNet::parse(&text);
    }

    #[test]
    fn valid_documents_survive_writing_and_reading(statements in prop::collection::vec(valid_statement(), 1..4)) {
        let document = identity(&format!("[{}]", statements.join(","))).unwrap();
        prop_assert_eq!(Document::parse(&document.to_json(), Kind::Identity).unwrap(), document);
    }

    #[test]
    fn every_date_text_is_a_date_or_refused(y in 0i64..10_000, m in 0i64..14, d in 0i64..33, h in 0i64..25) {
        let text = format!("{y:04}-{m:02}-{d:02}T{h:02}:00:00Z");
        let good = (1..=12).contains(&m) && (1..=31).contains(&d) && h < 24;
        prop_assert_eq!(date(&text).is_some(), good);
    }
}

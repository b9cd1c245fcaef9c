use proptest::prelude::*;

use super::*;

#[test]
fn parts_of_an_arn() {
    let arn: Arn = "arn:aws:iam::123456789012:role/service-role/Dog".parse().unwrap();
    assert_eq!(arn.account, "123456789012");
    assert_eq!(arn.name_of("role"), Some("Dog"));
    assert_eq!(arn.name_of("user"), None);
    let logs: Arn = "arn:aws:logs:us-east-1:1:log-group:/a:log-stream:b".parse().unwrap();
    assert_eq!(logs.resource, "log-group:/a:log-stream:b");
    for bad in
        ["", "arn:aws:iam::1:", "role/x", "arn:aws:iam:role", "arn:aws:s3:::a b", "arn::s3:::a"]
    {
        assert!(bad.parse::<Arn>().is_err(), "{bad}");
    }
    assert_eq!("arn:aws:iam::1:role/".parse::<Arn>().unwrap().name_of("role"), None);
}

#[test]
fn patterns_split_outside_variables_and_stay_inside_parts() {
    let pattern =
        ArnPattern::parse("arn:aws:sts::${aws:PrincipalAccount}:x/${aws:username}").unwrap();
    assert_eq!(pattern.parts[3], "${aws:PrincipalAccount}");
    let short = ArnPattern::parse("arn:aws:s3").unwrap();
    assert_eq!(short.parts, ["aws", "s3", "*", "*", "*"]);
    let endpoint: Arn = "arn:aws:sagemaker:us-east-1:1:endpoint/dogs".parse().unwrap();
    assert!(ArnPattern::parse("arn:aws:sagemaker:*:1:endpoint/d*").unwrap().matches(&endpoint));
    assert!(!ArnPattern::parse("arn:aws:sage*:2:endpoint/dogs").unwrap().matches(&endpoint));
    assert!(ArnPattern::parse("s3:::x").is_none());
}

proptest! {
    #[test]
    fn what_parses_prints_the_same(text in "arn:[a-z]{1,4}:[a-z0-9]{1,4}:[a-z0-9]{0,4}:[0-9]{0,4}:[!-~]{1,20}") {
        prop_assert_eq!(text.parse::<Arn>().unwrap().to_string(), text);
    }

    #[test]
    fn no_string_panics(text in ".{0,60}") {
        let _ = text.parse::<Arn>();
        if let Some(pattern) = ArnPattern::parse(&text) {
            prop_assert_eq!(ArnPattern::parse(&pattern.to_string()), Some(pattern));
        }
    }
}

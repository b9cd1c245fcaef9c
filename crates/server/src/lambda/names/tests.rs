use proptest::prelude::*;

use super::*;

fn home() -> Home {
    Home { account: "123456789012".to_owned(), region: "us-east-1".to_owned() }
}

fn named(text: &str) -> Result<(String, Option<String>), String> {
    parse(text, &home()).map(|n| (n.name, n.qualifier)).map_err(|e| e.code)
}

#[test]
fn all_forms_of_a_name_are_read() {
    const ARN: &str = "arn:aws:lambda:us-east-1:123456789012:function:";
    let good: &[(&str, &str, Option<&str>)] = &[
        ("f", "f", None),
        ("F_1-x", "F_1-x", None),
        ("f:prod", "f", Some("prod")),
        ("f:7", "f", Some("7")),
        ("f:$LATEST", "f", Some("$LATEST")),
        ("function:f", "f", None),
        ("function:f:prod", "f", Some("prod")),
        ("function", "function", None),
        ("123456789012", "123456789012", None),
        ("123456789012:f", "f", None),
        ("123456789012:function:f", "f", None),
        ("123456789012:function:f:7", "f", Some("7")),
        ("us-east-1:123456789012:function:f", "f", None),
    ];
    for (text, name, qualifier) in good {
        let want = Ok(((*name).to_owned(), qualifier.map(str::to_owned)));
        assert_eq!(named(text), want, "{text}");
    }
    assert_eq!(named(&format!("{ARN}f")), Ok(("f".to_owned(), None)));
    assert_eq!(named(&format!("{ARN}f:prod")), Ok(("f".to_owned(), Some("prod".to_owned()))));
    assert_eq!(named(&"x".repeat(64)), Ok(("x".repeat(64), None)));
}

#[test]
fn what_is_no_name_is_refused() {
    let long = "x".repeat(65);
    let bad = [
        "",
        ":",
        "f:",
        ":f",
        "f/g",
        "f g",
        "../f",
        "ä",
        "f:$OTHER",
        "f:prod:more",
        "arn:aws:lambda",
        "arn:aws:s3:us-east-1:123456789012:function:f",
        "arn:aws:lambda:us-east-1:123456789012:layer:f",
        "arn:aws:lambda:us-east-1:123456789012:function:f:1:2",
        long.as_str(),
    ];
    for text in bad {
        assert_eq!(named(text), Err("ValidationException".to_owned()), "{text}");
    }
}

#[test]
fn other_accounts_and_regions_have_no_functions_here() {
    let text = "arn:aws:lambda:us-east-1:999999999999:function:f:1";
    let error = parse(text, &home()).unwrap_err();
    assert_eq!(
        (error.code.as_str(), error.status, error.message.as_str()),
        (
            "ResourceNotFoundException",
            404,
            "Function not found: arn:aws:lambda:us-east-1:999999999999:function:f:1"
        )
    );
    let error = parse("arn:aws:lambda:eu-west-1:123456789012:function:f", &home()).unwrap_err();
    assert_eq!(
        error.message,
        "Functions from 'eu-west-1' are not reachable in this region ('us-east-1')"
    );
}

#[test]
fn two_qualifiers_must_be_one() {
    let of = |text: &str, q: Option<&str>| {
        qualified(text, q, &home()).map(|n| n.qualifier).map_err(|e| e.message)
    };
    assert_eq!(of("f:prod", Some("prod")), Ok(Some("prod".to_owned())));
    assert_eq!(of("f", Some("")), Ok(None));
    assert_eq!(of("f", Some("1")), Ok(Some("1".to_owned())));
    assert_eq!(
        of("f:prod", Some("test")).unwrap_err(),
        "The derived qualifier from the function name does not match the specified qualifier."
    );
    assert!(of("f", Some("$NEXT")).unwrap_err().contains("'qualifier' failed"));
}

#[test]
fn versions_are_numbers_without_leading_zeros() {
    assert_eq!(version_number("$LATEST"), Some(0));
    assert_eq!(version_number("12"), Some(12));
    for alias in ["", "0", "01", "prod", "1a", "99999999999999999999999999"] {
        assert_eq!(version_number(alias), None, "{alias}");
    }
    assert!(is_alias("prod-1") && !is_alias("12") && !is_alias("$LATEST") && !is_alias(""));
}

#[test]
fn layers_are_named_by_word_or_arn() {
    let of = |text: &str| layer(text, &home()).map_err(|e| e.code);
    assert_eq!(of("l"), Ok(("l".to_owned(), None)));
    let arn = home().layer_arn("l");
    assert_eq!(of(&arn), Ok(("l".to_owned(), None)));
    assert_eq!(of(&format!("{arn}:3")), Ok(("l".to_owned(), Some(3))));
    assert_eq!(of(&format!("{arn}:x")), Err("ValidationException".to_owned()));
    assert_eq!(of("l/../m"), Err("ValidationException".to_owned()));
    assert_eq!(
        of("arn:aws:lambda:us-east-1:999999999999:layer:l:1"),
        Err("ResourceNotFoundException".to_owned())
    );
}

proptest! {
    /// Whatever is written, nothing but a plain name comes out, and an ARN that we write reads back.
    #[test]
    fn names_are_plain_and_arns_read_back(
        text in ".{0,80}",
        name in "[a-zA-Z0-9_-]{1,64}",
        qualifier in proptest::option::of("[a-zA-Z0-9_-]{1,20}|[$]LATEST"),
    ) {
        if let Ok(named) = parse(&text, &home()) {
            prop_assert!(is_word(&named.name) && named.name.len() <= MAX_NAME);
            prop_assert!(named.qualifier.is_none_or(|q| is_qualifier(&q)));
        }
        let arn = home().function_arn(&name, qualifier.as_deref());
        let read = parse(&arn, &home()).unwrap();
        prop_assert_eq!(read, Named { name, qualifier });
    }
}

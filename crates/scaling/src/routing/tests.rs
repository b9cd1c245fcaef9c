//! Tests of `routing`.

use proptest::prelude::*;

use super::*;

#[test]
fn a_call_reaches_the_other_version_as_often_as_its_weight_says() {
    let weights = [("2", 0.25)];
    let picked = |draw| pick("1", &weights, draw);
    assert_eq!([picked(0.0), picked(0.249), picked(0.25), picked(0.999)], ["2", "2", "1", "1"]);
    assert_eq!(pick("1", &[("2", 0.0)], 0.0), "1");
    assert_eq!(pick("1", &[("2", 1.0)], 0.999_999), "2");
    assert_eq!(pick::<String>("1", &[], 0.5), "1");
    assert_eq!(pick("1", &weights, f64::NAN), "1");
}

/// The alias's version, its weights, and AWS's error and message.
type Case = (&'static str, &'static [(&'static str, f64)], &'static str, String);

#[test]
fn weights_that_aws_refuses_in_its_words() {
    let value = "at 'routingConfig.additionalVersionWeights' failed to satisfy constraint: Map";
    let range = "value must satisfy constraint: [Member must have value less than or equal to 1.0, Member must \
                 have value greater than or equal to 0.0, Member must not be null]";
    let digits = "keys must satisfy constraint: [Member must have length less than or equal to 1024, Member must \
                  have length greater than or equal to 1, Member must satisfy regular expression pattern: [0-9]+, \
                  Member must not be null]";
    let cases: [Case; 6] = [
        (
            "1",
            &[("2", 0.5), ("3", 0.5)],
            "InvalidParameterValueException",
            "Number of items in AdditionalVersionWeights cannot be greater than 1".to_owned(),
        ),
        ("1", &[("2", 2.0)], "ValidationException", format!("1 validation error detected: Value '{{2=2.0}}' {value} {range}")),
        (
            "1",
            &[("2", -0.25)],
            "ValidationException",
            format!("1 validation error detected: Value '{{2=-0.25}}' {value} {range}"),
        ),
        (
            "1",
            &[("1", 0.5)],
            "InvalidParameterValueException",
            "Invalid function version 1. Function version 1 is already included in routing configuration.".to_owned(),
        ),
        (
            "$LATEST",
            &[("1", 0.5)],
            "InvalidParameterValueException",
            "$LATEST is not supported for an alias pointing to more than 1 version".to_owned(),
        ),
        (
            "1",
            &[("$LATEST", 0.5)],
            "ValidationException",
            format!("1 validation error detected: Value '{{$LATEST=0.5}}' {value} {digits}"),
        ),
    ];
    for (primary, weights, code, message) in cases {
        let error = validate_weights(primary, weights).unwrap_err();
        assert_eq!((error.aws_code(), error.to_string()), (code, message));
    }
    assert!(validate_weights("1", &[("2", f64::NAN)]).is_err());
    for weight in [0.0, 0.1, 1.0] {
        assert_eq!(validate_weights("1", &[("2", weight)]), Ok(()));
    }
    assert_eq!(validate_weights::<&str>("$LATEST", &[]), Ok(()));
}

proptest! {
    #[test]
    fn evenly_spaced_draws_are_split_by_weight(weight in 0.0f64..=1.0) {
        let weights = [("2", weight)];
        let draws = 1_000;
        let reached = (0..draws).filter(|i| pick("1", &weights, f64::from(*i) / 1_000.0) == "2").count();
        prop_assert!((reached as f64 - weight * 1_000.0).abs() <= 1.0);
    }
}

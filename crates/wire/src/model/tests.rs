use super::*;

#[test]
fn every_model_parses_and_agrees_with_the_routing_table() {
    assert_eq!(ServiceModel::all().count(), MODELS.len());
    for (model, embedded) in ServiceModel::all().zip(&MODELS) {
        assert_eq!(model.name, embedded.name);
        assert_eq!(model.signing_name, embedded.signing_name);
        if model.protocols.iter().any(|protocol| protocol == "json") {
            assert_eq!(model.target_prefix.as_deref(), Some(embedded.target_prefix));
        } else {
            assert_eq!(embedded.target_prefix, "");
        }
        if model.protocols.iter().any(|protocol| protocol == "query") {
            assert_eq!(model.version, embedded.query_version);
            assert!(model.xml_namespace.is_some());
        }
        for operation in model.operations.values() {
            assert!(model.knows(&operation.name));
        }
    }
}

#[test]
fn names_find_their_model() {
    for (given, name) in
        [("sagemaker", "sagemaker"), ("monitoring", "cloudwatch"), ("cloudwatch", "cloudwatch")]
    {
        assert_eq!(ServiceModel::by_name(given).map(|m| m.name.as_str()), Some(name));
    }
    assert!(ServiceModel::by_name("dynamodb").is_none());
    assert!(ServiceModel::by_target_prefix("").is_none());
    assert!(ServiceModel::query_service("sagemaker").is_none());
}

#[test]
fn an_unbuilt_operation_is_told_from_an_unknown_one() {
    let model = ServiceModel::by_name("sagemaker").unwrap();
    assert_eq!(model.lookup("CreateModel").unwrap().name, "CreateModel");
    let unbuilt = model.lookup("CreateDomain").unwrap_err();
    assert_eq!((unbuilt.code.as_str(), unbuilt.status), ("NotImplementedException", 501));
    let unknown = model.lookup("CreateDog").unwrap_err();
    assert_eq!((unknown.code.as_str(), unknown.status), ("UnknownOperationException", 400));
}

#[test]
fn patterns_that_are_not_checked_are_these_only() {
    let mut unchecked = Vec::new();
    for model in ServiceModel::all() {
        for shape in &model.shapes {
            if shape.pattern.as_ref().is_some_and(|pattern| pattern.regex().is_none()) {
                unchecked.push(format!("{}:{}", model.name, shape.name));
            }
        }
    }
    unchecked.sort();
    insta::assert_snapshot!(unchecked.join("\n"));
}

#[test]
fn patterns_match_whole_values_and_ascii_classes() {
    let pattern = Pattern::new(r"[\w+=,.@-]+".to_owned());
    assert!(pattern.accepts("a.role@x"));
    assert!(!pattern.accepts("a role"));
    assert!(!pattern.accepts("rölle"));
    assert!(!pattern.accepts("x\n"));
    let digits = Pattern::new(r"\d{12}|a\\d".to_owned());
    assert!(digits.accepts("123456789012") && digits.accepts(r"a\d"));
    assert!(!digits.accepts("1234567890123"));
    assert!(!digits.accepts("\u{0661}23456789012"));
}

#[test]
fn patterns_know_javas_surrogate_pairs() {
    let pattern =
        Pattern::new(r"[\u0020-\uD7FF\uE000-\uFFFD\uD800\uDC00-\uDBFF\uDFFF\r\n\t]*".to_owned());
    assert!(pattern.regex().is_some());
    assert!(pattern.accepts("endpoint/hündchen 🐕\n"));
    assert!(!pattern.accepts("\u{1}"));
}

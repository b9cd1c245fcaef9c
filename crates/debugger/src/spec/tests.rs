//! What the SageMaker SDK sends, and what a hand-written request may hold.

use serde_json::json;

use super::*;

#[test]
fn a_rule_as_the_sdk_sends_it() {
    let spec = RuleSpec::from_config(&json!({
        "RuleConfigurationName": "VanishingGradient",
        "RuleEvaluatorImage": "503895931360.dkr.ecr.us-east-1.amazonaws.com/sagemaker-debugger-rules:latest",
        "RuleParameters": {"rule_to_invoke": "VanishingGradient", "threshold": "0.001"},
    }))
    .unwrap();
    assert_eq!(spec.configuration, "VanishingGradient");
    assert_eq!(spec.rule, "VanishingGradient");
    assert_eq!(spec.parameters, BTreeMap::from([("threshold".to_owned(), "0.001".to_owned())]));
    assert!(!spec.stop_training);
}

#[test]
fn actions_in_all_their_spellings() {
    // The first two are `StopTraining()` and `ActionList(StopTraining(), Email("a@b.io"))` of the SDK.
    let one = r#"{\"name\": \"stoptraining\", \"training_job_prefix\": \"job-1\"}"#;
    let list = r#"[{\"name\": \"stoptraining\", \"training_job_prefix\": \"j\"}, {\"endpoint\": \"a@b.io\", \"name\": \"email\"}]"#;
    let email = r#"{\"endpoint\": \"a@b.io\", \"name\": \"email\"}"#;
    for (action, stops) in [
        (one, true),
        (list, true),
        (email, false),
        (r#"{"name": "StopTraining"}"#, true),
        (r#"[{"name": "sms"}]"#, false),
        ("stoptraining", false),
        ("", false),
        ("[[[", false),
    ] {
        let spec = RuleSpec::from_config(&json!({
            "RuleConfigurationName": "r",
            "RuleParameters": {"rule_to_invoke": "Overfit", "action_json": action},
        }))
        .unwrap();
        assert_eq!(spec.stop_training, stops, "{action}");
        assert!(spec.parameters.is_empty());
    }
    let spec = RuleSpec::from_config(&json!({
        "RuleConfigurationName": "r",
        "RuleParameters": {"rule_to_invoke": "StalledTrainingRule", "stop_training_on_fire": "True"},
    }));
    assert!(spec.unwrap().stop_training);
}

#[test]
fn wrong_forms_say_what_is_wanted() {
    for config in [
        json!(null),
        json!({}),
        json!({"RuleConfigurationName": ""}),
        json!({"RuleConfigurationName": 3}),
        json!({"RuleConfigurationName": "r"}),
        json!({"RuleConfigurationName": "r", "RuleParameters": []}),
        json!({"RuleConfigurationName": "r", "RuleParameters": {"threshold": "1"}}),
        json!({"RuleConfigurationName": "r", "RuleParameters": {"rule_to_invoke": 1}}),
    ] {
        let error = RuleSpec::from_config(&config).unwrap_err().to_string();
        assert!(error.contains("\nhint: "), "{error}");
    }
}

//! Configurations as the SDK sends them, and steps that they want.

use proptest::prelude::*;
use serde_json::json;

use super::*;

fn rule(name: &str) -> RuleSpec {
    RuleSpec { configuration: name.into(), rule: name.into(), ..RuleSpec::default() }
}

#[test]
fn the_sdk_configuration_of_two_rules() {
    let hook = Hook::from_config(&json!({
        "S3OutputPath": "s3://bucket/job/debug-output",
        "LocalPath": "/opt/ml/output/tensors",
        "CollectionConfigurations": [
            {"CollectionName": "gradients", "CollectionParameters": {"save_interval": "500"}},
            {"CollectionName": "relu_output",
             "CollectionParameters": {"include_regex": ".*relu_output", "save_interval": "50"}},
        ],
    }))
    .unwrap();
    assert_eq!(hook.local_path(), Some(Path::new("/opt/ml/output/tensors")));
    assert!(
        hook.wants("gradients", Mode::Train, 1000) && !hook.wants("gradients", Mode::Train, 50)
    );
    assert!(hook.wants("relu_output", Mode::Train, 50));
    assert!(!hook.wants("weights", Mode::Train, 0));
    // Losses are always saved, at SageMaker's default interval.
    assert!(hook.wants("losses", Mode::Train, 500) && !hook.wants("losses", Mode::Train, 50));
    assert!(hook.wants_step(Mode::Train, 50) && !hook.wants_step(Mode::Train, 51));
    // Evaluations carry the number of a training step, which the interval would hit by chance.
    assert!(hook.wants("losses", Mode::Eval, 37));
    assert!(hook.wants_tensor("fc.relu_output_0", &["mine"], Mode::Train, 100));
    assert!(!hook.wants_tensor("fc.relu_output_0", &["mine"], Mode::Train, 101));
    assert_eq!(hook.collections_of("fc.relu_output_0"), ["relu_output"]);
}

#[test]
fn modes_and_ranges() {
    let hook = Hook::from_config(&json!({
        "S3OutputPath": "s3://bucket",
        "HookParameters": {
            "train.save_interval": "10", "save_interval": 7, "start_step": "20", "end_step": "40",
            "save_steps": "1, 3",
        },
        "CollectionConfigurations": [
            {"CollectionName": "weights"},
            {"CollectionName": "biases", "CollectionParameters": {"save_interval": "5", "end_step": "1000"}},
        ],
    }))
    .unwrap();
    let steps = |collection: &str, mode| -> Vec<u64> {
        (0..50).filter(|&step| hook.wants(collection, mode, step)).collect()
    };
    assert_eq!(steps("weights", Mode::Train), [1, 3, 20, 30]);
    assert_eq!(steps("weights", Mode::Global), [1, 3, 21, 28, 35]);
    assert_eq!(steps("biases", Mode::Train), [1, 3, 20, 25, 30, 35, 40, 45]);
    assert_eq!(steps("weights", Mode::Eval).len(), 2 + 20);
}

#[test]
fn everything_and_aliases() {
    let all = json!({"HookParameters": {"save_all": "True", "save_interval": "2"}});
    let hook = Hook::from_config(&all).unwrap();
    assert!(hook.wants("anything", Mode::Train, 4) && !hook.wants("anything", Mode::Train, 5));
    let hook = Hook::from_config(&json!({
        "CollectionConfigurations": [{"CollectionName": "input_image"}],
    }))
    .unwrap();
    assert!(hook.wants("input_images", Mode::Train, 0));
    assert_eq!(hook.local_path(), None);
}

#[test]
fn rules_bring_what_they_need() {
    let hook = Hook::default_for_rules(&[rule("PoorWeightInitialization"), rule("ClassImbalance")]);
    let steps = |collection: &str| -> Vec<u64> {
        (0..25).filter(|&step| hook.wants(collection, Mode::Train, step)).collect()
    };
    assert_eq!(steps("gradients"), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 20]);
    assert_eq!(steps("losses"), steps("gradients"));
    assert_eq!(steps("labels").len(), 25);
    assert_eq!(steps("outputs"), [0, 10, 20]);
    assert!(steps("weights").is_empty());
    // What a configuration says is not changed by rules.
    let hook = Hook::from_config(&json!({
        "CollectionConfigurations":
            [{"CollectionName": "gradients", "CollectionParameters": {"save_interval": "3"}}],
    }))
    .unwrap()
    .with_rules(&[rule("VanishingGradient"), rule("WeightUpdateRatio")]);
    assert!(hook.wants("gradients", Mode::Train, 3) && hook.wants("weights", Mode::Train, 500));
    // A pattern brings the tensors it matches; that of a loss rule does not, it may be `.*`.
    let mut pattern = rule("AllZero");
    pattern.parameters.insert("tensor_regex".into(), "bn.*running_var".into());
    let mut loss = rule("Overfit");
    loss.parameters.insert("tensor_regex".into(), ".*".into());
    let hook = Hook::default_for_rules(&[pattern, loss]);
    assert!(hook.wants_tensor("bn1.running_var", &[], Mode::Train, 10));
    assert!(!hook.wants_tensor("fc.weight", &["weights"], Mode::Train, 10));
}

#[test]
fn short_runs_are_saved_ten_times() {
    let config = json!({"CollectionConfigurations": [
        {"CollectionName": "gradients", "CollectionParameters": {"save_interval": "500"}},
        {"CollectionName": "weights", "CollectionParameters": {"save_interval": "7"}},
    ]});
    let hook = Hook::from_config(&config).unwrap();
    let saves = |hook: &Hook, collection: &str, steps: u64| {
        (0..steps).filter(|&step| hook.wants(collection, Mode::Train, step)).count()
    };
    for (steps, gradients, weights) in
        [(200, 10, 29), (5, 5, 5), (4_000, 10, 572), (50_000, 100, 7143)]
    {
        let hook = hook.clone().fitted_to(steps);
        assert_eq!(saves(&hook, "gradients", steps), gradients, "{steps}");
        assert_eq!(saves(&hook, "weights", steps), weights, "{steps}");
    }
}

#[test]
fn wrong_forms_say_what_is_wanted() {
    let collection = |parameters| {
        json!({"CollectionConfigurations":
            [{"CollectionName": "weights", "CollectionParameters": parameters}]})
    };
    for config in [
        json!({"LocalPath": "tensors"}),
        json!({"LocalPath": 3}),
        json!({"HookParameters": "save_interval"}),
        json!({"HookParameters": {"save_interval": "0"}}),
        json!({"HookParameters": {"save_interval": "-1"}}),
        json!({"HookParameters": {"train.start_step": "a"}}),
        json!({"CollectionConfigurations": {"CollectionName": "weights"}}),
        json!({"CollectionConfigurations": [{}]}),
        collection(json!({"save_interval": "often"})),
        collection(json!({"save_steps": "1,x"})),
        collection(json!({"include_regex": "("})),
        collection(json!({"include_regex": "^(?!gradient)"})),
        collection(json!([])),
    ] {
        let error = Hook::from_config(&config).unwrap_err().to_string();
        assert!(error.contains("\nhint: "), "{error}");
    }
    for fine in [json!(null), json!({}), json!({"HookParameters": null}), collection(json!(null))] {
        assert!(Hook::from_config(&fine).is_ok());
    }
}

/// JSON of any form, with the members that are looked at more often than chance has them.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "[0-9,]{0,6}|\\PC{0,8}|/opt|True".prop_map(Value::from),
    ];
    let name = prop_oneof![
        Just("LocalPath".to_owned()),
        Just("HookParameters".to_owned()),
        Just("CollectionConfigurations".to_owned()),
        Just("CollectionName".to_owned()),
        Just("CollectionParameters".to_owned()),
        Just("RuleConfigurationName".to_owned()),
        Just("RuleParameters".to_owned()),
        Just("rule_to_invoke".to_owned()),
        Just("action_json".to_owned()),
        Just("save_interval".to_owned()),
        Just("eval.save_steps".to_owned()),
        Just("include_regex".to_owned()),
        "\\PC{0,6}",
    ];
    leaf.prop_recursive(4, 32, 6, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::btree_map(name.clone(), inner, 0..6)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn any_configuration_is_taken_or_refused(config in any_json(), step in any::<u64>()) {
        if let Ok(spec) = RuleSpec::from_config(&config) {
            Hook::default_for_rules(&[spec]).wants("losses", Mode::Train, step);
        }
        if let Ok(hook) = Hook::from_config(&config) {
            let hook = hook.fitted_to(step);
            prop_assert!(hook.wants_step(Mode::Train, 0) || !hook.wants("losses", Mode::Train, 0));
            hook.wants_tensor("loss", &["losses"], Mode::Eval, step);
        }
    }
}

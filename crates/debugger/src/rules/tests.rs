//! What holds for all rules.

use proptest::prelude::*;

use super::test_support::{lacking, rule, show, try_rule};
use super::*;

/// Parameters without which a rule does not start.
fn least(name: &str) -> &'static [(&'static str, &'static str)] {
    match name {
        "TensorVariance" => &[("max_threshold", "10"), ("min_threshold", "1e-9")],
        _ => &[],
    }
}

#[test]
fn every_rule_starts_and_says_what_it_lacks() {
    for name in NAMES {
        let mut rule = rule(name, least(name));
        let sentence = lacking(rule.as_mut()).unwrap();
        assert!(sentence.contains("; hint: "), "{name}: {sentence}");
    }
}

#[test]
fn unknown_rules_and_parameters_are_errors() {
    let error = try_rule("Vanishing`Gradient\n", &[]).unwrap_err();
    assert!(error.starts_with("there is no rule `Vanishing?Gradient?`; hint: "), "{error}");
    assert!(error.contains("AllZero, ") && error.contains(", WeightUpdateRatio"));
    for name in NOT_IMPLEMENTED {
        assert!(try_rule(name, &[]).unwrap_err().contains("not implemented by Kennel"));
    }
    for name in NAMES {
        let error = try_rule(name, &[least(name), &[("treshold", "1")]].concat()).unwrap_err();
        assert!(error.contains("no parameter `treshold`; hint: it has "), "{error}");
        assert!(
            try_rule(name, &[least(name), &[("base_trial", "x"), ("start_step", "5")]].concat())
                .is_ok()
        );
    }
    assert!(try_rule("VanishingGradient", &[("threshold", "tiny")]).is_err());
    assert!(try_rule("TensorVariance", &[]).unwrap_err().contains("max_threshold"));
}

/// AWS's page gives an example for each rule; its parameters are all taken.
#[test]
fn the_parameters_of_the_documentation_are_taken() {
    let examples: [(&str, &[(&str, &str)]); 16] = [
        ("AllZero", &[("tensor_regex", ".*"), ("threshold", "100")]),
        (
            "CheckInputImages",
            &[
                ("threshold_mean", "0.2"),
                ("threshold_samples", "500"),
                ("regex", ".*hybridsequential0_input_0"),
                ("channel", "1"),
            ],
        ),
        (
            "ClassImbalance",
            &[
                ("threshold_imbalance", "10"),
                ("threshold_misprediction", "0.7"),
                ("samples", "500"),
                ("argmax", "False"),
                ("labels_regex", ".*labels"),
                ("predictions_regex", ".*predictions"),
            ],
        ),
        (
            "Confusion",
            &[
                ("category_no", "10"),
                ("labels", "labels"),
                ("predictions", "predictions"),
                ("labels_collection", "labels"),
                ("predictions_collection", "predictions"),
                ("min_diag", "0.9"),
                ("max_off_diag", "0.1"),
            ],
        ),
        (
            "DeadRelu",
            &[
                ("tensor_regex", ".*relu_output|.*ReLU_output"),
                ("threshold_inactivity", "1.0"),
                ("threshold_layer", "50.0"),
            ],
        ),
        ("ExplodingTensor", &[("tensor_regex", ".*gradient"), ("only_nan", "False")]),
        (
            "LossNotDecreasing",
            &[
                ("tensor_regex", ".*"),
                ("use_losses_collection", "True"),
                ("num_steps", "10"),
                ("diff_percent", "0.1"),
                ("increase_threshold_percent", "5"),
                ("mode", "GLOBAL"),
            ],
        ),
        (
            "Overfit",
            &[
                ("tensor_regex", ".*"),
                ("start_step", "0"),
                ("patience", "1"),
                ("ratio_threshold", "0.1"),
            ],
        ),
        (
            "Overtraining",
            &[("patience_train", "5"), ("patience_validation", "10"), ("delta", "0.01")],
        ),
        (
            "PoorWeightInitialization",
            &[
                ("activation_inputs_regex", ".*relu_input|.*ReLU_input"),
                ("threshold", "10.0"),
                ("distribution_range", "0.001"),
                ("patience", "5"),
                ("steps", "10"),
            ],
        ),
        (
            "SaturatedActivation",
            &[
                ("tensor_regex", ".*tanh_input|.*sigmoid_input"),
                ("threshold_tanh_min", "-9.4999"),
                ("threshold_tanh_max", "9.4999"),
                ("threshold_sigmoid_min", "-23"),
                ("threshold_sigmoid_max", "16.99999"),
                ("threshold_inactivity", "1.0"),
                ("threshold_layer", "50.0"),
            ],
        ),
        (
            "SimilarAcrossRuns",
            &[("other_trials", "job"), ("collection_names", "losses"), ("tensor_regex", ".*")],
        ),
        (
            "StalledTrainingRule",
            &[
                ("threshold", "1800"),
                ("stop_training_on_fire", "True"),
                ("training_job_name_prefix", "job"),
            ],
        ),
        (
            "TensorVariance",
            &[
                ("collection_names", "weights"),
                ("max_threshold", "10"),
                ("min_threshold", "0.00001"),
            ],
        ),
        (
            "UnchangedTensor",
            &[
                ("collection_names", "losses"),
                ("tensor_regex", ""),
                ("num_steps", "3"),
                ("rtol", "1e-05"),
                ("atol", "1e-08"),
                ("equal_nan", "False"),
            ],
        ),
        (
            "WeightUpdateRatio",
            &[
                ("num_steps", "100"),
                ("large_threshold", "10.0"),
                ("small_threshold", "0.00000001"),
                ("epsilon", "0.000000001"),
            ],
        ),
    ];
    for (name, parameters) in examples {
        assert!(try_rule(name, parameters).is_ok(), "{name}");
    }
}

proptest! {
    /// Strange shapes and values: a rule answers or not, and does not panic.
    #[test]
    fn rules_take_anything(
        sizes in proptest::collection::vec(0usize..5, 0..5),
        seed in any::<u32>(),
        name in prop_oneof!["gradient/w", "w", "labels", "logits", "images", "a.relu_output_0", "tanh_input", "loss"],
        collection in prop_oneof!["weights", "gradients", "losses", "labels", "outputs", "predictions",
            "relu_output", "relu_input", "sigmoid_output", "tanh_input", "input_images", "all"],
    ) {
        let count: usize = sizes.iter().product();
        let odd = [0.0, -0.0, 1.0, -1.0, 1e30, -1e30, 1e-40, f32::NAN, f32::INFINITY, f32::NEG_INFINITY];
        let value = |index: usize| odd[(seed as usize).wrapping_add(index * 7) % odd.len()];
        let values: Vec<f32> = (0..count).map(value).collect();
        for rule_name in NAMES {
            let mut rule = rule(rule_name, least(rule_name));
            for step in 0..4 {
                for mode in Mode::ALL {
                    let labels = [0.0f32, 1.0];
                    let tensors = [
                        (name.as_str(), collection.as_str(), sizes.as_slice(), values.as_slice()),
                        ("labels", "labels", &[2], &labels),
                    ];
                    if let Some(sentence) = show(rule.as_mut(), mode, step, &tensors) {
                        prop_assert!(!sentence.contains('\n'));
                    }
                }
            }
            rule.finish();
        }
    }
}

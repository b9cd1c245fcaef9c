//! Each rule is proved by a training run made to have its fault and one made not to: a small network in plain
//! Rust, trained for real, saves its tensors under a hook while the rules look on.

#![allow(clippy::unwrap_used, reason = "helpers of tests, outside of the functions marked so")]

mod network;
mod run;

use kennel_debugger::{Hook, RuleSpec, Status, Verdict};
use network::Activation;
use run::{Run, Watched, spec, watch, watch_under};

/// The verdict of one rule on one run, with the hook that the rule asks for.
fn verdict(spec: RuleSpec, run: &Run) -> Verdict {
    let Watched { verdicts, .. } = watch(run, vec![spec], &[]);
    verdicts.into_iter().next().unwrap()
}

/// Runs the rule on both runs. The faulty one must be found, with these words; the healthy one must not.
fn proves(rule: &str, parameters: &[(&str, &str)], faulty: &Run, healthy: &Run, words: &[&str]) {
    let found = verdict(spec(rule, parameters), faulty);
    assert_eq!(found.status, Status::IssuesFound, "{}", found.details);
    assert!(found.details.starts_with(&format!("{rule}: ")), "{}", found.details);
    for word in words {
        assert!(found.details.contains(word), "no `{word}` in: {}", found.details);
    }
    assert!(found.details.contains("hint: ") && found.details.len() <= 1024, "{}", found.details);
    let clean = verdict(spec(rule, parameters), healthy);
    assert_eq!(clean.status, Status::NoIssuesFound, "{}", clean.details);
    assert_eq!(clean.details, "");
}

#[test]
fn vanishing_gradient() {
    let deep = Run {
        activation: Activation::Sigmoid,
        hidden: vec![24; 7],
        init: 0.1,
        epochs: 1,
        ..Run::default()
    };
    let words = ["gradient of `hidden.0.", "at step 0", "below 1.0e-7"];
    proves("VanishingGradient", &[], &deep, &Run::default(), &words);
}

#[test]
fn exploding_tensor() {
    let wild = Run { rate: 1e6, ..Run::default() };
    proves("ExplodingTensor", &[], &wild, &Run::default(), &["not a number", "learning rate"]);
}

#[test]
fn poor_weight_initialization_too_large() {
    let large = Run { hidden: vec![32; 3], init: 8.0, rate: 1e-6, ..Run::default() };
    let words = ["at step 0 the variance of", "times apart"];
    proves("PoorWeightInitialization", &[], &large, &Run::default(), &words);
}

#[test]
fn poor_weight_initialization_too_small() {
    let small = Run { init: 1e-3, ..Run::default() };
    // The gradients say it, whichever layer is looked at first.
    let parameters = [("threshold", "1e12")];
    let words = ["at step 0", "the middle 90%", "(limit 0.001)"];
    proves("PoorWeightInitialization", &parameters, &small, &Run::default(), &words);
}

#[test]
fn poor_weight_initialization_without_progress() {
    let stuck = Run { rate: 0.0, batch: 512, epochs: 12, ..Run::default() };
    let words = ["the loss `loss`", "5 saved steps"];
    proves("PoorWeightInitialization", &[], &stuck, &Run::default(), &words);
}

#[test]
fn dead_relu() {
    let dead = Run { hidden_bias: -20.0, ..Run::default() };
    let words = ["32 of the 32 ReLUs of `hidden.0.relu_output_0`", "at step 0"];
    proves("DeadRelu", &[], &dead, &Run::default(), &words);
}

#[test]
fn saturated_activation() {
    let healthy = Run { activation: Activation::Tanh, ..Run::default() };
    let saturated = Run { init: 5_000.0, ..healthy.clone() };
    let words = ["`hidden.0.tanh_input_0` are saturated", "at step 0"];
    proves("SaturatedActivation", &[], &saturated, &healthy, &words);

    let healthy = Run { activation: Activation::Sigmoid, ..Run::default() };
    let saturated = Run { init: 20_000.0, ..healthy.clone() };
    let only_outputs = [("tensor_regex", ".*sigmoid_output")];
    proves("SaturatedActivation", &only_outputs, &saturated, &healthy, &["sigmoid_output_0"]);
}

#[test]
fn all_zero() {
    let not_loaded = Run { zero_inputs: true, ..Run::default() };
    proves("AllZero", &[], &not_loaded, &Run::default(), &["100% of the", "at step 0"]);
}

#[test]
fn class_imbalance() {
    let skewed = Run { first_class_times: 30, ..Run::default() };
    let words = ["are of class 0", "times fewer (limit 10)"];
    proves("ClassImbalance", &[], &skewed, &Run::default(), &words);
}

#[test]
fn class_imbalance_by_mispredictions() {
    // Six to one is within the limit, but the model has learnt to ignore what is rare.
    let ignored = Run {
        first_class_times: 6,
        classes: 3,
        noise: 5.0,
        features: 3,
        hidden: vec![],
        rows: 960,
        ..Run::default()
    };
    let parameters = [("samples", "200"), ("threshold_misprediction", "0.7")];
    let words = ["one of the smaller ones, is predicted wrongly"];
    proves("ClassImbalance", &parameters, &ignored, &Run::default(), &words);
}

#[test]
fn confusion() {
    let mislabelled = Run { flips: 0.4, ..Run::default() };
    proves("Confusion", &[], &mislabelled, &Run::default(), &["predicted as class", "at the end"]);
}

#[test]
fn loss_not_decreasing() {
    let frozen = Run { rate: 0.0, ..Run::default() };
    let words = ["the loss `loss` of mode `eval` fell only", "less than 0.1%"];
    proves("LossNotDecreasing", &[("mode", "EVAL")], &frozen, &Run::default(), &words);
    let wild = Run { rate: 1.0, flips: 0.3, epochs: 20, ..Run::default() };
    let words = ["the loss `loss` of mode `train` rose", "more than 5%"];
    proves("LossNotDecreasing", &[("mode", "TRAIN")], &wild, &quiet(), &words);
}

/// A run whose losses fall from step to step: every step sees all rows.
fn quiet() -> Run {
    Run {
        rows: 1024,
        batch: 1024,
        hidden: vec![16, 16],
        noise: 1.2,
        rate: 0.1,
        epochs: 25,
        ..Run::default()
    }
}

#[test]
fn overfit() {
    let by_heart = Run { rows: 40, flips: 0.4, epochs: 60, batch: 20, ..Run::default() };
    let words = ["the validation loss is", "by heart"];
    proves("Overfit", &[], &by_heart, &Run { epochs: 3, ..Run::default() }, &words);
}

#[test]
fn overtraining() {
    let too_long = Run { rows: 128, noise: 3.0, epochs: 80, ..Run::default() };
    let healthy = Run { rate: 0.01, epochs: 8, ..Run::default() };
    proves("Overtraining", &[], &too_long, &healthy, &["has not improved by 0.01 for"]);
    // Validation alone: the training loss still falls.
    let parameters = [("patience_train", "1000")];
    proves(
        "Overtraining",
        &parameters,
        &too_long,
        &healthy,
        &["the validation loss", "10 evaluations"],
    );
}

#[test]
fn stalled_training() {
    let hangs = Run { hangs_after: Some(40), ..Run::default() };
    let words = ["no tensor was saved for 1801 seconds after step 40", "(limit 1800)"];
    proves("StalledTrainingRule", &[], &hangs, &Run::default(), &words);
    proves("StalledTraining", &[], &hangs, &Run::default(), &words);
}

#[test]
fn tensor_variance() {
    let wide = Run { init: 40.0, rate: 1e-6, ..Run::default() };
    let limits = [("max_threshold", "10"), ("min_threshold", "0.00001")];
    proves("TensorVariance", &limits, &wide, &Run::default(), &["is above 10 at step 0"]);
    let narrow = Run { init: 1e-4, rate: 1e-6, ..Run::default() };
    proves("TensorVariance", &limits, &narrow, &Run::default(), &["is below 1.0e-5 at step 0"]);
}

#[test]
fn unchanged_tensor() {
    let frozen = Run { frozen: Some(0), ..Run::default() };
    let words = ["`hidden.0.weight` did not change over 3 saved steps, 0 to 20"];
    proves("UnchangedTensor", &[], &frozen, &Run::default(), &words);
}

#[test]
fn weight_update_ratio() {
    let thrown = Run { rate: 300.0, hidden: vec![], ..Run::default() };
    let words = ["from step 0 to step 10", "times its own size, above 10"];
    proves("WeightUpdateRatio", &[], &thrown, &Run::default(), &words);
    let still = Run { frozen: Some(1), ..Run::default() };
    let words = ["`hidden.1.weight` changed by 0 times", "below 1.0e-8"];
    proves("WeightUpdateRatio", &[("num_steps", "10")], &still, &Run::default(), &words);
}

#[test]
fn similar_across_runs() {
    let first = watch(&Run::default(), vec![spec("SimilarAcrossRuns", &[])], &[]);
    let others = [first.folder.path().to_owned()];
    let again = watch(&Run::default(), vec![spec("SimilarAcrossRuns", &[])], &others);
    assert_eq!(again.verdicts[0].status, Status::NoIssuesFound, "{}", again.verdicts[0].details);
    let seeded = Run { seed: 2, ..Run::default() };
    let other = watch(&seeded, vec![spec("SimilarAcrossRuns", &[])], &others);
    assert_eq!(other.verdicts[0].status, Status::IssuesFound);
    assert!(other.verdicts[0].details.contains("differs from the other run in"));
    // Without another run there is nothing to say.
    assert_eq!(first.verdicts[0].status, Status::Error);
    assert!(first.verdicts[0].details.contains("other_trials"));
}

#[test]
fn check_input_images() {
    let raw = Run { image_shift: 0.5, ..Run::default() };
    let words = ["the mean of channel", "of `images`", "not normalised"];
    let parameters = [("threshold_samples", "300")];
    proves("CheckInputImages", &parameters, &raw, &Run::default(), &words);
}

/// Rules that find something on healthy runs are worse than none.
#[test]
fn a_healthy_run_has_no_issues() {
    let rules = [
        "AllZero",
        "CheckInputImages",
        "ClassImbalance",
        "Confusion",
        "DeadRelu",
        "ExplodingTensor",
        "LossNotDecreasing",
        "Overfit",
        "Overtraining",
        "PoorWeightInitialization",
        "SaturatedActivation",
        "StalledTrainingRule",
        "UnchangedTensor",
        "VanishingGradient",
        "WeightUpdateRatio",
    ];
    for activation in [Activation::Relu, Activation::Tanh] {
        for seed in 1..3 {
            let run = Run { activation, seed, ..quiet() };
            let specs = rules.iter().map(|rule| spec(rule, &[])).collect();
            for verdict in watch(&run, specs, &[]).verdicts {
                let lacks = match activation {
                    Activation::Relu => "SaturatedActivation",
                    _ => "DeadRelu",
                };
                let wanted = match verdict.configuration == lacks {
                    true => Status::Error,
                    false => Status::NoIssuesFound,
                };
                assert_eq!(verdict.status, wanted, "{}", verdict.details);
            }
        }
    }
}

/// The action stops the run at the step at which the issue is found, and not before.
#[test]
fn stop_training_stops_the_run() {
    let mut rule = spec("ExplodingTensor", &[]);
    rule.stop_training = true;
    let wild = Run { rate: 1e6, ..Run::default() };
    let stopped = watch(&wild, vec![rule.clone()], &[]);
    assert!(stopped.verdicts[0].stop_training);
    assert!(stopped.last_step < 30, "{}", stopped.last_step);
    let healthy = watch(&Run::default(), vec![rule], &[]);
    assert!(!healthy.verdicts[0].stop_training);
    assert!(healthy.last_step > 30);
}

/// Whoever polls once, at the end, gets the same verdicts.
#[test]
fn verdicts_do_not_depend_on_when_anybody_polls() {
    let run = Run { flips: 0.3, first_class_times: 30, rate: 3.0, ..Run::default() };
    let rules =
        ["ClassImbalance", "Confusion", "LossNotDecreasing", "Overfit", "WeightUpdateRatio"];
    let specs = || rules.iter().map(|rule| spec(rule, &[])).collect::<Vec<_>>();
    let live = watch(&run, specs(), &[]);
    let mut late = kennel_debugger::Evaluator::new(specs(), live.folder.path(), &[]);
    let changed = late.finish(0);
    assert_eq!(late.verdicts(), live.verdicts);
    assert_eq!(changed.len(), rules.len());
    assert!(late.finish(0).is_empty());
}

/// All seventeen rules and their hook, as the SageMaker SDK 2 sends them (`sdk.json` is what it made of
/// `Rule.sagemaker(rule_configs.…())`), on a healthy run of 25 steps.
#[test]
fn what_the_sdk_sends_works() {
    let sent: serde_json::Value = serde_json::from_str(include_str!("sdk.json")).unwrap();
    let rules = sent["rules"].as_array().unwrap().iter();
    let specs: Vec<RuleSpec> = rules.map(|rule| RuleSpec::from_config(rule).unwrap()).collect();
    let stops: Vec<&str> = specs
        .iter()
        .filter(|spec| spec.stop_training)
        .map(|spec| spec.configuration.as_str())
        .collect();
    assert_eq!(stops, ["Overfit", "Overtraining"]);
    let run = quiet();
    let hook = Hook::from_config(&sent["hook"]).unwrap().with_rules(&specs).fitted_to(25);
    let Watched { folder, verdicts, .. } = watch_under(&run, hook, specs, &[]);
    let others = [folder.path().to_owned()];
    for verdict in &verdicts {
        let (wanted, words) = match verdict.configuration.as_str() {
            "SimilarAcrossRuns" => (Status::Error, "no other run"),
            "TensorVariance" => (Status::Error, "neither `max_threshold` nor `min_threshold`"),
            "SaturatedActivation" => (Status::Error, "no activations of tanh or sigmoid"),
            _ => (Status::NoIssuesFound, ""),
        };
        assert_eq!(verdict.status, wanted, "{}", verdict.details);
        assert!(verdict.details.contains(words), "{}", verdict.details);
    }
    assert_eq!(verdicts.len(), 17);
    // The path of the other run comes from its job, not from the parameter.
    let rules = sent["rules"].as_array().unwrap();
    let similar = rules.iter().find(|rule| rule["RuleConfigurationName"] == "SimilarAcrossRuns");
    let specs = vec![RuleSpec::from_config(similar.unwrap()).unwrap()];
    let hook = Hook::from_config(&sent["hook"]).unwrap().fitted_to(25);
    let again = watch_under(&run, hook, specs, &others);
    assert_eq!(again.verdicts[0].status, Status::NoIssuesFound, "{}", again.verdicts[0].details);
}

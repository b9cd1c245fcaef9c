//! Thresholds of the rules that look at one tensor.

use crate::Mode::{Eval, Train};
use crate::rules::test_support::{clean, rule, show};

#[test]
fn vanishing_means_below_the_threshold() {
    let mut vanishing = rule("VanishingGradient", &[("threshold", "0.5")]);
    let mut gradient = |values: &[f32]| {
        let tensor = ("gradient/fc.0.weight", "gradients", &[values.len()][..], values);
        show(vanishing.as_mut(), Train, 40, &[tensor])
    };
    assert_eq!(gradient(&[0.5, -0.5]), None);
    assert_eq!(gradient(&[f32::NAN, 0.0]), None);
    assert_eq!(gradient(&[]), None);
    let said = gradient(&[0.5, -0.4]).unwrap();
    assert!(said.starts_with(
        "the mean absolute gradient of `fc.0.weight` fell below 0.5 at step 40 (0.45)"
    ));
    // By its name alone, from a script that files it nowhere; and only gradients.
    let mut vanishing = rule("VanishingGradient", &[]);
    let weight = ("fc.weight", "weights", &[1][..], &[0.0f32][..]);
    assert_eq!(show(vanishing.as_mut(), Train, 0, &[weight]), None);
    let gradient = ("gradient/fc.weight", "", &[1][..], &[0.0f32][..]);
    assert!(show(vanishing.as_mut(), Train, 0, &[gradient]).is_some());
}

#[test]
fn exploding_may_be_nan_alone() {
    let infinite = ("x", "weights", &[2][..], &[f32::INFINITY, 0.0][..]);
    let nan = ("x", "weights", &[2][..], &[f32::NAN, 0.0][..]);
    let mut both = rule("ExplodingTensor", &[]);
    assert!(
        show(both.as_mut(), Train, 0, &[infinite]).unwrap().contains("1 that are infinite, of 2")
    );
    let mut only_nan = rule("ExplodingTensor", &[("only_nan", "True")]);
    assert_eq!(show(only_nan.as_mut(), Train, 0, &[infinite]), None);
    assert!(
        show(only_nan.as_mut(), Eval, 1, &[nan])
            .unwrap()
            .contains("1 values that are not a number")
    );
    let mut gradients = rule("ExplodingTensor", &[("collection_names", "gradients")]);
    assert_eq!(show(gradients.as_mut(), Train, 0, &[nan]), None);
}

#[test]
fn all_zero_by_percent_and_not_at_the_start() {
    let half = ("w", "weights", &[4][..], &[0.0, -0.0, 1.0, 2.0][..]);
    let mut rule50 = rule("AllZero", &[("threshold", "50"), ("collection_names", "weights")]);
    assert!(
        show(rule50.as_mut(), Train, 0, &[half]).unwrap().starts_with("50% of the 4 values of `w`")
    );
    let mut rule51 = rule("AllZero", &[("threshold", "51"), ("tensor_regex", "w")]);
    assert_eq!(show(rule51.as_mut(), Train, 0, &[half]), None);
    assert_eq!(clean(rule51.as_mut()).as_deref(), Some(""));
    // A last layer may start at zero, if nobody asked for weights by name.
    let zero = ("w", "weights", &[2][..], &[0.0, 0.0][..]);
    let mut own = rule("AllZero", &[]);
    assert_eq!(show(own.as_mut(), Train, 0, &[zero]), None);
    assert!(show(own.as_mut(), Train, 1, &[zero]).is_some());
}

#[test]
fn variance_has_two_sides() {
    let wide = ("w", "weights", &[2][..], &[-4.0, 4.0][..]);
    let mut high = rule("TensorVariance", &[("max_threshold", "15.9")]);
    assert!(show(high.as_mut(), Train, 3, &[wide]).unwrap().contains("above 15.9 at step 3 (16)"));
    let mut exact = rule("TensorVariance", &[("max_threshold", "16"), ("min_threshold", "16")]);
    assert_eq!(show(exact.as_mut(), Train, 3, &[wide]), None);
    let mut low = rule("TensorVariance", &[("min_threshold", "16.1")]);
    assert!(show(low.as_mut(), Train, 3, &[wide]).unwrap().contains("below 16.1"));
    // A scalar has no variance.
    let scalar = ("w", "weights", &[][..], &[5.0][..]);
    assert_eq!(show(low.as_mut(), Train, 4, &[scalar]), None);
}

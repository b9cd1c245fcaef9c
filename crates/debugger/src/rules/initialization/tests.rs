//! The three checks of the first steps.

use super::spread;
use crate::Mode::{Eval, Train};
use crate::rules::test_support::{rule, scalars, show};

#[test]
fn percentiles_are_those_of_numpy() {
    let values: Vec<f32> = (0..=100u8).rev().map(f32::from).collect();
    assert_eq!(spread(&values), Some(90.0));
    // numpy.percentile([1, 2, 4], [5, 95]) is [1.1, 3.8].
    let apart = spread(&[4.0, 1.0, 2.0]).unwrap();
    assert!((apart - 2.7).abs() < 1e-12, "{apart}");
    assert_eq!(spread(&[1.0]), None);
    assert_eq!(spread(&[1.0, f32::NAN]), None);
}

#[test]
fn variances_of_layers() {
    let tensors = |a: f32| {
        [
            ("1.relu_input".to_owned(), vec![-1.0, 1.0]),
            ("2.relu_input".to_owned(), vec![-a, a]),
            // Outputs do not count where there are inputs.
            ("1.relu_output".to_owned(), vec![0.0, 1e-9]),
        ]
    };
    for (a, issue) in [(3.1f32, false), (3.2, true), (0.31, true), (0.0, true)] {
        let mut rule = rule("PoorWeightInitialization", &[]);
        let owned = tensors(a);
        let shown: Vec<_> =
            owned.iter().map(|(name, values)| (name.as_str(), "", &[2][..], &values[..])).collect();
        assert_eq!(show(rule.as_mut(), Train, 0, &shown).is_some(), issue, "{a}");
        // One layer has nothing to differ from.
        let mut alone = super::super::test_support::rule("PoorWeightInitialization", &[]);
        assert_eq!(show(alone.as_mut(), Train, 0, &shown[..1]), None);
    }
}

#[test]
fn narrow_gradients_of_the_first_steps() {
    let narrow = ("gradient/w", "gradients", &[3][..], &[0.0, 0.0005, 0.0009][..]);
    let mut first = rule("PoorWeightInitialization", &[("steps", "10")]);
    let wide = ("gradient/w", "gradients", &[2][..], &[-1.0, 1.0][..]);
    assert_eq!(show(first.as_mut(), Train, 500, &[wide]), None);
    assert_eq!(show(first.as_mut(), Train, 510, &[narrow]), None, "beyond the first ten steps");
    assert_eq!(show(first.as_mut(), Eval, 500, &[narrow]), None);
    assert!(show(first.as_mut(), Train, 509, &[narrow]).is_some());
}

#[test]
fn losses_without_progress() {
    let said = |losses: &[f32]| {
        let mut rule = rule("PoorWeightInitialization", &[]);
        let losses: Vec<(u64, f32)> = (0..).zip(losses.iter().copied()).collect();
        scalars(rule.as_mut(), Train, "loss", "losses", &losses).map(|(step, _)| step)
    };
    assert_eq!(said(&[1.0; 9]), None, "five before and five after");
    assert_eq!(said(&[1.0; 10]), Some(9));
    assert_eq!(
        said(&[1.0, 1.3, 1.3, 1.3, 1.3, 1.1, 1.1, 1.1, 1.1, 1.1]),
        None,
        "better on average"
    );
    assert_eq!(said(&[1.0, 1.0, 1.0, 1.0, 1.0, 1.5, 1.5, 1.5, 1.5, 0.9]), None, "a record");
    assert_eq!(said(&[1.0, 0.9, 0.8, 0.7, 0.6, 0.6, 0.9, 0.9, 0.8, 0.8]), Some(9));
    let mut nan = [1.0; 10];
    nan[5..].fill(f32::NAN);
    assert_eq!(said(&nan), Some(9));
    assert_eq!(said(&[9.0, 8.0, 7.0, 6.0, 5.0, 4.0, 3.0, 2.0, 1.0, 0.5]), None);
    let mut short = rule("PoorWeightInitialization", &[("steps", "3"), ("patience", "2")]);
    let flat = [(0, 1.0), (1, 1.0), (2, 1.0)];
    assert_eq!(scalars(short.as_mut(), Train, "loss", "losses", &flat).unwrap().0, 2);
}

//! Rows of the same tensor, and updates beside their weights.

use crate::Mode::{Eval, Train};
use crate::rules::test_support::{clean, lacking, rule, scalars, show};

#[test]
fn unchanged_needs_a_row_of_steps() {
    let mut unchanged = rule("UnchangedTensor", &[]);
    let said = scalars(
        unchanged.as_mut(),
        Train,
        "w",
        "weights",
        &[(0, 1.0), (5, 1.0), (6, 1.1), (9, 1.1), (20, 1.100_001), (30, 2.0)],
    );
    let (step, sentence) = said.unwrap();
    assert_eq!(step, 20);
    assert!(sentence.contains("over 3 saved steps, 6 to 20"), "{sentence}");
    // Slow drift is change: it is compared with the first of the row.
    let mut drift = rule("UnchangedTensor", &[("num_steps", "4"), ("rtol", "0"), ("atol", "0.5")]);
    let values: Vec<(u64, f32)> =
        (0..30u8).map(|step| (step.into(), f32::from(step) * 0.2)).collect();
    assert_eq!(scalars(drift.as_mut(), Train, "w", "weights", &values), None);
    assert_eq!(clean(drift.as_mut()).as_deref(), Some(""));
}

#[test]
fn unchanged_nan_and_modes() {
    let nan = [(0, f32::NAN), (1, f32::NAN), (2, f32::NAN)];
    let mut unequal = rule("UnchangedTensor", &[]);
    assert_eq!(scalars(unequal.as_mut(), Train, "w", "weights", &nan), None);
    let mut equal = rule("UnchangedTensor", &[("equal_nan", "True")]);
    assert!(scalars(equal.as_mut(), Train, "w", "weights", &nan).is_some());
    // Weights do not change during evaluation, and training and evaluation are not one row.
    let mut modes = rule("UnchangedTensor", &[]);
    let same = [(0, 1.0), (1, 1.0), (2, 1.0)];
    assert_eq!(scalars(modes.as_mut(), Eval, "w", "weights", &same), None);
    assert!(lacking(modes.as_mut()).is_some());
}

#[test]
fn update_ratio_of_steps_within_reach() {
    let large = [(0, 1.0), (10, 12.5)];
    let mut any = rule("WeightUpdateRatio", &[]);
    let (step, said) = scalars(any.as_mut(), Train, "w", "weights", &large).unwrap();
    assert_eq!(step, 10);
    assert!(said.contains("from step 0 to step 10 `w` changed by 11.5 times"), "{said}");
    // Too far apart to be compared.
    let mut near = rule("WeightUpdateRatio", &[("num_steps", "9")]);
    assert_eq!(scalars(near.as_mut(), Train, "w", "weights", &large), None);
    assert!(lacking(near.as_mut()).is_some());
    // Growing a little at each step, a lot over ten of them.
    let grows: Vec<(u64, f32)> =
        (0..=10u8).map(|step| (step.into(), 1.4f32.powi(step.into()))).collect();
    let mut ten = rule("WeightUpdateRatio", &[("num_steps", "10")]);
    assert_eq!(scalars(ten.as_mut(), Train, "w", "weights", &grows).unwrap().0, 8);
    let mut one = rule("WeightUpdateRatio", &[]);
    assert_eq!(scalars(one.as_mut(), Train, "w", "weights", &grows), None);
}

#[test]
fn update_ratio_from_zero_is_no_ratio() {
    let mut from_zero = rule("WeightUpdateRatio", &[]);
    let start = [(0, 0.0), (1, 0.5), (2, 0.6)];
    assert_eq!(scalars(from_zero.as_mut(), Train, "w", "weights", &start), None);
    assert_eq!(clean(from_zero.as_mut()).as_deref(), Some(""));
    let mut still = rule("WeightUpdateRatio", &[]);
    let said = scalars(still.as_mut(), Train, "w", "weights", &[(0, 1.0), (1, 1.0)]).unwrap().1;
    assert!(said.contains("changed by 0 times its own size, below 1.0e-8"), "{said}");
    // Another shape under the same name starts anew.
    let mut reshaped = rule("WeightUpdateRatio", &[]);
    let one = ("w", "weights", &[1][..], &[1.0][..]);
    let two = ("w", "weights", &[2][..], &[1.0, 900.0][..]);
    assert_eq!(show(reshaped.as_mut(), Train, 0, &[one]), None);
    assert_eq!(show(reshaped.as_mut(), Train, 1, &[two]), None);
}

//! Labels and predictions by hand.

use crate::Mode::{Eval, Train};
use crate::rules::test_support::{clean, lacking, rule, show};
use crate::rules::{End, Rule};

/// Shows rows of (label, prediction) at a step, the prediction as a score per class.
fn rows(
    rule: &mut dyn Rule,
    mode: crate::Mode,
    step: u64,
    classes: usize,
    rows: &[(u32, u32)],
) -> Option<String> {
    let labels: Vec<f32> = rows.iter().map(|&(label, _)| label as f32).collect();
    let logits: Vec<f32> = rows
        .iter()
        .flat_map(|&(_, predicted)| {
            (0..classes).map(move |c| f32::from(u8::from(c == predicted as usize)))
        })
        .collect();
    let shape = [rows.len(), classes];
    show(
        rule,
        mode,
        step,
        &[("labels", "labels", &shape[..1], &labels), ("logits", "outputs", &shape, &logits)],
    )
}

fn repeated(parts: &[((u32, u32), usize)]) -> Vec<(u32, u32)> {
    parts.iter().flat_map(|&(pair, times)| vec![pair; times]).collect()
}

#[test]
fn imbalance_after_enough_samples() {
    let skewed = repeated(&[((0, 0), 91), ((1, 1), 9)]);
    let mut rule0 = rule("ClassImbalance", &[]);
    for step in 0..4 {
        assert_eq!(rows(rule0.as_mut(), Train, step, 2, &skewed), None);
    }
    assert!(clean(super::super::test_support::rule("ClassImbalance", &[]).as_mut()).is_none());
    let said = rows(rule0.as_mut(), Train, 4, 2, &skewed).unwrap();
    assert!(
        said.contains(
            "of 500 labels up to step 4, 455 are of class 0 and 45 of class 1, 10.1 times"
        ),
        "{said}"
    );
    // Too few labels: no issue, and it says why.
    let mut few = rule("ClassImbalance", &[]);
    assert_eq!(rows(few.as_mut(), Train, 0, 2, &skewed), None);
    assert!(clean(few.as_mut()).unwrap().contains("only 100 labels were saved"));
    // Validation data says nothing about training data.
    let mut eval = rule("ClassImbalance", &[("samples", "10")]);
    assert_eq!(rows(eval.as_mut(), Eval, 0, 2, &skewed), None);
    assert!(lacking(eval.as_mut()).unwrap().contains("labels"));
}

#[test]
fn mispredictions_of_small_classes() {
    let parameters = [("samples", "100"), ("threshold_misprediction", "0.7")];
    let judge = |parts: &[((u32, u32), usize)]| {
        let mut rule = rule("ClassImbalance", &parameters);
        rows(rule.as_mut(), Train, 0, 2, &repeated(parts))
    };
    let said = judge(&[((0, 0), 80), ((1, 0), 15), ((1, 1), 5)]).unwrap();
    assert!(
        said.contains("class 1, one of the smaller ones, is predicted wrongly for 15 of its 20"),
        "{said}"
    );
    assert_eq!(judge(&[((0, 0), 80), ((1, 0), 13), ((1, 1), 7)]), None);
    // Nothing is learnt yet: everything is wrong.
    assert_eq!(judge(&[((0, 1), 80), ((1, 0), 20)]), None);
    // The large class is wrong, which is no imbalance.
    assert_eq!(judge(&[((0, 1), 40), ((0, 0), 20), ((1, 1), 40)]), None);
}

#[test]
fn predictions_in_other_forms() {
    let mut rule0 = rule("ClassImbalance", &[("samples", "8"), ("argmax", "True")]);
    let labels = [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0, -1.0];
    // Class numbers in `predictions` count before outputs; a label of -1 is left out.
    let predictions = [0.0; 8];
    let outputs = [0.5; 16];
    let said = show(
        rule0.as_mut(),
        Train,
        0,
        &[
            ("labels", "labels", &[8], &labels),
            ("outputs", "outputs", &[8, 2], &outputs),
            ("predictions", "predictions", &[8, 1], &predictions),
        ],
    );
    assert_eq!(said, None);
    assert!(clean(rule0.as_mut()).unwrap().contains("only 7 labels"));
}

#[test]
fn confusion_of_the_last_evaluation() {
    let bad = repeated(&[((0, 0), 9), ((1, 0), 1), ((1, 1), 5), ((2, 1), 1), ((2, 2), 6)]);
    let good = repeated(&[((0, 0), 10), ((1, 1), 10), ((2, 2), 9)]);
    // Bad at first, good at the end.
    let mut learns = rule("Confusion", &[]);
    assert_eq!(rows(learns.as_mut(), Eval, 10, 3, &bad), None);
    assert_eq!(rows(learns.as_mut(), Train, 20, 3, &bad), None);
    assert_eq!(rows(learns.as_mut(), Eval, 20, 3, &good), None);
    assert_eq!(clean(learns.as_mut()).as_deref(), Some(""));
    let mut stays = rule("Confusion", &[]);
    assert_eq!(rows(stays.as_mut(), Eval, 20, 3, &bad), None);
    let End::Issue(said) = stays.finish() else { panic!("no issue") };
    assert!(
        said.starts_with(
            "of 6 rows predicted as class 1 at the end (step 20), 5 are of it (0.833, limit 0.9)"
        ),
        "{said}"
    );
    // The other limit.
    let mut off = rule("Confusion", &[("min_diag", "0.5")]);
    assert_eq!(rows(off.as_mut(), Eval, 20, 3, &bad), None);
    let End::Issue(said) = off.finish() else { panic!("no issue") };
    assert!(said.contains("1 are of class 2 (0.167, limit 0.1)"), "{said}");
    // A class that is never predicted has no share of right ones.
    let mut never = rule("Confusion", &[]);
    assert_eq!(rows(never.as_mut(), Eval, 0, 3, &repeated(&[((0, 0), 99), ((2, 0), 1)])), None);
    assert!(
        matches!(never.finish(), End::Issue(said) if said.contains("of 0 rows predicted as class 2"))
    );
    // Classes beyond `category_no` are left out.
    let mut two = rule("Confusion", &[("category_no", "2")]);
    assert_eq!(
        rows(
            two.as_mut(),
            Train,
            0,
            3,
            &repeated(&[((0, 0), 9), ((1, 1), 9), ((2, 2), 9), ((2, 0), 9)])
        ),
        None
    );
    assert_eq!(clean(two.as_mut()).as_deref(), Some(""));
    assert!(super::super::test_support::try_rule("Confusion", &[("category_no", "1")]).is_err());
}

#[test]
fn confusion_of_training_keeps_the_last_rows() {
    let mut rule = rule("Confusion", &[]);
    let wrong = repeated(&[((0, 1), 50), ((1, 0), 50)]);
    let right = repeated(&[((0, 0), 50), ((1, 1), 50)]);
    for step in 0..20 {
        assert_eq!(rows(rule.as_mut(), Train, step, 2, &wrong), None);
    }
    for step in 20..40 {
        assert_eq!(rows(rule.as_mut(), Train, step, 2, &right), None);
    }
    assert_eq!(clean(rule.as_mut()).as_deref(), Some(""));
}

#[test]
fn the_first_of_equal_scores_counts() {
    assert_eq!(super::argmax(&[0.0, 0.0, 0.0]), Some(0));
    assert_eq!(super::argmax(&[-1.0, 2.0, 2.0]), Some(1));
    assert_eq!(super::argmax(&[f32::NEG_INFINITY, -1.0]), Some(1));
    assert_eq!(super::argmax(&[0.0, f32::NAN, 2.0]), None);
}

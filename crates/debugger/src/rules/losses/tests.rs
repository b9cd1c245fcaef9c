//! Losses by hand.

use crate::Mode::{Eval, Global, Train};
use crate::rules::test_support::{clean, lacking, rule, scalars, show};
use crate::rules::{End, Rule};

fn loss(rule: &mut dyn Rule, mode: crate::Mode, step: u64, value: f32) -> Option<String> {
    show(rule, mode, step, &[("loss", "losses", &[], &[value])])
}

/// AWS's example: with every third step saved and `num_steps` 10, 21 is compared with 9, and 33 with 21.
#[test]
fn the_documented_steps() {
    let mut decreasing = rule("LossNotDecreasing", &[]);
    for step in (9..=30).step_by(3) {
        // Up and down in between does not matter.
        let value = if [9, 21].contains(&step) { 100.0 - step as f32 } else { 500.0 };
        assert_eq!(loss(decreasing.as_mut(), Train, step, value), None, "{step}");
    }
    let said = loss(decreasing.as_mut(), Train, 33, 79.0).unwrap();
    assert!(
        said.contains("fell only from 79 at step 21 to 79 at step 33 (0%, less than 0.1%)"),
        "{said}"
    );
}

#[test]
fn a_small_rise_is_let_pass_but_remembered() {
    let values = [(0, 100.0), (10, 50.0), (20, 52.0), (30, 52.4), (40, 53.0)];
    let mut rule0 = rule("LossNotDecreasing", &[]);
    let (step, said) = scalars(rule0.as_mut(), Train, "loss", "losses", &values).unwrap();
    assert_eq!(step, 40);
    assert!(said.contains("rose from 50 at step 10 to 53 at step 40 (6%, more than 5%)"), "{said}");
    let mut strict = rule("LossNotDecreasing", &[("increase_threshold_percent", "3")]);
    assert_eq!(scalars(strict.as_mut(), Train, "loss", "losses", &values).unwrap().0, 20);
    let mut percent = rule("LossNotDecreasing", &[("diff_percent", "60")]);
    assert_eq!(scalars(percent.as_mut(), Train, "loss", "losses", &values).unwrap().0, 10);
}

#[test]
fn which_losses_and_which_mode() {
    // An accuracy rises, whatever pattern it matches.
    let mut pattern = rule("LossNotDecreasing", &[("tensor_regex", ".*"), ("mode", "GLOBAL")]);
    let rises = [(0, 0.1), (10, 0.5), (20, 0.9)];
    assert_eq!(scalars(pattern.as_mut(), Train, "accuracy", "metrics", &rises), None);
    assert!(lacking(pattern.as_mut()).is_some());
    assert!(
        scalars(pattern.as_mut(), Global, "CrossEntropyLoss_output_0", "losses", &rises).is_some()
    );
    // Once there are losses of evaluations, only those count.
    let mut default = rule("LossNotDecreasing", &[]);
    assert_eq!(loss(default.as_mut(), Train, 0, 1.0), None);
    assert_eq!(loss(default.as_mut(), Eval, 9, 1.0), None);
    assert_eq!(loss(default.as_mut(), Train, 10, 2.0), None);
    assert!(loss(default.as_mut(), Eval, 19, 2.0).is_some());
    let mut train = rule("LossNotDecreasing", &[("mode", "TRAIN")]);
    assert_eq!(loss(train.as_mut(), Eval, 0, 1.0), None);
    assert_eq!(loss(train.as_mut(), Eval, 10, 2.0), None);
    let mut vector = rule("LossNotDecreasing", &[]);
    assert_eq!(show(vector.as_mut(), Train, 0, &[("loss", "losses", &[2], &[1.0, 1.0])]), None);
    assert!(lacking(vector.as_mut()).is_some());
    // A loss of zero cannot fall.
    let mut zero = rule("LossNotDecreasing", &[]);
    assert_eq!(
        scalars(zero.as_mut(), Train, "loss", "losses", &[(0, 0.0), (10, 0.0), (20, 0.0)]),
        None
    );
    assert!(loss(zero.as_mut(), Train, 30, f32::NAN).unwrap().contains("not a finite number"));
}

#[test]
fn overfit_compares_means_since_the_last_evaluation() {
    let mut overfit = rule("Overfit", &[("patience", "2")]);
    let mut at = |mode, step, value| loss(overfit.as_mut(), mode, step, value);
    // The first epoch's high losses do not count in the second.
    for (step, value) in [(0, 10.0), (1, 8.0), (2, 6.0)] {
        assert_eq!(at(Train, step, value), None);
    }
    assert_eq!(at(Eval, 2, 6.0), None);
    for step in 3..6 {
        assert_eq!(at(Train, step, 1.0), None);
    }
    assert_eq!(at(Eval, 5, 1.2), None, "the first of two");
    // An evaluation without new training losses is compared with the last.
    let said = at(Eval, 6, 1.2).unwrap();
    assert!(
        said.contains(
            "the validation loss is 1.2 and the training loss 1, 0.2 of it higher (limit 0.1, 2"
        ),
        "{said}"
    );
    // A better evaluation starts the count anew.
    let mut again = rule("Overfit", &[("patience", "2")]);
    for (step, eval) in [(0, 1.2), (1, 1.05), (2, 1.2), (3, 1.0)] {
        assert_eq!(loss(again.as_mut(), Train, step, 1.0), None);
        assert_eq!(loss(again.as_mut(), Eval, step, eval), None);
    }
    assert_eq!(clean(again.as_mut()).as_deref(), Some(""));
    // Without validation it says so.
    let mut alone = rule("Overfit", &[]);
    assert_eq!(loss(alone.as_mut(), Train, 0, 1.0), None);
    assert!(lacking(alone.as_mut()).unwrap().contains("mode `eval`"));
}

#[test]
fn overtraining_by_validation_or_training() {
    let run = |train: &dyn Fn(u64) -> f32, eval: &dyn Fn(u64) -> f32| {
        let mut rule = rule("Overtraining", &[]);
        (0..40).find_map(|step| {
            let a = loss(rule.as_mut(), Train, step, train(step));
            let b = loss(rule.as_mut(), Eval, step, eval(step));
            a.or(b).map(|said| (step, said))
        })
    };
    let falls = |step: u64| 10.0 - 0.1 * step as f32;
    assert_eq!(run(&falls, &falls), None);
    // Falling by less than delta each time adds up.
    assert_eq!(run(&falls, &|step| 10.0 - 0.006 * step as f32), None);
    let (step, said) = run(&falls, &|step| if step < 5 { falls(step) } else { 20.0 }).unwrap();
    assert_eq!(step, 14, "ten evaluations after the best, at step 4");
    assert!(said.contains("the validation loss has not improved by 0.01 for 10 evaluations: its best was 9.6 at step 4"), "{said}");
    let (step, said) = run(&|_| 1.0, &falls).unwrap();
    assert_eq!(step, 5);
    assert!(said.contains("the training loss"), "{said}");
    // Without evaluations: at the end, by single steps.
    let mut alone = rule("Overtraining", &[]);
    for step in 0..20 {
        assert_eq!(
            loss(alone.as_mut(), Train, step, if step < 10 { falls(step) } else { 9.2 }),
            None
        );
    }
    assert!(matches!(alone.finish(), End::Issue(_)));
    let mut fine = rule("Overtraining", &[]);
    for step in 0..20 {
        assert_eq!(loss(fine.as_mut(), Train, step, falls(step)), None);
    }
    assert_eq!(clean(fine.as_mut()).as_deref(), Some(""));
}

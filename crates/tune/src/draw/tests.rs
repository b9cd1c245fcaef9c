//! Tests of `draw`: even spreads and streams.

use super::*;
use crate::plan::{Completion, Goal, Strategy};

fn plan(seed: u64) -> Plan {
    Plan {
        space: crate::native::space(),
        strategy: Strategy::Bayesian,
        goal: Goal::Minimize,
        seed,
        max_trials: 20,
        parallel: 1,
        early_stopping: false,
        completion: Completion::default(),
        prior: Vec::new(),
    }
}

#[test]
fn the_first_points_fill_every_quarter_of_every_parameter() {
    for seed in 0..20 {
        let points: Vec<Vec<f64>> = (0..16).map(|index| spread(&plan(seed), index)).collect();
        for input in 0..points[0].len() {
            for quarter in 0..4 {
                let within = |point: &&Vec<f64>| (point[input] * 4.0) as usize == quarter;
                let count = points.iter().filter(within).count();
                assert!(
                    (1..=8).contains(&count),
                    "{count} of 16 points, input {input}, seed {seed}"
                );
            }
        }
    }
    assert_ne!(spread(&plan(1), 0), spread(&plan(2), 0));
}

#[test]
fn each_trial_has_a_generator_of_its_own() {
    let plan = plan(1);
    let draw = |trial: usize| units(&plan.space, &mut generator(&plan, trial));
    assert_eq!(draw(3), draw(3));
    assert_ne!(draw(3), draw(4));
}

#[test]
fn values_that_are_no_parameters_do_not_make_a_combination_new() {
    let plan = plan(1);
    let mut values = plan.space.assignment(&spread(&plan, 0));
    let expected = values.clone();
    values.insert("static".to_owned(), "1".to_owned());
    let trial = Trial { values, state: crate::TrialState::Failed, reports: Vec::new() };
    assert!(!Seen::new(&plan, &[trial]).insert(&expected));
}

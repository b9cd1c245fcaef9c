//! Tests of `median`, with numbers worked out by hand.

use super::*;
use crate::plan::{Completion, Goal, Strategy};

fn plan(goal: Goal) -> Plan {
    Plan {
        space: crate::native::space(),
        strategy: Strategy::Random,
        goal,
        seed: 1,
        max_trials: 20,
        parallel: 4,
        early_stopping: true,
        completion: Completion::default(),
        prior: Vec::new(),
    }
}

fn trial(state: TrialState, reports: &[f64]) -> Trial {
    Trial { values: crate::Assignment::new(), state, reports: reports.to_vec() }
}

/// Accuracies after two epochs; running averages 0.5, 0.6, 0.7, 0.4 and, of the stopped one, 0.3.
fn ended() -> Vec<Trial> {
    vec![
        trial(TrialState::Succeeded(0.9), &[0.4, 0.6, 0.9]),
        trial(TrialState::Succeeded(0.9), &[0.6, 0.6, 0.9]),
        trial(TrialState::Succeeded(0.9), &[0.5, 0.9, 0.9]),
        trial(TrialState::Succeeded(0.9), &[0.3, 0.5, 0.9]),
        trial(TrialState::Stopped(Some(0.4)), &[0.2, 0.4]),
    ]
}

#[test]
fn a_trial_below_the_median_of_running_averages_is_stopped() {
    // The median of 0.3, 0.4, 0.5, 0.6 and 0.7 is 0.5.
    let mut trials = ended();
    trials.push(trial(TrialState::Running, &[0.7, 0.49]));
    trials.push(trial(TrialState::Running, &[0.1, 0.5]));
    trials.push(trial(TrialState::Running, &[]));
    let stopped = to_stop(&plan(Goal::Maximize), &trials);
    let why = "objective 0.4900 after epoch 2 is worse than 0.5000, \
               the median of the running averages of 5 earlier trials";
    assert_eq!(stopped, [(5, why.to_owned())]);
    // With the other goal, the same numbers mean the opposite.
    assert!(to_stop(&plan(Goal::Minimize), &trials).is_empty());
    trials[6].reports[1] = 0.51;
    assert_eq!(to_stop(&plan(Goal::Minimize), &trials)[0].0, 6);
}

#[test]
fn nobody_is_stopped_before_five_have_come_as_far() {
    let mut trials = ended();
    // Only four have a third epoch.
    trials.push(trial(TrialState::Running, &[0.1, 0.5, 0.0]));
    assert!(to_stop(&plan(Goal::Maximize), &trials).is_empty());
    // A failed or running trial is no measure.
    for state in [TrialState::Failed, TrialState::Running] {
        trials[4] = trial(state, &[0.2, 0.4]);
        trials[5].reports.truncate(2);
        trials[5].reports[1] = 0.0;
        assert!(to_stop(&plan(Goal::Maximize), &trials).is_empty());
    }
}

#[test]
fn a_trial_whose_objective_is_no_number_is_stopped() {
    let mut trials = ended();
    trials.push(trial(TrialState::Running, &[0.9, f64::NAN]));
    for goal in [Goal::Minimize, Goal::Maximize] {
        assert_eq!(to_stop(&plan(goal), &trials).len(), 1);
    }
    // As a measure it is left out, which makes four.
    trials[0].reports[0] = f64::NAN;
    assert!(to_stop(&plan(Goal::Maximize), &trials).is_empty());
}

#[test]
fn medians_of_odd_even_and_no_numbers() {
    assert_eq!(median(&[1.0, 2.0, 9.0]), 2.0);
    assert_eq!(median(&[1.0, 2.0, 4.0, 9.0]), 3.0);
    assert_eq!(median(&[f64::MAX, f64::MAX]), f64::MAX);
    assert_eq!(median(&[]), 0.0);
}

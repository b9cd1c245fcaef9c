//! Tests of `hyperband`: rungs, brackets, and who goes on.

use super::*;
use crate::gp::uniform;
use crate::plan::{Completion, Goal, Strategy, TrialState};

fn stopped(plan: &Plan, trials: &[Trial]) -> Vec<(usize, String)> {
    crate::to_stop(plan, trials)
}

fn plan(min: u32, max: u32) -> Plan {
    Plan {
        space: crate::native::space(),
        strategy: Strategy::Hyperband { min, max },
        goal: Goal::Maximize,
        seed: 1,
        max_trials: 1000,
        parallel: 10,
        early_stopping: false,
        completion: Completion::default(),
        prior: Vec::new(),
    }
}

#[test]
fn rungs_are_powers_of_three_below_the_whole() {
    assert_eq!(rungs(1, 27), [1, 3, 9]);
    assert_eq!(rungs(2, 20), [2, 6, 18]);
    assert_eq!(rungs(5, 5), [0usize; 0]);
    assert_eq!(rungs(0, 2), [1]);
    assert_eq!(rungs(u32::MAX - 1, u32::MAX), [u32::MAX as usize - 1]);
}

#[test]
fn brackets_have_their_shares() {
    // Three rungs: weights 27/4, 9/3, 3/2 and 1, of 12.25 in all.
    let mut counts = [0usize; 4];
    for index in 0..1225 {
        counts[bracket(index, 3)] += 1;
    }
    for (count, share) in counts.iter().zip([675, 300, 150, 100]) {
        assert!(count.abs_diff(share) <= 5, "{counts:?}");
    }
    assert_eq!(bracket(7, 0), 0);
}

/// Trains trials, `parallel` at a time, whose objective is their quality at any epoch, and counts the epochs.
fn train(plan: &Plan, parallel: usize, trials: usize) -> Vec<Trial> {
    let quality = |index: usize| uniform(&mut crate::draw::generator(plan, index));
    let mut all: Vec<Trial> = Vec::new();
    loop {
        while all.len() < trials && all.iter().filter(|trial| trial.runs()).count() < parallel {
            let values = crate::Assignment::new();
            all.push(Trial { values, state: TrialState::Running, reports: Vec::new() });
        }
        if !all.iter().any(Trial::runs) {
            return all;
        }
        for (index, trial) in all.iter_mut().enumerate().filter(|(_, trial)| trial.runs()) {
            trial.reports.push(quality(index));
        }
        for (index, reason) in stopped(plan, &all) {
            assert!(all[index].runs() && !reason.is_empty());
            all[index].state = TrialState::Stopped(all[index].reports.last().copied());
        }
    }
}

#[test]
fn about_a_third_goes_on_at_each_rung() {
    let plan = plan(1, 27);
    for parallel in [1, 4, 10] {
        let all = train(&plan, parallel, 600);
        let in_first: Vec<&Trial> = all
            .iter()
            .enumerate()
            .filter(|(index, _)| bracket(*index, 3) == 0)
            .map(|(_, trial)| trial)
            .collect();
        let reached = |epochs: usize| {
            in_first.iter().filter(|trial| trial.reports.len() >= epochs).count() as f64
        };
        for (rung, next) in [(1, 2), (3, 4), (9, 10)] {
            let share = reached(next) / reached(rung);
            // Early ones go on with few to compare with and lower the mark, hence more than a third.
            assert!((0.25..0.6).contains(&share), "{share} at {rung} with {parallel}");
        }
        // Later brackets are not judged early.
        let patient = all.iter().enumerate().filter(|(index, _)| bracket(*index, 3) == 2);
        assert!(patient.clone().all(|(_, trial)| trial.reports.len() >= 9));
        // The best went to the end, which ends it.
        let longest = all.iter().map(|trial| trial.reports.len()).max();
        assert_eq!(longest, Some(27));
        let epochs: usize = all.iter().map(|trial| trial.reports.len()).sum();
        assert!(epochs < 600 * 27 / 3, "{epochs} epochs");
    }
}

#[test]
fn exactly_a_third_goes_on_when_all_come_together() {
    let plan = plan(1, 27);
    let members: Vec<usize> = (0..).filter(|index| bracket(*index, 3) == 0).take(27).collect();
    let empty =
        Trial { values: crate::Assignment::new(), state: TrialState::Failed, reports: Vec::new() };
    let mut trials = vec![empty; members[26] + 1];
    for index in &members {
        trials[*index].state = TrialState::Running;
    }
    for epoch in 1..27 {
        for (index, trial) in trials.iter_mut().enumerate().filter(|(_, trial)| trial.runs()) {
            trial.reports.push(uniform(&mut crate::draw::generator(&plan, index)));
        }
        for (index, _) in stopped(&plan, &trials) {
            trials[index].state = TrialState::Stopped(None);
        }
        let left = trials.iter().filter(|trial| trial.runs()).count();
        assert_eq!(
            left,
            if epoch < 3 {
                9
            } else if epoch < 9 {
                3
            } else {
                1
            },
            "epoch {epoch}"
        );
    }
}

#[test]
fn a_trial_is_judged_at_the_last_rung_it_has_passed() {
    let plan = plan(1, 9);
    // The first of these indices are in bracket 0 of 2 rungs.
    let zero: Vec<usize> = (0..40).filter(|index| bracket(*index, 2) == 0).take(4).collect();
    let empty =
        Trial { values: crate::Assignment::new(), state: TrialState::Failed, reports: Vec::new() };
    let mut trials = vec![empty; zero[3] + 1];
    let mut set = |place: usize, state: TrialState, reports: &[f64]| {
        trials[zero[place]].state = state;
        trials[zero[place]].reports = reports.to_vec();
    };
    // Two of four go on: rounded up.
    set(0, TrialState::Succeeded(0.9), &[0.5, 0.6, 0.9]);
    set(1, TrialState::Running, &[0.6, 0.7]);
    set(2, TrialState::Running, &[0.4, 0.95]);
    set(3, TrialState::Running, &[f64::NAN]);
    let stopped = stopped(&plan, &trials);
    assert_eq!(stopped.iter().map(|(index, _)| *index).collect::<Vec<_>>(), [zero[2], zero[3]]);
    assert_eq!(
        stopped[0].1,
        "objective 0.4000 after epoch 1 is not among the best 2 of 4 trials there"
    );
}

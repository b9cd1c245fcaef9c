//! Tests of `bayesian`: better than chance, spreading, steering away, starting warm, converging.

use super::*;
use crate::plan::{Completion, Goal, PriorTrial, Strategy, TrialState};
use crate::space::{Parameter, Scaling, Space};
use crate::{Step, next};

fn plan(strategy: Strategy, seed: u64) -> Plan {
    let unit = |name: &str| Parameter {
        name: name.to_owned(),
        domain: Domain::Continuous { min: 0.0, max: 1.0, scaling: Scaling::Linear },
    };
    Plan {
        space: Space::new(vec![unit("x"), unit("y")]).unwrap(),
        strategy,
        goal: Goal::Minimize,
        seed,
        max_trials: 15,
        parallel: 1,
        early_stopping: false,
        completion: Completion::default(),
        prior: Vec::new(),
    }
}

fn number(values: &Assignment, name: &str) -> f64 {
    values[name].parse().unwrap()
}

fn quadratic(values: &Assignment) -> f64 {
    (number(values, "x") - 0.3).powi(2) + 0.5 * (number(values, "y") - 0.8).powi(2)
}

/// Runs a tuning job to its end; the oldest running trial ends first.
fn run(plan: &Plan, state: impl Fn(&Assignment) -> TrialState) -> Vec<Trial> {
    let mut trials: Vec<Trial> = Vec::new();
    loop {
        match next(plan, &trials) {
            Step::Start(started) => trials.extend(started.into_iter().map(|values| Trial {
                values,
                state: TrialState::Running,
                reports: Vec::new(),
            })),
            Step::Wait => {
                let trial = trials.iter_mut().find(|trial| trial.runs()).unwrap();
                trial.state = state(&trial.values);
            }
            Step::Complete(_) => return trials,
        }
    }
}

fn median_of_ten(run: impl Fn(u64) -> f64) -> f64 {
    let mut all: Vec<f64> = (0..10).map(run).collect();
    all.sort_by(f64::total_cmp);
    median(&all)
}

fn lowest(trials: &[Trial]) -> f64 {
    trials.iter().filter_map(Trial::value).fold(f64::INFINITY, f64::min)
}

#[test]
fn a_bowl_is_searched_far_better_than_by_chance() {
    let found = |strategy: Strategy, parallel: usize| {
        median_of_ten(|seed| {
            let plan = Plan { parallel, ..plan(strategy, seed) };
            lowest(&run(&plan, |values| TrialState::Succeeded(quadratic(values))))
        })
    };
    let random = found(Strategy::Random, 1);
    for parallel in [1, 4] {
        let bayesian = found(Strategy::Bayesian, parallel);
        assert!(bayesian < 0.2 * random, "{bayesian} against {random} with {parallel}");
    }
}

#[test]
fn maximising_is_minimising_the_negative() {
    let low = plan(Strategy::Bayesian, 4);
    let high = Plan { goal: Goal::Maximize, ..low.clone() };
    let low = run(&low, |values| TrialState::Succeeded(quadratic(values)));
    let high = run(&high, |values| TrialState::Succeeded(-quadratic(values)));
    let values = |trials: &[Trial]| trials.iter().map(|t| t.values.clone()).collect::<Vec<_>>();
    assert_eq!(values(&low), values(&high));
}

#[test]
fn parallel_proposals_are_apart() {
    let plan = Plan { parallel: 4, max_trials: 100, ..plan(Strategy::Bayesian, 1) };
    let serial = Plan { parallel: 1, max_trials: 8, ..plan.clone() };
    let trials = run(&serial, |values| TrialState::Succeeded(quadratic(values)));
    let Step::Start(started) = next(&plan, &trials) else { unreachable!() };
    assert_eq!(started.len(), 4);
    for (index, one) in started.iter().enumerate() {
        for other in &started[..index] {
            let apart = (number(one, "x") - number(other, "x"))
                .hypot(number(one, "y") - number(other, "y"));
            assert!(apart > 1e-3, "{one:?} {other:?}");
        }
    }
}

#[test]
fn failures_steer_away() {
    // The bowl falls towards a half in which every trial fails.
    let state = |values: &Assignment| {
        let x = number(values, "x");
        if x > 0.5 { TrialState::Failed } else { TrialState::Succeeded(1.0 - x) }
    };
    let failures = |strategy: Strategy| {
        median_of_ten(|seed| {
            let trials = run(&Plan { max_trials: 24, ..plan(strategy, seed) }, state);
            trials[8..].iter().filter(|trial| trial.state == TrialState::Failed).count() as f64
        })
    };
    let (random, bayesian) = (failures(Strategy::Random), failures(Strategy::Bayesian));
    assert!(bayesian <= random, "{bayesian} failures against {random}");
    let found = lowest(&run(&Plan { max_trials: 24, ..plan(Strategy::Bayesian, 1) }, state));
    assert!(found < 0.55, "{found}");
}

#[test]
fn earlier_jobs_give_a_better_start() {
    let few = |seed: u64| Plan { max_trials: 4, ..plan(Strategy::Bayesian, seed) };
    let earlier =
        run(&plan(Strategy::Random, 99), |values| TrialState::Succeeded(quadratic(values)));
    // Other data, or an algorithm with one parameter more and another scale of its objective.
    let prior = |offset: f64| -> Vec<PriorTrial> {
        let prior = |trial: &Trial| {
            let mut values = trial.values.clone();
            values.insert("other".to_owned(), "7".to_owned());
            PriorTrial { values, value: offset + trial.value().unwrap() }
        };
        earlier.iter().map(prior).collect()
    };
    let found = |prior: &[PriorTrial]| {
        median_of_ten(|seed| {
            let plan = Plan { prior: prior.to_vec(), ..few(seed) };
            lowest(&run(&plan, |values| TrialState::Succeeded(quadratic(values))))
        })
    };
    let cold = found(&[]);
    for (offset, share) in [(0.0, 0.3), (0.3, 0.8)] {
        let warm = found(&prior(offset));
        assert!(warm < share * cold, "{warm} against {cold} with {offset}");
    }
}

#[test]
fn convergence_is_seen_when_nothing_is_left_to_gain() {
    let mut plan = Plan { max_trials: 60, ..plan(Strategy::Bayesian, 2) };
    plan.completion.convergence = true;
    // One per cent of 1 is soon out of reach on a bowl that is 1 at its lowest.
    let flat = run(&plan, |values| TrialState::Succeeded(1.0 + quadratic(values)));
    assert!((CONVERGENCE_TRIALS..40).contains(&flat.len()), "{} trials", flat.len());
    assert!(lowest(&flat) < 1.02);
    let few = flat[..CONVERGENCE_TRIALS - 1].to_vec();
    assert!(!converged(&plan, &few), "not before enough trials");
    // A slope that goes on below what was seen promises more.
    let steep =
        |values: &Assignment| TrialState::Succeeded(number(values, "x") + number(values, "y"));
    let corner: Vec<Trial> = run(
        &Plan {
            strategy: Strategy::Random,
            completion: Completion::default(),
            max_trials: 12,
            ..plan.clone()
        },
        steep,
    )
    .into_iter()
    .filter(|trial| number(&trial.values, "x") > 0.2)
    .collect();
    assert!(corner.len() < CONVERGENCE_TRIALS || !converged(&plan, &corner));
}

#[test]
fn many_trials_are_thinned_to_the_best_and_the_latest() {
    let costs: Vec<f64> = (0..100).map(|index| f64::from((index * 37) % 100)).collect();
    let kept = keep(&costs, 10);
    assert_eq!(kept.len(), 10);
    assert!(kept.windows(2).all(|pair| pair[0] < pair[1]));
    for best in 0..5 {
        assert!(kept.iter().any(|&index| costs[index] == f64::from(best)));
    }
    assert!(kept.ends_with(&[99]));
    assert_eq!(keep(&costs, 100), (0..100).collect::<Vec<_>>());
}

#[test]
fn a_diverged_training_does_not_flatten_the_rest() {
    let mut costs = vec![0.1, 0.2, 0.3, 0.4, 1e9];
    standardise(&mut costs);
    let range = costs[4] - costs[0];
    assert!((costs[1] - costs[0]) / range > 0.02, "{costs:?}");
    assert!(costs.windows(2).all(|pair| pair[0] < pair[1]), "order is kept");
    let mut same = vec![2.0; 4];
    assert_eq!((standardise(&mut same), same), (1.0, vec![0.0; 4]));
}

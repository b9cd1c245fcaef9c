//! Tests of `decide`: a tuning job played through with every strategy.

use std::collections::BTreeSet;

use proptest::prelude::{ProptestConfig, any, prop, prop_assert, prop_assert_eq, proptest};

use super::*;
use crate::plan::{Completion, Goal, PriorTrial, TrialState};
use crate::space::{Domain, Parameter, Scaling, Space};

fn space(parameters: &[(&str, Domain)]) -> Space {
    let parameter = |(name, domain): &(&str, Domain)| Parameter {
        name: (*name).to_owned(),
        domain: domain.clone(),
    };
    Space::new(parameters.iter().map(parameter).collect()).unwrap()
}

fn integer(min: i64, max: i64) -> Domain {
    Domain::Integer { min, max, scaling: Scaling::Linear }
}

fn letters(values: &[&str]) -> Domain {
    Domain::Categorical { values: values.iter().map(|&value| value.to_owned()).collect() }
}

/// Twelve combinations.
fn small() -> Space {
    space(&[("n", integer(1, 4)), ("c", letters(&["\"a\"", "\"b\"", "\"c\""]))])
}

fn mixed() -> Space {
    let rate = Domain::Continuous { min: 1e-3, max: 1e-1, scaling: Scaling::Auto };
    space(&[("rate", rate), ("n", integer(32, 512)), ("c", letters(&["a", "b"]))])
}

fn plan(space: Space, strategy: Strategy) -> Plan {
    Plan {
        space,
        strategy,
        goal: Goal::Minimize,
        seed: 7,
        max_trials: 20,
        parallel: 3,
        early_stopping: false,
        completion: Completion::default(),
        prior: Vec::new(),
    }
}

fn trial(values: &Assignment, state: TrialState) -> Trial {
    Trial { values: values.clone(), state, reports: Vec::new() }
}

fn cost(values: &Assignment) -> f64 {
    let n: f64 = values["n"].parse().unwrap();
    n / 100.0 + values["c"].len() as f64
}

fn ended(states: &[TrialState]) -> Vec<Trial> {
    let values = |index: usize| Assignment::from([("n".to_owned(), index.to_string())]);
    states.iter().enumerate().map(|(index, state)| trial(&values(index), *state)).collect()
}

/// Plays a tuning job; `pick` says which of the running trials ends next, and how.
fn play(plan: &Plan, mut pick: impl FnMut(usize) -> (usize, bool)) -> (Vec<Trial>, Reason) {
    let mut trials: Vec<Trial> = Vec::new();
    loop {
        let step = next(plan, &trials);
        assert_eq!(step, next(plan, &trials), "the same question has the same answer");
        match step {
            Step::Start(started) => {
                assert!(!started.is_empty());
                trials.extend(started.iter().map(|values| trial(values, TrialState::Running)));
                let running = trials.iter().filter(|trial| trial.runs()).count();
                assert!(running <= plan.parallel && trials.len() <= plan.max_trials);
            }
            Step::Wait => {
                let running: Vec<usize> =
                    (0..trials.len()).filter(|&index| trials[index].runs()).collect();
                let (place, succeeds) = pick(running.len());
                let ended = &mut trials[running[place % running.len()]];
                let value = cost(&ended.values);
                ended.state =
                    if succeeds { TrialState::Succeeded(value) } else { TrialState::Failed };
            }
            Step::Complete(reason) => return (trials, reason),
        }
    }
}

fn distinct(trials: &[Trial]) -> usize {
    trials.iter().map(|trial| &trial.values).collect::<BTreeSet<_>>().len()
}

const STRATEGIES: [Strategy; 4] =
    [Strategy::Random, Strategy::Grid, Strategy::Bayesian, Strategy::Hyperband { min: 1, max: 9 }];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn jobs_end_within_their_limits_and_repeat_nothing(
        strategy in prop::sample::select(STRATEGIES.to_vec()),
        tiny in any::<bool>(),
        seed in any::<u64>(),
        max_trials in 1..25usize,
        parallel in 1..8usize,
        picks in prop::collection::vec((any::<usize>(), prop::bool::weighted(0.8)), 1..10),
    ) {
        let grid = strategy == Strategy::Grid;
        let plan = Plan { seed, max_trials, parallel, ..plan(if tiny || grid { small() } else { mixed() }, strategy) };
        prop_assert_eq!(plan.check(), Ok(()));
        let mut turn = 0;
        let (trials, reason) = play(&plan, |_| {
            turn += 1;
            picks[turn % picks.len()]
        });
        let size = plan.space.grid_size().unwrap_or(u64::MAX);
        prop_assert_eq!(trials.len() as u64, size.min(max_trials as u64));
        prop_assert_eq!(distinct(&trials), trials.len());
        let expected = if (max_trials as u64) <= size { Reason::AllTrials } else { Reason::SpaceExhausted };
        prop_assert_eq!(reason, expected);
        for trial in &trials {
            for Parameter { name, domain } in plan.space.parameters() {
                prop_assert!(domain.unit(&trial.values[name]).is_some());
            }
            prop_assert_eq!(trial.values.len(), plan.space.parameters().len());
        }
    }
}

#[test]
fn a_killed_job_goes_on_as_if_it_had_not_been() {
    for strategy in STRATEGIES {
        let grid = strategy == Strategy::Grid;
        let plan = plan(if grid { small() } else { mixed() }, strategy);
        let (trials, _) = play(&plan, |_| (0, true));
        // As read back from a database in the middle.
        let text = serde_json::to_string(&(&plan, &trials[..7])).unwrap();
        let (plan_again, mut again): (Plan, Vec<Trial>) = serde_json::from_str(&text).unwrap();
        again[6].state = TrialState::Running;
        let mut before = trials[..7].to_vec();
        before[6].state = TrialState::Running;
        assert_eq!(next(&plan_again, &again), next(&plan, &before));
        assert!(matches!(next(&plan, &before), Step::Start(_)));
        let other = Plan { seed: 8, ..plan };
        assert_eq!(next(&other, &before) == next(&plan_again, &before), grid, "the seed matters");
    }
}

#[test]
fn what_is_drawn_does_not_depend_on_how_many_are_asked_for() {
    let one = Plan { parallel: 1, ..plan(mixed(), Strategy::Random) };
    let many = Plan { parallel: 10, ..one.clone() };
    let (one, many) = (play(&one, |_| (0, true)).0, play(&many, |_| (0, true)).0);
    assert_eq!(one, many);
}

#[test]
fn the_grid_covers_everything_in_order() {
    let plan = Plan { max_trials: 12, ..plan(small(), Strategy::Grid) };
    let (trials, reason) = play(&plan, |_| (0, true));
    assert_eq!((distinct(&trials), reason), (12, Reason::AllTrials));
    let first = Assignment::from([("n".into(), "1".into()), ("c".into(), "\"a\"".into())]);
    assert_eq!(trials[0].values, first);
}

#[test]
fn failed_trials_are_not_tried_again() {
    for strategy in STRATEGIES {
        let plan = plan(small(), strategy);
        let (trials, reason) = play(&plan, |_| (1, false));
        assert_eq!((distinct(&trials), trials.len(), reason), (12, 12, Reason::SpaceExhausted));
        assert_eq!(best(&plan, &trials), None);
    }
}

#[test]
fn a_refused_plan_starts_nothing_and_panics_nowhere() {
    for broken in [
        Plan { parallel: 0, ..plan(small(), Strategy::Bayesian) },
        Plan { max_trials: 0, ..plan(small(), Strategy::Random) },
        plan(mixed(), Strategy::Grid),
    ] {
        assert!(!matches!(next(&broken, &[]), Step::Start(_)), "{broken:?}");
        assert!(to_stop(&broken, &[]).is_empty());
    }
}

#[test]
fn the_target_ends_the_job_at_once() {
    use TrialState::{Running, Stopped, Succeeded};
    let mut plan = plan(small(), Strategy::Random);
    plan.completion.target = Some(0.3);
    let reached = |plan: &Plan, states: &[TrialState]| {
        next(plan, &ended(states)) == Step::Complete(Reason::Target)
    };
    assert!(!reached(&plan, &[Succeeded(0.31), Running]));
    assert!(!reached(&plan, &[Succeeded(f64::NEG_INFINITY), Running]));
    assert!(reached(&plan, &[Succeeded(0.3), Running]));
    assert!(reached(&plan, &[Stopped(Some(0.2)), Running]));
    plan.goal = Goal::Maximize;
    assert!(!reached(&plan, &[Succeeded(0.29)]));
    assert!(reached(&plan, &[Succeeded(0.31)]));
}

#[test]
fn improvements_below_one_percent_do_not_count() {
    use TrialState::{Failed, Running, Succeeded};
    let mut plan = plan(small(), Strategy::Random);
    plan.goal = Goal::Maximize;
    plan.completion.not_improving = Some(3);
    let done =
        |states: &[TrialState]| next(&plan, &ended(states)) == Step::Complete(Reason::NotImproving);
    assert!(!done(&[Succeeded(0.8), Succeeded(0.7), Running, Succeeded(0.805)]));
    assert!(done(&[Succeeded(0.8), Succeeded(0.7), Running, Succeeded(0.805), Failed]));
    // 0.809 is 1.1 % better than 0.8 and starts the count anew.
    assert!(!done(&[Succeeded(0.8), Succeeded(0.7), Succeeded(0.809), Failed, Failed]));
    // Small improvements add up: 0.804, then 0.809 against 0.8.
    assert!(!done(&[Succeeded(0.8), Succeeded(0.804), Succeeded(0.7), Succeeded(0.809)]));
    // There must be something to improve on.
    assert!(!done(&[Failed, Failed, Failed, Failed]));
}

#[test]
fn the_best_is_by_goal_and_the_earliest_of_equals() {
    use TrialState::{Failed, Running, Stopped, Succeeded};
    let trials = ended(&[
        Failed,
        Succeeded(0.5),
        Succeeded(f64::NAN),
        Succeeded(0.9),
        Stopped(Some(0.9)),
        Running,
        Stopped(None),
    ]);
    let mut plan = plan(small(), Strategy::Random);
    assert_eq!(best(&plan, &trials), Some(1));
    plan.goal = Goal::Maximize;
    assert_eq!(best(&plan, &trials), Some(3));
    assert_eq!(best(&plan, &[]), None);
}

#[test]
fn stopping_follows_the_strategy() {
    let mut trials = ended(&[TrialState::Succeeded(0.1); 5]);
    for trial in &mut trials {
        trial.reports = vec![0.1];
    }
    trials.push(trial(&Assignment::new(), TrialState::Running));
    trials[5].reports = vec![0.2];
    let mut plan = plan(small(), Strategy::Random);
    assert!(to_stop(&plan, &trials).is_empty());
    plan.early_stopping = true;
    assert_eq!(to_stop(&plan, &trials).len(), 1);
    plan.early_stopping = false;
    plan.strategy = Strategy::Hyperband { min: 1, max: 1 };
    assert_eq!(to_stop(&plan, &trials), [(5, "it has had all of its 1 epochs".to_owned())]);
}

#[test]
fn a_wide_space_with_few_combinations_left_is_used_up() {
    // On a logarithmic scale the high values are drawn rarely.
    let domain = Domain::Integer { min: 1, max: 300, scaling: Scaling::Logarithmic };
    let plan = Plan {
        max_trials: 400,
        parallel: 50,
        ..plan(space(&[("n", domain), ("c", letters(&["x"]))]), Strategy::Random)
    };
    let (trials, reason) = play(&plan, |_| (0, true));
    assert_eq!((trials.len(), reason), (300, Reason::SpaceExhausted));
}

#[test]
fn strange_trials_and_priors_do_no_harm() {
    let mut plan = plan(mixed(), Strategy::Bayesian);
    for value in [f64::MAX, f64::MIN, f64::NAN, 0.0, 1e-320] {
        let values = Assignment::from([
            ("n".to_owned(), "nine".to_owned()),
            ("other".to_owned(), "1".to_owned()),
        ]);
        plan.prior.push(PriorTrial { values, value });
    }
    let states = [f64::MAX, f64::MIN, f64::INFINITY, 1e300, -1e300, 0.0].map(TrialState::Succeeded);
    let (mut trials, mut started) = (ended(&states), 0);
    while let Step::Start(values) = next(&plan, &trials) {
        started += values.len();
        trials.extend(values.iter().map(|values| trial(values, TrialState::Succeeded(f64::MAX))));
    }
    assert_eq!(started, plan.max_trials - states.len());
    // One per cent of the lowest number there is cannot be gained.
    plan.completion.convergence = true;
    plan.max_trials += 1;
    assert_eq!(next(&plan, &trials), Step::Complete(Reason::Converged));
}

#[test]
fn reasons_are_sentences() {
    for reason in [
        Reason::AllTrials,
        Reason::Target,
        Reason::NotImproving,
        Reason::Converged,
        Reason::SpaceExhausted,
    ] {
        let text = reason.to_string();
        assert!(text.starts_with(char::is_uppercase) && text.ends_with('.'), "{text}");
    }
}

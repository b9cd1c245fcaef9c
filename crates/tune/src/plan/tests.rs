//! Tests of `plan`: what `check` refuses.

use super::*;
use crate::space::{Domain, Parameter, Scaling};

fn plan(strategy: Strategy) -> Plan {
    let domain = Domain::Continuous { min: 0.0, max: 1.0, scaling: Scaling::Auto };
    Plan {
        space: Space::new(vec![Parameter { name: "x".to_owned(), domain }]).unwrap(),
        strategy,
        goal: Goal::Maximize,
        seed: 1,
        max_trials: 10,
        parallel: 2,
        early_stopping: false,
        completion: Completion::default(),
        prior: Vec::new(),
    }
}

#[test]
fn impossible_plans_are_refused() {
    let check = |change: &dyn Fn(&mut Plan)| {
        let mut plan = plan(Strategy::Random);
        change(&mut plan);
        plan.check()
    };
    let hyperband =
        |min, max| move |plan: &mut Plan| plan.strategy = Strategy::Hyperband { min, max };
    assert_eq!(check(&|_| ()), Ok(()));
    assert_eq!(check(&|plan| plan.max_trials = 0), Err(PlanError::NoTrials));
    assert_eq!(check(&|plan| plan.parallel = 0), Err(PlanError::NoPlaces));
    assert_eq!(check(&|plan| plan.strategy = Strategy::Grid), Err(PlanError::GridContinuous));
    assert_eq!(check(&hyperband(1, 1)), Ok(()));
    assert_eq!(check(&hyperband(0, 9)), Err(PlanError::Resources { min: 0, max: 9 }));
    assert_eq!(check(&hyperband(9, 3)), Err(PlanError::Resources { min: 9, max: 3 }));
    let both = |plan: &mut Plan| {
        plan.strategy = Strategy::Hyperband { min: 1, max: 9 };
        plan.early_stopping = true;
    };
    assert_eq!(check(&both), Err(PlanError::HyperbandEarlyStopping));
    assert_eq!(check(&|plan| plan.completion.target = Some(f64::NAN)), Err(PlanError::Target));
    assert_eq!(
        check(&|plan| plan.completion.not_improving = Some(0)),
        Err(PlanError::NotImproving)
    );
}

#[test]
fn objectives_that_are_no_numbers_are_no_objectives() {
    let value =
        |state: TrialState| Trial { values: Assignment::new(), state, reports: Vec::new() }.value();
    assert_eq!(value(TrialState::Succeeded(0.5)), Some(0.5));
    assert_eq!(value(TrialState::Stopped(Some(0.25))), Some(0.25));
    assert_eq!(value(TrialState::Succeeded(f64::NAN)), None);
    assert_eq!(value(TrialState::Stopped(Some(f64::INFINITY))), None);
    assert_eq!(value(TrialState::Failed), None);
    assert_eq!(value(TrialState::Running), None);
}

#[test]
fn plans_survive_writing_and_reading() {
    let mut plan = plan(Strategy::Hyperband { min: 1, max: 27 });
    plan.prior.push(PriorTrial { values: Assignment::new(), value: 0.5 });
    let text = serde_json::to_string(&plan).unwrap();
    assert_eq!(serde_json::from_str::<Plan>(&text).unwrap(), plan);
}

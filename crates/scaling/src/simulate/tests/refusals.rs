//! Scenarios that cannot be played are refused with what to do.

use super::*;
use crate::alarm::{Comparison, Missing};
use crate::fast::Measure;
use crate::step::{Adjustment, Step, StepScaling};

fn refused(change: impl FnOnce(&mut Scenario)) -> String {
    let mut scenario = base();
    change(&mut scenario);
    match simulate(&scenario) {
        Err(error) => error.to_string(),
        Ok(_) => panic!("it was played: {scenario:?}"),
    }
}

#[test]
fn numbers_that_cannot_be_are_named() {
    for (says, error) in [
        ("the rate of the trace", refused(|s| s.trace = Trace::Constant { rps: f64::NAN })),
        ("the rate of the trace", refused(|s| s.trace = Trace::Constant { rps: -1.0 })),
        (
            "the time of the peak",
            refused(|s| {
                s.trace = Trace::Diurnal {
                    low_rps: 1.0,
                    high_rps: 2.0,
                    period_s: 60.0,
                    peak_s: f64::MAX,
                };
            }),
        ),
        ("the duration in seconds must be more than 0, not `-5`", refused(|s| s.duration_s = -5.0)),
        ("the duration in seconds", refused(|s| s.duration_s = f64::NAN)),
        ("the duration in days would be 1000, more than 400", refused(|s| s.duration_s = 864e5)),
        ("simulate a shorter time", refused(|s| s.trace = Trace::Constant { rps: 1e9 })),
        ("the start time", refused(|s| s.instances.start_ms = -1.0)),
        ("the concurrency", refused(|s| s.instances.concurrency = 0)),
        ("the number of cores", refused(|s| s.instances.cores = Some(0.0))),
        ("the price", refused(|s| s.hourly_price = f64::INFINITY)),
        ("the resolution", refused(|s| s.bucket_s = 0.0)),
        ("give a coarser resolution", refused(|s| s.bucket_s = 1e-5)),
        ("let fewer requests wait", refused(|s| s.initial = 1_000)),
        ("give a lower maximum", refused(|s| s.initial = u32::MAX)),
    ] {
        assert!(error.contains(says), "{error}");
    }
    for samples in [&[][..], &[1.0, f64::NAN], &[-1.0], &[1e12]] {
        assert!(ServiceTimes::from_samples(samples).is_err(), "{samples:?}");
    }
    for pairs in [&[][..], &[(0.5, 2.0), (0.4, 3.0)], &[(0.5, 2.0), (0.6, 1.0)], &[(2.0, 1.0)]] {
        assert!(ServiceTimes::from_quantiles(pairs).is_err(), "{pairs:?}");
    }
    assert!(ServiceTimes::constant(-1.0).is_err());
    assert!(ServiceTimes::exponential(f64::NAN).is_err());
    assert!(ServiceTimes::lognormal(5.0, 4.0).is_err());
    assert!(ServiceTimes::lognormal(0.0, 4.0).is_err());
}

#[test]
fn nobody_who_would_ever_answer_is_refused() {
    assert_eq!(simulate(&Scenario { initial: 0, ..base() }), Err(ScenarioError::NoInstances));
    let fast = Scaling::Fast(Fast::new(1.0, Measure::Concurrency));
    let zero = Bounds { min: 0, max: 2 };
    let scenario = Scenario { scaling: fast, bounds: zero, ..base() };
    assert_eq!(simulate(&scenario), Err(ScenarioError::NothingHeld));
    let scenario = Scenario { hold: 1, ..scenario };
    assert!(simulate(&scenario).is_ok());
    let scenario = Scenario { scaling: aws(10.0, 60), ..scenario };
    assert_eq!(simulate(&scenario), Err(ScenarioError::AwsToZero));
    let nothing = Bounds { min: 0, max: 0 };
    assert_eq!(
        simulate(&Scenario { bounds: nothing, initial: 0, ..scenario }),
        Err(ScenarioError::NoInstances)
    );
}

#[test]
fn policies_are_looked_at_before_the_run() {
    let steps = |alarm| {
        let steps = vec![Step { lower: Some(0.0), upper: None, adjustment: 1 }];
        let rule = StepScaling::new(Adjustment::ChangeInCapacity, steps, 0, 0).unwrap();
        let rule = Rule::Step(rule);
        Scaling::Policies {
            policies: vec![Policy { name: "s".to_owned(), rule, alarm }],
            period_s: 60,
        }
    };
    let alarm = Alarm {
        comparison: Comparison::GreaterThanThreshold,
        threshold: 1.0,
        evaluation_periods: 1,
        datapoints_to_alarm: 2,
        missing: Missing::Missing,
    };
    let two = Bounds { min: 1, max: 2 };
    for (says, error) in [
        (
            "there is no scaling policy",
            refused(|s| {
                s.scaling = Scaling::Aws { rules: Vec::new(), period_s: 60 };
            }),
        ),
        ("the alarms' period", refused(|s| s.scaling = aws(1.0, 7))),
        ("the alarms' period", refused(|s| s.scaling = aws(1.0, 0))),
        ("the target of policy `p`", refused(|s| s.scaling = aws(f64::NAN, 60))),
        ("the target of policy `p`", refused(|s| s.scaling = aws(0.0, 60))),
        ("the step policy `s` has no alarm", refused(|s| s.scaling = steps(None))),
        ("not `2 of 1`", refused(|s| s.scaling = steps(Some(alarm)))),
        (
            "the target of the fast mode",
            refused(|s| {
                s.scaling = Scaling::Fast(Fast::new(-1.0, Measure::Concurrency));
            }),
        ),
        (
            "the minimum of instances",
            refused(|s| {
                (s.scaling, s.bounds) = (aws(1.0, 60), Bounds { min: 2, max: 1 });
            }),
        ),
        (
            "from 1 to 2, the bounds",
            refused(|s| {
                (s.scaling, s.bounds, s.initial) = (aws(1.0, 60), two, 3);
            }),
        ),
    ] {
        assert!(error.contains(says), "{error}");
    }
}

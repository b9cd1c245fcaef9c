//! Tests of `alarm`.

use proptest::prelude::*;

use super::*;

/// Above 1 for `m` of the last `n` points.
fn alarm(m: u32, n: u32, missing: Missing) -> Alarm {
    Alarm {
        comparison: Comparison::GreaterThanThreshold,
        threshold: 1.0,
        evaluation_periods: n,
        datapoints_to_alarm: m,
        missing,
    }
}

/// AWS's notation: `0` within the threshold, `X` beyond it, `-` missing; the newest one last.
fn points(text: &str) -> Vec<Option<f64>> {
    text.split(' ')
        .map(|point| match point {
            "0" => Some(0.0),
            "X" => Some(2.0),
            "-" => None,
            other => panic!("{other}"),
        })
        .collect()
}

const TREATMENTS: [Missing; 4] =
    [Missing::Missing, Missing::Ignore, Missing::Breaching, Missing::NotBreaching];

/// The rows of "How alarm state is evaluated when data is missing",
/// <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarms-and-missing-data.html>: M, N, the
/// points, and the states for `missing`, `ignore`, `breaching` and `notBreaching`. `None` keeps the state.
#[test]
fn missing_points_count_as_in_the_tables_of_aws() {
    use State::{Alarm, InsufficientData, Ok};
    let table = [
        // First table, rows 1 to 5.
        (3, 3, "0 - X - X", [Some(Ok), Some(Ok), Some(Ok), Some(Ok)]),
        (3, 3, "0 - - - -", [Some(Ok), Some(Ok), Some(Ok), Some(Ok)]),
        (3, 3, "- - - - -", [Some(InsufficientData), None, Some(Alarm), Some(Ok)]),
        (3, 3, "0 X X - X", [Some(Alarm), Some(Alarm), Some(Alarm), Some(Alarm)]),
        (3, 3, "- - X - -", [Some(Alarm), None, Some(Alarm), Some(Ok)]),
        // Second table, rows 1 to 5.
        (2, 3, "0 - X - X", [Some(Alarm), Some(Alarm), Some(Alarm), Some(Alarm)]),
        (2, 3, "0 0 X 0 X", [Some(Alarm), Some(Alarm), Some(Alarm), Some(Alarm)]),
        (2, 3, "0 - X - -", [Some(Ok), Some(Ok), Some(Alarm), Some(Ok)]),
        (2, 3, "- - - - 0", [Some(Ok), Some(Ok), Some(Alarm), Some(Ok)]),
        (2, 3, "- - - X -", [Some(Alarm), None, Some(Alarm), Some(Ok)]),
        // "Avoiding premature transitions to alarm state": not at once. The edition of 2019,
        // <https://github.com/awsdocs/amazon-cloudwatch-user-guide/blob/cd4004c/doc_source/AlarmThatSendsEmail.md>,
        // last row of both tables.
        (3, 3, "- - - - X", [Some(InsufficientData), None, Some(Alarm), Some(Ok)]),
        (2, 3, "- - - - X", [Some(InsufficientData), None, Some(Alarm), Some(Ok)]),
        (3, 3, "- - - X -", [Some(InsufficientData), None, Some(Alarm), Some(Ok)]),
        // The same section: the next point may be a good one.
        (3, 3, "- - X - 0", [Some(Ok), Some(Ok), Some(Ok), Some(Ok)]),
        // The oldest row of the edition of 2020: the one breaching point is old enough.
        (3, 3, "X - - - -", [Some(Alarm), None, Some(Alarm), Some(Ok)]),
    ];
    for (m, n, text, states) in table {
        for (missing, state) in TREATMENTS.into_iter().zip(states) {
            let alarm = alarm(m, n, missing);
            assert_eq!(alarm.range(), 5);
            for previous in [Ok, Alarm, InsufficientData] {
                assert_eq!(
                    alarm.state(previous, &points(text)),
                    state.unwrap_or(previous),
                    "{m} of {n}, {text}, {missing:?}, before {previous:?}"
                );
            }
        }
    }
}

/// The figure of <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarm-evaluation.html>: 3 of 3
/// above three units; ALARM in the third to fifth period, OK in the sixth, and one breach in the ninth changes
/// nothing.
#[test]
fn the_figure_of_aws() {
    let alarm = Alarm { threshold: 3.0, ..alarm(3, 3, Missing::Missing) };
    let metric = [4.0, 5.0, 5.0, 6.0, 4.0, 2.0, 1.0, 2.0, 4.0, 1.0].map(Some);
    let states: Vec<&str> =
        (3..=metric.len()).map(|end| alarm.state(State::Ok, &metric[..end]).as_str()).collect();
    assert_eq!(states, ["ALARM", "ALARM", "ALARM", "OK", "OK", "OK", "OK", "OK"]);
}

#[test]
fn comparisons_at_and_around_the_threshold() {
    use Comparison::{
        GreaterThanOrEqualToThreshold, GreaterThanThreshold, LessThanOrEqualToThreshold,
        LessThanThreshold,
    };
    let table = [
        (GreaterThanOrEqualToThreshold, [false, true, true]),
        (GreaterThanThreshold, [false, false, true]),
        (LessThanThreshold, [true, false, false]),
        (LessThanOrEqualToThreshold, [true, true, false]),
    ];
    for (comparison, breaches) in table {
        assert_eq!([0.0, 1.0, 2.0].map(|point| comparison.breaches(point, 1.0)), breaches);
    }
}

fn any_points() -> impl Strategy<Value = Vec<Option<f64>>> {
    prop::collection::vec(prop::option::of(0.0_f64..2.0), 0..12)
}

fn any_missing() -> impl Strategy<Value = Missing> {
    prop::sample::select(TREATMENTS.to_vec())
}

proptest! {
    #[test]
    fn a_breach_more_never_ends_an_alarm(
        (n, m) in (1_u32..8).prop_flat_map(|n| (Just(n), 1..=n)),
        missing in any_missing(),
        previous in prop::sample::select(vec![State::Ok, State::Alarm, State::InsufficientData]),
        points in any_points(),
        at in any::<prop::sample::Index>(),
    ) {
        let alarm = alarm(m, n, missing);
        let found = alarm.state(previous, &points);
        // One good point turned into a breaching one never ends an alarm.
        let good: Vec<usize> =
            (0..points.len()).filter(|at| points[*at].is_some_and(|point| point <= 1.0)).collect();
        if found == State::Alarm && !good.is_empty() {
            let mut worse = points.clone();
            worse[good[at.index(good.len())]] = Some(2.0);
            prop_assert_eq!(alarm.state(previous, &worse), State::Alarm);
        }
    }

    #[test]
    fn with_all_points_the_treatment_and_the_past_do_not_matter(
        (n, m) in (1_u32..8).prop_flat_map(|n| (Just(n), 1..=n)),
        missing in any_missing(),
        values in prop::collection::vec(0.0_f64..2.0, 8..12),
    ) {
        let points: Vec<Option<f64>> = values.iter().copied().map(Some).collect();
        let breaching = values.iter().rev().take(n as usize).filter(|point| **point > 1.0).count();
        let expected = if breaching >= m as usize { State::Alarm } else { State::Ok };
        for previous in [State::Ok, State::Alarm, State::InsufficientData] {
            prop_assert_eq!(alarm(m, n, missing).state(previous, &points), expected);
        }
    }
}

use proptest::prelude::*;

use super::*;

fn arrivals(trace: &Trace, duration_s: f64, seed: u64) -> Vec<f64> {
    trace.arrivals(duration_s, seed).unwrap().collect()
}

fn in_span(times: &[f64], from: f64, to: f64) -> f64 {
    times.iter().filter(|t| **t >= from && **t < to).count() as f64
}

/// A Poisson count is within five standard deviations of its mean.
fn near(found: f64, mean: f64) {
    assert!((found - mean).abs() <= 5.0 * mean.sqrt().max(1.0), "{found} instead of {mean}");
}

#[test]
fn each_shape_brings_as_many_requests_as_it_says_and_when_it_says() {
    let constant = Trace::Constant { rps: 50.0 };
    near(arrivals(&constant, 1000.0, 1).len() as f64, 50_000.0);

    let step = Trace::Step { low_rps: 10.0, high_rps: 100.0, at_s: 300.0, until_s: Some(600.0) };
    let times = arrivals(&step, 900.0, 2);
    near(in_span(&times, 0.0, 300.0), 3_000.0);
    near(in_span(&times, 300.0, 600.0), 30_000.0);
    near(in_span(&times, 600.0, 900.0), 3_000.0);

    let spike =
        Trace::Spike { base_rps: 5.0, peak_rps: 105.0, at_s: 100.0, rise_s: 10.0, fall_s: 90.0 };
    let times = arrivals(&spike, 300.0, 3);
    near(in_span(&times, 0.0, 100.0), 500.0);
    near(in_span(&times, 100.0, 110.0), 550.0);
    near(in_span(&times, 110.0, 200.0), 4_950.0);
    near(in_span(&times, 200.0, 300.0), 500.0);
    assert!((spike.expected(300.0) - 6_500.0).abs() < 1e-6);

    let day = Trace::Diurnal { low_rps: 10.0, high_rps: 90.0, period_s: 1000.0, peak_s: 250.0 };
    let times = arrivals(&day, 2000.0, 4);
    near(times.len() as f64, 100_000.0);
    near(in_span(&times, 240.0, 260.0), 1_800.0);
    near(in_span(&times, 740.0, 760.0), 200.0);
    assert!((day.peak_rps(2000.0) - 90.0).abs() < 0.1);

    let minutes = Trace::PerMinute(vec![600.0, 0.0, 0.0, 6_000.0]);
    let times = arrivals(&minutes, 600.0, 5);
    near(in_span(&times, 0.0, 60.0), 600.0);
    assert_eq!(in_span(&times, 60.0, 180.0), 0.0);
    near(in_span(&times, 180.0, 240.0), 6_000.0);
    assert_eq!(in_span(&times, 240.0, 600.0), 0.0);
    assert_eq!(minutes.peak_rps(600.0), 100.0);
}

#[test]
fn waits_between_arrivals_are_exponential() {
    let times = arrivals(&Trace::Constant { rps: 1.0 }, 200_000.0, 7);
    let waits: Vec<f64> = times.windows(2).map(|w| w[1] - w[0]).collect();
    for (longer_than, share) in [(0.1, 0.9048), (0.5, 0.6065), (2.0, 0.1353), (5.0, 0.006_738)] {
        let found = waits.iter().filter(|w| **w > longer_than).count() as f64 / waits.len() as f64;
        assert!((found - share).abs() < 0.005, "{found} instead of {share}");
    }
}

#[test]
fn no_requests_are_no_arrivals() {
    assert_eq!(arrivals(&Trace::Constant { rps: 0.0 }, 1e7, 1), Vec::<f64>::new());
    let later = Trace::Step { low_rps: 0.0, high_rps: 10.0, at_s: 100.0, until_s: Some(110.0) };
    let times = arrivals(&later, 1e4, 1);
    near(times.len() as f64, 100.0);
    assert!(times.iter().all(|t| (100.0..110.0).contains(t)), "{times:?}");
}

#[test]
fn the_seed_decides() {
    let trace = Trace::Constant { rps: 3.0 };
    assert_eq!(arrivals(&trace, 100.0, 11), arrivals(&trace, 100.0, 11));
    assert_ne!(arrivals(&trace, 100.0, 11), arrivals(&trace, 100.0, 12));
}

#[test]
fn times_are_taken_as_they_are_and_end_with_the_duration() {
    let trace = Trace::Timestamps(vec![0.5, 0.5, 2.0, 9.0]);
    assert_eq!(arrivals(&trace, 9.0, 1), vec![0.5, 0.5, 2.0]);
    assert_eq!(trace.expected(9.0), 3.0);
    assert_eq!(trace.duration_s(), Some(9.0));
    assert_eq!(trace.peak_rps(10.0), 4.0 / 60.0);
}

#[test]
fn numbers_that_no_load_has_are_refused() {
    for trace in [
        Trace::Constant { rps: f64::NAN },
        Trace::Constant { rps: -1.0 },
        Trace::Constant { rps: f64::INFINITY },
        Trace::Step { low_rps: 1.0, high_rps: 2.0, at_s: 10.0, until_s: Some(5.0) },
        Trace::Diurnal { low_rps: 1.0, high_rps: 2.0, period_s: 0.0, peak_s: 0.0 },
        Trace::Timestamps(vec![2.0, 1.0]),
        Trace::Timestamps(vec![-1.0]),
        Trace::PerMinute(vec![1.0, f64::NAN]),
    ] {
        assert!(trace.check().is_err(), "{trace:?}");
    }
}

#[test]
fn a_column_of_seconds_is_read_in_any_order() {
    let text = "\u{feff}# recorded\r\nseconds\r\n3.5\r\n1\r\n\r\n2.25\r\n";
    assert_eq!(Trace::csv(text), Ok(Trace::Timestamps(vec![1.0, 2.25, 3.5])));
    assert_eq!(Trace::csv("0\n7"), Ok(Trace::Timestamps(vec![0.0, 7.0])));
}

#[test]
fn dates_count_from_the_first_minute() {
    let text = "2026-11-21T08:00:30Z\n2026-11-21T09:01:00.5+01:00\n2026-11-21 08:02:00\n";
    assert_eq!(Trace::csv(text), Ok(Trace::Timestamps(vec![30.0, 60.5, 120.0])));
    // The same moment as seconds since 1970.
    assert_eq!(Trace::csv("1795248030"), Ok(Trace::Timestamps(vec![30.0])));
}

#[test]
fn minutes_are_read_and_those_left_out_are_empty() {
    assert_eq!(
        Trace::csv("minute,requests\n1,10\n3,2.5\n"),
        Ok(Trace::PerMinute(vec![0.0, 10.0, 0.0, 2.5]))
    );
    assert_eq!(
        Trace::csv("\"Minute\", \"Requests\"\n2026-11-21T08:02:00Z,5\n2026-11-21T08:00:00Z,7"),
        Ok(Trace::PerMinute(vec![7.0, 0.0, 5.0]))
    );
}

#[test]
fn what_cannot_be_read_is_named_with_its_line() {
    for (text, line, says) in [
        ("1\nlater\n", 2, "it is no time"),
        ("1\n-3", 2, "it is no time"),
        ("1\nNaN", 2, "it is no time"),
        ("1,2\n", 1, "no header"),
        ("minute,errors\n1,2", 1, "not known"),
        ("minute,requests\n1,2\n1,3", 3, "there before"),
        ("minute,requests\n1.5,2", 2, "no whole number"),
        ("minute,requests\n1,many", 2, "`many` is no number"),
        ("minute,requests\n1,-2", 2, "`-2` is no number"),
        ("minute,requests\n1", 2, "not two columns"),
        ("minute,requests\n0,1\n99999999,1", 3, "spans more than"),
        ("1\n2026-11-21T08:00:00Z", 2, "one way"),
        ("time\n1\n2,3", 3, "more than one column"),
    ] {
        match Trace::csv(text) {
            Err(TraceError::Line { line: found, reason, .. }) => {
                assert_eq!(found, line, "{text:?}");
                assert!(reason.contains(says), "{text:?}: {reason}");
            }
            other => panic!("{text:?}: {other:?}"),
        }
    }
    for text in ["", "\n# nothing\n", "minute,requests\n", "time\n"] {
        assert_eq!(Trace::csv(text), Err(TraceError::Empty), "{text:?}");
    }
}

proptest! {
    #[test]
    fn no_text_breaks_the_reader(text in "[0-9a-zT:,.\\-+Z\"# \n]{0,200}") {
        if let Ok(trace) = Trace::csv(&text) {
            prop_assert_eq!(trace.check(), Ok(()));
        }
    }

    #[test]
    fn arrivals_ascend_and_stay_within_the_duration(
        low in 0.0_f64..20.0, high in 0.0_f64..50.0, at in 0.0_f64..50.0, lasts in 0.0_f64..50.0,
        duration in 0.0_f64..200.0, shape in 0..4, seed: u64,
    ) {
        let trace = match shape {
            0 => Trace::Step { low_rps: low, high_rps: high, at_s: at, until_s: Some(at + lasts) },
            1 => Trace::Spike { base_rps: low, peak_rps: high, at_s: at, rise_s: lasts, fall_s: at },
            2 => Trace::Diurnal { low_rps: low, high_rps: high, period_s: 1.0 + lasts, peak_s: at },
            _ => Trace::PerMinute(vec![low, high, 0.0, at]),
        };
        let times = arrivals(&trace, duration, seed);
        prop_assert!(times.windows(2).all(|w| w[0] <= w[1]));
        prop_assert!(times.iter().all(|t| *t >= 0.0 && *t < duration));
        let expected = trace.expected(duration);
        prop_assert!((times.len() as f64 - expected).abs() <= 7.0 * expected.sqrt() + 7.0);
    }
}

//! The page is well-formed whatever goes in, says what it should, and lets nothing through that a browser would run or
//! load; what matters is told from what does not.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use super::scale::{Scale, Spread, number};
use super::*;
use crate::{Domain, Scaling};
use quick_xml::Reader;
use quick_xml::events::Event;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// The name of an element and its attributes.
type Element = (String, Vec<(String, String)>);

fn continuous(name: &str, min: f64, max: f64, scaling: Scaling) -> Parameter {
    Parameter { name: name.to_owned(), domain: Domain::Continuous { min, max, scaling } }
}

fn integer(name: &str, min: i64, max: i64) -> Parameter {
    Parameter {
        name: name.to_owned(),
        domain: Domain::Integer { min, max, scaling: Scaling::Auto },
    }
}

fn choice(name: &str, values: &[&str]) -> Parameter {
    let values = values.iter().map(|&value| value.to_owned()).collect();
    Parameter { name: name.to_owned(), domain: Domain::Categorical { values } }
}

fn space() -> Vec<Parameter> {
    vec![
        continuous("rate", 1e-4, 1e-1, Scaling::Logarithmic),
        choice("batch", &["\"32\"", "\"64\""]),
        integer("units", 16, 256),
        continuous("momentum", 0.9, 0.999, Scaling::ReverseLogarithmic),
    ]
}

fn row(number: usize, values: &[(&str, &str)], state: TrialState) -> Row {
    Row {
        name: format!("job-{number:03}"),
        values: values.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect(),
        state,
        reports: vec![0.5, 0.6, 0.7],
        started: Some(number as f64),
        ended: Some(number as f64 + 5.0),
    }
}

fn full() -> Report {
    let trials = vec![
        row(
            1,
            &[("rate", "0.01"), ("batch", "\"32\""), ("units", "64"), ("momentum", "0.95")],
            TrialState::Succeeded(0.81),
        ),
        row(
            2,
            &[("rate", "0.003"), ("batch", "\"64\""), ("units", "128"), ("momentum", "0.99")],
            TrialState::Succeeded(0.92),
        ),
        row(
            3,
            &[("rate", "0.0001"), ("batch", "\"32\""), ("units", "16"), ("momentum", "0.9")],
            TrialState::Stopped(Some(0.31)),
        ),
        row(4, &[("rate", "0.1"), ("batch", "\"64\""), ("units", "256")], TrialState::Failed),
        row(5, &[("rate", "0.02"), ("batch", "\"64\""), ("units", "256")], TrialState::Running),
    ];
    Report {
        title: "Tuning of dogs".to_owned(),
        facts: vec![("Strategy".to_owned(), "Random".to_owned())],
        notes: vec!["a trial failed; see `kennel logs`".to_owned()],
        goal: Goal::Maximize,
        metric: "accuracy".to_owned(),
        parameters: space(),
        trials,
        best: Some(1),
    }
}

fn empty() -> Report {
    Report {
        title: String::new(),
        facts: Vec::new(),
        notes: Vec::new(),
        goal: Goal::Minimize,
        metric: String::new(),
        parameters: Vec::new(),
        trials: Vec::new(),
        best: None,
    }
}

/// Reads the page as XML, checks that tags balance and no number is broken, and returns the names of the elements
/// together with their attributes.
fn well_formed(html: &str) -> Vec<Element> {
    let mut reader = Reader::from_str(html);
    let mut elements: Vec<Element> = Vec::new();
    let mut depth = 0;
    loop {
        let event = reader.read_event().unwrap_or_else(|error| {
            panic!("{error} at {}", reader.error_position());
        });
        match event {
            Event::Start(ref tag) | Event::Empty(ref tag) => {
                depth += i32::from(matches!(event, Event::Start(_)));
                let name = String::from_utf8(tag.name().as_ref().to_vec()).unwrap();
                let attributes = tag
                    .attributes()
                    .map(|attribute| {
                        let attribute = attribute.unwrap();
                        let key = String::from_utf8(attribute.key.as_ref().to_vec()).unwrap();
                        let value = attribute
                            .normalized_value(quick_xml::XmlVersion::Implicit1_0)
                            .unwrap()
                            .into_owned();
                        (key, value)
                    })
                    .collect();
                elements.push((name, attributes));
            }
            Event::End(_) => depth -= 1,
            Event::Text(text) => {
                text.xml10_content().unwrap();
            }
            Event::Eof => break,
            _ => {}
        }
    }
    assert_eq!(depth, 0);
    for (name, attributes) in &elements {
        for (key, value) in attributes {
            let number = ["NaN", "inf"].into_iter().any(|bad: &str| value.contains(bad));
            let text = ["content", "title", "aria-label"].contains(&key.as_str());
            assert!(!number || text, "<{name} {key}=\"{value}\">");
        }
    }
    elements
}

fn count(elements: &[Element], name: &str, class: &str) -> usize {
    elements
        .iter()
        .filter(|(n, attributes)| {
            n == name && attributes.iter().any(|(k, v)| k == "class" && v == class)
        })
        .count()
}

#[test]
fn a_full_report_says_everything() {
    let html = render(&full());
    let elements = well_formed(&html);
    for text in [
        "<h1>Tuning of dogs</h1>",
        "<div class=\"name\">best accuracy</div><div class=\"value\">0.92</div>",
        "2 ran to the end, 1 stopped early, 1 failed, 1 still running",
        "<dt>rate</dt><dd>0.003</dd>",
        // Without the quotes of JSON, which the SDK puts around choices.
        "<dt>batch</dt><dd>64</dd>",
        "<code>kennel logs</code>",
        "(higher is better)",
        "accuracy over time",
        "accuracy while the trials ran",
        "Too few trials to tell: it takes 8",
        "job-003",
        "5.0\u{a0}s",
    ] {
        assert!(html.contains(text), "{text}");
    }
    // Glance, progress, curves, and one plot for each of four parameters.
    assert_eq!(count(&elements, "svg", "parallel") + count(&elements, "svg", "plot"), 7);
    // The best is one thick line over all axes, with its points marked on each of them.
    assert_eq!(count(&elements, "path", "best"), 1);
    // On five axes, in the progress, and in four plots.
    assert_eq!(count(&elements, "circle", "best"), 5 + 1 + 4);
    assert_eq!(count(&elements, "polyline", "best"), 1);
    assert_eq!(count(&elements, "polyline", "c0 dashed"), 1);
    assert_eq!(count(&elements, "polyline", "steps"), 1);
    assert_eq!(count(&elements, "path", "failed"), 1);
    assert_eq!(elements.iter().filter(|(name, _)| name == "tr").count(), 6);
    // The best trial stands first in the table.
    let table = html.split("<tbody>").nth(1).unwrap();
    assert!(
        table
            .trim_start()
            .starts_with("<tr class=\"best\"><td class=\"number\" data-value=\"2e0\">2</td>")
    );
}

#[test]
fn the_page_loads_nothing() {
    let html = render(&full());
    for (name, attributes) in well_formed(&html) {
        assert!(!["link", "iframe", "object", "embed", "base", "img"].contains(&name.as_str()));
        for (key, _) in attributes {
            assert!(!key.starts_with("on"), "{key}");
            assert!(!["src", "href", "action", "srcset"].contains(&key.as_str()));
        }
    }
    assert!(!html.contains("http://") && !html.contains("https://"));
    assert!(!html.contains("@import") && !html.contains("url("));
}

#[test]
fn hostile_text_stays_text() {
    let evil = "<script>alert(1)</script>\"' onerror=x & ]]> \u{0}\u{1b}\u{202e}gpj NaN";
    let mut report = full();
    report.title = evil.to_owned();
    report.metric = evil.to_owned();
    report.facts.push((evil.to_owned(), evil.to_owned()));
    report.notes.push(format!("{evil} `{evil}` and ` odd"));
    report.parameters.push(choice(evil, &[evil, "b"]));
    report.parameters.push(continuous(&evil.repeat(3), 0.0, 1.0, Scaling::Linear));
    for (i, row) in report.trials.iter_mut().enumerate() {
        row.name = evil.to_owned();
        row.values
            .insert(evil.to_owned(), if i % 2 == 0 { evil } else { "not among them" }.to_owned());
        row.values.insert(evil.repeat(3), if i % 2 == 0 { evil } else { "0.5" }.to_owned());
    }
    let html = render(&report);
    let elements = well_formed(&html);
    // The page's own script is the only one.
    assert_eq!(html.matches("<script").count(), 1);
    assert!(html.contains("&lt;script&gt;alert(1)"));
    assert!(!html.contains('\u{202e}') && !html.contains('\u{0}') && !html.contains('\u{1b}'));
    for (_, attributes) in elements {
        assert!(attributes.iter().all(|(key, _)| key != "onerror"));
    }
}

#[test]
fn nothing_at_all_still_makes_a_page() {
    let html = render(&empty());
    well_formed(&html);
    assert!(html.contains("<h1>Tuning report</h1>"));
    assert!(html.contains("No trial was started."));

    // One trial, of one parameter, without any time or report.
    let mut report = empty();
    report.parameters = vec![continuous("rate", 0.5, 0.5, Scaling::Auto)];
    report.trials = vec![Row {
        reports: Vec::new(),
        started: None,
        ended: None,
        ..row(1, &[("rate", "0.5")], TrialState::Succeeded(0.25))
    }];
    report.best = Some(0);
    let html = render(&report);
    let elements = well_formed(&html);
    assert!(html.contains("number of the trial"));
    assert_eq!(count(&elements, "svg", "plot"), 1);

    // A best that is not there or has no value is none.
    for best in [7, 3] {
        let report = Report { best: Some(best), ..full() };
        let html = render(&report);
        well_formed(&html);
        assert!(!html.contains("The best hyperparameters"));
    }
}

#[test]
fn broken_numbers_leave_no_trace_in_the_drawings() {
    let odd = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, f64::MAX, f64::MIN, 0.0, -1.0, 1e-300];
    for goal in [Goal::Minimize, Goal::Maximize] {
        for &first in &odd {
            for &second in &odd {
                let mut report = Report { goal, ..full() };
                report.trials[0].state = TrialState::Succeeded(first);
                report.trials[1].state = TrialState::Succeeded(second);
                report.trials[2].reports = vec![first, second, 0.5, first];
                report.trials[0].reports = vec![second];
                report.trials[0].started = Some(first);
                report.trials[0].ended = Some(second);
                report.trials[1].values.insert("rate".to_owned(), first.to_string());
                report.trials[1].values.insert("momentum".to_owned(), second.to_string());
                report.parameters.push(continuous("odd", first, second, Scaling::Logarithmic));
                report.parameters.push(continuous("odder", second, first, Scaling::Auto));
                report.parameters.push(integer("whole", i64::MIN, i64::MAX));
                well_formed(&render(&report));
            }
        }
    }
    let mut report = full();
    for row in &mut report.trials {
        row.state = TrialState::Succeeded(f64::NAN);
    }
    let html = render(&report);
    well_formed(&html);
    assert!(html.contains("No trial has ended with a value"));
}

/// Trials at random places of the space, each with the value that `f` gives for its parameters.
fn trials_of(parameters: &[Parameter], count: usize, f: impl Fn(&Assignment) -> f64) -> Vec<Row> {
    let mut random = ChaCha8Rng::seed_from_u64(3);
    (0..count)
        .map(|number| {
            let values: Assignment = parameters
                .iter()
                .map(|p| (p.name.clone(), p.domain.text(random.random_range(0.0..1.0))))
                .collect();
            let state = TrialState::Succeeded(f(&values));
            Row { values, ..row(number, &[], state) }
        })
        .collect()
}

fn value_of(values: &Assignment, name: &str) -> f64 {
    values[name].trim_matches('"').parse().unwrap()
}

#[test]
fn importance_tells_what_matters() {
    let parameters = space();
    // Only the learning rate counts, on its logarithm, and with a trial that diverged beyond all measure.
    let trials = trials_of(&parameters, 40, |values| {
        let rate = value_of(values, "rate");
        if rate > 0.08 { 1e20 } else { (rate.log10() + 2.5).powi(2) }
    });
    let shares = importance(&parameters, &trials);
    assert_eq!(shares.len(), 4);
    assert_eq!(shares[0].0, "rate");
    assert!(shares[0].1 > 0.85, "{shares:?}");
    assert!((shares.iter().map(|(_, share)| share).sum::<f64>() - 1.0).abs() < 1e-9);
    assert!(shares.is_sorted_by(|a, b| a.1 >= b.1));

    // A choice alone.
    let trials = trials_of(&parameters, 40, |values| value_of(values, "batch"));
    let shares = importance(&parameters, &trials);
    assert_eq!(shares[0].0, "batch");
    assert!(shares[0].1 > 0.95, "{shares:?}");

    // Two that matter only together: neither does anything on average over the other.
    let trials = trials_of(&parameters, 120, |values| {
        let side = if value_of(values, "batch") > 40.0 { 1.0 } else { -1.0 };
        side * (value_of(values, "rate").log10() + 2.5)
    });
    let shares = importance(&parameters, &trials);
    let of = |name: &str| shares.iter().find(|(other, _)| other == name).unwrap().1;
    assert!(of("rate") > 0.25 && of("batch") > 0.25, "{shares:?}");
    assert!(of("units") < 0.15 && of("momentum") < 0.15, "{shares:?}");

    // The same trials, the same shares.
    assert_eq!(shares, importance(&parameters, &trials));
}

#[test]
fn importance_is_silent_where_it_knows_nothing() {
    let parameters = space();
    let few = trials_of(&parameters, 7, |values| value_of(values, "rate"));
    assert!(importance(&parameters, &few).is_empty());
    let enough = trials_of(&parameters, 8, |values| value_of(values, "rate"));
    assert!(!importance(&parameters, &enough).is_empty());
    // Trials that lack a parameter or a value do not count.
    let mut lacking = enough.clone();
    lacking[0].values.remove("units");
    assert!(importance(&parameters, &lacking).is_empty());
    let mut failed = enough;
    failed[0].state = TrialState::Failed;
    assert!(importance(&parameters, &failed).is_empty());
    // All the same: nothing matters.
    assert!(importance(&parameters, &trials_of(&parameters, 30, |_| 0.5)).is_empty());
    assert!(
        importance(&[], &trials_of(&parameters, 30, |values| value_of(values, "rate"))).is_empty()
    );
    // A parameter that cannot vary has no share.
    let mut with_fixed = parameters.clone();
    with_fixed.push(choice("only", &["this"]));
    let trials = trials_of(&with_fixed, 30, |values| value_of(values, "rate"));
    assert!(importance(&with_fixed, &trials).iter().all(|(name, _)| name != "only"));
}

#[test]
fn the_report_shows_importance_and_what_is_worth_a_plot() {
    let parameters = space();
    let trials =
        trials_of(&parameters, 40, |values| (value_of(values, "rate").log10() + 2.5).powi(2));
    let report = Report { parameters, trials, goal: Goal::Minimize, ..full() };
    let html = render(&report);
    let elements = well_formed(&html);
    assert_eq!(count(&elements, "span", "track"), 4);
    assert!(html.contains("total Sobol indices of a random forest"));
    assert!(html.contains("The forest explains"));
    // Progress, curves, and the one parameter that matters.
    assert_eq!(count(&elements, "svg", "plot"), 3);
}

#[test]
fn the_best_so_far_is_of_trials_that_ran_to_their_end() {
    let steps = |report: &Report| {
        let elements = well_formed(&render(report));
        let is = |(_, attributes): &&Element| attributes.iter().any(|(key, _)| key == "points");
        let steps = |element: &&Element| element.1.iter().any(|(_, value)| value == "steps");
        let (_, attributes) = elements.iter().filter(is).find(steps).cloned().unwrap();
        attributes.iter().find(|(key, _)| key == "points").unwrap().1.split(' ').count()
    };
    // The first, the rise to the second, and level to the end.
    assert_eq!(steps(&full()), 4);
    let mut report = full();
    report.trials[2].state = TrialState::Stopped(Some(0.99));
    assert_eq!(steps(&report), 4);
    // Without one that ran to its end: the second, and the rise to the third.
    report.trials[0].state = TrialState::Failed;
    report.trials[1].state = TrialState::Stopped(Some(0.92));
    assert_eq!(steps(&report), 4);
    report.trials[1].state = TrialState::Failed;
    assert_eq!(steps(&report), 2);
}

#[test]
fn thirty_parameters_show_those_that_matter() {
    let parameters: Vec<Parameter> =
        (0..30).map(|i| continuous(&format!("p{i:02}"), 0.0, 1.0, Scaling::Linear)).collect();
    let trials = trials_of(&parameters, 100, |values| value_of(values, "p29"));
    let html = render(&Report { parameters, trials, ..full() });
    let elements = well_formed(&html);
    assert!(html.contains("9 of 30 hyperparameters are shown."));
    assert_eq!(count(&elements, "text", "name"), 10);
    assert!(html.contains("<title>p29</title>"));
}

#[test]
fn scales_place_values_and_have_round_ticks() {
    let log = Scale::over([1e-5, 1e-1], Spread::Log);
    assert_eq!(log.ticks(6), [1e-5, 1e-4, 1e-3, 1e-2, 1e-1]);
    assert!((log.place(1e-3) - 0.5).abs() < 1e-9);
    assert_eq!((log.place(1e-9), log.place(1.0)), (0.0, 1.0));
    assert_eq!(Scale::over([0.02, 0.6], Spread::Log).ticks(6), [0.02, 0.05, 0.1, 0.2, 0.5]);
    assert_eq!(
        Scale::over([1e-12, 1.0], Spread::Log).ticks(6),
        [1e-12, 1e-10, 1e-8, 1e-6, 1e-4, 1e-2, 1.0]
    );
    // Too narrow for powers of ten and their multiples.
    assert_eq!(Scale::over([31.0, 39.0], Spread::Log).ticks(6), [32.0, 34.0, 36.0, 38.0]);
    let reverse = Scale::over([0.9, 0.999], Spread::ReverseLog);
    let texts: Vec<String> = reverse.ticks(3).into_iter().map(|tick| number(tick, 6)).collect();
    assert_eq!(texts, ["0.9", "0.99", "0.999"]);
    assert!((reverse.place(0.99) - 0.5).abs() < 1e-9);
    // What a spread cannot hold is linear.
    assert_eq!(Scale::over([0.0, 1.0], Spread::Log).spread, Spread::Linear);
    assert_eq!(Scale::over([0.0, 1.0], Spread::ReverseLog).spread, Spread::Linear);
    assert_eq!(
        Scale::over([f64::NAN], Spread::Log),
        Scale { low: 0.0, high: 1.0, spread: Spread::Linear }
    );
    for (low, high) in
        [(0.0, 0.0), (-3.0, 1e12), (1e-12, 2e-12), (1e15, 1e15 + 1.0), (-1e29, 1e29), (5.0, 5.0)]
    {
        for spread in [Spread::Linear, Spread::Log, Spread::ReverseLog] {
            let scale = Scale::over([low, high], spread);
            let ticks = scale.ticks(6);
            assert!((1..20).contains(&ticks.len()), "{scale:?}: {ticks:?}");
            assert!(ticks.is_sorted(), "{scale:?}: {ticks:?}");
        }
    }
}

#[test]
fn numbers_and_times_are_short() {
    for (value, digits, expected) in [
        (0.1 + 0.2, 6, "0.3"),
        (0.000_123_456, 4, "1.235e-4"),
        (1e-5, 6, "1e-5"),
        (20000.0, 6, "20000"),
        (2.5e9, 4, "2.5e9"),
        (0.918_273, 4, "0.9183"),
        (-0.0, 4, "0"),
        (f64::NAN, 4, "–"),
    ] {
        assert_eq!(number(value, digits), expected);
    }
    for (seconds, expected) in [
        (0.42, "0.4 s"),
        (9.96, "10 s"),
        (59.6, "1 min 00 s"),
        (61.0, "1 min 01 s"),
        (3599.7, "1 h 00 min"),
        (7320.0, "2 h 02 min"),
        (f64::NAN, "–"),
        (-1.0, "–"),
    ] {
        assert_eq!(duration(seconds).replace('\u{a0}', " "), expected);
    }
}

#[test]
fn a_loss_that_diverged_does_not_press_the_others_flat() {
    let values = [0.3, 0.35, 0.5, 900.0];
    assert_eq!(view::scale(Goal::Minimize, &values).spread, Spread::Log);
    assert_eq!(view::scale(Goal::Maximize, &values).spread, Spread::Linear);
    assert_eq!(view::scale(Goal::Minimize, &values[..3]).spread, Spread::Linear);
    // Values that hardly differ get an axis whose ticks differ.
    let one = view::scale(Goal::Maximize, &[0.546_839, 0.546_839]);
    let texts: Vec<String> = one.ticks(5).into_iter().map(|tick| number(tick, 6)).collect();
    assert!(texts.len() > 2 && texts.windows(2).all(|pair| pair[0] != pair[1]), "{texts:?}");
    assert_eq!(forest::ranks(&[3.0, 1.0, 3.0, 9.0, 0.5]), [0.625, 0.25, 0.625, 1.0, 0.0]);
}

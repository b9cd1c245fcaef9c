//! The page is well-formed whatever goes in, says what it should, and lets nothing through that
//! a browser would run or load.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use super::*;
use quick_xml::Reader;
use quick_xml::events::Event;

/// The name of an element and its attributes.
type Element = (String, Vec<(String, String)>);

fn epoch(number: usize, loss: f64, valid: Option<f64>) -> EpochPoint {
    EpochPoint {
        epoch: number,
        train_loss: loss,
        valid_loss: valid,
        train_accuracy: 0.5,
        valid_accuracy: valid.map(|_| 0.4),
        learning_rate: 0.001,
    }
}

fn evaluation(classes: &[&str], confusion: &[&[u32]]) -> Evaluation {
    Evaluation {
        split: "test".to_owned(),
        classes: classes.iter().map(|&c| c.to_owned()).collect(),
        confusion: confusion.iter().map(|row| row.to_vec()).collect(),
        top1: 0.75,
        top5: 0.9,
        count: 8,
    }
}

fn mistake(path: &str, truth: &str) -> Mistake {
    Mistake {
        path: path.to_owned(),
        truth: truth.to_owned(),
        predicted: "Domino dane".to_owned(),
        probability: 0.987,
        truth_probability: 0.004,
        thumbnail_jpeg: vec![0xff, 0xd8, 0xff],
    }
}

fn full() -> Report {
    Report {
        title: "dogs120 on mobilenet".to_owned(),
        facts: vec![("Head".to_owned(), "mlp:128".to_owned())],
        notes: vec!["3 photos were skipped; see `kennel data inspect`".to_owned()],
        epochs: vec![epoch(1, 2.0, Some(2.1)), epoch(2, 1.0, Some(1.2)), epoch(3, 0.5, Some(1.4))],
        evaluations: vec![evaluation(&["Moss terrier", "Domino dane"], &[&[3, 1], &[1, 3]])],
        mistakes: vec![mistake("test/a.jpg", "Moss terrier")],
        options_json: "{\"epochs\": 3}".to_owned(),
    }
}

/// Reads the page as XML, checks that tags balance and no number is broken, and returns the
/// names of the elements together with their attributes.
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
            let text = ["content", "alt", "aria-label", "src"].contains(&key.as_str());
            assert!(!number || text, "<{name} {key}=\"{value}\">");
        }
    }
    elements
}

fn count(elements: &[Element], name: &str) -> usize {
    elements.iter().filter(|(n, _)| n == name).count()
}

#[test]
fn a_full_report_says_everything() {
    let html = render(&full());
    let elements = well_formed(&html);
    for text in [
        "<h1>dogs120 on mobilenet</h1>",
        "75.0\u{a0}%",
        "6 of 8 test photos",
        "mlp:128",
        "<code>kennel data inspect</code>",
        "best: 2",
        "Moss terrier taken for Domino dane: 1 of 4 (25.0\u{a0}%)",
        "<b>Domino dane</b> was taken for <b>Moss terrier</b>, <span>1 of 4</span>",
        "98.7\u{a0}%",
        "0.4\u{a0}%",
        "data:image/jpeg;base64,/9j/",
        "{&quot;epochs&quot;: 3}",
    ] {
        assert!(html.contains(text), "{text}");
    }
    assert_eq!(count(&elements, "svg"), 3);
    assert_eq!(count(&elements, "polyline"), 4);
    assert_eq!(count(&elements, "circle"), 12);
    assert_eq!(count(&elements, "img"), 1);
    // Two classes: the right one is always among the first five.
    assert!(!html.contains("among the first five"));
}

#[test]
fn the_page_loads_nothing() {
    let html = render(&full());
    for (name, attributes) in well_formed(&html) {
        assert!(!["link", "iframe", "object", "embed", "base"].contains(&name.as_str()));
        for (key, value) in attributes {
            assert!(!key.starts_with("on"), "{key}");
            if ["src", "href", "action", "srcset"].contains(&key.as_str()) {
                assert!(value.starts_with("data:image/jpeg;base64,"), "{key}={value}");
            }
        }
    }
    assert!(!html.contains("http://") && !html.contains("https://"));
    assert!(html.contains("default-src 'none'"));
    assert!(!html.contains("@import") && !html.contains("url("));
}

#[test]
fn hostile_text_stays_text() {
    let evil = "<script>alert(1)</script>\"' onerror=x & ]]> \u{0}\u{1b}\u{202e}gpj";
    let mut report = full();
    report.title = evil.to_owned();
    report.facts.push((evil.to_owned(), evil.to_owned()));
    report.notes.push(format!("{evil} `{evil}` and ` odd"));
    report.notes.push(format!("{evil} `{evil}`"));
    report.options_json = evil.to_owned();
    report.evaluations.push(evaluation(&[evil, evil, "b"], &[&[1, 2, 0], &[0, 1, 3], &[1, 0, 0]]));
    if let Some(last) = report.evaluations.last_mut() {
        last.split = evil.to_owned();
    }
    report.mistakes.push(mistake(evil, evil));
    let html = render(&report);
    let elements = well_formed(&html);
    // The page's own script is the only one.
    assert_eq!(count(&elements, "script"), 1);
    assert_eq!(html.matches("<script").count(), 1);
    assert!(html.contains("&lt;script&gt;alert(1)"));
    assert!(!html.contains('\u{202e}') && !html.contains('\u{0}') && !html.contains('\u{1b}'));
    for (_, attributes) in elements {
        assert!(attributes.iter().all(|(key, _)| key != "onerror"));
    }
}

#[test]
fn nothing_at_all_still_makes_a_page() {
    let html = render(&Report::default());
    well_formed(&html);
    assert!(html.contains("<h1>Training report</h1>"));
    assert!(html.contains("No epoch was trained."));
    assert!(!html.contains("worst mistakes"));

    let mut report = Report::default();
    report.evaluations.push(evaluation(&[], &[]));
    well_formed(&render(&report));
    let mut report = full();
    report.mistakes.clear();
    assert!(render(&report).contains("None."));
    report.mistakes.push(Mistake { thumbnail_jpeg: Vec::new(), ..mistake("x", "y") });
    assert!(render(&report).contains("no picture"));
}

#[test]
fn broken_numbers_leave_no_trace_in_the_drawings() {
    let mut report = full();
    let odd = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, f64::MAX, f64::MIN, 0.0, -1.0, 1e-300];
    for &first in &odd {
        for &second in &odd {
            report.epochs = vec![
                epoch(1, first, Some(second)),
                epoch(2, second, None),
                epoch(usize::MAX, first, Some(first)),
            ];
            report.epochs[0].train_accuracy = first;
            report.epochs[1].learning_rate = second;
            report.evaluations[0].top1 = first;
            report.mistakes[0].probability = second;
            well_formed(&render(&report));
        }
    }
    report.epochs = vec![epoch(1, f64::NAN, None)];
    let html = render(&report);
    assert!(html.contains("No values for loss."));
    // The script after the page has an `isNaN` of its own.
    let page = html.split("<script>").next().unwrap();
    assert!(!page.contains("NaN"));
}

#[test]
fn one_epoch_one_class_no_validation() {
    let report = Report {
        epochs: vec![epoch(1, 0.7, None)],
        evaluations: vec![evaluation(&["only"], &[&[4]])],
        ..Report::default()
    };
    let html = render(&report);
    let elements = well_formed(&html);
    assert_eq!(count(&elements, "circle"), 2);
    assert_eq!(count(&elements, "polyline"), 0);
    assert!(!html.contains("best: "));
    assert!(!html.contains(">validation</span>"));
    assert!(!html.contains("Most often confused"));
}

#[test]
fn ragged_and_large_matrices_are_shown_as_far_as_they_go() {
    let ragged = evaluation(&["a", "b", "c"], &[&[1], &[0, 2, 0, 9, 9]]);
    assert_eq!(confusion::right_and_all(&ragged), (3, 3));
    let scores = confusion::scores(&ragged);
    assert_eq!(scores.last().map(|score| score.class), Some(2));
    assert_eq!(scores.last().and_then(|score| score.recall), None);

    for n in [30, 60, 200, 201] {
        let names: Vec<String> = (0..n).map(|i| format!("class {i}")).collect();
        let mut large = evaluation(&[], &[]);
        large.confusion = (0..n).map(|i| (0..n).map(|j| u32::from(i == j)).collect()).collect();
        large.classes = names;
        let report = Report { evaluations: vec![large], ..Report::default() };
        let elements = well_formed(&render(&report));
        assert_eq!(count(&elements, "svg"), usize::from(n <= 200), "{n}");
        // One cell for each count that is not zero, and the sheet.
        assert_eq!(count(&elements, "rect"), if n <= 200 { n + 1 } else { 0 });
    }
}

#[test]
fn scores_are_recall_and_precision() {
    let evaluation = evaluation(&["a", "b", "c"], &[&[3, 1, 0], &[2, 2, 0], &[0, 0, 0]]);
    let scores = confusion::scores(&evaluation);
    assert_eq!(scores.iter().map(|s| s.class).collect::<Vec<_>>(), [1, 0, 2]);
    assert_eq!(scores[0].recall, Some(0.5));
    assert_eq!(scores[0].precision, Some(2.0 / 3.0));
    assert_eq!(scores[0].taken_for, Some((0, 2)));
    assert_eq!(scores[1].precision, Some(0.6));
    assert_eq!((scores[2].recall, scores[2].precision, scores[2].support), (None, None, 0));
}

#[test]
fn ticks_are_round_and_cover_the_range() {
    assert_eq!(kennel_report::ticks(0.0, 1.0, 5), [0.0, 0.2, 0.4, 0.6000000000000001, 0.8, 1.0]);
    assert_eq!(kennel_report::ticks(1.0, 12.0, 8), [0.0, 2.0, 4.0, 6.0, 8.0, 10.0, 12.0]);
    for (low, high) in [(0.0, 0.0), (5.0, 5.0), (-3.0, 1e12), (1e-12, 2e-12), (1e15, 1e15 + 1.0)] {
        let ticks = kennel_report::ticks(low, high, 5);
        assert!((2..40).contains(&ticks.len()), "{low} {high}: {ticks:?}");
        assert!(ticks.is_sorted());
        assert!(ticks[0] <= low && ticks[ticks.len() - 1] >= high, "{low} {high}: {ticks:?}");
    }
    assert!(kennel_report::ticks(f64::NAN, f64::INFINITY, 5).len() >= 2);
}

#[test]
fn numbers_are_short() {
    for (value, expected) in [
        (0.0, "0"),
        (1.0, "1"),
        (1.5, "1.5"),
        (0.0123, "0.0123"),
        (12.345, "12.3"),
        (100.0, "100"),
        (-2.25, "-2.25"),
        (0.00001, "1.0e-5"),
        (2.5e9, "2.5e9"),
        (f64::NAN, "–"),
    ] {
        assert_eq!(kennel_report::short(value), expected);
    }
    assert_eq!(percent(0.8125), "81.2\u{a0}%");
    assert_eq!(percent(f64::INFINITY), "–");
    assert_eq!(plural(1, "photo", "photos"), "1 photo");
}

//! What a confusion matrix says: the matrix as a picture, the pairs in words, and the numbers per
//! class. Missing or ragged rows count as zeros, so that a report is never refused.

use super::Evaluation;
use kennel_report::{escape, percent, percent_or_dash, plural, put};

/// Above this number of classes the matrix is left out: its cells would be smaller than a pixel.
const LARGEST_MATRIX: usize = 200;

/// Up to this number of classes their names stand on the axes.
const NAMED_CLASSES: usize = 48;

/// Up to this number of classes the counts stand in the cells.
const COUNTED_CLASSES: usize = 24;

/// How many confused pairs are told.
const PAIRS: usize = 12;

/// The numbers of one class.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct ClassScore {
    pub(super) class: usize,
    /// Photos that belong to the class.
    pub(super) support: u64,
    /// Of those, the share that was recognised.
    pub(super) recall: Option<f64>,
    /// Of the photos that were given this class, the share that belongs to it.
    pub(super) precision: Option<f64>,
    /// The class that its photos are most often taken for, with the number of times.
    pub(super) taken_for: Option<(usize, u32)>,
}

fn cell(evaluation: &Evaluation, truth: usize, predicted: usize) -> u32 {
    let row = evaluation.confusion.get(truth);
    row.and_then(|row| row.get(predicted)).copied().unwrap_or(0)
}

fn name(evaluation: &Evaluation, class: usize) -> String {
    match evaluation.classes.get(class) {
        Some(name) => escape(name),
        None => format!("class {}", class + 1),
    }
}

/// Counts over the diagonal and all of them.
pub(super) fn right_and_all(evaluation: &Evaluation) -> (u64, u64) {
    let classes = evaluation.classes.len();
    let (mut right, mut all) = (0, 0);
    for truth in 0..classes {
        for predicted in 0..classes {
            let count = u64::from(cell(evaluation, truth, predicted));
            all += count;
            if truth == predicted {
                right += count;
            }
        }
    }
    (right, all)
}

/// The scores of every class, the worst recognised first, classes without photos last.
pub(super) fn scores(evaluation: &Evaluation) -> Vec<ClassScore> {
    let classes = evaluation.classes.len();
    let share = |part: u32, whole: u64| (whole > 0).then(|| f64::from(part) / whole as f64);
    let mut scores: Vec<ClassScore> = (0..classes)
        .map(|class| {
            let right = cell(evaluation, class, class);
            let row = |other| cell(evaluation, class, other);
            let support = (0..classes).map(|other| u64::from(row(other))).sum();
            let given = (0..classes).map(|other| u64::from(cell(evaluation, other, class))).sum();
            let taken_for = (0..classes)
                .filter(|&other| other != class && row(other) > 0)
                .max_by_key(|&other| (row(other), std::cmp::Reverse(other)))
                .map(|other| (other, row(other)));
            ClassScore {
                class,
                support,
                recall: share(right, support),
                precision: share(right, given),
                taken_for,
            }
        })
        .collect();
    scores.sort_by(|a, b| {
        let key = |score: &ClassScore| score.recall.unwrap_or(2.0);
        key(a).total_cmp(&key(b)).then(b.support.cmp(&a.support))
    });
    scores
}

/// The matrix as an SVG picture with a cell for every count that is not zero.
pub(super) fn matrix(evaluation: &Evaluation) -> String {
    let n = evaluation.classes.len();
    let (_, all) = right_and_all(evaluation);
    if n == 0 || all == 0 {
        return "<p class=\"empty\">No photos were evaluated.</p>\n".to_owned();
    }
    if n > LARGEST_MATRIX {
        return format!(
            "<p class=\"empty\">The matrix of {n} classes would be too fine to read; \
             the pairs and the table below say the same.</p>\n"
        );
    }
    let size = (680.0 / n as f64).clamp(3.4, 46.0);
    let named = n <= NAMED_CLASSES;
    let letters = evaluation.classes.iter().map(|c| c.chars().count()).max();
    // Names are cut at 24 letters on the axes, and a letter is about 6 units wide.
    let margin = if named { 16.0 + 6.2 * letters.unwrap_or(0).min(24) as f64 } else { 14.0 };
    let side = size * n as f64;
    let (width, height) = (margin + side + 6.0, margin + side + 6.0);
    // Tilted names at the top reach beyond the right edge.
    let width = if named { width + margin * 0.5 } else { width };
    let mut out = format!(
        "<svg class=\"matrix\" viewBox=\"0 0 {width:.0} {height:.0}\" \
         style=\"max-width:{width:.0}px\" role=\"img\" aria-label=\"confusion matrix: rows are \
         the true classes, columns the predicted ones\">\n\
         <rect class=\"sheet\" x=\"{margin:.1}\" y=\"{margin:.1}\" width=\"{side:.1}\" height=\"{side:.1}\"/>\n"
    );
    if size >= 9.0 {
        for i in 1..n {
            let at = margin + i as f64 * size;
            let end = margin + side;
            put(
                &mut out,
                format_args!(
                    "<path class=\"grid\" d=\"M{at:.1} {margin:.1}V{end:.1}M{margin:.1} {at:.1}H{end:.1}\"/>"
                ),
            );
        }
        out.push('\n');
    }
    if named {
        for class in 0..n {
            let at = margin + (class as f64 + 0.5) * size;
            let short: String = match evaluation.classes.get(class) {
                Some(name) if name.chars().count() > 24 => {
                    escape(&name.chars().take(23).chain(['…']).collect::<String>())
                }
                _ => name(evaluation, class),
            };
            let (x, top) = (margin - 6.0, margin - 6.0);
            put(
                &mut out,
                format_args!(
                    "<text class=\"tick\" x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"end\">{short}</text>\
                 <text class=\"tick\" transform=\"translate({at:.1} {top:.1}) rotate(-50)\">{short}</text>\n",
                    at + 3.5
                ),
            );
        }
    }
    for truth in 0..n {
        let support: u64 = (0..n).map(|p| u64::from(cell(evaluation, truth, p))).sum();
        for predicted in 0..n {
            let count = cell(evaluation, truth, predicted);
            if count == 0 {
                continue;
            }
            let share = f64::from(count) / support.max(1) as f64;
            let (x, y) = (margin + predicted as f64 * size, margin + truth as f64 * size);
            let class = if truth == predicted { "right" } else { "wrong" };
            let verb = if truth == predicted { "recognised" } else { "taken for" };
            let what = if truth == predicted {
                String::new()
            } else {
                format!(" {}", name(evaluation, predicted))
            };
            put(
                &mut out,
                format_args!(
                    "<g class=\"{class}\"><rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{size:.1}\" height=\"{size:.1}\" \
                 fill-opacity=\"{:.2}\"/><title>{} {verb}{what}: {count} of {support} ({})</title>",
                    0.18 + 0.82 * share,
                    name(evaluation, truth),
                    percent(share)
                ),
            );
            if n <= COUNTED_CLASSES {
                let strong = if share > 0.5 { " strong" } else { "" };
                put(
                    &mut out,
                    format_args!(
                        "<text class=\"count{strong}\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{count}</text>",
                        x + size / 2.0,
                        y + size / 2.0 + 4.0
                    ),
                );
            }
            out.push_str("</g>\n");
        }
    }
    out.push_str("</svg>\n");
    out
}

/// The most confused pairs as a list of sentences; empty when nothing was confused.
pub(super) fn pairs(evaluation: &Evaluation) -> String {
    let n = evaluation.classes.len();
    let mut pairs = Vec::new();
    for truth in 0..n {
        let support: u64 = (0..n).map(|p| u64::from(cell(evaluation, truth, p))).sum();
        for predicted in (0..n).filter(|&p| p != truth) {
            let count = cell(evaluation, truth, predicted);
            if count > 0 {
                pairs.push((count, support, truth, predicted));
            }
        }
    }
    // The same number of mistakes weighs more in a class with fewer photos.
    pairs.sort_by_key(|&(count, support, truth, predicted)| {
        (std::cmp::Reverse(count), support, truth, predicted)
    });
    if pairs.is_empty() {
        return String::new();
    }
    let mut out =
        String::from("<div class=\"told\"><h3>Most often confused</h3>\n<ul class=\"pairs\">\n");
    for &(count, support, truth, predicted) in pairs.iter().take(PAIRS) {
        put(
            &mut out,
            format_args!(
                "<li><b>{}</b> was taken for <b>{}</b>, <span>{count} of {support}</span></li>\n",
                name(evaluation, truth),
                name(evaluation, predicted),
            ),
        );
    }
    out.push_str("</ul>\n");
    if pairs.len() > PAIRS {
        put(
            &mut out,
            format_args!(
                "<p class=\"quiet\">and {}.</p>\n",
                plural((pairs.len() - PAIRS) as u64, "more pair", "more pairs")
            ),
        );
    }
    out.push_str("</div>\n");
    out
}

/// The table of classes with recall (as a bar too), precision and support.
pub(super) fn table(evaluation: &Evaluation) -> String {
    if evaluation.classes.is_empty() {
        return String::new();
    }
    let mut out = String::from(
        "<h3>Every class</h3>\n<div class=\"scroll\"><table class=\"classes\">\n<thead><tr>\
         <th scope=\"col\">class</th><th scope=\"col\" class=\"number\">photos</th>\
         <th scope=\"col\">recognised</th><th scope=\"col\" class=\"number\">precision</th>\
         <th scope=\"col\">most often taken for</th></tr></thead>\n<tbody>\n",
    );
    for score in scores(evaluation) {
        let recall = score.recall.unwrap_or(-1.0);
        let bar = match score.recall {
            Some(recall) => format!(
                "<span class=\"bar\"><i style=\"width:{:.1}%\"></i></span>",
                recall.clamp(0.0, 1.0) * 100.0
            ),
            None => String::new(),
        };
        let (taken, times) = match score.taken_for {
            Some((other, times)) => (format!("{} ({times})", name(evaluation, other)), times),
            None => (String::new(), 0),
        };
        put(
            &mut out,
            format_args!(
                "<tr><th scope=\"row\">{}</th><td class=\"number\" data-value=\"{}\">{}</td>\
             <td class=\"share\" data-value=\"{recall:.6}\">{bar}<span>{}</span></td>\
             <td class=\"number\" data-value=\"{:.6}\">{}</td><td data-value=\"{times}\">{taken}</td></tr>\n",
                name(evaluation, score.class),
                score.support,
                score.support,
                percent_or_dash(score.recall),
                score.precision.unwrap_or(-1.0),
                percent_or_dash(score.precision),
            ),
        );
    }
    out.push_str("</tbody></table></div>\n");
    out
}

//! The report of a training run: one HTML file with learning curves, confusion matrix, numbers
//! per class and the worst mistakes as pictures.
//!
//! The file opens anywhere and stays readable for years: style, script, drawings and pictures are
//! inside it, and its content security policy keeps it from loading anything. It is built from
//! plain structs that know nothing of the trainer. Class names and paths come from other people's
//! folders, so every piece of text is escaped, and every number may be NaN.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

mod confusion;
#[cfg(test)]
mod tests;

use kennel_report::{
    Chart, Series, escape, percent, percent_or_dash, plural, put, short, with_code,
};

/// Everything that a report shows.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// The heading, such as `dogs120 on mobilenet_v2`.
    pub title: String,
    /// Short facts as name and value: backbone, head, engine, photos, duration.
    pub facts: Vec<(String, String)>,
    /// Warnings in plain sentences.
    pub notes: Vec<String>,
    /// The epochs in order.
    pub epochs: Vec<EpochPoint>,
    /// The evaluations, the one that matters most first.
    pub evaluations: Vec<Evaluation>,
    /// Wrongly classified photos, the worst first.
    pub mistakes: Vec<Mistake>,
    /// The training options as JSON, shown as they are.
    pub options_json: String,
}

/// What one epoch of training gave.
#[derive(Debug, Clone, PartialEq)]
pub struct EpochPoint {
    /// The number of the epoch, from 1.
    pub epoch: usize,
    /// Mean loss over the training photos.
    pub train_loss: f64,
    /// Mean loss over the validation photos, where there are any.
    pub valid_loss: Option<f64>,
    /// Share of the training photos that were recognised, 0 to 1.
    pub train_accuracy: f64,
    /// Share of the validation photos that were recognised, 0 to 1.
    pub valid_accuracy: Option<f64>,
    /// The learning rate at the end of the epoch.
    pub learning_rate: f64,
}

/// How the model did on one split.
#[derive(Debug, Clone, PartialEq)]
pub struct Evaluation {
    /// The name of the split, such as `test`.
    pub split: String,
    /// The classes' display names.
    pub classes: Vec<String>,
    /// Photos by true class (row) and predicted class (column), in the order of `classes`.
    pub confusion: Vec<Vec<u32>>,
    /// Share of photos whose class came first, 0 to 1.
    pub top1: f64,
    /// Share of photos whose class was among the first five, 0 to 1.
    pub top5: f64,
    /// Number of photos.
    pub count: usize,
}

/// A photo that was classified wrongly.
#[derive(Debug, Clone, PartialEq)]
pub struct Mistake {
    /// Where the photo is, for people.
    pub path: String,
    /// Its true class.
    pub truth: String,
    /// The class it was given.
    pub predicted: String,
    /// The probability of the class it was given, 0 to 1.
    pub probability: f64,
    /// The probability of its true class, 0 to 1.
    pub truth_probability: f64,
    /// A small JPEG of it; may be empty.
    pub thumbnail_jpeg: Vec<u8>,
}

/// Builds the HTML page.
pub fn render(report: &Report) -> String {
    let title = match report.title.trim() {
        "" => "Training report",
        title => title,
    };
    let mut out = String::with_capacity(64 * 1024);
    headline(&mut out, report);
    notes(&mut out, &report.notes);
    facts(&mut out, &report.facts);
    curves(&mut out, &report.epochs);
    // The first evaluation is the one that matters; the others are there for who asks.
    for (i, evaluation) in report.evaluations.iter().enumerate() {
        if i == 1 {
            mistakes(&mut out, report);
        }
        evaluated(&mut out, evaluation, i > 0);
    }
    if report.evaluations.len() < 2 {
        mistakes(&mut out, report);
    }
    options(&mut out, &report.options_json);
    kennel_report::page(title, "", &out)
}

/// The epoch with the lowest validation loss, which is the one that is kept; `None` without
/// validation.
fn best_epoch(epochs: &[EpochPoint]) -> Option<&EpochPoint> {
    let loss = |epoch: &EpochPoint| epoch.valid_loss.filter(|loss| loss.is_finite());
    epochs
        .iter()
        .filter_map(|epoch| Some((epoch, loss(epoch)?)))
        .min_by(|a, b| a.1.total_cmp(&b.1))
        .map(|(epoch, _)| epoch)
}

fn headline(out: &mut String, report: &Report) {
    if let Some(first) = report.evaluations.first() {
        let (right, all) = confusion::right_and_all(first);
        if all > 0 {
            put(
                out,
                format_args!(
                    "<p class=\"quiet\">{right} of {all} {} photos were recognised at the first guess.</p>\n",
                    escape(&first.split)
                ),
            );
        }
    }
    out.push_str("<div class=\"heads\">\n");
    for (i, evaluation) in report.evaluations.iter().enumerate() {
        // Among five classes or fewer, the right one is always among the first five.
        let more = if evaluation.classes.len() > 5 {
            format!("{} among the first five", percent(evaluation.top5))
        } else {
            plural(evaluation.count as u64, "photo", "photos")
        };
        put(
            out,
            format_args!(
                "<div class=\"head{}\"><div class=\"name\">{} accuracy</div>\
                 <div class=\"value\">{}</div><div class=\"more\">{more}</div></div>\n",
                if i == 0 { " first" } else { "" },
                escape(&evaluation.split),
                percent(evaluation.top1),
            ),
        );
    }
    if let Some(first) = report.evaluations.first() {
        put(
            out,
            format_args!(
                "<div class=\"head\"><div class=\"name\">classes</div><div class=\"value\">{}</div>\
                 <div class=\"more\">{}</div></div>\n",
                first.classes.len(),
                plural(first.count as u64, "evaluated photo", "evaluated photos"),
            ),
        );
    }
    if let Some(last) = report.epochs.last() {
        let best = match best_epoch(&report.epochs) {
            Some(best) => format!("the best was number {}", best.epoch),
            None => format!("training loss {}", short(last.train_loss)),
        };
        put(
            out,
            format_args!(
                "<div class=\"head\"><div class=\"name\">epochs</div><div class=\"value\">{}</div>\
                 <div class=\"more\">{best}</div></div>\n",
                report.epochs.len(),
            ),
        );
    }
    out.push_str("</div>\n");
}

fn notes(out: &mut String, notes: &[String]) {
    if notes.is_empty() {
        return;
    }
    out.push_str("<ul class=\"notes\">\n");
    for note in notes {
        put(out, format_args!("<li>{}</li>\n", with_code(note)));
    }
    out.push_str("</ul>\n");
}

fn facts(out: &mut String, facts: &[(String, String)]) {
    if facts.is_empty() {
        return;
    }
    out.push_str("<section>\n<dl class=\"facts\">\n");
    for (name, value) in facts {
        put(
            out,
            format_args!("<div><dt>{}</dt><dd>{}</dd></div>\n", escape(name), with_code(value)),
        );
    }
    out.push_str("</dl>\n</section>\n");
}

fn curves(out: &mut String, epochs: &[EpochPoint]) {
    out.push_str("<section>\n<h2>Learning curves</h2>\n");
    if epochs.is_empty() {
        out.push_str("<p class=\"empty\">No epoch was trained.</p>\n</section>\n");
        return;
    }
    let line = |value: fn(&EpochPoint) -> Option<f64>| -> Vec<(f64, f64)> {
        epochs.iter().map(|epoch| (epoch.epoch as f64, value(epoch).unwrap_or(f64::NAN))).collect()
    };
    let mark = best_epoch(epochs).map(|best| (best.epoch as f64, format!("best: {}", best.epoch)));
    let chart = |title: &str, shares, train, valid| Chart {
        title: title.to_owned(),
        x_label: "epoch".to_owned(),
        series: vec![
            Series { name: "training".into(), class: "train".into(), points: train },
            Series { name: "validation".into(), class: "valid".into(), points: valid },
        ],
        mark: mark.clone(),
        shares,
    };
    let loss = chart("loss", false, line(|e| Some(e.train_loss)), line(|e| e.valid_loss));
    let accuracy =
        chart("accuracy", true, line(|e| Some(e.train_accuracy)), line(|e| e.valid_accuracy));
    put(
        out,
        format_args!(
            "<div class=\"charts\">\n<div><h3>Loss</h3>\n{}</div>\n<div><h3>Accuracy</h3>\n{}</div>\n</div>\n",
            loss.svg(),
            accuracy.svg()
        ),
    );
    out.push_str(
        "<details><summary>The numbers</summary>\n<div class=\"scroll\"><table>\n<thead><tr>\
         <th scope=\"col\" class=\"number\">epoch</th><th scope=\"col\" class=\"number\">training loss</th>\
         <th scope=\"col\" class=\"number\">validation loss</th>\
         <th scope=\"col\" class=\"number\">training accuracy</th>\
         <th scope=\"col\" class=\"number\">validation accuracy</th>\
         <th scope=\"col\" class=\"number\">learning rate</th></tr></thead>\n<tbody>\n",
    );
    for epoch in epochs {
        put(
            out,
            format_args!(
                "<tr><td class=\"number\">{}</td><td class=\"number\">{}</td><td class=\"number\">{}</td>\
                 <td class=\"number\">{}</td><td class=\"number\">{}</td><td class=\"number\">{}</td></tr>\n",
                epoch.epoch,
                short(epoch.train_loss),
                short(epoch.valid_loss.unwrap_or(f64::NAN)),
                percent(epoch.train_accuracy),
                percent_or_dash(epoch.valid_accuracy),
                short(epoch.learning_rate),
            ),
        );
    }
    out.push_str("</tbody></table></div></details>\n</section>\n");
}

fn evaluated(out: &mut String, evaluation: &Evaluation, folded: bool) {
    let heading = format!("What was taken for what: {}", escape(&evaluation.split));
    let (before, after) = if folded {
        (format!("<details><summary>{heading}</summary>\n"), "</details>\n")
    } else {
        (format!("<h2>{heading}</h2>\n"), "")
    };
    put(
        out,
        format_args!(
            "<section>\n{before}\
             <p class=\"quiet\">Rows are the true classes, columns what the model said. Green is \
             right, red is wrong, and the stronger the colour, the larger the share of its row.</p>\n\
             <div class=\"beside\">\n{}{}</div>\n{}{after}</section>\n",
            confusion::matrix(evaluation),
            confusion::pairs(evaluation),
            confusion::table(evaluation),
        ),
    );
}

fn mistakes(out: &mut String, report: &Report) {
    if report.mistakes.is_empty() {
        // Without an evaluation nobody looked for mistakes.
        if report.evaluations.iter().any(|evaluation| evaluation.count > 0) {
            out.push_str("<section>\n<h2>The worst mistakes</h2>\n<p class=\"empty\">None.</p>\n</section>\n");
        }
        return;
    }
    out.push_str(
        "<section>\n<h2>The worst mistakes</h2>\n<p class=\"quiet\">Photos about which the model \
         was sure and wrong. Some may be labelled wrongly: worth a look before training again.</p>\n\
         <div class=\"mistakes\">\n",
    );
    for mistake in &report.mistakes {
        let (truth, predicted) = (escape(&mistake.truth), escape(&mistake.predicted));
        if mistake.thumbnail_jpeg.is_empty() {
            out.push_str("<figure><div class=\"missing\">no picture</div>");
        } else {
            put(
                out,
                format_args!(
                    "<figure><img loading=\"lazy\" alt=\"{truth}, taken for {predicted}\" \
                     src=\"data:image/jpeg;base64,{}\"/>",
                    STANDARD.encode(&mistake.thumbnail_jpeg)
                ),
            );
        }
        put(
            out,
            format_args!(
                "<figcaption><span class=\"said\">{predicted}</span> {}<br/>is \
                 <span class=\"truth\">{truth}</span> {}<br/>\
                 <span class=\"file\">{}</span></figcaption></figure>\n",
                percent(mistake.probability),
                percent(mistake.truth_probability),
                escape(&mistake.path),
            ),
        );
    }
    out.push_str("</div>\n</section>\n");
}

fn options(out: &mut String, json: &str) {
    if json.trim().is_empty() {
        return;
    }
    put(
        out,
        format_args!(
            "<section>\n<details><summary>Options of this training run</summary>\n\
             <pre>{}</pre>\n</details>\n</section>\n",
            escape(json)
        ),
    );
}

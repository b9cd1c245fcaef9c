//! The report of a tuning job: one HTML file that shows which hyperparameters were tried, how each trial did, and
//! what the result hangs on.
//!
//! Built from plain structs that know nothing of where trials run. Names and values come from other people, so every
//! piece of text is escaped, and every number may be NaN. The page itself, offline and safe, is `kennel-report`'s.

mod axis;
mod forest;
mod frame;
mod importance;
mod parallel;
mod plots;
mod scale;
mod view;

use kennel_report::{escape, percent, plural, put, with_code};

use self::scale::duration;
use self::view::{View, cut, number_of};
use crate::{Assignment, Goal, Parameter, TrialState};

pub use importance::importance;

/// At most so many parameters get a plot of their own.
const MOST_SCATTERS: usize = 6;

/// Parameters below this share get none, unless all are.
const WORTH_A_PLOT: f64 = 0.05;

/// Everything that a report shows.
#[derive(Debug, Clone)]
pub struct Report {
    /// The heading, such as `Tuning of dogs120 on mobilenet_v2`.
    pub title: String,
    /// Short facts as name and value: strategy, data, backbone, duration.
    pub facts: Vec<(String, String)>,
    /// Warnings in plain sentences.
    pub notes: Vec<String>,
    /// Which objective values are better.
    pub goal: Goal,
    /// The name of the objective.
    pub metric: String,
    /// What was searched.
    pub parameters: Vec<Parameter>,
    /// The trials in order of creation.
    pub trials: Vec<Row>,
    /// The place of the best among `trials`.
    pub best: Option<usize>,
}

/// One trial.
#[derive(Debug, Clone)]
pub struct Row {
    /// The name of its training job.
    pub name: String,
    /// Its hyperparameters.
    pub values: Assignment,
    /// How it stands.
    pub state: TrialState,
    /// Its objective after each epoch, oldest first.
    pub reports: Vec<f64>,
    /// When it started, in seconds since the tuning job began.
    pub started: Option<f64>,
    /// When it ended, in seconds since the tuning job began.
    pub ended: Option<f64>,
}

/// Builds the HTML page.
pub fn render(report: &Report) -> String {
    let title = match report.title.trim() {
        "" => "Tuning report",
        title => title,
    };
    let view = View::new(report);
    let importance = importance::estimate(&view.axes, &report.trials);
    let mut shares: Vec<(usize, f64)> = importance
        .iter()
        .flat_map(|(free, estimate)| free.iter().copied().zip(estimate.shares.iter().copied()))
        .collect();
    shares.sort_by(|a, b| b.1.total_cmp(&a.1));

    let mut out = String::with_capacity(64 * 1024);
    headline(&mut out, &view);
    best_values(&mut out, &view);
    notes(&mut out, &report.notes);
    facts(&mut out, &report.facts);
    if view.trials.iter().any(|trial| trial.value.is_some()) {
        coordinates(&mut out, &view, &shares);
        progress(&mut out, &view);
        let predicted = importance.as_ref().map(|(_, estimate)| estimate.predicted);
        weights(&mut out, &view, &shares, predicted);
        scatters(&mut out, &view, &shares);
    } else {
        out.push_str(
            "<section>\n<p class=\"empty\">No trial has ended with a value of the objective yet, so there is \
             nothing to plot.</p>\n</section>\n",
        );
    }
    table(&mut out, &view);
    kennel_report::page(title, include_str!("report/style.css"), &out)
}

/// One figure at the head of the page; `more` is safe HTML.
fn head(out: &mut String, class: &str, name: &str, value: &str, more: &str) {
    put(
        out,
        format_args!(
            "<div class=\"head{class}\"><div class=\"name\">{}</div><div class=\"value\">{}</div>\
             <div class=\"more\">{more}</div></div>\n",
            escape(name),
            escape(value),
        ),
    );
}

fn headline(out: &mut String, view: &View<'_>) {
    let rows = &view.report.trials;
    out.push_str("<div class=\"heads\">\n");
    if let (Some(value), Some(row)) =
        (plots::best_value(view), view.best.and_then(|best| rows.get(best)))
    {
        let name = format!("best {}", cut(&view.objective.name, 40));
        head(out, " first", &name, &value, &escape(&cut(&row.name, 60)));
    }
    let count = |is: fn(&TrialState) -> bool| rows.iter().filter(|row| is(&row.state)).count();
    let states: Vec<String> = [
        (count(|state| matches!(state, TrialState::Succeeded(_))), "ran to the end"),
        (count(|state| matches!(state, TrialState::Stopped(_))), "stopped early"),
        (count(|state| matches!(state, TrialState::Failed)), "failed"),
        (count(|state| matches!(state, TrialState::Running)), "still running"),
    ]
    .into_iter()
    .filter(|(count, _)| *count > 0)
    .map(|(count, words)| format!("{count} {words}"))
    .collect();
    head(
        out,
        "",
        if rows.len() == 1 { "trial" } else { "trials" },
        &rows.len().to_string(),
        &states.join(", "),
    );
    let reports: usize = rows.iter().map(|row| row.reports.len()).sum();
    let last = rows
        .iter()
        .filter_map(|row| row.ended)
        .filter(|ended| ended.is_finite())
        .fold(0.0, f64::max);
    if last > 0.0 {
        let busy: f64 = rows.iter().filter_map(lasted).sum();
        let more = format!("{} of training", duration(busy));
        head(out, "", "duration", &duration(last), if busy > 0.0 { &more } else { "" });
    }
    if reports > rows.len() {
        let most = rows.iter().map(|row| row.reports.len()).max().unwrap_or(0);
        let more = format!("at most {most} in one trial");
        head(out, "", "epochs", &reports.to_string(), &more);
    }
    out.push_str("</div>\n");
}

/// How long a trial took, in seconds.
fn lasted(row: &Row) -> Option<f64> {
    Some(row.ended? - row.started?).filter(|seconds| seconds.is_finite() && *seconds >= 0.0)
}

fn best_values(out: &mut String, view: &View<'_>) {
    let Some(row) = view.best.and_then(|best| view.report.trials.get(best)) else { return };
    if view.axes.is_empty() {
        return;
    }
    out.push_str("<section>\n<h2>The best hyperparameters</h2>\n<dl class=\"values\">\n");
    for axis in &view.axes {
        let value =
            row.values.get(&axis.name).map_or_else(|| "–".to_owned(), |text| axis.text(text));
        put(
            out,
            format_args!("<div><dt>{}</dt><dd>{}</dd></div>\n", escape(&axis.name), escape(&value)),
        );
    }
    out.push_str("</dl>\n</section>\n");
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
    out.push_str("<div class=\"fact-card\"><dl class=\"facts\">\n");
    for (name, value) in facts {
        put(
            out,
            format_args!("<div><dt>{}</dt><dd>{}</dd></div>\n", escape(name), with_code(value)),
        );
    }
    out.push_str("</dl></div>\n");
}

fn coordinates(out: &mut String, view: &View<'_>, shares: &[(usize, f64)]) {
    if view.axes.is_empty() {
        return;
    }
    // Where not all axes fit, those that matter are shown, in the order of the parameters.
    let mut shown: Vec<usize> = if shares.is_empty() {
        (0..view.axes.len()).collect()
    } else {
        let others =
            (0..view.axes.len()).filter(|i| shares.iter().all(|(parameter, _)| parameter != i));
        shares.iter().map(|(i, _)| *i).chain(others).collect()
    };
    shown.truncate(parallel::MOST_AXES);
    shown.sort_unstable();
    put(
        out,
        format_args!(
            "<section>\n<h2>All trials at a glance</h2>\n<p class=\"quiet\">Each line is a trial. It crosses the \
             axis of each hyperparameter at the trial's value and ends at its {}.{}</p>\n",
            plots::direction(view),
            if shown.len() < view.axes.len() {
                format!(" {} of {} hyperparameters are shown.", shown.len(), view.axes.len())
            } else {
                String::new()
            }
        ),
    );
    parallel::svg(out, view, &shown);
    out.push_str("</section>\n");
}

fn progress(out: &mut String, view: &View<'_>) {
    let name = escape(&cut(&view.objective.name, 60));
    put(
        out,
        format_args!(
            "<section>\n<h2>How it went</h2>\n<div class=\"charts\">\n<div><h3>{name} over time</h3>\n"
        ),
    );
    plots::over_time(out, view);
    out.push_str("</div>\n");
    let mut curves = format!("<div><h3>{name} while the trials ran</h3>\n");
    if plots::curves(&mut curves, view) {
        put(out, format_args!("{curves}</div>\n"));
    }
    out.push_str("</div>\n</section>\n");
}

fn weights(out: &mut String, view: &View<'_>, shares: &[(usize, f64)], predicted: Option<f64>) {
    if view.axes.len() < 2 {
        return;
    }
    out.push_str("<section>\n<h2>What mattered</h2>\n");
    let Some(predicted) = predicted else {
        put(
            out,
            format_args!(
                "<p class=\"empty\">Too few trials to tell: it takes {} that ended with a value, and not all the \
                 same.</p>\n</section>\n",
                importance::needed(view.axes.iter().filter(|axis| !axis.fixed()).count())
            ),
        );
        return;
    };
    out.push_str("<div class=\"shares\">\n");
    for &(parameter, share) in shares {
        let Some(axis) = view.axes.get(parameter) else { continue };
        put(
            out,
            format_args!(
                "<span class=\"name\">{}</span><span class=\"track\"><i style=\"width:{:.1}%\"></i></span>\
                 <span class=\"much\">{}</span>\n",
                escape(&axis.name),
                share * 100.0,
                percent(share),
            ),
        );
    }
    out.push_str("</div>\n");
    put(
        out,
        format_args!(
            "<p class=\"quiet\">The share of the objective's variation over the whole search space that hangs on \
             each hyperparameter, alone or together with others: total Sobol indices of a random forest fitted to \
             the ranks of the trials. {}</p>\n</section>\n",
            if predicted < 0.2 {
                "The forest hardly predicts trials that it has not seen, so take the shares as a guess.".to_owned()
            } else {
                format!(
                    "The forest explains {} of the variation among trials that it has not seen.",
                    percent(predicted)
                )
            }
        ),
    );
}

fn scatters(out: &mut String, view: &View<'_>, shares: &[(usize, f64)]) {
    let mut shown: Vec<usize> =
        shares.iter().filter(|(_, share)| *share >= WORTH_A_PLOT).map(|(i, _)| *i).collect();
    if shown.is_empty() {
        shown = (0..view.axes.len()).filter(|&i| !view.axes[i].fixed()).collect();
    }
    shown.truncate(MOST_SCATTERS);
    if shown.is_empty() {
        return;
    }
    put(
        out,
        format_args!(
            "<section>\n<h2>One hyperparameter at a time</h2>\n<p class=\"quiet\">Upwards: {}.</p>\n\
             <div class=\"charts\">\n",
            plots::direction(view)
        ),
    );
    for parameter in shown {
        out.push_str("<div>\n");
        plots::scatter(out, view, parameter);
        out.push_str("</div>\n");
    }
    out.push_str("</div>\n");
    plots::scatter_legend(out, view);
    out.push_str("</section>\n");
}

/// A cell; one with a number sorts by it.
fn cell(out: &mut String, class: &str, number: Option<f64>, text: &str) {
    match number.filter(|number| number.is_finite()) {
        Some(number) => put(
            out,
            format_args!("<td class=\"{class}\" data-value=\"{number:e}\">{}</td>", escape(text)),
        ),
        None => put(out, format_args!("<td class=\"{class}\">{}</td>", escape(text))),
    }
}

fn table(out: &mut String, view: &View<'_>) {
    let rows = &view.report.trials;
    put(
        out,
        format_args!(
            "<section>\n<h2>{}</h2>\n",
            if rows.is_empty() {
                "No trials".to_owned()
            } else {
                plural(rows.len() as u64, "trial", "trials")
            }
        ),
    );
    if rows.is_empty() {
        out.push_str("<p class=\"empty\">No trial was started.</p>\n</section>\n");
        return;
    }
    let (epochs, times) =
        (rows.iter().any(|row| !row.reports.is_empty()), rows.iter().any(|r| lasted(r).is_some()));
    out.push_str("<div class=\"scroll\"><table class=\"classes\"><thead><tr><th class=\"number\">#</th><th>Trial</th>");
    put(
        out,
        format_args!(
            "<th>State</th><th class=\"number\">{}</th>",
            escape(&cut(&view.objective.name, 40))
        ),
    );
    for axis in &view.axes {
        let class = if axis.kinds() > 0 { "text" } else { "number" };
        put(out, format_args!("<th class=\"{class}\">{}</th>", escape(&cut(&axis.name, 40))));
    }
    for (there, name) in [(epochs, "Epochs"), (times, "Time")] {
        if there {
            put(out, format_args!("<th class=\"number\">{name}</th>"));
        }
    }
    out.push_str("</tr></thead><tbody>\n");
    // The best first; those without a value keep their order behind them.
    let mut order: Vec<usize> = (0..rows.len()).collect();
    let rank = |i: usize| view.trials.get(i).and_then(|trial| trial.rank).unwrap_or(-1.0);
    order.sort_by(|&a, &b| rank(b).total_cmp(&rank(a)));
    for i in order {
        let row = &rows[i];
        out.push_str(if view.best == Some(i) { "<tr class=\"best\">" } else { "<tr>" });
        cell(out, "number", Some(i as f64 + 1.0), &(i + 1).to_string());
        let (class, words) = match row.state {
            TrialState::Running => ("running", "running"),
            TrialState::Succeeded(_) => ("done", "done"),
            TrialState::Failed => ("failed", "failed"),
            TrialState::Stopped(_) => ("stopped", "stopped"),
        };
        put(
            out,
            format_args!(
                "<th title=\"{}\">{}</th><td class=\"state\"><i class=\"{class}\"></i>{words}</td>",
                escape(&row.name),
                escape(&cut(&row.name, 48))
            ),
        );
        let value = view::value(row);
        cell(out, "number", value, &value.map_or_else(|| "–".to_owned(), number_of));
        for axis in &view.axes {
            let text = row.values.get(&axis.name);
            let number = text.and_then(|text| text.trim().trim_matches('"').parse().ok());
            let class = if axis.kinds() > 0 { "text" } else { "number" };
            cell(
                out,
                class,
                number,
                &text.map_or_else(|| "–".to_owned(), |text| cut(&axis.text(text), 60)),
            );
        }
        if epochs {
            cell(out, "number", Some(row.reports.len() as f64), &row.reports.len().to_string());
        }
        if times {
            let seconds = lasted(row);
            cell(out, "number", seconds, &seconds.map_or_else(|| "–".to_owned(), duration));
        }
        out.push_str("</tr>\n");
    }
    out.push_str("</tbody></table></div>\n</section>\n");
}

#[cfg(test)]
mod tests;

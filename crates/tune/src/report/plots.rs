//! The plots with two axes: the objective over time, the trials' learning curves, the objective over one parameter.

use super::axis::Axis;
use super::frame::Frame;
use super::scale::{Scale, Spread, drawable, unit_of_time};
use super::view::{self, View, cut, number_of};
use crate::{Goal, TrialState};
use kennel_report::{escape, put};

/// A curve is drawn with at most about so many points.
const MOST_POINTS: usize = 240;

/// How a trial is marked where it is a point.
fn class(state: TrialState, best: bool) -> &'static str {
    match state {
        _ if best => "best",
        TrialState::Stopped(_) => "stopped",
        _ => "done",
    }
}

/// The points' meanings, of those that occur.
fn legend(out: &mut String, view: &View<'_>, more: &[(&str, &str)]) {
    let with_value = |stopped: bool| {
        view.report.trials.iter().zip(&view.trials).enumerate().any(|(number, (row, trial))| {
            view.best != Some(number)
                && trial.value.is_some()
                && matches!(row.state, TrialState::Stopped(_)) == stopped
        })
    };
    out.push_str("<p class=\"legend\">");
    let dots = [
        (view.best.is_some(), "best", "best"),
        (with_value(false), "done", "done"),
        (with_value(true), "stopped", "stopped early"),
    ];
    for (_, class, words) in dots.into_iter().filter(|(there, ..)| *there) {
        put(out, format_args!("<span class=\"key\"><i class=\"dot {class}\"></i>{words}</span> "));
    }
    for (class, words) in more {
        put(out, format_args!("<span class=\"key\"><i class=\"{class}\"></i>{words}</span> "));
    }
    out.push_str("</p>\n");
}

fn point(out: &mut String, view: &View<'_>, number: usize, (x, y): (f64, f64)) {
    let Some(row) = view.report.trials.get(number) else { return };
    let best = view.best == Some(number);
    put(
        out,
        format_args!(
            "<circle class=\"{}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{}\"><title>{}</title></circle>\n",
            class(row.state, best),
            if best { 5.5 } else { 4.0 },
            escape(&view.tooltip(number)),
        ),
    );
}

/// Each trial where it ended, and the best value so far.
pub(super) fn over_time(out: &mut String, view: &View<'_>) {
    let rows = &view.report.trials;
    let ended = |row: &super::Row| row.ended.filter(|ended| drawable(*ended) && *ended >= 0.0);
    // Without the times of all, the order in which they were started has to do.
    let timed =
        rows.iter().filter(|row| view::value(row).is_some()).all(|row| ended(row).is_some());
    let last = rows.iter().filter_map(ended).fold(0.0, f64::max);
    let (unit, length) = unit_of_time(last);
    let place = |number: usize| match rows.get(number).and_then(ended) {
        Some(ended) if timed => Some(ended / length),
        _ if timed => None,
        _ => Some(number as f64 + 1.0),
    };
    let x = if timed {
        Axis::numbers(
            &format!("{unit} since the start"),
            Scale::over([0.0, last / length], Spread::Linear),
            false,
        )
    } else {
        Axis::numbers(
            "number of the trial",
            Scale::over([1.0, rows.len() as f64], Spread::Linear),
            true,
        )
    };
    let frame = Frame::new(&x, &view.objective);
    frame.open(out, &format!("{} of each trial and the best so far", view.objective.name));

    let mut order: Vec<(f64, usize, f64)> = (0..rows.len())
        .filter_map(|number| Some((place(number)?, number, view.trials.get(number)?.value?)))
        .collect();
    order.sort_by(|a, b| a.0.total_cmp(&b.0));
    // As for the best of all, what was stopped counts only where nothing ran to its end.
    let ran = |number: usize| {
        matches!(rows.get(number).map(|row| row.state), Some(TrialState::Succeeded(_)))
    };
    let any_ran = order.iter().any(|(_, number, _)| ran(*number));
    let mut best: Option<f64> = None;
    let mut steps = String::new();
    let mut points = 0;
    for &(at, number, value) in &order {
        if any_ran && !ran(number) {
            continue;
        }
        let better =
            best.is_none_or(|best| view.report.goal.cost(value) < view.report.goal.cost(best));
        if !better {
            continue;
        }
        if let Some(best) = best {
            let (x, y) = frame.at(at, best);
            put(&mut steps, format_args!("{x:.1},{y:.1} "));
        }
        let (x, y) = frame.at(at, value);
        put(&mut steps, format_args!("{x:.1},{y:.1} "));
        (best, points) = (Some(value), points + 1);
    }
    if let (Some(best), Some((last, ..))) = (best, order.last()) {
        let (x, y) = frame.at(*last, best);
        put(out, format_args!("<polyline class=\"steps\" points=\"{steps}{x:.1},{y:.1}\"/>\n"));
    }
    for (number, row) in rows.iter().enumerate() {
        if row.state == TrialState::Failed
            && let Some((x, y)) = place(number).map(|at| frame.foot(at))
        {
            put(
                out,
                format_args!(
                    "<path class=\"failed\" d=\"M{:.1} {:.1}l7 7m0 -7l-7 7\"><title>{}: failed</title></path>\n",
                    x - 3.5,
                    y - 9.0,
                    escape(&row.name)
                ),
            );
        }
    }
    for &(at, number, value) in &order {
        if view.best != Some(number) {
            point(out, view, number, frame.at(at, value));
        }
    }
    if let Some(&(at, number, value)) =
        order.iter().find(|(_, number, _)| Some(*number) == view.best)
    {
        point(out, view, number, frame.at(at, value));
    }
    out.push_str("</svg>\n");
    let mut more = Vec::new();
    if points > 0 {
        more.push(("steps", "best so far"));
    }
    if rows.iter().any(|row| row.state == TrialState::Failed) {
        more.push(("failed", "failed"));
    }
    legend(out, view, &more);
}

/// The trials' values epoch by epoch; nothing where no trial reported two.
pub(super) fn curves(out: &mut String, view: &View<'_>) -> bool {
    let rows = &view.report.trials;
    let all =
        || rows.iter().flat_map(|row| row.reports.iter().copied()).filter(|value| drawable(*value));
    let longest = rows.iter().map(|row| row.reports.len()).max().unwrap_or(0);
    if longest < 2 || all().next().is_none() {
        return false;
    }
    let values: Vec<f64> = all().collect();
    let y = Axis::numbers(&view.objective.name, view::scale(view.report.goal, &values), false);
    let x = Axis::numbers("epoch", Scale::over([1.0, longest as f64], Spread::Linear), true);
    let frame = Frame::new(&x, &y);
    frame.open(out, &format!("{} of each trial by epoch", view.objective.name));
    put(out, format_args!("<g class=\"lines{}\">\n", if rows.len() > 40 { " many" } else { "" }));
    let mut order: Vec<usize> = (0..rows.len()).filter(|i| Some(*i) != view.best).collect();
    order.sort_by(|&a, &b| {
        view.trials[a].rank.unwrap_or(-1.0).total_cmp(&view.trials[b].rank.unwrap_or(-1.0))
    });
    order.extend(view.best);
    for number in order {
        let (Some(row), Some(trial)) = (rows.get(number), view.trials.get(number)) else {
            continue;
        };
        let best = view.best == Some(number);
        let colour = if best { "best".to_owned() } else { trial.colour() };
        let stopped = matches!(row.state, TrialState::Stopped(_));
        let step = row.reports.len().div_ceil(MOST_POINTS).max(1);
        let reports: Vec<(usize, f64)> = row
            .reports
            .iter()
            .copied()
            .enumerate()
            .filter(|(epoch, _)| epoch % step == 0 || epoch + 1 == row.reports.len())
            .collect();
        let title = escape(&view.tooltip(number));
        let dashed = if stopped { " dashed" } else { "" };
        let mut end = None;
        for run in reports.split(|(_, value)| !drawable(*value)).filter(|run| !run.is_empty()) {
            let line: Vec<String> = run
                .iter()
                .map(|&(epoch, value)| {
                    let (x, y) = frame.at(epoch as f64 + 1.0, value);
                    end = Some((x, y));
                    format!("{x:.1},{y:.1}")
                })
                .collect();
            if line.len() > 1 {
                put(
                    out,
                    format_args!(
                        "<polyline class=\"{colour}{dashed}\" points=\"{}\"><title>{title}</title></polyline>\n",
                        line.join(" ")
                    ),
                );
            }
        }
        // Where a trial was stopped, or its only report.
        if let Some((x, y)) = end.filter(|_| stopped || row.reports.len() == 1) {
            put(
                out,
                format_args!(
                    "<circle class=\"{colour}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"2.6\"/>\n"
                ),
            );
        }
    }
    out.push_str("</g>\n</svg>\n<p class=\"legend\">");
    if view.best.is_some() {
        out.push_str("<span class=\"key\"><i class=\"best\"></i>best</span> ");
    }
    out.push_str("<span class=\"key\"><i class=\"c6\"></i>done</span> ");
    if rows.iter().any(|row| matches!(row.state, TrialState::Stopped(_)) && row.reports.len() > 1) {
        out.push_str("<span class=\"key\"><i class=\"c6 dashed\"></i>stopped early</span> ");
    }
    if rows
        .iter()
        .zip(&view.trials)
        .any(|(row, trial)| row.reports.len() > 1 && trial.rank.is_none())
    {
        out.push_str("<span class=\"key\"><i class=\"none\"></i>no value</span> ");
    }
    out.push_str("</p>\n");
    true
}

/// The objective over the parameter with this number.
pub(super) fn scatter(out: &mut String, view: &View<'_>, parameter: usize) {
    let Some(axis) = view.axes.get(parameter) else { return };
    let frame = Frame::new(axis, &view.objective);
    frame.open(out, &format!("{} over {}", view.objective.name, axis.name));
    // Trials with the same choice stand beside each other instead of over each other.
    let aside = |number: usize| match axis.kinds() {
        0 => 0.0,
        _ => ((number * 7 % 11) as f64 / 10.0 - 0.5) * (frame.band() * 0.5).min(48.0),
    };
    let mut order: Vec<usize> = (0..view.trials.len()).filter(|i| Some(*i) != view.best).collect();
    order.extend(view.best);
    for number in order {
        let Some(trial) = view.trials.get(number) else { continue };
        if let (Some(Some(at)), Some(value)) = (trial.points.get(parameter), trial.value) {
            let (x, y) = frame.at(*at, value);
            point(out, view, number, (x + aside(number), y));
        }
    }
    out.push_str("</svg>\n");
}

/// The legend of the scatter plots, once for all.
pub(super) fn scatter_legend(out: &mut String, view: &View<'_>) {
    legend(out, view, &[]);
}

/// What the axis of the objective says, in words.
pub(super) fn direction(view: &View<'_>) -> String {
    let better = match view.report.goal {
        Goal::Minimize => "lower",
        Goal::Maximize => "higher",
    };
    let scale = if view.objective.logarithmic() { ", logarithmic scale" } else { "" };
    format!("{} ({better} is better{scale})", escape(&cut(&view.objective.name, 60)))
}

/// The best value, for headlines.
pub(super) fn best_value(view: &View<'_>) -> Option<String> {
    view.best.and_then(|best| view.trials.get(best)?.value).map(number_of)
}

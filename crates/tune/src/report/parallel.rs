//! Parallel coordinates: one axis for each parameter and one for the objective, one line for each trial.

use super::axis::Axis;
use super::frame::LETTER;
use super::view::{LEVELS, Trial, View, cut};
use kennel_report::{escape, put};

/// So many parameters fit beside each other.
pub(super) const MOST_AXES: usize = 9;

const WIDTH: f64 = 1040.0;
const HEIGHT: f64 = 400.0;
const SIDE: f64 = 76.0;
const TOP: f64 = 52.0;

/// About the width of a character of an axis's name.
const NAME_LETTER: f64 = 7.9;
const BOTTOM: f64 = 20.0;

/// One axis of the picture: where it stands, and which coordinate of a trial it shows.
struct Upright<'a> {
    axis: &'a Axis,
    x: f64,
    /// The number of the parameter, or none for the objective.
    parameter: Option<usize>,
}

impl Upright<'_> {
    fn point(&self, trial: &Trial) -> Option<(f64, f64)> {
        let coordinate = match self.parameter {
            Some(parameter) => trial.points.get(parameter).copied().flatten(),
            None => trial.value,
        }?;
        Some((self.x, up(self.axis.place(coordinate))))
    }
}

fn up(place: f64) -> f64 {
    HEIGHT - BOTTOM - place * (HEIGHT - TOP - BOTTOM)
}

/// The picture of the parameters with the numbers in `shown`.
pub(super) fn svg(out: &mut String, view: &View<'_>, shown: &[usize]) {
    let pitch = (WIDTH - 2.0 * SIDE) / shown.len().max(1) as f64;
    let uprights: Vec<Upright<'_>> = shown
        .iter()
        .filter_map(|&i| Some((Some(i), view.axes.get(i)?)))
        .chain([(None, &view.objective)])
        .enumerate()
        .map(|(place, (parameter, axis))| Upright {
            axis,
            x: SIDE + place as f64 * pitch,
            parameter,
        })
        .collect();
    put(
        out,
        format_args!(
            "<div class=\"wide\"><svg class=\"parallel\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" \
             aria-label=\"Trials as lines over their hyperparameters and {}\">\n<g class=\"lines{}\">\n",
            escape(&view.objective.name),
            if view.trials.len() > 40 { " many" } else { "" }
        ),
    );
    // The better a trial, the later it is drawn, and so the less is drawn over it.
    let mut order: Vec<usize> = (0..view.trials.len()).filter(|i| Some(*i) != view.best).collect();
    order.sort_by(|&a, &b| {
        view.trials[a].rank.unwrap_or(-1.0).total_cmp(&view.trials[b].rank.unwrap_or(-1.0))
    });
    for i in order {
        line(out, view, &uprights, i);
    }
    if let Some(best) = view.best {
        line(out, view, &uprights, best);
    }
    out.push_str("</g>\n");
    // Names that are too long for their place stand in two rows by turns, where each has twice the room.
    let width = |name: &str| name.chars().count() as f64 * NAME_LETTER + 10.0;
    let rows = if uprights.iter().any(|upright| width(&upright.axis.name) > pitch) { 2 } else { 1 };
    for (place, upright) in uprights.iter().enumerate() {
        let y = if rows == 2 && place % 2 == 0 { 14.0 } else { 32.0 };
        name(out, upright.axis, upright.x, y, (pitch * f64::from(rows)).min(2.0 * SIDE));
        scale(out, upright, pitch);
    }
    if let Some(best) = view.best.and_then(|best| view.trials.get(best)) {
        for (x, y) in uprights.iter().filter_map(|upright| upright.point(best)) {
            put(
                out,
                format_args!("<circle class=\"best\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4.5\"/>"),
            );
        }
    }
    out.push_str("</svg></div>\n");
    legend(out, view);
}

fn line(out: &mut String, view: &View<'_>, uprights: &[Upright<'_>], number: usize) {
    let Some(trial) = view.trials.get(number) else { return };
    // A trial that lacks a value leaves a gap there.
    let points: Vec<Option<(f64, f64)>> =
        uprights.iter().map(|upright| upright.point(trial)).collect();
    let mut path = String::new();
    for run in points.split(Option::is_none).filter(|run| run.len() > 1) {
        let mut last: Option<(f64, f64)> = None;
        for &(x, y) in run.iter().flatten() {
            match last {
                None => put(&mut path, format_args!("M{x:.1} {y:.1}")),
                // Leaving and reaching an axis level, lines through the same point are easier to follow.
                Some((from, height)) => {
                    let bend = (x - from) * 0.38;
                    put(
                        &mut path,
                        format_args!(
                            "C{:.1} {height:.1} {:.1} {y:.1} {x:.1} {y:.1}",
                            from + bend,
                            x - bend
                        ),
                    );
                }
            }
            last = Some((x, y));
        }
    }
    if path.is_empty() {
        return;
    }
    let class = if view.best == Some(number) { "best".to_owned() } else { trial.colour() };
    put(
        out,
        format_args!(
            "<path class=\"{class}\" d=\"{path}\"><title>{}</title></path>\n",
            escape(&view.tooltip(number))
        ),
    );
}

fn name(out: &mut String, axis: &Axis, x: f64, y: f64, room: f64) {
    put(
        out,
        format_args!(
            "<text class=\"name\" x=\"{x:.1}\" y=\"{y}\" text-anchor=\"middle\"><title>{}</title>{}</text>\n",
            escape(&axis.name),
            escape(&cut(&axis.name, ((room - 8.0) / NAME_LETTER) as usize)),
        ),
    );
}

/// The axis with its ticks, over the lines.
fn scale(out: &mut String, upright: &Upright<'_>, pitch: f64) {
    let x = upright.x;
    let objective = upright.parameter.is_none();
    put(
        out,
        format_args!(
            "<g class=\"upright\"><line class=\"axis\" x1=\"{x:.1}\" y1=\"{TOP}\" x2=\"{x:.1}\" y2=\"{}\"/>",
            HEIGHT - BOTTOM,
        ),
    );
    let room = pitch.min(SIDE + 6.0) - 16.0;
    // All lines of a choice run through one point; its name stands above them.
    let kinds = upright.axis.kinds() > 0;
    for (place, text) in upright.axis.ticks_along(HEIGHT - TOP - BOTTOM) {
        let y = up(place);
        // The objective's texts stand outside, the others on the side that lines come from.
        let (tick, at, anchor) =
            if objective { (x + 4.0, x + 8.0, "start") } else { (x - 4.0, x - 8.0, "end") };
        put(
            out,
            format_args!(
                "<line class=\"axis\" x1=\"{x:.1}\" y1=\"{y:.1}\" x2=\"{tick:.1}\" y2=\"{y:.1}\"/>\
                 <text class=\"tick\" x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"{anchor}\">{}</text>",
                y + if kinds { -6.0 } else { 3.8 },
                escape(&cut(&text, (room / LETTER) as usize)),
            ),
        );
    }
    out.push_str("</g>\n");
}

fn legend(out: &mut String, view: &View<'_>) {
    out.push_str("<p class=\"legend\">");
    if view.trials.iter().any(|trial| trial.rank.is_some()) {
        out.push_str("<span class=\"key\">worst <span class=\"ramp\">");
        for level in 0..LEVELS {
            put(out, format_args!("<i class=\"c{level}\"></i>"));
        }
        out.push_str("</span> best, by rank</span> ");
    }
    if let Some(best) = view.best.and_then(|best| view.report.trials.get(best)) {
        put(
            out,
            format_args!(
                "<span class=\"key\"><i class=\"best\"></i>best: {}</span> ",
                escape(&cut(&best.name, 60))
            ),
        );
    }
    if view.trials.iter().any(|trial| trial.rank.is_none()) {
        out.push_str("<span class=\"key\"><i class=\"none\"></i>no value</span> ");
    }
    out.push_str("</p>\n");
}

//! A line chart as inline SVG: axes with round ticks, a legend, one marked position.

use crate::text::{escape, put, short};

const WIDTH: f64 = 560.0;
const HEIGHT: f64 = 300.0;
const LEFT: f64 = 52.0;
const RIGHT: f64 = 14.0;
const TOP: f64 = 18.0;
const BOTTOM: f64 = 40.0;

/// One line of a chart.
#[derive(Debug)]
pub struct Series {
    /// What the legend says.
    pub name: String,
    /// CSS class, which gives the colour: `train`, `valid`, or `s0` to `s7`.
    pub class: String,
    /// Position and value; a value that cannot be drawn (NaN) leaves a gap.
    pub points: Vec<(f64, f64)>,
}

/// What a chart shows.
#[derive(Debug)]
pub struct Chart {
    /// What it shows, for readers that cannot see it.
    pub title: String,
    /// What stands below the horizontal axis.
    pub x_label: String,
    /// The lines.
    pub series: Vec<Series>,
    /// A position to mark, with the words for it.
    pub mark: Option<(f64, String)>,
    /// Whether values are shares, shown as percentages between 0 and 100 %.
    pub shares: bool,
}

/// Whether a point can be drawn. Values beyond any loss are left out like NaN: they would press
/// the rest flat, and arithmetic on the largest numbers overflows.
pub(crate) fn drawable(point: &(f64, f64)) -> bool {
    [point.0, point.1].into_iter().all(|v| v.is_finite() && v.abs() < 1e30)
}

/// Round values from below `low` to above `high`, about `count` of them; at least two, in order.
pub fn ticks(low: f64, high: f64, count: usize) -> Vec<f64> {
    let (low, high) =
        if low.is_finite() && high.is_finite() && low <= high { (low, high) } else { (0.0, 1.0) };
    let span = (high - low).clamp(low.abs().max(high.abs()).max(1e-9) * 1e-9, f64::MAX);
    let raw = span / count.max(1) as f64;
    let power = 10_f64.powf(raw.log10().floor());
    let step = [1.0, 2.0, 2.5, 5.0, 10.0]
        .into_iter()
        .map(|factor| factor * power)
        .find(|step| *step >= raw * 0.999)
        .unwrap_or(raw);
    let (first, last) = ((low / step).floor(), (high / step).ceil());
    // Steps too small for the size of the values would all be the same number.
    if !(first.is_finite() && last.is_finite() && last - first <= 1000.0) || first == last {
        return vec![low, low + low.abs().max(1.0)];
    }
    (0..=(last - first) as usize).map(|i| (first + i as f64) * step).collect()
}

/// What a chart spans, and where its ticks are.
pub(crate) struct Frame {
    pub x_low: f64,
    pub x_high: f64,
    pub x_ticks: Vec<f64>,
    pub y_low: f64,
    pub y_high: f64,
    pub y_ticks: Vec<f64>,
}

impl Chart {
    /// Whether there is nothing to draw.
    pub fn is_empty(&self) -> bool {
        !self.series.iter().flat_map(|series| &series.points).any(drawable)
    }

    /// What a tick of the vertical axis says.
    pub(crate) fn tick(&self, y: f64) -> String {
        if self.shares { format!("{} %", short(y * 100.0)) } else { short(y) }
    }

    /// Its frame; none when there is nothing to draw.
    pub(crate) fn frame(&self) -> Option<Frame> {
        if self.is_empty() {
            return None;
        }
        let all = || self.series.iter().flat_map(|s| &s.points).filter(|point| drawable(point));
        let range = |pick: fn(&(f64, f64)) -> f64| {
            all().map(pick).fold((f64::MAX, f64::MIN), |(low, high), v| (low.min(v), high.max(v)))
        };
        let (x_low, x_high) = range(|p| p.0);
        let (y_low, y_high) = range(|p| p.1);
        let y_ticks = ticks(if self.shares { y_low.max(0.0) } else { y_low.min(0.0) }, y_high, 5);
        let y_low = y_ticks.first().copied().unwrap_or(0.0);
        let y_high = y_ticks.last().copied().unwrap_or(1.0);
        let inside = |x: &f64| *x >= x_low - 1e-9 && *x <= x_high + 1e-9 && x.fract() == 0.0;
        let mut x_ticks: Vec<f64> = ticks(x_low, x_high, 8).into_iter().filter(inside).collect();
        if x_ticks.is_empty() {
            x_ticks.push(x_low);
        }
        Some(Frame { x_low, x_high, x_ticks, y_low, y_high, y_ticks })
    }

    /// The chart as an SVG element; a sentence when there is nothing to show.
    pub fn svg(&self) -> String {
        let finite = |points: &[(f64, f64)]| -> Vec<(f64, f64)> {
            points.iter().copied().filter(drawable).collect()
        };
        let Some(Frame { x_low, x_high, x_ticks, y_low, y_high, y_ticks }) = self.frame() else {
            return format!("<p class=\"empty\">No values for {}.</p>", escape(&self.title));
        };
        let x_span = (x_high - x_low).max(1e-9);
        // One epoch alone stands in the middle.
        let x_of = |x: f64| {
            let share = if x_high > x_low { (x - x_low) / x_span } else { 0.5 };
            LEFT + share.clamp(0.0, 1.0) * (WIDTH - LEFT - RIGHT)
        };
        let y_of = |y: f64| {
            let share = (y - y_low) / (y_high - y_low);
            HEIGHT - BOTTOM - share.clamp(0.0, 1.0) * (HEIGHT - TOP - BOTTOM)
        };

        let mut out = format!(
            "<svg class=\"chart\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{}\">\n",
            escape(&self.title)
        );
        for y in &y_ticks {
            let label = self.tick(*y);
            let (at, end, text) = (y_of(*y), WIDTH - RIGHT, LEFT - 7.0);
            put(
                &mut out,
                format_args!(
                    "<line class=\"grid\" x1=\"{LEFT}\" y1=\"{at:.1}\" x2=\"{end}\" y2=\"{at:.1}\"/>\
                 <text class=\"tick\" x=\"{text}\" y=\"{:.1}\" text-anchor=\"end\">{label}</text>\n",
                    at + 3.5
                ),
            );
        }
        for x in x_ticks {
            let (at, y) = (x_of(x), HEIGHT - BOTTOM + 16.0);
            put(
                &mut out,
                format_args!(
                    "<text class=\"tick\" x=\"{at:.1}\" y=\"{y}\" text-anchor=\"middle\">{}</text>\n",
                    short(x)
                ),
            );
        }
        let (axis, end, middle) = (HEIGHT - BOTTOM, WIDTH - RIGHT, (LEFT + WIDTH - RIGHT) / 2.0);
        put(
            &mut out,
            format_args!(
                "<line class=\"axis\" x1=\"{LEFT}\" y1=\"{axis}\" x2=\"{end}\" y2=\"{axis}\"/>\
             <text class=\"label\" x=\"{middle}\" y=\"{}\" text-anchor=\"middle\">{}</text>\n",
                HEIGHT - 6.0,
                escape(&self.x_label)
            ),
        );
        if let Some((x, words)) = self.mark.as_ref().filter(|(x, _)| x.is_finite()) {
            let at = x_of(*x);
            let (anchor, text) =
                if at > WIDTH / 2.0 { ("end", at - 6.0) } else { ("start", at + 6.0) };
            put(
                &mut out,
                format_args!(
                    "<line class=\"mark\" x1=\"{at:.1}\" y1=\"{TOP}\" x2=\"{at:.1}\" y2=\"{axis}\"/>\
                 <text class=\"marked\" x=\"{text:.1}\" y=\"{}\" text-anchor=\"{anchor}\">{}</text>\n",
                    TOP - 6.0,
                    escape(words)
                ),
            );
        }
        for series in &self.series {
            put(&mut out, format_args!("<g class=\"series {}\">", series.class));
            for run in series.points.split(|point| !drawable(point)) {
                let line: Vec<String> =
                    run.iter().map(|&(x, y)| format!("{:.1},{:.1}", x_of(x), y_of(y))).collect();
                if line.len() > 1 {
                    put(&mut out, format_args!("<polyline points=\"{}\"/>", line.join(" ")));
                }
            }
            // Dots of many epochs would run into a thick line; they would still be wanted for
            // their tooltips, so they are only made small.
            let radius = if series.points.len() <= 40 { 3.0 } else { 1.5 };
            for (x, y) in finite(&series.points) {
                let value = if self.shares { crate::text::percent(y) } else { short(y) };
                put(
                    &mut out,
                    format_args!(
                        "<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"{radius}\"><title>{} {}, {}: {value}</title></circle>",
                        x_of(x),
                        y_of(y),
                        escape(&self.x_label),
                        short(x),
                        escape(&series.name)
                    ),
                );
            }
            out.push_str("</g>\n");
        }
        out.push_str("</svg>\n<p class=\"legend\">");
        for series in self.series.iter().filter(|s| !finite(&s.points).is_empty()) {
            put(
                &mut out,
                format_args!(
                    "<span class=\"key {}\"><i></i>{}</span> ",
                    series.class,
                    escape(&series.name)
                ),
            );
        }
        out.push_str("</p>\n");
        out
    }
}

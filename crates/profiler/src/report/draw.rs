//! Drawings of the profiler's report: panels over one common time, each a small SVG. What they hold is bounded
//! by their width, whatever the length of the run.

use kennel_report::{escape, put, short, ticks};

use crate::recording::Series;
use crate::stats;

pub(super) const WIDTH: f64 = 1000.0;
const LEFT: f64 = 62.0;
const RIGHT: f64 = 12.0;
const PLOT: f64 = WIDTH - LEFT - RIGHT;
/// Values drawn of one line.
const BUCKETS: usize = 480;
/// Columns and rows of a map of cores.
const COLUMNS: usize = 180;
const MOST_ROWS: usize = 48;
/// Pieces of one row of phases.
const MOST_PIECES: usize = 400;
const MOST_MARKS: usize = 100;

/// How values are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    Percent,
    Bytes,
    BytesPerSecond,
    Milliseconds,
    PerSecond,
}

impl Unit {
    /// What to divide by for values up to `most`, and the unit's sign then.
    fn scale(self, most: f64) -> (f64, &'static str) {
        let size = |kilo: &'static str, mega, giga, plain| match most {
            m if m >= 1e9 => (1e9, giga),
            m if m >= 1e6 => (1e6, mega),
            m if m >= 1e3 => (1e3, kilo),
            _ => (1.0, plain),
        };
        match self {
            Self::Percent => (1.0, "%"),
            Self::Bytes => size("kB", "MB", "GB", "B"),
            Self::BytesPerSecond => size("kB/s", "MB/s", "GB/s", "B/s"),
            Self::Milliseconds => (1.0, "ms"),
            Self::PerSecond => (1.0, "/s"),
        }
    }

    /// A value with its sign.
    pub(super) fn show(self, value: f64) -> String {
        let (divisor, sign) = self.scale(value.abs());
        let scaled = value / divisor;
        let text = match scaled.abs() {
            size if size >= 100.0 => format!("{scaled:.0}"),
            size if size >= 1.0 => format!("{scaled:.1}"),
            _ => short((scaled * 1000.0).round() / 1000.0),
        };
        format!("{text}\u{a0}{sign}")
    }
}

/// The horizontal axis that panels share.
#[derive(Debug, Clone, Copy)]
pub(super) struct Axis {
    pub(super) low: f64,
    pub(super) high: f64,
    /// Whether it counts milliseconds, else steps.
    pub(super) is_time: bool,
}

impl Axis {
    fn x(&self, at: f64) -> f64 {
        let share = (at - self.low) / (self.high - self.low).max(1e-9);
        LEFT + share.clamp(0.0, 1.0) * PLOT
    }

    /// Round positions with their words.
    fn marks(&self) -> Vec<(f64, String)> {
        let span = (self.high - self.low).max(1e-9);
        if !self.is_time {
            return ticks(self.low, self.high, 8)
                .into_iter()
                .filter(|at| *at >= self.low && *at <= self.high)
                .map(|at| (at, short(at)))
                .collect();
        }
        const SECOND: f64 = 1000.0;
        const STEPS: [f64; 22] = [
            0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1200.0,
            1800.0, 3600.0, 7200.0, 14_400.0, 21_600.0, 43_200.0, 86_400.0, 604_800.0,
        ];
        let step = STEPS.iter().map(|s| s * SECOND).find(|step| span / step <= 10.0);
        // Runs of more than ten weeks get about ten marks, too.
        let step = step.unwrap_or((span / 10.0 / 604_800_000.0).ceil() * 604_800_000.0);
        (0..=(span / step) as usize)
            .map(|i| (self.low + i as f64 * step, duration(i as f64 * step)))
            .collect()
    }
}

/// A length of time in words: `1.5 s`, `2:30 min`, `3:05 h`.
pub(super) fn duration(milliseconds: f64) -> String {
    let seconds = milliseconds / 1000.0;
    if milliseconds > 0.0 && milliseconds < 1000.0 && milliseconds % 100.0 != 0.0 {
        return Unit::Milliseconds.show(milliseconds);
    }
    if seconds < 60.0 {
        return format!("{}\u{a0}s", short((seconds * 10.0).round() / 10.0));
    }
    let whole = seconds.round() as u64;
    if whole < 3600 {
        return format!("{}:{:02}\u{a0}min", whole / 60, whole % 60);
    }
    format!("{}:{:02}\u{a0}h", whole / 3600, whole % 3600 / 60)
}

/// A piece of a row of phases.
#[derive(Debug, Clone)]
pub(super) struct Piece {
    pub(super) name: String,
    pub(super) class: String,
    pub(super) start: f64,
    pub(super) end: f64,
}

/// Joins pieces of one name that touch or nearly touch, and keeps the longest where they are still too many.
pub(super) fn join(mut pieces: Vec<Piece>, axis: Axis) -> Vec<Piece> {
    pieces.sort_by(|a, b| a.start.total_cmp(&b.start));
    let near = (axis.high - axis.low) / 400.0;
    let mut joined: Vec<Piece> = Vec::new();
    for piece in pieces {
        match joined.iter_mut().rev().take(4).find(|last| last.name == piece.name) {
            Some(last) if piece.start <= last.end + near => last.end = last.end.max(piece.end),
            _ => joined.push(piece),
        }
    }
    if joined.len() > MOST_PIECES {
        joined.sort_by(|a, b| (b.end - b.start).total_cmp(&(a.end - a.start)));
        joined.truncate(MOST_PIECES);
        joined.sort_by(|a, b| a.start.total_cmp(&b.start));
    }
    joined
}

/// Rows of phases, one per instance.
pub(super) fn band(axis: Axis, rows: &[(String, Vec<Piece>)]) -> String {
    const ROW: f64 = 24.0;
    let height = rows.len() as f64 * ROW + 4.0;
    let mut out = format!(
        "<svg class=\"band\" viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"phases\">\n"
    );
    for (index, (host, pieces)) in rows.iter().enumerate() {
        let top = index as f64 * ROW + 2.0;
        put(
            &mut out,
            format_args!(
                "<text class=\"tick\" x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
                LEFT - 7.0,
                top + 14.0,
                escape(&cut(host, 9))
            ),
        );
        for piece in pieces {
            let (from, to) = (axis.x(piece.start), axis.x(piece.end));
            let wide = (to - from).max(1.0);
            put(
                &mut out,
                format_args!(
                    "<rect class=\"{}\" x=\"{from:.1}\" y=\"{top:.1}\" width=\"{wide:.1}\" height=\"20\" rx=\"2\">\
                     <title>{}, {}</title></rect>",
                    piece.class,
                    escape(&piece.name),
                    duration(piece.end - piece.start)
                ),
            );
            if wide > 8.0 * piece.name.chars().count() as f64 + 8.0 {
                put(
                    &mut out,
                    format_args!(
                        "<text class=\"in\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
                        from + wide / 2.0,
                        top + 14.0,
                        escape(&piece.name)
                    ),
                );
            }
        }
        out.push('\n');
    }
    out.push_str("</svg>\n");
    out
}

/// One line of a panel.
pub(super) struct Line<'a> {
    pub(super) name: String,
    pub(super) class: String,
    pub(super) points: std::borrow::Cow<'a, [(u64, f64)]>,
}

impl<'a> Line<'a> {
    pub(super) fn of(name: impl Into<String>, index: usize, series: &'a Series) -> Self {
        Self {
            name: name.into(),
            class: format!("s{}", index % 8),
            points: std::borrow::Cow::Borrowed(&series.points),
        }
    }
}

/// Lines over one axis.
pub(super) struct Panel<'a> {
    pub(super) title: String,
    /// More words, in quiet type.
    pub(super) note: String,
    pub(super) unit: Unit,
    pub(super) lines: Vec<Line<'a>>,
    /// Points that stand out.
    pub(super) marks: Vec<(f64, f64)>,
    /// The least that the vertical axis goes up to.
    pub(super) at_least: f64,
}

impl Panel<'_> {
    /// Whether all that there is to draw is zero.
    pub(super) fn is_zero(&self) -> bool {
        let mut values = self.lines.iter().flat_map(|line| line.points.iter());
        self.lines.iter().any(|line| !line.points.is_empty()) && values.all(|p| p.1 == 0.0)
    }

    /// The panel with its heading and legend; empty without a value.
    pub(super) fn html(&self, axis: Axis, shade: &[Piece]) -> String {
        const HEIGHT: f64 = 132.0;
        const TOP: f64 = 8.0;
        const FLOOR: f64 = HEIGHT - 22.0;
        let drawn: Vec<Vec<Vec<(f64, f64)>>> =
            self.lines.iter().map(|line| runs(&line.points, axis)).collect();
        let most = drawn
            .iter()
            .flatten()
            .flatten()
            .map(|p| p.1)
            .chain(self.marks.iter().map(|m| m.1))
            .fold(f64::NAN, f64::max);
        if most.is_nan() {
            return String::new();
        }
        let most = most.max(self.at_least);
        let (divisor, sign) = self.unit.scale(most);
        let steps = ticks(0.0, (most / divisor).max(1e-6), 3);
        let top = steps.last().copied().unwrap_or(1.0) * divisor;
        let y = |value: f64| FLOOR - (value / top).clamp(0.0, 1.0) * (FLOOR - TOP);
        let mut out = heading(&self.title, &self.note);
        put(
            &mut out,
            format_args!(
                "<svg class=\"panel\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{}\">\n",
                escape(&self.title)
            ),
        );
        shading(&mut out, axis, shade, TOP, FLOOR);
        for step in &steps {
            let at = y(step * divisor);
            put(
                &mut out,
                format_args!(
                    "<line class=\"grid\" x1=\"{LEFT}\" y1=\"{at:.1}\" x2=\"{}\" y2=\"{at:.1}\"/>\
                     <text class=\"tick\" x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{}\u{a0}{sign}</text>",
                    WIDTH - RIGHT,
                    LEFT - 7.0,
                    at + 4.0,
                    short(*step)
                ),
            );
        }
        times(&mut out, axis, FLOOR);
        for (line, runs) in self.lines.iter().zip(&drawn) {
            put(
                &mut out,
                format_args!(
                    "<g class=\"series {}\"><title>{}</title>",
                    line.class,
                    escape(&line.name)
                ),
            );
            for run in runs {
                let points: Vec<String> =
                    run.iter().map(|p| format!("{:.1},{:.1}", axis.x(p.0), y(p.1))).collect();
                if let [only] = &points[..] {
                    let (x, y) = only.split_once(',').unwrap_or(("0", "0"));
                    put(&mut out, format_args!("<circle cx=\"{x}\" cy=\"{y}\" r=\"1.5\"/>"));
                } else {
                    put(&mut out, format_args!("<polyline points=\"{}\"/>", points.join(" ")));
                }
            }
            out.push_str("</g>\n");
        }
        for (at, value) in self.marks.iter().take(MOST_MARKS) {
            put(
                &mut out,
                format_args!(
                    "<circle class=\"outlier\" cx=\"{:.1}\" cy=\"{:.1}\" r=\"3\"><title>{}</title></circle>",
                    axis.x(*at),
                    y(*value),
                    self.unit.show(*value)
                ),
            );
        }
        out.push_str("</svg>\n");
        if self.lines.len() > 1 {
            legend(&mut out, self.lines.iter().map(|l| (l.class.as_str(), l.name.as_str())));
        }
        out
    }
}

/// A line under a panel that says which colour is what.
pub(super) fn legend<'a>(out: &mut String, keys: impl Iterator<Item = (&'a str, &'a str)>) {
    out.push_str("<p class=\"legend\">");
    for (class, name) in keys {
        put(
            out,
            format_args!("<span class=\"key {class}\"><i></i>{}</span> ", escape(&cut(name, 60))),
        );
    }
    out.push_str("</p>\n");
}

/// Cores by time, the darker the busier: for more cores than lines could show.
pub(super) fn map(axis: Axis, title: &str, cores: &[&Series]) -> String {
    if cores.is_empty() {
        return String::new();
    }
    let together = cores.len().div_ceil(MOST_ROWS);
    let rows: Vec<&[&Series]> = cores.chunks(together).collect();
    let row = (220.0 / rows.len() as f64).clamp(4.0, 14.0);
    let floor = rows.len() as f64 * row + 4.0;
    let note = if together > 1 {
        format!("{} cores, {together} in each row; the stronger, the busier", cores.len())
    } else {
        format!("{} cores, one in each row; the stronger, the busier", cores.len())
    };
    let mut out = heading(title, &note);
    put(
        &mut out,
        format_args!(
            "<svg class=\"panel\" viewBox=\"0 0 {WIDTH} {}\" role=\"img\" aria-label=\"{}\">\n",
            floor + 22.0,
            escape(title)
        ),
    );
    for (index, members) in rows.iter().enumerate() {
        let mut cells = vec![(0.0, 0u32); COLUMNS];
        for (time, value) in members.iter().flat_map(|series| &series.points) {
            let share = (*time as f64 - axis.low) / (axis.high - axis.low).max(1e-9);
            let column = ((share.clamp(0.0, 1.0) * COLUMNS as f64) as usize).min(COLUMNS - 1);
            cells[column].0 += value;
            cells[column].1 += 1;
        }
        // Where samples are rarer than columns, each lasts until the next.
        let mut last = None;
        let levels: Vec<Option<u8>> = cells
            .iter()
            .map(|(sum, count)| {
                if *count > 0 {
                    last = Some((sum / f64::from(*count) / 10.0).clamp(0.0, 9.0) as u8);
                }
                last
            })
            .collect();
        let top = index as f64 * row + 2.0;
        let mut from = 0;
        for piece in levels.chunk_by(|a, b| a == b) {
            if let Some(level) = piece.first().copied().flatten() {
                put(
                    &mut out,
                    format_args!(
                        "<rect class=\"h{level}\" x=\"{:.1}\" y=\"{top:.1}\" width=\"{:.1}\" height=\"{:.1}\"/>",
                        LEFT + from as f64 / COLUMNS as f64 * PLOT,
                        piece.len() as f64 / COLUMNS as f64 * PLOT,
                        row - 0.6
                    ),
                );
            }
            from += piece.len();
        }
        if row >= 11.0 || index.is_multiple_of(4) {
            put(
                &mut out,
                format_args!(
                    "<text class=\"tick\" x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">cpu{}</text>\n",
                    LEFT - 7.0,
                    top + row / 2.0 + 4.0,
                    index * together
                ),
            );
        }
    }
    times(&mut out, axis, floor);
    out.push_str("</svg>\n");
    out
}

fn heading(title: &str, note: &str) -> String {
    let mut out = format!("<h3>{}", escape(title));
    if !note.is_empty() {
        put(&mut out, format_args!(" <small>{}</small>", escape(note)));
    }
    out.push_str("</h3>\n");
    out
}

/// The phases behind a panel, in thin colour.
fn shading(out: &mut String, axis: Axis, shade: &[Piece], top: f64, floor: f64) {
    for piece in shade {
        let (from, to) = (axis.x(piece.start), axis.x(piece.end));
        put(
            out,
            format_args!(
                "<rect class=\"shade {}\" x=\"{from:.1}\" y=\"{top}\" width=\"{:.1}\" height=\"{:.1}\"/>",
                piece.class,
                to - from,
                floor - top
            ),
        );
    }
}

fn times(out: &mut String, axis: Axis, floor: f64) {
    put(
        out,
        format_args!(
            "<line class=\"axis\" x1=\"{LEFT}\" y1=\"{floor:.1}\" x2=\"{}\" y2=\"{floor:.1}\"/>",
            WIDTH - RIGHT
        ),
    );
    for (at, words) in axis.marks() {
        let x = axis.x(at);
        let anchor = if x > WIDTH - 40.0 { "end" } else { "middle" };
        put(
            out,
            format_args!(
                "<text class=\"tick\" x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"{anchor}\">{words}</text>",
                floor + 15.0
            ),
        );
    }
    out.push('\n');
}

/// Points as at most [`BUCKETS`] means, in pieces where the recording has gaps.
fn runs(points: &[(u64, f64)], axis: Axis) -> Vec<Vec<(f64, f64)>> {
    let points: Vec<(f64, f64)> = points
        .iter()
        .filter(|p| p.1.is_finite() && p.1.abs() < 1e30)
        .map(|p| (p.0 as f64, p.1))
        .collect();
    let apart = stats::sorted(points.windows(2).map(|pair| pair[1].0 - pair[0].0));
    let gap = stats::quantile(&apart, 0.5).max((axis.high - axis.low) / BUCKETS as f64) * 8.0;
    let bucket =
        |at: f64| ((at - axis.low) / (axis.high - axis.low).max(1e-9) * BUCKETS as f64).floor();
    points
        .chunk_by(|a, b| b.0 - a.0 <= gap)
        .map(|run| {
            if points.len() <= BUCKETS {
                return run.to_vec();
            }
            run.chunk_by(|a, b| bucket(a.0) == bucket(b.0))
                .map(|same| {
                    let count = same.len() as f64;
                    let sums = same.iter().fold((0.0, 0.0), |s, p| (s.0 + p.0, s.1 + p.1));
                    (sums.0 / count, sums.1 / count)
                })
                .collect()
        })
        .take(BUCKETS)
        .collect()
}

/// The beginning of a long name.
pub(super) fn cut(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        text.to_owned()
    } else {
        text.chars().take(most.saturating_sub(1)).chain(['…']).collect()
    }
}

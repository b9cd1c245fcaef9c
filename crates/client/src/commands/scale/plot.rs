//! The page of a simulation or of a test: instances, load and latency over time, and what came of it.

use std::fmt::Write as _;
use std::path::Path;

use kennel_report::{Chart, Series, escape, page, short};

use crate::error::ClientError;
use crate::files::write_aside;
use crate::output::note;

/// A line of one of the charts: its name, its colour (`s0` to `s7`), its points.
pub(super) type Line = (&'static str, &'static str, Vec<(f64, f64)>);

/// What the page shows.
#[derive(Debug, Default)]
pub(super) struct Page {
    pub title: String,
    /// What the figures are from.
    pub notes: Vec<String>,
    /// A name, a figure, and what else is to be said of it.
    pub heads: Vec<(String, String, String)>,
    /// A title, and the lines over seconds.
    pub charts: Vec<(String, Vec<Line>)>,
    /// A heading and rows; the first row is the header.
    pub tables: Vec<(String, Vec<Vec<String>>)>,
    /// A moment to mark in all charts.
    pub mark: Option<(f64, String)>,
}

/// Steps stay steps: a count holds until the next one.
pub(super) fn steps(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let mut out: Vec<(f64, f64)> = Vec::with_capacity(points.len());
    for &(x, y) in points {
        if let Some(&(_, before)) = out.last()
            && before != y
        {
            out.push((x, before));
        }
        // A count that stays needs its ends alone.
        let flat = out.len() >= 2 && out[out.len() - 2..].iter().all(|p| p.1 == y);
        if flat && let Some(last) = out.last_mut() {
            last.0 = x;
        } else {
            out.push((x, y));
        }
    }
    out
}

impl Page {
    pub(super) fn html(&self) -> String {
        let mut body = String::new();
        for note in &self.notes {
            let _ = writeln!(body, "<p class=\"quiet\">{}</p>", escape(note));
        }
        body.push_str("<div class=\"heads\">");
        for (name, value, more) in &self.heads {
            let _ = write!(
                body,
                "<div class=\"head\"><div class=\"name\">{}</div><div class=\"value\">{}</div><div class=\"more\">{}</div></div>",
                escape(name),
                escape(value),
                escape(more)
            );
        }
        body.push_str("</div>\n<section><div class=\"charts\">");
        for (title, lines) in &self.charts {
            let chart = Chart {
                title: title.clone(),
                x_label: "seconds".to_owned(),
                series: lines
                    .iter()
                    .map(|(name, class, points)| Series {
                        name: (*name).to_owned(),
                        class: (*class).to_owned(),
                        points: points.clone(),
                    })
                    .collect(),
                mark: self.mark.clone(),
                shares: false,
            };
            let _ = write!(body, "<div><h3>{}</h3>{}</div>", escape(title), chart.svg());
        }
        body.push_str("</div></section>\n");
        for (title, rows) in &self.tables {
            let _ =
                write!(body, "<section><h2>{}</h2><div class=\"scroll\"><table>", escape(title));
            for (number, row) in rows.iter().enumerate() {
                let cell = if number == 0 { "th" } else { "td" };
                body.push_str(if number == 0 { "<thead><tr>" } else { "<tr>" });
                for text in row {
                    let _ = write!(body, "<{cell}>{}</{cell}>", escape(text));
                }
                body.push_str(if number == 0 { "</tr></thead><tbody>" } else { "</tr>" });
            }
            body.push_str("</tbody></table></div></section>\n");
        }
        page(&self.title, "", &body)
    }

    pub(super) fn write(&self, path: &Path) -> Result<(), ClientError> {
        write_aside(path, self.html().as_bytes(), 0o644)?;
        note(format!("plot: {}", path.display()));
        Ok(())
    }
}

/// A latency of a piece of time; 0 means that nothing was answered in it, which is a gap.
pub(super) fn some(value: f64) -> f64 {
    if value > 0.0 { value } else { f64::NAN }
}

/// Milliseconds for people.
pub(super) fn ms(value: f64) -> String {
    if value.is_finite() { format!("{} ms", short(value)) } else { "–".to_owned() }
}

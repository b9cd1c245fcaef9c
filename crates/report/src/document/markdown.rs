//! A document as Markdown, with charts as lines of block characters.

use super::{Block, Document, Piece, Table, pieces};
use crate::chart::Chart;
use crate::text::{put, short};

/// Characters of a drawn line.
const WIDE: usize = 40;

/// The document as Markdown (GitHub's kind, for its tables).
pub fn markdown(document: &Document) -> String {
    let mut out = format!("# {}\n\n{}\n", inline(&document.title), inline(&document.subtitle));
    for block in &document.blocks {
        out.push('\n');
        match block {
            Block::Heading(words) => put(&mut out, format_args!("## {}\n", inline(words))),
            Block::Text { lead, text } if lead.is_empty() => {
                put(&mut out, format_args!("{}\n", inline(text)));
            }
            Block::Text { lead, text } => {
                put(&mut out, format_args!("**{}** {}\n", inline(lead), inline(text)));
            }
            Block::Missing { what, command } => {
                put(&mut out, format_args!("> {}", inline(what)));
                if let Some(command) = command {
                    put(&mut out, format_args!(" To have it: {}", code(command)));
                }
                out.push('\n');
            }
            Block::Table(table) => self::table(&mut out, table),
            Block::Charts(charts) => {
                for chart in charts.iter().filter(|chart| !chart.is_empty()) {
                    self::chart(&mut out, chart);
                }
            }
            Block::Code(words) => {
                let fence = "`".repeat(longest_run(words).max(2) + 1);
                put(&mut out, format_args!("{fence}text\n{words}\n{fence}\n"));
            }
        }
    }
    out
}

fn table(out: &mut String, table: &Table) {
    let line = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
    out.push_str(&line(table.columns.iter().map(|c| inline(&c.name)).collect()));
    let rule = |number: bool| if number { "---:" } else { "---" };
    out.push_str(&line(table.columns.iter().map(|c| rule(c.number).to_owned()).collect()));
    for row in &table.rows {
        let cell =
            |index: usize| row.get(index).map_or_else(String::new, |cell: &String| inline(cell));
        out.push_str(&line((0..table.columns.len()).map(cell).collect()));
    }
}

/// A chart: its title, then each line drawn and in numbers.
fn chart(out: &mut String, chart: &Chart) {
    put(out, format_args!("- {} (over {})\n", inline(&chart.title), inline(&chart.x_label)));
    for series in &chart.series {
        let values: Vec<f64> =
            series.points.iter().map(|p| p.1).filter(|y| y.is_finite()).collect();
        let (Some(first), Some(last)) = (values.first(), values.last()) else { continue };
        let most = values.iter().copied().fold(f64::MIN, f64::max);
        let least = values.iter().copied().fold(f64::MAX, f64::min);
        let shown = |value: f64| match chart.shares {
            true => crate::text::percent(value),
            false => short(value),
        };
        put(
            out,
            format_args!(
                "  - {}: `{}` first {}, last {}, least {}, most {}\n",
                inline(&series.name),
                sparkline(&series.points),
                shown(*first),
                shown(*last),
                shown(least),
                shown(most)
            ),
        );
    }
}

/// Values over their positions as block characters, the largest value of each place; a gap is a space.
pub(crate) fn sparkline(points: &[(f64, f64)]) -> String {
    const STEPS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let all = || points.iter().filter(|(x, y)| x.is_finite() && y.is_finite());
    let fold = |pick: fn(&(f64, f64)) -> f64| {
        all().map(pick).fold((f64::MAX, f64::MIN), |(low, high), v| (low.min(v), high.max(v)))
    };
    let ((left, right), (low, high)) = (fold(|p| p.0), fold(|p| p.1));
    let places = all().count().min(WIDE);
    if places == 0 {
        return String::new();
    }
    let mut most = vec![None::<f64>; places];
    for &(x, y) in all() {
        let share = if right > left { (x - left) / (right - left) } else { 0.0 };
        let place = ((share * places as f64) as usize).min(places - 1);
        if let Some(most) = most.get_mut(place) {
            *most = Some(most.map_or(y, |before| before.max(y)));
        }
    }
    let draw = |value: Option<f64>| {
        let Some(value) = value else { return ' ' };
        let share = if high > low { (value - low) / (high - low) } else { 0.5 };
        *STEPS.get((share * 7.0).round() as usize).unwrap_or(&'█')
    };
    most.into_iter().map(draw).collect()
}

/// Words without Markdown of their own, except for their code.
fn inline(text: &str) -> String {
    let mut out = String::new();
    for piece in pieces(text) {
        match piece {
            Piece::Plain(words) => out.push_str(&plain(words)),
            // A table's cell ends at a bar even in code.
            Piece::Code(words) => {
                put(&mut out, format_args!("`{}`", one_line(words).replace('|', "¦")))
            }
        }
    }
    out
}

/// Code as a span; it may have backticks of its own.
fn code(words: &str) -> String {
    let fence = "`".repeat(longest_run(words) + 1);
    let pad = if fence.len() > 1 { " " } else { "" };
    format!("{fence}{pad}{}{pad}{fence}", one_line(words))
}

fn longest_run(words: &str) -> usize {
    words.split(|c| c != '`').map(str::len).max().unwrap_or(0)
}

fn one_line(words: &str) -> String {
    words.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

fn plain(words: &str) -> String {
    let mut out = String::new();
    for c in one_line(words).chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '&' => out.push_str("&amp;"),
            '\\' | '*' | '_' | '[' | ']' | '|' | '`' | '#' | '~' => {
                out.push('\\');
                out.push(c);
            }
            c => out.push(c),
        }
    }
    out
}

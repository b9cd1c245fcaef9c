//! Tables: columns as wide as their words, the rest broken into lines; the head again on every page.

use super::font::Font;
use super::paper::{INK, LINE, MARGIN, Paper, QUIET, WIDE};
use super::words::{Line, lines, measure};
use crate::document::Table;

const SIZE: f32 = 7.8;
const LEADING: f32 = 9.7;
/// Between two columns.
const GUTTER: f32 = 9.0;

pub(super) fn draw(paper: &mut Paper, table: &Table) {
    if table.columns.is_empty() {
        return;
    }
    let size = SIZE * paper.scale();
    let widths = widths(table, size);
    let wrap = |font: Font, cells: &mut dyn Iterator<Item = &str>| -> Vec<Vec<Line>> {
        widths.iter().zip(cells).map(|(wide, cell)| lines(cell, font, size, *wide)).collect()
    };
    let head = wrap(Font::Bold, &mut table.columns.iter().map(|column| column.name.as_str()));
    let numbers: Vec<bool> = table.columns.iter().map(|column| column.number).collect();
    let shape = Shape { widths: &widths, numbers: &numbers };
    let height = |cells: &[Vec<Line>]| cells.iter().map(Vec::len).max().unwrap_or(0);
    paper.need(LEADING * (height(&head) + 2) as f32);
    row(paper, &shape, &head, None);
    for cells in &table.rows {
        let texts = (0..table.columns.len()).map(|i| cells.get(i).map_or("", String::as_str));
        let cells = wrap(Font::Regular, &mut texts.into_iter());
        let tall = LEADING * height(&cells) as f32 + 1.5;
        if paper.fits_a_page(tall) {
            let before = paper.pages();
            paper.need(tall);
            if paper.pages() > before {
                row(paper, &shape, &head, None);
            }
        }
        row(paper, &shape, &cells, Some(&head));
    }
}

struct Shape<'a> {
    widths: &'a [f32],
    numbers: &'a [bool],
}

/// A row; one that is taller than a page goes on below the head of the next.
fn row(paper: &mut Paper, shape: &Shape<'_>, cells: &[Vec<Line>], head: Option<&[Vec<Line>]>) {
    let most = cells.iter().map(Vec::len).max().unwrap_or(0);
    for index in 0..most {
        let before = paper.pages();
        paper.need(LEADING);
        if let Some(head) = head.filter(|_| paper.pages() > before) {
            row(paper, shape, head, None);
        }
        paper.down(LEADING);
        let mut x = MARGIN;
        for ((cell, wide), number) in cells.iter().zip(shape.widths).zip(shape.numbers) {
            if let Some(line) = cell.get(index) {
                let at = if *number { x + wide - line.width() } else { x };
                paper.line(at, line, if head.is_some() { INK } else { QUIET });
            }
            x += wide + GUTTER;
        }
    }
    paper.rule(LINE);
    paper.gap(0.8);
}

/// Columns get what they want; where that is too much, the widest share what is left, and none is narrower
/// than its widest word while there is room for that.
fn widths(table: &Table, size: f32) -> Vec<f32> {
    let room = WIDE - GUTTER * (table.columns.len() - 1) as f32;
    let wanted: Vec<(f32, f32)> = table
        .columns
        .iter()
        .enumerate()
        .map(|(index, column)| {
            let cells = table.rows.iter().filter_map(|row| row.get(index));
            cells
                .map(|cell| measure(cell, Font::Regular, size))
                .fold(measure(&column.name, Font::Bold, size), |(whole, word), (w, v)| {
                    (whole.max(w), word.max(v))
                })
        })
        .collect();
    let total: f32 = wanted.iter().map(|w| w.0).sum();
    if total <= room {
        // What is left goes to the last column of words, so that rules and columns end together.
        let last = table.columns.iter().rposition(|column| !column.number);
        let spare = room - total;
        let numbers_after = last.is_some_and(|last| last + 1 < table.columns.len());
        return wanted
            .iter()
            .enumerate()
            .map(|(index, (whole, _))| {
                whole + if Some(index) == last && !numbers_after { spare } else { 0.0 }
            })
            .collect();
    }
    // The level at which columns are cut: those below keep their width.
    let mut level = room / wanted.len() as f32;
    for _ in 0..wanted.len() {
        let (mut kept, mut cut) = (0.0, 0);
        for (whole, _) in &wanted {
            if *whole <= level {
                kept += whole;
            } else {
                cut += 1;
            }
        }
        level = (room - kept) / cut.max(1) as f32;
    }
    let mut widths: Vec<f32> = wanted.iter().map(|(whole, _)| whole.min(level)).collect();
    let least: Vec<f32> = widths
        .iter()
        .zip(&wanted)
        .map(|(width, (_, word))| width.max(word.min(level * 1.6)))
        .collect();
    let over = least.iter().sum::<f32>() - room;
    let slack: f32 = least.iter().zip(&wanted).map(|(w, (_, word))| (w - word).max(0.0)).sum();
    if over <= slack {
        for ((width, least), (_, word)) in widths.iter_mut().zip(&least).zip(&wanted) {
            let own = (least - word).max(0.0);
            *width = least - if slack > 0.0 { over.max(0.0) * own / slack } else { 0.0 };
        }
    }
    widths
}

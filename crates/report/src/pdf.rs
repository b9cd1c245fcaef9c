//! A document as a PDF of A4 pages, made here and without a browser (docs/adr/0022): text in the fonts that
//! every reader has, broken by their widths, tables, and charts as drawn lines.

mod chart;
mod font;
mod paper;
mod table;
mod words;

use pdf_writer::{Finish, Name, Pdf, Rect, Ref, TextStr};

use self::font::{Font, encode};
use self::paper::{HEIGHT, INK, LINE, MARGIN, Paper, QUIET, WIDE, WIDTH};
use self::words::{Line, broken, lines};
use crate::document::{Block, Document};

/// Sizes that are tried until the document fits the pages it should have.
const SCALES: [f32; 5] = [1.0, 0.96, 0.92, 0.88, 0.84];

/// The document as a PDF. Letters are made a little smaller where that keeps it to `pages`; a document that
/// is still longer gets the pages that it needs.
pub fn pdf(document: &Document, pages: usize) -> Vec<u8> {
    let mut paper = Paper::new(1.0);
    for scale in SCALES {
        paper = laid_out(document, scale);
        if paper.pages() <= pages {
            break;
        }
    }
    written(document, paper)
}

fn laid_out(document: &Document, scale: f32) -> Paper {
    let mut paper = Paper::new(scale);
    let title = lines(&document.title, Font::Bold, 16.0 * scale, WIDE);
    block(&mut paper, &title, 19.0, INK);
    let subtitle = lines(&document.subtitle, Font::Regular, 8.5 * scale, WIDE);
    block(&mut paper, &subtitle, 11.0, QUIET);
    for item in &document.blocks {
        match item {
            Block::Heading(words) => {
                // A heading stands with what it is of.
                paper.gap(5.0);
                paper.need(80.0);
                paper.rule(LINE);
                paper.gap(3.0);
                block(&mut paper, &lines(words, Font::Bold, 11.0 * scale, WIDE), 13.5, INK);
                paper.gap(1.0);
            }
            Block::Text { lead, text } => {
                let size = 8.6 * scale;
                block(&mut paper, &words::led(lead, text, size, WIDE), 10.9, INK);
                paper.gap(3.0);
            }
            Block::Missing { what, command } => {
                let words = match command {
                    Some(command) => format!("{what} To have it: `{}`", command.replace('`', "'")),
                    None => what.clone(),
                };
                let found = lines(&words, Font::Regular, 8.2 * scale, WIDE - 10.0);
                marked(&mut paper, &found, 10.4);
                paper.gap(3.0);
            }
            Block::Table(table) => {
                table::draw(&mut paper, table);
                paper.gap(4.0);
            }
            Block::Charts(charts) => chart::row(&mut paper, charts),
            Block::Code(words) => {
                let size = 8.2 * scale;
                let found: Vec<Line> =
                    words.lines().flat_map(|line| broken(line, size, WIDE - 10.0)).collect();
                marked(&mut paper, &found, 9.2);
                paper.gap(3.0);
            }
        }
    }
    paper
}

/// Lines below each other.
fn block(paper: &mut Paper, lines: &[Line], leading: f32, colour: paper::Colour) {
    for line in lines {
        paper.down(leading);
        paper.line(MARGIN, line, colour);
    }
}

/// Lines with a bar at their left.
fn marked(paper: &mut Paper, lines: &[Line], leading: f32) {
    for line in lines {
        paper.down(leading);
        paper.bar(leading);
        paper.line(MARGIN + 8.0, line, INK);
    }
}

/// The file.
fn written(document: &Document, paper: Paper) -> Vec<u8> {
    let contents = paper.finish();
    let mut next = Ref::new(1);
    let (catalog, tree, info) = (next.bump(), next.bump(), next.bump());
    let fonts = Font::ALL.map(|font| (font, next.bump()));
    let pages: Vec<(Ref, Ref)> = contents.iter().map(|_| (next.bump(), next.bump())).collect();
    let mut pdf = Pdf::new();
    let mut root = pdf.catalog(catalog);
    root.pages(tree).lang(TextStr("en"));
    root.viewer_preferences().display_doc_title(true);
    root.finish();
    pdf.pages(tree).kids(pages.iter().map(|(page, _)| *page)).count(pages.len() as i32);
    for (font, at) in fonts {
        pdf.type1_font(at)
            .base_font(Name(font.base()))
            .encoding_predefined(Name(b"WinAnsiEncoding"));
    }
    let count = pages.len();
    for (index, (mut content, (page, stream))) in contents.into_iter().zip(pages).enumerate() {
        let foot =
            [(MARGIN, document.title.clone()), (0.0, format!("page {} of {count}", index + 1))];
        for (x, words) in foot {
            let bytes = encode(&words);
            let wide = Font::Regular.width(&bytes, 7.0);
            let x = if x > 0.0 { x } else { WIDTH - MARGIN - wide };
            // A title as wide as the page would run into the number.
            if wide < WIDE - 60.0 {
                paper::show(&mut content, (x, 22.0), (Font::Regular, 7.0), QUIET, &bytes);
            }
        }
        let mut one = pdf.page(page);
        one.media_box(Rect::new(0.0, 0.0, WIDTH, HEIGHT)).parent(tree).contents(stream);
        let mut resources = one.resources();
        let mut names = resources.fonts();
        for (font, at) in fonts {
            names.pair(Name(font.resource()), at);
        }
        names.finish();
        resources.finish();
        one.finish();
        pdf.stream(stream, &content.finish());
    }
    let maker = concat!("kennel ", env!("CARGO_PKG_VERSION"));
    pdf.document_info(info).title(TextStr(&document.title)).producer(TextStr(maker));
    pdf.finish()
}

#[cfg(test)]
mod tests;

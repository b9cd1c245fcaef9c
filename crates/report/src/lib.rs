//! What Kennel's reports share: the page, line charts and safe text. A report is one HTML file that opens
//! anywhere and stays readable for years: style, script, drawings and pictures are inside it, and its
//! content security policy keeps it from loading anything. A [`Document`] is also shown as Markdown and as
//! a PDF. Pure: values in, text or bytes out.

mod chart;
mod document;
mod pdf;
mod text;

pub use chart::{Chart, Series, ticks};
pub use document::{Block, Column, Document, Table, html, markdown};
pub use pdf::pdf;
pub use text::{escape, percent, percent_or_dash, plural, put, short, with_code};

/// A whole page: `title` is plain text, `body` is HTML that is safe already and follows the heading, `style`
/// is CSS for this kind of report alone. Tables of the class `classes` can be sorted by their columns: a cell
/// counts as its `data-value`, or else its text, and cells that are empty or `–` stay last.
pub fn page(title: &str, style: &str, body: &str) -> String {
    let title = escape(title);
    let mut out = String::with_capacity(body.len() + 16 * 1024);
    put(
        &mut out,
        format_args!(
            "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n\
             <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; \
             img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'\"/>\n\
             <meta name=\"generator\" content=\"kennel {}\"/>\n<title>{title}</title>\n\
             <style>\n{}{style}</style>\n</head>\n<body>\n<main>\n<h1>{title}</h1>\n{body}",
            env!("CARGO_PKG_VERSION"),
            include_str!("style.css"),
        ),
    );
    put(
        &mut out,
        format_args!(
            "<footer>Made by kennel {}. This file needs nothing else and sends nothing \
             anywhere.</footer>\n</main>\n<script>\n{}</script>\n</body>\n</html>\n",
            env!("CARGO_PKG_VERSION"),
            include_str!("sort.js"),
        ),
    );
    out
}

//! A document as a page.

use super::{Block, Document, Table};
use crate::text::{escape, put, with_code};

/// Smaller than other reports, and on A4 when it is printed: a document is one or two pages.
const STYLE: &str = "\
body{font-size:15px}main{max-width:900px}section{padding:16px 20px;margin:14px 0}\
h1{font-size:1.6rem}h2{font-size:1.12rem;margin:0 0 8px}\
p{margin:0 0 8px}table{margin:2px 0 10px;font-size:.88em}th,td{padding:4px 10px}\
thead th{position:static;white-space:normal;font-size:.95em;vertical-align:bottom}td{overflow-wrap:break-word}td.number{white-space:nowrap}\
code{overflow-wrap:anywhere}td code{overflow-wrap:break-word}\
.charts{margin:8px 0;grid-template-columns:repeat(auto-fit,minmax(min(100%,230px),1fr))}\
.charts svg{overflow:visible}.charts svg text{font-size:16px}td:first-child code{white-space:nowrap}.charts h3{font-size:.88em;margin:0 0 2px;color:var(--quiet)}\
.charts figure{max-width:430px}\
pre{white-space:pre-wrap;overflow-wrap:anywhere;margin:0 0 8px;padding:8px 12px}\
.missing{background:var(--warn);color:var(--warn-ink);border-radius:8px;padding:6px 12px}\
@page{size:A4;margin:13mm 14mm}\
@media print{:root{color-scheme:light;--page:#fff;--card:#fff;--ink:#111;--quiet:#555;--line:#ccc;\
--accent:#2f6f9f;--train:#8a93a0;--valid:#d9722e;--good:#2e8a5f;--bad:#cf4a3c;--warn:#f6f0df;--warn-ink:#4a3a10;\
--s0:#2f6f9f;--s1:#d9722e;--s2:#2e8a5f;--s3:#a04fb0}\
body{font-size:9pt;line-height:1.35}main{max-width:none;padding:0}\
section{border:0;border-radius:0;border-top:1px solid var(--line);padding:5px 0 0;margin:6px 0 0;break-inside:auto}\
h1{font-size:15pt}h2{font-size:11pt;margin:0 0 3px;break-after:avoid}p{margin:0 0 4px}\
table{margin:0 0 5px}th,td{padding:1.5px 6px}thead button{pointer-events:none}tr,figure,.missing,pre{break-inside:avoid}\
.charts{grid-template-columns:repeat(3,1fr);gap:4px 12px;margin:3px 0}pre,.missing{padding:3px 6px;margin:0 0 4px}\
.legend{font-size:.8em}footer{margin-top:6px}}\n";

/// The document as one HTML file that needs nothing else.
pub fn html(document: &Document) -> String {
    let mut body = format!("<p class=\"quiet\">{}</p>\n", with_code(&document.subtitle));
    let mut open = false;
    for block in &document.blocks {
        match block {
            Block::Heading(words) => {
                if open {
                    body.push_str("</section>\n");
                }
                open = true;
                put(&mut body, format_args!("<section>\n<h2>{}</h2>\n", with_code(words)));
            }
            Block::Text { lead, text } => {
                body.push_str("<p>");
                if !lead.is_empty() {
                    put(&mut body, format_args!("<b>{}</b> ", with_code(lead)));
                }
                put(&mut body, format_args!("{}</p>\n", with_code(text)));
            }
            Block::Missing { what, command } => {
                put(&mut body, format_args!("<p class=\"missing\">{}", with_code(what)));
                if let Some(command) = command {
                    put(&mut body, format_args!(" To have it: <code>{}</code>", escape(command)));
                }
                body.push_str("</p>\n");
            }
            Block::Table(table) => self::table(&mut body, table),
            Block::Charts(charts) => {
                body.push_str("<div class=\"charts\">\n");
                for chart in charts.iter().filter(|chart| !chart.is_empty()) {
                    put(
                        &mut body,
                        format_args!(
                            "<figure><h3>{}</h3>\n{}</figure>\n",
                            escape(&chart.title),
                            chart.svg()
                        ),
                    );
                }
                body.push_str("</div>\n");
            }
            Block::Code(words) => put(&mut body, format_args!("<pre>{}</pre>\n", escape(words))),
        }
    }
    if open {
        body.push_str("</section>\n");
    }
    crate::page(&document.title, STYLE, &body)
}

fn table(body: &mut String, table: &Table) {
    let class = |number: bool| if number { " class=\"number\"" } else { "" };
    body.push_str("<table>\n<thead><tr>");
    for column in &table.columns {
        put(body, format_args!("<th{}>{}</th>", class(column.number), with_code(&column.name)));
    }
    body.push_str("</tr></thead>\n<tbody>\n");
    for row in &table.rows {
        body.push_str("<tr>");
        for (index, column) in table.columns.iter().enumerate() {
            let cell = row.get(index).map_or("", String::as_str);
            put(body, format_args!("<td{}>{}</td>", class(column.number), with_code(cell)));
        }
        body.push_str("</tr>\n");
    }
    body.push_str("</tbody>\n</table>\n");
}

//! Text for the report: everything that comes from outside goes through [`escape`], every number
//! through one of the formats here, so that neither a class name nor a NaN can break the page.

use std::fmt::{self, Write};

/// Makes text safe inside an HTML or SVG element and inside a quoted attribute.
///
/// Control characters, which XML forbids, and the characters that change the direction of text,
/// with which a file name can look like another, become U+FFFD.
pub fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            '\n' | '\t' => safe.push(c),
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{fffe}' | '\u{ffff}' => {
                safe.push('\u{fffd}');
            }
            c if c.is_control() => safe.push('\u{fffd}'),
            c => safe.push(c),
        }
    }
    safe
}

/// Makes a sentence safe like [`escape`] and shows what stands in backticks as code.
pub fn with_code(text: &str) -> String {
    let pieces: Vec<&str> = text.split('`').collect();
    // An odd backtick is no quotation.
    if pieces.len().is_multiple_of(2) {
        return escape(text);
    }
    let mut safe = String::new();
    for (i, piece) in pieces.into_iter().enumerate() {
        if i % 2 == 1 {
            put(&mut safe, format_args!("<code>{}</code>", escape(piece)));
        } else {
            safe.push_str(&escape(piece));
        }
    }
    safe
}

/// Appends formatted text; writing to a `String` cannot fail.
pub fn put(out: &mut String, text: fmt::Arguments<'_>) {
    let _ = out.write_fmt(text);
}

/// A share as a percentage that no line break parts, `–` when there is none.
pub fn percent(share: f64) -> String {
    if share.is_finite() { format!("{:.1}\u{a0}%", share * 100.0) } else { "–".to_owned() }
}

/// A share that may be missing.
pub fn percent_or_dash(share: Option<f64>) -> String {
    share.map_or_else(|| "–".to_owned(), percent)
}

/// A number of any size in few characters, `–` when it is not one.
pub fn short(value: f64) -> String {
    if !value.is_finite() {
        return "–".to_owned();
    }
    let size = value.abs();
    if size == 0.0 {
        "0".to_owned()
    } else if !(0.001..100_000.0).contains(&size) {
        format!("{value:.1e}")
    } else {
        let decimals = if size < 0.1 {
            4
        } else if size < 10.0 {
            3
        } else {
            1
        };
        let text = format!("{value:.decimals$}");
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    }
}

/// A count with its noun.
pub fn plural(count: u64, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

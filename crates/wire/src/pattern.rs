//! The models' patterns: Java's regular expressions, matched against the whole value.

use std::sync::OnceLock;

use regex::{Regex, RegexBuilder};

/// Memory that one compiled pattern may take, in bytes. Counted repetitions of Unicode classes are
/// what would take more; such a pattern is not checked.
const SIZE_LIMIT: usize = 4 << 20;

/// A pattern, compiled at its first use.
#[derive(Debug)]
pub(crate) struct Pattern {
    source: String,
    compiled: OnceLock<Option<Regex>>,
}

impl Pattern {
    pub(crate) fn new(source: String) -> Self {
        Pattern { source, compiled: OnceLock::new() }
    }

    /// The pattern as the model has it.
    pub(crate) fn source(&self) -> &str {
        &self.source
    }

    /// Whether the whole of `value` matches. True also for a pattern that the `regex` crate cannot
    /// express (look-around): it is better to let a value through than to refuse a good one.
    pub(crate) fn accepts(&self, value: &str) -> bool {
        self.regex().is_none_or(|regex| regex.is_match(value))
    }

    pub(crate) fn regex(&self) -> Option<&Regex> {
        self.compiled
            .get_or_init(|| {
                RegexBuilder::new(&format!(r"\A(?:{})\z", from_java(&self.source)))
                    .size_limit(SIZE_LIMIT)
                    .build()
                    .inspect_err(|error| {
                        tracing::debug!(pattern = self.source, "pattern is not checked: {error}");
                    })
                    .ok()
            })
            .as_ref()
    }
}

/// What follows `\u`: four digits, or the two halves of a surrogate pair, which Java writes for a
/// character above U+FFFF. Gives the escape and what is left.
fn unicode(rest: &str) -> (String, &str) {
    let half = |text: &str| text.get(..4).and_then(|four| u32::from_str_radix(four, 16).ok());
    let high = half(rest).filter(|high| (0xd800..0xdc00).contains(high));
    let low = rest.get(4..6).filter(|between| *between == "\\u").and(rest.get(6..)).and_then(half);
    match (high, low, rest.get(10..)) {
        (Some(high), Some(low), Some(left)) if (0xdc00..0xe000).contains(&low) => {
            let scalar = 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00);
            (format!("\\u{{{scalar:x}}}"), left)
        }
        _ => ("\\u".to_owned(), rest),
    }
}

/// Java's `\w`, `\d` and `\s` are ASCII, those of the `regex` crate are not.
fn from_java(source: &str) -> String {
    let mut out = String::with_capacity(source.len() + 16);
    let mut chars = source.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some('w') => out.push_str("[0-9A-Za-z_]"),
            Some('W') => out.push_str("[^0-9A-Za-z_]"),
            Some('d') => out.push_str("[0-9]"),
            Some('D') => out.push_str("[^0-9]"),
            Some('s') => out.push_str(r"[ \t\n\x0B\f\r]"),
            Some('S') => out.push_str(r"[^ \t\n\x0B\f\r]"),
            Some('u') => {
                let (scalar, rest) = unicode(chars.as_str());
                out.push_str(&scalar);
                chars = rest.chars();
            }
            Some(other) => out.extend(['\\', other]),
            None => out.push('\\'),
        }
    }
    out
}

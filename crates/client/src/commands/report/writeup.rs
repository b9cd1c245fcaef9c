//! From facts to words. Pure: no calls, no clock; what the facts lack is said to be missing.

mod instances;
mod scaling;
mod security;
mod serving;
mod training;

use kennel_cost::{Catalogue, Price, Usage, dollars, duration};
use kennel_report::{Block, Document, plural};
use serde_json::Value;

use super::facts::{Area, Facts};
use crate::clock;
use crate::output::text;

/// What the sections share.
struct Writer<'a> {
    facts: &'a Facts,
    catalogue: &'a Catalogue,
    blocks: Vec<Block>,
    /// Whether a price that is not verified was shown.
    unsure: bool,
}

/// The whole writeup.
pub(super) fn document(title: &str, facts: &Facts, catalogue: &Catalogue) -> Document {
    let mut writer = Writer { facts, catalogue, blocks: Vec::new(), unsure: false };
    writer.instances();
    writer.training();
    writer.endpoint();
    writer.function();
    writer.security();
    writer.concurrency();
    writer.scaling();
    if !facts.notes.is_empty() {
        let lines: Vec<&str> =
            facts.notes.iter().map(|note| note.lines().next().unwrap_or_default()).collect();
        let words = format!("The writeup {}.", lines.join("; it "));
        writer.blocks.push(Block::led("Not looked at.", words));
    }
    if writer.unsure {
        let words = "Prices with ~ could not be verified against AWS's own list.";
        writer.blocks.push(Block::text(words));
    }
    let place = if facts.local { "Kennel's platform on one machine" } else { "AWS" };
    Document {
        title: title.to_owned(),
        subtitle: format!(
            "Account {}, {}, {}. Everything here was asked of {place} at {} UTC; prices are AWS's of {}.",
            facts.account,
            facts.region,
            date(facts.now),
            clock::shown(facts.now as f64).split(' ').nth(1).unwrap_or_default(),
            catalogue.as_of()
        ),
        blocks: writer.blocks,
    }
}

impl Writer<'_> {
    fn heading(&mut self, words: &str) {
        self.blocks.push(Block::Heading(words.to_owned()));
    }

    fn led(&mut self, lead: &str, words: impl Into<String>) {
        self.blocks.push(Block::led(lead, words));
    }

    /// Says that something could not be looked at, where that is so.
    fn unknown(&mut self, area: Area) -> bool {
        let unknown = self.facts.unknown.contains(&area);
        if unknown {
            let what = format!("{} could not be looked at; see the end.", area.words());
            self.blocks.push(Block::Missing { what, command: None });
        }
        unknown
    }

    fn missing(&mut self, what: impl Into<String>, command: impl Into<String>) {
        self.blocks.push(Block::missing(what, command));
    }

    /// The price of an hour.
    fn hourly(&self, usage: Usage, kind: &str) -> Option<Price> {
        self.catalogue.hourly(usage, kind, &self.facts.region).ok()
    }

    /// Dollars as they are shown; a dash where there are none.
    fn money(&mut self, amount: Option<(f64, bool)>) -> String {
        let Some((amount, verified)) = amount else { return "–".to_owned() };
        self.unsure |= !verified;
        format!("{}{}", if verified { "" } else { "~" }, small(amount))
    }

    /// What a type has, in words.
    fn has(&self, kind: &str) -> String {
        self.catalogue
            .instance(kind)
            .map_or_else(|| "not in the catalogue".to_owned(), |k| k.said())
    }
}

/// `2026-11-21`.
fn date(seconds: i64) -> String {
    clock::shown(seconds as f64).split(' ').next().unwrap_or_default().to_owned()
}

/// A member as code.
fn named(value: &Value, member: &str) -> String {
    format!("`{}`", text(value, member))
}

/// Names with commas, and how many more there are.
fn some(names: &[String], most: usize) -> String {
    let shown: Vec<&str> = names.iter().take(most).map(String::as_str).collect();
    match names.len().saturating_sub(most) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

/// `1 instance`, `3 instances`.
fn instances(count: u64) -> String {
    plural(count, "instance", "instances")
}

/// A number with at most so many decimals.
fn number(value: f64, decimals: usize) -> String {
    // An empty sum is -0.
    let text = format!("{:.decimals$}", value + 0.0);
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    }
}

/// Dollars; of less than a cent, two digits say enough.
fn small(amount: f64) -> String {
    if !(1e-12..0.01).contains(&amount) {
        return dollars(amount);
    }
    let decimals = (1.0 - amount.log10().floor()).clamp(2.0, 14.0) as usize;
    format!("${amount:.decimals$}")
}

/// A time; less than a second in ms.
fn took(seconds: f64) -> String {
    if (0.0..1.0).contains(&seconds) { ms(Some(seconds * 1e3)) } else { duration(seconds) }
}

/// Milliseconds; a dash where there are none.
fn ms(value: Option<f64>) -> String {
    value.map_or_else(|| "–".to_owned(), |value| format!("{} ms", number(value, 1)))
}

/// `1.9 times`.
fn times(value: f64) -> String {
    format!("{} times", number(value, 2))
}

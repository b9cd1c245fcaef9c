//! What client commands print: data to stdout, notes to stderr, tables for people, JSON on request.

use std::fmt;
use std::io::{IsTerminal, Write};
use std::time::Duration;

use comfy_table::Table;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::Value;

use crate::clock;
use crate::error::ClientError;

/// Prints a line of data. A reader that has gone (`| head`) ends the program quietly.
pub(crate) fn line(text: impl fmt::Display) {
    if writeln!(std::io::stdout(), "{text}").is_err() {
        std::process::exit(0);
    }
}

/// Tells something that is not data.
pub(crate) fn note(text: impl fmt::Display) {
    eprintln!("{text}");
}

/// Prints JSON.
pub(crate) fn json(value: &Value) {
    // A `Value` always has a text.
    line(serde_json::to_string_pretty(value).unwrap_or_default());
}

/// A table without lines, as all commands print.
pub(crate) fn table<const N: usize>(
    header: [&str; N],
    rows: impl IntoIterator<Item = [String; N]>,
) -> String {
    let mut table = Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    table.set_header(header);
    for row in rows {
        table.add_row(row.map(|cell| plain(&cell)));
    }
    table.to_string().lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
}

/// A text without what would steer a terminal; keys and names come from strangers.
pub(crate) fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\n' { '\u{fffd}' } else { c }).collect()
}

/// Names and values below each other; absent ones are left out.
pub(crate) fn fields(fields: &[(&str, Option<String>)]) -> String {
    let wide = fields.iter().map(|f| f.0.len()).max().unwrap_or(0);
    fields
        .iter()
        .filter_map(|(name, value)| value.as_ref().map(|v| format!("{name:wide$}  {}", plain(v))))
        .collect::<Vec<_>>()
        .join("\n")
}

/// A text member.
pub(crate) fn text(value: &Value, name: &str) -> String {
    match &value[name] {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

/// A text member, if it is there.
pub(crate) fn maybe(value: &Value, name: &str) -> Option<String> {
    Some(text(value, name)).filter(|t| !t.is_empty())
}

/// A time: epoch seconds as JSON services send them, or ISO 8601.
pub(crate) fn time(value: &Value) -> String {
    match value {
        Value::Number(seconds) => seconds.as_f64().map(clock::shown).unwrap_or_default(),
        Value::String(iso) => iso_time(iso),
        _ => String::new(),
    }
}

/// `2026-11-21T11:45:21.000Z` as people write it.
pub(crate) fn iso_time(iso: &str) -> String {
    iso.chars().take(19).map(|c| if c == 'T' { ' ' } else { c }).collect()
}

/// Bytes for people.
pub(crate) fn size(bytes: u64) -> String {
    indicatif::HumanBytes(bytes).to_string()
}

/// Draws until it says that it is done. On a terminal the last drawing is replaced; in a log only
/// changes are printed.
pub(crate) fn watch(
    interval: Duration,
    mut draw: impl FnMut() -> Result<(String, bool), ClientError>,
) -> Result<(), ClientError> {
    let terminal = std::io::stdout().is_terminal();
    let mut last = String::new();
    loop {
        let (text, done) = draw()?;
        if text != last {
            if terminal && !last.is_empty() {
                line(format!("\x1b[{}A\x1b[J{text}", last.lines().count()));
            } else {
                line(&text);
            }
            last = text;
        }
        if done {
            return Ok(());
        }
        std::thread::sleep(interval);
    }
}

/// A bar of bytes on a terminal, nothing in a log.
pub(crate) fn byte_bar(label: &str, total: u64) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(total);
    let style = "{msg:10} [{bar:40}] {bytes}/{total_bytes}  {bytes_per_sec}  {eta} left";
    bar.set_style(
        ProgressStyle::with_template(style)
            .unwrap_or_else(|_| ProgressStyle::default_bar())
            .progress_chars("=> "),
    );
    bar.set_message(label.to_owned());
    bar
}

/// Something that turns while one waits, with a text that changes; lines in a log.
pub(crate) struct Spinner {
    bar: Option<ProgressBar>,
    last: String,
}

impl Spinner {
    pub(crate) fn start() -> Spinner {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new_spinner();
            bar.enable_steady_tick(Duration::from_millis(120));
            bar
        });
        Spinner { bar, last: String::new() }
    }

    pub(crate) fn say(&mut self, text: String) {
        if text == self.last {
            return;
        }
        match &self.bar {
            Some(bar) => bar.set_message(text.clone()),
            None => note(&text),
        }
        self.last = text;
    }
}

impl Drop for Spinner {
    fn drop(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_become_words() {
        let value = json!({"a": 1_795_261_521.5, "b": "x", "c": 3});
        assert_eq!(time(&value["a"]), "2026-11-21 11:45:21");
        assert_eq!(time(&json!("2026-11-21T11:45:21.000Z")), "2026-11-21 11:45:21");
        assert_eq!((text(&value, "b"), text(&value, "c")), ("x".into(), "3".into()));
        assert!(table(["h"], [["x\x1b[2Jy".to_owned()]]).contains("x\u{fffd}[2Jy"));
        assert_eq!(fields(&[("a", Some("1".into())), ("long", None)]), "a     1");
    }

    #[test]
    fn watching_ends_when_it_is_done() {
        let mut rounds = 0;
        watch(Duration::ZERO, || {
            rounds += 1;
            Ok((format!("{rounds}"), rounds == 3))
        })
        .unwrap();
        assert_eq!(rounds, 3);
    }
}

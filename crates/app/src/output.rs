//! What commands print: data to stdout, everything else to stderr; bars on a terminal, plain lines in
//! a log.

use std::fmt;
use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use kennel_base::{ErrorCode, ErrorCoded};

/// A mistake in how a command was called that clap cannot see.
#[derive(Debug)]
pub(crate) struct UsageError(pub String);

impl fmt::Display for UsageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for UsageError {}

impl ErrorCoded for UsageError {
    fn code(&self) -> ErrorCode {
        ErrorCode::InvalidInput
    }
}

pub(crate) fn usage(message: impl Into<String>) -> anyhow::Error {
    UsageError(message.into()).into()
}

/// Prints an error and its causes that add something.
pub(crate) fn error(error: &anyhow::Error) {
    let mut text = error.to_string();
    for cause in error.chain().skip(1) {
        let cause = cause.to_string();
        if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    eprintln!("error: {text}");
}

/// Prints a line of data. A reader that has gone (`| head`) ends the program quietly.
pub(crate) fn line(text: impl fmt::Display) {
    if writeln!(std::io::stdout(), "{text}").is_err() {
        std::process::exit(0);
    }
}

/// A bar on a terminal; in a log a line at most every ten seconds.
pub(crate) struct Progress {
    bar: Option<ProgressBar>,
    label: String,
    total: usize,
    started: Instant,
    last_line: Instant,
}

impl Progress {
    /// Starts a stage of `total` steps.
    pub(crate) fn start(label: &str, total: usize) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new(total as u64);
            let style = "{msg:10} [{bar:40}] {pos}/{len}  {per_sec}  {eta} left";
            // The template is a constant that a test renders; the default bar is the fallback.
            bar.set_style(
                ProgressStyle::with_template(style)
                    .unwrap_or_else(|_| ProgressStyle::default_bar())
                    .progress_chars("=> "),
            );
            bar.set_message(label.to_owned());
            bar
        });
        let now = Instant::now();
        Progress { bar, label: label.to_owned(), total, started: now, last_line: now }
    }

    /// The number of steps became known better.
    pub(crate) fn grow(&mut self, total: usize) {
        self.total = total;
        if let Some(bar) = &self.bar {
            bar.set_length(total as u64);
        }
    }

    pub(crate) fn set(&mut self, done: usize) {
        match &self.bar {
            Some(bar) => bar.set_position(done as u64),
            None => {
                if self.last_line.elapsed() >= Duration::from_secs(10) && done < self.total {
                    self.last_line = Instant::now();
                    let seconds = self.started.elapsed().as_secs_f64();
                    let rate = done as f64 / seconds.max(1e-9);
                    let left = (self.total - done) as f64 / rate.max(1e-9);
                    eprintln!(
                        "{}: {done}/{} ({rate:.0} per second, {left:.0} s left)",
                        self.label, self.total
                    );
                }
            }
        }
    }

    pub(crate) fn finish(self) {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
    }
}

//! The lines that the platform adds to a function's log, in AWS's form, and the end of the log that Invoke
//! answers. <https://docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs-view.html>

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Bytes of the log that Invoke answers.
const TAIL: usize = 4_096;

/// What the last line of an invocation says.
#[derive(Debug, Clone)]
pub(super) struct Report<'a> {
    pub(super) request_id: &'a str,
    pub(super) duration: Duration,
    pub(super) memory_mb: u64,
    /// Bytes.
    pub(super) used: u64,
    /// Where the environment was made for this invocation.
    pub(super) init: Option<Duration>,
    /// `timeout` or `error` and the error's type, where the invocation failed as a whole.
    pub(super) status: Option<(&'a str, &'a str)>,
}

/// Milliseconds as reports write them.
fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

/// Whole milliseconds that count for the bill: rounded up, the initialisation of on-demand environments
/// included since August 2025.
pub(super) fn billed(duration: Duration, init: Option<Duration>) -> u64 {
    let whole = milliseconds(duration + init.unwrap_or_default()).ceil();
    (whole as u64).max(1)
}

/// The line before a function's own.
pub(super) fn start(request_id: &str, version: &str) -> String {
    format!("START RequestId: {request_id} Version: {version}")
}

/// The line behind them.
pub(super) fn end(request_id: &str) -> String {
    format!("END RequestId: {request_id}")
}

impl Report<'_> {
    /// The line, with AWS's tabs.
    pub(super) fn line(&self) -> String {
        let Report { request_id, duration, memory_mb, used, init, status } = self;
        // Never more than there is: the limit is checked after the fact.
        let used = used.div_ceil(1 << 20).clamp(1, *memory_mb);
        let mut line = format!(
            "REPORT RequestId: {request_id}\tDuration: {:.2} ms\tBilled Duration: {} ms\tMemory Size: {memory_mb} MB\tMax Memory Used: {used} MB\t",
            milliseconds(*duration),
            billed(*duration, *init),
        );
        if let Some(init) = init {
            line.push_str(&format!("Init Duration: {:.2} ms\t", milliseconds(*init)));
        }
        if let Some((status, error)) = status {
            line.push_str(&format!("Status: {status}"));
            if !error.is_empty() {
                line.push_str(&format!("\tError Type: {error}"));
            }
        }
        line
    }
}

/// The last 4 KB of a log, base64.
pub(super) fn tail(lines: &[String]) -> String {
    let mut text = lines.join("\n");
    text.push('\n');
    let from = text.ceil_char_boundary(text.len().saturating_sub(TAIL));
    STANDARD.encode(text.get(from..).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report<'static> {
        Report {
            request_id: "8f5b",
            duration: Duration::from_micros(1_234),
            memory_mb: 128,
            used: 41 << 20,
            init: None,
            status: None,
        }
    }

    #[test]
    fn reports_look_like_awss() {
        assert_eq!(
            report().line(),
            "REPORT RequestId: 8f5b\tDuration: 1.23 ms\tBilled Duration: 2 ms\tMemory Size: 128 MB\tMax Memory Used: 41 MB\t"
        );
        let cold = Report { init: Some(Duration::from_millis(100)), ..report() };
        assert!(cold.line().contains("Billed Duration: 102 ms"), "{}", cold.line());
        assert!(cold.line().ends_with("Init Duration: 100.00 ms\t"), "{}", cold.line());
        let late = Report { status: Some(("timeout", "")), used: 0, ..report() };
        assert!(late.line().ends_with("Max Memory Used: 1 MB\tStatus: timeout"), "{}", late.line());
        let over = Report { used: 200 << 20, ..report() };
        assert!(over.line().contains("Max Memory Used: 128 MB"), "{}", over.line());
    }

    #[test]
    fn tails_are_cut_between_characters() {
        let lines = vec!["ä".repeat(4_000), "end".to_owned()];
        let text = String::from_utf8(STANDARD.decode(tail(&lines)).unwrap()).unwrap();
        assert!(text.len() <= TAIL && text.ends_with("end\n"), "{}", text.len());
        assert_eq!(STANDARD.decode(tail(&["a".to_owned()])).unwrap(), b"a\n");
    }
}

//! Timestamps: seconds since 1970 inside, ISO 8601 in XML, either in JSON requests.

use chrono::{DateTime, NaiveDateTime, SecondsFormat};
use serde_json::{Number, Value};

/// Seconds of 0001-01-01 and of 9999-12-31T23:59:59, what ISO 8601 writes with four digits.
const RANGE: std::ops::RangeInclusive<f64> = -62_135_596_800.0..=253_402_300_799.0;

/// Reads ISO 8601 (without an offset: UTC) or a number of seconds.
pub(crate) fn parse(text: &str) -> Option<Value> {
    let text = text.trim();
    let parsed = DateTime::parse_from_rfc3339(text).map(|at| at.timestamp_micros()).or_else(|_| {
        NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f")
            .map(|at| at.and_utc().timestamp_micros())
    });
    match parsed {
        Ok(micros) => seconds(micros as f64 / 1e6),
        Err(_) => seconds(text.parse().ok()?),
    }
}

/// A number of seconds as a timestamp, if it is one.
pub(crate) fn seconds(value: f64) -> Option<Value> {
    if !RANGE.contains(&value) {
        return None;
    }
    Number::from_f64(value).map(Value::Number)
}

/// ISO 8601 in UTC, with milliseconds where there are any.
pub(crate) fn iso(seconds: f64) -> Option<String> {
    if !RANGE.contains(&seconds) {
        return None;
    }
    let millis = (seconds * 1000.0).round() as i64;
    let format = if millis % 1000 == 0 { SecondsFormat::Secs } else { SecondsFormat::Millis };
    Some(DateTime::from_timestamp_millis(millis)?.to_rfc3339_opts(format, true))
}

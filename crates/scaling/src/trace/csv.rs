//! Recorded traces as text.

use std::collections::BTreeMap;

use super::{Trace, TraceError};

/// Numbers from here on are seconds since 1970, not since the start: three years of load in one trace are
/// refused anyway, and no clock shows 1973.
const EPOCH_FROM: f64 = 1e8;

/// The most minutes that a trace of minutes may span: a bit more than a year.
const MOST_MINUTES: f64 = 600_000.0;

const TIME_HINT: &str =
    "it is no time\nhint: write seconds (`12.5`) or ISO 8601 (`2026-11-21T08:00:00Z`)";

pub(super) fn parse(text: &str) -> Result<Trace, TraceError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut lines = text
        .lines()
        .enumerate()
        .map(|(index, line)| Line { number: index + 1, text: line.trim() })
        .filter(|line| !line.text.is_empty() && !line.text.starts_with('#'))
        .peekable();
    let Some(first) = lines.peek().copied() else { return Err(TraceError::Empty) };
    // A header has letters where a time would be; an ISO time begins with a digit.
    let header = first.text.starts_with(|c: char| c.is_alphabetic() || c == '"');
    if header {
        lines.next();
    }
    match first.cells().as_slice() {
        [minute, requests]
            if minute.eq_ignore_ascii_case("minute") && requests.eq_ignore_ascii_case("requests") =>
        {
            minutes(lines)
        }
        [_] => times(lines),
        _ if header => Err(first.error(
            "these columns are not known\nhint: give one column of times, or two under the header `minute,requests`",
        )),
        _ => Err(first.error(
            "there is more than one column, and no header\nhint: begin with the line `minute,requests`, or give one time a line",
        )),
    }
}

#[derive(Clone, Copy)]
struct Line<'a> {
    number: usize,
    text: &'a str,
}

impl<'a> Line<'a> {
    fn cells(&self) -> Vec<&'a str> {
        self.text.split(',').map(|cell| cell.trim().trim_matches('"').trim()).collect()
    }

    fn error(&self, reason: impl Into<String>) -> TraceError {
        let text = self.text.chars().take(60).collect();
        TraceError::Line { line: self.number, text, reason: reason.into() }
    }
}

/// A time as it was written.
enum Time {
    /// Seconds from the start.
    Start(f64),
    /// Seconds since 1970.
    Epoch(f64),
}

fn time(cell: &str) -> Option<Time> {
    if let Ok(seconds) = cell.parse::<f64>() {
        return match seconds {
            s if !s.is_finite() || s < 0.0 => None,
            s if s >= EPOCH_FROM => Some(Time::Epoch(s)),
            s => Some(Time::Start(s)),
        };
    }
    let micros = match chrono::DateTime::parse_from_rfc3339(cell) {
        Ok(time) => time.timestamp_micros(),
        Err(_) => {
            ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M"]
                .iter()
                .find_map(|format| chrono::NaiveDateTime::parse_from_str(cell, format).ok())?
                .and_utc()
                .timestamp_micros()
        }
    };
    Some(Time::Epoch(micros as f64 / 1e6))
}

fn times<'a>(lines: impl Iterator<Item = Line<'a>>) -> Result<Trace, TraceError> {
    let mut times: Vec<f64> = Vec::new();
    let mut since_epoch = None;
    for line in lines {
        let cells = line.cells();
        let [cell] = cells.as_slice() else {
            return Err(line.error("there is more than one column\nhint: give one time a line"));
        };
        let (seconds, epoch) = match time(cell) {
            Some(Time::Start(seconds)) => (seconds, false),
            Some(Time::Epoch(seconds)) => (seconds, true),
            None => return Err(line.error(TIME_HINT)),
        };
        if *since_epoch.get_or_insert(epoch) != epoch {
            return Err(line.error(
                "some times are dates and others are not\nhint: write all of them in one way",
            ));
        }
        times.push(seconds);
    }
    times.sort_by(f64::total_cmp);
    let Some(first) = times.first().copied() else { return Err(TraceError::Empty) };
    if since_epoch == Some(true) {
        let start = (first / 60.0).floor() * 60.0;
        times.iter_mut().for_each(|time| *time -= start);
    }
    Ok(Trace::Timestamps(times))
}

fn minutes<'a>(lines: impl Iterator<Item = Line<'a>>) -> Result<Trace, TraceError> {
    let mut rows: BTreeMap<u64, f64> = BTreeMap::new();
    let mut first_is_date = None;
    for line in lines {
        let cells = line.cells();
        let [minute, requests] = cells.as_slice() else {
            return Err(line.error("it has not two columns\nhint: write `minute,requests`"));
        };
        let (minute, date) = match time(minute) {
            Some(Time::Start(number)) if number.fract() == 0.0 => (number, false),
            Some(Time::Epoch(seconds)) => ((seconds / 60.0).floor(), true),
            Some(Time::Start(_)) => {
                return Err(line.error(
                    "the minute is no whole number\nhint: count minutes from 0, or write ISO 8601",
                ));
            }
            None => return Err(line.error(TIME_HINT)),
        };
        if *first_is_date.get_or_insert(date) != date {
            return Err(line.error(
                "some minutes are dates and others are not\nhint: write all of them in one way",
            ));
        }
        let requests = match requests.parse::<f64>() {
            Ok(number) if number.is_finite() && number >= 0.0 => number,
            _ => {
                return Err(line.error(format!(
                    "`{requests}` is no number of requests\nhint: write a number from 0 up"
                )));
            }
        };
        if rows.insert(minute as u64, requests).is_some() {
            return Err(line.error("this minute was there before\nhint: give each minute once"));
        }
        let first = if date { rows.keys().next().copied().unwrap_or(0) } else { 0 };
        let last = rows.keys().next_back().copied().unwrap_or(0);
        if (last - first) as f64 >= MOST_MINUTES {
            return Err(line.error(format!(
                "the trace spans more than {MOST_MINUTES} minutes\nhint: give a shorter part of it"
            )));
        }
    }
    let Some((&last, _)) = rows.last_key_value() else { return Err(TraceError::Empty) };
    let first = match (first_is_date, rows.first_key_value()) {
        (Some(true), Some((first, _))) => *first,
        _ => 0,
    };
    let minutes = (first..=last).map(|minute| rows.get(&minute).copied().unwrap_or(0.0));
    Ok(Trace::PerMinute(minutes.collect()))
}

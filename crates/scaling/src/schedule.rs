//! When scheduled actions are due: `at(…)`, `rate(…)` and `cron(…)`, in a time zone of the IANA's database.
//!
//! AWS does not say what becomes of times that a change of the clocks leaves out or repeats. Here it is as
//! with its EventBridge Scheduler: what falls on a time left out is skipped, what falls on a repeated one
//! happens at the first.
//!
//! Sources: <https://docs.aws.amazon.com/autoscaling/application/APIReference/API_PutScheduledAction.html>,
//! <https://docs.aws.amazon.com/autoscaling/application/userguide/scheduled-scaling-using-cron-expressions.html>,
//! <https://docs.aws.amazon.com/scheduler/latest/UserGuide/schedule-types.html>.

mod cron;

use chrono::{DateTime, NaiveDateTime, TimeZone};
use chrono_tz::Tz;

use cron::Cron;

const MINUTE_MS: i64 = 60_000;
const DAY_MS: i64 = 1_440 * MINUTE_MS;

/// A schedule of Application Auto Scaling. Rows keep its text and zone, from which it is read again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    kind: Kind,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    At { at_ms: i64 },
    Rate { interval_ms: i64, start_ms: i64 },
    Cron { cron: Box<Cron>, zone: Tz },
}

/// Why a schedule is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScheduleError {
    /// None of the three forms.
    #[error(
        "`{0}` is no schedule\nhint: write `at(yyyy-mm-ddThh:mm:ss)`, `rate(value unit)` or `cron(fields)`"
    )]
    Form(String),
    /// No time in `at`.
    #[error("`{0}` is no date and time\nhint: write it as `at(2026-01-31T17:00:00)`")]
    Time(String),
    /// A time that the clocks of the zone leave out.
    #[error("there is no `{time}` in the time zone `{zone}`: its clocks are put forward then")]
    LeftOut {
        /// The time.
        time: String,
        /// The zone.
        zone: String,
    },
    /// No value and unit in `rate`.
    #[error(
        "`{0}` is no rate\nhint: write a positive whole number and one of minute, minutes, hour, hours, day \
         and days, as in `rate(5 minutes)`"
    )]
    Rate(String),
    /// Not six fields in `cron`, nor seven.
    #[error(
        "a cron expression has six fields, not {0}\nhint: minutes, hours, day of month, month, day of week and \
         year, as in `cron(0 18 ? * MON-FRI *)`"
    )]
    Fields(usize),
    /// One field of `cron` is wrong.
    #[error("`{text}` is no {field} of a cron expression\nhint: {allowed}")]
    Field {
        /// The field's name.
        field: &'static str,
        /// What it holds.
        text: String,
        /// What it may hold.
        allowed: &'static str,
    },
    /// Day of month and day of week at once, or neither.
    #[error(
        "a cron expression names the day of the month or the day of the week: `{month}` and `{week}`\nhint: put \
         `?` into the other of the two fields"
    )]
    Days {
        /// The field for the day of the month.
        month: String,
        /// The field for the day of the week.
        week: String,
    },
    /// No such time zone.
    #[error(
        "there is no time zone `{0}`\nhint: use a name of the IANA's database, for example `Europe/Berlin` or \
         `Etc/GMT+9`"
    )]
    TimeZone(String),
}

impl Schedule {
    /// Reads a schedule; the time zone is an IANA name, UTC without one. Rates do not depend on it.
    ///
    /// # Errors
    ///
    /// [`ScheduleError`] says what is wrong.
    pub fn parse(text: &str, timezone: Option<&str>) -> Result<Self, ScheduleError> {
        let zone = match timezone {
            Some(name) => {
                name.parse::<Tz>().map_err(|_| ScheduleError::TimeZone(name.to_owned()))?
            }
            None => Tz::UTC,
        };
        let form = || ScheduleError::Form(text.to_owned());
        let (name, inside) =
            text.trim().strip_suffix(')').and_then(|text| text.split_once('(')).ok_or_else(form)?;
        let kind = match name {
            "at" => Kind::At { at_ms: at(inside, zone)? },
            "rate" => Kind::Rate { interval_ms: rate(inside)?, start_ms: 0 },
            "cron" => Kind::Cron { cron: Box::new(Cron::parse(inside)?), zone },
            _ => return Err(form()),
        };
        Ok(Self { kind })
    }

    /// The schedule whose rate counts from `start_ms`, its first time: the action's start time, or when it
    /// was made. The other forms stand for themselves.
    #[must_use]
    pub fn anchored(self, start_ms: i64) -> Self {
        match self.kind {
            Kind::Rate { interval_ms, .. } => Self { kind: Kind::Rate { interval_ms, start_ms } },
            kind => Self { kind },
        }
    }

    /// The first time after `after_ms`; `None` when there is none any more.
    pub fn next(&self, after_ms: i64) -> Option<i64> {
        match &self.kind {
            Kind::At { at_ms } => (*at_ms > after_ms).then_some(*at_ms),
            Kind::Rate { interval_ms, start_ms } => {
                if after_ms < *start_ms {
                    return Some(*start_ms);
                }
                let passed = after_ms.checked_sub(*start_ms)? / interval_ms;
                start_ms.checked_add(passed.checked_add(1)?.checked_mul(*interval_ms)?)
            }
            Kind::Cron { cron, zone } => {
                // The fields begin with 1970, wherever on earth.
                let after_ms = after_ms.max(-2 * DAY_MS);
                let after = DateTime::from_timestamp_millis(after_ms)?.with_timezone(zone);
                cron.after(after.naive_local())
                    .filter_map(|local| zone.from_local_datetime(&local).earliest())
                    .map(|time| time.timestamp_millis())
                    .find(|time_ms| *time_ms > after_ms)
            }
        }
    }
}

fn at(text: &str, zone: Tz) -> Result<i64, ScheduleError> {
    let text = text.trim();
    let local = NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S")
        .map_err(|_| ScheduleError::Time(text.to_owned()))?;
    let time = zone.from_local_datetime(&local).earliest().ok_or_else(|| {
        ScheduleError::LeftOut { time: text.to_owned(), zone: zone.name().to_owned() }
    })?;
    Ok(time.timestamp_millis())
}

fn rate(text: &str) -> Result<i64, ScheduleError> {
    let refuse = || ScheduleError::Rate(text.to_owned());
    let mut words = text.split_whitespace();
    let (Some(value), Some(unit), None) = (words.next(), words.next(), words.next()) else {
        return Err(refuse());
    };
    let unit_ms = match unit {
        "minute" | "minutes" => MINUTE_MS,
        "hour" | "hours" => 60 * MINUTE_MS,
        "day" | "days" => DAY_MS,
        _ => return Err(refuse()),
    };
    let value: u32 = value.parse().map_err(|_| refuse())?;
    if value == 0 {
        return Err(refuse());
    }
    Ok(i64::from(value) * unit_ms)
}

#[cfg(test)]
mod tests;

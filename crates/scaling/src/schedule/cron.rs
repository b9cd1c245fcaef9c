//! The fields of `cron(…)` as AWS writes them: minutes, hours, day of month, month, day of week, year; seven
//! of them begin with the seconds.
//!
//! Source: <https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-cron-expressions.html>.

use chrono::{Datelike, NaiveDate, NaiveDateTime, Weekday};

use super::ScheduleError;

/// When a schedule is due, in local time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Cron {
    seconds: Vec<u32>,
    minutes: Vec<u32>,
    hours: Vec<u32>,
    days: Days,
    months: Vec<u32>,
    years: Vec<u32>,
}

/// Which days of a month.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Days {
    OfMonth(Vec<u32>),
    /// `L`: the last one.
    Last,
    /// `15W`: the working day nearest to the 15th, in the same month.
    Nearest(u32),
    /// 1 is Sunday.
    OfWeek(Vec<u32>),
    /// `6L`: the last Friday.
    LastOfWeek(u32),
    /// `3#2`: the second Tuesday.
    Nth {
        day: u32,
        nth: u32,
    },
}

/// One field: its name, what it may hold, and its names in order, from `least` on.
struct Field {
    name: &'static str,
    allowed: &'static str,
    least: u32,
    most: u32,
    names: &'static [&'static str],
}

const SECONDS: Field = Field {
    name: "second",
    allowed: "0 to 59 with `,`, `-`, `*` and `/`",
    least: 0,
    most: 59,
    names: &[],
};
const MINUTES: Field = Field { name: "minute", ..SECONDS };
const HOURS: Field = Field {
    name: "hour",
    allowed: "0 to 23 with `,`, `-`, `*` and `/`",
    least: 0,
    most: 23,
    names: &[],
};
const DAYS: Field = Field {
    name: "day of the month",
    allowed: "1 to 31 with `,`, `-`, `*` and `/`, or `?`, `L` (the last) or `15W` (the nearest working day)",
    least: 1,
    most: 31,
    names: &[],
};
const MONTHS: Field = Field {
    name: "month",
    allowed: "1 to 12 or JAN to DEC with `,`, `-`, `*` and `/`",
    least: 1,
    most: 12,
    names: &["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"],
};
const WEEKDAYS: Field = Field {
    name: "day of the week",
    allowed: "1 to 7 or SUN to SAT with `,`, `-`, `*` and `/`, or `?`, `6L` (the last Friday) or `3#2` (the \
              second Tuesday)",
    least: 1,
    most: 7,
    names: &["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"],
};
const YEARS: Field = Field {
    name: "year",
    allowed: "1970 to 2199 with `,`, `-`, `*` and `/`",
    least: 1970,
    most: 2199,
    names: &[],
};

impl Cron {
    pub(super) fn parse(text: &str) -> Result<Self, ScheduleError> {
        let fields: Vec<&str> = text.split_whitespace().collect();
        let (seconds, fields) = match fields.as_slice() {
            [seconds, fields @ ..] if fields.len() == 6 => (SECONDS.values(seconds)?, fields),
            fields => (vec![0], fields),
        };
        let [minutes, hours, day, months, weekday, years] = fields else {
            return Err(ScheduleError::Fields(fields.len()));
        };
        Ok(Self {
            seconds,
            minutes: MINUTES.values(minutes)?,
            hours: HOURS.values(hours)?,
            days: Days::parse(day, weekday)?,
            months: MONTHS.values(months)?,
            years: YEARS.values(years)?,
        })
    }

    /// The times after `after`, in order.
    pub(super) fn after(&self, after: NaiveDateTime) -> impl Iterator<Item = NaiveDateTime> {
        let last_year = self.years.last().copied().unwrap_or(0);
        after
            .date()
            .iter_days()
            .take_while(move |day| year(*day) <= last_year)
            .filter(|day| {
                self.years.binary_search(&year(*day)).is_ok()
                    && self.months.binary_search(&day.month()).is_ok()
                    && self.days.hold(*day)
            })
            .flat_map(|day| self.hours.iter().map(move |hour| (day, *hour)))
            .flat_map(|(day, hour)| self.minutes.iter().map(move |minute| (day, hour, *minute)))
            .flat_map(|(day, hour, minute)| {
                self.seconds.iter().filter_map(move |second| day.and_hms_opt(hour, minute, *second))
            })
            .filter(move |time| *time > after)
    }
}

fn year(day: NaiveDate) -> u32 {
    u32::try_from(day.year()).unwrap_or(0)
}

impl Days {
    /// The days of the month unless the other field names days of the week. `*` in one field and a value in
    /// the other is understood, as AWS's own examples of 2022 have it (`30 6 * * 2 *`).
    fn parse(month: &str, week: &str) -> Result<Self, ScheduleError> {
        let open = |text: &str| text == "?" || text == "*";
        match (month, week) {
            ("?", "?") => Err(ScheduleError::Days { month: month.into(), week: week.into() }),
            (month, week) if !open(month) && !open(week) => {
                Err(ScheduleError::Days { month: month.into(), week: week.into() })
            }
            (month, week) if open(month) && week != "?" => Self::of_week(week),
            (month, _) => Self::of_month(month),
        }
    }

    fn of_month(text: &str) -> Result<Self, ScheduleError> {
        if text == "L" {
            return Ok(Self::Last);
        }
        match text.strip_suffix('W') {
            Some(day) => Ok(Self::Nearest(DAYS.value(day).ok_or_else(|| DAYS.refuse(text))?)),
            None => Ok(Self::OfMonth(DAYS.values(text)?)),
        }
    }

    fn of_week(text: &str) -> Result<Self, ScheduleError> {
        let refuse = || WEEKDAYS.refuse(text);
        if text == "L" {
            // The last day of the week.
            return Ok(Self::OfWeek(vec![WEEKDAYS.most]));
        }
        if let Some((day, nth)) = text.split_once('#') {
            let day = WEEKDAYS.value(day).ok_or_else(refuse)?;
            let nth = number(nth).filter(|nth| (1..=5).contains(nth)).ok_or_else(refuse)?;
            return Ok(Self::Nth { day, nth });
        }
        match text.strip_suffix('L') {
            Some(day) => Ok(Self::LastOfWeek(WEEKDAYS.value(day).ok_or_else(refuse)?)),
            None => Ok(Self::OfWeek(WEEKDAYS.values(text)?)),
        }
    }

    fn hold(&self, date: NaiveDate) -> bool {
        let day = date.day();
        let weekday = date.weekday().number_from_sunday();
        let last = u32::from(date.num_days_in_month());
        match self {
            Self::OfMonth(days) => days.binary_search(&day).is_ok(),
            Self::Last => day == last,
            Self::Nearest(wanted) => nearest(date, *wanted, last) == Some(day),
            Self::OfWeek(days) => days.binary_search(&weekday).is_ok(),
            Self::LastOfWeek(wanted) => weekday == *wanted && day + 7 > last,
            Self::Nth { day: wanted, nth } => weekday == *wanted && day.div_ceil(7) == *nth,
        }
    }
}

/// The working day nearest to the wanted day of the date's month, within the month; `None` where the month is
/// too short.
fn nearest(date: NaiveDate, wanted: u32, last: u32) -> Option<u32> {
    let day = match date.with_day(wanted)?.weekday() {
        Weekday::Sat if wanted == 1 => 3,
        Weekday::Sat => wanted - 1,
        Weekday::Sun if wanted == last => wanted - 2,
        Weekday::Sun => wanted + 1,
        _ => wanted,
    };
    Some(day)
}

impl Field {
    /// The values of the whole field, ascending.
    fn values(&self, text: &str) -> Result<Vec<u32>, ScheduleError> {
        let mut values = Vec::new();
        for part in text.split(',') {
            values.extend(self.part(part).ok_or_else(|| self.refuse(text))?);
        }
        values.sort_unstable();
        values.dedup();
        Ok(values)
    }

    /// `*`, `a`, `a-b`, and each with `/step`; a range may run over the end, as SAT-MON.
    fn part(&self, part: &str) -> Option<Vec<u32>> {
        let (range, step) = match part.split_once('/') {
            Some((range, step)) => (range, Some(number(step).filter(|step| *step > 0)?)),
            None => (part, None),
        };
        let (from, to) = match range.split_once('-') {
            _ if range == "*" => (self.least, self.most),
            Some((from, to)) => (self.value(from)?, self.value(to)?),
            None => {
                let from = self.value(range)?;
                (from, if step.is_some() { self.most } else { from })
            }
        };
        let step = usize::try_from(step.unwrap_or(1)).ok()?;
        if from <= to {
            return Some((from..=to).step_by(step).collect());
        }
        // Years do not come around again.
        if self.least == YEARS.least {
            return None;
        }
        Some((from..=self.most).chain(self.least..=to).step_by(step).collect())
    }

    fn value(&self, text: &str) -> Option<u32> {
        let named = self.names.iter().zip(self.least..);
        let named = named.filter(|(name, _)| name.eq_ignore_ascii_case(text)).map(|(_, at)| at);
        named.last().or_else(|| number(text)).filter(|at| (self.least..=self.most).contains(at))
    }

    fn refuse(&self, text: &str) -> ScheduleError {
        ScheduleError::Field { field: self.name, text: text.to_owned(), allowed: self.allowed }
    }
}

/// Digits only: `+5` is no number here.
fn number(text: &str) -> Option<u32> {
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

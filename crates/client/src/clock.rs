//! The one place of the client that reads the clock: requests are signed with the time.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Now.
#[expect(clippy::disallowed_methods, reason = "the client is the edge: signatures need the time")]
pub(crate) fn now() -> SystemTime {
    SystemTime::now()
}

/// Milliseconds since 1970, as CloudWatch Logs counts.
pub(crate) fn epoch_millis() -> i64 {
    let since = now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// Epoch seconds as `2026-11-21 11:45:21`, in UTC.
pub(crate) fn shown(seconds: f64) -> String {
    if !seconds.is_finite() || seconds.abs() > 1e12 {
        return "?".to_owned();
    }
    let whole = seconds.floor() as i64;
    let (days, rest) = (whole.div_euclid(86_400), whole.rem_euclid(86_400));
    let (year, month, day) = civil(days);
    format!(
        "{year:04}-{month:02}-{day:02} {:02}:{:02}:{:02}",
        rest / 3600,
        rest / 60 % 60,
        rest % 60
    )
}

/// Epoch seconds as `2026-11-21T11:45:21Z`.
pub(crate) fn iso(seconds: i64) -> String {
    format!("{}Z", shown(seconds as f64).replace(' ', "T"))
}

/// The time in a name, to the millisecond, `20261121-114521-042`.
pub(crate) fn stamp() -> String {
    let millis = epoch_millis();
    let shown = shown(millis as f64 / 1000.0).replace(['-', ':'], "").replace(' ', "-");
    format!("{shown}-{:03}", millis.rem_euclid(1000))
}

/// Days since 1970 to year, month, day (Howard Hinnant's `civil_from_days`).
fn civil(days: i64) -> (i64, i64, i64) {
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let of_era = z.rem_euclid(146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (year + era * 400 + i64::from(month <= 2), month, day)
}

/// Epoch seconds of `2026-11-21T11:45:21.000Z`; none for anything else.
pub(crate) fn from_iso(text: &str) -> Option<i64> {
    let part = |from: usize, to: usize| text.get(from..to)?.parse::<i64>().ok();
    let (year, month, day) = (part(0, 4)?, part(5, 7)?, part(8, 10)?);
    let (hour, minute, second) = (part(11, 13)?, part(14, 16)?, part(17, 19)?);
    if !text.ends_with('Z') || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    // `days_from_civil`, the inverse of the above.
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let shifted = if month > 2 { month - 3 } else { month + 9 };
    let of_year = (153 * shifted + 2) / 5 + day - 1;
    let days = era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468;
    Some(days * 86_400 + hour * 3600 + minute * 60 + second)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_shown_in_utc() {
        assert_eq!(shown(0.0), "1970-01-01 00:00:00");
        assert_eq!(shown(951_782_400.9), "2000-02-29 00:00:00");
        assert_eq!(shown(1_795_261_521.0), "2026-11-21 11:45:21");
        assert_eq!(shown(f64::NAN), "?");
        for seconds in [0, 951_782_400, 1_795_261_521, 1_709_164_799, 4_102_444_800] {
            let iso = shown(seconds as f64).replace(' ', "T") + ".000Z";
            assert_eq!(from_iso(&iso), Some(seconds), "{iso}");
        }
        for bad in ["", "2026", "2026-13-01T00:00:00Z", "üüüüüüüüüüüüüüüüüüüüZ"]
        {
            assert_eq!(from_iso(bad), None);
        }
    }
}

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

/// The time in a name, `20261121-114521`.
pub(crate) fn stamp() -> String {
    let seconds = epoch_millis() as f64 / 1000.0;
    shown(seconds).replace(['-', ':'], "").replace(' ', "-")
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_shown_in_utc() {
        assert_eq!(shown(0.0), "1970-01-01 00:00:00");
        assert_eq!(shown(951_782_400.9), "2000-02-29 00:00:00");
        assert_eq!(shown(1_795_261_521.0), "2026-11-21 11:45:21");
        assert_eq!(shown(f64::NAN), "?");
    }
}

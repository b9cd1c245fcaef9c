//! Money and time in words.

/// Dollars: four decimals below a dollar, more where that would show zeros only, else two; `~` before what
/// is not verified is the caller's.
pub fn dollars(value: f64) -> String {
    if !value.is_finite() {
        return "$?".to_owned();
    }
    let size = value.abs();
    let decimals = if size == 0.0 || size >= 10.0 {
        2
    } else if size >= 0.01 {
        4
    } else if size >= 0.000_1 {
        6
    } else {
        10
    };
    // The sum of nothing is -0.
    let text = format!("{:.decimals$}", value + 0.0);
    // Two decimals stay: `$1.10`, never `$1.1`.
    let keep = text.find('.').map_or(text.len(), |dot| dot + 3);
    let trimmed = text.trim_end_matches('0');
    let end = trimmed.len().max(keep).min(text.len());
    format!("${}", text.get(..end).unwrap_or(&text))
}

/// Dollars of an estimate: more than three digits would promise what is not known.
pub fn about(value: f64) -> String {
    if value <= 0.0 || !value.is_finite() {
        return dollars(value);
    }
    let power = 10_f64.powf(value.log10().floor() - 2.0);
    dollars((value / power).round() * power)
}

/// Seconds in the unit that people would say.
pub fn duration(seconds: f64) -> String {
    if !seconds.is_finite() || seconds < 0.0 {
        return "?".to_owned();
    }
    match seconds {
        s if s < 10.0 => format!("{s:.1} s"),
        s if s < 120.0 => format!("{s:.0} s"),
        s if s < 7200.0 => format!("{:.0} min", s / 60.0),
        s if s < 172_800.0 => format!("{:.1} h", s / 3600.0),
        s => format!("{:.1} days", s / 86_400.0),
    }
}

/// Hours without superfluous zeros.
pub fn hours(value: f64) -> String {
    let text = format!("{value:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_has_as_many_decimals_as_it_needs() {
        for (value, said) in [
            (0.0, "$0.00"),
            (-0.0, "$0.00"),
            (0.23, "$0.23"),
            (0.0123, "$0.0123"),
            (0.001_25, "$0.00125"),
            (0.000_000_2, "$0.0000002"),
            (1.1, "$1.10"),
            (3.825, "$3.825"),
            (167.9, "$167.90"),
            (12345.678, "$12345.68"),
            (f64::NAN, "$?"),
        ] {
            assert_eq!(dollars(value), said);
        }
    }

    #[test]
    fn estimates_have_three_digits() {
        for (value, said) in [(0.192_84, "$0.193"), (0.0, "$0.00"), (123.456, "$123.00")] {
            assert_eq!(about(value), said);
        }
    }

    #[test]
    fn time_is_said_in_its_unit() {
        assert_eq!(duration(3.21), "3.2 s");
        assert_eq!(duration(61.0), "61 s");
        assert_eq!(duration(600.0), "10 min");
        assert_eq!(duration(9000.0), "2.5 h");
        assert_eq!(duration(864_000.0), "10.0 days");
        assert_eq!(duration(f64::NAN), "?");
        assert_eq!(hours(730.0), "730");
    }
}

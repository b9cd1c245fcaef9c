//! Words of strangers and numbers, made fit for one line of a status.

/// The longest text that a status holds: AWS's `StatusDetails` has 1,024 characters.
const MAX_DETAILS: usize = 1024;

/// A name that a user's script chose: short, on one line, without anything that would end the quotes.
pub(crate) fn shown(name: &str) -> String {
    let mut out: String =
        name.chars().map(|c| if c.is_control() || c == '`' { '?' } else { c }).take(120).collect();
    if name.chars().count() > 120 {
        out.push('…');
    }
    out
}

/// At most as many characters as a status holds.
pub(crate) fn details(text: String) -> String {
    if text.chars().count() <= MAX_DETAILS {
        return text;
    }
    text.chars().take(MAX_DETAILS - 1).chain(['…']).collect()
}

/// A number with three significant digits, in exponent form where that is shorter.
pub(crate) fn number(value: f64) -> String {
    if value == 0.0 || !value.is_finite() {
        return format!("{value}");
    }
    let size = value.abs().log10().floor();
    if !(-4.0..6.0).contains(&size) {
        return format!("{value:.1e}");
    }
    let digits = (2.0 - size).max(0.0) as usize;
    let text = format!("{value:.digits$}");
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        for (value, text) in [
            (0.0, "0"),
            (1.0, "1"),
            (0.45, "0.45"),
            (0.123_456, "0.123"),
            (100.0, "100"),
            (12_345.6, "12346"),
            (3.1e-9, "3.1e-9"),
            (-0.000_2, "-0.0002"),
            (1e9, "1.0e9"),
            (f64::NAN, "NaN"),
        ] {
            assert_eq!(number(value), text);
        }
    }

    #[test]
    fn long_details_end_in_dots() {
        let long = details("é".repeat(3_000));
        assert_eq!(long.chars().count(), 1024);
        assert!(long.ends_with('…'));
    }
}

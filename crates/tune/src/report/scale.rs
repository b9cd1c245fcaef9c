//! Scales: where a number stands between the ends of an axis, and which round numbers are written beside it.

use kennel_report::ticks;

/// How numbers are spread over an axis.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Spread {
    /// Evenly.
    Linear,
    /// By their logarithm.
    Log,
    /// By the logarithm of their distance from 1.
    ReverseLog,
}

/// An axis of numbers from `low` to `high`, both finite, `low` not above `high`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Scale {
    pub(super) low: f64,
    pub(super) high: f64,
    pub(super) spread: Spread,
}

impl Scale {
    /// The scale from the smallest to the largest of the values; a spread that cannot hold them becomes linear.
    /// Values that are not finite or beyond all measure are left out.
    pub(super) fn over(values: impl IntoIterator<Item = f64>, spread: Spread) -> Self {
        let (low, high) = values
            .into_iter()
            .filter(|value| drawable(*value))
            .fold((f64::MAX, f64::MIN), |(low, high), value| (low.min(value), high.max(value)));
        let (low, high) = if low <= high { (low, high) } else { (0.0, 1.0) };
        let fits = match spread {
            Spread::Linear => true,
            Spread::Log => low > 0.0,
            Spread::ReverseLog => high < 1.0,
        };
        Self { low, high, spread: if fits { spread } else { Spread::Linear } }
    }

    /// The same with its ends moved outwards to round numbers, where it is linear.
    pub(super) fn rounded(self, count: usize) -> Self {
        if self.spread != Spread::Linear {
            return self;
        }
        let ticks = ticks(self.low, self.high, count);
        let (low, high) = (ticks.first(), ticks.last());
        Self {
            low: low.copied().unwrap_or(self.low),
            high: high.copied().unwrap_or(self.high),
            ..self
        }
    }

    fn bend(self, value: f64) -> f64 {
        match self.spread {
            Spread::Linear => value,
            Spread::Log => value.max(f64::MIN_POSITIVE).ln(),
            Spread::ReverseLog => -(1.0 - value).max(f64::MIN_POSITIVE).ln(),
        }
    }

    /// Where `value` stands, 0 at `low` and 1 at `high`; the middle of an axis that has one value only.
    pub(super) fn place(self, value: f64) -> f64 {
        let (low, high) = (self.bend(self.low), self.bend(self.high));
        let place = (self.bend(value) - low) / (high - low);
        if place.is_finite() { place.clamp(0.0, 1.0) } else { 0.5 }
    }

    /// Round numbers on the axis, at least one, at most about `count`, in order.
    pub(super) fn ticks(self, count: usize) -> Vec<f64> {
        let (low, high) = (self.low, self.high);
        let slack = (high - low) * 1e-9;
        let inside = |value: &f64| *value >= low - slack && *value <= high + slack;
        let mut found: Vec<f64> = match self.spread {
            Spread::Linear => Vec::new(),
            Spread::Log => log_ticks(low, high, count),
            Spread::ReverseLog => log_ticks(1.0 - high, 1.0 - low, count)
                .into_iter()
                .rev()
                .map(|far| 1.0 - far)
                .collect(),
        };
        if found.len() < 2 {
            found = ticks(low, high, count).into_iter().filter(inside).collect();
        }
        if found.len() < 2 {
            found = if high > low { vec![low, high] } else { vec![low] };
        }
        found
    }
}

/// Powers of ten between the ends, or their first multiples where there are too few.
fn log_ticks(low: f64, high: f64, count: usize) -> Vec<f64> {
    let inside = |value: &f64| *value >= low * 0.999_999 && *value <= high * 1.000_001;
    let (first, last) = (low.log10().floor() as i32, high.log10().ceil() as i32);
    let powers = |step: usize, factors: &[f64]| -> Vec<f64> {
        (first..=last)
            .filter(|power| power.rem_euclid(step as i32) == 0)
            .flat_map(|power| factors.iter().map(move |factor| (power, *factor)))
            // Parsed rather than multiplied, which keeps 0.001 what it is.
            .filter_map(|(power, factor)| format!("{factor}e{power}").parse().ok())
            .filter(inside)
            .collect()
    };
    for factors in [&[1.0, 2.0, 5.0][..], &[1.0, 3.0], &[1.0]] {
        let found = powers(1, factors);
        if found.len() <= count {
            return found;
        }
    }
    let step = (last - first).max(1) as usize;
    powers(step.div_ceil(count.max(2)).max(2), &[1.0])
}

/// Whether a number can be drawn: finite, and of a size that arithmetic stands.
pub(super) fn drawable(value: f64) -> bool {
    value.is_finite() && value.abs() < 1e30
}

/// A number with at most so many significant digits, without needless ones; `–` when it is not a number.
pub(super) fn number(value: f64, digits: usize) -> String {
    if !value.is_finite() {
        return "–".to_owned();
    }
    let round: f64 = format!("{value:.*e}", digits.saturating_sub(1)).parse().unwrap_or(value);
    let size = round.abs();
    if size == 0.0 {
        "0".to_owned()
    } else if (0.001..1_000_000.0).contains(&size) {
        format!("{round}")
    } else {
        format!("{round:e}")
    }
}

/// Seconds as people say them.
pub(super) fn duration(seconds: f64) -> String {
    if !seconds.is_finite() || seconds < 0.0 {
        return "–".to_owned();
    }
    let whole = seconds.round();
    if seconds < 9.95 {
        format!("{seconds:.1}\u{a0}s")
    } else if whole < 60.0 {
        format!("{whole}\u{a0}s")
    } else if whole < 3600.0 {
        format!("{}\u{a0}min {:02}\u{a0}s", (whole / 60.0).floor(), whole % 60.0)
    } else {
        let minutes = (seconds / 60.0).round();
        format!("{}\u{a0}h {:02}\u{a0}min", (minutes / 60.0).floor(), minutes % 60.0)
    }
}

/// The unit in which so many seconds are best told: its name and its length in seconds.
pub(super) fn unit_of_time(seconds: f64) -> (&'static str, f64) {
    if seconds < 180.0 {
        ("seconds", 1.0)
    } else if seconds < 3.0 * 3600.0 {
        ("minutes", 60.0)
    } else {
        ("hours", 3600.0)
    }
}

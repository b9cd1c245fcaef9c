//! When requests come: shapes of load, recorded ones, and the arrivals that follow from them.
//!
//! All but [`Trace::Timestamps`] say how many requests a second to expect; the arrivals themselves are a
//! Poisson process of that rate, drawn from a generator with a seed. The same trace and the same seed give
//! the same arrivals, so that a simulation and a real load can be put next to each other.

mod arrivals;
mod csv;

pub use arrivals::Arrivals;

/// The length in seconds of the pieces in which a curve is taken as level.
const PIECE_S: f64 = 1.0;
/// Sums over a trace end here, some three years on: they take a step for each piece.
const MOST_S: f64 = 1e8;

/// How many requests come, over the seconds from the start.
#[derive(Clone, Debug, PartialEq)]
pub enum Trace {
    /// Always the same.
    Constant {
        /// Requests a second.
        rps: f64,
    },
    /// From one level to another, and back if it ends.
    Step {
        /// Requests a second before (and after).
        low_rps: f64,
        /// Requests a second from `at_s` on.
        high_rps: f64,
        /// When it begins.
        at_s: f64,
        /// When it ends; `None` for never.
        until_s: Option<f64>,
    },
    /// Up to a peak and down again, both along a straight line.
    Spike {
        /// Requests a second before and after.
        base_rps: f64,
        /// Requests a second at the peak.
        peak_rps: f64,
        /// When it begins to rise.
        at_s: f64,
        /// How long it rises.
        rise_s: f64,
        /// How long it falls.
        fall_s: f64,
    },
    /// Day and night: a cosine between two levels.
    Diurnal {
        /// Requests a second in the deepest night.
        low_rps: f64,
        /// Requests a second at noon.
        high_rps: f64,
        /// The length of a day, 86,400 for a real one.
        period_s: f64,
        /// When the first peak is.
        peak_s: f64,
    },
    /// Exactly these arrivals: seconds from the start, ascending.
    Timestamps(Vec<f64>),
    /// How many requests each minute has; what comes after the last minute is nothing.
    PerMinute(Vec<f64>),
}

/// What is wrong with a trace.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TraceError {
    /// No request in it.
    #[error(
        "the trace has no requests\nhint: give one time a line, or `minute,requests` with that header"
    )]
    Empty,
    /// A line that cannot be read.
    #[error("line {line}, `{text}`: {reason}")]
    Line {
        /// Counted from 1.
        line: usize,
        /// Its beginning.
        text: String,
        /// What is wrong, and a hint.
        reason: String,
    },
    /// A number that no load has.
    #[error("{what} of the trace must be {must}, not `{value}`")]
    Number {
        /// Which.
        what: &'static str,
        /// What it has to be.
        must: &'static str,
        /// What it is.
        value: String,
    },
    /// Times that go backwards.
    #[error("the times of the trace do not ascend: number {number} comes before the one before it")]
    Order {
        /// Counted from 1.
        number: usize,
    },
}

impl Trace {
    /// Reads a recorded trace.
    ///
    /// Either one time a line, or two columns under the header `minute,requests`. A time is a number of
    /// seconds from the start, or seconds since 1970, or ISO 8601 (without a zone it is UTC); a minute is a
    /// number counted from the first or a time. The last two are taken relative to the beginning of the
    /// first minute, because alarms count in minutes. Times may come in any order; empty lines and those
    /// that begin with `#` are skipped. Minutes that are left out have no requests.
    ///
    /// # Errors
    /// With the line that cannot be read, and why.
    pub fn csv(text: &str) -> Result<Trace, TraceError> {
        csv::parse(text)
    }

    /// How long the trace itself lasts, where it has an end: recorded ones do.
    pub fn duration_s(&self) -> Option<f64> {
        match self {
            Trace::Timestamps(times) => times.last().copied(),
            Trace::PerMinute(minutes) => Some(minutes.len() as f64 * 60.0),
            _ => None,
        }
    }

    /// The arrivals before `duration_s`, in seconds from the start, ascending.
    ///
    /// # Errors
    /// As [`Trace::check`].
    pub fn arrivals(&self, duration_s: f64, seed: u64) -> Result<Arrivals<'_>, TraceError> {
        self.check()?;
        Ok(Arrivals::new(self, duration_s, seed))
    }

    /// How many requests are to be expected before `duration_s`, in the first three years.
    pub fn expected(&self, duration_s: f64) -> f64 {
        if let Trace::Timestamps(times) = self {
            return times.partition_point(|&t| t < duration_s) as f64;
        }
        let duration_s = duration_s.min(MOST_S);
        let (mut at, mut sum) = (0.0, 0.0);
        while at < duration_s {
            let (rate, until) = self.level(at);
            let end = until.min(duration_s);
            sum += rate * (end - at);
            at = end;
        }
        sum
    }

    /// The most requests a second that are expected at any time before `duration_s`; of
    /// [`Trace::Timestamps`] the most in a minute, a sixtieth of it.
    pub fn peak_rps(&self, duration_s: f64) -> f64 {
        let mut most: f64 = 0.0;
        if let Trace::Timestamps(times) = self {
            let mut first = 0;
            for (number, time) in times.iter().enumerate().take_while(|(_, t)| **t < duration_s) {
                while times.get(first).is_some_and(|t| t + 60.0 <= *time) {
                    first += 1;
                }
                most = most.max((number + 1 - first) as f64 / 60.0);
            }
            return most;
        }
        let duration_s = duration_s.min(MOST_S);
        let mut at = 0.0;
        while at < duration_s {
            let (rate, until) = self.level(at);
            most = most.max(rate);
            at = until;
        }
        most
    }

    /// Whether its numbers make sense.
    ///
    /// # Errors
    /// With the number that does not.
    pub fn check(&self) -> Result<(), TraceError> {
        let rate = |what: &'static str, value: f64| number(what, value, 0.0, "a number from 0 up");
        let time = |what: &'static str, value: f64| number(what, value, 0.0, "seconds from 0 up");
        match self {
            Trace::Constant { rps } => rate("the rate", *rps),
            Trace::Step { low_rps, high_rps, at_s, until_s } => {
                rate("the low rate", *low_rps)?;
                rate("the high rate", *high_rps)?;
                time("the beginning of the step", *at_s)?;
                match until_s {
                    Some(until) => {
                        number("the end of the step", *until, *at_s, "after its beginning")
                    }
                    None => Ok(()),
                }
            }
            Trace::Spike { base_rps, peak_rps, at_s, rise_s, fall_s } => {
                rate("the base rate", *base_rps)?;
                rate("the peak rate", *peak_rps)?;
                time("the beginning of the spike", *at_s)?;
                time("the rise of the spike", *rise_s)?;
                time("the fall of the spike", *fall_s)
            }
            Trace::Diurnal { low_rps, high_rps, period_s, peak_s } => {
                rate("the low rate", *low_rps)?;
                rate("the high rate", *high_rps)?;
                number("the period", *period_s, 1.0, "at least a second")?;
                // A phase: years of it only cost digits.
                let (what, must) =
                    ("the time of the peak", "a number of seconds, a few years at most");
                number(what, *peak_s, -MOST_S, must)?;
                number(what, -*peak_s, -MOST_S, must)
            }
            Trace::Timestamps(times) => {
                let mut before = 0.0;
                for (index, &at) in times.iter().enumerate() {
                    time("a time", at)?;
                    if at < before {
                        return Err(TraceError::Order { number: index + 1 });
                    }
                    before = at;
                }
                Ok(())
            }
            Trace::PerMinute(minutes) => {
                minutes.iter().try_for_each(|&requests| rate("the requests of a minute", requests))
            }
        }
    }

    /// Requests a second at `at_s`, and until when they stay so (later than `at_s`).
    fn level(&self, at_s: f64) -> (f64, f64) {
        // The piece of a curve that `at_s` is in: its middle and its end.
        let piece = |origin: f64| {
            let number = ((at_s - origin) / PIECE_S).floor();
            let end = origin + (number + 1.0) * PIECE_S;
            // Rounding must not leave us where we are.
            let end = if end > at_s { end } else { at_s + PIECE_S };
            (end - PIECE_S / 2.0, end)
        };
        match self {
            Trace::Constant { rps } => (*rps, f64::INFINITY),
            Trace::Step { low_rps, high_rps, at_s: begin, until_s } => {
                let end = until_s.unwrap_or(f64::INFINITY);
                if at_s < *begin {
                    (*low_rps, *begin)
                } else if at_s < end {
                    (*high_rps, end)
                } else {
                    (*low_rps, f64::INFINITY)
                }
            }
            Trace::Spike { base_rps, peak_rps, at_s: begin, rise_s, fall_s } => {
                let (top, end) = (begin + rise_s, begin + rise_s + fall_s);
                if at_s < *begin {
                    return (*base_rps, *begin);
                }
                if at_s >= end {
                    return (*base_rps, f64::INFINITY);
                }
                let (origin, stop) = if at_s < top { (*begin, top) } else { (top, end) };
                let (_, until) = piece(origin);
                let until = until.min(stop);
                let middle = (at_s + until) / 2.0;
                let share =
                    if at_s < top { (middle - begin) / rise_s } else { (end - middle) / fall_s };
                (base_rps + (peak_rps - base_rps) * share.clamp(0.0, 1.0), until)
            }
            Trace::Diurnal { low_rps, high_rps, period_s, peak_s } => {
                let (middle, until) = piece(0.0);
                let angle = std::f64::consts::TAU * (middle - peak_s) / period_s;
                let share = (1.0 + libm::cos(angle)) / 2.0;
                (low_rps + (high_rps - low_rps) * share, until)
            }
            Trace::PerMinute(minutes) => {
                let minute = (at_s / 60.0).floor();
                match minutes.get(minute as usize) {
                    Some(requests) => (requests / 60.0, (minute + 1.0) * 60.0),
                    None => (0.0, f64::INFINITY),
                }
            }
            Trace::Timestamps(_) => (0.0, f64::INFINITY),
        }
    }
}

fn number(
    what: &'static str,
    value: f64,
    least: f64,
    must: &'static str,
) -> Result<(), TraceError> {
    if value.is_finite() && value >= least {
        return Ok(());
    }
    Err(TraceError::Number { what, must, value: value.to_string() })
}

#[cfg(test)]
mod tests;

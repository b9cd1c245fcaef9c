//! Which datapoints a query asks for: periods, rounding of its start, and the bucket of a time. All in
//! seconds since 1970.

use kennel_wire::ServiceError;

use super::error::invalid_value;

const DAY: i64 = 86_400;
/// How long points of one second are kept.
pub(super) const SECONDS_KEPT: i64 = 3 * 3600;
/// How long points of one minute are kept.
pub(super) const MINUTES_KEPT: i64 = 15 * DAY;

/// A query's time range, cut into periods from its (rounded) start on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) start: i64,
    /// Exclusive.
    pub(super) end: i64,
    pub(super) period: i64,
}

impl Span {
    /// Checks the period and rounds the start down: to the minute, or to the period if that is shorter,
    /// or to five minutes (an hour) when it is more than 15 (63) days ago. Datapoints begin there, not
    /// at multiples of the period; see the example in
    /// <https://docs.aws.amazon.com/cli/latest/reference/cloudwatch/get-metric-statistics.html>.
    pub(super) fn new(start: f64, end: f64, period: i64, now: i64) -> Result<Self, ServiceError> {
        if !matches!(period, 1 | 5 | 10 | 20 | 30) && (period < 60 || period % 60 != 0) {
            return Err(invalid_value(
                "The parameter Period must be 1, 5, 10, 20, 30 or a multiple of 60.",
            ));
        }
        // A cast saturates; no time of AWS is near the ends.
        let (start, end) = (start.floor() as i64, end.ceil() as i64);
        let age = now.saturating_sub(start);
        let grain = match () {
            () if period < 60 => period,
            () if age <= 15 * DAY => 60,
            () if age <= 63 * DAY => 300,
            () => 3600,
        };
        Ok(Span { start: floor(start, grain), end, period })
    }

    /// How many datapoints there can be.
    pub(super) fn datapoints(self) -> i64 {
        let length = self.end.saturating_sub(self.start).max(0);
        length.saturating_add(self.period - 1) / self.period
    }

    /// The datapoint that a time within the span belongs to.
    pub(super) fn bucket(self, time: i64) -> i64 {
        self.start + floor(time - self.start, self.period)
    }

    /// The resolution that is read: points of one second or of one minute.
    pub(super) fn resolution(self) -> i64 {
        if self.period < 60 { 1 } else { 60 }
    }
}

/// The multiple of `grain` at or before `time`.
pub(super) fn floor(time: i64, grain: i64) -> i64 {
    time.saturating_sub(time.rem_euclid(grain))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: i64 = 1_800_000_000;

    #[test]
    fn starts_are_rounded_by_age_and_period() {
        let start = |age: i64, period| {
            Span::new((NOW - age) as f64 + 0.5, NOW as f64, period, NOW).unwrap().start
        };
        let minute = floor(NOW - 100, 60);
        assert_eq!(start(100, 60), minute);
        assert_eq!(start(100, 3600), minute);
        assert_eq!(start(7, 10), NOW - 10);
        assert_eq!(start(20 * DAY + 7, 60), floor(NOW - 20 * DAY - 7, 300));
        assert_eq!(start(70 * DAY + 7, 60), floor(NOW - 70 * DAY - 7, 3600));
        for period in [0, 2, 45, 61, 90] {
            assert!(Span::new(0.0, 1.0, period, NOW).is_err(), "{period}");
        }
    }

    proptest! {
        #[test]
        fn each_time_is_in_its_own_datapoint(start in 0..1_000_000_i64, length in 1..100_000_i64, at in 0.0..1.0_f64, period in prop::sample::select(vec![1, 10, 60, 300, 3600])) {
            let span = Span::new(start as f64, (start + length) as f64, period, start + length).unwrap();
            let time = start + (length as f64 * at) as i64;
            let bucket = span.bucket(time);
            prop_assert!(bucket <= time && time < bucket + period);
            prop_assert_eq!((bucket - span.start) % period, 0);
            prop_assert!((bucket - span.start) / period < span.datapoints());
        }

        #[test]
        fn no_range_overflows(start in any::<f64>(), end in any::<f64>()) {
            if let Ok(span) = Span::new(start, end, 60, NOW) {
                prop_assert!(span.datapoints() >= 0);
            }
        }
    }
}

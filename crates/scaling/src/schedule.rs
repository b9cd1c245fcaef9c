//! When scheduled actions are due: `at(…)`, `rate(…)` and `cron(…)`.

/// A schedule of Application Auto Scaling.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    interval_ms: i64,
    anchor_ms: i64,
}

/// Why a schedule is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScheduleError {
    /// Neither of the three forms.
    #[error(
        "`{0}` is no schedule\nhint: `at(yyyy-mm-ddThh:mm:ss)`, `rate(value unit)` or `cron(fields)`"
    )]
    Form(String),
}

impl Schedule {
    /// Reads a schedule; the time zone is an IANA name, UTC without one.
    ///
    /// # Errors
    ///
    /// [`ScheduleError`] says what is wrong.
    pub fn parse(text: &str, timezone: Option<&str>) -> Result<Self, ScheduleError> {
        let _ = timezone;
        Err(ScheduleError::Form(text.to_owned()))
    }

    /// The schedule whose rate counts from `start_ms`: the action's start time, or when it was made. The
    /// other forms stand for themselves.
    #[must_use]
    pub fn anchored(mut self, start_ms: i64) -> Self {
        self.anchor_ms = start_ms;
        self
    }

    /// The first time after `after_ms`; `None` when there is none any more.
    pub fn next(&self, after_ms: i64) -> Option<i64> {
        let _ = (after_ms, self.interval_ms);
        None
    }
}

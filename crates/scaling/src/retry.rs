//! When an asynchronous invocation is tried again, and when it is given up.
//!
//! AWS tries twice more after a function error, one minute and then two minutes later. Throttles and errors
//! of the service are not the function's: they are tried again for as long as the event may live, after waits
//! that double from one second to five minutes.
//! <https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-error-handling.html>

/// The longest wait after a throttle or an error of the service, at a scale of 1.
const LONGEST_BACKOFF_MS: i64 = 300_000;
const FIRST_BACKOFF_MS: i64 = 1_000;
const MINUTE_MS: i64 = 60_000;

/// How asynchronous invocations of a function are tried again.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Policy {
    /// AWS's `MaximumRetryAttempts`, 0 to 2: tries after the first one that ended in a function error.
    pub maximum_retry_attempts: u32,
    /// AWS's `MaximumEventAgeInSeconds`, 60 to 21,600.
    pub maximum_event_age_s: u32,
    /// Multiplies all waits, but not the age: below 1 for tests and for impatient developers.
    pub wait_scale: f64,
}

impl Default for Policy {
    fn default() -> Self {
        Self { maximum_retry_attempts: 2, maximum_event_age_s: 21_600, wait_scale: 1.0 }
    }
}

/// How one attempt failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The function ran and failed: its code, its runtime, its time limit.
    FunctionError,
    /// The invocation was not admitted (429).
    Throttled,
    /// The service failed (5xx).
    SystemError,
}

/// The attempts so far, with the one that has just failed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Attempts {
    /// Those that ended in a function error.
    pub function_errors: u32,
    /// Those that were throttled or failed in the service.
    pub not_run: u32,
}

impl Attempts {
    /// The attempts with one more that ended in `outcome`.
    #[must_use]
    pub fn and(self, outcome: Outcome) -> Self {
        match outcome {
            Outcome::FunctionError => {
                Self { function_errors: self.function_errors.saturating_add(1), ..self }
            }
            Outcome::Throttled | Outcome::SystemError => {
                Self { not_run: self.not_run.saturating_add(1), ..self }
            }
        }
    }
}

/// Why an event is given up: the `condition` of the record that its destination receives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// The function failed as often as it may.
    RetriesExhausted,
    /// The event is too old, or would be before the next attempt.
    EventAgeExceeded,
}

impl Condition {
    /// AWS's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::RetriesExhausted => "RetriesExhausted",
            Self::EventAgeExceeded => "EventAgeExceeded",
        }
    }
}

/// What becomes of an event whose attempt has failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Try again after so many milliseconds.
    RetryAfter(i64),
    /// Give up, and tell the dead-letter queue or the failure destination.
    Discard {
        /// Why.
        condition: Condition,
    },
}

impl Policy {
    /// What becomes of an event that is `age_ms` old and whose last attempt ended in `outcome`; `attempts`
    /// counts that attempt.
    ///
    /// An event whose next attempt would come too late is given up at once: AWS keeps it until it has expired
    /// and gives it up then, with the same record.
    pub fn next(&self, attempts: Attempts, age_ms: i64, outcome: Outcome) -> Decision {
        let wait_ms = match outcome {
            Outcome::FunctionError if attempts.function_errors > self.maximum_retry_attempts => {
                return Decision::Discard { condition: Condition::RetriesExhausted };
            }
            Outcome::FunctionError => {
                MINUTE_MS.saturating_mul(i64::from(attempts.function_errors.max(1)))
            }
            Outcome::Throttled | Outcome::SystemError => {
                // 2^9 seconds is beyond the longest wait already.
                let doublings = attempts.not_run.saturating_sub(1).min(9);
                (FIRST_BACKOFF_MS << doublings).min(LONGEST_BACKOFF_MS)
            }
        };
        let wait_ms = scaled(wait_ms, self.wait_scale);
        if self.expired(age_ms.saturating_add(wait_ms)) {
            return Decision::Discard { condition: Condition::EventAgeExceeded };
        }
        Decision::RetryAfter(wait_ms)
    }

    /// Whether an event of that age may no longer be sent to its function. To be asked also before the first
    /// attempt: an event can expire in a long queue.
    pub fn expired(&self, age_ms: i64) -> bool {
        age_ms > i64::from(self.maximum_event_age_s) * 1_000
    }
}

/// A wait times the scale; a scale that is no positive number means no wait.
fn scaled(wait_ms: i64, scale: f64) -> i64 {
    // Casts from floating point saturate, and NaN becomes 0.
    ((wait_ms as f64 * scale).round() as i64).max(0)
}

#[cfg(test)]
mod tests;

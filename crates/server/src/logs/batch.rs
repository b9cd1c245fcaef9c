//! The rules of one PutLogEvents call.

use kennel_wire::ServiceError;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::error::invalid;

/// What AWS counts for an event beside its message.
pub(super) const EVENT_OVERHEAD: usize = 26;
const MAX_BATCH_BYTES: usize = 1_048_576;
const MAX_BATCH_EVENTS: usize = 10_000;
const HOUR: i64 = 3_600_000;
const DAY: i64 = 24 * HOUR;

/// One event as it is given.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct InputEvent {
    /// Milliseconds since 1970.
    pub(super) timestamp: i64,
    /// The message, at least one character.
    pub(super) message: String,
}

/// Which events of a batch are stored: `first..end`; the others are named in `rejected`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Accepted {
    pub(super) first: usize,
    pub(super) end: usize,
    /// Members of `rejectedLogEventsInfo`; empty when everything is stored.
    pub(super) rejected: Map<String, Value>,
}

/// Applies AWS's constraints:
/// <https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_PutLogEvents.html>.
/// `retention` is the group's, in days.
///
/// # Errors
/// `InvalidParameterException` when the whole batch is refused.
pub(super) fn check(
    events: &[InputEvent],
    now: i64,
    retention: Option<i64>,
) -> Result<Accepted, ServiceError> {
    if events.len() > MAX_BATCH_EVENTS {
        return Err(invalid(format!(
            "Number of log events {} exceeds limit of {MAX_BATCH_EVENTS}",
            events.len()
        )));
    }
    if events.iter().any(|event| event.message.is_empty()) {
        return Err(invalid("Log event message must not be empty."));
    }
    let bytes: usize = events.iter().map(|event| event.message.len() + EVENT_OVERHEAD).sum();
    if bytes > MAX_BATCH_BYTES {
        return Err(invalid(format!(
            "Upload too large: {bytes} bytes exceeds limit of {MAX_BATCH_BYTES}"
        )));
    }
    if events.windows(2).any(|pair| pair[0].timestamp > pair[1].timestamp) {
        return Err(invalid(
            "Log events in a single PutLogEvents request must be in chronological order.",
        ));
    }
    let before = |limit: i64| events.partition_point(|event| event.timestamp < limit);
    let too_old = before(now.saturating_sub(14 * DAY));
    let expired = retention.map_or(0, |days| before(now.saturating_sub(days.saturating_mul(DAY))));
    let end = events.partition_point(|event| event.timestamp <= now.saturating_add(2 * HOUR));
    let first = too_old.max(expired).min(end);
    if let [oldest, .., newest] = &events[first..end]
        && newest.timestamp.saturating_sub(oldest.timestamp) > DAY
    {
        return Err(invalid(
            "The batch of log events in a single PutLogEvents request cannot span more than 24 hours.",
        ));
    }
    let mut rejected = Map::new();
    if end < events.len() {
        rejected.insert("tooNewLogEventStartIndex".to_owned(), end.into());
    }
    if too_old > 0 {
        rejected.insert("tooOldLogEventEndIndex".to_owned(), too_old.into());
    }
    if expired > 0 {
        rejected.insert("expiredLogEventEndIndex".to_owned(), expired.into());
    }
    Ok(Accepted { first, end, rejected })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: i64 = 1_800_000_000_000;

    fn at(times: &[i64]) -> Vec<InputEvent> {
        times
            .iter()
            .map(|&timestamp| InputEvent { timestamp, message: "line".to_owned() })
            .collect()
    }

    #[test]
    fn old_expired_and_future_events_are_named() {
        let events = at(&[NOW - 15 * DAY, NOW - 2 * DAY, NOW, NOW + 3 * HOUR]);
        let accepted = check(&events, NOW, Some(1)).unwrap();
        assert_eq!((accepted.first, accepted.end), (2, 3));
        assert_eq!(
            Value::Object(accepted.rejected),
            serde_json::json!({"tooNewLogEventStartIndex": 3, "tooOldLogEventEndIndex": 1, "expiredLogEventEndIndex": 2})
        );
        assert!(check(&at(&[NOW]), NOW, None).unwrap().rejected.is_empty());
    }

    #[test]
    fn whole_batches_are_refused() {
        let message = |events: &[InputEvent]| check(events, NOW, None).unwrap_err().message;
        assert!(message(&at(&[NOW, NOW - 1])).contains("chronological"));
        assert!(message(&at(&[NOW - 2 * DAY, NOW])).contains("24 hours"));
        assert!(message(&at(&vec![NOW; 10_001])).contains("exceeds limit of 10000"));
        let large = InputEvent { timestamp: NOW, message: "x".repeat(MAX_BATCH_BYTES - 25) };
        assert_eq!(message(&[large]), "Upload too large: 1048577 bytes exceeds limit of 1048576");
    }

    proptest! {
        #[test]
        fn what_is_accepted_is_in_the_window(mut times in prop::collection::vec(-20..2_i64, 0..20), retention in prop::option::of(1..30_i64)) {
            times.sort_unstable();
            let events = at(&times.iter().map(|hours| NOW + hours * 20 * HOUR).collect::<Vec<_>>());
            if let Ok(accepted) = check(&events, NOW, retention) {
                for (index, event) in events.iter().enumerate() {
                    let fits = event.timestamp >= NOW - 14 * DAY
                        && event.timestamp <= NOW + 2 * HOUR
                        && retention.is_none_or(|days| event.timestamp >= NOW - days * DAY);
                    prop_assert_eq!(fits, (accepted.first..accepted.end).contains(&index));
                }
            }
        }
    }
}

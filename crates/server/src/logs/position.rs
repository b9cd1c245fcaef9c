//! Where a reader is: positions between events, and the tokens and ids that carry them. A position is
//! the first event at or after it, so that a forward page (events from it on) and a backward page
//! (events before it) meet without overlap.

use super::error::invalid;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use kennel_wire::ServiceError;

/// A place between two events of one stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Position {
    /// Milliseconds since 1970.
    pub(super) time: i64,
    /// The event's number in its stream.
    pub(super) sequence: i64,
}

/// Which way a page goes from its position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    /// Events from the position on.
    Forward,
    /// Events before the position.
    Backward,
}

impl Position {
    /// Before every event from `time` on.
    pub(super) fn from_time(time: i64) -> Self {
        Position { time, sequence: 0 }
    }

    /// After every event of this time.
    pub(super) fn after_time(self) -> Self {
        match self.time.checked_add(1) {
            Some(time) => Position { time, sequence: 0 },
            None => Position { sequence: i64::MAX, ..self },
        }
    }

    /// Directly after the event here.
    pub(super) fn next(self) -> Self {
        Position { sequence: self.sequence.saturating_add(1), ..self }
    }

    /// `f/…` or `b/…`, with 56 digits as AWS writes it.
    pub(super) fn token(self, direction: Direction) -> String {
        let prefix = match direction {
            Direction::Forward => 'f',
            Direction::Backward => 'b',
        };
        format!("{prefix}/{:020}{:036}", self.time.max(0), self.sequence.max(0))
    }

    /// Reads a token of GetLogEvents.
    pub(super) fn parse(token: &str) -> Result<(Self, Direction), ServiceError> {
        let (direction, digits) = match token.split_at_checked(2) {
            Some(("f/", digits)) => (Direction::Forward, digits),
            Some(("b/", digits)) => (Direction::Backward, digits),
            _ => return Err(bad_token()),
        };
        let [time, sequence] = numbers(digits, [20, 36])?;
        Ok((Position { time, sequence }, direction))
    }
}

/// A place between two events of a group: ordered by time, then stream, then number in the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct GroupPosition {
    /// Milliseconds since 1970.
    pub(super) time: i64,
    /// The stream's id.
    pub(super) stream: i64,
    /// The event's number in its stream.
    pub(super) sequence: i64,
}

impl GroupPosition {
    /// 56 digits: the event's id, and the token of a page that starts there. Ids sort by time.
    pub(super) fn id(self) -> String {
        format!("{:020}{:018}{:018}", self.time.max(0), self.stream, self.sequence)
    }

    /// Reads a token of FilterLogEvents.
    pub(super) fn parse(token: &str) -> Result<Self, ServiceError> {
        let [time, stream, sequence] = numbers(token, [20, 18, 18])?;
        Ok(GroupPosition { time, stream, sequence })
    }

    /// What this position is inside one of the group's streams.
    pub(super) fn within(self, stream: i64) -> Position {
        match stream.cmp(&self.stream) {
            std::cmp::Ordering::Less => Position::from_time(self.time.saturating_add(1)),
            std::cmp::Ordering::Equal => Position { time: self.time, sequence: self.sequence },
            std::cmp::Ordering::Greater => Position::from_time(self.time),
        }
    }

    /// Directly after the event here.
    pub(super) fn next(self) -> Self {
        GroupPosition { sequence: self.sequence.saturating_add(1), ..self }
    }
}

/// Splits a string of digits into numbers of the given widths.
fn numbers<const N: usize>(digits: &str, widths: [usize; N]) -> Result<[i64; N], ServiceError> {
    if digits.len() != widths.iter().sum::<usize>() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(bad_token());
    }
    let mut rest = digits;
    let mut out = [0; N];
    for (number, width) in out.iter_mut().zip(widths) {
        let (head, tail) = rest.split_at(width);
        *number = head.parse().map_err(|_| bad_token())?;
        rest = tail;
    }
    Ok(out)
}

/// The key of the last row of a list page, as an opaque token.
pub(super) fn list_token(time: i64, name: &str) -> String {
    URL_SAFE_NO_PAD.encode(format!("{time}:{name}"))
}

/// Reads [`list_token`].
pub(super) fn parse_list_token(token: &str) -> Result<(i64, String), ServiceError> {
    let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| bad_token())?;
    let text = String::from_utf8(bytes).map_err(|_| bad_token())?;
    let (time, name) = text.split_once(':').ok_or_else(bad_token)?;
    Ok((time.parse().map_err(|_| bad_token())?, name.to_owned()))
}

fn bad_token() -> ServiceError {
    invalid("The specified nextToken is invalid.")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn tokens_come_back(time in 0..i64::MAX, stream in 0..10_i64.pow(17), sequence in 0..10_i64.pow(17)) {
            let position = Position { time, sequence };
            for direction in [Direction::Forward, Direction::Backward] {
                prop_assert_eq!(Position::parse(&position.token(direction)).unwrap(), (position, direction));
            }
            let place = GroupPosition { time, stream, sequence };
            prop_assert_eq!(GroupPosition::parse(&place.id()).unwrap(), place);
        }

        #[test]
        fn ids_sort_as_positions_do(
            a in (0..5_i64, 0..5_i64, 0..5_i64), b in (0..5_i64, 0..5_i64, 0..5_i64)
        ) {
            let place = |(time, stream, sequence)| GroupPosition { time, stream, sequence };
            prop_assert_eq!(place(a).cmp(&place(b)), place(a).id().cmp(&place(b).id()));
            // An event is after a position of the group exactly if it is after it inside its stream.
            let event = Position { time: b.0, sequence: b.2 };
            prop_assert_eq!(place(b) >= place(a), event >= place(a).within(b.1));
        }

        #[test]
        fn no_token_panics(token in ".*") {
            let _ = Position::parse(&token);
            let _ = GroupPosition::parse(&token);
            let _ = parse_list_token(&token);
        }

        #[test]
        fn list_tokens_come_back(time in any::<i64>(), name in ".*") {
            prop_assert_eq!(parse_list_token(&list_token(time, &name)).unwrap(), (time, name));
        }
    }
}

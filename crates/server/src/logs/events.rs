//! Operations on log events: PutLogEvents, GetLogEvents, FilterLogEvents.

use std::collections::{BTreeMap, VecDeque};

use kennel_store::state::rusqlite::Connection;
use serde::Deserialize;
use serde_json::{Value, json};

use super::batch::{self, EVENT_OVERHEAD, InputEvent};
use super::error::{invalid, no_stream};
use super::groups::{find_group, find_stream, one_group};
use super::pattern::Pattern;
use super::position::{Direction, GroupPosition, Position};
use super::store::{self, Event, Range, Stream};
use super::{Logs, LogsError};
use crate::context::Context;

/// Events of a page, at most and by default.
const PAGE_EVENTS: usize = 10_000;
/// Bytes of a page, as AWS counts them.
const PAGE_BYTES: usize = 1 << 20;
/// Events that one FilterLogEvents call looks at; then it answers what it has and a token.
const SCAN_EVENTS: usize = 50_000;
/// What is read from one stream at a time while streams are merged.
const CHUNK_EVENTS: usize = 500;
const CHUNK_BYTES: usize = 256 << 10;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PutEvents {
    log_group_name: String,
    log_stream_name: String,
    log_events: Vec<InputEvent>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct GetEvents {
    log_group_name: Option<String>,
    log_group_identifier: Option<String>,
    log_stream_name: String,
    start_time: Option<i64>,
    end_time: Option<i64>,
    next_token: Option<String>,
    limit: Option<usize>,
    #[serde(default)]
    start_from_head: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct FilterEvents {
    log_group_name: Option<String>,
    log_group_identifier: Option<String>,
    log_stream_names: Option<Vec<String>>,
    log_stream_name_prefix: Option<String>,
    start_time: Option<i64>,
    end_time: Option<i64>,
    filter_pattern: Option<String>,
    next_token: Option<String>,
    limit: Option<usize>,
    start_from_head: Option<bool>,
}

fn page_size(limit: Option<usize>) -> usize {
    limit.unwrap_or(PAGE_EVENTS).clamp(1, PAGE_EVENTS)
}

impl Logs {
    pub(super) async fn put_events(
        &self,
        context: &Context,
        input: PutEvents,
    ) -> Result<Value, LogsError> {
        let now = context.now.0;
        self.write(move |c| {
            let (group, stream) = find_stream(c, &input.log_group_name, &input.log_stream_name)?;
            let accepted = batch::check(&input.log_events, now, group.retention)?;
            let events = &input.log_events[accepted.first..accepted.end];
            if !events.is_empty() {
                let events = events.iter().map(|event| (event.timestamp, event.message.as_str()));
                store::append(c, &stream, events, now, false)?;
            }
            // AWS still answers a sequence token, and ignores what comes back.
            let mut answer =
                json!({ "nextSequenceToken": format!("{:056}", stream.next_sequence) });
            if !accepted.rejected.is_empty() {
                answer["rejectedLogEventsInfo"] = accepted.rejected.into();
            }
            Ok(answer)
        })
        .await
    }

    pub(super) async fn get_events(&self, input: GetEvents) -> Result<Value, LogsError> {
        let group = one_group(input.log_group_name, input.log_group_identifier)?;
        let from = input.start_time.unwrap_or(0);
        // The end is exclusive here (and inclusive in FilterLogEvents).
        let to = input.end_time.map_or(i64::MAX, |end| end.saturating_sub(1));
        let (position, direction) = match input.next_token.as_deref() {
            Some(token) => Position::parse(token)?,
            None if input.start_from_head => (Position::from_time(from), Direction::Forward),
            None => (Position { time: i64::MAX, sequence: i64::MAX }, Direction::Backward),
        };
        let range = Range {
            position,
            direction,
            from,
            to,
            limit: page_size(input.limit),
            bytes: PAGE_BYTES,
        };
        let mut events = self
            .read(move |c| {
                let (_, stream) = find_stream(c, &group, &input.log_stream_name)?;
                Ok(store::events(c, stream.id, range)?)
            })
            .await?;
        if direction == Direction::Backward {
            events.reverse();
        }
        let (back, forth) = match (events.first(), events.last()) {
            (Some(first), Some(last)) => (first.position, last.position.next()),
            // At an end the token that was given comes back; what arrives later is found with it. The
            // newest end of a stream without events is where it will begin.
            _ if position.time == i64::MAX => {
                (Position::from_time(from), Position::from_time(from))
            }
            _ => (position, position),
        };
        Ok(json!({
            "events": events.into_iter().map(|event| json!({
                "timestamp": event.position.time,
                "message": event.message,
                "ingestionTime": event.ingested,
            })).collect::<Vec<_>>(),
            "nextForwardToken": forth.token(Direction::Forward),
            "nextBackwardToken": back.token(Direction::Backward),
        }))
    }

    pub(super) async fn filter_events(&self, input: FilterEvents) -> Result<Value, LogsError> {
        let group = one_group(input.log_group_name, input.log_group_identifier)?;
        if input.log_stream_names.is_some() && input.log_stream_name_prefix.is_some() {
            return Err(invalid(
                "logStreamNamePrefix and logStreamNames cannot both be specified.",
            )
            .into());
        }
        let pattern = Pattern::parse(input.filter_pattern.as_deref().unwrap_or_default())?;
        let (from, to) = (input.start_time.unwrap_or(0), input.end_time.unwrap_or(i64::MAX));
        let direction = match input.start_from_head {
            Some(false) => Direction::Backward,
            _ => Direction::Forward,
        };
        let start = match (input.next_token.as_deref(), direction) {
            (Some(token), _) => GroupPosition::parse(token)?,
            (None, Direction::Forward) => GroupPosition { time: from, stream: 0, sequence: 0 },
            (None, Direction::Backward) => {
                GroupPosition { time: to, stream: i64::MAX, sequence: i64::MAX }
            }
        };
        let limit = page_size(input.limit);
        let (names, prefix) = (input.log_stream_names, input.log_stream_name_prefix);
        self.read(move |c| {
            let group = find_group(c, &group)?;
            let streams = match names {
                Some(names) => named_streams(c, group.id, names)?,
                None => {
                    let prefix = prefix.unwrap_or_default();
                    store::streams_with_events(c, group.id, &prefix, from, to)?
                }
            };
            let mut merge = Merge::new(c, streams, start, Window { from, to, direction });
            let (mut events, mut bytes, mut scanned) = (Vec::new(), 0, 0);
            let mut next = None;
            while let Some((name, at, event)) = merge.next()? {
                let size = event.message.len() + EVENT_OVERHEAD;
                let full =
                    events.len() == limit || (bytes + size > PAGE_BYTES && !events.is_empty());
                let matches = pattern.matches(&event.message);
                if scanned == SCAN_EVENTS || (full && matches) {
                    // The next page begins with this event.
                    next = Some(if direction == Direction::Forward { at } else { at.next() });
                    break;
                }
                scanned += 1;
                if matches {
                    bytes += size;
                    events.push(json!({
                        "logStreamName": name,
                        "timestamp": at.time,
                        "message": event.message,
                        "ingestionTime": event.ingested,
                        "eventId": at.id(),
                    }));
                }
            }
            // AWS answers an empty list of searched streams since 2020.
            let mut answer = json!({ "events": events, "searchedLogStreams": [] });
            if let Some(next) = next {
                answer["nextToken"] = next.id().into();
            }
            Ok(answer)
        })
        .await
    }
}

fn named_streams(
    c: &Connection,
    group: i64,
    mut names: Vec<String>,
) -> Result<Vec<Stream>, LogsError> {
    names.sort_unstable();
    names.dedup();
    names.iter().map(|name| Ok(store::stream(c, group, name)?.ok_or_else(no_stream)?)).collect()
}

/// The times and the direction of a merge.
#[derive(Debug, Clone, Copy)]
struct Window {
    from: i64,
    to: i64,
    direction: Direction,
}

/// A stream in a merge, with the events that were read ahead.
struct Cursor {
    stream: Stream,
    ahead: VecDeque<Event>,
}

/// The events of many streams in one order. A stream is read only once its turn has come, in chunks.
struct Merge<'c> {
    connection: &'c Connection,
    window: Window,
    start: GroupPosition,
    /// By the place of the next event; for streams not yet read, a place not after it.
    cursors: BTreeMap<GroupPosition, Cursor>,
}

impl<'c> Merge<'c> {
    fn new(
        connection: &'c Connection,
        streams: Vec<Stream>,
        start: GroupPosition,
        window: Window,
    ) -> Self {
        let mut merge = Merge { connection, window, start, cursors: BTreeMap::new() };
        for stream in streams {
            let (Some(first), Some(last)) = (stream.first_time, stream.last_time) else { continue };
            let place = match window.direction {
                Direction::Forward => {
                    GroupPosition { time: first.max(start.time), stream: stream.id, sequence: -1 }
                }
                Direction::Backward => GroupPosition {
                    time: last.min(start.time),
                    stream: stream.id,
                    sequence: i64::MAX,
                },
            };
            merge.cursors.insert(place, Cursor { stream, ahead: VecDeque::new() });
        }
        merge
    }

    fn next(&mut self) -> Result<Option<(String, GroupPosition, Event)>, LogsError> {
        loop {
            let entry = match self.window.direction {
                Direction::Forward => self.cursors.pop_first(),
                Direction::Backward => self.cursors.pop_last(),
            };
            let Some((place, mut cursor)) = entry else { return Ok(None) };
            let Some(event) = cursor.ahead.pop_front() else {
                // Its turn has come for the first time: now its first event decides.
                let position = self.start.within(cursor.stream.id);
                self.read_ahead(cursor, position)?;
                continue;
            };
            let name = cursor.stream.name.clone();
            if cursor.ahead.is_empty() {
                let position = match self.window.direction {
                    Direction::Forward => event.position.next(),
                    Direction::Backward => event.position,
                };
                self.read_ahead(cursor, position)?;
            } else {
                self.put_back(cursor);
            }
            return Ok(Some((name, place, event)));
        }
    }

    /// Reads the next chunk; a stream that has no more leaves the merge.
    fn read_ahead(&mut self, mut cursor: Cursor, position: Position) -> Result<(), LogsError> {
        let Window { from, to, direction } = self.window;
        let range =
            Range { position, direction, from, to, limit: CHUNK_EVENTS, bytes: CHUNK_BYTES };
        cursor.ahead = store::events(self.connection, cursor.stream.id, range)?.into();
        self.put_back(cursor);
        Ok(())
    }

    fn put_back(&mut self, cursor: Cursor) {
        if let Some(event) = cursor.ahead.front() {
            let Position { time, sequence } = event.position;
            let place = GroupPosition { time, stream: cursor.stream.id, sequence };
            self.cursors.insert(place, cursor);
        }
    }
}

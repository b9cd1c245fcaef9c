//! What happened to alarms: items as CloudWatch writes them, and DescribeAlarmHistory.
//!
//! The JSON of items is told by the example of
//! <https://docs.aws.amazon.com/cli/latest/reference/cloudwatch/describe-alarm-history.html> and by
//! answers of AWS that are public.

use kennel_scaling::alarm::State;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::describe::described;
use super::reason::{Words, moment};
use super::rows::{self, Past, Row};
use super::{Alarms, MetricsError};
use crate::cloudwatch::error::bad_token;
use crate::context::Timestamp;

/// What the model allows in `HistoryData`.
const MOST_DATA: usize = 4_095;
/// And in `HistorySummary`.
const MOST_SUMMARY: usize = 255;
/// Items of a page, at most and by default.
const PAGE: i64 = 100;

/// AWS's `HistoryItemType`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    ConfigurationUpdate,
    StateUpdate,
    Action,
}

impl Kind {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Kind::ConfigurationUpdate => "ConfigurationUpdate",
            Kind::StateUpdate => "StateUpdate",
            Kind::Action => "Action",
        }
    }

    pub(super) fn named(name: &str) -> Self {
        match name {
            "StateUpdate" => Kind::StateUpdate,
            "Action" => Kind::Action,
            _ => Kind::ConfigurationUpdate,
        }
    }
}

/// One thing that happened.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Item {
    pub(super) name: String,
    pub(super) time: Timestamp,
    pub(super) kind: Kind,
    pub(super) summary: String,
    /// JSON.
    pub(super) data: String,
}

/// An alarm was made, changed or deleted: `change` is `Create`, `Update` or `Delete`.
pub(super) fn configured(time: Timestamp, change: &str, alarm: &Row) -> Item {
    let verb = match change {
        "Create" => "created",
        "Update" => "updated",
        _ => "deleted",
    };
    let member = format!("{verb}Alarm");
    let whole = json!({
        "version": "1.0", "type": change, member.clone(): in_history(alarm)
    });
    let data = fitting([
        whole,
        // Many long actions do not fit; the name says which alarm it was.
        json!({ "version": "1.0", "type": change, member: { "alarmName": alarm.spec.name } }),
    ]);
    Item {
        name: alarm.spec.name.clone(),
        time,
        kind: Kind::ConfigurationUpdate,
        summary: cut(&format!("Alarm \"{}\" {verb}", alarm.spec.name), MOST_SUMMARY),
        data,
    }
}

/// An alarm changed its state.
pub(super) fn transition(time: Timestamp, old: &Row, new: State, words: &Words) -> Item {
    let state = |value: State, reason: &str, data: Option<&str>| {
        let mut state = json!({ "stateValue": value.as_str(), "stateReason": reason });
        if let Some(data) = data.and_then(|data| serde_json::from_str::<Value>(data).ok()) {
            state["stateReasonData"] = data;
        }
        state
    };
    let whole = |old_data: Option<&str>, new_data: Option<&str>| {
        json!({
            "version": "1.0",
            "oldState": state(old.state, &old.reason, old_data),
            "newState": state(new, &words.reason, new_data),
        })
    };
    Item {
        name: old.spec.name.clone(),
        time,
        kind: Kind::StateUpdate,
        summary: format!("Alarm updated from {} to {}", old.state.as_str(), new.as_str()),
        data: fitting([
            whole(old.reason_data.as_deref(), words.data.as_deref()),
            whole(None, words.data.as_deref()),
            whole(None, None),
        ]),
    }
}

/// An action was run after a change of the state at `changed`, or could not be: `error` says why.
pub(super) fn action(
    time: Timestamp,
    alarm: &str,
    changed: Timestamp,
    arn: &str,
    error: Option<&str>,
) -> Item {
    let (state, summary) = match error {
        None => ("Succeeded", format!("Successfully executed action {arn}")),
        Some(error) => {
            ("Failed", format!("Failed to execute action {arn}. Received error: \"{error}\""))
        }
    };
    Item {
        name: alarm.to_owned(),
        time,
        kind: Kind::Action,
        summary: cut(&summary, MOST_SUMMARY),
        data: json!({
            "actionState": state,
            "stateUpdateTimestamp": changed.0,
            "notificationResource": arn,
            "publishedMessage": null,
            "error": error,
        })
        .to_string(),
    }
}

/// An alarm in an item's JSON: the members of DescribeAlarms with small first letters, and times as
/// texts.
fn in_history(alarm: &Row) -> Value {
    let mut members = Map::new();
    if let Value::Object(described) = described(alarm) {
        for (name, value) in described {
            let name = match name.as_str() {
                "OKActions" => "okactions".to_owned(),
                _ => small(&name),
            };
            members.insert(name, value);
        }
    }
    for (name, time) in [
        ("alarmConfigurationUpdatedTimestamp", alarm.configured),
        ("stateUpdatedTimestamp", alarm.updated),
        ("stateTransitionedTimestamp", alarm.transitioned),
    ] {
        members.insert(name.to_owned(), moment(time).into());
    }
    let dimensions: Vec<Value> = alarm
        .spec
        .dimensions
        .iter()
        .map(|(name, value)| json!({ "name": name, "value": value }))
        .collect();
    members.insert("dimensions".to_owned(), dimensions.into());
    members.into()
}

fn small(name: &str) -> String {
    let mut letters = name.chars();
    letters
        .next()
        .map_or_else(String::new, |first| first.to_ascii_lowercase().to_string() + letters.as_str())
}

/// The first that fits into `HistoryData`, or the last.
fn fitting<const N: usize>(choices: [Value; N]) -> String {
    let mut text = String::new();
    for choice in choices {
        text = choice.to_string();
        if text.len() <= MOST_DATA {
            break;
        }
    }
    text
}

/// The first `most` bytes of a text, or fewer where a character would be cut.
fn cut(text: &str, most: usize) -> String {
    text[..text.floor_char_boundary(most)].to_owned()
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Input {
    alarm_name: Option<String>,
    alarm_contributor_id: Option<String>,
    #[serde(default)]
    alarm_types: Vec<String>,
    history_item_type: Option<String>,
    start_date: Option<f64>,
    end_date: Option<f64>,
    max_records: Option<i64>,
    next_token: Option<String>,
    scan_by: Option<String>,
}

impl Alarms {
    pub(super) async fn history(&self, input: Input) -> Result<Value, MetricsError> {
        // Only metric alarms are built, and those have no contributors.
        let others = !input.alarm_types.is_empty()
            && !input.alarm_types.iter().any(|kind| kind == "MetricAlarm");
        if others || input.alarm_contributor_id.is_some() {
            return Ok(json!({ "AlarmHistoryItems": [] }));
        }
        let after = input.next_token.as_deref().map(str::parse).transpose();
        // A cast saturates; no time of AWS is near the ends.
        let milliseconds = |seconds: f64| (seconds * 1000.0).round() as i64;
        let limit = input.max_records.unwrap_or(PAGE);
        let past = Past {
            name: input.alarm_name,
            kind: input.history_item_type,
            from: input.start_date.map(milliseconds),
            to: input.end_date.map(milliseconds),
            oldest_first: input.scan_by.as_deref() == Some("TimestampAscending"),
            after: after.map_err(|_| bad_token())?,
            limit: limit + 1,
        };
        let mut found = self.metrics.read(move |c| Ok(rows::history(c, &past)?)).await?;
        let page = usize::try_from(limit).unwrap_or(usize::MAX);
        let more = found.len() > page;
        found.truncate(page);
        let items: Vec<Value> = found
            .iter()
            .map(|(_, item)| {
                json!({
                    "AlarmName": item.name,
                    "AlarmType": "MetricAlarm",
                    "Timestamp": item.time.seconds(),
                    "HistoryItemType": item.kind.as_str(),
                    "HistorySummary": item.summary,
                    "HistoryData": item.data,
                })
            })
            .collect();
        let mut answer = json!({ "AlarmHistoryItems": items });
        if more && let Some((last, _)) = found.last() {
            answer["NextToken"] = last.to_string().into();
        }
        Ok(answer)
    }
}

//! `kennel logs`, and the tail that jobs and endpoints share.

use std::collections::HashMap;
use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::client::{Client, Service};
use crate::clock;
use crate::error::ClientError;
use crate::output::{self, line, table, text};
use crate::target::TargetArguments;

/// How often new events are asked for.
const POLL: Duration = Duration::from_secs(2);
/// Events may arrive later than others with a later time; so far back is asked again.
const OVERLAP_MS: i64 = 15_000;

/// Arguments of `kennel logs`.
#[derive(Debug, Args)]
pub struct Arguments {
    #[command(flatten)]
    target: TargetArguments,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Log groups
    Groups {
        /// Only those that begin so
        prefix: Option<String>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Events of a group, oldest first
    Tail {
        /// Group, as in /aws/sagemaker/TrainingJobs
        group: String,
        #[command(flatten)]
        tail: TailArguments,
        /// Only streams that begin so
        #[arg(long, value_name = "PREFIX")]
        stream: Option<String>,
    },
}

/// What of a log is shown.
#[derive(Debug, Clone, Args)]
pub(super) struct TailArguments {
    /// Go on with what is written from now on
    #[arg(long, short)]
    follow: bool,
    /// How far back: 90s, 10m, 2h, 1d [default: 10m for a group, everything for a job]
    #[arg(long, value_name = "TIME", value_parser = since)]
    since: Option<Duration>,
    /// Only events that match a CloudWatch filter pattern
    #[arg(long, value_name = "PATTERN")]
    filter: Option<String>,
    /// Print one JSON object per event
    #[arg(long)]
    json: bool,
}

impl TailArguments {
    /// Whether to go on.
    pub(super) fn follow(&self) -> bool {
        self.follow
    }
}

/// `90s`, `10m`, `2h`, `1d`.
pub(super) fn since(given: &str) -> Result<Duration, String> {
    let bad = || "expected a number with s, m, h or d, as in 10m".to_owned();
    let unit = given.chars().last().ok_or_else(bad)?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 86_400,
        _ => return Err(bad()),
    };
    let count: u64 = given[..given.len() - 1].parse().map_err(|_| bad())?;
    count.checked_mul(seconds).map(Duration::from_secs).ok_or_else(bad)
}

pub(super) fn run(arguments: Arguments) -> Result<(), ClientError> {
    let client = Client::new(arguments.target.resolve()?);
    match arguments.verb {
        Verb::Groups { prefix, json } => groups(&client, prefix, json),
        Verb::Tail { group, mut tail, stream } => {
            tail.since = tail.since.or(Some(Duration::from_secs(600)));
            let mut events = Tail::new(group, stream, &tail);
            events.run(&client, || Ok(!tail.follow))
        }
    }
}

fn groups(client: &Client, prefix: Option<String>, json: bool) -> Result<(), ClientError> {
    let body = match prefix {
        Some(prefix) => json!({"logGroupNamePrefix": prefix}),
        None => json!({}),
    };
    let all = client.json_pages(Service::Logs, "DescribeLogGroups", &body, "logGroups")?;
    if json {
        output::json(&all.into());
        return Ok(());
    }
    let rows = all.iter().map(|g| {
        let made = g["creationTime"].as_f64().map(|ms| clock::shown(ms / 1000.0));
        [text(g, "logGroupName"), text(g, "storedBytes"), made.unwrap_or_default()]
    });
    line(table(["group", "bytes", "created"], rows));
    Ok(())
}

/// Events of a group as they come, each once.
#[derive(Debug)]
pub(super) struct Tail {
    group: String,
    stream: Option<String>,
    filter: Option<String>,
    json: bool,
    /// Whether a group that is not there counts as an empty one: that of a job exists once it wrote.
    pub(super) may_be_absent: bool,
    from: i64,
    /// Events of the overlap that were printed, with their time.
    printed: HashMap<String, i64>,
}

impl Tail {
    pub(super) fn new(group: String, stream: Option<String>, arguments: &TailArguments) -> Tail {
        let from = arguments.since.map_or(0, |since| {
            let back = i64::try_from(since.as_millis()).unwrap_or(i64::MAX);
            clock::epoch_millis().saturating_sub(back).max(0)
        });
        let (filter, json) = (arguments.filter.clone(), arguments.json);
        Tail { group, stream, filter, json, may_be_absent: false, from, printed: HashMap::new() }
    }

    /// Prints until `ended` says so before a round; that round is the last.
    pub(super) fn run(
        &mut self,
        client: &Client,
        mut ended: impl FnMut() -> Result<bool, ClientError>,
    ) -> Result<(), ClientError> {
        loop {
            let last = ended()?;
            let json = self.json;
            match self.round(client, &mut |event| print(event, json)) {
                // A group that is not there yet may come.
                Err(error) if error.is_not_found() && (self.may_be_absent || !last) => {}
                outcome => outcome?,
            }
            if last {
                return Ok(());
            }
            std::thread::sleep(POLL);
        }
    }

    /// Asks once for everything new.
    fn round(&mut self, client: &Client, show: &mut dyn FnMut(&Value)) -> Result<(), ClientError> {
        let mut body = json!({"logGroupName": self.group, "startTime": self.from});
        if let Some(stream) = &self.stream {
            body["logStreamNamePrefix"] = stream.as_str().into();
        }
        if let Some(filter) = &self.filter {
            body["filterPattern"] = filter.as_str().into();
        }
        let mut newest = self.from;
        loop {
            let page = client.json(Service::Logs, "FilterLogEvents", &body)?;
            for event in page["events"].as_array().into_iter().flatten() {
                let time = event["timestamp"].as_i64().unwrap_or(0);
                let id = match event["eventId"].as_str() {
                    Some(id) => id.to_owned(),
                    None => event.to_string(),
                };
                newest = newest.max(time);
                if self.printed.insert(id, time).is_none() {
                    show(event);
                }
            }
            match page["nextToken"].as_str() {
                Some(next) if !next.is_empty() && body["nextToken"] != next => {
                    body["nextToken"] = next.into();
                }
                _ => break,
            }
        }
        self.from = self.from.max(newest.saturating_sub(OVERLAP_MS));
        self.printed.retain(|_, time| *time >= self.from);
        Ok(())
    }
}

/// One event: its time, stream and message, or itself as JSON.
fn print(event: &Value, json: bool) {
    if json {
        line(event);
        return;
    }
    let time = event["timestamp"].as_f64().map(|ms| clock::shown(ms / 1000.0)).unwrap_or_default();
    let message = text(event, "message");
    line(format!("{time}  {}  {}", text(event, "logStreamName"), message.trim_end()));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Server, ok};

    #[test]
    fn times_back_are_understood() {
        assert_eq!(since("10m"), Ok(Duration::from_secs(600)));
        assert_eq!(since("1d"), Ok(Duration::from_secs(86_400)));
        for bad in ["", "m", "10", "-1s", "1ü", "99999999999999999999d"] {
            assert!(since(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn every_event_is_shown_once() {
        let event = |id: u32, time: u64| {
            format!(r#"{{"eventId":"{id}","timestamp":{time},"message":"m"}}"#)
        };
        let page = |events: &[String], next: &str| {
            ok(&format!(r#"{{"events":[{}]{next}}}"#, events.join(",")))
        };
        let server = Server::replies(vec![
            page(&[event(1, 100_000)], r#","nextToken":"n""#),
            page(&[event(2, 100_001)], ""),
            page(&[event(2, 100_001), event(3, 100_000)], ""),
        ]);
        let arguments = TailArguments { follow: false, since: None, filter: None, json: false };
        let mut tail = Tail::new("g".into(), None, &arguments);
        let mut shown = Vec::new();
        for _ in 0..2 {
            tail.round(&server.client(), &mut |e| shown.push(text(e, "eventId"))).unwrap();
        }
        assert_eq!(shown, ["1", "2", "3"]);
        let last: Value = serde_json::from_slice(&server.seen()[2].body).unwrap();
        assert_eq!(last["startTime"], 100_001 - OVERLAP_MS);
    }
}

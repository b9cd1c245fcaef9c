//! The service on a real database, called as the gateway calls it.

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::context::{Caller, Principal};

const NOW: i64 = 1_800_000_000_000;
const DAY: i64 = 86_400_000;

struct Server {
    _folder: tempfile::TempDir,
    logs: Logs,
    background: Option<Background>,
}

fn server() -> Server {
    let folder = tempfile::tempdir().unwrap();
    let database = Database::open(&folder.path().join("state.db"), &[MIGRATIONS]).unwrap();
    let (logs, background) =
        Logs::new(database, Options { now: || Timestamp(NOW), ..Options::default() });
    Server { _folder: folder, logs, background: Some(background) }
}

fn context(now: i64) -> Context {
    Context {
        request_id: "request".to_owned(),
        caller: Caller {
            account: "123456789012".to_owned(),
            principal: Principal::Root,
            access_key: "AKIA".to_owned(),
        },
        region: "us-east-1".to_owned(),
        now: Timestamp(now),
        endpoint: "http://127.0.0.1:4566".to_owned(),
    }
}

impl Server {
    async fn at(&self, now: i64, operation: &str, input: Value) -> Answer {
        self.logs.call(&context(now), operation, input).await
    }

    async fn ok(&self, operation: &str, input: Value) -> Value {
        self.at(NOW, operation, input).await.unwrap()
    }

    async fn refused(&self, operation: &str, input: Value) -> (String, String) {
        let error = self.at(NOW, operation, input).await.unwrap_err();
        (error.code, error.message)
    }

    async fn stream(&self, group: &str, stream: &str) {
        let _ = self.at(NOW, "CreateLogGroup", json!({"logGroupName": group})).await;
        self.ok("CreateLogStream", json!({"logGroupName": group, "logStreamName": stream})).await;
    }

    async fn put(&self, group: &str, stream: &str, events: &[(i64, &str)]) -> Value {
        let events: Vec<Value> = events
            .iter()
            .map(|(time, message)| json!({"timestamp": NOW + time, "message": message}))
            .collect();
        let input = json!({"logGroupName": group, "logStreamName": stream, "logEvents": events});
        self.ok("PutLogEvents", input).await
    }

    async fn get(&self, input: Value) -> Value {
        let mut all = json!({"logGroupName": "g", "logStreamName": "s"});
        all.as_object_mut().unwrap().extend(input.as_object().unwrap().clone());
        self.ok("GetLogEvents", all).await
    }

    /// Every event of a filter, page by page.
    async fn filter(&self, input: Value) -> Vec<Value> {
        let mut input = input;
        let mut found = Vec::new();
        loop {
            let page = self.ok("FilterLogEvents", input.clone()).await;
            found.extend(page["events"].as_array().unwrap().clone());
            match page.get("nextToken") {
                Some(token) => input["nextToken"] = token.clone(),
                None => return found,
            }
        }
    }
}

fn messages(events: &Value) -> Vec<&str> {
    events.as_array().unwrap().iter().map(|e| e["message"].as_str().unwrap()).collect()
}

const NO_GROUP: &str = "The specified log group does not exist.";
const NO_STREAM: &str = "The specified log stream does not exist.";

#[tokio::test]
async fn groups_and_streams_come_and_go_with_the_errors_of_aws() {
    let server = server();
    let group = json!({"logGroupName": "g"});
    let both = json!({"logGroupName": "g", "logStreamName": "s"});
    let missing = ("ResourceNotFoundException".to_owned(), NO_GROUP.to_owned());
    assert_eq!(server.refused("CreateLogStream", both.clone()).await, missing);
    assert_eq!(server.refused("DescribeLogStreams", group.clone()).await, missing);
    assert_eq!(server.refused("FilterLogEvents", group.clone()).await, missing);
    server.ok("CreateLogGroup", group.clone()).await;
    let (code, message) = server.refused("CreateLogGroup", group.clone()).await;
    assert_eq!(code, "ResourceAlreadyExistsException");
    assert_eq!(message, "The specified log group already exists");
    let missing = ("ResourceNotFoundException".to_owned(), NO_STREAM.to_owned());
    assert_eq!(server.refused("GetLogEvents", both.clone()).await, missing);
    server.ok("CreateLogStream", both.clone()).await;
    assert_eq!(
        server.refused("CreateLogStream", both.clone()).await.0,
        "ResourceAlreadyExistsException"
    );
    server.put("g", "s", &[(0, "one")]).await;
    server.ok("DeleteLogStream", both.clone()).await;
    assert_eq!(server.refused("GetLogEvents", both.clone()).await, missing);
    server.ok("CreateLogStream", both.clone()).await;
    assert_eq!(server.get(json!({})).await["events"], json!([]));
    server.ok("DeleteLogGroup", group.clone()).await;
    assert_eq!(server.refused("DeleteLogGroup", group).await.1, NO_GROUP);
    assert_eq!(server.refused("StartQuery", json!({})).await.0, "NotImplementedException");
}

#[tokio::test]
async fn a_stream_is_paged_both_ways_and_the_last_token_stays() {
    let server = server();
    server.stream("g", "s").await;
    let empty = server.get(json!({})).await;
    assert_eq!(empty["events"], json!([]));
    server.put("g", "s", &[(0, "a"), (0, "b"), (1, "c"), (2, "d"), (2, "e")]).await;
    // A token of the empty stream finds what came later.
    let page = server.get(json!({"nextToken": empty["nextForwardToken"]})).await;
    assert_eq!(messages(&page["events"]), ["a", "b", "c", "d", "e"]);

    let first = server.get(json!({"startFromHead": true, "limit": 3})).await;
    assert_eq!(messages(&first["events"]), ["a", "b", "c"]);
    let second = server.get(json!({"nextToken": first["nextForwardToken"], "limit": 3})).await;
    assert_eq!(messages(&second["events"]), ["d", "e"]);
    let end = server.get(json!({"nextToken": second["nextForwardToken"]})).await;
    assert_eq!(end["events"], json!([]));
    assert_eq!(end["nextForwardToken"], second["nextForwardToken"]);
    let back = server.get(json!({"nextToken": end["nextBackwardToken"], "limit": 2})).await;
    assert_eq!(messages(&back["events"]), ["d", "e"]);
    server.put("g", "s", &[(2, "f")]).await;
    let more = server.get(json!({"nextToken": end["nextForwardToken"]})).await;
    assert_eq!(messages(&more["events"]), ["f"]);

    let tail = server.get(json!({"limit": 2})).await;
    assert_eq!(messages(&tail["events"]), ["e", "f"]);
    let before = server.get(json!({"nextToken": tail["nextBackwardToken"], "limit": 10})).await;
    assert_eq!(messages(&before["events"]), ["a", "b", "c", "d"]);
    let start = server.get(json!({"nextToken": before["nextBackwardToken"]})).await;
    assert_eq!(start["events"], json!([]));
    assert_eq!(start["nextBackwardToken"], before["nextBackwardToken"]);

    // From the start on, up to (not with) the end.
    let window = json!({"startFromHead": true, "startTime": NOW + 1, "endTime": NOW + 2});
    assert_eq!(messages(&server.get(window).await["events"]), ["c"]);
    let bad = json!({"logGroupName": "g", "logStreamName": "s", "nextToken": "f/12"});
    let (code, message) = server.refused("GetLogEvents", bad).await;
    assert_eq!(
        (code.as_str(), message.as_str()),
        ("InvalidParameterException", "The specified nextToken is invalid.")
    );
}

#[tokio::test]
async fn a_page_holds_a_megabyte() {
    let server = server();
    server.stream("g", "s").await;
    let large = "x".repeat(400_000);
    for time in 0..4 {
        server.put("g", "s", &[(time, &large)]).await;
    }
    let page = server.get(json!({"startFromHead": true})).await;
    assert_eq!(page["events"].as_array().unwrap().len(), 2);
    let page = server.ok("FilterLogEvents", json!({"logGroupName": "g"})).await;
    assert_eq!(page["events"].as_array().unwrap().len(), 2);
    assert_eq!(server.filter(json!({"logGroupName": "g"})).await.len(), 4);
}

#[tokio::test]
async fn put_rejects_what_is_out_of_the_window_and_refuses_disorder() {
    let server = server();
    server.stream("g", "s").await;
    let answer = server.put("g", "s", &[(-20 * DAY, "old"), (0, "kept"), (DAY, "future")]).await;
    assert_eq!(
        answer["rejectedLogEventsInfo"],
        json!({"tooNewLogEventStartIndex": 2, "tooOldLogEventEndIndex": 1})
    );
    assert_eq!(messages(&server.get(json!({})).await["events"]), ["kept"]);
    let events =
        json!([{"timestamp": NOW, "message": "b"}, {"timestamp": NOW - 1, "message": "a"}]);
    let input = json!({"logGroupName": "g", "logStreamName": "s", "logEvents": events});
    assert_eq!(server.refused("PutLogEvents", input).await.0, "InvalidParameterException");
}

#[tokio::test]
async fn filters_interleave_streams_by_time_with_stable_ids() {
    let server = server();
    for stream in ["job/algo-1", "job/algo-2", "other"] {
        server.stream("g", stream).await;
    }
    server.put("g", "job/algo-1", &[(0, "Epoch 1"), (5, "Epoch 2"), (5, "Testing Loss: 1")]).await;
    server.put("g", "job/algo-2", &[(1, "Epoch 1"), (5, "Epoch 2")]).await;
    server.put("g", "other", &[(3, "noise")]).await;
    let all = server.filter(json!({"logGroupName": "g"})).await;
    let times: Vec<i64> = all.iter().map(|e| e["timestamp"].as_i64().unwrap() - NOW).collect();
    assert_eq!(times, [0, 1, 3, 5, 5, 5]);
    let mut ids: Vec<&str> = all.iter().map(|e| e["eventId"].as_str().unwrap()).collect();
    ids.dedup();
    assert_eq!(ids.len(), 6);
    assert_eq!(server.filter(json!({"logGroupName": "g", "limit": 1})).await, all);
    let mut reversed = all.clone();
    reversed.reverse();
    assert_eq!(
        server.filter(json!({"logGroupName": "g", "limit": 2, "startFromHead": false})).await,
        reversed
    );

    let job =
        json!({"logGroupName": "g", "logStreamNamePrefix": "job/", "filterPattern": "Epoch -2"});
    let found = server.filter(job).await;
    assert_eq!(messages(&json!(found)), ["Epoch 1", "Epoch 1"]);
    // The end is inclusive.
    let window = json!({"logGroupName": "g", "logStreamNames": ["other", "job/algo-2"], "startTime": NOW + 1, "endTime": NOW + 3});
    assert_eq!(messages(&json!(server.filter(window).await)), ["Epoch 1", "noise"]);
    let arn = "arn:aws:logs:us-east-1:123456789012:log-group:g:*";
    assert_eq!(server.filter(json!({"logGroupIdentifier": arn})).await.len(), 6);

    let refused = |input: Value| server.refused("FilterLogEvents", input);
    assert_eq!(
        refused(json!({"logGroupName": "g", "logStreamNames": ["none"]})).await.1,
        NO_STREAM
    );
    let both =
        json!({"logGroupName": "g", "logStreamNames": ["other"], "logStreamNamePrefix": "o"});
    assert_eq!(refused(both).await.0, "InvalidParameterException");
    let pattern = json!({"logGroupName": "g", "filterPattern": "{ $.a = 1 }"});
    assert!(refused(pattern).await.1.contains("not implemented"));
}

#[tokio::test]
async fn streams_are_listed_in_either_order_and_a_token_means_more() {
    let server = server();
    for stream in ["a-1", "a-2", "b", "c"] {
        server.stream("g", stream).await;
    }
    server.put("g", "b", &[(0, "x")]).await;
    server.put("g", "a-1", &[(5, "x")]).await;
    let list = |input: Value| {
        let server = &server;
        async move {
            let mut input = input;
            input["logGroupName"] = "g".into();
            let mut names = Vec::new();
            loop {
                let page = server.ok("DescribeLogStreams", input.clone()).await;
                for stream in page["logStreams"].as_array().unwrap() {
                    names.push(stream["logStreamName"].as_str().unwrap().to_owned());
                }
                match page.get("nextToken") {
                    Some(token) => input["nextToken"] = token.clone(),
                    None => return names,
                }
            }
        }
    };
    for limit in 1..=5 {
        assert_eq!(list(json!({"limit": limit})).await, ["a-1", "a-2", "b", "c"]);
        assert_eq!(
            list(json!({"limit": limit, "descending": true})).await,
            ["c", "b", "a-2", "a-1"]
        );
        let by_time = json!({"limit": limit, "orderBy": "LastEventTime", "descending": true});
        assert_eq!(list(by_time).await, ["a-1", "b", "c", "a-2"]);
    }
    assert_eq!(
        list(json!({"logStreamNamePrefix": "a-", "orderBy": "LogStreamName"})).await,
        ["a-1", "a-2"]
    );
    let exact = json!({"logGroupName": "g", "logStreamNamePrefix": "b", "limit": 1});
    let page = server.ok("DescribeLogStreams", exact).await;
    assert!(page.get("nextToken").is_none(), "{page}");
    let stream = &page["logStreams"][0];
    assert_eq!(stream["lastEventTimestamp"], NOW);
    assert_eq!(stream["arn"], "arn:aws:logs:us-east-1:123456789012:log-group:g:log-stream:b");
    let wrong =
        json!({"logGroupName": "g", "logStreamNamePrefix": "a", "orderBy": "LastEventTime"});
    assert_eq!(server.refused("DescribeLogStreams", wrong).await.0, "InvalidParameterException");
}

#[tokio::test]
async fn groups_are_listed_with_their_bytes_and_tags() {
    let server = server();
    for group in ["/aws/a", "/aws/b", "other"] {
        server.stream(group, "s").await;
    }
    server.put("/aws/a", "s", &[(0, "1234")]).await;
    let page =
        server.ok("DescribeLogGroups", json!({"logGroupNamePrefix": "/aws/", "limit": 1})).await;
    assert_eq!(page["logGroups"][0]["logGroupName"], "/aws/a");
    assert_eq!(page["logGroups"][0]["storedBytes"], 30);
    let rest = server
        .ok(
            "DescribeLogGroups",
            json!({"logGroupNamePrefix": "/aws/", "nextToken": page["nextToken"]}),
        )
        .await;
    assert_eq!(rest["logGroups"].as_array().unwrap().len(), 1);
    assert!(rest.get("nextToken").is_none());
    let found = server.ok("DescribeLogGroups", json!({"logGroupNamePattern": "THE"})).await;
    assert_eq!(found["logGroups"][0]["logGroupName"], "other");

    let arn = &page["logGroups"][0]["logGroupArn"];
    server
        .ok("TagResource", json!({"resourceArn": arn, "tags": {"team": "dogs", "cost": "1"}}))
        .await;
    server.ok("UntagLogGroup", json!({"logGroupName": "/aws/a", "tags": ["cost"]})).await;
    let tags = server.ok("ListTagsForResource", json!({"resourceArn": arn})).await;
    assert_eq!(tags, json!({"tags": {"team": "dogs"}}));
    assert_eq!(
        server.refused("ListTagsForResource", json!({"resourceArn": "arn:aws:s3:::b"})).await.0,
        "InvalidParameterException"
    );
}

#[tokio::test]
async fn retention_takes_old_events_and_deleted_streams_leave_nothing() {
    let server = server();
    server.stream("g", "s").await;
    server.stream("g", "gone").await;
    server.put("g", "gone", &[(0, "x")]).await;
    server.put("g", "s", &[(-3 * DAY, "old")]).await;
    server.put("g", "s", &[(0, "new")]).await;
    assert_eq!(
        server
            .refused("PutRetentionPolicy", json!({"logGroupName": "g", "retentionInDays": 2}))
            .await
            .0,
        "InvalidParameterException"
    );
    server.ok("PutRetentionPolicy", json!({"logGroupName": "g", "retentionInDays": 1})).await;
    server.ok("DeleteLogStream", json!({"logGroupName": "g", "logStreamName": "gone"})).await;
    server.logs.sweep(Timestamp(NOW)).await.unwrap();
    assert_eq!(messages(&server.get(json!({})).await["events"]), ["new"]);
    let count = server
        .logs
        .read(|c| Ok(c.query_row("SELECT count(*) FROM log_events", [], |r| r.get::<_, i64>(0))?));
    assert_eq!(count.await.unwrap(), 1);
    let groups = server.ok("DescribeLogGroups", json!({})).await;
    assert_eq!(groups["logGroups"][0]["storedBytes"], 29);
    assert_eq!(groups["logGroups"][0]["retentionInDays"], 1);
    let streams = server.ok("DescribeLogStreams", json!({"logGroupName": "g"})).await;
    assert_eq!(streams["logStreams"][0]["firstEventTimestamp"], NOW);
}

#[tokio::test]
async fn a_writer_keeps_every_line_in_order_also_over_a_stop() {
    let mut server = server();
    let (stop, stopped) = watch::channel(false);
    let task = tokio::spawn(server.background.take().unwrap().run(stopped));
    let writer = server.logs.writer("g", "s", Timestamp(NOW)).await.unwrap();
    for line in 0..12_000 {
        // Every tenth line claims to be older than the one before it.
        let time = if line % 10 == 9 { NOW - 5 } else { NOW + line / 100 };
        writer.write(Timestamp(time), &format!("line {line}")).await.unwrap();
    }
    writer.write(Timestamp(NOW), "").await.unwrap();
    writer.flush().await.unwrap();
    let all = server.filter(json!({"logGroupName": "g"})).await;
    let expected: Vec<String> = (0..12_000).map(|line| format!("line {line}")).collect();
    assert_eq!(messages(&json!(all)), expected);

    // What is not flushed is committed by the stop; after it writers are told.
    writer.write(Timestamp(NOW), "last").await.unwrap();
    drop(server.logs.writer("g", "s2", Timestamp(NOW)).await.unwrap());
    stop.send(true).unwrap();
    task.await.unwrap();
    let tail = server.get(json!({"limit": 1})).await;
    assert_eq!(messages(&tail["events"]), ["last"]);
    assert!(matches!(writer.write(Timestamp(NOW), "late").await, Err(LogsError::Closed)));
    assert!(matches!(server.logs.writer("g", "s", Timestamp(NOW)).await, Err(LogsError::Closed)));
}

#[tokio::test]
async fn a_full_queue_holds_its_producer_until_a_commit() {
    let mut server = server();
    let writer = server.logs.writer("g", "s", Timestamp(NOW)).await.unwrap();
    let line = "x".repeat(1 << 20);
    let writes = async {
        for _ in 0..6 {
            writer.write(Timestamp(NOW), &line).await.unwrap();
        }
    };
    let mut writes = std::pin::pin!(writes);
    // Nothing commits yet: 4 MiB fit, six do not.
    assert!(futures::poll!(&mut writes).is_pending());
    let (_stop, stopped) = watch::channel(false);
    let task = tokio::spawn(server.background.take().unwrap().run(stopped));
    writes.await;
    writer.flush().await.unwrap();
    task.abort();
    let stored: usize = server
        .filter(json!({"logGroupName": "g"}))
        .await
        .iter()
        .map(|e| e["message"].as_str().unwrap().len())
        .sum();
    assert_eq!(stored, 6 << 20);
}

#[tokio::test]
async fn lines_outlast_a_database_that_refuses_them() {
    let mut server = server();
    let (_stop, stopped) = watch::channel(false);
    let writer = server.logs.writer("g", "s", Timestamp(NOW)).await.unwrap();
    let batch = |sql: &'static str| server.logs.write(move |c| Ok(c.execute_batch(sql)?));
    batch("ALTER TABLE log_events RENAME TO elsewhere").await.unwrap();
    let task = tokio::spawn(server.background.take().unwrap().run(stopped));
    for line in 0..100 {
        writer.write(Timestamp(NOW), &line.to_string()).await.unwrap();
    }
    assert!(matches!(writer.flush().await, Err(LogsError::NotCommitted(_))));
    writer.write(Timestamp(NOW), "100").await.unwrap();
    batch("ALTER TABLE elsewhere RENAME TO log_events").await.unwrap();
    writer.flush().await.unwrap();
    task.abort();
    let expected: Vec<String> = (0..=100).map(|line| line.to_string()).collect();
    assert_eq!(messages(&server.get(json!({})).await["events"]), expected);
}

#[tokio::test]
async fn pages_read_only_their_range() {
    let server = server();
    let plan = server.logs.read(|c| {
        let sql = "EXPLAIN QUERY PLAN SELECT message FROM log_events
             WHERE stream = 1 AND (time, sequence) >= (2, 3) AND (time, sequence) < (4, 5)
             ORDER BY time DESC, sequence DESC LIMIT 6";
        let mut statement = c.prepare(sql)?;
        let rows = statement.query_map([], |row| row.get::<_, String>(3))?;
        Ok(rows.collect::<Result<Vec<String>, _>>()?)
    });
    assert_eq!(
        plan.await.unwrap(),
        [
            "SEARCH log_events USING PRIMARY KEY (stream=? AND (time,sequence)>(?,?) AND (time,sequence)<(?,?))"
        ]
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whatever is put in whatever batches, pages of any size show the same events in the same order,
    /// in both directions and in both operations.
    #[test]
    fn pages_of_any_size_agree(
        batches in prop::collection::vec((0..3_usize, prop::collection::vec(0..6_i64, 1..8)), 1..8),
        limit in 1..9_usize,
        from in 0..4_i64,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let server = server();
            let names = ["s", "t", "u"];
            for name in names {
                server.stream("g", name).await;
            }
            let mut expected = Vec::new();
            for (number, (stream, mut times)) in batches.into_iter().enumerate() {
                times.sort_unstable();
                let lines: Vec<String> = (0..times.len()).map(|line| format!("{number}.{line}")).collect();
                let events: Vec<(i64, &str)> = times.iter().copied().zip(lines.iter().map(String::as_str)).collect();
                server.put("g", names[stream], &events).await;
                expected.extend(times.iter().zip(&lines).map(|(time, line)| (*time, stream, line.clone())));
            }
            expected.retain(|(time, _, _)| *time >= from);
            expected.sort_by_key(|(time, stream, _)| (*time, *stream));
            let lines: Vec<&str> = expected.iter().map(|(_, _, line)| line.as_str()).collect();
            let filter = json!({"logGroupName": "g", "limit": limit, "startTime": NOW + from});
            let mut backward = filter.clone();
            backward["startFromHead"] = false.into();
            assert_eq!(messages(&json!(server.filter(filter).await)), lines);
            let mut down = server.filter(backward).await;
            down.reverse();
            assert_eq!(messages(&json!(down)), lines);

            let own: Vec<&str> = expected.iter().filter(|e| e.1 == 0).map(|e| e.2.as_str()).collect();
            for forward in [true, false] {
                let member = if forward { "nextForwardToken" } else { "nextBackwardToken" };
                let mut input = json!({"startFromHead": forward, "limit": limit, "startTime": NOW + from});
                let mut seen = Vec::new();
                loop {
                    let page = server.get(input.clone()).await;
                    let found: Vec<String> = messages(&page["events"]).iter().map(|m| (*m).to_owned()).collect();
                    if found.is_empty() {
                        break;
                    }
                    if forward { seen.extend(found) } else { seen.splice(0..0, found); }
                    input["nextToken"] = page[member].clone();
                }
                assert_eq!(seen, own);
            }
        });
    }
}

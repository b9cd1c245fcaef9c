//! Alarms on a real database, called as the gateway calls them and evaluated minute by minute.

mod operations;

use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use kennel_store::state::{Database, rusqlite};
use serde_json::json;
use tokio::sync::watch;

use super::evaluate::Due;
use super::*;
use crate::cloudwatch::{MIGRATIONS, Options};
use crate::context::{Caller, Principal};
use crate::service::{Answer, Service};

/// A whole minute and hour.
const NOW: i64 = 1_800_000_000;
const SCALE: &str = "arn:aws:autoscaling:us-east-1:123456789012:scalingPolicy:id:policyName/p";
const TOPIC: &str = "arn:aws:sns:us-east-1:123456789012:topic";

struct Server {
    folder: tempfile::TempDir,
    metrics: Metrics,
    fired: Arc<Log>,
}

/// Every run of an action, as `ARN's end: state metric`.
#[derive(Default)]
struct Log(Mutex<Vec<(String, Fired)>>);

impl AlarmAction for Log {
    fn run<'a>(
        &'a self,
        _now: Timestamp,
        action_arn: &'a str,
        fired: &'a Fired,
    ) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>> {
        Box::pin(async move {
            self.0.lock().unwrap().push((action_arn.to_owned(), fired.clone()));
        })
    }
}

impl Log {
    fn take(&self) -> Vec<(String, Fired)> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

fn open(folder: tempfile::TempDir) -> Server {
    let database = Database::open(&folder.path().join("state.db"), &[MIGRATIONS]).unwrap();
    let options = Options { now: || Timestamp(NOW * 1000), ..Options::default() };
    let (metrics, _) = Metrics::new(database, options);
    let fired = Arc::new(Log::default());
    metrics.alarms().on_action(fired.clone());
    Server { folder, metrics, fired }
}

fn server() -> Server {
    open(tempfile::tempdir().unwrap())
}

impl Server {
    async fn call_at(&self, now: i64, operation: &str, input: Value) -> Answer {
        let context = Context {
            request_id: "request".to_owned(),
            caller: Caller {
                account: "123456789012".to_owned(),
                principal: Principal::Root,
                access_key: "AKIA".to_owned(),
            },
            region: "us-east-1".to_owned(),
            now: Timestamp(now * 1000),
            endpoint: "http://127.0.0.1:4566".to_owned(),
        };
        self.metrics.call(&context, operation, input).await
    }

    async fn ok(&self, operation: &str, input: Value) -> Value {
        self.call_at(NOW, operation, input).await.unwrap()
    }

    async fn refused(&self, operation: &str, input: Value) -> (String, String) {
        let error = self.call_at(NOW, operation, input).await.unwrap_err();
        (error.code, error.message)
    }

    async fn alarm(&self, changes: Value) {
        self.ok("PutMetricAlarm", alarm(changes)).await;
    }

    /// A value of `Flow`/`m`, some seconds from NOW.
    async fn value(&self, offset: i64, value: f64) {
        let datum = json!({"MetricName": "m", "Value": value, "Timestamp": NOW + offset, "StorageResolution": 1});
        self.ok("PutMetricData", json!({"Namespace": "Flow", "MetricData": [datum]})).await;
    }

    async fn evaluate(&self, at: i64) {
        let due = Due { at, minute: at % 60 == 0, missed: 0 };
        self.metrics.alarms().evaluate(Timestamp(at * 1000 + 1_200), due).await.unwrap();
    }

    async fn described(&self, name: &str) -> Value {
        let found = self.ok("DescribeAlarms", json!({"AlarmNames": [name]})).await;
        found["MetricAlarms"][0].clone()
    }

    fn state(&self, name: &str) -> Option<&'static str> {
        self.metrics.alarms().state(name).unwrap().map(State::as_str)
    }

    async fn history(&self, changes: Value) -> Vec<Value> {
        let found = self.ok("DescribeAlarmHistory", changes).await;
        found["AlarmHistoryItems"].as_array().unwrap().clone()
    }
}

/// Above 10 for two minutes.
fn alarm(changes: Value) -> Value {
    let mut input = json!({
        "AlarmName": "a", "Namespace": "Flow", "MetricName": "m", "Statistic": "Sum", "Period": 60,
        "EvaluationPeriods": 2, "Threshold": 10.0, "ComparisonOperator": "GreaterThanThreshold",
    });
    for (member, value) in changes.as_object().unwrap() {
        input[member] = value.clone();
        if value.is_null() {
            input.as_object_mut().unwrap().remove(member);
        }
    }
    input
}

#[tokio::test]
async fn an_alarm_follows_its_metric_and_remembers() {
    let server = server();
    server.alarm(json!({"AlarmDescription": "too much", "TreatMissingData": "missing"})).await;
    let new = server.described("a").await;
    assert_eq!(
        new,
        json!({
            "AlarmName": "a",
            "AlarmArn": "arn:aws:cloudwatch:us-east-1:123456789012:alarm:a",
            "AlarmDescription": "too much",
            "AlarmConfigurationUpdatedTimestamp": NOW as f64,
            "ActionsEnabled": true,
            "OKActions": [], "AlarmActions": [], "InsufficientDataActions": [],
            "StateValue": "INSUFFICIENT_DATA",
            "StateReason": "Unchecked: Initial alarm creation",
            "StateUpdatedTimestamp": NOW as f64,
            "StateTransitionedTimestamp": NOW as f64,
            "MetricName": "m", "Namespace": "Flow", "Statistic": "Sum", "Dimensions": [],
            "Period": 60, "EvaluationPeriods": 2, "Threshold": 10.0,
            "ComparisonOperator": "GreaterThanThreshold", "TreatMissingData": "missing",
        })
    );
    server.value(0, 4.0).await;
    server.evaluate(NOW + 60).await;
    assert_eq!(server.state("a"), Some("OK"));
    for minute in [1, 2] {
        server.value(60 * minute, 11.0).await;
        server.value(60 * minute + 59, 0.5).await;
        server.evaluate(NOW + 60 * (minute + 1)).await;
    }
    let now = server.described("a").await;
    assert_eq!(now["StateValue"], "ALARM");
    assert_eq!(
        now["StateReason"],
        "Threshold Crossed: 2 datapoints [11.5 (15/01/27 08:02:00), 11.5 (15/01/27 08:01:00)] were greater than the threshold (10.0)."
    );
    assert_eq!(now["StateTransitionedTimestamp"], (NOW + 181) as f64 + 0.2);
    let data: Value = serde_json::from_str(now["StateReasonData"].as_str().unwrap()).unwrap();
    assert_eq!(data["recentDatapoints"], json!([11.5, 11.5]));
    assert_eq!(data["evaluatedDatapoints"][0]["sampleCount"], 2.0);

    server.alarm(json!({"Threshold": 20.0})).await;
    assert_eq!(server.state("a"), Some("ALARM"), "an update leaves the state");
    server.evaluate(NOW + 240).await;
    assert_eq!(server.state("a"), Some("OK"));
    server.ok("DeleteAlarms", json!({"AlarmNames": ["a", "never there"]})).await;
    assert_eq!(server.state("a"), None);
    // History outlives its alarm.
    let summaries: Vec<Value> = server
        .history(json!({"AlarmName": "a", "ScanBy": "TimestampAscending"}))
        .await
        .iter()
        .map(|item| item["HistorySummary"].clone())
        .collect();
    assert_eq!(
        summaries,
        [
            "Alarm \"a\" created",
            "Alarm updated from INSUFFICIENT_DATA to OK",
            "Alarm updated from OK to ALARM",
            "Alarm \"a\" updated",
            "Alarm updated from ALARM to OK",
            "Alarm \"a\" deleted",
        ]
    );
    let created =
        &server.history(json!({"ScanBy": "TimestampAscending", "MaxRecords": 1})).await[0];
    let data: Value = serde_json::from_str(created["HistoryData"].as_str().unwrap()).unwrap();
    assert_eq!(data["type"], "Create");
    assert_eq!(data["createdAlarm"]["alarmName"], "a");
    assert_eq!(
        data["createdAlarm"]["alarmConfigurationUpdatedTimestamp"],
        "2027-01-15T08:00:00.000+0000"
    );
    let changes = server.history(json!({"HistoryItemType": "StateUpdate"})).await;
    let data: Value = serde_json::from_str(changes[1]["HistoryData"].as_str().unwrap()).unwrap();
    assert_eq!(data["oldState"]["stateValue"], "OK");
    assert_eq!(data["newState"]["stateReasonData"]["recentDatapoints"], json!([11.5, 11.5]));
}

#[tokio::test]
async fn scaling_actions_run_at_a_change_and_each_minute_after_it() {
    let server = server();
    server
        .alarm(
            json!({"EvaluationPeriods": 1, "AlarmActions": [SCALE, TOPIC], "OKActions": [TOPIC]}),
        )
        .await;
    for minute in 0..3 {
        server.value(60 * minute, 20.0 + minute as f64).await;
        server.evaluate(NOW + 60 * (minute + 1)).await;
        let fired = server.fired.take();
        assert_eq!(fired.len(), 1, "minute {minute}");
        let (action, fired) = &fired[0];
        assert_eq!(action, SCALE);
        assert_eq!((fired.state, fired.metric), (State::Alarm, 20.0 + minute as f64));
        assert_eq!((fired.alarm.as_str(), fired.threshold), ("a", 10.0));
        assert!(fired.reason.contains("[20.0 (15/01/27 08:00:00)]"), "{}", fired.reason);
    }
    let actions = server.history(json!({"HistoryItemType": "Action"})).await;
    let summaries: Vec<&str> =
        actions.iter().map(|item| item["HistorySummary"].as_str().unwrap()).collect();
    assert_eq!(
        summaries,
        [
            format!(
                "Failed to execute action {TOPIC}. Received error: \"actions of `sns` are not implemented by Kennel\""
            ),
            format!("Successfully executed action {SCALE}"),
        ]
    );
    let data: Value = serde_json::from_str(actions[1]["HistoryData"].as_str().unwrap()).unwrap();
    assert_eq!(
        data,
        json!({"actionState": "Succeeded", "stateUpdateTimestamp": (NOW + 61) * 1000 + 200,
            "notificationResource": SCALE, "publishedMessage": null, "error": null})
    );

    server.ok("DisableAlarmActions", json!({"AlarmNames": ["a", "b"]})).await;
    server.value(180, 30.0).await;
    server.evaluate(NOW + 240).await;
    assert_eq!(server.fired.take(), []);
    server.ok("EnableAlarmActions", json!({"AlarmNames": ["a"]})).await;
    server.value(240, 40.0).await;
    server.evaluate(NOW + 300).await;
    assert_eq!(server.fired.take()[0].1.metric, 40.0);
    // Back to OK: nothing of that scales.
    server.value(300, 1.0).await;
    server.evaluate(NOW + 360).await;
    assert_eq!((server.fired.take().len(), server.state("a")), (0, Some("OK")));
}

#[tokio::test]
async fn high_resolution_alarms_are_evaluated_every_ten_seconds() {
    let server = server();
    server.alarm(json!({"AlarmName": "fast", "Period": 10, "AlarmActions": [SCALE]})).await;
    server.alarm(json!({"AlarmName": "thirty", "Period": 30, "EvaluationPeriods": 1})).await;
    server.alarm(json!({"AlarmName": "slow", "EvaluationPeriods": 1})).await;
    let recorder = server.metrics.recorder();
    let series = recorder.series("Flow", "m", &[], "Count", super::super::Resolution::Second);
    for second in 0..20 {
        series.record(3.0, Timestamp((NOW + second) * 1000 + 500));
        if second == 9 {
            server.evaluate(NOW + 10).await;
            assert_eq!(server.state("fast"), Some("INSUFFICIENT_DATA"));
            // Its window slides: the thirty seconds up to now.
            assert_eq!(server.state("thirty"), Some("ALARM"));
        }
    }
    server.evaluate(NOW + 20).await;
    assert_eq!(server.state("fast"), Some("ALARM"));
    assert_eq!(server.state("slow"), Some("INSUFFICIENT_DATA"), "no minute has ended");
    let fired = server.fired.take();
    assert_eq!((fired.len(), fired[0].1.metric), (1, 30.0));
    // It stays, and scales again when the minute ends.
    for ten in 2..6 {
        series.record(50.0, Timestamp((NOW + 10 * ten) * 1000));
        server.evaluate(NOW + 10 * (ten + 1)).await;
    }
    let fired = server.fired.take();
    assert_eq!((fired.len(), fired[0].1.metric), (1, 50.0));
    assert_eq!(server.state("slow"), Some("ALARM"));
    // Points of minutes are none of ten seconds.
    server.alarm(json!({"AlarmName": "coarse", "MetricName": "n", "Period": 10})).await;
    recorder.record("Flow", "n", &[], 100.0, "Count", Timestamp((NOW + 61) * 1000));
    server.evaluate(NOW + 70).await;
    assert_eq!(server.state("coarse"), Some("INSUFFICIENT_DATA"));
}

#[tokio::test]
async fn a_state_that_is_set_acts_at_once_and_holds_until_the_next_evaluation() {
    let server = server();
    server
        .alarm(
            json!({"AlarmName": "TargetTracking-x", "AlarmActions": [SCALE], "OKActions": [SCALE]}),
        )
        .await;
    server.value(-30, 1.0).await;
    server.value(-90, 1.0).await;
    let set = |state: &str| json!({"AlarmName": "TargetTracking-x", "StateValue": state, "StateReason": "a drill", "StateReasonData": "{\"by\": \"me\"}"});
    server.ok("SetAlarmState", set("ALARM")).await;
    let fired = server.fired.take();
    assert_eq!(fired.len(), 1);
    assert_eq!((fired[0].1.state, fired[0].1.metric), (State::Alarm, 1.0));
    let now = server.described("TargetTracking-x").await;
    assert_eq!((&now["StateReason"], &now["StateValue"]), (&json!("a drill"), &json!("ALARM")));
    assert_eq!(now["StateReasonData"], "{\"by\": \"me\"}");
    // Again: no change, no action.
    server.ok("SetAlarmState", set("ALARM")).await;
    assert_eq!(server.fired.take(), []);
    server.evaluate(NOW).await;
    assert_eq!(server.state("TargetTracking-x"), Some("OK"));
    assert_eq!(server.fired.take()[0].1.state, State::Ok);
    let last = &server.history(json!({"HistoryItemType": "StateUpdate"})).await[0];
    let data: Value = serde_json::from_str(last["HistoryData"].as_str().unwrap()).unwrap();
    assert_eq!(data["oldState"]["stateReasonData"], json!({"by": "me"}));

    let unknown = json!({"AlarmName": "b", "StateValue": "OK", "StateReason": "r"});
    assert_eq!(server.refused("SetAlarmState", unknown).await.0, "ResourceNotFound");
    let mut broken = set("OK");
    broken["StateReasonData"] = "{".into();
    assert_eq!(server.refused("SetAlarmState", broken).await.0, "InvalidFormat");
}

#[tokio::test]
async fn an_evaluation_never_undoes_what_came_between() {
    let server = server();
    server.alarm(json!({})).await;
    let read = || server.metrics.database.read(|c| rows::find(c, "a")).unwrap().unwrap().unwrap();
    let old = read();
    let words = reason::Words { reason: "late".to_owned(), data: None };
    let set = json!({"AlarmName": "a", "StateValue": "ALARM", "StateReason": "drill"});
    server.ok("SetAlarmState", set).await;
    let alarms = server.metrics.alarms();
    let late = words.clone();
    let changed = alarms
        .write(move |c| Ok(rows::set_state(c, Timestamp(0), &old, State::Ok, &late)?))
        .await
        .unwrap();
    assert!(!changed);
    assert_eq!(read().reason, "drill");
    let current = read();
    let changed = alarms
        .write(move |c| Ok(rows::set_state(c, Timestamp(0), &current, State::Ok, &words)?))
        .await
        .unwrap();
    assert!(changed);
}

#[tokio::test]
async fn a_restart_goes_on() {
    let first = server();
    first.alarm(json!({"EvaluationPeriods": 3, "AlarmActions": [SCALE]})).await;
    for minute in 0..2 {
        first.value(60 * minute, 11.0).await;
    }
    first.evaluate(NOW + 120).await;
    let Server { folder, metrics, fired } = first;
    drop((metrics, fired));
    let second = open(folder);
    second.value(120, 11.0).await;
    second.evaluate(NOW + 180).await;
    assert_eq!(second.state("a"), Some("ALARM"));
    assert_eq!(second.fired.take().len(), 1);
}

#[tokio::test]
async fn missing_data_units_and_percentiles() {
    let server = server();
    for (name, missing) in
        [("m", "missing"), ("i", "ignore"), ("b", "breaching"), ("n", "notBreaching")]
    {
        server
            .alarm(json!({"AlarmName": name, "MetricName": "none", "TreatMissingData": missing}))
            .await;
    }
    server.alarm(json!({"AlarmName": "seconds", "Unit": "Seconds", "EvaluationPeriods": 1})).await;
    let p99 = json!({"AlarmName": "p99", "Statistic": null, "ExtendedStatistic": "p99", "EvaluationPeriods": 1});
    server.alarm(p99.clone()).await;
    let mut sure = p99;
    sure["AlarmName"] = "sure".into();
    sure["EvaluateLowSampleCountPercentile"] = "ignore".into();
    server.alarm(sure).await;
    server.value(0, 40.0).await;
    server.evaluate(NOW + 60).await;
    let states =
        ["m", "i", "b", "n", "seconds", "p99", "sure"].map(|name| server.state(name).unwrap());
    assert_eq!(
        states,
        [
            "INSUFFICIENT_DATA",
            "INSUFFICIENT_DATA",
            "ALARM",
            "OK",
            "INSUFFICIENT_DATA",
            "ALARM",
            "INSUFFICIENT_DATA"
        ]
    );
    // A thousand values say something about a p99.
    let many = json!({"MetricName": "m", "Values": [50], "Counts": [1000], "Timestamp": NOW + 60});
    server.ok("PutMetricData", json!({"Namespace": "Flow", "MetricData": [many]})).await;
    server.evaluate(NOW + 120).await;
    assert_eq!(server.state("sure"), Some("ALARM"));
    assert_eq!(server.described("sure").await["ExtendedStatistic"], "p99");
}

static TIME: AtomicI64 = AtomicI64::new(NOW * 1000);

#[tokio::test]
async fn the_task_evaluates_by_its_clock_and_stops() {
    let folder = tempfile::tempdir().unwrap();
    let database = Database::open(&folder.path().join("state.db"), &[MIGRATIONS]).unwrap();
    let options = Options {
        now: || Timestamp(TIME.load(Ordering::SeqCst)),
        flush_every: Duration::from_secs(3600),
        sweep_every: Duration::from_secs(3600),
    };
    let (metrics, background) = Metrics::new(database, options);
    let fired = Arc::new(Log::default());
    metrics.alarms().on_action(fired.clone());
    let server = Server { folder, metrics, fired };
    server.alarm(json!({"EvaluationPeriods": 1, "AlarmActions": [SCALE]})).await;
    let (stop, stopped) = watch::channel(false);
    let running = tokio::spawn(background.run(stopped));
    // Recorded in memory: the task flushes before it looks, so that the minute is whole. The clock goes
    // on by minutes until the task has seen one of them end.
    let recorder = server.metrics.recorder();
    let waited = tokio::time::timeout(Duration::from_secs(60), async {
        while server.state("a") != Some("ALARM") {
            let now = TIME.fetch_add(60_000, Ordering::SeqCst);
            recorder.record("Flow", "m", &[], 11.0, "Count", Timestamp(now));
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    waited.await.unwrap();
    stop.send(true).unwrap();
    tokio::time::timeout(Duration::from_secs(60), running).await.unwrap().unwrap();
}

#[tokio::test]
async fn an_action_that_hangs_is_given_up_and_said() {
    struct Hang;
    impl AlarmAction for Hang {
        fn run<'a>(
            &'a self,
            _now: Timestamp,
            _action: &'a str,
            _fired: &'a Fired,
        ) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>> {
            Box::pin(std::future::pending())
        }
    }
    let server = server();
    server.metrics.alarms().on_action(Arc::new(Hang));
    server.alarm(json!({"AlarmActions": [SCALE]})).await;
    let set = json!({"AlarmName": "a", "StateValue": "ALARM", "StateReason": "drill"});
    server.ok("SetAlarmState", set).await;
    let item = &server.history(json!({"HistoryItemType": "Action"})).await[0];
    let summary = item["HistorySummary"].as_str().unwrap();
    assert!(summary.starts_with("Failed to execute action"), "{summary}");
    assert!(summary.contains("it took longer than"), "{summary}");
}

#[tokio::test]
async fn a_row_that_cannot_be_read_stops_nothing_else() {
    let server = server();
    server.alarm(json!({"AlarmName": "good", "EvaluationPeriods": 1})).await;
    server.alarm(json!({"AlarmName": "bad", "EvaluationPeriods": 1})).await;
    let broken = server.metrics.database.write(|c| -> Result<(), rusqlite::Error> {
        c.execute_batch("UPDATE alarms SET spec = '{}' WHERE name = 'bad'")
    });
    broken.await.unwrap().unwrap();
    server.value(0, 11.0).await;
    server.evaluate(NOW + 60).await;
    assert_eq!(server.state("good"), Some("ALARM"));
}

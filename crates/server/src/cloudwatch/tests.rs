//! The service on a real database, called as the gateway calls it.

use proptest::prelude::*;

use super::*;
use crate::context::{Caller, Principal};

/// A whole minute and hour.
const NOW: i64 = 1_800_000_000;

struct Server {
    _folder: tempfile::TempDir,
    metrics: Metrics,
    background: Option<Background>,
}

fn server() -> Server {
    let folder = tempfile::tempdir().unwrap();
    let database = Database::open(&folder.path().join("state.db"), &[MIGRATIONS]).unwrap();
    let (metrics, background) =
        Metrics::new(database, Options { now: || Timestamp(NOW * 1000), ..Options::default() });
    Server { _folder: folder, metrics, background: Some(background) }
}

impl Server {
    async fn call(&self, operation: &str, input: Value) -> Answer {
        let context = Context {
            request_id: "request".to_owned(),
            caller: Caller {
                account: "123456789012".to_owned(),
                principal: Principal::Root,
                access_key: "AKIA".to_owned(),
            },
            region: "us-east-1".to_owned(),
            now: Timestamp(NOW * 1000),
            endpoint: "http://127.0.0.1:4566".to_owned(),
        };
        self.metrics.call(&context, operation, input).await
    }

    async fn ok(&self, operation: &str, input: Value) -> Value {
        self.call(operation, input).await.unwrap()
    }

    async fn refused(&self, operation: &str, input: Value) -> (String, String) {
        let error = self.call(operation, input).await.unwrap_err();
        (error.code, error.message)
    }

    async fn put(&self, data: Value) {
        self.ok("PutMetricData", json!({"Namespace": "Flow", "MetricData": data})).await;
    }

    /// Statistics of `Flow`/`m` over the last ten minutes, with changes to the call.
    async fn statistics(&self, changes: Value) -> Vec<Value> {
        let answer = self.ok("GetMetricStatistics", statistics(changes)).await;
        answer["Datapoints"].as_array().unwrap().clone()
    }
}

fn statistics(changes: Value) -> Value {
    let mut input = json!({
        "Namespace": "Flow", "MetricName": "m", "Period": 60, "Statistics": ["Sum"],
        "StartTime": NOW - 600, "EndTime": NOW + 60,
    });
    for (member, value) in changes.as_object().unwrap() {
        input[member] = value.clone();
    }
    input
}

fn stat(id: &str, name: &str, stat: &str) -> Value {
    let metric = json!({"Namespace": "Flow", "MetricName": name});
    json!({"Id": id, "MetricStat": {"Metric": metric, "Period": 60, "Stat": stat}})
}

#[tokio::test]
async fn values_become_datapoints_of_their_minute() {
    let server = server();
    let job = json!([{"Name": "Job", "Value": "j"}]);
    for value in [1.0, 3.0] {
        server.put(json!([{"MetricName": "m", "Value": value, "Timestamp": NOW as f64 - 90.5, "Dimensions": job, "Unit": "None"}])).await;
    }
    let all = ["Average", "Sum", "SampleCount", "Minimum", "Maximum"];
    let found = server
        .statistics(json!({"Dimensions": job, "Statistics": all, "StartTime": NOW as f64 - 300.5}))
        .await;
    assert_eq!(
        found,
        [json!({
            "Average": 2.0, "Sum": 4.0, "SampleCount": 2.0, "Minimum": 1.0, "Maximum": 3.0, "Timestamp": NOW - 120, "Unit": "None"
        })]
    );
    // Other dimensions are another metric.
    assert!(server.statistics(json!({})).await.is_empty());
    let longer =
        server.statistics(json!({"Dimensions": job, "Period": 300, "StartTime": NOW - 420})).await;
    assert_eq!(longer[0]["Timestamp"], NOW - 120);
}

#[tokio::test]
async fn sets_counts_units_and_percentiles() {
    let server = server();
    server.put(json!([
        {"MetricName": "m", "Values": [1, 2, 100], "Counts": [50, 49, 1], "Unit": "Count", "Timestamp": NOW},
        {"MetricName": "m", "Value": 7, "Unit": "Seconds", "Timestamp": NOW},
        {"MetricName": "set", "StatisticValues": {"SampleCount": 4, "Sum": 10, "Minimum": 1, "Maximum": 4}, "Timestamp": NOW},
    ])).await;
    let percentiles =
        json!({"Statistics": [], "ExtendedStatistics": ["p50", "p99", "p100"], "Unit": "Count"});
    let found = server.statistics(percentiles).await;
    assert_eq!(found[0]["ExtendedStatistics"], json!({"p50": 1.0, "p99": 2.0, "p100": 100.0}));
    // Without a unit each unit has its datapoint.
    assert_eq!(server.statistics(json!({})).await.len(), 2);
    let found =
        server.statistics(json!({"MetricName": "set", "Statistics": ["Average", "Maximum"]})).await;
    assert_eq!((&found[0]["Average"], &found[0]["Maximum"]), (&json!(2.5), &json!(4.0)));
    let hidden = json!({"MetricName": "set", "Statistics": [], "ExtendedStatistics": ["p50"]});
    assert!(server.statistics(hidden).await.is_empty());
}

#[tokio::test]
async fn short_periods_need_high_resolution() {
    let server = server();
    for (name, resolution) in [("fine", 1), ("m", 60)] {
        server.put(json!([
            {"MetricName": name, "Value": 1, "Timestamp": NOW - 1, "StorageResolution": resolution},
            {"MetricName": name, "Value": 2, "Timestamp": NOW - 12, "StorageResolution": resolution},
        ])).await;
    }
    let found =
        server.statistics(json!({"MetricName": "fine", "Period": 10, "StartTime": NOW - 60})).await;
    let sums: Vec<(i64, f64)> = found
        .iter()
        .map(|d| (d["Timestamp"].as_i64().unwrap(), d["Sum"].as_f64().unwrap()))
        .collect();
    assert_eq!(sums, [(NOW - 20, 2.0), (NOW - 10, 1.0)]);
    assert_eq!(server.statistics(json!({"MetricName": "fine"})).await[0]["Sum"], 3.0);
    assert!(server.statistics(json!({"Period": 10, "StartTime": NOW - 60})).await.is_empty());
}

#[tokio::test]
async fn wrong_calls_are_answered_as_aws_answers() {
    let server = server();
    let put = |datum: Value| {
        server.refused("PutMetricData", json!({"Namespace": "Flow", "MetricData": [datum]}))
    };
    let code = |(code, _): (String, String)| code;
    assert_eq!(code(put(json!({"MetricName": "m"})).await), "MissingParameter");
    assert_eq!(
        code(put(json!({"MetricName": "m", "Value": 1, "Values": [1]})).await),
        "InvalidParameterCombination"
    );
    for wrong in [
        json!({"MetricName": "m", "Value": 1e109}),
        json!({"MetricName": "m", "Value": 1, "Timestamp": NOW - 15 * 86_400}),
        json!({"MetricName": "m", "Value": 1, "Timestamp": NOW + 7_201}),
        json!({"MetricName": "m", "Value": 1, "StorageResolution": 5}),
        json!({"MetricName": "m", "Values": [1, 2], "Counts": [1]}),
        json!({"MetricName": "m", "Value": 1, "Dimensions": [{"Name": "a", "Value": "1"}, {"Name": "a", "Value": "2"}]}),
    ] {
        assert_eq!(code(put(wrong.clone()).await), "InvalidParameterValue", "{wrong}");
    }
    let reserved =
        json!({"Namespace": "AWS/SageMaker", "MetricData": [{"MetricName": "m", "Value": 1}]});
    assert_eq!(code(server.refused("PutMetricData", reserved).await), "InvalidParameterValue");
    let long = statistics(json!({"StartTime": NOW - 3 * 86_400, "EndTime": NOW}));
    let (name, message) = server.refused("GetMetricStatistics", long).await;
    assert_eq!(name, "InvalidParameterCombination");
    assert_eq!(
        message,
        "You have requested up to 4,320 datapoints, which exceeds the limit of 1,440. You may reduce the datapoints requested by increasing Period, or decreasing the time range."
    );
    for changes in [
        json!({"EndTime": NOW - 600}),
        json!({"Statistics": []}),
        json!({"ExtendedStatistics": ["p50"]}),
    ] {
        assert_eq!(
            code(server.refused("GetMetricStatistics", statistics(changes)).await),
            "InvalidParameterCombination"
        );
    }
    let composite = json!({"AlarmName": "c", "AlarmRule": "ALARM(a)"});
    assert_eq!(
        code(server.refused("PutCompositeAlarm", composite).await),
        "NotImplementedException"
    );
    assert_eq!(
        server.ok("DescribeAlarms", json!({"AlarmNamePrefix": "x"})).await["MetricAlarms"],
        json!([])
    );
}

#[tokio::test]
async fn metric_data_has_several_series_math_and_pages() {
    let server = server();
    for (minute, value) in [(3, 10), (2, 20), (1, 30)] {
        server
            .put(json!([
                {"MetricName": "errors", "Value": value / 10, "Timestamp": NOW - 60 * minute},
                {"MetricName": "calls", "Value": value, "Timestamp": NOW - 60 * minute},
            ]))
            .await;
    }
    let mut hidden = stat("errors", "errors", "Sum");
    hidden["ReturnData"] = false.into();
    let mut input = json!({"StartTime": NOW - 600, "EndTime": NOW, "MetricDataQueries": [
        hidden,
        stat("calls", "calls", "p100"),
        {"Id": "rate", "Expression": "errors / calls * 100", "Label": "rate"},
        {"Id": "all", "Expression": "SUM(METRICS())"},
    ]});
    let answer = server.ok("GetMetricData", input.clone()).await;
    let results = answer["MetricDataResults"].as_array().unwrap();
    assert_eq!(
        results[0],
        json!({"Id": "calls", "Label": "calls", "StatusCode": "Complete",
        "Timestamps": [NOW - 60, NOW - 120, NOW - 180], "Values": [30.0, 20.0, 10.0]})
    );
    assert_eq!(
        (&results[1]["Label"], &results[1]["Values"]),
        (&json!("rate"), &json!([10.0, 10.0, 10.0]))
    );
    assert_eq!(results[2]["Values"], json!([33.0, 22.0, 11.0]));
    assert!(answer.get("NextToken").is_none());

    input["ScanBy"] = "TimestampAscending".into();
    let whole = server.ok("GetMetricData", input.clone()).await;
    assert_eq!(whole["MetricDataResults"][0]["Values"], json!([10.0, 20.0, 30.0]));
    for most in 1..=9 {
        let mut input = input.clone();
        input["MaxDatapoints"] = most.into();
        let mut values: BTreeMap<String, Vec<Value>> = BTreeMap::new();
        loop {
            let page = server.ok("GetMetricData", input.clone()).await;
            let mut size = 0;
            for result in page["MetricDataResults"].as_array().unwrap() {
                let found = result["Values"].as_array().unwrap();
                size += found.len();
                values
                    .entry(result["Id"].as_str().unwrap().to_owned())
                    .or_default()
                    .extend(found.clone());
            }
            assert!(size <= most);
            match page.get("NextToken") {
                Some(token) => input["NextToken"] = token.clone(),
                None => break,
            }
        }
        for result in whole["MetricDataResults"].as_array().unwrap() {
            assert_eq!(json!(values[result["Id"].as_str().unwrap()]), result["Values"]);
        }
    }
}

#[tokio::test]
async fn wrong_metric_data_queries_are_refused() {
    let server = server();
    for queries in [
        json!([]),
        json!([{"Id": "A", "Expression": "b"}]),
        json!([{"Id": "a", "Expression": "a"}]),
        json!([{"Id": "a", "Expression": "none"}]),
        json!([{"Id": "a", "Expression": "1 + 1"}]),
        json!([{"Id": "a", "Expression": "ANOMALY_DETECTION_BAND(b)"}]),
        json!([{"Id": "a"}]),
        json!([stat("a", "m", "Sum"), stat("a", "m", "Sum")]),
        json!([stat("a", "m", "tm90")]),
    ] {
        let input = json!({"StartTime": NOW - 600, "EndTime": NOW, "MetricDataQueries": queries});
        assert_eq!(server.refused("GetMetricData", input).await.0, "ValidationError", "{queries}");
    }
    let token = json!({"StartTime": 0, "EndTime": NOW, "NextToken": "?", "MetricDataQueries": [stat("a", "m", "Sum")]});
    assert_eq!(server.refused("GetMetricData", token).await.0, "InvalidNextToken");
}

#[tokio::test]
async fn metrics_are_listed_by_name_dimensions_and_activity() {
    let server = server();
    server.put(json!([
        {"MetricName": "old", "Value": 1, "Timestamp": NOW - 5 * 3600},
        {"MetricName": "m", "Value": 1, "Dimensions": [{"Name": "b", "Value": "2"}, {"Name": "a", "Value": "1"}]},
        {"MetricName": "m", "Value": 1, "Dimensions": [{"Name": "a", "Value": "3"}]},
    ])).await;
    let count = |filter: Value| {
        let server = &server;
        async move { server.ok("ListMetrics", filter).await["Metrics"].as_array().unwrap().len() }
    };
    assert_eq!(count(json!({})).await, 3);
    assert_eq!(count(json!({"Namespace": "Other"})).await, 0);
    assert_eq!(count(json!({"MetricName": "m"})).await, 2);
    assert_eq!(count(json!({"RecentlyActive": "PT3H"})).await, 2);
    assert_eq!(count(json!({"Dimensions": [{"Name": "a"}]})).await, 2);
    assert_eq!(count(json!({"Dimensions": [{"Name": "a", "Value": "1"}, {"Name": "b"}]})).await, 1);
    let many: Vec<Value> =
        (0..600).map(|n| json!({"MetricName": format!("n{n}"), "Value": 1})).collect();
    server.put(json!(many)).await;
    let first = server.ok("ListMetrics", json!({"Namespace": "Flow"})).await;
    assert_eq!(first["Metrics"].as_array().unwrap().len(), 500);
    let rest = server
        .ok("ListMetrics", json!({"Namespace": "Flow", "NextToken": first["NextToken"]}))
        .await;
    assert_eq!(rest["Metrics"].as_array().unwrap().len(), 103);
    assert!(rest.get("NextToken").is_none());
}

#[tokio::test]
async fn what_is_recorded_is_seen_at_once_and_survives_a_stop() {
    let mut server = server();
    let background = server.background.take().unwrap();
    let recorder = server.metrics.recorder();
    let now = Timestamp(NOW * 1000 + 250);
    let dimensions = [("EndpointName", "e"), ("VariantName", "v")];
    recorder.record("AWS/SageMaker", "Invocations", &dimensions, 1.0, "Count", now);
    let query = statistics(json!({"Namespace": "AWS/SageMaker", "MetricName": "Invocations",
        "Dimensions": [{"Name": "VariantName", "Value": "v"}, {"Name": "EndpointName", "Value": "e"}]}));
    let sum = || async {
        server.ok("GetMetricStatistics", query.clone()).await["Datapoints"][0]["Sum"].clone()
    };
    assert_eq!(sum().await, 1.0);
    recorder.record("AWS/SageMaker", "Invocations", &dimensions, 1.0, "Count", now);
    recorder.record("AWS/SageMaker", "Invocations", &dimensions, f64::NAN, "Count", now);
    assert_eq!(sum().await, 2.0);

    let latency = recorder.series("Own", "m", &[], "Microseconds", Resolution::Second);
    for value in 1..=100 {
        latency.record(f64::from(value), now);
    }
    let (stop, stopped) = watch::channel(false);
    stop.send(true).unwrap();
    background.run(stopped).await;
    let stored = server.metrics.database.read(|c| {
        c.query_row("SELECT count(*) FROM metric_points WHERE unit = 'Microseconds'", [], |row| {
            row.get::<_, i64>(0)
        })
    });
    // The second and the minute, written by the stop and not by a query.
    assert_eq!(stored.unwrap().unwrap(), 2);
    let p99 = statistics(
        json!({"Namespace": "Own", "Period": 1, "StartTime": NOW - 60, "Statistics": [], "ExtendedStatistics": ["p99"]}),
    );
    assert_eq!(
        server.ok("GetMetricStatistics", p99).await["Datapoints"][0]["ExtendedStatistics"]["p99"],
        99.0
    );
}

#[tokio::test]
async fn old_points_and_their_series_are_swept() {
    let server = server();
    server
        .put(json!([
            {"MetricName": "m", "Value": 1, "Timestamp": NOW - 4 * 3600, "StorageResolution": 1},
            {"MetricName": "old", "Value": 1, "Timestamp": NOW - 13 * 86_400},
        ]))
        .await;
    let count = |table: &str| {
        let sql = format!("SELECT count(*) FROM {table}");
        server
            .metrics
            .database
            .read(|c| c.query_row(&sql, [], |row| row.get::<_, i64>(0)))
            .unwrap()
            .unwrap()
    };
    assert_eq!((count("metric_series"), count("metric_points")), (2, 3));
    server.metrics.sweep(Timestamp(NOW * 1000)).await.unwrap();
    assert_eq!((count("metric_series"), count("metric_points")), (2, 2));
    server.metrics.sweep(Timestamp((NOW + 3 * 86_400) * 1000)).await.unwrap();
    assert_eq!((count("metric_series"), count("metric_points")), (1, 1));
}

#[tokio::test]
async fn recorded_values_outlast_a_database_that_refuses_them() {
    let server = server();
    let recorder = server.metrics.recorder();
    let batch = |sql: &'static str| {
        server
            .metrics
            .database
            .write(move |c| -> Result<(), rusqlite::Error> { c.execute_batch(sql) })
    };
    recorder.record("Flow", "m", &[], 1.0, "None", Timestamp(NOW * 1000));
    batch("ALTER TABLE metric_points RENAME TO elsewhere").await.unwrap().unwrap();
    assert!(server.metrics.flush().await.is_err());
    recorder.record("Flow", "m", &[], 2.0, "None", Timestamp(NOW * 1000));
    batch("ALTER TABLE elsewhere RENAME TO metric_points").await.unwrap().unwrap();
    assert_eq!(server.statistics(json!({})).await[0]["Sum"], 3.0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    /// Whether values come by calls or are recorded, at once or in pieces, the statistics are those of
    /// all values.
    #[test]
    fn statistics_do_not_depend_on_the_way(values in prop::collection::vec((1..200_i32, any::<bool>(), 0..3_i64), 1..30)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let server = server();
            let recorder = server.metrics.recorder();
            for (value, put, minute) in &values {
                let time = NOW - 60 * minute;
                if *put {
                    server.put(json!([{"MetricName": "m", "Value": value, "Timestamp": time}])).await;
                } else {
                    recorder.record("Flow", "m", &[], f64::from(*value), "None", Timestamp(time * 1000));
                }
            }
            let found = server.statistics(json!({"Statistics": ["Sum", "SampleCount", "Maximum"]})).await;
            let mut expected: BTreeMap<i64, (f64, f64, f64)> = BTreeMap::new();
            for (value, _, minute) in &values {
                let entry = expected.entry(NOW - 60 * minute).or_insert((0.0, 0.0, 0.0));
                let value = f64::from(*value);
                *entry = (entry.0 + value, entry.1 + 1.0, entry.2.max(value));
            }
            let found: BTreeMap<i64, (f64, f64, f64)> = found
                .iter()
                .map(|d| {
                    let number = |name: &str| d[name].as_f64().unwrap();
                    (d["Timestamp"].as_i64().unwrap(), (number("Sum"), number("SampleCount"), number("Maximum")))
                })
                .collect();
            assert_eq!(found, expected);
        });
    }
}

//! The operations: what is refused, found, tagged and remembered.

use super::*;

#[tokio::test]
async fn wrong_alarms_are_refused() {
    let server = server();
    for (changes, words) in [
        (json!({"Period": 15}), "Period must be 10, 20, 30 or a multiple of 60"),
        (json!({"Period": 90}), "Period must be"),
        (json!({"Period": null}), "Period must be specified"),
        (json!({"MetricName": null}), "MetricName and Namespace must be specified"),
        (json!({"Statistic": null}), "Exactly one of Statistic and ExtendedStatistic"),
        (json!({"ExtendedStatistic": "p50"}), "Exactly one of Statistic and ExtendedStatistic"),
        (json!({"Statistic": null, "ExtendedStatistic": "tm99"}), "not implemented"),
        (json!({"Threshold": null}), "Threshold must be specified"),
        (json!({"EvaluationPeriods": null}), "EvaluationPeriods must be specified"),
        (json!({"ComparisonOperator": null}), "ComparisonOperator must be specified"),
        (json!({"ComparisonOperator": "GreaterThanUpperThreshold"}), "not implemented"),
        (
            json!({"EvaluationPeriods": 1441}),
            "Metrics cannot be checked across more than a day (EvaluationPeriods * Period must be <= 86400).",
        ),
        (json!({"EvaluationPeriods": 169, "Period": 3600}), "must be <= 604800"),
        (json!({"EvaluationPeriods": u32::MAX, "Period": 4_294_967_280_u32}), "must be <= 604800"),
        (
            json!({"DatapointsToAlarm": 3}),
            "DatapointsToAlarm must be less than or equal to EvaluationPeriods",
        ),
        (json!({"TreatMissingData": "BREACHING"}), "TreatMissingData must be"),
        (json!({"EvaluateLowSampleCountPercentile": "no"}), "EvaluateLowSampleCountPercentile"),
        (json!({"AlarmActions": ["topic"]}), "Invalid arn syntax: topic"),
        (json!({"OKActions": ["arn:aws:sns:us-east-1"]}), "Invalid arn syntax"),
        (json!({"AlarmName": "a\u{7}"}), "control characters"),
        (json!({"Metrics": [{"Id": "m"}]}), "Metrics of PutMetricAlarm is not implemented"),
        (json!({"ThresholdMetricId": "m"}), "ThresholdMetricId of PutMetricAlarm"),
        (
            json!({"EvaluationWindow": {"WallClockWindow": {"Timezone": "UTC"}}}),
            "WallClockWindow of PutMetricAlarm",
        ),
    ] {
        let (code, message) = server.refused("PutMetricAlarm", alarm(changes.clone())).await;
        assert_eq!(code, "ValidationError", "{changes}");
        assert!(message.contains(words), "{changes}: {message}");
    }
    let twice = json!({"Dimensions": [{"Name": "a", "Value": "1"}, {"Name": "a", "Value": "2"}]});
    assert_eq!(server.refused("PutMetricAlarm", alarm(twice)).await.0, "InvalidParameterValue");
    let reserved = json!({"Tags": [{"Key": "aws:x", "Value": "1"}]});
    assert_eq!(server.refused("PutMetricAlarm", alarm(reserved)).await.0, "InvalidParameterValue");
    assert_eq!(server.ok("DescribeAlarms", json!({})).await["MetricAlarms"], json!([]));
    for fine in [
        json!({"EvaluationPeriods": 168, "Period": 3600}),
        json!({"EvaluationPeriods": 24, "Period": 3600}),
        json!({"EvaluationPeriods": 1, "Period": 20}),
        json!({"Metrics": [], "EvaluationWindow": {"SlidingWindow": {}}}),
    ] {
        server.alarm(fine).await;
    }
}

#[tokio::test]
async fn alarms_are_found_by_name_state_action_and_metric() {
    let server = server();
    let dimension = json!([{"Name": "d", "Value": "1"}]);
    for number in 0..120 {
        let name = format!("{}-{number:03}", if number < 60 { "x" } else { "y" });
        let mut changes = json!({"AlarmName": name});
        if number % 2 == 0 {
            changes["AlarmActions"] = json!([SCALE]);
            changes["Dimensions"] = dimension.clone();
        }
        server.alarm(changes).await;
    }
    let set = json!({"AlarmName": "y-100", "StateValue": "OK", "StateReason": ""});
    server.ok("SetAlarmState", set).await;
    let count = |input: Value| {
        let server = &server;
        async move { server.ok("DescribeAlarms", input).await["MetricAlarms"].as_array().unwrap().len() }
    };
    assert_eq!(count(json!({})).await, 50, "AWS's page");
    assert_eq!(count(json!({"AlarmNamePrefix": "y-", "MaxRecords": 100})).await, 60);
    assert_eq!(count(json!({"AlarmNamePrefix": "y%", "MaxRecords": 100})).await, 0);
    assert_eq!(count(json!({"StateValue": "OK"})).await, 1);
    let scaling = json!({"ActionPrefix": "arn:aws:autoscaling", "MaxRecords": 100});
    assert_eq!(count(scaling).await, 60);
    assert_eq!(count(json!({"AlarmNames": ["x-000", "y-119", "none"]})).await, 2);
    assert_eq!(count(json!({"AlarmTypes": ["CompositeAlarm"]})).await, 0);
    assert_eq!(count(json!({"AlarmTypes": ["CompositeAlarm", "MetricAlarm"]})).await, 50);
    assert_eq!(count(json!({"ParentsOfAlarmName": "x-000"})).await, 0);
    let both = json!({"AlarmNames": ["x-000"], "AlarmNamePrefix": "x"});
    assert_eq!(server.refused("DescribeAlarms", both).await.0, "InvalidParameterCombination");
    assert_eq!(
        server.refused("DescribeAlarms", json!({"NextToken": "?"})).await.0,
        "InvalidNextToken"
    );
    let mut seen = Vec::new();
    let mut input = json!({"MaxRecords": 7});
    loop {
        let page = server.ok("DescribeAlarms", input.clone()).await;
        let alarms = page["MetricAlarms"].as_array().unwrap();
        seen.extend(alarms.iter().map(|alarm| alarm["AlarmName"].as_str().unwrap().to_owned()));
        match page.get("NextToken") {
            Some(token) => input["NextToken"] = token.clone(),
            None => break,
        }
    }
    assert_eq!(seen.len(), 120);
    assert!(seen.is_sorted());

    let of_metric = |changes: Value| {
        let server = &server;
        async move {
            let mut input = json!({"Namespace": "Flow", "MetricName": "m"});
            for (member, value) in changes.as_object().unwrap() {
                input[member] = value.clone();
            }
            let found = server.ok("DescribeAlarmsForMetric", input).await;
            found["MetricAlarms"].as_array().unwrap().len()
        }
    };
    assert_eq!(of_metric(json!({})).await, 60, "those without dimensions");
    assert_eq!(of_metric(json!({"Dimensions": dimension, "Statistic": "Sum"})).await, 60);
    assert_eq!(of_metric(json!({"Statistic": "Average"})).await, 0);
    assert_eq!(of_metric(json!({"Period": 300})).await, 0);
    assert_eq!(of_metric(json!({"MetricName": "n"})).await, 0);
}

#[tokio::test]
async fn history_has_pages_and_bounds() {
    let server = server();
    for number in 0..30_i64 {
        let name = format!("a{number}");
        let created = alarm(json!({"AlarmName": name}));
        server.call_at(NOW + number, "PutMetricAlarm", created).await.unwrap();
    }
    for order in ["TimestampAscending", "TimestampDescending"] {
        let mut seen = Vec::new();
        let mut input =
            json!({"MaxRecords": 7, "ScanBy": order, "StartDate": NOW + 5, "EndDate": NOW + 25});
        loop {
            let page = server.ok("DescribeAlarmHistory", input.clone()).await;
            let items = page["AlarmHistoryItems"].as_array().unwrap();
            assert!(items.len() <= 7);
            seen.extend(items.iter().map(|item| item["Timestamp"].as_f64().unwrap() as i64 - NOW));
            match page.get("NextToken") {
                Some(token) => input["NextToken"] = token.clone(),
                None => break,
            }
        }
        let mut expected: Vec<i64> = (5..25).collect();
        if order == "TimestampDescending" {
            expected.reverse();
        }
        assert_eq!(seen, expected);
    }
    assert_eq!(server.history(json!({"AlarmTypes": ["CompositeAlarm"]})).await.len(), 0);
    assert_eq!(
        server.refused("DescribeAlarmHistory", json!({"NextToken": "x"})).await.0,
        "InvalidNextToken"
    );
    let day = 86_400;
    server.metrics.sweep(Timestamp((NOW + 30 * day + 10) * 1000)).await.unwrap();
    assert_eq!(server.history(json!({})).await.len(), 20);

    // Ten actions of a kilobyte do not fit an item; it says what fits.
    let long = format!("arn:aws:sns:us-east-1:123456789012:{}", "t".repeat(980));
    let actions = vec![long; 5];
    server.alarm(json!({"AlarmName": "long", "AlarmActions": actions, "OKActions": actions})).await;
    let item = &server.history(json!({"AlarmName": "long"})).await[0];
    let data: Value = serde_json::from_str(item["HistoryData"].as_str().unwrap()).unwrap();
    assert_eq!(
        data,
        json!({"version": "1.0", "type": "Create", "createdAlarm": {"alarmName": "long"}})
    );
}

#[tokio::test]
async fn alarms_have_tags() {
    let server = server();
    server.alarm(json!({"Tags": [{"Key": "team", "Value": "dogs"}]})).await;
    server.alarm(json!({"Tags": [{"Key": "ignored", "Value": "at an update"}]})).await;
    let arn = server.described("a").await["AlarmArn"].clone();
    let tag = json!({"ResourceARN": arn, "Tags": [{"Key": "cost", "Value": "1"}]});
    server.ok("TagResource", tag).await;
    let tags = server.ok("ListTagsForResource", json!({"ResourceARN": arn})).await;
    assert_eq!(
        tags["Tags"],
        json!([{"Key": "cost", "Value": "1"}, {"Key": "team", "Value": "dogs"}])
    );
    server.ok("UntagResource", json!({"ResourceARN": arn, "TagKeys": ["team", "x"]})).await;
    let tags = server.ok("ListTagsForResource", json!({"ResourceARN": arn})).await;
    assert_eq!(tags["Tags"], json!([{"Key": "cost", "Value": "1"}]));
    let many: Vec<Value> = (0..50).map(|n| json!({"Key": format!("k{n}"), "Value": "v"})).collect();
    let too_many = json!({"ResourceARN": arn, "Tags": many});
    assert_eq!(server.refused("TagResource", too_many).await.0, "InvalidParameterValue");
    let unknown = json!({"ResourceARN": format!("{}x", arn.as_str().unwrap())});
    assert_eq!(server.refused("ListTagsForResource", unknown).await.0, "ResourceNotFoundException");
    let other = json!({"ResourceARN": "arn:aws:cloudwatch::123456789012:dashboard/d"});
    assert_eq!(server.refused("ListTagsForResource", other).await.0, "InvalidParameterValue");
}

#[tokio::test]
async fn alarms_of_the_platform_come_in_one_transaction() {
    let server = server();
    let alarms = server.metrics.alarms();
    server.alarm(json!({"AlarmName": "given"})).await;
    let found = server.metrics.database.read(|c| rows::find(c, "given"));
    let spec = found.unwrap().unwrap().unwrap().spec;
    let named = |name: &str| AlarmSpec {
        name: name.to_owned(),
        arn: format!("arn:aws:cloudwatch:us-east-1:123456789012:alarm:{name}"),
        ..spec.clone()
    };
    let arns = alarms.put(Timestamp(NOW * 1000), vec![named("high"), named("low")]).await.unwrap();
    assert_eq!(arns, [named("high").arn, named("low").arn]);
    let too_many = (0..5_000).map(|n| named(&format!("n{n}"))).collect();
    let refused = alarms.put(Timestamp(NOW * 1000), too_many).await.unwrap_err();
    assert_eq!(refused.code, "LimitExceeded");
    assert_eq!(server.state("n0"), None, "none of them");
    alarms.delete(vec!["high".to_owned(), "low".to_owned(), "none".to_owned()]).await.unwrap();
    assert_eq!(server.state("high"), None);
}

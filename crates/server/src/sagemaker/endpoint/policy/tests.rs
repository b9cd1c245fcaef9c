use serde_json::json;

use super::*;

fn routing(routing: Value, more: Value) -> Value {
    let mut policy = json!({ "TrafficRoutingConfiguration": routing });
    if let (Some(policy), Value::Object(more)) = (policy.as_object_mut(), more) {
        policy.extend(more);
    }
    json!({ "BlueGreenUpdatePolicy": policy })
}

fn percent(value: u32) -> Value {
    json!({ "Type": "CAPACITY_PERCENT", "Value": value })
}

fn instances(value: u32) -> Value {
    json!({ "Type": "INSTANCE_COUNT", "Value": value })
}

fn refusal(config: &Value) -> String {
    parse(config).map(|parsed| format!("{parsed:?}")).unwrap_err().message
}

#[test]
fn aws_own_examples_are_read() {
    let canary = json!({
        "BlueGreenUpdatePolicy": {
            "TrafficRoutingConfiguration": {
                "Type": "CANARY",
                "CanarySize": { "Type": "CAPACITY_PERCENT", "Value": 30 },
                "WaitIntervalInSeconds": 600,
            },
            "TerminationWaitInSeconds": 600,
            "MaximumExecutionTimeoutInSeconds": 1800,
        },
        "AutoRollbackConfiguration": { "Alarms": [{ "AlarmName": "b" }, { "AlarmName": "a" }] },
    });
    let (policy, alarms) = parse(&canary).unwrap();
    let expected = Policy::BlueGreen {
        shift: Shift::Canary(Size::Percent(30)),
        wait_ms: 600_000,
        termination_wait_ms: 600_000,
        timeout_ms: Some(1_800_000),
    };
    assert_eq!((policy, alarms), (expected, vec!["a".to_owned(), "b".to_owned()]));
    let rolling = json!({
        "RollingUpdatePolicy": {
            "MaximumBatchSize": instances(1),
            "RollbackMaximumBatchSize": percent(100),
            "WaitIntervalInSeconds": 0,
        },
    });
    let (policy, alarms) = parse(&rolling).unwrap();
    let expected = Policy::Rolling {
        batch: Size::Instances(1),
        rollback: Some(Size::Percent(100)),
        wait_ms: 0,
        timeout_ms: None,
    };
    assert_eq!((policy, alarms), (expected, Vec::new()));
    assert_eq!(parse(&json!({})).unwrap().0, Policy::at_once());
}

#[test]
fn members_that_contradict_each_other_are_refused() {
    let canary =
        |size: Value| json!({ "Type": "CANARY", "CanarySize": size, "WaitIntervalInSeconds": 0 });
    let both = json!({
        "BlueGreenUpdatePolicy": { "TrafficRoutingConfiguration": canary(percent(10)) },
        "RollingUpdatePolicy": { "MaximumBatchSize": percent(10), "WaitIntervalInSeconds": 0 },
    });
    assert!(refusal(&both).contains("only one of"));
    let missing = routing(json!({ "Type": "CANARY", "WaitIntervalInSeconds": 0 }), json!({}));
    assert!(refusal(&missing).contains("`CanarySize` must be given"));
    let missing = routing(json!({ "Type": "LINEAR", "WaitIntervalInSeconds": 0 }), json!({}));
    assert!(refusal(&missing).contains("`LinearStepSize` must be given"));
    let foreign = routing(
        json!({ "Type": "ALL_AT_ONCE", "CanarySize": percent(10), "WaitIntervalInSeconds": 0 }),
        json!({}),
    );
    assert!(refusal(&foreign).contains("no other may be given"));
    let short = routing(
        json!({ "Type": "ALL_AT_ONCE", "WaitIntervalInSeconds": 300 }),
        json!({ "TerminationWaitInSeconds": 300, "MaximumExecutionTimeoutInSeconds": 600 }),
    );
    assert!(refusal(&short).contains("must be larger than"));
}

#[test]
fn sizes_keep_awss_limits() {
    let canary = |size| {
        routing(
            json!({ "Type": "CANARY", "CanarySize": size, "WaitIntervalInSeconds": 0 }),
            json!({}),
        )
    };
    let linear = |size| {
        routing(
            json!({ "Type": "LINEAR", "LinearStepSize": size, "WaitIntervalInSeconds": 0 }),
            json!({}),
        )
    };
    let rolling = |batch: Value, back: Value| {
        json!({ "RollingUpdatePolicy": {
            "MaximumBatchSize": batch, "RollbackMaximumBatchSize": back, "WaitIntervalInSeconds": 0,
        }})
    };
    for (config, allowed) in [
        (canary(percent(1)), true),
        (canary(percent(50)), true),
        (canary(percent(51)), false),
        (linear(percent(9)), false),
        (linear(percent(10)), true),
        (linear(percent(50)), true),
        (linear(percent(51)), false),
        (rolling(percent(4), percent(100)), false),
        (rolling(percent(5), percent(100)), true),
        (rolling(percent(50), percent(1)), true),
        (rolling(percent(51), percent(1)), false),
        (rolling(percent(50), percent(101)), false),
    ] {
        assert_eq!(parse(&config).is_ok(), allowed, "{config}");
    }
    // Numbers of instances are compared with the fleets.
    for (config, old, new, allowed) in [
        (canary(instances(1)), 1, 2, true),
        (canary(instances(1)), 4, 1, false),
        (canary(instances(3)), 4, 5, false),
        (linear(instances(1)), 4, 10, true),
        (linear(instances(1)), 4, 11, false),
        (linear(instances(6)), 4, 11, false),
        (rolling(instances(1), percent(100)), 20, 20, true),
        (rolling(instances(1), percent(100)), 20, 21, false),
        (rolling(instances(11), percent(100)), 20, 21, false),
        (rolling(instances(2), instances(3)), 3, 4, true),
        (rolling(instances(2), instances(4)), 3, 4, false),
        (canary(percent(50)), 1, 1, true),
    ] {
        let (policy, _) = parse(&config).unwrap();
        assert_eq!(check_counts(&policy, old, new).is_ok(), allowed, "{config} {old} {new}");
    }
}

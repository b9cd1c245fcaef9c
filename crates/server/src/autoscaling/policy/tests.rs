use proptest::prelude::*;
use serde_json::json;

use super::*;

fn variant() -> Resource {
    Resource::Variant { endpoint: "dogs".to_owned(), variant: "AllTraffic".to_owned() }
}

fn alias() -> Resource {
    Resource::Concurrency { function: "f".to_owned(), qualifier: "live".to_owned() }
}

fn predefined(name: &str, target: f64) -> Value {
    json!({"TargetValue": target, "PredefinedMetricSpecification": {"PredefinedMetricType": name}})
}

fn tracked(of: &Resource, configuration: &Value) -> Meaning {
    read(of, PolicyKind::TargetTracking, configuration).unwrap()
}

fn rule(meaning: &Meaning) -> TargetTracking {
    match &meaning.rule {
        Rule::TargetTracking(rule) => *rule,
        other => panic!("{other:?}"),
    }
}

#[test]
fn cooldowns_are_the_services_where_none_are_given() {
    let invocations = predefined("SageMakerVariantInvocationsPerInstance", 10.0);
    let meaning = tracked(&variant(), &invocations);
    let given = rule(&meaning);
    assert_eq!((given.scale_out_cooldown_ms, given.scale_in_cooldown_ms), (300_000, 300_000));
    let metric = meaning.metric.unwrap();
    assert_eq!((metric.statistic.as_str(), metric.period_s), ("Sum", 60));
    assert_eq!(metric.dimensions["VariantName"], "AllTraffic");
    let fast = meaning.fast.unwrap();
    assert_eq!((fast.measure, fast.scale_down_delay_ms), (Measure::RequestsPerMinute, 0));

    let lambda = tracked(&alias(), &predefined("LambdaProvisionedConcurrencyUtilization", 0.7));
    assert_eq!(rule(&lambda).scale_in_cooldown_ms, 0);
    assert!(lambda.fast.is_none());
    assert_eq!(lambda.metric.unwrap().dimensions["Resource"], "f:live");
}

#[test]
fn a_cooldown_that_is_given_holds_back_in_the_fast_mode_too() {
    let mut given = predefined("SageMakerVariantConcurrentRequestsPerModelHighResolution", 5.0);
    given["ScaleInCooldown"] = json!(30);
    given["DisableScaleIn"] = json!(true);
    let meaning = tracked(&variant(), &given);
    assert_eq!(meaning.metric.unwrap().period_s, 10);
    let fast = meaning.fast.unwrap();
    assert_eq!(
        (fast.measure, fast.scale_down_delay_ms, fast.disable_scale_in),
        (Measure::Concurrency, 30_000, true)
    );
}

#[test]
fn wrong_configurations_are_refused_in_words() {
    let cases = [
        (variant(), json!({"TargetValue": 1.0}), "exactly one"),
        (variant(), predefined("SageMakerVariantInvocationsPerInstance", 0.0), "TargetValue"),
        (variant(), predefined("SageMakerVariantInvocationsPerInstance", -1.0), "TargetValue"),
        (variant(), predefined("ECSServiceAverageCPUUtilization", 5.0), "only supports"),
        (alias(), predefined("SageMakerVariantInvocationsPerInstance", 5.0), "only supports"),
        (alias(), predefined("LambdaProvisionedConcurrencyUtilization", 1.0), "0.1 and 0.9"),
        (
            variant(),
            json!({"TargetValue": 1.0, "CustomizedMetricSpecification": {"Metrics": [{"Id": "a"}]}}),
            "metric math",
        ),
        (
            variant(),
            json!({"TargetValue": 1.0, "CustomizedMetricSpecification": {"Namespace": "n"}}),
            "MetricName, Namespace and Statistic",
        ),
    ];
    for (of, configuration, said) in cases {
        let error = read(&of, PolicyKind::TargetTracking, &configuration).unwrap_err();
        assert_eq!(error.code, "ValidationException");
        assert!(error.message.contains(said), "{configuration}: {}", error.message);
    }
    let mut negative = predefined("SageMakerVariantInvocationsPerInstance", 1.0);
    negative["ScaleOutCooldown"] = json!(-1);
    let error = read(&variant(), PolicyKind::TargetTracking, &negative).unwrap_err();
    assert!(error.message.contains("ScaleOutCooldown"), "{}", error.message);

    let steps = |more: Value| {
        let mut given = json!({
            "AdjustmentType": "ChangeInCapacity",
            "StepAdjustments": [{"MetricIntervalLowerBound": 0.0, "ScalingAdjustment": 1}],
        });
        for (member, value) in more.as_object().unwrap() {
            given[member] = value.clone();
        }
        read(&variant(), PolicyKind::Step, &given)
    };
    assert!(
        matches!(steps(json!({})).unwrap().rule, Rule::Step(ref s) if s.cooldown_ms == 300_000)
    );
    for (more, said) in [
        (json!({"StepAdjustments": []}), "StepAdjustment"),
        (json!({"AdjustmentType": null}), "AdjustmentType"),
        (json!({"MinAdjustmentMagnitude": 2}), "PercentChangeInCapacity"),
        (json!({"StepAdjustments": vec![json!({"ScalingAdjustment": 1}); 21]}), "20"),
    ] {
        let error = steps(more.clone()).unwrap_err();
        assert!(error.message.contains(said), "{more}: {}", error.message);
    }
}

#[test]
fn alarms_are_aws_s() {
    let meaning = tracked(&variant(), &predefined("SageMakerVariantInvocationsPerInstance", 10.0));
    let row = PolicyRow {
        name: "p".to_owned(),
        arn: "arn:aws:autoscaling:r:a:scalingPolicy:u:resource/x".to_owned(),
        kind: PolicyKind::TargetTracking,
        created: crate::context::Timestamp(0),
        configuration: Value::Null,
        alarms: alarm_names(&variant(), "us-east-1", "123456789012"),
    };
    let made = alarms(&row, &meaning);
    let [high, low] = made.as_slice() else { panic!("{made:?}") };
    assert!(high.name.starts_with("TargetTracking-endpoint/dogs/variant/AllTraffic-AlarmHigh-"));
    assert!(low.name.contains("-AlarmLow-"));
    assert_eq!(high.arn, format!("arn:aws:cloudwatch:us-east-1:123456789012:alarm:{}", high.name));
    assert_eq!((high.alarm.threshold, high.alarm.evaluation_periods), (10.0, 3));
    assert_eq!((low.alarm.threshold, low.alarm.evaluation_periods), (9.0, 15));
    assert_eq!(high.alarm_actions, [row.arn]);
}

proptest! {
    /// Whatever a configuration holds, reading it answers or refuses, and a rule has a sound target.
    #[test]
    fn any_configuration_is_read_or_refused(
        target in proptest::num::f64::ANY,
        cooldown in any::<i64>(),
        predefined in proptest::option::of("[A-Za-z]{0,40}|SageMakerVariantInvocationsPerInstance"),
    ) {
        let mut given = json!({"ScaleInCooldown": cooldown});
        given["TargetValue"] = json!(target);
        if let Some(name) = predefined {
            given["PredefinedMetricSpecification"] = json!({"PredefinedMetricType": name});
        }
        if let Ok(meaning) = read(&variant(), PolicyKind::TargetTracking, &given) {
            let rule = rule(&meaning);
            prop_assert!(rule.target > 0.0 && rule.target.is_finite());
            prop_assert!(rule.scale_in_cooldown_ms >= 0);
        }
    }
}

//! The operations, their refusals and their pages.

use super::*;

#[tokio::test]
async fn a_target_is_registered_changed_and_forgotten() {
    let stand = stand(Mode::Aws);
    let arn = stand.register(json!({"Tags": {"team": "dogs"}})).await;
    assert!(
        arn.starts_with("arn:aws:application-autoscaling:us-east-1:123456789012:scalable-target/")
    );
    let target = &stand
        .ok("DescribeScalableTargets", json!({"ServiceNamespace": "sagemaker"}))
        .await["ScalableTargets"][0];
    assert_eq!(
        target["RoleARN"],
        "arn:aws:iam::123456789012:role/aws-service-role/sagemaker.application-autoscaling.amazonaws.com/AWSServiceRoleForApplicationAutoScaling_SageMakerEndpoint"
    );
    assert_eq!((&target["MinCapacity"], &target["MaxCapacity"]), (&json!(1), &json!(4)));
    // An update changes what it names; the target stays the same.
    let update = with(
        dogs(),
        json!({"MaxCapacity": 2, "SuspendedState": {"DynamicScalingInSuspended": true}}),
    );
    let same = stand.ok("RegisterScalableTarget", update).await;
    assert_eq!(same["ScalableTargetARN"], arn);
    let ids =
        json!({"ServiceNamespace": "sagemaker", "ResourceIds": [variant("dogs").to_string()]});
    let target = &stand.ok("DescribeScalableTargets", ids).await["ScalableTargets"][0];
    assert_eq!((&target["MinCapacity"], &target["MaxCapacity"]), (&json!(1), &json!(2)));
    assert_eq!(
        target["SuspendedState"],
        json!({"DynamicScalingInSuspended": true, "DynamicScalingOutSuspended": false, "ScheduledScalingSuspended": false})
    );
    let (_, alarms) = stand.track(json!({})).await;
    stand.ok("DeregisterScalableTarget", dogs()).await;
    for alarm in alarms {
        assert_eq!(stand.metrics.alarms().state(&alarm).unwrap(), None);
    }
    let none = stand.ok("DescribeScalableTargets", json!({"ServiceNamespace": "sagemaker"})).await;
    assert_eq!(none["ScalableTargets"], json!([]));
    let none = stand.ok("DescribeScalingPolicies", json!({"ServiceNamespace": "sagemaker"})).await;
    assert_eq!(none["ScalingPolicies"], json!([]));
    let (code, message) = stand.refused("DeregisterScalableTarget", dogs()).await;
    assert_eq!(code, "ObjectNotFoundException");
    assert_eq!(
        message,
        "No scalable target registered for service namespace: sagemaker, resource ID: endpoint/dogs/variant/AllTraffic, scalable dimension: sagemaker:variant:DesiredInstanceCount"
    );
}

#[tokio::test]
async fn what_cannot_be_scaled_is_refused_in_words() {
    let stand = stand(Mode::Aws);
    stand.has(&variant("small"), 1, "ml.t2.medium");
    let bounds = json!({"MinCapacity": 1, "MaxCapacity": 3});
    let ecs = json!({"ServiceNamespace": "ecs", "ResourceId": "service/a/b", "ScalableDimension": "ecs:service:DesiredCount"});
    let mixed = with(dogs(), json!({"ServiceNamespace": "lambda"}));
    let short = with(dogs(), json!({"ResourceId": "endpoint/dogs"}));
    let function = json!({"ServiceNamespace": "lambda", "ResourceId": "function:f:live", "ScalableDimension": "lambda:function:ProvisionedConcurrency"});
    for (of, bounds, said) in [
        (dogs(), json!({"MinCapacity": 5, "MaxCapacity": 2}), "Maximum capacity cannot be less"),
        (dogs(), json!({"MinCapacity": -1, "MaxCapacity": 2}), "MinCapacity cannot be less than 0"),
        (dogs(), json!({"MinCapacity": 1}), "must be specified"),
        (dogs(), json!({"MinCapacity": 0, "MaxCapacity": 2}), "`kennel:mode` = `fast`"),
        (named("small"), bounds.clone(), "credits"),
        (named("small"), bounds.clone(), "ml.m5.large"),
        (named("none"), bounds.clone(), "SageMaker endpoint variant doesn't exist"),
        (function, bounds.clone(), "alias or version doesn't exist"),
        (ecs, bounds.clone(), "not implemented by Kennel"),
        (mixed, bounds.clone(), "Unsupported service namespace"),
        (short, bounds.clone(), "endpoint/ENDPOINT/variant/VARIANT"),
        (dogs(), with(bounds, json!({"Tags": {"kennel:mode": "slow"}})), "`aws` or `fast`"),
    ] {
        let input = with(of, bounds);
        let (code, message) = stand.refused("RegisterScalableTarget", input.clone()).await;
        assert_eq!(code, "ValidationException", "{input}");
        assert!(message.contains(said), "{input}: {message}");
    }
    let none = stand.ok("DescribeScalableTargets", json!({"ServiceNamespace": "sagemaker"})).await;
    assert_eq!(none["ScalableTargets"], json!([]));
}

#[tokio::test]
async fn policies_are_made_with_their_alarms_changed_and_deleted() {
    let stand = stand(Mode::Aws);
    let (code, _) = stand.refused("PutScalingPolicy", tracking()).await;
    assert_eq!(code, "ObjectNotFoundException");
    stand.register(json!({})).await;
    let (arn, alarms) = stand.track(json!({})).await;
    assert!(arn.starts_with("arn:aws:autoscaling:us-east-1:123456789012:scalingPolicy:"), "{arn}");
    assert!(arn.ends_with(":resource/sagemaker/endpoint/dogs/variant/AllTraffic:policyName/track"));
    let state = |name: &str| stand.metrics.alarms().state(name).unwrap();
    assert!(alarms.iter().all(|name| state(name).is_some()));
    // Again: the same policy with the same alarms.
    let changed = json!({"TargetValue": 20.0, "DisableScaleIn": true, "PredefinedMetricSpecification": {"PredefinedMetricType": "SageMakerVariantInvocationsPerInstance"}});
    let again = stand.track(json!({"TargetTrackingScalingPolicyConfiguration": changed})).await;
    assert_eq!(again, (arn, alarms.clone()));
    let found =
        stand.ok("DescribeScalingPolicies", with(dogs(), json!({"PolicyNames": ["track"]}))).await;
    let policy = &found["ScalingPolicies"][0];
    assert_eq!(policy["TargetTrackingScalingPolicyConfiguration"], changed);
    assert_eq!(policy["Alarms"].as_array().unwrap().len(), 2);
    // One policy for one metric.
    let second = with(tracking(), json!({"PolicyName": "second"}));
    let (_, message) = stand.refused("PutScalingPolicy", second).await;
    assert!(message.starts_with("Only one TargetTrackingScaling policy"), "{message}");
    let step = with(
        dogs(),
        json!({
            "PolicyName": "steps",
            "StepScalingPolicyConfiguration": {
                "AdjustmentType": "ChangeInCapacity",
                "StepAdjustments": [{"MetricIntervalLowerBound": 0.0, "ScalingAdjustment": 1}],
            },
        }),
    );
    let made = stand.ok("PutScalingPolicy", step.clone()).await;
    assert_eq!(made["Alarms"], json!([]));
    for (input, said) in [
        (
            with(step.clone(), json!({"PolicyName": "track", "PolicyType": "StepScaling"})),
            "cannot become",
        ),
        (
            with(step, json!({"PolicyType": "TargetTrackingScaling", "PolicyName": "x"})),
            "must not be specified",
        ),
        (with(dogs(), json!({"PolicyName": "x"})), "must be specified"),
        (
            with(dogs(), json!({"PolicyName": "x", "PolicyType": "PredictiveScaling"})),
            "PredictiveScaling",
        ),
    ] {
        let (code, message) = stand.refused("PutScalingPolicy", input.clone()).await;
        assert_eq!(code, "ValidationException");
        assert!(message.contains(said), "{input}: {message}");
    }
    let name = json!({"PolicyName": "track"});
    stand.ok("DeleteScalingPolicy", with(dogs(), name.clone())).await;
    assert!(alarms.iter().all(|name| state(name).is_none()));
    let (code, _) = stand.refused("DeleteScalingPolicy", with(dogs(), name)).await;
    assert_eq!(code, "ObjectNotFoundException");
}

#[tokio::test]
async fn lists_come_in_pages() {
    let stand = stand(Mode::Aws);
    for n in 0..5 {
        let name = format!("e{n}");
        stand.has(&variant(&name), 1, "ml.c5.large");
        let input = with(named(&name), json!({"MinCapacity": 1, "MaxCapacity": 2}));
        stand.ok("RegisterScalableTarget", input).await;
    }
    let mut seen = Vec::new();
    let mut input = json!({"ServiceNamespace": "sagemaker", "MaxResults": 2});
    loop {
        let page = stand.ok("DescribeScalableTargets", input.clone()).await;
        let targets = page["ScalableTargets"].as_array().unwrap();
        assert!(targets.len() <= 2);
        seen.extend(targets.iter().map(|t| t["ResourceId"].as_str().unwrap().to_owned()));
        match page.get("NextToken") {
            Some(token) => input["NextToken"] = token.clone(),
            None => break,
        }
    }
    let all: Vec<String> = (0..5).map(|n| variant(&format!("e{n}")).to_string()).collect();
    assert_eq!(seen, all);
    let bad = json!({"ServiceNamespace": "sagemaker", "NextToken": "%"});
    assert_eq!(stand.refused("DescribeScalableTargets", bad).await.0, "InvalidNextTokenException");
    let bad = json!({"ServiceNamespace": "sagemaker", "NextToken": "eHg"});
    assert_eq!(
        stand.refused("DescribeScalingActivities", bad).await.0,
        "InvalidNextTokenException"
    );
    for size in [0, 51] {
        let bad = json!({"ServiceNamespace": "sagemaker", "MaxResults": size});
        assert_eq!(stand.refused("DescribeScalableTargets", bad).await.0, "ValidationException");
    }
    let other = stand.ok("DescribeScalableTargets", json!({"ServiceNamespace": "ecs"})).await;
    assert_eq!(other["ScalableTargets"], json!([]));
}

#[tokio::test]
async fn tags_say_the_mode_and_a_floor_of_zero_needs_the_fast_one() {
    let stand = stand(Mode::Aws);
    let arn =
        stand.register(json!({"MinCapacity": 0, "Tags": {"kennel:mode": "fast", "a": "b"}})).await;
    let of = json!({"ResourceARN": arn});
    let tags = stand.ok("ListTagsForResource", of.clone()).await;
    assert_eq!(tags["Tags"], json!({"kennel:mode": "fast", "a": "b"}));
    let (_, message) =
        stand.refused("UntagResource", with(of.clone(), json!({"TagKeys": ["kennel:mode"]}))).await;
    assert!(message.contains("less than 1"), "{message}");
    stand.ok("UntagResource", with(of.clone(), json!({"TagKeys": ["a"]}))).await;
    stand.ok("RegisterScalableTarget", with(dogs(), json!({"MinCapacity": 1}))).await;
    stand.ok("TagResource", with(of.clone(), json!({"Tags": {"kennel:mode": "aws"}}))).await;
    assert_eq!(
        stand.ok("ListTagsForResource", of.clone()).await["Tags"],
        json!({"kennel:mode": "aws"})
    );
    let many: serde_json::Map<String, Value> =
        (0..51).map(|n| (format!("k{n}"), json!("v"))).collect();
    let (code, _) = stand.refused("TagResource", with(of, json!({"Tags": many}))).await;
    assert_eq!(code, "TooManyTagsException");
    let none = "arn:aws:application-autoscaling:us-east-1:123456789012:scalable-target/none";
    let (code, _) = stand.refused("ListTagsForResource", json!({"ResourceARN": none})).await;
    assert_eq!(code, "ResourceNotFoundException");
}

#[tokio::test]
async fn scheduled_actions_are_kept_checked_and_deleted() {
    let stand = stand(Mode::Aws);
    let night = with(
        dogs(),
        json!({
            "ScheduledActionName": "night", "Schedule": "cron(0 22 * * ? *)", "Timezone": "Europe/Berlin",
            "ScalableTargetAction": {"MinCapacity": 1, "MaxCapacity": 1},
        }),
    );
    assert_eq!(
        stand.refused("PutScheduledAction", night.clone()).await.0,
        "ObjectNotFoundException"
    );
    stand.register(json!({})).await;
    stand.ok("PutScheduledAction", night.clone()).await;
    // An update says what changes.
    let update = with(
        dogs(),
        json!({"ScheduledActionName": "night", "ScalableTargetAction": {"MaxCapacity": 2}}),
    );
    stand.ok("PutScheduledAction", update).await;
    let found = stand.ok("DescribeScheduledActions", dogs()).await;
    let action = &found["ScheduledActions"][0];
    assert_eq!(action["Schedule"], "cron(0 22 * * ? *)");
    assert_eq!(action["Timezone"], "Europe/Berlin");
    assert_eq!(action["ScalableTargetAction"], json!({"MaxCapacity": 2}));
    for (changes, said) in [
        (json!({"Schedule": "sometimes"}), "sometimes"),
        (json!({"Schedule": "at(2020-01-01T00:00:00)"}), "no time after now"),
        (json!({"Timezone": "Mars/Olympus"}), "Mars/Olympus"),
        (json!({"ScalableTargetAction": {}}), "MinCapacity"),
        (
            json!({"ScalableTargetAction": {"MinCapacity": 3, "MaxCapacity": 2}}),
            "less than minimum",
        ),
        (json!({"ScalableTargetAction": {"MinCapacity": 0}}), "fast"),
        (json!({"StartTime": 1_900_000_000, "EndTime": 1_850_000_000}), "EndTime"),
    ] {
        let (code, message) =
            stand.refused("PutScheduledAction", with(night.clone(), changes.clone())).await;
        assert_eq!(code, "ValidationException", "{changes}");
        assert!(message.contains(said), "{changes}: {message}");
    }
    let name = with(dogs(), json!({"ScheduledActionName": "night"}));
    stand.ok("DeleteScheduledAction", name.clone()).await;
    assert_eq!(stand.refused("DeleteScheduledAction", name).await.0, "ObjectNotFoundException");
}

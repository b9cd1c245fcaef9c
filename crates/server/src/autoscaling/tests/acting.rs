//! What is done: alarms and load become capacities and activities.

use super::*;

fn fast_target() -> Value {
    json!({"MinCapacity": 0, "Tags": {"kennel:mode": "fast"}})
}

#[tokio::test]
async fn a_capacity_outside_of_the_bounds_is_brought_inside() {
    let stand = stand(Mode::Aws);
    stand.register(json!({"MinCapacity": 2})).await;
    assert_eq!(stand.desired(), 2);
    let activity = &stand.activities(json!({})).await[0];
    assert_eq!(activity["Cause"], "minimum capacity was set to 2");
    assert_eq!(activity["Description"], "Setting desired instance count to 2.");
    assert_eq!(activity["StatusCode"], "InProgress");
    assert_eq!(
        activity["StatusMessage"],
        "Successfully set desired instance count to 2. Waiting for change to be fulfilled by sagemaker."
    );
    assert!(activity.get("EndTime").is_none() && activity.get("Details").is_none());
    // Not before the instances are there.
    stand.service.settle(later(5)).await.unwrap();
    assert_eq!(stand.activities(json!({})).await[0]["StatusCode"], "InProgress");
    stand.facts(|facts| facts.ready = 2);
    stand.service.settle(later(9)).await.unwrap();
    let activity = &stand.activities(json!({})).await[0];
    assert_eq!(activity["StatusCode"], "Successful");
    assert_eq!(
        activity["StatusMessage"],
        "Successfully set desired instance count to 2. Change successfully fulfilled by sagemaker."
    );
    assert_eq!(activity["EndTime"].as_f64(), Some(later(9).seconds()));
    stand.register(json!({"MinCapacity": 1, "MaxCapacity": 1})).await;
    assert_eq!(stand.activities(json!({})).await[0]["Cause"], "maximum capacity was set to 1");
}

#[tokio::test]
async fn an_endpoint_that_is_busy_is_brought_inside_later() {
    let stand = stand(Mode::Aws);
    stand.facts(|facts| facts.busy = Some("Creating".to_owned()));
    stand.register(json!({"MinCapacity": 2})).await;
    stand.service.second(later(1)).await;
    assert_eq!(stand.desired(), 1);
    stand.facts(|facts| facts.busy = None);
    *stand.made.refusal.lock().unwrap() = Some("in progress".to_owned());
    stand.service.second(later(2)).await;
    assert!(stand.activities(json!({})).await.is_empty(), "a refusal is tried again, not told");
    *stand.made.refusal.lock().unwrap() = None;
    stand.service.second(later(3)).await;
    assert_eq!(stand.desired(), 2);
    // What its user sets afterwards stays.
    stand.facts(|facts| facts.desired = 1);
    stand.service.second(later(4)).await;
    assert_eq!(stand.desired(), 1);
}

#[tokio::test]
async fn an_alarm_scales_out_once_within_the_cooldown() {
    let stand = stand(Mode::Aws);
    stand.register(json!({})).await;
    let (arn, alarms) = stand.track(json!({})).await;
    stand.fire(later(0), &arn, &alarms[0], 25.0).await;
    assert_eq!(stand.desired(), 3);
    let activity = &stand.activities(json!({})).await[0];
    assert_eq!(
        activity["Cause"],
        format!("monitor alarm {} in state ALARM triggered policy track", alarms[0])
    );
    // Two vCPUs each on four cores.
    let details = activity["Details"].as_str().unwrap();
    assert!(details.contains("3 instances of ml.m5.large share the same 4 cores"), "{details}");
    // The alarm fires again before the instances are there, with what is already being done about.
    stand.fire(later(60), &arn, &alarms[0], 25.0).await;
    assert_eq!(stand.desired(), 3);
    // More than was foreseen does not wait.
    stand.fire(later(120), &arn, &alarms[0], 35.0).await;
    assert_eq!(stand.desired(), 4);
    let activities = stand.activities(json!({})).await;
    assert_eq!(activities.len(), 2);
    assert_eq!(activities[1]["StatusCode"], "Overridden");
}

#[tokio::test]
async fn a_cooldown_counts_from_the_end_of_its_activity() {
    let stand = stand(Mode::Aws);
    stand.has(&variant("dogs"), 4, "ml.m5.large");
    stand.register(json!({})).await;
    let configuration = json!({"TargetValue": 10.0, "ScaleInCooldown": 60, "PredefinedMetricSpecification": {"PredefinedMetricType": "SageMakerVariantInvocationsPerInstance"}});
    let (arn, alarms) =
        stand.track(json!({"TargetTrackingScalingPolicyConfiguration": configuration})).await;
    stand.fire(later(0), &arn, &alarms[1], 7.0).await;
    assert_eq!(stand.desired(), 3);
    stand.facts(|facts| facts.ready = 3);
    stand.service.settle(later(50)).await.unwrap();
    stand.fire(later(90), &arn, &alarms[1], 1.0).await;
    assert_eq!(stand.desired(), 3, "40 s after the end");
    stand.fire(later(111), &arn, &alarms[1], 1.0).await;
    assert_eq!(stand.desired(), 1);
}

#[tokio::test]
async fn why_nothing_is_scaled_is_told_once_where_it_is_asked_for() {
    let stand = stand(Mode::Aws);
    stand.register(json!({"MaxCapacity": 1})).await;
    let (arn, alarms) = stand.track(json!({})).await;
    for minute in 0..3 {
        stand.fire(later(60 * minute), &arn, &alarms[0], 99.0).await;
    }
    assert!(stand.activities(json!({})).await.is_empty());
    let kept = stand.activities(json!({"IncludeNotScaledActivities": true})).await;
    assert_eq!(kept.len(), 1);
    assert_eq!(kept[0]["Description"], "Attempting to scale due to alarm triggered");
    assert_eq!(kept[0]["StatusCode"], "Failed");
    assert_eq!(
        kept[0]["NotScaledReasons"],
        json!([{"Code": "AlreadyAtMaxCapacity", "MaxCapacity": 1}])
    );
    stand.facts(|facts| facts.busy = Some("Updating".to_owned()));
    stand.fire(later(240), &arn, &alarms[0], 99.0).await;
    let kept = stand.activities(json!({"IncludeNotScaledActivities": true})).await;
    assert_eq!(kept[0]["NotScaledReasons"][0]["Code"], "TargetServicePutResourceAsUnscalable");
}

#[tokio::test]
async fn a_refusal_of_the_service_is_a_failed_activity() {
    let stand = stand(Mode::Aws);
    stand.register(json!({})).await;
    let (arn, alarms) = stand.track(json!({})).await;
    *stand.made.refusal.lock().unwrap() = Some("Cannot update in-progress endpoint".to_owned());
    for minute in 0..2 {
        stand.fire(later(60 * minute), &arn, &alarms[0], 15.0).await;
    }
    let activities = stand.activities(json!({})).await;
    assert_eq!(activities.len(), 1);
    assert_eq!(activities[0]["StatusCode"], "Failed");
    let message = activities[0]["StatusMessage"].as_str().unwrap();
    assert!(message.contains("Cannot update in-progress endpoint"), "{message}");
    // It has begun no cooldown.
    *stand.made.refusal.lock().unwrap() = None;
    stand.fire(later(120), &arn, &alarms[0], 15.0).await;
    assert_eq!(stand.desired(), 2);
}

#[tokio::test]
async fn all_tracking_policies_must_agree_before_instances_go() {
    let stand = stand(Mode::Aws);
    stand.has(&variant("dogs"), 4, "ml.m5.large");
    stand.register(json!({})).await;
    let (arn, alarms) = stand.track(json!({})).await;
    let own = json!({"TargetValue": 50.0, "CustomizedMetricSpecification": {"Namespace": "Shop", "MetricName": "Queue", "Statistic": "Average"}});
    let second = json!({"PolicyName": "queue", "TargetTrackingScalingPolicyConfiguration": own});
    let (other, others) = stand.track(second).await;
    set(&stand, &others[0], "OK").await;
    set(&stand, &others[1], "OK").await;
    stand.fire(later(0), &arn, &alarms[1], 1.0).await;
    assert_eq!(stand.desired(), 4, "the queue's alarms are quiet");
    set(&stand, &alarms[1], "ALARM").await;
    stand.fire(later(60), &other, &others[1], 30.0).await;
    assert_eq!(stand.desired(), 3, "the larger of both");
}

/// Says an alarm's state, as evaluating it would.
async fn set(stand: &Stand, alarm: &str, state: &str) {
    let input = json!({"AlarmName": alarm, "StateValue": state, "StateReason": "test"});
    stand.metrics.call(&context_at(NOW), "SetAlarmState", input).await.unwrap();
}

#[tokio::test]
async fn a_step_policy_acts_on_its_users_alarm() {
    let stand = stand(Mode::Aws);
    stand.register(json!({})).await;
    let policy = with(
        dogs(),
        json!({
            "PolicyName": "steps", "PolicyType": "StepScaling",
            "StepScalingPolicyConfiguration": {
                "AdjustmentType": "ChangeInCapacity",
                "StepAdjustments": [
                    {"MetricIntervalLowerBound": 0.0, "MetricIntervalUpperBound": 5.0, "ScalingAdjustment": 1},
                    {"MetricIntervalLowerBound": 5.0, "ScalingAdjustment": 2},
                ],
            },
        }),
    );
    let arn = stand.ok("PutScalingPolicy", policy).await["PolicyARN"].as_str().unwrap().to_owned();
    let alarm = json!({
        "AlarmName": "mine", "Namespace": "Shop", "MetricName": "Queue", "Statistic": "Average",
        "Period": 60, "EvaluationPeriods": 1, "Threshold": 10.0,
        "ComparisonOperator": "GreaterThanThreshold", "AlarmActions": [arn],
    });
    stand.metrics.call(&context_at(NOW), "PutMetricAlarm", alarm).await.unwrap();
    // Without a datapoint it is the first step.
    set(&stand, "mine", "ALARM").await;
    assert_eq!(stand.desired(), 2);
    stand.fire(later(600), &arn, "mine", 16.0).await;
    assert_eq!(stand.desired(), 4);
}

#[tokio::test]
async fn what_is_suspended_does_not_act() {
    let stand = stand(Mode::Aws);
    stand.register(json!({"SuspendedState": {"DynamicScalingOutSuspended": true, "ScheduledScalingSuspended": true}})).await;
    let (arn, alarms) = stand.track(json!({})).await;
    stand.fire(later(0), &arn, &alarms[0], 99.0).await;
    let action = with(
        dogs(),
        json!({"ScheduledActionName": "a", "Schedule": "rate(1 minute)", "ScalableTargetAction": {"MinCapacity": 3}}),
    );
    stand.ok("PutScheduledAction", action).await;
    stand.service.second(later(61)).await;
    assert_eq!(stand.desired(), 1);
    stand.register(json!({"SuspendedState": {"ScheduledScalingSuspended": false}})).await;
    stand.service.second(later(121)).await;
    assert_eq!(stand.desired(), 3);
}

#[tokio::test]
async fn a_scheduled_action_sets_bounds_and_the_capacity_follows() {
    let stand = stand(Mode::Aws);
    stand.register(json!({})).await;
    let at = chrono::DateTime::from_timestamp_millis(later(60).0).unwrap();
    let action = with(
        dogs(),
        json!({
            "ScheduledActionName": "morning", "Schedule": format!("at({})", at.format("%Y-%m-%dT%H:%M:%S")),
            "ScalableTargetAction": {"MinCapacity": 2, "MaxCapacity": 6},
        }),
    );
    stand.ok("PutScheduledAction", action).await;
    stand.service.second(later(59)).await;
    assert_eq!(stand.desired(), 1);
    // The platform was down when it was due: it is done at the start.
    let made = stand.made.clone();
    let (_, service) = open(stand.folder.path(), made, Mode::Aws);
    service.second(later(600)).await;
    service.second(later(601)).await;
    assert_eq!(stand.desired(), 2);
    let activities = stand.activities(json!({})).await;
    assert_eq!(activities.len(), 2, "once");
    assert_eq!(activities[0]["Cause"], "minimum capacity was set to 2");
    assert_eq!(activities[1]["Cause"], "scheduled action name morning was triggered");
    assert_eq!(activities[1]["Description"], "Setting min capacity to 2 and max capacity to 6");
    assert_eq!(activities[1]["StatusCode"], "Successful");
}

#[tokio::test]
async fn activities_end_when_their_resource_does_and_targets_go_with_it() {
    let stand = stand(Mode::Aws);
    stand.register(json!({"MinCapacity": 2})).await;
    let (_, alarms) = stand.track(json!({})).await;
    let guard = Guard { database: stand.service.inner.database.clone() };
    assert_eq!(guard.scaled_variants("dogs"), ["AllTraffic"]);
    assert!(guard.scaled_variants("cats").is_empty());
    stand.made.facts.lock().unwrap().clear();
    stand.service.settle(later(1)).await.unwrap();
    stand.service.second(later(1)).await;
    assert_eq!(stand.activities(json!({})).await[0]["StatusCode"], "Unfulfilled");
    assert!(guard.scaled_variants("dogs").is_empty());
    assert_eq!(stand.metrics.alarms().state(&alarms[0]).unwrap(), None);
}

#[tokio::test]
async fn a_change_that_never_comes_about_is_unfulfilled() {
    let stand = stand(Mode::Aws);
    stand.register(json!({"MinCapacity": 2})).await;
    stand.service.settle(later(29 * 60)).await.unwrap();
    assert_eq!(stand.activities(json!({})).await[0]["StatusCode"], "InProgress");
    stand.service.settle(later(31 * 60)).await.unwrap();
    let activity = &stand.activities(json!({})).await[0];
    assert_eq!(activity["StatusCode"], "Unfulfilled");
    assert!(activity["StatusMessage"].as_str().unwrap().contains("timed out"));
}

#[tokio::test]
async fn activities_are_bounded_and_come_in_pages() {
    let stand = stand(Mode::Aws);
    stand.register(json!({})).await;
    let row = |n: i64| rows::ActivityRow {
        id: format!("a{n}"),
        resource: variant("dogs"),
        description: "d".to_owned(),
        cause: "c".to_owned(),
        started: later(n),
        ended: None,
        status: rows::ActivityStatus::Successful,
        message: None,
        details: None,
        not_scaled: Vec::new(),
        to: None,
        cooling: false,
    };
    let add = move |c: &Connection| {
        for n in 0..1200 {
            rows::add_activity(c, &row(n))?;
        }
        Ok(())
    };
    stand.service.write(add).await.unwrap();
    let mut seen = Vec::new();
    let mut input = json!({"ServiceNamespace": "sagemaker"});
    loop {
        let page = stand.ok("DescribeScalingActivities", input.clone()).await;
        let page_of = page["ScalingActivities"].as_array().unwrap();
        assert!(page_of.len() <= 50);
        seen.extend(page_of.iter().map(|a| a["ActivityId"].as_str().unwrap().to_owned()));
        match page.get("NextToken") {
            Some(token) => input["NextToken"] = token.clone(),
            None => break,
        }
    }
    let newest: Vec<String> = (200..1200).rev().map(|n| format!("a{n}")).collect();
    assert_eq!(seen, newest);
    // Six weeks later the next activity takes the old ones along.
    let late = rows::ActivityRow { started: later(43 * 86_400), ..row(1) };
    stand.service.write(move |c| rows::add_activity(c, &late)).await.unwrap();
    assert_eq!(stand.activities(json!({})).await.len(), 1);
}

#[tokio::test]
async fn the_fast_mode_follows_the_load_down_to_zero_and_back() {
    let stand = stand(Mode::Aws);
    stand.register(fast_target()).await;
    let (arn, alarms) = stand.track(json!({})).await;
    stand.service.watch().unwrap();
    assert!(stand.service.is_watching());
    let mut load = Load { ready: 1, in_flight: 1, held: 0, arrived: 0 };
    // Half a request a second: three instances' worth of ten a minute each.
    let mut second = 0;
    for _ in 0..70 {
        second += 1;
        load.arrived += u64::from(second % 2 == 0);
        load.ready = stand.desired();
        stand.load(load);
        stand.service.sample();
        stand.service.second(later(second)).await;
    }
    assert_eq!(stand.desired(), 3);
    let activities = stand.activities(json!({})).await;
    let cause = activities[0]["Cause"].as_str().unwrap();
    assert!(cause.starts_with("fast mode triggered policy track: "), "{cause}");
    assert!(cause.contains("requests a minute"), "{cause}");
    // Its alarms are there, and do nothing.
    stand.fire(later(second), &arn, &alarms[0], 99.0).await;
    assert_eq!(stand.desired(), 3);
    // Nothing comes any more.
    for _ in 0..200 {
        second += 1;
        load = Load { ready: stand.desired(), in_flight: 0, ..load };
        stand.load(load);
        stand.service.second(later(second)).await;
    }
    assert_eq!(stand.desired(), 0);
    // A request comes.
    load = Load { ready: 0, in_flight: 1, held: 1, arrived: load.arrived + 1 };
    stand.load(load);
    stand.service.wake(later(second)).await.unwrap();
    assert_eq!(stand.desired(), 1);
    assert_eq!(
        stand.activities(json!({})).await[0]["Cause"],
        "1 request waits for a first instance"
    );
    // It stays for it, however long it takes to start.
    for _ in 0..20 {
        second += 1;
        stand.service.second(later(second)).await;
    }
    assert_eq!(stand.desired(), 1);
}

#[tokio::test]
async fn one_policy_can_be_fast_beside_others_and_heeds_their_alarms() {
    let stand = stand(Mode::Fast);
    stand.has(&variant("dogs"), 2, "ml.m5.large");
    stand.register(json!({"Tags": {"kennel:mode": "aws", "kennel:mode/fast": "fast"}})).await;
    let (_, alarms) = stand.track(json!({})).await;
    let concurrent = json!({"TargetValue": 4.0, "PredefinedMetricSpecification": {"PredefinedMetricType": "SageMakerVariantConcurrentRequestsPerModelHighResolution"}});
    stand
        .track(
            json!({"PolicyName": "fast", "TargetTrackingScalingPolicyConfiguration": concurrent}),
        )
        .await;
    stand.service.watch().unwrap();
    stand.load(Load { ready: 2, in_flight: 0, held: 0, arrived: 5 });
    for second in 0..200 {
        stand.service.second(later(second)).await;
    }
    assert_eq!(stand.desired(), 2, "the other policy's alarms do not agree");
    set(&stand, &alarms[1], "ALARM").await;
    stand.service.second(later(200)).await;
    assert_eq!(stand.desired(), 1);
    // Suspended scaling is so for the fast mode as well.
    stand.register(json!({"SuspendedState": {"DynamicScalingOutSuspended": true}})).await;
    stand.load(Load { ready: 1, in_flight: 50, held: 0, arrived: 5 });
    for second in 201..260 {
        stand.service.second(later(second)).await;
    }
    assert_eq!(stand.desired(), 1);
}

#[tokio::test]
async fn a_restart_makes_the_alarms_that_lack() {
    let stand = stand(Mode::Aws);
    stand.register(json!({})).await;
    let (_, alarms) = stand.track(json!({})).await;
    stand.metrics.alarms().delete(vec![alarms[1].clone()]).await.unwrap();
    stand.service.restore(later(1)).await.unwrap();
    assert!(stand.metrics.alarms().state(&alarms[1]).unwrap().is_some());
}

#[tokio::test]
async fn provisioned_concurrency_is_scaled_by_its_utilization() {
    let stand = stand(Mode::Aws);
    let of = Resource::Concurrency { function: "f".to_owned(), qualifier: "live".to_owned() };
    stand.has(&of, 2, "");
    let alias = json!({"ServiceNamespace": "lambda", "ResourceId": "function:f:live", "ScalableDimension": "lambda:function:ProvisionedConcurrency"});
    let bounds = json!({"MinCapacity": 0, "MaxCapacity": 5});
    stand.ok("RegisterScalableTarget", with(alias.clone(), bounds)).await;
    let policy = json!({"PolicyName": "p", "PolicyType": "TargetTrackingScaling", "TargetTrackingScalingPolicyConfiguration": {"TargetValue": 0.5, "PredefinedMetricSpecification": {"PredefinedMetricType": "LambdaProvisionedConcurrencyUtilization"}}});
    let answer = stand.ok("PutScalingPolicy", with(alias, policy)).await;
    let (arn, alarm) = (&answer["PolicyARN"], &answer["Alarms"][0]["AlarmName"]);
    stand.fire(later(0), arn.as_str().unwrap(), alarm.as_str().unwrap(), 1.0).await;
    let answer = stand.ok("DescribeScalingActivities", json!({"ServiceNamespace": "lambda"})).await;
    let activity = &answer["ScalingActivities"][0];
    assert_eq!(activity["Description"], "Setting desired concurrency to 4.");
    assert!(activity.get("Details").is_none());
}

//! Sentences against those that CloudWatch wrote in public notifications and histories.

use std::collections::BTreeMap;

use kennel_scaling::alarm::Alarm;

use super::*;

fn spec(comparison: Comparison, threshold: f64, periods: u32, least: Option<u32>) -> AlarmSpec {
    AlarmSpec {
        name: "a".to_owned(),
        arn: "arn:aws:cloudwatch:us-east-1:123456789012:alarm:a".to_owned(),
        namespace: "Flow".to_owned(),
        metric: "m".to_owned(),
        dimensions: BTreeMap::new(),
        statistic: "Sum".to_owned(),
        unit: None,
        period_s: 60,
        alarm: Alarm {
            comparison,
            threshold,
            evaluation_periods: periods,
            datapoints_to_alarm: least.unwrap_or(periods),
            missing: Missing::Missing,
        },
        datapoints_given: least.is_some(),
        missing_given: false,
        low_sample_count: None,
        actions_enabled: true,
        ok_actions: Vec::new(),
        alarm_actions: Vec::new(),
        insufficient_actions: Vec::new(),
        description: None,
        tags: BTreeMap::new(),
    }
}

/// Points of successive minutes up to 2018-05-16 04:31.
fn points(values: &[Option<f64>]) -> Vec<Datapoint> {
    let newest = 1_526_445_060;
    values
        .iter()
        .rev()
        .enumerate()
        .map(|(age, value)| Datapoint {
            time: newest - 60 * age as i64,
            value: *value,
            count: if value.is_some() { 2.0 } else { 0.0 },
        })
        .rev()
        .collect()
}

fn said(spec: &AlarmSpec, state: State, values: &[Option<f64>]) -> String {
    words(Timestamp(1_526_445_166_932), spec, state, &points(values)).reason
}

#[test]
fn one_datapoint() {
    let given = spec(Comparison::GreaterThanOrEqualToThreshold, 0.0, 1, Some(1));
    assert_eq!(
        said(&given, State::Alarm, &[Some(7.0), Some(0.0)]),
        "Threshold Crossed: 1 out of the last 1 datapoints [0.0 (16/05/18 04:31:00)] was greater than or equal to the threshold (0.0) (minimum 1 datapoint for OK -> ALARM transition)."
    );
    let given = spec(Comparison::GreaterThanThreshold, 50.0, 1, Some(1));
    assert_eq!(
        said(&given, State::Ok, &[Some(0.0666851903306472)]),
        "Threshold Crossed: 1 out of the last 1 datapoints [0.0666851903306472 (16/05/18 04:31:00)] was not greater than the threshold (50.0) (minimum 1 datapoint for ALARM -> OK transition)."
    );
    let plain = spec(Comparison::GreaterThanThreshold, 0.0, 1, None);
    assert_eq!(
        said(&plain, State::Ok, &[Some(0.0)]),
        "Threshold Crossed: 1 datapoint [0.0 (16/05/18 04:31:00)] was not greater than the threshold (0.0)."
    );
}

#[test]
fn some_datapoints_newest_first_and_many_behind_the_sentence() {
    let three = spec(Comparison::GreaterThanThreshold, 0.0, 3, None);
    assert_eq!(
        said(&three, State::Alarm, &[Some(1.0), Some(3.0), Some(2.0)]),
        "Threshold Crossed: 3 datapoints [2.0 (16/05/18 04:31:00), 3.0 (16/05/18 04:30:00), 1.0 (16/05/18 04:29:00)] were greater than the threshold (0.0)."
    );
    let fifteen = spec(Comparison::LessThanThreshold, 9.0, 15, None);
    assert_eq!(
        said(&fifteen, State::Alarm, &[Some(0.0); 17]),
        "Threshold Crossed: 15 datapoints were less than the threshold (9.0). The most recent datapoints which crossed the threshold: [0.0 (16/05/18 04:31:00), 0.0 (16/05/18 04:30:00), 0.0 (16/05/18 04:29:00), 0.0 (16/05/18 04:28:00), 0.0 (16/05/18 04:27:00)]."
    );
    let five = spec(Comparison::LessThanThreshold, 65.0, 5, Some(5));
    assert!(
        said(&five, State::Alarm, &[Some(0.0); 5]).ends_with(
            "0.0 (16/05/18 04:27:00)] (minimum 5 datapoints for OK -> ALARM transition)."
        )
    );
    let two_of_three = spec(Comparison::GreaterThanThreshold, 1.0, 3, Some(2));
    assert_eq!(
        said(&two_of_three, State::Ok, &[Some(2.0), Some(1.0), Some(0.5)]),
        "Threshold Crossed: 2 out of the last 3 datapoints [0.5 (16/05/18 04:31:00), 1.0 (16/05/18 04:30:00)] were not greater than the threshold (1.0) (minimum 2 datapoints for ALARM -> OK transition)."
    );
}

#[test]
fn missing_datapoints() {
    let mut one = spec(Comparison::GreaterThanThreshold, 1.0, 1, None);
    assert_eq!(
        said(&one, State::InsufficientData, &[None, None, None]),
        "Insufficient Data: 1 datapoint was unknown."
    );
    one.alarm.missing = Missing::Breaching;
    assert_eq!(
        said(&one, State::Alarm, &[None]),
        "Threshold Crossed: no datapoints were received for 1 period and 1 missing datapoint was treated as [Breaching]."
    );
    let mut three = spec(Comparison::GreaterThanThreshold, 1.0, 3, None);
    assert_eq!(
        said(&three, State::InsufficientData, &[None; 5]),
        "Insufficient Data: 3 datapoints were unknown."
    );
    three.alarm.missing = Missing::NotBreaching;
    assert_eq!(
        said(&three, State::Ok, &[None; 5]),
        "Threshold Crossed: no datapoints were received for 3 periods and 3 missing datapoints were treated as [NonBreaching]."
    );
    three.alarm.missing = Missing::Breaching;
    three.alarm.datapoints_to_alarm = 2;
    assert_eq!(
        said(&three, State::Alarm, &[Some(0.0), None, None]),
        "Threshold Crossed: 1 datapoint was received for 3 periods and 2 missing datapoints were treated as [Breaching]."
    );
    let mut eight = spec(Comparison::LessThanOrEqualToThreshold, 0.0, 8, None);
    eight.alarm.missing = Missing::Breaching;
    assert_eq!(
        said(&eight, State::Ok, &[None, None, None, None, None, None, None, Some(2.0)]),
        "Threshold Crossed: 1 datapoint [2.0 (16/05/18 04:31:00)] was not less than or equal to the threshold (0.0) and 7 missing datapoints were treated as [Breaching]."
    );
    let mut twenty = spec(Comparison::GreaterThanOrEqualToThreshold, 1.0, 20, Some(1));
    twenty.alarm.missing = Missing::NotBreaching;
    let mut values = vec![None; 20];
    values[19] = Some(613.0);
    assert_eq!(
        said(&twenty, State::Alarm, &values),
        "Threshold Crossed: 1 out of the last 20 datapoints [613.0 (16/05/18 04:31:00)] was greater than or equal to the threshold (1.0) and 19 missing datapoints were treated as [NonBreaching] (minimum 1 datapoint for OK -> ALARM transition)."
    );
}

#[test]
fn data_tells_the_datapoints_and_stays_within_the_model() {
    let mut two = spec(Comparison::GreaterThanThreshold, 1.0, 2, None);
    two.unit = Some("Count".to_owned());
    let said = words(
        Timestamp(1_526_445_166_932),
        &two,
        State::Alarm,
        &points(&[None, Some(2.0), Some(3.0)]),
    );
    let data: Value = serde_json::from_str(&said.data.unwrap()).unwrap();
    assert_eq!(
        data,
        json!({
            "version": "1.0",
            "queryDate": "2018-05-16T04:32:46.932+0000",
            "startDate": "2018-05-16T04:30:00.000+0000",
            "unit": "Count",
            "statistic": "Sum",
            "period": 60,
            "recentDatapoints": [2.0, 3.0],
            "threshold": 1.0,
            "evaluatedDatapoints": [
                {"timestamp": "2018-05-16T04:31:00.000+0000", "sampleCount": 2.0, "value": 3.0},
                {"timestamp": "2018-05-16T04:30:00.000+0000", "sampleCount": 2.0, "value": 2.0},
            ],
        })
    );
    let all = spec(Comparison::GreaterThanThreshold, 1.0, 1440, None);
    let long = vec![Some(-1.234_567_890_123_456_7e-300); 1440];
    let said = words(Timestamp(0), &all, State::Ok, &points(&long));
    assert!(said.reason.len() <= 1_023, "{}", said.reason.len());
    assert!(said.data.unwrap().len() <= 4_000);
}

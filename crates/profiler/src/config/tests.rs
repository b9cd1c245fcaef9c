use serde_json::json;

use super::*;

fn report_rule() -> Value {
    json!({"RuleConfigurationName": "ProfilerReport",
           "RuleEvaluatorImage": "503895931360.dkr.ecr.us-east-1.amazonaws.com/sagemaker-debugger-rules:latest",
           "RuleParameters": {"rule_to_invoke": "ProfilerReport", "CPUBottleneck_threshold": "40"}})
}

#[test]
fn what_the_sdk_sends_is_read() {
    let config = json!({
        "S3OutputPath": "s3://bucket/", "DisableProfiler": false, "ProfilingIntervalInMilliseconds": 200,
        "ProfilingParameters": {"DetailedProfilingConfig": "{\"StartStep\": 0, \"NumSteps\": 1, }"}
    });
    let config = Config::from_request(Some(&config), &[report_rule()]).unwrap();
    assert_eq!(config.interval_ms, 200);
    assert_eq!(config.output.as_deref(), Some("s3://bucket/"));
    assert!(!config.disabled);
    assert_eq!(config.rules[0].rule, "ProfilerReport");
    assert_eq!(config.rules[0].parameters.len(), 1, "rule_to_invoke is no parameter of the rule");
}

#[test]
fn nothing_asked_is_nothing_measured() {
    assert!(Config::from_request(None, &[]).unwrap().disabled);
    let off = json!({"DisableProfiler": true});
    assert!(Config::from_request(Some(&off), &[]).unwrap().disabled);
    let rules = Config::from_request(None, &[report_rule()]).unwrap();
    assert!(!rules.disabled && rules.interval_ms == 500);
}

#[test]
fn what_sagemaker_refuses_is_refused() {
    for config in [
        json!({"ProfilingIntervalInMilliseconds": 300}),
        json!({"ProfilingIntervalInMilliseconds": "500"}),
        json!({"S3OutputPath": 1}),
        json!({"DisableProfiler": "yes"}),
        json!([]),
    ] {
        assert!(Config::from_request(Some(&config), &[]).is_err(), "{config}");
    }
}

#[test]
fn names_that_leave_their_folder_are_refused() {
    for name in ["", "..", ".hidden", "a/b", "a\\b", "a\0", "ü", &"a".repeat(300)] {
        let rule = json!({"RuleConfigurationName": name, "RuleParameters": {"rule_to_invoke": "BatchSize"}});
        let error = Config::from_request(None, &[rule]).unwrap_err();
        assert!(matches!(error, ConfigError::Name { .. }), "{name}");
        assert!(error.to_string().len() < 400);
    }
    let twice = [report_rule(), report_rule()];
    assert!(matches!(Config::from_request(None, &twice), Err(ConfigError::Twice(_))));
    let none = json!({"RuleConfigurationName": "r"});
    assert!(matches!(Config::from_request(None, &[none]), Err(ConfigError::NoRule(_))));
    let many: Vec<Value> = (0..21).map(|_| report_rule()).collect();
    assert!(matches!(Config::from_request(None, &many), Err(ConfigError::TooMany { .. })));
}

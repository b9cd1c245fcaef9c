use std::collections::BTreeMap;

use serde_json::json;

use super::super::plan::Size;
use super::*;
use crate::sagemaker::model::DataCapture;

fn variant(name: &str, desired: u32, weight: f64) -> Variant {
    Variant {
        name: name.to_owned(),
        image: "kennel/image-classification:1".to_owned(),
        model_data: "s3://models/model.tar.gz".to_owned(),
        environment: BTreeMap::new(),
        instance_type: "ml.m5.large".to_owned(),
        weight,
        desired,
        routing: None,
    }
}

fn deployment(variants: Vec<Variant>) -> Deployment {
    Deployment { number: 1, config: "one".to_owned(), variants, shadows: Vec::new(), capture: None }
}

fn capture() -> DataCapture {
    serde_json::from_value(json!({
        "InitialSamplingPercentage": 20, "DestinationS3Uri": "s3://kept/here",
        "CaptureOptions": [{ "CaptureMode": "Input" }],
    }))
    .unwrap()
}

#[test]
fn properties_are_retained_as_asked() {
    let mut current = deployment(vec![variant("a", 5, 3.0), variant("gone", 2, 1.0)]);
    current.capture = Some(capture());
    let retained = |wishes: Value| {
        let mut next = deployment(vec![variant("a", 1, 1.0), variant("b", 2, 0.5)]);
        Wishes::read(&wishes).unwrap().retain(&mut next, Some(&current));
        let a = &next.variants[0];
        (a.desired, a.weight, next.capture.is_some(), next.variants[1].desired)
    };
    assert_eq!(retained(json!({})), (1, 1.0, false, 2));
    let all = json!({ "RetainAllVariantProperties": true });
    assert_eq!(retained(all), (5, 3.0, true, 2));
    let some = |kind: &str| {
        json!({
            "RetainAllVariantProperties": true,
            "ExcludeRetainedVariantProperties": [{ "VariantPropertyType": kind }],
        })
    };
    assert_eq!(retained(some("DesiredInstanceCount")), (1, 3.0, true, 2));
    assert_eq!(retained(some("DesiredWeight")), (5, 1.0, true, 2));
    assert_eq!(retained(some("DataCaptureConfig")), (5, 3.0, false, 2));
}

#[test]
fn wishes_that_contradict_each_other_are_refused() {
    let both = json!({ "DeploymentConfig": {}, "RetainDeploymentConfig": true });
    assert!(Wishes::read(&both).unwrap_err().message.contains("only one of"));
    let alone = json!({
        "ExcludeRetainedVariantProperties": [{ "VariantPropertyType": "DesiredWeight" }],
    });
    assert!(Wishes::read(&alone).unwrap_err().message.contains("RetainAllVariantProperties"));
}

#[test]
fn fleets_that_take_turns_have_the_same_variants() {
    let canary = Policy::BlueGreen {
        shift: Shift::Canary(Size::Percent(10)),
        wait_ms: 0,
        termination_wait_ms: 0,
        timeout_ms: None,
    };
    let rolling =
        Policy::Rolling { batch: Size::Percent(50), rollback: None, wait_ms: 0, timeout_ms: None };
    let (a, b) = (|| variant("a", 2, 1.0), || variant("b", 2, 1.0));
    let refused = |policy: &Policy, old: Vec<Variant>, new: Vec<Variant>| {
        check_fleets(policy, &deployment(old), &deployment(new)).err().map(|e| e.message)
    };
    assert_eq!(refused(&canary, vec![a(), b()], vec![b(), a()]), None);
    let other = refused(&canary, vec![a()], vec![b()]).unwrap();
    assert!(other.contains("[a]") && other.contains("[b]"), "{other}");
    assert_eq!(refused(&Policy::at_once(), vec![a()], vec![b()]), None);
    assert_eq!(refused(&rolling, vec![a()], vec![a()]), None);
    assert!(refused(&rolling, vec![a(), b()], vec![a(), b()]).unwrap().contains("several"));
}

#[test]
fn a_scaled_variant_keeps_its_instance_type() {
    let current = deployment(vec![variant("a", 1, 1.0), variant("b", 1, 1.0)]);
    let larger = Variant { instance_type: "ml.m5.xlarge".to_owned(), ..variant("a", 1, 1.0) };
    let next = deployment(vec![larger]);
    let scaled = |name: &str| vec![name.to_owned()];
    assert!(same_types(&scaled("b"), Some(&current), &next).is_ok());
    assert!(same_types(&[], Some(&current), &next).is_ok());
    let refused = same_types(&scaled("a"), Some(&current), &next).unwrap_err().message;
    assert!(refused.contains("ml.m5.xlarge") && refused.contains("Deregister"), "{refused}");
}

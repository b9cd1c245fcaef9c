use super::*;

fn variant(name: &str) -> Value {
    json!({
        "VariantName": name, "ModelName": "m", "InitialInstanceCount": 1,
        "InstanceType": "ml.m5.large",
    })
}

fn check(members: Value) -> Result<(), String> {
    let mut request = json!({
        "EndpointConfigName": "c", "ProductionVariants": [variant("a")],
    });
    if let (Some(request), Value::Object(members)) = (request.as_object_mut(), members) {
        request.extend(members);
    }
    let request: ConfigRequest = serde_json::from_value(request).unwrap();
    check_config(&request).map_err(|e| e.message)
}

fn with(member: &str, value: Value) -> Value {
    let mut variant = variant("a");
    variant[member] = value;
    json!({ "ProductionVariants": [variant] })
}

#[test]
fn one_shadow_goes_with_one_production_variant() {
    assert_eq!(check(json!({})), Ok(()));
    assert_eq!(check(json!({ "ShadowProductionVariants": [variant("s")] })), Ok(()));
    let two = check(json!({ "ShadowProductionVariants": [variant("s"), variant("t")] }));
    assert!(two.unwrap_err().contains("only specify one variant"));
    let production = json!({
        "ProductionVariants": [variant("a"), variant("b")],
        "ShadowProductionVariants": [variant("s")],
    });
    assert!(check(production).unwrap_err().contains("only specify one variant"));
    let same = check(json!({ "ShadowProductionVariants": [variant("a")] }));
    assert!(same.unwrap_err().contains("used twice"));
    let mut serverless = variant("s");
    serverless["ServerlessConfig"] = json!({ "MemorySizeInMB": 1024, "MaxConcurrency": 1 });
    let serverless = check(json!({ "ShadowProductionVariants": [serverless] }));
    assert!(serverless.unwrap_err().contains("not implemented"));
}

#[test]
fn routing_is_random_or_by_outstanding_requests() {
    let routing = |strategy: &str| with("RoutingConfig", json!({ "RoutingStrategy": strategy }));
    assert_eq!(check(routing("RANDOM")), Ok(()));
    assert_eq!(check(routing("LEAST_OUTSTANDING_REQUESTS")), Ok(()));
    assert!(check(routing("KV_AWARE")).unwrap_err().contains("`RoutingStrategy` KV_AWARE"));
}

#[test]
fn what_is_not_built_is_said() {
    for member in ["ManagedInstanceScaling", "InstancePools", "ServerlessConfig"] {
        let words = check(with(member, json!({}))).unwrap_err();
        assert!(words.contains(member) && words.contains("not implemented"), "{words}");
    }
    for member in ["AsyncInferenceConfig", "ExplainerConfig"] {
        let words = check(json!({ (member): {} })).unwrap_err();
        assert!(words.contains(member) && words.contains("not implemented"), "{words}");
    }
}

#[test]
fn capture_is_on_unless_it_says_otherwise_and_goes_to_s3() {
    let capture = |members: Value| {
        let mut capture = json!({
            "InitialSamplingPercentage": 50, "DestinationS3Uri": "s3://kept/here",
            "CaptureOptions": [{ "CaptureMode": "Input" }],
        });
        if let (Some(capture), Value::Object(members)) = (capture.as_object_mut(), members) {
            capture.extend(members);
        }
        json!({ "DataCaptureConfig": capture })
    };
    assert_eq!(check(capture(json!({}))), Ok(()));
    let read: DataCapture =
        serde_json::from_value(capture(json!({}))["DataCaptureConfig"].clone()).unwrap();
    assert!(read.enable_capture);
    assert!(check(capture(json!({ "KmsKeyId": "k" }))).unwrap_err().contains("KmsKeyId"));
    let https = check(capture(json!({ "DestinationS3Uri": "https://kept/here" })));
    assert!(https.unwrap_err().contains("not implemented"));
    assert!(check(capture(json!({ "DestinationS3Uri": "s3://" }))).is_err());
}

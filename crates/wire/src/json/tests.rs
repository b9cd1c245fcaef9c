use proptest::prelude::*;
use serde_json::json;

use super::*;

fn call(service: &str, operation: &str, body: &Value) -> Result<Value, ServiceError> {
    let model = ServiceModel::by_name(service).unwrap();
    decode(model, model.operation(operation).unwrap(), body.to_string().as_bytes())
}

fn message(service: &str, operation: &str, body: &Value) -> String {
    let error = call(service, operation, body).unwrap_err();
    assert_eq!((error.code.as_str(), error.status), ("ValidationException", 400), "{error}");
    error.message
}

#[test]
fn a_sound_input_comes_through() {
    let body = json!({
        "EndpointName": "dogs", "EndpointConfigName": "c", "Tags": [{"Key": "a", "Value": ""}],
        "DeploymentConfig": null,
    });
    let input = call("sagemaker", "CreateEndpoint", &body).unwrap();
    assert_eq!(
        input,
        json!({
            "EndpointName": "dogs", "EndpointConfigName": "c", "Tags": [{"Key": "a", "Value": ""}],
        })
    );
    assert_eq!(call("sagemaker", "ListModels", &json!({})).unwrap(), json!({}));
    let model = ServiceModel::by_name("sagemaker").unwrap();
    assert_eq!(decode(model, model.operation("ListModels").unwrap(), b"").unwrap(), json!({}));
}

#[test]
fn constraints_are_reported_in_awss_words() {
    let none = message("sagemaker", "DescribeEndpoint", &json!({}));
    assert_eq!(
        none,
        "1 validation error detected: Value null at 'endpointName' failed to satisfy constraint: \
         Member must not be null"
    );
    let long = "x".repeat(64);
    let all = message(
        "sagemaker",
        "CreateEndpoint",
        &json!({ "EndpointName": long, "EndpointConfigName": "a_b", "Tags": [{"Key": ""}] }),
    );
    insta::assert_snapshot!(all);
    let nested = message(
        "application-autoscaling",
        "RegisterScalableTarget",
        &json!({ "ServiceNamespace": "sagemaking", "ResourceId": "x" }),
    );
    insta::assert_snapshot!(nested);
}

#[test]
fn elements_without_members_are_reported_at_their_list_or_map() {
    let list = message(
        "application-autoscaling",
        "DescribeScalableTargets",
        &json!({ "ServiceNamespace": "sagemaker", "ResourceIds": ["ok", ""] }),
    );
    insta::assert_snapshot!(list);
    let training = json!({
        "TrainingJobName": "a", "RoleArn": "arn:aws:iam::123456789012:role/r",
        "AlgorithmSpecification": { "TrainingInputMode": "File" },
        "OutputDataConfig": { "S3OutputPath": "s3://b/o" },
        "ResourceConfig": { "InstanceType": "ml.m5.large", "InstanceCount": 0, "VolumeSizeInGB": 1 },
        "StoppingCondition": {},
        "HyperParameters": { "epochs": "x".repeat(3000) },
    });
    let map = message("sagemaker", "CreateTrainingJob", &training);
    let map = map.replace(&"x".repeat(100), "");
    insta::assert_snapshot!(map);
}

#[test]
fn unknown_members_are_refused_by_name() {
    let root = message("sagemaker", "DescribeEndpoint", &json!({ "EndpointNam": "a" }));
    assert_eq!(root, "Unknown parameter in input: \"EndpointNam\", must be one of: EndpointName");
    let nested =
        json!({ "EndpointName": "a", "EndpointConfigName": "b", "Tags": [{ "Kex": "x" }] });
    assert_eq!(
        message("sagemaker", "CreateEndpoint", &nested),
        "Unknown parameter in tags.1.member: \"Kex\", must be one of: Key, Value"
    );
}

#[test]
fn wrong_types_name_their_path() {
    let cases = [
        (json!([]), "START_LIST at the body can not be converted to a Structure"),
        (
            json!({"MaxResults": "3"}),
            "STRING_VALUE at 'maxResults' can not be converted to an Integer",
        ),
        (
            json!({"MaxResults": 3e10}),
            "NUMBER_VALUE at 'maxResults' can not be converted to an Integer",
        ),
        (
            json!({"MaxResults": 1.5}),
            "NUMBER_VALUE at 'maxResults' can not be converted to an Integer",
        ),
        (
            json!({"NameContains": 3}),
            "NUMBER_VALUE at 'nameContains' can not be converted to a String",
        ),
        (
            json!({"CreationTimeAfter": "now"}),
            "STRING_VALUE at 'creationTimeAfter' can not be converted to a Timestamp",
        ),
    ];
    for (body, expected) in cases {
        let error = call("sagemaker", "ListModels", &body).unwrap_err();
        assert_eq!((error.code.as_str(), error.status), ("SerializationException", 400));
        assert_eq!(error.message, expected);
    }
    let model = ServiceModel::by_name("sagemaker").unwrap();
    let operation = model.operation("ListModels").unwrap();
    for body in [&b"{"[..], b"\xff\xfe", b"{} {}", "[".repeat(100_000).as_bytes()] {
        assert_eq!(decode(model, operation, body).unwrap_err().code, "SerializationException");
    }
}

#[test]
fn timestamps_become_seconds() {
    for (given, seconds) in [
        (json!(1_795_262_400), 1_795_262_400.0),
        (json!(1_795_262_400.25), 1_795_262_400.25),
        (json!("2026-11-21T12:00:00Z"), 1_795_262_400.0),
        (json!("2026-11-21T13:00:00.500+01:00"), 1_795_262_400.5),
        (json!("2026-11-21T12:00:00"), 1_795_262_400.0),
    ] {
        let input = call("sagemaker", "ListModels", &json!({"CreationTimeAfter": given})).unwrap();
        assert_eq!(input["CreationTimeAfter"].as_f64(), Some(seconds), "{given}");
    }
    // Logs counts milliseconds in plain longs.
    let body =
        json!({"logGroupName": "g", "logStreamName": "s", "startTime": 1_795_262_400_123_i64});
    let input = call("logs", "GetLogEvents", &body).unwrap();
    assert_eq!(input["startTime"], json!(1_795_262_400_123_i64));
}

#[test]
fn outputs_keep_only_what_the_shape_has() {
    let model = ServiceModel::by_name("sagemaker").unwrap();
    let operation = model.operation("DescribeEndpoint").unwrap();
    let output = json!({
        "EndpointName": "dogs", "FailureReason": null, "NotThere": 1,
        "CreationTime": 1_795_262_400.0, "LastModifiedTime": 1_795_262_400.123_456,
        "ProductionVariants": [{ "VariantName": "All \"T\"", "CurrentWeight": 1.0, "Odd": {} }],
    });
    insta::assert_snapshot!(String::from_utf8(encode(model, operation, &output)).unwrap());
    let empty = model.operation("DeleteEndpoint").unwrap();
    assert_eq!(encode(model, empty, &Value::Null), b"{}");
}

#[test]
fn errors_have_a_type_and_cloudwatch_the_query_code_too() {
    let error_of = |service: &str, given: &ServiceError| {
        let out = error(ServiceModel::by_name(service), given, "id-1");
        format!("{} {}\n{:?}\n{}", out.status, out.content_type, out.headers, text(&out))
    };
    let invalid = ServiceError::new("InvalidParameterValue", 400, "no \"such\" unit");
    let in_use = ServiceError::new("ResourceInUse", 400, "taken").with("Extra", 3);
    insta::assert_snapshot!(
        [
            error_of("cloudwatch", &invalid),
            error_of("cloudwatch", &ServiceError::validation("bad")),
            error_of("sagemaker", &in_use),
        ]
        .join("\n\n")
    );
    let rest = crate::rest::json_error(None, &in_use, "id-1");
    assert!(rest.headers.contains(&("x-amzn-ErrorType", "ResourceInUse".to_owned())));
    assert_eq!(text(&rest), r#"{"Message":"taken","Extra":3}"#);
    let xml = crate::rest::xml_error(&ServiceError::access_denied("<no>"), "/b/a&b", "id-1");
    insta::assert_snapshot!(text(&xml));
}

fn text(encoded: &Encoded) -> String {
    String::from_utf8(encoded.body.clone()).unwrap()
}

/// Requests that real SDKs sent, where the recording is beside the project.
#[test]
fn recorded_requests_decode() {
    let here = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let samples = here
        .ancestors()
        .map(|folder| folder.join("shared/acceptance/data/wire-samples.jsonl"))
        .find_map(|path| std::fs::read_to_string(path).ok());
    let Some(samples) = samples else {
        eprintln!("skipped: no recorded requests beside the project");
        return;
    };
    let mut decoded = 0;
    for line in samples.lines() {
        let sample: Value = serde_json::from_str(line).unwrap();
        let target = sample["request_headers"]["X-Amz-Target"].as_str().unwrap_or_default();
        let body = sample["request_body"].as_str().unwrap_or_default();
        let (name, result) = if let Some((prefix, operation)) = target.split_once('.') {
            let model = ServiceModel::by_target_prefix(prefix).unwrap();
            (target, decode(model, model.lookup(operation).unwrap(), body.as_bytes()))
        } else if body.starts_with("Action=") {
            let model = ServiceModel::query_service(sample["service"].as_str().unwrap()).unwrap();
            let fields = crate::query::fields(body.as_bytes());
            let operation = crate::query::operation(model, &fields).unwrap();
            (operation.name.as_str(), crate::query::decode(model, operation, &fields))
        } else {
            continue;
        };
        if let Err(error) = result {
            // What the recorded service refused may be refused here already.
            assert_eq!(sample["status"], 400, "{name}: {error}\n{body}");
        }
        decoded += 1;
    }
    assert!(decoded > 60, "{decoded} requests");
}

proptest! {
    #[test]
    fn no_bytes_panic(body in proptest::collection::vec(any::<u8>(), 0..200)) {
        let model = ServiceModel::by_name("sagemaker").unwrap();
        let _ = decode(model, model.operation("CreateEndpoint").unwrap(), &body);
    }

    #[test]
    fn no_value_panics(
        name in "[A-Za-z]{0,12}|EndpointName|Tags|RetainAllVariantProperties",
        value in values(),
    ) {
        let model = ServiceModel::by_name("sagemaker").unwrap();
        for operation in ["CreateEndpoint", "CreateTrainingJob", "ListModels"] {
            let body = json!({ &name: value }).to_string();
            let operation = model.operation(operation).unwrap();
            let _ = decode(model, operation, body.as_bytes());
            let _ = encode(model, operation, &json!({ &name: value }));
        }
    }
}

fn values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        ".{0,20}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::vec(("Key|Value|[A-Z]{1,3}", inner), 0..4)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

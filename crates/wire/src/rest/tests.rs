use super::*;

fn invoke() -> (&'static ServiceModel, &'static Operation) {
    let model = ServiceModel::by_name("sagemaker-runtime").unwrap();
    (model, model.operation("InvokeEndpoint").unwrap())
}

fn decode(endpoint: &str, headers: &[(&'static str, &str)]) -> Result<Value, ServiceError> {
    let (model, operation) = invoke();
    let headers: HeaderMap = headers
        .iter()
        .map(|(name, value)| (http::HeaderName::from_static(name), value.parse().unwrap()))
        .collect();
    decode_head(model, operation, &[("EndpointName", endpoint)], &headers)
}

#[test]
fn heads_become_members() {
    let headers = [
        ("content-type", "image/jpeg"),
        ("x-amzn-sagemaker-target-variant", "AllTraffic"),
        ("x-amzn-sagemaker-inference-id", "7"),
        ("x-other", "1"),
    ];
    assert_eq!(
        decode("dogs", &headers).unwrap(),
        json!({
            "EndpointName": "dogs", "ContentType": "image/jpeg", "TargetVariant": "AllTraffic",
            "InferenceId": "7",
        })
    );
    for (endpoint, header) in [("do_gs", "x"), ("dogs", "a_b")] {
        let headers = [("x-amzn-sagemaker-target-variant", header)];
        let error = decode(endpoint, &headers).unwrap_err();
        assert_eq!((error.code.as_str(), error.status), ("ValidationError", 400));
        assert!(error.message.starts_with("1 validation error detected: Value "), "{error}");
    }
}

#[test]
fn outputs_become_headers() {
    let (model, operation) = invoke();
    let output = json!({"InvokedProductionVariant": "v", "ContentType": "text/csv", "Body": "x"});
    assert_eq!(
        encode_headers(model, operation, &output),
        [
            ("Content-Type".to_owned(), "text/csv".to_owned()),
            ("x-Amzn-Invoked-Production-Variant".to_owned(), "v".to_owned()),
        ]
    );
}

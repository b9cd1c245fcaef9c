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

fn lambda() -> &'static ServiceModel {
    ServiceModel::by_name("lambda").unwrap()
}

fn split(address: &str) -> (&str, &str) {
    address.split_once('?').unwrap_or((address, ""))
}

#[test]
fn every_operation_of_a_rest_service_is_found_by_its_own_address() {
    for service in ["lambda", "access-analyzer"] {
        let model = ServiceModel::rest_service(service).unwrap();
        for name in model.operation_names() {
            let operation = model.operation(name).unwrap();
            let address = operation.uri.replace(['{', '}'], "");
            let (path, query) = split(&address);
            let call = route(model, &operation.method, path, query).unwrap();
            assert_eq!(call.operation.name, name, "{address}");
        }
    }
}

#[test]
fn addresses_that_mean_nothing_are_told_so() {
    for (method, path) in [
        ("GET", "/2015-03-31/functions/f/nothing"),
        ("PATCH", "/2015-03-31/functions"),
        ("GET", "/2015-03-31/functions/f/code/more"),
        ("POST", "/2015-03-31/functions//invocations"),
        ("GET", "/"),
    ] {
        let error = route(lambda(), method, path, "").unwrap_err();
        assert_eq!((error.code.as_str(), error.status), ("UnknownOperationException", 404));
    }
}

#[test]
fn path_query_and_body_become_one_input() {
    let path =
        "/2015-03-31/functions/arn%3Aaws%3Alambda%3Aus-east-1%3A123456789012%3Afunction%3Af/policy";
    let call = route(lambda(), "POST", path, "Qualifier=prod").unwrap();
    let body = br#"{"StatementId":"s","Action":"lambda:InvokeFunction","Principal":"*"}"#;
    let input = super::decode(lambda(), &call, &HeaderMap::new(), body).unwrap();
    assert_eq!(
        input,
        serde_json::json!({
            "FunctionName": "arn:aws:lambda:us-east-1:123456789012:function:f",
            "Qualifier": "prod",
            "StatementId": "s",
            "Action": "lambda:InvokeFunction",
            "Principal": "*",
        })
    );
    // The address counts, whatever the body says.
    let body = br#"{"FunctionName":"other","StatementId":"s","Action":"lambda:InvokeFunction","Principal":"*"}"#;
    let again = super::decode(lambda(), &call, &HeaderMap::new(), body).unwrap();
    assert_eq!(input, again);
}

#[test]
fn numbers_and_lists_in_query_strings_are_typed() {
    let call = route(lambda(), "GET", "/2015-03-31/functions", "MaxItems=7").unwrap();
    let input = super::decode(lambda(), &call, &HeaderMap::new(), b"").unwrap();
    assert_eq!(input, serde_json::json!({"MaxItems": 7}));
    let bad = route(lambda(), "GET", "/2015-03-31/functions", "MaxItems=many").unwrap();
    let error = super::decode(lambda(), &bad, &HeaderMap::new(), b"").unwrap_err();
    assert_eq!(error.code, "SerializationException");
    let arn = "arn%3Aaws%3Alambda%3Aus-east-1%3A123456789012%3Afunction%3Af";
    let call = route(lambda(), "DELETE", &format!("/2017-03-31/tags/{arn}"), "tagKeys=a&tagKeys=b");
    let input = super::decode(lambda(), &call.unwrap(), &HeaderMap::new(), b"").unwrap();
    assert_eq!(input["TagKeys"], serde_json::json!(["a", "b"]));
}

#[test]
fn bodies_are_checked_by_the_model() {
    let call = route(lambda(), "POST", "/2015-03-31/functions", "").unwrap();
    let error = super::decode(lambda(), &call, &HeaderMap::new(), b"{").unwrap_err();
    assert_eq!((error.code.as_str(), error.status), ("SerializationException", 400));
    let error = super::decode(lambda(), &call, &HeaderMap::new(), b"{}").unwrap_err();
    assert_eq!(error.code, "ValidationException");
    assert!(error.message.contains("'functionName'"), "{error}");
    let body =
        br#"{"FunctionName":"f","Role":"arn:aws:iam::123456789012:role/r","Code":{"ZipFile":"?"}}"#;
    let error = super::decode(lambda(), &call, &HeaderMap::new(), body).unwrap_err();
    assert_eq!(error.code, "SerializationException", "not base64");
}

#[test]
fn answers_have_the_models_status() {
    let model = lambda();
    let status = |name: &str, output: Value| {
        let encoded = answer(model, model.lookup(name).unwrap(), &output, "id");
        (encoded.status, String::from_utf8(encoded.body).unwrap())
    };
    let created = status("CreateFunction", serde_json::json!({"FunctionName": "f"}));
    assert_eq!(created, (201, r#"{"FunctionName":"f"}"#.to_owned()));
    assert_eq!(status("DeleteAlias", Value::Null), (204, String::new()));
    let deleted = status("DeleteFunction", serde_json::json!({"StatusCode": 204}));
    assert_eq!(deleted, (204, String::new()));
    assert_eq!(status("GetAlias", serde_json::json!({"Name": "a"})).0, 200);
}

#[test]
fn errors_name_their_message_as_the_shape_does() {
    let error = ServiceError::new("TooManyRequestsException", 429, "Rate Exceeded.")
        .with("Reason", "ReservedFunctionConcurrentInvocationLimitExceeded")
        .with("Type", "User")
        .with("retryAfterSeconds", "1");
    let encoded = json_error(Some(lambda()), &error, "id");
    let body: Value = serde_json::from_slice(&encoded.body).unwrap();
    assert_eq!(
        body,
        serde_json::json!({
            "message": "Rate Exceeded.",
            "Reason": "ReservedFunctionConcurrentInvocationLimitExceeded",
            "Type": "User",
        })
    );
    assert!(encoded.headers.contains(&("Retry-After", "1".to_owned())));
    let missing = ServiceError::new("ResourceNotFoundException", 404, "no").with("Type", "User");
    let body: Value =
        serde_json::from_slice(&json_error(Some(lambda()), &missing, "id").body).unwrap();
    assert_eq!(body, serde_json::json!({"Message": "no", "Type": "User"}));
}

#[test]
fn members_of_json_bodies_are_named_as_in_the_model() {
    // `decode` and `answer` rely on it: only members in the head have another name on the wire.
    for service in ["lambda", "access-analyzer"] {
        let model = ServiceModel::rest_service(service).unwrap();
        for structure in
            (0..).map_while(|at| model.shape(at).map(|_| at)).filter_map(|at| model.structure(at))
        {
            for member in &structure.members {
                let same = member.target.wire_name.as_ref().is_none_or(|name| *name == member.name);
                assert!(same || member.target.location.is_some(), "{}", member.name);
            }
        }
    }
}

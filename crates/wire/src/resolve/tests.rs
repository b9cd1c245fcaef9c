use http::Request;

use super::*;

/// The route in few words.
fn route(method: &str, target: &str, headers: &[(&str, &str)]) -> String {
    let mut request = Request::builder().method(method).uri(target);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    match resolve(&request.body(()).unwrap().into_parts().0) {
        Route::Json { service, operation } => format!("json {} {operation}", service.name),
        Route::Query { service } => format!("query {}", service.name),
        Route::Rest { service, operation, endpoint } => {
            format!("rest {} {operation} {endpoint}", service.name)
        }
        Route::RestJson { service } => format!("rest-json {}", service.name),
        Route::FunctionUrl { id, path } => format!("function url {id} {path}"),
        Route::FunctionCode => "function code".to_owned(),
        Route::S3 => "s3".to_owned(),
        Route::Unknown(unknown) => format!("unknown {} {}", unknown.json, unknown.asked),
    }
}

fn signed(service: &str) -> String {
    format!(
        "AWS4-HMAC-SHA256 Credential=AKIA/20261121/us-east-1/{service}/aws4_request, \
         SignedHeaders=host, Signature=00"
    )
}

#[test]
fn requests_find_their_service() {
    let by_scope = |method: &str, target: &str, service: &str| {
        route(method, target, &[("authorization", &signed(service))])
    };
    assert_eq!(by_scope("PUT", "/bucket/key", "s3"), "s3");
    assert_eq!(by_scope("POST", "/", "sts"), "query sts");
    assert_eq!(by_scope("POST", "/", "iam"), "query iam");
    assert_eq!(by_scope("POST", "/", "monitoring"), "query cloudwatch");
    assert_eq!(by_scope("GET", "/2015-03-31/functions", "lambda"), "rest-json lambda");
    let policies = by_scope("PUT", "/policy/generation", "access-analyzer");
    assert_eq!(policies, "rest-json accessanalyzer");
    assert_eq!(by_scope("POST", "/", "ec2"), "unknown false ec2");
    assert_eq!(
        by_scope("POST", "/endpoints/d%6Fgs/invocations", "sagemaker"),
        "rest sagemaker-runtime InvokeEndpoint dogs"
    );
    assert_eq!(
        by_scope("POST", "/endpoints/dogs/async-invocations", "sagemaker"),
        "rest sagemaker-runtime InvokeEndpointAsync dogs"
    );
    for path in ["/endpoints/dogs", "/endpoints//invocations", "/endpoints/a/b/invocations", "/"] {
        assert!(by_scope("POST", path, "sagemaker").starts_with("unknown"), "{path}");
    }
}

#[test]
fn targets_go_before_scopes() {
    let json = |target: &str| {
        route("POST", "/", &[("authorization", &signed("sts")), ("x-amz-target", target)])
    };
    assert_eq!(json("SageMaker.CreateModel"), "json sagemaker CreateModel");
    assert_eq!(json("GraniteServiceVersion20100801.ListMetrics"), "json cloudwatch ListMetrics");
    assert_eq!(json("AnyScaleFrontendService.X"), "json application-autoscaling X");
    assert_eq!(json("DynamoDB_20120810.GetItem"), "unknown true DynamoDB_20120810.GetItem");
    assert_eq!(json("nothing"), "unknown true nothing");
}

#[test]
fn functions_own_addresses_need_no_signature() {
    assert_eq!(route("GET", "/_lambda-url/abc/x%20y?q=1", &[]), "function url abc /x%20y");
    assert_eq!(route("POST", "/_lambda-url/abc", &[]), "function url abc /");
    assert_eq!(route("GET", "/_lambda-code/f?e=1", &[]), "function code");
}

#[test]
fn without_a_signature_it_is_s3_unless_a_form_says_otherwise() {
    assert_eq!(route("GET", "/b/k", &[]), "s3");
    assert_eq!(route("GET", "/b/k?AWSAccessKeyId=A&Signature=x&Expires=1", &[]), "s3");
    assert_eq!(route("GET", "/b/k", &[("authorization", "AWS A:b")]), "s3");
    let presigned = |service: &str| {
        let credential = format!("AKIA%2F20261121%2Fus-east-1%2F{service}%2Faws4_request");
        route("GET", &format!("/?Action=GetCallerIdentity&X-Amz-Credential={credential}"), &[])
    };
    assert_eq!(presigned("s3"), "s3");
    assert_eq!(presigned("sts"), "query sts");
    let form = [("content-type", "application/x-www-form-urlencoded; charset=utf-8")];
    assert_eq!(route("POST", "/", &form), "query sts");
    assert_eq!(route("POST", "/bucket", &form), "s3");
    assert_eq!(route("GET", "/?Action=ListUsers", &[]), "query sts");
}

#[test]
fn errors_come_in_the_routes_protocol() {
    let given = ServiceError::new("MissingAuthenticationTokenException", 403, "no token");
    let to = |path: &str, headers: &[(&str, &str)]| {
        let mut request = Request::builder().method("POST").uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let route = resolve(&request.body(()).unwrap().into_parts().0);
        let out = route.error(&given, "/p", "id-1");
        assert_eq!(out.status, 403);
        format!(
            "{:?} {} {:?} {}",
            route.signing_name(),
            out.content_type,
            out.headers,
            String::from_utf8(out.body).unwrap()
        )
    };
    let body = |headers: &[(&str, &str)]| to("/endpoints/a/invocations", headers);
    let all = [
        body(&[("x-amz-target", "GraniteServiceVersion20100801.ListMetrics")]),
        body(&[("x-amz-target", "Other.List")]),
        body(&[("authorization", &signed("sts"))]),
        body(&[("authorization", &signed("sagemaker"))]),
        body(&[("authorization", &signed("ec2"))]),
        // Unsigned: an invocation is refused as one, everything else as a request to S3.
        body(&[]),
        to("/bucket/key", &[]),
    ];
    insta::assert_snapshot!(all.join("\n"));
}

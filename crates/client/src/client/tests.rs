use serde_json::json;

use super::*;
use crate::testing::{Reply, Server, ok};

#[test]
fn json_calls_are_signed_and_targeted() {
    let server = Server::replies(vec![ok(r#"{"EndpointStatus":"InService"}"#)]);
    let answer = server
        .client()
        .json(Service::SageMaker, "DescribeEndpoint", &json!({"EndpointName": "e"}))
        .unwrap();
    assert_eq!(answer["EndpointStatus"], "InService");
    let seen = server.seen();
    assert_eq!(seen[0].line, "POST / HTTP/1.1");
    assert_eq!(seen[0].header("x-amz-target"), Some("SageMaker.DescribeEndpoint"));
    assert_eq!(seen[0].header("x-amz-security-token"), Some("token"));
    let authorization = seen[0].header("authorization").unwrap();
    assert!(authorization.contains("/us-east-1/sagemaker/aws4_request"), "{authorization}");
    assert_eq!(seen[0].body, br#"{"EndpointName":"e"}"#);
}

#[test]
fn reads_are_repeated_and_writes_are_not() {
    let busy = || Reply(503, vec![], b"{\"__type\":\"ServiceUnavailable\"}".to_vec());
    let slow = Reply(400, vec![], b"{\"__type\":\"ThrottlingException\"}".to_vec());
    let server = Server::replies(vec![busy(), slow, ok("{}")]);
    server.client().json(Service::SageMaker, "ListModels", &json!({})).unwrap();
    assert_eq!(server.seen().len(), 3);

    let server = Server::replies(vec![busy()]);
    let error = server.client().json(Service::SageMaker, "CreateModel", &json!({})).unwrap_err();
    assert_eq!(error.service_code(), Some("ServiceUnavailable"));
    assert_eq!(server.seen().len(), 1);
    server.client().json(Service::SageMaker, "ListModels", &json!({})).unwrap_err();
    assert_eq!(server.seen().len(), 4);
}

#[test]
fn refusals_are_not_repeated() {
    let reply = Reply(
        400,
        vec!["x-amzn-requestid: r".into()],
        br#"{"__type":"ValidationException","message":"Could not find endpoint"}"#.to_vec(),
    );
    let server = Server::replies(vec![reply]);
    let error =
        server.client().json(Service::SageMaker, "DescribeEndpoint", &json!({})).unwrap_err();
    assert!(error.is_not_found());
    assert_eq!(server.seen().len(), 1);
}

#[test]
fn pages_are_joined_and_a_repeated_token_ends() {
    let page = |n: u32| ok(&format!(r#"{{"Models":[{n}],"NextToken":"t{}"}}"#, n.min(1)));
    let server = Server::replies(vec![page(0), page(1), page(2)]);
    let all = server
        .client()
        .json_pages(Service::SageMaker, "ListModels", &json!({"MaxResults": 1}), "Models")
        .unwrap();
    assert_eq!(all, [json!(0), json!(1), json!(2)]);
    assert_eq!(server.seen().len(), 3);
}

#[test]
fn query_calls_are_forms() {
    let server = Server::replies(vec![ok(
        "<GetRoleResponse><GetRoleResult><Role><Arn>a</Arn></Role></GetRoleResult></GetRoleResponse>",
    )]);
    let result = server.client().query(Service::Iam, "GetRole", &[("RoleName", "a b+/é")]).unwrap();
    assert_eq!(result.find("Arn").unwrap().content, "a");
    assert_eq!(
        String::from_utf8(server.seen()[0].body.clone()).unwrap(),
        "Action=GetRole&Version=2010-05-08&RoleName=a%20b%2B%2F%C3%A9"
    );
}

#[test]
fn a_stopped_server_is_said_so() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let server = Server::replies(vec![ok("")]);
    let mut target = server.client().target().clone();
    target.endpoint = Some(url);
    target.data_dir = Some("/somewhere".into());
    let error = Client::new(target).query(Service::Sts, "GetCallerIdentity", &[]).unwrap_err();
    assert!(error.to_string().contains("kennel up"), "{error}");
}

#[test]
fn half_an_answer_is_an_error() {
    let half = || Reply(200, vec!["content-length: 100".into()], b"{".to_vec());
    let server = Server::replies(vec![half()]);
    let error = server.client().json(Service::Logs, "DescribeLogGroups", &json!({})).unwrap_err();
    assert!(matches!(error, ClientError::Transport { .. }), "{error}");
}

#[test]
fn models_are_invoked_once() {
    let reply = Reply(
        200,
        vec![
            "content-type: application/json".into(),
            "x-amzn-invoked-production-variant: V".into(),
        ],
        b"[[1]]".to_vec(),
    );
    let server = Server::replies(vec![reply]);
    let call = InvokeRequest {
        endpoint: "dogs".into(),
        content_type: "image/jpeg".into(),
        accept: Some("application/json;labels=true".into()),
        variant: None,
        body: vec![1, 2],
    };
    let found = server.client().invoke(&call).unwrap();
    assert_eq!(found.variant.as_deref(), Some("V"));
    assert_eq!(found.body, b"[[1]]");
    assert_eq!(server.seen()[0].line, "POST /endpoints/dogs/invocations HTTP/1.1");
}

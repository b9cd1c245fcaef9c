use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::api::RuntimeApi;
use super::classifier::Classifier;
use super::{api, python, serve};

/// A request as it arrived.
#[derive(Debug, Clone)]
struct Seen {
    line: String,
    headers: HashMap<String, String>,
    body: String,
}

type Answer = (u16, Vec<(&'static str, String)>, String);

/// An HTTP server on a free port, that keeps connections; it answers by what was asked.
fn stub(
    answer: impl Fn(&Seen) -> Answer + Send + Sync + 'static,
) -> (String, Arc<Mutex<Vec<Seen>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
    let (all, answer) = (seen.clone(), Arc::new(answer));
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (all, answer) = (all.clone(), answer.clone());
            std::thread::spawn(move || {
                let mut stream = BufReader::new(stream.unwrap());
                while let Some(request) = read(&mut stream) {
                    all.lock().unwrap().push(request.clone());
                    let (status, headers, body) = answer(&request);
                    let mut head =
                        format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n", body.len());
                    for (name, value) in headers {
                        head.push_str(&format!("{name}: {value}\r\n"));
                    }
                    // A client that went away is its own test's business.
                    let _ = stream.get_mut().write_all(format!("{head}\r\n{body}").as_bytes());
                }
            });
        }
    });
    (address, seen)
}

fn read(stream: &mut impl BufRead) -> Option<Seen> {
    let mut line = String::new();
    if stream.read_line(&mut line).ok()? == 0 {
        return None;
    }
    let mut headers = HashMap::new();
    loop {
        let mut header = String::new();
        stream.read_line(&mut header).ok()?;
        let Some((name, value)) = header.trim_end().split_once(':') else { break };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let length = headers.get("content-length").map_or(0, |v: &String| v.parse().unwrap());
    let mut body = vec![0; length];
    stream.read_exact(&mut body).ok()?;
    let line = line.trim_end().trim_end_matches(" HTTP/1.1").to_owned();
    Some(Seen { line, headers, body: String::from_utf8(body).unwrap() })
}

/// A Runtime API that has these events, in order, with so many milliseconds of time; then it breaks.
fn runtime_api(events: Vec<(&'static str, u64)>) -> (String, Arc<Mutex<Vec<Seen>>>) {
    let left = Mutex::new(events.into_iter().enumerate());
    stub(move |seen| {
        if !seen.line.ends_with("/invocation/next") {
            return (202, vec![], r#"{"status":"OK"}"#.to_owned());
        }
        let Some((at, (event, time))) = left.lock().unwrap().next() else {
            return (500, vec![], String::new());
        };
        let deadline = super::super::now_us() / 1000 + time;
        let headers = vec![
            ("lambda-runtime-aws-request-id", format!("id-{at}")),
            ("lambda-runtime-deadline-ms", deadline.to_string()),
            ("lambda-runtime-invoked-function-arn", "arn:f".to_owned()),
            ("content-type", "application/json".to_owned()),
        ];
        (200, headers, event.to_owned())
    })
}

fn variables(endpoint: &str) -> HashMap<&'static str, String> {
    HashMap::from([
        ("ENDPOINT_NAME", "Dogs".to_owned()),
        ("AWS_REGION", "eu-west-1".to_owned()),
        ("AWS_ACCESS_KEY_ID", "ASIAX".to_owned()),
        ("AWS_SECRET_ACCESS_KEY", "secret".to_owned()),
        ("AWS_SESSION_TOKEN", "token".to_owned()),
        ("AWS_ENDPOINT_URL", endpoint.to_owned()),
        ("AWS_LAMBDA_FUNCTION_NAME", "f".to_owned()),
        ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128".to_owned()),
    ])
}

/// What the function posts for these events, before an endpoint that answers so.
fn posted(
    events: Vec<(&'static str, u64)>,
    endpoint: impl Fn(&Seen) -> Answer + Send + Sync + 'static,
) -> (Vec<Seen>, Vec<Seen>) {
    let (address, runtime) = runtime_api(events);
    let (endpoint, asked) = stub(endpoint);
    let variables = variables(&format!("http://{endpoint}/"));
    let ended = serve(&RuntimeApi::new(&address), &|name| variables.get(name).cloned());
    assert!(ended.unwrap_err().to_string().contains("invocation/next with 500"));
    let mut posts = runtime.lock().unwrap().clone();
    posts.retain(|seen| seen.line.starts_with("POST"));
    let asked = asked.lock().unwrap().clone();
    (posts, asked)
}

const MINUTE: u64 = 60_000;

#[test]
fn an_event_becomes_the_course_functions_answer() {
    let (posts, asked) =
        posted(vec![(r#"{"url":"https://x/ü.jpg","n":1.0}"#, MINUTE), ("[1, 2]", MINUTE)], |_| {
            (200, vec![], "[[-3.5,1e-7,2,0.1e3],{\"ü\":null}]\n".to_owned())
        });
    assert_eq!(asked[0].line, "POST /endpoints/Dogs/invocations");
    // As boto3 sends it.
    assert_eq!(asked[0].body, r#"{"url": "https://x/\u00fc.jpg", "n": 1.0}"#);
    assert_eq!(asked[0].headers["content-type"], "application/json");
    assert_eq!(asked[0].headers["accept"], "application/json");
    assert_eq!(asked[0].headers["x-amz-security-token"], "token");
    let signature = &asked[0].headers["authorization"];
    assert!(signature.contains("/eu-west-1/sagemaker/aws4_request"), "{signature}");
    assert_eq!(asked[1].body, "[1, 2]");
    assert_eq!(posts[0].line, "POST /2018-06-01/runtime/invocation/id-0/response");
    // Written by Python 3 with `json.dumps` for the same parts.
    assert_eq!(
        posts[0].body,
        r#"{"statusCode": 200, "headers": {"Content-Type": "text/plain", "Access-Control-Allow-Origin": "*"}, "type-result": "<class 'str'>", "COntent-Type-In": "LambdaContext([aws_request_id=id-0,log_group_name=None,log_stream_name=None,function_name=f,memory_limit_in_mb=128,function_version=None,invoked_function_arn=arn:f,client_context=None,identity=CognitoIdentity([cognito_identity_id=None,cognito_identity_pool_id=None]),tenant_id=None])", "body": "[[-3.5, 1e-07, 2, 100.0], {\"\\u00fc\": null}]"}"#
    );
    assert_eq!(posts[1].line, "POST /2018-06-01/runtime/invocation/id-1/response");
}

#[test]
fn refusals_read_as_boto3_tells_them() {
    let refused = (
        400,
        vec![("x-amzn-errortype", "AccessDeniedException".to_owned())],
        r#"{"Message":"User: arn:aws:sts::1:assumed-role/r/f is not authorized"}"#.to_owned(),
    );
    let broken = (
        424,
        vec![("x-amzn-errortype", "ModelError".to_owned())],
        r#"{"Message":"Received client error (400)","OriginalMessage":"o"}"#.to_owned(),
    );
    let answers = Mutex::new(vec![broken, refused]);
    let (posts, _) = posted(vec![("{}", MINUTE), ("{}", MINUTE)], move |_| {
        answers.lock().unwrap().pop().unwrap()
    });
    assert_eq!(posts[0].line, "POST /2018-06-01/runtime/invocation/id-0/error");
    assert_eq!(posts[0].headers["lambda-runtime-function-error-type"], "ClientError");
    assert_eq!(
        posts[0].body,
        r#"{"errorMessage": "An error occurred (AccessDeniedException) when calling the InvokeEndpoint operation: User: arn:aws:sts::1:assumed-role/r/f is not authorized", "errorType": "ClientError", "requestId": "id-0", "stackTrace": []}"#
    );
    let second: Value = serde_json::from_str(&posts[1].body).unwrap();
    assert_eq!(second["errorType"], "ModelError");
    assert_eq!(
        second["errorMessage"],
        "An error occurred (ModelError) when calling the InvokeEndpoint operation: Received client error (400)"
    );
}

#[test]
fn the_deadline_cuts_a_call() {
    let started = Instant::now();
    let (posts, asked) = posted(vec![("{}", 400), ("{}", 0)], |_| {
        std::thread::sleep(Duration::from_secs(20));
        (200, vec![], "[]".to_owned())
    });
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
    assert_eq!(asked.len(), 1);
    for post in &posts {
        let error: Value = serde_json::from_str(&post.body).unwrap();
        assert_eq!(error["errorType"], "ReadTimeoutError", "{error}");
        assert!(error["errorMessage"].as_str().unwrap().contains("longer timeout"), "{error}");
    }
    assert_eq!(posts.len(), 2);
}

#[test]
fn calls_of_the_functions_url_carry_the_event_in_their_body() {
    let (posts, asked) = posted(
        vec![
            (r#"{"version":"2.0","requestContext":{},"body":"{\"url\":\"u\"}"}"#, MINUTE),
            (
                r#"{"version":"2.0","requestContext":{},"body":"eyJ1cmwiOiJ2In0=","isBase64Encoded":true}"#,
                MINUTE,
            ),
            (r#"{"version":"2.0","requestContext":{}}"#, MINUTE),
            (r#"{"version":"2.0","requestContext":{},"body":"url=u"}"#, MINUTE),
        ],
        |_| (200, vec![], "[]".to_owned()),
    );
    let bodies: Vec<&str> = asked.iter().map(|s| s.body.as_str()).collect();
    assert_eq!(bodies, [r#"{"url": "u"}"#, r#"{"url": "v"}"#]);
    let codes: Vec<Value> = posts
        .iter()
        .map(|p| serde_json::from_str::<Value>(&p.body).unwrap()["statusCode"].clone())
        .collect();
    assert_eq!(codes, [200, 200, 400, 400]);
}

#[test]
fn what_cannot_be_read_is_an_error_and_the_next_event_is_served() {
    let (posts, asked) =
        posted(vec![("{", MINUTE), ("{}", MINUTE)], |_| (200, vec![], "a photo".to_owned()));
    let kinds: Vec<Value> = posts
        .iter()
        .map(|p| serde_json::from_str::<Value>(&p.body).unwrap()["errorType"].clone())
        .collect();
    assert_eq!(kinds, ["Runtime.UnmarshalError", "JSONDecodeError"]);
    assert_eq!(asked.len(), 1);
}

#[test]
fn an_endpoint_that_nobody_serves_is_named() {
    // Bound and dropped: nothing listens there.
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let variables = variables(&format!("http://127.0.0.1:{port}"));
    let classifier = Classifier::new(&|name| variables.get(name).cloned()).unwrap();
    let invocation =
        api::Invocation { id: "id".into(), event: b"{}".to_vec(), ..api::Invocation::default() };
    let failure = classifier.answer(&invocation, 0).unwrap_err();
    assert_eq!(failure.kind, "EndpointConnectionError");
    assert!(failure.message.contains(&format!("{port}/endpoints/Dogs/invocations")), "{failure}");
}

#[test]
fn a_function_without_its_variables_says_so_once() {
    let (address, runtime) = runtime_api(vec![("{}", MINUTE)]);
    for missing in ["ENDPOINT_NAME", "AWS_REGION", "AWS_SECRET_ACCESS_KEY"] {
        let mut variables = variables("http://127.0.0.1:1");
        variables.remove(missing);
        let ended = serve(&RuntimeApi::new(&address), &|name| variables.get(name).cloned());
        assert!(ended.unwrap_err().to_string().contains(missing));
    }
    let seen = runtime.lock().unwrap();
    assert_eq!(seen.len(), 3);
    assert_eq!(seen[0].line, "POST /2018-06-01/runtime/init/error");
    assert_eq!(seen[0].headers["lambda-runtime-function-error-type"], "Runtime.ConfigInvalid");
    assert!(seen[0].body.contains("ENDPOINT_NAME is not set"), "{}", seen[0].body);
}

#[test]
fn request_ids_do_not_lead_out_of_the_path() {
    let (address, _) = stub(|_| {
        (200, vec![("lambda-runtime-aws-request-id", "../../init".to_owned())], "{}".to_owned())
    });
    let error = RuntimeApi::new(&address).next().unwrap_err();
    assert!(error.to_string().contains("request id"), "{error}");
}

#[test]
fn a_refused_answer_does_not_end_the_loop() {
    let (address, seen) = stub(|_| (413, vec![], "too large".to_owned()));
    RuntimeApi::new(&address).respond("id", "[]").unwrap();
    assert_eq!(seen.lock().unwrap()[0].line, "POST /2018-06-01/runtime/invocation/id/response");
}

/// What Python 3.11 prints for these.
#[test]
fn floats_and_texts_are_pythons() {
    for (value, text) in [
        (0.0, "0.0"),
        (-0.0, "-0.0"),
        (1.0, "1.0"),
        (0.1, "0.1"),
        (1e-4, "0.0001"),
        (0.00001, "1e-05"),
        (1.5e-7, "1.5e-07"),
        (123_456_789.125, "123456789.125"),
        (1e15, "1000000000000000.0"),
        (1e16, "1e+16"),
        (-1.25e16, "-1.25e+16"),
        (1e22, "1e+22"),
        (1.797_693_134_862_315_7e308, "1.7976931348623157e+308"),
        (5e-324, "5e-324"),
        (2.0_f64.powi(53), "9007199254740992.0"),
        (0.300_000_000_000_000_04, "0.30000000000000004"),
    ] {
        assert_eq!(python::float(value), text);
    }
    let value = json!({"a": [], "b": {}, "c": ["\u{7f}\u{1}\n\"\\/", "é😀"], "d": true, "e": null});
    assert_eq!(
        python::dumps(&value),
        r#"{"a": [], "b": {}, "c": ["\u007f\u0001\n\"\\/", "\u00e9\ud83d\ude00"], "d": true, "e": null}"#
    );
    assert_eq!(python::dumps(&json!([-7, u64::MAX, 1.0])), "[-7, 18446744073709551615, 1.0]");
    assert_eq!(python::type_name(&value), "<class 'dict'>");
}

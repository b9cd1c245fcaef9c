use std::io::Read as _;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::invoke::{Invoke, MAX_EVENT, call, event};
use super::*;
use crate::testing::{Reply, Seen, Server, ok};

const ACTIVE: &str = r#"{"Configuration":{"FunctionName":"f","FunctionArn":"arn:f","State":"Active","LastUpdateStatus":"Successful"}}"#;

fn not_found() -> Reply {
    Reply(
        404,
        vec!["x-amzn-errortype: ResourceNotFoundException".into()],
        br#"{"Type":"User","Message":"Function not found: arn:f"}"#.to_vec(),
    )
}

/// Method, path and, of query services, the action.
fn asked(seen: &Seen) -> String {
    let body = String::from_utf8_lossy(&seen.body);
    let line = seen.line.trim_end_matches(" HTTP/1.1");
    if let Some(target) = seen.header("x-amz-target") {
        return target.to_owned();
    }
    match body.strip_prefix("Action=") {
        Some(form) => form.split('&').next().unwrap().to_owned(),
        None => line.to_owned(),
    }
}

fn body(seen: &Seen) -> Value {
    serde_json::from_slice(&seen.body).unwrap()
}

fn unzipped(member: &Value) -> Vec<(String, u32, Vec<u8>)> {
    let zip = STANDARD.decode(member["ZipFile"].as_str().unwrap()).unwrap();
    let mut zip = zip::ZipArchive::new(std::io::Cursor::new(zip)).unwrap();
    (0..zip.len())
        .map(|at| {
            let mut file = zip.by_index(at).unwrap();
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes).unwrap();
            (file.name().to_owned(), file.unix_mode().unwrap() & 0o777, bytes)
        })
        .collect()
}

fn new_function(folder: &Path) -> Create {
    Create {
        name: "f".into(),
        zip: None,
        dir: Some(folder.to_owned()),
        handler: "app.handler".into(),
        runtime: "python3.12".into(),
        role: "arn:aws:iam::1:role/r".into(),
        settings: Settings {
            timeout: Some(30),
            memory: None,
            environment: vec![("A".into(), "1=2".into())],
        },
        update: false,
        json: false,
    }
}

#[test]
fn a_folder_becomes_a_function() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("lib")).unwrap();
    std::fs::write(folder.path().join("app.py"), "handler = print\n").unwrap();
    std::fs::write(folder.path().join("lib/x.py"), "").unwrap();
    let server = Server::start(|seen, n| match (seen.line.as_bytes()[0], n) {
        (b'P', _) => Reply(201, vec![], b"{}".to_vec()),
        (_, 1) => ok(r#"{"Configuration":{"State":"Pending","LastUpdateStatus":"InProgress"}}"#),
        _ => ok(ACTIVE),
    });
    create(&server.client(), &new_function(folder.path())).unwrap();
    let seen = server.seen();
    let order: Vec<String> = seen.iter().map(asked).collect();
    assert_eq!(
        order,
        [
            "POST /2015-03-31/functions",
            "GET /2015-03-31/functions/f",
            "GET /2015-03-31/functions/f"
        ]
    );
    let scope = seen[0].header("authorization").unwrap();
    assert!(scope.contains("/us-east-1/lambda/aws4_request"), "{scope}");
    let sent = body(&seen[0]);
    assert_eq!(sent["Environment"]["Variables"], json!({"A": "1=2"}));
    assert_eq!((&sent["Timeout"], &sent["MemorySize"]), (&json!(30), &Value::Null));
    let files = unzipped(&sent["Code"]);
    assert_eq!(files[0], ("app.py".to_owned(), 0o644, b"handler = print\n".to_vec()));
    assert_eq!(files[1].0, "lib/x.py");
}

#[test]
fn what_is_the_same_is_not_sent_again() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("app.py"), "x").unwrap();
    let sha256 = Package::of_folder(folder.path()).unwrap().sha256;
    let found = json!({"Configuration": {
        "FunctionName": "f", "CodeSha256": sha256, "Runtime": "python3.12", "Timeout": 3,
        "Handler": "app.handler", "Role": "arn:aws:iam::1:role/r", "State": "Active",
        "Environment": {"Variables": {"A": "1=2"}},
    }});
    let server = Server::replies(vec![ok(&found.to_string())]);
    let wanted = Create { update: true, ..new_function(folder.path()) };
    create(&server.client(), &wanted).unwrap();
    let puts: Vec<Seen> = server.seen().into_iter().filter(|s| s.line.starts_with("PUT")).collect();
    assert_eq!(
        puts.iter().map(asked).collect::<Vec<_>>(),
        ["PUT /2015-03-31/functions/f/configuration"]
    );
    assert_eq!(body(&puts[0]), json!({"Timeout": 30}));
}

#[test]
fn a_function_that_fails_to_start_is_an_error() {
    let server = Server::replies(vec![ok(
        r#"{"Configuration":{"State":"Failed","StateReason":"no bootstrap"}}"#,
    )]);
    let error = wait(&server.client(), "f").unwrap_err().to_string();
    assert!(error.contains("no bootstrap"), "{error}");
}

fn invoke(payload: &str) -> Invoke {
    Invoke {
        name: "arn:aws:lambda:us-east-1:1:function:f".into(),
        payload: payload.into(),
        qualifier: Some("$LATEST".into()),
        log: true,
    }
}

#[test]
fn calls_carry_the_event_and_end_like_the_function() {
    let failing = |n: usize| n == 1;
    let server = Server::start(move |_, n| {
        let mut headers = vec![format!("x-amz-log-result: {}", STANDARD.encode("START\nEND"))];
        if failing(n) {
            headers.push("x-amz-function-error: Unhandled".into());
        }
        let answer = r#"{"errorMessage":"not allowed","errorType":"ClientError","stackTrace":[]}"#;
        Reply(200, headers, answer.as_bytes().to_vec())
    });
    let client = server.client();
    call(&client, &invoke(r#"{"url": "u"}"#)).unwrap();
    let error = call(&client, &invoke("1")).unwrap_err().to_string();
    assert!(error.contains("(Unhandled): ClientError: not allowed"), "{error}");
    let seen = server.seen();
    assert_eq!(
        asked(&seen[0]),
        "POST /2015-03-31/functions/arn%3Aaws%3Alambda%3Aus-east-1%3A1%3Afunction%3Af/invocations?Qualifier=%24LATEST"
    );
    assert_eq!(seen[0].header("x-amz-log-type"), Some("Tail"));
    assert_eq!(seen[0].body, br#"{"url": "u"}"#);
}

#[test]
fn events_are_json_of_any_source() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("event.json");
    std::fs::write(&file, "[1]").unwrap();
    assert_eq!(event(&format!("@{}", file.display())).unwrap(), b"[1]");
    assert_eq!(event("null").unwrap(), b"null");
    for bad in ["", "{", "{} {}", "url=x"] {
        assert!(matches!(event(bad), Err(ClientError::Usage(_))), "{bad}");
    }
    assert!(matches!(event("@/nowhere"), Err(ClientError::File { .. })));
    std::fs::write(&file, vec![b' '; MAX_EVENT as usize + 1]).unwrap();
    assert!(event(&format!("@{}", file.display())).unwrap_err().to_string().contains("limit"));
}

#[test]
fn lists_end_when_a_marker_comes_twice() {
    let server = Server::replies(vec![ok(r#"{"Functions":[{}],"NextMarker":"m=1"}"#)]);
    list(&server.client(), true).unwrap();
    let seen: Vec<String> = server.seen().iter().map(asked).collect();
    assert_eq!(
        seen,
        [
            "GET /2015-03-31/functions?MaxItems=50",
            "GET /2015-03-31/functions?MaxItems=50&Marker=m%3D1"
        ]
    );
}

#[test]
fn a_new_alias_is_made_and_an_old_one_moved() {
    let server = Server::start(|seen, _| match seen.line.split(' ').next() {
        Some("PUT") => not_found(),
        _ => Reply(201, vec![], br#"{"Version":"7"}"#.to_vec()),
    });
    publish(&server.client(), "f", Some("live"), false).unwrap();
    let seen = server.seen();
    assert_eq!(
        seen.iter().map(asked).collect::<Vec<_>>(),
        [
            "POST /2015-03-31/functions/f/versions",
            "PUT /2015-03-31/functions/f/aliases/live",
            "POST /2015-03-31/functions/f/aliases"
        ]
    );
    assert_eq!(body(&seen[2]), json!({"FunctionVersion": "7", "Name": "live"}));
}

mod classifiers {
    use super::super::classifier::{Deploy, deploy};
    use super::super::code::{architecture, newest_glibc};
    use super::*;

    const ROLE: &str =
        "<R><Role><Arn>arn:aws:iam::1:role/kennel-classify-Dogs-role</Arn></Role></R>";

    /// A program for arm64 that wants glibc 2.36.
    fn program(folder: &Path) -> PathBuf {
        let mut bytes = b"\x7fELF\x02\x01\x01".to_vec();
        bytes.resize(18, 0);
        bytes.extend([183, 0]);
        bytes.resize((1 << 20) - 4, 0);
        bytes.extend(b"GLIBC_2.36\0GLIBC_2.2.5\0GLIBC_2.PRIVATE");
        let path = folder.join("kennel");
        std::fs::write(&path, bytes).unwrap();
        path
    }

    fn arguments(folder: &Path) -> Deploy {
        Deploy {
            endpoint: "Dogs".into(),
            name: None,
            role: None,
            timeout: None,
            memory: None,
            binary: Some(program(folder)),
            json: false,
        }
    }

    fn answer(seen: &Seen, function: Option<&Value>, role: bool) -> Reply {
        let said = asked(seen);
        match said.as_str() {
            "SageMaker.DescribeEndpoint" => {
                ok(r#"{"EndpointArn":"arn:aws:sagemaker:us-east-1:1:endpoint/Dogs"}"#)
            }
            "GetRole" if !role => Reply(
                404,
                vec![],
                b"<E><Error><Code>NoSuchEntity</Code><Message>no</Message></Error></E>".to_vec(),
            ),
            "GetRole" | "CreateRole" => ok(ROLE),
            "AttachRolePolicy" | "PutRolePolicy" => ok("<R/>"),
            _ if said.starts_with("GET") => match function {
                Some(found) => ok(&json!({"Configuration": found}).to_string()),
                None => not_found(),
            },
            _ => ok("{}"),
        }
    }

    #[test]
    fn the_function_gets_a_role_for_this_endpoint_only() {
        let folder = tempfile::tempdir().unwrap();
        let arguments = arguments(folder.path());
        let server = Server::start(|seen, n| match asked(seen).as_str() {
            // AWS knows a new role only after some seconds.
            "POST /2015-03-31/functions" if n == 6 => Reply(
                400,
                vec!["x-amzn-errortype: InvalidParameterValueException".into()],
                br#"{"message":"The role defined for the function cannot be assumed by Lambda."}"#
                    .to_vec(),
            ),
            "GET /2015-03-31/functions/classify-Dogs" if n > 6 => ok(ACTIVE),
            _ => answer(seen, None, false),
        });
        deploy(&server.client(), &arguments).unwrap();
        let seen = server.seen();
        assert_eq!(
            seen.iter().map(asked).collect::<Vec<_>>(),
            [
                "GET /2015-03-31/functions/classify-Dogs",
                "SageMaker.DescribeEndpoint",
                "GetRole",
                "CreateRole",
                "AttachRolePolicy",
                "PutRolePolicy",
                "POST /2015-03-31/functions",
                "POST /2015-03-31/functions",
                "GET /2015-03-31/functions/classify-Dogs"
            ]
        );
        let policy = percent_encoding::percent_decode(&seen[5].body).decode_utf8().unwrap();
        let document: Value =
            serde_json::from_str(policy.split_once("PolicyDocument=").unwrap().1).unwrap();
        assert_eq!(
            document["Statement"],
            json!([{
                "Effect": "Allow",
                "Action": "sagemaker:InvokeEndpoint",
                "Resource": "arn:aws:sagemaker:us-east-1:1:endpoint/dogs",
            }])
        );
        let made = body(&seen[7]);
        assert_eq!(made["Architectures"], json!(["arm64"]));
        assert_eq!(made["Environment"]["Variables"], json!({"ENDPOINT_NAME": "Dogs"}));
        assert_eq!(made["Role"], "arn:aws:iam::1:role/kennel-classify-Dogs-role");
        let files = unzipped(&made["Code"]);
        assert_eq!((files.len(), files[0].0.as_str(), files[0].1), (1, "bootstrap", 0o755));
    }

    #[test]
    fn done_again_it_changes_nothing_but_the_policy() {
        let folder = tempfile::tempdir().unwrap();
        let arguments = arguments(folder.path());
        let sha256 = Package::of_program(arguments.binary.as_ref().unwrap()).unwrap().sha256;
        let mut found = json!({
            "FunctionName": "classify-Dogs", "FunctionArn": "arn:f", "State": "Active",
            "LastUpdateStatus": "Successful", "CodeSha256": sha256, "Runtime": "provided.al2023",
            "Handler": "kennel.classifier", "Architectures": ["arm64"], "Timeout": 5,
            "Role": "arn:aws:iam::1:role/kennel-classify-Dogs-role",
            "Environment": {"Variables": {"MINE": "1", "ENDPOINT_NAME": "Dogs"}},
        });
        let state = found.clone();
        let server = Server::start(move |seen, _| answer(seen, Some(&state), true));
        deploy(&server.client(), &arguments).unwrap();
        assert!(server.seen().iter().all(|s| !s.line.starts_with("PUT")));
        // Other code, and another endpoint before.
        found["CodeSha256"] = "x".into();
        found["Environment"]["Variables"]["ENDPOINT_NAME"] = "cats".into();
        let server = Server::start(move |seen, _| answer(seen, Some(&found), true));
        deploy(&server.client(), &arguments).unwrap();
        let puts: Vec<Seen> =
            server.seen().into_iter().filter(|s| s.line.starts_with("PUT")).collect();
        assert!(puts[0].line.contains("/code ") && puts[1].line.contains("/configuration "));
        assert_eq!(puts.len(), 2);
        assert_eq!(
            body(&puts[1]),
            json!({"Environment": {"Variables": {"MINE": "1", "ENDPOINT_NAME": "Dogs"}}})
        );
    }

    #[test]
    fn other_functions_and_other_files_are_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let mut arguments = arguments(folder.path());
        let other = json!({"FunctionName": "classify-Dogs", "Handler": "app.handler"});
        let server = Server::start(move |seen, _| answer(seen, Some(&other), true));
        let error = deploy(&server.client(), &arguments).unwrap_err().to_string();
        assert!(error.contains("app.handler"), "{error}");
        assert_eq!(server.seen().len(), 1);
        std::fs::write(folder.path().join("script"), "#!/bin/sh\n").unwrap();
        arguments.binary = Some(folder.path().join("script"));
        assert!(deploy(&server.client(), &arguments).unwrap_err().to_string().contains("Linux"));
        assert_eq!(server.seen().len(), 1);
    }

    #[test]
    fn programs_are_read_for_what_they_need() {
        let folder = tempfile::tempdir().unwrap();
        let path = program(folder.path());
        assert_eq!(architecture(&path).unwrap(), Some("arm64"));
        assert_eq!(newest_glibc(&path).unwrap(), Some(36));
        std::fs::write(&path, "G").unwrap();
        assert_eq!(architecture(&path).unwrap(), None);
        assert_eq!(newest_glibc(&path).unwrap(), None);
    }
}

#[test]
fn concurrency_is_put_and_waited_for() {
    let server = Server::start(|seen, _| match asked(seen).as_str() {
        "GET /2019-09-30/functions/f/provisioned-concurrency?Qualifier=live" => {
            ok(r#"{"Status":"READY"}"#)
        }
        "GET /2019-09-30/functions/f/provisioned-concurrency?List=ALL" => ok(
            r#"{"ProvisionedConcurrencyConfigs":[{"FunctionArn":"arn:f:live","Status":"READY"}]}"#,
        ),
        _ => ok("{}"),
    });
    #[derive(Debug, clap::Parser)]
    struct Line {
        #[command(flatten)]
        wanted: concurrency::Concurrency,
    }
    let parse = |line: &str| {
        <Line as clap::Parser>::try_parse_from(line.split(' ')).map(|parsed| parsed.wanted)
    };
    let wanted = parse("k f --reserved 4 --provisioned 2 --qualifier live").unwrap();
    concurrency::run(&server.client(), &wanted).unwrap();
    let seen = server.seen();
    assert_eq!(asked(&seen[0]), "PUT /2017-10-31/functions/f/concurrency");
    assert_eq!(body(&seen[0]), json!({"ReservedConcurrentExecutions": 4}));
    assert_eq!(
        asked(&seen[1]),
        "PUT /2019-09-30/functions/f/provisioned-concurrency?Qualifier=live"
    );
    assert_eq!(body(&seen[1]), json!({"ProvisionedConcurrentExecutions": 2}));
    for bad in ["k f --reserved 1 --no-reserved", "k f --no-provisioned"] {
        assert!(parse(bad).is_err(), "{bad}");
    }
}

#[test]
fn without_a_qualifier_the_function_is_published_as_live() {
    let conflict = r#"{"Type":"User","Message":"Alias already exists"}"#;
    let server = Server::start(move |seen, _| match asked(seen).as_str() {
        "POST /2015-03-31/functions/f/versions" => ok(r#"{"Version":"7"}"#),
        "POST /2015-03-31/functions/f/aliases" => Reply(
            409,
            vec!["x-amzn-errortype: ResourceConflictException".into()],
            conflict.as_bytes().to_vec(),
        ),
        "GET /2019-09-30/functions/f/provisioned-concurrency?Qualifier=live" => {
            ok(r#"{"Status":"READY"}"#)
        }
        _ => ok("{}"),
    });
    #[derive(Debug, clap::Parser)]
    struct Line {
        #[command(flatten)]
        wanted: concurrency::Concurrency,
    }
    let line = <Line as clap::Parser>::parse_from("k f --provisioned 2".split(' '));
    concurrency::run(&server.client(), &line.wanted).unwrap();
    let seen = server.seen();
    assert_eq!(asked(&seen[2]), "PUT /2015-03-31/functions/f/aliases/live");
    assert_eq!(body(&seen[2]), json!({"FunctionVersion": "7"}));
    assert_eq!(
        asked(&seen[3]),
        "PUT /2019-09-30/functions/f/provisioned-concurrency?Qualifier=live"
    );
}

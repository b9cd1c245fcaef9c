//! Environments of functions: how they begin, answer, fail, freeze and end.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod support;

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use kennel_hosting::Command;
use kennel_hosting::function::{
    Environment, EnvironmentOptions, Failed, InitError, Invocation, MAX_ANSWER, MAX_OUTPUT,
};
use kennel_hosting::launch;
use kennel_hosting::process::Exit;
use support::function::{Event, environment, python, start, state};
use support::{DEADLINE, alive, until};

fn texts(environment: &Environment) -> Vec<String> {
    environment.take_output().into_iter().map(|line| line.text).collect()
}

#[tokio::test]
async fn events_go_in_and_answers_come_out() {
    let environment = environment("").await;
    environment.ready().await.unwrap();
    let mut invocation = Event("answer = json.dumps(headers)").invocation();
    invocation.function_arn = "arn:aws:lambda:us-east-1:123456789012:function:dog".to_owned();
    invocation.trace_id = Some("Root=1-2-3".to_owned());
    invocation.client_context = Some(r#"{"custom":{}}"#.to_owned());
    invocation.deadline_ms = 1_700_000_000_123;
    let answer = environment.invoke(invocation).await.unwrap();
    assert_eq!(answer.error_type, None);
    let headers: serde_json::Value = serde_json::from_slice(&answer.payload).unwrap();
    let header = |name: &str| headers[name].as_str().unwrap_or_default().to_owned();
    assert_eq!(header("lambda-runtime-aws-request-id"), "request-1");
    assert_eq!(header("lambda-runtime-deadline-ms"), "1700000000123");
    assert_eq!(
        header("lambda-runtime-invoked-function-arn"),
        "arn:aws:lambda:us-east-1:123456789012:function:dog"
    );
    assert_eq!(header("lambda-runtime-trace-id"), "Root=1-2-3");
    assert_eq!(header("lambda-runtime-client-context"), r#"{"custom":{}}"#);
    assert_eq!(header("content-type"), "application/json");
    let answer = environment.invoke(Event("answer = 'second'").into()).await.unwrap();
    assert_eq!(answer.payload, "second");
    let answer = environment.invoke(Event("raise KeyError('x')").into()).await.unwrap();
    assert_eq!(answer.error_type.as_deref(), Some("KeyError"));
    assert!(answer.payload.starts_with(b"{\"errorMessage\""));
    assert!(environment.usage() > 4 << 20, "{}", environment.usage());
}

#[tokio::test]
async fn many_invocations_at_once_take_turns() {
    let environment = Arc::new(environment("count = 0").await);
    let calls = (0..20).map(|_| {
        let environment = Arc::clone(&environment);
        async move { environment.invoke(Event("count += 1; answer = str(count)").into()).await }
    });
    let answers = futures::future::join_all(calls).await;
    let mut counts: Vec<u32> = answers
        .into_iter()
        .map(|a| String::from_utf8_lossy(&a.unwrap().payload).parse().unwrap())
        .collect();
    counts.sort_unstable();
    assert_eq!(counts, (1..=20).collect::<Vec<_>>());
}

#[tokio::test]
async fn large_answers_pass_and_larger_ones_do_not() {
    let environment = environment("").await;
    let most = format!("answer = 'x' * {MAX_ANSWER}");
    let answer = environment.invoke(Event(&most).into()).await.unwrap();
    assert_eq!(answer.payload.len() as u64, MAX_ANSWER);
    let more = format!("answer = 'x' * ({MAX_ANSWER} + 1)");
    match environment.invoke(Event(&more).into()).await {
        Err(Failed::TooLarge { bytes, .. }) => assert_eq!(bytes, MAX_ANSWER + 1),
        other => panic!("{other:?}"),
    }
    // Without an announced length, in chunks.
    let environment = support::function::environment("").await;
    let chunks = "answer = (b'x' * 65536 for _ in range(200))";
    match environment.invoke(Event(chunks).into()).await {
        Err(Failed::TooLarge { bytes, .. }) => assert!(bytes > MAX_ANSWER),
        other => panic!("{other:?}"),
    }
    assert!(environment.exit().is_some(), "it lives on");
}

#[tokio::test]
async fn streamed_answers_are_read_as_a_whole() {
    let environment = environment("").await;
    let streamed = r#"
connection.putrequest("POST", f"/2018-06-01/runtime/invocation/{request}/response")
connection.putheader("Lambda-Runtime-Function-Response-Mode", "streaming")
connection.putheader("Transfer-Encoding", "chunked")
connection.putheader("Trailer", "Lambda-Runtime-Function-Error-Type")
connection.endheaders()
connection.send(b"3\r\none\r\n3\r\ntwo\r\n0\r\n" + TRAILER + b"\r\n")
connection.getresponse().read()
request, event = [call("GET", "invocation/next")][0]
raise SystemExit(0)
"#;
    let good = streamed.replace("TRAILER", "b''");
    let answer = environment.invoke(Event(&good).into()).await.unwrap();
    assert_eq!((answer.payload, answer.error_type), (Bytes::from("onetwo"), None));
    let environment = support::function::environment("").await;
    let trailer = r#"b"Lambda-Runtime-Function-Error-Type: Late\r\n""#;
    let bad = streamed.replace("TRAILER", trailer);
    let answer = environment.invoke(Event(&bad).into()).await.unwrap();
    assert_eq!(answer.error_type.as_deref(), Some("Late"));
}

#[tokio::test]
async fn what_the_api_does_not_know_is_told() {
    let environment = environment("").await;
    let script = r#"
found = []
for method, path in [("GET", "nothing"), ("POST", "invocation/next"), ("POST", "invocation/other/response"),
                     ("POST", "invocation/other/error"), ("POST", "init/error"), ("GET", "invocation/next")]:
    response, body = call(method, path, "{}" if method == "POST" else None)
    found.append([response.status, json.loads(body)["errorType"]])
connection.request("GET", "/")
response = connection.getresponse()
response.read()
found.append([response.status, response.headers["content-type"]])
answer = json.dumps(found)
"#;
    let answer = environment.invoke(Event(script).into()).await;
    let answer = answer.unwrap_or_else(|e| panic!("{e} {:?}", texts(&environment)));
    let found: serde_json::Value = serde_json::from_slice(&answer.payload).unwrap();
    let expected = serde_json::json!([
        [404, "NotFound"],
        [404, "NotFound"],
        [400, "InvalidRequestID"],
        [400, "InvalidRequestID"],
        [403, "InvalidStateTransition"],
        [403, "InvalidStateTransition"],
        [404, "application/json"],
    ]);
    assert_eq!(found, expected);
}

#[tokio::test]
async fn output_is_complete_when_the_answer_is_there() {
    let environment = environment("print('begun', flush=True)").await;
    environment.ready().await.unwrap();
    assert_eq!(texts(&environment), ["begun"]);
    for round in 0..200 {
        let script = format!(
            "[print(f'{round} {{i}}') for i in range(300)]; print('rest', end='', flush=True)"
        );
        environment.invoke(Event(&script).into()).await.unwrap();
        let mut expected: Vec<String> = (0..300).map(|i| format!("{round} {i}")).collect();
        expected.push("rest".to_owned());
        assert_eq!(texts(&environment), expected);
    }
}

#[tokio::test]
async fn a_gigabyte_of_output_is_bounded_and_told() {
    let environment = environment("").await;
    let script = "line = b'x' * 999 + b'\\n'\nfor _ in range(1_000_000): os.write(1, line)";
    environment.invoke(Event(script).into()).await.unwrap();
    let lines = environment.take_output();
    let kept: usize = lines.iter().map(|line| line.text.len() + 1).sum();
    assert!(kept < MAX_OUTPUT + 1000, "{kept}");
    let last = &lines.last().unwrap().text;
    let dropped = 1_000_000_000 - (lines.len() as u64 - 1) * 1000;
    assert!(last.contains(&format!("{dropped} bytes of output were dropped")), "{last}");
    environment.invoke(Event("print('small', flush=True)").into()).await.unwrap();
    assert_eq!(texts(&environment), ["small"]);
}

#[tokio::test]
async fn who_cannot_begin_says_why() {
    let report = r#"
print("no such module", flush=True)
call("POST", "init/error", '{"errorMessage": "no"}', {"Lambda-Runtime-Function-Error-Type": "Runtime.ImportModuleError"})
sys.exit(1)
"#;
    let environment = environment(report).await;
    match environment.ready().await {
        Err(InitError::Reported { error_type, body, .. }) => {
            assert_eq!(error_type, "Runtime.ImportModuleError");
            assert_eq!(body, r#"{"errorMessage": "no"}"#);
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(texts(&environment)[0], "no such module");
    let environment =
        support::function::environment("print('dying', flush=True); os._exit(3)").await;
    match environment.ready().await {
        Err(InitError::Exited { exit, .. }) => assert_eq!(exit, Exit::Code(3)),
        other => panic!("{other:?}"),
    }
    assert_eq!(texts(&environment), ["dying"]);
    // What comes after the end is told at once.
    match environment.invoke(Event("").into()).await {
        Err(Failed::Exited { exit, .. }) => assert_eq!(exit, Exit::Code(3)),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn who_begins_too_slowly_is_killed() {
    let mut options = python("print('slow', flush=True); time.sleep(600)");
    // Long enough for Python to have begun, on a busy machine too.
    options.init_timeout = Duration::from_secs(4);
    let environment = start(options).await;
    match environment.ready().await {
        Err(InitError::TimedOut { duration }) => assert!(duration >= Duration::from_secs(4)),
        other => panic!("{other:?}"),
    }
    assert_eq!(environment.exit(), Some(Exit::Signal(9)));
    assert_eq!(texts(&environment), ["slow"]);
}

#[tokio::test]
async fn a_program_that_does_not_exist_is_told() {
    let options =
        EnvironmentOptions { command: Command::new(["/no/bootstrap"]), ..Default::default() };
    let environment = start(options).await;
    match environment.ready().await {
        Err(InitError::Exited { exit, .. }) => {
            assert_eq!(exit, Exit::Code(i32::from(launch::FAILED)));
        }
        other => panic!("{other:?}"),
    }
    let lines = texts(&environment);
    assert!(lines.last().unwrap().contains("cannot execute `/no/bootstrap`"), "{lines:?}");
}

#[tokio::test]
async fn who_ends_in_the_middle_gives_its_exit_and_output() {
    let environment = environment("").await;
    match environment.invoke(Event("print('last words'); sys.exit(3)").into()).await {
        Err(Failed::Exited { exit, .. }) => assert_eq!(exit, Exit::Code(3)),
        other => panic!("{other:?}"),
    }
    assert_eq!(texts(&environment), ["last words"]);
    let environment = support::function::environment("").await;
    match environment.invoke(Event("os.kill(os.getpid(), signal.SIGSEGV)").into()).await {
        Err(Failed::Exited { exit, .. }) => assert_eq!(exit, Exit::Signal(11)),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn who_answers_and_ends_without_waiting_has_answered() {
    for _ in 0..20 {
        let environment = environment("").await;
        let script = r#"
body = b"bye"
head = f"POST /2018-06-01/runtime/invocation/{request}/response HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
connection.sock.sendall(head.encode() + body)
os._exit(0)
"#;
        let answer = environment.invoke(Event(script).into()).await.unwrap();
        assert_eq!(answer.payload, "bye");
    }
}

#[tokio::test]
async fn who_loops_for_ever_is_killed_with_its_children() {
    let environment = environment("signal.signal(signal.SIGTERM, signal.SIG_IGN)").await;
    environment.ready().await.unwrap();
    let script = r#"
child = subprocess.Popen(["/bin/sh", "-c", "trap '' TERM; while :; do sleep 1; done"])
print(child.pid, flush=True)
while True: pass
"#;
    let mut invocation = Event(script).invocation();
    invocation.timeout = Duration::from_millis(600);
    let begun = Instant::now();
    match environment.invoke(invocation).await {
        Err(Failed::TimedOut { after }) => assert_eq!(after, Duration::from_millis(600)),
        other => panic!("{other:?}"),
    }
    assert!(begun.elapsed() >= Duration::from_millis(600));
    let child: i32 = texts(&environment)[0].parse().unwrap();
    assert_eq!(environment.exit(), Some(Exit::Signal(9)));
    until("the child dies", || !alive(child)).await;
}

#[tokio::test]
async fn too_much_memory_is_its_own_end() {
    let mut options = python("");
    options.memory_limit = Some(100 << 20);
    let environment = start(options).await;
    let script = "held = [bytearray(os.urandom(1 << 20)) for _ in range(300)]; time.sleep(600)";
    match environment.invoke(Event(script).into()).await {
        Err(Failed::MemoryExceeded { exceeded, .. }) => {
            assert_eq!(exceeded.limit, 100 << 20);
            assert!(exceeded.used > exceeded.limit);
        }
        other => panic!("{other:?}"),
    }
    assert!(environment.exit().is_some());
    assert!(environment.usage() > 100 << 20, "{}", environment.usage());
}

#[tokio::test]
async fn stopping_is_gentle_first_even_for_the_frozen() {
    let environment = environment(
        "signal.signal(signal.SIGTERM, lambda *_: (print('bye', flush=True), os._exit(7)))",
    )
    .await;
    environment.ready().await.unwrap();
    until("it is frozen", || state(environment.identity().pid) == 'T').await;
    environment.stop().await;
    assert_eq!(environment.exit(), Some(Exit::Code(7)));
    assert_eq!(texts(&environment), ["bye"]);
    let environment =
        support::function::environment("signal.signal(signal.SIGTERM, signal.SIG_IGN)").await;
    environment.ready().await.unwrap();
    let begun = Instant::now();
    environment.stop().await;
    assert!(begun.elapsed() >= Duration::from_secs(2));
    assert_eq!(environment.exit(), Some(Exit::Signal(9)));
}

#[tokio::test]
async fn it_is_frozen_while_it_has_nothing_to_do() {
    let environment = environment(
        "ticks = 0
def tick():
    global ticks
    while True:
        ticks += 1
        time.sleep(0.001)
threading.Thread(target=tick, daemon=True).start()",
    )
    .await;
    environment.ready().await.unwrap();
    let pid = environment.identity().pid;
    let child = "child = subprocess.Popen(['sleep', '600']); answer = str(child.pid)";
    let answer = environment.invoke(Event(child).into()).await.unwrap();
    let child: i32 = String::from_utf8_lossy(&answer.payload).parse().unwrap();
    until("it is frozen", || state(pid) == 'T' && state(child) == 'T').await;
    // Its thread has not ticked while it was frozen: the processor time stands.
    let before = support::function::ticks(pid);
    let frozen = Instant::now();
    until("time passes", || frozen.elapsed() > Duration::from_millis(300)).await;
    assert_eq!(support::function::ticks(pid), before);
    assert_eq!(state(pid), 'T');
    let answer = environment.invoke(Event("time.sleep(0.01); answer = str(ticks)").into()).await;
    let ticks: u32 = String::from_utf8_lossy(&answer.unwrap().payload).parse().unwrap();
    assert!(ticks > 0);
    until("it is frozen again", || state(pid) == 'T').await;
    drop(environment);
    until("the frozen die", || !alive(pid) && !alive(child)).await;
}

#[tokio::test]
async fn who_does_not_ask_again_is_frozen_all_the_same() {
    let environment = environment("").await;
    let script = "call('POST', f'invocation/{request}/response', 'late'); time.sleep(600)";
    let answer = environment.invoke(Event(script).into()).await.unwrap();
    assert_eq!(answer.payload, "late");
    until("it is frozen", || state(environment.identity().pid) == 'T').await;
}

#[tokio::test]
async fn an_invocation_that_is_given_up_takes_the_environment_with_it() {
    let environment = environment("").await;
    environment.ready().await.unwrap();
    let invocation = environment.invoke(Event("time.sleep(600)").into());
    assert!(tokio::time::timeout(Duration::from_millis(300), invocation).await.is_err());
    let exit = tokio::time::timeout(DEADLINE, environment.ended()).await.unwrap();
    assert_eq!(exit, Exit::Signal(9));
}

#[tokio::test]
async fn what_cannot_be_said_is_refused() {
    let environment = environment("").await;
    let mut invocation: Invocation = Event("").into();
    invocation.client_context = Some("a\nb".to_owned());
    assert!(matches!(environment.invoke(invocation).await, Err(Failed::Protocol(_))));
}

/// AWS's own runtime client, where `KENNEL_TEST_RIC` names an interpreter that has it.
#[tokio::test]
async fn awslambdaric_runs_here() {
    let Ok(interpreter) = std::env::var("KENNEL_TEST_RIC") else {
        eprintln!("skipped: KENNEL_TEST_RIC names no interpreter with awslambdaric");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let code = "import os\ndef handler(event, context):\n    print('got', event)\n    if event.get('exit'): os._exit(3)\n    return {'id': context.aws_request_id, 'left': context.get_remaining_time_in_millis(), 'x': event['x']}\n";
    std::fs::write(folder.path().join("app.py"), code).unwrap();
    let with = |handler: &str| {
        let mut command = Command::new([interpreter.as_str(), "-m", "awslambdaric", handler]);
        command.folder = Some(folder.path().to_owned());
        EnvironmentOptions { command, ..Default::default() }
    };
    let environment = start(with("app.handler")).await;
    environment.ready().await.unwrap();
    for round in 0..3 {
        let mut invocation = Event("").invocation();
        invocation.payload = format!("{{\"x\": {round}}}").into();
        let answer = environment.invoke(invocation).await.unwrap();
        assert_eq!(answer.error_type, None, "{answer:?}");
        let value: serde_json::Value = serde_json::from_slice(&answer.payload).unwrap();
        assert_eq!((&value["x"], &value["id"]), (&round.into(), &"request-1".into()));
        assert!(value["left"].as_i64().unwrap() > 0);
        assert!(texts(&environment)[0].starts_with("got"));
    }
    let mut invocation = Event("").invocation();
    invocation.payload = "{}".into();
    let answer = environment.invoke(invocation).await;
    let answer = answer.unwrap_or_else(|e| panic!("{e} {:?}", texts(&environment)));
    assert_eq!(answer.error_type.as_deref(), Some("KeyError"));
    let environment = start(with("missing.handler")).await;
    match environment.ready().await {
        Err(InitError::Reported { error_type, .. }) => {
            assert_eq!(error_type, "Runtime.ImportModuleError");
        }
        other => panic!("{other:?}"),
    }
}

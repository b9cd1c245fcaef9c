//! How long an execution environment takes: from `Environment::start` to the first answer (cold), and
//! what an invocation costs beside the function's own work, which is none here (warm).
//!
//!     cargo run --release -p kennel-hosting --example function_latency [COLD [WARM]]
//!
//! The function is this program itself, speaking the Runtime API over one connection with the standard
//! library. The stage between is this program too; `kennel` is larger and takes longer to begin, so
//! `KENNEL_BINARY` may name it. Where `KENNEL_TEST_RIC` names an interpreter with awslambdaric, its cold
//! start with a handler that imports nothing is measured too.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a measurement")]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use kennel_hosting::Command;
use kennel_hosting::function::{Environment, EnvironmentOptions, Invocation};
use kennel_hosting::launch::{self, Isolation, Mount};
use kennel_hosting::process::{Launcher, LauncherOptions};

fn main() -> ExitCode {
    // Packed in a zip as `bootstrap` it is a function of the platform: bench/functions does that.
    let program = std::env::args().next().unwrap_or_default();
    if program.rsplit('/').next() == Some("bootstrap") {
        return bootstrap();
    }
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.first().map(String::as_str) {
        Some(launch::SUBCOMMAND) => launch::run(),
        Some("bootstrap") => bootstrap(),
        _ => {
            let number = |at: usize, default| {
                arguments.get(at).map_or(default, |text| text.parse().unwrap())
            };
            let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
            runtime.block_on(measure(number(0, 50), number(1, 2000)));
            ExitCode::SUCCESS
        }
    }
}

/// Answers every event with itself.
fn bootstrap() -> ExitCode {
    let mut stream = TcpStream::connect(std::env::var("AWS_LAMBDA_RUNTIME_API").unwrap()).unwrap();
    stream.set_nodelay(true).unwrap();
    let mut buffer = Vec::new();
    loop {
        stream
            .write_all(b"GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\nHost: x\r\n\r\n")
            .unwrap();
        let (head, body) = receive(&mut stream, &mut buffer);
        let id = field(&head, "lambda-runtime-aws-request-id");
        let mut answer = format!(
            "POST /2018-06-01/runtime/invocation/{id}/response HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n",
            body.len()
        )
        .into_bytes();
        answer.extend(body);
        stream.write_all(&answer).unwrap();
        receive(&mut stream, &mut buffer);
    }
}

fn receive(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> (String, Vec<u8>) {
    loop {
        if let Some(end) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&buffer[..end]).to_lowercase();
            let length: usize = field(&head, "content-length").parse().unwrap();
            if buffer.len() >= end + 4 + length {
                let rest = buffer.split_off(end + 4 + length);
                let body = std::mem::replace(buffer, rest).split_off(end + 4);
                return (head, body);
            }
        }
        let mut chunk = [0; 16 << 10];
        let count = stream.read(&mut chunk).unwrap();
        if count == 0 {
            std::process::exit(0);
        }
        buffer.extend_from_slice(&chunk[..count]);
    }
}

fn field<'a>(head: &'a str, name: &str) -> &'a str {
    let line = head.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.trim_start_matches(':').trim()
}

async fn measure(cold: usize, warm: usize) {
    let own = std::env::current_exe().unwrap();
    let kennel = std::env::var_os("KENNEL_BINARY").map_or_else(|| own.clone(), Into::into);
    let launcher = Launcher::start(LauncherOptions { kennel }).unwrap();
    println!("{:<10} {:<16} {:>9} {:>9} {:>9}  of", "isolation", "what, ms", "p50", "p95", "p99");
    for isolated in [false, true] {
        let code = tempfile::tempdir().unwrap();
        std::fs::copy(&own, code.path().join("bootstrap")).unwrap();
        let tmp = tempfile::tempdir().unwrap();
        let name = if isolated { "on" } else { "off" };
        let row = |what: &str, times: &mut Vec<Duration>| {
            times.sort_unstable();
            let at = |part: f64| {
                times[((times.len() - 1) as f64 * part).round() as usize].as_secs_f64() * 1000.0
            };
            println!(
                "{name:<10} {what:<16} {:>9.3} {:>9.3} {:>9.3}  {}",
                at(0.5),
                at(0.95),
                at(0.99),
                times.len()
            );
        };
        let (mut ready, mut first) = (Vec::new(), Vec::new());
        for _ in 0..cold {
            let begun = Instant::now();
            let environment = begin(&launcher, isolated, code.path(), tmp.path()).await;
            ready.push(environment.ready().await.unwrap());
            environment.invoke(event()).await.unwrap();
            first.push(begun.elapsed());
            drop(environment);
        }
        row("until ready", &mut ready);
        row("cold start", &mut first);
        let environment = begin(&launcher, isolated, code.path(), tmp.path()).await;
        environment.invoke(event()).await.unwrap();
        let mut times = Vec::new();
        for _ in 0..warm {
            let begun = Instant::now();
            environment.invoke(event()).await.unwrap();
            times.push(begun.elapsed());
        }
        row("warm invocation", &mut times);
        // With a pause between, so that each one finds a frozen environment.
        let mut times = Vec::new();
        for _ in 0..warm / 10 {
            tokio::time::sleep(Duration::from_millis(5)).await;
            let begun = Instant::now();
            environment.invoke(event()).await.unwrap();
            times.push(begun.elapsed());
        }
        row("warm, frozen", &mut times);
        if let Ok(python) = std::env::var("KENNEL_TEST_RIC") {
            std::fs::write(code.path().join("app.py"), "def handler(event, context): return 1\n")
                .unwrap();
            let mut times = Vec::new();
            for _ in 0..cold.div_ceil(5) {
                let begun = Instant::now();
                let mut options = options(isolated, code.path(), tmp.path());
                options.command =
                    Command::new([python.as_str(), "-m", "awslambdaric", "app.handler"]);
                options.command.folder =
                    Some(if isolated { "/var/task".into() } else { code.path().to_owned() });
                if let Some(isolation) = &mut options.isolation {
                    isolation.read = installation(&python);
                }
                let environment = Environment::start(&launcher, options).await.unwrap();
                environment.invoke(event()).await.unwrap();
                times.push(begun.elapsed());
            }
            row("cold, Python", &mut times);
        }
    }
}

fn event() -> Invocation {
    Invocation {
        request_id: "8476a536-e9f4-11e8-9739-2dfe598c3fcd".to_owned(),
        payload: br#"{"url": "https://example.com/dog.jpg"}"#.as_slice().into(),
        timeout: Duration::from_secs(10),
        deadline_ms: 4_102_444_800_000,
        ..Invocation::default()
    }
}

/// The folders that an interpreter is installed in.
fn installation(python: &str) -> Vec<PathBuf> {
    let ask = ["-c", "import sys; print(sys.prefix); print(sys.base_prefix)"];
    let output = std::process::Command::new(python).args(ask).output().unwrap();
    String::from_utf8(output.stdout).unwrap().lines().map(PathBuf::from).collect()
}

async fn begin(launcher: &Launcher, isolated: bool, code: &Path, tmp: &Path) -> Environment {
    Environment::start(launcher, options(isolated, code, tmp)).await.unwrap()
}

fn options(isolated: bool, code: &Path, tmp: &Path) -> EnvironmentOptions {
    let mount = |source: &Path, target: &str, read_only| Mount {
        source: source.to_owned(),
        target: target.into(),
        read_only,
    };
    if isolated {
        EnvironmentOptions {
            command: Command::new(["/var/task/bootstrap", "bootstrap"]),
            mounts: vec![mount(code, "/var/task", true), mount(tmp, "/tmp", false)],
            isolation: Some(Isolation { required: true, ..Isolation::default() }),
            ..EnvironmentOptions::default()
        }
    } else {
        let bootstrap = code.join("bootstrap").display().to_string();
        let command = Command::new([bootstrap.as_str(), "bootstrap"]);
        EnvironmentOptions { command, ..EnvironmentOptions::default() }
    }
}

//! A model server that does what its requests say.

use std::convert::Infallible;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;

/// Behaviour, given as `name=value` arguments.
#[derive(Debug, Default, Clone)]
struct Options {
    /// Milliseconds before it listens.
    slow_start: u64,
    /// Ends with code 3 instead of listening.
    crash_at_start: bool,
    /// Pings after which the answer is 500; 0 never.
    sick_after: u64,
    /// First word of its answers.
    tag: String,
}

pub(crate) fn run(arguments: &[&str]) -> ExitCode {
    let mut options = Options::default();
    for argument in arguments {
        match argument.split_once('=').unwrap() {
            ("slow_start", value) => options.slow_start = value.parse().unwrap(),
            ("crash_at_start", value) => options.crash_at_start = value.parse().unwrap(),
            ("sick_after", value) => options.sick_after = value.parse().unwrap(),
            ("tag", value) => options.tag = value.to_owned(),
            other => panic!("{other:?}"),
        }
    }
    std::thread::sleep(Duration::from_millis(options.slow_start));
    if options.crash_at_start {
        eprintln!("cannot load the model");
        return ExitCode::from(3);
    }
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        eprintln!("serving on http://{}", listener.local_addr().unwrap());
        let options = Arc::new(options);
        let pings = Arc::new(AtomicU64::new(0));
        loop {
            let (connection, _) = listener.accept().await.unwrap();
            connection.set_nodelay(true).unwrap();
            let (options, pings) = (Arc::clone(&options), Arc::clone(&pings));
            let service = service_fn(move |request| {
                answer(request, Arc::clone(&options), Arc::clone(&pings))
            });
            let connection = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(connection), service);
            tokio::spawn(connection);
        }
    })
}

async fn answer(
    request: Request<Incoming>,
    options: Arc<Options>,
    pings: Arc<AtomicU64>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let reply = |status, text: String| {
        let mut response = Response::new(Full::new(Bytes::from(text)));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert("content-type", http::HeaderValue::from_static("text/plain"));
        headers.insert("x-secret", http::HeaderValue::from_static("internal"));
        Ok(response)
    };
    if request.method() == Method::GET {
        let seen = pings.fetch_add(1, Ordering::Relaxed);
        let sick = options.sick_after > 0 && seen >= options.sick_after;
        let status = if sick { StatusCode::INTERNAL_SERVER_ERROR } else { StatusCode::OK };
        return reply(status, String::new());
    }
    let given = request
        .headers()
        .get("x-amzn-sagemaker-custom-attributes")
        .map(|value| value.to_str().unwrap().to_owned())
        .unwrap_or_default();
    let body = request.into_body().collect().await.unwrap().to_bytes();
    let body = String::from_utf8_lossy(&body).into_owned();
    match body.split_once(' ').unwrap_or((&body, "")) {
        ("sleep", milliseconds) => {
            tokio::time::sleep(Duration::from_millis(milliseconds.parse().unwrap())).await;
        }
        ("eat", megabytes) => {
            std::mem::forget(vec![1u8; megabytes.parse::<usize>().unwrap() << 20]);
            tokio::time::sleep(Duration::from_secs(600)).await;
        }
        ("die", _) => std::process::exit(9),
        ("fail", _) => return reply(StatusCode::INTERNAL_SERVER_ERROR, "model trouble".to_owned()),
        ("big", bytes) => return reply(StatusCode::OK, "x".repeat(bytes.parse().unwrap())),
        _ => {}
    }
    reply(StatusCode::OK, format!("{} {} {given}", options.tag, std::process::id()))
}

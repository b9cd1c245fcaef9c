//! The Lambda Runtime API, version 2018-06-01, for one environment.
//! <https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html>
//!
//! Only the environment's own processes may connect, so there are no time limits on headers and
//! bodies here: who is slow spends the time of its own invocation. What they can make us hold is
//! bounded by the number of connections and the size of a body.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::exchange::{Event, Exchange, Next, Reply};
use super::members::{self, Mark};
use super::peer;

/// Bytes of an answer: 6 MB and a little, as Lambda counts.
pub const MAX_ANSWER: u64 = 6_291_556;

/// Connections of one environment at a time. Runtimes use one or two.
pub(super) const MAX_CONNECTIONS: u32 = 64;

/// Bytes of a connection's buffer.
const BUFFER: usize = 64 << 10;

/// An error type longer than this is cut.
const MAX_ERROR_TYPE: usize = 256;

const VERSION: &str = "/2018-06-01/runtime/";
const ERROR_TYPE: &str = "lambda-runtime-function-error-type";

/// Serves until it is dropped, and all connections with it.
pub(super) async fn serve(exchange: Arc<Exchange>, mark: Arc<Mark>, connections: Arc<Semaphore>) {
    let mut running = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = mark.listener().accept() => accepted,
            Some(_) = running.join_next() => continue,
        };
        let Ok((stream, _)) = accepted else {
            // No more open files, for the moment.
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        let Ok(permit) = Arc::clone(&connections).try_acquire_owned() else { continue };
        let (exchange, mark) = (Arc::clone(&exchange), Arc::clone(&mark));
        running.spawn(async move {
            let leader = exchange.process().identity().pid;
            if is_ours(&stream, leader) {
                mark.see(leader);
                connection(stream, exchange).await;
            } else {
                tracing::warn!("a stranger's connection to a function's Runtime API was refused");
            }
            drop(permit);
        });
    }
}

/// Whether a process of this environment is at the other end. It must still be there.
fn is_ours(stream: &TcpStream, leader: i32) -> bool {
    let (Ok(peer), Ok(local)) = (stream.peer_addr(), stream.local_addr()) else { return false };
    peer::inode(peer, local).is_some_and(|inode| members::hold_socket(leader, inode))
}

async fn connection(stream: TcpStream, exchange: Arc<Exchange>) {
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request| {
        let exchange = Arc::clone(&exchange);
        async move { Ok::<_, Infallible>(answer(&exchange, request).await) }
    });
    let served = hyper::server::conn::http1::Builder::new()
        .max_buf_size(BUFFER)
        // Who answers and is gone at once has answered. A question whose asker is gone ends with the next.
        .half_close(true)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(e) = served {
        tracing::debug!("a runtime's connection ended: {e}");
    }
}

async fn answer(exchange: &Exchange, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let path = request.uri().path().to_owned();
    let Some(rest) = path.strip_prefix(VERSION) else { return not_found() };
    let parts: Vec<&str> = rest.split('/').collect();
    let (head, body) = request.into_parts();
    // Read even where it is refused: who still writes would not see the refusal.
    let Some(sent) = collect(body, error_type(&head.headers)).await else {
        // The connection broke inside the body.
        return error(StatusCode::BAD_REQUEST, "InvalidRequest", "the body is incomplete");
    };
    match (head.method, parts.as_slice()) {
        (Method::GET, ["invocation", "next"]) => next(exchange).await,
        (Method::POST, ["invocation", id, kind @ ("response" | "error")]) => {
            reply(exchange, id, *kind == "error", sent)
        }
        (Method::POST, ["init", "error"]) => init_error(exchange, sent),
        _ => not_found(),
    }
}

async fn next(exchange: &Exchange) -> Response<Full<Bytes>> {
    let event = match exchange.next() {
        Next::Now(event) => Ok(event),
        Next::Wait(event) => event.await.map_err(|_| "the runtime asked again elsewhere"),
        Next::Unanswered => Err("the last invocation has not been answered"),
    };
    match event {
        Ok(Event { headers, payload, .. }) => {
            let mut response = Response::new(Full::new(payload));
            *response.headers_mut() = headers;
            response
        }
        Err(why) => error(StatusCode::FORBIDDEN, "InvalidStateTransition", why),
    }
}

fn reply(exchange: &Exchange, id: &str, is_error: bool, sent: Sent) -> Response<Full<Bytes>> {
    let reply = match (sent.body, sent.error_type) {
        (None, _) => Reply::TooLarge { bytes: sent.size },
        // awslambdaric sends no header; the type stands in the body alone.
        (Some(body), given) if is_error => {
            let error_type = given.or_else(|| named_in(&body));
            Reply::Error { error_type: error_type.unwrap_or_else(|| "Unhandled".to_owned()), body }
        }
        // A streamed answer tells in its trailers that it went wrong on the way.
        (Some(body), Some(error_type)) => Reply::Error { error_type, body },
        (Some(body), None) => Reply::Response(body),
    };
    let too_large = matches!(reply, Reply::TooLarge { .. });
    if !exchange.reply(id, reply) {
        return error(StatusCode::BAD_REQUEST, "InvalidRequestID", "Invalid request ID");
    }
    if too_large {
        let message = format!("Exceeded maximum allowed payload size ({MAX_ANSWER} bytes).");
        return error(StatusCode::PAYLOAD_TOO_LARGE, "RequestEntityTooLarge", &message);
    }
    accepted()
}

fn init_error(exchange: &Exchange, sent: Sent) -> Response<Full<Bytes>> {
    let body = sent.body.unwrap_or_default();
    let error_type = sent.error_type.or_else(|| named_in(&body));
    let error_type = error_type.unwrap_or_else(|| "Runtime.Unknown".to_owned());
    if exchange.fail_init(error_type, body) {
        accepted()
    } else {
        error(StatusCode::FORBIDDEN, "InvalidStateTransition", "the init phase is over")
    }
}

/// What a runtime sent with a request.
struct Sent {
    /// None where it is too large.
    body: Option<Bytes>,
    /// What was announced, or else what was seen.
    size: u64,
    /// From the headers or the trailers.
    error_type: Option<String>,
}

/// Reads a body; none where it breaks off.
async fn collect(mut body: Incoming, mut given: Option<String>) -> Option<Sent> {
    let announced = body.size_hint().lower();
    if announced > MAX_ANSWER {
        return Some(Sent { body: None, size: announced, error_type: None });
    }
    let mut bytes = BytesMut::with_capacity(usize::try_from(announced).unwrap_or(0));
    while let Some(frame) = body.frame().await {
        match frame.ok()?.into_data() {
            Ok(data) => {
                let size = (bytes.len() + data.len()) as u64;
                if size > MAX_ANSWER {
                    return Some(Sent { body: None, size, error_type: None });
                }
                bytes.extend_from_slice(&data);
            }
            Err(other) => given = given.or_else(|| other.trailers_ref().and_then(error_type)),
        }
    }
    let size = bytes.len() as u64;
    Some(Sent { size, body: Some(bytes.freeze()), error_type: given })
}

fn error_type(headers: &http::HeaderMap) -> Option<String> {
    let value = headers.get(ERROR_TYPE)?.to_str().ok()?;
    Some(value.chars().take(MAX_ERROR_TYPE).collect())
}

fn named_in(body: &[u8]) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct Named {
        #[serde(rename = "errorType")]
        error_type: String,
    }
    let named: Named = serde_json::from_slice(body).ok()?;
    Some(named.error_type.chars().take(MAX_ERROR_TYPE).collect())
}

fn accepted() -> Response<Full<Bytes>> {
    json(StatusCode::ACCEPTED, Bytes::from_static(b"{\"status\":\"OK\"}\n"))
}

fn not_found() -> Response<Full<Bytes>> {
    error(StatusCode::NOT_FOUND, "NotFound", "the Runtime API has no such path")
}

fn error(status: StatusCode, error_type: &str, message: &str) -> Response<Full<Bytes>> {
    let body = serde_json::json!({"errorMessage": message, "errorType": error_type});
    json(status, Bytes::from(body.to_string()))
}

fn json(status: StatusCode, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

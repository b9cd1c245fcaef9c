//! Where the requests of one life of a model server go: kept-alive connections, and the count of
//! requests in flight.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::uri::PathAndQuery;
use http::{HeaderMap, Method, StatusCode, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::sync::Notify;

/// Set in the count once no more requests are taken.
const CLOSED: usize = 1 << (usize::BITS - 1);

/// SageMaker gives a container 250 ms to accept a connection.
const CONNECT: Duration = Duration::from_millis(250);

/// Idle connections are closed by us before a server does it, which would race with a request.
const IDLE: Duration = Duration::from_secs(4);

/// Bytes of an answer to `GET /ping` that are read.
const MAX_PING: usize = 64 << 10;

#[derive(Debug)]
pub(crate) struct Backend {
    port: u16,
    invocations: Uri,
    ping: Uri,
    client: Client<HttpConnector, Full<Bytes>>,
    load: AtomicUsize,
    idle: Notify,
}

/// Why a request cannot be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    Full,
    Closed,
}

/// What an instance answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// Why there is no answer.
#[derive(Debug)]
pub(crate) enum Lost {
    /// There was no connection: the instance has not seen the request.
    Unreached(String),
    /// The connection broke: the instance may have seen the request.
    Broken(String),
    /// The answer is larger than allowed.
    TooLarge,
}

impl Backend {
    pub(crate) fn new(port: u16) -> Backend {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(CONNECT));
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .build(connector);
        let uri = |path: &'static str| {
            let mut parts = http::uri::Parts::default();
            parts.scheme = Some(http::uri::Scheme::HTTP);
            parts.authority = format!("127.0.0.1:{port}").parse().ok();
            parts.path_and_query = Some(PathAndQuery::from_static(path));
            // A number makes a sound authority; were it not so, every request would say so.
            Uri::from_parts(parts).unwrap_or_default()
        };
        Backend {
            port,
            invocations: uri("/invocations"),
            ping: uri("/ping"),
            client,
            load: AtomicUsize::new(0),
            idle: Notify::new(),
        }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Requests in flight.
    pub(crate) fn load(&self) -> usize {
        self.load.load(Ordering::Relaxed) & !CLOSED
    }

    /// A place for one request, while there are fewer than `most`.
    pub(crate) fn acquire(self: &Arc<Self>, most: usize) -> Result<Slot, Refusal> {
        let mut now = self.load.load(Ordering::Acquire);
        loop {
            if now & CLOSED != 0 {
                return Err(Refusal::Closed);
            }
            if now >= most {
                return Err(Refusal::Full);
            }
            match self.load.compare_exchange_weak(now, now + 1, Ordering::AcqRel, Ordering::Acquire)
            {
                Ok(_) => return Ok(Slot { backend: Arc::clone(self) }),
                Err(changed) => now = changed,
            }
        }
    }

    /// Takes no more requests.
    pub(crate) fn close(&self) {
        self.load.fetch_or(CLOSED, Ordering::AcqRel);
        self.idle.notify_waiters();
    }

    /// Waits until a closed backend has no request in flight.
    pub(crate) async fn idle(&self) {
        loop {
            let notified = self.idle.notified();
            tokio::pin!(notified);
            // Registered before looking, so that the last request cannot slip between.
            notified.as_mut().enable();
            if self.load.load(Ordering::Acquire) == CLOSED {
                return;
            }
            notified.await;
        }
    }

    /// Asks for health; the error says what was wrong.
    pub(crate) async fn ping(&self, limit: Duration) -> Result<(), String> {
        let answer =
            self.exchange(Method::GET, &self.ping, HeaderMap::new(), Bytes::new(), MAX_PING);
        match tokio::time::timeout(limit, answer).await {
            Err(_) => Err(format!("no answer to GET /ping within {} s", limit.as_secs_f64())),
            Ok(Ok(answer)) if answer.status == StatusCode::OK => Ok(()),
            Ok(Ok(answer)) => Err(format!("GET /ping answered {}", answer.status)),
            Ok(Err(Lost::TooLarge)) => Err("GET /ping answered too much".to_owned()),
            Ok(Err(Lost::Unreached(why) | Lost::Broken(why))) => Err(format!("GET /ping: {why}")),
        }
    }

    async fn exchange(
        &self,
        method: Method,
        uri: &Uri,
        headers: HeaderMap,
        body: Bytes,
        most: usize,
    ) -> Result<Answer, Lost> {
        let mut request = http::Request::new(Full::new(body));
        *request.method_mut() = method;
        *request.uri_mut() = uri.clone();
        *request.headers_mut() = headers;
        let answer = self.client.request(request).await.map_err(|e| {
            let why = chain(&e);
            if e.is_connect() { Lost::Unreached(why) } else { Lost::Broken(why) }
        })?;
        let (parts, body) = answer.into_parts();
        let body = Limited::new(body, most).collect().await.map_err(|e| {
            if e.is::<http_body_util::LengthLimitError>() {
                Lost::TooLarge
            } else {
                Lost::Broken(chain(e.as_ref()))
            }
        })?;
        Ok(Answer { status: parts.status, headers: parts.headers, body: body.to_bytes() })
    }
}

/// One request in flight.
#[derive(Debug)]
pub(crate) struct Slot {
    backend: Arc<Backend>,
}

impl Slot {
    /// Sends the request that the place is for.
    pub(crate) async fn invoke(
        &self,
        headers: HeaderMap,
        body: Bytes,
        most: usize,
    ) -> Result<Answer, Lost> {
        let uri = &self.backend.invocations;
        self.backend.exchange(Method::POST, uri, headers, body, most).await
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if self.backend.load.fetch_sub(1, Ordering::AcqRel) == CLOSED | 1 {
            self.backend.idle.notify_waiters();
        }
    }
}

/// An error with its causes, which hyper leaves out of its messages.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

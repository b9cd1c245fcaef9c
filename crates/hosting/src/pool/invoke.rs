//! The way of one request: admission, choice of an instance, exchange, retry.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, StatusCode, header};
use kennel_base::{ErrorCode, ErrorCoded};
use tokio::time::Instant;

use super::{Pool, Routed, Routing};
use crate::server_instance::{Lost, Refusal, Slot};

/// Headers of a model's answer that its caller sees; the rest is between the server and the model.
pub const RESPONSE_HEADERS: &[&str] = &[
    "content-type",
    "x-amzn-sagemaker-custom-attributes",
    "x-amzn-sagemaker-new-session-id",
    "x-amzn-sagemaker-closed-session-id",
];

/// Headers that belong to one connection and are not passed on.
const CONNECTION_HEADERS: &[HeaderName] = &[
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::EXPECT,
    header::HOST,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// A call of the model: what `POST /invocations` gets.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// Headers for the model; those that belong to a connection are left out.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
    /// May be sent a second time, to another instance, when an instance is lost in the middle of it.
    pub idempotent: bool,
}

/// The model's answer, whatever its status.
#[derive(Debug, Clone)]
pub struct Response {
    /// Status; 4xx and 5xx are the model's own.
    pub status: StatusCode,
    /// Those of [`RESPONSE_HEADERS`] that the model sent.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
    /// What it took.
    pub timing: InvokeTiming,
}

/// How long an invocation took and who answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvokeTiming {
    /// From the call to the whole answer.
    pub total: Duration,
    /// The part of the instance that answered (SageMaker's ModelLatency); the rest is ours.
    pub model: Duration,
    /// Number of that instance.
    pub instance: u64,
    /// Another instance was tried before.
    pub retried: bool,
}

/// Why an invocation has no answer.
#[derive(Debug, thiserror::Error)]
pub enum InvokeError {
    /// No instance is ready.
    #[error("no instance is ready{}", reason.as_ref().map(|r| format!(": {r}")).unwrap_or_default())]
    NotReady {
        /// Why one of them is not, where one has failed.
        reason: Option<String>,
    },
    /// Every ready instance has all the requests in flight that it takes.
    #[error("all instances are busy\nhint: try again, or give the variant more instances")]
    Throttled,
    /// No whole answer within the deadline.
    #[error("the model did not answer within {} s", .0.as_secs_f64())]
    Timeout(Duration),
    /// The instance was lost before the whole answer was there, and no other could take over.
    #[error("the connection to the instance broke: {0}")]
    Broken(String),
    /// The answer is larger than allowed.
    #[error("the model's answer is larger than {0} bytes")]
    TooLarge(usize),
}

impl ErrorCoded for InvokeError {
    fn code(&self) -> ErrorCode {
        match self {
            InvokeError::NotReady { .. } => ErrorCode::Unavailable,
            InvokeError::Throttled => ErrorCode::Throttled,
            InvokeError::Timeout(_) | InvokeError::Broken(_) | InvokeError::TooLarge(_) => {
                ErrorCode::Upstream
            }
        }
    }
}

impl Pool {
    /// Calls the model. A request that no instance has seen goes to another one; one that an instance
    /// was lost with does so once, and only when it is idempotent.
    pub async fn invoke(&self, request: Request) -> Result<Response, InvokeError> {
        let deadline = self.options.deadline;
        match tokio::time::timeout(deadline, self.attempts(request)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(InvokeError::Timeout(deadline)),
        }
    }

    async fn attempts(&self, request: Request) -> Result<Response, InvokeError> {
        let started = Instant::now();
        let Request { mut headers, body, idempotent } = request;
        for name in CONNECTION_HEADERS {
            headers.remove(name);
        }
        let mut tried: Vec<u64> = Vec::new();
        let mut broken: Option<String> = None;
        let mut unreached: Option<String> = None;
        loop {
            let (number, slot) = match (self.pick(&tried), broken.take()) {
                (Ok(picked), before) => {
                    broken = before;
                    picked
                }
                // What happened to the request says more than that nobody else could take it.
                (Err(_), Some(why)) => return Err(InvokeError::Broken(why)),
                (Err(InvokeError::NotReady { reason }), None) => {
                    return Err(InvokeError::NotReady { reason: unreached.or(reason) });
                }
                (Err(error), None) => return Err(error),
            };
            let sent = Instant::now();
            let most = self.options.max_response;
            match slot.invoke(headers.clone(), body.clone(), most).await {
                Ok(answer) => {
                    let timing = InvokeTiming {
                        total: started.elapsed(),
                        model: sent.elapsed(),
                        instance: number,
                        retried: !tried.is_empty(),
                    };
                    let headers = passed(&answer.headers);
                    return Ok(Response {
                        status: answer.status,
                        headers,
                        body: answer.body,
                        timing,
                    });
                }
                Err(Lost::TooLarge) => return Err(InvokeError::TooLarge(most)),
                Err(Lost::Unreached(why)) => {
                    unreached = Some(format!("instance {number} cannot be reached: {why}"));
                }
                Err(Lost::Broken(why)) => {
                    if !idempotent || broken.is_some() {
                        return Err(InvokeError::Broken(why));
                    }
                    broken = Some(why);
                }
            }
            tried.push(number);
        }
    }

    /// A ready instance that was not tried and has a place free.
    fn pick(&self, tried: &[u64]) -> Result<(u64, Slot), InvokeError> {
        let mut route = self.view.route();
        loop {
            let turn = self.view.turn.fetch_add(1, Ordering::Relaxed);
            let mut open: Vec<&Routed> = in_turn(&route, self.options.routing, turn)
                .filter(|routed| !tried.contains(&routed.number))
                .collect();
            if self.options.routing == Routing::LeastOutstanding {
                // Stable: equals stay in turn. Cached: the loads change while we sort.
                open.sort_by_cached_key(|routed| routed.backend.load());
            }
            let mut busy = false;
            for routed in open {
                match routed.backend.acquire(self.options.max_in_flight) {
                    Ok(slot) => return Ok((routed.number, slot)),
                    Err(Refusal::Full) => busy = true,
                    Err(Refusal::Closed) => {}
                }
            }
            if busy {
                return Err(InvokeError::Throttled);
            }
            let now = self.view.route();
            if Arc::ptr_eq(&route, &now) {
                let reason = self.status.borrow().failing.clone();
                return Err(InvokeError::NotReady { reason });
            }
            // The instances were replaced between our look and our choice.
            route = now;
        }
    }
}

/// The instances, from the one whose turn it is.
fn in_turn(route: &[Routed], routing: Routing, turn: u64) -> impl Iterator<Item = &Routed> {
    let first = match routing {
        Routing::LeastOutstanding => turn,
        Routing::Random => scatter(turn),
    };
    let first = usize::try_from(first % route.len().max(1) as u64).unwrap_or(0);
    route.iter().cycle().skip(first).take(route.len())
}

/// SplitMix64: spreads a counter evenly, which is all the chance that choosing an instance needs.
fn scatter(counter: u64) -> u64 {
    let mut z = counter.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn passed(headers: &HeaderMap) -> HeaderMap {
    RESPONSE_HEADERS
        .iter()
        .filter_map(|name| Some((HeaderName::from_static(name), headers.get(*name)?.clone())))
        .collect()
}

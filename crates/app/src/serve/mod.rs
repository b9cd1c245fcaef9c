//! `kennel serve`: one model server that keeps SageMaker's hosting contract: `GET /ping`,
//! `POST /invocations`, and `GET /metrics` for Prometheus.
//!
//! A connection's request is admitted or refused before its body is read, its photos go into one
//! bounded queue, workers take micro-batches from it. The port is bound before the model is loaded;
//! `/ping` answers 503 until the first worker is ready.

mod metrics;
mod queue;
mod request;
mod worker;

use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, Request, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use kennel_base::ErrorCode;
use kennel_infer::classifier::Classifier;
use kennel_infer::engine::EngineOptions;
use kennel_infer::fetch::{FetchError, FetchOptions, Fetcher};
use kennel_infer::package::{Manifest, Package};
use kennel_infer::photo::DecodeLimits;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, oneshot};

use metrics::Metrics;
use queue::{Queue, QueueOptions, Refused};
use request::{Answer, Source};
use worker::{Failure, Health, Work};

/// How a server runs.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    /// Address to listen on; port 0 takes a free one.
    pub address: SocketAddr,
    /// Engine and threads per worker.
    pub engine: EngineOptions,
    /// Workers.
    pub workers: usize,
    /// Photos per engine run at most.
    pub batch: usize,
    /// How long a batch may wait to fill.
    pub delay: Duration,
    /// Photos that may wait; more are answered with 429.
    pub queue: usize,
    /// Largest request body, in bytes.
    pub max_body: usize,
    /// What a photo may cost.
    pub limits: DecodeLimits,
    /// How photos are fetched from addresses.
    pub fetch: FetchOptions,
    /// Longest time from the request's headers to its answer.
    pub timeout: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            address: SocketAddr::from(([127, 0, 0, 1], 8080)),
            engine: EngineOptions::default(),
            workers: kennel_infer::pipeline::cores(),
            batch: 2,
            delay: Duration::ZERO,
            queue: 64,
            max_body: 25 << 20,
            limits: DecodeLimits { max_pixels: 50_000_000, max_bytes: 25 << 20 },
            fetch: FetchOptions::default(),
            // SageMaker gives a container 60 seconds for an answer.
            timeout: Duration::from_secs(60),
        }
    }
}

/// A server that listens; [`Service::run`] makes it answer.
#[derive(Debug)]
pub(crate) struct Service {
    listener: TcpListener,
    address: SocketAddr,
    shared: Arc<Shared>,
    package: Package,
}

#[derive(Debug)]
struct Shared {
    options: Options,
    queue: Queue<Work>,
    health: Arc<Health>,
    metrics: Metrics,
    manifest: Manifest,
    fetcher: Fetcher,
    /// Requests whose body may be in memory at the same time.
    admitted: Semaphore,
    /// Fetches that may run at the same time.
    fetching: Semaphore,
}

impl Service {
    /// Listens on the address.
    ///
    /// # Errors
    /// When the address is taken or the fetch options cannot be used.
    pub(crate) async fn bind(options: Options, package: Package) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(options.address).await.map_err(|e| {
            anyhow::anyhow!(
                "cannot listen on {}: {e}\nhint: another server may run there; choose another `--port`, or 0 for a free one",
                options.address
            )
        })?;
        let address = listener.local_addr()?;
        let shared = Shared {
            queue: Queue::new(QueueOptions {
                capacity: options.queue.max(1),
                batch: options.batch.max(1),
                delay: options.delay,
                workers: options.workers.max(1),
            }),
            health: Arc::new(Health::default()),
            metrics: Metrics::new(),
            manifest: package.manifest.clone(),
            fetcher: Fetcher::new(options.fetch.clone())?,
            admitted: Semaphore::new(
                options.queue.max(1) + options.workers.max(1) * options.batch.max(1),
            ),
            fetching: Semaphore::new(16),
            options,
        };
        Ok(Service { listener, address, shared: Arc::new(shared), package })
    }

    /// The address it listens on.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers until `shutdown` resolves; then takes no new connection, answers what was accepted and
    /// ends.
    ///
    /// # Errors
    /// When the model cannot be loaded.
    pub(crate) async fn run(
        self,
        shutdown: impl Future<Output = ()> + Send + 'static,
    ) -> anyhow::Result<()> {
        let shared = Arc::clone(&self.shared);
        let (failed, load_failed) = oneshot::channel();
        let loader = {
            let (shared, package) = (Arc::clone(&shared), self.package);
            std::thread::Builder::new().name("loader".into()).spawn(move || {
                // A panic in an engine while loading must end the server, not leave it waiting for ever.
                let outcome = catch_unwind(AssertUnwindSafe(|| start_workers(&shared, &package)));
                let outcome = outcome.unwrap_or_else(|_| {
                    Err(anyhow::anyhow!("the engine stopped unexpectedly while loading the model\nhint: try the other engine with `--engine`"))
                });
                if let Err(e) = outcome {
                    let _ = failed.send(e);
                }
            })?
        };
        let router = Router::new()
            .route("/ping", get(ping))
            .route("/invocations", post(invocations))
            .route("/metrics", get(metrics_page))
            .fallback(async || {
                error_response(&Failure::new(
                    ErrorCode::NotFound,
                    "no such path\nhint: there are GET /ping, POST /invocations and GET /metrics",
                ))
            })
            .with_state(Arc::clone(&shared));
        let load_error = Arc::new(std::sync::Mutex::new(None));
        let stop = {
            let (shared, load_error) = (Arc::clone(&shared), Arc::clone(&load_error));
            async move {
                tokio::select! {
                    () = shutdown => {}
                    // The sender is dropped without a word once every worker runs; that is no reason to stop.
                    Ok(e) = load_failed => {
                        if let Ok(mut slot) = load_error.lock() {
                            *slot = Some(e);
                        }
                        // No worker will ever take what waits: its callers are told now, not after
                        // their time is up.
                        shared.health.failed.store(true, Ordering::Release);
                        shared.queue.close();
                        while shared.queue.next_batch(|_| true).is_some() {}
                    }
                }
                shared.health.stopping.store(true, Ordering::Release);
            }
        };
        axum::serve(self.listener, router).with_graceful_shutdown(stop).await?;
        shared.queue.close();
        // Workers end when the queue is empty; loading may still be under way if the stop came early.
        tokio::task::spawn_blocking(move || loader.join()).await?.ok();
        if let Some(e) = load_error.lock().ok().and_then(|mut slot| slot.take()) {
            return Err(e);
        }
        Ok(())
    }
}

/// Loads the model, starts a worker as soon as it has a session, and waits for all of them.
fn start_workers(shared: &Arc<Shared>, package: &Package) -> anyhow::Result<()> {
    let mut first = Classifier::load(package, &shared.options.engine)?;
    // The first run of an engine allocates; it is paid before the first request, not by it.
    let [height, width] = shared.manifest.preprocess.crop;
    let blank = kennel_infer::photo::Photo {
        rgb: vec![127; 3 * (height * width) as usize],
        width,
        height,
        truncated: false,
    };
    first.logits(std::slice::from_ref(&blank))?;
    std::thread::scope(|scope| {
        let mut next = Some(first);
        for number in 0..shared.options.workers.max(1) {
            let Some(classifier) = next.take() else { break };
            if number + 1 < shared.options.workers {
                next = Some(classifier.fork()?);
            }
            scope.spawn(move || {
                shared.health.ready.store(true, Ordering::Release);
                worker::work(
                    classifier,
                    &shared.queue,
                    &shared.options.limits,
                    &shared.health,
                    &shared.metrics,
                );
            });
        }
        anyhow::Ok(())
    })
}

async fn ping(State(shared): State<Arc<Shared>>) -> StatusCode {
    if shared.health.is_healthy() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }
}

async fn metrics_page(State(shared): State<Arc<Shared>>) -> Response {
    let page = shared.metrics.page(shared.queue.len(), shared.health.is_healthy());
    ([(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], page)
        .into_response()
}

async fn invocations(State(shared): State<Arc<Shared>>, request: Request<Body>) -> Response {
    let started = Instant::now();
    let limit = shared.options.timeout;
    let outcome = match tokio::time::timeout(limit, invoke(&shared, request)).await {
        Ok(outcome) => outcome,
        Err(_) => Err(Failure::new(
            ErrorCode::Unavailable,
            format!(
                "no answer within {} s\nhint: send smaller requests, or more slowly",
                limit.as_secs()
            ),
        )),
    };
    let response = match outcome {
        Ok(body) => ([(header::CONTENT_TYPE, "application/json")], body).into_response(),
        Err(failure) => error_response(&failure),
    };
    shared.metrics.invocation(response.status().as_u16(), started.elapsed());
    response
}

async fn invoke(shared: &Arc<Shared>, request: Request<Body>) -> Result<String, Failure> {
    // Admission before the body is read: a flood costs connections, not memory.
    let _admitted = shared.admitted.try_acquire().map_err(|_| throttled())?;
    if shared.health.failed.load(Ordering::Acquire) {
        return Err(Failure::new(
            ErrorCode::Unavailable,
            "the engine of this instance has failed\nhint: restart the server; its log says why",
        ));
    }
    let (parts, body) = request.into_parts();
    let text = |name: &str| header_text(&parts.headers, name);
    let answer = request::answer(
        text("accept").as_deref(),
        text("x-amzn-sagemaker-custom-attributes").as_deref(),
    );
    let body = read_body(&parts.headers, body, shared.options.max_body).await?;
    let sources = request::photos(text("content-type").as_deref(), body)?;
    let mut photos = Vec::with_capacity(sources.len());
    for source in sources {
        photos.push(match source {
            Source::Bytes(bytes) => bytes,
            Source::Url(url) => fetch(shared, url).await?,
        });
    }
    let rows = classify(shared, photos).await?;
    render(shared, answer, &rows)
}

fn render(shared: &Shared, answer: Answer, rows: &[Vec<f32>]) -> Result<String, Failure> {
    serde_json::to_string(&request::render(answer, &shared.manifest, rows))
        .map_err(|e| Failure::new(ErrorCode::Internal, e.to_string()))
}

fn header_text(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name).and_then(|v| v.to_str().ok()).map(str::to_owned)
}

async fn read_body(headers: &HeaderMap, body: Body, limit: usize) -> Result<Vec<u8>, Failure> {
    let too_large = || {
        Failure::new(
            ErrorCode::PayloadTooLarge,
            format!(
                "the body is larger than {limit} bytes\nhint: send a smaller photo, or raise `--max-body`"
            ),
        )
    };
    let announced = header_text(headers, "content-length").and_then(|v| v.parse::<u64>().ok());
    if announced.is_some_and(|n| n > limit as u64) {
        return Err(too_large());
    }
    match axum::body::to_bytes(body, limit).await {
        Ok(bytes) => Ok(bytes.into()),
        Err(e) => {
            let text = format!(
                "{e}: {}",
                std::error::Error::source(&e).map_or_else(String::new, |s| s.to_string())
            );
            if text.contains("length limit") {
                Err(too_large())
            } else {
                Err(Failure::new(
                    ErrorCode::InvalidInput,
                    "the body ended early\nhint: send it again",
                ))
            }
        }
    }
}

async fn fetch(shared: &Arc<Shared>, url: String) -> Result<Vec<u8>, Failure> {
    let _permit = shared.fetching.try_acquire().map_err(|_| throttled())?;
    let fetcher = shared.fetcher.clone();
    let outcome = tokio::task::spawn_blocking(move || fetcher.get(&url))
        .await
        .map_err(|e| Failure::new(ErrorCode::Internal, e.to_string()))?;
    outcome.map(|found| found.bytes).map_err(|e| {
        let code = match &e {
            FetchError::Busy { .. } => ErrorCode::Throttled,
            e if e.is_callers_fault() => ErrorCode::InvalidInput,
            _ => ErrorCode::Upstream,
        };
        Failure::new(code, e.to_string())
    })
}

async fn classify(shared: &Arc<Shared>, photos: Vec<Vec<u8>>) -> Result<Vec<Vec<f32>>, Failure> {
    let mut replies = Vec::with_capacity(photos.len());
    let mut entries = Vec::with_capacity(photos.len());
    for photo in photos {
        let (reply, answer) = oneshot::channel();
        entries.push(Work { photo, reply });
        replies.push(answer);
    }
    match shared.queue.push_all(entries, Instant::now()) {
        Ok(()) => {}
        Err(Refused::Full) => return Err(throttled()),
        Err(Refused::Closed) => {
            return Err(Failure::new(
                ErrorCode::Unavailable,
                "the server is stopping\nhint: send it to another instance",
            ));
        }
    }
    let mut rows = Vec::with_capacity(replies.len());
    for reply in replies {
        rows.push(reply.await.map_err(|_| {
            Failure::new(ErrorCode::Internal, "the worker failed\nhint: the server's log says why")
        })??);
    }
    Ok(rows)
}

fn throttled() -> Failure {
    Failure::new(
        ErrorCode::Throttled,
        "too many requests wait already\nhint: try again in a moment, or start more instances",
    )
}

/// The JSON of an error: `{"error": {"code", "message", "hint"}}`.
fn error_response(failure: &Failure) -> Response {
    let status = StatusCode::from_u16(failure.code.http_status())
        .unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let (message, hint) = match failure.message.split_once("\nhint: ") {
        Some((message, hint)) => (message, Some(hint)),
        None => (failure.message.as_str(), None),
    };
    let body = serde_json::json!({
        "error": { "code": failure.code.name(), "message": message, "hint": hint },
    });
    let mut response =
        (status, [(header::CONTENT_TYPE, "application/json")], body.to_string()).into_response();
    if failure.code == ErrorCode::Throttled {
        response.headers_mut().insert(header::RETRY_AFTER, header::HeaderValue::from_static("1"));
    }
    response
}

#[cfg(test)]
mod tests;

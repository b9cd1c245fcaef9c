//! InvokeEndpoint: endpoint → variant by weight → instance with the fewest requests in flight. The
//! contract of SEMANTICS.md, "Hosting container and runtime".

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use kennel_hosting::pool::{InvokeError, Request, Response};
use kennel_wire::ServiceError;
use rand::RngExt as _;
use tokio::time::Instant;

use super::hold::{self, NotSent, Scene, Sent};
use super::live::{LiveEndpoint, LiveVariant};
use super::metrics::{Ended, Names};
use super::shadow::{self, Original, Production};
use super::{Endpoint, Status};
use crate::context::Context;
use crate::sagemaker::SageMaker;

/// A request to an endpoint.
#[derive(Debug)]
pub struct Invocation {
    /// The endpoint.
    pub endpoint: String,
    /// The caller's headers.
    pub headers: HeaderMap,
    /// The photo, or whatever the model takes.
    pub body: Bytes,
}

/// A model's answer.
#[derive(Debug)]
pub struct Invoked {
    /// The headers of the runtime's answer, content type included.
    pub headers: HeaderMap,
    /// The model's bytes.
    pub body: Bytes,
}

/// Headers that go to the container as they are.
const TO_CONTAINER: &[&str] = &[
    "content-type",
    "accept",
    "x-amzn-sagemaker-custom-attributes",
    "x-amzn-sagemaker-inference-id",
    "x-amzn-sagemaker-session-id",
];
const TARGET_VARIANT: &str = "x-amzn-sagemaker-target-variant";
/// Headers that mean what Kennel has not built.
const NOT_BUILT: &[&str] = &[
    "x-amzn-sagemaker-target-model",
    "x-amzn-sagemaker-target-container-hostname",
    "x-amzn-sagemaker-inference-component",
];
const CUSTOM_ATTRIBUTES: HeaderName = HeaderName::from_static("x-amzn-sagemaker-custom-attributes");
const VARIANT: HeaderName = HeaderName::from_static("x-amzn-invoked-production-variant");
/// How long an invocation may take, waiting for a first instance included.
const DEADLINE: Duration = Duration::from_secs(60);

impl SageMaker {
    /// Sends a request to a variant's instance and answers what it answered. Where the variant has no
    /// instances, the request waits for the first one.
    ///
    /// # Errors
    /// `ValidationError` (no such endpoint), `ModelError` (the container answered 4xx or 5xx, or not at
    /// all), `ThrottlingException`, `ModelNotReadyException`, `ServiceUnavailable`.
    pub async fn invoke(
        &self,
        context: &Context,
        invocation: Invocation,
    ) -> Result<Invoked, ServiceError> {
        let name = &invocation.endpoint;
        for header in NOT_BUILT {
            if invocation.headers.contains_key(*header) {
                return Err(ServiceError::new(
                    "ValidationError",
                    400,
                    format!("the header `{header}` is not implemented by Kennel"),
                ));
            }
        }
        let mut headers = HeaderMap::new();
        for header in TO_CONTAINER {
            if let Some(value) = invocation.headers.get(*header) {
                headers.insert(HeaderName::from_static(header), value.clone());
            }
        }
        // Answering a photo changes nothing: the request may be sent again when its instance died.
        let request = Request { headers, body: invocation.body, idempotent: true };
        let wanted = invocation.headers.get(TARGET_VARIANT);
        let scene = Scene::of(&self.inner, name);
        let started = Instant::now();
        loop {
            let Some(endpoint) = self.inner.live.get(name) else {
                return Err(self.not_live(context, name));
            };
            let variant = choose(&endpoint, wanted)?;
            let sent = hold::send(scene, variant, request.clone(), started + DEADLINE).await;
            let way = Way { endpoint: &endpoint, variant, started };
            match sent {
                // The deployment was replaced before an instance took the request.
                Ok(Sent::Moved) => tokio::task::yield_now().await,
                Ok(Sent::Answered(response)) => return self.answered(way, request, response),
                Err(error) => return Err(self.failed(way, &request, error)),
            }
        }
    }

    /// Counts, captures and copies what the model answered; answers it.
    fn answered(
        &self,
        way: Way<'_>,
        request: Request,
        response: Response,
    ) -> Result<Invoked, ServiceError> {
        let Way { endpoint, variant, started } = way;
        let now = self.inner.clock.now();
        let metrics = variant.load.metrics(&self.inner.metrics, Names::of(endpoint, variant));
        let model = response.timing.model;
        metrics.latency(model, started.elapsed().saturating_sub(model), now);
        let ended = Ended::of(response.status);
        metrics.count(ended, variant.pool.routed(), now);
        let well = ended == Ended::Well;
        let capture = endpoint.capture.as_ref().filter(|_| well);
        let event = capture.and_then(|capture| capture.sample(now));
        if let (Some(capture), Some(event)) = (capture, &event) {
            capture.keep(event.clone(), &variant.name, &request, &response);
        }
        if !endpoint.shadows.is_empty() {
            let answer = Production { body: response.body.clone(), latency: model };
            let answer = well.then_some(answer);
            let original = Original { endpoint, variant, request: &request, answer, event };
            shadow::copy(&self.inner, &original);
        }
        if !well {
            let status = response.status.as_u16();
            return Err(self.model_error(&endpoint.name, status, &response.body));
        }
        let mut headers = HeaderMap::new();
        for header in [http::header::CONTENT_TYPE, CUSTOM_ATTRIBUTES] {
            if let Some(value) = response.headers.get(&header) {
                headers.insert(header, value.clone());
            }
        }
        if let Ok(value) = HeaderValue::from_str(&variant.name) {
            headers.insert(VARIANT, value);
        }
        Ok(Invoked { headers, body: response.body })
    }

    /// Counts an invocation without an answer, copies it all the same, and says why.
    fn failed(&self, way: Way<'_>, request: &Request, error: NotSent) -> ServiceError {
        let Way { endpoint, variant, .. } = way;
        let refused = matches!(error, NotSent::TooMany | NotSent::Invoke(InvokeError::Throttled));
        let ended = if refused { Ended::ClientError } else { Ended::ServerError };
        let now = self.inner.clock.now();
        let metrics = variant.load.metrics(&self.inner.metrics, Names::of(endpoint, variant));
        metrics.count(ended, variant.pool.routed(), now);
        // What there is no place for here has none at a shadow either.
        if !endpoint.shadows.is_empty() && !refused {
            let original = Original { endpoint, variant, request, answer: None, event: None };
            shadow::copy(&self.inner, &original);
        }
        let name = &endpoint.name;
        let throttled = |words: String| ServiceError::new("ThrottlingException", 429, words);
        match error {
            NotSent::TooMany => throttled(error.to_string()),
            NotSent::Invoke(InvokeError::Throttled) => throttled(
                "every instance of the variant has as many requests as it may; try again later"
                    .to_owned(),
            ),
            NotSent::Late => ServiceError::new("ServiceUnavailable", 503, error.to_string()),
            NotSent::Failing(_) => {
                tracing::warn!("endpoint `{name}`: {error}");
                ServiceError::new("ServiceUnavailable", 503, error.to_string())
            }
            NotSent::Invoke(InvokeError::NotReady { .. }) => unavailable(),
            NotSent::Invoke(InvokeError::Timeout(_)) => self.model_error(
                name,
                0,
                b"Received no answer from the container within 60 seconds.",
            ),
            NotSent::Invoke(other) => {
                tracing::warn!("endpoint `{name}`: {other}");
                self.model_error(name, 0, other.to_string().as_bytes())
            }
        }
    }

    fn not_live(&self, context: &Context, name: &str) -> ServiceError {
        // Kennel was restarted and the instances are not up yet: SDKs try a 503 again.
        if let Ok(Some(endpoint)) = self.inner.rows.get::<Endpoint>(name)
            && endpoint.current.is_some()
            && endpoint.status != Status::Deleting
        {
            return unavailable();
        }
        // AWS does not tell an endpoint that is being created from one that does not exist.
        ServiceError::new(
            "ValidationError",
            400,
            format!("Endpoint {name} of account {} not found.", context.caller.account),
        )
    }

    /// `ModelError`, with what the container said.
    fn model_error(&self, endpoint: &str, status: u16, body: &[u8]) -> ServiceError {
        let original = String::from_utf8_lossy(body).chars().take(1024).collect::<String>();
        let (account, region) = (&self.inner.account, &self.inner.region);
        let log = format!(
            "https://{region}.console.aws.amazon.com/cloudwatch/home?region={region}#logEventViewer:group=/aws/sagemaker/Endpoints/{endpoint} in account {account}"
        );
        let word = if (400..500).contains(&status) { "client error" } else { "server error" };
        ServiceError::new(
            "ModelError",
            424,
            format!("Received {word} ({status}) from primary with message \"{original}\". See {log} for more information."),
        )
        .with("OriginalStatusCode", status)
        .with("OriginalMessage", original)
        .with(
            "LogStreamArn",
            format!("arn:aws:logs:{region}:{account}:log-group:/aws/sagemaker/Endpoints/{endpoint}"),
        )
    }
}

/// Where an invocation went.
#[derive(Clone, Copy)]
struct Way<'a> {
    endpoint: &'a LiveEndpoint,
    variant: &'a LiveVariant,
    started: Instant,
}

/// The variant that the caller names, or else a random one.
fn choose<'a>(
    endpoint: &'a LiveEndpoint,
    wanted: Option<&HeaderValue>,
) -> Result<&'a Arc<LiveVariant>, ServiceError> {
    let Some(wanted) = wanted else { return by_weight(endpoint).ok_or_else(unavailable) };
    let wanted = wanted.to_str().unwrap_or_default();
    endpoint.variants.iter().find(|v| v.name == wanted).ok_or_else(|| {
        let name = &endpoint.name;
        ServiceError::new(
            "ValidationError",
            400,
            format!("Variant {wanted} of endpoint {name} not found."),
        )
    })
}

/// A random variant, as often as its weight says.
fn by_weight(endpoint: &LiveEndpoint) -> Option<&Arc<LiveVariant>> {
    if let [only] = endpoint.variants.as_slice() {
        return Some(only);
    }
    let sum: f64 = endpoint.variants.iter().map(|v| v.weight).sum();
    let mut place = rand::rng().random_range(0.0..sum.max(f64::MIN_POSITIVE));
    for variant in &endpoint.variants {
        if place < variant.weight {
            return Some(variant);
        }
        place -= variant.weight;
    }
    endpoint.variants.iter().rev().find(|v| v.weight > 0.0)
}

fn unavailable() -> ServiceError {
    ServiceError::new(
        "ServiceUnavailable",
        503,
        "no instance of the variant is ready; instances are being started or restarted",
    )
}

//! InvokeEndpoint: endpoint → variant by weight → instance with the fewest requests in flight. The
//! contract of SEMANTICS.md, "Hosting container and runtime".

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use kennel_hosting::pool::{InvokeError, Request};
use kennel_wire::ServiceError;
use rand::RngExt as _;

use super::live::{LiveEndpoint, LiveVariant};
use super::{Endpoint, Status};
use crate::context::{Context, Timestamp};
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
const NAMESPACE: &str = "AWS/SageMaker";

impl SageMaker {
    /// Sends a request to a variant's instance and answers what it answered.
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
        let Some(endpoint) = self.inner.live.get(name) else {
            return Err(self.not_live(context, name));
        };
        let variant = match invocation.headers.get(TARGET_VARIANT) {
            Some(wanted) => {
                let wanted = wanted.to_str().unwrap_or_default();
                endpoint.variants.iter().find(|v| v.name == wanted).ok_or_else(|| {
                    ServiceError::new(
                        "ValidationError",
                        400,
                        format!("Variant {wanted} of endpoint {name} not found."),
                    )
                })?
            }
            None => by_weight(&endpoint).ok_or_else(unavailable)?,
        };
        let mut headers = HeaderMap::new();
        for header in TO_CONTAINER {
            if let Some(value) = invocation.headers.get(*header) {
                headers.insert(HeaderName::from_static(header), value.clone());
            }
        }
        // Answering a photo changes nothing: the request may be sent again when its instance died.
        let request = Request { headers, body: invocation.body, idempotent: true };
        let started = std::time::Instant::now();
        let outcome = variant.pool.invoke(request).await;
        let total = started.elapsed();
        let mut record = Recording { service: self, endpoint: name, variant, now: context.now };
        match outcome {
            Ok(response) => {
                let instance = response.timing.model;
                record.latency(instance, total.saturating_sub(instance));
                record.count(if response.status.is_client_error() {
                    Some("Invocation4XXErrors")
                } else if response.status.is_success() {
                    None
                } else {
                    Some("Invocation5XXErrors")
                });
                if !response.status.is_success() {
                    return Err(self.model_error(name, response.status.as_u16(), &response.body));
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
            Err(error) => {
                record.count(Some("Invocation5XXErrors"));
                Err(match error {
                    InvokeError::Throttled => ServiceError::new(
                        "ThrottlingException",
                        429,
                        "every instance of the variant has as many requests as it may; try again later",
                    ),
                    InvokeError::NotReady { .. } => unavailable(),
                    InvokeError::Timeout(_) => self.model_error(
                        name,
                        0,
                        b"Received no answer from the container within 60 seconds.",
                    ),
                    other => {
                        tracing::warn!("endpoint `{name}`: {other}");
                        self.model_error(name, 0, other.to_string().as_bytes())
                    }
                })
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

/// A random variant, as often as its weight says.
fn by_weight(endpoint: &LiveEndpoint) -> Option<&std::sync::Arc<LiveVariant>> {
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

/// The endpoint's CloudWatch metrics of one invocation.
struct Recording<'a> {
    service: &'a SageMaker,
    endpoint: &'a str,
    variant: &'a LiveVariant,
    now: Timestamp,
}

impl Recording<'_> {
    fn put(&self, name: &str, value: f64, unit: &str) {
        let dimensions = [("EndpointName", self.endpoint), ("VariantName", &self.variant.name)];
        self.service.inner.metrics.record(NAMESPACE, name, &dimensions, value, unit, self.now);
    }

    fn latency(&mut self, model: std::time::Duration, overhead: std::time::Duration) {
        self.put("ModelLatency", model.as_secs_f64() * 1e6, "Microseconds");
        self.put("OverheadLatency", overhead.as_secs_f64() * 1e6, "Microseconds");
    }

    fn count(&mut self, error: Option<&str>) {
        self.put("Invocations", 1.0, "None");
        // Each request adds 1/N: the sum over a minute is what one instance took.
        let instances = self.variant.pool.status().ready.max(1);
        self.put("InvocationsPerInstance", 1.0 / instances as f64, "None");
        for name in ["Invocation4XXErrors", "Invocation5XXErrors"] {
            self.put(name, if error == Some(name) { 1.0 } else { 0.0 }, "None");
        }
    }
}

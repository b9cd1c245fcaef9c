//! One signed request, retried where that is safe; the JSON, query and runtime protocols on top of it.

use std::io::Read;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;
use sha2::{Digest, Sha256};
use ureq::SendBody;

use crate::clock;
use crate::error::{self, ClientError};
use crate::sign;
use crate::target::{Credentials, Target};
use crate::xml;

/// Largest answer that is held in memory; objects are streamed and not meant here.
const MAX_ANSWER: u64 = 64 << 20;
/// Codes of a refusal that another try may not meet; most come with status 400.
const THROTTLING: [&str; 5] = [
    "Throttling",
    "ThrottlingException",
    "RequestLimitExceeded",
    "SlowDown",
    "TooManyRequestsException",
];

/// The services that commands talk to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    /// Amazon S3.
    S3,
    /// Security Token Service.
    Sts,
    /// Identity and Access Management.
    Iam,
    /// SageMaker's control plane.
    SageMaker,
    /// SageMaker's invocations.
    Runtime,
    /// CloudWatch Logs.
    Logs,
    /// AWS Lambda.
    Lambda,
    /// CloudWatch's metrics.
    CloudWatch,
    /// CloudTrail: who did what.
    CloudTrail,
    /// IAM Access Analyzer.
    AccessAnalyzer,
    /// Application Auto Scaling.
    AutoScaling,
}

impl Service {
    /// The name in the signature's scope.
    fn scope(self) -> &'static str {
        match self {
            Service::S3 => "s3",
            Service::Sts => "sts",
            Service::Iam => "iam",
            // Invocations are signed as `sagemaker`.
            Service::SageMaker | Service::Runtime => "sagemaker",
            Service::Logs => "logs",
            Service::Lambda => "lambda",
            Service::CloudWatch => "monitoring",
            Service::CloudTrail => "cloudtrail",
            Service::AccessAnalyzer => "access-analyzer",
            Service::AutoScaling => "application-autoscaling",
        }
    }

    /// Its host at AWS.
    fn host(self, region: &str) -> String {
        match self {
            Service::S3 => format!("s3.{region}.amazonaws.com"),
            Service::Sts => format!("sts.{region}.amazonaws.com"),
            Service::Iam => "iam.amazonaws.com".to_owned(),
            Service::SageMaker => format!("api.sagemaker.{region}.amazonaws.com"),
            Service::Runtime => format!("runtime.sagemaker.{region}.amazonaws.com"),
            Service::Logs => format!("logs.{region}.amazonaws.com"),
            Service::Lambda => format!("lambda.{region}.amazonaws.com"),
            Service::CloudWatch => format!("monitoring.{region}.amazonaws.com"),
            Service::CloudTrail => format!("cloudtrail.{region}.amazonaws.com"),
            Service::AccessAnalyzer => format!("access-analyzer.{region}.amazonaws.com"),
            Service::AutoScaling => format!("application-autoscaling.{region}.amazonaws.com"),
        }
    }

    /// What stands before an operation's name in `X-Amz-Target`, and the version of the JSON protocol.
    fn json_target(self) -> (&'static str, &'static str) {
        match self {
            Service::Logs => ("Logs_20140328", "1.1"),
            Service::CloudTrail => {
                ("com.amazonaws.cloudtrail.v20131101.CloudTrail_20131101", "1.1")
            }
            Service::CloudWatch => ("GraniteServiceVersion20100801", "1.0"),
            Service::AutoScaling => ("AnyScaleFrontendService", "1.1"),
            _ => ("SageMaker", "1.1"),
        }
    }
}

/// How patient a client is.
#[derive(Debug, Clone, Copy)]
pub struct ClientOptions {
    /// Tries of a request that may be repeated.
    pub tries: u32,
    /// Pause before the second try; doubled before each further one.
    pub backoff: Duration,
    /// Longest wait for the first byte of an answer.
    pub answer_timeout: Duration,
}

impl Default for ClientOptions {
    fn default() -> Self {
        ClientOptions {
            tries: 3,
            backoff: Duration::from_millis(200),
            answer_timeout: Duration::from_secs(80),
        }
    }
}

/// A client of one target; clones share its connections.
#[derive(Debug, Clone)]
pub struct Client {
    target: Target,
    agent: ureq::Agent,
    options: ClientOptions,
    /// Longest time of one try, from the first byte out to the last byte in.
    limit: Option<Duration>,
}

/// What a request carries.
#[derive(Debug, Clone)]
pub(crate) enum Payload {
    Empty,
    Bytes(Vec<u8>),
    /// A file of known size and hash, sent without holding it in memory.
    File {
        path: PathBuf,
        length: u64,
        sha256: String,
    },
}

/// One call.
#[derive(Debug)]
pub(crate) struct Request {
    /// For messages: `s3:PutObject`.
    pub operation: String,
    pub service: Service,
    pub method: http::Method,
    /// Host before the service's own, for buckets at AWS.
    pub host_prefix: Option<String>,
    /// Encoded, with its query.
    pub path: String,
    pub headers: Vec<(String, String)>,
    pub payload: Payload,
    /// Whether sending it twice is the same as once.
    pub idempotent: bool,
}

/// A request to a model.
#[derive(Debug, Clone)]
pub struct InvokeRequest {
    /// Endpoint name.
    pub endpoint: String,
    /// Type of `body`.
    pub content_type: String,
    /// Wished type of the answer.
    pub accept: Option<String>,
    /// The variant to ask, else by weight.
    pub variant: Option<String>,
    /// What the model gets.
    pub body: Vec<u8>,
}

/// A model's answer.
#[derive(Debug, Clone)]
pub struct Invoked {
    /// Type of `body`.
    pub content_type: Option<String>,
    /// Variant that answered.
    pub variant: Option<String>,
    /// What the model said.
    pub body: Vec<u8>,
}

impl Client {
    /// A client with the usual patience.
    pub fn new(target: Target) -> Client {
        Client::with_options(target, ClientOptions::default())
    }

    /// A client.
    pub fn with_options(target: Target, options: ClientOptions) -> Client {
        let mut config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .max_idle_connections_per_host(32)
            .max_idle_connections(32)
            .timeout_connect(Some(Duration::from_secs(10)))
            .timeout_recv_response(Some(options.answer_timeout))
            .user_agent(concat!("kennel/", env!("CARGO_PKG_VERSION")));
        // A proxy is for the way to AWS, never for this machine.
        if target.endpoint.is_some() {
            config = config.proxy(None);
        }
        Client { agent: config.build().into(), target, options, limit: None }
    }

    /// Whom it talks to.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// The same client with other keys.
    #[must_use]
    pub fn with_credentials(mut self, credentials: Credentials) -> Client {
        self.target.credentials = credentials;
        self
    }

    /// The same client and its connections, with an end to how long one try takes in all.
    #[must_use]
    pub fn limited(&self, limit: Duration) -> Client {
        Client { limit: Some(limit), ..self.clone() }
    }

    /// Calls an operation of a JSON service.
    ///
    /// # Errors
    /// What the service answers, or why it did not.
    pub fn json(
        &self,
        service: Service,
        operation: &str,
        body: &Value,
    ) -> Result<Value, ClientError> {
        let (prefix, version) = service.json_target();
        let headers = vec![
            ("content-type".to_owned(), format!("application/x-amz-json-{version}")),
            ("x-amz-target".to_owned(), format!("{prefix}.{operation}")),
        ];
        let request = Request {
            operation: format!("{}:{operation}", service.scope()),
            service,
            method: http::Method::POST,
            host_prefix: None,
            path: "/".to_owned(),
            headers,
            payload: Payload::Bytes(body.to_string().into_bytes()),
            idempotent: reads(operation),
        };
        self.value(&request)
    }

    /// Calls an operation of a service that speaks REST with JSON bodies; `path` is encoded.
    pub(crate) fn rest(
        &self,
        service: Service,
        operation: &str,
        method: http::Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Value, ClientError> {
        self.value(&rest_request(service, operation, method, path, body))
    }

    /// The answer as JSON; an empty one is null.
    fn value(&self, request: &Request) -> Result<Value, ClientError> {
        let answer = self.bytes(request)?;
        if answer.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&answer).map_err(|e| ClientError::Answer {
            operation: request.operation.clone(),
            reason: e.to_string(),
        })
    }

    /// Collects all pages of a list operation: the values of `member` over all `NextToken`s.
    ///
    /// # Errors
    /// As [`Client::json`].
    pub fn json_pages(
        &self,
        service: Service,
        operation: &str,
        body: &Value,
        member: &str,
    ) -> Result<Vec<Value>, ClientError> {
        let token = if service == Service::Logs { "nextToken" } else { "NextToken" };
        let mut body = body.clone();
        let mut all = Vec::new();
        loop {
            let mut page = self.json(service, operation, &body)?;
            if let Some(Value::Array(found)) = page.get_mut(member).map(Value::take) {
                all.extend(found);
            }
            match page.get(token).and_then(Value::as_str) {
                // The same token again would be asked for ever.
                Some(next) if !next.is_empty() && body[token] != next => body[token] = next.into(),
                _ => return Ok(all),
            }
        }
    }

    /// Calls an operation of a query service (STS, IAM) and returns its `…Result`.
    pub(crate) fn query(
        &self,
        service: Service,
        operation: &str,
        parameters: &[(&str, &str)],
    ) -> Result<xml::Element, ClientError> {
        let version = if service == Service::Iam { "2010-05-08" } else { "2011-06-15" };
        let mut form = format!("Action={operation}&Version={version}");
        for (name, value) in parameters {
            form.push_str(&format!("&{}={}", encode(name), encode(value)));
        }
        let request = Request {
            operation: format!("{}:{operation}", service.scope()),
            service,
            method: http::Method::POST,
            host_prefix: None,
            path: "/".to_owned(),
            headers: vec![(
                "content-type".to_owned(),
                "application/x-www-form-urlencoded; charset=utf-8".to_owned(),
            )],
            payload: Payload::Bytes(form.into_bytes()),
            idempotent: reads(operation) || operation == "AssumeRole",
        };
        let root = self.xml(&request)?;
        Ok(root.child(&format!("{operation}Result")).cloned().unwrap_or(root))
    }

    /// Invokes an endpoint; never repeated, as a model may have side effects.
    ///
    /// # Errors
    /// `ModelError` of the model, or why it was not asked.
    pub fn invoke(&self, call: &InvokeRequest) -> Result<Invoked, ClientError> {
        let mut headers = vec![("content-type".to_owned(), call.content_type.clone())];
        if let Some(accept) = &call.accept {
            headers.push(("accept".to_owned(), accept.clone()));
        }
        if let Some(variant) = &call.variant {
            headers.push(("x-amzn-sagemaker-target-variant".to_owned(), variant.clone()));
        }
        let request = Request {
            operation: "sagemaker:InvokeEndpoint".to_owned(),
            service: Service::Runtime,
            method: http::Method::POST,
            host_prefix: None,
            path: format!("/endpoints/{}/invocations", encode(&call.endpoint)),
            headers,
            payload: Payload::Bytes(call.body.clone()),
            idempotent: false,
        };
        let response = self.send(&request)?;
        let header = |name: &str| header_of(response.headers(), name);
        let content_type = header("content-type");
        let variant = header("x-amzn-invoked-production-variant");
        Ok(Invoked { content_type, variant, body: self.read(&request, response)? })
    }

    /// The answer as XML; an empty one is an element without a name.
    pub(crate) fn xml(&self, request: &Request) -> Result<xml::Element, ClientError> {
        let answer = self.bytes(request)?;
        if answer.is_empty() {
            return Ok(xml::Element::default());
        }
        xml::parse(&answer)
            .map_err(|reason| ClientError::Answer { operation: request.operation.clone(), reason })
    }

    /// The answer's body, in memory.
    pub(crate) fn bytes(&self, request: &Request) -> Result<Vec<u8>, ClientError> {
        let response = self.send(request)?;
        self.read(request, response)
    }

    /// The body of an answer to `request`.
    pub(crate) fn read(
        &self,
        request: &Request,
        response: http::Response<ureq::Body>,
    ) -> Result<Vec<u8>, ClientError> {
        response
            .into_body()
            .into_with_config()
            .limit(MAX_ANSWER)
            .read_to_vec()
            .map_err(|e| self.transport(request, &e))
    }

    /// Sends a request, again where that is safe and may help; an answer that is no error.
    pub(crate) fn send(
        &self,
        request: &Request,
    ) -> Result<http::Response<ureq::Body>, ClientError> {
        let tries = if request.idempotent { self.options.tries.max(1) } else { 1 };
        let mut pause = self.options.backoff;
        for left in (0..tries).rev() {
            match self.once(request) {
                Err(error) if left > 0 && passing(&error) => {
                    std::thread::sleep(pause);
                    pause *= 2;
                }
                outcome => return outcome,
            }
        }
        // Not reached: the last try returns.
        self.once(request)
    }

    fn once(&self, request: &Request) -> Result<http::Response<ureq::Body>, ClientError> {
        let base = match &self.target.endpoint {
            Some(endpoint) => endpoint.clone(),
            None => {
                let prefix = request.host_prefix.as_deref().unwrap_or_default();
                format!("https://{prefix}{}", request.service.host(&self.target.region))
            }
        };
        let url = format!("{base}{}", request.path);
        let bad = |reason: String| {
            ClientError::Usage(format!(
                "{}: the request cannot be built: {reason}",
                request.operation
            ))
        };
        let body_sha256 = match &request.payload {
            Payload::Empty => sha256(b""),
            Payload::Bytes(bytes) => sha256(bytes),
            Payload::File { sha256, .. } => sha256.clone(),
        };
        // IAM at AWS is global and signed for its home.
        let global = request.service == Service::Iam && self.target.endpoint.is_none();
        let signable = sign::Signable {
            method: request.method.as_str(),
            url: &url,
            headers: &request.headers,
            body_sha256,
            service: request.service.scope(),
            region: if global { "us-east-1" } else { &self.target.region },
            time: clock::now(),
        };
        let signature = sign::headers(&signable, &self.target.credentials).map_err(bad)?;
        let mut builder = http::Request::builder().method(&request.method).uri(&url);
        for (name, value) in request.headers.iter().chain(&signature) {
            builder = builder.header(name, value);
        }
        let sent = match &request.payload {
            Payload::Empty if matches!(request.method, http::Method::POST | http::Method::PUT) => {
                self.run(builder.body(&[][..]).map_err(|e| bad(e.to_string()))?)
            }
            Payload::Empty => {
                self.run(builder.body(SendBody::none()).map_err(|e| bad(e.to_string()))?)
            }
            Payload::Bytes(bytes) => {
                self.run(builder.body(bytes.as_slice()).map_err(|e| bad(e.to_string()))?)
            }
            Payload::File { path, length, .. } => {
                let file = std::fs::File::open(path).map_err(ClientError::file("read", path))?;
                // A file that grows meanwhile is cut at what was hashed; a changed one is refused
                // by the service because its hash differs.
                let body = SendBody::from_owned_reader(file.take(*length));
                builder = builder.header("content-length", length.to_string());
                self.run(builder.body(body).map_err(|e| bad(e.to_string()))?)
            }
        };
        let response = sent.map_err(|e| self.transport(request, &e))?;
        let status = response.status().as_u16();
        if (200..300).contains(&status) {
            return Ok(response);
        }
        let headers = response.headers().clone();
        let body = self.read(request, response)?;
        let header = |name: &str| header_of(&headers, name);
        let failure = error::failure(&request.operation, status, header, &body);
        Err(ClientError::Service(Box::new(failure)))
    }

    fn run(
        &self,
        request: http::Request<impl ureq::AsSendBody>,
    ) -> Result<http::Response<ureq::Body>, ureq::Error> {
        match self.limit {
            None => self.agent.run(request),
            limit => {
                let request = self.agent.configure_request(request).timeout_global(limit).build();
                self.agent.run(request)
            }
        }
    }

    fn transport(&self, request: &Request, error: &ureq::Error) -> ClientError {
        let refused = matches!(error, ureq::Error::Io(e) if e.kind() == std::io::ErrorKind::ConnectionRefused)
            || matches!(error, ureq::Error::ConnectionFailed);
        let host = match &self.target.endpoint {
            Some(endpoint) => endpoint.clone(),
            None => request.service.host(&self.target.region),
        };
        if refused && self.target.data_dir.is_some() {
            return ClientError::NotRunning { reason: format!("nothing listens at `{host}`") };
        }
        let (operation, reason) = (request.operation.clone(), error.to_string());
        ClientError::Transport { operation, host, reason }
    }
}

/// A call of a REST service with a JSON body or none.
pub(crate) fn rest_request(
    service: Service,
    operation: &str,
    method: http::Method,
    path: &str,
    body: Option<&Value>,
) -> Request {
    let (headers, payload) = match body {
        Some(body) => (
            vec![("content-type".to_owned(), "application/json".to_owned())],
            Payload::Bytes(body.to_string().into_bytes()),
        ),
        None => (Vec::new(), Payload::Empty),
    };
    Request {
        operation: format!("{}:{operation}", service.scope()),
        service,
        method,
        host_prefix: None,
        path: path.to_owned(),
        headers,
        payload,
        idempotent: reads(operation),
    }
}

/// Whether another try may go better.
fn passing(error: &ClientError) -> bool {
    match error {
        ClientError::Transport { .. } => true,
        ClientError::Service(failure) => {
            matches!(failure.status, 429 | 500 | 502 | 503 | 504)
                || THROTTLING.contains(&failure.code.as_str())
        }
        _ => false,
    }
}

/// Whether an operation changes nothing, by AWS's way of naming them.
fn reads(operation: &str) -> bool {
    ["Describe", "List", "Get", "Filter", "Lookup"].iter().any(|verb| operation.starts_with(verb))
}

pub(crate) fn header_of(headers: &http::HeaderMap, name: &str) -> Option<String> {
    headers.get(name).and_then(|v| v.to_str().ok()).map(str::to_owned)
}

/// SHA-256 in lower-case hex.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Percent-encoding of AWS: everything but letters, digits, `-`, `.`, `_` and `~`.
pub(crate) fn encode(text: &str) -> String {
    const KEPT: percent_encoding::AsciiSet =
        percent_encoding::NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
    percent_encoding::utf8_percent_encode(text, &KEPT).to_string()
}

#[cfg(test)]
mod tests;

//! The gateway: what every request passes. Parse → authenticate → resolve the operation → authorise →
//! decode → service → encode → access record. No authoriser means deny.

pub mod access;
mod admission;
mod lambda;
pub(crate) mod listen;
pub mod tls;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use kennel_wire::resolve::Unknown;
use kennel_wire::{
    Encoded, Operation, Route, ServiceError, ServiceModel, body, json, query, resolve, rest,
};

use self::access::{AccessLog, Record};
use crate::authorize::Need;
use crate::context::{Caller, Clock, Context, Timestamp};
use crate::iam::Iam;
use crate::identity::{Authorizer, Credentials, Peer};
use crate::lambda::Lambda;
use crate::s3::{AccessNote, BucketPolicies, S3Body, S3Front, S3Options};
use crate::sagemaker::{Invocation, SageMaker};
use crate::service::Service;
use kennel_store::objects::FileStore;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The body of an answer.
pub(crate) type Body = S3Body;

/// Bytes of a call's input at most; AWS's JSON and query services take about as much.
const MAX_CALL: usize = 4 << 20;
/// Bytes of a call that brings a function's code: 50 MB of zip in base64, and the rest of the call.
const MAX_CODE: usize = 72 << 20;
/// Bytes of an invocation at most: 25 MB, as SageMaker Runtime takes today (botocore's model still says
/// 6,291,456).
const MAX_INVOCATION: usize = 25 << 20;

/// Bytes of the bodies of all calls in progress.
const BODIES: usize = 512 << 20;
/// How long a call's body may take to arrive.
const BODY_TIME: Duration = Duration::from_secs(60);
/// Characters of an access record's action and resource; an S3 key has at most 1,024 bytes.
const ACTION: usize = 160;
const RESOURCE: usize = 1200;
/// Operations that were asked for in vain and are remembered, so that each is logged once.
const MISSED: usize = 1000;

/// What the gateway is made of.
pub(crate) struct GatewayOptions {
    /// The services, by signing name.
    pub services: Vec<Arc<dyn Service>>,
    /// Takes invocations.
    pub sagemaker: SageMaker,
    /// Takes functions' invocations.
    pub lambda: Lambda,
    /// Who may sign.
    pub credentials: Arc<dyn Credentials>,
    /// Told of every verified call.
    pub iam: Iam,
    /// Who may do what.
    pub authorizer: Arc<dyn Authorizer>,
    /// What S3 serves.
    pub objects: FileStore,
    /// What its buckets say of access to them.
    pub buckets: BucketPolicies,
    /// Where calls are recorded.
    pub access: AccessLog,
    pub account: String,
    pub region: String,
    pub url: String,
}

/// Handles requests; cheap to clone.
#[derive(Clone)]
pub(crate) struct Gateway {
    inner: Arc<Inner>,
}

struct Inner {
    services: HashMap<&'static str, Arc<dyn Service>>,
    sagemaker: SageMaker,
    lambda: Lambda,
    credentials: Arc<dyn Credentials>,
    iam: Iam,
    authorizer: Arc<dyn Authorizer>,
    s3: S3Front,
    access: AccessLog,
    account: String,
    region: String,
    url: String,
    clock: Clock,
    missed: Mutex<HashSet<String>>,
    /// One permit a KiB.
    bodies: Arc<Semaphore>,
}

/// How a call's answer looks.
#[derive(Clone, Copy)]
enum Protocol {
    Json(&'static ServiceModel),
    Query(&'static ServiceModel),
    RestJson(&'static ServiceModel),
}

/// What is known of a call by the time it is recorded.
struct Call {
    request_id: String,
    time: Timestamp,
    started: Instant,
    peer: Peer,
    service: &'static str,
    action: String,
    resource: Option<String>,
    caller: Option<Caller>,
    /// Set once authentication and authorisation have let it pass.
    allowed: bool,
    /// What IAM was asked, and what it said.
    needs: Vec<(Need, bool)>,
    /// The operation needs no permission.
    free: bool,
    /// Which policy denied, or was missing.
    reason: Option<String>,
    /// The body's place in memory.
    place: Option<OwnedSemaphorePermit>,
}

impl Gateway {
    pub(crate) fn new(options: GatewayOptions) -> Self {
        let s3 = S3Front::new(S3Options {
            store: Arc::new(options.objects),
            credentials: options.credentials.clone(),
            authorizer: options.authorizer.clone(),
            policies: options.buckets,
            account: options.account.clone(),
            region: options.region.clone(),
            base_domains: base_domains(&options.region),
        });
        let services = options.services.into_iter().map(|s| (s.name(), s)).collect();
        let inner = Inner {
            services,
            sagemaker: options.sagemaker,
            lambda: options.lambda,
            credentials: options.credentials,
            iam: options.iam,
            authorizer: options.authorizer,
            s3,
            access: options.access,
            account: options.account,
            region: options.region,
            url: options.url,
            clock: Clock,
            missed: Mutex::default(),
            bodies: Arc::new(Semaphore::new(BODIES / 1024)),
        };
        Gateway { inner: Arc::new(inner) }
    }

    /// Answers a request; every call leaves an access record.
    pub(crate) async fn handle(&self, request: Request<Incoming>, peer: Peer) -> Response<Body> {
        let mut call = Call {
            request_id: uuid::Uuid::new_v4().to_string(),
            time: self.inner.clock.now(),
            started: Instant::now(),
            peer,
            service: "unknown",
            action: String::new(),
            resource: None,
            caller: None,
            allowed: false,
            needs: Vec::new(),
            free: false,
            reason: None,
            place: None,
        };
        let (parts, body) = request.into_parts();
        let (response, error) = match resolve(&parts) {
            Route::S3 => return self.s3(Request::from_parts(parts, body), call).await,
            Route::Json { service, operation } => {
                call.service = service_name(service);
                call.action = format!("{}:{operation}", service_name(service));
                let outcome = self.json(service, &operation, &parts, body, &mut call).await;
                encode(Protocol::Json(service), outcome, &call)
            }
            Route::Query { service } => {
                call.service = service_name(service);
                call.action = call.service.to_owned();
                let outcome = self.query(service, &parts, body, &mut call).await;
                encode(Protocol::Query(service), outcome, &call)
            }
            Route::Rest { service, operation, endpoint } => {
                call.service = "sagemaker";
                call.action = format!("sagemaker:{operation}");
                match self.invoke(operation, endpoint, parts, body, &mut call).await {
                    Ok(response) => (response, None),
                    Err(error) => encode(Protocol::RestJson(service), Err(error), &call),
                }
            }
            Route::RestJson { service } => {
                call.service = service_name(service);
                call.action = call.service.to_owned();
                let outcome = self.rest(service, &parts, body, &mut call).await;
                encode(Protocol::RestJson(service), outcome, &call)
            }
            Route::FunctionCode => {
                call.service = "lambda";
                call.action = "lambda:GetFunction".to_owned();
                match self.function_code(&parts, &mut call).await {
                    Ok(response) => (response, None),
                    Err(error) => {
                        let encoded = rest::json_error(None, &error, &call.request_id);
                        (respond(encoded), Some(error.code))
                    }
                }
            }
            Route::FunctionUrl { id, path } => {
                call.service = "lambda";
                call.action = "lambda:InvokeFunctionUrl".to_owned();
                match self.function_url((id, path), parts, body, &mut call).await {
                    Ok(response) => (response, None),
                    Err(error) => {
                        let encoded = rest::json_error(None, &error, &call.request_id);
                        (respond(encoded), Some(error.code))
                    }
                }
            }
            Route::Unknown(unknown) => {
                call.action = unknown.asked.clone();
                self.unknown(&unknown, &parts, body, &mut call).await
            }
        };
        self.record(call, response.status(), error).await;
        response
    }

    async fn json(
        &self,
        service: &'static ServiceModel,
        operation: &str,
        parts: &Parts,
        body: Incoming,
        call: &mut Call,
    ) -> Result<Encoded, ServiceError> {
        let (context, body) =
            self.authenticate(&service.signing_name, parts, body, MAX_CALL, call).await?;
        let operation = service.lookup(operation)?;
        let body = body::inflate(&parts.headers, body, MAX_CALL)?;
        let input = json::decode(service, operation, &body)?;
        // AWS's JSON services answer a denial with 400, the others with 403.
        self.authorize((service, operation), &context, &input, parts, call)
            .map_err(|denied| ServiceError::new("AccessDeniedException", 400, denied.message))?;
        let output = self.call(service, operation, &context, input).await?;
        Ok(json::answer(service, operation, &output, &call.request_id))
    }

    async fn query(
        &self,
        service: &'static ServiceModel,
        parts: &Parts,
        body: Incoming,
        call: &mut Call,
    ) -> Result<Encoded, ServiceError> {
        let (context, body) =
            self.authenticate(&service.signing_name, parts, body, MAX_CALL, call).await?;
        let fields = match parts.method {
            Method::GET => query::fields(parts.uri.query().unwrap_or_default().as_bytes()),
            _ => query::fields(&body::inflate(&parts.headers, body, MAX_CALL)?),
        };
        if let Some((_, action)) = fields.iter().find(|(name, _)| name == "Action") {
            call.action =
                format!("{}:{}", call.service, action.chars().take(128).collect::<String>());
        }
        let operation = query::operation(service, &fields)?;
        let input = query::decode(service, operation, &fields)?;
        self.authorize((service, operation), &context, &input, parts, call)
            .map_err(|denied| ServiceError::access_denied(denied.message))?;
        let output = self.call(service, operation, &context, input).await?;
        Ok(query::answer(service, operation, &output, &call.request_id))
    }

    async fn rest(
        &self,
        service: &'static ServiceModel,
        parts: &Parts,
        body: Incoming,
        call: &mut Call,
    ) -> Result<Encoded, ServiceError> {
        let query = parts.uri.query().unwrap_or_default();
        let routed = rest::route(service, parts.method.as_str(), parts.uri.path(), query);
        let name = routed.as_ref().map_or("", |routed| routed.operation.name.as_str());
        let limit = match name {
            "CreateFunction" | "UpdateFunctionCode" | "PublishLayerVersion" => MAX_CODE,
            "Invoke" | "InvokeAsync" => lambda::MAX_INVOKE,
            _ => MAX_CALL,
        };
        if !name.is_empty() {
            call.action = format!("{}:{name}", call.service);
        }
        let (context, body) =
            self.authenticate(&service.signing_name, parts, body, limit, call).await?;
        let routed = routed?;
        let body = body::inflate(&parts.headers, body, limit)?;
        let input = rest::decode(service, &routed, &parts.headers, &body)?;
        self.authorize((service, routed.operation), &context, &input, parts, call)
            .map_err(|denied| ServiceError::access_denied(denied.message))?;
        if matches!(name, "Invoke" | "InvokeAsync") {
            return self.invoke_function(&context, name, &input, body).await;
        }
        let output = self.call(service, routed.operation, &context, input).await?;
        Ok(rest::answer(service, routed.operation, &output, &call.request_id))
    }

    async fn call(
        &self,
        service: &'static ServiceModel,
        operation: &Operation,
        context: &Context,
        input: serde_json::Value,
    ) -> Result<serde_json::Value, ServiceError> {
        let name = operation.name.as_str();
        match self.inner.services.get(service.signing_name.as_str()) {
            Some(target) => target.call(context, name, input).await,
            None => Err(ServiceError::not_implemented(&service.name, name)),
        }
    }

    async fn invoke(
        &self,
        operation: &'static str,
        endpoint: String,
        parts: Parts,
        body: Incoming,
        call: &mut Call,
    ) -> Result<Response<Body>, ServiceError> {
        let (context, body) =
            self.authenticate("sagemaker", &parts, body, MAX_INVOCATION, call).await?;
        let model =
            ServiceModel::by_name("sagemaker-runtime").ok_or_else(ServiceError::internal)?;
        let target =
            parts.headers.get("x-amzn-sagemaker-target-model").and_then(|v| v.to_str().ok());
        let input = serde_json::json!({"EndpointName": endpoint, "TargetModel": target});
        let asked = model.lookup(operation)?;
        self.authorize((model, asked), &context, &input, &parts, call)
            .map_err(|denied| ServiceError::access_denied(denied.message))?;
        if operation != "InvokeEndpoint" || parts.method != Method::POST {
            return Err(ServiceError::not_implemented("sagemaker-runtime", operation));
        }
        let labels = [("EndpointName", endpoint.as_str())];
        rest::decode_head(model, asked, &labels, &parts.headers)?;
        let invocation = Invocation { endpoint, headers: parts.headers, body };
        let invoked = self.inner.sagemaker.invoke(&context, invocation).await?;
        let mut response = Response::new(full(invoked.body));
        *response.headers_mut() = invoked.headers;
        request_id(&mut response, "x-amzn-requestid", &call.request_id);
        Ok(response)
    }

    async fn s3(&self, request: Request<Incoming>, mut call: Call) -> Response<Body> {
        call.service = "s3";
        let mut request = request;
        request.extensions_mut().insert(call.peer);
        let mut response = self.inner.s3.call(request).await;
        let note = response.extensions_mut().remove::<AccessNote>().unwrap_or_default();
        call.request_id = note.request_id;
        call.action = note.action.unwrap_or_else(|| "s3".to_owned());
        call.resource = note.resource;
        call.caller = note.caller;
        let error = note.error_code;
        if let Some(caller) = &call.caller {
            self.inner.iam.note_use(caller, "s3", &self.inner.region, call.time);
        }
        call.allowed = note.allowed && error.as_deref() != Some("AccessDenied");
        call.needs = note.needs;
        call.reason = note.reason;
        self.record(call, response.status(), error).await;
        response
    }

    async fn unknown(
        &self,
        unknown: &Unknown,
        parts: &Parts,
        body: Incoming,
        call: &mut Call,
    ) -> (Response<Body>, Option<String>) {
        let scope = parts
            .headers
            .get(http::header::AUTHORIZATION)
            .and_then(|value| value.to_str().ok())
            .and_then(kennel_wire::Scope::from_authorization);
        let service = scope.map(|scope| scope.service).unwrap_or_default();
        let error = match self.authenticate(&service, parts, body, MAX_CALL, call).await {
            Ok(_) => unknown.error(),
            Err(error) => error,
        };
        let encoded = match unknown.json {
            true => json::error(None, &error, &call.request_id),
            false => query::error(None, &error, &call.request_id),
        };
        (respond(encoded), Some(error.code))
    }

    /// What a caller wanted and Kennel does not have is worth a line in the log, once.
    fn missed(&self, asked: &str) {
        let mut missed = self.inner.missed.lock().unwrap_or_else(PoisonError::into_inner);
        if missed.len() < MISSED && missed.insert(asked.to_owned()) {
            tracing::warn!("`{}` was asked for, which Kennel does not serve", asked.escape_debug());
        }
    }

    async fn record(&self, call: Call, status: StatusCode, error: Option<String>) {
        if matches!(
            error.as_deref(),
            Some(
                "NotImplementedException"
                    | "NotImplemented"
                    | "UnknownOperationException"
                    | "InvalidAction"
            )
        ) {
            self.missed(&clipped(call.action.clone(), ACTION));
        }
        let microseconds = i64::try_from(call.started.elapsed().as_micros()).unwrap_or(i64::MAX);
        let record = Record {
            time: call.time,
            request_id: call.request_id,
            caller: call.caller,
            source: call.peer.address.ip().to_string(),
            service: call.service,
            // A stranger writes both: what is refused must not fill the database.
            action: clipped(call.action, ACTION),
            resource: call.resource.map(|resource| clipped(resource, RESOURCE)),
            allowed: call.allowed,
            status: status.as_u16(),
            error,
            microseconds,
            needs: call.needs,
            free: call.free,
            reason: call.reason,
        };
        self.inner.access.record(record).await;
    }
}

/// The service as IAM's actions name it.
fn service_name(model: &'static ServiceModel) -> &'static str {
    match model.name.as_str() {
        "cloudwatch" => "cloudwatch",
        _ => &model.signing_name,
    }
}

/// The first characters of a text.
fn clipped(text: String, characters: usize) -> String {
    match text.char_indices().nth(characters) {
        Some((end, _)) => text.get(..end).unwrap_or_default().to_owned(),
        None => text,
    }
}

/// Names under which buckets are virtual hosts.
fn base_domains(region: &str) -> Vec<String> {
    vec![
        "localhost".to_owned(),
        "s3.localhost".to_owned(),
        "s3.amazonaws.com".to_owned(),
        format!("s3.{region}.amazonaws.com"),
    ]
}

fn encode(
    protocol: Protocol,
    outcome: Result<Encoded, ServiceError>,
    call: &Call,
) -> (Response<Body>, Option<String>) {
    match outcome {
        Ok(encoded) => (respond(encoded), None),
        Err(error) => {
            if error.status >= 500 && error.status != 501 && error.status != 503 {
                tracing::error!("{} failed, request id {}", call.action, call.request_id);
            }
            let encoded = match protocol {
                Protocol::Json(model) => json::error(Some(model), &error, &call.request_id),
                Protocol::Query(model) => query::error(Some(model), &error, &call.request_id),
                Protocol::RestJson(model) => {
                    rest::json_error(Some(model), &error, &call.request_id)
                }
            };
            (respond(encoded), Some(error.code))
        }
    }
}

fn full(bytes: Bytes) -> Body {
    S3Body::from(bytes)
}

fn respond(encoded: Encoded) -> Response<Body> {
    let mut response = Response::new(full(Bytes::from(encoded.body)));
    *response.status_mut() =
        StatusCode::from_u16(encoded.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(http::header::CONTENT_TYPE, HeaderValue::from_static(encoded.content_type));
    for (name, value) in encoded.headers {
        let name = HeaderName::from_bytes(name.as_bytes());
        if let (Ok(name), Ok(value)) = (name, HeaderValue::from_str(&value)) {
            headers.insert(name, value);
        }
    }
    response
}

fn request_id(response: &mut Response<Body>, header: &'static str, id: &str) {
    if let Ok(value) = HeaderValue::from_str(id) {
        response.headers_mut().insert(HeaderName::from_static(header), value);
    }
}

#[cfg(test)]
mod tests {
    use super::clipped;

    #[test]
    fn records_of_strangers_words_are_short() {
        assert_eq!(clipped("sagemaker:CreateModel".to_owned(), 160), "sagemaker:CreateModel");
        assert_eq!(clipped("ä".repeat(500), 160), "ä".repeat(160));
        assert_eq!(clipped(String::new(), 160), "");
    }
}

//! Which service, protocol and operation a request means, from its head alone: an S3 upload's body is
//! not read here, and the query protocol's operation, which is in the body, is read later by
//! [`crate::query::operation`].

use http::HeaderMap;
use http::request::Parts;

use crate::encoded::Encoded;
use crate::error::ServiceError;
use crate::model::{ServiceModel, clip};
use crate::sigv4::Scope;
use crate::{json, query, rest};

/// What a request means.
#[derive(Debug)]
pub enum Route {
    /// A JSON call: the operation's name is whatever the caller wrote, see [`ServiceModel::lookup`].
    Json {
        /// The service.
        service: &'static ServiceModel,
        /// The part of `X-Amz-Target` behind the dot.
        operation: String,
    },
    /// A query call: `Action` is in the form body or, for GET, in the query string.
    Query {
        /// The service.
        service: &'static ServiceModel,
    },
    /// SageMaker Runtime.
    Rest {
        /// The service.
        service: &'static ServiceModel,
        /// `InvokeEndpoint`, `InvokeEndpointAsync`, `InvokeEndpointWithResponseStream`.
        operation: &'static str,
        /// The endpoint's name, percent-decoded.
        endpoint: String,
    },
    /// A REST-JSON service (Lambda, Access Analyzer), routed further by [`crate::rest::route`].
    RestJson {
        /// The service.
        service: &'static ServiceModel,
    },
    /// A function's own address, `/_lambda-url/ID/…`: open or signed, as the function says.
    FunctionUrl {
        /// The address's id.
        id: String,
        /// What follows it, from the slash on, as it came.
        path: String,
    },
    /// A function's code by the address that GetFunction answers: the address itself is the permission.
    FunctionCode,
    /// S3: scope `s3`, or no sign of another service (presigned with version 2, anonymous).
    S3,
    /// A service or target that Kennel does not have.
    Unknown(Unknown),
}

impl Route {
    /// The service that a signature's scope must name, where one is known.
    pub fn signing_name(&self) -> Option<&str> {
        match self {
            Route::Json { service, .. }
            | Route::Query { service }
            | Route::Rest { service, .. }
            | Route::RestJson { service } => Some(&service.signing_name),
            Route::FunctionUrl { .. } | Route::FunctionCode => Some("lambda"),
            Route::S3 => Some("s3"),
            Route::Unknown(_) => None,
        }
    }

    /// An error in the route's protocol. `resource` is the request's path.
    pub fn error(&self, error: &ServiceError, resource: &str, request_id: &str) -> Encoded {
        match self {
            Route::Json { service, .. } => json::error(Some(service), error, request_id),
            Route::Query { service } => query::error(Some(service), error, request_id),
            Route::Rest { service, .. } | Route::RestJson { service } => {
                rest::json_error(Some(service), error, request_id)
            }
            Route::FunctionUrl { .. } | Route::FunctionCode => {
                rest::json_error(None, error, request_id)
            }
            Route::S3 => rest::xml_error(error, resource, request_id),
            Route::Unknown(unknown) if unknown.json => json::error(None, error, request_id),
            Route::Unknown(_) => query::error(None, error, request_id),
        }
    }
}

/// A request that belongs to no service here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unknown {
    /// Whether the caller spoke JSON (`X-Amz-Target`), so that the answer can.
    pub json: bool,
    /// What the caller asked for: a target, or a scope's service.
    pub asked: String,
}

impl Unknown {
    /// The error to answer.
    pub fn error(&self) -> ServiceError {
        ServiceError::new(
            "UnknownOperationException",
            400,
            format!("no service here answers `{}`", self.asked),
        )
    }
}

/// Where the functions' own addresses begin.
pub const FUNCTION_URL: &str = "/_lambda-url/";
/// Where the addresses of functions' code begin.
pub const FUNCTION_CODE: &str = "/_lambda-code/";

/// Resolves a request by `X-Amz-Target`, the signature's scope and the path, in this order.
pub fn resolve(parts: &Parts) -> Route {
    // No bucket's name begins with an underscore.
    if let Some(rest) = parts.uri.path().strip_prefix(FUNCTION_URL) {
        let (id, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let path = if path.is_empty() { "/" } else { path };
        return Route::FunctionUrl { id: clip(id), path: path.to_owned() };
    }
    if parts.uri.path().starts_with(FUNCTION_CODE) {
        return Route::FunctionCode;
    }
    if let Some(target) = header(&parts.headers, "x-amz-target") {
        let known = target.rsplit_once('.').and_then(|(prefix, operation)| {
            Some((ServiceModel::by_target_prefix(prefix)?, operation))
        });
        return match known {
            Some((service, operation)) => Route::Json { service, operation: operation.to_owned() },
            None => Route::Unknown(Unknown { json: true, asked: clip(target) }),
        };
    }
    let query = parts.uri.query().unwrap_or_default();
    let scope = match header(&parts.headers, "authorization") {
        Some(authorization) => Scope::from_authorization(authorization),
        None => Scope::from_query(query),
    };
    let Some(scope) = scope else {
        // An unsigned invocation is refused in its own protocol; S3 knows no such request.
        let invocation = runtime(parts.uri.path());
        if parts.method == http::Method::POST && matches!(invocation, Route::Rest { .. }) {
            return invocation;
        }
        return match anonymous_query(parts, query) {
            Some(service) => Route::Query { service },
            None => Route::S3,
        };
    };
    match scope.service.as_str() {
        "s3" => Route::S3,
        "sagemaker" => runtime(parts.uri.path()),
        other => match (ServiceModel::rest_service(other), ServiceModel::query_service(other)) {
            (Some(service), _) => Route::RestJson { service },
            (None, Some(service)) => Route::Query { service },
            (None, None) => Route::Unknown(Unknown { json: false, asked: clip(other) }),
        },
    }
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// An unsigned form posted to `/`, or `/?Action=…`: it will be refused, but in the query protocol,
/// not in S3's.
fn anonymous_query(parts: &Parts, query: &str) -> Option<&'static ServiceModel> {
    let form = header(&parts.headers, "content-type")
        .is_some_and(|kind| kind.starts_with("application/x-www-form-urlencoded"));
    let action = query.split('&').any(|field| field.starts_with("Action="));
    let meant = parts.uri.path() == "/" && ((parts.method == http::Method::POST && form) || action);
    // Which service it was meant for is in the body; its refusal is the same for all.
    if meant { ServiceModel::query_service("sts") } else { None }
}

/// `/endpoints/{name}/invocations` and its two siblings.
fn runtime(path: &str) -> Route {
    let mut segments = path.trim_start_matches('/').split('/');
    let (Some("endpoints"), Some(endpoint), Some(verb), None) =
        (segments.next(), segments.next(), segments.next(), segments.next())
    else {
        return Route::Unknown(Unknown { json: false, asked: clip(path) });
    };
    let operation = match verb {
        "invocations" => "InvokeEndpoint",
        "async-invocations" => "InvokeEndpointAsync",
        "invocations-response-stream" => "InvokeEndpointWithResponseStream",
        _ => return Route::Unknown(Unknown { json: false, asked: clip(path) }),
    };
    let decoded = percent_encoding::percent_decode_str(endpoint).decode_utf8();
    match (ServiceModel::by_name("sagemaker-runtime"), decoded) {
        (Some(service), Ok(endpoint)) if !endpoint.is_empty() => {
            Route::Rest { service, operation, endpoint: endpoint.into_owned() }
        }
        _ => Route::Unknown(Unknown { json: false, asked: clip(path) }),
    }
}

#[cfg(test)]
mod tests;

//! Function URLs: an HTTP request becomes an event of payload format 2.0, and the function's answer an HTTP
//! response. <https://docs.aws.amazon.com/lambda/latest/dg/urls-invocation.html>

use std::net::IpAddr;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use kennel_wire::{ServiceError, query};
use serde_json::{Map, Value, json};

use super::execute::Run;
use crate::context::{Caller, Timestamp};
use crate::lambda::Lambda;
use crate::lambda::facts::Resolved;
use crate::lambda::rows::UrlAuth;

/// A request to a function's own address.
#[derive(Debug)]
pub struct UrlRequest {
    /// The address's id.
    pub id: String,
    /// The method.
    pub method: Method,
    /// What follows the id, as it came; begins with a slash.
    pub path: String,
    /// The query string as it came.
    pub query: String,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
    /// Whence.
    pub source: IpAddr,
    /// Who signed, where the address asks for it.
    pub caller: Option<Caller>,
}

/// What is answered.
#[derive(Debug, Clone)]
pub struct UrlAnswer {
    /// HTTP status.
    pub status: u16,
    /// Headers, without those of the connection.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

/// What the gateway needs to know of an address before it lets a request pass.
#[derive(Debug, Clone)]
pub struct UrlTarget {
    /// The function's ARN, with the alias where the address is an alias's.
    pub arn: String,
    /// Requests have to be signed.
    pub signed: bool,
    resolved: Arc<Resolved>,
    cors: Option<Value>,
}

impl Lambda {
    /// The function behind an address; `None` where there is no such address.
    ///
    /// # Errors
    /// When the database cannot answer.
    pub fn url_target(&self, id: &str) -> Result<Option<UrlTarget>, ServiceError> {
        let found = self.url(id)?;
        Ok(found.map(|(resolved, row)| UrlTarget {
            arn: self.url_arn(&resolved),
            signed: row.auth == UrlAuth::Iam,
            resolved,
            cors: row.cors,
        }))
    }

    /// Answers a request that may pass. Errors of the function are answers too (502), as are throttles (429).
    ///
    /// # Errors
    /// When the platform itself fails.
    pub async fn invoke_url(
        &self,
        request_id: &str,
        now: Timestamp,
        target: &UrlTarget,
        request: UrlRequest,
    ) -> Result<UrlAnswer, ServiceError> {
        let origin = request.headers.get(http::header::ORIGIN).cloned();
        let cors = cors(target.cors.as_ref(), origin.as_ref(), &request);
        let account = self.inner.home.account.as_str();
        let event = event(request_id, now, &request, account);
        let payload = Bytes::from(event.to_string());
        let run = Run {
            request_id: request_id.to_owned(),
            resolved: Arc::clone(&target.resolved),
            payload,
            client_context: None,
            asynchronous: false,
        };
        let mut answer = match self.execute(run).await {
            Ok(executed) if executed.failed => plain(502, "Internal Server Error"),
            Ok(executed) => response(&executed.payload),
            Err(not_run) => {
                let error = not_run.into_error();
                match error.status {
                    429 => plain(429, "Too Many Requests"),
                    _ => return Err(error),
                }
            }
        };
        // The configuration's own headers win, as in AWS.
        answer.headers.extend(cors);
        Ok(answer)
    }

    /// The answer to a browser's preflight request, where the address has a CORS configuration.
    pub fn preflight(&self, target: &UrlTarget, request: &UrlRequest) -> Option<UrlAnswer> {
        let origin = request.headers.get(http::header::ORIGIN)?;
        let asks = request.headers.contains_key("access-control-request-method");
        if request.method != Method::OPTIONS || !asks {
            return None;
        }
        let headers = cors(Some(target.cors.as_ref()?), Some(origin), request);
        Some(UrlAnswer { status: 200, headers, body: Bytes::new() })
    }
}

fn plain(status: u16, message: &str) -> UrlAnswer {
    let mut headers = HeaderMap::new();
    headers.insert(http::header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    UrlAnswer { status, headers, body: Bytes::from(json!({"Message": message}).to_string()) }
}

/// Content types whose bodies are text in an event; all others are base64.
fn is_text(headers: &HeaderMap) -> bool {
    let kind = headers.get(http::header::CONTENT_TYPE).and_then(|v| v.to_str().ok());
    let kind = kind.unwrap_or_default().split(';').next().unwrap_or_default().trim();
    let kind = kind.to_ascii_lowercase();
    kind.starts_with("text/")
        || ["application/json", "application/javascript", "application/xml"]
            .contains(&kind.as_str())
        || kind.ends_with("+json")
        || kind.ends_with("+xml")
}

fn event(request_id: &str, now: Timestamp, request: &UrlRequest, account: &str) -> Value {
    let mut headers = Map::new();
    let mut cookies = Vec::new();
    for name in request.headers.keys() {
        let values: Vec<String> = request
            .headers
            .get_all(name)
            .iter()
            .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
            .collect();
        if name == http::header::COOKIE {
            let split = values.iter().flat_map(|value| value.split(';'));
            cookies.extend(split.map(|cookie| cookie.trim().to_owned()));
        }
        headers.insert(name.as_str().to_owned(), json!(values.join(",")));
    }
    let mut parameters: Map<String, Value> = Map::new();
    for (name, value) in query::fields(request.query.as_bytes()) {
        let joined = match parameters.get(&name).and_then(Value::as_str) {
            Some(before) => format!("{before},{value}"),
            None => value,
        };
        parameters.insert(name, json!(joined));
    }
    let text = std::str::from_utf8(&request.body).ok().filter(|_| is_text(&request.headers));
    let host = headers.get("host").cloned().unwrap_or_else(|| json!(""));
    let agent = headers.get("user-agent").cloned().unwrap_or(Value::Null);
    let moment = chrono::DateTime::from_timestamp_millis(now.0).unwrap_or_default();
    let mut about = json!({
        "accountId": if request.caller.is_some() { account } else { "anonymous" },
        "apiId": request.id,
        "domainName": host,
        "domainPrefix": request.id,
        "http": {
            "method": request.method.as_str(),
            "path": request.path,
            "protocol": "HTTP/1.1",
            "sourceIp": request.source.to_string(),
            "userAgent": agent,
        },
        "requestId": request_id,
        "routeKey": "$default",
        "stage": "$default",
        "time": moment.format("%d/%b/%Y:%H:%M:%S +0000").to_string(),
        "timeEpoch": now.0,
    });
    if let Some(caller) = &request.caller {
        about["authorizer"] = json!({"iam": {
            "accessKey": caller.access_key,
            "accountId": caller.account,
            "callerId": caller.user_id(),
            "cognitoIdentity": null,
            "principalOrgId": null,
            "userArn": caller.arn(),
            "userId": caller.user_id(),
        }});
    }
    let mut event = json!({
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": request.path,
        "rawQueryString": request.query,
        "headers": headers,
        "requestContext": about,
        "isBase64Encoded": text.is_none() && !request.body.is_empty(),
    });
    if let Value::Object(event) = &mut event {
        if !cookies.is_empty() {
            event.insert("cookies".to_owned(), json!(cookies));
        }
        if !parameters.is_empty() {
            event.insert("queryStringParameters".to_owned(), Value::Object(parameters));
        }
        if !request.body.is_empty() {
            let body = text.map_or_else(|| STANDARD.encode(&request.body), str::to_owned);
            event.insert("body".to_owned(), json!(body));
        }
    }
    event
}

/// A function's value as a response: by its `statusCode`, or as the body of a plain 200.
fn response(payload: &[u8]) -> UrlAnswer {
    let value: Value = serde_json::from_slice(payload).unwrap_or(Value::Null);
    let json_body = |body: &[u8]| {
        let mut headers = HeaderMap::new();
        headers.insert(http::header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        UrlAnswer { status: 200, headers, body: Bytes::copy_from_slice(body) }
    };
    let Some(status) = value.get("statusCode") else { return json_body(payload) };
    let status = status.as_u64().or_else(|| status.as_str()?.parse().ok());
    let Some(status) =
        status.and_then(|s| u16::try_from(s).ok()).filter(|s| (200..600).contains(s))
    else {
        return plain(502, "Internal Server Error");
    };
    let mut headers = HeaderMap::new();
    headers.insert(http::header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    for (name, value) in value.get("headers").and_then(Value::as_object).into_iter().flatten() {
        let text = match value {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        let name = HeaderName::from_bytes(name.as_bytes());
        if let (Ok(name), Ok(value)) = (name, HeaderValue::from_str(&text))
            && !OF_THE_CONNECTION.contains(&name.as_str())
        {
            headers.insert(name, value);
        }
    }
    for cookie in value.get("cookies").and_then(Value::as_array).into_iter().flatten() {
        if let Some(Ok(value)) = cookie.as_str().map(HeaderValue::from_str) {
            headers.append(http::header::SET_COOKIE, value);
        }
    }
    let encoded = value.get("isBase64Encoded").and_then(Value::as_bool).unwrap_or(false);
    let body = match value.get("body") {
        None | Some(Value::Null) => Bytes::new(),
        Some(Value::String(text)) if encoded => match STANDARD.decode(text) {
            Ok(bytes) => Bytes::from(bytes),
            Err(_) => return plain(502, "Internal Server Error"),
        },
        Some(Value::String(text)) => Bytes::copy_from_slice(text.as_bytes()),
        Some(other) => Bytes::from(other.to_string()),
    };
    UrlAnswer { status, headers, body }
}

/// Headers that are the connection's, not the function's.
const OF_THE_CONNECTION: [&str; 6] =
    ["connection", "content-length", "keep-alive", "transfer-encoding", "upgrade", "trailer"];

/// The headers of a CORS configuration for a request of this origin.
fn cors(config: Option<&Value>, origin: Option<&HeaderValue>, request: &UrlRequest) -> HeaderMap {
    let mut out = HeaderMap::new();
    let (Some(config), Some(origin)) = (config, origin) else { return out };
    let list = |name: &str| -> Vec<String> {
        let items = config.get(name).and_then(Value::as_array).into_iter().flatten();
        items.filter_map(|item| item.as_str().map(str::to_owned)).collect()
    };
    let given = origin.to_str().unwrap_or_default();
    let origins = list("AllowOrigins");
    let credentials = config.get("AllowCredentials").and_then(Value::as_bool).unwrap_or(false);
    let any = origins.iter().any(|allowed| allowed == "*");
    if !any && !origins.iter().any(|allowed| kennel_iam::matches(allowed, given)) {
        return out;
    }
    let mut set = |name: &'static str, value: &str| {
        if let Ok(value) = HeaderValue::from_str(value) {
            out.insert(HeaderName::from_static(name), value);
        }
    };
    set("access-control-allow-origin", if any && !credentials { "*" } else { given });
    set("vary", "Origin");
    if credentials {
        set("access-control-allow-credentials", "true");
    }
    let exposed = list("ExposeHeaders");
    if !exposed.is_empty() {
        set("access-control-expose-headers", &exposed.join(","));
    }
    if request.method == Method::OPTIONS {
        let (methods, headers) = (list("AllowMethods"), list("AllowHeaders"));
        if !methods.is_empty() {
            set("access-control-allow-methods", &methods.join(","));
        }
        if !headers.is_empty() {
            set("access-control-allow-headers", &headers.join(","));
        }
        if let Some(age) = config.get("MaxAge").and_then(Value::as_i64) {
            set("access-control-max-age", &age.to_string());
        }
    }
    out
}

#[cfg(test)]
mod tests;

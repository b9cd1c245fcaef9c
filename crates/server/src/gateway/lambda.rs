//! What Lambda's API has beside calls of its model: invocations, whose body is the caller's as it came, the
//! functions' own addresses, and the download of code.

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderValue, Response};
use kennel_wire::{Encoded, ServiceError};
use serde_json::Value;

use super::{Body, Call, Gateway, full, request_id};
use crate::context::Context;
use crate::lambda::{InvocationType, InvokeRequest, MAX_PAYLOAD};

/// Bytes of an invocation that are read: a little more than Lambda takes, so that it can say what is too much.
pub(super) const MAX_INVOKE: usize = MAX_PAYLOAD + (64 << 10);

impl Gateway {
    /// Invoke and InvokeAsync.
    pub(super) async fn invoke_function(
        &self,
        context: &Context,
        operation: &str,
        input: &Value,
        payload: Bytes,
    ) -> Result<Encoded, ServiceError> {
        let text = |name: &str| input.get(name).and_then(Value::as_str).map(str::to_owned);
        let invocation_type = match (operation, text("InvocationType").as_deref()) {
            ("InvokeAsync", _) | (_, Some("Event")) => InvocationType::Event,
            (_, Some("DryRun")) => InvocationType::DryRun,
            _ => InvocationType::RequestResponse,
        };
        let request = InvokeRequest {
            function: text("FunctionName").unwrap_or_default(),
            qualifier: text("Qualifier"),
            invocation_type,
            tail: text("LogType").as_deref() == Some("Tail"),
            client_context: text("ClientContext"),
            payload,
        };
        let invoked = self.inner.lambda.invoke(context, request).await?;
        let mut headers = vec![("x-amzn-RequestId", context.request_id.clone())];
        headers.extend(invoked.executed_version.map(|v| ("X-Amz-Executed-Version", v)));
        headers.extend(invoked.function_error.map(|e| ("X-Amz-Function-Error", e.to_owned())));
        headers.extend(invoked.log.map(|log| ("X-Amz-Log-Result", log)));
        Ok(Encoded {
            status: invoked.status,
            content_type: "application/json",
            headers,
            body: invoked.payload.to_vec(),
        })
    }

    /// The zip behind an address that GetFunction answered.
    pub(super) async fn function_code(
        &self,
        parts: &Parts,
        call: &mut Call,
    ) -> Result<Response<Body>, ServiceError> {
        if parts.method != http::Method::GET {
            return Err(ServiceError::new("MethodNotAllowed", 405, "only GET is answered here"));
        }
        let address = parts.uri.path_and_query().map_or("", |address| address.as_str());
        let file = self.inner.lambda.download(address, call.time)?;
        call.allowed = true;
        let bytes = tokio::fs::read(&file).await.map_err(|e| crate::service::state_failed(&e))?;
        let mut response = Response::new(full(Bytes::from(bytes)));
        let kind = HeaderValue::from_static("application/zip");
        response.headers_mut().insert(http::header::CONTENT_TYPE, kind);
        request_id(&mut response, "x-amzn-requestid", &call.request_id);
        Ok(response)
    }
}

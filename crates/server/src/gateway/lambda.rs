//! What Lambda's API has beside calls of its model: invocations, whose body is the caller's as it came, the
//! functions' own addresses, and the download of code.

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderValue, Response, StatusCode};
use hyper::body::Incoming;
use kennel_wire::{Encoded, ServiceError};
use serde_json::Value;

use super::{Body, Call, Gateway, full, request_id};
use crate::authorize::Need;
use crate::context::Context;
use crate::identity::{Facts, Question};
use crate::lambda::{InvocationType, InvokeRequest, MAX_PAYLOAD, UrlAnswer, UrlRequest};

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

    /// A request to a function's own address. Whom it lets in is the function's policy's word, and for signed
    /// addresses also that of the caller's own policies.
    pub(super) async fn function_url(
        &self,
        (id, path): (String, String),
        parts: Parts,
        body: Incoming,
        call: &mut Call,
    ) -> Result<Response<Body>, ServiceError> {
        let lambda = &self.inner.lambda;
        let Some(target) = lambda.url_target(&id)? else { return Err(forbidden()) };
        call.resource = Some(target.arn.clone());
        let mut request = UrlRequest {
            id,
            method: parts.method.clone(),
            path,
            query: parts.uri.query().unwrap_or_default().to_owned(),
            headers: parts.headers.clone(),
            body: Bytes::new(),
            source: call.peer.address.ip(),
            caller: None,
        };
        if let Some(answer) = lambda.preflight(&target, &request) {
            call.allowed = true;
            return Ok(url_response(answer, call));
        }
        let kind = if target.signed { "AWS_IAM" } else { "NONE" };
        let need = Need::new("lambda:InvokeFunctionUrl", target.arn.clone())
            .with("lambda:FunctionUrlAuthType", vec![kind.to_owned()]);
        if target.signed {
            let (context, read) =
                self.authenticate("lambda", &parts, body, MAX_PAYLOAD, call).await?;
            request.caller = Some(context.caller);
            request.body = read;
            self.permit(need, &parts, call)?;
            // The function is not told the signature's secret half of the caller.
            request.headers.remove("x-amz-security-token");
            request.headers.remove(http::header::AUTHORIZATION);
        } else {
            // Before a byte of a stranger's body is read.
            self.permit(need, &parts, call)?;
            request.body = self.read(&parts, body, MAX_PAYLOAD, call).await?;
        }
        let answer = lambda.invoke_url(&call.request_id, call.time, &target, request).await?;
        Ok(url_response(answer, call))
    }

    /// Asks for one permission, for the caller that is known by now or for nobody in particular.
    fn permit(&self, need: Need, parts: &Parts, call: &mut Call) -> Result<(), ServiceError> {
        let facts = Facts::of(&parts.headers, Some(call.peer), call.time, &self.inner.region);
        let question = Question { caller: call.caller.as_ref(), need: &need, facts: &facts };
        let answer = self.inner.authorizer.authorize(question);
        call.needs.push((need, answer.is_ok()));
        match answer {
            Ok(()) => {
                call.allowed = true;
                Ok(())
            }
            Err(denied) => {
                call.reason = Some(denied.reason);
                Err(forbidden())
            }
        }
    }
}

/// What AWS answers whoever may not call a function's address, and for addresses that do not exist.
fn forbidden() -> ServiceError {
    ServiceError::new(
        "AccessDeniedException",
        403,
        "Forbidden. For troubleshooting Function URL authorization issues, see: https://docs.aws.amazon.com/lambda/latest/dg/urls-auth.html",
    )
}

fn url_response(answer: UrlAnswer, call: &Call) -> Response<Body> {
    let mut response = Response::new(full(answer.body));
    *response.status_mut() =
        StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    *response.headers_mut() = answer.headers;
    request_id(&mut response, "x-amzn-requestid", &call.request_id);
    response
}

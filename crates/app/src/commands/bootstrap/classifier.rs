//! What the function does with an event: it asks an endpoint and answers as the course's
//! `lambdafunction.py` does, with the same members and the same formatting.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kennel_client::{Client, ClientError, Credentials, InvokeRequest, Target};
use serde_json::{Value, json};

use super::api::{Failure, Invocation};
use super::{python, say};

/// The errors that the model of `sagemaker-runtime` names; boto3 makes classes of them, and a plain
/// `ClientError` of all others.
const MODELLED: [&str; 6] = [
    "InternalFailure",
    "ServiceUnavailable",
    "ValidationError",
    "ModelError",
    "InternalDependencyException",
    "ModelNotReadyException",
];
/// Kept of the time that is left, to tell about it.
const MARGIN: Duration = Duration::from_millis(100);
/// Where the event has no deadline: boto3's patience.
const PATIENCE: Duration = Duration::from_secs(60);

/// The function, initialised.
#[derive(Debug)]
pub(super) struct Classifier {
    client: Client,
    endpoint: String,
    /// `str(context)` between the request id and the ARN, which do not change.
    environment: String,
}

impl Classifier {
    pub(super) fn new(variable: &dyn Fn(&str) -> Option<String>) -> Result<Classifier, Failure> {
        let needed = |name: &str| {
            variable(name).ok_or_else(|| {
                Failure::new("Runtime.ConfigInvalid", format!("the variable {name} is not set"))
            })
        };
        let endpoint = variable("ENDPOINT_NAME").or_else(|| variable("endpoint_Name"));
        let endpoint = match endpoint {
            Some(endpoint) => endpoint,
            None => needed("ENDPOINT_NAME")?,
        };
        let region = match variable("AWS_REGION").or_else(|| variable("AWS_DEFAULT_REGION")) {
            Some(region) => region,
            None => needed("AWS_REGION")?,
        };
        let credentials = Credentials::new(
            needed("AWS_ACCESS_KEY_ID")?,
            needed("AWS_SECRET_ACCESS_KEY")?,
            variable("AWS_SESSION_TOKEN"),
        );
        let address = variable("AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME")
            .or_else(|| variable("AWS_ENDPOINT_URL"))
            .map(|url| url.trim_end_matches('/').to_owned());
        let target =
            Target { endpoint: address, region, account: None, credentials, data_dir: None };
        let environment = [
            ("log_group_name", "AWS_LAMBDA_LOG_GROUP_NAME"),
            ("log_stream_name", "AWS_LAMBDA_LOG_STREAM_NAME"),
            ("function_name", "AWS_LAMBDA_FUNCTION_NAME"),
            ("memory_limit_in_mb", "AWS_LAMBDA_FUNCTION_MEMORY_SIZE"),
            ("function_version", "AWS_LAMBDA_FUNCTION_VERSION"),
        ]
        .map(|(member, name)| format!("{member}={}", none(variable(name).as_deref())))
        .join(",");
        Ok(Classifier { client: Client::new(target), endpoint, environment })
    }

    /// The answer to an event; `now_ms` is the Unix time.
    pub(super) fn answer(&self, invocation: &Invocation, now_ms: u64) -> Result<String, Failure> {
        let event: Value = serde_json::from_slice(&invocation.event).map_err(|e| {
            Failure::new("Runtime.UnmarshalError", format!("Unable to unmarshal input: {e}"))
        })?;
        let context = self.context(invocation);
        say(format_args!("Context::: {context}"));
        say(format_args!("EventType:: {}", python::type_name(&event)));
        let event = match from_url(&event) {
            None => event,
            Some(Ok(event)) => event,
            // A browser's mistake is answered, not logged as the function's.
            Some(Err(reason)) => return Ok(python::dumps(&refusal(reason))),
        };
        let limit = match invocation.deadline_ms {
            Some(deadline) => {
                let left = Duration::from_millis(deadline.saturating_sub(now_ms));
                left.saturating_sub(MARGIN.min(left / 10))
            }
            None => PATIENCE,
        };
        if limit.is_zero() {
            return Err(self.too_late(limit));
        }
        let request = InvokeRequest {
            endpoint: self.endpoint.clone(),
            content_type: "application/json".to_owned(),
            accept: Some("application/json".to_owned()),
            variant: None,
            body: python::dumps(&event).into_bytes(),
        };
        let asked = std::time::Instant::now();
        let invoked = self
            .client
            .limited(limit)
            .invoke(&request)
            .map_err(|error| self.failure(error, asked.elapsed() >= limit, limit))?;
        let result: Value = serde_json::from_slice(&invoked.body).map_err(|e| {
            Failure::new(
                "JSONDecodeError",
                format!("the answer of endpoint `{}` is not JSON: {e}", self.endpoint),
            )
        })?;
        Ok(python::dumps(&json!({
            "statusCode": 200,
            "headers": {"Content-Type": "text/plain", "Access-Control-Allow-Origin": "*"},
            "type-result": "<class 'str'>",
            "COntent-Type-In": context,
            "body": python::dumps(&result),
        })))
    }

    /// `str(context)` of AWS's Python runtime.
    fn context(&self, invocation: &Invocation) -> String {
        let identity: Value = invocation
            .cognito_identity
            .as_deref()
            .and_then(|text| serde_json::from_str(text).ok())
            .unwrap_or_default();
        format!(
            "LambdaContext([aws_request_id={},{},invoked_function_arn={},client_context={},identity=CognitoIdentity([cognito_identity_id={},cognito_identity_pool_id={}]),tenant_id={}])",
            invocation.id,
            self.environment,
            none(invocation.function_arn.as_deref()),
            none(invocation.client_context.as_deref()),
            none(identity["cognitoIdentityId"].as_str()),
            none(identity["cognitoIdentityPoolId"].as_str()),
            none(invocation.tenant_id.as_deref()),
        )
    }

    /// What boto3 would raise.
    fn failure(&self, error: ClientError, over: bool, limit: Duration) -> Failure {
        match error {
            ClientError::Service(failure) => {
                let kind = match MODELLED.contains(&failure.code.as_str()) {
                    true => failure.code.as_str(),
                    false => "ClientError",
                };
                let message = format!(
                    "An error occurred ({}) when calling the InvokeEndpoint operation: {}",
                    failure.code, failure.message
                );
                Failure::new(kind, message)
            }
            ClientError::Transport { .. } if over => self.too_late(limit),
            ClientError::Transport { host, reason, .. } => Failure::new(
                "EndpointConnectionError",
                format!(
                    "Could not connect to the endpoint URL: \"{host}/endpoints/{}/invocations\" ({reason})",
                    self.endpoint
                ),
            ),
            other => Failure::new("ClientError", other.to_string()),
        }
    }

    fn too_late(&self, limit: Duration) -> Failure {
        Failure::new(
            "ReadTimeoutError",
            format!(
                "endpoint `{}` did not answer within the {:.2} s that the function had left\nhint: give the function a longer timeout",
                self.endpoint,
                limit.as_secs_f64()
            ),
        )
    }
}

fn none(text: Option<&str>) -> &str {
    text.unwrap_or("None")
}

/// The event in the body of a call to the function's URL; none for other events.
/// <https://docs.aws.amazon.com/lambda/latest/dg/urls-invocation.html>
fn from_url(event: &Value) -> Option<Result<Value, &'static str>> {
    event.get("requestContext")?.as_object()?;
    let Some(body) = event.get("body").and_then(Value::as_str) else {
        return Some(Err("there is no body"));
    };
    let bytes = match event["isBase64Encoded"] == true {
        true => STANDARD.decode(body).ok(),
        false => Some(body.as_bytes().to_vec()),
    };
    let event = bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok());
    Some(event.ok_or("the body is not JSON"))
}

/// What a caller of the URL gets whose body is none.
fn refusal(reason: &str) -> Value {
    let words =
        json!({"message": format!("{reason}: send an event, as in {{\"url\": \"https://…\"}}")});
    json!({
        "statusCode": 400,
        "headers": {"Content-Type": "application/json", "Access-Control-Allow-Origin": "*"},
        "body": python::dumps(&words),
    })
}

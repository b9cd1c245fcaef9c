//! The dispatcher: makes invocations happen. It admits a call (pure decisions of `kennel_scaling`), gives it an
//! environment (a frozen one, a provisioned one, or a new one), passes it through, and writes log and metrics.
//!
//! Everything that must survive is in rows: versions, settings, the queue of asynchronous invocations. What is
//! kept here, environments and who runs, is made again after a restart.

mod asynchronous;
mod destination;
mod environment;
mod execute;
mod interpreter;
mod live;
mod metrics;
mod provisioned;
mod report;
mod url;

use bytes::Bytes;
use kennel_wire::ServiceError;
use tokio::sync::watch;

#[cfg(test)]
pub(super) use self::environment::Target;
#[cfg(test)]
pub(super) use self::live::Lease;
pub(super) use self::live::Live;
pub use self::url::{UrlAnswer, UrlRequest, UrlTarget};
use super::Lambda;
use crate::context::Context;

/// Bytes of a synchronous invocation's payload.
/// <https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html>
pub(crate) const MAX_PAYLOAD: usize = 6_291_456;
/// Bytes of an asynchronous invocation's payload: 1 MB since October 2025.
const MAX_EVENT: usize = 1_048_576;

/// How an invocation is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InvocationType {
    /// The caller waits for the answer.
    RequestResponse,
    /// The event is queued.
    Event,
    /// Only whether it could be made.
    DryRun,
}

/// A call of Invoke.
#[derive(Debug, Clone)]
pub struct InvokeRequest {
    /// Name, partial or full ARN.
    pub function: String,
    /// Version or alias.
    pub qualifier: Option<String>,
    /// How.
    pub invocation_type: InvocationType,
    /// Whether the last 4 KB of the log are wanted.
    pub tail: bool,
    /// `X-Amz-Client-Context`, base64 as it came.
    pub client_context: Option<String>,
    /// The event, JSON.
    pub payload: Bytes,
}

/// What Invoke answers.
#[derive(Debug, Clone, Default)]
pub struct Invoked {
    /// 200, 202 or 204.
    pub status: u16,
    /// The function's value or error, JSON.
    pub payload: Bytes,
    /// `Unhandled` where the function failed.
    pub function_error: Option<&'static str>,
    /// The end of the log, base64.
    pub log: Option<String>,
    /// The version that ran.
    pub executed_version: Option<String>,
}

/// An empty folder for the environments' own /tmp: those of an earlier process are nobody's any more.
pub(super) fn clear(data: &std::path::Path) -> std::io::Result<()> {
    let folder = data.join("lambda").join("tmp");
    match std::fs::remove_dir_all(&folder) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    std::fs::create_dir_all(&folder)
}

impl Lambda {
    /// Invokes a function.
    ///
    /// # Errors
    /// `ResourceNotFoundException`, `RequestTooLargeException`, `InvalidRequestContentException`, and
    /// `TooManyRequestsException` with its reason. What the function itself does wrong is no error here.
    pub async fn invoke(
        &self,
        context: &Context,
        request: InvokeRequest,
    ) -> Result<Invoked, ServiceError> {
        let resolved = self.resolve(&request.function, request.qualifier.as_deref())?;
        let most = match request.invocation_type {
            InvocationType::Event => MAX_EVENT,
            InvocationType::RequestResponse | InvocationType::DryRun => MAX_PAYLOAD,
        };
        check_payload(&request, most)?;
        match request.invocation_type {
            InvocationType::DryRun => Ok(Invoked { status: 204, ..Invoked::default() }),
            InvocationType::Event => {
                self.accept(context, &resolved, request.payload).await?;
                Ok(Invoked { status: 202, ..Invoked::default() })
            }
            InvocationType::RequestResponse => {
                let client_context = client_context(request.client_context.as_deref())?;
                let run = execute::Run {
                    request_id: context.request_id.clone(),
                    resolved,
                    payload: request.payload,
                    client_context,
                    asynchronous: false,
                };
                let executed = self.execute(run).await.map_err(execute::NotRun::into_error)?;
                Ok(Invoked {
                    status: 200,
                    function_error: executed.failed.then_some("Unhandled"),
                    log: request.tail.then(|| report::tail(&executed.log)),
                    executed_version: Some(executed.version),
                    payload: executed.payload,
                })
            }
        }
    }

    /// Keeps provisioned environments, works the queue of asynchronous invocations and ends environments that
    /// nobody needs, until told to stop; then ends them all.
    pub async fn run(&self, shutdown: watch::Receiver<bool>) {
        // The first environment shall not wait for it.
        self.mounts_work().await;
        tokio::join!(
            self.keep_provisioned(shutdown.clone()),
            self.work_queue(shutdown.clone()),
            self.tidy(shutdown),
        );
        self.inner.live.close().await;
    }
}

/// The payload's size, and that it is JSON.
fn check_payload(request: &InvokeRequest, most: usize) -> Result<(), ServiceError> {
    let size = request.payload.len();
    if size > most {
        let kind = match request.invocation_type {
            InvocationType::Event => "Event",
            InvocationType::RequestResponse | InvocationType::DryRun => "RequestResponse",
        };
        return Err(ServiceError::new(
            "RequestTooLargeException",
            413,
            format!(
                "{size} byte payload is too large for the {kind} invocation type (limit {most} bytes)"
            ),
        )
        .with("Type", "User"));
    }
    if !request.payload.is_empty()
        && let Err(e) = serde_json::from_slice::<serde::de::IgnoredAny>(&request.payload)
    {
        return Err(ServiceError::new(
            "InvalidRequestContentException",
            400,
            format!("Could not parse request body into json: {e}"),
        )
        .with("Type", "User"));
    }
    Ok(())
}

/// The client context as the function sees it: JSON behind base64, 3,583 bytes at most.
fn client_context(given: Option<&str>) -> Result<Option<String>, ServiceError> {
    use base64::Engine as _;
    let Some(given) = given.filter(|text| !text.is_empty()) else { return Ok(None) };
    let bad = || {
        ServiceError::new(
            "InvalidRequestContentException",
            400,
            "Could not parse the client context: it has to be base64 of JSON, 3583 bytes at most",
        )
        .with("Type", "User")
    };
    if given.len() > 3_583 {
        return Err(bad());
    }
    let bytes = base64::engine::general_purpose::STANDARD.decode(given).map_err(|_| bad())?;
    let value: serde_json::Value = serde_json::from_slice(&bytes).map_err(|_| bad())?;
    Ok(Some(value.to_string()))
}

#[cfg(test)]
mod tests;

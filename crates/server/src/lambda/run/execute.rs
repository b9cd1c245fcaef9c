//! One invocation from admission to report.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kennel_hosting::function::{Answer, Failed, InitError, Invocation, MAX_OUTPUT, OutputLine};
use kennel_hosting::launch;
use kennel_hosting::process::Exit;
use kennel_scaling::concurrency::Throttle;
use kennel_scaling::routing;
use kennel_wire::ServiceError;
use serde_json::json;
use tokio::sync::oneshot;

use super::environment::{Begin, EnvironmentLog, NotStarted, Target, Warm};
use super::live::Lease;
use super::metrics::Metrics;
use super::report::{self, Report};
use crate::context::Timestamp;
use crate::lambda::Lambda;
use crate::lambda::facts::Resolved;
use crate::service::state_failed;

/// How often the log of an invocation that goes on is written.
const LIVE: Duration = Duration::from_millis(500);

/// An invocation that is to be made.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) request_id: String,
    pub(super) resolved: Arc<Resolved>,
    pub(super) payload: Bytes,
    /// JSON.
    pub(super) client_context: Option<String>,
    pub(super) asynchronous: bool,
}

/// What became of it.
#[derive(Debug)]
pub(super) struct Executed {
    /// The function's value, or its error.
    pub(super) payload: Bytes,
    pub(super) failed: bool,
    pub(super) version: String,
    /// The log's lines, from START to REPORT.
    pub(super) log: Vec<String>,
}

/// Why it was not made.
#[derive(Debug)]
pub(super) enum NotRun {
    Throttled(Throttle),
    Service(ServiceError),
}

impl NotRun {
    /// What the caller reads.
    pub(super) fn into_error(self) -> ServiceError {
        match self {
            NotRun::Service(error) => error,
            NotRun::Throttled(throttle) => {
                ServiceError::new("TooManyRequestsException", 429, throttle.message)
                    .with("Reason", throttle.reason.as_str())
                    .with("Type", "User")
            }
        }
    }
}

/// How the function's part of an invocation ended.
struct Outcome {
    payload: Bytes,
    failed: bool,
    /// How long it worked.
    duration: Duration,
    /// REPORT's `Status` and `Error Type`.
    status: Option<(&'static str, String)>,
    output: Vec<String>,
    /// Lines, with START, that are in the log already.
    written: usize,
    /// Bytes.
    used: u64,
    init: Option<Duration>,
    log: EnvironmentLog,
    /// To be kept for the next one.
    warm: Option<Warm>,
}

impl Lambda {
    /// Runs a function once. It goes on to its end when the caller hangs up, as AWS's does: its environment and
    /// its place are used until then.
    pub(super) async fn execute(&self, run: Run) -> Result<Executed, NotRun> {
        let target = Arc::new(target_of(&run.resolved).map_err(NotRun::Service)?);
        self.refresh().map_err(NotRun::Service)?;
        let now = self.inner.clock.now();
        let qualifier = run.resolved.qualifier.clone();
        let metrics =
            Metrics::new(self.inner.metrics.clone(), &target.function, qualifier.as_deref(), now);
        let admitted = self.inner.live.admit(&target, run.asynchronous, now);
        let (lease, warm, running) = match admitted {
            Ok(admitted) => admitted,
            Err(throttle) => {
                metrics.count("Throttles");
                return Err(NotRun::Throttled(throttle));
            }
        };
        metrics.count("Invocations");
        metrics.value("ConcurrentExecutions", f64::from(running.function), "Count");
        metrics.account("UnreservedConcurrentExecutions", f64::from(running.unreserved));
        if lease.provisioned().is_some() {
            metrics.count("ProvisionedConcurrencyInvocations");
            let (all, busy) = self.inner.live.provisioned_use(&target.function);
            metrics.value("ProvisionedConcurrentExecutions", busy as f64, "Count");
            if all > 0 {
                let share = busy as f64 / all as f64;
                metrics.value("ProvisionedConcurrencyUtilization", share, "None");
            }
        } else if lease.spillover() {
            metrics.count("ProvisionedConcurrencySpilloverInvocations");
        }
        let (reply, answer) = oneshot::channel();
        let lambda = self.clone();
        tokio::spawn(async move { lambda.finish(run, target, lease, warm, metrics, reply).await });
        match answer.await {
            Ok(executed) => executed.map_err(NotRun::Service),
            Err(e) => Err(NotRun::Service(state_failed(&e))),
        }
    }

    async fn finish(
        &self,
        run: Run,
        target: Arc<Target>,
        lease: Lease,
        warm: Option<Warm>,
        metrics: Metrics,
        reply: oneshot::Sender<Result<Executed, ServiceError>>,
    ) {
        let provisioned = lease.provisioned().is_some();
        let outcome = match self.work(&run, &target, warm, provisioned).await {
            Ok(outcome) => outcome,
            Err(error) => {
                metrics.count("Errors");
                drop(lease);
                let _ = reply.send(Err(error));
                return;
            }
        };
        let now = self.inner.clock.now();
        match outcome.warm {
            Some(warm) => lease.finish(warm, now),
            None => drop(lease),
        }
        metrics.value("Errors", if outcome.failed { 1.0 } else { 0.0 }, "Count");
        metrics.value("Duration", outcome.duration.as_secs_f64() * 1000.0, "Milliseconds");
        let report = Report {
            request_id: &run.request_id,
            duration: outcome.duration,
            memory_mb: target.memory_mb,
            used: outcome.used,
            init: outcome.init.filter(|_| !provisioned),
            status: outcome.status.as_ref().map(|(status, error)| (*status, error.as_str())),
        };
        let mut lines = vec![report::start(&run.request_id, &target.version)];
        lines.extend(outcome.output);
        lines.push(report::end(&run.request_id));
        lines.push(report.line());
        let executed = Executed {
            payload: outcome.payload,
            failed: outcome.failed,
            version: target.version.clone(),
            log: lines.clone(),
        };
        // The caller does not wait for the log.
        let _ = reply.send(Ok(executed));
        outcome.log.write(self, lines.get(outcome.written..).unwrap_or_default()).await;
    }

    /// The function's part: an environment, and the event in it.
    async fn work(
        &self,
        run: &Run,
        target: &Target,
        warm: Option<Warm>,
        provisioned: bool,
    ) -> Result<Outcome, ServiceError> {
        let mut warm = match warm {
            Some(warm) => warm,
            None => match self.begin_twice(target, provisioned).await {
                Ok(warm) => warm,
                Err(NotStarted::Service(error)) => return Err(error),
                Err(NotStarted::Init { error, output, log }) => {
                    return Ok(not_begun(run, target, error, output, log));
                }
            },
        };
        let mut output = texts(std::mem::take(&mut warm.output));
        let mut written = 0;
        let now = self.inner.clock.now();
        let answer = {
            let invoke = warm.environment.invoke(invocation(run, target, now));
            tokio::pin!(invoke);
            loop {
                let bytes: usize = output.iter().map(String::len).sum();
                tokio::select! {
                    answer = &mut invoke => break answer,
                    // Who watches the log of a long invocation sees how far it is. What a function prints beyond the
                    // bound of one invocation waits, bounded too, for its end.
                    () = tokio::time::sleep(LIVE), if bytes < MAX_OUTPUT => {
                        output.extend(texts(warm.environment.take_output()));
                        let start = std::iter::once(report::start(&run.request_id, &target.version));
                        let lines: Vec<String> =
                            start.chain(output.iter().cloned()).skip(written).collect();
                        if lines.len() + written > 1 {
                            warm.log.write(self, &lines).await;
                            written += lines.len();
                        }
                    }
                }
            }
        };
        Ok(self.ended(run, target, warm, (output, written), answer))
    }

    /// An environment; what fails to begin is tried once more, with the function's own time limit, as AWS does at
    /// the first invocation.
    async fn begin_twice(&self, target: &Target, provisioned: bool) -> Result<Warm, NotStarted> {
        let kind = if provisioned { "provisioned-concurrency" } else { "on-demand" };
        match self.begin(target, Begin { kind, limit: None }).await {
            Err(NotStarted::Init { error: InitError::TimedOut { .. }, .. }) => {
                self.begin(target, Begin { kind, limit: Some(target.timeout) }).await
            }
            other => other,
        }
    }

    fn ended(
        &self,
        run: &Run,
        target: &Target,
        mut warm: Warm,
        (mut output, written): (Vec<String>, usize),
        answer: Result<Answer, Failed>,
    ) -> Outcome {
        let init = warm.init.take();
        output.extend(texts(warm.environment.take_output()));
        let used = warm.environment.usage();
        let log = warm.log.clone();
        let outcome = Outcome {
            payload: Bytes::new(),
            failed: true,
            duration: Duration::ZERO,
            status: None,
            output,
            written,
            used,
            init,
            log,
            warm: None,
        };
        let id = &run.request_id;
        match answer {
            Ok(answer) => Outcome {
                payload: answer.payload,
                failed: answer.error_type.is_some(),
                duration: answer.duration,
                warm: Some(warm),
                ..outcome
            },
            Err(Failed::TimedOut { after }) => {
                let text =
                    format!("Task timed out after {:.2} seconds", target.timeout.as_secs_f64());
                let mut output = outcome.output;
                output.push(format!("{} {id} {text}", self.inner.clock.now().iso8601()));
                let payload = error("Sandbox.Timedout", &format!("RequestId: {id} Error: {text}"));
                let status = Some(("timeout", String::new()));
                Outcome { payload, duration: after, output, status, ..outcome }
            }
            Err(Failed::Exited { exit, duration }) => exited(
                outcome,
                id,
                duration,
                &format!("Runtime exited with error: {}", words(exit)),
            ),
            Err(Failed::MemoryExceeded { duration, .. }) => {
                let text = "Runtime exited with error: signal: killed";
                let outcome = exited(outcome, id, duration, text);
                let status = Some(("error", "Runtime.OutOfMemory".to_owned()));
                Outcome { used: target.memory_mb << 20, status, ..outcome }
            }
            Err(Failed::TooLarge { bytes, duration }) => {
                let most = kennel_hosting::function::MAX_ANSWER;
                let text = format!(
                    "Response payload size ({bytes} bytes) exceeded maximum allowed payload size ({most} bytes)."
                );
                let payload = error("Function.ResponseSizeTooLarge", &text);
                let status = Some(("error", "Function.ResponseSizeTooLarge".to_owned()));
                Outcome { payload, duration, status, ..outcome }
            }
            Err(Failed::Protocol(text)) => {
                let payload = error("Runtime.Unknown", &format!("RequestId: {id} Error: {text}"));
                Outcome {
                    payload,
                    status: Some(("error", "Runtime.Unknown".to_owned())),
                    ..outcome
                }
            }
        }
    }
}

fn exited(outcome: Outcome, id: &str, duration: Duration, text: &str) -> Outcome {
    let mut output = outcome.output;
    output.push(format!("RequestId: {id} Error: {text}"));
    output.push("Runtime.ExitError".to_owned());
    let payload = error("Runtime.ExitError", &format!("RequestId: {id} Error: {text}"));
    let status = Some(("error", "Runtime.ExitError".to_owned()));
    Outcome { payload, duration, output, status, ..outcome }
}

/// An invocation whose environment could not begin.
fn not_begun(
    run: &Run,
    target: &Target,
    init: InitError,
    output: Vec<OutputLine>,
    log: EnvironmentLog,
) -> Outcome {
    let id = &run.request_id;
    let mut output = texts(output);
    let (payload, duration, kind) = match init {
        InitError::Reported { error_type, body, duration } => {
            // What the runtime sent is the answer, if it is JSON.
            let json = serde_json::from_slice::<serde::de::IgnoredAny>(&body).is_ok();
            let body =
                if json { body } else { error(&error_type, &String::from_utf8_lossy(&body)) };
            (body, duration, error_type)
        }
        InitError::Exited { exit: Exit::Code(code), duration }
            if code == i32::from(launch::FAILED) =>
        {
            let why = output.last().cloned().unwrap_or_default();
            let why = why.trim_start_matches("kennel: ").to_owned();
            let text = format!("RequestId: {id} Error: {why}");
            output.push(format!("{text}\tRuntime.InvalidEntrypoint"));
            (
                error("Runtime.InvalidEntrypoint", &text),
                duration,
                "Runtime.InvalidEntrypoint".to_owned(),
            )
        }
        InitError::Exited { exit, duration } => {
            let text = format!("RequestId: {id} Error: Runtime exited with error: {}", words(exit));
            output.push(format!("{text}\tRuntime.ExitError"));
            (error("Runtime.ExitError", &text), duration, "Runtime.ExitError".to_owned())
        }
        InitError::TimedOut { duration } => {
            let seconds = target.timeout.as_secs_f64();
            let text = format!("RequestId: {id} Error: Task timed out after {seconds:.2} seconds");
            output.push(text.clone());
            (error("Sandbox.Timedout", &text), duration, "Sandbox.Timedout".to_owned())
        }
    };
    Outcome {
        payload,
        failed: true,
        duration,
        status: Some(("error", kind)),
        output,
        written: 0,
        used: 0,
        init: None,
        log,
        warm: None,
    }
}

/// The version that a call reaches: an alias may send a part of its calls to another one.
fn target_of(resolved: &Resolved) -> Result<Target, ServiceError> {
    let Some((other, weight)) = &resolved.also else { return Ok(Target::of(&resolved.version)) };
    let draw = getrandom::u32().map_err(|e| state_failed(&e))?;
    let draw = f64::from(draw) / (f64::from(u32::MAX) + 1.0);
    // Chosen by place, so that names are not compared.
    let weights = [("other", *weight)];
    let picked = routing::pick("primary", &weights, draw);
    Ok(Target::of(if picked == "other" { other } else { &resolved.version }))
}

fn invocation(run: &Run, target: &Target, now: Timestamp) -> Invocation {
    let payload = if run.payload.is_empty() {
        // An event without a payload is an empty object, as AWS's runtimes see it.
        Bytes::from_static(b"{}")
    } else {
        run.payload.clone()
    };
    Invocation {
        request_id: run.request_id.clone(),
        payload,
        function_arn: run.resolved.arn.clone(),
        timeout: target.timeout,
        deadline_ms: now.plus(target.timeout).0,
        client_context: run.client_context.clone(),
        cognito_identity: None,
        trace_id: Some(trace_id(now)),
    }
}

/// X-Ray's form of a trace id; nothing is traced.
fn trace_id(now: Timestamp) -> String {
    let random = uuid::Uuid::new_v4().simple().to_string();
    let (long, rest) = random.split_at(24);
    format!("Root=1-{:08x}-{long};Parent={rest}00000000;Sampled=0", now.0 / 1000)
}

fn error(kind: &str, message: &str) -> Bytes {
    Bytes::from(json!({"errorType": kind, "errorMessage": message}).to_string())
}

/// How a process ended, in Go's words, which Lambda's are.
fn words(exit: Exit) -> String {
    match exit {
        Exit::Code(code) => format!("exit status {code}"),
        Exit::Signal(9) | Exit::MemoryExceeded(_) => "signal: killed".to_owned(),
        Exit::Signal(11) => "signal: segmentation fault".to_owned(),
        Exit::Signal(6) => "signal: aborted".to_owned(),
        Exit::Signal(15) => "signal: terminated".to_owned(),
        Exit::Signal(number) => format!("signal: {number}"),
    }
}

fn texts(lines: Vec<OutputLine>) -> Vec<String> {
    lines.into_iter().map(|line| line.text).collect()
}

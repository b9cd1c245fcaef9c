//! The queue of asynchronous invocations: accepted events are rows, so they survive whatever happens to the
//! server. Each is tried, tried again as `kennel_scaling::retry` says, and in the end its record goes to a
//! destination. Delivery is at least once, as AWS's.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kennel_scaling::retry::{Attempts, Condition, Decision, Outcome, Policy};
use kennel_wire::ServiceError;
use serde_json::{Value, json};
use tokio::sync::{Semaphore, watch};

use super::destination::Record;
use super::execute::{Executed, NotRun, Run};
use super::metrics::Metrics;
use crate::context::{Context, Timestamp};
use crate::lambda::Lambda;
use crate::lambda::error::user;
use crate::lambda::facts::{MAX_WAITING, Resolved};
use crate::lambda::rows::{self, EventInvocation};

/// Events that are worked on at a time, of all functions; each function's own concurrency bounds it further.
const AT_A_TIME: usize = 64;
/// Events that one look at the queue takes.
const LOOK: u32 = 128;
/// How long the queue is left alone where nothing is due.
const LONGEST: Duration = Duration::from_secs(60);
/// How long the queue is left alone when the database cannot answer.
const BROKEN: Duration = Duration::from_secs(1);

impl Lambda {
    /// Accepts an event: when this returns, it is on disk.
    pub(super) async fn accept(
        &self,
        context: &Context,
        resolved: &Resolved,
        payload: bytes::Bytes,
    ) -> Result<(), ServiceError> {
        let event = EventInvocation {
            id: context.request_id.clone(),
            function: resolved.function.name.clone(),
            qualifier: resolved.qualifier.clone(),
            attempts: 0,
            created: context.now,
            due: context.now,
            notes: json!({"functionErrors": 0, "notRun": 0}),
            payload: payload.to_vec(),
        };
        self.push(event).await?;
        let (function, qualifier) = (&resolved.function.name, resolved.qualifier.as_deref());
        let metrics = Metrics::new(self.inner.metrics.clone(), function, qualifier, context.now);
        metrics.count("AsyncEventsReceived");
        Ok(())
    }

    /// Adds an event to the queue and wakes who works it.
    pub(super) async fn push(&self, event: EventInvocation) -> Result<(), ServiceError> {
        if !self.enqueue(event).await? {
            return Err(user(
                "TooManyRequestsException",
                429,
                format!("more than {MAX_WAITING} asynchronous invocations wait for this function"),
            ));
        }
        Ok(())
    }

    /// Works the queue until told to stop; what has begun by then goes on.
    pub(super) async fn work_queue(&self, mut shutdown: watch::Receiver<bool>) {
        let places = Arc::new(Semaphore::new(AT_A_TIME));
        let busy: Arc<Mutex<HashSet<String>>> = Arc::default();
        let lock = |busy: &Mutex<HashSet<String>>| {
            busy.lock().unwrap_or_else(PoisonError::into_inner).clone()
        };
        loop {
            let now = self.inner.clock.now();
            let working = lock(&busy);
            let most = LOOK + u32::try_from(working.len()).unwrap_or(LOOK);
            let due = self.read(|c| rows::due_events(c, now, most));
            let mut wait = LONGEST;
            match due {
                Ok(events) => {
                    for event in events.into_iter().filter(|event| !working.contains(&event.id)) {
                        // Stops here while all places are taken.
                        let place = tokio::select! {
                            _ = shutdown.wait_for(|stop| *stop) => return,
                            place = places.clone().acquire_owned() => place,
                        };
                        let Ok(place) = place else { return };
                        let id = event.id.clone();
                        busy.lock().unwrap_or_else(PoisonError::into_inner).insert(id.clone());
                        let (lambda, busy) = (self.clone(), Arc::clone(&busy));
                        tokio::spawn(async move {
                            lambda.attempt(event).await;
                            busy.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
                            lambda.inner.live.queue.notify_one();
                            drop(place);
                        });
                    }
                    // Those that are due already are worked on; who ends wakes this.
                    match self.read(|c| rows::next_due_after(c, now)) {
                        Ok(Some(due)) => {
                            let left = due.0.saturating_sub(self.inner.clock.now().0).max(0);
                            wait = wait.min(Duration::from_millis(left.unsigned_abs()));
                        }
                        Ok(None) => {}
                        Err(_) => wait = BROKEN,
                    }
                }
                Err(_) => wait = BROKEN,
            }
            tokio::select! {
                _ = shutdown.wait_for(|stop| *stop) => return,
                () = self.inner.queued.notified() => {}
                () = self.inner.live.queue.notified() => {}
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    /// One attempt at an event, and what follows from it.
    async fn attempt(&self, event: EventInvocation) {
        let now = self.inner.clock.now();
        let (policy, handling) = match self.handling(&event) {
            Ok(found) => found,
            Err(error) => return self.later(&event, now, &error).await,
        };
        let metrics = Metrics::new(
            self.inner.metrics.clone(),
            &event.function,
            event.qualifier.as_deref(),
            now,
        );
        let age = now.0.saturating_sub(event.created.0);
        if event.attempts == 0 {
            metrics.value("AsyncEventAge", age as f64, "Milliseconds");
        }
        if policy.expired(age) {
            let condition = Condition::EventAgeExceeded.as_str();
            return self.give_up(&event, &handling, &metrics, condition, None).await;
        }
        let resolved = match self.resolve(&event.function, event.qualifier.as_deref()) {
            Ok(resolved) => resolved,
            Err(error) if error.status < 500 => {
                tracing::warn!("event `{}` is dropped: {error}", event.id);
                metrics.count("AsyncEventsDropped");
                return self.remove(&event).await;
            }
            Err(error) => return self.later(&event, now, &error).await,
        };
        let run = Run {
            request_id: event.id.clone(),
            resolved,
            payload: event.payload.clone().into(),
            client_context: None,
            asynchronous: true,
        };
        let ended = self.execute(run).await;
        let outcome = match &ended {
            Ok(executed) if !executed.failed => {
                if let Some(arn) = &handling.on_success {
                    let record = record(&event, &handling, "Success", Some(executed), now);
                    self.deliver((arn, &handling.role), record, &metrics).await;
                }
                return self.remove(&event).await;
            }
            Ok(_) => Outcome::FunctionError,
            Err(NotRun::Throttled(_)) => Outcome::Throttled,
            Err(NotRun::Service(error)) => {
                tracing::warn!("event `{}` could not be run: {error}", event.id);
                Outcome::SystemError
            }
        };
        let count = |name: &str| {
            let count = event.notes.get(name).and_then(Value::as_u64).unwrap_or_default();
            u32::try_from(count).unwrap_or(u32::MAX)
        };
        let before =
            Attempts { function_errors: count("functionErrors"), not_run: count("notRun") };
        let attempts = before.and(outcome);
        let now = self.inner.clock.now();
        match policy.next(attempts, now.0.saturating_sub(event.created.0), outcome) {
            Decision::RetryAfter(milliseconds) => {
                let due = Timestamp(now.0.saturating_add(milliseconds));
                let notes = json!({
                    "functionErrors": attempts.function_errors,
                    "notRun": attempts.not_run,
                });
                let tried = event.attempts.saturating_add(1);
                if let Err(e) = self.put_off(&event.id, tried, due, notes).await {
                    tracing::error!("event `{}` stays due: {e}", event.id);
                }
            }
            Decision::Discard { condition } => {
                let executed = ended.ok();
                let event = EventInvocation { attempts: event.attempts + 1, ..event };
                let condition = condition.as_str();
                self.give_up(&event, &handling, &metrics, condition, executed.as_ref()).await;
            }
        }
    }

    /// The event's settings: of its qualifier, else none.
    fn handling(&self, event: &EventInvocation) -> Result<(Policy, Handling), ServiceError> {
        let qualifier = event.qualifier.as_deref();
        let settings = self.event_config(&event.function, qualifier)?;
        // The dead-letter queue is the version's; a function that is gone has none.
        let resolved = self.resolve(&event.function, qualifier).ok();
        let configuration = resolved.as_ref().map(|resolved| &resolved.version.configuration);
        let dead_letter = configuration.and_then(|c| c.dead_letter.clone());
        let role = configuration.map(|c| c.role.clone()).unwrap_or_default();
        let policy = Policy {
            maximum_retry_attempts: settings.retries,
            maximum_event_age_s: settings.max_age,
            wait_scale: self.inner.retry_scale,
        };
        let arn = self
            .inner
            .home
            .function_arn(&event.function, Some(event.qualifier.as_deref().unwrap_or("$LATEST")));
        let (on_success, on_failure) = (settings.on_success, settings.on_failure);
        Ok((policy, Handling { arn, role, on_success, on_failure, dead_letter }))
    }

    async fn give_up(
        &self,
        event: &EventInvocation,
        handling: &Handling,
        metrics: &Metrics,
        condition: &str,
        executed: Option<&Executed>,
    ) {
        metrics.count("AsyncEventsDropped");
        let now = self.inner.clock.now();
        if let Some(arn) = &handling.on_failure {
            let record = record(event, handling, condition, executed, now);
            self.deliver((arn, &handling.role), record, metrics).await;
        }
        if let Some(arn) = &handling.dead_letter {
            let message = String::from_utf8_lossy(executed.map_or(&[][..], |e| &e.payload));
            let letter = Record {
                id: event.id.clone(),
                body: serde_json::from_slice(&event.payload).unwrap_or(Value::Null),
                attributes: json!({
                    "RequestID": event.id,
                    "ErrorCode": "200",
                    "ErrorMessage": message.chars().take(1_024).collect::<String>(),
                }),
            };
            self.deliver((arn, &handling.role), letter, metrics).await;
        }
        self.remove(event).await;
    }

    async fn remove(&self, event: &EventInvocation) {
        if let Err(e) = self.done(&event.id).await {
            tracing::error!("event `{}` may run again: {e}", event.id);
        }
    }

    /// The platform could not look: the event waits a little.
    async fn later(&self, event: &EventInvocation, now: Timestamp, error: &ServiceError) {
        tracing::warn!("event `{}` is put off: {error}", event.id);
        let (due, notes) = (now.plus(BROKEN), event.notes.clone());
        let _ = self.put_off(&event.id, event.attempts, due, notes).await;
    }
}

/// What becomes of an event in the end.
struct Handling {
    /// The function's ARN with its qualifier.
    arn: String,
    /// The function's role; empty where the function is gone.
    role: String,
    on_success: Option<String>,
    on_failure: Option<String>,
    dead_letter: Option<String>,
}

/// The record that a destination gets.
/// <https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-retain-records.html>
fn record(
    event: &EventInvocation,
    handling: &Handling,
    condition: &str,
    executed: Option<&Executed>,
    now: Timestamp,
) -> Record {
    let json = |bytes: &[u8]| serde_json::from_slice(bytes).unwrap_or(Value::Null);
    let mut body = json!({
        "version": "1.0",
        "timestamp": now.iso8601(),
        "requestContext": {
            "requestId": event.id,
            "functionArn": handling.arn,
            "condition": condition,
            "approximateInvokeCount": event.attempts.max(1),
        },
        "requestPayload": json(&event.payload),
    });
    if let (Some(executed), Value::Object(body)) = (executed, &mut body) {
        let mut response = json!({"statusCode": 200, "executedVersion": executed.version});
        if executed.failed {
            response["functionError"] = json!("Unhandled");
        }
        body.insert("responseContext".to_owned(), response);
        body.insert("responsePayload".to_owned(), json(&executed.payload));
    }
    Record { id: event.id.clone(), body, attributes: json!({}) }
}

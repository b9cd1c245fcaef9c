//! Application Auto Scaling: scalable targets (variants of endpoints, provisioned concurrency of functions),
//! their policies and scheduled actions, and what was done about them.
//!
//! `resource` is what can be scaled and how, `policy` what a policy's configuration means, `words` what
//! activities say, `rows` the SQL; `targets`, `policies`, `scheduled`, `activities`, `tags` are the
//! operations. Decisions are [`kennel_scaling`]'s, taken in one of two ways for each policy ([`Mode`]):
//! `alarm` takes them when CloudWatch's alarms fire, as AWS does; `fast` twice a second from the load itself.
//! `change` carries them out. `run` is the task: it follows from the rows alone, so that a restart goes on.

mod activities;
mod alarm;
mod change;
mod fast;
mod mode;
mod policies;
mod policy;
mod resource;
mod rows;
mod run;
mod scheduled;
mod tags;
mod targets;
mod words;

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use kennel_store::state::Database;
use kennel_wire::ServiceError;
use rusqlite::Connection;
use serde_json::{Value, json};
use tokio::sync::Notify;

pub use self::mode::Mode;
use self::resource::{Platform, Resource, Resources};
pub use self::rows::MIGRATIONS;
use self::rows::Outcome;
use crate::cloudwatch::alarms::Alarms;
use crate::context::{Clock, Context, Timestamp};
use crate::lambda::Lambda;
use crate::sagemaker::{SageMaker, ScalingGuard};
use crate::service::{Answer, Service, state_failed};

/// What the service is made of.
#[derive(Debug)]
pub(crate) struct Options {
    /// Rows.
    pub database: Database,
    /// What target tracking watches its metrics with.
    pub alarms: Alarms,
    /// Whose variants are scaled.
    pub sagemaker: SageMaker,
    /// Whose provisioned concurrency is scaled.
    pub lambda: Lambda,
    /// The account.
    pub account: String,
    /// How policies decide that no tag says otherwise of.
    pub mode: Mode,
}

/// The service; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Autoscaling {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    database: Database,
    alarms: Alarms,
    resources: Arc<dyn Resources>,
    account: String,
    mode: Mode,
    now: fn() -> Timestamp,
    /// Who decides about a capacity holds it, so that two decisions never start from the same count.
    deciding: tokio::sync::Mutex<()>,
    /// What alarms said when they fired last, by their names.
    fired: Mutex<HashMap<String, alarm::Seen>>,
    /// The load of the variants that are decided about twice a second.
    fast: Mutex<HashMap<Resource, fast::Watch>>,
    /// An activity may not be finished.
    unsettled: AtomicBool,
    /// Targets, policies or tags have changed.
    changed: Notify,
}

/// Items of a page, at most and by default.
const PAGE: usize = 50;

impl Autoscaling {
    /// The service over its state. [`Autoscaling::run`] makes it act.
    pub(crate) fn new(options: Options) -> Self {
        let guard = Guard { database: options.database.clone() };
        options.sagemaker.scaled_by(Arc::new(guard));
        let resources = Platform { sagemaker: options.sagemaker, lambda: options.lambda };
        let inner = Inner {
            database: options.database,
            alarms: options.alarms.clone(),
            resources: Arc::new(resources),
            account: options.account,
            mode: options.mode,
            now: || Clock.now(),
            deciding: tokio::sync::Mutex::default(),
            fired: Mutex::default(),
            fast: Mutex::default(),
            // Those that the last run has left.
            unsettled: AtomicBool::new(true),
            changed: Notify::new(),
        };
        let service = Autoscaling { inner: Arc::new(inner) };
        options.alarms.on_action(Arc::new(alarm::Action::of(&service)));
        service
    }

    /// Reads on the calling thread.
    fn read<T>(&self, work: impl FnOnce(&Connection) -> Outcome<T>) -> Result<T, ServiceError> {
        match self.inner.database.read(work) {
            Ok(outcome) => outcome.map_err(ServiceError::from),
            Err(e) => Err(state_failed(&e)),
        }
    }

    async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Outcome<T> + Send + 'static,
    ) -> Result<T, ServiceError> {
        match self.inner.database.write(work).await {
            Ok(outcome) => outcome.map_err(ServiceError::from),
            Err(e) => Err(state_failed(&e)),
        }
    }

    async fn dispatch(&self, context: &Context, operation: &str, input: Value) -> Answer {
        match operation {
            "RegisterScalableTarget" => self.register(context, &input).await,
            "DescribeScalableTargets" => self.describe_targets(&input),
            "DeregisterScalableTarget" => self.deregister(&input).await,
            "PutScalingPolicy" => self.put_policy(context, &input).await,
            "DescribeScalingPolicies" => self.describe_policies(&input),
            "DeleteScalingPolicy" => self.delete_policy(&input).await,
            "PutScheduledAction" => self.put_scheduled(context, &input).await,
            "DescribeScheduledActions" => self.describe_scheduled(&input),
            "DeleteScheduledAction" => self.delete_scheduled(&input).await,
            "DescribeScalingActivities" => self.describe_activities(&input),
            "TagResource" => self.tag(&input).await,
            "UntagResource" => self.untag(&input).await,
            "ListTagsForResource" => self.list_tags(&input),
            other => Err(ServiceError::not_implemented("application-autoscaling", other)),
        }
    }
}

impl Service for Autoscaling {
    fn name(&self) -> &'static str {
        "application-autoscaling"
    }

    fn call<'a>(
        &'a self,
        context: &'a Context,
        operation: &'a str,
        input: Value,
    ) -> Pin<Box<dyn Future<Output = Answer> + Send + 'a>> {
        Box::pin(self.dispatch(context, operation, input))
    }
}

/// Tells SageMaker what is scaled. It holds the rows alone, and so nobody holds anybody in a circle.
#[derive(Debug)]
struct Guard {
    database: Database,
}

impl ScalingGuard for Guard {
    fn scaled_variants(&self, endpoint: &str) -> Vec<String> {
        let targets = match self.database.read(rows::targets) {
            Ok(Ok(targets)) => targets,
            Ok(Err(refused)) => {
                tracing::error!("what is scaled of `{endpoint}`: {:?}", refused);
                return Vec::new();
            }
            Err(e) => {
                tracing::error!("what is scaled of `{endpoint}`: {e}");
                return Vec::new();
            }
        };
        let variants = targets.into_iter().filter_map(|target| match target.resource {
            Resource::Variant { endpoint: of, variant } if of == endpoint => Some(variant),
            _ => None,
        });
        variants.collect()
    }
}

/// A text member; empty where it is missing, which the model excludes for required ones.
fn text<'a>(input: &'a Value, member: &str) -> &'a str {
    input.get(member).and_then(Value::as_str).unwrap_or_default()
}

/// A text member that may be missing.
fn optional<'a>(input: &'a Value, member: &str) -> Option<&'a str> {
    input.get(member).and_then(Value::as_str)
}

/// The texts of a list member; `None` where it is missing or empty.
fn list<'a>(input: &'a Value, member: &str) -> Option<Vec<&'a str>> {
    let items = input.get(member)?.as_array()?;
    (!items.is_empty()).then(|| items.iter().filter_map(Value::as_str).collect())
}

/// A capacity, at least 0.
fn capacity(input: &Value, member: &str) -> Result<Option<u32>, ServiceError> {
    let Some(given) = input.get(member).and_then(Value::as_i64) else { return Ok(None) };
    match u32::try_from(given) {
        Ok(capacity) => Ok(Some(capacity)),
        Err(_) => {
            Err(ServiceError::validation(format!("{member} cannot be less than 0, but is {given}")))
        }
    }
}

/// The resource that a request names.
fn resource(input: &Value) -> Result<Resource, ServiceError> {
    let namespace = text(input, "ServiceNamespace");
    Resource::parse(namespace, text(input, "ResourceId"), text(input, "ScalableDimension"))
}

/// `ObjectNotFoundException`.
fn not_found(message: String) -> ServiceError {
    ServiceError::new("ObjectNotFoundException", 400, message)
}

/// What AWS says of a target that is not there.
fn no_target(of: &Resource) -> ServiceError {
    not_found(format!("No scalable target registered for {}", place(of)))
}

/// How AWS's messages name a resource.
fn place(of: &Resource) -> String {
    format!(
        "service namespace: {}, resource ID: {of}, scalable dimension: {}",
        of.namespace(),
        of.dimension()
    )
}

/// `LimitExceededException`.
fn too_many(message: String) -> ServiceError {
    ServiceError::new("LimitExceededException", 400, message)
}

/// The size of a page: 1 to 50.
fn page_size(input: &Value) -> Result<usize, ServiceError> {
    match input.get("MaxResults").and_then(Value::as_i64) {
        None => Ok(PAGE),
        Some(given) => match usize::try_from(given) {
            Ok(size @ 1..=PAGE) => Ok(size),
            _ => Err(ServiceError::validation(format!(
                "MaxResults must be between 1 and {PAGE}, but is {given}"
            ))),
        },
    }
}

/// The key of the last item of the page before.
fn after(input: &Value) -> Result<Option<String>, ServiceError> {
    let Some(token) = optional(input, "NextToken") else { return Ok(None) };
    let bytes = URL_SAFE_NO_PAD.decode(token).ok();
    match bytes.and_then(|bytes| String::from_utf8(bytes).ok()) {
        Some(key) => Ok(Some(key)),
        None => Err(ServiceError::new(
            "InvalidNextTokenException",
            400,
            "The next token supplied is invalid",
        )),
    }
}

/// What `after` reads.
fn token(key: &str) -> String {
    URL_SAFE_NO_PAD.encode(key)
}

/// One page of items in the order of their keys, under `member`.
fn paged(
    input: &Value,
    member: &str,
    mut items: Vec<(String, Value)>,
) -> Result<Value, ServiceError> {
    let size = page_size(input)?;
    if let Some(after) = after(input)? {
        items.retain(|(key, _)| *key > after);
    }
    let more = items.len() > size;
    items.truncate(size);
    let next = items.last().filter(|_| more).map(|(key, _)| token(key));
    let shown: Vec<Value> = items.into_iter().map(|(_, item)| item).collect();
    let mut answer = json!({ member: shown });
    if let Some(next) = next {
        answer["NextToken"] = json!(next);
    }
    Ok(answer)
}

/// The targets that a Describe operation asks for.
struct Filter<'a> {
    namespace: &'a str,
    resource: Option<&'a str>,
    dimension: Option<&'a str>,
}

impl<'a> Filter<'a> {
    fn of(input: &'a Value) -> Self {
        Filter {
            namespace: text(input, "ServiceNamespace"),
            resource: optional(input, "ResourceId"),
            dimension: optional(input, "ScalableDimension"),
        }
    }

    fn wants(&self, of: &Resource) -> bool {
        of.namespace() == self.namespace
            && self.resource.is_none_or(|wanted| of.to_string() == wanted)
            && self.dimension.is_none_or(|wanted| of.dimension() == wanted)
    }
}

#[cfg(test)]
mod tests;

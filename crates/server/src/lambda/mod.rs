//! Lambda: functions, versions, aliases, layers and what hangs on them. This is the API's half: it reads and
//! writes rows and keeps code; the dispatcher runs functions by what `facts` answers.
//!
//! Code is in place and flushed before a call answers, so functions are `Active` and updates `Successful` at
//! once. All ARNs have the platform's region, whatever region a request was signed for.

mod aliases;
mod authority;
mod concurrency;
mod configuration;
mod error;
mod events;
mod facts;
mod functions;
mod layers;
mod location;
mod names;
mod package;
mod permissions;
mod rows;
mod run;
mod scale;
mod tags;
mod upload;
mod urls;
mod versions;

use std::collections::{BTreeMap, HashMap};
use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Mutex, OnceLock};

use kennel_hosting::process::Launcher;
use kennel_store::objects::FileStore;
use kennel_store::state::Database;
use kennel_wire::ServiceError;
use rusqlite::Connection;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::sync::Notify;

use self::error::{Outcome, Refused};
use self::names::Home;
use crate::authorize::{Need, PolicyAuthorizer};
use crate::cloudwatch::Recorder;
use crate::context::{Clock, Context};
use crate::iam::Iam;
use crate::logs::Logs;
use crate::service::{Answer, Service, state_failed};

pub use self::rows::MIGRATIONS;
pub(crate) use self::run::MAX_PAYLOAD;
pub use self::run::{InvocationType, InvokeRequest, Invoked, UrlAnswer, UrlRequest, UrlTarget};

/// What the service is made of.
#[derive(Debug)]
pub struct Options {
    /// Rows.
    pub database: Database,
    /// Roles and their credentials.
    pub iam: Iam,
    /// Code that lies in buckets.
    pub objects: FileStore,
    /// Where functions log.
    pub logs: Logs,
    /// Where functions' metrics go.
    pub metrics: Recorder,
    /// Starts children.
    pub launcher: Launcher,
    /// The data folder.
    pub data: PathBuf,
    /// This binary.
    pub kennel: PathBuf,
    /// Interpreters by runtime, from the configuration.
    pub runtimes: BTreeMap<String, PathBuf>,
    /// How children reach this server.
    pub url: String,
    /// Region of all ARNs.
    pub region: String,
    /// The account.
    pub account: String,
    /// What the waits between tries of an asynchronous invocation are multiplied with; AWS's are 1.
    pub retry_scale: f64,
}

/// Why the service cannot start.
#[derive(Debug, thiserror::Error)]
#[error("the folder of functions' code: {0}")]
pub struct LambdaError(#[from] std::io::Error);

/// The service; cheap to clone.
#[derive(Debug, Clone)]
pub struct Lambda {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    database: Database,
    iam: Iam,
    objects: FileStore,
    logs: Logs,
    metrics: Recorder,
    launcher: Launcher,
    data: PathBuf,
    kennel: PathBuf,
    runtimes: BTreeMap<String, PathBuf>,
    url: String,
    home: Home,
    clock: Clock,
    shelf: package::shelf::Shelf,
    signer: location::Signer,
    cache: facts::Cache,
    /// Resource policies, by ARN.
    policies: crate::authorize::Cache<Option<kennel_iam::Policy>>,
    /// What the dispatcher has made of provisioned concurrency, by function and qualifier.
    allocations: Mutex<HashMap<(String, String), facts::Allocation>>,
    /// What a function's role may do where the platform acts for it; set once at the start.
    authorizer: OnceLock<PolicyAuthorizer>,
    /// Environments, and who runs.
    live: Arc<run::Live>,
    retry_scale: f64,
    /// An asynchronous invocation was queued.
    queued: Notify,
}

impl Lambda {
    /// The service over its state.
    ///
    /// # Errors
    /// When the folder of code cannot be made.
    pub fn new(options: Options) -> Result<Self, LambdaError> {
        let shelf = package::shelf::Shelf::open(&options.data, options.database.clone())?;
        run::clear(&options.data)?;
        let signer = location::Signer::new().map_err(std::io::Error::other)?;
        let inner = Inner {
            database: options.database,
            iam: options.iam,
            objects: options.objects,
            logs: options.logs,
            metrics: options.metrics,
            launcher: options.launcher,
            data: options.data,
            kennel: options.kennel,
            runtimes: options.runtimes,
            url: options.url,
            home: Home { account: options.account, region: options.region },
            clock: Clock,
            shelf,
            signer,
            cache: facts::Cache::default(),
            policies: crate::authorize::Cache::default(),
            allocations: Mutex::default(),
            authorizer: OnceLock::new(),
            live: Arc::new(run::Live::new()),
            retry_scale: options.retry_scale,
            queued: Notify::new(),
        };
        Ok(Lambda { inner: Arc::new(inner) })
    }

    /// Who decides what functions' roles may do. The authoriser asks this service for policies, so it is made
    /// after it.
    pub(crate) fn authorize_with(&self, authorizer: PolicyAuthorizer) {
        // The first one stays.
        let _ = self.inner.authorizer.set(authorizer);
    }

    /// May the platform do this for a role?
    ///
    /// # Errors
    /// Why not, in AWS's words.
    fn role_may(&self, role: &str, action: &'static str, resource: String) -> Result<(), String> {
        let Some(authorizer) = self.inner.authorizer.get() else {
            return Err("nobody decides about permissions yet".to_owned());
        };
        let at = (self.inner.clock.now(), self.inner.home.region.as_str());
        authorizer
            .authorize_role(role, &Need::new(action, resource), at)
            .map_err(|denied| denied.message)
    }

    /// Reads on the calling thread.
    fn read<T>(&self, work: impl FnOnce(&Connection) -> Outcome<T>) -> Result<T, ServiceError> {
        match self.inner.database.read(work) {
            Ok(outcome) => outcome.map_err(ServiceError::from),
            Err(e) => Err(state_failed(&e)),
        }
    }

    /// Writes what no resolved name depends on: the queue.
    async fn queue<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Outcome<T> + Send + 'static,
    ) -> Result<T, ServiceError> {
        match self.inner.database.write::<T, Refused, _>(work).await {
            Ok(outcome) => outcome.map_err(ServiceError::from),
            Err(e) => Err(state_failed(&e)),
        }
    }

    /// Writes, forgets resolved names and wakes the dispatcher.
    async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Outcome<T> + Send + 'static,
    ) -> Result<T, ServiceError> {
        // In a task of its own: the commit happens even when the caller hangs up, so must the forgetting.
        let lambda = self.clone();
        let task = tokio::spawn(async move {
            let outcome = lambda.queue(work).await;
            lambda.inner.cache.clear();
            lambda.inner.policies.clear();
            lambda.inner.live.changed();
            outcome
        });
        match task.await {
            Ok(outcome) => outcome,
            Err(e) => Err(state_failed(&e)),
        }
    }

    /// Rows let go of code: deletes what is not used any more.
    async fn release(&self, code: Vec<String>) {
        let shelf = self.inner.shelf.clone();
        let done = tokio::task::spawn_blocking(move || {
            code.iter().for_each(|sha256| shelf.release(sha256));
        });
        if let Err(e) = done.await {
            tracing::error!("unused code was not deleted: {e}");
        }
    }

    async fn dispatch(&self, context: &Context, operation: &str, input: Value) -> Answer {
        match operation {
            "CreateFunction" => self.create_function(context, input).await,
            "GetFunction" => self.get_function(context, &input),
            "GetFunctionConfiguration" => self.get_function_configuration(&input),
            "ListFunctions" => self.list_functions(&input),
            "DeleteFunction" => self.delete_function(&input).await,
            "UpdateFunctionCode" => self.update_function_code(context, input).await,
            "UpdateFunctionConfiguration" => self.update_configuration(context, input).await,
            "PublishVersion" => self.publish_version(context, &input).await,
            "ListVersionsByFunction" => self.list_versions(&input),
            "CreateAlias" => self.create_alias(&input).await,
            "GetAlias" => self.get_alias(&input),
            "UpdateAlias" => self.update_alias(&input).await,
            "DeleteAlias" => self.delete_alias(&input).await,
            "ListAliases" => self.list_aliases(&input),
            "PutFunctionConcurrency" => self.put_reserved(&input).await,
            "GetFunctionConcurrency" => self.get_reserved(&input),
            "DeleteFunctionConcurrency" => self.delete_reserved(&input).await,
            "PutProvisionedConcurrencyConfig" => self.put_provisioned(context, &input).await,
            "GetProvisionedConcurrencyConfig" => self.get_provisioned(&input),
            "ListProvisionedConcurrencyConfigs" => self.list_provisioned(&input),
            "DeleteProvisionedConcurrencyConfig" => self.delete_provisioned(&input).await,
            "GetAccountSettings" => self.get_account_settings(),
            "AddPermission" => self.add_permission(&input).await,
            "RemovePermission" => self.remove_permission(&input).await,
            "GetPolicy" => self.get_policy(&input),
            "CreateFunctionUrlConfig" => self.create_url(context, &input).await,
            "GetFunctionUrlConfig" => self.get_url(context, &input),
            "UpdateFunctionUrlConfig" => self.update_url(context, &input).await,
            "DeleteFunctionUrlConfig" => self.delete_url(&input).await,
            "ListFunctionUrlConfigs" => self.list_urls(context, &input),
            "PutFunctionEventInvokeConfig" => self.put_event_config(context, &input).await,
            "UpdateFunctionEventInvokeConfig" => self.update_event_config(context, &input).await,
            "GetFunctionEventInvokeConfig" => self.get_event_config(&input),
            "DeleteFunctionEventInvokeConfig" => self.delete_event_config(&input).await,
            "ListFunctionEventInvokeConfigs" => self.list_event_configs(&input),
            "PublishLayerVersion" => self.publish_layer(context, input).await,
            "GetLayerVersion" => self.get_layer(context, &input),
            "GetLayerVersionByArn" => self.get_layer_by_arn(context, &input),
            "ListLayers" => self.list_layers(&input),
            "ListLayerVersions" => self.list_layer_versions(&input),
            "DeleteLayerVersion" => self.delete_layer(&input).await,
            "TagResource" => self.tag_resource(&input).await,
            "UntagResource" => self.untag_resource(&input).await,
            "ListTags" => self.list_tags(&input),
            other => Err(ServiceError::not_implemented("lambda", other)),
        }
    }
}

impl Service for Lambda {
    fn name(&self) -> &'static str {
        "lambda"
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

/// A text member; empty where it is missing, which the model excludes for required ones.
fn text<'a>(input: &'a Value, member: &str) -> &'a str {
    input.get(member).and_then(Value::as_str).unwrap_or_default()
}

/// A text member that may be missing.
fn optional<'a>(input: &'a Value, member: &str) -> Option<&'a str> {
    input.get(member).and_then(Value::as_str)
}

/// A whole input as a type of ours; the codec has checked it by the model.
fn typed<T: DeserializeOwned>(input: Value) -> Result<T, ServiceError> {
    serde_json::from_value(input).map_err(|e| ServiceError::validation(e.to_string()))
}

/// A random RevisionId or id.
fn uuid() -> String {
    uuid::Uuid::new_v4().to_string()
}

/// One page of items that are in the order of their keys: `Marker` is the key of the last item of the page
/// before, `MaxItems` at most `most`. Answers the page and the next marker.
fn page<T>(
    input: &Value,
    most: usize,
    items: Vec<T>,
    key: impl Fn(&T) -> String,
) -> (Vec<T>, Option<String>) {
    let asked = input.get("MaxItems").and_then(Value::as_u64);
    let size = asked.and_then(|n| usize::try_from(n).ok()).unwrap_or(most).clamp(1, most);
    let start = match optional(input, "Marker") {
        Some(marker) => items.iter().position(|i| key(i) == marker).map_or(items.len(), |n| n + 1),
        None => 0,
    };
    let more = items.len().saturating_sub(start) > size;
    let shown: Vec<T> = items.into_iter().skip(start).take(size).collect();
    let next = if more { shown.last().map(key) } else { None };
    (shown, next)
}

/// Adds `NextMarker` to a list's answer.
fn with_marker(mut answer: Value, marker: Option<String>) -> Value {
    if let (Some(marker), Some(members)) = (marker, answer.as_object_mut()) {
        members.insert("NextMarker".to_owned(), Value::String(marker));
    }
    answer
}

#[cfg(test)]
mod tests;

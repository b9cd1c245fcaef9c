//! What the dispatcher and the gateway ask of the rows, in one place:
//!
//! * [`Lambda::resolve`] which function, version(s) and alias a caller means (cached until a row changes),
//! * [`Lambda::launch`] everything that an environment of a version is started with,
//! * [`Lambda::all_reserved`], [`Lambda::all_provisioned`], [`Lambda::set_allocation`] concurrency,
//! * [`Lambda::enqueue`], `rows::due_events`, [`Lambda::put_off`], [`Lambda::done`] the queue of accepted
//!   asynchronous invocations, which survives `kill -9`,
//! * [`Lambda::event_config`] retries, age and destinations, the dead-letter queue is in the version's
//!   configuration,
//! * [`Lambda::url`] the function behind a function URL, [`Lambda::resource_policy`] for the authoriser.
//!
//! `Inner::changed` wakes after every change of rows, `Inner::queued` after each [`Lambda::enqueue`].

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use kennel_wire::ServiceError;
use serde_json::{Value, json};

use super::error::{Outcome, no_function};
use super::names::{self, Home, Named};
use super::package::shelf::Hold;
use super::rows::{
    self, AliasRow, EventInvocation, EventRow, FunctionRow, PolicyRow, ProvisionedRow,
    ProvisionedStatus, UrlRow, VersionRow,
};
use super::{Lambda, events, permissions};
use crate::context::Timestamp;

/// What a caller means by a function's name and qualifier.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Resolved {
    /// The function.
    pub function: FunctionRow,
    /// The ARN as invoked: with the qualifier that was given, and without where none was.
    pub arn: String,
    /// The qualifier that was given.
    pub qualifier: Option<String>,
    /// The alias, where the qualifier is one.
    pub alias: Option<AliasRow>,
    /// The version; an alias's main one.
    pub version: VersionRow,
    /// The alias's other version and the share of invocations (0 to 1) that goes to it.
    pub also: Option<(VersionRow, f64)>,
}

/// What provisioned concurrency has become. Only memory has it: environments do not outlive the server.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Allocation {
    /// Environments that are there.
    pub allocated: u32,
    /// Those of them that are ready to take an invocation.
    pub available: u32,
}

/// Provisioned concurrency of a qualifier.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Provisioned {
    /// The function's name.
    pub function: String,
    /// A version's number or an alias's name.
    pub qualifier: String,
    /// What is asked for, and how far that is.
    pub row: ProvisionedRow,
}

/// What an environment of a version is started with. The code stays on the disk while this lives.
#[derive(Debug)]
pub(crate) struct Launch {
    /// The read-only folder of the code (LAMBDA_TASK_ROOT).
    pub code: PathBuf,
    /// The layers' read-only folders, in their order: what later ones bring wins (/opt).
    pub layers: Vec<PathBuf>,
    _holds: Vec<Hold>,
}

/// How asynchronous invocations of a qualifier are handled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EventConfig {
    /// Tries after the first one.
    pub retries: u32,
    /// Seconds after which an invocation is given up.
    pub max_age: u32,
    /// Where a success is reported: a function's or a queue's ARN.
    pub on_success: Option<String>,
    /// Where the end of all tries is reported.
    pub on_failure: Option<String>,
}

/// Invocations that may wait for one function.
pub(crate) const MAX_WAITING: u32 = 10_000;

/// A function's name and the qualifier that was given.
type Key = (String, Option<String>);

/// Names that were resolved since the last change of rows.
#[derive(Debug, Default)]
pub(crate) struct Cache {
    generation: AtomicU64,
    known: Mutex<HashMap<Key, Arc<Resolved>>>,
}

/// More names than this are not remembered.
const MAX_KNOWN: usize = 4096;

impl Cache {
    /// Forgets all.
    pub(super) fn clear(&self) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        // Under the lock, so that no reader of older rows adds them afterwards.
        self.generation.fetch_add(1, Ordering::SeqCst);
        known.clear();
    }

    fn get(&self, key: &Key) -> (u64, Option<Arc<Resolved>>) {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        (self.generation.load(Ordering::SeqCst), known.get(key).cloned())
    }

    fn put(&self, generation: u64, key: Key, value: Arc<Resolved>) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if self.generation.load(Ordering::SeqCst) == generation && known.len() < MAX_KNOWN {
            known.insert(key, value);
        }
    }
}

/// Looks a name up, whatever the qualifier is.
///
/// # Errors
/// `ResourceNotFoundException` where the function, the version or the alias does not exist.
pub(super) fn look_up(c: &rusqlite::Connection, home: &Home, named: &Named) -> Outcome<Resolved> {
    let qualifier = named.qualifier.as_deref();
    let arn = home.function_arn(&named.name, qualifier);
    let missing = || no_function(&arn);
    let function = rows::function(c, &named.name)?.ok_or_else(missing)?;
    let version = |number| -> Outcome<VersionRow> {
        Ok(rows::version(c, &named.name, number)?.ok_or_else(missing)?)
    };
    let (alias, version, also) = match qualifier {
        None => (None, version(0)?, None),
        Some(text) => match names::version_number(text) {
            Some(number) => (None, version(number)?, None),
            None => {
                let alias: AliasRow = rows::setting(c, &named.name, text)?.ok_or_else(missing)?;
                let main = version(alias.version)?;
                let also = match alias.also {
                    Some((number, weight)) => Some((version(number)?, weight)),
                    None => None,
                };
                (Some(alias), main, also)
            }
        },
    };
    Ok(Resolved { function, arn, qualifier: named.qualifier.clone(), alias, version, also })
}

impl Lambda {
    /// What a caller means: `function` is a name, a partial ARN or an ARN, with or without a qualifier;
    /// `qualifier` is the request's.
    ///
    /// # Errors
    /// `ResourceNotFoundException` where it does not exist, `ValidationException` where it is no name,
    /// `InvalidParameterValueException` where two qualifiers differ.
    pub(crate) fn resolve(
        &self,
        function: &str,
        qualifier: Option<&str>,
    ) -> Result<Arc<Resolved>, ServiceError> {
        let home = &self.inner.home;
        let named = names::qualified(function, qualifier, home)?;
        let key = (named.name, named.qualifier);
        let (generation, known) = self.inner.cache.get(&key);
        if let Some(known) = known {
            return Ok(known);
        }
        let named = Named { name: key.0.clone(), qualifier: key.1.clone() };
        let resolved = Arc::new(self.read(|c| look_up(c, home, &named))?);
        self.inner.cache.put(generation, key, resolved.clone());
        Ok(resolved)
    }

    /// What an environment of a version is started with.
    pub(crate) fn launch(&self, version: &VersionRow) -> Launch {
        let shelf = &self.inner.shelf;
        let layers = &version.configuration.layers;
        let mut holds = vec![shelf.hold(&version.code.sha256)];
        holds.extend(layers.iter().map(|layer| shelf.hold(&layer.code.sha256)));
        Launch {
            code: shelf.unpacked(&version.code.sha256),
            layers: layers.iter().map(|layer| shelf.unpacked(&layer.code.sha256)).collect(),
            _holds: holds,
        }
    }

    /// Functions with reserved concurrency: name and number.
    ///
    /// # Errors
    /// When the database cannot answer.
    pub(crate) fn all_reserved(&self) -> Result<Vec<(String, u32)>, ServiceError> {
        let functions = self.read(rows::functions)?;
        Ok(functions.into_iter().filter_map(|f| Some((f.name, f.reserved?))).collect())
    }

    /// All provisioned concurrency, by function and qualifier.
    ///
    /// # Errors
    /// When the database cannot answer.
    pub(crate) fn all_provisioned(&self) -> Result<Vec<Provisioned>, ServiceError> {
        let all = self.read(rows::all_settings::<ProvisionedRow>)?;
        Ok(all
            .into_iter()
            .map(|(function, qualifier, row)| Provisioned { function, qualifier, row })
            .collect())
    }

    /// Says how far provisioned concurrency is. The status is written only where it changed, and only while
    /// the row still asks for `requested`; then it answers true.
    ///
    /// # Errors
    /// When the database refuses.
    pub(crate) async fn set_allocation(
        &self,
        of: &Provisioned,
        allocation: Allocation,
        status: ProvisionedStatus,
        reason: Option<String>,
    ) -> Result<bool, ServiceError> {
        let key = (of.function.clone(), of.qualifier.clone());
        self.allocations().insert(key, allocation);
        let (function, qualifier) = (of.function.clone(), of.qualifier.clone());
        let requested = of.row.requested;
        self.queue(move |c| {
            let row = rows::setting::<ProvisionedRow>(c, &function, &qualifier)?;
            let Some(mut row) = row.filter(|row| row.requested == requested) else {
                return Ok(false);
            };
            if row.status != status || row.reason != reason {
                row.status = status;
                row.reason = reason;
                rows::put_setting(c, &function, &qualifier, &row)?;
            }
            Ok(true)
        })
        .await
    }

    /// What the dispatcher said last of a qualifier.
    pub(super) fn allocation(&self, function: &str, qualifier: &str) -> Allocation {
        let key = (function.to_owned(), qualifier.to_owned());
        self.allocations().get(&key).copied().unwrap_or_default()
    }

    pub(super) fn forget_allocation(&self, function: &str, qualifier: &str) {
        self.allocations().remove(&(function.to_owned(), qualifier.to_owned()));
    }

    fn allocations(&self) -> std::sync::MutexGuard<'_, HashMap<(String, String), Allocation>> {
        self.inner.allocations.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Accepts an asynchronous invocation: when this returns true it is on disk. False where
    /// [`MAX_WAITING`] wait for the function already, or it was deleted meanwhile.
    ///
    /// # Errors
    /// When the database refuses.
    pub(crate) async fn enqueue(&self, event: EventInvocation) -> Result<bool, ServiceError> {
        let added = self.queue(move |c| rows::add_event(c, &event, MAX_WAITING)).await?;
        if added {
            self.inner.queued.notify_one();
        }
        Ok(added)
    }

    /// An invocation was tried `attempts` times and is due again at `due`; `notes` are kept with it.
    ///
    /// # Errors
    /// When the database refuses.
    pub(crate) async fn put_off(
        &self,
        id: &str,
        attempts: u32,
        due: Timestamp,
        notes: Value,
    ) -> Result<(), ServiceError> {
        let id = id.to_owned();
        self.queue(move |c| rows::update_event(c, &id, attempts, due, &notes)).await
    }

    /// An invocation has succeeded, or was given up and reported.
    ///
    /// # Errors
    /// When the database refuses.
    pub(crate) async fn done(&self, id: &str) -> Result<(), ServiceError> {
        let id = id.to_owned();
        self.queue(move |c| rows::remove_event(c, &id)).await
    }

    /// How asynchronous invocations are handled: the qualifier's own settings, AWS's defaults otherwise.
    ///
    /// # Errors
    /// When the database cannot answer.
    pub(crate) fn event_config(
        &self,
        function: &str,
        qualifier: Option<&str>,
    ) -> Result<EventConfig, ServiceError> {
        let qualifier = qualifier.unwrap_or(names::LATEST);
        let row: Option<EventRow> = self.read(|c| rows::setting(c, function, qualifier))?;
        let row = row.unwrap_or_default();
        Ok(EventConfig {
            retries: row.retries.unwrap_or(events::DEFAULT_RETRIES),
            max_age: row.max_age.unwrap_or(events::DEFAULT_AGE),
            on_success: row.on_success,
            on_failure: row.on_failure,
        })
    }

    /// The function behind `/_lambda-url/ID/`: what it means, and the URL's settings. `None` where there is
    /// no such URL.
    ///
    /// # Errors
    /// As [`Lambda::resolve`].
    pub(crate) fn url(&self, id: &str) -> Result<Option<(Arc<Resolved>, UrlRow)>, ServiceError> {
        let Some((function, qualifier, row)) = self.read(|c| rows::url(c, id))? else {
            return Ok(None);
        };
        let qualifier = Some(qualifier.as_str()).filter(|q| !q.is_empty());
        Ok(Some((self.resolve(&function, qualifier)?, row)))
    }

    /// The resource policy of a function, or of the version or alias that the ARN names, as a policy
    /// document; `None` where there is none, or no such function.
    pub fn resource_policy(&self, function_arn: &str) -> Option<String> {
        let named = names::parse(function_arn, &self.inner.home).ok()?;
        let qualifier = permissions::place(named.qualifier.as_deref());
        // A database that cannot answer allows nothing; `read` has logged why.
        let row: Option<PolicyRow> =
            self.read(|c| rows::setting(c, &named.name, qualifier)).ok()?;
        row.map(|row| permissions::document(&row).to_string())
    }

    /// The permission that a function URL's caller needs is asked on this ARN.
    pub(crate) fn url_arn(&self, of: &Resolved) -> String {
        self.inner.home.function_arn(&of.function.name, of.qualifier.as_deref())
    }
}

/// An `Allocation` as answers write it.
pub(super) fn shown(row: &ProvisionedRow, allocation: Allocation) -> Value {
    // The row outlives the environments, the server's start for one.
    let status = match row.status {
        ProvisionedStatus::Ready if allocation.allocated < row.requested => {
            ProvisionedStatus::InProgress
        }
        status => status,
    };
    let mut answer = json!({
        "RequestedProvisionedConcurrentExecutions": row.requested,
        "AvailableProvisionedConcurrentExecutions": allocation.available,
        "AllocatedProvisionedConcurrentExecutions": allocation.allocated,
        "Status": status.name(),
        "LastModified": super::configuration::moment(row.modified, "%Y-%m-%dT%H:%M:%S+0000"),
    });
    if let Some(reason) = &row.reason {
        answer["StatusReason"] = json!(reason);
    }
    answer
}

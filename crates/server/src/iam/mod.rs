//! IAM: users, keys, roles, policies, and the credentials that requests are signed with. What policies
//! allow is decided by [`crate::authorize`], which reads them through [`standing`].
//!
//! Source of operations, limits and texts: <https://docs.aws.amazon.com/IAM/latest/APIReference/>.

mod attachments;
mod context_keys;
mod credentials;
pub(crate) mod entities;
pub(crate) mod error;
pub(crate) mod held;
mod ids;
pub(crate) mod input;
mod last_accessed;
mod managed;
mod operations;
mod policies;
mod roles;
mod root;
mod schema;
pub(crate) mod sessions;
mod simulate;
pub(crate) mod standing;
mod usage;
mod users;

use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use kennel_iam::policy::{Document, Kind as PolicyKind};
use kennel_iam::trust::{self, Party};
use kennel_store::state::rusqlite::{Connection, OptionalExtension as _};
use kennel_store::state::{Database, StateError};
use kennel_wire::ServiceError;
use serde_json::Value;

use self::credentials::Entry;
use self::entities::{Entity, Kind};
use self::error::{Outcome, Refusal, no_such_entity};
use self::input::Call;
use self::operations::Operation;
pub use self::root::{ROOT_CREDENTIALS, RootCredentials, RootError};
pub use self::schema::MIGRATIONS;
use self::sessions::NewSession;
pub use self::sessions::SessionCredentials;
use self::standing::{OfEntity, Standing};
use self::usage::Usage;
use crate::authorize::Cache;
use crate::context::{Caller, Context, Principal, Timestamp};
use crate::identity::{Credentials, Secret, Unknown};
use crate::service::{Answer, Service};

/// The role that the first start makes, as a notebook instance would have one.
pub const DEFAULT_ROLE: &str = "AmazonSageMaker-ExecutionRole";
const DEFAULT_ROLE_PATH: &str = "/service-role/";
/// What that role may do: what the course's notebooks and `kennel env`'s shell do with it, IAM and Lambda
/// included. It is far more than a training job needs, and `kennel audit` says so.
const DEFAULT_POLICIES: [&str; 9] = [
    "AmazonSageMakerFullAccess",
    "AmazonS3FullAccess",
    "IAMFullAccess",
    "AWSLambda_FullAccess",
    "CloudWatchLogsFullAccess",
    "CloudWatchReadOnlyAccess",
    // For alarms: their states are set by hand, and their actions switched off.
    "CloudWatchFullAccess",
    // For `kennel iam` and `kennel audit`.
    "AWSCloudTrail_ReadOnlyAccess",
    "IAMAccessAnalyzerFullAccess",
];

/// A policy of the role's own, for what none of AWS's above allows: the tags of scalable targets, by which the
/// mode of scaling is chosen.
const DEFAULT_INLINE: (&str, &str) = (
    "ScalableTargetTags",
    r#"{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": ["application-autoscaling:TagResource", "application-autoscaling:UntagResource", "application-autoscaling:ListTagsForResource"], "Resource": "*"}]}"#,
);

/// IAM's handle; cheap to clone.
#[derive(Debug, Clone)]
pub struct Iam {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    database: Database,
    account: String,
    root: RootCredentials,
    cache: Cache<Entry>,
    /// By access key.
    standings: Cache<Standing>,
    /// By the id of the user or role.
    entities: Cache<OfEntity>,
    usage: Usage,
}

/// Why IAM cannot start.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The database.
    #[error(transparent)]
    State(#[from] StateError),
    /// The root's keys.
    #[error(transparent)]
    Root(#[from] RootError),
    /// The database refused the first rows.
    #[error("the account cannot be set up: {0}")]
    Setup(String),
    /// Only the owner may read the database, and that could not be arranged.
    #[error("state database `{path}` cannot be made private: {source}", path = path.display())]
    Private {
        /// The file.
        path: PathBuf,
        /// The system's words.
        source: std::io::Error,
    },
    /// The data folder is another account's.
    #[error(
        "the data folder belongs to account {found}, not to {wanted}\nhint: leave the account out, or use another `--data-dir`"
    )]
    OtherAccount {
        /// Whose it is.
        found: String,
        /// What was asked for.
        wanted: String,
    },
    /// Not 12 digits.
    #[error("`{0}` is not an account id\nhint: give 12 digits, or leave it out")]
    BadAccount(String),
}

impl Iam {
    /// Opens IAM over a database that was opened with [`MIGRATIONS`]. The first start in a data folder makes
    /// the account (its id random unless given), the root's keys (`root-credentials.json`, mode 0600) and the
    /// default execution role. The database file becomes readable for its owner only, as it holds secrets.
    ///
    /// # Errors
    /// When the folder is another account's, or disk or database refuse.
    pub async fn open(
        database: Database,
        data_dir: &Path,
        account: Option<&str>,
        now: Timestamp,
    ) -> Result<Self, OpenError> {
        let digits = |id: &str| id.len() == 12 && id.bytes().all(|b| b.is_ascii_digit());
        if let Some(bad) = account.filter(|id| !digits(id) || id.bytes().all(|b| b == b'0')) {
            return Err(OpenError::BadAccount(bad.to_owned()));
        }
        for suffix in ["", "-wal", "-shm"] {
            let mut path = database.path().as_os_str().to_owned();
            path.push(suffix);
            let path = PathBuf::from(path);
            root::only_owner(&path).map_err(|source| OpenError::Private { path, source })?;
        }
        let given = account.map(str::to_owned);
        let found = database
            .write(move |c| first_start(c, given, now))
            .await?
            .map_err(|refusal| OpenError::Setup(ServiceError::from(refusal).message))?;
        if let Some(wanted) = account.filter(|wanted| *wanted != found) {
            return Err(OpenError::OtherAccount { found, wanted: wanted.to_owned() });
        }
        let root = RootCredentials::read_or_make(data_dir, &found)?;
        Ok(Iam {
            shared: Arc::new(Shared {
                database,
                account: found,
                root,
                cache: Cache::default(),
                standings: Cache::default(),
                entities: Cache::default(),
                usage: Usage::default(),
            }),
        })
    }

    /// The account's id, 12 digits.
    pub fn account(&self) -> &str {
        &self.shared.account
    }

    /// The root's keys.
    pub fn root(&self) -> &RootCredentials {
        &self.shared.root
    }

    /// The ARN of the default execution role, whether or not it still exists.
    pub fn default_role_arn(&self) -> String {
        entities::arn(self.account(), Kind::Role, DEFAULT_ROLE_PATH, DEFAULT_ROLE)
    }

    /// A session of the default execution role, named `SageMaker` as on a notebook instance.
    ///
    /// # Errors
    /// `NoSuchEntity` when the role was deleted.
    pub async fn default_session(
        &self,
        now: Timestamp,
        duration: Duration,
    ) -> Result<SessionCredentials, ServiceError> {
        self.session_for_role(&self.default_role_arn(), "SageMaker", now, duration).await
    }

    /// A session of a role for what the platform itself runs (training jobs, functions). The trust policy
    /// is not asked again: [`Iam::check_pass_role`] did so when the role was passed.
    ///
    /// # Errors
    /// `NoSuchEntity` when there is no such role (any more), `ValidationError` for a bad session name.
    pub async fn session_for_role(
        &self,
        role_arn: &str,
        session_name: &str,
        now: Timestamp,
        duration: Duration,
    ) -> Result<SessionCredentials, ServiceError> {
        let (account, arn) = (self.account().to_owned(), role_arn.to_owned());
        let name = session_name.to_owned();
        self.add(move |c| {
            let session = NewSession {
                owner: None,
                name: Some(&name),
                policy: None,
                details: None,
                now,
                duration,
            };
            sessions::of_role(c, &account, &arn, &session)
        })
        .await
    }

    /// May `caller` hand this role to a service (`sagemaker.amazonaws.com`)? The role must exist in this
    /// account and its trust policy must let the service take it. Whether the caller's own policies allow
    /// `iam:PassRole` is the authorizer's question.
    ///
    /// # Errors
    /// `ValidationException` with SageMaker's text; for Lambda `InvalidParameterValueException` with Lambda's.
    pub fn check_pass_role(
        &self,
        caller: &Caller,
        role_arn: &str,
        service: &str,
    ) -> Result<(), ServiceError> {
        let account = self.account();
        let role = self.read(|c| sessions::role(c, account, role_arn))?;
        let source = [("aws:SourceAccount", Some(account))];
        let trusted = caller.account == account
            && role.is_some_and(|role| {
                Document::parse(&role.trust, PolicyKind::Trust).is_ok_and(|document| {
                    trust::allows(&document, "sts:AssumeRole", Party::Service(service), &source)
                })
            });
        if trusted {
            return Ok(());
        }
        Err(if service.starts_with("lambda.") {
            let text = "The role defined for the function cannot be assumed by Lambda.";
            ServiceError::new("InvalidParameterValueException", 400, text)
        } else {
            ServiceError::validation(format!(
                "Could not assume role {role_arn}. Please ensure that the role exists and allows principal '{service}' to assume the role."
            ))
        })
    }

    /// Remembers that a key signed a request for a service, for GetAccessKeyLastUsed and `RoleLastUsed`. Only
    /// memory is touched; [`Iam::maintain`] writes it down.
    pub fn note_use(&self, caller: &Caller, service: &str, region: &str, now: Timestamp) {
        self.shared.usage.note(caller, service, region, now);
    }

    /// To be called about once a minute and at the end: writes last uses down and clears away sessions that
    /// expired long ago.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn maintain(&self, now: Timestamp) -> Result<(), ServiceError> {
        let uses = self.shared.usage.take();
        self.add(move |c| {
            usage::write(c, &uses)?;
            sessions::purge(c, now).map(drop)
        })
        .await
    }

    /// Reads on the calling thread.
    pub(crate) fn read<T>(
        &self,
        work: impl FnOnce(&Connection) -> Outcome<T>,
    ) -> Result<T, ServiceError> {
        match self.shared.database.read(work) {
            Ok(outcome) => outcome.map_err(ServiceError::from),
            Err(e) => Err(crate::service::state_failed(&e)),
        }
    }

    /// Writes what no cached key or policy depends on.
    pub(crate) async fn add<T, F>(&self, work: F) -> Result<T, ServiceError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Outcome<T> + Send + 'static,
    {
        match self.shared.database.write::<T, Refusal, F>(work).await {
            Ok(outcome) => outcome.map_err(ServiceError::from),
            Err(e) => Err(crate::service::state_failed(&e)),
        }
    }

    /// Writes, and forgets cached keys and policies before answering.
    async fn write<T, F>(&self, work: F) -> Result<T, ServiceError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Outcome<T> + Send + 'static,
    {
        // In a task of its own: the commit happens even when the caller hangs up, so must the forgetting.
        let iam = self.clone();
        let task = tokio::spawn(async move {
            let outcome = iam.add(work).await;
            iam.shared.cache.clear();
            // In this order: a standing is made of entities.
            iam.shared.entities.clear();
            iam.shared.standings.clear();
            outcome
        });
        match task.await {
            Ok(outcome) => outcome,
            Err(e) => Err(crate::service::state_failed(&e)),
        }
    }
}

/// The account's id; makes the account when there is none yet.
fn first_start(c: &Connection, given: Option<String>, now: Timestamp) -> Outcome<String> {
    let there: Option<String> = c
        .prepare_cached("SELECT account FROM iam_account WHERE one = 1")?
        .query_row([], |row| row.get(0))
        .optional()?;
    if let Some(account) = there {
        return Ok(account);
    }
    let account = match given {
        Some(account) => account,
        None => ids::account()?,
    };
    c.execute("INSERT INTO iam_account (one, account) VALUES (1, ?1)", [&account])?;
    let trust = serde_json::json!({
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Principal": {"Service": ["sagemaker.amazonaws.com", "lambda.amazonaws.com"]},
                "Action": "sts:AssumeRole",
            },
            {
                "Effect": "Allow",
                "Principal": {"AWS": format!("arn:aws:iam::{account}:root")},
                "Action": "sts:AssumeRole",
            },
        ],
    });
    let role = Entity {
        id: ids::unique(Kind::Role.id_prefix())?,
        kind: Kind::Role,
        name: DEFAULT_ROLE.to_owned(),
        path: DEFAULT_ROLE_PATH.to_owned(),
        created: now.0,
        boundary: None,
        tags: Vec::new(),
        trust: trust.to_string(),
        description: Some("Default execution role, made by Kennel at its first start".to_owned()),
        // The longest that AWS allows, so that `kennel env` lasts a working day.
        max_session: 43_200,
        used: None,
        used_region: None,
    };
    entities::insert(c, &role)?;
    for name in DEFAULT_POLICIES {
        attachments::insert(c, &role.id, &format!("arn:aws:iam::aws:policy/{name}"))?;
    }
    let (name, document) = DEFAULT_INLINE;
    c.execute(
        "INSERT INTO iam_inline (owner, name, document) VALUES (?1, ?2, ?3)",
        [&role.id, name, document],
    )?;
    Ok(account)
}

impl Credentials for Iam {
    fn lookup(&self, access_key: &str, now: Timestamp) -> Result<Secret, Unknown> {
        let Shared { root, account, cache, .. } = &*self.shared;
        if access_key == root.access_key_id {
            let caller = credentials::caller(account, Principal::Root, access_key);
            return Entry::lasting(&root.secret_access_key, caller).at(now);
        }
        // AWS's keys have 20 characters; nothing longer is worth a query.
        if !(16..=128).contains(&access_key.len()) {
            return Err(Unknown::NoSuchKey);
        }
        let (generation, known) = cache.get(access_key);
        if let Some(entry) = known {
            return entry.at(now);
        }
        // A database that cannot answer lets nobody in; `read` has logged why.
        let found = self
            .read(|c| credentials::load(c, account, access_key))
            .map_err(|_| Unknown::NoSuchKey)?;
        let entry = Arc::new(found.ok_or(Unknown::NoSuchKey)?);
        cache.put(generation, access_key, Arc::clone(&entry));
        entry.at(now)
    }
}

impl Service for Iam {
    fn name(&self) -> &'static str {
        "iam"
    }

    fn call<'a>(
        &'a self,
        context: &'a Context,
        operation: &'a str,
        input: Value,
    ) -> Pin<Box<dyn Future<Output = Answer> + Send + 'a>> {
        Box::pin(async move {
            let call = Call::new(self.account(), context, input);
            if matches!(operation, "GetAccessKeyLastUsed" | "GetRole") {
                self.maintain(context.now).await?;
            }
            if operation == "GenerateServiceLastAccessedDetails" {
                return last_accessed::generate(self, &call, &context.region).await;
            }
            match operations::find(operation) {
                Some(Operation::Read(run)) => self.read(|c| run(&call, c)),
                Some(Operation::Apart(run)) => self.read_apart(move |c| run(&call, c)).await,
                Some(Operation::Write(run)) => self.write(move |c| run(&call, c)).await,
                None => Err(ServiceError::not_implemented("iam", operation)),
            }
        })
    }
}

/// The role that AssumeRole names, with its trust policy; `None` when there is none.
pub(crate) fn role_and_trust(
    c: &Connection,
    account: &str,
    arn: &str,
) -> Outcome<Option<(Entity, Document)>> {
    let Some(role) = sessions::role(c, account, arn)? else { return Ok(None) };
    // What is stored has been checked; if it no longer parses, nobody is trusted.
    Ok(Document::parse(&role.trust, PolicyKind::Trust).ok().map(|document| (role, document)))
}

/// The account of an access key that this server knows.
pub(crate) fn knows_key(iam: &Iam, key: &str) -> Result<bool, ServiceError> {
    if key == iam.shared.root.access_key_id {
        return Ok(true);
    }
    iam.read(|c| credentials::load(c, iam.account(), key)).map(|found| found.is_some())
}

/// The id of a caller's user or role, which must still exist.
pub(crate) fn owner(c: &Connection, principal: &Principal) -> Outcome<Option<String>> {
    let (id, name) = match principal {
        Principal::Root => return Ok(None),
        Principal::User { id, name, .. } => (id, name),
        Principal::Role { id, role, .. } => (id, role),
    };
    let there: bool = c
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM iam_entities WHERE id = ?1)")?
        .query_row([id], |row| row.get(0))?;
    if there {
        Ok(Some(id.clone()))
    } else {
        Err(no_such_entity(format!("The user with name {name} cannot be found.")).into())
    }
}

#[cfg(test)]
pub(crate) mod tests;

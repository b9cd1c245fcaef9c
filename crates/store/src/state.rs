//! The state database: one SQLite file in WAL mode with one writer. Writers hand closures to the
//! writer thread, which commits everything that is waiting in one transaction (each closure inside a
//! savepoint of its own) and answers only after the commit: what was acknowledged survives `kill -9`.
//! Readers use their own connections and never wait for the writer.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kennel_base::{ErrorCode, ErrorCoded};
pub use rusqlite;
use rusqlite::{Connection, OpenFlags};
use tokio::sync::{mpsc, oneshot};

/// One component's schema: statements that are applied once, in order. Only ever append.
#[derive(Debug, Clone, Copy)]
pub struct Migrations {
    /// The component, e.g. `sagemaker`.
    pub component: &'static str,
    /// SQL scripts; the number of a script is its place.
    pub scripts: &'static [&'static str],
}

/// Why the database could not be opened, read or written.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// SQLite refused.
    #[error("state database `{path}`: {source}", path = path.display())]
    Sqlite {
        /// The database file.
        path: PathBuf,
        /// SQLite's words.
        source: rusqlite::Error,
    },
    /// The disk is full.
    #[error(
        "state database `{path}`: no space left on the disk; nothing that was acknowledged is lost\nhint: free some space and repeat the request",
        path = path.display()
    )]
    Full {
        /// The database file.
        path: PathBuf,
    },
    /// The database was written by a newer Kennel.
    #[error(
        "state database `{path}` has {found} migrations of `{component}`, this Kennel knows {known}\nhint: use the Kennel that wrote it, or another `--data-dir`",
        path = path.display()
    )]
    Newer {
        /// The database file.
        path: PathBuf,
        /// Whose migrations.
        component: String,
        /// How many are in the file.
        found: usize,
        /// How many this binary has.
        known: usize,
    },
    /// The writer has stopped.
    #[error("state database is closed\nhint: the server is stopping; repeat the request")]
    Closed,
}

impl ErrorCoded for StateError {
    fn code(&self) -> ErrorCode {
        match self {
            StateError::Newer { .. } => ErrorCode::InvalidInput,
            StateError::Full { .. } | StateError::Closed => ErrorCode::Unavailable,
            StateError::Sqlite { .. } => ErrorCode::Internal,
        }
    }
}

/// Runs inside the writer's transaction; tells it whether to keep its savepoint.
type Job = Box<dyn FnOnce(&Connection) -> Done + Send>;
/// Sends the answer once the commit's outcome is known.
type Done = Box<dyn FnOnce(Result<(), StateError>) + Send>;

/// A handle on the database; cheap to clone.
#[derive(Clone)]
pub struct Database {
    shared: Arc<Shared>,
}

struct Shared {
    path: PathBuf,
    jobs: mpsc::Sender<Job>,
    readers: Mutex<Vec<Connection>>,
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Database").field("path", &self.shared.path).finish_non_exhaustive()
    }
}

/// Closures that may wait for the writer; more callers wait in their own tasks.
const WAITING: usize = 1024;
/// Closures of one transaction at most.
const BATCH: usize = 256;
/// Idle read connections that are kept.
const READERS: usize = 8;

impl Database {
    /// Opens or creates the database and applies the migrations that it lacks.
    ///
    /// # Errors
    /// When the file cannot be opened, is no database, or was written by a newer Kennel.
    pub fn open(path: &Path, migrations: &[Migrations]) -> Result<Self, StateError> {
        let failed = |source| sqlite(path, source);
        let mut connection = Connection::open(path).map_err(failed)?;
        configure(&connection).map_err(failed)?;
        migrate(path, &mut connection, migrations)?;
        let (jobs, receiver) = mpsc::channel(WAITING);
        let own = path.to_owned();
        std::thread::Builder::new()
            .name("state-writer".to_owned())
            .spawn(move || write_until_closed(&own, connection, receiver))
            .map_err(|e| failed(rusqlite::Error::ToSqlConversionFailure(Box::new(e))))?;
        let shared = Shared { path: path.to_owned(), jobs, readers: Mutex::new(Vec::new()) };
        Ok(Database { shared: Arc::new(shared) })
    }

    /// Runs `work` in the writer's transaction. When this returns `Ok(Ok(_))` the change is on disk;
    /// when `work` answers an error, its changes (and only its own) are undone.
    ///
    /// # Errors
    /// When the commit failed or the writer has stopped; `work`'s own errors come inside.
    pub async fn write<T, E, F>(&self, work: F) -> Result<Result<T, E>, StateError>
    where
        T: Send + 'static,
        E: From<rusqlite::Error> + Send + 'static,
        F: FnOnce(&Connection) -> Result<T, E> + Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        let job = self.job(work, answer);
        self.shared.jobs.send(job).await.map_err(|_| StateError::Closed)?;
        answered.await.map_err(|_| StateError::Closed)?
    }

    /// [`Database::write`] for threads that are not in an async runtime.
    ///
    /// # Errors
    /// As [`Database::write`].
    pub fn write_blocking<T, E, F>(&self, work: F) -> Result<Result<T, E>, StateError>
    where
        T: Send + 'static,
        E: From<rusqlite::Error> + Send + 'static,
        F: FnOnce(&Connection) -> Result<T, E> + Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        let job = self.job(work, answer);
        self.shared.jobs.blocking_send(job).map_err(|_| StateError::Closed)?;
        answered.blocking_recv().map_err(|_| StateError::Closed)?
    }

    fn job<T, E, F>(
        &self,
        work: F,
        answer: oneshot::Sender<Result<Result<T, E>, StateError>>,
    ) -> Job
    where
        T: Send + 'static,
        E: From<rusqlite::Error> + Send + 'static,
        F: FnOnce(&Connection) -> Result<T, E> + Send + 'static,
    {
        Box::new(move |connection| {
            let outcome = savepoint(connection, work);
            Box::new(move |committed| {
                // The caller may have gone; the change stands all the same.
                let _ = answer.send(committed.map(|()| outcome));
            })
        })
    }

    /// Runs a short query on a read connection, on the calling thread.
    ///
    /// # Errors
    /// When no connection can be opened; `work`'s own errors come inside.
    pub fn read<T, E, F>(&self, work: F) -> Result<Result<T, E>, StateError>
    where
        F: FnOnce(&Connection) -> Result<T, E>,
    {
        let idle = lock(&self.shared.readers).pop();
        let connection = match idle {
            Some(connection) => connection,
            None => self.reader().map_err(|e| sqlite(&self.shared.path, e))?,
        };
        let outcome = work(&connection);
        let mut readers = lock(&self.shared.readers);
        if readers.len() < READERS {
            readers.push(connection);
        }
        Ok(outcome)
    }

    /// The database file.
    pub fn path(&self) -> &Path {
        &self.shared.path
    }

    fn reader(&self) -> rusqlite::Result<Connection> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&self.shared.path, flags)?;
        connection.busy_timeout(Duration::from_secs(5))?;
        connection.set_prepared_statement_cache_capacity(64);
        Ok(connection)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn sqlite(path: &Path, source: rusqlite::Error) -> StateError {
    if source.sqlite_error_code() == Some(rusqlite::ErrorCode::DiskFull) {
        StateError::Full { path: path.to_owned() }
    } else {
        StateError::Sqlite { path: path.to_owned(), source }
    }
}

fn configure(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(Duration::from_secs(5))?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    // FULL: a commit is on disk before it is acknowledged, also when the power fails.
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", "ON")?;
    connection.set_prepared_statement_cache_capacity(128);
    Ok(())
}

fn migrate(
    path: &Path,
    connection: &mut Connection,
    migrations: &[Migrations],
) -> Result<(), StateError> {
    let failed = |source| sqlite(path, source);
    let transaction = connection
        .transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)
        .map_err(failed)?;
    transaction
        .execute_batch(
            "CREATE TABLE IF NOT EXISTS migrations (
                component TEXT PRIMARY KEY, applied INTEGER NOT NULL) WITHOUT ROWID, STRICT;",
        )
        .map_err(failed)?;
    for component in migrations {
        let applied: i64 = transaction
            .query_row(
                "SELECT coalesce(max(applied), 0) FROM migrations WHERE component = ?1",
                [component.component],
                |row| row.get(0),
            )
            .map_err(failed)?;
        let applied = usize::try_from(applied).unwrap_or(0);
        if applied > component.scripts.len() {
            return Err(StateError::Newer {
                path: path.to_owned(),
                component: component.component.to_owned(),
                found: applied,
                known: component.scripts.len(),
            });
        }
        for script in component.scripts.iter().skip(applied) {
            transaction.execute_batch(script).map_err(failed)?;
        }
        let now = i64::try_from(component.scripts.len()).unwrap_or(i64::MAX);
        transaction
            .execute(
                "INSERT INTO migrations VALUES (?1, ?2)
                 ON CONFLICT (component) DO UPDATE SET applied = excluded.applied",
                rusqlite::params![component.component, now],
            )
            .map_err(failed)?;
    }
    transaction.commit().map_err(failed)
}

fn savepoint<T, E: From<rusqlite::Error>>(
    connection: &Connection,
    work: impl FnOnce(&Connection) -> Result<T, E>,
) -> Result<T, E> {
    connection.prepare_cached("SAVEPOINT job")?.execute([])?;
    let outcome = work(connection);
    if outcome.is_err() {
        connection.prepare_cached("ROLLBACK TO job")?.execute([])?;
    }
    connection.prepare_cached("RELEASE job")?.execute([])?;
    outcome
}

fn write_until_closed(path: &Path, connection: Connection, mut jobs: mpsc::Receiver<Job>) {
    while let Some(first) = jobs.blocking_recv() {
        let mut done: Vec<Done> = Vec::new();
        let outcome = (|| {
            connection.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
            done.push(first(&connection));
            while done.len() < BATCH {
                match jobs.try_recv() {
                    Ok(job) => done.push(job(&connection)),
                    Err(_) => break,
                }
            }
            connection.prepare_cached("COMMIT")?.execute([]).map(|_| ())
        })();
        if outcome.is_err() && !connection.is_autocommit() {
            // Nothing of this batch was acknowledged; leave the connection ready for the next.
            let _ = connection.execute_batch("ROLLBACK");
        }
        for answer in done {
            answer(match &outcome {
                Ok(()) => Ok(()),
                Err(e) => Err(sqlite(path, copy(e))),
            });
        }
    }
}

/// `rusqlite::Error` cannot be cloned; its code and words are what the callers need.
fn copy(error: &rusqlite::Error) -> rusqlite::Error {
    match error {
        rusqlite::Error::SqliteFailure(code, text) => {
            rusqlite::Error::SqliteFailure(*code, text.clone())
        }
        other => rusqlite::Error::ToSqlConversionFailure(other.to_string().into()),
    }
}

#[cfg(test)]
mod tests;

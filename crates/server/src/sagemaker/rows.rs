//! SageMaker's resources in the state database: one row a resource, its document as JSON. Every change
//! goes through [`Rows::change`], which reads, decides and writes inside one transaction.

use kennel_store::state::{Database, Migrations};
use kennel_wire::ServiceError;
use rusqlite::{Connection, OptionalExtension, params};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::context::Timestamp;
use crate::service::{Refused, state_failed};

/// The tables.
pub const MIGRATIONS: Migrations = Migrations {
    component: "sagemaker",
    scripts: &["
        CREATE TABLE sagemaker_resources (
            kind TEXT NOT NULL,
            name TEXT NOT NULL,
            created INTEGER NOT NULL,
            document TEXT NOT NULL,
            PRIMARY KEY (kind, name)
        ) WITHOUT ROWID, STRICT;
        CREATE INDEX sagemaker_by_time ON sagemaker_resources (kind, created);
        CREATE TABLE sagemaker_tags (
            arn TEXT NOT NULL,
            key TEXT NOT NULL,
            value TEXT NOT NULL,
            PRIMARY KEY (arn, key)
        ) WITHOUT ROWID, STRICT;
    "],
};

/// A kind of resource: its document's type and the word in its key.
pub(super) trait Row: Serialize + DeserializeOwned + Clone + Send + 'static {
    /// `training-job`, as in ARNs.
    const KIND: &'static str;
    /// When it was created; never changes.
    fn created(&self) -> Timestamp;
}

/// The rows of all kinds.
#[derive(Debug, Clone)]
pub(super) struct Rows {
    database: Database,
}

impl Rows {
    pub(super) fn new(database: Database) -> Self {
        Rows { database }
    }

    /// The resource, if it exists.
    pub(super) fn get<R: Row>(&self, name: &str) -> Result<Option<R>, ServiceError> {
        self.database
            .read(|c| load::<R>(c, name))
            .map_err(|e| state_failed(&e))?
            .map_err(ServiceError::from)
    }

    /// All resources of a kind, oldest first.
    pub(super) fn all<R: Row>(&self) -> Result<Vec<(String, R)>, ServiceError> {
        let texts = self
            .database
            .read(|c| {
                let mut statement = c.prepare_cached(
                    "SELECT name, document FROM sagemaker_resources WHERE kind = ?1 ORDER BY created, name",
                )?;
                statement
                    .query_map([R::KIND], |row| Ok((row.get(0)?, row.get(1)?)))?
                    .collect::<rusqlite::Result<Vec<(String, String)>>>()
            })
            .map_err(|e| state_failed(&e))?
            .map_err(|e| state_failed(&e))?;
        texts.into_iter().map(|(name, text)| Ok((name, parse(&text)?))).collect()
    }

    /// The resources of a kind whose names begin with `prefix`, by name.
    pub(super) fn with_prefix<R: Row>(
        &self,
        prefix: &str,
    ) -> Result<Vec<(String, R)>, ServiceError> {
        // Names are of ASCII letters, digits and hyphens, all below this.
        let end = format!("{prefix}\u{7f}");
        let texts = self
            .database
            .read(|c| {
                let mut statement = c.prepare_cached(
                    "SELECT name, document FROM sagemaker_resources WHERE kind = ?1 AND name >= ?2 AND name < ?3 ORDER BY name",
                )?;
                statement
                    .query_map([R::KIND, prefix, &end], |row| Ok((row.get(0)?, row.get(1)?)))?
                    .collect::<rusqlite::Result<Vec<(String, String)>>>()
            })
            .map_err(|e| state_failed(&e))?
            .map_err(|e| state_failed(&e))?;
        texts.into_iter().map(|(name, text)| Ok((name, parse(&text)?))).collect()
    }

    /// Inserts a new resource with its tags; `taken` makes the error where the name is in use.
    pub(super) async fn insert<R: Row>(
        &self,
        name: &str,
        arn: &str,
        row: R,
        tags: Vec<(String, String)>,
        taken: ServiceError,
    ) -> Result<(), ServiceError> {
        let (name, arn) = (name.to_owned(), arn.to_owned());
        self.write(move |c| {
            let text = text(&row)?;
            let added = c
                .prepare_cached(
                    "INSERT INTO sagemaker_resources VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING",
                )?
                .execute(params![R::KIND, name, row.created().0, text])?;
            if added == 0 {
                return Err(Refused::Service(taken));
            }
            // A deleted resource of the same name may have left tags of the same ARN.
            c.execute("DELETE FROM sagemaker_tags WHERE arn = ?1", [&arn])?;
            put_tags(c, &arn, &tags)?;
            Ok(())
        })
        .await
    }

    /// Reads a resource, lets `decide` change it, and writes it back; an error changes nothing. `None`
    /// where it does not exist. Answers the document as written and what `decide` answered.
    pub(super) async fn change<R: Row, T: Send + 'static>(
        &self,
        name: &str,
        decide: impl FnOnce(&mut R) -> Result<T, ServiceError> + Send + 'static,
    ) -> Result<Option<(R, T)>, ServiceError> {
        let name = name.to_owned();
        self.write(move |c| {
            let Some(mut row) = load::<R>(c, &name)? else { return Ok(None) };
            let answer = decide(&mut row)?;
            c.prepare_cached(
                "UPDATE sagemaker_resources SET document = ?3 WHERE kind = ?1 AND name = ?2",
            )?
            .execute(params![R::KIND, name, text(&row)?])?;
            Ok(Some((row, answer)))
        })
        .await
    }

    /// Removes a resource and its tags; false where it did not exist.
    pub(super) async fn remove<R: Row>(&self, name: &str, arn: &str) -> Result<bool, ServiceError> {
        let (name, arn) = (name.to_owned(), arn.to_owned());
        self.write(move |c| {
            let removed = c.execute(
                "DELETE FROM sagemaker_resources WHERE kind = ?1 AND name = ?2",
                params![R::KIND, name],
            )?;
            c.execute("DELETE FROM sagemaker_tags WHERE arn = ?1", [&arn])?;
            Ok(removed > 0)
        })
        .await
    }

    /// A resource's tags, by key.
    pub(super) fn tags(&self, arn: &str) -> Result<Vec<(String, String)>, ServiceError> {
        self.database
            .read(|c| {
                let mut statement = c.prepare_cached(
                    "SELECT key, value FROM sagemaker_tags WHERE arn = ?1 ORDER BY key",
                )?;
                statement
                    .query_map([arn], |row| Ok((row.get(0)?, row.get(1)?)))?
                    .collect::<rusqlite::Result<Vec<(String, String)>>>()
            })
            .map_err(|e| state_failed(&e))?
            .map_err(|e| state_failed(&e))
    }

    /// Adds or replaces tags; more than 50 on a resource are refused.
    pub(super) async fn add_tags(
        &self,
        arn: &str,
        tags: Vec<(String, String)>,
    ) -> Result<(), ServiceError> {
        let arn = arn.to_owned();
        self.write(move |c| put_tags(c, &arn, &tags)).await
    }

    /// Removes tags by key.
    pub(super) async fn remove_tags(
        &self,
        arn: &str,
        keys: Vec<String>,
    ) -> Result<(), ServiceError> {
        let arn = arn.to_owned();
        self.write(move |c| {
            for key in keys {
                c.execute("DELETE FROM sagemaker_tags WHERE arn = ?1 AND key = ?2", [&arn, &key])?;
            }
            Ok(())
        })
        .await
    }

    async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, Refused> + Send + 'static,
    ) -> Result<T, ServiceError> {
        self.database.write(work).await.map_err(|e| state_failed(&e))?.map_err(ServiceError::from)
    }
}

/// AWS's limit of tags on one resource.
const MAX_TAGS: i64 = 50;

fn put_tags(c: &Connection, arn: &str, tags: &[(String, String)]) -> Result<(), Refused> {
    for (key, value) in tags {
        c.execute(
            "INSERT INTO sagemaker_tags VALUES (?1, ?2, ?3)
             ON CONFLICT (arn, key) DO UPDATE SET value = excluded.value",
            params![arn, key, value],
        )?;
    }
    let count: i64 =
        c.query_row("SELECT count(*) FROM sagemaker_tags WHERE arn = ?1", [arn], |r| r.get(0))?;
    if count > MAX_TAGS {
        return Err(Refused::Service(ServiceError::validation(format!(
            "the resource would have {count} tags; at most {MAX_TAGS} are allowed"
        ))));
    }
    Ok(())
}

fn load<R: Row>(c: &Connection, name: &str) -> Result<Option<R>, Refused> {
    let text: Option<String> = c
        .prepare_cached("SELECT document FROM sagemaker_resources WHERE kind = ?1 AND name = ?2")?
        .query_row([R::KIND, name], |row| row.get(0))
        .optional()?;
    text.map(|text| parse(&text)).transpose().map_err(Refused::Service)
}

fn parse<R: Row>(text: &str) -> Result<R, ServiceError> {
    serde_json::from_str(text).map_err(|e| state_failed(&e))
}

fn text<R: Row>(row: &R) -> Result<String, Refused> {
    serde_json::to_string(row).map_err(|e| Refused::Service(state_failed(&e)))
}

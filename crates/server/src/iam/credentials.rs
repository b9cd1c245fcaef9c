//! Looking keys up: microseconds from memory, the database on a miss. A write clears the memory before it
//! is acknowledged, so that a deleted key is dead when DeleteAccessKey answers.

use std::fmt;

use kennel_store::state::rusqlite::{Connection, OptionalExtension as _};

use super::entities::{self, Kind};
use super::error::Outcome;
use crate::context::{Caller, Principal, Timestamp};
use crate::identity::{Secret, Unknown};

/// A key as the database has it.
pub(crate) struct Entry {
    secret: String,
    session_token: Option<String>,
    caller: Caller,
    active: bool,
    expires: Option<Timestamp>,
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry").field("caller", &self.caller).finish_non_exhaustive()
    }
}

impl Entry {
    /// A long-lived key.
    pub(crate) fn lasting(secret: &str, caller: Caller) -> Self {
        Entry {
            secret: secret.to_owned(),
            session_token: None,
            caller,
            active: true,
            expires: None,
        }
    }

    /// May it sign at `now`?
    pub(crate) fn at(&self, now: Timestamp) -> Result<Secret, Unknown> {
        if !self.active {
            return Err(Unknown::Inactive);
        }
        if self.expires.is_some_and(|expires| now >= expires) {
            return Err(Unknown::Expired);
        }
        Ok(Secret {
            secret: self.secret.clone(),
            session_token: self.session_token.clone(),
            caller: self.caller.clone(),
        })
    }
}

/// Reads a key of a user or a session.
pub(crate) fn load(c: &Connection, account: &str, key: &str) -> Outcome<Option<Entry>> {
    if key.starts_with("ASIA") { session(c, account, key) } else { user_key(c, account, key) }
}

fn user_key(c: &Connection, account: &str, key: &str) -> Outcome<Option<Entry>> {
    let found = c
        .prepare_cached(
            "SELECT k.secret, k.active, e.name, e.id, e.path
             FROM iam_keys k JOIN iam_entities e ON e.id = k.owner WHERE k.id = ?1",
        )?
        .query_row([key], |row| {
            let (name, path): (String, String) = (row.get(2)?, row.get(4)?);
            let arn = entities::arn(account, Kind::User, &path, &name);
            let principal = Principal::User { name, id: row.get(3)?, arn };
            Ok(Entry {
                secret: row.get(0)?,
                session_token: None,
                caller: caller(account, principal, key),
                active: row.get(1)?,
                expires: None,
            })
        })
        .optional()?;
    Ok(found)
}

fn session(c: &Connection, account: &str, key: &str) -> Outcome<Option<Entry>> {
    let found = c
        .prepare_cached(
            "SELECT s.secret, s.token, s.expires, s.name, e.kind, e.name, e.id, e.path
             FROM iam_sessions s LEFT JOIN iam_entities e ON e.id = s.owner WHERE s.id = ?1",
        )?
        .query_row([key], |row| {
            let kind: Option<String> = row.get(4)?;
            let principal = match kind.as_deref() {
                None => Principal::Root,
                Some(kind) => {
                    let (name, id): (String, String) = (row.get(5)?, row.get(6)?);
                    let path: String = row.get(7)?;
                    if kind == "role" {
                        let role_arn = entities::arn(account, Kind::Role, &path, &name);
                        let session = row.get::<_, Option<String>>(3)?.unwrap_or_default();
                        Principal::Role { role: name, id, session, role_arn }
                    } else {
                        let arn = entities::arn(account, Kind::User, &path, &name);
                        Principal::User { name, id, arn }
                    }
                }
            };
            Ok(Entry {
                secret: row.get(0)?,
                session_token: Some(row.get(1)?),
                caller: caller(account, principal, key),
                active: true,
                expires: Some(Timestamp(row.get(2)?)),
            })
        })
        .optional()?;
    Ok(found)
}

pub(crate) fn caller(account: &str, principal: Principal, key: &str) -> Caller {
    Caller { account: account.to_owned(), principal, access_key: key.to_owned() }
}

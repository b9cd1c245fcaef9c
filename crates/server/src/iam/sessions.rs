//! Temporary credentials: rows of `iam_sessions`.

use std::fmt;
use std::time::Duration;

use kennel_iam::Arn;
use kennel_store::state::rusqlite::{Connection, params};
use serde_json::{Value, json};

use super::entities::{self, Entity, Kind};
use super::error::{Outcome, no_such_entity, validation};
use super::ids;
use crate::context::Timestamp;

/// How long an expired session is remembered, so that its user reads "expired" and not "unknown".
const REMEMBERED: Duration = Duration::from_secs(24 * 3600);
/// Rows that one call clears away at most.
const PURGED: i64 = 1_000;

/// What a session signs with.
#[derive(Clone, PartialEq, Eq)]
pub struct SessionCredentials {
    /// `ASIA…`
    pub access_key_id: String,
    /// 40 characters.
    pub secret_access_key: String,
    /// What every request must carry.
    pub session_token: String,
    /// From when on nothing is accepted any more; whole seconds.
    pub expires: Timestamp,
}

impl fmt::Debug for SessionCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionCredentials")
            .field("access_key_id", &self.access_key_id)
            .field("secret_access_key", &"<redacted>")
            .field("session_token", &"<redacted>")
            .field("expires", &self.expires)
            .finish()
    }
}

impl SessionCredentials {
    /// botocore's `Credentials`.
    pub(crate) fn show(&self) -> Value {
        json!({
            "AccessKeyId": self.access_key_id,
            "SecretAccessKey": self.secret_access_key,
            "SessionToken": self.session_token,
            "Expiration": super::input::seconds(self.expires.0),
        })
    }
}

/// A session to be made.
#[derive(Debug)]
pub(crate) struct NewSession<'a> {
    /// The id of the user or role; the root has none.
    pub(crate) owner: Option<&'a str>,
    /// Sessions of roles have names.
    pub(crate) name: Option<&'a str>,
    /// Narrows what the role may do.
    pub(crate) policy: Option<&'a str>,
    /// What else was asked for (tags, policy ARNs, source identity), for the evaluator.
    pub(crate) details: Option<String>,
    pub(crate) now: Timestamp,
    pub(crate) duration: Duration,
}

pub(crate) fn insert(c: &Connection, new: &NewSession<'_>) -> Outcome<SessionCredentials> {
    purge(c, new.now)?;
    // Answers hold whole seconds; what they say must be what holds.
    let expires = Timestamp(new.now.plus(new.duration).0.div_euclid(1000) * 1000);
    let credentials = SessionCredentials {
        access_key_id: ids::access_key("ASIA")?,
        secret_access_key: ids::secret()?,
        session_token: ids::session_token()?,
        expires,
    };
    c.prepare_cached(
        "INSERT INTO iam_sessions
         (id, owner, name, secret, token, policy, details, created, expires)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
    )?
    .execute(params![
        credentials.access_key_id,
        new.owner,
        new.name,
        credentials.secret_access_key,
        credentials.session_token,
        new.policy,
        new.details,
        new.now.0,
        expires.0,
    ])?;
    Ok(credentials)
}

/// Clears sessions away that expired long ago.
pub(crate) fn purge(c: &Connection, now: Timestamp) -> Outcome<usize> {
    let before = now.0.saturating_sub(i64::try_from(REMEMBERED.as_millis()).unwrap_or(i64::MAX));
    Ok(c.prepare_cached(
        "DELETE FROM iam_sessions WHERE id IN
         (SELECT id FROM iam_sessions WHERE expires < ?1 ORDER BY expires LIMIT ?2)",
    )?
    .execute(params![before, PURGED])?)
}

/// The role behind an ARN of this account; `None` when there is none with this path and name.
pub(crate) fn role(c: &Connection, account: &str, arn: &str) -> Outcome<Option<Entity>> {
    let Ok(parsed) = arn.parse::<Arn>() else { return Ok(None) };
    let Some(name) = parsed.name_of("role").filter(|_| parsed.service == "iam") else {
        return Ok(None);
    };
    match entities::find(c, Kind::Role, name) {
        Ok(role) => Ok(Some(role).filter(|role| role.arn(account) == arn)),
        Err(super::error::Refusal::Service(_)) => Ok(None),
        Err(other) => Err(other),
    }
}

/// A session of a role, given by the platform itself: no trust policy is asked.
pub(crate) fn of_role(
    c: &Connection,
    account: &str,
    role_arn: &str,
    session: &NewSession<'_>,
) -> Outcome<SessionCredentials> {
    let name = session.name.unwrap_or_default();
    if !(2..=64).contains(&name.len()) || !super::input::is_name(name, 64) {
        return Err(validation(format!(
            "1 validation error detected: Value '{name}' at 'roleSessionName' failed to satisfy constraint: Member must satisfy regular expression pattern: [\\w+=,.@-]{{2,64}}"
        ))
        .into());
    }
    let Some(role) = role(c, account, role_arn)? else {
        return Err(no_such_entity(format!("The role with arn {role_arn} cannot be found.")).into());
    };
    let NewSession { policy, now, duration, .. } = *session;
    insert(
        c,
        &NewSession {
            owner: Some(&role.id),
            name: session.name,
            policy,
            details: None,
            now,
            duration,
        },
    )
}

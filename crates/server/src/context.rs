//! What every service call knows beside its input: who calls, when, and under which request id.

use std::fmt;
use std::time::{Duration, UNIX_EPOCH};

/// Who signed a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Principal {
    /// The account itself; may do everything.
    Root,
    /// A user with long-lived keys.
    User {
        /// Name, without path.
        name: String,
        /// Unique id, `AIDA…`.
        id: String,
        /// Full ARN, with path.
        arn: String,
    },
    /// A session of a role (AssumeRole).
    Role {
        /// The role's name, without path.
        role: String,
        /// The role's unique id, `AROA…`.
        id: String,
        /// The session's name.
        session: String,
        /// The role's own ARN, with path.
        role_arn: String,
    },
}

/// A verified caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The account, 12 digits.
    pub account: String,
    /// Who it is.
    pub principal: Principal,
    /// The access key that signed, never the secret.
    pub access_key: String,
}

impl Caller {
    /// The ARN as GetCallerIdentity answers it: `arn:aws:sts::A:assumed-role/R/S` for a session.
    pub fn arn(&self) -> String {
        match &self.principal {
            Principal::Root => format!("arn:aws:iam::{}:root", self.account),
            Principal::User { arn, .. } => arn.clone(),
            Principal::Role { role, session, .. } => {
                format!("arn:aws:sts::{}:assumed-role/{role}/{session}", self.account)
            }
        }
    }

    /// The unique id as GetCallerIdentity answers it.
    pub fn user_id(&self) -> String {
        match &self.principal {
            Principal::Root => self.account.clone(),
            Principal::User { id, .. } => id.clone(),
            Principal::Role { id, session, .. } => format!("{id}:{session}"),
        }
    }
}

/// A moment, in milliseconds since 1970 (UTC).
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, serde::Serialize, serde::Deserialize,
)]
#[serde(transparent)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// Seconds with a fraction, as AWS's JSON protocols write it.
    pub fn seconds(self) -> f64 {
        // Milliseconds since 1970 are far below 2^53.
        self.0 as f64 / 1000.0
    }

    /// `2026-11-21T02:30:15Z`, as AWS's XML protocols write it.
    pub fn iso8601(self) -> String {
        chrono::DateTime::from_timestamp_millis(self.0)
            .unwrap_or_default()
            .format("%Y-%m-%dT%H:%M:%SZ")
            .to_string()
    }

    /// This moment plus a duration.
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        Timestamp(self.0.saturating_add(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)))
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.iso8601())
    }
}

/// The one place of the server that reads the wall clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct Clock;

impl Clock {
    /// Now.
    #[expect(clippy::disallowed_methods, reason = "this is the server's clock")]
    pub fn now(self) -> Timestamp {
        let since = std::time::SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }
}

/// What a service call knows beside its input.
#[derive(Debug, Clone)]
pub struct Context {
    /// Answered in `x-amzn-RequestId` and logged.
    pub request_id: String,
    /// Who calls.
    pub caller: Caller,
    /// The region of the signature's scope.
    pub region: String,
    /// When the request came.
    pub now: Timestamp,
    /// `http://127.0.0.1:4566`: how this server is reached, for addresses in answers.
    pub endpoint: String,
}

impl Context {
    /// `arn:aws:<service>:<region>:<account>:<resource>`.
    pub fn arn(&self, service: &str, resource: &str) -> String {
        format!("arn:aws:{service}:{}:{}:{resource}", self.region, self.caller.account)
    }
}

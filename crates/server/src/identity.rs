//! Who may sign, and who may do what.

use std::fmt;
use std::net::SocketAddr;

use crate::authorize::Need;
use crate::context::{Caller, Timestamp};

/// What belongs to an access key.
#[derive(Clone)]
pub struct Secret {
    /// The secret access key.
    pub secret: String,
    /// The session token that must come along, for temporary credentials.
    pub session_token: Option<String>,
    /// Who signs with it.
    pub caller: Caller,
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secret").field("caller", &self.caller).finish_non_exhaustive()
    }
}

/// Why an access key cannot sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unknown {
    /// There is no such key.
    NoSuchKey,
    /// The key was switched off.
    Inactive,
    /// The session is over.
    Expired,
}

/// Knows access keys.
pub trait Credentials: Send + Sync + 'static {
    /// What belongs to an access key.
    ///
    /// # Errors
    /// When the key cannot sign (any more).
    fn lookup(&self, access_key: &str, now: Timestamp) -> Result<Secret, Unknown>;
}

/// Where a request came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// The client's address.
    pub address: SocketAddr,
    /// Whether it came over TLS.
    pub secure: bool,
}

/// What is known of a request besides who asks for what.
#[derive(Debug, Clone)]
pub struct Facts {
    /// When it came.
    pub now: Timestamp,
    /// Where from; none for what the platform asks itself.
    pub peer: Option<Peer>,
    /// The header.
    pub user_agent: Option<String>,
    /// The header.
    pub referer: Option<String>,
    /// The region that was asked.
    pub region: String,
    /// Condition keys of one service that are about the request as such.
    pub more: Vec<(&'static str, String)>,
}

impl Facts {
    /// The facts of a request with these headers.
    pub fn of(headers: &http::HeaderMap, peer: Option<Peer>, now: Timestamp, region: &str) -> Self {
        let text = |name| headers.get(name).and_then(|v| v.to_str().ok()).map(str::to_owned);
        Facts {
            now,
            peer,
            user_agent: text(http::header::USER_AGENT),
            referer: text(http::header::REFERER),
            region: region.to_owned(),
            more: Vec::new(),
        }
    }
}

/// One thing that somebody wants to do.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// Who; none for a request without a signature.
    pub caller: Option<&'a Caller>,
    /// What, to what.
    pub need: &'a Need,
    /// What else is known.
    pub facts: &'a Facts,
}

/// A refusal.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Denied {
    /// AWS's words for the caller.
    pub message: String,
    /// Which policy denies or is missing, for the access record.
    pub reason: String,
}

/// Admission: is this caller allowed?
pub trait Authorizer: Send + Sync + 'static {
    /// Decides one question.
    ///
    /// # Errors
    /// The refusal.
    fn authorize(&self, question: Question<'_>) -> Result<(), Denied>;
}

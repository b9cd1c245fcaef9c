//! Who may sign.

use std::fmt;

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

/// Admission: is this caller allowed?
pub trait Authorizer: Send + Sync + 'static {
    /// Asks for one action (`s3:GetObject`) on one resource (an ARN, or `*`).
    ///
    /// # Errors
    /// The reason to deny.
    fn authorize(&self, caller: &Caller, action: &str, resource: &str) -> Result<(), String>;
}

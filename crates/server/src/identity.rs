//! Who may sign.

use std::fmt;

/// What a signature is verified against, and whom it proves.
pub struct Secret {
    /// The secret access key.
    pub secret: String,
    /// What `X-Amz-Security-Token` must say, when the key is temporary.
    pub session_token: Option<String>,
    /// Who signs with this key.
    pub caller: crate::context::Caller,
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secret")
            .field("secret", &"<redacted>")
            .field("session_token", &self.session_token.as_ref().map(|_| "<redacted>"))
            .field("caller", &self.caller)
            .finish()
    }
}

/// Why a key proves nobody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unknown {
    /// Never made, or deleted.
    NoSuchKey,
    /// Switched off by UpdateAccessKey.
    Inactive,
    /// A session that is over.
    Expired,
}

/// Finds keys.
pub trait Credentials: Send + Sync + 'static {
    /// The secret of an access key, if it may sign at `now`.
    ///
    /// # Errors
    /// Why it may not.
    fn lookup(&self, access_key: &str, now: crate::context::Timestamp) -> Result<Secret, Unknown>;
}

/// Admission: is this caller allowed? Full policy enforcement comes later.
pub trait Authorizer: Send + Sync + 'static {
    /// Decides about an action (`sagemaker:InvokeEndpoint`) on a resource (an ARN or `*`).
    ///
    /// # Errors
    /// The reason of a denial.
    fn authorize(
        &self,
        caller: &crate::context::Caller,
        action: &str,
        resource: &str,
    ) -> Result<(), String>;
}

//! `Code.Location`: an address where a zip can be fetched for ten minutes without a signature of the
//! caller's, signed under a key that lives as long as the process.

use std::path::PathBuf;
use std::time::Duration;

use hmac::{Hmac, KeyInit as _, Mac as _};
use kennel_wire::ServiceError;
use sha2::Sha256;

use super::Lambda;
use crate::context::Timestamp;

/// Where the gateway routes.
pub(super) const CODE_PATH: &str = "/_lambda-code/";

const LIFETIME: Duration = Duration::from_secs(600);

/// Signs locations.
pub(super) struct Signer {
    key: [u8; 32],
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Signer").finish_non_exhaustive()
    }
}

impl Signer {
    pub(super) fn new() -> Result<Self, getrandom::Error> {
        let mut key = [0; 32];
        getrandom::fill(&mut key)?;
        Ok(Signer { key })
    }

    fn mac(&self, path: &str, expires: &str) -> Option<Hmac<Sha256>> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.key).ok()?;
        mac.update(path.as_bytes());
        // No path has a line break, so no two pairs are signed alike.
        mac.update(b"\n");
        mac.update(expires.as_bytes());
        Some(mac)
    }

    /// `PATH?Expires=SECONDS&Signature=HEX`.
    fn sign(&self, path: &str, now: Timestamp) -> String {
        let expires = (now.plus(LIFETIME).0 / 1000).to_string();
        let signature: String = self
            .mac(path, &expires)
            .map(|mac| mac.finalize().into_bytes().iter().map(|b| format!("{b:02x}")).collect())
            .unwrap_or_default();
        format!("{path}?Expires={expires}&Signature={signature}")
    }

    /// The path, where it is signed and not too old.
    fn verify<'a>(&self, path_and_query: &'a str, now: Timestamp) -> Result<&'a str, ServiceError> {
        let denied = |text: &str| ServiceError::new("AccessDenied", 403, text);
        let (path, query) =
            path_and_query.split_once('?').ok_or_else(|| denied("the address is not signed"))?;
        let mut expires = None;
        let mut signature = None;
        for pair in query.split('&') {
            match pair.split_once('=') {
                Some(("Expires", value)) => expires = Some(value),
                Some(("Signature", value)) => signature = Some(value),
                _ => {}
            }
        }
        let (Some(expires), Some(signature)) = (expires, signature) else {
            return Err(denied("the address is not signed"));
        };
        let bytes = hex(signature).ok_or_else(|| denied("the signature does not match"))?;
        let good = self.mac(path, expires).is_some_and(|mac| mac.verify_slice(&bytes).is_ok());
        if !good {
            return Err(denied("the signature does not match"));
        }
        if expires.parse::<i64>().is_ok_and(|seconds| now.0 <= seconds.saturating_mul(1000)) {
            Ok(path)
        } else {
            Err(denied("the address has expired\nhint: ask GetFunction for a new one"))
        }
    }
}

fn hex(text: &str) -> Option<Vec<u8>> {
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(text.get(at..at + 2)?, 16).ok())
        .collect()
}

impl Lambda {
    /// Where the zip of code can be fetched for ten minutes.
    pub(super) fn location(
        &self,
        endpoint: &str,
        name: &str,
        sha256: &str,
        now: Timestamp,
    ) -> String {
        let path = format!("{CODE_PATH}{name}/{sha256}");
        format!("{}{}", endpoint.trim_end_matches('/'), self.inner.signer.sign(&path, now))
    }

    /// The zip behind an address of [`CODE_PATH`], given as path and query; its content type is
    /// `application/zip`.
    ///
    /// # Errors
    /// `AccessDenied` (403) where the address is not ours or too old, `NoSuchKey` (404) where the code was
    /// deleted meanwhile.
    pub fn download(&self, path_and_query: &str, now: Timestamp) -> Result<PathBuf, ServiceError> {
        let path = self.inner.signer.verify(path_and_query, now)?;
        let sha256 = path.rsplit('/').next().unwrap_or_default();
        let file = self.inner.shelf.zip(sha256);
        if hex(sha256).is_none() || !file.is_file() {
            return Err(ServiceError::new("NoSuchKey", 404, "the code was deleted"));
        }
        Ok(file)
    }
}

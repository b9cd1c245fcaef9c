//! Downloading a backbone: resumable, verified, written aside until it is whole and right.

use std::io::{Read, Seek, Write};
use std::path::Path;
use std::time::Duration;

use sha2::{Digest, Sha256};

use super::{BackboneEntry, HubError, cache_hub, remember};

/// How far a download is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PullProgress {
    /// Bytes there are, those of an earlier try included.
    pub done: u64,
    /// Bytes in all, where known.
    pub total: Option<u64>,
}

/// Why a backbone was not downloaded.
#[derive(Debug, thiserror::Error)]
pub enum PullError {
    /// No address answered.
    #[error(
        "cannot download `{name}`: {reasons}\nhint: check the network, or copy the file into a folder with a hub.toml and set KENNEL_HUB to it; what was fetched is kept and resumed"
    )]
    Failed {
        /// Backbone.
        name: String,
        /// What each address answered.
        reasons: String,
    },
    /// What came is not what the registry knows.
    #[error(
        "the download of `{name}` has SHA-256 {found}, not {wanted}; it was thrown away\nhint: the file behind the address changed; report it, or add your own file with `kennel hub add`"
    )]
    Mismatch {
        /// Backbone.
        name: String,
        /// Hash of what came.
        found: String,
        /// Hash of the registry.
        wanted: String,
    },
    /// The entry has no address.
    #[error(
        "`{name}` has no address to download from\nhint: only backbones of the registry can be pulled; see `kennel hub list`"
    )]
    NoAddress {
        /// Backbone.
        name: String,
    },
    /// The cache cannot be written.
    #[error(
        "cannot write to the cache: {0}\nhint: check its permissions and free space, or move it with KENNEL_CACHE"
    )]
    Cache(#[from] std::io::Error),
}

/// No backbone of the registry is near this.
const MAX_BYTES: u64 = 4 << 30;

/// Downloads a backbone into the cache and returns whether anything had to be fetched.
///
/// # Errors
/// When no address works or the content is not what the entry says.
pub fn pull(
    entry: &BackboneEntry,
    progress: &mut dyn FnMut(PullProgress),
) -> Result<bool, HubError> {
    pull_into(&cache_hub(), entry, progress)
}

/// [`pull`] into a folder.
pub(super) fn pull_into(
    folder: &Path,
    entry: &BackboneEntry,
    progress: &mut dyn FnMut(PullProgress),
) -> Result<bool, HubError> {
    if entry.urls.is_empty() {
        return Err(PullError::NoAddress { name: entry.name.clone() }.into());
    }
    std::fs::create_dir_all(folder).map_err(PullError::from)?;
    let target = folder.join(&entry.file);
    if std::fs::read(&target).is_ok_and(|b| crate::hex(&Sha256::digest(b)) == entry.sha256) {
        remember(folder, entry.clone())?;
        return Ok(false);
    }
    // The partial file's name carries the hash, so that a changed registry never resumes an old one.
    let short = entry.sha256.get(..16).unwrap_or(&entry.sha256);
    let partial = folder.join(format!("{}.{short}.part", entry.file));
    let mut reasons = Vec::new();
    for url in &entry.urls {
        match fetch(url, &partial, entry.bytes, progress) {
            Ok(()) => {
                let found = digest_file(&partial).map_err(PullError::from)?;
                if found != entry.sha256 {
                    // Another address may still have the right file.
                    std::fs::remove_file(&partial).map_err(PullError::from)?;
                    reasons.push((url.clone(), format!("has SHA-256 {found}"), Some(found)));
                    continue;
                }
                std::fs::rename(&partial, &target).map_err(PullError::from)?;
                remember(folder, entry.clone())?;
                return Ok(true);
            }
            Err(reason) => reasons.push((url.clone(), reason, None)),
        }
    }
    let name = entry.name.clone();
    if let Some(found) = reasons.iter().find_map(|r| r.2.clone()) {
        return Err(PullError::Mismatch { name, found, wanted: entry.sha256.clone() }.into());
    }
    let reasons =
        reasons.into_iter().map(|(url, reason, _)| format!("{url}: {reason}")).collect::<Vec<_>>();
    Err(PullError::Failed { name, reasons: reasons.join("; ") }.into())
}

fn digest_file(path: &Path) -> std::io::Result<String> {
    let mut file = std::fs::File::open(path)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        let n = file.read(&mut buffer)?;
        if n == 0 {
            return Ok(crate::hex(&hasher.finalize()));
        }
        hasher.update(&buffer[..n]);
    }
}

/// Appends what is missing of `url` to `partial`. A server that does not honour the range starts over.
fn fetch(
    url: &str,
    partial: &Path,
    expected: Option<u64>,
    progress: &mut dyn FnMut(PullProgress),
) -> Result<(), String> {
    let text = |e: &dyn std::fmt::Display| e.to_string();
    let mut file = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .read(true)
        .open(partial)
        .map_err(|e| text(&e))?;
    let mut have = file.seek(std::io::SeekFrom::End(0)).map_err(|e| text(&e))?;
    if expected == Some(have) {
        return Ok(());
    }
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .timeout_connect(Some(Duration::from_secs(20)))
        .timeout_recv_response(Some(Duration::from_secs(60)))
        .http_status_as_error(false)
        .build()
        .into();
    let mut request = agent.get(url).header("accept-encoding", "identity");
    if have > 0 {
        request = request.header("range", format!("bytes={have}-"));
    }
    let response = request.call().map_err(|e| text(&e))?;
    let status = response.status().as_u16();
    match status {
        206 => {}
        200 => {
            file.set_len(0).map_err(|e| text(&e))?;
            have = 0;
        }
        416 => {
            file.set_len(0).map_err(|e| text(&e))?;
            return Err("the server cannot resume; try again".into());
        }
        _ => return Err(format!("answered {status}")),
    }
    let length = response.body().content_length().map(|n| n + have);
    let total = expected.or(length);
    let mut body = response.into_body().into_with_config().limit(MAX_BYTES).reader();
    let mut buffer = vec![0; 256 << 10];
    progress(PullProgress { done: have, total });
    loop {
        let n = body.read(&mut buffer).map_err(|e| text(&e))?;
        if n == 0 {
            break;
        }
        file.write_all(&buffer[..n]).map_err(|e| text(&e))?;
        have += n as u64;
        if have > MAX_BYTES {
            return Err("it is larger than any backbone".into());
        }
        progress(PullProgress { done: have, total });
    }
    file.sync_all().map_err(|e| text(&e))?;
    match total {
        Some(total) if total != have => Err(format!("ended after {have} of {total} bytes")),
        _ => Ok(()),
    }
}

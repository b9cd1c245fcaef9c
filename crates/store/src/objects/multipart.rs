//! Making one object of an upload's parts: which parts, in which order, with which ETag and checksum.
//! Pure; both stores use it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use md5::{Digest as _, Md5};

use super::digest::{Digests, crc_of, crc_text, hex, unhex};
use super::error::ObjectError;
use super::types::{Checksum, ChecksumAlgorithm, ChecksumType, NewUpload, PartInfo};

/// The least that a part other than the last may have, in bytes (5 MiB).
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html>
pub const MIN_PART: u64 = 5 * 1024 * 1024;

/// A part as the client names it to complete an upload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WantedPart {
    /// 1 to 10,000.
    pub number: u32,
    /// The ETag that the upload answered, without quotes.
    pub etag: String,
    /// The checksum, if the client repeats it (base64).
    pub checksum: Option<String>,
}

/// What the object made of parts has.
#[derive(Debug)]
pub(super) struct Assembled {
    pub(super) etag: String,
    pub(super) size: u64,
    pub(super) checksum: Option<Checksum>,
    /// In order.
    pub(super) parts: Vec<PartInfo>,
}

/// The checksum an upload's parts get.
pub(super) fn algorithm_of(upload: &NewUpload) -> ChecksumAlgorithm {
    upload.algorithm.unwrap_or(ChecksumAlgorithm::Crc64Nvme)
}

/// What the object's checksum is over: <https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity-upload.html>
fn over(upload: &NewUpload) -> ChecksumType {
    match algorithm_of(upload) {
        ChecksumAlgorithm::Crc64Nvme => ChecksumType::FullObject,
        ChecksumAlgorithm::Sha1 | ChecksumAlgorithm::Sha256 => ChecksumType::Composite,
        _ => upload.over.unwrap_or(ChecksumType::Composite),
    }
}

/// Checks the wanted parts against those uploaded (by number) and computes ETag and checksum.
pub(super) fn assemble(
    upload: &NewUpload,
    uploaded: &std::collections::BTreeMap<u32, PartInfo>,
    wanted: &[WantedPart],
    expected: Option<&str>,
) -> Result<Assembled, ObjectError> {
    if !wanted.is_sorted_by(|a, b| a.number < b.number) {
        return Err(ObjectError::InvalidPartOrder);
    }
    let mut parts = Vec::with_capacity(wanted.len());
    for want in wanted {
        let part = uploaded.get(&want.number).ok_or(ObjectError::InvalidPart(want.number))?;
        let other_checksum = want.checksum.is_some() && want.checksum != part.checksum;
        if part.etag != want.etag || other_checksum {
            return Err(ObjectError::InvalidPart(want.number));
        }
        parts.push(part.clone());
    }
    let Some((_, all_but_last)) = parts.split_last() else {
        return Err(ObjectError::InvalidPart(1));
    };
    if let Some(small) = all_but_last.iter().find(|p| p.size < MIN_PART) {
        return Err(ObjectError::PartTooSmall {
            number: small.number,
            size: small.size,
            minimum: MIN_PART,
            etag: small.etag.clone(),
        });
    }
    let mut md5s = Md5::new();
    for part in &parts {
        md5s.update(unhex(&part.etag).unwrap_or_default());
    }
    let etag = format!("{}-{}", hex(&md5s.finalize()), parts.len());
    let size = parts.iter().map(|p| p.size).sum();
    let checksum = checksum(upload, &parts)?;
    if let Some(given) = expected
        && checksum.as_ref().is_none_or(|c| c.value != given)
    {
        return Err(ObjectError::ChecksumMismatch {
            algorithm: algorithm_of(upload).name(),
            given: given.to_owned(),
            computed: checksum.map(|c| c.value).unwrap_or_default(),
        });
    }
    Ok(Assembled { etag, size, checksum, parts })
}

/// Nothing when the upload named no algorithm and some part came with another than the usual.
fn checksum(upload: &NewUpload, parts: &[PartInfo]) -> Result<Option<Checksum>, ObjectError> {
    if upload.algorithm.is_none() && parts.iter().any(|p| p.checksum.is_none()) {
        return Ok(None);
    }
    let algorithm = algorithm_of(upload);
    let over = over(upload);
    let raw = |part: &PartInfo| {
        part.checksum
            .as_deref()
            .and_then(|c| STANDARD.decode(c).ok())
            .ok_or(ObjectError::InvalidPart(part.number))
    };
    let value = match (over, crc_of(algorithm)) {
        (ChecksumType::FullObject, Some((crc, width))) => {
            let mut whole = None;
            for part in parts {
                let value = raw(part)?.iter().fold(0u64, |v, b| (v << 8) | u64::from(*b));
                whole = Some(match whole {
                    None => value,
                    Some(before) => crc_fast::checksum_combine(crc, before, value, part.size),
                });
            }
            crc_text(whole.unwrap_or_default(), width)
        }
        _ => {
            let mut digests = Digests::new(algorithm);
            for part in parts {
                digests.update(&raw(part)?);
            }
            format!("{}-{}", digests.finish().checksum, parts.len())
        }
    };
    Ok(Some(Checksum { algorithm, value, over }))
}

//! Digests of a body as it passes: MD5, size and one checksum.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use crc_fast::CrcAlgorithm;
use md5::{Digest as _, Md5};

use super::types::ChecksumAlgorithm;

/// A running checksum.
enum Running {
    Crc(crc_fast::Digest, usize),
    Sha1(sha1::Sha1),
    Sha256(sha2::Sha256),
}

/// Running digests.
pub(super) struct Digests {
    md5: Md5,
    size: u64,
    algorithm: ChecksumAlgorithm,
    running: Running,
}

/// Finished digests.
#[derive(Debug, Clone)]
pub(super) struct Digested {
    pub(super) md5: [u8; 16],
    pub(super) size: u64,
    pub(super) algorithm: ChecksumAlgorithm,
    /// Base64.
    pub(super) checksum: String,
}

pub(super) fn crc_of(algorithm: ChecksumAlgorithm) -> Option<(CrcAlgorithm, usize)> {
    match algorithm {
        ChecksumAlgorithm::Crc32 => Some((CrcAlgorithm::Crc32IsoHdlc, 4)),
        ChecksumAlgorithm::Crc32c => Some((CrcAlgorithm::Crc32Iscsi, 4)),
        ChecksumAlgorithm::Crc64Nvme => Some((CrcAlgorithm::Crc64Nvme, 8)),
        ChecksumAlgorithm::Sha1 | ChecksumAlgorithm::Sha256 => None,
    }
}

/// Base64 of a CRC's big-endian bytes.
pub(super) fn crc_text(value: u64, width: usize) -> String {
    STANDARD.encode(value.to_be_bytes().get(8 - width..).unwrap_or_default())
}

impl Digests {
    pub(super) fn new(algorithm: ChecksumAlgorithm) -> Self {
        let running = match (crc_of(algorithm), algorithm) {
            (Some((crc, width)), _) => Running::Crc(crc_fast::Digest::new(crc), width),
            (None, ChecksumAlgorithm::Sha1) => Running::Sha1(sha1::Sha1::new()),
            (None, _) => Running::Sha256(sha2::Sha256::new()),
        };
        Digests { md5: Md5::new(), size: 0, algorithm, running }
    }

    pub(super) fn update(&mut self, bytes: &[u8]) {
        self.size += bytes.len() as u64;
        self.md5.update(bytes);
        match &mut self.running {
            Running::Crc(digest, _) => digest.update(bytes),
            Running::Sha1(digest) => digest.update(bytes),
            Running::Sha256(digest) => digest.update(bytes),
        }
    }

    pub(super) fn size(&self) -> u64 {
        self.size
    }

    pub(super) fn finish(self) -> Digested {
        let checksum = match self.running {
            Running::Crc(digest, width) => crc_text(digest.finalize(), width),
            Running::Sha1(digest) => STANDARD.encode(digest.finalize()),
            Running::Sha256(digest) => STANDARD.encode(digest.finalize()),
        };
        Digested {
            md5: self.md5.finalize().into(),
            size: self.size,
            algorithm: self.algorithm,
            checksum,
        }
    }
}

/// Lower-case hex.
pub(super) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// The bytes of lower- or upper-case hex.
pub(super) fn unhex(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) || !text.is_ascii() {
        return None;
    }
    (0..text.len()).step_by(2).map(|i| u8::from_str_radix(text.get(i..i + 2)?, 16).ok()).collect()
}

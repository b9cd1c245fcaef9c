//! A function's code on its way: a zip that was given, or one made of a folder or of this program.
//!
//! Zips made here carry no times, so that the same files are the same zip and its hash says whether
//! anything is to be changed.

use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tempfile::TempPath;
use zip::CompressionMethod;
use zip::write::{SimpleFileOptions, ZipWriter};

use super::super::default_bucket;
use crate::client::Client;
use crate::clock;
use crate::error::ClientError;
use crate::files::walk;
use crate::output::byte_bar;

/// Largest zip in a request; larger ones go by S3.
/// <https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html>
const MAX_DIRECT: u64 = 50 << 20;
/// Largest code, unpacked.
const MAX_UNPACKED: u64 = 250 << 20;

/// A zip with code.
#[derive(Debug)]
pub(super) struct Package {
    path: PathBuf,
    /// Removes a zip that was made here.
    _made: Option<TempPath>,
    length: u64,
    /// As `CodeSha256`: base64.
    pub(super) sha256: String,
}

impl Package {
    /// A zip that is there.
    pub(super) fn of_zip(path: &Path) -> Result<Package, ClientError> {
        let failed = || ClientError::file("read", path);
        let mut start = Vec::new();
        let file = File::open(path).map_err(failed())?;
        file.take(4).read_to_end(&mut start).map_err(failed())?;
        if start != b"PK\x03\x04" {
            return Err(ClientError::Usage(format!(
                "`{}` is no zip with files in it\nhint: --dir packs a folder",
                path.display()
            )));
        }
        Package::at(path.to_owned(), None)
    }

    /// All files of a folder.
    pub(super) fn of_folder(folder: &Path) -> Result<Package, ClientError> {
        let files = walk(folder)?;
        if files.is_empty() {
            return Err(ClientError::Usage(format!("`{}` has no files", folder.display())));
        }
        let named: Vec<(&Path, &str, u32)> =
            files.iter().map(|(path, name)| (path.as_path(), name.as_str(), mode(path))).collect();
        Package::pack(&named)
    }

    /// A program as the `bootstrap` of a custom runtime.
    pub(super) fn of_program(program: &Path) -> Result<Package, ClientError> {
        Package::pack(&[(program, "bootstrap", 0o755)])
    }

    fn pack(files: &[(&Path, &str, u32)]) -> Result<Package, ClientError> {
        let mut total = 0;
        for (path, _, _) in files {
            total += std::fs::metadata(path).map_err(ClientError::file("read", path))?.len();
        }
        if total > MAX_UNPACKED {
            return Err(ClientError::Usage(format!(
                "the code has {total} bytes and Lambda takes {MAX_UNPACKED}\nhint: leave out what the function does not need"
            )));
        }
        let bar = byte_bar("pack", total);
        let made = tempfile::NamedTempFile::new()
            .map_err(ClientError::file("write", &std::env::temp_dir()))?;
        let target = made.path().to_owned();
        let mut zip = ZipWriter::new(BufWriter::new(made.as_file()));
        let broken = |e: zip::result::ZipError| {
            let source = std::io::Error::other(e);
            ClientError::File { action: "write", path: target.display().to_string(), source }
        };
        let mut buffer = vec![0; 64 << 10];
        for (path, name, mode) in files {
            let options = SimpleFileOptions::default()
                .compression_method(CompressionMethod::Deflated)
                .last_modified_time(zip::DateTime::default())
                .unix_permissions(*mode);
            zip.start_file(*name, options).map_err(broken)?;
            let mut file = File::open(path).map_err(ClientError::file("read", path))?;
            loop {
                let count = file.read(&mut buffer).map_err(ClientError::file("read", path))?;
                if count == 0 {
                    break;
                }
                zip.write_all(&buffer[..count]).map_err(ClientError::file("write", &target))?;
                bar.inc(count as u64);
            }
        }
        let mut rest = zip.finish().map_err(broken)?;
        rest.flush().map_err(ClientError::file("write", &target))?;
        drop(rest);
        bar.finish_and_clear();
        Package::at(target, Some(made.into_temp_path()))
    }

    fn at(path: PathBuf, made: Option<TempPath>) -> Result<Package, ClientError> {
        let failed = || ClientError::file("read", &path);
        let mut file = File::open(&path).map_err(failed())?;
        let mut hash = Sha256::new();
        let mut buffer = vec![0; 64 << 10];
        let mut length = 0;
        loop {
            let count = file.read(&mut buffer).map_err(failed())?;
            if count == 0 {
                break;
            }
            hash.update(&buffer[..count]);
            length += count as u64;
        }
        let sha256 = STANDARD.encode(hash.finalize());
        Ok(Package { path, _made: made, length, sha256 })
    }

    /// The code as a member of a request; what is too large for one is put into S3 first.
    pub(super) fn member(&self, client: &Client, function: &str) -> Result<Value, ClientError> {
        if self.length <= MAX_DIRECT {
            let bytes = std::fs::read(&self.path).map_err(ClientError::file("read", &self.path))?;
            return Ok(json!({"ZipFile": STANDARD.encode(bytes)}));
        }
        let key = format!("functions/{function}/{}/code.zip", clock::stamp());
        let at = default_bucket(client)?.with_key(key);
        let bar = byte_bar("upload", self.length);
        client.put_file(&at, &self.path, &|n| bar.inc(n))?;
        bar.finish_and_clear();
        Ok(json!({"S3Bucket": at.bucket, "S3Key": at.key}))
    }
}

/// Whether a file can be run is kept; all may read it, as Lambda wants.
fn mode(path: &Path) -> u32 {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let runs = std::fs::metadata(path).is_ok_and(|m| m.permissions().mode() & 0o111 != 0);
        if runs { 0o755 } else { 0o644 }
    }
    #[cfg(not(unix))]
    {
        let _ = path;
        0o755
    }
}

/// The architecture that a Linux program runs on, by Lambda's name; none for any other file.
pub(super) fn architecture(program: &Path) -> Result<Option<&'static str>, ClientError> {
    let mut head = Vec::new();
    let file = File::open(program).map_err(ClientError::file("read", program))?;
    file.take(20).read_to_end(&mut head).map_err(ClientError::file("read", program))?;
    let [0x7f, b'E', b'L', b'F', 2, 1, ..] = head[..] else { return Ok(None) };
    // `e_machine`, little endian.
    Ok(match head.get(18..20) {
        Some([62, 0]) => Some("x86_64"),
        Some([183, 0]) => Some("arm64"),
        _ => None,
    })
}

/// The newest `GLIBC_2.N` that a program names, as N: it starts only where the C library has that.
pub(super) fn newest_glibc(program: &Path) -> Result<Option<u32>, ClientError> {
    const NAME: &[u8] = b"GLIBC_2.";
    let failed = || ClientError::file("read", program);
    let mut file = BufReader::new(File::open(program).map_err(failed())?);
    let mut chunk = vec![0; 1 << 20];
    let mut newest = None;
    loop {
        let count = file.read(&mut chunk).map_err(failed())?;
        let bytes = &chunk[..count];
        for at in bytes.iter().enumerate().filter(|(_, b)| **b == b'G').map(|(at, _)| at) {
            let Some(version) = bytes[at..].strip_prefix(NAME) else { continue };
            let digits = version.iter().take(3).take_while(|b| b.is_ascii_digit());
            let number = digits.fold(0, |n, d| n * 10 + u32::from(d - b'0'));
            newest = newest.max(Some(number));
        }
        // A name at the end of a chunk is seen whole in the next one.
        let again = NAME.len() + 3;
        if count <= again {
            return Ok(newest);
        }
        file.seek(SeekFrom::Current(-(again as i64))).map_err(failed())?;
    }
}

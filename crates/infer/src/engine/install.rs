//! `kennel engine install onnxruntime`: the pinned Python wheel, fetched by the user's own pip (which
//! knows their index, proxy and certificates), checked against a hash that is part of Kennel, and its
//! one library unpacked into Kennel's data folder.

use std::ffi::OsString;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use sha2::{Digest, Sha256};

use super::{EngineError, onnxruntime};

/// The version of ONNX Runtime that Kennel is tested with and installs.
pub const ONNXRUNTIME_VERSION: &str = "1.31.1";

/// Wheel platform tag and SHA-256 of the CPython 3.12 wheel; the library inside does not depend on
/// the Python version.
const WHEELS: &[(&str, &str, &str, &str)] = &[
    (
        "linux",
        "x86_64",
        "manylinux_2_28_x86_64",
        "1f3dea47f2f0e5117c2404cea7d21fd253ae7836a3bf167a501cdfbb2600d536",
    ),
    (
        "linux",
        "aarch64",
        "manylinux_2_28_aarch64",
        "0b9a492176886992e0e875f06bc0367e333f5fff11711a2d642e18b02f3009cc",
    ),
    (
        "macos",
        "aarch64",
        "macosx_14_0_arm64",
        "96dd2564b10ea7153ad9c207e7cd8e5917cb3ba521e0e0a62ac03486fdc8d56c",
    ),
    (
        "windows",
        "x86_64",
        "win_amd64",
        "ae8a9a351efda685cc59a66226cdefaa37a126c1d66872ca23a2de9425326130",
    ),
];

/// Larger than any library in a wheel; a bound on what unpacking may write.
const MAX_LIBRARY_BYTES: u64 = 512 << 20;

/// Where the wheel comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InstallSource {
    /// The user's own pip downloads it.
    Pip,
    /// A wheel that is already on this machine; the same hash is required.
    Wheel(PathBuf),
}

/// The folder that [`install_onnxruntime`] fills.
pub fn installed_library_folder() -> PathBuf {
    crate::paths::data_folder().join("engines").join(format!("onnxruntime-{ONNXRUNTIME_VERSION}"))
}

fn problem(reason: impl Into<String>, hint: impl Into<String>) -> EngineError {
    EngineError::Install {
        what: format!("onnxruntime {ONNXRUNTIME_VERSION}"),
        reason: reason.into(),
        hint: hint.into(),
    }
}

/// Installs the pinned ONNX Runtime and returns its library. Each step is told to `say`.
///
/// # Errors
/// When this platform has no wheel, no pip works, or the wheel is not the pinned one.
pub fn install_onnxruntime(
    source: &InstallSource,
    say: &mut dyn FnMut(&str),
) -> Result<PathBuf, EngineError> {
    install_into(&installed_library_folder(), source, say)
}

/// [`install_onnxruntime`] into a folder.
pub(super) fn install_into(
    folder: &Path,
    source: &InstallSource,
    say: &mut dyn FnMut(&str),
) -> Result<PathBuf, EngineError> {
    let (os, arch) = (std::env::consts::OS, std::env::consts::ARCH);
    let Some((_, _, tag, hash)) = WHEELS.iter().find(|w| w.0 == os && w.1 == arch) else {
        return Err(problem(
            format!("no wheel is pinned for {os} on {arch}"),
            "install ONNX Runtime by hand and point KENNEL_ONNXRUNTIME at its library",
        ));
    };
    let scratch = tempfile::tempdir()
        .map_err(|e| problem(e.to_string(), "make room in the temporary folder"))?;
    let wheel = match source {
        InstallSource::Wheel(path) => path.clone(),
        InstallSource::Pip => download_with_pip(scratch.path(), tag, say)?,
    };
    say(&format!("checking {}", wheel.display()));
    let bytes = std::fs::read(&wheel)
        .map_err(|e| problem(format!("`{}`: {e}", wheel.display()), "check the path"))?;
    let found = crate::hex(&Sha256::digest(&bytes));
    if found != *hash {
        return Err(problem(
            format!("`{}` has SHA-256 {found}, not the pinned {hash}", wheel.display()),
            "the file is damaged or is another version; nothing was installed",
        ));
    }
    let library = unpack(&bytes, folder)?;
    say(&format!("installed {}", library.display()));
    Ok(library)
}

/// Ways to call pip, the active environment's first.
fn pips() -> Vec<Vec<OsString>> {
    let words = |line: &[&str]| line.iter().map(OsString::from).collect::<Vec<_>>();
    let mut ways = Vec::new();
    if let Some(environment) = std::env::var_os("VIRTUAL_ENV") {
        let python = PathBuf::from(environment).join("bin").join("python");
        ways.push(vec![python.into_os_string(), "-m".into(), "pip".into()]);
    }
    ways.push(words(&["python3", "-m", "pip"]));
    ways.push(words(&["pip3"]));
    ways.push(words(&["pip"]));
    ways
}

fn download_with_pip(
    folder: &Path,
    tag: &str,
    say: &mut dyn FnMut(&str),
) -> Result<PathBuf, EngineError> {
    let mut reasons = Vec::new();
    for way in pips() {
        let Some((program, first)) = way.split_first() else { continue };
        let shown =
            way.iter().map(|w| w.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ");
        say(&format!("downloading with `{shown}`"));
        let output = Command::new(program)
            .args(first)
            .args(["download", "--no-deps", "--only-binary=:all:", "--implementation", "cp"])
            .args(["--python-version", "3.12", "--platform", tag, "--dest"])
            .arg(folder)
            .arg(format!("onnxruntime=={ONNXRUNTIME_VERSION}"))
            .output();
        match output {
            Ok(output) if output.status.success() => {
                let wheel = std::fs::read_dir(folder)
                    .map_err(|e| problem(e.to_string(), "try again"))?
                    .flatten()
                    .map(|entry| entry.path())
                    .find(|path| path.extension().is_some_and(|e| e == "whl"));
                return wheel.ok_or_else(|| problem("pip left no wheel", "try again"));
            }
            Ok(output) => {
                let text = String::from_utf8_lossy(&output.stderr);
                let last = text.lines().rev().find(|l| l.contains("ERROR")).unwrap_or("it failed");
                reasons.push(format!("`{shown}`: {last}"));
            }
            Err(e) => reasons.push(format!("`{shown}`: {e}")),
        }
    }
    Err(problem(
        reasons.join("; "),
        "install pip, or give a wheel that you downloaded with `--from FILE`",
    ))
}

/// Writes the runtime's library out of a wheel, aside first and renamed when it is whole.
pub(super) fn unpack(wheel: &[u8], folder: &Path) -> Result<PathBuf, EngineError> {
    let broken = |e: &dyn std::fmt::Display| {
        problem(format!("the wheel cannot be unpacked: {e}"), "download it again")
    };
    let mut archive = zip::ZipArchive::new(std::io::Cursor::new(wheel)).map_err(|e| broken(&e))?;
    for index in 0..archive.len() {
        let mut entry = archive.by_index(index).map_err(|e| broken(&e))?;
        let name = entry.name().to_owned();
        let Some(file) = name.strip_prefix("onnxruntime/capi/") else { continue };
        if file.contains(['/', '\\']) || !onnxruntime::is_library(file) {
            continue;
        }
        if entry.size() > MAX_LIBRARY_BYTES {
            return Err(broken(&"its library is too large"));
        }
        let write = |entry: &mut dyn Read| -> std::io::Result<PathBuf> {
            std::fs::create_dir_all(folder)?;
            let mut aside = tempfile::NamedTempFile::new_in(folder)?;
            std::io::copy(&mut entry.take(MAX_LIBRARY_BYTES), &mut aside)?;
            aside.flush()?;
            aside.as_file().sync_all()?;
            let path = folder.join(file);
            aside.persist(&path).map_err(|e| e.error)?;
            Ok(path)
        };
        return write(&mut entry).map_err(|e| {
            problem(format!("`{}`: {e}", folder.display()), "check the folder's permissions")
        });
    }
    Err(broken(&"it holds no library"))
}

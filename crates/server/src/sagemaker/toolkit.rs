//! Script mode's Python half: the toolkit's modules travel in the binary and are written into the data
//! folder; the interpreter comes from `[runtimes.pytorch]`, an installed runtime, or the PATH.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use kennel_wire::ServiceError;

use crate::folder::FolderError;

/// Why the toolkit cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("script mode's toolkit: {0}")]
pub struct ToolkitError(#[from] FolderError);

macro_rules! modules {
    ($($name:literal),+ $(,)?) => {
        &[$(($name, include_str!(concat!(
            env!("CARGO_MANIFEST_DIR"), "/../../runtimes/python/kennel_runtime/", $name
        )))),+]
    };
}

/// The modules of `kennel_runtime`.
const MODULES: &[(&str, &str)] = modules![
    "__init__.py",
    "archive.py",
    "child.py",
    "environment.py",
    "errors.py",
    "formats.py",
    "handlers.py",
    "http_server.py",
    "packages.py",
    "paths.py",
    "serve.py",
    "train.py",
];

/// File in the folder of a runtime that `kennel runtime install` writes last.
pub const INSTALLED: &str = "complete";

/// Where the toolkit is, and the interpreters.
#[derive(Debug)]
pub(super) struct Toolkit {
    /// For PYTHONPATH.
    pub(super) folder: PathBuf,
    configured: BTreeMap<String, PathBuf>,
    data: PathBuf,
}

/// An interpreter, and what the user should know about it.
#[derive(Debug)]
pub(super) struct Interpreter {
    pub(super) python: PathBuf,
    pub(super) note: Option<String>,
}

impl Toolkit {
    /// Writes the modules.
    pub(super) fn install(
        data: &Path,
        configured: BTreeMap<String, PathBuf>,
    ) -> Result<Self, ToolkitError> {
        let folder = data.join("runtimes").join("toolkit");
        let package = folder.join("kennel_runtime");
        std::fs::create_dir_all(&package).map_err(|e| FolderError::io(&package, e))?;
        for (name, text) in MODULES {
            let path = package.join(name);
            if std::fs::read(&path).is_ok_and(|found| found == text.as_bytes()) {
                continue;
            }
            // Aside and renamed, but not flushed: what a power cut tears is written again at the next
            // start, and twelve flushes would be most of the first start's time.
            let failed = |e| FolderError::io(&path, e);
            let mut aside = tempfile::NamedTempFile::new_in(&package).map_err(failed)?;
            aside.write_all(text.as_bytes()).map_err(failed)?;
            aside.persist(&path).map_err(|e| failed(e.error))?;
        }
        Ok(Toolkit { folder, configured, data: data.to_owned() })
    }

    /// The interpreter of a runtime.
    ///
    /// # Errors
    /// `ValidationException` where there is none, with what to configure.
    pub(super) fn interpreter(&self, runtime: &str) -> Result<Interpreter, ServiceError> {
        if let Some(python) = self.configured.get(runtime) {
            return Ok(Interpreter { python: python.clone(), note: None });
        }
        let installed = self.data.join("runtimes").join(runtime);
        let python = installed.join("bin").join("python");
        // Without the marker `kennel runtime install` is at work there, or was interrupted.
        if installed.join(INSTALLED).is_file() && python.is_file() {
            return Ok(Interpreter { python, note: None });
        }
        let path = std::env::var_os("PATH").unwrap_or_default();
        let found = std::env::split_paths(&path)
            .flat_map(|folder| ["python3", "python"].map(|name| folder.join(name)))
            .find(|candidate| candidate.is_file());
        match found {
            Some(python) => Ok(Interpreter {
                note: Some(format!(
                    "runtime `{runtime}` is not installed; the script runs with `{}` and the packages that it has (`kennel runtime install {runtime}`, or `[runtimes.{runtime}] python = …` in kennel.toml)",
                    python.display()
                )),
                python,
            }),
            None => Err(ServiceError::validation(format!(
                "no Python interpreter for runtime `{runtime}`\nhint: `kennel runtime install {runtime}`, or `[runtimes.{runtime}] python = …` in kennel.toml"
            ))),
        }
    }
}

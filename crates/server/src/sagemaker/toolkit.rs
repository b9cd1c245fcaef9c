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
            env!("CARGO_MANIFEST_DIR"), "/../../runtimes/python/", $name
        )))),+]
    };
}

/// `kennel_runtime`, which runs scripts; `kennel_debugger` for scripts to import; a stand-in for smdebug. Each
/// in a folder that goes into a PYTHONPATH of its own (`_for_scripts` in train.py).
const MODULES: &[(&str, &str)] = modules![
    "kennel_runtime/__init__.py",
    "kennel_runtime/archive.py",
    "kennel_runtime/child.py",
    "kennel_runtime/environment.py",
    "kennel_runtime/errors.py",
    "kennel_runtime/formats.py",
    "kennel_runtime/handlers.py",
    "kennel_runtime/http_server.py",
    "kennel_runtime/packages.py",
    "kennel_runtime/paths.py",
    "kennel_runtime/serve.py",
    "kennel_runtime/train.py",
    "user/kennel_debugger/__init__.py",
    "user/kennel_debugger/config.py",
    "user/kennel_debugger/hook.py",
    "user/kennel_debugger/tensors.py",
    "user/kennel_debugger/torch_hooks.py",
    "user/kennel_debugger/workers.py",
    "compat/smdebug/__init__.py",
    "compat/smdebug/_missing.py",
    "compat/smdebug/analysis.py",
    "compat/smdebug/mxnet.py",
    "compat/smdebug/rules.py",
    "compat/smdebug/tensorflow.py",
    "compat/smdebug/trials.py",
    "compat/smdebug/xgboost.py",
    "compat/smdebug/core/__init__.py",
    "compat/smdebug/core/collection.py",
    "compat/smdebug/core/modes.py",
    "compat/smdebug/core/reduction_config.py",
    "compat/smdebug/core/save_config.py",
    "compat/smdebug/profiler/__init__.py",
    "compat/smdebug/profiler/utils.py",
    "compat/smdebug/pytorch/__init__.py",
    "compat/smdebug/pytorch/collection.py",
    "compat/smdebug/pytorch/hook.py",
    "compat/smdebug/pytorch/singleton_utils.py",
];

/// File in the folder of a runtime that `kennel runtime install` writes last.
pub const INSTALLED: &str = "complete";

/// Where the toolkit is, and the interpreters.
#[derive(Debug)]
pub(super) struct Toolkit {
    /// For the PYTHONPATH of `kennel_runtime`.
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
        for (name, text) in MODULES {
            let path = folder.join(name);
            let package = path.parent().unwrap_or(&folder);
            if std::fs::read(&path).is_ok_and(|found| found == text.as_bytes()) {
                continue;
            }
            // Aside and renamed, but not flushed: what a power cut tears is written again at the next
            // start, and a flush for each would be most of the first start's time.
            let failed = |e| FolderError::io(&path, e);
            std::fs::create_dir_all(package).map_err(failed)?;
            let mut aside = tempfile::NamedTempFile::new_in(package).map_err(failed)?;
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

#[cfg(test)]
mod tests;

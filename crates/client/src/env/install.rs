//! `kennel env --install` and `--uninstall`: the AWS profile `kennel` and the hook that sends the
//! SageMaker SDK's STS calls here. A record in the data folder lists what was put where, and that, no
//! more, is taken away again.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde::{Deserialize, Serialize};

use super::block;
use crate::error::ClientError;
use crate::files::{read_if_any, write_aside};
use crate::paths::aws_file;
use crate::profile;
use crate::target::ServerRecord;

/// The record's name in the data folder.
const RECORD: &str = "installed.json";
/// The hook and its starter.
const HOOK: &str = include_str!("python/kennel_sts.py");
const SITECUSTOMIZE: &str = include_str!("python/sitecustomize.py");
/// Read by Python's `site` at its start.
const PTH: &str = "import kennel_sts\n";

/// What is installed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Installed {
    /// The AWS configuration file with the block.
    pub aws_config: Option<PathBuf>,
    /// Whether that file was made for it.
    #[serde(default)]
    pub made_config: bool,
    /// The folder for PYTHONPATH.
    pub python_folder: Option<PathBuf>,
    /// Files put into interpreters' own folders.
    #[serde(default)]
    pub site_files: Vec<PathBuf>,
}

/// What to install.
#[derive(Debug)]
pub(crate) struct InstallOptions<'a> {
    pub data_dir: &'a Path,
    pub server: &'a ServerRecord,
    /// This program, for `credential_process`.
    pub program: PathBuf,
    /// An interpreter that gets the hook for itself, instead of the folder for PYTHONPATH.
    pub python: Option<PathBuf>,
    pub aws_config: PathBuf,
}

/// The configuration file that AWS's tools read.
pub(crate) fn config_file() -> PathBuf {
    aws_file("AWS_CONFIG_FILE", "config")
}

/// What is installed for this data folder.
pub(crate) fn installed(data_dir: &Path) -> Result<Installed, ClientError> {
    let path = data_dir.join(RECORD);
    let Some(bytes) = read_if_any(&path)? else { return Ok(Installed::default()) };
    serde_json::from_slice(&bytes).map_err(|e| {
        ClientError::Usage(format!("`{}` cannot be read: {e}\nhint: remove it", path.display()))
    })
}

fn record(data_dir: &Path, installed: &Installed) -> Result<(), ClientError> {
    let text = serde_json::to_vec_pretty(installed)
        .map_err(|e| ClientError::Usage(format!("the record cannot be written: {e}")))?;
    write_aside(&data_dir.join(RECORD), &text, 0o644)
}

/// Installs; returns what there is then.
pub(crate) fn install(options: &InstallOptions<'_>) -> Result<Installed, ClientError> {
    let data_dir = std::path::absolute(options.data_dir)
        .map_err(ClientError::file("read", options.data_dir))?;
    let mut known = installed(&data_dir)?;
    let config = std::path::absolute(&options.aws_config)
        .map_err(ClientError::file("read", &options.aws_config))?;
    if let Some(other) = known.aws_config.as_ref().filter(|c| **c != config) {
        return Err(ClientError::Usage(format!(
            "the profile is already in `{}`\nhint: run `kennel env --uninstall` first",
            other.display()
        )));
    }
    let old = read_if_any(&config)?;
    let new = new_config(options, &data_dir, &config, old.as_deref().unwrap_or_default())?;
    // The record comes first: whatever is interrupted after it can be taken away.
    known.made_config |= old.is_none();
    known.aws_config = Some(config.clone());
    record(&data_dir, &known)?;
    if let Some(parent) = config.parent() {
        std::fs::create_dir_all(parent).map_err(ClientError::file("create", parent))?;
    }
    write_aside(&config, &new, 0o600)?;
    match &options.python {
        Some(python) => {
            let folder = site_packages(python)?;
            let files =
                [(folder.join("kennel_sts.py"), HOOK), (folder.join("kennel_sts.pth"), PTH)];
            for (path, _) in &files {
                if !known.site_files.contains(path) {
                    known.site_files.push(path.clone());
                }
            }
            record(&data_dir, &known)?;
            for (path, text) in &files {
                write_aside(path, text.as_bytes(), 0o644)?;
            }
        }
        None => {
            let folder = data_dir.join("python");
            known.python_folder = Some(folder.clone());
            record(&data_dir, &known)?;
            std::fs::create_dir_all(&folder).map_err(ClientError::file("create", &folder))?;
            write_aside(&folder.join("kennel_sts.py"), HOOK.as_bytes(), 0o644)?;
            write_aside(&folder.join("sitecustomize.py"), SITECUSTOMIZE.as_bytes(), 0o644)?;
        }
    }
    Ok(known)
}

/// The configuration file with our profile in it.
fn new_config(
    options: &InstallOptions<'_>,
    data_dir: &Path,
    config: &Path,
    old: &[u8],
) -> Result<Vec<u8>, ClientError> {
    let broken = |why: &str| {
        ClientError::Usage(format!(
            "`{}` is left alone: {why}\nhint: remove what is left of the block by hand",
            config.display()
        ))
    };
    let bare = block::without(old).map_err(broken)?;
    if profile::sections(&String::from_utf8_lossy(&bare)).contains_key("profile kennel") {
        return Err(ClientError::Usage(format!(
            "`{}` has a profile `kennel` of your own\nhint: rename it; Kennel touches no profile but its own",
            config.display()
        )));
    }
    let content = format!(
        "[profile kennel]\nregion = {}\nendpoint_url = {}\ncredential_process = {} credentials --data-dir {}\n",
        options.server.region,
        options.server.url,
        quoted(&options.program)?,
        quoted(data_dir)?,
    );
    block::with(old, &content).map_err(broken)
}

/// A path as AWS's tools split `credential_process`: in double quotes, which cannot be escaped in all
/// of them.
fn quoted(path: &Path) -> Result<String, ClientError> {
    match path.to_str().filter(|t| !t.contains(['"', '\n', '\r', '\\'])) {
        Some(text) => Ok(format!("\"{text}\"")),
        None => Err(ClientError::Usage(format!(
            "the path `{}` cannot stand in ~/.aws/config\nhint: use one without quotes and backslashes",
            path.display()
        ))),
    }
}

/// Where an interpreter keeps its packages.
fn site_packages(python: &Path) -> Result<PathBuf, ClientError> {
    let script = "import sysconfig; print(sysconfig.get_paths()['purelib'])";
    let output = Command::new(python)
        .args(["-I", "-c", script])
        .output()
        .map_err(ClientError::file("run", python))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let folder = PathBuf::from(text.trim());
    if !output.status.success() || !folder.is_absolute() || !folder.is_dir() {
        return Err(ClientError::Usage(format!(
            "`{}` does not say where its packages are\nhint: name a Python interpreter, as in .venv/bin/python",
            python.display()
        )));
    }
    Ok(folder)
}

/// Takes away what the record lists; returns that.
pub(crate) fn uninstall(data_dir: &Path) -> Result<Installed, ClientError> {
    let known = installed(data_dir)?;
    if let Some(config) = &known.aws_config
        && let Some(old) = read_if_any(config)?
    {
        let new = block::without(&old).map_err(|why| {
            ClientError::Usage(format!(
                "`{}` is left alone: {why}\nhint: remove what is left of the block by hand",
                config.display()
            ))
        })?;
        if new.is_empty() && known.made_config {
            remove(config)?;
        } else if new != old {
            write_aside(config, &new, 0o600)?;
        }
    }
    for path in &known.site_files {
        remove(path)?;
        remove_cache(path);
    }
    if let Some(folder) = &known.python_folder {
        for name in ["kennel_sts.py", "sitecustomize.py"] {
            remove(&folder.join(name))?;
            remove_cache(&folder.join(name));
        }
        // What a user put there stays, and with it the folder.
        let _ = std::fs::remove_dir(folder.join("__pycache__"));
        let _ = std::fs::remove_dir(folder);
    }
    remove(&data_dir.join(RECORD))?;
    Ok(known)
}

fn remove(path: &Path) -> Result<(), ClientError> {
    match std::fs::remove_file(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            Err(ClientError::file("remove", path)(e))
        }
        _ => Ok(()),
    }
}

/// Removes what Python compiled of a module; it is only a cache.
fn remove_cache(module: &Path) {
    let (Some(folder), Some(stem)) = (module.parent(), module.file_stem()) else { return };
    let prefix = format!("{}.", stem.to_string_lossy());
    let Ok(entries) = std::fs::read_dir(folder.join("__pycache__")) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with(&prefix) && name.ends_with(".pyc") {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

#[cfg(test)]
mod tests;

//! `kennel runtime`: the Python environments that run the scripts of framework containers and the
//! functions in Python.
//!
//! A virtual environment knows its own path, so it is made where it stays. The file `complete` is
//! written last: without it the platform does not use the folder and the next installation starts
//! afresh. A lock beside the folder keeps two installations apart.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command as Process, Stdio};

use clap::{Args, Subcommand};
use comfy_table::Table;
use kennel_base::{ErrorCode, ErrorCoded};
use kennel_client::default_data_dir;
use kennel_server::sagemaker::INSTALLED;

use crate::output::{self, line};

/// The runtimes that there are.
const RUNTIMES: [&str; 2] = ["pytorch", "python"];
/// What scripts of AWS's PyTorch containers may expect.
const PYTORCH: [&str; 5] = ["torch", "torchvision", "pillow", "numpy", "boto3"];
/// What Lambda's Python runtimes bring: the client of the Runtime API, which the platform is tested with in
/// this version, and boto3.
const PYTHON: [&str; 2] = ["awslambdaric==4.2.2", "boto3==1.44.5"];

/// The packages of a runtime where none are asked for.
fn packages(runtime: &str) -> &'static [&'static str] {
    match runtime {
        "python" => &PYTHON,
        _ => &PYTORCH,
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make a Python environment with your own pip: pytorch for training scripts and inference handlers,
    /// python for Lambda functions
    Install(Install),
    /// Runtimes and whether they are installed
    List(List),
}

#[derive(Debug, Args)]
#[command(
    after_help = "python is what functions with a python3.x runtime run with: AWS's awslambdaric and boto3, in \
    fixed versions, for Python 3.10 or newer. Packages named here come in addition to those.\n\n\
    On Linux the plain `torch` of PyPI brings several gigabytes of CUDA libraries. On a \
    machine without a GPU install the CPU build: put `--index-url` and the packages into a file as \
    pytorch.org shows it and give that with `--requirements`, or set pip's own PIP_INDEX_URL."
)]
pub(crate) struct Install {
    /// The runtime
    #[arg(value_parser = RUNTIMES)]
    runtime: String,
    /// Packages as pip takes them [default: for pytorch torch torchvision pillow numpy boto3]
    #[arg(value_name = "PACKAGES")]
    packages: Vec<String>,
    /// A package, as the arguments
    #[arg(long = "package", value_name = "PACKAGE")]
    more: Vec<String>,
    /// A requirements.txt to install; with it, there are no default packages
    #[arg(long, value_name = "FILE", num_args = 1..)]
    requirements: Vec<PathBuf>,
    /// The interpreter to make the environment with
    #[arg(long, value_name = "PROGRAM", default_value = "python3")]
    python: PathBuf,
    /// Make it anew even if it is installed; what runs with it meanwhile fails
    #[arg(long)]
    force: bool,
    /// The platform's data folder [default: the platform's]
    #[arg(long, value_name = "DIR", env = "KENNEL_DATA_DIR")]
    data_dir: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct List {
    /// The platform's data folder [default: the platform's]
    #[arg(long, value_name = "DIR", env = "KENNEL_DATA_DIR")]
    data_dir: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Why a runtime could not be installed.
#[derive(Debug)]
pub(crate) enum RuntimeError {
    /// It is there.
    Installed(PathBuf),
    /// Another process installs it.
    Busy(PathBuf),
    /// No such interpreter.
    NoPython(PathBuf, std::io::Error),
    /// The environment could not be made.
    Environment(PathBuf),
    /// pip failed; it has said why.
    Pip(Option<i32>),
    /// The system refused.
    Io(PathBuf, std::io::Error),
}

impl std::fmt::Display for RuntimeError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            RuntimeError::Installed(folder) => write!(
                f,
                "`{}` is installed already\nhint: `--force` makes it anew",
                folder.display()
            ),
            RuntimeError::Busy(folder) => write!(
                f,
                "another `kennel runtime install` is at work on `{}`\nhint: wait for it",
                folder.display()
            ),
            RuntimeError::NoPython(python, e) => write!(
                f,
                "cannot run `{}`: {e}\nhint: install Python 3.8 or newer, or name one with `--python`",
                python.display()
            ),
            RuntimeError::Environment(python) => write!(
                f,
                "`{}` cannot make a virtual environment; its words are above\nhint: it needs the modules venv and ensurepip (Debian, Ubuntu: the package python3-venv)",
                python.display()
            ),
            RuntimeError::Pip(status) => {
                match status {
                    Some(status) => write!(f, "pip failed with exit code {status}")?,
                    None => f.write_str("pip was ended by a signal")?,
                }
                f.write_str("; its words are above, and nothing is installed\nhint: check the packages' names and the network, then repeat the command")
            }
            RuntimeError::Io(path, e) => write!(
                f,
                "`{}`: {e}\nhint: the data folder must be writable and have space left",
                path.display()
            ),
        }
    }
}

impl std::error::Error for RuntimeError {}

impl ErrorCoded for RuntimeError {
    fn code(&self) -> ErrorCode {
        match self {
            RuntimeError::Installed(_) | RuntimeError::Busy(_) => ErrorCode::Conflict,
            RuntimeError::NoPython(..) => ErrorCode::NotFound,
            RuntimeError::Environment(_) | RuntimeError::Io(..) => ErrorCode::Unavailable,
            RuntimeError::Pip(None) => ErrorCode::Interrupted,
            RuntimeError::Pip(Some(_)) => ErrorCode::Upstream,
        }
    }
}

pub(crate) fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Install(arguments) => install(&arguments),
        Command::List(arguments) => list(&arguments),
    }
}

fn install(arguments: &Install) -> anyhow::Result<()> {
    let wanted = requested(arguments)?;
    let runtimes = folder_of(arguments.data_dir.as_ref());
    let folder = runtimes.join(&arguments.runtime);
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |e| RuntimeError::Io(path, e)
    };
    std::fs::create_dir_all(&runtimes).map_err(failed(&runtimes))?;
    // Virtual environments write absolute paths into their scripts.
    let folder = std::path::absolute(&folder).map_err(failed(&folder))?;
    let _lock = lock(&folder)?;
    if folder.join(INSTALLED).is_file() && !arguments.force {
        return Err(RuntimeError::Installed(folder).into());
    }
    // Asked before anything that works is removed.
    let mut asked = Process::new(&arguments.python);
    shown(asked.arg("--version"))
        .map_err(|e| RuntimeError::NoPython(arguments.python.clone(), e))?;
    remove(&folder)?;
    let made = make(&folder, &arguments.python, &wanted);
    if made.is_err() {
        // What is half-made would not be used, but it takes space.
        if let Err(e) = remove(&folder) {
            tracing::warn!("{e}");
        }
    }
    made?;
    line(folder.display());
    Ok(())
}

/// What pip is to install, as its arguments.
fn requested(arguments: &Install) -> anyhow::Result<Vec<String>> {
    let mut wanted = Vec::new();
    for file in &arguments.requirements {
        if !file.is_file() {
            return Err(output::usage(format!(
                "`{}` is no file\nhint: `--requirements` takes requirements.txt files",
                file.display()
            )));
        }
        let Some(file) = file.to_str() else {
            return Err(output::usage(format!("`{}` is not UTF-8", file.display())));
        };
        wanted.extend(["--requirement".to_owned(), file.to_owned()]);
    }
    let packages: Vec<&String> = arguments.packages.iter().chain(&arguments.more).collect();
    if let Some(option) = packages.iter().find(|p| p.trim().is_empty() || p.starts_with('-')) {
        return Err(output::usage(format!(
            "`{option}` is not a package\nhint: options of pip go into a requirements file or PIP_* variables"
        )));
    }
    // Functions do not start without their runtime's packages, whatever else they need.
    if arguments.runtime == "python" || (packages.is_empty() && wanted.is_empty()) {
        wanted.extend(self::packages(&arguments.runtime).iter().map(|p| (*p).to_owned()));
    }
    wanted.extend(packages.into_iter().cloned());
    Ok(wanted)
}

/// Held until the file is dropped; the system lets go of it when this process dies.
fn lock(folder: &Path) -> Result<File, RuntimeError> {
    let path = folder.with_extension("lock");
    let failed = |e| RuntimeError::Io(path.clone(), e);
    let file =
        OpenOptions::new().create(true).truncate(false).write(true).open(&path).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(RuntimeError::Busy(folder.to_owned())),
        Err(TryLockError::Error(e)) => Err(failed(e)),
    }
}

/// Removes a runtime, its marker first.
fn remove(folder: &Path) -> Result<(), RuntimeError> {
    let gone = |outcome: std::io::Result<()>| match outcome {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            Err(RuntimeError::Io(folder.to_owned(), e))
        }
        _ => Ok(()),
    };
    gone(std::fs::remove_file(folder.join(INSTALLED)))?;
    gone(std::fs::remove_dir_all(folder))
}

fn make(folder: &Path, python: &Path, wanted: &[String]) -> Result<(), RuntimeError> {
    tracing::info!("making `{}`", folder.display());
    let mut venv = Process::new(python);
    venv.args(["-m", "venv"]).arg(folder);
    let status = shown(&mut venv).map_err(|e| RuntimeError::NoPython(python.to_owned(), e))?;
    let own = folder.join("bin").join("python");
    if status != Some(0) || !own.is_file() {
        return Err(RuntimeError::Environment(python.to_owned()));
    }
    tracing::info!("pip install {}", wanted.join(" "));
    let mut pip = Process::new(&own);
    pip.args(["-m", "pip", "install", "--no-input", "--disable-pip-version-check"]).args(wanted);
    let status = shown(&mut pip).map_err(|e| RuntimeError::Io(own, e))?;
    if status != Some(0) {
        return Err(RuntimeError::Pip(status));
    }
    let marker = folder.join(INSTALLED);
    let written = File::create(&marker).and_then(|mut file| {
        writeln!(file, "{}", wanted.join(" "))?;
        file.sync_all()
    });
    written.map_err(|e| RuntimeError::Io(marker, e))
}

/// Runs a program whose words all go to stderr, for stdout is for the result. Answers its exit code.
fn shown(process: &mut Process) -> std::io::Result<Option<i32>> {
    // Variables of an environment that is active here would lead pip astray.
    process.env_remove("PYTHONHOME").env_remove("PYTHONPATH").env_remove("PIP_TARGET");
    process.env_remove("PIP_USER").env_remove("PIP_PREFIX");
    let mut child = process.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
    if let Some(mut words) = child.stdout.take() {
        let mut buffer = [0; 4096];
        // As they come: progress bars end their lines late.
        while let Ok(count @ 1..) = words.read(&mut buffer) {
            let _ = std::io::stderr().write_all(&buffer[..count]);
        }
    }
    Ok(child.wait()?.code())
}

fn folder_of(data_dir: Option<&PathBuf>) -> PathBuf {
    data_dir.cloned().unwrap_or_else(default_data_dir).join("runtimes")
}

/// What is known of a runtime's folder.
#[derive(Debug, PartialEq, Eq)]
enum State {
    Missing,
    Incomplete,
    Installed(String),
}

fn state(folder: &Path) -> State {
    match std::fs::read_to_string(folder.join(INSTALLED)) {
        Ok(packages) if folder.join("bin").join("python").is_file() => {
            State::Installed(packages.trim().to_owned())
        }
        _ if folder.is_dir() => State::Incomplete,
        _ => State::Missing,
    }
}

fn list(arguments: &List) -> anyhow::Result<()> {
    let runtimes = folder_of(arguments.data_dir.as_ref());
    let rows: Vec<_> = RUNTIMES
        .iter()
        .map(|name| {
            let folder = runtimes.join(name);
            let (state, packages) = match state(&folder) {
                State::Missing => ("not installed", String::new()),
                State::Incomplete => ("incomplete", String::new()),
                State::Installed(packages) => ("installed", packages),
            };
            (*name, state, packages, folder)
        })
        .collect();
    if arguments.json {
        let rows: Vec<_> = rows
            .iter()
            .map(|(name, state, packages, folder)| {
                serde_json::json!({
                    "runtime": name, "state": state, "packages": packages, "folder": folder,
                })
            })
            .collect();
        line(serde_json::to_string_pretty(&rows)?);
        return Ok(());
    }
    let mut table = Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    table.set_header(["runtime", "state", "packages", "folder"]);
    for (name, state, packages, folder) in rows {
        table.add_row([name, state, &packages, &folder.display().to_string()]);
    }
    line(table);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(packages: &[&str], requirements: Vec<PathBuf>) -> Install {
        Install {
            runtime: "pytorch".to_owned(),
            packages: packages.iter().map(|p| (*p).to_owned()).collect(),
            more: Vec::new(),
            requirements,
            python: PathBuf::from("python3"),
            force: false,
            data_dir: None,
        }
    }

    #[test]
    fn default_packages_only_where_none_are_asked_for() {
        assert_eq!(requested(&arguments(&[], vec![])).unwrap(), PYTORCH);
        let one = Install { more: vec!["numpy".to_owned()], ..arguments(&["pillow"], vec![]) };
        assert_eq!(requested(&one).unwrap(), ["pillow", "numpy"]);
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("requirements.txt");
        assert!(requested(&arguments(&[], vec![file.clone()])).is_err());
        std::fs::write(&file, "pillow\n").unwrap();
        let name = file.to_str().unwrap().to_owned();
        assert_eq!(requested(&arguments(&[], vec![file])).unwrap(), ["--requirement", &name]);
    }

    #[test]
    fn functions_always_have_their_runtime() {
        let more = Install { runtime: "python".to_owned(), ..arguments(&["numpy"], vec![]) };
        assert_eq!(requested(&more).unwrap(), [PYTHON[0], PYTHON[1], "numpy"]);
    }

    #[test]
    fn packages_are_not_options_of_pip() {
        for bad in ["--target=/etc", "-e.", "", " "] {
            assert!(requested(&arguments(&[bad], vec![])).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn only_a_marked_environment_counts() {
        let folder = tempfile::tempdir().unwrap();
        let runtime = folder.path().join("pytorch");
        assert_eq!(state(&runtime), State::Missing);
        std::fs::create_dir_all(runtime.join("bin")).unwrap();
        std::fs::write(runtime.join("bin/python"), "").unwrap();
        assert_eq!(state(&runtime), State::Incomplete);
        std::fs::write(runtime.join(INSTALLED), "pillow\n").unwrap();
        assert_eq!(state(&runtime), State::Installed("pillow".to_owned()));
        remove(&runtime).unwrap();
        remove(&runtime).unwrap();
        assert_eq!(state(&runtime), State::Missing);
    }

    #[test]
    fn one_installation_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let runtime = folder.path().join("pytorch");
        let held = lock(&runtime).unwrap();
        assert!(matches!(lock(&runtime), Err(RuntimeError::Busy(_))));
        drop(held);
        assert!(lock(&runtime).is_ok());
    }

    #[test]
    fn a_missing_interpreter_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let wanted = Install {
            python: PathBuf::from("/nowhere/python3"),
            data_dir: Some(folder.path().to_owned()),
            ..arguments(&["pillow"], vec![])
        };
        let error = install(&wanted).unwrap_err();
        assert_eq!(crate::code_of(&error).exit_code(), 2, "{error}");
        assert_eq!(state(&folder.path().join("runtimes/pytorch")), State::Missing);
    }
}

//! Engines run ONNX graphs. One small blocking trait; `rten` (pure Rust) is always there, ONNX
//! Runtime is loaded at run time wherever its library is found and is preferred then.

mod install;
mod onnxruntime;
mod rten;

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use kennel_base::{ErrorCode, ErrorCoded};

pub use install::{
    InstallSource, ONNXRUNTIME_VERSION, install_onnxruntime, installed_library_folder,
};

/// Which engine runs a graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EngineKind {
    /// The pure Rust engine, always built in.
    Rten,
    /// ONNX Runtime, loaded at run time.
    OnnxRuntime,
}

impl fmt::Display for EngineKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            EngineKind::Rten => "rten",
            EngineKind::OnnxRuntime => "onnxruntime",
        })
    }
}

impl FromStr for EngineKind {
    type Err = EngineError;
    fn from_str(text: &str) -> Result<Self, EngineError> {
        match text {
            "rten" => Ok(EngineKind::Rten),
            "onnxruntime" | "ort" => Ok(EngineKind::OnnxRuntime),
            _ => Err(EngineError::Unknown { name: text.to_owned() }),
        }
    }
}

/// Why an engine could not do its work.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    /// No engine has this name.
    #[error("no engine is called `{name}`\nhint: choose `rten` or `onnxruntime`")]
    Unknown {
        /// Name as given.
        name: String,
    },
    /// The engine's library is not on this machine, or cannot be loaded.
    #[error(
        "engine `{engine}` is not available: {reason}\nhint: `kennel engine install onnxruntime` fetches it, `--engine rten` needs nothing"
    )]
    NotAvailable {
        /// Engine.
        engine: EngineKind,
        /// Why.
        reason: String,
    },
    /// The engine refused the graph.
    #[error(
        "engine `{engine}` cannot load the network: {reason}\nhint: try the other engine with `--engine`, or export with another opset"
    )]
    Load {
        /// Engine.
        engine: EngineKind,
        /// The engine's words.
        reason: String,
    },
    /// Running failed.
    #[error("engine `{engine}` failed: {reason}\nhint: try the other engine with `--engine`")]
    Run {
        /// Engine.
        engine: EngineKind,
        /// The engine's words.
        reason: String,
    },
    /// Installing failed.
    #[error("cannot install {what}: {reason}\nhint: {hint}")]
    Install {
        /// What was to be installed.
        what: String,
        /// Why it failed.
        reason: String,
        /// What to do.
        hint: String,
    },
}

impl ErrorCoded for EngineError {
    fn code(&self) -> ErrorCode {
        match self {
            EngineError::Unknown { .. } | EngineError::Load { .. } => ErrorCode::InvalidInput,
            EngineError::NotAvailable { .. } => ErrorCode::NotFound,
            EngineError::Install { .. } => ErrorCode::Upstream,
            EngineError::Run { .. } => ErrorCode::Internal,
        }
    }
}

/// What a run gave: the network's one output.
#[derive(Debug, Clone, PartialEq)]
pub struct Output {
    /// Shape; the batch comes first.
    pub shape: Vec<usize>,
    /// Values, row-major.
    pub values: Vec<f32>,
}

impl Output {
    /// Values per photo.
    pub fn width(&self) -> usize {
        self.shape.iter().skip(1).product()
    }

    /// One slice per photo.
    pub fn rows(&self) -> impl Iterator<Item = &[f32]> {
        self.values.chunks_exact(self.width().max(1))
    }
}

/// A loaded network. Blocking; one caller at a time. [`Session::fork`] makes another for a second
/// worker, sharing weights where the engine can.
pub trait Session: Send + fmt::Debug {
    /// Runs a batch: `input` is `[batch, 3, height, width]`, row-major.
    ///
    /// # Errors
    /// [`EngineError::Run`] with the engine's words.
    fn run(&mut self, input: &[f32], shape: [usize; 4]) -> Result<Output, EngineError>;

    /// Another session of the same network.
    ///
    /// # Errors
    /// As loading.
    fn fork(&self) -> Result<Box<dyn Session>, EngineError>;

    /// Which engine this is.
    fn kind(&self) -> EngineKind;
}

/// How a network is loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EngineOptions {
    /// The engine; `None` takes ONNX Runtime where it is found and rten otherwise.
    pub kind: Option<EngineKind>,
    /// Threads that one run may use, at least 1.
    pub threads: usize,
}

impl Default for EngineOptions {
    fn default() -> Self {
        EngineOptions { kind: None, threads: 1 }
    }
}

/// Loads a network that is one ONNX file with its weights inside.
///
/// # Errors
/// When the engine asked for is not on this machine, or refuses the network.
pub fn load(onnx: &Arc<Vec<u8>>, options: &EngineOptions) -> Result<Box<dyn Session>, EngineError> {
    let threads = options.threads.max(1);
    match options.kind {
        Some(EngineKind::Rten) => rten::load(onnx, threads),
        Some(EngineKind::OnnxRuntime) => onnxruntime::load(onnx, threads),
        None => match onnxruntime::load(onnx, threads) {
            Ok(session) => Ok(session),
            Err(EngineError::NotAvailable { .. }) => rten::load(onnx, threads),
            // A network that ONNX Runtime refuses may still run in rten; if not, its own words matter.
            Err(first) => rten::load(onnx, threads).map_err(|_| first),
        },
    }
}

/// The engine that [`load`] takes when none is chosen.
pub fn preferred() -> EngineKind {
    if onnxruntime::environment().is_ok() { EngineKind::OnnxRuntime } else { EngineKind::Rten }
}

/// One line of `kennel engine list`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineInfo {
    /// Engine.
    pub kind: EngineKind,
    /// Whether it can be used now.
    pub available: bool,
    /// Version, where known.
    pub version: Option<String>,
    /// Library file, for engines loaded at run time.
    pub library: Option<PathBuf>,
    /// Why it cannot be used, or a remark.
    pub note: String,
}

/// Every engine that Kennel knows, with its state on this machine.
pub fn list() -> Vec<EngineInfo> {
    let preferred = preferred();
    let note = |kind: EngineKind| {
        if kind == preferred { "used unless --engine says otherwise" } else { "" }.to_owned()
    };
    let onnxruntime = match onnxruntime::environment() {
        Ok(found) => EngineInfo {
            kind: EngineKind::OnnxRuntime,
            available: true,
            version: onnxruntime::version(&found.library),
            library: Some(found.library.clone()),
            note: note(EngineKind::OnnxRuntime),
        },
        Err(e) => EngineInfo {
            kind: EngineKind::OnnxRuntime,
            available: false,
            version: None,
            library: None,
            note: match e {
                EngineError::NotAvailable { reason, .. } => reason,
                other => other.to_string(),
            },
        },
    };
    vec![
        onnxruntime,
        EngineInfo {
            kind: EngineKind::Rten,
            available: true,
            version: Some("0.27".to_owned()),
            library: None,
            note: note(EngineKind::Rten),
        },
    ]
}

#[cfg(test)]
mod tests;

//! ONNX Runtime through `ort`, its shared library found and loaded at run time: faster than rten on
//! CPUs (1.5 to 4 times as measured in bench/RESULTS.md), and not part of the binary.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use ort::environment::Environment;
use ort::session::Session as OrtSession;
use ort::session::builder::{GraphOptimizationLevel, PrepackedWeights};
use ort::value::TensorRef;

use super::{EngineError, EngineKind, Output, Session, install};

/// The library that was found and loaded, once per process.
pub(super) struct Found {
    environment: Environment,
    pub(super) library: PathBuf,
}

/// Loads the library at the first call; every later call has the same answer.
pub(super) fn environment() -> Result<&'static Found, EngineError> {
    static FOUND: OnceLock<Result<Found, EngineError>> = OnceLock::new();
    FOUND.get_or_init(find).as_ref().map_err(Clone::clone)
}

fn not_available(reason: String) -> EngineError {
    EngineError::NotAvailable { engine: EngineKind::OnnxRuntime, reason }
}

fn find() -> Result<Found, EngineError> {
    let mut problems = Vec::new();
    for library in candidates() {
        let loaded = ort::init_from(&library)
            .map_err(|e| e.to_string())
            .and_then(|b| b.with_telemetry(false).build().map_err(|e| e.to_string()));
        match loaded {
            Ok(environment) => {
                environment.set_log_level(ort::logging::LogLevel::Error);
                return Ok(Found { environment, library });
            }
            Err(reason) => problems.push(format!("`{}`: {reason}", library.display())),
        }
    }
    Err(not_available(if problems.is_empty() {
        "its library was not found".to_owned()
    } else {
        problems.join("; ")
    }))
}

#[cfg(target_os = "windows")]
const LIBRARY: (&str, &str) = ("onnxruntime", ".dll");
#[cfg(target_os = "macos")]
const LIBRARY: (&str, &str) = ("libonnxruntime", ".dylib");
#[cfg(not(any(target_os = "windows", target_os = "macos")))]
const LIBRARY: (&str, &str) = ("libonnxruntime", ".so");

/// Whether a file name is the runtime itself, whatever its version, and not a provider beside it.
pub(super) fn is_library(name: &str) -> bool {
    let (stem, extension) = LIBRARY;
    let rest = name.strip_prefix(stem);
    rest.is_some_and(|rest| rest.contains(extension) && !rest.starts_with('_'))
}

/// The usual places, best first: what the user names, what `kennel engine install` made, the binary's
/// own folder, the active Python environment, the system.
fn candidates() -> Vec<PathBuf> {
    for variable in ["KENNEL_ONNXRUNTIME", "ORT_DYLIB_PATH"] {
        if let Some(path) = std::env::var_os(variable).filter(|v| !v.is_empty()) {
            // Naming a library means that library or none.
            return vec![PathBuf::from(path)];
        }
    }
    let mut folders = vec![install::installed_library_folder()];
    if let Some(folder) = std::env::current_exe().ok().and_then(|p| p.parent().map(Path::to_owned))
    {
        folders.push(folder);
    }
    if let Some(environment) = std::env::var_os("VIRTUAL_ENV").or(std::env::var_os("CONDA_PREFIX"))
    {
        let lib = PathBuf::from(environment).join("lib");
        for entry in std::fs::read_dir(&lib).into_iter().flatten().flatten() {
            folders.push(entry.path().join("site-packages/onnxruntime/capi"));
        }
        folders.push(lib);
    }
    folders.extend(
        [
            "/usr/local/lib",
            "/usr/lib",
            "/usr/lib64",
            "/usr/lib/x86_64-linux-gnu",
            "/usr/lib/aarch64-linux-gnu",
            "/opt/onnxruntime/lib",
            "/opt/homebrew/lib",
        ]
        .map(PathBuf::from),
    );
    folders.iter().filter_map(|folder| library_in(folder)).collect()
}

fn library_in(folder: &Path) -> Option<PathBuf> {
    let mut found: Vec<PathBuf> = std::fs::read_dir(folder)
        .ok()?
        .flatten()
        .filter(|entry| entry.file_name().to_str().is_some_and(is_library))
        .map(|entry| entry.path())
        .collect();
    found.sort();
    found.pop()
}

/// The version in a library's file name or in its folder's name.
pub(super) fn version(library: &Path) -> Option<String> {
    let digits = |text: &str| {
        let start = text.find(|c: char| c.is_ascii_digit())?;
        let end = text[start..]
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .map_or(text.len(), |end| start + end);
        let version = text[start..end].trim_matches('.');
        version.contains('.').then(|| version.to_owned())
    };
    let name = library.file_name()?.to_str()?;
    digits(name).or_else(|| digits(library.parent()?.file_name()?.to_str()?))
}

struct OnnxRuntimeSession {
    session: OrtSession,
    onnx: Arc<Vec<u8>>,
    threads: usize,
    prepacked: PrepackedWeights,
}

impl fmt::Debug for OnnxRuntimeSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OnnxRuntimeSession").field("threads", &self.threads).finish_non_exhaustive()
    }
}

pub(super) fn load(onnx: &Arc<Vec<u8>>, threads: usize) -> Result<Box<dyn Session>, EngineError> {
    // INVARIANT: no call into `ort` before the library is loaded; it would look for one by itself and
    // panic when it finds none.
    environment()?;
    Ok(Box::new(session(onnx, threads, PrepackedWeights::new())?))
}

fn session(
    onnx: &Arc<Vec<u8>>,
    threads: usize,
    prepacked: PrepackedWeights,
) -> Result<OnnxRuntimeSession, EngineError> {
    let failed = |reason: String| EngineError::Load { engine: EngineKind::OnnxRuntime, reason };
    let found = environment()?;
    let build = || -> Result<OrtSession, String> {
        let text = |e: &dyn fmt::Display| e.to_string();
        OrtSession::builder(&found.environment)
            .map_err(|e| text(&e))?
            .with_optimization_level(GraphOptimizationLevel::All)
            .map_err(|e| text(&e))?
            .with_intra_threads(threads)
            .map_err(|e| text(&e))?
            .with_inter_threads(1)
            .map_err(|e| text(&e))?
            .with_prepacked_weights(&prepacked)
            .map_err(|e| text(&e))?
            .commit_from_memory(onnx)
            .map_err(|e| text(&e))
    };
    let session = build().map_err(failed)?;
    if session.inputs().len() != 1 || session.outputs().len() != 1 {
        return Err(failed(format!(
            "the network has {} inputs and {} outputs, not one of each",
            session.inputs().len(),
            session.outputs().len()
        )));
    }
    Ok(OnnxRuntimeSession { session, onnx: Arc::clone(onnx), threads, prepacked })
}

impl Session for OnnxRuntimeSession {
    fn run(&mut self, input: &[f32], shape: [usize; 4]) -> Result<Output, EngineError> {
        let failed = |reason: String| EngineError::Run { engine: EngineKind::OnnxRuntime, reason };
        let tensor =
            TensorRef::from_array_view((shape, input)).map_err(|e| failed(e.to_string()))?;
        let outputs = self.session.run(ort::inputs![tensor]).map_err(|e| failed(e.to_string()))?;
        let (shape, values) =
            outputs[0].try_extract_tensor::<f32>().map_err(|e| failed(e.to_string()))?;
        Ok(Output {
            shape: shape.iter().map(|&d| usize::try_from(d).unwrap_or(0)).collect(),
            values: values.to_vec(),
        })
    }

    fn fork(&self) -> Result<Box<dyn Session>, EngineError> {
        Ok(Box::new(session(&self.onnx, self.threads, self.prepacked.clone())?))
    }

    fn kind(&self) -> EngineKind {
        EngineKind::OnnxRuntime
    }
}

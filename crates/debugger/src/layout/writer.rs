//! Saving tensors: one file per step, whole or not at all.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use safetensors::tensor::{Dtype, View, serialize};

use super::{Mode, TensorError};

/// The value of `format` in every file.
pub(crate) const FORMAT: &str = "kennel-tensors/1";
/// The file that says that a worker saves nothing more.
pub(crate) const END: &str = "END";

/// One tensor to save, borrowed from the training run.
#[derive(Debug, Clone, Copy)]
pub struct TensorRef<'a> {
    /// Its name, unique within the step: `head.output.weight`.
    pub name: &'a str,
    /// The collections it is in.
    pub collections: &'a [&'a str],
    /// Its shape, outermost first; empty for a scalar.
    pub shape: &'a [usize],
    /// Its values, row by row.
    pub values: &'a [f32],
}

/// Saves tensors of one worker.
#[derive(Debug)]
pub struct TensorWriter {
    folder: PathBuf,
    made: BTreeSet<Mode>,
}

impl TensorWriter {
    /// Makes `<folder>/<worker>`. An `END` of an earlier attempt is removed.
    pub fn create(folder: &Path, worker: &str) -> Result<Self, TensorError> {
        if !worker_name(worker) {
            return Err(TensorError::Worker(worker.chars().take(100).collect()));
        }
        let folder = folder.join(worker);
        fs::create_dir_all(&folder).map_err(|source| io(&folder, source))?;
        let end = folder.join(END);
        match fs::remove_file(&end) {
            Err(source) if source.kind() != ErrorKind::NotFound => Err(io(&end, source)),
            _ => Ok(Self { folder, made: BTreeSet::new() }),
        }
    }

    /// Saves the tensors of one step; a file that is there already for this step is replaced. `time_ms` is
    /// Unix time in milliseconds.
    pub fn write(
        &mut self,
        mode: Mode,
        step: u64,
        time_ms: u64,
        tensors: &[TensorRef<'_>],
    ) -> Result<(), TensorError> {
        let mut names = BTreeSet::new();
        let mut collections: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for tensor in tensors {
            let values: Option<usize> =
                tensor.shape.iter().try_fold(1usize, |product, &size| product.checked_mul(size));
            if values != Some(tensor.values.len()) {
                return Err(TensorError::Shape {
                    name: tensor.name.to_owned(),
                    shape: tensor.shape.to_vec(),
                    values: tensor.values.len(),
                });
            }
            if tensor.name.is_empty() || tensor.name == "__metadata__" || !names.insert(tensor.name)
            {
                return Err(TensorError::Name(tensor.name.to_owned()));
            }
            for collection in tensor.collections {
                collections.entry(collection).or_default().push(tensor.name);
            }
        }
        let collections = serde_json::to_string(&collections)
            .map_err(|error| TensorError::Format(error.to_string()))?;
        let metadata = HashMap::from([
            ("format".to_owned(), FORMAT.to_owned()),
            ("step".to_owned(), step.to_string()),
            ("mode".to_owned(), mode.name().to_owned()),
            ("time_ms".to_owned(), time_ms.to_string()),
            ("collections".to_owned(), collections),
        ]);
        let folder = self.folder.join(mode.name());
        if !self.made.contains(&mode) {
            fs::create_dir_all(&folder).map_err(|source| io(&folder, source))?;
            self.made.insert(mode);
        }
        let views = tensors.iter().map(|tensor| (tensor.name, Floats(tensor)));
        let bytes = serialize(views, Some(metadata))
            .map_err(|error| TensorError::Format(error.to_string()))?;
        let path = folder.join(file_name(step));
        // One writer per worker, so one name does. What a killed attempt left under it goes first: a new
        // file is made, nothing that lies there (a link, say) is written through.
        let aside = folder.join(".next");
        match fs::remove_file(&aside) {
            Err(source) if source.kind() != ErrorKind::NotFound => return Err(io(&aside, source)),
            _ => {}
        }
        File::create_new(&aside)
            .and_then(|mut file| file.write_all(&bytes))
            .map_err(|source| io(&aside, source))?;
        fs::rename(&aside, &path).map_err(|source| io(&path, source))
    }

    /// Says that this worker saves nothing more.
    pub fn finish(self) -> Result<(), TensorError> {
        let end = self.folder.join(END);
        fs::write(&end, b"").map_err(|source| io(&end, source))
    }
}

/// Whether a worker's name is a folder's name and nothing else.
pub(crate) fn worker_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 64
        && !name.starts_with('.')
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}

/// The file's name of a step.
pub(crate) fn file_name(step: u64) -> String {
    format!("{step:09}.safetensors")
}

fn io(path: &Path, source: std::io::Error) -> TensorError {
    TensorError::Io { path: path.to_owned(), source }
}

/// The view of a tensor's bytes that the format's writer asks for.
struct Floats<'a>(&'a TensorRef<'a>);

impl View for Floats<'_> {
    fn dtype(&self) -> Dtype {
        Dtype::F32
    }

    fn shape(&self) -> &[usize] {
        self.0.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        let mut bytes = Vec::with_capacity(self.data_len());
        for value in self.0.values {
            bytes.extend_from_slice(&value.to_le_bytes());
        }
        Cow::Owned(bytes)
    }

    fn data_len(&self) -> usize {
        size_of_val(self.0.values)
    }
}

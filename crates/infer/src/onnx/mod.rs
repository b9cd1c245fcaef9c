//! ONNX graphs as Kennel needs them: read (external data included), find where a backbone's features
//! are, cut there, append a trained head, write. No engine is involved.

mod classifier;
mod cut;
mod edit;
#[allow(clippy::all, missing_docs, unreachable_pub, reason = "generated code")]
pub(crate) mod generated {
    include!("proto.rs");
}

use std::collections::{HashMap, HashSet};
use std::path::{Component, Path};

use kennel_base::{ErrorCode, ErrorCoded};
use prost::Message;

pub(crate) use self::generated as proto;
pub use classifier::original_classifier;
pub use cut::{Cut, Pooling, find_cut, named_cut};
pub use edit::{LinearLayer, append_head, cut_at, set_metadata, weights_digest};

/// Protocol buffers cannot be larger, whatever the producer.
const MAX_MODEL_BYTES: u64 = (2 << 30) - 1;

/// Why an ONNX file cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OnnxError {
    /// The file cannot be read.
    #[error("cannot read `{path}`: {reason}\nhint: check the path and its permissions")]
    Unreadable {
        /// Path as given.
        path: String,
        /// The system's words.
        reason: String,
    },
    /// The bytes are no ONNX model.
    #[error("not an ONNX model: {reason}\nhint: export the network with torch.onnx.export")]
    Malformed {
        /// What is wrong.
        reason: String,
    },
    /// Weights in a file beside the model cannot be used.
    #[error(
        "external weights of tensor `{tensor}`: {reason}\nhint: keep the data file beside the model, or export into one file"
    )]
    External {
        /// Name of the tensor.
        tensor: String,
        /// What is wrong.
        reason: String,
    },
    /// The network does not take a batch of RGB images.
    #[error(
        "the network's input cannot be used: {reason}\nhint: Kennel needs one float32 input of shape [batch, 3, height, width]"
    )]
    Input {
        /// What is wrong.
        reason: String,
    },
    /// The place where features leave the backbone cannot be found.
    #[error("cannot tell where the features of this network are: {reason}{}\nhint: name the tensor with `--features TENSOR`", list(.candidates))]
    NoCut {
        /// Why the search failed.
        reason: String,
        /// Tensors that might be meant, with the layer they enter.
        candidates: Vec<String>,
    },
    /// A tensor was named that the graph does not have.
    #[error("the network has no tensor `{name}`{}\nhint: name one of them, or leave `--features` out", list(.candidates))]
    NoTensor {
        /// Name as given.
        name: String,
        /// Tensors that might be meant.
        candidates: Vec<String>,
    },
}

fn list(candidates: &[String]) -> String {
    if candidates.is_empty() {
        return String::new();
    }
    format!("\ncandidates:\n  {}", candidates.join("\n  "))
}

impl ErrorCoded for OnnxError {
    fn code(&self) -> ErrorCode {
        match self {
            OnnxError::Unreadable { .. } => ErrorCode::NotFound,
            _ => ErrorCode::InvalidInput,
        }
    }
}

/// A parsed ONNX model with all its weights inside.
#[derive(Clone, Debug)]
pub struct Model {
    proto: proto::ModelProto,
}

/// What the image input of a network is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageInput {
    /// Name of the tensor.
    pub name: String,
    /// Batch size, when the export fixed it.
    pub batch: Option<usize>,
    /// Height and width, when the export fixed them.
    pub size: Option<[u32; 2]>,
}

impl Model {
    /// Reads a model and the data files beside it.
    ///
    /// # Errors
    /// When a file is missing, is no ONNX, or places weights outside the model's folder.
    pub fn read(path: &Path) -> Result<Self, OnnxError> {
        let unreadable = |e: std::io::Error| OnnxError::Unreadable {
            path: path.display().to_string(),
            reason: e.to_string(),
        };
        let size = std::fs::metadata(path).map_err(unreadable)?.len();
        if size > MAX_MODEL_BYTES {
            return Err(OnnxError::Malformed { reason: "the file is larger than 2 GiB".into() });
        }
        let bytes = std::fs::read(path).map_err(unreadable)?;
        let mut model = Self::parse(&bytes)?;
        model.embed_external(path.parent().unwrap_or(Path::new(".")))?;
        Ok(model)
    }

    /// Parses a model whose weights are inside.
    ///
    /// # Errors
    /// When the bytes are no ONNX model.
    pub fn parse(bytes: &[u8]) -> Result<Self, OnnxError> {
        let malformed = |reason: String| OnnxError::Malformed { reason };
        let proto = proto::ModelProto::decode(bytes).map_err(|e| malformed(e.to_string()))?;
        let graph = proto.graph.as_ref().ok_or_else(|| malformed("it has no graph".into()))?;
        if graph.node.is_empty() {
            return Err(malformed("its graph has no nodes".into()));
        }
        Ok(Model { proto })
    }

    /// The model as one ONNX file.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.proto.encode_to_vec()
    }

    pub(crate) fn graph(&self) -> &proto::GraphProto {
        static EMPTY: std::sync::OnceLock<proto::GraphProto> = std::sync::OnceLock::new();
        // `parse` refuses models without a graph.
        self.proto.graph.as_ref().unwrap_or_else(|| EMPTY.get_or_init(Default::default))
    }

    /// Names of the outputs.
    pub fn outputs(&self) -> Vec<String> {
        self.graph().output.iter().map(|o| o.name().to_owned()).collect()
    }

    /// The image input of the network.
    ///
    /// # Errors
    /// When there is not exactly one float32 input of four dimensions with three channels.
    pub fn image_input(&self) -> Result<ImageInput, OnnxError> {
        use proto::tensor_shape_proto::dimension::Value as Dim;
        use proto::type_proto::Value as Type;
        let bad = |reason: String| OnnxError::Input { reason };
        let graph = self.graph();
        let weights: HashSet<&str> = graph.initializer.iter().map(|t| t.name()).collect();
        let inputs: Vec<_> = graph.input.iter().filter(|i| !weights.contains(i.name())).collect();
        let [input] = inputs.as_slice() else {
            let names: Vec<_> = inputs.iter().map(|i| format!("`{}`", i.name())).collect();
            return Err(bad(format!("there are {} inputs: {}", names.len(), names.join(", "))));
        };
        let tensor = match input.r#type.as_ref().and_then(|t| t.value.as_ref()) {
            Some(Type::TensorType(tensor)) => tensor,
            _ => return Err(bad(format!("`{}` is not a tensor", input.name()))),
        };
        if tensor.elem_type() != proto::tensor_proto::DataType::Float as i32 {
            return Err(bad(format!("`{}` is not float32", input.name())));
        }
        let dims: Vec<Option<i64>> = match &tensor.shape {
            Some(shape) => shape
                .dim
                .iter()
                .map(|d| match d.value {
                    Some(Dim::DimValue(v)) => Some(v),
                    _ => None,
                })
                .collect(),
            None => return Err(bad(format!("`{}` has no shape", input.name()))),
        };
        let [batch, channels, height, width] = dims[..] else {
            return Err(bad(format!("`{}` has {} dimensions, not 4", input.name(), dims.len())));
        };
        match channels {
            Some(3) | None => {}
            Some(_) if width == Some(3) => {
                return Err(bad(format!(
                    "`{}` has its channels last (NHWC); export it with channels first",
                    input.name()
                )));
            }
            Some(n) => return Err(bad(format!("`{}` has {n} channels, not 3", input.name()))),
        }
        let side = |v: i64| u32::try_from(v).ok().filter(|v| (1..=4096).contains(v));
        Ok(ImageInput {
            name: input.name().to_owned(),
            batch: batch.and_then(|b| usize::try_from(b).ok()).filter(|b| *b > 0),
            size: match (height.and_then(side), width.and_then(side)) {
                (Some(h), Some(w)) => Some([h, w]),
                _ => None,
            },
        })
    }

    /// Reads every tensor that is stored in a file beside the model into the model itself.
    fn embed_external(&mut self, folder: &Path) -> Result<(), OnnxError> {
        let mut files: HashMap<String, Vec<u8>> = HashMap::new();
        let mut total = 0u64;
        if let Some(graph) = &mut self.proto.graph {
            embed_graph(graph, folder, &mut files, &mut total)?;
        }
        Ok(())
    }
}

fn embed_graph(
    graph: &mut proto::GraphProto,
    folder: &Path,
    files: &mut HashMap<String, Vec<u8>>,
    total: &mut u64,
) -> Result<(), OnnxError> {
    for tensor in &mut graph.initializer {
        embed_tensor(tensor, folder, files, total)?;
    }
    for attribute in graph.node.iter_mut().flat_map(|n| n.attribute.iter_mut()) {
        for tensor in attribute.t.iter_mut().chain(&mut attribute.tensors) {
            embed_tensor(tensor, folder, files, total)?;
        }
        for inner in attribute.g.iter_mut().chain(&mut attribute.graphs) {
            embed_graph(inner, folder, files, total)?;
        }
    }
    Ok(())
}

fn embed_tensor(
    tensor: &mut proto::TensorProto,
    folder: &Path,
    files: &mut HashMap<String, Vec<u8>>,
    total: &mut u64,
) -> Result<(), OnnxError> {
    use proto::tensor_proto::DataLocation;
    if tensor.data_location() != DataLocation::External {
        return Ok(());
    }
    let name = tensor.name().to_owned();
    let bad = |reason: String| OnnxError::External { tensor: name.clone(), reason };
    let entry = |key: &str| {
        tensor.external_data.iter().find(|e| e.key() == key).map(|e| e.value().to_owned())
    };
    let location = entry("location").ok_or_else(|| bad("no location is given".into()))?;
    // The location is a stranger's text: only plain names below the model's folder are followed.
    let inside = Path::new(&location).components().all(|c| matches!(c, Component::Normal(_)));
    if !inside || location.is_empty() {
        return Err(bad(format!("`{location}` is not inside the model's folder")));
    }
    let number = |key: &str| -> Result<Option<u64>, OnnxError> {
        entry(key)
            .map(|v| v.parse().map_err(|_| bad(format!("{key} `{v}` is not a number"))))
            .transpose()
    };
    let (offset, length) = (number("offset")?.unwrap_or(0), number("length")?);
    if !files.contains_key(&location) {
        let path = folder.join(&location);
        let canonical = path.canonicalize().map_err(|e| bad(format!("`{location}`: {e}")))?;
        let root = folder.canonicalize().map_err(|e| bad(e.to_string()))?;
        if !canonical.starts_with(&root) {
            return Err(bad(format!("`{location}` leads outside the model's folder")));
        }
        let size = std::fs::metadata(&canonical).map_err(|e| bad(e.to_string()))?.len();
        if size > 8 << 30 {
            return Err(bad(format!("`{location}` is larger than 8 GiB")));
        }
        let bytes = std::fs::read(&canonical).map_err(|e| bad(format!("`{location}`: {e}")))?;
        files.insert(location.clone(), bytes);
    }
    let bytes = files.get(&location).map(Vec::as_slice).unwrap_or_default();
    let end = match length {
        Some(length) => offset.checked_add(length),
        None => Some(bytes.len() as u64),
    };
    let slice = end
        .and_then(|end| bytes.get(usize::try_from(offset).ok()?..usize::try_from(end).ok()?))
        .ok_or_else(|| bad(format!("`{location}` ends before the tensor does")))?;
    *total += slice.len() as u64;
    if *total > MAX_MODEL_BYTES {
        return Err(bad("the model is larger than 2 GiB with its weights".into()));
    }
    tensor.raw_data = Some(slice.to_vec());
    tensor.external_data.clear();
    tensor.data_location = None;
    Ok(())
}

#[cfg(test)]
mod tests;

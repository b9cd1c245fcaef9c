//! The hub: where backbones come from. Three sources, looked up in this order: the folder that
//! `KENNEL_HUB` names (for machines with no network), the cache of what was pulled or added, and the
//! backbone that is part of the binary. A registry of well-known networks says what can be pulled.

mod pull;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kennel_base::{ErrorCode, ErrorCoded};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::onnx::{self, Cut, Model, OnnxError, Pooling};
use crate::preprocess::{Preprocess, PreprocessError, Resize};

pub use pull::{PullError, PullProgress, pull};

/// Name of the manifest in a hub folder.
pub const MANIFEST_FILE: &str = "hub.toml";
/// Name of the backbone that ships with Kennel.
pub const BUILTIN: &str = "kennel-mini";

const REGISTRY: &str = include_str!("hub/registry.toml");
const BUILTIN_MANIFEST: &str = include_str!("../../../assets/hub/hub.toml");
const BUILTIN_NETWORK: &[u8] = include_bytes!("../../../assets/hub/kennel-mini.onnx");

/// One backbone as a manifest describes it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BackboneEntry {
    /// Name to call it by.
    pub name: String,
    /// File inside the hub folder.
    pub file: String,
    /// SHA-256 of the file, in hexadecimal.
    pub sha256: String,
    /// Size of the file in bytes, where known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// Where it can be downloaded; the first that answers is used.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub urls: Vec<String>,
    /// Channels, height and width of the input; RGB.
    pub input_size: [u32; 3],
    /// Shorter side after resizing; without it photos are resized to the input size exactly.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resize_shorter_side: Option<u32>,
    /// Subtracted per channel, of pixel values scaled to 0..1.
    pub mean: [f32; 3],
    /// Divided by per channel.
    pub std: [f32; 3],
    /// Features per photo.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub feature_width: Option<usize>,
    /// Tensor that is the features; without it the place is found from the graph.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub features: Option<String>,
    /// Licence of the weights.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub license: Option<String>,
    /// Where the weights come from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
}

impl BackboneEntry {
    /// The preprocessing of this backbone.
    pub fn preprocess(&self) -> Preprocess {
        let [_, height, width] = self.input_size;
        Preprocess {
            resize: match self.resize_shorter_side {
                Some(side) => Resize::ShorterSide(side),
                None => Resize::Exact([height, width]),
            },
            crop: [height, width],
            mean: self.mean,
            std: self.std,
        }
    }
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct HubManifest {
    #[serde(default)]
    backbone: Vec<BackboneEntry>,
}

/// Where a listed backbone is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// In the folder that `KENNEL_HUB` names.
    Folder,
    /// Pulled or added, in the cache.
    Cache,
    /// Part of the binary.
    Builtin,
    /// Known, not here yet; `kennel hub pull` fetches it.
    Registry,
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Origin::Folder => "KENNEL_HUB",
            Origin::Cache => "cache",
            Origin::Builtin => "built in",
            Origin::Registry => "to pull",
        })
    }
}

/// Why a backbone cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum HubError {
    /// No source knows the name.
    #[error(
        "no backbone is called `{name}`\nhint: `kennel hub list` shows those there are; a path to an ONNX file works too. Known: {known}"
    )]
    Unknown {
        /// Name as given.
        name: String,
        /// Names there are.
        known: String,
    },
    /// It is in the registry and was not pulled.
    #[error(
        "backbone `{name}` is not on this machine\nhint: fetch it with `kennel hub pull {name}`, or set KENNEL_HUB to a folder that has it"
    )]
    NotPulled {
        /// Name.
        name: String,
    },
    /// A manifest cannot be read.
    #[error(
        "hub manifest `{path}`: {reason}\nhint: the format is one [[backbone]] table per ONNX file; docs/hub.md describes the keys"
    )]
    Manifest {
        /// Path.
        path: String,
        /// What is wrong.
        reason: String,
    },
    /// A file is missing or damaged.
    #[error("`{path}`: {reason}\nhint: {hint}")]
    File {
        /// Path.
        path: String,
        /// What is wrong.
        reason: String,
        /// What to do.
        hint: String,
    },
    /// The graph cannot be used.
    #[error(transparent)]
    Onnx(#[from] OnnxError),
    /// The preprocessing cannot be used.
    #[error(transparent)]
    Preprocess(#[from] PreprocessError),
    /// Downloading failed.
    #[error(transparent)]
    Pull(#[from] PullError),
}

impl ErrorCoded for HubError {
    fn code(&self) -> ErrorCode {
        match self {
            HubError::Unknown { .. } | HubError::NotPulled { .. } => ErrorCode::NotFound,
            HubError::Manifest { .. } | HubError::File { .. } => ErrorCode::InvalidInput,
            HubError::Onnx(e) => e.code(),
            HubError::Preprocess(e) => e.code(),
            HubError::Pull(_) => ErrorCode::Upstream,
        }
    }
}

/// The folder of pulled and added backbones.
pub fn cache_hub() -> PathBuf {
    crate::paths::cache_folder().join("hub")
}

/// The folders that backbones are looked for in.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Places {
    /// `KENNEL_HUB`.
    user: Option<PathBuf>,
    /// What was pulled or added.
    cache: PathBuf,
}

impl Places {
    fn from_environment() -> Self {
        let user = std::env::var_os("KENNEL_HUB").filter(|v| !v.is_empty()).map(PathBuf::from);
        Places { user, cache: cache_hub() }
    }
}

fn parse_manifest(text: &str, path: &str) -> Result<Vec<BackboneEntry>, HubError> {
    let manifest: HubManifest = toml::from_str(text).map_err(|e| HubError::Manifest {
        path: path.to_owned(),
        reason: e.to_string().trim().to_owned(),
    })?;
    for entry in &manifest.backbone {
        let plain = !entry.file.is_empty()
            && !entry.file.contains(['/', '\\'])
            && entry.file != "."
            && entry.file != "..";
        if !plain {
            return Err(HubError::Manifest {
                path: path.to_owned(),
                reason: format!(
                    "file `{}` of `{}` is not a plain file name",
                    entry.file, entry.name
                ),
            });
        }
        entry.preprocess().validate()?;
    }
    Ok(manifest.backbone)
}

fn read_manifest(folder: &Path) -> Result<Vec<BackboneEntry>, HubError> {
    let path = folder.join(MANIFEST_FILE);
    let shown = path.display().to_string();
    match std::fs::read_to_string(&path) {
        Ok(text) => parse_manifest(&text, &shown),
        Err(e) => Err(HubError::Manifest { path: shown, reason: e.to_string() }),
    }
}

/// The backbones of the registry.
///
/// # Errors
/// Never in a released binary: a test parses the registry.
pub fn registry() -> Result<Vec<BackboneEntry>, HubError> {
    parse_manifest(REGISTRY, "registry")
}

/// Every backbone that can be named, each once, with where it is. A name in `KENNEL_HUB` hides the same
/// name elsewhere.
///
/// # Errors
/// When a manifest cannot be read.
pub fn list() -> Result<Vec<(BackboneEntry, Origin)>, HubError> {
    list_in(&Places::from_environment())
}

fn list_in(places: &Places) -> Result<Vec<(BackboneEntry, Origin)>, HubError> {
    let mut all: BTreeMap<String, (BackboneEntry, Origin)> = BTreeMap::new();
    let mut add = |entries: Vec<BackboneEntry>, origin: Origin| {
        for entry in entries {
            all.entry(entry.name.clone()).or_insert((entry, origin));
        }
    };
    if let Some(folder) = &places.user {
        add(read_manifest(folder)?, Origin::Folder);
    }
    let folder = &places.cache;
    if folder.join(MANIFEST_FILE).exists() {
        let present = read_manifest(folder)?;
        add(present.into_iter().filter(|e| folder.join(&e.file).exists()).collect(), Origin::Cache);
    }
    add(parse_manifest(BUILTIN_MANIFEST, "built-in manifest")?, Origin::Builtin);
    add(registry()?, Origin::Registry);
    Ok(all.into_values().collect())
}

/// A backbone, loaded and cut: what training and feature extraction start from.
#[derive(Debug, Clone)]
pub struct Backbone {
    /// Name, or the file's name.
    pub name: String,
    /// The part of the network that makes features, one output `[batch, width]`.
    pub model: Model,
    /// The same, encoded.
    pub bytes: Arc<Vec<u8>>,
    /// SHA-256 of [`Backbone::bytes`].
    pub sha256: String,
    /// Where the original network was cut.
    pub cut: Cut,
    /// From photo to input.
    pub preprocess: Preprocess,
    /// Batch size that the export fixed, if it did.
    pub fixed_batch: Option<usize>,
    /// Licence, where known.
    pub license: Option<String>,
    /// The classifier that was cut off, where it is one affine layer.
    pub classifier: Option<onnx::LinearLayer>,
}

/// How a backbone is opened.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct OpenOptions {
    /// The tensor that is the features, instead of the one found from the graph.
    pub features: Option<String>,
    /// Preprocessing for a bare ONNX file, which has no manifest; ImageNet's usual one without it.
    pub preprocess: Option<Preprocess>,
}

/// The original file of a backbone: its entry, if it has one, and its bytes' path or content.
enum Found {
    Path(Option<BackboneEntry>, PathBuf),
    Builtin(BackboneEntry),
}

/// Looks a name or a path up.
fn find(places: &Places, name: &str) -> Result<Found, HubError> {
    let all = list_in(places)?;
    for (entry, origin) in all.iter().cloned() {
        if entry.name != name {
            continue;
        }
        let folder = match origin {
            Origin::Folder => places.user.clone().unwrap_or_default(),
            Origin::Cache => places.cache.clone(),
            Origin::Builtin => return Ok(Found::Builtin(entry)),
            Origin::Registry => return Err(HubError::NotPulled { name: name.to_owned() }),
        };
        let path = folder.join(&entry.file);
        return Ok(Found::Path(Some(entry), path));
    }
    let path = Path::new(name);
    if path.is_file() {
        return Ok(Found::Path(None, path.to_owned()));
    }
    let known = all.into_iter().map(|(e, _)| e.name).collect::<Vec<_>>().join(", ");
    Err(HubError::Unknown { name: name.to_owned(), known })
}

fn verify(bytes: &[u8], entry: &BackboneEntry, path: &str) -> Result<(), HubError> {
    let found = crate::hex(&Sha256::digest(bytes));
    if found.eq_ignore_ascii_case(&entry.sha256) {
        return Ok(());
    }
    Err(HubError::File {
        path: path.to_owned(),
        reason: format!("its SHA-256 is {found}, the manifest says {}", entry.sha256),
        hint: format!(
            "the file is damaged or was replaced; `kennel hub pull {}` fetches it again, or correct the manifest",
            entry.name
        ),
    })
}

/// ImageNet's usual preprocessing at the network's own input size.
fn imagenet(size: [u32; 2]) -> Preprocess {
    Preprocess {
        // 256 for 224, in proportion elsewhere.
        resize: Resize::ShorterSide((size[0].min(size[1]) * 8).div_ceil(7)),
        crop: size,
        mean: [0.485, 0.456, 0.406],
        std: [0.229, 0.224, 0.225],
    }
}

/// Opens a backbone by name or path, checks its hash, and cuts it at its features.
///
/// # Errors
/// When it cannot be found, is damaged, or its features cannot be told.
pub fn open(name: &str, options: &OpenOptions) -> Result<Backbone, HubError> {
    open_in(&Places::from_environment(), name, options)
}

fn open_in(places: &Places, name: &str, options: &OpenOptions) -> Result<Backbone, HubError> {
    let (entry, model, shown) = match find(places, name)? {
        Found::Builtin(entry) => (Some(entry), Model::parse(BUILTIN_NETWORK)?, name.to_owned()),
        Found::Path(entry, path) => {
            let shown = path.display().to_string();
            let model = match &entry {
                Some(entry) => {
                    let bytes = std::fs::read(&path).map_err(|e| HubError::File {
                        path: shown.clone(),
                        reason: e.to_string(),
                        hint: "check the folder that KENNEL_HUB names".into(),
                    })?;
                    verify(&bytes, entry, &shown)?;
                    Model::read(&path)?
                }
                None => Model::read(&path).map_err(|e| match e {
                    OnnxError::Malformed { reason } => {
                        OnnxError::Malformed { reason: format!("`{shown}`: {reason}") }
                    }
                    other => other,
                })?,
            };
            (entry, model, shown)
        }
    };
    let name = match &entry {
        Some(entry) => entry.name.clone(),
        None => Path::new(&shown)
            .file_stem()
            .map_or_else(|| shown.clone(), |s| s.to_string_lossy().into_owned()),
    };
    from_model(name, &model, entry.as_ref(), options)
}

fn from_model(
    name: String,
    model: &Model,
    entry: Option<&BackboneEntry>,
    options: &OpenOptions,
) -> Result<Backbone, HubError> {
    let input = model.image_input()?;
    let tensor = options.features.as_ref().or(entry.and_then(|e| e.features.as_ref()));
    let mut cut = match tensor {
        Some(tensor) => onnx::named_cut(model, tensor)?,
        None => onnx::find_cut(model)?,
    };
    let preprocess = match (&options.preprocess, entry) {
        (Some(given), _) => given.clone(),
        (None, Some(entry)) => entry.preprocess(),
        (None, None) => imagenet(input.size.unwrap_or([224, 224])),
    };
    preprocess.validate()?;
    if let Some(size) = input.size
        && size != preprocess.crop
    {
        return Err(OnnxError::Input {
            reason: format!(
                "it is fixed to {}×{} pixels, the preprocessing gives {}×{}",
                size[0], size[1], preprocess.crop[0], preprocess.crop[1]
            ),
        }
        .into());
    }
    let [height, width] = preprocess.crop;
    let shape = [input.batch.unwrap_or(1), 3, height as usize, width as usize];
    if shape[0] > 64 {
        return Err(OnnxError::Input {
            reason: format!("its batch is fixed to {}; export with a dynamic batch", shape[0]),
        }
        .into());
    }
    // One photo of zeros through the network settles what the graph does not tell, and shows at once
    // whether the engine takes it.
    let refuse = |reason: String| OnnxError::NoCut { reason, candidates: Vec::new() };
    if cut.pooling.is_none() {
        let raw = onnx::cut_at(model, &cut)?;
        let shape = dry_run(&raw, shape).map_err(refuse)?;
        cut.pooling = match shape[..] {
            [_, _, _, _] => Some(Pooling::Space),
            [_, _] | [_, 1, _] => Some(Pooling::Flat),
            // Only where somebody named the tensor: a network that classifies every token is no backbone.
            [_, _, _] if tensor.is_some() => Some(Pooling::ClassToken),
            _ => {
                return Err(refuse(format!(
                    "tensor `{}` has shape {shape:?}; features are [batch, width], [batch, channels, height, width] or, named, [batch, tokens, width]",
                    cut.tensor
                ))
                .into());
            }
        };
    }
    let mut small = onnx::cut_at(model, &cut)?;
    if cut.width.is_none() {
        let found = dry_run(&small, shape).map_err(refuse)?;
        cut.width = found.get(1).copied();
        small = onnx::cut_at(model, &cut)?;
    }
    let bytes = small.to_bytes();
    let sha256 = crate::hex(&Sha256::digest(&bytes));
    Ok(Backbone {
        name,
        model: small,
        bytes: Arc::new(bytes),
        sha256,
        preprocess,
        fixed_batch: input.batch,
        license: entry.and_then(|e| e.license.clone()),
        classifier: onnx::original_classifier(model, &cut),
        cut,
    })
}

fn dry_run(model: &Model, shape: [usize; 4]) -> Result<Vec<usize>, String> {
    use crate::engine::{EngineOptions, load};
    let bytes = Arc::new(model.to_bytes());
    let mut session = load(&bytes, &EngineOptions::default()).map_err(|e| e.to_string())?;
    let input = vec![0.0; shape.iter().product()];
    session.run(&input, shape).map(|o| o.shape).map_err(|e| e.to_string())
}

/// What `kennel hub show` prints beyond the entry.
///
/// # Errors
/// As [`open`].
pub fn show(
    name: &str,
    options: &OpenOptions,
) -> Result<(Option<BackboneEntry>, Backbone), HubError> {
    let entry = list()?.into_iter().map(|(e, _)| e).find(|e| e.name == name);
    Ok((entry, open(name, options)?))
}

/// Adds an ONNX file of the user's to the cache under a name, after checking that it can be cut.
/// External weights are embedded, so that the hub holds one file.
///
/// # Errors
/// When the file is no usable network or the cache cannot be written.
pub fn add(path: &Path, name: &str, options: &OpenOptions) -> Result<BackboneEntry, HubError> {
    add_in(&cache_hub(), path, name, options)
}

fn add_in(
    folder: &Path,
    path: &Path,
    name: &str,
    options: &OpenOptions,
) -> Result<BackboneEntry, HubError> {
    let bad_name = name.is_empty()
        || name.starts_with('.')
        || !name.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c));
    if bad_name {
        return Err(HubError::Unknown {
            name: name.to_owned(),
            known: "names are letters, digits, `.`, `_` and `-`".into(),
        });
    }
    let model = Model::read(path)?;
    let backbone = from_model(name.to_owned(), &model, None, options)?;
    let bytes = model.to_bytes();
    let entry = BackboneEntry {
        name: name.to_owned(),
        file: format!("{name}.onnx"),
        sha256: crate::hex(&Sha256::digest(&bytes)),
        bytes: Some(bytes.len() as u64),
        urls: Vec::new(),
        input_size: [3, backbone.preprocess.crop[0], backbone.preprocess.crop[1]],
        resize_shorter_side: match backbone.preprocess.resize {
            Resize::ShorterSide(side) => Some(side),
            Resize::Exact(_) => None,
        },
        mean: backbone.preprocess.mean,
        std: backbone.preprocess.std,
        feature_width: backbone.cut.width,
        features: options.features.clone(),
        license: None,
        source: Some(format!("added from {}", path.display())),
    };
    let file = |e: std::io::Error| HubError::File {
        path: folder.display().to_string(),
        reason: e.to_string(),
        hint: "check the cache folder's permissions, or move it with KENNEL_CACHE".into(),
    };
    std::fs::create_dir_all(folder).map_err(file)?;
    let write = |out: &mut std::fs::File| std::io::Write::write_all(out, &bytes);
    crate::package::write_aside(&folder.join(&entry.file), write).map_err(file)?;
    remember(folder, entry.clone())?;
    Ok(entry)
}

/// Writes an entry into the manifest of the cache, replacing one of the same name.
fn remember(folder: &Path, entry: BackboneEntry) -> Result<(), HubError> {
    let path = folder.join(MANIFEST_FILE);
    let shown = path.display().to_string();
    let mut backbone = if path.exists() { read_manifest(folder)? } else { Vec::new() };
    backbone.retain(|e| e.name != entry.name);
    backbone.push(entry);
    let text = toml::to_string(&HubManifest { backbone })
        .map_err(|e| HubError::Manifest { path: shown.clone(), reason: e.to_string() })?;
    let write = |out: &mut std::fs::File| std::io::Write::write_all(out, text.as_bytes());
    crate::package::write_aside(&path, write)
        .map_err(|e| HubError::Manifest { path: shown, reason: e.to_string() })
}

#[cfg(test)]
mod tests;

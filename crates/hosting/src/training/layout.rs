//! The folders and files that an instance of a training job finds.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::{FAILURE_CHARACTERS, TrainingError, TrainingSpec};

/// The group that a job without instance groups has on SageMaker.
const GROUP: &str = "homogeneousCluster";

/// Where an instance's files are on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstanceFolders {
    /// `algo-1` and so on.
    pub host: String,
    /// What the program sees as /opt/ml.
    pub root: PathBuf,
    /// Becomes model.tar.gz.
    pub model: PathBuf,
    /// Becomes output.tar.gz.
    pub output_data: PathBuf,
    /// Shared by all instances, kept over attempts.
    pub checkpoints: PathBuf,
    /// What the debugger's hook saves (`output/tensors`), shared by all instances.
    pub tensors: PathBuf,
    /// What the profiler records (`output/profiler`), shared by all instances.
    pub profiler: PathBuf,
    /// HOME, shared by all instances.
    pub(super) home: PathBuf,
    /// TMPDIR.
    pub(super) temporary: PathBuf,
}

#[derive(Serialize)]
struct ResourceConfig<'a> {
    current_host: &'a str,
    current_instance_type: &'a str,
    current_group_name: &'a str,
    hosts: &'a [String],
    instance_groups: [InstanceGroup<'a>; 1],
    network_interface_name: &'a str,
}

#[derive(Serialize)]
struct InstanceGroup<'a> {
    instance_group_name: &'a str,
    instance_type: &'a str,
    hosts: &'a [String],
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct InputData<'a> {
    training_input_mode: &'a str,
    #[serde(rename = "S3DistributionType")]
    s3_distribution_type: &'a str,
    record_wrapper_type: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    content_type: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    compression_type: Option<&'a str>,
}

/// Makes the folders of all instances anew.
pub(super) fn prepare(spec: &TrainingSpec) -> Result<Vec<InstanceFolders>, TrainingError> {
    let names: Vec<String> = (1..=spec.hosts).map(|number| format!("algo-{number}")).collect();
    // "Sorted lexicographically", says AWS's page: algo-10 before algo-2.
    let mut sorted = names.clone();
    sorted.sort();
    for shared in ["tensors", "profiler", super::JOIN_FOLDER] {
        let old = spec.folder.join(shared);
        match fs::remove_dir_all(&old) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(said(&old)(e)),
            _ => {}
        }
    }
    names.iter().enumerate().map(|(n, name)| instance(spec, n, name, &sorted)).collect()
}

fn instance(
    spec: &TrainingSpec,
    number: usize,
    host: &str,
    hosts: &[String],
) -> Result<InstanceFolders, TrainingError> {
    fs::create_dir_all(&spec.folder).map_err(said(&spec.folder))?;
    // The program starts elsewhere, so that a relative path would lead it astray.
    let folder = fs::canonicalize(&spec.folder).map_err(said(&spec.folder))?;
    let root = folder.join(host);
    let folders = InstanceFolders {
        host: host.to_owned(),
        model: root.join("model"),
        output_data: root.join("output/data"),
        checkpoints: folder.join("checkpoints"),
        tensors: folder.join("tensors"),
        profiler: folder.join("profiler"),
        temporary: folder.join("tmp").join(host),
        home: folder,
        root,
    };
    let root = &folders.root;
    for old in [root, &folders.temporary] {
        match fs::remove_dir_all(old) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(said(old)(e)),
            _ => {}
        }
    }
    let config = root.join("input/config");
    let data = root.join("input/data");
    let made = [&config, &data, &folders.model, &folders.output_data, &folders.checkpoints];
    for new in made.into_iter().chain([&folders.temporary, &folders.tensors, &folders.profiler]) {
        fs::create_dir_all(new).map_err(said(new))?;
    }
    link(&folders.checkpoints, &root.join("checkpoints"))?;
    link(&folders.tensors, &root.join("output/tensors"))?;
    link(&folders.profiler, &root.join("output/profiler"))?;
    for channel in &spec.channels {
        let source = channel.folders.get(number).or(channel.folders.first());
        let source = source.map(PathBuf::as_path).unwrap_or(Path::new(""));
        let source = fs::canonicalize(source).map_err(said(source))?;
        link(&source, &data.join(&channel.name))?;
    }
    let resources = ResourceConfig {
        current_host: host,
        current_instance_type: &spec.instance_type,
        current_group_name: GROUP,
        hosts,
        instance_groups: [InstanceGroup {
            instance_group_name: GROUP,
            instance_type: &spec.instance_type,
            hosts,
        }],
        network_interface_name: &spec.network_interface,
    };
    let inputs: BTreeMap<&str, InputData<'_>> = spec
        .channels
        .iter()
        .map(|channel| {
            let sharded = channel.folders.len() > 1;
            let input = InputData {
                training_input_mode: &channel.input_mode,
                s3_distribution_type: if sharded { "ShardedByS3Key" } else { "FullyReplicated" },
                record_wrapper_type: &channel.record_wrapper,
                content_type: channel.content_type.as_deref(),
                compression_type: channel.compression.as_deref(),
            };
            (channel.name.as_str(), input)
        })
        .collect();
    write(&config.join("hyperparameters.json"), &spec.hyperparameters)?;
    write(&config.join("resourceconfig.json"), &resources)?;
    write(&config.join("inputdataconfig.json"), &inputs)?;
    for (name, content) in &spec.configuration {
        write(&config.join(name), content)?;
    }
    Ok(folders)
}

fn said(path: &Path) -> impl FnOnce(std::io::Error) -> TrainingError {
    let path = path.display().to_string();
    move |source| TrainingError::Layout { path, source }
}

fn link(target: &Path, name: &Path) -> Result<(), TrainingError> {
    std::os::unix::fs::symlink(target, name).map_err(said(name))
}

/// Nobody reads these before the instance starts, and a new attempt writes them anew.
fn write(path: &Path, content: &impl Serialize) -> Result<(), TrainingError> {
    let text = serde_json::to_vec(content).map_err(|e| said(path)(e.into()))?;
    fs::write(path, text).map_err(said(path))
}

/// The beginning of the failure file; none where it is missing, empty or not a file.
pub(super) fn read_failure(path: &Path) -> Option<String> {
    if !fs::symlink_metadata(path).ok()?.is_file() {
        return None;
    }
    let mut bytes = Vec::new();
    // A character of UTF-8 has four bytes at most.
    let most = 4 * FAILURE_CHARACTERS as u64;
    fs::File::open(path).ok()?.take(most).read_to_end(&mut bytes).ok()?;
    let text: String =
        String::from_utf8_lossy(&bytes).trim().chars().take(FAILURE_CHARACTERS).collect();
    (!text.is_empty()).then_some(text)
}

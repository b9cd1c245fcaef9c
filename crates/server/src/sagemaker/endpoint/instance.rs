//! What the instances of a variant are: the model unpacked once, a process specification, a log stream.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use kennel_hosting::Command;
use kennel_hosting::instance_type;
use kennel_hosting::launch::Mount;
use kennel_hosting::pool::{Pool, PoolOptions, Routing};
use kennel_hosting::process::ProcessSpec;
use kennel_hosting::server_instance::{InstanceLine, InstanceSpec};
use tokio::sync::mpsc;

use super::Variant;
use crate::logs::LogWriter;
use crate::sagemaker::image::Program;
use crate::sagemaker::objects::Location;
use crate::sagemaker::{Inner, archive};

/// Times that an instance may fail before its endpoint is called failed.
const FAILURES: u32 = 3;
/// Log lines of a variant that may wait for the disk; more are dropped and counted.
const LINES: usize = 1024;

/// A pool that starts a variant's instances. `folder` is the deployment's own.
pub(super) async fn pool(
    inner: &Arc<Inner>,
    endpoint: &str,
    variant: &Variant,
    folder: &Path,
) -> Result<Pool, String> {
    let model = fetch(inner, variant, &folder.join(&variant.name)).await?;
    let process = process(inner, variant, &model)?;
    let (sender, lines) = mpsc::channel(LINES);
    let group = format!("/aws/sagemaker/Endpoints/{endpoint}");
    tokio::spawn(log(inner.clone(), group, variant.name.clone(), lines));
    let mut options = PoolOptions::new(inner.launcher.clone());
    options.logs = Some(sender);
    if variant.routing.as_deref() == Some("RANDOM") {
        options.routing = Routing::Random;
    }
    let pool = Pool::new(options);
    pool.set(1, InstanceSpec { process }, usize::try_from(variant.desired).unwrap_or(1));
    Ok(pool)
}

/// Returns when the wanted number of instances is ready, or says why it will not be.
pub(super) async fn wait_ready(pool: &Pool, count: usize) -> Result<(), String> {
    let mut changes = pool.watch();
    loop {
        let status = changes.borrow_and_update().clone();
        if status.ready >= count && count > 0 {
            return Ok(());
        }
        if status.failures >= FAILURES {
            let reason = status.failing.unwrap_or_else(|| "the instance ended".to_owned());
            return Err(format!("the instance did not pass its health check: {reason}"));
        }
        if changes.changed().await.is_err() {
            return Err("the server is stopping".to_owned());
        }
    }
}

/// The model's files. What was unpacked once stays for the deployment's life, so that a restart needs
/// neither the object nor the time.
async fn fetch(inner: &Inner, variant: &Variant, folder: &Path) -> Result<PathBuf, String> {
    let model = folder.join("model");
    if model.is_dir() {
        return Ok(model);
    }
    let uri = &variant.model_data;
    let location = Location::parse(uri).map_err(|e| e.message)?;
    tokio::fs::create_dir_all(folder).await.map_err(|e| e.to_string())?;
    let packed = folder.join("model.tar.gz");
    inner
        .objects
        .fetch_file(&location, &packed)
        .await
        .map_err(|e| format!("Failed to download model data from {uri}: {e}"))?;
    let (from, to) = (packed.clone(), model.clone());
    tokio::task::spawn_blocking(move || archive::unpack(&from, &to, archive::MODEL))
        .await
        .map_err(|e| e.to_string())?
        .map_err(|e| format!("Failed to extract model data archive {uri}: {e}"))?;
    let _ = tokio::fs::remove_file(packed).await;
    Ok(model)
}

fn process(inner: &Inner, variant: &Variant, model: &Path) -> Result<ProcessSpec, String> {
    let shape = instance_type::shape(&variant.instance_type, inner.machine)
        .ok_or_else(|| format!("unknown instance type `{}`", variant.instance_type))?;
    let threads = shape.threads.to_string();
    let text = |path: &Path| path.display().to_string();
    let home = model.parent().unwrap_or(model);
    let mut environment = inner.environment.clone();
    environment.extend(variant.environment.clone());
    let own = [
        ("HOME", text(home)),
        ("PYTHONUNBUFFERED", "1".to_owned()),
        ("AWS_REGION", inner.region.clone()),
        ("AWS_DEFAULT_REGION", inner.region.clone()),
        ("AWS_ENDPOINT_URL", inner.url.clone()),
        ("OMP_NUM_THREADS", threads.clone()),
    ];
    environment.extend(own.into_iter().map(|(name, value)| (name.to_owned(), value)));
    let argv = match variant.program().map_err(|e| e.message)? {
        Program::Native => {
            let kennel = text(&inner.kennel);
            let model = text(model);
            [&kennel, "serve", &model, "--port", "0", "--threads", &threads]
                .map(str::to_owned)
                .to_vec()
        }
        Program::Script { runtime } => {
            let interpreter = inner.toolkit.interpreter(runtime).map_err(|e| e.message)?;
            environment.insert("PYTHONPATH".to_owned(), text(&inner.toolkit.folder));
            // The SDK writes the container's path; the code is where the model was unpacked.
            environment.insert("SAGEMAKER_SUBMIT_DIRECTORY".to_owned(), text(&model.join("code")));
            let python = text(&interpreter.python);
            let model = text(model);
            [&python, "-m", "kennel_runtime.serve", "--port", "0", "--model-dir", &model]
                .map(str::to_owned)
                .to_vec()
        }
    };
    // Scripts that read the literal /opt/ml/model find it where the kernel allows a private mount.
    let script = variant.program().is_ok_and(|program| program != Program::Native);
    let target = PathBuf::from("/opt/ml");
    let mount = Mount { source: home.to_owned(), target, read_only: false };
    Ok(ProcessSpec {
        command: Command { argv, environment, folder: Some(model.to_owned()) },
        mounts: if script { vec![mount] } else { Vec::new() },
        mounts_optional: true,
        memory_limit: Some(shape.memory_bytes),
        ..ProcessSpec::default()
    })
}

/// Writes the instances' lines to CloudWatch Logs, one stream an instance: `AllTraffic/i-…`.
async fn log(
    inner: Arc<Inner>,
    group: String,
    variant: String,
    mut lines: mpsc::Receiver<InstanceLine>,
) {
    let mut writers: BTreeMap<u64, LogWriter> = BTreeMap::new();
    // Numbers of instances begin anew with each pool; the moment tells its streams from others'.
    let epoch = inner.clock.now().0;
    while let Some(line) = lines.recv().await {
        let now = inner.clock.now();
        let writer = match writers.get(&line.instance) {
            Some(writer) => writer.clone(),
            None => {
                let stream = format!("{variant}/i-{epoch:x}{:04x}", line.instance);
                match inner.logs.writer(&group, &stream, now).await {
                    Ok(writer) => {
                        writers.insert(line.instance, writer.clone());
                        writer
                    }
                    Err(e) => {
                        tracing::warn!("log stream `{group}:{stream}`: {e}");
                        tokio::time::sleep(Duration::from_secs(1)).await;
                        continue;
                    }
                }
            }
        };
        if let Err(e) = writer.write(now, &line.text).await {
            tracing::debug!("a line of `{group}` was lost: {e}");
        }
    }
}

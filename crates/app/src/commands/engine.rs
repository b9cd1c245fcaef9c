//! `kennel engine`: what runs the networks.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use clap::{Args, Subcommand};
use comfy_table::Table;
use kennel_infer::engine::{self, EngineKind, EngineOptions, InstallSource};
use kennel_infer::hub::{self, Backbone};
use kennel_infer::photo::{DecodeLimits, decode};
use kennel_infer::pipeline::{self, Job, Network, PipelineOptions};
use kennel_infer::preprocess::{Preprocessor, View};

use super::hub::OpenArguments;
use crate::output::{self, line};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Engines and whether they can be used here
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Fetch an engine's library (pinned version, checked hash) with your own pip
    Install {
        /// Engine to install
        #[arg(value_parser = ["onnxruntime"])]
        engine: String,
        /// A wheel that is already here, instead of downloading
        #[arg(long, value_name = "WHEEL")]
        from: Option<PathBuf>,
    },
    /// Milliseconds per photo of each engine, by threads and batch size
    Bench(BenchArguments),
}

#[derive(Debug, Args)]
pub(crate) struct BenchArguments {
    /// Backbone by name or path
    #[arg(long, default_value = hub::BUILTIN)]
    backbone: String,
    /// Seconds per measurement
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// Batch sizes
    #[arg(long, value_delimiter = ',', default_value = "1,8,16")]
    batches: Vec<usize>,
    /// Threads per run [default: 1 and all cores]
    #[arg(long, value_delimiter = ',')]
    threads: Vec<usize>,
    /// Measure on the photos below this folder instead: decode, preprocess and engine alone on one
    /// core, then all overlapped on all cores
    #[arg(long, value_name = "DIR")]
    photos: Option<PathBuf>,
    /// Engine for `--photos` [default: the preferred one]
    #[arg(long, value_name = "NAME")]
    engine: Option<EngineKind>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    open: OpenArguments,
}

pub(crate) fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::List { json } => list(json),
        Command::Install { from, .. } => {
            let source = from.map_or(InstallSource::Pip, InstallSource::Wheel);
            let library =
                engine::install_onnxruntime(&source, &mut |text| tracing::info!("{text}"))?;
            line(library.display());
            Ok(())
        }
        Command::Bench(arguments) => bench(&arguments),
    }
}

fn list(json: bool) -> anyhow::Result<()> {
    let all = engine::list();
    if json {
        let rows: Vec<_> = all
            .iter()
            .map(|e| {
                serde_json::json!({
                    "engine": e.kind.to_string(),
                    "available": e.available,
                    "version": e.version,
                    "library": e.library,
                    "note": e.note,
                })
            })
            .collect();
        line(serde_json::to_string_pretty(&rows)?);
        return Ok(());
    }
    let mut table = Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    table.set_header(["engine", "available", "version", "library", "note"]);
    for e in all {
        table.add_row([
            e.kind.to_string(),
            if e.available { "yes" } else { "no" }.to_owned(),
            e.version.unwrap_or_default(),
            e.library.map_or_else(|| "built in".into(), |p| p.display().to_string()),
            e.note,
        ]);
    }
    line(table);
    Ok(())
}

fn bench(arguments: &BenchArguments) -> anyhow::Result<()> {
    let backbone = hub::open(&arguments.backbone, &arguments.open.options())?;
    if let Some(photos) = &arguments.photos {
        return bench_photos(arguments, &backbone, photos);
    }
    let cores = kennel_infer::pipeline::cores();
    let threads = match arguments.threads.as_slice() {
        [] if cores == 1 => vec![1],
        [] => vec![1, cores],
        given => given.to_vec(),
    };
    let [height, width] = backbone.preprocess.crop;
    let pixels = 3 * (height * width) as usize;
    let mut rows = Vec::new();
    for kind in [EngineKind::OnnxRuntime, EngineKind::Rten] {
        for &threads in &threads {
            let options = EngineOptions { kind: Some(kind), threads };
            let mut session = match engine::load(&Arc::clone(&backbone.bytes), &options) {
                Ok(session) => session,
                Err(e) => {
                    tracing::warn!("{kind}: {e}");
                    break;
                }
            };
            let batches: Vec<usize> = match backbone.fixed_batch {
                Some(batch) => vec![batch],
                None => arguments.batches.clone(),
            };
            for batch in batches {
                if batch == 0 {
                    return Err(output::usage(
                        "`--batches` holds a 0\nhint: give sizes such as 1,8",
                    ));
                }
                let input: Vec<f32> =
                    (0..batch * pixels).map(|i| ((i as f32) * 0.01).sin()).collect();
                let shape = [batch, 3, height as usize, width as usize];
                session.run(&input, shape)?;
                let (started, mut runs) = (Instant::now(), 0usize);
                while started.elapsed().as_secs_f64() < arguments.seconds || runs == 0 {
                    session.run(&input, shape)?;
                    runs += 1;
                }
                let took = started.elapsed().as_secs_f64();
                rows.push((kind, threads, batch, 1000.0 * took / (runs * batch) as f64));
            }
        }
    }
    if arguments.json {
        let rows: Vec<_> = rows
            .iter()
            .map(|(kind, threads, batch, ms)| {
                serde_json::json!({
                    "engine": kind.to_string(), "threads": threads, "batch": batch, "ms_per_photo": ms,
                })
            })
            .collect();
        line(serde_json::to_string_pretty(&rows)?);
        return Ok(());
    }
    let mut table = Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    table.set_header(["engine", "threads", "batch", "ms per photo", "photos per second"]);
    for (kind, threads, batch, ms) in rows {
        table.add_row([
            kind.to_string(),
            threads.to_string(),
            batch.to_string(),
            format!("{ms:.2}"),
            format!("{:.0}", 1000.0 / ms),
        ]);
    }
    line(format!(
        "{}: {} features, input {height}×{width}",
        backbone.name,
        backbone.cut.width.unwrap_or(0)
    ));
    line(table);
    Ok(())
}

/// What one photo costs on one core, stage by stage, and what the overlapped pipeline makes of it.
fn bench_photos(
    arguments: &BenchArguments,
    backbone: &Backbone,
    folder: &Path,
) -> anyhow::Result<()> {
    let mut paths = Vec::new();
    super::predict::walk(folder, &mut paths, 0)?;
    if paths.is_empty() {
        return Err(output::usage(format!(
            "`{}` holds no photos\nhint: give a folder with photos",
            folder.display()
        )));
    }
    // Spread over the folder, so that the few that are timed alone are like the many.
    let step = paths.len().div_ceil(400);
    let sample: Vec<&PathBuf> = paths.iter().step_by(step).collect();
    let limits = DecodeLimits::default();
    // Every file is in memory already when its decoding is timed: the disk is not what is measured.
    let files: Vec<Vec<u8>> = sample.iter().map(std::fs::read).collect::<Result<_, _>>()?;
    let per_photo =
        |since: Instant, count: usize| 1000.0 * since.elapsed().as_secs_f64() / count as f64;

    let started = Instant::now();
    let photos: Vec<_> = files.iter().filter_map(|f| decode(f, &limits).ok()).collect();
    let decode_ms = per_photo(started, files.len());
    let mut preprocessor = Preprocessor::new(&backbone.preprocess)?;
    let length = backbone.preprocess.input_len();
    let batch = backbone.fixed_batch.unwrap_or(PipelineOptions::default().batch);
    let mut inputs = vec![0.0; photos.len() * length];
    let started = Instant::now();
    for (photo, out) in photos.iter().zip(inputs.chunks_exact_mut(length)) {
        preprocessor.run(photo, View::Centre, out)?;
    }
    let preprocess_ms = per_photo(started, photos.len());
    let [height, width] = backbone.preprocess.crop;
    let shape = [batch, 3, height as usize, width as usize];
    let options = EngineOptions { kind: arguments.engine, threads: 1 };
    let mut session = engine::load(&backbone.bytes, &options)?;
    let kind = session.kind();
    let whole: Vec<&[f32]> = inputs.chunks_exact(batch * length).collect();
    if let Some(first) = whole.first() {
        session.run(first, shape)?;
    }
    let started = Instant::now();
    for input in &whole {
        session.run(input, shape)?;
    }
    let engine_ms = per_photo(started, whole.len().max(1) * batch);
    drop((session, inputs, photos, files));

    let cores = kennel_infer::pipeline::cores();
    let network = Network {
        onnx: Arc::clone(&backbone.bytes),
        preprocess: backbone.preprocess.clone(),
        fixed_batch: backbone.fixed_batch,
    };
    let jobs: Vec<Job> = paths
        .iter()
        .enumerate()
        .map(|(index, path)| Job { index, path: path.clone(), views: vec![(0, View::Centre)] })
        .collect();
    let options = PipelineOptions { engine: Some(kind), ..PipelineOptions::default() };
    let started = Instant::now();
    pipeline::run(&network, &jobs, &options, &|| false, |_| {})?;
    let rate = jobs.len() as f64 / started.elapsed().as_secs_f64();
    let ideal = 1000.0 * cores as f64 / (decode_ms + preprocess_ms + engine_ms);
    if arguments.json {
        line(serde_json::to_string_pretty(&serde_json::json!({
            "backbone": backbone.name,
            "engine": kind.to_string(),
            "photos": jobs.len(),
            "decode_ms": decode_ms,
            "preprocess_ms": preprocess_ms,
            "engine_ms": engine_ms,
            "cores": cores,
            "ideal_per_second": ideal,
            "measured_per_second": rate,
            "efficiency": rate / ideal,
        }))?);
        return Ok(());
    }
    line(format!(
        "{} on {kind}, one core, per photo: decode {decode_ms:.2} ms, preprocess {preprocess_ms:.2} ms, engine {engine_ms:.2} ms (batch {batch})",
        backbone.name
    ));
    line(format!(
        "overlapped on {cores} cores: {rate:.0} of at most {ideal:.0} photos per second ({:.0} %), {} photos",
        100.0 * rate / ideal,
        jobs.len()
    ));
    Ok(())
}

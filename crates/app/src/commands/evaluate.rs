//! `kennel evaluate`: accuracy of a model on a folder with one folder per class.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use clap::Args;
use comfy_table::Table;
use kennel_infer::classifier;
use kennel_infer::package::{Manifest, Package};
use kennel_infer::pipeline::{self, Event, Job};
use kennel_infer::preprocess::View;
use kennel_train::evaluate::evaluate;

use super::EngineArguments;
use crate::output::{self, Progress, line};
use crate::signals;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// model.tar.gz or a folder with its files
    model: PathBuf,
    /// Folder with one folder of photos per class
    dir: PathBuf,
    /// Print JSON with the keys top1, top5, count, classes
    #[arg(long)]
    json: bool,
    /// Share of photos that may be unreadable
    #[arg(long, value_name = "SHARE", default_value_t = 0.05)]
    max_bad: f64,
    #[command(flatten)]
    engine: EngineArguments,
}

pub(crate) fn run(arguments: Arguments) -> anyhow::Result<()> {
    let package = Package::read(&arguments.model)?;
    let manifest = &package.manifest;
    let (paths, labels) = photos(&arguments.dir, manifest)?;
    let jobs: Vec<Job> = paths
        .iter()
        .enumerate()
        .map(|(index, path)| Job { index, path: path.clone(), views: vec![(0, View::Centre)] })
        .collect();
    let stop = signals::stop_flag()?;
    let mut logits: Vec<Option<Vec<f32>>> = vec![None; paths.len()];
    let mut bad = Vec::new();
    let mut progress = Progress::start("photos", paths.len());
    let mut done = 0;
    pipeline::run(
        &classifier::network(&package),
        &jobs,
        &arguments.engine.pipeline(),
        &|| stop.load(std::sync::atomic::Ordering::Relaxed),
        |event| {
            done += 1;
            progress.set(done);
            match event {
                Event::Output { index, values, .. } => logits[index] = Some(values),
                Event::Unreadable { index, reason } => bad.push((index, reason)),
            }
        },
    )?;
    progress.finish();
    if stop.load(std::sync::atomic::Ordering::Relaxed) {
        return Err(kennel_train::dataset::DatasetError::Stopped.into());
    }
    for (index, reason) in &bad {
        tracing::warn!("skipped `{}`: {reason}", paths[*index].display());
    }
    if bad.len() as f64 > arguments.max_bad * paths.len() as f64 {
        return Err(output::usage(format!(
            "{} of {} photos cannot be read, more than the allowed share of {}\nhint: repair them, or raise `--max-bad`",
            bad.len(),
            paths.len(),
            arguments.max_bad
        )));
    }
    let (rows, truths): (Vec<_>, Vec<_>) =
        logits.into_iter().zip(labels).filter_map(|(row, label)| Some((row?, label))).unzip();
    if let Some(row) = rows.iter().find(|r| r.len() != manifest.classes.len()) {
        return Err(classifier::ClassifyError::Classes {
            logits: row.len(),
            classes: manifest.classes.len(),
        }
        .into());
    }
    let found = evaluate(&rows, &truths, manifest.classes.len());
    let per_class = found.per_class();
    let tested = manifest.classes.iter().zip(&per_class).filter(|(_, (count, _))| *count > 0);
    if arguments.json {
        let classes: Vec<_> = tested
            .map(|(class, (count, right))| {
                serde_json::json!({
                    "class": class.key,
                    "name": class.name,
                    "count": count,
                    "top1": *right as f64 / *count as f64,
                })
            })
            .collect();
        line(serde_json::to_string_pretty(&serde_json::json!({
            "top1": found.top1,
            "top5": found.top5,
            "count": found.count,
            "loss": found.loss,
            "skipped": bad.len(),
            "classes": classes,
        }))?);
        return Ok(());
    }
    let mut table = Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    table.set_header(["class", "photos", "top-1"]);
    for (class, (count, right)) in tested {
        let percent = format!("{:5.1} %", 100.0 * *right as f64 / *count as f64);
        table.add_row([class.name.clone(), count.to_string(), percent]);
    }
    line(table);
    line(format!(
        "top-1 {:.2} %  top-5 {:.2} %  loss {:.3}  {} photos{}",
        100.0 * found.top1,
        100.0 * found.top5,
        found.loss,
        found.count,
        if bad.is_empty() { String::new() } else { format!("  {} skipped", bad.len()) }
    ));
    Ok(())
}

/// Photos and their class positions. Folder names are mapped to the model's classes by key, or by the
/// name that people read, whatever number stands before it.
fn photos(dir: &Path, manifest: &Manifest) -> anyhow::Result<(Vec<PathBuf>, Vec<usize>)> {
    let by_key: HashMap<&str, usize> =
        manifest.classes.iter().enumerate().map(|(i, c)| (c.key.as_str(), i)).collect();
    let by_name: HashMap<String, usize> =
        manifest.classes.iter().enumerate().map(|(i, c)| (c.name.to_lowercase(), i)).collect();
    let (mut paths, mut labels, mut unknown) = (Vec::new(), Vec::new(), Vec::new());
    let unreadable = |source| kennel_train::dataset::DatasetError::Unreadable {
        path: dir.display().to_string(),
        source,
    };
    let mut folders: Vec<PathBuf> = std::fs::read_dir(dir)
        .map_err(unreadable)?
        .map(|e| e.map(|e| e.path()))
        .collect::<Result<_, _>>()
        .map_err(unreadable)?;
    folders.sort();
    for folder in folders.into_iter().filter(|p| p.is_dir()) {
        let name = folder.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        let shown = kennel_base::display_name(&name).to_lowercase();
        match by_key.get(name.as_str()).or_else(|| by_name.get(&shown)) {
            Some(&class) => {
                let before = paths.len();
                super::predict::walk(&folder, &mut paths, 0)?;
                labels.resize(labels.len() + paths.len() - before, class);
            }
            None => unknown.push(name),
        }
    }
    if !unknown.is_empty() {
        tracing::warn!(
            "{} folders are no class of the model and are left out: {}",
            unknown.len(),
            unknown.iter().take(5).cloned().collect::<Vec<_>>().join(", ")
        );
    }
    if paths.is_empty() {
        return Err(output::usage(format!(
            "`{}` holds no photos of the model's classes\nhint: give a folder with one folder per class, such as DIR/test",
            dir.display()
        )));
    }
    Ok((paths, labels))
}

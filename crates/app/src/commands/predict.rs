//! `kennel predict`: labels and probabilities for photos, folders of photos and addresses.

use std::path::{Path, PathBuf};

use clap::Args;
use comfy_table::Table;
use kennel_infer::classifier::{Classifier, labels};
use kennel_infer::engine::EngineOptions;
use kennel_infer::fetch::{FetchOptions, Fetcher};
use kennel_infer::package::Package;
use kennel_infer::photo::{DecodeLimits, Photo, decode};
use kennel_infer::pipeline;

use super::EngineArguments;
use crate::output::{self, line};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// model.tar.gz or a folder with its files
    model: PathBuf,
    /// Photos, folders of photos (with everything below), or http(s) addresses
    #[arg(required = true, value_name = "PHOTO|DIR|URL")]
    photos: Vec<String>,
    /// Classes to show per photo
    #[arg(long, value_name = "K", default_value_t = 5)]
    top: usize,
    /// Print JSON: one object per photo with path, labels and logits
    #[arg(long)]
    json: bool,
    /// Host (or host:port) from which photos may be fetched although it is not public; repeatable
    #[arg(long, value_name = "HOST")]
    allow_url_host: Vec<String>,
    #[command(flatten)]
    engine: EngineArguments,
}

pub(crate) fn run(arguments: Arguments) -> anyhow::Result<()> {
    let package = Package::read(&arguments.model)?;
    let options = arguments.engine.pipeline();
    // One photo at a time is classified with all cores.
    let engine = EngineOptions { kind: options.engine, threads: options.workers };
    let mut classifier = Classifier::load(&package, &engine)?;
    let fetcher = Fetcher::new(FetchOptions {
        allow_hosts: arguments.allow_url_host.clone(),
        ..FetchOptions::default()
    })?;
    let sources = expand(&arguments.photos)?;
    let mut rows = Vec::new();
    let mut failed = 0usize;
    for part in sources.chunks(options.batch.max(1)) {
        let mut photos = Vec::new();
        let mut names = Vec::new();
        for source in part {
            match load(source, &fetcher) {
                Ok(photo) => {
                    photos.push(photo);
                    names.push(source.clone());
                }
                Err(reason) => {
                    failed += 1;
                    if arguments.json {
                        rows.push(serde_json::json!({"path": source, "error": reason}));
                    } else {
                        eprintln!("error: `{source}`: {reason}");
                    }
                }
            }
        }
        if photos.is_empty() {
            continue;
        }
        for (name, logits) in names.into_iter().zip(classifier.logits(&photos)?) {
            let found = labels(classifier.manifest(), &logits, arguments.top);
            if arguments.json {
                let found: Vec<_> = found
                    .iter()
                    .map(|l| {
                        serde_json::json!({
                            "label": l.class.name, "class": l.class.key, "probability": l.probability,
                        })
                    })
                    .collect();
                rows.push(serde_json::json!({"path": name, "labels": found, "logits": logits}));
            } else {
                let mut table = Table::new();
                table.load_style(comfy_table::presets::NOTHING);
                for l in &found {
                    let bar = "█".repeat((l.probability * 20.0).round() as usize);
                    let percent = format!("{:5.1} %", 100.0 * l.probability);
                    table.add_row([l.class.name.clone(), percent, bar]);
                }
                line(format!("{name}\n{table}"));
            }
        }
    }
    if arguments.json {
        line(serde_json::to_string_pretty(&rows)?);
    }
    if failed > 0 {
        return Err(output::usage(format!(
            "{failed} of {} photos could not be classified\nhint: the reasons are above",
            sources.len()
        )));
    }
    Ok(())
}

fn is_url(text: &str) -> bool {
    text.starts_with("http://") || text.starts_with("https://")
}

fn load(source: &str, fetcher: &Fetcher) -> Result<Photo, String> {
    let limits = DecodeLimits::default();
    if is_url(source) {
        let found = fetcher.get(source).map_err(|e| e.to_string())?;
        decode(&found.bytes, &limits).map_err(|e| e.to_string())
    } else {
        pipeline::read(Path::new(source), &limits)
    }
}

/// Folders become the photos below them, sorted.
fn expand(given: &[String]) -> anyhow::Result<Vec<String>> {
    let mut all = Vec::new();
    for source in given {
        let path = Path::new(source);
        if is_url(source) || path.is_file() {
            all.push(source.clone());
        } else if path.is_dir() {
            let mut below = Vec::new();
            walk(path, &mut below, 0)?;
            all.extend(below.iter().map(|p| p.display().to_string()));
            if below.is_empty() {
                return Err(output::usage(format!(
                    "`{source}` holds no photos\nhint: photos end in .jpg, .png, .webp, .gif or .bmp"
                )));
            }
        } else {
            return Err(output::usage(format!(
                "`{source}` is no file, folder or address\nhint: check the path"
            )));
        }
    }
    Ok(all)
}

/// Photo files below a folder, sorted.
pub(crate) fn walk(folder: &Path, all: &mut Vec<PathBuf>, depth: usize) -> anyhow::Result<()> {
    let mut entries: Vec<PathBuf> =
        std::fs::read_dir(folder)?.map(|e| e.map(|e| e.path())).collect::<Result<_, _>>()?;
    entries.sort();
    for path in entries {
        let extension =
            path.extension().map(|e| e.to_string_lossy().to_ascii_lowercase()).unwrap_or_default();
        // A link may point upwards; no folder of photos is this deep.
        if path.is_dir() && depth < 16 {
            walk(&path, all, depth + 1)?;
        } else if ["jpg", "jpeg", "jpe", "jfif", "png", "gif", "webp", "bmp"]
            .contains(&extension.as_str())
        {
            all.push(path);
        }
    }
    Ok(())
}

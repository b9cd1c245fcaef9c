//! `kennel hub`: the backbones.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use comfy_table::Table;
use kennel_infer::hub::{self, OpenOptions, PullProgress};
use kennel_infer::onnx::Pooling;
use kennel_infer::preprocess::{Preprocess, Resize};

use crate::output::{self, Progress, line};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Backbones there are, and where
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// One backbone: where its features are, preprocessing, licence
    Show {
        /// Name, or path of an ONNX file
        backbone: String,
        #[command(flatten)]
        open: OpenArguments,
    },
    /// Download a backbone of the registry into the cache
    Pull {
        /// Name
        backbone: String,
    },
    /// Add an ONNX file of yours to the cache
    Add {
        /// ONNX file
        file: PathBuf,
        /// Name to call it by [default: the file's name]
        #[arg(long)]
        name: Option<String>,
        #[command(flatten)]
        open: OpenArguments,
    },
}

/// How a network is opened as a backbone.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct OpenArguments {
    /// Tensor that is the features [default: found from the graph]
    #[arg(long, value_name = "TENSOR")]
    pub features: Option<String>,
    /// Input size in pixels, for a file without a manifest [default: from the graph, else 224]
    #[arg(long, value_name = "PIXELS")]
    pub input_size: Option<u32>,
    /// Shorter side after resizing; 0 resizes to the input size exactly
    #[arg(long, value_name = "PIXELS")]
    pub resize: Option<u32>,
    /// Mean per channel, of values scaled to 0..1
    #[arg(long, value_name = "R,G,B", value_parser = three)]
    pub mean: Option<[f32; 3]>,
    /// Standard deviation per channel
    #[arg(long, value_name = "R,G,B", value_parser = three)]
    pub std: Option<[f32; 3]>,
}

fn three(text: &str) -> Result<[f32; 3], String> {
    let numbers: Result<Vec<f32>, _> = text.split(',').map(|t| t.trim().parse::<f32>()).collect();
    numbers
        .ok()
        .and_then(|n| n.try_into().ok())
        .ok_or_else(|| "expected three numbers, as in 0.485,0.456,0.406".to_owned())
}

impl OpenArguments {
    pub(crate) fn options(&self) -> OpenOptions {
        let asked = self.input_size.is_some()
            || self.resize.is_some()
            || self.mean.is_some()
            || self.std.is_some();
        let side = self.input_size.unwrap_or(224);
        let preprocess = asked.then(|| Preprocess {
            resize: match self.resize {
                Some(0) => Resize::Exact([side, side]),
                Some(resize) => Resize::ShorterSide(resize),
                None => Resize::ShorterSide((side * 8).div_ceil(7)),
            },
            crop: [side, side],
            mean: self.mean.unwrap_or([0.485, 0.456, 0.406]),
            std: self.std.unwrap_or([0.229, 0.224, 0.225]),
        });
        OpenOptions { features: self.features.clone(), preprocess }
    }
}

pub(crate) fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::List { json } => list(json),
        Command::Show { backbone, open } => show(&backbone, &open),
        Command::Pull { backbone } => pull(&backbone),
        Command::Add { file, name, open } => {
            let name = name.unwrap_or_else(|| {
                file.file_stem().map(|s| s.to_string_lossy().into_owned()).unwrap_or_default()
            });
            let entry = hub::add(&file, &name, &open.options())?;
            line(format!(
                "added {} ({} features, {} bytes) to {}",
                entry.name,
                entry.feature_width.unwrap_or(0),
                entry.bytes.unwrap_or(0),
                hub::cache_hub().display()
            ));
            Ok(())
        }
    }
}

fn list(json: bool) -> anyhow::Result<()> {
    let all = hub::list()?;
    if json {
        let rows: Vec<_> = all
            .iter()
            .map(|(entry, origin)| serde_json::json!({"backbone": entry, "where": origin.to_string()}))
            .collect();
        line(serde_json::to_string_pretty(&rows)?);
        return Ok(());
    }
    let mut table = Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    table.set_header(["name", "where", "features", "input", "licence", "source"]);
    for (entry, origin) in &all {
        table.add_row([
            entry.name.clone(),
            origin.to_string(),
            entry.feature_width.map_or_else(|| "?".into(), |w| w.to_string()),
            format!("{}×{}", entry.input_size[1], entry.input_size[2]),
            entry.license.clone().unwrap_or_else(|| "?".into()),
            entry.source.clone().unwrap_or_default().chars().take(60).collect(),
        ]);
    }
    line(table);
    Ok(())
}

fn show(backbone: &str, open: &OpenArguments) -> anyhow::Result<()> {
    let (entry, opened) = hub::show(backbone, &open.options())?;
    line(format!("name        {}", opened.name));
    line(format!(
        "features    {} values from tensor `{}`",
        opened.cut.width.unwrap_or(0),
        opened.cut.tensor
    ));
    line(format!("cut before  {}", opened.cut.layer));
    line(format!(
        "pooled      {}",
        match opened.cut.pooling {
            Some(Pooling::Space) => "averaged over space",
            Some(Pooling::ClassToken) => "the class token is taken",
            _ => "no",
        }
    ));
    line(format!("preprocess  {}", serde_json::to_string(&opened.preprocess)?));
    line(format!(
        "batch       {}",
        opened.fixed_batch.map_or_else(|| "any".into(), |b| format!("fixed to {b}"))
    ));
    line(format!("sha256      {} (as cut)", opened.sha256));
    if let Some(entry) = entry {
        line(format!("file        {} (sha256 {})", entry.file, entry.sha256));
        line(format!("licence     {}", entry.license.unwrap_or_else(|| "unknown".into())));
        line(format!("source      {}", entry.source.unwrap_or_else(|| "unknown".into())));
    }
    Ok(())
}

fn pull(name: &str) -> anyhow::Result<()> {
    let registry = hub::registry()?;
    let entry = registry.iter().find(|e| e.name == name).ok_or_else(|| {
        let known = registry.iter().map(|e| e.name.as_str()).collect::<Vec<_>>().join(", ");
        output::usage(format!("no backbone `{name}` can be pulled\nhint: the registry has {known}"))
    })?;
    let mut bar: Option<Progress> = None;
    // Kilobytes: a bar of single bytes says nothing to anyone.
    let fetched = hub::pull(entry, &mut |PullProgress { done, total }| {
        bar.get_or_insert_with(|| Progress::start("KiB", (total.unwrap_or(0) / 1024) as usize))
            .set((done / 1024) as usize);
    })?;
    if let Some(bar) = bar {
        bar.finish();
    }
    let path = hub::cache_hub().join(&entry.file);
    let how = if fetched { "downloaded and verified" } else { "already there, verified" };
    line(format!("{name}: {how}: {}", path.display()));
    Ok(())
}

//! `kennel demo`: the whole pipeline on drawn sample pictures, offline: draw, train, serve, classify
//! over HTTP, and say how to do the same with one's own photos.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::Args;
use kennel_base::{Augmentation, TrainOptions};
use kennel_infer::engine::EngineOptions;
use kennel_infer::hub;
use kennel_train::dataset::{Dataset, Split, SplitOptions};
use kennel_train::job::{JobOptions, Photos};
use kennel_train::samples::{self, SampleOptions};

use super::{EngineArguments, cache_folders};
use crate::output::{Progress, line};
use crate::serve::{Options, Service};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Your own folder of labelled photos instead of the drawn ones
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Backbone by name or path
    #[arg(long, value_name = "NAME|FILE", default_value = hub::BUILTIN)]
    backbone: String,
    /// Folder for the pictures and the model; it is left for you to look at
    #[arg(long, value_name = "DIR", default_value = "kennel-demo")]
    output: PathBuf,
    #[command(flatten)]
    engine: EngineArguments,
}

pub(crate) fn run(arguments: Arguments) -> anyhow::Result<()> {
    let begun = Instant::now();
    std::fs::create_dir_all(&arguments.output)
        .with_context(|| format!("cannot make `{}`", arguments.output.display()))?;
    let photos = match &arguments.data {
        Some(dir) => dir.clone(),
        None => draw(&arguments.output.join("pictures"))?,
    };

    line(format!("2. training on {} with backbone {}", photos.display(), arguments.backbone));
    let (cache, checkpoints) = cache_folders();
    let pipeline = arguments.engine.pipeline();
    let options = JobOptions {
        photos: Photos::Folder(photos.clone()),
        backbone: arguments.backbone.clone(),
        open: Default::default(),
        split: SplitOptions::default(),
        train: match arguments.data {
            Some(_) => TrainOptions::default(),
            // Forty pictures per breed are few: cached random crops make more of them.
            None => TrainOptions {
                augmentation: Augmentation::Crop,
                views: 4,
                ..TrainOptions::default()
            },
        },
        pipeline,
        max_bad: 0.05,
        cache,
        checkpoints,
        observe: None,
    };
    let result = super::train::run_job(&options)?;
    let model = arguments.output.join("model.tar.gz");
    super::train::save(&result, &model)?;
    super::train::summary(&result);
    line(format!("   report: {}", arguments.output.join("report.html").display()));

    let questions = questions(&photos)?;
    let serve = Options {
        address: ([127, 0, 0, 1], 0).into(),
        engine: EngineOptions { kind: pipeline.engine, threads: 1 },
        workers: pipeline.workers,
        ..Options::default()
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let package = result.package;
    let classes = package.manifest.classes.clone();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let service = runtime.block_on(Service::bind(serve, package))?;
    let address = service.address();
    let server = runtime.spawn(service.run(async {
        let _ = stopped.await;
    }));
    line(format!("\n3. serving on http://{address} and asking it over HTTP"));
    let answers = ask(&format!("http://{address}"), &questions);
    let _ = stop.send(());
    runtime.block_on(server)??;
    let mut right = 0;
    let answers = answers?;
    for ((path, truth), (label, probability)) in questions.iter().zip(&answers) {
        let truth = &classes[*truth].name;
        right += usize::from(truth == label);
        line(format!(
            "   {} {label} ({:.0} %)   {}",
            if truth == label { "right:" } else { "wrong:" },
            100.0 * probability,
            path.strip_prefix(&photos).unwrap_or(path).display()
        ));
    }
    line(format!(
        "   {right} of {} right; the whole demo took {:.0} s",
        answers.len(),
        begun.elapsed().as_secs_f64()
    ));
    let sample = questions.first().map(|(p, _)| p.display().to_string()).unwrap_or_default();
    line(format!(
        "\nThe same, step by step, and with your own photos (a folder per class):\n  \
         kennel data inspect YOUR_PHOTOS\n  \
         kennel train YOUR_PHOTOS --output model.tar.gz\n  \
         kennel predict {model} {sample}\n  \
         kennel serve {model} --port 8080\n  \
         curl --data-binary @{sample} -H 'Content-Type: image/jpeg' -H 'Accept: application/json;labels=true' localhost:8080/invocations\n\
         A stronger backbone: kennel hub list; faster on CPUs: kennel engine install onnxruntime",
        model = model.display(),
    ));
    Ok(())
}

fn draw(folder: &Path) -> anyhow::Result<PathBuf> {
    let options = SampleOptions::default();
    line(format!(
        "1. drawing {} invented breeds into {} (look at them!)",
        samples::breeds().len(),
        folder.display()
    ));
    let mut progress: Option<Progress> = None;
    let count = samples::write_dataset(folder, &options, &mut |done, total| {
        progress.get_or_insert_with(|| Progress::start("drawing", total)).set(done);
    })?;
    if let Some(progress) = progress {
        progress.finish();
    }
    line(format!("   {count} pictures"));
    Ok(folder.to_owned())
}

/// A photo of each of up to eight classes, from the split that measures.
fn questions(photos: &Path) -> anyhow::Result<Vec<(PathBuf, usize)>> {
    let dataset = Dataset::scan(photos, &SplitOptions::default())?;
    let split = [Split::Test, Split::Valid, Split::Train]
        .into_iter()
        .find(|s| dataset.of_split(*s).next().is_some())
        .unwrap_or(Split::Train);
    let step = dataset.classes.len().div_ceil(8);
    Ok((0..dataset.classes.len())
        .step_by(step.max(1))
        .filter_map(|class| {
            let photo = dataset.of_split(split).find(|p| p.class == class)?;
            Some((photo.path.clone(), class))
        })
        .collect())
}

/// Asks a server about photos and returns the first label and its probability of each.
fn ask(server: &str, photos: &[(PathBuf, usize)]) -> anyhow::Result<Vec<(String, f64)>> {
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .timeout_global(Some(Duration::from_secs(30)))
        .http_status_as_error(false)
        .proxy(None)
        .build()
        .into();
    wait_until_ready(&agent, server)?;
    let mut answers = Vec::new();
    for (path, _) in photos {
        let bytes = std::fs::read(path)?;
        let kind = kennel_infer::photo::mime_type(&bytes).unwrap_or("application/x-image");
        let mut response = agent
            .post(format!("{server}/invocations"))
            .header("content-type", kind)
            .header("accept", "application/json;labels=true")
            .send(bytes.as_slice())?;
        let text = response.body_mut().read_to_string()?;
        let body: serde_json::Value =
            serde_json::from_str(&text).with_context(|| format!("the server answered: {text}"))?;
        let best = &body["predictions"][0][0];
        let (Some(label), Some(probability)) =
            (best["label"].as_str(), best["probability"].as_f64())
        else {
            anyhow::bail!("the server answered: {text}");
        };
        answers.push((label.to_owned(), probability));
    }
    Ok(answers)
}

/// The port is open before the model is loaded; /ping says when it answers.
fn wait_until_ready(agent: &ureq::Agent, server: &str) -> anyhow::Result<()> {
    let started = Instant::now();
    loop {
        let status = agent.get(format!("{server}/ping")).call().map(|r| r.status().as_u16());
        if matches!(status, Ok(200)) {
            return Ok(());
        }
        if started.elapsed() > Duration::from_secs(60) {
            anyhow::bail!("the server was not ready within a minute");
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

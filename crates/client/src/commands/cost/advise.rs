//! `kennel cost advise`: time and money of every instance type for a job, and the paragraph that justifies one.

use std::path::PathBuf;

use clap::{ArgGroup, Args, ValueEnum};
use kennel_cost::{
    Advice, AdviseOptions, Catalogue, KnownModel, Measured, Need, Ranked, Span, Usage, about,
    advise, duration, paragraph,
};
use serde_json::{Value, json};

use super::measured::{self, Source, Told};
use super::{page, prices, region, region_of, seconds};
use crate::client::{Client, Service};
use crate::error::ClientError;
use crate::files::write_aside;
use crate::output::{self, line, note, table};
use crate::target::TargetArguments;

/// The backbone that ships with Kennel.
const SHIPPED: &str = "kennel-mini";

/// Arguments of `kennel cost advise`.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("source").required(true).args(["job", "metrics", "time"]))]
pub(super) struct Advise {
    /// A training job that has run
    job: Option<String>,
    /// The metrics.json of a run of `kennel train`, or its folder
    #[arg(long, value_name = "FILE")]
    metrics: Option<PathBuf>,
    /// How long the job takes on this machine: 90s, 15m, 2h
    #[arg(long, value_name = "TIME", value_parser = seconds)]
    time: Option<f64>,
    /// The network: resnet50, resnet18, mobilenetv2 or kennel-mini; its arithmetic and memory are known
    #[arg(long, value_name = "NAME", value_parser = measured::named)]
    model: Option<KnownModel>,
    /// Photos that go through it in an epoch
    #[arg(long, value_name = "N")]
    photos: Option<f64>,
    /// Epochs in which they do; Kennel's own trainer needs one
    #[arg(long, value_name = "N", default_value_t = 1.0)]
    epochs: f64,
    /// Photos of a batch
    #[arg(long, value_name = "N", default_value_t = 32.0)]
    batch: f64,
    /// The job is a script with PyTorch, which needs more memory [default: as the job is]
    #[arg(long)]
    script: bool,
    /// Processors that it computed with [default: this machine's]
    #[arg(long, value_name = "N")]
    cores: Option<f64>,
    /// Speed of one of them; a vCPU of m5 is 1 [default: declared by what this machine is]
    #[arg(long, value_name = "X")]
    core_speed: Option<f64>,
    /// Memory that the job needs, in GiB [default: by the network]
    #[arg(long, value_name = "GIB")]
    memory_gib: Option<f64>,
    /// Memory of a GPU that it needs, in GiB [default: by the network]
    #[arg(long, value_name = "GIB")]
    gpu_memory_gib: Option<f64>,
    /// For training at SageMaker, on its spot instances, or on EC2
    #[arg(long, value_name = "WHERE", default_value = "training")]
    on: On,
    /// Instances
    #[arg(long, value_name = "N", default_value_t = 1)]
    count: u32,
    /// How many times the measured work is done, as 10 after a tenth of the photos
    #[arg(long, value_name = "X", default_value_t = 1.0)]
    times: f64,
    /// Leave out what takes longer: 90s, 15m, 2h
    #[arg(long, value_name = "TIME", value_parser = seconds)]
    deadline: Option<f64>,
    /// Leave out what costs more dollars
    #[arg(long, value_name = "USD")]
    budget: Option<f64>,
    /// Show all types, not the best only
    #[arg(long)]
    all: bool,
    /// Print the justification, Markdown, and nothing else
    #[arg(long, conflicts_with = "json")]
    paragraph: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Write a page with the plot of time against money
    #[arg(long, short, value_name = "FILE.html")]
    output: Option<PathBuf>,
}

/// Where the job would run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum On {
    Training,
    TrainingSpot,
    Ec2,
    Ec2Spot,
}

impl On {
    fn usage(self) -> Usage {
        match self {
            On::Training => Usage::Training,
            On::TrainingSpot => Usage::TrainingSpot,
            On::Ec2 => Usage::Ec2,
            On::Ec2Spot => Usage::Ec2Spot,
        }
    }
}

/// Billed seconds around the work. At SageMaker the image and the data come and the model goes; at EC2
/// somebody logs in, fetches the data and shuts the instance down. Declared.
fn overhead(usage: Usage) -> Span {
    match usage.is_ec2() {
        true => Span::new(120.0, 240.0, 600.0),
        false => Span::new(45.0, 90.0, 180.0),
    }
}

/// What the paragraph, the table and the page are made of.
#[derive(Debug)]
pub(super) struct Shown {
    pub advice: Advice,
    pub measured: Measured,
    pub need: Need,
    pub notes: Vec<String>,
}

pub(super) fn run(target: &TargetArguments, arguments: &Advise) -> Result<(), ClientError> {
    let catalogue = prices::catalogue();
    let mut region = region(target);
    let (source, on_aws) = match (&arguments.job, &arguments.metrics, arguments.time) {
        (Some(name), ..) => {
            let client = Client::new(target.resolve()?);
            let body = json!({"TrainingJobName": name});
            let job = client.json(Service::SageMaker, "DescribeTrainingJob", &body)?;
            if let Some(own) = region_of(job["TrainingJobArn"].as_str()) {
                own.clone_into(&mut region);
            }
            (Source::Job(Box::new(job)), client.target().endpoint.is_none())
        }
        (None, Some(path), _) => (Source::Metrics(path.clone()), false),
        (None, None, Some(time)) => (Source::Seconds(time), false),
        // The arguments' group demands one of them.
        (None, None, None) => {
            return Err(ClientError::Usage("name a job, or give --metrics or --time".to_owned()));
        }
    };
    let told = Told {
        model: arguments.model.or_else(|| network_of(&source)),
        photos: arguments.photos,
        epochs: sensible(arguments.epochs, "--epochs")?,
        batch: sensible(arguments.batch, "--batch")?,
        script: arguments.script || matches!(&source, Source::Job(job) if measured::is_script(job)),
        cores: arguments.cores.map(|n| sensible(n, "--cores")).transpose()?,
        core_speed: arguments.core_speed.map(|n| sensible(n, "--core-speed")).transpose()?,
        memory_gib: arguments.memory_gib,
        gpu_memory_gib: arguments.gpu_memory_gib,
    };
    let measured = match &source {
        Source::Job(job) => measured::of_job(job, &catalogue, on_aws, &told)?,
        Source::Metrics(path) => measured::of_metrics(path, &told)?,
        Source::Seconds(time) => measured::of_seconds(sensible(*time, "--time")?, &told, "as told"),
    };
    let need = measured::need(&told);
    let usage = arguments.on.usage();
    let options = AdviseOptions {
        usage,
        region: &region,
        count: arguments.count.clamp(1, 1000),
        times: sensible(arguments.times, "--times")?,
        overhead: overhead(usage),
        deadline_s: arguments.deadline,
        budget: arguments.budget,
    };
    let advice = advise(&catalogue, &measured, &need, &options);
    if advice.ranked.is_empty() {
        return Err(nothing(&advice, &region));
    }
    let mut notes = vec![measured::overhead_said(&options.overhead)];
    notes.extend(measured::times_said(options.times));
    if measured.flop.is_none() {
        notes.push(
            "the network's arithmetic is not known, so that the times of GPUs are wide: name it with --model and say --photos"
                .to_owned(),
        );
    }
    notes.push(
        "how fast each type is, is declared in the catalogue (`kennel cost catalogue --json` says why), not measured; measuring one type on AWS narrows all of them"
            .to_owned(),
    );
    let shown = Shown { advice, measured, need, notes };
    if let Some(path) = &arguments.output {
        write_aside(path, page::html(&shown).as_bytes(), 0o644)?;
        note(format!("wrote `{}`", path.display()));
    }
    if arguments.json {
        output::json(&as_json(&shown));
    } else if arguments.paragraph {
        let text = paragraph(&shown.advice, &shown.measured, &shown.need);
        line(text.ok_or_else(|| nothing(&shown.advice, &region))?);
    } else {
        print(&shown, arguments.all);
    }
    Ok(())
}

/// The advice for the training of a job that has run, as `kennel cost advise JOB` gives it by itself; none
/// where its time says nothing about other types.
pub(in crate::commands) fn of_job(
    job: &Value,
    catalogue: &Catalogue,
    (region, on_aws): (&str, bool),
) -> Option<Advice> {
    let source = Source::Job(Box::new(job.clone()));
    let told = Told {
        model: network_of(&source),
        photos: None,
        epochs: 1.0,
        batch: 32.0,
        script: measured::is_script(job),
        cores: None,
        core_speed: None,
        memory_gib: None,
        gpu_memory_gib: None,
    };
    let measured = measured::of_job(job, catalogue, on_aws, &told).ok()?;
    let options = AdviseOptions {
        usage: Usage::Training,
        region,
        count: 1,
        times: 1.0,
        overhead: overhead(Usage::Training),
        deadline_s: None,
        budget: None,
    };
    Some(advise(catalogue, &measured, &measured::need(&told), &options))
}

fn nothing(advice: &Advice, region: &str) -> ClientError {
    let why = advice.excluded.first().map_or_else(
        || format!("no prices for {} are known in `{region}`", advice.usage),
        |first| format!("{} {}", first.name, first.reason),
    );
    ClientError::Failed(format!(
        "no instance type would do: {why}\nhint: allow more time or money, or another region"
    ))
}

fn sensible(value: f64, flag: &str) -> Result<f64, ClientError> {
    if value.is_finite() && value > 0.0 && value < 1e12 {
        return Ok(value);
    }
    Err(ClientError::Usage(format!("`{value}` is no value of {flag}\nhint: it must be above 0")))
}

/// The network of a job of Kennel's own trainer, which takes the one that ships where none is named.
fn network_of(source: &Source) -> Option<KnownModel> {
    match source {
        Source::Job(job) if !measured::is_script(job) => {
            let named = job["HyperParameters"]["backbone"].as_str();
            kennel_cost::model_of(named.unwrap_or(SHIPPED))
        }
        _ => None,
    }
}

fn as_json(shown: &Shown) -> Value {
    json!({
        "advice": shown.advice, "measured": shown.measured, "need": shown.need, "notes": shown.notes,
        "paragraph": paragraph(&shown.advice, &shown.measured, &shown.need),
    })
}

/// `~$0.0123`, and `$0.01 to $0.02` beside it.
pub(super) fn money(ranked: &Ranked) -> (String, String) {
    let tilde = if ranked.verified { "" } else { "~" };
    let of = &ranked.dollars;
    (format!("{tilde}{}", about(of.mid)), format!("{} to {}", about(of.low), about(of.high)))
}

pub(super) fn time(ranked: &Ranked) -> (String, String) {
    let of = &ranked.seconds;
    (duration(of.mid), format!("{} to {}", duration(of.low), duration(of.high)))
}

/// Rows of the table without --all.
const SOME: usize = 14;

fn print(shown: &Shown, all: bool) {
    let advice = &shown.advice;
    let best = advice.best.as_deref().unwrap_or_default();
    // The Pareto types always, then the cheapest.
    let mut rows: Vec<&Ranked> = advice.ranked.iter().filter(|r| r.pareto).collect();
    let others = advice.ranked.iter().filter(|r| !r.pareto);
    rows.extend(others.take(if all { usize::MAX } else { SOME.saturating_sub(rows.len()) }));
    rows.sort_by(|a, b| a.dollars.mid.total_cmp(&b.dollars.mid));
    let row = |ranked: &&Ranked| {
        let ((cost, costs), (takes, between)) = (money(ranked), time(ranked));
        let mark = match (ranked.name == best, ranked.pareto) {
            (true, _) => "best",
            (_, true) => "pareto",
            _ => "",
        };
        [
            mark.to_owned(),
            format!(
                "{}{}",
                if ranked.count > 1 { format!("{} × ", ranked.count) } else { String::new() },
                ranked.name
            ),
            ranked.has.clone(),
            takes,
            between,
            cost,
            costs,
        ]
    };
    line(table(
        ["", "type", "has", "time", "from … to", "cost", "from … to"],
        rows.iter().map(row),
    ));
    let hidden = advice.ranked.len() - rows.len();
    if hidden > 0 {
        line(format!("… and {hidden} more, dearer ones; --all shows them"));
    }
    if !advice.excluded.is_empty() {
        line(format!("\nnot suited: {}", advice.excluded.len()));
        let few = if all { usize::MAX } else { 4 };
        for one in advice.excluded.iter().take(few) {
            line(format!("- {} {}", one.name, one.reason));
        }
    }
    if let Some(text) = paragraph(advice, &shown.measured, &shown.need) {
        line(format!("\n{text}\n"));
    }
    for text in &shown.notes {
        line(format!("- {text}"));
    }
}

//! `kennel tune`: searches the hyperparameters of the head. On a folder it works in this process: the
//! features are computed once and every trial is a head on them. On `s3://…` it is a tuning job of the
//! platform.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use comfy_table::Table;
use kennel_base::TrainOptions;
use kennel_client::{TuningRange, TuningRequest};
use kennel_infer::hub;
use kennel_train::job::{JobOptions, Photos};
use kennel_train::tune::{self, Objective, TuneEvent, TuneOptions, TuneResult};
use kennel_tune::report::{Report, Row, render};
use kennel_tune::{
    Assignment, Completion, Domain, Parameter, Plan, Scaling, Space, Strategy, TrialState,
};

use super::data::SplitArguments;
use super::hub::OpenArguments;
use super::train::{HeadArguments, JobProgress};
use super::{EngineArguments, cache_folders};
use crate::output::{self, line};
use crate::signals;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Folder of photos as for `kennel train`, or s3://BUCKET/PREFIX on the platform
    photos: String,
    /// Trials in all
    #[arg(long, value_name = "N", default_value_t = 20)]
    trials: usize,
    /// Trials at a time [default: one for each core; 2 on the platform]
    #[arg(long, value_name = "N")]
    parallel: Option<usize>,
    /// How the next trial is chosen
    #[arg(long, value_enum, default_value_t = Chosen::Bayesian)]
    strategy: Chosen,
    /// A range, as NAME=LOW..HIGH (numbers; add :log, :linear or :reverse-log) or NAME=A,B,C; may be given
    /// several times [default: ranges that suit the native algorithm]
    #[arg(long = "param", value_name = "RANGE")]
    parameters: Vec<String>,
    /// What is made as good as possible on the validation split
    #[arg(long, value_enum, default_value_t = Measured::Accuracy)]
    objective: Measured,
    /// Stop trials that are worse than the median of those before at the same epoch
    #[arg(long)]
    stop_early: bool,
    /// End when a trial is at least this good
    #[arg(long, value_name = "VALUE", allow_negative_numbers = true)]
    target: Option<f64>,
    /// End when this many trials in a row have brought nothing
    #[arg(long, value_name = "N")]
    not_improving: Option<usize>,
    /// Folder for the best model, its metrics, the trials and report.html; a tuning that was interrupted goes
    /// on with what is there
    #[arg(long, short, value_name = "FOLDER", default_value = "tuning")]
    output: PathBuf,
    /// Backbone by name (see `kennel hub list`) or path of an ONNX file
    #[arg(long, value_name = "NAME|FILE", default_value = hub::BUILTIN)]
    backbone: String,
    #[command(flatten, next_help_heading = "Fixed options of every trial")]
    head: HeadArguments,
    /// Share of photos that may be unreadable; they are skipped and counted
    #[arg(long, value_name = "SHARE", default_value_t = 0.05, help_heading = "Data")]
    max_bad: f64,
    #[command(flatten, next_help_heading = "Data")]
    split: SplitArguments,
    #[command(flatten, next_help_heading = "Backbone")]
    open: OpenArguments,
    #[command(flatten, next_help_heading = "Engine")]
    engine: EngineArguments,
    /// Instance type of the trials, on the platform
    #[arg(long, value_name = "TYPE", default_value = "ml.m5.large", help_heading = "Platform")]
    instance_type: String,
    #[command(flatten)]
    platform: kennel_client::TargetArguments,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Chosen {
    /// Drawn evenly
    Random,
    /// All combinations in order; no ranges of fractions
    Grid,
    /// Where a model of the trials so far expects most
    Bayesian,
    /// Drawn, and only the best third goes on at each rung of epochs
    Hyperband,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Measured {
    /// Top-1 accuracy
    Accuracy,
    /// Cross entropy
    Loss,
}

impl Measured {
    fn objective(self) -> Objective {
        match self {
            Measured::Accuracy => Objective::Accuracy,
            Measured::Loss => Objective::Loss,
        }
    }
}

pub(crate) fn run(arguments: Arguments) -> anyhow::Result<()> {
    let head = arguments.head.options()?;
    if arguments.photos.starts_with("s3://") {
        return on_the_platform(&arguments, &head);
    }
    let (cache, checkpoints) = cache_folders();
    let objective = arguments.objective.objective();
    let space = space(&arguments.parameters)?;
    // Rungs need the number of epochs, which is otherwise chosen after the photos are known.
    let epochs = if head.epochs == 0 { 15 } else { head.epochs };
    let strategy = match arguments.strategy {
        Chosen::Random => Strategy::Random,
        Chosen::Grid => Strategy::Grid,
        Chosen::Bayesian => Strategy::Bayesian,
        Chosen::Hyperband => {
            Strategy::Hyperband { min: 1, max: u32::try_from(epochs).unwrap_or(u32::MAX) }
        }
    };
    let options = TuneOptions {
        plan: Plan {
            space,
            strategy,
            goal: objective.goal(),
            seed: head.seed,
            max_trials: arguments.trials,
            parallel: arguments.parallel.unwrap_or_else(kennel_infer::pipeline::cores),
            early_stopping: arguments.stop_early,
            completion: Completion {
                target: arguments.target,
                not_improving: arguments.not_improving,
                convergence: false,
            },
            prior: Vec::new(),
        },
        job: JobOptions {
            photos: Photos::Folder(PathBuf::from(&arguments.photos)),
            backbone: arguments.backbone.clone(),
            open: arguments.open.options(),
            split: arguments.split.options()?,
            train: head,
            pipeline: arguments.engine.pipeline(),
            max_bad: arguments.max_bad,
            cache,
            checkpoints,
            observe: None,
        },
        objective,
        state: arguments.output.join("trials.json"),
    };
    std::fs::create_dir_all(&arguments.output).map_err(|e| {
        output::usage(format!("cannot make the folder `{}`: {e}", arguments.output.display()))
    })?;
    let stop = signals::stop_flag()?;
    let mut progress = JobProgress::default();
    let trials = options.plan.max_trials;
    let result = tune::run(&options, &stop, &mut |event| match event {
        TuneEvent::Job(event) => progress.tell(event),
        TuneEvent::Resumed(count) => {
            tracing::info!("{count} trials of an interrupted run are taken over");
        }
        TuneEvent::Started(..) => {}
        TuneEvent::Ended(number, record) => tracing::info!(
            "trial={number}/{trials} {} {}",
            said(&record.state, objective),
            together(&record.values)
        ),
    })?;
    write(&options, &result, &arguments)?;
    summary(&result, objective, &arguments);
    Ok(())
}

/// A tuning job of the platform; its trials are training jobs.
fn on_the_platform(arguments: &Arguments, head: &TrainOptions) -> anyhow::Result<()> {
    let mut fixed: std::collections::BTreeMap<String, String> =
        arguments.head.given().into_iter().collect();
    let fixed_seed = fixed.contains_key("seed").then_some(head.seed);
    if arguments.backbone != hub::BUILTIN {
        fixed.insert("backbone".to_owned(), arguments.backbone.clone());
    }
    let epochs = if head.epochs == 0 { 15 } else { head.epochs };
    let mut ranges = Vec::new();
    for text in &arguments.parameters {
        let Parameter { name, domain } = parameter(text)?;
        ranges.push(match domain {
            Domain::Continuous { min, max, scaling } => {
                TuningRange::Continuous { name, min, max, scaling: scaling.to_string() }
            }
            Domain::Integer { min, max, scaling } => {
                TuningRange::Integer { name, min, max, scaling: scaling.to_string() }
            }
            Domain::Categorical { values } => TuningRange::Categorical { name, values },
        });
    }
    let (metric, maximize) = match arguments.objective {
        Measured::Accuracy => ("validation:accuracy", true),
        Measured::Loss => ("validation:loss", false),
    };
    let strategy = match arguments.strategy {
        Chosen::Random => "Random",
        Chosen::Grid => "Grid",
        Chosen::Bayesian => "Bayesian",
        Chosen::Hyperband => "Hyperband",
    };
    let hyperband = (arguments.strategy == Chosen::Hyperband)
        .then(|| (1, u32::try_from(epochs).unwrap_or(u32::MAX)));
    if hyperband.is_some() {
        fixed.entry("epochs".to_owned()).or_insert_with(|| epochs.to_string());
    }
    std::fs::create_dir_all(&arguments.output).map_err(|e| {
        output::usage(format!("cannot make the folder `{}`: {e}", arguments.output.display()))
    })?;
    let request = TuningRequest {
        data: arguments.photos.clone(),
        name: None,
        trials: arguments.trials,
        parallel: arguments.parallel.unwrap_or(2),
        strategy: strategy.to_owned(),
        hyperband,
        maximize,
        metric: metric.to_owned(),
        ranges,
        fixed,
        early_stopping: arguments.stop_early,
        target: arguments.target,
        not_improving: arguments.not_improving,
        seed: fixed_seed,
        output: None,
        instance_type: arguments.instance_type.clone(),
        role: None,
        report: arguments.output.join("report.html"),
    };
    Ok(kennel_client::tune(&arguments.platform, &request)?)
}

/// `name=low..high[:scale]` or `name=a,b,c`; nothing given means the native algorithm's own ranges.
fn space(parameters: &[String]) -> anyhow::Result<Space> {
    if parameters.is_empty() {
        return Ok(kennel_tune::native::space());
    }
    let parsed = parameters.iter().map(|text| parameter(text)).collect::<Result<Vec<_>, _>>()?;
    Space::new(parsed).map_err(|e| output::usage(e.to_string()))
}

fn parameter(text: &str) -> anyhow::Result<Parameter> {
    let bad = |what: &str| {
        output::usage(format!(
            "`--param {text}`: {what}\nhint: as in `learning_rate=1e-3..1e-1:log`, `batch_size=32..512` or `head=linear,mlp:128`"
        ))
    };
    let (name, range) = text.split_once('=').ok_or_else(|| bad("there is no `=`"))?;
    // The same name as in SageMaker's hyperparameters.
    let name = name.trim().replace('-', "_");
    if name.is_empty() {
        return Err(bad("there is no name before `=`"));
    }
    let domain = match range.split_once("..") {
        Some((low, rest)) => {
            let (high, scale) = rest.split_once(':').unwrap_or((rest, "auto"));
            let scaling = match scale {
                "auto" => Scaling::Auto,
                "linear" => Scaling::Linear,
                "log" => Scaling::Logarithmic,
                "reverse-log" => Scaling::ReverseLogarithmic,
                _ => return Err(bad("the scale is none of auto, linear, log and reverse-log")),
            };
            match (low.trim().parse::<i64>(), high.trim().parse::<i64>()) {
                (Ok(min), Ok(max)) => Domain::Integer { min, max, scaling },
                _ => {
                    let number = |text: &str| {
                        text.trim().parse::<f64>().map_err(|_| bad("an end is not a number"))
                    };
                    Domain::Continuous { min: number(low)?, max: number(high)?, scaling }
                }
            }
        }
        None => {
            let values: Vec<String> = range.split(',').map(|v| v.trim().to_owned()).collect();
            if values.iter().any(String::is_empty) {
                return Err(bad("a value is empty"));
            }
            Domain::Categorical { values }
        }
    };
    Ok(Parameter { name, domain })
}

fn said(state: &TrialState, objective: Objective) -> String {
    let name = objective.name();
    match state {
        TrialState::Succeeded(value) => format!("{name}={value:.4}"),
        TrialState::Stopped(Some(value)) => format!("{name}={value:.4} (stopped early)"),
        TrialState::Stopped(None) => "stopped early".to_owned(),
        TrialState::Failed => "failed".to_owned(),
        TrialState::Running => "running".to_owned(),
    }
}

fn together(values: &Assignment) -> String {
    values.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" ")
}

fn write(options: &TuneOptions, result: &TuneResult, arguments: &Arguments) -> anyhow::Result<()> {
    use anyhow::Context as _;
    use std::io::Write as _;
    let folder = &arguments.output;
    result.job.package.write(&folder.join("model.tar.gz"))?;
    let best = &result.trials[result.best];
    let facts = [
        ("photos", arguments.photos.clone()),
        ("backbone", arguments.backbone.clone()),
        ("strategy", options.plan.strategy.to_string()),
        ("ended because", result.reason.clone()),
        ("took", format!("{:.1} s", result.seconds)),
    ];
    let report = Report {
        title: format!("Tuning report: {}", arguments.photos),
        facts: facts.into_iter().map(|(k, v)| (k.to_owned(), v)).collect(),
        notes: Vec::new(),
        goal: options.plan.goal,
        metric: options.objective.name().to_owned(),
        parameters: options.plan.space.parameters().to_vec(),
        trials: result
            .trials
            .iter()
            .enumerate()
            .map(|(number, trial)| Row {
                name: format!("trial {}", number + 1),
                values: trial.values.clone(),
                state: trial.state,
                reports: trial.reports.clone(),
                started: Some(trial.started),
                ended: trial.ended,
            })
            .collect(),
        best: Some(result.best),
    };
    let hyperparameters = serde_json::to_string_pretty(&best.values)?;
    // The training report of the best model is inside its package.
    for (name, text) in [
        ("report.html", render(&report)),
        ("hyperparameters.json", hyperparameters),
        ("metrics.json", serde_json::to_string_pretty(&result.job.metrics)?),
    ] {
        let path = folder.join(name);
        kennel_infer::package::write_aside(&path, |file| file.write_all(text.as_bytes()))
            .with_context(|| format!("cannot write `{}`", path.display()))?;
    }
    Ok(())
}

/// The table, best first, and what was written.
fn summary(result: &TuneResult, objective: Objective, arguments: &Arguments) {
    let value = |trial: &tune::TrialRecord| match trial.state {
        TrialState::Succeeded(value) => Some(value),
        TrialState::Stopped(value) => value,
        TrialState::Running | TrialState::Failed => None,
    };
    let cost = |trial: &tune::TrialRecord| {
        value(trial).map_or(f64::INFINITY, |v| match objective {
            Objective::Accuracy => -v,
            Objective::Loss => v,
        })
    };
    let mut order: Vec<usize> = (0..result.trials.len()).collect();
    order.sort_by(|a, b| {
        let (a, b) = (&result.trials[*a], &result.trials[*b]);
        cost(a).total_cmp(&cost(b))
    });
    let names: Vec<&String> =
        result.trials.first().map(|t| t.values.keys().collect()).unwrap_or_default();
    let mut table = Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    let mut header = vec!["trial".to_owned(), objective.name().to_owned(), "state".to_owned()];
    header.extend(names.iter().map(|name| (*name).clone()));
    table.set_header(header);
    for index in order {
        let trial = &result.trials[index];
        let state = match trial.state {
            TrialState::Succeeded(_) => "completed",
            TrialState::Stopped(_) => "stopped",
            TrialState::Failed => "failed",
            TrialState::Running => "running",
        };
        let mut row = vec![
            (index + 1).to_string(),
            value(trial).map_or_else(|| "-".to_owned(), |v| format!("{v:.4}")),
            state.to_owned(),
        ];
        row.extend(names.iter().map(|name| shown(trial.values.get(*name))));
        table.add_row(row);
    }
    line(table);
    super::train::summary(&result.job);
    line(format!("{} trials in {:.1} s: {}", result.trials.len(), result.seconds, result.reason));
    for name in ["model.tar.gz", "metrics.json", "hyperparameters.json", "report.html"] {
        line(format!("wrote {}", arguments.output.join(name).display()));
    }
}

/// A value in few characters: numbers to four digits.
fn shown(value: Option<&String>) -> String {
    let Some(text) = value else { return "-".to_owned() };
    match text.parse::<f64>() {
        Ok(number) if text.len() > 8 => format!("{number:.4e}"),
        _ => text.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_as_written() {
        let domain = |text: &str| parameter(text).unwrap().domain;
        assert_eq!(
            domain("learning-rate=1e-3..0.1:log"),
            Domain::Continuous { min: 1e-3, max: 0.1, scaling: Scaling::Logarithmic }
        );
        assert_eq!(
            domain("batch_size=32..512"),
            Domain::Integer { min: 32, max: 512, scaling: Scaling::Auto }
        );
        let values = vec!["linear".to_owned(), "mlp:128".to_owned()];
        assert_eq!(domain("head=linear, mlp:128"), Domain::Categorical { values });
        for bad in ["epochs", "=1..2", "a=1..x", "a=1..2:cubic", "a=1,,2"] {
            assert!(parameter(bad).is_err(), "{bad}");
        }
    }
}

//! `kennel scale recommend`: the cheapest way to scale that keeps a latency.

use std::path::PathBuf;

use clap::Args;
use kennel_scaling::fast::Measure;
use kennel_scaling::recommend::{Candidate, Goal, Mode, Progress, Search, recommend};
use kennel_scaling::scaler::Rule;
use kennel_scaling::simulate::Scaling;
use serde_json::json;

use super::plot::ms;
use super::scenario::{Load, Model, Policy, build};
use super::simulate::drawn;
use super::target::Metric;
use crate::client::Client;
use crate::error::ClientError;
use crate::output::{self, Spinner, line, note, table};

#[derive(Debug, Args)]
pub(super) struct Recommend {
    #[command(flatten)]
    load: Load,
    #[command(flatten)]
    model: Model,
    /// 99 of 100 requests are to be answered within so many milliseconds
    #[arg(long, value_name = "MS", required_unless_present = "p95")]
    p99: Option<f64>,
    /// 95 of 100 requests are to be answered within so many milliseconds
    #[arg(long, value_name = "MS")]
    p95: Option<f64>,
    /// Percent of requests that may be refused: while new instances are on their way, some are
    #[arg(long, default_value_t = 0.1, value_name = "PERCENT")]
    throttled: f64,
    /// Most instances
    #[arg(long, default_value_t = 20, value_name = "N")]
    most: u32,
    /// What the policy looks at
    #[arg(long, value_enum, default_value_t = Metric::Invocations)]
    metric: Metric,
    /// Let the instances go to none
    #[arg(long, requires = "fast")]
    to_zero: bool,
    /// Kennel's mode, which decides twice a second, instead of AWS's
    #[arg(long)]
    fast: bool,
    /// Simulations at most
    #[arg(long, default_value_t = 300, value_name = "N")]
    simulations: usize,
    /// Draw the best one
    #[arg(long, short, value_name = "FILE.html")]
    output: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(
    client: impl Fn() -> Result<Client, ClientError>,
    arguments: &Recommend,
) -> Result<(), ClientError> {
    let policy = Policy {
        min: None,
        max: None,
        target: None,
        metric: arguments.metric,
        scale_out_cooldown: None,
        scale_in_cooldown: None,
        fast: arguments.fast,
    };
    let built = build(client, &arguments.load, &arguments.model, &policy)?;
    for said in built.notes.iter().filter(|n| !n.starts_with("no policy")) {
        note(said);
    }
    let goal = Goal {
        p99_ms: arguments.p99,
        p95_ms: arguments.p95,
        throttled_share: arguments.throttled / 100.0,
    };
    let spinner = std::sync::Mutex::new(Spinner::start());
    let tell = |at: Progress| {
        // A line a tenth of the way, so that a log is not full of it.
        if at.done.is_multiple_of((at.most / 10).max(1))
            && let Ok(mut spinner) = spinner.lock()
        {
            let best = at.best_cost.map(|c| format!(", best ${c:.4}")).unwrap_or_default();
            spinner.say(format!("{} of at most {} simulations{best}", at.done, at.most));
        }
    };
    let search = Search {
        modes: vec![if arguments.fast { Mode::Fast } else { Mode::Aws }],
        least: u32::from(!arguments.to_zero),
        most: arguments.most,
        period_s: match arguments.metric {
            Metric::Invocations => 60,
            Metric::Concurrency => 10,
        },
        measure: match arguments.metric {
            Metric::Invocations => Measure::RequestsPerMinute,
            Metric::Concurrency => Measure::Concurrency,
        },
        simulations: arguments.simulations,
        threads: std::thread::available_parallelism().unwrap_or(std::num::NonZeroUsize::MIN),
        progress: Some(&tell),
        ..Search::default()
    };
    let found = recommend(&built.scenario, &goal, &search)
        .map_err(|e| ClientError::Usage(e.to_string()))?;
    drop(spinner);
    if arguments.json {
        output::json(&json!({"notes": built.notes, "candidates": found}));
    } else {
        line(table(
            ["instances", "target", "out after", "in after", "p95", "p99", "throttled", "cost"],
            found.iter().map(row),
        ));
        if let Some(best) = found.first() {
            line("");
            line(advice(arguments, best));
        }
    }
    if let (Some(path), Some(best)) = (&arguments.output, found.first()) {
        let title = format!("Recommended for {}", arguments.load.trace);
        drawn(&title, built.notes, &best.outcome).write(path)?;
    }
    match found.first() {
        Some(best) if best.meets => Ok(()),
        _ => Err(ClientError::Failed(format!(
            "no number of instances up to {} meets the goal\nhint: more --most, a larger instance type, or a goal above how long one request takes",
            arguments.most
        ))),
    }
}

/// Target, scale-out and scale-in seconds.
fn settings(scaling: &Scaling) -> Option<(f64, Option<f64>, Option<f64>)> {
    let seconds = |ms: i64| Some(ms as f64 / 1000.0);
    match scaling {
        Scaling::Aws { rules, .. } => rules.iter().find_map(|(_, rule)| match rule {
            Rule::TargetTracking(t) => {
                Some((t.target, seconds(t.scale_out_cooldown_ms), seconds(t.scale_in_cooldown_ms)))
            }
            Rule::Step(_) => None,
        }),
        Scaling::Fast(fast) => Some((fast.target, None, seconds(fast.scale_down_delay_ms))),
        Scaling::None | Scaling::Policies { .. } => None,
    }
}

fn row(candidate: &Candidate) -> [String; 8] {
    let (target, out, in_) = settings(&candidate.scaling).map_or_else(
        || ("fixed".to_owned(), String::new(), String::new()),
        |(target, out, in_)| {
            let words = |s: Option<f64>| s.map(|s| format!("{s:.0} s")).unwrap_or_default();
            (kennel_report::short(target), words(out), words(in_))
        },
    );
    let outcome = &candidate.outcome;
    [
        format!("{}–{}", candidate.bounds.min, candidate.bounds.max),
        target,
        out,
        in_,
        ms(outcome.p95_ms),
        ms(outcome.p99_ms),
        outcome.throttled.to_string(),
        format!("${:.4}{}", outcome.cost, if candidate.meets { "" } else { " (misses)" }),
    ]
}

/// The command that sets it.
fn advice(arguments: &Recommend, best: &Candidate) -> String {
    let name = arguments.model.endpoint.as_deref().unwrap_or("ENDPOINT");
    let (min, max) = (best.bounds.min, best.bounds.max);
    match settings(&best.scaling) {
        None => format!("kennel endpoint scale {name} --count {max}"),
        Some((target, out, in_)) => {
            let mut command =
                format!("kennel scale set {name} --min {min} --max {max} --target {target}");
            if arguments.metric == Metric::Concurrency {
                command.push_str(" --metric concurrency");
            }
            for (flag, seconds) in [("--scale-out-cooldown", out), ("--scale-in-cooldown", in_)] {
                if let Some(seconds) = seconds {
                    command.push_str(&format!(" {flag} {seconds:.0}"));
                }
            }
            if arguments.fast {
                command.push_str(" --fast");
            }
            command
        }
    }
}

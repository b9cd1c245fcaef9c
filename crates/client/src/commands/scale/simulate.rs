//! `kennel scale simulate`.

use std::path::PathBuf;

use clap::Args;
use kennel_scaling::simulate::{Outcome, Scenario, simulate};
use serde_json::json;

use super::plot::{Page, ms, some, steps};
use super::scenario::{Load, Model, Policy, build};
use crate::client::Client;
use crate::error::ClientError;
use crate::output::{self, fields, line, note, table};

#[derive(Debug, Args)]
pub(super) struct Simulate {
    #[command(flatten)]
    load: Load,
    #[command(flatten)]
    model: Model,
    #[command(flatten)]
    policy: Policy,
    /// Draw it
    #[arg(long, short, value_name = "FILE.html")]
    output: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(
    client: impl Fn() -> Result<Client, ClientError>,
    arguments: &Simulate,
) -> Result<(), ClientError> {
    let built = build(client, &arguments.load, &arguments.model, &arguments.policy)?;
    for said in &built.notes {
        note(said);
    }
    let outcome = simulated(&built.scenario)?;
    if arguments.json {
        output::json(&json!({"notes": built.notes, "outcome": outcome}));
    } else {
        line(shown(&outcome));
    }
    if let Some(path) = &arguments.output {
        drawn(&format!("Simulation: {}", arguments.load.trace), built.notes, &outcome)
            .write(path)?;
    }
    Ok(())
}

pub(super) fn simulated(scenario: &Scenario) -> Result<Outcome, ClientError> {
    simulate(scenario).map_err(|e| ClientError::Usage(e.to_string()))
}

/// The figures for a terminal.
pub(super) fn shown(outcome: &Outcome) -> String {
    let mut all =
        fields(&figures(outcome).iter().map(|(n, v)| (*n, Some(v.clone()))).collect::<Vec<_>>());
    let rows: Vec<[String; 4]> = outcome
        .activities
        .iter()
        .take(20)
        .map(|a| {
            [
                format!("{:.1} s", a.at_s),
                format!("{} → {}", a.from, a.to),
                a.ready_at_s.map(|at| format!("{:.1} s", at)).unwrap_or_default(),
                a.reason.clone(),
            ]
        })
        .collect();
    if !rows.is_empty() {
        all.push_str("\n\n");
        all.push_str(&table(["at", "instances", "ready at", "why"], rows));
    }
    if outcome.activities.len() > 20 {
        all.push_str(&format!("\n… and {} more", outcome.activities.len() - 20));
    }
    all
}

fn figures(outcome: &Outcome) -> Vec<(&'static str, String)> {
    let share = 100.0 * outcome.throttled as f64 / (outcome.requests.max(1)) as f64;
    vec![
        ("requests", outcome.requests.to_string()),
        ("throttled", format!("{} ({share:.2} %)", outcome.throttled)),
        ("p50", ms(outcome.p50_ms)),
        ("p95", ms(outcome.p95_ms)),
        ("p99", ms(outcome.p99_ms)),
        ("longest", ms(outcome.max_ms)),
        ("most instances", outcome.most_instances.to_string()),
        ("instance-hours", format!("{:.3}", outcome.instance_hours)),
        ("cost", format!("${:.4}", outcome.cost)),
    ]
}

/// The page of an outcome.
pub(super) fn drawn(title: &str, notes: Vec<String>, outcome: &Outcome) -> Page {
    let of = |pick: fn(&kennel_scaling::simulate::Moment) -> f64| -> Vec<(f64, f64)> {
        outcome.timeline.iter().map(|m| (m.at_s, pick(m))).collect()
    };
    let head = |name: &str, value: String, more: &str| (name.to_owned(), value, more.to_owned());
    let mut rows =
        vec![vec!["at".to_owned(), "instances".to_owned(), "ready".to_owned(), "why".to_owned()]];
    rows.extend(outcome.activities.iter().take(200).map(|a| {
        vec![
            format!("{:.1} s", a.at_s),
            format!("{} → {}", a.from, a.to),
            a.ready_at_s.map(|at| format!("{at:.1} s")).unwrap_or_default(),
            a.reason.clone(),
        ]
    }));
    Page {
        title: title.to_owned(),
        notes,
        heads: vec![
            head(
                "p99",
                ms(outcome.p99_ms),
                &format!("p50 {}, p95 {}", ms(outcome.p50_ms), ms(outcome.p95_ms)),
            ),
            head(
                "requests",
                outcome.requests.to_string(),
                &format!("{} throttled", outcome.throttled),
            ),
            head("instances", outcome.most_instances.to_string(), "at most"),
            head(
                "cost",
                format!("${:.4}", outcome.cost),
                &format!("{:.3} instance-hours", outcome.instance_hours),
            ),
        ],
        charts: vec![
            (
                "Instances".to_owned(),
                vec![
                    ("wanted", "s1", steps(&of(|m| f64::from(m.desired)))),
                    ("ready", "s0", steps(&of(|m| f64::from(m.ready)))),
                ],
            ),
            ("Requests a second".to_owned(), vec![("requests", "s0", of(|m| m.rps))]),
            (
                "Latency, milliseconds".to_owned(),
                vec![("p50", "s0", of(|m| some(m.p50_ms))), ("p99", "s1", of(|m| some(m.p99_ms)))],
            ),
            (
                "Requests under way".to_owned(),
                vec![
                    ("worked on", "s0", of(|m| m.in_flight - m.waiting)),
                    ("waiting", "s4", of(|m| m.waiting)),
                ],
            ),
        ],
        tables: if rows.len() > 1 { vec![("Activities".to_owned(), rows)] } else { Vec::new() },
        mark: None,
    }
}

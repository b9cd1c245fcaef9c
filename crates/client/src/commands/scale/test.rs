//! `kennel scale test`: a real load on a real endpoint, the instances that came of it, and the simulation of
//! the same beside it.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use kennel_scaling::simulate::{Outcome as Simulated, Scaling, ServiceTimes};
use kennel_scaling::trace::Trace;
use serde_json::{Value, json};

use super::load::{self, Count, Outcome, Plan, Run, quantile};
use super::plot::{Page, ms, some, steps};
use super::scenario::{Load, Model, Policy, build};
use super::simulate::simulated;
use super::variant;
use crate::client::{Client, InvokeRequest};
use crate::commands::invoke;
use crate::error::ClientError;
use crate::output::{self, Spinner, line, note, table};

/// Requests that are sent one after the other to learn how long one takes.
const WARM: usize = 100;
/// So many a second of them at most: a burst of them would itself make the endpoint scale out.
const WARM_RATE: f64 = 10.0;
/// Bursts that tell how many cores the machine is worth, and requests of one at most.
const BURSTS: usize = 40;
const MOST_AT_ONCE: usize = 8;
/// Places within a second that are simulated.
const PLACES: u32 = 10;
/// Requests of one test.
const MOST: f64 = 2_000_000.0;

#[derive(Debug, Args)]
pub(super) struct Test {
    /// Endpoint
    name: String,
    /// Photo, or any file with --content-type
    photo: PathBuf,
    /// Type of the file [default: from its content]
    #[arg(long, value_name = "TYPE")]
    content_type: Option<String>,
    /// Variant whose instances are counted [default: the only one]
    #[arg(long)]
    variant: Option<String>,
    #[command(flatten)]
    load: Load,
    /// Requests under way at most
    #[arg(long, default_value_t = 128, value_name = "N")]
    connections: usize,
    /// Wait at most so many seconds, after the last request, for the instances to go down to --min
    #[arg(long, default_value_t = 0, value_name = "SECONDS")]
    settle: u64,
    /// Milliseconds from a decision to an instance that answers, for the simulation
    #[arg(long, default_value_t = 250.0, value_name = "MS")]
    start: f64,
    /// Cores that the instances share, for the simulation [default: measured by as many requests at once as this machine
    /// has cores: hyperthreads are less than cores]
    #[arg(long, value_name = "N")]
    cores: Option<f64>,
    /// Requests that one instance works on at once, for the simulation [default: its type's processors]
    #[arg(long, value_name = "N")]
    workers: Option<u32>,
    /// Milliseconds that one request is worked on, P50,P99 or a file, for the simulation [default: measured beforehand,
    /// by requests that a low target would count as load]
    #[arg(long, value_name = "TIMES")]
    service: Option<String>,
    /// Do not simulate
    #[arg(long)]
    no_simulation: bool,
    /// Draw it
    #[arg(long, short, value_name = "FILE.html")]
    output: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// What is compared.
struct Figures {
    requests: usize,
    throttled: usize,
    failed: usize,
    p50_ms: f64,
    p95_ms: f64,
    p99_ms: f64,
    longest_ms: f64,
    most: u32,
    /// Seconds from the step to the first new instance that serves.
    to_scale_s: Option<f64>,
    /// Instances at the end.
    last: u32,
}

pub(super) fn run(client: &Client, arguments: &Test) -> Result<(), ClientError> {
    let variant = variant(client, &arguments.name, arguments.variant.as_deref())?;
    let (content_type, body) = invoke::read(&arguments.photo, arguments.content_type.as_deref())?;
    let request = InvokeRequest {
        endpoint: arguments.name.clone(),
        content_type,
        accept: None,
        variant: arguments.variant.clone(),
        body,
    };
    let built = build(
        || Ok(client.clone()),
        &arguments.load,
        &Model {
            endpoint: Some(arguments.name.clone()),
            variant: Some(variant.clone()),
            // Measured below, where it is not given.
            service: Some(arguments.service.clone().unwrap_or_else(|| "1".to_owned())),
            instance_type: None,
            start: arguments.start,
            workers: arguments.workers,
            cores: arguments.cores.unwrap_or_else(|| cores() as f64),
        },
        &Policy {
            min: None,
            max: None,
            target: None,
            metric: super::target::Metric::Invocations,
            scale_out_cooldown: None,
            scale_in_cooldown: None,
            fast: false,
        },
    )?;
    let mut scenario = built.scenario;
    // Before anything is sent.
    let expected = scenario.trace.expected(scenario.duration_s);
    if expected.is_nan() || expected > MOST {
        return Err(ClientError::Usage(format!(
            "{expected:.0} requests are more than a test sends; at most {MOST}\nhint: fewer --seconds, or a smaller trace"
        )));
    }
    if arguments.service.is_none() {
        // As often as the load begins.
        let rate = scenario.trace.expected(10.0) / 10.0;
        let warm = warm(client, &request, rate.clamp(1.0, WARM_RATE))?;
        // What was measured a moment ago, from here, says more than the endpoint's metrics.
        scenario.service =
            ServiceTimes::from_samples(&warm).map_err(|e| ClientError::Failed(e.to_string()))?;
        if arguments.cores.is_none() {
            let cores = shared_cores(client, &request, rate.clamp(1.0, WARM_RATE), &warm)?;
            note(format!("the machine works like one of {cores:.1} cores"));
            scenario.instances.cores = Some(cores);
        }
    }
    let arrivals: Vec<f64> = scenario
        .trace
        .arrivals(scenario.duration_s, scenario.seed)
        .map_err(|e| ClientError::Usage(e.to_string()))?
        .collect();
    note(format!(
        "{} requests in {} s; one takes {} (p50), {} (p99) when it is alone",
        arrivals.len(),
        scenario.duration_s,
        ms(scenario.service.quantile_ms(0.5)),
        ms(scenario.service.quantile_ms(0.99)),
    ));
    let settle = (arguments.settle > 0)
        .then(|| (Duration::from_secs(arguments.settle), scenario.bounds.min));
    let plan = Plan {
        request: &request,
        variant: &variant,
        arrivals: &arrivals,
        connections: arguments.connections,
        settle,
    };
    let found = load::run(client, &plan)?;
    let step = step_at(&arguments.load.trace);
    let real = measured(&found, step);
    let model = match arguments.no_simulation {
        true => None,
        false => {
            // The same arrivals, not others of the same rate; and at the same places within minutes, which
            // alarms go by. Where in a second the fast mode decides is not known, so all places count.
            let shift = found.started_ms.rem_euclid(60_000) as f64 / 1000.0;
            let places = if matches!(scenario.scaling, Scaling::Fast(_)) { PLACES } else { 1 };
            let mut outcomes = Vec::new();
            for place in 0..places {
                let shift = shift + f64::from(place) / f64::from(places);
                let shifted = arrivals.iter().map(|at| at + shift).collect();
                scenario.trace = Trace::Timestamps(shifted);
                scenario.duration_s = found.lasted_s + shift;
                scenario.bucket_s = piece(&found);
                outcomes.push(shifted_back(simulated(&scenario)?, shift));
            }
            let times: Vec<f64> =
                outcomes.iter().filter_map(|o| modelled(o, step).to_scale_s).collect();
            let outcome = outcomes.swap_remove(0);
            let mut figures = modelled(&outcome, step);
            if !times.is_empty() {
                figures.to_scale_s = Some(times.iter().sum::<f64>() / times.len() as f64);
            }
            Some((outcome, figures))
        }
    };
    if arguments.json {
        output::json(&told(&real, model.as_ref().map(|m| &m.1), &found));
    } else {
        line(compared(&real, model.as_ref().map(|m| &m.1)));
    }
    for (what, count) in failures(&found) {
        note(format!("{count} failed: {what}"));
    }
    if let Some(path) = &arguments.output {
        page(arguments, &found, &real, model.as_ref(), step).write(path)?;
    }
    Ok(())
}

/// The outcome with the run's start as its zero.
fn shifted_back(mut outcome: Simulated, shift: f64) -> Simulated {
    outcome.timeline.retain(|m| m.at_s >= shift.floor());
    for moment in &mut outcome.timeline {
        moment.at_s -= shift;
    }
    for activity in &mut outcome.activities {
        activity.at_s -= shift;
        activity.ready_at_s = activity.ready_at_s.map(|at| at - shift);
    }
    outcome
}

/// Cores of this machine, which instances of the platform share.
fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get)
}

/// How many cores the machine is worth: so many requests at once as it has would take as long as one alone if each had
/// a whole core. Two hyperthreads, or cores that wait for the same memory, are worth less.
fn shared_cores(
    client: &Client,
    request: &InvokeRequest,
    rate: f64,
    alone: &[f64],
) -> Result<f64, ClientError> {
    let at_once = cores().min(MOST_AT_ONCE);
    let mut together = Vec::with_capacity(BURSTS * at_once);
    for _ in 0..BURSTS {
        let began = std::time::Instant::now();
        let times: Vec<_> = std::thread::scope(|scope| {
            let one = || {
                let sent = std::time::Instant::now();
                client.invoke(request).map(|_| sent.elapsed().as_secs_f64() * 1e3)
            };
            let all: Vec<_> = (0..at_once).map(|_| scope.spawn(one)).collect();
            all.into_iter().filter_map(|thread| thread.join().ok()).collect()
        });
        for time in times {
            together.push(time?);
        }
        let pause = Duration::from_secs_f64(at_once as f64 / rate);
        std::thread::sleep(pause.saturating_sub(began.elapsed()));
    }
    let (alone, together) = (quantile(alone, 0.5), quantile(&together, 0.5));
    let worth = match (alone, together) {
        (Some(alone), Some(together)) if together > 0.0 => at_once as f64 * alone / together,
        _ => at_once as f64,
    };
    // Of a larger machine the rest is taken to be alike.
    Ok(worth.clamp(1.0, at_once as f64) * cores() as f64 / at_once as f64)
}

/// How long single requests take, in milliseconds; the first few, which warm things up, are left out.
fn warm(client: &Client, request: &InvokeRequest, rate: f64) -> Result<Vec<f64>, ClientError> {
    let mut spinner = Spinner::start();
    spinner.say("asking alone, to learn how long one request takes".to_owned());
    let mut times = Vec::with_capacity(WARM);
    for number in 0..WARM + 5 {
        let began = std::time::Instant::now();
        client.invoke(request)?;
        let took = began.elapsed();
        if number >= 5 {
            times.push(took.as_secs_f64() * 1e3);
        }
        std::thread::sleep(Duration::from_secs_f64(1.0 / rate).saturating_sub(took));
    }
    Ok(times)
}

/// When the load goes up, where the trace says so.
fn step_at(trace: &str) -> Option<f64> {
    let (kind, rest) = trace.split_once(':')?;
    matches!(kind, "step" | "spike").then(|| rest.split(',').nth(2)?.trim().parse().ok())?
}

fn measured(run: &Run, step: Option<f64>) -> Figures {
    let answered: Vec<f64> =
        run.sent.iter().filter(|s| s.outcome == Outcome::Answered).map(|s| s.latency_ms).collect();
    let count =
        |wanted: fn(&Outcome) -> bool| run.sent.iter().filter(|s| wanted(&s.outcome)).count();
    let at = |share| quantile(&answered, share).unwrap_or(f64::NAN);
    Figures {
        requests: run.sent.len(),
        throttled: count(|o| *o == Outcome::Throttled),
        failed: count(|o| matches!(o, Outcome::Failed(_))),
        p50_ms: at(0.5),
        p95_ms: at(0.95),
        p99_ms: at(0.99),
        longest_ms: at(1.0),
        most: run.counts.iter().map(|c| c.ready).max().unwrap_or(0),
        to_scale_s: step.and_then(|step| to_scale(&run.counts, step)),
        last: run.counts.last().map_or(0, |c| c.ready),
    }
}

/// Seconds from `step` to the first look that saw more ready instances than there were then.
fn to_scale(counts: &[Count], step: f64) -> Option<f64> {
    let before = counts.iter().rfind(|c| c.at_s <= step).or(counts.first())?.ready;
    let more = counts.iter().find(|c| c.at_s > step && c.ready > before)?;
    Some(more.at_s - step)
}

fn modelled(outcome: &Simulated, step: Option<f64>) -> Figures {
    let out = step.and_then(|step| {
        let first = outcome
            .activities
            .iter()
            .filter(|a| a.to > a.from && a.at_s >= step)
            .find_map(|a| a.ready_at_s)?;
        Some(first - step)
    });
    Figures {
        requests: usize::try_from(outcome.requests).unwrap_or(usize::MAX),
        throttled: usize::try_from(outcome.throttled).unwrap_or(usize::MAX),
        failed: 0,
        p50_ms: outcome.p50_ms,
        p95_ms: outcome.p95_ms,
        p99_ms: outcome.p99_ms,
        longest_ms: outcome.max_ms,
        most: outcome.most_instances,
        to_scale_s: out,
        last: outcome.timeline.last().map_or(0, |m| m.ready),
    }
}

/// The rows of the comparison: what, measured, simulated, difference in percent.
fn rows(real: &Figures, model: Option<&Figures>) -> Vec<[String; 4]> {
    let mut rows = Vec::new();
    let mut number = |what: &str, pick: fn(&Figures) -> Option<f64>, words: fn(f64) -> String| {
        let (r, m) = (pick(real), model.and_then(pick));
        let difference = match (r, m) {
            (Some(r), Some(m)) if r > 0.0 && m.is_finite() => {
                format!("{:+.0} %", 100.0 * (m - r) / r)
            }
            _ => String::new(),
        };
        rows.push([
            what.to_owned(),
            r.map(words).unwrap_or_default(),
            m.map(words).unwrap_or_default(),
            difference,
        ]);
    };
    let whole = |v: f64| format!("{v:.0}");
    number("requests", |f| Some(f.requests as f64), whole);
    number("throttled", |f| Some(f.throttled as f64), whole);
    number("failed", |f| Some(f.failed as f64), whole);
    number("p50", |f| Some(f.p50_ms), ms);
    number("p95", |f| Some(f.p95_ms), ms);
    number("p99", |f| Some(f.p99_ms), ms);
    number("longest", |f| Some(f.longest_ms), ms);
    number("most instances", |f| Some(f64::from(f.most)), whole);
    number("from the step to a new instance", |f| f.to_scale_s, |v| format!("{v:.1} s"));
    number("instances at the end", |f| Some(f64::from(f.last)), whole);
    rows
}

fn compared(real: &Figures, model: Option<&Figures>) -> String {
    table(["", "measured", "simulated", "off by"], rows(real, model))
}

fn failures(run: &Run) -> Vec<(String, usize)> {
    let mut all: std::collections::BTreeMap<&str, usize> = std::collections::BTreeMap::new();
    for sent in &run.sent {
        if let Outcome::Failed(what) = &sent.outcome {
            *all.entry(what).or_default() += 1;
        }
    }
    all.into_iter().map(|(what, count)| (what.to_owned(), count)).collect()
}

fn told(real: &Figures, model: Option<&Figures>, run: &Run) -> Value {
    let figures = |f: &Figures| {
        json!({
            "requests": f.requests,
            "throttled": f.throttled,
            "failed": f.failed,
            "p50_ms": f.p50_ms,
            "p95_ms": f.p95_ms,
            "p99_ms": f.p99_ms,
            "max_ms": f.longest_ms,
            "most_instances": f.most,
            "seconds_to_scale": f.to_scale_s,
            "instances_at_the_end": f.last,
        })
    };
    let counts: Vec<Value> = run
        .counts
        .iter()
        .map(|c| json!({"at_s": c.at_s, "ready": c.ready, "desired": c.desired}))
        .collect();
    json!({"measured": figures(real), "simulated": model.map(figures), "instances": counts})
}

fn page(
    arguments: &Test,
    run: &Run,
    real: &Figures,
    model: Option<&(Simulated, Figures)>,
    step: Option<f64>,
) -> Page {
    let seconds = per_piece(run, piece(run));
    let of = |pick: fn(&Second) -> f64| -> Vec<(f64, f64)> {
        seconds.iter().map(|s| (s.at_s, pick(s))).collect()
    };
    let count = |pick: fn(&Count) -> u32| -> Vec<(f64, f64)> {
        steps(&run.counts.iter().map(|c| (c.at_s, f64::from(pick(c)))).collect::<Vec<_>>())
    };
    let mut instances =
        vec![("wanted", "s7", count(|c| c.desired)), ("ready", "s0", count(|c| c.ready))];
    let mut latency = vec![("p50", "s0", of(|s| s.p50_ms)), ("p95", "s1", of(|s| s.p95_ms))];
    if let Some((outcome, _)) = model {
        let moments: Vec<(f64, f64)> =
            outcome.timeline.iter().map(|m| (m.at_s, f64::from(m.ready))).collect();
        instances.push(("simulated", "s2", steps(&moments)));
        let p50 = outcome.timeline.iter().map(|m| (m.at_s, some(m.p50_ms))).collect();
        latency.push(("p50, simulated", "s2", p50));
    }
    let head = |name: &str, value: String, more: String| (name.to_owned(), value, more);
    let mut table = vec![vec![
        String::new(),
        "measured".to_owned(),
        "simulated".to_owned(),
        "off by".to_owned(),
    ]];
    table.extend(rows(real, model.map(|m| &m.1)).into_iter().map(Vec::from));
    Page {
        title: format!("Load on {}: {}", arguments.name, arguments.load.trace),
        notes: vec![
            "Latency counts from when a request was due, not from when a connection was free for it."
                .to_owned(),
        ],
        heads: vec![
            head("p95", ms(real.p95_ms), format!("p50 {}, p99 {}", ms(real.p50_ms), ms(real.p99_ms))),
            head("requests", real.requests.to_string(), format!("{} throttled, {} failed", real.throttled, real.failed)),
            head("instances", real.most.to_string(), format!("at most; {} at the end", real.last)),
            head(
                "to scale",
                real.to_scale_s.map_or("–".to_owned(), |s| format!("{s:.1} s")),
                "from the step to a new instance that serves".to_owned(),
            ),
        ],
        charts: vec![
            ("Instances".to_owned(), instances),
            ("Requests a second".to_owned(), vec![
                ("requests", "s0", of(|s| s.requests)),
                ("throttled or failed", "s4", of(|s| s.refused)),
            ]),
            ("Latency, milliseconds".to_owned(), latency),
        ],
        tables: vec![("Measured and simulated".to_owned(), table)],
        mark: step.map(|at| (at, "load goes up".to_owned())),
    }
}

/// Seconds of a piece: whole ones, so many that there are not too many pieces to see.
fn piece(run: &Run) -> f64 {
    (run.lasted_s / 150.0).ceil().max(1.0)
}

/// One piece of a run.
struct Second {
    at_s: f64,
    requests: f64,
    refused: f64,
    p50_ms: f64,
    p95_ms: f64,
}

/// Pieces of a run that are drawn, of so many seconds each.
fn per_piece(run: &Run, piece_s: f64) -> Vec<Second> {
    let last = run.sent.last().map_or(0.0, |s| s.at_s);
    let count = (last / piece_s) as usize + 1;
    let mut pieces: Vec<(Vec<f64>, usize, usize)> = vec![(Vec::new(), 0, 0); count];
    for sent in &run.sent {
        let Some((latencies, requests, refused)) = pieces.get_mut((sent.at_s / piece_s) as usize)
        else {
            continue;
        };
        *requests += 1;
        match sent.outcome {
            Outcome::Answered => latencies.push(sent.latency_ms),
            _ => *refused += 1,
        }
    }
    pieces
        .into_iter()
        .enumerate()
        .map(|(number, (latencies, requests, refused))| Second {
            at_s: number as f64 * piece_s,
            requests: requests as f64 / piece_s,
            refused: refused as f64 / piece_s,
            p50_ms: quantile(&latencies, 0.5).unwrap_or(f64::NAN),
            p95_ms: quantile(&latencies, 0.95).unwrap_or(f64::NAN),
        })
        .collect()
}

//! From arguments, and from what an endpoint has measured about itself, to a scenario of the simulator.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use kennel_cost::Usage;
use kennel_scaling::fast::{Fast, Measure};
use kennel_scaling::scaler::{Bounds, Rule};
use kennel_scaling::simulate::{Instances, Scaling, Scenario, ServiceTimes};
use kennel_scaling::target_tracking::TargetTracking;
use kennel_scaling::trace::Trace;
use serde_json::{Value, json};

use super::target::Metric;
use super::{call, resource, variant};
use crate::client::{Client, Service};
use crate::clock;
use crate::commands::cost::known_prices;
use crate::commands::endpoint;
use crate::error::ClientError;
use crate::output::text;

/// Shares of requests whose latency is asked of CloudWatch.
const QUANTILES: [f64; 13] =
    [1.0, 5.0, 10.0, 20.0, 30.0, 40.0, 50.0, 60.0, 70.0, 80.0, 90.0, 95.0, 99.0];
/// Requests that an instance of the platform takes at once, those that wait included.
const IN_FLIGHT: u32 = 64;
/// Requests that wait for the first instance of a variant at zero.
const HELD: u32 = 256;

/// The load.
#[derive(Debug, Clone, Args)]
pub(super) struct Load {
    /// The load: constant:RPS, step:LOW,HIGH,FROM[,UNTIL], spike:BASE,PEAK,AT,SECONDS, diurnal:LOW,HIGH[,PERIOD],
    /// csv:FILE (a time a line, or `minute,requests`), endpoint:NAME[,HOURS] (recorded by CloudWatch)
    #[arg(long, default_value = "step:2,20,300,1500", value_name = "TRACE")]
    pub trace: String,
    /// Seconds of it
    #[arg(long, default_value_t = 3600.0, value_name = "SECONDS")]
    pub seconds: f64,
    /// What chance is drawn from
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub seed: u64,
}

/// The endpoint, or what is known of it.
#[derive(Debug, Clone, Args)]
pub(super) struct Model {
    /// Take service times, instance type, price and policy from this endpoint
    #[arg(long, value_name = "NAME")]
    pub endpoint: Option<String>,
    /// Its variant [default: the only one]
    #[arg(long, value_name = "NAME")]
    pub variant: Option<String>,
    /// Milliseconds that one request is worked on: P50,P99, or a file with one measured time a line
    #[arg(long, value_name = "TIMES")]
    pub service: Option<String>,
    /// Instance type: processors (requests worked on at once) and price
    #[arg(long, value_name = "TYPE")]
    pub instance_type: Option<String>,
    /// Milliseconds from a decision to an instance that answers [default: 150 here, minutes on AWS: say them]
    #[arg(long, default_value_t = 150.0, value_name = "MS")]
    pub start: f64,
    /// Requests that one instance works on at once [default: its type's processors]
    #[arg(long, value_name = "N")]
    pub workers: Option<u32>,
    /// All instances share a machine with so many cores, as they do here; 0: each has its own, as on AWS
    #[arg(long, default_value_t = 0.0, value_name = "N")]
    pub cores: f64,
}

/// How it scales.
#[derive(Debug, Clone, Args)]
pub(super) struct Policy {
    /// Fewest instances
    #[arg(long, value_name = "N")]
    pub min: Option<u32>,
    /// Most instances
    #[arg(long, value_name = "N")]
    pub max: Option<u32>,
    /// What one instance is to have of the metric; without it, and without a policy at the endpoint, nothing scales
    #[arg(long, value_name = "VALUE")]
    pub target: Option<f64>,
    /// What is looked at
    #[arg(long, value_enum, default_value_t = Metric::Invocations)]
    pub metric: Metric,
    /// Seconds after a scale-out before the next [default: 300; without effect with --fast]
    #[arg(long, value_name = "SECONDS")]
    pub scale_out_cooldown: Option<u32>,
    /// Seconds after a scale-in before the next [default: 300; 0 with --fast]
    #[arg(long, value_name = "SECONDS")]
    pub scale_in_cooldown: Option<u32>,
    /// Decide twice a second (Kennel's mode), not by alarms over minutes (AWS's)
    #[arg(long)]
    pub fast: bool,
}

/// A scenario, with the words for where its numbers are from.
pub(super) struct Built {
    pub scenario: Scenario,
    pub notes: Vec<String>,
}

/// What a target tracking policy says; `None` for a cooldown is AWS's 300 s, and no delay in the fast mode.
#[derive(Debug, Clone, Copy)]
struct Tracked {
    target: f64,
    metric: Metric,
    out_s: Option<u32>,
    in_s: Option<u32>,
    disable_scale_in: bool,
}

/// What an endpoint tells about itself.
#[derive(Debug, Default)]
struct Known {
    region: Option<String>,
    instance_type: Option<String>,
    service: Option<ServiceTimes>,
    bounds: Option<Bounds>,
    initial: Option<u32>,
    target: Option<Tracked>,
    fast: bool,
    notes: Vec<String>,
}

/// Builds the scenario; `client` is asked for only where the arguments need the endpoint.
pub(super) fn build(
    client: impl Fn() -> Result<Client, ClientError>,
    load: &Load,
    model: &Model,
    policy: &Policy,
) -> Result<Built, ClientError> {
    let known = match &model.endpoint {
        Some(name) => ask(&client()?, name, model.variant.as_deref())?,
        None => Known::default(),
    };
    let mut notes = known.notes;
    let service = match (&model.service, known.service) {
        (Some(given), _) => service(given)?,
        (None, Some(measured)) => measured,
        (None, None) => {
            return Err(ClientError::Usage(
                "how long a request takes is not known\nhint: name a used endpoint with --endpoint, or say --service P50,P99 in milliseconds"
                    .to_owned(),
            ));
        }
    };
    let instance_type = model
        .instance_type
        .clone()
        .or(known.instance_type)
        .unwrap_or_else(|| "ml.m5.large".to_owned());
    let catalogue = known_prices();
    let region = known.region.as_deref().unwrap_or("us-east-1");
    let hourly_price = match catalogue.hourly(Usage::Hosting, &instance_type, region) {
        Ok(price) => {
            notes.push(format!(
                "{instance_type}: ${} an hour ({region}, {})",
                price.dollars, price.as_of
            ));
            price.dollars
        }
        Err(error) => {
            notes.push(format!("costs are 0: {error}"));
            0.0
        }
    };
    let workers = match model.workers {
        Some(workers) => workers,
        None => catalogue.instance(&instance_type).map_or(2, |t| t.vcpus),
    };
    let bounds = known.bounds.unwrap_or(Bounds { min: 1, max: 1 });
    if let (Some(min), Some(max)) = (policy.min, policy.max)
        && min > max
    {
        return Err(ClientError::Usage(format!("--min {min} is more than --max {max}")));
    }
    let min = policy.min.unwrap_or(bounds.min);
    let bounds = Bounds { min, max: policy.max.unwrap_or(bounds.max).max(min) };
    let fast = policy.fast || known.fast;
    let target = match policy.target {
        Some(target) => Some(Tracked {
            target,
            metric: policy.metric,
            out_s: policy.scale_out_cooldown,
            in_s: policy.scale_in_cooldown,
            disable_scale_in: false,
        }),
        None => known.target,
    };
    let scaling = match target {
        None => Scaling::None,
        Some(tracked) => scaling(tracked, fast),
    };
    if matches!(scaling, Scaling::None) {
        notes.push("no policy: the number of instances stays".to_owned());
    }
    let trace = match load.trace.strip_prefix("endpoint:") {
        Some(recorded) => recorded_trace(&client()?, recorded)?,
        None => trace(&load.trace)?,
    };
    let scenario = Scenario {
        trace,
        duration_s: load.seconds,
        service,
        instances: Instances {
            start_ms: model.start,
            concurrency: workers.max(1),
            queue: IN_FLIGHT.saturating_sub(workers).max(1),
            cores: (model.cores > 0.0).then_some(model.cores),
        },
        scaling,
        initial: known.initial.unwrap_or(bounds.min).clamp(bounds.min, bounds.max),
        bounds,
        hold: HELD,
        seed: load.seed,
        hourly_price,
        bucket_s: (load.seconds / 300.0).max(1.0),
    };
    Ok(Built { scenario, notes })
}

/// A target tracking policy in one of the two modes, as the platform reads it.
fn scaling(tracked: Tracked, fast: bool) -> Scaling {
    let Tracked { target, metric, out_s, in_s, disable_scale_in } = tracked;
    let ms = |seconds: Option<u32>, default: u32| i64::from(seconds.unwrap_or(default)) * 1000;
    if fast {
        let measure = match metric {
            Metric::Invocations => Measure::RequestsPerMinute,
            Metric::Concurrency => Measure::Concurrency,
        };
        let mut fast = Fast::new(target, measure);
        fast.scale_down_delay_ms = ms(in_s, 0);
        fast.disable_scale_in = disable_scale_in;
        return Scaling::Fast(fast);
    }
    let tracking = TargetTracking {
        target,
        scale_out_cooldown_ms: ms(out_s, 300),
        scale_in_cooldown_ms: ms(in_s, 300),
        disable_scale_in,
    };
    let period_s = match metric {
        Metric::Invocations => 60,
        Metric::Concurrency => 10,
    };
    Scaling::Aws {
        rules: vec![("target-tracking".to_owned(), Rule::TargetTracking(tracking))],
        period_s,
    }
}

/// `--service`: `P50,P99`, or a file of samples.
pub(super) fn service(given: &str) -> Result<ServiceTimes, ClientError> {
    let wrong = |what: &str| {
        ClientError::Usage(format!(
            "--service `{given}`: {what}\nhint: P50,P99 in milliseconds, as in `--service 12,30`, or a file with one time a line"
        ))
    };
    if let Some((p50, p99)) = given.split_once(',')
        && let (Ok(p50), Ok(p99)) = (p50.trim().parse::<f64>(), p99.trim().parse::<f64>())
    {
        return ServiceTimes::lognormal(p50, p99).map_err(|e| wrong(&e.to_string()));
    }
    if let Ok(constant) = given.parse::<f64>() {
        return ServiceTimes::constant(constant).map_err(|e| wrong(&e.to_string()));
    }
    let path = Path::new(given);
    let content = std::fs::read_to_string(path).map_err(ClientError::file("read", path))?;
    let samples: Vec<f64> = content
        .lines()
        .map(str::trim)
        .filter(|l| !l.is_empty())
        .map(|l| l.parse::<f64>().map_err(|_| wrong(&format!("`{l}` is no number"))))
        .collect::<Result<_, _>>()?;
    ServiceTimes::from_samples(&samples).map_err(|e| wrong(&e.to_string()))
}

/// A trace as one writes it, without those that an endpoint recorded.
pub(super) fn trace(given: &str) -> Result<Trace, ClientError> {
    let wrong = || {
        ClientError::Usage(format!(
            "the trace `{given}` is not understood\nhint: constant:RPS, step:LOW,HIGH,FROM[,UNTIL], spike:BASE,PEAK,AT,SECONDS, diurnal:LOW,HIGH[,PERIOD], csv:FILE or endpoint:NAME"
        ))
    };
    let (kind, rest) = given.split_once(':').ok_or_else(wrong)?;
    if kind == "csv" {
        let path = PathBuf::from(rest);
        let content = std::fs::read_to_string(&path).map_err(ClientError::file("read", &path))?;
        return Trace::csv(&content).map_err(|e| ClientError::Usage(format!("`{rest}`: {e}")));
    }
    let numbers: Vec<f64> = rest
        .split(',')
        .map(|n| n.trim().parse::<f64>().ok().filter(|n| n.is_finite() && *n >= 0.0))
        .collect::<Option<_>>()
        .ok_or_else(wrong)?;
    Ok(match (kind, numbers.as_slice()) {
        ("constant", &[rps]) => Trace::Constant { rps },
        ("step", &[low_rps, high_rps, at_s]) => {
            Trace::Step { low_rps, high_rps, at_s, until_s: None }
        }
        ("step", &[low_rps, high_rps, at_s, until_s]) => {
            Trace::Step { low_rps, high_rps, at_s, until_s: Some(until_s) }
        }
        ("spike", &[base_rps, peak_rps, at_s, width_s]) => {
            let half = width_s / 2.0;
            Trace::Spike { base_rps, peak_rps, at_s, rise_s: half, fall_s: half }
        }
        ("diurnal", &[low_rps, high_rps]) => {
            Trace::Diurnal { low_rps, high_rps, period_s: 86_400.0, peak_s: 43_200.0 }
        }
        ("diurnal", &[low_rps, high_rps, period_s]) => {
            Trace::Diurnal { low_rps, high_rps, period_s, peak_s: period_s / 2.0 }
        }
        _ => return Err(wrong()),
    })
}

/// `NAME[,HOURS]`: the requests of each minute that CloudWatch has of an endpoint.
fn recorded_trace(client: &Client, given: &str) -> Result<Trace, ClientError> {
    let (name, hours) = match given.split_once(',') {
        Some((name, hours)) => (name, hours.parse::<i64>().ok().filter(|h| (1..=336).contains(h))),
        None => (given, Some(1)),
    };
    let hours = hours.ok_or_else(|| {
        ClientError::Usage(format!("`{given}`: hours are 1 to 336, as in `endpoint:dogs,24`"))
    })?;
    let variant = variant(client, name, None)?;
    let now = clock::epoch_millis() / 1000;
    let start = (now - hours * 3600).div_euclid(60) * 60;
    let points = statistics(
        client,
        name,
        &variant,
        "Invocations",
        (start, now),
        &json!({
            "Statistics": ["Sum"],
        }),
    )?;
    let minutes = usize::try_from((now - start).div_euclid(60)).unwrap_or(0);
    let mut counts = vec![0.0; minutes];
    for point in &points {
        let at = point["Timestamp"].as_f64().unwrap_or(0.0) as i64 - start;
        let slot = usize::try_from(at.div_euclid(60)).ok().and_then(|i| counts.get_mut(i));
        if let Some(slot) = slot {
            *slot = point["Sum"].as_f64().unwrap_or(0.0);
        }
    }
    if counts.iter().sum::<f64>() == 0.0 {
        return Err(ClientError::Usage(format!(
            "endpoint `{name}` had no request in the last {hours} hours\nhint: name more hours, as in `endpoint:{name},24`"
        )));
    }
    Ok(Trace::PerMinute(counts))
}

/// Datapoints by the minute of an endpoint's metric; days are asked in parts of a day.
fn statistics(
    client: &Client,
    endpoint: &str,
    variant: &str,
    metric: &str,
    span: (i64, i64),
    statistics: &Value,
) -> Result<Vec<Value>, ClientError> {
    let mut all = Vec::new();
    let mut from = span.0;
    while from < span.1 {
        let to = (from + 86_400).min(span.1);
        let mut body = json!({
            "Namespace": "AWS/SageMaker",
            "MetricName": metric,
            "Dimensions": [
                {"Name": "EndpointName", "Value": endpoint},
                {"Name": "VariantName", "Value": variant},
            ],
            "StartTime": from,
            "EndTime": to,
            "Period": 60,
        });
        if let (Some(body), Some(more)) = (body.as_object_mut(), statistics.as_object()) {
            body.extend(more.clone());
        }
        let found = client.json(Service::CloudWatch, "GetMetricStatistics", &body)?;
        all.extend(found["Datapoints"].as_array().cloned().unwrap_or_default());
        from = to;
    }
    Ok(all)
}

/// What an endpoint tells of itself: its type, its policy, and how long its model takes.
fn ask(client: &Client, name: &str, given: Option<&str>) -> Result<Known, ClientError> {
    let variant = variant(client, name, given)?;
    let endpoint = endpoint::describe(client, name)?;
    let mut known = Known { region: Some(client.target().region.clone()), ..Known::default() };
    let of_variant = |list: &Value| -> Option<Value> {
        list.as_array()?.iter().find(|v| v["VariantName"] == variant.as_str()).cloned()
    };
    if let Some(found) = of_variant(&endpoint["ProductionVariants"]) {
        known.initial = found["CurrentInstanceCount"].as_u64().and_then(|n| u32::try_from(n).ok());
    }
    let body = json!({"EndpointConfigName": text(&endpoint, "EndpointConfigName")});
    // A configuration may be deleted while its endpoint serves.
    if let Ok(config) = client.json(Service::SageMaker, "DescribeEndpointConfig", &body) {
        known.instance_type = of_variant(&config["ProductionVariants"])
            .and_then(|v| v["InstanceType"].as_str().map(str::to_owned));
    }
    let body = resource(name, &variant);
    let targets = json!({
        "ServiceNamespace": "sagemaker",
        "ResourceIds": [text(&body, "ResourceId")],
    });
    let targets = call(client, "DescribeScalableTargets", &targets)?;
    if let Some(target) = targets["ScalableTargets"].as_array().and_then(|all| all.first()) {
        let number = |member: &str| target[member].as_u64().and_then(|n| u32::try_from(n).ok());
        if let (Some(min), Some(max)) = (number("MinCapacity"), number("MaxCapacity")) {
            known.bounds = Some(Bounds { min, max });
        }
        let arn = json!({"ResourceARN": text(target, "ScalableTargetARN")});
        if let Ok(tags) = call(client, "ListTagsForResource", &arn) {
            known.fast = tags["Tags"]["kennel:mode"] == "fast";
        }
        let policies = call(client, "DescribeScalingPolicies", &body)?;
        known.target = policies["ScalingPolicies"]
            .as_array()
            .into_iter()
            .flatten()
            .find_map(|p| tracked(&p["TargetTrackingScalingPolicyConfiguration"]));
    }
    let now = clock::epoch_millis() / 1000;
    known.service = measured(client, name, &variant, (now - 3 * 3600, now + 60))?;
    known.notes.push(match &known.service {
        Some(_) => format!("service times: ModelLatency of {name}/{variant}, its quietest minute of the last 3 hours"),
        None => format!("{name}/{variant} answered nothing in the last 3 hours"),
    });
    Ok(known)
}

fn tracked(configuration: &Value) -> Option<Tracked> {
    let target = configuration["TargetValue"].as_f64()?;
    let metric = configuration["PredefinedMetricSpecification"]["PredefinedMetricType"].as_str()?;
    let metric = Metric::value_variants().iter().find(|m| m.predefined() == metric)?;
    let seconds = |member: &str| configuration[member].as_u64().and_then(|n| u32::try_from(n).ok());
    Some(Tracked {
        target,
        metric: *metric,
        out_s: seconds("ScaleOutCooldown"),
        in_s: seconds("ScaleInCooldown"),
        disable_scale_in: configuration["DisableScaleIn"] == true,
    })
}

/// How long the model takes when it does not queue: the quantiles of the minute with the lowest median, of
/// those with enough requests to have quantiles.
fn measured(
    client: &Client,
    endpoint: &str,
    variant: &str,
    span: (i64, i64),
) -> Result<Option<ServiceTimes>, ClientError> {
    let names: Vec<String> = QUANTILES.iter().map(|q| format!("p{q}")).collect();
    let points = |statistics: &Value| statistics_of(client, endpoint, variant, span, statistics);
    let counts = points(&json!({"Statistics": ["SampleCount"]}))?;
    let most = counts.iter().filter_map(|p| p["SampleCount"].as_f64()).fold(0.0, f64::max);
    if most < 5.0 {
        return Ok(None);
    }
    let enough = 20_f64.min(most);
    let minutes: Vec<f64> = counts
        .iter()
        .filter(|p| p["SampleCount"].as_f64().is_some_and(|n| n >= enough))
        .filter_map(|p| p["Timestamp"].as_f64())
        .collect();
    let mut best: Option<Vec<f64>> = None;
    // Ten extended statistics are answered at once.
    let mut found: Vec<Value> = Vec::new();
    for part in names.chunks(10) {
        found.extend(points(&json!({"ExtendedStatistics": part}))?);
    }
    for minute in minutes {
        let of_minute: Vec<&Value> =
            found.iter().filter(|p| p["Timestamp"].as_f64() == Some(minute)).collect();
        let values: Option<Vec<f64>> = names
            .iter()
            .map(|name| {
                of_minute
                    .iter()
                    .find_map(|p| p["ExtendedStatistics"][name].as_f64())
                    .map(|micros| micros / 1000.0)
            })
            .collect();
        let Some(values) = values else { continue };
        let median = |v: &[f64]| v.get(6).copied().unwrap_or(f64::MAX);
        if best.as_ref().is_none_or(|b| median(&values) < median(b)) {
            best = Some(values);
        }
    }
    let Some(values) = best else { return Ok(None) };
    let pairs: Vec<(f64, f64)> = QUANTILES.iter().map(|q| q / 100.0).zip(values).collect();
    Ok(ServiceTimes::from_quantiles(&pairs).ok())
}

fn statistics_of(
    client: &Client,
    endpoint: &str,
    variant: &str,
    span: (i64, i64),
    wanted: &Value,
) -> Result<Vec<Value>, ClientError> {
    statistics(client, endpoint, variant, "ModelLatency", span, wanted)
}

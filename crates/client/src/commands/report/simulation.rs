//! What the endpoint's policy would do under a step of load: the simulation behind the choice. Pure.

use kennel_cost::{Catalogue, Usage};
use kennel_scaling::fast::{Fast, Measure};
use kennel_scaling::scaler::{Bounds, Rule};
use kennel_scaling::simulate::{Instances, Outcome, Scaling, Scenario, ServiceTimes, simulate};
use kennel_scaling::target_tracking::TargetTracking;
use kennel_scaling::trace::Trace;
use serde_json::Value;

use super::facts::{Facts, Load, Scaled};
use crate::output::text;

/// Application Auto Scaling's cooldown of variants where none is set.
const COOLDOWN_S: i64 = 300;
/// Requests that an instance of the platform has at most, those it works on included.
const IN_FLIGHT: u32 = 64;
/// Requests that wait for the first instance of a variant at zero.
const HELD: u32 = 256;
/// The step: from here, to there, of so many seconds.
const FROM_S: f64 = 300.0;
const UNTIL_S: f64 = 1500.0;
const SECONDS: f64 = 3000.0;
/// The share of their target that the fewest and the most instances get.
const SHARE: f64 = 0.8;

/// What came out, beside the same with a fixed number of instances.
#[derive(Debug)]
pub(super) struct Simulation {
    /// What was simulated, in a sentence.
    pub what: String,
    /// What its numbers are from.
    pub assumed: String,
    /// What one instance can take beside what the policy wants of it, in a sentence; empty where the policy
    /// does not count requests.
    pub sizing: String,
    pub policy: Outcome,
    pub fewest: (u32, Outcome),
    pub most: (u32, Outcome),
}

/// A policy that can be simulated.
struct Tracked {
    target: f64,
    per_minute: bool,
    scaling: Scaling,
}

/// Simulates the first policy of a variant.
///
/// # Errors
/// Why that cannot be, as a sentence, with the command that would change it where there is one.
pub(super) fn simulation(
    facts: &Facts,
    catalogue: &Catalogue,
    scaled: &Scaled,
) -> Result<Simulation, (String, Option<String>)> {
    let resource = text(&scaled.own, "ResourceId");
    let mut parts = resource.split('/').skip(1);
    let (endpoint, variant) =
        (parts.next().unwrap_or_default(), parts.nth(1).unwrap_or_default().to_owned());
    let own = facts.endpoint.as_ref();
    let load = own.and_then(|own| own.load.iter().find(|load| load.variant == variant));
    let Some((load, p50, p99)) = load.and_then(|load| Some((load, load.p50_ms?, load.p99_ms?)))
    else {
        return Err((
            format!(
                "Without a measured ModelLatency of `{resource}` its policy cannot be simulated: it had no request in the last days."
            ),
            Some(format!("kennel invoke {endpoint} photo.jpg")),
        ));
    };
    let tracked = scaled.policies.iter().find_map(|policy| tracked(policy, scaled.fast));
    let Some(tracked) = tracked else {
        return Err((
            format!(
                "`{resource}` has no target-tracking policy on invocations or on concurrency; only those are simulated here."
            ),
            Some(format!("kennel scale set {endpoint} --max 3 --target 10")),
        ));
    };
    let kind = own.and_then(|own| instance_type(&own.config, &variant));
    let bounds = bounds(&scaled.own);
    let scenario = scenario(facts, catalogue, scaled, (load, p50, p99), (kind, &tracked, bounds));
    let (scenario, assumed) = scenario.map_err(|why| (why, None))?;
    let run = |scaling: Scaling, count: u32| {
        let mut one = scenario.clone();
        one.scaling = scaling;
        one.initial = count;
        if one.scaling == Scaling::None {
            one.bounds = Bounds { min: count, max: count };
        }
        simulate(&one)
            .map_err(|e| (format!("The policy of `{resource}` cannot be simulated: {e}."), None))
    };
    let Trace::Step { low_rps, high_rps, .. } = scenario.trace else {
        return Err(("The load is no step.".to_owned(), None));
    };
    let what = format!(
        "Load steps from {} to {} requests a second after {} minutes and back after {}; drawn at random (seed 0), {} minutes in all.",
        rate(low_rps),
        rate(high_rps),
        FROM_S / 60.0,
        UNTIL_S / 60.0,
        SECONDS / 60.0
    );
    let fixed = bounds.min.max(1);
    Ok(Simulation {
        what,
        assumed,
        sizing: sizing(&scenario, &tracked),
        policy: run(tracked.scaling, scenario.initial)?,
        fewest: (fixed, run(Scaling::None, fixed)?),
        most: (bounds.max, run(Scaling::None, bounds.max.max(1))?),
    })
}

fn bounds(target: &Value) -> Bounds {
    let number =
        |member: &str| target[member].as_u64().and_then(|n| u32::try_from(n).ok()).unwrap_or(1);
    let min = number("MinCapacity");
    Bounds { min, max: number("MaxCapacity").max(min).max(1) }
}

/// The type of a variant's instances.
pub(super) fn instance_type(config: &Value, variant: &str) -> Option<String> {
    let all = config["ProductionVariants"].as_array()?;
    let one = all.iter().find(|v| v["VariantName"] == variant)?;
    one["InstanceType"].as_str().map(str::to_owned)
}

fn tracked(policy: &Value, fast: bool) -> Option<Tracked> {
    let tracking = &policy["TargetTrackingScalingPolicyConfiguration"];
    let target = tracking["TargetValue"].as_f64().filter(|target| *target > 0.0)?;
    let metric = tracking["PredefinedMetricSpecification"]["PredefinedMetricType"].as_str()?;
    let (per_minute, period_s) = match metric {
        "SageMakerVariantInvocationsPerInstance" => (true, 60),
        "SageMakerVariantConcurrentRequestsPerModelHighResolution" => (false, 10),
        _ => return None,
    };
    let disable_scale_in = tracking["DisableScaleIn"].as_bool().unwrap_or(false);
    let cooldown = |member: &str| tracking[member].as_i64().unwrap_or(COOLDOWN_S) * 1000;
    let scaling = if fast {
        let measure = if per_minute { Measure::RequestsPerMinute } else { Measure::Concurrency };
        let mut fast = Fast::new(target, measure);
        fast.disable_scale_in = disable_scale_in;
        Scaling::Fast(fast)
    } else {
        let rule = TargetTracking {
            target,
            scale_out_cooldown_ms: cooldown("ScaleOutCooldown"),
            scale_in_cooldown_ms: cooldown("ScaleInCooldown"),
            disable_scale_in,
        };
        let name = text(policy, "PolicyName");
        Scaling::Aws { rules: vec![(name, Rule::TargetTracking(rule))], period_s }
    };
    Some(Tracked { target, per_minute, scaling })
}

fn scenario(
    facts: &Facts,
    catalogue: &Catalogue,
    scaled: &Scaled,
    (load, p50, p99): (&Load, f64, f64),
    (kind, tracked, bounds): (Option<String>, &Tracked, Bounds),
) -> Result<(Scenario, String), String> {
    let kind = kind.unwrap_or_default();
    let vcpus = catalogue.instance(&kind).map(|kind| kind.vcpus);
    let price = catalogue.hourly(Usage::Hosting, &kind, &facts.region).ok();
    let start = started_s(&scaled.activities);
    let start_s = start.unwrap_or(if facts.local { 2.0 } else { 240.0 });
    let service = ServiceTimes::lognormal(p50, p99.max(p50))
        .map_err(|e| format!("The measured ModelLatency cannot be simulated: {e}."))?;
    // What one instance has when it is at its target, in requests a second.
    let each = if tracked.per_minute { tracked.target / 60.0 } else { tracked.target * 1e3 / p50 };
    let (low_rps, high_rps) =
        (SHARE * each * f64::from(bounds.min.max(1)), SHARE * each * f64::from(bounds.max));
    let workers = vcpus.unwrap_or(1).max(1);
    let assumed = format!(
        "Measured: ModelLatency p50 {p50:.1} ms and p99 {p99:.1} ms of `{}`{}. Assumed: {} requests at once per instance ({}){}{}; the step takes {:.0} % of what the fewest and the most instances have as their target.",
        load.variant,
        match start {
            Some(start) => format!(
                ", and {start:.1} s until new instances serve (the longest of the activities)"
            ),
            None => String::new(),
        },
        workers,
        match vcpus {
            Some(_) => format!("the vCPUs of {kind}"),
            None => format!("the catalogue does not know `{kind}`"),
        },
        match start {
            Some(_) => String::new(),
            None =>
                format!(", {start_s:.0} s until a new one serves, as nothing was scaled out yet"),
        },
        match facts.cores {
            Some(cores) => format!(", all on the {cores} cores of this machine"),
            None => String::new(),
        },
        SHARE * 100.0,
    );
    let scenario = Scenario {
        trace: Trace::Step { low_rps, high_rps, at_s: FROM_S, until_s: Some(UNTIL_S) },
        duration_s: SECONDS,
        service,
        instances: Instances {
            start_ms: start_s * 1e3,
            concurrency: workers,
            queue: IN_FLIGHT.saturating_sub(workers).max(1),
            cores: facts.cores.map(f64::from),
        },
        scaling: Scaling::None,
        initial: bounds.min,
        bounds,
        hold: HELD,
        seed: 0,
        hourly_price: price.map_or(0.0, |price| price.dollars),
        bucket_s: 30.0,
    };
    Ok((scenario, assumed))
}

/// AWS's rule for the target: half of what one instance can take.
/// <https://docs.aws.amazon.com/sagemaker/latest/dg/endpoint-scaling-loadtest.html>
fn sizing(scenario: &Scenario, tracked: &Tracked) -> String {
    let most = f64::from(scenario.instances.concurrency) * 60e3 / scenario.service.mean_ms();
    if !tracked.per_minute || !most.is_finite() {
        return String::new();
    }
    format!(
        "By these times one instance can take about {most:.0} requests a minute; half of that, AWS's rule, would be a target of {:.0}, and the policy's is {}.",
        most * 0.5,
        kennel_report::short(tracked.target)
    )
}

/// The longest time that an activity took, in seconds: those that add instances take longest.
fn started_s(activities: &[Value]) -> Option<f64> {
    activities
        .iter()
        .filter(|activity| activity["StatusCode"] == "Successful")
        .filter_map(|activity| {
            Some(activity["EndTime"].as_f64()? - activity["StartTime"].as_f64()?)
        })
        .filter(|seconds| *seconds > 0.0)
        .max_by(f64::total_cmp)
}

/// A rate with the digits that it needs.
fn rate(rps: f64) -> String {
    kennel_report::short((rps * 1000.0).round() / 1000.0)
}

//! What is set at Application Auto Scaling: put, shown, removed.

use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use super::{DIMENSION, call, resource, variant, with};
use crate::client::{Client, Service};
use crate::error::ClientError;
use crate::output::{self, fields, line, maybe, note, table, text, time};

/// The console's name for a variant's policy.
const POLICY: &str = "SageMakerEndpointInvocationScalingPolicy";
/// The tag by which Kennel's faster way of deciding is chosen.
const MODE: &str = "kennel:mode";

/// What the policy looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Metric {
    /// Requests a minute and instance
    Invocations,
    /// Requests under way at once, per instance
    Concurrency,
}

impl Metric {
    pub(super) fn predefined(self) -> &'static str {
        match self {
            Metric::Invocations => "SageMakerVariantInvocationsPerInstance",
            Metric::Concurrency => "SageMakerVariantConcurrentRequestsPerModelHighResolution",
        }
    }
}

#[derive(Debug, Args)]
pub(super) struct Set {
    /// Endpoint
    name: String,
    /// Variant [default: the only one]
    #[arg(long)]
    variant: Option<String>,
    /// Fewest instances; 0 only with --fast, and a request then waits for the first one
    #[arg(long, default_value_t = 1, value_name = "N")]
    min: u32,
    /// Most instances
    #[arg(long, default_value_t = 2, value_name = "N")]
    max: u32,
    /// What one instance is to have of the metric; half of what it can take leaves room for its followers
    #[arg(long, default_value_t = 70.0, value_name = "VALUE")]
    target: f64,
    /// What is looked at
    #[arg(long, value_enum, default_value_t = Metric::Invocations)]
    metric: Metric,
    /// Seconds after a scale-out before the next [default: AWS's 300]
    #[arg(long, value_name = "SECONDS")]
    scale_out_cooldown: Option<u32>,
    /// Seconds after a scale-in before the next [default: AWS's 300]
    #[arg(long, value_name = "SECONDS")]
    scale_in_cooldown: Option<u32>,
    /// Never take instances away
    #[arg(long)]
    no_scale_in: bool,
    /// Decide twice a second, by windows of 60 and 6 seconds, instead of by AWS's alarms over minutes
    #[arg(long)]
    fast: bool,
    /// The policy's name
    #[arg(long, default_value = POLICY, value_name = "NAME")]
    policy: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn set(client: &Client, arguments: &Set) -> Result<(), ClientError> {
    if arguments.min > arguments.max {
        return Err(ClientError::Usage(format!(
            "--min {} is more than --max {}",
            arguments.min, arguments.max
        )));
    }
    let variant = variant(client, &arguments.name, arguments.variant.as_deref())?;
    let resource = resource(&arguments.name, &variant);
    let mut bounds = json!({
        "MinCapacity": arguments.min,
        "MaxCapacity": arguments.max,
    });
    // AWS has one mode, and would not know what the tag means.
    if client.target().endpoint.is_some() {
        bounds["Tags"] = json!({MODE: if arguments.fast { "fast" } else { "aws" }});
    } else if arguments.fast {
        return Err(ClientError::Usage(
            "--fast is Kennel's own; AWS decides by its alarms\nhint: leave --fast or --aws out"
                .to_owned(),
        ));
    }
    call(client, "RegisterScalableTarget", &with(resource.clone(), bounds))?;
    let mut tracking = json!({
        "TargetValue": arguments.target,
        "PredefinedMetricSpecification": {"PredefinedMetricType": arguments.metric.predefined()},
        "DisableScaleIn": arguments.no_scale_in,
    });
    let cooldowns = [
        ("ScaleOutCooldown", arguments.scale_out_cooldown),
        ("ScaleInCooldown", arguments.scale_in_cooldown),
    ];
    for (member, seconds) in cooldowns {
        if let Some(seconds) = seconds {
            tracking[member] = seconds.into();
        }
    }
    let policy = json!({
        "PolicyName": arguments.policy,
        "PolicyType": "TargetTrackingScaling",
        "TargetTrackingScalingPolicyConfiguration": tracking,
    });
    let put = call(client, "PutScalingPolicy", &with(resource, policy))?;
    if arguments.json {
        output::json(&put);
        return Ok(());
    }
    for alarm in put["Alarms"].as_array().into_iter().flatten() {
        note(format!("alarm {}", text(alarm, "AlarmName")));
    }
    show(
        client,
        &Show { name: arguments.name.clone(), variant: Some(variant), activities: 0, json: false },
    )
}

#[derive(Debug, Args)]
pub(super) struct Show {
    /// Endpoint
    name: String,
    /// Variant [default: the only one]
    #[arg(long)]
    variant: Option<String>,
    /// Activities to show, newest first
    #[arg(long, default_value_t = 10, value_name = "N")]
    activities: usize,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn show(client: &Client, arguments: &Show) -> Result<(), ClientError> {
    let variant = variant(client, &arguments.name, arguments.variant.as_deref())?;
    let resource = resource(&arguments.name, &variant);
    let id = text(&resource, "ResourceId");
    let targets = json!({
        "ServiceNamespace": "sagemaker",
        "ResourceIds": [id],
        "ScalableDimension": DIMENSION,
    });
    let targets = call(client, "DescribeScalableTargets", &targets)?;
    let policies = call(client, "DescribeScalingPolicies", &resource)?;
    let activities = call(client, "DescribeScalingActivities", &resource)?;
    let list = |value: &Value, member: &str| value[member].as_array().cloned().unwrap_or_default();
    let targets = list(&targets, "ScalableTargets");
    let policies = list(&policies, "ScalingPolicies");
    let activities = list(&activities, "ScalingActivities");
    if arguments.json {
        output::json(&json!({
            "ScalableTargets": targets,
            "ScalingPolicies": policies,
            "ScalingActivities": activities,
        }));
        return Ok(());
    }
    let Some(target) = targets.first() else {
        line(format!(
            "endpoint `{}` does not scale by itself\nhint: `kennel scale set {} --max 3 --target 10`",
            arguments.name, arguments.name
        ));
        return Ok(());
    };
    line(fields(&[
        ("endpoint", Some(arguments.name.clone())),
        ("variant", Some(variant)),
        (
            "instances",
            Some(format!("{} to {}", text(target, "MinCapacity"), text(target, "MaxCapacity"))),
        ),
        ("suspended", suspended(&target["SuspendedState"])),
    ]));
    let rows: Vec<[String; 5]> = policies.iter().map(policy).collect();
    if !rows.is_empty() {
        line("");
        line(table(["policy", "target", "metric", "out after", "in after"], rows));
    }
    let rows: Vec<[String; 4]> = activities
        .iter()
        .take(arguments.activities)
        .map(|activity| {
            [
                time(&activity["StartTime"]),
                text(activity, "StatusCode"),
                text(activity, "Description"),
                maybe(activity, "StatusMessage").unwrap_or_else(|| text(activity, "Cause")),
            ]
        })
        .collect();
    if !rows.is_empty() {
        line("");
        line(table(["time", "state", "what", "said"], rows));
    }
    Ok(())
}

fn suspended(state: &Value) -> Option<String> {
    let parts = [
        ("DynamicScalingInSuspended", "scaling in"),
        ("DynamicScalingOutSuspended", "scaling out"),
        ("ScheduledScalingSuspended", "schedules"),
    ];
    let names: Vec<&str> =
        parts.iter().filter(|(member, _)| state[member] == true).map(|(_, name)| *name).collect();
    (!names.is_empty()).then(|| names.join(", "))
}

fn policy(policy: &Value) -> [String; 5] {
    let tracking = &policy["TargetTrackingScalingPolicyConfiguration"];
    if tracking.is_object() {
        let seconds = |member: &str| match tracking[member].as_u64() {
            Some(seconds) => format!("{seconds} s"),
            None => "300 s".to_owned(),
        };
        let metric = maybe(&tracking["PredefinedMetricSpecification"], "PredefinedMetricType")
            .unwrap_or_else(|| text(&tracking["CustomizedMetricSpecification"], "MetricName"));
        return [
            text(policy, "PolicyName"),
            text(tracking, "TargetValue"),
            metric,
            seconds("ScaleOutCooldown"),
            if tracking["DisableScaleIn"] == true {
                "never".to_owned()
            } else {
                seconds("ScaleInCooldown")
            },
        ];
    }
    let step = &policy["StepScalingPolicyConfiguration"];
    let cooldown = step["Cooldown"].as_u64().map(|s| format!("{s} s")).unwrap_or_default();
    let steps = step["StepAdjustments"].as_array().map_or(0, Vec::len);
    [
        text(policy, "PolicyName"),
        format!("{steps} steps"),
        text(step, "AdjustmentType"),
        cooldown.clone(),
        cooldown,
    ]
}

#[derive(Debug, Args)]
pub(super) struct Remove {
    /// Endpoint
    name: String,
    /// Variant [default: the only one]
    #[arg(long)]
    variant: Option<String>,
}

pub(super) fn remove(client: &Client, arguments: &Remove) -> Result<(), ClientError> {
    let variant = variant(client, &arguments.name, arguments.variant.as_deref())?;
    client.json(
        Service::AutoScaling,
        "DeregisterScalableTarget",
        &resource(&arguments.name, &variant),
    )?;
    note(format!("endpoint {} stays at the instances that it has", arguments.name));
    Ok(())
}

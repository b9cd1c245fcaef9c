//! What activities say, in Application Auto Scaling's words. Pure.
//!
//! Source: <https://docs.aws.amazon.com/autoscaling/application/userguide/application-auto-scaling-scaling-activities.html>
//! and answers of AWS that are public.

use kennel_scaling::scaler::{NotScaled, NotScaledCode};

use super::resource::{Instance, Resource};

/// A capacity is to be set.
pub(super) fn setting(of: &Resource, to: u32) -> String {
    format!("Setting {} to {to}.", of.noun())
}

/// The service has taken it over.
pub(super) fn waiting(of: &Resource, to: u32) -> String {
    format!(
        "Successfully set {} to {to}. Waiting for change to be fulfilled by {}.",
        of.noun(),
        of.namespace()
    )
}

/// All is there.
pub(super) fn fulfilled(of: &Resource, to: u32) -> String {
    format!(
        "Successfully set {} to {to}. Change successfully fulfilled by {}.",
        of.noun(),
        of.namespace()
    )
}

/// The service has refused.
pub(super) fn failed(of: &Resource, to: u32, reason: &str) -> String {
    format!("Failed to set {} to {to}. Reason: {reason}", of.noun())
}

/// Something newer came in between.
pub(super) fn overridden(of: &Resource, to: u32, now: u32) -> String {
    format!(
        "Successfully set {noun} to {to}. A newer change has set {noun} to {now}.",
        noun = of.noun()
    )
}

/// It does not come about.
pub(super) fn unfulfilled(of: &Resource, to: u32, reason: &str) -> String {
    format!(
        "Successfully set {} to {to}. The change was not fulfilled by {}: {reason}",
        of.noun(),
        of.namespace()
    )
}

/// An alarm asked for it.
pub(super) fn alarm(alarm: &str, state: &str, policy: &str) -> String {
    format!("monitor alarm {alarm} in state {state} triggered policy {policy}")
}

/// The fast mode asked for it, which AWS does not have.
pub(super) fn fast(policy: &str, reason: &str) -> String {
    format!("fast mode triggered policy {policy}: {reason}")
}

/// Requests came to a variant without instances.
pub(super) fn wake(held: u64) -> String {
    let (noun, verb) = if held == 1 { ("request", "waits") } else { ("requests", "wait") };
    format!("{held} {noun} {verb} for a first instance")
}

/// A bound was in the way of the present capacity.
pub(super) fn bound(desired: u32, min: u32, max: u32) -> String {
    if desired < min {
        format!("minimum capacity was set to {min}")
    } else {
        format!("maximum capacity was set to {max}")
    }
}

/// A scheduled action was due.
pub(super) fn scheduled(name: &str) -> String {
    format!("scheduled action name {name} was triggered")
}

/// What a scheduled action sets: `min capacity to 5 and max capacity to 10`.
pub(super) fn bounds(min: Option<u32>, max: Option<u32>) -> String {
    let parts: Vec<String> = [("min", min), ("max", max)]
        .into_iter()
        .filter_map(|(word, given)| Some(format!("{word} capacity to {}", given?)))
        .collect();
    parts.join(" and ")
}

/// Nothing was scaled.
pub(super) const ATTEMPT: &str = "Attempting to scale due to alarm triggered";

/// Says when more instances will not do more work, as all share the cores of this machine.
pub(super) fn shared_cores(instance: &Instance, to: u32, cores: u32) -> Option<String> {
    let threads = instance.vcpus.min(cores).max(1);
    let useful = (cores / threads).max(1);
    (to > useful).then(|| {
        let instances = |n: u32| if n == 1 { "1 instance".to_owned() } else { format!("{n} instances") };
        format!(
            "On this machine {to} instances of {} share the same {cores} cores, and each computes with {threads}: more than {} will not help. On AWS each has its own.",
            instance.name,
            instances(useful)
        )
    })
}

/// The service cannot be asked now.
pub(super) fn unscalable() -> NotScaled {
    NotScaled {
        code: NotScaledCode::TargetServicePutResourceAsUnscalable,
        max_capacity: None,
        min_capacity: None,
        current_capacity: None,
    }
}

//! Concurrency of the function and scaling of the endpoint, with the numbers behind them.

use kennel_report::{Block, Chart, Column, Series, Table};
use kennel_scaling::simulate::{Moment, Outcome};
use serde_json::Value;

use super::serving::running;
use super::{Writer, ms, named, number};
use crate::commands::report::facts::{Area, Function, Scaled};
use crate::commands::report::simulation::{Simulation, simulation};
use crate::output::{text, time};

/// Activities that are shown.
const ACTIVITIES: usize = 3;
/// Where nothing else is set: an account's concurrent calls.
const ACCOUNT: u64 = 1000;

impl Writer<'_> {
    pub(super) fn concurrency(&mut self) {
        self.heading("Concurrency and auto scaling");
        let Some(function) = &self.facts.function else {
            self.blocks.push(Block::text("There is no function whose concurrency could be set."));
            return;
        };
        let name = text(&function.own, "FunctionName");
        match function.reserved {
            Some(reserved) => {
                let words = reserved_words(function, reserved);
                self.led("Reserved concurrency.", words);
            }
            None => self.missing(
                format!(
                    "`{name}` has no reserved concurrency: it may take all of the account's calls."
                ),
                format!("kennel function concurrency {name} --reserved 2"),
            ),
        }
        if self.unknown(Area::Provisioned) {
        } else if function.provisioned.is_empty() {
            self.missing(
                "No version or alias of it has provisioned concurrency: a first call waits for a cold start.",
                format!("kennel function publish {name} --alias live && kennel function concurrency {name} --qualifier live --provisioned 2"),
            );
        }
        for config in &function.provisioned {
            let words = self.provisioned(function, config);
            self.led("Provisioned concurrency.", words);
        }
        for scaled in
            self.facts.scaling.iter().filter(|s| text(&s.own, "ServiceNamespace") == "lambda")
        {
            self.bounds(scaled);
        }
    }

    fn provisioned(&mut self, function: &Function, config: &Value) -> String {
        let wanted = config["RequestedProvisionedConcurrentExecutions"].as_u64().unwrap_or(0);
        let arn = text(config, "FunctionArn");
        let mut words = format!(
            "{wanted} environments of `{}` stand ready ({} now, {}), so that {wanted} calls at once meet no cold start",
            arn.rsplit(':').next().unwrap_or_default(),
            text(config, "AvailableProvisionedConcurrentExecutions"),
            text(config, "Status"),
        );
        let memory = function.own["MemorySize"].as_f64().unwrap_or(128.0) / 1024.0;
        let arm = function.own["Architectures"][0] == "arm64";
        let price = self.catalogue.lambda(&self.facts.region).ok().map(|prices| {
            let second = match arm {
                true => prices.provisioned_gb_second_arm,
                false => prices.provisioned_gb_second_x86,
            };
            (second * memory * 3600.0 * wanted as f64, prices.verified)
        });
        if price.is_some() {
            words.push_str(&format!("; that costs {} an hour, used or not", self.money(price)));
        }
        words.push('.');
        words
    }

    pub(super) fn scaling(&mut self) {
        let Some(endpoint) = &self.facts.endpoint else { return };
        let name = text(&endpoint.own, "EndpointName");
        let facts = self.facts;
        let scaled: Vec<&Scaled> = facts
            .scaling
            .iter()
            .filter(|s| text(&s.own, "ServiceNamespace") == "sagemaker")
            .collect();
        if self.unknown(Area::Scaling) {
            return;
        }
        if scaled.is_empty() {
            let count = running(&endpoint.own["ProductionVariants"]);
            self.missing(
                format!("`{name}` does not scale: {count} under any load."),
                format!("kennel scale set {name} --min 1 --max 3 --target 10 --scale-out-cooldown 30 --scale-in-cooldown 120"),
            );
            return;
        }
        for one in scaled {
            self.bounds(one);
            self.activities(one);
            match simulation(facts, self.catalogue, one) {
                Ok(found) => self.simulated(&found),
                Err((what, command)) => self.blocks.push(Block::Missing { what, command }),
            }
        }
    }

    /// Bounds and policies of a target.
    fn bounds(&mut self, scaled: &Scaled) {
        let own = &scaled.own;
        let mode = match scaled.fast {
            true => ", decided every second (Kennel's fast mode)",
            false => "",
        };
        let what = match own["ServiceNamespace"] == "lambda" {
            true => "ready environments",
            false => "instances",
        };
        let mut words = format!(
            "{} has {} to {} {what}{mode}.",
            named(own, "ResourceId"),
            text(own, "MinCapacity"),
            text(own, "MaxCapacity")
        );
        let suspended: Vec<&str> = [
            ("DynamicScalingInSuspended", "scaling in"),
            ("DynamicScalingOutSuspended", "scaling out"),
            ("ScheduledScalingSuspended", "schedules"),
        ]
        .into_iter()
        .filter(|(member, _)| own["SuspendedState"][*member].as_bool().unwrap_or(false))
        .map(|(_, what)| what)
        .collect();
        if !suspended.is_empty() {
            words.push_str(&format!(" Suspended: {}.", suspended.join(", ")));
        }
        for policy in &scaled.policies {
            words.push(' ');
            words.push_str(&policy_words(policy));
        }
        if scaled.policies.is_empty() {
            words.push_str(" It has no policy: nothing changes the count by itself.");
        }
        self.led("Scaling.", words);
    }

    fn activities(&mut self, scaled: &Scaled) {
        if scaled.activities.is_empty() {
            self.blocks.push(Block::text("It has not scaled yet."));
            return;
        }
        let rows = scaled
            .activities
            .iter()
            .take(ACTIVITIES)
            .map(|activity| {
                let took = activity["EndTime"].as_f64().zip(activity["StartTime"].as_f64());
                vec![
                    time(&activity["StartTime"]),
                    format!("{} {}", text(activity, "Description"), text(activity, "Cause"))
                        .trim()
                        .to_owned(),
                    text(activity, "StatusCode"),
                    took.map_or_else(
                        || "–".to_owned(),
                        |(end, start)| format!("{} s", number(end - start, 1)),
                    ),
                ]
            })
            .collect();
        let columns = ["last activities", "what and why", "status"].map(Column::words);
        let columns = columns.into_iter().chain([Column::numbers("took")]).collect();
        self.blocks.push(Block::Table(Table { columns, rows }));
    }

    fn simulated(&mut self, found: &Simulation) {
        let said = format!("{} {}", found.what, found.assumed);
        self.led("Simulation.", said);
        let row = |writer: &mut Self, what: String, outcome: &Outcome| {
            let cost = (outcome.cost > 0.0).then_some((outcome.cost, true));
            vec![
                what,
                outcome.requests.to_string(),
                outcome.throttled.to_string(),
                ms(Some(outcome.p50_ms)),
                ms(Some(outcome.p99_ms)),
                outcome.most_instances.to_string(),
                number(outcome.instance_hours, 2),
                writer.money(cost),
            ]
        };
        let fixed = |count: u32| format!("always {}", super::instances(u64::from(count)));
        let mut rows = vec![row(self, fixed(found.fewest.0), &found.fewest.1)];
        rows.push(row(self, "the policy".to_owned(), &found.policy));
        if found.most.0 != found.fewest.0 {
            rows.push(row(self, fixed(found.most.0), &found.most.1));
        }
        let numbers =
            ["requests", "refused", "p50", "p99", "most instances", "instance-hours", "cost"];
        let columns = [Column::words("simulated")].into_iter();
        let columns = columns.chain(numbers.map(Column::numbers)).collect();
        self.blocks.push(Block::Table(Table { columns, rows }));
        let words = format!("{} {}", conclusion(found), found.sizing);
        self.blocks.push(Block::text(words.trim_end().to_owned()));
        self.blocks.push(Block::Charts(charts(&found.policy)));
    }
}

/// What the reserved number means, in calls a second.
fn reserved_words(function: &Function, reserved: u64) -> String {
    if reserved == 0 {
        return "It is 0: every call is throttled.".to_owned();
    }
    let mut words = format!(
        "{reserved} of the account's calls at once ({ACCOUNT} unless AWS raised it) are kept for it, and are its limit: whatever it does, {} are left to the others",
        ACCOUNT.saturating_sub(reserved)
    );
    match function.use_.mean_ms.filter(|mean| *mean > 0.0) {
        Some(mean) => words.push_str(&format!(
            ". With {} a call that is {} calls a second; more are throttled (429).",
            ms(Some(mean)),
            number(reserved as f64 * 1000.0 / mean, 0)
        )),
        None => {
            words.push_str(". How many calls a second that is is not known yet: it was not called.")
        }
    }
    words
}

/// A policy in words.
fn policy_words(policy: &Value) -> String {
    let tracking = &policy["TargetTrackingScalingPolicyConfiguration"];
    let step = &policy["StepScalingPolicyConfiguration"];
    let seconds = |value: &Value| {
        value.as_i64().map_or_else(|| "300 s (AWS's default)".to_owned(), |s| format!("{s} s"))
    };
    if tracking.is_object() {
        let metric = tracking["PredefinedMetricSpecification"]["PredefinedMetricType"].as_str();
        let metric =
            metric.or_else(|| tracking["CustomizedMetricSpecification"]["MetricName"].as_str());
        let unit = match metric {
            Some("SageMakerVariantInvocationsPerInstance") => " requests a minute on each instance",
            Some("SageMakerVariantConcurrentRequestsPerModelHighResolution") => {
                " requests at once on each instance"
            }
            _ => "",
        };
        let in_ = match tracking["DisableScaleIn"].as_bool() {
            Some(true) => "never in".to_owned(),
            _ => format!("{} after one in", seconds(&tracking["ScaleInCooldown"])),
        };
        return format!(
            "{} holds `{}` at {}{unit}, waiting {} after a step out and {in_}.",
            named(policy, "PolicyName"),
            metric.unwrap_or("?"),
            number(tracking["TargetValue"].as_f64().unwrap_or(0.0), 2),
            seconds(&tracking["ScaleOutCooldown"]),
        );
    }
    let steps = step["StepAdjustments"].as_array().map_or(0, Vec::len);
    format!(
        "{} goes by {steps} steps ({}), {} apart.",
        named(policy, "PolicyName"),
        text(step, "AdjustmentType"),
        seconds(&step["Cooldown"])
    )
}

/// What the numbers say about the choice.
fn conclusion(found: &Simulation) -> String {
    let (few, policy, most) = (&found.fewest.1, &found.policy, &found.most.1);
    let mut words = String::new();
    if few.p99_ms > 0.0 && policy.p99_ms > 0.0 {
        words.push_str(&format!(
            "The policy's p99 is {} against {} of the fewest instances and {} of the most",
            ms(Some(policy.p99_ms)),
            ms(Some(few.p99_ms)),
            ms(Some(most.p99_ms)),
        ));
        let saved = 100.0 * (1.0 - policy.instance_hours / most.instance_hours.max(1e-9));
        words.push_str(&format!(
            ", with {} % fewer instance-hours than the latter.",
            number(saved, 0)
        ));
    }
    let out = policy.activities.iter().find(|activity| activity.to > activity.from);
    match out.and_then(|first| Some((first, first.ready_at_s?))) {
        Some((first, ready)) => words.push_str(&format!(
            " The first new instances are asked for {} s after the step and serve {} s later.",
            number(first.at_s - 300.0, 0),
            number(ready - first.at_s, 1)
        )),
        None => words.push_str(" The load is never enough for it to scale out."),
    }
    if few.p99_ms > 0.0 && policy.p99_ms >= few.p99_ms * 0.98 && policy.throttled >= few.throttled {
        words.push_str(" At this load more instances make no answer faster: the fewest would do.");
    }
    words.trim().to_owned()
}

/// Counts, latency and load of the policy over minutes.
fn charts(outcome: &Outcome) -> Vec<Chart> {
    let of = |pick: fn(&Moment) -> Option<f64>| -> Vec<(f64, f64)> {
        let point = |m: &Moment| (m.at_s / 60.0, pick(m).unwrap_or(f64::NAN));
        outcome.timeline.iter().map(point).collect()
    };
    type Line<'a> = (&'a str, &'a str, Vec<(f64, f64)>);
    let chart = |title: &str, series: Vec<Line<'_>>| Chart {
        title: title.to_owned(),
        x_label: "minutes".to_owned(),
        series: series
            .into_iter()
            .map(|(name, class, points)| Series {
                name: name.to_owned(),
                class: class.to_owned(),
                points,
            })
            .collect(),
        mark: None,
        shares: false,
    };
    let counts = vec![
        ("wanted", "s7", steps(&of(|m| Some(f64::from(m.desired))))),
        ("serving", "s0", steps(&of(|m| Some(f64::from(m.ready))))),
    ];
    // Without an answer there is no latency.
    let latency = of(|m| Some(m.p99_ms).filter(|ms| *ms > 0.0));
    vec![
        chart("Instances", counts),
        chart("p99 in ms", vec![("p99", "s1", latency)]),
        chart("Requests a second", vec![("requests", "s2", of(|m| Some(m.rps)))]),
    ]
}

/// A count holds until the next one.
fn steps(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let mut all: Vec<(f64, f64)> = Vec::new();
    for &(x, y) in points {
        match all.last().copied() {
            Some((_, before)) if before != y => all.push((x, before)),
            _ => {}
        }
        all.push((x, y));
    }
    all
}

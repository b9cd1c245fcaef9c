//! The endpoint, the function in front of it, and what it answered.

use kennel_cost::Usage;
use kennel_report::{Block, Column, Table, plural, short};
use serde_json::Value;

use super::{Writer, instances, ms, named, number};
use crate::commands::report::facts::Area;
use crate::commands::report::simulation::instance_type;
use crate::output::{maybe, text};

/// Letters of an event or an answer that are shown.
const SHOWN: usize = 320;

impl Writer<'_> {
    pub(super) fn endpoint(&mut self) {
        self.heading("Endpoint");
        if self.unknown(Area::Endpoint) {
            return;
        }
        let Some(endpoint) = &self.facts.endpoint else {
            self.missing(
                "No endpoint is in service.",
                "kennel deploy model.tar.gz --name dogs --instance-type ml.m5.large",
            );
            return;
        };
        let own = &endpoint.own;
        let variants = own["ProductionVariants"].as_array().cloned().unwrap_or_default();
        let mut rows = Vec::new();
        for variant in &variants {
            let name = text(variant, "VariantName");
            let load = endpoint.load.iter().find(|load| load.variant == name);
            let configured = endpoint.config["ProductionVariants"].as_array();
            let configured =
                configured.and_then(|all| all.iter().find(|v| v["VariantName"] == *name));
            let kind = instance_type(&endpoint.config, &name);
            let count = variant["CurrentInstanceCount"].as_u64().unwrap_or(0);
            let hourly = kind.as_deref().and_then(|kind| self.hourly(Usage::Hosting, kind));
            let hourly = hourly.map(|price| (price.dollars * count as f64, price.verified));
            rows.push(vec![
                format!("`{name}`"),
                configured
                    .and_then(|v| maybe(v, "ModelName"))
                    .map_or_else(|| "–".to_owned(), |m| format!("`{m}`")),
                match kind {
                    Some(kind) => format!("{count}\u{a0}×\u{a0}{kind}"),
                    None => "serverless".to_owned(),
                },
                self.money(hourly),
                load.map_or_else(|| "0".to_owned(), |load| number(load.invocations, 0)),
                ms(load.and_then(|load| load.p50_ms)),
                ms(load.and_then(|load| load.p99_ms)),
            ]);
        }
        let columns = ["variant", "model", "instances"].map(Column::words).into_iter();
        let numbers =
            ["an hour", "requests, 14 days", "model p50", "model p99"].map(Column::numbers);
        self.blocks.push(Block::Table(Table { columns: columns.chain(numbers).collect(), rows }));
        let mut words = format!(
            "{} is {}, by the configuration {}.",
            named(own, "EndpointName"),
            text(own, "EndpointStatus"),
            named(own, "EndpointConfigName")
        );
        if variants.len() > 1 {
            let shares: Vec<String> = variants
                .iter()
                .map(|v| {
                    format!(
                        "{} {}",
                        text(v, "VariantName"),
                        short(v["CurrentWeight"].as_f64().unwrap_or(0.0))
                    )
                })
                .collect();
            words.push_str(&format!(" Requests are shared by weight: {}.", shares.join(", ")));
        }
        let shadows = own["ShadowProductionVariants"].as_array().map_or(0, Vec::len);
        if shadows > 0 {
            words.push_str(&format!(" Copies of requests go to {shadows} shadow variant(s)."));
        }
        words.push_str(&match deployment(&own["LastDeploymentConfig"]) {
            Some(said) => format!(" Its last deployment was {said}."),
            None => {
                " It has had no deployment configuration: an update replaces all instances at once."
                    .to_owned()
            }
        });
        words.push_str(&captured(&own["DataCaptureConfig"]));
        let errors: f64 = endpoint.load.iter().map(|load| load.errors).sum();
        if errors > 0.0 {
            words.push_str(&format!(" {} of its answers were errors (5xx).", number(errors, 0)));
        }
        self.blocks.push(Block::text(words));
        if endpoint.load.is_empty() {
            let name = text(own, "EndpointName");
            self.missing(
                "Nobody has asked it in the last 14 days.",
                format!("kennel invoke {name} photo.jpg"),
            );
        }
    }

    pub(super) fn function(&mut self) {
        self.heading("Lambda function");
        if self.unknown(Area::Function) {
            return;
        }
        let Some(function) = &self.facts.function else {
            let endpoint = self.facts.endpoint.as_ref().map(|e| text(&e.own, "EndpointName"));
            let endpoint = endpoint.unwrap_or_else(|| "ENDPOINT".to_owned());
            self.missing(
                "There is no function.",
                format!("kennel function deploy-classifier --endpoint {endpoint}"),
            );
            return;
        };
        let own = &function.own;
        let role = text(own, "Role");
        let mut words = format!(
            "{} (`{}`, handler `{}`, {} MB, at most {} s) runs as the role `{}`.",
            named(own, "FunctionName"),
            maybe(own, "Runtime").unwrap_or_else(|| "image".to_owned()),
            maybe(own, "Handler").unwrap_or_else(|| "–".to_owned()),
            text(own, "MemorySize"),
            text(own, "Timeout"),
            role.rsplit('/').next().unwrap_or_default()
        );
        let endpoint = self.facts.endpoint.as_ref().map(|e| text(&e.own, "EndpointName"));
        let variables = own["Environment"]["Variables"].as_object();
        let asks = variables.into_iter().flatten().find(|(_, v)| v.as_str() == endpoint.as_deref());
        match (asks, endpoint) {
            (Some((variable, _)), Some(endpoint)) => words.push_str(&format!(
                " Its variable `{variable}` names the endpoint `{endpoint}`, which it is to ask with InvokeEndpoint: the caller's event goes in, the model's words come back as the answer's body."
            )),
            (None, Some(endpoint)) => words.push_str(&format!(
                " None of its variables names `{endpoint}`; which endpoint it asks stands in its code, if any."
            )),
            _ => {}
        }
        let used = &function.use_;
        if used.invocations > 0.0 {
            words.push_str(&format!(
                " In 14 days: {}, {} with an error, {} throttled, {} on average.",
                plural(used.invocations as u64, "call", "calls"),
                number(used.errors, 0),
                number(used.throttles, 0),
                ms(used.mean_ms)
            ));
        }
        self.blocks.push(Block::text(words));
        let Some(call) = &function.call else {
            let name = text(own, "FunctionName");
            self.missing(
                "It was not called for this writeup.",
                format!(
                    "kennel report --function {name} --call '{{\"url\": \"https://…/dog.jpg\"}}'"
                ),
            );
            return;
        };
        let report = call.report.as_ref().map_or_else(String::new, |line| format!(" ({line})"));
        let called = match &call.qualifier {
            Some(qualifier) => format!("Called for this writeup as `{qualifier}`"),
            None => "Called for this writeup".to_owned(),
        };
        let words = match (call.failure.as_deref(), ranked(&call.answer)) {
            (Some("refused"), _) => format!("{called}, it was refused:"),
            (Some(kind), _) => format!("{called}, it failed, {kind}{report}:"),
            (None, Some(said)) => format!("{called}, it answered{report}. {said}"),
            (None, None) => format!("{called}, it answered{report}:"),
        };
        self.led("The answer.", words);
        let shown = format!("event   {}\nanswer  {}", cut(&call.event), cut(&call.answer));
        self.blocks.push(Block::Code(shown));
    }
}

/// The beginning of something long.
fn cut(words: &str) -> String {
    let count = words.chars().count();
    // Keys may be in an event; where long, it is a picture.
    let shown: String = words.chars().take(SHOWN).collect();
    match count > SHOWN {
        true => format!("{shown} … ({count} letters in all)"),
        false => shown,
    }
}

/// What a list of scores in an answer says: how many there are, and which is the highest.
fn ranked(answer: &str) -> Option<String> {
    let mut value: Value = serde_json::from_str(answer).ok()?;
    if let Some(body) = value.get("body").and_then(Value::as_str) {
        value = serde_json::from_str(body).ok()?;
    }
    // `[[…]]`: one row for one picture.
    while let Some(inner) = value.get(0).filter(|inner| inner.is_array()) {
        value = inner.clone();
    }
    let scores: Vec<f64> = value.as_array()?.iter().map(Value::as_f64).collect::<Option<_>>()?;
    let (place, best) = scores.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1))?;
    Some(format!(
        "Its {} scores are one for each class; the highest, {}, is that of class {place}, counted from 0.",
        scores.len(),
        short(*best)
    ))
}

/// A deployment's configuration in words.
fn deployment(config: &Value) -> Option<String> {
    let size = |value: &Value| {
        let unit = if value["Type"] == "CAPACITY_PERCENT" { " %" } else { " instance(s)" };
        format!("{}{unit}", text(value, "Value"))
    };
    let said = if let Some(rolling) = config.get("RollingUpdatePolicy").filter(|p| p.is_object()) {
        format!(
            "rolling, {} at a time, {} s apart",
            size(&rolling["MaximumBatchSize"]),
            text(rolling, "WaitIntervalInSeconds")
        )
    } else {
        let routing = &config["BlueGreenUpdatePolicy"]["TrafficRoutingConfiguration"];
        let wait = text(routing, "WaitIntervalInSeconds");
        match routing["Type"].as_str()? {
            "CANARY" => {
                format!("blue/green with a canary of {} for {wait} s", size(&routing["CanarySize"]))
            }
            "LINEAR" => format!(
                "blue/green in steps of {}, {wait} s apart",
                size(&routing["LinearStepSize"])
            ),
            _ => "blue/green, all traffic at once".to_owned(),
        }
    };
    let alarms = config["AutoRollbackConfiguration"]["Alarms"].as_array();
    let alarms: Vec<String> = alarms.into_iter().flatten().map(|a| named(a, "AlarmName")).collect();
    Some(match alarms.is_empty() {
        true => format!("{said}, without alarms that would roll it back"),
        false => format!("{said}, rolled back by {}", alarms.join(", ")),
    })
}

fn captured(config: &Value) -> String {
    let on = config["EnableCapture"].as_bool().unwrap_or(false)
        || config["CaptureStatus"].as_str() == Some("Started");
    let percent = config["CurrentSamplingPercentage"].as_u64();
    let percent = percent.or_else(|| config["InitialSamplingPercentage"].as_u64());
    match (on, percent) {
        (true, Some(percent)) => format!(
            " {percent} % of its requests and answers are captured to {}.",
            named(config, "DestinationS3Uri")
        ),
        _ => " Requests are not captured.".to_owned(),
    }
}

/// How many instances are there, for sentences.
pub(super) fn running(variants: &Value) -> String {
    let all = variants.as_array().into_iter().flatten();
    instances(all.filter_map(|v| v["CurrentInstanceCount"].as_u64()).sum())
}

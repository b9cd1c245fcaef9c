//! `kennel scale`: automatic scaling of endpoints. `set`, `show` and `rm` are clients of Application Auto
//! Scaling; `simulate` and `recommend` ask the model of it (`kennel_scaling::simulate`); `test` loads a real
//! endpoint and lays the model's answer beside the measured one.

mod load;
mod plot;
mod recommend;
mod scenario;
mod simulate;
mod target;
mod test;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::endpoint;
use crate::client::{Client, Service};
use crate::error::ClientError;
use crate::output::text;
use crate::target::TargetArguments;

/// What scales a variant.
const DIMENSION: &str = "sagemaker:variant:DesiredInstanceCount";

/// Arguments of `kennel scale`.
#[derive(Debug, Args)]
pub struct Arguments {
    #[command(flatten)]
    target: TargetArguments,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Let an endpoint's instances follow its load: `kennel scale set dogs --max 3 --target 10`
    Set(target::Set),
    /// What is set, and what it has done so far
    Show(target::Show),
    /// Stop scaling an endpoint by itself; its instances stay as they are
    Rm(target::Remove),
    /// What a policy would do under a load: latencies, throttles, instances, cost, and a plot
    Simulate(Box<simulate::Simulate>),
    /// The cheapest bounds, target and cooldowns that keep a latency
    Recommend(Box<recommend::Recommend>),
    /// Load a real endpoint and compare with the simulation
    Test(Box<test::Test>),
}

pub(super) fn run(arguments: Arguments) -> Result<(), ClientError> {
    // A simulation without an endpoint needs nobody to talk to.
    let client = || Ok::<_, ClientError>(Client::new(arguments.target.resolve()?));
    match arguments.verb {
        Verb::Set(set) => target::set(&client()?, &set),
        Verb::Show(show) => target::show(&client()?, &show),
        Verb::Rm(remove) => target::remove(&client()?, &remove),
        Verb::Simulate(simulate) => simulate::run(client, &simulate),
        Verb::Recommend(recommend) => recommend::run(client, &recommend),
        Verb::Test(test) => test::run(&client()?, &test),
    }
}

/// Calls Application Auto Scaling.
fn call(client: &Client, operation: &str, body: &Value) -> Result<Value, ClientError> {
    client.json(Service::AutoScaling, operation, body)
}

/// The variant's name: the given one, or the endpoint's only one.
fn variant(client: &Client, name: &str, given: Option<&str>) -> Result<String, ClientError> {
    if let Some(given) = given {
        return Ok(given.to_owned());
    }
    let endpoint = endpoint::describe(client, name)?;
    let variants = endpoint["ProductionVariants"].as_array().cloned().unwrap_or_default();
    match variants.as_slice() {
        [one] => Ok(text(one, "VariantName")),
        many => {
            let names: Vec<String> = many.iter().map(|v| text(v, "VariantName")).collect();
            Err(ClientError::Usage(format!(
                "endpoint `{name}` has {} variants\nhint: name one with --variant: {}",
                many.len(),
                names.join(", ")
            )))
        }
    }
}

/// The members that name a scalable target.
fn resource(endpoint: &str, variant: &str) -> Value {
    json!({
        "ServiceNamespace": "sagemaker",
        "ResourceId": format!("endpoint/{endpoint}/variant/{variant}"),
        "ScalableDimension": DIMENSION,
    })
}

/// `resource` with more members.
fn with(mut resource: Value, more: Value) -> Value {
    if let (Some(resource), Value::Object(more)) = (resource.as_object_mut(), more) {
        resource.extend(more);
    }
    resource
}

#[cfg(test)]
mod tests;

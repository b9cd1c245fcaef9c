//! `kennel cost`: what things would cost on AWS, which instance type for a job, and what is up.
//!
//! The arithmetic is `kennel_cost`'s; here are the arguments, the facts from AWS's APIs, and what is shown.
//! A price that is not verified is shown with `~`.

mod advise;
mod estimate;
mod facts;
mod measured;
mod page;
mod prices;
mod refresh;
mod running;

pub(super) use self::advise::of_job as advice_of;
pub(super) use self::prices::catalogue as known_prices;
pub(super) use self::running::IDLE_TAG;

use clap::{Args, Subcommand, ValueEnum};
use kennel_cost::{Amount, Catalogue, CostError, Usage, dollars};
use serde_json::{Value, json};

use crate::client::Client;
use crate::error::ClientError;
use crate::output::{self, fields, line, note, table};
use crate::target::TargetArguments;

/// The region where nothing says otherwise.
const REGION: &str = "us-east-1";

/// Arguments of `kennel cost`.
#[derive(Debug, Args)]
pub struct Arguments {
    #[command(flatten)]
    target: TargetArguments,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// What a training or tuning job, an endpoint, a function or storage costs on AWS
    #[command(subcommand)]
    Estimate(estimate::What),
    /// Which instance type for a job: time and money of each, from what the job took here
    Advise(Box<advise::Advise>),
    /// What is up, what it would cost on AWS per hour and month, and what is idle
    Running {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Fetch AWS's public price list, which is used from then on instead of the built-in prices
    Refresh(refresh::Refresh),
    /// The types and prices that are known, with their sources
    Catalogue {
        /// Only these: notebook, training, training-spot, hosting, ec2 or ec2-spot
        #[arg(long, value_name = "USE", default_value = "training")]
        usage: UsageArgument,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

/// For what an instance is paid, as an argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum UsageArgument {
    Notebook,
    Training,
    TrainingSpot,
    Hosting,
    Ec2,
    Ec2Spot,
}

impl From<UsageArgument> for Usage {
    fn from(usage: UsageArgument) -> Usage {
        match usage {
            UsageArgument::Notebook => Usage::Notebook,
            UsageArgument::Training => Usage::Training,
            UsageArgument::TrainingSpot => Usage::TrainingSpot,
            UsageArgument::Hosting => Usage::Hosting,
            UsageArgument::Ec2 => Usage::Ec2,
            UsageArgument::Ec2Spot => Usage::Ec2Spot,
        }
    }
}

pub(super) fn run(arguments: Arguments) -> Result<(), ClientError> {
    let target = &arguments.target;
    match arguments.verb {
        Verb::Estimate(what) => estimate::run(target, &what),
        Verb::Advise(advise) => advise::run(target, &advise),
        Verb::Running { json } => {
            let client = Client::new(target.resolve()?);
            running::run(&client, &prices::catalogue(), json)
        }
        Verb::Refresh(refresh) => refresh::run(target, &refresh),
        Verb::Catalogue { usage, json } => catalogue(target, usage.into(), json),
    }
}

impl From<CostError> for ClientError {
    fn from(error: CostError) -> ClientError {
        ClientError::Usage(error.to_string())
    }
}

/// The region of the prices: the flag's, else the platform's where there is one, else us-east-1.
fn region(target: &TargetArguments) -> String {
    match &target.region {
        Some(region) => region.clone(),
        None => target.resolve().map_or_else(|_| REGION.to_owned(), |target| target.region),
    }
}

fn catalogue(target: &TargetArguments, usage: Usage, json: bool) -> Result<(), ClientError> {
    let catalogue = prices::catalogue();
    let region = region(target);
    let mut rows = Vec::new();
    let mut sources = Vec::new();
    let mut listed = Vec::new();
    for kind in catalogue.types(usage) {
        let Ok(price) = catalogue.hourly(usage, &kind.name, &region) else { continue };
        let source = format!("{} ({})", price.source, price.as_of);
        let number = match sources.iter().position(|known| *known == source) {
            Some(at) => at + 1,
            None => {
                sources.push(source);
                sources.len()
            }
        };
        let tilde = if price.verified { "" } else { "~" };
        rows.push([
            usage.name_of(kind),
            kind.said(),
            format!("{tilde}{}", dollars(price.dollars)),
            format!("{tilde}{}", dollars(price.dollars * kennel_cost::hours_a_month())),
            format!("[{number}]"),
        ]);
        let family = catalogue.family(kind);
        listed.push(json!({
            "name": usage.name_of(kind), "type": kind, "hourly": price,
            "speed_of_a_vcpu": family.map(|f| f.core), "why": family.map(|f| &f.why),
            "processor": family.map(|f| &f.processor),
        }));
    }
    if rows.is_empty() {
        return Err(ClientError::Usage(format!(
            "no price for {usage} in `{region}` is known\nhint: there are some in {}; `kennel cost refresh --region {region}` fetches AWS's price list",
            catalogue.regions(usage).join(", ")
        )));
    }
    if json {
        output::json(&json!({
            "as_of": catalogue.as_of(), "source": catalogue.source(), "region": region,
            "usage": usage, "types": listed,
        }));
        return Ok(());
    }
    line(table(["type", "has", "an hour", "a month", "source"], rows));
    line("");
    for (at, source) in sources.iter().enumerate() {
        line(format!("[{}] {source}", at + 1));
    }
    note(format!(
        "prices for {usage} in {region}; ~ is not verified; a month has {} hours",
        kennel_cost::hours_a_month()
    ));
    Ok(())
}

/// An amount as people read it: what it is made of, the sum, the notes.
fn shown(amount: &Amount) -> String {
    let rows = amount.items.iter().map(|item| {
        let tilde = if item.verified { "" } else { "~" };
        [
            item.what.clone(),
            format!("{} {}", quantity(item.quantity), item.unit),
            format!("{tilde}{}", dollars(item.price)),
            format!("{tilde}{}", dollars(item.dollars)),
        ]
    });
    let mut text = table(["for", "quantity", "price", "cost"], rows);
    text.push_str("\n\n");
    text.push_str(&fields(&[
        ("total", Some(amount.said())),
        ("region", Some(amount.region.clone())),
        ("prices of", Some(amount.as_of().to_owned())),
    ]));
    for note in &amount.notes {
        text.push_str(&format!("\n- {note}"));
    }
    if !amount.verified {
        text.push_str("\n- ~ stands before what rests on a price that is not verified");
    }
    text
}

/// A quantity of anything in few characters.
fn quantity(value: f64) -> String {
    let decimals = if value >= 1000.0 || value.fract() == 0.0 { 0 } else { 4 };
    let text = format!("{value:.decimals$}");
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    }
}

/// An amount for scripts.
fn as_json(amount: &Amount) -> Value {
    let mut value = serde_json::to_value(amount).unwrap_or_default();
    value["as_of"] = amount.as_of().into();
    value
}

/// The price of a job in a sentence, by the prices that are used here; none where the job has not ended.
pub(super) fn of_job(job: &Value) -> Option<String> {
    // Before a job has ended it has no bill, and no file of prices needs to be read.
    job["BillableTimeInSeconds"].as_u64()?;
    bill(&prices::catalogue(), job)
}

fn bill(catalogue: &Catalogue, job: &Value) -> Option<String> {
    let resources = &job["ResourceConfig"];
    let training = kennel_cost::Training {
        instance_type: resources["InstanceType"].as_str()?,
        count: u32::try_from(resources["InstanceCount"].as_u64()?).ok()?,
        billable_s: job["BillableTimeInSeconds"].as_u64()?,
        spot: job["EnableManagedSpotTraining"].as_bool().unwrap_or(false),
        region: region_of(job["TrainingJobArn"].as_str()).unwrap_or(REGION),
    };
    Some(kennel_cost::sentence(catalogue, &training))
}

/// The region in an ARN.
fn region_of(arn: Option<&str>) -> Option<&str> {
    arn?.split(':').nth(3).filter(|region| !region.is_empty())
}

/// A time as an argument: `90`, `90s`, `15m`, `2h` or `1d`, in seconds.
pub(super) fn seconds(given: &str) -> Result<f64, String> {
    let text = given.trim();
    let (number, unit) = match text.find(|c: char| c.is_ascii_alphabetic()) {
        Some(at) => text.split_at(at),
        None => (text, "s"),
    };
    let factor = match unit {
        "s" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3600.0,
        "d" => 86_400.0,
        _ => return Err(format!("`{unit}` is no unit of time: s, m, h or d")),
    };
    let value: f64 = number.trim().parse().map_err(|_| "expected a time such as 90s, 15m or 2h")?;
    let seconds = value * factor;
    if seconds.is_finite() && (0.0..=3.2e9).contains(&seconds) {
        Ok(seconds)
    } else {
        Err("expected a time from 0 to 100 years".to_owned())
    }
}

#[cfg(test)]
mod tests;
